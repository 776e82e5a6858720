//! Why this exists: events are the only truth. Everything the registry knows is a fold of them, so
//! their shape is a file format: fields may be added with a default, never renamed, removed or
//! given another meaning. `docs/log-format.md` shows a worked record, and golden files in the tests
//! hold one record of every kind.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::compat::{Comparison, Finding};
use crate::content::{Content, Deployment, Manifest, Metadata, Metric, Tags};
use crate::digest::Digest;
use crate::experiment::{MetricPoint, ParamValue, RunOutcome, RunStarted};
use crate::gate::GateResult;
use crate::lineage::Link;
use crate::monitor::{Breach, Summary};
use crate::name::{Actor, AliasName, EnvironmentName, Key, ModelName, ModelVersion, RequestId, Text};
use crate::policy::{ApprovalRule, PolicyChange};
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::stream::{Revision, Stream};
use crate::time::Timestamp;
use crate::trial::{Arm, Judgement, Tally, TrialPlan};
use crate::version::{Bump, Version};

/// The newest format of commits that this library writes and reads.
pub const FORMAT: u32 = 1;

/// An atomic batch of events with its author and its link to the commit before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The format this commit is written in.
    pub format: u32,
    /// The log it belongs to.
    pub stream: Stream,
    /// Its place in the log.
    pub revision: Revision,
    /// The digest of the commit before it; none for the first.
    pub previous: Option<Digest>,
    /// When it was made; later than the commit before it.
    pub time: Timestamp,
    /// Who made it.
    pub actor: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The identity of the request that it fulfils.
    pub request_id: RequestId,
    /// The digest of that request, by which a reused id is told from a repeated request.
    pub request_digest: Digest,
    /// What happened. Never empty.
    pub events: Vec<Event>,
}

