//! Why this exists: commits in SQLite. The database enforces the contract of a log by itself: a
//! primary key makes a slot fill once, and triggers refuse to change or remove what is there.
//!
//! ```text
//! streams      number -> name                        for listing
//! commits      slot -> body                          append-only
//! terms        (term, stream)                        for finding
//! checkpoints  (stream, kind) -> body                caches
//! ```
//!
//! A slot is one number: that of the stream, and behind it the revision. So the commits of a stream lie side by side in
//! the table itself, where a reader finds them with a few pages and a writer changes one: with the stream's name and the
//! revision for a key, SQLite keeps a second tree beside the table, and every commit writes to both
//! (`docs/decisions/0014-where-the-time-goes.md`).
//!
//! All appends of a process go through one thread that commits whatever is waiting as one
//! transaction. Why not a connection for each caller? SQLite hands its write lock out unfairly: with
//! eight threads, some wait for seconds while others commit thousands of times; one queue is fair and,
//! since a group shares one fsync, faster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::storage::{
    Append, CheckpointKind, CommitLog, Record, StorageError, StorageErrorKind, StoredRecord,
};
use registry_core::{Revision, Stream, StreamKind, Term};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use crate::Options;

/// Marks the database as one of ours (`MREG`).
const APPLICATION_ID: i32 = 0x4d52_4547;
/// The newest layout that this library reads and writes.
const LAYOUT: i32 = 1;
/// The most appends that share a transaction.
const GROUP_MAX: usize = 256;
/// The most appends that may wait; more callers wait for a place.
const QUEUE: usize = 1_024;
/// How many idle connections are kept for reading.
const READERS_KEPT: usize = 16;
/// How many numbers of streams are kept.
const NUMBERS_KEPT: usize = 16 * 1024;

const SCHEMA: &str = "
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE commits (
    slot INTEGER PRIMARY KEY, -- the stream's number * 4294967296 + the revision
    body BLOB    NOT NULL
) STRICT;
CREATE TRIGGER commits_are_never_changed BEFORE UPDATE ON commits
BEGIN SELECT RAISE(ABORT, 'commits are never changed'); END;
CREATE TRIGGER commits_are_never_removed BEFORE DELETE ON commits
BEGIN SELECT RAISE(ABORT, 'commits are never removed'); END;
CREATE TABLE terms (
    term   TEXT NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (term, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    stream TEXT NOT NULL,
    kind   TEXT NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (stream, kind)
) STRICT;
";

/// The slots of one stream: they begin with its number, and end with the revision.
#[derive(Debug, Clone, Copy)]
struct Slots {
    number: i64,
}

impl Slots {
    /// How many slots a stream has; as many bits of a slot are the revision.
    const EACH: i64 = 1 << 32;

    /// The slot of a revision; none if the stream has no such slot.
    fn slot(self, revision: Revision) -> Option<i64> {
        let revision = i64::try_from(revision.get()).ok().filter(|revision| *revision < Self::EACH)?;
        self.number.checked_mul(Self::EACH)?.checked_add(revision)
    }

    fn last(self) -> i64 {
        self.number.saturating_mul(Self::EACH).saturating_add(Self::EACH - 1)
    }

    fn revision(slot: i64) -> Result<Revision, StorageError> {
        let number = u64::try_from(slot.rem_euclid(Self::EACH)).unwrap_or(0);
        Revision::new(number)
            .map_err(|error| StorageError::with_source(StorageErrorKind::Corrupt, "reading a commit", error))
    }
}

/// The number of the stream of that name, if it has one.
fn number_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<Slots>> {
    connection
        .prepare_cached("SELECT number FROM streams WHERE name = ?1")?
        .query_row([name], |row| Ok(Slots { number: row.get(0)? }))
        .optional()
}

/// How durable an acknowledged commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// It survives a loss of power.
    #[default]
    Full,
    /// It survives the process; the last commits may be lost with the power, but never torn.
    Normal,
}

/// Commits in a SQLite database.
pub struct SqliteLog {
    path: PathBuf,
    flags: OpenFlags,
    busy_timeout: Duration,
    /// Before `writer`, so that the writer's connection is closed last and tidies up the WAL.
    readers: Mutex<Vec<Connection>>,
    /// Of streams that were read; they never change. Bounded, since others may be asked for forever.
    numbers: RwLock<HashMap<Stream, Slots>>,
    writer: Option<Writer>,
}

impl std::fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The thread that commits.
struct Writer {
    jobs: Option<async_channel::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It ends by itself once the queue is closed and empty.
            let _ = thread.join();
        }
    }
}

type Reply<T> = async_channel::Sender<Result<T, StorageError>>;

enum Job {
    Append(Box<Record>, Reply<Append>),
    Checkpoint(Stream, CheckpointKind, Bytes, Reply<()>),
    Mark(Stream, Vec<Term>, Reply<()>),
}

