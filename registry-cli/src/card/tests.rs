//! Cards as people and training scripts write them, and what is wrong with the ones that are refused.

use super::*;

fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn card(name: &str, text: &str) -> Result<Card, String> {
    let (_folder, path) = write(name, text);
    read(&path, &"fraud-detection".parse().unwrap()).map_err(|failure| failure.told().unwrap().1)
}

const TIDY: &str = r#"
name = "fraud-detection"
version = "v3.1.0"
description = "Finds fraudulent card payments"
tags = ["fraud", "team=risk"]
[metadata]
algorithm = "XGBoost"
framework = "xgboost==1.7.0"
python_version = "3.10"
training_date = 2024-01-15
training_duration = "45min"
training_data_version = "v2024-01"
owner = "risk@example.com"
parent_model = "fraud-detection@v3.0.0"
increment = "0042"
hyperparameters = { n_estimators = 673, learning_rate = 0.094 }
extra = { ticket = "R-7" }
[metrics]
accuracy = 0.87
log_loss = { value = 0.31, direction = "lower", samples = 10000, standard_error = 0.004 }
[deployment]
latency_p50 = "35ms"
latency_p95_ms = 80
size = "12MB"
cpu = "0.2 cores"
memory = "256MB"
[signature]
inputs = { zeta = "double", alpha = "long" }
outputs = { fraud_probability = "double" }
"#;

/// As in the document that the registry serves: everything flat.
const FLAT: &str = r#"
name: fraud-detection
version: v3.1.0
stage: dev
created_at: "2024-01-15T10:30:00Z"
algorithm: XGBoost
framework: xgboost==1.7.0
python_version: "3.10"
training_date: "2024-01-15"
training_duration: 45min
training_data_size: 100k rows
accuracy: 0.87
precision: 0.85
recall: 0.62
roc_auc: 0.92
f1_score: 0.72
inference_latency_p50: 35ms
inference_latency_p95: 80ms
model_size: 12MB
cpu_usage: 0.2 cores
memory_usage: 256MB
increment: 0042-fraud-detection
experiment: exp-003-xgboost
training_data_version: v2024-01
feature_engineering_version: v1
parent_model: fraud-detection-v3.0.0
features:
  - amount_vs_user_average
  - days_since_last_purchase
num_features: 2
tags: [fraud, production, high-precision]
owner: risk@example.com
approver: lead@example.com
hyperparameters: {n_estimators: 673, max_depth: 6, learning_rate: 0.094}
"#;

#[test]
fn the_tidy_shape() {
    let card = card("card.toml", TIDY).unwrap();
    assert_eq!(card.version, Some("v3.1.0".parse().unwrap()));
    let content = card.content;
    assert_eq!(content.metadata.runtime.unwrap().as_str(), "python 3.10");
    assert_eq!(content.metadata.training_seconds.unwrap().get(), 2_700.0);
    assert_eq!(content.metadata.training_date.unwrap().to_string(), "2024-01-15");
    assert_eq!(content.metadata.parent_model.unwrap().to_string(), "fraud-detection@v3.0.0");
    assert_eq!(content.metadata.hyperparameters["n_estimators"], 673);
    assert_eq!(content.metadata.extra["ticket"], "R-7");
    let loss = &content.metrics[&"log_loss".parse().unwrap()];
    assert_eq!((loss.direction, loss.samples), (Some(Direction::Lower), Some(10_000)));
    assert_eq!(content.deployment.latency_p50_ms.unwrap().get(), 35.0);
    assert_eq!(content.deployment.latency_p95_ms.unwrap().get(), 80.0);
    assert_eq!(content.deployment.size_bytes, Some(12_000_000));
    assert_eq!(content.deployment.cpu_cores.unwrap().get(), 0.2);
    assert_eq!(content.deployment.memory_bytes, Some(256_000_000));
    assert_eq!(content.tags[&"team".parse().unwrap()], "risk");
    assert_eq!(content.tags[&"fraud".parse().unwrap()], "");
}

#[test]
fn the_flat_shape_of_training_scripts() {
    let card = card("card.yaml", FLAT).unwrap();
    assert_eq!(card.stage, Some(Stage::Development));
    let content = card.content;
    assert_eq!(content.metrics.len(), 5);
    assert_eq!(content.metrics[&"roc_auc".parse().unwrap()].value.get(), 0.92);
    assert_eq!(content.deployment.latency_p95_ms.unwrap().get(), 80.0);
    assert_eq!(content.metadata.parent_model.unwrap().to_string(), "fraud-detection@v3.0.0");
    assert_eq!(content.metadata.increment.unwrap().as_str(), "0042-fraud-detection");
    assert_eq!(content.metadata.extra["approver"], "lead@example.com");
    assert_eq!(content.features.unwrap().features().len(), 2);
    assert_eq!(content.tags.len(), 3);
}

