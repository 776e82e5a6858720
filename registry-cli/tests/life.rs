//! A model's whole life through the binary, as people see it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::{Ran, World};
use insta::assert_snapshot;

const CARD: &str = r#"
description = "Finds fraudulent card payments"
tags = ["fraud", "team=risk"]
[metadata]
algorithm = "XGBoost"
framework = "xgboost==1.7.0"
python_version = "3.10"
training_date = "2024-01-15"
training_duration = "45min"
training_data_version = "v2024-01"
increment = "0042"
owner = "risk@example.com"
hyperparameters = { n_estimators = 673, max_depth = 6 }
features = ["amount_vs_user_average", "merchant_risk_score"]
[metrics]
accuracy = 0.85
log_loss = { value = 0.31, direction = "lower", samples = 10000 }
[deployment]
latency_p50 = "40ms"
size = "15MB"
cpu = "0.2 cores"
[signature]
inputs = { amount = "double", merchant_id = "long" }
outputs = { fraud_probability = "double" }
"#;

fn begun() -> World {
    with_files(World::new())
}

fn with_files(world: World) -> World {
    world.write("model.bin", "the first weights");
    world.write("better.bin", "the second weights");
    world.write("requirements.txt", "xgboost==1.7.0\n");
    world.write("card.toml", CARD);
    world.write(
        "better.toml",
        CARD.replace("accuracy = 0.85", "accuracy = 0.87").replace(
            "fraud_probability = \"double\"",
            "fraud_probability = \"double\", risk_score = \"double\"",
        ),
    );
    world
}

#[test]
fn the_whole_life_of_a_model() {
    whole_life(World::new());
}

/// Word for word the same story as on SQLite.
#[test]
fn the_whole_life_of_a_model_in_a_folder_of_objects() {
    whole_life(World::in_a_folder_of_objects());
}

#[cfg(feature = "servers")]
#[test]
fn the_whole_life_of_a_model_in_a_bucket() {
    whole_life(World::in_a_bucket());
}

#[cfg(feature = "servers")]
#[test]
fn the_whole_life_of_a_model_on_mlflow_3_on_sqlite() {
    whole_life(World::on_mlflow("REGISTRY_TEST_MLFLOW_3"));
}

#[cfg(feature = "servers")]
#[test]
fn the_whole_life_of_a_model_on_mlflow_2_on_sqlite() {
    whole_life(World::on_mlflow("REGISTRY_TEST_MLFLOW_2"));
}

#[cfg(feature = "servers")]
#[test]
fn the_whole_life_of_a_model_on_mlflow_3_on_postgresql() {
    whole_life(World::on_mlflow("REGISTRY_TEST_MLFLOW_PG"));
}

