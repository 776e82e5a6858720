//! Why this exists: pages beside the code and in the wiki are right only as long as somebody generates them. This does it
//! once, again and again as the registry changes, or only says that it has to be done, for a pipeline that refuses pages
//! that are out of date.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use registry_core::{ArtifactPath, Invalid, Key, ModelName, Registry, RegistryExt as _, Revision, Text};
use registry_docs::{Change, Choice, FileReport, Mode, Options, Report};
use serde::Serialize;

use crate::commands::history::interval;
use crate::commands::{Session, warn};
use crate::failure::{Failure, Kind};
use crate::place::Purpose;
use crate::words;

/// `registry docs --output docs/models --cards --check`
#[derive(Debug, Args)]
pub(crate) struct Docs {
    /// Only this model; what is about all models, such as the index, is not written then
    model: Option<ModelName>,
    /// The folder to bring up to date
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// A model card a version too
    #[arg(long)]
    cards: bool,
    /// What was registered too, as a tree of files with a catalog, the lineage and the deployments
    #[arg(long)]
    tree: bool,
    /// The files of the versions too, verified, in the tree
    #[arg(long, requires = "tree")]
    files: bool,
    /// Cards and tree only of what was made in this increment; 0042 is also 0042-fraud-detection
    #[arg(long, value_name = "INCREMENT")]
    increment: Option<Text>,
    /// The metric in the history of versions. Default: accuracy, or the one that most versions have
    #[arg(long, value_name = "METRIC")]
    metric: Option<Key>,
    /// Write nothing, and end with exit code 9 if something would be written
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// Go on, and bring the folder up to date after each change, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How often to look, for example 200ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    every: Duration,
}

/// What became of the folder.
#[derive(Debug, Serialize)]
struct Updated<'a> {
    /// Those that were not there.
    new: Vec<&'a ArtifactPath>,
    /// Those that were something else.
    changed: Vec<&'a ArtifactPath>,
    unchanged: usize,
    /// Generated parts for which a file has no place, because somebody removed their marks.
    left_out: BTreeMap<&'a ArtifactPath, &'a [&'static str]>,
    /// Whether nothing was written, only looked.
    is_check: bool,
}

impl<'a> Updated<'a> {
    fn new(report: &'a Report, mode: Mode) -> Self {
        let of = |change| report.files.iter().filter(move |file| file.change == change);
        let left_out = report.files.iter().filter(|file| !file.left_out.is_empty());
        Updated {
            new: of(Change::New).map(|file| &file.path).collect(),
            changed: of(Change::Changed).map(|file| &file.path).collect(),
            unchanged: of(Change::Same).count(),
            left_out: left_out.map(|file| (&file.path, file.left_out.as_slice())).collect(),
            is_check: mode == Mode::Check,
        }
    }
}

impl Docs {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if let Some(increment) = self.increment.as_ref().filter(|_| !self.cards && !self.tree) {
            let problem = "only cards and the tree are of an increment; give --cards or --tree";
            return Err(Invalid::new("increment", increment, problem).into());
        }
        let registry = session.open(Purpose::Read).await?;
        if self.watch {
            return self.go_on(session, registry.as_ref()).await;
        }
        let mode = if self.check { Mode::Check } else { Mode::Write };
        let report = self.update(registry.as_ref(), mode).await?;
        self.tell(session, &report, mode)?;
        let waiting = report.changed().count();
        if self.check && waiting != 0 {
            let files = words::count(waiting as u64, "document is", "documents are");
            let message = format!("{files} out of date; run the same command without --check");
            return Err(Failure::new(Kind::OutOfDate, message));
        }
        Ok(())
    }

    async fn update(&self, registry: &dyn Registry, mode: Mode) -> Result<Report, Failure> {
        let options = Options {
            choice: if self.model.is_some() { Choice::SomeModels } else { Choice::AllModels },
            cards: self.cards,
            tree: self.tree,
            files: self.files,
            increment: self.increment.clone(),
            metric: self.metric.clone(),
        };
        let records = registry_docs::read(registry, self.model.as_ref()).await?;
        let outputs = registry_docs::outputs(&records, &options)?;
        Ok(registry_docs::write(registry, &outputs, &self.output, mode).await?)
    }

    fn tell(&self, session: &mut Session, report: &Report, mode: Mode) -> Result<(), Failure> {
        for FileReport { path, left_out, .. } in report.files.iter().filter(|file| !file.left_out.is_empty())
        {
            let parts = words::listed(left_out);
            warn(&format!("{path} has no marks for {parts}, so that is not in it"));
        }
        let updated = Updated::new(report, mode);
        if session.out.json {
            // One document, or one line for each of many.
            return if self.watch { session.out.json_line(&updated) } else { session.out.document(&updated) };
        }
        for file in report.changed() {
            let (done, to_do) = match file.change {
                Change::New => ("wrote", "is missing"),
                _ => ("updated", "is out of date"),
            };
            let line = match mode {
                Mode::Write => format!("{done} {}", shown(&self.output, &file.path)),
                Mode::Check => format!("{} {to_do}", shown(&self.output, &file.path)),
            };
            session.out.line(crate::output::one_line(&line))?;
        }
        if updated.new.is_empty() && updated.changed.is_empty() && !self.watch {
            let files = words::count(updated.unchanged as u64, "document", "documents");
            session.out.line(format!("{files}, all up to date"))?;
        }
        Ok(())
    }

    /// Brings the folder up to date after each change. An interruption waits for the files that are being written.
    async fn go_on(&self, session: &mut Session, registry: &dyn Registry) -> Result<(), Failure> {
        // One listener for all rounds: an interruption while files are written is not lost.
        let mut stopped = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            // What is committed from here on is seen by the next look.
            let seen = self.revisions(registry).await?;
            let report = self.update(registry, Mode::Write).await?;
            self.tell(session, &report, Mode::Write)?;
            session.out.flush()?;
            let change = self.change(registry, seen);
            tokio::select! {
                changed = change => changed?,
                stopped = &mut stopped => {
                    return stopped.map_err(|error| Failure::new(Kind::Unavailable, error.to_string()));
                }
            }
        }
    }

    /// Where the logs of the models end.
    async fn revisions(
        &self,
        registry: &dyn Registry,
    ) -> Result<BTreeMap<ModelName, Option<Revision>>, Failure> {
        let names = match &self.model {
            Some(model) => vec![model.clone()],
            None => registry.all_models().await?,
        };
        let mut revisions = BTreeMap::new();
        for name in names {
            let state = registry.state(&(&name).into(), &registry_core::Need::Whole).await?;
            revisions.insert(name, state.revision());
        }
        Ok(revisions)
    }

    /// Ends when something was committed, or a model came into being.
    async fn change(
        &self,
        registry: &dyn Registry,
        seen: BTreeMap<ModelName, Option<Revision>>,
    ) -> Result<(), Failure> {
        let mut watches: Vec<_> =
            seen.iter().map(|(model, revision)| registry.watch(model, Revision::after(*revision))).collect();
        loop {
            for watch in &mut watches {
                if watch.poll().await?.is_some() {
                    return Ok(());
                }
            }
            if self.model.is_none()
                && registry.all_models().await?.iter().any(|name| !seen.contains_key(name))
            {
                return Ok(());
            }
            registry.clock().sleep(self.every).await;
        }
    }
}

fn shown(folder: &Path, path: &ArtifactPath) -> String {
    folder.join(path.as_str()).display().to_string()
}
