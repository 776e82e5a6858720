//! Why this exists: a registry may share its models with another system that people go on using past it: an
//! MLflow server with its page and its clients. The log stays the truth, and two things are added to it. What
//! the log says is **projected** into the other system, so that its users see it; and what others change
//! there, past the rules, is **drift**: seen with the next look, shown, and adopted into the log by the next
//! write, under the name of whoever did it. So it neither disappears nor gets around the record.
//!
//! [`Mirror`] is what a backend implements for the other system; it compares and it writes, and holds no rule.
//! [`Mirrored`] puts it around a registry:
//!
//! ```text
//! a read      the state by the log, and on top of it what others have changed since: not written anywhere
//! a write     what others have changed is adopted, in a commit of its own; then the request is carried out;
//!             then its outcome is projected
//! ```
//!
//! A projection that fails, or whose process dies, fails no request: the commit was made. The next write
//! finishes it, and until then readers answer by the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::command::{By, Command, Request};
use crate::content::{Content, Manifest, Metadata, Metric, Tags};
use crate::decide::{Context, Evidence, Halt, decide};
use crate::engine::RECORD_BYTES_MAX;
use crate::error::Error;
use crate::evidence::decided;
use crate::invalid::Invalid;
use crate::name::{Actor, AliasName, Key, ModelName, RequestId, Text};
use crate::policy::Policy;
use crate::registry::{Need, Outcome, Receipt, Recorded, Registry};
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::{ModelState, VersionState};
use crate::storage::{ArtifactStore, CommitLog, StorageError};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::{Clock, Timestamp};
use crate::version::Version;

/// How often a write is tried anew because others went on changing the model meanwhile.
const ADOPTIONS_MAX: u32 = 20;
/// How often the two sides are compared anew because the log went on meanwhile.
const COMPARISONS_MAX: u32 = 20;
/// How long, at first, it is waited before that.
const COMPARISON_WAIT: Duration = Duration::from_millis(10);
/// About how large a commit of an adoption may be, in bytes: a model may have ten thousand versions.
const PART_BYTES: usize = RECORD_BYTES_MAX / 8;
/// How large a single change may be.
const CHANGE_BYTES_MAX: usize = RECORD_BYTES_MAX / 2;

/// Another system that knows the same models, and that others write to as well.
#[async_trait]
pub trait Mirror: Send + Sync + 'static {
    /// The name of the system, such as `mlflow`. Changes are signed with it where nobody knows who made them.
    fn system(&self) -> &Actor;

    /// The names of the models that it knows, in order, those after `after`, at most `limit`. Fewer than
    /// `limit` means that the end was reached.
    async fn models(&self, after: Option<&ModelName>, limit: usize) -> Result<Vec<ModelName>, StorageError>;

    /// What others changed, compared with what the log says, in the order in which it shall be adopted. Where
    /// only a selector is needed, it is enough to find what bears on that. `None`: that cannot be told from a
    /// state that is partial, or the log went on while the two were compared.
    async fn drift(
        &self,
        model: &ModelName,
        state: &ModelState,
        need: &Need,
    ) -> Result<Option<Drift>, StorageError>;

    /// The files of a version that others made, with their digests, readable under these from the artifact
    /// store by this process, and with [`Keep::ForAll`] by every process from now on. `None` if it has none, or
    /// none that can be reached.
    async fn files(
        &self,
        model: &ModelName,
        version: &VersionState,
        keep: Keep,
    ) -> Result<Option<Manifest>, StorageError>;

    /// Whether the system can hold what a command would make of a model. Asked before anything is written.
    fn check(&self, model: &ModelName, command: &Command) -> Result<(), Invalid>;

    /// Writes into the system what the log says. Doing it twice, or beside others who do, is harmless.
    async fn project(&self, model: &ModelName, state: &ModelState) -> Result<(), StorageError>;
}

/// For whom it is kept where the files of others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For this process, in memory: nothing is written.
    ForThis,
    /// For all who use the registry: the files are about to be put on record.
    ForAll,
}

/// What others changed in a system that the registry shares its models with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drift {
    /// The changes, in the order in which they are adopted.
    pub changes: Vec<Foreign>,
    /// What the log says and the other system does not show yet, in words.
    pub unfinished: Vec<String>,
}

/// A change that somebody made past the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// Who made it, as far as the other system knows.
    pub by: Option<Actor>,
    /// When, as far as it knows.
    pub at: Option<Timestamp>,
    /// What it means here.
    pub change: ForeignChange,
}

