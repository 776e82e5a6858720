//! Why this exists: files behind the server's own proxy. A small one goes in one request; a large one in parts
//! straight to the bucket where the server keeps its files, if it says how; else in one long request, of which the
//! last bytes are held back until it is known that they are the right ones.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::files::{Entry, Files};
use registry_core::storage::{Blob, ByteSource, ByteStream, StorageError, StorageErrorKind};

use super::checked;
use crate::rest::{Download, Kind, ListedFile, Multipart, RestError, Server};

/// What is not larger is sent in one request, which can be sent again.
const SMALL: u64 = 8 * 1024 * 1024;
/// What is larger is sent in parts, where the server offers it.
const MULTIPART: u64 = 32 * 1024 * 1024;
/// The smallest part, and how many a bucket takes at most.
const PART: u64 = 16 * 1024 * 1024;
const PARTS_MAX: u64 = 9_000;
/// How many parts are under way at once; each is in memory.
const PARTS_AT_ONCE: usize = 3;
/// How often a large file is sent, and how often a download is taken up again.
const ATTEMPTS_MAX: u32 = 4;

#[derive(Debug)]
pub(super) struct ProxyFiles {
    server: Server,
    /// Whether the server said that it takes no parts.
    whole_only: AtomicBool,
}

fn missing(path: &str) -> StorageError {
    StorageError::new(StorageErrorKind::Missing, format!("the file {path} is not on the server"))
}

impl ProxyFiles {
    pub(super) fn new(server: Server) -> Self {
        ProxyFiles { server, whole_only: AtomicBool::new(false) }
    }

    /// Sends a large file in parts. Says whether that was possible.
    async fn write_parts(
        &self,
        path: &str,
        source: &dyn ByteSource,
        blob: Blob,
    ) -> Result<bool, StorageError> {
        let size = PART.max(blob.size.div_ceil(PARTS_MAX));
        let count = blob.size.div_ceil(size);
        let begun = self.server.begin_multipart(path, count).await;
        let begun = begun.map_err(|error| error.failed(format_args!("beginning to send {path}")))?;
        let Some(Multipart { upload_id: Some(upload), credentials }) = begun else {
            self.whole_only.store(true, Ordering::Relaxed);
            return Ok(false);
        };
        let sent = async {
            if u64::try_from(credentials.len()) != Ok(count) {
                return Ok(Err(RestError::new(Kind::FeatureMissing, "the server offers too few parts")));
            }
            let pieces = parts(checked(blob, source.open(0).await?), size);
            let parts = pieces
                .zip(futures_util::stream::iter(credentials))
                .map(|(bytes, to)| async move {
                    let bytes = bytes?;
                    Ok::<_, StorageError>(self.server.send_part(&to, bytes).await)
                })
                .buffered(PARTS_AT_ONCE)
                .try_collect::<Vec<_>>()
                .await?;
            let parts: Result<Vec<_>, RestError> = parts.into_iter().collect();
            match parts {
                Ok(parts) => Ok(self.server.finish_multipart(path, &upload, &parts).await),
                Err(error) => Ok(Err(error)),
            }
        };
        let sent: Result<Result<(), RestError>, StorageError> = sent.await;
        if let Ok(Ok(())) = sent {
            return Ok(true);
        }
        // If that fails, the bucket's own rules about unfinished uploads take care of it.
        let _ = self.server.abort_multipart(path, &upload).await;
        match sent? {
            Ok(()) => Ok(true),
            // The bucket cannot be reached from here, or does not take what the server signed, or speaks in another way
            // than was thought. The server itself can do it.
            Err(error)
                if matches!(
                    error.kind,
                    Kind::Transport | Kind::FeatureMissing | Kind::Invalid | Kind::Denied
                ) =>
            {
                // What is not reached now may be later.
                if error.kind != Kind::Transport {
                    self.whole_only.store(true, Ordering::Relaxed);
                }
                Ok(false)
            }
            Err(error) => Err(error.failed(format_args!("sending {path}"))),
        }
    }
}

/// A stream in pieces of a size; the last one is what is left.
fn parts(bytes: ByteStream, size: u64) -> impl futures_util::Stream<Item = Result<Bytes, StorageError>> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    // After its end it is asked once more.
    let bytes = bytes.fuse();
    futures_util::stream::unfold((bytes, Bytes::new()), move |(mut bytes, mut left_over)| async move {
        let mut part = BytesMut::with_capacity(size);
        loop {
            let room = size - part.len();
            part.extend_from_slice(&left_over.split_to(room.min(left_over.len())));
            if part.len() == size {
                return Some((Ok(part.freeze()), (bytes, left_over)));
            }
            match bytes.next().await {
                Some(Ok(piece)) => left_over = piece,
                Some(Err(error)) => return Some((Err(error), (bytes, Bytes::new()))),
                None if part.is_empty() => return None,
                None => return Some((Ok(part.freeze()), (bytes, Bytes::new()))),
            }
        }
    })
}

