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
    pub(crate) notes: Vec<String>,
}

/// This registry in the report.
pub(crate) const OURS: &str = "model-registry";

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
        Unit::Nanoseconds => scaled(value, &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")]),
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

        out.push_str("\n## Targets\n\n| target | reached | |\n|---|---:|---|\n");
        for (what, value, met) in targets {
            let value = value.map_or_else(|| "not measured".to_owned(), ratio);
            let _ = writeln!(out, "| {what} | {value} | {} |", if *met { "met" } else { "**missed**" });
        }

        for (heading, limits) in [("The registries", false), ("What the machine can do", true)] {
            let _ = write!(out, "\n## {heading}\n\n| |");
            let names: Vec<&str> = self
                .contenders
                .iter()
                .filter(|(name, is_limit)| *is_limit == limits || *name == OURS)
                .map(|(name, _)| *name)
                .collect();
            for name in &names {
                let _ = write!(out, " {name} |");
            }
            out.push_str("\n|---|");
            out.push_str(&"---|".repeat(names.len()));
            out.push('\n');
            for row in &self.rows {
                let has = |name: &&str| matches!(row.cells.get(*name), Some(Cell::Measured(_)));
                if !names
                    .iter()
                    .any(|name| *name != OURS && row.cells.contains_key(name) && (!limits || has(name)))
                    && limits
                {
                    continue;
                }
                let _ = write!(out, "| {} |", row.title);
                let ours = row.median_of(OURS);
                for name in &names {
                    let cell = match row.cells.get(name) {
                        None => "–".to_owned(),
                        Some(Cell::Cannot(reason)) if reason.is_empty() => "–".to_owned(),
                        Some(Cell::Cannot(reason)) => format!("cannot: {reason}"),
                        Some(Cell::Failed(reason)) => {
                            format!("fails: {}", reason.lines().last().unwrap_or_default())
                        }
                        Some(Cell::Measured(values)) => {
                            let mut text = format!("**{}**", shown(median(values), row.unit));
                            if 2 < values.len() {
                                let at = |share| shown(quantile(values, share), row.unit);
                                let _ = write!(text, " ({}–{})", at(0.1), at(0.9));
                            }
                            if *name != OURS
                                && let Some(ours) = ours
                            {
                                let _ = write!(text, ", {} ×", ratio(median(values) / ours));
                            }
                            text
                        }
                    };
                    let _ = write!(out, " {} |", cell.replace('|', "\\|"));
                }
                out.push('\n');
            }
        }
        if !self.notes.is_empty() {
            out.push_str("\n## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(out, "* {note}");
            }
        }
        out
    }
}
