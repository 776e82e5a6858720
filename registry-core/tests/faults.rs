//! The engine over a log that fails in every way a network can. The oracle knows three outcomes: done,
//! not done, unknown. What is said to be done is in the log exactly once; what is said to have failed is
//! not there, also not later; what is unknown is there at most once, and asking again settles it.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use registry_core::experiment::{POINTS_MAX, RunOutcome, Task};
use registry_core::storage::{Append, CheckpointKind, CommitLog, Record, StorageError, StoredRecord};
use registry_core::testing::{Fault, FaultyLog};
use registry_core::{
    By, Clock as _, Content, Engine, Error, ManualClock, MemoryArtifacts, MemoryLog, ModelName, Outcome,
    Receipt, Recorded, Registration, RegistryExt as _, RequestId, Revision, RunName, Stream, StreamKind,
    Term, Timestamp, Upload, Version,
};

type Registered<L> = Engine<L, MemoryArtifacts>;

fn model() -> ModelName {
    "m".parse().unwrap()
}

fn engine<L: CommitLog>(log: Arc<L>) -> Registered<L> {
    // A clock that is moved by sleeping: waiting costs no time.
    let clock = ManualClock::new(Timestamp::EPOCH);
    Engine::new(log, Arc::new(MemoryArtifacts::default())).with_clock(Arc::new(clock))
}

/// A log that holds a model, so that tags can be set on it.
async fn prepared() -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    let registration = Registration::new(Version::new(1, 0, 0), Content::default());
    let by = By::new("setup".parse().unwrap());
    engine(Arc::clone(&log)).register(&by, &model(), registration, &[]).await.unwrap();
    log
}

async fn tag<L: CommitLog>(registry: &Registered<L>, id: &str) -> Result<Receipt, Error> {
    let by = By::new("writer".parse().unwrap()).with_request_id(id.parse().unwrap());
    let set = [(id.parse().unwrap(), String::new())].into();
    registry.change_tags(&by, &model(), None, set, Vec::new()).await
}

/// The log as it is, read by somebody without faults, who checks it too.
async fn truth(log: &Arc<MemoryLog>) -> Vec<Recorded> {
    let registry = engine(Arc::clone(log));
    let found = registry.verify(&model(), Default::default()).await.unwrap();
    assert!(found.is_sound(), "{:?}", found.problems);
    registry.log(&model(), Revision::FIRST, 10_000).await.unwrap()
}

async fn count(log: &Arc<MemoryLog>, id: &str) -> usize {
    let id: RequestId = id.parse().unwrap();
    truth(log).await.iter().filter(|recorded| recorded.commit.request_id == id).count()
}

/// Holds what the engine said against what is in the log after everything has landed.
async fn check(log: &Arc<MemoryLog>, id: &str, said: &Result<Receipt, Error>, context: &str) {
    let there = count(log, id).await;
    match said {
        Ok(receipt) => {
            assert_eq!(there, 1, "{context}: said to be done, but it is there {there} times");
            assert!(
                matches!(receipt.outcome, Outcome::Committed(_)),
                "{context}: it was done by this call, not before: {:?}",
                receipt.outcome
            );
        }
        Err(Error::OutcomeUnknown { request_id, .. }) => {
            assert!(there <= 1, "{context}: it is there {there} times");
            assert_eq!(request_id.as_str(), id, "{context}: the caller must learn the id");
        }
        Err(other) => assert_eq!(there, 0, "{context}: said to have failed ({other}), but it is there"),
    }
}

#[tokio::test]
async fn each_fault_alone_is_overcome() {
    for fault in Fault::ALL {
        let log = prepared().await;
        let faulty = Arc::new(FaultyLog::new(log.clone(), [fault]));
        let said = tag(&engine(Arc::clone(&faulty)), "the-request").await;
        assert!(said.is_ok(), "{fault:?}: {said:?}");
        faulty.settle().await;
        check(&log, "the-request", &said, &format!("{fault:?}")).await;
    }
}

