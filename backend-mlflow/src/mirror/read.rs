//! Why this exists: looking at what MLflow shows. A **look** takes in all of a model and tells what others
//! changed; a **glance** answers for one selector with one small request, as long as both sides agree on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use futures_util::future::try_join;
use registry_core::mirror::{Drift, Foreign, ForeignChange};
use registry_core::storage::StorageError;
use registry_core::{
    Clock as _, Event, ModelName, ModelState, Revision, Selector, Stage, Stream, SystemClock, Timestamp,
    Version,
};

use super::evidence::Origin;
use super::foreign::{changes, content};
use super::items::{Differences, Item, Items, compare, present, stage_alias, wanted};
use super::numbers::{Numbers, adopted_from};
use super::shown::{ShownModel, ShownVersion, VERSION, from_native};
use super::{MlflowMirror, failed};
use crate::rest::{ModelVersion, Pair, RegisteredModel};

/// The note of the revision up to which a projection was finished.
pub(super) const SHOWN: &str = "model-registry.shown";
/// What begins the notes of those who are writing: the revision from which on, and the time.
pub(super) const SHOWING: &str = "model-registry.showing.";
/// The tag of prompts, which MLflow keeps among its models.
const PROMPT: &str = "mlflow.prompt.is_prompt";

/// For how long what was seen may be taken for what is shown, in microseconds: as long as a request takes
/// that was begun by looking.
const SEEN_MAX_US: i64 = 2_000_000;

/// What was read at one time.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    at: Timestamp,
    /// The end of the log that it was to be compared with.
    revision: Option<Revision>,
    notes: BTreeMap<String, String>,
    /// None if MLflow has no such model.
    shown: Option<ShownModel>,
}

/// What a comparison of a state with what MLflow shows has found.
pub(super) struct Seen {
    /// Whether MLflow has the model.
    pub(super) is_there: bool,
    pub(super) shown: ShownModel,
    pub(super) numbers: Numbers,
    pub(super) differences: Differences,
    /// Versions of the log that MLflow does not show yet.
    pub(super) missing: Vec<Version>,
    /// Versions of the log that somebody deleted in MLflow.
    pub(super) deleted: Vec<Version>,
    /// What the log wanted since the last projection that was finished.
    pub(super) before: Vec<Arc<ModelState>>,
    pub(super) notes: BTreeMap<String, String>,
    /// From which revision on what is shown may stem.
    pub(super) base: u64,
}

impl Seen {
    pub(super) fn has_foreign(&self) -> bool {
        !self.numbers.foreign.is_empty() || !self.differences.foreign.is_empty() || !self.deleted.is_empty()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.differences.unfinished.is_empty() && self.missing.is_empty() && self.numbers.doubles.is_empty()
    }

    /// What the log says and MLflow does not show yet, in words.
    fn unfinished(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|version| format!("version {version}"));
        let items = self.differences.unfinished.iter().map(|(item, value)| {
            let value = value.as_deref().unwrap_or("none");
            match item {
                Item::ModelDescription => "the description of the model".to_owned(),
                Item::ModelTag(key) => format!("the tag `{key}` of the model: {value}"),
                Item::Stage(number) => format!("the stage of version {number}: {value}"),
                Item::Alias(alias) => format!("the alias `{alias}`: {value}"),
                Item::VersionDescription(number) => format!("the description of version {number}"),
                Item::VersionTag(number, key) => format!("the tag `{key}` of version {number}: {value}"),
            }
        });
        missing.chain(items).collect()
    }
}

fn timestamp(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_microseconds(milliseconds.checked_mul(1_000)?).ok()
}

