//! Why this exists: the questions of an audit, answered in the form that the auditor works with. A report is written also
//! where something is wrong with the record, and says so; the exit code is then that of `verify`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use registry_audit::{AuditOptions, AuditReport, Range, audit};
use registry_core::{Invalid, ModelName, Registry as _, Timestamp};
use serde::Serialize;

use crate::commands::{Session, warn};
use crate::failure::{Failure, Kind};
use crate::place::Purpose;
use crate::words;

/// `registry audit fraud-detection --from 2023-01-01 --to 2024-01-31 --format html --output audit.html`
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The model. Default: the whole registry
    model: Option<ModelName>,
    /// The first day, or instant, that it is about. Default: the beginning
    #[arg(long, value_name = "WHEN", value_parser = beginning)]
    from: Option<Timestamp>,
    /// The last day that it is about, or the first instant that it is not. Default: now
    #[arg(long, value_name = "WHEN", value_parser = end)]
    to: Option<Timestamp>,
    /// The form. Default: markdown, or json with --json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to write it: a file, or for csv a folder. Default: the standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also read all bytes of all versions that are not deleted
    #[arg(long)]
    bytes: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For programs
    Json,
    /// For documents beside code
    Markdown,
    /// For spreadsheets: a folder with a file for each table
    Csv,
    /// A page that needs nothing but itself, and prints
    Html,
}

/// What became of a report that was written into files.
#[derive(Debug, Serialize)]
struct Written {
    written: Vec<String>,
    is_sound: bool,
    flaws: usize,
    exceptions: u64,
}

fn beginning(text: &str) -> Result<Timestamp, Invalid> {
    Timestamp::parse_or_start_of_day(text)
}

/// A day is part of the range as a whole; an instant is the first that is not.
fn end(text: &str) -> Result<Timestamp, Invalid> {
    match text.parse() {
        Ok(instant) => Ok(instant),
        Err(_) => Ok(Timestamp::parse_or_end_of_day(text)?.saturating_add(Duration::from_micros(1))),
    }
}

impl Audit {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let format = self.form(session)?;
        let registry = session.open(Purpose::Read).await?;
        let as_of = registry.clock().now();
        let range = Range::new(self.from, self.to.unwrap_or_else(|| Range::until(as_of).to()))?;
        let options = AuditOptions { model: self.model.clone(), range, as_of, bytes: self.bytes };
        let report = audit(registry.as_ref(), &options).await?;
        let behind = report.commits_after();
        if self.to.is_none() && behind != 0 {
            let commits = words::count(behind, "commit", "commits");
            warn(&format!(
                "{commits} dated after {as_of} left out: made since this report was begun, or under a clock that runs \
                 ahead; `population` says in which logs; to have them in the report, name a later end with --to"
            ));
        }
        match &self.output {
            None => session.out.bytes(text(&report, format).as_bytes())?,
            Some(output) => tell(session, &report, &write(&report, format, output)?)?,
        }
        match report.flaws.len() {
            0 => Ok(()),
            flaws => {
                let flaws = words::count(flaws as u64, "flaw", "flaws");
                Err(Failure::new(Kind::Corrupt, format!("{flaws} of the record found; see the report")))
            }
        }
    }

    /// The form that is meant.
    fn form(&self, session: &Session) -> Result<Format, Failure> {
        let format = self.format.unwrap_or(if session.out.json { Format::Json } else { Format::Markdown });
        let refused = |problem| {
            let name = word(format);
            Err(Failure::new(Kind::Invalid, format!("a report as {name} {problem}")))
        };
        match (format, &self.output) {
            (Format::Csv, None) => refused("is a file for each table; say with --output into which folder"),
            (Format::Json, None) | (_, Some(_)) => Ok(format),
            _ if session.out.json => {
                refused("is not JSON; leave out --json, or say with --output where to write it")
            }
            _ => Ok(format),
        }
    }
}

fn word(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        Format::Markdown => "markdown",
        Format::Csv => "csv",
        Format::Html => "html",
    }
}

/// The report as one text.
fn text(report: &AuditReport, format: Format) -> String {
    match format {
        Format::Json => report.to_json(),
        Format::Html => report.to_html(),
        Format::Markdown | Format::Csv => report.to_markdown(),
    }
}

/// Writes the report, and says into which files.
fn write(report: &AuditReport, format: Format, output: &Path) -> Result<Vec<PathBuf>, Failure> {
    if format != Format::Csv {
        replace(output, text(report, format).as_bytes())?;
        return Ok(vec![output.to_owned()]);
    }
    std::fs::create_dir_all(output).map_err(|error| Failure::file(output, error))?;
    let mut written = Vec::new();
    for file in report.to_csv() {
        let path = output.join(&file.name);
        replace(&path, file.text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// Puts a file in the place of the one that is there, if one is; nobody sees half of it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::file(path, error);
    if path.is_dir() {
        return Err(Failure::file(path, "is a folder"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".registry-");
    // As readable as any new file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(parent).map_err(refused)?;
    file.write_all(bytes).map_err(refused)?;
    file.persist(path).map_err(|error| refused(error.error))?;
    Ok(())
}

fn tell(session: &mut Session, report: &AuditReport, written: &[PathBuf]) -> Result<(), Failure> {
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let exceptions = report.overview.iter().fold(0_u64, |sum, row| sum.saturating_add(row.exceptions));
    if session.out.json {
        let (is_sound, flaws) = (report.is_sound, report.flaws.len());
        return session.out.document(&Written { written, is_sound, flaws, exceptions });
    }
    for path in &written {
        session.out.line(crate::output::one_line(&format!("wrote {path}")))?;
    }
    let models = words::count(report.models.len() as u64, "model", "models");
    let exceptions = words::count(exceptions, "exception", "exceptions");
    session.out.line(format!("{models}, {} commits, {exceptions}", report.commits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_at_the_end_is_part_of_the_range_and_an_instant_is_not() {
        assert_eq!(end("2024-01-31").unwrap().to_string(), "2024-02-01T00:00:00.000000Z");
        assert_eq!(end("2024-01-31T12:00:00Z").unwrap().to_string(), "2024-01-31T12:00:00.000000Z");
        assert_eq!(beginning("2023-01-01").unwrap().to_string(), "2023-01-01T00:00:00.000000Z");
        assert!(end("January").is_err() && end("2024-02-30").is_err());
    }
}
