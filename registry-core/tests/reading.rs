//! What readers do when things are not as they should be: a log with damage in it, a slow reader
//! beside a fast one, an unreasonable grace period, a model with very many versions.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::storage::{
    Append, ArtifactStore, CheckpointKind, CommitLog, Record, StorageError, StoredRecord,
};
use registry_core::{
    AliasName, By, Clock, Content, Digest, Engine, Error, Garbage, GarbageOptions, ManualClock,
    MemoryArtifacts, MemoryLog, ModelName, ModelState, Need, Problem, PromoteOptions, Receipt, Recorded,
    Registration, Registry, RegistryExt, Request, Revision, Selector, Stage, Stream, StreamKind, Term,
    Timestamp, Upload, VerifyOptions, Version, in_memory,
};

fn alice() -> By {
    By::new("alice".parse().unwrap())
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

/// A log in memory of which some records are altered and some are gone, and which counts what is read.
#[derive(Default)]
struct Damaged {
    log: MemoryLog,
    altered: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    records_read: AtomicUsize,
}

#[async_trait]
impl CommitLog for Damaged {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.log.append(record).await
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let whole = self.log.read(stream, from, usize::MAX).await?;
        let there = whole.into_iter().filter(|record| !self.gone.contains(&record.revision.get()));
        let mut records: Vec<StoredRecord> = there.take(limit).collect();
        for record in records.iter_mut().filter(|record| self.altered.contains(&record.revision.get())) {
            let mut body = record.body.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            record.body = Bytes::from(body);
        }
        self.records_read.fetch_add(records.len(), Ordering::SeqCst);
        Ok(records)
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        self.log.streams(kind, term, after, limit).await
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        self.log.unmarked(stream, terms).await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.log.mark_again(stream, terms).await
    }

    async fn save_checkpoint(&self, _: &Stream, _: CheckpointKind, _: Bytes) -> Result<(), StorageError> {
        Ok(())
    }

    async fn load_checkpoint(&self, _: &Stream, _: CheckpointKind) -> Result<Option<Bytes>, StorageError> {
        Ok(None)
    }
}

/// A log of that many commits.
async fn long_log(commits: u64) -> Damaged {
    let log = Arc::new(Damaged::default());
    let registry = Engine::new(log.clone(), Arc::new(MemoryArtifacts::default()));
    let registration = Registration::new(v("v1"), Content::default());
    registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    let alias: AliasName = "champion".parse().unwrap();
    for commit in 1..commits {
        if commit % 2 == 1 {
            registry.set_alias(&alice(), &fraud(), &alias, &v("v1")).await.unwrap();
        } else {
            registry.remove_alias(&alice(), &fraud(), &alias).await.unwrap();
        }
    }
    drop(registry);
    Arc::into_inner(log).unwrap()
}

/// The revisions that `verify` names, and how many records it read for that.
async fn verified(mut log: Damaged, altered: &[u64], gone: &[u64]) -> (Vec<u64>, usize) {
    log.altered = altered.iter().copied().collect();
    log.gone = gone.iter().copied().collect();
    log.records_read = AtomicUsize::new(0);
    let log = Arc::new(log);
    let registry = Engine::new(log.clone(), Arc::new(MemoryArtifacts::default()));
    let found = registry.verify(&fraud(), VerifyOptions::default()).await.unwrap();
    let named = found.problems.iter().map(|problem| match problem {
        Problem::Commit { revision, .. } => revision.get(),
        other => panic!("{other}"),
    });
    (named.collect(), log.records_read.load(Ordering::SeqCst))
}

#[tokio::test]
async fn verify_names_every_damaged_commit_and_reads_little_more_than_the_log() {
    let (named, read) = verified(long_log(2_000).await, &[], &[]).await;
    assert_eq!((named, read), (vec![], 2_000));
    let altered = [1, 511, 512, 513, 514, 1_300, 1_999, 2_000];
    let (named, read) = verified(long_log(2_000).await, &altered, &[]).await;
    assert_eq!(named, altered);
    assert!(read < 2_000 + altered.len() * 2 * 512, "{read} records were read");
    let (named, _) = verified(long_log(1_100).await, &[700], &[3, 4, 1_024, 1_099]).await;
    assert_eq!(named, [3, 4, 700, 1_024, 1_099]);
}

