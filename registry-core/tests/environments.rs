//! Versions that are taken from one registry to another: what arrives, what is refused, and what is on record in
//! both.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use registry_core::event::{ApprovedMove, Copied, Origin};
use registry_core::storage::{ArtifactStore as _, CommitLog};
use registry_core::testing::{Fault, FaultyLog};
use registry_core::{
    Amendment, ApprovalRule, Arrival, By, Content, Digest, Engine, Error, ManualClock, MemoryArtifacts,
    MemoryLog, Metadata, ModelName, Outcome, PolicyChange, PromoteOptions, PromoteToOptions, Recorded,
    Registration, Registry, RegistryExt as _, Rejection, Revision, Scope, Stage, StageRule, Stream,
    Timestamp, Upload, Version,
};

const WEIGHTS: &[u8] = b"the weights";

type Memory<L> = Engine<L, MemoryArtifacts>;

/// A registry whose parts can be damaged.
struct Place<L> {
    registry: Memory<L>,
    artifacts: Arc<MemoryArtifacts>,
}

fn place_over<L: CommitLog>(log: Arc<L>) -> Place<L> {
    let artifacts = Arc::new(MemoryArtifacts::default());
    // A clock that is moved by sleeping: waiting costs no time.
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let registry = Engine::new(log, Arc::clone(&artifacts)).with_clock(clock);
    Place { registry, artifacts }
}

fn place() -> Place<MemoryLog> {
    place_over(Arc::new(MemoryLog::default()))
}

fn by() -> By {
    By::new("ada".parse().unwrap())
}