fn whole_life(world: World) {
    let world = with_files(world);
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    tell(&[
        "register",
        "fraud",
        "model.bin",
        "--card",
        "card.toml",
        "--requirements",
        "requirements.txt",
        "--version",
        "v3",
    ]);
    tell(&[
        "register",
        "fraud",
        "model.bin",
        "--card",
        "card.toml",
        "--requirements",
        "requirements.txt",
        "--version",
        "v3",
    ]);
    tell(&["promote", "fraud", "v3", "--to", "staging"]);
    tell(&["promote", "fraud", "v3", "--to", "prod", "-m", "first release"]);
    tell(&[
        "policy",
        "set",
        "production",
        "--approver",
        "bob@example.com",
        "--approver",
        "eve@example.com",
        "--expires-after",
        "30d",
    ]);
    tell(&["explain", "fraud", "--card", "better.toml"]);
    tell(&["explain", "fraud", "--card", "better.toml", "--format", "markdown"]);
    tell(&["bump", "fraud", "auto", "better.bin", "--card", "better.toml", "--metric", "recall=0.62"]);
    tell(&["compare", "fraud", "v3.0.0", "v3.1.0"]);
    tell(&["compare", "fraud", "latest", "--format", "markdown", "--tolerance", "5%"]);
    tell(&["promote", "fraud", "v3.1.0", "--to", "staging"]);
    tell(&["promote", "fraud", "v3.1.0", "--to", "production", "-m", "better recall", "--dry-run"]);
    tell(&["promote", "fraud", "v3.1.0", "--to", "production", "-m", "better recall"]);
    tell(&["info", "fraud"]);
    tell(&["approve", "fraud", "v3.1.0"]);
    tell(&["reject", "fraud", "v3.1.0", "--actor", "eve@example.com", "--comment", "recall is too low"]);
    tell(&["list"]);
    tell(&["info", "fraud"]);
    tell(&["withdraw", "fraud", "v3.1.0", "--actor", "eve@example.com"]);
    tell(&["approve", "fraud", "v3.1.0", "--actor", "bob@example.com", "--comment", "tested in staging"]);
    tell(&["info", "fraud", "production"]);
    tell(&["lineage", "fraud"]);
    tell(&["get", "fraud", "previous"]);
    tell(&["rollback", "fraud", "--to", "v3.0.0", "-m", "too many false positives"]);
    tell(&["rollback", "fraud", "--to", "v3.0.0", "-m", "too many false positives", "--force"]);
    tell(&["promote", "fraud", "v3.1.0", "--to", "staging"]);
    tell(&["lift-quarantine", "fraud", "v3.1.0", "-m", "the threshold was wrong, not the model"]);
    tell(&["alias", "fraud", "champion", "v3.0.0"]);
    tell(&["alias", "fraud"]);
    tell(&["tag", "fraud", "tier=1", "pci"]);
    tell(&["tag", "fraud", "--version", "v3.1.0", "--remove", "team"]);
    tell(&["tag", "fraud"]);
    tell(&["describe", "fraud", "Card fraud, all markets"]);
    tell(&[
        "amend",
        "fraud",
        "v3.1.0",
        "--metric",
        "precision=0.9",
        "--latency-p50",
        "35ms",
        "--owner",
        "ops@example.com",
    ]);
    tell(&[
        "deprecate",
        "fraud",
        "v3.1.0",
        "--superseded-by",
        "v3.0.0",
        "--end-of-life",
        "2099-12-31",
        "-m",
        "not worth it",
    ]);
    tell(&["get", "fraud", "v3.1"]);
    tell(&["deprecate", "fraud", "v3.1.0", "--lift"]);
    tell(&["delete", "fraud", "v3.1.0"]);
    tell(&["info", "fraud"]);
    tell(&["undelete", "fraud", "v3.1.0"]);
    tell(&["get", "fraud", "production", "--output", "out"]);
    tell(&["policy", "show", "fraud"]);
    tell(&[
        "policy",
        "transitions",
        "--model",
        "fraud",
        "--allow",
        "dev:production",
        "--allow",
        "production:archived",
    ]);
    tell(&["policy", "set", "production", "--model", "fraud", "--no-approval"]);
    tell(&["policy", "show", "fraud"]);
    tell(&["policy", "remove", "production", "--model", "fraud"]);
    tell(&["search", "tag.fraud and metric.accuracy >= 0.86"]);
    tell(&["search", "text = 'card fraud'"]);
    tell(&["search", "stage in (prod, archived) order by version desc", "--limit", "1"]);
    tell(&["verify", "--bytes"]);
    tell(&["gc", "--dry-run"]);
    tell(&["history", "fraud"]);
    tell(&["list"]);
    assert_snapshot!("life", story);
    assert_eq!(std::fs::read(world.work().join("out/model.bin")).unwrap(), b"the first weights");
    assert_eq!(
        std::fs::read_to_string(world.work().join("out/requirements.txt")).unwrap(),
        "xgboost==1.7.0\n"
    );
}

#[test]
fn what_programs_read_keeps_its_shape() {
    let world = begun();
    let mut shapes = String::new();
    let mut show = |arguments: &[&str]| {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        shapes.push_str(&world.seen(&with_json));
        shapes.push('\n');
    };
    show(&["register", "fraud", "model.bin", "--card", "card.toml", "--version", "v3", "--dry-run"]);
    show(&[
        "register",
        "fraud",
        "model.bin",
        "--card",
        "card.toml",
        "--version",
        "v3",
        "--request-id",
        "r-1",
    ]);
    show(&[
        "register",
        "fraud",
        "model.bin",
        "--card",
        "card.toml",
        "--version",
        "v3",
        "--request-id",
        "r-1",
    ]);
    show(&["promote", "fraud", "v3", "--to", "staging", "--require-approval"]);
    show(&["info", "fraud"]);
    show(&["approve", "fraud", "v3", "--actor", "bob@example.com"]);
    show(&["info", "fraud", "v3"]);
    show(&["list"]);
    show(&["history", "fraud", "--from", "2"]);
    show(&["explain", "fraud", "--card", "better.toml"]);
    show(&["compare", "fraud", "v3", "v3"]);
    show(&["lineage", "fraud", "v3"]);
    show(&["search", "stage = production"]);
    show(&["policy", "show"]);
    show(&["verify", "fraud"]);
    show(&["gc", "--dry-run"]);
    show(&["get", "fraud"]);
    assert_snapshot!("shapes", shapes);
}

