//! Several processes on one registry, and how many requests the verbs of a registry make.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use backend_mlflow::{MlflowRegistry, Options};
use registry_core::{
    By, Content, ModelName, PromoteOptions, Registration, RegistryExt as _, Revision, Selector, Stage,
    Version,
};

use crate::common::{fresh, server, told};
use crate::wire::{Counted, ask};

/// Tells a process started by a test where to write.
const WRITER: &str = "REGISTRY_TEST_WRITER";

fn open(address: &str, registry: &str) -> MlflowRegistry {
    let options = Options::new(address).unwrap().with_registry(registry);
    options.with_prefix(format!("{registry}-")).open().unwrap()
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn by(actor: &str) -> By {
    By::new(actor.parse().unwrap())
}

async fn register(registry: &MlflowRegistry, version: &str) {
    let registration = Registration::new(version.parse::<Version>().unwrap(), Content::default());
    registry.register(&by("trainer"), &fraud(), registration, &[]).await.unwrap();
}

async fn promote(registry: &MlflowRegistry, version: &str, stage: Stage) {
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

/// However far one who writes falls behind the others, the log is not read again from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_who_race_read_no_old_segments() {
    let counted = Counted::before(&server("REGISTRY_TEST_MLFLOW_3")).await;
    let name = fresh();
    let writer = open(&counted.address, &name);
    register(&writer, "1.0.0").await;
    for number in 0..40 {
        let set = [(format!("n{number}").parse().unwrap(), String::new())].into();
        writer.change_tags(&by("alice"), &fraud(), None, set, Vec::new()).await.unwrap();
    }
    let racers: Vec<MlflowRegistry> = (0..6).map(|_| open(&counted.address, &name)).collect();
    for racer in &racers {
        racer.model(&fraud()).await.unwrap();
    }
    let path = format!("experiments/get-by-name?experiment_name={name}");
    let found = ask(&counted.address, &path, &serde_json::Value::Null).await;
    let id = found.pointer("/experiment/experiment_id").unwrap().clone();
    let filter = "tags.`model-registry.role` = 'segment 0'";
    let search = serde_json::json!({"experiment_ids": [id], "filter": filter});
    let found = ask(&counted.address, "runs/search", &search).await;
    let first = found.pointer("/runs/0/info/run_id").unwrap().as_str().unwrap().to_owned();

    counted.take();
    let races = racers.iter().enumerate().map(|(number, racer)| async move {
        for turn in 0..4 {
            let set = [(format!("r{number}-{turn}").parse().unwrap(), String::new())].into();
            racer.change_tags(&by("bob"), &fraud(), None, set, Vec::new()).await.unwrap();
        }
    });
    futures_util::future::join_all(races).await;
    let read = counted.take_runs();
    assert!(read.len() > 24, "{read:?}");
    let again = read.iter().filter(|run| **run == first).count();
    assert_eq!(again, 0, "of {} runs that were read", read.len());
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
    let expected = [
        // Is there a policy for all models?
        ("experiments/get-by-name", 1),
        // What MLflow shows: the versions,
        ("model-versions/search", 1),
        // and, written afterwards, where each stands: the one that came and the one that left.
        ("model-versions/set-tag", 2),
        ("model-versions/transition-stage", 2),
        // `production` goes over, and `staging` away.
        ("registered-models/alias", 2),
        // Once with the versions, and once more before it is written to: has somebody moved something meanwhile?
        ("registered-models/get", 2),
        // The log, once to see what to adopt and once to decide; its notes; and whether the log went on while MLflow was
        // written to.
        ("runs/get", 4),
        // That we write, and that we have written.
        ("runs/log-batch", 2),
        // The commit.
        ("runs/log-parameter", 1),
        // Are the runs behind the versions in use still there?
        ("runs/search", 1),
    ];
    let each = |counts: &[(&'static str, usize)]| -> Vec<&'static str> {
        counts.iter().flat_map(|(name, count)| std::iter::repeat_n(*name, *count)).collect()
    };
    assert_eq!(asked, each(&expected), "a promotion");
    writer.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    let warm = ["runs/get", "registered-models/get"];
    assert_eq!(counted.take(), warm, "a warm look at production");

    register(&writer, "4.0.0").await;
    let mut asked = counted.take();
    asked.sort();
    let expected = [
        ("experiments/get-by-name", 1),
        // The version is made, and is told which number it has got.
        ("model-versions/create", 1),
        ("model-versions/search", 1),
        ("model-versions/set-tag", 1),
        ("registered-models/get", 2),
        // A run of its own.
        ("runs/create", 1),
        // As for a promotion; and what is claimed.
        ("runs/get", 5),
        ("runs/log-batch", 2),
        // The commit; and for whom the run is, and the number.
        ("runs/log-parameter", 3),
        ("runs/search", 1),
        // The run is over.
        ("runs/update", 1),
    ];
    assert_eq!(asked, each(&expected), "a registration");

    for number in 0..20 {
        let text = format!("text {number}").parse().unwrap();
        writer.describe(&by("alice"), &fraud(), None, Some(text)).await.unwrap();
        let cold = open(&counted.address, &name);
        counted.take();
        let found = cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
        let asked = counted.take();
        assert_eq!(found.version.to_string(), "v3.0.0");
        assert!(asked.len() <= 7, "a cold look at production after {number}: {asked:?}");
        cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
        assert_eq!(counted.take(), warm, "after {number}");
    }
}

/// Gives the first version of a model so many copies, in the database: they would take minutes one by one.
const COPY: &str = "import sqlite3, sys
database, name, count = sys.argv[1:]
connection = sqlite3.connect(database, timeout=60)
with connection:
    columns = [row[1] for row in connection.execute('PRAGMA table_info(model_versions)')]
    taken = ', '.join('number' if column == 'version' else column for column in columns)
    connection.execute(
        f'WITH RECURSIVE numbers(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?) '
        'INSERT INTO model_versions (' + ', '.join(columns) + ') '
        f'SELECT {taken} FROM model_versions, numbers WHERE name = ? AND version = 1', (int(count), name))
";

/// Ten thousand versions that others made are not listed to find the one in production.
#[tokio::test]
async fn a_look_at_production_of_10_000_foreign_versions_lists_none_of_them() {
    for variable in ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_2"] {
        let counted = Counted::before(&server(variable)).await;
        let name = fresh();
        let model = format!("{name}-fraud");
        let body = serde_json::json!({"name": model});
        ask(&counted.address, "registered-models/create", &body).await;
        let body = serde_json::json!({"name": model, "source": "s3://elsewhere/model"});
        ask(&counted.address, "model-versions/create", &body).await;
        let database = told(&format!("{variable}_DB"));
        let copied = Command::new(told("REGISTRY_TEST_MLFLOW_3_PYTHON"))
            .args(["-c", COPY, &database, &model, "10000"])
            .status();
        assert!(copied.unwrap().success());
        let body = serde_json::json!({"name": model, "alias": "production", "version": "4711"});
        ask(&counted.address, "registered-models/alias", &body).await;

        counted.take();
        let registry = open(&counted.address, &name);
        for look in 0..3 {
            let found = registry.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
            assert_eq!(found.version.to_string(), "v4711.0.0");
            let asked = counted.take();
            assert!(
                !asked.iter().any(|path| path.contains("search") && path.contains("versions")),
                "{asked:?}"
            );
            assert!(asked.len() <= if look == 0 { 6 } else { 3 }, "{variable} {look}: {asked:?}");
        }
    }
}
