//! The cases about the registry as a whole, over a backend's log and store.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Candidate, Damage, Handle};
use crate::checkpoint;
use crate::command::{By, Command, Request, VersionChoice};
use crate::compare::Significance;
use crate::content::{Content, Finite, Metric};
use crate::digest::Digest;
use crate::error::Error;
use crate::event::Event;
use crate::experiment::{RunLog, RunStatus};
use crate::ext::{Amendment, PromoteOptions, Promotion, Registration, RegistryExt, Scope, Upload};
use crate::garbage::GarbageOptions;
use crate::gate::Gate;
use crate::lineage::{Derivation, Link, NodeKind};
use crate::monitor::{Action, Condition, Monitor, Observed, Rule, Summary};
use crate::name::ModelName;
use crate::policy::{ApprovalRule, StageRule};
use crate::registry::{Need, Outcome, Registry};
use crate::rejection::Rejection;
use crate::search::{Page, Query};
use crate::selector::Selector;
use crate::stage::Stage;
use crate::state::ModelState;
use crate::storage::{ArtifactStore, CheckpointKind};
use crate::stream::{Revision, Stream};
use crate::time::{Clock, ManualClock, SystemClock, Timestamp};
use crate::trial::{
    Arms, Counts, Goal, Margin, Measure, MeasureKind, PlannedEnd, Share, Tally, TrialPlan, TrialStage,
    Verdict,
};
use crate::verify::{Problem, VerifyOptions};
use crate::version::Version;

type Registered = Arc<dyn Registry>;

fn by(actor: &str) -> By {
    By::new(actor.parse().unwrap())
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn stream(model: &ModelName) -> Stream {
    Stream::Model(model.clone())
}

/// A version with one file that holds its number.
async fn register(
    registry: &Registered,
    model: &ModelName,
    number: &str,
) -> Result<Arc<crate::VersionState>, Error> {
    let bytes = Bytes::from(format!("the weights of {model} {number}"));
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let registration = Registration::new(version(number), Content::default());
    Ok(registry.register(&by("trainer"), model, registration, &[upload]).await?.version)
}

async fn promote(registry: &Registered, model: &ModelName, number: &str, stages: &[Stage]) {
    for stage in stages {
        let options = PromoteOptions::default();
        let done = registry.promote(&by("alice"), model, &version(number), *stage, options).await.unwrap();
        assert!(done.is_done());
    }
}

const TO_PRODUCTION: [Stage; 2] = [Stage::Staging, Stage::Production];

async fn in_production(registry: &Registered, model: &ModelName) -> Option<Version> {
    registry.get(model, &Selector::PRODUCTION).await.ok().map(|found| found.version.clone())
}

/// Register, approve, promote, improve, roll back, deprecate, delete, look back.
pub async fn a_whole_life(candidate: &dyn Candidate) {
    let registry = candidate.open().await.registry();
    let model = name("fraud-detection");
    register(&registry, &model, "v3.0.0").await.unwrap();
    promote(&registry, &model, "v3.0.0", &TO_PRODUCTION).await;

    let rule = ApprovalRule::one_of(["bob".parse().unwrap()]);
    let rule = StageRule { approval: Some(rule), ..StageRule::default() };
    registry.set_stage_rule(&by("admin"), &Scope::Registry, Stage::Production, Some(rule)).await.unwrap();

    register(&registry, &model, "v3.1.0").await.unwrap();
    promote(&registry, &model, "v3.1.0", &[Stage::Staging]).await;
    let v31 = version("v3.1.0");
    let options = PromoteOptions::default();
    let asked = registry.promote(&by("alice"), &model, &v31, Stage::Production, options).await.unwrap();
    assert!(matches!(asked, Promotion::Pending { approvals_missing: 1, .. }));
    assert_eq!(in_production(&registry, &model).await, Some(version("v3.0.0")));
    let refused = registry.approve(&by("alice"), &model, &v31, None, None, None).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::NotAnApprover { .. })), "{refused}");
    let approved = registry.approve(&by("bob"), &model, &v31, None, None, None).await.unwrap();
    let Promotion::Done { superseded, .. } = approved else { panic!("{approved:?}") };
    assert_eq!(superseded, Some(version("v3.0.0")));

    // Another process sees it, and rolls back.
    let other = candidate.open().await.registry();
    assert_eq!(in_production(&other, &model).await, Some(v31.clone()));
    let back =
        other.rollback(&by("carol").because("false positives".parse().unwrap()), &model, None, false).await;
    assert_eq!(back.unwrap().to, version("v3.0.0"));
    let live = registry.get(&model, &Selector::PRODUCTION).await.unwrap();
    assert_eq!(live.version, version("v3.0.0"));
    let file = live.artifact(&"model.bin".parse().unwrap()).unwrap();
    let bytes = registry.read(file, 1_000).await.unwrap();
    assert_eq!(bytes, Bytes::from("the weights of fraud-detection v3.0.0"));
    let again = registry.promote(&by("alice"), &model, &v31, Stage::Staging, PromoteOptions::default()).await;
    assert!(matches!(again.unwrap_err().rejection(), Some(Rejection::IsQuarantined { .. })));

    let reason = by("alice").because("superseded".parse().unwrap());
    registry.deprecate(&reason, &model, &v31, Some(&version("v3.0.0")), None).await.unwrap();
    let warned = other.get(&model, &Selector::Version(v31.clone())).await.unwrap();
    assert_eq!(warned.warnings().len(), 2, "{:?}", warned.warnings());
    let refused = registry.delete(&by("alice"), &model, &version("v3.0.0")).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::InProduction { .. })), "{refused}");
    registry.delete(&by("alice"), &model, &v31).await.unwrap();
    registry.undelete(&by("alice"), &model, &v31).await.unwrap();

    let sound = other
        .verify(&model, VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
        .await
        .unwrap();
    assert!(sound.is_sound(), "{:?}", sound.problems);
    assert_eq!(sound.files, 2);
    let replayed =
        other.model_at(&model, SystemClock.now().saturating_add(Duration::from_secs(60))).await.unwrap();
    assert_eq!(replayed, *registry.model(&model).await.unwrap());
}

/// A version with this accuracy, in staging.
async fn stage(registry: &Registered, model: &ModelName, number: &str, accuracy: f64) {
    let bytes = Bytes::from(format!("the weights of {model} {number}"));
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let metrics = [("accuracy".parse().unwrap(), Metric::new(accuracy).unwrap())].into();
    let content = Content { metrics, ..Content::default() };
    let registration = Registration { stage: Stage::Staging, ..Registration::new(version(number), content) };
    registry.register(&by("trainer"), model, registration, &[upload]).await.unwrap();
}

