//! Why this exists: "which rule held then, and who had set it?" A policy is a fold of its changes, and says what holds, not
//! since when. Here the changes are gone through once, and each rule keeps the stamp of whoever set it, at every instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry_core::policy::PolicyChange;
use registry_core::state::Stamp;
use registry_core::{Key, Policy, Stage, StageRule, Timestamp};

use crate::rows::{Area, PolicyChanged, RuleInForce, Source};

/// What a rule of a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A stage.
    Stage(Stage),
    /// The moves between stages.
    Moves,
    /// What must not happen in production, by name.
    Monitor(Key),
    /// What a newer version of this library may add.
    Other,
}

impl Subject {
    fn of(change: &PolicyChange) -> Subject {
        match change {
            PolicyChange::StageRule { stage, .. } => Subject::Stage(*stage),
            PolicyChange::Transitions { .. } => Subject::Moves,
            PolicyChange::MonitorRule { name, .. } => Subject::Monitor(name.clone()),
            _ => Subject::Other,
        }
    }

    fn words(&self) -> String {
        match self {
            Subject::Stage(stage) => stage.to_string(),
            Subject::Moves => "moves between stages".to_owned(),
            Subject::Monitor(name) => format!("rule {name}"),
            Subject::Other => "a policy".to_owned(),
        }
    }

    /// What a policy says of it.
    fn said_in(&self, policy: &Policy) -> Option<String> {
        match self {
            Subject::Stage(stage) => policy.stages.get(stage).map(ToString::to_string),
            Subject::Moves => policy.transitions.as_ref().map(ToString::to_string),
            Subject::Monitor(name) => policy.monitor.get(name).map(ToString::to_string),
            Subject::Other => None,
        }
    }
}

/// A policy at some time, and who set its rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) policy: Policy,
    set: BTreeMap<Subject, Stamp>,
}

/// The policy of one scope through time.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleBook {
    /// As of the last change.
    now: Arc<Standing>,
    /// From when on what stood.
    then: Vec<(Timestamp, Arc<Standing>)>,
    /// The changes, oldest first.
    pub(crate) changes: Vec<PolicyChanged>,
}

impl RuleBook {
    pub(crate) fn take(&mut self, change: &PolicyChange, stamp: &Stamp) {
        let subject = Subject::of(change);
        let standing = Arc::make_mut(&mut self.now);
        let before = subject.said_in(&standing.policy);
        standing.policy.change(change);
        let after = subject.said_in(&standing.policy);
        match &after {
            Some(_) => standing.set.insert(subject.clone(), stamp.clone()),
            None => standing.set.remove(&subject),
        };
        self.changes.push(PolicyChanged {
            at: stamp.at,
            revision: stamp.revision,
            by: stamp.actor.clone(),
            reason: stamp.reason.clone(),
            subject: subject.words(),
            before,
            after,
        });
        self.then.push((stamp.at, Arc::clone(&self.now)));
    }

    /// What stood at an instant.
    pub(crate) fn at(&self, instant: Timestamp) -> Arc<Standing> {
        let later = self.then.partition_point(|(at, _)| *at <= instant);
        let last = later.checked_sub(1).and_then(|last| self.then.get(last));
        last.map(|(_, standing)| Arc::clone(standing)).unwrap_or_default()
    }

    /// What stands after the last change.
    pub(crate) fn now(&self) -> &Arc<Standing> {
        &self.now
    }
}

/// The rule of a stage that held for a model, where it came from and who had set it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldRule {
    pub(crate) rule: Option<StageRule>,
    pub(crate) source: Option<Source>,
    pub(crate) set: Option<Stamp>,
}

/// The rule of a stage: the model's own if it has one, else that of all models.
pub(crate) fn held(model: &Standing, registry: &Standing, stage: Stage) -> HeldRule {
    for (standing, source) in [(model, Source::Model), (registry, Source::Registry)] {
        if let Some(rule) = standing.policy.stages.get(&stage) {
            let set = standing.set.get(&Subject::Stage(stage)).cloned();
            return HeldRule { rule: Some(rule.clone()), source: Some(source), set };
        }
    }
    HeldRule::default()
}

/// What holds in a scope: for a model its own rules over those of all models, for all models (`own` is none) theirs.
pub(crate) fn in_force(own: Option<&Standing>, registry: &Standing) -> Vec<RuleInForce> {
    let scopes: Vec<(&Standing, Source)> =
        own.map(|own| (own, Source::Model)).into_iter().chain([(registry, Source::Registry)]).collect();
    let row = |area, subject: String, rule: String, from: Option<(&Standing, Source, Subject)>| {
        let set = from.as_ref().and_then(|(standing, _, subject)| standing.set.get(subject));
        RuleInForce {
            area,
            subject,
            rule,
            source: from.as_ref().map_or(Source::Default, |(_, source, _)| *source),
            set_by: set.map(|set| set.actor.clone()),
            set_at: set.map(|set| set.at),
            reason: set.and_then(|set| set.reason.clone()),
        }
    };
    let mut rows = Vec::new();
    for stage in Stage::ALL {
        let found = scopes
            .iter()
            .find_map(|(standing, source)| Some((*standing, *source, standing.policy.stages.get(&stage)?)));
        let (from, approval, gates) = match found {
            Some((standing, source, rule)) => (
                Some((standing, source)),
                rule.approval.as_ref().map_or_else(|| "no approval".to_owned(), ToString::to_string),
                rule.gates.as_slice(),
            ),
            None => (None, "no approval".to_owned(), [].as_slice()),
        };
        let from = || from.map(|(standing, source)| (standing, source, Subject::Stage(stage)));
        rows.push(row(Area::Approval, stage.to_string(), approval, from()));
        for gate in gates {
            rows.push(row(Area::Gate, stage.to_string(), gate.to_string(), from()));
        }
    }
    let moves = scopes.iter().find_map(|(standing, source)| {
        Some((standing.policy.transitions.clone()?, (*standing, *source, Subject::Moves)))
    });
    let (table, from) = match moves {
        Some((table, from)) => (table, Some(from)),
        None => Default::default(),
    };
    rows.push(row(Area::Moves, Subject::Moves.words(), table.to_string(), from));
    let mut monitor: BTreeMap<&Key, (String, (&Standing, Source, Subject))> = BTreeMap::new();
    for (standing, source) in scopes.iter().rev() {
        for (name, rule) in &standing.policy.monitor {
            let from = (*standing, *source, Subject::Monitor(name.clone()));
            monitor.insert(name, (rule.to_string(), from));
        }
    }
    for (name, (rule, from)) in monitor {
        rows.push(row(Area::Monitor, name.to_string(), rule, Some(from)));
    }
    let numbering = "rises as far as the changes demand for callers; less only with a reason";
    rows.push(row(Area::Numbering, "version numbers".to_owned(), numbering.to_owned(), None));
    rows
}
