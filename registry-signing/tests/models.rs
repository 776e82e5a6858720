//! Model signatures: what is signed, what is found, and what is refused.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use p256::ecdsa::signature::Signer as _;
use pkcs8::DecodePrivateKey as _;
use proptest::prelude::*;
use registry_core::gate::SIGNATURE_FILE;
use registry_core::{
    Artifact, ArtifactPath, By, Content, Digest, Engine, Found, Manifest, MemoryArtifacts, MemoryLog,
    ModelName, Registration, RegistryExt as _, Selector, Upload, Version, in_memory,
};
use registry_signing::{
    Algorithm, Error, MODEL_SIGNATURE_BYTES_MAX, ModelSignature, SignatureProblem, SigningKey, Unsupported,
    VersionSignature, sign_files, signature_in, verify_version,
};
use serde_json::{Value, json};

const OF_MODELS: [Algorithm; 3] = [Algorithm::P256, Algorithm::P384, Algorithm::P521];

type Registry = Engine<MemoryLog, MemoryArtifacts>;
type Files = BTreeMap<String, Vec<u8>>;

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn files(named: &[(&str, &str)]) -> Files {
    named.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn ours() -> Files {
    files(&[
        ("model.bin", "the weights"),
        ("tokenizer/vocab.txt", "a b c"),
        ("tokenizer/empty", ""),
        ("模型", "x"),
    ])
}

fn manifest(files: &Files) -> Manifest {
    let artifact = |(name, bytes): (&String, &Vec<u8>)| Artifact {
        path: name.parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    Manifest::new(files.iter().map(artifact).collect()).unwrap()
}

async fn registered(files: &Files) -> (Registry, Found) {
    let registry = in_memory();
    let by = By::new("ana".parse().unwrap());
    let bytes: Vec<(ArtifactPath, Bytes)> =
        files.iter().map(|(name, bytes)| (name.parse().unwrap(), bytes.clone().into())).collect();
    let uploads: Vec<Upload<'_>> =
        bytes.iter().map(|(path, source)| Upload { path: path.clone(), source }).collect();
    let registration = Registration::new(Version::new(1, 0, 0), Content::default());
    registry.register(&by, &fraud(), registration, &uploads).await.unwrap();
    let found = registry.get(&fraud(), &Selector::Newest).await.unwrap();
    (registry, found)
}

async fn verified(
    files: &Files,
    signature: &ModelSignature,
    key: &SigningKey,
) -> Result<VersionSignature, Error> {
    let (registry, found) = registered(files).await;
    verify_version(&registry, found.state(), signature, &[key.verifying_key()]).await
}

#[tokio::test]
async fn what_was_signed_verifies_with_every_kind_of_key_and_lies_among_its_own_files() {
    for algorithm in OF_MODELS {
        let key = SigningKey::generate(algorithm).unwrap();
        let mut files = ours();
        let signature = sign_files(&fraud(), &manifest(&files), &key).unwrap();
        assert_eq!(ModelSignature::parse(&signature.to_bytes()).unwrap(), signature);
        assert_eq!(sign_files(&fraud(), &manifest(&files), &key).unwrap(), signature, "the same each time");
        files.insert(SIGNATURE_FILE.to_owned(), signature.to_bytes());
        let (registry, found) = registered(&files).await;
        let inside = signature_in(&registry, found.state()).await.unwrap();
        assert_eq!(inside, signature);
        let done = verify_version(&registry, found.state(), &inside, &[key.verifying_key()]).await.unwrap();
        assert!(done.is_sound(), "{algorithm}: {:?}", done.problems);
        let signature_file: ArtifactPath = SIGNATURE_FILE.parse().unwrap();
        assert_eq!((done.files, done.bytes, done.uncovered), (4, 17, vec![signature_file]));
        assert_eq!(done.key, key.verifying_key().id());
    }
}

/// What is left out is the signature itself, not a folder of its name.
#[tokio::test]
async fn nothing_hides_below_the_name_of_the_signature() {
    let key = SigningKey::generate(Algorithm::P256).unwrap();
    let signature = sign_files(&fraud(), &manifest(&ours()), &key).unwrap();
    let mut more = ours();
    let hidden = format!("{SIGNATURE_FILE}/code.pkl");
    more.insert(hidden.clone(), b"code".to_vec());
    let done = verified(&more, &signature, &key).await.unwrap();
    assert_eq!(done.problems, [SignatureProblem::Added { path: hidden.parse().unwrap() }]);
    let signature = sign_files(&fraud(), &manifest(&more), &key).unwrap();
    let done = verified(&more, &signature, &key).await.unwrap();
    assert!(done.is_sound() && done.uncovered.is_empty(), "{:?}", done.problems);
}

/// What somebody else wrote is told on one line, and not at any length.
#[test]
fn errors_repeat_little_of_what_they_read() {
    let kind = format!("x\nfraud v1: as it was signed\n{}", "y".repeat(100_000));
    let bundle = json!({ "mediaType": kind, "verificationMaterial": {} }).to_string();
    let error = ModelSignature::parse(bundle.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn bytes_that_were_damaged_later_are_found_by_reading_them() {
    let key = SigningKey::generate(Algorithm::P256).unwrap();
    let signature = sign_files(&fraud(), &manifest(&ours()), &key).unwrap();
    let artifacts = std::sync::Arc::new(MemoryArtifacts::default());
    let registry = Engine::new(std::sync::Arc::new(MemoryLog::default()), artifacts.clone());
    let by = By::new("ana".parse().unwrap());
    let files = manifest(&ours());
    for (name, bytes) in ours() {
        registry.upload(&name.parse().unwrap(), &Bytes::from(bytes), &|_| {}).await.unwrap();
    }
    let content = Content { artifacts: files, ..Content::default() };
    registry.register(&by, &fraud(), Registration::new(Version::new(1, 0, 0), content), &[]).await.unwrap();
    artifacts.damage(&Digest::of(b"the weights"), Some(Bytes::from_static(b"the weightz")));
    let found = registry.get(&fraud(), &Selector::Newest).await.unwrap();
    let done = verify_version(&registry, found.state(), &signature, &[key.verifying_key()]).await.unwrap();
    assert!(
        matches!(&done.problems[..], [SignatureProblem::Bytes { path, .. }] if path.as_str() == "model.bin"),
        "{:?}",
        done.problems
    );
}

#[tokio::test]
async fn only_the_key_that_was_handed_over_counts() {
    let (key, stranger) =
        (SigningKey::generate(Algorithm::P256).unwrap(), SigningKey::generate(Algorithm::P256).unwrap());
    let forged = sign_files(&fraud(), &manifest(&ours()), &stranger).unwrap();
    let error = verified(&ours(), &forged, &key).await.unwrap_err();
    assert!(matches!(error, Error::OtherKey { named: Some(_), .. }), "{error}");
    // With the id of the right key in its hint.
    let mut bundle: Value = serde_json::from_slice(&forged.to_bytes()).unwrap();
    bundle["verificationMaterial"]["publicKey"]["hint"] = key.verifying_key().id().to_string().into();
    let named = ModelSignature::parse(bundle.to_string().as_bytes()).unwrap();
    assert_eq!(named.claimed_key(), Some(key.verifying_key().id()));
    let error = verified(&ours(), &named, &key).await.unwrap_err();
    assert!(matches!(error, Error::WrongSignature { .. }), "{error}");
    let ed25519 = SigningKey::generate(Algorithm::Ed25519).unwrap();
    for error in [
        sign_files(&fraud(), &manifest(&ours()), &ed25519).unwrap_err(),
        verified(&ours(), &forged, &ed25519).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("expected P-256, P-384 or P-521"), "{error}");
    }
    let nothing = sign_files(&fraud(), &manifest(&files(&[("model.sig", "x")])), &key).unwrap_err();
    assert!(nothing.to_string().contains("no files to sign"), "{nothing}");
}

/// A signature over a statement that this library would not write.
fn over(key: &SigningKey, statement: &Value) -> Vec<u8> {
    let secret = p256::ecdsa::SigningKey::from_pkcs8_pem(&key.to_pem().unwrap()).unwrap();
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature: p256::ecdsa::Signature = secret.sign(signed.as_bytes());
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": key.verifying_key().id().to_string()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": Base64::encode_string(payload.as_bytes()),
            "payloadType": kind,
            "signatures": [{"sig": Base64::encode_string(signature.to_der().as_bytes()), "keyid": ""}],
        },
    })
    .to_string()
    .into_bytes()
}

