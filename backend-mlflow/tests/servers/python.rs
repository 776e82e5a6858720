//! MLflow's own client in Python beside the registry: what one side registers the other loads, and what one side
//! changes the other sees.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use registry_core::storage::CommitLog as _;
use registry_core::{
    Artifact, By, Content, Error, Event, Key, Metric, ModelName, PromoteOptions, Registration, Registry as _,
    RegistryExt as _, Revision, Selector, Stage, StreamKind, Upload, Version, VersionState,
};
use serde_json::{Value, json};

use crate::common::{OnMlflow, told};

/// What the user of MLflow does when told to.
const DRIVER: &str = include_str!("python/driver.py");

/// Somebody who uses MLflow's own client.
pub(crate) struct Python {
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// With the client of the server's own version.
    pub(crate) fn new(variable: &str, address: &str) -> Self {
        let python = match variable {
            "REGISTRY_TEST_MLFLOW_2" => "REGISTRY_TEST_MLFLOW_2_PYTHON",
            _ => "REGISTRY_TEST_MLFLOW_3_PYTHON",
        };
        let mut child = Command::new(told(python))
            .args(["-c", DRIVER, address])
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            .env("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Python { child, stdin, answers: BufReader::new(stdout) }
    }

    pub(crate) fn ask(&mut self, what: &str, with: Value) -> Value {
        self.ask_named(what, with, json!({}))
    }

    pub(crate) fn ask_named(&mut self, what: &str, with: Value, named: Value) -> Value {
        writeln!(self.stdin, "{}", json!({"do": what, "with": with, "named": named})).unwrap();
        loop {
            let mut line = String::new();
            assert!(0 < self.answers.read_line(&mut line).unwrap(), "Python is gone, asked to {what}");
            // MLflow prints what it likes to.
            let Some(answer) = line.strip_prefix("> ") else { continue };
            let answer: Value = serde_json::from_str(answer).unwrap();
            assert!(answer["failed"].is_null(), "{what} {with}: {}", answer["at"].as_str().unwrap());
            return answer["done"].clone();
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn by(name: &str) -> By {
    By::new(name.parse().unwrap())
}

/// The files of a folder as those of a version.
fn files(folder: &Path, below: &str, found: &mut Vec<(String, Bytes)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{path}/"), found);
        } else {
            found.push((path, std::fs::read(entry.path()).unwrap().into()));
        }
    }
}

async fn python_loads_what_was_registered_here(variable: &'static str) {
    let on = OnMlflow::new(variable);
    let mut python = Python::new(variable, &on.address);
    let registry = on.options().open().unwrap();
    let name = format!("{}fraud", on.prefix());
    let folder = tempfile::tempdir().unwrap();
    for (version, slope) in [("1.0.0", 1.0), ("1.1.0", 2.0)] {
        let saved = folder.path().join(version);
        let says = python.ask("save", json!([saved, slope]));
        let mut found = Vec::new();
        files(&saved, "", &mut found);
        assert!(found.iter().any(|(path, _)| path == "MLmodel"));
        let uploads: Vec<Upload<'_>> =
            found.iter().map(|(path, bytes)| Upload { path: path.parse().unwrap(), source: bytes }).collect();
        let mut content = Content::default();
        content.metrics.insert("accuracy".parse().unwrap(), Metric::new(0.75).unwrap());
        content.metadata.hyperparameters.insert("slope".to_owned(), slope.into());
        content.tags.insert("team".parse().unwrap(), "risk".to_owned());
        let version: Version = version.parse().unwrap();
        let registration = Registration::new(version.clone(), content);
        registry.register(&by("ana"), &fraud(), registration, &uploads).await.unwrap();
        for stage in [Stage::Staging, Stage::Production] {
            let options = PromoteOptions::default();
            registry.promote(&by("bo"), &fraud(), &version, stage, options).await.unwrap();
        }
        for uri in [format!("models:/{name}@production"), format!("models:/{name}/Production")] {
            assert_eq!(python.ask("load", json!([uri, slope])), says, "{uri}");
        }
    }
    // The rollback is seen there, too.
    registry.rollback(&by("bo"), &fraud(), None, true).await.unwrap();
    let first = python.ask("version", json!([name, 1]));
    assert_eq!(first["stage"], "Production");
    assert_eq!(first["aliases"], json!(["production"]));
    assert_eq!(first["params"], json!({"slope": "1.0"}));
    assert_eq!(first["metrics"], json!({"accuracy": 0.75}));
    let tags = &first["tags"];
    assert_eq!(tags["model-registry.version"], "v1.0.0");
    assert_eq!(tags["model-registry.stage"], "production");
    assert_eq!(tags["team"], "risk");
    let digest = registry.get(&fraud(), &Selector::PRODUCTION).await.unwrap().digest;
    assert_eq!(tags["model-registry.digest"], digest.to_string());
    let second = python.ask("version", json!([name, 2]));
    assert_eq!((&second["stage"], &second["aliases"]), (&json!("Archived"), &json!([])));
    assert_eq!(second["tags"]["model-registry.quarantined"], "true");
}

async fn read_all(on: &OnMlflow, version: &VersionState) -> Vec<(Artifact, Bytes)> {
    let mut read = Vec::new();
    let registry = on.options().open().unwrap();
    for file in &version.content.artifacts {
        read.push((file.clone(), registry.read(file, 10_000_000).await.unwrap()));
    }
    read
}

async fn what_python_registered_is_verified_and_promoted_here(variable: &'static str) {
    let on = OnMlflow::new(variable);
    let mut python = Python::new(variable, &on.address);
    let name = format!("{}fraud", on.prefix());
    let experiment = format!("{}-training", on.registry);
    let first = python.ask("train", json!([name, experiment, 1.0]));
    let second = python.ask("train", json!([name, experiment, 2.0]));
    assert_eq!((&first["version"], &second["version"]), (&json!(1), &json!(2)));

    let registry = on.options().open().unwrap();
    let selector: Selector = "v2.0.0".parse().unwrap();
    let found = registry.get(&fraud(), &selector).await.unwrap();
    let accuracy: Key = "accuracy".parse().unwrap();
    assert_eq!(found.content.metrics[&accuracy].value.get(), 0.9);
    assert_eq!(found.content.metadata.hyperparameters["slope"], 2.0);
    let signature = found.content.signature.as_ref().unwrap();
    let columns: Vec<&str> =
        signature.inputs().unwrap().fields().iter().filter_map(|f| f.name.as_deref()).collect();
    assert_eq!(columns, ["amount", "age"]);
    assert!(found.content.artifacts.is_empty(), "files are not read unless they are asked for");
    // Its files, read for their digests; nothing of ours is on the server.
    let found = registry.get_with_files(&fraud(), &selector).await.unwrap();
    let mlmodel = found.artifact(&"MLmodel".parse().unwrap()).unwrap();
    let text = registry.read(mlmodel, 1_000_000).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("signature"));
    assert!(on.log().streams(StreamKind::Model, None, None, 10).await.unwrap().is_empty());

    for stage in [Stage::Staging, Stage::Production] {
        let version = "2.0.0".parse().unwrap();
        registry.promote(&by("bo"), &fraud(), &version, stage, PromoteOptions::default()).await.unwrap();
    }
    let verified = registry
        .verify(&fraud(), registry_core::VerifyOptions { bytes: true, ..Default::default() })
        .await
        .unwrap();
    assert!(verified.is_sound() && 3 <= verified.files, "{verified:?}");
    // Another process reads them by what is on record.
    let live = on.options().open().unwrap().get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    let read = read_all(&on, &live).await;
    assert!(read.iter().any(|(file, _)| file.path.as_str() == "MLmodel"));
    for uri in [format!("models:/{name}@production"), format!("models:/{name}/Production")] {
        assert_eq!(python.ask("load", json!([uri, 2.0])), second["says"], "{uri}");
    }

    // The run behind it is deleted: MLflow says nothing of that, and we do.
    python.ask("call", json!(["delete_run", second["run"]]));
    let drift = registry.drift(&fraud()).await.unwrap().unwrap();
    let shown = serde_json::to_string(drift.changes()).unwrap();
    assert!(shown.contains("mlflow.run_deleted"), "{shown}");
    registry.reconcile(&by("bo"), &fraud()).await.unwrap().unwrap();
    let live = registry.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(live.content.metadata.extra["mlflow.run_deleted"], true);
    python.ask("call", json!(["restore_run", second["run"]]));
    registry.reconcile(&by("bo"), &fraud()).await.unwrap().unwrap();
    assert!(registry.drift(&fraud()).await.unwrap().unwrap().changes().is_empty());

    // Whoever overwrites its files is found out by the next who reads them.
    let source = live.content.metadata.extra["mlflow.source"].as_str().unwrap().to_owned();
    let file = live.artifact(&"MLmodel".parse().unwrap()).unwrap();
    let place = on.place_of(&source, "MLmodel", second["run"].as_str().unwrap()).await;
    let put = reqwest::Client::new().put(place).body("{}").send().await.unwrap();
    assert!(put.status().is_success());
    let error = on.options().open().unwrap().read(file, 1_000_000).await.unwrap_err();
    assert!(matches!(error, Error::CorruptBytes(_)), "{error}");
}

/// The numbers of the versions under the alias and in the native stage.
fn shown_in_production(python: &mut Python, name: &str, numbers: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let shown: Vec<(u64, Value)> =
        numbers.iter().map(|number| (*number, python.ask("version", json!([name, number])))).collect();
    let is_there = |list: &Value| list.as_array().unwrap().contains(&json!("production"));
    let with = |test: &dyn Fn(&Value) -> bool| {
        shown.iter().filter(|(_, found)| test(found)).map(|(number, _)| *number).collect::<Vec<u64>>()
    };
    (with(&|found| is_there(&found["aliases"])), with(&|found| found["stage"] == "Production"))
}

/// What others do with MLflow's client, one after the other, each between two writes of ours.
async fn each_change_of_others_is_seen_and_adopted(variable: &'static str) {
    let on = OnMlflow::new(variable);
    let mut python = Python::new(variable, &on.address);
    let name = format!("{}fraud", on.prefix());
    let registry = Arc::new(on.options().open().unwrap());
    let v = |text: &str| text.parse::<Version>().unwrap();
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        let registration = Registration::new(v(version), Content::default());
        registry.register(&by("ana"), &fraud(), registration, &[]).await.unwrap();
        let options = PromoteOptions::default();
        registry.promote(&by("ana"), &fraud(), &v(version), Stage::Staging, options).await.unwrap();
    }
    let options = PromoteOptions::default();
    registry.promote(&by("ana"), &fraud(), &v("1.0.0"), Stage::Production, options).await.unwrap();
    assert_eq!(shown_in_production(&mut python, &name, &[1, 2, 3]), (vec![1], vec![1]));

