//! Why this exists: the rules of approval, after the best concrete precedent (review of deployments
//! to protected environments): the quorum counts different people, neither registrant nor requester;
//! one objection blocks until it is withdrawn; a request lapses after its time; and an approval holds
//! for exactly the content, the target and the rule it was given for.

use std::sync::Arc;

use crate::event::{ClosedCause, Decision, Event, RefusedCause, StageCause};
use crate::name::Text;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::{ApprovalRequest, VersionState};
use crate::stream::Revision;
use crate::version::Version;

use super::{Halt, Rules};

impl<'a> Rules<'a> {
    /// The one open request for a version.
    fn open_request(
        &self,
        version: &Version,
        to: Option<Stage>,
    ) -> Result<(Revision, &'a Arc<ApprovalRequest>), Rejection> {
        self.version(version)?;
        let mut waiting = self.state.requests.iter().filter(|(_, request)| {
            request.promotion.version == *version && to.is_none_or(|to| request.promotion.to == to)
        });
        let Some((revision, request)) = waiting.next() else {
            return Err(Rejection::NoOpenRequest { version: version.clone() });
        };
        let others: Vec<Stage> = waiting.map(|(_, other)| other.promotion.to).collect();
        if !others.is_empty() {
            let mut waiting = vec![request.promotion.to];
            waiting.extend(others);
            return Err(Rejection::AmbiguousRequest { version: version.clone(), waiting });
        }
        Ok((*revision, request))
    }

    /// Whether the rule, the content or the place that the request was made for is another now.
    pub(super) fn is_void(&self, request: &ApprovalRequest, state: &VersionState) -> bool {
        let promotion = &request.promotion;
        let same_rule = match self.policy.stage(promotion.to).approval {
            Some(rule) => rule == promotion.rule,
            None => promotion.by_choice,
        };
        !same_rule || state.digest != promotion.digest || state.stage != promotion.from
    }

    /// Whether the request still means what it meant. Nobody may decide on one that does not: it
    /// would have no effect, and whoever objected would believe that it has.
    fn check_alive(&self, request: &ApprovalRequest, state: &VersionState) -> Result<(), Rejection> {
        let promotion = &request.promotion;
        if let Some(expired_at) = promotion.expires_at
            && request.is_expired(self.context.now)
        {
            return Err(Rejection::RequestExpired { version: promotion.version.clone(), expired_at });
        }
        if self.is_void(request, state) {
            return Err(Rejection::RequestVoid { version: promotion.version.clone(), to: promotion.to });
        }
        Ok(())
    }

    /// Whether the promotion may still be done.
    fn check_valid(&self, request: &ApprovalRequest, state: &VersionState) -> Result<(), Rejection> {
        self.check_alive(request, state)?;
        self.check_transition(&state.version, state.stage, request.promotion.to)?;
        self.check_promotable(state, request.promotion.to)
    }

    /// Whether the actor is among those who may decide on the request.
    fn check_approver(&self, request: &ApprovalRequest) -> Result<(), RefusedCause> {
        let approvers = &request.promotion.rule.approvers;
        if approvers.is_empty() || approvers.contains(self.context.actor) {
            return Ok(());
        }
        Err(RefusedCause::NotAnApprover { approvers: approvers.clone() })
    }

    /// Whether the actor may also say yes: the duties of asking and of approving are segregated.
    fn check_may_approve(&self, request: &ApprovalRequest, state: &VersionState) -> Result<(), RefusedCause> {
        self.check_approver(request)?;
        let (actor, rule) = (self.context.actor, &request.promotion.rule);
        if !rule.registrant_may_approve && state.registered.actor == *actor {
            return Err(RefusedCause::Registrant);
        }
        if !rule.requester_may_approve && request.requested.actor == *actor {
            return Err(RefusedCause::Requester);
        }
        Ok(())
    }

