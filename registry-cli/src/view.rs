//! Why this exists: with `--json` this program is an interface for others, so the shapes are written
//! down here and nowhere else. Fields may be added, never renamed, removed or given another meaning.
//! What is absent is `null` or left out. Versions are written `v3.1.0`, instants in RFC 3339 with six
//! decimals, digests as `sha256:…`. Events, contents and policies have the shape they have in the log.
//!
//! | command | shape |
//! |---|---|
//! | `list` | `{"models": [`[`ModelRow`]`], "next": name or null}` |
//! | `info NAME` | [`ModelView`] |
//! | `info NAME SELECTOR`, `get` | [`VersionView`]; `get --output` adds `written` |
//! | verbs that write | [`Done`], with what the verb adds |
//! | `history`, `watch` | one [`CommitView`] a line |
//! | `search` | `{"matches": [`[`VersionView`]`], "next": cursor or null}` |
//! | `export`, `import` | `{"streams": …, "records": …, "blobs": …, "bytes": …, "records_written": …, "bytes_written": …}` |
//! | `trial show` | `{"model": name, "running": [trial], "concluded": [trial with its judgement]}` |
//! | `traffic` | `{"revision": …, "stages": {stage: [{"version": …, "share": 0.9, "trial": revision}]}}` |
//! | `docs` | `{"new": [path], "changed": [path], "unchanged": 3, "left_out": {path: [part]}, "is_check": false}`, one a line with `--watch` |
//! | `experiment list`, `list NAME` | `{"experiments": [{"experiment": …, "runs": 2, "last": run}], "next": name or null}`, `{"experiment": …, "runs": [run]}`, the last one first |
//! | `experiment show RUN` | the run as in the log's fold, with `status`, `is_lost`, `all_versions` and `environment`; with `--metric` a line for each value |
//! | `experiment start`, `log`, `artifact`, `finish`, `fail`, `abort` | [`Done`] with `run` |
//! | `experiment run` | `{"run": …, "outcome": {"kind": …}, "exit_code": …}` |
//! | failures, on the error output | `{"error": {"kind": …, "message": …}}`, and `gates` if gates were not passed |

use std::collections::BTreeMap;

use registry_core::event::{Copied, Decision, Numbering, Origin, RollbackSafety};
use registry_core::state::{ApprovalRequest, Deprecation, Stamp};
use registry_core::{
    Actor, AliasName, ApprovalRule, Content, Digest, EnvironmentName, Event, Found, ModelName, ModelState,
    Outcome, Policy, Receipt, Recorded, RequestId, Revision, Stage, Tags, Text, Timestamp, Trial, Version,
    VersionState,
};
use serde::Serialize;

/// How many versions that are not deleted are in each stage.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct StageCounts {
    pub(crate) development: u64,
    pub(crate) staging: u64,
    pub(crate) production: u64,
    pub(crate) archived: u64,
    pub(crate) deleted: u64,
}

impl StageCounts {
    fn of(state: &ModelState) -> Self {
        let mut counts = StageCounts::default();
        for version in state.versions() {
            let slot = match (&version.deleted, version.stage) {
                (Some(_), _) => &mut counts.deleted,
                (None, Stage::Development) => &mut counts.development,
                (None, Stage::Staging) => &mut counts.staging,
                (None, Stage::Production) => &mut counts.production,
                (None, Stage::Archived) => &mut counts.archived,
            };
            *slot += 1;
        }
        counts
    }
}

/// A model in a list.
#[derive(Debug, Serialize)]
pub(crate) struct ModelRow {
    pub(crate) model: ModelName,
    pub(crate) production: Option<Version>,
    pub(crate) latest: Option<Version>,
    pub(crate) versions: StageCounts,
    /// How many promotions wait for approval.
    pub(crate) awaiting_approval: usize,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) revision: Option<Revision>,
}

impl ModelRow {
    pub(crate) fn new(model: &ModelName, state: &ModelState) -> Self {
        ModelRow {
            model: model.clone(),
            production: state.production.clone(),
            latest: state.latest(false).map(|version| version.version.clone()),
            versions: StageCounts::of(state),
            awaiting_approval: state.requests.len(),
            updated: state.head.map(|head| head.time),
            revision: state.revision(),
        }
    }
}

/// The answer to `list`.
#[derive(Debug, Serialize)]
pub(crate) struct ModelRows {
    pub(crate) models: Vec<ModelRow>,
    /// Give it as `--after` to go on; null if this was all.
    pub(crate) next: Option<ModelName>,
}

