//! Queue partitions come and go: folded out of their logs, handed to the owners of their partitions, given up again.

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::{Arrival, QueueEvent, QueuePartition, looked_into};
use storage::{Batch, Chunk, Log, Read, StreamId};
use uuid::Uuid;

use super::Inner;
use super::prepared::{Part, Prepared};
use crate::memory::StateShare;
use crate::owner::{OwnedQueuePartition, PartitionOwner, Round};
use crate::queue::{NewQueue, Queue, QueuePartitionId, QueueSettings};
use crate::{Error, Result};

/// A batch of more records is looked into by a worker.
const AT_ONCE_MAX: u64 = 1 << 10;
/// Bytes read per step of a recovery.
const READ_BYTES: usize = 1 << 20;

/// A queue's queue partitions.
pub(super) fn of_queue(queue: &Queue) -> impl Iterator<Item = QueuePartitionId> + use<> {
    let (topic, id) = (queue.document.topic, queue.id());
    (0..queue.partitions).map(move |index| QueuePartitionId {
        topic,
        index,
        queue: id,
    })
}

/// Makes all queue partitions of a new queue, of what was made of them already, and hands them to their owners.
pub(super) async fn open_queue_partitions(
    inner: &Inner,
    queue: &Arc<Queue>,
    prepared: Option<Prepared>,
) -> Result<()> {
    let mut prepared = prepared.filter(|prepared| prepared.is_of(queue));
    for at in of_queue(queue) {
        inner.controls.turn();
        let part = prepared.as_mut().and_then(|p| p.parts.pop_front());
        let queue_partition = match part {
            Some(part) => Part {
                by_controller: true,
                ..part
            },
            None => Part::new(inner, at),
        };
        let queue_partition = queue_partition
            .catch_up(inner, (queue.settings(), at), true)
            .await?;
        let start = inner.log.bounds(records(at)).map_or(0, |b| b.start);
        let queue_partition = queue_partition.finish(inner, queue, start);
        hand_over(inner, queue, (at, Box::new(queue_partition))).await?;
    }
    Ok(())
}

impl Prepared {
    /// Looks into the records of a topic for a queue that is about to be attached to it; `None` when there is nothing to look
    /// into. Errors: `QueueStateFull` when there are more message groups than there is memory for.
    pub(super) async fn new(inner: &Inner, new: &NewQueue) -> Result<Option<Self>> {
        let name = new.topic.as_deref().unwrap_or(&new.name);
        let topic = inner.topics.load().named(name).cloned();
        let is_new = inner.queues.named(&new.name).is_none();
        let Some(topic) = topic.filter(|_| is_new) else {
            return Ok(None);
        };
        let settings = new.settings.clone().shared();
        let settings = inner.policies.load().settings(&new.name, &settings);
        if !settings.looks_into_records() {
            return Ok(None);
        }
        let mut parts = VecDeque::new();
        for index in 0..topic.document.partitions {
            let at = QueuePartitionId {
                topic: topic.id(),
                index,
                queue: Uuid::nil(),
            };
            let part = Part {
                by_controller: false,
                ..Part::new(inner, at)
            };
            parts.push_back(part.catch_up(inner, (&settings, at), true).await?);
        }
        Ok(Some(Self {
            topic: topic.id(),
            settings,
            parts,
        }))
    }

    fn is_of(&self, queue: &Queue) -> bool {
        self.topic == queue.document.topic
            && self.settings == queue.effective
            && self.parts.len() == queue.partitions as usize
    }
}

impl Part {
    /// A queue partition that knows of nothing yet, nor of what was acknowledged in another queue of the topic, whatever the log has.
    fn new(inner: &Inner, at: QueuePartitionId) -> Self {
        let first = inner.partition_of(at).map_or(0, |p| p.start());
        let start = inner.log.bounds(records(at)).map_or(0, |b| b.start);
        let mut queue_partition = QueuePartition::new(start.max(first));
        queue_partition.start_restoring();
        Self::of(inner, queue_partition)
    }

