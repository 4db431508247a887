//! A queue partition with what its owner needs to keep it: its own log, its snapshots, who waits there.

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::{Arrival, Counts, MessageGroupId, QueueEvent, QueuePartition, looked_into};
use storage::batch::{BatchBuilder, Outline};
use storage::{Append, Durability, Log, Lsn, StreamId, Trim};

use crate::Error;
use crate::memory::StateShare;
use crate::partition::LEADER_EPOCH;
use crate::queue::{Consumer, Poll, Queue};
use crate::time::Moment;

/// A queue partition's events are folded into a snapshot when they take this many bytes, or as many as the last one
/// did.
const SNAPSHOT_EVENTS_BYTES: u64 = 256 << 10;
/// … or when so many bytes of records came since, or four times as many as the last one took.
const SNAPSHOT_RECORDS_BYTES: u64 = 32 << 20;
/// … or when so many records came that a start would have to look into, however small they are, or as many as the last one has
/// message groups, about.
const SNAPSHOT_RECORDS: u64 = 1 << 18;
const SNAPSHOT_GROUP_BYTES: u64 = 16;

/// A queue partition with what its owner needs to keep it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "marks of one turn that do not depend on each other"
)]
pub(crate) struct OwnedQueuePartition {
    pub(crate) queue: Arc<Queue>,
    pub(crate) state: QueuePartition,
    /// What the queue's numbers hold of this queue partition.
    shown: Counts,
    /// What it takes of the memory for the state of queues.
    share: StateShare,
    /// Next offset of the queue partition's own stream.
    pub(crate) events_end: u64,
    pub(in crate::owner) last_lsn: Lsn,
    /// Its last append that said more than that messages are done: what is handed over later rests on it.
    state_lsn: Lsn,
    /// Such events are gathered, or could not be appended.
    changes_state: bool,
    events_bytes: u64,
    records_bytes: u64,
    /// Records behind its snapshot that had to be looked into.
    looked_into: u64,
    snapshot_bytes: u64,
    /// Records before this are accounted for by a snapshot.
    pub(in crate::owner) snapshot_end: u64,
    pub(super) polls: VecDeque<Arc<Poll>>,
    /// How many of them do not wait for messages to come, but for some to leave; at least.
    pub(super) short_polls: usize,
    /// Who is handed messages as they come: greatest priority first, then who came first.
    pub(super) consumers: Vec<Arc<Consumer>>,
    /// Whose turn it is among equals.
    pub(super) turn: usize,
    /// Messages could not leave: none are sent away before this time, ms.
    pub(super) patient_until: u64,
    /// When something happens by itself next, ms.
    pub(in crate::owner) due: Option<u64>,
    /// Events of this turn.
    events: Vec<QueueEvent>,
    /// Events of this turn are on their way into the log.
    is_staged: bool,
    /// Something is to be done for it at the end of this turn.
    pub(in crate::owner) gathered: bool,
    /// Messages came that nobody was offered yet.
    pub(in crate::owner) unoffered: bool,
}

impl OwnedQueuePartition {
    /// A queue partition as a restart, or an attachment, found it.
    pub(crate) fn new(
        queue: Arc<Queue>,
        state: QueuePartition,
        events_end: u64,
        snapshot_end: u64,
    ) -> Self {
        let mut share = StateShare::new(queue.numbers.memory());
        share.set(state.state_bytes());
        Self {
            queue,
            state,
            shown: Counts::default(),
            share,
            events_end,
            last_lsn: Lsn(0),
            state_lsn: Lsn(0),
            changes_state: false,
            events_bytes: 0,
            records_bytes: 0,
            looked_into: 0,
            snapshot_bytes: 0,
            snapshot_end,
            polls: VecDeque::new(),
            short_polls: 0,
            consumers: Vec::new(),
            turn: 0,
            patient_until: 0,
            due: None,
            events: Vec::new(),
            is_staged: false,
            gathered: false,
            unoffered: false,
        }
    }

    /// The queue partition of a queue for which nothing has happened in a partition that ends at `end`.
    pub(super) fn fresh(queue: Arc<Queue>, end: u64) -> Self {
        Self::new(queue, QueuePartition::new(end), 0, 0)
    }