    pub(super) fn approve(
        &self,
        version: &Version,
        to: Option<Stage>,
        meaning: &Option<Text>,
        comment: &Option<Text>,
    ) -> Result<Vec<Event>, Halt> {
        let (revision, request) = self.open_request(version, to)?;
        let state = self.version(version)?;
        self.check_valid(request, state)?;
        let actor = self.context.actor;
        if let Err(cause) = self.check_may_approve(request, state) {
            return Err(Halt::RejectedOnRecord {
                rejection: cause.rejection(actor),
                events: vec![Event::ApprovalRefused { request: revision, cause }],
            });
        }
        if request.approvals().any(|approval| approval.actor == *actor) {
            // Said already. It completes what something else held up when it was said.
            return Ok(self.completed(revision, request, state, request.decisions.clone())?);
        }
        let mut decisions: Vec<Decision> =
            request.decisions.iter().filter(|decision| decision.actor != *actor).cloned().collect();
        decisions.push(Decision {
            actor: actor.clone(),
            approved: true,
            at: self.context.now,
            meaning: meaning.clone(),
            comment: comment.clone(),
        });
        let mut events = vec![Event::PromotionApproved {
            request: revision,
            meaning: meaning.clone(),
            comment: comment.clone(),
        }];
        events.extend(self.completed(revision, request, state, decisions)?);
        Ok(events)
    }

    pub(super) fn reject(
        &self,
        version: &Version,
        to: Option<Stage>,
        comment: &Option<Text>,
    ) -> Result<Vec<Event>, Rejection> {
        let (revision, request) = self.open_request(version, to)?;
        self.check_alive(request, self.version(version)?)?;
        let actor = self.context.actor;
        self.check_approver(request).map_err(|cause| cause.rejection(actor))?;
        if request.objections().any(|objection| objection.actor == *actor) {
            return Ok(Vec::new());
        }
        Ok(vec![Event::PromotionRejected { request: revision, comment: comment.clone() }])
    }

    pub(super) fn withdraw(&self, version: &Version, to: Option<Stage>) -> Result<Vec<Event>, Rejection> {
        let (revision, request) = self.open_request(version, to)?;
        let actor = self.context.actor;
        if let Some(own) = request.decisions.iter().find(|decision| decision.actor == *actor) {
            let mut events = vec![Event::DecisionWithdrawn { request: revision }];
            let state = self.version(version)?;
            // An objection taken back may have been all that stood in the way.
            if !own.approved && self.check_valid(request, state).is_ok() {
                let others = request.decisions.iter().filter(|decision| decision.actor != *actor).cloned();
                // Gates that are closed now hold it up; the objection is taken back all the same.
                events.extend(self.completed(revision, request, state, others.collect()).unwrap_or_default());
            }
            return Ok(events);
        }
        if request.requested.actor == *actor {
            return Ok(vec![Event::PromotionClosed { request: revision, cause: ClosedCause::Withdrawn }]);
        }
        Err(Rejection::NothingToWithdraw { actor: actor.clone(), version: version.clone() })
    }

    /// The promotion itself, if these decisions suffice. The gates are looked at once more: what was in production,
    /// and what is demanded, may be something else than when it was asked for.
    fn completed(
        &self,
        revision: Revision,
        request: &ApprovalRequest,
        state: &VersionState,
        decisions: Vec<Decision>,
    ) -> Result<Vec<Event>, Rejection> {
        let quorum = request.promotion.rule.quorum.get();
        let approved = decisions.iter().filter(|decision| decision.approved).count();
        let blocked = decisions.iter().any(|decision| !decision.approved);
        if blocked || u32::try_from(approved).is_ok_and(|approved| approved < quorum) {
            return Ok(Vec::new());
        }
        let to = request.promotion.to;
        let gates = self.pass_gates(state.into(), to)?;
        let cause = StageCause::Promotion { request: Some(revision), approvals: decisions };
        Ok(self.moves(&state.version, &state.content, (state.stage, to), cause, gates))
    }
}
