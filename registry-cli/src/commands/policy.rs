//! Why this exists: the rules that a team lives by are data in the log. These commands show and change
//! them, for all models or for one, whose own rules replace those of the registry stage by stage.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use registry_audit::{ModelPolicies, RuleInForce, policies};
use registry_core::compare::Significance;
use registry_core::gate::NotNegative;
use registry_core::{
    Actor, ApprovalRule, Finite, Gate, Invalid, ModelName, Need, Policy, PolicyChange, Registry as _,
    RegistryExt as _, Revision, Scope, Stage, StageRule, Stream, Transitions,
};
use serde::Serialize;

use crate::card::units;
use crate::cli::Writing;
use crate::commands::{Session, tell};
use crate::failure::Failure;
use crate::input::{MetricRange, at_least_one, parsed_file};
use crate::place::Purpose;
use crate::table::Table;
use crate::words;

/// What can be done with rules.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum PolicyCommand {
    /// Show the rules of all models, and those of one
    Show(Show),
    /// Report which rules hold, where each comes from, and who set it
    Report(Report),
    /// Set what a stage demands
    Set(Set),
    /// Remove what was said of a stage
    Remove(Remove),
    /// Set or reset the moves between stages
    Transitions(Moves),
}

impl PolicyCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            PolicyCommand::Show(show) => show.run(session).await,
            PolicyCommand::Report(report) => report.run(session).await,
            PolicyCommand::Set(set) => set.run(session).await,
            PolicyCommand::Remove(remove) => remove.run(session).await,
            PolicyCommand::Transitions(moves) => moves.run(session).await,
        }
    }
}

pub(crate) fn scope(model: Option<&ModelName>) -> Scope {
    model.map_or(Scope::Registry, |model| Scope::Model(model.clone()))
}

/// `registry policy show fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The model whose own rules are shown too
    model: Option<ModelName>,
}

/// `registry policy report fraud-detection --format markdown`
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The model. Default: all
    model: Option<ModelName>,
    /// The form
    #[arg(long, value_enum, default_value = "text", conflicts_with = "json")]
    format: Format,
}

/// How rules are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For documents beside code
    Markdown,
    /// For programs, as with --json
    Json,
}

impl Report {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let report = policies(registry.as_ref(), self.model.as_ref()).await?;
        if session.out.json || self.format == Format::Json {
            return session.out.document(&report);
        }
        if self.format == Format::Markdown {
            return session.out.bytes(report.to_markdown().as_bytes());
        }
        show_rules(session, "all models", &report.registry)?;
        for ModelPolicies { model, rules, .. } in &report.models {
            session.out.line("")?;
            show_rules(session, model.as_str(), rules)?;
        }
        Ok(())
    }
}

fn show_rules(session: &mut Session, title: &str, rules: &[RuleInForce]) -> Result<(), Failure> {
    let paint = session.out.paint();
    session.out.line(paint.bold(title))?;
    let mut table = Table::new(["ABOUT", "OF", "RULE", "FROM", "SET"]);
    for rule in rules {
        let set = rule.set_by.as_ref().zip(rule.set_at).map(|(by, at)| {
            let reason = rule.reason.as_ref().map(|reason| format!(": {reason}"));
            format!("{} by {by}{}", words::time(at), reason.unwrap_or_default())
        });
        table.row([
            rule.area.as_str().to_owned(),
            rule.subject.clone(),
            rule.rule.clone(),
            rule.source.as_str().to_owned(),
            set.unwrap_or_default(),
        ]);
    }
    session.out.line(table.render(paint, "  "))
}

/// The answer to `policy show`.
#[derive(Debug, Serialize)]
struct Shown {
    /// The rules of all models.
    registry: Policy,
    /// The model's own, if a model was named.
    model: Option<Policy>,
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let of_all = (*registry.policy(&Scope::Registry).await?).clone();
        let own = match &self.model {
            // A model that is not there has no rules; say so instead of showing none.
            Some(model) => Some((*registry.model(model).await?.policy).clone()),
            None => None,
        };
        if session.out.json {
            return session.out.document(&Shown { registry: of_all, model: own });
        }
        show_policy(session, "all models", &of_all, "no stage demands anything", "the usual ones")?;
        match (&self.model, &own) {
            (Some(model), Some(own)) => {
                show_policy(session, model.as_str(), own, "no rules of its own", "those of all models")
            }
            _ => Ok(()),
        }
    }
}

