//! Why this exists: a caller must be able to tell five things apart, because each asks for another
//! reaction: a rule said no; surely nothing was written; nobody knows whether it was written; the
//! record is damaged; access is denied. No storage library's error type appears here.

use crate::codec::DecodeError;
use crate::invalid::Invalid;
use crate::name::{ArtifactPath, EnvironmentName, ModelVersion, RequestId, RunName};
use crate::rejection::Rejection;
use crate::storage::{StorageError, StorageErrorKind};
use crate::stream::Revision;
use crate::version::Version;

/// Why a verb did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule refused. Nothing was written, but for the note of an approval that was tried by somebody who may not
    /// approve; asking again will not help until something changes.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The storage could not be used. Surely this call wrote nothing; trying again may help. (What an
    /// earlier call under the same request id did, this error does not say.)
    #[error("the storage is not available; nothing was written: {0}")]
    Unavailable(#[source] StorageError),
    /// Nobody can tell yet whether the commit was written. Send the same request again under the same
    /// id: it is done at most once.
    #[error(
        "it is not known whether request `{request_id}` was carried out; send it again under this id: {source}"
    )]
    OutcomeUnknown {
        /// The request.
        request_id: RequestId,
        /// What went wrong.
        source: StorageError,
    },
    /// A version is registered in another registry, but the one that it comes from has not noted that. Ask
    /// again: what is done is not done again, and what is missing is finished.
    #[error(
        "{version} is registered in {there} at revision {revision}, but {here} could not take note of it; \
         ask again to finish: {source}"
    )]
    NotNoted {
        /// The version.
        version: Version,
        /// The registry that it comes from.
        here: EnvironmentName,
        /// The registry that has it now.
        there: EnvironmentName,
        /// The commit there.
        revision: Revision,
        /// Why not.
        source: Box<Error>,
    },
    /// A version came out of a run, and the run could not take note of it. The version names its run all the same. To
    /// ask again finishes it.
    #[error(
        "{version} is registered, but its run `{run}` could not take note of it; ask again to finish: {source}"
    )]
    RunNotNoted {
        /// The version.
        version: ModelVersion,
        /// The run.
        run: RunName,
        /// Why not.
        source: Box<Error>,
    },
    /// A file that was to be stored changed while it was read. Nothing was registered.
    #[error("`{path}` was not stored, and nothing was written: {source}; try again when nobody writes to it")]
    SourceChanged {
        /// The file.
        path: ArtifactPath,
        /// What was seen.
        source: StorageError,
    },
    /// Too many others wrote to the same stream at once. Nothing was written.
    #[error("gave up after {attempts} attempts, each of which another writer overtook; nothing was written")]
    Contention {
        /// How many times it was tried.
        attempts: u32,
    },
    /// Access was denied. Nothing was written.
    #[error("access denied; nothing was written: {0}")]
    PermissionDenied(#[source] StorageError),
    /// A stored commit is damaged.
    #[error(transparent)]
    CorruptLog(DecodeError),
    /// Stored bytes are damaged or missing.
    #[error("{0}")]
    CorruptBytes(#[source] StorageError),
    /// What is stored was written by a newer version of this library.
    #[error("{0}")]
    NewerFormat(String),
    /// There is no registry at the place given, and none was to be made.
    #[error("there is no registry at {location}")]
    NoRegistry {
        /// The place, without secrets.
        location: String,
    },
    /// A registry cannot be opened from what was given: the URL or an option is wrong.
    #[error("cannot open a registry from {location}: {problem}")]
    Open {
        /// What was given, without secrets.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Rejected(Rejection::Invalid(invalid))
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::NewerFormat { .. } | DecodeError::NotUnderstood { .. } => {
                Error::NewerFormat(error.to_string())
            }
            corrupt => Error::CorruptLog(corrupt),
        }
    }
}

/// For reads, and for writes where the backend vouches that nothing was written.
impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error.kind {
            StorageErrorKind::PermissionDenied => Error::PermissionDenied(error),
            StorageErrorKind::Corrupt | StorageErrorKind::Missing => Error::CorruptBytes(error),
            StorageErrorKind::NewerFormat => Error::NewerFormat(error.to_string()),
            StorageErrorKind::NotDone | StorageErrorKind::Unknown | StorageErrorKind::SourceChanged => {
                Error::Unavailable(error)
            }
        }
    }
}

impl Error {
    /// The rule that refused, if it was one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Error::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}
