//! Versions that are taken from one registry to another, between all kinds of storage, by a process that is killed at
//! every point there is: after one more call everything is as if nothing had happened.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::storage::Blob;
use registry_core::{
    By, Content, Digest, Error, Event, ModelName, PromoteToOptions, Registration, Registry, RegistryExt as _,
    Revision, Stage, Upload, VerifyOptions, Version,
};
use registry_tests::mortal::{Life, Mortal};

/// The size of the larger file: more than one piece in every store.
const LARGE: u32 = 1_100_000;
/// The most steps that it may take.
const STEPS_MAX: u32 = 100;

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Sqlite,
    Folder,
    #[cfg(feature = "servers")]
    S3,
    #[cfg(feature = "servers")]
    Mlflow,
}

/// Those that need no server.
const LOCAL: [Kind; 3] = [Kind::Memory, Kind::Sqlite, Kind::Folder];

async fn open(kind: Kind, folder: &Path, name: &str) -> Arc<dyn Registry> {
    let place = folder.join(name);
    let url = match kind {
        Kind::Memory => return Arc::new(registry_core::in_memory()),
        Kind::Sqlite => format!("sqlite:{}", place.display()),
        Kind::Folder => format!("file://{}", place.display()),
        #[cfg(feature = "servers")]
        Kind::S3 => {
            let server = registry_tests::s3_server().unwrap();
            registry_tests::s3_url(server, &servers::name_of(name))
        }
        #[cfg(feature = "servers")]
        Kind::Mlflow => {
            let server = registry_tests::mlflow_server("REGISTRY_TEST_MLFLOW_3").unwrap();
            registry_tests::mlflow_url(server, &servers::name_of(name))
        }
    };
    registry_tests::open(&url).await.unwrap()
}

fn by() -> By {
    By::new("ada".parse().unwrap())
}

/// The model of one run. Each has files of its own, so that no run finds those of another.
fn model(run: u32) -> ModelName {
    format!("fraud-{run}").parse().unwrap()
}

fn version() -> Version {
    Version::new(1, 0, 0)
}

fn options() -> PromoteToOptions {
    let options = PromoteToOptions::new("dev".parse().unwrap(), "staging".parse().unwrap());
    PromoteToOptions { stage: Stage::Staging, ..options }
}

/// Two files with the same bytes, of a few pieces, and one of its own.
async fn filled(registry: &dyn Registry, run: u32) {
    let large: Bytes = (0..LARGE).map(|number| number.wrapping_add(run << 8).to_le_bytes()[1]).collect();
    let small = Bytes::from(format!("words of {run}"));
    let upload = |path: &str, source| Upload { path: path.parse().unwrap(), source };
    let uploads = [upload("model.bin", &large), upload("same.bin", &large), upload("words.txt", &small)];
    let registration = Registration::new(version(), Content::default());
    registry.register(&by(), &model(run), registration, &uploads).await.unwrap();
}

async fn take(source: &dyn Registry, target: &dyn Registry, run: u32) -> Result<(), Error> {
    source.promote_to(&by(), &model(run), &version(), target, &options()).await.map(|_| ())
}

/// What became of a version in one of the registries.
#[derive(Debug)]
struct End {
    commits: Vec<Vec<&'static str>>,
    stage: Stage,
    copies: usize,
    digest: Digest,
}

/// Reads all of it, the bytes as well.
async fn end_of(registry: &dyn Registry, run: u32, context: &str) -> End {
    let options = VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() };
    let found = registry.verify(&model(run), options).await.unwrap();
    assert!(found.is_sound() && found.files == 3, "{context}: {:?}", found.problems);
    let log = registry.log(&model(run), Revision::FIRST, 1_000).await.unwrap();
    let state = registry.model(&model(run)).await.unwrap();
    let found = state.version(&version()).unwrap();
    let commits = log.iter().map(|recorded| recorded.commit.events.iter().map(Event::kind).collect());
    End { commits: commits.collect(), stage: found.stage, copies: found.copies.len(), digest: found.digest }
}

async fn blobs(registry: &dyn Registry) -> Vec<Blob> {
    let found = registry.artifacts().list(None, 1_000).await.unwrap();
    found.into_iter().map(|stored| stored.blob).collect()
}

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_memory() {
    for target in LOCAL {
        killed_at_any_point(Kind::Memory, target).await;
    }
}

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_sqlite() {
    for target in LOCAL {
        killed_at_any_point(Kind::Sqlite, target).await;
    }
}

#[tokio::test]
async fn killed_at_any_point_and_asked_again_it_is_as_if_nothing_had_happened_from_a_folder() {
    for target in LOCAL {
        killed_at_any_point(Kind::Folder, target).await;
    }
}

