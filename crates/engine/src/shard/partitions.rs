//! What a shard does to its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::batch::BatchBuilder;
use storage::{Append, Durability, Lsn, Trim};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::pending::{Reply, Waiting};
use super::{Entry, Opening, Shard};
use crate::partition::{Decision, Ledger, Partition, Snapshot};
use crate::topic::Config;
use crate::{Error, Published, Result, Verdicts};

/// A partition is snapshotted when this many bytes were appended since the last time: what a start has to
/// read at most, per partition.
const SNAPSHOT_BYTES: u64 = 64 << 20;

struct Owned {
    partition: Arc<Partition>,
    ledger: Ledger,
    config: Config,
    /// Position of the last append: what an answer about existing records has to wait for.
    last_lsn: Lsn,
    bytes_since_snapshot: u64,
    /// Up to where the stored snapshot accounts for producers.
    snapshot_upto: u64,
    /// Next offset of the state stream.
    state_end: u64,
}

/// The partitions of a shard.
#[derive(Default)]
pub(super) struct PartitionTable {
    // Ordered, so that a topic's partitions are neighbours.
    owned: BTreeMap<(Uuid, u32), Owned>,
}

impl PartitionTable {
    pub(super) fn open(&mut self, partition: Arc<Partition>, opening: Opening, config: Config) {
        let key = (partition.topic_id, partition.index);
        let owned = Owned {
            partition,
            ledger: opening.ledger,
            config,
            last_lsn: Lsn(0),
            bytes_since_snapshot: opening.bytes_since_snapshot,
            snapshot_upto: opening.snapshot_upto,
            state_end: 0,
        };
        self.owned.insert(key, owned);
    }

    pub(super) fn configure(&mut self, topic_id: Uuid, config: Config) {
        for owned in self.of_topic(topic_id) {
            owned.config = config;
        }
    }

    pub(super) fn expire_producers(&mut self, horizon: u64) {
        for owned in self.owned.values_mut() {
            owned.ledger.producers.expire(horizon);
        }
    }

    fn of_topic(&mut self, topic_id: Uuid) -> impl Iterator<Item = &mut Owned> {
        self.owned
            .range_mut((topic_id, 0)..=(topic_id, u32::MAX))
            .map(|(_, owned)| owned)
    }

    fn find(&mut self, topic_id: Uuid, index: u32) -> Result<&mut Owned> {
        self.owned
            .get_mut(&(topic_id, index))
            .ok_or(Error::UnknownPartition)
    }
}

/// A batch's outcome, with what its answer waits for.
struct Placed {
    published: Published,
    lsn: Lsn,
    durability: Durability,
    grown: Option<(Arc<Partition>, u64)>,
}

impl Shard {
    /// Decides, appends and applies every batch; one answer when all of them are as durable as they should be.
    pub(super) fn publish(
        &mut self,
        entries: Vec<Entry>,
        permit: Option<OwnedSemaphorePermit>,
        done: oneshot::Sender<Verdicts>,
    ) {
        let mut verdicts = Vec::with_capacity(entries.len());
        let mut grown = Vec::with_capacity(entries.len());
        let mut wait_for = (Lsn(0), Durability::Flush);
        for entry in entries {
            let placed = self.place(entry);
            if let Ok(placed) = &placed {
                wait_for.0 = wait_for.0.max(placed.lsn);
                if placed.durability == Durability::Sync {
                    wait_for.1 = Durability::Sync;
                }
                grown.extend(placed.grown.clone());
            }
            verdicts.push(placed.map(|p| p.published));
        }
        let answer = Reply::Publish {
            done,
            verdicts,
            permit,
        };
        self.answer_at(wait_for, Waiting { grown, answer });
    }

    /// Queues an answer; one that waits for nothing is sent at once.
    pub(super) fn answer_at(&mut self, (lsn, durability): (Lsn, Durability), waiting: Waiting) {
        if lsn == Lsn(0) {
            return waiting.send();
        }
        // Answers about older positions than the newest queued one wait with it: lines stay ordered.
        let lsn = lsn.max(self.pending.newest(durability));
        self.pending.push(lsn, durability, waiting);
    }

