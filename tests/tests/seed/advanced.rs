//! "Advanced Features".

use std::sync::Arc;
use std::time::Duration;

use registry_core::monitor::{Condition, Meters, Monitor, Rule};
use registry_core::{PromoteToOptions, Registry as _, RegistryExt as _, Scope, Stage};

use crate::world::{World, finite, number};

/// "1. Model Monitoring Integration": `set_auto_rollback(metric="accuracy", threshold=0.80, window="24h")`.
pub(crate) async fn monitoring(world: World) {
    for version in ["v3.0.0", "v3.1.0"] {
        world.live(version, &[("accuracy", 0.87)]).await;
    }
    let day = Duration::from_secs(24 * 60 * 60);
    let rule = Rule::new("accuracy".parse().unwrap(), Condition::Below(finite(0.80))).over(day);
    let scope = Scope::Model(world.model.clone());
    let name = "accuracy-of-a-day".parse().unwrap();
    world.registry.set_monitor_rule(&world.ana, &scope, name, Some(rule)).await.unwrap();

    let meters = Meters::new(None);
    let version = number("v3.1.0");
    let mut monitor = Monitor::new(Arc::clone(&world.registry), world.model.clone());
    for (metric, value) in [("accuracy", 0.79), ("latency", 35.0), ("error_rate", 0.01)] {
        let started = world.registry.clock().now();
        meters.meter(&version, &metric.parse().unwrap()).observe(value);
        let summaries = meters.take(started, world.registry.clock().now());
        world.registry.report_health(&world.ana, &world.model, summaries).await.unwrap();
    }
    assert_eq!(monitor.look().await.unwrap().len(), 1);
    assert_eq!(world.in_production().await, "v3.0.0");
}

/// "3. Multi-Environment Registry": `registry_dev.promote_to(model, target_env="staging")`.
pub(crate) async fn environments(world: World) {
    let registered = world.register("v3.1.0", crate::world::measured(&[("accuracy", 0.87)])).await;
    let url = format!("sqlite:{}", world.folder.path().join("staging").display());
    let staging = registry_tests::open(&url).await.unwrap();
    let options = PromoteToOptions {
        stage: Stage::Staging,
        ..PromoteToOptions::new("dev".parse().unwrap(), "staging".parse().unwrap())
    };
    let done = world
        .registry
        .promote_to(&world.ana, &world.model, &registered.version, staging.as_ref(), &options)
        .await
        .unwrap();
    assert_eq!(done.registered.version.digest, registered.digest);
    let found = staging.get(&world.model, &"staging".parse().unwrap()).await.unwrap();
    assert_eq!(found.content.metrics, registered.content.metrics);
    let file = found.artifact(&"model.pkl".parse().unwrap()).unwrap();
    assert_eq!(staging.read(file, 1024).await.unwrap(), "the weights of v3.1.0");
}
