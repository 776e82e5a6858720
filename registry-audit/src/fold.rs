//! Why this exists: an audit report is a fold of the log, like everything else, and like every fold it reads no clock and
//! asks nobody: the same commits give the same report. [`ModelFold`] takes the commits of a model one after the other, so
//! that a long history need not lie in memory, and at the end makes the tables of them.
//!
//! What counts, where a range is given: what **happened** is in the report if it happened in the range; what **lasts** (a
//! deployment, a request, a trial, a stated metric) if it lasted in a part of it; what **stands** (versions, rules) as it
//! stood at its end. Commits behind the end are counted, and change nothing.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::event::{ClosedCause, Decision, RefusedCause, RollbackSafety, StageCause, StageChanged};
use registry_core::lineage::{Graph, NodeName};
use registry_core::monitor::Summary;
use registry_core::state::Stamp;
use registry_core::trial::Verdict;
use registry_core::{
    Actor, Commit, Digest, Event, GateResult, ModelName, ModelState, ModelVersion, Problem, Recorded,
    Revision, Stage, Stream, Timestamp, Verification, Version, VersionState,
};

use crate::checkpoints::{Asked, Deployed, checked};
use crate::performance::{Observations, Statements};
use crate::range::AuditOptions;
use crate::report::{ModelReport, counted, tag};
use crate::rows::{
    Act, Approval, Cause, DataSource, Decided, Deleted, Deployment, Exception, ExceptionKind, Flaw,
    GateFound, Inventory, Overview, Population, Request, RequestOutcome, RolledBack, Source, TrialOutcome,
    TrialRun,
};
use crate::rulebook::{HeldRule, RuleBook, held};

/// Who made a commit, when and why.
pub(crate) fn stamp(commit: &Commit) -> Stamp {
    Stamp {
        revision: commit.revision,
        at: commit.time,
        actor: commit.actor.clone(),
        reason: commit.reason.clone(),
    }
}

/// What is counted of a log.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    row: Population,
    has_gap: bool,
}

impl Count {
    pub(crate) fn new(stream: Stream) -> Self {
        let row = Population {
            stream,
            first_revision: None,
            first_at: None,
            last_revision: None,
            last_at: None,
            commits: 0,
            gap_free: true,
            head: None,
            first_in_range: None,
            last_in_range: None,
            commits_in_range: 0,
            commits_after: 0,
            files: 0,
            is_sound: true,
        };
        Count { row, has_gap: false }
    }

    pub(crate) fn take(&mut self, recorded: &Recorded, options: &AuditOptions) {
        let (row, commit) = (&mut self.row, &recorded.commit);
        self.has_gap |= commit.revision != Revision::after(row.last_revision);
        row.first_revision.get_or_insert(commit.revision);
        row.first_at.get_or_insert(commit.time);
        row.last_revision = Some(commit.revision);
        row.last_at = Some(commit.time);
        row.head = Some(recorded.digest);
        row.commits = row.commits.saturating_add(1);
        if options.range.contains(commit.time) {
            row.first_in_range.get_or_insert(commit.revision);
            row.last_in_range = Some(commit.revision);
            row.commits_in_range = row.commits_in_range.saturating_add(1);
        }
        if options.range.to() <= commit.time {
            row.commits_after = row.commits_after.saturating_add(1);
        }
    }

    /// The row, and what is wrong with the log.
    pub(crate) fn finish(self, found: &Verification) -> (Population, Vec<Flaw>) {
        let Count { mut row, has_gap } = self;
        // A commit that cannot be read is one that is missing, the last one too.
        let is_damaged = found.problems.iter().any(|problem| {
            !matches!(problem, Problem::File { .. } | Problem::RunFile { .. } | Problem::Checkpoint { .. })
        });
        row.gap_free = !has_gap && !is_damaged;
        row.files = found.files;
        row.is_sound = found.is_sound();
        let flaw = |problem: &Problem| Flaw { stream: row.stream.clone(), problem: problem.to_string() };
        let flaws = found.problems.iter().map(flaw).collect();
        (row, flaws)
    }
}

