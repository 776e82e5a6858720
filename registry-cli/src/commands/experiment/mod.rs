//! Why this exists: training scripts in any language track their runs with these commands: begin a run, say what it
//! does, register what came out of it, end it. `run.rs` does it around a command that knows nothing of runs.

mod run;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use registry_core::experiment::{
    HostFact, Lease, MetricPoint, MetricValue, POINTS_MAX, ParamValue, RunEnd, RunEnvironment, RunLog,
    RunOutcome, RunStarted, RunState, RunStatus,
};
use registry_core::{
    By, Error, ExperimentName, Invalid, Key, Manifest, ModelVersion, Receipt, Registry, RegistryExt as _,
    Rejection, RunName, Text, Timestamp,
};
use registry_files::Capture;
use serde::Serialize;

use crate::card::units;
use crate::cli::Writing;
use crate::commands::Session;
use crate::commands::register::{self, scan, uploaded};
use crate::failure::{Failure, Kind};
use crate::input::{Pair, text_file};
use crate::output::{one_line, quoted};
use crate::place::Purpose;
use crate::table::Table;
use crate::view::Done;
use crate::words;

/// What can be done with experiments.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum ExperimentCommand {
    /// Begin a run, and say its name
    Start(Start),
    /// Write down what a run says: parameters and values of metrics
    Log(Log),
    /// Store files of a run
    Artifact(ArtifactCommand),
    /// Register a version out of a run
    Register(Box<RegisterCommand>),
    /// End a run that did what it was meant to do
    Finish(Finish),
    /// End a run that could not
    Fail(Fail),
    /// End a run that was broken off
    Abort(Abort),
    /// List the experiments, or the runs of one
    List(List),
    /// Show a run
    Show(Show),
    /// Run a command as a run, which ends as the command does
    Run(run::RunCommand),
}

impl ExperimentCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            ExperimentCommand::Start(start) => start.run(session).await,
            ExperimentCommand::Log(log) => log.run(session).await,
            ExperimentCommand::Artifact(artifact) => artifact.run(session).await,
            ExperimentCommand::Register(register) => register.run(session).await,
            ExperimentCommand::Finish(Finish { run, writing }) => {
                end(session, &run, &writing, RunOutcome::Finished).await
            }
            ExperimentCommand::Fail(Fail { why, run, writing }) => {
                let reason = reason("fail", why)?;
                end(session, &run, &writing, RunOutcome::Failed { reason }).await
            }
            ExperimentCommand::Abort(Abort { why, run, writing }) => {
                let reason = reason("abort", why)?;
                end(session, &run, &writing, RunOutcome::Aborted { reason }).await
            }
            ExperimentCommand::List(list) => list.run(session).await,
            ExperimentCommand::Show(show) => show.run(session).await,
            ExperimentCommand::Run(run) => run.run(session).await,
        }
    }
}

/// What is captured of what a run is carried out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Nothing
    None,
    /// The commit of the folder, and whether files differ from it
    Git,
    /// The version of the Rust compiler
    Rust,
    /// The version of Python
    Python,
    /// The operating system
    System,
    /// The processor's architecture
    Architecture,
    /// How many processors there are
    Processors,
    /// The machine's name
    HostName,
}

/// What a run begins with.
#[derive(Debug, Args)]
struct Beginning {
    /// The increment or work item that asked for it
    #[arg(long, value_name = "TEXT")]
    increment: Option<Text>,
    /// A parameter, repeatable; a value that is JSON is taken as such
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<Pair>,
    /// How long it may give no sign of life before it reads as aborted
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds, default_value = "24h")]
    lease: u64,
    /// What to capture of this machine and folder, separated by commas
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',', default_value = "git")]
    capture: Vec<What>,
    /// Capture the crates in this Cargo.lock
    #[arg(long, value_name = "FILE")]
    cargo_lock: Option<PathBuf>,
    /// Capture the packages in this requirements.txt, without what may be secret in addresses
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
}

impl Beginning {
    fn started(&self) -> Result<RunStarted, Failure> {
        Ok(RunStarted {
            increment: self.increment.clone(),
            params: params(&self.param)?,
            lease: Lease::of_seconds(self.lease)?,
            environment: self.environment(),
        })
    }

