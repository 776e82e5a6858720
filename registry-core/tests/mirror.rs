//! A registry that shares its models with another system, over a system that is a few maps in memory: what
//! others do there is seen, shown, adopted under their name, and never gets around the record.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use registry_core::compare::Significance;
use registry_core::event::{Event, StageCause};
use registry_core::mirror::{Drift, Foreign, ForeignChange, Keep, Mirror, Mirrored};
use registry_core::storage::{ArtifactStore as _, StorageError, StorageErrorKind};
use registry_core::trial::{Goal, Measure, MeasureKind, PlannedEnd, Share, TrialStage};
use registry_core::{
    Actor, Artifact, By, Command, Content, Digest, Engine, Error, Gate, Invalid, Manifest, MemoryArtifacts,
    MemoryLog, ModelName, ModelState, Need, PromoteOptions, Registration, Registry, RegistryExt as _,
    Rejection, Request, Revision, Scope, Selector, Stage, StageRule, TrialPlan, Version, VersionState,
};

/// What the other system shows of a version.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    stage: Stage,
    by: Option<&'static str>,
}

/// The other system: one model, its versions and their stages.
struct Other {
    system: Actor,
    rows: Mutex<BTreeMap<Version, Row>>,
    files: Option<Artifact>,
    is_broken: AtomicBool,
    projections: AtomicUsize,
}

impl Other {
    fn new(rows: &[(&str, Stage)]) -> Arc<Self> {
        Arc::new(Other {
            system: "other".parse().unwrap(),
            rows: Mutex::new(
                rows.iter().map(|(version, stage)| (v(version), Row::in_stage(*stage))).collect(),
            ),
            files: None,
            is_broken: AtomicBool::new(false),
            projections: AtomicUsize::new(0),
        })
    }

    /// What somebody does there.
    fn set(&self, version: &str, stage: Stage) {
        self.rows.lock().unwrap().insert(v(version), Row::in_stage(stage));
    }
}

impl Row {
    fn in_stage(stage: Stage) -> Self {
        Row { stage, by: Some("sam") }
    }
}

#[async_trait]
impl Mirror for Other {
    fn system(&self) -> &Actor {
        &self.system
    }

    async fn models(&self, after: Option<&ModelName>, limit: usize) -> Result<Vec<ModelName>, StorageError> {
        let known = !self.rows.lock().unwrap().is_empty();
        let all = known.then(fraud).into_iter().filter(|name| after.is_none_or(|after| after < name));
        Ok(all.take(limit).collect())
    }

    async fn drift(
        &self,
        _: &ModelName,
        state: &ModelState,
        _: &Need,
    ) -> Result<Option<Drift>, StorageError> {
        let rows = self.rows.lock().unwrap();
        let mut drift = Drift::default();
        let mut push = |by: Option<&str>, change| {
            let by = by.map(|by| by.parse().unwrap());
            drift.changes.push(Foreign { by, at: Some("2020-01-01T00:00:00Z".parse().unwrap()), change });
        };
        for (version, row) in rows.iter() {
            let known = state.version(version);
            if known.is_none() {
                let content = Box::new(Content::default());
                push(row.by, ForeignChange::Registered { version: version.clone(), content });
            }
            if known.map_or(Stage::Development, |known| known.stage) != row.stage {
                push(row.by, ForeignChange::Staged { version: version.clone(), to: row.stage });
            }
        }
        for version in state.versions().filter(|version| version.deleted.is_none()) {
            if !rows.contains_key(&version.version) {
                push(None, ForeignChange::Deleted { version: version.version.clone() });
            }
        }
        Ok(Some(drift))
    }

    async fn files(
        &self,
        _: &ModelName,
        _: &VersionState,
        _: Keep,
    ) -> Result<Option<Manifest>, StorageError> {
        Ok(self.files.clone().map(|file| Manifest::new(vec![file]).unwrap()))
    }

    fn check(&self, _: &ModelName, command: &Command) -> Result<(), Invalid> {
        match command {
            Command::Describe { description: Some(text), .. } if text.as_str() == "too much" => {
                Err(Invalid::new("description", text, "the other system cannot hold it"))
            }
            _ => Ok(()),
        }
    }

    async fn project(&self, _: &ModelName, state: &ModelState) -> Result<(), StorageError> {
        self.projections.fetch_add(1, Ordering::SeqCst);
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(StorageError::new(StorageErrorKind::NotDone, "the other system is away"));
        }
        let visible = state.versions().filter(|version| version.deleted.is_none());
        let rows = visible.map(|version| (version.version.clone(), Row::in_stage(version.stage)));
        *self.rows.lock().unwrap() = rows.collect();
        Ok(())
    }
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn alice() -> By {
    By::new("alice".parse().unwrap())
}

