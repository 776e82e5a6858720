//! Why this exists: everything anyone may ask the registry to change is one value of [`Command`], so
//! that it can be sent, decided, retried under one id, rehearsed and audited in one way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::content::{Content, Deployment, Metadata, Metric, Tags};
use crate::digest::Digest;
use crate::event::{Copied, Origin};
use crate::experiment::{RunLog, RunOutcome, RunStarted};
use crate::lineage::Link;
use crate::mirror::Adoption;
use crate::monitor::{Breach, Summary};
use crate::name::{Actor, AliasName, Key, ModelVersion, RequestId, Text};
use crate::policy::PolicyChange;
use crate::stage::Stage;
use crate::stream::{Revision, Stream};
use crate::time::Timestamp;
use crate::trial::{Tally, TrialPlan};
use crate::version::{Bump, Version};

/// Who asks, and how: the part that every request has in common.
///
/// ```
/// use registry_core::By;
/// let alice = By::new("alice@example.com".parse()?);
/// let now = alice.because("tested in staging".parse()?);
/// # Ok::<(), registry_core::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct By {
    /// Who asks.
    pub actor: Actor,
    /// Why.
    pub reason: Option<Text>,
    /// The identity of the request. Drawn at random if the caller gives none; give one to be able
    /// to send the same request again after a failure without doing it twice.
    pub request_id: Option<RequestId>,
    /// The revision that the stream must be at, for compare-and-set.
    pub expected: Option<Revision>,
    /// Only find out what would happen. Registering is rehearsed without asking for the bytes, which
    /// need not be sent yet.
    pub dry_run: bool,
}

impl By {
    /// A request by `actor`.
    pub fn new(actor: Actor) -> Self {
        By { actor, reason: None, request_id: None, expected: None, dry_run: false }
    }

    /// The same, for that reason.
    pub fn because(&self, reason: Text) -> Self {
        By { reason: Some(reason), ..self.clone() }
    }

    /// The same, under an id of the caller's choice.
    pub fn with_request_id(&self, id: RequestId) -> Self {
        By { request_id: Some(id), ..self.clone() }
    }

    /// The same, only if the stream is at that revision.
    pub fn expecting(&self, revision: Revision) -> Self {
        By { expected: Some(revision), ..self.clone() }
    }

    /// The same, without writing anything.
    pub fn rehearsing(&self) -> Self {
        By { dry_run: true, ..self.clone() }
    }
}

/// A wish to change a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The stream.
    pub stream: Stream,
    /// Who and why.
    pub by: By,
    /// What.
    pub command: Command,
}

impl Request {
    /// The identity of what is asked: stream, actor, reason and command. Two requests under one id
    /// are the same request exactly if these are equal.
    pub fn digest(&self) -> Digest {
        let identity = (&self.stream, &self.by.actor, &self.by.reason, &self.command);
        Digest::of(&serde_json::to_vec(&identity).unwrap_or_default())
    }
}

/// How a new version gets its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VersionChoice {
    /// This number.
    Explicit {
        /// The version.
        version: Version,
        /// Why a smaller bump than the findings demand is right all the same.
        allow_smaller: Option<Text>,
    },
    /// The next number after the baseline by this bump, which must be large enough.
    Bump {
        /// The bump.
        bump: Bump,
    },
    /// The smallest number that the findings allow.
    Auto,
}

impl From<Version> for VersionChoice {
    fn from(version: Version) -> Self {
        VersionChoice::Explicit { version, allow_smaller: None }
    }
}

impl From<Bump> for VersionChoice {
    fn from(bump: Bump) -> Self {
        VersionChoice::Bump { bump }
    }
}

