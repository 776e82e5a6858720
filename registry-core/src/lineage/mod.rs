//! Why this exists: "what was this made of, what depends on it, and where does it run?" The answer is what the versions
//! themselves have on record: data, feature code, feature set, experiment, parents, further inputs, evaluations, stage.
//!
//! ```text
//! data ─> feature engineering ─> feature set ─> experiment ─> version of a model ─> deployment
//!                                    ▲                          ▲            │
//!                                 feature         further inputs, parents    └─> evaluation, versions made out of it
//! ```
//!
//! There is no second store for it that could disagree: a lineage is gathered from the records when it is asked for,
//! across models through the terms that backends find them by, and can be asked for as of any instant, since the records
//! are a log. Who has thousands of questions loads the [`Graph`] once.
//!
//! What a version was made out of may be unknown here, and it must not be itself: a registration that would close a circle
//! is refused. Records of another system, and two registrations of the same instant in two models, can still hold one; all
//! questions end all the same.

mod gather;
mod graph;
mod link;
mod node;
pub mod openlineage;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use graph::{Affected, Graph, Influence};
pub use link::{Derivation, InputKind, Link, parents};
pub use node::{Node, NodeKind, NodeName, Relation};

pub(crate) use gather::{impact, lineage, whole};

use crate::name::ModelVersion;
use crate::state::VersionState;
use crate::time::Timestamp;

/// How many versions are looked at for one answer.
pub const VERSIONS_MAX: usize = 10_000;

/// How many links a version may have.
pub const LINKS_MAX: usize = 1_000;

/// Where a version comes from, and what came of it: see [`RegistryExt::lineage`](crate::RegistryExt::lineage).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Lineage {
    /// The version.
    pub of: ModelVersion,
    /// The instant as of which this is so; none for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// What is on record of it, of all that it was made out of, and of all that was made out of it.
    pub graph: Graph,
    /// The versions in it that are on record.
    #[serde(skip)]
    pub records: BTreeMap<ModelVersion, Arc<VersionState>>,
    /// Whether there are more than [`VERSIONS_MAX`] of these versions, so that some are missing.
    pub is_cut: bool,
}

impl Lineage {
    /// What the version goes back to, of one kind: its data, or the experiments that led to it. The nearest first.
    pub fn sources(&self, kind: NodeKind) -> impl Iterator<Item = &Node> {
        let sources = self.graph.upstream(&NodeName::from(&self.of));
        sources.into_iter().filter(move |node| node.kind() == kind)
    }

    /// Adds what is on record in another lineage, so that both can be looked at as one.
    pub fn join(&mut self, other: &Lineage) {
        for (name, record) in &other.records {
            self.graph.add(&name.model, record);
            self.records.entry(name.clone()).or_insert_with(|| Arc::clone(record));
        }
        self.is_cut |= other.is_cut;
    }
}

/// Which versions a thing has an influence on: see [`RegistryExt::impact`](crate::RegistryExt::impact).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Impact {
    /// The thing.
    pub of: NodeName,
    /// The instant as of which this is so; none for now.
    pub as_of: Option<Timestamp>,
    /// What is on record of these versions.
    pub graph: Graph,
    /// Whether there are more than [`VERSIONS_MAX`] of them, so that some are missing.
    pub is_cut: bool,
}

impl Impact {
    /// The versions, and for each of them where it is deployed and how the influence comes about.
    pub fn influence(&self) -> Influence<'_> {
        self.graph.impact(&self.of)
    }
}
