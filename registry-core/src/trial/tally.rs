//! Why this exists: numbers of a trial come in batches, from many places and in any order. What is kept of them is
//! what a test needs and no more: counts, or count, mean and variance. They are merged so that the result is that of
//! all samples at once.
//!
//! There is no list of batches that were seen, since every request has an id already: an observation that is sent
//! again under the same request id is counted once.

use serde::{Deserialize, Serialize};

use super::MeasureKind;
use crate::compare::significance::Measured;
use crate::content::Finite;
use crate::invalid::Invalid;

/// Up to here every whole number is a number of 64 bits of floating point.
const COUNT_MAX: u64 = 1 << 53;
/// The largest mean, of whichever sign: far from where sums of squares overflow.
const MEAN_MAX: f64 = 1e100;
/// The largest variance.
const VARIANCE_MAX: f64 = 1e200;

/// Successes among trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "CountsFields")]
pub struct Counts {
    successes: u64,
    trials: u64,
}

#[derive(Deserialize)]
struct CountsFields {
    successes: u64,
    trials: u64,
}

impl TryFrom<CountsFields> for Counts {
    type Error = Invalid;

    fn try_from(fields: CountsFields) -> Result<Self, Invalid> {
        Counts::new(fields.successes, fields.trials)
    }
}

impl Counts {
    /// Refuses more successes than trials, and more than 2^53 of them.
    pub fn new(successes: u64, trials: u64) -> Result<Self, Invalid> {
        let shown = || format!("{successes} of {trials}");
        if trials < successes {
            return Err(Invalid::new("observation", shown(), "there cannot be more successes than trials"));
        }
        if COUNT_MAX < trials {
            return Err(Invalid::new("observation", shown(), "at most 2^53 can be counted"));
        }
        Ok(Counts { successes, trials })
    }

    /// How many succeeded.
    pub fn successes(self) -> u64 {
        self.successes
    }

    /// Of how many.
    pub fn trials(self) -> u64 {
        self.trials
    }

    /// The share of successes; none if nothing was tried.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    pub fn share(self) -> Option<f64> {
        (0 < self.trials).then(|| self.successes as f64 / self.trials as f64)
    }

    fn merge(self, other: Counts) -> Result<Counts, Invalid> {
        Counts::new(self.successes.saturating_add(other.successes), self.trials.saturating_add(other.trials))
    }
}

/// Count, mean and variance of numbers. The variance is that of a sample: divided by one less than the count.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "MomentsFields")]
pub struct Moments {
    count: u64,
    mean: f64,
    variance: f64,
}

impl Eq for Moments {}

#[derive(Deserialize)]
struct MomentsFields {
    count: u64,
    mean: f64,
    variance: f64,
}

impl TryFrom<MomentsFields> for Moments {
    type Error = Invalid;

    fn try_from(fields: MomentsFields) -> Result<Self, Invalid> {
        Moments::new(fields.count, fields.mean, fields.variance)
    }
}

impl Moments {
    /// Refuses what no numbers can have: a negative variance, a variance of a single one, anything of none.
    pub fn new(count: u64, mean: f64, variance: f64) -> Result<Self, Invalid> {
        let wrong = |problem: &str| {
            let shown = format!("{count} with mean {mean} and variance {variance}");
            Err(Invalid::new("observation", shown, problem))
        };
        if COUNT_MAX < count {
            return wrong("at most 2^53 can be counted");
        }
        if !(mean.abs() <= MEAN_MAX && (0.0..=VARIANCE_MAX).contains(&variance)) {
            return wrong("the mean must lie within ±1e100 and the variance between 0 and 1e200");
        }
        match count {
            0 if mean != 0.0 || variance != 0.0 => wrong("no samples have mean 0 and variance 0"),
            1 if variance != 0.0 => wrong("one sample has variance 0"),
            _ => Ok(Moments { count, mean, variance }),
        }
    }

    /// How many numbers there were.
    pub fn count(self) -> u64 {
        self.count
    }

    /// Their mean; none if there were none.
    pub fn mean(self) -> Option<f64> {
        (0 < self.count).then_some(self.mean)
    }

