//! Bytes in buckets: in parts, interrupted, resumed, put by several at once, and beside a collector. The same on
//! a real server is in the crate `registry-tests`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backend_objectstore::object_store::local::LocalFileSystem;
use backend_objectstore::object_store::memory::InMemory;
use backend_objectstore::object_store::multipart::{MultipartStore, PartId};
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{
    self, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use backend_objectstore::{BucketArtifacts, Options};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::storage::{
    ArtifactStore as _, Blob, ByteSource, ByteStream, StorageError, StorageErrorKind,
};
use registry_core::{Clock as _, Digest, SystemClock, Timestamp};

const MIB: usize = 1024 * 1024;
/// The size of a part.
const PART: usize = 8 * MIB;

fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

async fn whole(store: &BucketArtifacts, digest: &Digest) -> Bytes {
    let pieces: Vec<Bytes> = store.read(digest, None).await.unwrap().try_collect().await.unwrap();
    pieces.concat().into()
}

async fn artifacts(store: Arc<dyn ObjectStore>) -> BucketArtifacts {
    Options::default().open_parts(store, "r").await.unwrap().1
}

/// What there is below a folder.
async fn keys(store: &dyn ObjectStore, folder: &str) -> Vec<String> {
    let folder = Path::parse(folder).unwrap();
    store.list(Some(&folder)).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
}

/// Uploads in memory, by id: counted, and refused from some part on.
#[derive(Debug, Default)]
struct Uploads {
    store: Arc<InMemory>,
    open: Mutex<BTreeSet<String>>,
    created: AtomicU64,
    parts_sent: AtomicU64,
    bytes_sent: AtomicU64,
    /// How many parts more are taken; 0 is any number.
    parts_left: AtomicU64,
    /// What the server says, just once, when parts are no longer taken.
    says_once: Mutex<Option<&'static str>>,
}

impl Uploads {
    fn check(&self, path: &Path, id: &str) -> object_store::Result<()> {
        if self.open.lock().unwrap().contains(id) {
            return Ok(());
        }
        let source = "injected: 404 NoSuchUpload".into();
        Err(object_store::Error::NotFound { path: path.to_string(), source })
    }

    fn open(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    fn taken(&self) -> u64 {
        self.bytes_sent.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl MultipartStore for Uploads {
    async fn create_multipart(&self, path: &Path) -> object_store::Result<String> {
        let id = self.store.create_multipart(path).await?;
        self.open.lock().unwrap().insert(id.clone());
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &String,
        index: usize,
        payload: PutPayload,
    ) -> object_store::Result<PartId> {
        self.check(path, id)?;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if self.parts_left.load(Ordering::Relaxed) != 0
            && self.parts_left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            let once = self.says_once.lock().unwrap().take();
            self.parts_left.store(u64::from(once.is_none()), Ordering::Relaxed);
            let source = once.unwrap_or("injected: the network is gone").into();
            return Err(object_store::Error::Generic { store: "test", source });
        }
        let size = payload.content_length() as u64;
        self.store.put_part(path, id, index, payload).await?;
        self.parts_sent.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(size, Ordering::Relaxed);
        Ok(PartId { content_id: format!("part-{index}") })
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &String,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        self.check(path, id)?;
        let in_order =
            parts.iter().enumerate().all(|(index, part)| part.content_id == format!("part-{index}"));
        assert!(in_order, "{parts:?}");
        let done = self.store.complete_multipart(path, id, parts).await?;
        self.open.lock().unwrap().remove(id);
        Ok(done)
    }

    async fn abort_multipart(&self, path: &Path, id: &String) -> object_store::Result<()> {
        self.check(path, id)?;
        self.open.lock().unwrap().remove(id);
        self.store.abort_multipart(path, id).await
    }
}

async fn resuming() -> (Arc<Uploads>, BucketArtifacts) {
    let uploads = Arc::new(Uploads::default());
    let store = artifacts(Arc::clone(&uploads.store) as _).await;
    let store = store.resuming(Arc::clone(&uploads) as _);
    (uploads, store)
}

/// Gives other bytes when it is read again, or none after a while.
struct Fickle {
    first: Bytes,
    then: Bytes,
    breaks_at: Option<usize>,
    opened: AtomicU64,
}

impl Fickle {
    fn new(first: &Bytes, then: Bytes, breaks_at: Option<usize>) -> Self {
        Fickle { first: first.clone(), then, breaks_at, opened: AtomicU64::new(0) }
    }
}

#[async_trait]
impl ByteSource for Fickle {
    fn size(&self) -> Option<u64> {
        None
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        if self.opened.fetch_add(1, Ordering::Relaxed) == 0 {
            return self.first.open(start).await;
        }
        match self.breaks_at {
            None => self.then.open(start).await,
            Some(place) => {
                let read = self.then.slice(..place).open(start).await?;
                let broken = StorageError::new(StorageErrorKind::NotDone, "the source broke off");
                Ok(Box::pin(read.chain(futures_util::stream::iter([Err(broken)]))))
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn blobs_of_every_size_around_the_parts_come_back_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let (uploads, by_id) = resuming().await;
    let plain = artifacts(Arc::new(InMemory::new())).await;
    let local = artifacts(Arc::new(local)).await;
    let sizes = [PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 3 * PART + 12_345];
    for (number, size) in sizes.into_iter().enumerate() {
        let bytes = noise(size, number as u64);
        let blob = Blob { digest: Digest::of(&bytes), size: size as u64 };
        for store in [&by_id, &plain, &local] {
            let told = Mutex::new(Vec::new());
            let put = store.put(&bytes, &|moved| told.lock().unwrap().push(moved)).await.unwrap();
            assert_eq!(put, blob);
            assert!(whole(store, &blob.digest).await == bytes, "{size} bytes came back changed");
            let told = told.into_inner().unwrap();
            assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "{told:?}");
            assert_eq!(told.last(), Some(&blob.size));
            assert!(size.div_ceil(PART) <= told.len(), "it is told of every part: {told:?}");
        }
        let parts = if size <= PART { 0 } else { size.div_ceil(PART) as u64 };
        assert_eq!(uploads.parts_sent.swap(0, Ordering::Relaxed), parts, "{size}");
        let known = by_id.put(&bytes, &|_| {}).await.unwrap();
        assert_eq!(
            (known, uploads.parts_sent.load(Ordering::Relaxed)),
            (blob, 0),
            "known bytes are not sent"
        );
    }
    assert_eq!(uploads.open(), 0);
    assert_eq!(keys(&*uploads.store, "r/blobs/uploads").await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_who_put_the_same_large_bytes_at_once_all_succeed() {
    for round in 0..5 {
        let (uploads, by_id) = resuming().await;
        let plain = artifacts(Arc::new(InMemory::new())).await;
        let bytes = noise(4 * PART + 99, round);
        for store in [&by_id, &plain] {
            let putting = join_all((0..6).map(|_| store.put(&bytes, &|_| {})));
            for put in putting.await {
                assert_eq!(put.unwrap().digest, Digest::of(&bytes));
            }
            assert!(whole(store, &Digest::of(&bytes)).await == bytes);
        }
        assert_eq!(uploads.open(), 0, "an upload was left behind");
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_nothing_behind() {
    let (uploads, by_id) = resuming().await;
    let bytes = noise(5 * PART, 1);
    let error =
        by_id.put(&Fickle::new(&bytes, bytes.clone(), Some(3 * PART + 7)), &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("the source broke off"), "{error}");
    assert!(0 < uploads.parts_sent.load(Ordering::Relaxed), "it broke off too early to show anything");
    assert_eq!(uploads.open(), 0);
    assert_eq!(keys(&*uploads.store, "r/blobs/uploads").await, [] as [&str; 0]);
    assert_eq!(by_id.stat(&Digest::of(&bytes)).await.unwrap(), None);
    // An upload that is not resumed leaves nothing either.
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let plain = artifacts(Arc::new(store)).await;
    plain.put(&Fickle::new(&bytes, bytes.clone(), Some(3 * PART + 7)), &|_| {}).await.unwrap_err();
    let left: Vec<_> = std::fs::read_dir(folder.path().join("r/blobs")).unwrap().collect();
    let names: Vec<_> = left.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "uploads"), "{names:?}");
    assert_eq!(plain.list(None, 10).await.unwrap(), []);
}

/// Not a byte of a part that is not what it was, since a later put would take it for good.
#[tokio::test]
async fn a_source_that_changed_is_noticed_before_the_part_is_sent() {
    let bytes = noise(3 * PART, 1);
    for place in [0, PART, 2 * PART + 5, 3 * PART - 1] {
        let (uploads, by_id) = resuming().await;
        let mut altered = bytes.to_vec();
        *altered.get_mut(place).unwrap() ^= 1;
        let error = by_id.put(&Fickle::new(&bytes, altered.into(), None), &|_| {}).await.unwrap_err();
        assert!(error.to_string().contains("changed meanwhile"), "{error}");
        let sent = uploads.parts_sent.load(Ordering::Relaxed);
        assert!(
            sent <= (place / PART) as u64,
            "{sent} parts were sent, though part {} is other",
            place / PART
        );
        assert_eq!((uploads.open(), by_id.stat(&Digest::of(&bytes)).await.unwrap()), (0, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_that_broke_off_goes_on_where_it_was() {
    let (uploads, by_id) = resuming().await;
    let bytes = noise(20 * PART + 1, 1);
    let digest = Digest::of(&bytes);
    uploads.parts_left.store(15, Ordering::Relaxed);
    let error = by_id.put(&bytes, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NotDone);
    assert!(error.to_string().contains("the network is gone"), "{error}");
    let first = uploads.taken();
    assert_eq!((uploads.open(), by_id.stat(&digest).await.unwrap()), (1, None));
    assert_eq!(keys(&*uploads.store, "r/blobs/uploads").await.len(), 1);

    uploads.parts_left.store(0, Ordering::Relaxed);
    let told = Mutex::new(Vec::new());
    by_id.put(&bytes, &|moved| told.lock().unwrap().push(moved)).await.unwrap();
    let second = uploads.taken();
    // Those that were still under way when the first failed may have arrived unnoticed, or be sent twice.
    assert!(10 * PART as u64 <= first, "{first}");
    assert!(second <= bytes.len() as u64 - 9 * PART as u64, "{second} bytes were sent after {first}");
    assert!(whole(&by_id, &digest).await == bytes);
    assert_eq!((uploads.created.load(Ordering::Relaxed), uploads.open()), (1, 0));
    assert_eq!(keys(&*uploads.store, "r/blobs/uploads").await, [] as [&str; 0]);
    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "{told:?}");
}

#[tokio::test]
async fn an_upload_that_the_store_has_forgotten_or_whose_record_is_damaged_begins_anew() {
    let bytes = noise(4 * PART, 1);
    for damaged in [false, true] {
        let (uploads, by_id) = resuming().await;
        uploads.parts_left.store(3, Ordering::Relaxed);
        by_id.put(&bytes, &|_| {}).await.unwrap_err();
        uploads.parts_left.store(0, Ordering::Relaxed);
        let record = keys(&*uploads.store, "r/blobs/uploads").await.pop().unwrap();
        if damaged {
            uploads.store.put(&Path::parse(record).unwrap(), "{\"upload\":".into()).await.unwrap();
        } else {
            uploads.open.lock().unwrap().clear();
        }
        by_id.put(&bytes, &|_| {}).await.unwrap();
        assert!(whole(&by_id, &Digest::of(&bytes)).await == bytes);
        assert_eq!(uploads.created.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn a_collector_gives_up_old_uploads_and_spares_young_ones() {
    let (uploads, by_id) = resuming().await;
    uploads.parts_left.store(3, Ordering::Relaxed);
    by_id.put(&noise(4 * PART, 1), &|_| {}).await.unwrap_err();
    assert_eq!(by_id.remove_abandoned(SystemClock.now().saturating_add(Duration::ZERO)).await.unwrap(), 1);
    assert_eq!(uploads.open(), 0);
    assert_eq!(keys(&*uploads.store, "r/blobs/uploads").await, [] as [&str; 0]);
    assert_eq!(by_id.remove_abandoned(SystemClock.now()).await.unwrap(), 0);

    uploads.parts_left.store(3, Ordering::Relaxed);
    by_id.put(&noise(4 * PART, 2), &|_| {}).await.unwrap_err();
    assert_eq!(by_id.remove_abandoned(Timestamp::EPOCH).await.unwrap(), 0);
    assert_eq!(uploads.open(), 1);
    // One that the store has forgotten is no obstacle.
    uploads.open.lock().unwrap().clear();
    assert_eq!(by_id.remove_abandoned(SystemClock.now()).await.unwrap(), 1);
}

/// A socket that was too slow, or a network that was away for a moment, says nothing about the upload.
#[tokio::test]
async fn parts_that_are_there_are_kept_when_one_is_turned_away() {
    let (uploads, store) = resuming().await;
    let bytes = noise(12 * PART, 11);
    let slow = "Server returned non-2xx status code: 400 Bad Request: <Code>RequestTimeout</Code>";
    *uploads.says_once.lock().unwrap() = Some(slow);
    uploads.parts_left.store(10, Ordering::Relaxed);
    assert!(store.put(&bytes, &|_| {}).await.is_err());
    let blob = store.put(&bytes, &|_| {}).await.unwrap();
    assert_eq!(uploads.created.load(Ordering::Relaxed), 1, "the upload was begun anew");
    assert_eq!(uploads.taken(), bytes.len() as u64, "finished parts were sent again");
    assert_eq!(whole(&store, &blob.digest).await, bytes);
}

/// A collector that died after it had removed the bytes, and before it removed its marks.
#[tokio::test]
async fn marks_of_a_dead_collector_stop_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = artifacts(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
    let bytes = Bytes::from_static(b"weights");
    for (kind, hours) in [("touched", 40 * 24), ("removing", 5)] {
        let path = folder.path().join(format!("r/blobs/{kind}/{}", Digest::of(&bytes).hex()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, kind).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(hours * 60 * 60)).unwrap();
    }
    store.put(&bytes, &|_| {}).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_sign_has_no_urls() {
    let store = artifacts(Arc::new(InMemory::new())).await;
    let digest = Digest::of(b"x");
    assert_eq!(store.download_url(&digest, Duration::from_secs(60)).await.unwrap(), None);
}

/// A store in memory that takes its time with some requests, before or after it acts, so that whatever can
/// overtake each other does.
#[derive(Debug, Default)]
struct Slow {
    inner: InMemory,
    requests: AtomicU64,
    seed: u64,
}

impl Slow {
    async fn pause(&self) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let digest = Digest::of(&[self.seed.to_le_bytes(), number.to_le_bytes()].concat());
        let pause = digest.as_bytes().first().copied().unwrap_or(0) % 12;
        for _ in 0..pause {
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory, slow")
    }
}

#[async_trait]
impl ObjectStore for Slow {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.pause().await;
        let done = self.inner.put_opts(key, payload, options).await;
        self.pause().await;
        done
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.pause().await;
        let done = self.inner.get_opts(key, options).await;
        self.pause().await;
        done
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Begins a little later; how much, is drawn from the seed.
async fn later<T>(seed: u64, work: impl Future<Output = T>) -> T {
    let digest = Digest::of(&seed.to_be_bytes());
    for _ in 0..digest.as_bytes().last().copied().unwrap_or(0) % 120 {
        tokio::task::yield_now().await;
    }
    work.await
}

/// Old bytes, two collectors that want them gone, and two who put and renew them at the same moment. Says
/// whether the collectors removed them.
async fn race(seed: u64) -> bool {
    let bytes = noise(100, seed);
    let old = |seed| {
        let bytes = bytes.clone();
        async move {
            let store = artifacts(Arc::new(Slow { seed, ..Slow::default() })).await;
            let blob = store.put(&bytes, &|_| {}).await.unwrap();
            // The dates of this store are exact.
            (store, blob.digest, SystemClock.now())
        }
    };
    let (store, digest, cutoff) = old(seed).await;
    let collect = || async { store.remove(&digest, cutoff).await.unwrap() };
    let put = later(seed, store.put(&bytes, &|_| {}));
    let renew = later(!seed, store.renew(&digest));
    let (first, second, put, renewed) = tokio::join!(collect(), collect(), put, renew);
    put.unwrap();
    renewed.unwrap();
    assert_eq!(store.stat(&digest).await.unwrap(), Some(100), "round {seed}: the bytes are gone");

    // The same with nobody but one who renews: what it was told must hold.
    let (store, digest, cutoff) = old(seed.rotate_left(32)).await;
    let (removed, renewed) = tokio::join!(store.remove(&digest, cutoff), later(seed, store.renew(&digest)));
    let renewed = renewed.unwrap();
    assert_eq!(store.stat(&digest).await.unwrap(), renewed, "round {seed}");
    assert_eq!(removed.unwrap(), renewed.is_none(), "round {seed}");
    first || second
}

#[tokio::test]
async fn bytes_whose_put_was_acknowledged_are_never_collected_beside_it() {
    const ROUNDS: u64 = 3_000;
    let races = futures_util::stream::iter((1..=ROUNDS).map(race)).buffer_unordered(100);
    let removed: u64 = races.map(u64::from).fold(0, async |sum, one| sum + one).await;
    assert!((ROUNDS / 10..ROUNDS * 9 / 10).contains(&removed), "the race was not one: {removed} removed");
}
