//! Why this exists: the algorithm that turns a log that knows nothing into a registry lives here,
//! once, for every backend: load, decide, append, and again if another writer was faster.
//!
//! # What can go wrong with an append, and what is made of it
//!
//! | the log says | what it may mean | what the engine does |
//! |---|---|---|
//! | written | it is | done |
//! | slot taken | another writer's commit; or our own, after a lost reply; or nothing (S3's 409) | reads on and looks for the request's own id; if another commit is there, decides anew on the fresh state; if the slot is empty, fills it |
//! | unknown | it landed, or it never will, or it will later | reads on; if the slot is still empty, fills it **with the very same record**, so that a late landing changes nothing; gives up as `OutcomeUnknown`, never as failed |
//! | surely not done | it is not | tries again a few times, then fails as `Unavailable` (or as unknown, if an earlier attempt is still in doubt) |
//!
//! Before all of that the engine looks for the request's id in the history: a request that was
//! fulfilled before is answered with the commit that fulfilled it.
//!
//! # Caching
//!
//! The fold of a stream is kept, and brought up to date with one read of what was committed since:
//! that read is the guarantee that nobody ever sees a state that another process had already
//! changed when the question was asked. See [`crate::checkpoint`] for cold starts.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{join, try_join};
use lru::LruCache;

use crate::checkpoint;
use crate::codec::{DecodeError, decode, digest_of, encode};
use crate::command::{Command, Request};
use crate::decide::Evidence;
use crate::digest::Digest;
use crate::error::Error;
use crate::event::{Commit, Event, FORMAT};
use crate::evidence::decided;
use crate::name::RequestId;
use crate::policy::Policy;
use crate::registry::{Need, Outcome, Receipt, Recorded, Registry};
use crate::rejection::Rejection;
use crate::state::{Head, ModelState};
use crate::storage::{
    Append, ArtifactStore, CheckpointKind, CommitLog, Record, StorageError, StorageErrorKind, StoredRecord,
};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::terms::terms;
use crate::time::{Clock, IdSource, SystemClock, SystemIds, Timestamp};

/// How many commits are read at once.
const PAGE: usize = 512;

/// The largest record that is written, in bytes.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often an append is tried against other writers, and against failures.
const RACES_MAX: u32 = 200;
const FAILURES_MAX: u32 = 6;
/// How long an attempt counts at most, and how many of them, where one that lost a race lets others pass.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
const SHARES_MAX: u32 = 8;

/// The registry over a log and an artifact store.
///
/// The two are chosen independently: commits in SQLite with bytes in a bucket are as good as both in
/// one place.
pub struct Engine<L: ?Sized, A: ?Sized> {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    cache: Mutex<LruCache<Stream, Arc<Slot>>>,
    artifacts: Arc<A>,
    log: Arc<L>,
}

/// What is kept of a stream.
#[derive(Default)]
struct Slot {
    state: RwLock<Arc<ModelState>>,
    /// Writers of one process queue here instead of racing each other.
    writer: futures_util::lock::Mutex<()>,
    /// The revision of the last brief checkpoint that is known to be kept.
    brief_at: AtomicU64,
    /// The same of the whole one.
    whole_at: AtomicU64,
    /// Whether a checkpoint was looked for already; a stream that is empty stays cold, and need
    /// not be looked up twice each time.
    probed: AtomicBool,
}

impl Slot {
    fn get(&self) -> Arc<ModelState> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the newer and the fuller state.
    fn put(&self, state: &Arc<ModelState>) {
        let mut kept = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let fuller = kept.partial && !state.partial;
        let emptier = state.partial && !kept.partial && kept.exists();
        if fuller || (!emptier && kept.revision() < state.revision()) {
            *kept = Arc::clone(state);
        }
    }

