//! Why this exists: an upload of many gigabytes that breaks off near its end must not begin anew.
//!
//! # Resumed
//!
//! A store that was opened by URL can be asked for an upload by its id. While one is under way, a small
//! record tells which it is and which of its parts are there:
//!
//! ```text
//! POST   …/blobs/sha256/ab/cdef…?uploads          an id
//! PUT    …/blobs/uploads/abcdef…                  if absent: {"upload":"id","part_size":8388608,"parts":{}}
//! PUT    …/blobs/sha256/ab/cdef…?partNumber=1     several at once
//! PUT    …/blobs/uploads/abcdef…                  what has arrived so far, one such request at a time
//! POST   …/blobs/sha256/ab/cdef…?uploadId=id      complete
//! DELETE …/blobs/uploads/abcdef…
//! ```
//!
//! Whoever puts the same bytes later finds the record and sends what is missing. A part is sent only after it was
//! found to be what it should be (`source.rs`), so what the record says is there is right, whoever sent it.
//!
//! Nobody holds a lock. Two that put the same bytes at once share one upload; both send what neither has
//! recorded, the same bytes to the same places. One of them completes it, and the other is told that there is no
//! such upload; then the blob is there. If it is not (the upload was given up), another is begun.
//!
//! No part is sent before the record is there. So an upload that nobody knows of holds no bytes; one that
//! somebody knows of is found by a collector ([`BucketArtifacts::remove_abandoned`]) when its record is old.
//!
//! # Not resumed
//!
//! A store behind nothing but `dyn ObjectStore` has no ids to ask for. There an upload that fails is aborted, and
//! one whose process dies is left to the bucket's own rule for incomplete uploads (every cloud has one; set
//! it to a few days). A folder keeps no trace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use registry_core::storage::{ByteSource, StorageError};
use registry_core::{Clock as _, Digest, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::source::{Hashed, Parts};
use super::{BucketArtifacts, Told};
use crate::bucket::{Bucket, is_refused, written_at_latest};
use crate::log::not_done;

/// How many parts are under way at once.
const PARTS_AT_ONCE: usize = 4;
/// How many uploads are begun for one put, if others keep ending them.
const UPLOADS_MAX: u32 = 4;
/// How often, and how long apart, a record is created: through the client that never retries.
const CREATIONS_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Why an upload went no further.
enum Halt {
    /// The source cannot be read, or is not what it was.
    Source(StorageError),
    /// The store does not do it.
    Store(object_store::Error),
}

/// What became of an attempt.
enum Attempt {
    Sent,
    /// The upload is no more, and the blob is not there.
    Gone,
}

/// What is known of an upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    upload: String,
    part_size: u64,
    parts: BTreeMap<u64, String>,
}

impl Record {
    fn encoded(&self) -> Bytes {
        // Text, numbers and a map of them: there is nothing in it that cannot be written.
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }

    fn decoded(body: &[u8]) -> Option<Record> {
        serde_json::from_slice(body).ok()
    }
}

/// An upload under way, and its record in the bucket.
struct Noted {
    record: Record,
    bucket: Bucket,
    key: Path,
    /// At most one, so that none overtakes another.
    noting: JoinSet<()>,
}

impl Noted {
    fn arrived(&mut self, part: u64, id: PartId) {
        self.record.parts.insert(part, id.content_id);
        while self.noting.try_join_next().is_some() {}
        if self.noting.is_empty() {
            let (bucket, key, body) = (self.bucket.clone(), self.key.clone(), self.record.encoded());
            // What cannot be noted is sent again, if it comes to that.
            self.noting.spawn(async move { drop(bucket.put(&key, body).await) });
        }
    }

    /// Notes what has arrived in the meantime.
    async fn finish(&mut self) {
        while self.noting.join_next().await.is_some() {}
        let _ = self.bucket.put(&self.key, self.record.encoded()).await;
    }

    /// Removes the record. If it stays, a collector removes it; while the blob is there nobody looks at it.
    async fn forget(&mut self) {
        while self.noting.join_next().await.is_some() {}
        let _ = self.bucket.delete(&self.key).await;
    }
}

