//! Why this exists: what a team demands before a version may enter a stage is data in the log, not
//! configuration beside it. So the record shows which rules held when a decision was made, and
//! every writer obeys the same ones.
//!
//! There are two scopes. The registry-wide policy lives in the stream `registry`; a model's own
//! policy lives in the model's stream and replaces, stage by stage, what the registry says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::gate::Gate;
use crate::monitor::Rule;
use crate::name::{Actor, Key};
use crate::stage::{Stage, Transitions};

/// Who must agree before a version enters a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Those who may approve. Empty: anyone who is not excluded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvers: BTreeSet<Actor>,
    /// How many different people must approve; at least one.
    #[serde(default = "one")]
    pub quorum: std::num::NonZeroU32,
    /// Whether the one who registered the version may approve it.
    #[serde(default)]
    pub registrant_may_approve: bool,
    /// Whether the one who asked for the promotion may approve it.
    #[serde(default)]
    pub requester_may_approve: bool,
    /// After how many seconds without completion a request expires. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<u64>,
}

fn one() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN
}

impl ApprovalRule {
    /// One of these people must approve, and not the one who registered or asked.
    pub fn one_of(approvers: impl IntoIterator<Item = Actor>) -> Self {
        ApprovalRule { approvers: approvers.into_iter().collect(), ..ApprovalRule::default() }
    }

    /// How long a request stays open.
    pub fn expires_after(&self) -> Option<Duration> {
        self.expires_after_seconds.map(Duration::from_secs)
    }

    /// The identity of the rule, to which approvals are bound.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

impl Default for ApprovalRule {
    /// Anyone but the registrant and the requester; one is enough; never expires.
    fn default() -> Self {
        ApprovalRule {
            approvers: BTreeSet::new(),
            quorum: one(),
            registrant_may_approve: false,
            requester_may_approve: false,
            expires_after_seconds: None,
        }
    }
}

/// What a stage demands of a version that wants to enter it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRule {
    /// Approval, if it is demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRule>,
    /// What the version must show. All that are set are looked at, and all that are not passed are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
}

/// `30 d`, `12 h`, `90 s`: the largest unit that goes into it.
fn lasting(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        days if days.is_multiple_of(86_400) => format!("{} d", days / 86_400),
        hours if hours.is_multiple_of(3_600) => format!("{} h", hours / 3_600),
        minutes if minutes.is_multiple_of(60) => format!("{} min", minutes / 60),
        other => format!("{other} s"),
    }
}

impl fmt::Display for ApprovalRule {
    /// `2 approvals by ada, bob; not by whoever registered it or asked for it; expires after 30 d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let approvals = if self.quorum == one() { "approval" } else { "approvals" };
        write!(f, "{} {approvals}", self.quorum)?;
        if self.approvers.is_empty() {
            f.write_str(" by anyone")?;
        }
        for (index, approver) in self.approvers.iter().enumerate() {
            write!(f, "{} {approver}", if index == 0 { " by" } else { "," })?;
        }
        f.write_str(match (self.registrant_may_approve, self.requester_may_approve) {
            (true, true) => "",
            (false, true) => "; not by whoever registered it",
            (true, false) => "; not by whoever asked for it",
            (false, false) => "; not by whoever registered it or asked for it",
        })?;
        match self.expires_after_seconds {
            Some(seconds) => write!(f, "; expires after {}", lasting(seconds)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StageRule {
    /// What the stage demands: the approval, then the gates.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.approval {
            Some(rule) => rule.fmt(f)?,
            None => f.write_str("no approval")?,
        }
        for (index, gate) in self.gates.iter().enumerate() {
            write!(f, "{}{gate}", if index == 0 { "; gates: " } else { "; " })?;
        }
        Ok(())
    }
}

/// The rules of one scope: the registry or a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The rules of each stage that has any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<Stage, StageRule>,
    /// The moves between stages, if they differ from the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Transitions>,
    /// What must not happen to the version in production, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub monitor: BTreeMap<Key, Rule>,
}

