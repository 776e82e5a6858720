//! What may be said of a training run, and until when.

use proptest::prelude::*;

use super::*;
use crate::experiment::{
    METRICS_MAX, MetricPoint, PARAMS_MAX, POINTS_MAX, ParamValue, RunEnvironment, RunLog, RunOutcome,
    RunStarted, RunStatus,
};
use crate::name::{Key, RunName};

fn run_name(number: u64) -> RunName {
    RunName { experiment: "xgboost".parse().unwrap(), run: revision(number) }
}

fn value(value: impl Into<serde_json::Value>) -> ParamValue {
    ParamValue::new(value).unwrap()
}

fn start_with(params: impl IntoIterator<Item = (Key, ParamValue)>) -> Command {
    Command::StartRun(Box::new(RunStarted { params: params.into_iter().collect(), ..RunStarted::default() }))
}

/// An experiment with one run, which has a depth of 6.
fn running() -> Given {
    let start = start_with([("depth".parse().unwrap(), value(6))]);
    given([]).in_stream("experiment/xgboost").when(start).done()
}

fn log(log: RunLog) -> Command {
    Command::LogRun { run: revision(1), log: Box::new(log) }
}

fn params(given: &[(&str, ParamValue)]) -> RunLog {
    let params = given.iter().map(|(name, value)| (name.parse().unwrap(), value.clone())).collect();
    RunLog { params, ..RunLog::default() }
}

fn point(metric: &str, step: u64) -> MetricPoint {
    MetricPoint { metric: metric.parse().unwrap(), step, value: 0.5.into(), at: at(0) }
}

fn points(points: Vec<MetricPoint>) -> RunLog {
    RunLog { points, ..RunLog::default() }
}

fn files(given: &[(&str, &str)]) -> RunLog {
    let file = |(path, bytes): &(&str, &str)| Artifact {
        path: path.parse().unwrap(),
        digest: Digest::of(bytes.as_bytes()),
        size: bytes.len() as u64,
    };
    RunLog { artifacts: Manifest::new(given.iter().map(file).collect()).unwrap(), ..RunLog::default() }
}

fn end(outcome: RunOutcome) -> Command {
    Command::EndRun { run: revision(1), outcome }
}

#[test]
fn a_parameter_is_set_once() {
    running().when(log(params(&[("depth", value(6))]))).then_nothing();
    let both = params(&[("depth", value(6)), ("eta", value(0.1))]);
    let new = [("eta".parse().unwrap(), value(0.1))].into();
    let after = running().when(log(both)).then([Event::RunParamsLogged { run: revision(1), params: new }]);
    assert_eq!(after.state.run(revision(1)).unwrap().params.len(), 2);
    running().when(log(params(&[("eta", value(0.1)), ("depth", value("6"))]))).then_err(
        Rejection::AlreadyLogged {
            run: run_name(1),
            what: "parameter",
            name: "depth".to_owned(),
            existing: "6".to_owned(),
            offered: "\"6\"".to_owned(),
        },
    );
}

#[test]
fn a_file_is_noted_once_and_beside_the_others() {
    let after = running().when(log(files(&[("a/b", "one")]))).done();
    after.when(log(files(&[("a/b", "one")]))).then_nothing();
    let after = running().when(log(files(&[("a/b", "one")]))).done();
    let refused = after.when(log(files(&[("a/b", "two")]))).result.unwrap_err();
    assert!(refused.to_string().starts_with("the file `a/b` of the run `xgboost:1` is sha256:"), "{refused}");
    let after = running().when(log(files(&[("a/b", "one")]))).done();
    after.when(log(files(&[("a", "three")]))).then_invalid("artifact path");
}

#[test]
fn what_one_request_and_one_run_may_say_is_bounded() {
    running().when(log(points(vec![point("m", 1); POINTS_MAX]))).done();
    running().when(log(points(vec![point("m", 1); POINTS_MAX + 1]))).then_invalid("values");
    let many = |count: usize| (0..count).map(|number| point(&format!("m{number}"), 1)).collect();
    let full = running().when(log(points(many(METRICS_MAX)))).done();
    full.when(log(points(vec![point("m0", 2), point("one-more", 1)]))).then_invalid("run");
    let full = running().when(log(points(many(METRICS_MAX)))).done();
    full.when(log(points(vec![point("m0", 2)]))).done();
    let many = |count: usize| (0..count).map(|number| (format!("p{number}").parse().unwrap(), value(1)));
    given([]).in_stream("experiment/xgboost").when(start_with(many(PARAMS_MAX))).done();
    given([]).in_stream("experiment/xgboost").when(start_with(many(PARAMS_MAX + 1))).then_invalid("run");
    let more = RunLog { params: many(PARAMS_MAX).collect(), ..RunLog::default() };
    running().when(log(more)).then_invalid("run");
}

#[test]
fn an_environment_is_bounded() {
    let file = |number: usize, text: &str| {
        crate::content::EnvironmentFile::new(format!("{number}.txt").parse().unwrap(), text.to_owned())
            .unwrap()
    };
    for files in [
        (0..17).map(|number| file(number, "x")).collect(),
        (0..3).map(|number| file(number, &"x".repeat(200_000))).collect(),
        vec![file(1, "x"), file(1, "y")],
    ] {
        let environment = RunEnvironment { files, ..RunEnvironment::default() };
        let started = RunStarted { environment, ..RunStarted::default() };
        let command = Command::StartRun(Box::new(started));
        given([]).in_stream("experiment/xgboost").when(command).then_invalid("environment");
    }
}

