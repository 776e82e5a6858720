//! Why this exists: bytes in a bucket, each object named by the SHA-256 of its bytes.
//!
//! # In
//!
//! The source is read once to learn the digest. Known bytes are not sent. Others go up in one request if
//! they are small (what was read is still in memory), else in parts, a few at once, while the
//! source is read for the second time and its digest checked again: a file that changed meanwhile is
//! never stored under the wrong name. An upload that fails is aborted; one whose process dies is left to
//! the bucket's own rule for incomplete uploads (every cloud has one; set it to a few days).
//!
//! # The age of known bytes
//!
//! Bytes that are put again must look young, or a collector would take them. A bucket cannot change the
//! date of an object, and copying an object onto itself is refused here and slow there. So a small marker
//! is written over, `blobs/touched/<hex>`, whose date is the store's own. The age of a blob is that of the
//! younger of the two.
//!
//! # Removing beside writing
//!
//! A collector that finds bytes old and removes them a moment later must not hit somebody who has just
//! relied on them. Each of the two first says what it does and then looks what the other has said:
//!
//! ```text
//! put, renew:   write the blob or `touched`   then look for `removing`
//! remove:       write `removing`              then look at the dates; remove if both are old
//! ```
//!
//! Whatever the order, one sees the other. A collector that sees young bytes lets them be; a writer
//! that sees a collector waits until it has finished, and looks again whether the bytes are there. What a
//! collector left behind that died is ignored after [`REMOVING_MAX`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select, try_join};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use registry_core::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, Progress, StorageError, StorageErrorKind, StoredBlob,
};
use registry_core::{Clock as _, Digest, Hasher, SystemClock, Timestamp};

use crate::bucket::{Bucket, written, written_at_latest};
use crate::key;
use crate::log::not_done;

/// What is larger goes in parts of this size.
const PART: usize = 16 * 1024 * 1024;
/// How many parts a store takes at most, with a margin; larger blobs go in larger parts.
const PARTS_MAX: u64 = 9_000;
/// How many parts are under way at once.
const PARTS_AT_ONCE: usize = 4;
/// What is larger is read in ranges of this size.
const RANGE: u64 = 8 * 1024 * 1024;
/// How many ranges are under way at once.
const RANGES_AT_ONCE: usize = 6;
/// After how long a collector's mark is taken for a dead one's: longer than any request may take.
const REMOVING_MAX: Duration = Duration::from_secs(60 * 60);
/// How often, and how long apart, a collector is waited for.
const WAITS_MAX: u32 = 100;
const WAIT: Duration = Duration::from_millis(100);

/// Bytes as objects in a bucket.
#[derive(Debug, Clone)]
pub struct BucketArtifacts {
    bucket: Bucket,
}

/// What the first reading of a source found.
struct Hashed {
    blob: Blob,
    /// The bytes, if they are few.
    bytes: Option<Bytes>,
}

fn changed() -> StorageError {
    not_done("the source gave other bytes when it was read again: it changed meanwhile")
}

fn missing(digest: &Digest) -> StorageError {
    StorageError::new(StorageErrorKind::Missing, format!("the blob {digest} is missing"))
}

impl BucketArtifacts {
    pub(crate) fn new(bucket: Bucket) -> Self {
        BucketArtifacts { bucket }
    }

