//! Why this exists: "0.87 is more than 0.85" says little if both were measured on fifty examples. Where it is known
//! how many samples stand behind a number, or how far it scatters, or even what each example got, a test can say how
//! likely such a difference is if nothing has changed. Which test fits follows from what is known:
//!
//! | known of both versions | test |
//! |---|---|
//! | what each of the same examples got, right or wrong (0 or 1) | McNemar's, exact |
//! | what each of the same examples got, as a number | paired bootstrap of the mean difference |
//! | standard errors and sample counts | Welch's t |
//! | standard errors | z |
//! | sample counts, and the metric's name says that it is a share of them, as accuracy is | two proportions, z, pooled |
//!
//! These p-values are two-sided. Several metrics are several chances to be fooled, so the p-values of one comparison
//! are corrected together, after Holm.
//!
//! A canary asks something else: not whether two versions differ, but whether the new one is worse by less than a
//! margin. [`proportions_above`] and [`means_above`] answer that, one-sided.
//!
//! The formulas are those of the textbooks, and of SciPy and statsmodels, against which they are tested. The
//! distributions come from `statrs`.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ContinuousCDF as _, DiscreteCDF as _, Normal, StudentsT};

use crate::invalid::Invalid;

/// The most resamples of a bootstrap.
pub const RESAMPLES: u32 = 10_000;

/// How likely a difference may be by chance for it to be believed all the same: above 0 and below 1, and 0.05 if
/// nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Significance(f64);

impl Significance {
    /// Refuses what is not above 0 and below 1.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        if 0.0 < value && value < 1.0 {
            Ok(Significance(value))
        } else {
            Err(Invalid::new("significance", value, "must be above 0 and below 1, such as 0.05"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Its share for each of so many tests of one question, after Bonferroni.
    #[must_use]
    pub fn shared_by(self, tests: std::num::NonZeroU32) -> Self {
        Significance(self.0 / f64::from(tests.get()))
    }

    /// Whether it is the one that holds if nothing is said.
    pub(crate) fn is_default(&self) -> bool {
        *self == Significance::default()
    }
}

impl Eq for Significance {}

impl Default for Significance {
    fn default() -> Self {
        Significance(0.05)
    }
}

impl TryFrom<f64> for Significance {
    type Error = Invalid;

    fn try_from(value: f64) -> Result<Self, Invalid> {
        Significance::new(value)
    }
}

impl From<Significance> for f64 {
    fn from(significance: Significance) -> f64 {
        significance.0
    }
}

impl fmt::Display for Significance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a p-value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Two proportions, pooled z.
    TwoProportions,
    /// Welch's t, from means, standard errors and counts.
    Welch,
    /// z, from means and standard errors.
    StandardErrors,
    /// McNemar's test, exact.
    McNemar,
    /// Paired bootstrap of the mean difference, with [`RESAMPLES`] resamples.
    PairedBootstrap,
    /// Two proportions against a margin, z after Agresti and Caffo, one-sided.
    ProportionsAboveMargin,
    /// Two means against a margin, Welch's t, one-sided.
    MeansAboveMargin,
}

impl Method {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::TwoProportions => "two proportions",
            Method::Welch => "Welch's t",
            Method::StandardErrors => "z",
            Method::McNemar => "McNemar, exact",
            Method::PairedBootstrap => "paired bootstrap",
            Method::ProportionsAboveMargin => "two proportions against a margin, one-sided",
            Method::MeansAboveMargin => "Welch's t against a margin, one-sided",
        }
    }
}

/// What a test found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Which.
    pub method: Method,
    /// Its statistic: z, t, the number of examples that only the new version got right, or the mean difference.
    pub statistic: f64,
    /// How likely a difference as large as this is if nothing has changed.
    pub p: f64,
}

/// A number and what is known of how it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// From how many samples.
    pub samples: Option<u64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
}

fn two_sided(z: f64) -> Option<f64> {
    // The lower tail keeps its precision where 1 − p does not.
    let p = 2.0 * Normal::standard().cdf(-z.abs());
    p.is_finite().then(|| p.clamp(0.0, 1.0))
}

/// Whether two shares differ. None if a count is 0, a share is none, or both are 0 or both 1, where nothing scatters.
pub fn two_proportions(old: f64, old_samples: u64, new: f64, new_samples: u64) -> Option<Test> {
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    if old_samples == 0 || new_samples == 0 || !is_share(old) || !is_share(new) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^53")]
    let (old_n, new_n) = (old_samples as f64, new_samples as f64);
    let pooled = (old * old_n + new * new_n) / (old_n + new_n);
    let scatter = pooled * (1.0 - pooled) * (1.0 / old_n + 1.0 / new_n);
    if scatter <= 0.0 {
        return None;
    }
    let z = (new - old) / scatter.sqrt();
    Some(Test { method: Method::TwoProportions, statistic: z, p: two_sided(z)? })
}

/// How far the difference of two means lies from `bound`, in standard errors, and with how many degrees of freedom
/// that is to be judged if the counts are known. None if neither mean scatters, or if a count is below 2.
fn standardised(old: &Measured, new: &Measured, bound: f64) -> Option<(f64, Option<f64>)> {
    let (old_error, new_error) = (old.standard_error?, new.standard_error?);
    let is_error = |error: f64| error.is_finite() && 0.0 <= error;
    let (old_square, new_square) = (old_error * old_error, new_error * new_error);
    let square = old_square + new_square;
    if !is_error(old_error) || !is_error(new_error) || square <= 0.0 {
        return None;
    }
    let statistic = (new.value - old.value - bound) / square.sqrt();
    let (Some(old_n), Some(new_n)) = (old.samples, new.samples) else { return Some((statistic, None)) };
    if old_n < 2 || new_n < 2 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^53")]
    let (old_n, new_n) = (old_n as f64, new_n as f64);
    // Welch and Satterthwaite.
    let freedom =
        square * square / (old_square * old_square / (old_n - 1.0) + new_square * new_square / (new_n - 1.0));
    Some((statistic, Some(freedom)))
}

