//! The exam, taken by SQLite and the folder.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use backend_local::{FolderArtifacts, Options, SqliteLog};
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, Revision, Stream};

struct Local {
    folder: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        Local { folder: tempfile::tempdir().unwrap() }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
    }
}

#[async_trait]
impl Candidate for Local {
    async fn open(&self) -> Handle {
        let log = SqliteLog::open(&self.folder.path().join("registry.db"), &Options::default()).unwrap();
        let artifacts = FolderArtifacts::new(self.folder.path().join("blobs"), false);
        Handle { log: Arc::new(log), artifacts: Arc::new(artifacts), mirror: None }
    }

    async fn damage_record(&self, stream: &Stream, revision: Revision) {
        let database = rusqlite::Connection::open(self.folder.path().join("registry.db")).unwrap();
        database.execute_batch("DROP TRIGGER commits_are_never_changed").unwrap();
        let slot = (stream.to_string(), i64::try_from(revision.get()).unwrap());
        let mut body: Vec<u8> = database
            .query_row("SELECT body FROM commits WHERE slot = (SELECT number FROM streams WHERE name = ?1) << 32 | ?2", slot.clone(), |row| {
                row.get(0)
            })
            .unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        let changed = database
            .execute(
                "UPDATE commits SET body = ?3 WHERE slot = (SELECT number FROM streams WHERE name = ?1) << 32 | ?2",
                (slot.0, slot.1, body),
            )
            .unwrap();
        assert_eq!(changed, 1);
    }

    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let path = self.blob(digest);
        let mut bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match damage {
            Damage::Altered => bytes[0] ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Emptied => bytes.clear(),
            Damage::Removed => return,
        }
        fs::write(&path, bytes).unwrap();
    }
}

registry_core::exam!(Local::new());
