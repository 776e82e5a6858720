//! Why this exists: this is the fold. [`ModelState`] is what a log means, and [`ModelState::apply`]
//! is the only code that gives an event its meaning. Applying cannot fail: history is history, and
//! a rule that is stricter today must not make yesterday unreadable.
//!
//! The collections are persistent (they share structure), so that a snapshot handed to a reader
//! costs a few reference counts however many versions there are, and a writer never waits for it.
//!
//! A state may be **partial**: loaded from a small checkpoint that leaves out most versions. Then
//! a version that is missing may still exist; [`ModelState::version`] says so instead of guessing,
//! and the engine loads the whole state.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync, VectorSync};
use serde::{Deserialize, Serialize};

use crate::content::{Artifact, Content, Tags};
use crate::digest::Digest;
use crate::event::{
    Adopted, Commit, Copied, Decision, Event, Numbering, Origin, PromotionRequested, RollbackSafety,
    StageCause, StageChanged,
};
use crate::experiment::RunState;
use crate::name::{Actor, AliasName, EnvironmentName, RequestId, Text};
use crate::policy::Policy;
use crate::stage::Stage;
use crate::stream::Revision;
use crate::time::Timestamp;
use crate::trial::{CONCLUDED_MAX, ConcludedTrial, Judgement, Tally, Trial};
use crate::version::Version;

/// When something happened, and who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The commit.
    pub revision: Revision,
    /// Its time.
    pub at: Timestamp,
    /// Its author.
    pub actor: Actor,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last revision.
    pub revision: Revision,
    /// The digest of that commit.
    pub digest: Digest,
    /// Its time.
    pub time: Timestamp,
}

/// A version and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionState {
    /// The version.
    pub version: Version,
    /// The identity of its content.
    pub digest: Digest,
    /// What was registered, with later amendments.
    pub content: Arc<Content>,
    /// The evidence for the version number.
    pub numbering: Arc<Numbering>,
    /// When it was registered, and by whom.
    pub registered: Stamp,
    /// The last change of any kind.
    pub updated: Stamp,
    /// Its stage.
    pub stage: Stage,
    /// When it entered the stage, and through whom.
    pub staged: Stamp,
    /// Whether going back from it is safe, as found when it entered production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_safety: Option<Arc<RollbackSafety>>,
    /// Set while it is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Box<Deprecation>>,
    /// Set while it is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Box<Stamp>>,
    /// Set while it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Box<Stamp>>,
    /// The registries that it came through, the one it was copied from first.
    #[serde(default, skip_serializing_if = "<[Origin]>::is_empty")]
    pub origins: Arc<[Origin]>,
    /// The registries that it was copied to, by their names, as of the last copy to each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<EnvironmentName, Copied>,
}

impl VersionState {
    /// Whether it may be `latest`: a release that is not deprecated, quarantined or deleted.
    pub fn is_latest_candidate(&self, with_prereleases: bool) -> bool {
        (with_prereleases || !self.version.is_prerelease())
            && self.deprecated.is_none()
            && self.quarantined.is_none()
            && self.deleted.is_none()
    }
}

/// See [`VersionState::deprecated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deprecation {
    /// When, who and why.
    pub since: Stamp,
    /// What to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Version>,
    /// After this instant the version cannot be promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_life: Option<Timestamp>,
}

/// A stretch of time during which a version was in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductionSpan {
    /// The version.
    pub version: Version,
    /// How it began.
    pub since: Stamp,
    /// When it ended; none while it lasts. The instant itself is no longer part of it.
    pub until: Option<Timestamp>,
}

/// A promotion that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// When it was made, and by whom. Its revision is the request's name.
    pub requested: Stamp,
    /// What was asked for.
    pub promotion: PromotionRequested,
    /// What was said of it; one decision a person.
    pub decisions: Vec<Decision>,
}

impl ApprovalRequest {
    /// Whether its time has run out at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.promotion.expires_at.is_some_and(|end| end < now)
    }

    /// Those who approved it.
    pub fn approvals(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.approved)
    }

    /// Those who objected.
    pub fn objections(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| !decision.approved)
    }
}

/// The request that a commit fulfilled, for finding one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fulfilled {
    /// The commit.
    pub revision: Revision,
    /// The digest of the request.
    pub digest: Digest,
}