    fn environment(&self) -> RunEnvironment {
        let mut capture = Capture::new(".");
        for what in &self.capture {
            capture = match what {
                What::None => capture,
                What::Git => capture.git(),
                What::Rust => capture.rust(),
                What::Python => capture.python(),
                What::System => capture.host([HostFact::System]),
                What::Architecture => capture.host([HostFact::Architecture]),
                What::Processors => capture.host([HostFact::Processors]),
                What::HostName => capture.host([HostFact::HostName]),
            };
        }
        if let Some(path) = &self.cargo_lock {
            capture = capture.cargo_lock(path);
        }
        if let Some(path) = &self.requirements {
            capture = capture.requirements(path);
        }
        capture.look()
    }
}

fn params(given: &[Pair]) -> Result<std::collections::BTreeMap<Key, ParamValue>, Invalid> {
    let mut params = std::collections::BTreeMap::new();
    for pair in given {
        let name: Key = pair.name.parse()?;
        let value = ParamValue::new(pair.json()).map_err(|invalid| {
            Invalid::new("parameter", &pair.name, format!("its value {}", invalid.problem))
        })?;
        if params.insert(name, value).is_some() {
            return Err(Invalid::new("parameter", &pair.name, "is given twice"));
        }
    }
    Ok(params)
}

/// Which run is meant.
#[derive(Debug, Args)]
struct Which {
    /// The run, such as xgboost-v1:17
    #[arg(long, env = "REGISTRY_RUN", value_name = "RUN")]
    run: RunName,
}

/// What became of a request, for programs.
#[derive(Serialize)]
struct OfRun<'a> {
    run: &'a RunName,
}

fn tell(session: &mut Session, run: &RunName, receipt: &Receipt) -> Result<(), Failure> {
    if session.out.json {
        return session.out.document(&Done::new(None, receipt, OfRun { run }));
    }
    let name = session.out.paint().bold(run.experiment.as_str());
    let would = match &receipt.outcome {
        registry_core::Outcome::Rehearsed(_) => "dry run, nothing was written; it would be recorded: ",
        registry_core::Outcome::Unchanged => return session.out.line(format!("{name}: it is so already")),
        _ => "",
    };
    for event in receipt.events() {
        session.out.line(format!("{name}: {would}{}", words::sentence(event, &words::Requests::new())))?;
    }
    Ok(())
}

/// `registry experiment start xgboost-v1 --increment 0042 --param max_depth=6`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The experiment; a new name makes a new one
    experiment: ExperimentName,
    #[command(flatten)]
    beginning: Beginning,
    #[command(flatten)]
    writing: Writing,
}

impl Start {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let started = self.beginning.started()?;
        let registry = session.open(if by.dry_run { Purpose::Read } else { Purpose::Begin }).await?;
        let begun = registry.start_run(&by, &self.experiment, started).await?;
        if session.out.json || by.dry_run {
            return tell(session, &begun.run, &begun.receipt);
        }
        // The name and nothing else, for `REGISTRY_RUN=$(registry experiment start …)`.
        session.out.line(begun.run.to_string())
    }
}

/// `loss=0.35`; the number may be NaN or infinite.
#[derive(Debug, Clone)]
struct Measured {
    metric: Key,
    value: MetricValue,
}

impl std::str::FromStr for Measured {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("value", text, "expected `NAME=NUMBER`, for example `loss=0.35`");
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value: f64 = value.trim().parse().map_err(|_| wrong())?;
        Ok(Measured { metric: name.parse()?, value: value.into() })
    }
}

/// `registry experiment log --metric loss=0.35 --step 3`
#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(flatten)]
    which: Which,
    /// A parameter, repeatable; each is set once
    #[arg(long, value_name = "NAME=VALUE", required_unless_present_any = ["metric", "csv"])]
    param: Vec<Pair>,
    /// A value of a metric, repeatable
    #[arg(long, value_name = "NAME=NUMBER")]
    metric: Vec<Measured>,
    /// The step at which the values were measured
    #[arg(long, value_name = "N", default_value = "0")]
    step: u64,
    /// A file of lines `step,name,value`, such as `3,loss,0.35`, without a header
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// When the values were measured. Default: now; needed with --request-id, since what is sent again must be the same
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    #[command(flatten)]
    writing: Writing,
}

