//! Why this exists: everything that others may change in MLflow, and that a projection writes there, is an
//! **item** with a value: an alias and its number, a version and its native stage, a tag. What the log wants
//! shown and what MLflow shows are then two tables, and the question "who changed this?" is the same for each:
//!
//! | MLflow shows | then |
//! |---|---|
//! | what the log wants | all is well |
//! | what the log wanted some time since the last projection was finished | a projection broke off, or is under way: to be written |
//! | anything else | somebody changed it: drift |

use std::collections::{BTreeMap, BTreeSet};

use registry_core::content::TAG_VALUE_CHARS_MAX;
use registry_core::{Key, ModelState, Stage, Tags, Text, Version, VersionState};

use super::numbers::Numbers;
use super::shown::{IDENTITY, MADE, OURS, ShownModel, VERSION, identity, is_users, native};

/// Something that MLflow shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    ModelDescription,
    ModelTag(String),
    Stage(u64),
    Alias(String),
    VersionDescription(u64),
    VersionTag(u64, String),
}

impl Item {
    /// Whether it is ours alone, so that whatever others made of it is put right.
    fn is_ours(&self) -> bool {
        match self {
            Item::ModelTag(key) | Item::VersionTag(_, key) => key.starts_with(OURS),
            _ => false,
        }
    }
}

/// Items and their values. One that is not there has none.
pub(crate) type Items = BTreeMap<Item, String>;

/// The alias under which MLflow's clients load a stage.
pub(crate) fn stage_alias(name: &str) -> Option<Stage> {
    [Stage::Staging, Stage::Production].into_iter().find(|stage| stage.as_str() == name)
}

/// The version that entered staging last. Staging may hold many, and its alias points to one.
pub(crate) fn last_in_staging(state: &ModelState) -> Option<&Version> {
    let found = state.staging().filter_map(|version| state.version(version));
    found.max_by_key(|version| version.staged.revision).map(|version| &version.version)
}

/// The version that a stage's alias points to.
fn at_stage(state: &ModelState, stage: Stage) -> Option<&Version> {
    match stage {
        Stage::Production => state.production.as_ref(),
        _ => last_in_staging(state),
    }
}

/// What the log wants shown, of the versions that have a number.
pub(crate) fn wanted(state: &ModelState, numbers: &Numbers) -> Items {
    let mut items = Items::new();
    if let Some(description) = &state.description {
        items.insert(Item::ModelDescription, description.as_str().to_owned());
    }
    for (key, value) in &state.tags {
        if is_users(key.as_str()) {
            items.insert(Item::ModelTag(key.as_str().to_owned()), value.clone());
        }
    }
    let number = |version: &Version| numbers.known.get(version).map(u64::to_string);
    for stage in [Stage::Staging, Stage::Production] {
        if let Some(number) = at_stage(state, stage).and_then(number) {
            items.insert(Item::Alias(stage.as_str().to_owned()), number);
        }
    }
    for (alias, version) in &state.aliases {
        if let Some(number) = number(version) {
            items.insert(Item::Alias(alias.as_str().to_owned()), number);
        }
    }
    for (version, number) in &numbers.known {
        if let Some(found) = state.version(version) {
            wanted_of(state, found, *number, &mut items);
        }
    }
    items
}

fn wanted_of(state: &ModelState, version: &VersionState, number: u64, items: &mut Items) {
    let stage = if version.deleted.is_some() { Stage::Archived } else { version.stage };
    items.insert(Item::Stage(number), native(stage).to_owned());
    // What others write on a version that is deleted here is left alone.
    if version.deleted.is_none() {
        if let Some(description) = &version.content.description {
            items.insert(Item::VersionDescription(number), description.as_str().to_owned());
        }
        for (key, value) in &version.content.tags {
            if is_users(key.as_str()) {
                items.insert(Item::VersionTag(number, key.as_str().to_owned()), value.clone());
            }
        }
    }
    for (key, value) in our_tags(state, version) {
        items.insert(Item::VersionTag(number, key), value);
    }
    items.insert(Item::VersionTag(number, IDENTITY.to_owned()), identity(&version.version, number));
}

