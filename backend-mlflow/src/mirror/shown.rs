//! Why this exists: what MLflow shows of a model, in the words of this crate: parsed once from its answers, so
//! that everything that compares works on plain data and needs no server to be tested.

use std::collections::BTreeMap;

use registry_core::{Stage, Timestamp, Version};

/// The tag of a version that says which version of the registry it is.
pub(super) const VERSION: &str = "model-registry.version";
/// The tag of a version that says which version it is and under which number, so that a changed tag and a copied one
/// can be told from what we wrote.
pub(super) const IDENTITY: &str = "model-registry.id";

/// See [`IDENTITY`].
pub(super) fn identity(version: &Version, number: u64) -> String {
    format!("{version}/{number}")
}

/// The tag of a version that says which of several attempts made it. Nobody else makes another of the same, and a copy
/// has the same.
pub(super) const MADE: &str = "model-registry.made";
/// What begins the keys that are ours.
pub(super) const OURS: &str = "model-registry.";
/// What begins the keys that are MLflow's own.
pub(super) const MLFLOWS: &str = "mlflow.";

/// A registered model as MLflow shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShownModel {
    /// When it was made, in milliseconds.
    pub(crate) created: i64,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// Aliases and the numbers that they point to.
    pub(crate) aliases: BTreeMap<String, u64>,
    pub(crate) versions: BTreeMap<u64, ShownVersion>,
}

/// A version as MLflow shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownVersion {
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) source: String,
    pub(crate) run_id: Option<String>,
    pub(crate) created: Option<Timestamp>,
    /// Moved by changes of the stage and of the description; not by tags, and not by aliases.
    pub(crate) updated: Option<Timestamp>,
}

impl ShownVersion {
    /// The version of the registry that it says it is.
    pub(crate) fn version(&self) -> Option<Version> {
        self.tags.get(VERSION).and_then(|text| text.parse().ok())
    }
}

/// MLflow's name of a stage.
pub(crate) fn native(stage: Stage) -> &'static str {
    match stage {
        Stage::Staging => "Staging",
        Stage::Production => "Production",
        Stage::Archived => "Archived",
        // `None` is where every version of MLflow's begins.
        _ => "None",
    }
}

/// The stage that MLflow calls so.
pub(crate) fn from_native(name: &str) -> Stage {
    match name.to_ascii_lowercase().as_str() {
        "staging" => Stage::Staging,
        "production" => Stage::Production,
        "archived" => Stage::Archived,
        _ => Stage::Development,
    }
}

/// Whether a tag belongs to people, and not to MLflow or to us.
pub(super) fn is_users(key: &str) -> bool {
    !key.starts_with(OURS) && !key.starts_with(MLFLOWS)
}
