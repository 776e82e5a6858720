//! Why this exists: people write versions in many ways (`v3`, `v3.1`, `3.1.0`) and semantic
//! versioning has corners that matter to a registry. They are all decided here, once.
//!
//! * `v3`, `v3.1` and `3.1.0` parse alike; the output is always `v3.1.0`.
//! * Order is the precedence of <https://semver.org> §11; **build metadata takes no part in it**.
//!   Two versions that differ only in build metadata are therefore *equal here*, which is what
//!   makes a registry refuse the second one. (`semver::Version` itself orders build metadata.)
//! * A pre-release is lower than its release and is never `latest` unless asked for.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;

/// A semantic version of a model, compared by precedence (build metadata is ignored).
///
/// ```
/// use registry_core::Version;
/// let version: Version = "v3.1".parse()?;
/// assert_eq!(version.to_string(), "v3.1.0");
/// assert_eq!(version, "3.1.0+retrained".parse()?);
/// assert!(version > "3.1.0-rc.1".parse()?);
/// # Ok::<(), registry_core::Invalid>(())
/// ```
#[derive(Debug, Clone)]
pub struct Version(semver::Version);

impl Version {
    /// The longest text accepted, in bytes, and the longest printed.
    pub const LENGTH_MAX: usize = 128;

    /// A release version without pre-release or build metadata.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Version(semver::Version::new(major, minor, patch))
    }

    /// The first number: raised by changes that break callers.
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// The second number: raised by improvements that keep callers working.
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The third number: raised by fixes and retraining.
    pub fn patch(&self) -> u64 {
        self.0.patch
    }

    /// Whether this is a pre-release such as `v3.1.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// The same version without pre-release and build metadata.
    pub fn release(&self) -> Version {
        Version::new(self.0.major, self.0.minor, self.0.patch)
    }

    /// The build metadata after `+`, empty if there is none.
    pub fn build(&self) -> &str {
        self.0.build.as_str()
    }

    /// The version that follows this one by `bump`. Pre-release and build metadata are dropped;
    /// a pre-release is first completed (`v3.1.0-rc.1` bumped by patch gives `v3.1.0`), as Cargo's
    /// tooling does. `None` if a number would overflow.
    pub fn bumped(&self, bump: Bump) -> Option<Version> {
        let (major, minor, patch) = (self.0.major, self.0.minor, self.0.patch);
        if self.is_prerelease() {
            let completes = match bump {
                Bump::Patch => true,
                Bump::Minor => patch == 0,
                Bump::Major => minor == 0 && patch == 0,
            };
            if completes {
                return Some(self.release());
            }
        }
        Some(match bump {
            Bump::Major => Version::new(major.checked_add(1)?, 0, 0),
            Bump::Minor => Version::new(major, minor.checked_add(1)?, 0),
            Bump::Patch => Version::new(major, minor, patch.checked_add(1)?),
        })
    }

    /// The underlying `semver` value, for requirements and interoperation.
    pub fn as_semver(&self) -> &semver::Version {
        &self.0
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.major.hash(state);
        self.0.minor.hash(state);
        self.0.patch.hash(state);
        self.0.pre.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("v{}", self.0))
    }
}

