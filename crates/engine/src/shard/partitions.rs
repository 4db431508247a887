//! What a shard does to its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::batch::{BatchBuilder, Outline};
use storage::{Append, Durability, Log, Lsn, Trim};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::lanes::{self, Lanes, OwnedLane};
use super::pending::{Reply, Waiting};
use super::{Command, Entry, Opening, Shard};
use crate::partition::{Decision, Ledger, Partition, Producer, Snapshot};
use crate::queue::LaneAt;
use crate::queue::lane::{Arrival, LaneEvent};
use crate::time::Moment;
use crate::topic::Config;
use crate::{Error, Published, Result, Verdicts};

/// A partition is snapshotted when this many bytes were appended since the last time: what a start has to
/// read at most, per partition.
const SNAPSHOT_BYTES: u64 = 64 << 20;

/// A partition with everything its owner knows about it.
pub(crate) struct Owned {
    pub(crate) partition: Arc<Partition>,
    pub(crate) ledger: Ledger,
    pub(crate) config: Config,
    /// Position of the last append: what an answer about existing records has to wait for.
    pub(crate) last_lsn: Lsn,
    /// Position of the last append that can be read only when it is synced, and nothing behind it before.
    sync_lsn: Lsn,
    bytes_since_snapshot: u64,
    /// Up to where the stored snapshot accounts for producers.
    snapshot_upto: u64,
    /// Next offset of the state stream.
    state_end: u64,
    /// Queues that lend its records.
    pub(crate) lanes: Lanes,
}

impl Owned {
    /// The log has taken a batch that was decided outside the shard; returns how far readers may then read.
    pub(crate) fn accept(
        &mut self,
        batch: Option<&storage::Batch>,
        reached: (Lsn, Durability),
        now: Moment,
    ) -> u64 {
        self.appended(reached);
        if let Some(batch) = batch {
            self.ledger.apply(&batch.header, now.now);
            self.bytes_since_snapshot += batch.bytes() as u64;
            index(self, batch, None, now);
        }
        self.ledger.end
    }

