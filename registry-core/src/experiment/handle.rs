//! Why this exists: a training program must be able to say what it does in a line, without thinking of requests, batches
//! and ends. It holds a [`Run`]. Values are kept until there are enough of them, or the first has waited long enough,
//! since a commit for each would cost more than the training.
//!
//! A run that is dropped without an end was broken off. Dropping cannot wait, and this crate knows no runtime, so the
//! record of it goes through a spawner, which the caller fills with that of its runtime. Without one, and where the
//! process is killed, the lease of the run tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::command::{By, VersionChoice};
use crate::content::{Artifact, Content, Manifest};
use crate::error::Error;
use crate::ext::{Registered, Registration, RegistryExt as _, Upload};
use crate::invalid::Invalid;
use crate::name::{ExperimentName, Key, ModelName, RunName, Text};
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::time::Timestamp;

use super::environment::RunEnvironment;
use super::record::{
    Lease, METRICS_MAX, MetricPoint, POINTS_MAX, ParamValue, RunLog, RunOutcome, RunStarted,
};

/// How long a value may wait for others, if more are logged.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How many values may wait where they cannot be written down.
const WAITING_MAX: usize = 100_000;
/// How often the end of work is tried where it cannot be recorded, and how long is waited first; each time twice as long.
const ENDS_TRIED_MAX: u32 = 5;
const END_PAUSE: Duration = Duration::from_secs(1);
/// How many request ids are tried for values if others have used them.
const IDS_TRIED_MAX: u32 = 1_000;

/// Work that goes on by itself.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

type Spawner = Arc<dyn Fn(Task) + Send + Sync>;

/// A series of training runs, and what the next one begins with.
///
/// ```
/// use std::sync::Arc;
/// use registry_core::{By, Content, Error, RegistryExt as _, Upload};
///
/// # async fn train() -> Result<(), Error> {
/// let registry = Arc::new(registry_core::in_memory());
/// let by = By::new("alice@example.com".parse()?);
/// let experiment = registry.experiment("xgboost-v1".parse()?, &by).increment("0042".parse()?);
///
/// let registered = experiment
///     .track(async |run| {
///         run.param("max_depth", 6).await?;
///         run.metric("loss", 1, 0.35).await?;
///         let weights = bytes::Bytes::from_static(b"the bytes of the model");
///         let upload = Upload { path: "model.bin".parse()?, source: &weights };
///         run.register_model(&"fraud-detection-model".parse()?, Content::default(), &[upload]).await
///     })
///     .await?;
/// assert_eq!(registered.version.version.to_string(), "v0.1.0");
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(train()).unwrap();
/// ```
#[must_use]
pub struct Experiment<R: ?Sized> {
    registry: Arc<R>,
    name: ExperimentName,
    by: By,
    started: RunStarted,
    spawner: Option<Spawner>,
}

impl<R: ?Sized> Clone for Experiment<R> {
    fn clone(&self) -> Self {
        Experiment {
            registry: Arc::clone(&self.registry),
            name: self.name.clone(),
            by: self.by.clone(),
            started: self.started.clone(),
            spawner: self.spawner.clone(),
        }
    }
}

impl<R: ?Sized> fmt::Debug for Experiment<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Experiment").field("name", &self.name).field("started", &self.started).finish()
    }
}

