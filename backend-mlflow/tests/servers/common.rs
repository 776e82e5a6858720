//! A registry on an MLflow server, as a candidate for the exam.

use std::sync::Arc;

use async_trait::async_trait;
use backend_mlflow::{MlflowLog, MlflowMirror, Options};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::storage::ArtifactStore as _;
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, IdSource as _, MemoryArtifacts, Revision, Stream, SystemIds};

/// The address of a server for tests, from a variable that the test runner sets.
pub(crate) fn server(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(address) if address.starts_with("http://127.0.0.1:") => address,
        Ok(other) => panic!("{variable} must be on this machine, not {other}"),
        Err(_) => panic!("no MLflow server: set {variable} to the address of one on this machine"),
    }
}

/// A name that no registry on the server has.
pub(crate) fn fresh() -> String {
    format!("t{:016x}", SystemIds.next_id() >> 64)
}

/// What the test runner says of a server besides its address.
fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("no {variable}: `cargo xtask test` sets it"))
}

/// Changes one character of one parameter, in a file of SQLite or on PostgreSQL. The Python of MLflow 3.x has
/// what both need.
const ALTER: &str = "import sys
database, registry, stream, key = sys.argv[1:]
if database.startswith('postgresql:'):
    import psycopg2
    connection, mark = psycopg2.connect(database), '%s'
else:
    import sqlite3
    connection, mark = sqlite3.connect(database, timeout=60), '?'
with connection:
    cursor = connection.cursor()
    def run(statement, *values):
        cursor.execute(statement.replace('?', mark), values)
    run('SELECT p.run_uuid, p.value FROM params p JOIN runs r ON r.run_uuid = p.run_uuid '
        'JOIN experiments e ON e.experiment_id = r.experiment_id JOIN tags t ON t.run_uuid = r.run_uuid '
        'WHERE e.name = ? AND t.key = ? AND t.value = ? AND p.key = ?',
        registry, 'model-registry.stream', stream, key)
    (id, value), = cursor.fetchall()
    middle = len(value) // 2
    value = value[:middle] + chr(ord(value[middle]) ^ 1) + value[middle + 1:]
    run('UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?', value, id, key)
    assert cursor.rowcount == 1
";

/// A registry of its own on a server.
pub(crate) struct OnMlflow {
    pub(crate) address: String,
    pub(crate) registry: String,
    variable: &'static str,
    blobs: Arc<MemoryArtifacts>,
}

impl OnMlflow {
    pub(crate) fn new(variable: &'static str) -> Self {
        OnMlflow { address: server(variable), registry: fresh(), variable, blobs: Arc::default() }
    }

    pub(crate) fn log(&self) -> MlflowLog {
        let options = Options::new(&self.address).unwrap().with_registry(&self.registry);
        options.open_log().unwrap()
    }
}

#[async_trait]
impl Candidate for OnMlflow {
    async fn open(&self) -> Handle {
        let log = Arc::new(self.log());
        let mirror = MlflowMirror::new(Arc::clone(&log)).unwrap().with_prefix(&format!("{}-", self.registry));
        Handle { log, artifacts: Arc::clone(&self.blobs) as _, mirror: Some(Arc::new(mirror)) }
    }

    /// MLflow overwrites no parameter, so this is done in the database below it.
    async fn damage_record(&self, stream: &Stream, revision: Revision) {
        let database = told(&format!("{}_DB", self.variable));
        let key = format!("commit.{:020}", revision.get());
        let altered = std::process::Command::new(told("REGISTRY_TEST_MLFLOW_3_PYTHON"))
            .args(["-c", ALTER, &database, &self.registry, &stream.to_string(), &key])
            .status();
        assert!(altered.unwrap().success());
    }

    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let pieces: Vec<Bytes> = self.blobs.read(digest, None).await.unwrap().try_collect().await.unwrap();
        let mut bytes = pieces.concat();
        match damage {
            Damage::Altered => *bytes.first_mut().unwrap() ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Emptied => bytes.clear(),
            Damage::Removed => return self.blobs.damage(digest, None),
        }
        self.blobs.damage(digest, Some(bytes.into()));
    }
}
