//! Why this exists: what is on record of a training run must stay readable, small and true to what was measured. A loss
//! that became NaN is the most telling value of all, and JSON has no NaN; a run logs a hundred thousand values, and the
//! fold of an experiment must not hold them. So values have a type of their own, and the fold keeps of each metric the
//! last, the smallest and the largest; the series is read from the log.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::content::{Artifact, Finite, Manifest};
use crate::digest::Digest;
use crate::event::Event;
use crate::invalid::Invalid;
use crate::name::{ArtifactPath, Key, ModelVersion, Text};
use crate::state::Stamp;
use crate::time::Timestamp;

use super::environment::RunEnvironment;

/// How many parameters a run may have.
pub const PARAMS_MAX: usize = 1_000;
/// How many metrics a run may have. Each may have any number of values.
pub const METRICS_MAX: usize = 1_000;
/// How many files a run may have.
pub const ARTIFACTS_MAX: usize = 1_000;
/// How many values one request may log.
pub const POINTS_MAX: usize = 1_000;

/// The value of a parameter: any JSON but `null`, not too long and not too deep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ParamValue(Value);

impl ParamValue {
    /// The longest value, in bytes of JSON.
    pub const BYTES_MAX: usize = 5_000;
    /// How many lists and objects may lie in each other.
    pub const DEPTH_MAX: usize = 16;

    /// Refuses what is no value, such as a number that is not finite, and what is too long or too deep.
    pub fn new(value: impl Into<Value>) -> Result<Self, Invalid> {
        let value = value.into();
        let refused =
            |shown: &str, problem: String| Err(Invalid::new("value of a parameter", shown, problem));
        if value.is_null() {
            return refused("null", "is null, or a number that is not finite".to_owned());
        }
        if !fits(&value, ParamValue::DEPTH_MAX) {
            // To write it out would go as deep as it does.
            return refused("…", format!("is nested deeper than {}", ParamValue::DEPTH_MAX));
        }
        let text = value.to_string();
        let bytes = text.len();
        if ParamValue::BYTES_MAX < bytes {
            let problem = format!("has {bytes} bytes, more than {}; log a file", ParamValue::BYTES_MAX);
            return refused(&text, problem);
        }
        Ok(ParamValue(value))
    }

    /// The value.
    pub fn get(&self) -> &Value {
        &self.0
    }
}