    /// A checkpoint is known to be there.
    fn kept(&self, kind: CheckpointKind, revision: Revision) {
        let at = match kind {
            CheckpointKind::Brief => &self.brief_at,
            CheckpointKind::Whole => &self.whole_at,
        };
        at.fetch_max(revision.get(), Ordering::Relaxed);
    }
}

/// An append of which nobody knows whether it was done.
struct InDoubt {
    attempt: Attempt,
    error: StorageError,
}

/// A commit ready to be appended.
#[derive(Clone)]
struct Attempt {
    record: Record,
    commit: Arc<Commit>,
    digest: Digest,
}

impl<L: CommitLog + ?Sized, A: ArtifactStore + ?Sized> Engine<L, A> {
    /// The number of streams whose folds are kept in memory unless told otherwise.
    pub const STREAMS_KEPT: NonZeroUsize = match NonZeroUsize::new(1024) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    };

    /// A registry over these two.
    pub fn new(log: Arc<L>, artifacts: Arc<A>) -> Self {
        Engine {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            cache: Mutex::new(LruCache::new(Self::STREAMS_KEPT)),
            artifacts,
            log,
        }
    }

    /// The same, with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same, with other ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// The same, keeping the folds of that many streams in memory.
    #[must_use]
    pub fn with_streams_kept(mut self, streams: NonZeroUsize) -> Self {
        self.cache = Mutex::new(LruCache::new(streams));
        self
    }

    fn slot(&self, stream: &Stream) -> Arc<Slot> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = cache.get(stream) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::default());
        cache.push(stream.clone(), Arc::clone(&slot));
        slot
    }

    /// The state of a stream with everything in it that was committed before the call.
    async fn load(&self, stream: &Stream, slot: &Slot, whole: bool) -> Result<Arc<ModelState>, Error> {
        let loaded = self.bring_up(stream, slot, whole).await;
        if loaded.is_err() {
            // What a checkpoint gave is lost with the error; without this the next call would replay all.
            slot.probed.store(false, Ordering::Relaxed);
        }
        loaded
    }

    async fn bring_up(&self, stream: &Stream, slot: &Slot, whole: bool) -> Result<Arc<ModelState>, Error> {
        let mut state = slot.get();
        let mut replayed = None;
        let cold = !state.exists();
        if (cold && !slot.probed.swap(true, Ordering::Relaxed)) || (whole && state.partial) {
            (state, replayed) = self.cold(stream, slot, whole).await?;
        }
        let replayed = match replayed {
            Some(replayed) => replayed,
            None => self.catch_up(stream, &mut state).await?,
        };
        slot.put(&state);
        if checkpoint::whole_pays(&state, replayed, self.log.whole_every()) {
            self.save(stream, slot, CheckpointKind::Whole, &state).await;
        }
        Ok(state)
    }

    /// A state to start from: from a checkpoint if there is one that fits the log, else empty. The
    /// read that proves the fit brings what was committed since: if that is all of it, the second value
    /// says how many commits it was.
    async fn cold(
        &self,
        stream: &Stream,
        slot: &Slot,
        whole: bool,
    ) -> Result<(Arc<ModelState>, Option<u64>), Error> {
        let kinds: &[CheckpointKind] =
            if whole { &[CheckpointKind::Whole] } else { &[CheckpointKind::Brief, CheckpointKind::Whole] };
        for kind in kinds {
            let body = match self.log.load_checkpoint(stream, *kind).await {
                // Without it every commit would have to be read; one more attempt is cheaper.
                Err(_) => self.log.load_checkpoint(stream, *kind).await,
                loaded => loaded,
            };
            let Ok(Some(body)) = body else { continue };
            let Some((state, head)) = checkpoint::decode(stream, &body) else { continue };
            if whole && state.partial {
                continue;
            }
            // A checkpoint is believed only if the log holds the very commit that it was made at.
            let records = self.log.read(stream, head.revision, PAGE).await?;
            let Some((first, since)) = records.split_first() else { continue };
            let fits = first.revision == head.revision
                && digest_of(stream, first.revision, &first.body).is_ok_and(|digest| digest == head.digest);
            if fits {
                slot.kept(*kind, head.revision);
                let mut state = Arc::new(state);
                let replayed = replay(stream, &mut state, since)?;
                return Ok((state, (records.len() < PAGE).then_some(replayed)));
            }
        }
        Ok((Arc::new(ModelState::new()), None))
    }

    /// Applies what was committed since. Says how many commits that were.
    async fn catch_up(&self, stream: &Stream, state: &mut Arc<ModelState>) -> Result<u64, Error> {
        let mut replayed = 0_u64;
        loop {
            let from = Revision::after(state.revision());
            let records = self.log.read(stream, from, PAGE).await?;
            replayed = replayed.saturating_add(replay(stream, state, &records)?);
            if records.len() < PAGE {
                return Ok(replayed);
            }
        }
    }

    /// Keeps a checkpoint. It is a cache: if it cannot be kept, nothing is lost but time.
    async fn save(&self, stream: &Stream, slot: &Slot, kind: CheckpointKind, state: &ModelState) {
        if let Some(body) = checkpoint::encode(stream, kind, state)
            && let Some(revision) = state.revision()
            && self.log.save_checkpoint(stream, kind, Bytes::from(body)).await.is_ok()
        {
            slot.kept(kind, revision);
        }
    }

    /// Keeps the checkpoints that are due. Done beside an append, of the state before it.
    async fn save_due(&self, stream: &Stream, slot: &Slot, state: &ModelState) {
        let Some(revision) = state.revision() else { return };
        let is_due = |at: &AtomicU64, every| {
            checkpoint::is_due(at.load(Ordering::Relaxed), revision.get(), every) && !state.partial
        };
        let brief = async {
            if checkpoint::brief_is_read(stream) && is_due(&slot.brief_at, self.log.brief_every()) {
                self.save(stream, slot, CheckpointKind::Brief, state).await;
            }
        };
        let whole = async {
            if self.log.whole_every().is_some_and(|every| is_due(&slot.whole_at, every)) {
                self.save(stream, slot, CheckpointKind::Whole, state).await;
            }
        };
        join(brief, whole).await;
    }

    async fn registry_policy(&self, stream: &Stream) -> Result<Arc<Policy>, Error> {
        if *stream == Stream::Registry {
            return Ok(Arc::default());
        }
        let slot = self.slot(&Stream::Registry);
        Ok(Arc::clone(&self.load(&Stream::Registry, &slot, true).await?.policy))
    }

    /// Whether the bytes of all files named are there, and makes them young, so that they still are when
    /// the commit is; tells the first that is not.
    async fn check_present(&self, files: &crate::content::Manifest, dry_run: bool) -> Result<(), Error> {
        for file in files {
            let present = match dry_run {
                true => self.artifacts.stat(&file.digest).await?,
                false => self.artifacts.renew(&file.digest).await?,
            };
            if present != Some(file.size) {
                let missing = Rejection::ArtifactMissing { path: file.path.clone(), digest: file.digest };
                return Err(missing.into());
            }
        }
        Ok(())
    }

    /// The blobs that a command relies on must be there before it is decided.
    async fn check_blobs(&self, request: &Request, state: &ModelState) -> Result<(), Error> {
        match &request.command {
            // A rehearsal comes before the bytes are sent.
            Command::Register { .. } if request.by.dry_run => Ok(()),
            Command::Register { content, .. } => self.check_present(&content.artifacts, false).await,
            Command::LogRun { log, .. } => self.check_present(&log.artifacts, request.by.dry_run).await,
            Command::Undelete { version } => match state.version(version) {
                Some(found) if found.deleted.is_some() => {
                    self.check_present(&found.content.artifacts, request.by.dry_run).await
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn attempt(
        request: &Request,
        id: &RequestId,
        digest: Digest,
        state: &ModelState,
        time: Timestamp,
        events: Vec<Event>,
    ) -> Result<Attempt, Error> {
        let commit = Commit {
            format: FORMAT,
            stream: request.stream.clone(),
            revision: Revision::after(state.revision()),
            previous: state.head.map(|head| head.digest),
            time,
            actor: request.by.actor.clone(),
            reason: request.by.reason.clone(),
            request_id: id.clone(),
            request_digest: digest,
            events,
        };
        let encoded = encode(&commit);
        if RECORD_BYTES_MAX < encoded.bytes.len() {
            let too_large = Rejection::TooLarge { bytes: encoded.bytes.len(), bytes_max: RECORD_BYTES_MAX };
            return Err(too_large.into());
        }
        let record = Record {
            stream: commit.stream.clone(),
            revision: commit.revision,
            request_id: id.clone(),
            time,
            terms: terms(&commit),
            body: encoded.bytes.into(),
        };
        Ok(Attempt { record, commit: Arc::new(commit), digest: encoded.digest })
    }

    /// Brings the kept state up to the commit that was just written.
    fn committed(
        slot: &Slot,
        mut state: Arc<ModelState>,
        attempt: Attempt,
        id: RequestId,
    ) -> Result<Receipt, Error> {
        Arc::make_mut(&mut state).apply(&attempt.commit, attempt.digest);
        slot.put(&state);
        let recorded = Recorded { commit: attempt.commit, digest: attempt.digest };
        Self::answer(Receipt { request_id: id, outcome: Outcome::Committed(recorded), state })
    }

    /// A commit may be all that came of a request that was refused; the answer is the refusal, each time.
    fn answer(receipt: Receipt) -> Result<Receipt, Error> {
        match receipt.commit().and_then(Commit::refusal) {
            Some(rejection) => Err(rejection.into()),
            None => Ok(receipt),
        }
    }

    /// The request was fulfilled: by an attempt of ours whose reply was lost, or by an earlier call.
    async fn fulfilled_before(
        &self,
        stream: &Stream,
        revision: Revision,
        state: Arc<ModelState>,
        id: RequestId,
        attempted: &[Digest],
    ) -> Result<Receipt, Error> {
        let recorded = self.history(stream, revision, 1).await?;
        let Some(recorded) = recorded.into_iter().next() else {
            return Err(DecodeError::missing(stream, revision).into());
        };
        let outcome = if attempted.contains(&recorded.digest) {
            Outcome::Committed(recorded)
        } else {
            Outcome::Repeated(recorded)
        };
        Self::answer(Receipt { request_id: id, outcome, state })
    }

    /// Waits a little, longer after each attempt, and not as long as others do.
    async fn back_off(&self, attempts: u32) {
        let ceiling_us = 500_u64 << attempts.min(8);
        let wait_us = ceiling_us / 2 + self.at_random(ceiling_us / 2);
        self.clock.sleep(Duration::from_micros(wait_us)).await;
    }

    /// The same after a race was lost in an attempt that began then. Where attempts take long, as on a busy server,
    /// all the others' would fail as well if everybody began anew at once: each goes on at some time within
    /// as many attempts as it has lost.
    async fn let_others_pass(&self, races: u32, began: Timestamp) {
        let took = self.clock.now().since(began).min(ATTEMPT_MAX);
        let share = took.saturating_mul(races.min(SHARES_MAX));
        let wait_us = self.at_random(u64::try_from(share.as_micros()).unwrap_or(u64::MAX));
        self.clock.sleep(Duration::from_micros(wait_us)).await;
        self.back_off(races).await;
    }

    /// A number from zero to this one.
    fn at_random(&self, most: u64) -> u64 {
        u64::try_from(self.ids.next_id() & u128::from(u32::MAX)).unwrap_or(0) % most.saturating_add(1)
    }
}

fn taken() -> StorageError {
    StorageError::new(StorageErrorKind::Unknown, "the slot is said to be taken, and the log cannot be read")
}

/// Applies records, each of which must follow the one before it. Says how many.
fn replay(stream: &Stream, state: &mut Arc<ModelState>, records: &[StoredRecord]) -> Result<u64, Error> {
    if records.is_empty() {
        return Ok(0);
    }
    let target = Arc::make_mut(state);
    let mut applied = 0_u64;
    for record in records {
        let expected = Revision::after(target.revision());
        let (commit, digest) = decode(stream, expected, &record.body)?;
        check_link(&commit, target.head.as_ref())?;
        target.apply(&commit, digest);
        applied += 1;
    }
    Ok(applied)
}

/// Checks that a commit follows the one before it.
pub(crate) fn check_link(commit: &Commit, head: Option<&Head>) -> Result<(), DecodeError> {
    let problem = if commit.previous != head.map(|head| head.digest) {
        "it does not follow the commit before it: the digest of that one is another"
    } else if head.is_some_and(|head| commit.time <= head.time) {
        "its time is not later than that of the commit before it"
    } else {
        return Ok(());
    };
    Err(DecodeError::Corrupt {
        stream: commit.stream.clone(),
        revision: commit.revision,
        problem: problem.to_owned(),
    })
}

#[async_trait]
impl<L: CommitLog + ?Sized, A: ArtifactStore + ?Sized> Registry for Engine<L, A> {
    async fn execute(&self, request: Request) -> Result<Receipt, Error> {
        let id = match &request.by.request_id {
            Some(id) => id.clone(),
            None => format!("{:032x}", self.ids.next_id()).parse()?,
        };
        let digest = request.digest();
        let stream = &request.stream;
        let slot = self.slot(stream);
        let _turn = slot.writer.lock().await;

        let mut evidence = Evidence::default();
        let mut blobs_checked = false;
        let mut in_doubt: Option<InDoubt> = None;
        let mut attempted: Vec<Digest> = Vec::new();
        let (mut races, mut failures) = (0_u32, 0_u32);
        loop {
            let began = self.clock.now();
            // Both reads at once: on a network they cost one round trip.
            let loaded = try_join(self.load(stream, &slot, true), self.registry_policy(stream)).await;
            let (state, registry) = match (loaded, in_doubt) {
                (Ok(loaded), doubt) => {
                    in_doubt = doubt;
                    loaded
                }
                (Err(error), None) => return Err(error),
                // Something of ours may be in the log that cannot be read now.
                (Err(_), Some(doubt)) => {
                    failures += 1;
                    if FAILURES_MAX <= failures {
                        return Err(Error::OutcomeUnknown { request_id: id, source: doubt.error });
                    }
                    in_doubt = Some(doubt);
                    self.back_off(failures).await;
                    continue;
                }
            };
            if let Some(done) = state.fulfilled(&id) {
                if done.digest != digest {
                    return Err(Rejection::RequestIdReused { id, revision: done.revision }.into());
                }
                let revision = done.revision;
                match self.fulfilled_before(stream, revision, state, id.clone(), &attempted).await {
                    // It may be ours, so "nothing was written" would be a lie.
                    Err(Error::Unavailable(error) | Error::PermissionDenied(error))
                        if !attempted.is_empty() =>
                    {
                        failures += 1;
                        if FAILURES_MAX <= failures {
                            return Err(Error::OutcomeUnknown { request_id: id, source: error });
                        }
                        self.back_off(failures).await;
                        continue;
                    }
                    answer => return answer,
                }
            }
            // A slot that another commit has filled is closed for ours for good.
            in_doubt = in_doubt.filter(|doubt| state.revision() < Some(doubt.attempt.commit.revision));

            let attempt = match &in_doubt {
                Some(doubt) if RACES_MAX <= races => {
                    let source = StorageError::new(doubt.error.kind, doubt.error.to_string());
                    return Err(Error::OutcomeUnknown { request_id: id, source });
                }
                None if RACES_MAX <= races => return Err(Error::Contention { attempts: races }),
                Some(doubt) => doubt.attempt.clone(),
                None => {
                    if let Some(expected) = request.by.expected
                        && state.revision() != Some(expected)
                    {
                        return Err(Rejection::RevisionMismatch { expected, actual: state.revision() }.into());
                    }
                    if !blobs_checked {
                        self.check_blobs(&request, &state).await?;
                        blobs_checked = true;
                    }
                    let now = commit_time(self.clock.now(), state.head.as_ref())?;
                    let events = decided(self, &request, &state, now, &registry, &mut evidence).await?;
                    if events.is_empty() {
                        return Ok(Receipt { request_id: id, outcome: Outcome::Unchanged, state });
                    }
                    let attempt = Self::attempt(&request, &id, digest, &state, now, events)?;
                    if request.by.dry_run {
                        let events = attempt.commit.events.clone();
                        return Ok(Receipt { request_id: id, outcome: Outcome::Rehearsed(events), state });
                    }
                    attempt
                }
            };
            attempted.push(attempt.digest);
            let append = self.log.append(&attempt.record);
            let (appended, ()) = join(append, self.save_due(stream, &slot, &state)).await;
            match appended {
                Ok(Append::Written) => return Self::committed(&slot, state, attempt, id),
                Ok(Append::SlotTaken) => {
                    races += 1;
                    // By whom, only the log can tell; perhaps by this very record.
                    in_doubt.get_or_insert_with(|| InDoubt { attempt, error: taken() });
                    self.let_others_pass(races, began).await;
                }
                Err(error) => {
                    failures += 1;
                    match error.kind {
                        StorageErrorKind::Unknown => in_doubt = Some(InDoubt { attempt, error }),
                        _ if in_doubt.is_some() => {}
                        StorageErrorKind::NotDone if failures < FAILURES_MAX => {}
                        _ => return Err(error.into()),
                    }
                    if FAILURES_MAX <= failures
                        && let Some(doubt) = in_doubt
                    {
                        return Err(Error::OutcomeUnknown { request_id: id, source: doubt.error });
                    }
                    self.back_off(races.max(failures)).await;
                }
            }
        }
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        let slot = self.slot(stream);
        match need {
            Need::Whole => self.load(stream, &slot, true).await,
            Need::Selected(selector) | Need::WithFiles(selector) => {
                let state = self.load(stream, &slot, false).await?;
                if state.partial && selector.resolve(&state).is_err() {
                    return self.load(stream, &slot, true).await;
                }
                Ok(state)
            }
        }
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let records = self.log.read(stream, from, limit).await?;
        let mut expected = from;
        let mut commits: Vec<Recorded> = Vec::with_capacity(records.len());
        for record in &records {
            if record.revision != expected {
                return Err(DecodeError::missing(stream, expected).into());
            }
            let (commit, digest) = decode(stream, expected, &record.body)?;
            if let Some(before) = commits.last() {
                let head = Head {
                    revision: before.commit.revision,
                    digest: before.digest,
                    time: before.commit.time,
                };
                check_link(&commit, Some(&head))?;
            }
            commits.push(Recorded { commit: Arc::new(commit), digest });
            expected = expected.next();
        }
        Ok(commits)
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        Ok(self.log.streams(kind, term, after, limit).await?)
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        &self.artifacts
    }

    fn commits(&self) -> &dyn CommitLog {
        &self.log
    }

    fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

/// Later than the commit before, whatever the clock says.
fn commit_time(now: Timestamp, head: Option<&Head>) -> Result<Timestamp, Rejection> {
    let Some(head) = head else { return Ok(now) };
    let next = head.time.saturating_add(Duration::from_micros(1));
    // Otherwise the commit could be written, but would not be believed when it is read.
    if next <= head.time {
        return Err(Rejection::EndOfTime { last: head.time });
    }
    Ok(now.max(next))
}
