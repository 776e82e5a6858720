//! Four models are trained and registered, and then looked for: by what they can do, how they were made, and
//! what they are made from.
//!
//! ```console
//! cargo run -p registry-examples --bin search
//! ```

use std::error::Error;

use bytes::Bytes;
use registry_core::search::{Condition, FlagField, TextField, TextTest};
use registry_core::{
    By, Content, Filter, ModelName, Page, PromoteOptions, Query, Registration, Registry, RegistryExt as _,
    Stage, Upload, Version, VersionChoice,
};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = registry_core::in_memory();
    let first = register(&registry, "tumour-diagnosis", "ana", &training::baseline()?).await?;
    register(&registry, "tumour-diagnosis", "ana", &training::improved_same_inputs()?).await?;
    register(&registry, "tumour-screening", "bo", &training::improved_more_features()?).await?;
    register(&registry, "tumour-screening", "bo's \"quick\" run", &training::careless_retrain()?).await?;
    promote(&registry, "tumour-diagnosis", &first).await?;

    ask(&registry, "The best first", "metric.accuracy >= 0.9 order by metric.accuracy desc").await?;
    ask(&registry, "Made with smoke-test settings", "algorithm = 'random_forest' and param.n_trees < 10")
        .await?;
    ask(&registry, "What production needs this feature", "stage = production and feature = 'mean_radius'")
        .await?;
    ask(
        &registry,
        "Not fit for production",
        "stage = dev and not (metric.recall > 0.9 and metric.precision > 0.9)",
    )
    .await?;

    println!("What does not make sense is refused with its place:");
    for wrong in ["stage > 3", "metric.accuracy like '0.9%'", "algoritm = 'svm'"] {
        match wrong.parse::<Query>() {
            Ok(_) => println!("   {wrong}: ?"),
            Err(invalid) => println!("   {wrong}: {}", invalid.problem),
        }
    }

    // What people type into a form goes into the tree as it is. It never becomes a part of a text that is parsed.
    let typed = "bo's \"quick\" run";
    let filter = Filter::all([
        Filter::new(Condition::Text(TextField::Owner, TextTest::equal(typed)))?,
        Filter::new(Condition::Flag(FlagField::Deprecated, false))?,
    ])?;
    println!("Built in code: {filter}");
    show(&registry.search(&filter.into()).await?);

    println!("Page by page:");
    let mut query = Query { limit: 3, ..Query::default() };
    loop {
        let page = registry.search(&query).await?;
        show(&page);
        let Some(next) = page.next else { break };
        println!("   … and the next page after these:");
        query.after = Some(next);
    }
    Ok(())
}

async fn register(
    registry: &impl Registry,
    model: &str,
    owner: &str,
    trained: &TrainedModel,
) -> Result<Version> {
    let bytes = Bytes::copy_from_slice(&trained.bytes);
    let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &bytes };
    let mut content: Content = describe::content(trained)?;
    content.metadata.owner = Some(owner.parse()?);
    let registration = Registration::new(VersionChoice::Auto, content);
    let by = By::new("training-pipeline".parse()?);
    let registered = registry.register(&by, &model.parse()?, registration, &[upload]).await?;
    Ok(registered.version.version.clone())
}

async fn promote(registry: &impl Registry, model: &str, version: &Version) -> Result<()> {
    let (by, model) = (By::new("ana".parse()?), model.parse::<ModelName>()?);
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, &model, version, stage, PromoteOptions::default()).await?;
    }
    Ok(())
}

async fn ask(registry: &impl Registry, title: &str, text: &str) -> Result<()> {
    println!("{title}: {text}");
    show(&registry.search(&text.parse()?).await?);
    Ok(())
}

fn show(page: &Page) {
    for found in &page.matches {
        let content = &found.version.content;
        let algorithm = content.metadata.algorithm.as_ref().map(ToString::to_string).unwrap_or_default();
        let accuracy = content.metrics.iter().find(|(name, _)| name.as_str() == "accuracy");
        let accuracy = accuracy.map_or(0.0, |(_, metric)| metric.value.get());
        println!("   {}@{}: {algorithm}, accuracy {accuracy:.3}", found.model, found.version.version);
    }
}
