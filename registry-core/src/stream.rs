//! Why this exists: a log belongs to a stream, a place in it is a revision, and a question that
//! crosses streams is a term. These three words are all that a backend must index.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::name::{ExperimentName, ModelName};

/// The name of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// The life of one model, written `model/<name>`.
    Model(ModelName),
    /// Summaries of what monitoring saw of one model, written `health/<name>`. Kept apart so that
    /// telemetry never bloats the lifecycle log.
    Health(ModelName),
    /// The training runs of one experiment, written `experiment/<name>`.
    Experiment(ExperimentName),
    /// The rules that hold for all models, written `registry`.
    Registry,
}

impl Stream {
    /// The model this stream speaks of, if it speaks of one.
    pub fn model(&self) -> Option<&ModelName> {
        match self {
            Stream::Model(name) | Stream::Health(name) => Some(name),
            Stream::Experiment(_) | Stream::Registry => None,
        }
    }

    /// The experiment this stream speaks of, if it speaks of one.
    pub fn experiment(&self) -> Option<&ExperimentName> {
        match self {
            Stream::Experiment(name) => Some(name),
            Stream::Model(_) | Stream::Health(_) | Stream::Registry => None,
        }
    }

    /// Its name within its kind, if the kind has more than one stream.
    pub fn name(&self) -> Option<&str> {
        match self {
            Stream::Model(name) | Stream::Health(name) => Some(name.as_str()),
            Stream::Experiment(name) => Some(name.as_str()),
            Stream::Registry => None,
        }
    }

    /// What kind of stream this is.
    pub fn kind(&self) -> StreamKind {
        match self {
            Stream::Model(_) => StreamKind::Model,
            Stream::Health(_) => StreamKind::Health,
            Stream::Experiment(_) => StreamKind::Experiment,
            Stream::Registry => StreamKind::Registry,
        }
    }
}

impl From<&ModelName> for Stream {
    fn from(model: &ModelName) -> Self {
        Stream::Model(model.clone())
    }
}

impl From<&Stream> for Stream {
    fn from(stream: &Stream) -> Self {
        stream.clone()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Model(name) => write!(f, "model/{name}"),
            Stream::Health(name) => write!(f, "health/{name}"),
            Stream::Experiment(name) => write!(f, "experiment/{name}"),
            Stream::Registry => f.write_str("registry"),
        }
    }
}

impl FromStr for Stream {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('/') {
            Some(("model", name)) => Ok(Stream::Model(name.parse()?)),
            Some(("health", name)) => Ok(Stream::Health(name.parse()?)),
            Some(("experiment", name)) => Ok(Stream::Experiment(name.parse()?)),
            None if text == "registry" => Ok(Stream::Registry),
            _ => {
                let problem = "expected `model/<name>`, `health/<name>`, `experiment/<name>` or `registry`";
                Err(Invalid::new("stream", text, problem))
            }
        }
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// The kinds of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// [`Stream::Model`].
    Model,
    /// [`Stream::Health`].
    Health,
    /// [`Stream::Experiment`].
    Experiment,
    /// [`Stream::Registry`].
    Registry,
}

impl StreamKind {
    /// All kinds.
    pub const ALL: [StreamKind; 4] =
        [StreamKind::Model, StreamKind::Health, StreamKind::Experiment, StreamKind::Registry];

    /// The first part of the stream's text form.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamKind::Model => "model",
            StreamKind::Health => "health",
            StreamKind::Experiment => "experiment",
            StreamKind::Registry => "registry",
        }
    }
}

/// The place of a commit in its stream: 1, 2, 3, … without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(NonZeroU64);

impl Revision {
    /// The first revision of every stream.
    pub const FIRST: Revision = Revision(NonZeroU64::MIN);

    /// The largest revision: what fits into a signed 64-bit column.
    pub const MAX: u64 = i64::MAX as u64;

    /// The revision with that number.
    pub fn new(number: u64) -> Result<Self, Invalid> {
        match NonZeroU64::new(number) {
            Some(number) if number.get() <= Revision::MAX => Ok(Revision(number)),
            _ => Err(Invalid::new("revision", number, "expected a number from 1 to 2^63-1")),
        }
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }

    /// The revision that follows `head`: the first one if there is none yet.
    pub fn after(head: Option<Revision>) -> Revision {
        head.map_or(Revision::FIRST, Revision::next)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number =
            text.parse().map_err(|_| Invalid::new("revision", text, "expected a number from 1 on"))?;
        Revision::new(number)
    }
}

/// A statement that a backend can find streams by, such as `tag=fraud` or `stage=production`.
///
/// Core computes terms from events; a backend makes a record findable by its terms no later than it
/// makes it readable. A term says that something was true once, not that it still is: finding by
/// term may return too much, never too little, and core verifies each candidate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(Arc<str>);

impl Term {
    /// The longest term, in bytes. Longer ones are cut and end in a digest of the whole, so that
    /// distinct terms stay distinct.
    pub const BYTES_MAX: usize = 200;

    /// The term `key=value`.
    pub fn new(key: &str, value: &str) -> Term {
        let whole = format!("{key}={value}");
        if whole.len() <= Term::BYTES_MAX {
            return Term(whole.into());
        }
        let digest = crate::digest::Digest::of(whole.as_bytes()).hex();
        let mut end = Term::BYTES_MAX - digest.len() - 1;
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        let start = whole.get(..end).unwrap_or_default();
        Term(format!("{start}#{digest}").into())
    }

    /// The term as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a kind is led here by the compiler.
    #[test]
    fn all_kinds_are_in_the_list_of_all() {
        let place = |kind| match kind {
            StreamKind::Model => 0,
            StreamKind::Health => 1,
            StreamKind::Experiment => 2,
            StreamKind::Registry => 3,
        };
        assert_eq!(StreamKind::ALL.map(place), [0, 1, 2, 3]);
    }

    #[test]
    fn streams_round_trip_as_text() {
        for text in ["model/fraud", "health/fraud", "experiment/xgboost", "registry", "model/registry"] {
            assert_eq!(text.parse::<Stream>().unwrap().to_string(), text);
        }
        for text in ["", "model", "model/", "model/a/b", "experiment/a:b", "registry/", "other/x"] {
            assert!(text.parse::<Stream>().is_err(), "{text}");
        }
    }

    #[test]
    fn long_terms_are_bounded_and_stay_distinct() {
        let one = Term::new("tag", &"ä".repeat(300));
        let two = Term::new("tag", &format!("{}b", "ä".repeat(299)));
        assert!(one.as_str().len() <= Term::BYTES_MAX);
        assert_ne!(one, two);
        assert_eq!(Term::new("tag", "fraud").as_str(), "tag=fraud");
    }
}
