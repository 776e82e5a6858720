//! Why this exists: a version is what was registered: files, interface, numbers and descriptions.
//! This module defines that content and its identity, the **version digest**.
//!
//! The version digest is the SHA-256 of the compact JSON
//!
//! ```text
//! {"artifacts":[{"path":"model.bin","digest":"sha256:…","size":12},…],
//!  "signature":…|null,"features":…|null,"environment":[{"name":"requirements.txt","text":"…"},…]}
//! ```
//!
//! with artifacts sorted by path and environment files by name: everything that decides how the
//! model behaves when it is served. Metadata, metrics, tags and descriptions are statements about a
//! version; they take no part in its identity, and may be amended later by events of their own.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::compat::Interface;
use crate::digest::Digest;
use crate::features::FeatureSchema;
use crate::invalid::Invalid;
use crate::lineage::Link;
use crate::name::{Actor, ArtifactPath, Key, ModelVersion, RunName, Text};
use crate::signature::Signature;

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where the file lies inside the version.
    pub path: ArtifactPath,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The files of a version: sorted by path, no path twice, no file that is also a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Manifest(Vec<Artifact>);

impl Manifest {
    /// The most files that a version may have.
    pub const FILES_MAX: usize = 10_000;

    /// Sorts the files and refuses paths that cannot stand side by side in a folder.
    pub fn new(mut artifacts: Vec<Artifact>) -> Result<Self, Invalid> {
        let refused = |path: &ArtifactPath, problem: &str| Err(Invalid::new("artifact path", path, problem));
        if artifacts.len() > Manifest::FILES_MAX {
            return Err(Invalid::new(
                "artifacts",
                format!("{} files", artifacts.len()),
                format!("a version has at most {} files; pack them into an archive", Manifest::FILES_MAX),
            ));
        }
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: std::collections::BTreeSet<&str> = artifacts.iter().map(|a| a.path.as_str()).collect();
        for pair in artifacts.windows(2) {
            if let [a, b] = pair
                && a.path == b.path
            {
                return refused(&a.path, "is given twice");
            }
        }
        for artifact in &artifacts {
            let mut folder = artifact.path.parent();
            while let Some(name) = folder {
                if paths.contains(name) {
                    return refused(&artifact.path, "lies below a path that is a file");
                }
                folder = name.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
        Ok(Manifest(artifacts))
    }

    /// The files, sorted by path.
    pub fn iter(&self) -> std::slice::Iter<'_, Artifact> {
        self.0.iter()
    }

    /// The file at `path`.
    pub fn get(&self, path: &ArtifactPath) -> Option<&Artifact> {
        self.0.binary_search_by(|artifact| artifact.path.cmp(path)).ok().and_then(|index| self.0.get(index))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length of all files together, in bytes.
    pub fn size(&self) -> u64 {
        self.0.iter().fold(0, |sum, artifact| sum.saturating_add(artifact.size))
    }
}

impl<'a> IntoIterator for &'a Manifest {
    type Item = &'a Artifact;
    type IntoIter = std::slice::Iter<'a, Artifact>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Manifest::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A number that is neither infinite nor NaN, which JSON cannot write and nobody can compare.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Finite(f64);

impl Finite {
    /// Accepts any finite number.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        if value.is_finite() {
            Ok(Finite(value))
        } else {
            Err(Invalid::new("number", value, "must be finite"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Finite {}

impl TryFrom<f64> for Finite {
    type Error = Invalid;

    fn try_from(value: f64) -> Result<Self, Invalid> {
        Finite::new(value)
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Finite::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a larger value of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Accuracy, precision, recall, AUC, …
    Higher,
    /// Latency, loss, error, size, …
    Lower,
}

/// A measured number. On input a bare number is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// The value.
    pub value: Finite,
    /// Which way is better, where the name does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The unit, for example `ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Key>,
    /// How many samples the value was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// The standard error of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<Finite>,
}

impl Metric {
    /// A value alone.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        Ok(Metric {
            value: Finite::new(value)?,
            direction: None,
            unit: None,
            samples: None,
            standard_error: None,
        })
    }

    /// The same, with the number of samples it was computed from.
    #[must_use]
    pub fn with_samples(mut self, samples: u64) -> Self {
        self.samples = Some(samples);
        self
    }

    /// The same, with the direction that is better.
    #[must_use]
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            value: Finite,
            direction: Option<Direction>,
            unit: Option<Key>,
            samples: Option<u64>,
            standard_error: Option<Finite>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(Finite),
            Full(Full),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(value) => {
                Metric { value, direction: None, unit: None, samples: None, standard_error: None }
            }
            Either::Full(Full { value, direction, unit, samples, standard_error }) => {
                Metric { value, direction, unit, samples, standard_error }
            }
        })
    }
}