/// A version that does not show what is demanded stays out; what the next one showed is on record.
pub async fn gates_keep_a_version_out(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("gated");
    stage(&one, &model, "1.0.0", 0.875).await;
    promote(&one, &model, "1.0.0", &[Stage::Production]).await;
    let gates = r#"[{"gate":"metric","name":"accuracy","at_least":0.5},{"gate":"no_regression"},
        {"gate":"files","required":["model.bin"]}]"#;
    let rule = StageRule { gates: serde_json::from_str(gates).unwrap(), ..StageRule::default() };
    one.set_stage_rule(&by("admin"), &Scope::Model(model.clone()), Stage::Production, Some(rule))
        .await
        .unwrap();

    stage(&two, &model, "1.1.0", 0.75).await;
    let v11 = version("1.1.0");
    let ask =
        async |by: &By| two.promote(by, &model, &v11, Stage::Production, PromoteOptions::default()).await;
    let refused = ask(&by("alice")).await.unwrap_err();
    let Some(Rejection::GatesClosed { failed, .. }) = refused.rejection() else { panic!("{refused}") };
    assert_eq!((failed.len(), failed[0].against.as_ref()), (1, Some(&version("1.0.0"))));
    assert_eq!(in_production(&one, &model).await, Some(version("1.0.0")));

    let better = [("accuracy".parse().unwrap(), Metric::new(0.9375).unwrap())].into();
    let amendment = Amendment { metrics: better, ..Amendment::default() };
    one.amend(&by("trainer"), &model, &v11, amendment).await.unwrap();
    let Promotion::Done { gates, receipt, .. } = ask(&by("alice")).await.unwrap() else { panic!("pending") };
    assert_eq!(gates.iter().filter(|result| result.passed).count(), 3);
    let revision = receipt.commit().unwrap().revision;
    let recorded = candidate.open().await.registry().log(&model, revision, 1).await.unwrap();
    assert_eq!(*recorded[0].commit, *receipt.commit().unwrap());
}

/// A trial begins through one handle, is fed through another, and its verdict opens a gate.
pub async fn a_trial_is_run_and_judged(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("tried");
    stage(&one, &model, "1.0.0", 0.75).await;
    promote(&one, &model, "1.0.0", &[Stage::Production]).await;
    stage(&one, &model, "1.1.0", 0.75).await;
    let rule = StageRule {
        gates: vec![Gate::Trial { stage: None, max_age_seconds: Some(3_600) }],
        ..StageRule::default()
    };
    one.set_stage_rule(&by("admin"), &Scope::Model(model.clone()), Stage::Production, Some(rule))
        .await
        .unwrap();
    let plan = TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.1).unwrap(),
        measure: Measure::new("error rate".parse().unwrap(), MeasureKind::Proportion, None).unwrap(),
        goal: Goal::NotWorse { margin: Margin::new(0.01).unwrap() },
        end: PlannedEnd::new(None, NonZeroU64::new(1_000)).unwrap(),
        significance: Significance::default(),
        looks: NonZeroU32::MIN,
    };
    let v11 = version("1.1.0");
    one.start_trial(&by("alice"), &model, &v11, None, plan).await.unwrap();

    let traffic = two.traffic(&model).await.unwrap();
    let shares: Vec<f64> = traffic.stages[&Stage::Production].iter().map(|route| route.share).collect();
    assert_eq!(shares, [0.9, 0.1]);
    let counts = |errors, requests| Counts::new(errors, requests).unwrap();
    let batch = Tally::Proportion(Arms { control: counts(9, 9_000), treatment: counts(1, 1_000) });
    // Sent twice under one id, it counts once.
    let once = by("router").with_request_id("batch-1".parse().unwrap());
    for registry in [&two, &one] {
        registry.observe_trial(&once, &model, &v11, batch).await.unwrap();
    }
    let look = two.conclude_trial(&by("alice"), &model, &v11).await.unwrap();
    assert!(look.is_concluded);
    assert_eq!((look.judgement.verdict, look.judgement.tally), (Verdict::Favourable, batch));

    let cold = candidate.open().await.registry();
    let trials = cold.trials(&model).await.unwrap();
    assert!(trials.running.is_empty());
    assert_eq!(trials.concluded[0].judgement, look.judgement);
    promote(&cold, &model, "1.1.0", &[Stage::Production]).await;
    let alone = one.traffic(&model).await.unwrap();
    assert_eq!(alone.stages[&Stage::Production].len(), 1);
    let later = SystemClock.now().saturating_add(Duration::from_secs(60));
    assert_eq!(one.model_at(&model, later).await.unwrap(), *two.model(&model).await.unwrap());
}

/// Eight writers through four handles: every commit is there once.
pub async fn many_writers_lose_nothing(candidate: &dyn Candidate) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(candidate.open().await.registry());
    }
    let model = name("contended");
    register(&handles[0], &model, "1.0.0").await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let registry = Arc::clone(&handles[writer % handles.len()]);
        let model = model.clone();
        async move {
            for number in 0..EACH {
                let key = format!("w{writer}-n{number}").parse().unwrap();
                let set = [(key, String::new())].into();
                let by = by(&format!("writer-{writer}"));
                let receipt = registry.change_tags(&by, &model, None, set, Vec::new()).await.unwrap();
                assert!(matches!(receipt.outcome, Outcome::Committed(_)));
            }
        }
    });
    join_all(writers).await;
    let state = candidate.open().await.registry().model(&model).await.unwrap();
    assert_eq!(state.tags.len(), WRITERS * EACH);
    assert_eq!(state.revision().unwrap().get(), (WRITERS * EACH + 1) as u64);
}

