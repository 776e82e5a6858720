//! Why this exists: these are the verbs. They are written once over [`Registry`] and implemented for
//! everything that is one, so nobody can override them and `promote` means the same on every
//! backend and below every decorator.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::command::{By, Command, Request, VersionChoice};
use crate::compare::{CompareOptions, Subject, VersionComparison, compare};
use crate::compat::Finding;
use crate::content::{Artifact, Content, Deployment, Manifest, Metadata, Metric, Tags};
use crate::digest::{Digest, Hasher};
use crate::environments::{self, Arrival, PromoteToOptions};
use crate::error::Error;
use crate::event::{Event, Origin, RollbackSafety, RolledBack};
use crate::experiment::{
    Begun, Experiment, MetricPage, RunEnvironment, RunLog, RunOutcome, RunStarted, RunState, read as runs,
};
use crate::garbage::{Garbage, GarbageOptions, collect};
use crate::gate::GateResult;
use crate::invalid::Invalid;
use crate::lineage::{self, Graph, Impact, Lineage, Link, NodeName};
use crate::monitor::{Rule, Summary};
use crate::name::{AliasName, ArtifactPath, ExperimentName, Key, ModelName, ModelVersion, RunName, Text};
use crate::policy::{Policy, PolicyChange, StageRule};
use crate::registry::{Need, Outcome, Receipt, Recorded, Registry};
use crate::rejection::Rejection;
use crate::search::{Page, Query};
use crate::selector::Selector;
use crate::stage::Stage;
use crate::state::{ModelState, VersionState};
use crate::storage::{Blob, ByteSource, ByteStream, Progress, StorageErrorKind, verified};
use crate::stream::{Revision, Stream, StreamKind};
use crate::time::Timestamp;
use crate::trial::{ConcludedTrial, Judgement, Tally, Traffic, Trial, TrialPlan};
use crate::verify::{Verification, VerifyOptions, verify, verify_since};
use crate::version::Version;
use crate::watch::{Follower, Watch};

/// A file to be registered: where it will lie in the version, and where its bytes come from.
pub struct Upload<'a> {
    /// Its path in the version.
    pub path: ArtifactPath,
    /// Its bytes.
    pub source: &'a dyn ByteSource,
}

/// A version to be registered, beside its files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Registration {
    /// How it gets its number.
    pub version: VersionChoice,
    /// What it is. The artifacts in it must be in the store already; those given as uploads are
    /// added.
    pub content: Content,
    /// The stage it starts in.
    pub stage: Stage,
}

impl Registration {
    /// A version with that number, or found by that rule, in development.
    pub fn new(version: impl Into<VersionChoice>, content: Content) -> Self {
        Registration { version: version.into(), content, stage: Stage::Development }
    }
}

/// What is added to the record of a version, or corrected in it. What is not set stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amendment {
    /// Metadata to add or replace.
    pub metadata: Metadata,
    /// Metrics to add or replace.
    pub metrics: BTreeMap<Key, Metric>,
    /// Deployment figures to add or replace.
    pub deployment: Deployment,
    /// What it was made with or out of, and evaluations, to add. What is there stays.
    pub links: Vec<Link>,
}

/// What became of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The version.
    pub version: Arc<VersionState>,
    /// Whether it was there before, with the same content.
    pub existed: bool,
    /// If it was there before: the parts in which the request differs from what is on record, and
    /// which were **not** changed. Amend the version to change them.
    pub not_applied: Vec<&'static str>,
    /// The receipt.
    pub receipt: Receipt,
}

/// What became of a promotion.
#[derive(Debug, Clone)]
pub enum Promotion {
    /// The version is in the stage.
    Done {
        /// For a move into production: whether going back would break clients.
        rollback_safety: Option<RollbackSafety>,
        /// The version whose place it took.
        superseded: Option<Version>,
        /// The gates of the stage, and what they found.
        gates: Vec<GateResult>,
        /// The receipt.
        receipt: Receipt,
    },
    /// Approval is demanded; the request waits.
    Pending {
        /// The request, by its revision.
        request: Revision,
        /// How many more people must approve.
        approvals_missing: u32,
        /// When the request lapses.
        expires_at: Option<Timestamp>,
        /// The receipt.
        receipt: Receipt,
    },
}

impl Promotion {
    /// Whether the version is in the stage now.
    pub fn is_done(&self) -> bool {
        matches!(self, Promotion::Done { .. })
    }

    /// The receipt.
    pub fn receipt(&self) -> &Receipt {
        match self {
            Promotion::Done { receipt, .. } | Promotion::Pending { receipt, .. } => receipt,
        }
    }
}

/// How a promotion is asked for, beside version and stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromoteOptions {
    /// The stage that the version must be in.
    pub from: Option<Stage>,
    /// Demand approval even where no policy does.
    pub require_approval: bool,
    /// Bypass a demanded approval, and gates, in an emergency. The request must carry a reason.
    pub emergency: bool,
}

/// What became of a rollback.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// The version that was taken out of production and quarantined.
    pub from: Version,
    /// The version that is in production now.
    pub to: Version,
    /// What clients of `from` may stumble over.
    pub findings: Vec<Finding>,
    /// The receipt.
    pub receipt: Receipt,
}