impl<R: Registry + ?Sized + 'static> Experiment<R> {
    /// The experiment of that name, whose runs are recorded in the name of `by`. Its request id, if it has one, is that
    /// of the start.
    pub fn new(registry: Arc<R>, name: ExperimentName, by: By) -> Self {
        Experiment { registry, name, by, started: RunStarted::default(), spawner: None }
    }

    /// The same, for an increment or work item.
    pub fn increment(mut self, increment: Text) -> Self {
        self.started.increment = Some(increment);
        self
    }

    /// The same, with a parameter that is known from the start.
    pub fn param(mut self, name: Key, value: ParamValue) -> Self {
        self.started.params.insert(name, value);
        self
    }

    /// The same, with what it is carried out with.
    pub fn environment(mut self, environment: RunEnvironment) -> Self {
        self.started.environment = environment;
        self
    }

    /// The same, with a lease: how long a run may give no sign of life before it reads as aborted. A day unless told
    /// otherwise.
    pub fn lease(mut self, lease: Lease) -> Self {
        self.started.lease = lease;
        self
    }

    /// The same, recording a run that is dropped without an end as aborted at once. `spawn` starts a task, as
    /// `|task| { tokio::spawn(task); }` does.
    pub fn spawning(mut self, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        self.spawner = Some(Arc::new(spawn));
        self
    }

    /// Begins a run.
    pub async fn start(self) -> Result<Run<R>, Error> {
        let begun = self.registry.start_run(&self.by, &self.name, self.started).await?;
        let by = By { request_id: None, expected: None, ..self.by };
        let values = Values::new(self.registry.clock().now());
        let known = begun.receipt.state.run(begun.run.run);
        let metrics = known.map(|run| run.metrics.keys().cloned().collect()).unwrap_or_default();
        Ok(Run {
            registry: self.registry,
            by,
            name: begun.run,
            values,
            metrics,
            spawner: self.spawner,
            ended: None,
        })
    }

    /// Begins a run, does the work, and ends the run: as finished, or as failed for the reason that the work gives,
    /// unless the work has ended it. A run whose work is dropped half-way is dropped as well. An end that cannot be
    /// recorded is tried again for a quarter of a minute.
    pub async fn track<T, E>(self, work: impl AsyncFnOnce(&mut Run<R>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error> + fmt::Display,
    {
        let mut run = self.start().await?;
        match work(&mut run).await {
            Ok(done) => {
                run.end_of_work(RunOutcome::Finished).await?;
                Ok(done)
            }
            Err(error) => {
                let reason = told(&error.to_string())?;
                // What went wrong with the work matters more than what goes wrong with the record of it.
                let _ = run.end_of_work(RunOutcome::Failed { reason }).await;
                Err(error)
            }
        }
    }
}

/// A training run that goes on.
///
/// Values that are logged wait until there are a thousand, or one is logged ten seconds after the first that waits.
/// [`flush`](Run::flush) writes them down at once, and so do registering a version and the end of the run. Values that
/// could not be written down, because the storage cannot be reached, wait for the next time, and none is written twice.
///
/// Dropped without an end, it is recorded as aborted by the spawner of the [`Experiment`], with the values that waited.
/// Without a spawner it reads as aborted when its lease is over.
#[must_use = "a run that is dropped is aborted"]
pub struct Run<R: Registry + ?Sized + 'static> {
    registry: Arc<R>,
    by: By,
    name: RunName,
    values: Values,
    /// The metrics that have values, as far as this handle knows.
    metrics: BTreeSet<Key>,
    spawner: Option<Spawner>,
    /// How it ended, if that is on record.
    ended: Option<RunOutcome>,
}

impl<R: Registry + ?Sized + 'static> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("name", &self.name).field("waiting", &self.values.waiting.len()).finish()
    }
}

