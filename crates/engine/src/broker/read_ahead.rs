//! Records read for receivers, kept for a while: receivers take neighbouring messages one by one, and a batch must not
//! be read, checked and decoded again for each of them.
//!
//! What lies at an offset never changes, so nothing here is ever wrong; a record that is gone from its log is asked for
//! by nobody, because its queue partition knows that it is gone. A batch that opens to more than is kept at once is
//! opened as far as it is wanted, and where that ended it is gone on with: it is opened once, not once for each
//! message.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use delivery::reserved::strip_reserved;
use storage::Batch;
use storage::batch::{BatchError, Record, Records};
use uuid::Uuid;

use crate::queue::QueuePartitionId;

/// Bytes read at once for a receiver that does not continue where a stretch ended.
const STRETCH_BYTES: usize = 128 << 10;
/// Bytes read at once for a receiver that continues where a stretch ended, when few queue partitions share the room,
/// and when many do.
pub(super) const LONG_STRETCH_BYTES: usize = 1 << 20;
const SHORT_STRETCH_BYTES: usize = 32 << 10;
/// Stretches of a queue partition there should be room for: consumers of one queue partition are not all at the same
/// place.
const RANGES_OF_QUEUE_PARTITION: usize = 4;
/// Bytes of records that are made out of a batch at once; one record may exceed it.
const DECODED_BYTES: usize = 2 << 20;
/// What batches may take that are kept open, each somewhere in its middle, bytes.
const OPEN_BYTES_MAX: usize = 32 << 20;
/// Faults that are remembered, so that each is logged once.
const FAULTS_MAX: usize = 1024;
/// What a record takes beyond its bytes.
const RECORD_BYTES: usize = size_of::<Record>();
/// Readers of different queue partitions do not wait for one another, mostly.
const GATES: usize = 32;

/// Topic, partition, first offset.
type Key = (Uuid, u32, u64);

/// The records of neighbouring batches.
#[derive(Debug)]
struct Stretch {
    /// One past the last offset it covers.
    next: u64,
    bytes: usize,
    records: Vec<Record>,
}

#[derive(Debug, Default)]
struct Kept {
    stretches: BTreeMap<Key, Stretch>,
    /// Oldest first.
    order: VecDeque<Key>,
    /// Stretches of each queue partition.
    queue_partitions: HashMap<(Uuid, u32), usize>,
    bytes: usize,
    /// Batches that were not opened to their end, oldest first.
    open: VecDeque<((Uuid, u32), Open)>,
    /// Where it was said that something cannot be read.
    faults: VecDeque<Key>,
}

/// A batch that is open somewhere in its middle.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) records: Records,
    pub(super) end: u64,
    pub(super) made_here: bool,
}

impl Kept {
    /// The stretch that begins at or before an offset.
    fn before(&self, at: QueuePartitionId, offset: u64) -> Option<&Stretch> {
        let (first, last) = ((at.topic, at.index, 0), (at.topic, at.index, offset));
        let found = self.stretches.range(first..=last).next_back();
        found.map(|(_, stretch)| stretch)
    }

    fn insert(&mut self, key: Key, stretch: Stretch) {
        self.bytes += stretch.bytes;
        if let Some(replaced) = self.stretches.insert(key, stretch) {
            self.bytes -= replaced.bytes;
            return;
        }
        self.order.push_back(key);
        *self.queue_partitions.entry((key.0, key.1)).or_default() += 1;
    }

    /// Returns whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else {
            return false;
        };
        let queue_partition = (oldest.0, oldest.1);
        if let Some(count) = self.queue_partitions.get_mut(&queue_partition) {
            *count -= 1;
            if *count == 0 {
                self.queue_partitions.remove(&queue_partition);
            }
        }
        if let Some(gone) = self.stretches.remove(&oldest) {
            self.bytes -= gone.bytes;
        }
        true
    }
}