/// Whether two means differ, by their standard errors, and counts if they are known. None if neither scatters, or if
/// a count is below 2.
pub fn by_standard_errors(old: &Measured, new: &Measured) -> Option<Test> {
    let (statistic, freedom) = standardised(old, new, 0.0)?;
    let Some(freedom) = freedom else {
        return Some(Test { method: Method::StandardErrors, statistic, p: two_sided(statistic)? });
    };
    let distribution = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let p = 2.0 * distribution.cdf(-statistic.abs());
    p.is_finite().then(|| Test { method: Method::Welch, statistic, p: p.clamp(0.0, 1.0) })
}

/// Whether the new mean lies above the old one by more than `bound`, which may be negative; one-sided, by standard
/// errors and counts. None if one of these is not known, neither mean scatters, or a count is below 2.
pub fn means_above(old: &Measured, new: &Measured, bound: f64) -> Option<Test> {
    let (statistic, freedom) = standardised(old, new, bound)?;
    let p = StudentsT::new(0.0, 1.0, freedom?).ok()?.cdf(-statistic);
    p.is_finite().then(|| Test { method: Method::MeansAboveMargin, statistic, p: p.clamp(0.0, 1.0) })
}

/// Whether the new share of successes lies above the old one by more than `bound`, which may be negative; one-sided.
/// Each side is successes and trials. None if there were no trials on a side, or more successes than trials.
///
/// To each side one success and one failure are added, after [Agresti and
/// Caffo](https://doi.org/10.1080/00031305.2000.10474560): so the test also works where nothing failed, which is what
/// one hopes for from a canary.
pub fn proportions_above(old: (u64, u64), new: (u64, u64), bound: f64) -> Option<Test> {
    let is_possible = |(successes, trials): (u64, u64)| 0 < trials && successes <= trials;
    if !is_possible(old) || !is_possible(new) {
        return None;
    }
    let adjusted = |(successes, trials): (u64, u64)| {
        #[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^53")]
        let (successes, trials) = (successes as f64 + 1.0, trials as f64 + 2.0);
        let share = successes / trials;
        (share, share * (1.0 - share) / trials)
    };
    let ((old, old_square), (new, new_square)) = (adjusted(old), adjusted(new));
    let statistic = (new - old - bound) / (old_square + new_square).sqrt();
    let p = Normal::standard().cdf(-statistic);
    p.is_finite().then(|| Test { method: Method::ProportionsAboveMargin, statistic, p: p.clamp(0.0, 1.0) })
}

/// Whether two versions differ on the same examples, each of which they got right (1) or wrong (0). `old_only` were
/// right with the old version alone, `new_only` with the new one alone. None if there are neither.
pub fn mcnemar(old_only: u64, new_only: u64) -> Option<Test> {
    let discordant = old_only.checked_add(new_only).filter(|count| 0 < *count)?;
    let p = 2.0 * Binomial::new(0.5, discordant).ok()?.cdf(old_only.min(new_only));
    #[expect(clippy::cast_precision_loss, reason = "counts of examples are far below 2^53")]
    let statistic = new_only as f64;
    p.is_finite().then(|| Test { method: Method::McNemar, statistic, p: p.clamp(0.0, 1.0) })
}

/// Numbers that look random and are the same in every run: SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `count`, as evenly as 64 bits allow.
    fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.next()) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// Whether the mean of these differences is not 0, by drawing from them again and again, always in the same way. None
/// if there are fewer than two, one is not a number, or all are 0.
///
/// The p-value is twice the share of resamples on the other side of 0, that of the sample itself included, so it is
/// never 0.
pub fn paired_bootstrap(differences: &[f64]) -> Option<Test> {
    let is_usable = differences.iter().all(|difference| difference.is_finite())
        && differences.iter().any(|difference| *difference != 0.0);
    if differences.len() < 2 || !is_usable {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of examples are far below 2^53")]
    let count = differences.len() as f64;
    let mut draws = Draws(0);
    let (mut below, mut above) = (1_u32, 1_u32);
    for _ in 0..RESAMPLES {
        let drawn = (0..differences.len()).filter_map(|_| differences.get(draws.below(differences.len())));
        let sum: f64 = drawn.sum();
        below += u32::from(sum <= 0.0);
        above += u32::from(0.0 <= sum);
    }
    let p = 2.0 * f64::from(below.min(above)) / f64::from(RESAMPLES + 1);
    let mean = differences.iter().sum::<f64>() / count;
    Some(Test { method: Method::PairedBootstrap, statistic: mean, p: p.min(1.0) })
}

/// Corrects p-values for being several, after Holm. The order stays.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    let value = |index: &usize| p.get(*index).copied().unwrap_or(1.0);
    order.sort_by(|one, two| value(one).total_cmp(&value(two)));
    let mut corrected = vec![1.0; p.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 metrics")]
        let left = (p.len() - rank) as f64;
        least = least.max((value(index) * left).min(1.0));
        if let Some(place) = corrected.get_mut(*index) {
            *place = least;
        }
    }
    corrected
}
