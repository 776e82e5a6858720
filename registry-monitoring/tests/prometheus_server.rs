//! A real Prometheus that asks a service of this test for numbers, every second. `cargo xtask test` starts it.

#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its helpers too")]

mod receiver;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use receiver::{Receiver, body};
use registry_core::monitor::{Action, Condition, Monitor, Rule, Summary};
use registry_core::{
    By, Clock as _, Content, Finite, ModelName, PromoteOptions, Registration, RegistryExt as _, Scope,
    Selector, Stage, SystemClock, Version,
};
use registry_monitoring::{Mapping, Prometheus, PrometheusSource, Series, summaries};

/// What the service says of itself: two versions, of which one makes many errors, and one that nobody asked.
const METRICS: &str = "\
# TYPE error_rate gauge
error_rate{version=\"v1.0.0\"} 0.01
error_rate{version=\"v1.1.0\"} 0.2
# TYPE silent gauge
silent NaN
";

/// A service that Prometheus is told to ask; no longer, when this is dropped.
struct Service {
    prometheus: Prometheus,
    label: String,
    targets: PathBuf,
    _service: Receiver,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.targets);
    }
}

impl Service {
    async fn new(name: &str) -> Service {
        let address = std::env::var("REGISTRY_TEST_PROMETHEUS").unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address} is not on this machine");
        let service = Receiver::answering([body(METRICS)]).await;
        let label = format!("{name}-{}", service.address.port());
        let folder = PathBuf::from(std::env::var("REGISTRY_TEST_PROMETHEUS_TARGETS").unwrap());
        let targets = folder.join(format!("{label}.json"));
        let told = format!(r#"[{{"targets":["{}"],"labels":{{"test":"{label}"}}}}]"#, service.address);
        // Read when it is whole.
        let part = folder.join(format!("{label}.part"));
        std::fs::write(&part, told).unwrap();
        std::fs::rename(&part, &targets).unwrap();
        let prometheus = Prometheus::new(address.parse().unwrap(), None).unwrap();
        Service { prometheus, label, targets, _service: service }
    }

    /// An expression on what this service says.
    fn of(&self, metric: &str) -> String {
        format!("{metric}{{test=\"{}\"}}", self.label)
    }

    async fn now(&self, query: &str) -> Vec<Series> {
        self.prometheus.instant(query, SystemClock.now()).await.unwrap()
    }

    /// Waits until an expression has a value, or has none any more.
    async fn until(&self, query: &str, is_there: bool) {
        for _ in 0..600 {
            if self.now(query).await.is_empty() != is_there {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{query}: there is no change");
    }
}

fn mapping() -> Mapping {
    Mapping::new("error_rate".parse().unwrap())
}

fn seen(found: &[Summary]) -> Vec<(String, u64, u64, Option<f64>)> {
    let line = |summary: &Summary| {
        let observed = &summary.observed;
        let mean = observed.numbers.as_ref().map(|numbers| numbers.mean.get());
        (summary.version.to_string(), observed.count, observed.not_numbers, mean)
    };
    found.iter().map(line).collect()
}

#[tokio::test]
async fn a_real_server_answers_in_the_forms_that_are_read() {
    let service = Service::new("forms").await;
    let (rate, serving) = (service.of("error_rate"), Version::new(1, 1, 0));
    service.until(&rate, true).await;
    let by_label = Mapping { version_label: Some("version".to_owned()), ..mapping() };
    let vector = summaries(&service.now(&rate).await, &by_label, &serving).unwrap();
    let (old, new) = (("v1.0.0".to_owned(), 1, 0, Some(0.01)), ("v1.1.0".to_owned(), 1, 0, Some(0.2)));
    assert_eq!(seen(&vector), [old, new]);
    for (query, expected) in [
        (format!("scalar(max({rate}))"), vec![("v1.1.0".to_owned(), 1, 0, Some(0.2))]),
        (format!("max({rate}) / 0"), vec![("v1.1.0".to_owned(), 0, 1, None)]),
        (service.of("silent"), vec![("v1.1.0".to_owned(), 0, 1, None)]),
        (service.of("nothing_of_that_name"), Vec::new()),
    ] {
        let found = summaries(&service.now(&query).await, &mapping(), &serving).unwrap();
        assert_eq!(seen(&found), expected, "{query}");
    }
    // All that was seen in the last minute, as it was seen; and by the second.
    let newest = service.of("error_rate{version=\"v1.1.0\"}").replace("}{", ",");
    let raw = summaries(&service.now(&format!("{newest}[1m]")).await, &mapping(), &serving).unwrap();
    assert!(raw.iter().all(|summary| summary.until <= SystemClock.now()), "{raw:?}");
    let until = SystemClock.now();
    let from = registry_core::Timestamp::from_microseconds(until.microseconds() - 60_000_000).unwrap();
    let range = service.prometheus.range(&newest, from, until, Duration::from_secs(1)).await.unwrap();
    let range = summaries(&range, &mapping(), &serving).unwrap();
    let mean = range.first().and_then(|summary| summary.observed.numbers.as_ref()).unwrap().mean;
    assert!((mean.get() - 0.2).abs() < 1e-9, "{range:?}");

    for (query, says) in [("sum(", "says bad_data"), ("\"text\"", "worth a text")] {
        let error = service.prometheus.instant(query, until).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let too_fine = service.prometheus.range("1", from, until, Duration::from_millis(1)).await.unwrap_err();
    assert!(too_fine.to_string().contains("exceeded maximum resolution"), "{too_fine}");

    // What is gone is stale, and has no value.
    std::fs::remove_file(&service.targets).unwrap();
    service.until(&rate, false).await;
}

#[tokio::test]
async fn a_version_is_taken_out_by_numbers_of_a_real_server() {
    let service = Service::new("rollback").await;
    let query = format!("max by (version) ({})", service.of("error_rate"));
    service.until(&query, true).await;
    let registry = Arc::new(registry_core::in_memory());
    let (by, model): (By, ModelName) = (By::new("ana".parse().unwrap()), "fraud".parse().unwrap());
    for minor in [0, 1] {
        let version = Version::new(1, minor, 0);
        let registration = Registration::new(version.clone(), Content::default());
        registry.register(&by, &model, registration, &[]).await.unwrap();
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&by, &model, &version, stage, PromoteOptions::default()).await.unwrap();
        }
    }
    let mut rule = Rule::new("error_rate".parse().unwrap(), Condition::Above(Finite::new(0.05).unwrap()));
    rule.interval_seconds = std::num::NonZeroU32::MIN;
    // Nothing is observed of it yet, which is not told here.
    rule.inconclusive_limit = u32::MAX;
    let scope = Scope::Model(model.clone());
    registry.set_monitor_rule(&by, &scope, "errors".parse().unwrap(), Some(rule)).await.unwrap();
    let by_label = Mapping { version_label: Some("version".to_owned()), ..mapping() };
    let source =
        PrometheusSource::new(service.prometheus.clone(), &query, by_label, Duration::from_secs(1)).unwrap();
    let mut monitor = Monitor::new(Arc::clone(&registry), model.clone()).pulling(Arc::new(source));
    let mut findings = Vec::new();
    for _ in 0..100 {
        findings = monitor.look().await.unwrap();
        if !findings.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let finding = findings.first().unwrap();
    assert_eq!(finding.action, Action::RolledBack { to: Version::new(1, 0, 0) });
    assert!(finding.breach.reason.starts_with("mean of `error_rate` is 0.2 in 1 observation"), "{finding:?}");
    let live = registry.get(&model, &Selector::PRODUCTION).await.unwrap();
    assert_eq!(live.version, Version::new(1, 0, 0));
}