/// Something that happened to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A version came into being, in `development`.
    VersionRegistered(Box<VersionRegistered>),
    /// A version moved to another stage.
    StageChanged(Box<StageChanged>),
    /// A promotion was asked for and waits for approval. Known by the revision of its commit.
    PromotionRequested(Box<PromotionRequested>),
    /// The actor agreed to a promotion.
    PromotionApproved {
        /// The request, by the revision at which it was made.
        request: Revision,
        /// What the approval means, in the sense of 21 CFR 11.50, for example `validation`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meaning: Option<Text>,
        /// A remark.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<Text>,
    },
    /// The actor objected to a promotion, which blocks it until the objection is withdrawn.
    PromotionRejected {
        /// The request, by the revision at which it was made.
        request: Revision,
        /// A remark.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<Text>,
    },
    /// The actor tried to approve a promotion, and may not. It changes nothing but the record.
    ApprovalRefused {
        /// The request, by the revision at which it was made.
        request: Revision,
        /// Why not.
        cause: RefusedCause,
    },
    /// The actor took back the own approval or rejection.
    DecisionWithdrawn {
        /// The request, by the revision at which it was made.
        request: Revision,
    },
    /// A request for promotion is no longer open, for another reason than completion.
    PromotionClosed {
        /// The request, by the revision at which it was made.
        request: Revision,
        /// Why it was closed.
        cause: ClosedCause,
    },
    /// Approval was demanded and bypassed in an emergency; the commit's reason says why.
    ApprovalOverridden {
        /// The version promoted without approval.
        version: Version,
        /// The stage it entered.
        to: Stage,
        /// The rule that was bypassed.
        rule: ApprovalRule,
    },
    /// A version did not pass all gates of a stage and entered it in an emergency; the commit's reason says why.
    GatesOverridden {
        /// The version.
        version: Version,
        /// The stage it entered.
        to: Stage,
        /// The gates that it did not pass, with what was found.
        failed: Vec<GateResult>,
    },
    /// A trial of a version began. Known by the revision of its commit.
    TrialStarted(Box<TrialStarted>),
    /// Numbers of a trial came in.
    TrialObserved {
        /// The trial, by the revision at which it was started.
        trial: Revision,
        /// The numbers.
        observed: Tally,
    },
    /// A trial was looked at before its planned end, as planned, decided nothing, and goes on.
    TrialLooked {
        /// The trial, by the revision at which it was started.
        trial: Revision,
        /// What was seen.
        judgement: Box<Judgement>,
    },
    /// A trial was concluded.
    TrialConcluded {
        /// The trial, by the revision at which it was started.
        trial: Revision,
        /// What came of it.
        judgement: Box<Judgement>,
    },
    /// A trial ended without a verdict.
    TrialAborted {
        /// The trial, by the revision at which it was started.
        trial: Revision,
        /// Why.
        cause: AbortCause,
    },
    /// Production went back to an earlier version.
    RolledBack(Box<RolledBack>),
    /// A version must not be promoted until the quarantine is lifted.
    Quarantined {
        /// The version.
        version: Version,
    },
    /// A version may be promoted again.
    QuarantineLifted {
        /// The version.
        version: Version,
    },
    /// A version should no longer be used.
    Deprecated {
        /// The version.
        version: Version,
        /// What to use instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        superseded_by: Option<Version>,
        /// After this instant the version cannot be promoted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_of_life: Option<Timestamp>,
    },
    /// A version may be used again.
    DeprecationLifted {
        /// The version.
        version: Version,
    },
    /// A version was hidden; its bytes may be collected after the grace period.
    VersionDeleted {
        /// The version.
        version: Version,
    },
    /// A deleted version was taken back.
    VersionRestored {
        /// The version.
        version: Version,
    },
    /// An alias points to a version.
    AliasSet {
        /// The alias.
        alias: AliasName,
        /// Where it points now.
        version: Version,
        /// Where it pointed before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Version>,
    },
    /// An alias is gone.
    AliasRemoved {
        /// The alias.
        alias: AliasName,
        /// Where it pointed.
        previous: Version,
    },
    /// Tags of the model or of a version changed.
    TagsChanged {
        /// The version; none means the model itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        /// Tags added or replaced.
        #[serde(default, skip_serializing_if = "Tags::is_empty")]
        set: Tags,
        /// Keys removed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<Key>,
    },
    /// The description of the model or of a version changed.
    DescriptionChanged {
        /// The version; none means the model itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        /// The new description; none removes it.
        description: Option<Text>,
    },
    /// Metadata, metrics, deployment figures or links of a version were added, the former also corrected.
    Amended(Box<Amended>),
    /// What was observed while versions served, summed up. In streams of the kind `health` only.
    HealthReported {
        /// One for each version, metric and place.
        summaries: Vec<Summary>,
    },
    /// A training run began. Known by the revision of its commit. This and what follows of runs is in streams of the
    /// kind `experiment` only.
    RunStarted(Box<RunStarted>),
    /// Parameters of a run became known. Each is set once.
    RunParamsLogged {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The parameters.
        params: BTreeMap<Key, ParamValue>,
    },
    /// Values were measured in a run.
    RunMetricsLogged {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The values, in the order in which they were measured.
        points: Vec<MetricPoint>,
    },
    /// A run put files into the store.
    RunArtifactsNoted {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The files.
        artifacts: Manifest,
    },
    /// A run had nothing to say and is alive.
    RunContinued {
        /// The run, by the revision at which it was started.
        run: Revision,
    },
    /// A version came out of a run.
    RunRegistered {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The version.
        version: ModelVersion,
        /// The identity of its content.
        digest: Digest,
    },
    /// A run is over.
    RunEnded {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// How it went.
        outcome: RunOutcome,
    },
    /// A rule changed.
    PolicyChanged {
        /// The change.
        change: PolicyChange,
    },
    /// The files of a version became known, which was adopted without them.
    FilesFound(Box<FilesFound>),
    /// A version was registered in another registry, with this one as its origin.
    Copied(Copied),
    /// Others changed the model past the registry, in a system that it shares its models with; the change
    /// was seen there and taken into the record.
    Adopted(Box<Adopted>),
}

/// See [`Event::VersionRegistered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRegistered {
    /// The version.
    pub version: Version,
    /// The identity of its content.
    pub digest: Digest,
    /// What was registered.
    pub content: Content,
    /// How the version number was found to be right.
    pub numbering: Numbering,
    /// The registries that it came through, if it comes from another one: the one it was copied from
    /// first, the one that that had it from next, and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
}

/// Where a version was before, and what was found there: the evidence that comes with it from another
/// registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What that registry is called.
    pub environment: EnvironmentName,
    /// The model there.
    pub model: ModelName,
    /// The version there.
    pub version: Version,
    /// The commit there that registered it.
    pub revision: Revision,
    /// The digest of that commit, by which the log there can be held to what is said here.
    pub commit: Digest,
    /// Who registered it there.
    pub registered_by: Actor,
    /// The moves there that people approved, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<ApprovedMove>,
}

/// A move to another stage that people approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedMove {
    /// The commit that moved it.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Where it was.
    pub from: Stage,
    /// Where it went.
    pub to: Stage,
    /// Those who approved it.
    pub approvals: Vec<Decision>,
}

