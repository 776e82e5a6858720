//! What a training program sees: values that wait, ends of every kind, versions that know where they come from.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::record::MetricSummary;
use super::*;
use crate::command::By;
use crate::content::{Content, EnvironmentFile};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::ext::{RegistryExt as _, Upload};
use crate::lineage::NodeKind;
use crate::memory::{MemoryArtifacts, MemoryLog};
use crate::name::{ModelName, RunName};
use crate::registry::Registry as _;
use crate::rejection::Rejection;
use crate::storage::CheckpointKind;
use crate::stream::{Revision, Stream};
use crate::time::{Clock, ManualClock, Timestamp};

fn start() -> Timestamp {
    "2024-01-15T10:00:00Z".parse().unwrap()
}

fn by(who: &str) -> By {
    By::new(who.parse().unwrap())
}

struct World {
    artifacts: Arc<MemoryArtifacts>,
    clock: Arc<ManualClock>,
    registry: Arc<Engine<MemoryLog, MemoryArtifacts>>,
}

fn world() -> World {
    let clock = Arc::new(ManualClock::new(start()));
    let artifacts = Arc::new(MemoryArtifacts::with_clock(clock.clone()));
    let registry = Engine::new(Arc::new(MemoryLog::default()), Arc::clone(&artifacts));
    World { artifacts, registry: Arc::new(registry.with_clock(clock.clone())), clock }
}

impl World {
    fn experiment(&self) -> Experiment<Engine<MemoryLog, MemoryArtifacts>> {
        let experiment = self.registry.experiment("xgboost-v1".parse().unwrap(), &by("alice"));
        experiment.increment("0042".parse().unwrap())
    }

    async fn status(&self, run: &RunName) -> RunStatus {
        self.registry.run(run).await.unwrap().status(self.clock.now())
    }

    async fn commits(&self) -> usize {
        let stream = Stream::Experiment("xgboost-v1".parse().unwrap());
        self.registry.log(stream, Revision::FIRST, 1_000).await.unwrap().len()
    }

    async fn values(&self, run: &RunName) -> Vec<(u64, String)> {
        let page = self.registry.run_metrics(run, None, None).await.unwrap();
        page.points.iter().map(|point| (point.step, point.value.to_string())).collect()
    }
}

fn model() -> ModelName {
    "fraud-detection-model".parse().unwrap()
}

#[tokio::test]
async fn a_version_knows_the_run_that_it_came_out_of() {
    let world = world();
    let environment = RunEnvironment {
        python: Some("3.11.2".parse().unwrap()),
        files: vec![requirements("xgboost==1.7.0").unwrap()],
        ..RunEnvironment::default()
    };
    let experiment = world.experiment().environment(environment.clone());
    let (name, registered) = experiment
        .track(async |run| {
            run.param("max_depth", 6).await?;
            run.metric("loss", 1, 0.5).await?;
            run.metric("loss", 2, 0.25).await?;
            run.metric("diverged", 1, f64::NAN).await?;
            let weights = Bytes::from_static(b"weights");
            run.artifact(&Upload { path: "model.bin".parse()?, source: &weights }).await?;
            let registered = run.register_model(&model(), Content::default(), &[]).await?;
            Ok::<_, Error>((run.name().clone(), registered))
        })
        .await
        .unwrap();
    let content = &registered.version.content;
    assert_eq!(registered.version.version.to_string(), "v0.1.0");
    assert_eq!(content.metadata.experiment.as_ref().unwrap().as_str(), "xgboost-v1");
    assert_eq!(content.metadata.run.as_ref(), Some(&name));
    assert_eq!(content.metadata.increment.as_ref().unwrap().as_str(), "0042");
    assert_eq!(content.metadata.runtime.as_ref().unwrap().as_str(), "python 3.11.2");
    assert_eq!(content.metadata.hyperparameters["max_depth"], json!(6));
    let metrics: Vec<_> =
        content.metrics.iter().map(|(name, found)| (name.as_str(), found.value.get())).collect();
    assert_eq!(metrics, [("loss", 0.25)], "NaN is no metric of a version");
    assert_eq!(
        content.environment.iter().map(EnvironmentFile::text).collect::<Vec<_>>(),
        ["xgboost==1.7.0\n"]
    );
    assert_eq!(content.artifacts.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["model.bin"]);

    let run = world.registry.run(&name).await.unwrap();
    assert_eq!(world.status(&name).await, RunStatus::Finished);
    assert_eq!(run.versions.values().collect::<Vec<_>>(), [&registered.version.digest]);
    assert_eq!(run.metrics[&"diverged".parse().unwrap()].not_numbers, 1);
    assert_eq!(world.registry.run_environment(&name).await.unwrap(), environment);
    let lineage = world
        .registry
        .lineage(&model(), &crate::selector::Selector::Version(registered.version.version.clone()), None)
        .await
        .unwrap();
    let text = lineage.to_text();
    assert!(text.starts_with("experiment:xgboost-v1\n  └─> model:fraud-detection-model@v0.1.0\n"), "{text}");
    let node = lineage.graph.nodes().find(|node| node.kind() == NodeKind::Model).unwrap();
    assert_eq!(node.attributes().collect::<Vec<_>>(), [("run", &json!("xgboost-v1:1"))]);
}

