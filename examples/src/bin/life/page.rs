//! How the story is put on the page. Nothing here knows more of the registry than its values.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_core::compat::Finding;
use registry_core::event::{Numbering, RollbackSafety, StageCause};
use registry_core::{By, Commit, Event, Stage, Version, VersionState};

const WIDTH: usize = 96;
const INDENT: &str = "   ";

pub(crate) fn title(folder: &Path) {
    println!("THE LIFE OF A MODEL");
    println!();
    say(
        "Cells from a tumour were measured under a microscope. Is it malignant? Models learn to tell, from the \
         569 real cases of the Breast Cancer Wisconsin data set. (A demonstration, not for medical use.)",
    );
    say("Four people share a registry: Ana trains models, Bo and Chen review them, Dana releases them.");
    say(&format!("It is the folder {}", folder.display()));
}

pub(crate) fn chapter(title: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    println!("\n{}. {}\n", NUMBER.fetch_add(1, Ordering::Relaxed), title.to_uppercase());
}

/// Prints a paragraph, wrapped.
pub(crate) fn say(text: &str) {
    wrapped(INDENT, INDENT, text);
}

/// Prints what somebody tried and, if it was refused, why.
pub(crate) fn show(attempt: &str, refusal: Option<impl Display>) {
    match refusal {
        None => say(&format!("{attempt}: done.")),
        Some(reason) => {
            say(&format!("{attempt}. Refused:"));
            // The reasons of a long refusal stand on lines of their own; the first few will do.
            let reason = reason.to_string();
            let mut lines = reason.lines();
            for (line, mark) in lines.by_ref().take(3).zip(["!", " ", " "]) {
                wrapped(&format!("      {mark} "), "        ", line);
            }
            match lines.count() {
                0 => {}
                more => println!("        … and {more} more"),
            }
        }
    }
}

/// The answer to a question, below it.
pub(crate) fn answer(text: &str) {
    wrapped("      ", "      ", text);
}

