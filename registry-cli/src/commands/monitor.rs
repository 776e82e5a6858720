//! Why this exists: what must not happen to a model in production is said here, what was observed is brought here by
//! those who count elsewhere, and this is who looks.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use registry_core::monitor::{
    Action, Aggregate, Baseline, Condition, Finding, Monitor as CoreMonitor, Observed, Response, Rule,
    Summary,
};
use registry_core::{
    Direction, Finite, Invalid, Key, ModelName, Registry as _, RegistryExt as _, Selector, Text, Timestamp,
};
use serde::Serialize;

use crate::card::units;
use crate::cli::Writing;
use crate::commands::policy::{purpose, scope};
use crate::commands::{Session, tell};
use crate::failure::Failure;
use crate::input::{direction, parsed_file, percent, text_file};
use crate::output::harmless;
use crate::place::Purpose;
use crate::words;

/// What can be done with the rules of monitoring.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum RulesCommand {
    /// Show what must not happen in production
    Show(Show),
    /// Say what must not happen, and what is done if it does
    Set(Set),
    /// Remove a rule
    Remove(Remove),
}

impl RulesCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            RulesCommand::Show(show) => show.run(session).await,
            RulesCommand::Set(set) => set.run(session).await,
            RulesCommand::Remove(remove) => remove.run(session).await,
        }
    }
}

/// `registry rules show`, `registry rules show fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The model. Default: the rules of all models
    model: Option<ModelName>,
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let policy = registry.policy(&scope(self.model.as_ref())).await?;
        if session.out.json {
            return session.out.document(&policy.monitor);
        }
        if policy.monitor.is_empty() {
            let whose = self.model.as_ref().map_or("", |_| " of its own");
            return session.out.line(format!("there are no rules{whose}; `registry rules set` makes one"));
        }
        for (name, rule) in &policy.monitor {
            session.out.line(harmless(&format!("{name}: {rule}")))?;
        }
        Ok(())
    }
}

/// `registry rules set slow --metric latency --aggregate p95 --above 200`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("condition").required(true).args(["above", "below", "worse_by", "file"]))]
pub(crate) struct Set {
    /// The name of the rule
    name: Key,
    /// The model. Default: all models
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    /// What is measured
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    metric: Option<Key>,
    /// What is looked at of all observations in the window
    #[arg(long, value_enum, default_value = "mean")]
    aggregate: AggregateArg,
    /// It must not be greater
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    above: Option<f64>,
    /// It must not be less
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    below: Option<f64>,
    /// It must not be worse by more than this share of the baseline, for example 10%
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "better")]
    worse_by: Option<f64>,
    /// Which way is better
    #[arg(long, value_name = "higher|lower", value_parser = direction)]
    better: Option<Direction>,
    /// What it is compared with: `registered` (what the version was registered with), `previous` (what the version
    /// before it measured last), or a number
    #[arg(long, value_name = "WHAT", value_parser = baseline, default_value = "registered")]
    baseline: Baseline,
    /// How far back observations count, for example 24h
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds, default_value = "5m")]
    window: u64,
    /// How long it must go on, for example 10m
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds)]
    r#for: Option<u64>,
    /// How many observations a window must hold
    #[arg(long, value_name = "N", default_value = "1")]
    samples: NonZeroU32,
    /// Only tell somebody; roll nothing back
    #[arg(long)]
    alert: bool,
    /// Only say what would be done
    #[arg(long)]
    try_out: bool,
    /// The whole rule, in YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["metric"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AggregateArg {
    Mean,
    Min,
    Max,
    P50,
    P95,
    P99,
    Count,
}

impl From<AggregateArg> for Aggregate {
    fn from(given: AggregateArg) -> Aggregate {
        match given {
            AggregateArg::Mean => Aggregate::Mean,
            AggregateArg::Min => Aggregate::Min,
            AggregateArg::Max => Aggregate::Max,
            AggregateArg::P50 => Aggregate::P50,
            AggregateArg::P95 => Aggregate::P95,
            AggregateArg::P99 => Aggregate::P99,
            AggregateArg::Count => Aggregate::Count,
        }
    }
}

fn baseline(text: &str) -> Result<Baseline, Invalid> {
    match text {
        "registered" => Ok(Baseline::Registered),
        "previous" => Ok(Baseline::Previous),
        number => {
            let wrong = || Invalid::new("baseline", text, "expected `registered`, `previous` or a number");
            Ok(Baseline::Fixed(Finite::new(number.parse().map_err(|_| wrong())?)?))
        }
    }
}

fn seconds(what: &'static str, number: u64) -> Result<u32, Invalid> {
    u32::try_from(number)
        .map_err(|_| Invalid::new(what, number, "is longer than any window; 49,710 days at most"))
}

impl Set {
    fn rule(&self) -> Result<Rule, Failure> {
        if let Some(path) = &self.file {
            return parsed_file(path);
        }
        let condition = match (self.above, self.below, self.worse_by, self.better) {
            (Some(bound), ..) => Condition::Above(Finite::new(bound)?),
            (None, Some(bound), ..) => Condition::Below(Finite::new(bound)?),
            (None, None, Some(share), Some(better)) => {
                Condition::WorseBy { share: Finite::new(share)?, better, baseline: self.baseline }
            }
            _ => return Err(Invalid::new("rule", &self.name, "says nothing that must not happen").into()),
        };
        let metric = self.metric.clone().ok_or_else(|| Invalid::new("rule", &self.name, "needs a metric"))?;
        let mut rule = Rule::new(metric, condition).of(self.aggregate.into());
        let window = seconds("window", self.window)?;
        rule.window_seconds = NonZeroU32::new(window)
            .ok_or_else(|| Invalid::new("window", 0, "must be longer than nothing"))?;
        rule.for_seconds = seconds("duration", self.r#for.unwrap_or(0))?;
        rule.samples_min = self.samples;
        rule.response = if self.alert { Response::Alert } else { Response::RollBack };
        rule.dry_run = self.try_out;
        Ok(rule)
    }

    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let rule = self.rule()?;
        rule.check()?;
        let registry = session.open(purpose(self.model.as_ref(), by.dry_run)).await?;
        let of = scope(self.model.as_ref());
        let receipt = registry.set_monitor_rule(&by, &of, self.name, Some(rule)).await?;
        tell(session, registry.as_ref(), self.model.as_ref(), &receipt).await
    }
}

