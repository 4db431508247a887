//! A lane with what its owner needs to keep it: its own log, its snapshots, who waits there.

use std::collections::VecDeque;
use std::sync::Arc;

use storage::batch::{BatchBuilder, Outline};
use storage::{Append, Durability, Log, Lsn, StreamId, Trim};

use crate::memory::StateShare;
use crate::partition::LEADER_EPOCH;
use crate::queue::lane::{Arrival, Counts, Lane, LaneEvent, LineId, looked_into};
use crate::queue::{Consumer, Poll, Queue};
use crate::shard::partitions::{Owned, trim_to};
use crate::time::Moment;

/// A lane's events are folded into a snapshot when they take this many bytes, or as many as the last one did.
const SNAPSHOT_EVENTS_BYTES: u64 = 256 << 10;
/// … or when so many bytes of records came since, or four times as many as the last one took.
const SNAPSHOT_RECORDS_BYTES: u64 = 32 << 20;
/// … or when so many records came that a start would have to look into, however small they are, or as many as the last one has
/// message groups, about.
const SNAPSHOT_RECORDS: u64 = 1 << 18;
const SNAPSHOT_GROUP_BYTES: u64 = 16;

/// A lane with what its owner needs to keep it.
pub(crate) struct OwnedLane {
    pub(crate) queue: Arc<Queue>,
    pub(crate) lane: Lane,
    /// What the queue's numbers hold of this lane.
    shown: Counts,
    /// What it takes of the memory for the state of queues.
    share: StateShare,
    /// Next offset of the lane's own stream.
    pub(crate) events_end: u64,
    pub(super) last_lsn: Lsn,
    /// Its last append that said more than that messages are done: what is handed over later rests on it.
    told_lsn: Lsn,
    /// Such events are gathered, or could not be appended.
    is_telling: bool,
    events_bytes: u64,
    records_bytes: u64,
    /// Records behind its snapshot that had to be looked into.
    looked_into: u64,
    snapshot_bytes: u64,
    /// Records before this are accounted for by a snapshot.
    snapshot_end: u64,
    pub(super) polls: VecDeque<Arc<Poll>>,
    /// How many of them do not wait for messages to come, but for some to leave; at least.
    pub(super) short_polls: usize,
    /// Who is handed messages as they come: greatest priority first, then who came first.
    pub(super) consumers: Vec<Arc<Consumer>>,
    /// Whose turn it is among equals.
    pub(super) turn: usize,
    /// Messages could not leave: none are sent away before this time, ms.
    pub(super) patient_until: u64,
    /// When the owner will look at it.
    pub(super) scheduled: Option<u64>,
    /// Events of this round.
    events: Vec<LaneEvent>,
    /// Something is to be done for it at the end of this round.
    pub(super) gathered: bool,
    /// Messages came that nobody was offered yet.
    pub(super) unoffered: bool,
}

impl OwnedLane {
    /// A lane as a restart, or an attachment, found it.
    pub(crate) fn new(queue: Arc<Queue>, lane: Lane, events_end: u64, snapshot_end: u64) -> Self {
        let mut share = StateShare::new(queue.numbers.memory());
        share.set(lane.state_bytes());
        Self {
            queue,
            lane,
            shown: Counts::default(),
            share,
            events_end,
            last_lsn: Lsn(0),
            told_lsn: Lsn(0),
            is_telling: false,
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
            scheduled: None,
            events: Vec::new(),
            gathered: false,
            unoffered: false,
        }
    }

    /// The lane of a queue for which nothing has happened in a partition that ends at `end`.
    pub(super) fn fresh(queue: Arc<Queue>, end: u64) -> Self {
        Self::new(queue, Lane::new(end), 0, 0)
    }

    /// Whether it is as it was made: nothing would be lost if it were made again.
    pub(super) fn is_fresh(&self) -> bool {
        let has_log = self.events_end > 0 || !self.events.is_empty();
        let is_waited_for = !self.polls.is_empty() || !self.consumers.is_empty();
        let is_looked_at = self.gathered || is_waited_for || self.scheduled.is_some();
        !has_log && !is_looked_at && self.records_bytes == 0 && self.lane.is_untouched()
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
    pub(super) fn is_transient(&self) -> bool {
        self.queue.settings().lifetime.transient
    }

    /// The lane's own stream.
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
        self.lane
            .index((batch, outlines), self.queue.settings(), arrival);
        self.share.set(self.lane.state_bytes());
        self.lane.note_fresh(batch.header.base_offset);
        self.unoffered = true;
        self.records_bytes += batch.bytes() as u64;
        self.looked_into += looked_into(&batch.header, self.queue.settings());
        // Single messages are counted where they are sent, or moved.
        if !batch.header.is_made_here() {
            let count = u64::from(batch.header.record_count.unsigned_abs());
            self.queue.numbers.sent(count, batch.bytes() as u64);
        }
    }

