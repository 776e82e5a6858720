//! Why this exists: an audit is about a stretch of time, and a stretch of time has two ends that people get wrong. Here a
//! range is parsed once: it begins with its first instant and ends before its last one, and it is never empty.

use std::fmt;
use std::time::Duration;

use registry_core::{Invalid, ModelName, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::row::{Cell as _, object_schema};

/// A stretch of time, the first instant included and the last one not.
///
/// ```
/// use registry_audit::Range;
/// let year = Range::new(Some("2024-01-01T00:00:00Z".parse()?), "2025-01-01T00:00:00Z".parse()?)?;
/// assert!(year.contains("2024-12-31T23:59:59Z".parse()?));
/// assert!(!year.contains("2025-01-01T00:00:00Z".parse()?));
/// # Ok::<(), registry_core::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    from: Option<Timestamp>,
    to: Timestamp,
}

impl Range {
    /// From one instant up to another, or from the beginning if none is given.
    pub fn new(from: Option<Timestamp>, to: Timestamp) -> Result<Self, Invalid> {
        match from {
            Some(from) if to <= from => {
                let problem = format!("must be later than the beginning, {from}");
                Err(Invalid::new("end of the range", to, problem))
            }
            _ => Ok(Range { from, to }),
        }
    }

    /// All there is, up to and with this instant. What a clock that runs ahead has dated later is behind its end: see
    /// [`AuditReport::commits_after`](crate::AuditReport::commits_after).
    pub fn until(instant: Timestamp) -> Self {
        Range { from: None, to: instant.saturating_add(Duration::from_micros(1)) }
    }

    /// The first instant; none if it reaches back to the beginning.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The first instant that no longer belongs to it.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Whether the instant lies in it.
    pub fn contains(&self, instant: Timestamp) -> bool {
        !self.is_after(instant) && instant < self.to
    }

    /// Whether all of it lies after the instant.
    pub(crate) fn is_after(&self, instant: Timestamp) -> bool {
        self.from.is_some_and(|from| instant < from)
    }

    /// Whether something that lasts from an instant up to another, or on, has a part in it.
    pub(crate) fn touches(&self, since: Timestamp, until: Option<Timestamp>) -> bool {
        since < self.to && until.is_none_or(|until| self.from.is_none_or(|from| from < until))
    }

    /// Whether something that happened between two instants, the second included, or goes on, has a part in it.
    pub(crate) fn involves(&self, first: Timestamp, last: Option<Timestamp>) -> bool {
        first < self.to && last.is_none_or(|last| !self.is_after(last))
    }

    pub(crate) fn schema() -> Value {
        let instant = Timestamp::schema();
        object_schema(
            "The range: its first instant, null for the beginning, and the first instant behind it.",
            [
                ("from", "The first instant.", Option::<Timestamp>::schema()),
                ("to", "The first instant that is not part of it.", instant),
            ],
        )
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "from {from} up to {}", self.to),
            None => write!(f, "from the beginning up to {}", self.to),
        }
    }
}

/// What a report shall be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOptions {
    /// The model; none means the whole registry.
    pub model: Option<ModelName>,
    /// The stretch of time.
    pub range: Range,
    /// The instant that the report says it was made at. A request whose time has run out by then counts as expired.
    pub as_of: Timestamp,
    /// Also read all bytes of all versions that are not deleted.
    pub bytes: bool,
}

impl AuditOptions {
    /// All there is, of the whole registry, up to now.
    pub fn new(now: Timestamp) -> Self {
        AuditOptions { model: None, range: Range::until(now), as_of: now, bytes: false }
    }

    /// The same, of one model.
    #[must_use]
    pub fn of(self, model: ModelName) -> Self {
        AuditOptions { model: Some(model), ..self }
    }

    /// The same, of that stretch of time.
    #[must_use]
    pub fn within(self, range: Range) -> Self {
        AuditOptions { range, ..self }
    }

    /// The instant up to which the record is taken into account for what has happened since.
    pub(crate) fn end(&self) -> Timestamp {
        self.range.to.min(self.as_of)
    }

    pub(crate) fn scope_schema() -> Value {
        json!({ "anyOf": [ModelName::schema(), { "type": "null" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_half_open_and_never_empty() {
        let (one, two) = (at("2024-01-01T00:00:00Z"), at("2024-02-01T00:00:00Z"));
        assert!(Range::new(Some(two), one).is_err() && Range::new(Some(one), one).is_err());
        let january = Range::new(Some(one), two).unwrap();
        assert!(january.contains(one) && !january.contains(two));
        assert!(january.touches(at("2023-01-01T00:00:00Z"), None));
        assert!(!january.touches(at("2023-01-01T00:00:00Z"), Some(one)), "it ended before");
        assert!(!january.touches(two, None), "it begins behind");
        assert!(Range::until(one).contains(one));
    }
}