/// The tags by which people and programs that look at MLflow see where a version stands here.
pub(crate) fn our_tags(state: &ModelState, version: &VersionState) -> Vec<(String, String)> {
    let tag = |name: &str, value: String| (format!("{OURS}{name}"), value);
    let mut tags = vec![
        (VERSION.to_owned(), version.version.to_string()),
        tag("digest", version.digest.to_string()),
        tag("stage", version.stage.as_str().to_owned()),
    ];
    let waiting = state.requests.values().find(|request| request.promotion.version == version.version);
    if let Some(request) = waiting {
        let (given, needed) = (request.approvals().count(), request.promotion.rule.quorum);
        tags.push(tag("approval", format!("pending for {}: {given} of {needed}", request.promotion.to)));
    }
    if version.deprecated.is_some() {
        tags.push(tag("deprecated", "true".to_owned()));
    }
    if version.quarantined.is_some() {
        tags.push(tag("quarantined", "true".to_owned()));
    }
    if version.deleted.is_some() {
        tags.push(tag("deleted", "true".to_owned()));
    }
    tags
}

/// The tags of users that the registry can hold as they are: those that it has, and of others as many as there is room
/// for.
fn held<'a>(shown: &'a BTreeMap<String, String>, known: &Tags) -> Vec<(&'a String, &'a String)> {
    let users = shown.iter().filter(|(key, value)| is_users(key) && can_be_held(value));
    let legal = users.filter_map(|(key, value)| Some((key.parse::<Key>().ok()?, key, value)));
    let (mut held, others): (Vec<_>, Vec<_>) = legal.partition(|(key, _, _)| known.contains_key(key));
    let room = TAGS_MAX.saturating_sub(held.len());
    held.extend(others.into_iter().take(room));
    held.into_iter().map(|(_, key, value)| (key, value)).collect()
}

/// How many tags of others are taken.
pub(crate) const TAGS_MAX: usize = 1_000;

/// Whether the registry can hold the value of a tag as it is.
pub(crate) fn can_be_held(value: &str) -> bool {
    value.chars().count() <= TAG_VALUE_CHARS_MAX && !value.contains('\0')
}

/// What MLflow shows of the versions that both know, as far as the registry can hold it.
pub(crate) fn present(state: &ModelState, shown: &ShownModel, numbers: &Numbers) -> Items {
    let mut items = Items::new();
    let text = |text: &str| text.parse::<Text>().is_ok();
    if text(&shown.description) {
        items.insert(Item::ModelDescription, shown.description.clone());
    }
    for (key, value) in held(&shown.tags, &state.tags) {
        items.insert(Item::ModelTag(key.clone()), value.clone());
    }
    for (key, value) in shown.tags.iter().filter(|(key, _)| key.starts_with(OURS)) {
        items.insert(Item::ModelTag(key.clone()), value.clone());
    }
    // Some servers leave aliases behind that point to versions that were deleted.
    for (alias, number) in shown.aliases.iter().filter(|(_, number)| shown.versions.contains_key(number)) {
        if stage_alias(alias).is_some() || alias.parse::<registry_core::AliasName>().is_ok() {
            items.insert(Item::Alias(alias.clone()), number.to_string());
        }
    }
    for (known, number) in &numbers.known {
        let Some(version) = shown.versions.get(number) else { continue };
        let Some(found) = state.version(known) else { continue };
        let is_deleted = found.deleted.is_some();
        items.insert(Item::Stage(*number), native(version.stage).to_owned());
        if text(&version.description) && !is_deleted {
            items.insert(Item::VersionDescription(*number), version.description.clone());
        }
        let ours = version.tags.iter().filter(|(key, _)| key.starts_with(OURS) && *key != MADE);
        let theirs = if is_deleted { Vec::new() } else { held(&version.tags, &found.content.tags) };
        for (key, value) in ours.chain(theirs) {
            items.insert(Item::VersionTag(*number, key.clone()), value.clone());
        }
    }
    items
}

/// What is not as the log wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// To be written: what a projection left undone. The value wanted; none to remove it.
    pub(crate) unfinished: BTreeMap<Item, Option<String>>,
    /// What somebody else did. The value that MLflow shows; none if it was removed.
    pub(crate) foreign: BTreeMap<Item, Option<String>>,
}

/// Compares. `before` are the tables that the log wanted since the last projection that was finished, that one
/// included.
pub(crate) fn compare(wanted: &Items, present: &Items, before: &[Items]) -> Differences {
    let mut differences = Differences::default();
    let keys: BTreeSet<&Item> = wanted.keys().chain(present.keys()).collect();
    for item in keys {
        let (want, have) = (wanted.get(item), present.get(item));
        if want == have {
            continue;
        }
        if item.is_ours() || before.iter().any(|items| items.get(item) == have) {
            differences.unfinished.insert(item.clone(), want.cloned());
        } else {
            differences.foreign.insert(item.clone(), have.cloned());
        }
    }
    differences
}
