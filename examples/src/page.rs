//! How the longer examples put their stories on the page: chapters, paragraphs, and the record in words. Nothing
//! here knows more of the registry than its values.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_core::event::StageCause;
use registry_core::{By, Commit, Event, Stage, Timestamp};

const WIDTH: usize = 96;
const INDENT: &str = "   ";

/// Begins the next chapter.
pub fn chapter(title: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    println!("\n{}. {}\n", NUMBER.fetch_add(1, Ordering::Relaxed), title.to_uppercase());
}

/// Prints a paragraph, wrapped.
pub fn say(text: &str) {
    wrapped(INDENT, INDENT, text);
}

/// Prints what somebody tried and, if it was refused, why.
pub fn show(attempt: &str, refusal: Option<impl Display>) {
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
pub fn answer(text: &str) {
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

/// One commit of the log: when, who, what, why.
pub fn commit(commit: &Commit) {
    let mut what: Vec<String> = Vec::new();
    let mut before = None;
    for event in &commit.events {
        let system = match event {
            Event::Adopted(adopted) => Some(&adopted.system),
            _ => None,
        };
        what.push(match (event, system) {
            // Where it was found is said once.
            (Event::Adopted(adopted), Some(_)) if system == before => told(&adopted.change),
            _ => told(event),
        });
        before = system;
    }
    let reason = commit.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let start = format!("{INDENT}{:>3}  {}  {:<6} ", commit.revision, time(commit.time), commit.actor);
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
        Event::ApprovalRefused { request, .. } => format!("tried to approve request {request}, and may not"),
        Event::ApprovalOverridden { version, to, .. } => {
            format!("BYPASSED the approval of {version} for {to}")
        }
        Event::RolledBack(done) => format!("rolled back from {} to {}", done.from, done.to),
        Event::Quarantined { version } => format!("quarantined {version}"),
        Event::PolicyChanged { .. } => "changed the rules".to_owned(),
        Event::FilesFound(found) => {
            format!("found {} of {}", count(found.artifacts.len(), "file"), found.version)
        }
        Event::Adopted(adopted) => format!("adopted from {}: {}", adopted.system, told(&adopted.change)),
        other => other.kind().replace('_', " "),
    }
}

/// How a version came into production: `since 15:06:05.123, by dana, approved by bo and chen: why`.
pub fn entered(commit: &Commit) -> String {
    format!("since {}, {}", time(commit.time), put_there(commit))
}

/// The same without the time.
pub fn put_there(commit: &Commit) -> String {
    let mut text = format!("by {}", commit.actor);
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
            Event::Adopted(adopted) if enters_production(&adopted.change) => {
                text.push_str(&format!(", as found in {}", adopted.system));
            }
            Event::RolledBack(done) => text.push_str(&format!(", by rollback from {}", done.from)),
            _ => {}
        }
    }
    match &commit.reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}

fn enters_production(event: &Event) -> bool {
    matches!(event, Event::StageChanged(change) if change.to == Stage::Production)
}

/// The time of day to the millisecond; the story is shorter than a day.
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('T').nth(1).and_then(|time| time.get(..12)).unwrap_or(&text).to_owned()
}

/// The name of a person at the start of a sentence.
pub fn name(by: &By) -> String {
    let mut letters = by.actor.as_str().chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// An identifier as words.
pub fn words(identifier: &str) -> String {
    identifier.replace('_', " ")
}

/// A number of things, in words.
pub fn count(number: usize, thing: &str) -> String {
    match number {
        0 => format!("no {thing}s"),
        1 => format!("1 {thing}"),
        many => format!("{many} {thing}s"),
    }
}

/// A share, as people write it.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
