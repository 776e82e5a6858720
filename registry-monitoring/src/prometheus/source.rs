//! Why this exists: ten monitors that watch one model ask the same server, and a number that is written down ten times
//! would count ten times. So they ask for the same instants, whatever their clocks say to the second: the last multiple
//! of a step. What is written down has an id made of the question and the instant, and the registry keeps the first.

use std::time::Duration;

use async_trait::async_trait;
use registry_core::monitor::{Pulled, Source, Watched};
use registry_core::{Digest, Invalid, Key, Timestamp};

use super::mapping::{Mapping, before, summaries};
use super::{Prometheus, PrometheusError, QUERY_BYTES_MAX};

/// Pulls what an expression is worth.
#[derive(Debug, Clone)]
pub struct PrometheusSource {
    prometheus: Prometheus,
    query: String,
    mapping: Mapping,
    step_microseconds: i64,
}

impl PrometheusSource {
    /// Pulls what an expression is worth at whole multiples of a step, which is a millisecond at least.
    pub fn new(
        prometheus: Prometheus,
        query: &str,
        mapping: Mapping,
        step: Duration,
    ) -> Result<PrometheusSource, Invalid> {
        if query.trim().is_empty() || QUERY_BYTES_MAX < query.len() {
            return Err(Invalid::new("expression", query, "expected one of 1 to 8,192 bytes"));
        }
        let milliseconds = i64::try_from(step.as_millis()).unwrap_or(0);
        let (1.., Some(step_microseconds)) = (milliseconds, milliseconds.checked_mul(1_000)) else {
            return Err(Invalid::new("step", format!("{step:?}"), "expected a millisecond or more"));
        };
        Ok(PrometheusSource { prometheus, query: query.to_owned(), mapping, step_microseconds })
    }

    /// The last instant at which all who pull this ask.
    fn instant(&self, now: Timestamp) -> Timestamp {
        let past = now.microseconds().rem_euclid(self.step_microseconds);
        before(now, Duration::from_micros(past.unsigned_abs()))
    }

    async fn asked(&self, watched: &Watched, at: Timestamp) -> Result<Pulled, PrometheusError> {
        let Mapping { metric, version_label, covers, replica } = &self.mapping;
        let identity = (&self.query, metric, version_label, covers, replica, &watched.version, at);
        let digest = Digest::of(&serde_json::to_vec(&identity).unwrap_or_default()).to_string();
        let id = format!("pulled-{}", digest.rsplit(':').next().unwrap_or_default()).parse()?;
        // What the version did not do alone says nothing of it.
        let is_its_own = watched.since <= before(at, self.mapping.covers);
        if self.mapping.version_label.is_none() && !is_its_own {
            return Ok(Pulled { id, summaries: Vec::new() });
        }
        let series = self.prometheus.instant(&self.query, at).await?;
        Ok(Pulled { id, summaries: summaries(&series, &self.mapping, &watched.version)? })
    }
}

#[async_trait]
impl Source for PrometheusSource {
    fn metric(&self) -> &Key {
        &self.mapping.metric
    }

    async fn pull(&self, watched: &Watched, now: Timestamp) -> Result<Pulled, String> {
        self.asked(watched, self.instant(now)).await.map_err(|error| error.to_string())
    }
}