#[tokio::test]
async fn values_are_written_in_batches_and_none_is_lost() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    for step in 0..2_500 {
        run.metric("loss", step, 1.0).await.unwrap();
    }
    assert_eq!(world.commits().await, 3, "the start and two full batches");
    run.flush().await.unwrap();
    assert_eq!(world.commits().await, 4);
    run.metric("loss", 2_500, 1.0).await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.commits().await, 4);
    run.metric("loss", 2_501, 1.0).await.unwrap();
    assert_eq!(world.commits().await, 5, "the first waited for ten seconds");
    run.metric("loss", 2_502, f64::INFINITY).await.unwrap();
    let name = run.name().clone();
    run.finish().await.unwrap();
    let values = world.values(&name).await;
    assert!(values.iter().map(|(step, _)| *step).eq(0..2_503));
    assert_eq!(values.last().unwrap().1, "Infinity");
    let page = world.registry.run_metrics(&name, Some(&"other".parse().unwrap()), None).await.unwrap();
    assert_eq!(page, MetricPage { points: Vec::new(), next: None });
}

/// A program that is started again under its request id goes on with the run of the first, and both have values.
#[tokio::test]
async fn a_start_that_is_repeated_loses_no_value() {
    let world = world();
    let by = by("alice").with_request_id("nightly".parse().unwrap());
    let mut steps = 0..;
    // The last two begin in the same microsecond.
    for pause in [1, 1, 0] {
        world.clock.advance(Duration::from_secs(pause));
        let experiment = world.registry.experiment("xgboost-v1".parse().unwrap(), &by);
        let mut run = experiment.start().await.unwrap();
        assert_eq!(run.name().to_string(), "xgboost-v1:1");
        for step in steps.by_ref().take(2) {
            run.metric("loss", step, 0.5).await.unwrap();
            run.flush().await.unwrap();
        }
    }
    let values = world.values(&"xgboost-v1:1".parse().unwrap()).await;
    assert!(values.iter().map(|(step, _)| *step).eq(0..6), "{values:?}");
}

#[tokio::test]
async fn one_metric_too_many_takes_no_other_values_with_it() {
    let world = world();
    let by = by("alice").with_request_id("nightly".parse().unwrap());
    let start = || world.registry.experiment("xgboost-v1".parse().unwrap(), &by).start();
    let mut run = start().await.unwrap();
    for number in 0..METRICS_MAX {
        run.metric(&format!("m{number}"), 1, 0.5).await.unwrap();
    }
    run.metric("m0", 2, 0.5).await.unwrap();
    let refused = run.metric("another", 1, 0.5).await.unwrap_err();
    assert!(refused.to_string().contains("one more than the 1000"), "{refused}");
    run.flush().await.unwrap();
    let name = run.name().clone();
    assert_eq!(world.values(&name).await.len(), METRICS_MAX + 1);
    // So does a handle that goes on with the run.
    let mut again = start().await.unwrap();
    assert!(again.metric("another", 1, 0.5).await.is_err());
    again.metric("m0", 3, 0.5).await.unwrap();
    again.finish().await.unwrap();
    assert_eq!(world.values(&name).await.len(), METRICS_MAX + 2);
}

