//! Why this exists: whoever reads a report reads it in the form of their trade: as Markdown beside the code, as a page
//! that can be printed, in a spreadsheet. All forms are made of the same tables, and none of them decides what is said.

mod csv;
mod html;
mod markdown;

use crate::policies::PoliciesReport;
use crate::report::{AuditReport, counted};
use crate::row::Table;

pub use self::csv::CsvFile;

/// A report as a document: what stands above the tables, and the tables in chapters.
struct Document {
    title: String,
    /// Names and texts.
    facts: Vec<(&'static str, String)>,
    chapters: Vec<Chapter>,
}

/// The tables about the whole, or about a model.
struct Chapter {
    title: String,
    /// What there is to say before the tables.
    lead: Option<String>,
    tables: Vec<Table>,
}

impl Document {
    fn of_audit(report: &AuditReport) -> Document {
        let about = match &report.scope {
            Some(model) => format!("the model {model}"),
            None => "all models".to_owned(),
        };
        let sound = match (report.is_sound, report.with_bytes) {
            (true, true) => {
                "sound: each commit fits the one before it, and the bytes are those that were registered"
                    .to_owned()
            }
            (true, false) => "sound: each commit fits the one before it; the bytes were not read".to_owned(),
            (false, _) => format!("NOT SOUND: {}", counted(report.flaws.len() as u64, "flaw", "flaws")),
        };
        let kept = match report.oldest_commit {
            Some(oldest) => format!("since {oldest}, {}", counted(report.days_kept, "day", "days")),
            None => "there is none yet".to_owned(),
        };
        let versions = report.overview.iter().fold(0_u64, |sum, row| sum.saturating_add(row.versions));
        let read = [
            counted(report.commits, "commit", "commits"),
            counted(report.models.len() as u64, "model", "models"),
            counted(versions, "version", "versions"),
        ];
        let facts = vec![
            ("About", about),
            ("Range", report.range.to_string()),
            ("Made at", report.as_of.to_string()),
            ("Record", sound),
            ("Read", read.join(", ")),
            ("Kept", kept),
        ];
        let mut chapters =
            vec![Chapter { title: "The registry".to_owned(), lead: None, tables: report.tables() }];
        chapters.extend(report.models.iter().map(|model| {
            let tags = (!model.tags.is_empty()).then(|| format!("Tags: {}", model.tags.join(", ")));
            let description = model.description.as_ref().map(ToString::to_string);
            let lead: Vec<String> = description.into_iter().chain(tags).collect();
            Chapter {
                title: format!("Model {}", model.model),
                lead: (!lead.is_empty()).then(|| lead.join(" ")),
                tables: model.tables(),
            }
        }));
        Document { title: "Audit report".to_owned(), facts, chapters }
    }

    fn of_policies(report: &PoliciesReport) -> Document {
        let chapter = |title: String, table: Table| Chapter { title, lead: None, tables: vec![table] };
        let mut chapters = vec![chapter("All models".to_owned(), report.table())];
        chapters.extend(
            report.models.iter().map(|model| chapter(format!("Model {}", model.model), model.table())),
        );
        let facts = vec![("Made at", report.as_of.to_string())];
        Document { title: "Policies".to_owned(), facts, chapters }
    }
}

impl AuditReport {
    /// The report as Markdown. Nothing from outside is more than text in it.
    pub fn to_markdown(&self) -> String {
        markdown::markdown(&Document::of_audit(self))
    }

    /// The report as a page that needs nothing else: no other file, no network, no script. It prints well.
    pub fn to_html(&self) -> String {
        html::html(&Document::of_audit(self))
    }

    /// The report for spreadsheets: a file for each table, with the model in the first column where the table is about
    /// models. A cell that a spreadsheet would take for a formula begins with an apostrophe.
    pub fn to_csv(&self) -> Vec<CsvFile> {
        csv::files(self)
    }
}

impl PoliciesReport {
    /// The report as Markdown. Nothing from outside is more than text in it.
    pub fn to_markdown(&self) -> String {
        markdown::markdown(&Document::of_policies(self))
    }
}
