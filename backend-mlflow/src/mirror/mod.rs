//! Why this exists: people go on using MLflow. They look at its pages, load `models:/name@production`, and move
//! aliases as they always did. This is the other half of sharing a server with them: what the log says is
//! shown in MLflow's own registry, and what they change there is seen.
//!
//! # Whose change is it?
//!
//! MLflow has no transactions, no history and no dates of tags and aliases. When it shows something that the
//! log does not want, there are three reasons, and they must be told apart: a projection of ours broke off,
//! another one is under way, or somebody changed it. Two notes on the log's head decide:
//!
//! * `model-registry.shown`: up to which revision a projection was finished;
//! * `model-registry.showing.<process>.<number>`: that a process is writing, from which revision on it may write what
//!   the log wanted then, and since when.
//!
//! What MLflow shows, if it is what the log wanted at some revision since the lowest of these, is ours; else
//! somebody else's. Whoever projects reads the log again when it has written, and does it over if the log went
//! on meanwhile: so the last to write writes the latest. (A request that was given up after its time-out, and still arrives
//! after all that, is the exception.)
//!
//! Each time it does it over it notes both anew: that it is at it still, and how far it is. So those who commit
//! meanwhile need not write as well, and wait until what they committed is shown, or until that note is some seconds old.
//!
//! # What is shown
//!
//! | the registry | MLflow |
//! |---|---|
//! | model, description, tags | registered model, description, tags |
//! | version | version with the tag `model-registry.version`, a run of its own with parameters and metrics |
//! | stage | native stage; aliases `staging` and `production` |
//! | alias | alias |
//! | files | files in the folder `model` of that run |
//! | digest, stage, approval, deprecation, quarantine | tags `model-registry.…` |
//!
//! Nothing that others made is ever deleted, and a version that is deleted here is archived and tagged there,
//! since MLflow knows no way back.

mod evidence;
mod files;
mod foreign;
mod items;
mod numbers;
mod read;
mod runs;
mod shown;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lru::LruCache;
use registry_core::codec::decode;
use registry_core::files::OpenFiles;
use registry_core::mirror::{Drift, Keep, Mirror};
use registry_core::storage::{ArtifactStore, CommitLog as _, StorageError, StorageErrorKind};
use registry_core::{
    Actor, Command, IdSource as _, Invalid, Manifest, ModelName, ModelState, Need, Revision, Stream,
    SystemIds, Tags, Version, VersionState,
};

use crate::blobs::MlflowArtifacts;
use crate::files::Reach;
use crate::log::MlflowLog;
use crate::rest::{RestError, Server, next_token};
use serde_json::Value;

use evidence::Origin;
use foreign::Evidence;
use read::Snapshot;
use shown::{MLFLOWS, OURS};

/// How many models' recent states and numbers are kept in memory.
const MODELS_KEPT: NonZeroUsize = match NonZeroUsize::new(1_024) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};
/// How many states of a model are kept: those that a projection may still be writing.
const STATES_KEPT: usize = 32;
/// How many versions' evidence is kept.
const EVIDENCE_KEPT: NonZeroUsize = match NonZeroUsize::new(16_384) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};
/// The longest name of a model on all databases below MLflow.
const NAME_CHARS_MAX: usize = 256;
/// How many commits are read at once.
const PAGE: usize = 512;

/// MLflow's own registry, as the log wants it shown and as others change it.
pub struct MlflowMirror {
    server: Server,
    log: Arc<MlflowLog>,
    reach: Reach,
    bytes: Bytes,
    system: Actor,
    /// What the names of all models begin with there.
    prefix: String,
    /// Of this process, among all that project, and how many projections it has announced.
    id: String,
    announced: AtomicU64,
    recent: Mutex<LruCache<ModelName, VecDeque<Arc<ModelState>>>>,
    evidence: Mutex<LruCache<(ModelName, Origin), Arc<Evidence>>>,
    /// What was seen last, for the projection that follows a look at once.
    seen: Mutex<LruCache<ModelName, Snapshot>>,
    /// What numbers versions have.
    known: Mutex<LruCache<ModelName, Arc<KnownNumbers>>>,
    /// The experiments of models.
    experiments: Mutex<LruCache<ModelName, String>>,
    /// One projection of a model at a time in this process.
    turns: Mutex<LruCache<ModelName, Arc<futures_util::lock::Mutex<()>>>>,
}

impl std::fmt::Debug for MlflowMirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MlflowMirror").field(&self.server).finish()
    }
}

/// Where the registry's bytes are, from which the files of versions are shown.
enum Bytes {
    /// Nobody said: no files are shown.
    None,
    /// With the files of the server.
    Ours(Arc<MlflowArtifacts>),
    /// In a store of its own.
    Other(Arc<dyn ArtifactStore>),
}

