//! Why this exists: whether a rule is broken is decided here, from what was measured and from what was measured before,
//! without a clock and without reading anything. So a day at a fleet of ten machines can be gone through in a test in a
//! moment, and a rule that took a model out of production can be shown to have had to.
//!
//! ```text
//! reading ── measure ──> measurement ── limits, `for` ──> phase ──> nothing, an alert, or a rollback
//! ```
//!
//! | a measurement is | if |
//! |---|---|
//! | failed | `fails_if` holds, or there is only `succeeds_if` and it does not hold |
//! | successful | `succeeds_if` holds, or there is only `fails_if` and it does not hold |
//! | inconclusive | both are there and neither holds; the baseline is not known; there is too little data, unless `on_no_data` says otherwise |
//! | an error | the metric could not be read |
//!
//! A value that is no number fails where only `succeeds_if` is asked, and is inconclusive otherwise.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::content::Finite;
use crate::time::Timestamp;
use crate::version::Version;

use super::rule::{OnNoData, Response, Rule};
use super::summary::Observed;

/// How many measurements are kept as evidence.
pub const MEASUREMENTS_KEPT: usize = 10;

/// The version that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The version in production.
    pub version: Version,
    /// Since when it is there.
    pub since: Timestamp,
}

/// What could be read of a metric over the window of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// What was observed of the version that is watched, and what the baseline is, if there is one.
    Observed {
        /// The observations, put together.
        observed: Box<Observed>,
        /// What they are compared with.
        baseline: Option<f64>,
    },
    /// It could not be read.
    Unreadable(String),
}

/// What came of looking once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// When.
    pub at: Timestamp,
    /// What was measured; none if there was nothing, or no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Finite>,
    /// What it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Finite>,
    /// How many observations it rests on.
    pub samples: u64,
    /// What that means.
    pub outcome: Outcome,
}

/// What a measurement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The version does what it should.
    Successful,
    /// It does not.
    Failed,
    /// Nothing can be said.
    Inconclusive,
    /// There were too few observations to say anything.
    NoData,
    /// The metric could not be read.
    Error,
}

/// What is known of a rule from looking before. Whoever begins anew begins with the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    watched: Option<Watched>,
    failures: u32,
    inconclusive: u32,
    errors_in_a_row: u32,
    failing_since: Option<Timestamp>,
    silent_until: Option<Timestamp>,
    recent: VecDeque<Measurement>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The version is not measured yet, or no longer.
    Waiting,
    /// Nothing is wrong, as far as that is known.
    Fine,
    /// It fails, and has not for long or often enough.
    Pending,
    /// The rule is broken.
    Broken(Breach),
    /// Too often nothing could be said; a person must look.
    Inconclusive(Breach),
    /// The metric could not be read too many times in a row.
    Unreadable(Breach),
    /// It would be one of the three before, and was not long ago: nothing is said again.
    Silent,
}

/// What is said when somebody must know, and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The version.
    pub watched: Watched,
    /// The rule.
    pub rule: Rule,
    /// What shall be done about it.
    pub response: Response,
    /// What was measured last, the oldest first.
    pub measurements: Vec<Measurement>,
    /// Why, in words.
    pub reason: String,
}

impl Memory {
    /// The last measurements, the oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Measurement> {
        self.recent.iter()
    }

    /// Ends the silence after a finding on which nothing could be done.
    pub(super) fn speak_again(&mut self) {
        self.silent_until = None;
    }
}

impl Breach {
    /// When it was found.
    pub fn at(&self) -> Timestamp {
        self.measurements.last().map_or(self.watched.since, |measurement| measurement.at)
    }
}

/// Whether a version is measured at an instant: after the delay, and while it is watched.
pub fn is_measured(rule: &Rule, watched: &Watched, now: Timestamp) -> bool {
    let age = now.since(watched.since).as_secs();
    let is_over = rule.baking_seconds.is_some_and(|baking| u64::from(baking.get()) < age);
    u64::from(rule.initial_delay_seconds) <= age && watched.since <= now && !is_over
}

/// What a reading means by itself.
pub fn measure(rule: &Rule, reading: &Reading, now: Timestamp) -> Measurement {
    let (observed, baseline) = match reading {
        Reading::Observed { observed, baseline } => (&**observed, *baseline),
        Reading::Unreadable(_) => {
            return Measurement { at: now, value: None, baseline: None, samples: 0, outcome: Outcome::Error };
        }
    };
    let samples = observed.count.saturating_add(observed.not_numbers);
    let finite = |value: f64| Finite::new(value).ok();
    let value = observed.aggregate(rule.aggregate);
    let outcome = match value {
        _ if samples < u64::from(rule.samples_min.get()) => match rule.on_no_data {
            OnNoData::Inconclusive => Outcome::NoData,
            OnNoData::Failure => Outcome::Failed,
            OnNoData::Success => Outcome::Successful,
        },
        None => Outcome::NoData,
        Some(value) if value.is_nan() => match (&rule.fails_if, &rule.succeeds_if) {
            (None, Some(_)) => Outcome::Failed,
            _ => Outcome::Inconclusive,
        },
        Some(value) => judged(rule, value, baseline),
    };
    Measurement {
        at: now,
        value: value.and_then(finite),
        baseline: baseline.and_then(finite),
        samples,
        outcome,
    }
}

