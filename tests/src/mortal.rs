//! A process that is killed after so many steps, as the registries that it uses see it: from then on nothing comes from
//! it any more. Unlike a real process it can be killed at every step there is, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::{
    Append, ArtifactStore, Blob, ByteSource, ByteStream, CheckpointKind, CommitLog, Progress, Record,
    StorageError, StorageErrorKind, StoredBlob, StoredRecord,
};
use registry_core::{
    Clock, Digest, Error, ModelState, Need, Receipt, Recorded, Registry, Request, Revision, Stream,
    StreamKind, Term, Timestamp,
};

/// How many pieces of a file are steps; some stores cut files into hundreds.
const PIECES_MAX: u32 = 2;

/// What a process does until it is killed: it has that many steps left.
#[derive(Debug)]
pub struct Life(AtomicU32);

impl Life {
    /// It is killed after that many steps.
    pub fn of(steps: u32) -> Arc<Life> {
        Arc::new(Life(AtomicU32::new(steps)))
    }

    fn step(&self) -> Result<(), StorageError> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| StorageError::new(StorageErrorKind::Unknown, "the process was killed"))
    }
}

/// A registry in a process that is killed. Each request is two steps, so that it dies before it was carried out or
/// after, and the first pieces of bytes are one each.
pub struct Mortal {
    inner: Arc<dyn Registry>,
    commits: MortalLog,
    artifacts: MortalArtifacts,
    life: Arc<Life>,
}

struct MortalLog {
    inner: Arc<dyn Registry>,
    life: Arc<Life>,
}

struct MortalArtifacts {
    inner: Arc<dyn Registry>,
    life: Arc<Life>,
}

impl Mortal {
    /// The registry, as a process with that life uses it.
    pub fn new(inner: &Arc<dyn Registry>, life: &Arc<Life>) -> Mortal {
        let commits = MortalLog { inner: Arc::clone(inner), life: Arc::clone(life) };
        let artifacts = MortalArtifacts { inner: Arc::clone(inner), life: Arc::clone(life) };
        Mortal { inner: Arc::clone(inner), commits, artifacts, life: Arc::clone(life) }
    }
}

#[async_trait]
impl Registry for Mortal {
    async fn execute(&self, request: Request) -> Result<Receipt, Error> {
        self.life.step()?;
        let done = self.inner.execute(request).await;
        self.life.step()?;
        done
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        self.life.step()?;
        self.inner.state(stream, need).await
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.life.step()?;
        self.inner.history(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        self.inner.streams(kind, term, after, limit).await
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        &self.artifacts
    }

    fn commits(&self) -> &dyn CommitLog {
        &self.commits
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
    }
}

#[async_trait]
impl CommitLog for MortalLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.life.step()?;
        let done = self.inner.commits().append(record).await;
        self.life.step()?;
        done
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        self.life.step()?;
        self.inner.commits().read(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        self.inner.commits().streams(kind, term, after, limit).await
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        self.inner.commits().unmarked(stream, terms).await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.inner.commits().mark_again(stream, terms).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.inner.commits().save_checkpoint(stream, kind, body).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.inner.commits().load_checkpoint(stream, kind).await
    }
}

#[async_trait]
impl ArtifactStore for MortalArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        self.life.step()?;
        let done = self.inner.artifacts().put(source, progress).await;
        self.life.step()?;
        done
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.inner.artifacts().stat(digest).await
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.life.step()?;
        self.inner.artifacts().renew(digest).await
    }

    /// Cut off in the middle when the process dies.
    async fn read(
        &self,
        digest: &Digest,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<ByteStream, StorageError> {
        let life = Arc::clone(&self.life);
        let bytes = self.inner.artifacts().read(digest, range).await?;
        let mut pieces = 0;
        Ok(Box::pin(bytes.map(move |piece| {
            pieces += 1;
            if pieces <= PIECES_MAX { life.step().and(piece) } else { piece }
        })))
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        self.inner.artifacts().list(after, limit).await
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        self.inner.artifacts().remove(digest, untouched_since).await
    }

    async fn download_url(
        &self,
        digest: &Digest,
        valid_for: Duration,
    ) -> Result<Option<String>, StorageError> {
        self.inner.artifacts().download_url(digest, valid_for).await
    }
}
