//! Runs the programs of this package as a reader would, and checks what they tell.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly, its helpers too")]

use std::process::Command;

/// What a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> String {
    let ended = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{program} failed: {err}\n{out}");
    out
}

/// Checks that these texts occur, one after the other.
fn assert_in_order(text: &str, expected: &[&str]) {
    let mut rest = text;
    for part in expected {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is not in:\n{rest}"));
        rest = after;
    }
}

/// The words of a text with one space between them, whatever the lines it was wrapped into.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The value of `accuracy` after some text.
fn accuracy_after(text: &str, start: &str) -> f64 {
    let (_, after) = text.split_once(start).unwrap();
    let (_, after) = after.split_once("accuracy ").unwrap();
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn what_a_model_was_made_of_is_told_and_what_becomes_of_it() {
    assert_in_order(
        &output(env!("CARGO_BIN_EXE_lineage"), &[]),
        &[
            "Comparison: v0.1.0 vs v0.1.1",
            "Recommendation: ⚠️ v0.1.1 is better in some and worse in other respects",
            "└─> model:tumour-diagnosis@v0.1.1",
            "└─> deployment:production",
            "Derived from tumour-diagnosis@v0.1.0:",
            "tumour-pocket@v0.1.0 (quantised)",
            "feature:mean_radius has an influence on 3 versions of 2 models; 1 is in production.",
            "The rule: roll back if p95 of latency is above 200 over 5m.",
            "The rule `slow` is broken: p95 of `latency` is 620",
            "rolled back to v0.1.0.",
            "In production now: v0.1.0",
            "by monitor:slow",
        ],
    );
}

#[test]
fn runs_are_told_apart_and_the_model_knows_its_own() {
    assert_in_order(
        &output(env!("CARGO_BIN_EXE_experiment"), &[]),
        &[
            "The third run: the data set has no column \"no such column\"",
            "finished  tumour-diagnosis@v0.1.0",
            "finished  tumour-diagnosis@v0.1.1",
            "failed",
            "aborted",
            "tumour-diagnosis v0.1.1 came out of forests:",
            " = ",
            "on ",
            "at commit ",
            "└─> experiment:forests",
            "└─> model:tumour-diagnosis@v0.1.1",
        ],
    );
}

#[test]
fn an_auditor_is_told_who_approved_and_who_went_past_everybody() {
    assert_in_order(
        &output(env!("CARGO_BIN_EXE_audit"), &[]),
        &[
            "Ana approves her own work: ana registered the version and may not approve it too",
            "The record is sound; 9 commits were read.",
            "v0.1.0 by bo, approved by [bo]",
            "v0.1.1 by ana, approved by []",
            "self_approval_attempt: ana registered the version",
            "approval_overridden: bypassed: 1 approval by anyone",
            "v0.1.1 approval_before_deployment: bypassed in an emergency",
            "1 approval by anyone; not by whoever registered it or asked for it, from the registry, set by bo",
            "19 tables for spreadsheets.",
        ],
    );
}

#[test]
fn a_slow_version_is_taken_out_and_somebody_on_call_believes_it() {
    assert_in_order(
        &unwrapped(&output(env!("CARGO_BIN_EXE_monitor"), &[])),
        &[
            "v3.1.0 is in production. The rule: roll back if p95 of latency is above 200 over 5m.",
            "500 requests in the last minute, p95 62",
            "The rule `slow` is broken: p95 of `latency` is 62",
            "rolled back to v3.0.0.",
            "the signature was verified, and this was read:",
            "fraud-detection: rule slow: p95 of `latency` is 62",
            "rolled back from v3.1.0 to v3.0.0",
            "In production now: v3.0.0",
            "by monitor:slow",
        ],
    );
}

#[test]
fn the_life_of_a_model_is_told_from_training_to_audit() {
    let text = unwrapped(&output(env!("CARGO_BIN_EXE_life"), &[]));
    assert_in_order(
        &text,
        &[
            "1. A FIRST MODEL",
            "version v1.0.0, digest",
            "on 236 samples",
            "moves v1.0.0 through staging into production",
            "2. A RULE FOR PRODUCTION",
            "decides on v1.1.0: Required bump: minor.",
            "algorithm-changed (logistic_regression → random_forest)",
            "waits for 2 approvals",
            "! ana registered the version and may not approve it too",
            "! dana may not approve; approvers are ana, bo, chen",
            "Bo approves; 1 more to go.",
            "Chen approves, and in the same commit v1.1.0 enters production.",
            "v1.0.0 is archived.",
            "v1.2.0 is too small a step from v1.1.0: the changes need a major bump, v2.0.0 or higher",
            "decides on v2.0.0, because: major inputs.area_error and 19 more: required-field-added",
            "v1.1.0 is archived. Going back to it later would be safe for callers (20 differences found).",
            "! a reason is mandatory to bypass an approval",
            "v2.0.0 is in production again",
            "v2.1.0 is archived and quarantined",
            "! v2.1.0 is quarantined since",
            "before anything was promoted: nothing",
            "while the first model served: v1.0.0,",
            "fetched and tried again: 91.5 % right.",
            "while the better model served: v1.1.0,",
            "approved by bo and chen",
            "while the model with more inputs served: v2.0.0,",
            "while the careless model served: v2.1.0,",
            "WITHOUT APPROVAL",
            "fetched and tried again: 68.6 % right.",
            "after the rollback: v2.0.0,",
            "by rollback from v2.1.0",
            "8. THE RECORD",
            "20 commits, 4 files",
            "Nothing is wrong.",
            "9. A SERVICE READS PRODUCTION",
            "gets v2.0.0 with 30 input columns",
        ],
    );
    let good = accuracy_after(&text, "1. A FIRST MODEL");
    let careless = accuracy_after(&text, "5. AN EMERGENCY");
    assert!(careless + 0.1 < good, "{careless} against {good}");
}

/// Digits stand for others, since times and latencies differ from run to run.
fn masked(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

#[test]
fn the_program_in_the_readme_is_one_that_runs() {
    let (_, block) = include_str!("../../README.md").split_once("```rust,no_run\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (_, source) = include_str!("../src/bin/first_steps.rs").split_once("\n\n").unwrap();
    assert_eq!(block, source);

    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let ended =
            Command::new(env!("CARGO_BIN_EXE_first_steps")).current_dir(folder.path()).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let printed = run();
    assert!(printed.starts_with("v0.1.0 of fraud-detection is in production since"), "{printed}");
    assert_eq!(run(), printed, "the second time it changes nothing");
}

#[test]
fn the_readme_quotes_what_the_story_prints() {
    let printed = output(env!("CARGO_BIN_EXE_life"), &[]);
    let printed: Vec<String> = printed.lines().map(masked).collect();
    let quoted: Vec<&str> = include_str!("../../README.md").split("```text\n").skip(1).collect();
    assert_eq!(quoted.len(), 2);
    for block in quoted {
        for line in block.lines().take_while(|line| !line.starts_with("```")) {
            assert!(printed.contains(&masked(line)), "the story no longer prints {line:?}");
        }
    }
}

#[test]
fn the_story_keeps_its_folder_and_does_not_mix_with_other_models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    output(env!("CARGO_BIN_EXE_life"), &[path]);
    assert!(folder.path().join("registry.db").is_file());

    let again = Command::new(env!("CARGO_BIN_EXE_life")).arg(path).output().unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8(again.stderr).unwrap().contains("the story needs an empty one"));
}

#[test]
fn the_service_swaps_models_and_ends() {
    let text = output(env!("CARGO_BIN_EXE_serve"), &[]);
    assert_in_order(
        &text,
        &["service: v1.0.0 answers", "release: v1.1.0 is in production", "service: v1.1.0 answers"],
    );
}

#[test]
fn a_version_is_tried_before_gates_let_it_into_production() {
    let text = unwrapped(&output(env!("CARGO_BIN_EXE_trial"), &[]));
    assert_in_order(
        &text,
        &[
            "- accuracy at least 0.85",
            "- favourable trial in staging",
            "does not pass 4 of the gates of production",
            "less than 0.85",
            "no regression of accuracy (significance 0.05), against v1.0.0: accuracy went from",
            "which is significantly worse",
            "compatible, against v1.0.0: inputs.area_error breaks callers",
            "v1.1.0 does not pass 1 of the gates of production",
            "of v1.1.0 is not on record; start one",
            "v1.0.0 gets 0.9 of the requests of staging",
            "v1.1.0 gets 0.1 of the requests of staging",
            "The trial is favourable, p = ",
            "v1.1.0 is in production, and this is kept with the move:",
            "- accuracy at least 0.85: accuracy is 0.9",
            "- favourable trial in staging, against v1.0.0: trial begun at revision",
        ],
    );
}

#[test]
fn two_processes_share_a_bucket() {
    let text = output(env!("CARGO_BIN_EXE_shared_bucket"), &[]);
    assert_in_order(&text, &["waits for a model", "registered v0.1.0", "serves v0.1.0", "serves v0.1.1"]);
    assert!(text.ends_with("the log: 6 commits of two processes, sound: true\n"), "{text}");
}

#[test]
fn a_repeated_run_of_the_pipeline_registers_nothing_twice() {
    let text = output(env!("CARGO_BIN_EXE_pipeline"), &[]);
    assert_in_order(
        &text,
        &[
            "run-monday: v0.1.0 is the first version, with model.json, notes/data.txt",
            "run-monday: v0.1.0 was registered before, by this very request",
            "run-tuesday: v0.1.1 follows v0.1.0",
            "3 registrations were asked for, 2 versions are there",
        ],
    );
}

#[test]
fn a_model_goes_through_three_registries_and_into_a_file() {
    assert_in_order(
        &output(env!("CARGO_BIN_EXE_environments"), &[]),
        &[
            "Ana registers tumour-diagnosis v0.1.0 in dev.",
            "Asked again, nothing is done; 0 bytes were sent.",
            "Straight into production: ",
            "In production, v0.1.0 is in production and came from:",
            "staging, revision 1, registered by ana",
            "approved for production by bo: tested on this week's cases",
            "dev, revision 1, registered by ana",
            "nothing is wrong",
            "Exported again, it is the same file: true.",
        ],
    );
}

#[test]
fn the_page_of_a_model_keeps_up_and_keeps_what_was_added() {
    let text = output(env!("CARGO_BIN_EXE_living_documents"), &[]);
    assert_in_order(
        &text,
        &[
            "Written for the first time:\n   index.md: New\n   pages/tumour-diagnosis.md: New",
            "## Tumour Diagnosis - Production",
            "- Version: v0.1.1\n",
            "| Current ✅ |",
            "| Replaced by v0.1.1 |",
            "1. Rollback to v0.1.0 (safe: clients of v0.1.1 keep working)",
            "3. Deploy fix as v0.1.2",
            "goes back from v0.1.1 to v0.1.0:",
            "pages/tumour-diagnosis.md: Changed",
            "| Rolled back to v0.1.0; Quarantined |",
            "| Current ✅, back after v0.1.1 |",
            "   Ask Ana before you change the threshold.",
            "Once more, without a change:\n   index.md: Same\n   pages/tumour-diagnosis.md: Same",
        ],
    );
}

#[test]
fn what_was_forged_is_found_by_those_who_have_the_keys() {
    assert_in_order(
        &unwrapped(&output(env!("CARGO_BIN_EXE_signing"), &[])),
        &[
            "v1.0.0 is as it was signed",
            "model/tumour-diagnosis ended at revision 3",
            "model/tumour-diagnosis is what it was, and has 1 more",
            "Its 4 commits follow each other, digest by digest. By itself it is sound.",
            "model/tumour-diagnosis, revision 3: is another commit than the one noted",
            "v1.0.0: model.json: is another than the one that was signed",
            "was not signed by the auditors",
        ],
    );
}

#[test]
fn what_was_trained_is_found_by_what_it_is() {
    let text = output(env!("CARGO_BIN_EXE_search"), &[]);
    assert_in_order(
        &text,
        &[
            "The best first:",
            "   tumour-screening@v0.1.0: logistic_regression, accuracy 0.9",
            "\n   tumour-diagnosis@v0.1.1: random_forest, accuracy 0.9",
            "Made with smoke-test settings:",
            "param.n_trees < 10\n   tumour-screening@v0.1.1: random_forest",
            "What production needs",
            "feature = 'mean_radius'\n   tumour-diagnosis@v0.1.0: logistic_regression",
            "Not fit for production:",
            "stage > 3: at character 7: `>` does not apply to `stage`",
            "algoritm = 'svm': at character 1: there is no field `algoritm`; did you mean `algorithm`?",
            "Built in code: owner = 'bo\\'s \"quick\" run' and deprecated = false\n   tumour-screening@v0.1.1",
            "Page by page:\n   tumour-diagnosis@v0.1.0",
            "   … and the next page after these:\n   tumour-screening@v0.1.1",
        ],
    );
}
