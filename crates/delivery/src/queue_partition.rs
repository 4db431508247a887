//! The state of a queue partition, and how events and the passing of time change it.

use std::collections::{BTreeMap, BTreeSet};

use storage::batch::Outline;
use storage::{Batch, BatchHeader};

use crate::arrival::Arrival;
use crate::dedup::Dedup;
use crate::entry::{Entry, State};
use crate::event::QueueEvent;
use crate::expiry::{Expiry, Marks};
use crate::kept::Kept;
use crate::message_group::{Busy, MessageGroupId, MessageGroups};
use crate::meta;
use crate::moment::after;
use crate::move_progress::MoveProgress;
use crate::place::{Back, Place};
use crate::ranges::Ranges;
use crate::settings::{Ordering, QueueSettings};
use crate::sizes::Sizes;

/// How long a named attempt can be repeated, ms.
pub(crate) const ATTEMPT_MS: u64 = 300_000;
/// Named attempts remembered at most.
pub(crate) const ATTEMPTS_MAX: usize = 10_000;
/// Tenants told apart in a queue without order; messages of further ones are each their own tenant.
pub(crate) const TENANTS_MAX: usize = 10_000;

/// How many records of a batch a queue partition looks into; of those of peers see [`QueueSettings::looks_into_records`].
pub fn looked_into(header: &BatchHeader, settings: &QueueSettings) -> u64 {
    let own = header.is_made_here() && !header.is_bare();
    if own || settings.looks_into_records() {
        u64::from(header.record_count.unsigned_abs())
    } else {
        0
    }
}

/// Messages leased together under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) at: u64,
    pub(crate) lease: u64,
    pub(crate) offsets: Vec<u64>,
}

/// How many messages are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Can be leased.
    pub ready: u64,
    /// In flight.
    pub leased: u64,
    /// Held back until their time.
    pub waiting: u64,
    /// About to leave for another queue.
    pub removing: u64,
    /// Keys of those that are leased.
    pub keys_leased: u64,
    /// Cannot be read.
    pub unreadable: u64,
}

/// The delivery state of one partition's messages for one queue.
#[derive(Debug, Default)]
pub struct QueuePartition {
    /// Records before this are known here.
    pub(crate) end: u64,
    /// Number of the last lease.
    pub(crate) leases: u64,
    /// How many messages were put behind others.
    pub(crate) turns: u64,
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// When which entry's state ends.
    pub(crate) due: BTreeSet<(u64, u64)>,
    pub(crate) groups: MessageGroups,
    pub(crate) dedup: Option<Box<Dedup>>,
    pub(crate) attempts: BTreeMap<String, Attempt>,
    pub(crate) moves: Vec<MoveProgress>,
    pub(crate) leased: u64,
    pub(crate) keys_leased: u64,
    pub(crate) waiting: u64,
    pub(crate) removing: u64,
    /// How long receivers held messages of late.
    pub(crate) busy: Busy,
    /// Messages below may have been leased without a deadline, as the log knows.
    pub(crate) delivered_watermark: u64,
    /// Messages below may have been leased so before the last start.
    pub(crate) redelivery_floor: u64,
    /// When messages are too old; only where some can be.
    pub(crate) expiry: Option<Box<Expiry>>,
    /// How large they are; only where that is limited.
    pub(crate) sizes: Option<Box<Sizes>>,
    /// Messages that came back since it was last looked which of them failed too often.
    pub(crate) back: BTreeSet<u64>,
    /// Cannot be read.
    pub(crate) unreadable: Ranges,
    /// When they came, where peers' batches are among them.
    pub(crate) arrivals: Option<Box<Marks>>,
    /// From here on it is not known when messages came; only while it is read again.
    pub(crate) unmarked: Option<u64>,
    /// Acknowledged messages that are kept for replay.
    pub(crate) kept: Option<Box<Kept>>,
    /// Messages before this may have been replayed, and are as if they had just come.
    pub(crate) revived: u64,
}

impl QueuePartition {
    /// A queue partition that knows of no record before `from`.
    pub fn new(from: u64) -> Self {
        Self {
            end: from,
            ..Self::default()
        }
    }

