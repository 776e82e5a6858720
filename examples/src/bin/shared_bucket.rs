//! Two processes that share nothing but a bucket: one trains and releases, one serves.
//!
//! ```console
//! cargo run -p registry-examples --bin shared_bucket
//! cargo run -p registry-examples --bin shared_bucket -- 's3://models/team-a?region=eu-west-1'
//! ```
//!
//! Without a URL the bucket is a folder of objects, gone at the end; any URL of [`BucketConnector`] will do,
//! with its credentials in the environment. There is no server of ours and no database: the two processes
//! meet in the objects, and what one has committed the other sees with its next look.

use std::error::Error;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use backend_objectstore::BucketConnector;
use bytes::Bytes;
use registry_core::{
    By, Connectors, ModelName, PromoteOptions, Registration, Registry, RegistryExt as _, Selector, Stage,
    Upload, VersionChoice,
};
use registry_examples::describe::{self, MODEL_FILE};
use registry_examples::training;
use tokio::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tells this program that it is the second process.
const TRAINER: &str = "--trainer";
const MODEL: &str = "tumour-diagnosis";
const LOOK_EVERY: Duration = Duration::from_millis(50);
const BYTES_MAX: u64 = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [TRAINER, url] => train(&open(url).await?).await,
        [url] => serve(url).await,
        [] => {
            let folder = tempfile::tempdir()?;
            serve(&format!("file://{}", folder.path().display())).await
        }
        _ => Err("give one URL, or none".into()),
    }
}

async fn open(url: &str) -> Result<Arc<dyn Registry>> {
    Ok(Connectors::new().with(BucketConnector).open(url).await?)
}

/// The process that serves. It starts the other one, and then only looks at the bucket.
async fn serve(url: &str) -> Result<()> {
    let registry = open(url).await?;
    let model: ModelName = MODEL.parse()?;
    let before = match registry.get(&model, &Selector::PRODUCTION).await {
        Ok(found) => Some(found.version.clone()),
        Err(_) => None,
    };
    let mut trainer =
        Command::new(std::env::current_exe()?).args([TRAINER, url]).stdin(Stdio::null()).spawn()?;
    println!("server  {}: waits for a model", std::process::id());
    let production = registry.follow(&model, &Selector::PRODUCTION);
    let mut seen = before;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let ended = trainer.try_wait()?;
        if let Some(status) = ended
            && !status.success()
        {
            return Err(format!("the trainer failed: {status}").into());
        }
        match production.refresh().await {
            Ok(Some(found)) if seen.as_ref() != Some(&found.version) => {
                // Verified while they are read, against the digest in the log.
                let bytes = registry.read(found.artifact(&MODEL_FILE.parse()?)?, BYTES_MAX).await?;
                println!(
                    "server  {}: serves {}, {} bytes, released by {}",
                    std::process::id(),
                    found.version,
                    bytes.len(),
                    found.staged.actor
                );
                seen = Some(found.version.clone());
            }
            // Nothing new, and nobody left who could bring something.
            _ if ended.is_some() => break,
            _ => {}
        }
    }
    let verification = registry.verify(&model, Default::default()).await?;
    println!(
        "the log: {} commits of two processes, sound: {}",
        verification.commits,
        verification.is_sound()
    );
    Ok(())
}

/// The process that trains. It knows the bucket and nothing of the other process.
async fn train(registry: &Arc<dyn Registry>) -> Result<()> {
    let model: ModelName = MODEL.parse()?;
    let by = By::new("pipeline@example.com".parse()?);
    for trained in [training::baseline()?, training::improved_same_inputs()?] {
        let bytes = Bytes::from(trained.bytes.clone());
        let upload = Upload { path: MODEL_FILE.parse()?, source: &bytes };
        let registration = Registration::new(VersionChoice::Auto, describe::content(&trained)?);
        let registered = registry.register(&by, &model, registration, &[upload]).await?;
        let version = registered.version.version.clone();
        println!("trainer {}: registered {version}", std::process::id());
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&by, &model, &version, stage, PromoteOptions::default()).await?;
        }
        println!("trainer {}: released {version}", std::process::id());
        // So that the other process gets to see each release: it looks every 50 ms.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
