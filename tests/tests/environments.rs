//! Versions that are taken from one registry to another, between all kinds of storage, by a process that is killed at
//! every point there is: after one more call everything is as if nothing had happened.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, CommitLog, Progress, StorageError, StorageErrorKind,
    StoredBlob,
};
use registry_core::{
    By, Clock, Content, Digest, Error, Event, ModelName, ModelState, Need, PromoteToOptions, Receipt,
    Recorded, Registration, Registry, RegistryExt as _, Request, Revision, Stage, Stream, StreamKind, Term,
    Timestamp, Upload, VerifyOptions, Version,
};

/// The size of the larger file: more than one piece in every store.
const LARGE: u32 = 1_100_000;
/// How many pieces of a file are steps; some stores cut files into hundreds.
const PIECES_MAX: u32 = 2;

const BACKENDS: [&str; 3] = ["memory", "sqlite", "folder"];

async fn open(backend: &str, folder: &Path, name: &str) -> Arc<dyn Registry> {
    let place = folder.join(name);
    match backend {
        "memory" => Arc::new(registry_core::in_memory()),
        "sqlite" => registry_tests::open(&format!("sqlite:{}", place.display())).await.unwrap(),
        _ => registry_tests::open(&format!("file://{}", place.display())).await.unwrap(),
    }
}

fn by() -> By {
    By::new("ada".parse().unwrap())
}

fn model() -> ModelName {
    "fraud".parse().unwrap()
}

fn version() -> Version {
    Version::new(1, 0, 0)
}

fn options() -> PromoteToOptions {
    let options = PromoteToOptions::new("dev".parse().unwrap(), "staging".parse().unwrap());
    PromoteToOptions { stage: Stage::Staging, ..options }
}

/// Two files with the same bytes, of a few pieces, and one of its own.
async fn filled(registry: &dyn Registry) {
    let large: Bytes = (0..LARGE).map(|number| number.to_le_bytes()[1]).collect();
    let small = Bytes::from_static(b"words");
    let upload = |path: &str, source| Upload { path: path.parse().unwrap(), source };
    let uploads = [upload("model.bin", &large), upload("same.bin", &large), upload("words.txt", &small)];
    let registration = Registration::new(version(), Content::default());
    registry.register(&by(), &model(), registration, &uploads).await.unwrap();
}

async fn take(source: &dyn Registry, target: &dyn Registry) -> Result<(), Error> {
    source.promote_to(&by(), &model(), &version(), target, &options()).await.map(|_| ())
}

/// What must be equal in the end: what happened, in which commits, and what is stored.
#[derive(Debug, PartialEq)]
struct End {
    commits: Vec<Vec<&'static str>>,
    digest: Digest,
    stage: Stage,
    copies: usize,
    blobs: Vec<Blob>,
}

async fn end_of(registry: &dyn Registry, context: &str) -> End {
    let options = VerifyOptions { bytes: true, against: None };
    let found = registry.verify(&model(), options).await.unwrap();
    assert!(found.is_sound() && found.files == 3, "{context}: {:?}", found.problems);
    let log = registry.log(&model(), Revision::FIRST, 1_000).await.unwrap();
    let state = registry.model(&model()).await.unwrap();
    let found = state.version(&version()).unwrap();
    let blobs = registry.artifacts().list(None, 1_000).await.unwrap();
    End {
        commits: log
            .iter()
            .map(|recorded| recorded.commit.events.iter().map(Event::kind).collect())
            .collect(),
        digest: found.digest,
        stage: found.stage,
        copies: found.copies.len(),
        blobs: blobs.into_iter().map(|stored| stored.blob).collect(),
    }
}

/// What a process does until it is killed: it has that many steps left.
#[derive(Debug)]
struct Life(AtomicU32);

impl Life {
    fn of(steps: u32) -> Arc<Life> {
        Arc::new(Life(AtomicU32::new(steps)))
    }

