//! Why this exists: what a version that never met the registry is, as far as MLflow knows: its parameters and
//! metrics from its run, its signature and framework from its `MLmodel` file, its tags and description from
//! itself. And what a difference between the two sides means as a change that somebody made.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::mirror::{Foreign, ForeignChange};
use registry_core::signature::{MlflowSignature, Signature};
use registry_core::{
    Actor, AliasName, Content, Finite, Key, Metadata, Metric, ModelState, Stage, Tags, Text, Timestamp,
    Version,
};
use serde::Deserialize;
use serde_json::Value;

use super::items::{Differences, Item, TAGS_MAX, can_be_held, stage_alias};
use super::numbers::{ADOPTED_FROM, MADE_AT, Numbers};
use super::shown::{ShownModel, ShownVersion, from_native, is_users};

/// The keys, among a version's further metadata, of what MLflow says of it.
pub(crate) const SOURCE: &str = "mlflow.source";
pub(crate) const RUN: &str = "mlflow.run_id";
pub(crate) const EXPERIMENT: &str = "mlflow.experiment_id";

/// What stands behind a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Evidence {
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) user: Option<String>,
    pub(crate) experiment: Option<String>,
    /// The data it was trained on.
    pub(crate) data: Option<String>,
    /// The address of the folder of its files.
    pub(crate) folder: Option<String>,
    /// What the file `MLmodel` says.
    pub(crate) model: MlModel,
}

/// As much of the file `MLmodel` as is understood.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct MlModel {
    #[serde(default)]
    signature: Option<MlflowSignature>,
    #[serde(default)]
    flavors: BTreeMap<String, BTreeMap<String, Value>>,
}

impl MlModel {
    /// From the text of the file. One that is not understood says nothing.
    pub(crate) fn read(yaml: Option<&str>) -> MlModel {
        yaml.and_then(|yaml| serde_saphyr::from_str(yaml).ok()).unwrap_or_default()
    }
}

impl Evidence {
    /// Who made it.
    pub(crate) fn by(&self) -> Option<Actor> {
        self.user.as_deref().and_then(|user| user.parse().ok())
    }
}

/// A text that is cut where it would be refused, and is none if nothing legal is left.
fn text(text: &str) -> Option<Text> {
    let legal = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    let cut: String = text.chars().filter(legal).take(Text::CHARS_MAX).collect();
    cut.parse().ok()
}

/// Numbers as numbers: MLflow keeps all parameters as text.
fn parameter(value: &str) -> Value {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            serde_json::from_str(value).unwrap_or_else(|_| Value::from(number))
        }
        _ => Value::from(value),
    }
}

/// The framework and its version, from the flavours of a model: the one that is not the wrapper that
/// all have.
fn framework(flavors: &BTreeMap<String, BTreeMap<String, Value>>) -> Option<String> {
    let (name, facts) = flavors.iter().find(|(name, _)| *name != "python_function")?;
    let version = facts.iter().find(|(key, _)| key.ends_with("_version") && *key != "pickled_model_version");
    Some(match version.and_then(|(_, version)| version.as_str()) {
        Some(version) => format!("{name}=={version}"),
        None => name.clone(),
    })
}

/// What is known of a version.
pub(crate) fn content(version: &ShownVersion, evidence: &Evidence) -> Content {
    let file = &evidence.model;
    let mut metadata = Metadata {
        framework: framework(&file.flavors).as_deref().and_then(text),
        training_data_version: evidence.data.as_deref().and_then(text),
        experiment: evidence.experiment.as_deref().and_then(text),
        owner: evidence.by(),
        ..Metadata::default()
    };
    let python = file.flavors.get("python_function").and_then(|facts| facts.get("python_version"));
    if let Some(python) = python.and_then(Value::as_str) {
        metadata.runtime = text(&format!("python {python}"));
    }
    metadata.training_date = version.created.and_then(|created| created.date().parse().ok());
    metadata.hyperparameters =
        evidence.params.iter().map(|(key, value)| (key.clone(), parameter(value))).collect();
    metadata.extra.insert(ADOPTED_FROM.to_owned(), version.number.into());
    if let Some(created) = version.created {
        metadata.extra.insert(MADE_AT.to_owned(), (created.microseconds() / 1_000).into());
    }
    metadata.extra.insert(SOURCE.to_owned(), version.source.clone().into());
    if let Some(run) = &version.run_id {
        metadata.extra.insert(RUN.to_owned(), run.clone().into());
    }
    if let Some(experiment) = &evidence.experiment {
        metadata.extra.insert(EXPERIMENT.to_owned(), experiment.clone().into());
    }
    let metrics = evidence.metrics.iter().filter_map(|(name, value)| {
        Finite::new(*value).ok()?;
        Some((name.parse::<Key>().ok()?, Metric::new(*value).ok()?))
    });
    Content {
        signature: file.signature.as_ref().and_then(|found| Signature::from_mlflow_json(found).ok()),
        metadata,
        metrics: metrics.collect(),
        tags: users_tags(&version.tags),
        description: version.description.parse().ok(),
        ..Content::default()
    }
}

