//! Why this exists: files through MLflow's artifact proxy, which streams them to and from wherever the server keeps
//! them, and checks nothing. What is asked of it stands here, as in `calls.rs`; that bytes are the right ones is
//! for others to find out.
//!
//! Transfers take as long as they take: the time-out of other requests counts here from one piece to the next, and
//! for an upload, of which pieces are not seen to arrive, it grows with the size.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::ByteStream;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, RANGE};
use reqwest::{Body, Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::{Failed, Kind, Repeat, RestError, Server, error, parsed};

/// How slow a network may be: so many bytes a second are waited for.
const BYTES_PER_SECOND_MIN: u64 = 128 * 1024;
/// How long a download may take in all; what counts is the time between pieces.
const DOWNLOAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What the proxy says of a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ListedFile {
    /// Its name in the folder that was asked for.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) is_dir: bool,
    #[serde(default)]
    pub(crate) file_size: Option<Size>,
}

/// Sent as a number, or as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Number(u64),
    Text(String),
}

impl ListedFile {
    /// The length of a file; nothing is said of one that is empty.
    pub(crate) fn size(&self) -> Option<u64> {
        match &self.file_size {
            Some(Size::Number(size)) => Some(*size),
            Some(Size::Text(text)) => text.parse().ok(),
            None => Some(0),
        }
    }
}

/// An upload in parts, straight to where the server keeps its files.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Multipart {
    #[serde(default)]
    pub(crate) upload_id: Option<String>,
    #[serde(default)]
    pub(crate) credentials: Vec<PartAddress>,
}

/// Where a part goes. The address holds a signature.
#[derive(Clone, Deserialize)]
pub(crate) struct PartAddress {
    url: String,
    pub(crate) part_number: u32,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

impl std::fmt::Debug for PartAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PartAddress").field(&self.part_number).finish()
    }
}

/// A part that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) etag: String,
}