    async fn hash(source: &dyn ByteSource) -> Result<Hashed, StorageError> {
        let mut stream = source.open(0).await?;
        let mut hasher = Hasher::new();
        let mut size = 0_u64;
        let mut kept = Some(BytesMut::new());
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            hasher.update(&piece);
            size = size.saturating_add(piece.len() as u64);
            match &mut kept {
                Some(bytes) if bytes.len() + piece.len() <= PART => bytes.extend_from_slice(&piece),
                _ => kept = None,
            }
        }
        if let Some(expected) = source.size()
            && expected != size
        {
            let message = format!("the source gave {size} bytes instead of {expected}: it changed meanwhile");
            return Err(not_done(message));
        }
        let blob = Blob { digest: hasher.finish(), size };
        Ok(Hashed { blob, bytes: kept.map(BytesMut::freeze) })
    }

    async fn touch(&self, digest: &Digest) -> Result<(), StorageError> {
        // The date is what counts; some servers do not like empty bodies.
        self.bucket.put(&self.bucket.keys.touched(digest), Bytes::from_static(b"touched\n")).await
    }

    /// Waits until no collector is at a blob. Says whether one was.
    async fn undisturbed(&self, digest: &Digest) -> Result<bool, StorageError> {
        let removing = self.bucket.keys.removing(digest);
        for attempt in 0..WAITS_MAX {
            let Some(found) = self.bucket.head(&removing).await? else { return Ok(attempt == 0) };
            // Both dates are the store's.
            let now = match self.bucket.head(&self.bucket.keys.touched(digest)).await? {
                Some(touched) => written(&touched),
                None => self.size_and_date(digest).await?.map_or(Timestamp::EPOCH, |(_, date)| date),
            };
            if REMOVING_MAX < now.since(written(&found)) {
                return Ok(attempt == 0);
            }
            SystemClock.sleep(WAIT).await;
        }
        Err(not_done(format!("the blob {digest} is being removed by a collector that does not finish")))
    }

    async fn size_and_date(&self, digest: &Digest) -> Result<Option<(u64, Timestamp)>, StorageError> {
        let found = self.bucket.head(&self.bucket.keys.blob(digest)).await?;
        Ok(found.map(|meta| (meta.size, written(&meta))))
    }

    /// Sends a blob, whatever is there.
    async fn send(
        &self,
        source: &dyn ByteSource,
        hashed: &Hashed,
        progress: Progress<'_>,
    ) -> Result<(), StorageError> {
        let target = self.bucket.keys.blob(&hashed.blob.digest);
        if let Some(bytes) = &hashed.bytes {
            self.bucket.put(&target, bytes.clone()).await?;
            progress(hashed.blob.size);
            return Ok(());
        }
        let failed = |error: object_store::Error| self.bucket.failed("writing", &target, &error);
        let mut upload = Upload(Some(self.bucket.store.put_multipart(&target).await.map_err(failed)?));
        let sent = self.send_parts(source, hashed.blob, &mut upload, &target, progress).await;
        match (sent, upload.0.take()) {
            (Ok(()), Some(mut finished)) => {
                if let Err(error) = finished.complete().await {
                    let error = failed(error);
                    // Where the reply was lost, what is there decides.
                    if self.stat(&hashed.blob.digest).await? != Some(hashed.blob.size) {
                        let _ = finished.abort().await;
                        return Err(error);
                    }
                }
            }
            (Err(error), Some(mut unfinished)) => {
                let _ = unfinished.abort().await;
                return Err(error);
            }
            (result, None) => return result,
        }
        match self.stat(&hashed.blob.digest).await? {
            Some(size) if size == hashed.blob.size => Ok(()),
            found => {
                let found = found.map_or("nothing".to_owned(), |size| format!("{size} bytes"));
                let message =
                    format!("{} bytes were sent to {target}, and {found} arrived", hashed.blob.size);
                Err(StorageError::new(StorageErrorKind::Corrupt, message))
            }
        }
    }

    async fn send_parts(
        &self,
        source: &dyn ByteSource,
        blob: Blob,
        upload: &mut Upload,
        target: &Path,
        progress: Progress<'_>,
    ) -> Result<(), StorageError> {
        let Some(upload) = &mut upload.0 else { return Ok(()) };
        let part_size = usize::try_from(blob.size / PARTS_MAX + 1).unwrap_or(usize::MAX).max(PART);
        let mut stream = source.open(0).await?;
        let mut hasher = Hasher::new();
        let (mut read, mut sent) = (0_u64, 0_u64);
        let mut part: Vec<Bytes> = Vec::new();
        let mut part_len = 0_usize;
        let mut piece = Bytes::new();
        let mut under_way = FuturesUnordered::new();
        let mut ended = false;
        loop {
            // All parts but the last must be of one size, whatever the sizes of the pieces.
            if !piece.is_empty() && part_len < part_size {
                let cut = piece.split_to(piece.len().min(part_size - part_len));
                part_len += cut.len();
                part.push(cut);
                continue;
            }
            let ready = part_len == part_size || (ended && 0 < part_len);
            if ready && under_way.len() < PARTS_AT_ONCE {
                let payload: PutPayload = std::mem::take(&mut part).into_iter().collect();
                let size = std::mem::take(&mut part_len) as u64;
                let sending = upload.put_part(payload);
                under_way.push(async move { sending.await.map(|()| size) });
                continue;
            }
            if ended && !ready && under_way.is_empty() {
                break;
            }
            // While one is waited for, the other goes on.
            let next = match (ended || ready, under_way.is_empty()) {
                (true, _) => Either::Right(under_way.next().await),
                (false, true) => Either::Left(stream.next().await),
                (false, false) => match select(stream.next(), under_way.next()).await {
                    Either::Left((piece, _)) => Either::Left(piece),
                    Either::Right((done, _)) => Either::Right(done),
                },
            };
            match next {
                Either::Left(Some(next)) => {
                    piece = next?;
                    hasher.update(&piece);
                    read = read.saturating_add(piece.len() as u64);
                    if blob.size < read {
                        return Err(changed());
                    }
                }
                Either::Left(None) => ended = true,
                Either::Right(Some(done)) => {
                    let size = done.map_err(|error| self.bucket.failed("writing", target, &error))?;
                    sent = sent.saturating_add(size);
                    progress(sent);
                }
                Either::Right(None) => {}
            }
        }
        if read != blob.size || hasher.finish() != blob.digest {
            return Err(changed());
        }
        Ok(())
    }
}

/// An upload that is aborted if it is dropped, as far as that can be done without waiting.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