/// A download that is taken up again where it broke off.
struct Reading {
    server: Server,
    path: String,
    /// Where it is, and where it ends.
    position: u64,
    end: u64,
    bytes: Option<ByteStream>,
    attempts: u32,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes, StorageError>> {
        while self.position < self.end {
            let mut bytes = match self.bytes.take() {
                Some(bytes) => bytes,
                None => match self.server.read_artifact(&self.path, self.position).await {
                    Ok(Some(found)) => from(found, self.position),
                    Ok(None) => return Some(Err(missing(&self.path))),
                    Err(error) => return Some(Err(error.failed(format_args!("reading {}", self.path)))),
                },
            };
            match bytes.next().await? {
                Ok(mut piece) => {
                    let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
                    piece.truncate(room);
                    self.position = self.position.saturating_add(piece.len() as u64);
                    self.bytes = Some(bytes);
                    if !piece.is_empty() {
                        return Some(Ok(piece));
                    }
                }
                Err(error) => {
                    self.attempts += 1;
                    if ATTEMPTS_MAX <= self.attempts {
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }
}

/// The bytes from a place on, of a download that may begin before it.
fn from(found: Download, place: u64) -> ByteStream {
    let mut skip = place.saturating_sub(found.start);
    Box::pin(found.bytes.map_ok(move |mut piece| {
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip = skip.saturating_sub(skipped as u64);
        piece.split_off(skipped)
    }))
}

#[async_trait]
impl Files for ProxyFiles {
    async fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError> {
        let found = self.server.list_artifacts(folder).await;
        let found = found.map_err(|error| error.failed(format_args!("listing {folder}")))?;
        let entry = |file: ListedFile| {
            let size = if file.is_dir { None } else { file.size() };
            let name = file.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            (!name.is_empty() && (file.is_dir || size.is_some())).then_some(Entry { name, size })
        };
        Ok(found.into_iter().filter_map(entry).collect())
    }

    async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let range = range.unwrap_or(0..u64::MAX);
        let begun = self.server.read_artifact(path, range.start).await;
        let begun = begun.map_err(|error| error.failed(format_args!("reading {path}")))?;
        let Some(begun) = begun else { return Err(missing(path)) };
        let reading = Reading {
            server: self.server.clone(),
            path: path.to_owned(),
            position: range.start,
            end: range.end,
            bytes: Some(from(begun, range.start)),
            attempts: 0,
        };
        Ok(Box::pin(futures_util::stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            let piece = reading.next().await?;
            // After an error nothing follows.
            let next = piece.is_ok().then_some(reading);
            Some((piece, next))
        })))
    }

    async fn write(&self, path: &str, source: &dyn ByteSource, blob: Blob) -> Result<(), StorageError> {
        let failed = |error: RestError| error.failed(format_args!("sending {path}"));
        if blob.size <= SMALL {
            let pieces: Vec<Bytes> = checked(blob, source.open(0).await?).try_collect().await?;
            return self.server.write_artifact(path, pieces.concat().into()).await.map_err(failed);
        }
        if MULTIPART < blob.size
            && !self.whole_only.load(Ordering::Relaxed)
            && self.write_parts(path, source, blob).await?
        {
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (bytes, broken) = noting(checked(blob, source.open(0).await?));
            let sent = self.server.stream_artifact(path, bytes, blob.size).await;
            // What the source says is the better reason.
            if let Some(error) = broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
                return Err(error);
            }
            match sent {
                Ok(()) => return Ok(()),
                Err(error) if ATTEMPTS_MAX <= attempt || !matters(&error) => return Err(failed(error)),
                Err(_) => {}
            }
        }
    }

    async fn remove(&self, path: &str) -> Result<(), StorageError> {
        let removed = self.server.remove_artifact(path).await;
        removed.map_err(|error| error.failed(format_args!("removing {path}")))
    }
}

/// Whether to send it again may help.
fn matters(error: &RestError) -> bool {
    matches!(error.kind, Kind::Transport | Kind::Server(_) | Kind::Conflict)
}

type Broken = std::sync::Arc<std::sync::Mutex<Option<StorageError>>>;

/// Keeps the failure of a stream for who sends it: the client that is given the stream says only that it broke.
fn noting(stream: ByteStream) -> (ByteStream, Broken) {
    let broken = Broken::default();
    let noted = std::sync::Arc::clone(&broken);
    let stream = stream.map_err(move |error| {
        let shown = StorageError::new(error.kind, error.message.clone());
        noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
        shown
    });
    (Box::pin(stream), broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_are_cut_into_parts_of_one_size() {
        for (pieces, expected) in [
            (vec!["abc", "d", "efghij", "k"], vec!["abcd", "efgh", "ijk"]),
            (vec!["abcdefgh"], vec!["abcd", "efgh"]),
            (vec![], vec![]),
        ] {
            let mut pieces = pieces.into_iter();
            // One that may not be asked again after its end.
            let stream = futures_util::stream::unfold((), move |()| {
                let piece = pieces.next().map(|piece| (Ok(Bytes::from(piece)), ()));
                async move { piece }
            });
            let parts: Vec<Bytes> = parts(Box::pin(stream), 4).try_collect().await.unwrap();
            assert_eq!(parts, expected);
        }
    }

    #[tokio::test]
    async fn what_comes_before_the_place_asked_for_is_skipped() {
        let pieces = [&b"abc"[..], b"def", b"ghi"].map(|piece| Ok(Bytes::from_static(piece)));
        let bytes: ByteStream = Box::pin(futures_util::stream::iter(pieces));
        let rest: Vec<Bytes> = from(Download { start: 10, bytes }, 14).try_collect().await.unwrap();
        assert_eq!(rest.concat(), b"efghi");
    }
}