    fn of(inner: &Inner, queue_partition: QueuePartition) -> Self {
        Self {
            queue_partition,
            looked_into: 0,
            share: StateShare::new(&inner.queue_state),
            by_controller: true,
        }
    }

    /// Shows the queue partition every record it does not know yet. One that is `bounded` is refused when it takes more memory than there
    /// is; a start takes what is there.
    async fn catch_up(
        mut self,
        inner: &Inner,
        (settings, at): (&QueueSettings, QueuePartitionId),
        bounded: bool,
    ) -> Result<Self> {
        let Some(bounds) = inner.log.bounds(records(at)) else {
            return Ok(self);
        };
        self.queue_partition.skip_to(bounds.start);
        while self.queue_partition.end() < bounds.end {
            let from = self.queue_partition.end();
            let chunk = read(&*inner.log, records(at), from, bounds.end).await?;
            for batch in chunk.batches()? {
                if self.by_controller {
                    inner.controls.turn();
                }
                self = self.index(inner, batch, settings).await?;
                let bytes = self.queue_partition.state_bytes();
                if bounded && bytes > 0 {
                    self.share.set(bytes);
                    inner.queue_state.check_used()?;
                }
            }
            if self.queue_partition.end() <= from {
                return Err(Error::Storage(format!(
                    "partition {} of {} ends before it should",
                    at.index, at.topic
                )));
            }
        }
        Ok(self)
    }

    /// Shows the queue partition a batch; one of many records is looked into by a worker.
    async fn index(
        mut self,
        inner: &Inner,
        batch: Batch,
        settings: &QueueSettings,
    ) -> Result<Self> {
        let stamp = u64::try_from(batch.header.max_timestamp).unwrap_or(0);
        let arrival = Arrival::Before(inner.clock.moment_of(stamp));
        let records = looked_into(&batch.header, settings);
        self.looked_into += records;
        if records <= AT_ONCE_MAX {
            self.queue_partition
                .index((&batch, None), settings, arrival);
            return Ok(self);
        }
        let settings = settings.clone();
        let bytes = batch.opening_bytes();
        let work = move || {
            self.queue_partition
                .index((&batch, None), &settings, arrival);
            self
        };
        let done = inner.workers.run(bytes, work).await;
        done.ok_or_else(|| Error::Storage("the records of a batch cannot be looked into".into()))
    }

    /// What was made of the records, for a new queue. Where it does not begin with the log, the queue's own log says so: a restart
    /// must neither show it what was acknowledged before it was attached, nor take from it what other queues have acknowledged.
    fn finish(mut self, inner: &Inner, queue: &Arc<Queue>, start: u64) -> OwnedQueuePartition {
        self.queue_partition
            .restored(start, queue.settings(), inner.clock.now_ms());
        let first = self.queue_partition.oldest();
        let mut owned = OwnedQueuePartition::new(Arc::clone(queue), self.queue_partition, 0, 0);
        if first > start {
            owned.change(QueueEvent::Trimmed { before: first }, None);
        }
        owned.having_looked_into(self.looked_into)
    }
}

/// Restores one queue partition and hands it to the owner of its partition.
pub(super) async fn open_queue_partition(
    inner: &Inner,
    queue: &Arc<Queue>,
    at: QueuePartitionId,
) -> Result<()> {
    let queue_partition = Box::new(restore(inner, queue, at).await?);
    hand_over(inner, queue, (at, queue_partition)).await
}

/// Hands a queue partition to the owner of its partition; returns when what it begins with is durable.
async fn hand_over(
    inner: &Inner,
    queue: &Arc<Queue>,
    (at, queue_partition): (QueuePartitionId, Box<OwnedQueuePartition>),
) -> Result<()> {
    for moving in queue_partition
        .state
        .moves()
        .iter()
        .filter(|m| m.ended.is_none())
    {
        inner.move_runs(queue.id(), moving.task);
    }
    let owner = owner(inner, at)?;
    let mut offered = Some(queue_partition);
    // It comes back when the partition has got more since it was read.
    while let Some(queue_partition) = offered.take() {
        offered = open(inner, &owner, queue_partition).await?;
        if let Some(queue_partition) = &mut offered {
            let part = Part::of(inner, std::mem::take(&mut queue_partition.state));
            let part = part.catch_up(inner, (queue.settings(), at), false).await?;
            queue_partition.state = part.queue_partition;
        }
    }
    Ok(())
}

