//! Why this exists: what is known of a model is written down by those who trained it, in a file beside
//! it: the model card. It is read here, from TOML, YAML or JSON, in a tidy shape or flat as training
//! scripts tend to write it; both may be mixed, but nothing may be said twice.
//!
//! ```toml
//! name = "fraud-detection"            # must be the model's, if given
//! version = "v3.1.0"                  # unless --version, --bump or --auto say otherwise
//! description = "Finds fraudulent card payments"
//! tags = ["fraud", "team=risk"]
//!
//! [metadata]
//! algorithm = "XGBoost"
//! framework = "xgboost==1.7.0"
//! python_version = "3.10"
//! training_date = "2024-01-15"
//! training_duration = "45min"
//! owner = "risk@example.com"
//! parent_model = "fraud-detection@v3.0.0"
//! hyperparameters = { n_estimators = 673, max_depth = 6 }
//!
//! [metrics]
//! accuracy = 0.87
//! log_loss = { value = 0.31, direction = "lower", samples = 10000, standard_error = 0.004 }
//!
//! [deployment]
//! latency_p50 = "35ms"
//! size = "12MB"
//! cpu = "0.2 cores"
//!
//! [signature]
//! inputs = { amount = "double", merchant_id = "long" }
//! outputs = { fraud_probability = "double" }
//!
//! [[links]]                           # what it was made with or out of beyond the metadata, and evaluations
//! link = "derived_from"
//! model = "base@v1.0.0"
//! how = "fine_tuned"
//! ```
//!
//! Whatever has no key of its own goes below `extra`. Other unknown keys are refused, with the nearest
//! known one, because a misspelt `acuracy` must not vanish. Files that a card names (`signature`,
//! `features`, `requirements`) lie beside it or below, so that a card from elsewhere cannot pick up
//! other files of this machine.

mod flags;
mod node;
pub(crate) mod units;

use std::path::Path;

use registry_core::{
    ArtifactPath, Content, Direction, EnvironmentFile, FeatureSchema, Finite, Invalid, Key, Metric,
    ModelName, ModelVersion, Signature, Stage, Version, nearest,
};

pub(crate) use self::flags::{Described, Statements};
use self::node::{At, Node};
use crate::failure::Failure;
use crate::input::{parsed_file, text_file};

/// What a card says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Card {
    pub(crate) version: Option<Version>,
    pub(crate) stage: Option<Stage>,
    pub(crate) content: Content,
    num_features: Option<u64>,
}

/// Keys that stand at the top only.
const TOP_KEYS: &[&str] = &[
    "name",
    "version",
    "stage",
    "description",
    "metadata",
    "metrics",
    "deployment",
    "signature",
    "environment",
    "requirements",
    "links",
];

/// Keys that stand at the top or in `[metadata]`.
const FLAT_KEYS: &[&str] = &[
    "algorithm",
    "framework",
    "runtime",
    "python_version",
    "hyperparameters",
    "training_date",
    "training_duration",
    "training_seconds",
    "training_data_version",
    "training_data_size",
    "feature_engineering_version",
    "experiment",
    "increment",
    "parent_model",
    "owner",
    "approver",
    "created_at",
    "updated_at",
    "features",
    "num_features",
    "tags",
    "extra",
];

/// Metrics that may stand among them.
const METRIC_KEYS: &[&str] = &["accuracy", "precision", "recall", "roc_auc", "f1_score"];

/// Deployment figures that may stand among them.
const FIGURE_KEYS: &[&str] =
    &["inference_latency_p50", "inference_latency_p95", "model_size", "cpu_usage", "memory_usage"];

/// Keys of `[deployment]`, beside the ones before.
const DEPLOYMENT_KEYS: &[&str] = &[
    "latency_p50",
    "latency_p95",
    "latency_p50_ms",
    "latency_p95_ms",
    "size",
    "size_bytes",
    "cpu",
    "cpu_cores",
    "memory",
    "memory_bytes",
];

const METRIC_PARTS: &[&str] = &["value", "direction", "unit", "samples", "standard_error"];