impl SqliteLog {
    /// Opens the database at `path`, and makes it if it is not there and may be made.
    pub fn open(path: &Path, options: &Options) -> Result<Self, StorageError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let writer = if options.read_only {
            None
        } else {
            let connection = open_writable(path, options)?;
            Some(start_writer(connection, options.busy_timeout)?)
        };
        let mut opened = connect(path, flags, options.busy_timeout).and_then(|reader| {
            check_layout(&reader)?;
            Ok(reader)
        });
        if options.read_only && opened.is_err() && is_at_rest(path) {
            // On read-only media SQLite cannot make its shared memory. Nobody can write there either.
            flags |= OpenFlags::SQLITE_OPEN_URI;
            let uri = immutable_uri(path);
            opened = connect(&uri, flags, options.busy_timeout).and_then(|reader| {
                check_layout(&reader)?;
                Ok(reader)
            });
            let reader = opened?;
            return Ok(SqliteLog {
                path: uri,
                flags,
                busy_timeout: options.busy_timeout,
                readers: Mutex::new(vec![reader]),
                numbers: RwLock::default(),
                writer: None,
            });
        }
        Ok(SqliteLog {
            path: path.to_owned(),
            flags,
            busy_timeout: options.busy_timeout,
            readers: Mutex::new(vec![opened?]),
            numbers: RwLock::default(),
            writer,
        })
    }

    /// Runs a query in place, on a connection of its own.
    fn query<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, self.flags, self.busy_timeout)?,
        };
        let result = run(&connection).map_err(|error| failed("reading", error));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }

    /// The number of a stream, if it has one. It is asked for outside of any transaction, so what is kept is committed.
    fn slots(&self, connection: &Connection, stream: &Stream) -> rusqlite::Result<Option<Slots>> {
        if let Some(known) = self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(stream) {
            return Ok(Some(*known));
        }
        let found = number_of(connection, &stream.to_string())?;
        if let Some(found) = found {
            let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
            if NUMBERS_KEPT <= numbers.len() {
                numbers.clear();
            }
            numbers.insert(stream.clone(), found);
        }
        Ok(found)
    }

    async fn submit<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StorageError> {
        let Some(jobs) = self.writer.as_ref().and_then(|writer| writer.jobs.as_ref()) else {
            return Err(StorageError::new(
                StorageErrorKind::PermissionDenied,
                "the registry was opened read-only",
            ));
        };
        let (reply, answer) = async_channel::bounded(1);
        let stopped = |kind| StorageError::new(kind, "the thread that writes to the database has stopped");
        if jobs.send(job(reply)).await.is_err() {
            return Err(stopped(StorageErrorKind::NotDone));
        }
        answer.recv().await.unwrap_or_else(|_| Err(stopped(StorageErrorKind::Unknown)))
    }
}

fn connect(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<Connection, StorageError> {
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed("opening", error))?;
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(busy_timeout)?;
        // Without this SQLite plans a statement anew whenever a bound value could change the plan,
        // which costs several times what the look-up itself does.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(())
    };
    set_up().map_err(|error| failed("opening", error))?;
    Ok(connection)
}

/// Whether the database is whole without its WAL.
fn is_at_rest(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).map_or(true, |found| found.len() == 0)
}

fn immutable_uri(path: &Path) -> PathBuf {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '?' => "%3f".to_owned(),
            '#' => "%23".to_owned(),
            other => other.to_string(),
        })
        .collect();
    PathBuf::from(format!("file:{escaped}?immutable=1"))
}

fn open_writable(path: &Path, options: &Options) -> Result<Connection, StorageError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags, options.busy_timeout)?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    let set_up = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "foreign_keys", "ON")
    };
    set_up().map_err(|error| failed("opening", error))?;
    if layout(&connection)?.is_none() {
        let create = || -> rusqlite::Result<()> {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            // Another process may have been faster.
            let made: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if made == 0 {
                connection.execute_batch(SCHEMA)?;
                connection.pragma_update(None, "application_id", APPLICATION_ID)?;
                connection.pragma_update(None, "user_version", LAYOUT)?;
            }
            connection.execute_batch("COMMIT")
        };
        create().map_err(|error| failed("setting up", error))?;
    }
    check_layout(&connection)?;
    Ok(connection)
}

/// The layout of the database; none if it is empty. Refuses a database of another program.
fn layout(connection: &Connection) -> Result<Option<i32>, StorageError> {
    let read = || -> rusqlite::Result<(i32, i32)> {
        Ok((
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        ))
    };
    let is_empty =
        || connection.query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get::<_, bool>(0));
    match read().map_err(|error| failed("opening", error))? {
        (APPLICATION_ID, layout) => Ok(Some(layout)),
        (0, 0) if is_empty().map_err(|error| failed("opening", error))? => Ok(None),
        _ => {
            let message = "`registry.db` is a database of another program, not of a model registry";
            Err(StorageError::new(StorageErrorKind::Corrupt, message))
        }
    }
}

