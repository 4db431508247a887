//! Single records of a topic through the door, for callers that bring and want records and not batches.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use security::Verb;
use storage::batch::{BatchBuilder, BatchError, Record, RecordHeader, Records};
use storage::{Batch, Chunk};

use super::read_ahead::weight;
use super::{Access, FetchPartition, FetchSpec, Publish, TopicKey};
use crate::topic::Topic;
use crate::{Error, Result, Room, room};

/// Bytes a record may take in a batch beside what it consists of.
const OVERHEAD_BYTES: usize = 128;
/// Bytes that are opened before there is room for them; one record may exceed it.
const STEP_BYTES: usize = 1 << 20;

/// A record to be appended.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    /// The partition; absent: that of the key, or one after the other.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; absent: marks a deletion of the key.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<RecordHeader>,
    /// Its timestamp, ms; absent: now.
    pub timestamp_ms: Option<u64>,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: u64,
}

/// Which records are read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRecords {
    /// The partition.
    pub partition: i32,
    /// First offset wanted.
    pub offset: u64,
    /// Records at most.
    pub records_max: usize,
    /// Bytes at most, of batches and of what they open to; the first one may exceed it.
    pub bytes_max: usize,
    /// Largest key, value or header that is opened.
    pub piece_bytes_max: usize,
    /// How long to wait for the first one.
    pub wait_max: Duration,
}

/// Records that were read.
#[derive(Debug, Clone)]
pub struct RecordsRead {
    /// In the order of their offsets.
    pub records: Vec<Record>,
    /// Where to go on.
    pub next: u64,
    /// First readable offset.
    pub start: u64,
    /// One past the last readable offset.
    pub high_watermark: u64,
}

/// A batch to be, and the places of its records in the request.
struct Draft {
    partition: i32,
    builder: BatchBuilder,
    places: Vec<usize>,
}

impl Access {
    /// Appends records, each by itself; one outcome each, in order, when they are as durable as the topic says. Errors:
    /// `Denied`, `UnknownTopic`; per record those of a publish.
    pub async fn append_records(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
    ) -> Result<Vec<Result<Appended>>> {
        let topic = self.find_topic(TopicKey::Name(topic), Verb::Publish)?;
        let mut outcomes: Vec<Result<Appended>> = Vec::with_capacity(records.len());
        let mut drafts: Vec<Draft> = Vec::new();
        for (place, record) in records.into_iter().enumerate() {
            outcomes.push(Err(Error::UnknownPartition));
            let turn = self
                .inner
                .turn
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if let Some(partition) = partition_of(&topic, &record, turn) {
                let now = self.wall_ms();
                draft(&mut drafts, &topic, partition, now).add(place, &record, now);
            }
        }
        let batches = drafts.iter_mut().map(|draft| {
            let empty = BatchBuilder::new(0);
            Publish {
                topic: TopicKey::Id(topic.id()),
                partition: draft.partition,
                batch: Ok(std::mem::replace(&mut draft.builder, empty).build()),
            }
        });
        let batches = batches.collect();
        let published = self.publish(batches).await.done().await;
        for (draft, published) in drafts.iter().zip(published) {
            for (offset, place) in (0..).zip(&draft.places) {
                outcomes[*place] = match &published {
                    Ok(published) => Ok(Appended {
                        partition: draft.partition,
                        offset: published.base_offset + offset,
                    }),
                    Err(error) => Err(error.clone()),
                };
            }
        }
        Ok(outcomes)
    }

    /// Reads records of a partition by offset, waiting for the first one if asked to; the answer takes its room from
    /// `room`. Errors: `Denied`,
    /// `UnknownTopic`, `UnknownPartition`, `OffsetOutOfRange`; `CorruptBatch` or `InvalidRecord` for what cannot be
    /// read, with the offset of the record.
    pub async fn read_records(
        &self,
        topic: &str,
        read: ReadRecords,
        room: &dyn Room,
    ) -> Result<RecordsRead> {
        let spec = FetchSpec {
            partitions: vec![FetchPartition {
                topic: TopicKey::Name(topic),
                partition: read.partition,
                offset: read.offset,
                bytes_max: read.bytes_max,
                epoch: None,
            }],
            bytes_max: read.bytes_max,
            bytes_min: 1,
            wait_max: read.wait_max,
            room,
        };
        let result = self.fetch(spec).await.into_iter().next();
        let fetched = result.ok_or(Error::UnknownTopic)?.outcome?;
        let (start, high_watermark) = (fetched.start, fetched.high_watermark);
        let (records, next) = self.open_records(&fetched.chunk, read, room).await?;
        Ok(RecordsRead {
            records,
            next,
            start,
            high_watermark,
        })
    }

    /// The wanted records of a chunk, and where to go on. They are opened by the workers, a little at a time, and no more
    /// of them than there is room for: a batch does not say what it opens to.
    async fn open_records(
        &self,
        chunk: &Chunk,
        read: ReadRecords,
        room: &dyn Room,
    ) -> Result<(Vec<Record>, u64)> {
        let mut opening = Opening {
            read,
            batches: chunk.batches()?.into(),
            open: None,
            next: read.offset,
        };
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            let before = opening.next;
            let wanted = read.records_max - records.len();
            let takes = opening.opening_bytes();
            let open = move || {
                let opened = opening.step(wanted);
                (opening, opened)
            };
            let done = self.inner.workers.run(takes, open).await;
            let (rest, step) = done.ok_or(Error::Unavailable)?;
            opening = rest;
            if let Some(error) = step.fault {
                // What comes before it is told first.
                if records.is_empty() && step.records.is_empty() {
                    return Err(error);
                }
                opening.batches.clear();
            }
            if step.bytes > 0 && !room.try_take(step.bytes) {
                if !records.is_empty() {
                    return Ok((records, before));
                }
                room::take(room, step.bytes).await;
            }
            bytes += step.bytes;
            records.extend(step.records);
            let is_done = opening.open.is_none() && opening.batches.is_empty();
            if is_done || records.len() >= read.records_max || bytes >= read.bytes_max {
                return Ok((records, opening.next));
            }
        }
    }
}

