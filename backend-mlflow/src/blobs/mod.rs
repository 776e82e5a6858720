//! Why this exists: the bytes of a registry, named by their SHA-256, in the folder where MLflow keeps the files of
//! the registry's own experiment. So a team that runs MLflow needs no other place for them, and whoever may write
//! to that experiment may write them.
//!
//! # The age of bytes, and removing beside writing
//!
//! A collector that finds bytes old and removes them a moment later must not hit somebody who has just relied on
//! them. Each first says what it does, in a file of its own, and then looks what the other has said:
//!
//! ```text
//! put, renew:   write a copy, or `touched`    look: is there `removing`?  is there a whole copy?
//! remove:       write `removing`              look: is anything young?    remove what was seen, by name
//!               remove `removing`
//! ```
//!
//! A collector that says so before the writer looks is seen, and waited for, if it is not done yet. If it is, the
//! copy is gone before the writer looks for it, and is sent again. One that says so later sees young bytes, and
//! lets them be. What it removes it removes by names that are used once, so it never hits a copy that came after it
//! looked. Of two collectors both do the same, which is harmless. What a collector left behind that died is ignored
//! after [`REMOVING_MAX`].
//!
//! Ages are by the clocks of those who write. They should agree to within minutes; a grace period is an hour at
//! least.
//!
//! # Bytes of others
//!
//! A version that others registered has its files where they put them. They stay there; a file `seen` says where,
//! under their digest, and core verifies what is read through it like anything else. They are not the registry's:
//! they are not listed, and never removed by it.

mod name;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use lru::LruCache;
use registry_core::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, Progress, StorageError, StorageErrorKind, StoredBlob,
};
use registry_core::{Clock as _, Digest, Hasher, IdSource as _, SystemClock, SystemIds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::files::{Folder, Reach};
use crate::log::MlflowLog;
use name::{Name, Role, folder};

/// The folder of all blobs.
const BLOBS: &str = "blobs";
/// What is not larger is kept in memory between reading it for its digest and sending it.
const SMALL: u64 = 8 * 1024 * 1024;
/// After how long a collector's mark is taken for a dead one's.
const REMOVING_MAX: Duration = Duration::from_secs(60 * 60);
/// How young bytes must be to pass for renewed; a small part of the shortest grace period.
const YOUNG: Duration = Duration::from_secs(5 * 60);
/// How often, and how long apart, a collector is waited for.
const WAITS_MAX: u32 = 100;
const WAIT: Duration = Duration::from_millis(100);
/// How often a blob is sent for one put.
const SENT_MAX: u32 = 5;
/// How often the progress of a large upload is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// How many folders are listed at once.
const AT_ONCE: usize = 8;
/// Where the bytes of how many blobs are is kept in memory. Forgetting one costs a request.
const SPOTS_KEPT: NonZeroUsize = match NonZeroUsize::new(16_384) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};

/// Bytes where an MLflow server keeps its files.
#[derive(Debug)]
pub struct MlflowArtifacts {
    log: Arc<MlflowLog>,
    reach: Reach,
    /// Where the registry's files are, once that is known.
    root: Mutex<Option<Folder>>,
    spots: Mutex<LruCache<Digest, Spot>>,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spot {
    /// In a file of the registry's own.
    Ours(String),
    /// In a file of others.
    Theirs(Place),
}

/// Where others keep a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The address of the folder of a version's files.
    pub(crate) folder: String,
    /// The path of the file in it.
    pub(crate) path: String,
}

/// What there is about one blob.
#[derive(Debug, Default)]
struct Look {
    copies: Vec<Name>,
    /// Copies that did not arrive as a whole, or not yet.
    parts: Vec<Name>,
    seen: Vec<Name>,
    touched: Vec<Name>,
    removing: Vec<Name>,
}

impl Look {
    fn add(&mut self, name: Name, size: u64) {
        match name.role {
            Role::Copy if name.size == size => self.copies.push(name),
            Role::Copy => self.parts.push(name),
            Role::Seen => self.seen.push(name),
            Role::Touched => self.touched.push(name),
            Role::Removing => self.removing.push(name),
        }
    }

