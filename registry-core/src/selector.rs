//! Why this exists: people name a version in many ways (its number, a range, a stage, an alias, a
//! day). This is the one grammar for all of them and the one place that resolves them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::invalid::Invalid;
use crate::name::AliasName;
use crate::stage::Stage;
use crate::state::{LeftOut, ModelState, VersionState};
use crate::time::Timestamp;
use crate::version::{Version, VersionRange};

/// A way to name a version of a model.
///
/// As text: `v3.1.0`, `^3.1`, `production`, `latest`, `latest-pre`, `newest`, `previous`,
/// `champion` (an alias), `production@2024-01-15` or `production@2024-01-15T10:30:00Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// Exactly this version.
    Version(Version),
    /// The highest version in a range that is released, not deprecated, quarantined or deleted.
    Range(VersionRange),
    /// The version in this stage. In `staging`, `development` and `archived`, which may hold many,
    /// the one that entered last.
    Stage(Stage),
    /// The version an alias points to.
    Alias(AliasName),
    /// The highest released version that is not deprecated, quarantined or deleted.
    Latest {
        /// Whether pre-releases count.
        with_prereleases: bool,
    },
    /// The version registered last.
    Newest,
    /// The version that was in production before the present one.
    Previous,
    /// The version that was in production at an instant.
    ProductionAt(Timestamp),
}

impl Selector {
    /// What is in production.
    pub const PRODUCTION: Selector = Selector::Stage(Stage::Production);
    /// The highest release.
    pub const LATEST: Selector = Selector::Latest { with_prereleases: false };

    /// The version that `state` names by this selector. Deleted versions are named by their number
    /// only, and as what was in production at an instant: that they are hidden now does not
    /// change what was.
    pub(crate) fn resolve(&self, state: &ModelState) -> Result<Option<Arc<VersionState>>, LeftOut> {
        let named = |version: Option<&Version>| match version {
            None => Ok(None),
            Some(version) => match state.version(version) {
                Some(found) => Ok(Some(Arc::clone(found))),
                None if state.partial => Err(LeftOut),
                None => Ok(None),
            },
        };
        if state.partial
            && !matches!(
                self,
                Selector::Version(_)
                    | Selector::Stage(Stage::Production)
                    | Selector::Alias(_)
                    | Selector::Newest
            )
        {
            return Err(LeftOut);
        }
        match self {
            Selector::Version(version) => named(Some(version)),
            Selector::Range(range) => Ok(state
                .versions()
                .rev()
                .find(|version| version.is_latest_candidate(true) && range.contains(&version.version))
                .cloned()),
            Selector::Stage(Stage::Production) => named(state.production.as_ref()),
            Selector::Stage(Stage::Staging) => {
                Ok(last_entered(state.staging().filter_map(|version| state.version(version))))
            }
            Selector::Stage(stage) => {
                Ok(last_entered(state.versions().filter(|version| version.stage == *stage)))
            }
            Selector::Alias(alias) => named(state.aliases.get(alias)),
            Selector::Latest { with_prereleases } => Ok(state.latest(*with_prereleases).cloned()),
            Selector::Newest => match named(state.newest.as_ref())? {
                Some(newest) if newest.deleted.is_some() && state.partial => Err(LeftOut),
                Some(newest) if newest.deleted.is_some() => Ok(state
                    .versions()
                    .filter(|version| version.deleted.is_none())
                    .max_by_key(|version| (version.registered.revision, &version.version))
                    .cloned()),
                found => Ok(found),
            },
            Selector::Previous => Ok(state
                .previous_in_production()
                .filter_map(|version| state.version(version))
                .find(|version| version.deleted.is_none())
                .cloned()),
            Selector::ProductionAt(instant) => named(state.production_at(*instant).map(|span| &span.version)),
        }
    }
}

fn last_entered<'a>(versions: impl Iterator<Item = &'a Arc<VersionState>>) -> Option<Arc<VersionState>> {
    versions
        .filter(|version| version.deleted.is_none())
        .max_by_key(|version| (version.staged.revision, &version.version))
        .cloned()
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Version(version) => version.fmt(f),
            Selector::Range(range) => range.fmt(f),
            Selector::Stage(stage) => stage.fmt(f),
            Selector::Alias(alias) => alias.fmt(f),
            Selector::Latest { with_prereleases: false } => f.write_str("latest"),
            Selector::Latest { with_prereleases: true } => f.write_str("latest-pre"),
            Selector::Newest => f.write_str("newest"),
            Selector::Previous => f.write_str("previous"),
            Selector::ProductionAt(instant) => write!(f, "production@{instant}"),
        }
    }
}

impl FromStr for Selector {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "latest" => return Ok(Selector::LATEST),
            "latest-pre" => return Ok(Selector::Latest { with_prereleases: true }),
            "newest" => return Ok(Selector::Newest),
            "previous" => return Ok(Selector::Previous),
            _ => {}
        }
        if let Some((stage, instant)) = text.split_once('@') {
            return match stage.parse() {
                Ok(Stage::Production) => Ok(Selector::ProductionAt(Timestamp::parse_or_end_of_day(instant)?)),
                _ => Err(Invalid::new(
                    "selector",
                    text,
                    "only `production@<date or instant>` can be asked for",
                )),
            };
        }
        if let Ok(stage) = text.parse() {
            return Ok(Selector::Stage(stage));
        }
        if let Ok(version) = text.parse() {
            return Ok(Selector::Version(version));
        }
        if text.starts_with(['^', '~', '=', '<', '>', '*']) {
            return Ok(Selector::Range(text.parse()?));
        }
        text.parse().map(Selector::Alias).map_err(|_| {
            Invalid::new(
                "selector",
                text,
                "expected a version, a range such as `^3.1`, a stage, an alias, `latest`, `newest`, `previous` \
                 or `production@2024-01-15`",
            )
        })
    }
}

impl From<Version> for Selector {
    fn from(version: Version) -> Self {
        Selector::Version(version)
    }
}

impl From<Stage> for Selector {
    fn from(stage: Stage) -> Self {
        Selector::Stage(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_parses_and_prints_back() {
        for (text, printed) in [
            ("v3.1", "v3.1.0"),
            ("^3.1", "^3.1"),
            (">=2, <3", ">=2, <3"),
            ("prod", "production"),
            ("champion", "champion"),
            ("latest", "latest"),
            ("latest-pre", "latest-pre"),
            ("newest", "newest"),
            ("previous", "previous"),
            ("production@2024-01-15", "production@2024-01-15T23:59:59.999999Z"),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), printed, "{text}");
        }
        for text in ["", "staging@2024-01-15", "production@soon", "a b", "^x"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