/// Where parts go.
enum Target<'a> {
    /// In order, each once.
    Plain(&'a mut dyn MultipartUpload),
    /// Any, and it is noted.
    ById(&'a Arc<dyn MultipartStore>, &'a Path, &'a mut Noted),
}

impl Target<'_> {
    fn send(
        &mut self,
        part: u64,
        payload: PutPayload,
    ) -> BoxFuture<'static, object_store::Result<(u64, Option<PartId>)>> {
        match self {
            Target::Plain(upload) => {
                let sending = upload.put_part(payload);
                Box::pin(async move { sending.await.map(|()| (part, None)) })
            }
            Target::ById(store, key, noted) => {
                let (store, key, id) = (Arc::clone(store), key.clone(), noted.record.upload.clone());
                let index = usize::try_from(part).unwrap_or(usize::MAX);
                Box::pin(async move { Ok((part, Some(store.put_part(&key, &id, index, payload).await?))) })
            }
        }
    }

    fn arrived(&mut self, part: u64, id: Option<PartId>) {
        if let (Target::ById(_, _, noted), Some(id)) = (self, id) {
            noted.arrived(part, id);
        }
    }
}

/// Is aborted if it is dropped, as far as that can be done without waiting.
struct Plain(Option<Box<dyn MultipartUpload>>);

impl Drop for Plain {
    fn drop(&mut self) {
        if let Some(mut upload) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

type Tasks = JoinSet<object_store::Result<(u64, Option<PartId>)>>;

/// The parts under way.
struct UnderWay<'a> {
    target: Target<'a>,
    hashed: &'a Hashed,
    told: &'a Told<'a>,
    /// Tasks of their own, so that they go on while the next part is read and hashed.
    sending: Tasks,
    /// How many bytes have arrived.
    there: u64,
}

impl UnderWay<'_> {
    /// Waits until at most so many are under way.
    async fn wait(&mut self, at_most: usize) -> Result<(), Halt> {
        while let Some(done) = match at_most < self.sending.len() {
            true => self.sending.join_next().await,
            false => self.sending.try_join_next(),
        } {
            let done = done.map_err(|error| object_store::Error::JoinError { source: error });
            let (part, id) = done.flatten().map_err(Halt::Store)?;
            self.target.arrived(part, id);
            let range = self.hashed.range(part);
            self.there = self.there.saturating_add(range.end - range.start);
            self.told.tell(self.there);
        }
        Ok(())
    }

    /// Reads, checks and sends parts.
    async fn send(&mut self, source: &dyn ByteSource, missing: &[u64]) -> Result<(), Halt> {
        let mut reading = Parts::new(source, self.hashed);
        for part in missing {
            let pieces = reading.read(*part).await.map_err(Halt::Source)?;
            self.wait(PARTS_AT_ONCE - 1).await?;
            self.sending.spawn(self.target.send(*part, pieces.into_iter().collect()));
        }
        self.wait(0).await
    }
}

/// Sends what is missing, several parts at once.
async fn send_missing<'a>(
    source: &dyn ByteSource,
    hashed: &'a Hashed,
    missing: &[u64],
    target: Target<'a>,
    told: &'a Told<'a>,
) -> Result<(), Halt> {
    let lengths = missing.iter().map(|part| hashed.range(*part)).map(|range| range.end - range.start);
    let there = hashed.blob.size.saturating_sub(lengths.sum());
    let mut under_way = UnderWay { target, hashed, told, sending: JoinSet::new(), there };
    let sent = under_way.send(source, missing).await;
    // After a failure too: what arrives then is noted, and nothing arrives after an abort.
    while !under_way.sending.is_empty() {
        let _ = under_way.wait(0).await;
    }
    sent
}

impl BucketArtifacts {
    /// Sends a blob in parts.
    pub(super) async fn send_in_parts(
        &self,
        source: &dyn ByteSource,
        hashed: &Hashed,
        told: &Told<'_>,
    ) -> Result<(), StorageError> {
        let Some(store) = &self.multipart else { return self.send_plainly(source, hashed, told).await };
        for _ in 0..UPLOADS_MAX {
            if let Attempt::Sent = self.send_or_resume(store, source, hashed, told).await? {
                return Ok(());
            }
        }
        Err(not_done(format!("others keep ending the uploads of the blob {}", hashed.blob.digest)))
    }

