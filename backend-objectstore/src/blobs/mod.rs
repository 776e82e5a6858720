//! Why this exists: bytes in a bucket, each object named by the SHA-256 of its bytes.
//!
//! # In
//!
//! The source is read once to learn the digest. Known bytes are not sent. Others go up in one request if
//! they are small (what was read is still in memory), else in parts, a few at once, while the
//! source is read for the second time. Each part is checked before it is sent (`source.rs`): a file that
//! changed meanwhile is never stored under the wrong name. How an upload that broke off is resumed is told in
//! `upload.rs`.
//!
//! # Out
//!
//! A large blob is read by ranges, a few at once, each by a task of its own, so that the network goes on
//! while whoever reads hashes and writes. At most so many ranges as are under way at once are in memory.
//!
//! # The age of known bytes
//!
//! Bytes that are put again must look young, or a collector would take them. A bucket cannot change the
//! date of an object, and copying an object onto itself is refused here and slow there. So a small marker
//! is written over, `blobs/touched/<hex>`, whose date is the store's own. The age of a blob is that of the
//! younger of the two. What goes up in parts is touched too, before it is complete: S3 dates such an
//! object by the beginning of its upload, which may be days ago.
//!
//! # Removing beside writing
//!
//! A collector that finds bytes old and removes them a moment later must not hit somebody who has just
//! relied on them. Each of the two first says what it does and then looks what the other has said:
//!
//! ```text
//! put, renew:   write the blob or `touched`      look for `removing`      look for the blob
//! remove:       create `removing` if absent      look at the dates        remove, if both are old
//!               remove `removing`
//! ```
//!
//! A collector that says so before the writer looks is seen, and waited for, if it is not done yet. If it is,
//! the blob is gone before the writer looks for it, and is sent again. One that says so later sees young
//! bytes, and lets them be. Of two collectors one gives way, or the first to finish would remove the mark of
//! the other. What a collector left behind that died is ignored after [`REMOVING_MAX`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{GetOptions, GetRange};
use registry_core::storage::{
    ArtifactStore, Blob, ByteSource, ByteStream, Progress, StorageError, StorageErrorKind, StoredBlob,
};
use registry_core::{Clock as _, Digest, IdSource as _, SystemClock, SystemIds, Timestamp};
use tokio::task::JoinHandle;

use crate::bucket::{Bucket, written, written_at_latest};
use crate::key;
use crate::log::not_done;
use source::Hashed;

mod source;
mod upload;

/// What is larger is read in ranges of this size.
const RANGE: u64 = 4 * 1024 * 1024;
/// How many ranges are under way at once.
const RANGES_AT_ONCE: usize = 6;
/// After how long a collector's mark is taken for a dead one's: longer than any request may take.
const REMOVING_MAX: Duration = Duration::from_secs(60 * 60);
/// How often, and how long apart, a collector is waited for.
const WAITS_MAX: u32 = 100;
const WAIT: Duration = Duration::from_millis(100);
/// How often a collector tries to make its mark, through the client that never retries.
const MARKS_MAX: u32 = 5;
/// How often a blob is sent for one put, if collectors keep removing it.
const SENT_MAX: u32 = 5;

/// Bytes as objects in a bucket.
#[derive(Clone)]
pub struct BucketArtifacts {
    bucket: Bucket,
    multipart: Option<Arc<dyn MultipartStore>>,
    signer: Option<Arc<dyn Signer>>,
}

/// Without the signer, which holds a secret.
impl fmt::Debug for BucketArtifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resumes = self.multipart.is_some();
        f.debug_struct("BucketArtifacts").field("bucket", &self.bucket).field("resumes", &resumes).finish()
    }
}

/// Passes progress on so that it only grows, also where an upload begins anew.
struct Told<'a> {
    progress: Progress<'a>,
    most: AtomicU64,
}

impl Told<'_> {
    fn tell(&self, moved: u64) {
        if self.most.fetch_max(moved, Ordering::Relaxed) <= moved {
            (self.progress)(moved);
        }
    }
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn missing(digest: &Digest) -> StorageError {
    StorageError::new(StorageErrorKind::Missing, format!("the blob {digest} is missing"))
}

impl BucketArtifacts {
    pub(crate) fn new(bucket: Bucket) -> Self {
        BucketArtifacts { bucket, multipart: None, signer: None }
    }

