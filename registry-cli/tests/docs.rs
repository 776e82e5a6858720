//! Documents of the models, through the binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::World;
use insta::assert_snapshot;

fn begun() -> World {
    let world = World::new();
    world.write("model.bin", "weights");
    world.write("card.toml", "[metadata]\nincrement = \"0042-fraud\"\n[metrics]\naccuracy = 0.85\n");
    world.ok(&["register", "fraud", "model.bin", "--card", "card.toml", "--version", "v1"]);
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    world.ok(&["promote", "fraud", "v1", "--to", "production"]);
    world
}

#[test]
fn a_pipeline_finds_out_what_is_out_of_date() {
    let world = begun();
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    tell(&["docs", "--output", "docs", "--check"]);
    assert!(!world.work().join("docs").exists(), "a check writes nothing");
    tell(&["docs", "--output", "docs", "--cards"]);
    tell(&["docs", "--output", "docs", "--cards", "--check"]);
    world.ok(&["deprecate", "fraud", "v1", "-m", "superseded"]);
    tell(&["docs", "--output", "docs", "--cards", "--check"]);
    tell(&["docs", "--output", "docs", "--cards", "--check", "--json"]);
    tell(&["docs", "--output", "docs", "fraud"]);
    tell(&["docs", "--output", "docs", "--tree", "--files", "--increment", "0042"]);
    tell(&["docs", "--output", "docs", "nobody"]);
    tell(&["docs", "--output", "docs", "--increment", "0042"]);
    tell(&["docs", "--output", "model.bin"]);
    assert_snapshot!(story);
    assert_eq!(std::fs::read(world.work().join("docs/models/fraud-v1.0.0/model.bin")).unwrap(), b"weights");
}

#[test]
fn a_broken_fence_changes_nothing_and_is_named() {
    let world = begun();
    world.ok(&["docs", "--output", "docs"]);
    let page = world.work().join("docs/pages/fraud.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let broken = text.replace("<!-- registry:end deprecations -->\n", "");
    std::fs::write(&page, &broken).unwrap();
    world.ok(&["deprecate", "fraud", "v1", "-m", "superseded"]);
    let index = std::fs::read(world.work().join("docs/index.md")).unwrap();
    let ran = world.run(&["docs", "--output", "docs"]);
    let line = 1 + text.lines().position(|line| line == "<!-- registry:begin deprecations -->").unwrap();
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains(&format!("fraud.md, line {line}: the generated part `deprecations`")),
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read_to_string(&page).unwrap(), broken);
    assert_eq!(std::fs::read(world.work().join("docs/index.md")).unwrap(), index);
}

#[cfg(unix)]
#[test]
fn watching_follows_changes_and_new_models_until_it_is_interrupted() {
    let world = begun();
    let mut command = world.command(&["docs", "--output", "docs", "--watch", "--every", "20ms", "--json"]);
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["new"].as_array().unwrap().len(), 2);
    world.ok(&["deprecate", "fraud", "v1", "-m", "superseded"]);
    assert_eq!(next()["changed"][0], "index.md");
    let page = std::fs::read_to_string(world.work().join("docs/pages/fraud.md")).unwrap();
    assert!(page.contains("Deprecated"), "{page}");
    world.ok(&["register", "other", "model.bin", "--version", "v1"]);
    assert_eq!(next()["new"][0], "pages/other.md");
    let id = watching.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}
