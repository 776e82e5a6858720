//! What must not happen in production, through the binary: rules, observations, and who looks.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::receiver::Receiver;
use common::{Ran, World};
use insta::assert_snapshot;

const SECRET: &str = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=";

fn serving() -> World {
    serving_in(World::new())
}

fn serving_in(world: World) -> World {
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
    world.write("latencies.txt", "180\n190\n\n195\n");
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

/// What goes wrong for a while is no reason to stop looking. Here it is a commit that cannot be read.
#[test]
fn a_monitor_survives_what_passes() {
    let world = serving_in(World::in_a_folder_of_objects());
    world.write("slow.yaml", "metric: latency\nfails_if: {above: 200}\ninterval_seconds: 1\n");
    world.ok(&["rules", "set", "slow", "--file", "slow.yaml"]);
    let mut command = world.command(&["monitor", "fraud", "--every", "1s", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    std::thread::sleep(Duration::from_millis(1_500));
    let damage = next_of(&world.registry(), "fraud");
    std::fs::write(&damage, "{}").unwrap();
    let line = said.next().unwrap().unwrap();
    std::fs::remove_file(&damage).unwrap();
    assert!(line.contains("looked in vain, and will look again"), "{line}");
    world.ok(&["observe", "fraud", "--metric", "latency", "--value", "500"]);
    // Before that, there was too little to say anything.
    let mut findings = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(findings.any(|line| line.unwrap().contains("\"rolled_back\"")));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Where the next commit of a model will be, in a folder of objects.
fn next_of(folder: &Path, model: &str) -> PathBuf {
    let mut logs = vec![folder.to_owned()];
    let mut last: Option<PathBuf> = None;
    while let Some(folder) = logs.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_commit = path.extension().is_some_and(|end| end == "json")
                && path.parent().unwrap().ends_with("log")
                && path.to_str().unwrap().contains(model);
            match path.is_dir() {
                true => logs.push(path),
                false if is_commit => last = last.max(Some(path)),
                false => {}
            }
        }
    }
    let last = last.unwrap();
    let number: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    last.with_file_name(format!("{:020}.json", number + 1))
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
    let long = "x".repeat(249);
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
        (vec!["rules", "set", &long, "--metric", "m", "--above", "1"], "is too long"),
        (
            vec!["rules", "set", "x", "--metric", "m", "--above", "1", "--model", "nobody"],
            "no model `nobody`",
        ),
        (vec!["observe", "fraud", "--metric", "m"], "--value"),
        (vec!["observe", "fraud", "--metric", "m", "--values", "words.txt"], "line 2 is not a number"),
        (vec!["observe", "fraud", "v9", "--metric", "m", "--value", "1"], "v9.0.0"),
        (vec!["monitor", "nobody", "--once"], "no model `nobody`"),
        (vec!["monitor", "fraud", "--notify", "carrier-pigeon"], "expected a URL"),
        (vec!["monitor", "fraud", "--notify", "https://example.com/x"], "REGISTRY_WEBHOOK_SECRET"),
        (
            vec![
                "monitor",
                "fraud",
                "--notify",
                "https://u:p@example.com/",
                "--webhook-secret-file",
                "words.txt",
            ],
            "a user or a password",
        ),
        (
            vec![
                "monitor",
                "fraud",
                "--notify",
                "https://example.com/",
                "--webhook-secret-file",
                "words.txt",
            ],
            "`whsec_`",
        ),
        (vec!["monitor", "fraud", "--prometheus", "http://127.0.0.1:9"], "--query"),
        (vec!["monitor", "fraud", "--query", "m=up"], "--prometheus"),
        (vec!["monitor", "fraud", "--prometheus", "http://127.0.0.1:9", "--query", "up"], "`NAME=VALUE`"),
        (
            vec!["monitor", "fraud", "--prometheus", "http://127.0.0.1:9", "--query", "m=up", "--step", "0s"],
            "a millisecond or more",
        ),
        (vec!["observe", "fraud", "--metric", "m", "--prometheus", "http://127.0.0.1:9"], "--query"),
        (
            vec!["observe", "fraud", "--metric", "m", "--prometheus", "http://127.0.0.1:9", "--query", "up"],
            "no connection",
        ),
    ] {
        let ran = world.run(&arguments);
        assert!(ran.code != 0 && ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(world.stored(), before);
}

fn with_secret(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(world.command(arguments).env("REGISTRY_WEBHOOK_SECRET", SECRET))
}

#[test]
fn who_could_not_be_told_is_said_and_the_rollback_with_it() {
    let world = serving();
    world.ok(&["rules", "set", "slow", "--metric", "latency", "--above", "200"]);
    world.ok(&["observe", "fraud", "--metric", "latency", "--value", "500"]);
    let receiver = Receiver::answering(403, "");
    let url = receiver.url("/PATH-SECRET");
    let ran = with_secret(&world, &["monitor", "fraud", "--once", "--notify", &url]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("rolled back from v1.1.0 to v1.0.0"), "{ran:?}");
    assert!(ran.stderr.contains("could not be told") && ran.stderr.contains("answered 403"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("SECRET"), "{ran:?}");
    assert_eq!(receiver.sent().len(), 1);
}

#[test]
fn lines_for_programs_beside_a_webhook_are_what_it_is_sent() {
    let world = serving();
    world.write("secret.txt", format!("{SECRET}\n"));
    world.ok(&["rules", "set", "slow", "--metric", "latency", "--above", "200", "--alert"]);
    world.ok(&["observe", "fraud", "--metric", "latency", "--value", "500"]);
    let receiver = Receiver::answering(200, "");
    let arguments =
        ["monitor", "fraud", "--once", "--notify", "stdout", "--webhook-secret-file", "secret.txt"];
    let line = world.ok(&[&arguments[..], &["--notify", &receiver.url("/")]].concat());
    assert_eq!(line, format!("{}\n", receiver.sent()[0].body));
    assert_eq!(world.ok(&arguments).lines().count(), 1);
}

/// What Prometheus answers where one version makes many errors: since no time is later than now, in 2001.
const ERRORS: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"version":"v1.1.0"},"value":[1000000000,"0.2"]},
    {"metric":{"version":"v1.0.0"},"value":[1000000000,"0.01"]}]}}"#;