impl<R: Registry + ?Sized + 'static> Run<R> {
    /// Its name.
    pub fn name(&self) -> &RunName {
        &self.name
    }

    /// Sets a parameter. The same value again changes nothing; another one is refused.
    pub async fn param(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        let params = [(name.parse()?, ParamValue::new(value)?)].into();
        self.params(params).await
    }

    /// Sets several parameters in one request.
    pub async fn params(&mut self, params: BTreeMap<Key, ParamValue>) -> Result<(), Error> {
        self.log(RunLog { params, ..RunLog::default() }).await
    }

    /// Logs a value of a metric, which may be any number, NaN included. It waits for others.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] means that the value was not taken. With any other error it was: it could not be written down
    /// yet, waits for the next time, and would be there twice if it were logged again.
    pub async fn metric(&mut self, name: &str, step: u64, value: f64) -> Result<(), Error> {
        let metric: Key = name.parse()?;
        self.require_open()?;
        if METRICS_MAX <= self.metrics.len() && !self.metrics.contains(&metric) {
            let problem = format!("would be one more than the {METRICS_MAX} that a run may have");
            return Err(Invalid::new("metric", metric, problem).into());
        }
        if WAITING_MAX <= self.values.waiting.len() {
            match self.flush().await {
                Ok(()) => {}
                Err(Error::Rejected(rejection)) => return Err(rejection.into()),
                Err(error) => {
                    let problem = format!("was not taken: {WAITING_MAX} values wait already; {error}");
                    return Err(Invalid::new("value", format!("{metric} at step {step}"), problem).into());
                }
            }
        }
        let at = self.registry.clock().now();
        self.metrics.insert(metric.clone());
        self.values.waiting.push(MetricPoint { metric, step, value: value.into(), at });
        let waited = |first: &MetricPoint| WAIT_MAX <= at.since(first.at);
        if POINTS_MAX <= self.values.waiting.len() || self.values.waiting.first().is_some_and(waited) {
            let flushed = self.flush().await;
            if matches!(flushed, Err(Error::Rejected(_))) && self.values.sent.is_none() {
                // The refusal may have been of a batch before the one that this value is in.
                self.values.waiting.pop();
            }
            return flushed;
        }
        Ok(())
    }

    /// Stores a file and takes note of it.
    pub async fn artifact(&mut self, upload: &Upload<'_>) -> Result<Artifact, Error> {
        let artifact = self.registry.upload(&upload.path, upload.source, &|_| {}).await?;
        let artifacts = Manifest::new(vec![artifact.clone()])?;
        self.log(RunLog { artifacts, ..RunLog::default() }).await?;
        Ok(artifact)
    }

    /// Writes down the values that wait.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let done = self.values.flush(&*self.registry, &self.by, &self.name).await;
        self.heard(done)
    }

    /// Says that it is alive, for a run that logs nothing for longer than its lease.
    pub async fn keep_alive(&mut self) -> Result<(), Error> {
        self.registry.continue_run(&self.by, &self.name).await?;
        Ok(())
    }

    /// Registers a version of a model with what the run knows: the experiment and the run, the increment, the parameters
    /// as hyperparameters, the last value of each metric that is a number, the packages, and the files of the run if
    /// no others are given. What the registration says itself stands. Content alone gets the smallest number that
    /// the changes allow.
    pub async fn register_model(
        &mut self,
        model: &ModelName,
        registration: impl Into<Registration>,
        uploads: &[Upload<'_>],
    ) -> Result<Registered, Error> {
        let registration = registration.into();
        self.flush().await?;
        self.registry.register_from_run(&self.by, &self.name, model, registration, uploads).await
    }

    /// Ends it well. Should this fail, nothing is lost: the values still wait, and the end may be asked for again. A run
    /// that is dropped instead is aborted.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.end(RunOutcome::Finished).await
    }

    /// Ends it as failed. Should this fail, see [`finish`](Run::finish).
    pub async fn fail(&mut self, reason: &str) -> Result<(), Error> {
        self.end(RunOutcome::Failed { reason: told(reason)? }).await
    }

    /// Ends it as aborted. Should this fail, see [`finish`](Run::finish).
    pub async fn abort(&mut self, reason: &str) -> Result<(), Error> {
        self.end(RunOutcome::Aborted { reason: told(reason)? }).await
    }

    async fn end(&mut self, outcome: RunOutcome) -> Result<(), Error> {
        self.flush().await?;
        let done = self.registry.end_run(&self.by, &self.name, outcome.clone()).await;
        self.heard(done)?;
        self.ended = Some(outcome);
        Ok(())
    }

    /// Ends it, unless the work has, and tries again where the storage cannot be used: nobody else can any more.
    async fn end_of_work(&mut self, outcome: RunOutcome) -> Result<(), Error> {
        if self.ended.is_some() {
            return Ok(());
        }
        let mut pause = END_PAUSE;
        for _ in 1..ENDS_TRIED_MAX {
            match self.end(outcome.clone()).await {
                Err(Error::Unavailable(_) | Error::OutcomeUnknown { .. } | Error::Contention { .. }) => {}
                done => return done,
            }
            self.registry.clock().sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        self.end(outcome).await
    }

    fn require_open(&self) -> Result<(), Rejection> {
        match &self.ended {
            Some(outcome) => Err(Rejection::RunEnded { run: self.name.clone(), outcome: outcome.clone() }),
            None => Ok(()),
        }
    }

    /// Takes note of it if an answer says that the run is over.
    fn heard<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Rejected(Rejection::RunEnded { outcome, .. })) = &answer {
            self.ended = Some(outcome.clone());
        }
        answer
    }

    async fn log(&mut self, log: RunLog) -> Result<(), Error> {
        self.registry.log_run(&self.by, &self.name, log).await?;
        Ok(())
    }
}

