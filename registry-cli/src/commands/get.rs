//! Why this exists: the command that services and people run most: which version is it, and its files.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use registry_core::{ArtifactPath, Found, Invalid, ModelName, Registry, RegistryExt as _, Selector};

use crate::commands::{Session, warn};
use crate::failure::Failure;
use crate::place::Purpose;
use crate::progress;
use crate::view::VersionView;
use crate::words;

/// `registry get fraud-detection production --output model/`
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The model
    model: ModelName,
    /// Which version: v3.1.0, ^3.1, a stage, an alias, latest, newest, previous or
    /// production@2024-01-15
    #[arg(default_value = "production")]
    selector: Selector,
    /// Write its files, verified, and what is known of it into this folder, which must be new or empty
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write the bytes of one of its files to the standard output, verified
    #[arg(long, value_name = "PATH", conflicts_with_all = ["output", "json"])]
    cat: Option<ArtifactPath>,
    /// Only these bytes of the file, for example 0..1024; a part is not verified
    #[arg(long, value_name = "FROM..TO", value_parser = byte_range)]
    range: Option<Range<u64>>,
}

fn byte_range(text: &str) -> Result<Range<u64>, Invalid> {
    let ends = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match ends {
        Some((from, to)) if from <= to => Ok(from..to),
        _ => Err(Invalid::new("range", text, "expected `FROM..TO`, for example `0..1024`")),
    }
}

impl Get {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        // Not left to the parser, which waives what is required where `--json` forbids it.
        if let (Some(range), None) = (&self.range, &self.cat) {
            let shown = format!("{}..{}", range.start, range.end);
            return Err(Invalid::new("range", shown, "needs --cat, the file it is a part of").into());
        }
        let registry = session.open(Purpose::Read).await?;
        let found = match self.output.is_some() || self.cat.is_some() {
            true => registry.get_with_files(&self.model, &self.selector).await?,
            false => registry.get(&self.model, &self.selector).await?,
        };
        for warning in found.warnings() {
            warn(&warning);
        }
        if let Some(path) = &self.cat {
            return cat(session, registry.as_ref(), &found, path, self.range).await;
        }
        let mut view = VersionView::found(&found);
        let mut written = None;
        if let Some(target) = &self.output {
            let size = found.content.artifacts.size();
            let bar =
                progress::bar(Some(size), &format!("{} {}", found.model, found.version), !session.out.json);
            let paths = registry_files::write_version(registry.as_ref(), found.state(), target, &|done| {
                bar.set_position(done)
            })
            .await?;
            bar.finish_and_clear();
            written = Some(paths.len());
            view.written = Some(paths.iter().map(ToString::to_string).collect());
        }
        if session.out.json {
            return session.out.document(&view);
        }
        let paint = session.out.paint();
        let version = paint.bold(&format!("{} {}", found.model, found.version));
        session.out.line(format!("{version}  {}  {}", found.stage, paint.dim(&found.digest.to_string())))?;
        if let (Some(count), Some(target)) = (written, &self.output) {
            let files = words::count(count as u64, "file", "files");
            return session.out.line(format!("wrote {files} to {}", target.display()));
        }
        for artifact in &found.content.artifacts {
            session.out.line(format!("  {}  {}", artifact.path, words::bytes(artifact.size)))?;
        }
        Ok(())
    }
}

async fn cat(
    session: &mut Session,
    registry: &dyn Registry,
    found: &Found,
    path: &ArtifactPath,
    range: Option<Range<u64>>,
) -> Result<(), Failure> {
    let artifact = found.artifact(path)?;
    let mut bytes = match range {
        Some(range) => registry.open_range(artifact, range).await?,
        None => registry.open(artifact).await?,
    };
    while let Some(piece) = bytes.next().await {
        session.out.bytes(&piece.map_err(registry_core::Error::from)?)?;
    }
    Ok(())
}