fn table(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// A version in our words.
pub(super) fn shown_version(version: ModelVersion) -> ShownVersion {
    ShownVersion {
        number: version.version,
        stage: from_native(&version.current_stage),
        description: version.description,
        tags: table(version.tags),
        source: version.source,
        run_id: version.run_id,
        created: timestamp(version.creation_timestamp),
        updated: timestamp(version.last_updated_timestamp),
    }
}

fn is_prompt(model: &RegisteredModel) -> bool {
    model.tags.iter().any(|tag| tag.key == PROMPT && tag.value == "true")
}

/// Up to which revision a projection was finished.
pub(super) fn shown_to(notes: &BTreeMap<String, String>) -> Option<u64> {
    notes.get(SHOWN).and_then(|text| text.parse().ok())
}

/// From which revision on what MLflow shows may stem: what the last finished projection wrote, and what those
/// write who are at it.
fn base(notes: &BTreeMap<String, String>) -> u64 {
    let finished = shown_to(notes).unwrap_or(0);
    notes
        .iter()
        .filter(|(key, _)| key.starts_with(SHOWING))
        .filter_map(|(_, value)| value.split(' ').next()?.parse().ok())
        .fold(finished, u64::min)
}

impl MlflowMirror {
    /// All that MLflow shows of a model; none if it has no such model.
    async fn snapshot(&self, model: &ModelName) -> Result<Option<ShownModel>, StorageError> {
        let name = self.name(model);
        let both = try_join(self.server.registered_model(&name), self.server.model_versions(&name)).await;
        let (found, versions) = both.map_err(failed("reading what MLflow shows of a model"))?;
        let Some(found) = found.filter(|found| !is_prompt(found)) else { return Ok(None) };
        let versions = versions.into_iter().map(shown_version);
        Ok(Some(ShownModel {
            description: found.description,
            tags: table(found.tags),
            aliases: found.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect(),
            versions: versions.map(|version| (version.number, version)).collect(),
        }))
    }

    /// What there is to see now.
    pub(super) async fn see(&self, model: &ModelName, state: &ModelState) -> Result<Snapshot, StorageError> {
        let at = SystemClock.now();
        let stream = Stream::from(model);
        let notes = async {
            match state.revision() {
                Some(_) => self.log.notes(&stream).await,
                None => Ok(None),
            }
        };
        let (notes, shown) = try_join(notes, self.snapshot(model)).await?;
        Ok(Snapshot { at, revision: state.revision(), notes: notes.unwrap_or_default(), shown })
    }

    /// What a look just saw, if it was just now, and nobody else has committed since: what others then write is
    /// not in it. It serves once.
    pub(super) fn just_seen(&self, model: &ModelName, state: &ModelState) -> Option<Snapshot> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = seen.pop(model)?;
        let age = SystemClock.now().microseconds().saturating_sub(snapshot.at.microseconds());
        let next = Some(Revision::after(snapshot.revision));
        // Without notes there was no log yet, and what others have noted since must be known.
        let serves =
            (0..SEEN_MAX_US).contains(&age) && !snapshot.notes.is_empty() && state.revision() <= next;
        serves.then_some(snapshot)
    }

    /// Compares a state with what MLflow shows.
    pub(super) async fn compare(
        &self,
        model: &ModelName,
        state: &Arc<ModelState>,
        snapshot: Snapshot,
    ) -> Result<Seen, StorageError> {
        let stream = Stream::from(model);
        let Snapshot { notes, shown, .. } = snapshot;
        let is_there = shown.is_some();
        let shown = shown.unwrap_or_default();
        let mut numbers = Numbers::new(state, &shown, &BTreeMap::new());
        let is_said =
            |found: &ShownVersion| found.version().is_some_and(|version| state.version(&version).is_some());
        // Where every version says which one it is, and no two the same, nothing more is to be known.
        if state.exists() && (!numbers.doubles.is_empty() || !shown.versions.values().all(is_said)) {
            let claims = self.log.claims(&stream).await?;
            let claimed = state.versions().filter_map(|found| {
                Some((found.version.clone(), super::write::claimed(&claims, &found.version)?))
            });
            numbers = Numbers::new(state, &shown, &claimed.collect());
        }
        let revision = state.revision().map_or(0, |revision| revision.get());
        let base = base(&notes).min(revision);
        let (wanted_now, present_now) = (wanted(state, &numbers), present(&shown, &numbers));
        let unshown: Vec<&Version> = state
            .versions()
            .filter(|version| version.deleted.is_none() && !numbers.known.contains_key(&version.version))
            .map(|version| &version.version)
            .collect();
        // What was wanted earlier matters only if something is not as it is wanted now.
        let before = if wanted_now == present_now && unshown.is_empty() {
            Vec::new()
        } else {
            self.states(model, base, state).await?
        };
        let tables: Vec<Items> = before.iter().map(|state| wanted(state, &numbers)).collect();
        let mut differences = compare(&wanted_now, &present_now, &tables);
        self.settle_adopted(model, state, &numbers, &shown, base, &mut differences).await?;
        // What was shown once, or came from there, was deleted there. What was brought back here since is to be
        // shown anew.
        let was_shown = |version: &Version| match before.first().and_then(|first| first.version(version)) {
            Some(first) => 0 < base && first.deleted.is_none(),
            None => state.version(version).is_some_and(|found| adopted_from(found).is_some()),
        };
        let (deleted, missing) = unshown.into_iter().cloned().partition(was_shown);
        Ok(Seen { is_there, shown, numbers, differences, missing, deleted, before, notes, base })
    }

    /// Takes what was adopted since the last finished projection from what looks foreign. A version may be in one
    /// stage by its alias and in another by itself when it is adopted; the log takes one of them, and the other is
    /// not a change that came later.
    async fn settle_adopted(
        &self,
        model: &ModelName,
        state: &ModelState,
        numbers: &Numbers,
        shown: &ShownModel,
        base: u64,
        differences: &mut Differences,
    ) -> Result<(), StorageError> {
        let in_stage = |number: Option<&u64>, stage: Stage| {
            let version = number.and_then(|number| numbers.version(*number));
            version.and_then(|version| state.version(version)).is_some_and(|found| found.stage == stage)
        };
        let mut moves: Option<BTreeMap<Version, BTreeSet<Stage>>> = None;
        for (item, value) in std::mem::take(&mut differences.foreign) {
            let is_settled = match &item {
                Item::Alias(alias) => {
                    stage_alias(alias).is_some_and(|stage| in_stage(shown.aliases.get(alias), stage))
                }
                Item::Stage(number) => match numbers.version(*number) {
                    None => false,
                    Some(version) => {
                        if moves.is_none() {
                            moves = Some(self.adopted_moves(model, state, base).await?);
                        }
                        let through = moves.as_ref().and_then(|moves| moves.get(version));
                        let stage = from_native(value.as_deref().unwrap_or_default());
                        through.is_some_and(|through| through.contains(&stage))
                    }
                },
                _ => false,
            };
            if is_settled {
                let wanted = wanted(state, numbers).remove(&item);
                differences.unfinished.insert(item, wanted);
            } else {
                differences.foreign.insert(item, value);
            }
        }
        Ok(())
    }

    /// The stages that adoptions since a revision took versions through.
    async fn adopted_moves(
        &self,
        model: &ModelName,
        state: &ModelState,
        base: u64,
    ) -> Result<BTreeMap<Version, BTreeSet<Stage>>, StorageError> {
        let mut moves: BTreeMap<Version, BTreeSet<Stage>> = BTreeMap::new();
        let last = state.revision().map_or(0, |revision| revision.get());
        let mut after = Revision::new(base).ok();
        while after.map_or(0, |revision| revision.get()) < last {
            let commits = self.commits(&Stream::from(model), after).await?;
            let Some((newest, _)) = commits.last() else { break };
            after = Some(newest.revision);
            for event in commits.iter().flat_map(|(commit, _)| &commit.events) {
                let Event::Adopted(adopted) = event else { continue };
                match &adopted.change {
                    Event::VersionRegistered(registered) => {
                        moves.entry(registered.version.clone()).or_default().insert(Stage::Development);
                    }
                    Event::StageChanged(change) => {
                        moves.entry(change.version.clone()).or_default().extend([change.from, change.to]);
                    }
                    _ => {}
                }
            }
        }
        Ok(moves)
    }

    /// What others changed.
    pub(super) async fn look(&self, model: &ModelName, state: &ModelState) -> Result<Drift, StorageError> {
        let state = Arc::new(state.clone());
        self.remember(model, &state);
        // What was seen before is not what is shown now, whatever comes of this.
        drop(self.just_seen(model, &state));
        let snapshot = self.see(model, &state).await?;
        let seen = self.compare(model, &state, snapshot.clone()).await?;
        let unfinished = seen.unfinished();
        let runs = self.changed_runs(model, &state, &seen.shown, &seen.numbers).await?;
        if !seen.has_foreign() && runs.is_empty() {
            let mut kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(model.clone(), snapshot);
            return Ok(Drift { changes: Vec::new(), unfinished });
        }
        // If the log went on meanwhile, what looks foreign may be what it says by now.
        if !self.newer(&Stream::from(model), &state).await?.is_empty() {
            return Ok(Drift::default());
        }
        let foreign = seen
            .numbers
            .foreign
            .keys()
            .filter_map(|number| seen.shown.versions.get(number).map(Origin::from));
        let evidence = self.evidence_of(model, foreign.collect()).await?;
        let Seen { shown, numbers, differences, deleted, .. } = &seen;
        let mut changes = changes(&state, shown, numbers, differences, deleted, &evidence);
        changes.extend(runs);
        Ok(Drift { changes, unfinished })
    }

    /// What bears on one selector, if that can be told from one small answer.
    pub(super) async fn glance(
        &self,
        model: &ModelName,
        state: &ModelState,
        selector: &Selector,
    ) -> Result<Option<Drift>, StorageError> {
        let alias = match selector {
            Selector::Stage(Stage::Production) => Stage::Production.as_str(),
            Selector::Alias(alias) => alias.as_str(),
            _ => return Ok(None),
        };
        let answer = self.server.registered_model(&self.name(model)).await;
        let answer = answer.map_err(failed("reading what MLflow shows of a model"))?;
        let Some(found) = answer.filter(|found| !is_prompt(found)) else {
            return Ok((!state.exists()).then(Drift::default));
        };
        let pointed = found.aliases.iter().find(|known| known.alias == alias).map(|known| known.version);
        // For a stage both ways of saying it must agree; an alias says it alone.
        let is_stage = matches!(selector, Selector::Stage(_));
        let native = found
            .latest_versions
            .iter()
            .find(|version| from_native(&version.current_stage) == Stage::Production);
        if state.exists() {
            let wanted = match selector {
                Selector::Alias(alias) => state.aliases.get(alias),
                _ => state.production.as_ref(),
            };
            let is_wanted = |number: Option<u64>, tagged: Option<Version>| match (wanted, number) {
                (None, None) => true,
                (Some(wanted), Some(number)) => {
                    tagged.as_ref() == Some(wanted)
                        || state.version(wanted).and_then(|found| adopted_from(found)) == Some(number)
                        || self.number(model, wanted) == Some(number)
                }
                _ => false,
            };
            let tag_of = |number: Option<u64>| {
                let found = found.latest_versions.iter().find(|version| Some(version.version) == number)?;
                let tag = found.tags.iter().find(|tag| tag.key == VERSION)?;
                tag.value.parse().ok()
            };
            let agree = is_wanted(pointed, tag_of(pointed))
                && (!is_stage || native.map(|version| version.version) == pointed);
            return Ok(agree.then(Drift::default));
        }
        let number = pointed.or(native.filter(|_| is_stage).map(|found| found.version));
        let Some(number) = number else { return Ok(None) };
        // The newest of each stage came with the answer.
        let known = found.latest_versions.iter().find(|version| version.version == number).cloned();
        let version = match known {
            Some(version) => Some(version),
            None => {
                let asked = self.server.model_version(&self.name(model), number).await;
                asked.map_err(failed("reading a version"))?
            }
        };
        match version {
            Some(version) => self.stranger(model, shown_version(version), selector).await.map(Some),
            None => Ok(None),
        }
    }

    /// The one version that is asked for of a model that never met the registry.
    async fn stranger(
        &self,
        model: &ModelName,
        found: ShownVersion,
        selector: &Selector,
    ) -> Result<Drift, StorageError> {
        let version = found.version().unwrap_or_else(|| Version::new(found.number, 0, 0));
        let evidence = self.evidence_of(model, vec![Origin::from(&found)]).await?;
        let evidence = evidence.get(&found.number).cloned().unwrap_or_default();
        let foreign = |at, change| Foreign { by: evidence.by(), at, change };
        let content = Box::new(content(&found, &evidence));
        let registered = ForeignChange::Registered { version: version.clone(), content };
        let then = match selector {
            Selector::Alias(alias) => ForeignChange::AliasSet { alias: alias.clone(), version },
            _ => ForeignChange::Staged { version, to: Stage::Production },
        };
        let then = Foreign { by: None, at: found.updated, change: then };
        let changes = vec![foreign(found.created, registered), then];
        Ok(Drift { changes, unfinished: Vec::new() })
    }

    /// The number of a version, if this process has seen it.
    fn number(&self, model: &ModelName, version: &Version) -> Option<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(model)?.get(version).copied()
    }

    /// Keeps what numbers versions have, which never changes.
    pub(super) fn keep_numbers(&self, model: &ModelName, numbers: &Numbers) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(model.clone(), Arc::new(numbers.known.clone()));
    }
}