    /// Records before this are known here.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether it is like a new one that knows of no record before its end.
    pub fn is_untouched(&self) -> bool {
        let has_messages = self.oldest() < self.end || self.groups.len() > 0;
        let remembers = self.dedup.is_some()
            || !self.attempts.is_empty()
            || !self.moves.is_empty()
            || self.kept.is_some();
        self.leases == 0 && !has_messages && !remembers
    }

    /// Records before `start` are not there any more, and nothing is known about them.
    pub fn skip_to(&mut self, start: u64) {
        self.end = self.end.max(start);
    }

    /// How many messages are in which state.
    pub fn counts(&self) -> Counts {
        Counts {
            ready: self.groups.ready(),
            leased: self.leased,
            waiting: self.waiting,
            removing: self.removing,
            keys_leased: self.keys_leased,
            unreadable: self.unreadable(),
        }
    }

    /// The lowest offset that is not done; the end when all are.
    pub fn oldest(&self) -> u64 {
        let touched = self.entries.first_key_value().map(|(offset, _)| *offset);
        let untouched = self.groups.oldest();
        let unreadable = self.unreadable.first();
        let oldest = touched.into_iter().chain(untouched).chain(unreadable).min();
        oldest.unwrap_or(self.end)
    }

    /// When something happens by itself next, ms.
    pub fn next_due(&self, settings: &QueueSettings) -> Option<u64> {
        let due = self.due.first().map(|(due, _)| *due);
        let expiry = self.expiry.as_ref();
        let expires = expiry.and_then(|expiry| expiry.next(settings.limits.message_ttl_ms));
        let kept = self.kept_due(settings);
        due.into_iter().chain(expires).chain(kept).min()
    }

    /// Move tasks, oldest first.
    pub fn moves(&self) -> &[MoveProgress] {
        &self.moves
    }

    /// Takes note of records that were appended to the partition. Those of peers are only looked into where their
    /// order or size matters, with `outlines` where they were read already. A record's place in the batch decides
    /// about its offset; what cannot be read is there all the same, and as if it had no key.
    pub fn index(
        &mut self,
        (batch, outlines): (&Batch, Option<&[Outline]>),
        settings: &QueueSettings,
        arrival: Arrival,
    ) {
        let header = &batch.header;
        let next = header.next_offset();
        if next <= self.end {
            return;
        }
        let from = self.end.max(header.base_offset);
        self.arrive(from, header, settings, arrival);
        let mut known = from;
        let mut note = |queue_partition: &mut Self, record: &meta::Meta| {
            if (known..next).contains(&record.offset) {
                queue_partition.add(record, settings);
                known = record.offset + 1;
            }
        };
        if header.is_made_here() && !header.is_bare() {
            for record in meta::read(batch, settings, arrival.moment()) {
                note(self, &record);
            }
        } else if looked_into(header, settings) > 0 {
            let mut offsets = header.base_offset..next;
            let mut look = |queue_partition: &mut Self, outline: &Outline| {
                let Some(offset) = offsets.next() else { return };
                let at = arrival.of_record(header, outline.timestamp);
                let record = meta::of_outline((offset, at), outline, settings);
                note(queue_partition, &record);
            };
            match outlines {
                Some(outlines) => outlines.iter().for_each(|outline| look(self, outline)),
                None => batch
                    .outlines(true)
                    .for_each(|outline| look(self, &outline)),
            }
        }
        if known < next {
            let group = self.groups.group(0, None, false);
            self.groups.append(group, known, next - known);
        }
        self.end = next;
    }

    fn add(&mut self, record: &meta::Meta, settings: &QueueSettings) {
        let ordered = settings.ordering == Ordering::Key && record.key.is_some();
        let key = record.key.as_deref();
        let key = key.filter(|_| ordered || self.groups.len() < TENANTS_MAX);
        let group = self.groups.group(record.level, key, ordered);
        if let Some(id) = record.dedup {
            self.dedup.get_or_insert_default().note(
                id,
                record.offset,
                record.at,
                settings.dedup_window_ms,
            );
        }
        self.note_limits(record, settings);
        if record.due <= record.at {
            self.groups.append(group, record.offset, 1);
            return;
        }
        self.groups.note(group, |group| group.touch().delayed += 1);
        self.waiting += 1;
        self.due.insert((record.due, record.offset));
        let entry = Entry {
            state: State::Delayed,
            due: record.due,
            at_ms: record.at,
            ..Entry::new(group)
        };
        self.entries.insert(record.offset, entry);
    }