#[tokio::test]
async fn work_that_ends_its_run_itself_has_the_last_word() {
    let world = world();
    let experiment = world.experiment();
    experiment.track(async |run| run.fail("it diverged").await).await.unwrap();
    assert_eq!(world.status(&"xgboost-v1:1".parse().unwrap()).await, RunStatus::Failed);
}

#[tokio::test]
async fn work_that_fails_is_recorded_with_its_reason() {
    let world = world();
    let done: Result<(), Error> = world
        .experiment()
        .track(async |run| {
            run.metric("loss", 1, 0.5).await?;
            Err(crate::invalid::Invalid::new("batch", 7, "holds no\u{7} rows").into())
        })
        .await;
    assert!(done.is_err());
    let name: RunName = "xgboost-v1:1".parse().unwrap();
    let run = world.registry.run(&name).await.unwrap();
    let end = run.ended.as_ref().unwrap();
    assert_eq!((end.outcome.as_str(), world.status(&name).await), ("failed", RunStatus::Failed));
    assert!(end.outcome.reason().unwrap().as_str().contains("holds no  rows"), "{end:?}");
    assert_eq!(world.values(&name).await.len(), 1, "what was logged before is there");
}

#[tokio::test]
async fn a_run_that_is_dropped_is_aborted() {
    let world = world();
    let tasks: Arc<Mutex<Vec<Task>>> = Arc::default();
    let queue = Arc::clone(&tasks);
    let experiment = world.experiment().spawning(move |task| queue.lock().unwrap().push(task));
    let mut run = experiment.clone().start().await.unwrap();
    run.metric("loss", 1, 0.5).await.unwrap();
    let name = run.name().clone();
    drop(run);
    assert_eq!(world.status(&name).await, RunStatus::Running);
    let task = tasks.lock().unwrap().pop().unwrap();
    task.await;
    let status = world.status(&name).await;
    assert!(matches!(status, RunStatus::Aborted { is_lost: false, .. }), "{status:?}");
    assert_eq!(world.values(&name).await.len(), 1);

    // A run with an end sends nothing, also if it was another.
    let mut run = experiment.start().await.unwrap();
    let other = run.name().clone();
    world.registry.end_run(&by("bob"), &other, RunOutcome::Finished).await.unwrap();
    let refused = run.fail("late").await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::RunEnded { .. })), "{refused}");
    // Nor does it take values that nobody would write down.
    let late = run.metric("loss", 1, 0.5).await.unwrap_err();
    assert!(matches!(late.rejection(), Some(Rejection::RunEnded { .. })), "{late}");
    drop(run);
    assert!(tasks.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_run_without_a_sign_of_life_reads_as_aborted_and_may_come_back() {
    let world = world();
    let mut run = world.experiment().lease(Lease::of_seconds(60).unwrap()).start().await.unwrap();
    let name = run.name().clone();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.status(&name).await, RunStatus::Running);
    world.clock.advance(Duration::from_secs(1));
    let since = start().saturating_add(Duration::from_secs(60));
    assert_eq!(world.status(&name).await, RunStatus::Aborted { since, is_lost: true });
    assert_eq!(world.commits().await, 1, "nobody wrote that down");
    run.keep_alive().await.unwrap();
    assert_eq!(world.status(&name).await, RunStatus::Running);
    run.abort("enough").await.unwrap();
    let status = world.status(&name).await;
    assert!(matches!(status, RunStatus::Aborted { is_lost: false, .. }), "{status:?}");
}