/// What a log means: the state of a model after its last commit.
///
/// The stream `registry` folds into the same type and uses only `policy`; that of an experiment uses only its runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelState {
    /// The end of the log; none if nothing was ever committed.
    pub head: Option<Head>,
    /// The first commit.
    pub created: Option<Stamp>,
    /// What the model is, for people.
    pub description: Option<Text>,
    /// Labels of the model as a whole.
    pub tags: Tags,
    /// The rules of the model.
    pub policy: Arc<Policy>,
    /// The version in production.
    pub production: Option<Version>,
    /// The version registered last, whatever its number.
    pub newest: Option<Version>,
    /// Where aliases point.
    pub aliases: BTreeMap<AliasName, Version>,
    /// Promotions that wait for approval, by the revision of the request.
    pub requests: BTreeMap<Revision, Arc<ApprovalRequest>>,
    /// Trials that run, by the revision at which they were started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trials: BTreeMap<Revision, Arc<Trial>>,
    /// How many versions were ever registered.
    pub version_count: u64,
    pub(crate) staging: RedBlackTreeSetSync<Version>,
    pub(crate) versions: RedBlackTreeMapSync<Version, Arc<VersionState>>,
    pub(crate) spans: VectorSync<ProductionSpan>,
    pub(crate) fulfilled: HashTrieMapSync<RequestId, Fulfilled>,
    #[serde(default, skip_serializing_if = "RedBlackTreeMapSync::is_empty")]
    pub(crate) runs: RedBlackTreeMapSync<Revision, Arc<RunState>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) concluded: BTreeMap<Version, Arc<ConcludedTrial>>,
    /// Whether versions, spans, fulfilled requests, runs and concluded trials were left out.
    pub(crate) partial: bool,
}

/// The state is partial, and the answer lies in what was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut;

impl ModelState {
    /// The state before the first commit.
    pub fn new() -> Self {
        ModelState::default()
    }

