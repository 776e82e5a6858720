//! Why this exists: each group of commands has a file. Here is what they share: the session (where the
//! registry is, where the answer goes) and the one way to tell what became of a request.

pub(crate) mod annotate;
pub(crate) mod approval;
pub(crate) mod archive;
pub(crate) mod audit;
pub(crate) mod compare;
pub(crate) mod docs;
pub(crate) mod drift;
pub(crate) mod environments;
pub(crate) mod experiment;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod lineage;
pub(crate) mod list;
pub(crate) mod maintain;
pub(crate) mod monitor;
pub(crate) mod policy;
pub(crate) mod register;
pub(crate) mod search;
pub(crate) mod signing;
pub(crate) mod stage;
pub(crate) mod trial;

use std::sync::Arc;

use registry_core::{Event, ModelName, Outcome, Receipt, Registry, RegistryExt as _};
use serde::Serialize;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::output::Out;
use crate::place::{self, Purpose};
use crate::view::{Done, Nothing};
use crate::words::{self, Requests};

/// Where the registry is and where the answer goes.
pub(crate) struct Session {
    registry: Option<String>,
    pub(crate) out: Out,
}

impl Session {
    /// Where the registry is, if it was given.
    pub(crate) fn place(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    pub(crate) async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Registry>, Failure> {
        place::open(self.registry.as_deref(), purpose).await
    }

    /// Opens the registry for a verb that changes what is there; a rehearsal only reads.
    pub(crate) async fn open_to_change(&self, dry_run: bool) -> Result<Arc<dyn Registry>, Failure> {
        self.open(if dry_run { Purpose::Read } else { Purpose::Change }).await
    }
}

/// Does what was asked for.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let mut session = Session { registry: cli.global.registry, out: Out::new(cli.global.json) };
    let done = match cli.command {
        Command::List(list) => list.run(&mut session).await,
        Command::Info(info) => info.run(&mut session).await,
        Command::Search(search) => search.run(&mut session).await,
        Command::Register(register) => register.run(&mut session).await,
        Command::Bump(bump) => bump.run(&mut session).await,
        Command::Explain(explain) => explain.run(&mut session).await,
        Command::Experiment(experiment) => experiment.run(&mut session).await,
        Command::Compare(compare) => compare.run(&mut session).await,
        Command::Lineage(lineage) => lineage.run(&mut session).await,
        Command::Impact(impact) => impact.run(&mut session).await,
        Command::Docs(docs) => docs.run(&mut session).await,
        Command::Promote(promote) => promote.run(&mut session).await,
        Command::PromoteTo(promote_to) => promote_to.run(&mut session).await,
        Command::Approve(approve) => approve.run(&mut session).await,
        Command::Reject(reject) => reject.run(&mut session).await,
        Command::Withdraw(withdraw) => withdraw.run(&mut session).await,
        Command::Rollback(rollback) => rollback.run(&mut session).await,
        Command::LiftQuarantine(lift) => lift.run(&mut session).await,
        Command::Get(get) => get.run(&mut session).await,
        Command::History(history) => history.run(&mut session).await,
        Command::Watch(watch) => watch.run(&mut session).await,
        Command::Deprecate(deprecate) => deprecate.run(&mut session).await,
        Command::Archive(archive) => archive.run(&mut session).await,
        Command::Delete(delete) => delete.run(&mut session).await,
        Command::Undelete(undelete) => undelete.run(&mut session).await,
        Command::Tag(tag) => tag.run(&mut session).await,
        Command::Alias(alias) => alias.run(&mut session).await,
        Command::Describe(describe) => describe.run(&mut session).await,
        Command::Amend(amend) => amend.run(&mut session).await,
        Command::Rules(rules) => rules.run(&mut session).await,
        Command::Observe(observe) => observe.run(&mut session).await,
        Command::Monitor(monitor) => monitor.run(&mut session).await,
        Command::Policy(policy) => policy.run(&mut session).await,
        Command::Trial(trial) => trial.run(&mut session).await,
        Command::Traffic(traffic) => traffic.run(&mut session).await,
        Command::Verify(verify) => verify.run(&mut session).await,
        Command::Checkpoint(checkpoint) => checkpoint.run(&mut session).await,
        Command::Sign(sign) => sign.run(&mut session).await,
        Command::Audit(audit) => audit.run(&mut session).await,
        Command::Export(export) => export.run(&mut session).await,
        Command::Import(import) => import.run(&mut session).await,
        Command::Gc(gc) => gc.run(&mut session).await,
        Command::Drift(drift) => drift.run(&mut session).await,
        Command::Reconcile(reconcile) => reconcile.run(&mut session).await,
        Command::Completions(completions) => completions.run(&mut session),
    };
    // What was written so far is shown also if the rest failed.
    let flushed = session.out.flush();
    done.and(flushed)
}

