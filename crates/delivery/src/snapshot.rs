//! A queue partition's state as a whole, so that a restart need not read its history.
//!
//! ```text
//! version | end | leases | reached
//! limits:   before, marks (count, per mark: offset, first, last), own times (count, per message: offset, time),
//!           sizes (parts, per part: base, count, size of each)
//! groups:   count, per group: level, ordered, key, runs (count, per run: gap, length)
//! entries:  count, per entry: offset gap, group, state, due, lease, leased, failed, open, first, at, back, place (of one
//!           that is put behind others: offset, turn)
//! dedup:    count, per id: 16 bytes, offset, time
//! attempts: count, per attempt: name, time, lease, offsets
//! kept:     what is kept for replay: count, per moment: time, runs (count, per run: gap, length);
//!           and before which offset messages may have been replayed
//! moves:    count, per task: id, time, upto, to move, moved, rate, destination, ended, cancelled, failure
//! unreadable: count, per range: from, upto
//! arrivals: count, per mark: offset, first, last
//! ```
//!
//! Integers are of variable length. Entries that are ready again, being removed or leased without a deadline are
//! written as ready.

use crate::entry::{Entry, State};
use crate::event::QueueEvent;
use crate::event::{Reader, Unreadable, put, put_bytes, put_id, put_text};
use crate::expiry::Mark;
use crate::kept::Kept;
use crate::message_group::MessageGroupId;
use crate::moment::UNTIMED;
use crate::move_progress::{Ended, MoveProgress};
use crate::place::{Back, Place};
use crate::queue_partition::{Attempt, QueuePartition};

const VERSION: u64 = 4;
/// Up to this version all sizes follow each other, and neither unreadable messages nor arrivals are known.
const VERSION_OF_ONE_PART: u64 = 3;
/// The second knows no places but a message's own, and nothing that is kept.
const VERSION_WITHOUT_PLACES: u64 = 2;
/// The first version knows no limits.
const VERSION_WITHOUT_LIMITS: u64 = 1;
/// Bytes of one part: a record stays far below the largest batch.
const PART_BYTES: usize = 256 << 10;

impl QueuePartition {
    /// The events that make a restart begin here. Must be appended together.
    pub fn snapshot(&self) -> Vec<QueueEvent> {
        let whole = self.encode();
        let parts = whole.len().div_ceil(PART_BYTES) as u64;
        (0..)
            .zip(whole.chunks(PART_BYTES))
            .map(|(part, bytes)| QueueEvent::Snapshot {
                part,
                parts,
                bytes: bytes.to_vec(),
            })
            .collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for value in [VERSION, self.end, self.leases, self.delivered_watermark] {
            put(&mut out, value);
        }
        self.encode_limits(&mut out);
        let numbers = self.encode_groups(&mut out);
        self.encode_entries(&mut out, &numbers);
        self.encode_dedup(&mut out);
        self.encode_attempts(&mut out);
        self.encode_kept(&mut out);
        self.encode_moves(&mut out);
        put(&mut out, self.unreadable.iter().len() as u64);
        for (from, upto) in self.unreadable.iter() {
            put(&mut out, from);
            put(&mut out, upto);
        }
        match &self.arrivals {
            Some(marks) => marks.encode(&mut |value| put(&mut out, value)),
            None => put(&mut out, 0),
        }
        out
    }

    /// What is in flight for the first time and without a deadline, by its group.
    fn first_untimed(&self) -> Vec<(MessageGroupId, u64)> {
        let untimed = self.entries.iter();
        let untimed = untimed.filter(|(_, entry)| entry.is_first_untimed());
        let mut untimed: Vec<_> = untimed.map(|(offset, e)| (e.group, *offset)).collect();
        untimed.sort_unstable();
        untimed
    }

    /// Writes the groups; returns the number each got, by its id.
    fn encode_groups(&self, out: &mut Vec<u8>) -> Vec<u64> {
        let mut numbers = Vec::new();
        let untimed = self.first_untimed();
        put(out, self.groups.iter().count() as u64);
        for (number, (id, group)) in (0..).zip(self.groups.iter()) {
            numbers.resize(id as usize + 1, 0);
            numbers[id as usize] = number;
            put(out, u64::from(group.level));
            put(out, u64::from(group.ordered));
            put_bytes(out, group.key());
            put(out, group.untouched().runs().count() as u64);
            let mut end = 0;
            for (start, len) in group.untouched().runs() {
                put(out, start - end);
                put(out, len);
                end = start + len;
            }
            // What became ready after a delay has no entry, and is not among the untouched either.
            let plain = group
                .returned()
                .filter(|offset| !self.entries.contains_key(offset));
            // Nor has, after a restart, what is in flight for the first time and without a deadline.
            let leased = untimed.partition_point(|(group, _)| *group < id);
            let leased = untimed[leased..]
                .iter()
                .take_while(|(group, _)| *group == id);
            let mut plain: Vec<u64> = plain.chain(leased.map(|(_, offset)| *offset)).collect();
            plain.sort_unstable();
            put(out, plain.len() as u64);
            for offset in plain {
                put(out, offset);
            }
        }
        numbers
    }