/// A record that is whole and says what this version does not know: by somebody with a newer one, or by somebody who
/// would like verifying to end there.
#[tokio::test]
async fn verify_goes_on_behind_a_commit_that_it_does_not_understand() {
    let log = Arc::new(MemoryLog::default());
    let registry = Engine::new(log.clone(), Arc::new(MemoryArtifacts::default()));
    let registration = Registration::new(v("v1"), Content::default());
    registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    for alias in ["one", "two", "three", "four"] {
        registry.set_alias(&alice(), &fraud(), &alias.parse().unwrap(), &v("v1")).await.unwrap();
    }
    let stream = Stream::Model(fraud());
    let (third, fifth) = (Revision::new(3).unwrap(), Revision::new(5).unwrap());
    let head = registry.log(&fraud(), fifth, 1).await.unwrap()[0].digest;
    let stored = log.read(&stream, third, 1).await.unwrap();
    let text = String::from_utf8(stored[0].body.to_vec()).unwrap();
    let commit = text.strip_prefix("{\"commit\":").unwrap().split_once(",\"digest\":").unwrap().0;
    let commit = commit.replace("alias_set", "alias_dreamt_of");
    let body = format!("{{\"commit\":{commit},\"digest\":\"{}\"}}", Digest::of(commit.as_bytes()));
    log.damage(&stream, third, body.into());
    log.damage(&stream, fifth, Bytes::from_static(b"{}"));

    let registry = Engine::new(log, Arc::new(MemoryArtifacts::default()));
    let options = VerifyOptions { against: Some((fifth, head)), ..VerifyOptions::default() };
    let found = registry.verify(&fraud(), options).await.unwrap();
    let [Problem::NotUnderstood { revision, problem }, Problem::Commit { revision: damaged, .. }] =
        &found.problems[..]
    else {
        panic!("{:?}", found.problems)
    };
    assert_eq!((*revision, *damaged, found.commits), (third, fifth, 3));
    assert!(problem.contains("upgrade"), "{problem}");
}

#[tokio::test]
async fn a_tail_that_is_cut_off_is_found_against_a_head_noted_elsewhere() {
    let mut log = long_log(20).await;
    log.gone = (11..=20).collect();
    let registry = Engine::new(Arc::new(log), Arc::new(MemoryArtifacts::default()));
    let verify = |revision, digest| {
        let against = Some((Revision::new(revision).unwrap(), digest));
        let options = VerifyOptions { against, ..VerifyOptions::default() };
        let registry = &registry;
        async move { registry.verify(&fraud(), options).await.unwrap() }
    };
    let head = registry.verify(&fraud(), VerifyOptions::default()).await.unwrap().head.unwrap();
    assert_eq!(head.revision.get(), 10, "by itself a log cannot know of its tail");
    assert!(verify(10, head.digest).await.is_sound());
    let rev = |number| Revision::new(number).unwrap();
    let other = Digest::of(b"another");
    let another = Problem::OtherHistory { revision: rev(10), noted: other, found: head.digest };
    assert_eq!(verify(10, other).await.problems, std::slice::from_ref(&another));
    let cut_off = Problem::CutOff { noted: rev(20), last: rev(10) };
    assert_eq!(verify(20, head.digest).await.problems, std::slice::from_ref(&cut_off));
    let nothing = registry.verify(&"other".parse::<ModelName>().unwrap(), VerifyOptions::default()).await;
    assert_eq!(nothing.unwrap().problems, []);

    // From a commit on, no more than what follows it is read, and all the same is found.
    let since = |revision, digest| {
        let registry = &registry;
        async move { registry.verify_since(&fraud(), (rev(revision), digest)).await.unwrap() }
    };
    let seventh = registry.log(&fraud(), rev(7), 1).await.unwrap()[0].digest;
    let found = since(7, seventh).await;
    assert_eq!((found.commits, found.head, found.problems), (4, Some(head), vec![]));
    assert_eq!(since(10, other).await.problems, [another]);
    assert_eq!(since(20, other).await.problems, [cut_off]);
    let gone = registry.verify_since(&"other".parse::<ModelName>().unwrap(), (rev(3), other)).await.unwrap();
    assert_eq!(gone.problems, [Problem::Gone { noted: rev(3) }]);
}

