//! The exam that a storage backend must pass, and the tools to torment the engine with.
//!
//! A backend's author implements [`Candidate`] for a fixture and writes one line:
//!
//! ```text
//! registry_core::exam!(MyFixture::new());
//! ```
//!
//! which makes one named test of every case, each on fresh storage. The tests run on `tokio`, which must be
//! a development dependency with the features `macros`, `rt-multi-thread` and `time`. There are no optional
//! cases: a backend passes all of them or is not a backend.
//!
//! [`FaultyLog`] wraps any log and makes its appends fail in every way that a network can.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an exam fails by panicking"
)]

pub mod artifacts;
mod faulty;
pub mod log;
pub mod registry;

use std::sync::Arc;

use async_trait::async_trait;

use crate::digest::Digest;
use crate::engine::Engine;
use crate::mirror::{Mirror, Mirrored};
use crate::registry::Registry;
use crate::storage::{ArtifactStore, CommitLog};
use crate::stream::{Revision, Stream};
use crate::time::{Clock, SystemClock};

pub use faulty::{Fault, FaultyLog};

/// Storage under examination, fresh at the beginning of each case.
#[async_trait]
pub trait Candidate: Send + Sync {
    /// A new handle on the storage, as another process would open it. All handles share what is stored and
    /// nothing else.
    async fn open(&self) -> Handle;

    /// Flips one bit of a stored record behind the backend's back.
    async fn damage_record(&self, stream: &Stream, revision: Revision);

    /// Alters a stored blob behind the backend's back.
    async fn damage_blob(&self, digest: &Digest, damage: Damage);
}

/// What can happen to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is flipped; the length stays.
    Altered,
    /// The last byte is cut off.
    Truncated,
    /// Nothing is left of it but its name.
    Emptied,
    /// It is gone.
    Removed,
}

/// One handle on the storage.
#[derive(Clone)]
pub struct Handle {
    /// The log.
    pub log: Arc<dyn CommitLog>,
    /// The bytes.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// The system that the models are shared with, if they are.
    pub mirror: Option<Arc<dyn Mirror>>,
}

impl Handle {
    /// A registry over this handle, with an empty cache.
    pub fn registry(&self) -> Arc<dyn Registry> {
        self.registry_at(Arc::new(SystemClock))
    }

    /// The same, with another clock.
    pub fn registry_at(&self, clock: Arc<dyn Clock>) -> Arc<dyn Registry> {
        let engine = Engine::new(Arc::clone(&self.log), Arc::clone(&self.artifacts)).with_clock(clock);
        match &self.mirror {
            Some(mirror) => Arc::new(Mirrored::new(Arc::new(engine), Arc::clone(mirror))),
            None => Arc::new(engine),
        }
    }
}

/// Makes one named test of every case of the exam. See [`testing`](crate::testing).
#[macro_export]
macro_rules! exam {
    ($candidate:expr) => {
        $crate::exam_cases!($candidate, log: [
            an_empty_log_has_nothing,
            what_is_appended_is_read_back_to_the_byte,
            a_slot_is_filled_once,
            racers_for_a_slot_have_one_winner,
            reading_goes_in_pages,
            another_handle_sees_a_record_at_once,
            streams_are_listed_in_order_and_pages,
            streams_are_found_by_term,
            terms_are_found_no_later_than_the_record,
            what_a_stream_is_not_found_by_is_told_and_mended,
            kinds_of_streams_do_not_mix,
            hostile_names_round_trip_and_never_collide,
            large_records_round_trip,
            checkpoints_are_kept_and_replaced,
        ]);
        $crate::exam_cases!($candidate, artifacts: [
            bytes_come_back_as_they_went_in,
            sources_of_unknown_size_are_streamed,
            known_bytes_are_kept_once_and_renewed,
            ranges_are_cut_at_the_end,
            missing_blobs_are_told_apart,
            a_failing_source_leaves_nothing_behind,
            a_source_that_changes_is_refused,
            concurrent_puts_of_the_same_bytes_succeed,
            progress_only_grows,
            blobs_are_listed_in_order_and_pages,
            removal_spares_the_young,
        ]);
        $crate::exam_cases!($candidate, registry: [
            a_whole_life,
            gates_keep_a_version_out,
            a_trial_is_run_and_judged,
            many_writers_lose_nothing,
            racers_for_production_end_with_one,
            a_repeated_request_is_done_once,
            a_reused_request_id_is_refused,
            a_refused_approval_is_on_record,
            compare_and_set_by_revision,
            clocks_that_disagree_keep_times_in_order,
            a_reader_hours_behind_catches_up,
            a_cold_reader_agrees_with_a_warm_one,
            checkpoints_that_do_not_fit_are_ignored,
            checkpoints_that_lie_are_found_and_renewed,
            what_was_in_production_when,
            a_damaged_record_is_found_and_named,
            damaged_bytes_are_found_and_named,
            rollback_passes_over_damaged_bytes,
            garbage_is_collected_and_nothing_else,
            searches_have_one_answer,
            lineage_crosses_models,
            a_broken_rule_rolls_back_once,
            an_experiment_is_tracked_to_its_version,
            commits_are_watched_in_order,
            a_follower_sees_the_new_production_version,
        ]);
    };
}

/// See [`exam!`].
#[doc(hidden)]
#[macro_export]
macro_rules! exam_cases {
    ($candidate:expr, $group:ident: [$($case:ident,)+]) => {
        mod $group {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    let candidate = $candidate;
                    $crate::testing::$group::$case(&candidate).await;
                }
            )+
        }
    };
}
