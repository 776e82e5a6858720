//! Why this exists: a lineage is made of things of several kinds, and people must be able to name one:
//! `data:v2024-01`, `feature:amount`, `feature-set:card:7`, `model:fraud-detection@v3.1.0`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::digest::Digest;
use crate::invalid::Invalid;
use crate::name::{ModelName, ModelVersion};

use super::link::{Derivation, InputKind};

/// What a thing in a lineage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// Data in a certain version.
    Data,
    /// Code that computes features.
    FeatureEngineering,
    /// One feature.
    Feature,
    /// A set of features in a certain version.
    FeatureSet,
    /// Any other code.
    Code,
    /// An experiment or a run of one.
    Experiment,
    /// A version of a model.
    Model,
    /// An evaluation of a version.
    Evaluation,
    /// A stage that a version is in.
    Deployment,
}

impl NodeKind {
    /// All kinds, in the order in which a model comes to be.
    pub const ALL: [NodeKind; 9] = [
        NodeKind::Data,
        NodeKind::FeatureEngineering,
        NodeKind::Feature,
        NodeKind::FeatureSet,
        NodeKind::Code,
        NodeKind::Experiment,
        NodeKind::Model,
        NodeKind::Evaluation,
        NodeKind::Deployment,
    ];

    /// As it is written before a name.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeKind::Data => "data",
            NodeKind::FeatureEngineering => "feature-engineering",
            NodeKind::Feature => "feature",
            NodeKind::FeatureSet => "feature-set",
            NodeKind::Code => "code",
            NodeKind::Experiment => "experiment",
            NodeKind::Model => "model",
            NodeKind::Evaluation => "evaluation",
            NodeKind::Deployment => "deployment",
        }
    }

    /// The key of the terms by which models are found that have to do with things of this kind.
    pub(super) fn term_key(self) -> Option<&'static str> {
        match self {
            NodeKind::Data => Some(InputKind::Data.term_key()),
            NodeKind::FeatureEngineering => Some(InputKind::FeatureEngineering.term_key()),
            NodeKind::FeatureSet => Some(InputKind::FeatureSet.term_key()),
            NodeKind::Code => Some(InputKind::Code.term_key()),
            NodeKind::Experiment => Some(InputKind::Experiment.term_key()),
            NodeKind::Feature => Some("feature"),
            NodeKind::Model | NodeKind::Evaluation | NodeKind::Deployment => None,
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for NodeKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = NodeKind::ALL.into_iter().find(|kind| kind.as_str() == text.replace('_', "-"));
        found.ok_or_else(|| {
            let known: Vec<&str> = NodeKind::ALL.iter().map(|kind| kind.as_str()).collect();
            Invalid::new("kind of thing", text, format!("expected one of {}", known.join(", ")))
        })
    }
}

impl Serialize for NodeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How two things in a lineage hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Relation {
    /// The second was made with the first.
    Input,
    /// The second came out of the experiment that is the first.
    Run,
    /// The second was made out of the version that is the first.
    Derivation(Derivation),
    /// The second is an evaluation of the first.
    Evaluation,
    /// The first is deployed in the stage that is the second.
    Deployment,
}

impl Relation {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Input => "input",
            Relation::Run => "run",
            Relation::Derivation(how) => how.as_str(),
            Relation::Evaluation => "evaluation",
            Relation::Deployment => "deployment",
        }
    }
}

impl Serialize for Relation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A thing in a lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    kind: NodeKind,
    id: Arc<str>,
    version: Option<Arc<str>>,
    details: Option<Box<Details>>,
}

/// What few nodes have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Details {
    digest: Option<Digest>,
    attributes: BTreeMap<String, Value>,
}

impl Node {
    pub(super) fn new(kind: NodeKind, id: impl Into<Arc<str>>) -> Node {
        Node { kind, id: id.into(), version: None, details: None }
    }

    pub(super) fn of_version(id: Arc<str>, version: &crate::version::Version) -> Node {
        Node { version: Some(version.to_string().into()), ..Node::new(NodeKind::Model, id) }
    }

    pub(super) fn with_version(mut self, version: Option<&str>) -> Node {
        self.version = version.map(Arc::from);
        self
    }