    fn appended(&mut self, (lsn, durability): (Lsn, Durability)) {
        self.last_lsn = lsn;
        if durability != Durability::Flush {
            self.sync_lsn = lsn;
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
}

/// The partitions of a shard, by topic and number.
#[derive(Default)]
pub(super) struct PartitionTable {
    // Ordered, so that a topic's partitions are neighbours.
    here: BTreeMap<(Uuid, u32), Box<Owned>>,
    /// Those lent to a transfer for a moment, with what is asked of them meanwhile, in order.
    away: BTreeMap<(Uuid, u32), Vec<Command>>,
    /// Commands that wait for partitions that are away.
    deferred: usize,
}

impl PartitionTable {
    pub(super) fn open(&mut self, partition: Arc<Partition>, opening: Opening, config: Config) {
        let key = (partition.topic_id, partition.index);
        let owned = Owned {
            partition,
            ledger: opening.ledger,
            config,
            last_lsn: Lsn(0),
            sync_lsn: Lsn(0),
            bytes_since_snapshot: opening.bytes_since_snapshot,
            snapshot_upto: opening.snapshot_upto,
            state_end: 0,
            lanes: Lanes::default(),
        };
        self.here.insert(key, Box::new(owned));
    }

    pub(super) fn configure(&mut self, topic_id: Uuid, config: Config) {
        for owned in self.of_topic(topic_id) {
            owned.config = config;
        }
    }

    /// The producers a partition knows, by id.
    pub(super) fn producers(&mut self, topic_id: Uuid, index: u32) -> Result<Vec<(i64, Producer)>> {
        let producers = self.find(topic_id, index)?.ledger.producers.sorted();
        let own = producers.into_iter().map(|(id, known)| (id, known.clone()));
        Ok(own.collect())
    }

    pub(super) fn expire_producers(&mut self, horizon: u64) {
        for owned in self.all() {
            owned.ledger.producers.expire(horizon);
        }
    }

    /// Topic and index of all that are here.
    pub(super) fn keys(&self) -> Vec<(Uuid, u32)> {
        self.here.keys().copied().collect()
    }

    /// All that are here.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.here.values_mut().map(Box::as_mut)
    }

    fn of_topic(&mut self, topic_id: Uuid) -> impl Iterator<Item = &mut Owned> {
        let all = (topic_id, 0)..=(topic_id, u32::MAX);
        self.here.range_mut(all).map(|(_, owned)| &mut **owned)
    }

    /// A partition, unless it is away or somebody else's.
    pub(super) fn here(&mut self, topic_id: Uuid, index: u32) -> Option<&mut Owned> {
        self.here.get_mut(&(topic_id, index)).map(Box::as_mut)
    }

    /// A lane of a partition that is here, to be used.
    pub(super) fn lane(&mut self, at: LaneAt) -> Option<&mut OwnedLane> {
        let owned = self.here(at.topic, at.index)?;
        owned.lanes.lane(at.queue, owned.ledger.end)
    }

    /// Offset of the next record of a partition that is here.
    pub(super) fn end(&mut self, topic_id: Uuid, index: u32) -> u64 {
        self.here(topic_id, index)
            .map_or(0, |owned| owned.ledger.end)
    }

    /// What an answer about a partition's newest record has to wait for, if the log is durable up to here.
    pub(super) fn newest(
        &mut self,
        (topic_id, index): (Uuid, u32),
        durable: Lsn,
    ) -> (Lsn, Durability) {
        self.here(topic_id, index)
            .map_or((Lsn(0), Durability::Flush), |owned| {
                (owned.last_lsn, owned.durability(durable))
            })
    }

    fn find(&mut self, topic_id: Uuid, index: u32) -> Result<&mut Owned> {
        self.here(topic_id, index).ok_or(Error::UnknownPartition)
    }

    /// Keeps a command for a partition that is away; gives it back when none of those it names is.
    pub(super) fn defer(&mut self, command: Command) -> Option<Command> {
        if self.away.is_empty() {
            return Some(command);
        }
        for (topic_id, index) in command.partitions() {
            let (first, last) = index.map_or((0, u32::MAX), |index| (index, index));
            let mut away = self.away.range_mut((topic_id, first)..=(topic_id, last));
            if let Some((_, waiting)) = away.next() {
                waiting.push(command);
                self.deferred += 1;
                return None;
            }
        }
        Some(command)
    }

    /// How many commands wait for partitions that are away.
    pub(super) fn deferred(&self) -> usize {
        self.deferred
    }

    /// Lends a partition to a transfer.
    pub(super) fn send_away(&mut self, topic_id: Uuid, index: u32) -> Option<Box<Owned>> {
        let key = (topic_id, index);
        let owned = self.here.remove(&key)?;
        self.away.insert(key, Vec::new());
        Some(owned)
    }

    /// Takes a partition back; returns what was asked of it meanwhile.
    pub(super) fn take_back(&mut self, owned: Box<Owned>) -> Vec<Command> {
        let key = (owned.partition.topic_id, owned.partition.index);
        self.here.insert(key, owned);
        let waiting = self.away.remove(&key).unwrap_or_default();
        self.deferred -= waiting.len();
        waiting
    }
}

/// A batch's outcome, with what its answer waits for.
pub(super) struct Placed {
    published: Published,
    pub(super) lsn: Lsn,
    pub(super) durability: Durability,
    pub(super) grown: Option<(Arc<Partition>, u64)>,
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

