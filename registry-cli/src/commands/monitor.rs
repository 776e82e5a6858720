//! Why this exists: what must not happen to a model in production is said here, what was observed is brought here by
//! those who count elsewhere, and this is who looks.

use std::collections::BTreeMap;
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
    Direction, Finite, Invalid, Key, ModelName, Registry as _, RegistryExt as _, Scope, Selector, Text,
    Timestamp, Version,
};
use registry_monitoring::{Notification, Prometheus, summaries};

use crate::card::units;
use crate::cli::Writing;
use crate::commands::policy::{purpose, scope};
use crate::commands::{Session, tell, warn};
use crate::failure::{Failure, Kind};
use crate::input::{Pair, at_least_one, direction, parsed_file, percent, text_file};
use crate::output::harmless;
use crate::output::one_line;
use crate::outside::{Pulling, Telling};
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
    /// The model whose own rules are shown too
    model: Option<ModelName>,
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let policy = registry.policy(&scope(self.model.as_ref())).await?;
        if session.out.json {
            return session.out.document(&policy.monitor);
        }
        let Some(model) = &self.model else {
            if policy.monitor.is_empty() {
                return session.out.line("there are no rules; `registry rules set` makes one");
            }
            return show_rules(session, "", &policy.monitor);
        };
        let of_all = registry.policy(&Scope::Registry).await?;
        for (title, rules, if_none) in [
            ("all models", &of_all.monitor, "no rules"),
            (model.as_str(), &policy.monitor, "no rules of its own"),
        ] {
            session.out.line(session.out.paint().bold(title))?;
            if rules.is_empty() {
                session.out.line(format!("  {if_none}"))?;
            }
            show_rules(session, "  ", rules)?;
        }
        Ok(())
    }
}

fn show_rules(session: &mut Session, indent: &str, rules: &BTreeMap<Key, Rule>) -> Result<(), Failure> {
    for (name, rule) in rules {
        session.out.line(harmless(&format!("{indent}{name}: {rule}")))?;
    }
    Ok(())
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
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one::<NonZeroU32>)]
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
    #[arg(
        long,
        value_name = "NUMBER",
        required_unless_present_any = ["values", "prometheus"],
        allow_negative_numbers = true
    )]
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
    pulling: Pulling,
    /// An expression of PromQL: what it is worth when observing ended is what was observed
    #[arg(
        long,
        value_name = "EXPRESSION",
        requires = "prometheus",
        conflicts_with_all = ["value", "values"],
        help_heading = "Prometheus"
    )]
    query: Option<String>,
    /// What it is worth all so often from the beginning until the end, for example 30s
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = units::whole_seconds,
        requires_all = ["query", "from"],
        help_heading = "Prometheus"
    )]
    step: Option<u64>,
    #[command(flatten)]
    writing: Writing,
}

