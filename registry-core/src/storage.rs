//! Why this exists: this is the page for authors of backends. A backend stores commits and bytes and
//! holds no rule; what is not in these two traits cannot differ between backends.
//!
//! # The contract of [`CommitLog`]
//!
//! 1. A slot (a stream and a revision) is filled at most once, by one record, as a whole. Of any
//!    number of racing `append`s for a slot exactly one is told [`Append::Written`].
//! 2. `Written` means durable: the record survives the process and, as far as the storage promises
//!    it, the machine.
//! 3. A record that one reader has seen is seen by every later read, and its terms are found no later
//!    than that.
//! 4. [`Append::SlotTaken`] is not an error. It may also be said when the record that took the slot
//!    is this very one (a lost reply, retried below): core looks for its request id and finds out.
//! 5. [`StorageErrorKind::NotDone`] promises that the record was not written and never will be;
//!    whenever that is in doubt the answer is [`StorageErrorKind::Unknown`].
//!
//! # The contract of [`ArtifactStore`]
//!
//! 1. A blob is named by the SHA-256 of its bytes. `put` makes it readable as a whole or not at all.
//! 2. `put` of bytes that are there already sends nothing and renews their age, so that a garbage
//!    collector that runs beside it spares them.
//! 3. `read` need not verify; core verifies everything that passes through it.
//!
//! The exam (`registry_core::testing`, behind the feature `testing`) checks all of this.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream as FuturesStream;
use futures_util::StreamExt as _;

use crate::digest::Digest;
use crate::name::RequestId;
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::Timestamp;

/// A commit on its way into a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The log.
    pub stream: Stream,
    /// The slot.
    pub revision: Revision,
    /// The request that the commit fulfils.
    pub request_id: RequestId,
    /// The commit's time.
    pub time: Timestamp,
    /// What the stream must be findable by.
    pub terms: Vec<Term>,
    /// The commit, opaque to backends.
    pub body: Bytes,
}

/// A commit as it was found in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The slot.
    pub revision: Revision,
    /// The commit, exactly as it was appended.
    pub body: Bytes,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lost race is an answer that must be looked at"]
pub enum Append {
    /// The slot is filled with this record, durably.
    Written,
    /// The slot was filled before.
    SlotTaken,
}

/// The caches of folds that core keeps through a backend; never the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointKind {
    /// Small: what is asked for most, and little else. Renewed often.
    Brief,
    /// The whole state. Renewed seldom.
    Whole,
}

impl CheckpointKind {
    /// The name of the kind, for keys.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckpointKind::Brief => "brief",
            CheckpointKind::Whole => "whole",
        }
    }
}

/// What a backend implements for commits. See the [module](self) for the contract.
#[async_trait]
pub trait CommitLog: Send + Sync + 'static {
    /// Fills one empty slot, or says that it is taken. The caller never leaves a gap: the revision
    /// before it exists.
    async fn append(&self, record: &Record) -> Result<Append, StorageError>;

    /// The records of a stream from a revision on, in order, at most `limit`. Empty if there are
    /// none. Fewer than `limit` means that the end was reached.
    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError>;

    /// The streams of a kind that hold a record (with a term: one that has that term), in the order of
    /// their text forms, those after `after`, at most `limit`. Fewer than `limit` means that
    /// the end was reached.
    ///
    /// A stream is findable no later than its first record is readable, so one whose first record is on its
    /// way, or whose writer died just before it, may be among them.
    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError>;

    /// Those of these terms that the stream is not found by; none in the place of a term is the list of all streams.
    /// [`append`](CommitLog::append) lets none of a record be missing, so what is missing was taken away in the
    /// storage.
    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError>;

    /// Makes a stream that holds records findable by these terms again, whatever this process remembers to have written.
    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError>;

    /// Keeps a checkpoint, in place of the one of that kind before it.
    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError>;

    /// The checkpoint kept last, or a slightly older one, or none.
    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError>;

    /// Tuning: how many commits may lie between two brief checkpoints. Where a commit costs a request
    /// to read, a small number keeps cold reads cheap; where a hundred commits are read at once, a
    /// larger one spares writers the work. Never 0.
    fn brief_every(&self) -> u64 {
        32
    }

    /// Tuning: how many commits may lie between two whole checkpoints that **writers** keep. `None`: they
    /// keep none, and leave it to readers that had to replay much. Where a commit costs a request to
    /// read, a number here bounds the requests of a cold start however long the history is.
    fn whole_every(&self) -> Option<u64> {
        None
    }
}

