//! A client of any server that speaks S3.

use std::sync::Arc;
use std::time::Duration;

use backend_objectstore::object_store::aws::AmazonS3Builder;
use backend_objectstore::object_store::{ObjectStore, RetryConfig};

use crate::server::BUCKET;

pub(crate) fn builder(endpoint: &str, key: &str, secret: &str) -> AmazonS3Builder {
    let retry = RetryConfig { retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(key)
        .with_secret_access_key(secret)
        .with_bucket_name(BUCKET)
        .with_retry(retry)
}

pub(crate) fn store(endpoint: &str, key: &str, secret: &str) -> Arc<dyn ObjectStore> {
    Arc::new(builder(endpoint, key, secret).build().unwrap())
}

/// The URL that opens the same.
pub(crate) fn url(endpoint: &str, prefix: &str, key: &str, secret: &str) -> String {
    format!(
        "s3://{BUCKET}/{prefix}?endpoint={endpoint}&allow_http=true&region=us-east-1\
        &access_key_id={key}&secret_access_key={secret}"
    )
}
