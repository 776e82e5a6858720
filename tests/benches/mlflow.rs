//! What a warm look at production costs on an MLflow server, beside the same two requests made by hand.
//! `REGISTRY_TEST_MLFLOW_3=http://127.0.0.1:<port> cargo bench -p registry-tests --bench mlflow`; needs a server on
//! this machine. Several addresses, separated by commas, are measured one after the other.
//!
//! The two are done in turn, look after look. Ours finds out what was committed, what others changed, and which
//! version that makes the one in production; by hand, the answers are read and thrown away.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use backend_mlflow::Options;
use registry_core::{By, IdSource as _, ModelName, RegistryExt as _, Selector, Stage, SystemIds, Version};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LOOKS: usize = 400;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn get(client: &reqwest::Client, url: &str) -> Result<String, Failure> {
    Ok(client.get(url).send().await?.error_for_status()?.text().await?)
}

/// The run that holds the commits, found as anybody could.
async fn segment(client: &reqwest::Client, server: &str, registry: &str) -> Result<String, Failure> {
    let api = format!("{server}/api/2.0/mlflow");
    let found = get(client, &format!("{api}/experiments/get-by-name?experiment_name={registry}")).await?;
    let after = |text: &str, key: &str| {
        let (_, rest) = text.split_once(&format!("\"{key}\""))?;
        rest.split('"').nth(1).map(str::to_owned)
    };
    let experiment = after(&found, "experiment_id").ok_or("the registry has no experiment")?;
    let search = format!(
        "{{\"experiment_ids\":[\"{experiment}\"],\"filter\":\"tags.`model-registry.role` = 'segment 0'\"}}"
    );
    let request = client.post(format!("{api}/runs/search")).header("content-type", "application/json");
    let found = request.body(search).send().await?.text().await?;
    after(&found, "run_id").ok_or_else(|| "the log has no segment".into())
}

async fn measure(server: &str) -> Result<(), Failure> {
    let name = format!("t{:016x}", SystemIds.next_id() >> 64);
    let options = Options::new(server)?.with_registry(&name).with_prefix(format!("{name}-"));
    let registry = options.open()?;
    let (by, model): (By, ModelName) = (By::new("bench".parse()?), "fraud".parse()?);
    let version = Version::new(1, 0, 0);
    registry_tests::register(&registry, &by, &model, &version).await?;
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, &model, &version, stage, Default::default()).await?;
    }
    // As ours does it on plain HTTP: a connection for each request.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let run = segment(&client, server, &name).await?;
    let urls = [
        format!("{server}/api/2.0/mlflow/runs/get?run_id={run}"),
        format!("{server}/api/2.0/mlflow/registered-models/get?name={name}-fraud"),
    ];
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for look in 0..LOOKS + 20 {
        let start = Instant::now();
        let found = registry.get(&model, &Selector::PRODUCTION).await?;
        let middle = Instant::now();
        for url in &urls {
            get(&client, url).await?;
        }
        let end = Instant::now();
        if found.version != version {
            return Err("another version is in production".into());
        }
        // The first ones warm up.
        if 20 <= look {
            ours.push(middle - start);
            by_hand.push(end - middle);
        }
    }
    let (ours, by_hand) = (median(ours), median(by_hand));
    println!(
        "{server}: get production {:.2} ms, the same requests by hand {:.2} ms: {:.2} ×",
        ours.as_secs_f64() * 1e3,
        by_hand.as_secs_f64() * 1e3,
        ours.as_secs_f64() / by_hand.as_secs_f64()
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let servers = std::env::var("REGISTRY_TEST_MLFLOW_3").unwrap_or_default();
    if servers.is_empty() {
        return Err(
            "no MLflow server: set REGISTRY_TEST_MLFLOW_3 to the address of one on this machine".into()
        );
    }
    for server in servers.split(',') {
        measure(server).await?;
    }
    Ok(())
}
