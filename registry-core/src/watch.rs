//! Why this exists: a service that serves models must learn of a promotion without being restarted.
//! There are two ways: [`Watch`] gives every commit, in order, none left out; [`Follower`] keeps the
//! one version that a selector names and says when it changes.
//!
//! Both poll with one cheap read. Waiting goes through the registry's clock, so that no particular
//! async runtime is needed and tests need not wait.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::error::Error;
use crate::ext::{Found, found_in};
use crate::name::ModelName;
use crate::registry::{Need, Recorded, Registry};
use crate::rejection::RejectionKind;
use crate::selector::Selector;
use crate::stream::{Revision, Stream};

/// How often the log is looked at unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval: without a pause a loop would keep a core busy.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const PAGE: usize = 256;

/// The commits of a stream as they come.
#[derive(Debug)]
pub struct Watch<'a, R: ?Sized> {
    registry: &'a R,
    stream: Stream,
    next: Revision,
    interval: Duration,
    read: VecDeque<Recorded>,
}

impl<'a, R: Registry + ?Sized> Watch<'a, R> {
    pub(crate) fn new(registry: &'a R, stream: Stream, from: Revision) -> Self {
        Watch { registry, stream, next: from, interval: INTERVAL, read: VecDeque::new() }
    }

    /// The same, looking that often.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(INTERVAL_MIN);
        self
    }

    /// The next commit, as soon as there is one. After an error it can be called again and leaves
    /// nothing out.
    pub async fn next(&mut self) -> Result<Recorded, Error> {
        loop {
            if let Some(recorded) = self.poll().await? {
                return Ok(recorded);
            }
            self.registry.clock().sleep(self.interval).await;
        }
    }

    /// The next commit if there is one now.
    pub async fn poll(&mut self) -> Result<Option<Recorded>, Error> {
        if self.read.is_empty() {
            self.read = self.registry.history(&self.stream, self.next, PAGE).await?.into();
        }
        let recorded = self.read.pop_front();
        if let Some(recorded) = &recorded {
            self.next = recorded.commit.revision.next();
        }
        Ok(recorded)
    }
}

/// Holds what a selector names. Share it, let one task run [`Follower::changed`] in a loop, and read
/// [`Follower::current`] wherever the model is needed.
#[derive(Debug)]
pub struct Follower<R: ?Sized> {
    registry: Arc<R>,
    model: ModelName,
    selector: Selector,
    interval: Duration,
    current: RwLock<Seen>,
}

/// What was named, and as of which revision.
#[derive(Debug, Default)]
struct Seen {
    revision: Option<Revision>,
    found: Option<Arc<Found>>,
}

impl<R: Registry + ?Sized> Follower<R> {
    pub(crate) fn new(registry: Arc<R>, model: ModelName, selector: Selector) -> Self {
        Follower { registry, model, selector, interval: INTERVAL, current: RwLock::default() }
    }

    /// The same, looking that often.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(INTERVAL_MIN);
        self
    }

    /// What was named when it was last looked at. Costs no I/O.
    pub fn current(&self) -> Option<Arc<Found>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).found.clone()
    }

    /// Looks now, and says what is named. Where several tasks look at once, what is held never goes
    /// back to something older.
    pub async fn refresh(&self) -> Result<Option<Arc<Found>>, Error> {
        let stream = Stream::Model(self.model.clone());
        let state = self.registry.state(&stream, &Need::Selected(self.selector.clone())).await?;
        let found = match found_in(&self.model, &self.selector, &state, self.registry.clock().now()) {
            Ok(found) => Some(Arc::new(found)),
            Err(Error::Rejected(rejection)) if rejection.kind() == RejectionKind::NotFound => None,
            Err(other) => return Err(other),
        };
        let mut seen = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if seen.revision <= state.revision() {
            *seen = Seen { revision: state.revision(), found };
        }
        Ok(seen.found.clone())
    }

    /// Waits until something else is named than before, and says what. Nothing named is a change too:
    /// it gives `None`.
    pub async fn changed(&self) -> Result<Option<Arc<Found>>, Error> {
        let before = self.current().map(|found| found.version.clone());
        loop {
            let found = self.refresh().await?;
            if found.as_ref().map(|found| &found.version) != before.as_ref() {
                return Ok(found);
            }
            self.registry.clock().sleep(self.interval).await;
        }
    }
}
