//! A bucket as storage for a model registry: S3, Google Cloud Storage, Azure, a shared folder or memory,
//! with no server and no database. Any number of processes may use one registry at once.
//!
//! ```
//! use std::sync::Arc;
//!
//! use backend_objectstore::object_store::memory::InMemory;
//! use registry_core::RegistryExt as _;
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! // Any store that `object_store` knows, built as you like it …
//! let registry = backend_objectstore::open(Arc::new(InMemory::new()), "team-a").await?;
//! assert!(registry.models(None, 10).await?.is_empty());
//!
//! // … or a URL: see `BucketConnector` for the schemes and their options.
//! let connectors = registry_core::Connectors::new().with(backend_objectstore::BucketConnector);
//! let registry = connectors.open("memory://").await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(open())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The layout of the keys is drawn in `key.rs`, the protocol of commits in `log.rs`, that of bytes in
//! `blobs.rs`.
//!
//! # What it asks of a store
//!
//! * **Create if absent.** S3, Google, Azure and file systems have it. Some servers that speak S3 ignore it,
//!   and would lose commits silently; therefore it is tried out when a registry is made, and a store that
//!   fails is refused.
//! * **Strong consistency**: what was written is read and listed at once. The three clouds promise it.
//!
//! # What it promises
//!
//! A commit that was acknowledged is as durable as the store keeps an object. Waiting is bounded by the
//! store's client. It runs on `tokio`, as `object_store` does.
//!
//! **Architecture Invariants:** this crate holds no rule of the registry. There is one way to write a commit,
//! create if absent; nothing here overwrites or removes one. Only `connect.rs` knows which cloud it
//! speaks to.

mod blobs;
mod bucket;
mod connect;
mod files;
mod key;
mod log;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use object_store::ObjectStore;
use registry_core::storage::StorageError;
use registry_core::{Clock as _, Engine, Error, IdSource as _, SystemClock, SystemIds};

pub use blobs::BucketArtifacts;
pub use connect::BucketConnector;
pub use files::BucketFiles;
pub use log::BucketLog;
pub use object_store;

use bucket::{Bucket, Secrets};
use key::Keys;

/// Compiles and runs what the document shows.
#[cfg(doctest)]
#[doc = include_str!("../../docs/object-stores.md")]
mod document {}

/// A registry in a bucket.
pub type BucketRegistry = Engine<BucketLog, BucketArtifacts>;

/// The format of the layout that this version writes.
const FORMAT: u64 = 1;
/// The body of the layout marker.
const MARKER: &[u8] = b"{\"format\":1,\"what\":\"model-registry\"}\n";
/// How many try to create the same object when a store is tried out.
const RACERS: usize = 8;
/// How many try after them, one by one, as long as the store is too busy to answer properly.
const LATECOMERS_MAX: usize = 4;
/// How long each waits after one who was turned away.
const BUSY_WAIT: Duration = Duration::from_millis(1_500);

/// How a bucket is opened.
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    /// Refuse all writes.
    pub read_only: bool,
    /// Make the registry if it is not there.
    pub create: bool,
}

impl Default for Options {
    /// Writable, created if missing.
    fn default() -> Self {
        Options { read_only: false, create: true }
    }
}

impl Options {
    /// Opens the registry below `prefix` in a store that you built. An empty prefix is the whole store.
    ///
    /// Set the store's retries low: what it retries by itself can turn a success into a "slot taken", which
    /// the engine resolves, at the price of another look.
    pub async fn open(self, store: Arc<dyn ObjectStore>, prefix: &str) -> Result<BucketRegistry, Error> {
        let (log, artifacts) = self.open_parts(store, prefix).await?;
        Ok(Engine::new(Arc::new(log), Arc::new(artifacts)))
    }

    /// The log and the bytes apart, for whoever wants the other in another place.
    pub async fn open_parts(
        self,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
    ) -> Result<(BucketLog, BucketArtifacts), Error> {
        self.open_with(Arc::clone(&store), store, prefix, Secrets::default()).await
    }

