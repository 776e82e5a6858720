//! The events of lineage, read by the official client of OpenLineage, whose classes are generated from the published
//! JSON schema. The Python is that of the MLflow servers; `cargo xtask test` installs the client beside them.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use registry_core::lineage::Link;
use registry_core::{
    By, Content, ModelVersion, PromoteOptions, Registration, RegistryExt as _, Selector, Stage,
};
use serde_json::{Value, json};

const COLLECTOR: &str = include_str!("collector.py");

/// What the client says of each event.
fn collected(events: &[Value]) -> Vec<String> {
    let python = std::env::var("REGISTRY_TEST_MLFLOW_3_PYTHON")
        .unwrap_or_else(|_| panic!("no REGISTRY_TEST_MLFLOW_3_PYTHON: `cargo xtask test` sets it"));
    let mut child = Command::new(python)
        .args(["-c", COLLECTOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn events() -> Vec<Value> {
    let registry = registry_core::in_memory();
    let by = By::new("ana".parse().unwrap());
    let register = async |name: &str, content: Content| {
        let ModelVersion { model, version } = name.parse().unwrap();
        registry.register(&by, &model, Registration::new(version, content), &[]).await.unwrap();
    };
    register("bare@v1.0.0", Content::default()).await;
    let mut full =
        Content { description: Some("\u{1F50D} finds \"fraud\"".parse().unwrap()), ..Content::default() };
    full.metadata.training_data_version = Some("s3://lake/cards/2024".parse().unwrap());
    full.metadata.feature_engineering_version = Some("v1".parse().unwrap());
    full.metadata.experiment = Some("exp-003-xgboost".parse().unwrap());
    full.metadata.training_seconds = Some(2_700.5.try_into().unwrap());
    full.metadata.owner = Some("ana@example.com".parse().unwrap());
    full.metadata.parent_model = Some("bare@v1.0.0".parse().unwrap());
    full.features =
        Some(serde_json::from_value(json!({"set": "card", "version": "7", "features": ["amount"]})).unwrap());
    full.links = [
        json!({"link": "input", "kind": "data", "id": "blacklist", "version": "3"}),
        json!({"link": "input", "kind": "code", "id": "train.py"}),
        json!({"link": "derived_from", "model": "elsewhere@v2.0.0", "how": "distilled"}),
        json!({"link": "evaluation", "id": "holdout"}),
    ]
    .into_iter()
    .map(|link| serde_json::from_value::<Link>(link).unwrap())
    .collect();
    register("full@v1.0.0", full).await;
    let ModelVersion { model, version } = "full@v1.0.0".parse().unwrap();
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, &model, &version, stage, PromoteOptions::default()).await.unwrap();
    }
    let lineage = registry.lineage(&model, &Selector::PRODUCTION, None).await.unwrap();
    lineage.to_openlineage("models.example.com")
}

#[tokio::test]
async fn every_event_is_as_the_published_schema_demands() {
    let events = events().await;
    // Two versions were made and one was deployed; each has a beginning and an end.
    assert_eq!(collected(&events), ["ok"; 6]);
}

#[tokio::test]
async fn an_event_that_is_otherwise_is_found_out() {
    let whole = events().await.into_iter().last().unwrap();
    let without = |change: &dyn Fn(&mut Value)| {
        let mut event = whole.clone();
        change(&mut event);
        event
    };
    let broken = [
        without(&|event| event["run"]["runId"] = json!("not-a-uuid")),
        without(&|event| drop(event.as_object_mut().unwrap().remove("job"))),
        without(&|event| event["eventTime"] = json!("yesterday")),
        without(&|event| event["eventType"] = json!("DONE")),
        without(&|event| event["inputs"][0]["nmae"] = json!("fraud")),
        without(&|event| {
            event["inputs"][0]["facets"]["version"]["_schemaURL"] = json!("https://example.com")
        }),
    ];
    let said = collected(&broken);
    assert_eq!(said.len(), broken.len());
    assert!(said.iter().all(|line| line != "ok"), "{said:?}");
}
