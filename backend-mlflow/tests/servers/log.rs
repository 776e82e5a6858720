//! What an MLflow server holds of a log, how many requests that takes, and what is said when others delete or
//! alter it.

use backend_mlflow::{MlflowLog, Options};
use registry_core::storage::{
    Append, CheckpointKind, CommitLog as _, Record, StorageError, StorageErrorKind,
};
use registry_core::{Revision, Stream, StreamKind, Term, Timestamp};
use serde_json::{Value, json};

use crate::common::{OnMlflow, fresh, server};
use crate::wire::{Counted, ask};

const SERVERS: [&str; 3] = ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_2", "REGISTRY_TEST_MLFLOW_PG"];

fn fraud() -> Stream {
    Stream::Model("fraud".parse().unwrap())
}

fn record(stream: &Stream, number: u64) -> Record {
    Record {
        stream: stream.clone(),
        revision: Revision::new(number).unwrap(),
        request_id: format!("request-{number}").parse().unwrap(),
        time: Timestamp::EPOCH,
        terms: Vec::new(),
        body: format!("{{\"number\":{number}}}").into(),
    }
}

async fn append(log: &MlflowLog, number: u64) {
    assert_eq!(log.append(&record(&fraud(), number)).await.unwrap(), Append::Written);
}

async fn count(log: &MlflowLog, from: u64) -> Result<usize, StorageError> {
    Ok(log.read(&fraud(), Revision::new(from).unwrap(), 1_000).await?.len())
}

fn open(address: &str, registry: &str) -> MlflowLog {
    Options::new(address).unwrap().with_registry(registry).open_log().unwrap()
}

#[tokio::test]
async fn requests_are_few_and_counted() {
    for variable in SERVERS {
        let counted = Counted::before(&server(variable)).await;
        let registry = fresh();
        let (writer, reader) = (open(&counted.address, &registry), open(&counted.address, &registry));

        append(&writer, 1).await;
        counted.take();
        append(&writer, 2).await;
        assert_eq!(counted.take(), ["runs/log-parameter"], "a warm writer");
        let mut termed = record(&fraud(), 3);
        termed.terms = vec![Term::new("tag", "a"), Term::new("tag", "b")];
        assert_eq!(writer.append(&termed).await.unwrap(), Append::Written);
        assert_eq!(counted.take(), ["runs/log-batch", "runs/log-parameter"], "with terms that are new");
        termed.revision = Revision::new(4).unwrap();
        assert_eq!(writer.append(&termed).await.unwrap(), Append::Written);
        assert_eq!(counted.take(), ["runs/log-parameter"], "with terms that are not");

        assert_eq!(count(&reader, 1).await.unwrap(), 4);
        assert_eq!(counted.take(), ["experiments/get-by-name", "runs/get", "runs/get"], "a cold reader");
        assert_eq!(count(&reader, 5).await.unwrap(), 0);
        assert_eq!(counted.take(), ["runs/get"], "a warm reader");

        for number in 5..=16 {
            append(&writer, number).await;
        }
        counted.take();
        assert_eq!(count(&reader, 17).await.unwrap(), 0);
        assert_eq!(counted.take(), ["runs/get"], "a warm reader where a segment is full");
        append(&writer, 17).await;
        let made = ["runs/get", "runs/create", "runs/update", "runs/log-parameter", "runs/log-parameter"];
        assert_eq!(counted.take(), made, "a warm writer that begins a segment");
        assert_eq!(count(&reader, 17).await.unwrap(), 1);
        assert_eq!(counted.take(), ["runs/get", "runs/get"], "a reader that meets a new segment");
        assert_eq!(count(&reader, 18).await.unwrap(), 0);
        assert_eq!(counted.take(), ["runs/get"]);
        let cold = open(&counted.address, &registry);
        assert_eq!(count(&cold, 1).await.unwrap(), 17);
        assert_eq!(counted.take().len(), 4, "a cold reader of two segments");

        // A cold start as the engine does it: the brief checkpoint, the whole one, and what came since.
        writer.save_checkpoint(&fraud(), CheckpointKind::Brief, "{}".into()).await.unwrap();
        assert_eq!(counted.take(), ["runs/get", "runs/set-tag"]);
        let cold = open(&counted.address, &registry);
        assert!(cold.load_checkpoint(&fraud(), CheckpointKind::Brief).await.unwrap().is_some());
        assert!(cold.load_checkpoint(&fraud(), CheckpointKind::Whole).await.unwrap().is_none());
        assert_eq!(count(&cold, 17).await.unwrap(), 1);
        assert_eq!(counted.take(), ["experiments/get-by-name", "runs/get", "runs/get"]);
    }
}

