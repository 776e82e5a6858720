//! Why this exists: those who check a change ask the same questions of each: was it asked for, was it approved before, by
//! somebody else, was it tested, is what runs what was approved, could it be taken back, and is the record of all that
//! untouched. Here each question has one answer for each deployment, and the grounds for it.
//!
//! An answer is never better than the record: what no rule demanded and nobody did is not "passed".

use registry_core::event::{Decision, RollbackSafety};
use registry_core::state::Stamp;
use registry_core::{Actor, ApprovalRule, Digest, GateResult, Revision, Version};

use crate::report::counted;
use crate::rows::{Cause, CheckResult, Checked, Checkpoint, Request, TrialOutcome, TrialRun};

/// On whose request something was deployed.
pub(crate) enum Asked<'a> {
    /// The record names no request.
    Nobody,
    /// This one.
    By(&'a Request),
    /// The record names it, and the commit that made it cannot be read.
    Unreadable(Revision),
}

/// A deployment, and what is on record about it.
pub(crate) struct Deployed<'a> {
    pub(crate) deployment: Revision,
    pub(crate) version: &'a Version,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) since: &'a Stamp,
    pub(crate) cause: Cause,
    pub(crate) request: Asked<'a>,
    /// Who had to approve, if anybody had to.
    pub(crate) rule: Option<&'a ApprovalRule>,
    pub(crate) approvals: &'a [Decision],
    /// None if the commit that registered the version cannot be read.
    pub(crate) registrant: Option<&'a Actor>,
    pub(crate) gates: &'a [GateResult],
    /// Those in which the version was tried.
    pub(crate) trials: Vec<&'a TrialRun>,
    pub(crate) approval_overridden: bool,
    pub(crate) gates_overridden: bool,
    pub(crate) safety: Option<&'a RollbackSafety>,
    /// The signature among its files.
    pub(crate) signed: Option<&'a str>,
    /// How many commits were checked, or what is wrong.
    pub(crate) sound: Result<u64, String>,
}

type Answer = (CheckResult, String);

fn answer(result: CheckResult, evidence: impl Into<String>) -> Answer {
    (result, evidence.into())
}

/// What is said where the commit that made the request cannot be read.
fn unreadable(request: Revision) -> Answer {
    answer(CheckResult::Unknown, format!("request {request} cannot be read"))
}

/// What is said where the commit that registered the version cannot be read.
fn unregistered() -> Answer {
    answer(CheckResult::Unknown, "the commit that registered it cannot be read")
}

fn names<'a>(people: impl IntoIterator<Item = &'a Actor>) -> String {
    people.into_iter().map(Actor::as_str).collect::<Vec<_>>().join(", ")
}

/// One row for each checkpoint.
pub(crate) fn checked(of: &Deployed<'_>) -> Vec<Checked> {
    [
        (Checkpoint::Request, of.was_asked_for()),
        (Checkpoint::ApprovalBefore, of.was_approved_before()),
        (Checkpoint::TestEvidence, of.was_tested()),
        (Checkpoint::SegregationOfDuties, of.was_approved_by_others()),
        (Checkpoint::TiedToDigest, of.is_what_was_approved()),
        (Checkpoint::BackoutPlan, of.could_be_taken_back()),
        (Checkpoint::Signature, of.is_signed()),
        (Checkpoint::SoundRecord, of.is_on_a_sound_record()),
    ]
    .into_iter()
    .map(|(checkpoint, (result, evidence))| Checked {
        deployment: of.deployment,
        version: of.version.clone(),
        checkpoint,
        result,
        evidence,
    })
    .collect()
}