    pub(super) fn with_details(
        mut self,
        digest: Option<Digest>,
        attributes: &BTreeMap<String, Value>,
    ) -> Node {
        self.set_details(digest, attributes);
        self
    }

    pub(super) fn set_details(&mut self, digest: Option<Digest>, attributes: &BTreeMap<String, Value>) {
        if digest.is_some() || !attributes.is_empty() {
            self.details = Some(Box::new(Details { digest, attributes: attributes.clone() }));
        }
    }

    /// What it is.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Its name. For a version of a model: the model's.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version, if it is known apart from its name.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The digest of its content, if that is known.
    pub fn digest(&self) -> Option<Digest> {
        self.details.as_ref()?.digest
    }

    /// What else is known of it.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Value)> {
        let attributes = self.details.iter().flat_map(|details| &details.attributes);
        attributes.map(|(name, value)| (name.as_str(), value))
    }

    /// The version of a model that it is.
    pub fn model_version(&self) -> Option<ModelVersion> {
        match (self.kind, &self.version) {
            (NodeKind::Model, Some(version)) => {
                Some(ModelVersion { model: self.id.parse().ok()?, version: version.parse().ok()? })
            }
            _ => None,
        }
    }

    pub(super) fn shared_id(&self) -> &Arc<str> {
        &self.id
    }
}

/// What lies between the name of a thing and its version.
fn mark(kind: NodeKind) -> char {
    if kind == NodeKind::Model { '@' } else { ':' }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}:{}", self.kind, crate::markdown::one_line(&self.id));
        if let Some(version) = &self.version {
            text.push(mark(self.kind));
            text.push_str(&crate::markdown::one_line(version));
        }
        f.pad(&text)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &self.kind)?;
        map.serialize_entry("id", &*self.id)?;
        if let Some(version) = self.version() {
            map.serialize_entry("version", version)?;
        }
        if let Some(details) = &self.details {
            if let Some(digest) = &details.digest {
                map.serialize_entry("digest", digest)?;
            }
            if !details.attributes.is_empty() {
                map.serialize_entry("attributes", &details.attributes)?;
            }
        }
        map.end()
    }
}

/// The name of one or more things in a lineage, such as `feature-set:card:7`, or `feature-set:card` for all its
/// versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    kind: NodeKind,
    text: String,
}

impl NodeName {
    /// All versions of what has this name.
    pub fn new(kind: NodeKind, id: impl Into<String>) -> Result<NodeName, Invalid> {
        let text = id.into();
        if text.is_empty() {
            return Err(Invalid::new("name of a thing", format!("{kind}:"), "the name is empty"));
        }
        Ok(NodeName { kind, text })
    }

    /// What it is.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// What follows the kind: the name and, if one version is meant, the version.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ways to read it as a name, with or without a version.
    pub(super) fn readings(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        /// Names hold few marks; who puts in thousands gets the first ones.
        const READINGS_MAX: usize = 16;
        let mark = mark(self.kind);
        let split = self.text.match_indices(mark).filter_map(move |(at, mark)| {
            let (id, version) = (self.text.get(..at)?, self.text.get(at + mark.len()..)?);
            (!id.is_empty() && !version.is_empty()).then_some((id, Some(version)))
        });
        std::iter::once((self.text.as_str(), None)).chain(split.take(READINGS_MAX))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.kind, crate::markdown::one_line(&self.text)))
    }
}

impl FromStr for NodeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (kind, name) = text.split_once(':').ok_or_else(|| {
            let problem = "expected `<kind>:<name>`, for example `feature:amount` or `data:v2024-01`";
            Invalid::new("name of a thing", text, problem)
        })?;
        let kind: NodeKind = kind.parse()?;
        if kind != NodeKind::Model {
            return NodeName::new(kind, name);
        }
        // However the number is written, it is one version. The name of a model may hold an `@` as well.
        match name.parse::<ModelVersion>() {
            Ok(version) => Ok(NodeName::from(&version)),
            Err(_) => NodeName::new(kind, name.parse::<ModelName>()?.to_string()),
        }
    }
}

impl From<&ModelVersion> for NodeName {
    fn from(version: &ModelVersion) -> NodeName {
        NodeName { kind: NodeKind::Model, text: version.to_string() }
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.kind, self.text))
    }
}