    let call = |python: &mut Python, with: Value, named: Value| drop(python.ask_named("call", with, named));
    let mut seen = 0;
    for step in 0..12 {
        match step {
            0 => call(&mut python, json!(["set_registered_model_alias", name, "production", "2"]), json!({})),
            1 => call(
                &mut python,
                json!(["transition_model_version_stage", name, "3", "Production"]),
                json!({"archive_existing_versions": true}),
            ),
            2 => call(&mut python, json!(["set_registered_model_alias", name, "champion", "1"]), json!({})),
            3 => call(&mut python, json!(["set_registered_model_alias", name, "champion", "2"]), json!({})),
            4 => call(&mut python, json!(["delete_registered_model_alias", name, "champion"]), json!({})),
            5 => drop(python.ask("train", json!([name, format!("{}-training", on.registry), 1.0]))),
            6 => call(&mut python, json!(["set_model_version_tag", name, "1", "reviewed", "yes"]), json!({})),
            7 => call(&mut python, json!(["delete_model_version_tag", name, "1", "reviewed"]), json!({})),
            8 => call(&mut python, json!(["set_registered_model_tag", name, "team", "risk"]), json!({})),
            9 => call(&mut python, json!(["update_registered_model", name, "Card fraud"]), json!({})),
            10 => call(&mut python, json!(["update_model_version", name, "2", "the second"]), json!({})),
            _ => call(&mut python, json!(["delete_model_version", name, "1"]), json!({})),
        }
        // Another process sees it, without writing.
        let drift = on.options().open().unwrap();
        let drift = drift.drift(&fraud()).await.unwrap().unwrap();
        assert!(!drift.changes().is_empty(), "step {step} is not seen");
        // The next write adopts it.
        let text = format!("after step {step}").parse().unwrap();
        registry.describe(&by("ana"), &fraud(), Some(&v("2.0.0")), Some(text)).await.unwrap();
        let drift = registry.drift(&fraud()).await.unwrap().unwrap();
        assert!(drift.changes().is_empty(), "step {step}: {:?}", drift.changes());
        assert!(drift.unfinished().is_empty(), "step {step}: {:?}", drift.unfinished());
        let log = registry.log(&fraud(), Revision::FIRST, 1_000).await.unwrap();
        let is_adopted = |event: &Event| matches!(event, Event::Adopted(_));
        let adopted = log.iter().filter(|found| found.commit.events.iter().all(is_adopted)).count();
        assert_eq!(adopted, seen + 1, "step {step}");
        seen = adopted;
        let state = registry.model(&fraud()).await.unwrap();
        let in_production = match state.production.as_ref().map(ToString::to_string).as_deref() {
            Some("v1.1.0") => vec![2],
            Some("v2.0.0") => vec![3],
            Some(other) => panic!("{other}"),
            None => vec![],
        };
        let numbers: &[u64] = if step < 11 { &[1, 2, 3] } else { &[2, 3] };
        let shown = shown_in_production(&mut python, &name, numbers);
        assert_eq!(shown, (in_production.clone(), in_production), "step {step}");
    }
    let state = registry.model(&fraud()).await.unwrap();
    assert_eq!(state.production, Some(v("2.0.0")));
    assert!(state.version(&v("1.0.0")).unwrap().deleted.is_some());
    assert_eq!(state.description.as_ref().unwrap().as_str(), "Card fraud");
    assert_eq!(state.tags.len(), 1);
    assert_eq!(state.version_count, 4);
    assert_eq!(state.version(&v("4.0.0")).unwrap().content.metadata.hyperparameters["slope"], 1.0);
    assert!(registry.verify(&fraud(), Default::default()).await.unwrap().is_sound());
}

macro_rules! python {
    ($server:ident, $variable:literal) => {
        mod $server {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn python_loads_what_was_registered_here() {
                super::python_loads_what_was_registered_here($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_python_registered_is_verified_and_promoted_here() {
                super::what_python_registered_is_verified_and_promoted_here($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn each_of_12_changes_of_others_is_seen_and_adopted() {
                super::each_change_of_others_is_seen_and_adopted($variable).await;
            }
        }
    };
}

python!(mlflow_3_on_sqlite, "REGISTRY_TEST_MLFLOW_3");
python!(mlflow_2_on_sqlite, "REGISTRY_TEST_MLFLOW_2");
python!(mlflow_3_on_postgresql, "REGISTRY_TEST_MLFLOW_PG");
