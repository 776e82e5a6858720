//! The page of a model that is really trained: written, added to by hand, and written again after a rollback.
//!
//! ```console
//! cargo run -p registry-examples --bin living_documents
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use registry_core::{
    By, ModelName, PromoteOptions, Registration, Registry, RegistryExt as _, Stage, Upload, VersionChoice,
};
use registry_docs::{Mode, Options, outputs, read, write};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAGE: &str = "pages/tumour-diagnosis.md";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = registry_core::in_memory();
    let model: ModelName = "tumour-diagnosis".parse()?;
    let folder = tempfile::tempdir()?;
    deploy(&registry, &model, &training::baseline()?).await?;
    deploy(&registry, &model, &training::improved_same_inputs()?).await?;

    println!("Written for the first time:");
    update(&registry, folder.path()).await?;
    println!("\n{}", fs::read_to_string(folder.path().join(PAGE))?);

    let page = fs::read_to_string(folder.path().join(PAGE))?;
    fs::write(folder.path().join(PAGE), format!("{page}\nAsk Ana before you change the threshold.\n"))?;
    let ana = By::new("ana".parse()?).because("misses small tumours".parse()?);
    let done = registry.rollback(&ana, &model, None, false).await?;
    println!("Ana adds a line, and goes back from {} to {}:", done.from, done.to);
    update(&registry, folder.path()).await?;
    let page = fs::read_to_string(folder.path().join(PAGE))?;
    for line in page.lines().filter(|line| line.starts_with("| v") || line.starts_with("Ask Ana")) {
        println!("   {line}");
    }

    println!("Once more, without a change:");
    update(&registry, folder.path()).await
}

async fn deploy(registry: &impl Registry, model: &ModelName, trained: &TrainedModel) -> Result<()> {
    let bytes = Bytes::copy_from_slice(&trained.bytes);
    let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &bytes };
    let registration = Registration::new(VersionChoice::Auto, describe::content(trained)?);
    let ana = By::new("ana".parse()?);
    let version = registry.register(&ana, model, registration, &[upload]).await?.version.version.clone();
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&ana, model, &version, stage, PromoteOptions::default()).await?;
    }
    Ok(())
}

async fn update(registry: &dyn Registry, folder: &Path) -> Result<()> {
    let records = read(registry, None).await?;
    let wanted = outputs(&records, &Options { cards: true, ..Options::default() })?;
    let report = write(registry, &wanted, folder, Mode::Write).await?;
    for file in &report.files {
        println!("   {}: {:?}", file.path, file.change);
    }
    Ok(())
}
