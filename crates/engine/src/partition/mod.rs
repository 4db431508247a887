//! A partition: one ordered log and the state its owner keeps about it.
//!
//! [`Partition`] is what everybody shares: atomics that say how far readers may go, and who waits for more.
//! [`PartitionState`] is what only the owner touches. The two streams of partition `n` are numbered `2n`
//! (records) and `2n + 1` (the snapshots of its state).

mod producers;
mod snapshot;
mod state;
mod waiters;

#[cfg(test)]
mod tests;

pub use producers::{Producer, Producers, Remembered, SequenceCheck};
pub use snapshot::{Snapshot, fuzz};
pub(crate) use state::check_batch;
pub use state::{Decision, PartitionState};
pub use waiters::Waiters;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use storage::StreamId;
use uuid::Uuid;

/// One node owns everything and never changes hands: the ownership epoch is constant, and every answer that
/// carries an epoch carries this one.
pub const LEADER_EPOCH: i32 = 0;

/// Names a partition: its topic, and its number there.
pub(crate) type PartitionKey = (Uuid, u32);

/// The shared face of a partition.
#[derive(Debug)]
pub struct Partition {
    /// The topic it belongs to.
    pub topic_id: Uuid,
    /// Its number within the topic.
    pub index: u32,
    /// Who waits for records to become readable.
    pub waiters: Waiters,
    start: AtomicU64,
    high_watermark: AtomicU64,
    of_queue: AtomicBool,
    sparse: AtomicBool,
}

impl Partition {
    /// A partition readable from `start` to `high_watermark`.
    pub fn new(topic_id: Uuid, index: u32, start: u64, high_watermark: u64) -> Self {
        Self {
            topic_id,
            index,
            waiters: Waiters::default(),
            start: AtomicU64::new(start),
            high_watermark: AtomicU64::new(high_watermark),
            of_queue: AtomicBool::new(false),
            sparse: AtomicBool::new(false),
        }
    }

    /// The stream that holds the records.
    pub fn records(&self) -> StreamId {
        StreamId {
            owner: self.topic_id,
            part: self.index * 2,
        }
    }

    /// The stream that holds the snapshots of its state.
    pub fn state(&self) -> StreamId {
        StreamId {
            owner: self.topic_id,
            part: self.index * 2 + 1,
        }
    }

    /// First readable offset.
    pub fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// One past the last readable offset.
    pub fn high_watermark(&self) -> u64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Whether some records behind the first readable offset are not readable: they were acknowledged in a queue that is
    /// all the partition is for. Which, only the owner knows.
    pub fn is_sparse(&self) -> bool {
        self.sparse.load(Ordering::Acquire)
    }

    /// Whether it is there for its queue alone: what was acknowledged there can no longer be read.
    pub fn is_of_queue(&self) -> bool {
        self.of_queue.load(Ordering::Acquire)
    }

    /// It is there for its queue alone, and readable from `start` on, with gaps behind that or without. Only the owner calls
    /// this.
    pub fn acknowledged(&self, start: u64, sparse: bool) {
        self.of_queue.store(true, Ordering::Release);
        self.sparse.store(sparse, Ordering::Release);
        self.trimmed(start);
    }

    /// Makes records before `upto` readable and wakes who waits for them. Only the owner calls this.
    pub fn advance(&self, upto: u64) {
        if self.high_watermark.fetch_max(upto, Ordering::AcqRel) < upto {
            self.waiters.wake();
        }
    }

    /// Moves the first readable offset. Only the owner calls this.
    pub fn trimmed(&self, start: u64) {
        self.start.fetch_max(start, Ordering::AcqRel);
    }
}
