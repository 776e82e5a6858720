//! What is refused when a URL is opened, and how soon; and that secrets are not told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;
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

/// Runs one of the tests below in a process of its own whose environment holds this and nothing else.
fn in_environment(test: &str, variables: &[(&str, &str)]) {
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(me);
    let done = command
        .args(["--ignored", "--exact", test])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && told.contains("1 passed"), "with {variables:?}: {told}");
}

/// What a machine in a cloud offers to whoever looks. The addresses lead nowhere.
const OFFERED: [(&str, &str); 12] = [
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/nowhere"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/nowhere"),
    ("AWS_PROFILE", "default"),
    ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/nobody"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/aws"),
    ("AZURE_CLIENT_ID", "nobody"),
    ("AZURE_TENANT_ID", "nowhere"),
    ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:9"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/azure"),
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi"),
    ("GCE_METADATA_HOST", "127.0.0.1:9"),
    ("HOME", "/nowhere"),
];

#[test]
fn a_cloud_without_credentials_is_refused_at_once_whatever_the_machine_offers() {
    in_environment("a_cloud_without_credentials_is_refused_at_once", &[]);
    in_environment("a_cloud_without_credentials_is_refused_at_once", &OFFERED);
}

/// Never in the environment of whoever runs the tests, which may hold credentials that work.
#[tokio::test]
#[ignore = "the test above runs it, in environments of its own"]
async fn a_cloud_without_credentials_is_refused_at_once() {
    for url in [
        "s3://models/a",
        "s3://models/a?endpoint=http://127.0.0.1:9&allow_http=true",
        "s3://models/a?access_key_id=only-half&endpoint=http://127.0.0.1:9&allow_http=true",
        "gs://models/a",
        "gs://models/a?base_url=http://127.0.0.1:9&allow_http=true",
        "az://models/a",
        "az://models/a?account_name=x&endpoint=http://127.0.0.1:9&allow_http=true",
        "azure://models/a?account_name=x",
        "abfss://models@account.dfs.core.windows.net/a",
    ] {
        let refused = refusal(url).await;
        assert!(refused.contains("no credentials were given"), "{refused}");
        // And what would be, so that nobody has to look it up.
        let first =
            [("s3", "access_key_id and secret_access_key"), ("gs", "service_account"), ("a", "account_key")];
        let (_, needed) = first.iter().find(|(scheme, _)| url.starts_with(scheme)).unwrap();
        assert!(
            refused.contains(&format!("needed are, as options or in the environment: {needed}")),
            "{refused}"
        );
    }
}

#[test]
fn credentials_that_were_given_outweigh_what_the_machine_offers() {
    in_environment("what_was_given_is_used", &OFFERED);
}

/// Nobody listens at this port. To find that out it must ask there, which it does only once it has
/// credentials; and those of the machine cannot be had.
#[tokio::test]
#[ignore = "the test above runs it, in an environment of its own"]
async fn what_was_given_is_used() {
    for given in ["sas_token=sig%3Dmade-up", "account_key=bWFkZS11cA==", "bearer_token=made-up"] {
        let url = format!("az://c/p?account_name=x&{given}&endpoint=http://127.0.0.1:9&allow_http=true");
        let error = Connectors::new().with(BucketConnector).open(&url).await.err().unwrap();
        assert!(error.to_string().contains("Error performing GET"), "{given}: {error}");
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
async fn the_document_lists_every_option_and_no_other() {
    let document = include_str!("../../docs/object-stores.md");
    let (_, section) = document.split_once("### Options\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let mut documented = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| scheme")) {
        let options = row.split('|').nth(2).unwrap();
        let names = options.split('`').skip(1).step_by(2);
        documented.extend(names.filter(|name| !matches!(*name, "true" | "false" | "30s" | "http://")));
    }
    let mut known = BTreeSet::new();
    for scheme in ["s3", "gs", "az"] {
        let refused = refusal(&format!("{scheme}://m?nonsense=x")).await;
        let (_, names) = refused.split_once("known are ").unwrap();
        known.extend(names.split(", ").map(str::to_owned));
    }
    assert_eq!(documented, known.iter().map(String::as_str).collect());
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
