//! The format of the log, held in files: one record for every kind of event and every cause in
//! one, exactly as it is stored. A change of the code that changes what is written, or how what was
//! written is read, fails here.
//!
//! A record in `golden/` is never edited: logs like it exist. A new kind of event, or a new field,
//! gets a record of its own; such a file is written by
//!
//! ```text
//! REGENERATE_GOLDEN_RECORDS=1 cargo test -p registry-core --test golden
//! ```
//!
//! and nothing but new files may come of it, until the number of the format rises.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use registry_core::codec::{DecodeError, decode, encode};
use registry_core::compare::{Method, Significance};
use registry_core::event::{
    AbortCause, Adopted, Amended, ApprovedMove, BrokenRule, ClosedCause, Copied, Decision, FORMAT,
    FilesFound, Numbering, Origin, PromotionRequested, RefusedCause, RollbackSafety, RolledBack, StageCause,
    StageChanged, TrialStarted, VersionRegistered,
};
use registry_core::experiment::{
    Absent, GitState, HostFact, Lease, MetricPoint, ParamValue, RunEnvironment, RunOutcome, RunStarted,
    requirements,
};
use registry_core::gate::{Check, Gate, GateResult};
use registry_core::lineage::{Derivation, InputKind, Link};
use registry_core::monitor::{Breach, Observed, Rule, Summary};
use registry_core::trial::{
    Arm, Arms, Counts, Goal, Judgement, Margin, Measure, MeasureKind, Moments, PlannedEnd, Share, Tally,
    TrialPlan, TrialStage, Undecided, Verdict,
};
use registry_core::{
    ApprovalRule, Artifact, Bump, Commit, Content, Deployment, Digest, Direction, EnvironmentFile, Event,
    Finite, Manifest, Metadata, Metric, PolicyChange, Revision, Stage, StageRule, Stream, Transitions,
    Version, compat,
};

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

fn number(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

fn commit(events: Vec<Event>) -> Commit {
    Commit {
        format: FORMAT,
        stream: "model/fraud detection".parse().unwrap(),
        revision: revision(2),
        previous: Some(Digest::of(b"the commit before")),
        time: "2024-01-15T10:30:00.123456Z".parse().unwrap(),
        actor: "alice@example.com".parse().unwrap(),
        reason: Some("drift in \"amount\",\nsee the report – §3".parse().unwrap()),
        request_id: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        request_digest: Digest::of(b"the request"),
        events,
    }
}

/// Everything that a version can hold.
fn content() -> Content {
    let file = |path: &str, bytes: &[u8]| Artifact {
        path: path.parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let signature = r#"{"inputs": {"columns": [
            {"name": "amount", "type": "double", "minimum": 0.0, "unit": "EUR"},
            {"name": "country", "type": "string", "required": false, "default": "DE"}]},
        "outputs": {"tensors": [{"name": "scores", "type": "float", "shape": ["batch", 2]}]},
        "params": [{"name": "threshold", "type": "double", "default": 0.5}]}"#;
    let features =
        r#"{"set": "fraud", "version": "v1", "features": ["risk", {"name": "mean", "unit": "EUR"}]}"#;
    Content {
        artifacts: Manifest::new(vec![file("model.bin", b"weights"), file("tokens/vocabulary.txt", b"a\n")])
            .unwrap(),
        signature: Some(serde_json::from_str(signature).unwrap()),
        features: Some(serde_json::from_str(features).unwrap()),
        environment: vec![
            EnvironmentFile::new("requirements.txt".parse().unwrap(), "xgboost==1.7.0\n".to_owned()).unwrap(),
        ],
        metadata: metadata(),
        metrics: metrics(),
        deployment: deployment(),
        tags: [("team".parse().unwrap(), "fraud".to_owned())].into(),
        description: Some("Finds fraud.".parse().unwrap()),
        links: Vec::new(),
    }
}

fn monitor_rule() -> Rule {
    let text = r#"{"metric": "latency", "aggregate": "p95", "fails_if": {"above": 200.0},
        "succeeds_if": {"worse_by": {"share": 0.1, "better": "lower", "baseline": {"fixed": 150.0}}},
        "window_seconds": 86400, "for_seconds": 600, "interval_seconds": 30, "initial_delay_seconds": 60,
        "baking_seconds": 604800, "samples_min": 100, "failure_limit": 2, "inconclusive_limit": 3,
        "consecutive_error_limit": 5, "on_no_data": "failure", "on_error": "roll_back", "response": "alert",
        "cooldown_seconds": 3600, "rollbacks_max": {"count": 1, "period_seconds": 86400}, "force": true,
        "dry_run": true}"#;
    serde_json::from_str(text).unwrap()
}

