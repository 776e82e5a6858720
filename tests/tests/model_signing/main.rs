//! Signatures of models, between here and the Python package of OpenSSF, `model-signing`: what one signs the other
//! verifies, and what was altered both refuse. The Python is that of the MLflow servers; `cargo xtask test` installs the
//! package beside them.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use registry_core::{
    By, Content, Found, ModelName, Registration, RegistryExt as _, Selector, Upload, Version,
};
use registry_files::FileSource;
use registry_signing::{
    Algorithm, Error, ModelSignature, SignedParts, SigningKey, VersionSignature, sign_files, verify_version,
};
use serde_json::{Value, json};

const SIGNER: &str = include_str!("signer.py");

const ALGORITHMS: [Algorithm; 3] = [Algorithm::P256, Algorithm::P384, Algorithm::P521];

type Files = BTreeMap<&'static str, &'static str>;

/// Nested folders, another script, a name that sorts otherwise as text than as folders, and a file without bytes.
fn files() -> Files {
    Files::from([
        ("config.json", "{}"),
        ("model.bin", "the weights, of which there are enough for several shards"),
        ("a/b/c/deep.txt", "deep"),
        ("a-b/first.txt", "a name that sorts before a/b as text, and behind it as folders"),
        ("a.txt", "dots"),
        ("模型/größe 1.bin", "other scripts"),
        ("empty", ""),
    ])
}