/// One change of a policy: the unit of a command, so that two people who change different rules at
/// the same time do not overwrite each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicyChange {
    /// Sets the rule of a stage, or with `None` removes it.
    StageRule {
        /// The stage.
        stage: Stage,
        /// Its new rule.
        rule: Option<StageRule>,
    },
    /// Sets the moves between stages, or with `None` goes back to the wider scope's.
    Transitions {
        /// The new table.
        table: Option<Transitions>,
    },
    /// Sets what must not happen to the version in production, or with `None` removes it.
    MonitorRule {
        /// The name of the rule.
        name: Key,
        /// What it says now.
        rule: Option<Box<Rule>>,
    },
}

impl Policy {
    /// Applies a change. Returns whether anything is different afterwards.
    pub fn change(&mut self, change: &PolicyChange) -> bool {
        let before = self.clone();
        match change {
            PolicyChange::StageRule { stage, rule: Some(rule) } => {
                self.stages.insert(*stage, rule.clone());
            }
            PolicyChange::StageRule { stage, rule: None } => {
                self.stages.remove(stage);
            }
            PolicyChange::Transitions { table } => self.transitions.clone_from(table),
            PolicyChange::MonitorRule { name, rule: Some(rule) } => {
                self.monitor.insert(name.clone(), (**rule).clone());
            }
            PolicyChange::MonitorRule { name, rule: None } => {
                self.monitor.remove(name);
            }
        }
        *self != before
    }
}

/// The policy that holds for a model: its own, over the registry's, over the defaults.
#[derive(Debug, Clone, Copy)]
pub struct Effective<'a> {
    /// The model's own rules.
    pub model: &'a Policy,
    /// The rules for all models.
    pub registry: &'a Policy,
}

impl<'a> Effective<'a> {
    /// The rule of a stage: the model's if it has one, else the registry's, else none.
    pub fn stage(&self, stage: Stage) -> StageRule {
        self.model
            .stages
            .get(&stage)
            .or_else(|| self.registry.stages.get(&stage))
            .cloned()
            .unwrap_or_default()
    }

    /// What must not happen to the version in production: the rules of the registry, and of the model over those of
    /// the same name.
    pub fn monitor(&self) -> BTreeMap<&'a Key, &'a Rule> {
        self.registry.monitor.iter().chain(&self.model.monitor).collect()
    }

    /// The moves between stages.
    pub fn transitions(&self) -> Transitions {
        self.model.transitions.clone().or_else(|| self.registry.transitions.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_a_sentence() {
        assert_eq!(
            ApprovalRule::default().to_string(),
            "1 approval by anyone; not by whoever registered it or asked for it"
        );
        let rule = ApprovalRule {
            quorum: 2.try_into().unwrap(),
            registrant_may_approve: true,
            requester_may_approve: true,
            expires_after_seconds: Some(5_400),
            ..ApprovalRule::one_of(["bob".parse().unwrap(), "ada".parse().unwrap()])
        };
        let gates = vec![Gate::Compatible {}, Gate::Size { bytes_at_most: 5 }];
        let rule = StageRule { approval: Some(rule), gates };
        assert_eq!(
            rule.to_string(),
            "2 approvals by ada, bob; expires after 90 min; gates: compatible; size at most 5 bytes"
        );
        assert_eq!(StageRule::default().to_string(), "no approval");
        assert_eq!([2_592_000, 0, 61].map(lasting), ["30 d", "0 s", "61 s"]);
    }

    #[test]
    fn a_models_rule_replaces_the_registrys_stage_by_stage() {
        let strict = StageRule { approval: Some(ApprovalRule::default()), ..StageRule::default() };
        let mut registry = Policy::default();
        assert!(
            registry
                .change(&PolicyChange::StageRule { stage: Stage::Production, rule: Some(strict.clone()) })
        );
        assert!(
            registry.change(&PolicyChange::StageRule { stage: Stage::Staging, rule: Some(strict.clone()) })
        );
        let mut model = Policy::default();
        model.change(&PolicyChange::StageRule { stage: Stage::Staging, rule: Some(StageRule::default()) });
        let both = Effective { model: &model, registry: &registry };
        assert_eq!(both.stage(Stage::Production), strict);
        assert_eq!(both.stage(Stage::Staging), StageRule::default());
        assert!(!registry.change(&PolicyChange::Transitions { table: None }), "nothing changed");
    }
}
