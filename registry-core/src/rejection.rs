//! Why this exists: when a rule says no, the caller deserves to know which rule, about what, and what
//! to do. Each refusal is a value with its facts, not a sentence to be parsed.

use crate::compat::Finding;
use crate::digest::Digest;
use crate::experiment::RunOutcome;
use crate::gate::GateResult;
use crate::invalid::Invalid;
use crate::monitor::RollbackLimit;
use crate::name::{
    Actor, AliasName, ArtifactPath, ExperimentName, Key, ModelName, ModelVersion, RequestId, RunName,
};
use crate::stage::Stage;
use crate::stream::{Revision, Stream};
use crate::time::Timestamp;
use crate::trial::{Share, TrialStage};
use crate::version::{Bump, Version};

/// A rule refused a command. Nothing was written, but where [`Event::ApprovalRefused`](crate::Event::ApprovalRefused)
/// puts on record that somebody tried to approve who may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A value was not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),

    /// No model of that name.
    #[error("there is no model `{model}`; register a version to create it")]
    ModelNotFound {
        /// The name.
        model: ModelName,
    },
    /// Nothing in the model answers to a selector.
    #[error("`{model}` has nothing that `{selector}` names")]
    NoMatch {
        /// The model.
        model: ModelName,
        /// The selector.
        selector: String,
    },
    /// No such version.
    #[error("there is no version {version}{}", known(.nearest))]
    VersionNotFound {
        /// The version.
        version: Version,
        /// Versions that do exist, the highest first, a few of them.
        nearest: Vec<Version>,
    },
    /// No such alias.
    #[error("there is no alias `{alias}`")]
    AliasNotFound {
        /// The alias.
        alias: AliasName,
    },
    /// A version would have been made out of itself.
    #[error("{version} cannot have been made out of {}{}", .through.first().unwrap_or(.version), circle(.version, .through))]
    LineageCircle {
        /// The version.
        version: ModelVersion,
        /// The version that it is said to be made out of, the one that that one was made out of, and so on up to the
        /// one that was made out of the version. Empty: it is said to be made out of itself.
        through: Vec<ModelVersion>,
    },
    /// The rule that was broken is not, or no longer, one that rolls back.
    #[error("the rule `{rule}` is not in the policy as it was broken, or does not roll back; look again")]
    RuleChanged {
        /// Its name.
        rule: Key,
    },
    /// A rule has rolled back as often as it may.
    #[error("the rule `{rule}` has rolled back {} times in {} s, which is as often as it may; a person must look", .limit.count, .limit.period_seconds)]
    TooManyRollbacks {
        /// Its name.
        rule: Key,
        /// How often it may.
        limit: RollbackLimit,
    },
    /// Nothing is in production.
    #[error("nothing is in production")]
    NothingInProduction,
    /// No promotion of that version waits for approval.
    #[error("no promotion of {version} waits for approval; ask for one with `promote`")]
    NoOpenRequest {
        /// The version.
        version: Version,
    },

    /// The version exists with other content.
    #[error(
        "{version} is already registered with other content ({existing}, now {offered}); \
         versions never change, choose another number"
    )]
    VersionExists {
        /// The version as it is registered.
        version: Version,
        /// The digest of what is registered.
        existing: Digest,
        /// The digest of what was offered.
        offered: Digest,
    },
    /// The version was deleted, and numbers are never used again.
    #[error("{version} was registered before and deleted; version numbers are never reused, choose another")]
    VersionDeleted {
        /// The version.
        version: Version,
    },
    /// Only the build metadata differs from a registered version.
    #[error(
        "{offered} differs from the registered {existing} only in build metadata, which does not make a version"
    )]
    BuildMetadataOnly {
        /// The registered version.
        existing: Version,
        /// The offered one.
        offered: Version,
    },
    /// The stream is at another revision than the caller expected.
    #[error("expected revision {expected}, but the log is at {}; read again and decide anew", revision(.actual))]
    RevisionMismatch {
        /// What the caller expected.
        expected: Revision,
        /// What the log is at.
        actual: Option<Revision>,
    },
    /// What others changed was compared with a log that has moved on since.
    #[error("what others changed was looked for at {}, and the log is at {} now; look again", revision(.found_at), revision(.actual))]
    StaleAdoption {
        /// What the log was at then.
        found_at: Option<Revision>,
        /// What it is at now.
        actual: Option<Revision>,
    },
    /// The log in an archive and the one in the registry are not the same history.
    #[error(
        "`{stream}` has another history here: revision {revision} is not the one in the archive; \
         import into another registry"
    )]
    OtherHistory {
        /// The log.
        stream: Stream,
        /// The first commit that differs.
        revision: Revision,
    },
    /// The request id was used for another request.
    #[error("request id `{id}` was used for another request at revision {revision}; use a new id")]
    RequestIdReused {
        /// The id.
        id: RequestId,
        /// Where it was used.
        revision: Revision,
    },

    /// The number does not rise far enough for what changed.
    #[error(
        "{proposed} is too small a step from {baseline}: the changes need a {needed} bump, {smallest} or higher{}",
        listed(.findings)
    )]
    VersionTooSmall {
        /// The offered version.
        proposed: Version,
        /// The version it was compared with.
        baseline: Version,
        /// The smallest bump that would do.
        needed: Bump,
        /// The smallest version that would do.
        smallest: Version,
        /// Why.
        findings: Vec<Finding>,
    },
    /// Whether the change breaks callers cannot be told.
    #[error(
        "cannot tell which bump is needed: a signature is missing on {baseline} or on the new version; \
         give the version or the bump explicitly"
    )]
    BumpUnknown {
        /// The version it was compared with.
        baseline: Version,
    },
    /// The number would exceed 64 bits.
    #[error("the version after {baseline} would not fit into 64 bits")]
    VersionOverflow {
        /// The version.
        baseline: Version,
    },
    /// A file is named whose bytes are not in the artifact store.
    #[error("the bytes of `{path}` ({digest}) are not in the artifact store; upload them first")]
    ArtifactMissing {
        /// The file.
        path: ArtifactPath,
        /// Its digest.
        digest: Digest,
    },
    /// The commit would be larger than a record may be.
    #[error(
        "the record would have {bytes} bytes; at most {bytes_max} are allowed; move large values into artifacts"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },

    /// The table of moves does not allow it.
    #[error("{version} cannot move from {from} to {to}; from {from} it may go to {}", stages(.allowed))]
    TransitionNotAllowed {
        /// The version.
        version: Version,
        /// Where it is.
        from: Stage,
        /// Where it was to go.
        to: Stage,
        /// Where it may go.
        allowed: Vec<Stage>,
    },
    /// The version is not where the caller thinks.
    #[error("{version} is in {actual}, not in {expected}")]
    WrongStage {
        /// The version.
        version: Version,
        /// Where the caller thinks it is.
        expected: Stage,
        /// Where it is.
        actual: Stage,
    },
    /// The version is deleted.
    #[error("{version} is deleted; undelete it first")]
    IsDeleted {
        /// The version.
        version: Version,
    },
    /// The version is quarantined.
    #[error("{version} is quarantined since {since}, when it was rolled back; lift the quarantine first")]
    IsQuarantined {
        /// The version.
        version: Version,
        /// Since when.
        since: Timestamp,
    },
    /// The version's end of life has passed.
    #[error("{version} reached its end of life on {}; it can no longer be promoted", .end_of_life.date())]
    PastEndOfLife {
        /// The version.
        version: Version,
        /// When.
        end_of_life: Timestamp,
    },
    /// The version is in production.
    #[error("{version} is in production; promote another version or roll back first")]
    InProduction {
        /// The version.
        version: Version,
    },

    /// The version does not pass all gates of the stage.
    #[error(
        "{version} does not pass {} of the gates of {to}{}\n\
         record what is missing, register a better version, or bypass the gates in an emergency, with a reason",
        .failed.len(), gates(.failed)
    )]
    GatesClosed {
        /// The version.
        version: Version,
        /// The stage.
        to: Stage,
        /// All gates that it does not pass, with what was found.
        failed: Vec<GateResult>,
    },
    /// A trial of the version runs already.
    #[error("a trial of {treatment} runs since revision {since}; conclude or abort it first")]
    TrialRunning {
        /// The version that is tried.
        treatment: Version,
        /// The trial, by the revision at which it was started.
        since: Revision,
    },
    /// No trial of the version runs.
    #[error("no trial of {treatment} runs; start one first")]
    NoTrial {
        /// The version.
        treatment: Version,
    },
    /// More trials than a model may have at once.
    #[error("{running} trials run already, which is the most; conclude or abort one of them first")]
    TooManyTrials {
        /// How many run.
        running: usize,
    },
    /// The stage has not so much traffic left.
    #[error(
        "{asked} of the traffic of {stage} cannot be given to the trial: {} of it is left by other trials{}; \
         ask for less, or conclude one of them",
        crate::gate::percent(f64::from(*.left_millionths) / 1e6), control_needs(.stage)
    )]
    NoTrafficLeft {
        /// The stage.
        stage: TrialStage,
        /// What the trial asks for.
        asked: Share,
        /// What other trials leave.
        left_millionths: u32,
    },
    /// A trial in production is against what is in production.
    #[error(
        "a trial in production is against the version that is there, {production}, not against {control}; \
         leave the control out, or run the trial in staging"
    )]
    ControlNotInProduction {
        /// The control that was asked for.
        control: Version,
        /// What is in production.
        production: Version,
    },
    /// Trials on the same traffic have the same control.
    #[error(
        "trials that run in {stage} at once share a control, which is {control}, not {offered}; \
         conclude them first, or take their control"
    )]
    OtherControl {
        /// The stage.
        stage: TrialStage,
        /// The control of the trials that run.
        control: Version,
        /// The control that was asked for.
        offered: Version,
    },

    /// A version cannot start in a stage that demands approval.
    #[error("{stage} demands approval; register in development and promote")]
    StageDemandsApproval {
        /// The stage.
        stage: Stage,
    },
    /// More than one promotion of the version waits.
    #[error("promotions of {version} to {} wait; say which one", stages(.waiting))]
    AmbiguousRequest {
        /// The version.
        version: Version,
        /// Where they would go.
        waiting: Vec<Stage>,
    },
    /// The actor is not among those who may approve.
    #[error("{actor} may not approve; approvers are {}", people(.approvers))]
    NotAnApprover {
        /// Who tried.
        actor: Actor,
        /// Who may.
        approvers: Vec<Actor>,
    },
    /// The actor registered the version or asked for the promotion.
    #[error("{actor} {role} and may not approve it too; ask somebody else")]
    SelfApproval {
        /// Who tried.
        actor: Actor,
        /// `registered the version` or `asked for the promotion`.
        role: &'static str,
    },
    /// The request's time has run out.
    #[error("the request for {version} expired at {expired_at}; promote again to open a new one")]
    RequestExpired {
        /// The version.
        version: Version,
        /// When.
        expired_at: Timestamp,
    },
    /// The rule that the request was made under no longer holds.
    #[error(
        "the rule for {to} has changed since the request for {version} was made; promote again to open a new one"
    )]
    RequestVoid {
        /// The version.
        version: Version,
        /// The stage.
        to: Stage,
    },
    /// The actor has nothing to take back.
    #[error("{actor} has neither decided on nor asked for the promotion of {version}")]
    NothingToWithdraw {
        /// Who tried.
        actor: Actor,
        /// The version.
        version: Version,
    },
    /// A reason is mandatory.
    #[error("a reason is mandatory to {what}")]
    ReasonRequired {
        /// What was asked.
        what: &'static str,
    },

    /// There is nothing to go back to.
    #[error("there is no earlier good version to go back to{}", each(.passed_over))]
    NoRollbackTarget {
        /// Versions that were in production before, with why each was passed over.
        passed_over: Vec<(Version, String)>,
    },
    /// The version never served in production, or is the one that does.
    #[error("cannot roll back to {version}: {problem}")]
    NotARollbackTarget {
        /// The version.
        version: Version,
        /// Why not.
        problem: String,
    },
    /// The bytes of the version do not verify.
    #[error("the bytes of {version} do not verify: {problem}")]
    BytesDamaged {
        /// The version.
        version: Version,
        /// What is wrong.
        problem: String,
    },
    /// Going back would break clients.
    #[error("going back from {from} to {to} breaks clients{}; force it if that is the lesser evil", listed(.findings))]
    RollbackBreaksClients {
        /// The version in production.
        from: Version,
        /// The version to go back to.
        to: Version,
        /// What clients would meet.
        findings: Vec<Finding>,
    },
    /// The last commit is dated at the end of time: some clock was very wrong.
    #[error("the last commit is dated {last}, and no later time can be written")]
    EndOfTime {
        /// The last commit's time.
        last: Timestamp,
    },
    /// No experiment of that name.
    #[error("there is no experiment `{experiment}`; start a run to create it")]
    ExperimentNotFound {
        /// The name.
        experiment: ExperimentName,
    },
    /// No such run.
    #[error("there is no run `{run}`; list the runs of `{}` to see which there are", .run.experiment)]
    RunNotFound {
        /// The run.
        run: RunName,
    },
    /// The run is over, and nothing is added to it.
    #[error("the run `{run}` is over: it {outcome}; nothing is added to a run that is over, start another")]
    RunEnded {
        /// The run.
        run: RunName,
        /// How it went.
        outcome: RunOutcome,
    },
    /// A parameter or a file of a run is there with another value.
    #[error(
        "the {what} `{name}` of the run `{run}` is {existing} and cannot become {offered}; choose another name"
    )]
    AlreadyLogged {
        /// The run.
        run: RunName,
        /// What it is: a parameter or a file.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is there.
        existing: String,
        /// What was offered.
        offered: String,
    },
    /// The command makes no sense in this stream.
    #[error(
        "this stream does not take such a command: `registry` takes policies, `health/<name>` reports, `experiment/<name>` runs, `model/<name>` the rest"
    )]
    WrongStream,
}

