//! Why this exists: the commands that move a version: promote, archive, rollback, and the lifting of the
//! quarantine that a rollback leaves behind.

use clap::Args;
use registry_core::event::RollbackSafety;
use registry_core::{
    GateResult, ModelName, PromoteOptions, Promotion, Registry, RegistryExt as _, Revision, Stage, Timestamp,
    Version,
};
use serde::Serialize;

use crate::cli::Writing;
use crate::commands::{Session, tell, tell_people, tell_program};
use crate::failure::Failure;
use crate::output::Paint;
use crate::view::{RequestView, approve_with};
use crate::words;

/// `registry promote fraud-detection v3.1.0 --to production`
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    /// The stage it shall enter: development (dev), staging, production (prod) or archived
    #[arg(long, value_name = "STAGE")]
    to: Stage,
    /// The stage it must be in
    #[arg(long, value_name = "STAGE")]
    from: Option<Stage>,
    /// Ask for approval even where no rule demands it
    #[arg(long, conflicts_with = "emergency")]
    require_approval: bool,
    /// Bypass a demanded approval, and gates; needs a reason, and is on record as what it is
    #[arg(long)]
    emergency: bool,
    #[command(flatten)]
    writing: Writing,
}

impl Promote {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let options = PromoteOptions {
            from: self.from,
            require_approval: self.require_approval,
            emergency: self.emergency,
        };
        let promotion = registry.promote(&by, &self.model, &self.version, self.to, options).await?;
        tell_promotion(session, registry.as_ref(), &self.model, &self.version, &promotion).await
    }
}

/// `registry archive fraud-detection v2.5.0`
#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

impl Archive {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let promotion = registry.archive(&by, &self.model, &self.version).await?;
        tell_promotion(session, registry.as_ref(), &self.model, &self.version, &promotion).await
    }
}

/// What `promote`, `approve` and `archive` add to their answer.
#[derive(Debug, Serialize)]
struct PromotionMore<'a> {
    version: &'a Version,
    /// Whether it waits for approval.
    pending: bool,
    superseded: Option<&'a Version>,
    rollback_safety: Option<&'a RollbackSafety>,
    /// What the gates of the stage found.
    gates: &'a [GateResult],
    /// The request that waits.
    request: Option<Revision>,
    approvals_missing: Option<u32>,
    expires_at: Option<Timestamp>,
    approve_with: Option<String>,
}

/// Tells whether a version is in its stage now, or who must agree before it is.
pub(crate) async fn tell_promotion(
    session: &mut Session,
    registry: &dyn Registry,
    model: &ModelName,
    version: &Version,
    promotion: &Promotion,
) -> Result<(), Failure> {
    let receipt = promotion.receipt();
    match promotion {
        Promotion::Done { rollback_safety, superseded, gates, .. } => {
            if session.out.json {
                let more = PromotionMore {
                    version,
                    pending: false,
                    superseded: superseded.as_ref(),
                    rollback_safety: rollback_safety.as_ref(),
                    gates,
                    request: None,
                    approvals_missing: None,
                    expires_at: None,
                    approve_with: None,
                };
                return tell_program(session, model, receipt, more);
            }
            tell_people(session, registry, Some(model), receipt).await?;
            let paint = session.out.paint();
            for line in gates.iter().map(|result| gate_line(result, paint)) {
                session.out.line(format!("  {line}"))?;
            }
            match rollback_safety {
                Some(safety) => session.out.line(format!("  {}", safety_line(safety, paint))),
                None => Ok(()),
            }
        }
        Promotion::Pending { request, approvals_missing, expires_at, .. } => {
            let open = receipt.state.requests.get(request);
            let to = open.map(|open| open.promotion.to).or_else(|| requested_stage(promotion));
            let command = to.map(|to| approve_with(model, version, to));
            if session.out.json {
                let more = PromotionMore {
                    version,
                    pending: true,
                    superseded: None,
                    rollback_safety: None,
                    gates: &[],
                    request: Some(*request),
                    approvals_missing: Some(*approvals_missing),
                    expires_at: *expires_at,
                    approve_with: command,
                };
                return tell_program(session, model, receipt, more);
            }
            tell_people(session, registry, Some(model), receipt).await?;
            let now = registry.clock().now();
            let paint = session.out.paint();
            match open {
                Some(open) => {
                    let view = RequestView::new(model, &receipt.state, *request, open, now);
                    for line in request_lines(&view, paint) {
                        session.out.line(format!("  {line}"))?;
                    }
                    Ok(())
                }
                None => Ok(()),
            }
        }
    }
}

