//! What the commands say of a registry in whose storage somebody wrote.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;

fn two_models() -> World {
    let world = World::new();
    world.write("model.bin", "weights");
    for model in ["churn", "fraud"] {
        world.ok(&["register", model, "model.bin", "--version", "v1"]);
        world.ok(&["promote", model, "v1", "--to", "staging"]);
        world.ok(&["promote", model, "v1", "--to", "production"]);
    }
    world
}

#[test]
fn a_model_that_cannot_be_read_does_not_hide_the_others() {
    let world = two_models();
    world.damage_commit("model/churn", 2);
    let ran = world.run(&["list"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stdout.contains("fraud") && !ran.stdout.contains("churn"), "{}", ran.stdout);
    assert!(ran.stderr.contains("revision 2 of `model/churn`"), "{}", ran.stderr);
    let ran = world.run(&["list", "--json"]);
    assert_eq!((ran.code, ran.stdout.contains("\"fraud\"")), (8, true), "{}", ran.stdout);

    world.damage_commit("model/fraud", 1);
    let ran = world.run(&["list"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (8, ""));
    assert!(ran.stderr.contains("model/churn") && ran.stderr.contains("model/fraud"), "{}", ran.stderr);
}

#[test]
fn a_checkpoint_that_lies_is_found_and_renewed() {
    let world = two_models();
    for number in 2..20 {
        world.ok(&["register", "fraud", "model.bin", "--version", &format!("v{number}")]);
    }
    assert!(world.ok(&["verify"]).contains("sound"));
    let connection = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    let lied = connection
        .execute(
            "UPDATE checkpoints SET body = CAST(replace(CAST(body AS TEXT), '\"production\":\"v1.0.0\"', \
             '\"production\":\"v2.0.0\"') AS BLOB) WHERE stream = 'model/fraud' AND kind = 'brief'",
            [],
        )
        .unwrap();
    assert_eq!(lied, 1);
    assert!(world.ok(&["get", "fraud", "production"]).contains("v2.0.0"), "it is believed");

    let ran = world.run(&["verify"]);
    assert_eq!(ran.code, 8, "{}", ran.stdout);
    assert!(ran.stdout.contains("the brief checkpoint kept there contradicts the log"), "{}", ran.stdout);
    let ran = world.run(&["verify", "--renew-checkpoints"]);
    assert_eq!(ran.code, 8);
    assert!(ran.stdout.contains("was replaced"), "{}", ran.stdout);
    assert!(world.ok(&["verify"]).contains("sound"));
    assert!(world.ok(&["get", "fraud", "production"]).contains("v1.0.0"));
}
