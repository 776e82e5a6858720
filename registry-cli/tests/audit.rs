//! What an auditor is told on the command line, in each form, and what becomes of it where the record is damaged.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::World;
use insta::assert_snapshot;
use registry_core::{By, ManualClock, RegistryExt as _};

/// A version that was approved by the book after its author had tried, and one that was put in past everybody.
fn lived() -> World {
    let world = World::new();
    world.write("model.bin", "first weights");
    world.write(
        "card.toml",
        "[metadata]\nalgorithm = \"XGBoost\"\nowner = \"olga\"\n[metrics]\naccuracy = 0.9\n",
    );
    let people = ["--approver", "ada@example.com", "--approver", "bob@example.com"];
    world.ok(&[&["policy", "set", "production", "-m", "policy 7"][..], &people].concat());
    world.ok(&["register", "fraud", "model.bin", "--version", "v1", "--card", "card.toml"]);
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    world.ok(&["promote", "fraud", "v1", "--to", "production", "--actor", "dave"]);
    let own = world.run(&["approve", "fraud", "v1"]);
    assert_eq!(own.code, 3, "{}", own.stderr);
    world.ok(&["approve", "fraud", "v1", "--actor", "bob@example.com", "--meaning", "validation"]);
    world.write("model.bin", "second weights");
    world.ok(&["register", "fraud", "model.bin", "--version", "v1.1"]);
    world.ok(&["promote", "fraud", "v1.1", "--to", "staging"]);
    world.ok(&["promote", "fraud", "v1.1", "--to", "production", "--emergency", "-m", "an attack"]);
    world.ok(&["rules", "set", "slow", "--model", "fraud", "--metric", "latency", "--above", "200"]);
    world.ok(&["alias", "fraud", "champion", "v1"]);
    world
}

/// Without what follows from when the test ran.
fn stable(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("- Kept: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_auditor_is_told_what_happened() {
    let world = lived();
    assert_snapshot!("report", stable(&world.seen(&["audit", "fraud"])));
    assert_snapshot!("rules", world.seen(&["policy", "report"]));
    assert_snapshot!("rules.md", world.seen(&["policy", "report", "fraud", "--format", "markdown"]));
}

#[test]
fn programs_get_the_report_as_json() {
    let world = lived();
    let report = world.json(&["audit"]);
    let mut other: serde_json::Value =
        serde_json::from_str(&world.ok(&["audit", "--format", "json"])).unwrap();
    // Two reports are made at two instants.
    for field in ["as_of", "range"] {
        other[field] = report[field].clone();
    }
    assert_eq!(report, other);
    let kinds: Vec<&str> = report["models"][0]["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["self_approval_attempt", "not_signed", "approval_overridden", "not_approved", "not_signed"]
    );
    let rules = world.json(&["policy", "report", "fraud"]);
    assert_eq!(rules["models"][0]["rules"][0]["area"], "approval");
    // Before it all.
    let before = world.json(&["audit", "--from", "2020-01-01", "--to", "2020-12-31"]);
    assert_eq!(before["models"][0]["deployments"], serde_json::json!([]));
    assert_eq!(before["range"]["to"], "2021-01-01T00:00:00.000000Z");
}

#[test]
fn reports_are_written_into_files_in_the_place_of_older_ones() {
    let world = lived();
    for format in ["json", "markdown", "html"] {
        for _ in 0..2 {
            let said = world.ok(&["audit", "--format", format, "--output", "report"]);
            assert!(said.starts_with("wrote report\n1 model, "), "{said}");
        }
        let written = std::fs::read_to_string(world.work().join("report")).unwrap();
        let start = match format {
            "json" => "{\n",
            "markdown" => "# Audit report",
            _ => "<!DOCTYPE html>",
        };
        assert!(written.starts_with(start), "{format}: {written:.40}");
    }
    let said = world.json(&["audit", "--format", "csv", "--output", "tables"]);
    assert_eq!((&said["is_sound"], &said["exceptions"]), (&true.into(), &5.into()));
    let written: Vec<&str> =
        said["written"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(written.contains(&"tables/deployments.csv"), "{written:?}");
    let deployments = std::fs::read_to_string(world.work().join("tables/deployments.csv")).unwrap();
    assert_eq!(deployments.lines().count(), 3);
    let left: Vec<_> = std::fs::read_dir(world.work().join("tables")).unwrap().collect();
    assert_eq!(left.len(), written.len(), "nothing is left behind");
}

#[test]
fn commits_that_are_dated_ahead_are_warned_of() {
    let world = lived();
    assert_eq!(world.run(&["audit"]).stderr, "");
    let clock = ManualClock::new("2100-01-01T00:00:00Z".parse().unwrap());
    let registry = backend_local::open(world.registry()).unwrap().with_clock(Arc::new(clock));
    let by = By::new("ada@example.com".parse().unwrap());
    let model = "fraud".parse().unwrap();
    let described = registry.describe(&by, &model, None, Some("Finds fraud.".parse().unwrap()));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(described).unwrap();
    // This machine's clock is right, and the commit is dated ahead all the same.
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    let ran = world.run(&["audit", "fraud", "--json"]);
    assert_eq!(ran.code, 0, "nothing is wrong with the log");
    assert!(ran.stderr.contains("warning: 2 commits dated after "), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let behind: Vec<u64> = report["population"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["commits_after"].as_u64().unwrap())
        .collect();
    assert_eq!(behind, [0, 2]);
    // Whoever names an end means it.
    let ran = world.run(&["audit", "fraud", "--to", "2100-12-31", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("Finds fraud."));
}

#[test]
fn a_report_on_a_damaged_record_is_written_and_ends_like_verify() {
    let world = lived();
    world.damage_blob(b"first weights");
    assert_eq!(world.run(&["audit"]).code, 0, "nobody looked at the bytes");
    let ran = world.run(&["audit", "--bytes", "--output", "report.md"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 flaw of the record found; see the report"), "{}", ran.stderr);
    let written = std::fs::read_to_string(world.work().join("report.md")).unwrap();
    assert!(written.contains("NOT SOUND: 1 flaw") && written.contains("bytes\\_missing"), "{written}");

    world.damage_commit("model/fraud", 2);
    let ran = world.run(&["audit", "--json"]);
    assert_eq!((ran.code, world.run(&["verify"]).code), (8, 8));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["is_sound"], false);
    assert_eq!(report["flaws"].as_array().unwrap().len(), 1);
}
