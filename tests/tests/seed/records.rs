//! "Model Metadata", "Model Lineage" and "Model Comparison".

use registry_core::features::Feature;
use registry_core::lineage::NodeKind;
use registry_core::{
    Content, FeatureSchema, PromoteOptions, Registration, RegistryExt as _, Scope, Selector, Stage, Upload,
    VersionChoice,
};

use crate::operations::{amendment, reviewed_by};
use crate::world::{World, by, finite, measured, number};

/// "Tracked Metadata": each entry of the document's table has a place, and comes back.
pub(crate) async fn metadata(world: World) {
    let rule = Some(reviewed_by(&["bo@example.com"]));
    world.registry.set_stage_rule(&world.ana, &Scope::Registry, Stage::Production, rule).await.unwrap();
    let mut content = measured(&[("accuracy", 0.87), ("precision", 0.85), ("recall", 0.62)]);
    content.tags = ["fraud", "production", "high-precision"]
        .iter()
        .map(|tag| (tag.parse().unwrap(), String::new()))
        .collect();
    let features = (0..35).map(|number| Feature::new(format!("feature_{number}"))).collect();
    content.features = Some(FeatureSchema::new(None, None, features).unwrap());
    let metadata = &mut content.metadata;
    metadata.algorithm = Some("XGBoost".parse().unwrap());
    metadata.framework = Some("xgboost==1.7.0".parse().unwrap());
    metadata.runtime = Some("python 3.10".parse().unwrap());
    metadata.training_seconds = Some(finite(45.0 * 60.0));
    metadata.training_data_size = Some("100k rows".parse().unwrap());
    metadata.increment = Some("0042-fraud-detection".parse().unwrap());
    metadata.experiment = Some("exp-003-xgboost".parse().unwrap());
    metadata.training_data_version = Some("v2024-01".parse().unwrap());
    metadata.feature_engineering_version = Some("v1".parse().unwrap());
    metadata.parent_model = Some("fraud-detection-model@v3.0.0".parse().unwrap());
    metadata.owner = Some("owner@example.com".parse().unwrap());
    let registered = world.register("v3.1.0", content.clone()).await;

    // What is only known later is added later.
    let mut later = measured(&[("roc_auc", 0.92), ("f1_score", 0.72)]);
    later.deployment.latency_p50_ms = Some(finite(35.0));
    later.deployment.latency_p95_ms = Some(finite(80.0));
    later.deployment.size_bytes = Some(12_000_000);
    later.deployment.cpu_cores = Some(finite(0.2));
    later.deployment.memory_bytes = Some(256_000_000);
    let amended = amendment(later.clone());
    world.registry.amend(&world.ana, &world.model, &registered.version, amended).await.unwrap();

    world.promote("v3.1.0", Stage::Staging).await;
    let (version, bo) = (&registered.version, by("bo@example.com"));
    let options = PromoteOptions::default();
    world.registry.promote(&world.ana, &world.model, version, Stage::Production, options).await.unwrap();
    world.registry.approve(&bo, &world.model, version, None, None, None).await.unwrap();

    let found = world.registry.get(&world.model, &Selector::PRODUCTION).await.unwrap();
    assert_eq!((&found.content.metadata, &found.content.tags), (&content.metadata, &content.tags));
    assert_eq!(found.content.deployment, later.deployment);
    let metrics: Vec<&str> = found.content.metrics.keys().map(|name| name.as_str()).collect();
    assert_eq!(metrics, ["accuracy", "f1_score", "precision", "recall", "roc_auc"]);
    assert_eq!(found.content.features.as_ref().unwrap().features().len(), 35);
    assert_eq!(found.stage, Stage::Production);
    assert!(found.registered.at < found.updated.at);
    // "approver" is who put it there.
    let log = world.registry.log(&world.model, found.staged.revision, 1).await.unwrap();
    assert_eq!(log[0].commit.actor, bo.actor);
}