#[test]
fn numbers_come_from_prometheus() {
    let world = serving();
    let server = Receiver::answering(200, ERRORS);
    let url = server.url("");
    let mut story = String::new();
    let by_label = ["--version-label", "version"];
    for (arguments, more) in [
        (["observe", "fraud", "--metric", "errors", "--query", "rate"], &by_label[..]),
        (["observe", "fraud", "--metric", "errors", "--query", "rate"], &["--dry-run"]),
        (["observe", "fraud", "--metric", "errors", "--query", "rate"], &["--from", "2001-09-09T00:00:00Z"]),
    ] {
        let arguments = [&arguments[..], &["--prometheus", &url], more].concat();
        story.push_str(&world.seen(&arguments).replace(&url, "http://prometheus"));
        story.push('\n');
    }
    assert_snapshot!("prometheus", story);
    let arguments = ["observe", "fraud", "--metric", "e", "--query", "up", "--prometheus", &url];
    let ran = Ran::of(world.command(&arguments).env("REGISTRY_PROMETHEUS_TOKEN", "TOKEN"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let sent = server.sent();
    let last = sent.last().unwrap();
    assert_eq!((last.line(), last.header("authorization")), ("POST /api/v1/query HTTP/1.1", "Bearer TOKEN"));
    assert!(last.body.starts_with("query=up&time="), "{}", last.body);
}

#[test]
fn a_monitor_pulls_before_it_looks() {
    let world = serving();
    let rule = "metric: errors\nfails_if: {above: 0.05}\nconsecutive_error_limit: 0\non_no_data: success\n";
    world.write("rule.yaml", rule);
    world.ok(&["rules", "set", "errors", "--file", "rule.yaml"]);
    let away = Receiver::answering(503, r#"{"status":"error","errorType":"timeout","error":"too busy"}"#);
    let look = |server: &Receiver| {
        let url = server.url("");
        let arguments = ["monitor", "fraud", "--once", "--prometheus", &url, "--query", "errors=rate"];
        // Without a label nothing is asked of the moments before the version was there.
        world.ok(&[&arguments[..], &["--version-label", "version"]].concat())
    };
    let unreadable = look(&away);
    assert!(unreadable.contains("could not be read 1 times in a row: Prometheus at"), "{unreadable}");
    assert!(unreadable.contains("says timeout: too busy; v1.1.0 is still there"), "{unreadable}");
    assert_eq!(look(&Receiver::answering(200, ERRORS)), "no rule is broken\n", "it was not there in 2001");
    assert_eq!(world.json(&["info", "fraud"])["production"], "v1.1.0");
}
