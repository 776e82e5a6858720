//! Why this exists: a model that answers a thousand times a second makes a thousand observations a second, and nobody
//! wants them in a log. What was observed in a stretch of time is summed up: how many, their mean, the smallest and the
//! largest, and a sketch from which quantiles can be read with a relative error of at most 1 %. Summaries of different
//! replicas and of following stretches can be put together into one, and the result does not depend on the order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sketches_ddsketch::{Config, DDSketch};

use crate::content::Finite;
use crate::invalid::Invalid;
use crate::name::{Key, Text};
use crate::time::Timestamp;
use crate::version::Version;

use super::encoding;
use super::rule::Aggregate;

/// What was observed of one metric of one version, in one stretch of time, at one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The version that answered.
    pub version: Version,
    /// What was observed.
    pub metric: Key,
    /// When the stretch began.
    pub from: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// Where it was observed, if there are several places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Text>,
    /// What was observed.
    #[serde(flatten)]
    pub observed: Observed,
}

/// Observations, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// How many numbers there were.
    pub count: u64,
    /// How many observations were no numbers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_numbers: u64,
    /// The mean, the extremes and the quantiles; none if there was no number.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// See [`Observed::numbers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The mean.
    pub mean: Finite,
    /// The smallest.
    pub min: Finite,
    /// The largest.
    pub max: Finite,
    /// How they are distributed.
    pub sketch: Sketch,
}

impl Observed {
    /// All of these observations.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Observed {
        let mut gathering = Gathering::default();
        values.into_iter().for_each(|value| gathering.add(value));
        gathering.observed()
    }

    /// What is looked at by a rule; NaN if there are observations and none of them is a number, `None` if there are
    /// none at all.
    pub fn aggregate(&self, aggregate: Aggregate) -> Option<f64> {
        if aggregate == Aggregate::Count {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a count that large is as good as its neighbour"
            )]
            return Some(self.count.saturating_add(self.not_numbers) as f64);
        }
        let Some(numbers) = &self.numbers else { return (0 < self.not_numbers).then_some(f64::NAN) };
        let quantile = |share: f64| numbers.quantile(share);
        Some(match aggregate {
            Aggregate::Min => numbers.min.get(),
            Aggregate::Max => numbers.max.get(),
            Aggregate::P50 => quantile(0.50),
            Aggregate::P95 => quantile(0.95),
            Aggregate::P99 => quantile(0.99),
            Aggregate::Mean | Aggregate::Count => numbers.mean.get(),
        })
    }
}

impl Numbers {
    /// The smallest value that at least this share of the observations does not exceed (the nearest rank), with a
    /// relative error of at most 1 %. Of two observations the larger is the 95th percentile.
    #[expect(clippy::cast_precision_loss, reason = "a count that large is as good as its neighbour")]
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.sketch.0.count().saturating_sub(1) as f64;
        // A product that is a whole number may come out a little above it.
        let place = ((share * (last + 1.0) - 1e-9).ceil() - 1.0).max(0.0).min(last);
        // The sketch takes a share of the way from the first to the last, and rounds down; its ends are exact.
        let way = match place {
            place if place <= 0.0 => 0.0,
            place if last <= place => 1.0,
            place => (place + 0.5) / last,
        };
        let found = self.sketch.0.quantile(way).ok().flatten();
        // Where bins had to be put together the extremes are still known exactly. `clamp` would panic if somebody had
        // written the largest as the smallest.
        found.unwrap_or(self.mean.get()).max(self.min.get()).min(self.max.get())
    }
}

/// How observations are distributed: a DDSketch (Masson, Rim and Lee 2019) of a relative accuracy of 1 %, as text the
/// hexadecimal digits of the encoding that implementations in other languages read and write too.
#[derive(Clone)]
pub struct Sketch(DDSketch);

impl Sketch {
    /// How many bins a sketch has at most: 2,048 for numbers above zero and as many for those below. Where there would
    /// be more, those nearest to zero are put together.
    pub const BINS_MAX: usize = 2 * 2_048;
    /// How long the text of a sketch is at most, in bytes: 20 digits for each bin, and a head.
    pub const TEXT_BYTES_MAX: usize = 20 * Sketch::BINS_MAX + 256;

    /// How many bins it has.
    pub fn bins(&self) -> usize {
        self.0.length()
    }

    fn text(&self) -> String {
        self.0.to_java_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_java_bytes() == other.0.to_java_bytes()
    }
}

impl Eq for Sketch {}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sketch({} observations)", self.0.count())
    }
}

impl fmt::Display for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl FromStr for Sketch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |problem: &str| Invalid::new("sketch", format!("{} characters", text.len()), problem);
        if Sketch::TEXT_BYTES_MAX < text.len() {
            return Err(wrong("is longer than any sketch"));
        }
        let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            })
            .collect();
        let bytes = bytes.ok_or_else(|| wrong("is not made of pairs of hexadecimal digits"))?;
        encoding::check(&bytes).map_err(wrong)?;
        DDSketch::from_java_bytes(&bytes).map(Sketch).map_err(|error| wrong(&error.to_string()))
    }
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// Observations while they come in, or summaries while they are put together.
#[derive(Clone, Default)]
pub struct Gathering {
    count: u64,
    not_numbers: u64,
    mean: f64,
    min: f64,
    max: f64,
    sketch: Option<DDSketch>,
}

impl Gathering {
    /// Adds an observation. What is not a finite number is counted apart.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.not_numbers = self.not_numbers.saturating_add(1);
            return;
        }
        self.take(1, value, value, value);
        self.sketch.get_or_insert_with(|| DDSketch::new(Config::defaults())).add(value);
    }

    /// Adds what was summed up elsewhere.
    pub fn merge(&mut self, other: &Observed) {
        self.not_numbers = self.not_numbers.saturating_add(other.not_numbers);
        let Some(numbers) = &other.numbers else { return };
        self.take(other.count, numbers.mean.get(), numbers.min.get(), numbers.max.get());
        match &mut self.sketch {
            // All sketches that are made here have one configuration; one that has another adds no quantiles.
            Some(sketch) => drop(sketch.merge(&numbers.sketch.0)),
            None => self.sketch = Some(numbers.sketch.0.clone()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count that large is as good as its neighbour")]
    fn take(&mut self, count: u64, mean: f64, min: f64, max: f64) {
        if self.count == 0 {
            (self.mean, self.min, self.max) = (mean, min, max);
        }
        self.count = self.count.saturating_add(count);
        let share = count as f64 / self.count.max(1) as f64;
        let difference = mean - self.mean;
        // The difference of two numbers may be too large for a number; a mean of them never is.
        self.mean = match difference.is_finite() {
            true => self.mean + difference * share,
            false => self.mean * (1.0 - share) + mean * share,
        };
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        self.mean = self.mean.max(self.min).min(self.max);
    }

    /// What was gathered so far.
    pub fn observed(&self) -> Observed {
        let finite = |value: f64| Finite::new(value).ok();
        let numbers = || {
            Some(Numbers {
                mean: finite(self.mean)?,
                min: finite(self.min)?,
                max: finite(self.max)?,
                sketch: Sketch(self.sketch.clone()?),
            })
        };
        Observed {
            count: self.count,
            not_numbers: self.not_numbers,
            numbers: if self.count == 0 { None } else { numbers() },
        }
    }
}