    fn encode_entries(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        let entries = self.entries.iter();
        let entries = entries.filter(|(_, entry)| !entry.is_first_untimed());
        put(out, entries.clone().count() as u64);
        let mut last = 0;
        for (offset, entry) in entries {
            // A lease without a deadline does not survive a restart.
            let untimed = entry.due == UNTIMED && entry.state == State::Leased;
            let due = if untimed { 0 } else { entry.due };
            let state = match entry.state {
                State::Ready | State::Removing => 0,
                State::Leased if untimed => 0,
                State::Leased => 1,
                State::Waiting => 2,
                State::Delayed => 3,
            };
            for value in [
                offset - last,
                numbers[entry.group as usize],
                state,
                due,
                entry.lease,
                u64::from(entry.leased).saturating_sub(u64::from(untimed)),
                u64::from(entry.failed),
                u64::from(entry.open),
                entry.first_ms,
                entry.at_ms,
            ] {
                put(out, value);
            }
            let place = self.groups.get(entry.group).place(*offset);
            // 0: its own place, now and when its wait is over.
            let back = match (place, entry.back) {
                (Some(_), _) => 2,
                (None, Back::Behind) => 1,
                (None, Back::OldPlace) => 0,
            };
            put(out, back);
            if let Some(place) = place {
                put(out, place.at);
                put(out, place.turn);
            }
            last = *offset;
        }
    }

    fn encode_dedup(&self, out: &mut Vec<u8>) {
        let all = self
            .dedup
            .as_ref()
            .map_or_else(Vec::new, |dedup| dedup.all());
        put(out, all.len() as u64);
        for (id, offset, at) in all {
            out.extend_from_slice(&id.to_be_bytes());
            put(out, offset);
            put(out, at);
        }
    }

    fn encode_attempts(&self, out: &mut Vec<u8>) {
        put(out, self.attempts.len() as u64);
        for (name, attempt) in &self.attempts {
            put_text(out, Some(name));
            put(out, attempt.at);
            put(out, attempt.lease);
            put(out, attempt.offsets.len() as u64);
            for offset in &attempt.offsets {
                put(out, *offset);
            }
        }
    }

    fn encode_moves(&self, out: &mut Vec<u8>) {
        put(out, self.moves.len() as u64);
        for moving in &self.moves {
            put_id(out, Some(moving.task));
            for value in [moving.at, moving.upto, moving.to_move, moving.moved] {
                put(out, value);
            }
            put(out, u64::from(moving.rate_max));
            put_text(out, moving.destination.as_deref());
            let ended = moving.ended.as_ref();
            put(out, u64::from(ended.is_some()));
            put(out, u64::from(ended.is_some_and(|ended| ended.cancelled)));
            put_text(out, ended.and_then(|ended| ended.failure.as_deref()));
        }
    }

    /// Reads what the parts of a snapshot hold together. `dedup_window_ms` is the queue's.
    pub fn decode(bytes: &[u8], dedup_window_ms: u64) -> Result<Self, Unreadable> {
        let mut bytes = Reader(bytes);
        let version = bytes.number()?;
        if !(VERSION_WITHOUT_LIMITS..=VERSION).contains(&version) {
            return Err(Unreadable);
        }
        let mut queue_partition = Self::new(bytes.number()?);
        queue_partition.leases = bytes.number()?;
        if version > VERSION_WITHOUT_LIMITS {
            queue_partition.delivered_watermark = bytes.number()?;
            queue_partition.decode_limits(&mut bytes, version <= VERSION_OF_ONE_PART)?;
        }
        let ids = queue_partition.decode_groups(&mut bytes)?;
        let with_places = version > VERSION_WITHOUT_PLACES;
        queue_partition.decode_entries(&mut bytes, &ids, with_places)?;
        for _ in 0..bytes.count()? {
            let (id, rest) = bytes.0.split_first_chunk().ok_or(Unreadable)?;
            bytes.0 = rest;
            let (offset, at) = (bytes.number()?, bytes.number()?);
            let dedup = queue_partition.dedup.get_or_insert_default();
            dedup.note(u128::from_be_bytes(*id), offset, at, dedup_window_ms);
        }
        queue_partition.decode_attempts(&mut bytes)?;
        if version > VERSION_WITHOUT_PLACES {
            let kept = Kept::decode(&mut bytes)?;
            queue_partition.kept = (kept.count() > 0).then(|| Box::new(kept));
            queue_partition.revived = bytes.number()?;
        }
        queue_partition.decode_moves(&mut bytes)?;
        if version > VERSION_OF_ONE_PART {
            queue_partition.decode_arrivals(&mut bytes)?;
        }
        // A group was kept alive for its entries; without any it goes.
        for id in ids {
            queue_partition.groups.settle(id);
        }
        if bytes.0.is_empty() {
            Ok(queue_partition)
        } else {
            Err(Unreadable)
        }
    }