#[async_trait]
impl ArtifactStore for BucketArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        self.bucket.check_writable()?;
        let hashed = BucketArtifacts::hash(source).await?;
        let digest = hashed.blob.digest;
        let mut known = self.stat(&digest).await? == Some(hashed.blob.size);
        for _ in 0..WAITS_MAX {
            if known {
                self.touch(&digest).await?;
            } else {
                // Also in place of a damaged one.
                self.send(source, &hashed, progress).await?;
            }
            if self.undisturbed(&digest).await? {
                progress(hashed.blob.size);
                return Ok(hashed.blob);
            }
            // A collector was at it, and may have taken what was sent.
            known = self.stat(&digest).await? == Some(hashed.blob.size);
        }
        Err(not_done(format!("collectors keep removing the blob {digest}")))
    }

    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        Ok(self.size_and_date(digest).await?.map(|(size, _)| size))
    }

    async fn renew(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.bucket.check_writable()?;
        for _ in 0..WAITS_MAX {
            self.touch(digest).await?;
            let (size, undisturbed) = try_join(self.stat(digest), self.undisturbed(digest)).await?;
            match size {
                None => {
                    // Otherwise the marker would outlive the blob.
                    self.bucket.delete(&self.bucket.keys.touched(digest)).await?;
                    return Ok(None);
                }
                Some(size) if undisturbed => return Ok(Some(size)),
                Some(_) => {}
            }
        }
        Err(not_done(format!("collectors keep removing the blob {digest}")))
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let key = self.bucket.keys.blob(digest);
        let bucket = self.bucket.clone();
        let digest = *digest;
        let failed = move |key: &Path, error: object_store::Error| match error {
            object_store::Error::NotFound { .. } => missing(&digest),
            error => bucket.failed("reading", key, &error),
        };
        let range = match range {
            None => {
                let found = self.bucket.store.get(&key).await.map_err(|error| failed(&key, error))?;
                if found.meta.size <= RANGE {
                    return Ok(Box::pin(found.into_stream().map_err(move |error| failed(&key, error))));
                }
                // One stream of a large object is slower than several ranges at once.
                0..found.meta.size
            }
            Some(range) => {
                let Some(size) = self.stat(&digest).await? else { return Err(missing(&digest)) };
                range.start..range.end.min(size)
            }
        };
        let store = std::sync::Arc::clone(&self.bucket.store);
        let starts = futures_util::stream::iter((range.start..range.end).step_by(RANGE as usize));
        let pieces = starts
            .map(move |start| {
                let (store, key, failed) = (std::sync::Arc::clone(&store), key.clone(), failed.clone());
                async move {
                    let piece = start..start.saturating_add(RANGE).min(range.end);
                    let read = store.get_range(&key, piece).await;
                    read.map_err(|error| failed(&key, error))
                }
            })
            .buffered(RANGES_AT_ONCE);
        // After an error nothing follows.
        Ok(Box::pin(futures_util::stream::try_unfold(Box::pin(pieces), |mut pieces| async move {
            Ok(pieces.try_next().await?.map(|piece| (piece, pieces)))
        })))
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, StorageError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let keys = &self.bucket.keys;
        let mut found: Vec<StoredBlob> = Vec::new();
        let offset = after.map(|after| keys.blob(after));
        self.bucket
            .list(&keys.blobs(), offset.as_ref(), |meta| {
                found.extend(key::digest_of(&meta.location).map(|digest| StoredBlob {
                    blob: Blob { digest, size: meta.size },
                    touched: written(&meta),
                }));
                found.len() < limit
            })
            .await?;
        let Some(last) = found.last().map(|last| keys.touched(&last.blob.digest)) else { return Ok(found) };
        // The markers of the same span of digests.
        let mut touched: BTreeMap<String, Timestamp> = BTreeMap::new();
        let offset = after.map(|after| keys.touched(after));
        self.bucket
            .list(&keys.touches(), offset.as_ref(), |meta| {
                touched.extend(meta.location.filename().map(|hex| (hex.to_owned(), written(&meta))));
                meta.location < last
            })
            .await?;
        for stored in &mut found {
            let renewed = touched.get(&stored.blob.digest.hex());
            stored.touched = renewed.copied().unwrap_or(stored.touched).max(stored.touched);
        }
        Ok(found)
    }

    async fn remove(&self, digest: &Digest, untouched_since: Timestamp) -> Result<bool, StorageError> {
        self.bucket.check_writable()?;
        let keys = &self.bucket.keys;
        let (blob, touched, removing) = (keys.blob(digest), keys.touched(digest), keys.removing(digest));
        let dates = || try_join(self.bucket.head(&blob), self.bucket.head(&touched));
        // Most are refused here already, without a mark that others would have to wait for.
        let old = |(blob, touched): &(Option<_>, Option<_>)| {
            [blob, touched].into_iter().flatten().all(|meta| written_at_latest(meta) < untouched_since)
        };
        let before = dates().await?;
        if before.0.is_none() {
            return Ok(true);
        }
        if !old(&before) {
            return Ok(false);
        }
        self.bucket.put(&removing, Bytes::from_static(b"removing\n")).await?;
        let removed = async {
            if !old(&dates().await?) {
                return Ok(false);
            }
            self.bucket.delete(&blob).await?;
            self.bucket.delete(&touched).await?;
            Ok(true)
        };
        let removed = removed.await;
        self.bucket.delete(&removing).await?;
        removed
    }
}
