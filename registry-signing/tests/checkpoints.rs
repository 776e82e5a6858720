//! Signed checkpoints: what they say, to the byte, and what they find.
//!
//! The files in `golden/` are never edited: checkpoints like them exist. They were written by
//!
//! ```text
//! REGENERATE_GOLDEN_CHECKPOINTS=1 cargo test -p registry-signing --test checkpoints
//! ```
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use registry_core::monitor::{Observed, Summary};
use registry_core::{
    By, Content, Engine, EnvironmentName, ManualClock, MemoryArtifacts, MemoryLog, ModelName, Problem,
    PromoteOptions, Registration, RegistryExt as _, Scope, Stage, StageRule, Stream, Timestamp, Version,
};
use registry_signing::{
    Algorithm, CHECKPOINT_BYTES_MAX, Covers, Error, LogHeads, SignedCheckpoint, SigningKey, VerifyingKey,
    verify_against,
};

type Registry = Engine<MemoryLog, MemoryArtifacts>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn golden_key() -> SigningKey {
    SigningKey::from_pem(&std::fs::read_to_string(golden("made-up-key.pem")).unwrap()).unwrap()
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

fn prod() -> EnvironmentName {
    "fraud-prod".parse().unwrap()
}

/// Numbers the requests, so that every digest is the same each time.
fn by(number: u32) -> By {
    let mut by = By::new("ana@example.com".parse().unwrap());
    by.request_id = Some(format!("request-{number}").parse().unwrap());
    by
}

fn clocked() -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new("2026-03-01T09:00:00Z".parse::<Timestamp>().unwrap()));
    let artifacts = Arc::new(MemoryArtifacts::with_clock(clock.clone()));
    (Engine::new(Arc::new(MemoryLog::default()), artifacts).with_clock(clock.clone()), clock)
}

/// Two models, one of which was observed, and a rule for all: a log of every kind.
async fn filled() -> Registry {
    let (registry, clock) = clocked();
    let registration = || Registration::new(Version::new(1, 0, 0), Content::default());
    registry.register(&by(1), &model("fraud"), registration(), &[]).await.unwrap();
    registry.register(&by(2), &model("Zürich & co"), registration(), &[]).await.unwrap();
    let to = Stage::Staging;
    registry
        .promote(&by(3), &model("fraud"), &Version::new(1, 0, 0), to, PromoteOptions::default())
        .await
        .unwrap();
    registry
        .set_stage_rule(&by(4), &Scope::Registry, Stage::Archived, Some(StageRule::default()))
        .await
        .unwrap();
    let summary = Summary {
        version: Version::new(1, 0, 0),
        metric: "accuracy".parse().unwrap(),
        from: "2026-03-01T08:00:00Z".parse().unwrap(),
        until: "2026-03-01T08:01:00Z".parse().unwrap(),
        replica: None,
        observed: Observed::of([0.5]),
    };
    registry.report_health(&by(5), &model("fraud"), vec![summary]).await.unwrap();
    clock.advance(Duration::from_secs(60));
    registry
}

async fn signed() -> (Registry, SignedCheckpoint) {
    let registry = filled().await;
    let heads = LogHeads::of(&registry, &Covers::All, prod()).await.unwrap();
    (registry, SignedCheckpoint::sign(&heads, &golden_key()))
}

#[tokio::test]
async fn a_checkpoint_is_written_as_it_was_always_written() {
    let (registry, checkpoint) = signed().await;
    let file = golden("checkpoint.json");
    if std::env::var_os("REGENERATE_GOLDEN_CHECKPOINTS").is_some() {
        std::fs::write(&file, checkpoint.to_bytes()).unwrap();
    }
    assert_eq!(
        String::from_utf8(checkpoint.to_bytes()).unwrap(),
        std::fs::read_to_string(&file).unwrap(),
        "the same heads, the same instant and the same key give the same bytes"
    );
    let read = SignedCheckpoint::parse(&std::fs::read(&file).unwrap()).unwrap();
    let heads = read.verify_signature(&[golden_key().verifying_key()]).unwrap();
    assert_eq!(heads.registry(), &prod());
    assert_eq!(heads.made().to_string(), "2026-03-01T09:01:00.000000Z");
    let logs: Vec<String> =
        heads.logs().iter().map(|head| format!("{} {}", head.log, head.revision)).collect();
    assert_eq!(logs, ["health/fraud 1", "model/Zürich & co 1", "model/fraud 2", "registry 1"]);
    assert_eq!(heads.commits(), 5);
    assert!(verify_against(&registry, &heads, true).await.unwrap().is_sound());
}

