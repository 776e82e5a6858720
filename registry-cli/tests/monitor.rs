//! What must not happen in production, through the binary: rules, observations, and who looks.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;
use insta::assert_snapshot;

fn serving() -> World {
    let world = World::new();
    for version in ["v1.0.0", "v1.1.0"] {
        world.write("model.bin", version);
        world.ok(&["register", "fraud", "model.bin", "--version", version, "--metric", "accuracy=0.9"]);
        world.ok(&["promote", "fraud", version, "--to", "staging"]);
        world.ok(&["promote", "fraud", version, "--to", "production"]);
    }
    world
}

#[test]
fn a_model_that_turns_bad_is_taken_out() {
    let world = serving();
    world.write("latencies.txt", "180\n190\n\n210\n");
    world.write(
        "rule.yaml",
        "metric: error_rate\nfails_if: {above: 0.05}\nsamples_min: 100\non_no_data: success\n",
    );
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    tell(&["rules", "show"]);
    tell(&["rules", "set", "slow", "--metric", "latency", "--aggregate", "p95", "--above", "200"]);
    tell(&["rules", "set", "errors", "--file", "rule.yaml"]);
    tell(&[
        "rules",
        "set",
        "drop",
        "--model",
        "fraud",
        "--metric",
        "accuracy",
        "--worse-by",
        "10%",
        "--better",
        "higher",
        "--window",
        "24h",
        "--for",
        "10m",
        "--alert",
    ]);
    tell(&["rules", "show"]);
    tell(&["rules", "show", "fraud"]);
    tell(&["rules", "remove", "drop", "--model", "fraud"]);
    tell(&["observe", "fraud", "--metric", "latency", "--value", "100", "--value", "120", "--dry-run"]);
    tell(&["observe", "fraud", "--metric", "latency", "--values", "latencies.txt", "--replica", "one"]);
    tell(&["monitor", "fraud", "--once"]);
    tell(&["observe", "fraud", "--metric", "latency", "--value", "500", "--value", "900"]);
    tell(&["monitor", "fraud", "--once"]);
    tell(&["monitor", "fraud", "--once"]);
    tell(&["info", "fraud"]);
    tell(&["history", "fraud", "--from", "7"]);
    tell(&["verify", "fraud"]);
    assert_snapshot!("monitor", story);
}

#[test]
fn a_finding_is_a_line_for_programs() {
    let world = serving();
    world.ok(&["rules", "set", "slow", "--metric", "latency", "--above", "200", "--try-out"]);
    world.ok(&["observe", "fraud", "--metric", "latency", "--value", "500"]);
    let line = world.ok(&["monitor", "fraud", "--once", "--json"]);
    let finding: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((finding["rule"].as_str(), finding["action"].as_str()), (Some("slow"), Some("alerted")));
    assert_eq!(finding["breach"]["measurements"][0]["value"], 500.0);
    assert_eq!(world.json(&["info", "fraud"])["production"], "v1.1.0", "it was only tried out");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let world = serving();
    world.write("words.txt", "1\ntwo\n");
    world.write("misspelt.yaml", "metric: m\nfails_if: {above: 1}\nwindw_seconds: 5\n");
    let before = world.stored();
    for (arguments, says) in [
        (vec!["rules", "set", "x", "--metric", "m"], "--above"),
        (vec!["rules", "set", "x", "--above", "1"], "--metric"),
        (vec!["rules", "set", "x", "--metric", "m", "--above", "NaN"], "must be finite"),
        (vec!["rules", "set", "x", "--metric", "m", "--worse-by", "10%"], "--better"),
        (
            vec!["rules", "set", "x", "--metric", "m", "--worse-by", "10", "--better", "higher"],
            "a percentage",
        ),
        (vec!["rules", "set", "x", "--metric", "m", "--above", "1", "--window", "0s"], "longer than nothing"),
        (
            vec!["rules", "set", "x", "--metric", "m", "--above", "1", "--baseline", "best"],
            "`previous` or a number",
        ),
        (vec!["rules", "set", "x", "--file", "misspelt.yaml"], "windw_seconds"),
        (
            vec!["rules", "set", "x", "--metric", "m", "--above", "1", "--model", "nobody"],
            "no model `nobody`",
        ),
        (vec!["observe", "fraud", "--metric", "m"], "--value"),
        (vec!["observe", "fraud", "--metric", "m", "--values", "words.txt"], "line 2 is not a number"),
        (vec!["observe", "fraud", "v9", "--metric", "m", "--value", "1"], "v9.0.0"),
        (vec!["monitor", "nobody", "--once"], "no model `nobody`"),
    ] {
        let ran = world.run(&arguments);
        assert!(ran.code != 0 && ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(world.stored(), before);
}
