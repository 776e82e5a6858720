//! Why this exists: the registry knows versions by semantic versions, MLflow by 1, 2, 3. Which is which follows from
//! what is written down, in this order: the number and run that were claimed for a version when it was made; the number
//! that it was adopted from, if it was made at that time; what the number says of itself, in a tag, if its run was
//! claimed for that version. The rest never met the registry, and is `<number>.0.0`, or the next major that is free.
//!
//! What a number says comes last because others may write it: MLflow's own `copy_model_version` copies all tags. Only
//! where all of them say what we wrote, each with its own number, is that believed at once; it saves a request.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use registry_core::{ModelState, Version, VersionState};

use super::shown::{IDENTITY, MADE, ShownModel, identity};

/// The key, among a version's further metadata, of the number that it was adopted from.
pub(crate) const ADOPTED_FROM: &str = "mlflow.version";

/// The number and the run that were claimed for a version, when it was last made in MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) turn: u32,
    pub(crate) number: u64,
    pub(crate) run: Option<String>,
}

/// What was claimed for the versions of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) last: BTreeMap<Version, Claimed>,
    /// The runs that were ever claimed, and for which version.
    pub(crate) runs: BTreeMap<String, Version>,
}

/// Which version has which number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Versions that the log and MLflow both know.
    pub(crate) known: BTreeMap<Version, u64>,
    /// Versions that only MLflow knows, by number, and what they are called here.
    pub(crate) foreign: BTreeMap<u64, Version>,
    /// Numbers that racing projections made of a version that another number is.
    pub(crate) doubles: BTreeMap<u64, Version>,
}

/// The key, among a version's further metadata, of when it was made in MLflow, in milliseconds.
pub(crate) const MADE_AT: &str = "mlflow.created";

/// When a version that was adopted was made in MLflow, by the clock of that.
pub(crate) fn made_at(version: &VersionState) -> Option<i64> {
    version.content.metadata.extra.get(MADE_AT).and_then(serde_json::Value::as_i64)
}

/// The number that a version was adopted from, if it was.
pub(crate) fn adopted_from(version: &VersionState) -> Option<u64> {
    version.content.metadata.extra.get(ADOPTED_FROM).and_then(serde_json::Value::as_u64)
}

/// The versions that are still what they were adopted from, by number. Where a model was deleted as a whole, numbers
/// begin anew, and the same number is another version: one that was made at another time.
fn adopted<'a>(state: &'a ModelState, shown: &ShownModel) -> BTreeMap<u64, &'a Version> {
    let still = |found: &'a VersionState| {
        let shown = shown.versions.get(&adopted_from(found)?)?;
        let created = shown.created.map(|created| created.microseconds() / 1_000);
        let same = created.is_none() || created == made_at(found);
        same.then_some((shown.number, &found.version))
    };
    state.versions().filter_map(|found| still(found)).collect()
}

/// Whether every number says which version it is, as we wrote it, no two the same, and none another than it was
/// adopted as: then nothing more need be known. Others may change and copy what numbers say.
pub(crate) fn is_plain(state: &ModelState, shown: &ShownModel) -> bool {
    let adopted = adopted(state, shown);
    let mut said = BTreeSet::new();
    shown.versions.values().all(|found| {
        let Some(version) = found.version() else { return false };
        state.version(&version).is_some()
            && found.tags.get(IDENTITY) == Some(&identity(&version, found.number))
            && adopted.get(&found.number).is_none_or(|adopted| **adopted == version)
            && said.insert(version)
    })
}

impl Numbers {
    /// Where numbers are plain nothing need have been claimed; else claims decide, and what a version was adopted
    /// from, and only then what it says itself.
    pub(crate) fn new(state: &ModelState, shown: &ShownModel, claims: &Claims) -> Self {
        let mut numbers = Numbers::default();
        if is_plain(state, shown) {
            let said = shown.versions.values().filter_map(|found| Some((found.version()?, found.number)));
            numbers.known = said.collect();
            return numbers;
        }
        let by_claim = claims.last.iter().filter_map(|(version, claim)| {
            let found = shown.versions.get(&claim.number)?;
            (found.run_id == claim.run).then_some((claim.number, version))
        });
        let mut right = BTreeSet::new();
        for (number, version) in by_claim.chain(adopted(state, shown)) {
            if state.version(version).is_some()
                && !numbers.known.contains_key(version)
                && right.insert(number)
            {
                numbers.known.insert(version.clone(), number);
            }
        }
        let mut unknown = Vec::new();
        for (number, found) in shown.versions.iter().filter(|(number, _)| !right.contains(number)) {
            // It was made here, or somebody has copied one that was, with all its tags and its run, but for the files.
            let run = found.run_id.as_ref().and_then(|run| claims.runs.get(run));
            let made = found.version().filter(|version| {
                run == Some(version) && state.version(version).is_some() && found.tags.contains_key(MADE)
            });
            let Some(version) = made else {
                unknown.push(*number);
                continue;
            };
            match numbers.known.entry(version) {
                Entry::Vacant(vacant) => drop(vacant.insert(*number)),
                Entry::Occupied(known) => {
                    let original = shown.versions.get(known.get()).and_then(|known| known.tags.get(MADE));
                    if original == found.tags.get(MADE) {
                        unknown.push(*number);
                    } else {
                        numbers.doubles.insert(*number, known.key().clone());
                    }
                }
            }
        }
        unknown.sort_unstable();
        let mut taken: BTreeSet<Version> = state.versions().map(|found| found.version.clone()).collect();
        for number in unknown {
            let tagged = shown.versions.get(&number).and_then(|version| version.version());
            let version = match tagged.filter(|version| !taken.contains(version)) {
                Some(version) => version,
                None => (number..=u64::MAX)
                    .map(|major| Version::new(major, 0, 0))
                    .find(|version| !taken.contains(version))
                    .unwrap_or_else(|| Version::new(number, 0, 0)),
            };
            taken.insert(version.clone());
            numbers.foreign.insert(number, version);
        }
        numbers
    }

    /// What a number is called here.
    pub(crate) fn version(&self, number: u64) -> Option<&Version> {
        let known = || self.known.iter().find(|(_, found)| **found == number).map(|(version, _)| version);
        self.foreign.get(&number).or_else(known)
    }
}
