//! Why this exists: what is asked of runs is asked on every backend in the same way, and a version out of a run is made of
//! two records in two logs, the order of which decides what a crash leaves behind. The version comes first and names
//! its run; the run takes note of it after. So a version is never lost: whoever asks a run for its versions finds also
//! those that it could not take note of any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{By, Command, Request};
use crate::content::{Content, Manifest, Metric};
use crate::error::Error;
use crate::event::Event;
use crate::ext::{HISTORY_PAGE, Registered, Registration, RegistryExt as _, Upload};
use crate::invalid::Invalid;
use crate::name::{ExperimentName, Key, ModelName, ModelVersion, RunName};
use crate::registry::{Need, Receipt, Registry};
use crate::rejection::Rejection;
use crate::state::ModelState;
use crate::stream::{Revision, Stream, StreamKind};
use crate::terms;

use super::environment::RunEnvironment;
use super::record::{MetricPoint, RunStarted, RunState};

/// A run that was started.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its name. In a rehearsal, the one that it would have.
    pub run: RunName,
    /// The receipt.
    pub receipt: Receipt,
}

/// Values of a run, some of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricPage {
    /// The values, in the order in which they were logged.
    pub points: Vec<MetricPoint>,
    /// Where the next ones are; none if these were the last.
    pub next: Option<Revision>,
}

pub(crate) fn stream(experiment: &ExperimentName) -> Stream {
    Stream::Experiment(experiment.clone())
}

pub(crate) fn request(by: &By, experiment: &ExperimentName, command: Command) -> Request {
    Request { stream: stream(experiment), by: by.clone(), command }
}

pub(crate) async fn start<R: Registry + ?Sized>(
    registry: &R,
    by: &By,
    experiment: &ExperimentName,
    started: RunStarted,
) -> Result<Begun, Error> {
    let command = Command::StartRun(Box::new(started));
    let receipt = registry.execute(request(by, experiment, command)).await?;
    let run = match receipt.commit() {
        Some(commit) => commit.revision,
        None => Revision::after(receipt.state.revision()),
    };
    Ok(Begun { run: RunName { experiment: experiment.clone(), run }, receipt })
}

pub(crate) async fn state<R: Registry + ?Sized>(
    registry: &R,
    experiment: &ExperimentName,
) -> Result<Arc<ModelState>, Error> {
    let state = registry.state(&stream(experiment), &Need::Whole).await?;
    match state.exists() {
        true => Ok(state),
        false => Err(Rejection::ExperimentNotFound { experiment: experiment.clone() }.into()),
    }
}

pub(crate) async fn run<R: Registry + ?Sized>(registry: &R, run: &RunName) -> Result<Arc<RunState>, Error> {
    let state = state(registry, &run.experiment).await?;
    state.run(run.run).cloned().ok_or_else(|| Rejection::RunNotFound { run: run.clone() }.into())
}

/// What a run was carried out with, as it was said when it began.
pub(crate) async fn environment<R: Registry + ?Sized>(
    registry: &R,
    run: &RunName,
) -> Result<RunEnvironment, Error> {
    let began = registry.history(&stream(&run.experiment), run.run, 1).await?;
    let events = began.into_iter().flat_map(|recorded| recorded.commit.events.clone());
    let started = events.into_iter().find_map(|event| match event {
        Event::RunStarted(started) => Some(started.environment),
        _ => None,
    });
    started.ok_or_else(|| Rejection::RunNotFound { run: run.clone() }.into())
}

pub(crate) async fn metrics<R: Registry + ?Sized>(
    registry: &R,
    run: &RunName,
    metric: Option<&Key>,
    from: Option<Revision>,
) -> Result<MetricPage, Error> {
    let from = from.unwrap_or(run.run).max(run.run);
    let page = registry.history(&stream(&run.experiment), from, HISTORY_PAGE).await?;
    let is_wanted = |point: &&MetricPoint| metric.is_none_or(|metric| point.metric == *metric);
    let mut points = Vec::new();
    let mut is_last = page.len() < HISTORY_PAGE;
    for event in page.iter().flat_map(|recorded| &recorded.commit.events) {
        match event {
            Event::RunMetricsLogged { run: of, points: logged } if *of == run.run => {
                points.extend(logged.iter().filter(is_wanted).cloned());
            }
            // No values are logged after it, but other runs may have filled the log to this day.
            Event::RunEnded { run: of, .. } if *of == run.run => is_last = true,
            _ => {}
        }
    }
    let next = page.last().filter(|_| !is_last).map(|last| last.commit.revision.next());
    Ok(MetricPage { points, next })
}

