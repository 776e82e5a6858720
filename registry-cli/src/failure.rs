//! Why this exists: a script must be able to tell "a rule said no" from "try again later" from "nobody
//! knows". Every way to fail has one kind here, each kind one word in JSON and one exit code, and
//! nothing else in this program decides on exit codes.

use std::fmt;
use std::io;
use std::path::Path;

use registry_core::{Error, GateResult, Invalid, Rejection, RejectionKind};
use serde::Serialize;

use crate::output::one_line;

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The command line, a card or another input was wrong.
    Invalid,
    /// A rule of the registry forbids it.
    Rejected,
    /// What was named does not exist.
    NotFound,
    /// It clashes with what is there or with what somebody else did.
    Conflict,
    /// The storage, or another server that was asked, cannot be used.
    Unavailable,
    /// The storage denies access.
    AccessDenied,
    /// It may have been written or not.
    OutcomeUnknown,
    /// What is stored is not what was written.
    Corrupt,
    /// Documents are not what they would be if they were made now.
    OutOfDate,
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Kind::Invalid => 2,
            Kind::Rejected => 3,
            Kind::NotFound => 4,
            Kind::Conflict => 5,
            Kind::Unavailable | Kind::AccessDenied => 6,
            Kind::OutcomeUnknown => 7,
            Kind::Corrupt => 8,
            Kind::OutOfDate => 9,
        }
    }
}

/// Shown under `registry --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  usage or invalid input
  3  rejected by a rule
  4  not found
  5  conflict with what is there, or with what somebody else did
  6  storage, or a server that was asked, unavailable; or access denied
  7  outcome unknown: send the same request again under the same --request-id
  8  corrupt: what is stored is not what was written
  9  documents are out of date, as `docs --check` found
`experiment run` ends with the exit code of its command.";

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The registry said so.
    Registry(Error),
    /// This program said so.
    Told { kind: Kind, message: String },
    /// The command that was run as a run ended with that exit code, which is told already.
    Command(u8),
    /// The output could not be written. A closed pipe ends the program quietly.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure::Told { kind, message: message.into() }
    }

    /// A file that the user named could not be used.
    pub(crate) fn file(path: &Path, problem: impl fmt::Display) -> Self {
        Invalid::new("file", path.display(), problem.to_string()).into()
    }

    /// A file that was to be made is there.
    pub(crate) fn taken(path: &Path) -> Self {
        let path = one_line(&path.display().to_string());
        Failure::new(Kind::Invalid, format!("`{path}` is there already; choose another file"))
    }

    /// The gates that were not passed.
    pub(crate) fn gates(&self) -> &[GateResult] {
        match self {
            Failure::Registry(Error::Rejected(Rejection::GatesClosed { failed, .. })) => failed,
            _ => &[],
        }
    }

    /// The kind and the message; none if there is nobody left to tell.
    pub(crate) fn told(&self) -> Option<(Kind, String)> {
        match self {
            Failure::Registry(error) => Some((kind_of(error), error.to_string())),
            Failure::Told { kind, message } => Some((*kind, message.clone())),
            Failure::Command(_) => None,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => {
                Some((Kind::Unavailable, format!("the output could not be written: {error}")))
            }
        }
    }
}

impl Failure {
    /// The exit code of a failure that nobody is told of.
    pub(crate) fn quiet_exit_code(&self) -> u8 {
        match self {
            Failure::Command(code) => *code,
            Failure::Registry(_) | Failure::Told { .. } | Failure::Output(_) => 0,
        }
    }
}

fn kind_of(error: &Error) -> Kind {
    match error {
        Error::Rejected(rejection) => match rejection.kind() {
            RejectionKind::Invalid => Kind::Invalid,
            RejectionKind::NotFound => Kind::NotFound,
            RejectionKind::Conflict => Kind::Conflict,
            _ => Kind::Rejected,
        },
        Error::OutcomeUnknown { .. } => Kind::OutcomeUnknown,
        Error::NotNoted { source, .. } | Error::RunNotNoted { source, .. } => kind_of(source),
        Error::Contention { .. } | Error::SourceChanged { .. } => Kind::Conflict,
        Error::PermissionDenied(_) => Kind::AccessDenied,
        Error::Open { .. } => Kind::Invalid,
        Error::NoRegistry { .. } => Kind::NotFound,
        Error::CorruptLog(_) | Error::CorruptBytes(_) => Kind::Corrupt,
        // Unavailable, NewerFormat, and what a later version may add: it cannot be used from here.
        _ => Kind::Unavailable,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Registry(error)
    }
}

impl From<registry_docs::Error> for Failure {
    fn from(error: registry_docs::Error) -> Self {
        match error {
            registry_docs::Error::Registry(error) => error.into(),
            other => Failure::new(Kind::Invalid, other.to_string()),
        }
    }
}

impl From<registry_signing::Error> for Failure {
    fn from(error: registry_signing::Error) -> Self {
        use registry_signing::Error;
        match error {
            Error::Registry(error) => error.into(),
            Error::Invalid(invalid) => invalid.into(),
            Error::OtherKey { .. } | Error::WrongSignature { .. } | Error::Unsound { .. } => {
                Failure::new(Kind::Corrupt, error.to_string())
            }
            Error::NotSigned { .. } => Failure::new(
                Kind::NotFound,
                format!("{error}; if one lies elsewhere, give it as --signature"),
            ),
            Error::NoRandomNumbers(_) => Failure::new(Kind::Unavailable, error.to_string()),
            other => Failure::new(Kind::Invalid, other.to_string()),
        }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Failure::Registry(invalid.into())
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Failure::Registry(rejection.into())
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: Kind,
    message: &'a str,
    /// The gates that were not passed, if that is what it is about.
    #[serde(skip_serializing_if = "<[GateResult]>::is_empty")]
    gates: &'a [GateResult],
}

/// The failure as a program reads it.
pub(crate) fn as_json(kind: Kind, message: &str, gates: &[GateResult]) -> String {
    serde_json::to_string(&Envelope { error: Body { kind, message, gates } }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use registry_core::storage::{StorageError, StorageErrorKind};

    use super::*;

    #[test]
    fn what_storage_does_is_told_apart() {
        let storage = |kind| StorageError::new(kind, "x");
        let unknown = StorageErrorKind::Unknown;
        for (error, code) in [
            (Error::Unavailable(storage(StorageErrorKind::NotDone)), 6),
            (Error::PermissionDenied(storage(StorageErrorKind::PermissionDenied)), 6),
            (Error::OutcomeUnknown { request_id: "r-1".parse().unwrap(), source: storage(unknown) }, 7),
            (Error::Contention { attempts: 9 }, 5),
            (Error::CorruptBytes(storage(StorageErrorKind::Corrupt)), 8),
            (Error::NewerFormat("x".to_owned()), 6),
        ] {
            let (kind, message) = Failure::from(error).told().unwrap();
            assert_eq!(kind.exit_code(), code, "{message}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(Failure::Output(io::ErrorKind::BrokenPipe.into()).told().is_none());
        assert!(Failure::Output(io::ErrorKind::StorageFull.into()).told().is_some());
    }
}
