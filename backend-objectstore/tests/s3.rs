//! The exam, and races between processes, on an S3 server that runs on this machine. `cargo xtask test`
//! installs and starts it, and says where it is in `REGISTRY_TEST_S3`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/racers.rs"]
mod racers;
#[path = "common/s3.rs"]
mod s3;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use backend_objectstore::BucketConnector;
use backend_objectstore::object_store::ObjectStore;
use registry_core::{
    By, Connectors, Content, ModelName, Registration, Registry, RegistryExt as _, Revision, Version,
};

use common::Stored;
use server::{endpoint, fresh};

/// Made up: the server believes anybody.
const KEY: &str = "made-up-key";
const SECRET: &str = "made-up-secret";
/// Says where the server is.
const SERVER: &str = "REGISTRY_TEST_S3";
/// Tells a process started by a test where to write.
const WRITER: &str = "REGISTRY_TEST_WRITER";

fn store() -> Arc<dyn ObjectStore> {
    s3::store(&endpoint(SERVER), KEY, SECRET)
}

async fn connect(prefix: &str) -> Arc<dyn Registry> {
    let url = s3::url(&endpoint(SERVER), prefix, KEY, SECRET);
    Connectors::new().with(BucketConnector).open(&url).await.unwrap()
}

registry_core::exam!(Stored::new(store(), &fresh(), ()));

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_racers_for_a_slot_one_wins_each_round() {
    racers::one_wins_each_round(store, &fresh(), 32, 50).await;
}

#[test]
fn hostile_names_are_refused_or_kept() {
    hostile::names_are_refused_or_kept(&store(), &fresh(), 96);
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