/// See [`Foreign::change`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ForeignChange {
    /// A version came into being.
    Registered {
        /// The version.
        version: Version,
        /// What is known of it.
        content: Box<Content>,
    },
    /// The files of a version became known.
    FilesFound {
        /// The version.
        version: Version,
        /// Its files.
        artifacts: Manifest,
    },
    /// A version was moved to a stage.
    Staged {
        /// The version.
        version: Version,
        /// The stage.
        to: Stage,
    },
    /// A version was deleted.
    Deleted {
        /// The version.
        version: Version,
    },
    /// An alias was pointed to a version.
    AliasSet {
        /// The alias.
        alias: AliasName,
        /// The version.
        version: Version,
    },
    /// An alias was removed.
    AliasRemoved {
        /// The alias.
        alias: AliasName,
    },
    /// Tags were changed.
    Tagged {
        /// The version; none means the model.
        version: Option<Version>,
        /// Tags added or replaced.
        set: Tags,
        /// Keys removed.
        removed: Vec<Key>,
    },
    /// A description was changed.
    Described {
        /// The version; none means the model.
        version: Option<Version>,
        /// The new description; none if it was removed.
        description: Option<Text>,
    },
    /// Metadata or metrics were added or corrected.
    Amended {
        /// The version.
        version: Version,
        /// Metadata to add or replace.
        metadata: Box<Metadata>,
        /// Metrics to add or replace.
        metrics: BTreeMap<Key, Metric>,
    },
}

/// What a registry found that others had changed, to be adopted into its log. Only a registry that shares its
/// models makes one, so that nobody can pass a change of their own off as somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adoption {
    system: Actor,
    changes: Vec<Foreign>,
    #[serde(skip)]
    unfinished: Vec<String>,
    /// The revision at which it was found.
    #[serde(skip)]
    revision: Option<Revision>,
}

impl Adoption {
    /// The system.
    pub fn system(&self) -> &Actor {
        &self.system
    }

    /// What was changed there.
    pub fn changes(&self) -> &[Foreign] {
        &self.changes
    }

    /// What the log says and the system does not show yet, in words.
    pub fn unfinished(&self) -> &[String] {
        &self.unfinished
    }

    /// The revision of the log that it was compared with.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The same in parts that each fit into a commit, in order.
    fn parts(self) -> Vec<Adoption> {
        let mut parts: Vec<Vec<Foreign>> = Vec::new();
        let mut room = 0;
        for change in self.changes {
            let size = serde_json::to_vec(&change).map_or(usize::MAX, |json| json.len());
            // What fits into no commit stays a difference, and must not keep everything else from being adopted.
            if CHANGE_BYTES_MAX < size {
                continue;
            }
            match parts.last_mut() {
                Some(part) if size <= room => {
                    part.push(change);
                    room -= size;
                }
                _ => {
                    parts.push(vec![change]);
                    room = PART_BYTES.saturating_sub(size);
                }
            }
        }
        let of = |changes| Adoption {
            system: self.system.clone(),
            changes,
            unfinished: Vec::new(),
            revision: self.revision,
        };
        parts.into_iter().map(of).collect()
    }
}

/// A registry whose models are shared with another system.
pub struct Mirrored<R: ?Sized, M: ?Sized> {
    mirror: Arc<M>,
    registry: Arc<R>,
}

