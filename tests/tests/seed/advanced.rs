//! "Advanced Features".

use std::sync::Arc;
use std::time::Duration;

use registry_audit::{AuditOptions, Range, audit};
use registry_core::monitor::{Condition, Meters, Monitor, Rule};
use registry_core::{PromoteOptions, PromoteToOptions, Registry as _, RegistryExt as _, Scope, Stage};

use crate::operations::reviewed_by;
use crate::world::{World, by, finite, number};

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

/// "2. Model Governance": `generate_audit_report(model, start_date, end_date)` and all that it includes.
pub(crate) async fn governance(world: World) {
    let (registry, model, bo) = (&world.registry, &world.model, by("bo@example.com"));
    let started = registry.clock().now();
    registry
        .set_stage_rule(
            &bo,
            &Scope::Registry,
            Stage::Production,
            Some(reviewed_by(&["ana@example.com", "bo@example.com"])),
        )
        .await
        .unwrap();
    let mut content = crate::world::measured(&[("accuracy", 0.87)]);
    content.metadata.training_data_version = Some("v2024-01".parse().unwrap());
    let version = world.register("v3.1.0", content).await.version.clone();
    world.promote("v3.1.0", Stage::Staging).await;
    let options = PromoteOptions::default();
    registry.promote(&world.ana, model, &version, Stage::Production, options).await.unwrap();
    assert!(registry.approve(&world.ana, model, &version, None, None, None).await.is_err());
    let meaning = Some("validation".parse().unwrap());
    registry.approve(&bo, model, &version, None, meaning, None).await.unwrap();
    let from = registry.clock().now();
    let meters = Meters::new(None);
    meters.meter(&version, &"latency".parse().unwrap()).observe(35.0);
    let summaries = meters.take(from, registry.clock().now());
    registry.report_health(&world.ana, model, summaries).await.unwrap();

    let now = registry.clock().now();
    let range = Range::new(Some(started), now).unwrap();
    let asked = AuditOptions { bytes: true, ..AuditOptions::new(now).of(model.clone()).within(range) };
    let report = audit(registry.as_ref(), &asked).await.unwrap();
    assert!(report.is_sound && report.population.iter().all(|log| log.gap_free));
    let found = &report.models[0];
    // "All model versions deployed", "who approved deployments".
    let deployments: Vec<String> = found.deployments.iter().map(|row| row.version.to_string()).collect();
    assert_eq!(deployments, ["v3.1.0"]);
    let approval = &found.approvals[0];
    assert_eq!(approval.approver, bo.actor);
    assert_eq!(approval.meaning.as_ref().unwrap().as_str(), "validation");
    // "Performance metrics over time", "data sources used", "compliance checkpoints".
    assert!(found.metrics.iter().any(|row| row.metric.as_str() == "accuracy"));
    assert!(found.health.iter().any(|row| row.metric.as_str() == "latency" && row.count == 1));
    assert!(
        found
            .data_sources
            .iter()
            .any(|row| row.kind == "data" && row.of_version.as_deref().unwrap_or(&row.name) == "v2024-01")
    );
    assert!(!found.checkpoints.is_empty());
    let exceptions: Vec<&str> = found.exceptions.iter().map(|row| row.kind.as_str()).collect();
    assert!(exceptions.contains(&"self_approval_attempt"), "{exceptions:?}");
    assert!(report.to_html().contains("v2024-01") && report.to_markdown().contains("validation"));
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
