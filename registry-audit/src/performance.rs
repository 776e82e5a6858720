//! Why this exists: how good a version is, is said twice: by those who registered or amended it, and by what was observed
//! while it served. Both belong into a report, over time: what was stated, until it was corrected; and what was observed,
//! put together for each deployment in a way that does not depend on how it was cut into pieces.

use std::collections::BTreeMap;

use registry_core::event::Amended;
use registry_core::monitor::{Aggregate, Gathering, Summary};
use registry_core::state::Stamp;
use registry_core::{Content, Deployment, Finite, Key, Metric, Revision, Timestamp, Version};

use crate::range::Range;
use crate::rows::{Health, Stated};

/// What was stated of versions, in the order in which it was.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    rows: Vec<Stated>,
    /// Where the statement is that stands.
    standing: BTreeMap<(Version, String), usize>,
}

impl Statements {
    pub(crate) fn registered(&mut self, version: &Version, content: &Content, stamp: &Stamp) {
        self.take(version, &content.metrics, &content.deployment, stamp, false);
    }

    pub(crate) fn amended(&mut self, amended: &Amended, stamp: &Stamp) {
        self.take(&amended.version, &amended.metrics, &amended.deployment, stamp, true);
    }

    fn take(
        &mut self,
        version: &Version,
        metrics: &BTreeMap<Key, Metric>,
        deployment: &Deployment,
        stamp: &Stamp,
        amended: bool,
    ) {
        let figures =
            figures(deployment).map(|(name, value)| (format!("deployment: {name}"), Some(value), None));
        let metrics = metrics.iter().map(|(name, metric)| (name.to_string(), None, Some(metric)));
        for (name, figure, metric) in metrics.chain(figures) {
            let Some(value) = figure.or(metric.map(|metric| metric.value)) else { continue };
            let index = self.rows.len();
            let place = (version.clone(), name.clone());
            if let Some(before) =
                self.standing.insert(place, index).and_then(|before| self.rows.get_mut(before))
            {
                before.replaced_at = Some(stamp.at);
            }
            self.rows.push(Stated {
                version: version.clone(),
                metric: name,
                value,
                unit: metric.and_then(|metric| metric.unit.clone()),
                better: metric.and_then(|metric| metric.direction),
                samples: metric.and_then(|metric| metric.samples),
                standard_error: metric.and_then(|metric| metric.standard_error),
                amended,
                by: stamp.actor.clone(),
                at: stamp.at,
                revision: stamp.revision,
                replaced_at: None,
            });
        }
    }

    /// What held in a part of the range.
    pub(crate) fn finish(self, range: Range) -> Vec<Stated> {
        self.rows.into_iter().filter(|row| range.touches(row.at, row.replaced_at)).collect()
    }
}

/// The figures of a deployment that are known, by the names that they have in the log.
fn figures(of: &Deployment) -> impl Iterator<Item = (&'static str, Finite)> {
    #[expect(clippy::cast_precision_loss, reason = "sizes beyond 2^53 bytes are told to 16 digits")]
    let whole = |number: Option<u64>| number.and_then(|number| Finite::new(number as f64).ok());
    [
        ("latency_p50_ms", of.latency_p50_ms),
        ("latency_p95_ms", of.latency_p95_ms),
        ("size_bytes", whole(of.size_bytes)),
        ("cpu_cores", of.cpu_cores),
        ("memory_bytes", whole(of.memory_bytes)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// What was observed of a metric of a version, in one deployment or outside of all.
#[derive(Default)]
struct Observed {
    gathering: Gathering,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// What was observed of a model.
#[derive(Default)]
pub(crate) struct Observations {
    by_deployment: BTreeMap<(Option<Revision>, Version, Key), Observed>,
}

impl Observations {
    pub(crate) fn take(&mut self, deployment: Option<Revision>, summary: &Summary) {
        let place = (deployment, summary.version.clone(), summary.metric.clone());
        let observed = self.by_deployment.entry(place).or_default();
        observed.gathering.merge(&summary.observed);
        observed.from = Some(observed.from.map_or(summary.from, |from| from.min(summary.from)));
        observed.until = Some(observed.until.map_or(summary.until, |until| until.max(summary.until)));
    }

    pub(crate) fn finish(self) -> Vec<Health> {
        let row = |((deployment, version, metric), observed): (_, Observed)| {
            let found = observed.gathering.observed();
            let numbers = found.numbers.as_ref();
            Some(Health {
                deployment,
                version,
                metric,
                from: observed.from?,
                until: observed.until?,
                count: found.count,
                not_numbers: found.not_numbers,
                mean: numbers.map(|numbers| numbers.mean),
                min: numbers.map(|numbers| numbers.min),
                max: numbers.map(|numbers| numbers.max),
                p95: found.aggregate(Aggregate::P95).and_then(|p95| Finite::new(p95).ok()),
            })
        };
        self.by_deployment.into_iter().filter_map(row).collect()
    }
}
