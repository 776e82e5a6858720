//! The exam through `object_store`'s client for Google Cloud Storage, whose dialect is translated here for the S3
//! server of the tests. See `translator.rs` for what that shows and what it does not. `cargo xtask test`
//! starts the S3 server, and says where it is in `REGISTRY_TEST_S3`.
//!
//! With `REGISTRY_TEST_GCS_URL=gs://<bucket>` the same tests run on that bucket of Google's instead, with the
//! credentials that the environment gives explicitly; `docs/object-stores.md` says how.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/hostile.rs"]
mod hostile;
#[path = "../common/large.rs"]
mod large;
#[path = "../common/racers.rs"]
mod racers;
#[path = "../common/server.rs"]
mod server;
mod translator;

use std::sync::Arc;
use std::time::Duration;

use backend_objectstore::BucketConnector;
use backend_objectstore::object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{self, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig};
use registry_core::{By, Connectors, Content, Error, ModelName, Registration, RegistryExt as _, Version};

use common::Stored;
use server::{BUCKET, endpoint, fresh};
use translator::TOKEN;

/// Names a bucket of Google's to run on instead.
const REAL: &str = "REGISTRY_TEST_GCS_URL";

/// The translator's URL.
fn translator() -> &'static str {
    let upstream = endpoint("REGISTRY_TEST_S3");
    translator::start(upstream.strip_prefix("http://").unwrap().parse().unwrap())
}

fn store() -> Arc<dyn ObjectStore> {
    let retry = RetryConfig { retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
    let builder = match std::env::var(REAL) {
        Ok(url) => real(&url),
        Err(_) => GoogleCloudStorageBuilder::new()
            .with_base_url(translator())
            .with_bearer_token(TOKEN)
            .with_bucket_name(BUCKET)
            .with_config(GoogleConfigKey::Client("allow_http".parse().unwrap()), "true"),
    };
    Arc::new(builder.with_retry(retry).build().unwrap())
}

/// A bucket of Google's. The client must be given credentials: it must not go and look for some.
fn real(url: &str) -> GoogleCloudStorageBuilder {
    let bucket = url.strip_prefix("gs://").map(|bucket| bucket.trim_end_matches('/')).unwrap_or_default();
    assert!(!bucket.is_empty() && !bucket.contains('/'), "{REAL} must be `gs://<bucket>`, not {url}");
    let builder = GoogleCloudStorageBuilder::from_env();
    let given = [
        GoogleConfigKey::ServiceAccount,
        GoogleConfigKey::ServiceAccountKey,
        GoogleConfigKey::ApplicationCredentials,
        GoogleConfigKey::BearerToken,
    ];
    let given = given.iter().any(|key| builder.get_config_value(key).is_some_and(|value| !value.is_empty()));
    assert!(given, "{REAL} needs GOOGLE_SERVICE_ACCOUNT, or another of the explicit credentials");
    eprintln!("these tests run on Google's bucket {bucket}");
    builder.with_bucket_name(bucket)
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

/// Were the translator lenient, the exam would show nothing about the dialect.
#[tokio::test]
async fn a_lost_race_is_412_and_a_missing_object_404() {
    let store = store();
    let key = Path::from(format!("{}/object", fresh()));
    let create = || store.put_opts(&key, "x".into(), PutMode::Create.into());
    create().await.unwrap();
    let lost = create().await.unwrap_err();
    assert!(matches!(lost, object_store::Error::AlreadyExists { .. }), "{lost:?}");
    store.delete(&key).await.unwrap();
    let gone = store.delete(&key).await.unwrap_err();
    assert!(matches!(gone, object_store::Error::NotFound { .. }), "{gone:?}");
}

/// What only the translator can be asked; left out where the tests run on a bucket of Google's.
mod through_the_translator {
    use super::*;

    /// Opens the translated bucket by URL.
    fn url(prefix: &str, token: &str) -> String {
        format!("gs://{BUCKET}/{prefix}?base_url={}&bearer_token={token}&allow_http=true", translator())
    }

    #[tokio::test]
    async fn a_registry_opens_by_url_and_a_wrong_token_is_refused_without_telling_it() {
        let prefix = fresh();
        let model: ModelName = "fraud".parse().unwrap();
        let connectors = Connectors::new().with(BucketConnector);
        let registry = connectors.open(&url(&prefix, TOKEN)).await.unwrap();
        let registration = Registration::new(Version::new(1, 0, 0), Content::default());
        registry.register(&By::new("alice".parse().unwrap()), &model, registration, &[]).await.unwrap();
        let again = connectors.open(&url(&prefix, TOKEN)).await.unwrap();
        assert_eq!(again.models(None, 10).await.unwrap(), [model]);

        let wrong = "a-token-of-somebody-else";
        let error = connectors.open(&url(&prefix, wrong)).await.err().unwrap();
        assert!(matches!(error, Error::PermissionDenied(_)), "{error:?}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(wrong), "{told}");
    }
}