/// One version in production at every revision, whoever races.
pub async fn racers_for_production_end_with_one(candidate: &dyn Candidate) {
    let model = name("raced");
    let handles = [candidate.open().await.registry(), candidate.open().await.registry()];
    let numbers: Vec<String> = (1..=6).map(|number| format!("v{number}.0.0")).collect();
    for number in &numbers {
        register(&handles[0], &model, number).await.unwrap();
        promote(&handles[0], &model, number, &[Stage::Staging]).await;
    }
    let racers = numbers.iter().enumerate().map(|(index, number)| {
        let registry = Arc::clone(&handles[index % 2]);
        let (model, number) = (model.clone(), version(number));
        async move {
            let by = by(&format!("racer-{index}"));
            registry
                .promote(&by, &model, &number, Stage::Production, PromoteOptions::default())
                .await
                .unwrap()
        }
    });
    join_all(racers).await;
    let registry = candidate.open().await.registry();
    let mut state = ModelState::new();
    for recorded in registry.log(&model, Revision::FIRST, 1_000).await.unwrap() {
        state.apply(&recorded.commit, recorded.digest);
        let count = state.versions().filter(|version| version.stage == Stage::Production).count();
        assert!(count <= 1, "{count} in production at {}", recorded.commit.revision);
    }
    assert_eq!(state.production_spans().count(), 6);
    assert_eq!(state.versions().filter(|version| version.stage == Stage::Archived).count(), 5);
}

/// The same request under the same id, through another handle, gives the first commit again.
pub async fn a_repeated_request_is_done_once(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("repeated");
    register(&one, &model, "1.0.0").await.unwrap();
    let by = by("alice").with_request_id("deploy-42".parse().unwrap());
    let to_staging = |registry: Registered| {
        let (by, model) = (by.clone(), model.clone());
        async move {
            let v1 = version("1.0.0");
            registry.promote(&by, &model, &v1, Stage::Staging, PromoteOptions::default()).await.unwrap()
        }
    };
    let first = to_staging(Arc::clone(&one)).await;
    // Even after the version has moved on: it is about what was asked then.
    promote(&one, &model, "1.0.0", &[Stage::Production]).await;
    for registry in [one, two] {
        let again = to_staging(registry).await;
        assert!(matches!(again.receipt().outcome, Outcome::Repeated(_)));
        assert_eq!(again.receipt().commit(), first.receipt().commit());
    }
    assert_eq!(candidate.open().await.registry().log(&model, Revision::FIRST, 100).await.unwrap().len(), 3);
}

/// An id is for one request.
pub async fn a_reused_request_id_is_refused(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("reused");
    register(&one, &model, "1.0.0").await.unwrap();
    let by = by("alice").with_request_id("the-id".parse().unwrap());
    one.describe(&by, &model, None, Some("first".parse().unwrap())).await.unwrap();
    let refused = two.describe(&by, &model, None, Some("second".parse().unwrap())).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::RequestIdReused { .. })), "{refused}");
}

/// Whoever tries to approve and may not is refused, each time that the request comes, and it is on record once. A rehearsal
/// leaves nothing behind, and others may go on.
pub async fn a_refused_approval_is_on_record(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("guarded");
    register(&one, &model, "1.0.0").await.unwrap();
    promote(&one, &model, "1.0.0", &[Stage::Staging]).await;
    let v1 = version("1.0.0");
    let options = PromoteOptions { require_approval: true, ..PromoteOptions::default() };
    one.promote(&by("alice"), &model, &v1, Stage::Production, options).await.unwrap();
    let asked = one.model(&model).await.unwrap().revision().unwrap();
    let same = by("alice").with_request_id("mine".parse().unwrap());
    for (registry, who, commits) in [
        (&one, same.rehearsing(), 0_usize),
        (&two, same.clone(), 1),
        (&one, same.clone(), 1),
        (&two, same, 1),
        (&two, by("trainer"), 2),
    ] {
        let refused = registry.approve(&who, &model, &v1, None, None, None).await.unwrap_err();
        assert!(matches!(refused.rejection(), Some(Rejection::SelfApproval { .. })), "{refused}");
        let since = candidate.open().await.registry().log(&model, asked.next(), 10).await.unwrap();
        assert_eq!(since.len(), commits);
        for noted in &since {
            let is_noted = matches!(noted.commit.events[..], [Event::ApprovalRefused { request, .. }] if request == asked);
            assert!(is_noted, "{:?}", noted.commit);
        }
    }
    let approved = one.approve(&by("bob"), &model, &v1, None, None, None).await.unwrap();
    assert!(approved.is_done());
    assert_eq!(in_production(&two, &model).await, Some(v1));
}

/// A request that expects another revision is refused and writes nothing.
pub async fn compare_and_set_by_revision(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("cas");
    register(&one, &model, "1.0.0").await.unwrap();
    let seen = two.model(&model).await.unwrap().revision().unwrap();
    one.describe(&by("alice"), &model, None, Some("changed".parse().unwrap())).await.unwrap();
    let stale = by("bob").expecting(seen);
    let refused = two.describe(&stale, &model, None, Some("mine".parse().unwrap())).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::RevisionMismatch { .. })), "{refused}");
    let fresh = by("bob").expecting(two.model(&model).await.unwrap().revision().unwrap());
    two.describe(&fresh, &model, None, Some("mine".parse().unwrap())).await.unwrap();
    assert_eq!(one.model(&model).await.unwrap().description.as_ref().unwrap().as_str(), "mine");
}

fn at(handle: &Handle, clock: &Arc<ManualClock>) -> Registered {
    handle.registry_at(Arc::clone(clock) as _)
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse_or_start_of_day(text).unwrap()
}

/// Writers whose clocks are hours apart, and one that goes backwards.
pub async fn clocks_that_disagree_keep_times_in_order(candidate: &dyn Candidate) {
    let clocks = ["2026-01-01T12:00:00Z", "2026-01-01T09:00:00Z", "2026-01-01T15:00:00Z"]
        .map(|text| Arc::new(ManualClock::new(instant(text))));
    let handle = candidate.open().await;
    let writers: Vec<Registered> = clocks.iter().map(|clock| at(&handle, clock)).collect();
    let model = name("skewed");
    register(&writers[0], &model, "1.0.0").await.unwrap();
    for round in 0..10 {
        for (index, writer) in writers.iter().enumerate() {
            let text = format!("round {round} writer {index}");
            writer.describe(&by("w"), &model, None, Some(text.parse().unwrap())).await.unwrap();
        }
        clocks[2].set(instant("2026-01-01T08:00:00Z"));
    }
    let log = writers[1].log(&model, Revision::FIRST, 100).await.unwrap();
    assert_eq!(log.len(), 31);
    for pair in log.windows(2) {
        assert!(pair[0].commit.time < pair[1].commit.time);
    }
    assert!(writers[0].verify(&model, VerifyOptions::default()).await.unwrap().is_sound());
}

