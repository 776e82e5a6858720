//! Why this exists: "which versions are in staging, tagged `fraud`, with accuracy of at least 0.9?"
//! A query is plain data. Terms narrow down the models to look at where they can; each candidate is
//! folded and checked, so the answer is exact on every backend. Pages are stable: the cursor is the
//! last version shown, and what is registered meanwhile never makes one appear twice.

use std::sync::Arc;

use crate::error::Error;
use crate::name::{Actor, Key, ModelName};
use crate::registry::{Need, Registry};
use crate::stage::Stage;
use crate::state::{ModelState, VersionState};
use crate::stream::{Stream, StreamKind, Term};
use crate::terms;
use crate::time::Timestamp;
use crate::version::Version;

/// What is asked for. Every condition that is set must hold.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Query {
    /// The model's name contains this, in any case.
    pub name_contains: Option<String>,
    /// The version is in this stage.
    pub stage: Option<Stage>,
    /// The version or its model has these tags; with a value, that value.
    pub tags: Vec<(Key, Option<String>)>,
    /// The version has these metrics, with values from the first number to the second, both included.
    pub metrics: Vec<(Key, Option<f64>, Option<f64>)>,
    /// The version's owner.
    pub owner: Option<Actor>,
    /// The version was registered at this instant or later.
    pub registered_from: Option<Timestamp>,
    /// The version was registered at this instant or earlier.
    pub registered_until: Option<Timestamp>,
    /// This text occurs, in any case, in the model's name or description, or in the version's
    /// description, algorithm, framework or tags.
    pub text: Option<String>,
    /// Whether deleted versions count.
    pub with_deleted: bool,
    /// Where the last page ended.
    pub after: Option<Cursor>,
    /// How many versions a page has at most; 100 if it is zero.
    pub limit: usize,
}

/// The last version of a page. The next page begins after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
}

/// A version that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Arc<VersionState>,
}

/// A part of the answer, ordered by model name and then version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The versions.
    pub matches: Vec<Match>,
    /// Where to go on; none if this was all.
    pub next: Option<Cursor>,
}

const LIMIT_DEFAULT: usize = 100;
const STREAMS_PAGE: usize = 256;

impl Query {
    /// The most telling condition that a term answers.
    fn term(&self) -> Option<Term> {
        if let Some((key, _)) = self.tags.first() {
            return Some(terms::tag(key));
        }
        if let Some(owner) = &self.owner {
            return Some(terms::owner(owner.as_str()));
        }
        match self.stage {
            // Every version starts in development without a stage change.
            None | Some(Stage::Development) => None,
            Some(stage) => Some(Term::new("stage", stage.as_str())),
        }
    }

    fn matches_name(&self, name: &ModelName) -> bool {
        self.name_contains.as_ref().is_none_or(|part| contains(name.as_str(), part))
    }

    /// Whether a version of a model matches.
    pub fn matches(&self, name: &ModelName, model: &ModelState, version: &VersionState) -> bool {
        let content = &version.content;
        let tagged = |(key, value): &(Key, Option<String>)| {
            let found = content.tags.get(key).or_else(|| model.tags.get(key));
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let measured = |(key, low, high): &(Key, Option<f64>, Option<f64>)| {
            content.metrics.get(key).is_some_and(|metric| {
                let value = metric.value.get();
                low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high)
            })
        };
        let has_text = |text: &String| {
            let texts = [
                &model.description,
                &content.description,
                &content.metadata.algorithm,
                &content.metadata.framework,
            ];
            contains(name.as_str(), text)
                || texts
                    .iter()
                    .any(|found| found.as_ref().is_some_and(|found| contains(found.as_str(), text)))
                || content
                    .tags
                    .iter()
                    .chain(&model.tags)
                    .any(|(key, value)| contains(key.as_str(), text) || contains(value, text))
        };
        self.matches_name(name)
            && (self.with_deleted || version.deleted.is_none())
            && self.stage.is_none_or(|stage| version.stage == stage)
            && self.tags.iter().all(tagged)
            && self.metrics.iter().all(measured)
            && self.owner.as_ref().is_none_or(|owner| content.metadata.owner.as_ref() == Some(owner))
            && self.registered_from.is_none_or(|from| from <= version.registered.at)
            && self.registered_until.is_none_or(|until| version.registered.at <= until)
            && self.text.as_ref().is_none_or(has_text)
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

pub(crate) async fn search<R: Registry + ?Sized>(registry: &R, query: &Query) -> Result<Page, Error> {
    let limit = if query.limit == 0 { LIMIT_DEFAULT } else { query.limit };
    let term = query.term();
    let mut page = Page::default();
    // The model that the last page ended in may have more.
    let mut streams = match &query.after {
        Some(cursor) => vec![Stream::Model(cursor.model.clone())],
        None => registry.streams(StreamKind::Model, term.as_ref(), None, STREAMS_PAGE).await?,
    };
    let mut more = query.after.is_some() || STREAMS_PAGE <= streams.len();
    loop {
        for stream in &streams {
            let Some(name) = stream.model().filter(|name| query.matches_name(name)) else { continue };
            let state = registry.state(stream, &Need::Whole).await?;
            let shown = query.after.as_ref().filter(|cursor| cursor.model == *name);
            for version in state.versions() {
                if shown.is_some_and(|cursor| version.version <= cursor.version)
                    || !query.matches(name, &state, version)
                {
                    continue;
                }
                if limit <= page.matches.len() {
                    let last = page.matches.last();
                    page.next = last.map(|last| Cursor {
                        model: last.model.clone(),
                        version: last.version.version.clone(),
                    });
                    return Ok(page);
                }
                page.matches.push(Match { model: name.clone(), version: Arc::clone(version) });
            }
        }
        let Some(last) = streams.last().filter(|_| more) else { return Ok(page) };
        streams = registry.streams(StreamKind::Model, term.as_ref(), Some(last), STREAMS_PAGE).await?;
        more = STREAMS_PAGE <= streams.len();
    }
}
