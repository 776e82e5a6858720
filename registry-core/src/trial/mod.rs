//! Why this exists: a metric on held-out data says what a model would have done. Whether it does well where it serves
//! is found out by letting it serve a little: an **A/B test** asks whether the new version is better, a **canary**
//! whether it is no worse than it may be. Both are a trial here: a control and a treatment, a share of the traffic,
//! a measure, and a plan that is on record before the first number comes in. That is what makes the verdict worth
//! something: who may look again and again, and stop when the numbers please, finds an improvement in any noise.
//!
//! The registry routes no requests. It says who shall get which share ([`ModelState::traffic`]), takes the numbers that
//! others count, and draws the conclusion. See `docs/trials.md`.
//!
//! **Looks.** A trial may be concluded at its planned end. With more than one look planned, it may also be looked at
//! before, and each look is tested at the significance divided by the number of looks: after [Bonferroni](
//! https://en.wikipedia.org/wiki/Bonferroni_correction), whose bound holds however much the looks have in common and
//! whenever they are taken. The last look belongs to the planned end. A trial that is concluded before it, with no
//! other look left, is never favourable.
//!
//! [`ModelState::traffic`]: crate::ModelState::traffic

mod judgement;
mod tally;
mod traffic;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::compare::{Significance, direction_of_name};
use crate::content::Direction;
use crate::digest::Digest;
use crate::invalid::Invalid;
use crate::name::Key;
use crate::stage::Stage;
use crate::state::Stamp;
use crate::time::Timestamp;
use crate::version::Version;

pub(crate) use judgement::judge;
pub use judgement::{Judgement, Undecided, Verdict};
pub use tally::{Arms, Counts, Moments, Tally};
pub use traffic::{Route, Traffic};

/// The most looks that can be planned.
pub const LOOKS_MAX: u32 = 100;
/// The most trials of a model that run at once.
pub const RUNNING_MAX: usize = 32;
/// Of how many versions the last concluded trial is kept in the state. The log keeps all of them.
pub const CONCLUDED_MAX: usize = 64;

/// Where a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialStage {
    /// On the traffic of staging.
    Staging,
    /// On the traffic of production.
    Production,
}

impl From<TrialStage> for Stage {
    fn from(stage: TrialStage) -> Stage {
        match stage {
            TrialStage::Staging => Stage::Staging,
            TrialStage::Production => Stage::Production,
        }
    }
}

impl FromStr for TrialStage {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse()? {
            Stage::Staging => Ok(TrialStage::Staging),
            Stage::Production => Ok(TrialStage::Production),
            other => Err(Invalid::new("stage of a trial", other, "expected `staging` or `production`")),
        }
    }
}

impl fmt::Display for TrialStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stage::from(*self).fmt(f)
    }
}

/// A share of the traffic: above 0 and below 1, in millionths, so that shares add up exactly. Read as `0.1` or `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u32);

/// All of the traffic, in millionths.
const WHOLE: u32 = 1_000_000;

impl Share {
    /// Refuses what is not above 0 and below 1, or finer than a millionth.
    pub fn new(share: f64) -> Result<Self, Invalid> {
        let millionths = share * f64::from(WHOLE);
        let rounded = millionths.round();
        let is_share = 1.0 <= rounded && rounded < f64::from(WHOLE);
        if !is_share || 1e-6 < (millionths - rounded).abs() {
            let problem = "must be above 0 and below 1, and not finer than a millionth, such as 0.1";
            return Err(Invalid::new("share of the traffic", share, problem));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 1 to 999,999, as was just seen"
        )]
        Ok(Share(rounded as u32))
    }

    /// The share as a number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl TryFrom<f64> for Share {
    type Error = Invalid;

    fn try_from(share: f64) -> Result<Self, Invalid> {
        Share::new(share)
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.get()
    }
}

impl FromStr for Share {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("share of the traffic", text, "expected a number such as `0.1` or `10%`");
        let (number, over) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        Share::new(number.trim().parse::<f64>().map_err(|_| wrong())? / over)
            .map_err(|invalid| Invalid { value: format!("{text:?}"), ..invalid })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::gate::percent(self.get()))
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureKind {
    /// Successes among trials: clicks among views, errors among requests.
    Proportion,
    /// A number for each sample: an order's value, a latency.
    Score,
}

/// What is measured in both arms, and which way is better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name.
    pub name: Key,
    /// What is counted.
    pub kind: MeasureKind,
    /// Which way is better.
    pub direction: Direction,
}

impl Measure {
    /// A measure whose better direction is given or told by its name; refused if neither tells.
    pub fn new(name: Key, kind: MeasureKind, direction: Option<Direction>) -> Result<Self, Invalid> {
        let Some(direction) = direction.or_else(|| direction_of_name(name.as_str())) else {
            let problem = "its name does not tell whether more or less is better; say which";
            return Err(Invalid::new("measure", &name, problem));
        };
        Ok(Measure { name, kind, direction })
    }
}

/// How much worse the treatment may be: finite and above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Margin(f64);

