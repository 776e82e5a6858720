//! Why this exists: the commands for registries that share their models with another system: what others
//! changed there past the registry, and taking it into the record.

use clap::Args;
use registry_core::mirror::{Adoption, Foreign, ForeignChange};
use registry_core::{ModelName, Registry as _, RegistryExt as _};
use serde::Serialize;

use crate::cli::Writing;
use crate::commands::{Session, tell};
use crate::failure::Failure;
use crate::output::one_line;
use crate::place::Purpose;
use crate::words;

/// `registry drift fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// The models. Default: all
    models: Vec<ModelName>,
}

/// What was found of a model.
#[derive(Debug, Serialize)]
struct Found {
    model: ModelName,
    /// The system that the model is shared with; none if it is not.
    system: Option<String>,
    changes: Vec<Foreign>,
    /// What the log says and that system does not show yet.
    unfinished: Vec<String>,
}

/// The answer to `drift`.
#[derive(Debug, Serialize)]
struct FoundAll {
    models: Vec<Found>,
}

impl Drift {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let mut names = self.models;
        if names.is_empty() {
            names = registry.all_models().await?;
        } else {
            for name in &names {
                registry.model(name).await?;
            }
        }
        let mut all = FoundAll { models: Vec::new() };
        for model in names {
            let drift = registry.drift(&model).await?;
            if !session.out.json {
                show(session, &model, drift.as_ref())?;
            }
            all.models.push(Found {
                model,
                system: drift.as_ref().map(|drift| drift.system().to_string()),
                changes: drift.as_ref().map(|drift| drift.changes().to_vec()).unwrap_or_default(),
                unfinished: drift.as_ref().map(|drift| drift.unfinished().to_vec()).unwrap_or_default(),
            });
        }
        if session.out.json { session.out.document(&all) } else { Ok(()) }
    }
}

/// Shows what others changed in a model.
pub(crate) fn show(
    session: &mut Session,
    model: &ModelName,
    drift: Option<&Adoption>,
) -> Result<(), Failure> {
    let paint = session.out.paint();
    let name = paint.bold(model.as_str());
    let Some(drift) = drift else {
        return session.out.line(format!("{name}: this registry has its models to itself"));
    };
    let system = drift.system();
    if drift.changes().is_empty() && drift.unfinished().is_empty() {
        return session.out.line(format!("{name}: {system} and the log agree"));
    }
    let many = words::count(drift.changes().len() as u64, "change", "changes");
    session.out.line(format!("{name}: {many} in {system} past the registry"))?;
    for foreign in drift.changes() {
        let when = foreign.at.map_or_else(|| "at an unknown time".to_owned(), words::time);
        let who = foreign.by.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
        session.out.line(format!("  {}  {who}  {}", paint.dim(&when), sentence(&foreign.change)))?;
    }
    for unfinished in drift.unfinished() {
        session.out.line(format!("  not shown in {system} yet: {}", one_line(unfinished)))?;
    }
    session.out.line(paint.dim("  the next write adopts them, or `registry reconcile`"))
}

fn sentence(change: &ForeignChange) -> String {
    let of = |version: &Option<registry_core::Version>| {
        version.as_ref().map_or_else(|| "the model".to_owned(), ToString::to_string)
    };
    match change {
        ForeignChange::Registered { version, .. } => format!("registered {version}"),
        ForeignChange::FilesFound { version, artifacts } => {
            format!("{version} has {}", words::count(artifacts.len() as u64, "file", "files"))
        }
        ForeignChange::Staged { version, to } => format!("moved {version} to {to}"),
        ForeignChange::Deleted { version } => format!("deleted {version}"),
        ForeignChange::AliasSet { alias, version } => format!("pointed the alias {alias} to {version}"),
        ForeignChange::AliasRemoved { alias } => format!("removed the alias {alias}"),
        ForeignChange::Tagged { version, set, removed } => {
            let mut parts = Vec::new();
            if !set.is_empty() {
                parts.push(format!("tagged {}: {}", of(version), words::tags(set)));
            }
            if !removed.is_empty() {
                parts.push(format!("removed the tags {} of {}", words::listed(removed), of(version)));
            }
            parts.join("; ")
        }
        ForeignChange::Described { version, description } => match description {
            Some(text) => format!("described {}: {}", of(version), one_line(text.as_str())),
            None => format!("removed the description of {}", of(version)),
        },
        ForeignChange::Amended { version, metadata, metrics } => {
            let named = metadata.extra.iter().map(|(key, value)| format!("{key} = {value}"));
            let measured = metrics.iter().map(|(key, metric)| format!("{key} = {}", metric.value));
            let amended: Vec<String> = named.chain(measured).collect();
            format!("amended {version}: {}", one_line(&amended.join(", ")))
        }
        _ => "made a change that this version of the program does not know".to_owned(),
    }
}

/// `registry reconcile fraud-detection -m "checked with the team"`
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The model
    model: ModelName,
    #[command(flatten)]
    writing: Writing,
}

impl Reconcile {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        match registry.reconcile(&by, &self.model).await? {
            Some(receipt) => tell(session, registry.as_ref(), Some(&self.model), &receipt).await,
            None => {
                registry.model(&self.model).await?;
                show(session, &self.model, None)
            }
        }
    }
}