/// "Tracking Model Lineage": the tree of the document, with `@` before the number as everywhere here, and its four
/// questions.
pub(crate) async fn lineage(world: World) {
    let mut content = measured(&[]);
    content.metadata.training_data_version = Some("v2024-01".parse().unwrap());
    content.metadata.feature_engineering_version = Some("v1".parse().unwrap());
    content.metadata.experiment = Some("exp-003-xgboost".parse().unwrap());
    world.register("v3.1.0", content).await;
    world.promote("v3.1.0", Stage::Staging).await;
    world.promote("v3.1.0", Stage::Production).await;

    let lineage = world.registry.lineage(&world.model, &Selector::PRODUCTION, None).await.unwrap();
    let expected = "\
data:v2024-01
  └─> feature-engineering:v1
        └─> experiment:exp-003-xgboost
              └─> model:fraud-detection-model@v3.1.0
                    └─> deployment:production
";
    assert_eq!(lineage.to_text(), expected);
    let sources = |kind| lineage.sources(kind).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(sources(NodeKind::Data), ["data:v2024-01"]);
    assert_eq!(sources(NodeKind::Experiment), ["experiment:exp-003-xgboost"]);
    let mut content = measured(&[]);
    let features = vec![Feature::new("merchant_risk_score"), Feature::new("amount")];
    content.features = Some(FeatureSchema::new(Some("card".to_owned()), None, features).unwrap());
    world.register("v4.0.0", content).await;
    for of in ["feature-set:card", "feature:merchant_risk_score"] {
        let impact = world.registry.impact(&of.parse().unwrap(), None).await.unwrap();
        let affected: Vec<String> = impact.influence().versions().map(|one| one.node().to_string()).collect();
        assert_eq!(affected, ["model:fraud-detection-model@v4.0.0"], "{of}");
    }
}

/// "Model Comparison": the words of the document.
pub(crate) async fn comparison(world: World) {
    let content = |metrics: &[(&str, f64)], latency: f64, size: u64, features: &[(&str, &str)]| {
        let features = features.iter().map(|(name, transform)| {
            let mut feature = Feature::new(*name);
            feature.transform = Some((*transform).to_owned());
            feature
        });
        let mut content = measured(metrics);
        content.deployment.latency_p50_ms = Some(finite(latency));
        content.deployment.size_bytes = Some(size);
        content.features = Some(FeatureSchema::new(None, None, features.collect()).unwrap());
        content
    };
    let old = content(
        &[("accuracy", 0.85), ("precision", 0.83), ("recall", 0.60)],
        40.0,
        15_000_000,
        &[("obsolete_feature_x", "x"), ("a", "x"), ("b", "x"), ("c", "x")],
    );
    let new = content(
        &[("accuracy", 0.87), ("precision", 0.85), ("recall", 0.62)],
        35.0,
        12_000_000,
        &[("merchant_reputation_score", "x"), ("a", "log"), ("b", "log"), ("c", "log")],
    );
    world.register("v3.0.0", old).await;
    register_all_the_same(&world, "v3.1.0", new).await;
    let (one, other) = (Selector::Version(number("v3.0.0")), Selector::Version(number("v3.1.0")));
    let (model, options) = (&world.model, Default::default());
    let comparison = world.registry.compare((model, &one), (model, &other), &options).await.unwrap();
    let text = comparison.to_text();
    for says in [
        "v3.0.0 vs v3.1.0",
        "0.85 → 0.87 (+2.4%)",
        "0.83 → 0.85 (+2.4%)",
        "(+3.3%)",
        "40ms → 35ms (-12.5%)",
        "15MB → 12MB (-20.0%)",
        "Added: merchant_reputation_score",
        "Removed: obsolete_feature_x",
        "Modified: a, b, c",
        "v3.1.0 is better",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
}

/// A number that promises more than the findings allow, for the example of the document.
async fn register_all_the_same(world: &World, version: &str, content: Content) {
    let bytes = bytes::Bytes::from_static(b"the new weights");
    let upload = Upload { path: "model.pkl".parse().unwrap(), source: &bytes };
    let reason = "clients send raw values, so the features are ours alone".parse().unwrap();
    let choice = VersionChoice::Explicit { version: number(version), allow_smaller: Some(reason) };
    let registration = Registration::new(choice, content);
    world.registry.register(&world.ana, &world.model, registration, &[upload]).await.unwrap();
}