/// A stretch in production, with all that led to it.
struct Span {
    version: Version,
    /// None only if the commit that registered the version cannot be read.
    digest: Option<Digest>,
    since: Stamp,
    until: Option<Timestamp>,
    cause: Cause,
    request: Option<Revision>,
    approvals: Vec<Decision>,
    gates: Vec<GateResult>,
    safety: Option<RollbackSafety>,
    rule: HeldRule,
    approval_overridden: bool,
    gates_overridden: bool,
    /// Who registered the version. None only if the commit that did cannot be read.
    registrant: Option<Actor>,
    /// Whether somebody approved this entry of the version into production, or an earlier one.
    was_approved: bool,
}

impl Span {
    /// Whether a part of what was observed was observed in this stretch.
    ///
    /// The clock of whoever reports may run ahead of the log's, but nothing is observed after it was reported. So what
    /// happens after the report decides nothing, and a longer range says the same of it as a shorter one.
    fn has_served(&self, summary: &Summary, reported_at: Timestamp) -> bool {
        let (from, until) = (summary.from.min(reported_at), summary.until.min(reported_at));
        // What was observed at one instant has no duration, and still belongs to the stretch that it lies in.
        let begins_before = self.since.at < until || self.since.at == from;
        self.version == summary.version && begins_before && self.until.is_none_or(|end| from < end)
    }

    /// Whether it began with a promotion that the rule on record would not have let through. The library writes no such
    /// thing: somebody else wrote to the storage, or made the library believe something else.
    fn passed_by_the_rule(&self) -> bool {
        self.cause == Cause::Promotion
            && self.rule.rule.as_ref().is_some_and(|rule| rule.approval.is_some())
            && self.request.is_none()
            && !self.approval_overridden
    }
}

/// The commits of one model, on their way into a report.
pub(crate) struct ModelFold<'a> {
    model: ModelName,
    options: &'a AuditOptions,
    registry: &'a RuleBook,
    state: ModelState,
    rules: RuleBook,
    spans: Vec<Span>,
    approved: BTreeSet<Version>,
    requests: BTreeMap<Revision, Request>,
    decisions: Vec<Decided>,
    trials: BTreeMap<Revision, TrialRun>,
    rollbacks: Vec<RolledBack>,
    exceptions: Vec<Exception>,
    statements: Statements,
    observations: Observations,
    log: Count,
    health: Count,
}

impl<'a> ModelFold<'a> {
    pub(crate) fn new(model: &ModelName, options: &'a AuditOptions, registry: &'a RuleBook) -> Self {
        ModelFold {
            options,
            registry,
            state: ModelState::new(),
            rules: RuleBook::default(),
            spans: Vec::new(),
            approved: BTreeSet::new(),
            requests: BTreeMap::new(),
            decisions: Vec::new(),
            trials: BTreeMap::new(),
            rollbacks: Vec::new(),
            exceptions: Vec::new(),
            statements: Statements::default(),
            observations: Observations::default(),
            log: Count::new(Stream::Model(model.clone())),
            health: Count::new(Stream::Health(model.clone())),
            model: model.clone(),
        }
    }

    /// Takes the next commit of the model's log.
    pub(crate) fn take(&mut self, recorded: &Recorded) {
        self.log.take(recorded, self.options);
        let commit = &recorded.commit;
        if self.options.range.to() <= commit.time {
            return;
        }
        let stamp = stamp(commit);
        for event in &commit.events {
            match event {
                Event::Adopted(adopted) => {
                    let stamp = Stamp { actor: actor(event, commit).clone(), ..stamp.clone() };
                    let mut detail = format!("{} in {}", adopted.change.kind(), adopted.system);
                    if let Some(at) = adopted.at {
                        detail.push_str(&format!(", there at {at}"));
                    }
                    let about = about(&adopted.change);
                    self.exception(ExceptionKind::ForeignChange, &stamp, about, None, detail);
                    self.take_event(&adopted.change, &stamp, commit);
                }
                event => self.take_event(event, &stamp, commit),
            }
        }
        self.state.apply(commit, recorded.digest);
    }