    /// When the blob was last put.
    fn youngest(&self) -> Option<Timestamp> {
        self.copies.iter().chain(&self.touched).chain(&self.seen).map(|name| name.at).max()
    }

    /// Whether a collector is at it that may be alive.
    fn is_disturbed(&self, now: Timestamp) -> bool {
        self.removing.iter().any(|name| now.since(name.at) < REMOVING_MAX)
    }
}

fn not_done(problem: impl Into<String>) -> StorageError {
    StorageError::new(StorageErrorKind::NotDone, problem)
}

fn missing(digest: &Digest) -> StorageError {
    StorageError::new(StorageErrorKind::Missing, format!("the blob {digest} is missing"))
}

/// Reads a source for its digest, and keeps what it gave if that is not much.
async fn hashed(source: &dyn ByteSource) -> Result<(Blob, Option<Bytes>), StorageError> {
    let mut stream = source.open(0).await?;
    let mut hasher = Hasher::new();
    let mut size = 0_u64;
    let mut kept = Some(Vec::new());
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        hasher.update(&piece);
        size = size.saturating_add(piece.len() as u64);
        match &mut kept {
            Some(pieces) if size <= SMALL => pieces.push(piece),
            _ => kept = None,
        }
    }
    let blob = Blob { digest: hasher.finish(), size }.announced_by(source)?;
    Ok((blob, kept.map(|pieces| pieces.concat().into())))
}

/// Passes a source on and tells how much of it has gone by, as often as it is read.
struct Told<'a> {
    source: &'a dyn ByteSource,
    progress: Arc<AtomicU64>,
}

#[async_trait]
impl ByteSource for Told<'_> {
    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let progress = Arc::clone(&self.progress);
        let mut moved = start;
        let stream = self.source.open(start).await?;
        Ok(Box::pin(stream.inspect_ok(move |piece| {
            moved = moved.saturating_add(piece.len() as u64);
            progress.fetch_max(moved, Ordering::Relaxed);
        })))
    }
}

impl MlflowArtifacts {
    pub(crate) fn new(log: Arc<MlflowLog>, reach: Reach) -> Self {
        MlflowArtifacts { log, reach, root: Mutex::default(), spots: Mutex::new(LruCache::new(SPOTS_KEPT)) }
    }

    /// What it can reach.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    fn spots(&self) -> MutexGuard<'_, LruCache<Digest, Spot>> {
        self.spots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the registry's files are. None if there is no registry on the server yet and none is wanted.
    async fn root(&self, make: bool) -> Result<Option<Folder>, StorageError> {
        let kept = || self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = kept().clone() {
            return Ok(Some(root));
        }
        let Some(uri) = self.log.location(make).await? else { return Ok(None) };
        let root = self.reach.folder(&uri).await.map_err(|error| {
            not_done(format!(
                "the server keeps the registry's files where they cannot be read: {}; open the registry with \
                 something that reaches them, or with another store for bytes, or let the server serve its files \
                 (`mlflow server --serve-artifacts`)",
                error.message
            ))
        })?;
        *kept() = Some(root.clone());
        Ok(Some(root))
    }

    async fn writable(&self) -> Result<Folder, StorageError> {
        self.log.check_writable()?;
        self.root(true).await?.ok_or_else(|| not_done("the registry's own experiment is not there"))
    }

    /// All that is said in one folder of blobs, in the order of the digests.
    async fn look_into(&self, root: &Folder, folder: &str) -> Result<BTreeMap<Digest, Look>, StorageError> {
        let entries = root.files.list(&root.path(&format!("{BLOBS}/{folder}"))).await?;
        let mut looks: BTreeMap<Digest, Look> = BTreeMap::new();
        for entry in entries {
            if let (Some(name), Some(size)) = (Name::read(folder, &entry.name), entry.size) {
                looks.entry(name.digest).or_default().add(name, size);
            }
        }
        Ok(looks)
    }