/// What can be asked of a stream. Whatever needs a version takes its number: selectors are
/// resolved before, so that a repeated request means the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Register a version.
    Register {
        /// Its number.
        version: VersionChoice,
        /// Its content.
        content: Box<Content>,
        /// The stage it starts in.
        stage: Stage,
        /// The registries that it came through, if it comes from another one.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        origins: Vec<Origin>,
    },
    /// Move a version to another stage.
    Promote {
        /// The version.
        version: Version,
        /// The stage it is in, if the caller wants to be sure.
        from: Option<Stage>,
        /// The stage it shall enter.
        to: Stage,
        /// Demand approval even where no policy does.
        require_approval: bool,
        /// Bypass a demanded approval, and gates, in an emergency. A reason is mandatory.
        emergency: bool,
    },
    /// Agree to a promotion.
    Approve {
        /// The version.
        version: Version,
        /// The stage, if more than one promotion of the version waits.
        to: Option<Stage>,
        /// What the approval means.
        meaning: Option<Text>,
        /// A remark.
        comment: Option<Text>,
    },
    /// Object to a promotion.
    Reject {
        /// The version.
        version: Version,
        /// The stage, if more than one promotion of the version waits.
        to: Option<Stage>,
        /// A remark.
        comment: Option<Text>,
    },
    /// Take back the own approval or objection; or, as the requester, the request.
    Withdraw {
        /// The version.
        version: Version,
        /// The stage, if more than one promotion of the version waits.
        to: Option<Stage>,
    },
    /// Put an earlier version back into production.
    Rollback {
        /// The version; none means the last one that was good.
        to: Option<Version>,
        /// Go back although clients break.
        force: bool,
    },
    /// Put an earlier version back into production because a rule of the policy was broken. Nothing is done if the
    /// version that broke it is no longer there.
    RollBackBroken {
        /// The name of the rule.
        rule: Key,
        /// What was measured.
        breach: Box<Breach>,
    },
    /// Write down what was observed while versions served.
    ReportHealth {
        /// What was observed.
        summaries: Vec<Summary>,
    },
    /// Take a version out of quarantine.
    LiftQuarantine {
        /// The version.
        version: Version,
    },
    /// Say that a version should no longer be used.
    Deprecate {
        /// The version.
        version: Version,
        /// What to use instead.
        superseded_by: Option<Version>,
        /// When it ends.
        end_of_life: Option<Timestamp>,
    },
    /// Say that a version may be used again.
    LiftDeprecation {
        /// The version.
        version: Version,
    },
    /// Hide a version.
    Delete {
        /// The version.
        version: Version,
    },
    /// Take a deleted version back.
    Undelete {
        /// The version.
        version: Version,
    },
    /// Point an alias to a version.
    SetAlias {
        /// The alias.
        alias: AliasName,
        /// The version.
        version: Version,
    },
    /// Remove an alias.
    RemoveAlias {
        /// The alias.
        alias: AliasName,
    },
    /// Change tags of the model or of a version.
    ChangeTags {
        /// The version; none means the model.
        version: Option<Version>,
        /// Tags to add or replace.
        set: Tags,
        /// Keys to remove.
        remove: Vec<Key>,
    },
    /// Change the description of the model or of a version.
    Describe {
        /// The version; none means the model.
        version: Option<Version>,
        /// The new description; none removes it.
        description: Option<Text>,
    },
    /// Add or correct metadata, metrics and deployment figures of a version, and add links.
    Amend {
        /// The version.
        version: Version,
        /// Metadata to add or replace.
        metadata: Box<Metadata>,
        /// Metrics to add or replace.
        metrics: BTreeMap<Key, Metric>,
        /// Deployment figures to add or replace.
        deployment: Box<Deployment>,
        /// What it was made with or out of, and evaluations, to add.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        links: Vec<Link>,
    },
    /// Change a rule of the model, or in the stream `registry` of all models.
    ChangePolicy {
        /// The change.
        change: PolicyChange,
    },
    /// Begin a trial of a version.
    StartTrial {
        /// The version that is tried. It must be in staging.
        treatment: Version,
        /// The version that it is compared with; none means the one in production.
        control: Option<Version>,
        /// How.
        plan: Box<TrialPlan>,
    },
    /// Add numbers to the trial of a version that runs.
    ObserveTrial {
        /// The version that is tried.
        treatment: Version,
        /// The numbers of one batch, of one arm or of both.
        observed: Tally,
    },
    /// Conclude the trial of a version that runs, or take one of its planned looks.
    ConcludeTrial {
        /// The version that is tried.
        treatment: Version,
    },
    /// End the trial of a version that runs, without a verdict.
    AbortTrial {
        /// The version that is tried.
        treatment: Version,
    },
    /// Take note that another registry registered a version that comes from this one.
    NoteCopy(Copied),
    /// Begin a training run.
    StartRun(Box<RunStarted>),
    /// Write down what a run says: parameters, values, files.
    LogRun {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// What it says.
        log: Box<RunLog>,
    },
    /// Say that a run is alive though it has nothing to say.
    ContinueRun {
        /// The run, by the revision at which it was started.
        run: Revision,
    },
    /// Take note that a version came out of a run.
    NoteVersion {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The version.
        version: ModelVersion,
        /// The identity of its content.
        digest: Digest,
    },
    /// End a run.
    EndRun {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// How it went.
        outcome: RunOutcome,
    },
    /// Take what others changed past the registry into the record.
    Adopt(Adoption),
}

impl Command {
    /// The verb, as it is shown to people.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Register { .. } => "register",
            Command::Promote { .. } => "promote",
            Command::Approve { .. } => "approve",
            Command::Reject { .. } => "reject",
            Command::Withdraw { .. } => "withdraw",
            Command::Rollback { .. } => "roll back",
            Command::RollBackBroken { .. } => "roll back for a broken rule",
            Command::ReportHealth { .. } => "report health",
            Command::LiftQuarantine { .. } => "lift quarantine",
            Command::Deprecate { .. } => "deprecate",
            Command::LiftDeprecation { .. } => "lift deprecation",
            Command::Delete { .. } => "delete",
            Command::Undelete { .. } => "undelete",
            Command::SetAlias { .. } => "set alias",
            Command::RemoveAlias { .. } => "remove alias",
            Command::ChangeTags { .. } => "change tags",
            Command::Describe { .. } => "describe",
            Command::Amend { .. } => "amend",
            Command::ChangePolicy { .. } => "change policy",
            Command::StartTrial { .. } => "start trial",
            Command::ObserveTrial { .. } => "observe trial",
            Command::ConcludeTrial { .. } => "conclude trial",
            Command::AbortTrial { .. } => "abort trial",
            Command::NoteCopy(_) => "note copy",
            Command::StartRun(_) => "start run",
            Command::LogRun { .. } => "log run",
            Command::ContinueRun { .. } => "continue run",
            Command::NoteVersion { .. } => "note version",
            Command::EndRun { .. } => "end run",
            Command::Adopt(_) => "adopt",
        }
    }
}