#[tokio::test]
async fn openssl_verifies_one_by_hand() {
    use base64ct::{Base64, Encoding as _};
    let (_, checkpoint) = signed().await;
    let folder = tempfile::tempdir().unwrap();
    let written: serde_json::Value = serde_json::from_slice(&checkpoint.to_bytes()).unwrap();
    let decoded = |value: &serde_json::Value| Base64::decode_vec(value.as_str().unwrap()).unwrap();
    let (kind, payload) = (written["payloadType"].as_str().unwrap(), decoded(&written["payload"]));
    let mut encoded = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(&payload);
    let verifies = |encoded: &[u8]| {
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("signed", encoded);
        write("sig", &decoded(&written["signatures"][0]["sig"]));
        write("key.pub.pem", golden_key().verifying_key().to_pem().as_bytes());
        let words = [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key.pub.pem",
            "-rawin",
            "-in",
            "signed",
            "-sigfile",
            "sig",
        ];
        let ran = std::process::Command::new("openssl").args(words).current_dir(folder.path()).output();
        ran.ok().map(|output| output.status.success())
    };
    // Where OpenSSL is not installed there is nothing to compare with.
    assert_ne!(verifies(&encoded), Some(false));
    encoded.pop();
    assert_ne!(verifies(&encoded), Some(true));
}

#[tokio::test]
async fn a_log_that_grew_is_sound_and_its_next_checkpoint_reads_only_what_is_new() {
    let (registry, checkpoint) = signed().await;
    let heads = checkpoint.verify_signature(&[golden_key().verifying_key()]).unwrap();
    let registration = Registration::new(Version::new(2, 0, 0), Content::default());
    registry.register(&by(10), &model("fraud"), registration.clone(), &[]).await.unwrap();
    registry.register(&by(11), &model("new"), registration, &[]).await.unwrap();
    let held = verify_against(&registry, &heads, false).await.unwrap();
    assert!(held.is_sound());
    let grown: Vec<u64> = held.logs.iter().map(registry_signing::HeldLog::grown_by).collect();
    assert_eq!(grown, [0, 0, 1, 0]);
    let others: Vec<String> = held.others.iter().map(|other| other.log.to_string()).collect();
    assert_eq!(others, ["model/new"], "what began since is checked too");
    let one = LogHeads::of(&registry, &Covers::Log(Stream::Model(model("fraud"))), prod()).await.unwrap();
    assert!(verify_against(&registry, &one, false).await.unwrap().others.is_empty());
    let next = LogHeads::since(&registry, &heads).await.unwrap();
    let afresh = LogHeads::of(&registry, &Covers::All, prod()).await.unwrap();
    assert_eq!(next.logs(), afresh.logs());
    assert_eq!(next.logs().len(), 5);
}

