//! Why this exists: a service that serves models must learn of a promotion without being restarted.
//! There are two ways: [`Watch`] gives every commit, in order, none left out; [`Follower`] keeps the
//! one version that a selector names and says when it changes.
//!
//! Both poll with one cheap read. Each pause is a little shorter or longer than the last, so that a fleet
//! that was started at once does not ask at once for ever. Waiting goes through the registry's clock, so
//! that no particular async runtime is needed and tests need not wait.

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
use crate::time::{IdSource, SystemIds};

/// How often the log is looked at unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval: without a pause a loop would keep a core busy.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const PAGE: usize = 256;

/// How long to wait between two looks.
#[derive(Debug, Clone)]
struct Pace {
    interval: Duration,
    ids: Arc<dyn IdSource>,
}

impl Pace {
    fn new() -> Self {
        Pace { interval: INTERVAL, ids: Arc::new(SystemIds) }
    }

    fn every(&mut self, interval: Duration) {
        self.interval = interval.max(INTERVAL_MIN);
    }

    /// The interval, give or take up to a quarter of it.
    fn next(&self) -> Duration {
        let quarter = self.interval / 4;
        let span_ns = (quarter * 2).as_nanos().saturating_add(1);
        let random_ns = u64::try_from(self.ids.next_id() % span_ns).unwrap_or(u64::MAX);
        (self.interval - quarter).saturating_add(Duration::from_nanos(random_ns))
    }
}

/// The commits of a stream as they come.
#[derive(Debug)]
pub struct Watch<'a, R: ?Sized> {
    registry: &'a R,
    stream: Stream,
    next: Revision,
    pace: Pace,
    read: VecDeque<Recorded>,
}

impl<'a, R: Registry + ?Sized> Watch<'a, R> {
    pub(crate) fn new(registry: &'a R, stream: Stream, from: Revision) -> Self {
        Watch { registry, stream, next: from, pace: Pace::new(), read: VecDeque::new() }
    }

    /// The same, looking about that often: each pause is up to a quarter shorter or longer.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.pace.every(interval);
        self
    }

    /// The same, with another source of what makes the pauses differ.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.pace.ids = ids;
        self
    }

    /// The next commit, as soon as there is one. After an error it can be called again and leaves
    /// nothing out.
    pub async fn next(&mut self) -> Result<Recorded, Error> {
        loop {
            if let Some(recorded) = self.poll().await? {
                return Ok(recorded);
            }
            self.registry.clock().sleep(self.pace.next()).await;
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
    pace: Pace,
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
        Follower { registry, model, selector, pace: Pace::new(), current: RwLock::default() }
    }

    /// The same, looking about that often: each pause is up to a quarter shorter or longer.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.pace.every(interval);
        self
    }

    /// The same, with another source of what makes the pauses differ.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.pace.ids = ids;
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
            self.registry.clock().sleep(self.pace.next()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::command::By;
    use crate::content::Content;
    use crate::ext::{Registration, RegistryExt as _};
    use crate::time::{Clock, ManualClock, Timestamp};
    use crate::version::Version;

    /// A clock that need not be waited for, and remembers how long it was asked to sleep.
    #[derive(Debug)]
    struct Noting {
        clock: ManualClock,
        slept: Mutex<Vec<Duration>>,
    }

    #[async_trait]
    impl Clock for Noting {
        fn now(&self) -> Timestamp {
            self.clock.now()
        }

        async fn sleep(&self, duration: Duration) {
            self.slept.lock().unwrap().push(duration);
            self.clock.sleep(duration).await;
        }
    }

    #[derive(Debug, Default)]
    struct Counted(AtomicU64);

    impl IdSource for Counted {
        fn next_id(&self) -> u128 {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        }
    }

    /// The pauses of somebody who waits ten minutes for a commit, looking every two seconds.
    async fn pauses(follows: bool) -> Vec<Duration> {
        const EVERY: Duration = Duration::from_secs(2);
        let clock = Arc::new(Noting { clock: ManualClock::new(Timestamp::EPOCH), slept: Mutex::default() });
        let registry = Arc::new(crate::memory::in_memory().with_clock(Arc::clone(&clock) as _));
        let model: ModelName = "awaited".parse().unwrap();
        let watching = async {
            if follows {
                let follower = registry.follow(&model, &Selector::LATEST).every(EVERY);
                let follower = follower.with_ids(Arc::new(Counted::default()));
                follower.changed().await.unwrap().unwrap();
            } else {
                let watch = registry.watch(&model, Revision::FIRST).every(EVERY);
                let mut watch = watch.with_ids(Arc::new(Counted::default()));
                assert_eq!(watch.next().await.unwrap().commit.revision, Revision::FIRST);
            }
            std::mem::take(&mut *clock.slept.lock().unwrap())
        };
        let writing = async {
            while clock.now() < Timestamp::EPOCH.saturating_add(Duration::from_secs(600)) {
                tokio::task::yield_now().await;
            }
            let by = By::new("writer".parse().unwrap());
            let registration = Registration::new(Version::new(1, 0, 0), Content::default());
            registry.register(&by, &model, registration, &[]).await.unwrap();
        };
        tokio::join!(watching, writing).0
    }

    #[tokio::test]
    async fn pauses_differ_by_up_to_a_quarter_and_are_right_on_average() {
        for follows in [false, true] {
            let slept = pauses(follows).await;
            assert!(250 < slept.len(), "{}", slept.len());
            let (least, most) = (slept.iter().min().unwrap(), slept.iter().max().unwrap());
            assert!(
                Duration::from_millis(1_500) <= *least && *least < Duration::from_millis(1_600),
                "{least:?}"
            );
            assert!(
                Duration::from_millis(2_400) < *most && *most <= Duration::from_millis(2_500),
                "{most:?}"
            );
            let average = slept.iter().sum::<Duration>() / u32::try_from(slept.len()).unwrap();
            assert!((1_950..2_050).contains(&average.as_millis()), "{average:?}");
            assert_eq!(slept, pauses(follows).await, "the same ids give the same pauses");
        }
    }
}
