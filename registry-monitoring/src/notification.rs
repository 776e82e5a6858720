//! Why this exists: what is told of a finding has one form, whoever is told: a program that receives a webhook, one that
//! reads lines, or a person. It is part of what others build on, so fields are added to it and never change their
//! meaning; a snapshot in the tests says what it looks like.

use std::fmt;

use registry_core::monitor::{Action, Breach, Finding};
use registry_core::{Digest, Key, ModelName, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// What is told of a rule that is broken, or of which too long nothing could be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notification {
    /// The same however often this finding is sent, and another for every other one.
    pub id: String,
    /// When it was found.
    pub time: Timestamp,
    /// The model.
    pub model: ModelName,
    /// The name of the rule.
    pub rule: Key,
    /// What was done: `action`, and with it `to` or `problem`.
    #[serde(flatten)]
    pub done: Done,
    /// The version, the rule as it stood, the last measurements, and the reason in words.
    pub breach: Breach,
    /// Who could not be told before, and why.
    #[serde(default)]
    pub untold: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Done {
    /// Nothing but telling.
    Alerted,
    /// The version was taken out of production.
    RolledBack {
        /// The version that is there now.
        to: Version,
    },
    /// The version was not there any more: somebody was faster. Listeners are not told this.
    AlreadyGone,
    /// A rule of the registry forbids to take it out.
    Refused {
        /// Why.
        problem: String,
    },
    /// The registry could not be written to; it is tried again.
    NotDone {
        /// Why.
        problem: String,
    },
    /// Nobody knows whether it was taken out.
    InDoubt {
        /// Why.
        problem: String,
    },
}

impl From<&Action> for Done {
    fn from(action: &Action) -> Done {
        match action {
            Action::RolledBack { to } => Done::RolledBack { to: to.clone() },
            Action::AlreadyGone => Done::AlreadyGone,
            Action::Refused(problem) => Done::Refused { problem: problem.clone() },
            Action::NotDone(problem) => Done::NotDone { problem: problem.clone() },
            Action::InDoubt(problem) => Done::InDoubt { problem: problem.clone() },
            // Alerted, and what a later version may add.
            _ => Done::Alerted,
        }
    }
}

impl From<&Finding> for Notification {
    fn from(finding: &Finding) -> Notification {
        let done = Done::from(&finding.action);
        Notification {
            id: id(finding, &done),
            time: finding.breach.at(),
            model: finding.model.clone(),
            rule: finding.rule.clone(),
            done,
            breach: finding.breach.clone(),
            untold: finding.untold.clone(),
        }
    }
}

/// Made of what was found and done, and not drawn: who was told before makes no difference.
fn id(finding: &Finding, done: &Done) -> String {
    const DIGITS: usize = 32;
    let identity = (&finding.model, &finding.rule, done, &finding.breach);
    let digest = Digest::of(&serde_json::to_vec(&identity).unwrap_or_default()).to_string();
    let digits = digest.rsplit(':').next().unwrap_or_default();
    format!("finding-{}", digits.get(..DIGITS).unwrap_or(digits))
}

impl Notification {
    pub(crate) fn json(&self) -> String {
        // Texts and finite numbers in maps with keys of text always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A sentence for people, on one line.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.breach.watched.version;
        let done = match &self.done {
            Done::Alerted => format!("{version} is still there"),
            Done::RolledBack { to } => format!("rolled back from {version} to {to}"),
            Done::AlreadyGone => format!("{version} was taken out already"),
            Done::Refused { problem } | Done::NotDone { problem } => {
                format!("{version} could not be rolled back: {problem}")
            }
            Done::InDoubt { problem } => format!("{version} may have been rolled back or not: {problem}"),
        };
        let text = format!("{}: rule {}: {}; {done}", self.model, self.rule, self.breach.reason);
        f.write_str(&text.replace(char::is_control, " "))
    }
}
