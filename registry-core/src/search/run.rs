//! Why this exists: the search itself, over any registry. Names and terms narrow down the models to look at
//! where they can; each one is folded, and the filter evaluated on its state, so the answer is exact on every
//! backend. In the natural order, rows are given out as they are found; in another one, only as many are held
//! as a page has.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::str::FromStr;
use std::sync::Arc;

use super::evaluate::Subject;
use super::filter::Filter;
use super::narrow::Leads;
use super::order::{Cursor, Order, SortKey};
use super::parse;
use crate::digest::Digest;
use crate::error::Error;
use crate::invalid::Invalid;
use crate::name::ModelName;
use crate::registry::{Need, Registry};
use crate::state::VersionState;
use crate::stream::{Stream, StreamKind, Term};

/// What is asked for.
///
/// ```
/// use registry_core::Query;
///
/// let query: Query = "tag.fraud and metric.auc >= 0.9 order by metric.auc desc".parse()?;
/// assert_eq!(query.order.to_string(), "metric.auc desc");
/// # Ok::<(), registry_core::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Query {
    /// Which versions; none for all.
    pub filter: Option<Filter>,
    /// In which order; by model name and version if it is empty.
    pub order: Order,
    /// Where the last page ended.
    pub after: Option<Cursor>,
    /// How many versions a page has at most; 100 if it is zero.
    pub limit: usize,
    /// Whether deleted versions count. They do as well if the filter names `deleted`.
    pub with_deleted: bool,
}

/// A version that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Arc<VersionState>,
}

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The versions.
    pub matches: Vec<Match>,
    /// Where to go on; none if this was all.
    pub next: Option<Cursor>,
}

impl Query {
    /// The most versions that a page can have.
    pub const LIMIT_MAX: usize = 100_000;
    const LIMIT_DEFAULT: usize = 100;

    /// What is asked for, whichever page of it.
    fn identity(&self) -> String {
        let filter = self.filter.as_ref().map(ToString::to_string).unwrap_or_default();
        // No filter and no order prints with a line feed.
        let asked = format!("{filter}\n{}\n{}", self.order, self.with_deleted);
        Digest::of(asked.as_bytes()).hex().chars().take(16).collect()
    }

    fn wants(&self, subject: &Subject<'_>) -> bool {
        let names_deleted = || self.filter.as_ref().is_some_and(Filter::names_deleted);
        (subject.version.deleted.is_none() || self.with_deleted || names_deleted())
            && self.filter.as_ref().is_none_or(|filter| filter.holds(subject))
    }

    fn check(&self) -> Result<usize, Invalid> {
        if Query::LIMIT_MAX < self.limit {
            let problem = format!("a page has at most {} versions; ask for the next one", Query::LIMIT_MAX);
            return Err(Invalid::new("limit", self.limit, problem));
        }
        if let Some(after) = &self.after
            && after.search != self.identity()
        {
            let problem = "belongs to another search; a page is followed by one of the same filter and order";
            return Err(Invalid::new("cursor", after, problem));
        }
        Ok(if self.limit == 0 { Query::LIMIT_DEFAULT } else { self.limit })
    }
}

impl FromStr for Query {
    type Err = Invalid;

    /// Reads a filter, and `order by …` after it; both may be absent.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (filter, order) = parse::query(text)?;
        Ok(Query { filter, order: order.unwrap_or_default(), ..Query::default() })
    }
}

impl From<Filter> for Query {
    fn from(filter: Filter) -> Self {
        Query { filter: Some(filter), ..Query::default() }
    }
}

