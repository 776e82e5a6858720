//! What the commands say of a registry in whose storage somebody wrote.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;
use serde_json::{Value, json};

/// Keeps a checkpoint of `fraud` that says something else than the brief one, which with so few versions says all.
fn lie(world: &World, kind: &str, change: impl Fn(&mut Value)) {
    let connection = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    let select = "SELECT body FROM checkpoints WHERE stream = 'model/fraud' AND kind = 'brief'";
    let body: Vec<u8> = connection.query_row(select, [], |row| row.get(0)).unwrap();
    let mut checkpoint: Value = serde_json::from_slice(&body).unwrap();
    change(&mut checkpoint["state"]);
    let body = checkpoint.to_string().into_bytes();
    let replace = "INSERT OR REPLACE INTO checkpoints (stream, kind, body) VALUES ('model/fraud', ?1, ?2)";
    connection.execute(replace, rusqlite::params![kind, body]).unwrap();
}

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
    lie(&world, "brief", |state| state["production"] = json!("v2.0.0"));
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

/// Takes away in the storage that `fraud` is found by its stage.
fn hide(world: &World) {
    let connection = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    let hide = "DELETE FROM terms WHERE stream = 'model/fraud' AND term = 'stage=production'";
    assert_eq!(connection.execute(hide, []).unwrap(), 1);
    assert!(!in_production(world).contains("fraud"), "it is hidden");
}

fn in_production(world: &World) -> String {
    world.ok(&["search", "stage = production"])
}

const MISSED: &str = "it is not found by `stage=production`, as its record says it should be";

#[test]
fn a_model_that_was_hidden_from_searches_is_found_and_shown_again() {
    let world = two_models();
    assert!(in_production(&world).contains("fraud"));
    assert!(world.ok(&["verify", "--markers"]).contains("sound"));
    hide(&world);
    assert!(world.ok(&["verify"]).contains("sound"), "that is looked at only if it is asked for");
    for (option, then) in
        [("--markers", "; searches miss it until that is renewed"), ("--renew-markers", ", and is again")]
    {
        let ran = world.run(&["verify", option]);
        assert_eq!(ran.code, 8, "{}", ran.stdout);
        assert_eq!(ran.stdout.matches("it is not found by").count(), 1, "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("{MISSED}{then}")), "{}", ran.stdout);
    }
    assert!(world.ok(&["verify", "--markers"]).contains("sound"));
    assert!(in_production(&world).contains("fraud"));
}

#[test]
fn what_a_damaged_log_says_makes_it_findable_by_nothing() {
    let world = two_models();
    hide(&world);
    world.damage_commit("model/fraud", 2);
    let ran = world.run(&["verify", "--renew-markers"]);
    assert_eq!(ran.code, 8, "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("{MISSED}; searches miss it")), "{}", ran.stdout);
    assert_eq!(world.run(&["verify", "churn", "--renew-markers"]).code, 0);
}

/// An auditor sees what was let through: the report is made of the log.
#[test]
fn a_rule_that_was_lied_away_shows_in_the_audit() {
    let world = two_models();
    world.ok(&["register", "fraud", "model.bin", "--version", "v2"]);
    world.ok(&["policy", "set", "production", "--model", "fraud", "--approver", "bo"]);
    world.ok(&["promote", "fraud", "v2", "--to", "staging"]);
    world.ok(&["promote", "fraud", "v2", "--to", "production"]);
    world.ok(&["approve", "fraud", "v2", "--actor", "bo"]);
    world.ok(&["rollback", "fraud", "-m", "slow"]);
    world.ok(&["lift-quarantine", "fraud", "v2", "-m", "mended"]);
    world.ok(&["promote", "fraud", "v2", "--to", "staging"]);
    for number in 0..8 {
        world.ok(&["tag", "fraud", &format!("t{number}")]);
    }
    let exceptions = || world.run(&["audit", "fraud"]).stdout;
    let without = "approval was demanded, and this promotion went without";
    assert!(!exceptions().contains(without), "{}", exceptions());

    lie(&world, "whole", |state| state["policy"] = json!({}));
    world.ok(&["promote", "fraud", "v2", "--to", "production", "--actor", "mallory"]);
    assert!(world.ok(&["get", "fraud", "production"]).contains("v2.0.0"), "it is believed");
    assert!(exceptions().contains(without), "{}", exceptions());
    assert!(exceptions().contains("contradicts the log"), "{}", exceptions());
}
