//! Why this exists: a log of commits on a server that has no logs, no transactions and no compare-and-set.
//!
//! MLflow has two things that exactly one of several racers can do: give a parameter of a run its value, and
//! make an experiment of some name. A commit is the first, and the second says where a log is.
//!
//! ```text
//! experiment model-registry/model/fraud      its tag says which run is the head
//!                     │
//! experiment model-registry                  has all runs of all logs
//!   ├── run  head          params segment.0, segment.1, … terms.0, …  = the ids of these runs
//!   ├── run  segment 0     params commit.00000000000000000001 … 16    = commits 1 to 16
//!   ├── run  segment 1     params commit.00000000000000000017 … 32
//!   ├── run  terms 0       tags by which commits 1 to 256 make the stream findable
//!   └── run  part          what is too long for a parameter (`body.rs`)
//! ```
//!
//! Which run a slot belongs to follows from its number, so writers never disagree about it. A run is made by
//! whoever needs it first and finds it missing; of several who do, one is chosen by a parameter of the
//! head, and the others delete theirs. The obvious alternatives are worse: one run for all commits would be
//! sent as a whole with each read, and tags instead of parameters can be overwritten.
//!
//! # An append
//!
//! Terms that are not known to be there are written first, so whoever reads a record finds its stream by
//! them. A body that is too long is stored in parts. The last request gives the slot's parameter its
//! value, and makes the commit. It may be sent twice: the same value again is as good as once, and another
//! one is refused.
//!
//! # A read
//!
//! Where the runs are never changes, and is remembered. The end of a log is one request away: its last
//! segment. Only when that is full, the head is asked for the next one.
//!
//! # What others do to it
//!
//! Everybody who may write to the server may delete runs and experiments. That is noticed and said, with what
//! brings them back; a log is never begun anew in the place of one that was there.

mod aside;
mod body;
mod checkpoints;
mod name;
mod place;

use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use lru::LruCache;
use registry_core::storage::{
    Append, CheckpointKind, CommitLog, Record, StorageError, StorageErrorKind, StoredRecord,
};
use registry_core::{Revision, Stream, StreamKind, Term};

use body::{Pointer, Value};
use name::{ELECTED, KEY, KIND, STREAM};
use place::{Place, Role, gone};

use crate::rest::{Kind, RestError, Run, Server, next_token};

pub(crate) use name::Names;

/// The layout that this version writes.
const LAYOUT: u64 = 1;
/// How many commits a segment has.
const SEGMENT: u64 = 16;
/// How many commits' terms a run of terms has.
const TERMS: u64 = 256;
/// How many requests are under way at once for one operation. A server has few workers.
const AT_ONCE: usize = 8;
/// How many streams' places are kept in memory. Forgetting one costs two requests.
const PLACES_MAX: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};
/// How many streams can have runs made at once by one process.
const MAKERS: usize = 16;

/// What begins the parameter of a commit.
const COMMIT: &str = "commit.";

/// Commits in runs on an MLflow server.
#[derive(Debug)]
pub struct MlflowLog {
    server: Server,
    names: Names,
    read_only: bool,
    /// Where files are to be kept; the server chooses if nothing is said.
    location: Option<String>,
    places: Mutex<LruCache<Stream, Arc<Place>>>,
    /// Streams that were looked for as thoroughly as can be, and never were.
    absent: Mutex<HashSet<Stream>>,
    /// The experiment that holds the runs.
    runs: Mutex<Option<String>>,
    /// One task of this process at a time makes the runs of a stream; the others find them made.
    makers: [futures_util::lock::Mutex<()>; MAKERS],
}

fn corrupt(problem: impl Into<String>) -> StorageError {
    StorageError::new(StorageErrorKind::Corrupt, problem)
}

fn slot(revision: u64) -> String {
    format!("{COMMIT}{revision:020}")
}

/// The segment of a revision.
fn segment_of(revision: Revision) -> u64 {
    (revision.get() - 1) / SEGMENT
}

