//! Three registries on three kinds of storage: a model goes from development through staging into production, where other
//! rules hold, with its bytes and its evidence; and at last everything goes into one file, and comes back.
//!
//! ```console
//! cargo run -p registry-examples --bin environments
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use backend_local::SqliteConnector;
use backend_objectstore::BucketConnector;
use bytes::Bytes;
use registry_core::{
    ApprovalRule, By, Connectors, ModelName, PromoteOptions, PromoteToOptions, Registration, Registry,
    RegistryExt as _, Scope, Stage, StageRule, Upload, VerifyOptions, Version, VersionChoice,
};
use registry_examples::training::{self, TrainedModel};
use registry_examples::{describe, page};
use registry_files::{export_archive, import_archive};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = open(&format!("sqlite:{}", folder.path().join("dev").display())).await?;
    let staging = open(&format!("file://{}", folder.path().join("staging").display())).await?;
    let production = open(&format!("sqlite:{}", folder.path().join("production").display())).await?;
    let model: ModelName = "tumour-diagnosis".parse()?;
    let (ana, bo, dana) = (By::new("ana".parse()?), By::new("bo".parse()?), By::new("dana".parse()?));

    // Where customers are served, somebody else must agree.
    let rule = StageRule { approval: Some(ApprovalRule::default()), ..StageRule::default() };
    production.set_stage_rule(&bo, &Scope::Registry, Stage::Production, Some(rule)).await?;

    let version = register(dev.as_ref(), &ana, &model, &training::baseline()?).await?;
    println!("Ana registers {model} {version} in dev.");

    let to_staging = PromoteToOptions {
        stage: Stage::Staging,
        ..PromoteToOptions::new("dev".parse()?, "staging".parse()?)
    };
    let arrival = dev.promote_to(&ana, &model, &version, staging.as_ref(), &to_staging).await?;
    println!("It arrives in staging; {} bytes were sent.", arrival.bytes_sent);
    let again = dev.promote_to(&ana, &model, &version, staging.as_ref(), &to_staging).await?;
    println!("Asked again, nothing is done; {} bytes were sent.", again.bytes_sent);

    let tested = PromoteOptions { require_approval: true, ..PromoteOptions::default() };
    staging.promote(&dana, &model, &version, Stage::Production, tested).await?;
    let meaning = Some("tested on this week's cases".parse()?);
    staging.approve(&bo, &model, &version, None, meaning, None).await?;
    println!("Bo approves it in staging.");

    // The rules there hold, so it enters no stage that demands approval by itself.
    let straight = PromoteToOptions {
        stage: Stage::Production,
        ..PromoteToOptions::new("staging".parse()?, "production".parse()?)
    };
    let refused = staging.promote_to(&dana, &model, &version, production.as_ref(), &straight).await;
    if let Err(refused) = refused {
        println!("Straight into production: {refused}.");
    }
    let through_staging = PromoteToOptions { stage: Stage::Staging, ..straight };
    staging.promote_to(&dana, &model, &version, production.as_ref(), &through_staging).await?;
    production.promote(&dana, &model, &version, Stage::Production, PromoteOptions::default()).await?;
    production.approve(&bo, &model, &version, None, Some("release".parse()?), None).await?;
    told(production.as_ref(), &model, &version).await?;

    let file = folder.path().join("production.tar");
    let archived = export_archive(production.as_ref(), None, &file, &|_| {}).await?;
    let restored = open(&format!("file://{}", folder.path().join("restored").display())).await?;
    import_archive(restored.as_ref(), &file, &|_| {}).await?;
    let options = VerifyOptions { bytes: true, ..VerifyOptions::default() };
    let found = restored.verify(&model, options).await?;
    println!(
        "\nAll of production is one file: {}, {}. Restored elsewhere, {}: {}.",
        page::count(usize::try_from(archived.records)?, "record"),
        page::count(usize::try_from(archived.blobs)?, "blob"),
        page::count(usize::try_from(found.commits)?, "commit"),
        if found.is_sound() { "nothing is wrong" } else { "SOMETHING IS WRONG" }
    );
    let again = folder.path().join("again.tar");
    export_archive(restored.as_ref(), None, &again, &|_| {}).await?;
    println!("Exported again, it is the same file: {}.", same(&file, &again)?);
    Ok(())
}

async fn open(url: &str) -> Result<Arc<dyn Registry>> {
    let connectors = Connectors::new().with(SqliteConnector).with(BucketConnector);
    Ok(connectors.open(url).await?)
}

async fn register(
    registry: &dyn Registry,
    by: &By,
    model: &ModelName,
    trained: &TrainedModel,
) -> Result<Version> {
    let bytes = Bytes::copy_from_slice(&trained.bytes);
    let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &bytes };
    let registration = Registration::new(VersionChoice::Auto, describe::content(trained)?);
    Ok(registry.register(by, model, registration, &[upload]).await?.version.version.clone())
}

/// Where it comes from, as the last registry knows it.
async fn told(registry: &dyn Registry, model: &ModelName, version: &Version) -> Result<()> {
    let state = registry.model(model).await?;
    let Some(found) = state.version(version) else { return Err("it did not arrive".into()) };
    println!("\nIn production, {version} is in {} and came from:", found.stage);
    for origin in found.origins.iter() {
        println!(
            "   {}, revision {}, registered by {}",
            origin.environment, origin.revision, origin.registered_by
        );
        for step in &origin.approved {
            for approval in &step.approvals {
                let meaning =
                    approval.meaning.as_ref().map_or("no meaning given", |meaning| meaning.as_str());
                println!("      approved for {} by {}: {meaning}", step.to, approval.actor);
            }
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}