/// `registry rules remove slow`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The name of the rule
    name: Key,
    /// The model. Default: all models
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    #[command(flatten)]
    writing: Writing,
}

impl Remove {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let of = scope(self.model.as_ref());
        let receipt = registry.set_monitor_rule(&by, &of, self.name, None).await?;
        tell(session, registry.as_ref(), self.model.as_ref(), &receipt).await
    }
}

/// `registry observe fraud-detection --metric latency --value 35 --value 40`
#[derive(Debug, Args)]
pub(crate) struct Observe {
    /// The model
    model: ModelName,
    /// The version that answered
    #[arg(default_value = "production")]
    selector: Selector,
    /// What was observed
    #[arg(long, value_name = "NAME")]
    metric: Key,
    /// A value, repeatable
    #[arg(long, value_name = "NUMBER", required_unless_present = "values", allow_negative_numbers = true)]
    value: Vec<f64>,
    /// A file of values, one a line
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// When observing began. Default: a minute ago, or when it ended
    #[arg(long, value_name = "INSTANT")]
    from: Option<Timestamp>,
    /// When it ended. Default: now
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
    /// Where it was observed, if there are several places
    #[arg(long, value_name = "NAME")]
    replica: Option<Text>,
    #[command(flatten)]
    writing: Writing,
}

impl Observe {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let mut values = self.value.clone();
        if let Some(path) = &self.values {
            for (number, line) in
                text_file(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
            {
                let value = line.trim().parse().map_err(|_| {
                    Failure::file(path, format!("line {} is not a number", number.saturating_add(1)))
                })?;
                values.push(value);
            }
        }
        let registry = session.open_to_change(by.dry_run).await?;
        let version = registry.get(&self.model, &self.selector).await?;
        let until = self.until.unwrap_or_else(|| registry.clock().now());
        let a_minute_before = Timestamp::from_microseconds(until.microseconds().saturating_sub(60_000_000))?;
        // A version that entered production just now was not observed before.
        let from = self.from.unwrap_or_else(|| a_minute_before.max(version.staged.at).min(until));
        let summary = Summary {
            version: version.version.clone(),
            metric: self.metric,
            from,
            until,
            replica: self.replica,
            observed: Observed::of(values),
        };
        let many = summary.observed.count.saturating_add(summary.observed.not_numbers);
        let receipt = registry.report_health(&by, &self.model, vec![summary]).await?;
        if session.out.json {
            return tell(session, registry.as_ref(), None, &receipt).await;
        }
        let many = words::count(many, "observation", "observations");
        let would = if by.dry_run { "would report" } else { "reported" };
        session.out.line(format!("{would} {many} of {} {}", self.model, version.version))
    }
}

/// `registry monitor fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// The model
    model: ModelName,
    /// Look once and end
    #[arg(long)]
    once: bool,
    /// How often to look whether a rule is due
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds, default_value = "10s")]
    every: u64,
}

#[derive(Serialize)]
struct FindingView<'a> {
    model: &'a ModelName,
    rule: &'a Key,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    breach: &'a registry_core::monitor::Breach,
}

impl Monitor {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Change).await?;
        let mut monitor = CoreMonitor::new(Arc::clone(&registry), self.model.clone());
        loop {
            let findings = monitor.look().await?;
            for finding in &findings {
                show(session, finding)?;
            }
            if self.once {
                if findings.is_empty() && !session.out.json {
                    return session.out.line("no rule is broken");
                }
                return Ok(());
            }
            session.out.flush()?;
            registry.clock().sleep(Duration::from_secs(self.every.max(1))).await;
        }
    }
}

fn show(session: &mut Session, finding: &Finding) -> Result<(), Failure> {
    let Finding { model, rule, breach, action, .. } = finding;
    let (word, to, problem) = match action {
        Action::RolledBack { to } => ("rolled_back", Some(to.to_string()), None),
        Action::AlreadyGone => ("already_gone", None, None),
        Action::Refused(problem) => ("refused", None, Some(problem.as_str())),
        _ => ("alerted", None, None),
    };
    if session.out.json {
        return session.out.json_line(&FindingView { model, rule, action: word, to, problem, breach });
    }
    let version = &breach.watched.version;
    let done = match action {
        Action::RolledBack { to } => format!("rolled back from {version} to {to}"),
        Action::AlreadyGone => format!("{version} was taken out already"),
        Action::Refused(problem) => format!("{version} could not be rolled back: {problem}"),
        _ => format!("{version} is still there"),
    };
    let line = format!("{} {model}: rule {rule}: {}; {done}", words::time(last(breach)), breach.reason);
    session.out.line(harmless(&line))
}

fn last(breach: &registry_core::monitor::Breach) -> Timestamp {
    breach.measurements.last().map_or(breach.watched.since, |measurement| measurement.at)
}
