//! Why this exists: whatever a card says can be said by flags too, for scripts that have the numbers at
//! hand. Flags win over the card; maps are merged key by key.

use std::path::PathBuf;

use clap::Args;
use registry_core::{Actor, Content, Finite, Invalid, ModelName, Text};

use super::{parent, read_environment, read_features, read_signature, units};
use crate::failure::Failure;
use crate::input::{DerivationArg, EvaluationArg, InputArg, MetricArg, Pair, TagArg, tags};

/// What may be said of a version, then or later.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Statements")]
pub(crate) struct Statements {
    /// A metric, repeatable
    #[arg(long, value_name = "NAME=NUMBER")]
    pub(crate) metric: Vec<MetricArg>,
    /// A hyperparameter, repeatable; a value that is JSON is taken as such
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<Pair>,
    /// For example XGBoost
    #[arg(long, value_name = "TEXT")]
    pub(crate) algorithm: Option<Text>,
    /// Framework and version, for example xgboost==1.7.0
    #[arg(long, value_name = "TEXT")]
    pub(crate) framework: Option<Text>,
    /// Runtime and version, for example "python 3.10"
    #[arg(long, value_name = "TEXT")]
    pub(crate) runtime: Option<Text>,
    /// Who answers for the model
    #[arg(long, value_name = "WHO")]
    pub(crate) owner: Option<Actor>,
    /// The version of the training data
    #[arg(long, value_name = "TEXT")]
    pub(crate) data_version: Option<Text>,
    /// The size of the training data, for example "100k rows"
    #[arg(long, value_name = "TEXT")]
    pub(crate) data_size: Option<Text>,
    /// The version of the feature engineering code
    #[arg(long, value_name = "TEXT")]
    pub(crate) feature_version: Option<Text>,
    /// The experiment or run that produced the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) experiment: Option<Text>,
    /// The increment or work item that asked for the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) increment: Option<Text>,
    /// The version that this one was derived from: v3.0.0, or other-model@v3.0.0
    #[arg(long, value_name = "VERSION")]
    pub(crate) parent: Option<String>,
    /// What else it was made with: data:transactions:v7, code:train.py:4f2a, feature-set:card:7, …, repeatable
    #[arg(long, value_name = "KIND:NAME[:VERSION]")]
    pub(crate) made_with: Vec<InputArg>,
    /// A version it was made out of, and how: base@v1.0.0=fine-tuned, =distilled, =quantised or =merged, repeatable
    #[arg(long, value_name = "MODEL@VERSION=HOW")]
    pub(crate) made_out_of: Vec<DerivationArg>,
    /// An evaluation of it, and what it found, repeatable: holdout-2024-01, or holdout-2024-01={"auc":0.92}
    #[arg(long, value_name = "NAME[=JSON]")]
    pub(crate) evaluation: Vec<EvaluationArg>,
    /// The day the model was trained
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) training_date: Option<jiff::civil::Date>,
    /// How long training took, for example 45min
    #[arg(long, value_name = "DURATION", value_parser = units::seconds)]
    pub(crate) training_duration: Option<f64>,
    /// Median latency, for example 35ms
    #[arg(long, value_name = "DURATION", value_parser = units::milliseconds)]
    pub(crate) latency_p50: Option<f64>,
    /// 95th percentile of the latency, for example 80ms
    #[arg(long, value_name = "DURATION", value_parser = units::milliseconds)]
    pub(crate) latency_p95: Option<f64>,
    /// Size of the model where it is served, for example 12MB
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) model_size: Option<u64>,
    /// CPU used, for example "0.2 cores"
    #[arg(long, value_name = "CORES", value_parser = units::cores)]
    pub(crate) cpu: Option<f64>,
    /// Memory used, for example 256MB
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) memory: Option<u64>,
    /// Anything else, repeatable; a value that is JSON is taken as such
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) extra: Vec<Pair>,
}