#[tokio::test]
async fn damage_behind_a_noted_commit_is_found_and_damage_before_it_is_not_looked_for() {
    let mut log = long_log(20).await;
    log.altered = [5, 15].into();
    let registry = Engine::new(Arc::new(log), Arc::new(MemoryArtifacts::default()));
    let tenth = registry.log(&fraud(), Revision::new(10).unwrap(), 1).await.unwrap()[0].digest;
    let found = registry.verify_since(&fraud(), (Revision::new(10).unwrap(), tenth)).await.unwrap();
    let [Problem::Commit { revision, .. }] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert_eq!(revision.get(), 15);
}

/// A registry whose next read of a state takes until it is released.
struct Slow<R> {
    inner: R,
    hold_next: AtomicBool,
    held: AtomicBool,
}

#[async_trait]
impl<R: Registry> Registry for Slow<R> {
    async fn execute(&self, request: Request) -> Result<Receipt, Error> {
        self.inner.execute(request).await
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        let state = self.inner.state(stream, need).await;
        if self.hold_next.swap(false, Ordering::SeqCst) {
            self.held.store(true, Ordering::SeqCst);
            while self.held.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        }
        state
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.inner.history(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        self.inner.streams(kind, term, after, limit).await
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        self.inner.artifacts()
    }

    fn commits(&self) -> &dyn CommitLog {
        self.inner.commits()
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
    }
}

async fn registered(registry: &impl Registry, version: &str) {
    let registration = Registration::new(v(version), Content::default());
    registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
}

#[tokio::test]
async fn a_follower_never_goes_back_to_what_a_slow_reader_saw() {
    let slow = Slow { inner: in_memory(), hold_next: AtomicBool::new(false), held: AtomicBool::new(false) };
    let registry = Arc::new(slow);
    registered(&registry, "v1").await;
    let follower = registry.follow(&fraud(), &Selector::Newest);
    assert!(follower.current().is_none(), "nothing was looked at yet");
    registry.hold_next.store(true, Ordering::SeqCst);
    let late = async {
        let seen = follower.refresh().await.unwrap().unwrap();
        assert_eq!(seen.version, v("v2"), "what is newer by now");
    };
    let fast = async {
        while !registry.held.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        registered(&registry, "v2").await;
        assert_eq!(follower.refresh().await.unwrap().unwrap().version, v("v2"));
        registry.held.store(false, Ordering::SeqCst);
    };
    futures_util::future::join(late, fast).await;
    assert_eq!(follower.current().unwrap().version, v("v2"));
}

#[tokio::test]
async fn a_follower_says_when_nothing_is_named_any_more() {
    let registry = Arc::new(in_memory());
    registered(&registry, "v1").await;
    let follower = registry.follow(&fraud(), &Selector::LATEST);
    assert_eq!(follower.changed().await.unwrap().unwrap().version, v("v1"));
    registry.delete(&alice(), &fraud(), &v("v1")).await.unwrap();
    assert!(follower.changed().await.unwrap().is_none());
    assert!(follower.current().is_none());
}

#[tokio::test]
async fn a_grace_period_longer_than_the_calendar_spares_everything() {
    let clock = Arc::new(ManualClock::new("2024-01-15T10:00:00Z".parse::<Timestamp>().unwrap()));
    let artifacts = Arc::new(MemoryArtifacts::with_clock(clock.clone()));
    let registry = Engine::new(Arc::new(MemoryLog::default()), artifacts).with_clock(clock.clone());
    let unnamed = Bytes::from_static(b"never registered");
    registry.upload(&"a".parse().unwrap(), &unnamed, &|_| {}).await.unwrap();
    clock.advance(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    let options = GarbageOptions { grace: Duration::MAX, dry_run: false };
    let spared = Garbage { spared: 1, ..Garbage::default() };
    assert_eq!(registry.collect_garbage(options).await.unwrap(), spared);
    let collected = registry.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert_eq!((collected.removed.len(), collected.bytes()), (1, 16));
}

#[tokio::test]
async fn two_thousand_versions_are_numbered_promoted_and_rolled_back() {
    let registry = in_memory();
    let bytes = |i: u32| Bytes::from(i.to_be_bytes().to_vec());
    let register = async |i: u32, version: registry_core::VersionChoice| {
        let registration = Registration { version, content: Content::default(), stage: Stage::Staging };
        let bytes = bytes(i);
        let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
        registry.register(&alice(), &fraud(), registration, &[upload]).await.unwrap()
    };
    for i in 0..2_000 {
        register(i, registry_core::Bump::Patch.into()).await;
    }
    let promote = async |version: Version| {
        let options = PromoteOptions::default();
        registry.promote(&alice(), &fraud(), &version, Stage::Production, options).await.unwrap();
    };
    promote(v("0.1.0")).await;
    promote(v("0.1.1999")).await;
    let next = register(2_000, registry_core::Bump::Patch.into()).await;
    assert_eq!(next.version.version, v("0.1.2000"));
    let back = registry.rollback(&alice(), &fraud(), None, false).await.unwrap();
    assert_eq!(back.to, v("0.1.0"));
    let latest = registry.get(&fraud(), &Selector::LATEST).await.unwrap();
    assert_eq!(latest.version, v("0.1.2000"));
}

/// It is written over and over, so its size must not grow with what was done.
#[tokio::test]
async fn a_brief_checkpoint_stays_small_however_many_commits_there_are() {
    let log = Arc::new(MemoryLog::default());
    let registry = Engine::new(log.clone(), Arc::new(MemoryArtifacts::default()));
    let registration = Registration::new(v("v1"), Content::default());
    registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    let mut sizes = Vec::new();
    for commit in 0..2_000 {
        let text = format!("text {}", commit % 7).parse().unwrap();
        registry.describe(&alice(), &fraud(), None, Some(text)).await.unwrap();
        if commit % 500 == 499 {
            let kept = log.load_checkpoint(&(&fraud()).into(), CheckpointKind::Brief).await.unwrap();
            sizes.push(kept.unwrap().len());
        }
    }
    assert!(sizes.iter().all(|size| *size < 4_096), "{sizes:?}");
}

/// A router that starts cold reads a brief checkpoint, which knows the trials that run and few versions.
#[tokio::test]
async fn traffic_is_read_from_what_is_asked_for_most() {
    use registry_core::trial::{Goal, Measure, MeasureKind, PlannedEnd, Share, TrialPlan, TrialStage};
    let (log, bytes) = (Arc::new(MemoryLog::default()), Arc::new(MemoryArtifacts::default()));
    let registry = Engine::new(log.clone(), bytes.clone());
    for minor in 0..40 {
        let version = Version::new(1, minor, 0);
        let registration =
            Registration { stage: Stage::Staging, ..Registration::new(version, Content::default()) };
        registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    }
    let promote = PromoteOptions::default();
    registry.promote(&alice(), &fraud(), &v("1.0.0"), Stage::Production, promote).await.unwrap();
    let plan = TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.25).unwrap(),
        measure: Measure::new("error rate".parse().unwrap(), MeasureKind::Proportion, None).unwrap(),
        goal: Goal::Better,
        end: PlannedEnd::new(None, Some(1_000.try_into().unwrap())).unwrap(),
        significance: Default::default(),
        looks: 1.try_into().unwrap(),
    };
    registry.start_trial(&alice(), &fraud(), &v("1.39.0"), None, plan).await.unwrap();
    // Until a checkpoint of the trial is kept.
    for number in 0..100 {
        let text = format!("text {number}").parse().unwrap();
        registry.describe(&alice(), &fraud(), None, Some(text)).await.unwrap();
    }
    let cold = Engine::new(log, bytes);
    let traffic = cold.traffic(&fraud()).await.unwrap();
    let seen = cold.state(&Stream::Model(fraud()), &Need::Selected(Selector::PRODUCTION)).await.unwrap();
    assert!(seen.is_partial(), "the whole model was read for it");
    assert_eq!(traffic, registry.traffic(&fraud()).await.unwrap());
    let shares: Vec<f64> = traffic.stages[&Stage::Production].iter().map(|route| route.share).collect();
    assert_eq!(shares, [0.75, 0.25]);
}
