//! MLflow servers: of the present line on SQLite with files in a folder, as most small installations are, and on
//! PostgreSQL with files in a bucket, where two processes serve one database; and the last of the line before, which
//! many still run.
//!
//! They report to nobody, and run no jobs in the background, which take a gigabyte and serve nothing that is
//! tested.

use std::path::Path;
use std::process::Command;

use super::server::{Launch, Scratch, Server, TERMINATE, ask, free_ports};
use super::{ACCESS_KEY, BUCKET, SECRET_KEY, ministack, packages, postgresql};

struct Line {
    package: &'static str,
    /// What is installed: everything, at exact versions.
    list: &'static str,
}

const LINE_3: Line = Line { package: "mlflow==3.18.0", list: include_str!("mlflow/mlflow-3.txt") };
const LINE_2: Line = Line { package: "mlflow==2.22.5", list: include_str!("mlflow/mlflow-2.txt") };

impl Line {
    fn install(&self) -> Result<std::path::PathBuf, String> {
        packages::python_list(self.package, self.list)
    }

    /// A server of this line, with its data in a folder of its own, but for those in a database or a bucket
    /// elsewhere.
    fn start(
        &self,
        name: &'static str,
        workers: u16,
        scratch: Scratch,
        database: &str,
        bucket: Option<&str>,
        variables: impl FnOnce(String, &Path) -> Vec<(&'static str, String)>,
    ) -> Result<Server, String> {
        let [port] = free_ports()?;
        let programs = self.install()?;
        let mut command = Command::new(programs.join("mlflow"));
        command
            .args(["server", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--workers", &workers.to_string(), "--backend-store-uri", database])
            .arg("--artifacts-destination");
        match bucket {
            Some(address) => command
                .arg(format!("s3://{BUCKET}/mlflow"))
                .env("MLFLOW_S3_ENDPOINT_URL", address)
                .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
                .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
                .env("AWS_DEFAULT_REGION", "us-east-1")
                .env("AWS_EC2_METADATA_DISABLED", "true"),
            None => command.arg(scratch.path().join("artifacts")),
        };
        command
            .current_dir(scratch.path())
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
        Server::start(Launch {
            name,
            command,
            scratch: Some(scratch),
            variables: variables(format!("http://127.0.0.1:{port}"), &programs.join("python")),
            // It makes the tables of its database before it listens.
            ready: Box::new(move || {
                Ok(ask(port, "GET", "/health", "").is_some_and(|answer| answer.contains(" 200 ")))
            }),
            // To the group: the program that starts the processes of 2.x does not pass it on.
            stop: TERMINATE,
        })
    }

    /// The variables are for its address, its database and its Python.
    fn start_on_sqlite(
        &self,
        name: &'static str,
        variables: [&'static str; 3],
    ) -> Result<Vec<Server>, String> {
        let scratch = Scratch::new(name)?;
        let database = scratch.path().join("mlflow.db").display().to_string();
        let [address_is, database_is, python_is] = variables;
        let server =
            self.start(name, 1, scratch, &format!("sqlite:///{database}"), None, |address, python| {
                let python = python.display().to_string();
                vec![(address_is, address), (database_is, database.clone()), (python_is, python)]
            })?;
        Ok(vec![server])
    }
}

/// The folder of programs of the present line.
pub(crate) fn programs_of_mlflow() -> Result<std::path::PathBuf, String> {
    LINE_3.install()
}

pub(super) fn install_3() -> Result<(), String> {
    LINE_3.install().map(drop)
}

pub(super) fn start_3() -> Result<Vec<Server>, String> {
    let variables = ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_3_DB", "REGISTRY_TEST_MLFLOW_3_PYTHON"];
    LINE_3.start_on_sqlite("mlflow-3", variables)
}

pub(super) fn install_2() -> Result<(), String> {
    LINE_2.install().map(drop)
}

pub(super) fn start_2() -> Result<Vec<Server>, String> {
    let variables = ["REGISTRY_TEST_MLFLOW_2", "REGISTRY_TEST_MLFLOW_2_DB", "REGISTRY_TEST_MLFLOW_2_PYTHON"];
    LINE_2.start_on_sqlite("mlflow-2", variables)
}

pub(super) fn install_on_postgresql() -> Result<(), String> {
    postgresql::install()?;
    ministack::install()?;
    LINE_3.install().map(drop)
}

/// The database and the bucket are begun first and not waited for: MLflow tries again until the one is there, and
/// asks for the other when it is needed.
pub(super) fn start_on_postgresql() -> Result<Vec<Server>, String> {
    let (database, address) = postgresql::start()?;
    let name = "mlflow-postgresql";
    // Without its driver's name, the address means another driver since SQLAlchemy 2.1.
    let driven = address.replacen("postgresql:", "postgresql+psycopg2:", 1);
    let (bucket, endpoint) = ministack::start_for("mlflow-bucket", |_| Vec::new())?;
    let server = LINE_3.start(name, 2, Scratch::new(name)?, &driven, Some(&endpoint), |mlflow, _| {
        vec![("REGISTRY_TEST_MLFLOW_PG", mlflow), ("REGISTRY_TEST_MLFLOW_PG_DB", address.clone())]
    })?;
    Ok(vec![database, bucket, server])
}