/// Whether a gate was passed, and on what numbers.
fn gate_line(result: &GateResult, paint: Paint) -> String {
    let word = if result.passed { paint.good("passed") } else { paint.bad("not passed") };
    format!("{word}: {}", crate::output::one_line(&result.to_string()))
}

fn requested_stage(promotion: &Promotion) -> Option<Stage> {
    promotion.receipt().events().iter().find_map(|event| match event {
        registry_core::Event::PromotionRequested(promotion) => Some(promotion.to),
        _ => None,
    })
}

/// Who must still agree, until when, and what to type.
pub(crate) fn request_lines(view: &RequestView, paint: Paint) -> Vec<String> {
    let missing = words::count(u64::from(view.approvals_missing), "approval", "approvals");
    let mut lines = Vec::new();
    let waits = format!("{} waits for {missing} to enter {}", view.version, view.to);
    lines.push(paint.warning(&waits));
    for decision in &view.decisions {
        let verb = if decision.approved { "approved by" } else { "objected to by" };
        let comment =
            decision.comment.as_ref().map(|text| format!(": {}", crate::output::one_line(text.as_str())));
        lines.push(format!("{verb} {}{}", decision.actor, comment.unwrap_or_default()));
    }
    if view.decisions.iter().any(|decision| !decision.approved) {
        lines.push("the objection must be withdrawn before it can go on".to_owned());
    }
    let excluded = match (view.rule.registrant_may_approve, view.rule.requester_may_approve) {
        (true, true) => "",
        (false, true) => ", but not whoever registered it",
        (true, false) => ", but not whoever asked for it",
        (false, false) => ", but not whoever registered it or asked for it",
    };
    lines.push(if view.rule.approvers.is_empty() {
        format!("anyone may approve{excluded}")
    } else if view.may_approve.is_empty() {
        "nobody is left who may approve; change the rule or withdraw the request".to_owned()
    } else {
        format!(
            "may approve: {}",
            view.may_approve.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        )
    });
    match view.expires_at {
        Some(end) if view.is_expired => lines.push(format!("expired at {}; promote again", words::time(end))),
        Some(end) => lines.push(format!("expires at {}", words::time(end))),
        None => {}
    }
    lines.push(format!("approve with: {}", paint.bold(&view.approve_with)));
    lines
}

/// Whether going back would break clients.
pub(crate) fn safety_line(safety: &RollbackSafety, paint: Paint) -> String {
    match safety.safe {
        Some(true) => paint.good(&format!("rollback to {} is safe", safety.to)),
        Some(false) => paint.warning(&format!(
            "rollback to {} would break clients: {}",
            safety.to,
            safety
                .findings
                .iter()
                .filter(|finding| finding.required == registry_core::Bump::Major)
                .map(|finding| format!("{} {}", finding.path, finding.id))
                .collect::<Vec<_>>()
                .join(", ")
        )),
        None => paint.dim(&format!(
            "whether a rollback to {} is safe is not known: a signature is missing",
            safety.to
        )),
    }
}

/// `registry rollback fraud-detection --to v3.0.0 -m "too many false positives"`
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The model
    model: ModelName,
    /// The version to go back to. Default: the last good one
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Go back although clients break; needs a reason
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, Serialize)]
struct RollbackMore<'a> {
    from: &'a Version,
    to: &'a Version,
    findings: &'a [registry_core::compat::Finding],
}

impl Rollback {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let done = registry.rollback(&by, &self.model, self.to.as_ref(), self.force).await?;
        if session.out.json {
            let more = RollbackMore { from: &done.from, to: &done.to, findings: &done.findings };
            return tell_program(session, &self.model, &done.receipt, more);
        }
        tell_people(session, registry.as_ref(), Some(&self.model), &done.receipt).await?;
        for finding in &done.findings {
            let (path, why) = (&finding.path, finding.explanation());
            session.out.line(format!("  clients meet: {path} {}. {why}", finding.id))?;
        }
        Ok(())
    }
}

/// `registry lift-quarantine fraud-detection v3.1.0 -m "the threshold was wrong, not the model"`
#[derive(Debug, Args)]
pub(crate) struct LiftQuarantine {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

impl LiftQuarantine {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.lift_quarantine(&by, &self.model, &self.version).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}