fn breach() -> Breach {
    let text = r#"{"watched": {"version": "v3.1.0", "since": "2024-01-15T10:30:00.000000Z"},
        "response": "roll_back", "reason": "p95 of `latency` is 301.9 in 4 observations", "measurements": [
            {"at": "2024-01-15T11:30:00.000000Z", "value": 301.9, "baseline": 150.0, "samples": 4, "outcome": "failed"},
            {"at": "2024-01-15T11:31:00.000000Z", "samples": 0, "outcome": "no_data"}]}"#;
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    value.as_object_mut().unwrap().insert("rule".to_owned(), serde_json::to_value(monitor_rule()).unwrap());
    serde_json::from_value(value).unwrap()
}

fn summaries() -> Vec<Summary> {
    let at = |text: &str| text.parse().unwrap();
    let summary = |values: &[f64], replica: Option<&str>| Summary {
        version: v("v3.1"),
        metric: "latency".parse().unwrap(),
        from: at("2024-01-15T10:29:00Z"),
        until: at("2024-01-15T10:30:00Z"),
        replica: replica.map(|replica| replica.parse().unwrap()),
        observed: Observed::of(values.iter().copied()),
    };
    vec![summary(&[35.0, 40.0, 80.0, 0.0, -1.5], Some("replica-1")), summary(&[f64::NAN], None)]
}

fn links() -> Vec<Link> {
    let attributes = [("rows".to_owned(), serde_json::json!(5_000))].into();
    vec![
        Link::Input {
            kind: InputKind::Data,
            id: "transactions".parse().unwrap(),
            version: Some("2024-01".parse().unwrap()),
            digest: Some(Digest::of(b"rows")),
            attributes,
        },
        Link::DerivedFrom { model: "fraud base@v0.9.0".parse().unwrap(), how: Derivation::FineTuned },
        Link::Evaluation { id: "holdout".parse().unwrap(), attributes: Default::default() },
    ]
}

fn metadata() -> Metadata {
    let text = |text: &str| Some(text.parse().unwrap());
    Metadata {
        algorithm: text("XGBoost"),
        framework: text("xgboost==1.7.0"),
        runtime: text("python 3.10"),
        hyperparameters: [
            ("eta".to_owned(), serde_json::json!(0.1)),
            ("max_depth".to_owned(), serde_json::json!(6)),
            ("monotone".to_owned(), serde_json::json!([1, 0, -1])),
        ]
        .into(),
        training_date: Some("2024-01-14".parse().unwrap()),
        training_seconds: Some(number(5400.5)),
        training_data_version: text("2024-01"),
        training_data_size: text("100k rows"),
        feature_engineering_version: text("v7"),
        experiment: text("exp-42"),
        run: None,
        increment: text("INC-7"),
        parent_model: Some("fraud base@v0.9.0".parse().unwrap()),
        owner: Some("alice@example.com".parse().unwrap()),
        extra: [("notes".to_owned(), serde_json::json!({"big": u64::MAX, "null": null, "π": 3.125}))].into(),
    }
}

fn metrics() -> BTreeMap<registry_core::Key, Metric> {
    let full = Metric {
        value: number(0.875),
        direction: Some(Direction::Higher),
        unit: Some("share".parse().unwrap()),
        samples: Some(1_000),
        standard_error: Some(number(1e-3)),
    };
    [("auc".parse().unwrap(), full), ("loss/val".parse().unwrap(), Metric::new(-0.1).unwrap())].into()
}

fn deployment() -> Deployment {
    Deployment {
        latency_p50_ms: Some(number(1.5)),
        latency_p95_ms: Some(number(4.0)),
        size_bytes: Some(1_048_576),
        cpu_cores: Some(number(0.5)),
        memory_bytes: Some(u64::MAX),
    }
}

fn rule() -> ApprovalRule {
    ApprovalRule {
        approvers: ["bob".parse().unwrap(), "carol".parse().unwrap()].into(),
        quorum: 2.try_into().unwrap(),
        registrant_may_approve: true,
        requester_may_approve: true,
        expires_after_seconds: Some(86_400),
    }
}

fn decision(actor: &str) -> Decision {
    Decision {
        actor: actor.parse().unwrap(),
        approved: true,
        at: "2024-01-15T10:29:00Z".parse().unwrap(),
        meaning: Some("validation".parse().unwrap()),
        comment: Some("looks good".parse().unwrap()),
    }
}