#[tokio::test]
async fn nothing_is_said_of_a_log_that_is_damaged_or_gone() {
    let (registry, checkpoint) = signed().await;
    let stream = Stream::Model(model("fraud"));
    let (empty, _) = clocked();
    match LogHeads::since(&empty, checkpoint.claimed()).await {
        Err(Error::Unsound { problems, .. }) => {
            assert!(matches!(problems[..], [Problem::Gone { .. }]), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
    let error = LogHeads::of(&empty, &Covers::All, prod()).await.unwrap_err().to_string();
    assert!(error.contains("there is no commit yet"), "{error}");
    let error = LogHeads::of(&empty, &Covers::Log(stream.clone()), prod()).await.unwrap_err().to_string();
    assert!(error.contains("fraud"), "{error}");
    let held = verify_against(&empty, checkpoint.claimed(), false).await.unwrap();
    assert!(held.logs.iter().all(|log| matches!(log.verification.problems[..], [Problem::Gone { .. }])));
    let one = LogHeads::of(&registry, &Covers::Log(stream.clone()), prod()).await.unwrap();
    assert_eq!(one.logs().iter().map(|head| &head.log).collect::<Vec<_>>(), [&stream]);
}

#[tokio::test]
async fn only_the_key_that_was_handed_over_counts() {
    let (_, checkpoint) = signed().await;
    let stranger = SigningKey::generate(Algorithm::Ed25519).unwrap();
    let right = golden_key().verifying_key();
    // A stranger who signs another statement with a key of their own.
    let forged = SignedCheckpoint::sign(checkpoint.claimed(), &stranger);
    let error = forged.verify_signature(std::slice::from_ref(&right)).unwrap_err();
    assert!(matches!(&error, Error::OtherKey { given, .. } if given == &[right.id()]), "{error}");
    // The same, who gives it the id of the right key.
    let text = String::from_utf8(forged.to_bytes()).unwrap();
    let text = text.replace(&stranger.verifying_key().id().to_string(), &right.id().to_string());
    let named = SignedCheckpoint::parse(text.as_bytes()).unwrap();
    let error = named.verify_signature(std::slice::from_ref(&right)).unwrap_err();
    assert!(matches!(error, Error::WrongSignature { key } if key == right.id()), "{error}");
    assert!(checkpoint.verify_signature(&[]).is_err(), "with no key nothing is believed");
    let several: [VerifyingKey; 2] = [stranger.verifying_key(), right];
    assert!(checkpoint.verify_signature(&several).is_ok());
}

#[tokio::test]
async fn every_byte_that_is_exchanged_is_noticed() {
    let (_, checkpoint) = signed().await;
    let keys = [golden_key().verifying_key()];
    let whole = checkpoint.to_bytes();
    for place in 0..whole.len() - 1 {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        let Ok(read) = SignedCheckpoint::parse(&damaged) else { continue };
        let verified = read.verify_signature(&keys);
        // The id of the key is outside of what is signed. It may lead to no key; it cannot lead to another statement.
        assert!(verified.is_err() || verified.unwrap() == *checkpoint.claimed(), "byte {place}");
    }
}

#[tokio::test]
async fn what_is_no_checkpoint_is_refused() {
    use base64ct::{Base64, Encoding as _};
    let (_, checkpoint) = signed().await;
    let good: serde_json::Value = serde_json::from_slice(&checkpoint.to_bytes()).unwrap();
    let payload = String::from_utf8(Base64::decode_vec(good["payload"].as_str().unwrap()).unwrap()).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed.to_string()
    };
    let saying = |payload: &str| with("payload", Base64::encode_string(payload.as_bytes()).into());
    let signature = good["signatures"][0].clone();
    for (text, problem) in [
        ("{}".to_owned(), "is no signed checkpoint"),
        ("[".repeat(100_000), "is no signed checkpoint"),
        (with("more", 1.into()), "unknown field"),
        (with("payloadType", "application/vnd.in-toto+json".into()), "another kind"),
        (with("payload", "*".into()), "not Base64"),
        (with("signatures", serde_json::json!([])), "0 signatures"),
        (with("signatures", vec![signature; 17].into()), "17 signatures"),
        (saying("{}"), "cannot be read"),
        (saying(&payload.replacen("\"format\":1", "\"format\":2", 1)), "upgrade"),
        (saying(&payload.replacen("\"commits\":5", "\"commits\":6", 1)), "not written as a checkpoint is"),
        (saying(&payload.replacen("\"commits\":5", "\"commits\": 5", 1)), "not written as a checkpoint is"),
        (saying(&payload.replacen("health/fraud", "model/zzz", 1)), "order of their names"),
        (saying(&payload.replacen("\"all\"", "\"model/fraud\"", 1)), "speaks of other logs"),
        (saying(&payload.replacen("\"all\"", "\"everything\"", 1)), "expected `model/<name>`"),
        (saying(&payload.replacen("\"revision\":1", "\"revision\":0", 1)), "cannot be read"),
    ] {
        let error = SignedCheckpoint::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let error = SignedCheckpoint::parse(&vec![b' '; CHECKPOINT_BYTES_MAX + 1]).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}