fn check_layout(connection: &Connection) -> Result<(), StorageError> {
    match layout(connection)? {
        Some(LAYOUT) => Ok(()),
        Some(newer) if LAYOUT < newer => Err(StorageError::new(
            StorageErrorKind::NewerFormat,
            format!(
                "`registry.db` has layout {newer}, but this library reads layouts up to {LAYOUT}; upgrade it"
            ),
        )),
        _ => Err(StorageError::new(
            StorageErrorKind::Corrupt,
            "`registry.db` is not the database of a registry",
        )),
    }
}

fn start_writer(connection: Connection, busy_timeout: Duration) -> Result<Writer, StorageError> {
    let (jobs, queue) = async_channel::bounded(QUEUE);
    let thread = std::thread::Builder::new()
        .name("registry-writer".to_owned())
        .spawn(move || write_all(connection, &queue, busy_timeout))
        .map_err(|error| {
            StorageError::with_source(StorageErrorKind::NotDone, "the writer thread cannot be started", error)
        })?;
    Ok(Writer { jobs: Some(jobs), thread: Some(thread) })
}

thread_local! {
    /// How often the busy handler of this thread may still wait. SQLite gives the handler no state.
    static WAITS_MAX: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

/// The pause between two looks at a lock that another process holds. SQLite's own handler sleeps up to
/// 100 ms at a time, which lets processes that commit in a loop starve the others for seconds.
const BUSY_PAUSE: Duration = Duration::from_micros(500);

fn wait_for_lock(waits: i32) -> bool {
    if WAITS_MAX.get() <= waits {
        return false;
    }
    std::thread::sleep(BUSY_PAUSE);
    true
}

/// Commits what is waiting, as one transaction, until nobody can send any more.
fn write_all(mut connection: Connection, queue: &async_channel::Receiver<Job>, busy_timeout: Duration) {
    WAITS_MAX.set(i32::try_from(busy_timeout.as_micros() / BUSY_PAUSE.as_micros()).unwrap_or(i32::MAX));
    // If this fails SQLite's own waiting stays in place.
    let _ = connection.busy_handler(Some(wait_for_lock));
    while let Ok(first) = queue.recv_blocking() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        write_group(&connection, group);
    }
}

fn write_group(connection: &Connection, group: Vec<Job>) {
    let mut answers = Vec::with_capacity(group.len());
    let mut run = || -> Result<(), rusqlite::Error> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for job in &group {
            answers.push(write_one(connection, job)?);
        }
        Ok(())
    };
    let outcome = match run() {
        Err(error) => {
            // Nothing was committed; that there may be nothing to roll back does not matter.
            let _ = connection.execute_batch("ROLLBACK");
            Err((StorageErrorKind::NotDone, error))
        }
        Ok(()) => connection.execute_batch("COMMIT").map_err(|error| {
            // The end of the transaction may have reached the disk before the failure.
            let _ = connection.execute_batch("ROLLBACK");
            (StorageErrorKind::Unknown, error)
        }),
    };
    // Nobody may be waiting any more for an answer; that is theirs to decide.
    match outcome {
        Ok(()) => {
            for (job, answer) in group.into_iter().zip(answers) {
                match job {
                    Job::Append(_, reply) => drop(reply.try_send(Ok(answer))),
                    Job::Checkpoint(_, _, _, reply) | Job::Mark(_, _, reply) => drop(reply.try_send(Ok(()))),
                }
            }
        }
        Err((kind, error)) => {
            for job in group {
                let failure = classified(kind, "writing", &error);
                match job {
                    Job::Append(_, reply) => drop(reply.try_send(Err(failure))),
                    Job::Checkpoint(_, _, _, reply) | Job::Mark(_, _, reply) => {
                        drop(reply.try_send(Err(failure)));
                    }
                }
            }
        }
    }
}

fn write_one(connection: &Connection, job: &Job) -> rusqlite::Result<Append> {
    let record = match job {
        Job::Append(record, _) => record,
        Job::Checkpoint(stream, kind, body, _) => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO checkpoints (stream, kind, body) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![stream.to_string(), kind.as_str(), &body[..]])?;
            return Ok(Append::Written);
        }
        Job::Mark(stream, terms, _) => {
            mark(connection, &stream.to_string(), terms)?;
            return Ok(Append::Written);
        }
    };
    let stream = record.stream.to_string();
    // Asked for anew each time: one that this transaction gives may be taken back with it.
    let slots = match number_of(connection, &stream)? {
        Some(slots) => slots,
        None => {
            connection.prepare_cached("INSERT INTO streams (name) VALUES (?1)")?.execute([&stream])?;
            Slots { number: connection.last_insert_rowid() }
        }
    };
    let Some(slot) = slots.slot(record.revision) else {
        return Err(rusqlite::Error::IntegralValueOutOfRange(0, Slots::EACH));
    };
    let inserted = connection
        .prepare_cached("INSERT INTO commits (slot, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![slot, &record.body[..]])?;
    if inserted == 0 {
        return Ok(Append::SlotTaken);
    }
    mark(connection, &stream, &record.terms)?;
    Ok(Append::Written)
}

