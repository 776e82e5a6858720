//! Why this exists: here are the rules. [`decide`] says what a command means in a state: the events
//! to be committed, or why not. It reads no clock, does no I/O and draws nothing at random; all it
//! may know is in its arguments. So a rule is tested with three lines (given, when, then), and holds
//! alike on every backend.
//!
//! No events means that there is nothing to do: what was asked for is already so. That is what makes
//! commands safe to repeat.

mod adopt;
mod ancestry;
mod annotate;
mod approval;
mod environments;
mod experiments;
mod gates;
mod health;
mod promotion;
mod registration;
mod rollback;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use promotion::check_usable;

use crate::command::Command;
use crate::event::Event;
use crate::name::{Actor, ModelName, ModelVersion, Text};
use crate::policy::{Effective, Policy};
use crate::rejection::Rejection;
use crate::state::{ModelState, VersionState};
use crate::stream::Stream;
use crate::time::Timestamp;
use crate::version::Version;

/// What a decision may know beside the state and the command.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The stream the command is for.
    pub stream: &'a Stream,
    /// The time of the commit to be made.
    pub now: Timestamp,
    /// Who asks.
    pub actor: &'a Actor,
    /// Why.
    pub reason: Option<&'a Text>,
    /// The rules for all models.
    pub registry: &'a Policy,
    /// What was looked up because a rule asked for it.
    pub evidence: &'a Evidence,
}

/// What lies outside the state and was looked up just now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Of which versions the bytes were verified, and with what result.
    pub bytes: BTreeMap<Version, Result<(), String>>,
    /// What versions of other models were made out of; nothing if they are not on record.
    pub parents: BTreeMap<ModelVersion, BTreeSet<ModelVersion>>,
}

impl Context<'_> {
    fn require_reason(&self, what: &'static str) -> Result<(), Rejection> {
        if self.reason.is_some() { Ok(()) } else { Err(Rejection::ReasonRequired { what }) }
    }
}

/// A decision that went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// A rule refuses the command.
    Rejected(Rejection),
    /// A rule refuses the command, and that it was tried goes on record: commit these events, and then answer with
    /// the rejection, which [`Commit::refusal`](crate::Commit::refusal) tells again when the request is repeated.
    RejectedOnRecord {
        /// The rejection.
        rejection: Rejection,
        /// The events that say so.
        events: Vec<Event>,
    },
    /// The decision depends on whether the bytes of this version verify. Verify them, add the
    /// result to [`Evidence::bytes`] and decide again.
    NeedsBytes(Version),
    /// The decision depends on what these versions of other models were made out of. Look it up, add it to
    /// [`Evidence::parents`] and decide again.
    NeedsParents(BTreeSet<ModelVersion>),
}

impl<R: Into<Rejection>> From<R> for Halt {
    fn from(rejection: R) -> Self {
        Halt::Rejected(rejection.into())
    }
}

/// What `command` means in `state`: the events to commit, none if it is already so, or why not.
pub fn decide(state: &ModelState, command: &Command, context: &Context<'_>) -> Result<Vec<Event>, Halt> {
    let rules =
        Rules { state, context, policy: Effective { model: &state.policy, registry: context.registry } };
    let model = match (context.stream, command) {
        (Stream::Model(model), _) => model,
        (Stream::Health(_), Command::ReportHealth { summaries }) => return Ok(health::report(summaries)?),
        (Stream::Experiment(experiment), _) => return Ok(experiments::decide(state, experiment, command)?),
        (Stream::Registry, Command::ChangePolicy { change }) => return Ok(rules.change_policy(change)?),
        _ => return Err(Rejection::WrongStream.into()),
    };
    if !matches!(command, Command::Register { .. } | Command::Adopt(_)) {
        rules.require_model(model)?;
    }
    let events = match command {
        Command::Register { version, content, stage, origins } => {
            rules.register(version, content, *stage, origins)?
        }
        Command::Promote { version, from, to, require_approval, emergency } => {
            rules.promote(version, *from, *to, *require_approval, *emergency)?
        }
        Command::Approve { version, to, meaning, comment } => {
            rules.approve(version, *to, meaning, comment)?
        }
        Command::Reject { version, to, comment } => rules.reject(version, *to, comment)?,
        Command::Withdraw { version, to } => rules.withdraw(version, *to)?,
        Command::Rollback { to, force } => return rules.roll_back(to.as_ref(), *force),
        Command::RollBackBroken { rule, breach } => rules.roll_back_broken(rule, breach)?,
        Command::LiftQuarantine { version } => rules.lift_quarantine(version)?,
        Command::Deprecate { version, superseded_by, end_of_life } => {
            rules.deprecate(version, superseded_by.as_ref(), *end_of_life)?
        }
        Command::LiftDeprecation { version } => rules.lift_deprecation(version)?,
        Command::Delete { version } => rules.delete(version)?,
        Command::Undelete { version } => rules.undelete(version)?,
        Command::SetAlias { alias, version } => rules.set_alias(alias, version)?,
        Command::RemoveAlias { alias } => rules.remove_alias(alias)?,
        Command::ChangeTags { version, set, remove } => rules.change_tags(version.as_ref(), set, remove)?,
        Command::Describe { version, description } => {
            rules.describe(version.as_ref(), description.as_ref())?
        }
        Command::Amend { version, metadata, metrics, deployment, links } => {
            rules.amend(version, metadata, metrics, deployment, links)?
        }
        Command::ChangePolicy { change } => rules.change_policy(change)?,
        Command::StartTrial { treatment, control, plan } => {
            rules.start_trial(treatment, control.as_ref(), plan)?
        }
        Command::ObserveTrial { treatment, observed } => rules.observe_trial(treatment, observed)?,
        Command::ConcludeTrial { treatment } => rules.conclude_trial(treatment)?,
        Command::AbortTrial { treatment } => rules.abort_trial(treatment)?,
        Command::NoteCopy(copied) => rules.note_copy(copied)?,
        Command::ReportHealth { .. }
        | Command::StartRun(_)
        | Command::LogRun { .. }
        | Command::ContinueRun { .. }
        | Command::NoteVersion { .. }
        | Command::EndRun { .. } => return Err(Rejection::WrongStream.into()),
        // What happened elsewhere has happened, whatever the rules say.
        Command::Adopt(adoption) => return Ok(adopt::adopt(state, adoption, context)?),
    };
    rules.check_ancestry(model, &events)?;
    Ok(events)
}

/// The rules, with what they look at.
struct Rules<'a> {
    state: &'a ModelState,
    context: &'a Context<'a>,
    policy: Effective<'a>,
}

impl<'a> Rules<'a> {
    fn require_model(&self, model: &ModelName) -> Result<(), Rejection> {
        if self.state.exists() { Ok(()) } else { Err(Rejection::ModelNotFound { model: model.clone() }) }
    }

    /// The version, deleted or not.
    fn any_version(&self, version: &Version) -> Result<&'a Arc<VersionState>, Rejection> {
        const SHOWN_MAX: usize = 5;
        self.state.version(version).ok_or_else(|| Rejection::VersionNotFound {
            version: version.clone(),
            nearest: self
                .state
                .versions()
                .rev()
                .filter(|state| state.deleted.is_none())
                .take(SHOWN_MAX)
                .map(|state| state.version.clone())
                .collect(),
        })
    }

    /// The version, which must not be deleted.
    fn version(&self, version: &Version) -> Result<&'a Arc<VersionState>, Rejection> {
        let state = self.any_version(version)?;
        match &state.deleted {
            Some(_) => Err(Rejection::IsDeleted { version: version.clone() }),
            None => Ok(state),
        }
    }
}
