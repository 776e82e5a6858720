//! Why this exists: what the log and the blobs share: the store, its keys, and what a failure of it means.
//!
//! # Two clients
//!
//! `object_store` retries requests by itself. For reads, and for writes that may be done twice, that is
//! welcome. For an append it is not: after a lost reply its own retry finds the slot filled, by us. So a
//! bucket that was opened by URL has two clients of one configuration, and appends go through the one
//! that never retries; only the engine, which knows request ids, tries again.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use registry_core::Timestamp;
use registry_core::storage::{StorageError, StorageErrorKind};

use crate::key::Keys;

/// The longest message of a store that is passed on: servers answer with whole pages.
const MESSAGE_CHARS_MAX: usize = 600;

/// What must never be shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Short ones would blot out ordinary words, and are none.
    pub(crate) fn new(values: impl IntoIterator<Item = String>) -> Self {
        Secrets(values.into_iter().filter(|value| 4 <= value.len()).collect())
    }

    /// What a failure of a read, or of a write that may be done twice, means.
    pub(crate) fn failed(&self, doing: &str, key: &Path, error: &object_store::Error) -> StorageError {
        let kind = match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                StorageErrorKind::PermissionDenied
            }
            _ => StorageErrorKind::NotDone,
        };
        let message = self.blotted(&error.to_string());
        StorageError::new(kind, format!("{doing} {key} failed: {message}"))
    }

    pub(crate) fn blotted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret, "…");
        }
        if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARS_MAX) {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// A store, and where in it the registry is.
#[derive(Clone)]
pub(crate) struct Bucket {
    /// For what may be done twice.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For what must not: it never retries.
    pub(crate) once: Arc<dyn ObjectStore>,
    pub(crate) keys: Keys,
    pub(crate) read_only: bool,
    secrets: Secrets,
    sorted: bool,
}

/// Without the store: what it shows of itself is not ours to vouch for.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.keys.prefix()).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        once: Arc<dyn ObjectStore>,
        keys: Keys,
        secrets: Secrets,
        read_only: bool,
    ) -> Self {
        let sorted = lists_in_order(&store.to_string());
        Bucket { store, once, keys, read_only, secrets, sorted }
    }

    pub(crate) fn check_writable(&self) -> Result<(), StorageError> {
        if self.read_only {
            let message = "the registry was opened read-only";
            return Err(StorageError::new(StorageErrorKind::PermissionDenied, message));
        }
        Ok(())
    }

    /// What a failure of a read, or of a write that may be done twice, means.
    pub(crate) fn failed(&self, doing: &str, key: &Path, error: &object_store::Error) -> StorageError {
        self.secrets.failed(doing, key, error)
    }

    /// What a failure of an append means: only what surely did nothing may be called so.
    pub(crate) fn append_failed(&self, key: &Path, error: &object_store::Error) -> StorageError {
        let mut failed = self.failed("writing", key, error);
        if failed.kind == StorageErrorKind::NotDone && !surely_not_done(error) {
            failed.kind = StorageErrorKind::Unknown;
        }
        failed
    }

    /// An object as a whole; none if it is not there.
    pub(crate) async fn get(&self, key: &Path) -> Result<Option<Bytes>, StorageError> {
        let read = async { self.store.get(key).await?.bytes().await }.await;
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading", key, &error)),
        }
    }

    /// What is known of an object; none if it is not there.
    pub(crate) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, StorageError> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading", key, &error)),
        }
    }

    /// Writes an object over whatever was there.
    pub(crate) async fn put(&self, key: &Path, body: Bytes) -> Result<(), StorageError> {
        let put = self.store.put(key, body.into()).await;
        put.map(drop).map_err(|error| self.failed("writing", key, &error))
    }

    /// Removes an object. One that is not there is removed.
    pub(crate) async fn delete(&self, key: &Path) -> Result<(), StorageError> {
        match self.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("removing", key, &error)),
        }
    }

    /// Creates an object once, through the client that never retries. Says whether it did.
    pub(crate) async fn create(&self, key: &Path, body: Bytes) -> Result<bool, object_store::Error> {
        let options = PutOptions::from(PutMode::Create);
        match self.once.put_opts(key, body.into(), options).await {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. },
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The objects below a folder after a key, in order, as long as `take` wants more. A store that lists
    /// in order is asked page by page and not further than needed; another one is listed as a whole
    /// and sorted here.
    pub(crate) async fn list(
        &self,
        folder: &Path,
        after: Option<&Path>,
        mut take: impl FnMut(ObjectMeta) -> bool,
    ) -> Result<(), StorageError> {
        let failed = |error: object_store::Error| self.failed("listing", folder, &error);
        // Not every server knows where to begin, and one that does not begins at the beginning.
        let mut take = |meta: ObjectMeta| after.is_some_and(|after| meta.location <= *after) || take(meta);
        let mut listing = match after {
            Some(after) => self.store.list_with_offset(Some(folder), after),
            None => self.store.list(Some(folder)),
        };
        if self.sorted {
            while let Some(meta) = listing.next().await {
                if !take(meta.map_err(failed)?) {
                    break;
                }
            }
        } else {
            let mut all: Vec<ObjectMeta> = listing.try_collect().await.map_err(failed)?;
            all.sort_by(|one, two| one.location.cmp(&two.location));
            // Whoever wants no more is not asked again.
            let _ = all.into_iter().all(&mut take);
        }
        Ok(())
    }
}

