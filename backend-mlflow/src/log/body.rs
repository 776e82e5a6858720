//! Why this exists: MLflow keeps 6,000 characters of a parameter and cuts off the rest **without a word**. So
//! what is longer goes in parts into a run of its own, and the parameter that it was for says where:
//!
//! ```text
//! commit.00000000000000000007 = {"format":1, … }                          the commit itself
//! commit.00000000000000000008 = @{"run":"…","parts":3,"chars":…,"sha256":"…"}   where it is
//!                                        part.000000 … part.000002        the run's parameters
//! ```
//!
//! Only the first form of a value may not begin with `@`, so the two cannot be confused. The parts are all
//! there before anything points to them.

use registry_core::Digest;
use serde::{Deserialize, Serialize};

use crate::rest::Pair;

/// How much is put into one parameter. MLflow counts characters, not bytes; the rest is a margin.
pub(crate) const CHARS_MAX: usize = 5_500;

/// How much is sent at once: MLflow takes 100 parameters; what stands before it often takes a megabyte.
const BATCH_BYTES: usize = 700_000;
const BATCH_PARAMS: usize = 100;

/// What marks a value that says where the text is.
const MARK: char = '@';

/// Where a long text is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    /// The run that has the parts.
    pub(crate) run: String,
    parts: usize,
    chars: usize,
    sha256: String,
}

/// What a value is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The text itself.
    Text(String),
    /// The place where it is.
    Elsewhere(Pointer),
}

/// Whether a text can be a value as it is.
pub(crate) fn fits(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(MARK) && text.chars().nth(CHARS_MAX).is_none()
}

impl Pointer {
    /// For a text whose parts are in a run.
    pub(crate) fn new(run: &str, text: &str) -> Pointer {
        Pointer {
            run: run.to_owned(),
            parts: pieces(text).count(),
            chars: text.chars().count(),
            sha256: Digest::of(text.as_bytes()).hex(),
        }
    }

    /// The value that says where the text is.
    pub(crate) fn value(&self) -> String {
        format!("{MARK}{}", serde_json::json!(self))
    }

    /// The text from its parts. The error says what is wrong with them.
    pub(crate) fn join(&self, params: &[Pair]) -> Result<String, String> {
        let mut found: Vec<&Pair> = params.iter().filter(|pair| pair.key.starts_with(PART)).collect();
        found.sort_by(|one, two| one.key.cmp(&two.key));
        if found.len() != self.parts || !(0..).zip(&found).all(|(number, pair)| pair.key == part(number)) {
            return Err(format!("has {} parts instead of {}", found.len(), self.parts));
        }
        let text: String = found.iter().map(|pair| pair.value.as_str()).collect();
        let chars = text.chars().count();
        if chars != self.chars {
            return Err(format!("has {chars} characters instead of {}", self.chars));
        }
        if Digest::of(text.as_bytes()).hex() != self.sha256 {
            return Err("holds other text than was written".to_owned());
        }
        Ok(text)
    }
}

/// Reads a value. The error says what is wrong with it.
pub(crate) fn read(value: &str) -> Result<Value, String> {
    match value.strip_prefix(MARK) {
        None => Ok(Value::Text(value.to_owned())),
        Some(pointer) => serde_json::from_str(pointer)
            .map(Value::Elsewhere)
            .map_err(|problem| format!("says not where its text is: {problem}")),
    }
}

const PART: &str = "part.";

fn part(number: usize) -> String {
    format!("{PART}{number:06}")
}

/// A text in pieces of [`CHARS_MAX`] characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(CHARS_MAX).map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The parameters that hold a text, in as many requests as it takes.
pub(crate) fn batches(text: &str) -> Vec<Vec<Pair>> {
    let mut batches: Vec<Vec<Pair>> = Vec::new();
    let mut bytes = 0;
    for (number, piece) in pieces(text).enumerate() {
        let size = piece.len().saturating_mul(5) / 4;
        let fits = |batch: &&mut Vec<Pair>| batch.len() < BATCH_PARAMS && bytes + size <= BATCH_BYTES;
        let pair = Pair::new(part(number), piece);
        match batches.last_mut().filter(fits) {
            Some(batch) => {
                batch.push(pair);
                bytes += size;
            }
            None => {
                batches.push(vec![pair]);
                bytes = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts around the limit, of characters of one to four bytes.
    fn texts() -> impl Strategy<Value = String> {
        let near = prop_oneof![
            0_usize..5,
            CHARS_MAX - 2..CHARS_MAX + 3,
            2 * CHARS_MAX - 2..2 * CHARS_MAX + 3,
            100 * CHARS_MAX..101 * CHARS_MAX,
        ];
        ("[aé模💥@\"]{1,7}", near).prop_map(|(unit, chars)| unit.chars().cycle().take(chars).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn long_texts_round_trip_through_parts_that_fit(text in texts()) {
            let batches = batches(&text);
            for batch in &batches {
                prop_assert!(batch.len() <= 100);
                let body = serde_json::to_string(batch).unwrap();
                prop_assert!(batch.iter().all(|pair| pair.value.chars().count() <= CHARS_MAX && !pair.value.is_empty()));
                prop_assert!(body.len() < 1_400_000, "{}", body.len());
            }
            let mut stored: Vec<Pair> = batches.concat();
            stored.reverse();
            let pointer = Pointer::new("run", &text);
            prop_assert!(pointer.value().chars().count() < 300);
            prop_assert_eq!(read(&pointer.value()), Ok(Value::Elsewhere(pointer.clone())));
            prop_assert_eq!(pointer.join(&stored), Ok(text.clone()));
            if fits(&text) {
                prop_assert_eq!(read(&text), Ok(Value::Text(text)));
            }
        }
    }

    #[test]
    fn what_was_cut_or_changed_is_noticed() {
        let text = "0123456789".repeat(2_000);
        let stored: Vec<Pair> = batches(&text).concat();
        let pointer = Pointer::new("run", &text);
        let mut missing = stored.clone();
        missing.remove(1);
        assert!(pointer.join(&missing).unwrap_err().contains("parts instead of 4"));
        let mut cut = stored.clone();
        cut[0].value.pop();
        assert!(pointer.join(&cut).unwrap_err().contains("19999 characters instead of 20000"));
        let mut other = stored;
        other[0].value.replace_range(0..1, "X");
        assert!(pointer.join(&other).unwrap_err().contains("other text"));
        assert!(read("@{}").unwrap_err().contains("where its text is"));
        assert!(!fits("@{}") && !fits("") && fits("{}"));
        assert!(fits(&"💥".repeat(CHARS_MAX)) && !fits(&"💥".repeat(CHARS_MAX + 1)));
    }
}