/// What became of a look at a trial, or of its conclusion.
#[derive(Debug, Clone)]
pub struct Look {
    /// What was seen, and the verdict.
    pub judgement: Judgement,
    /// Whether the trial is concluded; else it goes on.
    pub is_concluded: bool,
    /// The receipt.
    pub receipt: Receipt,
}

/// The trials of a model.
#[derive(Debug, Clone)]
pub struct Trials {
    /// Those that run, by the revision at which they were started.
    pub running: BTreeMap<Revision, Arc<Trial>>,
    /// The last concluded one of each version, by version. See [`ModelState::concluded_trial`].
    pub concluded: Vec<Arc<ConcludedTrial>>,
}

/// A version that was found, with the state it was found in.
#[derive(Debug, Clone)]
pub struct Found {
    /// The model.
    pub model: ModelName,
    version: Arc<VersionState>,
    read_at: Timestamp,
}

impl Deref for Found {
    type Target = VersionState;

    fn deref(&self) -> &VersionState {
        &self.version
    }
}

impl Found {
    /// The version, to be kept.
    pub fn state(&self) -> &Arc<VersionState> {
        &self.version
    }

    /// What a user of the version should know: that it is deprecated, quarantined or deleted.
    pub fn warnings(&self) -> Vec<String> {
        let version = &self.version.version;
        let mut warnings = Vec::new();
        let because = |reason: &Option<Text>| reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        if let Some(deprecation) = &self.version.deprecated {
            let mut warning = format!(
                "{version} is deprecated since {}{}",
                deprecation.since.at.date(),
                because(&deprecation.since.reason)
            );
            if let Some(successor) = &deprecation.superseded_by {
                warning.push_str(&format!("; use {successor} instead"));
            }
            if let Some(end) = deprecation.end_of_life {
                let verb = if end < self.read_at { "ended" } else { "ends" };
                warning.push_str(&format!("; its life {verb} on {}", end.date()));
            }
            warnings.push(warning);
        }
        if let Some(since) = &self.version.quarantined {
            warnings.push(format!(
                "{version} is quarantined since {}{}",
                since.at.date(),
                because(&since.reason)
            ));
        }
        if let Some(since) = &self.version.deleted {
            warnings.push(format!("{version} was deleted on {}{}", since.at.date(), because(&since.reason)));
        }
        warnings
    }

    /// The file at a path.
    pub fn artifact(&self, path: &ArtifactPath) -> Result<&Artifact, Error> {
        self.version.content.artifacts.get(path).ok_or_else(|| {
            let known: Vec<&str> =
                self.version.content.artifacts.iter().map(|a| a.path.as_str()).take(5).collect();
            let problem = if known.is_empty() {
                format!("{} has no files", self.version.version)
            } else {
                format!("{} has no such file; it has {}", self.version.version, known.join(", "))
            };
            Invalid::new("artifact path", path, problem).into()
        })
    }
}

/// Where a verb is aimed at: one model's rules or those of all models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The rules of one model.
    Model(ModelName),
    /// The rules of all models.
    Registry,
}

impl Scope {
    fn stream(&self) -> Stream {
        match self {
            Scope::Model(name) => Stream::Model(name.clone()),
            Scope::Registry => Stream::Registry,
        }
    }
}

/// The verbs of a registry.
///
/// Every verb that writes takes a [`By`]: who asks, why, under which request id, expecting which
/// revision, and whether it is only a rehearsal.
pub trait RegistryExt: Registry {
    /// Uploads a file's bytes, so that a registration can name them. Known bytes are not sent.
    fn upload(
        &self,
        path: &ArtifactPath,
        source: &dyn ByteSource,
        progress: Progress<'_>,
    ) -> impl Future<Output = Result<Artifact, Error>> + Send {
        async move {
            let put = self.artifacts().put(source, progress).await;
            let blob = put.map_err(|source| match source.kind {
                StorageErrorKind::SourceChanged => Error::SourceChanged { path: path.clone(), source },
                _ => source.into(),
            })?;
            Ok(Artifact { path: path.clone(), digest: blob.digest, size: blob.size })
        }
    }

