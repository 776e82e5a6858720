//! Why this exists: folding ten thousand commits to learn which version is in production would make
//! a cold start slow. Checkpoints are folds kept aside. They are caches: whoever ignores them gets
//! the same answer, and one that does not fit the log, byte for byte, is ignored.
//!
//! There are two kinds. The **brief** one holds what is asked for most (what is in production and in
//! staging, what aliases point to, the newest version, the last few that were in production) and is
//! renewed by writers every [`BRIEF_EVERY`] commits: its size does not grow with the number of
//! versions, so neither does the cost of a cold look at production, nor of keeping it. The **whole** one is
//! kept by a reader that just had to replay more commits than the last one covered, so that
//! writers never pay for it and the work of keeping it stays in proportion to the history.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::FORMAT;
use crate::state::{Head, ModelState};
use crate::storage::CheckpointKind;
use crate::stream::Stream;
use crate::version::Version;

/// After how many commits a writer renews the brief checkpoint.
const BRIEF_EVERY: u64 = 32;
/// Up to how many versions a brief checkpoint is whole.
const BRIEF_VERSIONS_MAX: u64 = 32;
/// How many of the last spans in production a brief checkpoint holds.
const BRIEF_SPANS: usize = 4;
/// How many versions in staging, and how many aliases' versions, a brief checkpoint holds.
const BRIEF_NAMED_MAX: usize = 16;
/// How many commits must have been replayed before keeping a whole checkpoint can pay.
const WHOLE_REPLAYED_MIN: u64 = 512;

pub(crate) fn brief_is_due(checkpointed: u64, revision: u64) -> bool {
    checkpointed.saturating_add(BRIEF_EVERY) <= revision
}

pub(crate) fn whole_is_due(state: &ModelState, replayed: u64) -> bool {
    let total = state.revision().map_or(0, |revision| revision.get());
    !state.partial && WHOLE_REPLAYED_MIN <= replayed && total / 2 <= replayed
}

pub(crate) fn encode(stream: &Stream, kind: CheckpointKind, state: &ModelState) -> Option<Vec<u8>> {
    #[derive(Serialize)]
    struct Out<'a> {
        format: u32,
        stream: &'a Stream,
        state: &'a ModelState,
    }
    let shortened;
    let state = match kind {
        CheckpointKind::Brief if !state.partial && BRIEF_VERSIONS_MAX < state.version_count => {
            shortened = brief(state);
            &shortened
        }
        _ => state,
    };
    serde_json::to_vec(&Out { format: FORMAT, stream, state }).ok()
}

pub(crate) fn decode(stream: &Stream, body: &[u8]) -> Option<(ModelState, Head)> {
    #[derive(Deserialize)]
    struct In {
        format: u32,
        stream: Stream,
        state: ModelState,
    }
    let read: In = serde_json::from_slice(body).ok()?;
    if read.format != FORMAT || read.stream != *stream {
        return None;
    }
    let head = read.state.head?;
    Some((read.state, head))
}

/// What is asked for most.
fn brief(state: &ModelState) -> ModelState {
    let spans = state.production_spans().rev().take(BRIEF_SPANS);
    let kept: BTreeSet<&Version> = spans
        .map(|span| &span.version)
        .chain(&state.production)
        .chain(&state.newest)
        .chain(state.staging().take(BRIEF_NAMED_MAX))
        .chain(state.aliases.values().take(BRIEF_NAMED_MAX))
        .collect();
    ModelState {
        versions: kept
            .into_iter()
            .filter_map(|version| state.version(version))
            .map(|found| (found.version.clone(), std::sync::Arc::clone(found)))
            .collect(),
        spans: Default::default(),
        fulfilled: Default::default(),
        partial: true,
        ..state.clone()
    }
}
