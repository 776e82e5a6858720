//! A real server that ignores `If-None-Match`: several writers of one object are all told that they created
//! it, so commits would be lost without anybody noticing. No registry is made on it. `cargo xtask test` installs
//! and starts it, and says where it is in `REGISTRY_TEST_UNFIT_S3`.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/s3.rs"]
mod s3;
#[path = "common/server.rs"]
mod server;

use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{ObjectStoreExt as _, PutMode};
use backend_objectstore::{BucketConnector, open};
use futures_util::TryStreamExt as _;
use registry_core::{Connectors, Error};
use server::{endpoint, fresh};

const SERVER: &str = "REGISTRY_TEST_UNFIT_S3";
/// The only pair that this server knows; it is in its documents.
const KEY: &str = "S3RVER";

#[tokio::test]
async fn a_server_that_ignores_create_if_absent_is_refused_and_nothing_is_left_behind() {
    let store = s3::store(&endpoint(SERVER), KEY, KEY);
    // It is what it is here for.
    let key = Path::from("run-0/twice");
    for _ in 0..2 {
        store.put_opts(&key, "x".into(), PutMode::Create.into()).await.unwrap();
    }
    store.delete(&key).await.unwrap();

    let prefix = fresh();
    let url = s3::url(&endpoint(SERVER), &prefix, KEY, KEY);
    for error in [
        open(std::sync::Arc::clone(&store), &prefix).await.err().unwrap(),
        Connectors::new().with(BucketConnector).open(&url).await.err().unwrap(),
    ] {
        assert!(matches!(error, Error::Open { .. }), "{error:?}");
        assert!(error.to_string().contains("does not honour create-if-absent"), "{error}");
    }
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
