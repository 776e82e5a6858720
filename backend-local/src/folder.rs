//! Why this exists: bytes in a folder, each file named by its SHA-256, so that known bytes are kept once
//! and a file that was altered gives itself away.
//!
//! A file comes in under a temporary name in `incoming/`, is made durable, and is then renamed to its
//! place: it is there as a whole or not at all. Large files are hashed and written by two threads while
//! the source is still being read, so that an import runs near the slowest of the three and not near
//! their sum; at most a few pieces are in memory.
//!
//! # Removing beside writing
//!
//! `remove` first renames the file away, and only then looks at its age; `put` of known bytes first
//! renews the age, and then looks whether the file is still in its place. Whoever comes second sees
//! what the first one did, so bytes that were just put are never lost to a collector.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, Progress, StorageError, StorageErrorKind, StoredBlob,
};
use registry_core::{Clock, Digest, Hasher, IdSource as _, SystemClock, SystemIds, Timestamp};

/// What the names of files begin with that are being removed.
const REMOVING: &str = "removing-";
/// How many pieces may wait for being hashed or written.
const PIECES_AHEAD: usize = 4;
/// Files up to this size are handled in place, without threads.
const SMALL_MAX: u64 = 1024 * 1024;

/// Bytes in a content-addressed folder.
#[derive(Debug, Clone)]
pub struct FolderArtifacts {
    root: PathBuf,
    read_only: bool,
    clock: Arc<dyn Clock>,
}

impl FolderArtifacts {
    /// Bytes below `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>, read_only: bool) -> Self {
        FolderArtifacts { root: root.into(), read_only, clock: Arc::new(SystemClock) }
    }

    /// The same, with another clock to date blobs by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Where a blob lies. The digest is hexadecimal by type, so the path stays below the root.
    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let (folder, file) = hex.split_at(2);
        self.root.join("sha256").join(folder).join(file)
    }

    fn check_writable(&self) -> Result<(), StorageError> {
        if self.read_only {
            let message = "the registry was opened read-only";
            return Err(StorageError::new(StorageErrorKind::PermissionDenied, message));
        }
        Ok(())
    }

    /// A new file in `incoming/` that is removed again unless it is moved away.
    fn new_incoming(&self) -> Result<Incoming, StorageError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = self.incoming();
        fs::create_dir_all(&folder).map_err(|error| failed("making", &folder, error))?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{count}-{:032x}", std::process::id(), SystemIds.next_id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| failed("making", &path, error))?;
        Ok(Incoming { path, file: Some(file) })
    }

    /// Moves a finished file to its place, durably, unless the bytes are there already.
    fn settle(&self, mut incoming: Incoming, blob: Blob) -> Result<(), StorageError> {
        let target = self.path(&blob.digest);
        if self.renew_file(&target, blob.size)? {
            return Ok(());
        }
        let Some(file) = incoming.file.take() else { return Ok(()) };
        file.sync_all().map_err(|error| failed("writing", &incoming.path, error))?;
        make_read_only(&file);
        drop(file);
        let folder = target.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(|error| failed("making", folder, error))?;
            for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
                sync_folder(above)?;
            }
        }
        fs::rename(&incoming.path, &target).map_err(|error| failed("writing", &target, error))?;
        sync_folder(folder)
    }

    /// Renews the age of a blob that is there with the right size. Says whether it is.
    fn renew_file(&self, target: &Path, size: u64) -> Result<bool, StorageError> {
        let file = match File::open(target) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("reading", target, error)),
        };
        let found = file.metadata().map_err(|error| failed("reading", target, error))?;
        if found.len() != size {
            return Ok(false); // Damaged: replace it.
        }
        let since = u64::try_from(self.clock.now().microseconds()).unwrap_or(0);
        file.set_modified(UNIX_EPOCH + Duration::from_micros(since))
            .map_err(|error| failed("renewing", target, error))?;
        Ok(target.exists())
    }

    /// Puts in order what a process left behind that was killed: a file that was being removed goes back
    /// to its place (the next collection decides anew), and what was on its way in for more than a day
    /// is thrown away.
    pub(crate) fn recover(&self) -> Result<(), StorageError> {
        let folder = self.incoming();
        let day_ago = self.clock.now().microseconds().saturating_sub(24 * 60 * 60 * 1_000_000);
        for name in names(&folder)? {
            let path = folder.join(&name);
            let removing = name.strip_prefix(REMOVING).and_then(|hex| format!("sha256:{hex}").parse().ok());
            if let Some(digest) = removing {
                let target = self.path(&digest);
                if !target.exists() {
                    // Another process may be faster, or still at it; either way the file is not lost.
                    let _ = fs::rename(&path, &target);
                }
            } else if self
                .stored(&path, Digest::of(b""))
                .is_some_and(|old| old.touched.microseconds() < day_ago)
            {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    fn stored(&self, path: &Path, digest: Digest) -> Option<StoredBlob> {
        let found = fs::metadata(path).ok()?;
        let since = found.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let touched = Timestamp::from_microseconds(i64::try_from(since.as_micros()).ok()?).ok()?;
        Some(StoredBlob { blob: Blob { digest, size: found.len() }, touched })
    }
}

/// A file on its way in.
struct Incoming {
    path: PathBuf,
    file: Option<File>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing at the path any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn make_read_only(file: &File) {
    // A guard against accidents, not a promise; where it cannot be had the digest still tells.
    if cfg!(unix)
        && let Ok(found) = file.metadata()
    {
        let mut permissions = found.permissions();
        permissions.set_readonly(true);
        let _ = file.set_permissions(permissions);
    }
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    if cfg!(unix) {
        let handle = File::open(folder).map_err(|error| failed("reading", folder, error))?;
        handle.sync_all().map_err(|error| failed("writing", folder, error))?;
    }
    Ok(())
}

fn failed(doing: &str, path: &Path, error: io::Error) -> StorageError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageErrorKind::PermissionDenied
        }
        _ => StorageErrorKind::NotDone,
    };
    StorageError::with_source(kind, format!("{doing} {} failed", path.display()), error)
}

