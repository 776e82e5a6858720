//! Why this exists: MLflow says of files where they are, by URL, and its clients go there. Mostly that is its own
//! proxy (`mlflow-artifacts:/…`); on other servers it is a bucket that every client must reach by itself. Here an
//! address becomes something to read from and to write to, if this program can reach it.
//!
//! | address | is reached |
//! |---|---|
//! | `mlflow-artifacts:/<path>` | through the server |
//! | a scheme that was given to [`MlflowConnector::with_files`](crate::MlflowConnector::with_files) | by that |
//! | anything else, such as a folder of the server's machine | not at all |

mod proxy;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::files::{Files, OpenFiles};
use registry_core::storage::{Blob, ByteStream, StorageError, StorageErrorKind};
use registry_core::{Error, Hasher};

use crate::rest::Server;
use proxy::ProxyFiles;

/// What begins the address of a file behind the server's proxy.
const PROXY: &str = "mlflow-artifacts:/";

/// What can be reached from here.
#[derive(Clone)]
pub(crate) struct Reach {
    proxy: Arc<ProxyFiles>,
    /// The server's own name, with its port.
    host: String,
    others: Option<Arc<dyn OpenFiles>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

/// A folder that can be reached.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) files: Arc<dyn Files>,
    /// Without a `/` at either end.
    path: String,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.path).finish()
    }
}

impl Folder {
    /// The path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        }
    }
}

impl Reach {
    pub(crate) fn new(server: &Server, others: Option<Arc<dyn OpenFiles>>) -> Self {
        let base = server.base();
        let host =
            base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
        Reach { proxy: Arc::new(ProxyFiles::new(server.clone())), host: host.to_owned(), others }
    }

    /// The folder at an address. The error says why it cannot be reached from here.
    pub(crate) async fn folder(&self, uri: &str) -> Result<Folder, StorageError> {
        let unreachable = |why: &str| {
            let problem = format!("`{}` cannot be reached from here: {why}", without_options(uri));
            Err(StorageError::new(StorageErrorKind::NotDone, problem))
        };
        if let Some(rest) = uri.strip_prefix(PROXY) {
            return match proxied(rest, &self.host) {
                Some(path) => Ok(Folder { files: Arc::clone(&self.proxy) as _, path }),
                None => unreachable("it is not a folder behind this server"),
            };
        }
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        let Some(others) = self.others.as_ref().filter(|others| others.schemes().contains(&scheme)) else {
            return unreachable("nothing was given that can");
        };
        match others.open_files(uri).await {
            Ok(files) => Ok(Folder { files, path: String::new() }),
            Err(Error::Open { problem, .. }) => unreachable(&problem),
            Err(other) => unreachable(&other.to_string()),
        }
    }
}

/// An address that is shown: what follows after a `?`, and before an `@`, may be secret.
fn without_options(uri: &str) -> String {
    let bare = uri.split(['?', '#']).next().unwrap_or_default();
    match (bare.split_once("://"), bare.split_once('@')) {
        (Some((scheme, _)), Some((_, after))) if !matches!(scheme, "abfss" | "wasbs") => {
            format!("{scheme}://…@{after}")
        }
        _ => bare.to_owned(),
    }
}

/// The path below the proxy's root of what follows after the scheme, if the files are behind this server.
fn proxied(rest: &str, host: &str) -> Option<String> {
    let path = match rest.strip_prefix('/') {
        // `mlflow-artifacts://host/path` names a server, and `mlflow-artifacts:///path` none.
        Some(with_host) => {
            let (named, path) = with_host.split_once('/')?;
            if !named.is_empty() && named != host {
                return None;
            }
            path
        }
        None => rest,
    };
    let path = path.trim_matches('/');
    let safe = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    safe.then(|| path.to_owned())
}

/// Passes bytes on, but for the last piece as long as they are not known to be those that `blob` names: whoever
/// waits for so many bytes does not get them all otherwise.
fn checked(blob: Blob, stream: ByteStream) -> ByteStream {
    struct Checking {
        stream: ByteStream,
        hasher: Hasher,
        seen: u64,
        held: Option<Bytes>,
    }
    let start = Checking { stream, hasher: Hasher::new(), seen: 0, held: None };
    Box::pin(futures_util::stream::unfold(Some(start), move |state| async move {
        let mut state = state?;
        loop {
            match state.stream.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    state.seen = state.seen.saturating_add(piece.len() as u64);
                    state.hasher.update(&piece);
                    if blob.size < state.seen {
                        return Some((Err(StorageError::source_changed()), None));
                    }
                    if let Some(before) = state.held.replace(piece) {
                        return Some((Ok(before), Some(state)));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None if state.seen == blob.size && state.hasher.finish() == blob.digest => {
                    return state.held.map(|last| (Ok(last), None));
                }
                None => return Some((Err(StorageError::source_changed()), None)),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use registry_core::Digest;

    use super::*;

    #[test]
    fn files_behind_the_proxy_are_told_from_others_and_never_leave_it() {
        for (rest, expected) in [
            ("1/ab/artifacts/model", Some("1/ab/artifacts/model")),
            ("/host:5000/1/ab", Some("1/ab")),
            ("//1/ab", Some("1/ab")),
            ("/other:5000/1/ab", None),
            ("/host/1/ab", None),
            ("", None),
            ("1/../2", None),
            ("/host:5000/../2", None),
        ] {
            assert_eq!(proxied(rest, "host:5000").as_deref(), expected, "{rest}");
        }
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(without_options("s3://key:secret@bucket/x?token=y"), "s3://…@bucket/x");
        assert_eq!(
            without_options("wasbs://c@a.blob.core.windows.net/x"),
            "wasbs://c@a.blob.core.windows.net/x"
        );
        assert_eq!(without_options("/srv/x#y"), "/srv/x");
    }

    fn stream(pieces: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Box::pin(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn bytes_that_are_not_the_right_ones_are_never_all_passed_on() {
        let blob = Blob { digest: Digest::of(b"abcdef"), size: 6 };
        let right: Vec<Bytes> = checked(blob, stream(&[b"ab", b"", b"cdef"])).try_collect().await.unwrap();
        assert_eq!(right.concat(), b"abcdef");
        let empty = Blob { digest: Digest::of(b""), size: 0 };
        assert!(checked(empty, stream(&[b""])).try_collect::<Vec<Bytes>>().await.unwrap().is_empty());
        for wrong in [&[b"ab".as_slice(), b"cdeX"][..], &[b"abcde"], &[b"abcdef", b"g"], &[]] {
            let mut passed = 0;
            let mut pieces = checked(blob, stream(wrong));
            let error = loop {
                match pieces.next().await.unwrap() {
                    Ok(piece) => passed += piece.len(),
                    Err(error) => break error,
                }
            };
            assert!(passed < 6, "{wrong:?}");
            assert_eq!(error.kind, StorageErrorKind::SourceChanged, "{error}");
            assert!(pieces.next().await.is_none());
        }
    }
}