/// Batches that are being opened.
struct Opening {
    read: ReadRecords,
    batches: VecDeque<Batch>,
    /// The batch that was begun, and one past its last offset.
    open: Option<(Records, Batch)>,
    /// Everything before this offset was read.
    next: u64,
}

/// What was opened at once.
#[derive(Default)]
struct Step {
    records: Vec<Record>,
    /// What they take that the batches do not.
    bytes: usize,
    fault: Option<Error>,
}

impl Opening {
    /// Memory that is taken to go on.
    fn opening_bytes(&self) -> usize {
        let next = self.batches.iter().map(Batch::opening_bytes);
        let open = self.open.iter().map(|(records, _)| records.opening_bytes());
        STEP_BYTES + self.read.piece_bytes_max + next.chain(open).max().unwrap_or(0)
    }

    /// Opens some more.
    fn step(&mut self, wanted: usize) -> Step {
        let mut step = Step::default();
        while step.fault.is_none() && step.records.len() < wanted && step.bytes < STEP_BYTES {
            let Some((records, batch)) = self.begun() else {
                break;
            };
            let ended = self.take(records, &batch, wanted, &mut step);
            if let Some(records) = ended {
                self.open = Some((records, batch));
            }
        }
        step
    }

    /// The batch to go on with.
    fn begun(&mut self) -> Option<(Records, Batch)> {
        if let Some(open) = self.open.take() {
            return Some(open);
        }
        let batch = self.batches.pop_front()?;
        let records = batch.records().of_at_most(self.read.piece_bytes_max);
        Some((records, batch))
    }

    /// Takes records out of a batch; returns what is left of it, unless it was read to its end.
    fn take(
        &mut self,
        mut records: Records,
        batch: &Batch,
        wanted: usize,
        step: &mut Step,
    ) -> Option<Records> {
        let header = &batch.header;
        let is_compressed = header.codec() != 0;
        if !header.is_control() {
            let mut fault = records.skip_to(self.read.offset).err();
            while fault.is_none() && step.records.len() < wanted && step.bytes < STEP_BYTES {
                match records.next() {
                    Some(Ok(record)) if record.offset >= self.read.offset => {
                        step.bytes += own_bytes(&record, is_compressed);
                        self.next = record.offset + 1;
                        step.records.push(record);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => fault = Some(error),
                    None => {
                        // Offsets without records are skipped.
                        self.next = header.next_offset().max(self.next);
                        return None;
                    }
                }
            }
            step.fault = fault.map(|error| self.unreadable(records.next_offset(), error));
            return Some(records).filter(|_| step.fault.is_none());
        }
        self.next = header.next_offset().max(self.next);
        None
    }

    fn unreadable(&self, at: u64, error: BatchError) -> Error {
        let at = at.max(self.read.offset);
        Error::InvalidRecord(match error {
            BatchError::Opened => format!(
                "the record at offset {at} has more than {} bytes, the most that is shown of one",
                self.read.piece_bytes_max
            ),
            error => format!("the record at offset {at}: {error}"),
        })
    }
}

impl Draft {
    fn add(&mut self, place: usize, record: &NewRecord, now: u64) {
        let timestamp = record.timestamp_ms.unwrap_or(now);
        let headers = record.headers.iter();
        self.builder.push_record(
            i64::try_from(timestamp).unwrap_or(i64::MAX / 2),
            record.key.as_deref(),
            record.value.as_deref(),
            headers.map(|(name, value)| (&name[..], value.as_deref())),
        );
        self.places.push(place);
    }
}

/// The last batch of a partition, or a new one when there is none, or it is full.
fn draft<'d>(drafts: &'d mut Vec<Draft>, topic: &Topic, partition: i32, now: u64) -> &'d mut Draft {
    // Half of what is allowed leaves room for one more record of any usual size; a larger one stands alone.
    let most = (topic.config.batch_bytes_max / 2).max(OVERHEAD_BYTES);
    let fits = |draft: &Draft| draft.partition == partition && draft.builder.bytes() < most;
    let place = drafts.iter().rposition(fits).unwrap_or_else(|| {
        drafts.push(Draft {
            partition,
            builder: BatchBuilder::new(i64::try_from(now).unwrap_or(0)),
            places: Vec::new(),
        });
        drafts.len() - 1
    });
    &mut drafts[place]
}

/// The partition a record goes to, if the topic has it.
fn partition_of(topic: &Topic, record: &NewRecord, turn: usize) -> Option<i32> {
    let count = i32::try_from(topic.partitions.len()).ok()?.max(1);
    match (record.partition, &record.key) {
        (Some(partition), _) => topic.partition(partition).map(|_| partition),
        (None, Some(key)) => Some((murmur2(key) & i32::MAX) % count),
        (None, None) => i32::try_from(turn % count.unsigned_abs() as usize).ok(),
    }
}

/// The hash most producers choose a partition with: records of one key meet, whichever client sent them.
fn murmur2(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, tail) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word))
    });
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

/// What a record takes besides its batch: of a plain one, its bytes lie there.
fn own_bytes(record: &Record, is_compressed: bool) -> usize {
    if is_compressed {
        weight(record)
    } else {
        size_of::<Record>()
    }
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_are_hashed_as_other_producers_do() {
        // As the reference implementation's own test has them.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }
}
