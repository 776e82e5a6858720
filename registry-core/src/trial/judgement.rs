//! Why this exists: the verdict of a trial follows from its plan and its numbers, and from nothing that somebody
//! decides afterwards. The tests are those of [`significance`](crate::compare::significance).
//!
//! | goal | measure | test | favourable if |
//! |---|---|---|---|
//! | better | proportion | two proportions, z, pooled, two-sided | significant, and for the better |
//! | better | score | Welch's t, two-sided | significant, and for the better |
//! | not worse | proportion | against the margin, z after Agresti and Caffo, one-sided | significantly above the margin |
//! | not worse | score | against the margin, Welch's t, one-sided | significantly above the margin |
//!
//! Unfavourable is the mirror image: significantly for the worse, or significantly beyond the margin.

use serde::{Deserialize, Serialize};

use super::{Arms, Goal, Tally, TrialPlan};
use crate::compare::significance::{by_standard_errors, means_above, proportions_above, two_proportions};
use crate::compare::{Method, Significance, Test};
use crate::content::{Direction, Finite};

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The treatment showed what it had to.
    Favourable,
    /// The opposite was shown.
    Unfavourable,
    /// Neither was shown.
    Inconclusive,
}

impl Verdict {
    /// The verdict as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Favourable => "favourable",
            Verdict::Unfavourable => "unfavourable",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// Why a trial is inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undecided {
    /// It was stopped before its planned end, with no other look left.
    StoppedEarly,
    /// The difference may be chance.
    NotSignificant,
    /// No test could be made: an arm has too few samples, or nothing scatters.
    NoTest,
}

impl Undecided {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Undecided::StoppedEarly => "stopped before its planned end",
            Undecided::NotSignificant => "the difference may be chance",
            Undecided::NoTest => "no test could be made",
        }
    }
}

/// A look at a trial: the verdict and all that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
    /// The test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Its statistic: how many standard errors the treatment lies on the better side, of the control or of the margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistic: Option<Finite>,
    /// Its p-value. If the verdict on a canary is unfavourable, that of the test for being worse than the margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<Finite>,
    /// What the p-value had to be below: the planned significance divided by the number of looks.
    pub threshold: Significance,
    /// Which look this is, from 1.
    pub look: u32,
    /// How many looks were planned.
    pub looks: u32,
    /// Whether the planned end was reached.
    pub at_planned_end: bool,
    /// The share or the mean of each arm.
    pub estimates: Arms<Option<Finite>>,
    /// What was observed.
    pub tally: Tally,
}

/// Looks at a trial.
pub(crate) fn judge(plan: &TrialPlan, tally: &Tally, looks_taken: u32, at_planned_end: bool) -> Judgement {
    let threshold = plan.significance.shared_by(plan.looks);
    let look = looks_taken.saturating_add(1);
    let is_planned = at_planned_end || look < plan.looks.get();
    let found = match plan.goal {
        Goal::Better => better(plan, tally),
        Goal::NotWorse { margin } => not_worse(plan, tally, margin.get(), threshold),
    };
    let is_significant = |found: &Found| found.test.p < threshold.get();
    let (verdict, undecided) = match &found {
        _ if !is_planned => (Verdict::Inconclusive, Some(Undecided::StoppedEarly)),
        None => (Verdict::Inconclusive, Some(Undecided::NoTest)),
        Some(found) if !is_significant(found) => (Verdict::Inconclusive, Some(Undecided::NotSignificant)),
        Some(Found { is_good: true, .. }) => (Verdict::Favourable, None),
        Some(Found { is_good: false, .. }) => (Verdict::Unfavourable, None),
    };
    let test = found.map(|found| found.test);
    let finite = |value: f64| Finite::new(value).ok();
    Judgement {
        verdict,
        undecided,
        method: test.map(|test| test.method),
        statistic: test.and_then(|test| finite(test.statistic)),
        p: test.and_then(|test| finite(test.p)),
        threshold,
        look,
        looks: plan.looks.get(),
        at_planned_end,
        estimates: tally.estimates(),
        tally: *tally,
    }
}