/// Offers a queue partition to the owner of its partition; it comes back when that has more records.
async fn open(
    inner: &Inner,
    owner: &Arc<PartitionOwner>,
    queue_partition: Box<OwnedQueuePartition>,
) -> Result<Option<Box<OwnedQueuePartition>>> {
    let open = |round: &mut Round<'_>| round.open_queue_partition(queue_partition);
    if inner.owners.are_restored() {
        return owner.commit(|round| Ok(open(round))).await;
    }
    // What a start restores is durable.
    owner.run(open)
}

/// The owner of the partition a queue partition reads. Errors: `UnknownQueue`.
pub(super) fn owner(inner: &Inner, at: QueuePartitionId) -> Result<Arc<PartitionOwner>> {
    inner.owners.of_queue(at)
}

/// Does something with the partition a queue partition reads; returns when what it rests on is on disk.
pub(super) async fn commit<T>(
    inner: &Inner,
    at: QueuePartitionId,
    work: impl FnOnce(&mut Round<'_>) -> Result<T>,
) -> Result<T> {
    owner(inner, at)?
        .commit(work)
        .await
        .map_err(gone_with_partition)
}

/// Does something with the partition a queue partition reads.
pub(super) fn run<T>(
    inner: &Inner,
    at: QueuePartitionId,
    work: impl FnOnce(&mut Round<'_>) -> T,
) -> Result<T> {
    owner(inner, at)?.run(work).map_err(gone_with_partition)
}

/// A queue goes with its partition.
fn gone_with_partition(error: Error) -> Error {
    match error {
        Error::UnknownPartition => Error::UnknownQueue,
        other => other,
    }
}

/// Looks at a queue partition; what was seen is durable.
pub(super) async fn inspect<T>(
    inner: &Inner,
    at: QueuePartitionId,
    look: impl FnOnce(&QueuePartition) -> T,
) -> Result<T> {
    commit(inner, at, |round| round.inspect(at.queue, look)).await
}

/// A queue partition's state: its last snapshot, the records since, and what was done with them.
async fn restore(
    inner: &Inner,
    queue: &Arc<Queue>,
    at: QueuePartitionId,
) -> Result<OwnedQueuePartition> {
    let log = &*inner.log;
    let history = History::read(log, at).await?;
    let damaged = |error: &dyn std::fmt::Display| {
        Error::Storage(format!("queue partition of {}: {error}", queue.name))
    };
    let window = queue.settings().dedup_window_ms;
    let start = log.bounds(records(at)).map_or(0, |bounds| bounds.start);
    let mut queue_partition = match &history.snapshot {
        Some(bytes) => QueuePartition::decode(bytes, window).map_err(|error| damaged(&error))?,
        None => QueuePartition::new(start),
    };
    let snapshot_end = if history.snapshot.is_some() {
        queue_partition.end()
    } else {
        0
    };
    queue_partition.start_restoring();
    let part = Part::of(inner, queue_partition);
    let part = part.catch_up(inner, (queue.settings(), at), false).await?;
    let mut queue_partition = part.queue_partition;
    for (event, at) in &history.events {
        queue_partition.apply(event, None);
        queue_partition.note_kept(event, *at, queue.settings());
    }
    queue_partition.restored(start, queue.settings(), inner.clock.now_ms());
    // Better no start than deliveries that make it worse.
    queue_partition.check().map_err(|error| damaged(&error))?;
    let queue = Arc::clone(queue);
    let owned = OwnedQueuePartition::new(queue, queue_partition, history.end, snapshot_end);
    let owned = owned.having_looked_into(part.looked_into);
    Ok(owned.with_events(history.bytes))
}

/// The stream of a queue partition's records.
pub(super) fn records(at: QueuePartitionId) -> StreamId {
    StreamId {
        owner: at.topic,
        part: at.index * 2,
    }
}

/// The stream of what was done with them.
fn events(at: QueuePartitionId) -> StreamId {
    StreamId {
        owner: at.queue,
        part: at.index,
    }
}

/// A queue partition's own log.
#[derive(Default)]
struct History {
    snapshot: Option<Vec<u8>>,
    /// With the time each was appended, ms.
    events: Vec<(QueueEvent, u64)>,
    end: u64,
    /// Of the events.
    bytes: u64,
}

impl History {
    async fn read(log: &dyn Log, at: QueuePartitionId) -> Result<Self> {
        let mut history = Self::default();
        let Some(bounds) = log.bounds(events(at)) else {
            return Ok(history);
        };
        history.end = bounds.end;
        let mut collecting = Vec::new();
        let mut from = bounds.start;
        while from < bounds.end {
            let chunk = read(log, events(at), from, bounds.end).await?;
            if chunk.next_offset <= from {
                return Err(Error::Storage(format!(
                    "the log of queue {} ends before it should",
                    at.queue
                )));
            }
            from = chunk.next_offset;
            let damaged =
                |error| Error::Storage(format!("an event of queue {}: {error}", at.queue));
            for batch in chunk.batches()? {
                history.bytes += batch.bytes() as u64;
                for record in batch.records() {
                    let record = record?;
                    let at = u64::try_from(record.timestamp).unwrap_or(0);
                    let value = record.value.unwrap_or_default();
                    let event = QueueEvent::decode(&value).map_err(damaged)?;
                    history.take((event, at), &mut collecting);
                }
            }
        }
        Ok(history)
    }

    fn take(&mut self, (event, at): (QueueEvent, u64), collecting: &mut Vec<u8>) {
        match event {
            QueueEvent::Snapshot { part, parts, bytes } => {
                if part == 0 {
                    collecting.clear();
                }
                collecting.extend(bytes);
                // Parts are appended together: there are all or none.
                if part + 1 == parts {
                    self.snapshot = Some(std::mem::take(collecting));
                    self.events.clear();
                    self.bytes = 0;
                }
            }
            event => self.events.push((event, at)),
        }
    }
}

/// Reads a step of a stream.
pub(super) async fn read(log: &dyn Log, stream: StreamId, from: u64, until: u64) -> Result<Chunk> {
    Ok(match log.read(stream, from, until, READ_BYTES) {
        Read::Ready(read) => read?,
        Read::Disk(read) => read.await?,
    })
}

/// Gives up a queue's queue partitions and their logs; returns when that is durable.
pub(super) async fn close_queue_partitions(inner: &Inner, queue: &Queue) -> Result<()> {
    for at in of_queue(queue) {
        inner.controls.turn();
        let close = |round: &mut Round<'_>| {
            round.close_queue_partition(at.queue);
            Ok(())
        };
        match commit(inner, at, close).await {
            // It went with its partition.
            Ok(()) | Err(Error::UnknownQueue) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Notifies a queue's queue partitions that its settings changed.
pub(super) fn configure_queue_partitions(inner: &Inner, queue: &Arc<Queue>) -> Result<()> {
    for at in of_queue(queue) {
        inner.controls.turn();
        run(inner, at, |round| round.configure_queue(Arc::clone(queue)))?;
    }
    Ok(())
}

/// Gives up logs of queues nobody knows any more; for a start.
pub(super) fn forget_queue_partitions(log: &dyn Log, id: Uuid, count: u32) -> Result<()> {
    for part in 0..count {
        match log.trim(StreamId { owner: id, part }, storage::Trim::All) {
            Ok(_) | Err(storage::Error::Missing) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