/// Tells what became of a request whose verb adds nothing.
pub(crate) async fn tell(
    session: &mut Session,
    registry: &dyn Registry,
    model: Option<&ModelName>,
    receipt: &Receipt,
) -> Result<(), Failure> {
    if session.out.json {
        return session.out.document(&Done::new(model, receipt, Nothing {}));
    }
    tell_people(session, registry, model, receipt).await
}

/// Tells a program what became of a request, with what the verb adds.
pub(crate) fn tell_program<T: Serialize>(
    session: &mut Session,
    model: &ModelName,
    receipt: &Receipt,
    more: T,
) -> Result<(), Failure> {
    session.out.document(&Done::new(Some(model), receipt, more))
}

/// Tells people what became of a request: a line for each event.
pub(crate) async fn tell_people(
    session: &mut Session,
    registry: &dyn Registry,
    model: Option<&ModelName>,
    receipt: &Receipt,
) -> Result<(), Failure> {
    let requests = match model {
        Some(model) => requests_of(registry, model, receipt.events()).await?,
        None => Requests::new(),
    };
    let paint = session.out.paint();
    let name = model.map_or_else(|| "all models".to_owned(), ToString::to_string);
    let sentences = receipt.events().iter().map(|event| words::sentence(event, &requests));
    match &receipt.outcome {
        Outcome::Committed(recorded) => {
            let revision = paint.dim(&format!("revision {} of", recorded.commit.revision));
            session.out.line(format!("{revision} {}", paint.bold(&name)))?;
        }
        Outcome::Repeated(recorded) => {
            let revision = recorded.commit.revision;
            session.out.line(format!("{}: done before, at revision {revision}", paint.bold(&name)))?;
        }
        Outcome::Rehearsed(_) => {
            let bold = paint.bold(&name);
            session.out.line(format!("dry run, nothing was written; for {bold} it would be recorded:"))?;
        }
        _ => session.out.line(format!("{}: nothing to do, it is so already", paint.bold(&name)))?,
    }
    for sentence in sentences {
        session.out.line(format!("  {sentence}"))?;
    }
    Ok(())
}

/// What the requests and trials were about that these events name.
pub(crate) async fn requests_of(
    registry: &dyn Registry,
    model: &ModelName,
    events: &[Event],
) -> Result<Requests, Failure> {
    let mut requests = Requests::new();
    for event in events {
        let request = match event {
            Event::PromotionApproved { request, .. }
            | Event::PromotionRejected { request, .. }
            | Event::ApprovalRefused { request, .. }
            | Event::DecisionWithdrawn { request }
            | Event::PromotionClosed { request, .. } => *request,
            Event::TrialObserved { trial, .. }
            | Event::TrialLooked { trial, .. }
            | Event::TrialConcluded { trial, .. }
            | Event::TrialAborted { trial, .. } => *trial,
            _ => continue,
        };
        for recorded in registry.log(model, request, 1).await? {
            for event in &recorded.commit.events {
                match event {
                    Event::PromotionRequested(promotion) => {
                        requests.insert(request, (promotion.version.clone(), promotion.to));
                    }
                    Event::TrialStarted(started) => {
                        let (version, stage) = (started.treatment.version.clone(), started.plan.stage.into());
                        requests.insert(request, (version, stage));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(requests)
}

/// Says a warning on the error output, so that it never mixes with the answer.
pub(crate) fn warn(text: &str) {
    use std::io::Write as _;
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    // Where nobody reads the error output, there is nobody to warn.
    let _ = writeln!(anstream::stderr(), "{style}warning:{style:#} {}", crate::output::one_line(text));
}