/// What sort of refusal it is, for exit codes and status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The input was wrong.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// It clashes with what is there, or with what somebody else did meanwhile.
    Conflict,
    /// A rule forbids it.
    Forbidden,
}

impl Rejection {
    /// What sort of refusal it is.
    pub fn kind(&self) -> RejectionKind {
        use Rejection as R;
        match self {
            R::Invalid(_) | R::TooLarge { .. } | R::WrongStream | R::ReasonRequired { .. } => {
                RejectionKind::Invalid
            }
            R::ModelNotFound { .. }
            | R::NoMatch { .. }
            | R::VersionNotFound { .. }
            | R::AliasNotFound { .. }
            | R::NothingInProduction
            | R::NoOpenRequest { .. }
            | R::NoTrial { .. }
            | R::ExperimentNotFound { .. }
            | R::RunNotFound { .. } => RejectionKind::NotFound,
            R::VersionExists { .. }
            | R::VersionDeleted { .. }
            | R::BuildMetadataOnly { .. }
            | R::RevisionMismatch { .. }
            | R::StaleAdoption { .. }
            | R::OtherHistory { .. }
            | R::RequestIdReused { .. }
            | R::LineageCircle { .. }
            | R::WrongStage { .. }
            | R::RunEnded { .. }
            | R::AlreadyLogged { .. }
            | R::TrialRunning { .. } => RejectionKind::Conflict,
            _ => RejectionKind::Forbidden,
        }
    }
}