fn wrapped(first: &str, others: &str, text: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && WIDTH < line.chars().count() + 1 + word.chars().count() {
            println!("{line}");
            others.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    println!("{line}");
}

/// What the registry holds of a version.
pub(crate) fn on_record(version: &VersionState) {
    let content = &version.content;
    let inputs = content.signature.as_ref().and_then(|signature| signature.inputs());
    let text =
        |text: &Option<registry_core::Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    row("version", format!("{}, digest {}…", version.version, shortened(&version.digest)));
    row("made by", format!("{} ({})", text(&content.metadata.algorithm), text(&content.metadata.framework)));
    row("takes", count(inputs.map_or(0, |inputs| inputs.fields().len()), "column"));
    for (name, metric) in &content.metrics {
        let samples = metric.samples.map(|samples| format!(" on {samples} samples")).unwrap_or_default();
        row(name.as_str(), format!("{:.3}{samples}", metric.value.get()));
    }
    if let (Some(p50), Some(p95)) = (content.deployment.latency_p50_ms, content.deployment.latency_p95_ms) {
        row("latency", format!("{:.4} ms at the median, {:.4} ms at p95", p50.get(), p95.get()));
    }
    for file in &content.artifacts {
        row("file", format!("{}, {} bytes", file.path, file.size));
    }
}

fn row(name: &str, value: String) {
    println!("      {name:<10} {value}");
}

fn shortened(digest: &registry_core::Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// The comparison that a version number follows from, in full.
pub(crate) fn explain(numbering: &Numbering) {
    if let Some(comparison) = numbering.comparison() {
        for line in comparison.to_text().lines() {
            println!("{}", format!("      {line}").trim_end());
        }
    }
}

/// The same with like findings counted, for comparisons that find a lot.
pub(crate) fn explain_in_short(numbering: &Numbering) {
    let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in &numbering.findings {
        groups.entry((Reverse(finding.required), finding.id)).or_default().push(finding);
    }
    for ((Reverse(bump), id), findings) in groups {
        let Some(first) = findings.first() else { continue };
        let where_else =
            if findings.len() == 1 { String::new() } else { format!(" and {} more", findings.len() - 1) };
        println!("      {bump:<5}  {}{where_else}: {id}", first.path);
        println!("             {}", first.explanation());
    }
}

/// Which version made room, and whether one could go back to it.
pub(crate) fn succession(superseded: Option<&Version>, safety: Option<&RollbackSafety>) {
    let (Some(superseded), Some(safety)) = (superseded, safety) else { return };
    let verdict = match safety.safe {
        Some(true) => "safe for callers",
        Some(false) => "would break callers",
        None => "of unknown effect, since a signature is missing",
    };
    say(&format!(
        "{superseded} is archived. Going back to it later would be {verdict} ({} found).",
        count(safety.findings.len(), "difference")
    ));
    if let Some(finding) = safety.findings.first() {
        println!("      for example {}: {}", finding.path, finding.explanation());
    }
}

/// One commit of the log: when, who, what, why.
pub(crate) fn commit(commit: &Commit) {
    let what: Vec<String> = commit.events.iter().map(told).collect();
    let reason = commit.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let start = format!("{INDENT}{:>3}  {}  {:<5} ", commit.revision, time(commit.time), commit.actor);
    let others = " ".repeat(start.chars().count());
    wrapped(&start, &others, &format!("{}{reason}", what.join("; ")));
}

/// An event in words. The kinds that do not occur in this story are named, not told.
fn told(event: &Event) -> String {
    match event {
        Event::VersionRegistered(registered) => format!("registered {}", registered.version),
        Event::StageChanged(change) => {
            let how = match &change.cause {
                StageCause::Superseded { by } => format!(", superseded by {by}"),
                StageCause::RolledBack { .. } | StageCause::Rollback { .. } => ", by rollback".to_owned(),
                _ => String::new(),
            };
            format!("{}: {} → {}{how}", change.version, change.from, change.to)
        }
        Event::PromotionRequested(asked) => format!("asked for {} → {}", asked.version, asked.to),
        Event::PromotionApproved { request, comment, .. } => match comment {
            Some(comment) => format!("approved request {request} (“{comment}”)"),
            None => format!("approved request {request}"),
        },
        Event::ApprovalOverridden { version, to, .. } => {
            format!("BYPASSED the approval of {version} for {to}")
        }
        Event::RolledBack(done) => format!("rolled back from {} to {}", done.from, done.to),
        Event::Quarantined { version } => format!("quarantined {version}"),
        Event::PolicyChanged { .. } => "changed the rules".to_owned(),
        other => other.kind().replace('_', " "),
    }
}

/// How a version came into production: `since 15:06:05.123, by dana, approved by bo and chen: why`.
pub(crate) fn entered(commit: &Commit) -> String {
    let mut text = format!("since {}, by {}", time(commit.time), commit.actor);
    for event in &commit.events {
        match event {
            Event::StageChanged(change) if change.to == Stage::Production => {
                if let StageCause::Promotion { approvals, .. } = &change.cause
                    && !approvals.is_empty()
                {
                    let people: Vec<&str> =
                        approvals.iter().map(|approval| approval.actor.as_str()).collect();
                    text.push_str(&format!(", approved by {}", people.join(" and ")));
                }
            }
            Event::ApprovalOverridden { .. } => text.push_str(", WITHOUT APPROVAL"),
            Event::RolledBack(done) => text.push_str(&format!(", by rollback from {}", done.from)),
            _ => {}
        }
    }
    match &commit.reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}

/// The time of day to the millisecond; the story is shorter than a day.
fn time(at: registry_core::Timestamp) -> String {
    let text = at.to_string();
    text.split('T').nth(1).and_then(|time| time.get(..12)).unwrap_or(&text).to_owned()
}

pub(crate) fn prediction(said: u32, truth: u32) -> String {
    let word = if said == 1 { "malignant" } else { "benign" };
    if said == truth { word.to_owned() } else { format!("{word} (wrong)") }
}

/// The name of a person at the start of a sentence.
pub(crate) fn name(by: &By) -> String {
    let mut letters = by.actor.as_str().chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

pub(crate) fn words(identifier: &str) -> String {
    identifier.replace('_', " ")
}

pub(crate) fn count(number: usize, thing: &str) -> String {
    match number {
        0 => format!("no {thing}s"),
        1 => format!("1 {thing}"),
        many => format!("{many} {thing}s"),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