/// What the proxy gives of a file.
pub(crate) struct Download {
    /// Where in the file it begins: servers that keep files in a bucket ignore what part was asked for.
    pub(crate) start: u64,
    pub(crate) bytes: ByteStream,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Server {
    /// The address of a file below one of the proxy's roots.
    fn below(&self, root: &str, path: &str) -> Result<Url, RestError> {
        let invalid = |problem: String| RestError::new(Kind::Invalid, problem);
        let root = format!("{}/api/2.0/mlflow-artifacts/{root}", self.base());
        let mut url = Url::parse(&root).map_err(|error| invalid(error.to_string()))?;
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.extend(path.split('/').filter(|part| !part.is_empty()));
            }
            Err(()) => return Err(invalid(format!("`{root}` cannot have files below it"))),
        }
        Ok(url)
    }

    /// What is in a folder, and not what is below that. Nothing if it is not there.
    pub(crate) async fn list_artifacts(&self, folder: &str) -> Result<Vec<ListedFile>, RestError> {
        #[derive(Deserialize)]
        struct Listing {
            #[serde(default)]
            files: Vec<ListedFile>,
        }
        let mut url = self.below("artifacts", "")?;
        url.query_pairs_mut().append_pair("path", folder);
        let answer = self.answer(Method::GET, url, None, Repeat::Freely, |answer| parsed::<Listing>(answer));
        match answer.await {
            Ok(listing) => Ok(listing.files),
            Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Begins to read a file from a place on; none if it is not there. A server that keeps its files in a bucket
    /// says 500 of a file that is not there, so the folder is looked at before that is believed to be a failure.
    pub(crate) async fn read_artifact(&self, path: &str, start: u64) -> Result<Option<Download>, RestError> {
        let url = self.below("artifacts", path)?;
        let mut headers = HeaderMap::new();
        if 0 < start
            && let Ok(range) = format!("bytes={start}-").parse()
        {
            headers.insert(RANGE, range);
        }
        let sent = self.begin(url, headers).await;
        match sent {
            Ok(answer) => {
                let start = if answer.status() == StatusCode::PARTIAL_CONTENT { start } else { 0 };
                Ok(Some(Download { start, bytes: self.pieces(answer) }))
            }
            Err(error) => match error.kind {
                Kind::NotFound => Ok(None),
                // The place is behind the end.
                Kind::Server(416) | Kind::Invalid if 0 < start && error.message.contains("416") => {
                    Ok(Some(Download { start, bytes: Box::pin(futures_util::stream::empty()) }))
                }
                Kind::Server(500) | Kind::FeatureMissing | Kind::Invalid => {
                    let (folder, name) = split(path);
                    let found = self.list_artifacts(folder).await?;
                    let is_there = found.iter().any(|file| !file.is_dir && file.path == name);
                    if is_there { Err(error) } else { Ok(None) }
                }
                _ => Err(error),
            },
        }
    }

    /// The head of an answer, with more attempts as for any read.
    async fn begin(&self, url: Url, headers: HeaderMap) -> Result<reqwest::Response, RestError> {
        let send = || async {
            let request = self.request_to(Method::GET, url.clone(), DOWNLOAD_MAX).headers(headers.clone());
            let answer = tokio::time::timeout(self.timeout(), request.send()).await;
            let answer = answer.map_err(|_| self.no_head())?.map_err(|error| self.no_answer(error))?;
            if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
        };
        self.repeated(Repeat::Freely, send).await
    }

    fn no_head(&self) -> Failed {
        let message = format!("no answer in time from {}", self.base());
        Failed { error: RestError::new(Kind::Transport, message).doubtful(true), retry_after: None }
    }

    /// The body of an answer, which ends with an error if the next piece takes too long.
    fn pieces(&self, answer: reqwest::Response) -> ByteStream {
        let (timeout, server) = (self.timeout(), self.clone());
        let pieces = Box::pin(answer.bytes_stream());
        Box::pin(futures_util::stream::unfold(Some(pieces), move |pieces| {
            let server = server.clone();
            async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(timeout, pieces.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                    Ok(Some(Err(error))) => {
                        Some((Err(server.no_answer(error).error.failed("reading a file")), None))
                    }
                    Err(_) => Some((Err(server.no_head().error.failed("reading a file")), None)),
                }
            }
        }))
    }

    /// Writes a small file, over what was there.
    pub(crate) async fn write_artifact(&self, path: &str, bytes: Bytes) -> Result<(), RestError> {
        let url = self.below("artifacts", path)?;
        let time = self.time_for(bytes.len() as u64);
        let send = || async {
            let request = self.request_to(Method::PUT, url.clone(), time).body(bytes.clone());
            self.whole(request).await
        };
        self.repeated(Repeat::Freely, send).await.map(drop)
    }

    /// Writes a file as its bytes come, once: they cannot be sent again by this.
    pub(crate) async fn stream_artifact(
        &self,
        path: &str,
        bytes: ByteStream,
        size: u64,
    ) -> Result<(), RestError> {
        let url = self.below("artifacts", path)?;
        let request = self
            .request_to(Method::PUT, url, self.time_for(size))
            .header(CONTENT_LENGTH, size)
            .body(Body::wrap_stream(bytes));
        self.whole(request).await.map(drop).map_err(|failed| self.blotted(failed.error))
    }

    /// Removes a file; one that is not there is removed already.
    pub(crate) async fn remove_artifact(&self, path: &str) -> Result<(), RestError> {
        let url = self.below("artifacts", path)?;
        let send =
            || async { self.whole(self.request_to(Method::DELETE, url.clone(), self.timeout())).await };
        match self.repeated(Repeat::Freely, send).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    /// Begins an upload in so many parts; none if the server's files are where that cannot be done.
    pub(crate) async fn begin_multipart(
        &self,
        path: &str,
        parts: u64,
    ) -> Result<Option<Multipart>, RestError> {
        let (folder, name) = split(path);
        let url = self.below("mpu/create", folder)?;
        let body = Bytes::from(json!({"path": name, "num_parts": parts}).to_string());
        match self.answer(Method::POST, url, Some(body), Repeat::Never, |answer| parsed(answer)).await {
            Ok(begun) => Ok(Some(begun)),
            Err(error) if matches!(error.kind, Kind::FeatureMissing | Kind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a part to where it goes, which is not this server: without what this server is told of us.
    pub(crate) async fn send_part(&self, to: &PartAddress, bytes: Bytes) -> Result<Part, RestError> {
        let invalid = |problem: String| RestError::new(Kind::Invalid, problem);
        let url = Url::parse(&to.url).map_err(|_| invalid("a part has no address".to_owned()))?;
        let time = self.time_for(bytes.len() as u64);
        let send = || async {
            let mut request = self.elsewhere().put(url.clone()).timeout(time).body(bytes.clone());
            for (name, value) in &to.headers {
                request = request.header(name, value);
            }
            let answer = request.send().await.map_err(|error| self.no_answer(error))?;
            if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
        };
        let answer = self.repeated(Repeat::Freely, send).await?;
        let etag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match etag {
            Some(etag) => Ok(Part { number: to.part_number, etag }),
            None => Err(RestError::new(Kind::FeatureMissing, "a part that arrived was given no name")),
        }
    }

    /// Puts the parts together.
    pub(crate) async fn finish_multipart(
        &self,
        path: &str,
        upload: &str,
        parts: &[Part],
    ) -> Result<(), RestError> {
        let (folder, name) = split(path);
        let parts: Vec<_> =
            parts.iter().map(|part| json!({"part_number": part.number, "etag": part.etag})).collect();
        let body = json!({"path": name, "upload_id": upload, "parts": parts});
        self.send_to("mpu/complete", folder, &body).await
    }

    /// Gives an upload up, with the parts that arrived.
    pub(crate) async fn abort_multipart(&self, path: &str, upload: &str) -> Result<(), RestError> {
        let (folder, name) = split(path);
        self.send_to("mpu/abort", folder, &json!({"path": name, "upload_id": upload})).await
    }

    async fn send_to(&self, root: &str, folder: &str, body: &serde_json::Value) -> Result<(), RestError> {
        let url = self.below(root, folder)?;
        let body = Bytes::from(body.to_string());
        self.answer(Method::POST, url, Some(body), Repeat::Never, |_| Ok(())).await
    }

    fn time_for(&self, size: u64) -> Duration {
        self.timeout().saturating_add(Duration::from_secs(size / BYTES_PER_SECOND_MIN))
    }
}

/// What an answer other than a success says.
async fn refusal(answer: reqwest::Response) -> Failed {
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_default();
    Failed { error: error::classify(status, &String::from_utf8_lossy(&body)), retry_after: None }
}