impl Margin {
    /// Refuses what is not above 0, or infinite.
    pub fn new(margin: f64) -> Result<Self, Invalid> {
        if margin.is_finite() && 0.0 < margin {
            Ok(Margin(margin))
        } else {
            Err(Invalid::new("margin", margin, "must be finite and above 0"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Margin {}

impl TryFrom<f64> for Margin {
    type Error = Invalid;

    fn try_from(margin: f64) -> Result<Self, Invalid> {
        Margin::new(margin)
    }
}

impl From<Margin> for f64 {
    fn from(margin: Margin) -> f64 {
        margin.0
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the treatment must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Goal {
    /// That it is better (an A/B test). Tested two-sided.
    Better,
    /// That it is not worse than the control by the margin or more (a canary). Tested one-sided.
    NotWorse {
        /// The margin, in the unit of the measure: 0.001 of a proportion is a tenth of a percentage point.
        margin: Margin,
    },
}

/// When a trial ends: after a time, or with so many samples in each arm; if both are planned, when both are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlannedEndFields")]
pub struct PlannedEnd {
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_arm: Option<NonZeroU64>,
}

#[derive(Deserialize)]
struct PlannedEndFields {
    duration_seconds: Option<NonZeroU64>,
    samples_per_arm: Option<NonZeroU64>,
}

impl PlannedEnd {
    /// An end by time, by samples, or by both; refused if it is by neither.
    pub fn new(
        duration_seconds: Option<NonZeroU64>,
        samples_per_arm: Option<NonZeroU64>,
    ) -> Result<Self, Invalid> {
        if duration_seconds.is_none() && samples_per_arm.is_none() {
            let problem =
                "a trial without a planned end has no verdict; plan a duration or samples for each arm";
            return Err(Invalid::new("planned end", "nothing", problem));
        }
        Ok(PlannedEnd { duration_seconds, samples_per_arm })
    }

    /// How long the trial runs, in seconds.
    pub fn duration_seconds(self) -> Option<u64> {
        self.duration_seconds.map(NonZeroU64::get)
    }

    /// How many samples each arm needs.
    pub fn samples_per_arm(self) -> Option<u64> {
        self.samples_per_arm.map(NonZeroU64::get)
    }
}

impl TryFrom<PlannedEndFields> for PlannedEnd {
    type Error = Invalid;

    fn try_from(fields: PlannedEndFields) -> Result<Self, Invalid> {
        PlannedEnd::new(fields.duration_seconds, fields.samples_per_arm)
    }
}

/// How a trial is run and judged. It is on record before the first number, and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialPlan {
    /// Where it runs.
    pub stage: TrialStage,
    /// Which share of the stage's traffic the treatment gets.
    pub share: Share,
    /// What is measured.
    pub measure: Measure,
    /// What the treatment must show.
    pub goal: Goal,
    /// When the trial ends.
    pub end: PlannedEnd,
    /// How likely a favourable verdict by chance may be, all looks together.
    pub significance: Significance,
    /// How often the trial may be looked at, the planned end included.
    pub looks: NonZeroU32,
}

/// A version in a trial, as it was when the trial began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// The version.
    pub version: Version,
    /// The identity of its content.
    pub digest: Digest,
}

/// A trial that runs, or ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it began, and by whom. Its revision is the trial's name.
    pub started: Stamp,
    /// The version that is tried.
    pub treatment: Arm,
    /// The version that it is compared with.
    pub control: Arm,
    /// How.
    pub plan: TrialPlan,
    /// What was observed so far.
    pub tally: Tally,
    /// How often it was looked at before its planned end.
    pub looks_taken: u32,
}

impl Trial {
    /// Whether one of its versions is this one.
    pub fn involves(&self, version: &Version) -> bool {
        self.treatment.version == *version || self.control.version == *version
    }

    /// Whether all that was planned is reached at `now`.
    pub fn has_reached_its_end(&self, now: Timestamp) -> bool {
        let end = self.plan.end;
        let is_over = |seconds: u64| seconds <= now.since(self.started.at).as_secs();
        let is_counted = |samples: u64| samples <= self.tally.least_samples();
        end.duration_seconds().is_none_or(is_over) && end.samples_per_arm().is_none_or(is_counted)
    }

    /// How many looks are left before the planned end, whose own look is not among them.
    pub fn looks_left(&self) -> u32 {
        self.plan.looks.get().saturating_sub(1).saturating_sub(self.looks_taken)
    }
}

/// A trial with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcludedTrial {
    /// The trial.
    pub trial: Trial,
    /// When it was concluded, and by whom.
    pub concluded: Stamp,
    /// What came of it.
    pub judgement: Judgement,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them_and_add_up_exactly() {
        for (text, number, shown) in
            [("0.1", 0.1, "10%"), ("10%", 0.1, "10%"), ("0.07", 0.07, "7%"), ("12.5 %", 0.125, "12.5%")]
        {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.get(), share.to_string().as_str()), (number, shown));
            assert_eq!(serde_json::to_string(&share).unwrap(), number.to_string());
            assert_eq!(serde_json::from_str::<Share>(&number.to_string()).unwrap(), share);
        }
        for wrong in ["0", "1", "100%", "-0.1", "NaN", "inf", "ten", "0.00000001", "0.1234567", ""] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_millionth_is_read_back() {
        for millionths in (1..WHOLE).step_by(997) {
            let share = Share(millionths);
            assert_eq!(Share::new(share.get()).unwrap(), share);
        }
    }

    #[test]
    fn a_plan_that_cannot_be_judged_is_refused() {
        assert!(PlannedEnd::new(None, None).is_err());
        assert!(serde_json::from_str::<PlannedEnd>("{}").is_err());
        assert!(serde_json::from_str::<PlannedEnd>(r#"{"samples_per_arm":0}"#).is_err());
        assert!(Margin::new(0.0).is_err() && Margin::new(f64::INFINITY).is_err());
        let measure =
            |name: &str, direction| Measure::new(name.parse().unwrap(), MeasureKind::Proportion, direction);
        assert!(measure("conversions", None).is_err());
        assert_eq!(measure("conversions", Some(Direction::Higher)).unwrap().direction, Direction::Higher);
        assert_eq!(measure("error rate", None).unwrap().direction, Direction::Lower);
    }

    #[test]
    fn a_trial_runs_where_requests_come_in() {
        assert_eq!("prod".parse::<TrialStage>().unwrap(), TrialStage::Production);
        assert!("development".parse::<TrialStage>().is_err());
    }
}