/// The runs of a registry, whose experiment is the one of that name.
async fn runs(candidate: &OnMlflow, role: &str) -> Vec<Value> {
    let path = format!("experiments/get-by-name?experiment_name={}", candidate.registry);
    let experiment = ask(&candidate.address, &path, &Value::Null).await;
    let id = experiment["experiment"]["experiment_id"].clone();
    let filter = format!("tags.`model-registry.role` = '{role}'");
    let search = json!({"experiment_ids": [id], "filter": filter, "run_view_type": "ALL"});
    let found = ask(&candidate.address, "runs/search", &search).await;
    found["runs"].as_array().cloned().unwrap_or_default()
}

async fn experiment(candidate: &OnMlflow, name: &str) -> Value {
    let path = format!("experiments/get-by-name?experiment_name={name}");
    ask(&candidate.address, &path, &Value::Null).await["experiment"]["experiment_id"].clone()
}

/// Asserts that the log is said to be damaged by readers, cold and warm, and by writers.
async fn is_damaged(candidate: &OnMlflow, warm: Option<&MlflowLog>, next: u64, said: &str) {
    let cold = candidate.log();
    let mut errors = vec![
        count(&cold, 1).await.unwrap_err(),
        candidate.log().append(&record(&fraud(), next)).await.unwrap_err(),
        candidate.log().append(&record(&fraud(), 1)).await.unwrap_err(),
    ];
    if let Some(warm) = warm {
        errors.push(count(warm, next).await.unwrap_err());
        errors.push(warm.append(&record(&fraud(), next)).await.unwrap_err());
    }
    for error in errors {
        assert_eq!(error.kind, StorageErrorKind::Corrupt, "{error}");
        assert!(error.message.contains(said), "{error}");
    }
}

/// Whoever takes away a tag that a search goes by hides a log from it. Writers know that they have written it.
#[tokio::test]
async fn a_tag_of_a_term_that_was_taken_away_is_told_and_written_again() {
    for variable in SERVERS {
        let candidate = OnMlflow::new(variable);
        let log = candidate.log();
        let (kept, lost) = (Term::new("tag", "kept"), Term::new("tag", "lost"));
        for (number, term) in [(1, &kept), (2, &lost)] {
            let mut termed = record(&fraud(), number);
            termed.terms = vec![term.clone()];
            assert_eq!(log.append(&termed).await.unwrap(), Append::Written);
        }
        let both = || vec![None, Some(kept.clone()), Some(lost.clone())];
        assert_eq!(log.unmarked(&fraud(), both()).await.unwrap(), []);
        let run = &runs(&candidate, "terms 0").await[0];
        let digest = registry_core::Digest::of(lost.as_str().as_bytes()).hex();
        let body = json!({"run_id": run["info"]["run_id"], "key": format!("model-registry.term.{digest}")});
        ask(&candidate.address, "runs/delete-tag", &body).await;

        let found = || log.streams(StreamKind::Model, Some(&lost), None, 10);
        assert_eq!(found().await.unwrap(), [], "it is hidden");
        assert_eq!(candidate.log().unmarked(&fraud(), both()).await.unwrap(), [Some(lost.clone())]);
        log.mark_again(&fraud(), &[Some(lost.clone())]).await.unwrap();
        assert_eq!(log.unmarked(&fraud(), both()).await.unwrap(), []);
        assert_eq!(found().await.unwrap(), [fraud()]);
        let none = "none".parse().map(Stream::Model).unwrap();
        assert_eq!(log.mark_again(&none, &[Some(kept)]).await.unwrap_err().kind, StorageErrorKind::NotDone);
    }
}