impl Deployed<'_> {
    /// What is said where there is no request: why there is none.
    fn without_request(&self) -> Answer {
        match self.cause {
            _ if self.approval_overridden => answer(CheckResult::Failed, "bypassed in an emergency"),
            Cause::Foreign => answer(CheckResult::Failed, "changed past the registry"),
            Cause::Rollback => answer(CheckResult::NotDemanded, "a rollback needs no approval"),
            Cause::Promotion if self.rule.is_none() => {
                answer(CheckResult::NotDemanded, "no rule demanded approval")
            }
            _ => answer(CheckResult::Failed, "approval was demanded, and there is no request on record"),
        }
    }

    fn was_asked_for(&self) -> Answer {
        match self.request {
            Asked::By(Request { request, by, at, .. }) => {
                answer(CheckResult::Passed, format!("request {request} by {by} at {at}"))
            }
            Asked::Unreadable(request) => unreadable(request),
            Asked::Nobody => self.without_request(),
        }
    }

    fn was_approved_before(&self) -> Answer {
        if self.approvals.is_empty() {
            return self.without_request();
        }
        let last = self.approvals.iter().map(|approval| approval.at).max();
        let in_time = last.is_none_or(|last| last <= self.since.at);
        let quorum = self.rule.map_or(1, |rule| rule.quorum.get());
        let enough = u32::try_from(self.approvals.len()).is_ok_and(|approvals| quorum <= approvals);
        let people = names(self.approvals.iter().map(|approval| &approval.actor));
        let result = if in_time && enough { CheckResult::Passed } else { CheckResult::Failed };
        answer(result, format!("{} of {quorum}: {people}", self.approvals.len()))
    }

    fn was_tested(&self) -> Answer {
        if !self.gates.is_empty() {
            let passed = self.gates.iter().filter(|found| found.passed).count();
            let result = if passed == self.gates.len() { CheckResult::Passed } else { CheckResult::Failed };
            let bypassed = if self.gates_overridden { ", bypassed in an emergency" } else { "" };
            return answer(result, format!("{passed} of {} gates passed{bypassed}", self.gates.len()));
        }
        let tried = self.trials.iter().rev().find(|trial| {
            trial.outcome == TrialOutcome::Favourable && trial.ended_at.is_some_and(|at| at <= self.since.at)
        });
        match (tried, self.cause) {
            (Some(trial), _) => answer(CheckResult::Passed, format!("favourable trial {}", trial.trial)),
            (None, Cause::Foreign) => answer(CheckResult::Failed, "changed past the registry"),
            (None, Cause::Rollback) => answer(CheckResult::NotDemanded, "a rollback passes no gate"),
            (None, _) => answer(CheckResult::NotDemanded, "no gate was demanded"),
        }
    }

    fn was_approved_by_others(&self) -> Answer {
        if self.approvals.is_empty() {
            return self.without_request();
        }
        let requester = match &self.request {
            Asked::By(request) => Some(&request.by),
            Asked::Nobody | Asked::Unreadable(_) => None,
        };
        let own = self.approvals.iter().map(|approval| &approval.actor);
        let own: Vec<&Actor> =
            own.filter(|actor| Some(*actor) == self.registrant || Some(*actor) == requester).collect();
        if !own.is_empty() {
            return answer(CheckResult::Failed, format!("{} registered it or asked for it", names(own)));
        }
        // That nobody approved their own is shown only if it is known whose it is.
        match (self.registrant, &self.request) {
            (None, _) => unregistered(),
            (Some(_), Asked::Unreadable(request)) => unreadable(*request),
            (Some(_), Asked::Nobody) => self.without_request(),
            (Some(_), Asked::By(_)) => {
                let people = names(self.approvals.iter().map(|approval| &approval.actor));
                answer(CheckResult::Passed, format!("{people} neither registered it nor asked for it"))
            }
        }
    }

    fn is_what_was_approved(&self) -> Answer {
        let request = match self.request {
            Asked::By(request) => request,
            Asked::Unreadable(request) => return unreadable(request),
            Asked::Nobody => return self.without_request(),
        };
        match self.digest {
            None => unregistered(),
            Some(digest) if request.digest == *digest => {
                answer(CheckResult::Passed, format!("approved and deployed as {digest}"))
            }
            Some(digest) => {
                answer(CheckResult::Failed, format!("approved as {}, deployed as {digest}", request.digest))
            }
        }
    }

    fn could_be_taken_back(&self) -> Answer {
        match self.safety {
            Some(RollbackSafety { to, safe: Some(true), .. }) => {
                answer(CheckResult::Passed, format!("back to {to}, safe for clients"))
            }
            Some(RollbackSafety { to, safe: Some(false), findings }) => {
                let many = counted(findings.len() as u64, "finding", "findings");
                answer(CheckResult::Failed, format!("back to {to}, which breaks clients ({many})"))
            }
            Some(RollbackSafety { to, .. }) => answer(
                CheckResult::Unknown,
                format!("back to {to}; a signature of inputs and outputs is missing"),
            ),
            None if self.cause == Cause::Promotion => {
                answer(CheckResult::NotDemanded, "nothing was in production to go back to")
            }
            None => answer(CheckResult::Unknown, "not on record for this kind of move"),
        }
    }

    fn is_signed(&self) -> Answer {
        match self.signed {
            Some(file) => {
                answer(CheckResult::Passed, format!("{file} is among the files; its key is not checked here"))
            }
            None => answer(CheckResult::Failed, "no file `*.sig` among the files"),
        }
    }

    fn is_on_a_sound_record(&self) -> Answer {
        match &self.sound {
            Ok(commits) => answer(CheckResult::Passed, format!("{commits} commits checked link by link")),
            Err(problem) => answer(CheckResult::Failed, problem.clone()),
        }
    }
}