#[tokio::test]
async fn any_three_faults_in_a_row_never_make_the_engine_lie() {
    for one in Fault::ALL {
        for two in Fault::ALL {
            for three in Fault::ALL {
                let plan = [one, two, three];
                let log = prepared().await;
                let faulty = Arc::new(FaultyLog::new(log.clone(), plan));
                let said = tag(&engine(Arc::clone(&faulty)), "the-request").await;
                faulty.settle().await;
                check(&log, "the-request", &said, &format!("{plan:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_ever_fails_as_unavailable_and_is_not_there() {
    let log = prepared().await;
    let faulty = Arc::new(FaultyLog::new(log.clone(), [Fault::RefusedBefore; 50]));
    let said = tag(&engine(Arc::clone(&faulty)), "refused").await;
    assert!(matches!(said, Err(Error::Unavailable(_))), "{said:?}");
    faulty.settle().await;
    assert_eq!(count(&log, "refused").await, 0);
}

#[tokio::test]
async fn what_is_lost_for_ever_is_unknown_and_asking_again_settles_it() {
    for fault in [Fault::LostBefore, Fault::LandsLate(1_000), Fault::ReplyLost, Fault::ThenUnreadable] {
        let log = prepared().await;
        let plan = [fault, Fault::LostBefore, Fault::LostBefore, Fault::LostBefore, Fault::LostBefore];
        let faulty = Arc::new(FaultyLog::new(log.clone(), plan.into_iter().chain([Fault::LostBefore; 50])));
        let registry = engine(Arc::clone(&faulty));
        let said = tag(&registry, "lost").await;
        let landed_at_once = matches!(fault, Fault::ReplyLost | Fault::ThenUnreadable);
        match &said {
            Ok(_) => assert!(landed_at_once, "{fault:?}"),
            Err(error) => assert!(matches!(error, Error::OutcomeUnknown { .. }), "{fault:?}: {error:?}"),
        }
        faulty.settle().await;
        check(&log, "lost", &said, &format!("{fault:?}")).await;
        // The network is well again.
        let healthy = engine(Arc::clone(&log));
        tag(&healthy, "lost").await.unwrap();
        assert_eq!(count(&log, "lost").await, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_append_is_still_unknown() {
    let log = prepared().await;
    let plan = [Fault::LandsLate(10_000)].into_iter().chain([Fault::RefusedBefore; 50]);
    let faulty = Arc::new(FaultyLog::new(log.clone(), plan));
    let said = tag(&engine(Arc::clone(&faulty)), "in-doubt").await;
    assert!(matches!(said, Err(Error::OutcomeUnknown { .. })), "{said:?}");
    faulty.settle().await;
    assert_eq!(count(&log, "in-doubt").await, 1, "it landed after all");
}

#[tokio::test]
async fn taken_and_then_unreadable_is_not_a_failure() {
    let log = prepared().await;
    let faulty = Arc::new(FaultyLog::new(log.clone(), [Fault::LandedButTaken]));
    let registry = engine(Arc::clone(&faulty));
    registry.model(&model()).await.unwrap();
    faulty.fail_reads_after_next_append(100);
    let said = tag(&registry, "taken").await;
    assert!(matches!(said, Err(Error::OutcomeUnknown { .. })), "{said:?}");
    check(&log, "taken", &said, "taken and unreadable").await;
    assert_eq!(count(&log, "taken").await, 1);
}

/// A log on which a rival commits just before some of our appends.
struct Contended {
    inner: Arc<FaultyLog>,
    rival: Registered<MemoryLog>,
    plan: Mutex<VecDeque<bool>>,
    overtaken: std::sync::atomic::AtomicU32,
    /// By how much an append moves which clock.
    slow: Option<(Arc<ManualClock>, Duration)>,
}

#[async_trait]
impl CommitLog for Contended {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        if let Some((clock, takes)) = &self.slow {
            clock.advance(*takes);
        }
        let overtakes = self.plan.lock().unwrap().pop_front().unwrap_or(false);
        if overtakes {
            let number = self.overtaken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tag(&self.rival, &format!("rival-{number}")).await.unwrap();
        }
        self.inner.append(record).await
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        self.inner.read(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        self.inner.streams(kind, term, after, limit).await
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        self.inner.unmarked(stream, terms).await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.inner.mark_again(stream, terms).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.inner.save_checkpoint(stream, kind, body).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.inner.load_checkpoint(stream, kind).await
    }
}

#[tokio::test]
async fn rivals_alone_are_no_obstacle_and_lose_nothing() {
    let log = prepared().await;
    let contended = Contended {
        inner: Arc::new(FaultyLog::new(log.clone(), [])),
        rival: engine(Arc::clone(&log)),
        plan: Mutex::new([true; 20].into()),
        overtaken: 0.into(),
        slow: None,
    };
    let said = tag(&engine(Arc::new(contended)), "overtaken").await;
    check(&log, "overtaken", &said, "twenty rivals").await;
    assert!(said.is_ok(), "{said:?}");
    assert_eq!(truth(&log).await.len(), 1 + 20 + 1);
}

/// How long a writer waits that is overtaken eight times, where an append takes so long.
async fn waited_where_an_append_takes(takes: Duration) -> Duration {
    const RACES: u32 = 8;
    let log = prepared().await;
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let contended = Contended {
        inner: Arc::new(FaultyLog::new(log.clone(), [])),
        rival: engine(Arc::clone(&log)),
        plan: Mutex::new([true; RACES as usize].into()),
        overtaken: 0.into(),
        slow: Some((Arc::clone(&clock), takes)),
    };
    let artifacts = Arc::new(MemoryArtifacts::default());
    let registry = Engine::new(Arc::new(contended), artifacts).with_clock(clock.clone());
    tag(&registry, "overtaken").await.unwrap();
    clock.now().since(Timestamp::EPOCH) - takes * (RACES + 1)
}

#[tokio::test]
async fn who_is_overtaken_lets_others_pass_for_as_long_as_attempts_take() {
    let quick = waited_where_an_append_takes(Duration::ZERO).await;
    assert!(quick < Duration::from_millis(260), "{quick:?}");
    // At random, 1.8 seconds on average and 3.6 at most; less than 0.3 once in 200,000 times.
    let slow = waited_where_an_append_takes(Duration::from_millis(100)).await;
    assert!(Duration::from_millis(300) < slow && slow < Duration::from_millis(3_900), "{slow:?}");
    // An append that took minutes is not waited for as long.
    let hung = waited_where_an_append_takes(Duration::from_secs(300)).await;
    assert!(hung < Duration::from_secs(37), "{hung:?}");
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::RefusedBefore),
        1 => Just(Fault::LostBefore),
        2 => Just(Fault::ReplyLost),
        2 => (0_u32..8).prop_map(Fault::LandsLate),
        1 => Just(Fault::LandedButTaken),
        1 => Just(Fault::TakenButEmpty),
        1 => Just(Fault::ThenUnreadable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Many requests through faults and a rival, each asked again while it is unknown.
    #[test]
    fn faults_and_rivals_together(
        faults in prop::collection::vec(any_fault(), 0..60),
        rivals in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let log = prepared().await;
            let faulty = Arc::new(FaultyLog::new(log.clone(), faults.clone()));
            let contended = Arc::new(Contended {
                inner: Arc::clone(&faulty),
                rival: engine(Arc::clone(&log)),
                plan: Mutex::new(rivals.clone().into()),
                overtaken: 0.into(),
                slow: None,
            });
            let registry = engine(Arc::clone(&contended));
            let mut said: BTreeMap<String, Result<(), Error>> = BTreeMap::new();
            for number in 0..8 {
                let id = format!("request-{number}");
                let mut outcome = tag(&registry, &id).await.map(drop);
                for _ in 0..3 {
                    // A failure of a second call says nothing of the first, so that stays unknown.
                    if let Err(Error::OutcomeUnknown { .. }) = outcome
                        && tag(&registry, &id).await.is_ok()
                    {
                        outcome = Ok(());
                    }
                }
                said.insert(id, outcome);
            }
            faulty.settle().await;
            let commits = truth(&log).await;
            for (id, outcome) in &said {
                let there = commits.iter().filter(|found| found.commit.request_id.as_str() == id).count();
                match outcome {
                    Ok(()) => assert_eq!(there, 1, "{id} is there {there} times"),
                    Err(Error::OutcomeUnknown { .. }) => assert!(there <= 1),
                    Err(other) => assert_eq!(there, 0, "{id} failed with {other}"),
                }
            }
            let overtaken = contended.overtaken.load(std::sync::atomic::Ordering::SeqCst);
            let rivals = commits.iter().filter(|found| found.commit.request_id.as_str().starts_with("rival"));
            assert_eq!(rivals.count(), overtaken as usize, "a rival's commit was lost");
            let times: Vec<_> = commits.iter().map(|found| found.commit.time).collect();
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        });
    }
}

/// Values of a training run that may or may not have been written are sent again and are there once.
#[tokio::test]
async fn values_that_nobody_knows_of_are_written_once() {
    let log = Arc::new(FaultyLog::new(Arc::new(MemoryLog::default()), []));
    let registry = Arc::new(engine(Arc::clone(&log)));
    let by = By::new("alice".parse().unwrap());
    let mut run = registry.experiment("xgboost-v1".parse().unwrap(), &by).start().await.unwrap();
    run.metric("loss", 1, 0.5).await.unwrap();
    log.plan([Fault::ReplyLost]);
    log.fail_reads_after_next_append(20);
    let unknown = run.flush().await.unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "{unknown}");
    run.metric("loss", 2, 0.25).await.unwrap();
    while run.flush().await.is_err() {}
    let name = run.name().clone();
    run.finish().await.unwrap();
    let page = registry.run_metrics(&name, None, None).await.unwrap();
    assert_eq!(page.points.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2]);
}

/// An end that the storage does not take loses neither values nor the end; a run that is dropped then is aborted.
#[tokio::test]
async fn an_end_that_could_not_be_recorded_is_asked_for_again() {
    let log = Arc::new(FaultyLog::new(Arc::new(MemoryLog::default()), []));
    let registry = Arc::new(engine(Arc::clone(&log)));
    let by = By::new("alice".parse().unwrap());
    let tasks: Arc<Mutex<Vec<Task>>> = Arc::default();
    let queue = Arc::clone(&tasks);
    let experiment = registry
        .experiment("xgboost-v1".parse().unwrap(), &by)
        .spawning(move |task| queue.lock().unwrap().push(task));
    let outage = || log.plan(std::iter::repeat_n(Fault::RefusedBefore, 6));
    let steps = async |run: &RunName| -> Vec<u64> {
        let page = registry.run_metrics(run, None, None).await.unwrap();
        page.points.iter().map(|point| point.step).collect()
    };

    let mut run = experiment.clone().start().await.unwrap();
    let name = run.name().clone();
    run.metric("loss", 1, 0.5).await.unwrap();
    outage();
    let error = run.finish().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    run.finish().await.unwrap();
    drop(run);
    assert!(tasks.lock().unwrap().is_empty());
    assert_eq!(steps(&name).await, [1]);
    assert_eq!(registry.run(&name).await.unwrap().ended.as_ref().unwrap().outcome, RunOutcome::Finished);

    let mut run = experiment.clone().start().await.unwrap();
    let name = run.name().clone();
    run.metric("loss", 2, 0.5).await.unwrap();
    outage();
    run.finish().await.unwrap_err();
    drop(run);
    let task = tasks.lock().unwrap().pop().unwrap();
    task.await;
    assert_eq!(steps(&name).await, [2]);
    assert_eq!(registry.run(&name).await.unwrap().ended.as_ref().unwrap().outcome.as_str(), "aborted");

    // Work has no handle left to ask with.
    let name = experiment
        .track(async |run| {
            run.metric("loss", 3, 0.5).await?;
            outage();
            Ok::<_, Error>(run.name().clone())
        })
        .await
        .unwrap();
    assert_eq!(steps(&name).await, [3]);
    assert_eq!(registry.run(&name).await.unwrap().ended.as_ref().unwrap().outcome, RunOutcome::Finished);
}

/// A value that could not be written down yet waits, as the error of the storage says, and is there once.
#[tokio::test]
async fn a_value_waits_where_the_storage_cannot_be_reached() {
    let log = Arc::new(FaultyLog::new(Arc::new(MemoryLog::default()), []));
    let registry = Arc::new(engine(Arc::clone(&log)));
    let by = By::new("alice".parse().unwrap());
    let mut run = registry.experiment("xgboost-v1".parse().unwrap(), &by).start().await.unwrap();
    let name = run.name().clone();
    log.plan(std::iter::repeat_n(Fault::RefusedBefore, 6));
    for step in 0..POINTS_MAX as u64 {
        let logged = run.metric("loss", step, 0.5).await;
        assert_eq!(logged.is_err(), step + 1 == POINTS_MAX as u64, "{step}: {logged:?}");
        assert!(!matches!(logged, Err(Error::Rejected(_))), "{logged:?}");
    }
    run.finish().await.unwrap();
    let page = registry.run_metrics(&name, None, None).await.unwrap();
    assert!(page.points.iter().map(|point| point.step).eq(0..POINTS_MAX as u64));
}

/// A version is registered, and its run cannot be told: it is found all the same, and to ask again tells the run.
#[tokio::test]
async fn a_run_that_could_not_take_note_of_its_version_does_later() {
    let log = Arc::new(FaultyLog::new(Arc::new(MemoryLog::default()), []));
    let registry = Arc::new(engine(Arc::clone(&log)));
    let by = By::new("alice".parse().unwrap());
    let mut run = registry.experiment("xgboost-v1".parse().unwrap(), &by).start().await.unwrap();
    let name = run.name().clone();
    let weights = Bytes::from_static(b"weights");
    let upload = || [Upload { path: "model.bin".parse().unwrap(), source: &weights }];
    log.plan(std::iter::once(Fault::None).chain(std::iter::repeat_n(Fault::RefusedBefore, 6)));
    let half_done = run.register_model(&model(), Content::default(), &upload()).await.unwrap_err();
    let Error::RunNotNoted { version, source, .. } = &half_done else { panic!("{half_done}") };
    assert!(matches!(**source, Error::Unavailable(_)), "{half_done}");
    assert_eq!(registry.run(&name).await.unwrap().versions.len(), 0);
    assert!(registry.run_versions(&name).await.unwrap().contains(version));

    let again = run.register_model(&model(), Content::default(), &upload()).await.unwrap();
    assert!(again.existed);
    assert!(registry.run(&name).await.unwrap().versions.contains_key(version));
    run.finish().await.unwrap();
}
