//! Why this exists: a log of commits on a store that knows nothing but objects.
//!
//! A commit is one object whose key is its slot, created **only if it is absent**. That one operation is
//! all the agreement between writers that there is: no lock, no lease, no list to update, so nothing
//! that a writer who dies half-way could leave locked. The obvious alternative, one manifest that is
//! replaced by compare-and-set, makes every writer of every model wait for every other, and is not
//! offered by every store.
//!
//! # An append
//!
//! ```text
//! markers not known to be there ──┐ at once, all may be written twice
//! name of a new stream ───────────┤
//!                                 ▼
//! PUT …/log/00000000000000000042.json if absent      once, never retried here
//! ```
//!
//! Markers come first, so whoever reads a record finds its stream by its terms. A writer that dies
//! between the two leaves a marker too many: a term then finds a stream that has it not, which core
//! checks anyway; a name then lists a stream without a commit.
//!
//! # A read
//!
//! The slot asked for is fetched first. Mostly it is empty, for nothing has happened since, and that
//! one small request was all. If it is there, the slots after it are **listed**, not guessed: only a list
//! tells a gap (somebody removed an object) from the end.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use registry_core::storage::{
    Append, CheckpointKind, CommitLog, Record, StorageError, StorageErrorKind, StoredRecord,
};
use registry_core::{Revision, Stream, StreamKind, Term};

use crate::bucket::Bucket;
use crate::key::{self, Decoded};

/// How many requests are under way at once for one operation.
pub(crate) const AT_ONCE: usize = 16;

/// How many markers are remembered as written. Forgetting costs a request, not more.
const MARKERS_KNOWN_MAX: usize = 100_000;

/// Commits as objects in a bucket.
#[derive(Debug)]
pub struct BucketLog {
    bucket: Bucket,
    /// The markers that this process has written.
    known: Mutex<HashSet<Path>>,
}

