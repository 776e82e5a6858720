//! Why this exists: the same findings are read in a terminal, in a pull request and by machines.
//! JSON is what [`Comparison`] serialises to; this module writes the other two. Both are a function
//! of the comparison alone, so that a report can be made again and compared byte by byte. Names
//! and values come from outside, so nothing in them may break a line, a table or a code span.

use std::fmt::Write;

use super::finding::Finding;
use super::interface::Comparison;
use crate::markdown::{code, one_line};

impl Comparison {
    /// The findings for a terminal.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n", self.headline());
        for finding in &self.findings {
            let change = change(finding).map(|change| format!(" ({change})")).unwrap_or_default();
            let line = format!("{:<5}  {}: {}{change}", finding.required, finding.path, finding.id);
            // Writing to a string cannot fail.
            let _ = write!(out, "\n{}\n       {}\n", one_line(&line), finding.explanation());
        }
        out
    }

    /// The findings for a pull request or a wiki.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("**{}**\n", self.headline());
        if !self.findings.is_empty() {
            out.push_str("\n| Bump | Where | Change | Why |\n|---|---|---|---|\n");
        }
        for finding in &self.findings {
            let change = change(finding).map(|change| format!(": {}", code(&change))).unwrap_or_default();
            let _ = writeln!(
                out,
                "| {} | {} | {}{change} | {} |",
                finding.required,
                code(&finding.path),
                finding.id,
                finding.explanation()
            );
        }
        out
    }

    fn headline(&self) -> String {
        match (self.required_bump(), self.findings.is_empty()) {
            (None, _) => {
                "Required bump: not known, since a signature or a side of one is missing; say which it is."
                    .to_owned()
            }
            (Some(bump), true) => format!("Required bump: {bump} (no change that callers can see)."),
            (Some(bump), false) => format!("Required bump: {bump}."),
        }
    }
}

fn change(finding: &Finding) -> Option<String> {
    match (&finding.from, &finding.to) {
        (Some(from), Some(to)) => Some(format!("{from} → {to}")),
        (Some(from), None) => Some(format!("was {from}")),
        (None, Some(to)) => Some(format!("now {to}")),
        (None, None) => None,
    }
}
