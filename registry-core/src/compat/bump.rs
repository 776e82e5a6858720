//! Why this exists: a required bump is a word, a version is three numbers, and below `1.0.0` they
//! do not meet where one expects. As in Cargo, the first number that is not zero is the one that
//! promises compatibility:
//!
//! | baseline | major change | minor change | patch |
//! |---|---|---|---|
//! | `1.4.2` | `2.0.0` | `1.5.0` | `1.4.3` |
//! | `0.4.2` | `0.5.0` | `0.4.3` | `0.4.3` |
//! | `0.0.2` | `0.0.3` | `0.0.3` | `0.0.3` |

use serde::{Deserialize, Serialize};

use crate::version::{Bump, Version};

/// The number to raise in a version after `baseline` for a change that requires `bump`.
pub fn slot(baseline: &Version, bump: Bump) -> Bump {
    match (baseline.major(), baseline.minor(), bump) {
        (0, 0, _) => Bump::Patch,
        (0, _, Bump::Major) => Bump::Minor,
        (0, _, Bump::Minor) => Bump::Patch,
        _ => bump,
    }
}

/// The version that follows the head of a line of versions when the changes require `required`.
/// `None` if the number that must rise cannot.
pub fn next_version(line_head: &Version, required: Bump) -> Option<Version> {
    line_head.bumped(slot(line_head, required))
}

/// Whether a version number that a person chose does justice to the changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExplicitCheck {
    /// It does.
    Enough,
    /// It promises compatibility that the changes break, or does not follow the baseline at all.
    TooSmall {
        /// The number that must rise.
        needed: Bump,
        /// The smallest version that is enough; `None` if the number cannot rise.
        smallest: Option<Version>,
    },
    /// It does, and announces more than there is.
    LargerThanNeeded {
        /// The number that had to rise.
        needed: Bump,
        /// The number that did rise.
        given: Bump,
        /// The smallest version that would have been enough.
        smallest: Version,
    },
}

/// Judges `proposed` against the version it is said to follow. Which version that is, is for the
/// caller to say: for a hotfix it is the head of its own line, not the highest version of all.
///
/// A pre-release is judged as the release that it prepares.
pub fn check_explicit(baseline: &Version, proposed: &Version, required: Bump) -> ExplicitCheck {
    let needed = slot(baseline, required);
    let smallest = match baseline.bumped(needed) {
        Some(smallest) if baseline < proposed && smallest <= proposed.release() => smallest,
        smallest => return ExplicitCheck::TooSmall { needed, smallest },
    };
    let given = if baseline.major() != proposed.major() {
        Bump::Major
    } else if baseline.minor() != proposed.minor() {
        Bump::Minor
    } else {
        Bump::Patch
    };
    if given > needed {
        ExplicitCheck::LargerThanNeeded { needed, given, smallest }
    } else {
        ExplicitCheck::Enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_number_that_is_not_zero_promises_compatibility() {
        for (baseline, major, minor, patch) in [
            ("1.4.2", "2.0.0", "1.5.0", "1.4.3"),
            ("0.4.2", "0.5.0", "0.4.3", "0.4.3"),
            ("0.0.2", "0.0.3", "0.0.3", "0.0.3"),
            ("2.0.0-rc.1", "2.0.0", "2.0.0", "2.0.0"),
            ("2.1.0-rc.1", "3.0.0", "2.1.0", "2.1.0"),
        ] {
            for (bump, expected) in [(Bump::Major, major), (Bump::Minor, minor), (Bump::Patch, patch)] {
                assert_eq!(next_version(&v(baseline), bump), Some(v(expected)), "{baseline} + {bump}");
            }
        }
        assert_eq!(next_version(&Version::new(u64::MAX, 0, 0), Bump::Major), None);
    }

    #[test]
    fn explicit_versions_are_judged_by_the_number_that_must_rise() {
        use ExplicitCheck::*;
        let too_small = |needed, smallest: &str| TooSmall { needed, smallest: Some(v(smallest)) };
        let larger =
            |needed, given, smallest: &str| LargerThanNeeded { needed, given, smallest: v(smallest) };
        let (major, minor, patch) = (Bump::Major, Bump::Minor, Bump::Patch);
        for (case, baseline, proposed, required, expected) in [
            ("exact", "1.4.2", "2.0.0", major, Enough),
            ("numbers skipped", "1.4.2", "1.4.9", patch, Enough),
            ("minor for major", "1.4.2", "1.5.0", major, too_small(major, "2.0.0")),
            ("patch for minor", "1.4.2", "1.4.3", minor, too_small(minor, "1.5.0")),
            ("the same", "1.4.2", "1.4.2", patch, too_small(patch, "1.4.3")),
            ("the same but for build metadata", "1.4.2", "1.4.2+b", patch, too_small(patch, "1.4.3")),
            ("lower", "1.4.2", "1.4.1", patch, too_small(patch, "1.4.3")),
            ("pre-release of the baseline", "1.4.2", "1.4.2-rc.1", patch, too_small(patch, "1.4.3")),
            ("pre-release of the right one", "1.4.2", "2.0.0-rc.1", major, Enough),
            ("next pre-release", "2.0.0-rc.1", "2.0.0-rc.2", major, Enough),
            ("release of the pre-release", "2.0.0-rc.1", "2.0.0", major, Enough),
            ("major for patch", "1.4.2", "2.0.0", patch, larger(patch, major, "1.4.3")),
            ("major for minor", "1.4.2", "2.0.0", minor, larger(minor, major, "1.5.0")),
            ("below one, breaking", "0.4.2", "0.5.0", major, Enough),
            ("below one, breaking as patch", "0.4.2", "0.4.3", major, too_small(minor, "0.5.0")),
            ("below one, improved", "0.4.2", "0.4.3", minor, Enough),
            ("below one, to one", "0.4.2", "1.0.0", major, larger(minor, major, "0.5.0")),
            ("nothing yet, breaking", "0.0.2", "0.0.3", major, Enough),
        ] {
            assert_eq!(check_explicit(&v(baseline), &v(proposed), required), expected, "{case}");
        }
        let last = Version::new(u64::MAX, 0, 0);
        let exhausted = TooSmall { needed: major, smallest: None };
        assert_eq!(check_explicit(&last, &Version::new(u64::MAX, 1, 0), major), exhausted);
    }

    #[test]
    fn the_next_version_is_always_exactly_enough() {
        for baseline in ["1.4.2", "0.4.2", "0.0.2", "0.0.0", "2.1.0-rc.1", "0.1.0-rc.1"] {
            for bump in [Bump::Patch, Bump::Minor, Bump::Major] {
                let next = next_version(&v(baseline), bump).unwrap();
                assert_eq!(
                    check_explicit(&v(baseline), &next, bump),
                    ExplicitCheck::Enough,
                    "{baseline} {bump}"
                );
            }
        }
    }
}
