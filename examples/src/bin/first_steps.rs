//! The program in the README, to the letter. A test compares the two.

use backend_local::open;
use bytes::Bytes;
use registry_core::signature::{Field, Scalar, Schema, Signature};
use registry_core::{
    By, Content, Metric, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Upload,
    VersionChoice,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = open("./models")?;
    let fraud: ModelName = "fraud-detection".parse()?;
    let alice = By::new("alice@example.com".parse()?);

    // What the model takes and gives decides which version number it may bear.
    let inputs =
        Schema::new(vec![Field::new("amount", Scalar::Double), Field::new("country", Scalar::String)])?;
    let outputs = Schema::new(vec![Field::new("is_fraud", Scalar::Boolean)])?;
    let mut content = Content {
        signature: Some(Signature::new(Some(inputs), Some(outputs), Vec::new())?),
        ..Content::default()
    };
    content.metrics.insert("accuracy".parse()?, Metric::new(0.87)?.with_samples(12_000));

    // The bytes are stored first; a version is visible with all of them or not at all.
    let weights = Bytes::from_static(b"the bytes of the model");
    let upload = Upload { path: "model.bin".parse()?, source: &weights };
    let registration = Registration::new(VersionChoice::Auto, content);
    let registered = registry.register(&alice, &fraud, registration, &[upload]).await?.version;

    // Run again, it finds the same content registered, and in production already.
    if registered.stage == Stage::Development {
        let version = &registered.version;
        registry.promote(&alice, &fraud, version, Stage::Staging, PromoteOptions::default()).await?;
        let release = alice.because("passed the A/B test".parse()?);
        registry.promote(&release, &fraud, version, Stage::Production, PromoteOptions::default()).await?;
    }

    // Elsewhere, or next year. The bytes are verified while they are read.
    let live = registry.get(&fraud, &Selector::PRODUCTION).await?;
    let file = live.artifact(&"model.bin".parse()?)?;
    assert_eq!(registry.read(file, 1024 * 1024).await?, weights);
    println!("{} of {} is in production since {}", live.version, live.model, live.staged.at);
    Ok(())
}