    async fn look(&self, root: &Folder, digest: &Digest) -> Result<Look, StorageError> {
        let look = self.look_into(root, &folder(digest)).await?.remove(digest).unwrap_or_default();
        if let Some(copy) = look.copies.first() {
            self.spots().put(*digest, Spot::Ours(copy.path()));
        }
        Ok(look)
    }

    /// Writes a file that says something.
    async fn say(&self, root: &Folder, name: &Name, body: Bytes) -> Result<(), StorageError> {
        let blob = Blob { digest: Digest::of(&body), size: body.len() as u64 };
        root.files.write(&root.path(&format!("{BLOBS}/{}", name.path())), &body, blob).await
    }

    async fn forget(&self, root: &Folder, names: &[Name]) -> Result<(), StorageError> {
        for name in names {
            root.files.remove(&root.path(&format!("{BLOBS}/{}", name.path()))).await?;
        }
        Ok(())
    }

    fn name(digest: &Digest, role: Role, size: u64) -> Name {
        let id = format!("{:032x}", SystemIds.next_id());
        Name { digest: *digest, role, size, at: SystemClock.now(), id }
    }

    /// Makes a blob look young.
    async fn touch(&self, root: &Folder, digest: &Digest) -> Result<(), StorageError> {
        // Some places do not like empty files.
        self.say(root, &Self::name(digest, Role::Touched, 0), Bytes::from_static(b"touched\n")).await
    }

    /// Sees that a blob is there, young, and that no collector is about to take it: `make` is asked for it as
    /// long as it is not. None if it is not there and `make` does nothing about that.
    async fn settle<F: Future<Output = Result<bool, StorageError>>>(
        &self,
        root: &Folder,
        digest: &Digest,
        young: Timestamp,
        make: impl Fn() -> F,
    ) -> Result<Option<Look>, StorageError> {
        let mut sent = 0;
        for attempt in 0..WAITS_MAX {
            let look = self.look(root, digest).await?;
            let is_there = !look.copies.is_empty() || !look.seen.is_empty();
            // The first look may be older than what a collector did since.
            let is_young = look.youngest().is_some_and(|youngest| young <= youngest);
            if look.is_disturbed(SystemClock.now()) {
                if is_there && !is_young {
                    self.touch(root, digest).await?;
                }
                SystemClock.sleep(WAIT).await;
            } else if is_there && is_young {
                return Ok(Some(look));
            } else if is_there {
                self.touch(root, digest).await?;
            } else if SENT_MAX <= sent || !make().await? {
                return Ok(None);
            } else {
                sent += 1;
            }
            if WAITS_MAX <= attempt + 1 {
                break;
            }
        }
        Err(not_done(format!("the blob {digest} is being removed by a collector that does not finish")))
    }

    /// Puts on record where others keep a blob.
    pub(crate) async fn keep_place(&self, blob: Blob, place: &Place) -> Result<(), StorageError> {
        let root = self.writable().await?;
        let known = self.look(&root, &blob.digest).await?;
        // A copy of the registry's own may be on its way out; what others have is not ours to lose.
        if self.their_place(&root, &blob.digest, &known).await?.is_none() {
            let body = serde_json::to_vec(place).map_err(|problem| not_done(problem.to_string()))?;
            self.say(&root, &Self::name(&blob.digest, Role::Seen, blob.size), body.into()).await?;
        }
        Ok(())
    }

    /// Remembers in this process where others keep a blob.
    pub(crate) fn remember_place(&self, digest: &Digest, place: Place) {
        self.spots().put(*digest, Spot::Theirs(place));
    }

    /// Where others keep a blob, by what is on record, if it is still there as a whole.
    async fn their_place(
        &self,
        root: &Folder,
        digest: &Digest,
        look: &Look,
    ) -> Result<Option<(Place, u64)>, StorageError> {
        for name in &look.seen {
            let path = root.path(&format!("{BLOBS}/{}", name.path()));
            let pieces: Vec<Bytes> = match root.files.read(&path, None).await {
                Ok(pieces) => pieces.try_collect().await?,
                Err(error) if error.kind == StorageErrorKind::Missing => continue,
                Err(error) => return Err(error),
            };
            let Ok(place) = serde_json::from_slice::<Place>(&pieces.concat()) else { continue };
            if self.size_at(&place).await? == Some(name.size) {
                self.spots().put(*digest, Spot::Theirs(place.clone()));
                return Ok(Some((place, name.size)));
            }
        }
        Ok(None)
    }