/// Makes a stream findable by terms.
fn mark(connection: &Connection, stream: &str, terms: &[Term]) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO terms (term, stream) VALUES (?1, ?2)")?;
    for term in terms {
        insert.execute(params![term.as_str(), stream])?;
    }
    Ok(())
}

fn failed(doing: &str, error: rusqlite::Error) -> StorageError {
    classified(StorageErrorKind::NotDone, doing, &error)
}

/// What an error of SQLite means. `otherwise` is what it means if nothing better is known.
fn classified(otherwise: StorageErrorKind, doing: &str, error: &rusqlite::Error) -> StorageError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StorageErrorKind::Corrupt,
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) if otherwise == StorageErrorKind::NotDone => StorageErrorKind::PermissionDenied,
        _ => otherwise,
    };
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            " (another process has held the lock for longer than the busy timeout)"
        }
        Some(ErrorCode::DiskFull) => " (the disk is full)",
        _ => "",
    };
    StorageError::new(kind, format!("{doing} the database failed: {error}{hint}"))
}

#[async_trait]
impl CommitLog for SqliteLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.submit(|reply| Job::Append(Box::new(record.clone()), reply)).await
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let rows = self.query(|connection| {
            let Some(slots) = self.slots(connection, stream)? else { return Ok(Vec::new()) };
            let Some(from) = slots.slot(from) else { return Ok(Vec::new()) };
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            connection
                .prepare_cached(
                    "SELECT slot, body FROM commits WHERE ?1 <= slot AND slot <= ?2 ORDER BY slot LIMIT ?3",
                )?
                .query_map(params![from, slots.last(), limit], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(slot, body)| Ok(StoredRecord { revision: Slots::revision(slot)?, body: body.into() }))
            .collect()
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        let after = after.map(Stream::to_string).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Streams of a kind lie side by side: their names begin with it.
        let (first, end) = match kind {
            StreamKind::Registry => ("registry".to_owned(), "registry0".to_owned()),
            other => (format!("{}/", other.as_str()), format!("{}0", other.as_str())),
        };
        let names = self.query(|connection| {
            let name = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            match term {
                None => connection
                    .prepare_cached(
                        "SELECT name FROM streams WHERE ?1 < name AND ?2 <= name AND name < ?3 \
                         ORDER BY name LIMIT ?4",
                    )?
                    .query_map(params![after, first, end, limit], name)?
                    .collect::<rusqlite::Result<Vec<_>>>(),
                Some(term) => connection
                    .prepare_cached(
                        "SELECT stream FROM terms WHERE term = ?1 AND ?2 < stream AND ?3 <= stream \
                         AND stream < ?4 ORDER BY stream LIMIT ?5",
                    )?
                    .query_map(params![term.as_str(), after, first, end, limit], name)?
                    .collect(),
            }
        })?;
        names
            .iter()
            .map(|name| {
                name.parse().map_err(|error| {
                    StorageError::with_source(
                        StorageErrorKind::Corrupt,
                        "reading the names of streams",
                        error,
                    )
                })
            })
            .collect()
    }

    /// Without its name a stream cannot be read either, so that is never missing.
    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        let stream = stream.to_string();
        self.query(|connection| {
            let mut look =
                connection.prepare_cached("SELECT 1 FROM terms WHERE term = ?1 AND stream = ?2")?;
            let mut missing = Vec::new();
            for term in terms.into_iter().flatten() {
                if !look.exists(params![term.as_str(), stream])? {
                    missing.push(Some(term));
                }
            }
            Ok(missing)
        })
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        let terms = terms.iter().flatten().cloned().collect();
        self.submit(|reply| Job::Mark(stream.clone(), terms, reply)).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.submit(|reply| Job::Checkpoint(stream.clone(), kind, body, reply)).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT body FROM checkpoints WHERE stream = ?1 AND kind = ?2")?
                .query_row(params![stream.to_string(), kind.as_str()], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })
        .map(|body| body.map(Bytes::from))
    }

    /// Decoding a commit is most of what a cold look costs, and keeping a small checkpoint costs a writer little.
    fn brief_every(&self) -> u64 {
        8
    }
}