/// What was read last.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Bytes kept at most, over all queue partitions.
    room_bytes: usize,
    kept: Mutex<Kept>,
    gates: [tokio::sync::Mutex<()>; GATES],
}

/// What is known of an offset.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    Read(Seen),
    /// It was not read, or too long ago.
    Unread,
}

/// What there is at an offset.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    /// A record.
    Record(Record),
    /// Nothing any more: the log has given it up.
    Gone,
    /// Something that cannot be read, and the same up to an offset.
    Unreadable {
        /// The first offset behind it.
        upto: u64,
    },
}

impl Seen {
    /// The record, if there is one.
    pub(super) fn as_record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Gone | Self::Unreadable { .. } => None,
        }
    }

    /// The record, if there is one.
    pub(super) fn record(self) -> Option<Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Gone | Self::Unreadable { .. } => None,
        }
    }
}

/// What came of decoding.
#[derive(Default)]
pub(super) struct Decoded {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    /// One past the last offset that was looked at.
    pub(super) next: u64,
    pub(super) faults: Vec<(u64, u64, BatchError)>,
    pub(super) open: Option<Open>,
}

impl Decoded {
    /// Takes records out of a batch from an offset on, as many as are wanted at once.
    pub(super) fn take(&mut self, mut open: Open, offset: u64) {
        let skipped = open.records.skip_to(offset);
        let mut fault = skipped.err();
        while fault.is_none() && self.bytes < DECODED_BYTES {
            match open.records.next() {
                Some(Ok(record)) if record.offset < offset => {}
                Some(Ok(mut record)) => {
                    if !open.made_here {
                        strip_reserved(&mut record);
                    }
                    self.bytes += weight(&record);
                    self.records.push(record);
                }
                Some(Err(error)) => fault = Some(error),
                None => {
                    fault = (open.records.next_offset() < open.end).then_some(FEWER);
                    break;
                }
            }
        }
        let at = open
            .records
            .next_offset()
            .clamp(self.next.min(open.end), open.end);
        self.next = open.end;
        if let Some(error) = fault {
            self.faults.push((at.max(offset), open.end, error));
        } else if at < open.end {
            self.next = at;
            self.open = Some(open);
        }
    }

    /// The same for batches that follow each other.
    pub(super) fn take_all(&mut self, batches: Vec<Batch>, offset: u64) {
        for batch in batches {
            if self.open.is_some() || self.bytes >= DECODED_BYTES {
                return;
            }
            let header = &batch.header;
            let open = Open {
                records: batch.records(),
                end: header.next_offset(),
                made_here: header.is_made_here(),
            };
            if open.end <= offset {
                continue;
            }
            self.take(open, first_wanted(&batch, offset));
            let missed = |open: &mut Open| open.records.next_offset() <= offset;
            if let Some(open) = self.open.take_if(missed) {
                // What comes before took all the room.
                self.records.clear();
                self.bytes = 0;
                self.take(open, offset);
            }
        }
    }
}

impl ReadAhead {
    /// Nothing yet; so many bytes are kept at most.
    pub(super) fn new(room_bytes: usize) -> Self {
        Self {
            room_bytes,
            kept: Mutex::default(),
            gates: Default::default(),
        }
    }

    /// What is at an offset, if that is known.
    pub(super) fn find(&self, at: QueuePartitionId, offset: u64) -> Known {
        let kept = self.lock();
        let before = kept.before(at, offset);
        let Some(stretch) = before.filter(|stretch| offset < stretch.next) else {
            return Known::Unread;
        };
        Known::Read(seen(&stretch.records, stretch.next, offset))
    }

    /// How many bytes to read from an offset on: many where receivers continue, as far as there is room for all of
    /// them.
    pub(super) fn stretch_bytes(&self, at: QueuePartitionId, offset: u64) -> usize {
        let kept = self.lock();
        let goes_on = kept
            .before(at, offset)
            .is_some_and(|stretch| stretch.next == offset);
        if !goes_on {
            return STRETCH_BYTES;
        }
        let share =
            self.room_bytes / (RANGES_OF_QUEUE_PARTITION * kept.queue_partitions.len().max(1));
        share.clamp(SHORT_STRETCH_BYTES, LONG_STRETCH_BYTES)
    }

