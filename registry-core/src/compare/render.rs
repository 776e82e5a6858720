//! Why this exists: the same comparison is read in a terminal, in a pull request, in a browser and by machines. JSON is
//! what [`VersionComparison`] serialises to; this writes the others, each a function of the comparison alone. Names and
//! values come from outside, so nothing in them may break a line, a table or a page.

use std::fmt::Write as _;

use serde_json::Value;

use super::{NumberChange, Outcome, ValueChange, Verdict, VersionComparison};
use crate::markdown::{code, one_line, text};

/// A number as people read it: a few digits, and no zeros at the end.
fn digits(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let places = if 100.0 <= magnitude { 1 } else { 4 };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number with its unit; bytes in the unit that suits.
fn shown(value: Option<f64>, unit: Option<&str>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match unit {
        Some("bytes") => {
            let steps = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
            let step = steps.iter().find(|(_, step)| *step <= value.abs());
            step.map_or_else(
                || format!("{}B", digits(value)),
                |(unit, step)| {
                    let text = format!("{:.1}", value / step);
                    format!("{}{unit}", text.trim_end_matches(".0"))
                },
            )
        }
        Some("cores") => format!("{} cores", digits(value)),
        Some(unit) => format!("{}{}", digits(value), one_line(unit)),
        None => digits(value),
    }
}

/// A word begins with a capital; what looks like a name in a program stays as it is.
fn title(name: &str) -> String {
    if !name.chars().all(|c| c.is_alphanumeric() || c == ' ') {
        return one_line(name);
    }
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    one_line(&format!("{first}{}", letters.as_str()))
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Better => " ✅",
        Outcome::Worse => " ❌",
        Outcome::NotSignificant => " (may be chance)",
        Outcome::Same | Outcome::Unjudged | Outcome::OneSided => "",
    }
}

fn percent(change: &NumberChange) -> String {
    match (change.relative, change.absolute) {
        (_, Some(0.0)) => " (no change)".to_owned(),
        (Some(relative), _) => format!(" ({:+.1}%)", relative * 100.0),
        (None, Some(absolute)) => format!(" ({}{})", if absolute < 0.0 { "" } else { "+" }, digits(absolute)),
        (None, None) => String::new(),
    }
}

/// How sure it is, in a few words.
fn sureness(change: &NumberChange) -> Option<String> {
    let (test, p) = change.test.zip(change.p_corrected)?;
    let p = if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") };
    Some(format!("{p}, {}", test.method.as_str()))
}

/// The change without what sets it off in a line.
fn bare_percent(change: &NumberChange) -> String {
    percent(change).trim().trim_matches(|c| matches!(c, '(' | ')')).to_owned()
}

/// The mark and how sure it is.
fn judged(change: &NumberChange) -> String {
    let parts = [Some(mark(change.outcome).trim().to_owned()), sureness(change)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None => "–".to_owned(),
        Some(Value::String(text)) => one_line(text),
        Some(Value::Array(lines)) => {
            let lines: Vec<String> = lines.iter().map(|line| plain(Some(line))).collect();
            lines.join(", ")
        }
        Some(other) => one_line(&other.to_string()),
    }
}

fn sides(comparison: &VersionComparison) -> (String, String) {
    if comparison.old_model == comparison.new_model {
        (comparison.old.to_string(), comparison.new.to_string())
    } else {
        let named = |model: &crate::ModelName, version: &crate::Version| format!("{model} {version}");
        (named(&comparison.old_model, &comparison.old), named(&comparison.new_model, &comparison.new))
    }
}

