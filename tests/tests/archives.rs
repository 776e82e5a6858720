//! Archives: out of one kind of storage into another and out again, and what becomes of files that are no good.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::{
    By, Digest, Engine, Error, MemoryArtifacts, MemoryLog, ModelName, PromoteOptions, Registry,
    RegistryExt as _, Rejection, Scope, Stage, Stream, VerifyOptions, Version,
};
use registry_files::{Archived, export_archive, import_archive};
use registry_tests::mortal::{Life, Mortal};

const BACKENDS: [&str; 3] = ["memory", "sqlite", "folder"];

async fn open(backend: &str, folder: &Path, name: &str) -> Arc<dyn Registry> {
    let place = folder.join(name);
    match backend {
        "memory" => Arc::new(registry_core::in_memory()),
        "sqlite" => registry_tests::open(&format!("sqlite:{}", place.display())).await.unwrap(),
        _ => registry_tests::open(&format!("file://{}", place.display())).await.unwrap(),
    }
}

fn by() -> By {
    By::new("ada".parse().unwrap())
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

/// Two models, one with a deleted version, and a rule for all models.
async fn filled(registry: &dyn Registry) {
    for (name, versions) in [("fraud", 3), ("Zürich & co", 1)] {
        for minor in 0..versions {
            let version = Version::new(1, minor, 0);
            registry_tests::register(registry, &by(), &model(name), &version).await.unwrap();
        }
    }
    registry_tests::into_production(registry, &by(), &model("fraud"), &Version::new(1, 0, 0)).await.unwrap();
    registry.delete(&by(), &model("fraud"), &Version::new(1, 1, 0)).await.unwrap();
    let rule =
        registry_core::PolicyChange::StageRule { stage: Stage::Archived, rule: Some(Default::default()) };
    registry.change_policy(&by(), &Scope::Registry, rule).await.unwrap();
}

async fn export(registry: &dyn Registry, file: &Path) -> Archived {
    export_archive(registry, None, file, &|_| {}).await.unwrap()
}

async fn import(registry: &dyn Registry, file: &Path) -> Result<Archived, Error> {
    import_archive(registry, file, &|_| {}).await
}

async fn is_empty(registry: &dyn Registry) -> bool {
    let models = registry.models(None, 10).await.unwrap();
    let rules = registry.log(Stream::Registry, registry_core::Revision::FIRST, 1).await.unwrap();
    models.is_empty() && rules.is_empty() && registry.artifacts().list(None, 10).await.unwrap().is_empty()
}

#[tokio::test]
async fn between_all_kinds_of_storage_everything_comes_back_as_it_was() {
    for source in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let here = open(source, folder.path(), "here").await;
        filled(here.as_ref()).await;
        let first = folder.path().join("first.tar");
        let done = export(here.as_ref(), &first).await;
        assert_eq!((done.streams, done.records, done.blobs), (3, 8, 4));
        for target in BACKENDS {
            let context = format!("from {source} to {target}");
            let there = open(target, folder.path(), &format!("there-{target}")).await;
            let done = import(there.as_ref(), &first).await.unwrap();
            assert_eq!((done.records_written, done.bytes_written), (8, done.bytes), "{context}");
            for name in ["fraud", "Zürich & co"] {
                let (one, other) =
                    (here.model(&model(name)).await.unwrap(), there.model(&model(name)).await.unwrap());
                assert_eq!(one, other, "{context}");
                let options = VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() };
                assert!(there.verify(&model(name), options).await.unwrap().is_sound(), "{context}");
            }
            let again = folder.path().join(format!("again-{target}.tar"));
            export(there.as_ref(), &again).await;
            assert!(std::fs::read(&first).unwrap() == std::fs::read(&again).unwrap(), "{context}");
            let done = import(there.as_ref(), &first).await.unwrap();
            assert_eq!((done.records_written, done.bytes_written), (0, 0), "{context}");
            // It is a registry to go on with.
            registry_tests::register(there.as_ref(), &by(), &model("fraud"), &Version::new(2, 0, 0))
                .await
                .unwrap();
            import(there.as_ref(), &first).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_part_of_the_history_is_completed_and_another_history_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there, other) =
        (registry_core::in_memory(), registry_core::in_memory(), registry_core::in_memory());
    filled(&here).await;
    let (old, new) = (folder.path().join("old.tar"), folder.path().join("new.tar"));
    export(&here, &old).await;
    here.promote(&by(), &model("fraud"), &Version::new(1, 2, 0), Stage::Staging, PromoteOptions::default())
        .await
        .unwrap();
    registry_tests::register(&here, &by(), &model("new"), &Version::new(1, 0, 0)).await.unwrap();
    export(&here, &new).await;
    import(&there, &old).await.unwrap();
    let done = import(&there, &new).await.unwrap();
    assert_eq!(done.records_written, 2);
    assert_eq!(there.model(&model("fraud")).await.unwrap(), here.model(&model("fraud")).await.unwrap());

    registry_tests::register(&other, &by(), &model("fraud"), &Version::new(1, 0, 0)).await.unwrap();
    let before = other.model(&model("fraud")).await.unwrap();
    let refused = import(&other, &new).await.unwrap_err();
    assert!(matches!(refused, Error::Rejected(Rejection::OtherHistory { .. })), "{refused}");
    assert_eq!(other.model(&model("fraud")).await.unwrap(), before);
    assert_eq!(other.models(None, 10).await.unwrap(), [model("fraud")]);
    assert_eq!(other.artifacts().list(None, 10).await.unwrap().len(), 1);
}

