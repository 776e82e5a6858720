//! Ten processes see at once that a rule is broken. One rolls back and tells it, whatever the registry is on; the others
//! find it done.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::process::Stdio;

use common::receiver::Receiver;
use common::{Ran, World};
use registry_core::{SystemClock, Version};
use registry_monitoring::{Done, Notification, Received, Secret, TOLERANCE, verify};

const PROCESSES: usize = 10;
const SECRET: &str = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=";
/// Nobody asks the version that is there afterwards, and that is nobody's business here.
const RULE: &str = "metric: latency\naggregate: p95\nfails_if: {above: 200}\non_no_data: success\n";

/// v1.1.0 is in production, and must not be slow.
fn serving(world: &World) {
    world.write("slow.yaml", RULE);
    for version in ["v1.0.0", "v1.1.0"] {
        world.write("model.bin", version);
        world.ok(&["register", "fraud", "model.bin", "--version", version]);
        world.ok(&["promote", "fraud", version, "--to", "staging"]);
        world.ok(&["promote", "fraud", version, "--to", "production"]);
    }
    world.ok(&["rules", "set", "slow", "--model", "fraud", "--file", "slow.yaml"]);
}

/// Names the version, since another one may be in production by then.
const OBSERVE: [&str; 8] = ["observe", "fraud", "v1.1.0", "--metric", "latency", "--value", "500", "--value"];

fn observe(world: &World, value: &str) -> Ran {
    world.run(&[&OBSERVE[..], &[value]].concat())
}

/// What a process that looks once says.
fn monitor(world: &World, url: &str) -> Ran {
    let mut command = world.command(&["monitor", "fraud", "--once", "--notify", url]);
    Ran::of(command.env("REGISTRY_WEBHOOK_SECRET", SECRET).stderr(Stdio::piped()))
}

/// Runs something in as many threads as there are processes, all let go at one moment.
fn at_once<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(PROCESSES);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PROCESSES)
            .map(|number| {
                let (barrier, run) = (&barrier, &run);
                scope.spawn(move || {
                    barrier.wait();
                    run(number)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn one_rolls_back(world: &World, look: impl Fn(&World, &str, usize) -> Ran + Sync) {
    let receiver = Receiver::answering(204, "");
    let url = receiver.url("/on-call");
    let ran = at_once(|number| look(world, &url, number));
    assert!(ran.iter().all(|ran| ran.code == 0 && ran.stderr.is_empty()), "{ran:#?}");
    let saying = |words: &str| ran.iter().filter(|ran| ran.stdout.contains(words)).count();
    assert_eq!(saying("rolled back from v1.1.0 to v1.0.0"), 1, "{ran:#?}");
    // Whoever saw the broken rule and came second; and whoever looked when all was over.
    let others = saying("v1.1.0 was taken out already") + saying("no rule is broken");
    assert_eq!(others, PROCESSES - 1, "{ran:#?}");
    assert!(ran.iter().all(|ran| ran.stdout.lines().count() == 1), "{ran:#?}");

    let history = world.ok(&["history", "fraud", "--json"]);
    let events: Vec<serde_json::Value> = history
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .flat_map(|commit| commit["events"].as_array().unwrap().clone())
        .collect();
    assert_eq!(events.iter().filter(|event| event["event"] == "rolled_back").count(), 1, "{history}");
    assert_eq!(world.json(&["info", "fraud"])["production"], "v1.0.0");

    let sent = receiver.sent();
    assert_eq!(sent.len(), 1, "{sent:#?}");
    let received = Received {
        id: sent[0].header("webhook-id"),
        timestamp: sent[0].header("webhook-timestamp"),
        signature: sent[0].header("webhook-signature"),
    };
    let (secret, now): (Secret, _) = (SECRET.parse().unwrap(), registry_core::Clock::now(&SystemClock));
    verify(&[secret], &received, sent[0].body.as_bytes(), now, TOLERANCE).unwrap();
    let told: Notification = serde_json::from_str(&sent[0].body).unwrap();
    assert_eq!(told.done, Done::RolledBack { to: Version::new(1, 0, 0) });
    world.ok(&["verify", "fraud"]);
}

fn ten_that_look(world: World) {
    serving(&world);
    assert_eq!(observe(&world, "900").code, 0);
    one_rolls_back(&world, |world, url, _| monitor(world, url));
}

fn ten_that_observe_and_look(world: World) {
    serving(&world);
    one_rolls_back(&world, |world, url, number| {
        let observed = observe(world, &(600 + number).to_string());
        assert_eq!(observed.code, 0, "{observed:?}");
        monitor(world, url)
    });
}

#[test]
fn ten_that_look_on_sqlite() {
    ten_that_look(World::new());
}

#[test]
fn ten_that_observe_and_look_on_sqlite() {
    ten_that_observe_and_look(World::new());
}

#[test]
fn ten_that_look_in_a_folder_of_objects() {
    ten_that_look(World::in_a_folder_of_objects());
}

#[test]
fn ten_that_observe_and_look_in_a_folder_of_objects() {
    ten_that_observe_and_look(World::in_a_folder_of_objects());
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_look_in_a_bucket() {
    ten_that_look(World::in_a_bucket());
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_observe_and_look_in_a_bucket() {
    ten_that_observe_and_look(World::in_a_bucket());
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_look_on_mlflow_3_on_sqlite() {
    ten_that_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_3"));
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_observe_and_look_on_mlflow_3_on_sqlite() {
    ten_that_observe_and_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_3"));
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_look_on_mlflow_2_on_sqlite() {
    ten_that_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_2"));
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_observe_and_look_on_mlflow_2_on_sqlite() {
    ten_that_observe_and_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_2"));
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_look_on_mlflow_3_on_postgresql() {
    ten_that_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_PG"));
}

#[cfg(feature = "servers")]
#[test]
fn ten_that_observe_and_look_on_mlflow_3_on_postgresql() {
    ten_that_observe_and_look(World::on_mlflow("REGISTRY_TEST_MLFLOW_PG"));
}