fn missing(digest: &Digest) -> StorageError {
    StorageError::new(StorageErrorKind::Missing, format!("the blob {digest} is missing"))
}

fn stopped() -> StorageError {
    StorageError::new(StorageErrorKind::NotDone, "a thread that handles a file has stopped")
}

/// A thread that is fed pieces and gives a result when they end.
struct Worker<T> {
    pieces: async_channel::Sender<Bytes>,
    result: async_channel::Receiver<T>,
}

impl<T: Send + 'static> Worker<T> {
    fn start(
        name: &str,
        work: impl FnOnce(&async_channel::Receiver<Bytes>) -> T + Send + 'static,
    ) -> Result<Self, StorageError> {
        let (pieces, queue) = async_channel::bounded(PIECES_AHEAD);
        let (done, result) = async_channel::bounded(1);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = work(&queue);
                // Whoever feeds a queue that nobody reads must be told so, not kept waiting.
                queue.close();
                let _ = done.try_send(result);
            })
            .map_err(|error| {
                StorageError::with_source(StorageErrorKind::NotDone, "a thread cannot be started", error)
            })?;
        Ok(Worker { pieces, result })
    }

    /// Whether the piece was taken; if not, the result says why.
    async fn feed(&self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    async fn finish(self) -> Result<T, StorageError> {
        drop(self.pieces);
        self.result.recv().await.map_err(|_| stopped())
    }
}

