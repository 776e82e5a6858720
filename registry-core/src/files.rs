//! Why this exists: a system that the registry shares its models with keeps their files by **name**, in folders:
//! MLflow's artifact roots are such. Where these folders are (behind that system's own server, or in a bucket that
//! its clients talk to themselves) is another question, and whoever can reach a kind of place answers it
//! here: buckets are reached by the backend for buckets, without either backend knowing the other.
//!
//! This is no part of the contract of a backend: bytes of the registry's own are in an
//! [`ArtifactStore`](crate::storage::ArtifactStore), by their digests.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::storage::{Blob, ByteSource, ByteStream, StorageError};

/// What is found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder, without a `/`.
    pub name: String,
    /// The length of a file, in bytes; none means that it is a folder.
    pub size: Option<u64>,
}

/// Files by their paths below one place. Paths are relative, their parts separated by `/`.
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// What is in a folder, and not what is in the folders below it. Nothing if there is no such folder.
    async fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError>;

    /// The bytes of a file, or of a part of it; a range that reaches beyond the end is cut.
    /// [`StorageErrorKind::Missing`](crate::storage::StorageErrorKind::Missing) if it is not there.
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<ByteStream, StorageError>;

    /// Writes a file, over what was there. If the source gives other bytes than `blob` says, it fails, and what
    /// is there under that path afterwards is shorter than it should be, or nothing.
    async fn write(&self, path: &str, source: &dyn ByteSource, blob: Blob) -> Result<(), StorageError>;

    /// Removes a file. One that is not there is removed already.
    async fn remove(&self, path: &str) -> Result<(), StorageError>;
}

/// Opens places for files by URL.
#[async_trait]
pub trait OpenFiles: Send + Sync + 'static {
    /// The schemes of the URLs that can be opened, such as `s3`.
    fn schemes(&self) -> &'static [&'static str];

    /// The files below a URL. Sends nothing yet.
    async fn open_files(&self, url: &str) -> Result<Arc<dyn Files>, Error>;
}
