//! Why this exists: the rules of moving from stage to stage: the table of moves, what bars a version,
//! approval, gates, and the one invariant that matters most: production holds at most one version, because
//! the version that leaves and the one that enters do so in the same commit.

use crate::content::Content;
use crate::event::{ClosedCause, Event, PromotionRequested, RollbackSafety, StageCause, StageChanged};
use crate::gate::GateResult;
use crate::policy::ApprovalRule;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::VersionState;
use crate::time::Timestamp;
use crate::version::Version;

use super::Rules;
use super::registration::going_back;

/// What bars a version from being used in earnest, here and in other registries.
pub(crate) fn check_usable(state: &VersionState, now: Timestamp) -> Result<(), Rejection> {
    let version = state.version.clone();
    if state.deleted.is_some() {
        return Err(Rejection::IsDeleted { version });
    }
    if let Some(since) = &state.quarantined {
        return Err(Rejection::IsQuarantined { version, since: since.at });
    }
    match state.deprecated.as_ref().and_then(|deprecation| deprecation.end_of_life) {
        Some(end_of_life) if end_of_life < now => Err(Rejection::PastEndOfLife { version, end_of_life }),
        _ => Ok(()),
    }
}

impl Rules<'_> {
    pub(super) fn promote(
        &self,
        version: &Version,
        from: Option<Stage>,
        to: Stage,
        require_approval: bool,
        emergency: bool,
    ) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        if let Some(expected) = from
            && state.stage != expected
        {
            return Err(Rejection::WrongStage { version: version.clone(), expected, actual: state.stage });
        }
        if state.stage == to {
            return Ok(Vec::new());
        }
        self.check_transition(version, state.stage, to)?;
        self.check_promotable(state, to)?;

        let demanded = self.policy.stage(to).approval;
        let by_choice = demanded.is_none();
        let demanded = demanded.or_else(|| require_approval.then(ApprovalRule::default));
        if emergency {
            return self.promote_in_emergency(state, to, demanded);
        }
        let Some(rule) = demanded else {
            let gates = self.pass_gates(state.as_ref().into(), to)?;
            return Ok(self.plain_moves(state, to, gates));
        };
        // Before anybody is bothered with approving it.
        self.pass_gates(state.as_ref().into(), to)?;
        self.request_approval(state, to, rule, by_choice)
    }

    fn plain_moves(&self, state: &VersionState, to: Stage, gates: Vec<GateResult>) -> Vec<Event> {
        let cause = StageCause::Promotion { request: None, approvals: Vec::new() };
        self.moves(&state.version, &state.content, (state.stage, to), cause, gates)
    }

    /// The move, past approval and gates. What it passes by is on record, as what it is.
    fn promote_in_emergency(
        &self,
        state: &VersionState,
        to: Stage,
        demanded: Option<ApprovalRule>,
    ) -> Result<Vec<Event>, Rejection> {
        let version = || state.version.clone();
        let gates = self.look_at_gates(state.into(), to);
        let failed: Vec<GateResult> = gates.iter().filter(|result| !result.passed).cloned().collect();
        let mut events = Vec::new();
        if let Some(rule) = demanded {
            self.context.require_reason("bypass an approval")?;
            events.push(Event::ApprovalOverridden { version: version(), to, rule });
        }
        if !failed.is_empty() {
            self.context.require_reason("bypass a gate")?;
            events.push(Event::GatesOverridden { version: version(), to, failed });
        }
        events.extend(self.plain_moves(state, to, gates));
        Ok(events)
    }

    fn request_approval(
        &self,
        state: &VersionState,
        to: Stage,
        rule: ApprovalRule,
        by_choice: bool,
    ) -> Result<Vec<Event>, Rejection> {
        let now = self.context.now;
        let mut events = Vec::new();
        for (revision, request) in &self.state.requests {
            if request.promotion.version != state.version || request.promotion.to != to {
                continue;
            }
            let cause = if request.is_expired(now) {
                ClosedCause::Expired
            } else if self.is_void(request, state) {
                ClosedCause::Void
            } else {
                return Ok(Vec::new()); // It waits already.
            };
            events.push(Event::PromotionClosed { request: *revision, cause });
        }
        events.push(Event::PromotionRequested(Box::new(PromotionRequested {
            version: state.version.clone(),
            digest: state.digest,
            from: state.stage,
            to,
            expires_at: rule.expires_after().map(|wait| now.saturating_add(wait)),
            rule,
            by_choice,
        })));
        Ok(events)
    }

    pub(super) fn check_transition(
        &self,
        version: &Version,
        from: Stage,
        to: Stage,
    ) -> Result<(), Rejection> {
        let table = self.policy.transitions();
        if from == to || table.allows(from, to) {
            return Ok(());
        }
        Err(Rejection::TransitionNotAllowed {
            version: version.clone(),
            from,
            to,
            allowed: table.targets(from).collect(),
        })
    }

    /// What bars a version from a stage whatever the table says.
    pub(super) fn check_promotable(&self, state: &VersionState, to: Stage) -> Result<(), Rejection> {
        if !matches!(to, Stage::Staging | Stage::Production) {
            return Ok(());
        }
        check_usable(state, self.context.now)
    }

    /// The events of a move, with all that follows from it.
    pub(super) fn moves(
        &self,
        version: &Version,
        content: &Content,
        (from, to): (Stage, Stage),
        cause: StageCause,
        gates: Vec<GateResult>,
    ) -> Vec<Event> {
        let completed = match &cause {
            StageCause::Promotion { request, .. } => *request,
            _ => None,
        };
        let mut events = Vec::new();
        let mut rollback_safety = None;
        if to == Stage::Production
            && let Some(present) =
                self.state.production.as_ref().and_then(|present| self.state.version(present))
        {
            let (findings, safe) = going_back(content, &present.content);
            rollback_safety = Some(RollbackSafety { to: present.version.clone(), safe, findings });
            events.extend(self.void_requests(&present.version, None));
            events.extend(self.displaced_trials(&[version, &present.version]));
            events.push(Event::StageChanged(Box::new(StageChanged {
                version: present.version.clone(),
                from: Stage::Production,
                to: Stage::Archived,
                cause: StageCause::Superseded { by: version.clone() },
                rollback_safety: None,
                gates: Vec::new(),
            })));
        } else {
            events.extend(self.displaced_trials(&[version]));
        }
        events.extend(self.void_requests(version, completed));
        events.push(Event::StageChanged(Box::new(StageChanged {
            version: version.clone(),
            from,
            to,
            cause,
            rollback_safety,
            gates,
        })));
        events
    }

    /// Closes what waits for a version that moves: it was asked for from another stage.
    pub(super) fn void_requests(
        &self,
        version: &Version,
        but: Option<crate::stream::Revision>,
    ) -> impl Iterator<Item = Event> + '_ {
        let version = version.clone();
        self.state
            .requests
            .iter()
            .filter(move |(revision, request)| {
                request.promotion.version == version && Some(**revision) != but
            })
            .map(|(revision, _)| Event::PromotionClosed { request: *revision, cause: ClosedCause::Void })
    }
}