    /// Takes the next commit of what was observed. All commits of the model must have been taken before.
    pub(crate) fn take_health(&mut self, recorded: &Recorded) {
        self.health.take(recorded, self.options);
        let reported_at = recorded.commit.time;
        // One criterion, and the one by which everything else counts: a summary ends before it is committed, so one that
        // ends with the range is committed behind it, and two criteria would lose it between two ranges.
        if !self.options.range.contains(reported_at) {
            return;
        }
        for event in &recorded.commit.events {
            let Event::HealthReported { summaries } = event else { continue };
            for summary in summaries {
                let served = self.spans.iter().rev().find(|span| span.has_served(summary, reported_at));
                self.observations.take(served.map(|span| span.since.revision), summary);
            }
        }
    }

    fn take_event(&mut self, event: &Event, stamp: &Stamp, commit: &Commit) {
        match event {
            Event::VersionRegistered(registered) => {
                self.statements.registered(&registered.version, &registered.content, stamp);
                if let Some(reason) = &registered.numbering.overridden {
                    let needed = registered.numbering.required;
                    let needed = needed.map_or("more".to_owned(), |bump| format!("a {bump} bump"));
                    let detail = format!("the changes demand {needed}; allowed because: {reason}");
                    let about = Some(registered.version.clone());
                    self.exception(ExceptionKind::SmallerStep, stamp, about, None, detail);
                }
            }
            Event::Amended(amended) => self.statements.amended(amended, stamp),
            Event::StageChanged(change) => self.take_move(change, stamp, commit),
            Event::PromotionRequested(asked) => {
                let request = Request {
                    request: stamp.revision,
                    version: asked.version.clone(),
                    digest: asked.digest,
                    from: asked.from,
                    to: asked.to,
                    by: stamp.actor.clone(),
                    at: stamp.at,
                    reason: stamp.reason.clone(),
                    rule: asked.rule.to_string(),
                    by_choice: asked.by_choice,
                    expires_at: asked.expires_at,
                    outcome: RequestOutcome::Open,
                    ended_at: None,
                };
                self.requests.insert(stamp.revision, request);
            }
            Event::PromotionApproved { request, meaning, comment } => {
                let comment = comment.as_ref().map(ToString::to_string);
                let row = Decided {
                    meaning: meaning.clone(),
                    comment,
                    ..self.decided(*request, Act::Approved, stamp)
                };
                self.decisions.push(row);
            }
            Event::PromotionRejected { request, comment } => {
                let row = self.decided(*request, Act::Objected, stamp);
                let detail = comment.as_ref().map_or("no remark".to_owned(), ToString::to_string);
                self.exception(ExceptionKind::Objection, stamp, row.version.clone(), row.to, detail);
                self.decisions.push(Decided { comment: comment.as_ref().map(ToString::to_string), ..row });
            }
            Event::DecisionWithdrawn { request } => {
                let row = self.decided(*request, Act::Withdrew, stamp);
                let detail = format!("on request {request}");
                self.exception(ExceptionKind::DecisionWithdrawn, stamp, row.version.clone(), row.to, detail);
                self.decisions.push(row);
            }
            Event::ApprovalRefused { request, cause } => {
                let row = self.decided(*request, Act::Refused, stamp);
                let kind = match cause {
                    RefusedCause::Registrant | RefusedCause::Requester => ExceptionKind::SelfApprovalAttempt,
                    _ => ExceptionKind::ApprovalAttempt,
                };
                let detail = cause.rejection(&stamp.actor).to_string();
                self.exception(kind, stamp, row.version.clone(), row.to, detail.clone());
                self.decisions.push(Decided { comment: Some(detail), ..row });
            }
            Event::PromotionClosed { request, cause } => self.take_closed(*request, *cause, stamp),
            Event::ApprovalOverridden { version, to, rule } => {
                let detail = format!("bypassed: {rule}");
                let about = Some(version.clone());
                self.exception(ExceptionKind::ApprovalOverridden, stamp, about, Some(*to), detail);
            }
            Event::GatesOverridden { version, to, failed } => {
                let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
                let detail = format!("not passed: {}", failed.join("; "));
                let about = Some(version.clone());
                self.exception(ExceptionKind::GatesOverridden, stamp, about, Some(*to), detail);
            }
            Event::RolledBack(done) => {
                if done.forced {
                    let findings = counted(done.findings.len() as u64, "finding", "findings");
                    let detail = format!("{} to {}, with {findings} for clients", done.from, done.to);
                    let about = Some(done.to.clone());
                    self.exception(
                        ExceptionKind::ForcedRollback,
                        stamp,
                        about,
                        Some(Stage::Production),
                        detail,
                    );
                }
                let passed_over =
                    done.passed_over.iter().map(|(version, problem)| format!("{version}: {problem}"));
                self.rollbacks.push(RolledBack {
                    at: stamp.at,
                    revision: stamp.revision,
                    from: done.from.clone(),
                    to: done.to.clone(),
                    by: stamp.actor.clone(),
                    reason: stamp.reason.clone(),
                    rule: done.broken_rule.as_ref().map(|broken| broken.name.clone()),
                    evidence: done.broken_rule.as_ref().map(|broken| broken.breach.reason.clone()),
                    forced: done.forced,
                    passed_over: passed_over.collect(),
                });
            }
            Event::PolicyChanged { change } => self.rules.take(change, stamp),
            Event::TrialStarted(started) => {
                let row = TrialRun {
                    trial: stamp.revision,
                    treatment: started.treatment.version.clone(),
                    control: started.control.version.clone(),
                    measure: started.plan.measure.name.clone(),
                    by: stamp.actor.clone(),
                    started_at: stamp.at,
                    outcome: TrialOutcome::Running,
                    ended_at: None,
                    p: None,
                };
                self.trials.insert(stamp.revision, row);
            }
            Event::TrialConcluded { trial, judgement } => {
                if let Some(row) = self.trials.get_mut(trial) {
                    row.outcome = match judgement.verdict {
                        Verdict::Favourable => TrialOutcome::Favourable,
                        Verdict::Unfavourable => TrialOutcome::Unfavourable,
                        _ => TrialOutcome::Inconclusive,
                    };
                    row.p = judgement.p;
                    row.ended_at = Some(stamp.at);
                }
            }
            Event::TrialAborted { trial, .. } => {
                if let Some(row) = self.trials.get_mut(trial) {
                    row.outcome = TrialOutcome::Aborted;
                    row.ended_at = Some(stamp.at);
                }
            }
            // What the others mean is in the state at the end.
            _ => {}
        }
    }