/// A statement about some names, all of which have the digest of "x", with the subject that fits.
fn about(names: &[&str], serialization: Value) -> Value {
    let algorithm = match serialization["shard_size"].as_f64() {
        Some(size) => format!("sha256-sharded-{size}"),
        None => "sha256".to_owned(),
    };
    let digest = Digest::of(b"x");
    let root = Digest::of(&digest.as_bytes().repeat(names.len()));
    let resource = |name: &&str| json!({"name": name, "algorithm": algorithm, "digest": digest.hex()});
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root.hex()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": serialization,
            "resources": names.iter().map(resource).collect::<Vec<_>>(),
        },
    })
}

fn by_files() -> Value {
    json!({"method": "files", "hash_type": "sha256", "allow_symlinks": false})
}

fn by_shards(size: f64) -> Value {
    json!({"method": "shards", "hash_type": "sha256", "shard_size": size, "allow_symlinks": false})
}

async fn verified_statement(files: &Files, statement: &Value) -> Result<VersionSignature, Error> {
    let key = SigningKey::generate(Algorithm::P256).unwrap();
    let signature = ModelSignature::parse(&over(&key, statement))?;
    verified(files, &signature, &key).await
}

#[tokio::test]
async fn statements_that_say_more_or_take_shards_are_believed() {
    let x = files(&[("a/b", "x"), ("c", "x")]);
    let mut statement = about(&["a/b", "c"], by_files());
    statement["predicate"]["card"] = json!({"said": "by others"});
    statement["predicate"]["resources"][0]["size"] = 1.into();
    assert!(verified_statement(&x, &statement).await.unwrap().is_sound());

    let sharded = files(&[("a/b", "xx"), ("c", "x"), ("empty", "")]);
    let statement = about(&["a/b:0:1", "a/b:1:2", "c:0:1"], by_shards(1.0));
    let done = verified_statement(&sharded, &statement).await.unwrap();
    assert!(done.is_sound(), "{:?}", done.problems);
    assert_eq!(done.uncovered, ["empty".parse().unwrap()], "shards say nothing of a file without bytes");
    for other in [
        files(&[("a/b", "xy"), ("c", "x")]),
        files(&[("a/b", "xxx"), ("c", "x")]),
        files(&[("a/b", "x"), ("c", "x")]),
        files(&[("a/b", "xx")]),
        files(&[("a/b", "xx"), ("c", "x"), ("d", "x")]),
    ] {
        assert!(!verified_statement(&other, &statement).await.unwrap().is_sound(), "{other:?}");
    }

    let mut ignoring = by_files();
    ignoring["ignore_paths"] = json!([".git", "docs/"]);
    let statement = about(&["c"], ignoring);
    let with = files(&[("c", "x"), (".git/head", "1"), ("docs/a/b", "2")]);
    assert!(verified_statement(&with, &statement).await.unwrap().is_sound());
    let beside = files(&[("c", "x"), (".gitignore", "1")]);
    let problems = verified_statement(&beside, &statement).await.unwrap().problems;
    assert_eq!(problems, [SignatureProblem::Added { path: ".gitignore".parse().unwrap() }]);
    // A file that has the place of a signature, but was signed like any other.
    let statement = about(&["c", "model.sig"], by_files());
    assert!(
        verified_statement(&files(&[("c", "x"), ("model.sig", "x")]), &statement).await.unwrap().is_sound()
    );
    assert!(
        !verified_statement(&files(&[("c", "x"), ("model.sig", "y")]), &statement).await.unwrap().is_sound()
    );
}

