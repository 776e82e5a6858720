//! Why this exists: what was measured, kept whole for programs and put in order for people: where a peer is better
//! comes first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// What one contender did in one row.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cell {
    /// In nanoseconds for each piece of work, or in bytes.
    Measured(Vec<f64>),
    Cannot(String),
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Nanoseconds,
    /// Nanoseconds too, but of a compiler.
    BuildTime,
    Bytes,
    Count,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) cells: BTreeMap<&'static str, Cell>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: BTreeMap<&'static str, String>,
    pub(crate) contenders: Vec<(&'static str, bool)>,
    pub(crate) rows: Vec<Row>,
}

/// This registry in the report.
pub(crate) const OURS: &str = "model-registry";
/// The same, on the server that [`MLFLOW_HTTP`] asks alone.
pub(crate) const ON_MLFLOW: &str = "model-registry on MLflow";
pub(crate) const MLFLOW_HTTP: &str = "MLflow over HTTP";

pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted.get(place.round() as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

impl Row {
    pub(crate) fn median_of(&self, contender: &str) -> Option<f64> {
        match self.cells.get(contender)? {
            Cell::Measured(values) if !values.is_empty() => Some(median(values)),
            _ => None,
        }
    }
}

fn shown(value: f64, unit: Unit) -> String {
    let scaled = |value: f64, units: &[(f64, &str)]| {
        let (size, name) = units.iter().rev().find(|(size, _)| *size <= value).unwrap_or(&units[0]);
        let scaled = value / size;
        let digits = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
        format!("{scaled:.digits$} {name}")
    };
    match unit {
        Unit::Nanoseconds | Unit::BuildTime => {
            scaled(value, &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")])
        }
        Unit::Bytes => scaled(value, &[(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")]),
        Unit::Count => format!("{value:.0}"),
    }
}

fn ratio(value: f64) -> String {
    if 100.0 <= value {
        format!("{value:.0}")
    } else if 10.0 <= value {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

impl Report {
    pub(crate) fn row(&self, title: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.title == title)
    }

    /// How many times as long it took another as it took this registry.
    pub(crate) fn times(&self, title: &str, other: &str) -> Option<f64> {
        let row = self.row(title)?;
        Some(row.median_of(other)? / row.median_of(OURS)?)
    }

    pub(crate) fn to_markdown(&self, targets: &[(String, Option<f64>, bool)]) -> String {
        let mut out = String::new();
        out.push_str("# Measured against the peers\n\n");
        out.push_str(
            "The same work on each in turn. Every single measurement is in `benchmarks.json`, beside this page. What the work is, and \
             what is fair about it and what not, stands in [bench/README.md](../bench/README.md).\n\n",
        );
        for (what, found) in &self.machine {
            let _ = writeln!(out, "* {what}: {found}");
        }
        out.push_str(
            "\nTimes are medians, with the tenth and the ninetieth percentile; ratios are to this registry: ",
        );
        out.push_str("above 1 it is faster or smaller, below 1 the other is.\n\n");

        out.push_str("## Where a peer is better\n\n");
        let mut none = true;
        for row in &self.rows {
            let Some(ours) = row.median_of(OURS) else { continue };
            for (name, is_limit) in &self.contenders {
                if *is_limit || name.starts_with(OURS) {
                    continue;
                }
                if let Some(theirs) = row.median_of(name).filter(|theirs| *theirs < ours) {
                    none = false;
                    let _ = writeln!(
                        out,
                        "* {}: {name} {}, this registry {} ({} ×)",
                        row.title,
                        shown(theirs, row.unit),
                        shown(ours, row.unit),
                        ratio(theirs / ours)
                    );
                }
            }
        }
        if none {
            out.push_str("In no row.\n");
        }

        out.push_str(
            "\n## What it costs to have this registry on an MLflow server\n\n\
             Instead of asking the same server alone, for what both do:\n\n",
        );
        for row in &self.rows {
            if let Some((ours, theirs)) = row.median_of(ON_MLFLOW).zip(row.median_of(MLFLOW_HTTP))
                && row.unit == Unit::Nanoseconds
            {
                let (shown_ours, shown_theirs) = (shown(ours, row.unit), shown(theirs, row.unit));
                let times = ratio(ours / theirs);
                let _ = writeln!(out, "* {}: {shown_ours} instead of {shown_theirs} ({times} ×)", row.title);
            }
        }

        out.push_str("\n## Targets\n\n| target | reached | |\n|---|---:|---|\n");
        for (what, value, met) in targets {
            let value = value.map_or_else(|| "not measured".to_owned(), ratio);
            let _ = writeln!(out, "| {what} | {value} | {} |", if *met { "met" } else { "**missed**" });
        }

        out.push_str(
            "\n## Everything\n\n\
             What the machine can do at best is in *italics*. What is not in a row has nothing to do with it.\n\n\
             | | | median | 10–90 % | ratio |\n|---|---|---:|---:|---:|\n",
        );
        for row in &self.rows {
            self.write_row(&mut out, row);
        }
        out
    }

    fn write_row(&self, out: &mut String, row: &Row) {
        let ours = row.median_of(OURS);
        let mut title = row.title.as_str();
        let mut unable = Vec::new();
        for (name, is_limit) in &self.contenders {
            let values = match row.cells.get(name) {
                Some(Cell::Measured(values)) if !values.is_empty() => values,
                Some(Cell::Cannot(reason)) if !reason.is_empty() => {
                    unable.push(format!("{name}: {reason}"));
                    continue;
                }
                Some(Cell::Failed(reason)) => {
                    let last = reason.trim().lines().last().unwrap_or_default();
                    unable.push(format!("{name} fails: `{}`", last.replace('|', "\\|")));
                    continue;
                }
                _ => continue,
            };
            let shown_name = if *is_limit { format!("*{name}*") } else { (*name).to_owned() };
            let at = |share| shown(quantile(values, share), row.unit);
            let spread =
                if 2 < values.len() { format!("{} – {}", at(0.1), at(0.9)) } else { String::new() };
            let times = match ours {
                Some(ours) if *name != OURS => format!("{} ×", ratio(median(values) / ours)),
                _ => String::new(),
            };
            let _ = writeln!(out, "| {title} | {shown_name} | {} | {spread} | {times} |", at(0.5));
            title = "";
        }
        for reason in unable {
            let _ = writeln!(out, "| {title} | {reason} | – | | |");
            title = "";
        }
    }
}