    fn take_move(&mut self, change: &StageChanged, stamp: &Stamp, commit: &Commit) {
        let StageChanged { version, from, to, cause, rollback_safety, gates } = change;
        let enters = *to == Stage::Production;
        if enters || *from == Stage::Production {
            for span in self.spans.iter_mut().rev().take(1) {
                span.until.get_or_insert(stamp.at);
            }
        }
        let (kind, request, approvals) = match cause {
            StageCause::Promotion { request, approvals } => (Cause::Promotion, *request, approvals.clone()),
            StageCause::Rollback { .. } => (Cause::Rollback, None, Vec::new()),
            StageCause::Foreign => (Cause::Foreign, None, Vec::new()),
            _ => (Cause::Other, None, Vec::new()),
        };
        if let Some(request) = request.and_then(|request| self.requests.get_mut(&request)) {
            request.outcome = RequestOutcome::Promoted;
            request.ended_at = Some(stamp.at);
        }
        if !enters {
            return;
        }
        if !approvals.is_empty() {
            self.approved.insert(version.clone());
        }
        let known = self.state.version(version);
        // A version may be registered and moved in one commit, which the state does not have yet.
        let registered = commit.events.iter().rev().find_map(|event| match inner(event) {
            Event::VersionRegistered(registered) if registered.version == *version => Some(registered.digest),
            Event::FilesFound(found) if found.version == *version => Some(found.digest),
            _ => None,
        });
        let registrant = commit.events.iter().find_map(|event| match inner(event) {
            Event::VersionRegistered(registered) if registered.version == *version => {
                Some(actor(event, commit))
            }
            _ => None,
        });
        let digest = registered.or(known.map(|known| known.digest));
        let bypassed = |wanted: &dyn Fn(&Event) -> bool| commit.events.iter().any(wanted);
        self.spans.push(Span {
            version: version.clone(),
            digest,
            since: stamp.clone(),
            until: None,
            cause: kind,
            request,
            approvals,
            gates: gates.clone(),
            safety: rollback_safety.clone(),
            rule: held(self.rules.now(), &self.registry.at(stamp.at), Stage::Production),
            approval_overridden: bypassed(&|event| matches!(event, Event::ApprovalOverridden { .. })),
            gates_overridden: bypassed(&|event| matches!(event, Event::GatesOverridden { .. })),
            registrant: registrant.or(known.map(|known| &known.registered.actor)).cloned(),
            was_approved: self.approved.contains(version),
        });
    }