/// A reader with an old fold in its cache sees everything that was committed since.
pub async fn a_reader_hours_behind_catches_up(candidate: &dyn Candidate) {
    let (writer, reader) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("behind");
    register(&writer, &model, "1.0.0").await.unwrap();
    assert_eq!(reader.model(&model).await.unwrap().versions().count(), 1);
    for minor in 1..=60 {
        register(&writer, &model, &format!("1.{minor}.0")).await.unwrap();
    }
    promote(&writer, &model, "1.60.0", &TO_PRODUCTION).await;
    assert_eq!(in_production(&reader, &model).await, Some(version("1.60.0")));
    let (ours, theirs) = (reader.model(&model).await.unwrap(), writer.model(&model).await.unwrap());
    assert_eq!(ours, theirs);
}

/// With more versions than a brief checkpoint holds: every question has the same answer cold and warm.
pub async fn a_cold_reader_agrees_with_a_warm_one(candidate: &dyn Candidate) {
    let warm = candidate.open().await.registry();
    let model = name("cold");
    for minor in 0..70_u32 {
        let number = format!("1.{minor}.0");
        register(&warm, &model, &number).await.unwrap();
        if minor % 20 == 5 {
            promote(&warm, &model, &number, &TO_PRODUCTION).await;
        }
        if minor % 20 == 7 {
            promote(&warm, &model, &number, &[Stage::Staging]).await;
        }
    }
    let alias = "champion".parse().unwrap();
    warm.set_alias(&by("alice"), &model, &alias, &version("1.3.0")).await.unwrap();
    warm.deprecate(&by("alice"), &model, &version("1.69.0"), None, None).await.unwrap();
    warm.describe(&by("alice"), &model, Some(&version("1.2.0")), Some("old".parse().unwrap())).await.unwrap();
    let now = SystemClock.now();
    for text in
        ["production", "staging", "champion", "latest", "newest", "previous", "^1.4", "1.2.0", "development"]
    {
        let selector: Selector = text.parse().unwrap();
        let cold = candidate.open().await.registry().get(&model, &selector).await.unwrap();
        assert_eq!(cold.state(), warm.get(&model, &selector).await.unwrap().state(), "{text}");
    }
    let then = Selector::ProductionAt(now);
    let cold = candidate.open().await.registry().get(&model, &then).await.unwrap();
    assert_eq!(cold.version, version("1.65.0"));
    let cold = candidate.open().await.registry();
    assert!(cold.get(&model, &Selector::Version(version("9.9.9"))).await.is_err());
    assert_eq!(cold.model(&model).await.unwrap(), warm.model(&model).await.unwrap());
    // A cold writer finds a request that was fulfilled before the checkpoint.
    let log = warm.log(&model, Revision::FIRST, 1).await.unwrap();
    let first = &log[0].commit;
    let known = candidate.open().await.registry().state(&stream(&model), &Need::Whole).await.unwrap();
    assert_eq!(known.fulfilled(&first.request_id).unwrap().revision, Revision::FIRST);
}

/// Checkpoints are caches: wrong ones change no answer.
pub async fn checkpoints_that_do_not_fit_are_ignored(candidate: &dyn Candidate) {
    let handle = candidate.open().await;
    let registry = handle.registry();
    let model = name("cached");
    for minor in 0..40_u32 {
        register(&registry, &model, &format!("1.{minor}.0")).await.unwrap();
    }
    promote(&registry, &model, "1.7.0", &TO_PRODUCTION).await;
    let expected = registry.model(&model).await.unwrap();
    let kept = handle.log.load_checkpoint(&stream(&model), CheckpointKind::Brief).await.unwrap().unwrap();
    let kept = String::from_utf8(kept.to_vec()).unwrap();
    let head = expected.head.unwrap();
    let lies = [
        "not a checkpoint".to_owned(),
        String::new(),
        kept.replace(&head.digest.to_string(), &crate::Digest::of(b"x").to_string()),
        kept.replace("\"format\":1", "\"format\":2"),
        kept.replace("model/cached", "model/other"),
        serde_json::to_string(&serde_json::json!({
            "format": 1,
            "stream": "model/cached",
            "state": {
                "head": { "revision": 999, "digest": crate::Digest::of(b"y"), "time": "2026-01-01T00:00:00.000000Z" },
            },
        }))
        .unwrap(),
    ];
    for lie in lies {
        for kind in [CheckpointKind::Brief, CheckpointKind::Whole] {
            handle.log.save_checkpoint(&stream(&model), kind, Bytes::from(lie.clone())).await.unwrap();
        }
        let cold = candidate.open().await.registry();
        assert_eq!(in_production(&cold, &model).await, Some(version("1.7.0")), "{lie:.60}");
        assert_eq!(cold.model(&model).await.unwrap(), expected, "{lie:.60}");
    }
}

/// What a checkpoint says wrongly of a commit that is there is believed by those who start, so verifying finds it,
/// and puts it right if asked to.
pub async fn checkpoints_that_lie_are_found_and_renewed(candidate: &dyn Candidate) {
    let handle = candidate.open().await;
    let registry = handle.registry();
    let model = name("lied");
    for minor in 0..40_u32 {
        register(&registry, &model, &format!("1.{minor}.0")).await.unwrap();
    }
    promote(&registry, &model, "1.7.0", &TO_PRODUCTION).await;
    let truth = registry.model(&model).await.unwrap();
    assert!(registry.verify(&model, VerifyOptions::default()).await.unwrap().is_sound());

    let lie = |change: &dyn Fn(&mut ModelState)| {
        let mut lie = (*truth).clone();
        change(&mut lie);
        lie
    };
    let stage = |state: &mut ModelState, text: &str, stage| {
        let mut moved = (**state.version(&version(text)).unwrap()).clone();
        moved.stage = stage;
        state.versions.insert_mut(moved.version.clone(), Arc::new(moved));
    };
    let lies = [
        lie(&|state| state.production = Some(version("1.39.0"))),
        lie(&|state| state.description = Some("another".parse().unwrap())),
        lie(&|state| stage(state, "1.7.0", Stage::Archived)),
        lie(&|state| state.version_count += 1),
    ];
    let revision = truth.revision().unwrap();
    for lie in lies {
        for kind in [CheckpointKind::Brief, CheckpointKind::Whole] {
            let body = Bytes::from(checkpoint::encode(&stream(&model), kind, &lie).unwrap());
            handle.log.save_checkpoint(&stream(&model), kind, body).await.unwrap();
            for renew_checkpoints in [false, true] {
                let options = VerifyOptions { renew_checkpoints, ..VerifyOptions::default() };
                let found = candidate.open().await.registry().verify(&model, options).await.unwrap();
                assert_eq!(
                    found.problems,
                    [Problem::Checkpoint { revision, kind, renewed: renew_checkpoints }]
                );
            }
            let cold = candidate.open().await.registry();
            assert!(cold.verify(&model, VerifyOptions::default()).await.unwrap().is_sound());
            assert_eq!(in_production(&cold, &model).await, Some(version("1.7.0")));
            assert_eq!(cold.model(&model).await.unwrap(), truth);
        }
    }
}