    /// The queue's delay has changed: in a queue ordered by key that holds for what is delayed already.
    pub fn redelay(&mut self, delay_ms: u64) {
        let delayed = self
            .entries
            .iter_mut()
            .filter(|(_, e)| e.state == State::Delayed);
        for (offset, entry) in delayed {
            self.due.remove(&(entry.due, *offset));
            entry.due = after(entry.at_ms, delay_ms);
            self.due.insert((entry.due, *offset));
        }
    }

    /// Changes the state by an event that is in the log. `groups` are those of the event's offsets where they were
    /// picked just now; a restart finds them itself.
    pub fn apply(&mut self, event: &QueueEvent, groups: Option<&[MessageGroupId]>) {
        let group_of = |i: usize| groups.and_then(|groups| groups.get(i).copied());
        match event {
            QueueEvent::Leased {
                lease,
                at,
                until,
                attempt,
                offsets,
            } => {
                self.leases = self.leases.max(*lease);
                for (i, offset) in offsets.iter().enumerate() {
                    self.acquire(*offset, (*lease, *at, *until), group_of(i));
                }
                if let Some(name) = attempt {
                    self.remember(name, *at, *lease, offsets);
                }
            }
            QueueEvent::Acked { offsets } => {
                for offset in offsets {
                    self.acked(*offset);
                }
            }
            QueueEvent::Left { offsets, task } => {
                for (i, offset) in offsets.iter().enumerate() {
                    self.remove(*offset, group_of(i));
                }
                let moving = self.moves.iter_mut().find(|m| Some(m.task) == *task);
                if let Some(moving) = moving {
                    moving.moved += offsets.len() as u64;
                }
            }
            QueueEvent::Released {
                offset,
                due,
                before,
            } => self.release(*offset, *due, *before),
            QueueEvent::Extended { offset, until } => self.extend(*offset, *until),
            QueueEvent::Undone { lease, offsets } => {
                for offset in offsets {
                    self.undo(*offset, *lease);
                }
            }
            QueueEvent::Trimmed { before } => self.drop_before(*before),
            QueueEvent::Purged { before } => {
                self.drop_before(*before);
                if let Some(dedup) = &mut self.dedup {
                    dedup.drop_before(*before);
                }
            }
            QueueEvent::Replayed { from, upto, kept } => self.replay(*from, *upto, kept),
            QueueEvent::MoveStarted { .. } | QueueEvent::MoveEnded { .. } => self.note_move(event),
            QueueEvent::Returned { .. } => self.returned(event),
            QueueEvent::Cleared { before, kept } => self.clear(*before, kept),
            QueueEvent::DeliveredBelow { before } => {
                self.delivered_watermark = self.delivered_watermark.max(*before);
            }
            QueueEvent::Unreadable { from, upto } => self.set_unreadable(*from, *upto),
            QueueEvent::Arrived {
                offset,
                at,
                ttl_span,
                kept_span,
            } => self.recall(*offset, *at, (*ttl_span, *kept_span)),
            QueueEvent::Revived { runs } => self.revive(runs),
            QueueEvent::Unkept { .. } => {}
            QueueEvent::Snapshot { .. } => {
                unreachable!("a snapshot is the state, not a change of it")
            }
        }
    }

    pub(crate) fn acquire(
        &mut self,
        offset: u64,
        (lease, at, until): (u64, u64, u64),
        group: Option<MessageGroupId>,
    ) {
        let Some(mut entry) = self.take_entry(offset).or_else(|| {
            Some(Entry {
                first_ms: at,
                at_ms: at,
                ..Entry::new(group.or_else(|| self.find_group(offset))?)
            })
        }) else {
            return;
        };
        self.groups.hold(entry.group, offset);
        self.count_leased(entry.group, true);
        self.size_leased(offset, true);
        if entry.leased == 0 {
            entry.first_ms = at;
        }
        entry.failed += u32::from(entry.open);
        entry.leased = entry.leased.saturating_add(1);
        (entry.state, entry.open, entry.stay) = (State::Leased, true, false);
        (entry.lease, entry.at_ms, entry.due) = (lease, at, until);
        self.due.insert((until, offset));
        self.entries.insert(offset, entry);
    }

