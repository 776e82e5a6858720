//! Gates and trials through the binary, as people and programs see them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;
use insta::assert_snapshot;

const GATES: &str = "
- gate: no_regression
  metrics: [accuracy]
- gate: metadata
  required: [owner]
- gate: signed
";

/// v1 is in production and v2 in staging.
fn begun() -> World {
    let world = World::new();
    world.write("model.bin", "the first weights");
    world.write("better.bin", "the second weights");
    world.write("gates.yaml", GATES);
    let register = |file: &str, version: &str, accuracy: &str| {
        world.ok(&[
            "register",
            "fraud",
            file,
            "--version",
            version,
            "--metric",
            accuracy,
            "--stage",
            "staging",
        ]);
    };
    register("model.bin", "v1", "accuracy=0.9");
    world.ok(&["promote", "fraud", "v1", "--to", "production"]);
    register("better.bin", "v2", "accuracy=0.8");
    world
}

const START: [&str; 14] = [
    "trial",
    "start",
    "fraud",
    "v2",
    "--in",
    "production",
    "--share",
    "10%",
    "--measure",
    "error rate",
    "--not-worse-than",
    "0.01",
    "--samples",
    "1000",
];

#[test]
fn gates_and_a_canary_as_people_see_them() {
    let world = begun();
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    let policy =
        ["policy", "set", "production", "--no-approval", "--gate", "accuracy>=0.85", "--gates", "gates.yaml"];
    tell(&policy);
    tell(&["policy", "show"]);
    tell(&["promote", "fraud", "v2", "--to", "production"]);
    tell(&["promote", "fraud", "v2", "--to", "production", "--emergency"]);
    tell(&["promote", "fraud", "v2", "--to", "production", "--emergency", "-m", "fraud wave", "--dry-run"]);
    tell(&["policy", "set", "production", "--no-approval", "--gate", "accuracy>=0.75", "--trial"]);
    tell(&["traffic", "fraud"]);
    tell(&START);
    tell(&["traffic", "fraud"]);
    tell(&["info", "fraud"]);
    let batch = ["trial", "observe", "fraud", "v2", "--control", "90/9000", "--request-id", "monday"];
    tell(&batch);
    tell(&batch);
    tell(&["trial", "observe", "fraud", "v2", "--treatment", "10/1000"]);
    tell(&["trial", "show", "fraud"]);
    tell(&["trial", "conclude", "fraud", "v2", "--dry-run"]);
    tell(&["trial", "conclude", "fraud", "v2"]);
    tell(&["trial", "show", "fraud"]);
    tell(&["promote", "fraud", "v2", "--to", "production"]);
    tell(&["trial", "show", "fraud"]);
    tell(&["traffic", "fraud"]);
    tell(&["history", "fraud"]);
    assert_snapshot!("trial", story);
}

#[test]
fn looks_stops_and_ends_as_people_see_them() {
    let world = begun();
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    let start = ["trial", "start", "fraud", "v2", "--share", "0.5", "--measure", "order value", "--score"];
    tell(&[&start[..], &["--better", "higher", "--duration", "7d", "--looks", "2"]].concat());
    tell(&["trial", "observe", "fraud", "v2", "--control", "50,10.5,4", "--treatment", "50,10.6,4"]);
    tell(&["trial", "conclude", "fraud", "v2"]);
    tell(&["trial", "show", "fraud"]);
    tell(&["trial", "conclude", "fraud", "v2"]);
    tell(&["trial", "abort", "fraud", "v2"]);
    tell(&START);
    tell(&["trial", "abort", "fraud", "v2", "-m", "the router was wrong"]);
    tell(&START);
    tell(&["archive", "fraud", "v2"]);
    tell(&["trial", "show", "fraud"]);
    tell(&["history", "fraud", "--from", "5"]);
    assert_snapshot!("looks", story);
}