#[test]
fn all_formats_say_the_same() {
    let tree: Node = toml::from_str(TIDY).unwrap();
    let json = card("card.json", &serde_json::to_string(&tree).unwrap()).unwrap();
    assert_eq!(card("card.toml", TIDY).unwrap(), json);
    assert_eq!(card("card.yml", &serde_json::to_string(&tree).unwrap()).unwrap(), json);
}

#[test]
fn the_card_of_the_readme_is_read() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(card("card.toml", text).unwrap().content.metrics.len(), 2);
}

#[test]
fn the_order_of_inputs_is_kept() {
    let signature =
        card("card.yaml", "signature: {inputs: {zeta: double, alpha: long}}").unwrap().content.signature;
    let names: Vec<_> = signature
        .unwrap()
        .inputs()
        .unwrap()
        .fields()
        .iter()
        .map(|field| field.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["zeta", "alpha"]);
}

#[test]
fn files_beside_the_card_are_read() {
    let (folder, path) = write(
        "card.toml",
        "requirements = \"requirements.txt\"\nsignature = \"signature.json\"\nfeatures = \"sub/features.yaml\"",
    );
    std::fs::write(folder.path().join("requirements.txt"), "xgboost==1.7.0\n").unwrap();
    std::fs::write(folder.path().join("signature.json"), r#"{"inputs": {"a": "double"}}"#).unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/features.yaml"), "set: fraud\nversion: v1\n").unwrap();
    let content = read(&path, &"fraud-detection".parse().unwrap()).unwrap().content;
    assert_eq!(content.environment[0].text(), "xgboost==1.7.0\n");
    assert!(content.signature.is_some());
    assert_eq!(content.features.unwrap().set(), Some("fraud"));
}

#[test]
fn what_is_absent_or_empty_is_not_said() {
    assert_eq!(card("card.yaml", "owner:\nmetrics:\nalgorithm: ~\n").unwrap(), Card::default());
    assert_eq!(card("card.json", "{}").unwrap(), Card::default());
    assert_eq!(card("card.toml", "").unwrap(), Card::default());
}

#[test]
fn parents_are_read_in_every_form() {
    let model = "fraud-detection".parse().unwrap();
    for text in ["fraud-detection@v3.0.0", "fraud-detection-v3.0.0", "v3.0.0", "fraud-detection-v3"] {
        assert_eq!(parent(text, &model).unwrap().to_string(), "fraud-detection@v3.0.0", "{text}");
    }
    assert_eq!(parent("a-vb-v2", &model).unwrap().to_string(), "a-vb@v2.0.0");
    for text in ["", "fraud-detection", "@v3", "fraud@x"] {
        assert!(parent(text, &model).is_err(), "{text}");
    }
}

#[test]
fn refusals_name_the_key_and_the_remedy() {
    for (name, text, phrases) in [
        ("c.toml", "acuracy = 0.9", vec!["\"acuracy\"", "did you mean `accuracy`"]),
        ("c.toml", "[metadata]\nalgoritm = \"X\"", vec!["\"metadata.algoritm\"", "did you mean `algorithm`"]),
        (
            "c.toml",
            "[deployment]\nlatency_p5 = \"1ms\"",
            vec!["\"deployment.latency_p5\"", "did you mean `latency_p50`"],
        ),
        ("c.toml", "zzz = 1", vec!["\"zzz\"", "below `extra`"]),
        ("c.yaml", "python_version: 3.10", vec!["\"python_version\"", "in quotes", "3.1"]),
        ("c.yaml", "increment: 0042", vec!["\"increment\"", "in quotes"]),
        ("c.yaml", "accuracy: high", vec!["\"accuracy\"", "expected a number", "high"]),
        ("c.yaml", "accuracy: .nan", vec!["accuracy", "non-finite"]),
        ("c.toml", "accuracy = inf", vec!["\"accuracy\"", "number"]),
        ("c.yaml", "metrics: {loss: {direction: lower}}", vec!["\"metrics.loss\"", "`value`"]),
        (
            "c.yaml",
            "metrics: {loss: {value: 1, direction: down}}",
            vec!["\"metrics.loss.direction\"", "`lower`"],
        ),
        (
            "c.yaml",
            "metrics: {loss: {value: 1, sample: 3}}",
            vec!["\"metrics.loss.sample\"", "did you mean `samples`"],
        ),
        ("c.yaml", "metrics: {'a=b': 1}", vec!["\"metrics.a=b\"", "allowed"]),
        ("c.yaml", "accuracy: 1\nmetrics: {accuracy: 2}", vec!["accuracy", "says again"]),
        ("c.yaml", "owner: a\nmetadata: {owner: b}", vec!["\"metadata.owner\"", "says again"]),
        ("c.yaml", "inference_latency_p50: 35", vec!["\"inference_latency_p50\"", "with a unit"]),
        ("c.yaml", "inference_latency_p50: 35 parsecs", vec!["\"inference_latency_p50\"", "`35ms`"]),
        ("c.yaml", "model_size: 12XB", vec!["\"model_size\"", "`12MB`"]),
        ("c.yaml", "cpu_usage: 20%", vec!["\"cpu_usage\"", "cores"]),
        ("c.yaml", "training_duration: soon", vec!["\"training_duration\"", "`45min`"]),
        ("c.yaml", "training_date: 15.01.2024", vec!["\"training_date\"", "`2024-01-15`"]),
        ("c.yaml", "tags: fraud", vec!["\"tags\"", "expected a list"]),
        ("c.yaml", "tags: [1]", vec!["\"tags[0]\"", "quotes"]),
        ("c.yaml", "tags: ['a,b']", vec!["\"tags[0]\"", "allowed"]),
        ("c.yaml", "name: other", vec!["\"name\"", "about `other`"]),
        ("c.yaml", "version: 3.1", vec!["\"version\"", "in quotes"]),
        ("c.yaml", "version: next", vec!["\"version\"", "semantic version"]),
        ("c.yaml", "stage: live", vec!["\"stage\"", "production"]),
        ("c.yaml", "features: []", vec!["\"features\"", "neither a set nor a feature"]),
        ("c.yaml", "features: [a, a]", vec!["\"features\""]),
        ("c.yaml", "features: [a]\nnum_features: 35", vec!["\"num_features\"", "says 35, but 1"]),
        ("c.yaml", "num_features: many", vec!["\"num_features\"", "whole number"]),
        ("c.yaml", "signature: {inputs: {a: quaternion}}", vec!["\"signature\""]),
        ("c.yaml", "signature: ../signature.json", vec!["\"signature\"", "`..`"]),
        ("c.yaml", "requirements: /etc/passwd", vec!["\"requirements\"", "relative"]),
        ("c.yaml", "requirements: nowhere.txt", vec!["nowhere.txt", "No such file"]),
        ("c.toml", "extra = { a = [1, inf] }", vec!["\"extra.a[1]\"", "finite"]),
        ("c.yaml", "hyperparameters: [1]", vec!["\"hyperparameters\"", "expected a table"]),
        ("c.yaml", "parent_model: somebody", vec!["\"parent_model\"", "expected `<model>@<version>`"]),
        ("c.yaml", "a: 1\na: 2", vec!["c.yaml"]),
        ("c.toml", "a = 1\na = 2", vec!["c.toml", "duplicate"]),
        ("c.json", "{\"a\": 1, \"a\": 2}", vec!["c.json", "given twice"]),
        ("c.json", "[1]", vec!["expected a table"]),
        ("c.yaml", "just text", vec!["expected a table"]),
        ("c.json", "{", vec!["c.json"]),
        ("c.txt", "", vec!["c.txt", ".toml"]),
        ("card", "", vec!["card", ".toml"]),
    ] {
        let message = card(name, text).expect_err(text);
        for phrase in phrases {
            assert!(message.contains(phrase), "{text:?}: {message:?} lacks {phrase:?}");
        }
    }
}

#[test]
fn nothing_that_is_read_panics() {
    // Deep nesting, references that explode, binary rubbish, a byte order mark.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    for extension in ["toml", "yaml", "json"] {
        for text in
            [&deep, bomb, "\u{feff}{}", "\0", "%%%", "---\n---\n", "!!binary x", "{{{{", "=", "- - - -"]
        {
            let _ = card(&format!("c.{extension}"), text);
        }
    }
}
