//! Why this exists: somebody must look. A [`Monitor`] reads what was observed in the window of each rule, assesses the
//! rule, and acts: it tells whoever wants to know, and takes a version that broke a rule out of production. It may run in
//! the service itself, beside it, or in ten replicas at once.
//!
//! It reads the log of health from where it stopped, and begins by looking for the place in it by time, so a start costs
//! a few reads however long the log is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::command::{By, Command, Request};
use crate::error::Error;
use crate::event::{Event, RolledBack};
use crate::ext::{HISTORY_PAGE, RegistryExt as _};
use crate::invalid::Invalid;
use crate::name::{Key, ModelName, RequestId, Text};
use crate::policy::Effective;
use crate::registry::{Need, Registry};
use crate::rejection::Rejection;
use crate::state::{ModelState, ProductionSpan};
use crate::stream::{Revision, Stream};
use crate::time::Timestamp;
use crate::version::Version;

use super::assess::{Breach, Memory, Phase, Reading, Watched, assess};
use super::rule::{Baseline, Response, Rule, acting};
use super::summary::{Gathering, Observed, Summary};

/// Whoever wants to know when a rule is broken.
#[async_trait]
pub trait Notify: Send + Sync {
    /// Tells it, after all was done that rules ask for. What goes wrong is passed on to whoever called the monitor,
    /// and undoes nothing.
    async fn notify(&self, finding: &Finding) -> Result<(), String>;
}

/// Where numbers are that were counted elsewhere.
#[async_trait]
pub trait Source: Send + Sync {
    /// What it knows.
    fn metric(&self) -> &Key;

    /// What was observed since it was asked last. If that cannot be read, this is a reading that failed for every
    /// rule on this metric.
    async fn pull(&self, watched: &Watched, now: Timestamp) -> Result<Pulled, String>;
}

/// What a source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The same wherever the same numbers are pulled, so that ten monitors write them down once.
    pub id: RequestId,
    /// The numbers; none if nothing was observed.
    pub summaries: Vec<Summary>,
}

/// A rule that is broken, or of which too long nothing could be said, and what was done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finding {
    /// The model.
    pub model: ModelName,
    /// The name of the rule.
    pub rule: Key,
    /// What was measured.
    pub breach: Breach,
    /// What was done.
    pub action: Action,
    /// Who could not be told, and why.
    pub untold: Vec<String>,
}

/// See [`Finding::action`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Somebody was told.
    Alerted,
    /// The version was taken out of production.
    RolledBack {
        /// The version that is there now.
        to: Version,
    },
    /// The version was not there any more: somebody was faster.
    AlreadyGone,
    /// It should have been taken out, and a rule of the registry forbids it, for this reason.
    Refused(String),
    /// It should have been taken out, and the registry could not be written to, for this reason. It is tried again
    /// the next time that the rule is measured.
    NotDone(String),
    /// It should have been taken out, and nobody knows whether it was, for this reason.
    InDoubt(String),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Alerted => f.write_str("nothing but telling was done"),
            Action::RolledBack { to } => write!(f, "rolled back to {to}"),
            Action::AlreadyGone => f.write_str("it was taken out already"),
            Action::Refused(problem) | Action::NotDone(problem) => {
                write!(f, "it could not be rolled back: {problem}")
            }
            Action::InDoubt(problem) => write!(f, "it may have been rolled back or not: {problem}"),
        }
    }
}

/// Watches what a model does in production.
pub struct Monitor<R: ?Sized> {
    registry: Arc<R>,
    model: ModelName,
    listeners: Vec<Arc<dyn Notify>>,
    sources: Vec<Arc<dyn Source>>,
    rules: BTreeMap<Key, Looked>,
    health: Health,
}

/// What is remembered of a rule.
#[derive(Default)]
struct Looked {
    rule: Option<Rule>,
    at: Option<Timestamp>,
    memory: Memory,
}

