use std::sync::LazyLock;

use super::*;

static BASELINE: LazyLock<TrainedModel> = LazyLock::new(|| baseline().unwrap());
static SAME_INPUTS: LazyLock<TrainedModel> = LazyLock::new(|| improved_same_inputs().unwrap());
static MORE_FEATURES: LazyLock<TrainedModel> = LazyLock::new(|| improved_more_features().unwrap());
static CARELESS: LazyLock<TrainedModel> = LazyLock::new(|| careless_retrain().unwrap());

fn all() -> [&'static TrainedModel; 4] {
    [&BASELINE, &SAME_INPUTS, &MORE_FEATURES, &CARELESS]
}

fn metric(model: &TrainedModel, name: &str) -> f64 {
    model.metric(name).unwrap_or_else(|| panic!("{name} was not measured"))
}

fn columns(model: &TrainedModel) -> Vec<&str> {
    model.features.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn each_improvement_improves() {
    assert!(0.87 < metric(&BASELINE, "accuracy"));
    for name in ["accuracy", "f1", "recall", "roc_auc"] {
        let (first, second, third) =
            (metric(&BASELINE, name), metric(&SAME_INPUTS, name), metric(&MORE_FEATURES, name));
        assert!(first < second && second < third, "{name}: {first} {second} {third}");
    }
    assert!(0.01 < metric(&SAME_INPUTS, "accuracy") - metric(&BASELINE, "accuracy"));
    assert!(0.94 < metric(&MORE_FEATURES, "accuracy"));
    assert!(0.97 < metric(&MORE_FEATURES, "roc_auc"));
}

#[test]
fn the_careless_model_is_worse_than_all_others() {
    for good in [&*BASELINE, &*SAME_INPUTS, &*MORE_FEATURES] {
        for name in ["accuracy", "precision", "f1"] {
            let (bad, good) = (metric(&CARELESS, name), metric(good, name));
            assert!(bad + 0.05 < good, "{name}: {bad} against {good}");
        }
    }
    assert!(metric(&CARELESS, "accuracy") + 0.1 < metric(&MORE_FEATURES, "accuracy"));
}

#[test]
fn inputs_stay_or_grow_as_promised() {
    assert_eq!(BASELINE.features, SAME_INPUTS.features);
    assert_eq!(MORE_FEATURES.features, CARELESS.features);
    assert_eq!(MORE_FEATURES.features[..10], BASELINE.features);
    assert_eq!((BASELINE.features.len(), MORE_FEATURES.features.len()), (10, 30));
}

#[test]
fn training_again_gives_the_same_bytes_and_the_same_quality() {
    let quality = |model: &TrainedModel| -> Vec<Metric> {
        model.metrics.iter().filter(|metric| !metric.name.starts_with("latency")).cloned().collect()
    };
    for (first, train_again) in all().into_iter().zip([
        baseline as fn() -> _,
        improved_same_inputs,
        improved_more_features,
        careless_retrain,
    ]) {
        let second = train_again().unwrap();
        assert!(first.bytes == second.bytes, "{} gave other bytes", first.algorithm);
        assert_eq!(quality(first), quality(&second));
        assert_eq!(first.data_version, second.data_version);
    }
}

#[test]
fn bytes_give_the_predictions_that_were_measured() {
    for model in all() {
        let unseen = held_out(&columns(model)).unwrap();
        let predicted = load_and_predict(&model.bytes, &unseen.rows).unwrap();
        let right = predicted.iter().zip(&unseen.labels).filter(|(said, truth)| said == truth).count();
        assert_eq!(right as f64 / unseen.labels.len() as f64, metric(model, "accuracy"));
    }
}

/// The model before it was serialised and the model after it agree to the last bit.
#[test]
fn a_round_trip_through_bytes_changes_no_score() {
    let table = Table::load();
    for recipe in [logistic(false), logistic(true), forest(20, 6)] {
        let training = table.training(table.columns(), usize::MAX).unwrap();
        let unseen = table.held_out(table.columns()).unwrap();
        let fresh = Classifier::fit(recipe, table.columns(), &training).unwrap();
        let bytes = fresh.to_bytes().unwrap();
        let loaded = Classifier::from_bytes(&bytes).unwrap();
        assert_eq!(fresh.scores(&unseen.rows).unwrap(), loaded.scores(&unseen.rows).unwrap());
        assert!(loaded.to_bytes().unwrap() == bytes);
    }
}

#[test]
fn a_model_says_all_a_registry_asks() {
    for model in all() {
        let names: Vec<&str> = model.metrics.iter().map(|metric| metric.name).collect();
        assert_eq!(
            names,
            ["accuracy", "precision", "recall", "f1", "roc_auc", "latency_p50_ms", "latency_p95_ms"]
        );
        for metric in &model.metrics {
            let samples =
                if metric.name.starts_with("latency") { model.test_rows * 5 } else { model.test_rows };
            assert_eq!(metric.samples, samples, "{}", metric.name);
            assert!(metric.value.is_finite() && 0.0 < metric.value, "{metric:?}");
        }
        assert!(metric(model, "latency_p50_ms") <= metric(model, "latency_p95_ms"));
        assert!(0.0 < model.training_seconds);
        assert!(model.data_version.starts_with("breast-cancer-wisconsin-diagnostic@sha256:"));
    }
    assert_eq!(SAME_INPUTS.hyperparameters["n_trees"], 50);
    assert_eq!(SAME_INPUTS.hyperparameters["seed"], 7);
    assert_eq!(BASELINE.hyperparameters["alpha"], 1.0);
    assert_eq!(BASELINE.hyperparameters["standardise"], false);
    assert_eq!(MORE_FEATURES.hyperparameters["standardise"], true);
    assert_eq!((CARELESS.training_rows, CARELESS.test_rows), (30, MORE_FEATURES.test_rows));
}

#[test]
fn a_row_of_the_wrong_width_is_refused() {
    let narrow = held_out(&columns(&BASELINE)).unwrap();
    let error = load_and_predict(&MORE_FEATURES.bytes, &narrow.rows).unwrap_err();
    assert_eq!(error.to_string(), "row 0 has 10 values; the model expects 30");
    assert!(load_and_predict(&BASELINE.bytes, &[]).unwrap().is_empty());
}

#[test]
fn other_bytes_are_refused() {
    let cut_short = &BASELINE.bytes[..BASELINE.bytes.len() / 2];
    for bytes in [b"".as_slice(), b"not a model", cut_short] {
        assert!(matches!(load_and_predict(bytes, &[]), Err(TrainingError::Decode(_))));
    }
    let newer = br#"{"format":"registry-examples/classifier@2"}"#;
    assert!(matches!(load_and_predict(newer, &[]), Err(TrainingError::Format { .. })));
}

#[test]
fn the_framework_is_the_one_in_the_lock_file() {
    let (name, version) = FRAMEWORK.split_once("==").unwrap();
    let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    assert!(include_str!("../../../Cargo.lock").contains(&entry), "Cargo.lock has another {name}");
}