/// The card in a file, in the format that its extension names, for a model.
pub(crate) fn read(path: &Path, model: &ModelName) -> Result<Card, Failure> {
    let node = parsed_file::<Node>(path)?;
    let files = |name: &ArtifactPath| {
        let folder = path.parent().unwrap_or(Path::new(""));
        folder.join(name.as_str())
    };
    let mut reader = Reader { card: Card::default(), model, file: &files };
    reader.top(&node)?;
    Ok(reader.card)
}

/// The signature in a file.
pub(crate) fn read_signature(path: &Path) -> Result<Signature, Failure> {
    let node = parsed_file::<Node>(path)?;
    Ok(At::new("signature", &node).structured()?)
}

/// The feature schema in a file.
pub(crate) fn read_features(path: &Path) -> Result<FeatureSchema, Failure> {
    let node = parsed_file::<Node>(path)?;
    Ok(At::new("features", &node).structured()?)
}

/// The environment file at a path, under its own name.
pub(crate) fn read_environment(path: &Path) -> Result<EnvironmentFile, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::file(path, "its name is not Unicode"))?;
    Ok(EnvironmentFile::new(name.parse()?, text_file(path)?)?)
}

/// Reads a tree into a card, each thing once.
struct Reader<'a> {
    card: Card,
    model: &'a ModelName,
    /// Where a file that the card names lies.
    file: &'a dyn Fn(&ArtifactPath) -> std::path::PathBuf,
}

/// Sets what is not set yet.
fn once<T>(slot: &mut Option<T>, at: &At<'_>, value: T) -> Result<(), Invalid> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(at.invalid("says again what another key has said")),
    }
}

fn finite(at: &At<'_>, value: f64) -> Result<Finite, Invalid> {
    Finite::new(value).map_err(|error| at.invalid(error.problem))
}

