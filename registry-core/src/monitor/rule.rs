//! Why this exists: "take it out of production if more than 5 % of its answers are errors" is a sentence that a team
//! agrees on, and that must hold at night when nobody is there. So it is data, kept in the log like every other rule,
//! and each word of it has one meaning.
//!
//! The meanings are those of two systems that people know. A measurement succeeds, fails or is inconclusive as in an
//! analysis of Argo Rollouts, and limits say how many may fail; a failure must go on for a while before anything is
//! done, as in an alert of Prometheus. In one point this is unlike Argo: where metrics cannot be read, nothing is rolled
//! back unless the rule says so, since taking out a model that works because a pipe is broken is worse than waiting.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::content::{Direction, Finite};
use crate::invalid::Invalid;
use crate::name::{Actor, Key};

/// What must not happen to the version that is in production, and what is done if it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// What is measured: `accuracy`, `latency`, `error_rate`, …
    pub metric: Key,
    /// What is looked at of all that was observed in the window.
    #[serde(default)]
    pub aggregate: Aggregate,
    /// A measurement fails if this holds. At least one of this and `succeeds_if` must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_if: Option<Condition>,
    /// A measurement succeeds if this holds. If both are there and neither holds, it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeds_if: Option<Condition>,
    /// How far back observations count, in seconds.
    #[serde(default = "five_minutes")]
    pub window_seconds: NonZeroU32,
    /// How long measurements must go on failing before the rule is broken, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub for_seconds: u32,
    /// How often it is measured, in seconds.
    #[serde(default = "one_minute")]
    pub interval_seconds: NonZeroU32,
    /// How long after the version entered production it is not measured yet, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub initial_delay_seconds: u32,
    /// How long after the version entered production it is watched, in seconds; `None`: as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baking_seconds: Option<NonZeroU32>,
    /// How many observations a window must hold for a measurement; with fewer there is no data.
    #[serde(default = "one")]
    pub samples_min: NonZeroU32,
    /// How many measurements may fail: the rule is broken when it is one more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failure_limit: u32,
    /// How many measurements may be inconclusive before somebody is told; one more, and it is said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inconclusive_limit: u32,
    /// How many times in a row the metric may be unreadable before somebody is told.
    #[serde(default = "four")]
    pub consecutive_error_limit: u32,
    /// What a window with too few observations means.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// What is done if the metric cannot be read too many times in a row.
    #[serde(default)]
    pub on_error: Response,
    /// What is done if the rule is broken.
    #[serde(default = "roll_back")]
    pub response: Response,
    /// How long after it was broken the rule stays silent, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown_seconds: u32,
    /// How many rollbacks there may be by this rule; beyond that somebody is told instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollbacks_max: Option<RollbackLimit>,
    /// Go back also where callers that have adapted to the version would break; otherwise somebody is told instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Only say what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What is looked at of the observations in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The value that half of them do not exceed.
    P50,
    /// The value that 95 of 100 do not exceed.
    P95,
    /// The value that 99 of 100 do not exceed.
    P99,
    /// How many there are.
    Count,
}

/// What is asked of the value that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Condition {
    /// It is greater.
    Above(Finite),
    /// It is less.
    Below(Finite),
    /// It is worse than the baseline by more than this share of the baseline: 0.1 is a tenth.
    WorseBy {
        /// The share.
        share: Finite,
        /// Which way is better.
        better: Direction,
        /// What it is compared with.
        #[serde(default)]
        baseline: Baseline,
    },
}

/// What a value is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Baseline {
    /// What the version was registered with under this name.
    #[default]
    Registered,
    /// What the version that was in production before it measured last.
    Previous,
    /// This number.
    Fixed(Finite),
}

/// What a window with too few observations means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnNoData {
    /// Nothing can be said.
    #[default]
    Inconclusive,
    /// It counts as a failure: a model that answers nothing is broken.
    Failure,
    /// It counts as a success: some models are not asked at night.
    Success,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Response {
    /// Somebody is told.
    #[default]
    Alert,
    /// Production goes back to the last version that was good, and somebody is told.
    RollBack,
}

/// How many rollbacks there may be in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackLimit {
    /// So many.
    pub count: u32,
    /// In so many seconds.
    pub period_seconds: NonZeroU32,
}

