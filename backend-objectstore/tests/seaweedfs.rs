//! A second opinion on S3: the exam on a server by others, which keeps objects on disk and checks signatures.
//! `cargo xtask test` installs and starts it, and says where it is in `REGISTRY_TEST_SEAWEEDFS`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/large.rs"]
mod large;
#[path = "common/racers.rs"]
mod racers;
#[path = "common/s3.rs"]
mod s3;
#[path = "common/server.rs"]
mod server;

use std::sync::Arc;

use backend_objectstore::BucketConnector;
use backend_objectstore::object_store::ObjectStore;
use registry_core::{Connectors, Error};

use common::Stored;
use server::{endpoint, fresh};

/// Made up; the server is told them when it is started.
const KEY: &str = "made-up-key";
const SECRET: &str = "made-up-secret";
/// Says where the server is.
const SERVER: &str = "REGISTRY_TEST_SEAWEEDFS";

fn store() -> Arc<dyn ObjectStore> {
    s3::store(&endpoint(SERVER), KEY, SECRET)
}

registry_core::exam!(Stored::new(store(), &fresh(), ()));

/// Few, for it is slow where many want one key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_4_racers_for_a_slot_one_wins_each_round() {
    racers::one_wins_each_round(store, &fresh(), 4, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_several_parts_comes_back_and_damage_to_it_is_found() {
    large::comes_back_and_damage_is_found(store(), &fresh()).await;
}

#[test]
fn hostile_names_are_refused_or_kept() {
    hostile::names_are_refused_or_kept(&store(), &fresh(), 24);
}

#[tokio::test]
async fn wrong_signatures_are_refused_without_telling_the_secret() {
    let connectors = Connectors::new().with(BucketConnector);
    for (key, secret) in [(KEY, "not-the-secret-of-this-key"), ("nobodys-key", SECRET)] {
        let url = s3::url(&endpoint(SERVER), &fresh(), key, secret);
        let error = connectors.open(&url).await.err().unwrap();
        assert!(matches!(error, Error::PermissionDenied(_)), "{error:?}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(secret), "{told}");
    }
}
