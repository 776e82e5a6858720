//! Why this exists: a registry that lives in memory and keeps the whole contract is the reference that
//! other backends are compared with, and what users' own tests run against.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::digest::Digest;
use crate::engine::Engine;
use crate::storage::{
    Append, ArtifactStore, Blob, ByteSource, ByteStream, CheckpointKind, CommitLog, Progress, Record,
    StorageError, StorageErrorKind, StoredBlob, StoredRecord,
};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::{Clock, SystemClock, Timestamp};

/// A registry in memory, gone when it is dropped.
pub fn in_memory() -> Engine<MemoryLog, MemoryArtifacts> {
    Engine::new(Arc::new(MemoryLog::default()), Arc::new(MemoryArtifacts::default()))
}

/// Commits in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    inner: Mutex<LogInner>,
}

#[derive(Debug, Default)]
struct LogInner {
    records: BTreeMap<(String, Revision), Bytes>,
    streams: BTreeMap<String, Stream>,
    terms: BTreeMap<(String, String), Stream>,
    checkpoints: BTreeMap<(String, &'static str), Bytes>,
}

impl MemoryLog {
    /// Replaces a stored record by other bytes, as failing storage would. For tests of what readers
    /// make of it.
    pub fn damage(&self, stream: &Stream, revision: Revision, body: Bytes) {
        locked(&self.inner).records.insert((stream.to_string(), revision), body);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl CommitLog for MemoryLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        let mut inner = locked(&self.inner);
        let name = record.stream.to_string();
        let slot = (name.clone(), record.revision);
        if inner.records.contains_key(&slot) {
            return Ok(Append::SlotTaken);
        }
        for term in &record.terms {
            inner.terms.insert((term.to_string(), name.clone()), record.stream.clone());
        }
        inner.streams.insert(name, record.stream.clone());
        inner.records.insert(slot, record.body.clone());
        Ok(Append::Written)
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let name = stream.to_string();
        let inner = locked(&self.inner);
        let records = inner.records.range((name.clone(), from)..);
        Ok(records
            .take_while(|((stream, _), _)| *stream == name)
            .take(limit)
            .map(|((_, revision), body)| StoredRecord { revision: *revision, body: body.clone() })
            .collect())
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        let inner = locked(&self.inner);
        let after = after.map(Stream::to_string).unwrap_or_default();
        let wanted = |stream: &&Stream| stream.kind() == kind && after < stream.to_string();
        Ok(match term {
            None => inner.streams.values().filter(wanted).take(limit).cloned().collect(),
            Some(term) => inner
                .terms
                .range((term.to_string(), after.clone())..)
                .take_while(|((found, _), _)| *found == term.as_str())
                .map(|(_, stream)| stream)
                .filter(wanted)
                .take(limit)
                .cloned()
                .collect(),
        })
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        mut terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        let inner = locked(&self.inner);
        let name = stream.to_string();
        terms.retain(|term| match term {
            None => !inner.streams.contains_key(&name),
            Some(term) => !inner.terms.contains_key(&(term.to_string(), name.clone())),
        });
        Ok(terms)
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        let mut inner = locked(&self.inner);
        let name = stream.to_string();
        for term in terms {
            match term {
                None => drop(inner.streams.insert(name.clone(), stream.clone())),
                Some(term) => drop(inner.terms.insert((term.to_string(), name.clone()), stream.clone())),
            }
        }
        Ok(())
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        locked(&self.inner).checkpoints.insert((stream.to_string(), kind.as_str()), body);
        Ok(())
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        Ok(locked(&self.inner).checkpoints.get(&(stream.to_string(), kind.as_str())).cloned())
    }
}

/// Blobs in memory.
#[derive(Debug)]
pub struct MemoryArtifacts {
    blobs: Mutex<BTreeMap<Digest, (Bytes, Timestamp)>>,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryArtifacts {
    fn default() -> Self {
        MemoryArtifacts::with_clock(Arc::new(SystemClock))
    }
}

impl MemoryArtifacts {
    /// A store that dates its blobs by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        MemoryArtifacts { blobs: Mutex::default(), clock }
    }

    /// Replaces the bytes kept under a digest by others, as failing storage would. For tests of what
    /// readers make of it; `None` makes the blob vanish.
    pub fn damage(&self, digest: &Digest, bytes: Option<Bytes>) {
        let mut blobs = locked(&self.blobs);
        match bytes {
            Some(bytes) => {
                blobs.insert(*digest, (bytes, self.clock.now()));
            }
            None => {
                blobs.remove(digest);
            }
        }
    }
}

#[async_trait]
impl ArtifactStore for MemoryArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        let mut stream = source.open(0).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece?);
            progress(whole.len() as u64);
        }
        let whole = whole.freeze();
        let blob = Blob { digest: Digest::of(&whole), size: whole.len() as u64 }.announced_by(source)?;
        locked(&self.blobs).insert(blob.digest, (whole, self.clock.now()));
        Ok(blob)
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        Ok(locked(&self.blobs).get(digest).map(|(bytes, _)| bytes.len() as u64))
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        Ok(locked(&self.blobs).get_mut(digest).map(|(bytes, touched)| {
            *touched = self.clock.now();
            bytes.len() as u64
        }))
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let Some((bytes, _)) = locked(&self.blobs).get(digest).cloned() else {
            return Err(StorageError::new(
                StorageErrorKind::Missing,
                format!("the blob {digest} is missing"),
            ));
        };
        let Some(range) = range else { return bytes.open(0).await };
        let cut = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (cut(range.start), cut(range.end));
        bytes.slice(start..end.max(start)).open(0).await
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        let blobs = locked(&self.blobs);
        Ok(blobs
            .iter()
            .filter(|(digest, _)| after.is_none_or(|after| after < *digest))
            .take(limit)
            .map(|(digest, (bytes, touched))| StoredBlob {
                blob: Blob { digest: *digest, size: bytes.len() as u64 },
                touched: *touched,
            })
            .collect())
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        let mut blobs = locked(&self.blobs);
        match blobs.get(digest) {
            Some((_, touched)) if *touched < untouched_since => Ok(blobs.remove(digest).is_some()),
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }
}