const fn seconds(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

fn five_minutes() -> NonZeroU32 {
    seconds(300)
}

fn one_minute() -> NonZeroU32 {
    seconds(60)
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn four() -> u32 {
    4
}

fn roll_back() -> Response {
    Response::RollBack
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Who rolls back when a rule is broken.
pub(super) fn acting(rule: &Key) -> Result<Actor, Invalid> {
    format!("monitor:{rule}").parse()
}

impl Rule {
    /// Rolls back if the mean of a metric over five minutes is as it must not be.
    pub fn new(metric: Key, fails_if: Condition) -> Rule {
        Rule {
            metric,
            aggregate: Aggregate::Mean,
            fails_if: Some(fails_if),
            succeeds_if: None,
            window_seconds: five_minutes(),
            for_seconds: 0,
            interval_seconds: one_minute(),
            initial_delay_seconds: 0,
            baking_seconds: None,
            samples_min: one(),
            failure_limit: 0,
            inconclusive_limit: 0,
            consecutive_error_limit: four(),
            on_no_data: OnNoData::Inconclusive,
            on_error: Response::Alert,
            response: Response::RollBack,
            cooldown_seconds: 0,
            rollbacks_max: None,
            force: false,
            dry_run: false,
        }
    }

    /// The same, looking at something else than the mean.
    #[must_use]
    pub fn of(self, aggregate: Aggregate) -> Rule {
        Rule { aggregate, ..self }
    }

    /// The same, looking that far back.
    #[must_use]
    pub fn over(self, window: Duration) -> Rule {
        let window_seconds = u32::try_from(window.as_secs()).ok().and_then(NonZeroU32::new);
        Rule { window_seconds: window_seconds.unwrap_or(NonZeroU32::MAX), ..self }
    }

    /// Refuses rules that could never be measured, or never be broken.
    pub fn check(&self) -> Result<(), Invalid> {
        let refused = |problem: &str| Err(Invalid::new("rule", &self.metric, problem));
        if self.fails_if.is_none() && self.succeeds_if.is_none() {
            return refused("says neither when a measurement fails nor when it succeeds");
        }
        for condition in [self.fails_if, self.succeeds_if].into_iter().flatten() {
            if let Condition::WorseBy { share, .. } = condition
                && share.get() < 0.0
            {
                return refused("the share by which it may get worse is negative");
            }
        }
        let watched = self.baking_seconds.map_or(u32::MAX, NonZeroU32::get);
        if watched <= self.initial_delay_seconds {
            return refused("the version is no longer watched when measuring would begin");
        }
        if watched < self.for_seconds {
            return refused("a failure would have to go on for longer than the version is watched");
        }
        Ok(())
    }

    /// Refuses names that would be too long for the actor who rolls back: `monitor:<name>`.
    pub fn check_name(name: &Key) -> Result<(), Invalid> {
        match acting(name) {
            Ok(_) => Ok(()),
            Err(_) => {
                let problem = "is too long: `monitor:` and the name together are who rolls back";
                Err(Invalid::new("name of a rule", name, problem))
            }
        }
    }

    /// How far back observations count.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds.get().into())
    }

    /// How often it is measured.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.get().into())
    }

    /// What the value is compared with, if it is compared with something.
    pub fn baseline(&self) -> Option<Baseline> {
        let conditions = [self.fails_if, self.succeeds_if].into_iter().flatten();
        conditions.into_iter().find_map(|condition| match condition {
            Condition::WorseBy { baseline, .. } => Some(baseline),
            _ => None,
        })
    }
}

impl Condition {
    /// Whether it holds of a value; `None` if that cannot be told, because there is nothing to compare it with.
    pub fn holds(&self, value: f64, baseline: Option<f64>) -> Option<bool> {
        Some(match self {
            Condition::Above(bound) => bound.get() < value,
            Condition::Below(bound) => value < bound.get(),
            Condition::WorseBy { share, better, .. } => {
                let baseline = baseline?;
                let allowed = share.get() * baseline.abs();
                match better {
                    Direction::Higher => value < baseline - allowed,
                    Direction::Lower => baseline + allowed < value,
                }
            }
        })
    }
}

impl std::fmt::Display for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Aggregate::Mean => "mean",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::P50 => "p50",
            Aggregate::P95 => "p95",
            Aggregate::P99 => "p99",
            Aggregate::Count => "count",
        })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Condition::Above(bound) => write!(f, "above {bound}"),
            Condition::Below(bound) => write!(f, "below {bound}"),
            Condition::WorseBy { share, better, baseline } => {
                let share = crate::gate::percent(share.get());
                let better = match better {
                    Direction::Higher => "higher",
                    Direction::Lower => "lower",
                };
                let than = match baseline {
                    Baseline::Registered => "it was registered with".to_owned(),
                    Baseline::Previous => "the version before it had".to_owned(),
                    Baseline::Fixed(number) => number.to_string(),
                };
                write!(f, "worse by {share} than {than} ({better} is better)")
            }
        }
    }
}

/// A length of time as people write it: `24h`, `5m`, `90s`.
fn lasting(seconds: u32) -> String {
    match seconds {
        0 => "0s".to_owned(),
        seconds if seconds.is_multiple_of(86_400) && 86_400 < seconds => format!("{}d", seconds / 86_400),
        seconds if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (self.response, self.dry_run) {
            (Response::RollBack, false) => "roll back",
            (Response::RollBack, true) => "only say that it would roll back",
            (Response::Alert, _) => "tell",
        };
        write!(f, "{what} if {} of {}", self.aggregate, self.metric)?;
        match (self.fails_if, self.succeeds_if) {
            (Some(fails), _) => write!(f, " is {fails}")?,
            (None, Some(succeeds)) => write!(f, " is not {succeeds}")?,
            (None, None) => {}
        }
        write!(f, " over {}", lasting(self.window_seconds.get()))?;
        if self.for_seconds != 0 {
            write!(f, ", for {}", lasting(self.for_seconds))?;
        }
        if 1 < self.samples_min.get() {
            write!(f, ", from {} observations on", self.samples_min)?;
        }
        Ok(())
    }
}
