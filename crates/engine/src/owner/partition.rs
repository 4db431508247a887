//! A partition with everything its owner knows about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::{Durability, Lsn};
use uuid::Uuid;

use super::queues::QueuePartitions;
use super::timers::Due;
use crate::partition::PartitionState;
use crate::queue::Poll;
use crate::topic::Config;

/// How a partition stands when its owner takes it over.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) state: PartitionState,
    /// Up to where a stored snapshot accounts for producers.
    pub(crate) snapshot_upto: u64,
    /// Bytes behind that snapshot: what the next start would read again.
    pub(crate) bytes_since_snapshot: u64,
}

/// The state behind a partition's lock.
pub(crate) struct Owned {
    pub(crate) state: PartitionState,
    pub(crate) config: Config,
    /// Position of the last append of records, or of what moved them: what an answer about existing ones has to wait for.
    pub(crate) last_lsn: Lsn,
    /// Position of the last append that can be read only when it is synced, and nothing behind it before.
    pub(super) sync_lsn: Lsn,
    pub(super) bytes_since_snapshot: u64,
    /// Up to where the stored snapshot accounts for producers.
    pub(super) snapshot_upto: u64,
    /// Next offset of the state stream.
    pub(super) state_end: u64,
    /// Queues that lease its records.
    pub(crate) queues: QueuePartitions,
    /// Queues with something to append, to lease or to schedule in this turn.
    pub(super) gathered: Vec<Uuid>,
    /// Receivers that wait, by the end of their patience.
    pub(super) parked: BTreeMap<(u64, u64), Arc<Poll>>,
    pub(super) polls: u64,
    /// Records were appended in this turn.
    pub(super) has_grown: bool,
    /// When it is looked at next.
    pub(super) scheduled: Option<Due>,
}

impl Owned {
    pub(crate) fn new(opening: Opening, config: Config) -> Self {
        Self {
            state: opening.state,
            config,
            last_lsn: Lsn(0),
            sync_lsn: Lsn(0),
            bytes_since_snapshot: opening.bytes_since_snapshot,
            snapshot_upto: opening.snapshot_upto,
            state_end: 0,
            queues: QueuePartitions::default(),
            gathered: Vec::new(),
            parked: BTreeMap::new(),
            polls: 0,
            has_grown: false,
            scheduled: None,
        }
    }

    /// When what comes next, and an answer about what is there, counts as done, if the log is durable up to here: what
    /// stands behind something that is not synced yet cannot be read before it.
    pub(crate) fn durability(&self, durable: Lsn) -> Durability {
        if self.sync_lsn > durable {
            return Durability::Sync;
        }
        self.config.durability
    }

    /// The log has taken what this turn appended.
    pub(super) fn appended(&mut self, (lsn, durability): (Lsn, Durability)) {
        if std::mem::take(&mut self.has_grown) {
            self.last_lsn = lsn;
            if durability != Durability::Flush {
                self.sync_lsn = lsn;
            }
        }
        for queue_partition in self.queues.used_mut() {
            queue_partition.appended(lsn);
        }
    }

    /// Position of the last append of any kind.
    pub(super) fn newest(&self) -> Lsn {
        let queue_partitions = self
            .queues
            .used()
            .map(|queue_partition| queue_partition.last_lsn);
        queue_partitions.max().unwrap_or(Lsn(0)).max(self.last_lsn)
    }
}
