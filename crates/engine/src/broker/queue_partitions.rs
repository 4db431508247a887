//! Lanes come and go: folded out of their logs, handed to the owners of their partitions, given up again.

use std::collections::VecDeque;
use std::sync::Arc;

use storage::{Append, Batch, Chunk, Log, Read, StreamId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Inner, partition_hash};
use crate::memory::StateShare;
use crate::queue::lane::{Arrival, Lane, LaneEvent, looked_into};
use crate::queue::{LaneAt, NewQueue, Queue, QueueSettings};
use crate::shard::{self, LaneCommand, OwnedLane};
use crate::{Error, Result};

/// A batch of more records is looked into by a worker.
const AT_ONCE_MAX: u64 = 1 << 10;
/// Bytes read per step of a recovery.
const READ_BYTES: usize = 1 << 20;

/// A queue's lanes.
pub(super) fn lanes(queue: &Queue) -> impl Iterator<Item = LaneAt> + use<> {
    let (topic, id) = (queue.document.topic, queue.id());
    (0..queue.lanes).map(move |index| LaneAt {
        topic,
        index,
        queue: id,
    })
}

/// Makes all lanes of a new queue, of what was made of them already, and hands them to their owners.
pub(super) async fn open_lanes(
    inner: &Inner,
    queue: &Arc<Queue>,
    prepared: Option<Prepared>,
) -> Result<()> {
    let mut prepared = prepared.filter(|prepared| prepared.is_of(queue));
    for at in lanes(queue) {
        inner.controls.turn();
        let part = prepared.as_mut().and_then(|p| p.parts.pop_front());
        let lane = match part {
            Some(part) => Part {
                by_controller: true,
                ..part
            },
            None => Part::new(inner, at),
        };
        let lane = lane.catch_up(inner, (queue.settings(), at), true).await?;
        let start = inner.log.bounds(records(at)).map_or(0, |b| b.start);
        let lane = lane.finish(inner, queue, start);
        offer_made(inner, queue, (at, Box::new(lane)))
            .await?
            .taken(inner)
            .await?;
    }
    Ok(())
}

/// What a new queue makes of the records that its topic has already: made by who wants the queue, before the controller has
/// to wait for it.
pub(super) struct Prepared {
    topic: Uuid,
    settings: Arc<QueueSettings>,
    parts: VecDeque<Part>,
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
            let at = LaneAt {
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
            && self.parts.len() == queue.lanes as usize
    }
}

/// A lane that is being made of a partition's records.
struct Part {
    lane: Lane,
    /// Records that had to be looked into.
    looked_into: u64,
    share: StateShare,
    /// The controller makes it, and shows by it that it lives.
    by_controller: bool,
}

impl Part {
    /// A lane that knows of nothing yet, nor of what was acknowledged in another queue of the topic, whatever the log has.
    fn new(inner: &Inner, at: LaneAt) -> Self {
        let first = inner.partition_of(at).map_or(0, |p| p.start());
        let start = inner.log.bounds(records(at)).map_or(0, |b| b.start);
        let mut lane = Lane::new(start.max(first));
        lane.start_restoring();
        Self::of(inner, lane)
    }

    fn of(inner: &Inner, lane: Lane) -> Self {
        Self {
            lane,
            looked_into: 0,
            share: StateShare::new(&inner.queue_state),
            by_controller: true,
        }
    }

    /// Shows the lane every record it does not know yet. One that is `bounded` is refused when it takes more memory than there
    /// is; a start takes what is there.
    async fn catch_up(
        mut self,
        inner: &Inner,
        (settings, at): (&QueueSettings, LaneAt),
        bounded: bool,
    ) -> Result<Self> {
        let Some(bounds) = inner.log.bounds(records(at)) else {
            return Ok(self);
        };
        self.lane.skip_to(bounds.start);
        while self.lane.end() < bounds.end {
            let from = self.lane.end();
            let chunk = read(&*inner.log, records(at), from, bounds.end).await?;
            for batch in chunk.batches()? {
                if self.by_controller {
                    inner.controls.turn();
                }
                self = self.index(inner, batch, settings).await?;
                let bytes = self.lane.state_bytes();
                if bounded && bytes > 0 {
                    self.share.set(bytes);
                    inner.queue_state.check_used()?;
                }
            }
            if self.lane.end() <= from {
                return Err(Error::Storage(format!(
                    "partition {} of {} ends before it should",
                    at.index, at.topic
                )));
            }
        }
        Ok(self)
    }