fn show_policy(
    session: &mut Session,
    title: &str,
    policy: &Policy,
    no_rules: &str,
    no_moves: &str,
) -> Result<(), Failure> {
    let title = session.out.paint().bold(title);
    session.out.line(title)?;
    if policy.stages.is_empty() {
        session.out.line(format!("  {no_rules}"))?;
    }
    for (stage, rule) in &policy.stages {
        session.out.line(format!("  {stage:<12} {}", words::stage_rule(rule)))?;
    }
    let moves = policy.transitions.as_ref().map_or_else(|| no_moves.to_owned(), ToString::to_string);
    for line in moves.split("; ") {
        session.out.line(format!("  moves        {line}"))?;
    }
    Ok(())
}

/// `registry policy set production --approver ada@example.com --approver bob@example.com --quorum 2`
///
/// What is not said stays as it is: of the model's own rule, or else of that of all models. The gates are one thing: what
/// is said of them replaces them all.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The stage
    stage: Stage,
    /// The model. Default: all models
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    /// Somebody who may approve, repeatable; those who might before no longer may. At first, anyone who is not excluded
    #[arg(long, value_name = "WHO")]
    approver: Vec<Actor>,
    /// How many different people must approve. At first, one
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU32>)]
    quorum: Option<NonZeroU32>,
    /// Let the one who registered the version approve it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    registrant_may_approve: Option<bool>,
    /// Let the one who asked for the promotion approve it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    requester_may_approve: Option<bool>,
    /// How long a request stays open, for example 30d
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds)]
    expires_after: Option<u64>,
    /// Demand no approval, also where the registry does
    #[arg(long, conflicts_with_all = ["approver", "quorum", "registrant_may_approve", "requester_may_approve", "expires_after"])]
    no_approval: bool,
    /// Bounds of a metric, for example "accuracy>=0.85", repeatable
    #[arg(long, value_name = "RANGE", help_heading = "Gates")]
    gate: Vec<MetricRange>,
    /// No metric may be worse than that in production
    #[arg(long, help_heading = "Gates")]
    no_regression: bool,
    /// The signature must not break callers of the version in production
    #[arg(long, help_heading = "Gates")]
    compatible: bool,
    /// A favourable trial against the version in production must be on record
    #[arg(long, help_heading = "Gates")]
    trial: bool,
    /// More gates, of every kind: a list in YAML or JSON
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    gates: Option<PathBuf>,
    /// Nothing need be shown
    #[arg(long, help_heading = "Gates", conflicts_with_all = ["gate", "no_regression", "compatible", "trial", "gates"])]
    no_gates: bool,
    /// Begin with no approval and no gates, instead of with the rule that holds
    #[arg(long)]
    anew: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Bounds of a metric as a gate.
fn bounds(range: &MetricRange) -> Result<Gate, Invalid> {
    let bound = |value: Option<f64>| value.map(Finite::new).transpose();
    Ok(Gate::Metric { name: range.name.clone(), at_least: bound(range.low)?, at_most: bound(range.high)? })
}

