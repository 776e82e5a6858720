//! What is refused when a URL is opened, and how soon; and that secrets are not told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use backend_objectstore::BucketConnector;
use registry_core::{Connectors, Error, RegistryExt as _};

async fn refusal(url: &str) -> String {
    let connectors = Connectors::new().with(BucketConnector);
    // No request is made, so none can take its time.
    let opened = tokio::time::timeout(Duration::from_secs(2), connectors.open(url)).await.unwrap();
    let error = opened.err().unwrap();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_cloud_without_credentials_is_refused_at_once() {
    for url in [
        "s3://models/a?endpoint=http://127.0.0.1:9&allow_http=true",
        "s3://models/a?access_key_id=only-half&endpoint=http://127.0.0.1:9&allow_http=true",
        "gs://models/a?base_url=http://127.0.0.1:9&allow_http=true",
        "az://models/a?account_name=x&endpoint=http://127.0.0.1:9&allow_http=true",
        "abfss://models@account.dfs.core.windows.net/a",
    ] {
        let refused = refusal(url).await;
        assert!(refused.contains("no credentials were given"), "{refused}");
    }
}

#[tokio::test]
async fn unknown_options_are_refused_with_the_known_ones() {
    let refused = refusal("s3://models/a?acces_key_id=x").await;
    assert!(
        refused.contains("unknown option `acces_key_id`; known are access_key_id, allow_http"),
        "{refused}"
    );
    for url in ["gs://m?regoin=x", "az://m?regoin=x", "file:///tmp/x?regoin=x", "memory://?regoin=x"] {
        assert!(refusal(url).await.contains("unknown option `regoin`; known are "), "{url}");
    }
    assert!(refusal("s3://").await.contains("a bucket is needed"));
    assert!(refusal("s3://m?read_only=yes").await.contains("`true` or `false`"));
}

#[tokio::test]
async fn secrets_are_told_nowhere() {
    // Nobody listens at this port. Opening fails, after some retries, and says why.
    let url = "s3://models/a?endpoint=http://127.0.0.1:9/topsecretkey&allow_http=true&region=eu-west-1\
        &access_key_id=made-up&secret_access_key=topsecretkey&session_token=topsecrettoken";
    let error = Connectors::new().with(BucketConnector).open(url).await.err().unwrap();
    let told = format!("{error} {error:?} {error:#?}");
    assert!(told.contains("127.0.0.1:9"), "{told}");
    assert!(!told.contains("topsecret"), "{told}");
    for url in
        ["az://c/p?account_name=x&account_key=topsecret!not-base64", "gs://b?service_account_key=topsecret"]
    {
        let told = refusal(url).await;
        assert!(!told.contains("topsecret"), "{told}");
    }
}

#[tokio::test]
async fn folders_and_memory_open_by_url() {
    let folder = tempfile::tempdir().unwrap();
    let connectors = Connectors::new().with(BucketConnector);
    let url = format!("file://{}/new", folder.path().display());
    for refused in [format!("{url}?create=false"), format!("{url}?read_only=true")] {
        assert!(matches!(connectors.open(&refused).await.err().unwrap(), Error::NoRegistry { .. }));
    }
    for url in [url.clone(), format!("{url}?read_only=true"), "memory://".to_owned()] {
        assert!(connectors.open(&url).await.unwrap().models(None, 10).await.unwrap().is_empty());
    }
    std::fs::write(folder.path().join("new/registry.json"), "{\"format\":2}").unwrap();
    assert!(matches!(connectors.open(&url).await.err().unwrap(), Error::NewerFormat(_)));
}