    /// Shows the lane a batch; one of many records is looked into by a worker.
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
            self.lane.index((&batch, None), settings, arrival);
            return Ok(self);
        }
        let settings = settings.clone();
        let bytes = batch.opening_bytes();
        let work = move || {
            self.lane.index((&batch, None), &settings, arrival);
            self
        };
        let done = inner.workers.run(bytes, work).await;
        done.ok_or_else(|| Error::Storage("the records of a batch cannot be looked into".into()))
    }

    /// What was made of the records, for a new queue. Where it does not begin with the log, the queue's own log says so: a restart
    /// must neither show it what was acknowledged before it was attached, nor take from it what other queues have acknowledged.
    fn finish(mut self, inner: &Inner, queue: &Arc<Queue>, start: u64) -> OwnedLane {
        self.lane
            .restored(start, queue.settings(), inner.clock.now_ms());
        let first = self.lane.oldest();
        let mut owned = OwnedLane::new(Arc::clone(queue), self.lane, 0, 0);
        if first > start {
            owned.change(LaneEvent::Trimmed { before: first }, None);
        }
        owned.having_looked_into(self.looked_into)
    }
}

/// Restores one lane and hands it to the owner of its partition.
pub(super) async fn open_lane(inner: &Inner, queue: &Arc<Queue>, at: LaneAt) -> Result<()> {
    offer_lane(inner, queue, at).await?.taken(inner).await
}

/// Restores one lane and offers it to the owner of its partition.
pub(super) async fn offer_lane(
    inner: &Inner,
    queue: &Arc<Queue>,
    at: LaneAt,
) -> Result<OfferedLane> {
    let lane = Box::new(restore(inner, queue, at).await?);
    offer_made(inner, queue, (at, lane)).await
}

async fn offer_made(
    inner: &Inner,
    queue: &Arc<Queue>,
    (at, lane): (LaneAt, Box<OwnedLane>),
) -> Result<OfferedLane> {
    for moving in lane.lane.moves().iter().filter(|m| m.ended.is_none()) {
        inner.move_runs(queue.id(), moving.task);
    }
    Ok(OfferedLane {
        at,
        queue: Arc::clone(queue),
        outcome: offer(inner, at, lane).await?,
    })
}

/// A lane on its way to its owner.
pub(super) struct OfferedLane {
    at: LaneAt,
    queue: Arc<Queue>,
    outcome: oneshot::Receiver<Option<Box<OwnedLane>>>,
}

impl OfferedLane {
    /// Waits until the owner has it.
    pub(super) async fn taken(mut self, inner: &Inner) -> Result<()> {
        let (at, queue) = (self.at, &self.queue);
        // It is given back when the partition has got more since it was read.
        while let Some(mut lane) = self.outcome.await.map_err(|_| Error::Unavailable)? {
            let part = Part::of(inner, std::mem::take(&mut lane.lane));
            let part = part.catch_up(inner, (queue.settings(), at), false).await?;
            lane.lane = part.lane;
            self.outcome = offer(inner, at, lane).await?;
        }
        Ok(())
    }
}

async fn offer(
    inner: &Inner,
    at: LaneAt,
    lane: Box<OwnedLane>,
) -> Result<oneshot::Receiver<Option<Box<OwnedLane>>>> {
    let (done, outcome) = oneshot::channel();
    let open = shard::Command::OpenLane { at, lane, done };
    tell(inner, at, open).await?;
    Ok(outcome)
}

/// Asks the owner of a lane's partition.
pub(super) async fn tell(inner: &Inner, at: LaneAt, command: shard::Command) -> Result<()> {
    inner
        .tell(partition_hash(at.topic, at.index), command)
        .await
}

/// Asks a lane.
pub(super) async fn ask<T>(
    inner: &Inner,
    at: LaneAt,
    make: impl FnOnce(oneshot::Sender<Result<T>>) -> LaneCommand,
) -> Result<T> {
    let (done, outcome) = oneshot::channel();
    let command = shard::Command::Lane {
        at,
        command: make(done),
    };
    tell(inner, at, command).await?;
    outcome.await.map_err(|_| Error::Unavailable)?
}

