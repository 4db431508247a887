//! Fetching: reading partitions by offset, straight from the log, without troubling their owners.

use std::sync::Arc;
use std::time::Duration;

use security::{Principal, Verb};
use storage::{Chunk, Read};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Broker, TopicKey};
use crate::partition::{LEADER_EPOCH, Partition};
use crate::room::{self, Room};
use crate::{Error, Result};

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

/// What is read first where there is no room for all that is wanted; a larger batch is waited for.
const LITTLE_BYTES: usize = 64 << 10;

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

impl Broker {
    /// Reads partitions; waits until enough can be read or the time is up. One result per partition, in order.
    pub async fn fetch(&self, principal: &Principal, spec: FetchSpec<'_>) -> Vec<FetchResult> {
        let deadline = tokio::time::sleep(spec.wait_max);
        tokio::pin!(deadline);
        let reader = Arc::new(Notify::new());
        let mut draining = self.inner.draining.subscribe();
        let mut registered = false;
        loop {
            // Looked up again each time: a topic may be deleted while somebody waits for its records.
            let wanted: Vec<Result<Wanted>> = spec
                .partitions
                .iter()
                .map(|p| self.wanted(principal, p))
                .collect();
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

    fn wanted(&self, principal: &Principal, spec: &FetchPartition<'_>) -> Result<Wanted> {
        let topic = self.find_topic(principal, spec.topic, Verb::Consume)?;
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

    /// Reads one partition, with room taken for what is returned. Whoever waits for room holds nothing meanwhile; later
    /// partitions are left to the next fetch instead.
    async fn read_within(
        &self,
        wanted: &Wanted,
        (bytes_max, first): (usize, bool),
        room: &dyn Room,
    ) -> Result<Fetched> {
        let mut bytes_max = bytes_max;
        loop {
            let fetched = self.read(wanted, bytes_max, first).await?;
            let bytes = fetched.chunk.bytes;
            if room.try_take(bytes) {
                return Ok(fetched);
            }
            drop(fetched);
            if !first {
                bytes_max = 0;
            } else if bytes_max > LITTLE_BYTES && bytes > LITTLE_BYTES {
                bytes_max = LITTLE_BYTES;
            } else {
                room::take(room, bytes).await;
                let fetched = self.read(wanted, bytes_max, first).await;
                let taken = fetched.as_ref().map_or(0, |fetched| fetched.chunk.bytes);
                if taken <= bytes {
                    room.give_back(bytes - taken);
                    return fetched;
                }
                // More of it can be read by now.
                room.give_back(bytes);
            }
        }
    }

    /// Reads one partition within `room` bytes. The first batch of an answer is returned whatever its size,
    /// so that a reader with small limits gets on; later partitions wait for the next fetch instead.
    async fn read(&self, wanted: &Wanted, room: usize, first: bool) -> Result<Fetched> {
        let partition = &wanted.partition;
        let (high_watermark, start) = (partition.high_watermark(), partition.start());
        if wanted.offset < start || wanted.offset > high_watermark {
            return Err(Error::OffsetOutOfRange);
        }
        let mut chunk = Chunk {
            next_offset: wanted.offset,
            ..Chunk::default()
        };
        let bytes_max = wanted.bytes_max.min(room);
        if wanted.offset < high_watermark && (first || bytes_max > 0) {
            chunk = match self.inner.log.read(
                partition.records(),
                wanted.offset,
                high_watermark,
                bytes_max,
            ) {
                Read::Ready(read) => read?,
                Read::Disk(read) => {
                    self.inner
                        .metrics
                        .disk_reads
                        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    read.await?
                }
            };
            if !first && chunk.bytes > bytes_max {
                chunk = Chunk {
                    next_offset: wanted.offset,
                    ..Chunk::default()
                };
            }
        }
        Ok(Fetched {
            chunk,
            high_watermark,
            start,
        })
    }
}