    fn take_closed(&mut self, name: Revision, cause: ClosedCause, stamp: &Stamp) {
        let Some(request) = self.requests.get_mut(&name) else { return };
        // Nothing is taken back, and nothing loses its meaning, whose time was over already.
        let had_expired = request.expires_at.is_some_and(|expired_at| expired_at < stamp.at);
        let (outcome, kind) = match cause {
            _ if had_expired => (RequestOutcome::Expired, ExceptionKind::RequestExpired),
            ClosedCause::Expired => (RequestOutcome::Expired, ExceptionKind::RequestExpired),
            ClosedCause::Withdrawn => (RequestOutcome::Withdrawn, ExceptionKind::RequestWithdrawn),
            _ => (RequestOutcome::Void, ExceptionKind::RequestVoid),
        };
        request.outcome = outcome;
        request.ended_at = Some(stamp.at);
        let (about, stage) = (Some(request.version.clone()), Some(request.to));
        // One that has run out is told with the instant at which it did, below.
        if kind != ExceptionKind::RequestExpired {
            let detail = format!("request {name} of {}", request.by);
            self.exception(kind, stamp, about, stage, detail);
        }
    }

    fn decided(&self, request: Revision, act: Act, stamp: &Stamp) -> Decided {
        let asked = self.requests.get(&request);
        Decided {
            at: stamp.at,
            revision: stamp.revision,
            request,
            version: asked.map(|asked| asked.version.clone()),
            to: asked.map(|asked| asked.to),
            by: stamp.actor.clone(),
            act,
            meaning: None,
            comment: None,
        }
    }

    fn exception(
        &mut self,
        kind: ExceptionKind,
        stamp: &Stamp,
        version: Option<Version>,
        stage: Option<Stage>,
        detail: String,
    ) {
        self.exceptions.push(Exception {
            at: Some(stamp.at),
            revision: Some(stamp.revision),
            kind,
            version,
            stage,
            by: Some(stamp.actor.clone()),
            reason: stamp.reason.clone(),
            detail,
        });
    }

    /// The versions that are deleted at the end of the range.
    pub(crate) fn deleted_versions(&self) -> impl Iterator<Item = &VersionState> {
        self.state.versions().map(|version| &**version).filter(|version| version.deleted.is_some())
    }

