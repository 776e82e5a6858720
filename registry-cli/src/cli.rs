//! Why this exists: all that can be typed, in one place. What each command takes stands with the
//! command, in `commands/`.

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use registry_core::{Actor, By, RequestId, Revision, Text};

use crate::commands::{
    annotate, approval, archive, audit, compare, docs, drift, environments, experiment, get, history,
    lineage, list, maintain, monitor, policy, register, search, signing, stage, trial,
};
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

/// Defines [`Command`]: one row a command. What a command takes is only put together if it is the one
/// that was typed, since all of them together cost a good part of the time of `registry get`. That is
/// why this is not derived.
macro_rules! commands {
    ($($name:literal, $about:literal, $variant:ident, $type:ty, $takes:path;)*) => {
        /// What can be done.
        #[derive(Debug)]
        pub(crate) enum Command {
            $(#[doc = $about] $variant($type),)*
        }

        impl Subcommand for Command {
            fn augment_subcommands(command: clap::Command) -> clap::Command {
                command
                    .subcommand_required(true)
                    .arg_required_else_help(true)
                    $(.subcommand(
                        clap::Command::new($name).about($about).defer(|command| $takes(command).about($about)),
                    ))*
            }

            fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
                Command::augment_subcommands(command)
            }

            fn has_subcommand(name: &str) -> bool {
                matches!(name, $($name)|*)
            }
        }

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Command::from_arg_matches_mut(&mut matches.clone())
            }

            fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
                let typed = matches.remove_subcommand();
                let Some((name, mut matches)) = typed else {
                    return Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand));
                };
                match name.as_str() {
                    $($name => <$type>::from_arg_matches_mut(&mut matches).map(Command::$variant),)*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Command::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

commands! {
    "list", "List the models", List, list::List, list::List::augment_args;
    "info", "Show a model, or one of its versions", Info, list::Info, list::Info::augment_args;
    "search", "Search the versions of all models by what they are", Search, search::Search, search::Search::augment_args;
    "register", "Register a version: files and a model card", Register, register::Register, register::Register::augment_args;
    "bump", "Register a version whose number follows by a bump", Bump, register::BumpCommand, register::BumpCommand::augment_args;
    "explain", "Say which bump a card would need, and why; nothing is written", Explain, register::Explain, register::Explain::augment_args;
    "experiment", "Track training runs, and register what comes out of them", Experiment, experiment::ExperimentCommand, experiment::ExperimentCommand::augment_subcommands;
    "compare", "Compare versions: numbers, what callers notice, features, parameters, origin", Compare, compare::Compare, compare::Compare::augment_args;
    "lineage", "Show what a version was made of, what it was made out of, and where it is", Lineage, lineage::Lineage, lineage::Lineage::augment_args;
    "impact", "Show which versions a feature, data, code or another version has an influence on", Impact, lineage::Impact, lineage::Impact::augment_args;
    "docs", "Keep documents of the models up to date: pages, an index, model cards, a tree of files", Docs, docs::Docs, docs::Docs::augment_args;
    "promote", "Move a version to another stage, or ask for approval where it is demanded", Promote, stage::Promote, stage::Promote::augment_args;
    "promote-to", "Take a version to another registry, with its bytes and the evidence of where it comes from", PromoteTo, environments::PromoteTo, environments::PromoteTo::augment_args;
    "approve", "Agree to a promotion that waits", Approve, approval::Approve, approval::Approve::augment_args;
    "reject", "Object to a promotion that waits", Reject, approval::Reject, approval::Reject::augment_args;
    "withdraw", "Take back one's approval, objection or request", Withdraw, approval::Withdraw, approval::Withdraw::augment_args;
    "rollback", "Put an earlier version back into production", Rollback, stage::Rollback, stage::Rollback::augment_args;
    "lift-quarantine", "Take a version out of quarantine", LiftQuarantine, stage::LiftQuarantine, stage::LiftQuarantine::augment_args;
    "get", "Get a version: what it is, or its files", Get, get::Get, get::Get::augment_args;
    "history", "Show what happened to a model", History, history::History, history::History::augment_args;
    "watch", "Show what happens to a model, as it happens", Watch, history::Watch, history::Watch::augment_args;
    "deprecate", "Say that a version should no longer be used, or that it may be again", Deprecate, annotate::Deprecate, annotate::Deprecate::augment_args;
    "archive", "Move a version to the stage `archived`", Archive, stage::Archive, stage::Archive::augment_args;
    "delete", "Hide a version; its bytes stay for the grace period", Delete, annotate::Delete, annotate::Delete::augment_args;
    "undelete", "Take a deleted version back", Undelete, annotate::Undelete, annotate::Undelete::augment_args;
    "tag", "Show or change tags of a model or a version", Tag, annotate::Tag, annotate::Tag::augment_args;
    "alias", "Show, set or remove aliases", Alias, annotate::Alias, annotate::Alias::augment_args;
    "describe", "Describe a model or a version", Describe, annotate::Describe, annotate::Describe::augment_args;
    "amend", "Add or correct metadata, metrics and deployment figures of a version", Amend, annotate::Amend, annotate::Amend::augment_args;
    "rules", "Show or change what must not happen in production", Rules, monitor::RulesCommand, monitor::RulesCommand::augment_subcommands;
    "observe", "Write down what was observed while a version served", Observe, monitor::Observe, monitor::Observe::augment_args;
    "monitor", "Look whether a rule is broken, and roll back if it says so", Monitor, monitor::Monitor, monitor::Monitor::augment_args;
    "policy", "Show or change rules: who must approve, what must be shown, and which moves are allowed", Policy, policy::PolicyCommand, policy::PolicyCommand::augment_subcommands;
    "trial", "Try a version beside another on real requests: A/B tests and canaries", Trial, trial::TrialCommand, trial::TrialCommand::augment_subcommands;
    "traffic", "Show which version gets which share of the requests", Traffic, trial::TrafficCommand, trial::TrafficCommand::augment_args;
    "verify", "Check that the record is untouched, and the bytes with --bytes, also against a signed checkpoint", Verify, maintain::Verify, maintain::Verify::augment_args;
    "checkpoint", "Note where the logs end, signed, to be kept elsewhere", Checkpoint, signing::CheckpointCommand, signing::CheckpointCommand::augment_subcommands;
    "sign", "Sign the files of a version, or verify such a signature, as OpenSSF model signing does", Sign, signing::SignCommand, signing::SignCommand::augment_subcommands;
    "audit", "Report who deployed what, who approved it and on what evidence, and what was out of the ordinary", Audit, audit::Audit, audit::Audit::augment_args;
    "export", "Write an archive of a model, or of the whole registry, to a file", Export, archive::Export, archive::Export::augment_args;
    "import", "Restore what is in an archive", Import, archive::Import, archive::Import::augment_args;
    "gc", "Remove bytes that no version and no run needs any more", Gc, maintain::Gc, maintain::Gc::augment_args;
    "drift", "Show what others changed in a system that the registry shares its models with", Drift, drift::Drift, drift::Drift::augment_args;
    "reconcile", "Take what others changed there into the record", Reconcile, drift::Reconcile, drift::Reconcile::augment_args;
    "completions", "Write completions for a shell", Completions, maintain::Completions, maintain::Completions::augment_args;
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn what_can_be_typed_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