/// Looks at a lane; what was seen is durable.
pub(super) async fn inspect<T: Send + 'static>(
    inner: &Inner,
    at: LaneAt,
    look: impl FnOnce(&Lane) -> T + Send + 'static,
) -> Result<T> {
    let (done, seen) = oneshot::channel();
    let inspect = LaneCommand::Inspect(Box::new(move |lane: &Lane| {
        let seen = look(lane);
        Box::new(move || drop(done.send(seen)))
    }));
    let command = shard::Command::Lane {
        at,
        command: inspect,
    };
    tell(inner, at, command).await?;
    // A lane that is gone drops the question.
    seen.await.map_err(|_| Error::UnknownQueue)
}

/// A lane's state: its last snapshot, the records since, and what was done with them.
async fn restore(inner: &Inner, queue: &Arc<Queue>, at: LaneAt) -> Result<OwnedLane> {
    let log = &*inner.log;
    let history = History::read(log, at).await?;
    let damaged =
        |error: &dyn std::fmt::Display| Error::Storage(format!("lane of {}: {error}", queue.name));
    let window = queue.settings().dedup_window_ms;
    let start = log.bounds(records(at)).map_or(0, |bounds| bounds.start);
    let mut lane = match &history.snapshot {
        Some(bytes) => Lane::decode(bytes, window).map_err(|error| damaged(&error))?,
        None => Lane::new(start),
    };
    let snapshot_end = if history.snapshot.is_some() {
        lane.end()
    } else {
        0
    };
    lane.start_restoring();
    let part = Part::of(inner, lane);
    let part = part.catch_up(inner, (queue.settings(), at), false).await?;
    let mut lane = part.lane;
    for (event, at) in &history.events {
        lane.apply(event, None);
        lane.note_kept(event, *at, queue.settings());
    }
    lane.restored(start, queue.settings(), inner.clock.now_ms());
    let queue = Arc::clone(queue);
    let owned = OwnedLane::new(queue, lane, history.end, snapshot_end);
    let owned = owned.having_looked_into(part.looked_into);
    Ok(owned.with_events(history.bytes))
}

/// The stream of a lane's records.
pub(super) fn records(at: LaneAt) -> StreamId {
    StreamId {
        owner: at.topic,
        part: at.index * 2,
    }
}

/// The stream of what was done with them.
fn events(at: LaneAt) -> StreamId {
    StreamId {
        owner: at.queue,
        part: at.index,
    }
}

/// A lane's own log.
#[derive(Default)]
struct History {
    snapshot: Option<Vec<u8>>,
    /// With the time each was appended, ms.
    events: Vec<(LaneEvent, u64)>,
    end: u64,
    /// Of the events.
    bytes: u64,
}

impl History {
    async fn read(log: &dyn Log, at: LaneAt) -> Result<Self> {
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
                    let event = LaneEvent::decode(&value).map_err(damaged)?;
                    history.take((event, at), &mut collecting);
                }
            }
        }
        Ok(history)
    }

    fn take(&mut self, (event, at): (LaneEvent, u64), collecting: &mut Vec<u8>) {
        match event {
            LaneEvent::Snapshot { part, parts, bytes } => {
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

/// Gives up a queue's lanes and their logs; returns when that is durable.
pub(super) async fn close_lanes(inner: &Inner, queue: &Queue) -> Result<()> {
    for at in lanes(queue) {
        inner.controls.turn();
        ask(inner, at, |done| LaneCommand::Close { done }).await?;
    }
    Ok(())
}

/// Tells a queue's lanes that its settings changed.
pub(super) async fn configure_lanes(inner: &Inner, queue: &Arc<Queue>) -> Result<()> {
    for at in lanes(queue) {
        inner.controls.turn();
        let queue = Arc::clone(queue);
        let command = shard::Command::Lane {
            at,
            command: LaneCommand::Configure { queue },
        };
        tell(inner, at, command).await?;
    }
    Ok(())
}

/// Gives up logs of queues nobody knows any more; for a start.
pub(super) fn forget_lanes(log: &dyn Log, id: Uuid, count: u32) -> Result<()> {
    for part in 0..count {
        match log.trim(StreamId { owner: id, part }, storage::Trim::All) {
            Ok(_) | Err(storage::Error::Missing) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Appends to several streams at once.
pub(super) fn append_all(log: &dyn Log, appends: Vec<Append>) -> Result<storage::Lsn> {
    Ok(log.append(appends, storage::Durability::Sync)?)
}
