//! Records read for receivers, kept for a while: receivers take neighbouring messages one by one, and a batch must not
//! be read, checked and decoded again for each of them.
//!
//! What lies at an offset never changes, so nothing here is ever wrong; a record that is gone from its log is asked for
//! by nobody, because its lane knows that it is gone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use storage::batch::Record;
use storage::{Chunk, Read};
use uuid::Uuid;

use super::{Inner, lanes};
use crate::queue::LaneAt;
use crate::queue::lane::plain_records;
use crate::{Error, Result};

/// Bytes read at once by whoever comes from elsewhere.
const STRETCH_BYTES: usize = 128 << 10;
/// Bytes read at once by whoever goes on where a stretch ended, when few lanes share the room, and when many do.
const LONG_STRETCH_BYTES: usize = 1 << 20;
const SHORT_STRETCH_BYTES: usize = 32 << 10;
/// Stretches of a lane there should be room for: consumers of one lane are not all at the same place.
const STRETCHES_OF_LANE: usize = 4;
/// What a record takes beyond its bytes.
const RECORD_BYTES: usize = size_of::<Record>();
/// Readers of different lanes do not wait for one another, mostly.
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
    /// Stretches of each lane.
    lanes: HashMap<(Uuid, u32), usize>,
    bytes: usize,
}

impl Kept {
    /// The stretch that begins at or before an offset.
    fn before(&self, at: LaneAt, offset: u64) -> Option<&Stretch> {
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
        *self.lanes.entry((key.0, key.1)).or_default() += 1;
    }

    /// Returns whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else {
            return false;
        };
        let lane = (oldest.0, oldest.1);
        if let Some(count) = self.lanes.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                self.lanes.remove(&lane);
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
    /// Bytes kept at most, over all lanes.
    room_bytes: usize,
    kept: Mutex<Kept>,
    gates: [tokio::sync::Mutex<()>; GATES],
}

/// What is known of an offset.
#[derive(Debug, PartialEq)]
enum Known {
    /// A record is there, or none.
    Read(Option<Record>),
    /// It was not read, or too long ago.
    Unread,
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
    fn find(&self, at: LaneAt, offset: u64) -> Known {
        let kept = self.lock();
        let before = kept.before(at, offset);
        let Some(stretch) = before.filter(|stretch| offset < stretch.next) else {
            return Known::Unread;
        };
        let place = stretch.records.binary_search_by_key(&offset, |r| r.offset);
        Known::Read(place.ok().map(|place| stretch.records[place].clone()))
    }

    /// How many bytes to read from an offset on: many where somebody reads on, as far as there is room for all who do.
    fn stretch_bytes(&self, at: LaneAt, offset: u64) -> usize {
        let kept = self.lock();
        let goes_on = kept
            .before(at, offset)
            .is_some_and(|stretch| stretch.next == offset);
        if !goes_on {
            return STRETCH_BYTES;
        }
        let share = self.room_bytes / (STRETCHES_OF_LANE * kept.lanes.len().max(1));
        share.clamp(SHORT_STRETCH_BYTES, LONG_STRETCH_BYTES)
    }

