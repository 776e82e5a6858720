//! Why this exists: what an auditor is shown, table by table. The names here are what programs and spreadsheets see, so
//! they are written down in one place, and none of them is ever given another meaning.

use registry_core::{
    Actor, Digest, Direction, Finite, Key, ModelName, Revision, Stage, Stream, Text, Timestamp, Version,
};
use serde_json::{Value, json};

use crate::row::{Cell, rows, words};

words! {
    /// Why something is an exception.
    ExceptionKind {
        /// Approval was demanded and bypassed in an emergency.
        ApprovalOverridden = "approval_overridden",
        /// Gates were not passed, and bypassed in an emergency.
        GatesOverridden = "gates_overridden",
        /// A smaller step of the version number was allowed than the changes demand.
        SmallerStep = "smaller_step",
        /// Production went back although clients break.
        ForcedRollback = "forced_rollback",
        /// Somebody tried to approve what they registered or asked for themselves.
        SelfApprovalAttempt = "self_approval_attempt",
        /// Somebody tried to approve who is not among the approvers.
        ApprovalAttempt = "approval_attempt",
        /// A request ran out of time.
        RequestExpired = "request_expired",
        /// A request lost its meaning: its rule changed, or the version moved by other means.
        RequestVoid = "request_void",
        /// Whoever asked took the request back.
        RequestWithdrawn = "request_withdrawn",
        /// Somebody objected.
        Objection = "objection",
        /// Somebody took back an approval or an objection.
        DecisionWithdrawn = "decision_withdrawn",
        /// Something was changed past the registry, and adopted.
        ForeignChange = "foreign_change",
        /// A version was in production that nobody approved for it.
        NotApproved = "not_approved",
        /// A version was in production that has no signature among its files.
        NotSigned = "not_signed",
        /// Bytes of a version are damaged or missing.
        BytesMissing = "bytes_missing",
    }
}

words! {
    /// How a version came into production.
    Cause {
        /// It was promoted.
        Promotion = "promotion",
        /// It was put back by a rollback.
        Rollback = "rollback",
        /// It was moved past the registry.
        Foreign = "foreign",
        /// In a way that is newer than this report.
        Other = "other",
    }
}

words! {
    /// What became of a request for promotion.
    RequestOutcome {
        /// The version was promoted.
        Promoted = "promoted",
        /// It was taken back.
        Withdrawn = "withdrawn",
        /// Its time ran out.
        Expired = "expired",
        /// It lost its meaning.
        Void = "void",
        /// It waits.
        Open = "open",
    }
}

words! {
    /// What somebody did about a request.
    Act {
        /// Approved.
        Approved = "approved",
        /// Objected.
        Objected = "objected",
        /// Took back what they had said.
        Withdrew = "withdrew",
        /// Tried to approve, and may not.
        Refused = "refused",
    }
}

words! {
    /// What became of a trial.
    TrialOutcome {
        /// The version did what it had to show.
        Favourable = "favourable",
        /// It did the opposite.
        Unfavourable = "unfavourable",
        /// Neither could be shown.
        Inconclusive = "inconclusive",
        /// It ended without a verdict.
        Aborted = "aborted",
        /// It runs.
        Running = "running",
    }
}

words! {
    /// What is checked of each deployment.
    Checkpoint {
        /// Somebody asked for it, on record.
        Request = "request",
        /// As many people as the rule demands approved it, before.
        ApprovalBefore = "approval_before_deployment",
        /// Gates or a trial show that it was tested.
        TestEvidence = "test_evidence",
        /// Those who approved neither registered the version nor asked for the promotion.
        SegregationOfDuties = "segregation_of_duties",
        /// What went into production is what was approved, by its digest.
        TiedToDigest = "deployment_tied_to_digest",
        /// It was known what going back would mean.
        BackoutPlan = "backout_plan",
        /// A signature is among the files.
        Signature = "signature",
        /// The log that says all this is sound, link by link.
        SoundRecord = "sound_record",
    }
}

words! {
    /// What came of a checkpoint.
    CheckResult {
        /// It is as it should be, and the record shows it.
        Passed = "passed",
        /// It is not.
        Failed = "failed",
        /// No rule demanded it, and nothing is on record.
        NotDemanded = "not_demanded",
        /// It cannot be told from the record.
        Unknown = "unknown",
    }
}

