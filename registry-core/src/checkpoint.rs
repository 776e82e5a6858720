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
//! A brief checkpoint is read for every cold look and is JSON. A whole one is the same, compressed (zlib): it says
//! much more than once, and it is read and written over networks.
//!
//! A writer keeps a checkpoint of the state that it decided on, **while** it appends the next commit:
//! on a network that costs no time, and a process that runs a single command keeps one as well.
//!
//! [`CommitLog::brief_every`]: crate::storage::CommitLog::brief_every
//! [`CommitLog::whole_every`]: crate::storage::CommitLog::whole_every

use std::borrow::Cow;
use std::collections::BTreeSet;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
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

/// How much a whole checkpoint may be before it is compressed, in bytes. A longer one is not kept, and one that claims
/// to be longer is not read: a few kilobytes could expand to more than there is memory.
const EXPANDED_MAX: usize = 1 << 30;
/// The quickest way of compressing; the slower ones save a few per cent.
const COMPRESSION_LEVEL: u8 = 1;

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
    let json = serde_json::to_vec(&Out { format: FORMAT, stream, state }).ok()?;
    match kind {
        CheckpointKind::Brief => Some(json),
        CheckpointKind::Whole if EXPANDED_MAX < json.len() => None,
        CheckpointKind::Whole => Some(compress_to_vec_zlib(&json, COMPRESSION_LEVEL)),
    }
}

pub(crate) fn decode(stream: &Stream, body: &[u8]) -> Option<(ModelState, Head)> {
    #[derive(Deserialize)]
    struct In {
        format: u32,
        stream: Stream,
        state: ModelState,
    }
    let json = expanded(body, EXPANDED_MAX)?;
    let read: In = serde_json::from_slice(&json).ok()?;
    if read.format != FORMAT || read.stream != *stream {
        return None;
    }
    let head = read.state.head?;
    Some((read.state, head))
}

/// The JSON of a checkpoint, whether it is compressed or not.
fn expanded(body: &[u8], longest: usize) -> Option<Cow<'_, [u8]>> {
    match body.first() {
        Some(b'{') => Some(Cow::Borrowed(body)),
        _ => decompress_to_vec_zlib_with_limit(body, longest).ok().map(Cow::Owned),
    }
}

/// Whether a checkpoint says of the log that was folded up to the same commit what the fold says. One that is partial
/// may leave out what it likes; what it says must be so.
pub(crate) fn agrees(kept: &ModelState, folded: &ModelState) -> bool {
    if !kept.partial {
        return kept == folded;
    }
    let rest = ModelState {
        versions: kept.versions.clone(),
        spans: kept.spans.clone(),
        fulfilled: kept.fulfilled.clone(),
        runs: kept.runs.clone(),
        concluded: kept.concluded.clone(),
        partial: true,
        ..folded.clone()
    };
    *kept == rest
        && kept.versions.iter().all(|(version, state)| folded.versions.get(version) == Some(state))
        && kept.spans.iter().all(|span| folded.spans.iter().any(|other| other == span))
        && kept.fulfilled.iter().all(|(id, commit)| folded.fulfilled.get(id) == Some(commit))
        && kept.runs.iter().all(|(run, state)| folded.runs.get(run) == Some(state))
        && kept.concluded.iter().all(|(version, trial)| folded.concluded.get(version) == Some(trial))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ModelState {
        let digest = crate::digest::Digest::of(b"a commit");
        let time = crate::time::Timestamp::EPOCH;
        ModelState {
            head: Some(Head { revision: crate::stream::Revision::FIRST, digest, time }),
            ..ModelState::new()
        }
    }

    fn stream() -> Stream {
        Stream::Registry
    }

    #[test]
    fn both_kinds_are_read_as_they_were_kept() {
        for kind in [CheckpointKind::Brief, CheckpointKind::Whole] {
            let body = encode(&stream(), kind, &state()).unwrap();
            assert_eq!(decode(&stream(), &body).unwrap().0, state(), "{kind:?}");
        }
        let brief = encode(&stream(), CheckpointKind::Brief, &state()).unwrap();
        let whole = encode(&stream(), CheckpointKind::Whole, &state()).unwrap();
        assert!(brief.starts_with(b"{"), "a brief one is not expanded first");
        assert!(whole.len() < brief.len());
    }

    #[test]
    fn what_is_damaged_is_no_checkpoint() {
        let whole = encode(&stream(), CheckpointKind::Whole, &state()).unwrap();
        for end in 0..whole.len() {
            assert!(decode(&stream(), whole.get(..end).unwrap()).is_none(), "cut after {end} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            *damaged.get_mut(at).unwrap() ^= 0x10;
            assert!(decode(&stream(), &damaged).is_none_or(|(read, _)| read == state()), "byte {at}");
        }
    }

    #[test]
    fn what_expands_without_end_is_not_expanded() {
        let bomb = compress_to_vec_zlib(&vec![b' '; 1 << 20], 9);
        assert!(bomb.len() < 1 << 12);
        assert_eq!(expanded(&bomb, 1 << 20).map(|json| json.len()), Some(1 << 20));
        assert!(expanded(&bomb, (1 << 20) - 1).is_none());
    }
}
