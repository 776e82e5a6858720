//! The exam, and races between processes, on an S3 server that runs on this machine. `cargo xtask test`
//! installs and starts it, and says where it is in `REGISTRY_TEST_S3`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/large.rs"]
mod large;
#[path = "common/long.rs"]
mod long;
#[path = "common/racers.rs"]
mod racers;
#[path = "common/s3.rs"]
mod s3;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use backend_objectstore::object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use backend_objectstore::object_store::memory::InMemory;
use backend_objectstore::object_store::{self, ClientOptions, ObjectStore, ObjectStoreExt as _};
use backend_objectstore::{BucketConnector, Options};
use futures_util::TryStreamExt as _;
use registry_core::{
    By, Connectors, Content, ModelName, Registration, Registry, RegistryExt as _, Revision, Selector, Version,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_several_parts_comes_back_and_damage_to_it_is_found() {
    large::comes_back_and_damage_is_found(store(), &fresh()).await;
}

#[test]
fn hostile_names_are_refused_or_kept() {
    hostile::names_are_refused_or_kept(&store(), &fresh(), 96);
}

/// Counts what goes over the wire, repeated requests and further pages included.
#[derive(Debug, Clone)]
struct Counted {
    requests: Arc<AtomicU64>,
    inner: Option<HttpClient>,
}

impl HttpConnector for Counted {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = Some(ReqwestConnector::default().connect(options)?);
        Ok(HttpClient::new(Counted { requests: Arc::clone(&self.requests), inner }))
    }
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.as_ref().unwrap().execute(request).await
    }
}

/// The history is made in memory and copied here, since writing it commit by commit takes minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cold_look_at_production_after_10_000_commits_takes_five_requests_at_most() {
    let (memory, prefix) = (Arc::new(InMemory::new()), fresh());
    long::write(Arc::clone(&memory) as _, &prefix).await;
    let server = store();
    let (memory, server) = (&memory, &server);
    let copied = memory.list(None).map_ok(|meta| async move {
        let bytes = memory.get(&meta.location).await?.bytes().await?;
        server.put(&meta.location, bytes.into()).await
    });
    let copied = copied.try_buffer_unordered(16).try_fold(0, |count, _| async move { Ok(count + 1) });
    assert!(long::COMMITS < copied.await.unwrap());

    let counted = Counted { requests: Arc::default(), inner: None };
    let client = s3::builder(&endpoint(SERVER), KEY, SECRET).with_http_connector(counted.clone());
    let cold = Options::default().open(Arc::new(client.build().unwrap()), &prefix).await.unwrap();
    let opening = counted.requests.swap(0, Ordering::Relaxed);
    let found = cold.get(&long::model(), &Selector::PRODUCTION).await.unwrap();
    let requests = counted.requests.load(Ordering::Relaxed);
    assert_eq!(found.version.to_string(), "v1.0.0");
    assert!(opening == 1 && (1..=5).contains(&requests), "{opening} to open, {requests} to look");
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
