//! Why this exists: "which rules hold, where does each come from, and who set it?" is asked before an audit and after a
//! surprise. A policy says what holds in one scope; what holds for a model is that of all models with its own over it, and
//! what nobody set holds as well. This lays all of it out, each rule with its source.

use std::collections::BTreeMap;

use registry_core::state::Stamp;
use registry_core::{AliasName, Commit, Event, ModelName, Timestamp, Version};
use serde::Serialize;

use crate::fold::stamp;
use crate::row::Table;
use crate::rows::{Area, RuleInForce, Source};
use crate::rulebook::{RuleBook, in_force};

/// Which rules hold. See [`policies`](crate::policies()).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoliciesReport {
    /// When it was made.
    pub as_of: Timestamp,
    /// What holds for all models that say nothing else.
    pub registry: Vec<RuleInForce>,
    /// What holds for each model, in the order of the names.
    pub models: Vec<ModelPolicies>,
}

/// Which rules hold for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModelPolicies {
    /// The model.
    pub model: ModelName,
    /// Its own rules, those of all models where it has none, and what holds where nothing is said.
    pub rules: Vec<RuleInForce>,
}

impl PoliciesReport {
    /// The rules for all models as a table.
    pub fn table(&self) -> Table {
        Table::of(&self.registry)
    }
}

impl ModelPolicies {
    /// The rules as a table.
    pub fn table(&self) -> Table {
        Table::of(&self.rules)
    }
}

/// The rules of one scope, on their way into a report.
#[derive(Debug, Default)]
pub(crate) struct PolicyFold {
    rules: RuleBook,
    aliases: BTreeMap<AliasName, (Version, Stamp)>,
    pub(crate) has_commits: bool,
}

impl PolicyFold {
    pub(crate) fn take(&mut self, commit: &Commit) {
        self.has_commits = true;
        let stamp = stamp(commit);
        for event in &commit.events {
            match event {
                Event::Adopted(adopted) => {
                    let actor = adopted.by.as_ref().unwrap_or(&adopted.system).clone();
                    self.take_event(&adopted.change, &Stamp { actor, ..stamp.clone() });
                }
                event => self.take_event(event, &stamp),
            }
        }
    }

    fn take_event(&mut self, event: &Event, stamp: &Stamp) {
        match event {
            Event::PolicyChanged { change } => self.rules.take(change, stamp),
            Event::AliasSet { alias, version, .. } => {
                self.aliases.insert(alias.clone(), (version.clone(), stamp.clone()));
            }
            Event::AliasRemoved { alias, .. } => {
                self.aliases.remove(alias);
            }
            _ => {}
        }
    }

    /// What holds: in this scope, over that of all models if this is a model's.
    pub(crate) fn in_force(&self, registry: Option<&PolicyFold>) -> Vec<RuleInForce> {
        let mut rows = match registry {
            Some(registry) => in_force(Some(self.rules.now()), registry.rules.now()),
            None => in_force(None, self.rules.now()),
        };
        rows.extend(self.aliases.iter().map(|(alias, (version, stamp))| RuleInForce {
            area: Area::Alias,
            subject: alias.to_string(),
            rule: version.to_string(),
            source: Source::Model,
            set_by: Some(stamp.actor.clone()),
            set_at: Some(stamp.at),
            reason: stamp.reason.clone(),
        }));
        rows
    }
}