    async fn send_plainly(
        &self,
        source: &dyn ByteSource,
        hashed: &Hashed,
        told: &Told<'_>,
    ) -> Result<(), StorageError> {
        let key = self.bucket.keys.blob(&hashed.blob.digest);
        let failed = |error: object_store::Error| self.bucket.failed("writing", &key, &error);
        let mut upload = Plain(Some(self.bucket.store.put_multipart(&key).await.map_err(failed)?));
        let all: Vec<u64> = (0..hashed.parts()).collect();
        let sent = match &mut upload.0 {
            Some(upload) => send_missing(source, hashed, &all, Target::Plain(upload.as_mut()), told).await,
            None => Ok(()),
        };
        let Some(mut upload) = upload.0.take() else { return Ok(()) };
        let completed = match sent {
            Ok(()) => upload.complete().await.map(drop).map_err(Halt::Store),
            halted => halted,
        };
        let problem = match completed {
            Ok(()) => return Ok(()),
            // Where a reply was lost, or another has put the same bytes, what is there decides.
            Err(Halt::Store(_)) if self.is_there(hashed).await? => return Ok(()),
            Err(Halt::Store(error)) => failed(error),
            Err(Halt::Source(error)) => error,
        };
        let _ = upload.abort().await;
        Err(problem)
    }

    /// Goes on with the upload that is under way, or begins one.
    async fn send_or_resume(
        &self,
        store: &Arc<dyn MultipartStore>,
        source: &dyn ByteSource,
        hashed: &Hashed,
        told: &Told<'_>,
    ) -> Result<Attempt, StorageError> {
        let key = self.bucket.keys.blob(&hashed.blob.digest);
        let (record, is_new) = self.record(store, hashed).await?;
        let mut noted = Noted {
            record,
            bucket: self.bucket.clone(),
            key: self.bucket.keys.upload(&hashed.blob.digest),
            noting: JoinSet::new(),
        };
        let missing: Vec<u64> =
            (0..hashed.parts()).filter(|part| !noted.record.parts.contains_key(part)).collect();
        let target = Target::ById(store, &key, &mut noted);
        let sent = send_missing(source, hashed, &missing, target, told).await;
        let id = noted.record.upload.clone();
        let (error, is_useless) = match sent {
            Ok(()) => {
                let parts = noted.record.parts.values();
                let parts = parts.map(|id| PartId { content_id: id.clone() }).collect();
                match store.complete_multipart(&key, &id, parts).await {
                    Ok(_) => {
                        noted.forget().await;
                        return Ok(Attempt::Sent);
                    }
                    // There is no such upload any more, or its parts are not what the record says.
                    Err(error) => {
                        let is_useless = is_refused(&error);
                        (error, is_useless)
                    }
                }
            }
            // What others sent is as good as it was.
            Err(Halt::Source(error)) if !is_new => {
                noted.finish().await;
                return Err(error);
            }
            Err(Halt::Source(error)) => {
                let _ = store.abort_multipart(&key, &id).await;
                noted.forget().await;
                return Err(error);
            }
            // A network that failed for a moment says nothing about the parts that are there.
            Err(Halt::Store(error)) => {
                let is_useless = matches!(error, object_store::Error::NotFound { .. });
                (error, is_useless)
            }
        };
        // A reply was lost, or another has completed the same upload.
        if self.is_there(hashed).await? {
            noted.forget().await;
            return Ok(Attempt::Sent);
        }
        match self.recorded(&hashed.blob.digest).await? {
            // Another sends the same parts, and some of ours were replaced by its.
            Some(found) if found.upload == id && is_useless && found.parts != noted.record.parts => {
                SystemClock.sleep(PAUSE).await;
                Ok(Attempt::Gone)
            }
            Some(found) if found.upload == id && is_useless => {
                let _ = store.abort_multipart(&key, &id).await;
                noted.forget().await;
                Ok(Attempt::Gone)
            }
            // The next put of these bytes goes on from here.
            Some(found) if found.upload == id => {
                noted.finish().await;
                Err(self.bucket.failed("writing", &key, &error))
            }
            // Another has given it up, and maybe begun a new one.
            _ => Ok(Attempt::Gone),
        }
    }

