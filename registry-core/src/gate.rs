//! Why this exists: "accuracy at least 0.85 and no worse than what serves now" is a rule that teams keep in scripts,
//! where it is forgotten, softened, or run against another version than the one that is promoted. Here it is part of
//! the policy, evaluated in the same decision as the promotion, on what is on record of this version and of the one in
//! production. What was found, with its numbers, is kept in the event of the move, so that an audit sees on what
//! evidence a version went into production.
//!
//! A gate is data; what it finds is data, too. How one is evaluated is in [`decide`](mod@crate::decide).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::compare::Significance;
use crate::content::{Content, Finite};
use crate::invalid::Invalid;
use crate::name::{ArtifactPath, Key};
use crate::trial::TrialStage;
use crate::version::Version;

/// The most gates of a stage.
pub const GATES_MAX: usize = 50;

/// The most names in one gate.
const NAMES_MAX: usize = 200;

/// The name of the file that a signature is looked for in, if a gate names none: that of [OpenSSF model
/// signing](https://github.com/ossf/model-signing-spec).
pub const SIGNATURE_FILE: &str = "model.sig";

/// A number that is finite and not below 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct NotNegative(f64);

impl NotNegative {
    /// Refuses what is below 0, infinite or no number.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        if value.is_finite() && 0.0 <= value {
            Ok(NotNegative(value))
        } else {
            Err(Invalid::new("number", value, "must be finite and not below 0"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    fn is_zero(&self) -> bool {
        self.0 == 0.0
    }
}

impl Eq for NotNegative {}

impl TryFrom<f64> for NotNegative {
    type Error = Invalid;

    fn try_from(value: f64) -> Result<Self, Invalid> {
        NotNegative::new(value)
    }
}

impl From<NotNegative> for f64 {
    fn from(number: NotNegative) -> f64 {
        number.0
    }
}

impl fmt::Display for NotNegative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By how much a metric must be better. 0 means: not worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Improvement {
    /// By this share of what it is in production: 0.02 is 2 %. If it is 0 there, any improvement will do.
    Relative(NotNegative),
    /// By this difference.
    Absolute(NotNegative),
}

/// Something that can be on record of a version. Names that are none of these are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// The algorithm.
    Algorithm,
    /// The framework and its version.
    Framework,
    /// The runtime and its version.
    Runtime,
    /// Hyperparameters, at least one.
    Hyperparameters,
    /// The day the model was trained.
    TrainingDate,
    /// How long training took.
    TrainingSeconds,
    /// The version of the training data.
    TrainingDataVersion,
    /// The size of the training data.
    TrainingDataSize,
    /// The version of the feature engineering code.
    FeatureEngineeringVersion,
    /// The experiment or run that produced the model.
    Experiment,
    /// The increment or work item.
    Increment,
    /// The version this one was derived from.
    ParentModel,
    /// Who answers for the model.
    Owner,
    /// What the version is, for people.
    Description,
    /// The signature: inputs and outputs.
    Signature,
    /// The feature schema.
    Features,
    /// An environment file, at least one.
    Environment,
}

impl Field {
    /// Its name, as it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Algorithm => "algorithm",
            Field::Framework => "framework",
            Field::Runtime => "runtime",
            Field::Hyperparameters => "hyperparameters",
            Field::TrainingDate => "training_date",
            Field::TrainingSeconds => "training_seconds",
            Field::TrainingDataVersion => "training_data_version",
            Field::TrainingDataSize => "training_data_size",
            Field::FeatureEngineeringVersion => "feature_engineering_version",
            Field::Experiment => "experiment",
            Field::Increment => "increment",
            Field::ParentModel => "parent_model",
            Field::Owner => "owner",
            Field::Description => "description",
            Field::Signature => "signature",
            Field::Features => "features",
            Field::Environment => "environment",
        }
    }

    /// Whether it is on record.
    pub fn is_in(self, content: &Content) -> bool {
        let metadata = &content.metadata;
        match self {
            Field::Algorithm => metadata.algorithm.is_some(),
            Field::Framework => metadata.framework.is_some(),
            Field::Runtime => metadata.runtime.is_some(),
            Field::Hyperparameters => !metadata.hyperparameters.is_empty(),
            Field::TrainingDate => metadata.training_date.is_some(),
            Field::TrainingSeconds => metadata.training_seconds.is_some(),
            Field::TrainingDataVersion => metadata.training_data_version.is_some(),
            Field::TrainingDataSize => metadata.training_data_size.is_some(),
            Field::FeatureEngineeringVersion => metadata.feature_engineering_version.is_some(),
            Field::Experiment => metadata.experiment.is_some(),
            Field::Increment => metadata.increment.is_some(),
            Field::ParentModel => metadata.parent_model.is_some(),
            Field::Owner => metadata.owner.is_some(),
            Field::Description => content.description.is_some(),
            Field::Signature => content.signature.is_some(),
            Field::Features => content.features.is_some(),
            Field::Environment => !content.environment.is_empty(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a version must show before it may enter a stage. See `docs/policies.md` for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Gate {
    /// A metric of the version lies within bounds. If it is not on record the gate is closed.
    Metric {
        /// The metric.
        name: Key,
        /// The least it may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<Finite>,
        /// The most it may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Finite>,
    },
    /// No metric is worse than that of the version in production: not significantly where a test can be made, and
    /// not beyond the tolerance where none can.
    NoRegression {
        /// The metrics; empty means all of the version in production whose better direction is known.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        metrics: BTreeSet<Key>,
        /// How likely a difference may be by chance for it to be believed.
        #[serde(default, skip_serializing_if = "Significance::is_default")]
        significance: Significance,
        /// How much worse a metric may be where no test can be made, as a share of what it is in production.
        #[serde(default, skip_serializing_if = "NotNegative::is_zero")]
        tolerance: NotNegative,
    },
    /// A metric is better than that of the version in production.
    Improvement {
        /// The metric.
        metric: Key,
        /// By how much.
        by: Improvement,
    },
    /// Callers of the version in production can call this one.
    Compatible {},
    /// Answers come fast enough, by the deployment figures on record.
    Latency {
        /// The most that the median may be, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p50_ms_at_most: Option<NotNegative>,
        /// The most that the 95th percentile may be, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p95_ms_at_most: Option<NotNegative>,
    },
    /// It is small enough: its files together, or the size among its deployment figures if that is larger.
    Size {
        /// The most it may have.
        bytes_at_most: u64,
    },
    /// These are on record.
    Metadata {
        /// What must be there.
        required: BTreeSet<Field>,
    },
    /// These are among its files or environment files, for example `model_card.md`.
    Files {
        /// Their paths.
        required: BTreeSet<ArtifactPath>,
    },
    /// A detached signature is among its files. Its **presence** is demanded and nothing more: the registry has no
    /// keys, and whether the signature is genuine must be verified by whoever has the key.
    Signed {
        /// The file; [`SIGNATURE_FILE`] if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<ArtifactPath>,
    },
    /// A trial of this very version against the one in production now was concluded, and was favourable.
    Trial {
        /// Where it must have run; anywhere if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<TrialStage>,
        /// How long ago it may have been concluded, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_seconds: Option<u64>,
    },
}

impl Gate {
    /// The name of the file that a signature is looked for in.
    pub(crate) fn signature_file(file: &Option<ArtifactPath>) -> &str {
        file.as_ref().map_or(SIGNATURE_FILE, ArtifactPath::as_str)
    }

    /// Refuses what demands nothing, or what nobody could ever fulfil.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let wrong = |problem: &str| Err(Invalid::new("gate", self, problem));
        let names = |count: usize| match count {
            0 => wrong("names nothing"),
            count if NAMES_MAX < count => wrong("names more than 200"),
            _ => Ok(()),
        };
        match self {
            Gate::Metric { at_least: None, at_most: None, .. } => {
                wrong("has no bound; give `at_least`, `at_most` or both")
            }
            Gate::Metric { at_least: Some(least), at_most: Some(most), .. } if most < least => {
                wrong("can never be passed: the least is above the most")
            }
            Gate::Latency { p50_ms_at_most: None, p95_ms_at_most: None } => {
                wrong("has no bound; give `p50_ms_at_most`, `p95_ms_at_most` or both")
            }
            Gate::NoRegression { metrics, .. } if !metrics.is_empty() => names(metrics.len()),
            Gate::Metadata { required } => names(required.len()),
            Gate::Files { required } => names(required.len()),
            Gate::Trial { max_age_seconds: Some(0), .. } => wrong("every trial is older than nothing"),
            _ => Ok(()),
        }
    }
}

fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A share as people write it: `2%`.
pub(crate) fn percent(share: f64) -> String {
    // Twelve digits, so that 0.07 is not written as 7.000000000000001.
    let hundredths = format!("{:.10}", share * 100.0);
    format!("{}%", hundredths.trim_end_matches('0').trim_end_matches('.'))
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Gate::Metric { name, at_least, at_most } => {
                let bounds = [("at least", at_least), ("at most", at_most)];
                let bounds =
                    bounds.iter().filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}")));
                format!("{name} {}", bounds.collect::<Vec<_>>().join(" and "))
            }
            Gate::NoRegression { metrics, significance, tolerance } => {
                let of = if metrics.is_empty() { String::new() } else { format!(" of {}", listed(metrics)) };
                let mut limits = vec![format!("significance {significance}")];
                if !tolerance.is_zero() {
                    limits.push(format!("tolerance {}", percent(tolerance.get())));
                }
                format!("no regression{of} ({})", limits.join(", "))
            }
            Gate::Improvement { metric, by: Improvement::Relative(by) } => {
                format!("{metric} better by {}", percent(by.get()))
            }
            Gate::Improvement { metric, by: Improvement::Absolute(by) } => format!("{metric} better by {by}"),
            Gate::Compatible {} => "compatible".to_owned(),
            Gate::Latency { p50_ms_at_most, p95_ms_at_most } => {
                let bounds = [("p50", p50_ms_at_most), ("p95", p95_ms_at_most)];
                let bounds = bounds
                    .iter()
                    .filter_map(|(name, bound)| bound.map(|bound| format!("{name} at most {bound} ms")));
                format!("latency {}", bounds.collect::<Vec<_>>().join(" and "))
            }
            Gate::Size { bytes_at_most } => format!("size at most {bytes_at_most} bytes"),
            Gate::Metadata { required } => format!("metadata {}", listed(required)),
            Gate::Files { required } => format!("files {}", listed(required)),
            Gate::Signed { file } => format!("signature file {}", Gate::signature_file(file)),
            Gate::Trial { stage, max_age_seconds } => {
                let place = stage.map(|stage| format!(" in {stage}")).unwrap_or_default();
                let age = max_age_seconds.map(|age| format!(", at most {age} s ago")).unwrap_or_default();
                format!("favourable trial{place}{age}")
            }
        };
        f.write_str(&text)
    }
}