impl Log {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let params = params(&self.param)?;
        let mut values: Vec<(u64, Measured)> =
            self.metric.into_iter().map(|measured| (self.step, measured)).collect();
        if let Some(path) = &self.csv {
            values.extend(csv(&text_file(path)?).map_err(|problem| Failure::file(path, problem))?);
        }
        if by.request_id.is_some() && self.at.is_none() && !values.is_empty() {
            let problem = "needs --at with values: what is sent again must be the same, also in its time";
            return Err(Invalid::new("option", "--request-id", problem).into());
        }
        let registry = session.open_to_change(by.dry_run).await?;
        let at = self.at.unwrap_or_else(|| registry.clock().now());
        let point = |(step, Measured { metric, value })| MetricPoint { metric, step, value, at };
        let points: Vec<MetricPoint> = values.into_iter().map(point).collect();
        let mut batches = points.chunks(POINTS_MAX);
        let first = batches.next().unwrap_or_default().to_vec();
        let log = RunLog { params, points: first, ..RunLog::default() };
        let run = &self.which.run;
        let receipt = registry.log_run(&by, run, log).await?;
        for (number, batch) in batches.enumerate() {
            let log = RunLog { points: batch.to_vec(), ..RunLog::default() };
            registry.log_run(&numbered(&by, number)?, run, log).await?;
        }
        if session.out.json || by.dry_run {
            return tell(session, run, &receipt);
        }
        let name = session.out.paint().bold(run.experiment.as_str());
        let params = receipt.events().iter().filter(|event| event.kind() == "run_params_logged");
        for event in params {
            session.out.line(format!("{name}: {}", words::sentence(event, &words::Requests::new())))?;
        }
        if !points.is_empty() {
            session.out.line(format!("{name}: {}", words::logged(run.run, &points)))?;
        } else if receipt.events().is_empty() {
            session.out.line(format!("{name}: it is so already"))?;
        }
        Ok(())
    }
}

/// The request for the values behind the first ones. What is sent again goes under the same ids again.
fn numbered(by: &By, number: usize) -> Result<By, Invalid> {
    let by = By { expected: None, ..by.clone() };
    Ok(match &by.request_id {
        Some(id) => by.with_request_id(format!("{id}.{}", number.saturating_add(1)).parse()?),
        None => by,
    })
}

/// The values in lines `step,name,value`. The first line may say just that.
fn csv(text: &str) -> Result<Vec<(u64, Measured)>, String> {
    let mut values = Vec::new();
    let expected = "expected `step,name,value`, for example `3,loss,0.35`, one value a line";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut fields = line.splitn(3, ',').map(str::trim);
        let (Some(step), Some(name), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            if line.is_empty() {
                continue;
            }
            return Err(format!("line {}: {expected}", number.saturating_add(1)));
        };
        if number == 0 && (step, name, value) == ("step", "name", "value") {
            continue;
        }
        let wrong = |problem: String| format!("line {}: {problem}", number.saturating_add(1));
        let step =
            step.parse().map_err(|_| wrong(format!("`{}` is not a step; {expected}", one_line(step))))?;
        let metric = name.parse().map_err(|invalid: Invalid| wrong(invalid.to_string()))?;
        let value: f64 =
            value.parse().map_err(|_| wrong(format!("`{}` is not a number; {expected}", one_line(value))))?;
        values.push((step, Measured { metric, value: value.into() }));
    }
    Ok(values)
}

/// `registry experiment artifact checkpoints/`
#[derive(Debug, Args)]
pub(crate) struct ArtifactCommand {
    /// Files and folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    writing: Writing,
}

impl ArtifactCommand {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let files = scan(&self.paths)?;
        let run = &self.which.run;
        let registry = session.open_to_change(by.dry_run).await?;
        // Before bytes are sent: is there such a run, and does it go on?
        let known = registry.run(run).await?;
        if let Some(RunEnd { outcome, .. }) = &known.ended {
            let outcome = outcome.clone();
            return Err(registry_core::Rejection::RunEnded { run: run.clone(), outcome }.into());
        }
        if by.dry_run {
            let many = words::count(files.len() as u64, "file", "files");
            return session.out.line(format!("{run}: would store {many}"));
        }
        let artifacts: Manifest =
            uploaded(registry.as_ref(), &run.to_string(), &files, !session.out.json).await?;
        let receipt = registry.log_run(&by, run, RunLog { artifacts, ..RunLog::default() }).await?;
        tell(session, run, &receipt)
    }
}