/// Values that wait to be written down.
struct Values {
    /// When the handle was made. A start that is repeated gives another handle of the same run, whose values are others.
    since: Timestamp,
    waiting: Vec<MetricPoint>,
    /// How many of them were sent, if nobody knows what became of them.
    sent: Option<usize>,
    /// How many batches there were before.
    batches: u64,
}

impl Values {
    fn new(since: Timestamp) -> Self {
        Values { since, waiting: Vec::new(), sent: None, batches: 0 }
    }

    /// Sends all of them. A batch keeps its content and its request id until it is known what became of it, so that a
    /// value is written once however often it is sent.
    async fn flush<R: Registry + ?Sized>(
        &mut self,
        registry: &R,
        by: &By,
        run: &RunName,
    ) -> Result<(), Error> {
        let mut ids_tried = 0_u32;
        while !self.waiting.is_empty() {
            let count = *self.sent.get_or_insert(self.waiting.len().min(POINTS_MAX));
            let points: Vec<MetricPoint> = self.waiting.iter().take(count).cloned().collect();
            let since_us = self.since.microseconds();
            let id = format!("run-{}-values-{since_us}-{}", run.run, self.batches).parse()?;
            let log = RunLog { points, ..RunLog::default() };
            let done = registry.log_run(&by.with_request_id(id), run, log).await;
            // Another handle of the run was made in the same microsecond; its values are not these.
            if let Err(Error::Rejected(Rejection::RequestIdReused { .. })) = &done {
                self.batches = self.batches.saturating_add(1);
                ids_tried = ids_tried.saturating_add(1);
                if ids_tried < IDS_TRIED_MAX {
                    continue;
                }
                return done.map(drop);
            }
            // What was refused would be refused again.
            if matches!(done, Ok(_) | Err(Error::Rejected(_))) {
                self.waiting.drain(..count.min(self.waiting.len()));
                self.sent = None;
                self.batches = self.batches.saturating_add(1);
            }
            done?;
        }
        Ok(())
    }
}

impl<R: Registry + ?Sized + 'static> Drop for Run<R> {
    fn drop(&mut self) {
        let Some(spawner) = self.spawner.take().filter(|_| self.ended.is_none()) else { return };
        let (registry, by, name) = (Arc::clone(&self.registry), self.by.clone(), self.name.clone());
        let emptied = Values::new(self.values.since);
        let mut values = std::mem::replace(&mut self.values, emptied);
        spawner(Box::pin(async move {
            // Nobody is left to hear of a failure; the lease of the run tells then.
            let _ = values.flush(&*registry, &by, &name).await;
            if let Ok(reason) = told("it was dropped before its end") {
                let _ = registry.end_run(&by, &name, RunOutcome::Aborted { reason }).await;
            }
        }));
    }
}

/// A reason out of whatever text there is, shortened and without what cannot be recorded.
fn told(reason: &str) -> Result<Text, Error> {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    let text: String = reason.chars().take(Text::CHARS_MAX).map(shown).collect();
    let text = if text.trim().is_empty() { "no reason was given" } else { &text };
    Ok(text.parse()?)
}

impl From<Content> for Registration {
    /// A version that gets the smallest number that the changes allow, in development.
    fn from(content: Content) -> Self {
        Registration::new(VersionChoice::Auto, content)
    }
}
