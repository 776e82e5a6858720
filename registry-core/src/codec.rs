//! Why this exists: a stored record must prove by itself that it is whole. So the commit is written
//! once, as compact JSON, and travels inside an envelope with the digest of exactly those bytes:
//!
//! ```text
//! {"commit":{"format":1,"stream":"model/fraud","revision":2,"previous":"sha256:…",…},"digest":"sha256:…"}
//!           └───────────────────────── these bytes ─────────────────────────────┘            │
//!                                                         SHA-256 of them ───────────────────┘
//! ```
//!
//! A flipped byte anywhere is found by whoever reads the record; a record replaced as a whole is
//! found by the `previous` of the one after it. Why not canonical JSON instead of raw bytes? Because
//! then a newer library's unknown fields would be lost on the way through an older one.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::event::{Commit, FORMAT};
use crate::stream::{Revision, Stream};

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The envelope, ready to be stored.
    pub bytes: Vec<u8>,
    /// The digest of the commit.
    pub digest: Digest,
}

/// Why a stored record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record was altered, cut short or put in another's place.
    #[error("revision {revision} of `{stream}` is corrupt: {problem}")]
    Corrupt {
        /// The log.
        stream: Stream,
        /// The place in it.
        revision: Revision,
        /// What is wrong.
        problem: String,
    },
    /// The record is whole, but says something that this version of the library does not know.
    #[error(
        "revision {revision} of `{stream}` is whole, but this version of the library does not understand it: \
         {problem}; upgrade it"
    )]
    NotUnderstood {
        /// The log.
        stream: Stream,
        /// The place in it.
        revision: Revision,
        /// What is not understood.
        problem: String,
    },
    /// The record was written by a newer version of this library.
    #[error(
        "revision {revision} of `{stream}` has format {format}, but this library reads formats up to {FORMAT}; upgrade it"
    )]
    NewerFormat {
        /// The log.
        stream: Stream,
        /// The place in it.
        revision: Revision,
        /// The format it is written in.
        format: u32,
    },
}

impl DecodeError {
    /// There is a hole in the log, or its end was cut off.
    pub(crate) fn missing(stream: &Stream, revision: Revision) -> Self {
        DecodeError::Corrupt { stream: stream.clone(), revision, problem: "it is missing".to_owned() }
    }
}

/// Writes a commit.
pub fn encode(commit: &Commit) -> Encoded {
    // Commits hold text keys and finite numbers only, which JSON can always write.
    let inner = serde_json::to_string(commit).unwrap_or_default();
    let digest = Digest::of(inner.as_bytes());
    Encoded { bytes: format!("{BEFORE}{inner}{BETWEEN}{digest}{AFTER}").into_bytes(), digest }
}

const BEFORE: &str = "{\"commit\":";
const BETWEEN: &str = ",\"digest\":\"";
const AFTER: &str = "\"}";

/// The commit and its digest in an envelope that is written just as this library writes it and is whole. Then nobody need
/// go through the commit to find its end.
fn unwrap_own(bytes: &[u8]) -> Option<(&str, Digest)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (commit, digest) = text.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.rsplit_once(BETWEEN)?;
    let digest: Digest = digest.parse().ok()?;
    (Digest::of(commit.as_bytes()) == digest).then_some((commit, digest))
}

/// The same for any envelope, with the digest that is stored in it and may be wrong.
fn unwrap_any(bytes: &[u8]) -> Result<(&str, Digest), serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope<'a> {
        #[serde(borrow)]
        commit: &'a RawValue,
        digest: Digest,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes)?;
    Ok((envelope.commit.get(), envelope.digest))
}

/// The commit in an envelope, as text, and its digest, once its bytes are known to be those that were written.
fn unwrap<'a>(
    stream: &Stream,
    revision: Revision,
    bytes: &'a [u8],
) -> Result<(&'a str, Digest), DecodeError> {
    if let Some(whole) = unwrap_own(bytes) {
        return Ok(whole);
    }
    let corrupt = |problem: String| DecodeError::Corrupt { stream: stream.clone(), revision, problem };
    let (inner, stored) = unwrap_any(bytes).map_err(|error| corrupt(format!("not a record: {error}")))?;
    let actual = Digest::of(inner.as_bytes());
    if actual != stored {
        let problem = format!("its bytes have digest {actual}, but it was stored as {stored}");
        return Err(corrupt(problem));
    }
    Ok((inner, actual))
}

/// The digest of the commit in a record, if it is whole. Enough to know a commit again.
pub(crate) fn digest_of(stream: &Stream, revision: Revision, bytes: &[u8]) -> Result<Digest, DecodeError> {
    unwrap(stream, revision, bytes).map(|(_, digest)| digest)
}

/// Reads a commit and checks that it is whole and stands where it belongs.
pub fn decode(stream: &Stream, revision: Revision, bytes: &[u8]) -> Result<(Commit, Digest), DecodeError> {
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    let corrupt = |problem: String| DecodeError::Corrupt { stream: stream.clone(), revision, problem };
    let (inner, actual) = unwrap(stream, revision, bytes)?;
    let commit: Commit = match serde_json::from_str(inner) {
        Ok(commit) => commit,
        // The bytes are those that were written, so it is not damage that makes them unreadable.
        Err(error) => {
            let (stream, problem) = (stream.clone(), error.to_string());
            return Err(match serde_json::from_str::<FormatOnly>(inner) {
                Ok(FormatOnly { format }) if FORMAT < format => {
                    DecodeError::NewerFormat { stream, revision, format }
                }
                _ => DecodeError::NotUnderstood { stream, revision, problem },
            });
        }
    };
    if FORMAT < commit.format {
        return Err(DecodeError::NewerFormat { stream: stream.clone(), revision, format: commit.format });
    }
    if commit.stream != *stream || commit.revision != revision {
        return Err(corrupt(format!("it is revision {} of `{}`", commit.revision, commit.stream)));
    }
    Ok((commit, actual))
}