/// From `staging`, where it was approved, which had it from `dev`.
fn origins() -> Vec<Origin> {
    let origin = |environment: &str, approved| Origin {
        environment: environment.parse().unwrap(),
        model: "fraud detection".parse().unwrap(),
        version: v("v3.1.0"),
        revision: revision(4),
        commit: Digest::of(environment.as_bytes()),
        registered_by: "alice@example.com".parse().unwrap(),
        approved,
    };
    let approved = ApprovedMove {
        revision: revision(9),
        at: "2024-01-15T10:30:00Z".parse().unwrap(),
        from: Stage::Staging,
        to: Stage::Production,
        approvals: vec![decision("bob")],
    };
    vec![origin("staging", vec![approved]), origin("dev", Vec::new())]
}

fn findings() -> Vec<compat::Finding> {
    let with = |framework| compat::Interface { framework: Some(framework), ..compat::Interface::default() };
    compat::compare_interfaces(&with("xgboost==1.6"), &with("xgboost==1.7")).findings
}

fn moved(from: Stage, to: Stage, cause: StageCause, rollback_safety: Option<RollbackSafety>) -> Event {
    moved_past(Vec::new(), from, to, cause, rollback_safety)
}

fn moved_past(
    gates: Vec<GateResult>,
    from: Stage,
    to: Stage,
    cause: StageCause,
    rollback_safety: Option<RollbackSafety>,
) -> Event {
    let version = v("v3.1.0");
    Event::StageChanged(Box::new(StageChanged { version, from, to, cause, rollback_safety, gates }))
}

/// A gate of every kind.
fn gates() -> Vec<Gate> {
    let json = r#"[
        {"gate": "metric", "name": "auc", "at_least": 0.85, "at_most": 1.0},
        {"gate": "no_regression", "metrics": ["auc"], "significance": 0.01, "tolerance": 0.02},
        {"gate": "no_regression"},
        {"gate": "improvement", "metric": "auc", "by": {"relative": 0.02}},
        {"gate": "improvement", "metric": "auc", "by": {"absolute": 0.01}},
        {"gate": "compatible"},
        {"gate": "latency", "p50_ms_at_most": 10.0, "p95_ms_at_most": 50.5},
        {"gate": "size", "bytes_at_most": 20000000},
        {"gate": "metadata", "required": ["algorithm", "framework", "runtime", "hyperparameters", "training_date",
            "training_seconds", "training_data_version", "training_data_size", "feature_engineering_version",
            "experiment", "increment", "parent_model", "owner", "description", "signature", "features",
            "environment"]},
        {"gate": "files", "required": ["model_card.md"]},
        {"gate": "signed"},
        {"gate": "signed", "file": "model.sigstore.json"},
        {"gate": "trial", "stage": "staging", "max_age_seconds": 604800},
        {"gate": "trial"}
    ]"#;
    serde_json::from_str(json).unwrap()
}

fn result(passed: bool) -> GateResult {
    GateResult {
        gate: gates().remove(1),
        passed,
        against: Some(v("v3.0.0")),
        checks: vec![Check {
            subject: "auc".to_owned(),
            passed,
            found: Some(number(0.875)),
            baseline: Some(number(0.9)),
            p: Some(number(0.125)),
            detail: "went from 0.9 to 0.875 (p = 0.1250), which may be chance".to_owned(),
        }],
    }
}

fn plan(kind: MeasureKind, goal: Goal, end: PlannedEnd) -> TrialPlan {
    TrialPlan {
        stage: TrialStage::Production,
        share: Share::new(0.1).unwrap(),
        measure: Measure { name: "error rate".parse().unwrap(), kind, direction: Direction::Lower },
        goal,
        end,
        significance: Significance::new(0.025).unwrap(),
        looks: 5.try_into().unwrap(),
    }
}

fn arm(version: &str) -> Arm {
    Arm { version: v(version), digest: Digest::of(version.as_bytes()) }
}

fn counts() -> Tally {
    let counts = |successes, trials| Counts::new(successes, trials).unwrap();
    Tally::Proportion(Arms { control: counts(12, 9_000), treatment: counts(1, 1_000) })
}

fn moments() -> Tally {
    let control = Moments::new(9_000, 10.5, 2.25).unwrap();
    Tally::Score(Arms { control, treatment: Moments::default() })
}

fn judgement(verdict: Verdict, undecided: Option<Undecided>, test: Option<f64>) -> Judgement {
    Judgement {
        verdict,
        undecided,
        method: test.map(|_| Method::ProportionsAboveMargin),
        statistic: test.map(number),
        p: test.map(|_| number(0.25)),
        threshold: Significance::new(0.005).unwrap(),
        look: 2,
        looks: 5,
        at_planned_end: verdict != Verdict::Inconclusive,
        estimates: Arms { control: Some(number(0.125)), treatment: test.map(|_| number(0.5)) },
        tally: counts(),
    }
}

