//! The life of a model as its documents tell it: registered, promoted, replaced, tried and rolled back for real.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly, its helpers too")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_core::compare::Significance;
use registry_core::lineage::{InputKind, Link};
use registry_core::trial::{Goal, Measure, MeasureKind, PlannedEnd, Share, TrialStage};
use registry_core::{
    By, Content, Direction, Engine, EnvironmentFile, Finite, ManualClock, MemoryArtifacts, MemoryLog, Metric,
    ModelName, PromoteOptions, Registration, RegistryExt as _, Scope, Stage, StageRule, TrialPlan, Upload,
    Version,
};
use registry_docs::{Change, Choice, Mode, Options, Output, OutputContent, outputs, read, write};

type Memory = Engine<MemoryLog, MemoryArtifacts>;

struct Story {
    registry: Memory,
    clock: Arc<ManualClock>,
    model: ModelName,
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn by(who: &str) -> By {
    By::new(who.parse().unwrap())
}

/// What is registered, with the numbers of its evaluation.
fn content(accuracy: f64, latency_p50_ms: f64) -> Content {
    let mut content = Content::default();
    content.metrics.insert("accuracy".parse().unwrap(), Metric::new(accuracy).unwrap().with_samples(10_000));
    content.deployment.latency_p50_ms = Some(Finite::new(latency_p50_ms).unwrap());
    content.metadata.framework = Some("xgboost==1.7.0".parse().unwrap());
    content.metadata.algorithm = Some("XGBoost".parse().unwrap());
    content.metadata.increment = Some("0042-fraud-detection".parse().unwrap());
    content.metadata.training_data_version = Some("v2024-01".parse().unwrap());
    content.metadata.hyperparameters = BTreeMap::from([("max_depth".to_owned(), 6.into())]);
    content.signature = Some(
        serde_json::from_str(
            r#"{"inputs": {"amount": "double", "merchant_id": "long"}, "outputs": {"fraud_probability": "double"}}"#,
        )
        .unwrap(),
    );
    content.features = Some(
        serde_json::from_str(r#"{"set": "card", "version": "7", "features": ["merchant_risk_score"]}"#)
            .unwrap(),
    );
    content.environment = vec![
        EnvironmentFile::new("requirements.txt".parse().unwrap(), "xgboost==1.7.0\n".to_owned()).unwrap(),
    ];
    content.tags.insert("fraud".parse().unwrap(), String::new());
    content
}

impl Story {
    fn new() -> Story {
        let clock = Arc::new(ManualClock::new("2023-11-20T09:00:00Z".parse().unwrap()));
        let registry = registry_core::in_memory().with_clock(Arc::clone(&clock) as _);
        Story { registry, clock, model: "fraud-detection-model".parse().unwrap() }
    }

    fn on(&self, day: &str) {
        self.clock.set(format!("{day}T14:00:00Z").parse().unwrap());
    }

    async fn register(&self, version: &str, content: Content) {
        let bytes = Bytes::from(format!("the weights of {version}"));
        let upload = Upload { path: "model.pkl".parse().unwrap(), source: &bytes };
        let registration = Registration::new(v(version), content);
        self.registry.register(&by("ana@example.com"), &self.model, registration, &[upload]).await.unwrap();
    }

    async fn move_to(&self, version: &str, stage: Stage) {
        let options = PromoteOptions::default();
        self.registry
            .promote(&by("ana@example.com"), &self.model, &v(version), stage, options)
            .await
            .unwrap();
    }

    async fn deploy(&self, version: &str) {
        self.move_to(version, Stage::Staging).await;
        self.move_to(version, Stage::Production).await;
    }

    /// As it stood on the day that the page was first asked for.
    async fn first_months() -> Story {
        let story = Story::new();
        story.register("v2.5.0", content(0.83, 45.0)).await;
        story.on("2023-12-01");
        story.deploy("v2.5.0").await;
        story.on("2024-01-09");
        story.move_to("v2.5.0", Stage::Archived).await;
        story.register("v3.0.0", content(0.85, 40.0)).await;
        story.on("2024-01-10");
        story.deploy("v3.0.0").await;
        story.on("2024-01-15");
        story.register("v3.1.0", content(0.87, 35.0)).await;
        story.on("2024-01-20");
        story.deploy("v3.1.0").await;
        story
    }

    /// What came after: rules, a deprecation, an approval, a rollback, a trial and a request that waits.
    async fn later(&self) {
        let (registry, model) = (&self.registry, &self.model);
        self.on("2024-02-01");
        let deprecate = by("ana@example.com").because("Superseded by v3.x series".parse().unwrap());
        let end = "2024-06-01T00:00:00Z".parse().unwrap();
        registry.deprecate(&deprecate, model, &v("v2.5.0"), Some(&v("v3.1.0")), Some(end)).await.unwrap();
        let rule: StageRule =
            serde_json::from_str(r#"{"approval": {"quorum": 1, "approvers": ["rob@example.com"]}}"#).unwrap();
        let scope = Scope::Model(model.clone());
        registry.set_stage_rule(&by("ana@example.com"), &scope, Stage::Production, Some(rule)).await.unwrap();

        self.on("2024-02-10");
        let mut better = content(0.89, 33.0);
        better.links.push(Link::Input {
            kind: InputKind::Data,
            id: "chargebacks".parse().unwrap(),
            version: Some("7".parse().unwrap()),
            digest: None,
            attributes: BTreeMap::new(),
        });
        better.links.push(Link::Evaluation {
            id: "holdout 2024-02".parse().unwrap(),
            attributes: BTreeMap::from([("rows".to_owned(), 10_000.into())]),
        });
        self.register("v3.2.0", better).await;
        self.deploy("v3.2.0").await;
        let comment = "Tested in staging, accuracy improved 2%".parse().unwrap();
        let (rob, version, meaning) = (by("rob@example.com"), v("v3.2.0"), "validation".parse().unwrap());
        let approved = registry.approve(&rob, model, &version, None, Some(meaning), Some(comment));
        assert!(approved.await.unwrap().is_done());

        self.on("2024-02-12");
        let back = by("ana@example.com").because("v3.2.0 causing high false positive rate".parse().unwrap());
        registry.rollback(&back, model, None, false).await.unwrap();
        self.on("2024-02-20");
        self.register("v3.2.1", content(0.89, 33.0)).await;
        self.deploy("v3.2.1").await;
        let plan = TrialPlan {
            stage: TrialStage::Staging,
            share: Share::new(0.1).unwrap(),
            measure: Measure::new(
                "precision".parse().unwrap(),
                MeasureKind::Proportion,
                Some(Direction::Higher),
            )
            .unwrap(),
            goal: Goal::Better,
            end: PlannedEnd::new(Some(std::num::NonZeroU64::new(7 * 86_400).unwrap()), None).unwrap(),
            significance: Significance::default(),
            looks: std::num::NonZeroU32::MIN,
        };
        self.clock.advance(Duration::from_secs(60));
        registry
            .start_trial(&by("ana@example.com"), model, &v("v3.2.1"), Some(&v("v3.1.0")), plan)
            .await
            .unwrap();
    }

    async fn outputs(&self, options: &Options) -> Vec<Output> {
        let records = read(&self.registry, None).await.unwrap();
        let made = outputs(&records, options).unwrap();
        assert_eq!(made, outputs(&records, options).unwrap(), "the same records give the same documents");
        made
    }
}

fn text(outputs: &[Output], path: &str) -> String {
    let output = outputs.iter().find(|output| output.path.as_str() == path).unwrap();
    match &output.content {
        OutputContent::Document(document) => document.to_new_file(),
        OutputContent::Whole(text) => text.clone(),
        other => panic!("{path} is {other:?}"),
    }
}

fn everything() -> Options {
    Options { cards: true, tree: true, files: true, ..Options::default() }
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in registry_files::scan(folder).unwrap() {
        found.push(file.path.to_string());
    }
    found
}

#[tokio::test]
async fn the_page_says_what_is_in_production_what_was_and_how_to_go_back() {
    let story = Story::first_months().await;
    let outputs = story.outputs(&Options::default()).await;
    insta::assert_snapshot!("page", text(&outputs, "pages/fraud-detection-model.md"));
    insta::assert_snapshot!("index", text(&outputs, "index.md"));
}

#[tokio::test]
async fn the_page_tells_of_rollbacks_approvals_deprecations_requests_and_trials() {
    let story = Story::first_months().await;
    story.later().await;
    let outputs = story.outputs(&everything()).await;
    insta::assert_snapshot!("later_page", text(&outputs, "pages/fraud-detection-model.md"));
    insta::assert_snapshot!("card", text(&outputs, "cards/fraud-detection-model-v3.2.0.md"));
    insta::assert_snapshot!("history", text(&outputs, "registry/deployment_history.md"));
    insta::assert_snapshot!("catalog", text(&outputs, "registry/model_catalog.yaml"));
}

#[tokio::test]
async fn the_tree_has_a_folder_a_version_and_only_those_of_the_increment() {
    let story = Story::first_months().await;
    let mut other = content(0.9, 30.0);
    other.metadata.increment = Some("00420".parse().unwrap());
    story.register("v4.0.0", other).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { increment: Some("0042".parse().unwrap()), cards: false, ..everything() };
    let outputs = story.outputs(&options).await;
    write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap();
    insta::assert_snapshot!("tree", files(folder.path()).join("\n"));
    let weights = std::fs::read(folder.path().join("models/fraud-detection-model-v3.0.0/model.pkl")).unwrap();
    assert_eq!(weights, b"the weights of v3.0.0");
    let graph: serde_json::Value =
        serde_json::from_str(&text(&outputs, "registry/lineage_graph.json")).unwrap();
    let versions = graph["nodes"].as_array().unwrap().iter().filter(|node| node["kind"] == "model").count();
    assert_eq!(versions, 3, "{graph}");
}

#[tokio::test]
async fn a_second_run_touches_nothing_and_a_check_writes_nothing() {
    let story = Story::first_months().await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("docs");
    let outputs = story.outputs(&everything()).await;
    let checked = write(&story.registry, &outputs, &target, Mode::Check).await.unwrap();
    assert_eq!(checked.changed().count(), outputs.len());
    assert!(!target.exists(), "a check writes nothing");
    write(&story.registry, &outputs, &target, Mode::Write).await.unwrap();

    let page = target.join("pages/fraud-detection-model.md");
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for file in files(&target) {
        let file = std::fs::File::options().append(true).open(target.join(file)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let again = write(&story.registry, &outputs, &target, Mode::Write).await.unwrap();
    assert_eq!(again.changed().count(), 0);
    for file in files(&target) {
        let modified = std::fs::metadata(target.join(&file)).unwrap().modified().unwrap();
        assert_eq!(modified, long_ago, "{file} was touched");
    }

    story.later().await;
    let outputs = story.outputs(&everything()).await;
    let report = write(&story.registry, &outputs, &target, Mode::Write).await.unwrap();
    let changed: Vec<&str> = report.changed().map(|file| file.path.as_str()).collect();
    assert!(changed.contains(&"pages/fraud-detection-model.md"), "{changed:?}");
    assert!(!changed.contains(&"models/fraud-detection-model-v3.0.0/model.pkl"), "{changed:?}");
    assert!(std::fs::read_to_string(page).unwrap().contains("Rolled back to v3.1.0"));
}

#[tokio::test]
async fn what_people_write_stays_and_a_removed_part_stays_away() {
    let story = Story::first_months().await;
    let folder = tempfile::tempdir().unwrap();
    let outputs = story.outputs(&Options::default()).await;
    write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap();
    let page = folder.path().join("pages/fraud-detection-model.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- registry:begin trials -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- registry:end trials -->\n").unwrap();
    let edited = format!("Ours.\n\n{before}Between.{after}No end of line");
    std::fs::write(&page, edited.replace('\n', "\r\n")).unwrap();

    story.later().await;
    let outputs = story.outputs(&Options::default()).await;
    let report = write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap();
    let of_page = report.files.iter().find(|file| file.path.as_str().starts_with("pages/")).unwrap();
    assert_eq!((of_page.change, of_page.left_out.as_slice()), (Change::Changed, &["trials"][..]));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.starts_with("Ours.\r\n\r\n") && text.ends_with("No end of line"), "{text}");
    assert!(text.contains("Between.\r\n") && text.contains("| v3.2.0 | Archived |"), "{text}");
    assert!(!text.contains("Running Trials"), "{text}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "no line ends otherwise");
}

#[tokio::test]
async fn a_broken_fence_is_named_and_nothing_is_changed() {
    let story = Story::first_months().await;
    let folder = tempfile::tempdir().unwrap();
    let outputs = story.outputs(&Options::default()).await;
    write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap();
    let page = folder.path().join("pages/fraud-detection-model.md");
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, text.replace("<!-- registry:end versions -->\n", "")).unwrap();
    std::fs::remove_file(folder.path().join("index.md")).unwrap();
    let error = write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap_err().to_string();
    // One line less stands before it.
    let line = text.lines().position(|line| line == "<!-- registry:begin rollback -->").unwrap();
    assert_eq!(
        error,
        format!(
            "{}, line {line}: the generated part `rollback` begins before `versions` has ended; \
             put the end mark of `versions` back",
            page.display()
        )
    );
    assert!(!folder.path().join("index.md").exists(), "nothing else was written either");
}

#[tokio::test]
async fn one_model_is_written_without_what_is_about_all() {
    let story = Story::first_months().await;
    let records = read(&story.registry, Some(&story.model)).await.unwrap();
    let made =
        outputs(&records, &Options { choice: Choice::SomeModels, tree: true, ..Options::default() }).unwrap();
    assert!(
        made.iter().all(|output| output.path.as_str().starts_with("pages/")
            || output.path.as_str().starts_with("models/"))
    );
    let unknown = read(&story.registry, Some(&"unknown".parse().unwrap())).await.unwrap_err();
    assert!(unknown.to_string().contains("unknown"), "{unknown}");
}

#[tokio::test]
async fn what_breaks_clients_and_what_bypassed_approval_is_said_plainly() {
    let story = Story::first_months().await;
    let rule: StageRule = serde_json::from_str(r#"{"approval": {"quorum": 1}}"#).unwrap();
    let scope = Scope::Model(story.model.clone());
    story.registry.set_stage_rule(&by("ana"), &scope, Stage::Production, Some(rule)).await.unwrap();
    let mut more = content(0.9, 30.0);
    more.signature = Some(
        serde_json::from_str(
            r#"{"inputs": {"amount": "double", "merchant_id": "long"},
                "outputs": {"fraud_probability": "double", "risk_score": "double"}}"#,
        )
        .unwrap(),
    );
    more.metadata.parent_model = Some("fraud-base@v1.0.0".parse().unwrap());
    story.register("v3.2.0", more).await;
    story.move_to("v3.2.0", Stage::Staging).await;
    let emergency = PromoteOptions { emergency: true, ..PromoteOptions::default() };
    let why = by("ana").because("incident 7".parse().unwrap());
    story.registry.promote(&why, &story.model, &v("v3.2.0"), Stage::Production, emergency).await.unwrap();

    let outputs = story.outputs(&everything()).await;
    let page = text(&outputs, "pages/fraud-detection-model.md");
    assert!(page.contains("| v3.2.0 | Prod | Emergency, by ana |  | 2024-01-20 | incident 7 |"), "{page}");
    let plan =
        "1. Rollback to v3.1.0 would break clients of v3.2.0, and has to be forced: `outputs.risk_score`";
    assert!(page.contains(plan), "{page}");
    let card = text(&outputs, "cards/fraud-detection-model-v3.2.0.md");
    assert!(card.contains("base_model:\n- fraud-base@v1.0.0\n"), "{card}");
    assert!(card.contains("- Made out of: `fraud-base@v1.0.0` (derived)"), "{card}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_not_written_through() {
    let story = Story::first_months().await;
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), folder.path().join("pages")).unwrap();
    let outputs = story.outputs(&Options::default()).await;
    let error = write(&story.registry, &outputs, folder.path(), Mode::Write).await.unwrap_err().to_string();
    assert!(error.contains("pages: is a link"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!folder.path().join("index.md").exists());
}
