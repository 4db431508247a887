//! Fetching: reading partitions by offset, straight from the log, without troubling their owners.

use std::sync::Arc;
use std::time::Duration;

use security::Verb;
use storage::{Batch, Chunk, Read};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Access, Inner, TopicKey};
use crate::owner::Readable;
use crate::partition::{LEADER_EPOCH, Partition};
use crate::room::{self, Room};
use crate::{Error, Result};

/// Offsets looked at for one reader of a partition with gaps at once.
const LOOK_SPAN: u64 = 1 << 16;

/// One partition to read.
#[derive(Debug, Clone, Copy)]
pub struct FetchPartition<'a> {
    /// The topic.
    pub topic: TopicKey<'a>,
    /// The partition's number.
    pub partition: i32,
    /// First offset wanted.
    pub offset: u64,
    /// Bytes wanted of this partition at most; one batch may exceed it.
    pub bytes_max: usize,
    /// The ownership epoch the reader believes in, if it names one.
    pub epoch: Option<i32>,
}

/// A whole fetch.
#[derive(Debug)]
pub struct FetchSpec<'a> {
    /// What to read, in order of preference.
    pub partitions: Vec<FetchPartition<'a>>,
    /// Bytes wanted altogether at most; the first batch may exceed it.
    pub bytes_max: usize,
    /// Answer as soon as there are this many bytes.
    pub bytes_min: usize,
    /// Answer after this time whatever there is.
    pub wait_max: Duration,
    /// Where room in memory for the answer comes from.
    pub room: &'a dyn Room,
}

/// What is read where there is no room for all that is wanted, where there is not even room for this, and where memory
/// is so scarce that only the least is to be had; a larger batch is waited for.
const MODEST_BYTES: usize = 1 << 20;
const LITTLE_BYTES: usize = 64 << 10;
const LEAST_BYTES: usize = 16 << 10;

/// What a partition had.
#[derive(Debug)]
pub struct Fetched {
    /// Whole batches.
    pub chunk: Chunk,
    /// One past the last readable offset.
    pub high_watermark: u64,
    /// First readable offset.
    pub start: u64,
}

/// One partition's outcome.
#[derive(Debug)]
pub struct FetchResult {
    /// Identity of the topic, where it was found.
    pub topic_id: Option<Uuid>,
    /// The records, or why not.
    pub outcome: Result<Fetched>,
    /// Bounds to report with an error, where the partition was found: high watermark and start.
    pub bounds: Option<(u64, u64)>,
}

/// A partition that was found, with what is wanted of it.
struct Wanted {
    partition: Arc<Partition>,
    offset: u64,
    bytes_max: usize,
}

impl Access {
    /// Reads partitions; waits until enough can be read or the time is up. One result per partition, in order.
    pub async fn fetch(&self, spec: FetchSpec<'_>) -> Vec<FetchResult> {
        let deadline = tokio::time::sleep(spec.wait_max);
        tokio::pin!(deadline);
        let reader = Arc::new(Notify::new());
        let mut draining = self.inner.draining.subscribe();
        let mut registered = false;
        loop {
            // Looked up again each time: a topic may be deleted while a fetch waits for its records.
            let wanted: Vec<Result<Wanted>> =
                spec.partitions.iter().map(|p| self.wanted(p)).collect();
            let (results, bytes, failed) = self.read_all(&wanted, spec.bytes_max, spec.room).await;
            let over = spec.wait_max.is_zero() || deadline.is_elapsed() || *draining.borrow();
            if failed || over || bytes >= spec.bytes_min {
                self.inner.metrics.fetched(bytes as u64);
                return results;
            }
            drop(results);
            spec.room.give_back(bytes);
            // Who has to wait registers and reads once more: what became readable in between would wake nobody.
            registered = !registered;
            if registered {
                for wanted in wanted.iter().flatten() {
                    wanted.partition.waiters.register(&reader);
                }
                continue;
            }
            tokio::select! {
                () = reader.notified() => {}
                () = &mut deadline => {}
                _ = draining.changed() => {}
            }
        }
    }

    fn wanted(&self, spec: &FetchPartition<'_>) -> Result<Wanted> {
        let topic = self.find_topic(spec.topic, Verb::Consume)?;
        let partition = Arc::clone(
            topic
                .partition(spec.partition)
                .ok_or(Error::UnknownPartition)?,
        );
        if spec.epoch.is_some_and(|epoch| epoch != LEADER_EPOCH) {
            return Err(Error::UnknownEpoch);
        }
        Ok(Wanted {
            partition,
            offset: spec.offset,
            bytes_max: spec.bytes_max,
        })
    }