/// Takes a version from one registry to the other in a process that is killed after no step, after one, after two, and
/// so on until it is through; and each time once more, undisturbed.
async fn killed_at_any_point(source: Kind, target: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let here = open(source, folder.path(), "dev").await;
    let there = open(target, folder.path(), "staging").await;
    let mut killed = 0;
    for steps in 0.. {
        assert!(steps < STEPS_MAX, "it takes no end of steps");
        let context = format!("from {source:?} to {target:?}, killed after {steps} steps");
        filled(here.as_ref(), steps).await;
        let life = Life::of(steps);
        let done = take(&Mortal::new(&here, &life), &Mortal::new(&there, &life), steps).await;
        let last = done.is_ok();
        killed += u32::from(!last);
        take(here.as_ref(), there.as_ref(), steps).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        let one = end_of(here.as_ref(), steps, &context).await;
        let other = end_of(there.as_ref(), steps, &context).await;
        assert_eq!(one.digest, other.digest, "{context}");
        assert_eq!(one.commits, [vec!["version_registered"], vec!["copied"]], "{context}");
        assert_eq!(other.commits, [["version_registered", "stage_changed"]], "{context}");
        assert_eq!((one.stage, other.stage), (Stage::Development, Stage::Staging), "{context}");
        assert_eq!((one.copies, other.copies), (1, 0), "{context}");
        if last {
            let stored = blobs(there.as_ref()).await;
            assert_eq!(stored, blobs(here.as_ref()).await, "{context}");
            assert_eq!(stored.len(), 2 * (steps as usize + 1), "{context}");
            break;
        }
    }
    assert!(10 < killed, "from {source:?} to {target:?} it was killed only {killed} times");
}

/// A file that was altered in the folder of the source does not get any further.
#[tokio::test]
async fn bytes_that_were_altered_on_disk_are_refused_by_every_kind_of_storage() {
    for source in [Kind::Sqlite, Kind::Folder] {
        for target in LOCAL {
            let folder = tempfile::tempdir().unwrap();
            let here = open(source, folder.path(), "dev").await;
            let there = open(target, folder.path(), "staging").await;
            filled(here.as_ref(), 0).await;
            alter(&folder.path().join("dev"), LARGE.into());
            let refused = take(here.as_ref(), there.as_ref(), 0).await.unwrap_err();
            assert!(matches!(refused, Error::CorruptBytes(_)), "from {source:?} to {target:?}: {refused:?}");
            assert!(there.log(&model(0), Revision::FIRST, 1).await.unwrap().is_empty());
            assert!(
                there.artifacts().list(None, 10).await.unwrap().is_empty(),
                "from {source:?} to {target:?}"
            );
        }
    }
}

/// Exchanges a byte of the file that has this size.
fn alter(folder: &Path, size: u64) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            alter(&path, size);
        } else if path.metadata().unwrap().len() == size {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.last_mut().map(|byte| *byte ^= 1).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// The same with servers: SQLite, a bucket and MLflow, each to each.
#[cfg(feature = "servers")]
mod servers {
    use registry_core::{IdSource as _, SystemIds};

    use super::{Kind, killed_at_any_point};

    /// A name that no other test has.
    pub(super) fn name_of(registry: &str) -> String {
        // As many bits as the name of a registry on MLflow has room for.
        format!("{registry}-{:020x}", SystemIds.next_id() & ((1 << 80) - 1))
    }

    #[tokio::test]
    async fn killed_at_any_point_between_sqlite_and_a_bucket() {
        killed_at_any_point(Kind::Sqlite, Kind::S3).await;
        killed_at_any_point(Kind::S3, Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_between_buckets() {
        killed_at_any_point(Kind::S3, Kind::S3).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_from_sqlite_to_mlflow_3_on_sqlite() {
        killed_at_any_point(Kind::Sqlite, Kind::Mlflow).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_from_mlflow_3_on_sqlite_to_sqlite() {
        killed_at_any_point(Kind::Mlflow, Kind::Sqlite).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_from_a_bucket_to_mlflow_3_on_sqlite() {
        killed_at_any_point(Kind::S3, Kind::Mlflow).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_from_mlflow_3_on_sqlite_to_a_bucket() {
        killed_at_any_point(Kind::Mlflow, Kind::S3).await;
    }

    #[tokio::test]
    async fn killed_at_any_point_between_registries_on_mlflow_3_on_sqlite() {
        killed_at_any_point(Kind::Mlflow, Kind::Mlflow).await;
    }
}