/// The tags that people gave, those that the registry can hold as they are.
fn users_tags(tags: &BTreeMap<String, String>) -> Tags {
    tags.iter()
        .filter(|(key, value)| is_users(key) && can_be_held(value))
        .filter_map(|(key, value)| Some((key.parse::<Key>().ok()?, value.clone())))
        .take(TAGS_MAX)
        .collect()
}

/// What somebody changed, in the order in which it is to be adopted: first what came into being, then what
/// moved, production last, since of two versions that others left there one can stay.
pub(crate) fn changes(
    state: &ModelState,
    shown: &ShownModel,
    numbers: &Numbers,
    differences: &Differences,
    deleted: &[Version],
    evidence: &BTreeMap<u64, Evidence>,
) -> Vec<Foreign> {
    let mut changes = Vec::new();
    let mut moves: Vec<(Option<Timestamp>, Version, Stage)> = Vec::new();
    let none = Evidence::default();
    for (number, version) in &numbers.foreign {
        let Some(found) = shown.versions.get(number) else { continue };
        let evidence = evidence.get(number).unwrap_or(&none);
        let content = Box::new(content(found, evidence));
        let change = ForeignChange::Registered { version: version.clone(), content };
        changes.push(Foreign { by: evidence.by(), at: found.created, change });
        if found.stage != Stage::Development {
            moves.push((found.updated, version.clone(), found.stage));
        }
    }
    for version in deleted {
        let change = ForeignChange::Deleted { version: version.clone() };
        changes.push(Foreign { by: None, at: None, change });
    }
    let mut said = Vec::new();
    let mut tagged: BTreeMap<Option<Version>, (Tags, Vec<Key>)> = BTreeMap::new();
    let mut by_alias = Vec::new();
    for (item, value) in &differences.foreign {
        let version_of = |number: &u64| numbers.version(*number).cloned();
        match item {
            Item::Stage(number) => {
                let to = from_native(value.as_deref().unwrap_or_default());
                if let Some(version) = version_of(number) {
                    moves.push((shown.versions.get(number).and_then(|found| found.updated), version, to));
                }
            }
            Item::Alias(alias) => by_alias.push((alias, value)),
            Item::ModelDescription => said.push(ForeignChange::Described {
                version: None,
                description: value.as_deref().and_then(text),
            }),
            Item::VersionDescription(number) => said.push(ForeignChange::Described {
                version: version_of(number),
                description: value.as_deref().and_then(text),
            }),
            Item::ModelTag(key) => tag(&mut tagged, None, key, value.as_deref()),
            Item::VersionTag(number, key) => tag(&mut tagged, version_of(number), key, value.as_deref()),
        }
    }
    // The aliases of versions that are adopted just now are not among the differences.
    for (alias, number) in &shown.aliases {
        let is_new = numbers.foreign.contains_key(number);
        if is_new && !by_alias.iter().any(|(known, _)| *known == alias) {
            // Taken up below like any other.
            said.extend(alias_change(state, numbers, alias, Some(&number.to_string()), &mut moves));
        }
    }
    for (alias, value) in by_alias {
        said.extend(alias_change(state, numbers, alias, value.as_deref(), &mut moves));
    }
    // Those that leave go first; of those that enter production, the one that moved last stays, and an
    // alias, which has no date, outweighs a native stage.
    moves.sort_by_key(|(at, _, to)| (*to == Stage::Production, at.is_none(), *at));
    let mut done = BTreeSet::new();
    for (at, version, to) in moves {
        if done.insert((version.clone(), to == Stage::Production)) {
            changes.push(Foreign { by: None, at, change: ForeignChange::Staged { version, to } });
        }
    }
    for (version, (set, removed)) in tagged {
        said.push(ForeignChange::Tagged { version, set, removed });
    }
    changes.extend(said.into_iter().map(|change| Foreign { by: None, at: None, change }));
    changes
}

/// What a moved alias means: those of stages are moves of versions.
fn alias_change(
    state: &ModelState,
    numbers: &Numbers,
    alias: &str,
    value: Option<&str>,
    moves: &mut Vec<(Option<Timestamp>, Version, Stage)>,
) -> Option<ForeignChange> {
    let target = value.and_then(|value| value.parse().ok()).and_then(|number| numbers.version(number));
    match (stage_alias(alias), target) {
        (Some(stage), Some(version)) => {
            moves.push((None, version.clone(), stage));
            None
        }
        (Some(stage), None) => {
            let left = match stage {
                Stage::Production => state.production.clone(),
                _ => super::items::last_in_staging(state).cloned(),
            };
            let to = if stage == Stage::Production { Stage::Archived } else { Stage::Development };
            moves.extend(left.map(|version| (None, version, to)));
            None
        }
        (None, target) => {
            let alias: AliasName = alias.parse().ok()?;
            Some(match target {
                Some(version) => ForeignChange::AliasSet { alias, version: version.clone() },
                None => ForeignChange::AliasRemoved { alias },
            })
        }
    }
}

fn tag(
    tagged: &mut BTreeMap<Option<Version>, (Tags, Vec<Key>)>,
    version: Option<Version>,
    key: &str,
    value: Option<&str>,
) {
    let Ok(key) = key.parse::<Key>() else { return };
    let (set, removed) = tagged.entry(version).or_default();
    match value {
        Some(value) => {
            set.insert(key, value.to_owned());
        }
        None => removed.push(key),
    }
}
