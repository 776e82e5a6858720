//! Why this exists: bytes outlive what named them: uploads that were never registered, versions that
//! were deleted. Collecting them must never take a byte that a version needs, also not one that is
//! being registered at this moment.
//!
//! The order makes it safe. First all logs are read, and what they name is kept. Then blobs are
//! removed that nobody names **and** that were not put within the grace period. A registration puts
//! its bytes first, which renews their age, and commits after; so as long as it takes less time
//! between the two than the grace period, its bytes are too young to be removed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::digest::Digest;
use crate::error::Error;
use crate::invalid::Invalid;
use crate::registry::{Need, Registry};
use crate::storage::Blob;
use crate::stream::StreamKind;
use crate::time::Timestamp;

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageOptions {
    /// How long bytes that nobody names, and the bytes of deleted versions, are spared.
    pub grace: Duration,
    /// Only find out what would be removed.
    pub dry_run: bool,
}

impl GarbageOptions {
    /// The shortest grace period: a registration may take that long from the first byte to the commit.
    pub const GRACE_MIN: Duration = Duration::from_secs(60 * 60);
}

impl Default for GarbageOptions {
    /// Seven days.
    fn default() -> Self {
        GarbageOptions { grace: Duration::from_secs(7 * 24 * 60 * 60), dry_run: false }
    }
}

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// The blobs removed, or in a dry run those that would be.
    pub removed: Vec<Blob>,
    /// How many blobs are needed.
    pub needed: u64,
    /// How many blobs nobody names but which are too young.
    pub spared: u64,
    /// How many uploads were given up that broke off before the grace period. None in a dry run, which does
    /// not look for them.
    pub uploads: u64,
}

impl Garbage {
    /// How many bytes were freed, or would be.
    pub fn bytes(&self) -> u64 {
        self.removed.iter().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}

const PAGE: usize = 1_000;

pub(crate) async fn collect<R: Registry + ?Sized>(
    registry: &R,
    options: GarbageOptions,
) -> Result<Garbage, Error> {
    if options.grace < GarbageOptions::GRACE_MIN {
        let problem = "must be at least one hour, so that running registrations keep their bytes";
        return Err(Invalid::new("grace period", format!("{} s", options.grace.as_secs()), problem).into());
    }
    let now = registry.clock().now();
    let grace_us = i64::try_from(options.grace.as_micros()).unwrap_or(i64::MAX);
    // A grace period from before the calendar begins spares everything.
    let cutoff =
        Timestamp::from_microseconds(now.microseconds().saturating_sub(grace_us)).unwrap_or(Timestamp::EPOCH);
    let needed = needed(registry, cutoff).await?;

    let mut garbage = Garbage::default();
    let mut after: Option<Digest> = None;
    loop {
        let page = registry.artifacts().list(after.as_ref(), PAGE).await?;
        for stored in &page {
            after = Some(stored.blob.digest);
            if needed.contains(&stored.blob.digest) {
                garbage.needed += 1;
            } else if cutoff <= stored.touched
                || (!options.dry_run && !registry.artifacts().remove(&stored.blob.digest, cutoff).await?)
            {
                garbage.spared += 1;
            } else {
                garbage.removed.push(stored.blob);
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    if !options.dry_run {
        garbage.uploads = registry.artifacts().remove_abandoned(cutoff).await?;
    }
    Ok(garbage)
}

/// Everything that a version names which is not deleted, or not yet for long enough, and everything that a run names.
async fn needed<R: Registry + ?Sized>(registry: &R, cutoff: Timestamp) -> Result<BTreeSet<Digest>, Error> {
    let mut needed = BTreeSet::new();
    for kind in [StreamKind::Model, StreamKind::Experiment] {
        let mut after = None;
        loop {
            let streams = registry.streams(kind, None, after.as_ref(), PAGE).await?;
            for stream in &streams {
                let state = registry.state(stream, &Need::Whole).await?;
                for version in state.versions() {
                    if version.deleted.as_ref().is_none_or(|deleted| cutoff <= deleted.at) {
                        needed.extend(version.content.artifacts.iter().map(|artifact| artifact.digest));
                    }
                }
                needed.extend(state.run_artifacts().map(|artifact| artifact.digest));
            }
            if streams.len() < PAGE {
                break;
            }
            after = streams.last().cloned();
        }
    }
    Ok(needed)
}