#[tokio::test]
async fn a_version_whose_run_took_no_note_of_it_is_found() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    let name = run.name().clone();
    run.register_model(&model(), Content::default(), &[]).await.unwrap();
    // As if the process had died between the two records.
    let content = Content {
        metadata: crate::content::Metadata {
            experiment: Some("xgboost-v1".parse().unwrap()),
            run: Some(name.clone()),
            ..Default::default()
        },
        ..Content::default()
    };
    let other: ModelName = "other".parse().unwrap();
    world.registry.register(&by("alice"), &other, content.into(), &[]).await.unwrap();
    assert_eq!(world.registry.run(&name).await.unwrap().versions.len(), 1);
    let versions: Vec<String> =
        world.registry.run_versions(&name).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(versions, ["fraud-detection-model@v0.1.0", "other@v0.1.0"]);
    drop(run);
}

/// The process died after the version was registered; the run went on, and the registration is asked for again.
#[tokio::test]
async fn a_registration_that_is_repeated_adds_the_note_though_the_run_went_on() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    let name = run.name().clone();
    let id = by("alice").with_request_id("register-1".parse().unwrap());
    let register = async |with: Content| {
        let registry = &world.registry;
        registry.register_from_run(&id, &name, &model(), with.into(), &[]).await
    };
    let content =
        world.registry.content_from_run(&id, &name, &model(), Content::default(), true).await.unwrap();
    let first = world.registry.register(&id, &model(), content.into(), &[]).await.unwrap();
    assert_eq!(world.registry.run(&name).await.unwrap().versions.len(), 0);
    run.metric("loss", 1, 0.5).await.unwrap();
    run.flush().await.unwrap();
    let again = register(Content::default()).await.unwrap();
    assert!(again.existed && matches!(again.receipt.outcome, crate::registry::Outcome::Repeated(_)));
    assert_eq!(again.version.digest, first.version.digest);
    let noted = world.registry.run(&name).await.unwrap();
    assert_eq!(noted.versions.values().collect::<Vec<_>>(), [&first.version.digest]);

    // What the caller says must be what was said.
    let metrics = [("loss".parse().unwrap(), crate::content::Metric::new(0.1).unwrap())].into();
    let refused = register(Content { metrics, ..Content::default() }).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::RequestIdReused { .. })), "{refused}");

    // Nor is it the registration of another run.
    let other = world.experiment().start().await.unwrap().name().clone();
    let refused = world
        .registry
        .register_from_run(&id, &other, &model(), Content::default().into(), &[])
        .await
        .unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::RequestIdReused { .. })), "{refused}");
    assert_eq!(world.registry.run(&other).await.unwrap().versions.len(), 0);
    run.finish().await.unwrap();
}

#[tokio::test]
async fn the_values_of_a_run_end_where_it_does() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    run.metric("loss", 1, 0.5).await.unwrap();
    let mut other = world.experiment().start().await.unwrap();
    for _ in 0..crate::ext::HISTORY_PAGE {
        other.keep_alive().await.unwrap();
    }
    let name = run.name().clone();
    run.flush().await.unwrap();
    let page = world.registry.run_metrics(&name, None, None).await.unwrap();
    assert!(page.next.is_some() && page.points.is_empty(), "the run goes on");
    let rest = world.registry.run_metrics(&name, None, page.next).await.unwrap();
    assert_eq!((rest.points.len(), rest.next), (1, None));

    other.finish().await.unwrap();
    let mut short = world.experiment().start().await.unwrap();
    let name = short.name().clone();
    short.metric("loss", 1, 0.5).await.unwrap();
    short.finish().await.unwrap();
    for _ in 0..crate::ext::HISTORY_PAGE {
        run.keep_alive().await.unwrap();
    }
    let page = world.registry.run_metrics(&name, None, None).await.unwrap();
    assert_eq!((page.points.len(), page.next), (1, None), "the rest of the log is of others");
    run.finish().await.unwrap();
}