/// As of any instant, through rollbacks and gaps.
pub async fn what_was_in_production_when(candidate: &dyn Candidate) {
    let clock = Arc::new(ManualClock::new(instant("2024-01-01")));
    let registry = at(&candidate.open().await, &clock);
    let model = name("history");
    for number in ["1.0.0", "2.0.0"] {
        register(&registry, &model, number).await.unwrap();
    }
    clock.set(instant("2024-01-10"));
    promote(&registry, &model, "1.0.0", &TO_PRODUCTION).await;
    clock.set(instant("2024-01-20"));
    promote(&registry, &model, "2.0.0", &TO_PRODUCTION).await;
    clock.set(instant("2024-01-25"));
    registry.rollback(&by("alice"), &model, None, false).await.unwrap();
    clock.set(instant("2024-02-01"));
    registry.archive(&by("alice"), &model, &version("1.0.0")).await.unwrap();
    for (day, expected) in [
        ("2024-01-05", None),
        ("2024-01-09", None),
        ("2024-01-10", Some("1.0.0")),
        ("2024-01-19", Some("1.0.0")),
        ("2024-01-20", Some("2.0.0")),
        ("2024-01-25", Some("1.0.0")),
        ("2024-01-31", Some("1.0.0")),
        ("2024-02-01", None),
    ] {
        let selector: Selector = format!("production@{day}").parse().unwrap();
        let cold = at(&candidate.open().await, &clock);
        let found = cold.get(&model, &selector).await.ok().map(|found| found.version.clone());
        assert_eq!(found, expected.map(version), "{day}");
        let end = Timestamp::parse_or_end_of_day(day).unwrap();
        assert_eq!(cold.model_at(&model, end).await.unwrap().production, expected.map(version), "{day}");
    }
}

/// By the read that touches it and by `verify`, with its revision.
pub async fn a_damaged_record_is_found_and_named(candidate: &dyn Candidate) {
    let registry = candidate.open().await.registry();
    let model = name("damaged");
    for number in ["1.0.0", "1.1.0", "1.2.0"] {
        register(&registry, &model, number).await.unwrap();
    }
    let damaged = Revision::new(2).unwrap();
    candidate.damage_record(&stream(&model), damaged).await;
    let cold = candidate.open().await.registry();
    let error = cold.model(&model).await.unwrap_err();
    assert!(matches!(error, Error::CorruptLog(_)), "{error:?}");
    assert!(error.to_string().contains("revision 2 of `model/damaged`"), "{error}");
    let found = cold.verify(&model, VerifyOptions::default()).await.unwrap();
    assert!(
        matches!(&found.problems[..], [Problem::Commit { revision, .. }] if *revision == damaged),
        "{:?}",
        found.problems
    );
    assert_eq!(found.commits, 2, "the others were checked too");
}

