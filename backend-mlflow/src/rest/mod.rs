//! Why this exists: the one place that speaks HTTP. It knows how a request reaches an MLflow server, when
//! it may be sent again, and what the answer means; what the requests are for it does not know.
//!
//! # Connections
//!
//! Over plain `http` each request has a connection of its own. A server with several workers, which
//! is the default, answers on a kept connection 40 ms late (its operating system and ours wait for each
//! other), and closes it after five seconds of rest: a new connection costs a fraction of a millisecond
//! near by, and is never stale. Over `https` connections are kept, since making one costs more there.
//!
//! # Again
//!
//! | the request | and | is sent again |
//! |---|---|---|
//! | any | it surely did not leave this machine | yes |
//! | reads; writes that may be done twice | no answer, a cut one, 408, 429, 5xx; another writer was in the way | yes |
//! | makes a run, an experiment or a version | the same | never: there might be two |
//!
//! A parameter of a run is written once and for all, so writing it with the same value twice is as good as
//! once. After any attempt of which it is not known whether it went through, the failure of a later one
//! is reported as doubtful too, however clear it is by itself.

mod artifacts;
mod calls;
mod error;
mod models;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

pub(crate) use artifacts::{Download, ListedFile, Multipart};
pub(crate) use error::{Kind, RestError, Secrets};
pub(crate) use models::{ModelVersion, RegisteredModel, VERSIONS_PAGE, next_token};
pub(crate) use types::{DatasetInput, Experiment, Pair, Run};

/// How often a request is sent at most, and how long it is waited in between, at first and at most.
const ATTEMPTS_MAX: u32 = 5;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many time-outs' time all attempts may take together before no more are made.
const TIMEOUTS_MAX: u32 = 2;

/// The longest answer that is taken: ten thousand versions with their tags are less than a tenth of that.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Who we are to the server.
#[derive(Clone, Default)]
pub(crate) enum Auth {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
}

/// How a server is reached.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `http://` or `https://`, without credentials.
    pub(crate) url: Url,
    pub(crate) auth: Auth,
    pub(crate) workspace: Option<String>,
    /// Certificates that are believed besides those that the system believes.
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// For one attempt of one request.
    pub(crate) timeout: Duration,
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Freely,
    Never,
}

/// An MLflow server.
#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    elsewhere: reqwest::Client,
    base: String,
    auth: Auth,
    timeout: Duration,
    secrets: Secrets,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.inner.base).finish()
    }
}

/// One attempt that failed.
struct Failed {
    error: RestError,
    retry_after: Option<Duration>,
}