impl<R: Registry + ?Sized + 'static, M: Mirror + ?Sized> Mirrored<R, M> {
    /// The registry, sharing its models.
    pub fn new(registry: Arc<R>, mirror: Arc<M>) -> Self {
        Mirrored { mirror, registry }
    }

    /// The present state by the log, and what others changed since.
    async fn compare(&self, model: &ModelName, need: &Need) -> Result<(Arc<ModelState>, Drift), Error> {
        let stream = Stream::from(model);
        let state = self.registry.state(&stream, need).await?;
        if let Some(drift) = self.mirror.drift(model, &state, need).await? {
            return Ok((state, drift));
        }
        for round in 1..=COMPARISONS_MAX {
            let state = self.registry.state(&stream, &Need::Whole).await?;
            if let Some(drift) = self.mirror.drift(model, &state, &Need::Whole).await? {
                return Ok((state, drift));
            }
            self.registry.clock().sleep(COMPARISON_WAIT.saturating_mul(round)).await;
        }
        Err(Error::Contention { attempts: COMPARISONS_MAX })
    }

    fn adoption(&self, state: &ModelState, drift: Drift) -> Adoption {
        Adoption {
            system: self.mirror.system().clone(),
            changes: drift.changes,
            unfinished: drift.unfinished,
            revision: state.revision(),
        }
    }

    /// The state as it would be if what others changed were adopted.
    fn overlaid(
        &self,
        stream: &Stream,
        state: &Arc<ModelState>,
        drift: Drift,
    ) -> Result<Arc<ModelState>, Error> {
        if drift.changes.is_empty() {
            return Ok(Arc::clone(state));
        }
        let now = self.registry.clock().now().max(state.head.map_or(Timestamp::EPOCH, |head| head.time));
        let command = Command::Adopt(self.adoption(state, drift));
        let context = Context {
            stream,
            now,
            actor: self.mirror.system(),
            reason: None,
            registry: &Policy::default(),
            evidence: &Evidence::default(),
        };
        match decide(state, &command, &context) {
            Ok(events) => Ok(Arc::new(state.overlaid(&events, now, self.mirror.system()))),
            Err(Halt::Rejected(rejection) | Halt::RejectedOnRecord { rejection, .. }) => {
                Err(rejection.into())
            }
            // Adopting asks for nothing.
            Err(Halt::NeedsBytes(_) | Halt::NeedsParents(_)) => Ok(Arc::clone(state)),
        }
    }

    /// Adopts what others changed, and the files that a command will rely on. Gives the state after that, and
    /// the revision at which it was looked for.
    async fn adopt(
        &self,
        model: &ModelName,
        command: &Command,
    ) -> Result<(Arc<ModelState>, Option<Revision>), Error> {
        for _ in 0..ADOPTIONS_MAX {
            let (state, drift) = self.compare(model, &Need::Whole).await?;
            let looked_at = state.revision();
            match self.take_up(model, command, state, drift).await {
                // Somebody wrote in between, and may have adopted the same.
                Err(Error::Rejected(Rejection::StaleAdoption { .. })) => {}
                done => return Ok((done?, looked_at)),
            }
        }
        Err(Error::Contention { attempts: ADOPTIONS_MAX })
    }

    async fn take_up(
        &self,
        model: &ModelName,
        command: &Command,
        mut state: Arc<ModelState>,
        drift: Drift,
    ) -> Result<Arc<ModelState>, Error> {
        let by = By::new(self.mirror.system().clone());
        let adoption = self.adoption(&state, drift);
        state = self.commit(model, &by, &state, adoption.parts()).await?;
        let files = self.find_files(model, command, &state).await?;
        let drift = Drift { changes: files, unfinished: Vec::new() };
        let adoption = self.adoption(&state, drift);
        self.commit(model, &by, &state, adoption.parts()).await
    }

    /// Commits an adoption, part by part, on exactly the state that it was found on.
    async fn commit(
        &self,
        model: &ModelName,
        by: &By,
        state: &Arc<ModelState>,
        parts: Vec<Adoption>,
    ) -> Result<Arc<ModelState>, Error> {
        let mut state = Arc::clone(state);
        for part in parts {
            let command = Command::Adopt(Adoption { revision: state.revision(), ..part });
            let by = By { expected: None, request_id: None, ..by.clone() };
            let request = Request { stream: Stream::from(model), by, command };
            state = self.registry.execute(request).await?.state;
        }
        Ok(state)
    }

    /// The files of the versions that a command is about to rely on, where they are not on record yet. A trial
    /// relies on two: what is known of them later would make them other content than was tried.
    async fn find_files(
        &self,
        model: &ModelName,
        command: &Command,
        state: &ModelState,
    ) -> Result<Vec<Foreign>, Error> {
        let versions = match command {
            Command::Promote { version, to: Stage::Staging | Stage::Production, .. } => [Some(version), None],
            Command::Rollback { to, .. } => {
                [to.as_ref().or_else(|| state.previous_in_production().next()), None]
            }
            Command::RollBackBroken { .. } => [state.previous_in_production().next(), None],
            Command::StartTrial { treatment, control, .. } => {
                [Some(treatment), control.as_ref().or(state.production.as_ref())]
            }
            _ => [None, None],
        };
        let mut files = Vec::new();
        for found in versions.into_iter().flatten().filter_map(|version| state.version(version)) {
            if found.content.artifacts.is_empty() && found.deleted.is_none() {
                files.extend(self.files_of(model, found, Keep::ForAll).await?);
            }
        }
        Ok(files)
    }

    async fn files_of(
        &self,
        model: &ModelName,
        version: &VersionState,
        keep: Keep,
    ) -> Result<Option<Foreign>, Error> {
        let artifacts = self.mirror.files(model, version, keep).await?;
        let change = |artifacts| ForeignChange::FilesFound { version: version.version.clone(), artifacts };
        Ok(artifacts.map(|artifacts| Foreign { by: None, at: None, change: change(artifacts) }))
    }

    /// What a request would do, on a state that is not in the log as it is.
    async fn rehearse(&self, request: &Request, state: Arc<ModelState>) -> Result<Receipt, Error> {
        let registry = self.registry.state(&Stream::Registry, &Need::Whole).await?;
        let head = state.head.map_or(Timestamp::EPOCH, |head| head.time);
        let now = self.registry.clock().now().max(head);
        let id: RequestId = match &request.by.request_id {
            Some(id) => id.clone(),
            None => "rehearsal".parse()?,
        };
        let mut evidence = Evidence::default();
        let events = decided(self, request, &state, now, &registry.policy, &mut evidence).await?;
        let outcome = if events.is_empty() { Outcome::Unchanged } else { Outcome::Rehearsed(events) };
        Ok(Receipt { request_id: id, outcome, state })
    }
}

