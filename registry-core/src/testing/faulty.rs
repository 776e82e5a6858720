//! A log that fails on purpose, in every way that a network can make an append fail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::{
    Append, CheckpointKind, CommitLog, Record, StorageError, StorageErrorKind, StoredRecord,
};
use crate::stream::{Revision, Stream, StreamKind, Term};

/// What befalls an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// Refused before anything was written, and said so.
    RefusedBefore,
    /// Lost before it arrived; the caller cannot know.
    LostBefore,
    /// Written, but the reply is lost; the caller cannot know.
    ReplyLost,
    /// Seems lost, but is written after that many further operations of any kind.
    LandsLate(u32),
    /// Written, but the reply says that the slot was taken: what a storage library makes of its own
    /// retry after a lost reply.
    LandedButTaken,
    /// Not written, but the reply says that the slot was taken: S3's 409.
    TakenButEmpty,
    /// The append does what it should, but the read after it fails.
    ThenUnreadable,
}

impl Fault {
    /// One of each.
    pub const ALL: [Fault; 8] = [
        Fault::None,
        Fault::RefusedBefore,
        Fault::LostBefore,
        Fault::ReplyLost,
        Fault::LandsLate(2),
        Fault::LandedButTaken,
        Fault::TakenButEmpty,
        Fault::ThenUnreadable,
    ];
}

/// Wraps a log and lets planned faults befall its appends, in order. After the plan it is faultless.
pub struct FaultyLog {
    inner: Arc<dyn CommitLog>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    faults: VecDeque<Fault>,
    late: Vec<(u32, Record)>,
    reads_to_fail: u32,
    reads_to_fail_after_append: u32,
}

impl FaultyLog {
    /// Faults for a log.
    pub fn new(inner: Arc<dyn CommitLog>, faults: impl IntoIterator<Item = Fault>) -> Self {
        let plan = Plan { faults: faults.into_iter().collect(), ..Plan::default() };
        FaultyLog { inner, plan: Mutex::new(plan) }
    }

    /// Adds faults to the plan.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan_mut(|plan| plan.faults.extend(faults));
    }

    /// Lets that many reads fail, once the next append was made.
    pub fn fail_reads_after_next_append(&self, reads: u32) {
        self.plan_mut(|plan| plan.reads_to_fail_after_append = reads);
    }

    /// Lets everything land that is still on its way.
    pub async fn settle(&self) {
        let late = self.plan_mut(|plan| std::mem::take(&mut plan.late));
        for (_, record) in late {
            let _ = self.inner.append(&record).await;
        }
    }

    fn plan_mut<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Time passes: what is on its way comes closer, and lands.
    async fn tick(&self) {
        let landing = self.plan_mut(|plan| {
            plan.late.iter_mut().for_each(|(wait, _)| *wait = wait.saturating_sub(1));
            let (landing, flying) =
                std::mem::take(&mut plan.late).into_iter().partition(|(wait, _)| *wait == 0);
            plan.late = flying;
            let landing: Vec<(u32, Record)> = landing;
            landing
        });
        for (_, record) in landing {
            let _ = self.inner.append(&record).await;
        }
    }
}

fn unknown() -> StorageError {
    StorageError::new(StorageErrorKind::Unknown, "injected: the connection broke off")
}

#[async_trait]
impl CommitLog for FaultyLog {
    async fn append(&self, record: &Record) -> Result<Append, StorageError> {
        self.tick().await;
        self.plan_mut(|plan| plan.reads_to_fail += std::mem::take(&mut plan.reads_to_fail_after_append));
        match self.plan_mut(|plan| plan.faults.pop_front()).unwrap_or(Fault::None) {
            Fault::None => self.inner.append(record).await,
            Fault::RefusedBefore => Err(StorageError::new(StorageErrorKind::NotDone, "injected: refused")),
            Fault::LostBefore => Err(unknown()),
            Fault::ReplyLost => {
                let _ = self.inner.append(record).await?;
                Err(unknown())
            }
            Fault::LandsLate(wait) => {
                self.plan_mut(|plan| plan.late.push((wait, record.clone())));
                Err(unknown())
            }
            Fault::LandedButTaken => {
                let _ = self.inner.append(record).await?;
                Ok(Append::SlotTaken)
            }
            Fault::TakenButEmpty => Ok(Append::SlotTaken),
            Fault::ThenUnreadable => {
                self.plan_mut(|plan| plan.reads_to_fail += 1);
                let _ = self.inner.append(record).await?;
                Err(unknown())
            }
        }
    }

    async fn read(
        &self,
        stream: &Stream,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        self.tick().await;
        let fails = self.plan_mut(|plan| {
            let fails = 0 < plan.reads_to_fail;
            plan.reads_to_fail = plan.reads_to_fail.saturating_sub(1);
            fails
        });
        if fails {
            return Err(StorageError::new(StorageErrorKind::NotDone, "injected: unreadable"));
        }
        self.inner.read(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, StorageError> {
        self.inner.streams(kind, term, after, limit).await
    }

    async fn unmarked(
        &self,
        stream: &Stream,
        terms: Vec<Option<Term>>,
    ) -> Result<Vec<Option<Term>>, StorageError> {
        self.inner.unmarked(stream, terms).await
    }

    async fn mark_again(&self, stream: &Stream, terms: &[Option<Term>]) -> Result<(), StorageError> {
        self.inner.mark_again(stream, terms).await
    }

    async fn save_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.inner.save_checkpoint(stream, kind, body).await
    }

    async fn load_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        self.inner.load_checkpoint(stream, kind).await
    }

    fn brief_every(&self) -> u64 {
        self.inner.brief_every()
    }

    fn whole_every(&self) -> Option<u64> {
        self.inner.whole_every()
    }
}
