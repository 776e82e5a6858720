//! Why this exists: every value that enters the registry from outside is parsed once, at the edge,
//! into a type that cannot hold anything illegal. When that fails the caller gets one kind of
//! error, [`Invalid`], that says what was wrong, with what, and what would have been accepted.

use std::fmt;

/// A value from outside was not acceptable. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value}: {problem}")]
pub struct Invalid {
    /// What was being parsed, in the registry's words: `model name`, `version`, `stage`, …
    pub what: &'static str,
    /// The offending value, quoted, and cut if it is very long.
    pub value: String,
    /// What is wrong with it and what would be accepted.
    pub problem: String,
}

impl Invalid {
    /// Builds the error; the value is quoted, escaped, and cut to a length that fits on a screen.
    pub fn new(what: &'static str, value: impl fmt::Display, problem: impl Into<String>) -> Self {
        const SHOWN_MAX: usize = 80;
        let full = value.to_string();
        let mut shown: String = full.chars().take(SHOWN_MAX).collect();
        if shown.len() < full.len() {
            shown.push('…');
        }
        Invalid { what, value: format!("{shown:?}"), problem: problem.into() }
    }
}
