//! The cases about [`ArtifactStore`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use super::Candidate;
use crate::digest::Digest;
use crate::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, StorageError, StorageErrorKind, StoredBlob,
};
use crate::time::Timestamp;

async fn put(store: &dyn ArtifactStore, bytes: &Bytes) -> Blob {
    store.put(bytes, &|_| {}).await.unwrap()
}

async fn whole(stream: ByteStream) -> Result<Bytes, StorageError> {
    let mut stream = stream;
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole.freeze())
}

/// Bytes that do not repeat.
fn noise(size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut digest = Digest::of(b"noise");
    while bytes.len() < size {
        bytes.extend_from_slice(digest.as_bytes());
        digest = Digest::of(digest.as_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

async fn all(store: &dyn ArtifactStore) -> Vec<StoredBlob> {
    store.list(None, 1_000).await.unwrap()
}

/// A source that does not know its size, gives small pieces, and may fail.
struct Stuttering {
    bytes: Bytes,
    piece: usize,
    fails_after: Option<usize>,
}

#[async_trait]
impl ByteSource for Stuttering {
    fn size(&self) -> Option<u64> {
        None
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let start = usize::try_from(start).unwrap();
        let mut pieces: Vec<Result<Bytes, StorageError>> = Vec::new();
        for (index, piece) in self.bytes[start..].chunks(self.piece).enumerate() {
            if self.fails_after == Some(index) {
                pieces.push(Err(StorageError::new(StorageErrorKind::NotDone, "the source broke off")));
                break;
            }
            pieces.push(Ok(Bytes::copy_from_slice(piece)));
        }
        Ok(Box::pin(futures_util::stream::iter(pieces)))
    }
}

/// Of any size, through another handle too.
pub async fn bytes_come_back_as_they_went_in(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.artifacts, candidate.open().await.artifacts);
    for size in [0, 1, 1_000, 1024 * 1024, 1024 * 1024 + 1, 9 * 1024 * 1024] {
        let bytes = noise(size);
        let blob = put(&*one, &bytes).await;
        assert_eq!(blob, Blob { digest: Digest::of(&bytes), size: size as u64 });
        assert_eq!(two.stat(&blob.digest).await.unwrap(), Some(blob.size));
        let read = whole(two.read(&blob.digest, None).await.unwrap()).await.unwrap();
        assert!(read == bytes, "{size} bytes came back changed");
    }
}

/// Streamed, not asked for their size.
pub async fn sources_of_unknown_size_are_streamed(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    for (size, piece) in [(0, 1), (10, 3), (3_000_000, 7_777), (8 * 1024 * 1024, 3 * 1024 * 1024)] {
        let source = Stuttering { bytes: noise(size), piece, fails_after: None };
        let blob = store.put(&source, &|_| {}).await.unwrap();
        assert_eq!(blob, Blob { digest: Digest::of(&source.bytes), size: size as u64 });
        let read = whole(store.read(&blob.digest, None).await.unwrap()).await.unwrap();
        assert!(read == source.bytes, "{size} bytes came back changed");
    }
}

/// Twice the same bytes are one blob, whose age is that of the second time.
pub async fn known_bytes_are_kept_once_and_renewed(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let bytes = noise(10_000);
    let first = put(&*store, &bytes).await;
    let before = all(&*store).await;
    futures_timer::Delay::new(Duration::from_millis(1_100)).await;
    let second = put(&*store, &bytes).await;
    assert_eq!(first, second);
    let after = all(&*store).await;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert!(before[0].touched < after[0].touched, "{before:?} {after:?}");
    // A collector that decided before the second put spares it.
    assert!(!store.remove(&first.digest, after[0].touched).await.unwrap());
    assert_eq!(store.stat(&first.digest).await.unwrap(), Some(10_000));
}

/// Any part, also beyond the end.
pub async fn ranges_are_cut_at_the_end(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let bytes = noise(3_000_000);
    let blob = put(&*store, &bytes).await;
    for (start, end) in
        [(0, 10), (5, 5), (2_999_999, 3_000_000), (1_000_000, 2_500_000), (2_999_990, 9_000_000)]
    {
        let read = whole(store.read(&blob.digest, Some(start..end)).await.unwrap()).await.unwrap();
        let cut = |place: u64| usize::try_from(place).unwrap().min(bytes.len());
        assert!(read == bytes[cut(start)..cut(end)], "{start}..{end}");
    }
    for range in [3_000_000..3_000_001, 5_000_000..6_000_000] {
        let read = whole(store.read(&blob.digest, Some(range)).await.unwrap()).await.unwrap();
        assert!(read.is_empty());
    }
}

/// Not there is not the same as not available.
pub async fn missing_blobs_are_told_apart(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let digest = Digest::of(b"never put");
    assert_eq!(store.stat(&digest).await.unwrap(), None);
    for range in [None, Some(0..5)] {
        let error = match store.read(&digest, range).await {
            Err(error) => error,
            Ok(stream) => whole(stream).await.expect_err("bytes out of nowhere"),
        };
        assert_eq!(error.kind, StorageErrorKind::Missing);
    }
    assert!(store.remove(&digest, Timestamp::EPOCH).await.unwrap(), "what is not there is gone");
}

/// No part of a blob is ever visible.
pub async fn a_failing_source_leaves_nothing_behind(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    for size in [10_000, 12 * 1024 * 1024] {
        let source = Stuttering { bytes: noise(size), piece: size / 5, fails_after: Some(3) };
        let error = store.put(&source, &|_| {}).await.unwrap_err();
        assert!(error.to_string().contains("the source broke off"), "{error}");
        assert_eq!(all(&*store).await, []);
    }
}

/// Says that it has so many bytes, and gives others: always the same, or the second time.
struct Changing {
    said: u64,
    first: Bytes,
    then: Bytes,
    opened: AtomicBool,
}

#[async_trait]
impl ByteSource for Changing {
    fn size(&self) -> Option<u64> {
        Some(self.said)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let was_opened = self.opened.swap(true, Ordering::SeqCst);
        if was_opened { &self.then } else { &self.first }.open(start).await
    }
}

/// A source that gives more or fewer bytes than it said it would, or is read twice and gives others then. Stores that
/// read once take what they read.
pub async fn a_source_that_changes_is_refused(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    // A few bytes may go another way than many.
    for size in [9, 3 * 1024 * 1024, 20 * 1024 * 1024] {
        let bytes = noise(size);
        let (longer, shorter) = (noise(size + 1), noise(size - 1));
        let mut altered = bytes.to_vec();
        altered[size - 1] ^= 1;
        for (first, then) in [
            (longer.clone(), longer.clone()),
            (shorter.clone(), shorter),
            (bytes.clone(), longer),
            (bytes.clone(), altered.into()),
        ] {
            let said = size as u64;
            let source = Changing { said, first: first.clone(), then, opened: AtomicBool::default() };
            match store.put(&source, &|_| {}).await {
                Ok(blob) => {
                    assert!(first == bytes, "{} bytes instead of {size} were taken", first.len());
                    assert_eq!(blob, Blob { digest: Digest::of(&bytes), size: said });
                    let read = whole(store.read(&blob.digest, None).await.unwrap()).await.unwrap();
                    assert!(read == bytes, "{size} bytes came back changed");
                }
                Err(refused) => {
                    assert_eq!(refused.kind, StorageErrorKind::SourceChanged, "{size} bytes: {refused}");
                    let seen = store.stat(&Digest::of(&first)).await.unwrap();
                    assert_eq!(seen, None, "{size} bytes that changed are there all the same");
                }
            }
        }
    }
}

/// All succeed; the blob is there once.
pub async fn concurrent_puts_of_the_same_bytes_succeed(candidate: &dyn Candidate) {
    let stores = [candidate.open().await.artifacts, candidate.open().await.artifacts];
    let bytes = noise(2_000_000);
    let puts = (0..8).map(|number| put(&*stores[number % 2], &bytes));
    for blob in join_all(puts).await {
        assert_eq!(blob.digest, Digest::of(&bytes));
    }
    assert_eq!(all(&*stores[0]).await.len(), 1);
    let read = whole(stores[1].read(&Digest::of(&bytes), None).await.unwrap()).await.unwrap();
    assert!(read == bytes);
}

/// And ends at the size.
pub async fn progress_only_grows(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let told = Mutex::new(Vec::new());
    let bytes = noise(5_000_000);
    store.put(&bytes, &|moved| told.lock().unwrap().push(moved)).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "{told:?}");
    assert_eq!(told.last(), Some(&5_000_000));
}

/// From any place on.
pub async fn blobs_are_listed_in_order_and_pages(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let mut expected = Vec::new();
    for number in 0..25_usize {
        expected.push(put(&*store, &noise(number * 10 + 1)).await);
    }
    expected.sort_by_key(|blob| blob.digest);
    let listed: Vec<Blob> = all(&*store).await.iter().map(|stored| stored.blob).collect();
    assert_eq!(listed, expected);
    let mut paged: Vec<Blob> = Vec::new();
    loop {
        let page = store.list(paged.last().map(|blob| &blob.digest), 7).await.unwrap();
        let short = page.len() < 7;
        paged.extend(page.iter().map(|stored| stored.blob));
        if short {
            break;
        }
    }
    assert_eq!(paged, expected);
}

/// Only what was not put since the given instant goes.
pub async fn removal_spares_the_young(candidate: &dyn Candidate) {
    let store = candidate.open().await.artifacts;
    let blob = put(&*store, &noise(100)).await;
    let touched = all(&*store).await[0].touched;
    assert!(!store.remove(&blob.digest, Timestamp::EPOCH).await.unwrap());
    assert!(!store.remove(&blob.digest, touched).await.unwrap());
    assert_eq!(store.stat(&blob.digest).await.unwrap(), Some(100));
    assert!(store.remove(&blob.digest, touched.saturating_add(Duration::from_secs(60))).await.unwrap());
    assert_eq!(store.stat(&blob.digest).await.unwrap(), None);
    assert_eq!(all(&*store).await, []);
}