fn model() -> ModelName {
    "fraud".parse().unwrap()
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

fn between(here: &str, there: &str) -> PromoteToOptions {
    PromoteToOptions::new(here.parse().unwrap(), there.parse().unwrap())
}

async fn register(registry: &(impl Registry + ?Sized), version: &str, bytes: &'static [u8]) {
    let bytes = Bytes::from_static(bytes);
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let content = Content {
        description: Some("Finds fraud.".parse().unwrap()),
        tags: [("team".parse().unwrap(), "risk".to_owned())].into(),
        metadata: Metadata { algorithm: Some("trees".parse().unwrap()), ..Metadata::default() },
        ..Content::default()
    };
    registry.register(&by(), &model(), Registration::new(v(version), content), &[upload]).await.unwrap();
}

/// Production only after Bob has agreed.
async fn demand_approval(registry: &impl Registry, stage: Stage) {
    let approval = ApprovalRule { approvers: ["bob".parse().unwrap()].into(), ..ApprovalRule::default() };
    let rule = Some(StageRule { approval: Some(approval), ..StageRule::default() });
    let change = PolicyChange::StageRule { stage, rule };
    registry.change_policy(&by(), &Scope::Model(model()), change).await.unwrap();
}

async fn promote(registry: &impl Registry, to: Stage) {
    registry.promote(&by(), &model(), &v("v1"), to, PromoteOptions::default()).await.unwrap();
}

async fn log(registry: &(impl Registry + ?Sized)) -> Vec<Recorded> {
    registry.log(&model(), Revision::FIRST, 10_000).await.unwrap()
}

async fn take(
    source: &impl Registry,
    target: &impl Registry,
    options: &PromoteToOptions,
) -> Result<Arrival, Error> {
    source.promote_to(&by(), &model(), &v("v1"), target, options).await
}

#[tokio::test]
async fn a_version_arrives_as_it_was_with_the_evidence_of_every_registry_on_its_way() {
    let (dev, staging, live) = (place(), place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    demand_approval(&dev.registry, Stage::Production).await;
    promote(&dev.registry, Stage::Staging).await;
    promote(&dev.registry, Stage::Production).await;
    let bob = By::new("bob".parse().unwrap());
    dev.registry.approve(&bob, &model(), &v("v1"), None, None, None).await.unwrap();

    let arrival = take(&dev.registry, &staging.registry, &between("dev", "staging")).await.unwrap();
    assert_eq!(arrival.bytes_sent, WEIGHTS.len() as u64);
    assert!(!arrival.registered.existed);
    let (there, here) = (log(&staging.registry).await, log(&dev.registry).await);
    let before = dev.registry.model(&model()).await.unwrap().version(&v("v1")).unwrap().clone();
    let after = staging.registry.model(&model()).await.unwrap().version(&v("v1")).unwrap().clone();
    assert_eq!(
        (&after.content, after.digest, after.stage),
        (&before.content, before.digest, Stage::Development)
    );
    let ApprovedMove { revision, from, to, approvals, .. } = &after.origins[0].approved[0];
    assert_eq!((*revision, *from, *to), (Revision::new(5).unwrap(), Stage::Staging, Stage::Production));
    assert_eq!((approvals.len(), approvals[0].actor.as_str()), (1, "bob"));
    let origin = Origin {
        environment: "dev".parse().unwrap(),
        model: model(),
        version: v("v1"),
        revision: Revision::FIRST,
        commit: here[0].digest,
        registered_by: by().actor,
        approved: after.origins[0].approved.clone(),
    };
    assert_eq!(*after.origins, [origin]);
    let copied = Copied {
        version: v("v1"),
        to: "staging".parse().unwrap(),
        revision: Revision::FIRST,
        commit: there[0].digest,
    };
    assert_eq!(before.copies.values().collect::<Vec<_>>(), [&copied]);
    let file = after.content.artifacts.iter().next().unwrap();
    assert_eq!(staging.registry.read(file, 100).await.unwrap(), WEIGHTS);

    take(&staging.registry, &live.registry, &between("staging", "live")).await.unwrap();
    let last = live.registry.model(&model()).await.unwrap().version(&v("v1")).unwrap().clone();
    assert_eq!(last.digest, before.digest);
    let way: Vec<&str> = last.origins.iter().map(|origin| origin.environment.as_str()).collect();
    assert_eq!(way, ["staging", "dev"]);
    assert_eq!((last.origins[0].commit, &last.origins[1]), (there[0].digest, &after.origins[0]));
    for registry in [&dev.registry, &staging.registry, &live.registry] {
        assert!(registry.verify(&model(), Default::default()).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn repeated_it_changes_nothing_also_if_more_is_known_meanwhile() {
    let (dev, staging) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    take(&dev.registry, &staging.registry, &between("dev", "staging")).await.unwrap();
    let amendment = Amendment {
        metadata: Metadata { algorithm: Some("forest".parse().unwrap()), ..Metadata::default() },
        ..Amendment::default()
    };
    let (before, arrived) = (log(&dev.registry).await, log(&staging.registry).await);
    for _ in 0..2 {
        let again = take(&dev.registry, &staging.registry, &between("dev", "staging")).await.unwrap();
        assert!(again.registered.existed && again.registered.not_applied.is_empty());
        assert!(matches!(again.registered.receipt.outcome, Outcome::Unchanged));
        assert_eq!(again.bytes_sent, 0);
        assert_eq!(
            (log(&dev.registry).await, log(&staging.registry).await),
            (before.clone(), arrived.clone())
        );
    }
    dev.registry.amend(&by(), &model(), &v("v1"), amendment).await.unwrap();
    let other = By::new("bob".parse().unwrap()).because("again".parse().unwrap());
    let options = PromoteToOptions { stage: Stage::Staging, ..between("dev", "staging") };
    let again =
        dev.registry.promote_to(&other, &model(), &v("v1"), &staging.registry, &options).await.unwrap();
    assert_eq!(again.registered.not_applied, ["metadata", "stage"]);
    assert_eq!(log(&staging.registry).await, arrived);
    assert_eq!(log(&dev.registry).await.len(), before.len() + 1, "the amendment");
}

/// Refused, with nothing written on either side and not a byte sent.
async fn refused(dev: &Place<MemoryLog>, there: &Place<MemoryLog>, options: &PromoteToOptions) -> Error {
    let before = (log(&dev.registry).await, log(&there.registry).await);
    let blobs = there.artifacts.list(None, 100).await.unwrap().len();
    let error = take(&dev.registry, &there.registry, options).await.unwrap_err();
    assert_eq!((log(&dev.registry).await, log(&there.registry).await), before, "{error}");
    assert_eq!(there.artifacts.list(None, 100).await.unwrap().len(), blobs, "{error}");
    error
}

#[tokio::test]
async fn what_may_not_leave_does_not() {
    let (dev, there) = (place(), place());
    let error = refused(&dev, &there, &between("dev", "staging")).await;
    assert!(matches!(error, Error::Rejected(Rejection::ModelNotFound { .. })), "{error:?}");
    register(&dev.registry, "v2", WEIGHTS).await;
    let error = refused(&dev, &there, &between("dev", "staging")).await;
    assert!(matches!(error, Error::Rejected(Rejection::NoMatch { .. })), "{error:?}");
    let dev = place();
    register(&dev.registry, "v1", WEIGHTS).await;
    let error = refused(&dev, &there, &between("dev", "dev")).await;
    assert!(error.to_string().contains("names both registries"), "{error}");
    dev.registry.delete(&by(), &model(), &v("v1")).await.unwrap();
    let error = refused(&dev, &there, &between("dev", "staging")).await;
    assert!(matches!(error, Error::Rejected(Rejection::IsDeleted { .. })), "{error:?}");

    let dev = place();
    register(&dev.registry, "v1", WEIGHTS).await;
    for version in ["v1", "v1.0.1"] {
        if version != "v1" {
            register(&dev.registry, version, b"worse weights").await;
        }
        for stage in [Stage::Staging, Stage::Production] {
            let options = PromoteOptions::default();
            dev.registry.promote(&by(), &model(), &v(version), stage, options).await.unwrap();
        }
    }
    dev.registry.rollback(&by(), &model(), None, false).await.unwrap();
    let taken = dev
        .registry
        .promote_to(&by(), &model(), &v("v1.0.1"), &there.registry, &between("dev", "staging"))
        .await;
    assert!(matches!(taken, Err(Error::Rejected(Rejection::IsQuarantined { .. }))), "{taken:?}");
    assert!(log(&there.registry).await.is_empty());
}

#[tokio::test]
async fn the_rules_of_the_other_registry_hold() {
    let (dev, there) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    register(&there.registry, "v1", b"other weights").await;
    let error = refused(&dev, &there, &between("dev", "staging")).await;
    let Error::Rejected(Rejection::VersionExists { existing, offered, .. }) = error else {
        panic!("{error}")
    };
    assert_ne!(existing, offered);

    there.registry.delete(&by(), &model(), &v("v1")).await.unwrap();
    let error = refused(&dev, &there, &between("dev", "staging")).await;
    assert!(matches!(error, Error::Rejected(Rejection::VersionDeleted { .. })), "{error:?}");

    let there = place();
    register(&there.registry, "v0.9.0", b"older weights").await;
    demand_approval(&there.registry, Stage::Staging).await;
    let into_staging = PromoteToOptions { stage: Stage::Staging, ..between("dev", "staging") };
    let error = refused(&dev, &there, &into_staging).await;
    assert!(matches!(error, Error::Rejected(Rejection::StageDemandsApproval { .. })), "{error:?}");
    take(&dev.registry, &there.registry, &between("dev", "staging")).await.unwrap();

    let there = place();
    let arrival = take(&dev.registry, &there.registry, &into_staging).await.unwrap();
    assert_eq!(arrival.registered.version.stage, Stage::Staging);
}

#[tokio::test]
async fn a_number_that_is_too_small_there_needs_a_reason() {
    let (dev, there) = (place(), place());
    let with = |signature: &str, number: &str| {
        let content =
            Content { signature: Some(serde_json::from_str(signature).unwrap()), ..Content::default() };
        Registration::new(v(number), content)
    };
    let old = r#"{"inputs": {"columns": [{"name": "amount", "type": "double"}]}}"#;
    let new = r#"{"inputs": {"columns": [{"name": "amount", "type": "string"}]}}"#;
    there.registry.register(&by(), &model(), with(old, "v1.0.0"), &[]).await.unwrap();
    dev.registry.register(&by(), &model(), with(new, "v1.0.1"), &[]).await.unwrap();
    let take = async |options: PromoteToOptions| {
        dev.registry.promote_to(&by(), &model(), &v("v1.0.1"), &there.registry, &options).await
    };
    let error = take(between("dev", "live")).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(Rejection::VersionTooSmall { .. })), "{error:?}");
    let reason = Some("nobody calls it".parse().unwrap());
    let arrival =
        take(PromoteToOptions { allow_smaller: reason.clone(), ..between("dev", "live") }).await.unwrap();
    assert_eq!(arrival.registered.version.numbering.overridden, reason);
}

#[tokio::test]
async fn damaged_and_missing_bytes_are_refused_and_nothing_is_registered() {
    for damage in [Some(Bytes::from_static(b"the weightZ")), Some(Bytes::from_static(b"the")), None] {
        let (dev, there) = (place(), place());
        register(&dev.registry, "v1", WEIGHTS).await;
        dev.artifacts.damage(&Digest::of(WEIGHTS), damage.clone());
        let error = refused(&dev, &there, &between("dev", "staging")).await;
        assert!(matches!(error, Error::CorruptBytes(_)), "{damage:?}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("model.bin of v1.0.0 cannot be sent from dev to staging"), "{said}");
        // Restored from a backup, it goes on.
        dev.artifacts.damage(&Digest::of(WEIGHTS), Some(Bytes::from_static(WEIGHTS)));
        take(&dev.registry, &there.registry, &between("dev", "staging")).await.unwrap();
    }
}

#[tokio::test]
async fn bytes_that_are_there_are_not_sent_again() {
    let (dev, there) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    there.artifacts.put(&Bytes::from_static(WEIGHTS), &|_| {}).await.unwrap();
    let arrival = take(&dev.registry, &there.registry, &between("dev", "staging")).await.unwrap();
    assert_eq!((arrival.bytes_sent, arrival.registered.existed), (0, false));
}

#[tokio::test]
async fn a_rehearsal_says_what_would_happen_and_writes_nothing() {
    let (dev, there) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    let before = log(&dev.registry).await;
    let options = PromoteToOptions { stage: Stage::Staging, ..between("dev", "staging") };
    let rehearsed = dev
        .registry
        .promote_to(&by().rehearsing(), &model(), &v("v1"), &there.registry, &options)
        .await
        .unwrap();
    assert_eq!(rehearsed.registered.receipt.events().len(), 2);
    assert_eq!(rehearsed.registered.version.origins[0].commit, before[0].digest);
    assert!(rehearsed.noted.is_none());
    assert_eq!(log(&dev.registry).await, before);
    assert!(log(&there.registry).await.is_empty());
    assert!(there.artifacts.list(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_there_already_from_elsewhere_is_not_noted_as_a_copy() {
    let (dev, there) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    register(&there.registry, "v1", WEIGHTS).await;
    let before = (log(&dev.registry).await, log(&there.registry).await);
    let arrival = take(&dev.registry, &there.registry, &between("dev", "staging")).await.unwrap();
    assert!(arrival.registered.existed && arrival.noted.is_none());
    assert_eq!((log(&dev.registry).await, log(&there.registry).await), before);
    // Nor if it came from a third one that is called the same.
    let other = place();
    register(&other.registry, "v1", WEIGHTS).await;
    let third = place();
    take(&dev.registry, &third.registry, &between("dev", "live")).await.unwrap();
    let before = log(&third.registry).await;
    let arrival = take(&other.registry, &third.registry, &between("dev", "live")).await.unwrap();
    assert_eq!(log(&third.registry).await, before);
    assert!(arrival.noted.is_none());
}

#[tokio::test]
async fn a_callers_own_request_id_stands_in_both_logs() {
    let (dev, there) = (place(), place());
    register(&dev.registry, "v1", WEIGHTS).await;
    let by = by().with_request_id("release-7".parse().unwrap());
    for _ in 0..2 {
        dev.registry
            .promote_to(&by, &model(), &v("v1"), &there.registry, &between("dev", "live"))
            .await
            .unwrap();
    }
    for log in [log(&dev.registry).await, log(&there.registry).await] {
        let under = log.iter().filter(|recorded| recorded.commit.request_id.as_str() == "release-7").count();
        assert_eq!(under, 1);
    }
}

/// Every fault of an append, alone and for ever, on either side: after one more call without faults, both logs are as
/// they would have been.
#[tokio::test]
async fn whatever_fails_the_next_call_finishes_and_nothing_is_there_twice() {
    for (faults, in_source) in Fault::ALL
        .into_iter()
        .flat_map(|fault| [vec![fault], vec![fault; 40]])
        .flat_map(|faults| [(faults.clone(), true), (faults, false)])
    {
        let (here, there) = (Arc::new(MemoryLog::default()), Arc::new(MemoryLog::default()));
        let (dev_log, there_log) =
            (Arc::new(FaultyLog::new(here.clone(), [])), Arc::new(FaultyLog::new(there.clone(), [])));
        let (dev, staging) = (place_over(Arc::clone(&dev_log)), place_over(Arc::clone(&there_log)));
        register(&dev.registry, "v1", WEIGHTS).await;
        let context = format!("{:?} × {}, in the source: {in_source}", faults[0], faults.len());
        let faulty = if in_source { &dev_log } else { &there_log };
        faulty.plan(faults);
        let first = take(&dev.registry, &staging.registry, &between("dev", "staging")).await;
        if let Err(error) = &first {
            assert_eq!(in_source, matches!(error, Error::NotNoted { .. }), "{context}: {error:?}");
        }
        for log in [&dev_log, &there_log] {
            log.settle().await;
        }
        // Another process, since this one was killed.
        let (dev, staging) = (
            Engine::new(here.clone(), Arc::clone(&dev.artifacts)),
            Engine::new(there.clone(), Arc::clone(&staging.artifacts)),
        );
        take(&dev, &staging, &between("dev", "staging")).await.unwrap();
        for (registry, kinds) in
            [(&dev, vec!["version_registered", "copied"]), (&staging, vec!["version_registered"])]
        {
            let log = log(registry).await;
            let found: Vec<&str> =
                log.iter().flat_map(|recorded| &recorded.commit.events).map(|event| event.kind()).collect();
            assert_eq!(found, kinds, "{context}");
            let sound = registry.verify(&Stream::from(&model()), Default::default()).await.unwrap();
            assert!(sound.is_sound(), "{context}: {:?}", sound.problems);
        }
    }
}
