//! One folder, many processes: nothing is lost, nothing is doubled, nothing is half done, also when a
//! process is killed at any instant.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry_core::{
    By, ModelName, ModelState, RegistryExt as _, Revision, Selector, Stage, VerifyOptions, Version,
};

fn worker(words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the worker starts")
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.display())
}

fn by() -> By {
    By::new("test".parse().unwrap())
}

fn output(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "a worker failed");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn eight_processes_with_25_commits_each_end_with_200() {
    let folder = tempfile::tempdir().unwrap();
    let model: ModelName = "contended".parse().unwrap();
    let registry = backend_local::open(folder.path()).unwrap();
    registry_tests::register(&registry, &by(), &model, &Version::new(1, 0, 0)).await.unwrap();
    let workers: Vec<Child> = (0..8)
        .map(|number| worker(&["tags", &url(folder.path()), "contended", &format!("w{number}"), "25"]))
        .collect();
    let mut acknowledged: Vec<u64> = Vec::new();
    for child in workers {
        let lines = output(child);
        let revisions = lines.lines().map(|line| line.split_once(' ').unwrap().0.parse::<u64>().unwrap());
        acknowledged.extend(revisions);
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (2..=201).collect::<Vec<_>>(), "each slot was won once");
    let state = registry.model(&model).await.unwrap();
    assert_eq!(state.tags.len(), 200);
    assert_eq!(state.revision().unwrap().get(), 201);
    assert!(registry.verify(&model, VerifyOptions::default()).await.unwrap().is_sound());
}

#[tokio::test]
async fn two_processes_racing_for_production_end_with_exactly_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = backend_local::open(folder.path()).unwrap();
    for round in 0..10 {
        let model: ModelName = format!("raced-{round}").parse().unwrap();
        for major in 1..=2 {
            let version = Version::new(major, 0, 0);
            registry_tests::register(&registry, &by(), &model, &version).await.unwrap();
            let options = Default::default();
            registry.promote(&by(), &model, &version, Stage::Staging, options).await.unwrap();
        }
        let racers = ["1.0.0", "2.0.0"]
            .map(|version| worker(&["promote", &url(folder.path()), model.as_str(), version]));
        for racer in racers {
            output(racer);
        }
        let state = registry.model(&model).await.unwrap();
        let in_production: Vec<_> =
            state.versions().filter(|version| version.stage == Stage::Production).collect();
        assert_eq!(in_production.len(), 1);
        assert_eq!(Some(&in_production[0].version), state.production.as_ref());
        assert_eq!(state.production_spans().count(), 2, "the other one was there before");
    }
}

/// Numbers that look random and are the same in every run.
fn jitter(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

#[tokio::test]
async fn killed_at_200_instants_while_registering_and_promoting() {
    let folder = tempfile::tempdir().unwrap();
    let (mut commits, mut killed_while_writing) = (0, 0);
    for round in 0..200 {
        let name = format!("killed-{round}");
        let model: ModelName = name.parse().unwrap();
        let mut child = worker(&["life", &url(folder.path()), &name]);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = String::new();
        // Half of the rounds wait for the first commit, half hit the opening too.
        if round % 2 == 0 {
            lines.read_line(&mut acknowledged).unwrap();
        }
        std::thread::sleep(Duration::from_micros(jitter(round) % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.read_to_string(&mut acknowledged).unwrap();

        let registry = backend_local::open(folder.path()).expect("the registry opens");
        let found = registry
            .verify(&model, VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
            .await
            .unwrap();
        assert!(found.is_sound(), "round {round}: {:?}", found.problems);
        let log = registry.log(&model, Revision::FIRST, 100_000).await.unwrap();
        for line in acknowledged.lines().filter(|line| line.contains(' ')) {
            let (revision, id) = line.split_once(' ').unwrap();
            let there = revision.parse::<usize>().ok().and_then(|revision| log.get(revision - 1));
            let there = there.unwrap_or_else(|| panic!("round {round}: {line} was acknowledged and is lost"));
            assert_eq!(there.commit.request_id.as_str(), id);
        }
        // Every version that is visible is there with all its bytes.
        let mut state = ModelState::new();
        for recorded in &log {
            state.apply(&recorded.commit, recorded.digest);
        }
        for version in state.versions() {
            for file in &version.content.artifacts {
                registry.read(file, 1_000).await.unwrap();
            }
        }
        if state.production.is_some() {
            registry.get(&model, &Selector::PRODUCTION).await.unwrap();
        }
        commits += log.len();
        killed_while_writing += usize::from(!log.is_empty());
    }
    assert!(50 < killed_while_writing, "only {killed_while_writing} rounds wrote anything");
    println!("{commits} commits by workers that were killed; {killed_while_writing} of 200 while writing");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_2_gib_is_registered_with_less_than_64_mib_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.bin");
    // A sparse file: it costs no disk, and every byte of it is read, hashed and written all the same.
    std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let registry = folder.path().join("registry");
    let peak_kib: u64 = output(worker(&["file", &url(&registry), "large", &path.display().to_string()]))
        .trim()
        .parse()
        .unwrap();
    println!("peak memory: {peak_kib} KiB");
    assert!(peak_kib < 64 * 1024, "{peak_kib} KiB");
    let registry = backend_local::open(&registry).unwrap();
    let found = registry.get(&"large".parse().unwrap(), &Selector::LATEST).await.unwrap();
    assert_eq!(found.content.artifacts.size(), 2 << 30);
}