pub(crate) async fn search<R: Registry + ?Sized>(registry: &R, query: &Query) -> Result<Page, Error> {
    let limit = query.check()?;
    let after = query.after.as_ref().map(|cursor| &cursor.last);
    let is_natural = query.order.is_natural();
    // In the natural order nothing before the model in which the last page ended is of interest.
    let from = after.filter(|_| is_natural).map(|last| &last.model);
    let leads = query.filter.as_ref().and_then(Filter::leads);
    let mut candidates = Candidates::new(leads, from);
    let mut rows = Rows { limit, kept: BinaryHeap::new() };
    while let Some(name) = candidates.next(registry).await? {
        if query.filter.as_ref().and_then(|filter| filter.by_name(&name)) == Some(false) {
            continue;
        }
        let state = registry.state(&Stream::Model(name.clone()), &Need::Whole).await?;
        for version in state.versions() {
            let subject = Subject { name: &name, model: &state, version };
            if !query.wants(&subject) {
                continue;
            }
            let key = query.order.key(&subject);
            if after.is_none_or(|after| *after < key) {
                rows.add(Row { key, version: Arc::clone(version) });
            }
            if is_natural && limit < rows.kept.len() {
                return Ok(rows.page(query));
            }
        }
    }
    Ok(rows.page(query))
}

/// A version and its place.
struct Row {
    key: SortKey,
    version: Arc<VersionState>,
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Row {}

/// The first rows of those seen so far, and one more, which tells that there is a next page.
struct Rows {
    limit: usize,
    kept: BinaryHeap<Row>,
}

impl Rows {
    fn add(&mut self, row: Row) {
        self.kept.push(row);
        if self.limit.saturating_add(1) < self.kept.len() {
            self.kept.pop();
        }
    }

    fn page(self, query: &Query) -> Page {
        let mut rows = self.kept.into_sorted_vec();
        let has_more = self.limit < rows.len();
        rows.truncate(self.limit);
        let next = rows
            .last()
            .filter(|_| has_more)
            .map(|last| Cursor { search: query.identity(), last: last.key.clone() });
        let matches = rows.into_iter().map(|row| Match { model: row.key.model, version: row.version });
        Page { matches: matches.collect(), next }
    }
}

/// The models to look at, in the order of their names, each once.
struct Candidates {
    /// Models that are looked at in any case.
    names: BTreeSet<ModelName>,
    listings: Vec<Listing>,
}

/// The models that a term leads to, or all, a page at a time.
struct Listing {
    term: Option<Term>,
    ahead: VecDeque<ModelName>,
    last: Option<Stream>,
    is_done: bool,
}

/// How many names are listed at once.
const NAMES_PAGE: usize = 256;

impl Candidates {
    fn new(leads: Option<Leads>, from: Option<&ModelName>) -> Self {
        let (mut names, terms): (BTreeSet<ModelName>, Vec<Option<Term>>) = match leads {
            Some(leads) => (leads.names, leads.terms.into_iter().map(Some).collect()),
            None => (BTreeSet::new(), vec![None]),
        };
        if let Some(from) = from {
            names = names.split_off(from);
            // Lists go on after a name; whether this one is wanted, the filter knows.
            names.insert(from.clone());
        }
        let last = from.map(Stream::from);
        let listing = |term| Listing { term, ahead: VecDeque::new(), last: last.clone(), is_done: false };
        Candidates { names, listings: terms.into_iter().map(listing).collect() }
    }

    async fn next<R: Registry + ?Sized>(&mut self, registry: &R) -> Result<Option<ModelName>, Error> {
        for listing in &mut self.listings {
            listing.look_ahead(registry).await?;
        }
        let listed = self.listings.iter().filter_map(|listing| listing.ahead.front());
        let Some(first) = listed.chain(self.names.first()).min().cloned() else { return Ok(None) };
        self.names.remove(&first);
        for listing in &mut self.listings {
            listing.ahead.pop_front_if(|name| *name == first);
        }
        Ok(Some(first))
    }
}

impl Listing {
    /// Makes sure that the next name is known, if there is one.
    async fn look_ahead<R: Registry + ?Sized>(&mut self, registry: &R) -> Result<(), Error> {
        while self.ahead.is_empty() && !self.is_done {
            let (term, last) = (self.term.as_ref(), self.last.as_ref());
            let streams = registry.streams(StreamKind::Model, term, last, NAMES_PAGE).await?;
            self.is_done = streams.len() < NAMES_PAGE;
            self.ahead.extend(streams.iter().filter_map(|stream| stream.model().cloned()));
            self.last = streams.into_iter().next_back();
        }
        Ok(())
    }
}
