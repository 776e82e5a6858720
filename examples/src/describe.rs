//! From a training to a registration: what a registry wants to know of a model, beside its bytes.
//!
//! The signature decides about compatibility, the metadata about reproducibility, the metrics about
//! trust. All of it comes from the training itself; a person who writes it down by hand forgets a part.

use registry_core::features::Feature;
use registry_core::signature::{Field, Scalar, Schema, Signature};
use registry_core::{
    Content, Deployment, Direction, EnvironmentFile, FeatureSchema, Finite, Invalid, Metadata, Metric,
};

use crate::training::TrainedModel;

/// The name of the file that a model's bytes are registered under.
pub const MODEL_FILE: &str = "model.json";

/// The content to register for a trained model. Its bytes are registered as uploads, beside it.
pub fn content(trained: &TrainedModel) -> Result<Content, Invalid> {
    Ok(Content {
        signature: Some(signature(trained)?),
        features: Some(feature_schema(trained)?),
        environment: vec![environment(trained)?],
        metadata: metadata(trained)?,
        metrics: quality(trained)
            .map(|metric| Ok((metric.name.parse()?, registered(metric)?)))
            .collect::<Result<_, Invalid>>()?,
        deployment: Deployment {
            latency_p50_ms: measured(trained, "latency_p50_ms")?,
            latency_p95_ms: measured(trained, "latency_p95_ms")?,
            size_bytes: u64::try_from(trained.bytes.len()).ok(),
            ..Deployment::default()
        },
        ..Content::default()
    })
}

/// What callers send and what they get. Callers are matched by name, so columns may move.
fn signature(trained: &TrainedModel) -> Result<Signature, Invalid> {
    let inputs: Vec<Field> = trained
        .features
        .iter()
        .map(|(name, data_type)| Ok(Field::new(name, data_type.parse::<Scalar>()?)))
        .collect::<Result<_, Invalid>>()?;
    let diagnosis =
        Field::new("diagnosis", Scalar::Long).categories([0, 1]).description("1 is malignant, 0 is benign");
    Signature::new(Some(Schema::new(inputs)?), Some(Schema::new(vec![diagnosis])?), Vec::new())
}

/// The columns that a registered model asks for, in its order.
pub fn input_columns(content: &Content) -> Vec<&str> {
    let inputs = content.signature.as_ref().and_then(Signature::inputs);
    let fields = inputs.map(Schema::fields).unwrap_or_default();
    fields.iter().filter_map(|field| field.name.as_deref()).collect()
}

/// The features the model was trained on; for these models every input column is one.
fn feature_schema(trained: &TrainedModel) -> Result<FeatureSchema, Invalid> {
    let features = trained.features.iter().map(|(name, _)| Feature::new(name)).collect();
    FeatureSchema::new(Some("cell-nuclei".to_owned()), None, features)
}

/// What somebody needs to load the model again: the crate that made it, to the patch version.
fn environment(trained: &TrainedModel) -> Result<EnvironmentFile, Invalid> {
    let requirement = trained.framework.replacen("==", " = \"=", 1);
    EnvironmentFile::new("Cargo.toml".parse()?, format!("[dependencies]\n{requirement}\"\n"))
}

fn metadata(trained: &TrainedModel) -> Result<Metadata, Invalid> {
    Ok(Metadata {
        algorithm: Some(trained.algorithm.parse()?),
        framework: Some(trained.framework.parse()?),
        hyperparameters: trained.hyperparameters.clone(),
        training_seconds: Some(Finite::new(trained.training_seconds)?),
        training_data_version: Some(trained.data_version.parse()?),
        training_data_size: Some(format!("{} rows", trained.training_rows).parse()?),
        ..Metadata::default()
    })
}

/// The metrics that say how good the model is; the others say how fast it is.
fn quality(trained: &TrainedModel) -> impl Iterator<Item = &crate::training::Metric> {
    trained.metrics.iter().filter(|metric| !metric.name.starts_with("latency"))
}

/// A number without its sample count cannot be compared with another one.
fn registered(metric: &crate::training::Metric) -> Result<Metric, Invalid> {
    let metric_on_record = Metric::new(metric.value)?.with_direction(Direction::Higher);
    Ok(match u64::try_from(metric.samples) {
        Ok(samples) => metric_on_record.with_samples(samples),
        Err(_) => metric_on_record,
    })
}

fn measured(trained: &TrainedModel, name: &str) -> Result<Option<Finite>, Invalid> {
    trained.metric(name).map(Finite::new).transpose()
}
