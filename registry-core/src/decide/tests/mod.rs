//! The rules, one test each, read as given / when / then:
//!
//! ```text
//! given([alice(register("v1")), alice(promote("v1", Staging))])
//!     .by("bob")
//!     .when(promote("v1", Production))
//!     .then([moved("v1", Staging, Production)]);
//! ```
//!
//! What is given is decided and applied step by step, one second apart from [`start`] on, and passes
//! through the codec on its way, so every test also shows that its history can be read back.

mod ancestry;
mod annotate;
mod approval;
mod environments;
mod experiments;
mod gates;
mod promotion;
mod registration;
mod rollback;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Context, Evidence, Halt, decide};
use crate::codec;
use crate::command::{Command, VersionChoice};
use crate::content::{Artifact, Content, Manifest};
use crate::digest::Digest;
use crate::event::{
    ClosedCause, Commit, Decision, Event, FORMAT, Numbering, PromotionRequested, RefusedCause,
    RollbackSafety, StageCause, StageChanged,
};
use crate::name::{Actor, ModelVersion, Text};
use crate::policy::{ApprovalRule, Policy, PolicyChange, StageRule};
use crate::rejection::Rejection;
use crate::signature::Signature;
use crate::stage::{Stage, Transitions};
use crate::state::{ModelState, VersionState};
use crate::stream::{Revision, Stream};
use crate::time::Timestamp;
use crate::version::Version;

/// One thing that happened before.
pub(super) enum Step {
    /// Somebody asked for something, and the rules allowed it.
    Asked { actor: Actor, reason: Option<Text>, command: Command },
    /// It is in the log, whatever the rules say today.
    Happened(Event),
    /// Time passed.
    Passed(Duration),
    /// The rules for all models changed.
    Registry(PolicyChange),
    /// The bytes of a version do not verify.
    Damaged(Version),
    /// A version of another model was made out of others.
    Elsewhere(ModelVersion, BTreeSet<ModelVersion>),
}

fn asked(actor: &str, command: Command) -> Step {
    Step::Asked { actor: name(actor), reason: Some(text("given")), command }
}

pub(super) fn alice(command: Command) -> Step {
    asked("alice", command)
}

pub(super) fn bob(command: Command) -> Step {
    asked("bob", command)
}

pub(super) fn carol(command: Command) -> Step {
    asked("carol", command)
}

pub(super) fn happened(event: Event) -> Step {
    Step::Happened(event)
}

pub(super) fn seconds_pass(seconds: u64) -> Step {
    Step::Passed(Duration::from_secs(seconds))
}

pub(super) fn registry_rule(change: PolicyChange) -> Step {
    Step::Registry(change)
}

pub(super) fn elsewhere(version: &str, parents: &[&str]) -> Step {
    let parents = parents.iter().map(|parent| parent.parse().unwrap()).collect();
    Step::Elsewhere(version.parse().unwrap(), parents)
}

pub(super) fn damaged(version: &str) -> Step {
    Step::Damaged(v(version))
}

/// When the world of these tests begins. The commit at revision `n` is made `n` seconds later.
pub(super) fn start() -> Timestamp {
    "2024-01-15T10:00:00Z".parse().unwrap()
}