impl VersionComparison {
    /// The parts that list values, with their headings.
    fn values(&self) -> [(&'static str, &[ValueChange]); 3] {
        [
            ("Hyperparameters", &self.hyperparameters),
            ("Environment", &self.environment),
            ("Lineage", &self.lineage),
        ]
    }

    fn names(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        let features = &self.features;
        [("Added", &features.added), ("Removed", &features.removed), ("Modified", &features.modified)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
    }

    fn conclusion(&self) -> String {
        let (_, new) = sides(self);
        let word = match self.recommendation.verdict {
            Verdict::Better => format!("✅ {new} is better"),
            Verdict::Worse => format!("❌ {new} is worse"),
            Verdict::Mixed => format!("⚠️ {new} is better in some and worse in other respects"),
            Verdict::Inconclusive => "❔ nothing that can be judged has changed for sure".to_owned(),
        };
        match self.recommendation.reasons.is_empty() {
            true => word,
            false => format!("{word} ({})", self.recommendation.reasons.join("; ")),
        }
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let (old, new) = sides(self);
        let heading = one_line(&format!("Comparison: {old} vs {new}"));
        let mut out = format!("{heading}\n{}\n", "=".repeat(heading.chars().count()));
        for (heading, changes) in [("Metrics", &self.metrics), ("Performance", &self.performance)] {
            if changes.is_empty() {
                continue;
            }
            let _ = write!(out, "\n{heading}:\n");
            let width = changes.iter().map(|change| title(&change.name).chars().count()).max().unwrap_or(0);
            for change in changes {
                let name = format!("{}:", title(&change.name));
                let unit = change.unit.as_deref();
                let sure = sureness(change).map(|sure| format!("  [{sure}]")).unwrap_or_default();
                let _ = writeln!(
                    out,
                    "- {name:<width$} {} → {}{}{}{sure}",
                    shown(change.old, unit),
                    shown(change.new, unit),
                    percent(change),
                    mark(change.outcome),
                    width = width + 1,
                );
            }
        }
        if !self.features.is_empty() {
            out.push_str("\nFeatures:\n");
            for (what, names) in self.names() {
                let _ = writeln!(out, "- {what}: {}", one_line(&names.join(", ")));
            }
        }
        for (heading, changes) in self.values().into_iter().filter(|(_, changes)| !changes.is_empty()) {
            let _ = write!(out, "\n{heading}:\n");
            for change in changes {
                let (old, new) = (plain(change.old.as_ref()), plain(change.new.as_ref()));
                let _ = writeln!(out, "- {}: {old} → {new}", title(&change.name));
            }
        }
        let _ = write!(out, "\n{}", self.compatibility.to_text());
        let _ = write!(out, "\nRecommendation: {}\n", one_line(&self.conclusion()));
        out
    }

    /// For a pull request or a wiki.
    pub fn to_markdown(&self) -> String {
        let (old, new) = sides(self);
        let mut out =
            format!("## Comparison: {} vs {}\n\n**{}**\n", code(&old), code(&new), text(&self.conclusion()));
        let numbers: Vec<&NumberChange> = self.metrics.iter().chain(&self.performance).collect();
        if !numbers.is_empty() {
            let _ = write!(
                out,
                "\n| Measured | {} | {} | Change | |\n|---|---|---|---|---|\n",
                code(&old),
                code(&new)
            );
            for change in numbers {
                let unit = change.unit.as_deref();
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} |",
                    code(&change.name),
                    text(&shown(change.old, unit)),
                    text(&shown(change.new, unit)),
                    bare_percent(change),
                    text(&judged(change)),
                );
            }
        }
        if !self.features.is_empty() {
            out.push_str("\n**Features**\n\n");
            for (what, names) in self.names() {
                let names: Vec<String> = names.iter().map(|name| code(name)).collect();
                let _ = writeln!(out, "* {what}: {}", names.join(", "));
            }
        }
        for (heading, changes) in self.values().into_iter().filter(|(_, changes)| !changes.is_empty()) {
            let _ = write!(out, "\n**{heading}**\n\n");
            for change in changes {
                let (old, new) = (plain(change.old.as_ref()), plain(change.new.as_ref()));
                let _ = writeln!(out, "* {}: {} → {}", code(&change.name), code(&old), code(&new));
            }
        }
        let _ = write!(out, "\n{}", self.compatibility.to_markdown());
        out
    }

    /// A page that needs nothing but itself, with a small chart for each number.
    pub fn to_html(&self) -> String {
        let (old, new) = sides(self);
        let heading = escaped(&format!("{old} vs {new}"));
        let mut body = String::new();
        let _ =
            write!(body, "<h1>{heading}</h1>\n<p class=\"verdict\">{}</p>\n", escaped(&self.conclusion()));
        for (title, changes) in [("Metrics", &self.metrics), ("Performance", &self.performance)] {
            if changes.is_empty() {
                continue;
            }
            let _ = write!(
                body,
                "<h2>{title}</h2>\n<table><tr><th>Measured</th><th>{}</th><th>{}</th><th>Change</th><th></th><th></th></tr>\n",
                escaped(&old),
                escaped(&new)
            );
            for change in changes {
                let unit = change.unit.as_deref();
                let class = match change.outcome {
                    Outcome::Better => "better",
                    Outcome::Worse => "worse",
                    _ => "other",
                };
                let _ = writeln!(
                    body,
                    "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escaped(&change.name),
                    escaped(&shown(change.old, unit)),
                    escaped(&shown(change.new, unit)),
                    escaped(&bare_percent(change)),
                    chart(change),
                    escaped(&judged(change)),
                );
            }
            body.push_str("</table>\n");
        }
        if !self.features.is_empty() {
            body.push_str("<h2>Features</h2>\n<ul>\n");
            for (what, names) in self.names() {
                let _ = writeln!(body, "<li>{what}: {}</li>", escaped(&names.join(", ")));
            }
            body.push_str("</ul>\n");
        }
        for (heading, changes) in self.values().into_iter().filter(|(_, changes)| !changes.is_empty()) {
            let _ = write!(body, "<h2>{heading}</h2>\n<ul>\n");
            for change in changes {
                let (old, new) = (plain(change.old.as_ref()), plain(change.new.as_ref()));
                let _ = writeln!(
                    body,
                    "<li>{}: {} → {}</li>",
                    escaped(&change.name),
                    escaped(&old),
                    escaped(&new)
                );
            }
            body.push_str("</ul>\n");
        }
        let _ = write!(body, "<h2>For callers</h2>\n<pre>{}</pre>\n", escaped(&self.compatibility.to_text()));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{heading}</title>\n\
             <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
        )
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}table{border-collapse:collapse}th,td{text-align:left;padding:.3rem .8rem;\
border-bottom:1px solid #ddd}.verdict{font-size:1.15rem}.better td:nth-child(4){color:#11702f}\
.worse td:nth-child(4){color:#b3261e}svg{vertical-align:middle}.old{fill:#9aa4b2}.new{fill:#3b6fb6}\
pre{white-space:pre-wrap}";

/// Two bars, the old one above the new one.
fn chart(change: &NumberChange) -> String {
    let (Some(old), Some(new)) = (change.old, change.new) else { return String::new() };
    let most = old.abs().max(new.abs());
    let width = |value: f64| if most == 0.0 { 0.0 } else { (value.abs() / most * 120.0).clamp(0.0, 120.0) };
    format!(
        "<svg width=\"120\" height=\"20\" role=\"img\" aria-label=\"{} to {}\">\
         <rect class=\"old\" width=\"{:.1}\" height=\"8\"/>\
         <rect class=\"new\" y=\"11\" width=\"{:.1}\" height=\"8\"/></svg>",
        digits(old),
        digits(new),
        width(old),
        width(new)
    )
}

/// Text in a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() && c != '\n' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
