//! Why this exists: the registry knows versions by semantic versions, MLflow by 1, 2, 3. Which is which follows
//! from what is written down, in this order: the tag that a projection gave to a version; the number that was
//! claimed for a version, or that it was adopted from; and for a version that never met the registry `<number>.0.0`,
//! or the next major that is free.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use registry_core::{ModelState, Version, VersionState};

use super::shown::ShownModel;

/// The key, among a version's further metadata, of the number that it was adopted from.
pub(crate) const ADOPTED_FROM: &str = "mlflow.version";

/// The number and the run that were claimed for a version, when it was last made in MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) turn: u32,
    pub(crate) number: u64,
    pub(crate) run: Option<String>,
}

/// Which version has which number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Versions that the log and MLflow both know.
    pub(crate) known: BTreeMap<Version, u64>,
    /// Versions that only MLflow knows, by number, and what they are called here.
    pub(crate) foreign: BTreeMap<u64, Version>,
    /// Numbers that say they are a version that another number is already: left by racing projections.
    pub(crate) doubles: BTreeMap<u64, Version>,
}

/// The number that a version was adopted from, if it was.
pub(crate) fn adopted_from(version: &VersionState) -> Option<u64> {
    version.content.metadata.extra.get(ADOPTED_FROM).and_then(serde_json::Value::as_u64)
}

impl Numbers {
    /// `claimed` says which number is the right one where several say they are a version, and which version a
    /// number is that says nothing any more.
    pub(crate) fn new(state: &ModelState, shown: &ShownModel, claimed: &BTreeMap<Version, Claimed>) -> Self {
        let mut numbers = Numbers::default();
        // Where a model was deleted as a whole numbers begin anew, and the same number is another version: one that
        // has another run, or was made at another time.
        let adopted: BTreeMap<u64, &Version> = state
            .versions()
            .filter_map(|found| {
                let shown = shown.versions.get(&adopted_from(found)?)?;
                let same = shown.created.is_none_or(|created| created == found.registered.at);
                same.then_some((shown.number, &found.version))
            })
            .collect();
        let by_claim: BTreeMap<u64, &Version> = claimed
            .iter()
            .filter(|(_, claim)| {
                shown.versions.get(&claim.number).is_some_and(|found| found.run_id == claim.run)
            })
            .map(|(version, claim)| (claim.number, version))
            .collect();
        let mut said = Vec::new();
        let mut unsaid = Vec::new();
        for (number, version) in &shown.versions {
            match version.version().filter(|version| state.version(version).is_some()) {
                Some(version) => said.push((*number, version)),
                None => unsaid.push(*number),
            }
        }
        // Those that were claimed, or adopted, first, so that what is left over is a double.
        said.sort_by_key(|(number, version)| {
            let right = [&by_claim, &adopted].iter().any(|known| known.get(number) == Some(&version));
            (!right, *number)
        });
        for (number, version) in said {
            match numbers.known.entry(version) {
                Entry::Occupied(known) => drop(numbers.doubles.insert(number, known.key().clone())),
                Entry::Vacant(unknown) => drop(unknown.insert(number)),
            }
        }
        let mut unknown = Vec::new();
        for number in unsaid {
            let meant = by_claim.get(&number).or(adopted.get(&number));
            match meant
                .filter(|version| state.version(version).is_some() && !numbers.known.contains_key(**version))
            {
                Some(version) => {
                    numbers.known.insert((*version).clone(), number);
                }
                None => unknown.push(number),
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