/// Every record, by the name of its file.
fn records() -> BTreeMap<&'static str, Commit> {
    use Stage::{Archived, Development, Production, Staging};
    let version = || v("v3.1.0");
    let request = || revision(1);
    let comment = || Some("looks good".parse().unwrap());
    let registered = |content: Content, numbering| {
        let digest = content.digest();
        Event::VersionRegistered(Box::new(VersionRegistered {
            version: v("v3.1.0-rc.1+build.5"),
            digest,
            content,
            numbering,
            origins: Vec::new(),
        }))
    };
    let from_elsewhere = || {
        let content = Content::default();
        let digest = content.digest();
        let (numbering, origins) = (Numbering::default(), origins());
        let registered = VersionRegistered { version: version(), digest, content, numbering, origins };
        Event::VersionRegistered(Box::new(registered))
    };
    let numbering = Numbering {
        baseline: Some(v("v3.0.0")),
        required: Some(Bump::Minor),
        findings: findings(),
        overridden: Some("nobody calls it".parse().unwrap()),
    };
    let requested = |by_choice| PromotionRequested {
        version: version(),
        digest: Digest::of(b"content"),
        from: Staging,
        to: Production,
        rule: rule(),
        by_choice,
        expires_at: Some("2024-01-16T10:30:00Z".parse().unwrap()),
    };
    let safety = |safe| RollbackSafety { to: v("v3.0.0"), safe, findings: findings() };
    let policy = |change| Event::PolicyChanged { change };
    let adopted = |by: Option<&str>, at: Option<&str>, change| {
        Event::Adopted(Box::new(Adopted {
            system: "mlflow".parse().unwrap(),
            by: by.map(|by| by.parse().unwrap()),
            at: at.map(|at| at.parse().unwrap()),
            change,
        }))
    };
    let one: Vec<(&'static str, Event)> = vec![
        ("version_registered", registered(content(), numbering)),
        ("version_registered.bare", registered(Content::default(), Numbering::default())),
        (
            "version_registered.links",
            registered(Content { links: links(), ..Content::default() }, Numbering::default()),
        ),
        ("version_registered.origins", from_elsewhere()),
        (
            "copied",
            Event::Copied(Copied {
                version: version(),
                to: "staging".parse().unwrap(),
                revision: revision(7),
                commit: Digest::of(b"the commit there"),
            }),
        ),
        (
            "stage_changed.promotion",
            moved(
                Staging,
                Production,
                StageCause::Promotion { request: Some(request()), approvals: vec![decision("bob")] },
                Some(safety(Some(true))),
            ),
        ),
        (
            "stage_changed.promotion.bare",
            moved(
                Development,
                Staging,
                StageCause::Promotion { request: None, approvals: Vec::new() },
                Some(safety(None)),
            ),
        ),
        (
            "stage_changed.superseded",
            moved(Production, Archived, StageCause::Superseded { by: v("v4") }, None),
        ),
        (
            "stage_changed.rolled_back",
            moved(Production, Archived, StageCause::RolledBack { to: v("v3") }, None),
        ),
        ("stage_changed.foreign", moved(Staging, Production, StageCause::Foreign, None)),
        (
            "files_found",
            Event::FilesFound(Box::new(FilesFound {
                version: version(),
                digest: Digest::of(b"content"),
                artifacts: content().artifacts,
            })),
        ),
        (
            "adopted",
            adopted(
                Some("bob"),
                Some("2024-01-15T09:00:00Z"),
                moved(Staging, Production, StageCause::Foreign, Some(safety(None))),
            ),
        ),
        ("adopted.bare", adopted(None, None, Event::VersionDeleted { version: version() })),
        ("stage_changed.rollback", moved(Archived, Production, StageCause::Rollback { from: v("v4") }, None)),
        ("promotion_requested", Event::PromotionRequested(Box::new(requested(false)))),
        ("promotion_requested.by_choice", Event::PromotionRequested(Box::new(requested(true)))),
        (
            "promotion_approved",
            Event::PromotionApproved {
                request: request(),
                meaning: Some("validation".parse().unwrap()),
                comment: comment(),
            },
        ),
        ("promotion_rejected", Event::PromotionRejected { request: request(), comment: comment() }),
        (
            "approval_refused.not_an_approver",
            Event::ApprovalRefused {
                request: request(),
                cause: RefusedCause::NotAnApprover { approvers: rule().approvers },
            },
        ),
        (
            "approval_refused.registrant",
            Event::ApprovalRefused { request: request(), cause: RefusedCause::Registrant },
        ),
        (
            "approval_refused.requester",
            Event::ApprovalRefused { request: request(), cause: RefusedCause::Requester },
        ),
        ("decision_withdrawn", Event::DecisionWithdrawn { request: request() }),
        (
            "promotion_closed.withdrawn",
            Event::PromotionClosed { request: request(), cause: ClosedCause::Withdrawn },
        ),
        (
            "promotion_closed.expired",
            Event::PromotionClosed { request: request(), cause: ClosedCause::Expired },
        ),
        ("promotion_closed.void", Event::PromotionClosed { request: request(), cause: ClosedCause::Void }),
        (
            "approval_overridden",
            Event::ApprovalOverridden { version: version(), to: Production, rule: rule() },
        ),
        (
            "gates_overridden",
            Event::GatesOverridden { version: version(), to: Production, failed: vec![result(false)] },
        ),
        (
            "stage_changed.promotion.gates",
            moved_past(
                vec![result(true)],
                Staging,
                Production,
                StageCause::Promotion { request: None, approvals: Vec::new() },
                None,
            ),
        ),
        (
            "policy_changed.stage_rule.gates",
            policy(PolicyChange::StageRule {
                stage: Production,
                rule: Some(StageRule { approval: None, gates: gates() }),
            }),
        ),
        (
            "trial_started",
            Event::TrialStarted(Box::new(TrialStarted {
                treatment: arm("v3.1.0"),
                control: arm("v3.0.0"),
                plan: plan(
                    MeasureKind::Proportion,
                    Goal::NotWorse { margin: Margin::new(0.001).unwrap() },
                    PlannedEnd::new(Some(604_800.try_into().unwrap()), Some(10_000.try_into().unwrap()))
                        .unwrap(),
                ),
            })),
        ),
        (
            "trial_started.better",
            Event::TrialStarted(Box::new(TrialStarted {
                treatment: arm("v3.1.0"),
                control: arm("v3.0.0"),
                plan: plan(
                    MeasureKind::Score,
                    Goal::Better,
                    PlannedEnd::new(None, Some(10_000.try_into().unwrap())).unwrap(),
                ),
            })),
        ),
        ("trial_observed.proportion", Event::TrialObserved { trial: request(), observed: counts() }),
        ("trial_observed.score", Event::TrialObserved { trial: request(), observed: moments() }),
        (
            "trial_looked",
            Event::TrialLooked {
                trial: request(),
                judgement: Box::new(judgement(
                    Verdict::Inconclusive,
                    Some(Undecided::NotSignificant),
                    Some(1.5),
                )),
            },
        ),
        (
            "trial_concluded.favourable",
            Event::TrialConcluded {
                trial: request(),
                judgement: Box::new(judgement(Verdict::Favourable, None, Some(3.5))),
            },
        ),
        (
            "trial_concluded.inconclusive",
            Event::TrialConcluded {
                trial: request(),
                judgement: Box::new(judgement(Verdict::Inconclusive, Some(Undecided::NoTest), None)),
            },
        ),
        ("trial_aborted.requested", Event::TrialAborted { trial: request(), cause: AbortCause::Requested }),
        (
            "trial_aborted.displaced",
            Event::TrialAborted { trial: request(), cause: AbortCause::Displaced { version: v("v3.0.0") } },
        ),
        (
            "rolled_back",
            Event::RolledBack(Box::new(RolledBack {
                from: v("v4"),
                to: version(),
                findings: findings(),
                forced: true,
                passed_over: vec![(v("v3.5"), "model.bin: a byte was flipped".to_owned())],
                broken_rule: None,
            })),
        ),
        (
            "rolled_back.broken_rule",
            Event::RolledBack(Box::new(RolledBack {
                from: v("v3.1"),
                to: v("v3"),
                findings: Vec::new(),
                forced: false,
                passed_over: Vec::new(),
                broken_rule: Some(Box::new(BrokenRule { name: "slow".parse().unwrap(), breach: breach() })),
            })),
        ),
        ("quarantined", Event::Quarantined { version: version() }),
        ("quarantine_lifted", Event::QuarantineLifted { version: version() }),
        (
            "deprecated",
            Event::Deprecated {
                version: version(),
                superseded_by: Some(v("v4")),
                end_of_life: Some("2024-06-30T23:59:59.999999Z".parse().unwrap()),
            },
        ),
        ("deprecation_lifted", Event::DeprecationLifted { version: version() }),
        ("version_deleted", Event::VersionDeleted { version: version() }),
        ("version_restored", Event::VersionRestored { version: version() }),
        (
            "alias_set",
            Event::AliasSet {
                alias: "champion".parse().unwrap(),
                version: version(),
                previous: Some(v("v3.0.0")),
            },
        ),
        ("alias_removed", Event::AliasRemoved { alias: "champion".parse().unwrap(), previous: version() }),
        (
            "tags_changed",
            Event::TagsChanged {
                version: Some(version()),
                set: [("team".parse().unwrap(), "fraud – \"EU\"".to_owned())].into(),
                removed: vec!["a/b".parse().unwrap()],
            },
        ),
        (
            "description_changed",
            Event::DescriptionChanged {
                version: Some(version()),
                description: Some("Finds\tfraud.".parse().unwrap()),
            },
        ),
        ("description_changed.removed", Event::DescriptionChanged { version: None, description: None }),
        (
            "amended",
            Event::Amended(Box::new(Amended {
                version: version(),
                metadata: metadata(),
                metrics: metrics(),
                deployment: deployment(),
                links: Vec::new(),
            })),
        ),
        (
            "amended.links",
            Event::Amended(Box::new(Amended {
                version: version(),
                metadata: Metadata::default(),
                metrics: Default::default(),
                deployment: Deployment::default(),
                links: links(),
            })),
        ),
        (
            "policy_changed.stage_rule",
            policy(PolicyChange::StageRule {
                stage: Production,
                rule: Some(StageRule { approval: Some(rule()), ..StageRule::default() }),
            }),
        ),
        (
            "policy_changed.stage_rule.removed",
            policy(PolicyChange::StageRule { stage: Production, rule: None }),
        ),
        (
            "policy_changed.monitor_rule",
            policy(PolicyChange::MonitorRule {
                name: "slow".parse().unwrap(),
                rule: Some(Box::new(monitor_rule())),
            }),
        ),
        (
            "policy_changed.monitor_rule.removed",
            policy(PolicyChange::MonitorRule { name: "slow".parse().unwrap(), rule: None }),
        ),
        ("health_reported", Event::HealthReported { summaries: summaries() }),
        (
            "policy_changed.transitions",
            policy(PolicyChange::Transitions { table: Some(Transitions::default()) }),
        ),
        ("policy_changed.transitions.removed", policy(PolicyChange::Transitions { table: None })),
    ];
    let mut records: BTreeMap<_, _> =
        one.into_iter().map(|(name, event)| (name, commit(vec![event]))).collect();
    let first = Commit {
        stream: Stream::Registry,
        revision: Revision::FIRST,
        previous: None,
        reason: None,
        ..commit(vec![policy(PolicyChange::StageRule {
            stage: Staging,
            rule: Some(StageRule { approval: Some(ApprovalRule::default()), ..StageRule::default() }),
        })])
    };
    records.insert("first_commit_of_the_registry", first);
    let several = vec![
        Event::Quarantined { version: version() },
        Event::VersionDeleted { version: version() },
        Event::VersionRestored { version: version() },
    ];
    records.insert("several_events", commit(several));
    for (name, event) in runs() {
        let stream = "experiment/xgboost-v1".parse().unwrap();
        records.insert(name, Commit { stream, ..commit(vec![event]) });
    }
    records
}

