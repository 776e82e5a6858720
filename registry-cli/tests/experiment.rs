//! Training runs through the binary: tracked step by step, and around a command that knows nothing of runs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;
use insta::assert_snapshot;

/// What a story tells.
struct Story<'a> {
    world: &'a World,
    text: String,
}

impl Story<'_> {
    fn tell(&mut self, arguments: &[&str]) {
        self.text.push_str(&self.world.seen(arguments));
        self.text.push('\n');
    }
}

/// A model that is registered by itself when its training is over, with a number that follows from what changed.
fn automatic_registration(world: World) {
    let model = "fraud-detection-model";
    world.write("signature.json", r#"{"inputs": {"amount": "double"}, "outputs": {"score": "double"}}"#);
    world.write(
        "requirements.txt",
        "--index-url https://ada:secret@pypi.example.com/simple\nxgboost==1.7.0\n",
    );
    world.write("loss.csv", "step,name,value\n1,loss,0.7\n2,loss,0.5\n3,loss,NaN\n\n4,loss,0.25\n");
    world.write("model.pkl", "the weights after training");
    let mut story = Story { world: &world, text: String::new() };
    story.tell(&[
        "experiment",
        "start",
        "xgboost-v1",
        "--increment",
        "0042",
        "--param",
        "n_estimators=673",
        "--capture",
        "none",
        "--requirements",
        "requirements.txt",
        "--cargo-lock",
        "Cargo.lock",
    ]);
    let run = ["--run", "xgboost-v1:1"];
    let with_run = |arguments: &[&'static str]| [arguments, &run].concat();
    story.tell(&with_run(&["experiment", "log", "--param", "max_depth=6", "--param", "booster=gbtree"]));
    story.tell(&with_run(&["experiment", "log", "--csv", "loss.csv"]));
    story.tell(&with_run(&["experiment", "log", "--metric", "accuracy=0.87", "--step", "4"]));
    story.tell(&with_run(&["experiment", "log", "--param", "max_depth=7"]));
    story.tell(&with_run(&["experiment", "artifact", "loss.csv"]));
    story.tell(&with_run(&[
        "experiment",
        "register",
        "fraud-detection-model",
        "model.pkl",
        "--signature",
        "signature.json",
        "--data-version",
        "v2024-01",
        "--feature-version",
        "v1",
    ]));
    story.tell(&with_run(&["experiment", "finish"]));
    story.tell(&with_run(&["experiment", "log", "--metric", "accuracy=0.9"]));
    story.tell(&["experiment", "show", "xgboost-v1:1"]);
    story.tell(&["experiment", "show", "xgboost-v1:1", "--metric", "loss"]);

    // The next run registers what is better, and the number follows by itself.
    world.write("model.pkl", "the weights after more training");
    let second = world.ok(&["experiment", "start", "xgboost-v1", "--increment", "0043", "--capture", "none"]);
    let second = second.trim();
    story.tell(&[
        "experiment",
        "register",
        model,
        "model.pkl",
        "--signature",
        "signature.json",
        "--data-version",
        "v2024-02",
        "--run",
        second,
    ]);
    story.tell(&["experiment", "fail", "the cluster was needed", "--run", second]);
    story.tell(&["experiment", "list"]);
    story.tell(&["experiment", "list", "xgboost-v1"]);
    story.tell(&["lineage", model, "v0.1.0"]);
    story.tell(&["compare", model, "v0.1.0", "newest"]);
    story.tell(&["verify"]);
    assert_snapshot!("automatic_registration", story.text);

    let version = world.json(&["info", model, "v0.1.0"]);
    let metadata = &version["content"]["metadata"];
    assert_eq!(metadata["run"], "xgboost-v1:1");
    assert_eq!(metadata["hyperparameters"]["n_estimators"], 673);
    let lineage = world.json(&["lineage", model, "v0.1.0"]).to_string();
    assert!(lineage.contains(r#""attributes":{"run":"xgboost-v1:1"}"#), "{lineage}");
    let shown = world.json(&["experiment", "show", "xgboost-v1:1"]);
    assert_eq!(
        (shown["status"].as_str(), shown["metrics"]["loss"]["count"].as_u64()),
        (Some("finished"), Some(4))
    );
    assert!(!shown.to_string().contains("secret"), "{shown}");
}

#[test]
fn automatic_registration_on_sqlite() {
    automatic_registration(World::new());
}

#[test]
fn automatic_registration_in_a_folder_of_objects() {
    automatic_registration(World::in_a_folder_of_objects());
}

#[cfg(feature = "servers")]
#[test]
fn automatic_registration_in_a_bucket() {
    automatic_registration(World::in_a_bucket());
}

#[cfg(feature = "servers")]
#[test]
fn automatic_registration_on_mlflow_3_on_sqlite() {
    automatic_registration(World::on_mlflow("REGISTRY_TEST_MLFLOW_3"));
}

#[cfg(feature = "servers")]
#[test]
fn automatic_registration_on_mlflow_2_on_sqlite() {
    automatic_registration(World::on_mlflow("REGISTRY_TEST_MLFLOW_2"));
}

#[cfg(feature = "servers")]
#[test]
fn automatic_registration_on_mlflow_3_on_postgresql() {
    automatic_registration(World::on_mlflow("REGISTRY_TEST_MLFLOW_PG"));
}

/// The lineage of a version out of a run is the tree that it would be without.
#[test]
fn the_tree_from_the_data_to_production() {
    let world = World::new();
    let run = world.ok(&["experiment", "start", "exp-003-xgboost"]);
    world.write("model.pkl", "weights");
    world.ok(&[
        "experiment",
        "register",
        "fraud-detection",
        "model.pkl",
        "--version",
        "v3.1.0",
        "--data-version",
        "v2024-01",
        "--feature-version",
        "v1",
        "--run",
        run.trim(),
    ]);
    for stage in ["staging", "production"] {
        world.ok(&["promote", "fraud-detection", "v3.1.0", "--to", stage]);
    }
    let tree = world.ok(&["lineage", "fraud-detection", "v3.1.0"]);
    assert_snapshot!("tree", tree);
    assert_eq!(world.json(&["experiment", "finish", "--run", run.trim()])["run"], "exp-003-xgboost:1");
}

#[test]
fn the_files_of_a_run_become_those_of_its_version_unless_others_are_given() {
    let world = World::new();
    let run = world.ok(&["experiment", "start", "x", "--capture", "none"]);
    let run = run.trim();
    world.write("model.pkl", "weights");
    world.ok(&["experiment", "artifact", "model.pkl", "--run", run]);
    let rehearsed = world.json(&["experiment", "register", "m", "--run", run, "--dry-run"]);
    let done = world.json(&["experiment", "register", "m", "--run", run]);
    assert_eq!((done["outcome"].as_str(), &rehearsed["digest"]), (Some("committed"), &done["digest"]));
    let files = |version: &str| world.json(&["info", "m", version])["content"]["artifacts"].clone();
    assert_eq!(files("v0.1.0")[0]["path"], "model.pkl");
    let again = world.json(&["experiment", "register", "m", "--run", run]);
    assert_eq!((again["outcome"].as_str(), again["existed"].as_bool()), (Some("unchanged"), Some(true)));
    world.write("other.pkl", "other weights");
    world.ok(&["experiment", "register", "m", "other.pkl", "--version", "v2", "--run", run]);
    let names = files("v2");
    assert_eq!((names.as_array().unwrap().len(), names[0]["path"].as_str()), (1, Some("other.pkl")));
    let shown = world.json(&["experiment", "show", run]);
    assert_eq!(shown["all_versions"], serde_json::json!(["m@v0.1.0", "m@v2.0.0"]));
}

#[test]
fn a_registration_is_repeated_under_its_id_though_the_run_went_on() {
    let world = World::new();
    let run = world.ok(&["experiment", "start", "x", "--capture", "none"]);
    world.write("model.pkl", "weights");
    let register =
        ["experiment", "register", "m", "model.pkl", "--run", run.trim(), "--request-id", "register-1"];
    let first = world.json(&register);
    world.ok(&["experiment", "log", "--metric", "loss=0.5", "--run", run.trim()]);
    let again = world.json(&register);
    assert_eq!((again["existed"].as_bool(), &again["digest"]), (Some(true), &first["digest"]));
}

#[test]
fn an_experiment_that_cannot_be_read_is_not_passed_over() {
    let world = World::new();
    for name in ["x", "y"] {
        world.ok(&["experiment", "start", name, "--capture", "none"]);
    }
    world.damage_commit("experiment/x", 1);
    let listed = world.run(&["experiment", "list"]);
    assert_eq!(listed.code, 8, "{} {}", listed.stdout, listed.stderr);
}

#[test]
fn many_values_are_sent_in_batches() {
    let world = World::new();
    let run = world.ok(&["experiment", "start", "x", "--capture", "none"]);
    let lines: String =
        (0..2_500).map(|step| format!("{step},loss,{}\n", 1.0 / f64::from(step + 1))).collect();
    world.write("loss.csv", lines);
    let mut log = vec!["experiment", "log", "--csv", "loss.csv", "--run", run.trim()];
    log.extend(["--request-id", "upload-1", "--at", "2024-01-15T10:30:00Z"]);
    world.ok(&log);
    let before = world.stored();
    // Sent again under the same id, nothing is there twice.
    world.ok(&log);
    let shown = world.json(&["experiment", "show", run.trim()]);
    let loss = &shown["metrics"]["loss"];
    assert_eq!((loss["count"].as_u64(), loss["step"].as_u64()), (Some(2_500), Some(2_499)));
    assert_eq!(world.stored(), before);
    let series = world.ok(&["experiment", "show", run.trim(), "--metric", "loss"]);
    assert_eq!((series.lines().count(), series.lines().nth(1)), (2_500, Some("1,loss,0.5")));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new();
    let run = world.ok(&["experiment", "start", "x", "--param", "depth=6", "--capture", "none"]);
    let run = run.trim();
    world.write("words.csv", "1,loss,0.5\n2,loss,low\n");
    world.write("short.csv", "1,loss\n");
    world.write("wide.csv", "step,loss,acc\n1,0.5,0.9\n");
    let to_end_it = format!("registry experiment abort \"why\" --run {run}");
    world.write("model.pkl", "weights");
    let before = world.stored();
    for (code, arguments, says) in [
        (2, vec!["experiment", "start", "a/b"], "`/`, `\\` and `:` are not allowed"),
        (2, vec!["experiment", "start", "x", "--lease", "0s"], "expected a second to 366 days"),
        (2, vec!["experiment", "start", "x", "--lease", "24"], "unit"),
        (2, vec!["experiment", "start", "x", "--capture", "everything"], "host-name"),
        (2, vec!["experiment", "start", "x", "--param", "a=1", "--param", "a=2"], "is given twice"),
        (
            2,
            vec!["experiment", "start", "x", "--param", "a=null"],
            "invalid parameter \"a\": its value is null",
        ),
        (2, vec!["experiment", "log", "--metric", "loss=1"], "--run"),
        (2, vec!["experiment", "log", "--run", "x"], "`<experiment>:<number>`"),
        (2, vec!["experiment", "log", "--run", run], "--param"),
        (2, vec!["experiment", "log", "--metric", "loss=low", "--run", run], "`NAME=NUMBER`"),
        (2, vec!["experiment", "log", "--csv", "words.csv", "--run", run], "line 2: `low` is not a number"),
        (
            2,
            vec!["experiment", "log", "--csv", "short.csv", "--run", run],
            "line 1: expected `step,name,value`",
        ),
        (
            2,
            vec!["experiment", "log", "--csv", "wide.csv", "--run", run],
            "line 1: `step` is not a step; expected `step,name,value`, for example",
        ),
        (2, vec!["experiment", "abort", run, "--run", run], &to_end_it),
        (2, vec!["experiment", "fail", "another:7", "--run", run], "is the name of a run"),
        (5, vec!["experiment", "log", "--param", "depth=7", "--run", run], "is 6 and cannot become 7"),
        (4, vec!["experiment", "log", "--param", "depth=7", "--run", "x:9"], "no run `x:9`"),
        (
            2,
            vec!["experiment", "log", "--metric", "loss=1", "--run", run, "--request-id", "r-1"],
            "needs --at",
        ),
        (4, vec!["experiment", "finish", "--run", "y:1"], "no run `y:1`"),
        (2, vec!["experiment", "fail", "--run", run], "<WHY>"),
        (4, vec!["experiment", "register", "m", "model.pkl", "--run", "x:9"], "no run `x:9`"),
        (
            2,
            vec!["experiment", "register", "m", "model.pkl", "--run", run, "--experiment", "other"],
            "the run belongs to `x`",
        ),
        (2, vec!["experiment", "artifact", "nothing.pkl", "--run", run], "nothing.pkl"),
        (4, vec!["experiment", "artifact", "model.pkl", "--run", "x:9"], "no run `x:9`"),
        (4, vec!["experiment", "show", "y:1"], "no experiment `y`"),
        (2, vec!["experiment", "show", run, "--metric", "auc"], "the run has logged no values"),
        (4, vec!["experiment", "list", "y"], "no experiment `y`"),
        (2, vec!["experiment", "run", "x"], "COMMAND"),
    ] {
        let ran = world.run(&arguments);
        assert!(ran.code == code && ran.stderr.contains(says), "{arguments:?}: {} {}", ran.code, ran.stderr);
        assert_eq!(world.stored(), before, "{arguments:?}");
    }
    world.write("headed.csv", "step,name,value\n1,loss,0.5\n");
    world.ok(&["experiment", "log", "--csv", "headed.csv", "--run", run, "--dry-run"]);
    world.ok(&["experiment", "abort", "epoch 3: too slow", "--run", run, "--dry-run"]);
    world.ok(&["experiment", "start", "x", "--dry-run"]);
    world.ok(&["experiment", "log", "--metric", "loss=1", "--run", run, "--dry-run"]);
    world.ok(&["experiment", "artifact", "model.pkl", "--run", run, "--dry-run"]);
    world.ok(&["experiment", "run", "x", "--dry-run", "--", "/bin/false"]);
    assert_eq!(world.stored(), before);
}

/// Around a command.
#[cfg(unix)]
mod around {
    use std::process::{Child, Stdio};
    use std::time::Duration;

    use super::common::{Ran, World, redacted};
    use insta::assert_snapshot;

    const NAP: Duration = Duration::from_millis(50);

    fn run<'a>(script: &'a str, options: &[&'a str]) -> Vec<&'a str> {
        [&["experiment", "run", "xgboost-v1", "--capture", "none"], options, &["--", "/bin/sh", "-c", script]]
            .concat()
    }

    /// A program that finds the run in its environment and tells of itself.
    #[test]
    fn a_command_is_tracked_without_knowing_how() {
        let world = World::new();
        world.write("model.pkl", "weights");
        let script = r#"
            echo "training $REGISTRY_RUN"
            "$REGISTRY_BIN" experiment log --param max_depth=6 --metric loss=0.5 --step 1 &&
            "$REGISTRY_BIN" experiment register fraud-detection-model model.pkl
        "#;
        let arguments = run(script, &["--increment", "0042"]);
        let binary = env!("CARGO_BIN_EXE_registry");
        let ran = Ran::of(world.command(&arguments).env("REGISTRY_BIN", binary));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let mut story = redacted(&ran.stdout);
        story.push_str(&world.seen(&["experiment", "show", "xgboost-v1:1"]));
        assert_snapshot!("around", story);
    }

    #[test]
    fn a_run_ends_as_its_command_does() {
        let world = World::new();
        let failed = world.run(&run("exit 3", &[]));
        assert_eq!((failed.code, failed.stderr.as_str()), (3, ""));
        assert_eq!(failed.stdout, "xgboost-v1:1 failed: the command ended with exit status: 3\n");
        let arguments = run("echo to the answer; kill -9 $$", &["--json"]);
        let killed = world.run(&arguments);
        let answer: serde_json::Value = serde_json::from_str(&killed.stdout).unwrap();
        assert_eq!((killed.code, answer["exit_code"].as_u64()), (137, Some(137)));
        assert_eq!(
            (answer["outcome"]["kind"].as_str(), killed.stderr.as_str()),
            (Some("failed"), "to the answer\n")
        );
        let missing =
            world.run(&["experiment", "run", "xgboost-v1", "--capture", "none", "--", "/no/such/thing"]);
        assert!(missing.code == 2 && missing.stderr.contains("cannot be started"), "{}", missing.stderr);
        let runs = world.json(&["experiment", "list", "xgboost-v1"]);
        let statuses: Vec<_> =
            runs["runs"].as_array().unwrap().iter().map(|run| run["status"].as_str()).collect();
        assert_eq!(statuses, [Some("failed"); 3]);
    }

    #[test]
    fn a_command_is_not_started_twice_under_one_request_id() {
        let world = World::new();
        let arguments = run("echo once >> ran", &["--request-id", "nightly"]);
        assert_eq!(world.run(&arguments).code, 0);
        let again = world.run(&arguments);
        assert_eq!(again.code, 5, "{}", again.stderr);
        assert!(again.stderr.contains("has started xgboost-v1:1 before"), "{}", again.stderr);
        assert_eq!(std::fs::read_to_string(world.work().join("ran")).unwrap(), "once\n");
    }

    #[test]
    fn a_command_that_ends_its_run_itself_has_the_last_word() {
        let world = World::new();
        let arguments = run(r#""$REGISTRY_BIN" experiment fail "it diverged""#, &[]);
        let ran = Ran::of(world.command(&arguments).env("REGISTRY_BIN", env!("CARGO_BIN_EXE_registry")));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("has recorded itself that xgboost-v1:1 failed"), "{}", ran.stderr);
        assert_eq!(world.json(&["experiment", "show", "xgboost-v1:1"])["status"], "failed");
    }

    /// The process of this program around a command that sleeps, and that of the command.
    fn sleeping(world: &World, before: &str, options: &[&str]) -> (Child, String) {
        let script = format!("{before} echo $$ > pid.new; mv pid.new pid; exec sleep 60");
        let arguments = run(&script, options);
        let mut command = world.command(&arguments);
        command.env("PATH", "/usr/bin:/bin").stdout(Stdio::null()).stderr(Stdio::null());
        let around = command.spawn().unwrap();
        let pid = world.registry().parent().unwrap().join("work/pid");
        let written = (0..400).find_map(|_| {
            std::thread::sleep(NAP);
            std::fs::read_to_string(&pid).ok()
        });
        (around, written.unwrap().trim().to_owned())
    }

    fn signal(signal: &str, pid: &str) -> bool {
        let done = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .stderr(Stdio::null())
            .status();
        done.unwrap().success()
    }

    /// Whether a process is there, and is more than the rest of one.
    fn is_alive(pid: &str) -> bool {
        signal("0", pid)
    }

    fn is_gone_soon(pid: &str) -> bool {
        (0..100).any(|_| {
            std::thread::sleep(NAP);
            !is_alive(pid)
        })
    }

    #[test]
    fn a_run_that_is_interrupted_is_aborted_with_its_command() {
        let world = World::new();
        let (mut around, pid) = sleeping(&world, "", &[]);
        assert!(signal("TERM", &around.id().to_string()));
        assert_eq!(around.wait().unwrap().code(), Some(143));
        assert!(is_gone_soon(&pid), "the command was left behind");
        let shown = world.json(&["experiment", "show", "xgboost-v1:1"]);
        assert_eq!((shown["status"].as_str(), shown["is_lost"].as_bool()), (Some("aborted"), Some(false)));
        assert_eq!(shown["ended"]["outcome"]["reason"], "interrupted by SIGTERM");
    }

    #[test]
    fn a_command_that_does_not_listen_is_killed_at_the_second_signal() {
        let world = World::new();
        let (mut around, pid) = sleeping(&world, "trap '' INT TERM;", &[]);
        for _ in 0..2 {
            assert!(signal("INT", &around.id().to_string()));
            std::thread::sleep(NAP * 4);
        }
        assert_eq!(around.wait().unwrap().code(), Some(130));
        assert!(is_gone_soon(&pid), "the command was left behind");
        let shown = world.json(&["experiment", "show", "xgboost-v1:1"]);
        assert_eq!(shown["ended"]["outcome"]["reason"], "interrupted by SIGINT");
    }

    /// Nobody can record the end of a process that is killed; its lease tells.
    #[test]
    fn a_run_whose_process_is_killed_is_lost_when_its_lease_is_over() {
        let world = World::new();
        let (mut around, pid) = sleeping(&world, "", &["--lease", "3s"]);
        // It gives signs of life for longer than the lease.
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(world.json(&["experiment", "show", "xgboost-v1:1"])["status"], "running");
        around.kill().unwrap();
        around.wait().unwrap();
        std::thread::sleep(Duration::from_millis(3_500));
        let shown = world.json(&["experiment", "show", "xgboost-v1:1"]);
        assert_eq!((shown["status"].as_str(), shown["is_lost"].as_bool()), (Some("aborted"), Some(true)));
        assert!(shown.get("ended").is_none(), "nobody said so: {shown}");
        let since = shown["started"]["at"].as_str().unwrap();
        let then = world.json(&["experiment", "show", "xgboost-v1:1", "--at", since]);
        assert_eq!(then["status"], "running");
        let text = world.ok(&["experiment", "list", "xgboost-v1"]);
        assert!(text.contains("aborted (lost)"), "{text}");
        // The command itself outlived it, as commands do.
        assert!(signal("KILL", &pid));
    }
}