/// That many seconds after the start.
pub(super) fn at(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

/// The state of things before the question.
pub(super) struct Given {
    stream: Stream,
    pub(super) state: ModelState,
    now: Timestamp,
    registry: Policy,
    damaged: BTreeMap<Version, Result<(), String>>,
    elsewhere: BTreeMap<ModelVersion, BTreeSet<ModelVersion>>,
    actor: Actor,
    reason: Option<Text>,
}

pub(super) fn given(steps: impl IntoIterator<Item = Step>) -> Given {
    let mut given = Given {
        stream: "model/fraud".parse().unwrap(),
        state: ModelState::new(),
        now: at(1),
        registry: Policy::default(),
        damaged: BTreeMap::new(),
        elsewhere: BTreeMap::new(),
        actor: name("alice"),
        reason: None,
    };
    for step in steps {
        given.take(step);
    }
    given
}

impl Given {
    fn take(&mut self, step: Step) {
        match step {
            Step::Asked { actor, reason, command } => {
                let events = self.decided(&actor, reason.as_ref(), &command).result.unwrap();
                assert!(!events.is_empty(), "what is given must do something: {command:?}");
                self.commit(actor, reason, events);
            }
            Step::Happened(event) => drop(self.commit(name("history"), None, vec![event])),
            Step::Passed(duration) => self.now = self.now.saturating_add(duration),
            Step::Registry(change) => assert!(self.registry.change(&change)),
            Step::Elsewhere(version, parents) => {
                self.elsewhere.insert(version, parents);
            }
            Step::Damaged(version) => {
                self.damaged.insert(version, Err("a byte was flipped".to_owned()));
            }
        }
    }

    fn commit(&mut self, actor: Actor, reason: Option<Text>, events: Vec<Event>) -> Commit {
        let revision = Revision::after(self.state.revision());
        let commit = Commit {
            format: FORMAT,
            stream: self.stream.clone(),
            revision,
            previous: self.state.head.map(|head| head.digest),
            time: self.now,
            actor,
            reason,
            request_id: format!("request-{revision}").parse().unwrap(),
            request_digest: Digest::of(b"request"),
            events,
        };
        let encoded = codec::encode(&commit);
        let (read, digest) = codec::decode(&self.stream, revision, &encoded.bytes).unwrap();
        assert_eq!((&read, digest), (&commit, encoded.digest), "a commit is read as it was written");
        self.state.apply(&read, digest);
        self.now = self.now.saturating_add(Duration::from_secs(1));
        read
    }

    /// Decides, and says which versions had to be read.
    fn decided(&self, actor: &Actor, reason: Option<&Text>, command: &Command) -> Decided {
        let (mut evidence, mut bytes_read) = (Evidence::default(), Vec::new());
        for _ in 0..100 {
            let context = Context {
                stream: &self.stream,
                now: self.now,
                actor,
                reason,
                registry: &self.registry,
                evidence: &evidence,
            };
            match decide(&self.state, command, &context) {
                Ok(events) => return Decided { result: Ok(events), noted: Vec::new(), bytes_read },
                Err(Halt::Rejected(rejection)) => {
                    return Decided { result: Err(rejection), noted: Vec::new(), bytes_read };
                }
                Err(Halt::RejectedOnRecord { rejection, events }) => {
                    return Decided { result: Err(rejection), noted: events, bytes_read };
                }
                Err(Halt::NeedsBytes(version)) => {
                    let result = self.damaged.get(&version).cloned().unwrap_or(Ok(()));
                    let before = evidence.bytes.insert(version.clone(), result);
                    assert!(before.is_none(), "{version} was asked for twice");
                    bytes_read.push(version);
                }
                Err(Halt::NeedsParents(versions)) => {
                    for version in versions {
                        let parents = self.elsewhere.get(&version).cloned().unwrap_or_default();
                        let before = evidence.parents.insert(version.clone(), parents);
                        assert!(before.is_none(), "{version} was asked for twice");
                    }
                }
            }
        }
        panic!("no end of versions whose bytes are asked for");
    }

    pub(super) fn by(mut self, actor: &str) -> Self {
        self.actor = name(actor);
        self
    }

    pub(super) fn because(mut self, reason: &str) -> Self {
        self.reason = Some(text(reason));
        self
    }

    pub(super) fn in_stream(mut self, stream: &str) -> Self {
        self.stream = stream.parse().unwrap();
        self
    }

    pub(super) fn when(self, command: Command) -> Then {
        let Decided { result, noted, bytes_read } = self.decided(&self.actor, self.reason.as_ref(), &command);
        Then { given: self, result, noted, bytes_read }
    }

    pub(super) fn version(&self, version: &str) -> &VersionState {
        self.state.version(&v(version)).unwrap()
    }
}

/// A decision, and what it took.
struct Decided {
    result: Result<Vec<Event>, Rejection>,
    /// What goes on record of a command that is refused.
    noted: Vec<Event>,
    bytes_read: Vec<Version>,
}

/// What came of it.
pub(super) struct Then {
    given: Given,
    pub(super) result: Result<Vec<Event>, Rejection>,
    noted: Vec<Event>,
    pub(super) bytes_read: Vec<Version>,
}

impl Then {
    /// Exactly these events. Gives the world after them.
    #[track_caller]
    pub(super) fn then(mut self, expected: impl IntoIterator<Item = Event>) -> Given {
        let expected: Vec<Event> = expected.into_iter().collect();
        let events = match &self.result {
            Ok(events) => events.clone(),
            Err(rejection) => panic!("refused: {rejection}"),
        };
        assert_eq!(events, expected);
        assert!(!events.is_empty(), "say `then_nothing`");
        let (actor, reason) = (self.given.actor.clone(), self.given.reason.clone());
        self.given.commit(actor, reason, events);
        self.given
    }

    /// Whatever events. Gives the world after them.
    #[track_caller]
    pub(super) fn done(self) -> Given {
        let events = match &self.result {
            Ok(events) => events.clone(),
            Err(rejection) => panic!("refused: {rejection}"),
        };
        self.then(events)
    }

    #[track_caller]
    pub(super) fn then_nothing(self) {
        assert_eq!(self.result, Ok(Vec::new()));
    }

    #[track_caller]
    pub(super) fn then_err(self, expected: Rejection) {
        assert_eq!(self.result, Err(expected));
        assert_eq!(self.noted, [], "a refusal leaves nothing behind");
    }

    /// It is refused, and exactly this goes on record, from which the same refusal can be read. Gives the world after
    /// it.
    #[track_caller]
    pub(super) fn then_err_on_record(mut self, expected: Rejection, event: Event) -> Given {
        assert_eq!(self.result, Err(expected.clone()));
        assert_eq!(self.noted, [event]);
        let (actor, before) = (self.given.actor.clone(), self.given.state.clone());
        let commit = self.given.commit(actor, self.given.reason.clone(), self.noted);
        assert_eq!(commit.refusal(), Some(expected));
        let after = &self.given.state;
        assert_eq!(
            (&after.requests, &after.production, &after.policy),
            (&before.requests, &before.production, &before.policy)
        );
        self.given
    }

    #[track_caller]
    pub(super) fn then_invalid(self, what: &str) {
        match &self.result {
            Err(Rejection::Invalid(invalid)) => assert_eq!(invalid.what, what),
            other => panic!("expected an invalid {what}, not {other:?}"),
        }
    }

    /// The number that was given to the new version, and why.
    #[track_caller]
    pub(super) fn then_registered(self, version: &str) -> Numbering {
        match self.result.as_deref() {
            Ok([Event::VersionRegistered(registered), ..]) => {
                assert_eq!(registered.version.to_string(), version);
                registered.numbering.clone()
            }
            other => panic!("expected {version} to be registered, not {other:?}"),
        }
    }
}

pub(super) fn v(version: &str) -> Version {
    version.parse().unwrap()
}

pub(super) fn name(actor: &str) -> Actor {
    actor.parse().unwrap()
}

pub(super) fn text(text: &str) -> Text {
    text.parse().unwrap()
}

pub(super) fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

/// A model of one file with these bytes, and without a signature.
pub(super) fn weights(bytes: &str) -> Content {
    let file = Artifact {
        path: "model.bin".parse().unwrap(),
        digest: Digest::of(bytes.as_bytes()),
        size: bytes.len() as u64,
    };
    Content { artifacts: Manifest::new(vec![file]).unwrap(), ..Content::default() }
}

/// The same with a signature: names of inputs and of outputs, all required numbers.
pub(super) fn signed(bytes: &str, inputs: &[&str], outputs: &[&str]) -> Content {
    Content { signature: Some(signature(inputs, outputs)), ..weights(bytes) }
}

pub(super) fn signature(inputs: &[&str], outputs: &[&str]) -> Signature {
    let side = |names: &[&str]| {
        let fields: Vec<String> = names.iter().map(|name| format!("\"{name}\":\"double\"")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let json = format!(r#"{{"inputs":{},"outputs":{}}}"#, side(inputs), side(outputs));
    serde_json::from_str(&json).unwrap()
}

/// Registers a version with content of its own and no signature.
pub(super) fn register(version: &str) -> Command {
    register_as(version, weights(version))
}

pub(super) fn register_as(version: &str, content: Content) -> Command {
    registration(v(version), content)
}

pub(super) fn registration(version: impl Into<VersionChoice>, content: Content) -> Command {
    registration_in(version, content, Stage::Development)
}

pub(super) fn registration_in(version: impl Into<VersionChoice>, content: Content, stage: Stage) -> Command {
    Command::Register { version: version.into(), content: Box::new(content), stage, origins: Vec::new() }
}

pub(super) fn promote(version: &str, to: Stage) -> Command {
    Command::Promote { version: v(version), from: None, to, require_approval: false, emergency: false }
}

pub(super) fn approve(version: &str) -> Command {
    Command::Approve { version: v(version), to: None, meaning: None, comment: None }
}

pub(super) fn reject(version: &str) -> Command {
    Command::Reject { version: v(version), to: None, comment: None }
}

pub(super) fn withdraw(version: &str) -> Command {
    Command::Withdraw { version: v(version), to: None }
}

pub(super) fn roll_back() -> Command {
    Command::Rollback { to: None, force: false }
}

pub(super) fn roll_back_to(version: &str) -> Command {
    Command::Rollback { to: Some(v(version)), force: false }
}

pub(super) fn deprecate(version: &str, end_of_life: Option<Timestamp>) -> Command {
    Command::Deprecate { version: v(version), superseded_by: None, end_of_life }
}

pub(super) fn delete(version: &str) -> Command {
    Command::Delete { version: v(version) }
}

/// What a stage demands from now on.
pub(super) fn demand(stage: Stage, approval: Option<ApprovalRule>) -> PolicyChange {
    PolicyChange::StageRule {
        stage,
        rule: approval.map(|rule| StageRule { approval: Some(rule), ..StageRule::default() }),
    }
}

pub(super) fn change_policy(change: PolicyChange) -> Command {
    Command::ChangePolicy { change }
}

pub(super) fn only(moves: impl IntoIterator<Item = (Stage, Stage)>) -> PolicyChange {
    PolicyChange::Transitions { table: Some(Transitions::new(moves)) }
}

/// Registered by alice, and by her brought to staging: two commits.
pub(super) fn staged(version: &str) -> [Step; 2] {
    [alice(register(version)), alice(promote(version, Stage::Staging))]
}

/// Registered by alice, and by her brought to production: three commits.
pub(super) fn live(version: &str) -> [Step; 3] {
    live_with(version, weights(version))
}

pub(super) fn live_with(version: &str, content: Content) -> [Step; 3] {
    [
        alice(register_as(version, content)),
        alice(promote(version, Stage::Staging)),
        alice(promote(version, Stage::Production)),
    ]
}

pub(super) fn moved_because(version: &str, from: Stage, to: Stage, cause: StageCause) -> Event {
    Event::StageChanged(Box::new(StageChanged {
        version: v(version),
        from,
        to,
        cause,
        rollback_safety: None,
        gates: Vec::new(),
    }))
}

/// Moved by a command, with no approval and nothing to supersede.
pub(super) fn moved(version: &str, from: Stage, to: Stage) -> Event {
    moved_because(version, from, to, StageCause::Promotion { request: None, approvals: Vec::new() })
}

/// Brought from staging to production in the place of `other`, where no signature tells whether
/// going back is safe: two events.
pub(super) fn superseding(version: &str, other: &str, cause: StageCause) -> [Event; 2] {
    [
        moved_because(other, Stage::Production, Stage::Archived, StageCause::Superseded { by: v(version) }),
        Event::StageChanged(Box::new(StageChanged {
            version: v(version),
            from: Stage::Staging,
            to: Stage::Production,
            cause,
            rollback_safety: Some(RollbackSafety { to: v(other), safe: None, findings: Vec::new() }),
            gates: Vec::new(),
        })),
    ]
}

pub(super) fn plain() -> StageCause {
    StageCause::Promotion { request: None, approvals: Vec::new() }
}

pub(super) fn requested(version: &str, rule: ApprovalRule) -> PromotionRequested {
    PromotionRequested {
        version: v(version),
        digest: weights(version).digest(),
        from: Stage::Staging,
        to: Stage::Production,
        rule,
        by_choice: false,
        expires_at: None,
    }
}

pub(super) fn closed(request: u64, cause: ClosedCause) -> Event {
    Event::PromotionClosed { request: revision(request), cause }
}

pub(super) fn approved(request: u64) -> Event {
    Event::PromotionApproved { request: revision(request), meaning: None, comment: None }
}

pub(super) fn yes(actor: &str, seconds: u64) -> Decision {
    Decision { actor: name(actor), approved: true, at: at(seconds), meaning: None, comment: None }
}

mod streams {
    use super::*;

    /// One command of every kind but registration.
    fn commands() -> Vec<Command> {
        vec![
            promote("v1", Stage::Staging),
            approve("v1"),
            reject("v1"),
            withdraw("v1"),
            roll_back(),
            Command::LiftQuarantine { version: v("v1") },
            deprecate("v1", None),
            Command::LiftDeprecation { version: v("v1") },
            delete("v1"),
            Command::Undelete { version: v("v1") },
            Command::SetAlias { alias: "champion".parse().unwrap(), version: v("v1") },
            Command::RemoveAlias { alias: "champion".parse().unwrap() },
            Command::ChangeTags { version: None, set: BTreeMap::new(), remove: Vec::new() },
            Command::Describe { version: None, description: None },
            Command::Amend {
                version: v("v1"),
                metadata: Box::default(),
                metrics: BTreeMap::new(),
                deployment: Box::default(),
                links: Vec::new(),
            },
            change_policy(demand(Stage::Production, None)),
            trials::start("v1"),
            trials::observe("v1", (1, 2), (1, 2)),
            trials::conclude("v1"),
            trials::abort("v1"),
        ]
    }

    #[test]
    fn only_a_registration_creates_a_model() {
        for command in commands() {
            let verb = command.verb();
            let expected = Rejection::ModelNotFound { model: "fraud".parse().unwrap() };
            assert_eq!(given([]).when(command).result, Err(expected), "{verb}");
        }
        given([]).when(register("v1")).then_registered("v1.0.0");
    }

    #[test]
    fn the_registry_stream_takes_policies_only() {
        for command in commands().into_iter().chain([register("v1")]) {
            let verb = command.verb();
            if !matches!(command, Command::ChangePolicy { .. }) {
                let result = given([]).in_stream("registry").when(command).result;
                assert_eq!(result, Err(Rejection::WrongStream), "{verb}");
            }
        }
        let change = demand(Stage::Production, Some(ApprovalRule::default()));
        given([])
            .in_stream("registry")
            .when(change_policy(change.clone()))
            .then([Event::PolicyChanged { change }]);
    }

    #[test]
    fn a_health_stream_takes_no_command() {
        for command in commands().into_iter().chain([register("v1")]) {
            let verb = command.verb();
            let result = given([]).in_stream("health/fraud").when(command).result;
            assert_eq!(result, Err(Rejection::WrongStream), "{verb}");
        }
    }

    #[test]
    fn a_version_that_is_not_there_is_named_with_those_that_are() {
        let expected = || Rejection::VersionNotFound { version: v("v9"), nearest: vec![v("v2"), v("v1")] };
        let about = |command: Command| match command {
            Command::Promote { to, .. } => promote("v9", to),
            Command::Approve { .. } => approve("v9"),
            Command::Reject { .. } => reject("v9"),
            Command::Withdraw { .. } => withdraw("v9"),
            Command::Rollback { .. } => roll_back_to("v9"),
            Command::LiftQuarantine { .. } => Command::LiftQuarantine { version: v("v9") },
            Command::Deprecate { .. } => deprecate("v9", None),
            Command::LiftDeprecation { .. } => Command::LiftDeprecation { version: v("v9") },
            Command::Delete { .. } => delete("v9"),
            Command::Undelete { .. } => Command::Undelete { version: v("v9") },
            Command::SetAlias { alias, .. } => Command::SetAlias { alias, version: v("v9") },
            Command::ChangeTags { set, remove, .. } => {
                Command::ChangeTags { version: Some(v("v9")), set, remove }
            }
            Command::Describe { description, .. } => {
                Command::Describe { version: Some(v("v9")), description }
            }
            Command::Amend { metadata, metrics, deployment, links, .. } => {
                Command::Amend { version: v("v9"), metadata, metrics, deployment, links }
            }
            Command::StartTrial { .. } => trials::start("v9"),
            Command::ObserveTrial { .. } => trials::observe("v9", (1, 2), (1, 2)),
            Command::ConcludeTrial { .. } => trials::conclude("v9"),
            Command::AbortTrial { .. } => trials::abort("v9"),
            other => other,
        };
        for command in commands() {
            if matches!(command, Command::RemoveAlias { .. } | Command::ChangePolicy { .. }) {
                continue;
            }
            let verb = command.verb();
            // A deleted version is not offered as a neighbour.
            let steps = live("v1").into_iter().chain([
                alice(register("v2")),
                alice(register("v3")),
                alice(delete("v3")),
            ]);
            assert_eq!(given(steps).when(about(command)).result, Err(expected()), "{verb}");
        }
    }

    #[test]
    fn a_deleted_version_takes_no_part_in_anything() {
        for command in commands() {
            let verb = command.verb();
            let versionless = matches!(
                command,
                Command::Rollback { .. }
                    | Command::RemoveAlias { .. }
                    | Command::ChangeTags { .. }
                    | Command::Describe { .. }
                    | Command::ChangePolicy { .. }
                    | Command::Delete { .. }
                    | Command::Undelete { .. }
            );
            if !versionless {
                let result = given([alice(register("v1")), alice(delete("v1"))]).when(command).result;
                assert_eq!(result, Err(Rejection::IsDeleted { version: v("v1") }), "{verb}");
            }
        }
    }
}