/// By the read and by `verify`, with version and path.
pub async fn damaged_bytes_are_found_and_named(candidate: &dyn Candidate) {
    let model = name("bytes");
    for (number, damage) in [
        ("1.0.0", Damage::Altered),
        ("2.0.0", Damage::Truncated),
        ("3.0.0", Damage::Removed),
        ("4.0.0", Damage::Emptied),
    ] {
        let registry = candidate.open().await.registry();
        let registered = register(&registry, &model, number).await.unwrap();
        let file = registered.content.artifacts.iter().next().unwrap();
        assert!(registry.read(file, 1_000).await.is_ok());
        candidate.damage_blob(&file.digest, damage).await;
        let error = candidate.open().await.registry().read(file, 1_000).await.unwrap_err();
        assert!(matches!(error, Error::CorruptBytes(_)), "{damage:?}: {error:?}");
        assert!(error.to_string().contains(&file.digest.to_string()), "{damage:?}: {error}");
    }
    let registry = candidate.open().await.registry();
    let found = registry
        .verify(&model, VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
        .await
        .unwrap();
    let named: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for (problem, number) in named.iter().zip(["v1.0.0", "v2.0.0", "v3.0.0", "v4.0.0"]) {
        assert!(problem.contains(&format!("{number} model.bin")), "{problem}");
    }
}

/// Never back to a version that could not serve.
pub async fn rollback_passes_over_damaged_bytes(candidate: &dyn Candidate) {
    let registry = candidate.open().await.registry();
    let model = name("back");
    let mut files = Vec::new();
    for number in ["1.0.0", "2.0.0", "3.0.0"] {
        let registered = register(&registry, &model, number).await.unwrap();
        files.push(registered.content.artifacts.iter().next().unwrap().digest);
        promote(&registry, &model, number, &TO_PRODUCTION).await;
    }
    candidate.damage_blob(&files[1], Damage::Altered).await;
    let named = registry.rollback(&by("alice"), &model, Some(&version("2.0.0")), false).await.unwrap_err();
    assert!(matches!(named.rejection(), Some(Rejection::BytesDamaged { .. })), "{named}");
    let back = registry.rollback(&by("alice"), &model, None, false).await.unwrap();
    assert_eq!(back.to, version("1.0.0"));
    candidate.damage_blob(&files[2], Damage::Removed).await;
    let none = registry.rollback(&by("alice"), &model, None, false).await.unwrap_err();
    assert!(matches!(none.rejection(), Some(Rejection::NoRollbackTarget { .. })), "{none}");
    assert_eq!(in_production(&registry, &model).await, Some(version("1.0.0")));
}

/// Bytes that nobody names go, and only those, and only when they are old.
pub async fn garbage_is_collected_and_nothing_else(candidate: &dyn Candidate) {
    let handle = candidate.open().await;
    let now = SystemClock.now();
    let clock = Arc::new(ManualClock::new(now));
    let registry = at(&handle, &clock);
    let model = name("tidy");
    let kept = register(&registry, &model, "1.0.0").await.unwrap();
    let deleted = register(&registry, &model, "2.0.0").await.unwrap();
    registry.delete(&by("alice"), &model, &version("2.0.0")).await.unwrap();
    let orphan = handle.artifacts.put(&Bytes::from_static(b"never registered"), &|_| {}).await.unwrap();
    let digest =
        |registered: &crate::VersionState| registered.content.artifacts.iter().next().unwrap().digest;
    let day = Duration::from_secs(24 * 60 * 60);
    let options = GarbageOptions { grace: day, dry_run: false };

    let too_short = GarbageOptions { grace: Duration::from_secs(60), dry_run: false };
    assert!(registry.collect_garbage(too_short).await.is_err());
    assert_eq!(registry.collect_garbage(options).await.unwrap().removed, []);

    clock.set(now.saturating_add(day * 2));
    let rehearsed = registry.collect_garbage(GarbageOptions { dry_run: true, ..options }).await.unwrap();
    assert_eq!(rehearsed.removed.len(), 2);
    assert_eq!(handle.artifacts.stat(&orphan.digest).await.unwrap(), Some(orphan.size));
    let collected = registry.collect_garbage(options).await.unwrap();
    assert_eq!((collected.removed, collected.needed), (rehearsed.removed, 1));
    assert_eq!(handle.artifacts.stat(&orphan.digest).await.unwrap(), None);
    assert_eq!(handle.artifacts.stat(&digest(&deleted)).await.unwrap(), None);
    assert!(handle.artifacts.stat(&digest(&kept)).await.unwrap().is_some());
    let gone = registry.undelete(&by("alice"), &model, &version("2.0.0")).await.unwrap_err();
    assert!(matches!(gone.rejection(), Some(Rejection::ArtifactMissing { .. })), "{gone}");
}

/// What is searched for has one answer, in one order, in pages of any size, on every backend.
pub async fn searches_have_one_answer(candidate: &dyn Candidate) {
    const C1: &str = "card@v1.0.0";
    const C2: &str = "card@v1.1.0";
    const C3: &str = "card@v2.0.0-rc.1";
    const H1: &str = "churn@v1.0.0";
    const H2: &str = "churn@v1.9.0";
    const H3: &str = "churn@v1.10.0";
    const L1: &str = "loan@v1.0.0";

    searched_world(&candidate.open().await).await;
    let reader = candidate.open().await.registry();
    let file = Digest::of(b"the weights of card@v1.1.0");
    let (whole, part) = (format!("digest = {file}"), format!("digest != {}", &file.hex()[..8]));
    let answers: [(&str, &[&str]); 47] = [
        ("", &[C1, C2, C3, H1, H3, L1]),
        ("name = 'card'", &[C1, C2, C3]),
        ("name in ('loan', 'churn', 'nobody')", &[H1, H3, L1]),
        ("name like 'C%'", &[C1, C2, C3, H1, H3]),
        ("not name like 'C%' or name = 'card' and version = 2.0.0-rc.1", &[C3, L1]),
        ("version = 1", &[C1, H1, L1]),
        ("version >= 1.9", &[C3, H3]),
        ("version = ^1.0", &[C1, C2, H1, H3, L1]),
        ("version < 2.0.0-rc.1 and version != 1.0", &[C2, H3]),
        ("stage = prod", &[C2]),
        ("stage in (staging, archived)", &[C1, H1]),
        ("stage = dev", &[C3, H3, L1]),
        ("stage != production and name = card", &[C1, C3]),
        ("tag.fraud", &[C1, C2, L1]),
        ("tag.fraud = 'eu'", &[C1]),
        ("tag.fraud != 'eu'", &[C2, L1]),
        ("not tag.fraud = 'eu'", &[C2, C3, H1, H3, L1]),
        ("tag.fraud not in ('eu', 'us')", &[L1]),
        ("metric.auc >= 0.81", &[C1, C2]),
        ("metric.auc < 0.8", &[H1, H3]),
        ("metric.loss", &[H1]),
        ("param.depth > 6", &[C2]),
        ("param.booster = 'gbtree' and param.early = true", &[C1]),
        ("owner = 'ann'", &[C1, H1]),
        ("owner != 'ann'", &[C2]),
        ("created = 2024-02-10", &[C2]),
        ("created < 2024-02-10", &[C1, H1]),
        ("promoted >= 2024-02-11", &[C2]),
        ("deprecated", &[H3]),
        ("not deprecated and name = 'churn'", &[H1]),
        ("deleted", &[H2]),
        ("quarantined or alias = 'champion'", &[C2]),
        ("feature = 'amount'", &[C1, C2, H1]),
        ("feature_set = 'cards'", &[C1, C2]),
        ("feature_set = 'cards:7'", &[C1]),
        ("data = 'd1' and experiment = 'exp-1'", &[C1]),
        (&whole, &[C2]),
        (&part, &[C1, C3, H1, H3, L1]),
        ("parent = card@v1", &[C2]),
        ("algorithm like '%BOOST' and framework = 'xgboost==1.7'", &[C1]),
        ("text = 'LOANS'", &[L1]),
        ("(owner = 'ann' or owner = 'ben') and not (stage = archived or metric.auc < 0.8)", &[C2]),
        ("order by version desc", &[C3, H3, C2, C1, H1, L1]),
        ("metric.auc order by metric.auc, version desc", &[H3, H1, C1, C2]),
        ("order by metric.auc desc, name desc", &[C2, C1, H1, H3, L1, C3]),
        ("order by stage, created desc", &[L1, C3, H3, H1, C2, C1]),
        ("order by owner", &[C1, H1, C2, C3, H3, L1]),
    ];
    for (text, expected) in answers {
        let asked: Query = text.parse().unwrap();
        let page = reader.search(&asked).await.unwrap();
        assert_eq!(shown(&page), expected, "{text}");
        assert_eq!(page.next, None, "{text}");
        // Of those that are dear where each look is a request, only some are turned page by page.
        if !["", "tag.fraud", "order by version desc", "order by metric.auc desc, name desc"].contains(&text)
        {
            continue;
        }
        let mut paged = Vec::new();
        let mut asked = Query { limit: 2, ..asked };
        loop {
            let page = reader.search(&asked).await.unwrap();
            paged.extend(shown(&page));
            match page.next {
                // As it comes back from whoever was shown it.
                Some(next) => asked.after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(paged, expected, "{text} by two");
    }
    let first = Query { limit: 1, ..Query::default() };
    let after = reader.search(&first).await.unwrap().next;
    let other: Query = "stage = dev".parse().unwrap();
    let refused = reader.search(&Query { after, ..other }).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to another search"), "{refused}");
}

fn shown(page: &Page) -> Vec<String> {
    page.matches.iter().map(|found| format!("{}@{}", found.model, found.version.version)).collect()
}

/// Three models, with a little of everything that can be searched for.
async fn searched_world(handle: &Handle) {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let registry = at(handle, &clock);
    let alice = by("alice");
    let on = |day: &str| clock.set(day.parse::<Timestamp>().unwrap());
    let make = async |model: &str, number: &str, content: serde_json::Value| {
        let bytes = Bytes::from(format!("the weights of {model}@v{number}"));
        let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
        let choice = VersionChoice::Explicit {
            version: version(number),
            allow_smaller: Some("numbers are not the matter here".parse().unwrap()),
        };
        let registration = Registration::new(choice, serde_json::from_value(content).unwrap());
        registry.register(&alice, &name(model), registration, &[upload]).await.unwrap();
    };

    on("2024-01-10T12:00:00Z");
    let first = serde_json::json!({
        "features": {"set": "cards", "version": "7", "features": ["amount", "country"]},
        "metadata": {
            "algorithm": "XGBoost",
            "framework": "xgboost==1.7",
            "hyperparameters": {"depth": 6, "booster": "gbtree", "early": true},
            "training_data_version": "d1",
            "experiment": "exp-1",
            "owner": "ann",
        },
        "metrics": {"auc": 0.81},
        "tags": {"fraud": "eu"},
    });
    make("card", "1.0.0", first).await;
    promote(&registry, &name("card"), "1.0.0", &TO_PRODUCTION).await;

    on("2024-01-20T12:00:00Z");
    let other = serde_json::json!({
        "features": ["amount", "age"],
        "metadata": {"algorithm": "Logistic Regression", "training_data_version": "d1", "owner": "ann"},
        "metrics": {"auc": 0.75, "loss": 0.3},
    });
    make("churn", "1.0.0", other).await;
    promote(&registry, &name("churn"), "1.0.0", &[Stage::Staging]).await;

    on("2024-02-10T12:00:00Z");
    let second = serde_json::json!({
        "features": {"set": "cards", "version": "8", "features": ["amount", "country"]},
        "metadata": {"hyperparameters": {"depth": 8}, "parent_model": "card@v1.0.0", "owner": "ben"},
        "metrics": {"auc": 0.9},
        "tags": {"fraud": "us"},
    });
    make("card", "1.1.0", second).await;
    on("2024-02-11T12:00:00Z");
    promote(&registry, &name("card"), "1.1.0", &TO_PRODUCTION).await;
    let champion = "champion".parse().unwrap();
    registry.set_alias(&alice, &name("card"), &champion, &version("1.1.0")).await.unwrap();

    on("2024-02-20T12:00:00Z");
    make("churn", "1.9.0", serde_json::json!({"metrics": {"auc": 0.5}})).await;
    registry.delete(&alice, &name("churn"), &version("1.9.0")).await.unwrap();
    on("2024-03-01T12:00:00Z");
    make("churn", "1.10.0", serde_json::json!({"metrics": {"auc": 0.75}})).await;
    registry.deprecate(&alice, &name("churn"), &version("1.10.0"), None, None).await.unwrap();

    on("2024-03-10T12:00:00Z");
    make("card", "2.0.0-rc.1", serde_json::json!({})).await;
    on("2024-04-01T12:00:00Z");
    make("loan", "1.0.0", serde_json::json!({})).await;
    let tags = [("fraud".parse().unwrap(), "both".to_owned())].into();
    registry.change_tags(&alice, &name("loan"), None, tags, Vec::new()).await.unwrap();
    let description = Some("Judges loans".parse().unwrap());
    registry.describe(&alice, &name("loan"), None, description).await.unwrap();
}

/// Lineage is followed across models, by terms, and no circle gets in.
pub async fn lineage_crosses_models(candidate: &dyn Candidate) {
    let registry = candidate.open().await.registry();
    let (base, small) = (name("base"), name("small"));
    let register = async |model: &ModelName, content: serde_json::Value| {
        let content: Content = serde_json::from_value(content).unwrap();
        let registration = Registration::new(version("v1.0.0"), content);
        registry.register(&by("trainer"), model, registration, &[]).await
    };
    let made_with = serde_json::json!({
        "metadata": {"training_data_version": "2024-01", "experiment": "exp-7"},
        "features": {"set": "card", "version": "7", "features": ["amount"]},
        "links": [{"link": "input", "kind": "code", "id": "train.py", "version": "4f2a"}],
    });
    register(&base, made_with).await.unwrap();
    let before = registry.model(&base).await.unwrap().head.unwrap().time;
    let made_out_of = |parent: &str| serde_json::json!({"links": [{"link": "derived_from", "model": parent, "how": "quantised"}]});
    register(&small, made_out_of("base@v1.0.0")).await.unwrap();
    promote(&registry, &small, "v1.0.0", &TO_PRODUCTION).await;

    let other = candidate.open().await.registry();
    for thing in
        ["data:2024-01", "experiment:exp-7", "feature-set:card", "feature:amount", "code:train.py:4f2a"]
    {
        let impact = other.impact(&thing.parse().unwrap(), None).await.unwrap();
        let mut found: Vec<(String, Option<Stage>)> =
            impact.influence().versions().map(|one| (one.node().to_string(), one.deployment())).collect();
        found.sort();
        let small = ("model:small@v1.0.0".to_owned(), Some(Stage::Production));
        assert_eq!(found, [("model:base@v1.0.0".to_owned(), None), small], "{thing}");
    }
    let nothing = other.impact(&"data:2024".parse().unwrap(), None).await.unwrap();
    assert!(nothing.influence().is_empty(), "{}", nothing.to_text());
    let lineage = other.lineage(&small, &Selector::PRODUCTION, None).await.unwrap();
    let data: Vec<String> = lineage.sources(NodeKind::Data).map(ToString::to_string).collect();
    assert_eq!(data, ["data:2024-01"]);
    let earlier = other.lineage(&base, &Selector::Newest, Some(before)).await.unwrap();
    let now = other.lineage(&base, &Selector::Newest, None).await.unwrap();
    assert_eq!((earlier.records.len(), now.records.len()), (1, 2), "nothing was made out of it yet");

    let links =
        vec![Link::DerivedFrom { model: "small@v1.0.0".parse().unwrap(), how: Derivation::Distilled }];
    let amendment = Amendment { links, ..Amendment::default() };
    let refused = other.amend(&by("trainer"), &base, &version("v1.0.0"), amendment).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::LineageCircle { .. })), "{refused}");
}

