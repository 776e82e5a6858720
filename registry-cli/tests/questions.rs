//! The questions that people come to a registry for, asked of what is on record: "what data was used to train this
//! model", "which experiments led to it", "what models use this feature set", "what would changing this feature touch",
//! "is the new version better". Word for word the same answers wherever the registry is.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;
use insta::assert_snapshot;

const OLD: &str = r#"
description = "Finds fraudulent card payments"
tags = ["fraud"]
[metadata]
algorithm = "XGBoost"
framework = "xgboost==1.7.0"
training_data_version = "v2023-12"
feature_engineering_version = "v1"
experiment = "exp-001-baseline"
owner = "risk@example.com"
[metadata.features]
set = "card"
version = "6"
features = [
  "obsolete_feature_x",
  { name = "amount_vs_user_average", transform = "amount / mean" },
  { name = "days_since_last_purchase", transform = "days" },
  { name = "merchant_risk_score", transform = "score" },
]
[metrics]
accuracy = 0.85
precision = 0.83
recall = 0.60
[deployment]
latency_p50 = "40ms"
size = "15MB"
"#;

const NEW: &str = r#"
description = "Finds fraudulent card payments"
tags = ["fraud"]
[metadata]
algorithm = "XGBoost"
framework = "xgboost==1.7.0"
training_data_version = "v2024-01"
feature_engineering_version = "v1"
experiment = "exp-003-xgboost"
parent_model = "fraud-detection@v3.0.0"
owner = "risk@example.com"
[metadata.features]
set = "card"
version = "7"
features = [
  "merchant_reputation_score",
  { name = "amount_vs_user_average", transform = "amount / median" },
  { name = "days_since_last_purchase", transform = "log(days)" },
  { name = "merchant_risk_score", transform = "zscore(score)" },
]
[metrics]
accuracy = 0.87
precision = 0.85
recall = 0.62
[deployment]
latency_p50 = "35ms"
size = "12MB"

[[links]]
link = "input"
kind = "code"
id = "train.py"
version = "4f2a"
"#;

fn answers(world: World) {
    world.write("old.bin", "the old weights");
    world.write("new.bin", "the new weights");
    world.write("small.bin", "the new weights in a smaller type");
    world.write("old.toml", OLD);
    world.write("new.toml", NEW);
    let model = "fraud-detection";
    world.ok(&["register", model, "old.bin", "--card", "old.toml", "--version", "v3.0.0"]);
    let changes = "clients send raw values, so the features are ours alone";
    world.ok(&[
        "register",
        model,
        "new.bin",
        "--card",
        "new.toml",
        "--version",
        "v3.1.0",
        "--allow-smaller",
        changes,
    ]);
    world.ok(&["promote", model, "v3.1.0", "--to", "staging"]);
    world.ok(&["promote", model, "v3.1.0", "--to", "production"]);
    world.ok(&[
        "register",
        "fraud-mobile",
        "small.bin",
        "--version",
        "v1.0.0",
        "--made-out-of",
        "fraud-detection@v3.1.0=quantised",
        "--evaluation",
        "holdout-2024-01={\"auc\":0.91}",
    ]);
    world.ok(&[
        "amend",
        model,
        "v3.0.0",
        "--evaluation",
        "holdout-2023-12",
        "--made-with",
        "data:blacklist:3",
    ]);

    let mut story = String::new();
    let mut ask = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    ask(&["lineage", model]);
    ask(&["lineage", model, "v3.1.0", "--only", "data"]);
    ask(&["lineage", model, "v3.1.0", "--only", "experiment"]);
    ask(&["lineage", "fraud-mobile", "newest", "--only", "evaluation"]);
    ask(&["impact", "feature-set:card"]);
    ask(&["impact", "feature:merchant_reputation_score"]);
    ask(&["impact", "feature:obsolete_feature_x"]);
    ask(&["impact", "data:v2023-12"]);
    ask(&["impact", "data:blacklist"]);
    ask(&["impact", "model:fraud-detection@v3.0.0"]);
    ask(&["impact", "feature:nothing_uses_this"]);
    ask(&["impact", "fraud"]);
    ask(&["lineage", "fraud-mobile", "newest", "--common", "fraud-detection@v3.0.0"]);
    ask(&["lineage", "fraud-mobile", "newest", "--path", "data:v2024-01"]);
    ask(&["lineage", "fraud-mobile", "newest", "--path", "data:v1999"]);
    ask(&["lineage", "fraud-mobile", "newest", "--format", "mermaid"]);
    ask(&[
        "register",
        "fraud-detection",
        "small.bin",
        "--version",
        "v4.0.0",
        "--made-out-of",
        "fraud-detection@v4.0.0",
    ]);
    ask(&["compare", model, "v3.0.0", "v3.1.0"]);
    ask(&["search", "feature_set = card and metric.accuracy >= 0.86 and stage = prod"]);
    ask(&["search", "parent = fraud-detection@v3.1.0 or data = blacklist order by version desc"]);
    ask(&["info", "fraud-mobile", "newest"]);
    assert_snapshot!("questions", story);

    let events = world.ok(&["lineage", "fraud-mobile", "newest", "--format", "openlineage"]);
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Three versions were trained and one was deployed; each has a beginning and an end.
    assert_eq!(events.len(), 8);
    let graph = world.json(&["lineage", "--all", "--format", "dot"]);
    assert_eq!(graph["nodes"][0]["kind"], "model");
}

#[test]
fn the_questions_on_sqlite() {
    answers(World::new());
}

#[test]
fn the_questions_in_a_folder_of_objects() {
    answers(World::in_a_folder_of_objects());
}

#[cfg(feature = "servers")]
#[test]
fn the_questions_in_a_bucket() {
    answers(World::in_a_bucket());
}

#[cfg(feature = "servers")]
#[test]
fn the_questions_on_mlflow_3_on_sqlite() {
    answers(World::on_mlflow("REGISTRY_TEST_MLFLOW_3"));
}

#[cfg(feature = "servers")]
#[test]
fn the_questions_on_mlflow_2_on_sqlite() {
    answers(World::on_mlflow("REGISTRY_TEST_MLFLOW_2"));
}

#[cfg(feature = "servers")]
#[test]
fn the_questions_on_mlflow_3_on_postgresql() {
    answers(World::on_mlflow("REGISTRY_TEST_MLFLOW_PG"));
}