/// What can happen to a training run.
fn runs() -> Vec<(&'static str, Event)> {
    let run = revision(17);
    let params: BTreeMap<registry_core::Key, ParamValue> = [
        ("booster".parse().unwrap(), ParamValue::new("gbtree").unwrap()),
        ("eta".parse().unwrap(), ParamValue::new(0.1).unwrap()),
        ("monotone".parse().unwrap(), ParamValue::new(serde_json::json!([1, 0, -1])).unwrap()),
    ]
    .into();
    let text = |text: &str| text.parse().unwrap();
    let environment = RunEnvironment {
        git: Some(GitState {
            commit: text("7f4aee1a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"),
            is_dirty: Some(true),
        }),
        rust: Some(text("1.95.0")),
        python: Some(text("3.11.2")),
        host: HostFact::ALL.into_iter().map(|fact| (fact, text("known"))).collect(),
        files: vec![requirements("xgboost==1.7.0").unwrap()],
        absent: vec![Absent { what: text("Cargo.lock"), why: text("there is no such file") }],
    };
    let started = RunStarted {
        increment: Some(text("0042")),
        params: params.clone(),
        environment,
        lease: Lease::of_seconds(3_600).unwrap(),
    };
    let point = |step: u64, value: f64| MetricPoint {
        metric: "loss".parse().unwrap(),
        step,
        value: value.into(),
        at: "2024-01-15T10:29:59.5Z".parse().unwrap(),
    };
    let points =
        vec![point(1, 0.25), point(2, f64::NAN), point(3, f64::INFINITY), point(4, f64::NEG_INFINITY)];
    let metadata = Metadata { run: Some("xgboost-v1:17".parse().unwrap()), ..Metadata::default() };
    let amended = Amended {
        version: v("v3.1.0"),
        metadata,
        metrics: Default::default(),
        deployment: Deployment::default(),
        links: Vec::new(),
    };
    let ended = |outcome| Event::RunEnded { run, outcome };
    vec![
        ("amended.run", Event::Amended(Box::new(amended))),
        ("run_started", Event::RunStarted(Box::new(started))),
        ("run_started.bare", Event::RunStarted(Box::default())),
        ("run_params_logged", Event::RunParamsLogged { run, params }),
        ("run_metrics_logged", Event::RunMetricsLogged { run, points }),
        ("run_artifacts_noted", Event::RunArtifactsNoted { run, artifacts: content().artifacts }),
        ("run_continued", Event::RunContinued { run }),
        (
            "run_registered",
            Event::RunRegistered {
                run,
                version: "fraud detection@v3.1.0".parse().unwrap(),
                digest: Digest::of(b"content"),
            },
        ),
        ("run_ended.finished", ended(RunOutcome::Finished)),
        ("run_ended.failed", ended(RunOutcome::Failed { reason: text("out of memory") })),
        ("run_ended.aborted", ended(RunOutcome::Aborted { reason: text("Ctrl-C") })),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn stored(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.json"))).unwrap_or_else(|error| {
        panic!("golden/{name}.json: {error}; the comment at the top of this file says how it is written")
    })
}