/// What was measured where the model is served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deployment {
    /// Median latency of one inference, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<Finite>,
    /// 95th percentile of the latency of one inference, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p95_ms: Option<Finite>,
    /// Size of the model in memory or on disk, in bytes, as its authors report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// CPU used, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<Finite>,
    /// Memory used, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl Deployment {
    fn is_empty(&self) -> bool {
        *self == Deployment::default()
    }
}

/// How a version came to be, in the words of those who made it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// For example `XGBoost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Text>,
    /// Framework and its version, for example `xgboost==1.7.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<Text>,
    /// Runtime and its version, for example `python 3.10` or `rust 1.95`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Text>,
    /// Hyperparameters by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hyperparameters: BTreeMap<String, serde_json::Value>,
    /// The day the model was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_date: Option<jiff::civil::Date>,
    /// How long training took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_seconds: Option<Finite>,
    /// The version of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_data_version: Option<Text>,
    /// The size of the training data, for example `100k rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_data_size: Option<Text>,
    /// The version of the feature engineering code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_engineering_version: Option<Text>,
    /// The experiment or run that produced the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Text>,
    /// The run of the experiment, if the registry has it on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunName>,
    /// The increment or work item that asked for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<Text>,
    /// The version this one was derived from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_model: Option<ModelVersion>,
    /// Who answers for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Actor>,
    /// Anything else, kept as it is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Metadata {
    fn is_empty(&self) -> bool {
        *self == Metadata::default()
    }
}

/// A text file that describes the environment a model runs in, for example `requirements.txt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentFile {
    name: ArtifactPath,
    text: String,
}

impl EnvironmentFile {
    /// The longest text accepted, in bytes.
    pub const BYTES_MAX: usize = 256 * 1024;

    /// Refuses texts that are too long for a commit.
    pub fn new(name: ArtifactPath, text: String) -> Result<Self, Invalid> {
        if text.len() > EnvironmentFile::BYTES_MAX {
            return Err(Invalid::new(
                "environment file",
                &name,
                format!("longer than {} bytes; register it as an artifact", EnvironmentFile::BYTES_MAX),
            ));
        }
        Ok(EnvironmentFile { name, text })
    }

    /// The file's name.
    pub fn name(&self) -> &ArtifactPath {
        &self.name
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for EnvironmentFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            name: ArtifactPath,
            text: String,
        }
        let raw = Raw::deserialize(deserializer)?;
        EnvironmentFile::new(raw.name, raw.text).map_err(serde::de::Error::custom)
    }
}

/// Labels and key-value pairs. A label is a key with an empty value.
pub type Tags = BTreeMap<Key, String>;

/// The longest value of a tag, in characters; what every backend can store whole.
pub const TAG_VALUE_CHARS_MAX: usize = 5_000;

/// All that is registered with a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content {
    /// The files.
    #[serde(default, skip_serializing_if = "Manifest::is_empty")]
    pub artifacts: Manifest,
    /// Inputs, outputs and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The features the model is computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<FeatureSchema>,
    /// The environment it runs in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentFile>,
    /// How it came to be.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// How good it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Key, Metric>,
    /// How it behaves when served.
    #[serde(default, skip_serializing_if = "Deployment::is_empty")]
    pub deployment: Deployment,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// What it was made with and out of beyond what the metadata say, and its evaluations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

