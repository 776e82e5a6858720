//! Why this exists: a page that cannot be brought up to date must be named, with the line that is in the way, before
//! anything is written.

use std::path::PathBuf;

use registry_core::{ArtifactPath, Invalid};

use crate::document::BrokenFence;

/// Why documents could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry could not be asked.
    #[error(transparent)]
    Registry(#[from] registry_core::Error),
    /// A file's fences do not fit together. No file was changed.
    #[error("{}, line {}: {}", path.display(), broken.line, broken.problem)]
    Fence {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        broken: BrokenFence,
    },
    /// A file cannot be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Two documents would have one name. No file was changed.
    #[error("two documents would be written to {path}; rename one of the models")]
    Clash {
        /// The name.
        path: ArtifactPath,
    },
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Registry(invalid.into())
    }
}
