//! Why this exists: Prometheus knows series and labels, and nothing of versions. Which observation is of which version
//! decides on what is taken out of production, so it is said explicitly: by a label, or else by what serves.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::monitor::{Observed, Summary};
use registry_core::{Invalid, Key, Text, Timestamp, Version};

use super::answer::Series;

/// Which observations an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What is observed.
    pub metric: Key,
    /// The label that says which version it was. Without one it was the version that serves.
    pub version_label: Option<String>,
    /// How far back the expression looks: five minutes for `rate(errors_total[5m])`. What it is worth at an instant
    /// was observed from so long before, and counts for a version only if that was there all the time.
    pub covers: Duration,
    /// Where it was observed, if there are several places.
    pub replica: Option<Text>,
}

impl Mapping {
    /// Observations of the version that serves, each of one moment.
    pub fn new(metric: Key) -> Mapping {
        Mapping { metric, version_label: None, covers: Duration::ZERO, replica: None }
    }
}

/// What was gathered of a version.
#[derive(Default)]
struct Of {
    values: Vec<f64>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// The observations of each version: every point is one. `serving` is the version that all are of if no label says
/// otherwise.
pub fn summaries(series: &[Series], mapping: &Mapping, serving: &Version) -> Result<Vec<Summary>, Invalid> {
    let mut gathered: BTreeMap<Version, Of> = BTreeMap::new();
    for Series { labels, samples } in series {
        let of = gathered.entry(version(labels, mapping, serving)?).or_default();
        for sample in samples {
            of.values.push(sample.value);
            of.first = Some(of.first.map_or(sample.at, |first| first.min(sample.at)));
            of.last = Some(of.last.map_or(sample.at, |last| last.max(sample.at)));
        }
    }
    let summary = |(version, of): (Version, Of)| {
        let (first, until) = (of.first?, of.last?);
        Some(Summary {
            version,
            metric: mapping.metric.clone(),
            from: before(first, mapping.covers),
            until,
            replica: mapping.replica.clone(),
            observed: Observed::of(of.values),
        })
    };
    Ok(gathered.into_iter().filter_map(summary).collect())
}

fn version(
    labels: &BTreeMap<String, String>,
    mapping: &Mapping,
    serving: &Version,
) -> Result<Version, Invalid> {
    let Some(label) = &mapping.version_label else { return Ok(serving.clone()) };
    let refused = |value: &str, problem: &str| {
        let problem = format!("{problem}; leave such series out of the expression, or name another label");
        Err(Invalid::new("label", format!("{label}={value}"), problem))
    };
    match labels.get(label) {
        None => refused("", "a series has no label of that name"),
        Some(value) => match value.parse() {
            Ok(version) => Ok(version),
            Err(_) => refused(value, "names no version"),
        },
    }
}

pub(super) fn before(instant: Timestamp, gap: Duration) -> Timestamp {
    let gap = i64::try_from(gap.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microseconds(instant.microseconds().saturating_sub(gap)).unwrap_or(Timestamp::EPOCH)
}