    /// Held while a queue partition's records are read from the disk: the tasks that waited for it find them here.
    pub(super) async fn gate(&self, at: QueuePartitionId) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = at.topic.as_u64_pair().1.wrapping_add(u64::from(at.index));
        let gate = usize::try_from(hash % GATES as u64).unwrap_or(0);
        self.gates[gate].lock().await
    }

    /// Keeps what was found from `from` on, up to and excluding `next`.
    pub(super) fn keep(&self, at: QueuePartitionId, from: u64, next: u64, records: Vec<Record>) {
        let bytes = RECORD_BYTES + records.iter().map(weight).sum::<usize>();
        if next <= from || bytes > self.room_bytes {
            return;
        }
        let mut kept = self.lock();
        let key = (at.topic, at.index, from);
        let stretch = Stretch {
            next,
            bytes,
            records,
        };
        kept.insert(key, stretch);
        while kept.bytes > self.room_bytes && kept.drop_oldest() {}
    }

    /// Keeps a batch open.
    pub(super) fn keep_open(&self, at: QueuePartitionId, open: Open) {
        let mut kept = self.lock();
        kept.open.push_back(((at.topic, at.index), open));
        let bytes = kept.open.iter().map(|(_, open)| open.records.held_bytes());
        let mut bytes: usize = bytes.sum();
        while bytes > OPEN_BYTES_MAX
            && let Some((_, oldest)) = kept.open.pop_front()
        {
            bytes -= oldest.records.held_bytes();
        }
    }

    /// A batch that is open at or before an offset it holds.
    pub(super) fn take_open(&self, at: QueuePartitionId, offset: u64) -> Option<Open> {
        let mut kept = self.lock();
        let place = kept.open.iter().position(|(queue_partition, open)| {
            let holds = (open.records.next_offset()..open.end).contains(&offset);
            *queue_partition == (at.topic, at.index) && holds
        })?;
        kept.open.remove(place).map(|(_, open)| open)
    }

    /// Whether it is the first time that this is said.
    pub(super) fn is_news(&self, key: Key) -> bool {
        let mut kept = self.lock();
        if kept.faults.contains(&key) {
            return false;
        }
        kept.faults.push_back(key);
        if kept.faults.len() > FAULTS_MAX {
            kept.faults.pop_front();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is at an offset among records that cover all up to `next`: what was looked at and is not there cannot be
/// read.
pub(super) fn seen(records: &[Record], next: u64, offset: u64) -> Seen {
    match records.binary_search_by_key(&offset, |record| record.offset) {
        Ok(place) => Seen::Record(records[place].clone()),
        Err(place) => Seen::Unreadable {
            upto: records.get(place).map_or(next, |record| record.offset),
        },
    }
}

/// The memory a record takes.
pub(super) fn weight(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| size_of_val(header) + header.0.len() + length(&header.1));
    RECORD_BYTES + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

const FEWER: BatchError = BatchError::Inconsistent("the batch holds fewer records than it says");
pub(super) const UNREADABLE: BatchError =
    BatchError::Inconsistent("the records cannot be decompressed");

pub(super) fn decode(batches: Vec<Batch>, offset: u64) -> Decoded {
    let mut decoded = Decoded {
        next: offset,
        ..Decoded::default()
    };
    decoded.take_all(batches, offset);
    decoded
}

/// Where to begin in a batch that is read for what is at an offset. At its first record if it is not large: receivers that
/// share its messages do not come in their order, and one that wants an earlier record must not read the batch again.
fn first_wanted(batch: &Batch, offset: u64) -> u64 {
    let header = &batch.header;
    let records = usize::try_from(header.record_count).unwrap_or(usize::MAX);
    let takes = records
        .saturating_mul(RECORD_BYTES)
        .saturating_add(batch.bytes());
    if takes <= DECODED_BYTES {
        header.base_offset
    } else {
        offset.max(header.base_offset)
    }
}

/// What a fuzzer asserts of any batch: all its records are found, wherever a reader begins, and a stretch holds no more
/// than it may.
pub(crate) fn fuzz_reading(batch: &Batch) {
    let (base, end) = (batch.header.base_offset, batch.header.next_offset());
    let all = batch.records().map_while(Result::ok);
    let all = all.map(|record| record.offset);
    // A batch may hold more records than it says that it has offsets: nobody asks for them.
    let all: Vec<u64> = all.filter(|offset| *offset < end).collect();
    let middle = all.get(all.len() / 2).map_or(base, |offset| *offset);
    let behind = all.last().map_or(base, |offset| offset + 1);
    for first in [base, middle, behind] {
        let (mut offset, mut found) = (first, Vec::new());
        let mut decoded = decode(vec![batch.clone()], first);
        while offset < end {
            assert!(decoded.next > offset, "a step is made");
            let largest = decoded.records.iter().map(weight).max().unwrap_or(0);
            assert!(decoded.bytes <= DECODED_BYTES + largest);
            let offsets = decoded.records.iter().map(|record| record.offset);
            found.extend(offsets.filter(|offset| (first..end).contains(offset)));
            offset = decoded.next;
            let Some(open) = decoded.open.take() else {
                break;
            };
            decoded = Decoded::default();
            decoded.take(open, offset);
        }
        let left = all.iter().filter(|offset| **offset >= first);
        assert!(left.eq(&found), "all were found, and nothing twice");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ROOM_BYTES: usize = 16 << 20;

    fn record(offset: u64, bytes: usize) -> Record {
        Record {
            offset,
            timestamp: 0,
            key: None,
            value: Some(Bytes::from(vec![0; bytes])),
            headers: Vec::new(),
        }
    }

    fn queue_partition(index: u32) -> QueuePartitionId {
        QueuePartitionId {
            index,
            ..QueuePartitionId::default()
        }
    }

    /// A batch at offset 100 of so many records with so many headers each.
    fn batch(records: usize, headers: usize) -> Batch {
        let mut builder = storage::batch::BatchBuilder::new(0);
        let headers = vec![("", &[][..]); headers];
        for _ in 0..records {
            builder.push(0, None, Some(b"value"), &headers);
        }
        builder.build().placed(100, 0, None)
    }

    #[test]
    fn a_batch_is_decoded_from_its_first_record_if_it_is_not_large() {
        let many = DECODED_BYTES / RECORD_BYTES;
        for (records, headers, offset, first) in [
            (10, 0, 100, 100),
            (10, 0, 107, 100),
            (many, 0, 150, 150),
            // What it says of itself is not large, what comes of it is.
            (1000, 200, 100, 100),
            (1000, 200, 150, 100),
            (1000, 200, 1050, 1050),
        ] {
            let decoded = decode(vec![batch(records, headers)], offset);
            let offsets: Vec<u64> = decoded.records.iter().map(|r| r.offset).collect();
            assert_eq!(offsets[0], first, "{records} {headers} {offset}");
            assert!(offsets.contains(&offset));
            assert_eq!(decoded.next, offsets.last().unwrap() + 1);
            assert_eq!(decoded.open.is_some(), decoded.next < 100 + records as u64);
            let largest = decoded.records.iter().map(weight).max().unwrap();
            assert!(decoded.bytes <= DECODED_BYTES + largest);
        }
    }

    #[test]
    fn batches_before_an_offset_are_passed_over() {
        let second = batch(10, 0).placed(110, 0, None);
        let decoded = decode(vec![batch(10, 0), second], 115);
        assert_eq!(decoded.records[0].offset, 110);
        assert_eq!((decoded.records.len(), decoded.next), (10, 120));
    }

    #[test]
    fn what_is_covered_is_known_even_where_nothing_can_be_read() {
        let known = ReadAhead::new(ROOM_BYTES);
        known.keep(
            queue_partition(0),
            10,
            14,
            vec![record(10, 1), record(12, 1)],
        );
        for (offset, expected) in [
            (9, Known::Unread),
            (10, Known::Read(Seen::Record(record(10, 1)))),
            (11, Known::Read(Seen::Unreadable { upto: 12 })),
            (12, Known::Read(Seen::Record(record(12, 1)))),
            (13, Known::Read(Seen::Unreadable { upto: 14 })),
            (14, Known::Unread),
        ] {
            assert_eq!(known.find(queue_partition(0), offset), expected, "{offset}");
        }
        assert_eq!(known.find(queue_partition(1), 10), Known::Unread);
    }

    #[test]
    fn the_oldest_make_room() {
        let known = ReadAhead::new(ROOM_BYTES);
        let each = 1 << 20;
        let count = (ROOM_BYTES / each) as u64 + 4;
        for offset in 0..count {
            known.keep(
                queue_partition(0),
                offset,
                offset + 1,
                vec![record(offset, each)],
            );
        }
        assert_eq!(known.find(queue_partition(0), 0), Known::Unread);
        assert_ne!(known.find(queue_partition(0), count - 1), Known::Unread);
        let inner = known.lock();
        assert!(inner.bytes <= ROOM_BYTES);
        assert_eq!(inner.order.len(), inner.stretches.len());
        let sum: usize = inner.stretches.values().map(|s| s.bytes).sum();
        assert_eq!(sum, inner.bytes);
    }

    #[test]
    fn who_reads_on_reads_more_as_far_as_there_is_room_for_all() {
        let known = ReadAhead::new(ROOM_BYTES);
        assert_eq!(known.stretch_bytes(queue_partition(0), 0), STRETCH_BYTES);
        known.keep(queue_partition(0), 0, 10, vec![record(0, 1)]);
        assert_eq!(
            known.stretch_bytes(queue_partition(0), 10),
            LONG_STRETCH_BYTES
        );
        assert_eq!(
            known.stretch_bytes(queue_partition(0), 12),
            STRETCH_BYTES,
            "elsewhere"
        );
        assert_eq!(known.stretch_bytes(queue_partition(1), 10), STRETCH_BYTES);
        for index in 1..16 {
            known.keep(queue_partition(index), 0, 10, vec![record(0, 1)]);
        }
        assert_eq!(known.stretch_bytes(queue_partition(0), 10), ROOM_BYTES / 64);
        for index in 16..1000 {
            known.keep(queue_partition(index), 0, 10, vec![record(0, 1)]);
        }
        assert_eq!(
            known.stretch_bytes(queue_partition(0), 10),
            SHORT_STRETCH_BYTES
        );
        // When others have gone there is room again.
        for offset in 0..20 {
            known.keep(
                queue_partition(0),
                offset,
                offset + 1,
                vec![record(offset, 1 << 20)],
            );
        }
        assert_eq!(known.lock().queue_partitions.len(), 1);
        assert_eq!(
            known.stretch_bytes(queue_partition(0), 20),
            LONG_STRETCH_BYTES
        );
    }

    #[test]
    fn what_is_read_twice_counts_once() {
        let known = ReadAhead::new(ROOM_BYTES);
        for _ in 0..3 {
            known.keep(queue_partition(0), 5, 6, vec![record(5, 100)]);
        }
        let inner = known.lock();
        assert_eq!((inner.order.len(), inner.stretches.len()), (1, 1));
        assert_eq!(inner.bytes, inner.stretches[&(Uuid::nil(), 0, 5)].bytes);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let known = ReadAhead::new(ROOM_BYTES);
        known.keep(queue_partition(0), 0, 1, vec![record(0, ROOM_BYTES)]);
        assert_eq!(known.find(queue_partition(0), 0), Known::Unread);
    }
}
