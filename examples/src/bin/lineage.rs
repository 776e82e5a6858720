//! A model is improved, and a small one is made out of it. Is the new one better, what was it made of, and what would
//! notice if a feature changed? Then a rule is set, the model turns bad, and is taken out of production.
//!
//! ```console
//! cargo run -p registry-examples --bin lineage
//! ```

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::lineage::{Derivation, Link};
use registry_core::monitor::{Aggregate, Condition, Meters, Monitor, Rule};
use registry_core::{
    By, Content, Finite, ModelName, PromoteOptions, Registration, Registry, RegistryExt as _, Scope,
    Selector, Stage, Upload, Version, VersionChoice,
};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = Arc::new(registry_core::in_memory());
    let (large, small): (ModelName, ModelName) = ("tumour-diagnosis".parse()?, "tumour-pocket".parse()?);
    let ana = By::new("ana".parse()?);

    let first = register(&*registry, &ana, &large, &training::baseline()?, None).await?;
    into_production(&*registry, &ana, &large, &first).await?;
    let parent = Link::DerivedFrom { model: format!("{large}@{first}").parse()?, how: Derivation::Derived };
    let second = register(&*registry, &ana, &large, &training::improved_same_inputs()?, Some(parent)).await?;
    let compared = registry
        .compare(
            (&large, &Selector::Version(first)),
            (&large, &Selector::Version(second.clone())),
            &Default::default(),
        )
        .await?;
    println!("{}", compared.to_text());
    into_production(&*registry, &ana, &large, &second).await?;

    // The same weights in a smaller type; here the bytes stand for it.
    let parent =
        Link::DerivedFrom { model: format!("{large}@{second}").parse()?, how: Derivation::Quantised };
    register(&*registry, &ana, &small, &training::improved_same_inputs()?, Some(parent)).await?;

    println!("What is in production was made of:\n");
    println!("{}", registry.lineage(&large, &Selector::PRODUCTION, None).await?.to_text());
    println!("If a feature changed:\n");
    println!("{}", registry.impact(&"feature:mean_radius".parse()?, None).await?.to_text());

    let slow = Rule::new("latency".parse()?, Condition::Above(Finite::new(200.0)?)).of(Aggregate::P95);
    println!("The rule: {slow}.");
    let scope = Scope::Model(large.clone());
    registry.set_monitor_rule(&ana, &scope, "slow".parse()?, Some(slow)).await?;
    let meters = Meters::new(None);
    let started = registry.clock().now();
    let latency = meters.meter(&second, &"latency".parse()?);
    // These times are made up; a service would measure its own.
    (0..500).for_each(|number| latency.observe(150.0 + f64::from(number)));
    let reports = By::new("replica-1".parse()?);
    registry.report_health(&reports, &large, meters.take(started, registry.clock().now())).await?;
    for finding in Monitor::new(Arc::clone(&registry), large.clone()).look().await? {
        println!("The rule `{}` is broken: {}; {}.", finding.rule, finding.breach.reason, finding.action);
    }
    let live = registry.get(&large, &Selector::PRODUCTION).await?;
    println!("In production now: {}, since {} by {}", live.version, live.staged.at, live.staged.actor);
    Ok(())
}

async fn register(
    registry: &impl Registry,
    by: &By,
    model: &ModelName,
    trained: &TrainedModel,
    parent: Option<Link>,
) -> Result<Version> {
    let bytes = Bytes::copy_from_slice(&trained.bytes);
    let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &bytes };
    let mut content: Content = describe::content(trained)?;
    content.links.extend(parent);
    let registration = Registration::new(VersionChoice::Auto, content);
    let registered = registry.register(by, model, registration, &[upload]).await?;
    Ok(registered.version.version.clone())
}

async fn into_production(
    registry: &impl Registry,
    by: &By,
    model: &ModelName,
    version: &Version,
) -> Result<()> {
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(by, model, version, stage, PromoteOptions::default()).await?;
    }
    Ok(())
}
