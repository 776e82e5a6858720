//! Why this exists: the commands that move logs and bytes as they are, out of a registry into a file and back.

use std::path::PathBuf;

use clap::Args;
use registry_core::ModelName;
use registry_files::{Archived, check_archive, export_archive, import_archive};
use serde::Serialize;

use crate::commands::Session;
use crate::failure::Failure;
use crate::place::{self, Purpose};
use crate::progress;
use crate::words;

/// `registry export fraud-detection --output fraud.tar`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The model. Default: the whole registry
    model: Option<ModelName>,
    /// The file, which must not be there yet
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

/// `registry import fraud.tar`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive
    file: PathBuf,
    /// Only check the archive, and whether it could be imported
    #[arg(long)]
    dry_run: bool,
}

/// The answer to `export` and `import`.
#[derive(Debug, Serialize)]
struct ArchivedView {
    streams: u64,
    records: u64,
    blobs: u64,
    bytes: u64,
    /// What the registry did not have yet.
    records_written: u64,
    bytes_written: u64,
}

impl From<Archived> for ArchivedView {
    fn from(archived: Archived) -> Self {
        let Archived { streams, records, blobs, bytes, records_written, bytes_written } = archived;
        ArchivedView { streams, records, blobs, bytes, records_written, bytes_written }
    }
}

impl Export {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        if self.output.symlink_metadata().is_ok() {
            return Err(Failure::taken(&self.output));
        }
        let bar = progress::bar(None, "exporting", !session.out.json);
        let told = |written: u64| bar.set_position(written);
        let done = export_archive(registry.as_ref(), self.model.as_ref(), &self.output, &told).await?;
        bar.finish_and_clear();
        if session.out.json {
            return session.out.document(&ArchivedView::from(done));
        }
        session.out.line(format!("exported {}", contents(&done)))
    }
}

impl Import {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        // What is refused makes no registry.
        let rehearsed = place::open_to_rehearse(session.place()).await?;
        // A file that cannot be read is refused by what reads it.
        let length = self.file.metadata().map_or(0, |found| found.len());
        let watched =
            |times: u64, what| progress::bar(Some(length.saturating_mul(times)), what, !session.out.json);
        let bar = watched(1, "checking");
        let mut done = check_archive(rehearsed.as_ref(), &self.file, &|read| bar.set_position(read)).await?;
        bar.finish_and_clear();
        if !self.dry_run {
            let bar = watched(2, "importing");
            let registry = session.open(Purpose::Begin).await?;
            done = import_archive(registry.as_ref(), &self.file, &|read| bar.set_position(read)).await?;
            bar.finish_and_clear();
        }
        if session.out.json {
            return session.out.document(&ArchivedView::from(done));
        }
        if self.dry_run {
            return session.out.line(format!("dry run, nothing was written; it holds {}", contents(&done)));
        }
        let records = words::count(done.records_written, "record", "records");
        let bytes = words::bytes(done.bytes_written);
        session.out.line(format!("imported {}; {records} and {bytes} were new", contents(&done)))
    }
}

fn contents(archived: &Archived) -> String {
    format!(
        "{} with {}, {} with {}",
        words::count(archived.streams, "log", "logs"),
        words::count(archived.records, "record", "records"),
        words::count(archived.blobs, "blob", "blobs"),
        words::bytes(archived.bytes)
    )
}