    /// The tables. `gone` says how many files of deleted versions are no longer kept.
    pub(crate) fn finish(
        mut self,
        log: &Verification,
        health: &Verification,
        gone: &BTreeMap<Version, u64>,
    ) -> Finished {
        let options = self.options;
        let range = options.range;
        let end = options.end();
        let is_sound = log.is_sound() && health.is_sound();
        self.spans.retain(|span| range.touches(span.since.at, span.until));
        self.lapse(end);
        let deployed: BTreeSet<&Version> = self.spans.iter().map(|span| &span.version).collect();
        let trials = self.trials.values().cloned();
        let trials: Vec<TrialRun> = trials
            .filter(|row| range.involves(row.started_at, row.ended_at) || deployed.contains(&row.treatment))
            .collect();
        let mut exceptions: Vec<Exception> = std::mem::take(&mut self.exceptions)
            .into_iter()
            .filter(|exception| exception.at.is_some_and(|at| range.contains(at)))
            .collect();
        exceptions.extend(self.standing_exceptions());
        exceptions.extend(log.problems.iter().filter_map(missing_bytes));
        exceptions.sort_by(|one, two| {
            (one.at, one.revision, one.kind, &one.version).cmp(&(
                two.at,
                two.revision,
                two.kind,
                &two.version,
            ))
        });
        self.decisions.retain(|row| range.contains(row.at));
        self.rollbacks.retain(|row| range.contains(row.at));
        let mut policy_changes = std::mem::take(&mut self.rules.changes);
        policy_changes.retain(|row| range.contains(row.at));
        let checkpoints = self.spans.iter().flat_map(|span| {
            let signed = self.state.version(&span.version).and_then(|version| signature_file(version));
            let sound = match log.problems.iter().find(|problem| concerns(problem, &span.version)) {
                Some(problem) => Err(problem.to_string()),
                None => Ok(log.commits),
            };
            let tried = trials.iter().filter(|trial| trial.treatment == span.version);
            checked(&Deployed {
                deployment: span.since.revision,
                version: &span.version,
                digest: span.digest.as_ref(),
                since: &span.since,
                cause: span.cause,
                request: match span.request {
                    Some(name) => self.requests.get(&name).map_or(Asked::Unreadable(name), Asked::By),
                    None => Asked::Nobody,
                },
                rule: span.rule.rule.as_ref().and_then(|rule| rule.approval.as_ref()),
                approvals: &span.approvals,
                registrant: span.registrant.as_ref(),
                gates: &span.gates,
                trials: tried.collect(),
                approval_overridden: span.approval_overridden,
                gates_overridden: span.gates_overridden,
                safety: span.safety.as_ref(),
                signed: signed.as_deref(),
                sound,
            })
        });
        let requests = self.requests.values().filter(|row| range.involves(row.at, row.ended_at));
        let report = ModelReport {
            model: self.model.clone(),
            description: self.state.description.clone(),
            tags: self.state.tags.iter().map(tag).collect(),
            versions: self.state.versions().map(|version| self.inventory(version)).collect(),
            deployments: self.spans.iter().map(|span| self.deployment(span)).collect(),
            approvals: self.spans.iter().flat_map(approvals).collect(),
            gates: self.spans.iter().flat_map(gates).collect(),
            checkpoints: checkpoints.collect(),
            exceptions,
            requests: requests.cloned().collect(),
            decisions: std::mem::take(&mut self.decisions),
            trials: trials.clone(),
            rollbacks: std::mem::take(&mut self.rollbacks),
            policy_changes,
            metrics: std::mem::take(&mut self.statements).finish(range),
            health: std::mem::take(&mut self.observations).finish(),
            data_sources: self.state.versions().flat_map(|version| sources(&self.model, version)).collect(),
            deleted: self.deleted_versions().filter_map(|version| deleted(version, gone)).collect(),
        };
        let (log, mut flaws) = self.log.finish(log);
        let (health, more) = self.health.finish(health);
        flaws.extend(more);
        let owner = self.state.production.as_ref().and_then(|version| self.state.version(version));
        let overview = Overview {
            model: self.model,
            purpose: self.state.description.clone(),
            versions: self.state.version_count,
            production: self.state.production.clone(),
            owner: owner.and_then(|version| version.content.metadata.owner.clone()),
            deployments: report.deployments.len() as u64,
            rollbacks: report.rollbacks.len() as u64,
            exceptions: report.exceptions.len() as u64,
            is_sound,
        };
        Finished { report, overview, population: [log, health], flaws }
    }