#[test]
fn what_programs_read_of_trials_keeps_its_shape() {
    let world = begun();
    let mut shapes = String::new();
    let mut show = |arguments: &[&str]| {
        shapes.push_str(&world.seen(&[arguments, &["--json"]].concat()));
        shapes.push('\n');
    };
    show(&START);
    show(&["traffic", "fraud"]);
    show(&["trial", "observe", "fraud", "v2", "--control", "90/9000", "--treatment", "10/1000"]);
    show(&["trial", "show", "fraud"]);
    show(&["trial", "conclude", "fraud", "v2"]);
    world.ok(&[
        "policy",
        "set",
        "production",
        "--no-approval",
        "--gate",
        "accuracy>=0.75",
        "--trial",
        "--compatible",
    ]);
    show(&["promote", "fraud", "v2", "--to", "production"]);
    world.ok(&["policy", "set", "production", "--no-approval", "--trial"]);
    show(&["policy", "show"]);
    show(&["promote", "fraud", "v2", "--to", "production"]);
    assert_snapshot!("trial_shapes", shapes);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let world = begun();
    world.write("unknown.json", r#"[{"gate": "vibes"}]"#);
    world.write("misspelt.yaml", "- gate: metric\n  name: accuracy\n  at_leest: 0.9\n");
    let stored = world.stored();
    for (arguments, code, part) in [
        (vec!["policy", "set", "production", "--gates", "unknown.json"], 2, "vibes"),
        (vec!["policy", "set", "production", "--gates", "misspelt.yaml"], 2, "at_leest"),
        (vec!["policy", "set", "production", "--gates", "nowhere.yaml"], 2, "nowhere.yaml"),
        (vec!["policy", "set", "production", "--gate", "accuracy"], 2, "has no bound"),
        (vec!["trial", "start", "fraud", "v2", "--share", "10%", "--measure", "error rate"], 2, "--samples"),
        (
            vec![
                "trial",
                "start",
                "fraud",
                "v2",
                "--share",
                "100%",
                "--measure",
                "error rate",
                "--samples",
                "9",
            ],
            2,
            "below 1",
        ),
        (
            vec!["trial", "start", "fraud", "v2", "--share", "10%", "--measure", "clicks", "--samples", "9"],
            2,
            "does not tell whether more or less is better",
        ),
        (
            vec!["trial", "start", "fraud", "v1", "--share", "10%", "--measure", "auc", "--samples", "9"],
            2,
            "is the version that is tried",
        ),
        (vec!["trial", "observe", "fraud", "v2", "--control", "1/2"], 4, "no trial of v2.0.0 runs"),
        (vec!["trial", "observe", "fraud", "v2"], 2, "--control"),
        (vec!["trial", "observe", "fraud", "v2", "--control", "2/1"], 2, "more successes than trials"),
        (vec!["trial", "conclude", "fraud", "v2"], 4, "start one first"),
        (vec!["traffic", "nobody"], 4, "there is no model"),
    ] {
        let ran = world.run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
        assert_eq!(world.stored(), stored, "{arguments:?}");
    }
    world.ok(&START);
    let stored = world.stored();
    for (arguments, part) in [
        (
            vec!["trial", "observe", "fraud", "v2", "--control", "2,1.5,0.5"],
            "the trial measures a proportion",
        ),
        (vec!["trial", "observe", "fraud", "v2", "--control", "0/0"], "holds no sample"),
        (
            vec!["trial", "observe", "fraud", "v2", "--control", "1/2", "--treatment", "2,1.5,0.5"],
            "both arms count the same",
        ),
    ] {
        let ran = world.run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
        assert_eq!(world.stored(), stored, "{arguments:?}");
    }
}

#[test]
fn what_is_not_said_of_an_approval_stays() {
    let world = World::new();
    let set = |arguments: &[&str]| {
        world.ok(&[&["policy", "set", "production"], arguments].concat());
        let shown = world.ok(&["policy", "show"]);
        shown.lines().find(|line| line.contains("production ")).unwrap().trim().to_owned()
    };
    let people = ["--approver", "bo", "--approver", "chen", "--quorum", "2"];
    let two = set(&people);
    assert!(two.contains("2 approvals by bo, chen"), "{two}");
    assert_eq!(set(&[]), two, "nothing is said");
    let longer = set(&["--expires-after", "7d", "--requester-may-approve"]);
    assert!(longer.contains("2 approvals by bo, chen") && longer.contains("7 d"), "{longer}");
    assert_eq!(set(&["--quorum", "2"]), longer);
    assert_ne!(set(&["--requester-may-approve=false"]), longer);
    let others = set(&["--approver", "dee", "--approver", "eve"]);
    assert!(others.contains("2 approvals by dee, eve"), "{others}");
    let ran = world.run(&["policy", "set", "production", "--approver", "bo"]);
    assert_eq!(ran.code, 2, "two approvals of one");
    let anew = set(&["--anew", "--quorum", "1"]);
    assert!(anew.contains("1 approval by anyone") && !anew.contains("7 d"), "{anew}");
}

#[test]
fn what_is_said_of_gates_leaves_the_approval_and_the_other_way_round() {
    let world = World::new();
    let shown = || world.ok(&["policy", "show"]);
    world.ok(&["policy", "set", "production", "--approver", "bob@example.com"]);
    world.ok(&["policy", "set", "production", "--gate", "accuracy>=0.9"]);
    assert!(shown().contains("1 approval by bob@example.com"), "{}", shown());
    assert!(shown().contains("accuracy at least 0.9"), "{}", shown());
    world.ok(&["policy", "set", "production", "--approver", "eve@example.com"]);
    assert!(shown().contains("eve@example.com") && shown().contains("accuracy at least 0.9"), "{}", shown());
    world.ok(&["policy", "set", "production", "--no-gates"]);
    assert!(shown().contains("eve@example.com") && !shown().contains("accuracy"), "{}", shown());
    // The rule of a model begins with that of all models, which it replaces.
    world.write("model.bin", "weights");
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    world.ok(&["policy", "set", "production", "--model", "fraud", "--compatible"]);
    let own = world.ok(&["policy", "show", "fraud"]);
    assert!(own.contains("eve@example.com") && own.contains("compatible"), "{own}");
    world.ok(&["policy", "set", "staging", "--gate", "recall>=0.5"]);
    assert!(
        !shown().lines().any(|line| line.contains("staging") && line.contains("approval by")),
        "{}",
        shown()
    );
}
