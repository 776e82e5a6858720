//! Why this exists: looking at what MLflow shows. A **look** takes in all of a model and tells what others
//! changed; a **glance** answers for one selector with one small request, as long as both sides agree on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use registry_core::mirror::{Drift, Foreign, ForeignChange};
use registry_core::storage::StorageError;
use registry_core::{
    Clock as _, Event, ModelName, ModelState, Revision, Selector, Stage, Stream, SystemClock, Timestamp,
    Version,
};

use super::evidence::Origin;
use super::foreign::{changes, content};
use super::items::{Differences, Item, Items, compare, present, stage_alias, wanted};
use super::numbers::{Claims, Numbers, adopted_from, is_plain, made_at};
use super::shown::{IDENTITY, ShownModel, ShownVersion, VERSION, from_native, identity};
use super::{MlflowMirror, failed, revision_of};
use crate::rest::{ModelVersion, Pair, RegisteredModel, VERSIONS_PAGE};

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

impl Snapshot {
    /// The same, with what was made since.
    pub(super) fn with(self, shown: ShownModel) -> Snapshot {
        Snapshot { shown: Some(shown), ..self }
    }
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
        let doubles = self.numbers.doubles.iter().map(|(number, version)| {
            format!("version {number} is to be removed: it was made beside another one as {version}")
        });
        missing.chain(items).chain(doubles).collect()
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
        let doing = "reading what MLflow shows of a model";
        // The aliases first: one that is pointed to a version that is made meanwhile would point to nothing.
        let found = self.server.registered_model(&name).await.map_err(failed(doing))?;
        let Some(found) = found.filter(|found| !is_prompt(found)) else { return Ok(None) };
        let versions = self.server.model_versions(&name).await.map_err(failed(doing))?;
        let versions = versions.into_iter().map(shown_version);
        Ok(Some(ShownModel {
            created: found.creation_timestamp,
            description: found.description,
            tags: table(found.tags),
            aliases: found.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect(),
            versions: versions.map(|version| (version.number, version)).collect(),
        }))
    }

    /// What there is to see now. The notes are read first: what is written and noted as shown while the rest is read
    /// would otherwise seem to have been taken away since.
    pub(super) async fn see(&self, model: &ModelName, state: &ModelState) -> Result<Snapshot, StorageError> {
        let at = SystemClock.now();
        let notes = match state.revision() {
            Some(_) => self.log.notes(&Stream::from(model)).await?.unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let shown = self.snapshot(model).await?;
        Ok(Snapshot { at, revision: state.revision(), notes, shown })
    }

    /// Whether nobody has begun or finished to write since these notes were read. If somebody has, what was seen may
    /// be half of what they wrote, and says nothing about others.
    pub(super) async fn is_calm(
        &self,
        model: &ModelName,
        notes: &BTreeMap<String, String>,
    ) -> Result<bool, StorageError> {
        let now = self.log.notes(&Stream::from(model)).await?.unwrap_or_default();
        let ours = |notes: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let of_writers = |key: &str| key == SHOWN || key.starts_with(SHOWING);
            let notes = notes.iter().filter(|(key, _)| of_writers(key));
            notes.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Ok(ours(&now) == ours(notes))
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
        // Where every version says which one it is, and nothing contradicts it, nothing more is to be known.
        let claims = match state.exists() && !is_plain(state, &shown) {
            true => self.claims_of(&stream, state).await?,
            false => Claims::default(),
        };
        let numbers = Numbers::new(state, &shown, &claims);
        let revision = revision_of(state);
        let base = base(&notes).min(revision);
        let (wanted_now, present_now) = (wanted(state, &numbers), present(state, &shown, &numbers));
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
        self.settle(model, state, &numbers, &shown, &before, base, &mut differences).await?;
        // What was shown once, or came from there, was deleted there. What was brought back here since is to be
        // shown anew.
        let was_shown = |version: &Version| match before.first().and_then(|first| first.version(version)) {
            Some(first) => 0 < base && first.deleted.is_none(),
            None => state.version(version).is_some_and(|found| adopted_from(found).is_some()),
        };
        let was_brought_back = |version: &Version| {
            let is_deleted =
                |state: &ModelState| state.version(version).is_some_and(|found| found.deleted.is_some());
            before.iter().any(|state| is_deleted(state))
        };
        let is_foreign = |version: &Version| was_shown(version) && !was_brought_back(version);
        let (deleted, missing) = unshown.into_iter().cloned().partition(is_foreign);
        Ok(Seen { is_there, shown, numbers, differences, missing, deleted, notes, base })
    }

    /// What was claimed for the versions of a model.
    async fn claims_of(&self, stream: &Stream, state: &ModelState) -> Result<Claims, StorageError> {
        let claimed = self.log.claims(stream).await?;
        let mut claims = Claims::default();
        for version in state.versions().map(|found| &found.version) {
            if let Some(last) = super::write::claimed(&claimed, version) {
                claims.last.insert(version.clone(), last);
            }
            let runs = super::write::claimed_runs(&claimed, version);
            claims.runs.extend(runs.map(|run| (run.clone(), version.clone())));
        }
        Ok(claims)
    }

    /// Whether MLflow still shows what a snapshot has, as far as one small request tells: the aliases, and the
    /// newest version of each stage.
    pub(super) async fn still_shows(
        &self,
        model: &ModelName,
        snapshot: &Snapshot,
    ) -> Result<bool, StorageError> {
        let found = self.server.registered_model(&self.name(model)).await;
        let found = found.map_err(failed("reading what MLflow shows of a model"))?;
        let (Some(found), Some(shown)) = (&found, &snapshot.shown) else {
            return Ok(found.is_none() && snapshot.shown.is_none());
        };
        let aliases: BTreeMap<&str, u64> =
            found.aliases.iter().map(|alias| (alias.alias.as_str(), alias.version)).collect();
        let same_aliases = aliases.len() == shown.aliases.len()
            && shown.aliases.iter().all(|(alias, number)| aliases.get(alias.as_str()) == Some(number));
        let same_versions = found.latest_versions.iter().all(|version| {
            shown.versions.get(&version.version).is_some_and(|known| {
                known.stage == from_native(&version.current_stage)
                    && known.updated == timestamp(version.last_updated_timestamp)
            })
        });
        Ok(same_aliases
            && same_versions
            && found.description == shown.description
            && found.creation_timestamp == shown.created)
    }

    /// Takes from what looks foreign what nobody changed:
    ///
    /// * a version may be in one stage by its alias and in another by itself when it is adopted; the log takes one of
    ///   them, and the other is not a change that came later;
    /// * a version that was just made is in no stage yet, and was never moved;
    /// * staging may hold many versions, and its alias points to one. Which one, others may say, until another
    ///   enters;
    /// * a version that is deleted here is archived there. Whoever takes it out into a stage that counts uses it
    ///   again; anything else is put right.
    #[expect(clippy::too_many_arguments, reason = "all that a comparison has found so far")]
    async fn settle(
        &self,
        model: &ModelName,
        state: &ModelState,
        numbers: &Numbers,
        shown: &ShownModel,
        before: &[Arc<ModelState>],
        base: u64,
        differences: &mut Differences,
    ) -> Result<(), StorageError> {
        let wanted_now = |item: &Item| wanted(state, numbers).remove(item);
        let state_of = |number: u64| numbers.version(number).and_then(|version| state.version(version));
        let mut moves: Option<BTreeMap<Version, BTreeSet<Stage>>> = None;
        let staging = Item::Alias(Stage::Staging.as_str().to_owned());
        for (item, value) in std::mem::take(&mut differences.foreign) {
            let is_settled = match &item {
                Item::Alias(alias) => {
                    let pointed = shown.aliases.get(alias).and_then(|number| state_of(*number));
                    stage_alias(alias).is_some_and(|stage| {
                        pointed.is_some_and(|found| found.stage == stage && found.deleted.is_none())
                    })
                }
                Item::Stage(number) => match state_of(*number) {
                    None => false,
                    Some(found) => {
                        let stage = from_native(value.as_deref().unwrap_or_default());
                        let counts = matches!(stage, Stage::Staging | Stage::Production);
                        let never_moved = shown.versions.get(number).is_some_and(|shown| {
                            stage == Stage::Development
                                && shown.created.is_some()
                                && shown.created == shown.updated
                        });
                        if found.deleted.is_some() && !counts || never_moved {
                            true
                        } else {
                            if moves.is_none() {
                                moves = Some(self.adopted_moves(model, state, base).await?);
                            }
                            let through = moves.as_ref().and_then(|moves| moves.get(&found.version));
                            through.is_some_and(|through| through.contains(&stage))
                        }
                    }
                },
                _ => false,
            };
            if !is_settled {
                differences.foreign.insert(item, value);
                continue;
            }
            let want = wanted_now(&item);
            // Unless another has entered staging since, or was adopted just now, it is left as others put it.
            let was = before.first().and_then(|first| wanted(first, numbers).remove(&item));
            if item != staging || was != want {
                differences.unfinished.insert(item, want);
            }
        }
        // The same where it is what we wanted once.
        if let Some(number) = shown.aliases.get(Stage::Staging.as_str())
            && state_of(*number).is_some_and(|found| found.stage == Stage::Staging && found.deleted.is_none())
            && before
                .first()
                .is_some_and(|first| wanted(first, numbers).remove(&staging) == wanted_now(&staging))
        {
            differences.unfinished.remove(&staging);
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
        let last = revision_of(state);
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

    /// What others changed; none if the log went on meanwhile.
    pub(super) async fn look(
        &self,
        model: &ModelName,
        state: &ModelState,
    ) -> Result<Option<Drift>, StorageError> {
        let state = Arc::new(state.clone());
        self.remember(model, &state);
        // What was seen before is not what is shown now, whatever comes of this.
        drop(self.just_seen(model, &state));
        let snapshot = self.see(model, &state).await?;
        let mut seen = self.compare(model, &state, snapshot.clone()).await?;
        if !seen.deleted.is_empty() && VERSIONS_PAGE <= seen.shown.versions.len() {
            // Pages are cut by counting, so what is deleted meanwhile hides another one: what is missing twice is
            // missing.
            let again = self.see(model, &state).await?;
            let again = self.compare(model, &state, again).await?;
            seen.deleted.retain(|version| again.deleted.contains(version));
        }
        let unfinished = seen.unfinished();
        let runs = self.changed_runs(model, &state, &seen.shown, &seen.numbers).await?;
        if !seen.has_foreign() && runs.is_empty() {
            let mut kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(model.clone(), snapshot);
            return Ok(Some(Drift { changes: Vec::new(), unfinished }));
        }
        // If the log went on meanwhile, what looks foreign may be what it says by now; if others of us wrote
        // meanwhile, a half of that.
        if !self.newer(&Stream::from(model), &state).await?.is_empty()
            || !self.is_calm(model, &seen.notes).await?
        {
            return Ok(None);
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
        Ok(Some(Drift { changes, unfinished }))
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
                        || state.version(wanted).is_some_and(|known| {
                            // A model that was made anew since has other versions of these numbers.
                            adopted_from(known) == Some(number)
                                && made_at(known).is_some_and(|made| found.creation_timestamp <= made)
                        })
                        || self.number(model, wanted, found.creation_timestamp) == Some(number)
                }
                _ => false,
            };
            let tag_of = |number: Option<u64>| {
                let found = found.latest_versions.iter().find(|version| Some(version.version) == number)?;
                let tag =
                    |key: &str| found.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str());
                let version: Version = tag(VERSION)?.parse().ok()?;
                // A copy has the tags of the original.
                (tag(IDENTITY)? == identity(&version, found.version)).then_some(version)
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

    /// The number of a version, if this process has seen it in the model that was made at that time.
    fn number(&self, model: &ModelName, version: &Version, made: i64) -> Option<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known_made, numbers) = &**known.get(model)?;
        (*known_made == made).then(|| numbers.get(version).copied()).flatten()
    }

    /// Keeps what numbers versions have, which never changes as long as the model is the same.
    pub(super) fn keep_numbers(&self, model: &ModelName, shown: &ShownModel, numbers: &Numbers) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(model.clone(), Arc::new((shown.created, numbers.known.clone())));
    }
}