/// The revision that a state is of; zero if it is of none.
fn revision_of(state: &ModelState) -> u64 {
    state.revision().map_or(0, |revision| revision.get())
}

fn failed(doing: &str) -> impl FnOnce(RestError) -> StorageError {
    move |error| error.failed(doing)
}

impl MlflowMirror {
    /// The registry of the server that a log is on. Files are not shown there unless it is said where they are.
    pub fn new(log: Arc<MlflowLog>) -> Result<Self, Invalid> {
        Ok(MlflowMirror {
            reach: Reach::new(log.server(), None),
            bytes: Bytes::None,
            server: log.server().clone(),
            log,
            system: "mlflow".parse()?,
            prefix: String::new(),
            id: format!("{:016x}", SystemIds.next_id() >> 64),
            announced: AtomicU64::new(0),
            recent: Mutex::new(LruCache::new(MODELS_KEPT)),
            evidence: Mutex::new(LruCache::new(EVIDENCE_KEPT)),
            seen: Mutex::new(LruCache::new(MODELS_KEPT)),
            known: Mutex::new(LruCache::new(MODELS_KEPT)),
            experiments: Mutex::new(LruCache::new(MODELS_KEPT)),
            turns: Mutex::new(LruCache::new(MODELS_KEPT)),
        })
    }

    /// The same, for models whose names begin so in MLflow, and not here. Others are left alone: so several
    /// registries can share a server.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The same, with the files of versions from, and known to, the store of the same server.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Arc<MlflowArtifacts>) -> Self {
        self.reach = artifacts.reach().clone();
        self.bytes = Bytes::Ours(artifacts);
        self
    }

    /// The same, with the files of versions from another store; those of versions that others registered are copied
    /// there when they are needed.
    #[must_use]
    pub fn with_other_artifacts(mut self, artifacts: Arc<dyn ArtifactStore>) -> Self {
        self.bytes = Bytes::Other(artifacts);
        self
    }

    /// The same, reaching other places than the server's own proxy, such as buckets.
    #[must_use]
    pub fn with_files(mut self, files: Arc<dyn OpenFiles>) -> Self {
        self.reach = Reach::new(&self.server, Some(files));
        self
    }

    /// The name of a model in MLflow.
    fn name(&self, model: &ModelName) -> String {
        format!("{}{model}", self.prefix)
    }

    /// Keeps a state, so that it need not be folded again to know what was wanted then.
    fn remember(&self, model: &ModelName, state: &Arc<ModelState>) {
        if state.is_partial() || state.revision().is_none() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let states = recent.get_or_insert_mut(model.clone(), VecDeque::new);
        if states.iter().any(|known| known.head == state.head) {
            return;
        }
        states.push_back(Arc::clone(state));
        states.make_contiguous().sort_by_key(|state| state.revision());
        if STATES_KEPT < states.len() {
            states.pop_front();
        }
    }

    /// The states from a revision to that of `last`, both included.
    async fn states(
        &self,
        model: &ModelName,
        from: u64,
        last: &Arc<ModelState>,
    ) -> Result<Vec<Arc<ModelState>>, StorageError> {
        let to = revision_of(last);
        if from == to {
            return Ok(vec![Arc::clone(last)]);
        }
        let known: Vec<Arc<ModelState>> = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent
                .get(model)
                .into_iter()
                .flatten()
                .filter(|state| revision_of(state) <= to)
                .cloned()
                .collect()
        };
        let within: Vec<Arc<ModelState>> =
            known.iter().filter(|state| from <= revision_of(state)).map(Arc::clone).collect();
        if 0 < from && u64::try_from(within.len()).is_ok_and(|count| count == to - from + 1) {
            return Ok(within);
        }
        // The log may be long; what is not known is read from the last state before it on.
        let before = known.iter().rfind(|state| revision_of(state) <= from);
        let mut state = before.map_or_else(ModelState::new, |state| (**state).clone());
        let mut states = Vec::new();
        if revision_of(&state) == from {
            states.push(Arc::new(state.clone()));
        }
        let stream = Stream::from(model);
        while revision_of(&state) < to {
            let commits = self.newer(&stream, &state).await?;
            if commits.is_empty() {
                break;
            }
            for (commit, digest) in &commits {
                state.apply(commit, *digest);
                if (from..=to).contains(&commit.revision.get()) {
                    states.push(Arc::new(state.clone()));
                }
            }
        }
        Ok(states)
    }

    /// Commits that a state does not have yet, a page of them.
    async fn newer(
        &self,
        stream: &Stream,
        state: &ModelState,
    ) -> Result<Vec<(registry_core::Commit, registry_core::Digest)>, StorageError> {
        self.commits(stream, state.revision()).await
    }

    /// Commits after a revision, a page of them.
    async fn commits(
        &self,
        stream: &Stream,
        after: Option<Revision>,
    ) -> Result<Vec<(registry_core::Commit, registry_core::Digest)>, StorageError> {
        let mut next = Revision::after(after);
        let mut commits = Vec::new();
        for record in self.log.read(stream, next, PAGE).await? {
            let commit = decode(stream, next, &record.body)
                .map_err(|error| StorageError::new(StorageErrorKind::Corrupt, error.to_string()))?;
            commits.push(commit);
            next = next.next();
        }
        Ok(commits)
    }

    fn turn(&self, model: &ModelName) -> Arc<futures_util::lock::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.get_or_insert(model.clone(), Arc::default))
    }
}

