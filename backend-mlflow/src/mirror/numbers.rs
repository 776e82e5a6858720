//! Why this exists: the registry knows versions by semantic versions, MLflow by 1, 2, 3. Which is which follows
//! from what is written down, in this order: what the log says of a version that was adopted from MLflow; the
//! tag that a projection gave to a version; and for a version that never met the registry `<number>.0.0`, or
//! the next major that is free.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::{ModelState, Version, VersionState};

use super::shown::ShownModel;

/// The key, among a version's further metadata, of the number that it was adopted from.
pub(crate) const ADOPTED_FROM: &str = "mlflow.version";

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
    /// `claimed` says which number is the right one where several say they are a version.
    pub(crate) fn new(state: &ModelState, shown: &ShownModel, claimed: &BTreeMap<Version, u64>) -> Self {
        let mut numbers = Numbers::default();
        let adopted: BTreeMap<u64, &Version> =
            state.versions().filter_map(|found| Some((adopted_from(found)?, &found.version))).collect();
        let mut others = Vec::new();
        for (number, version) in &shown.versions {
            match adopted.get(number) {
                Some(version) => {
                    numbers.known.insert((*version).clone(), *number);
                }
                None => others.push((number, version.version())),
            }
        }
        // Those that were claimed first, so that what is left over is a double.
        others.sort_by_key(|(number, version)| {
            let right = version.as_ref().and_then(|version| claimed.get(version)) == Some(*number);
            (!right, **number)
        });
        let mut unknown = Vec::new();
        for (number, version) in others {
            match version.filter(|version| state.version(version).is_some()) {
                Some(version) if numbers.known.contains_key(&version) => {
                    numbers.doubles.insert(*number, version);
                }
                Some(version) => {
                    numbers.known.insert(version, *number);
                }
                None => unknown.push(*number),
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