fn regenerate() -> bool {
    std::env::var_os("REGENERATE_GOLDEN_RECORDS").is_some()
}

#[test]
fn every_record_is_written_and_read_as_it_is_stored() {
    for (name, commit) in records() {
        let encoded = encode(&commit);
        if regenerate() {
            std::fs::write(folder().join(format!("{name}.json")), &encoded.bytes).unwrap();
        }
        let stored = stored(name);
        let (read, digest) = decode(&commit.stream, commit.revision, &stored).unwrap();
        assert_eq!(read, commit, "{name} means what it meant");
        assert_eq!(digest, encoded.digest, "{name}");
        let again = encode(&read).bytes;
        assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(stored).unwrap(), "{name}");
    }
}

#[test]
fn every_file_is_a_record_that_is_checked() {
    if regenerate() {
        return;
    }
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    let names: BTreeSet<String> = records().keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, names);
}

/// The variants that serde knows, taken from what it says when it meets one it does not know.
fn variants<T: serde::de::DeserializeOwned>(unknown: &str) -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(unknown).err().unwrap().to_string();
    let (_, list) = error.split_once("expected ").unwrap();
    let known: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!known.is_empty(), "{error}");
    known
}

#[test]
fn the_records_cover_every_kind_of_event_and_every_cause() {
    let json: Vec<serde_json::Value> =
        records().values().map(|commit| serde_json::to_value(commit).unwrap()).collect();
    let events: Vec<&serde_json::Value> =
        json.iter().flat_map(|commit| commit["events"].as_array().unwrap()).collect();
    let held = |pick: &dyn Fn(&serde_json::Value) -> &serde_json::Value| -> BTreeSet<String> {
        events.iter().filter_map(|event| pick(event).as_str()).map(str::to_owned).collect()
    };
    assert_eq!(held(&|event| &event["event"]), variants::<Event>(r#"{"event":"?"}"#));
    let causes = |kind: &str| -> BTreeSet<String> {
        let of_kind = |event: &&serde_json::Value| event["event"] == kind;
        // What others did has its event inside.
        let change = |event: &serde_json::Value| match event["change"]["event"] == kind {
            true => event["change"].clone(),
            false => event.clone(),
        };
        let all: Vec<serde_json::Value> = events.iter().map(|event| change(event)).collect();
        all.iter()
            .filter(of_kind)
            .filter_map(|event| event["cause"]["kind"].as_str())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(causes("stage_changed"), variants::<StageCause>(r#"{"kind":"?"}"#));
    assert_eq!(causes("trial_aborted"), variants::<AbortCause>(r#"{"kind":"?"}"#));
    assert_eq!(causes("approval_refused"), variants::<RefusedCause>(r#"{"kind":"?"}"#));
    assert_eq!(held(&|event| &event["observed"]["kind"]), variants::<Tally>(r#"{"kind":"?"}"#));
    assert_eq!(held(&|event| &event["plan"]["goal"]["kind"]), variants::<Goal>(r#"{"kind":"?"}"#));
    let kinds: BTreeSet<String> = gates()
        .iter()
        .map(|gate| serde_json::to_value(gate).unwrap()["gate"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, variants::<Gate>(r#"{"gate":"?"}"#));
    assert_eq!(held(&|event| &event["outcome"]["kind"]), variants::<RunOutcome>(r#"{"kind":"?"}"#));
    assert_eq!(held(&|event| &event["change"]["kind"]), variants::<PolicyChange>(r#"{"kind":"?"}"#));
    assert_eq!(held(&|event| &event["cause"]), variants::<ClosedCause>(r#""?""#));
    for commit in records().values() {
        for event in &commit.events {
            let json = serde_json::to_value(event).unwrap();
            assert_eq!(json["event"], event.kind(), "`kind` is the name in the log");
        }
    }
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    const PATTERNS: [u8; 9] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff];
    for (name, commit) in records() {
        let stored = encode(&commit).bytes;
        let mut damaged = stored.clone();
        for position in 0..stored.len() {
            for pattern in PATTERNS {
                damaged[position] = stored[position] ^ pattern;
                let found = decode(&commit.stream, commit.revision, &damaged);
                assert!(
                    matches!(found, Err(DecodeError::Corrupt { revision, .. }) if revision == commit.revision),
                    "{name}: byte {position} ^ {pattern:#04x} went unnoticed: {found:?}"
                );
            }
            damaged[position] = stored[position];
        }
    }
}

#[test]
fn a_record_that_was_cut_short_is_found_wherever_it_ends() {
    for (name, commit) in records() {
        let stored = encode(&commit).bytes;
        for length in 0..stored.len() {
            let found = decode(&commit.stream, commit.revision, &stored[..length]);
            assert!(matches!(found, Err(DecodeError::Corrupt { .. })), "{name} cut to {length}: {found:?}");
        }
    }
}

/// A record of this commit, with a digest that fits.
fn sealed(commit: &serde_json::Value) -> Vec<u8> {
    let inner = commit.to_string();
    let digest = Digest::of(inner.as_bytes());
    format!(r#"{{"commit":{inner},"digest":"{digest}"}}"#).into_bytes()
}

fn json(commit: &Commit) -> serde_json::Value {
    serde_json::to_value(commit).unwrap()
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    for (name, commit) in records() {
        let mut json = json(&commit);
        json["of the future"] = serde_json::json!({"a": [1, null]});
        for event in json["events"].as_array_mut().unwrap() {
            event["of the future"] = serde_json::json!([0.5]);
            for part in ["cause", "content", "numbering", "rollback_safety", "change", "plan", "judgement"] {
                if let Some(part) = event.get_mut(part).filter(|part| part.is_object()) {
                    part["of the future"] = serde_json::json!("x");
                }
            }
        }
        let bytes = sealed(&json);
        let (read, digest) = decode(&commit.stream, commit.revision, &bytes).unwrap();
        assert_eq!(read, commit, "{name}");
        assert_ne!(digest, encode(&commit).digest, "{name}: the digest covers what is not known too");
    }
}

#[test]
fn a_newer_format_is_refused_as_such_whatever_it_holds() {
    let commit = &records()["quarantined"];
    let refused = |json: serde_json::Value| match decode(&commit.stream, commit.revision, &sealed(&json))
        .unwrap_err()
    {
        DecodeError::NewerFormat { revision, format, .. } => (revision, format),
        other => panic!("{other}"),
    };
    let mut newer = json(commit);
    newer["format"] = (FORMAT + 1).into();
    assert_eq!(refused(newer.clone()), (commit.revision, FORMAT + 1));
    newer["events"] = serde_json::json!([{"event": "reincarnated", "as": "v9"}]);
    assert_eq!(refused(newer), (commit.revision, FORMAT + 1));
    assert_eq!(refused(serde_json::json!({"format": 7, "all else": "is new"})), (commit.revision, 7));
}

#[test]
fn an_unknown_event_in_a_known_format_is_damage() {
    let commit = &records()["quarantined"];
    let mut unknown = json(commit);
    unknown["events"] = serde_json::json!([{"event": "reincarnated", "as": "v9"}]);
    let error = decode(&commit.stream, commit.revision, &sealed(&unknown)).unwrap_err();
    assert!(error.to_string().contains("reincarnated"), "{error}");
}

#[test]
fn a_record_in_the_place_of_another_is_refused() {
    for (name, commit) in records() {
        let bytes = encode(&commit).bytes;
        let other = "model/another".parse().unwrap();
        let error = decode(&other, commit.revision, &bytes).unwrap_err();
        assert!(error.to_string().contains(&commit.stream.to_string()), "{name}: {error}");
        let error = decode(&commit.stream, commit.revision.next(), &bytes).unwrap_err();
        assert!(
            error.to_string().contains(&format!("it is revision {}", commit.revision)),
            "{name}: {error}"
        );
    }
}

#[test]
fn what_is_no_record_is_said_to_be_none() {
    let commit = &records()["quarantined"];
    let whole = String::from_utf8(encode(commit).bytes).unwrap();
    let others = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        json(commit).to_string(),
        format!("{whole}{whole}"),
        whole.replacen("{\"commit\"", "{\"and\":1,\"commit\"", 1),
        whole.to_uppercase(),
        "[".repeat(100_000),
        format!("{{\"commit\":{}", "[".repeat(100_000)),
    ];
    for bytes in others {
        let error = decode(&commit.stream, commit.revision, bytes.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
    }
}