#[test]
fn a_file_can_be_piped_whole_or_in_part() {
    let world = begun();
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    assert_eq!(world.ok(&["get", "fraud", "v1", "--cat", "model.bin"]), "the first weights");
    assert_eq!(world.ok(&["get", "fraud", "v1", "--cat", "model.bin", "--range", "4..9"]), "first");
}

#[test]
fn folders_are_registered_whole_and_come_out_as_they_went_in() {
    let world = World::new();
    for name in ["model/weights/a.bin", "model/weights/b.bin", "model/config.json"] {
        world.write(name, name);
    }
    world.ok(&["register", "fraud", "model", "--auto"]);
    world.ok(&["get", "fraud", "latest", "-o", "out"]);
    for name in ["weights/a.bin", "weights/b.bin", "config.json"] {
        let written = std::fs::read_to_string(world.work().join("out").join(name)).unwrap();
        assert_eq!(written, format!("model/{name}"));
    }
}

#[test]
fn a_request_is_done_once_however_often_it_is_sent() {
    let world = begun();
    let register = ["register", "fraud", "model.bin", "--version", "v1", "--request-id", "ci-7"];
    assert_eq!(world.json(&register)["outcome"], "committed");
    assert_eq!(world.json(&register)["outcome"], "repeated");
    let promote = ["promote", "fraud", "v1", "--to", "staging", "--request-id", "ci-8"];
    assert_eq!(world.json(&promote)["outcome"], "committed");
    assert_eq!(world.json(&promote)["outcome"], "repeated");
    assert_eq!(world.json(&["promote", "fraud", "v1", "--to", "staging"])["outcome"], "unchanged");
    assert_eq!(world.ok(&["history", "fraud", "--json"]).lines().count(), 3 - 1);
}

#[test]
fn rehearsals_write_nothing_not_even_a_folder() {
    let world = begun();
    world.ok(&["register", "fraud", "model.bin", "--version", "v1", "--dry-run"]);
    world.ok(&["explain", "fraud", "--card", "card.toml"]);
    assert_eq!(world.stored(), None);
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    let stored = world.stored();
    for arguments in [
        vec!["register", "fraud", "better.bin", "--version", "v2"],
        vec!["bump", "fraud", "minor", "better.bin"],
        vec!["promote", "fraud", "v1", "--to", "staging"],
        vec!["archive", "fraud", "v1"],
        vec!["deprecate", "fraud", "v1"],
        vec!["delete", "fraud", "v1"],
        vec!["tag", "fraud", "a"],
        vec!["alias", "fraud", "champion", "v1"],
        vec!["describe", "fraud", "text"],
        vec!["amend", "fraud", "v1", "--metric", "a=1"],
        vec!["policy", "set", "production"],
        vec!["policy", "transitions", "--allow", "dev:production"],
        vec!["gc"],
    ] {
        let mut arguments = arguments;
        arguments.push("--dry-run");
        world.ok(&arguments);
        assert_eq!(world.stored(), stored, "{arguments:?}");
    }
}

#[test]
fn looking_makes_no_registry() {
    let world = World::new();
    for arguments in
        [vec!["list"], vec!["info", "fraud"], vec!["verify"], vec!["promote", "fraud", "v1", "--to", "dev"]]
    {
        let ran = world.run(&arguments);
        assert_eq!(ran.code, 4, "{arguments:?}");
        assert!(ran.stderr.contains("there is no registry"), "{}", ran.stderr);
        assert_eq!(world.stored(), None, "{arguments:?}");
    }
}

#[test]
fn without_a_place_the_users_data_folder_is_taken() {
    let world = begun();
    let run = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env_remove("REGISTRY_URL").env("XDG_DATA_HOME", world.work().join("data"));
        Ran::of(&mut command)
    };
    if cfg!(any(windows, target_os = "macos")) {
        return; // Other rules; `XDG_DATA_HOME` is not asked there.
    }
    assert_eq!(run(&["register", "fraud", "model.bin", "--auto"]).code, 0);
    assert!(world.work().join("data/model-registry/registry.db").exists());
    assert!(run(&["list"]).stdout.contains("fraud"));
}

#[test]
fn without_an_actor_the_user_at_the_host_is_taken() {
    let world = begun();
    let mut command = world.command(&["register", "fraud", "model.bin", "--auto"]);
    assert_eq!(Ran::of(command.env_remove("REGISTRY_ACTOR").env("USER", "grace")).code, 0);
    assert!(world.ok(&["history", "fraud"]).contains("  grace@"));
}