impl Observe {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let server = self.pulling.server()?;
        let values = self.given()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let version = registry.get(&self.model, &self.selector).await?;
        let until = self.until.unwrap_or_else(|| registry.clock().now());
        let found = match (&server, &self.query) {
            (Some(server), Some(query)) => self.pulled(server, query, until, &version.version).await?,
            _ => {
                let a_minute_before =
                    Timestamp::from_microseconds(until.microseconds().saturating_sub(60_000_000))?;
                // A version that entered production just now was not observed before.
                let from = self.from.unwrap_or_else(|| a_minute_before.max(version.staged.at).min(until));
                vec![Summary {
                    version: version.version.clone(),
                    metric: self.metric.clone(),
                    from,
                    until,
                    replica: self.replica.clone(),
                    observed: Observed::of(values),
                }]
            }
        };
        let counts: Vec<(Version, u64)> = found
            .iter()
            .map(|summary| {
                let observed = &summary.observed;
                (summary.version.clone(), observed.count.saturating_add(observed.not_numbers))
            })
            .collect();
        let receipt = registry.report_health(&by, &self.model, found).await?;
        if session.out.json {
            return tell(session, registry.as_ref(), None, &receipt).await;
        }
        if counts.is_empty() {
            return session.out.line("there is nothing to report: the expression has no value there");
        }
        for (version, many) in counts {
            let many = words::count(many, "observation", "observations");
            let would = if by.dry_run { "would report" } else { "reported" };
            session.out.line(format!("{would} {many} of {} {version}", self.model))?;
        }
        Ok(())
    }

    /// The values that were typed, or are in a file.
    fn given(&self) -> Result<Vec<f64>, Failure> {
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
        Ok(values)
    }

    async fn pulled(
        &self,
        server: &Prometheus,
        query: &str,
        until: Timestamp,
        version: &Version,
    ) -> Result<Vec<Summary>, Failure> {
        let series = match (self.step, self.from) {
            (Some(step), Some(from)) => server.range(query, from, until, Duration::from_secs(step)).await?,
            (None, Some(from)) => {
                let problem = "with an expression, a beginning needs --step: how often it is looked at";
                return Err(Invalid::new("beginning", from, problem).into());
            }
            (_, None) => server.instant(query, until).await?,
        };
        let mapping = self.pulling.mapping(self.metric.clone(), self.replica.clone());
        Ok(summaries(&series, &mapping, version)?)
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
    #[command(flatten)]
    telling: Telling,
    #[command(flatten)]
    pulling: Pulling,
    /// A metric and the expression of PromQL that is what is observed of it, repeatable. It is pulled when a rule on
    /// the metric is due
    #[arg(long, value_name = "NAME=EXPRESSION", requires = "prometheus", help_heading = "Prometheus")]
    query: Vec<Pair>,
    /// Expressions are looked at at whole multiples of this, so that several monitors pull the same numbers
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = units::whole_seconds,
        default_value = "15s",
        help_heading = "Prometheus"
    )]
    step: u64,
}

impl Monitor {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let webhooks = self.telling.webhooks()?;
        let sources = self.pulling.sources(&self.query, Duration::from_secs(self.step))?;
        let in_lines = session.out.json || self.telling.in_lines();
        let registry = session.open(Purpose::Change).await?;
        let mut monitor = CoreMonitor::new(Arc::clone(&registry), self.model.clone());
        for webhook in webhooks {
            monitor = monitor.telling(webhook);
        }
        for source in sources {
            monitor = monitor.pulling(Arc::new(source));
        }
        // What is wrong from the beginning is told at once. What goes wrong later may pass, and somebody must look.
        let mut looked = monitor.look().await;
        loop {
            let findings = looked?;
            for finding in &findings {
                show(session, finding, in_lines).map_err(unheard)?;
            }
            if self.once {
                if findings.is_empty() && !in_lines {
                    return session.out.line("no rule is broken");
                }
                return findings.iter().try_for_each(not_done);
            }
            session.out.flush().map_err(unheard)?;
            registry.clock().sleep(Duration::from_secs(self.every.max(1))).await;
            looked = monitor.look().await;
            if let Err(error) = &looked {
                warn(&format!("looked in vain, and will look again: {}", one_line(&error.to_string())));
                looked = Ok(Vec::new());
            }
        }
    }
}

/// Elsewhere a closed output only means that nobody reads on. Here somebody relies on it that rules are looked at.
fn unheard(failure: Failure) -> Failure {
    match failure {
        Failure::Output(error) => Failure::new(
            Kind::Unavailable,
            format!("the output cannot be written to any more, so the monitor ends: {error}"),
        ),
        other => other,
    }
}

fn show(session: &mut Session, finding: &Finding, in_lines: bool) -> Result<(), Failure> {
    for problem in &finding.untold {
        warn(&format!("somebody could not be told: {problem}"));
    }
    let notification = Notification::from(finding);
    if in_lines {
        return session.out.json_line(&notification);
    }
    session.out.line(harmless(&format!("{} {notification}", words::time(notification.time))))
}

/// A rollback that should have been done, and was not as far as anybody knows, is a failure.
fn not_done(finding: &Finding) -> Result<(), Failure> {
    match &finding.action {
        Action::NotDone(problem) => Err(Failure::new(Kind::Unavailable, problem)),
        Action::InDoubt(problem) => Err(Failure::new(Kind::OutcomeUnknown, problem)),
        _ => Ok(()),
    }
}