    /// Decides, appends and applies one batch.
    pub(super) fn place(&mut self, entry: Entry) -> Result<Placed> {
        let moment = self.clock.moment();
        let now = moment.now;
        let owned = self.partitions.find(entry.topic_id, entry.index)?;
        let durability = owned.durability(self.durable);
        let start = owned.ledger.start;
        let (outlines, largest) = (entry.outlines, entry.largest_value);
        match owned
            .ledger
            .decide(entry.batch, &owned.config, moment.wall)?
        {
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
                let looked = (outlines.as_deref(), largest);
                let reserved = lanes::check_room(&owned.lanes, &batch, looked)?;
                let header = batch.header;
                let bytes = batch.bytes() as u64;
                let for_lanes = (!owned.lanes.is_empty()).then(|| batch.clone());
                let mut appends = vec![Append {
                    stream: owned.partition.records(),
                    batch,
                }];
                let arrivals = stage_arrivals(owned, &header, now);
                appends.extend(arrivals.iter().map(|(_, append, _)| append.clone()));
                let lsn = self.log.append(appends, durability)?;
                for (queue, _, end) in arrivals {
                    if let Some(lane) = owned.lanes.lane(queue, header.base_offset) {
                        lane.arrived(end, lsn);
                    }
                }
                owned.ledger.apply(&header, now);
                owned.appended((lsn, durability));
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
                if let Some(batch) = for_lanes {
                    let lanes = index(owned, &batch, outlines.as_deref(), moment);
                    drop(reserved);
                    for at in lanes {
                        self.gather(at);
                    }
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
        let now = self.clock.now_ms();
        // A snapshot stands behind every event it accounts for.
        self.finish_lanes();
        let mut trimmed_lanes: Vec<Uuid> = Vec::new();
        let trimmed = self.partitions.find(topic_id, index).and_then(|owned| {
            // Only what may be read may be deleted.
            if before > owned.partition.high_watermark() {
                return Err(Error::OffsetOutOfRange);
            }
            if before <= owned.ledger.start {
                return Ok((owned.last_lsn, owned.ledger.start));
            }
            lanes::keep_ids(owned, &*self.log, before, now);
            let lsn = trim_to(owned, &*self.log, before, now).ok_or(Error::Unavailable)?;
            for lane in owned.lanes.used_mut() {
                lane.change(LaneEvent::Trimmed { before }, None);
                trimmed_lanes.push(lane.queue.id());
            }
            Ok((lsn, owned.ledger.start))
        });
        for queue in trimmed_lanes {
            self.gather(LaneAt {
                topic: topic_id,
                index,
                queue,
            });
        }
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
        let gone = self.partitions.here.extract_if(all, |_, _| true);
        for (_, owned) in gone.collect::<Vec<_>>() {
            for lane in owned.lanes.used() {
                let at = LaneAt {
                    topic: topic_id,
                    index: owned.partition.index,
                    queue: lane.queue.id(),
                };
                last = last.max(self.drop_lane(at, lane));
            }
            for stream in [owned.partition.records(), owned.partition.state()] {
                // A store that cannot write is about to stop the process; the next start finishes the removal.
                if let Ok(lsn) = self.log.trim(stream, Trim::All) {
                    last = last.max(lsn);
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

    /// A partition has grown elsewhere: its snapshot may be due.
    pub(super) fn grown(&mut self, topic_id: Uuid, index: u32) {
        let now = self.clock.now_ms();
        if let Some(owned) = self.partitions.here(topic_id, index)
            && owned.bytes_since_snapshot >= SNAPSHOT_BYTES
        {
            snapshot(&*self.log, owned, now);
        }
    }

    /// Snapshots every partition that changed: the next start then reads nothing but the snapshots.
    pub(super) fn snapshot_all(&mut self) {
        let now = self.clock.now_ms();
        for owned in self.partitions.all() {
            lanes::snapshot_lanes(owned, &*self.log, now);
            if owned.bytes_since_snapshot > 0 && !owned.ledger.producers.is_empty() {
                snapshot(&*self.log, owned, now);
            }
        }
    }
}

/// What lanes have to remember of when a batch came, to be appended with it: its queue, the append, and the end of the
/// lane's log behind it.
fn stage_arrivals(
    owned: &mut Owned,
    header: &storage::BatchHeader,
    now: u64,
) -> Vec<(Uuid, Append, u64)> {
    if owned.lanes.is_empty() || Arrival::is_told(header) {
        return Vec::new();
    }
    let index = owned.partition.index;
    let lanes = owned.lanes.all(header.base_offset);
    let staged = lanes.filter_map(|lane| {
        let (append, end) = lane.stage_arrival(header, index, now)?;
        Some((lane.queue.id(), append, end))
    });
    staged.collect()
}

/// Shows the lanes of a partition a batch it got; returns who they are.
fn index(
    owned: &mut Owned,
    batch: &storage::Batch,
    outlines: Option<&[Outline]>,
    now: Moment,
) -> Vec<LaneAt> {
    let (topic, index) = (owned.partition.topic_id, owned.partition.index);
    let lanes = owned.lanes.all(batch.header.base_offset).map(|lane| {
        lane.index(batch, outlines, now);
        LaneAt {
            topic,
            index,
            queue: lane.queue.id(),
        }
    });
    lanes.collect()
}

/// Gives up a partition's records before `before`; `None` when the log cannot.
pub(super) fn trim_to(owned: &mut Owned, log: &dyn Log, before: u64, now: u64) -> Option<Lsn> {
    // The records that go are also what a start would learn their producers from.
    if before > owned.snapshot_upto && !owned.ledger.producers.is_empty() {
        snapshot(log, owned, now);
    }
    let lsn = log
        .trim(owned.partition.records(), Trim::Before(before))
        .ok()?;
    owned.ledger.trim(before);
    owned.partition.trimmed(before);
    owned.last_lsn = lsn;
    Some(lsn)
}

/// Writes the ledger's snapshot and gives up the one before. Failing is harmless: the next start reads more.
fn snapshot(log: &dyn Log, owned: &mut Owned, now: u64) {
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
