//! The folder on disk: what it refuses, what it survives, what it stores.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend_local::Options;
use registry_core::storage::StorageErrorKind;
use registry_core::{By, Error, ModelName, RegistryExt as _, Selector, VerifyOptions, Version};

fn by() -> By {
    By::new("test".parse().unwrap())
}

fn model() -> ModelName {
    "fraud".parse().unwrap()
}

async fn filled(folder: &Path) {
    let registry = backend_local::open(folder).unwrap();
    let version = Version::new(1, 0, 0);
    registry_tests::register(&registry, &by(), &model(), &version).await.unwrap();
    registry_tests::into_production(&registry, &by(), &model(), &version).await.unwrap();
}

fn database(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("registry.db")).unwrap()
}

fn read_only() -> Options {
    Options { read_only: true, ..Options::default() }
}

#[tokio::test]
async fn a_folder_that_was_moved_is_the_same_registry() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (place.path().join("old"), place.path().join("deep/new name"));
    filled(&old).await;
    std::fs::create_dir_all(new.parent().unwrap()).unwrap();
    std::fs::rename(&old, &new).unwrap();
    let registry = backend_local::open(&new).unwrap();
    let found =
        registry.verify(&model(), VerifyOptions { bytes: true, ..VerifyOptions::default() }).await.unwrap();
    assert!(found.is_sound() && found.files == 1);
    let bytes = std::fs::read(new.join("registry.db")).unwrap();
    let absolute = place.path().display().to_string();
    assert!(!String::from_utf8_lossy(&bytes).contains(&absolute), "an absolute path is stored");
}

#[tokio::test]
async fn opened_read_only_it_answers_and_refuses_to_write() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let registry = read_only().open(folder.path()).unwrap();
    let found = registry.get(&model(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(found.version, Version::new(1, 0, 0));
    let file = found.content.artifacts.iter().next().unwrap();
    registry.read(file, 1_000).await.unwrap();
    let refused = registry.describe(&by(), &model(), None, Some("x".parse().unwrap())).await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied(_)), "{refused:?}");
    let refused =
        registry_tests::register(&registry, &by(), &model(), &Version::new(2, 0, 0)).await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied(_)), "{refused:?}");
}

#[tokio::test]
async fn read_only_sees_what_a_writer_commits_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let (writer, reader) =
        (backend_local::open(folder.path()).unwrap(), read_only().open(folder.path()).unwrap());
    let version = Version::new(1, 1, 0);
    registry_tests::register(&writer, &by(), &model(), &version).await.unwrap();
    registry_tests::into_production(&writer, &by(), &model(), &version).await.unwrap();
    assert_eq!(reader.get(&model(), &Selector::PRODUCTION).await.unwrap().version, version);
}

#[test]
fn nothing_is_made_where_a_registry_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for options in [read_only(), Options { create: false, ..Options::default() }] {
        let refused = options.open(&missing).err().unwrap();
        assert!(matches!(refused, Error::NoRegistry { .. }), "{refused}");
    }
    assert!(!missing.exists());
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(backend_local::open(&file), Err(Error::Open { .. })));
}

#[tokio::test]
async fn a_newer_layout_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    database(folder.path()).pragma_update(None, "user_version", 2).unwrap();
    for options in [Options::default(), read_only()] {
        let refused = options.open(folder.path()).err().unwrap();
        assert!(matches!(refused, Error::NewerFormat(_)), "{refused:?}");
        assert!(refused.to_string().contains("upgrade"), "{refused}");
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path()).execute_batch("CREATE TABLE theirs (x)").unwrap();
    let refused = backend_local::open(folder.path()).err().unwrap();
    assert!(refused.to_string().contains("another program"), "{refused}");
    let tables: i64 = database(folder.path())
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("registry.db"),
        "this is no database at all, but some text".repeat(100),
    )
    .unwrap();
    assert!(backend_local::open(folder.path()).is_err());
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_or_remove_commits() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    for statement in
        ["UPDATE commits SET body = x'00'", "DELETE FROM commits", "UPDATE commits SET slot = slot + 1"]
    {
        let refused = database(folder.path()).execute(statement, []).unwrap_err();
        assert!(refused.to_string().contains("commits are never"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn waiting_for_a_lock_is_bounded_and_nothing_was_written() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let options = Options { busy_timeout: Duration::from_millis(100), ..Options::default() };
    let registry = options.open(folder.path()).unwrap();
    let lock = database(folder.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    #[expect(clippy::disallowed_methods, reason = "a bound on real time is what is tested")]
    let start = Instant::now();
    let text = Some("x".parse().unwrap());
    let failed = registry.describe(&by(), &model(), None, text.clone()).await.unwrap_err();
    let Error::Unavailable(error) = failed else { panic!("{failed:?}") };
    assert_eq!(error.kind, StorageErrorKind::NotDone);
    assert!(error.to_string().contains("busy timeout"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(registry.get(&model(), &Selector::PRODUCTION).await.is_ok(), "readers do not wait");
    lock.execute_batch("ROLLBACK").unwrap();
    registry.describe(&by(), &model(), None, text).await.unwrap();
}

#[tokio::test]
async fn hostile_names_stay_in_the_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let registry = Arc::new(backend_local::open(&folder).unwrap());
    for name in ["%2e%2e", "...", "~", "-rf", "'; DROP TABLE commits; --", "con", "💥"] {
        let name: ModelName = name.parse().unwrap();
        registry_tests::register(&registry, &by(), &name, &Version::new(1, 0, 0)).await.unwrap();
    }
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["registry"]);
    let mut inside: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    inside.sort();
    assert_eq!(inside, ["blobs", "registry.db", "registry.db-shm", "registry.db-wal"]);
    assert_eq!(registry.models(None, 100).await.unwrap().len(), 7);
}
