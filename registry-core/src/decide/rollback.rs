//! Why this exists: the rules of rollback. It must be one commit, must never put a version in
//! production that cannot serve, and must not surprise clients: going back from a version to an
//! older one is itself a question of compatibility, for clients that have adapted to the newer one.

use crate::event::{BrokenRule, Event, RollbackSafety, RolledBack, StageCause, StageChanged};
use crate::monitor::{Breach, Response};
use crate::name::Key;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::{ModelState, Stamp, VersionState};
use crate::version::Version;

use super::registration::going_back;
use super::{Halt, Rules};

/// Versions that were not taken, with why.
type PassedOver = Vec<(Version, String)>;

impl ModelState {
    /// Where a rollback would go that names no version, and whether clients of the present version would survive it;
    /// none if nothing is in production, or nothing that was there before can take its place. Whether the bytes still
    /// verify is found out when it is done.
    pub fn rollback_outlook(&self) -> Option<RollbackSafety> {
        let present = self.version(self.production.as_ref()?)?;
        let earlier = self.previous_in_production().filter_map(|version| self.version(version));
        let target = earlier.into_iter().find(|state| state.is_latest_candidate(true))?;
        let (findings, safe) = going_back(&present.content, &target.content);
        Some(RollbackSafety { to: target.version.clone(), safe, findings })
    }
}

impl<'a> Rules<'a> {
    /// For a rule that is broken, if the version that broke it is still where it was.
    pub(super) fn roll_back_broken(&self, name: &Key, breach: &Breach) -> Result<Vec<Event>, Halt> {
        let Breach { watched, rule, .. } = breach;
        let is_there = self.state.production.as_ref() == Some(&watched.version)
            && self.state.production_spans().next_back().is_some_and(|span| span.since.at == watched.since);
        if !is_there {
            return Ok(Vec::new()); // Another monitor was faster, or a person.
        }
        let rules = self.policy.monitor();
        if rules.get(name) != Some(&rule) || rule.response != Response::RollBack || rule.dry_run {
            return Err(Rejection::RuleChanged { rule: name.clone() }.into());
        }
        let actor = &self.context.actor;
        if let Some(limit) = rule.rollbacks_max {
            let period = u64::from(limit.period_seconds.get());
            let counts =
                |since: &Stamp| since.actor == **actor && self.context.now.since(since.at).as_secs() < period;
            let rollbacks = self.state.production_spans().filter(|span| counts(&span.since)).count();
            if u32::try_from(rollbacks).map_or(true, |rollbacks| limit.count <= rollbacks) {
                return Err(Rejection::TooManyRollbacks { rule: name.clone(), limit }.into());
            }
        }
        let broken = BrokenRule { name: name.clone(), breach: breach.clone() };
        self.go_back(None, rule.force, Some(Box::new(broken)))
    }

    pub(super) fn roll_back(&self, to: Option<&Version>, force: bool) -> Result<Vec<Event>, Halt> {
        self.go_back(to, force, None)
    }

    fn go_back(
        &self,
        to: Option<&Version>,
        force: bool,
        broken_rule: Option<Box<BrokenRule>>,
    ) -> Result<Vec<Event>, Halt> {
        let Some(present) = self.state.production.as_ref() else {
            return Err(Rejection::NothingInProduction.into());
        };
        let present = self.version(present)?;
        let (target, passed_over) = match to {
            Some(version) => (self.named_target(present, version)?, Vec::new()),
            None => self.previous_good()?,
        };
        let (findings, safe) = going_back(&present.content, &target.content);
        let breaks = safe == Some(false);
        if breaks && !force {
            return Err(Rejection::RollbackBreaksClients {
                from: present.version.clone(),
                to: target.version.clone(),
                findings,
            }
            .into());
        }
        if breaks {
            self.context.require_reason("force a rollback")?;
        }
        let stage_changed = |version: &Version, from, to, cause| {
            Event::StageChanged(Box::new(StageChanged {
                version: version.clone(),
                from,
                to,
                cause,
                rollback_safety: None,
                gates: Vec::new(),
            }))
        };
        let (from, to) = (&present.version, &target.version);
        let mut events = vec![Event::RolledBack(Box::new(RolledBack {
            from: from.clone(),
            to: to.clone(),
            findings,
            forced: breaks,
            passed_over,
            broken_rule,
        }))];
        events.extend(self.void_requests(from, None));
        events.extend(self.void_requests(to, None));
        events.extend(self.displaced_trials(&[from, to]));
        events.push(stage_changed(
            from,
            Stage::Production,
            Stage::Archived,
            StageCause::RolledBack { to: to.clone() },
        ));
        events.push(Event::Quarantined { version: from.clone() });
        events.push(stage_changed(
            to,
            target.stage,
            Stage::Production,
            StageCause::Rollback { from: from.clone() },
        ));
        Ok(events)
    }

    /// A target that the caller named: it must have served before and be able to serve again.
    fn named_target(&self, present: &VersionState, version: &Version) -> Result<&'a VersionState, Halt> {
        let target = self.version(version)?;
        let refused = |problem: &str| Rejection::NotARollbackTarget {
            version: version.clone(),
            problem: problem.into(),
        };
        if target.version == present.version {
            return Err(refused("it is in production").into());
        }
        if !self.state.production_spans().any(|span| span.version == *version) {
            return Err(refused("it never was in production; promote it instead").into());
        }
        self.check_promotable(target, Stage::Production)?;
        match self.context.evidence.bytes.get(version) {
            None => Err(Halt::NeedsBytes(version.clone())),
            Some(Ok(())) => Ok(target),
            Some(Err(problem)) => {
                Err(Rejection::BytesDamaged { version: version.clone(), problem: problem.clone() }.into())
            }
        }
    }

    /// The last version in production before the present one that is neither deprecated, nor
    /// quarantined, nor deleted, and whose bytes verify.
    fn previous_good(&self) -> Result<(&'a VersionState, PassedOver), Halt> {
        let mut passed_over = Vec::new();
        for version in self.state.previous_in_production() {
            let Some(state) = self.state.version(version) else { continue };
            let problem = if state.deleted.is_some() {
                "is deleted".to_owned()
            } else if state.quarantined.is_some() {
                "is quarantined".to_owned()
            } else if state.deprecated.is_some() {
                "is deprecated".to_owned()
            } else {
                match self.context.evidence.bytes.get(version) {
                    None => return Err(Halt::NeedsBytes(version.clone())),
                    Some(Ok(())) => return Ok((state.as_ref(), passed_over)),
                    Some(Err(problem)) => problem.clone(),
                }
            };
            passed_over.push((version.clone(), problem));
        }
        Err(Rejection::NoRollbackTarget { passed_over }.into())
    }

    pub(super) fn lift_quarantine(&self, version: &Version) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        if state.quarantined.is_none() {
            return Ok(Vec::new());
        }
        self.context.require_reason("lift a quarantine")?;
        Ok(vec![Event::QuarantineLifted { version: version.clone() }])
    }
}
