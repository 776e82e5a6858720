//! Why this exists: auditors filter and sort in a spreadsheet. A file for each table opens there as it is, with one header
//! and columns that mean one thing, which one long file of many kinds of rows does not. And a spreadsheet runs what looks
//! like a formula, so nothing from outside may look like one.

use std::collections::BTreeMap;

use csv::{QuoteStyle, Terminator, WriterBuilder};

use crate::report::AuditReport;
use crate::row::Table;

/// A table as a file for spreadsheets, in the form of RFC 4180, in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsvFile {
    /// Its name, such as `deployments.csv`.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

pub(super) fn files(report: &AuditReport) -> Vec<CsvFile> {
    let whole = report.tables().into_iter().map(|table| {
        // What changed for all models and what changed for one go into two files.
        let name = if table.name == "policy_changes" { "registry_policy_changes" } else { table.name };
        CsvFile { name: format!("{name}.csv"), text: text(table.columns.iter().copied(), &table.rows) }
    });
    let mut by_name: BTreeMap<&str, (Table, Vec<Vec<String>>)> = BTreeMap::new();
    for model in &report.models {
        for table in model.tables() {
            let rows = table.rows.iter().map(|row| {
                let first = std::iter::once(model.model.to_string());
                first.chain(row.iter().cloned()).collect()
            });
            let rows: Vec<Vec<String>> = rows.collect();
            by_name.entry(table.name).or_insert_with(|| (table, Vec::new())).1.extend(rows);
        }
    }
    let of_models = by_name.into_values().map(|(table, rows)| CsvFile {
        name: format!("{}.csv", table.name),
        text: text(std::iter::once("model").chain(table.columns.iter().copied()), &rows),
    });
    whole.chain(of_models).collect()
}

fn text<'a>(columns: impl Iterator<Item = &'a str>, rows: &[Vec<String>]) -> String {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing into memory does not fail, and all rows of a table have as many cells.
    let _ = writer.write_record(columns);
    for row in rows {
        let _ = writer.write_record(row.iter().map(|cell| guarded(cell)));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula. Numbers stay numbers.
fn guarded(cell: &str) -> String {
    let starts =
        |text: &str| text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let is_number = cell.parse::<f64>().is_ok_and(f64::is_finite);
    if !is_number && (starts(cell) || starts(cell.trim_start())) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_text_and_numbers_are_numbers() {
        for formula in ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "-", "-inf", "＝1"]
        {
            assert_eq!(guarded(formula), format!("'{formula}"));
        }
        for harmless in ["-0.5", "+1", "1e5", "", "a=1", "v1.0.0", "2024-01-01"] {
            assert_eq!(guarded(harmless), harmless);
        }
    }

    #[test]
    fn cells_with_commas_quotes_and_lines_are_one_cell_each() {
        let rows = vec![vec!["a,b".to_owned(), "say \"hi\"\nand go".to_owned()]];
        assert_eq!(text(["x", "y"].into_iter(), &rows), "x,y\r\n\"a,b\",\"say \"\"hi\"\"\nand go\"\r\n");
    }
}
