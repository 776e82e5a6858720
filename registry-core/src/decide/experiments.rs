//! Why this exists: what is on record of a training run is what a model is later explained with. So a parameter is set
//! once, a run that is over stays as it is, and one run cannot fill the state of its experiment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Command;
use crate::content::{Artifact, Manifest};
use crate::digest::Digest;
use crate::event::Event;
use crate::experiment::{
    ARTIFACTS_MAX, METRICS_MAX, MetricPoint, PARAMS_MAX, POINTS_MAX, ParamValue, RunLog, RunOutcome,
    RunStarted, RunState,
};
use crate::invalid::Invalid;
use crate::name::{ExperimentName, Key, ModelVersion, RunName};
use crate::rejection::Rejection;
use crate::state::ModelState;
use crate::stream::Revision;

/// How many versions may come out of one run.
const VERSIONS_MAX: usize = 1_000;

pub(super) fn decide(
    state: &ModelState,
    experiment: &ExperimentName,
    command: &Command,
) -> Result<Vec<Event>, Rejection> {
    let named = |run: Revision| RunName { experiment: experiment.clone(), run };
    let on = |run: Revision| {
        let name = named(run);
        let Some(found) = state.run(run) else { return Err(Rejection::RunNotFound { run: name }) };
        Ok(On { name, run: found })
    };
    match command {
        Command::StartRun(started) => start(started),
        Command::LogRun { run, log } => on(*run)?.log(log),
        Command::ContinueRun { run } => {
            on(*run)?.require_open()?;
            Ok(vec![Event::RunContinued { run: *run }])
        }
        Command::NoteVersion { run, version, digest } => on(*run)?.note(version, *digest),
        Command::EndRun { run, outcome } => on(*run)?.end(outcome),
        _ => Err(Rejection::WrongStream),
    }
}

fn start(started: &RunStarted) -> Result<Vec<Event>, Rejection> {
    at_most("parameters", started.params.len(), PARAMS_MAX)?;
    started.environment.check()?;
    Ok(vec![Event::RunStarted(Box::new(started.clone()))])
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), Invalid> {
    if most < count {
        return Err(Invalid::new("run", format!("{count} {what}"), format!("may have at most {most}")));
    }
    Ok(())
}

/// A run that something is asked of.
struct On<'a> {
    name: RunName,
    run: &'a Arc<RunState>,
}

impl On<'_> {
    fn require_open(&self) -> Result<(), Rejection> {
        match &self.run.ended {
            Some(end) => Err(Rejection::RunEnded { run: self.name.clone(), outcome: end.outcome.clone() }),
            None => Ok(()),
        }
    }

    fn log(&self, log: &RunLog) -> Result<Vec<Event>, Rejection> {
        self.require_open()?;
        let run = self.name.run;
        let mut events = Vec::new();
        let params = self.new_params(&log.params)?;
        if !params.is_empty() {
            events.push(Event::RunParamsLogged { run, params });
        }
        self.check_points(&log.points)?;
        if !log.points.is_empty() {
            events.push(Event::RunMetricsLogged { run, points: log.points.clone() });
        }
        let artifacts = self.new_artifacts(&log.artifacts)?;
        if !artifacts.is_empty() {
            events.push(Event::RunArtifactsNoted { run, artifacts });
        }
        Ok(events)
    }

    /// Those that are not there yet.
    fn new_params(
        &self,
        offered: &BTreeMap<Key, ParamValue>,
    ) -> Result<BTreeMap<Key, ParamValue>, Rejection> {
        let mut new = BTreeMap::new();
        for (name, value) in offered {
            match self.run.params.get(name) {
                Some(existing) if existing == value => {}
                Some(existing) => {
                    let (existing, offered) = (existing.get().to_string(), value.get().to_string());
                    return Err(self.is_another("parameter", name.to_string(), existing, offered));
                }
                None => {
                    new.insert(name.clone(), value.clone());
                }
            }
        }
        at_most("parameters", self.run.params.len().saturating_add(new.len()), PARAMS_MAX)?;
        Ok(new)
    }

    fn check_points(&self, points: &[MetricPoint]) -> Result<(), Rejection> {
        if POINTS_MAX < points.len() {
            let problem = format!("a request logs at most {POINTS_MAX} values; send several");
            return Err(Invalid::new("values", points.len(), problem).into());
        }
        let new: std::collections::BTreeSet<&Key> = points
            .iter()
            .map(|point| &point.metric)
            .filter(|metric| !self.run.metrics.contains_key(*metric))
            .collect();
        Ok(at_most("metrics", self.run.metrics.len().saturating_add(new.len()), METRICS_MAX)?)
    }

    /// Those that are not there yet, if they can lie beside those that are.
    fn new_artifacts(&self, offered: &Manifest) -> Result<Manifest, Rejection> {
        let mut new: Vec<Artifact> = Vec::new();
        for file in offered {
            match self.run.artifacts.get(&file.path) {
                Some(existing) if existing.digest == file.digest => {}
                Some(existing) => {
                    let (existing, offered) = (existing.digest.to_string(), file.digest.to_string());
                    return Err(self.is_another("file", file.path.to_string(), existing, offered));
                }
                None => new.push(file.clone()),
            }
        }
        let all: Vec<Artifact> = self.run.artifacts.values().chain(&new).cloned().collect();
        at_most("files", all.len(), ARTIFACTS_MAX)?;
        Manifest::new(all)?;
        Ok(Manifest::new(new)?)
    }

    fn is_another(&self, what: &'static str, name: String, existing: String, offered: String) -> Rejection {
        Rejection::AlreadyLogged { run: self.name.clone(), what, name, existing, offered }
    }

    /// What was registered was registered, also if the run ended meanwhile.
    fn note(&self, version: &ModelVersion, digest: Digest) -> Result<Vec<Event>, Rejection> {
        if self.run.versions.get(version) == Some(&digest) {
            return Ok(Vec::new());
        }
        at_most("versions", self.run.versions.len().saturating_add(1), VERSIONS_MAX)?;
        Ok(vec![Event::RunRegistered { run: self.name.run, version: version.clone(), digest }])
    }

    fn end(&self, outcome: &RunOutcome) -> Result<Vec<Event>, Rejection> {
        if self.run.ended.as_ref().is_some_and(|end| end.outcome == *outcome) {
            return Ok(Vec::new());
        }
        self.require_open()?;
        Ok(vec![Event::RunEnded { run: self.name.run, outcome: outcome.clone() }])
    }
}