    async fn read_all(
        &self,
        wanted: &[Result<Wanted>],
        bytes_max: usize,
        room: &dyn Room,
    ) -> (Vec<FetchResult>, usize, bool) {
        let mut results = Vec::with_capacity(wanted.len());
        let (mut bytes, mut failed) = (0, false);
        for wanted in wanted {
            let result = match wanted {
                Ok(wanted) => {
                    let outcome = self
                        .read_within(wanted, (bytes_max.saturating_sub(bytes), bytes == 0), room)
                        .await;
                    let bounds =
                        Some((wanted.partition.high_watermark(), wanted.partition.start()));
                    FetchResult {
                        topic_id: Some(wanted.partition.topic_id),
                        outcome,
                        bounds,
                    }
                }
                Err(error) => FetchResult {
                    topic_id: None,
                    outcome: Err(error.clone()),
                    bounds: None,
                },
            };
            match &result.outcome {
                Ok(fetched) => bytes += fetched.chunk.bytes,
                Err(_) => failed = true,
            }
            results.push(result);
        }
        (results, bytes, failed)
    }

    /// Reads one partition, with room taken for what is returned: taken before, because what is read from the disk
    /// takes it at once. Later partitions are left to the next fetch where there is none.
    async fn read_within(
        &self,
        wanted: &Wanted,
        (bytes_max, first): (usize, bool),
        room: &dyn Room,
    ) -> Result<Fetched> {
        if wanted.offset >= wanted.partition.high_watermark() {
            return self.read(wanted, bytes_max, first).await;
        }
        let most = wanted.bytes_max.min(bytes_max).max(LITTLE_BYTES);
        let sizes = [most, most.min(MODEST_BYTES), LITTLE_BYTES, LEAST_BYTES];
        let mut taken = match sizes.into_iter().find(|size| room.try_take(*size)) {
            Some(taken) => taken,
            None if first => {
                room::take(room, LEAST_BYTES).await;
                LEAST_BYTES
            }
            None => 0,
        };
        loop {
            let fetched = self.read(wanted, bytes_max.min(taken), first).await;
            let bytes = fetched.as_ref().map_or(0, |fetched| fetched.chunk.bytes);
            if bytes <= taken {
                room.give_back(taken - bytes);
                return fetched;
            }
            // One batch that is larger; nothing of it is held while room for it is waited for.
            drop(fetched);
            room::take(room, bytes - taken).await;
            taken = bytes;
        }
    }

    /// Reads one partition within `room` bytes. The first batch of an answer is returned whatever its size,
    /// so that a reader with small limits gets on; later partitions wait for the next fetch instead.
    async fn read(&self, wanted: &Wanted, room: usize, first: bool) -> Result<Fetched> {
        let partition = &wanted.partition;
        let (high_watermark, start) = (partition.high_watermark(), partition.start());
        let is_gone = wanted.offset < start && !partition.is_of_queue();
        if is_gone || wanted.offset > high_watermark {
            return Err(Error::OffsetOutOfRange);
        }
        let mut chunk = Chunk {
            next_offset: wanted.offset,
            ..Chunk::default()
        };
        let bytes_max = wanted.bytes_max.min(room);
        if first || bytes_max > 0 {
            // What was acknowledged in a queue is like what a compacted log has lost: its readers go on behind it.
            let range = (wanted.offset.max(start), high_watermark);
            let read = self.read_on(partition, range, bytes_max).await?;
            if first || read.bytes <= bytes_max {
                chunk = Chunk {
                    next_offset: read.next_offset.max(wanted.offset),
                    ..read
                };
            }
        }
        Ok(Fetched {
            chunk,
            high_watermark,
            start,
        })
    }

    /// Reads from an offset on, or from behind what has gone while this was being read, where readers go on behind it.
    async fn read_on(
        &self,
        partition: &Partition,
        (mut from, until): (u64, u64),
        bytes_max: usize,
    ) -> Result<Chunk> {
        while from < until {
            let range = (from, until);
            let read = if partition.is_sparse() {
                self.read_sparse(partition, range, bytes_max).await
            } else {
                self.read_log(partition, range, bytes_max).await
            };
            let has_gone = matches!(read, Err(Error::OffsetOutOfRange));
            if !has_gone || !partition.is_of_queue() {
                return read;
            }
            let bounds = self.inner.log.bounds(partition.records());
            let start = bounds.map_or(from, |bounds| bounds.start);
            if start <= from {
                return read;
            }
            from = start;
        }
        Ok(Chunk::default())
    }

