//! What holds whatever anybody asks for, in whatever order: a generator of plausible and implausible
//! commands over a small universe, run against the in-memory registry, and beside it a reference
//! that is too simple to be wrong, computed from the events alone.
//!
//! `PROPTEST_CASES=10000 cargo test --release -p registry-core --test properties` looks longer.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use registry_core::compare::Significance;
use registry_core::event::{Copied, StageCause, TrialStarted};
use registry_core::trial::{
    Arms, Counts, Goal, Margin, Measure, MeasureKind, PlannedEnd, Share, TrialStage, Verdict,
};
use registry_core::{
    Actor, AliasName, ApprovalRule, Artifact, By, Command, Content, Deployment, Digest, Engine, Error, Event,
    Gate, IdSource, Key, Manifest, ManualClock, MemoryArtifacts, MemoryLog, Metadata, Metric, ModelName,
    ModelState, Need, Outcome, Policy, PolicyChange, Recorded, Registry, RegistryExt, Rejection, Request,
    Revision, Selector, Stage, StageRule, Stream, Tags, Tally, Timestamp, Transitions, TrialPlan, Version,
    VersionChoice, storage::ArtifactStore as _,
};

const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "1.0.0", "1.0.0+a", "1.0.1", "1.1.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0", "3.0.0"];
const ACTORS: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..default
    }
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