    /// Held while a lane's records are read from the disk: whoever waited for it finds them here.
    async fn gate(&self, at: LaneAt) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = at.topic.as_u64_pair().1.wrapping_add(u64::from(at.index));
        let gate = usize::try_from(hash % GATES as u64).unwrap_or(0);
        self.gates[gate].lock().await
    }

    /// Keeps what was found from `from` on, up to and excluding `next`.
    fn keep(&self, at: LaneAt, from: u64, next: u64, records: Vec<Record>) {
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

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory a record takes.
pub(super) fn weight(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| size_of_val(header) + header.0.len() + length(&header.1));
    RECORD_BYTES + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

impl Inner {
    /// The record at an offset; none when it is gone or damaged. Errors: `Storage` when it is there and cannot be read
    /// yet: it must not be taken for gone.
    pub(super) async fn record_at(&self, at: LaneAt, offset: u64) -> Result<Option<Record>> {
        let known = &self.read_ahead;
        if let Known::Read(found) = known.find(at, offset) {
            return Ok(found);
        }
        let log = &self.log;
        let bytes = known.stretch_bytes(at, offset);
        let read = log.read(lanes::records(at), offset, u64::MAX, bytes);
        let read = match read {
            Read::Ready(read) => read,
            Read::Disk(read) => {
                let _gate = known.gate(at).await;
                if let Known::Read(found) = known.find(at, offset) {
                    return Ok(found);
                }
                self.metrics.disk_reads.fetch_add(1, Relaxed);
                let read = read.await;
                // Before the gate opens.
                return self.found(at, offset, read);
            }
        };
        self.found(at, offset, read)
    }

    /// Keeps what was read from an offset on, and answers with the record there.
    fn found(
        &self,
        at: LaneAt,
        offset: u64,
        read: storage::Result<Chunk>,
    ) -> Result<Option<Record>> {
        let chunk = match read {
            Err(storage::Error::OutOfRange { .. } | storage::Error::Missing) => return Ok(None),
            other => other?,
        };
        let batches = chunk.batches()?;
        if batches.is_empty() {
            return Err(Error::Storage(format!(
                "message {offset} cannot be read yet"
            )));
        }
        let mut records = Vec::new();
        for batch in batches {
            match plain_records(&batch) {
                Ok(more) => records.extend(more),
                Err(error) => {
                    let offset = batch.header.base_offset;
                    tracing::warn!(topic = %at.topic, offset, %error, "messages cannot be read");
                }
            }
        }
        let place = records.binary_search_by_key(&offset, |record| record.offset);
        let record = place.ok().map(|place| records[place].clone());
        let from = records
            .first()
            .map_or(offset, |first| first.offset.min(offset));
        let known = &self.read_ahead;
        known.keep(at, from, chunk.next_offset, records);
        Ok(record)
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

    fn lane(index: u32) -> LaneAt {
        LaneAt {
            index,
            ..LaneAt::default()
        }
    }

    #[test]
    fn what_is_covered_is_known_even_where_nothing_is() {
        let known = ReadAhead::new(ROOM_BYTES);
        known.keep(lane(0), 10, 14, vec![record(10, 1), record(12, 1)]);
        for (offset, expected) in [
            (9, Known::Unread),
            (10, Known::Read(Some(record(10, 1)))),
            (11, Known::Read(None)),
            (12, Known::Read(Some(record(12, 1)))),
            (13, Known::Read(None)),
            (14, Known::Unread),
        ] {
            assert_eq!(known.find(lane(0), offset), expected, "{offset}");
        }
        assert_eq!(known.find(lane(1), 10), Known::Unread);
    }

    #[test]
    fn the_oldest_make_room() {
        let known = ReadAhead::new(ROOM_BYTES);
        let each = 1 << 20;
        let count = (ROOM_BYTES / each) as u64 + 4;
        for offset in 0..count {
            known.keep(lane(0), offset, offset + 1, vec![record(offset, each)]);
        }
        assert_eq!(known.find(lane(0), 0), Known::Unread);
        assert_ne!(known.find(lane(0), count - 1), Known::Unread);
        let inner = known.lock();
        assert!(inner.bytes <= ROOM_BYTES);
        assert_eq!(inner.order.len(), inner.stretches.len());
        let sum: usize = inner.stretches.values().map(|s| s.bytes).sum();
        assert_eq!(sum, inner.bytes);
    }

    #[test]
    fn who_reads_on_reads_more_as_far_as_there_is_room_for_all() {
        let known = ReadAhead::new(ROOM_BYTES);
        assert_eq!(known.stretch_bytes(lane(0), 0), STRETCH_BYTES);
        known.keep(lane(0), 0, 10, vec![record(0, 1)]);
        assert_eq!(known.stretch_bytes(lane(0), 10), LONG_STRETCH_BYTES);
        assert_eq!(known.stretch_bytes(lane(0), 12), STRETCH_BYTES, "elsewhere");
        assert_eq!(known.stretch_bytes(lane(1), 10), STRETCH_BYTES);
        for index in 1..16 {
            known.keep(lane(index), 0, 10, vec![record(0, 1)]);
        }
        assert_eq!(known.stretch_bytes(lane(0), 10), ROOM_BYTES / 64);
        for index in 16..1000 {
            known.keep(lane(index), 0, 10, vec![record(0, 1)]);
        }
        assert_eq!(known.stretch_bytes(lane(0), 10), SHORT_STRETCH_BYTES);
        // When others have gone there is room again.
        for offset in 0..20 {
            known.keep(lane(0), offset, offset + 1, vec![record(offset, 1 << 20)]);
        }
        assert_eq!(known.lock().lanes.len(), 1);
        assert_eq!(known.stretch_bytes(lane(0), 20), LONG_STRETCH_BYTES);
    }

    #[test]
    fn what_is_read_twice_counts_once() {
        let known = ReadAhead::new(ROOM_BYTES);
        for _ in 0..3 {
            known.keep(lane(0), 5, 6, vec![record(5, 100)]);
        }
        let inner = known.lock();
        assert_eq!((inner.order.len(), inner.stretches.len()), (1, 1));
        assert_eq!(inner.bytes, inner.stretches[&(Uuid::nil(), 0, 5)].bytes);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let known = ReadAhead::new(ROOM_BYTES);
        known.keep(lane(0), 0, 1, vec![record(0, ROOM_BYTES)]);
        assert_eq!(known.find(lane(0), 0), Known::Unread);
    }
}
