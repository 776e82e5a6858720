//! Five ways to tamper with a log below the registry, where somebody can write to the storage: an edited record, records
//! in another order, a tail that is cut off, another log that shares the beginning, and a log made anew with all its
//! digests. The first two are found by `verify` alone. The others are sound logs, and found by whoever kept a checkpoint
//! elsewhere: that is what checkpoints are for. And one way beside the log: what it is found by is taken away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_core::codec::{decode, encode};
use registry_core::{
    By, Digest, ModelName, Problem, Registry, RegistryExt as _, Revision, Stream, StreamKind, Term,
    VerifyOptions, Version,
};
use registry_signing::{Algorithm, Covers, LogHeads, SignedCheckpoint, SigningKey, verify_against};

fn model() -> ModelName {
    "fraud".parse().unwrap()
}

fn stream() -> Stream {
    Stream::Model(model())
}

fn by(reason: &str) -> By {
    let mut by = By::new("ada".parse().unwrap());
    by.reason = Some(reason.parse().unwrap());
    by
}

fn revision(index: usize) -> Revision {
    Revision::new(index as u64 + 1).unwrap()
}

/// The stored records of a log, below the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Storage {
    Sqlite,
    Objects,
}

/// Which rows of `commits` are those of the model.
const OF_FRAUD: &str = "slot >> 32 = (SELECT number FROM streams WHERE name = 'model/fraud')";

const BOTH: [Storage; 2] = [Storage::Sqlite, Storage::Objects];

impl Storage {
    async fn open(self, place: &Path) -> Arc<dyn Registry> {
        let scheme = match self {
            Storage::Sqlite => "sqlite:",
            Storage::Objects => "file://",
        };
        registry_tests::open(&format!("{scheme}{}", place.display())).await.unwrap()
    }

    fn read(self, place: &Path) -> Vec<Vec<u8>> {
        match self {
            Storage::Sqlite => {
                let database = rusqlite::Connection::open(place.join("registry.db")).unwrap();
                let mut select = database
                    .prepare(&format!("SELECT body FROM commits WHERE {OF_FRAUD} ORDER BY slot"))
                    .unwrap();
                let rows = select.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Storage::Objects => {
                let mut files: Vec<PathBuf> = std::fs::read_dir(log_folder(place))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .collect();
                files.sort();
                files.iter().map(|file| std::fs::read(file).unwrap()).collect()
            }
        }
    }

    /// Puts other records in the place of those that are there, past everything that would refuse it, and removes what
    /// could give it away: the caches of folds.
    fn write(self, place: &Path, records: &[Vec<u8>]) {
        match self {
            Storage::Sqlite => {
                let database = rusqlite::Connection::open(place.join("registry.db")).unwrap();
                database
                    .execute_batch(&format!(
                        "DROP TRIGGER IF EXISTS commits_are_never_changed; DROP TRIGGER IF EXISTS commits_are_never_removed;
                         DELETE FROM checkpoints; DELETE FROM commits WHERE {OF_FRAUD}"
                    ))
                    .unwrap();
                for (index, body) in records.iter().enumerate() {
                    let insert = "INSERT INTO commits (slot, body)
                                  SELECT number << 32 | ?2, ?3 FROM streams WHERE name = ?1";
                    let row = rusqlite::params![stream().to_string(), index as i64 + 1, body];
                    assert_eq!(database.execute(insert, row).unwrap(), 1);
                }
            }
            Storage::Objects => {
                let folder = log_folder(place);
                let _ = std::fs::remove_dir_all(folder.parent().unwrap().join("checkpoints"));
                for entry in std::fs::read_dir(&folder).unwrap() {
                    std::fs::remove_file(entry.unwrap().path()).unwrap();
                }
                for (index, body) in records.iter().enumerate() {
                    std::fs::write(folder.join(format!("{:020}.json", index + 1)), body).unwrap();
                }
            }
        }
    }
}

impl Storage {
    /// Takes away all that logs are found by, but for their names.
    fn unmark(self, place: &Path) {
        match self {
            Storage::Sqlite => {
                let database = rusqlite::Connection::open(place.join("registry.db")).unwrap();
                assert_ne!(database.execute("DELETE FROM terms", []).unwrap(), 0);
            }
            Storage::Objects => {
                for folder in ["names", "terms"] {
                    std::fs::remove_dir_all(place.join(folder)).unwrap();
                }
            }
        }
    }
}

fn log_folder(place: &Path) -> PathBuf {
    let models = place.join("streams/model");
    let only = std::fs::read_dir(models).unwrap().next().unwrap().unwrap().path();
    only.join("log")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(path, target).unwrap()),
        }
    }
}