impl Reader<'_> {
    fn top(&mut self, node: &Node) -> Result<(), Failure> {
        let root = At::new("", node);
        let entries =
            root.map().map_err(|_| Invalid::new("card", "", "expected a table of keys and values"))?;
        for (key, at) in &entries {
            match *key {
                "name" => {
                    let name: ModelName = at.parsed()?;
                    if name != *self.model {
                        return Err(at
                            .invalid(format!("the card is about `{name}`, not about `{}`", self.model))
                            .into());
                    }
                }
                "version" => once(&mut self.card.version, at, at.parsed()?)?,
                "stage" => once(&mut self.card.stage, at, at.parsed()?)?,
                "description" => once(&mut self.card.content.description, at, at.parsed()?)?,
                "metrics" => {
                    for (name, at) in at.map()? {
                        self.metric(name, &at)?;
                    }
                }
                "metadata" => {
                    for (name, at) in at.map()? {
                        if !self.flat(name, &at)? {
                            return Err(unknown(&at, name, &[FLAT_KEYS, METRIC_KEYS, FIGURE_KEYS]).into());
                        }
                    }
                }
                "deployment" => {
                    for (name, at) in at.map()? {
                        if !self.figure(name, &at)? {
                            return Err(unknown(&at, name, &[DEPLOYMENT_KEYS, FIGURE_KEYS]).into());
                        }
                    }
                }
                "signature" => {
                    let signature = match at.node {
                        Node::Text(_) => read_signature(&(self.file)(&at.parsed()?))?,
                        _ => at.structured()?,
                    };
                    once(&mut self.card.content.signature, at, signature)?;
                }
                "environment" => {
                    for (name, at) in at.map()? {
                        let name = name.parse().map_err(|error: Invalid| at.invalid(error.to_string()))?;
                        let file = EnvironmentFile::new(name, at.text()?.to_owned())?;
                        self.card.content.environment.push(file);
                    }
                }
                "requirements" => self.requirements(at)?,
                "links" => {
                    for at in at.list()? {
                        self.card.content.links.push(at.structured()?);
                    }
                }
                _ => {
                    if !self.flat(key, at)? {
                        return Err(unknown(at, key, &[TOP_KEYS, FLAT_KEYS, METRIC_KEYS, FIGURE_KEYS]).into());
                    }
                }
            }
        }
        self.check_feature_count()
    }

    fn requirements(&mut self, at: &At<'_>) -> Result<(), Failure> {
        let names = match at.node {
            Node::Text(_) => vec![at.clone()],
            _ => at.list()?,
        };
        for name in names {
            let file = read_environment(&(self.file)(&name.parsed()?))?;
            self.card.content.environment.push(file);
        }
        Ok(())
    }

    fn check_feature_count(&mut self) -> Result<(), Failure> {
        let Some(told) = self.card.num_features else { return Ok(()) };
        match &self.card.content.features {
            Some(schema) if !schema.features().is_empty() && schema.features().len() as u64 != told => {
                let problem = format!("says {told}, but {} features are listed", schema.features().len());
                Err(Invalid::new("card key", "num_features", problem).into())
            }
            Some(_) => Ok(()),
            // Nothing to check it against: it is a statement like any other.
            None => {
                self.card.content.metadata.extra.insert("num_features".to_owned(), told.into());
                Ok(())
            }
        }
    }

    /// A key that may stand at the top or in `[metadata]`. Says whether it is known.
    fn flat(&mut self, key: &str, at: &At<'_>) -> Result<bool, Failure> {
        let content = &mut self.card.content;
        let metadata = &mut content.metadata;
        match key {
            "algorithm" => once(&mut metadata.algorithm, at, at.parsed()?)?,
            "framework" => once(&mut metadata.framework, at, at.parsed()?)?,
            "runtime" => once(&mut metadata.runtime, at, at.parsed()?)?,
            "python_version" => {
                let runtime = format!("python {}", at.text()?);
                let runtime = runtime.parse().map_err(|error: Invalid| at.invalid(error.problem))?;
                once(&mut metadata.runtime, at, runtime)?;
            }
            "hyperparameters" => {
                for (name, at) in at.map()? {
                    metadata.hyperparameters.insert(name.to_owned(), at.json()?);
                }
            }
            "training_date" => {
                let day = at.text()?;
                // A training script may well have written the instant.
                let day = day.split(['T', ' ']).next().unwrap_or(day);
                let date = day.parse().map_err(|_| at.invalid("expected a date such as `2024-01-15`"))?;
                once(&mut metadata.training_date, at, date)?;
            }
            "training_duration" => {
                once(&mut metadata.training_seconds, at, finite(at, at.measured(units::seconds)?)?)?;
            }
            "training_seconds" => once(&mut metadata.training_seconds, at, finite(at, at.number()?)?)?,
            "training_data_version" => once(&mut metadata.training_data_version, at, at.parsed()?)?,
            "training_data_size" => once(&mut metadata.training_data_size, at, at.parsed()?)?,
            "feature_engineering_version" => {
                once(&mut metadata.feature_engineering_version, at, at.parsed()?)?;
            }
            "experiment" => once(&mut metadata.experiment, at, at.parsed()?)?,
            "increment" => once(&mut metadata.increment, at, at.parsed()?)?,
            "parent_model" => {
                let parent = parent(at.text()?, self.model).map_err(|error| at.invalid(error.to_string()))?;
                once(&mut metadata.parent_model, at, parent)?;
            }
            "owner" => once(&mut metadata.owner, at, at.parsed()?)?,
            // What somebody says of such things is kept as said; what happened is in the log.
            "approver" | "created_at" | "updated_at" => {
                metadata.extra.insert(key.to_owned(), at.json()?);
            }
            "extra" => {
                for (name, at) in at.map()? {
                    metadata.extra.insert(name.to_owned(), at.json()?);
                }
            }
            "features" => {
                let schema = match at.node {
                    Node::Text(_) => read_features(&(self.file)(&at.parsed()?))?,
                    _ => at.structured()?,
                };
                once(&mut content.features, at, schema)?;
            }
            "num_features" => once(&mut self.card.num_features, at, at.whole()?)?,
            "tags" => self.tags(at)?,
            _ if METRIC_KEYS.contains(&key) => self.metric(key, at)?,
            _ if FIGURE_KEYS.contains(&key) => return self.figure(key, at),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tags(&mut self, at: &At<'_>) -> Result<(), Failure> {
        let tags = &mut self.card.content.tags;
        if let Node::Map(_) = at.node {
            for (key, at) in at.map()? {
                let key = key.parse().map_err(|error: Invalid| at.invalid(error.to_string()))?;
                tags.insert(key, at.text()?.to_owned());
            }
            return Ok(());
        }
        for at in at.list()? {
            let tag: crate::input::TagArg = at.parsed()?;
            tags.insert(tag.key, tag.value.unwrap_or_default());
        }
        Ok(())
    }

    fn metric(&mut self, name: &str, at: &At<'_>) -> Result<(), Failure> {
        let key: Key = name.parse().map_err(|error: Invalid| at.invalid(error.to_string()))?;
        let metric = match at.node {
            Node::Map(_) => full_metric(at)?,
            _ => Metric::new(at.number()?).map_err(|error| at.invalid(error.problem))?,
        };
        match self.card.content.metrics.insert(key, metric) {
            None => Ok(()),
            Some(_) => Err(at.invalid("says again what another key has said").into()),
        }
    }

    /// A deployment figure. Says whether the key is known.
    fn figure(&mut self, key: &str, at: &At<'_>) -> Result<bool, Failure> {
        let deployment = &mut self.card.content.deployment;
        match key {
            "inference_latency_p50" | "latency_p50" => {
                once(&mut deployment.latency_p50_ms, at, finite(at, at.measured(units::milliseconds)?)?)?;
            }
            "inference_latency_p95" | "latency_p95" => {
                once(&mut deployment.latency_p95_ms, at, finite(at, at.measured(units::milliseconds)?)?)?;
            }
            "latency_p50_ms" => once(&mut deployment.latency_p50_ms, at, finite(at, at.number()?)?)?,
            "latency_p95_ms" => once(&mut deployment.latency_p95_ms, at, finite(at, at.number()?)?)?,
            "model_size" | "size" => once(&mut deployment.size_bytes, at, at.measured(units::bytes)?)?,
            "size_bytes" => once(&mut deployment.size_bytes, at, at.whole()?)?,
            "cpu_usage" | "cpu" | "cpu_cores" => {
                let cores = match at.node {
                    Node::Text(_) => at.measured(units::cores)?,
                    _ => at.number()?,
                };
                once(&mut deployment.cpu_cores, at, finite(at, cores)?)?;
            }
            "memory_usage" | "memory" => once(&mut deployment.memory_bytes, at, at.measured(units::bytes)?)?,
            "memory_bytes" => once(&mut deployment.memory_bytes, at, at.whole()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn full_metric(at: &At<'_>) -> Result<Metric, Invalid> {
    let mut value = None;
    let mut metric = Metric::new(0.0)?;
    for (name, at) in at.map()? {
        match name {
            "value" => value = Some(finite(&at, at.number()?)?),
            "direction" => {
                metric.direction = Some(match at.text()? {
                    "higher" => Direction::Higher,
                    "lower" => Direction::Lower,
                    _ => return Err(at.invalid("expected `higher` or `lower`")),
                });
            }
            "unit" => metric.unit = Some(at.parsed()?),
            "samples" => metric.samples = Some(at.whole()?),
            "standard_error" => metric.standard_error = Some(finite(&at, at.number()?)?),
            _ => return Err(unknown(&at, name, &[METRIC_PARTS])),
        }
    }
    metric.value = value.ok_or_else(|| at.invalid("needs the key `value`"))?;
    Ok(metric)
}

/// `fraud-detection@v3.0.0`, `fraud-detection-v3.0.0` or, of the same model, `v3.0.0`.
pub(crate) fn parent(text: &str, model: &ModelName) -> Result<ModelVersion, Invalid> {
    if text.contains('@') {
        return text.parse();
    }
    if let Ok(version) = text.parse() {
        return Ok(ModelVersion { model: model.clone(), version });
    }
    for (dash, _) in text.match_indices("-v") {
        let (name, version) = text.split_at(dash);
        if let Ok(version) = version.trim_start_matches('-').parse() {
            return Ok(ModelVersion { model: name.parse()?, version });
        }
    }
    text.parse()
}

fn unknown(at: &At<'_>, key: &str, known: &[&[&str]]) -> Invalid {
    match nearest(key, known.iter().flat_map(|keys| keys.iter().copied())) {
        Some(known) => {
            at.invalid(format!("is not known; did you mean `{known}`? Other things go below `extra`"))
        }
        None => at.invalid("is not known; metrics go below `metrics`, other things below `extra`"),
    }
}

#[cfg(test)]
mod tests;