    /// Registers a version. The bytes of `uploads` are stored first; a version is visible with all
    /// its bytes or not at all.
    ///
    /// Registering the same number with the same content again succeeds and changes nothing.
    fn register(
        &self,
        by: &By,
        model: &ModelName,
        registration: Registration,
        uploads: &[Upload<'_>],
    ) -> impl Future<Output = Result<Registered, Error>> + Send {
        async move {
            let Registration { version, mut content, stage } = registration;
            if !uploads.is_empty() {
                let mut artifacts: Vec<Artifact> = content.artifacts.iter().cloned().collect();
                for upload in uploads {
                    artifacts.push(match by.dry_run {
                        true => rehearse_upload(upload).await?,
                        false => self.upload(&upload.path, upload.source, &|_| {}).await?,
                    });
                }
                content.artifacts = Manifest::new(artifacts)?;
            }
            let registration = Registration { version, content, stage };
            register_content(self, by, model, registration, Vec::new()).await
        }
    }

    /// Takes a version to another registry: number, content, bytes, and the evidence of where it comes from and who
    /// approved it here. See [`environments`].
    ///
    /// Repeated, it does nothing that is done, and finishes what is not.
    fn promote_to(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        target: &(impl Registry + ?Sized),
        options: &PromoteToOptions,
    ) -> impl Future<Output = Result<Arrival, Error>> + Send {
        environments::promote_to(self, by, model, version, target, options)
    }

    /// Moves a version to a stage, or asks for approval where it is demanded.
    fn promote(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        to: Stage,
        options: PromoteOptions,
    ) -> impl Future<Output = Result<Promotion, Error>> + Send {
        async move {
            let PromoteOptions { from, require_approval, emergency } = options;
            let command =
                Command::Promote { version: version.clone(), from, to, require_approval, emergency };
            Ok(promotion(version, to, self.execute(request(model, by, command)).await?))
        }
    }

    /// Agrees to a promotion that waits. The last approval needed completes it.
    fn approve(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        to: Option<Stage>,
        meaning: Option<Text>,
        comment: Option<Text>,
    ) -> impl Future<Output = Result<Promotion, Error>> + Send {
        async move {
            let command = Command::Approve { version: version.clone(), to, meaning, comment };
            let receipt = self.execute(request(model, by, command)).await?;
            let to = to.or_else(|| target_of(&receipt, version)).unwrap_or(Stage::Production);
            Ok(promotion(version, to, receipt))
        }
    }

    /// Objects to a promotion that waits, and so blocks it.
    fn reject(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        to: Option<Stage>,
        comment: Option<Text>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::Reject { version: version.clone(), to, comment }))
    }

    /// Takes back the own approval or objection or, as the one who asked, the request.
    fn withdraw(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        to: Option<Stage>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::Withdraw { version: version.clone(), to }))
    }

    /// Puts an earlier version back into production, in one commit: the one named, or the last that
    /// was good. The version taken out is quarantined.
    fn rollback(
        &self,
        by: &By,
        model: &ModelName,
        to: Option<&Version>,
        force: bool,
    ) -> impl Future<Output = Result<Rollback, Error>> + Send {
        async move {
            let command = Command::Rollback { to: to.cloned(), force };
            let receipt = self.execute(request(model, by, command)).await?;
            let done = receipt.events().iter().find_map(|event| match event {
                Event::RolledBack(done) => Some((**done).clone()),
                _ => None,
            });
            match done {
                Some(RolledBack { from, to, findings, .. }) => Ok(Rollback { from, to, findings, receipt }),
                None => Err(Rejection::NothingInProduction.into()),
            }
        }
    }

    /// Takes a version out of quarantine. The request must carry a reason.
    fn lift_quarantine(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::LiftQuarantine { version: version.clone() }))
    }

    /// Moves a version to `archived`.
    fn archive(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
    ) -> impl Future<Output = Result<Promotion, Error>> + Send {
        self.promote(by, model, version, Stage::Archived, PromoteOptions::default())
    }

    /// Says that a version should no longer be used.
    fn deprecate(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        superseded_by: Option<&Version>,
        end_of_life: Option<Timestamp>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let command = Command::Deprecate {
            version: version.clone(),
            superseded_by: superseded_by.cloned(),
            end_of_life,
        };
        self.execute(request(model, by, command))
    }

    /// Says that a deprecated version may be used again.
    fn lift_deprecation(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::LiftDeprecation { version: version.clone() }))
    }

    /// Hides a version. Refused while it is in production. Its bytes stay until garbage is collected
    /// after the grace period, and until then it can be undeleted.
    fn delete(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::Delete { version: version.clone() }))
    }

    /// Takes a deleted version back.
    fn undelete(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::Undelete { version: version.clone() }))
    }

    /// Points an alias to a version.
    fn set_alias(
        &self,
        by: &By,
        model: &ModelName,
        alias: &AliasName,
        version: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::SetAlias { alias: alias.clone(), version: version.clone() }))
    }

    /// Removes an alias.
    fn remove_alias(
        &self,
        by: &By,
        model: &ModelName,
        alias: &AliasName,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::RemoveAlias { alias: alias.clone() }))
    }

    /// Changes tags of the model, or of a version of it.
    fn change_tags(
        &self,
        by: &By,
        model: &ModelName,
        version: Option<&Version>,
        set: Tags,
        remove: Vec<Key>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::ChangeTags { version: version.cloned(), set, remove }))
    }

    /// Changes the description of the model, or of a version of it; `None` removes it.
    fn describe(
        &self,
        by: &By,
        model: &ModelName,
        version: Option<&Version>,
        description: Option<Text>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::Describe { version: version.cloned(), description }))
    }

    /// Adds or corrects metadata, metrics and deployment figures of a version, and adds to where it comes from.
    fn amend(
        &self,
        by: &By,
        model: &ModelName,
        version: &Version,
        amendment: Amendment,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let Amendment { metadata, metrics, deployment, links } = amendment;
        let command = Command::Amend {
            version: version.clone(),
            metadata: Box::new(metadata),
            metrics,
            deployment: Box::new(deployment),
            links,
        };
        self.execute(request(model, by, command))
    }

    /// Changes a rule.
    fn change_policy(
        &self,
        by: &By,
        scope: &Scope,
        change: PolicyChange,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(Request {
            stream: scope.stream(),
            by: by.clone(),
            command: Command::ChangePolicy { change },
        })
    }

    /// Begins a trial of a version in staging, against another: without `control` against production. What
    /// is asked for here decides how it will be judged, and cannot be changed.
    fn start_trial(
        &self,
        by: &By,
        model: &ModelName,
        treatment: &Version,
        control: Option<&Version>,
        plan: TrialPlan,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let command = Command::StartTrial {
            treatment: treatment.clone(),
            control: control.cloned(),
            plan: Box::new(plan),
        };
        self.execute(request(model, by, command))
    }

    /// Adds a batch of numbers to the trial of a version that runs. Sent again under the same request id, a
    /// batch counts once.
    fn observe_trial(
        &self,
        by: &By,
        model: &ModelName,
        treatment: &Version,
        observed: Tally,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::ObserveTrial { treatment: treatment.clone(), observed }))
    }

    /// Concludes the trial of a version that runs. Before its planned end this is one of the planned looks,
    /// after which the trial goes on unless it is decided; with none left, the verdict is that it is inconclusive.
    fn conclude_trial(
        &self,
        by: &By,
        model: &ModelName,
        treatment: &Version,
    ) -> impl Future<Output = Result<Look, Error>> + Send {
        async move {
            let command = Command::ConcludeTrial { treatment: treatment.clone() };
            let receipt = self.execute(request(model, by, command)).await?;
            let seen = receipt.events().iter().find_map(|event| match event {
                Event::TrialLooked { judgement, .. } => Some((judgement.clone(), false)),
                Event::TrialConcluded { judgement, .. } => Some((judgement.clone(), true)),
                _ => None,
            });
            match seen {
                Some((judgement, is_concluded)) => Ok(Look { judgement: *judgement, is_concluded, receipt }),
                None => Err(Rejection::NoTrial { treatment: treatment.clone() }.into()),
            }
        }
    }

    /// Ends the trial of a version that runs, without a verdict.
    fn abort_trial(
        &self,
        by: &By,
        model: &ModelName,
        treatment: &Version,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(request(model, by, Command::AbortTrial { treatment: treatment.clone() }))
    }

    /// The trials of a model that run, and the last concluded ones.
    fn trials(&self, model: &ModelName) -> impl Future<Output = Result<Trials, Error>> + Send {
        async move {
            let state = self.model(model).await?;
            let concluded = state.concluded_trials().cloned().collect();
            Ok(Trials { running: state.trials.clone(), concluded })
        }
    }

    /// Who gets which share of the requests of a model, for a router. It costs as little as looking up what is in
    /// production.
    fn traffic(&self, model: &ModelName) -> impl Future<Output = Result<Traffic, Error>> + Send {
        async move {
            let need = Need::Selected(Selector::PRODUCTION);
            let state = self.state(&Stream::Model(model.clone()), &need).await?;
            if !state.exists() {
                return Err(Rejection::ModelNotFound { model: model.clone() }.into());
            }
            Ok(state.traffic())
        }
    }

    /// Sets the rule of a stage, or with `None` removes it.
    fn set_stage_rule(
        &self,
        by: &By,
        scope: &Scope,
        stage: Stage,
        rule: Option<StageRule>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.change_policy(by, scope, PolicyChange::StageRule { stage, rule })
    }

    /// Sets what must not happen to the version in production, or with `None` removes it.
    fn set_monitor_rule(
        &self,
        by: &By,
        scope: &Scope,
        name: Key,
        rule: Option<Rule>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.change_policy(by, scope, PolicyChange::MonitorRule { name, rule: rule.map(Box::new) })
    }

    /// Writes down what was observed while versions of a model served: see [`Meters`](crate::monitor::Meters).
    fn report_health(
        &self,
        by: &By,
        model: &ModelName,
        summaries: Vec<Summary>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let stream = Stream::Health(model.clone());
        self.execute(Request { stream, by: by.clone(), command: Command::ReportHealth { summaries } })
    }

    /// The experiment of that name, for a program that trains: see [`Experiment`].
    fn experiment(self: &Arc<Self>, name: ExperimentName, by: &By) -> Experiment<Self>
    where
        Self: 'static,
    {
        Experiment::new(Arc::clone(self), name, by.clone())
    }

    /// Begins a training run. See [`experiment`](crate::experiment) for what runs are.
    fn start_run(
        &self,
        by: &By,
        experiment: &ExperimentName,
        started: RunStarted,
    ) -> impl Future<Output = Result<Begun, Error>> + Send {
        runs::start(self, by, experiment, started)
    }

    /// Writes down what a run says. What is there already changes nothing.
    fn log_run(
        &self,
        by: &By,
        run: &RunName,
        log: RunLog,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let command = Command::LogRun { run: run.run, log: Box::new(log) };
        self.execute(runs::request(by, &run.experiment, command))
    }

    /// Says that a run is alive though it has nothing to say.
    fn continue_run(&self, by: &By, run: &RunName) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.execute(runs::request(by, &run.experiment, Command::ContinueRun { run: run.run }))
    }

    /// Registers a version out of a run, also of one that is over: see [`Run::register_model`](crate::Run::register_model).
    fn register_from_run(
        &self,
        by: &By,
        run: &RunName,
        model: &ModelName,
        registration: Registration,
        uploads: &[Upload<'_>],
    ) -> impl Future<Output = Result<Registered, Error>> + Send {
        runs::register(self, by, run, model, registration, uploads)
    }

    /// The content that [`register_from_run`](RegistryExt::register_from_run) would register, for whoever wants to see it
    /// before: with the files of the run if it has none itself, unless others will be sent.
    fn content_from_run(
        &self,
        by: &By,
        run: &RunName,
        model: &ModelName,
        content: Content,
        with_files: bool,
    ) -> impl Future<Output = Result<Content, Error>> + Send {
        runs::content(self, by, run, model, content, with_files)
    }

    /// Ends a run. The same end again changes nothing; another one is refused.
    fn end_run(
        &self,
        by: &By,
        run: &RunName,
        outcome: RunOutcome,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let command = Command::EndRun { run: run.run, outcome };
        self.execute(runs::request(by, &run.experiment, command))
    }

    /// The names of all experiments in order, those after `after`, at most `limit`. Names only, as with
    /// [`models`](RegistryExt::models).
    fn experiments(
        &self,
        after: Option<&ExperimentName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ExperimentName>, Error>> + Send {
        let after = after.map(|name| Stream::Experiment(name.clone()));
        async move {
            let streams = self.streams(StreamKind::Experiment, None, after.as_ref(), limit).await?;
            Ok(streams.iter().filter_map(|stream| stream.experiment().cloned()).collect())
        }
    }

    /// The runs of an experiment: see [`ModelState::runs`].
    fn runs(
        &self,
        experiment: &ExperimentName,
    ) -> impl Future<Output = Result<Arc<ModelState>, Error>> + Send {
        runs::state(self, experiment)
    }

    /// A run, with the last, the smallest and the largest value of each metric.
    fn run(&self, run: &RunName) -> impl Future<Output = Result<Arc<RunState>, Error>> + Send {
        runs::run(self, run)
    }

    /// What a run was carried out with.
    fn run_environment(&self, run: &RunName) -> impl Future<Output = Result<RunEnvironment, Error>> + Send {
        runs::environment(self, run)
    }

    /// The values of a run, of one metric or of all, in the order in which they were logged: a page from a place on, or
    /// from the beginning. A page may be empty and not be the last.
    fn run_metrics(
        &self,
        run: &RunName,
        metric: Option<&Key>,
        from: Option<Revision>,
    ) -> impl Future<Output = Result<MetricPage, Error>> + Send {
        runs::metrics(self, run, metric, from)
    }

    /// The versions that came out of a run, also those that it could not take note of any more.
    fn run_versions(
        &self,
        run: &RunName,
    ) -> impl Future<Output = Result<BTreeSet<ModelVersion>, Error>> + Send {
        runs::versions(self, run)
    }

    /// The rules of one scope.
    fn policy(&self, scope: &Scope) -> impl Future<Output = Result<Arc<Policy>, Error>> + Send {
        let stream = scope.stream();
        async move { Ok(Arc::clone(&self.state(&stream, &Need::Whole).await?.policy)) }
    }

    /// The version that a selector names.
    ///
    /// Where models are shared with another system, a version that others registered there has its files on
    /// record once it was promoted here; before that, ask for them with
    /// [`get_with_files`](RegistryExt::get_with_files).
    fn get(
        &self,
        model: &ModelName,
        selector: &Selector,
    ) -> impl Future<Output = Result<Found, Error>> + Send {
        async move { get_needing(self, model, selector, Need::Selected(selector.clone())).await }
    }

    /// The same, with its files also where they are not on record yet: files of another system are read as a
    /// whole for that, and nothing is written.
    fn get_with_files(
        &self,
        model: &ModelName,
        selector: &Selector,
    ) -> impl Future<Output = Result<Found, Error>> + Send {
        async move { get_needing(self, model, selector, Need::WithFiles(selector.clone())).await }
    }

    /// Compares two versions, of one model or of two: an old one and a new one, each by its model and a selector.
    /// Versions of two registries are compared by [`compare`](crate::compare::compare) itself.
    fn compare(
        &self,
        old: (&ModelName, &Selector),
        new: (&ModelName, &Selector),
        options: &CompareOptions,
    ) -> impl Future<Output = Result<VersionComparison, Error>> + Send {
        async move {
            let (before, after) = (self.get(old.0, old.1).await?, self.get(new.0, new.1).await?);
            let subject = |found: Found| Subject { model: found.model, version: found.version };
            Ok(compare(&subject(before), &subject(after), options))
        }
    }

    /// What a version was made of, what that was made out of and so on to the beginning, what was made out of it, and
    /// where it is deployed: now, or as of an instant.
    fn lineage(
        &self,
        model: &ModelName,
        selector: &Selector,
        as_of: Option<Timestamp>,
    ) -> impl Future<Output = Result<Lineage, Error>> + Send {
        async move { lineage::lineage(self, model, selector, as_of).await }
    }

    /// Which versions of all models something has an influence on, directly or through what was made out of what: a
    /// feature, a feature set, data, code, an experiment or a version. Now, or as of an instant.
    ///
    /// Models are found by their terms; what has to do with the thing is read, and nothing else.
    fn impact(
        &self,
        of: &NodeName,
        as_of: Option<Timestamp>,
    ) -> impl Future<Output = Result<Impact, Error>> + Send {
        async move { lineage::impact(self, of, as_of).await }
    }

    /// The lineage of everything, for those who have many questions: it reads every model.
    fn lineage_of_all(&self, as_of: Option<Timestamp>) -> impl Future<Output = Result<Graph, Error>> + Send {
        async move { lineage::whole(self, as_of).await }
    }

    /// The present state of a model: all its versions, aliases, rules and open requests.
    fn model(&self, model: &ModelName) -> impl Future<Output = Result<Arc<ModelState>, Error>> + Send {
        async move {
            let state = self.state(&Stream::Model(model.clone()), &Need::Whole).await?;
            if !state.exists() {
                return Err(Rejection::ModelNotFound { model: model.clone() }.into());
            }
            Ok(state)
        }
    }

    /// The state of a model as it was at an instant, from the log alone.
    fn model_at(
        &self,
        model: &ModelName,
        instant: Timestamp,
    ) -> impl Future<Output = Result<ModelState, Error>> + Send {
        async move {
            let stream = Stream::Model(model.clone());
            let mut state = ModelState::new();
            loop {
                let page = self.history(&stream, Revision::after(state.revision()), HISTORY_PAGE).await?;
                for recorded in &page {
                    if instant < recorded.commit.time {
                        return Ok(state);
                    }
                    state.apply(&recorded.commit, recorded.digest);
                }
                if page.len() < HISTORY_PAGE {
                    return Ok(state);
                }
            }
        }
    }

    /// The names of all models in order, those after `after`, at most `limit`. Names only: a model whose
    /// first registration is under way, or broke off at the last moment, may be among them, and
    /// [`model`](RegistryExt::model) does not know it yet.
    fn models(
        &self,
        after: Option<&ModelName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ModelName>, Error>> + Send {
        let after = after.map(|name| Stream::Model(name.clone()));
        async move {
            let streams = self.streams(StreamKind::Model, None, after.as_ref(), limit).await?;
            Ok(streams.iter().filter_map(|stream| stream.model().cloned()).collect())
        }
    }

    /// The names of all models, as [`models`](RegistryExt::models) gives them page by page.
    fn all_models(&self) -> impl Future<Output = Result<Vec<ModelName>, Error>> + Send {
        async move {
            let streams = self.streams_of(StreamKind::Model).await?;
            Ok(streams.iter().filter_map(|stream| stream.model().cloned()).collect())
        }
    }

    /// All logs of a kind, in the order of their names, as [`all_streams`](RegistryExt::all_streams) has them.
    fn streams_of(&self, kind: StreamKind) -> impl Future<Output = Result<Vec<Stream>, Error>> + Send {
        async move {
            let mut streams: Vec<Stream> = Vec::new();
            loop {
                let page = self.streams(kind, None, streams.last(), HISTORY_PAGE).await?;
                let is_last = page.len() < HISTORY_PAGE;
                streams.extend(page);
                if is_last {
                    return Ok(streams);
                }
            }
        }
    }

    /// All logs there are, of every kind, in the order of their names. One whose first commit is on its way, or never
    /// came, may be among them.
    fn all_streams(&self) -> impl Future<Output = Result<Vec<Stream>, Error>> + Send {
        async move {
            let mut streams: Vec<Stream> = Vec::new();
            for kind in StreamKind::ALL {
                streams.extend(self.streams_of(kind).await?);
            }
            streams.sort_by_cached_key(Stream::to_string);
            Ok(streams)
        }
    }

    /// The versions of all models that match a query, a page at a time. See [`search`](crate::search).
    fn search(&self, query: &Query) -> impl Future<Output = Result<Page, Error>> + Send {
        crate::search::search(self, query)
    }

    /// The commits of a model, or of another stream, from a revision on.
    fn log(
        &self,
        stream: impl Into<Stream>,
        from: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Recorded>, Error>> + Send {
        let stream = stream.into();
        async move { self.history(&stream, from, limit).await }
    }

    /// Commits of a model, or of another stream, as they come, from a revision on.
    fn watch(&self, stream: impl Into<Stream>, from: Revision) -> Watch<'_, Self> {
        Watch::new(self, stream.into(), from)
    }

    /// A handle that always holds what a selector names, for services that swap models while they run.
    fn follow(self: &Arc<Self>, model: &ModelName, selector: &Selector) -> Follower<Self> {
        Follower::new(Arc::clone(self), model.clone(), selector.clone())
    }

    /// Takes what others changed past the registry into the record, and finishes what the system that it
    /// shares its models with does not show yet. None where it has its models to itself. The next write
    /// would do the same, in the name of that system. See [`Registry::drift`].
    fn reconcile(
        &self,
        by: &By,
        model: &ModelName,
    ) -> impl Future<Output = Result<Option<Receipt>, Error>> + Send {
        async move {
            let mut attempts = 0;
            loop {
                let Some(adoption) = self.drift(model).await? else { return Ok(None) };
                match self.execute(request(model, by, Command::Adopt(adoption))).await {
                    Err(Error::Rejected(Rejection::StaleAdoption { .. })) if attempts < RECONCILE_MAX => {
                        attempts += 1;
                    }
                    done => return done.map(Some),
                }
            }
        }
    }

    /// The bytes of a file. They are verified on the way; whoever uses them before the end must throw
    /// away what was made of them if an error comes.
    fn open(&self, artifact: &Artifact) -> impl Future<Output = Result<ByteStream, Error>> + Send {
        let blob = Blob { digest: artifact.digest, size: artifact.size };
        async move { Ok(verified(blob, self.artifacts().read(&blob.digest, None).await?)) }
    }

    /// A part of a file's bytes. **Not verified**: a digest covers the whole. Verify the version before,
    /// if the storage is not trusted.
    fn open_range(
        &self,
        artifact: &Artifact,
        range: Range<u64>,
    ) -> impl Future<Output = Result<ByteStream, Error>> + Send {
        let digest = artifact.digest;
        async move { Ok(self.artifacts().read(&digest, Some(range)).await?) }
    }

    /// A URL from which a file can be downloaded directly until `valid_for` is over, for fleets whose bytes
    /// should not pass through this process; `None` where the storage has no such URLs. **Not verified**:
    /// whoever downloads compares the bytes with the artifact's digest.
    ///
    /// The URL holds a signature: whoever has it has the file. Treat it as a secret.
    fn download_url(
        &self,
        artifact: &Artifact,
        valid_for: Duration,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send {
        let digest = artifact.digest;
        async move { Ok(self.artifacts().download_url(&digest, valid_for).await?) }
    }

    /// All bytes of a file, verified, if there are at most `bytes_max`.
    fn read(&self, artifact: &Artifact, bytes_max: u64) -> impl Future<Output = Result<Bytes, Error>> + Send {
        let artifact = artifact.clone();
        async move {
            if bytes_max < artifact.size {
                let problem = format!("has {} bytes, more than the {bytes_max} asked for", artifact.size);
                return Err(Invalid::new("file", &artifact.path, problem).into());
            }
            let mut stream = self.open(&artifact).await?;
            let mut whole = BytesMut::with_capacity(usize::try_from(artifact.size).unwrap_or(0));
            while let Some(piece) = stream.next().await {
                whole.extend_from_slice(&piece?);
            }
            Ok(whole.freeze())
        }
    }

    /// Checks the log of a model, or of another stream, link by link and, if asked to, all bytes of its
    /// versions.
    fn verify(
        &self,
        stream: impl Into<Stream>,
        options: VerifyOptions,
    ) -> impl Future<Output = Result<Verification, Error>> + Send {
        self.verify_reading(stream, options, |_| {})
    }

    /// The same, and shows each commit that can be read while it is read, in order: for reports on a log that must be
    /// made also where something is wrong with it.
    fn verify_reading(
        &self,
        stream: impl Into<Stream>,
        options: VerifyOptions,
        seen: impl FnMut(&Recorded) + Send,
    ) -> impl Future<Output = Result<Verification, Error>> + Send {
        let stream = stream.into();
        async move { verify(self, &stream, options, seen).await }
    }

    /// Checks a log from a commit on that was noted earlier, elsewhere: it must be that very commit, and what follows
    /// must follow from it. What lies before it is not read; its digest stands for all of it.
    fn verify_since(
        &self,
        stream: impl Into<Stream>,
        noted: (Revision, Digest),
    ) -> impl Future<Output = Result<Verification, Error>> + Send {
        let stream = stream.into();
        async move { verify_since(self, &stream, noted).await }
    }

    /// Removes bytes that no version and no run needs any more.
    fn collect_garbage(
        &self,
        options: GarbageOptions,
    ) -> impl Future<Output = Result<Garbage, Error>> + Send {
        collect(self, options)
    }
}

impl<R: Registry + ?Sized> RegistryExt for R {}

/// How often reconciling is tried anew because somebody wrote in between.
const RECONCILE_MAX: u32 = 20;

/// How many commits are read at once where a whole history is gone through.
pub(crate) const HISTORY_PAGE: usize = 512;

/// What an upload would be, without storing a byte.
async fn rehearse_upload(upload: &Upload<'_>) -> Result<Artifact, Error> {
    let (mut hasher, mut size) = (Hasher::new(), 0_u64);
    let mut bytes = upload.source.open(0).await?;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        size = size.saturating_add(piece.len() as u64);
        hasher.update(&piece);
    }
    Ok(Artifact { path: upload.path.clone(), digest: hasher.finish(), size })
}

fn request(model: &ModelName, by: &By, command: Command) -> Request {
    Request { stream: Stream::Model(model.clone()), by: by.clone(), command }
}

/// Registers a version whose bytes are in the store, and says what became of it.
pub(crate) async fn register_content<R: Registry + ?Sized>(
    registry: &R,
    by: &By,
    model: &ModelName,
    registration: Registration,
    origins: Vec<Origin>,
) -> Result<Registered, Error> {
    let Registration { version, content, stage } = registration;
    let offered = content.clone();
    let explicit = match &version {
        VersionChoice::Explicit { version, .. } => Some(version.clone()),
        VersionChoice::Bump { .. } | VersionChoice::Auto => None,
    };
    let command = Command::Register { version, content: Box::new(content), stage, origins };
    let receipt = registry.execute(request(model, by, command)).await?;
    let registered = receipt.events().iter().find_map(|event| match event {
        Event::VersionRegistered(registered) => Some((**registered).clone()),
        _ => None,
    });
    let (found, existed) = match &registered {
        Some(registered) => (rehearsed_or_kept(&receipt, by, registered), false),
        None => {
            let digest = offered.digest();
            let same = |version: &&Arc<VersionState>| version.digest == digest && version.deleted.is_none();
            let found = match &explicit {
                Some(version) => receipt.state.version(version),
                None => receipt.state.versions().rev().find(same),
            };
            (found.cloned(), true)
        }
    };
    let Some(version) = found else {
        // A repeated request whose version is gone from the state cannot be: versions stay.
        return Err(Rejection::ModelNotFound { model: model.clone() }.into());
    };
    let mut not_applied = if existed { version.content.differences(&offered) } else { Vec::new() };
    if existed && stage != Stage::Development && version.stage != stage {
        not_applied.push("stage");
    }
    let existed = existed || matches!(receipt.outcome, Outcome::Repeated(_));
    Ok(Registered { version, existed, not_applied, receipt })
}

/// The version that a selector names, in a state with so much of it.
async fn get_needing<R: Registry + ?Sized>(
    registry: &R,
    model: &ModelName,
    selector: &Selector,
    need: Need,
) -> Result<Found, Error> {
    let state = registry.state(&Stream::Model(model.clone()), &need).await?;
    found_in(model, selector, &state, registry.clock().now())
}

/// What a selector names in a state, or who it is that is not there.
pub(crate) fn found_in(
    model: &ModelName,
    selector: &Selector,
    state: &ModelState,
    now: Timestamp,
) -> Result<Found, Error> {
    if !state.exists() {
        return Err(Rejection::ModelNotFound { model: model.clone() }.into());
    }
    match selector.resolve(state) {
        Ok(Some(version)) => Ok(Found { model: model.clone(), version, read_at: now }),
        _ => Err(Rejection::NoMatch { model: model.clone(), selector: selector.to_string() }.into()),
    }
}

/// The version just registered, as it is on record; for a rehearsal, as it would be.
fn rehearsed_or_kept(
    receipt: &Receipt,
    by: &By,
    registered: &crate::event::VersionRegistered,
) -> Option<Arc<VersionState>> {
    if let Outcome::Rehearsed(events) = &receipt.outcome {
        let mut state = (*receipt.state).clone();
        let time = state.head.map_or(Timestamp::EPOCH, |head| head.time);
        let commit = crate::event::Commit {
            format: crate::event::FORMAT,
            stream: Stream::Registry,
            revision: Revision::after(state.revision()),
            previous: None,
            time,
            actor: by.actor.clone(),
            reason: by.reason.clone(),
            request_id: receipt.request_id.clone(),
            request_digest: registered.digest,
            events: events.clone(),
        };
        state.apply(&commit, registered.digest);
        return state.version(&registered.version).cloned();
    }
    receipt.state.version(&registered.version).cloned()
}

fn target_of(receipt: &Receipt, version: &Version) -> Option<Stage> {
    let moved = receipt.events().iter().find_map(|event| match event {
        Event::StageChanged(change) if change.version == *version => Some(change.to),
        _ => None,
    });
    moved.or_else(|| {
        let waiting = receipt.state.requests.values().find(|request| request.promotion.version == *version);
        waiting.map(|request| request.promotion.to)
    })
}

fn promotion(version: &Version, to: Stage, receipt: Receipt) -> Promotion {
    let mut done = None;
    let mut superseded = None;
    let mut requested = None;
    for event in receipt.events() {
        match event {
            Event::StageChanged(change) if change.version == *version => {
                done = Some((change.rollback_safety.clone(), change.gates.clone()))
            }
            Event::StageChanged(change) => superseded = Some(change.version.clone()),
            Event::PromotionRequested(promotion) => requested = Some((**promotion).clone()),
            _ => {}
        }
    }
    if let Some((rollback_safety, gates)) = done {
        return Promotion::Done { rollback_safety, superseded, gates, receipt };
    }
    let waiting = receipt
        .state
        .requests
        .iter()
        .find(|(_, request)| request.promotion.version == *version && request.promotion.to == to);
    if let Some((revision, request)) = waiting {
        let approved = u32::try_from(request.approvals().count()).unwrap_or(u32::MAX);
        return Promotion::Pending {
            request: *revision,
            approvals_missing: request.promotion.rule.quorum.get().saturating_sub(approved),
            expires_at: request.promotion.expires_at,
            receipt,
        };
    }
    match requested {
        // A rehearsal: the request is not in the state, since it was not made.
        Some(promotion) => Promotion::Pending {
            request: Revision::after(receipt.state.revision()),
            approvals_missing: promotion.rule.quorum.get(),
            expires_at: promotion.expires_at,
            receipt,
        },
        None => Promotion::Done { rollback_safety: None, superseded: None, gates: Vec::new(), receipt },
    }
}