    /// Requests whose time has run out, closed or not: they ended when it did.
    fn lapse(&mut self, end: Timestamp) {
        for (name, request) in &mut self.requests {
            let Some(expired_at) = request.expires_at else { continue };
            let lapsed = request.outcome == RequestOutcome::Open && expired_at < end;
            if lapsed || request.outcome == RequestOutcome::Expired {
                request.outcome = RequestOutcome::Expired;
                request.ended_at = Some(expired_at);
                self.exceptions.push(Exception {
                    at: Some(expired_at),
                    revision: Some(*name),
                    kind: ExceptionKind::RequestExpired,
                    version: Some(request.version.clone()),
                    stage: Some(request.to),
                    by: Some(request.by.clone()),
                    reason: request.reason.clone(),
                    detail: format!("request {name} of {}", request.by),
                });
            }
        }
    }

    /// What is out of the ordinary about what is deployed, whenever that began.
    fn standing_exceptions(&self) -> Vec<Exception> {
        let mut exceptions = Vec::new();
        for span in &self.spans {
            let signed = self.state.version(&span.version).and_then(|version| signature_file(version));
            let unapproved = if !span.was_approved {
                Some("in production without an approval on record")
            } else if span.passed_by_the_rule() {
                Some("approval was demanded, and this promotion went without; an earlier one was approved")
            } else {
                None
            };
            let unapproved = unapproved.map(|detail| (ExceptionKind::NotApproved, detail.to_owned()));
            let unsigned = signed
                .is_none()
                .then(|| (ExceptionKind::NotSigned, "in production without a file `*.sig`".to_owned()));
            for (kind, detail) in unapproved.into_iter().chain(unsigned) {
                exceptions.push(Exception {
                    at: Some(span.since.at),
                    revision: Some(span.since.revision),
                    kind,
                    version: Some(span.version.clone()),
                    stage: Some(Stage::Production),
                    by: Some(span.since.actor.clone()),
                    reason: span.since.reason.clone(),
                    detail,
                });
            }
        }
        exceptions
    }

    fn deployment(&self, span: &Span) -> Deployment {
        let request = span.request.and_then(|request| self.requests.get(&request));
        let set = span.rule.set.as_ref();
        Deployment {
            revision: span.since.revision,
            version: span.version.clone(),
            digest: span.digest,
            since: span.since.at,
            until: span.until,
            by: span.since.actor.clone(),
            reason: span.since.reason.clone(),
            cause: span.cause,
            request: span.request,
            requested_by: request.map(|request| request.by.clone()),
            approved_by: span.approvals.iter().map(|approval| approval.actor.clone()).collect(),
            rule: span.rule.rule.as_ref().map(ToString::to_string),
            rule_source: span.rule.source.unwrap_or(Source::Default),
            rule_set_by: set.map(|set| set.actor.clone()),
            rule_set_at: set.map(|set| set.at),
            back_to: span.safety.as_ref().map(|safety| safety.to.clone()),
            back_is_safe: span.safety.as_ref().and_then(|safety| safety.safe),
        }
    }

    fn inventory(&self, version: &VersionState) -> Inventory {
        let content = &version.content;
        let deprecated = version.deprecated.as_ref();
        Inventory {
            version: version.version.clone(),
            digest: version.digest,
            stage: version.stage,
            owner: content.metadata.owner.clone(),
            registered_by: version.registered.actor.clone(),
            registered_at: version.registered.at,
            revision: version.registered.revision,
            algorithm: content.metadata.algorithm.clone(),
            framework: content.metadata.framework.clone(),
            purpose: content.description.clone().or_else(|| self.state.description.clone()),
            tags: content.tags.iter().map(tag).collect(),
            files: content.artifacts.len() as u64,
            bytes: content.artifacts.size(),
            deprecated_since: deprecated.map(|deprecated| deprecated.since.at),
            superseded_by: deprecated.and_then(|deprecated| deprecated.superseded_by.clone()),
            end_of_life: deprecated.and_then(|deprecated| deprecated.end_of_life),
            quarantined_since: version.quarantined.as_ref().map(|since| since.at),
            deleted_since: version.deleted.as_ref().map(|since| since.at),
        }
    }
}

