//! Consumers that read, through the door: a queue's log by position, for sessions that hold no more than their windows
//! allow.
//!
//! Nothing runs for a reader but its session: it reads when it is asked for its next event.

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::Lease;
use storage::Seek;
use storage::batch::Record;
use tokio::sync::Notify;

use super::queues::deliver;
use super::read_ahead::Seen;
use super::sessions::{Delivery, Event, Hold, NewConsumer, Session, Subscription};
use super::{Inner, queue_partitions};
use crate::partition::Partition;
use crate::queue::{
    Consumer, ConsumerEvent, Position, QueuePartitionId, Reader, Source, UnackedMessage,
};
use crate::{Error, Result};

impl Session {
    /// Has a consumer read a queue's messages from a position on: all that are in the log, whether they were
    /// acknowledged or not. Nothing becomes of them, however they are settled; that only makes room in the consumer's
    /// windows. Each partition of the queue's topic is read from that position. Errors: `Denied`, `UnknownQueue`,
    /// `Locked`; `InUse` when it, or another one, wants to be the only one.
    pub async fn read(
        &self,
        queue: &str,
        from: Position,
        new: NewConsumer,
    ) -> Result<Subscription> {
        let queue = self.find(queue)?;
        let inner = &self.access.inner;
        let subscription = self.enter(&queue, &new)?;
        for at in queue_partitions::of_queue(&queue) {
            let partition = inner.partition_of(at).ok_or(Error::UnknownQueue)?;
            let (next, not_before) = inner.place(&partition, from).await?;
            let read = Source::Log(Arc::clone(&self.reading));
            let consumer = Arc::new(self.consumer((at, subscription.id), &new, read));
            let alive = Arc::downgrade(&subscription.alive);
            let reader = Reader::new((consumer, partition), next, not_before, alive);
            // A session that is over reads nothing.
            let _ = self
                .event_sender
                .send(ConsumerEvent::Reading(Box::new(reader)));
        }
        Ok(subscription)
    }
}

impl Inner {
    /// The shared face of the partition a queue partition leases from.
    pub(super) fn partition_of(&self, at: QueuePartitionId) -> Option<Arc<Partition>> {
        let topics = self.topics.load();
        let topic = topics.with_id(at.topic)?;
        topic.partitions.get(at.index as usize).cloned()
    }

    /// The offset a position means now, and the age of what is wanted from there on.
    async fn place(&self, partition: &Partition, from: Position) -> Result<(u64, Option<u64>)> {
        let end = partition.high_watermark();
        let next = match from {
            Position::First => partition.start(),
            Position::Last => end.saturating_sub(1),
            Position::Next => end,
            Position::Offset(offset) => offset,
            Position::Time(time) => {
                let oldest = i64::try_from(time).unwrap_or(i64::MAX);
                let sought = self.log.seek(partition.records(), Seek::Time(oldest));
                let found = sought.await?.map_or(end, |found| found.base_offset);
                return Ok((found, Some(time)));
            }
        };
        Ok((next, None))
    }

    /// Whether a consumer may still read its queue; one whose queue is gone finds that out itself.
    fn may_read(&self, consumer: &Consumer) -> bool {
        let queue = self.queues.with_id(consumer.at.queue);
        queue.is_none_or(|queue| self.may_consume(&consumer.principal, &queue.name))
    }

    fn is_gone(&self, at: QueuePartitionId) -> bool {
        self.queues.with_id(at.queue).is_none() || self.topics.load().with_id(at.topic).is_none()
    }
}

/// A session's consumers that read.
#[derive(Debug)]
pub(super) struct Readers {
    /// Whose turn it is first.
    all: VecDeque<Reader>,
    notify: Arc<Notify>,
    /// One of them had its turn.
    had_turn: bool,
    /// How often rights had changed when all of them were last looked at.
    rights: Option<u64>,
    /// Something has happened to one of them. Only then, and when one comes to the end, can a queue have gone
    /// unnoticed.
    was_notified: bool,
}

/// What comes of looking at a reader.
enum Step {
    Event(Event),
    /// There is nothing for it.
    Nothing,
    Left,
}

impl Readers {
    pub(super) fn new(notify: Arc<Notify>) -> Self {
        Self {
            all: VecDeque::new(),
            notify,
            had_turn: false,
            rights: None,
            was_notified: false,
        }
    }

