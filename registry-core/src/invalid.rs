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

/// The word that was probably meant, for messages; none if no known one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known = known.into_iter().map(|known| (distance(word, known), known));
    let (distance, nearest) = known.min()?;
    (distance <= nearest.len() / 2).then_some(nearest)
}

/// How many letters must be put in, taken out or exchanged to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(CHARS_MAX).enumerate() {
        let mut next = vec![i + 1];
        for ((above, above_left), other) in row.iter().skip(1).zip(&row).zip(&b) {
            let left = next.last().copied().unwrap_or(0);
            next.push((above + 1).min(left + 1).min(above_left + usize::from(letter != *other)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
