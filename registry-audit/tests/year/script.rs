//! A year in the life of a registry, told by the verbs that people use: what goes well, what goes wrong, what is bypassed,
//! and what others do past it. The clock is set by hand, so the year is the same each time.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use registry_core::compare::Significance;
use registry_core::lineage::Link;
use registry_core::mirror::{Drift, Foreign, ForeignChange, Keep, Mirror, Mirrored};
use registry_core::monitor::{Aggregate, Condition, Monitor, Observed, Rule, Summary};
use registry_core::storage::StorageError;
use registry_core::trial::{Arms, Counts, Goal, Margin, Measure, MeasureKind, PlannedEnd, Share, TrialStage};
use registry_core::{
    Actor, Amendment, ApprovalRule, By, Command, Content, Deployment, Engine, Error, Finite, GarbageOptions,
    Gate, IdSource, Invalid, Manifest, ManualClock, MemoryArtifacts, MemoryLog, Metadata, Metric, ModelName,
    ModelState, Need, Outcome, PolicyChange, PromoteOptions, Registration, Registry, RegistryExt as _, Scope,
    Stage, StageRule, Tally, Timestamp, TrialPlan, Upload, Version, VersionChoice, VersionState,
};

/// Ids that are the same each time.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl IdSource for Counted {
    fn next_id(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// Another system, in which somebody registers a version and moves it, past the registry.
struct Elsewhere {
    system: Actor,
    done: Mutex<Vec<Foreign>>,
}

#[async_trait::async_trait]
impl Mirror for Elsewhere {
    fn system(&self) -> &Actor {
        &self.system
    }

    async fn models(&self, _: Option<&ModelName>, _: usize) -> Result<Vec<ModelName>, StorageError> {
        Ok(Vec::new())
    }

    async fn drift(
        &self,
        model: &ModelName,
        state: &ModelState,
        _: &Need,
    ) -> Result<Option<Drift>, StorageError> {
        let is_new = |foreign: &&Foreign| match &foreign.change {
            ForeignChange::Registered { version, .. } => state.version(version).is_none(),
            ForeignChange::Staged { version, to } => {
                state.version(version).is_none_or(|known| known.stage != *to)
            }
            _ => false,
        };
        let done = self.done.lock().unwrap();
        let changes = if model.as_str() == "shared" {
            done.iter().filter(is_new).cloned().collect()
        } else {
            Vec::new()
        };
        Ok(Some(Drift { changes, unfinished: Vec::new() }))
    }

    async fn files(
        &self,
        _: &ModelName,
        _: &VersionState,
        _: Keep,
    ) -> Result<Option<Manifest>, StorageError> {
        Ok(None)
    }

    fn check(&self, _: &ModelName, _: &Command) -> Result<(), Invalid> {
        Ok(())
    }

    async fn project(&self, _: &ModelName, _: &ModelState) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A value that was observed, and when it was put on record.
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) metric: String,
    pub(crate) reported_at: Timestamp,
    pub(crate) value: f64,
}

/// The registry after the year.
pub(crate) struct Year {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) artifacts: Arc<MemoryArtifacts>,
    pub(crate) clock: Arc<ManualClock>,
    /// What was observed, as it was before it was summed up.
    pub(crate) observed: Vec<Seen>,
}

pub(crate) const NARROW: &str = r#"{"inputs": {"amount": "double"}, "outputs": {"score": "double"}}"#;
const WIDE: &str = r#"{"inputs": {"amount": "double"}, "outputs": {"score": "double", "reason": "string"}}"#;

pub(crate) fn day(text: &str) -> Timestamp {
    let text = if text.len() == 5 { format!("2024-{text}T09:00:00Z") } else { text.to_owned() };
    text.parse().unwrap()
}

fn by(actor: &str) -> By {
    By::new(actor.parse().unwrap())
}