    fn step(&self) -> Result<(), StorageError> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| StorageError::new(StorageErrorKind::Unknown, "the process was killed"))
    }
}

/// A registry in a process that is killed. Each request is two steps, so that it dies before it was carried out or
/// after, and the first pieces of bytes are one each.
struct Mortal {
    inner: Arc<dyn Registry>,
    artifacts: MortalArtifacts,
    life: Arc<Life>,
}

struct MortalArtifacts {
    inner: Arc<dyn Registry>,
    life: Arc<Life>,
}

impl Mortal {
    fn new(inner: &Arc<dyn Registry>, life: &Arc<Life>) -> Mortal {
        let artifacts = MortalArtifacts { inner: Arc::clone(inner), life: Arc::clone(life) };
        Mortal { inner: Arc::clone(inner), artifacts, life: Arc::clone(life) }
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
        self.inner.commits()
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
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

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_memory() {
    killed_at_any_point("memory").await;
}

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_sqlite() {
    killed_at_any_point("sqlite").await;
}

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_a_folder() {
    killed_at_any_point("folder").await;
}

async fn killed_at_any_point(source: &str) {
    const STEPS_MAX: u32 = 100;
    for target in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let here = open(source, folder.path(), "undisturbed-dev").await;
        let there = open(target, folder.path(), "undisturbed-staging").await;
        filled(here.as_ref()).await;
        take(here.as_ref(), there.as_ref()).await.unwrap();
        let undisturbed = "undisturbed";
        let ends = (end_of(here.as_ref(), undisturbed).await, end_of(there.as_ref(), undisturbed).await);
        assert_eq!(ends.0.commits, [vec!["version_registered"], vec!["copied"]]);
        assert_eq!(ends.1.commits, [["version_registered", "stage_changed"]]);
        assert_eq!((ends.0.digest, ends.1.blobs.len()), (ends.1.digest, 2));
        assert_eq!(ends.0.blobs, ends.1.blobs);

        let mut killed = 0;
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "it takes no end of steps");
            let context = format!("from {source} to {target}, killed after {steps} steps");
            let here = open(source, folder.path(), &format!("dev-{steps}")).await;
            let there = open(target, folder.path(), &format!("staging-{steps}")).await;
            filled(here.as_ref()).await;
            let life = Life::of(steps);
            let done = take(&Mortal::new(&here, &life), &Mortal::new(&there, &life)).await;
            let last = done.is_ok();
            killed += u32::from(!last);
            take(here.as_ref(), there.as_ref()).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = (end_of(here.as_ref(), &context).await, end_of(there.as_ref(), &context).await);
            assert_eq!(found, ends, "{context}");
            if last {
                break;
            }
        }
        assert!(10 < killed, "from {source} to {target} it was killed only {killed} times");
    }
}

/// A file that was altered in the folder of the source does not get any further.
#[tokio::test]
async fn bytes_that_were_altered_on_disk_are_refused_by_every_kind_of_storage() {
    for source in ["sqlite", "folder"] {
        for target in BACKENDS {
            let folder = tempfile::tempdir().unwrap();
            let here = open(source, folder.path(), "dev").await;
            let there = open(target, folder.path(), "staging").await;
            filled(here.as_ref()).await;
            alter(&folder.path().join("dev"), LARGE.into());
            let refused = take(here.as_ref(), there.as_ref()).await.unwrap_err();
            assert!(matches!(refused, Error::CorruptBytes(_)), "from {source} to {target}: {refused:?}");
            assert!(there.log(&model(), Revision::FIRST, 1).await.unwrap().is_empty());
            assert!(there.artifacts().list(None, 10).await.unwrap().is_empty(), "from {source} to {target}");
        }
    }
}

/// Exchanges a byte of the file that has this size.
fn alter(folder: &Path, size: u64) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            alter(&path, size);
        } else if path.metadata().unwrap().len() == size {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.last_mut().map(|byte| *byte ^= 1).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }
}