impl FromStr for Version {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: String| Invalid::new("version", text, problem);
        let too_long = || invalid(format!("longer than {} bytes", Version::LENGTH_MAX));
        if Version::LENGTH_MAX < text.len() {
            return Err(too_long());
        }
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let core_end = bare.find(['-', '+']).unwrap_or(bare.len());
        let (core, rest) = bare.split_at(core_end);
        let missing_parts = 2_usize.saturating_sub(core.matches('.').count());
        let full = format!("{core}{}{rest}", ".0".repeat(missing_parts));
        // What is accepted must be legal as it is printed, with its `v`: so it is written, and read again.
        if Version::LENGTH_MAX <= full.len() {
            return Err(too_long());
        }
        semver::Version::parse(&full).map(Version).map_err(|error| {
            invalid(format!(
                "{error}; expected a semantic version such as `v3`, `v3.1`, `3.1.0` or `3.1.0-rc.1`"
            ))
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// How much a version number rises. Ordered: patch < minor < major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// Bug fix or retraining; nothing that a caller can see has changed.
    Patch,
    /// Improvement; callers of the previous version keep working.
    Minor,
    /// Breaking change; callers of the previous version may fail.
    Major,
}

impl Bump {
    /// The bump in lower case, as it is accepted on input.
    pub fn as_str(self) -> &'static str {
        match self {
            Bump::Patch => "patch",
            Bump::Minor => "minor",
            Bump::Major => "major",
        }
    }
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Bump {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "patch" => Ok(Bump::Patch),
            "minor" => Ok(Bump::Minor),
            "major" => Ok(Bump::Major),
            _ => Err(Invalid::new("bump", text, "expected `major`, `minor` or `patch`")),
        }
    }
}

/// A range of versions such as `^3.1` or `>=2, <3`, in Cargo's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(semver::VersionReq);

impl VersionRange {
    /// Whether `version` lies in the range. A pre-release lies in a range only if the range names
    /// a pre-release of the same version, as in Cargo.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.matches(&version.0)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VersionRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        semver::VersionReq::parse(text).map(VersionRange).map_err(|error| {
            Invalid::new("version range", text, format!("{error}; expected for example `^3.1` or `>=2, <3`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn short_forms_parse_alike_and_print_in_full() {
        for text in ["v3", "3", "V3.0", "3.0.0", "v3.0.0"] {
            assert_eq!(v(text).to_string(), "v3.0.0", "{text}");
        }
        assert_eq!(v("v3-rc.1").to_string(), "v3.0.0-rc.1");
        assert_eq!(v("3.1+build.5").to_string(), "v3.1.0+build.5");
    }

    #[test]
    fn bad_versions_are_refused_with_the_value_named() {
        for text in [
            "", "v", "vv3", "3.", "3.1.0.1", "-1", "03", "3.01", "1.2.3-", "3 ", "latest", "١.٠.٠", "1.0.0\0",
        ] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error.what, "version", "{text:?}");
        }
        assert!("9".repeat(200).parse::<Version>().is_err());
        assert!("99999999999999999999999".parse::<Version>().is_err());
    }

    #[test]
    fn what_is_accepted_is_accepted_again_as_it_is_printed() {
        for start in ["1", "v1", "1.0", "v1.0", "1.0.0", "v1.0.0"] {
            for length in Version::LENGTH_MAX - 10..=Version::LENGTH_MAX + 1 {
                let text = format!("{start}-{}", "a".repeat(length - start.len() - 1));
                let printed_length = "v1.0.0-".len() + length - start.len() - 1;
                let parsed = text.parse::<Version>();
                assert_eq!(parsed.is_ok(), printed_length <= Version::LENGTH_MAX, "{text}");
                if let Ok(version) = parsed {
                    assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
                }
            }
        }
    }

    #[test]
    fn build_metadata_takes_no_part_in_order_or_equality() {
        assert_eq!(v("1.0.0+a"), v("1.0.0+b"));
        assert!(v("1.0.0-rc.1") < v("1.0.0"));
        assert!(v("1.0.0-rc.2") < v("1.0.0-rc.10"));
    }

    #[test]
    fn bump_raises_one_number_and_completes_prereleases() {
        assert_eq!(v("3.1.4").bumped(Bump::Major).unwrap(), v("4.0.0"));
        assert_eq!(v("3.1.4").bumped(Bump::Minor).unwrap(), v("3.2.0"));
        assert_eq!(v("3.1.4").bumped(Bump::Patch).unwrap(), v("3.1.5"));
        assert_eq!(v("3.1.0-rc.1").bumped(Bump::Minor).unwrap(), v("3.1.0"));
        assert_eq!(v("3.1.0-rc.1").bumped(Bump::Major).unwrap(), v("4.0.0"));
        assert_eq!(Version::new(u64::MAX, 0, 0).bumped(Bump::Major), None);
    }
}