impl Content {
    /// The identity of what is served: files, signature, features and environment.
    pub fn digest(&self) -> Digest {
        #[derive(Serialize)]
        struct Identity<'a> {
            artifacts: &'a Manifest,
            signature: &'a Option<Signature>,
            features: &'a Option<FeatureSchema>,
            environment: Vec<&'a EnvironmentFile>,
        }
        let mut environment: Vec<_> = self.environment.iter().collect();
        environment.sort_by(|a, b| a.name.cmp(&b.name));
        let identity = Identity {
            artifacts: &self.artifacts,
            signature: &self.signature,
            features: &self.features,
            environment,
        };
        // These types hold text keys and finite numbers only, which JSON can always write.
        Digest::of(&serde_json::to_vec(&identity).unwrap_or_default())
    }

    /// What the rules of compatibility look at.
    pub fn interface(&self) -> Interface<'_> {
        let metadata = &self.metadata;
        Interface {
            signature: self.signature.as_ref(),
            features: self.features.as_ref(),
            feature_set: metadata.feature_engineering_version.as_ref().map(Text::as_str),
            framework: metadata.framework.as_ref().map(Text::as_str),
            algorithm: metadata.algorithm.as_ref().map(Text::as_str),
            training_data: metadata.training_data_version.as_ref().map(Text::as_str),
        }
    }

    /// Applies an amendment: what is set replaces what was there, maps are merged key by key.
    pub(crate) fn amend(&mut self, amended: &crate::event::Amended) {
        /// Replaces each named field by the other value's, where that one is set.
        macro_rules! replace_set {
            ($old:expr, $new:expr, $($field:ident),+) => {
                $(if $new.$field.is_some() {
                    $old.$field.clone_from(&$new.$field);
                })+
            };
        }
        let (old, new) = (&mut self.metadata, &amended.metadata);
        replace_set!(
            old,
            new,
            algorithm,
            framework,
            runtime,
            training_date,
            training_seconds,
            training_data_version,
            training_data_size,
            feature_engineering_version,
            experiment,
            run,
            increment,
            parent_model,
            owner
        );
        old.hyperparameters
            .extend(new.hyperparameters.iter().map(|(name, value)| (name.clone(), value.clone())));
        old.extra.extend(new.extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.metrics.extend(amended.metrics.iter().map(|(name, metric)| (name.clone(), metric.clone())));
        let (old, new) = (&mut self.deployment, &amended.deployment);
        replace_set!(old, new, latency_p50_ms, latency_p95_ms, size_bytes, cpu_cores, memory_bytes);
        for link in &amended.links {
            if !self.links.contains(link) {
                self.links.push(link.clone());
            }
        }
    }

    /// The names of the parts in which `self` and `other` differ.
    pub fn differences(&self, other: &Content) -> Vec<&'static str> {
        let parts = [
            ("artifacts", self.artifacts != other.artifacts),
            ("signature", self.signature != other.signature),
            ("features", self.features != other.features),
            ("environment", self.environment != other.environment),
            ("metadata", self.metadata != other.metadata),
            ("metrics", self.metrics != other.metrics),
            ("deployment", self.deployment != other.deployment),
            ("tags", self.tags != other.tags),
            ("description", self.description != other.description),
            ("links", self.links != other.links),
        ];
        parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

impl Eq for Signature {}
impl Eq for FeatureSchema {}

/// Refuses a tag value that some backend could not store whole.
pub(crate) fn check_tag_value(key: &Key, value: &str) -> Result<(), Invalid> {
    if value.chars().count() > TAG_VALUE_CHARS_MAX {
        return Err(Invalid::new("tag value", key, format!("longer than {TAG_VALUE_CHARS_MAX} characters")));
    }
    if value.contains('\0') {
        return Err(Invalid::new("tag value", key, "contains a NUL character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(path: &str) -> Artifact {
        Artifact { path: path.parse().unwrap(), digest: Digest::of(path.as_bytes()), size: 1 }
    }

    #[test]
    fn manifests_refuse_paths_that_cannot_coexist() {
        assert!(Manifest::new(vec![artifact("a"), artifact("a")]).is_err());
        assert!(Manifest::new(vec![artifact("a"), artifact("a-b"), artifact("a/b")]).is_err());
        let manifest = Manifest::new(vec![artifact("b"), artifact("a/b"), artifact("a/c")]).unwrap();
        let paths: Vec<_> = manifest.iter().map(|a| a.path.as_str()).collect();
        assert_eq!(paths, ["a/b", "a/c", "b"]);
        assert!(manifest.get(&"a/c".parse().unwrap()).is_some());
    }

    #[test]
    fn identity_ignores_order_and_statements_but_not_bytes() {
        let mut one = Content {
            artifacts: Manifest::new(vec![artifact("a"), artifact("b")]).unwrap(),
            ..Content::default()
        };
        let two = Content {
            artifacts: Manifest::new(vec![artifact("b"), artifact("a")]).unwrap(),
            ..Content::default()
        };
        assert_eq!(one.digest(), two.digest());
        one.metrics.insert("accuracy".parse().unwrap(), Metric::new(0.9).unwrap());
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.differences(&two), ["metrics"]);
        one.environment.push(EnvironmentFile::new("requirements.txt".parse().unwrap(), "a".into()).unwrap());
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn numbers_must_be_finite_and_metrics_may_be_bare() {
        assert!(Metric::new(f64::NAN).is_err());
        assert!(Metric::new(f64::INFINITY).is_err());
        let bare: Metric = serde_json::from_str("0.87").unwrap();
        assert_eq!(bare, Metric::new(0.87).unwrap());
        assert!(serde_json::from_str::<Metric>(r#"{"value":1,"samplez":3}"#).is_err());
    }
}