/// Nobody asks for less than the whole of an experiment, so nothing less is kept.
#[tokio::test]
async fn no_checkpoint_is_kept_that_nobody_reads() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    for _ in 0..2 * world.registry.commits().brief_every() {
        run.keep_alive().await.unwrap();
    }
    let stream = Stream::Experiment("xgboost-v1".parse().unwrap());
    let kept = world.registry.commits().load_checkpoint(&stream, CheckpointKind::Brief).await.unwrap();
    assert!(kept.is_none());
    run.finish().await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_run_are_kept_without_a_version() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    let weights = Bytes::from_static(b"a checkpoint");
    let upload = Upload { path: "checkpoint.bin".parse().unwrap(), source: &weights };
    let file = run.artifact(&upload).await.unwrap();
    run.finish().await.unwrap();
    world.clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
    let collected = world.registry.collect_garbage(Default::default()).await.unwrap();
    assert_eq!((collected.needed, collected.removed.len()), (1, 0));
    assert_eq!(world.registry.read(&file, 100).await.unwrap(), weights);
    let archived = crate::archive::ArchiveManifest::of(&*world.registry, None).await.unwrap();
    assert_eq!(archived.blobs().map(|blob| blob.digest).collect::<Vec<_>>(), [file.digest]);
    let stream = || Stream::Experiment("xgboost-v1".parse().unwrap());
    let options = crate::VerifyOptions { bytes: true, ..Default::default() };
    let sound = world.registry.verify(stream(), options).await.unwrap();
    assert!(sound.is_sound() && sound.files == 1, "{sound:?}");
    world.artifacts.damage(&file.digest, Some(Bytes::from_static(b"other bytes!")));
    let damaged = world.registry.verify(stream(), options).await.unwrap();
    let problems: Vec<String> = damaged.problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with("run 1 checkpoint.bin: "), "{problems:?}");
    // Bytes that nobody sent cannot be noted.
    let mut run = world.experiment().start().await.unwrap();
    let missing = crate::content::Artifact { digest: crate::Digest::of(b"never sent"), ..file };
    let artifacts = crate::content::Manifest::new(vec![missing]).unwrap();
    let log = RunLog { artifacts, ..RunLog::default() };
    let refused = world.registry.log_run(&by("alice"), run.name(), log).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::ArtifactMissing { .. })), "{refused}");
    run.flush().await.unwrap();
}

#[tokio::test]
async fn a_version_from_another_registry_is_not_taken_for_one_of_a_run_of_the_same_name() {
    let (here, there) = (world(), world());
    let mut run = here.experiment().start().await.unwrap();
    let registered = run.register_model(&model(), Content::default(), &[]).await.unwrap();
    let name = run.name().clone();
    run.finish().await.unwrap();
    there.experiment().start().await.unwrap().finish().await.unwrap();
    let options = crate::PromoteToOptions::new("here".parse().unwrap(), "there".parse().unwrap());
    let (version, target) = (&registered.version.version, &*there.registry);
    here.registry.promote_to(&by("alice"), &model(), version, target, &options).await.unwrap();
    let copied = there.registry.get(&model(), &crate::Selector::Newest).await.unwrap();
    assert_eq!(copied.content.metadata.run.as_ref(), Some(&name));
    assert_eq!(there.registry.run_versions(&name).await.unwrap(), Default::default());
    assert_eq!(here.registry.run_versions(&name).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_version_cannot_claim_another_experiment() {
    let world = world();
    let mut run = world.experiment().start().await.unwrap();
    let mut content = Content::default();
    content.metadata.experiment = Some("another".parse().unwrap());
    let refused = run.register_model(&model(), content, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to `xgboost-v1`"), "{refused}");
    assert_eq!(world.registry.models(None, 10).await.unwrap(), []);
    run.abort("done").await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = world();
    let nobody = world.registry.runs(&"nobody".parse().unwrap()).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no experiment `nobody`; start a run to create it");
    drop(world.experiment().start().await.unwrap());
    let name: RunName = "xgboost-v1:2".parse().unwrap();
    for refused in [
        world.registry.run(&name).await.map(|_| ()),
        world.registry.run_environment(&name).await.map(|_| ()),
        world.registry.continue_run(&by("alice"), &name).await.map(|_| ()),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused.rejection(), Some(Rejection::RunNotFound { .. })), "{refused}");
    }
    let names = world.registry.experiments(None, 10).await.unwrap();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["xgboost-v1"]);
}

