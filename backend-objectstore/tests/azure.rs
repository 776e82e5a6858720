//! The exam on Azure's emulator, which runs on this machine. `cargo xtask test` installs and starts it,
//! and says where it is in `REGISTRY_TEST_AZURE`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/large.rs"]
mod large;
#[path = "common/racers.rs"]
mod racers;
#[path = "common/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use backend_objectstore::BucketConnector;
use backend_objectstore::object_store::azure::MicrosoftAzureBuilder;
use backend_objectstore::object_store::{ObjectStore, RetryConfig};
use registry_core::{By, Connectors, Content, Error, ModelName, Registration, RegistryExt as _, Version};

use common::Stored;
use server::{BUCKET, endpoint, fresh};

/// Says where the server is.
const SERVER: &str = "REGISTRY_TEST_AZURE";
/// Made up; the emulator is told them when it is started.
const ACCOUNT: &str = "registrytest";
const ACCOUNT_KEY: &str = "bWFkZS11cC1rZXktbWFkZS11cC1rZXktbWFkZS11cCE=";

fn store() -> Arc<dyn ObjectStore> {
    let retry = RetryConfig { retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
    let builder = MicrosoftAzureBuilder::new()
        .with_account(ACCOUNT)
        .with_access_key(ACCOUNT_KEY)
        .with_endpoint(endpoint(SERVER))
        .with_allow_http(true)
        .with_container_name(BUCKET)
        .with_retry(retry);
    Arc::new(builder.build().unwrap())
}

fn url(prefix: &str, key: &str) -> String {
    let endpoint = endpoint(SERVER);
    format!(
        "az://{BUCKET}/{prefix}?account_name={ACCOUNT}&account_key={key}&endpoint={endpoint}&allow_http=true"
    )
}

registry_core::exam!(Stored::new(store(), &fresh(), ()));

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_racers_for_a_slot_one_wins_each_round() {
    racers::one_wins_each_round(store, &fresh(), 32, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_several_parts_comes_back_and_damage_to_it_is_found() {
    large::comes_back_and_damage_is_found(store(), &fresh()).await;
}

#[test]
fn hostile_names_are_refused_or_kept() {
    hostile::names_are_refused_or_kept(&store(), &fresh(), 48);
}

#[tokio::test]
async fn a_registry_opens_by_url_and_is_the_one_that_a_built_store_opens() {
    let prefix = fresh();
    let model: ModelName = "fraud".parse().unwrap();
    let connectors = Connectors::new().with(BucketConnector);
    let registry = connectors.open(&url(&prefix, ACCOUNT_KEY)).await.unwrap();
    let registration = Registration::new(Version::new(1, 0, 0), Content::default());
    registry.register(&By::new("alice".parse().unwrap()), &model, registration, &[]).await.unwrap();
    let built = backend_objectstore::open(store(), &prefix).await.unwrap();
    assert_eq!(built.models(None, 10).await.unwrap(), [model]);
}

#[tokio::test]
async fn a_wrong_key_is_refused_without_telling_it() {
    // Well-formed, and of somebody else.
    let wrong = "bm90LXRoZS1rZXktb2YtdGhlLWFjY291bnQtYXQtYWxsIQ==";
    let opened = Connectors::new().with(BucketConnector).open(&url(&fresh(), wrong)).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, Error::PermissionDenied(_)), "{error:?}");
    let told = format!("{error} {error:?}");
    assert!(!told.contains(wrong), "{told}");
}