#[async_trait]
impl Mirror for MlflowMirror {
    fn system(&self) -> &Actor {
        &self.system
    }

    async fn models(&self, after: Option<&ModelName>, limit: usize) -> Result<Vec<ModelName>, StorageError> {
        let mut names: Vec<ModelName> = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.server.registered_models(token.as_deref()).await;
            let (models, next) = page.map_err(failed("listing the registered models"))?;
            // A name that the registry cannot hold cannot be asked for either.
            let ours = models.iter().filter_map(|model| model.name.strip_prefix(&self.prefix));
            names.extend(ours.filter_map(|name| name.parse::<ModelName>().ok()));
            let Some(next) = next else { break };
            token = Some(next_token(token, next).map_err(failed("listing the registered models"))?);
        }
        names.sort();
        names.dedup();
        Ok(names.into_iter().filter(|name| after.is_none_or(|after| after < name)).take(limit).collect())
    }

    async fn drift(
        &self,
        model: &ModelName,
        state: &ModelState,
        need: &Need,
    ) -> Result<Option<Drift>, StorageError> {
        if let Some(selector) = need.selector()
            && let Some(drift) = self.glance(model, state, selector).await?
        {
            return Ok(Some(drift));
        }
        if state.is_partial() {
            return Ok(None);
        }
        self.look(model, state).await
    }

    async fn files(
        &self,
        model: &ModelName,
        version: &VersionState,
        keep: Keep,
    ) -> Result<Option<Manifest>, StorageError> {
        self.files_of(model, version, keep).await
    }

    fn check(&self, model: &ModelName, command: &Command) -> Result<(), Invalid> {
        let name = self.name(model);
        if NAME_CHARS_MAX < name.chars().count() {
            let problem = format!("MLflow keeps at most {NAME_CHARS_MAX} characters, its prefix included");
            return Err(Invalid::new("model name", name, problem));
        }
        if name.contains('\'') && name.contains('"') {
            return Err(Invalid::new("model name", name, "MLflow cannot search for a name with both quotes"));
        }
        let long = |values: &BTreeMap<String, Value>| {
            let parameter = values
                .iter()
                .find(|(_, value)| write::PARAM_CHARS_MAX < write::parameter(value).chars().count());
            match parameter {
                None => Ok(()),
                Some((name, _)) => Err(Invalid::new(
                    "hyperparameter",
                    name,
                    format!("MLflow keeps at most {} characters of a parameter", write::PARAM_CHARS_MAX),
                )),
            }
        };
        let theirs = |extra: &BTreeMap<String, Value>| match extra.keys().find(|key| is_reserved(key)) {
            Some(key) => {
                let problem = format!(
                    "keys that begin with `{MLFLOWS}` or `{OURS}` say what MLflow knows of a version"
                );
                Err(Invalid::new("metadata", key, problem))
            }
            None => Ok(()),
        };
        let check = |tags: &Tags| match tags.keys().find(|key| is_reserved(key.as_str())) {
            Some(key) => {
                let problem =
                    format!("keys that begin with `{OURS}` or `{MLFLOWS}` are not for tags of users");
                Err(Invalid::new("tag", key, problem))
            }
            None => Ok(()),
        };
        match command {
            Command::Register { content, .. } => {
                long(&content.metadata.hyperparameters)?;
                theirs(&content.metadata.extra)?;
                check(&content.tags)
            }
            Command::Amend { metadata, .. } => {
                long(&metadata.hyperparameters)?;
                theirs(&metadata.extra)
            }
            Command::ChangeTags { set, .. } => check(set),
            _ => Ok(()),
        }
    }

    async fn project(&self, model: &ModelName, state: &ModelState) -> Result<(), StorageError> {
        if self.log.is_read_only() || state.is_partial() {
            return Ok(());
        }
        let turn = self.turn(model);
        let _turn = turn.lock().await;
        self.show(model, Arc::new(state.clone())).await
    }
}

fn is_reserved(key: &str) -> bool {
    !shown::is_users(key)
}

/// When a model was made in MLflow, and what numbers its versions have.
type KnownNumbers = (i64, BTreeMap<Version, u64>);

/// The evidence of versions, by number.
type EvidenceOf = BTreeMap<u64, Evidence>;