/// Several monitors see one breach, and the version is taken out once.
pub async fn a_broken_rule_rolls_back_once(candidate: &dyn Candidate) {
    const MONITORS: usize = 3;
    let registry = candidate.open().await.registry();
    let model = name("fraud-detection");
    for number in ["v1.0.0", "v1.1.0"] {
        register(&registry, &model, number).await.unwrap();
        promote(&registry, &model, number, &TO_PRODUCTION).await;
    }
    let condition = Condition::Above(Finite::new(0.05).unwrap());
    let rule = Rule::new("error_rate".parse().unwrap(), condition).over(Duration::from_secs(3_600));
    let scope = Scope::Model(model.clone());
    registry.set_monitor_rule(&by("admin"), &scope, "errors".parse().unwrap(), Some(rule)).await.unwrap();
    // Clocks of commits and of this process may differ by as much as commits were dated ahead.
    let head = registry.model(&model).await.unwrap().head.unwrap().time;
    let now = registry.clock().now().max(head);
    let summary = Summary {
        version: version("v1.1.0"),
        metric: "error_rate".parse().unwrap(),
        from: now,
        until: now,
        replica: None,
        observed: Observed::of([0.0, 1.0, 1.0]),
    };
    registry.report_health(&by("replica"), &model, vec![summary]).await.unwrap();
    let mut monitors = Vec::new();
    for _ in 0..MONITORS {
        monitors.push(Monitor::new(candidate.open().await.registry(), model.clone()));
    }
    // A report may be dated a moment ahead of the clock.
    registry.clock().sleep(Duration::from_millis(20)).await;
    let looks = monitors.iter_mut().map(Monitor::look);
    let findings: Vec<Action> = join_all(looks)
        .await
        .into_iter()
        .flat_map(|found| found.unwrap())
        .map(|found| found.action)
        .collect();
    let rolled_back = |action: &&Action| matches!(action, Action::RolledBack { .. });
    assert_eq!(findings.iter().filter(rolled_back).count(), 1, "{findings:?}");
    assert_eq!(in_production(&registry, &model).await, Some(version("v1.0.0")));
    let log = registry.log(&model, Revision::FIRST, 100).await.unwrap();
    let rollbacks = log.iter().filter(|recorded| recorded.commit.actor.as_str() == "monitor:errors").count();
    assert_eq!(rollbacks, 1);
    let health = registry.log(Stream::Health(model), Revision::FIRST, 100).await.unwrap();
    assert_eq!(health.len(), 1, "what was observed is in a log of its own");
}

