//! Why this exists: observing must cost next to nothing, or nobody does it. A [`Meter`] keeps its numbers in a few
//! shards, each behind a lock of its own; a thread always uses the same shard, so threads seldom meet. What was
//! observed is kept as a sketch, so memory does not grow with the number of observations.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::name::{Key, Text};
use crate::time::Timestamp;
use crate::version::Version;

use super::summary::{Gathering, Summary};

/// How many shards a meter has. More threads than that share some.
const SHARDS: usize = 16;

/// A shard on cache lines of its own, so that two threads that count do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Gathering>);

/// Counts one metric of one version. Clones count together.
#[derive(Clone)]
pub struct Meter {
    shards: Arc<[Shard; SHARDS]>,
}

impl Meter {
    fn new() -> Meter {
        Meter { shards: Arc::new(std::array::from_fn(|_| Shard::default())) }
    }

    /// One observation. What is not a finite number is counted apart.
    pub fn observe(&self, value: f64) {
        if let Some(Shard(gathering)) = self.shards.get(shard_of_this_thread()) {
            gathering.lock().unwrap_or_else(PoisonError::into_inner).add(value);
        }
    }

    /// What was observed since the last time, and begins anew.
    fn take(&self) -> Gathering {
        let mut whole = Gathering::default();
        for Shard(gathering) in &*self.shards {
            let taken = std::mem::take(&mut *gathering.lock().unwrap_or_else(PoisonError::into_inner));
            whole.merge(&taken.observed());
        }
        whole
    }
}

/// Each thread gets the next number when it first counts.
fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            shard.set(Some(number));
            number
        })
    })
}

/// The meters of a model that serves here.
///
/// ```
/// use registry_core::monitor::Meters;
///
/// let meters = Meters::new(None);
/// let latency = meters.meter(&"v3.1.0".parse()?, &"latency".parse()?);
/// latency.observe(35.0);
/// # Ok::<(), registry_core::Invalid>(())
/// ```
pub struct Meters {
    replica: Option<Text>,
    meters: RwLock<BTreeMap<(Version, Key), Meter>>,
    since: Mutex<Option<Timestamp>>,
}

impl Meters {
    /// No meters yet. The name of this replica, if there are several, is written into the summaries.
    pub fn new(replica: Option<Text>) -> Meters {
        Meters { replica, meters: RwLock::default(), since: Mutex::new(None) }
    }

    /// The meter of a metric of a version. Keep it: looking it up costs more than counting.
    pub fn meter(&self, version: &Version, metric: &Key) -> Meter {
        let key = (version.clone(), metric.clone());
        if let Some(known) = self.meters.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        meters.entry(key).or_insert_with(Meter::new).clone()
    }

    /// What was observed since the last time, one summary for each meter that observed something. The first time,
    /// `started` is when it began.
    pub fn take(&self, started: Timestamp, now: Timestamp) -> Vec<Summary> {
        let from = {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            since.replace(now).unwrap_or(started).min(now)
        };
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner).clone();
        let summary = |((version, metric), meter): ((Version, Key), Meter)| {
            let observed = meter.take().observed();
            let is_silent = observed.count == 0 && observed.not_numbers == 0;
            (!is_silent).then(|| Summary {
                version,
                metric,
                from,
                until: now,
                replica: self.replica.clone(),
                observed,
            })
        };
        meters.into_iter().filter_map(summary).collect()
    }

    /// Forgets the meters of versions that no longer serve here. Numbers that were not taken are lost with them.
    pub fn retain(&self, is_serving: impl Fn(&Version) -> bool) {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|(version, _), _| is_serving(version));
    }
}