    /// The same, resuming uploads that broke off. `store` must be the very store that this was opened on:
    /// behind `dyn ObjectStore` its uploads cannot be asked for by their ids.
    #[must_use]
    pub fn resuming(mut self, store: Arc<dyn MultipartStore>) -> Self {
        self.multipart = Some(store);
        self
    }

    /// The same, giving URLs for downloads. `store` must be the very store that this was opened on.
    #[must_use]
    pub fn signing(mut self, store: Arc<dyn Signer>) -> Self {
        self.signer = Some(store);
        self
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
            // Both dates are the store's; one of them was written just before this.
            let touched = self.bucket.head(&self.bucket.keys.touched(digest)).await?;
            let touched = touched.as_ref().map_or(Timestamp::EPOCH, written);
            let sent = self.size_and_date(digest).await?.map_or(Timestamp::EPOCH, |(_, date)| date);
            let now = touched.max(sent);
            if REMOVING_MAX < now.since(written(&found)) {
                return Ok(attempt == 0);
            }
            SystemClock.sleep(WAIT).await;
        }
        Err(not_done(format!("the blob {digest} is being removed by a collector that does not finish")))
    }

    /// Says that a collector is at a blob. Gives way to another one, unless that is long dead.
    async fn mark(&self, removing: &Path, untouched_since: Timestamp) -> Result<bool, StorageError> {
        let body = Bytes::from(format!("{:032x}\n", SystemIds.next_id()));
        let mut problem = None;
        for _ in 0..MARKS_MAX {
            let created = self.bucket.create(removing, body.clone()).await;
            if let Ok(true) = created {
                return Ok(true);
            }
            problem = created.err().map(|error| self.bucket.failed("writing", removing, &error));
            if self.bucket.get(removing).await?.as_ref() == Some(&body) {
                return Ok(true);
            }
            match self.bucket.head(removing).await? {
                Some(found) if untouched_since <= written_at_latest(&found) => return Ok(false),
                // Its grace period is over too.
                Some(_) => self.bucket.delete(removing).await?,
                None => SystemClock.sleep(WAIT).await,
            }
        }
        problem.map_or(Ok(false), Err)
    }

    async fn size_and_date(&self, digest: &Digest) -> Result<Option<(u64, Timestamp)>, StorageError> {
        let found = self.bucket.head(&self.bucket.keys.blob(digest)).await?;
        Ok(found.map(|meta| (meta.size, written(&meta))))
    }

    async fn is_there(&self, hashed: &Hashed) -> Result<bool, StorageError> {
        Ok(self.stat(&hashed.blob.digest).await? == Some(hashed.blob.size))
    }

    /// Sends a blob, whatever is there.
    async fn send(
        &self,
        source: &dyn ByteSource,
        hashed: &Hashed,
        told: &Told<'_>,
    ) -> Result<(), StorageError> {
        let target = self.bucket.keys.blob(&hashed.blob.digest);
        match &hashed.bytes {
            Some(bytes) => return self.bucket.put(&target, bytes.clone()).await,
            None => {
                self.touch(&hashed.blob.digest).await?;
                self.send_in_parts(source, hashed, told).await?;
                // A store may date it by the beginning of the upload, which may have been long ago.
                self.touch(&hashed.blob.digest).await?;
            }
        }
        match self.stat(&hashed.blob.digest).await? {
            Some(size) if size != hashed.blob.size => {
                let message = format!("{} bytes were sent to {target}, and {size} arrived", hashed.blob.size);
                Err(StorageError::new(StorageErrorKind::Corrupt, message))
            }
            // If it is gone, a collector took it, and will be noticed.
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ArtifactStore for BucketArtifacts {
    async fn put(&self, source: &dyn ByteSource, progress: Progress<'_>) -> Result<Blob, StorageError> {
        self.bucket.check_writable()?;
        let told = Told { progress, most: AtomicU64::new(0) };
        let hashed = Hashed::read(source).await?;
        let digest = hashed.blob.digest;
        let mut known = self.is_there(&hashed).await?;
        let mut sent = 0;
        for _ in 0..WAITS_MAX {
            if known {
                self.touch(&digest).await?;
            } else if sent < SENT_MAX {
                // Also in place of a damaged one.
                self.send(source, &hashed, &told).await?;
                sent += 1;
            } else {
                break;
            }
            let undisturbed = self.undisturbed(&digest).await?;
            // Only after that: a collector that has finished in between leaves no other trace.
            known = self.is_there(&hashed).await?;
            if undisturbed && known {
                told.tell(hashed.blob.size);
                return Ok(hashed.blob);
            }
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
            let undisturbed = self.undisturbed(digest).await?;
            match self.stat(digest).await? {
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
        let (range, first) = match range {
            None => {
                // A part of nothing cannot be asked for.
                let part = (digest != Digest::of(b"")).then_some(GetRange::Bounded(0..RANGE));
                let options = GetOptions { range: part, ..GetOptions::default() };
                let found = match self.bucket.store.get_opts(&key, options).await {
                    Ok(found) => found,
                    // There is no range in what was cut down to nothing.
                    Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
                        if self.stat(&digest).await.is_ok_and(|size| size == Some(0)) {
                            return Ok(Box::pin(futures_util::stream::empty()));
                        }
                        return Err(failed(&key, error));
                    }
                    Err(error) => return Err(failed(&key, error)),
                };
                let size = found.meta.size;
                if size <= RANGE {
                    return Ok(Box::pin(found.into_stream().map_err(move |error| failed(&key, error))));
                }
                // One stream of a large object is slower than several ranges at once.
                (RANGE..size, Some(Task(tokio::spawn(found.into_stream().try_collect::<Vec<Bytes>>()))))
            }
            Some(range) => {
                let Some(size) = self.stat(&digest).await? else { return Err(missing(&digest)) };
                (range.start..range.end.min(size), None)
            }
        };
        let store = Arc::clone(&self.bucket.store);
        let rest = (range.start..range.end).step_by(RANGE as usize);
        let rest = rest.map(move |start| (None, start..start.saturating_add(RANGE).min(range.end)));
        let pieces =
            futures_util::stream::iter(first.map(|first| (Some(first), 0..RANGE)).into_iter().chain(rest))
                .map(move |(begun, piece)| {
                    let (store, key, failed) = (Arc::clone(&store), key.clone(), failed.clone());
                    async move {
                        // In a task of its own, so that it goes on while what came before is hashed and written.
                        let mut reading = begun.unwrap_or_else(|| {
                            let key = key.clone();
                            let options = GetOptions { range: Some(piece.into()), ..GetOptions::default() };
                            Task(tokio::spawn(async move {
                                store.get_opts(&key, options).await?.into_stream().try_collect().await
                            }))
                        });
                        match (&mut reading.0).await {
                            Ok(read) => read.map_err(|error| failed(&key, error)),
                            Err(_) => Err(not_done(format!("reading {key} was interrupted"))),
                        }
                    }
                })
                .buffered(RANGES_AT_ONCE);
        // As they came, not copied into one. After an error nothing follows.
        let pieces =
            pieces.map_ok(|pieces| futures_util::stream::iter(pieces.into_iter().map(Ok))).try_flatten();
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
        if !self.mark(&removing, untouched_since).await? {
            return Ok(false);
        }
        let mut in_doubt = false;
        let removed = async {
            if !old(&dates().await?) {
                return Ok(false);
            }
            if let Err(error) = self.bucket.delete(&blob).await {
                in_doubt = true;
                return Err(error);
            }
            self.bucket.delete(&touched).await?;
            Ok(true)
        };
        let removed = removed.await;
        // A removal that may yet come must go on warning those who write; the mark loses its force with time.
        if !in_doubt {
            self.bucket.delete(&removing).await?;
        }
        removed
    }
    /// Where the store was opened by URL on a cloud, or was given to [`BucketArtifacts::signing`].
    async fn download_url(
        &self,
        digest: &Digest,
        valid_for: Duration,
    ) -> Result<Option<String>, StorageError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let key = self.bucket.keys.blob(digest);
        match signer.signed_url(Method::GET, &key, valid_for).await {
            Ok(url) => Ok(Some(url.into())),
            Err(object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }) => {
                Ok(None)
            }
            Err(error) => Err(self.bucket.failed("signing a URL for", &key, &error)),
        }
    }

    async fn remove_abandoned(&self, untouched_since: Timestamp) -> Result<u64, StorageError> {
        self.bucket.check_writable()?;
        self.give_up(untouched_since).await
    }
}