    async fn open_with(
        self,
        store: Arc<dyn ObjectStore>,
        once: Arc<dyn ObjectStore>,
        prefix: &str,
        secrets: Secrets,
    ) -> Result<(BucketLog, BucketArtifacts), Error> {
        let location = format!("{store} at `{prefix}`");
        let refused = |problem: String| Error::Open { location: location.clone(), problem };
        let keys = Keys::new(prefix).map_err(|error| refused(format!("the prefix is no key: {error}")))?;
        let bucket = Bucket::new(store, once, keys, secrets, self.read_only);
        let marker = bucket.keys.marker();
        match bucket.get(&marker).await? {
            Some(found) => check_format(&found, &location)?,
            None if self.read_only || !self.create => return Err(Error::NoRegistry { location }),
            None => {
                try_out(&bucket).await?.map_err(refused)?;
                // Where another was faster, its marker is as good.
                let created = bucket.create(&marker, Bytes::from_static(MARKER)).await;
                // A lost reply is none the worse if the marker is there.
                match (bucket.get(&marker).await?, created) {
                    (Some(found), _) => check_format(&found, &location)?,
                    (None, Err(error)) => return Err(bucket.failed("writing", &marker, &error).into()),
                    (None, Ok(_)) => check_format(b"", &location)?,
                }
            }
        }
        Ok((BucketLog::new(bucket.clone()), BucketArtifacts::new(bucket)))
    }
}

/// Opens the registry below `prefix` in a store that you built, and makes it if it is not there.
pub async fn open(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<BucketRegistry, Error> {
    Options::default().open(store, prefix).await
}

/// Whether the layout marker is one that this version understands.
fn check_format(marker: &[u8], location: &str) -> Result<(), Error> {
    let text = String::from_utf8_lossy(marker);
    let digits: String = text
        .split_once("\"format\":")
        .map(|(_, after)| after.trim_start().chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    match digits.parse::<u64>() {
        Ok(FORMAT) => Ok(()),
        Ok(newer) if FORMAT < newer => Err(Error::NewerFormat(format!(
            "the registry in {location} has layout {newer}; this version of the library knows up to {FORMAT}"
        ))),
        _ => {
            let problem = "its `registry.json` is not one of a model registry".to_owned();
            Err(Error::Open { location: location.to_owned(), problem })
        }
    }
}

/// Tries out whether the store creates an object once only: several at once, and then another. The
/// inner result says what is wrong with the store.
///
/// A store may find so many writes to one object too much, as Google does beyond about one a second. What it
/// turned away shows nothing, so the last one asks until it was refused for the right reason.
async fn try_out(bucket: &Bucket) -> Result<Result<(), String>, StorageError> {
    const UNFIT: &str = "the store does not honour create-if-absent (`If-None-Match: *` or its like): \
        of several writers who create the same object, more than one is told that it succeeded. Commits \
        would be lost silently. Use another store, or a newer version of this one";
    let key = bucket.keys.probe(SystemIds.next_id());
    let create = |number: usize| bucket.create(&key, Bytes::from(format!("{number}\n")));
    let mut tried = join_all((0..RACERS).map(create)).await;
    let created = |tried: &[_]| tried.iter().filter(|result| matches!(result, Ok(true))).count();
    let mut busy = false;
    for number in RACERS..RACERS + LATECOMERS_MAX {
        if busy {
            SystemClock.sleep(BUSY_WAIT).await;
        }
        let late = create(number).await;
        busy = matches!(late, Err(object_store::Error::Generic { .. }));
        let first = matches!(late, Ok(true)) && created(&tried) == 0;
        tried.push(late);
        if !busy && !first {
            break;
        }
    }
    let created = created(&tried);
    let last = tried.pop().unwrap_or(Ok(false));
    let failed = tried.into_iter().find_map(Result::err);
    if 0 < created {
        bucket.delete(&key).await?;
    } else {
        // One whose answer was lost may have left it.
        let _ = bucket.delete(&key).await;
    }
    match (created, last, failed) {
        (
            _,
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }),
            _,
        ) => Ok(Err(format!("the store has no create-if-absent, on which commits rest ({UNFIT})"))),
        (2.., _, _) => Ok(Err(UNFIT.to_owned())),
        (1, Ok(false), _) => Ok(Ok(())),
        (_, Err(error), _) | (_, _, Some(error)) => Err(bucket.failed("writing", &key, &error)),
        _ => Ok(Err("the store says that an object exists that nobody has made".to_owned())),
    }
}