#[tokio::test]
async fn statements_of_hostile_signers_are_refused() {
    let x = files(&[("c", "x")]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut statement = about(&["c"], by_files());
        change(&mut statement);
        statement
    };
    let ignoring = |path: &str| {
        let mut serialization = by_files();
        serialization["ignore_paths"] = json!([path]);
        about(&["c"], serialization)
    };
    for (statement, problem) in [
        (about(&["../c"], by_files()), "must not contain"),
        (about(&["/c"], by_files()), "must be relative"),
        (about(&["c", "c"], by_files()), "is named twice"),
        (about(&["."], by_files()), "must not contain"),
        (about(&["c:0:1", "c:0:1"], by_shards(1.0)), "must follow each other"),
        (about(&["c:1:2"], by_shards(1.0)), "must follow each other"),
        (about(&["c:0:2", "c:2:3"], by_shards(1.0)), "must follow each other"),
        (about(&["c:0:1", "c:1:2"], by_shards(2.0)), "must follow each other"),
        (about(&["c:1:0"], by_shards(1.0)), "must follow each other"),
        (about(&["c:0"], by_shards(1.0)), "expected a shard"),
        (about(&["c:0:1:2"], by_shards(1.0)), "expected a shard"),
        (about(&["c:0:99999999999999999999"], by_shards(1.0)), "expected a shard"),
        (about(&["c:0:1"], by_shards(0.0)), "whole number"),
        (about(&["c:0:1"], by_shards(0.5)), "whole number"),
        (about(&["c:0:1"], by_shards(1e300)), "whole number"),
        (ignoring("."), "must not contain"),
        (ignoring(""), "is empty"),
        (ignoring("../x"), "must not contain"),
        (changed(&|s| s["_type"] = json!("https://in-toto.io/Statement/v0.1")), "statement type"),
        (changed(&|s| s["predicateType"] = json!("https://model_signing/Digests/v0.1")), "predicate type"),
        (changed(&|s| s["predicateType"] = json!("https://slsa.dev/provenance/v1")), "predicate type"),
        (changed(&|s| s["subject"] = json!([])), "0 subjects"),
        (changed(&|s| s["subject"][0]["digest"] = json!({"sha256": "00"})), "its subject says another"),
        (changed(&|s| s["predicate"]["serialization"]["hash_type"] = json!("blake2b")), "`blake2b`"),
        (changed(&|s| s["predicate"]["serialization"]["method"] = json!("tensors")), "`tensors`"),
        (changed(&|s| s["predicate"]["serialization"]["method"] = json!("shards")), "size is not given"),
        (changed(&|s| s["predicate"]["resources"][0]["algorithm"] = json!("sha1")), "`sha1`"),
        (changed(&|s| s["predicate"]["resources"][0]["digest"] = json!("00")), "64 lower-case"),
        (json!({"_type": 1}), "cannot be read"),
    ] {
        let error = verified_statement(&x, &statement).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn bundles_of_other_kinds_are_named() {
    let key = SigningKey::generate(Algorithm::P256).unwrap();
    let good: Value = serde_json::from_slice(&over(&key, &about(&["c"], by_files()))).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        ModelSignature::parse(bundle.to_string().as_bytes()).unwrap_err()
    };
    let certificate = json!({"certificate": {"rawBytes": ""}, "tlogEntries": []});
    let chain = json!({"x509CertificateChain": {"certificates": []}, "tlogEntries": []});
    let keyless = json!({"certificate": {"rawBytes": ""}, "tlogEntries": [{}]});
    for (error, expected) in [
        (refused(&|b| b["verificationMaterial"] = certificate.clone()), Unsupported::Certificate),
        (refused(&|b| b["verificationMaterial"] = chain.clone()), Unsupported::Certificate),
        (refused(&|b| b["verificationMaterial"] = keyless.clone()), Unsupported::Keyless),
        (
            refused(&|b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1")),
            Unsupported::MediaType("application/vnd.dev.sigstore.bundle+json;version=0.1".to_owned()),
        ),
        (
            refused(&|b| {
                b["messageSignature"] = b.as_object_mut().unwrap().remove("dsseEnvelope").unwrap();
            }),
            Unsupported::MessageSignature,
        ),
    ] {
        match error {
            Error::Unsupported(found) => assert_eq!(found, expected),
            other => panic!("{other}"),
        }
    }
    for (error, problem) in [
        (refused(&|b| b["more"] = json!(1)), "unknown field"),
        (refused(&|b| b["verificationMaterial"] = json!({"tlogEntries": []})), "names no key"),
        (refused(&|b| b["verificationMaterial"]["publicKey"]["hint"] = json!("x")), "key id"),
        (refused(&|b| b["dsseEnvelope"]["signatures"] = json!([])), "exactly one"),
        (refused(&|b| b["dsseEnvelope"]["more"] = json!(1)), "unknown field"),
        (ModelSignature::parse(b"").unwrap_err(), "is no signature bundle"),
        (ModelSignature::parse("[".repeat(100_000).as_bytes()).unwrap_err(), "is no signature bundle"),
        (
            ModelSignature::parse(&vec![b' '; usize::try_from(MODEL_SIGNATURE_BYTES_MAX).unwrap() + 1])
                .unwrap_err(),
            "is larger than",
        ),
    ] {
        assert!(error.to_string().contains(problem), "{problem}: {error}");
    }
    // An envelope that names no key at all is as good as one that names none in words.
    for keyid in [None, Some(Value::Null)] {
        let mut unnamed = good.clone();
        let signature = unnamed["dsseEnvelope"]["signatures"][0].as_object_mut().unwrap();
        signature.remove("keyid");
        signature.extend(keyid.map(|keyid| ("keyid".to_owned(), keyid)));
        let signature = ModelSignature::parse(unnamed.to_string().as_bytes()).unwrap();
        assert!(signature.verify_signature(&[key.verifying_key()]).is_ok());
    }
    // Signatures of old releases have no hint.
    let mut old = good.clone();
    old["verificationMaterial"]["publicKey"] = json!({});
    assert_eq!(ModelSignature::parse(old.to_string().as_bytes()).unwrap().claimed_key(), None);
}

fn some_files() -> impl Strategy<Value = Files> {
    prop::collection::btree_map(
        "[a-c]{1,2}(/[d-f]{1,2}){0,2}",
        prop::collection::vec(any::<u8>(), 0..4),
        1..6,
    )
    .prop_filter("a file is no folder", |files| {
        let artifact =
            |name: &String| Artifact { path: name.parse().unwrap(), digest: Digest::of(b""), size: 0 };
        Manifest::new(files.keys().map(artifact).collect()).is_ok()
    })
}

proptest! {
    /// Whatever two sets of files differ in, a signature over the one is none over the other.
    #[test]
    fn a_signature_fits_the_files_it_was_made_over_and_no_others(one in some_files(), other in some_files()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let key = SigningKey::generate(Algorithm::P256).unwrap();
        let signature = sign_files(&fraud(), &manifest(&one), &key).unwrap();
        let same = runtime.block_on(verified(&one, &signature, &key)).unwrap();
        prop_assert!(same.is_sound());
        let found = runtime.block_on(verified(&other, &signature, &key)).unwrap();
        prop_assert_eq!(found.is_sound(), one == other);
        let named: BTreeSet<String> = found.problems.iter().map(ToString::to_string).collect();
        let (names, others): (BTreeSet<_>, BTreeSet<_>) = (one.keys().collect(), other.keys().collect());
        let altered = names.intersection(&others).filter(|name| one[**name] != other[**name]).count();
        prop_assert_eq!(named.len(), altered + names.symmetric_difference(&others).count());
    }
}