    fn decode_groups(&mut self, bytes: &mut Reader<'_>) -> Result<Vec<MessageGroupId>, Unreadable> {
        let mut ids = Vec::new();
        for _ in 0..bytes.count()? {
            let level = u8::try_from(bytes.number()?).map_err(|_| Unreadable)?;
            let ordered = bytes.number()? != 0;
            let key = bytes.bytes()?;
            let id = self.groups.group(level, key, ordered);
            // Kept until its entries are read.
            self.groups.pin(id);
            let mut end = 0u64;
            for _ in 0..bytes.count()? {
                let start = end.checked_add(bytes.number()?).ok_or(Unreadable)?;
                let len = bytes.number()?;
                end = start.checked_add(len).ok_or(Unreadable)?;
                self.groups.append(id, start, len);
            }
            for _ in 0..bytes.count()? {
                let offset = bytes.number()?;
                self.groups.put_back(id, offset, None);
            }
            ids.push(id);
        }
        Ok(ids)
    }

    fn decode_entries(
        &mut self,
        bytes: &mut Reader<'_>,
        ids: &[MessageGroupId],
        with_places: bool,
    ) -> Result<(), Unreadable> {
        let mut offset = 0u64;
        for _ in 0..bytes.count()? {
            offset = offset.checked_add(bytes.number()?).ok_or(Unreadable)?;
            let group = usize::try_from(bytes.number()?).map_err(|_| Unreadable)?;
            let group = *ids.get(group).ok_or(Unreadable)?;
            let state = match bytes.number()? {
                0 => State::Ready,
                1 => State::Leased,
                2 => State::Waiting,
                3 => State::Delayed,
                _ => return Err(Unreadable),
            };
            let mut entry = Entry {
                state,
                group,
                due: bytes.number()?,
                lease: bytes.number()?,
                leased: bytes.small()?,
                failed: bytes.small()?,
                open: bytes.number()? != 0,
                stay: false,
                back: Back::OldPlace,
                first_ms: bytes.number()?,
                at_ms: bytes.number()?,
            };
            let mut place = None;
            if with_places {
                let back = bytes.number()?;
                if back > 0 {
                    entry.back = Back::Behind;
                }
                if back > 1 {
                    let (at, turn) = (bytes.number()?, bytes.number()?);
                    self.turns = self.turns.max(turn);
                    place = Some(Place { at, turn });
                }
            }
            self.restore(offset, entry, place);
        }
        Ok(())
    }

    fn restore(&mut self, offset: u64, entry: Entry, place: Option<Place>) {
        match entry.state {
            State::Ready | State::Removing => self.groups.put_back(entry.group, offset, place),
            State::Leased => {
                self.groups.hold(entry.group, offset);
                self.count_leased(entry.group, true);
                self.size_leased(offset, true);
            }
            State::Waiting => {
                self.waiting += 1;
                self.groups.hold(entry.group, offset);
            }
            State::Delayed => {
                self.waiting += 1;
                self.groups
                    .note(entry.group, |group| group.touch().delayed += 1);
            }
        }
        if entry.due > 0 {
            self.due.insert((entry.due, offset));
        }
        self.entries.insert(offset, entry);
    }

    fn decode_attempts(&mut self, bytes: &mut Reader<'_>) -> Result<(), Unreadable> {
        for _ in 0..bytes.count()? {
            let name = bytes.text()?.ok_or(Unreadable)?;
            let (at, lease) = (bytes.number()?, bytes.number()?);
            let count = bytes.count()?;
            let offsets = (0..count)
                .map(|_| bytes.number())
                .collect::<Result<_, _>>()?;
            self.attempts.insert(name, Attempt { at, lease, offsets });
        }
        Ok(())
    }

    fn decode_arrivals(&mut self, bytes: &mut Reader<'_>) -> Result<(), Unreadable> {
        for _ in 0..bytes.count()? {
            let (from, upto) = (bytes.number()?, bytes.number()?);
            self.unreadable.add(from, upto);
        }
        let marks = (0..bytes.count()?).map(|_| {
            Ok(Mark {
                offset: bytes.number()?,
                first_ms: bytes.number()?,
                last_ms: bytes.number()?,
            })
        });
        let marks = marks.collect::<Result<Vec<_>, _>>()?;
        if !marks.is_empty() {
            self.arrivals = Some(Box::new(marks.into()));
        }
        Ok(())
    }

    fn decode_moves(&mut self, bytes: &mut Reader<'_>) -> Result<(), Unreadable> {
        for _ in 0..bytes.count()? {
            let task = bytes.id()?.ok_or(Unreadable)?;
            let (at, upto) = (bytes.number()?, bytes.number()?);
            let (to_move, moved) = (bytes.number()?, bytes.number()?);
            let rate_max = bytes.small()?;
            let destination = bytes.text()?;
            let (ended, cancelled) = (bytes.number()? != 0, bytes.number()? != 0);
            let failure = bytes.text()?;
            self.moves.push(MoveProgress {
                task,
                at,
                upto,
                to_move,
                moved,
                rate_max,
                destination,
                ended: ended.then_some(Ended { cancelled, failure }),
            });
        }
        Ok(())
    }
}
