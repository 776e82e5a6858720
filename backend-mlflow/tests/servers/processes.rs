//! Several processes on one registry, and how many requests the verbs of a registry make.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use backend_mlflow::{MlflowLog, Options};
use registry_core::{
    By, Content, Engine, MemoryArtifacts, ModelName, PromoteOptions, Registration, RegistryExt as _,
    Revision, Selector, Stage, Version,
};

use crate::common::{fresh, server};
use crate::wire::{Counted, ask};

/// Tells a process started by a test where to write.
const WRITER: &str = "REGISTRY_TEST_WRITER";

fn open(address: &str, registry: &str) -> Engine<MlflowLog, MemoryArtifacts> {
    let log = Options::new(address).unwrap().with_registry(registry).open_log().unwrap();
    Engine::new(Arc::new(log), Arc::new(MemoryArtifacts::default()))
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn by(actor: &str) -> By {
    By::new(actor.parse().unwrap())
}

async fn register(registry: &Engine<MlflowLog, MemoryArtifacts>, version: &str) {
    let registration = Registration::new(version.parse::<Version>().unwrap(), Content::default());
    registry.register(&by("trainer"), &fraud(), registration, &[]).await.unwrap();
}

async fn promote(registry: &Engine<MlflowLog, MemoryArtifacts>, version: &str, stage: Stage) {
    let version = version.parse().unwrap();
    registry.promote(&by("alice"), &fraud(), &version, stage, PromoteOptions::default()).await.unwrap();
}

/// Not a test by itself: one of the processes that the next one starts.
#[tokio::test]
async fn a_writer_among_others() {
    let Ok(told) = std::env::var(WRITER) else { return };
    let mut told = told.split(' ');
    let (writer, address, name) = (told.next().unwrap(), told.next().unwrap(), told.next().unwrap());
    let registry = open(address, name);
    for number in 0..25 {
        let set = [(format!("w{writer}-n{number}").parse().unwrap(), String::new())].into();
        let by = by(&format!("writer-{writer}"));
        registry.change_tags(&by, &fraud(), None, set, Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn eight_processes_with_25_commits_each_lose_and_double_nothing() {
    for variable in ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_2", "REGISTRY_TEST_MLFLOW_PG"] {
        let (address, name) = (server(variable), fresh());
        let registry = open(&address, &name);
        register(&registry, "1.0.0").await;
        let me = std::env::current_exe().unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                Command::new(&me)
                    .args(["--exact", "processes::a_writer_among_others"])
                    .env(WRITER, format!("{writer} {address} {name}"))
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut writer in writers {
            assert!(writer.wait().unwrap().success());
        }
        let state = open(&address, &name).model(&fraud()).await.unwrap();
        assert_eq!(state.tags.len(), 200, "{variable}");
        let log = registry.log(&fraud(), Revision::FIRST, 1_000).await.unwrap();
        assert_eq!(log.len(), 201, "{variable}");
        let ids: BTreeSet<String> = log.iter().map(|found| found.commit.request_id.to_string()).collect();
        assert_eq!(ids.len(), 201, "a request was carried out twice");

        // Of those who made the same run at once, the losers deleted theirs.
        let path = format!("experiments/get-by-name?experiment_name={name}");
        let found = ask(&address, &path, &serde_json::Value::Null).await;
        let id = found.pointer("/experiment/experiment_id").unwrap().clone();
        for number in 0..13 {
            let filter = format!("tags.`model-registry.role` = 'segment {number}'");
            let search = serde_json::json!({"experiment_ids": [id], "filter": filter});
            let found = ask(&address, "runs/search", &search).await;
            assert_eq!(found.pointer("/runs").unwrap().as_array().unwrap().len(), 1, "segment {number}");
        }
    }
}

#[tokio::test]
async fn verbs_make_few_requests() {
    let counted = Counted::before(&server("REGISTRY_TEST_MLFLOW_3")).await;
    let name = fresh();
    let writer = open(&counted.address, &name);
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        register(&writer, version).await;
        promote(&writer, version, Stage::Staging).await;
    }
    promote(&writer, "1.0.0", Stage::Production).await;
    promote(&writer, "2.0.0", Stage::Production).await;

    counted.take();
    promote(&writer, "3.0.0", Stage::Production).await;
    let mut asked = counted.take();
    asked.sort();
    let registry_log = "experiments/get-by-name";
    assert_eq!(asked, [registry_log, "runs/get", "runs/log-parameter"], "a promotion");
    writer.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(counted.take(), ["runs/get"], "a warm look at production");

    for number in 0..40 {
        let text = format!("text {number}").parse().unwrap();
        writer.describe(&by("alice"), &fraud(), None, Some(text)).await.unwrap();
        let cold = open(&counted.address, &name);
        counted.take();
        let found = cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
        let asked = counted.take();
        assert_eq!(found.version.to_string(), "v3.0.0");
        assert!(asked.len() <= 6, "a cold look at production after {number}: {asked:?}");
        cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
        assert_eq!(counted.take(), ["runs/get"], "after {number}");
    }
}