/// Whether no more than that many lists and objects lie in each other.
fn fits(value: &Value, depth: usize) -> bool {
    match (value, depth.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => false,
        (Value::Array(items), Some(left)) => items.iter().all(|item| fits(item, left)),
        (Value::Object(entries), Some(left)) => entries.values().all(|entry| fits(entry, left)),
        _ => true,
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => f.pad(text),
            other => f.pad(&other.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ParamValue::new(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A value that was measured. In JSON a number, or one of the words `NaN`, `Infinity` and `-Infinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricValue {
    /// A number.
    Number(Finite),
    /// Not a number, which a loss becomes when training diverges.
    NotANumber,
    /// Larger than any number.
    Infinity,
    /// Smaller than any number.
    NegativeInfinity,
}

impl MetricValue {
    /// The number, if it is one.
    pub fn number(self) -> Option<Finite> {
        match self {
            MetricValue::Number(number) => Some(number),
            MetricValue::NotANumber | MetricValue::Infinity | MetricValue::NegativeInfinity => None,
        }
    }
}

impl From<f64> for MetricValue {
    fn from(value: f64) -> Self {
        match Finite::new(value) {
            Ok(number) => MetricValue::Number(number),
            Err(_) if value.is_nan() => MetricValue::NotANumber,
            Err(_) if value < 0.0 => MetricValue::NegativeInfinity,
            Err(_) => MetricValue::Infinity,
        }
    }
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricValue::Number(number) => f.pad(&number.to_string()),
            MetricValue::NotANumber => f.pad("NaN"),
            MetricValue::Infinity => f.pad("Infinity"),
            MetricValue::NegativeInfinity => f.pad("-Infinity"),
        }
    }
}

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MetricValue::Number(number) => number.serialize(serializer),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for MetricValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        enum Word {
            NaN,
            Infinity,
            #[serde(rename = "-Infinity")]
            NegativeInfinity,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(Finite),
            Word(Word),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(number) => MetricValue::Number(number),
            Either::Word(Word::NaN) => MetricValue::NotANumber,
            Either::Word(Word::Infinity) => MetricValue::Infinity,
            Either::Word(Word::NegativeInfinity) => MetricValue::NegativeInfinity,
        })
    }
}

/// A value of a metric at a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The metric.
    pub metric: Key,
    /// The step, epoch or batch. Steps may repeat and come in any order.
    pub step: u64,
    /// The value.
    pub value: MetricValue,
    /// When it was measured.
    pub at: Timestamp,
}

/// How long a run may give no sign of life before it reads as aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Lease(NonZeroU64);

impl Lease {
    /// The longest lease, in seconds: a year.
    pub const SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

    /// A lease of that many seconds.
    pub fn of_seconds(seconds: u64) -> Result<Self, Invalid> {
        match NonZeroU64::new(seconds) {
            Some(number) if seconds <= Lease::SECONDS_MAX => Ok(Lease(number)),
            _ => Err(Invalid::new("lease", format!("{seconds} s"), "expected a second to 366 days")),
        }
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.get())
    }
}

impl Default for Lease {
    /// A day.
    fn default() -> Self {
        const DAY: NonZeroU64 = NonZeroU64::MIN.saturating_add(24 * 60 * 60 - 1);
        Lease(DAY)
    }
}

impl<'de> Deserialize<'de> for Lease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Lease::of_seconds(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunStarted {
    /// The increment or work item that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<Text>,
    /// The parameters that are known from the start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Key, ParamValue>,
    /// What it is carried out with.
    #[serde(default, skip_serializing_if = "RunEnvironment::is_empty")]
    pub environment: RunEnvironment,
    /// How long it may give no sign of life.
    #[serde(rename = "lease_seconds")]
    pub lease: Lease,
}

/// What a run says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RunLog {
    /// Parameters. Each is set once.
    pub params: BTreeMap<Key, ParamValue>,
    /// Values that were measured.
    pub points: Vec<MetricPoint>,
    /// Files, whose bytes are in the store.
    pub artifacts: Manifest,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunOutcome {
    /// It did what it was meant to do.
    Finished,
    /// It could not.
    Failed {
        /// Why not.
        reason: Text,
    },
    /// It was broken off.
    Aborted {
        /// Why.
        reason: Text,
    },
}

impl RunOutcome {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            RunOutcome::Finished => "finished",
            RunOutcome::Failed { .. } => "failed",
            RunOutcome::Aborted { .. } => "aborted",
        }
    }

    /// Why it did not finish.
    pub fn reason(&self) -> Option<&Text> {
        match self {
            RunOutcome::Finished => None,
            RunOutcome::Failed { reason } | RunOutcome::Aborted { reason } => Some(reason),
        }
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunOutcome::Finished => f.write_str("finished"),
            RunOutcome::Failed { .. } => f.write_str("failed"),
            RunOutcome::Aborted { .. } => f.write_str("was aborted"),
        }
    }
}

/// What is known of a metric of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The highest step with a value.
    pub step: u64,
    /// The value there; of several, the one that was logged last.
    pub last: MetricValue,
    /// The smallest number; none if there was no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Finite>,
    /// The largest number; none if there was no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Finite>,
    /// How many values there are.
    pub count: u64,
    /// How many of them are no numbers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_numbers: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl MetricSummary {
    fn of(point: &MetricPoint) -> Self {
        let mut summary = MetricSummary {
            step: point.step,
            last: point.value,
            min: None,
            max: None,
            count: 0,
            not_numbers: 0,
        };
        summary.add(point);
        summary
    }

    fn add(&mut self, point: &MetricPoint) {
        if self.step <= point.step {
            self.step = point.step;
            self.last = point.value;
        }
        self.count = self.count.saturating_add(1);
        let Some(number) = point.value.number() else {
            self.not_numbers = self.not_numbers.saturating_add(1);
            return;
        };
        self.min = Some(self.min.filter(|min| *min <= number).unwrap_or(number));
        self.max = Some(self.max.filter(|max| number <= *max).unwrap_or(number));
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When, and who said so.
    pub at: Stamp,
    /// How it went.
    pub outcome: RunOutcome,
}

/// What is known of a run. What it was carried out with is large and rarely asked for, and is read where it was
/// started: see [`run_environment`](crate::RegistryExt::run_environment).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// When it began, and who said so. The revision is the run's name.
    pub started: Stamp,
    /// The increment or work item that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<Text>,
    /// How long it may give no sign of life.
    #[serde(rename = "lease_seconds")]
    pub lease: Lease,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Key, ParamValue>,
    /// Its metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Key, MetricSummary>,
    /// Its files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<ArtifactPath, Artifact>,
    /// The versions that came out of it, and the identity of each one's content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<ModelVersion, Digest>,
    /// The last sign of life.
    pub seen: Timestamp,
    /// How it ended; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunEnd>,
}

/// Where a run stands, as of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// It goes on.
    Running,
    /// It did what it was meant to do.
    Finished,
    /// It could not.
    Failed,
    /// It was broken off.
    Aborted {
        /// Since when.
        since: Timestamp,
        /// Whether nobody said so: it gave no sign of life for longer than its lease.
        is_lost: bool,
    },
}

impl RunStatus {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Finished => "finished",
            RunStatus::Failed => "failed",
            RunStatus::Aborted { is_lost: false, .. } => "aborted",
            RunStatus::Aborted { is_lost: true, .. } => "aborted (lost)",
        }
    }
}

impl RunState {
    pub(crate) fn begun(started: &RunStarted, stamp: &Stamp) -> Self {
        RunState {
            started: stamp.clone(),
            increment: started.increment.clone(),
            lease: started.lease,
            params: started.params.clone(),
            metrics: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            versions: BTreeMap::new(),
            seen: stamp.at,
            ended: None,
        }
    }

    /// Adds what happened to this run.
    pub(crate) fn apply(&mut self, event: &Event, stamp: &Stamp) {
        self.seen = stamp.at;
        match event {
            Event::RunParamsLogged { params, .. } => {
                self.params.extend(params.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            Event::RunMetricsLogged { points, .. } => {
                for point in points {
                    match self.metrics.get_mut(&point.metric) {
                        Some(summary) => summary.add(point),
                        None => {
                            self.metrics.insert(point.metric.clone(), MetricSummary::of(point));
                        }
                    }
                }
            }
            Event::RunArtifactsNoted { artifacts, .. } => {
                self.artifacts.extend(artifacts.iter().map(|file| (file.path.clone(), file.clone())));
            }
            Event::RunRegistered { version, digest, .. } => {
                self.versions.insert(version.clone(), *digest);
            }
            Event::RunEnded { outcome, .. } => {
                self.ended = Some(RunEnd { at: stamp.clone(), outcome: outcome.clone() });
            }
            _ => {}
        }
    }

    /// Where it stands at an instant.
    pub fn status(&self, now: Timestamp) -> RunStatus {
        match &self.ended {
            Some(RunEnd { outcome: RunOutcome::Finished, .. }) => RunStatus::Finished,
            Some(RunEnd { outcome: RunOutcome::Failed { .. }, .. }) => RunStatus::Failed,
            Some(RunEnd { outcome: RunOutcome::Aborted { .. }, at }) => {
                RunStatus::Aborted { since: at.at, is_lost: false }
            }
            None if self.lease.duration() < now.since(self.seen) => {
                RunStatus::Aborted { since: self.seen.saturating_add(self.lease.duration()), is_lost: true }
            }
            None => RunStatus::Running,
        }
    }
}