/// One thing that a gate looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What: a metric, a figure, a field, a file.
    pub subject: String,
    /// Whether it is as it must be.
    pub passed: bool,
    /// The number that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Finite>,
    /// The same number of the version it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Finite>,
    /// How likely such a difference is by chance, where a test was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<Finite>,
    /// What was found, in words; and what to do, if it is not as it must be.
    pub detail: String,
}

/// What a gate found: the evidence for a promotion, or against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate.
    pub gate: Gate,
    /// Whether the version passes it.
    pub passed: bool,
    /// The version it was compared with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Version>,
    /// What it looked at.
    pub checks: Vec<Check>,
}

impl fmt::Display for GateResult {
    /// The gate, and what decided it: `accuracy at least 0.85: accuracy is 0.83`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 5;
        self.gate.fmt(f)?;
        if let Some(against) = &self.against {
            write!(f, ", against {against}")?;
        }
        let decisive: Vec<&Check> = self.checks.iter().filter(|check| check.passed == self.passed).collect();
        for (index, check) in decisive.iter().take(SHOWN_MAX).enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{} {}", check.subject, check.detail)?;
        }
        match decisive.len().checked_sub(SHOWN_MAX) {
            Some(more @ 1..) => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Gate, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn gates_read_as_they_are_written_and_say_what_they_demand() {
        for (json, words) in [
            (r#"{"gate":"metric","name":"accuracy","at_least":0.85}"#, "accuracy at least 0.85"),
            (
                r#"{"gate":"metric","name":"bias","at_least":-0.1,"at_most":0.1}"#,
                "bias at least -0.1 and at most 0.1",
            ),
            (r#"{"gate":"no_regression"}"#, "no regression (significance 0.05)"),
            (
                r#"{"gate":"no_regression","metrics":["auc","recall"],"significance":0.01,"tolerance":0.07}"#,
                "no regression of auc, recall (significance 0.01, tolerance 7%)",
            ),
            (r#"{"gate":"improvement","metric":"auc","by":{"relative":0.02}}"#, "auc better by 2%"),
            (r#"{"gate":"improvement","metric":"auc","by":{"absolute":0.001}}"#, "auc better by 0.001"),
            (r#"{"gate":"compatible"}"#, "compatible"),
            (
                r#"{"gate":"latency","p50_ms_at_most":10.0,"p95_ms_at_most":50.5}"#,
                "latency p50 at most 10 ms and p95 at most 50.5 ms",
            ),
            (r#"{"gate":"size","bytes_at_most":20000000}"#, "size at most 20000000 bytes"),
            (r#"{"gate":"metadata","required":["framework","owner"]}"#, "metadata framework, owner"),
            (r#"{"gate":"files","required":["model_card.md"]}"#, "files model_card.md"),
            (r#"{"gate":"signed"}"#, "signature file model.sig"),
            (
                r#"{"gate":"trial","stage":"staging","max_age_seconds":604800}"#,
                "favourable trial in staging, at most 604800 s ago",
            ),
        ] {
            let gate = read(json).unwrap();
            gate.check().unwrap();
            assert_eq!(gate.to_string(), words);
            assert_eq!(serde_json::to_string(&gate).unwrap(), json);
        }
    }

    #[test]
    fn what_no_gate_says_is_refused() {
        for json in [
            r#"{"gate":"metric","name":"accuracy","at_leest":0.85}"#,
            r#"{"gate":"compatible","with":"v1"}"#,
            r#"{"gate":"metadata","required":["ownr"]}"#,
            r#"{"gate":"no_regression","significance":0}"#,
            r#"{"gate":"no_regression","tolerance":-0.1}"#,
            r#"{"gate":"improvement","metric":"auc","by":{"percent":2}}"#,
            r#"{"gate":"files","required":["../model_card.md"]}"#,
            r#"{"gate":"trial","stage":"archived"}"#,
            r#"{"gate":"vibes"}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn gates_that_demand_nothing_or_the_impossible_are_refused() {
        for json in [
            r#"{"gate":"metric","name":"accuracy"}"#,
            r#"{"gate":"metric","name":"accuracy","at_least":1,"at_most":0}"#,
            r#"{"gate":"latency"}"#,
            r#"{"gate":"metadata","required":[]}"#,
            r#"{"gate":"files","required":[]}"#,
            r#"{"gate":"trial","max_age_seconds":0}"#,
        ] {
            let refused = read(json).unwrap().check().unwrap_err();
            assert_eq!(refused.what, "gate", "{refused}");
        }
        let names = (0..=NAMES_MAX).map(|number| format!("m{number}").parse().unwrap()).collect();
        let many = Gate::NoRegression {
            metrics: names,
            significance: Significance::default(),
            tolerance: NotNegative::default(),
        };
        assert!(many.check().is_err());
    }

    #[test]
    fn every_field_has_the_name_that_it_is_written_with() {
        for field in [Field::Algorithm, Field::TrainingDataVersion, Field::Environment, Field::Owner] {
            assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
            assert!(!field.is_in(&Content::default()));
        }
    }
}