    fn place(&mut self, entry: Entry) -> Result<Placed> {
        let now = self.clock.now_ms();
        let owned = self.partitions.find(entry.topic_id, entry.index)?;
        let durability = owned.config.durability;
        let start = owned.ledger.start;
        match owned.ledger.decide(entry.batch, &owned.config, now)? {
            // The original may not be durable yet: its repeat is not confirmed before it either.
            Decision::Duplicate { base_offset } => Ok(Placed {
                published: Published {
                    base_offset,
                    append_time: None,
                    start,
                    duplicate: true,
                },
                lsn: owned.last_lsn,
                durability,
                grown: None,
            }),
            Decision::Append(batch) => {
                let header = batch.header;
                let bytes = batch.bytes() as u64;
                let lsn = self.log.append(
                    vec![Append {
                        stream: owned.partition.records(),
                        batch,
                    }],
                    durability,
                )?;
                owned.ledger.apply(&header, now);
                owned.last_lsn = lsn;
                owned.bytes_since_snapshot += bytes;
                self.metrics
                    .published(u64::from(header.record_count.unsigned_abs()), bytes);
                let append_time = header.is_append_time().then_some(header.max_timestamp);
                let published = Published {
                    base_offset: header.base_offset,
                    append_time,
                    start,
                    duplicate: false,
                };
                let grown = Some((Arc::clone(&owned.partition), header.next_offset()));
                if owned.bytes_since_snapshot >= SNAPSHOT_BYTES {
                    snapshot(&*self.log, owned, now);
                }
                Ok(Placed {
                    published,
                    lsn,
                    durability,
                    grown,
                })
            }
        }
    }

    /// Moves a partition's start; the answer waits until that is durable.
    pub(super) fn trim(
        &mut self,
        topic_id: Uuid,
        index: u32,
        before: u64,
        done: oneshot::Sender<Result<u64>>,
    ) {
        let trimmed = self.partitions.find(topic_id, index).and_then(|owned| {
            // Only what may be read may be deleted.
            if before > owned.partition.high_watermark() {
                return Err(Error::OffsetOutOfRange);
            }
            if before <= owned.ledger.start {
                return Ok((owned.last_lsn, owned.ledger.start));
            }
            // The records that go are also what a start would learn their producers from.
            if before > owned.snapshot_upto && !owned.ledger.producers.is_empty() {
                snapshot(&*self.log, owned, self.clock.now_ms());
            }
            let lsn = self
                .log
                .trim(owned.partition.records(), Trim::Before(before))?;
            owned.ledger.trim(before);
            owned.partition.trimmed(before);
            owned.last_lsn = lsn;
            Ok((lsn, owned.ledger.start))
        });
        match trimmed {
            Ok((lsn, start)) => {
                let answer = Reply::Call(Box::new(move || drop(done.send(Ok(start)))));
                self.answer_at(
                    (lsn, Durability::Sync),
                    Waiting {
                        grown: Vec::new(),
                        answer,
                    },
                );
            }
            Err(error) => drop(done.send(Err(error))),
        }
    }

    /// Gives up a topic's partitions and everything in them.
    pub(super) fn close(&mut self, topic_id: Uuid, done: oneshot::Sender<()>) {
        let mut last = Lsn(0);
        let all = (topic_id, 0)..=(topic_id, u32::MAX);
        let gone: Vec<_> = self
            .partitions
            .owned
            .extract_if(all, |_, _| true)
            .map(|(_, owned)| owned)
            .collect();
        for owned in gone {
            for stream in [owned.partition.records(), owned.partition.state()] {
                // A store that cannot write is about to stop the process; the next start finishes the removal.
                if let Ok(lsn) = self.log.trim(stream, Trim::All) {
                    last = lsn;
                }
            }
            owned.partition.waiters.wake();
        }
        let answer = Reply::Call(Box::new(move || {
            let _ = done.send(());
        }));
        self.answer_at(
            (last, Durability::Sync),
            Waiting {
                grown: Vec::new(),
                answer,
            },
        );
    }

    /// Snapshots every partition that changed: the next start then reads nothing but the snapshots.
    pub(super) fn snapshot_all(&mut self) {
        let now = self.clock.now_ms();
        for owned in self.partitions.owned.values_mut() {
            if owned.bytes_since_snapshot > 0 && !owned.ledger.producers.is_empty() {
                snapshot(&*self.log, owned, now);
            }
        }
    }
}

/// Writes the ledger's snapshot and gives up the one before. Failing is harmless: the next start reads more.
fn snapshot(log: &dyn storage::Log, owned: &mut Owned, now: u64) {
    let stream = owned.partition.state();
    if owned.state_end == 0 {
        owned.state_end = log.bounds(stream).map_or(0, |bounds| bounds.end);
    }
    let mut builder = BatchBuilder::new(now.cast_signed());
    let bytes = Snapshot::encode(owned.ledger.end, &owned.ledger.producers);
    builder.push(now.cast_signed(), None, Some(&bytes), &[]);
    let batch = builder
        .build()
        .placed(owned.state_end, crate::partition::LEADER_EPOCH, None);
    let next = batch.header.next_offset();
    let Ok(_) = log.append(vec![Append { stream, batch }], Durability::Vital) else {
        return;
    };
    let _ = log.trim(stream, Trim::Before(owned.state_end));
    owned.state_end = next;
    owned.snapshot_upto = owned.ledger.end;
    owned.bytes_since_snapshot = 0;
}
