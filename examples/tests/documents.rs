//! Keeps the documents true: records in them are real, and what they list is complete.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly, its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use registry_core::compat::FindingId;
use registry_core::storage::CommitLog as _;
use registry_core::{
    By, Clock, Content, Digest, Engine, ManualClock, MemoryArtifacts, MemoryLog, PromoteOptions,
    Registration, RegistryExt as _, Revision, Stage, Stream, Upload, Version, codec,
};

const LOG_FORMAT: &str = include_str!("../../docs/log-format.md");
const VERSIONING: &str = include_str!("../../docs/versioning.md");

/// The blocks of a document that are fenced with this language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|block| block.split("\n```").next().unwrap()).collect()
}

/// The two records that the document on the format shows, made by the library itself.
async fn worked_records() -> Vec<String> {
    let clock = Arc::new(ManualClock::new("2024-01-15T10:30:00Z".parse().unwrap()));
    let log = Arc::new(MemoryLog::default());
    let registry = Engine::new(Arc::clone(&log), Arc::new(MemoryArtifacts::default()))
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);

    let alice = By::new("alice@example.com".parse().unwrap());
    let model = "fraud".parse().unwrap();
    let v1 = Version::new(1, 0, 0);
    let bytes = bytes::Bytes::from_static(b"the bytes of the model");
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let registration = Registration::new(v1.clone(), Content::default());
    let by = alice.with_request_id("run-42".parse().unwrap());
    registry.register(&by, &model, registration, &[upload]).await.unwrap();

    clock.advance(Duration::from_secs(22 * 60 * 60));
    let by =
        alice.because("ready for the A/B test".parse().unwrap()).with_request_id("run-43".parse().unwrap());
    registry.promote(&by, &model, &v1, Stage::Staging, PromoteOptions::default()).await.unwrap();

    let stored = log.read(&Stream::Model(model), Revision::FIRST, 10).await.unwrap();
    stored.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect()
}

/// Whoever changes what is written must look at the document, and at everybody's old logs.
#[tokio::test]
async fn the_records_in_the_format_are_what_the_library_writes() {
    let written = worked_records().await;
    assert_eq!(
        blocks(LOG_FORMAT, "json"),
        written,
        "write these into docs/log-format.md:\n{}",
        written.join("\n")
    );
}

#[test]
fn the_records_in_the_format_decode_and_their_digests_fit() {
    let stream: Stream = "model/fraud".parse().unwrap();
    let mut previous: Option<Digest> = None;
    let records = blocks(LOG_FORMAT, "json");
    assert_eq!(records.len(), 2);
    for (revision, record) in (1..).zip(records) {
        let revision = Revision::new(revision).unwrap();
        let (commit, digest) = codec::decode(&stream, revision, record.as_bytes()).unwrap();
        assert_eq!(commit.previous, previous);
        // By hand, as the document tells a reader to do it: the digest is that of the bytes between.
        let (inner, stated) = record
            .strip_prefix("{\"commit\":")
            .and_then(|rest| rest.strip_suffix("\"}"))
            .and_then(|rest| rest.rsplit_once(",\"digest\":\""))
            .unwrap();
        assert_eq!(Digest::of(inner.as_bytes()).to_string(), stated);
        assert_eq!(digest.to_string(), stated);
        assert_eq!(codec::encode(&commit).bytes, record.as_bytes());
        previous = Some(digest);
    }
}

#[test]
fn every_kind_of_event_is_in_the_format() {
    let source = include_str!("../../registry-core/src/event.rs");
    let (_, names) = source.split_once("pub fn kind(").unwrap();
    let kinds: Vec<&str> =
        names.lines().filter_map(|line| line.split("=> \"").nth(1)?.split('"').next()).collect();
    assert!(20 < kinds.len(), "{kinds:?}");
    for kind in kinds {
        assert!(LOG_FORMAT.contains(&format!("| `{kind}` |")), "docs/log-format.md lacks `{kind}`");
    }
}

#[test]
fn every_kind_of_finding_is_explained() {
    for id in FindingId::ALL {
        assert!(VERSIONING.contains(&format!("`{id}`")), "docs/versioning.md lacks `{id}`");
    }
}