/// A test, its statistic on the better side if that is positive, and whether it speaks for the treatment.
struct Found {
    test: Test,
    is_good: bool,
}

fn better(plan: &TrialPlan, tally: &Tally) -> Option<Found> {
    let test = match tally {
        Tally::Proportion(Arms { control, treatment }) => {
            two_proportions(control.share()?, control.trials(), treatment.share()?, treatment.trials())?
        }
        Tally::Score(Arms { control, treatment }) => {
            by_standard_errors(&control.measured()?, &treatment.measured()?)?
        }
    };
    let statistic = match plan.measure.direction {
        Direction::Higher => test.statistic,
        Direction::Lower => -test.statistic,
    };
    Some(Found { test: Test { statistic, ..test }, is_good: 0.0 < statistic })
}

/// The control and the treatment, or the other way round.
fn in_order<T: Copy>(arms: &Arms<T>, is_swapped: bool) -> (T, T) {
    if is_swapped { (arms.treatment, arms.control) } else { (arms.control, arms.treatment) }
}

/// Whether the treatment lies above the control less the margin, or else whether it lies below.
fn not_worse(plan: &TrialPlan, tally: &Tally, margin: f64, threshold: Significance) -> Option<Found> {
    let above = |is_swapped: bool, bound: f64| match tally {
        Tally::Proportion(arms) => {
            let (one, two) = in_order(arms, is_swapped);
            proportions_above((one.successes(), one.trials()), (two.successes(), two.trials()), bound)
        }
        Tally::Score(arms) => {
            let (one, two) = in_order(arms, is_swapped);
            means_above(&one.measured()?, &two.measured()?, bound)
        }
    };
    let less_is_better = plan.measure.direction == Direction::Lower;
    let good = above(less_is_better, -margin)?;
    if good.p < threshold.get() {
        return Some(Found { test: good, is_good: true });
    }
    let bad = above(!less_is_better, margin)?;
    if bad.p < threshold.get() {
        return Some(Found { test: Test { statistic: -bad.statistic, ..bad }, is_good: false });
    }
    Some(Found { test: good, is_good: true })
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use proptest::prelude::*;

    use super::*;
    use crate::trial::{Counts, Margin, Measure, MeasureKind, Moments, PlannedEnd, Share, TrialStage};

    fn plan(kind: MeasureKind, direction: Direction, margin: Option<f64>, looks: u32) -> TrialPlan {
        TrialPlan {
            stage: TrialStage::Staging,
            share: Share::new(0.1).unwrap(),
            measure: Measure { name: "measure".parse().unwrap(), kind, direction },
            goal: match margin {
                None => Goal::Better,
                Some(margin) => Goal::NotWorse { margin: Margin::new(margin).unwrap() },
            },
            end: PlannedEnd::new(None, NonZeroU64::new(1_000)).unwrap(),
            significance: Significance::default(),
            looks: NonZeroU32::new(looks).unwrap(),
        }
    }

    fn proportion(control: (u64, u64), treatment: (u64, u64)) -> Tally {
        let counts = |(successes, trials)| Counts::new(successes, trials).unwrap();
        Tally::Proportion(Arms { control: counts(control), treatment: counts(treatment) })
    }

    fn score(control: (u64, f64, f64), treatment: (u64, f64, f64)) -> Tally {
        let moments = |(count, mean, variance)| Moments::new(count, mean, variance).unwrap();
        Tally::Score(Arms { control: moments(control), treatment: moments(treatment) })
    }

    /// The verdict at the planned end, with one look.
    fn verdict(direction: Direction, margin: Option<f64>, tally: Tally) -> (Verdict, Option<Undecided>) {
        let judgement = judge(&plan(tally.kind(), direction, margin, 1), &tally, 0, true);
        (judgement.verdict, judgement.undecided)
    }

    use Direction::{Higher, Lower};
    use Undecided::{NoTest, NotSignificant, StoppedEarly};
    use Verdict::{Favourable, Inconclusive, Unfavourable};

    #[test]
    fn an_a_b_test_asks_whether_the_treatment_is_better() {
        let up = proportion((100, 1_000), (150, 1_000));
        let down = proportion((150, 1_000), (100, 1_000));
        let same = proportion((100, 1_000), (101, 1_000));
        assert_eq!(verdict(Higher, None, up), (Favourable, None));
        assert_eq!(verdict(Higher, None, down), (Unfavourable, None));
        assert_eq!(verdict(Lower, None, up), (Unfavourable, None));
        assert_eq!(verdict(Lower, None, down), (Favourable, None));
        assert_eq!(verdict(Higher, None, same), (Inconclusive, Some(NotSignificant)));
        let (low, high) = ((500, 10.0, 4.0), (500, 11.0, 4.0));
        assert_eq!(verdict(Higher, None, score(low, high)), (Favourable, None));
        assert_eq!(verdict(Lower, None, score(low, high)), (Unfavourable, None));
        assert_eq!(verdict(Lower, None, score(high, low)), (Favourable, None));
    }

    #[test]
    fn a_canary_asks_whether_it_is_worse_by_less_than_the_margin() {
        // Errors: 1 % of 20,000 in both, and no more than half a percentage point is granted.
        let same = proportion((200, 20_000), (200, 20_000));
        assert_eq!(verdict(Lower, Some(0.005), same), (Favourable, None));
        // The same numbers are not better, so an A/B test has nothing to say.
        assert_eq!(verdict(Lower, None, same), (Inconclusive, Some(NotSignificant)));
        // A few more errors, significantly more even, are granted; twice as many are not.
        assert_eq!(verdict(Lower, Some(0.005), proportion((200, 20_000), (250, 20_000))), (Favourable, None));
        assert_eq!(
            verdict(Lower, Some(0.005), proportion((200, 20_000), (290, 20_000))),
            (Inconclusive, Some(NotSignificant))
        );
        assert_eq!(
            verdict(Lower, Some(0.005), proportion((200, 20_000), (400, 20_000))),
            (Unfavourable, None)
        );
        // No errors at all: what one hopes for, and tested all the same.
        assert_eq!(verdict(Lower, Some(0.005), proportion((0, 5_000), (0, 5_000))), (Favourable, None));
        assert_eq!(verdict(Higher, Some(0.5), score((50, 10.0, 1.0), (50, 9.9, 1.0))), (Favourable, None));
        assert_eq!(verdict(Higher, Some(0.5), score((50, 10.0, 1.0), (50, 9.0, 1.0))), (Unfavourable, None));
    }

    #[test]
    fn without_samples_or_scatter_there_is_no_test() {
        let none = (Inconclusive, Some(NoTest));
        assert_eq!(verdict(Higher, None, Tally::empty(MeasureKind::Proportion)), none);
        assert_eq!(verdict(Higher, None, proportion((0, 0), (10, 20))), none);
        assert_eq!(verdict(Higher, None, proportion((20, 20), (20, 20))), none);
        assert_eq!(verdict(Lower, Some(0.1), proportion((0, 0), (0, 20))), none);
        assert_eq!(verdict(Higher, None, score((1, 1.0, 0.0), (50, 2.0, 1.0))), none);
        assert_eq!(verdict(Higher, None, score((50, 1.0, 0.0), (50, 2.0, 0.0))), none);
        assert_eq!(verdict(Higher, Some(1.0), score((0, 0.0, 0.0), (50, 2.0, 1.0))), none);
    }

    #[test]
    fn the_threshold_is_shared_by_the_looks() {
        let tally = proportion((100, 1_000), (130, 1_000));
        let judged = |looks| judge(&plan(MeasureKind::Proportion, Higher, None, looks), &tally, 0, true);
        let one = judged(1);
        assert_eq!((one.verdict, one.threshold.get()), (Favourable, 0.05));
        // p is 0.0355: enough for one look, not for five.
        assert!((one.p.unwrap().get() - 0.035_5).abs() < 1e-4, "{one:?}");
        assert_eq!((judged(5).verdict, judged(5).threshold.get()), (Inconclusive, 0.01));
    }

    #[test]
    fn what_decided_is_told_with_its_numbers() {
        let plan = plan(MeasureKind::Proportion, Lower, Some(0.005), 1);
        let bad = judge(&plan, &proportion((200, 20_000), (400, 20_000)), 0, true);
        assert_eq!(bad.method, Some(Method::ProportionsAboveMargin));
        assert!(bad.p.unwrap().get() < 1e-4 && bad.statistic.unwrap().get() < -4.0, "{bad:?}");
        assert_eq!(bad.estimates.treatment, Some(Finite::new(0.02).unwrap()));
        let good = judge(&plan, &proportion((200, 20_000), (100, 20_000)), 0, true);
        assert!(good.p.unwrap().get() < 1e-4 && 4.0 < good.statistic.unwrap().get(), "{good:?}");
    }

    proptest! {
        #[test]
        fn a_trial_that_is_stopped_early_is_never_favourable(
            control in (0..500_u64, 0..500_u64),
            treatment in (0..500_u64, 0..500_u64),
            looks in 1..6_u32,
            more in 0..3_u32,
            margin in proptest::option::of(0.001..0.9_f64),
            higher in any::<bool>(),
        ) {
            let counts = |(successes, failures): (u64, u64)| (successes, successes + failures);
            let tally = proportion(counts(control), counts(treatment));
            let plan = plan(MeasureKind::Proportion, if higher { Higher } else { Lower }, margin, looks);
            // All looks but that of the planned end are taken.
            let judgement = judge(&plan, &tally, looks - 1 + more, false);
            prop_assert_eq!((judgement.verdict, judgement.undecided), (Inconclusive, Some(StoppedEarly)));
        }

        #[test]
        fn exchanging_what_is_better_exchanges_the_verdict(
            control in (0..500_u64, 0..500_u64),
            treatment in (0..500_u64, 0..500_u64),
        ) {
            let counts = |(successes, failures): (u64, u64)| (successes, successes + failures);
            let tally = proportion(counts(control), counts(treatment));
            let (one, _) = verdict(Higher, None, tally);
            let (two, _) = verdict(Lower, None, tally);
            let mirrored = match one {
                Favourable => Unfavourable,
                Unfavourable => Favourable,
                Inconclusive => Inconclusive,
            };
            prop_assert_eq!(two, mirrored);
        }
    }

    /// Numbers that look random and are the same in every run.
    struct Random(u64);

    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn successes(&mut self, trials: u64, share: f64) -> u64 {
            (0..trials).filter(|_| self.unit() < share).count() as u64
        }
    }

    /// The share of trials with five looks that end favourably although the treatment deserves it nowhere.
    fn favourable_by_chance(margin: Option<f64>, control: f64, treatment: f64) -> f64 {
        const TRIALS: u32 = 2_000;
        const LOOKS: u32 = 5;
        const BATCH: u64 = 200;
        let plan = plan(MeasureKind::Proportion, Higher, margin, LOOKS);
        let mut random = Random(42);
        let mut favourable = 0;
        for _ in 0..TRIALS {
            let mut tally = Tally::empty(MeasureKind::Proportion);
            for look in 0..LOOKS {
                let batch = proportion(
                    (random.successes(BATCH, control), BATCH),
                    (random.successes(BATCH, treatment), BATCH),
                );
                tally = tally.merge(&batch).unwrap();
                let judgement = judge(&plan, &tally, look, look + 1 == LOOKS);
                if judgement.verdict != Inconclusive {
                    favourable += u32::from(judgement.verdict == Favourable);
                    break;
                }
            }
        }
        f64::from(favourable) / f64::from(TRIALS)
    }

    #[test]
    fn five_looks_at_nothing_find_no_more_than_is_granted() {
        // Three standard errors of a share of 0.05 among 2,000.
        let sampling_error = 3.0 * (0.05 * 0.95 / 2_000.0_f64).sqrt();
        // No difference; and a canary that is worse by exactly the margin.
        for (margin, control, treatment) in [(None, 0.3, 0.3), (Some(0.05), 0.3, 0.25)] {
            let share = favourable_by_chance(margin, control, treatment);
            assert!(share <= 0.05 + sampling_error, "{margin:?}: {share}");
            assert!(0.0 < share, "{margin:?}: a test that never errs tests nothing");
        }
    }
}
