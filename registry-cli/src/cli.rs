//! Why this exists: all that can be typed, in one place. What each command takes stands with the
//! command, in `commands/`.

use clap::{Args, Parser, Subcommand};
use registry_core::{Actor, By, RequestId, Revision, Text};

use crate::commands::{annotate, approval, get, history, list, maintain, policy, register, stage};
use crate::failure::{EXIT_CODES, Failure};
use crate::identity::actor;

/// A registry for machine-learning models: versions, stages, approvals, rollback and an untouched record.
#[derive(Debug, Parser)]
#[command(name = "registry", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the registry is: a folder, or a URL such as `sqlite:/srv/models`. Default: a folder in the
    /// user's data folder
    #[arg(
        long,
        global = true,
        env = "REGISTRY_URL",
        hide_env_values = true,
        value_name = "URL",
        display_order = 900
    )]
    pub(crate) registry: Option<String>,
    /// Write for programs: JSON, or JSON lines for `history` and `watch`
    #[arg(long, global = true, display_order = 901)]
    pub(crate) json: bool,
}

/// What every command that writes takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct Writing {
    /// Who asks. Default: the user of the system at this host
    #[arg(long, env = "REGISTRY_ACTOR", value_name = "WHO")]
    pub(crate) actor: Option<Actor>,
    /// Why; kept in the record
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
    /// The identity of the request: sent again under the same id, it is done at most once
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<RequestId>,
    /// Refuse unless the log is at this revision
    #[arg(long, value_name = "REVISION")]
    pub(crate) expect: Option<Revision>,
    /// Only say what would be recorded
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Writing {
    pub(crate) fn by(&self) -> Result<By, Failure> {
        let mut by = By::new(actor(self.actor.as_ref())?);
        by.reason.clone_from(&self.reason);
        by.request_id.clone_from(&self.request_id);
        by.expected = self.expect;
        by.dry_run = self.dry_run;
        Ok(by)
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the models
    List(list::List),
    /// Show a model, or one of its versions
    Info(list::Info),
    /// Find versions by stage, tag, metric, owner, date or text
    Find(list::Find),
    /// Register a version: files and a model card
    Register(register::Register),
    /// Register a version whose number follows by a bump
    Bump(register::BumpCommand),
    /// Say which bump a card would need, and why; nothing is written
    Explain(register::Explain),
    /// Move a version to another stage, or ask for approval where it is demanded
    Promote(stage::Promote),
    /// Agree to a promotion that waits
    Approve(approval::Approve),
    /// Object to a promotion that waits
    Reject(approval::Reject),
    /// Take back one's approval, objection or request
    Withdraw(approval::Withdraw),
    /// Put an earlier version back into production
    Rollback(stage::Rollback),
    /// Take a version out of quarantine
    LiftQuarantine(stage::LiftQuarantine),
    /// Get a version: what it is, or its files
    Get(get::Get),
    /// Show what happened to a model
    History(history::History),
    /// Show what happens to a model, as it happens
    Watch(history::Watch),
    /// Say that a version should no longer be used, or that it may be again
    Deprecate(annotate::Deprecate),
    /// Move a version to the stage `archived`
    Archive(stage::Archive),
    /// Hide a version; its bytes stay for the grace period
    Delete(annotate::Delete),
    /// Take a deleted version back
    Undelete(annotate::Undelete),
    /// Show or change tags of a model or a version
    Tag(annotate::Tag),
    /// Show, set or remove aliases
    Alias(annotate::Alias),
    /// Describe a model or a version
    Describe(annotate::Describe),
    /// Add or correct metadata, metrics and deployment figures of a version
    Amend(annotate::Amend),
    /// Show or change rules: who must approve, and which moves are allowed
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Check that the record is untouched, and the bytes with --bytes
    Verify(maintain::Verify),
    /// Remove bytes that no version needs any more
    Gc(maintain::Gc),
    /// Write completions for a shell
    Completions(maintain::Completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn what_can_be_typed_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
