//! A model is trained in runs that say what they do, and registers itself when a run is done. One run fails, one is
//! forgotten; later, somebody asks how the model was made.
//!
//! ```console
//! cargo run -p registry-examples --bin experiment
//! ```

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::experiment::{HostFact, RunEnvironment};
use registry_core::{By, Experiment, ModelName, Registry, RegistryExt as _, Selector, Upload};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel, TrainingError};
use registry_files::Capture;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry: Arc<dyn Registry> = Arc::new(registry_core::in_memory());
    let model: ModelName = "tumour-diagnosis".parse()?;
    let ana = By::new("ana".parse()?);
    let environment = Capture::new(".").git().host([HostFact::System, HostFact::Processors]).look();
    let experiment = registry
        .experiment("forests".parse()?, &ana)
        .increment("0042".parse()?)
        .environment(environment)
        .spawning(|task| drop(tokio::spawn(task)));

    tracked(&experiment, &model, training::baseline).await?;
    tracked(&experiment, &model, training::improved_same_inputs).await?;
    let failed = tracked(&experiment, &model, no_data).await;
    println!("The third run: {}\n", failed.err().map(|error| error.to_string()).unwrap_or_default());
    // Somebody is called away, and the handle is dropped.
    drop(experiment.start().await?);
    tokio::task::yield_now().await;

    println!("The runs:\n");
    for (number, run) in registry.runs(&"forests".parse()?).await?.runs() {
        let versions = run.versions.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        println!("  {number:>2}  {:<8}  {versions}", run.status(registry.clock().now()).as_str());
    }

    let newest = registry.get(&model, &Selector::Newest).await?;
    let Some(run) = newest.content.metadata.run.clone() else { return Err("it names no run".into()) };
    let known = registry.run(&run).await?;
    println!("\n{model} {} came out of {run}, with", newest.version);
    for (name, value) in known.params.iter().take(3) {
        println!("  {name} = {value}");
    }
    let RunEnvironment { git, host, .. } = registry.run_environment(&run).await?;
    println!("on {}", host.get(&HostFact::System).map(ToString::to_string).unwrap_or_default());
    println!("at commit {}", git.map(|git| git.commit.to_string()).unwrap_or_else(|| "unknown".to_owned()));
    println!("\n{}", registry.lineage(&model, &Selector::Newest, None).await?.to_text());
    Ok(())
}

/// Trains and registers what came of it, in a run.
async fn tracked(
    experiment: &Experiment<dyn Registry>,
    model: &ModelName,
    train: impl Fn() -> std::result::Result<TrainedModel, TrainingError>,
) -> Result<()> {
    experiment
        .clone()
        .track(async |run| {
            let trained = train()?;
            for (name, value) in &trained.hyperparameters {
                if !value.is_null() {
                    run.param(name, value.clone()).await?;
                }
            }
            for metric in &trained.metrics {
                run.metric(metric.name, 0, metric.value).await?;
            }
            let weights = Bytes::from(trained.bytes.clone());
            let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &weights };
            run.register_model(model, describe::content(&trained)?, &[upload]).await?;
            Ok(())
        })
        .await
}

/// A training that cannot go well.
fn no_data() -> std::result::Result<TrainedModel, TrainingError> {
    training::held_out(&["no such column"])?;
    training::baseline()
}
