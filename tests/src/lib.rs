//! Tests and benchmarks that cross crates and processes. What they share is here.

pub mod fault_proxy;

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
        .with(backend_objectstore::BucketConnector);
    connectors.open(url).await
}
