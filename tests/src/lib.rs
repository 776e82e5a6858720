//! Tests and benchmarks that cross crates and processes. What they share is here.

pub mod fault_proxy;
pub mod mortal;
pub mod troubled;

use std::sync::Arc;

use bytes::Bytes;
use registry_core::{
    By, Content, Error, ModelName, PromoteOptions, Registered, Registration, Registry, RegistryExt as _,
    Stage, Upload, Version,
};

/// A version with one file that holds its name.
pub async fn register(
    registry: &(impl Registry + ?Sized),
    by: &By,
    model: &ModelName,
    version: &Version,
) -> Result<Registered, Error> {
    let bytes = Bytes::from(format!("the weights of {model} {version}"));
    let upload = Upload { path: "model.bin".parse()?, source: &bytes };
    let registration = Registration::new(version.clone(), Content::default());
    registry.register(by, model, registration, &[upload]).await
}

/// Through staging into production.
pub async fn into_production(
    registry: &(impl Registry + ?Sized),
    by: &By,
    model: &ModelName,
    version: &Version,
) -> Result<(), Error> {
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(by, model, version, stage, PromoteOptions::default()).await?;
    }
    Ok(())
}

/// Opens a registry by URL, with all backends there are.
pub async fn open(url: &str) -> Result<Arc<dyn Registry>, Error> {
    let connectors = registry_core::Connectors::new()
        .with(backend_local::SqliteConnector)
        .with(backend_objectstore::BucketConnector)
        .with(backend_mlflow::MlflowConnector::new());
    connectors.open(url).await
}

/// Where the S3 server of the tests is, which `cargo xtask test` starts. It must be on this machine.
pub fn s3_server() -> Result<std::net::SocketAddr, String> {
    server("REGISTRY_TEST_S3")
}

/// Where an MLflow server of the tests is, which `cargo xtask test` starts and says in a variable. It must be on
/// this machine.
pub fn mlflow_server(variable: &str) -> Result<std::net::SocketAddr, String> {
    server(variable)
}

fn server(variable: &str) -> Result<std::net::SocketAddr, String> {
    let found = std::env::var(variable).unwrap_or_default();
    match found.strip_prefix("http://127.0.0.1:").and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => Ok((std::net::Ipv4Addr::LOCALHOST, port).into()),
        None => {
            Err(format!("no server on this machine ({variable}): run `cargo xtask test`, which starts it"))
        }
    }
}

/// The URL of a registry of its own on an MLflow server, at the server or at a proxy before it.
pub fn mlflow_url(server: std::net::SocketAddr, registry: &str) -> String {
    format!("mlflow+http://{server}?registry={registry}&prefix={registry}-")
}

/// The URL of a registry in the bucket of the tests, at the server or at a proxy before it. The credentials
/// are made up: that server believes anybody.
pub fn s3_url(endpoint: std::net::SocketAddr, prefix: &str) -> String {
    format!(
        "s3://registry-test/{prefix}?endpoint=http://{endpoint}&allow_http=true&region=us-east-1\
        &access_key_id=made-up-key&secret_access_key=made-up-secret"
    )
}
