//! A registry on an MLflow server, as a candidate for the exam.

use async_trait::async_trait;
use backend_mlflow::{MlflowLog, Options, Parts};
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, IdSource as _, Revision, Stream, SystemIds};

use crate::wire::ask;

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
pub(crate) fn told(variable: &str) -> String {
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
}

impl OnMlflow {
    pub(crate) fn new(variable: &'static str) -> Self {
        OnMlflow { address: server(variable), registry: fresh(), variable }
    }

    /// The models of this registry have names of their own, so that it can share the server with others.
    pub(crate) fn prefix(&self) -> String {
        format!("{}-", self.registry)
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(&self.address).unwrap().with_registry(&self.registry).with_prefix(self.prefix())
    }

    pub(crate) fn log(&self) -> MlflowLog {
        self.options().open_log().unwrap()
    }

    /// The address of a file of a version that others registered, behind the server's proxy.
    pub(crate) async fn place_of(&self, source: &str, file: &str, run: &str) -> String {
        // With MLflow 3 its files are those of a logged model.
        let folder = match source.strip_prefix("models:/") {
            Some(id) => {
                let found =
                    ask(&self.address, &format!("logged-models/{id}"), &serde_json::Value::Null).await;
                found["model"]["info"]["artifact_uri"].as_str().unwrap().to_owned()
            }
            None => {
                let path = format!("runs/get?run_id={run}");
                let found = ask(&self.address, &path, &serde_json::Value::Null).await;
                format!("{}/model", found["run"]["info"]["artifact_uri"].as_str().unwrap())
            }
        };
        let path = folder.strip_prefix("mlflow-artifacts:/").unwrap();
        format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}/{file}", self.address)
    }

    /// The path of a blob's one file behind the server's proxy.
    async fn blob(&self, digest: &Digest) -> String {
        let path = format!("experiments/get-by-name?experiment_name={}", self.registry);
        let found = ask(&self.address, &path, &serde_json::Value::Null).await;
        let location = found["experiment"]["artifact_location"].as_str().unwrap();
        let hex = digest.hex();
        let folder = format!("{}/blobs/{}", location.strip_prefix("mlflow-artifacts:/").unwrap(), &hex[..2]);
        let list = format!("{}/api/2.0/mlflow-artifacts/artifacts?path={folder}", self.address);
        let found: serde_json::Value =
            serde_json::from_str(&reqwest::get(list).await.unwrap().text().await.unwrap()).unwrap();
        let start = format!("{}.copy.", &hex[2..]);
        let names = found["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap());
        let mut names = names.filter(|name| name.starts_with(&start));
        let name = names.next().unwrap();
        assert_eq!(names.next(), None);
        format!("{}/api/2.0/mlflow-artifacts/artifacts/{folder}/{name}", self.address)
    }
}

#[async_trait]
impl Candidate for OnMlflow {
    async fn open(&self) -> Handle {
        let Parts { log, artifacts, mirror } = self.options().open_parts().unwrap();
        Handle { log, artifacts, mirror: Some(mirror) }
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

    /// Files are overwritten by whoever asks.
    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let url = self.blob(digest).await;
        let client = reqwest::Client::new();
        let mut bytes = client.get(&url).send().await.unwrap().bytes().await.unwrap().to_vec();
        match damage {
            Damage::Altered => *bytes.first_mut().unwrap() ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Emptied => bytes.clear(),
            Damage::Removed => {
                assert!(client.delete(&url).send().await.unwrap().status().is_success());
                return;
            }
        }
        assert!(client.put(&url).body(bytes).send().await.unwrap().status().is_success());
    }
}