#[async_trait]
impl<L: CommitLog + ?Sized> CommitLog for std::sync::Arc<L> {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        (**self).append(record).await
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        (**self).read(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        (**self).streams(kind, term, after, limit).await
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        (**self).unmarked(stream, terms).await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        (**self).mark_again(stream, terms).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        (**self).save_checkpoint(stream, kind, body).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        (**self).load_checkpoint(stream, kind).await
    }

    fn brief_every(&self) -> u64 {
        (**self).brief_every()
    }

    fn whole_every(&self) -> Option<u64> {
        (**self).whole_every()
    }
}

/// Bytes on their way. Pieces are of any size; after an error nothing follows.
pub type ByteStream = Pin<Box<dyn FuturesStream<Item = Result<Bytes, StorageError>> + Send>>;

/// Where bytes to be stored come from. It can be read more than once, since some stores must know
/// the digest before they send, and resume after an interruption.
#[async_trait]
pub trait ByteSource: Send + Sync {
    /// The number of bytes, if it is known beforehand.
    fn size(&self) -> Option<u64>;

    /// The bytes from `start` on.
    async fn open(&self, start: u64) -> Result<ByteStream, StorageError>;
}

#[async_trait]
impl ByteSource for Bytes {
    fn size(&self) -> Option<u64> {
        u64::try_from(self.len()).ok()
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        const PIECE: usize = 1024 * 1024;
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.len());
        let rest = self.slice(start..);
        Ok(Box::pin(futures_util::stream::unfold(rest, |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            let piece = rest.split_to(rest.len().min(PIECE));
            Some((Ok(piece), rest))
        })))
    }
}

/// Told, while bytes move, how many have moved so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// A blob in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

impl Blob {
    /// What was read of a source, unless that had said that it has another size: then it changed meanwhile.
    pub fn announced_by(self, source: &dyn ByteSource) -> Result<Blob, StorageError> {
        match source.size() {
            Some(announced) if announced != self.size => {
                let given = self.size;
                let message =
                    format!("the source gave {given} bytes instead of {announced}: it changed meanwhile");
                Err(StorageError::new(StorageErrorKind::SourceChanged, message))
            }
            _ => Ok(self),
        }
    }
}

/// A blob and its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// When it was last put, by the store's clock.
    pub touched: Timestamp,
}

/// What a backend implements for bytes. See the [module](self) for the contract.
#[async_trait]
pub trait ArtifactStore: Send + Sync + 'static {
    /// Stores bytes under their digest, durably.
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError>;

    /// The size of a blob, or none if it is not there.
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError>;

    /// Renews the age of a blob, as putting its bytes again would, and tells its size; none if it is
    /// not there. Core asks for it before it commits a version that names bytes put earlier, so that a
    /// garbage collector that runs beside it spares them.
    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError>;

    /// The bytes of a blob, or of a part of it. [`StorageErrorKind::Missing`] if it is not there;
    /// a range that reaches beyond the end is cut.
    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError>;

    /// The blobs in the order of their digests, those after `after`, at most `limit`. Fewer than
    /// `limit` means that the end was reached.
    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError>;

    /// Removes a blob if it was last put before `untouched_since`. Says whether it is gone.
    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError>;

    /// A URL from which whoever holds it can download a blob directly until `valid_for` is over; whether the
    /// blob is there is not looked up. `None` if the store has no such URLs. What is downloaded so does not
    /// pass through core, and is verified by nobody but the one who downloads it.
    ///
    /// The URL holds a signature: treat it as a secret.
    async fn download_url(
        &self,
        _digest: &Digest,
        _valid_for: Duration,
    ) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    /// Gives up uploads that broke off and to which nothing was added since an instant, and says how
    /// many. A store in which nothing is left behind has none.
    async fn remove_abandoned(&self, _untouched_since: Timestamp) -> Result<u64, StorageError> {
        Ok(0)
    }
}

