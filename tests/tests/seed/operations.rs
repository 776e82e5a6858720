//! "Why Model Registry Matters", "Model Registry Structure" and "Core Operations".

use bytes::Bytes;
use registry_core::monitor::{Aggregate, Condition, Meters, Monitor, Rule};
use registry_core::trial::{
    Arms, Counts, Goal, Measure, MeasureKind, PlannedEnd, Share, Tally, TrialPlan, TrialStage, Verdict,
};
use registry_core::{
    Amendment, ApprovalRule, Bump, Content, Direction, EnvironmentFile, FeatureSchema, PromoteOptions,
    Promotion, Registration, Registry as _, RegistryExt as _, Rejection, Revision, Scope, Selector, Stage,
    StageRule, Upload, VerifyOptions, VersionChoice,
};

use crate::world::{World, because, by, finite, measured, number, taking};

/// "Which model is in production?", "can't reproduce the model from three months ago", "how to roll back?",
/// "metadata scattered", "no audit trail".
pub(crate) async fn the_five_questions(world: World) {
    world.live("v1.0.0", &[("accuracy", 0.85)]).await;
    let before = world.registry.clock().now();
    world.live("v1.1.0", &[("accuracy", 0.87)]).await;
    assert_eq!(world.in_production().await, "v1.1.0");

    let then = world.registry.get(&world.model, &Selector::ProductionAt(before)).await.unwrap();
    let file = then.artifact(&"model.pkl".parse().unwrap()).unwrap();
    assert_eq!(world.registry.read(file, 1024).await.unwrap(), "the weights of v1.0.0");
    assert_eq!(then.content.metrics[&"accuracy".parse().unwrap()].value.get(), 0.85);

    let why = because(&world.ana, "wrong in the evening");
    world.registry.rollback(&why, &world.model, None, false).await.unwrap();
    assert_eq!(world.in_production().await, "v1.0.0");

    let log = world.registry.log(&world.model, Revision::FIRST, 100).await.unwrap();
    let last = &log.last().unwrap().commit;
    assert_eq!(last.actor.as_str(), "ana@example.com");
    assert_eq!(last.reason.as_ref().unwrap().as_str(), "wrong in the evening");
    let options = VerifyOptions { bytes: true, ..VerifyOptions::default() };
    assert!(world.registry.verify(&world.model, options).await.unwrap().is_sound());
}

/// "Development → Staging → Production → Archived".
pub(crate) async fn the_four_stages(world: World) {
    let first = world.register("v1.0.0", taking(&["amount"])).await;
    assert_eq!(first.stage, Stage::Development);
    world.promote("v1.0.0", Stage::Staging).await;
    world.promote("v1.0.0", Stage::Production).await;
    // There is one in production; its successor sends it to the archive, where it stays for the audit.
    world.live("v1.1.0", &[]).await;
    let state = world.registry.model(&world.model).await.unwrap();
    let stage_of = |version: &str| state.version(&version.parse().unwrap()).unwrap().stage;
    assert_eq!((stage_of("v1.0.0"), stage_of("v1.1.0")), (Stage::Archived, Stage::Production));
    // A jump over a stage is refused, and names the way.
    world.register("v1.2.0", taking(&["amount"])).await;
    let (version, options) = (number("v1.2.0"), PromoteOptions::default());
    let jump = world
        .registry
        .promote(&world.ana, &world.model, &version, Stage::Production, options)
        .await
        .unwrap_err();
    assert!(matches!(jump.rejection(), Some(Rejection::TransitionNotAllowed { .. })), "{jump}");
}