/// `registry experiment register fraud-detection-model model.pkl`
#[derive(Debug, Args)]
pub(crate) struct RegisterCommand {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    register: register::Register,
}

impl RegisterCommand {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.register.out_of(Some(self.which.run), session).await
    }
}

/// `registry experiment finish`
#[derive(Debug, Args)]
pub(crate) struct Finish {
    #[command(flatten)]
    run: Which,
    #[command(flatten)]
    writing: Writing,
}

/// `registry experiment fail "out of memory"`
#[derive(Debug, Args)]
pub(crate) struct Fail {
    /// Why it could not do what it was meant to do
    why: Text,
    #[command(flatten)]
    run: Which,
    #[command(flatten)]
    writing: Writing,
}

/// `registry experiment abort "another run is better already"`
#[derive(Debug, Args)]
pub(crate) struct Abort {
    /// Why it was broken off
    why: Text,
    #[command(flatten)]
    run: Which,
    #[command(flatten)]
    writing: Writing,
}

/// Why a run ends. The name of a run is none: whoever typed it meant that run, and would end the one that
/// `REGISTRY_RUN` names.
fn reason(verb: &str, why: Text) -> Result<Text, Failure> {
    if why.as_str().parse::<RunName>().is_err() {
        return Ok(why);
    }
    let run = one_line(why.as_str());
    let message = format!(
        "`{run}` is the name of a run, and a reason was expected; to end that run: \
         registry experiment {verb} \"why\" --run {}",
        quoted(&run)
    );
    Err(Failure::new(Kind::Invalid, message))
}

async fn end(
    session: &mut Session,
    which: &Which,
    writing: &Writing,
    outcome: RunOutcome,
) -> Result<(), Failure> {
    let by = writing.by()?;
    let registry = session.open_to_change(by.dry_run).await?;
    let receipt = registry.end_run(&by, &which.run, outcome).await?;
    tell(session, &which.run, &receipt)
}

/// `registry experiment list`, `registry experiment list xgboost-v1`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The experiment. Default: all, without their runs
    experiment: Option<ExperimentName>,
    /// The most to show: of runs, the last ones
    #[arg(long, value_name = "N", default_value = "50")]
    limit: usize,
    /// Experiments behind this one
    #[arg(long, value_name = "NAME", conflicts_with = "experiment")]
    after: Option<ExperimentName>,
}

/// An experiment in a list.
#[derive(Serialize)]
struct ExperimentRow {
    experiment: ExperimentName,
    runs: usize,
    last: Option<RunRow>,
}

/// A run in a list.
#[derive(Serialize)]
struct RunRow {
    run: RunName,
    status: &'static str,
    /// Whether it reads as aborted because it gave no sign of life, and nobody said so.
    is_lost: bool,
    started_at: Timestamp,
    started_by: registry_core::Actor,
    seen_at: Timestamp,
    increment: Option<Text>,
    versions: Vec<ModelVersion>,
}

impl RunRow {
    fn new(run: RunName, state: &RunState, now: Timestamp) -> Self {
        let status = state.status(now);
        RunRow {
            run,
            status: word(status),
            is_lost: matches!(status, RunStatus::Aborted { is_lost: true, .. }),
            started_at: state.started.at,
            started_by: state.started.actor.clone(),
            seen_at: state.seen,
            increment: state.increment.clone(),
            versions: state.versions.keys().cloned().collect(),
        }
    }

    fn status(&self) -> String {
        if self.is_lost { format!("{} (lost)", self.status) } else { self.status.to_owned() }
    }
}

/// For programs, which read apart whether it is lost.
fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Finished => "finished",
        RunStatus::Failed => "failed",
        _ => "aborted",
    }
}