    /// Counts that a message of a group is leased now, or is no more.
    pub(crate) fn count_leased(&mut self, group: MessageGroupId, leased: bool) {
        let mut changed = 0;
        self.groups.note(group, |group| {
            let is_keyed = group.key().is_some();
            let touched = group.touch();
            touched.leased = if leased {
                touched.leased + 1
            } else {
                touched.leased - 1
            };
            changed = u64::from(is_keyed && touched.leased == u32::from(leased));
        });
        if leased {
            self.leased += 1;
            self.keys_leased += changed;
        } else {
            self.leased -= 1;
            self.keys_leased -= changed;
        }
    }

    /// Takes an entry out of everything that counts or schedules it, but leaves it in its group.
    pub(crate) fn take_entry(&mut self, offset: u64) -> Option<Entry> {
        let entry = self.entries.remove(&offset)?;
        match entry.state {
            State::Ready => {}
            State::Leased => {
                self.count_leased(entry.group, false);
                self.size_leased(offset, false);
            }
            State::Waiting => self.waiting -= 1,
            State::Delayed => {
                self.waiting -= 1;
                // Held for the moment, lest the group vanish under it.
                self.groups.hold_unready(entry.group, offset);
                self.groups
                    .note(entry.group, |group| group.touch().delayed -= 1);
            }
            State::Removing => self.removing -= 1,
        }
        self.due.remove(&(entry.due, offset));
        Some(entry)
    }

    /// A message is done.
    pub fn acked(&mut self, offset: u64) {
        self.remove(offset, None);
    }

    /// A message is gone. Returns its entry, if it had one.
    pub(crate) fn remove(&mut self, offset: u64, group: Option<MessageGroupId>) -> Option<Entry> {
        let entry = self.take_entry(offset);
        let group = entry.as_ref().map(|entry| entry.group).or(group);
        if let Some(group) = group.or_else(|| self.find_group(offset)) {
            self.groups.forget(group, offset);
        }
        self.forget_limits(offset);
        entry
    }

    /// The next place behind all messages before `before`.
    fn place_behind(&mut self, before: u64) -> Place {
        self.turns = self.turns.saturating_add(1);
        Place::behind(before, self.turns)
    }

    /// A message is ready again, or for the first time after a delay; without a place, at its own.
    pub(crate) fn put_back(&mut self, group: MessageGroupId, offset: u64, place: Option<Place>) {
        self.groups.put_back(group, offset, place);
        if let Some(expiry) = &mut self.expiry {
            expiry.returned(offset);
        }
    }

    /// The group of a message without an entry.
    pub(crate) fn find_group(&self, offset: u64) -> Option<MessageGroupId> {
        if let Some(group) = self.groups.group_of_head(offset) {
            return Some(group);
        }
        let found = self.groups.iter().find(|(_, group)| group.has(offset));
        found.map(|(id, _)| id)
    }

    fn release(&mut self, offset: u64, due: u64, before: u64) {
        let Some(mut entry) = self.take_entry(offset) else {
            return;
        };
        (entry.open, entry.due, entry.back) = (false, due, Back::Behind);
        entry.failed = entry.failed.saturating_add(1);
        self.back.insert(offset);
        if due == 0 {
            entry.state = State::Ready;
            let place = self.place_behind(before);
            self.put_back(entry.group, offset, Some(place));
        } else {
            entry.state = State::Waiting;
            self.waiting += 1;
            self.due.insert((due, offset));
        }
        self.entries.insert(offset, entry);
    }

    fn extend(&mut self, offset: u64, until: u64) {
        let Some(entry) = self.entries.get_mut(&offset) else {
            return;
        };
        // In a restart a lease that had run out at the time looks as if it had not; both end the same.
        if entry.state == State::Leased {
            self.due.remove(&(entry.due, offset));
            entry.due = until;
            self.due.insert((until, offset));
        }
    }

    /// Takes a lease back that never reached its consumer.
    pub fn undo(&mut self, offset: u64, lease: u64) {
        let is_that = |e: &Entry| e.lease == lease && e.state == State::Leased;
        if !self.entries.get(&offset).is_some_and(is_that) {
            return;
        }
        let Some(mut entry) = self.take_entry(offset) else {
            return;
        };
        entry.leased -= 1;
        (entry.state, entry.open, entry.due) = (State::Ready, false, 0);
        self.put_back(entry.group, offset, None);
        if entry.leased > 0 {
            self.entries.insert(offset, entry);
        }
    }