#[tokio::test]
async fn a_deleted_run_is_named_and_can_be_restored() {
    for variable in SERVERS {
        let candidate = OnMlflow::new(variable);
        let log = candidate.log();
        append(&log, 1).await;
        for (role, warm) in [("head", None), ("segment 0", Some(&log))] {
            let run = runs(&candidate, role).await[0]["info"]["run_id"].clone();
            ask(&candidate.address, "runs/delete", &json!({"run_id": run})).await;
            let said = format!("restore_run({run})");
            is_damaged(&candidate, warm, 2, &said).await;
            ask(&candidate.address, "runs/restore", &json!({"run_id": run})).await;
            assert_eq!(count(&candidate.log(), 1).await.unwrap(), 1);
        }
        append(&log, 2).await;
        assert_eq!(count(&candidate.log(), 1).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_deleted_part_of_a_long_commit_is_named() {
    let candidate = OnMlflow::new(SERVERS[0]);
    let log = candidate.log();
    let mut long = record(&fraud(), 1);
    long.body = "x".repeat(20_000).into();
    assert_eq!(log.append(&long).await.unwrap(), Append::Written);
    let run = runs(&candidate, "part").await[0]["info"]["run_id"].clone();
    ask(&candidate.address, "runs/delete", &json!({"run_id": run})).await;
    let error = count(&candidate.log(), 1).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Corrupt);
    assert!(error.message.contains(&format!("restore_run({run})")), "{error}");
}

#[tokio::test]
async fn deleted_experiments_are_named_and_can_be_restored() {
    for variable in SERVERS {
        let candidate = OnMlflow::new(variable);
        append(&candidate.log(), 1).await;
        for name in [candidate.registry.clone(), format!("{}/model/fraud", candidate.registry)] {
            let id = experiment(&candidate, &name).await;
            ask(&candidate.address, "experiments/delete", &json!({"experiment_id": id})).await;
            let said = if name == candidate.registry { "restore" } else { "mlflow experiments restore" };
            is_damaged(&candidate, None, 2, said).await;
            let listed = candidate.log().streams(StreamKind::Model, None, None, 10).await.unwrap();
            assert_eq!(listed, [fraud()], "it is damaged, but it is there");
            ask(&candidate.address, "experiments/restore", &json!({"experiment_id": id})).await;
            assert_eq!(count(&candidate.log(), 1).await.unwrap(), 1);
        }
        // Another stream cannot be begun while the experiment of all runs is deleted.
        let id = experiment(&candidate, &candidate.registry).await;
        ask(&candidate.address, "experiments/delete", &json!({"experiment_id": id})).await;
        let other = record(&Stream::Registry, 1);
        let error = candidate.log().append(&other).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Corrupt);
        assert!(error.message.contains("mlflow experiments restore"), "{error}");
    }
}

#[tokio::test]
async fn a_log_whose_experiment_is_gone_is_never_begun_anew() {
    for variable in SERVERS {
        let candidate = OnMlflow::new(variable);
        append(&candidate.log(), 1).await;
        let name = format!("{}/model/fraud", candidate.registry);
        let id = experiment(&candidate, &name).await;
        let renamed = json!({"experiment_id": id, "new_name": format!("{name}-gone")});
        ask(&candidate.address, "experiments/update", &renamed).await;
        is_damaged(&candidate, None, 2, "renamed").await;
        assert_eq!(runs(&candidate, "head").await.len(), 1, "a head was made");
        ask(&candidate.address, "experiments/update", &json!({"experiment_id": id, "new_name": name})).await;
        assert_eq!(count(&candidate.log(), 1).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_log_that_leads_to_another_stream_is_refused() {
    let candidate = OnMlflow::new(SERVERS[0]);
    let log = candidate.log();
    append(&log, 1).await;
    let other = Stream::Model("other".parse().unwrap());
    assert_eq!(log.append(&record(&other, 1)).await.unwrap(), Append::Written);
    let heads = runs(&candidate, "head").await;
    let of_other = heads.iter().find(|run| run.to_string().contains("model/other")).unwrap();
    let id = experiment(&candidate, &format!("{}/model/fraud", candidate.registry)).await;
    let set = json!({"experiment_id": id, "key": "model-registry.head", "value": of_other["info"]["run_id"]});
    ask(&candidate.address, "experiments/set-experiment-tag", &set).await;
    is_damaged(&candidate, None, 2, "its tags say that it is the head of model/other").await;
}

#[tokio::test]
async fn other_layouts_and_other_experiments_are_refused() {
    let address = server(SERVERS[0]);
    let registry = fresh();
    let made = ask(&address, "experiments/create", &json!({"name": registry})).await;
    let error = open(&address, &registry).append(&record(&fraud(), 1)).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NotDone);
    assert!(error.message.contains("choose another name"), "{error}");
    let set = json!({"experiment_id": made["experiment_id"], "key": "model-registry.format", "value": "2"});
    ask(&address, "experiments/set-experiment-tag", &set).await;
    let error = open(&address, &registry).append(&record(&fraud(), 1)).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NewerFormat, "{error}");
}

#[tokio::test]
async fn a_registry_that_is_only_read_is_never_written() {
    let candidate = OnMlflow::new(SERVERS[0]);
    let options = Options::new(&candidate.address).unwrap().with_registry(&candidate.registry).read_only();
    let log = options.open_log().unwrap();
    assert_eq!(count(&log, 1).await.unwrap(), 0);
    assert!(log.streams(StreamKind::Model, None, None, 10).await.unwrap().is_empty());
    let refused = [
        log.append(&record(&fraud(), 1)).await.err().unwrap(),
        log.save_checkpoint(&fraud(), CheckpointKind::Brief, "{}".into()).await.err().unwrap(),
    ];
    assert!(refused.iter().all(|error| error.kind == StorageErrorKind::PermissionDenied));
    let search = json!({"filter": format!("name LIKE '{}%'", candidate.registry), "max_results": 10});
    let found = ask(&candidate.address, "experiments/search", &search).await;
    assert_eq!(found["experiments"].as_array().map_or(0, Vec::len), 0);
}

#[tokio::test]
async fn what_is_not_text_is_refused_before_it_is_sent() {
    let candidate = OnMlflow::new(SERVERS[0]);
    let log = candidate.log();
    for body in [&b"\xff"[..], b"a\0b"] {
        let mut record = record(&fraud(), 1);
        record.body = bytes::Bytes::copy_from_slice(body);
        assert_eq!(log.append(&record).await.unwrap_err().kind, StorageErrorKind::NotDone);
    }
    assert_eq!(count(&log, 1).await.unwrap(), 0);
}
