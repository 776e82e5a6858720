//! The exam, and races between processes, on an S3 server that runs on this machine. `cargo xtask test`
//! installs and starts it, and says where it is in `REGISTRY_TEST_S3`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use backend_objectstore::object_store::aws::AmazonS3Builder;
use backend_objectstore::object_store::{ObjectStore, RetryConfig};
use backend_objectstore::{BucketConnector, BucketLog, Options};
use futures_util::future::join_all;
use registry_core::storage::{Append, CommitLog as _, Record};
use registry_core::{
    By, Connectors, Content, IdSource as _, ModelName, Registration, Registry, RegistryExt as _, Revision,
    Stream, SystemIds, Timestamp, Version,
};

use common::Stored;

/// Made up: the server believes anybody.
const KEY: &str = "made-up-key";
const SECRET: &str = "made-up-secret";
/// The bucket that is made when the server is started.
const BUCKET: &str = "registry-test";
/// Tells a process started by a test where to write.
const WRITER: &str = "REGISTRY_TEST_WRITER";

fn endpoint() -> String {
    match std::env::var("REGISTRY_TEST_S3") {
        Ok(endpoint) if endpoint.starts_with("http://127.0.0.1:") => endpoint,
        Ok(other) => panic!("REGISTRY_TEST_S3 must be on this machine, not {other}"),
        Err(_) => panic!("no S3 server: run `cargo xtask test`, which starts one and sets REGISTRY_TEST_S3"),
    }
}

fn store() -> Arc<dyn ObjectStore> {
    let retry = RetryConfig { retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint())
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .with_bucket_name(BUCKET)
        .with_retry(retry);
    Arc::new(builder.build().unwrap())
}

fn fresh() -> String {
    format!("run-{:032x}/team a", SystemIds.next_id())
}

async fn connect(prefix: &str) -> Arc<dyn Registry> {
    let url = format!(
        "s3://{BUCKET}/{prefix}?endpoint={}&allow_http=true&region=us-east-1\
        &access_key_id={KEY}&secret_access_key={SECRET}",
        endpoint()
    );
    Connectors::new().with(BucketConnector).open(&url).await.unwrap()
}

registry_core::exam!(Stored::new(store(), &fresh(), ()));

/// 32 racers, each with a client of its own, 50 rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_racers_for_a_slot_one_wins_each_round() {
    let prefix = fresh();
    let mut logs: Vec<BucketLog> = Vec::new();
    for _ in 0..32 {
        logs.push(Options::default().open_parts(store(), &prefix).await.unwrap().0);
    }
    let stream = Stream::Model("raced".parse().unwrap());
    for round in 1..=50 {
        let revision = Revision::new(round).unwrap();
        let racers = logs.iter().enumerate().map(|(racer, log)| {
            let record = Record {
                stream: stream.clone(),
                revision,
                request_id: format!("racer-{racer}").parse().unwrap(),
                time: Timestamp::EPOCH,
                terms: Vec::new(),
                body: format!("{{\"racer\":{racer}}}").into(),
            };
            async move { (racer, log.append(&record).await.unwrap()) }
        });
        let results = join_all(racers).await;
        let winners: Vec<usize> = results
            .iter()
            .filter(|(_, result)| *result == Append::Written)
            .map(|(racer, _)| *racer)
            .collect();
        let read = logs.first().unwrap().read(&stream, revision, 10).await.unwrap();
        let kept: Vec<String> =
            read.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned()).collect();
        let expected: Vec<String> = winners.iter().map(|racer| format!("{{\"racer\":{racer}}}")).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(kept, expected, "round {round}");
    }
}

fn contended() -> ModelName {
    "contended".parse().unwrap()
}

/// Not a test by itself: one of the processes that the next one starts.
#[tokio::test]
async fn a_writer_among_others() {
    let Ok(told) = std::env::var(WRITER) else { return };
    let (writer, prefix) = told.split_once('=').unwrap();
    let registry = connect(prefix).await;
    let by = By::new(format!("writer-{writer}").parse().unwrap());
    for number in 0..25 {
        let set = [(format!("w{writer}-n{number}").parse().unwrap(), String::new())].into();
        registry.change_tags(&by, &contended(), None, set, Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn eight_processes_with_25_commits_each_lose_and_double_nothing() {
    let prefix = fresh();
    let registry = connect(&prefix).await;
    let first: Version = "1.0.0".parse().unwrap();
    let by = By::new("trainer".parse().unwrap());
    let registration = Registration::new(first, Content::default());
    registry.register(&by, &contended(), registration, &[]).await.unwrap();
    let me = std::env::current_exe().unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            Command::new(&me)
                .args(["--exact", "a_writer_among_others"])
                .env(WRITER, format!("{writer}={prefix}"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let state = connect(&prefix).await.model(&contended()).await.unwrap();
    assert_eq!(state.tags.len(), 200);
    let log = registry.log(&contended(), Revision::FIRST, 1_000).await.unwrap();
    assert_eq!(log.len(), 201);
    let ids: BTreeSet<String> = log.iter().map(|found| found.commit.request_id.to_string()).collect();
    assert_eq!(ids.len(), 201, "a request was carried out twice");
}