/// Every way to alter them.
fn altered() -> [(&'static str, Files); 4] {
    let (mut altered, mut added, mut removed, mut renamed) = (files(), files(), files(), files());
    altered.insert("model.bin", "the weights, of which there are enough for several sharks");
    added.insert("a/more.txt", "more");
    removed.remove("a/b/c/deep.txt");
    let bytes = renamed.remove("a.txt").unwrap();
    renamed.insert("b.txt", bytes);
    [("altered", altered), ("added", added), ("removed", removed), ("renamed", renamed)]
}

/// Which curve signs has nothing to do with how files are compared, so the Python, which takes long to start, is asked
/// about every alteration for one curve.
fn is_asked_about_all(algorithm: Algorithm) -> bool {
    algorithm == Algorithm::P256
}

fn python() -> Command {
    let python = std::env::var("REGISTRY_TEST_MLFLOW_3_PYTHON")
        .unwrap_or_else(|_| panic!("no REGISTRY_TEST_MLFLOW_3_PYTHON: `cargo xtask test` sets it"));
    Command::new(python)
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct World {
    folder: tempfile::TempDir,
    key: SigningKey,
}

impl World {
    fn new(algorithm: Algorithm) -> World {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(algorithm).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.to_pem().unwrap()).unwrap();
        std::fs::write(folder.path().join("key.pub.pem"), key.verifying_key().to_pem()).unwrap();
        World { folder, key }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder with these files.
    fn folder(&self, name: &str, files: &Files) -> PathBuf {
        let folder = self.at(name);
        for (path, text) in files {
            let file = folder.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        folder
    }

    fn signature(&self, name: &str) -> ModelSignature {
        ModelSignature::parse(&std::fs::read(self.at(name)).unwrap()).unwrap()
    }

    /// What the command line of the Python package says of a folder.
    fn verified_there(&self, folder: &Path, signature: &Path) -> Output {
        let mut command = python();
        command.args(["-m", "model_signing", "verify", "key"]).arg(folder).arg("--signature").arg(signature);
        command.arg("--public_key").arg(self.at("key.pub.pem")).output().unwrap()
    }

    /// Signs or verifies by the programming interface of the Python package.
    fn asked(&self, folder: &Path, signature: &str, mut more: Value) -> Output {
        more["folder"] = folder.to_str().unwrap().into();
        more["signature"] = self.at(signature).to_str().unwrap().into();
        python().args(["-c", SIGNER, &more.to_string()]).output().unwrap()
    }

    fn sign_there(&self, folder: &Path, signature: &str, mut more: Value) {
        more["private_key"] = self.at("key.pem").to_str().unwrap().into();
        let output = self.asked(folder, signature, more);
        assert!(output.status.success(), "{}", told(&output));
    }

    /// What is said here of a folder, registered as it lies there.
    async fn verified_here(
        &self,
        folder: &Path,
        signature: &ModelSignature,
    ) -> Result<VersionSignature, Error> {
        let (registry, found) = registered(folder).await;
        verify_version(&registry, found.state(), signature, &[self.key.verifying_key()]).await
    }
}

type Registry = registry_core::Engine<registry_core::MemoryLog, registry_core::MemoryArtifacts>;

async fn registered(folder: &Path) -> (Registry, Found) {
    let registry = registry_core::in_memory();
    let model: ModelName = "fraud".parse().unwrap();
    let sources: Vec<_> = registry_files::scan(folder)
        .unwrap()
        .into_iter()
        .map(|file| (file.path, FileSource::open(&file.file).unwrap()))
        .collect();
    let uploads: Vec<Upload<'_>> =
        sources.iter().map(|(path, source)| Upload { path: path.clone(), source }).collect();
    let registration = Registration::new(Version::new(1, 0, 0), Content::default());
    registry.register(&By::new("ana".parse().unwrap()), &model, registration, &uploads).await.unwrap();
    let found = registry.get(&model, &Selector::Newest).await.unwrap();
    (registry, found)
}

#[tokio::test]
async fn what_is_signed_here_is_verified_there() {
    for algorithm in ALGORITHMS {
        let world = World::new(algorithm);
        let folder = world.folder("model", &files());
        let (_, found) = registered(&folder).await;
        let signature = sign_files(&found.model, &found.content.artifacts, &world.key).unwrap();
        let file = folder.join("model.sig");
        std::fs::write(&file, signature.to_bytes()).unwrap();
        let output = world.verified_there(&folder, &file);
        assert!(output.status.success(), "{algorithm}: {}", told(&output));
        assert!(world.verified_here(&folder, &signature).await.unwrap().is_sound());
        for (name, altered) in altered() {
            let folder = world.folder(name, &altered);
            let file = folder.join("model.sig");
            std::fs::write(&file, signature.to_bytes()).unwrap();
            if is_asked_about_all(algorithm) {
                let output = world.verified_there(&folder, &file);
                let told = told(&output);
                assert!(!output.status.success() && told.contains("Signature mismatch"), "{name}: {told}");
            }
            assert!(!world.verified_here(&folder, &signature).await.unwrap().is_sound(), "{name}");
        }
        // With another key.
        let other = World::new(algorithm);
        let output = other.verified_there(&folder, &file);
        assert!(!output.status.success() && told(&output).contains("Key mismatch"), "{}", told(&output));
    }
}

#[tokio::test]
async fn what_is_signed_there_is_verified_here() {
    for algorithm in ALGORITHMS {
        let world = World::new(algorithm);
        let folder = world.folder("model", &files());
        for (signature, more) in [("files.sig", json!({})), ("shards.sig", json!({"shard_size": 16}))] {
            world.sign_there(&folder, signature, more.clone());
            let theirs = world.signature(signature);
            let done = world.verified_here(&folder, &theirs).await.unwrap();
            assert!(done.is_sound(), "{algorithm} {signature}: {:?}", done.problems);
            let uncovered: Vec<&str> = done.uncovered.iter().map(|path| path.as_str()).collect();
            match signature {
                "files.sig" => assert_eq!(uncovered, [""; 0]),
                _ => assert_eq!(uncovered, ["empty"], "shards say nothing of a file without bytes"),
            }
            for (name, altered) in altered() {
                let folder = world.folder(&format!("{name} for {signature}"), &altered);
                if is_asked_about_all(algorithm) {
                    let mut more = more.clone();
                    more["public_key"] = world.at("key.pub.pem").to_str().unwrap().into();
                    let output = world.asked(&folder, signature, more);
                    let told = told(&output);
                    assert!(
                        output.status.code() == Some(1) && told.contains("Signature mismatch"),
                        "{name}: {told}"
                    );
                }
                assert!(
                    !world.verified_here(&folder, &theirs).await.unwrap().is_sound(),
                    "{signature} {name}"
                );
            }
        }
        // The same files give the same digest over all, so documents that name a model by it agree.
        let (_, found) = registered(&folder).await;
        let ours = sign_files(&found.model, &found.content.artifacts, &world.key).unwrap();
        let keys = [world.key.verifying_key()];
        let (theirs, _) = world.signature("files.sig").verify_signature(&keys).unwrap();
        let (ours, _) = ours.verify_signature(&keys).unwrap();
        assert_eq!(theirs.subject(), ours.subject());
        assert_eq!(theirs.parts(), ours.parts());
        let (sharded, _) = world.signature("shards.sig").verify_signature(&keys).unwrap();
        assert!(matches!(sharded.parts(), SignedParts::Shards { size, .. } if size.get() == 16));
    }
}

#[tokio::test]
async fn paths_that_were_ignored_there_are_ignored_here() {
    let world = World::new(Algorithm::P256);
    let mut with_more = files();
    with_more.insert("notes/draft.md", "a draft");
    with_more.insert(".gitattributes", "* text");
    let folder = world.folder("model", &with_more);
    world.sign_there(&folder, "some.sig", json!({"ignored": ["notes"], "ignore_git": true}));
    let signature = world.signature("some.sig");
    let done = world.verified_here(&folder, &signature).await.unwrap();
    assert!(done.is_sound(), "{:?}", done.problems);
    let uncovered: Vec<&str> = done.uncovered.iter().map(|path| path.as_str()).collect();
    assert_eq!(uncovered, [".gitattributes", "notes/draft.md"]);
    with_more.insert("notes.md", "beside what is ignored");
    let folder = world.folder("more", &with_more);
    assert!(!world.verified_here(&folder, &signature).await.unwrap().is_sound());
}

#[tokio::test]
async fn the_command_line_there_signs_with_a_key_that_was_made_here() {
    let world = World::new(Algorithm::P256);
    let folder = world.folder("model", &files());
    let file = folder.join("model.sig");
    let mut command = python();
    command.args(["-m", "model_signing", "sign", "key"]).arg(&folder).arg("--signature").arg(&file);
    let output = command.arg("--private_key").arg(world.at("key.pem")).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let done = world.verified_here(&folder, &world.signature("model/model.sig")).await.unwrap();
    assert!(done.is_sound(), "{:?}", done.problems);
}
