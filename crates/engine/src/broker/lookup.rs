//! Records by time: which record is the first at or after a time, and which one is the newest.
//!
//! The log knows the greatest timestamp of each batch; the record itself is found inside. Of a batch whose beginning
//! was deleted only what is left counts.

use storage::{Batch, BatchHeader, Read, Seek};

use super::Broker;
use crate::partition::Partition;
use crate::{Error, Result};

/// Batches one lookup opens at most. What is in a batch is checked when it comes, so only one whose beginning was
/// deleted may lead to another.
const OPENED_MAX: usize = 16;

/// An offset and its timestamp, ms.
type Place = (u64, i64);

/// What is looked for among the records of a batch.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// The first at or after this time.
    At(i64),
    /// The first of those with the greatest timestamp.
    Newest,
}

impl Broker {
    /// The first record at or after `time`.
    pub(super) async fn first_at(&self, partition: &Partition, time: i64) -> Result<Option<Place>> {
        let mut from = partition.start();
        for _ in 0..OPENED_MAX {
            let seek = Seek::TimeFrom { time, from };
            let Some(batch) = self.batch(partition, seek).await? else {
                return Ok(None);
            };
            let next = batch.header.next_offset();
            let found = self.in_batch(partition, batch, Wanted::At(time)).await;
            if found.is_some() {
                return Ok(found);
            }
            from = next;
        }
        Ok(None)
    }

    /// The record with the greatest timestamp; the first, if there are several.
    pub(super) async fn newest(&self, partition: &Partition) -> Result<Option<Place>> {
        let seek = Seek::MaxTimeFrom(partition.start());
        let Some(batch) = self.batch(partition, seek).await? else {
            return Ok(None);
        };
        let (header, start) = (batch.header, partition.start());
        let found = self.in_batch(partition, batch, Wanted::Newest).await;
        if header.base_offset >= start {
            return Ok(found);
        }
        // What made this batch the newest may have been deleted: others may be newer than its rest.
        let others = Seek::MaxTimeFrom(header.next_offset());
        let Some(batch) = self.batch(partition, others).await? else {
            return Ok(found);
        };
        let other = self.in_batch(partition, batch, Wanted::Newest).await;
        Ok(match (found, other) {
            (Some(found), Some(other)) if other.1 > found.1 => Some(other),
            (found, other) => found.or(other),
        })
    }

    /// The batch that is sought, if it is readable.
    async fn batch(&self, partition: &Partition, seek: Seek) -> Result<Option<Batch>> {
        let found = match self.inner.log.seek(partition.records(), seek).await {
            Err(storage::Error::Missing) => None,
            other => other?,
        };
        let (start, end) = (partition.start(), partition.high_watermark());
        // A batch whose beginning was deleted is read from where it can be.
        let from = found.map(|found| found.base_offset.max(start));
        let Some(from) = from.filter(|from| *from < end) else {
            return Ok(None);
        };
        let chunk = match self.inner.log.read(partition.records(), from, end, 1) {
            Read::Ready(read) => read?,
            Read::Disk(read) => read.await?,
        };
        Ok(chunk.batches()?.into_iter().next())
    }

    /// Finds a record among those of a batch that are not deleted; `None` when there is none.
    async fn in_batch(&self, partition: &Partition, batch: Batch, wanted: Wanted) -> Option<Place> {
        let start = partition.start();
        let header = batch.header;
        let found = if header.codec() == 0 {
            find(&batch, start, wanted)
        } else {
            // With the workers that look through what is produced: it takes a processor, and memory.
            let bytes = batch.opening_bytes();
            let open = move || find(&batch, start, wanted);
            let opened = self.inner.workers.run(bytes, open).await;
            opened.unwrap_or(Err(Error::Unavailable))
        };
        found.unwrap_or_else(|error| {
            tracing::warn!(topic = %partition.topic_id, partition = partition.index,
                offset = header.base_offset, %error, "record batch cannot be read by time");
            Some(as_a_whole(&header, start))
        })
    }
}

/// Where nothing is known of a batch's records.
fn as_a_whole(header: &BatchHeader, start: u64) -> Place {
    (header.base_offset.max(start), header.max_timestamp)
}

fn find(batch: &Batch, start: u64, wanted: Wanted) -> Result<Option<Place>> {
    let mut newest: Option<Place> = None;
    for place in batch.times() {
        let place = place?;
        let (offset, timestamp) = place;
        if offset < start {
            continue;
        }
        match wanted {
            Wanted::At(time) if timestamp >= time => return Ok(Some(place)),
            Wanted::At(_) => {}
            Wanted::Newest => {
                if newest.is_none_or(|(_, time)| time < timestamp) {
                    newest = Some(place);
                }
            }
        }
    }
    Ok(newest)
}
