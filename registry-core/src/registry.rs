//! Why this exists: [`Registry`] is the one trait that services hold (`Arc<dyn Registry>`) and that
//! decorators wrap. It is narrow on purpose: the verbs that people use are in
//! [`RegistryExt`](crate::RegistryExt), written once in terms of these methods, and nobody can
//! override them, so they mean the same whatever lies below.

use std::sync::Arc;

use async_trait::async_trait;

use crate::command::Request;
use crate::digest::Digest;
use crate::error::Error;
use crate::event::{Commit, Event};
use crate::mirror::Adoption;
use crate::name::{ModelName, RequestId};
use crate::selector::Selector;
use crate::state::ModelState;
use crate::storage::{ArtifactStore, CommitLog};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::Clock;

/// A model registry.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Decides on a request and commits what follows from it, atomically.
    async fn execute(&self, request: Request) -> Result<Receipt, Error>;

    /// The present state of a stream, as of now: nothing committed before the call is left out.
    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error>;

    /// The commits of a stream from a revision on, in order, at most `limit`.
    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error>;

    /// The streams of a kind, in the order of their text forms, those after `after`, at most
    /// `limit`. With a term: at least those of which it was true once. One whose first commit is on its
    /// way, or never came, may be among them.
    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error>;

    /// Where the bytes are.
    fn artifacts(&self) -> &dyn ArtifactStore;

    /// Where the commits are, below the rules: for what moves logs as they are, such as
    /// [`archive`](crate::archive). Whoever appends here vouches for the record.
    fn commits(&self) -> &dyn CommitLog;

    /// The clock that commits are dated by.
    fn clock(&self) -> &dyn Clock;

    /// What others changed past the registry, where it shares its models with another system; none where it
    /// has them to itself.
    async fn drift(&self, _model: &ModelName) -> Result<Option<Adoption>, Error> {
        Ok(None)
    }
}

#[async_trait]
impl<R: Registry + ?Sized> Registry for Arc<R> {
    async fn execute(&self, request: Request) -> Result<Receipt, Error> {
        (**self).execute(request).await
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        (**self).state(stream, need).await
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        (**self).history(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        (**self).streams(kind, term, after, limit).await
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        (**self).artifacts()
    }

    fn commits(&self) -> &dyn CommitLog {
        (**self).commits()
    }

    fn clock(&self) -> &dyn Clock {
        (**self).clock()
    }

    async fn drift(&self, model: &ModelName) -> Result<Option<Adoption>, Error> {
        (**self).drift(model).await
    }
}

/// How much of a state the caller will look at. Asking for less makes a cold read cheaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Everything.
    Whole,
    /// What this selector names, and nothing else.
    Selected(Selector),
    /// The same, with its files. Where models are shared with another system, the files of a version that
    /// was not adopted yet must be read as a whole before they can be named by their digests; elsewhere this is
    /// the same as [`Need::Selected`].
    WithFiles(Selector),
}

impl Need {
    /// The selector, if less than everything is needed.
    pub fn selector(&self) -> Option<&Selector> {
        match self {
            Need::Whole => None,
            Need::Selected(selector) | Need::WithFiles(selector) => Some(selector),
        }
    }
}

/// A commit and its digest, as read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The commit.
    pub commit: Arc<Commit>,
    /// Its digest, by which the next commit refers to it.
    pub digest: Digest,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The id it went under.
    pub request_id: RequestId,
    /// What became of it.
    pub outcome: Outcome,
    /// The state in which the outcome holds.
    pub state: Arc<ModelState>,
}

/// See [`Receipt::outcome`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// It was committed now.
    Committed(Recorded),
    /// The same request was committed earlier, under the same id; this is that commit.
    Repeated(Recorded),
    /// Nothing was to be done: what was asked for is already so.
    Unchanged,
    /// A dry run: these events would be committed.
    Rehearsed(Vec<Event>),
}

impl Receipt {
    /// The events that were committed, or would be; none if nothing was to be done.
    pub fn events(&self) -> &[Event] {
        match &self.outcome {
            Outcome::Committed(recorded) | Outcome::Repeated(recorded) => &recorded.commit.events,
            Outcome::Rehearsed(events) => events,
            Outcome::Unchanged => &[],
        }
    }

    /// The commit, if there is one.
    pub fn commit(&self) -> Option<&Commit> {
        match &self.outcome {
            Outcome::Committed(recorded) | Outcome::Repeated(recorded) => Some(&recorded.commit),
            Outcome::Rehearsed(_) | Outcome::Unchanged => None,
        }
    }
}