impl Server {
    /// A client of a server. Sends nothing yet. The error says what is wrong with the settings.
    pub(crate) fn new(settings: Settings) -> Result<Self, String> {
        let Settings { url, auth, workspace, ca_pem, timeout } = settings;
        let mut headers = HeaderMap::new();
        if let Some(workspace) = workspace {
            let value = HeaderValue::from_str(&workspace)
                .map_err(|_| "the workspace's name cannot be sent in a header".to_owned())?;
            headers.insert(HeaderName::from_static("x-mlflow-workspace"), value);
        }
        let secure = url.scheme() == "https";
        let certificates = match ca_pem {
            None => Vec::new(),
            Some(pem) => reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("the certificates cannot be read: {error}"))
                .and_then(|found| match found.is_empty() {
                    true => Err("the file holds no certificate in PEM form".to_owned()),
                    false => Ok(found),
                })?,
        };
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("model-registry/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(timeout.min(Duration::from_secs(10)))
                // A POST that is redirected may arrive as a GET; better to say where the server is.
                .redirect(reqwest::redirect::Policy::none())
                .referer(false);
            match certificates.is_empty() {
                true => builder,
                false => builder.tls_certs_merge(certificates.clone()),
            }
        };
        let failed = |error: reqwest::Error| format!("the client cannot be made: {error}");
        let mut client = builder().default_headers(headers);
        if !secure {
            client = client.pool_max_idle_per_host(0);
        }
        let client = client.build().map_err(failed)?;
        let elsewhere = builder().build().map_err(failed)?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        let secrets = Secrets::new(match &auth {
            Auth::None => None,
            Auth::Basic { password: secret, .. } | Auth::Bearer(secret) => Some(secret.clone()),
        });
        Ok(Server { inner: Arc::new(Inner { client, elsewhere, base, auth, timeout, secrets }) })
    }

    /// Where the server is, without secrets.
    pub(crate) fn base(&self) -> &str {
        &self.inner.base
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, RestError> {
        self.request(Method::GET, path, query, None, Repeat::Freely).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        repeat: Repeat,
    ) -> Result<T, RestError> {
        self.request(Method::POST, path, &[], Some(Bytes::from(body.to_string())), repeat).await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<T, RestError> {
        let url = format!("{}/api/2.0/mlflow/{path}", self.inner.base);
        let url = if query.is_empty() { Url::parse(&url) } else { Url::parse_with_params(&url, query) };
        let url = url.map_err(|error| {
            RestError::new(Kind::Invalid, format!("`{path}` cannot be asked for: {error}"))
        })?;
        self.answer(method, url, body, repeat, |answer| parsed(answer)).await
    }

    async fn answer<T>(
        &self,
        method: Method,
        url: Url,
        body: Option<Bytes>,
        repeat: Repeat,
        read: impl Fn(&Bytes) -> Result<T, Failed>,
    ) -> Result<T, RestError> {
        let send = || async {
            let mut request = self.request_to(method.clone(), url.clone(), self.inner.timeout);
            if let Some(body) = &body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            }
            read(&self.whole(request).await?)
        };
        self.repeated(repeat, send).await
    }

    /// Does it again where that may help and does no harm.
    async fn repeated<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        repeat: Repeat,
        send: impl Fn() -> F,
    ) -> Result<T, RestError> {
        let begun = tokio::time::Instant::now();
        let most = self.inner.timeout.saturating_mul(TIMEOUTS_MAX);
        let mut wait = WAIT_FIRST;
        let mut doubtful = false;
        for attempt in 1.. {
            let Failed { error, retry_after } = match send().await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let again = match error.kind {
                Kind::Transport if !error.doubtful => true,
                Kind::Transport => repeat == Repeat::Freely,
                Kind::Conflict | Kind::Server(200 | 408 | 429 | 500 | 502 | 503 | 504) => {
                    repeat == Repeat::Freely
                }
                _ => false,
            };
            doubtful |= error.doubtful;
            let pause = retry_after.unwrap_or(wait).min(WAIT_MAX);
            if !again || ATTEMPTS_MAX <= attempt || most < begun.elapsed().saturating_add(pause) {
                return Err(self.blotted(error).doubtful(doubtful));
            }
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
        Err(RestError::new(Kind::Transport, "gave up").doubtful(true))
    }

    /// Without what must not be shown.
    fn blotted(&self, error: RestError) -> RestError {
        let message = self.inner.secrets.blotted(&error.message);
        RestError { message, ..error }
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// A client for other servers, which are told nothing of who we are to this one.
    fn elsewhere(&self) -> &reqwest::Client {
        &self.inner.elsewhere
    }

    fn request_to(&self, method: Method, url: Url, time: Duration) -> reqwest::RequestBuilder {
        let request = self.inner.client.request(method, url).timeout(time);
        match &self.inner.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request once and reads the answer to its end.
    async fn whole(&self, request: reqwest::RequestBuilder) -> Result<Bytes, Failed> {
        let answer = request.send().await.map_err(|error| self.no_answer(error))?;
        let status = answer.status();
        let header = |name| {
            let value: Option<&HeaderValue> = answer.headers().get(name);
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let to = header(LOCATION).map(|to| without_user(&to));
        let body = self.limited(answer).await;
        if status.is_success() {
            return body;
        }
        let body = body.unwrap_or_default();
        let mut error = error::classify(status.as_u16(), &String::from_utf8_lossy(&body));
        if status.is_redirection() {
            let to = to.unwrap_or_else(|| "another place".to_owned());
            error.message = format!("the server redirects to {to}; give the address that it has in the end");
        }
        Err(Failed { error, retry_after })
    }

    /// The body of an answer, which may not fill the memory.
    async fn limited(&self, mut answer: reqwest::Response) -> Result<Bytes, Failed> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.no_answer(error))? {
            if ANSWER_BYTES_MAX < body.len() + piece.len() {
                let message =
                    format!("an answer of {} has more than {ANSWER_BYTES_MAX} bytes", self.inner.base);
                let error = RestError::new(Kind::Invalid, message).doubtful(true);
                return Err(Failed { error, retry_after: None });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.into())
    }

    /// What it means that there was no answer, or only a part of one.
    fn no_answer(&self, error: reqwest::Error) -> Failed {
        let sent = !(error.is_connect() || error.is_builder());
        let what = if error.is_connect() {
            "no connection to"
        } else if error.is_timeout() {
            "no answer in time from"
        } else {
            "no whole answer from"
        };
        let mut message = format!("{what} {}", self.inner.base);
        let error = error.without_url();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(found) = cause {
            message.push_str(&format!(": {found}"));
            cause = found.source();
        }
        Failed { error: RestError::new(Kind::Transport, message).doubtful(sent), retry_after: None }
    }
}

/// An address without the user and password that may stand in it.
fn without_user(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return address.to_owned();
    }
    // What cannot carry them has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// A success must be what MLflow says, and not, for example, the page of a proxy that wants a password.
fn parsed<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(answer).map_err(|problem| {
        let start: String = String::from_utf8_lossy(answer).chars().take(80).collect();
        let message = format!("this is no answer of an MLflow server ({problem}): {start:?}");
        Failed { error: RestError::new(Kind::Server(200), message).doubtful(true), retry_after: None }
    })
}

#[cfg(test)]
mod tests;