    /// Whether it is as it was made: nothing would be lost if it were made again.
    pub(super) fn is_fresh(&self) -> bool {
        let has_log = self.events_end > 0 || !self.events.is_empty();
        let is_waited_for = !self.polls.is_empty() || !self.consumers.is_empty();
        let is_looked_at = self.gathered || is_waited_for || self.due.is_some();
        !has_log && !is_looked_at && self.records_bytes == 0 && self.state.is_untouched()
    }

    /// So many bytes of events stand behind its snapshot already.
    pub(crate) fn with_events(mut self, bytes: u64) -> Self {
        self.events_bytes = bytes;
        self
    }

    /// So many records stand behind its snapshot that had to be looked into.
    pub(crate) fn having_looked_into(mut self, records: u64) -> Self {
        self.looked_into = records;
        self
    }

    /// Whether a restart throws it away: nothing of it is kept.
    pub(in crate::owner) fn is_transient(&self) -> bool {
        self.queue.settings().lifetime.transient
    }

    /// The queue partition's own stream.
    pub(crate) fn stream(&self, index: u32) -> StreamId {
        StreamId {
            owner: self.queue.id(),
            part: index,
        }
    }

    /// Takes note of a batch the partition got.
    pub(crate) fn index(
        &mut self,
        batch: &storage::Batch,
        outlines: Option<&[Outline]>,
        now: Moment,
    ) {
        let arrival = Arrival::Now(now);
        self.state
            .index((batch, outlines), self.queue.settings(), arrival);
        self.share.set(self.state.state_bytes());
        self.state.note_fresh(batch.header.base_offset);
        self.unoffered = true;
        self.records_bytes += batch.bytes() as u64;
        self.looked_into += looked_into(&batch.header, self.queue.settings());
        // Single messages are counted where they are sent, or moved.
        if !batch.header.is_made_here() {
            let count = u64::from(batch.header.record_count.unsigned_abs());
            self.queue.numbers.sent(count, batch.bytes() as u64);
        }
    }

    /// Shows how much the queue partition holds, and what that takes.
    pub(in crate::owner) fn show(&mut self) {
        self.share.set(self.state.state_bytes());
        let now = self.state.counts();
        if now != self.shown {
            self.queue.numbers.holds(now, self.shown);
            self.shown = now;
        }
    }

    /// Applies an event and keeps it for the log.
    pub(crate) fn change(&mut self, event: QueueEvent, groups: Option<&[MessageGroupId]>) {
        self.state.apply(&event, groups);
        self.changes_state |= !matches!(event, QueueEvent::Acked { .. });
        self.events.push(event);
    }

    /// Applies that a message is done. What is done in one turn without anything between is one event.
    pub(super) fn acked(&mut self, offset: u64) {
        self.state.acked(offset);
        match self.events.last_mut() {
            Some(QueueEvent::Acked { offsets }) => offsets.push(offset),
            _ => self.events.push(QueueEvent::Acked {
                offsets: vec![offset],
            }),
        }
    }