    /// The state after these commits, which must begin with the first and leave none out.
    pub fn replay<'a>(commits: impl IntoIterator<Item = (&'a Commit, Digest)>) -> Self {
        let mut state = ModelState::new();
        for (commit, digest) in commits {
            state.apply(commit, digest);
        }
        state
    }

    /// Adds a commit. Infallible: a commit in the log is a fact.
    pub fn apply(&mut self, commit: &Commit, digest: Digest) {
        let stamp = Stamp {
            revision: commit.revision,
            at: commit.time,
            actor: commit.actor.clone(),
            reason: commit.reason.clone(),
        };
        for event in &commit.events {
            self.apply_event(event, &stamp);
        }
        self.created.get_or_insert(stamp);
        self.head = Some(Head { revision: commit.revision, digest, time: commit.time });
        self.fulfilled.insert_mut(
            commit.request_id.clone(),
            Fulfilled { revision: commit.revision, digest: commit.request_digest },
        );
    }

    /// The state as it would be after these events, which are in no log.
    pub(crate) fn overlaid(&self, events: &[Event], now: Timestamp, actor: &Actor) -> Self {
        let revision = Revision::after(self.revision());
        let stamp = Stamp { revision, at: now, actor: actor.clone(), reason: None };
        let mut state = self.clone();
        for event in events {
            state.apply_event(event, &stamp);
        }
        state.created.get_or_insert(stamp);
        state
    }

    fn apply_event(&mut self, event: &Event, stamp: &Stamp) {
        match event {
            Event::VersionRegistered(registered) => {
                self.version_count = self.version_count.saturating_add(1);
                self.newest = Some(registered.version.clone());
                let state = VersionState {
                    version: registered.version.clone(),
                    digest: registered.digest,
                    content: Arc::new(registered.content.clone()),
                    numbering: Arc::new(registered.numbering.clone()),
                    registered: stamp.clone(),
                    updated: stamp.clone(),
                    stage: Stage::Development,
                    staged: stamp.clone(),
                    rollback_safety: None,
                    deprecated: None,
                    quarantined: None,
                    deleted: None,
                    origins: registered.origins.as_slice().into(),
                    copies: BTreeMap::new(),
                };
                self.versions.insert_mut(registered.version.clone(), Arc::new(state));
            }
            Event::StageChanged(change) => self.apply_stage_change(change, stamp),
            Event::PromotionRequested(promotion) => {
                let request = ApprovalRequest {
                    requested: stamp.clone(),
                    promotion: (**promotion).clone(),
                    decisions: Vec::new(),
                };
                self.requests.insert(stamp.revision, Arc::new(request));
            }
            Event::PromotionApproved { request, meaning, comment } => {
                self.decide(*request, true, meaning, comment, stamp);
            }
            Event::PromotionRejected { request, comment } => {
                self.decide(*request, false, &None, comment, stamp);
            }
            Event::DecisionWithdrawn { request } => {
                if let Some(request) = self.requests.get_mut(request) {
                    Arc::make_mut(request).decisions.retain(|decision| decision.actor != stamp.actor);
                }
            }
            Event::PromotionClosed { request, .. } => {
                self.requests.remove(request);
            }
            Event::ApprovalRefused { .. }
            | Event::ApprovalOverridden { .. }
            | Event::GatesOverridden { .. }
            | Event::RolledBack(_)
            // Health is read from its log, a stretch of time at once.
            | Event::HealthReported { .. } => {}
            Event::TrialStarted(started) => {
                let trial = Trial {
                    started: stamp.clone(),
                    treatment: started.treatment.clone(),
                    control: started.control.clone(),
                    plan: started.plan.clone(),
                    tally: Tally::empty(started.plan.measure.kind),
                    looks_taken: 0,
                };
                self.trials.insert(stamp.revision, Arc::new(trial));
            }
            Event::TrialObserved { trial, observed } => {
                if let Some(trial) = self.trials.get_mut(trial) {
                    let trial = Arc::make_mut(trial);
                    // The rules let nothing into the log that cannot be added.
                    trial.tally = trial.tally.merge(observed).unwrap_or(trial.tally);
                }
            }
            Event::TrialLooked { trial, .. } => {
                if let Some(trial) = self.trials.get_mut(trial) {
                    let trial = Arc::make_mut(trial);
                    trial.looks_taken = trial.looks_taken.saturating_add(1);
                }
            }
            Event::TrialConcluded { trial, judgement } => self.conclude(*trial, judgement, stamp),
            Event::TrialAborted { trial, .. } => {
                self.trials.remove(trial);
            }
            Event::Quarantined { version } => {
                self.change_version(version, stamp, |state| state.quarantined = Some(Box::new(stamp.clone())));
            }
            Event::QuarantineLifted { version } => {
                self.change_version(version, stamp, |state| state.quarantined = None);
            }
            Event::Deprecated { version, superseded_by, end_of_life } => {
                self.change_version(version, stamp, |state| {
                    state.deprecated = Some(Box::new(Deprecation {
                        since: stamp.clone(),
                        superseded_by: superseded_by.clone(),
                        end_of_life: *end_of_life,
                    }));
                });
            }
            Event::DeprecationLifted { version } => {
                self.change_version(version, stamp, |state| state.deprecated = None);
            }
            Event::VersionDeleted { version } => {
                self.change_version(version, stamp, |state| state.deleted = Some(Box::new(stamp.clone())));
            }
            Event::VersionRestored { version } => {
                self.change_version(version, stamp, |state| state.deleted = None);
            }
            Event::AliasSet { alias, version, .. } => {
                self.aliases.insert(alias.clone(), version.clone());
            }
            Event::AliasRemoved { alias, .. } => {
                self.aliases.remove(alias);
            }
            Event::TagsChanged { version: None, set, removed } => {
                change_tags(&mut self.tags, set, removed);
            }
            Event::TagsChanged { version: Some(version), set, removed } => {
                self.change_version(version, stamp, |state| {
                    change_tags(&mut Arc::make_mut(&mut state.content).tags, set, removed);
                });
            }
            Event::DescriptionChanged { version: None, description } => {
                self.description.clone_from(description);
            }
            Event::DescriptionChanged { version: Some(version), description } => {
                self.change_version(version, stamp, |state| {
                    Arc::make_mut(&mut state.content).description.clone_from(description);
                });
            }
            Event::Amended(amended) => {
                self.change_version(&amended.version, stamp, |state| {
                    Arc::make_mut(&mut state.content).amend(amended);
                });
            }
            Event::PolicyChanged { change } => {
                Arc::make_mut(&mut self.policy).change(change);
            }
            Event::FilesFound(found) => {
                self.change_version(&found.version, stamp, |state| {
                    state.digest = found.digest;
                    Arc::make_mut(&mut state.content).artifacts = found.artifacts.clone();
                });
            }
            Event::Copied(copied) => {
                self.change_version(&copied.version, stamp, |state| {
                    state.copies.insert(copied.to.clone(), copied.clone());
                });
            }
            Event::Adopted(adopted) => self.apply_adopted(adopted, stamp),
            Event::RunStarted(started) => {
                self.runs.insert_mut(stamp.revision, Arc::new(RunState::begun(started, stamp)));
            }
            Event::RunParamsLogged { run, .. }
            | Event::RunMetricsLogged { run, .. }
            | Event::RunArtifactsNoted { run, .. }
            | Event::RunContinued { run }
            | Event::RunRegistered { run, .. }
            | Event::RunEnded { run, .. } => {
                // Missing only in a partial state, where it stays missing and is never answered for.
                if let Some(run) = self.runs.get_mut(run) {
                    Arc::make_mut(run).apply(event, stamp);
                }
            }
        }
    }

    /// What others did is theirs, and happened when they did it, as far as that is known. Stretches of time
    /// in production are dated by the commits, in whose order they lie.
    fn apply_adopted(&mut self, adopted: &Adopted, stamp: &Stamp) {
        let actor = adopted.by.as_ref().unwrap_or(&adopted.system).clone();
        let stamp = Stamp { actor, ..stamp.clone() };
        self.apply_event(&adopted.change, &stamp);
        let Some(at) = adopted.at.filter(|at| *at < stamp.at) else { return };
        match &adopted.change {
            Event::VersionRegistered(registered) => {
                self.change_version(&registered.version, &stamp, |state| {
                    state.registered.at = at;
                    state.staged.at = at;
                });
            }
            Event::StageChanged(change) => {
                self.change_version(&change.version, &stamp, |state| state.staged.at = at);
            }
            _ => {}
        }
    }

    fn apply_stage_change(&mut self, change: &StageChanged, stamp: &Stamp) {
        let StageChanged { version, from, to, cause, rollback_safety, gates: _ } = change;
        if *from == Stage::Production && self.production.as_ref() == Some(version) {
            self.production = None;
            self.end_span(stamp.at);
        }
        if *from == Stage::Staging {
            self.staging.remove_mut(version);
        }
        if *to == Stage::Production {
            self.production = Some(version.clone());
            self.end_span(stamp.at);
            self.spans.push_back_mut(ProductionSpan {
                version: version.clone(),
                since: stamp.clone(),
                until: None,
            });
        }
        if *to == Stage::Staging {
            self.staging.insert_mut(version.clone());
        }
        if let StageCause::Promotion { request: Some(request), .. } = cause {
            self.requests.remove(request);
        }
        self.change_version(version, stamp, |state| {
            state.stage = *to;
            state.staged = stamp.clone();
            if *to == Stage::Production {
                state.rollback_safety = rollback_safety.clone().map(Arc::new);
            }
        });
    }

    fn conclude(&mut self, trial: Revision, judgement: &Judgement, stamp: &Stamp) {
        let Some(trial) = self.trials.remove(&trial) else { return };
        let version = trial.treatment.version.clone();
        let concluded = ConcludedTrial {
            trial: Arc::unwrap_or_clone(trial),
            concluded: stamp.clone(),
            judgement: judgement.clone(),
        };
        self.concluded.insert(version, Arc::new(concluded));
        let oldest = || {
            let by_age = self.concluded.iter().min_by_key(|(_, trial)| trial.concluded.revision);
            by_age.map(|(version, _)| version.clone())
        };
        if CONCLUDED_MAX < self.concluded.len()
            && let Some(oldest) = oldest()
        {
            self.concluded.remove(&oldest);
        }
    }

    fn end_span(&mut self, at: Timestamp) {
        let Some(last) = self.spans.len().checked_sub(1) else { return };
        if let Some(span) = self.spans.get_mut(last) {
            span.until.get_or_insert(at);
        }
    }

    fn decide(
        &mut self,
        request: Revision,
        approved: bool,
        meaning: &Option<Text>,
        comment: &Option<Text>,
        stamp: &Stamp,
    ) {
        if let Some(request) = self.requests.get_mut(&request) {
            let request = Arc::make_mut(request);
            request.decisions.retain(|decision| decision.actor != stamp.actor);
            request.decisions.push(Decision {
                actor: stamp.actor.clone(),
                approved,
                at: stamp.at,
                meaning: meaning.clone(),
                comment: comment.clone(),
            });
        }
    }

    fn change_version(&mut self, version: &Version, stamp: &Stamp, change: impl FnOnce(&mut VersionState)) {
        // Missing only in a partial state, where it stays missing and is never answered for.
        if let Some(state) = self.versions.get_mut(version) {
            let state = Arc::make_mut(state);
            change(state);
            state.updated = stamp.clone();
        }
    }
}