fn because(actor: &str, reason: &str) -> By {
    by(actor).because(reason.parse().unwrap())
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

pub(crate) fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

fn accuracy(value: f64) -> BTreeMap<registry_core::Key, Metric> {
    let metric = Metric { samples: Some(1_000), ..Metric::new(value).unwrap() };
    [("accuracy".parse().unwrap(), metric)].into()
}

fn content(value: f64, signature: &str) -> Content {
    Content {
        signature: Some(serde_json::from_str(signature).unwrap()),
        metadata: Metadata {
            algorithm: Some("XGBoost".parse().unwrap()),
            framework: Some("xgboost==1.7.0".parse().unwrap()),
            owner: Some("olga@example.com".parse().unwrap()),
            training_data_version: Some("v2024-01".parse().unwrap()),
            experiment: Some("exp-003".parse().unwrap()),
            ..Metadata::default()
        },
        metrics: accuracy(value),
        deployment: Deployment { latency_p95_ms: Some(Finite::new(80.0).unwrap()), ..Deployment::default() },
        tags: [("fraud".parse().unwrap(), String::new()), ("team".parse().unwrap(), "risk".to_owned())]
            .into(),
        ..Content::default()
    }
}

impl Year {
    fn at(&self, instant: &str) {
        self.clock.set(day(instant));
    }

    async fn register(
        &self,
        by: &By,
        model: &ModelName,
        version: impl Into<VersionChoice>,
        content: Content,
        files: &[&str],
    ) {
        let bytes: Vec<Bytes> = files.iter().map(|file| Bytes::from(format!("{model} {file}"))).collect();
        let uploads: Vec<Upload<'_>> = files
            .iter()
            .zip(&bytes)
            .map(|(file, bytes)| {
                let path = file.split_once(' ').map_or(*file, |(path, _)| path);
                Upload { path: path.parse().unwrap(), source: bytes }
            })
            .collect();
        self.registry.register(by, model, Registration::new(version, content), &uploads).await.unwrap();
    }

    async fn promote(&self, by: &By, model: &ModelName, version: &str, to: Stage) -> bool {
        let options = PromoteOptions::default();
        self.registry.promote(by, model, &v(version), to, options).await.unwrap().is_done()
    }

    async fn emergency(&self, by: &By, model: &ModelName, version: &str) {
        let options = PromoteOptions { emergency: true, ..PromoteOptions::default() };
        self.registry.promote(by, model, &v(version), Stage::Production, options).await.unwrap();
    }

    async fn approve(
        &self,
        who: &str,
        model: &ModelName,
        version: &str,
        words: Option<(&str, &str)>,
    ) -> Result<bool, Error> {
        let (meaning, comment) = words.unzip();
        let text = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let done =
            self.registry.approve(&by(who), model, &v(version), None, text(meaning), text(comment)).await?;
        Ok(done.is_done())
    }

    async fn stage_rule(&self, by: &By, scope: &Scope, stage: Stage, rule: Option<StageRule>) {
        self.registry.set_stage_rule(by, scope, stage, rule).await.unwrap();
    }

    /// Values of a metric, observed over the hour that ends now, and reported a moment later.
    async fn observe(&mut self, model: &ModelName, version: &str, metric: &str, values: &[f64]) {
        let until = self.registry.clock().now();
        let from = Timestamp::from_microseconds(until.microseconds() - 3_600_000_000).unwrap();
        let summary = Summary {
            version: v(version),
            metric: metric.parse().unwrap(),
            from,
            until,
            replica: None,
            observed: Observed::of(values.iter().copied()),
        };
        self.clock.set(until.saturating_add(Duration::from_millis(20)));
        let receipt = self.registry.report_health(&by("server"), model, vec![summary]).await.unwrap();
        self.clock.set(until);
        let Outcome::Committed(recorded) = receipt.outcome else { panic!("it was reported before") };
        let reported_at = recorded.commit.time;
        self.observed.extend(values.iter().map(|value| Seen {
            version: v(version).to_string(),
            metric: metric.to_owned(),
            reported_at,
            value: *value,
        }));
    }
}

fn gate(json: &str) -> Gate {
    serde_json::from_str(json).unwrap()
}

/// The year.
pub(crate) async fn year() -> Year {
    let clock = Arc::new(ManualClock::new(day("01-02")));
    let (log, artifacts) =
        (Arc::new(MemoryLog::default()), Arc::new(MemoryArtifacts::with_clock(clock.clone())));
    let engine = Engine::new(log.clone(), artifacts.clone())
        .with_clock(clock.clone())
        .with_ids(Arc::new(Counted::default()));
    let other = Elsewhere { system: "mlflow".parse().unwrap(), done: Mutex::new(Vec::new()) };
    let other = Arc::new(other);
    let registry: Arc<dyn Registry> = Arc::new(Mirrored::new(Arc::new(engine), other.clone()));
    let mut year = Year { registry, log, artifacts, clock, observed: Vec::new() };
    let (fraud, churn, shared) = (model("fraud-detection"), model("churn"), model("shared"));
    let own = Scope::Model(fraud.clone());

    // The rules, then a first version, approved by the book after two who may not approve have tried.
    let rule = ApprovalRule {
        expires_after_seconds: Some(30 * 86_400),
        ..ApprovalRule::one_of(["alice", "bob", "carol"].map(|name| name.parse().unwrap()))
    };
    let strict = StageRule {
        approval: Some(rule.clone()),
        gates: vec![
            gate(r#"{"gate":"metric","name":"accuracy","at_least":0.8}"#),
            gate(r#"{"gate":"compatible"}"#),
        ],
    };
    year.stage_rule(&because("chief", "policy 7"), &Scope::Registry, Stage::Production, Some(strict)).await;
    year.at("01-10");
    let mut first = content(0.85, NARROW);
    first.links = vec![
        serde_json::from_str::<Link>(r#"{"link":"input","kind":"data","id":"merchants","version":"7"}"#)
            .unwrap(),
        serde_json::from_str::<Link>(r#"{"link":"derived_from","model":"base@v1.0.0","how":"quantised"}"#)
            .unwrap(),
    ];
    year.register(&by("alice"), &fraud, v("1.0.0"), first, &["model.bin 1.0.0", "model.sig 1.0.0"]).await;
    year.at("01-12");
    year.registry
        .describe(&by("alice"), &fraud, None, Some("Finds fraud in payments.".parse().unwrap()))
        .await
        .unwrap();
    let tags = [("critical".parse().unwrap(), "yes".to_owned())].into();
    year.registry.change_tags(&by("alice"), &fraud, None, tags, Vec::new()).await.unwrap();
    year.at("01-15");
    assert!(year.promote(&by("alice"), &fraud, "1.0.0", Stage::Staging).await);
    year.at("01-16");
    assert!(!year.promote(&because("dave", "go live"), &fraud, "1.0.0", Stage::Production).await);
    assert!(year.approve("alice", &fraud, "1.0.0", None).await.is_err());
    assert!(year.approve("dave", &fraud, "1.0.0", None).await.is_err());
    let text = |text: &str| Some(text.parse().unwrap());
    year.registry.reject(&by("bob"), &fraud, &v("1.0.0"), None, text("no card yet")).await.unwrap();
    year.at("01-17");
    year.registry.withdraw(&by("bob"), &fraud, &v("1.0.0"), None).await.unwrap();
    assert!(year.approve("carol", &fraud, "1.0.0", Some(("validation", "tested in staging"))).await.unwrap());
    year.at("01-20");
    year.observe(&fraud, "1.0.0", "latency", &[100.0, 120.0, 90.0, 300.0]).await;
    year.observe(&fraud, "1.0.0", "accuracy", &[0.86, f64::NAN, 0.84]).await;

    // A second one: amended, tried on real requests, asked for twice, since the first request lapses.
    year.at("02-01");
    let trees = year.registry.experiment("trees".parse().unwrap(), &by("alice"));
    let mut run = trees.start().await.unwrap();
    run.metric("loss", 1, 0.3).await.unwrap();
    let curve = Bytes::from_static(b"a curve");
    let upload = Upload { path: "loss.svg".parse().unwrap(), source: &curve };
    run.artifact(&upload).await.unwrap();
    run.finish().await.unwrap();
    year.register(&by("alice"), &fraud, v("1.1.0"), content(0.9, NARROW), &["model.bin 1.1.0"]).await;
    year.at("02-02");
    let amendment = Amendment { metrics: accuracy(0.91), ..Amendment::default() };
    year.registry.amend(&because("erin", "measured again"), &fraud, &v("1.1.0"), amendment).await.unwrap();
    assert!(year.promote(&by("alice"), &fraud, "1.1.0", Stage::Staging).await);
    let plan = TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.1).unwrap(),
        measure: Measure::new("error rate".parse().unwrap(), MeasureKind::Proportion, None).unwrap(),
        goal: Goal::NotWorse { margin: Margin::new(0.01).unwrap() },
        end: PlannedEnd::new(None, NonZeroU64::new(1_000)).unwrap(),
        significance: Significance::default(),
        looks: NonZeroU32::MIN,
    };
    year.registry.start_trial(&by("alice"), &fraud, &v("1.1.0"), None, plan.clone()).await.unwrap();
    year.at("02-09");
    let counts = |errors, requests| Counts::new(errors, requests).unwrap();
    let batch = Tally::Proportion(Arms { control: counts(9, 9_000), treatment: counts(1, 1_000) });
    year.registry.observe_trial(&by("router"), &fraud, &v("1.1.0"), batch).await.unwrap();
    assert!(year.registry.conclude_trial(&by("alice"), &fraud, &v("1.1.0")).await.unwrap().is_concluded);
    year.observe(&fraud, "1.1.0", "latency", &[50.0, 60.0]).await;
    assert!(!year.promote(&by("dave"), &fraud, "1.1.0", Stage::Production).await);
    year.at("03-20");
    year.observe(&fraud, "1.0.0", "latency", &[110.0, 115.0]).await;
    assert!(!year.promote(&because("dave", "once more"), &fraud, "1.1.0", Stage::Production).await);
    year.at("03-21");
    assert!(year.approve("bob", &fraud, "1.1.0", Some(("release", "the trial was good"))).await.unwrap());

    // It gets slow, and a rule takes it out.
    let slow = Rule::new("latency".parse().unwrap(), Condition::Above(Finite::new(200.0).unwrap()))
        .of(Aggregate::P95)
        .over(Duration::from_secs(86_400));
    year.registry.set_monitor_rule(&by("chief"), &own, "slow".parse().unwrap(), Some(slow)).await.unwrap();
    year.at("04-01");
    year.observe(&fraud, "1.1.0", "latency", &[150.0, 160.0, 170.0]).await;
    year.at("04-05");
    year.observe(&fraud, "1.1.0", "latency", &[400.0, 500.0, 620.0]).await;
    let found = Monitor::new(year.registry.clone(), fraud.clone()).look().await.unwrap();
    assert_eq!(found.len(), 1, "the rule is broken");
    year.at("04-06");
    year.observe(&fraud, "1.0.0", "latency", &[101.0]).await;

    // An emergency: without approval and past a gate. And a trial that is given up.
    year.at("05-02");
    year.register(&by("alice"), &fraud, v("1.2.0"), content(0.7, NARROW), &["model.bin 1.2.0"]).await;
    assert!(year.promote(&by("alice"), &fraud, "1.2.0", Stage::Staging).await);
    let staging = TrialPlan { stage: TrialStage::Staging, ..plan };
    year.registry.start_trial(&by("alice"), &fraud, &v("1.2.0"), Some(&v("1.0.0")), staging).await.unwrap();
    year.at("05-03");
    year.emergency(&because("erin", "1.0.0 lets a new attack through"), &fraud, "1.2.0").await;
    year.at("05-10");
    year.registry
        .rollback(&because("carol", "the attack is over"), &fraud, Some(&v("1.0.0")), false)
        .await
        .unwrap();
    // A replica reports what it saw before and after.
    year.at("2024-05-10T09:05:00Z");
    year.observe(&fraud, "1.2.0", "latency", &[70.0, 75.0]).await;

    // The model gets rules of its own; a request becomes void by that, another is taken back.
    year.at("06-01");
    year.registry
        .lift_quarantine(&because("carol", "the cause was the network"), &fraud, &v("1.1.0"))
        .await
        .unwrap();
    assert!(year.promote(&by("alice"), &fraud, "1.1.0", Stage::Staging).await);
    assert!(!year.promote(&by("dave"), &fraud, "1.1.0", Stage::Production).await);
    let two = StageRule {
        approval: Some(ApprovalRule { quorum: NonZeroU32::new(2).unwrap(), ..rule }),
        gates: Vec::new(),
    };
    year.stage_rule(&because("chief", "two from now on"), &own, Stage::Production, Some(two)).await;
    year.at("06-02");
    assert!(!year.promote(&by("dave"), &fraud, "1.1.0", Stage::Production).await);
    assert!(!year.approve("bob", &fraud, "1.1.0", None).await.unwrap());
    year.registry.withdraw(&by("dave"), &fraud, &v("1.1.0"), None).await.unwrap();

    // A new interface, put in by two; clients have adapted, so going back must be forced.
    year.at("07-01");
    year.register(
        &by("alice"),
        &fraud,
        v("2.0.0"),
        content(0.95, WIDE),
        &["model.bin 2.0.0", "weights.sig 2.0.0"],
    )
    .await;
    assert!(year.promote(&by("alice"), &fraud, "2.0.0", Stage::Staging).await);
    assert!(!year.promote(&by("dave"), &fraud, "2.0.0", Stage::Production).await);
    assert!(
        !year
            .approve("bob", &fraud, "2.0.0", Some(("validation", "=HYPERLINK(\"http://x\")")))
            .await
            .unwrap()
    );
    year.at("07-02");
    assert!(year.approve("carol", &fraud, "2.0.0", Some(("release", "<b>go</b> | now"))).await.unwrap());
    year.at("07-05");
    let narrow = VersionChoice::Explicit {
        version: v("2.0.1"),
        allow_smaller: Some("nobody uses it".parse().unwrap()),
    };
    year.register(&by("alice"), &fraud, narrow, content(0.9, NARROW), &["model.bin 2.0.1"]).await;
    year.at("07-10");
    year.registry.rollback(&because("carol", "reasons are wrong"), &fraud, None, true).await.unwrap();
    year.stage_rule(&by("chief"), &own, Stage::Production, None).await;
    let open = Stage::ALL.into_iter().flat_map(|from| Stage::ALL.map(|to| (from, to)));
    let table = Some(registry_core::Transitions::new(open.take(3)));
    year.registry.change_policy(&by("chief"), &own, PolicyChange::Transitions { table }).await.unwrap();
    year.registry.change_policy(&by("chief"), &own, PolicyChange::Transitions { table: None }).await.unwrap();
    year.registry.set_monitor_rule(&by("chief"), &own, "slow".parse().unwrap(), None).await.unwrap();

    // What is no longer wanted. The bytes of what was deleted go after the grace period.
    year.at("08-01");
    year.registry
        .deprecate(
            &because("olga", "two is better"),
            &fraud,
            &v("1.0.0"),
            Some(&v("2.0.0")),
            Some(day("12-31")),
        )
        .await
        .unwrap();
    year.registry.delete(&because("olga", "never used"), &fraud, &v("2.0.1")).await.unwrap();
    // Asked for and forgotten; the time of the request is over long before the version moves.
    assert!(!year.promote(&because("dave", "back again"), &fraud, "1.1.0", Stage::Production).await);
    year.at("08-20");
    let removed = year.registry.collect_garbage(GarbageOptions::default()).await.unwrap();
    assert_eq!(removed.removed.len(), 1);

    // A model that needs no approval, and one that others write to.
    year.at("09-01");
    year.registry.archive(&because("olga", "nobody wants it"), &fraud, &v("1.1.0")).await.unwrap();
    year.register(&by("zoe"), &churn, v("0.1.0"), Content::default(), &["model.bin"]).await;
    year.stage_rule(
        &by("chief"),
        &Scope::Model(churn.clone()),
        Stage::Production,
        Some(StageRule::default()),
    )
    .await;
    for stage in [Stage::Staging, Stage::Production] {
        assert!(year.promote(&by("zoe"), &churn, "0.1.0", stage).await);
    }
    year.at("09-15");
    year.registry.archive(&because("zoe", "not needed"), &churn, &v("0.1.0")).await.unwrap();
    year.register(&by("zoe"), &shared, v("1.0.0"), Content::default(), &["model.bin"]).await;
    year.at("10-01");
    let foreign = |by: Option<&str>, at: Option<&str>, change| Foreign {
        by: by.map(|by| by.parse().unwrap()),
        at: at.map(day),
        change,
    };
    let content = Box::new(Content { metrics: accuracy(0.5), ..Content::default() });
    *other.done.lock().unwrap() = vec![
        foreign(Some("mallory"), Some("09-20"), ForeignChange::Registered { version: v("2.0.0"), content }),
        foreign(None, None, ForeignChange::Staged { version: v("2.0.0"), to: Stage::Production }),
    ];
    year.registry
        .describe(&by("zoe"), &shared, None, Some("Shared with others.".parse().unwrap()))
        .await
        .unwrap();
    year.at("12-31");
    year
}