async fn put_large(
    mut file: File,
    path: PathBuf,
    mut stream: ByteStream,
    progress: Progress<'_>,
) -> Result<(Blob, File), StorageError> {
    let hash = Worker::start("registry-hash", |pieces| {
        let mut hasher = Hasher::new();
        while let Ok(piece) = pieces.recv_blocking() {
            hasher.update(&piece);
        }
        hasher.finish()
    })?;
    let write = Worker::start("registry-write", move |pieces| {
        while let Ok(piece) = pieces.recv_blocking() {
            file.write_all(&piece).map_err(|error| failed("writing", &path, error))?;
        }
        // Here, beside the rest of the hashing, and not after it.
        file.sync_all().map_err(|error| failed("writing", &path, error))?;
        Ok(file)
    })?;
    let mut size = 0_u64;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        size = size.saturating_add(piece.len() as u64);
        if !write.feed(piece.clone()).await || !hash.feed(piece).await {
            break;
        }
        progress(size);
    }
    let file = write.finish().await??;
    Ok((Blob { digest: hash.finish().await?, size }, file))
}

async fn put_small(
    file: &mut File,
    path: &Path,
    mut stream: ByteStream,
    progress: Progress<'_>,
) -> Result<Blob, StorageError> {
    let mut hasher = Hasher::new();
    let mut size = 0_u64;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        size = size.saturating_add(piece.len() as u64);
        hasher.update(&piece);
        file.write_all(&piece).map_err(|error| failed("writing", path, error))?;
        progress(size);
    }
    Ok(Blob { digest: hasher.finish(), size })
}

#[async_trait]
impl ArtifactStore for FolderArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        self.check_writable()?;
        let stream = source.open(0).await?;
        let mut incoming = self.new_incoming()?;
        let Some(mut file) = incoming.file.take() else { return Err(stopped()) };
        let (blob, file) = if source.size().is_some_and(|size| size <= SMALL_MAX) {
            (put_small(&mut file, &incoming.path, stream, progress).await?, file)
        } else {
            put_large(file, incoming.path.clone(), stream, progress).await?
        };
        let blob = blob.announced_by(source)?;
        incoming.file = Some(file);
        self.settle(incoming, blob)?;
        Ok(blob)
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading", &path, error)),
        }
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.check_writable()?;
        match self.stat(digest).await? {
            Some(size) if self.renew_file(&self.path(digest), size)? => Ok(Some(size)),
            _ => Ok(None),
        }
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let path = self.path(digest);
        let open = || -> io::Result<(File, u64, u64)> {
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            let range = range.unwrap_or(0..size);
            Ok((file, range.start, range.end.min(size).saturating_sub(range.start)))
        };
        let (file, start, length) = match open() {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(digest)),
            Err(error) => return Err(failed("reading", &path, error)),
        };
        registry_files::stream(file, start, length, &path)
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        let root = self.root.join("sha256");
        let start = after.map(Digest::hex).unwrap_or_default();
        let mut found = Vec::new();
        for folder in names(&root)? {
            if start.get(..2).is_some_and(|first| folder.as_str() < first) {
                continue;
            }
            for file in names(&root.join(&folder))? {
                let hex = format!("{folder}{file}");
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                if start < hex
                    && let Some(stored) = self.stored(&self.path(&digest), digest)
                {
                    found.push(stored);
                    if limit <= found.len() {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        self.check_writable()?;
        let path = self.path(digest);
        let is_old =
            |path: &Path| self.stored(path, *digest).is_some_and(|stored| stored.touched < untouched_since);
        if path.exists() && !is_old(&path) {
            return Ok(false);
        }
        let folder = self.incoming();
        fs::create_dir_all(&folder).map_err(|error| failed("making", &folder, error))?;
        let away = folder.join(format!("{REMOVING}{}", digest.hex()));
        match fs::rename(&path, &away) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(failed("removing", &path, error)),
        }
        if is_old(&away) {
            fs::remove_file(&away).map_err(|error| failed("removing", &away, error))?;
            return Ok(true);
        }
        fs::rename(&away, &path).map_err(|error| failed("putting back", &path, error))?;
        Ok(false)
    }
}

/// The names in a folder, sorted; none if it is not there.
fn names(folder: &Path) -> Result<Vec<String>, StorageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("reading", folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("reading", folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