fn change_tags(tags: &mut Tags, set: &Tags, removed: &[crate::name::Key]) {
    for key in removed {
        tags.remove(key);
    }
    tags.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
}

/// Reading. Everything a rule or a caller may ask of a state.
impl ModelState {
    /// Whether anything was ever committed, or others registered something past the registry.
    pub fn exists(&self) -> bool {
        self.created.is_some()
    }

    /// Whether some of its versions were left out because nobody asked for them.
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// The last revision.
    pub fn revision(&self) -> Option<Revision> {
        self.head.map(|head| head.revision)
    }

    /// A version, also if it is deleted.
    pub fn version(&self, version: &Version) -> Option<&Arc<VersionState>> {
        self.versions.get(version)
    }

    /// All versions in ascending order, deleted ones included.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &Arc<VersionState>> {
        self.versions.values()
    }

    /// The versions up to this one, itself included if it is there, in ascending order.
    pub(crate) fn versions_up_to(
        &self,
        last: &Version,
    ) -> impl DoubleEndedIterator<Item = &Arc<VersionState>> {
        self.versions.range(..=last.clone()).map(|(_, state)| state)
    }

    /// The versions in staging that are not deleted, in ascending order.
    pub fn staging(&self) -> impl Iterator<Item = &Version> {
        let is_deleted =
            |version: &Version| self.version(version).is_some_and(|found| found.deleted.is_some());
        self.staging.iter().filter(move |version| !is_deleted(version))
    }

    /// The highest version by precedence that is released, not deprecated, quarantined or deleted.
    pub fn latest(&self, with_prereleases: bool) -> Option<&Arc<VersionState>> {
        self.versions.values().rev().find(|state| state.is_latest_candidate(with_prereleases))
    }

    /// The stretches of time during which versions were in production, oldest first.
    pub fn production_spans(&self) -> impl DoubleEndedIterator<Item = &ProductionSpan> {
        self.spans.iter()
    }

    /// What was in production at `instant`, and since when.
    pub fn production_at(&self, instant: Timestamp) -> Option<&ProductionSpan> {
        let (mut low, mut high) = (0, self.spans.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.spans.get(middle) {
                Some(span) if span.since.at <= instant => low = middle + 1,
                _ => high = middle,
            }
        }
        let span = self.spans.get(low.checked_sub(1)?)?;
        span.until.is_none_or(|until| instant < until).then_some(span)
    }

    /// The versions that were in production before the present one, the last one first, each once.
    pub fn previous_in_production(&self) -> impl Iterator<Item = &Version> {
        let mut seen = std::collections::BTreeSet::new();
        let present = self.production.as_ref();
        self.spans
            .iter()
            .rev()
            .map(|span| &span.version)
            .filter(move |version| Some(*version) != present && seen.insert(*version))
    }

    /// The trial of this version that runs.
    pub fn running_trial(&self, treatment: &Version) -> Option<(Revision, &Arc<Trial>)> {
        let found = self.trials.iter().find(|(_, trial)| trial.treatment.version == *treatment);
        found.map(|(revision, trial)| (*revision, trial))
    }

    /// The last trial of this version that was concluded. Those of the [`CONCLUDED_MAX`] versions whose trials were
    /// concluded last are kept; the log has all of them.
    pub fn concluded_trial(&self, treatment: &Version) -> Option<&Arc<ConcludedTrial>> {
        self.concluded.get(treatment)
    }

    /// The last concluded trials, one a version, by version.
    pub fn concluded_trials(&self) -> impl Iterator<Item = &Arc<ConcludedTrial>> {
        self.concluded.values()
    }

    /// The training runs of an experiment, by the revision at which they were started.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (Revision, &Arc<RunState>)> {
        self.runs.iter().map(|(run, state)| (*run, state))
    }

    /// A training run, by the revision at which it was started.
    pub fn run(&self, run: Revision) -> Option<&Arc<RunState>> {
        self.runs.get(&run)
    }

    /// The files whose bytes are needed though no version need have them: those of runs.
    pub(crate) fn run_artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.runs.values().flat_map(|run| run.artifacts.values())
    }

    /// The commit that fulfilled a request.
    pub fn fulfilled(&self, request: &RequestId) -> Option<Fulfilled> {
        self.fulfilled.get(request).copied()
    }
}