impl MlflowLog {
    pub(crate) fn new(server: Server, names: Names, read_only: bool, location: Option<String>) -> Self {
        MlflowLog {
            location,
            server,
            names,
            read_only,
            places: Mutex::new(LruCache::new(PLACES_MAX)),
            absent: Mutex::default(),
            runs: Mutex::default(),
            makers: Default::default(),
        }
    }

    /// Waits until no other task of this process makes runs of this stream.
    async fn turn(&self, stream: &Stream) -> Option<futures_util::lock::MutexGuard<'_, ()>> {
        let mut hasher = std::hash::DefaultHasher::new();
        stream.hash(&mut hasher);
        let maker = usize::try_from(hasher.finish() % MAKERS as u64).unwrap_or(0);
        match self.makers.get(maker) {
            Some(maker) => Some(maker.lock().await),
            None => None,
        }
    }

    fn places(&self) -> MutexGuard<'_, LruCache<Stream, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absent(&self) -> MutexGuard<'_, HashSet<Stream>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_writable(&self) -> Result<(), StorageError> {
        if !self.read_only {
            return Ok(());
        }
        let problem = format!("the registry at {} was opened read-only", self.server.base());
        Err(StorageError::new(StorageErrorKind::PermissionDenied, problem))
    }

    /// Stores a long text in a run of its own.
    async fn store_parts(&self, stream: &Stream, role: &str, text: &str) -> Result<Pointer, StorageError> {
        let run = self.make_run(stream, role, None).await?;
        for batch in body::batches(text) {
            if let Err(error) = self.server.log_batch(&run, &batch, &[]).await {
                self.drop_runs(&[&run]).await;
                return Err(error.failed(format_args!("storing a long text for {stream}")));
            }
        }
        Ok(Pointer::new(&run, text))
    }

    /// The commits of a segment by revision, as the values of their parameters. There is no gap in them.
    async fn segment(
        &self,
        stream: &Stream,
        number: u64,
        id: &str,
    ) -> Result<BTreeMap<u64, String>, StorageError> {
        let run = self.log_run(stream, &format!("{} {number}", Role::Segment.as_str()), id).await?;
        let mut commits = BTreeMap::new();
        let first = number * SEGMENT + 1;
        for pair in run.data.params {
            let digits = pair.key.strip_prefix(COMMIT);
            match digits.and_then(|digits| digits.parse::<u64>().ok()) {
                Some(revision) if (first..first + SEGMENT).contains(&revision) => {
                    commits.insert(revision, pair.value);
                }
                // Nobody of us wrote that.
                _ => {}
            }
        }
        for (expected, revision) in (first..).zip(commits.keys()) {
            if expected != *revision {
                return Err(corrupt(format!(
                    "the log of {stream} has commit {revision}, but not commit {expected}: a parameter of the \
                     run {id} was deleted"
                )));
            }
        }
        Ok(commits)
    }

    /// A commit from the value of its parameter.
    async fn record(
        &self,
        stream: &Stream,
        revision: u64,
        value: String,
    ) -> Result<StoredRecord, StorageError> {
        let damaged = |problem: String| corrupt(format!("commit {revision} of {stream} {problem}"));
        let body = match body::read(&value).map_err(damaged)? {
            Value::Text(text) => text,
            Value::Elsewhere(pointer) => {
                let run = self.log_run(stream, PART, &pointer.run).await?;
                pointer
                    .join(&run.data.params)
                    .map_err(|problem| damaged(format!("is in the run {}, which {problem}", pointer.run)))?
            }
        };
        let revision = Revision::new(revision).map_err(|invalid| damaged(invalid.to_string()))?;
        Ok(StoredRecord { revision, body: Bytes::from(body) })
    }

    /// Gives a slot its value.
    async fn fill(&self, record: &Record, segment: &str, value: &str) -> Result<Append, StorageError> {
        let Record { stream, revision, .. } = record;
        match self.server.log_parameter(segment, &slot(revision.get()), value).await {
            Ok(()) => Ok(Append::Written),
            Err(error) => match error.kind {
                // Our value is not there, whatever became of earlier attempts, and never will be.
                Kind::Taken => Ok(Append::SlotTaken),
                Kind::NotActive | Kind::NotFound if !error.doubtful => {
                    let role = format!("{} {}", Role::Segment.as_str(), segment_of(*revision));
                    Err(corrupt(gone(&role, segment, stream)))
                }
                _ => Err(error.append_failed(format_args!("writing commit {revision} of {stream}"))),
            },
        }
    }

    /// The tags that a search for terms finds a stream by.
    async fn marks(&self, stream: &Stream) -> Result<HashSet<String>, StorageError> {
        let mut marks = HashSet::new();
        let Some(runs) = self.runs_experiment(false).await? else { return Ok(marks) };
        let (key, kind) = (self.names.stream(stream), stream.kind().as_str());
        let filter =
            format!("tags.`{KEY}` = '{key}' AND tags.`{ELECTED}` = '1' AND tags.`{KIND}` = '{kind}'");
        let text = stream.to_string();
        let searched = self.each_run(&runs, &filter, |run| {
            if run.tag(STREAM) == Some(text.as_str()) {
                let tags = run.data.tags.into_iter().filter(|tag| tag.value == "1");
                marks.extend(tags.map(|tag| tag.key));
            }
        });
        let searched = searched.await;
        searched.map_err(|error| error.failed(format_args!("looking for what {stream} is found by")))?;
        Ok(marks)
    }

    /// Goes through all runs that a search finds.
    async fn each_run(
        &self,
        runs: &str,
        filter: &str,
        mut each: impl FnMut(Run) + Send,
    ) -> Result<(), RestError> {
        let mut token: Option<String> = None;
        loop {
            let (found, next) = self.server.search_runs(runs, filter, token.as_deref()).await?;
            found.into_iter().for_each(&mut each);
            let Some(next) = next else { return Ok(()) };
            token = Some(next_token(token, next)?);
        }
    }

    /// All streams that a search finds, in the order of their text forms.
    async fn found(&self, kind: StreamKind, term: Option<&Term>) -> Result<Vec<Stream>, StorageError> {
        let mut texts: Vec<String> = Vec::new();
        let failed = |error: RestError| error.failed("listing the streams");
        match term {
            None => {
                let start = self.names.kind(kind);
                let pattern = if start.ends_with('/') { format!("{start}%") } else { start.clone() };
                let filter = format!("name LIKE '{pattern}'");
                let mut token: Option<String> = None;
                loop {
                    let page = self.server.search_experiments(&filter, token.as_deref()).await;
                    let (experiments, next) = page.map_err(failed)?;
                    // `_` stands for any letter in a pattern, and case may not matter.
                    let ours = experiments.iter().filter(|found| found.name.starts_with(&start));
                    texts.extend(ours.filter_map(|found| found.tag(STREAM)).map(str::to_owned));
                    let Some(next) = next else { break };
                    token = Some(next_token(token, next).map_err(failed)?);
                }
            }
            Some(term) => {
                let Some(runs) = self.runs_experiment(false).await? else { return Ok(Vec::new()) };
                let tag = name::term_tag(term);
                let kind = kind.as_str();
                let filter =
                    format!("tags.`{tag}` = '1' AND tags.`{ELECTED}` = '1' AND tags.`{KIND}` = '{kind}'");
                let searched =
                    self.each_run(&runs, &filter, |run| texts.extend(run.tag(STREAM).map(str::to_owned)));
                searched.await.map_err(failed)?;
            }
        }
        texts.sort_unstable();
        texts.dedup();
        let streams = texts.iter().filter_map(|text| text.parse::<Stream>().ok());
        Ok(streams.filter(|stream| stream.kind() == kind).collect())
    }
}

