//! Why this exists: folding ten thousand commits to learn which version is in production would make
//! a cold start slow. Checkpoints are folds kept aside. They are caches: whoever ignores them gets
//! the same answer, and one that does not fit the log, byte for byte, is ignored.
//!
//! There are two kinds. The **brief** one holds what is asked for most (what is in production and in
//! staging, what aliases point to, the trials that run, the newest version, the last few that were in production) and is
//! renewed by writers every [`CommitLog::brief_every`] commits: its size does not grow with the number of
//! versions and commits, so neither does the cost of a cold look at production, nor of keeping it. The **whole** one is
//! kept by a reader that just had to replay more commits than the last one covered, so that
//! writers need not pay for it and the work of keeping it stays in proportion to the history; only where
//! each commit costs a request to read do writers keep it too, every [`CommitLog::whole_every`] commits.
//!
//! A writer keeps a checkpoint of the state that it decided on, **while** it appends the next commit:
//! on a network that costs no time, and a process that runs a single command keeps one as well.
//!
//! [`CommitLog::brief_every`]: crate::storage::CommitLog::brief_every
//! [`CommitLog::whole_every`]: crate::storage::CommitLog::whole_every

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::FORMAT;
use crate::state::{Head, ModelState};
use crate::storage::CheckpointKind;
use crate::stream::Stream;
use crate::version::Version;

/// Up to how many versions a brief checkpoint is whole.
const BRIEF_VERSIONS_MAX: u64 = 32;
/// Up to how many commits it is: a whole state knows the ids of all requests that were fulfilled.
const BRIEF_COMMITS_MAX: u64 = 256;
/// How many of the last spans in production a brief checkpoint holds.
const BRIEF_SPANS: usize = 4;
/// How many versions in staging, and how many aliases' versions, a brief checkpoint holds.
const BRIEF_NAMED_MAX: usize = 16;
/// How many commits must have been replayed before keeping a whole checkpoint can pay.
const WHOLE_REPLAYED_MIN: u64 = 512;

/// Whether a writer that knows of a checkpoint at one revision should keep another.
pub(crate) fn is_due(checkpointed: u64, revision: u64, every: u64) -> bool {
    checkpointed.saturating_add(every.max(1)) <= revision
}

/// Whether anybody asks for less than the whole of a stream. Of an experiment nobody does.
pub(crate) fn brief_is_read(stream: &Stream) -> bool {
    stream.experiment().is_none()
}

/// Whether a reader that had to replay that many commits should spare the next one the work.
pub(crate) fn whole_pays(state: &ModelState, replayed: u64, every: Option<u64>) -> bool {
    let total = state.revision().map_or(0, |revision| revision.get());
    let enough = match every {
        Some(every) => every.max(1) <= replayed,
        None => WHOLE_REPLAYED_MIN <= replayed && total / 2 <= replayed,
    };
    !state.partial && enough
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
        CheckpointKind::Brief if !state.partial && is_long(state) => {
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

fn is_long(state: &ModelState) -> bool {
    let commits = state.revision().map_or(0, |revision| revision.get());
    BRIEF_VERSIONS_MAX < state.version_count || BRIEF_COMMITS_MAX < commits
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
        runs: Default::default(),
        concluded: Default::default(),
        partial: true,
        ..state.clone()
    }
}