words! {
    /// Where a rule comes from.
    Source {
        /// From the model's own policy.
        Model = "model",
        /// From the policy of all models.
        Registry = "registry",
        /// Nobody set it: it is what holds where nothing is said.
        Default = "default",
    }
}

words! {
    /// What a rule is about.
    Area {
        /// Who must approve.
        Approval = "approval",
        /// What must be shown.
        Gate = "gate",
        /// Which moves between stages are allowed.
        Moves = "moves",
        /// What must not happen in production.
        Monitor = "monitor",
        /// How far a version number must rise.
        Numbering = "numbering",
        /// Where an alias points.
        Alias = "alias",
    }
}

impl Cell for Direction {
    fn text(&self) -> String {
        match self {
            Direction::Higher => "higher",
            Direction::Lower => "lower",
        }
        .to_owned()
    }

    fn schema() -> Value {
        json!({ "enum": [Direction::Higher, Direction::Lower] })
    }
}

rows! {
    /// The models, and how much there is to say of each.
    Overview, "models", "Models" {
        /// The model.
        model: ModelName,
        /// What it is for.
        purpose: Option<Text>,
        /// How many versions were registered up to the end of the range.
        versions: u64,
        /// The version in production at the end of the range.
        production: Option<Version>,
        /// Who answers for that version.
        owner: Option<Actor>,
        /// How many stretches in production touch the range.
        deployments: u64,
        /// How many rollbacks there were in the range.
        rollbacks: u64,
        /// How many exceptions there are.
        exceptions: u64,
        /// Whether nothing is wrong with its logs.
        is_sound: bool,
    }

    /// Whether the population is complete: each log that was read, from its first commit to its last.
    Population, "population", "Completeness of the population" {
        /// The log.
        stream: Stream,
        /// Its first commit.
        first_revision: Option<Revision>,
        /// When that was made.
        first_at: Option<Timestamp>,
        /// Its last commit.
        last_revision: Option<Revision>,
        /// When that was made.
        last_at: Option<Timestamp>,
        /// How many commits were read.
        commits: u64,
        /// Whether none is missing between the first revision there can be and the last.
        gap_free: bool,
        /// The digest of the last commit.
        head: Option<Digest>,
        /// The first commit in the range.
        first_in_range: Option<Revision>,
        /// The last commit in the range.
        last_in_range: Option<Revision>,
        /// How many commits lie in the range.
        commits_in_range: u64,
        /// How many commits lie behind the end of the range, and are in no other table. In a report up to now they were
        /// made while it was, or under a clock that runs ahead of the one that the report is made by: the times of a log
        /// never go back, so that after one such commit all later ones lie behind the end.
        commits_after: u64,
        /// How many files were read and compared with their digests; 0 unless that was asked for.
        files: u64,
        /// Whether nothing is wrong with it.
        is_sound: bool,
    }

    /// What is wrong with the logs and the bytes.
    Flaw, "flaws", "Flaws of the record" {
        /// The log.
        stream: Stream,
        /// What is wrong, and where.
        problem: String,
    }

    /// Changes of the rules, oldest first.
    PolicyChanged, "policy_changes", "Policy changes" {
        /// When.
        at: Timestamp,
        /// The commit.
        revision: Revision,
        /// Who.
        by: Actor,
        /// Why.
        reason: Option<Text>,
        /// What the rule is about.
        subject: String,
        /// What it said; nothing if there was no such rule.
        before: Option<String>,
        /// What it says; nothing if it was removed.
        after: Option<String>,
    }

    /// The versions as they stood at the end of the range.
    Inventory, "versions", "Inventory" {
        /// The version.
        version: Version,
        /// The identity of its content.
        digest: Digest,
        /// Its stage.
        stage: Stage,
        /// Who answers for it.
        owner: Option<Actor>,
        /// Who registered it.
        registered_by: Actor,
        /// When.
        registered_at: Timestamp,
        /// The commit.
        revision: Revision,
        /// The algorithm.
        algorithm: Option<Text>,
        /// The framework and its version.
        framework: Option<Text>,
        /// What it is for: its description, or that of the model.
        purpose: Option<Text>,
        /// Its tags.
        tags: Vec<String>,
        /// How many files it has.
        files: u64,
        /// Their size in bytes, together.
        bytes: u64,
        /// Since when it is deprecated.
        deprecated_since: Option<Timestamp>,
        /// What to use instead.
        superseded_by: Option<Version>,
        /// After this instant it cannot be promoted.
        end_of_life: Option<Timestamp>,
        /// Since when it is quarantined.
        quarantined_since: Option<Timestamp>,
        /// Since when it is deleted.
        deleted_since: Option<Timestamp>,
    }

    /// What was in production, from when to when, who put it there, and under which rule.
    Deployment, "deployments", "Deployments" {
        /// The commit that brought it into production. It names the deployment in other tables.
        revision: Revision,
        /// The version.
        version: Version,
        /// The identity of its content then; nothing if the commit that registered it cannot be read.
        digest: Option<Digest>,
        /// From when.
        since: Timestamp,
        /// Until when, this instant not included; nothing if it was still there at the end of the range.
        until: Option<Timestamp>,
        /// Who put it there.
        by: Actor,
        /// Why.
        reason: Option<Text>,
        /// How it came there.
        cause: Cause,
        /// The request that was fulfilled.
        request: Option<Revision>,
        /// Who asked for it.
        requested_by: Option<Actor>,
        /// Those who approved it.
        approved_by: Vec<Actor>,
        /// What entering production demanded then.
        rule: Option<String>,
        /// Where that rule came from.
        rule_source: Source,
        /// Who had set it.
        rule_set_by: Option<Actor>,
        /// When.
        rule_set_at: Option<Timestamp>,
        /// The version one would have gone back to.
        back_to: Option<Version>,
        /// Whether that would have been safe for clients; nothing if it could not be told.
        back_is_safe: Option<bool>,
    }

    /// Those who approved what was deployed, with what they meant by it.
    Approval, "approvals", "Approvals of deployments" {
        /// The deployment.
        deployment: Revision,
        /// The request that was approved.
        request: Option<Revision>,
        /// The version.
        version: Version,
        /// Who approved.
        approver: Actor,
        /// When.
        at: Timestamp,
        /// What the approval means.
        meaning: Option<Text>,
        /// A remark.
        comment: Option<Text>,
    }

    /// The requests for promotion that were open in the range.
    Request, "requests", "Requests for promotion" {
        /// The commit that made the request, which is its name.
        request: Revision,
        /// The version.
        version: Version,
        /// The identity of its content, to which approvals are bound.
        digest: Digest,
        /// Where it was.
        from: Stage,
        /// Where it should go.
        to: Stage,
        /// Who asked.
        by: Actor,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Option<Text>,
        /// The rule that had to be fulfilled.
        rule: String,
        /// Whether approval was asked for although no rule demanded it.
        by_choice: bool,
        /// When it lapses.
        expires_at: Option<Timestamp>,
        /// What became of it up to the end of the range.
        outcome: RequestOutcome,
        /// When.
        ended_at: Option<Timestamp>,
    }

    /// What people did about requests in the range, oldest first.
    Decided, "decisions", "Decisions" {
        /// When.
        at: Timestamp,
        /// The commit.
        revision: Revision,
        /// The request.
        request: Revision,
        /// The version.
        version: Option<Version>,
        /// Where it should go.
        to: Option<Stage>,
        /// Who.
        by: Actor,
        /// What they did.
        act: Act,
        /// What the approval means.
        meaning: Option<Text>,
        /// A remark, or why they were refused.
        comment: Option<String>,
    }

    /// What the gates found at each deployment.
    GateFound, "gates", "Gates at deployments" {
        /// The deployment.
        deployment: Revision,
        /// The version.
        version: Version,
        /// The gate.
        gate: String,
        /// Whether it was passed.
        passed: bool,
        /// The version it was compared with.
        against: Option<Version>,
        /// What was found.
        evidence: Vec<String>,
    }

    /// Trials that ran in the range, and those of versions that were deployed in it.
    TrialRun, "trials", "Trials" {
        /// The commit that began it, which is its name.
        trial: Revision,
        /// The version that was tried.
        treatment: Version,
        /// The version that it was compared with.
        control: Version,
        /// What was measured.
        measure: Key,
        /// Who began it.
        by: Actor,
        /// When.
        started_at: Timestamp,
        /// What came of it up to the end of the range.
        outcome: TrialOutcome,
        /// When.
        ended_at: Option<Timestamp>,
        /// How likely such a result is by chance.
        p: Option<Finite>,
    }

    /// What is out of the ordinary, oldest first.
    Exception, "exceptions", "Exceptions" {
        /// When; nothing if it was found by reading the bytes.
        at: Option<Timestamp>,
        /// The commit.
        revision: Option<Revision>,
        /// What it is.
        kind: ExceptionKind,
        /// The version.
        version: Option<Version>,
        /// The stage it is about.
        stage: Option<Stage>,
        /// Who.
        by: Option<Actor>,
        /// Why, as far as they said.
        reason: Option<Text>,
        /// What it was, in words.
        detail: String,
    }

    /// When production went back to an earlier version, who or which rule did it, and on what evidence.
    RolledBack, "rollbacks", "Rollbacks" {
        /// When.
        at: Timestamp,
        /// The commit.
        revision: Revision,
        /// What was in production.
        from: Version,
        /// What is in production from then on.
        to: Version,
        /// Who did it.
        by: Actor,
        /// Why.
        reason: Option<Text>,
        /// The rule that was broken, if it went back by itself.
        rule: Option<Key>,
        /// What was measured.
        evidence: Option<String>,
        /// Whether it was forced although clients break.
        forced: bool,
        /// Earlier versions that could not be taken, and why.
        passed_over: Vec<String>,
    }

    /// What was stated of versions and held in the range: metrics and deployment figures, as registered and as amended.
    Stated, "metrics", "Stated metrics" {
        /// The version.
        version: Version,
        /// What was measured.
        metric: String,
        /// The value.
        value: Finite,
        /// The unit.
        unit: Option<Key>,
        /// Which way is better.
        better: Option<Direction>,
        /// How many samples it was computed from.
        samples: Option<u64>,
        /// The standard error.
        standard_error: Option<Finite>,
        /// Whether it was added or corrected after the registration.
        amended: bool,
        /// Who stated it.
        by: Actor,
        /// When.
        at: Timestamp,
        /// The commit.
        revision: Revision,
        /// When another value took its place, up to the end of the range.
        replaced_at: Option<Timestamp>,
    }

    /// What was reported in the range of how versions served, summed up for each deployment.
    Health, "health", "Performance in production" {
        /// The deployment: the stretch in production of this version that overlaps the stretch that was observed, the
        /// latest one if several do; it may have ended before the range. Nothing for what was observed outside of production.
        deployment: Option<Revision>,
        /// The version.
        version: Version,
        /// What was observed.
        metric: Key,
        /// When the first stretch began that was summed up.
        from: Timestamp,
        /// When the last one ended.
        until: Timestamp,
        /// How many numbers there were.
        count: u64,
        /// How many observations were no numbers.
        not_numbers: u64,
        /// Their mean.
        mean: Option<Finite>,
        /// The smallest.
        min: Option<Finite>,
        /// The largest.
        max: Option<Finite>,
        /// The 95th percentile by the nearest rank, to 1 %.
        p95: Option<Finite>,
    }

    /// What versions were made with and out of, as far as it is on record.
    DataSource, "data_sources", "Data sources" {
        /// The version.
        version: Version,
        /// What it is: data, a set of features, code, an experiment, another version.
        kind: String,
        /// Its name.
        name: String,
        /// Its version.
        of_version: Option<String>,
        /// The digest of its content.
        digest: Option<Digest>,
    }

    /// What should be on record of each deployment, and whether it is.
    Checked, "checkpoints", "Compliance checkpoints" {
        /// The deployment.
        deployment: Revision,
        /// The version.
        version: Version,
        /// What was looked at.
        checkpoint: Checkpoint,
        /// What came of it.
        result: CheckResult,
        /// On what grounds.
        evidence: String,
    }

    /// Versions that are deleted at the end of the range, and whether their bytes are still kept.
    Deleted, "deleted", "Deleted versions" {
        /// The version.
        version: Version,
        /// When it was deleted.
        at: Timestamp,
        /// By whom.
        by: Actor,
        /// Why.
        reason: Option<Text>,
        /// How many files it had.
        files: u64,
        /// How many of these are no longer kept now.
        files_gone: u64,
    }

    /// The rules that hold, where each comes from, and who set it.
    RuleInForce, "rules", "Rules" {
        /// What the rule is about.
        area: Area,
        /// The stage, the monitor's rule or the alias.
        subject: String,
        /// What it says.
        rule: String,
        /// Where it comes from.
        source: Source,
        /// Who set it.
        set_by: Option<Actor>,
        /// When.
        set_at: Option<Timestamp>,
        /// Why.
        reason: Option<Text>,
    }
}