impl List {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let now = registry.clock().now();
        let Some(experiment) = self.experiment else {
            return list_experiments(session, registry.as_ref(), self.after.as_ref(), self.limit, now).await;
        };
        let state = registry.runs(&experiment).await?;
        let named = |run| RunName { experiment: experiment.clone(), run };
        let rows = state.runs().rev().take(self.limit);
        let rows: Vec<RunRow> = rows.map(|(run, found)| RunRow::new(named(run), found, now)).collect();
        if session.out.json {
            return session.out.document(&serde_json::json!({"experiment": experiment, "runs": rows}));
        }
        let mut table = Table::new(["RUN", "STATUS", "STARTED", "BY", "INCREMENT", "VERSIONS"]);
        for row in &rows {
            table.row([
                row.run.to_string(),
                row.status(),
                words::time(row.started_at),
                row.started_by.to_string(),
                row.increment.as_ref().map(ToString::to_string).unwrap_or_default(),
                row.versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            ]);
        }
        session.out.line(table.render(session.out.paint(), ""))
    }
}

async fn list_experiments(
    session: &mut Session,
    registry: &dyn Registry,
    after: Option<&ExperimentName>,
    limit: usize,
    now: Timestamp,
) -> Result<(), Failure> {
    let names = registry.experiments(after, limit).await?;
    let next = names.last().filter(|_| names.len() == limit).cloned();
    let mut rows = Vec::new();
    for experiment in names {
        let state = match registry.runs(&experiment).await {
            Ok(state) => state,
            // One whose first run is on its way, or never came, is a name without runs.
            Err(Error::Rejected(Rejection::ExperimentNotFound { .. })) => continue,
            Err(error) => return Err(error.into()),
        };
        let last = state.runs().next_back();
        let last =
            last.map(|(run, found)| RunRow::new(RunName { experiment: experiment.clone(), run }, found, now));
        rows.push(ExperimentRow { runs: state.runs().count(), last, experiment });
    }
    if session.out.json {
        return session.out.document(&serde_json::json!({"experiments": rows, "next": next}));
    }
    if rows.is_empty() {
        return session.out.line("there are no experiments; `registry experiment start` makes one");
    }
    let mut table = Table::new(["EXPERIMENT", "#RUNS", "LAST", "STATUS", "STARTED"]);
    for row in &rows {
        let last = row.last.as_ref();
        table.row([
            row.experiment.to_string(),
            row.runs.to_string(),
            last.map(|last| last.run.to_string()).unwrap_or_default(),
            last.map(RunRow::status).unwrap_or_default(),
            last.map(|last| words::time(last.started_at)).unwrap_or_default(),
        ]);
    }
    session.out.line(table.render(session.out.paint(), ""))?;
    match next {
        Some(next) => {
            session.out.line(format!("more with: registry experiment list --after {}", quoted(next.as_str())))
        }
        None => Ok(()),
    }
}

/// `registry experiment show xgboost-v1:17`, `registry experiment show xgboost-v1:17 --metric loss`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run
    #[arg(env = "REGISTRY_RUN")]
    run: RunName,
    /// Show all values of this metric instead
    #[arg(long, value_name = "NAME")]
    metric: Option<Key>,
    /// As it reads at this instant. Default: now
    #[arg(long, value_name = "INSTANT", conflicts_with = "metric")]
    at: Option<Timestamp>,
}

/// A run, for programs.
#[derive(Serialize)]
struct RunView<'a> {
    run: &'a RunName,
    status: &'static str,
    is_lost: bool,
    /// Since when it reads as aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(flatten)]
    state: &'a RunState,
    /// The versions that came out of it, also those that it could not take note of.
    all_versions: Vec<ModelVersion>,
    environment: RunEnvironment,
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let run = &self.run;
        let state = registry.run(run).await?;
        if let Some(metric) = &self.metric {
            return series(session, registry.as_ref(), run, metric, &state).await;
        }
        let status = state.status(self.at.unwrap_or_else(|| registry.clock().now()));
        let versions: Vec<ModelVersion> = registry.run_versions(run).await?.into_iter().collect();
        let environment = registry.run_environment(run).await?;
        if session.out.json {
            let (is_lost, since) = match status {
                RunStatus::Aborted { since, is_lost } => (is_lost, Some(since)),
                _ => (false, None),
            };
            let state = &*state;
            let all_versions = versions;
            let status = word(status);
            return session.out.document(&RunView {
                run,
                status,
                is_lost,
                since,
                state,
                all_versions,
                environment,
            });
        }
        show(session, run, &state, status, &versions, &environment)
    }
}