fn date(text: &str) -> Result<jiff::civil::Date, Invalid> {
    text.parse().map_err(|_| Invalid::new("date", text, "expected for example `2024-01-15`"))
}

fn set<T: Clone>(slot: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        slot.clone_from(given);
    }
}

fn set_finite(slot: &mut Option<Finite>, given: Option<f64>) -> Result<(), Invalid> {
    if let Some(given) = given {
        *slot = Some(Finite::new(given)?);
    }
    Ok(())
}

impl Statements {
    /// Puts what was given by flags over what the card says.
    pub(crate) fn lay_over(&self, content: &mut Content, model: &ModelName) -> Result<(), Invalid> {
        let metadata = &mut content.metadata;
        set(&mut metadata.algorithm, &self.algorithm);
        set(&mut metadata.framework, &self.framework);
        set(&mut metadata.runtime, &self.runtime);
        set(&mut metadata.owner, &self.owner);
        set(&mut metadata.training_data_version, &self.data_version);
        set(&mut metadata.training_data_size, &self.data_size);
        set(&mut metadata.feature_engineering_version, &self.feature_version);
        set(&mut metadata.experiment, &self.experiment);
        set(&mut metadata.increment, &self.increment);
        set(&mut metadata.training_date, &self.training_date);
        set_finite(&mut metadata.training_seconds, self.training_duration)?;
        if let Some(text) = &self.parent {
            metadata.parent_model = Some(parent(text, model)?);
        }
        let pairs = |pairs: &[Pair]| -> Vec<(String, serde_json::Value)> {
            pairs.iter().map(|pair| (pair.name.clone(), pair.json())).collect()
        };
        metadata.hyperparameters.extend(pairs(&self.param));
        metadata.extra.extend(pairs(&self.extra));
        let metrics = self.metric.iter().map(|given| (given.name.clone(), given.metric.clone()));
        content.metrics.extend(metrics);
        content.links.extend(self.made_with.iter().map(|given| given.0.clone()));
        content.links.extend(self.made_out_of.iter().map(|given| given.0.clone()));
        content.links.extend(self.evaluation.iter().map(|given| given.0.clone()));
        let deployment = &mut content.deployment;
        set_finite(&mut deployment.latency_p50_ms, self.latency_p50)?;
        set_finite(&mut deployment.latency_p95_ms, self.latency_p95)?;
        set(&mut deployment.size_bytes, &self.model_size);
        set_finite(&mut deployment.cpu_cores, self.cpu)?;
        set(&mut deployment.memory_bytes, &self.memory);
        Ok(())
    }
}

/// What belongs to a version from the beginning.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "The version")]
pub(crate) struct Described {
    /// A model card in TOML, YAML or JSON; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,
    /// Inputs and outputs, in JSON, YAML or TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// The feature schema, in JSON, YAML or TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) features: Option<PathBuf>,
    /// An environment file such as requirements.txt, repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) requirements: Vec<PathBuf>,
    /// A tag, KEY or KEY=VALUE, repeatable
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<TagArg>,
    /// What it is, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<Text>,
    #[command(flatten)]
    pub(crate) statements: Statements,
}

impl Described {
    /// The card, if there is one, and over it what was given by flags.
    pub(crate) fn read(&self, model: &ModelName) -> Result<super::Card, Failure> {
        let mut card = match &self.card {
            Some(path) => super::read(path, model)?,
            None => super::Card::default(),
        };
        let content = &mut card.content;
        self.statements.lay_over(content, model)?;
        if let Some(path) = &self.signature {
            content.signature = Some(read_signature(path)?);
        }
        if let Some(path) = &self.features {
            content.features = Some(read_features(path)?);
        }
        for path in &self.requirements {
            let file = read_environment(path)?;
            content.environment.retain(|other| other.name() != file.name());
            content.environment.push(file);
        }
        content.tags.extend(tags(&self.tag));
        set(&mut content.description, &self.description);
        Ok(card)
    }
}
