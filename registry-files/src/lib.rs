//! Files and folders in and out of a model registry.
//!
//! The core knows no files: it takes bytes from a [`ByteSource`](registry_core::storage::ByteSource) and
//! gives them as a stream. This crate stands between the two. [`scan`] finds the files of a folder,
//! [`FileSource`] reads one without ever holding it in memory, and [`write_version`] puts a version's
//! files, verified, into a folder. [`export_archive`] and [`import_archive`] move whole logs with their bytes. [`Capture`]
//! looks what a training run is carried out with.
//!
//! **Architecture Invariants:** nothing is read through a symbolic link that leaves the folder, and
//! nothing is written outside of the target folder, whatever the names.

mod archive;
mod environment;
mod read;
mod scan;
mod write;

pub use archive::{Archived, check_archive, export_archive, import_archive};
pub use environment::Capture;
pub use read::{FileSource, stream};
pub use scan::{ScannedFile, scan};
pub use write::{descriptions, write_version};