fn known(versions: &[Version]) -> String {
    match versions {
        [] => String::new(),
        some => format!("; there are {}", join(some)),
    }
}

/// How what something is said to be made out of was itself made out of it.
fn circle(version: &ModelVersion, through: &[ModelVersion]) -> String {
    match through {
        [] => String::new(),
        [first, rest @ ..] => {
            let mut text = format!("; {first} was made out of ");
            for between in rest {
                text.push_str(&format!("{between}, and that out of "));
            }
            text.push_str(&version.to_string());
            text
        }
    }
}

fn revision(actual: &Option<Revision>) -> String {
    actual.map_or_else(|| "its beginning".to_owned(), |revision| revision.to_string())
}

fn stages(stages: &[Stage]) -> String {
    match stages {
        [] => "no other stage".into(),
        [one] => one.to_string(),
        [first @ .., last] => format!("{} or {last}", join(first)),
    }
}

fn gates(failed: &[GateResult]) -> String {
    failed.iter().map(|result| format!("\n  - {result}")).collect()
}

fn control_needs(stage: &TrialStage) -> &'static str {
    match stage {
        TrialStage::Staging => "",
        TrialStage::Production => ", and production keeps some",
    }
}

fn people(people: &[Actor]) -> String {
    join(people)
}

fn join<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn listed(findings: &[Finding]) -> String {
    const SHOWN_MAX: usize = 5;
    let mut text = String::new();
    for finding in findings.iter().take(SHOWN_MAX) {
        text.push_str(&format!("\n  - {}: {}", finding.path, finding.explanation()));
    }
    if SHOWN_MAX < findings.len() {
        text.push_str(&format!("\n  - and {} more", findings.len() - SHOWN_MAX));
    }
    text
}

fn each(versions: &[(Version, String)]) -> String {
    versions.iter().map(|(version, problem)| format!("\n  - {version}: {problem}")).collect()
}