/// What a fold comes to.
pub(crate) struct Finished {
    pub(crate) report: ModelReport,
    pub(crate) overview: Overview,
    pub(crate) population: [Population; 2],
    pub(crate) flaws: Vec<Flaw>,
}

/// Who did it: whoever made the commit, or who did it past the registry.
fn actor<'a>(event: &'a Event, commit: &'a Commit) -> &'a Actor {
    match event {
        Event::Adopted(adopted) => adopted.by.as_ref().unwrap_or(&adopted.system),
        _ => &commit.actor,
    }
}

/// The event itself, or what others did.
fn inner(event: &Event) -> &Event {
    match event {
        Event::Adopted(adopted) => &adopted.change,
        event => event,
    }
}

/// The version that an adopted event is about.
fn about(event: &Event) -> Option<Version> {
    match event {
        Event::VersionRegistered(registered) => Some(registered.version.clone()),
        Event::StageChanged(change) => Some(change.version.clone()),
        Event::Amended(amended) => Some(amended.version.clone()),
        Event::FilesFound(found) => Some(found.version.clone()),
        Event::VersionDeleted { version }
        | Event::VersionRestored { version }
        | Event::AliasSet { version, .. } => Some(version.clone()),
        Event::TagsChanged { version, .. } | Event::DescriptionChanged { version, .. } => version.clone(),
        _ => None,
    }
}

/// The first file that is a detached signature by its name.
fn signature_file(version: &VersionState) -> Option<String> {
    let is_signature = |path: &&str| path.ends_with(".sig");
    version.content.artifacts.iter().map(|file| file.path.as_str()).find(is_signature).map(str::to_owned)
}

fn missing_bytes(problem: &Problem) -> Option<Exception> {
    let Problem::File { version, .. } = problem else { return None };
    Some(Exception {
        at: None,
        revision: None,
        kind: ExceptionKind::BytesMissing,
        version: Some(version.clone()),
        stage: None,
        by: None,
        reason: None,
        detail: problem.to_string(),
    })
}

/// Whether a problem takes away from what the record says of a version.
fn concerns(problem: &Problem, version: &Version) -> bool {
    match problem {
        Problem::File { version: damaged, .. } => damaged == version,
        // The report was made of the log.
        Problem::Checkpoint { .. } => false,
        _ => true,
    }
}

fn approvals(span: &Span) -> impl Iterator<Item = Approval> + '_ {
    span.approvals.iter().map(|approval| Approval {
        deployment: span.since.revision,
        request: span.request,
        version: span.version.clone(),
        approver: approval.actor.clone(),
        at: approval.at,
        meaning: approval.meaning.clone(),
        comment: approval.comment.clone(),
    })
}

fn gates(span: &Span) -> impl Iterator<Item = GateFound> + '_ {
    span.gates.iter().map(|found| GateFound {
        deployment: span.since.revision,
        version: span.version.clone(),
        gate: found.gate.to_string(),
        passed: found.passed,
        against: found.against.clone(),
        evidence: found.checks.iter().map(|check| format!("{} {}", check.subject, check.detail)).collect(),
    })
}

/// What the version has on record as made with and out of, the nearest first.
fn sources(model: &ModelName, version: &VersionState) -> Vec<DataSource> {
    let mut graph = Graph::new();
    graph.add(model, version);
    let name = NodeName::from(&ModelVersion { model: model.clone(), version: version.version.clone() });
    let source = |node: &registry_core::lineage::Node| DataSource {
        version: version.version.clone(),
        kind: node.kind().to_string(),
        name: node.id().to_owned(),
        of_version: node.version().map(str::to_owned),
        digest: node.digest(),
    };
    graph.upstream(&name).into_iter().map(source).collect()
}

fn deleted(version: &VersionState, gone: &BTreeMap<Version, u64>) -> Option<Deleted> {
    let since = version.deleted.as_ref()?;
    Some(Deleted {
        version: version.version.clone(),
        at: since.at,
        by: since.actor.clone(),
        reason: since.reason.clone(),
        files: version.content.artifacts.len() as u64,
        files_gone: gone.get(&version.version).copied().unwrap_or(0),
    })
}