/// A registry with a log of seven commits, and a checkpoint of it that was kept elsewhere.
struct World {
    storage: Storage,
    folder: tempfile::TempDir,
    key: SigningKey,
    checkpoint: Vec<u8>,
    records: Vec<Vec<u8>>,
}

impl World {
    async fn new(storage: Storage) -> World {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("registry");
        let registry = storage.open(&place).await;
        for minor in 0..3 {
            registry_tests::register(
                registry.as_ref(),
                &by("as planned"),
                &model(),
                &Version::new(1, minor, 0),
            )
            .await
            .unwrap();
        }
        copy(&place, &folder.path().join("at three"));
        for minor in 0..2 {
            let (by, version) = (by("as planned"), Version::new(1, minor, 0));
            registry_tests::into_production(registry.as_ref(), &by, &model(), &version).await.unwrap();
        }
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let heads = LogHeads::of(registry.as_ref(), &Covers::All, "prod".parse().unwrap()).await.unwrap();
        let checkpoint = SignedCheckpoint::sign(&heads, &key).to_bytes();
        drop(registry);
        let records = storage.read(&place);
        assert_eq!(records.len(), 7);
        World { storage, folder, key, checkpoint, records }
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    /// What `verify` finds by itself, and what is found with the checkpoint, in a registry that was just opened.
    async fn found(&self) -> (Vec<Problem>, Vec<Problem>) {
        let registry = self.storage.open(&self.place()).await;
        let alone = registry.verify(&model(), VerifyOptions::default()).await.unwrap();
        let checkpoint = SignedCheckpoint::parse(&self.checkpoint).unwrap();
        let heads = checkpoint.verify_signature(&[self.key.verifying_key()]).unwrap();
        let mut held = verify_against(registry.as_ref(), &heads, false).await.unwrap();
        assert_eq!(held.logs.len(), 1);
        (alone.problems, held.logs.remove(0).verification.problems)
    }

    fn digest(&self, index: usize) -> Digest {
        decode(&stream(), revision(index), &self.records[index]).unwrap().1
    }
}

#[tokio::test]
async fn what_nobody_touched_is_sound() {
    for storage in BOTH {
        let world = World::new(storage).await;
        world.storage.write(&world.place(), &world.records);
        assert_eq!(
            world.found().await,
            (vec![], vec![]),
            "{storage:?}: the way records are put back leaves no trace"
        );
    }
}

#[tokio::test]
async fn an_edited_record_is_found_by_verify_alone() {
    for storage in BOTH {
        let mut world = World::new(storage).await;
        let text = String::from_utf8(world.records[1].clone()).unwrap();
        assert!(text.contains("as planned"));
        world.records[1] = text.replace("as planned", "as ordered").into_bytes();
        storage.write(&world.place(), &world.records);
        let (alone, held) = world.found().await;
        let [Problem::Commit { revision: at, problem }] = &alone[..] else {
            panic!("{storage:?}: {alone:?}")
        };
        assert!(*at == revision(1) && problem.contains("its bytes have digest"), "{problem}");
        assert_eq!(held, alone);
    }
}

#[tokio::test]
async fn records_in_another_order_are_found_by_verify_alone() {
    for storage in BOTH {
        let mut world = World::new(storage).await;
        world.records.swap(2, 3);
        storage.write(&world.place(), &world.records);
        let (alone, held) = world.found().await;
        let at: Vec<Revision> = alone
            .iter()
            .map(|problem| match problem {
                Problem::Commit { revision, .. } => *revision,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(at, [revision(2), revision(3)], "{storage:?}");
        assert_eq!(held, alone);
    }
}

#[tokio::test]
async fn a_tail_that_is_cut_off_is_found_by_a_checkpoint() {
    for storage in BOTH {
        let world = World::new(storage).await;
        storage.write(&world.place(), &world.records[..5]);
        let (alone, held) = world.found().await;
        assert_eq!(alone, [], "{storage:?}: what is left is a sound log");
        assert_eq!(held, [Problem::CutOff { noted: revision(6), last: revision(4) }]);
        // All of it.
        storage.write(&world.place(), &[]);
        let (alone, held) = world.found().await;
        assert_eq!(alone, []);
        assert_eq!(held, [Problem::Gone { noted: revision(6) }]);
    }
}

#[tokio::test]
async fn another_log_with_the_same_beginning_is_found_by_a_checkpoint() {
    for storage in BOTH {
        let world = World::new(storage).await;
        let other = world.folder.path().join("at three");
        let registry = storage.open(&other).await;
        for minor in [2, 1] {
            let (by, version) = (by("otherwise"), Version::new(1, minor, 0));
            registry_tests::into_production(registry.as_ref(), &by, &model(), &version).await.unwrap();
        }
        registry
            .set_alias(&by("otherwise"), &model(), &"champion".parse().unwrap(), &Version::new(1, 1, 0))
            .await
            .unwrap();
        drop(registry);
        let forked = storage.read(&other);
        assert!(
            forked[..3] == world.records[..3] && forked.len() == 8,
            "it shares the beginning, and went on further"
        );
        storage.write(&world.place(), &forked);
        let (alone, held) = world.found().await;
        assert_eq!(alone, [], "{storage:?}: it is a sound log");
        let (_, found) = decode(&stream(), revision(6), &forked[6]).unwrap();
        assert_eq!(held, [Problem::OtherHistory { revision: revision(6), noted: world.digest(6), found }]);
    }
}

#[tokio::test]
async fn a_log_made_anew_with_all_its_digests_is_found_by_a_checkpoint_and_by_nothing_else() {
    for storage in BOTH {
        let world = World::new(storage).await;
        let mut anew: Vec<Vec<u8>> = Vec::new();
        let mut previous = None;
        for (index, record) in world.records.iter().enumerate() {
            let (mut commit, _) = decode(&stream(), revision(index), record).unwrap();
            if index == 1 {
                commit.actor = "mallory".parse().unwrap();
            }
            commit.previous = previous;
            let encoded = encode(&commit);
            previous = Some(encoded.digest);
            anew.push(encoded.bytes);
        }
        assert_eq!(anew[0], world.records[0]);
        assert!(anew.iter().skip(1).zip(&world.records[1..]).all(|(anew, old)| anew != old));
        storage.write(&world.place(), &anew);
        let (alone, held) = world.found().await;
        assert_eq!(
            alone,
            [],
            "{storage:?}: the chain is sound by itself, which is why there are checkpoints"
        );
        let registry = storage.open(&world.place()).await;
        let second = registry.log(&model(), revision(1), 1).await.unwrap();
        assert_eq!(second[0].commit.actor.as_str(), "mallory", "the registry believes it");
        let found = previous.unwrap();
        assert_eq!(held, [Problem::OtherHistory { revision: revision(6), noted: world.digest(6), found }]);
        // A checkpoint of the first commit alone still holds: it narrows where the change is.
        let first = registry.verify_since(&model(), (revision(0), world.digest(0))).await.unwrap();
        assert!(first.is_sound());
    }
}

#[tokio::test]
async fn a_log_that_is_no_longer_found_is_told_by_verify_and_found_again() {
    for storage in BOTH {
        let world = World::new(storage).await;
        storage.unmark(&world.place());
        let registry = storage.open(&world.place()).await;
        let production = Term::new("stage", "production");
        let found = || async {
            let by_stage = registry.commits().streams(StreamKind::Model, Some(&production), None, 10);
            (registry.models(None, 10).await.unwrap(), by_stage.await.unwrap())
        };
        // The list of a database is what its logs are read by.
        let listed = if storage == Storage::Sqlite { vec![model()] } else { vec![] };
        assert_eq!(found().await, (listed, vec![]), "{storage:?}");
        assert!(registry.verify(&model(), VerifyOptions::default()).await.unwrap().is_sound());

        let look = VerifyOptions { markers: true, ..VerifyOptions::default() };
        let renew = VerifyOptions { renew_markers: true, ..VerifyOptions::default() };
        let mut told = Vec::new();
        for (options, expected) in [(look, false), (renew, true)] {
            let problems = registry.verify(&model(), options).await.unwrap().problems;
            let terms = problems.into_iter().map(|problem| match problem {
                Problem::Marker { term, renewed } if renewed == expected => term,
                other => panic!("{storage:?}: {other}"),
            });
            told.push(terms.collect::<Vec<Option<Term>>>());
        }
        assert_eq!(told[0], told[1]);
        assert!(told[0].contains(&Some(production.clone())), "{storage:?}: {told:?}");
        assert_eq!(told[0].contains(&None), storage == Storage::Objects);
        // Three contents and three stages at least.
        assert!(6 <= told[0].iter().flatten().count(), "{storage:?}: {told:?}");

        assert!(registry.verify(&model(), look).await.unwrap().is_sound());
        assert_eq!(found().await, (vec![model()], vec![stream()]), "{storage:?}");
    }
}