    /// Their variance; none if there were fewer than two.
    pub fn variance(self) -> Option<f64> {
        (1 < self.count).then_some(self.variance)
    }

    /// The mean as a test wants it.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    pub(super) fn measured(self) -> Option<Measured> {
        Some(Measured {
            value: self.mean()?,
            samples: Some(self.count),
            standard_error: Some((self.variance()? / self.count as f64).sqrt()),
        })
    }

    /// The moments of both together, after [Chan, Golub and LeVeque](
    /// https://doi.org/10.1007/978-3-642-51461-6_3), which does not lose digits where the means are large.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    fn merge(self, other: Moments) -> Result<Moments, Invalid> {
        if self.count == 0 {
            return Ok(other);
        }
        if other.count == 0 {
            return Ok(self);
        }
        let count = self.count.saturating_add(other.count);
        let (one, two, all) = (self.count as f64, other.count as f64, count as f64);
        let apart = other.mean - self.mean;
        let squares =
            self.variance * (one - 1.0) + other.variance * (two - 1.0) + apart * apart * (one / all * two);
        Moments::new(count, self.mean + apart * (two / all), squares / (all - 1.0))
    }
}

/// Something for each arm of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Arms<T> {
    /// For the version that is compared with.
    pub control: T,
    /// For the version that is tried.
    pub treatment: T,
}

/// What was observed in both arms: a batch, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Tally {
    /// Of a proportion.
    Proportion(Arms<Counts>),
    /// Of a score.
    Score(Arms<Moments>),
}

impl Tally {
    /// Nothing yet.
    pub fn empty(kind: MeasureKind) -> Self {
        match kind {
            MeasureKind::Proportion => Tally::Proportion(Arms::default()),
            MeasureKind::Score => Tally::Score(Arms::default()),
        }
    }

    /// What it is of.
    pub fn kind(&self) -> MeasureKind {
        match self {
            Tally::Proportion(_) => MeasureKind::Proportion,
            Tally::Score(_) => MeasureKind::Score,
        }
    }

    /// How many samples each arm has.
    pub fn samples(&self) -> Arms<u64> {
        match self {
            Tally::Proportion(Arms { control, treatment }) => {
                Arms { control: control.trials, treatment: treatment.trials }
            }
            Tally::Score(Arms { control, treatment }) => {
                Arms { control: control.count, treatment: treatment.count }
            }
        }
    }

    /// How many samples the arm with fewer of them has.
    pub fn least_samples(&self) -> u64 {
        let Arms { control, treatment } = self.samples();
        control.min(treatment)
    }

    /// Whether neither arm has a sample.
    pub fn is_empty(&self) -> bool {
        self.samples() == Arms::default()
    }

    /// The share or the mean of each arm; none for an arm without samples.
    pub fn estimates(&self) -> Arms<Option<Finite>> {
        let finite = |value: Option<f64>| value.and_then(|value| Finite::new(value).ok());
        match self {
            Tally::Proportion(Arms { control, treatment }) => {
                Arms { control: finite(control.share()), treatment: finite(treatment.share()) }
            }
            Tally::Score(Arms { control, treatment }) => {
                Arms { control: finite(control.mean()), treatment: finite(treatment.mean()) }
            }
        }
    }