fn judged(rule: &Rule, value: f64, baseline: Option<f64>) -> Outcome {
    let holds = |condition: &super::rule::Condition| condition.holds(value, baseline);
    match (rule.fails_if.as_ref().map(holds), rule.succeeds_if.as_ref().map(holds)) {
        (Some(Some(true)), _) => Outcome::Failed,
        (_, Some(Some(true))) => Outcome::Successful,
        (Some(Some(false)), None) => Outcome::Successful,
        (None, Some(Some(false))) => Outcome::Failed,
        _ => Outcome::Inconclusive,
    }
}

/// Looks once at a rule: takes in what was measured and says where the rule stands.
///
/// What was remembered of another version, or of an earlier time of the same one in production, does not count.
pub fn assess(
    rule: &Rule,
    watched: &Watched,
    memory: &mut Memory,
    reading: &Reading,
    now: Timestamp,
) -> Phase {
    if memory.watched.as_ref() != Some(watched) {
        *memory = Memory { watched: Some(watched.clone()), ..Memory::default() };
    }
    if !is_measured(rule, watched, now) {
        return Phase::Waiting;
    }
    let measurement = measure(rule, reading, now);
    memory.take(&measurement);
    let phase = memory.phase(rule, watched, reading, now);
    match phase {
        Phase::Broken(_) | Phase::Inconclusive(_) | Phase::Unreadable(_) => {
            if memory.silent_until.is_some_and(|until| now < until) {
                return Phase::Silent;
            }
            let cooldown = std::time::Duration::from_secs(rule.cooldown_seconds.into());
            memory.silent_until = Some(now.saturating_add(cooldown));
            phase
        }
        _ => phase,
    }
}

/// A number as people read it. The evidence has all its digits.
fn shown(number: Finite) -> String {
    let number = number.get();
    if number != 0.0 && number.abs() < 1e-3 {
        return number.to_string();
    }
    format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Memory {
    fn take(&mut self, measurement: &Measurement) {
        match measurement.outcome {
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.failing_since.get_or_insert(measurement.at);
            }
            // A failure goes on until a success ends it.
            Outcome::Successful => self.failing_since = None,
            Outcome::Inconclusive | Outcome::NoData => {
                self.inconclusive = self.inconclusive.saturating_add(1);
                self.failing_since = None;
            }
            Outcome::Error => {}
        }
        self.errors_in_a_row = match measurement.outcome {
            Outcome::Error => self.errors_in_a_row.saturating_add(1),
            _ => 0,
        };
        if MEASUREMENTS_KEPT <= self.recent.len() {
            self.recent.pop_front();
        }
        self.recent.push_back(measurement.clone());
    }

    fn phase(&self, rule: &Rule, watched: &Watched, reading: &Reading, now: Timestamp) -> Phase {
        let breach = |response: Response, reason: String| Breach {
            watched: watched.clone(),
            rule: rule.clone(),
            response: if rule.dry_run { Response::Alert } else { response },
            measurements: self.recent.iter().cloned().collect(),
            reason,
        };
        if let Some(since) = self.failing_since
            && rule.failure_limit < self.failures
        {
            let lasted = now.since(since).as_secs();
            if u64::from(rule.for_seconds) <= lasted {
                return Phase::Broken(breach(rule.response, self.broken(rule, lasted)));
            }
            return Phase::Pending;
        }
        if let Reading::Unreadable(problem) = reading
            && rule.consecutive_error_limit < self.errors_in_a_row
        {
            let times = self.errors_in_a_row;
            let reason = format!("`{}` could not be read {times} times in a row: {problem}", rule.metric);
            return Phase::Unreadable(breach(rule.on_error, reason));
        }
        if rule.inconclusive_limit < self.inconclusive && self.failing_since.is_none() {
            let last = self.recent.back().map(|measurement| measurement.outcome);
            if matches!(last, Some(Outcome::Inconclusive | Outcome::NoData)) {
                let why = match last {
                    Some(Outcome::NoData) => "there are too few observations",
                    _ => "neither success nor failure can be told",
                };
                let reason = format!("nothing can be said of `{}`: {why}", rule.metric);
                return Phase::Inconclusive(breach(Response::Alert, reason));
            }
        }
        if self.failing_since.is_some() { Phase::Pending } else { Phase::Fine }
    }

    fn broken(&self, rule: &Rule, lasted: u64) -> String {
        let last = self.recent.back();
        let value = last.and_then(|measurement| measurement.value);
        let value = value.map_or_else(|| "not a number".to_owned(), shown);
        let baseline = last.and_then(|measurement| measurement.baseline);
        let baseline =
            baseline.map(|baseline| format!(", compared with {}", shown(baseline))).unwrap_or_default();
        let samples = last.map_or(0, |measurement| measurement.samples);
        let lasted = if lasted == 0 { String::new() } else { format!(", for {lasted} s") };
        format!(
            "{} of `{}` is {value}{baseline} in {samples} observations{lasted}",
            rule.aggregate, rule.metric
        )
    }
}