/// "1. Model Registration".
pub(crate) async fn registration(world: World) {
    let features = ["amount_vs_user_average", "days_since_last_purchase", "merchant_risk_score"];
    let list = features.iter().map(|name| registry_core::features::Feature::new(*name)).collect();
    let mut content = measured(&[("accuracy", 0.87), ("precision", 0.85), ("recall", 0.62)]);
    content.metadata.algorithm = Some("XGBoost".parse().unwrap());
    content.metadata.training_date = Some("2024-01-15".parse().unwrap());
    content.metadata.training_data_version = Some("v2024-01".parse().unwrap());
    content.metadata.framework = Some("xgboost==1.7.0".parse().unwrap());
    content.metadata.runtime = Some("python 3.10".parse().unwrap());
    content.metadata.increment = Some("0042".parse().unwrap());
    for (name, value) in [("n_estimators", 673.0), ("max_depth", 6.0), ("learning_rate", 0.094)] {
        content.metadata.hyperparameters.insert(name.to_owned(), value.into());
    }
    content.features = Some(FeatureSchema::new(Some("card".to_owned()), None, list).unwrap());
    let requirements = "xgboost==1.7.0\n".to_owned();
    content.environment =
        vec![EnvironmentFile::new("requirements.txt".parse().unwrap(), requirements).unwrap()];
    for tag in ["fraud", "production-candidate"] {
        content.tags.insert(tag.parse().unwrap(), String::new());
    }
    let weights = Bytes::from_static(b"pickled");
    let upload = Upload { path: "model.pkl".parse().unwrap(), source: &weights };
    let registration = Registration::new(number("v3"), content.clone());
    let done = world.registry.register(&world.ana, &world.model, registration, &[upload]).await.unwrap();
    assert_eq!(
        (done.version.version.to_string().as_str(), done.version.stage),
        ("v3.0.0", Stage::Development)
    );

    // "Creates: model artifact, metadata, signature, environment file, feature schema."
    let found = world.registry.get_with_files(&world.model, &Selector::Newest).await.unwrap();
    assert_eq!(found.content.metadata, content.metadata);
    assert_eq!((&found.content.metrics, &found.content.tags), (&content.metrics, &content.tags));
    let target = world.folder.path().join("v3");
    registry_files::write_version(world.registry.as_ref(), found.state(), &target, &|_| {}).await.unwrap();
    assert_eq!(std::fs::read(target.join("model.pkl")).unwrap(), b"pickled");
    for (file, says) in [
        ("metadata.json", "\"n_estimators\": 673"),
        ("signature.json", "amount"),
        ("requirements.txt", "xgboost==1.7.0"),
        ("features.yaml", "merchant_risk_score"),
    ] {
        let text =
            std::fs::read_to_string(target.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(says), "{file}: {text}");
    }
}

/// "2. Model Versioning": the next number by the kind of change, or found from what changed.
pub(crate) async fn the_next_number(world: World) {
    world.register("v3", taking(&["amount"])).await;
    let next = async |choice: VersionChoice, bytes: &'static [u8], columns: &[&str]| {
        let bytes = Bytes::from_static(bytes);
        let upload = Upload { path: "model.pkl".parse().unwrap(), source: &bytes };
        let registration = Registration::new(choice, taking(columns));
        let done = world.registry.register(&world.ana, &world.model, registration, &[upload]).await;
        done.map(|done| done.version.version.to_string())
    };
    assert_eq!(next(Bump::Minor.into(), b"better", &["amount"]).await.unwrap(), "v3.1.0");
    assert_eq!(next(VersionChoice::Auto, b"retrained", &["amount"]).await.unwrap(), "v3.1.1");
    let small = next(Bump::Patch.into(), b"other", &["amount", "country"]).await.unwrap_err();
    assert!(matches!(small.rejection(), Some(Rejection::VersionTooSmall { .. })), "{small}");
    assert_eq!(next(VersionChoice::Auto, b"other", &["amount", "country"]).await.unwrap(), "v4.0.0");
}

/// "3. Model Promotion": staging with a review, an A/B test on a tenth of the traffic, production if it is better.
pub(crate) async fn promotion_after_a_trial(world: World) {
    world.live("v3.0.0", &[]).await;
    world.register("v3.1.0", measured(&[])).await;
    let (registry, model, bo) = (&world.registry, &world.model, by("bo@example.com"));
    let version = number("v3.1.0");
    let options = PromoteOptions {
        from: Some(Stage::Development),
        require_approval: true,
        ..PromoteOptions::default()
    };
    let asked = registry.promote(&world.ana, model, &version, Stage::Staging, options).await.unwrap();
    assert!(matches!(asked, Promotion::Pending { approvals_missing: 1, .. }), "{asked:?}");
    assert!(registry.approve(&bo, model, &version, None, None, None).await.unwrap().is_done());

    let plan = TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.1).unwrap(),
        measure: Measure::new("found".parse().unwrap(), MeasureKind::Proportion, Some(Direction::Higher))
            .unwrap(),
        goal: Goal::Better,
        // The document plans a week; how a planned time ends is tested with a clock that is moved by hand.
        end: PlannedEnd::new(None, Some(1_000.try_into().unwrap())).unwrap(),
        significance: Default::default(),
        looks: 1.try_into().unwrap(),
    };
    registry.start_trial(&world.ana, model, &version, None, plan).await.unwrap();
    let traffic = registry.traffic(model).await.unwrap();
    let shares: Vec<f64> = traffic.stages[&Stage::Production].iter().map(|route| route.share).collect();
    assert_eq!(shares, [0.9, 0.1]);
    let counted = Tally::Proportion(Arms {
        control: Counts::new(5_400, 9_000).unwrap(),
        treatment: Counts::new(700, 1_000).unwrap(),
    });
    registry.observe_trial(&world.ana, model, &version, counted).await.unwrap();
    let look = registry.conclude_trial(&world.ana, model, &version).await.unwrap();
    assert_eq!(look.judgement.verdict, Verdict::Favourable);

    let options = PromoteOptions { from: Some(Stage::Staging), ..PromoteOptions::default() };
    let done = registry.promote(&world.ana, model, &version, Stage::Production, options).await.unwrap();
    assert!(done.is_done());
    assert_eq!(world.in_production().await, "v3.1.0");
}