    /// The events of this turn as a batch of the queue partition's stream.
    pub(crate) fn take_batch(&mut self, index: u32, now: u64) -> Option<Append> {
        for event in &self.events {
            self.state.note_kept(event, now, self.queue.settings());
        }
        if self.is_transient() {
            self.events.clear();
            self.changes_state = false;
        }
        let mut events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return None;
        }
        let mut builder = BatchBuilder::new(now.cast_signed());
        for mut event in events.drain(..) {
            if let QueueEvent::Acked { offsets } = &mut event {
                // Rising, they take the least room.
                offsets.sort_unstable();
            }
            builder.push(now.cast_signed(), None, Some(&event.encode()), &[]);
        }
        self.events = events;
        let append = self.append_of(builder, index, self.events_end);
        self.events_end = append.batch.header.next_offset();
        self.events_bytes += append.batch.bytes() as u64;
        self.is_staged = true;
        Some(append)
    }

    fn append_of(&self, builder: BatchBuilder, index: u32, at: u64) -> Append {
        Append {
            stream: self.stream(index),
            batch: builder.build().placed(at, LEADER_EPOCH, None),
        }
    }

    /// Remembers when a peer's batch came, if that is anything new.
    pub(in crate::owner) fn note_arrival(&mut self, header: &storage::BatchHeader, now: u64) {
        let settings = self.queue.settings();
        if let Some(event) = self.state.arrival_event(header, settings, now)
            && !self.queue.settings().lifetime.transient
        {
            self.events.push(event);
        }
    }

    /// The log has taken what this turn added to the queue partition's stream.
    pub(in crate::owner) fn appended(&mut self, lsn: Lsn) {
        if std::mem::take(&mut self.is_staged) {
            self.last_lsn = lsn;
            if std::mem::take(&mut self.changes_state) {
                self.state_lsn = lsn;
            }
        }
    }

    /// Whether a message whose record is durable may be handed over at once: nothing it rests on is still on its way to
    /// the disk. That others are done is nothing it rests on.
    pub(super) fn is_settled(&self, durable: Lsn) -> bool {
        !self.changes_state && self.state_lsn <= durable
    }

    /// When something happens by itself next, ms.
    pub(in crate::owner) fn next_due(&self) -> Option<u64> {
        let due = self.state.next_due(self.queue.settings())?;
        // What could not leave is tried again after a while.
        let waits = self.patient_until > 0 && self.state.removing() == 0;
        Some(if waits {
            due.max(self.patient_until)
        } else {
            due
        })
    }

    pub(in crate::owner) fn wants_snapshot(&self) -> bool {
        !self.is_transient()
            && (self.events_bytes > SNAPSHOT_EVENTS_BYTES.max(self.snapshot_bytes)
                || self.records_bytes > SNAPSHOT_RECORDS_BYTES.max(self.snapshot_bytes * 4)
                || self.looked_into
                    > SNAPSHOT_RECORDS.max(self.snapshot_bytes / SNAPSHOT_GROUP_BYTES))
    }

    pub(in crate::owner) fn changed_since_snapshot(&self) -> bool {
        let changed = self.events_bytes + self.records_bytes + self.looked_into > 0;
        changed && !self.is_transient()
    }

    /// Writes the state as a whole and gives up what came before. Failing is harmless: a restart reads more.
    pub(in crate::owner) fn snapshot(&mut self, log: &dyn Log, index: u32, now: u64) {
        debug_assert_eq!(
            self.state.check(),
            Ok(()),
            "what is kept agrees with itself"
        );
        let mut end = self.events_end;
        let mut bytes = 0;
        let parts = self.state.snapshot().into_iter().map(|part| {
            let mut builder = BatchBuilder::new(now.cast_signed());
            builder.push(now.cast_signed(), None, Some(&part.encode()), &[]);
            let append = self.append_of(builder, index, end);
            end = append.batch.header.next_offset();
            bytes += append.batch.bytes() as u64;
            append
        });
        let parts = parts.collect();
        let Ok(lsn) = log.append(parts, Durability::Vital) else {
            return;
        };
        let _ = log.trim(self.stream(index), Trim::Before(self.events_end));
        (self.events_end, self.last_lsn) = (end, lsn);
        (self.events_bytes, self.records_bytes, self.looked_into) = (0, 0, 0);
        self.snapshot_bytes = bytes;
        self.snapshot_end = self.state.end();
    }

    /// Gives up its log and ends the receives that wait there; returns where that is in the log.
    pub(in crate::owner) fn give_up(&self, log: &dyn Log, index: u32) -> Lsn {
        for answer in self.polls.iter().filter_map(|poll| poll.take_answer()) {
            let _ = answer.send(Err(Error::UnknownQueue));
        }
        self.consumers.iter().for_each(|consumer| consumer.cancel());
        // Never written to, or the store is about to stop: the next start finishes the removal.
        log.trim(self.stream(index), Trim::All).unwrap_or_default()
    }

    /// Whether its records are there for its queue alone, and only as long as that says.
    pub(crate) fn owns_records(&self) -> bool {
        owns_records(&self.queue)
    }

    /// Records before this are done and not kept, and a restart does without them.
    pub(in crate::owner) fn forgettable(&self) -> u64 {
        let oldest = self.state.lowest_visible();
        // What was sent with an id has to be remembered, and only a snapshot does that without the record.
        if self.state.dedup_ids() > 0 && !self.is_transient() {
            return oldest.min(self.snapshot_end);
        }
        oldest
    }
}

/// Whether the topic of a queue is there for the queue alone, and its records only as long as the queue says.
pub(in crate::owner) fn owns_records(queue: &Queue) -> bool {
    queue.document.owns_topic && !queue.settings().stream
}