async fn series(
    session: &mut Session,
    registry: &dyn Registry,
    run: &RunName,
    metric: &Key,
    state: &RunState,
) -> Result<(), Failure> {
    if !state.metrics.contains_key(metric) {
        let known: Vec<&str> = state.metrics.keys().map(Key::as_str).take(10).collect();
        let problem = match known.is_empty() {
            true => "the run has logged no values".to_owned(),
            false => format!("the run has no values of it; it has {}", known.join(", ")),
        };
        return Err(Invalid::new("metric", metric, problem).into());
    }
    let mut from = None;
    loop {
        let page = registry.run_metrics(run, Some(metric), from).await?;
        for point in &page.points {
            if session.out.json {
                session.out.json_line(point)?;
            } else {
                session.out.line(format!("{},{},{}", point.step, point.metric, point.value))?;
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        from = page.next;
    }
}

fn show(
    session: &mut Session,
    run: &RunName,
    state: &RunState,
    status: RunStatus,
    versions: &[ModelVersion],
    environment: &RunEnvironment,
) -> Result<(), Failure> {
    let paint = session.out.paint();
    let mut lines = vec![paint.bold(&run.to_string())];
    let mut field = |name: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("  {} {}", paint.dim(&format!("{name:<13}")), one_line(&text)));
        }
    };
    field("status", standing(state, status));
    field("started", words::stamp(&state.started));
    field("increment", state.increment.as_ref().map(ToString::to_string).unwrap_or_default());
    field("versions", versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    if let Some(git) = &environment.git {
        let dirty = match git.is_dirty {
            Some(true) => ", with changes that were not committed",
            Some(false) => "",
            None => ", perhaps with changes",
        };
        field("git", format!("{}{dirty}", git.commit));
    }
    field("rust", environment.rust.as_ref().map(ToString::to_string).unwrap_or_default());
    field("python", environment.python.as_ref().map(ToString::to_string).unwrap_or_default());
    for (fact, value) in &environment.host {
        field(&fact.as_str().replace('_', " "), value.to_string());
    }
    field(
        "packages",
        environment.files.iter().map(|file| file.name().as_str()).collect::<Vec<_>>().join(", "),
    );
    for absent in &environment.absent {
        field("absent", format!("{}: {}", absent.what, absent.why));
    }
    for line in lines {
        session.out.line(line)?;
    }
    if !state.params.is_empty() {
        let mut table = Table::new(["PARAMETER", "VALUE"]);
        for (name, value) in &state.params {
            table.row([name.to_string(), value.to_string()]);
        }
        session.out.line(format!("\n{}", table.render(paint, "  ")))?;
    }
    if !state.metrics.is_empty() {
        let mut table = Table::new(["METRIC", "#LAST", "#STEP", "#MIN", "#MAX", "#VALUES", "#NO NUMBERS"]);
        for (name, summary) in &state.metrics {
            let number =
                |number: Option<registry_core::Finite>| number.map(words::number).unwrap_or_default();
            let none = if summary.not_numbers == 0 { String::new() } else { summary.not_numbers.to_string() };
            table.row([
                name.to_string(),
                summary.last.to_string(),
                summary.step.to_string(),
                number(summary.min),
                number(summary.max),
                summary.count.to_string(),
                none,
            ]);
        }
        session.out.line(format!("\n{}", table.render(paint, "  ")))?;
    }
    if !state.artifacts.is_empty() {
        let mut table = Table::new(["FILE", "#SIZE"]);
        for file in state.artifacts.values() {
            table.row([file.path.to_string(), words::bytes(file.size)]);
        }
        session.out.line(format!("\n{}", table.render(paint, "  ")))?;
    }
    Ok(())
}

/// Where a run stands, and why.
fn standing(state: &RunState, status: RunStatus) -> String {
    match (&state.ended, status) {
        (_, RunStatus::Aborted { since, is_lost: true }) => format!(
            "aborted: no sign of life since {}, so lost since {}",
            words::time(state.seen),
            words::time(since)
        ),
        (Some(end), _) => {
            let why = end.outcome.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{} {}{why}", end.outcome.as_str(), words::stamp(&end.at))
        }
        (None, _) => {
            let lease = words::seconds(state.lease.duration().as_secs());
            format!("running; last sign of life {}, lease {lease}", words::time(state.seen))
        }
    }
}