#[async_trait]
impl<A: ArtifactStore + ?Sized> ArtifactStore for std::sync::Arc<A> {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        (**self).put(source, progress).await
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        (**self).stat(digest).await
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        (**self).renew(digest).await
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        (**self).read(digest, range).await
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        (**self).list(after, limit).await
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        (**self).remove(digest, untouched_since).await
    }

    async fn download_url(
        &self,
        digest: &Digest,
        valid_for: Duration,
    ) -> Result<Option<String>, StorageError> {
        (**self).download_url(digest, valid_for).await
    }

    async fn remove_abandoned(&self, untouched_since: Timestamp) -> Result<u64, StorageError> {
        (**self).remove_abandoned(untouched_since).await
    }
}

/// A backend could not do what it was asked.
pub struct StorageError {
    /// What sort of failure it is.
    pub kind: StorageErrorKind,
    /// What was attempted and what went wrong. Never holds a secret.
    pub message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a storage failure means for what was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// Surely not done, now or later. Trying again may help.
    NotDone,
    /// May have been done, or may yet be.
    Unknown,
    /// Refused for want of permission, or because the storage was opened read-only. Surely not done.
    PermissionDenied,
    /// What is stored is not what was written.
    Corrupt,
    /// The storage is laid out by a newer version of this library.
    NewerFormat,
    /// The blob is not there.
    Missing,
    /// What was to be stored changed while it was read. Surely not done; the storage is well.
    SourceChanged,
}

impl StorageError {
    /// A failure without a deeper cause.
    pub fn new(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        StorageError { kind, message: message.into(), source: None }
    }

    /// A failure with its cause.
    pub fn with_source(
        kind: StorageErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        StorageError { kind, message: message.into(), source: Some(source.into()) }
    }

    /// A source of bytes that is read twice gave others the second time.
    pub fn source_changed() -> Self {
        let message = "the source gave other bytes when it was read again: it changed meanwhile";
        StorageError::new(StorageErrorKind::SourceChanged, message)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl StdError for StorageError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Passes bytes on and fails at the end if they are not the ones that `blob` names. Whoever uses
/// the bytes before the end must throw away what was made of them when the error comes.
pub(crate) fn verified(blob: Blob, stream: ByteStream) -> ByteStream {
    struct Verifying {
        stream: ByteStream,
        hasher: crate::digest::Hasher,
        seen: u64,
    }
    let start = Verifying { stream, hasher: crate::digest::Hasher::new(), seen: 0 };
    Box::pin(futures_util::stream::unfold(Some(start), move |state| async move {
        let mut state = state?;
        match state.stream.next().await {
            Some(Ok(piece)) => {
                state.seen = state.seen.saturating_add(piece.len() as u64);
                state.hasher.update(&piece);
                if blob.size < state.seen {
                    return Some((Err(altered(blob, format!("has more than {} bytes", blob.size))), None));
                }
                Some((Ok(piece), Some(state)))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if state.seen < blob.size => {
                let problem = format!("has {} bytes instead of {}", state.seen, blob.size);
                Some((Err(altered(blob, problem)), None))
            }
            None => {
                let actual = state.hasher.finish();
                (actual != blob.digest)
                    .then(|| (Err(altered(blob, format!("holds bytes with digest {actual}"))), None))
            }
        }
    }))
}

fn altered(blob: Blob, problem: String) -> StorageError {
    StorageError::new(StorageErrorKind::Corrupt, format!("the blob {} {problem}", blob.digest))
}