impl<R: Registry + ?Sized> Monitor<R> {
    /// A monitor of a model, by the rules of its policy and of the registry's.
    pub fn new(registry: Arc<R>, model: ModelName) -> Self {
        let health = Health {
            stream: Stream::Health(model.clone()),
            next: None,
            from: None,
            summaries: VecDeque::new(),
        };
        let (listeners, sources) = (Vec::new(), Vec::new());
        Monitor { registry, model, listeners, sources, rules: BTreeMap::new(), health }
    }

    /// The same, telling this one as well.
    #[must_use]
    pub fn telling(mut self, listener: Arc<dyn Notify>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// The same, pulling numbers from here before it looks at a rule on them.
    #[must_use]
    pub fn pulling(mut self, source: Arc<dyn Source>) -> Self {
        self.sources.push(source);
        self
    }

    /// Looks for ever, about that often. What goes wrong is given to `on_error`, and looking goes on.
    pub async fn run(&mut self, every: Duration, mut on_error: impl FnMut(Error)) {
        /// Without a pause a loop would keep a core busy.
        const PAUSE_MIN: Duration = Duration::from_millis(10);
        loop {
            if let Err(error) = self.look().await {
                on_error(error);
            }
            self.registry.clock().sleep(every.max(PAUSE_MIN)).await;
        }
    }

    /// Looks once at all rules that are due, and does what they ask for.
    pub async fn look(&mut self) -> Result<Vec<Finding>, Error> {
        let state = self.registry.model(&self.model).await?;
        let general = self.registry.state(&Stream::Registry, &Need::Whole).await?;
        let policy = Effective { model: &state.policy, registry: &general.policy };
        let rules: BTreeMap<Key, Rule> =
            policy.monitor().into_iter().map(|(name, rule)| (name.clone(), rule.clone())).collect();
        self.rules.retain(|name, looked| rules.get(name) == looked.rule.as_ref());
        let Some(watched) = watched(&state) else {
            self.rules.clear();
            return Ok(Vec::new());
        };
        let now = self.registry.clock().now();
        let is_due = |name: &Key, rule: &Rule| {
            let last = self.rules.get(name).and_then(|looked| looked.at);
            last.is_none_or(|last| rule.interval() <= now.since(last) || now < last)
        };
        let due: Vec<(Key, Rule)> = rules.into_iter().filter(|(name, rule)| is_due(name, rule)).collect();
        let Some(window) = due.iter().map(|(_, rule)| rule.window()).max() else { return Ok(Vec::new()) };
        // Rules that are due at other times look as far back as they do.
        let window = self
            .rules
            .values()
            .filter_map(|looked| Some(looked.rule.as_ref()?.window()))
            .fold(window, Duration::max);
        let unreadable = self.pull(&due, &watched, now).await;
        let readable = self.health.bring_up(&*self.registry, before(now, window)).await;
        let mut findings = Vec::new();
        for (name, rule) in due {
            let reading = match (&readable, unreadable.get(&rule.metric)) {
                (Err(error), _) => Reading::Unreadable(error.to_string()),
                (Ok(()), Some(problem)) => Reading::Unreadable(problem.clone()),
                (Ok(()), None) => match self.baseline(&rule, &state).await {
                    Err(error) => Reading::Unreadable(error.to_string()),
                    Ok(baseline) => Reading::Observed {
                        observed: Box::new(self.health.observed(&rule, &watched, now)),
                        baseline,
                    },
                },
            };
            let looked = self.rules.entry(name.clone()).or_default();
            looked.rule = Some(rule.clone());
            looked.at = Some(now);
            let phase = assess(&rule, &watched, &mut looked.memory, &reading, now);
            if let Phase::Broken(breach) | Phase::Inconclusive(breach) | Phase::Unreadable(breach) = phase {
                let finding = self.act(name.clone(), breach).await;
                if matches!(finding.action, Action::NotDone(_) | Action::InDoubt(_))
                    && let Some(looked) = self.rules.get_mut(&name)
                {
                    looked.memory.speak_again();
                }
                findings.push(finding);
            }
        }
        // Telling may take long. No rollback waits for it.
        for finding in &mut findings {
            self.tell(finding).await;
        }
        Ok(findings)
    }

    /// Writes down what the sources know of the metrics that are measured now; which of them could not be read, and
    /// why.
    async fn pull(&self, due: &[(Key, Rule)], watched: &Watched, now: Timestamp) -> BTreeMap<Key, String> {
        let mut unreadable = BTreeMap::new();
        for source in &self.sources {
            let metric = source.metric();
            if due.iter().all(|(_, rule)| rule.metric != *metric) {
                continue;
            }
            let written = match source.pull(watched, now).await {
                Ok(pulled) => self.write_down(pulled).await.map_err(|error| error.to_string()),
                Err(problem) => Err(problem),
            };
            if let Err(problem) = written {
                unreadable.insert(metric.clone(), problem);
            }
        }
        unreadable
    }

    async fn write_down(&self, Pulled { id, summaries }: Pulled) -> Result<(), Error> {
        let by = By::new(SOURCE_ACTOR.parse()?).with_request_id(id);
        match self.registry.report_health(&by, &self.model, summaries).await {
            Ok(_) => Ok(()),
            // Another monitor wrote down what it saw of the same moment.
            Err(Error::Rejected(Rejection::RequestIdReused { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the values of a rule are compared with, if that is known.
    async fn baseline(&self, rule: &Rule, state: &ModelState) -> Result<Option<f64>, Error> {
        Ok(match rule.baseline() {
            None => None,
            Some(Baseline::Fixed(value)) => Some(value.get()),
            Some(Baseline::Registered) => {
                let version = state.production.as_ref().and_then(|version| state.version(version));
                let metric = version.and_then(|version| version.content.metrics.get(&rule.metric));
                metric.map(|metric| metric.value.get())
            }
            Some(Baseline::Previous) => {
                let Some(span) = state.production_spans().rev().nth(1) else { return Ok(None) };
                self.last_of(rule, span).await?.aggregate(rule.aggregate).filter(|value| value.is_finite())
            }
        })
    }

    /// What a version measured last, before it left production.
    async fn last_of(&self, rule: &Rule, span: &ProductionSpan) -> Result<Observed, Error> {
        let until = span.until.unwrap_or(span.since.at);
        let from = before(until, rule.window());
        let stream = &self.health.stream;
        let mut next = first_since(&*self.registry, stream, from).await?;
        let mut gathering = Gathering::default();
        loop {
            let page = self.registry.history(stream, next, HISTORY_PAGE).await?;
            for recorded in &page {
                for summary in reported(&recorded.commit.events) {
                    if summary.version == span.version
                        && summary.metric == rule.metric
                        && from < summary.until
                        && summary.until <= until
                    {
                        gathering.merge(&summary.observed);
                    }
                }
                next = recorded.commit.revision.next();
            }
            let is_over = page.last().is_none_or(|last| until < last.commit.time);
            if is_over || page.len() < HISTORY_PAGE {
                return Ok(gathering.observed());
            }
        }
    }

    /// Does what a broken rule asks for.
    async fn act(&self, rule: Key, breach: Breach) -> Finding {
        let action = match breach.response {
            Response::Alert => Action::Alerted,
            Response::RollBack => self.roll_back(&rule, &breach).await,
        };
        Finding { model: self.model.clone(), rule, breach, action, untold: Vec::new() }
    }

    /// Tells whoever wants to know, unless another monitor did it and tells it.
    async fn tell(&self, finding: &mut Finding) {
        if finding.action == Action::AlreadyGone {
            return;
        }
        for listener in &self.listeners {
            if let Err(problem) = listener.notify(finding).await {
                finding.untold.push(problem);
            }
        }
    }

    async fn roll_back(&self, rule: &Key, breach: &Breach) -> Action {
        let by = match (acting(rule), reason(&breach.reason)) {
            (Ok(actor), Ok(reason)) => By::new(actor).because(reason),
            (Err(invalid), _) | (_, Err(invalid)) => return Action::NotDone(invalid.to_string()),
        };
        let command = Command::RollBackBroken { rule: rule.clone(), breach: Box::new(breach.clone()) };
        let request = Request { stream: Stream::from(&self.model), by, command };
        match self.registry.execute(request).await {
            Ok(receipt) => {
                let done = receipt.events().iter().find_map(|event| match event {
                    Event::RolledBack(done) => Some(RolledBack::clone(done)),
                    _ => None,
                });
                done.map_or(Action::AlreadyGone, |done| Action::RolledBack { to: done.to })
            }
            Err(Error::Rejected(rejection)) => Action::Refused(rejection.to_string()),
            Err(error @ Error::OutcomeUnknown { .. }) => Action::InDoubt(error.to_string()),
            Err(error) => Action::NotDone(error.to_string()),
        }
    }
}

/// Who writes down what sources know.
const SOURCE_ACTOR: &str = "monitor";

/// What a source said of itself may hold anything.
fn reason(text: &str) -> Result<Text, Invalid> {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.take(Text::CHARS_MAX).collect();
    short.parse()
}

/// The version in production, and since when.
fn watched(state: &ModelState) -> Option<Watched> {
    let version = state.production.clone()?;
    let span = state.production_spans().next_back().filter(|span| span.version == version)?;
    Some(Watched { version, since: span.since.at })
}

fn before(now: Timestamp, gap: Duration) -> Timestamp {
    let gap = i64::try_from(gap.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microseconds(now.microseconds().saturating_sub(gap)).unwrap_or(Timestamp::EPOCH)
}

fn reported(events: &[Event]) -> impl Iterator<Item = &Summary> {
    events.iter().flat_map(|event| match event {
        Event::HealthReported { summaries } => summaries.as_slice(),
        _ => &[],
    })
}

/// What was observed lately.
struct Health {
    stream: Stream,
    /// Where reading goes on; none before the first time.
    next: Option<Revision>,
    /// From when on everything is there that was reported.
    from: Option<Timestamp>,
    summaries: VecDeque<Summary>,
}

impl Health {
    /// Reads what was reported since the last time, and forgets what is over.
    async fn bring_up<R: Registry + ?Sized>(&mut self, registry: &R, from: Timestamp) -> Result<(), Error> {
        let reaches_back = self.from.is_some_and(|covered| covered <= from);
        let mut next = match self.next.filter(|_| reaches_back) {
            Some(next) => next,
            // The first time, or a rule with a longer window came in.
            None => {
                self.summaries.clear();
                first_since(registry, &self.stream, from).await?
            }
        };
        self.next = None;
        loop {
            let page = registry.history(&self.stream, next, HISTORY_PAGE).await?;
            for recorded in &page {
                self.summaries.extend(reported(&recorded.commit.events).cloned());
                next = recorded.commit.revision.next();
            }
            if page.len() < HISTORY_PAGE {
                break;
            }
        }
        (self.next, self.from) = (Some(next), Some(from));
        self.summaries.retain(|summary| from < summary.until);
        Ok(())
    }

    /// What a rule looks at: of the version that is watched, since it entered production, in the window.
    fn observed(&self, rule: &Rule, watched: &Watched, now: Timestamp) -> Observed {
        let from = before(now, rule.window());
        let counts = |summary: &&Summary| {
            summary.version == watched.version
                && summary.metric == rule.metric
                && watched.since <= summary.from
                && from < summary.until
                && summary.from <= now
        };
        let mut gathering = Gathering::default();
        self.summaries.iter().filter(counts).for_each(|summary| gathering.merge(&summary.observed));
        gathering.observed()
    }
}

/// The first commit of a stream that is not older than an instant, or the one that will come next; found by halving,
/// since commits are in the order of their times.
async fn first_since<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    instant: Timestamp,
) -> Result<Revision, Error> {
    // Of what is older all is at or below `low`; nothing from `high` on is.
    let is_older = async |number: u64| -> Result<bool, Error> {
        let page = registry.history(stream, Revision::new(number)?, 1).await?;
        Ok(page.first().is_some_and(|recorded| recorded.commit.time < instant))
    };
    let (mut low, mut high) = (0, 1);
    while high < Revision::MAX / 2 && is_older(high).await? {
        (low, high) = (high, high * 2);
    }
    while 1 < high - low {
        let middle = low + (high - low) / 2;
        if is_older(middle).await? { low = middle } else { high = middle }
    }
    Ok(Revision::new(high)?)
}