/// A promotion that waits for approval.
#[derive(Debug, Serialize)]
pub(crate) struct RequestView {
    /// The name of the request: the revision at which it was made.
    pub(crate) request: Revision,
    pub(crate) version: Version,
    pub(crate) from: Stage,
    pub(crate) to: Stage,
    pub(crate) requested: Stamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) is_expired: bool,
    pub(crate) rule: ApprovalRule,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) approvals_missing: u32,
    /// Those named by the rule who have not decided and are not excluded; empty if the rule names
    /// nobody.
    pub(crate) may_approve: Vec<Actor>,
    /// What to type to approve it.
    pub(crate) approve_with: String,
}

impl RequestView {
    pub(crate) fn new(
        model: &ModelName,
        state: &ModelState,
        revision: Revision,
        request: &ApprovalRequest,
        now: Timestamp,
    ) -> Self {
        let promotion = &request.promotion;
        let rule = &promotion.rule;
        let registrant = state.version(&promotion.version).map(|version| &version.registered.actor);
        let is_excluded = |actor: &Actor| {
            (!rule.registrant_may_approve && registrant == Some(actor))
                || (!rule.requester_may_approve && request.requested.actor == *actor)
                || request.decisions.iter().any(|decision| decision.actor == *actor && decision.approved)
        };
        let approved = u32::try_from(request.approvals().count()).unwrap_or(u32::MAX);
        RequestView {
            request: revision,
            version: promotion.version.clone(),
            from: promotion.from,
            to: promotion.to,
            requested: request.requested.clone(),
            expires_at: promotion.expires_at,
            is_expired: request.is_expired(now),
            rule: rule.clone(),
            decisions: request.decisions.clone(),
            approvals_missing: rule.quorum.get().saturating_sub(approved),
            may_approve: rule.approvers.iter().filter(|actor| !is_excluded(actor)).cloned().collect(),
            approve_with: approve_with(model, &promotion.version, promotion.to),
        }
    }

    pub(crate) fn all(model: &ModelName, state: &ModelState, now: Timestamp) -> Vec<Self> {
        let view = |(revision, request): (&Revision, &std::sync::Arc<ApprovalRequest>)| {
            RequestView::new(model, state, *revision, request, now)
        };
        state.requests.iter().map(view).collect()
    }
}

/// What to type to approve a promotion.
pub(crate) fn approve_with(model: &ModelName, version: &Version, to: Stage) -> String {
    format!("registry approve {} {version} --to {to}", crate::output::quoted(model.as_str()))
}

/// A version in the list of its model.
#[derive(Debug, Serialize)]
pub(crate) struct VersionRow {
    pub(crate) version: Version,
    pub(crate) stage: Stage,
    pub(crate) registered: Stamp,
    pub(crate) is_deprecated: bool,
    pub(crate) is_quarantined: bool,
    pub(crate) is_deleted: bool,
}

impl VersionRow {
    pub(crate) fn new(version: &VersionState) -> Self {
        VersionRow {
            version: version.version.clone(),
            stage: version.stage,
            registered: version.registered.clone(),
            is_deprecated: version.deprecated.is_some(),
            is_quarantined: version.quarantined.is_some(),
            is_deleted: version.deleted.is_some(),
        }
    }
}

/// A model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelView {
    #[serde(flatten)]
    pub(crate) row: ModelRow,
    pub(crate) description: Option<Text>,
    pub(crate) tags: Tags,
    pub(crate) created: Option<Stamp>,
    pub(crate) production_since: Option<Stamp>,
    pub(crate) staging: Vec<Version>,
    pub(crate) newest: Option<Version>,
    pub(crate) aliases: BTreeMap<AliasName, Version>,
    pub(crate) requests: Vec<RequestView>,
    /// Those that run.
    pub(crate) trials: Vec<Trial>,
    pub(crate) policy: Policy,
    /// The highest first.
    pub(crate) all_versions: Vec<VersionRow>,
}

impl ModelView {
    pub(crate) fn new(model: &ModelName, state: &ModelState, now: Timestamp) -> Self {
        let open_span = state.production_spans().next_back().filter(|span| span.until.is_none());
        ModelView {
            row: ModelRow::new(model, state),
            description: state.description.clone(),
            tags: state.tags.clone(),
            created: state.created.clone(),
            production_since: open_span.map(|span| span.since.clone()),
            staging: state.staging().cloned().collect(),
            newest: state.newest.clone(),
            aliases: state.aliases.clone(),
            requests: RequestView::all(model, state, now),
            trials: state.trials.values().map(|trial| (**trial).clone()).collect(),
            policy: (*state.policy).clone(),
            all_versions: state.versions().rev().map(|version| VersionRow::new(version)).collect(),
        }
    }
}

