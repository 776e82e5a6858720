//! Processes that are killed while they register and promote on an MLflow server: whoever comes next, to read or to
//! write, completes or hides what was half done, and then MLflow's view and the log's agree.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    By, IdSource as _, ModelName, ModelState, Registry, RegistryExt as _, Revision, SystemIds, VerifyOptions,
};
use registry_tests::{mlflow_server, mlflow_url};
use serde_json::Value;

/// What MLflow shows of a model, asked for as anybody would.
struct Shown {
    /// The number under the alias of production.
    alias: Option<String>,
    versions: Vec<Value>,
}

async fn ask(server: SocketAddr, path: &str, query: &[(&str, &str)]) -> Value {
    let url = format!("http://{server}/api/2.0/{path}");
    let url = reqwest::Url::parse_with_params(&url, query).unwrap();
    serde_json::from_str(&reqwest::get(url).await.unwrap().text().await.unwrap()).unwrap()
}

async fn shown(server: SocketAddr, name: &str) -> Shown {
    let found = ask(server, "mlflow/registered-models/get", &[("name", name)]).await;
    let none = Vec::new();
    let aliases = found["registered_model"]["aliases"].as_array().unwrap_or(&none);
    let alias = aliases.iter().find(|alias| alias["alias"] == "production");
    let filter = format!("name='{name}'");
    let found = ask(server, "mlflow/model-versions/search", &[("filter", &filter)]).await;
    Shown {
        alias: alias.map(|alias| alias["version"].as_str().unwrap().to_owned()),
        versions: found["model_versions"].as_array().cloned().unwrap_or_default(),
    }
}

fn tag(version: &Value, key: &str) -> Option<String> {
    let tags = version["tags"].as_array()?;
    let found = tags.iter().find(|tag| tag["key"] == key)?;
    Some(found["value"].as_str()?.to_owned())
}

/// Asserts that MLflow shows what the log says, and nothing besides.
async fn agree(server: SocketAddr, name: &str, state: &ModelState, round: u64) {
    let shown = shown(server, name).await;
    let mut numbers: BTreeMap<String, String> = BTreeMap::new();
    for version in &shown.versions {
        let text = tag(version, "model-registry.version").unwrap();
        let number = version["version"].as_str().unwrap().to_owned();
        assert_eq!(numbers.insert(text.clone(), number), None, "round {round}: {text} is shown twice");
        let found = state.version(&text.parse().unwrap()).unwrap();
        let native = match found.stage.as_str() {
            "development" => "None",
            "staging" => "Staging",
            "production" => "Production",
            _ => "Archived",
        };
        assert_eq!(version["current_stage"], native, "round {round}: {text}");
        assert_eq!(tag(version, "model-registry.stage").as_deref(), Some(found.stage.as_str()));
        // And its file is where MLflow's clients look for it.
        let folder = version["source"].as_str().unwrap().strip_prefix("mlflow-artifacts:/").unwrap();
        let listed = ask(server, "mlflow-artifacts/artifacts", &[("path", folder)]).await;
        let size = found.content.artifacts.size();
        assert_eq!(listed["files"][0]["file_size"].as_u64(), Some(size), "round {round}: {listed}");
    }
    assert_eq!(numbers.len(), state.versions().count(), "round {round}");
    let production = state.production.as_ref().map(|version| numbers[&version.to_string()].clone());
    assert_eq!(shown.alias, production, "round {round}");
}

/// Numbers that look random and are the same in every run.
fn jitter(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

async fn killed(variable: &str, rounds: std::ops::Range<u64>) {
    let server = mlflow_server(variable).unwrap();
    let model: ModelName = "killed".parse().unwrap();
    let by = By::new("next".parse().unwrap());
    let (mut written, mut unfinished) = (0, 0);
    for round in rounds.clone() {
        let registry_name = format!("t{:016x}", SystemIds.next_id() >> 64);
        let url = mlflow_url(server, &registry_name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(["life", &url, model.as_str()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = String::new();
        // Some rounds hit the very beginning, the others what comes after the first version.
        if round % 4 != 0 {
            lines.read_line(&mut acknowledged).unwrap();
        }
        std::thread::sleep(Duration::from_micros(jitter(round) % 700_000));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.read_to_string(&mut acknowledged).unwrap();

        // Who reads next.
        let registry: Arc<dyn Registry> = registry_tests::open(&url).await.unwrap();
        let drift = registry.drift(&model).await.unwrap().unwrap();
        assert!(drift.changes().is_empty(), "round {round}: {:?}", drift.changes());
        unfinished += usize::from(!drift.unfinished().is_empty());
        let log = registry.log(&model, Revision::FIRST, 10_000).await.unwrap();
        for line in acknowledged.lines().filter(|line| line.contains(' ')) {
            let (revision, id) = line.split_once(' ').unwrap();
            let there = revision.parse::<usize>().ok().and_then(|revision| log.get(revision - 1));
            let there = there.unwrap_or_else(|| panic!("round {round}: {line} was acknowledged and is lost"));
            assert_eq!(there.commit.request_id.as_str(), id);
        }
        if log.is_empty() {
            continue;
        }
        written += 1;
        let found = registry
            .verify(&model, VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
            .await
            .unwrap();
        assert!(found.is_sound(), "round {round}: {:?}", found.problems);

        // Who writes next.
        let text = format!("after round {round}").parse().unwrap();
        registry.describe(&by, &model, None, Some(text)).await.unwrap();
        let drift = registry.drift(&model).await.unwrap().unwrap();
        assert!(drift.changes().is_empty(), "round {round}: {:?}", drift.changes());
        assert!(drift.unfinished().is_empty(), "round {round}: {:?}", drift.unfinished());
        let state = registry.model(&model).await.unwrap();
        agree(server, &format!("{registry_name}-{model}"), &state, round).await;
    }
    let rounds = rounds.count();
    println!("{rounds} rounds: {written} after a commit, {unfinished} with something left undone in MLflow");
    assert!(rounds / 2 < written, "only {written} rounds wrote anything");
    assert!(0 < unfinished, "no round left anything undone");
}

// A hundred in all.

#[tokio::test]
async fn killed_at_40_points_on_mlflow_3_on_sqlite() {
    killed("REGISTRY_TEST_MLFLOW_3", 0..40).await;
}

#[tokio::test]
async fn killed_at_30_points_on_mlflow_2_on_sqlite() {
    killed("REGISTRY_TEST_MLFLOW_2", 40..70).await;
}

#[tokio::test]
async fn killed_at_30_points_on_mlflow_3_on_postgresql() {
    killed("REGISTRY_TEST_MLFLOW_PG", 70..100).await;
}
