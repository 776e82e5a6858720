//! Why this exists: the metadata of a version name its training data, its experiment and its parent, one of each.
//! That is enough for most, and not for a model that was distilled from three others or evaluated ten times. A
//! [`Link`] states one more such fact. Links are only ever added: what something was made of does not change
//! afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::content::Content;
use crate::digest::Digest;
use crate::name::{ModelVersion, Text};

use super::node::{Node, NodeKind};

/// One fact of where a version comes from, or of what was found out about it.
///
/// ```
/// use registry_core::lineage::Link;
/// let link: Link = serde_json::from_str(r#"{"link": "derived_from", "model": "base@v1.0.0", "how": "quantised"}"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Link {
    /// It was made with this.
    Input {
        /// What it is.
        kind: InputKind,
        /// Its name.
        id: Text,
        /// Its version, in whatever form its owner writes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Text>,
        /// The SHA-256 of its bytes, where that means something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// What else is known of it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<String, Value>,
    },
    /// It was made out of another version.
    DerivedFrom {
        /// The other version.
        model: ModelVersion,
        /// In which way.
        #[serde(default)]
        how: Derivation,
    },
    /// It was evaluated, in a run of its own.
    Evaluation {
        /// The name of the evaluation.
        id: Text,
        /// What it found, and on which data.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<String, Value>,
    },
}

/// What a version can be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputKind {
    /// Data: for training, validation, calibration, …
    Data,
    /// A set of features.
    FeatureSet,
    /// Code that computes features.
    FeatureEngineering,
    /// Any other code: a commit, a container, a notebook.
    Code,
    /// An experiment or a run of one.
    Experiment,
}

impl InputKind {
    /// The key of the terms by which models are found that have a version made with it.
    pub(crate) fn term_key(self) -> &'static str {
        match self {
            InputKind::Data => "data",
            InputKind::FeatureSet => "feature_set",
            InputKind::FeatureEngineering => "feature_engineering",
            InputKind::Code => "code",
            InputKind::Experiment => "experiment",
        }
    }

    /// For people, as in `data:v2024-01`.
    pub fn as_str(self) -> &'static str {
        self.node().as_str()
    }

    pub(super) fn node(self) -> NodeKind {
        match self {
            InputKind::Data => NodeKind::Data,
            InputKind::FeatureSet => NodeKind::FeatureSet,
            InputKind::FeatureEngineering => NodeKind::FeatureEngineering,
            InputKind::Code => NodeKind::Code,
            InputKind::Experiment => NodeKind::Experiment,
        }
    }
}

/// In which way a version was made out of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Derivation {
    /// Nobody said.
    #[default]
    Derived,
    /// Its training went on from the other's weights.
    FineTuned,
    /// It learned from what the other answers.
    Distilled,
    /// It has the other's weights in a smaller type.
    Quantised,
    /// Its weights are those of several others together.
    Merged,
}

impl Derivation {
    /// For people, as in `quantised from base@v1.0.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Derivation::Derived => "derived",
            Derivation::FineTuned => "fine-tuned",
            Derivation::Distilled => "distilled",
            Derivation::Quantised => "quantised",
            Derivation::Merged => "merged",
        }
    }
}

/// What the metadata and the feature schema say that a version was made with, in the order in which one was made of
/// the other: data, feature code, feature set, experiment.
pub(super) fn steps(content: &Content) -> impl Iterator<Item = Node> {
    let metadata = &content.metadata;
    let text = |kind, text: &Option<Text>| text.as_ref().map(|text| Node::new(kind, text.as_str()));
    let set = content.features.as_ref().and_then(|features| {
        Some(Node::new(NodeKind::FeatureSet, features.set()?).with_version(features.version()))
    });
    let steps = [
        text(NodeKind::Data, &metadata.training_data_version),
        text(NodeKind::FeatureEngineering, &metadata.feature_engineering_version),
        set,
        text(NodeKind::Experiment, &metadata.experiment),
    ];
    steps.into_iter().flatten()
}

/// What a version was made with by its links.
pub(super) fn inputs(content: &Content) -> impl Iterator<Item = Node> {
    content.links.iter().filter_map(|link| match link {
        Link::Input { kind, id, version, digest, attributes } => {
            let version = version.as_ref().map(|version| version.as_str());
            let node = Node::new(kind.node(), id.as_str()).with_version(version);
            Some(node.with_details(*digest, attributes))
        }
        _ => None,
    })
}

/// The versions that this content says it was made out of, each once, and how.
pub fn parents(content: &Content) -> BTreeMap<&ModelVersion, Derivation> {
    let mut parents: BTreeMap<&ModelVersion, Derivation> = BTreeMap::new();
    for link in &content.links {
        if let Link::DerivedFrom { model, how } = link {
            // Of two statements about one parent, the one that says more.
            parents.entry(model).and_modify(|known| *known = (*known).max(*how)).or_insert(*how);
        }
    }
    if let Some(parent) = &content.metadata.parent_model {
        parents.entry(parent).or_default();
    }
    parents
}