    /// How long a file of others is; none if it is not there.
    async fn size_at(&self, place: &Place) -> Result<Option<u64>, StorageError> {
        let Ok(folder) = self.reach.folder(&place.folder).await else { return Ok(None) };
        let (parent, name) = place.path.rsplit_once('/').unwrap_or(("", &place.path));
        let entries = folder.files.list(folder.path(parent).trim_end_matches('/')).await?;
        Ok(entries.into_iter().find(|entry| entry.name == name).and_then(|entry| entry.size))
    }

    async fn read_at(&self, spot: &Spot, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        match spot {
            Spot::Ours(path) => {
                let root = self.root(false).await?.ok_or_else(|| not_done("the registry is gone"))?;
                root.files.read(&root.path(&format!("{BLOBS}/{path}")), range).await
            }
            Spot::Theirs(place) => {
                let folder = self.reach.folder(&place.folder).await?;
                folder.files.read(&folder.path(&place.path), range).await
            }
        }
    }
}

#[async_trait]
impl ArtifactStore for MlflowArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        let root = self.writable().await?;
        let (blob, bytes) = hashed(source).await?;
        let told = Told { source, progress: Arc::default() };
        let send = || async {
            let name = Self::name(&blob.digest, Role::Copy, blob.size);
            let path = root.path(&format!("{BLOBS}/{}", name.path()));
            // Where that fails all of it may have arrived, and others may rely on it already: collectors will see.
            let sent = match &bytes {
                Some(bytes) => root.files.write(&path, bytes, blob).await,
                None => tell(&told.progress, progress, root.files.write(&path, &told, blob)).await,
            };
            sent.map(|()| true)
        };
        let begun = SystemClock.now();
        let known = self.look(&root, &blob.digest).await?;
        // Bytes of others do not count: they are not ours to rely on.
        if known.copies.is_empty() {
            send().await?;
        } else {
            self.touch(&root, &blob.digest).await?;
        }
        let look = self.settle(&root, &blob.digest, begun, send).await?;
        let look = look.filter(|look| !look.copies.is_empty()).ok_or_else(|| {
            let digest = blob.digest;
            not_done(format!("the blob {digest} was sent, and not all of it arrived"))
        })?;
        progress(blob.size);
        // Of what was said of its age only the last counts.
        let youngest = look.youngest();
        let (_, old): (Vec<Name>, Vec<Name>) =
            look.touched.into_iter().partition(|name| youngest <= Some(name.at));
        let _ = self.forget(&root, &old).await;
        Ok(blob)
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let Some(root) = self.root(false).await? else { return Ok(None) };
        let look = self.look(&root, digest).await?;
        match look.copies.first() {
            Some(copy) => Ok(Some(copy.size)),
            None => Ok(self.their_place(&root, digest, &look).await?.map(|(_, size)| size)),
        }
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let root = self.writable().await?;
        let now = SystemClock.now().microseconds();
        let young = now.saturating_sub(i64::try_from(YOUNG.as_micros()).unwrap_or(0));
        let young = Timestamp::from_microseconds(young).unwrap_or(Timestamp::EPOCH);
        let Some(look) = self.settle(&root, digest, young, || async { Ok(false) }).await? else {
            return Ok(None);
        };
        match look.copies.first() {
            Some(copy) => Ok(Some(copy.size)),
            None => Ok(self.their_place(&root, digest, &look).await?.map(|(_, size)| size)),
        }
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let known = self.spots().get(digest).cloned();
        if let Some(spot) = known {
            match self.read_at(&spot, range.clone()).await {
                // Where others keep it, it may be out of reach by now, and there may be a copy of our own.
                Err(error) if error.kind == StorageErrorKind::Missing || matches!(spot, Spot::Theirs(_)) => {
                    self.spots().pop(digest);
                }
                read => return read,
            }
        }
        let Some(root) = self.root(false).await? else { return Err(missing(digest)) };
        let look = self.look(&root, digest).await?;
        let spot = match look.copies.first() {
            Some(copy) => Spot::Ours(copy.path()),
            None => match self.their_place(&root, digest, &look).await? {
                Some((place, _)) => Spot::Theirs(place),
                None => return Err(missing(digest)),
            },
        };
        let read = self.read_at(&spot, range).await;
        read.map_err(|error| if error.kind == StorageErrorKind::Missing { missing(digest) } else { error })
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        let Some(root) = self.root(false).await? else { return Ok(Vec::new()) };
        let mut folders: Vec<String> = root
            .files
            .list(&root.path(BLOBS))
            .await?
            .into_iter()
            .filter(|entry| entry.size.is_none() && entry.name.len() == 2)
            .map(|entry| entry.name)
            .collect();
        folders.sort_unstable();
        let first = after.map(folder);
        let folders = folders.into_iter().filter(|name| first.as_ref().is_none_or(|first| first <= name));
        let mut looks = futures_util::stream::iter(folders)
            .map(|folder| {
                let root = &root;
                async move { self.look_into(root, &folder).await }
            })
            .buffered(AT_ONCE);
        let mut found = Vec::new();
        while let Some(looks) = looks.try_next().await? {
            for (digest, look) in looks {
                let (Some(copy), Some(touched)) = (look.copies.first(), look.youngest()) else { continue };
                if after.is_none_or(|after| *after < digest) {
                    found.push(StoredBlob { blob: Blob { digest, size: copy.size }, touched });
                }
            }
            if limit <= found.len() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        let root = self.writable().await?;
        let is_old = |look: &Look| look.youngest().is_none_or(|youngest| youngest < untouched_since);
        let look = self.look(&root, digest).await?;
        if look.copies.is_empty() {
            return Ok(true);
        }
        if !is_old(&look) {
            return Ok(false);
        }
        let mark = Self::name(digest, Role::Removing, 0);
        self.say(&root, &mark, Bytes::from_static(b"removing\n")).await?;
        let removed = async {
            let look = self.look(&root, digest).await?;
            if !is_old(&look) {
                return Ok(false);
            }
            self.spots().pop(digest);
            self.forget(&root, &look.copies).await?;
            self.forget(&root, &look.parts).await?;
            self.forget(&root, &look.touched).await?;
            let is_dead = |name: &&Name| REMOVING_MAX < mark.at.since(name.at);
            let dead: Vec<Name> = look.removing.iter().filter(is_dead).cloned().collect();
            self.forget(&root, &dead).await?;
            Ok(true)
        };
        let removed: Result<bool, StorageError> = removed.await;
        // A removal that may yet come must go on warning those who write; the mark loses its force with time.
        if removed.is_ok() {
            self.forget(&root, &[mark]).await?;
        }
        removed
    }

    async fn remove_abandoned(&self, untouched_since: Timestamp) -> Result<u64, StorageError> {
        let root = self.writable().await?;
        let mut count = 0;
        for folder in root.files.list(&root.path(BLOBS)).await? {
            for (_, look) in self.look_into(&root, &folder.name).await? {
                let is_old = |name: &Name| name.at < untouched_since;
                // Without a copy, nothing is left whose age they could tell.
                let touches = if look.copies.is_empty() { look.touched } else { Vec::new() };
                let touches: Vec<Name> = touches.into_iter().filter(is_old).collect();
                self.forget(&root, &touches).await?;
                let old: Vec<Name> = look.parts.into_iter().filter(is_old).collect();
                self.forget(&root, &old).await?;
                count += old.len() as u64;
            }
        }
        Ok(count)
    }
}

/// Does something and tells meanwhile how far it is.
async fn tell<T>(moved: &AtomicU64, progress: Progress<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(TOLD_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => progress(moved.load(Ordering::Relaxed)),
        }
    }
}
