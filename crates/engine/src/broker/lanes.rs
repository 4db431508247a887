//! Lanes come and go: folded out of their logs, handed to the owners of their partitions, given up again.

use std::sync::Arc;

use storage::{Append, Chunk, Log, Read, StreamId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Inner, partition_hash};
use crate::queue::lane::{Arrival, Lane, LaneEvent};
use crate::queue::{LaneAt, Queue};
use crate::shard::{self, LaneCommand, OwnedLane};
use crate::time::Time;
use crate::{Error, Result};

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

/// Restores all lanes of a queue and hands them to their owners.
pub(super) async fn open_lanes(inner: &Inner, queue: &Arc<Queue>) -> Result<()> {
    for at in lanes(queue) {
        inner.controls.turn();
        open_lane(inner, queue, at).await?;
    }
    Ok(())
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
    // What was acknowledged in another queue of the topic is gone, whatever the log still has.
    let partition = inner.partition_of(at);
    let start = partition.map_or(0, |partition| partition.start());
    let lane = Box::new(restore((&*inner.log, &inner.clock), (queue, at), start).await?);
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
            let from = (&*inner.log, &*inner.clock);
            catch_up(from, &mut lane.lane, (queue, at)).await?;
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
/// Without a snapshot it knows of no record before `first`.
async fn restore(
    (log, clock): (&dyn Log, &Time),
    (queue, at): (&Arc<Queue>, LaneAt),
    first: u64,
) -> Result<OwnedLane> {
    let history = History::read(log, at).await?;
    let damaged =
        |error: &dyn std::fmt::Display| Error::Storage(format!("lane of {}: {error}", queue.name));
    let window = queue.settings().dedup_window_ms;
    let start = log.bounds(records(at)).map_or(0, |bounds| bounds.start);
    let mut lane = match &history.snapshot {
        Some(bytes) => Lane::decode(bytes, window).map_err(|error| damaged(&error))?,
        None => Lane::new(start.max(first)),
    };
    let snapshot_end = if history.snapshot.is_some() {
        lane.end()
    } else {
        0
    };
    lane.start_restoring();
    catch_up((log, clock), &mut lane, (queue, at)).await?;
    for (event, at) in &history.events {
        lane.apply(event, None);
        lane.note_kept(event, *at, queue.settings());
    }
    lane.restored(start, queue.settings(), clock.now_ms());
    let queue = Arc::clone(queue);
    let owned = OwnedLane::new(queue, lane, history.end, snapshot_end);
    Ok(owned.with_events(history.bytes))
}

/// Shows a lane every record it does not know yet.
async fn catch_up(
    (log, clock): (&dyn Log, &Time),
    lane: &mut Lane,
    (queue, at): (&Queue, LaneAt),
) -> Result<()> {
    let Some(bounds) = log.bounds(records(at)) else {
        return Ok(());
    };
    lane.skip_to(bounds.start);
    while lane.end() < bounds.end {
        let from = lane.end();
        let chunk = read(log, records(at), from, bounds.end).await?;
        for batch in chunk.batches()? {
            let stamp = u64::try_from(batch.header.max_timestamp).unwrap_or(0);
            let arrival = Arrival::Before(clock.moment_of(stamp));
            lane.index((&batch, None), queue.settings(), arrival);
        }
        if lane.end() <= from {
            return Err(Error::Storage(format!(
                "partition {} of {} ends before it should",
                at.index, at.topic
            )));
        }
    }
    Ok(())
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