#[async_trait]
impl<R: Registry + ?Sized + 'static, M: Mirror + ?Sized> Registry for Mirrored<R, M> {
    async fn execute(&self, mut request: Request) -> Result<Receipt, Error> {
        let Stream::Model(model) = request.stream.clone() else {
            return self.registry.execute(request).await;
        };
        self.mirror.check(&model, &request.command)?;
        if request.by.dry_run {
            // An adoption is rehearsed on what it was compared with.
            if matches!(request.command, Command::Adopt(_)) {
                return self.registry.execute(request).await;
            }
            let (state, drift) = self.compare(&model, &Need::Whole).await?;
            let repeats = request.by.request_id.as_ref().is_some_and(|id| state.fulfilled(id).is_some());
            if drift.changes.is_empty() || repeats {
                return self.registry.execute(request).await;
            }
            if let Some(expected) = request.by.expected
                && state.revision() != Some(expected)
            {
                return Err(Rejection::RevisionMismatch { expected, actual: state.revision() }.into());
            }
            let overlaid = self.overlaid(&request.stream, &state, drift)?;
            return self.rehearse(&request, overlaid).await;
        }
        let mut adopted = None;
        if let Command::Adopt(adoption) = &request.command {
            let mut parts = adoption.clone().parts();
            // The last part gives the receipt.
            if let Some(last) = parts.pop()
                && !parts.is_empty()
            {
                let state = self.registry.state(&request.stream, &Need::Whole).await?;
                if state.revision() != adoption.revision {
                    let (found_at, actual) = (adoption.revision, state.revision());
                    return Err(Rejection::StaleAdoption { found_at, actual }.into());
                }
                let revision = self.commit(&model, &request.by, &state, parts).await?.revision();
                request.by.expected = None;
                request.command = Command::Adopt(Adoption { revision, ..last });
            }
        } else {
            let (state, looked_at) = self.adopt(&model, &request.command).await?;
            adopted = (state.revision() != looked_at).then(|| Arc::clone(&state));
            // Whoever named the revision before that had been shown what was adopted.
            if request.by.expected.is_some() && request.by.expected == looked_at {
                request.by.expected = state.revision();
            }
        }
        let receipt = match self.registry.execute(request).await {
            Ok(receipt) => receipt,
            Err(error) => {
                // What was adopted stays, and is shown: until then, whoever puts it back as it was would seem to
                // have done nothing.
                if let Some(state) = adopted {
                    let _ = self.mirror.project(&model, &state).await;
                }
                return Err(error);
            }
        };
        // Where this fails, the next write finishes it; the commit stands.
        let _ = self.mirror.project(&model, &receipt.state).await;
        Ok(receipt)
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        let Stream::Model(model) = stream else { return self.registry.state(stream, need).await };
        let (state, mut drift) = self.compare(model, need).await?;
        let overlaid = self.overlaid(stream, &state, drift.clone())?;
        if let Need::WithFiles(selector) = need
            && let Ok(Some(found)) = selector.resolve(&overlaid)
            && found.content.artifacts.is_empty()
            && found.deleted.is_none()
            && let Some(files) = self.files_of(model, &found, Keep::ForThis).await?
        {
            drift.changes.push(files);
            return self.overlaid(stream, &state, drift);
        }
        Ok(overlaid)
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.registry.history(stream, from, limit).await
    }

    /// With a term, all models of the other system are candidates: it knows no terms.
    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        let mut streams = self.registry.streams(kind, term, after, limit).await?;
        if kind == StreamKind::Model {
            let after = after.and_then(Stream::model);
            let known = self.mirror.models(after, limit).await?;
            streams.extend(known.into_iter().map(Stream::Model));
            streams.sort();
            streams.dedup();
            streams.truncate(limit);
        }
        Ok(streams)
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        self.registry.artifacts()
    }

    fn commits(&self) -> &dyn CommitLog {
        self.registry.commits()
    }

    fn clock(&self) -> &dyn Clock {
        self.registry.clock()
    }

    async fn drift(&self, model: &ModelName) -> Result<Option<Adoption>, Error> {
        let (state, drift) = self.compare(model, &Need::Whole).await?;
        Ok(Some(self.adoption(&state, drift)))
    }
}