    async fn recorded(&self, digest: &Digest) -> Result<Option<Record>, StorageError> {
        let body = self.bucket.get(&self.bucket.keys.upload(digest)).await?;
        Ok(body.and_then(|body| Record::decoded(&body)))
    }

    /// The record of an upload of these bytes: the one that is there, or that of a new upload. Says which.
    async fn record(
        &self,
        store: &Arc<dyn MultipartStore>,
        hashed: &Hashed,
    ) -> Result<(Record, bool), StorageError> {
        let digest = &hashed.blob.digest;
        let (key, record_key) = (self.bucket.keys.blob(digest), self.bucket.keys.upload(digest));
        let failed = |error: &object_store::Error| self.bucket.failed("writing", &key, error);
        if let Some(found) = self.bucket.get(&record_key).await? {
            match Record::decoded(&found) {
                Some(record) if record.part_size == hashed.part_size() => return Ok((record, false)),
                // Of another version of this library, or damaged.
                record => {
                    if let Some(record) = record {
                        let _ = store.abort_multipart(&key, &record.upload).await;
                    }
                    self.bucket.delete(&record_key).await?;
                }
            }
        }
        let upload = store.create_multipart(&key).await.map_err(|error| failed(&error))?;
        let record = Record { upload, part_size: hashed.part_size(), parts: BTreeMap::new() };
        let created = self.create_record(&record_key, &record).await;
        let is_ours = matches!(&created, Ok(kept) if kept.upload == record.upload);
        if !is_ours {
            let _ = store.abort_multipart(&key, &record.upload).await;
        }
        Ok((created?, is_ours))
    }

    /// Creates a record if there is none. Gives the one that is there then.
    async fn create_record(&self, key: &Path, record: &Record) -> Result<Record, StorageError> {
        let mut problem = not_done(format!("the upload record {key} comes and goes"));
        for _ in 0..CREATIONS_MAX {
            match self.bucket.create(key, record.encoded()).await {
                Ok(true) => return Ok(record.clone()),
                Ok(false) => {}
                Err(error) => problem = self.bucket.failed("writing", key, &error),
            }
            // Another was faster, or the reply was lost.
            match self.bucket.get(key).await?.as_deref().map(Record::decoded) {
                Some(Some(found)) if found.part_size == record.part_size => return Ok(found),
                _ => SystemClock.sleep(PAUSE).await,
            }
        }
        Err(problem)
    }

    /// Gives up the uploads to which nothing was added since an instant.
    pub(super) async fn give_up(&self, untouched_since: Timestamp) -> Result<u64, StorageError> {
        let Some(store) = &self.multipart else { return Ok(0) };
        let mut old = Vec::new();
        self.bucket
            .list(&self.bucket.keys.uploads(), None, |meta| {
                if written_at_latest(&meta) < untouched_since {
                    old.extend(
                        meta.location
                            .filename()
                            .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()),
                    );
                }
                true
            })
            .await?;
        let mut given_up = 0;
        for digest in &old {
            // Somebody may have gone on with it since it was listed.
            let is_old = |meta: object_store::ObjectMeta| written_at_latest(&meta) < untouched_since;
            if !self.bucket.head(&self.bucket.keys.upload(digest)).await?.is_some_and(is_old) {
                continue;
            }
            if let Some(record) = self.recorded(digest).await? {
                let key = self.bucket.keys.blob(digest);
                match store.abort_multipart(&key, &record.upload).await {
                    Ok(()) => {}
                    // It was completed, or the bucket's own rule was faster.
                    Err(error) if is_refused(&error) => {}
                    Err(error) => return Err(self.bucket.failed("aborting the upload of", &key, &error)),
                }
            }
            self.bucket.delete(&self.bucket.keys.upload(digest)).await?;
            given_up += 1;
        }
        Ok(given_up)
    }
}