#[test]
fn tools_are_read_as_they_speak() {
    assert_eq!(tool_version("rustc", "rustc 1.95.0 (59807616e 2026-04-14)\n").unwrap().as_str(), "1.95.0");
    assert_eq!(tool_version("Python", "Python 3.11.2\n").unwrap().as_str(), "3.11.2");
    for said in ["", "rustc", "Python 3.11", "rustc nightly", "error: no such command"] {
        assert!(tool_version("rustc", said).is_err(), "{said}");
    }
    let commit = "7f4aee1".repeat(6)[..40].to_owned();
    assert_eq!(git_commit(&format!("{commit}\n")).unwrap().as_str(), commit);
    for said in ["", "HEAD", "fatal: not a git repository", &commit[1..]] {
        assert!(git_commit(said).is_err(), "{said}");
    }
}

#[test]
fn the_crates_of_a_lock_are_listed() {
    let lock = "version = 4\n\n[[package]]\nname = \"adler2\"\nversion = \"2.0.1\"\nsource = \"x\"\n\
                dependencies = [\n \"name\",\n]\n\n[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\n\n\
                [metadata]\nname = \"no\"\nversion = \"0\"\n";
    let file = crates(lock).unwrap();
    assert_eq!((file.name().as_str(), file.text()), ("crates.txt", "adler2 2.0.1\nbytes 1.12.2\n"));
    for broken in ["", "version = 4", "[[package]]\nversion = \"1\"\n"] {
        assert!(crates(broken).is_err(), "{broken}");
    }
}

#[test]
fn no_password_gets_into_the_record() {
    for (given, expected) in [
        (
            "--index-url https://user:secret@pypi.example.com/simple",
            "--index-url https://***@pypi.example.com/***",
        ),
        ("a @ git+https://token@git.example.com/a@v1", "a @ git+https://***@git.example.com/a@v1"),
        ("xgboost==1.7.0 # https://b:c@d", "xgboost==1.7.0 # https://***@d"),
        (
            "a @ https://e.com/a.whl?sig=x&t=y#sha256=0a ; os_name",
            "a @ https://e.com/a.whl?***#sha256=0a ; os_name",
        ),
        ("a @ https://e.com?sig=x", "a @ https://e.com?***"),
        ("a @ https://p.com/https://b:c@d/a?e", "a @ https://p.com/https://***@d/a?***"),
        ("--extra-index-url=https://e.com/token/simple/", "--extra-index-url=https://e.com/***"),
        ("-i https://e.com/token", "-i https://e.com/***"),
        ("-ihttps://e.com/token", "-ihttps://e.com/***"),
        ("--find-links  https://e.com/token?x", "--find-links  https://e.com/***"),
        ("-f \\\n https://e.com/token", "-f \\\n https://e.com/***"),
        ("-e git+https://e.com/a@v1#egg=a", "-e git+https://e.com/a@v1#egg=a"),
        ("numpy>=1.0 # why?", "numpy>=1.0 # why?"),
    ] {
        assert_eq!(requirements(given).unwrap().text(), format!("{expected}\n"));
    }
}

#[test]
fn parameters_are_values_of_a_bounded_size() {
    let refused = ParamValue::new(f64::NAN).unwrap_err().to_string();
    assert_eq!(refused, "invalid value of a parameter \"null\": is null, or a number that is not finite");
    assert!(ParamValue::new("x".repeat(ParamValue::BYTES_MAX)).is_err());
    assert!(ParamValue::new("x".repeat(ParamValue::BYTES_MAX - 2)).is_ok());
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    assert!(ParamValue::new(nested(ParamValue::DEPTH_MAX)).is_ok());
    assert!(ParamValue::new(nested(ParamValue::DEPTH_MAX + 1)).is_err());
    assert!(Lease::of_seconds(0).is_err() && Lease::of_seconds(Lease::SECONDS_MAX + 1).is_err());
    assert_eq!(Lease::default(), Lease::of_seconds(86_400).unwrap());
    assert_eq!("host-name".parse::<HostFact>().unwrap(), HostFact::HostName);
    assert!("host_nam".parse::<HostFact>().unwrap_err().to_string().contains("did you mean `host_name`?"));
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
}