    async fn read_log(
        &self,
        partition: &Partition,
        (from, until): (u64, u64),
        bytes_max: usize,
    ) -> Result<Chunk> {
        let records = partition.records();
        match self.inner.log.read(records, from, until, bytes_max) {
            Read::Ready(read) => Ok(read?),
            Read::Disk(read) => {
                let reads = &self.inner.metrics.disk_reads;
                reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(read.await?)
            }
        }
    }

    /// Reads a partition some of whose records were acknowledged in its queue, and are gone: batches without them, as
    /// of a log that was compacted. What was acknowledged before this was asked for is not in it.
    async fn read_sparse(
        &self,
        partition: &Partition,
        (from, until): (u64, u64),
        bytes_max: usize,
    ) -> Result<Chunk> {
        let look = (from, from);
        let (mut runs, mut upto) = self.inner.readable(partition, look, LOOK_SPAN)?;
        let first = runs.first().map(|(first, _)| *first);
        let Some(first) = first.filter(|first| *first < until) else {
            return Ok(Chunk {
                next_offset: from,
                ..Chunk::default()
            });
        };
        let range = (first, until.min(upto));
        let chunk = self.read_log(partition, range, bytes_max).await?;
        let mut batches = chunk.batches()?;
        // All of a batch is looked at, or nothing of it: its readers go on behind it.
        let end = batches
            .first()
            .map_or(upto, |batch| batch.header.next_offset());
        if end > upto {
            let look = (first, end);
            (runs, upto) = self.inner.readable(partition, look, LOOK_SPAN)?;
        }
        batches.retain(|batch| batch.header.next_offset() <= upto);
        let opening = batches.iter().filter(|batch| batch.header.codec() != 0);
        let opening = opening.map(Batch::opening_bytes).max();
        let Some(opening) = opening else {
            return Ok(only_readable(batches, &runs, first, bytes_max));
        };
        // What is opened takes its time: nobody else is to wait for it.
        let open = move || only_readable(batches, &runs, first, bytes_max);
        let opened = self.inner.workers.run(opening, open).await;
        opened.ok_or(Error::Unavailable)
    }
}

impl Inner {
    /// What can be read of a partition from an offset on, looked at as far as `upto` at least.
    fn readable(
        &self,
        partition: &Partition,
        range: (u64, u64),
        span: u64,
    ) -> Result<(Readable, u64)> {
        let owner = self
            .owners
            .partition((partition.topic_id, partition.index))?;
        owner.run(|round| round.readable(range, span))
    }

    /// The first offset from `from` on that can be read.
    pub(super) fn first_readable(&self, partition: &Partition, from: u64) -> Result<Option<u64>> {
        let (runs, _) = self.readable(partition, (from, from), 1)?;
        Ok(runs.first().map(|(first, _)| *first))
    }
}

/// Batches without the records that are not in `runs`, from `from` on, as far as `bytes_max` goes but one record at least:
/// what is opened may be many times as large as what was read. One whose records cannot be told apart stays as it is:
/// nobody could receive any of them either.
fn only_readable(batches: Vec<Batch>, runs: &Readable, from: u64, bytes_max: usize) -> Chunk {
    let run_of = |offset: u64| {
        let after = runs.partition_point(|(start, _)| *start <= offset);
        after.checked_sub(1).and_then(|before| runs.get(before))
    };
    // What is in front of it was read before, by this reader or another: a part of it would not lead further.
    let is_readable =
        |offset: u64| offset >= from && run_of(offset).is_some_and(|(_, end)| offset < *end);
    let mut readable = Chunk {
        next_offset: from,
        ..Chunk::default()
    };
    for batch in batches {
        let (first, end) = (batch.header.base_offset, batch.header.next_offset());
        let left = bytes_max.saturating_sub(readable.bytes);
        let batch = if run_of(first).is_some_and(|(_, last)| end <= *last) {
            Some(batch)
        } else {
            batch.only_within(is_readable, left).unwrap_or(Some(batch))
        };
        let Some(batch) = batch else {
            readable.next_offset = end;
            continue;
        };
        if readable.bytes > 0 && batch.bytes() > left {
            break;
        }
        readable.next_offset = batch.header.next_offset();
        readable.bytes += batch.bytes();
        let pieces = batch.pieces();
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        readable.pieces.extend(pieces.cloned());
        if readable.next_offset < end {
            break;
        }
    }
    readable
}