/// The versions that came out of a run: those that it took note of, and those that name it.
pub(crate) async fn versions<R: Registry + ?Sized>(
    registry: &R,
    of: &RunName,
) -> Result<BTreeSet<ModelVersion>, Error> {
    let noted = run(registry, of).await?;
    let mut versions: BTreeSet<ModelVersion> = noted.versions.keys().cloned().collect();
    let term = terms::experiment(of.experiment.as_str());
    let mut after: Option<Stream> = None;
    loop {
        let streams = registry.streams(StreamKind::Model, Some(&term), after.as_ref(), HISTORY_PAGE).await?;
        for stream in &streams {
            let Some(model) = stream.model() else { continue };
            let state = registry.state(stream, &Need::Whole).await?;
            // One that came from another registry names a run there.
            let named = state.versions().filter(|version| {
                version.content.metadata.run.as_ref() == Some(of) && version.origins.is_empty()
            });
            versions.extend(
                named.map(|found| ModelVersion { model: model.clone(), version: found.version.clone() }),
            );
        }
        if streams.len() < HISTORY_PAGE {
            return Ok(versions);
        }
        after = streams.last().cloned();
    }
}

/// Registers a version out of a run, and lets the run take note of it.
pub(crate) async fn register<R: Registry + ?Sized>(
    registry: &R,
    by: &By,
    of: &RunName,
    model: &ModelName,
    mut registration: Registration,
    uploads: &[Upload<'_>],
) -> Result<Registered, Error> {
    registration.content = content(registry, by, of, model, registration.content, uploads.is_empty()).await?;
    let registered = registry.register(by, model, registration, uploads).await?;
    if by.dry_run {
        return Ok(registered);
    }
    let version = ModelVersion { model: model.clone(), version: registered.version.version.clone() };
    let digest = registered.version.digest;
    let command = Command::NoteVersion { run: of.run, version: version.clone(), digest };
    // The revision that was expected is that of the model.
    let by = By { expected: None, ..by.clone() };
    match registry.execute(request(&by, &of.experiment, command)).await {
        Ok(_) => Ok(registered),
        Err(source) => Err(Error::RunNotNoted { version, run: of.clone(), source: Box::new(source) }),
    }
}

/// The content that was registered out of this run under the request id, if there is one.
async fn registered_before<R: Registry + ?Sized>(
    registry: &R,
    by: &By,
    of: &RunName,
    model: &ModelName,
) -> Result<Option<Content>, Error> {
    let Some(id) = &by.request_id else { return Ok(None) };
    let stream = Stream::Model(model.clone());
    let state = registry.state(&stream, &Need::Whole).await?;
    let Some(fulfilled) = state.fulfilled(id) else { return Ok(None) };
    let recorded = registry.history(&stream, fulfilled.revision, 1).await?;
    let events = recorded.into_iter().flat_map(|recorded| recorded.commit.events.clone());
    Ok(events.into_iter().find_map(|event| match event {
        Event::VersionRegistered(registered) if registered.content.metadata.run.as_ref() == Some(of) => {
            Some(registered.content)
        }
        _ => None,
    }))
}

/// What a version with that content is registered with if it comes out of a run. Where the request was carried out
/// before, what the run knew then counts: it may know more by now, and the request would be another one.
pub(crate) async fn content<R: Registry + ?Sized>(
    registry: &R,
    by: &By,
    of: &RunName,
    model: &ModelName,
    mut content: Content,
    with_files: bool,
) -> Result<Content, Error> {
    let known = match registered_before(registry, by, of, model).await? {
        Some(registered) => registered,
        None => known(registry, of).await?,
    };
    fill(&mut content, of, known, with_files)?;
    Ok(content)
}

/// What the run knows of a version that comes out of it.
async fn known<R: Registry + ?Sized>(registry: &R, of: &RunName) -> Result<Content, Error> {
    let run = run(registry, of).await?;
    let environment = environment(registry, of).await?;
    let mut known = Content::default();
    known.metadata.increment.clone_from(&run.increment);
    known.metadata.runtime = environment.runtime();
    for (name, value) in &run.params {
        known.metadata.hyperparameters.insert(name.to_string(), value.get().clone());
    }
    for (name, summary) in &run.metrics {
        if let Some(number) = summary.last.number() {
            known.metrics.insert(name.clone(), Metric::new(number.get())?);
        }
    }
    known.environment = environment.files;
    known.artifacts = Manifest::new(run.artifacts.values().cloned().collect())?;
    Ok(known)
}

/// Adds what the run knows to what the caller says. What the caller says stands.
fn fill(content: &mut Content, of: &RunName, known: Content, with_files: bool) -> Result<(), Error> {
    let metadata = &mut content.metadata;
    let experiment = of.experiment.as_str();
    if let Some(other) = metadata.experiment.as_ref().filter(|other| other.as_str() != experiment) {
        let problem = format!("the run belongs to `{experiment}`; leave the experiment out");
        return Err(Invalid::new("experiment", other, problem).into());
    }
    metadata.experiment = Some(experiment.parse()?);
    metadata.run = Some(of.clone());
    metadata.increment = metadata.increment.take().or(known.metadata.increment);
    metadata.runtime = metadata.runtime.take().or(known.metadata.runtime);
    for (name, value) in known.metadata.hyperparameters {
        metadata.hyperparameters.entry(name).or_insert(value);
    }
    for (name, metric) in known.metrics {
        content.metrics.entry(name).or_insert(metric);
    }
    for file in known.environment {
        if content.environment.iter().all(|given| given.name() != file.name()) {
            content.environment.push(file);
        }
    }
    if with_files && content.artifacts.is_empty() {
        content.artifacts = known.artifacts;
    }
    Ok(())
}