/// The bytes of the model in each kind of content; one kind has none.
const WEIGHTS: [Option<&[u8]>; 6] = [Some(b"w0"), Some(b"w1"), Some(b"w2"), Some(b"w3"), None, Some(b"w5")];
const SIGNATURES: [Option<&str>; 6] = [
    Some(r#"{"inputs":{"a":"double"},"outputs":{"s":"double"}}"#),
    Some(r#"{"inputs":{"a":"double"},"outputs":{"s":"double"}}"#),
    Some(r#"{"inputs":{"a":"double"},"outputs":{"s":"double","t":"double"}}"#),
    None,
    None,
    Some(r#"{"inputs":{"a":"double","b":"double"},"outputs":{"s":"double"}}"#),
];

fn content(kind: usize) -> Content {
    let file = |bytes: &[u8]| Artifact {
        path: "model.bin".parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    Content {
        artifacts: Manifest::new(WEIGHTS[kind].map(file).into_iter().collect()).unwrap(),
        signature: SIGNATURES[kind].map(|json| serde_json::from_str(json).unwrap()),
        ..Content::default()
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Act {
    /// Somebody asks for something.
    Ask(Ask),
    /// The bytes of a kind of content are lost, altered, or put right again.
    Damage(usize, Option<&'static [u8]>),
}

#[derive(Debug, Clone)]
struct Ask {
    actor: Actor,
    reason: bool,
    /// How the clock moves before, also backwards.
    clock_us: i64,
    /// Whether the caller names a revision, and whether it is the right one.
    expecting: Option<bool>,
    /// For policies: whether they are meant for all models.
    everywhere: bool,
    command: Command,
}

/// Mostly one of three, so that things happen to the same version.
fn version() -> impl Strategy<Value = Version> + Clone {
    prop_oneof![3 => select(vec!["1.0.0", "1.0.1", "2.0.0"]), 1 => select(&VERSIONS[..])].prop_map(v)
}

fn stage() -> impl Strategy<Value = Stage> {
    select(&Stage::ALL[..])
}

fn rule() -> impl Strategy<Value = ApprovalRule> {
    (0..3_usize, 1..3_u32, any::<bool>(), any::<bool>(), select(vec![None, Some(1_u64), Some(3_600)]))
        .prop_map(|(approvers, quorum, registrant, requester, expires_after_seconds)| ApprovalRule {
            approvers: ACTORS.iter().rev().take(approvers).map(|actor| actor.parse().unwrap()).collect(),
            quorum: quorum.try_into().unwrap(),
            registrant_may_approve: registrant,
            requester_may_approve: requester,
            expires_after_seconds,
        })
}

/// Gates that some versions pass and others do not.
fn gates() -> impl Strategy<Value = Vec<Gate>> {
    let gate = select(vec![
        r#"{"gate":"metric","name":"auc","at_least":0}"#,
        r#"{"gate":"no_regression"}"#,
        r#"{"gate":"compatible"}"#,
        r#"{"gate":"files","required":["model.bin"]}"#,
        r#"{"gate":"trial"}"#,
    ]);
    prop::collection::vec(gate.prop_map(|json| serde_json::from_str(json).unwrap()), 0..3)
}

fn policy_change() -> impl Strategy<Value = PolicyChange> {
    let rule = prop_oneof![
        2 => Just(None),
        3 => (prop::option::weighted(0.7, rule()), gates())
            .prop_map(|(approval, gates)| Some(StageRule { approval, gates })),
        1 => Just(Some(StageRule::default())),
    ];
    let open = Stage::ALL.into_iter().flat_map(|from| Stage::ALL.map(|to| (from, to)));
    let open = Some(Transitions::new(open));
    let tables = vec![None, None, open.clone(), open, Some(Transitions::new([]))];
    prop_oneof![
        6 => (select(vec![Stage::Production, Stage::Production, Stage::Archived]), rule)
            .prop_map(|(stage, rule)| PolicyChange::StageRule { stage, rule }),
        1 => select(tables).prop_map(|table| PolicyChange::Transitions { table }),
    ]
}

fn tags() -> impl Strategy<Value = Tags> {
    prop::collection::btree_map(key(), select(vec!["", "1", "fraud"]).prop_map(str::to_owned), 0..3)
}

fn key() -> impl Strategy<Value = Key> {
    select(vec!["team", "auc", "a/b"]).prop_map(|key| key.parse().unwrap())
}

/// A plan of a trial that is over after a few samples, or after a second.
fn plan() -> impl Strategy<Value = TrialPlan> {
    let end = select(vec![(1, 0), (0, 20), (1, 20)]);
    (any::<bool>(), select(vec![0.1, 0.6]), prop::option::of(0.01..0.5_f64), end, 1..4_u32).prop_map(
        |(staging, share, margin, (seconds, samples), looks)| TrialPlan {
            stage: if staging { TrialStage::Staging } else { TrialStage::Production },
            share: Share::new(share).unwrap(),
            measure: Measure::new("error rate".parse().unwrap(), MeasureKind::Proportion, None).unwrap(),
            goal: margin
                .map_or(Goal::Better, |margin| Goal::NotWorse { margin: Margin::new(margin).unwrap() }),
            end: PlannedEnd::new(NonZeroU64::new(seconds), NonZeroU64::new(samples)).unwrap(),
            significance: Significance::new(0.2).unwrap(),
            looks: looks.try_into().unwrap(),
        },
    )
}

fn tally() -> impl Strategy<Value = Tally> {
    let counts = || (0..20_u64, 0..20_u64).prop_map(|(some, more)| Counts::new(some, some + more).unwrap());
    (counts(), counts()).prop_map(|(control, treatment)| Tally::Proportion(Arms { control, treatment }))
}

fn trial_command(version: impl Fn() -> BoxedStrategy<Version>) -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (version(), prop::option::weighted(0.2, version()), plan()).prop_map(
            |(treatment, control, plan)| Command::StartTrial { treatment, control, plan: Box::new(plan) }
        ),
        4 => (version(), tally())
            .prop_map(|(treatment, observed)| Command::ObserveTrial { treatment, observed }),
        3 => version().prop_map(|treatment| Command::ConcludeTrial { treatment }),
        1 => version().prop_map(|treatment| Command::AbortTrial { treatment }),
    ]
}

fn command(version: impl Strategy<Value = Version> + Clone + 'static) -> impl Strategy<Value = Command> {
    let version = move || version.clone();
    let target = || {
        select(vec![
            Stage::Staging,
            Stage::Staging,
            Stage::Production,
            Stage::Production,
            Stage::Production,
            Stage::Archived,
            Stage::Development,
        ])
    };
    let alias =
        || select(vec!["champion", "challenger"]).prop_map(|alias| alias.parse::<AliasName>().unwrap());
    let choice = prop_oneof![
        4 => version().prop_map(VersionChoice::from),
        1 => version().prop_map(|version| VersionChoice::Explicit {
            version,
            allow_smaller: Some("so it is".parse().unwrap()),
        }),
        2 => Just(VersionChoice::Auto),
        1 => select(vec!["major", "minor", "patch"])
            .prop_map(|bump| VersionChoice::Bump { bump: bump.parse().unwrap() }),
    ];
    let register =
        (choice, 0..WEIGHTS.len(), prop::bool::weighted(0.3)).prop_map(|(version, kind, staged)| {
            let stage = if staged { Stage::Staging } else { Stage::Development };
            Command::Register { version, content: Box::new(content(kind)), stage, origins: Vec::new() }
        });
    let promote = (
        version(),
        prop::option::weighted(0.1, stage()),
        target(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(version, from, to, require_approval, emergency)| Command::Promote {
            version,
            from,
            to,
            require_approval,
            emergency,
        });
    let maybe_to = || prop::option::weighted(0.3, target());
    let decide = (version(), maybe_to(), 0..5_u8).prop_map(|(version, to, what)| match what {
        0..=2 => Command::Approve { version, to, meaning: None, comment: None },
        3 => Command::Reject { version, to, comment: None },
        _ => Command::Withdraw { version, to },
    });
    let end = prop::option::of((0..100_000_000_i64).prop_map(|us| Timestamp::from_microseconds(us).unwrap()));
    let say = prop_oneof![
        (version(), prop::option::of(version()), end).prop_map(|(version, superseded_by, end_of_life)| {
            Command::Deprecate { version, superseded_by, end_of_life }
        }),
        version().prop_map(|version| Command::LiftDeprecation { version }),
        version().prop_map(|version| Command::Delete { version }),
        version().prop_map(|version| Command::Undelete { version }),
        (alias(), version()).prop_map(|(alias, version)| Command::SetAlias { alias, version }),
        alias().prop_map(|alias| Command::RemoveAlias { alias }),
        (prop::option::of(version()), tags(), prop::collection::vec(key(), 0..2))
            .prop_map(|(version, set, remove)| Command::ChangeTags { version, set, remove }),
        (prop::option::of(version()), select(vec![None, Some("new"), Some("old")])).prop_map(
            |(version, text)| Command::Describe { version, description: text.map(|t| t.parse().unwrap()) }
        ),
        (version(), key(), -1.0..1.0_f64).prop_map(|(version, key, value)| Command::Amend {
            version,
            metadata: Box::new(Metadata::default()),
            metrics: [(key, Metric::new(value).unwrap())].into(),
            deployment: Box::new(Deployment::default()),
            links: Vec::new(),
        }),
    ];
    let copied =
        (version(), select(vec!["staging", "live"]), 1..3_u64).prop_map(|(version, to, revision)| {
            let revision = Revision::new(revision).unwrap();
            Command::NoteCopy(Copied {
                version,
                to: to.parse().unwrap(),
                revision,
                commit: Digest::of(b"there"),
            })
        });
    prop_oneof![
        5 => register,
        9 => promote,
        6 => decide,
        2 => (prop::option::weighted(0.4, version()), any::<bool>())
            .prop_map(|(to, force)| Command::Rollback { to, force }),
        1 => version().prop_map(|version| Command::LiftQuarantine { version }),
        7 => say,
        2 => policy_change().prop_map(|change| Command::ChangePolicy { change }),
        2 => trial_command(move || version().boxed()),
        1 => copied,
    ]
}

fn act(version: impl Strategy<Value = Version> + Clone + 'static) -> impl Strategy<Value = Act> {
    let clock = prop_oneof![
        6 => 0..2_000_000_i64,
        1 => Just(0),
        1 => -100_000_000_000..0_i64,
    ];
    let ask = (
        select(&ACTORS[..]),
        any::<bool>(),
        clock,
        prop::option::weighted(0.1, any::<bool>()),
        any::<bool>(),
        command(version),
    )
        .prop_map(|(actor, reason, clock_us, expecting, everywhere, command)| Ask {
            actor: actor.parse().unwrap(),
            reason,
            clock_us,
            expecting,
            everywhere,
            command,
        });
    let damage = (0..WEIGHTS.len(), select(vec![None, Some(&b"??"[..])]))
        .prop_map(|(kind, bytes)| Act::Damage(kind, bytes));
    let repair = (0..WEIGHTS.len()).prop_map(|kind| Act::Damage(kind, WEIGHTS[kind]));
    prop_oneof![40 => ask.prop_map(Act::Ask), 1 => damage, 2 => repair]
}

fn asked(actor: &str, command: Command) -> Act {
    Act::Ask(Ask {
        actor: actor.parse().unwrap(),
        reason: true,
        clock_us: 1,
        expecting: None,
        everywhere: false,
        command,
    })
}

fn promote(version: &Version, to: Stage, emergency: bool) -> Command {
    Command::Promote { version: version.clone(), from: None, to, require_approval: false, emergency }
}

/// Things that seldom happen by chance: a version goes through approval, with some back and forth, or
/// production is rolled back and the quarantine lifted, or a version is tried.
fn story() -> impl Strategy<Value = Vec<Act>> {
    let version = || select(vec!["1.0.0", "1.0.1", "2.0.0"]).prop_map(v);
    let word = (select(&ACTORS[..]), 0..6_u8);
    let emergency = prop::bool::weighted(0.2);
    let review = (version(), rule(), gates(), emergency, prop::collection::vec(word, 0..8)).prop_map(
        |(version, rule, gates, emergency, words)| {
            let rule = Some(StageRule { approval: Some(rule), gates });
            let change = PolicyChange::StageRule { stage: Stage::Production, rule };
            let mut acts = vec![
                asked("alice", Command::ChangePolicy { change }),
                asked("bob", promote(&version, Stage::Staging, false)),
                asked("bob", promote(&version, Stage::Production, false)),
            ];
            for (actor, what) in words {
                let (version, to) = (version.clone(), None);
                let command = match what {
                    0..=2 => Command::Approve { version, to, meaning: None, comment: None },
                    3 => Command::Reject { version, to, comment: None },
                    _ => Command::Withdraw { version, to },
                };
                acts.push(asked(actor, command));
            }
            if emergency {
                acts.push(asked("bob", promote(&version, Stage::Production, true)));
            }
            acts
        },
    );
    let back = (prop::option::of(version()), any::<bool>()).prop_map(|(to, force)| {
        let lift = |version| asked("carol", Command::LiftQuarantine { version: v(version) });
        let roll_back = asked("dave", Command::Rollback { to, force });
        vec![roll_back.clone(), roll_back, lift("1.0.0"), lift("2.0.0")]
    });
    let numbers = prop::collection::vec((tally(), any::<bool>()), 0..5);
    let trial = (version(), version(), plan(), numbers, any::<bool>()).prop_map(
        |(control, treatment, plan, numbers, then_moves)| {
            let of = |command| asked("alice", command);
            let mut acts = vec![
                of(promote(&control, Stage::Staging, false)),
                of(promote(&control, Stage::Production, true)),
                of(promote(&treatment, Stage::Staging, false)),
                of(Command::StartTrial { treatment: treatment.clone(), control: None, plan: Box::new(plan) }),
            ];
            for (observed, then_looks) in numbers {
                acts.push(of(Command::ObserveTrial { treatment: treatment.clone(), observed }));
                if then_looks {
                    acts.push(of(Command::ConcludeTrial { treatment: treatment.clone() }));
                }
            }
            if then_moves {
                acts.push(of(promote(&treatment, Stage::Production, true)));
            }
            acts
        },
    );
    prop_oneof![3 => review, 1 => back, 2 => trial]
}

/// A life of a model. Most begin with versions on their way, so that there is something to do.
fn life() -> impl Strategy<Value = Vec<Act>> {
    let first = (select(vec!["1.0.0", "1.0.1", "2.0.0", "0.2.0"]), 0..WEIGHTS.len(), any::<bool>());
    let begin = prop::collection::vec(first, 0..6);
    let acts = prop_oneof![12 => act(version()).prop_map(|act| vec![act]), 2 => story()];
    (begin, prop::collection::vec(acts, 1..60)).prop_map(|(begin, acts)| {
        let begin = begin.into_iter().flat_map(|(version, kind, live)| {
            let register = Command::Register {
                version: VersionChoice::Explicit {
                    version: v(version),
                    allow_smaller: Some("so it is".parse().unwrap()),
                },
                content: Box::new(content(kind)),
                stage: Stage::Staging,
                origins: Vec::new(),
            };
            let promote = promote(&v(version), Stage::Production, false);
            [Some(asked("alice", register)), live.then(|| asked("alice", promote))].into_iter().flatten()
        });
        begin.chain(acts.into_iter().flatten()).collect()
    })
}

#[derive(Debug, Default)]
struct CountedIds(AtomicU64);

impl IdSource for CountedIds {
    fn next_id(&self) -> u128 {
        self.0.fetch_add(1, Ordering::SeqCst).into()
    }
}

struct World {
    registry: Engine<MemoryLog, MemoryArtifacts>,
    log: Arc<MemoryLog>,
    artifacts: Arc<MemoryArtifacts>,
    clock: Arc<ManualClock>,
    model: ModelName,
    /// For each commit of the model, the policy of the registry that it was decided under.
    registry_policies: Vec<Arc<Policy>>,
    /// For each commit, the state right after it.
    states: Vec<Arc<ModelState>>,
}

fn start() -> Timestamp {
    Timestamp::from_microseconds(10_000_000).unwrap()
}

impl World {
    async fn new() -> World {
        let clock = Arc::new(ManualClock::new(start()));
        let log = Arc::new(MemoryLog::default());
        let artifacts = Arc::new(MemoryArtifacts::with_clock(clock.clone()));
        for bytes in WEIGHTS.into_iter().flatten() {
            artifacts.put(&Bytes::from_static(bytes), &|_| {}).await.unwrap();
        }
        let registry = Engine::new(log.clone(), artifacts.clone())
            .with_clock(clock.clone())
            .with_ids(Arc::new(CountedIds::default()));
        let model = "fraud".parse().unwrap();
        World { registry, log, artifacts, clock, model, registry_policies: Vec::new(), states: Vec::new() }
    }

    /// A registry over the same log that remembers nothing.
    fn cold(&self) -> Engine<MemoryLog, MemoryArtifacts> {
        Engine::new(self.log.clone(), self.artifacts.clone()).with_clock(self.clock.clone())
    }

    fn stream(&self) -> Stream {
        Stream::Model(self.model.clone())
    }

    async fn state(&self) -> Arc<ModelState> {
        self.registry.state(&self.stream(), &Need::Whole).await.unwrap()
    }

    async fn history(&self, stream: &Stream) -> Vec<Recorded> {
        self.registry.history(stream, Revision::FIRST, usize::MAX).await.unwrap()
    }

    async fn run(&mut self, act: Act) {
        match act {
            Act::Damage(kind, bytes) => {
                if let Some(original) = WEIGHTS[kind] {
                    self.artifacts.damage(&Digest::of(original), bytes.map(Bytes::from_static));
                }
            }
            Act::Ask(ask) => self.ask(ask).await,
        }
    }

    /// That somebody tried to approve who may not is on record, changes nothing else, and is refused again under its id.
    async fn noted(
        &mut self,
        request: &Request,
        before: &ModelState,
        after: &[Recorded],
        rejection: &Rejection,
    ) {
        let length = before.revision().map_or(0, Revision::get);
        assert_eq!(after.len() as u64, length + 1);
        let note = &after.last().unwrap().commit;
        assert!(matches!(note.events[..], [Event::ApprovalRefused { .. }]), "{note:?}");
        assert_eq!(note.refusal().as_ref(), Some(rejection));
        let state = self.state().await;
        assert_eq!(
            (&state.requests, &state.policy, &state.aliases),
            (&before.requests, &before.policy, &before.aliases)
        );
        assert!(state.versions().eq(before.versions()));
        assert!(state.production_spans().eq(before.production_spans()));
        let again = Request { by: request.by.with_request_id(note.request_id.clone()), ..request.clone() };
        let repeated = self.registry.execute(again).await.unwrap_err();
        assert_eq!(repeated.rejection(), Some(rejection));
        assert_eq!(self.history(&request.stream).await, after);
        self.keep(state).await;
    }

    /// What held after a commit to the log of the model.
    async fn keep(&mut self, state: Arc<ModelState>) {
        let policy = self.registry.state(&Stream::Registry, &Need::Whole).await.unwrap().policy.clone();
        self.registry_policies.push(policy);
        self.states.push(state);
    }

    /// Asks, and checks what must hold of every single request.
    async fn ask(&mut self, ask: Ask) {
        let now = self.registry_now().saturating_add(ask.clock_us);
        self.clock.set(Timestamp::from_microseconds(now.max(0)).unwrap());
        let everywhere = ask.everywhere && matches!(ask.command, Command::ChangePolicy { .. });
        let stream = if everywhere { Stream::Registry } else { self.stream() };
        let before = self.registry.state(&stream, &Need::Whole).await.unwrap();
        let length = before.revision().map_or(0, Revision::get);
        let mut by = By::new(ask.actor);
        if ask.reason {
            by = by.because("it must be".parse().unwrap());
        }
        if let Some(right) = ask.expecting {
            let revision = if right { length } else { length + 1 };
            by = by.expecting(Revision::new(revision.max(1)).unwrap());
        }
        let request = Request { stream: stream.clone(), by: by.clone(), command: ask.command };

        let rehearsal = Request { by: by.rehearsing(), ..request.clone() };
        let rehearsed = self.registry.execute(rehearsal).await;
        assert_eq!(self.history(&stream).await.len() as u64, length, "a rehearsal writes nothing");
        let result = self.registry.execute(request.clone()).await;
        let after = self.history(&stream).await;

        let receipt = match result {
            Err(Error::Rejected(rejection)) => {
                let tried_what_it_may_not = matches!(request.command, Command::Approve { .. })
                    && matches!(rejection, Rejection::NotAnApprover { .. } | Rejection::SelfApproval { .. });
                if tried_what_it_may_not {
                    self.noted(&request, &before, &after, &rejection).await;
                } else {
                    assert_eq!(after.len() as u64, length, "a refusal writes nothing");
                    assert_eq!(self.registry.state(&stream, &Need::Whole).await.unwrap(), before);
                }
                assert!(!rejection.to_string().is_empty());
                let same = matches!(&rehearsed, Err(Error::Rejected(other)) if *other == rejection);
                let unsent = matches!(rejection, Rejection::ArtifactMissing { .. })
                    && matches!(request.command, Command::Register { .. });
                assert!(same || unsent, "{rehearsed:?} was rehearsed, but then {rejection:?}");
                return;
            }
            Err(other) => panic!("nothing is wrong with the storage, but: {other:?}"),
            Ok(receipt) => receipt,
        };
        let commit = match receipt.outcome {
            Outcome::Unchanged => {
                assert_eq!(after.len() as u64, length, "nothing to do writes nothing");
                assert!(rehearsed.unwrap().events().is_empty());
                return;
            }
            Outcome::Committed(commit) => commit,
            other => panic!("{other:?}"),
        };
        assert_eq!(after.len() as u64, length + 1);
        assert_eq!(after.last(), Some(&commit));
        assert_eq!(rehearsed.unwrap().events(), commit.commit.events, "it goes as it was rehearsed");
        assert_eq!(self.registry.state(&stream, &Need::Whole).await.unwrap(), receipt.state);

        // The same request again, later, and another one under its id.
        self.clock.advance(std::time::Duration::from_micros(1));
        let again = Request { by: by.with_request_id(receipt.request_id.clone()), ..request.clone() };
        let repeated = self.registry.execute(again.clone()).await.unwrap();
        assert!(matches!(&repeated.outcome, Outcome::Repeated(same) if *same == commit));
        let other = Request { command: Command::Rollback { to: Some(v("9.9.9")), force: true }, ..again };
        let reused = self.registry.execute(other).await.unwrap_err();
        assert!(matches!(reused.rejection(), Some(Rejection::RequestIdReused { .. })), "{reused:?}");
        assert_eq!(self.history(&stream).await, after);

        if !everywhere {
            self.keep(receipt.state).await;
        }
    }

    fn registry_now(&self) -> i64 {
        self.registry.clock().now().microseconds()
    }
}

/// What is known of a version by one who only reads the events.
#[derive(Debug, Clone)]
struct Known {
    version: Version,
    registrant: Actor,
    stage: Stage,
    /// The commit that brought it there.
    entered: usize,
    deprecated: bool,
    quarantined: bool,
    deleted: bool,
}

/// The reference: lists and loops.
#[derive(Debug, Clone, Default)]
struct Naive {
    /// In the order of registration.
    versions: Vec<Known>,
    /// Who was in production, from when, until when.
    spans: Vec<(Version, Timestamp, Option<Timestamp>)>,
    aliases: BTreeMap<AliasName, Version>,
    requests: BTreeMap<u64, (Actor, ApprovalRule, Version)>,
    trials: BTreeMap<u64, TrialStarted>,
    policy: Policy,
}

impl Naive {
    fn known(&mut self, version: &Version) -> &mut Known {
        self.versions.iter_mut().find(|known| known.version == *version).unwrap()
    }

    fn production(&self) -> Option<&Version> {
        let inside: Vec<_> = self.versions.iter().filter(|known| known.stage == Stage::Production).collect();
        assert!(inside.len() <= 1, "more than one version is in production: {inside:?}");
        inside.first().map(|known| &known.version)
    }

    /// Takes a commit, and checks that it was allowed.
    fn apply(&mut self, index: usize, recorded: &Recorded, registry: &Policy) {
        let commit = &recorded.commit;
        let overridden = commit.events.iter().any(|e| matches!(e, Event::ApprovalOverridden { .. }));
        let gates_overridden = commit.events.iter().any(|e| matches!(e, Event::GatesOverridden { .. }));
        assert!(!(overridden || gates_overridden) || commit.reason.is_some(), "an override has a reason");
        for event in &commit.events {
            match event {
                Event::VersionRegistered(registered) => {
                    // By text too, so that equality itself is not trusted.
                    let core = |version: &Version| version.to_string().split('+').next().unwrap().to_owned();
                    let new = core(&registered.version);
                    assert!(
                        self.versions.iter().all(|known| core(&known.version) != new),
                        "{new} was registered before"
                    );
                    assert_eq!(registered.digest, registered.content.digest());
                    self.versions.push(Known {
                        version: registered.version.clone(),
                        registrant: commit.actor.clone(),
                        stage: Stage::Development,
                        entered: index,
                        deprecated: false,
                        quarantined: false,
                        deleted: false,
                    });
                }
                Event::StageChanged(change) => {
                    let rollback = matches!(change.cause, StageCause::Rollback { .. });
                    let known = self.known(&change.version);
                    assert_eq!(known.stage, change.from, "a move starts where the version is");
                    assert_ne!(change.from, change.to);
                    assert!(!known.deleted, "a deleted version moved");
                    let upwards = matches!(change.to, Stage::Staging | Stage::Production);
                    assert!(!(upwards && known.quarantined), "a quarantined version was promoted");
                    (known.stage, known.entered) = (change.to, index);
                    let registrant = known.registrant.clone();
                    if change.from == Stage::Production {
                        self.spans.last_mut().unwrap().2 = Some(commit.time);
                    }
                    if change.to == Stage::Production {
                        let served = self.spans.iter().any(|(version, ..)| *version == change.version);
                        assert!(!rollback || served, "a rollback goes to a version that served");
                        self.spans.push((change.version.clone(), commit.time, None));
                    }
                    if let StageCause::Promotion { request, approvals } = &change.cause {
                        let own = self.policy.stages.get(&change.to);
                        let rule = own.or(registry.stages.get(&change.to)).cloned().unwrap_or_default();
                        let looked_at: Vec<&Gate> = change.gates.iter().map(|result| &result.gate).collect();
                        assert_eq!(
                            looked_at,
                            rule.gates.iter().collect::<Vec<_>>(),
                            "every gate is looked at"
                        );
                        let all_passed = change.gates.iter().all(|result| result.passed);
                        assert!(all_passed != gates_overridden, "a gate was passed over");
                        let rule = rule.approval;
                        match request {
                            None => assert!(rule.is_none() || overridden, "approval was passed over"),
                            Some(request) => {
                                let (requester, asked, version) =
                                    self.requests.remove(&request.get()).unwrap();
                                assert!(rule.is_none_or(|rule| rule == asked), "approved under another rule");
                                assert_eq!(version, change.version);
                                let people: BTreeSet<&Actor> = approvals.iter().map(|a| &a.actor).collect();
                                assert_eq!(people.len(), approvals.len(), "a person counts once");
                                assert!(asked.quorum.get() as usize <= people.len());
                                assert!(approvals.iter().all(|a| a.approved), "an objection was passed over");
                                assert!(
                                    asked.approvers.is_empty()
                                        || people.iter().all(|p| asked.approvers.contains(*p))
                                );
                                assert!(asked.registrant_may_approve || !people.contains(&registrant));
                                assert!(asked.requester_may_approve || !people.contains(&requester));
                            }
                        }
                    }
                }
                Event::PromotionRequested(asked) => {
                    let request = (commit.actor.clone(), asked.rule.clone(), asked.version.clone());
                    self.requests.insert(commit.revision.get(), request);
                }
                Event::PromotionClosed { request, .. } => {
                    assert!(self.requests.remove(&request.get()).is_some(), "what is closed was open");
                }
                Event::TrialStarted(started) => {
                    self.trials.insert(commit.revision.get(), (**started).clone());
                }
                Event::TrialObserved { trial, .. } | Event::TrialLooked { trial, .. } => {
                    assert!(self.trials.contains_key(&trial.get()), "what is observed runs");
                }
                Event::TrialConcluded { trial, judgement } => {
                    let ended = self.trials.remove(&trial.get());
                    let looks = ended.map(|started| started.plan.looks.get()).unwrap();
                    let planned = judgement.at_planned_end || judgement.look < looks;
                    let favourable = judgement.verdict == Verdict::Favourable;
                    assert!(planned || !favourable, "stopped early, and favourable");
                }
                Event::TrialAborted { trial, .. } => {
                    assert!(self.trials.remove(&trial.get()).is_some(), "what is aborted runs");
                }
                Event::Quarantined { version } => self.known(version).quarantined = true,
                Event::QuarantineLifted { version } => self.known(version).quarantined = false,
                Event::Deprecated { version, .. } => self.known(version).deprecated = true,
                Event::DeprecationLifted { version } => self.known(version).deprecated = false,
                Event::VersionDeleted { version } => {
                    let known = self.known(version);
                    assert_ne!(known.stage, Stage::Production);
                    known.deleted = true;
                }
                Event::VersionRestored { version } => self.known(version).deleted = false,
                Event::AliasSet { alias, version, previous } => {
                    assert_eq!(self.aliases.insert(alias.clone(), version.clone()), *previous);
                }
                Event::AliasRemoved { alias, previous } => {
                    assert_eq!(self.aliases.remove(alias).as_ref(), Some(previous));
                }
                Event::PolicyChanged { change } => assert!(self.policy.change(change)),
                _ => {}
            }
        }
        for (alias, version) in self.aliases.clone() {
            assert!(!self.known(&version).deleted, "{alias} points to a deleted version");
        }
        self.check_trials();
        for (_, _, version) in self.requests.values().cloned().collect::<Vec<_>>() {
            assert!(!self.known(&version).deleted, "a promotion of a deleted version waits");
        }
    }

    /// Versions on trial are where they are tried, and no stage gives away more than it has.
    fn check_trials(&mut self) {
        let mut shares: BTreeMap<TrialStage, f64> = BTreeMap::new();
        for started in self.trials.clone().into_values() {
            let treatment = self.known(&started.treatment.version).clone();
            assert_eq!(treatment.stage, Stage::Staging, "{} is on trial", treatment.version);
            let control = self.known(&started.control.version).clone();
            assert!(!treatment.deleted && !control.deleted && !control.quarantined);
            if started.plan.stage == TrialStage::Production {
                assert_eq!(control.stage, Stage::Production);
            }
            *shares.entry(started.plan.stage).or_default() += started.plan.share.get();
        }
        assert!(shares.get(&TrialStage::Staging).is_none_or(|share| *share < 1.000_000_1));
        assert!(shares.get(&TrialStage::Production).is_none_or(|share| *share < 0.999_999_9));
    }

    fn production_at(&self, instant: Timestamp) -> Option<&Version> {
        let mut found = self
            .spans
            .iter()
            .filter(|(_, since, until)| *since <= instant && until.is_none_or(|until| instant < until));
        let first = found.next();
        assert!(found.next().is_none(), "two versions were in production at {instant}");
        first.map(|(version, ..)| version)
    }

    fn live(&self) -> impl DoubleEndedIterator<Item = &Known> {
        self.versions.iter().filter(|known| !known.deleted)
    }

    fn highest(&self, wanted: impl Fn(&Version) -> bool) -> Option<Version> {
        let order = |version: &Version| version.as_semver().clone();
        self.live()
            .filter(|known| !known.deprecated && !known.quarantined && wanted(&known.version))
            .map(|known| known.version.clone())
            .max_by(|a, b| order(a).cmp_precedence(&order(b)))
    }

    /// What each selector should name.
    fn selected(&self) -> Vec<(Selector, Option<Version>)> {
        let release = |version: &Version| version.as_semver().pre.is_empty();
        let production = self.production();
        let previous = self
            .spans
            .iter()
            .rev()
            .map(|(version, ..)| version)
            .filter(|version| Some(*version) != production)
            .find(|version| self.live().any(|known| known.version == **version));
        let mut selected = vec![
            (Selector::LATEST, self.highest(release)),
            (Selector::Latest { with_prereleases: true }, self.highest(|_| true)),
            (Selector::Newest, self.live().next_back().map(|known| known.version.clone())),
            (Selector::Previous, previous.cloned()),
            (Selector::PRODUCTION, production.cloned()),
        ];
        for text in ["^1", "~1.0.0", ">=1.0.1, <3", "*", "=1.1.0", ">=2.0.0-rc.1", "^7"] {
            let range = semver::VersionReq::parse(text).unwrap();
            let expected = self.highest(|version| range.matches(version.as_semver()));
            selected.push((text.parse().unwrap(), expected));
        }
        for stage in [Stage::Development, Stage::Staging, Stage::Archived] {
            // At most one version enters a stage in one commit, but for the highest of a tie.
            let entered = self.live().filter(|known| known.stage == stage);
            let last = entered.max_by(|a, b| (a.entered, &a.version).cmp(&(b.entered, &b.version)));
            selected.push((Selector::Stage(stage), last.map(|known| known.version.clone())));
        }
        for alias in ["champion", "challenger"] {
            let alias: AliasName = alias.parse().unwrap();
            let version = self.aliases.get(&alias).cloned();
            selected.push((Selector::Alias(alias), version));
        }
        selected
    }
}

fn just_around(instant: Timestamp) -> [Timestamp; 3] {
    [-1, 0, 1].map(|us| Timestamp::from_microseconds(instant.microseconds() + us).unwrap())
}

async fn named(registry: &impl Registry, model: &ModelName, selector: &Selector) -> Option<Version> {
    match registry.get(model, selector).await {
        Ok(found) => Some(found.version.clone()),
        Err(Error::Rejected(Rejection::NoMatch { .. } | Rejection::ModelNotFound { .. })) => None,
        Err(other) => panic!("{selector}: {other:?}"),
    }
}

/// Everything that must hold of a log and what is made of it.
async fn check(world: &World) {
    let history = world.history(&world.stream()).await;
    let live = world.state().await;
    let mut naive = Naive::default();
    for (index, recorded) in history.iter().enumerate() {
        let commit = &recorded.commit;
        assert_eq!(commit.revision.get() as usize, index + 1, "revisions are dense");
        let before = index.checked_sub(1).map(|before| &history[before]);
        assert_eq!(commit.previous, before.map(|before| before.digest));
        assert!(before.is_none_or(|before| before.commit.time < commit.time), "times increase");
        assert!(!commit.events.is_empty());
        naive.apply(index, recorded, &world.registry_policies[index]);
        assert_eq!(world.states[index].production.as_ref(), naive.production(), "at {}", commit.revision);
    }

    // The state is a fold of the log: live, from scratch, from JSON, and by a registry started now.
    let replayed = ModelState::replay(history.iter().map(|r| (&*r.commit, r.digest)));
    assert_eq!(*live, replayed);
    let json = serde_json::to_string(&*live).unwrap();
    assert_eq!(serde_json::from_str::<ModelState>(&json).unwrap(), *live);
    let cold = world.cold();
    assert_eq!(cold.state(&world.stream(), &Need::Whole).await.unwrap(), live);

    // Production through time.
    let spans: Vec<_> = live.production_spans().map(|s| (s.version.clone(), s.since.at, s.until)).collect();
    assert_eq!(spans, naive.spans);
    for recorded in &history {
        for instant in just_around(recorded.commit.time) {
            let found = live.production_at(instant).map(|span| &span.version);
            assert_eq!(found, naive.production_at(instant), "at {instant}");
        }
    }
    for index in [0, history.len() / 3, history.len().saturating_sub(1)] {
        let Some(recorded) = history.get(index) else { continue };
        for instant in just_around(recorded.commit.time) {
            let prefix = history.iter().take_while(|r| r.commit.time <= instant);
            let expected = ModelState::replay(prefix.map(|r| (&*r.commit, r.digest)));
            assert_eq!(world.registry.model_at(&world.model, instant).await.unwrap(), expected);
            let selector = Selector::ProductionAt(instant);
            let expected = naive.production_at(instant).cloned();
            assert_eq!(named(&cold, &world.model, &selector).await, expected, "{selector}");
        }
    }

    // Names.
    assert_eq!(live.version_count as usize, naive.versions.len());
    for (selector, expected) in naive.selected() {
        assert_eq!(named(&world.registry, &world.model, &selector).await, expected, "{selector}");
        assert_eq!(named(&world.cold(), &world.model, &selector).await, expected, "{selector}, cold");
    }
    assert_eq!(live.latest(false).map(|l| l.version.clone()), naive.selected()[0].1);

    let verification = world.registry.verify(&world.model, Default::default()).await.unwrap();
    assert!(verification.is_sound(), "{:?}", verification.problems);
    assert_eq!(verification.commits as usize, history.len());
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn live_through(acts: Vec<Act>) -> World {
    block_on(async {
        let mut world = World::new().await;
        for act in acts {
            world.run(act).await;
        }
        check(&world).await;
        world
    })
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn whatever_is_asked_the_record_holds(acts in life()) {
        live_through(acts);
    }
}

/// A version of a model that has many: 0.1.0 to 0.1.39.
fn one_of_many() -> impl Strategy<Value = Version> + Clone {
    (0..40_u64).prop_map(|patch| Version::new(0, 1, patch))
}

proptest! {
    #![proptest_config(config(10))]

    /// With more versions than a brief checkpoint holds, and started cold after every few commits.
    #[test]
    fn a_registry_started_in_the_middle_gives_the_same_answers(
        acts in prop::collection::vec(act(one_of_many()), 30..90),
    ) {
        block_on(async {
            let mut world = World::new().await;
            for patch in 0..40 {
                world.ask(Ask {
                    actor: "alice".parse().unwrap(),
                    reason: false,
                    clock_us: 1,
                    expecting: None,
                    everywhere: false,
                    command: Command::Register {
                        version: Version::new(0, 1, patch).into(),
                        content: Box::new(content(3)),
                        stage: Stage::Staging,
                        origins: Vec::new(),
                    },
                })
                .await;
            }
            for (index, act) in acts.into_iter().enumerate() {
                if index % 7 == 0 {
                    world.registry = world.cold().with_ids(Arc::new(CountedIds((1_000 * index as u64 + 1_000).into())));
                }
                world.run(act).await;
            }
            check(&world).await;
        });
    }
}

#[test]
fn the_generator_reaches_every_kind_of_event() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..100 {
        let acts = life().new_tree(&mut runner).unwrap().current();
        let world = live_through(acts);
        for recorded in block_on(world.history(&world.stream())) {
            for event in &recorded.commit.events {
                *seen.entry(event.kind()).or_default() += 1;
            }
        }
    }
    let error = serde_json::from_str::<Event>(r#"{"event":"?"}"#).unwrap_err().to_string();
    let (_, list) = error.split_once("expected ").unwrap();
    // Only a registry that shares its models has the first two; `mirror.rs` has a property of its own for them. The
    // last is in streams of health, and runs are in those of experiments, which are no life of a model.
    let elsewhere = |kind: &&str| {
        ["files_found", "adopted", "health_reported"].contains(kind) || kind.starts_with("run_")
    };
    let kinds = list.split('`').skip(1).step_by(2).filter(|kind| !elsewhere(kind));
    let missing: Vec<&str> = kinds.filter(|kind| !seen.contains_key(kind)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {seen:?}");
}