/// "4. Model Rollback", by hand.
pub(crate) async fn rollback(world: World) {
    for version in ["v3.0.0", "v3.1.0"] {
        world.live(version, &[]).await;
    }
    let why = because(&world.ana, "v3.1.0 causing high false positive rate");
    let to = number("v3.0.0");
    let done = world.registry.rollback(&why, &world.model, Some(&to), false).await.unwrap();
    assert_eq!((done.from.to_string().as_str(), done.to), ("v3.1.0", to));
    // One commit: out, in, and never again by accident.
    let state = world.registry.model(&world.model).await.unwrap();
    let taken_out = state.version(&done.from).unwrap();
    assert!(taken_out.stage == Stage::Archived && taken_out.quarantined.is_some());
    assert_eq!(world.in_production().await, "v3.0.0");
    let log = world.registry.log(&world.model, Revision::FIRST, 100).await.unwrap();
    assert_eq!(log.last().unwrap().commit.events.len(), done.receipt.events().len());
}

/// "4. Model Rollback", "automatic rollback triggers".
pub(crate) async fn rollback_by_itself(world: World) {
    for (name, rule) in [
        ("errors", Rule::new("error_rate".parse().unwrap(), Condition::Above(finite(0.05)))),
        ("slow", Rule::new("latency".parse().unwrap(), Condition::Above(finite(200.0))).of(Aggregate::P95)),
        (
            "drop",
            Rule::new(
                "accuracy".parse().unwrap(),
                Condition::WorseBy {
                    share: finite(0.10),
                    better: Direction::Higher,
                    baseline: Default::default(),
                },
            ),
        ),
    ] {
        let name = name.parse().unwrap();
        world.registry.set_monitor_rule(&world.ana, &Scope::Registry, name, Some(rule)).await.unwrap();
    }
    for version in ["v3.0.0", "v3.1.0"] {
        world.live(version, &[("accuracy", 0.87)]).await;
    }
    // Of twenty requests two take too long; the other rules are content.
    let meters = Meters::new(None);
    let started = world.registry.clock().now();
    let version = number("v3.1.0");
    for number in 0..20 {
        let slow = if number < 2 { 900.0 } else { 40.0 };
        meters.meter(&version, &"latency".parse().unwrap()).observe(slow);
        meters.meter(&version, &"error_rate".parse().unwrap()).observe(0.01);
        meters.meter(&version, &"accuracy".parse().unwrap()).observe(0.86);
    }
    let summaries = meters.take(started, world.registry.clock().now());
    world.registry.report_health(&world.ana, &world.model, summaries).await.unwrap();
    let findings =
        Monitor::new(std::sync::Arc::clone(&world.registry), world.model.clone()).look().await.unwrap();
    let broken: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(broken, ["slow"]);
    assert_eq!(world.in_production().await, "v3.0.0");
    let log = world.registry.log(&world.model, Revision::FIRST, 100).await.unwrap();
    assert_eq!(log.last().unwrap().commit.actor.as_str(), "monitor:slow");
}

/// "5. Model Retrieval": by stage, by version, by date.
pub(crate) async fn retrieval(world: World) {
    for version in ["v3.0.0", "v3.1.0"] {
        world.live(version, &[]).await;
    }
    let get = async |selector: &str| {
        let selector: Selector = selector.parse().unwrap();
        world.registry.get(&world.model, &selector).await.map(|found| found.version.to_string())
    };
    assert_eq!(get("production").await.unwrap(), "v3.1.0");
    assert_eq!(get("v3.0.0").await.unwrap(), "v3.0.0");
    assert_eq!(get("^3.0").await.unwrap(), "v3.1.0");
    let today = world.registry.clock().now().date();
    assert_eq!(get(&format!("production@{today}")).await.unwrap(), "v3.1.0");
    let none = get("production@2024-01-15").await.unwrap_err();
    assert!(none.to_string().contains("2024-01-15"), "{none}");
}

/// What approval by a review means, for chapters that need it.
pub(crate) fn reviewed_by(people: &[&str]) -> StageRule {
    let approvers = people.iter().map(|name| name.parse().unwrap()).collect();
    let rule = ApprovalRule { approvers, ..ApprovalRule::default() };
    StageRule { approval: Some(rule), ..StageRule::default() }
}

/// A content that an amendment adds to.
pub(crate) fn amendment(content: Content) -> Amendment {
    Amendment {
        metadata: content.metadata,
        metrics: content.metrics,
        deployment: content.deployment,
        links: content.links,
    }
}