    fn drop_before(&mut self, before: u64) {
        let touched: Vec<u64> = self.entries.range(..before).map(|(o, _)| *o).collect();
        for offset in touched {
            self.remove(offset, None);
        }
        self.groups.drop_before(before);
        self.unreadable.remove(0, before);
        self.drop_limits(before, &[]);
        self.end = self.end.max(before);
    }

    fn replay(&mut self, from: u64, upto: u64, kept: &[u64]) {
        let from = from.min(upto);
        // In a restart, what was leased without a deadline is ready already.
        let kept: Vec<u64> = kept
            .iter()
            .copied()
            .filter(|o| self.entries.contains_key(o))
            .collect();
        let is_kept = |offset: &u64| kept.binary_search(offset).is_ok();
        let touched = self.entries.range(from..upto);
        let touched = touched.map(|(offset, _)| *offset);
        let returned: Vec<u64> = touched.filter(|offset| !is_kept(offset)).collect();
        for offset in returned {
            // Its time stays what it is, and so does its size.
            if let Some(entry) = self.take_entry(offset) {
                self.groups.forget(entry.group, offset);
            }
        }
        self.unreadable.remove(from, upto);
        let group = self.groups.group(0, None, false);
        self.groups.refill(group, (from, upto), &kept);
    }

    fn remember(&mut self, name: &str, at: u64, lease: u64, offsets: &[u64]) {
        self.attempts
            .retain(|_, attempt| at.saturating_sub(attempt.at) < ATTEMPT_MS);
        if self.attempts.len() < ATTEMPTS_MAX {
            let offsets = offsets.to_vec();
            self.attempts
                .insert(name.to_owned(), Attempt { at, lease, offsets });
        }
    }

    /// Lets time pass: leases run out, waits and delays end.
    pub fn tick(&mut self, now: u64) {
        while let Some((due, offset)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, offset));
            let Some(mut entry) = self.take_entry(offset) else {
                continue;
            };
            if entry.state == State::Leased {
                self.count_busy(&entry, now);
                self.back.insert(offset);
            }
            let back = match entry.state {
                State::Leased => Back::Behind,
                State::Waiting => entry.back,
                State::Ready | State::Delayed | State::Removing => Back::OldPlace,
            };
            let place = (back == Back::Behind).then(|| self.place_behind(self.end));
            self.put_back(entry.group, offset, place);
            // What was only delayed is like any other from now on.
            if entry.state != State::Delayed {
                (entry.state, entry.due) = (State::Ready, 0);
                self.entries.insert(offset, entry);
            }
        }
    }

    /// A message was in flight until `now`: counts for how busy its tenant keeps receivers.
    pub(crate) fn count_busy(&mut self, entry: &Entry, now: u64) {
        // It was not held longer than it was leased, however late that is looked at.
        let held = now.min(entry.due).saturating_sub(entry.at_ms);
        self.busy.add(held, now);
        self.groups
            .note(entry.group, |group| group.touch().busy.add(held, now));
    }

    /// Begins a restart: records and events follow.
    pub fn start_restoring(&mut self) {
        self.groups.start_restoring();
    }

    /// Records and events were read, and records before `start` are not there any more.
    pub fn restored(&mut self, start: u64, settings: &QueueSettings, now: u64) {
        self.mark_unmarked(settings, now);
        // What was trimmed without an event in its log is gone.
        self.forget_kept(0, start);
        if self.oldest() < start {
            self.apply(&QueueEvent::Trimmed { before: start }, None);
        }
        // A snapshot knows the delay as it was.
        if settings.ordering == Ordering::Key {
            self.redelay(settings.delay_ms);
        }
    }

    /// Everything was read.
    pub fn stop_restoring(&mut self) {
        // It was noted ahead of time, and what comes from now on has certainly not been leased.
        self.redelivery_floor = self.delivered_watermark.min(self.end);
        self.groups.stop_restoring();
    }

    /// Forgets deduplication ids that are out of the window.
    pub fn expire_dedup(&mut self, window_ms: u64, now: u64) {
        if let Some(dedup) = &mut self.dedup {
            dedup.expire(window_ms, now);
            if dedup.len() == 0 {
                self.dedup = None;
            }
        }
    }
}
