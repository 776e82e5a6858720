//! Runs the example that wraps an MLflow server, on servers of this machine, and checks what it tells.
//! `cargo xtask test` installs and starts them, and says where they are; each comes with a Python that has its client.

#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly, its helpers too")]

use std::process::Command;

/// What a variable says.
fn variable(name: &str) -> String {
    let missing = || panic!("{name} says nothing; `cargo xtask test` starts the servers and sets it");
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(missing)
}

/// The words that the example prints on a server, with one space between them.
fn told_on(server: &str, python: &str) -> String {
    let address = variable(server);
    assert!(address.starts_with("http://127.0.0.1:"), "{server} is {address}, which is not this machine");
    let python = variable(python);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlflow"));
    command.args(["--python", &python, &address]).env("RUST_BACKTRACE", "0");
    command.env("MLFLOW_DISABLE_TELEMETRY", "true").env("DO_NOT_TRACK", "true");
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "the example failed: {err}\n{out}");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks that these texts occur, one after the other.
fn assert_in_order(text: &str, expected: &[&str]) {
    let mut rest = text;
    for part in expected {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is not in:\n{rest}"));
        rest = after;
    }
}

fn is_told_on(server: &str, python: &str) {
    let text = told_on(server, python);
    assert_in_order(
        &text,
        &[
            "1. A TEAM WITH MLFLOW",
            "version 3: logistic regression, the settings of a smoke test left on",
            "alias production: version 1",
            "2. OPENED, AND NOTHING WRITTEN",
            "It shows 3 versions:",
            "v1.0.0: version 1 in MLflow, by ana, sklearn==",
            "v2.0.0: version 2 in MLflow, by ana, sklearn==",
            "v3.0.0: version 3 in MLflow, by ana, sklearn==",
            "v1.0.0 is in production, for the alias says so.",
            "asks for 10 columns: mean radius, mean texture",
            "Its log has no commits.",
            "3. A RULE FOR PRODUCTION",
            "mlflow adopted from mlflow: registered v1.0.0; registered v2.0.0; registered v3.0.0; v1.0.0: \
             development → production",
            "chen changed the rules",
            "4. A PROMOTION, WITH APPROVAL",
            "5 files, read as a whole for that.",
            "The request waits for 2 approvals.",
            "! ana registered the version and may not approve it too",
            "Bo approves; 1 more to go.",
            "Chen approves, and in the same commit v2.0.0 enters production; v1.0.0 is archived",
            "version 2: stage Production; aliases: production; tags: stage production, version v2.0.0",
            "5. PAST THE RULES",
            "alias production -> version 3",
            "v3.0.0 is in production",
            "drift: somebody moved v3.0.0 to production in mlflow, past the registry",
            "chen adopted from mlflow: v2.0.0: production → archived, superseded by v3.0.0; v3.0.0: \
             development → production",
            "6. BACK, IN ONE CALL",
            "v2.0.0 is in production again",
            "version 2: stage Production; aliases: production; tags: stage production, version v2.0.0",
            "version 3: stage Archived; aliases: none; tags: quarantined true, stage archived, version v3.0.0",
            "! v3.0.0 is quarantined since",
            "7. WHAT WAS IN PRODUCTION WHEN?",
            "v1.0.0, from",
            "put there by mlflow, as found in mlflow",
            "v2.0.0, from",
            "put there by chen, approved by bo and chen",
            "v3.0.0, from",
            "put there by chen, as found in mlflow: seen in the morning",
            "v2.0.0, from",
            "to now",
            "put there by bo, by rollback from v3.0.0",
            "5 files on record",
            "a moment before the log began. Refused:",
            "10 files with",
            "Nothing is wrong.",
            "8. THE RECORD",
            "bo rolled back from v3.0.0 to v2.0.0",
            "9. A SERVICE THAT KNOWS ONLY MLFLOW",
            "@production: 94",
            "/Production: 94",
        ],
    );
}

#[test]
fn a_registry_around_mlflow_3() {
    is_told_on("REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_3_PYTHON");
}

#[test]
fn a_registry_around_mlflow_2() {
    is_told_on("REGISTRY_TEST_MLFLOW_2", "REGISTRY_TEST_MLFLOW_2_PYTHON");
}

/// Runs the example with a Python and an address, which it does not like.
fn refusal(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlflow"));
    command.args(arguments).env_remove("MLFLOW_TRACKING_URI").env_remove("REGISTRY_EXAMPLE_PYTHON");
    let ended = command.env("RUST_BACKTRACE", "0").output().unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn what_is_missing_is_said() {
    let said = refusal(&[]);
    assert!(said.contains("give its address, or set MLFLOW_TRACKING_URI"), "{said}");
    let said = refusal(&["127.0.0.1:5000"]);
    assert!(said.contains("begins with http:// or https://"), "{said}");
    let address = variable("REGISTRY_TEST_MLFLOW_3");
    let said = refusal(&["--python", "no-such-python", &address]);
    assert!(said.contains("`no-such-python` is no Python with MLflow and scikit-learn"), "{said}");
    assert!(said.contains("REGISTRY_EXAMPLE_PYTHON"), "{said}");
}