/// A version.
#[derive(Debug, Serialize)]
pub(crate) struct VersionView<'a> {
    pub(crate) model: &'a ModelName,
    pub(crate) version: &'a Version,
    pub(crate) stage: Stage,
    pub(crate) digest: Digest,
    /// What a user of the version should know.
    pub(crate) warnings: Vec<String>,
    /// Filled by `info` only.
    pub(crate) aliases: Vec<AliasName>,
    pub(crate) registered: &'a Stamp,
    pub(crate) updated: &'a Stamp,
    /// Since when it is in its stage.
    pub(crate) staged: &'a Stamp,
    pub(crate) deprecated: Option<&'a Deprecation>,
    pub(crate) quarantined: Option<&'a Stamp>,
    pub(crate) deleted: Option<&'a Stamp>,
    pub(crate) rollback_safety: Option<&'a RollbackSafety>,
    pub(crate) numbering: &'a Numbering,
    pub(crate) content: &'a Content,
    /// The registries that it came through, the last one first.
    pub(crate) origins: &'a [Origin],
    /// The registries that it was copied to, by name.
    pub(crate) copies: &'a BTreeMap<EnvironmentName, Copied>,
    /// Filled by `info` only.
    pub(crate) requests: Vec<RequestView>,
    /// The files that `get --output` wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<Vec<String>>,
}

impl<'a> VersionView<'a> {
    pub(crate) fn new(model: &'a ModelName, version: &'a VersionState) -> Self {
        VersionView {
            model,
            version: &version.version,
            stage: version.stage,
            digest: version.digest,
            warnings: Vec::new(),
            aliases: Vec::new(),
            registered: &version.registered,
            updated: &version.updated,
            staged: &version.staged,
            deprecated: version.deprecated.as_deref(),
            quarantined: version.quarantined.as_deref(),
            deleted: version.deleted.as_deref(),
            rollback_safety: version.rollback_safety.as_deref(),
            numbering: &version.numbering,
            content: &version.content,
            origins: &version.origins,
            copies: &version.copies,
            requests: Vec::new(),
            written: None,
        }
    }

    pub(crate) fn found(found: &'a Found) -> Self {
        VersionView { warnings: found.warnings(), ..VersionView::new(&found.model, found.state()) }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeWord {
    /// It was done now.
    Committed,
    /// It was done earlier, under the same request id.
    Repeated,
    /// It was so already.
    Unchanged,
    /// It was only rehearsed.
    Rehearsed,
}

/// The answer to a verb that writes.
#[derive(Debug, Serialize)]
pub(crate) struct Done<'a, T: Serialize> {
    /// Null for the rules of all models.
    pub(crate) model: Option<&'a ModelName>,
    pub(crate) outcome: OutcomeWord,
    /// Null for a rehearsal, which leaves nothing behind to be found by it.
    pub(crate) request_id: Option<RequestId>,
    /// The commit; null if there is none.
    pub(crate) revision: Option<Revision>,
    /// What was recorded, or would be.
    pub(crate) events: &'a [Event],
    /// What the verb adds.
    #[serde(flatten)]
    pub(crate) more: T,
}

impl<'a, T: Serialize> Done<'a, T> {
    pub(crate) fn new(model: Option<&'a ModelName>, receipt: &'a Receipt, more: T) -> Self {
        Done {
            model,
            outcome: outcome(receipt),
            request_id: (outcome(receipt) != OutcomeWord::Rehearsed).then(|| receipt.request_id.clone()),
            revision: receipt.commit().map(|commit| commit.revision),
            events: receipt.events(),
            more,
        }
    }
}

fn outcome(receipt: &Receipt) -> OutcomeWord {
    match receipt.outcome {
        Outcome::Committed(_) => OutcomeWord::Committed,
        Outcome::Repeated(_) => OutcomeWord::Repeated,
        Outcome::Rehearsed(_) => OutcomeWord::Rehearsed,
        _ => OutcomeWord::Unchanged,
    }
}

/// Nothing is added.
#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

/// A commit.
#[derive(Debug, Serialize)]
pub(crate) struct CommitView<'a> {
    pub(crate) model: &'a ModelName,
    pub(crate) revision: Revision,
    pub(crate) time: Timestamp,
    pub(crate) actor: &'a Actor,
    pub(crate) reason: Option<&'a Text>,
    pub(crate) request_id: &'a RequestId,
    pub(crate) digest: Digest,
    pub(crate) events: &'a [Event],
}

impl<'a> CommitView<'a> {
    pub(crate) fn new(model: &'a ModelName, recorded: &'a Recorded) -> Self {
        let commit = &recorded.commit;
        CommitView {
            model,
            revision: commit.revision,
            time: commit.time,
            actor: &commit.actor,
            reason: commit.reason.as_ref(),
            request_id: &commit.request_id,
            digest: recorded.digest,
            events: &commit.events,
        }
    }
}