/// When an object was last written, by the store's clock.
pub(crate) fn written(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_microseconds(meta.last_modified.timestamp_micros()).unwrap_or(Timestamp::EPOCH)
}

/// The latest instant at which an object may have been written. The answer to a HEAD tells whole seconds, cut
/// off, where a list of the same store may tell milliseconds; whoever removes must not be misled by that.
pub(crate) fn written_at_latest(meta: &ObjectMeta) -> Timestamp {
    let written = written(meta);
    match written.microseconds() % 1_000_000 {
        0 => written.saturating_add(Duration::from_micros(999_999)),
        _ => written,
    }
}

/// Whether a store promises to list in the order of the keys. S3, Google, Azure and the store in memory
/// do; a file system does not, nor do S3's directory buckets (whose names end in `--x-s3`), nor may a store
/// that nobody here has heard of.
fn lists_in_order(store: &str) -> bool {
    ["AmazonS3(", "GoogleCloudStorage(", "MicrosoftAzure {", "MicrosoftAzure(", "InMemory"]
        .iter()
        .any(|known| store.starts_with(known))
        && !store.contains("--x-s3")
}

/// Whether an error tells that the request did nothing and never will: it was not sent, or the server
/// refused it. A time-out, a broken connection and a server's own failure do not tell; nor does a server
/// that is too busy, for some answer so after having acted.
pub(crate) fn surely_not_done(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::Generic { .. } => {}
        object_store::Error::NotFound { .. }
        | object_store::Error::InvalidPath { .. }
        | object_store::Error::NotSupported { .. }
        | object_store::Error::NotImplemented { .. } => return true,
        _ => return false,
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(http) = found.downcast_ref::<HttpError>() {
            return http.kind() == HttpErrorKind::Connect;
        }
        cause = found.source();
    }
    refusal(error)
}

/// Whether a server answered that it will not do it, or that what it is about is not there.
pub(crate) fn is_refused(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::NotFound { .. } => true,
        object_store::Error::Generic { .. } => refusal(error),
        _ => false,
    }
}

fn refusal(error: &object_store::Error) -> bool {
    // The type that holds the status is not public; its text is all there is to go by.
    const BEFORE: &str = "Server returned non-2xx status code: ";
    let text = error.to_string();
    let status = text.split_once(BEFORE).and_then(|(_, after)| after.get(..3)).unwrap_or_default();
    matches!(status.parse::<u16>(), Ok(400..=407 | 410..=428 | 431 | 451))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_did_nothing_is_called_not_done() {
        let generic = |text: &str| object_store::Error::Generic { store: "S3", source: text.into() };
        let status =
            |code: u16| generic(&format!("Error - Server returned non-2xx status code: {code} X: body"));
        for code in [400, 405, 411, 413, 403] {
            assert!(surely_not_done(&status(code)), "{code}");
        }
        for code in [408, 409, 429, 500, 502, 503, 504] {
            assert!(!surely_not_done(&status(code)), "{code}");
        }
        assert!(!surely_not_done(&generic("something else")));
        let http = |kind| object_store::Error::Generic {
            store: "S3",
            source: Box::new(HttpError::new(kind, std::io::Error::other("x"))),
        };
        assert!(surely_not_done(&http(HttpErrorKind::Connect)));
        for kind in [HttpErrorKind::Request, HttpErrorKind::Timeout, HttpErrorKind::Interrupted] {
            assert!(!surely_not_done(&http(kind)), "{kind:?}");
        }
    }

    #[test]
    fn secrets_are_blotted_out_and_pages_are_cut() {
        let secrets = Secrets::new(["hunter2".to_owned(), String::new(), "a".to_owned()]);
        assert_eq!(secrets.blotted("key hunter2 and a"), "key … and a");
        assert_eq!(secrets.blotted(&"x".repeat(10_000)).chars().count(), MESSAGE_CHARS_MAX + 1);
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
