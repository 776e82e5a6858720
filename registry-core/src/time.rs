//! Why this exists: the log orders commits by revision and answers "as of an instant" by time, so
//! an instant needs one precision and one text form: microseconds, UTC, always six decimals.
//! Deciding never reads a clock; the engine asks a [`Clock`], which tests replace.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;

/// An instant in UTC with microsecond precision, written `2024-01-15T10:30:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(jiff::Timestamp::UNIX_EPOCH);

    /// The instant that many microseconds after 1970-01-01T00:00:00Z.
    pub fn from_microseconds(microseconds: i64) -> Result<Self, Invalid> {
        jiff::Timestamp::from_microsecond(microseconds)
            .map(Timestamp)
            .map_err(|_| Invalid::new("instant", microseconds, "lies outside of the years -9999 to 9999"))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }

    /// This instant and the duration after it; stops at the end of time instead of overflowing.
    pub fn saturating_add(self, duration: Duration) -> Self {
        let added = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let sum = self.microseconds().saturating_add(added).min(last_microsecond());
        Timestamp::from_microseconds(sum).unwrap_or(self)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        let gap = self.microseconds().saturating_sub(earlier.microseconds());
        Duration::from_micros(u64::try_from(gap).unwrap_or(0))
    }

    /// Reads an instant, or a bare date as the **last** microsecond of that day in UTC: what was in
    /// production "on 2024-01-15" is what was there when the day ended, and an end of life
    /// of 2024-06-01 includes that day.
    pub fn parse_or_end_of_day(text: &str) -> Result<Self, Invalid> {
        match Timestamp::start_of_day(text) {
            Some(start) => {
                Timestamp::from_microseconds(start.microseconds().saturating_add(DAY_MICROSECONDS - 1))
            }
            None => text.parse().map_err(|_| neither_date_nor_instant(text)),
        }
    }

    /// Reads an instant, or a bare date as the **first** microsecond of that day in UTC.
    pub fn parse_or_start_of_day(text: &str) -> Result<Self, Invalid> {
        let instant = || text.parse().map_err(|_| neither_date_nor_instant(text));
        Timestamp::start_of_day(text).map_or_else(instant, Ok)
    }

    fn start_of_day(text: &str) -> Option<Self> {
        let date: jiff::civil::Date = if text.len() == 10 { text.parse().ok()? } else { return None };
        date.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok().map(|zoned| Timestamp(zoned.timestamp()))
    }

    /// The date in UTC, written `2024-01-15`.
    pub fn date(self) -> String {
        self.0.to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string()
    }
}

fn neither_date_nor_instant(text: &str) -> Invalid {
    let problem = "expected a date such as `2024-01-15`, or an instant in RFC 3339 with an offset such as \
                   `2024-01-15T10:30:00Z`";
    Invalid::new("date or instant", text, problem)
}

const DAY_MICROSECONDS: i64 = 24 * 60 * 60 * 1_000_000;

/// The last instant that can be made from microseconds, which is the **start** of the last second
/// that jiff knows.
fn last_microsecond() -> i64 {
    jiff::Timestamp::MAX.as_second().saturating_mul(1_000_000)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| {
            Invalid::new(
                "instant",
                text,
                "expected RFC 3339 with an offset, for example `2024-01-15T10:30:00Z`",
            )
        })?;
        Timestamp::from_microseconds(parsed.as_microsecond())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// Where the engine gets the time from and how it waits.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The present instant. It may go backwards; the engine keeps commit times increasing.
    fn now(&self) -> Timestamp;

    /// Waits for that long.
    async fn sleep(&self, duration: Duration);
}

/// The clock of the operating system. Its timer needs no particular async runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
        let now = jiff::Timestamp::now();
        Timestamp::from_microseconds(now.as_microsecond()).unwrap_or(Timestamp(now))
    }

    async fn sleep(&self, duration: Duration) {
        futures_timer::Delay::new(duration).await;
    }
}

/// A clock that stands still until it is moved, for tests. Sleeping moves it and returns at once.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        ManualClock(start.microseconds().into())
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let by = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.microseconds(), std::sync::atomic::Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let microseconds = self.0.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp::from_microseconds(microseconds.min(last_microsecond())).unwrap_or(Timestamp::EPOCH)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        // Let others run: on a runtime with one thread a loop that only sleeps would starve them.
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}

/// Where the engine gets ids from that nobody else will ever draw.
pub trait IdSource: Send + Sync + fmt::Debug + 'static {
    /// 128 bits, unique in practice.
    fn next_id(&self) -> u128;
}

/// Ids from the operating system's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn next_id(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        #[expect(clippy::disallowed_methods, reason = "the one place that draws random numbers")]
        let drawn = getrandom::fill(&mut bytes);
        if drawn.is_err() {
            // No entropy (seen only in broken sandboxes): a hasher seeded per process and a counter
            // still give ids that no two requests share in practice.
            use std::hash::{BuildHasher, Hasher as _};
            static DRAWN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
            hasher.write_u64(DRAWN.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            return u128::from(hasher.finish()) << 64
                | u128::from(SystemClock.now().microseconds().unsigned_abs());
        }
        u128::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_has_six_decimals_and_any_offset_is_read() {
        let instant: Timestamp = "2024-01-15T12:30:00+02:00".parse().unwrap();
        assert_eq!(instant.to_string(), "2024-01-15T10:30:00.000000Z");
        assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        let fine: Timestamp = "2024-01-15T10:30:00.1234567Z".parse().unwrap();
        assert_eq!(fine.to_string(), "2024-01-15T10:30:00.123456Z");
    }

    #[test]
    fn adding_stops_at_the_end_of_time() {
        let now: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        let end = now.saturating_add(Duration::MAX);
        assert!(end.to_string().starts_with("9999-12-30"), "{end}");
        assert_eq!(end.saturating_add(Duration::from_secs(1)), end);
        assert_eq!(end.to_string().parse::<Timestamp>().unwrap(), end);
        let clock = ManualClock::new(end);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), end);
    }

    #[test]
    fn a_bare_date_is_a_whole_day() {
        let end = Timestamp::parse_or_end_of_day("2024-01-15").unwrap();
        assert_eq!(end.to_string(), "2024-01-15T23:59:59.999999Z");
        let start = Timestamp::parse_or_start_of_day("2024-01-15").unwrap();
        assert_eq!(start.to_string(), "2024-01-15T00:00:00.000000Z");
        assert_eq!(start.date(), "2024-01-15");
        for bad in ["", "yesterday", "2024-13-01", "2024-02-30", "15.01.2024", "2024-01-15 10:30"] {
            assert!(Timestamp::parse_or_end_of_day(bad).is_err(), "{bad}");
        }
    }
}
