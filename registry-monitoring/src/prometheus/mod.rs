//! Why this exists: most services count already, and Prometheus has the numbers. So they are asked for with an
//! expression of its own language, and written into the log of health like all other observations: a rule, the evidence
//! and the record do not depend on where a number comes from.
//!
//! | what it answers | becomes |
//! |---|---|
//! | a scalar, each element of a vector, each point of a matrix | one observation. What lies behind it (how many requests, how they are distributed) is not known and not made up |
//! | `NaN`, `+Inf`, `-Inf` | an observation that is no number |
//! | an empty vector | nothing: too little data, which is for the rule to judge |
//! | an error; warnings, for then it is a part of the answer; a histogram; text; what is no answer | a metric that cannot be read |
//!
//! | file | holds |
//! |---|---|
//! | `answer.rs` | reading what Prometheus answers, without I/O |
//! | `mapping.rs` | which observations of which version that is, without I/O |
//! | `source.rs` | pulling when a rule is due |

mod answer;
mod mapping;
mod source;

use std::fmt;
use std::time::Duration;

use registry_core::{Invalid, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::address::Address;
use crate::http;

pub use answer::{Sample, Series};
pub use mapping::{Mapping, summaries};
pub use source::PrometheusSource;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest expression that is sent.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who we are to Prometheus, or to what stands before it.
#[derive(Clone)]
pub struct Credentials(HeaderValue);

impl Credentials {
    /// Whoever has this token.
    pub fn bearer(token: &str) -> Result<Credentials, Invalid> {
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token {
            return Err(Invalid::new("token", "…", "expected visible characters of ASCII without spaces"));
        }
        Credentials::header(format!("Bearer {token}"))
    }

    /// A user with a password.
    pub fn basic(user: &str, password: &str) -> Result<Credentials, Invalid> {
        if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            let problem = "no colon in the user, and no control character, can be sent";
            return Err(Invalid::new("user or password", "…", problem));
        }
        Credentials::header(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    fn header(text: String) -> Result<Credentials, Invalid> {
        let value = HeaderValue::from_str(&text);
        let mut value = value.map_err(|_| Invalid::new("credentials", "…", "cannot be put into a header"))?;
        value.set_sensitive(true);
        Ok(Credentials(value))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why there are no numbers. Nothing that Prometheus was told is in it but the address of the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusError {
    /// There was no answer.
    #[error("Prometheus at {server}: {problem}")]
    Unreachable {
        /// Where.
        server: Address,
        /// What went wrong.
        problem: String,
    },
    /// It says that it cannot answer.
    #[error("Prometheus at {server} says {kind}: {message}")]
    Failed {
        /// Where.
        server: Address,
        /// What sort of error, in its words: `bad_data`, `timeout`, `execution`, …
        kind: String,
        /// Its message.
        message: String,
    },
    /// The answer is not that of Prometheus.
    #[error("what is at {server} answered {status}, and not as Prometheus does: {problem}")]
    NotUnderstood {
        /// Where.
        server: Address,
        /// The status of the answer.
        status: u16,
        /// What is wrong with it.
        problem: String,
    },
    /// It answered a part.
    #[error(
        "Prometheus at {server} answered with warnings, so it may be a part of the numbers only: {warnings}"
    )]
    Warned {
        /// Where.
        server: Address,
        /// What it says.
        warnings: String,
    },
    /// It cannot be told of which version a number is, or more was answered than can be written down.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A Prometheus server, or what answers like one.
#[derive(Clone)]
pub struct Prometheus {
    server: Address,
    credentials: Option<Credentials>,
    client: reqwest::Client,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prometheus").field(&self.server).finish()
    }
}

impl Prometheus {
    /// The server at an address, such as `http://prometheus.example.com:9090`.
    pub fn new(server: Address, credentials: Option<Credentials>) -> Result<Prometheus, Invalid> {
        let client = http::client(&server)?;
        Ok(Prometheus { server, credentials, client })
    }

    /// What an expression was worth at an instant.
    pub async fn instant(&self, query: &str, at: Timestamp) -> Result<Vec<Series>, PrometheusError> {
        self.ask("query", query, &[("time", seconds(at))], at).await
    }

    /// What an expression was worth from an instant until another, in steps.
    pub async fn range(
        &self,
        query: &str,
        from: Timestamp,
        until: Timestamp,
        step: Duration,
    ) -> Result<Vec<Series>, PrometheusError> {
        let step = step.max(Duration::from_millis(1));
        let step = format!("{}.{:03}", step.as_secs(), step.subsec_millis());
        let given = [("start", seconds(from)), ("end", seconds(until)), ("step", step)];
        self.ask("query_range", query, &given, until).await
    }

    async fn ask(
        &self,
        endpoint: &str,
        query: &str,
        given: &[(&str, String)],
        until: Timestamp,
    ) -> Result<Vec<Series>, PrometheusError> {
        if QUERY_BYTES_MAX < query.len() {
            return Err(Invalid::new("expression", query, "is longer than 8 KiB").into());
        }
        let mut url = self.server.url().clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{path}/api/v1/{endpoint}"));
        // Sent as a form, since an expression may be longer than an address may be.
        let mut form = url.clone();
        form.set_query(None);
        form.query_pairs_mut().append_pair("query", query).extend_pairs(given);
        let mut request = self
            .client
            .post(url)
            .timeout(TIMEOUT)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        if let Some(Credentials(value)) = &self.credentials {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, body) = self.body(answer).await?;
        answer::read(&self.server, status, &body, until)
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<(u16, Vec<u8>), PrometheusError> {
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(error))? {
            if ANSWER_BYTES_MAX < body.len().saturating_add(piece.len()) {
                let problem = "the answer is longer than 8 MiB; ask for fewer series".to_owned();
                return Err(PrometheusError::NotUnderstood { server: self.server.clone(), status, problem });
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, body))
    }

    fn unreachable(&self, error: reqwest::Error) -> PrometheusError {
        PrometheusError::Unreachable { server: self.server.clone(), problem: http::problem(error) }
    }
}

/// As Prometheus reads an instant, to the millisecond.
fn seconds(at: Timestamp) -> String {
    let milliseconds = at.microseconds().div_euclid(1_000);
    format!("{}.{:03}", milliseconds.div_euclid(1_000), milliseconds.rem_euclid(1_000))
}