#[test]
fn watch_shows_what_is_there_and_what_comes() {
    let world = begun();
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    let mut command =
        world.command(&["watch", "fraud", "--from", "1", "--limit", "2", "--every", "20ms", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    let output = child.wait_with_output().unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["events"][0]["event"], "stage_changed");
}

#[test]
fn the_version_in_production_is_compared_with_the_latest() {
    let world = begun();
    for (version, file) in [("v1", "model.bin"), ("v2", "better.bin")] {
        world.ok(&["register", "other", file, "--version", version]);
    }
    world.ok(&["promote", "other", "v1", "--to", "staging"]);
    world.ok(&["promote", "other", "v1", "--to", "production"]);
    let in_full = world.ok(&["compare", "other", "v1", "v2"]);
    for asked in [&["compare", "other", "v1"][..], &["compare", "other", "v2"], &["compare", "other"]] {
        assert_eq!(world.ok(asked), in_full, "{asked:?}");
    }
}

#[test]
fn people_are_told_that_there_is_nothing() {
    let world = begun();
    world.ok(&["register", "plain", "model.bin", "--version", "v1"]);
    assert_eq!(world.ok(&["tag", "plain"]), "plain has no tags\n");
    assert_eq!(world.ok(&["tag", "plain", "--version", "v1"]), "plain v1.0.0 has no tags\n");
    assert_eq!(world.ok(&["alias", "plain"]), "plain has no aliases\n");
    for command in ["tag", "alias"] {
        assert_eq!(world.json(&[command, "plain"]), serde_json::json!({}));
    }
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let world = begun();
    world.ok(&["register", "fraud", "model.bin", "--card", "card.toml", "--version", "v1"]);
    for arguments in
        [vec!["history", "fraud"], vec!["info", "fraud", "v1", "--json"], vec!["completions", "bash"]]
    {
        let mut command = world.command(&arguments);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
    }
}

#[test]
fn secrets_in_urls_are_never_shown() {
    let world = World::new();
    let url = "gopher://me:hunter2@host/x?token=hunter3";
    for arguments in [
        vec!["list"],
        vec!["list", "--json"],
        vec!["--help"],
        vec!["register", "--help"],
        vec!["list", "--nope"],
    ] {
        let ran = Ran::of(world.command(&arguments).env("REGISTRY_URL", url));
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!all.contains("hunter"), "{arguments:?}: {all}");
    }
}

#[test]
fn text_from_outside_cannot_steer_the_terminal() {
    let world = begun();
    world.ok(&[
        "register",
        "fraud",
        "model.bin",
        "--version",
        "v1",
        "--tag",
        "a=\u{1b}[2J",
        "--param",
        "x=\u{1b}[31m",
    ]);
    for arguments in [vec!["info", "fraud", "v1"], vec!["search"], vec!["tag", "fraud", "--version", "v1"]] {
        assert!(!world.ok(&arguments).contains('\u{1b}'), "{arguments:?}");
    }
}

#[test]
fn colours_are_only_for_those_who_want_them() {
    let world = begun();
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    assert!(!world.ok(&["info", "fraud"]).contains('\u{1b}'));
    let forced = Ran::of(world.command(&["info", "fraud"]).env("CLICOLOR_FORCE", "1"));
    assert!(forced.stdout.contains('\u{1b}'));
    let json = Ran::of(world.command(&["info", "fraud", "--json"]).env("CLICOLOR_FORCE", "1"));
    assert!(!json.stdout.contains('\u{1b}'));
}

#[test]
fn every_command_has_help_and_completions_are_written() {
    let world = World::new();
    let help = world.ok(&["--help"]);
    for code in [
        "0  done",
        "2  usage",
        "3  rejected",
        "4  not found",
        "5  conflict",
        "6  storage",
        "7  outcome",
        "8  corrupt",
        "9  documents",
    ] {
        assert!(help.contains(code), "{code}");
    }
    for command in [
        "list",
        "info",
        "search",
        "register",
        "bump",
        "explain",
        "promote",
        "approve",
        "reject",
        "withdraw",
        "rollback",
        "lift-quarantine",
        "get",
        "history",
        "watch",
        "deprecate",
        "archive",
        "delete",
        "undelete",
        "tag",
        "alias",
        "describe",
        "amend",
        "policy",
        "verify",
        "gc",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        assert!(world.ok(&[command, "--help"]).contains("Usage: registry "), "{command}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(world.ok(&["completions", shell]).contains("lift-quarantine"), "{shell}");
    }
}