    /// Shows how much the lane holds, and what that takes.
    pub(super) fn show(&mut self) {
        self.share.set(self.lane.state_bytes());
        let now = self.lane.counts();
        if now != self.shown {
            self.queue.numbers.holds(now, self.shown);
            self.shown = now;
        }
    }

    /// Applies an event and keeps it for the log.
    pub(crate) fn change(&mut self, event: LaneEvent, lines: Option<&[LineId]>) {
        self.lane.apply(&event, lines);
        self.is_telling |= !matches!(event, LaneEvent::Acked { .. });
        self.events.push(event);
    }

    /// The events of this round as a batch of the lane's stream.
    pub(crate) fn take_batch(&mut self, index: u32, now: u64) -> Option<Append> {
        for event in &self.events {
            self.lane.note_kept(event, now, self.queue.settings());
        }
        if self.is_transient() {
            self.events.clear();
            self.is_telling = false;
        }
        let mut events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return None;
        }
        let mut builder = BatchBuilder::new(now.cast_signed());
        for event in events.drain(..) {
            builder.push(now.cast_signed(), None, Some(&event.encode()), &[]);
        }
        self.events = events;
        let append = self.place(builder, index, self.events_end);
        self.events_bytes += append.batch.bytes() as u64;
        Some(append)
    }

    fn place(&self, builder: BatchBuilder, index: u32, at: u64) -> Append {
        Append {
            stream: self.stream(index),
            batch: builder.build().placed(at, LEADER_EPOCH, None),
        }
    }

    /// An event as a batch of the lane's stream that is not applied yet, and the stream's end behind it.
    pub(crate) fn stage(&self, event: &LaneEvent, index: u32, now: u64) -> (Append, u64) {
        let mut builder = BatchBuilder::new(now.cast_signed());
        builder.push(now.cast_signed(), None, Some(&event.encode()), &[]);
        let append = self.place(builder, index, self.events_end);
        let end = append.batch.header.next_offset();
        (append, end)
    }

    /// What has to be remembered of when a peer's batch came, if that is anything new.
    pub(crate) fn stage_arrival(
        &mut self,
        header: &storage::BatchHeader,
        index: u32,
        now: u64,
    ) -> Option<(Append, u64)> {
        if self.is_transient() {
            return None;
        }
        let settings = self.queue.settings();
        let event = self.lane.arrival_event(header, settings, now)?;
        let (append, end) = self.stage(&event, index, now);
        self.events_bytes += append.batch.bytes() as u64;
        Some((append, end))
    }

    /// The log has taken it. Other events of this round are still to come.
    pub(crate) fn arrived(&mut self, end: u64, lsn: Lsn) {
        self.events_end = end;
        self.last_lsn = lsn;
    }

    /// The log has taken a staged event.
    pub(crate) fn apply_staged(&mut self, event: &LaneEvent, end: u64, lsn: Lsn) {
        self.lane.apply(event, None);
        self.is_telling = true;
        self.appended(end, lsn);
    }

    /// The log has taken a batch of the lane's stream.
    pub(crate) fn appended(&mut self, end: u64, lsn: Lsn) {
        self.events_end = end;
        self.last_lsn = lsn;
        if std::mem::take(&mut self.is_telling) {
            self.told_lsn = lsn;
        }
    }

    /// Whether a message whose record is durable may be handed over at once: nothing it rests on is still on its way to the
    /// disk. That others are done is nothing it rests on.
    pub(super) fn is_settled(&self, durable: Lsn) -> bool {
        !self.is_telling && self.told_lsn <= durable
    }

    /// When something happens by itself next, ms.
    pub(super) fn next_due(&self) -> Option<u64> {
        let due = self.lane.next_due(self.queue.settings())?;
        // What could not leave is tried again after a while.
        let waits = self.patient_until > 0 && self.lane.leaving() == 0;
        Some(if waits {
            due.max(self.patient_until)
        } else {
            due
        })
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        !self.is_transient()
            && (self.events_bytes > SNAPSHOT_EVENTS_BYTES.max(self.snapshot_bytes)
                || self.records_bytes > SNAPSHOT_RECORDS_BYTES.max(self.snapshot_bytes * 4)
                || self.looked_into
                    > SNAPSHOT_RECORDS.max(self.snapshot_bytes / SNAPSHOT_GROUP_BYTES))
    }

    fn changed_since_snapshot(&self) -> bool {
        let changed = self.events_bytes + self.records_bytes + self.looked_into > 0;
        changed && !self.is_transient()
    }

    /// Writes the state as a whole and gives up what came before. Failing is harmless: a restart reads more.
    pub(super) fn snapshot(&mut self, log: &dyn Log, index: u32, now: u64) {
        let mut end = self.events_end;
        let mut bytes = 0;
        let parts = self.lane.snapshot().into_iter().map(|part| {
            let mut builder = BatchBuilder::new(now.cast_signed());
            builder.push(now.cast_signed(), None, Some(&part.encode()), &[]);
            let append = self.place(builder, index, end);
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
        self.snapshot_end = self.lane.end();
    }

    /// Whether its records are there for its queue alone, and only as long as that says.
    pub(crate) fn owns_records(&self) -> bool {
        owns_records(&self.queue)
    }

    /// Records before this are done and not kept, and a restart does without them.
    fn forgettable(&self) -> u64 {
        let oldest = self.lane.lowest_visible();
        // What was sent with an id has to be remembered, and only a snapshot does that without the record.
        if self.lane.dedup_ids() > 0 && !self.is_transient() {
            return oldest.min(self.snapshot_end);
        }
        oldest
    }
}

/// Snapshots of lanes that would otherwise forget deduplication ids with the records before `before`.
pub(in crate::shard) fn keep_ids(owned: &mut Owned, log: &dyn Log, before: u64, now: u64) {
    let index = owned.partition.index;
    for lane in owned.lanes.used_mut() {
        if lane.lane.dedup_ids() > 0 && lane.snapshot_end < before && !lane.is_transient() {
            lane.snapshot(log, index, now);
        }
    }
}

/// Snapshots of lanes that changed: the next start then reads nothing else.
pub(in crate::shard) fn snapshot_lanes(owned: &mut Owned, log: &dyn Log, now: u64) {
    let index = owned.partition.index;
    for lane in owned.lanes.used_mut() {
        if lane.changed_since_snapshot() {
            lane.snapshot(log, index, now);
        }
    }
}

/// Whether the topic of a queue is there for the queue alone, and its records only as long as the queue says.
fn owns_records(queue: &Queue) -> bool {
    queue.document.owns_topic && !queue.settings().stream
}

/// Shows readers what is left for them, and lets the log forget the rest when it is `step` records, where the partition is
/// there for its queue alone.
pub(super) fn forget_done(owned: &mut Owned, log: &dyn Log, step: u64, now: u64) {
    if !owned.lanes.queues().any(|queue| owns_records(queue)) {
        return;
    }
    show_readable(owned);
    let done = owned.lanes.used().map(OwnedLane::forgettable).min();
    let before = done.unwrap_or(owned.ledger.end);
    let before = before.min(owned.partition.high_watermark());
    if before < owned.ledger.start + step {
        return;
    }
    trim_to(owned, log, before, now);
}

/// What is done in every lane, and kept in none, is not there any more for readers, whatever the log still has.
fn show_readable(owned: &mut Owned) {
    let end = owned.ledger.end;
    let lowest = owned.lanes.used().map(|lane| lane.lane.lowest_visible());
    let lowest = lowest.min().unwrap_or(end);
    let has_all = |lane: &OwnedLane| {
        let first = lane.lane.lowest_visible();
        first == lowest && lane.lane.visible_count() == lane.lane.end() - first
    };
    let sparse = lowest < end && !owned.lanes.used().any(has_all);
    let readable = owned.partition.high_watermark();
    owned.partition.acknowledged(lowest.min(readable), sparse);
}

/// Runs of offsets that can be read: first offset and end of each, rising, none next to another.
pub(crate) type Readable = Vec<(u64, u64)>;

/// What can be read of a partition from an offset on: `span` offsets from the first one that can, and as far as `least`; up
/// to the offset that is also returned.
pub(in crate::shard) fn readable(
    owned: &Owned,
    (from, least): (u64, u64),
    span: u64,
) -> (Readable, u64) {
    let lanes = || owned.lanes.used().map(|lane| &lane.lane);
    let first = lanes().filter_map(|lane| lane.first_visible(from)).min();
    let Some(first) = first else {
        return (Vec::new(), owned.ledger.end);
    };
    let upto = first.saturating_add(span).max(least);
    let upto = upto.min(owned.ledger.end);
    let mut runs = Vec::new();
    for lane in lanes() {
        lane.visible_within((first, upto), &mut runs);
    }
    runs.sort_unstable();
    let mut readable: Readable = Vec::with_capacity(runs.len().min(1024));
    for (start, end) in runs {
        match readable.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => readable.push((start, end)),
        }
    }
    (readable, upto)
}