    /// Both together, as if all had been observed at once. Refused if one counts something else than the other, or if
    /// together they exceed what can be counted.
    pub fn merge(&self, other: &Tally) -> Result<Tally, Invalid> {
        match (self, other) {
            (Tally::Proportion(one), Tally::Proportion(two)) => Ok(Tally::Proportion(Arms {
                control: one.control.merge(two.control)?,
                treatment: one.treatment.merge(two.treatment)?,
            })),
            (Tally::Score(one), Tally::Score(two)) => Ok(Tally::Score(Arms {
                control: one.control.merge(two.control)?,
                treatment: one.treatment.merge(two.treatment)?,
            })),
            (Tally::Proportion(_), Tally::Score(_)) => {
                Err(Invalid::new("observation", "a score", "the trial measures a proportion"))
            }
            (Tally::Score(_), Tally::Proportion(_)) => {
                Err(Invalid::new("observation", "a proportion", "the trial measures a score"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments_of(numbers: &[f64]) -> Moments {
        let count = numbers.len() as f64;
        if numbers.is_empty() {
            return Moments::default();
        }
        let mean = numbers.iter().sum::<f64>() / count;
        let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
        let variance = if numbers.len() < 2 { 0.0 } else { squares / (count - 1.0) };
        Moments::new(numbers.len() as u64, mean, variance).unwrap()
    }

    fn close(one: Moments, two: Moments) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
        one.count == two.count && near(one.mean, two.mean) && near(one.variance, two.variance)
    }

    proptest! {
        #[test]
        fn merged_batches_have_the_moments_of_the_whole_in_any_order(
            batches in proptest::collection::vec(proptest::collection::vec(-1e3..1e3_f64, 0..20), 1..12),
            shift in prop_oneof![Just(0.0), Just(1e6)],
        ) {
            let batches: Vec<Vec<f64>> =
                batches.iter().map(|batch| batch.iter().map(|number| number + shift).collect()).collect();
            let whole = moments_of(&batches.concat());
            let merged = |order: &mut dyn Iterator<Item = &Vec<f64>>| {
                order.fold(Moments::default(), |sum, batch| sum.merge(moments_of(batch)).unwrap())
            };
            let (forwards, backwards) = (merged(&mut batches.iter()), merged(&mut batches.iter().rev()));
            prop_assert!(close(forwards, whole), "{forwards:?} {whole:?}");
            prop_assert!(close(backwards, whole), "{backwards:?} {whole:?}");
        }

        #[test]
        fn counts_add_up(one in (0..1_000_u64, 0..1_000_u64), two in (0..1_000_u64, 0..1_000_u64)) {
            let counts = |(some, more): (u64, u64)| Counts::new(some, some + more).unwrap();
            let (one, two) = (counts(one), counts(two));
            let sum = one.merge(two).unwrap();
            prop_assert_eq!(sum, two.merge(one).unwrap());
            prop_assert_eq!(sum.trials(), one.trials() + two.trials());
            prop_assert_eq!(sum.successes(), one.successes() + two.successes());
        }
    }

    #[test]
    fn what_no_samples_can_have_is_refused() {
        assert!(Counts::new(2, 1).is_err());
        assert!(Counts::new(0, COUNT_MAX + 1).is_err());
        assert!(Counts::new(COUNT_MAX, COUNT_MAX).unwrap().merge(Counts::new(0, 1).unwrap()).is_err());
        for (count, mean, variance) in [
            (0, 1.0, 0.0),
            (1, 1.0, 0.5),
            (2, 1.0, -0.5),
            (2, f64::NAN, 0.0),
            (2, 0.0, f64::NAN),
            (2, 2e100, 0.0),
            (2, 0.0, f64::INFINITY),
            (COUNT_MAX + 1, 0.0, 0.0),
        ] {
            assert!(Moments::new(count, mean, variance).is_err(), "{count} {mean} {variance}");
        }
        assert!(serde_json::from_str::<Counts>(r#"{"successes":2,"trials":1}"#).is_err());
        assert!(serde_json::from_str::<Moments>(r#"{"count":1,"mean":0,"variance":1}"#).is_err());
    }

    #[test]
    fn the_largest_numbers_merge_without_overflow() {
        let one = Moments::new(COUNT_MAX / 2, MEAN_MAX, 0.0).unwrap();
        let two = Moments::new(COUNT_MAX / 2, -MEAN_MAX, 0.0).unwrap();
        // The variance is 1e200 and a little: refused, not infinite.
        assert!(one.merge(two).is_err());
        let small = Moments::new(2, MEAN_MAX / 2.0, 1.0).unwrap();
        assert_eq!(small.merge(small).unwrap().count(), 4);
    }

    #[test]
    fn a_proportion_and_a_score_do_not_merge() {
        let (proportion, score) = (Tally::empty(MeasureKind::Proportion), Tally::empty(MeasureKind::Score));
        assert!(proportion.merge(&score).is_err());
        assert!(score.merge(&proportion).is_err());
        assert!(proportion.is_empty() && score.is_empty());
    }
}