struct World {
    log: Arc<MemoryLog>,
    bytes: Arc<MemoryArtifacts>,
    registry: Mirrored<Engine<MemoryLog, MemoryArtifacts>, Other>,
}

fn shared_with(other: &Arc<Other>) -> World {
    let (log, bytes) = (Arc::new(MemoryLog::default()), Arc::new(MemoryArtifacts::default()));
    let engine = Arc::new(Engine::new(Arc::clone(&log), Arc::clone(&bytes)));
    World { log, bytes, registry: Mirrored::new(engine, Arc::clone(other)) }
}

impl World {
    /// What is in the log itself.
    async fn log(&self) -> Vec<registry_core::Recorded> {
        let engine = Engine::new(Arc::clone(&self.log), Arc::clone(&self.bytes));
        engine.log(&fraud(), Revision::FIRST, 1_000).await.unwrap()
    }

    async fn promote(&self, version: &str, to: Stage) -> Result<registry_core::Receipt, Error> {
        let (by, version) = (alice(), v(version));
        let promoted = self.registry.promote(&by, &fraud(), &version, to, PromoteOptions::default()).await?;
        Ok(promoted.receipt().clone())
    }
}

#[tokio::test]
async fn a_model_that_never_met_the_registry_is_shown_and_nothing_is_written() {
    let other = Other::new(&[("1.0.0", Stage::Archived), ("2.0.0", Stage::Production)]);
    let world = shared_with(&other);
    assert_eq!(world.registry.models(None, 10).await.unwrap(), [fraud()]);
    let found = world.registry.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(found.version, v("2.0.0"));
    assert_eq!(
        (found.staged.actor.as_str(), found.staged.at.to_string().as_str()),
        ("sam", "2020-01-01T00:00:00.000000Z")
    );
    assert_eq!(found.registered.at.to_string(), "2020-01-01T00:00:00.000000Z");
    assert_eq!(world.registry.model(&fraud()).await.unwrap().versions().count(), 2);
    assert!(world.log().await.is_empty());
    assert_eq!(other.projections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_first_write_adopts_what_is_there_in_a_commit_of_its_own() {
    let other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    world.promote("2.0.0", Stage::Production).await.unwrap();
    let log = world.log().await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].commit.actor.as_str(), "other");
    assert!(log[0].commit.events.iter().all(|event| matches!(event, Event::Adopted(_))));
    assert_eq!(log[1].commit.actor.as_str(), "alice");
    let rows = other.rows.lock().unwrap();
    assert_eq!(rows[&v("1.0.0")].stage, Stage::Archived);
    assert_eq!(rows[&v("2.0.0")].stage, Stage::Production);
}