/// The role of runs that hold parts of commits.
const PART: &str = "part";

#[async_trait]
impl CommitLog for MlflowLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.check_writable()?;
        let stream = &record.stream;
        let refused = |problem: &str| {
            let what = format!("commit {} of {stream} {problem}", record.revision);
            StorageError::new(StorageErrorKind::NotDone, what)
        };
        let text =
            std::str::from_utf8(&record.body).map_err(|_| refused("is not text, which MLflow needs"))?;
        if text.contains('\0') {
            return Err(refused("holds a NUL, which databases below MLflow do not keep"));
        }
        // Beginning a log includes a look for one whose experiment is gone.
        let begins = record.revision == Revision::FIRST;
        let found = if begins { self.known_or_asked(stream).await? } else { self.find(stream).await? };
        let place = match found {
            Some(place) => place,
            None if begins => self.begin(stream).await?,
            None => return Err(refused("has none before it")),
        };
        let segment = self.child(stream, &place, Role::Segment, segment_of(record.revision)).await?;
        self.prepare(stream, &place, (record.revision.get() - 1) / TERMS, &record.terms).await?;
        if body::fits(text) {
            return self.fill(record, &segment, text).await;
        }
        let pointer = self.store_parts(stream, PART, text).await?;
        let filled = self.fill(record, &segment, &pointer.value()).await;
        let surely_not = match &filled {
            Ok(Append::Written) => false,
            Ok(Append::SlotTaken) => true,
            Err(error) => error.kind != StorageErrorKind::Unknown,
        };
        if surely_not {
            self.drop_runs(&[&pointer.run]).await;
        }
        filled
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Some(place) = self.find(stream).await? else { return Ok(Vec::new()) };
        let mut wanted: Vec<(u64, String)> = Vec::new();
        let last = from.get().saturating_add(u64::try_from(limit).unwrap_or(u64::MAX) - 1).min(Revision::MAX);
        let mut number = segment_of(from);
        let mut head_is_fresh = false;
        'segments: while number * SEGMENT < last {
            let most = usize::try_from((last - 1) / SEGMENT - number + 1).unwrap_or(usize::MAX);
            let known = place.segments(number, most);
            if known.is_empty() {
                // A segment that was made after the head was read has nothing from before this call.
                if head_is_fresh {
                    break;
                }
                self.head(stream, &place).await?;
                head_is_fresh = true;
                continue;
            }
            let known_to = number.saturating_add(u64::try_from(known.len()).unwrap_or(u64::MAX));
            let mut segments = futures_util::stream::iter(known)
                .map(|(number, id)| async move {
                    self.segment(stream, number, &id).await.map(|commits| (number, id, commits))
                })
                .buffered(AT_ONCE);
            while let Some((found, id, commits)) = segments.try_next().await? {
                let full = commits.len() == usize::try_from(SEGMENT).unwrap_or(usize::MAX);
                wanted.extend(commits.into_iter().filter(|(at, _)| from.get() <= *at && *at <= last));
                if !full && found + 1 < known_to {
                    return Err(corrupt(format!(
                        "the log of {stream} goes on after segment {found}, but that is not full: parameters \
                         of the run {id} were deleted"
                    )));
                }
                if !full {
                    break 'segments;
                }
            }
            number = known_to;
        }
        futures_util::stream::iter(wanted)
            .map(|(revision, value)| self.record(stream, revision, value))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        let after = after.map(Stream::to_string).unwrap_or_default();
        let found = self.found(kind, term).await?;
        Ok(found.into_iter().filter(|stream| after < stream.to_string()).take(limit).collect())
    }

    /// The experiment that leads to a log is what lists it, so that is never missing.
    async fn unmarked(
        &self,
        stream: &Stream,
        mut terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        let marks = self.marks(stream).await?;
        terms.retain(|term| term.as_ref().is_some_and(|term| !marks.contains(&name::term_tag(term))));
        Ok(terms)
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.check_writable()?;
        let terms: Vec<Term> = terms.iter().flatten().cloned().collect();
        let Some(place) = self.find(stream).await? else {
            let problem = format!("there is no log of {stream} that could be made findable");
            return Err(StorageError::new(StorageErrorKind::NotDone, problem));
        };
        self.head(stream, &place).await?;
        place.not_found_by(&terms);
        self.mark(stream, &place, place.last(Role::Terms).unwrap_or(0), &terms).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.check_writable()?;
        self.keep_checkpoint(stream, kind, &body).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.kept_checkpoint(stream, kind).await
    }

    /// A segment: a cold reader then needs the last one or two.
    fn brief_every(&self) -> u64 {
        SEGMENT
    }

    /// A cold start that needs everything reads at most 32 segments, several at once.
    fn whole_every(&self) -> Option<u64> {
        Some(32 * SEGMENT)
    }
}
