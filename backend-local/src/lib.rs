//! Local storage for a model registry: one folder, shared by any number of threads and processes.
//!
//! ```text
//! <folder>/
//!   registry.db          commits, terms and checkpoints, in SQLite (WAL)
//!   blobs/sha256/ab/cd…  bytes, each file named by its SHA-256
//!   blobs/incoming/      files on their way in
//! ```
//!
//! ```
//! use registry_core::RegistryExt as _;
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let registry = backend_local::open(folder)?;
//! assert!(registry.models(None, 10).await?.is_empty());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(open())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! * A commit that was acknowledged survives the process and, with [`Synchronous::Full`] (the default),
//!   a loss of power, as far as the disk keeps its promises.
//! * Several processes may use one registry at once. Waiting for each other is bounded by
//!   [`Options::busy_timeout`]; after that the answer is "not available", never a half-done write.
//! * Nothing absolute is stored: the folder can be moved and copied (while nobody writes).
//!
//! **Architecture Invariants:** this crate holds no rule of the registry; only `sqlite.rs` knows SQL, and
//! only `folder.rs` touches blobs. It needs no particular async runtime: commits go through a thread
//! of its own, and point reads are done in place, since they take less time than a hop to another thread
//! (`docs/decisions/0002-local-reads-in-place.md`).

mod folder;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use registry_core::{Connector, Engine, Error, Location, Registry};

pub use folder::FolderArtifacts;
pub use registry_files as files;
pub use sqlite::{SqliteLog, Synchronous};

/// A registry in a local folder.
pub type LocalRegistry = Engine<SqliteLog, FolderArtifacts>;

/// How a folder is opened.
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    /// Refuse all writes, and open folders that cannot be written to.
    pub read_only: bool,
    /// Make the folder if it is not there.
    pub create: bool,
    /// How long to wait for other processes that write.
    pub busy_timeout: Duration,
    /// How durable an acknowledged commit is.
    pub synchronous: Synchronous,
}

impl Default for Options {
    /// Writable, created if missing, waiting for at most ten seconds, fully durable.
    fn default() -> Self {
        Options {
            read_only: false,
            create: true,
            busy_timeout: Duration::from_secs(10),
            synchronous: Synchronous::Full,
        }
    }
}

impl Options {
    /// Opens the registry in `folder`.
    pub fn open(self, folder: impl AsRef<Path>) -> Result<LocalRegistry, Error> {
        let folder = folder.as_ref();
        let refused = |problem: String| Error::Open { location: folder.display().to_string(), problem };
        let database = folder.join("registry.db");
        let exists = database.try_exists().map_err(|error| refused(error.to_string()))?;
        if !exists {
            if self.read_only || !self.create {
                return Err(Error::NoRegistry { location: folder.display().to_string() });
            }
            if folder.is_file() {
                return Err(refused("it is a file; a registry is a folder".to_owned()));
            }
            std::fs::create_dir_all(folder)
                .map_err(|error| refused(format!("the folder cannot be made: {error}")))?;
        }
        let artifacts = FolderArtifacts::new(folder.join("blobs"), self.read_only);
        let log = SqliteLog::open(&database, &self)?;
        if !self.read_only {
            artifacts.recover()?;
        }
        Ok(Engine::new(Arc::new(log), Arc::new(artifacts)))
    }
}

/// Opens the registry in a folder, and makes it if it is not there.
pub fn open(folder: impl AsRef<Path>) -> Result<LocalRegistry, Error> {
    Options::default().open(folder)
}

/// Opens `sqlite:<folder>`, with the options `read_only`, `create` (`true` or `false`),
/// `busy_timeout_ms` (a number) and `synchronous` (`full` or `normal`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SqliteConnector;

#[async_trait]
impl Connector for SqliteConnector {
    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    async fn open(&self, mut location: Location) -> Result<Arc<dyn Registry>, Error> {
        let mut options = Options::default();
        let yes_or_no = |text: &str| text.parse::<bool>().ok();
        if let Some(read_only) = location.take("read_only", yes_or_no, "`true` or `false`")? {
            options.read_only = read_only;
        }
        if let Some(create) = location.take("create", yes_or_no, "`true` or `false`")? {
            options.create = create;
        }
        let milliseconds = |text: &str| text.parse().ok().map(Duration::from_millis);
        if let Some(timeout) = location.take("busy_timeout_ms", milliseconds, "a number of milliseconds")? {
            options.busy_timeout = timeout;
        }
        let level = |text: &str| match text {
            "full" => Some(Synchronous::Full),
            "normal" => Some(Synchronous::Normal),
            _ => None,
        };
        if let Some(synchronous) = location.take("synchronous", level, "`full` or `normal`")? {
            options.synchronous = synchronous;
        }
        location.finish(&["busy_timeout_ms", "create", "read_only", "synchronous"])?;
        let path = location.rest.strip_prefix("//").unwrap_or(&location.rest);
        if path.is_empty() {
            return Err(location.error("a folder is needed, for example `sqlite:./models`"));
        }
        Ok(Arc::new(options.open(PathBuf::from(path))?))
    }
}