impl BucketLog {
    pub(crate) fn new(bucket: Bucket) -> Self {
        BucketLog { bucket, known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Path>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the record's stream findable, before the record is there.
    async fn mark(&self, record: &Record) -> Result<(), StorageError> {
        let name = (record.revision == Revision::FIRST).then_some(None);
        let mut missing: Vec<Path> = name
            .into_iter()
            .chain(record.terms.iter().map(Some))
            .map(|term| self.bucket.keys.marker_of(&record.stream, term))
            .collect();
        {
            let known = self.known();
            missing.retain(|marker| !known.contains(marker));
        }
        self.put_markers(&record.stream, missing).await
    }

    async fn put_markers(&self, stream: &Stream, missing: Vec<Path>) -> Result<(), StorageError> {
        if missing.is_empty() {
            return Ok(());
        }
        let body = Bytes::from(stream.to_string());
        let writing = missing.clone().into_iter().map(|marker| {
            let body = body.clone();
            async move { self.bucket.put(&marker, body).await }
        });
        futures_util::stream::iter(writing).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let mut known = self.known();
        if MARKERS_KNOWN_MAX < known.len() {
            known.clear();
        }
        known.extend(missing);
        Ok(())
    }

    async fn record(
        &self,
        stream: &Stream,
        revision: Revision,
    ) -> Result<Option<StoredRecord>, StorageError> {
        let body = self.bucket.get(&self.bucket.keys.slot(stream, revision)).await?;
        Ok(body.map(|body| StoredRecord { revision, body }))
    }

    /// The stream that a marker is for; none if the object is not a marker.
    async fn marked(&self, kind: StreamKind, marker: &Path) -> Result<Option<Stream>, StorageError> {
        match marker.filename().and_then(key::decode) {
            Some(Decoded::Name(name)) => Ok(key::stream_of(kind, &name)),
            Some(Decoded::Cut) => {
                let body = self.bucket.get(marker).await?;
                let stream: Option<Stream> = body
                    .and_then(|body| String::from_utf8(body.into()).ok())
                    .and_then(|text| text.parse().ok());
                Ok(stream.filter(|stream| {
                    stream.kind() == kind
                        && marker.filename() == Some(key::encode(key::name_of(stream)).as_str())
                }))
            }
            None => Ok(None),
        }
    }
}

/// The bytes of a marker's segment that surely sort as its name does.
fn sure(marker: &Path) -> &str {
    let segment = marker.filename().unwrap_or_default();
    segment.get(..key::SURE).unwrap_or(segment)
}

#[async_trait]
impl CommitLog for BucketLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.bucket.check_writable()?;
        self.mark(record).await?;
        let slot = self.bucket.keys.slot(&record.stream, record.revision);
        match self.bucket.create(&slot, record.body.clone()).await {
            Ok(true) => Ok(Append::Written),
            Ok(false) => Ok(Append::SlotTaken),
            Err(error) => Err(self.bucket.append_failed(&slot, &error)),
        }
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Some(first) = self.record(stream, from).await? else { return Ok(Vec::new()) };
        if limit == 1 {
            return Ok(vec![first]);
        }
        let mut later: Vec<Revision> = Vec::new();
        let after = self.bucket.keys.slot(stream, from);
        self.bucket
            .list(&self.bucket.keys.log(stream), Some(&after), |meta| {
                later.extend(key::revision_of(&meta.location));
                later.len() < limit - 1
            })
            .await?;
        let mut records = vec![first];
        // A slot that was listed and is gone shows up as a gap, which core reports.
        let fetched = futures_util::stream::iter(later)
            .map(|revision| self.record(stream, revision))
            .buffered(AT_ONCE)
            .try_filter_map(|record| std::future::ready(Ok(record)));
        records.extend(fetched.try_collect::<Vec<_>>().await?);
        Ok(records)
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        // Text forms of different kinds differ in their first letters.
        let after = match after {
            Some(after) if after.kind() == kind => Some(after),
            Some(after) if kind.as_str() < after.kind().as_str() => return Ok(Vec::new()),
            _ => None,
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let folder = self.bucket.keys.markers(kind, term);
        // Names that were cut are in order only among their first bytes, so those that share them are
        // taken together and sorted by their true names.
        let offset = after.map(|after| {
            let segment = key::encode(key::name_of(after));
            key::child(&folder, segment.get(..key::SURE).unwrap_or(&segment))
        });
        let mut markers: Vec<Path> = Vec::new();
        let beyond = |stream: &Stream| after.is_none_or(|after| after.to_string() < stream.to_string());
        let mut candidates = 0_usize;
        self.bucket
            .list(&folder, offset.as_ref(), |meta| {
                let group_ends = markers.last().is_none_or(|last| sure(last) != sure(&meta.location));
                // One more than the limit, since the cursor itself may be among them.
                if group_ends && limit.saturating_add(1) < candidates {
                    return false;
                }
                candidates += usize::from(meta.location.filename().and_then(key::decode).is_some());
                markers.push(meta.location);
                true
            })
            .await?;
        let reading = markers.into_iter().map(|marker| async move { self.marked(kind, &marker).await });
        let read: Vec<Option<Stream>> =
            futures_util::stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        let mut found: Vec<Stream> = read.into_iter().flatten().filter(beyond).collect();
        found.sort_by_cached_key(Stream::to_string);
        found.truncate(limit);
        Ok(found)
    }

    /// A request for each.
    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        let looking = terms.into_iter().map(|term| async move {
            let marker = self.bucket.keys.marker_of(stream, term.as_ref());
            let body = self.bucket.get(&marker).await?;
            // Whose a marker is, its name says; if that was cut, its body does.
            let is_cut = marker.filename().and_then(key::decode) == Some(Decoded::Cut);
            let finds = body.is_some_and(|body| !is_cut || body == stream.to_string().as_bytes());
            Ok::<_, StorageError>((!finds).then_some(term))
        });
        let looked = futures_util::stream::iter(looking).buffered(AT_ONCE);
        looked.try_filter_map(|missing| std::future::ready(Ok(missing))).try_collect().await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.bucket.check_writable()?;
        let markers = terms.iter().map(|term| self.bucket.keys.marker_of(stream, term.as_ref()));
        self.put_markers(stream, markers.collect()).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.bucket.check_writable()?;
        let key = self.bucket.keys.checkpoint(stream, kind);
        // A cache, and commits wait for it: not worth a retry.
        let put = self.bucket.once.put_opts(&key, body.into(), object_store::PutOptions::default()).await;
        put.map(drop).map_err(|error| self.bucket.failed("writing", &key, &error))
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.bucket.get(&self.bucket.keys.checkpoint(stream, kind)).await
    }

    /// Two: a cold look at production then costs at most five requests: the checkpoint, the commit that it
    /// was made at, a list, and two commits since.
    fn brief_every(&self) -> u64 {
        2
    }

    /// Each commit since the checkpoint costs a cold start one request, sixteen at a time.
    fn whole_every(&self) -> Option<u64> {
        Some(128)
    }
}

/// For errors that no store can cause.
pub(crate) fn not_done(message: impl Into<String>) -> StorageError {
    StorageError::new(StorageErrorKind::NotDone, message)
}