#[tokio::test]
async fn a_move_past_the_registry_goes_into_the_record_and_keeps_one_version_in_production() {
    let other = Other::new(&[]);
    let world = shared_with(&other);
    for version in ["1.0.0", "2.0.0"] {
        let registration = Registration::new(v(version), Content::default());
        world.registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
        world.promote(version, Stage::Staging).await.unwrap();
    }
    world.promote("1.0.0", Stage::Production).await.unwrap();
    let before = world.log().await.len();

    other.set("2.0.0", Stage::Production);
    let state = world.registry.model(&fraud()).await.unwrap();
    assert_eq!(state.production, Some(v("2.0.0")), "a reader sees it at once");
    assert_eq!(world.log().await.len(), before, "and writes nothing");
    let drift = world.registry.drift(&fraud()).await.unwrap().unwrap();
    assert_eq!(drift.changes().len(), 1);

    world.registry.describe(&alice(), &fraud(), None, Some("any write".parse().unwrap())).await.unwrap();
    let log = world.log().await;
    assert_eq!(log.len(), before + 2);
    let moves: Vec<String> = log[before]
        .commit
        .events
        .iter()
        .map(|event| match event {
            Event::Adopted(adopted) => match &adopted.change {
                Event::StageChanged(change) => {
                    let foreign = change.cause == StageCause::Foreign;
                    format!("{} {} {foreign} {}", change.version, change.to, adopted.by.as_ref().unwrap())
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(moves, ["v1.0.0 archived false sam", "v2.0.0 production true sam"]);
    assert_eq!(other.rows.lock().unwrap()[&v("1.0.0")].stage, Stage::Archived, "and the other side agrees");
    assert!(world.registry.drift(&fraud()).await.unwrap().unwrap().changes().is_empty());
}

#[tokio::test]
async fn a_version_deleted_there_while_in_production_is_deleted_here_too() {
    let other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Development)]);
    let world = shared_with(&other);
    world.registry.reconcile(&alice(), &fraud()).await.unwrap().unwrap();
    other.rows.lock().unwrap().remove(&v("1.0.0"));
    let receipt = world.registry.reconcile(&alice(), &fraud()).await.unwrap().unwrap();
    assert_eq!(receipt.commit().unwrap().actor.as_str(), "alice", "whoever reconciles signs for it");
    assert_eq!(receipt.state.production, None);
    assert!(receipt.state.version(&v("1.0.0")).unwrap().deleted.is_some());
    assert_eq!(receipt.state.version(&v("1.0.0")).unwrap().stage, Stage::Archived);
}

#[tokio::test]
async fn a_revision_that_was_read_before_an_adoption_is_still_the_one_expected() {
    let other = Other::new(&[("1.0.0", Stage::Development)]);
    let world = shared_with(&other);
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    other.set("2.0.0", Stage::Development);
    let seen = world.registry.model(&fraud()).await.unwrap();
    assert!(seen.version(&v("2.0.0")).is_some());
    let by = alice().expecting(seen.revision().unwrap());
    world.registry.describe(&by, &fraud(), None, Some("as seen".parse().unwrap())).await.unwrap();
    let stale = world.registry.describe(&by, &fraud(), None, Some("too late".parse().unwrap())).await;
    assert!(matches!(stale, Err(Error::Rejected(Rejection::RevisionMismatch { .. }))), "{stale:?}");
}

#[tokio::test]
async fn a_projection_that_fails_fails_no_request_and_is_finished_later() {
    let other = Other::new(&[("1.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    other.is_broken.store(true, Ordering::SeqCst);
    let receipt = world.promote("1.0.0", Stage::Production).await.unwrap();
    assert!(receipt.commit().is_some());
    other.is_broken.store(false, Ordering::SeqCst);
    // This other system cannot tell unfinished from drift, so the move back is adopted: it is in the record.
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    assert_eq!(world.registry.model(&fraud()).await.unwrap().production, None);
}

#[tokio::test]
async fn what_the_other_system_cannot_hold_is_refused_before_anything_is_written() {
    let other = Other::new(&[("1.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    let refused = world.registry.describe(&alice(), &fraud(), None, Some("too much".parse().unwrap())).await;
    assert!(refused.unwrap_err().to_string().contains("the other system cannot hold it"));
    assert!(world.log().await.is_empty());
}

#[tokio::test]
async fn a_rehearsal_on_what_is_not_adopted_yet_writes_nothing() {
    let other = Other::new(&[("1.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    let by = alice().rehearsing();
    let to = Stage::Production;
    let rehearsed =
        world.registry.promote(&by, &fraud(), &v("1.0.0"), to, PromoteOptions::default()).await.unwrap();
    assert!(rehearsed.is_done());
    assert_eq!(rehearsed.receipt().events().len(), 1);
    assert!(world.log().await.is_empty());
    assert_eq!(other.rows.lock().unwrap()[&v("1.0.0")].stage, Stage::Staging);
}

#[tokio::test]
async fn the_files_of_an_adopted_version_are_on_record_before_it_is_promoted() {
    let mut other = Other::new(&[("1.0.0", Stage::Development)]);
    let bytes = MemoryArtifacts::default();
    let blob = bytes.put(&Bytes::from_static(b"weights"), &|_| {}).await.unwrap();
    let file = Artifact { path: "model.bin".parse().unwrap(), digest: blob.digest, size: blob.size };
    Arc::get_mut(&mut other).unwrap().files = Some(file.clone());
    let world = shared_with(&other);
    world.bytes.put(&Bytes::from_static(b"weights"), &|_| {}).await.unwrap();
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    // The revision that was read is the one expected, however many commits the adoption takes.
    other.set("2.0.0", Stage::Development);
    let seen = world.registry.model(&fraud()).await.unwrap().revision().unwrap();
    let (by, version, to) = (alice().expecting(seen), v("1.0.0"), Stage::Staging);
    world.registry.promote(&by, &fraud(), &version, to, PromoteOptions::default()).await.unwrap();
    let state = world.registry.model(&fraud()).await.unwrap();
    let version = state.version(&v("1.0.0")).unwrap();
    assert_eq!(version.content.artifacts.iter().collect::<Vec<_>>(), [&file]);
    assert_eq!(version.digest, version.content.digest());
    let log = world.log().await;
    let kinds: Vec<&str> = log.iter().map(|found| found.commit.events[0].kind()).collect();
    assert_eq!(kinds, ["adopted", "adopted", "adopted", "stage_changed"]);
}

fn plan() -> TrialPlan {
    TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.1).unwrap(),
        measure: Measure::new("error rate".parse().unwrap(), MeasureKind::Proportion, None).unwrap(),
        goal: Goal::Better,
        end: PlannedEnd::new(None, Some(1_000.try_into().unwrap())).unwrap(),
        significance: Significance::default(),
        looks: 1.try_into().unwrap(),
    }
}

#[tokio::test]
async fn the_files_of_both_versions_are_on_record_before_they_are_tried() {
    let mut other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Staging)]);
    let file = Artifact { path: "model.bin".parse().unwrap(), digest: Digest::of(b"weights"), size: 7 };
    Arc::get_mut(&mut other).unwrap().files = Some(file.clone());
    let world = shared_with(&other);
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    world.registry.start_trial(&alice(), &fraud(), &v("2.0.0"), None, plan()).await.unwrap();
    let state = world.registry.model(&fraud()).await.unwrap();
    let (_, trial) = state.running_trial(&v("2.0.0")).unwrap();
    for arm in [&trial.treatment, &trial.control] {
        let version = state.version(&arm.version).unwrap();
        assert_eq!(version.content.artifacts.iter().collect::<Vec<_>>(), [&file]);
        assert_eq!(version.digest, arm.digest, "what is tried is what is on record");
    }
}

#[tokio::test]
async fn a_move_past_the_registry_ends_a_trial_and_passes_no_gate() {
    let other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    world.registry.start_trial(&alice(), &fraud(), &v("2.0.0"), None, plan()).await.unwrap();
    let gates = vec![Gate::Signed { file: None }];
    let rule = Some(StageRule { gates, ..StageRule::default() });
    let scope = Scope::Model(fraud());
    world.registry.set_stage_rule(&alice(), &scope, Stage::Production, rule).await.unwrap();
    other.set("2.0.0", Stage::Production);
    assert!(world.registry.model(&fraud()).await.unwrap().trials.is_empty(), "a reader sees it at once");
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    let last = world.log().await.pop().unwrap();
    let changes: Vec<&Event> = last
        .commit
        .events
        .iter()
        .map(|event| match event {
            Event::Adopted(adopted) => &adopted.change,
            other => panic!("{other:?}"),
        })
        .collect();
    let ends = changes.iter().filter(|change| matches!(change, Event::TrialAborted { .. })).count();
    assert_eq!(ends, 1, "{changes:?}");
    let state = world.registry.model(&fraud()).await.unwrap();
    assert_eq!((&state.production, state.trials.is_empty()), (&Some(v("2.0.0")), true));
}

#[tokio::test]
async fn ten_thousand_versions_are_adopted_in_commits_that_fit() {
    let rows: Vec<(String, Stage)> =
        (1..=10_000).map(|number| (format!("{number}.0.0"), Stage::Development)).collect();
    let rows: Vec<(&str, Stage)> = rows.iter().map(|(version, stage)| (version.as_str(), *stage)).collect();
    let other = Other::new(&rows);
    let world = shared_with(&other);
    world.registry.describe(&alice(), &fraud(), None, Some("adopted".parse().unwrap())).await.unwrap();
    let state = world.registry.model(&fraud()).await.unwrap();
    assert_eq!(state.version_count, 10_000);
    assert!(world.log().await.len() > 2);
    let sound = world.registry.verify(&fraud(), Default::default()).await.unwrap();
    assert!(sound.is_sound());
}

/// What was found on an empty log must not be written onto one that has begun meanwhile.
#[tokio::test]
async fn what_was_found_before_others_wrote_is_not_adopted_after() {
    let other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    let stale = world.registry.drift(&fraud()).await.unwrap().unwrap();
    world.promote("2.0.0", Stage::Production).await.unwrap();
    let request = Request { stream: (&fraud()).into(), by: alice(), command: Command::Adopt(stale) };
    let refused = world.registry.execute(request).await.unwrap_err();
    assert!(matches!(refused, Error::Rejected(Rejection::StaleAdoption { .. })), "{refused}");
    assert_eq!(world.registry.model(&fraud()).await.unwrap().production, Some(v("2.0.0")));
}

#[tokio::test]
async fn writers_that_begin_at_once_adopt_once() {
    let other = Other::new(&[("1.0.0", Stage::Production), ("2.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    let writes = (0..8).map(|number| {
        let registry = &world.registry;
        async move {
            let text = format!("writer {number}").parse().unwrap();
            registry.describe(&alice(), &fraud(), None, Some(text)).await.unwrap();
        }
    });
    futures_util::future::join_all(writes).await;
    let log = world.log().await;
    let adoptions = log.iter().filter(|found| found.commit.actor.as_str() == "other");
    assert_eq!((adoptions.count(), log.len()), (1, 9));
}

#[tokio::test]
async fn reconciling_is_rehearsed_on_what_it_would_change() {
    let other = Other::new(&[("1.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    let rehearsed = world.registry.reconcile(&alice().rehearsing(), &fraud()).await.unwrap().unwrap();
    let kinds: Vec<&str> = rehearsed.events().iter().map(Event::kind).collect();
    assert_eq!(kinds, ["adopted", "adopted"]);
    assert!(world.log().await.is_empty());
}

#[tokio::test]
async fn a_rehearsal_expects_what_the_real_request_would_expect() {
    let other = Other::new(&[("1.0.0", Stage::Staging)]);
    let world = shared_with(&other);
    world.registry.reconcile(&alice(), &fraud()).await.unwrap();
    other.set("2.0.0", Stage::Staging);
    let by = alice().expecting(Revision::new(7).unwrap()).rehearsing();
    let text = Some("never".parse().unwrap());
    let refused = world.registry.describe(&by, &fraud(), None, text).await.unwrap_err();
    assert!(matches!(refused, Error::Rejected(Rejection::RevisionMismatch { .. })), "{refused}");
}

/// What happens to a model that two sides write to.
#[derive(Debug, Clone)]
enum Act {
    /// Others move a version, or register it.
    TheyMove(u64, Stage),
    /// Others delete a version.
    TheyDelete(u64),
    WeRegister(u64),
    WePromote(u64, Stage),
    WeRollBack,
    WeDelete(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let number = || 1..5_u64;
    let stage = || prop::sample::select(Stage::ALL.to_vec());
    prop_oneof![
        (number(), stage()).prop_map(|(number, stage)| Act::TheyMove(number, stage)),
        number().prop_map(Act::TheyDelete),
        number().prop_map(Act::WeRegister),
        (number(), stage()).prop_map(|(number, stage)| Act::WePromote(number, stage)),
        Just(Act::WeRollBack),
        number().prop_map(Act::WeDelete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever both sides do: a reader sees what the next write will find, one version at most is in
    /// production, and after a write both sides show the same.
    #[test]
    fn both_sides_agree_after_each_write(acts in prop::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let other = Other::new(&[]);
            let world = shared_with(&other);
            for act in acts {
                live(&world, &other, act).await;
            }
            let sound = world.registry.verify(&fraud(), Default::default()).await.unwrap();
            assert!(sound.is_sound(), "{:?}", sound.problems);
        });
    }
}

async fn live(world: &World, other: &Other, act: Act) {
    let number = |number: u64| Version::new(number, 0, 0);
    let registry = &world.registry;
    let (by, model, options) = (alice(), fraud(), PromoteOptions::default());
    let written = match act {
        Act::TheyMove(version, stage) => {
            // Others may not bring back what was deleted: numbers are never used again.
            let state = registry.state(&(&model).into(), &Need::Whole).await.unwrap();
            if state.version(&number(version)).is_none_or(|version| version.deleted.is_none()) {
                other.rows.lock().unwrap().insert(number(version), Row::in_stage(stage));
            }
            false
        }
        Act::TheyDelete(version) => {
            other.rows.lock().unwrap().remove(&number(version));
            false
        }
        Act::WeRegister(version) => {
            let registration = Registration::new(number(version), Content::default());
            registry.register(&by, &model, registration, &[]).await.is_ok()
        }
        Act::WePromote(version, stage) => {
            registry.promote(&by, &model, &number(version), stage, options).await.is_ok()
        }
        Act::WeRollBack => registry.rollback(&by, &model, None, true).await.is_ok(),
        Act::WeDelete(version) => registry.delete(&by, &model, &number(version)).await.is_ok(),
    };
    let state = registry.state(&(&model).into(), &Need::Whole).await.unwrap();
    let visible = || state.versions().filter(|version| version.deleted.is_none());
    let production: Vec<&Version> = visible()
        .filter(|version| version.stage == Stage::Production)
        .map(|version| &version.version)
        .collect();
    assert_eq!(production, state.production.iter().collect::<Vec<_>>());
    if written {
        let shown: Vec<(Version, Stage)> =
            visible().map(|found| (found.version.clone(), found.stage)).collect();
        let rows = other.rows.lock().unwrap();
        let there: Vec<(Version, Stage)> =
            rows.iter().map(|(version, row)| (version.clone(), row.stage)).collect();
        assert_eq!(shown, there);
    }
}