/// An import that breaks off anywhere leaves whole versions or none, and the same archive completes it.
#[tokio::test]
async fn cut_off_anywhere_and_asked_again_it_is_as_if_nothing_had_happened() {
    const STEPS_MAX: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let here = registry_core::in_memory();
    filled(&here).await;
    let file = folder.path().join("all.tar");
    export(&here, &file).await;
    let good = std::fs::read(&file).unwrap();
    for target in BACKENDS {
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "it takes no end of steps");
            let context = format!("into {target}, cut off after {steps} steps");
            let there = open(target, folder.path(), &format!("{target}-{steps}")).await;
            let done = import(&Mortal::new(&there, &Life::of(steps)), &file).await;
            if done.is_ok() {
                assert!(20 < steps, "into {target} it was cut off only {steps} times");
                break;
            }
            for name in there.models(None, 10).await.unwrap() {
                let options = VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() };
                let found = there.verify(&name, options).await.unwrap();
                assert!(found.is_sound(), "{context}: {:?}", found.problems);
            }
            import(there.as_ref(), &file).await.unwrap();
            let again = folder.path().join(format!("again-{target}-{steps}.tar"));
            export(there.as_ref(), &again).await;
            assert!(good == std::fs::read(&again).unwrap(), "{context}");
        }
    }
}

#[tokio::test]
async fn one_model_goes_alone_and_what_is_not_there_or_damaged_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (registry_core::in_memory(), registry_core::in_memory());
    filled(&here).await;
    let file = folder.path().join("one.tar");
    let missing = export_archive(&here, Some(&model("none")), &file, &|_| {}).await.unwrap_err();
    assert!(matches!(missing, Error::Rejected(Rejection::ModelNotFound { .. })), "{missing}");
    assert!(!file.exists());
    let done = export_archive(&here, Some(&model("fraud")), &file, &|_| {}).await.unwrap();
    assert_eq!((done.streams, done.blobs), (1, 3));
    let again = export_archive(&here, Some(&model("fraud")), &file, &|_| {}).await.unwrap_err();
    assert!(again.to_string().contains("is there already"), "{again}");
    import(&there, &file).await.unwrap();
    assert_eq!(there.models(None, 10).await.unwrap(), [model("fraud")]);

    let artifacts = Arc::new(MemoryArtifacts::default());
    let here = Engine::new(Arc::new(MemoryLog::default()), Arc::clone(&artifacts));
    registry_tests::register(&here, &by(), &model("fraud"), &Version::new(1, 0, 0)).await.unwrap();
    let digest = Digest::of(b"the weights of fraud v1.0.0");
    let file = folder.path().join("damaged.tar");
    for damage in [None, Some(Bytes::from_static(b"the weights of fraud v1.0.1"))] {
        artifacts.damage(&digest, damage);
        let refused = export_archive(&here, None, &file, &|_| {}).await.unwrap_err();
        assert!(matches!(refused, Error::CorruptBytes(_)), "{refused:?}");
        assert!(!file.exists());
    }
}

/// Every byte of an archive counts: whichever is altered, taken out or added, the file is refused and nothing is
/// written, whether it was a path, a link, a size, a digest, a record or nothing at all.
#[tokio::test]
async fn a_file_that_is_no_good_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = registry_core::in_memory();
    registry_tests::register(&here, &by(), &model("fraud"), &Version::new(1, 0, 0)).await.unwrap();
    let file = folder.path().join("good.tar");
    export(&here, &file).await;
    let good = std::fs::read(&file).unwrap();
    let there = registry_core::in_memory();
    let bad = folder.path().join("bad.tar");
    let refused = async |bytes: &[u8], what: String| {
        std::fs::write(&bad, bytes).unwrap();
        let error = import(&there, &bad).await.err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(is_empty(&there).await, "{what}: {error}");
    };
    for place in 0..good.len() {
        let mut altered = good.clone();
        altered[place] ^= if place % 2 == 0 { 1 } else { 0x80 };
        refused(&altered, format!("a flip at {place}")).await;
    }
    for length in (0..good.len()).step_by(61) {
        refused(&good[..length], format!("cut to {length}")).await;
    }
    refused(&[&good[..], &[0]].concat(), "a byte behind the end".to_owned()).await;
    refused(&[&good[..], &good[..]].concat(), "an archive twice".to_owned()).await;
    for block in 0..good.len() / 512 {
        let (before, from) = good.split_at(block * 512);
        refused(&[before, &from[..512], from].concat(), format!("block {block} twice")).await;
        refused(&[before, &from[512..]].concat(), format!("without block {block}")).await;
    }
    import(&there, &file).await.unwrap();
}