    pub(super) fn join(&mut self, reader: Reader) {
        self.all.push_back(reader);
        // Its queue may have been deleted, or its right have gone, before there was a consumer to notify.
        (self.rights, self.was_notified) = (None, true);
    }

    /// Whether one of them had its turn since this was asked last.
    pub(super) fn take_turn(&mut self) -> bool {
        std::mem::take(&mut self.had_turn)
    }

    /// Returns when there may be something for one of them, or room.
    pub(super) async fn notify(&mut self) {
        self.notify.notified().await;
        self.was_notified = true;
    }

    /// The next thing there is for one of them, if there is something. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, inner: &Inner, hold: &mut Hold) -> Option<Event> {
        let rights = Some(inner.rights());
        for _ in 0..self.all.len() {
            let have_changed = self.rights != rights;
            let reader = self.all.front_mut()?;
            let step = if have_changed && !inner.may_read(&reader.consumer) {
                cancelled(reader)
            } else {
                next_of(reader, inner, &self.notify, hold).await
            };
            let is_over = matches!(step, Step::Nothing)
                && (reader.take_moved() || self.was_notified)
                && inner.is_gone(reader.consumer.at);
            let step = if is_over { cancelled(reader) } else { step };
            let is_over = matches!(step, Step::Left | Step::Event(Event::Cancelled { .. }));
            let reader = self.all.pop_front()?;
            if !is_over {
                self.all.push_back(reader);
            }
            if let Step::Event(event) = step {
                self.had_turn = true;
                return Some(event);
            }
        }
        (self.rights, self.was_notified) = (rights, false);
        None
    }
}

fn cancelled(reader: &Reader) -> Step {
    let consumer = reader.consumer.number;
    Step::Event(Event::Cancelled { consumer })
}

async fn next_of(
    reader: &mut Reader,
    inner: &Inner,
    notify: &Arc<Notify>,
    hold: &mut Hold,
) -> Step {
    if reader.has_left() {
        return Step::Left;
    }
    let consumer = Arc::clone(&reader.consumer);
    let mut room = None;
    loop {
        let Some(offset) = reader.readable() else {
            if reader.arm(notify) {
                continue;
            }
            return Step::Nothing;
        };
        let Some(unacked) = room.take().or_else(|| room_of(&consumer)) else {
            return Step::Nothing;
        };
        let offset = match present(reader, inner, offset) {
            Ok(Some(offset)) => offset,
            Ok(None) => {
                room = Some(unacked);
                continue;
            }
            Err(_) => {
                // Its queue is going, or the broker.
                reader.arm(notify);
                return Step::Nothing;
            }
        };
        match inner.record_within(consumer.at, offset, hold).await {
            Ok(Seen::Unreadable { upto }) => {
                reader.skip_to(upto);
                room = Some(unacked);
            }
            Ok(seen) => match reader.take(offset, seen.record()) {
                Some(record) => return hand(unacked, record),
                None => room = Some(unacked),
            },
            Err(Error::TooLarge { .. }) => {
                reader.skip_to(offset + 1);
                room = Some(unacked);
            }
            Err(error) => {
                tracing::warn!(%error, "a message cannot be read");
                reader.arm(notify);
                return Step::Nothing;
            }
        }
    }
}

/// The next offset that can be read, from one on; none when all that is there was acknowledged and is gone, which is
/// passed over.
fn present(reader: &mut Reader, inner: &Inner, from: u64) -> Result<Option<u64>> {
    let partition = Arc::clone(&reader.partition);
    if !partition.is_sparse() {
        return Ok(Some(from));
    }
    let end = partition.high_watermark();
    let found = inner.first_readable(&partition, from)?;
    let found = found.filter(|found| *found < end);
    reader.skip_to(found.unwrap_or(end));
    Ok(found)
}

/// Room for one message; given back when it is dropped.
fn room_of(consumer: &Arc<Consumer>) -> Option<UnackedMessage> {
    if consumer.take(1) == 0 {
        return None;
    }
    // It is looked at at once.
    consumer.outbox.give(1);
    Some(UnackedMessage::new(consumer, 0, 0))
}

fn hand(mut unacked: UnackedMessage, record: Record) -> Step {
    unacked.offset = record.offset;
    let consumer = &unacked.consumer;
    let lease = Lease {
        offset: record.offset,
        ..Lease::default()
    };
    Step::Event(Event::Delivery(Box::new(Delivery {
        consumer: consumer.number,
        redelivered: false,
        ready: 0,
        message: deliver(consumer.at, &lease, record),
        unacked,
    })))
}