/// See [`Event::Copied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The version.
    pub version: Version,
    /// What the other registry is called.
    pub to: EnvironmentName,
    /// The commit there that registered it.
    pub revision: Revision,
    /// The digest of that commit.
    pub commit: Digest,
}

/// The evidence for a version number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Numbering {
    /// The version it was compared with; none for a first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Version>,
    /// The smallest bump that the findings allow; none if it could not be told because a
    /// signature is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Bump>,
    /// What differs from the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Why a smaller bump than required was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Text>,
}

impl Numbering {
    /// The comparison with the baseline, which can be shown as text, as Markdown and as JSON; none for a
    /// first version.
    pub fn comparison(&self) -> Option<Comparison> {
        self.baseline.as_ref().map(|_| Comparison {
            findings: self.findings.clone(),
            signature_unknown: self.required.is_none(),
        })
    }
}

/// See [`Event::StageChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageChanged {
    /// The version.
    pub version: Version,
    /// Where it was.
    pub from: Stage,
    /// Where it is.
    pub to: Stage,
    /// Why it moved.
    pub cause: StageCause,
    /// For a move into production: whether going back would break clients of the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_safety: Option<RollbackSafety>,
    /// The gates of the stage, and what they found: the evidence that the version may be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
}

/// See [`Event::TrialStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStarted {
    /// The version that is tried.
    pub treatment: Arm,
    /// The version that it is compared with.
    pub control: Arm,
    /// How.
    pub plan: TrialPlan,
}

/// Why a trial ended without a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbortCause {
    /// Somebody ended it; the commit's reason says why.
    Requested,
    /// One of its versions moved to another stage, was deleted, or is no longer what was tried.
    Displaced {
        /// The version.
        version: Version,
    },
}

/// Why a version moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageCause {
    /// It was promoted, or moved back, by a command.
    Promotion {
        /// The request that was approved, if approval was demanded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Revision>,
        /// Those who approved it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<Decision>,
    },
    /// Another version took its place in production.
    Superseded {
        /// The other version.
        by: Version,
    },
    /// It was taken out of production by a rollback.
    RolledBack {
        /// The version that took its place.
        to: Version,
    },
    /// It was put back into production by a rollback.
    Rollback {
        /// The version whose place it took.
        from: Version,
    },
    /// It was moved past the registry, in a system that the registry shares its models with.
    Foreign,
}

/// Whether going back to the version that was in production before would break clients that have
/// adapted to the new one. Computed at promotion, so that nobody is surprised at night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackSafety {
    /// The version one would go back to.
    pub to: Version,
    /// Safe or not; none if a signature is missing.
    pub safe: Option<bool>,
    /// What clients of the new version would meet on going back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// See [`Event::PromotionRequested`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionRequested {
    /// The version.
    pub version: Version,
    /// The identity of its content, to which approvals are bound.
    pub digest: Digest,
    /// Where it was when the request was made.
    pub from: Stage,
    /// Where it shall go.
    pub to: Stage,
    /// The rule that must be fulfilled.
    pub rule: ApprovalRule,
    /// Whether the caller asked for approval although no policy demands it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_choice: bool,
    /// When the request lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What one person said of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who.
    pub actor: Actor,
    /// Whether it was an approval.
    pub approved: bool,
    /// When.
    pub at: Timestamp,
    /// What the approval means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Text>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text>,
}

/// Why a request was closed without completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClosedCause {
    /// The requester withdrew it.
    Withdrawn,
    /// Its time ran out.
    Expired,
    /// The rule it was made under changed, or the version moved by other means.
    Void,
}

/// Why somebody may not approve a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusedCause {
    /// The rule names those who may, and the actor is not among them.
    NotAnApprover {
        /// Those who may.
        approvers: BTreeSet<Actor>,
    },
    /// The actor registered the version, and the rule wants somebody else.
    Registrant,
    /// The actor asked for the promotion, and the rule wants somebody else.
    Requester,
}

impl RefusedCause {
    /// The refusal as whoever tried was told it.
    pub fn rejection(&self, actor: &Actor) -> Rejection {
        let actor = actor.clone();
        match self {
            RefusedCause::NotAnApprover { approvers } => {
                Rejection::NotAnApprover { actor, approvers: approvers.iter().cloned().collect() }
            }
            RefusedCause::Registrant => Rejection::SelfApproval { actor, role: "registered the version" },
            RefusedCause::Requester => Rejection::SelfApproval { actor, role: "asked for the promotion" },
        }
    }
}