#[test]
fn nothing_is_added_after_the_end() {
    let failed = RunOutcome::Failed { reason: text("out of memory") };
    let over = || running().when(end(failed.clone())).done();
    let refused = || Rejection::RunEnded { run: run_name(1), outcome: failed.clone() };
    over().when(log(params(&[("eta", value(0.1))]))).then_err(refused());
    over().when(log(points(vec![point("m", 1)]))).then_err(refused());
    over().when(log(files(&[("a", "b")]))).then_err(refused());
    over().when(Command::ContinueRun { run: revision(1) }).then_err(refused());
    over().when(end(RunOutcome::Finished)).then_err(refused());
    over().when(end(failed.clone())).then_nothing();
    assert_eq!(
        refused().to_string(),
        "the run `xgboost:1` is over: it failed; nothing is added to a run that is over, start another"
    );
}

#[test]
fn a_version_is_noted_once_also_after_the_end() {
    let note = |digest: &[u8]| Command::NoteVersion {
        run: revision(1),
        version: "fraud@v1.0.0".parse().unwrap(),
        digest: Digest::of(digest),
    };
    let over = || running().when(end(RunOutcome::Finished)).done();
    let after = over().when(note(b"one")).done();
    assert_eq!(after.state.run(revision(1)).unwrap().versions.len(), 1);
    after.when(note(b"one")).then_nothing();
}

#[test]
fn runs_of_one_experiment_do_not_mix() {
    let two = running().when(start_with([])).done();
    let command = Command::EndRun { run: revision(2), outcome: RunOutcome::Finished };
    let after = two.when(command).done();
    let status = |run| after.state.run(revision(run)).unwrap().status(at(10));
    assert_eq!((status(1), status(2)), (RunStatus::Running, RunStatus::Finished));
    assert_eq!(after.state.run(revision(2)).unwrap().params.len(), 0);
    let third = Command::ContinueRun { run: revision(3) };
    after.when(third).then_err(Rejection::RunNotFound { run: run_name(3) });
}

#[test]
fn each_stream_takes_its_own_commands() {
    for command in [register("v1"), Command::ReportHealth { summaries: Vec::new() }] {
        running().when(command).then_err(Rejection::WrongStream);
    }
    for command in [start_with([]), end(RunOutcome::Finished), log(RunLog::default())] {
        given([alice(register("v1"))]).when(command.clone()).then_err(Rejection::WrongStream);
        for stream in ["health/fraud", "registry"] {
            given([]).in_stream(stream).when(command.clone()).then_err(Rejection::WrongStream);
        }
    }
}

/// Whatever may be asked of two runs, over few names and values, so that they meet.
fn commands() -> impl Strategy<Value = Command> {
    let run = || (1_u64..=3).prop_map(revision);
    let params = prop::collection::btree_map("[ab]", 0..2_i32, 0..2).prop_map(|params| {
        params.into_iter().map(|(name, number)| (name.parse().unwrap(), value(number))).collect()
    });
    let points = prop::collection::vec(("[ab]", 0..3_u64).prop_map(|(name, step)| point(&name, step)), 0..2);
    let artifacts = prop::collection::btree_map("[ab]", "[xy]", 0..2).prop_map(|given| {
        let given: Vec<(&str, &str)> = given.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
        files(&given).artifacts
    });
    let outcome = prop_oneof![
        Just(RunOutcome::Finished),
        Just(RunOutcome::Failed { reason: text("f") }),
        Just(RunOutcome::Aborted { reason: text("a") })
    ];
    prop_oneof![
        1 => Just(start_with([])),
        6 => (run(), params, points, artifacts).prop_map(|(run, params, points, artifacts)| Command::LogRun {
            run,
            log: Box::new(RunLog { params, points, artifacts }),
        }),
        1 => run().prop_map(|run| Command::ContinueRun { run }),
        1 => (run(), "[xy]").prop_map(|(run, bytes)| Command::NoteVersion {
            run,
            version: "fraud@v1.0.0".parse().unwrap(),
            digest: Digest::of(bytes.as_bytes()),
        }),
        1 => (run(), outcome).prop_map(|(run, outcome)| Command::EndRun { run, outcome }),
    ]
}

proptest! {
    /// What was said of a run stays said, its values only grow in number, and after its end only versions are noted.
    #[test]
    fn whatever_is_asked_a_run_keeps_what_it_said(commands in prop::collection::vec(commands(), 1..40)) {
        let mut world = given([]).in_stream("experiment/xgboost");
        for command in commands {
            let before: Vec<_> = world.state.runs().map(|(run, state)| (run, state.clone())).collect();
            let asked = world.when(command.clone());
            let does_something = asked.result.as_ref().is_ok_and(|events| !events.is_empty());
            if !does_something {
                world = asked.given;
                continue;
            }
            world = asked.done();
            for (run, before) in before {
                let after = world.state.run(run).unwrap();
                prop_assert!(before.params.iter().all(|(name, value)| after.params.get(name) == Some(value)));
                prop_assert!(before.artifacts.iter().all(|(path, file)| after.artifacts.get(path) == Some(file)));
                for (metric, summary) in &before.metrics {
                    prop_assert!(summary.count <= after.metrics[metric].count);
                }
                if before.ended.is_some() {
                    prop_assert_eq!(&after.ended, &before.ended);
                    prop_assert_eq!((&after.params, &after.metrics), (&before.params, &before.metrics));
                    prop_assert_eq!(&after.artifacts, &before.artifacts);
                }
            }
            // Asked again at once, all but a start, a value and a sign of life change nothing.
            let repeats = match &command {
                Command::LogRun { log, .. } => log.points.is_empty(),
                Command::NoteVersion { .. } | Command::EndRun { .. } => true,
                _ => false,
            };
            if repeats {
                let again = world.when(command);
                prop_assert_eq!(&again.result, &Ok(Vec::new()));
                world = again.given;
            }
        }
    }
}