/// A run says what it does through one handle; another sees it, and the version that came out of it.
pub async fn an_experiment_is_tracked_to_its_version(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("tracked");
    let experiment = one.experiment("exp-003-xgboost".parse().unwrap(), &by("trainer"));
    let mut run = experiment.increment("0042".parse().unwrap()).start().await.unwrap();
    run.param("max_depth", 6).await.unwrap();
    run.metric("loss", 1, 0.5).await.unwrap();
    run.metric("loss", 2, f64::NAN).await.unwrap();
    run.metric("accuracy", 2, 0.75).await.unwrap();
    let weights = Bytes::from_static(b"the weights of a run");
    run.artifact(&Upload { path: "model.bin".parse().unwrap(), source: &weights }).await.unwrap();
    let registered = run.register_model(&model, Content::default(), &[]).await.unwrap();
    let name = run.name().clone();
    run.finish().await.unwrap();
    let late = two.log_run(&by("late"), &name, RunLog::default()).await.unwrap_err();
    assert!(matches!(late.rejection(), Some(Rejection::RunEnded { .. })), "{late}");

    let seen = two.run(&name).await.unwrap();
    assert_eq!(seen.status(two.clock().now()), RunStatus::Finished);
    let loss = &seen.metrics[&"loss".parse().unwrap()];
    assert_eq!((loss.count, loss.not_numbers, loss.max.map(Finite::get)), (2, 1, Some(0.5)));
    let values = two.run_metrics(&name, Some(&"loss".parse().unwrap()), None).await.unwrap();
    assert_eq!(values.points.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2]);
    let found = two.get(&model, &Selector::Newest).await.unwrap();
    assert_eq!((found.digest, found.content.metadata.run.as_ref()), (registered.version.digest, Some(&name)));
    let file = found.artifact(&"model.bin".parse().unwrap()).unwrap();
    assert_eq!(two.read(file, 1_000).await.unwrap(), weights);
    let versions = two.run_versions(&name).await.unwrap();
    assert_eq!(versions.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tracked@v0.1.0"]);
    assert_eq!(two.experiments(None, 10).await.unwrap(), [name.experiment]);
}

/// None left out, from another handle.
pub async fn commits_are_watched_in_order(candidate: &dyn Candidate) {
    let (writer, watcher) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("watched");
    let watching = async {
        let mut watch = watcher.watch(&model, Revision::FIRST).every(Duration::from_millis(2));
        let mut seen = Vec::new();
        while seen.len() < 21 {
            seen.push(watch.next().await.unwrap().commit.revision.get());
        }
        seen
    };
    let writing = async {
        register(&writer, &model, "1.0.0").await.unwrap();
        for number in 0..20 {
            let text = format!("change {number}").parse().unwrap();
            writer.describe(&by("w"), &model, None, Some(text)).await.unwrap();
        }
    };
    let (seen, ()) = futures_util::future::join(watching, writing).await;
    assert_eq!(seen, (1..=21).collect::<Vec<_>>());
}

/// What a service that serves models does.
pub async fn a_follower_sees_the_new_production_version(candidate: &dyn Candidate) {
    let (writer, service) = (candidate.open().await.registry(), candidate.open().await.registry());
    let model = name("served");
    let follower = service.follow(&model, &Selector::PRODUCTION).every(Duration::from_millis(2));
    assert!(follower.refresh().await.unwrap().is_none());
    assert!(follower.current().is_none());
    for number in ["1.0.0", "2.0.0"] {
        register(&writer, &model, number).await.unwrap();
        promote(&writer, &model, number, &TO_PRODUCTION).await;
        let now = follower.changed().await.unwrap().unwrap();
        assert_eq!(now.version, version(number));
        assert_eq!(follower.current().unwrap().version, version(number));
    }
    let request = Request {
        stream: stream(&model),
        by: by("alice"),
        command: Command::Rollback { to: None, force: false },
    };
    writer.execute(request).await.unwrap();
    assert_eq!(follower.changed().await.unwrap().unwrap().version, version("1.0.0"));
}