/// See [`Event::RolledBack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The version that was in production.
    pub from: Version,
    /// The version that is in production now.
    pub to: Version,
    /// What clients of `from` meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Whether it was forced although clients break.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Earlier versions that were passed over because their bytes did not verify, with what was wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<(Version, String)>,
    /// The rule that was broken and the evidence for it, if it was rolled back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_rule: Option<Box<BrokenRule>>,
}

/// See [`RolledBack::broken_rule`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenRule {
    /// The name of the rule.
    pub name: Key,
    /// What it said, what was measured, and why that breaks it.
    pub breach: Breach,
}

/// See [`Event::FilesFound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesFound {
    /// The version.
    pub version: Version,
    /// The identity of its content from now on.
    pub digest: Digest,
    /// Its files.
    pub artifacts: Manifest,
}

/// See [`Event::Adopted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The system in which it was changed, such as `mlflow`.
    pub system: Actor,
    /// Who changed it, as far as that system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// When, as far as that system knows. The commit's time is that of its adoption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What it means here.
    pub change: Event,
}

/// See [`Event::Amended`]. Only the fields that are set replace what was there; maps are merged
/// key by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amended {
    /// The version.
    pub version: Version,
    /// Metadata to add or replace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,
    /// Metrics to add or replace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics: BTreeMap<Key, Metric>,
    /// Deployment figures to add or replace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deployment: Deployment,
    /// What it was made with or out of, and evaluations: added to what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Commit {
    /// What the caller was told, if this commit puts on record that somebody tried what they may not.
    pub fn refusal(&self) -> Option<Rejection> {
        self.events.iter().find_map(|event| match event {
            Event::ApprovalRefused { cause, .. } => Some(cause.rejection(&self.actor)),
            _ => None,
        })
    }
}

impl Event {
    /// The stable name of the kind of event, as in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::VersionRegistered(_) => "version_registered",
            Event::StageChanged(_) => "stage_changed",
            Event::PromotionRequested(_) => "promotion_requested",
            Event::PromotionApproved { .. } => "promotion_approved",
            Event::PromotionRejected { .. } => "promotion_rejected",
            Event::ApprovalRefused { .. } => "approval_refused",
            Event::DecisionWithdrawn { .. } => "decision_withdrawn",
            Event::PromotionClosed { .. } => "promotion_closed",
            Event::ApprovalOverridden { .. } => "approval_overridden",
            Event::GatesOverridden { .. } => "gates_overridden",
            Event::TrialStarted(_) => "trial_started",
            Event::TrialObserved { .. } => "trial_observed",
            Event::TrialLooked { .. } => "trial_looked",
            Event::TrialConcluded { .. } => "trial_concluded",
            Event::TrialAborted { .. } => "trial_aborted",
            Event::RolledBack(_) => "rolled_back",
            Event::Quarantined { .. } => "quarantined",
            Event::QuarantineLifted { .. } => "quarantine_lifted",
            Event::Deprecated { .. } => "deprecated",
            Event::DeprecationLifted { .. } => "deprecation_lifted",
            Event::VersionDeleted { .. } => "version_deleted",
            Event::VersionRestored { .. } => "version_restored",
            Event::AliasSet { .. } => "alias_set",
            Event::AliasRemoved { .. } => "alias_removed",
            Event::TagsChanged { .. } => "tags_changed",
            Event::DescriptionChanged { .. } => "description_changed",
            Event::Amended(_) => "amended",
            Event::HealthReported { .. } => "health_reported",
            Event::RunStarted(_) => "run_started",
            Event::RunParamsLogged { .. } => "run_params_logged",
            Event::RunMetricsLogged { .. } => "run_metrics_logged",
            Event::RunArtifactsNoted { .. } => "run_artifacts_noted",
            Event::RunContinued { .. } => "run_continued",
            Event::RunRegistered { .. } => "run_registered",
            Event::RunEnded { .. } => "run_ended",
            Event::PolicyChanged { .. } => "policy_changed",
            Event::FilesFound(_) => "files_found",
            Event::Copied(_) => "copied",
            Event::Adopted(_) => "adopted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_baseline_rests_on_no_comparison() {
        assert_eq!(Numbering::default().comparison(), None);
        let baseline = Some(Version::new(1, 0, 0));
        let known =
            Numbering { baseline: baseline.clone(), required: Some(Bump::Patch), ..Numbering::default() };
        assert_eq!(known.comparison().unwrap().required_bump(), Some(Bump::Patch));
        let unknown = Numbering { baseline, ..Numbering::default() };
        assert_eq!(unknown.comparison().unwrap().required_bump(), None);
    }
}