proptest! {
    /// However the rest of a line looks, what is secret in an address is not kept.
    #[test]
    fn no_secret_of_an_address_is_kept(
        option in prop_oneof![Just("-i "), Just("--index-url="), Just("--find-links "), Just("")],
        before in "[a-z./:@ ]{0,8}",
        after in "[a-z./:@?# ]{0,8}",
    ) {
        let password = requirements(&format!("{option}{before} https://ada:SECRET@h/{after}")).unwrap();
        prop_assert!(!password.text().contains("SECRET"), "{}", password.text());
        let query = requirements(&format!("{option}{before} https://h/a?t=SECRET{after}")).unwrap();
        prop_assert!(!query.text().contains("SECRET"), "{}", query.text());
        if !option.is_empty() {
            let path = requirements(&format!("{option}https://h/SECRET/{after}")).unwrap();
            prop_assert!(!path.text().contains("SECRET"), "{}", path.text());
        }
    }

    #[test]
    fn any_value_survives_the_log(value in values()) {
        let before = MetricValue::from(value);
        let text = serde_json::to_string(&before).unwrap();
        prop_assert_eq!(serde_json::from_str::<MetricValue>(&text).unwrap(), before);
        prop_assert_eq!(before.number().is_some(), value.is_finite());
    }

    /// However the values are cut into commits, the summary is what a look at all of them says.
    #[test]
    fn a_summary_is_what_all_values_say(
        points in prop::collection::vec((0_u64..5, values()), 1..30),
        cut in 1_usize..30,
    ) {
        let at = start();
        let points: Vec<MetricPoint> = points
            .into_iter()
            .map(|(step, value)| MetricPoint { metric: "m".parse().unwrap(), step, value: value.into(), at })
            .collect();
        let stamp = crate::state::Stamp { revision: Revision::FIRST, at, actor: "a".parse().unwrap(), reason: None };
        let mut run = RunState::begun(&RunStarted::default(), &stamp);
        for batch in points.chunks(cut) {
            run.apply(&Event::RunMetricsLogged { run: Revision::FIRST, points: batch.to_vec() }, &stamp);
        }
        let numbers = || points.iter().filter_map(|point| point.value.number()).map(|number| number.get());
        // The last of those with the highest step.
        let last = points.iter().max_by_key(|point| point.step).unwrap();
        let expected = MetricSummary {
            step: last.step,
            last: last.value,
            min: numbers().reduce(f64::min).map(|number| number.try_into().unwrap()),
            max: numbers().reduce(f64::max).map(|number| number.try_into().unwrap()),
            count: points.len() as u64,
            not_numbers: (points.len() - numbers().count()) as u64,
        };
        prop_assert_eq!(&run.metrics[&"m".parse().unwrap()], &expected);
    }

    #[test]
    fn a_run_is_lost_exactly_when_its_lease_is_over(lease in 1_u64..1_000_000, passed_us in 0_u64..2_000_000_000_000) {
        let stamp = crate::state::Stamp {
            revision: Revision::FIRST, at: start(), actor: "a".parse().unwrap(), reason: None,
        };
        let started = RunStarted { lease: Lease::of_seconds(lease).unwrap(), ..RunStarted::default() };
        let run = RunState::begun(&started, &stamp);
        let now = start().saturating_add(Duration::from_micros(passed_us));
        let is_lost = matches!(run.status(now), RunStatus::Aborted { is_lost: true, .. });
        prop_assert_eq!(is_lost, lease * 1_000_000 < passed_us);
    }
}