impl Set {
    /// What must be shown, the flags first.
    fn gates(&self) -> Result<Vec<Gate>, Failure> {
        let mut gates = self.gate.iter().map(bounds).collect::<Result<Vec<Gate>, Invalid>>()?;
        if self.no_regression {
            gates.push(Gate::NoRegression {
                metrics: BTreeSet::new(),
                significance: Significance::default(),
                tolerance: NotNegative::default(),
            });
        }
        if self.compatible {
            gates.push(Gate::Compatible {});
        }
        if self.trial {
            gates.push(Gate::Trial { stage: None, max_age_seconds: None });
        }
        if let Some(path) = &self.gates {
            gates.extend(parsed_file::<Vec<Gate>>(path)?);
        }
        Ok(gates)
    }

    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut by = self.writing.by()?;
        let gates = self.gates()?;
        let says_gates = self.no_gates || !gates.is_empty();
        let mut rule = StageRule::default();
        if !self.anew {
            let (present, revision) = self.present(session).await?;
            rule = present;
            // Nobody must have changed meanwhile what is kept here.
            by.expected = by.expected.or(revision);
        }
        if self.no_approval {
            rule.approval = None;
        } else if self.says_approval() || !says_gates {
            rule.approval = Some(self.approval(rule.approval.take().unwrap_or_default())?);
        }
        if says_gates {
            rule.gates = gates;
        }
        let change = PolicyChange::StageRule { stage: self.stage, rule: Some(rule) };
        change_policy(session, &by, self.model, change).await
    }

    fn says_approval(&self) -> bool {
        !self.approver.is_empty()
            || self.quorum.is_some()
            || self.registrant_may_approve.is_some()
            || self.requester_may_approve.is_some()
            || self.expires_after.is_some()
    }

    /// The rule for approval, with what is said of it in the place of what there was.
    fn approval(&self, present: ApprovalRule) -> Result<ApprovalRule, Invalid> {
        let rule = ApprovalRule {
            approvers: match self.approver.is_empty() {
                true => present.approvers,
                false => self.approver.iter().cloned().collect(),
            },
            quorum: self.quorum.unwrap_or(present.quorum),
            registrant_may_approve: self.registrant_may_approve.unwrap_or(present.registrant_may_approve),
            requester_may_approve: self.requester_may_approve.unwrap_or(present.requester_may_approve),
            expires_after_seconds: self.expires_after.or(present.expires_after_seconds),
        };
        let approvers = u32::try_from(rule.approvers.len()).unwrap_or(u32::MAX);
        if approvers != 0 && approvers < rule.quorum.get() {
            let problem = format!(
                "can never be reached by {}",
                words::count(approvers.into(), "approver", "approvers")
            );
            return Err(Invalid::new("quorum", rule.quorum, problem));
        }
        if rule.expires_after_seconds == Some(0) {
            return Err(Invalid::new("expiry", 0, "must be longer than nothing"));
        }
        Ok(rule)
    }

    /// The rule that holds now: the model's own, which would be replaced, else that of all models. And the revision at
    /// which that is so.
    async fn present(&self, session: &Session) -> Result<(StageRule, Option<Revision>), Failure> {
        let registry = session.open(purpose(self.model.as_ref(), self.writing.dry_run)).await?;
        let general = registry.state(&Stream::Registry, &Need::Whole).await?;
        let own = match &self.model {
            Some(model) => registry.state(&Stream::from(model), &Need::Whole).await?,
            None => Arc::clone(&general),
        };
        let rule = own.policy.stages.get(&self.stage).or_else(|| general.policy.stages.get(&self.stage));
        Ok((rule.cloned().unwrap_or_default(), own.revision()))
    }
}

/// `registry policy remove production --model fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The stage
    stage: Stage,
    /// The model. Default: all models
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    #[command(flatten)]
    writing: Writing,
}

impl Remove {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let change = PolicyChange::StageRule { stage: self.stage, rule: None };
        change_policy(session, &by, self.model, change).await
    }
}

/// `registry policy transitions --allow dev:production --allow production:archived`
#[derive(Debug, Args)]
pub(crate) struct Moves {
    /// A move that is allowed, repeatable; all others are not
    #[arg(long, value_name = "FROM:TO", value_parser = one_move, required_unless_present = "reset")]
    allow: Vec<(Stage, Stage)>,
    /// Go back to the usual moves, or for a model to those of the registry
    #[arg(long, conflicts_with = "allow")]
    reset: bool,
    /// The model. Default: all models
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    #[command(flatten)]
    writing: Writing,
}

fn one_move(text: &str) -> Result<(Stage, Stage), Invalid> {
    let Some((from, to)) = text.split_once(':') else {
        return Err(Invalid::new("move", text, "expected `FROM:TO`, for example `staging:production`"));
    };
    let (from, to): (Stage, Stage) = (from.parse()?, to.parse()?);
    if from == to {
        return Err(Invalid::new("move", text, "leads nowhere"));
    }
    Ok((from, to))
}

impl Moves {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let table = (!self.reset).then(|| Transitions::new(self.allow));
        change_policy(session, &by, self.model, PolicyChange::Transitions { table }).await
    }
}

/// The rules of all models may be the first thing that is written.
pub(crate) fn purpose(model: Option<&ModelName>, dry_run: bool) -> Purpose {
    match (model, dry_run) {
        (_, true) => Purpose::Read,
        (Some(_), false) => Purpose::Change,
        (None, false) => Purpose::Begin,
    }
}

async fn change_policy(
    session: &mut Session,
    by: &registry_core::By,
    model: Option<ModelName>,
    change: PolicyChange,
) -> Result<(), Failure> {
    let registry = session.open(purpose(model.as_ref(), by.dry_run)).await?;
    let receipt = registry.change_policy(by, &scope(model.as_ref()), change).await?;
    tell(session, registry.as_ref(), model.as_ref(), &receipt).await
}
