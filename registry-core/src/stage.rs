//! Why this exists: the stages of a model's life and the moves between them are the registry's
//! backbone. The moves are one table, as data, so that a policy can replace it and a reader can see
//! all of it at once.
//!
//! ```text
//! development ──> staging ──> production
//!      │  ^         │  ^  │        │
//!      │  └─────────┘  │  │        │
//!      └──> archived <─┘<─┘<───────┘   (archived -> development, staging: taken up again)
//! ```
//!
//! A rollback is not in the table: it is its own command, and may take an archived version straight
//! back to production.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;

/// Where a version stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Training and experimentation; where a version starts.
    Development,
    /// Validation, A/B tests, canaries.
    Staging,
    /// Serving. At most one version of a model is in production.
    Production,
    /// Decommissioned, kept for audit and rollback.
    Archived,
}

impl Stage {
    /// All stages, in the order of a model's life.
    pub const ALL: [Stage; 4] = [Stage::Development, Stage::Staging, Stage::Production, Stage::Archived];

    /// The stage in lower case, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Development => "development",
            Stage::Staging => "staging",
            Stage::Production => "production",
            Stage::Archived => "archived",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "development" | "dev" => Ok(Stage::Development),
            "staging" => Ok(Stage::Staging),
            "production" | "prod" => Ok(Stage::Production),
            "archived" => Ok(Stage::Archived),
            _ => Err(Invalid::new(
                "stage",
                text,
                "expected `development` (`dev`), `staging`, `production` (`prod`) or `archived`",
            )),
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// The moves from stage to stage that `promote` and `archive` may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transitions(BTreeSet<(Stage, Stage)>);

impl Transitions {
    /// A table of exactly these moves. A move from a stage to itself means nothing and is left out.
    pub fn new(moves: impl IntoIterator<Item = (Stage, Stage)>) -> Self {
        Transitions(moves.into_iter().filter(|(from, to)| from != to).collect())
    }

    /// Whether a version may move from `from` to `to`.
    pub fn allows(&self, from: Stage, to: Stage) -> bool {
        self.0.contains(&(from, to))
    }

    /// Where a version in `from` may go.
    pub fn targets(&self, from: Stage) -> impl Iterator<Item = Stage> + '_ {
        self.0.iter().filter(move |(start, _)| *start == from).map(|(_, end)| *end)
    }
}

impl Default for Transitions {
    fn default() -> Self {
        use Stage::{Archived, Development, Production, Staging};
        Transitions::new([
            (Development, Staging),
            (Development, Archived),
            (Staging, Development),
            (Staging, Production),
            (Staging, Archived),
            (Production, Archived),
            (Archived, Development),
            (Archived, Staging),
        ])
    }
}

impl fmt::Display for Transitions {
    /// `development → staging, archived; staging → production`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for (from, to) in &self.0 {
            match before {
                Some(before) if before == from => write!(f, ", {to}")?,
                Some(_) => write!(f, "; {from} → {to}")?,
                None => write!(f, "{from} → {to}")?,
            }
            before = Some(from);
        }
        if before.is_none() { f.write_str("no moves") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_mixed_case_names_are_accepted() {
        assert_eq!("Prod".parse::<Stage>().unwrap(), Stage::Production);
        assert_eq!("dev".parse::<Stage>().unwrap(), Stage::Development);
        assert!("live".parse::<Stage>().unwrap_err().problem.contains("production"));
    }

    #[test]
    fn a_table_reads_stage_by_stage() {
        let table = Transitions::default().to_string();
        assert!(
            table.starts_with("development → staging, archived; staging → development, production"),
            "{table}"
        );
        assert_eq!(Transitions::new([]).to_string(), "no moves");
    }

    #[test]
    fn the_default_table_forbids_the_jump_to_production() {
        let table = Transitions::default();
        assert!(table.allows(Stage::Staging, Stage::Production));
        assert!(!table.allows(Stage::Development, Stage::Production));
        assert!(!table.allows(Stage::Archived, Stage::Production));
        assert_eq!(table.targets(Stage::Production).collect::<Vec<_>>(), [Stage::Archived]);
    }
}
