//! Reading single records: out of what is kept of them, or out of the log.

use std::sync::atomic::Ordering::Relaxed;

use storage::{Batch, Chunk, Read};

use super::read_ahead::{Decoded, Known, LONG_STRETCH_BYTES, Seen, UNREADABLE, decode, seen};
use super::{Inner, queue_partitions};
use crate::queue::QueuePartitionId;
use crate::{Error, Result};

/// Compressed batches up to this size are opened where they are needed; larger ones by a worker.
const SMALL_BYTES: usize = 4 << 10;

impl Inner {
    /// What there is at an offset. Errors: `Storage` when it is there and cannot be read yet: it must not be taken for
    /// gone.
    pub(super) async fn record_at(&self, at: QueuePartitionId, offset: u64) -> Result<Seen> {
        let known = &self.read_ahead;
        if let Known::Read(found) = known.find(at, offset) {
            return Ok(found);
        }
        let bytes = known.stretch_bytes(at, offset);
        let read = self
            .log
            .read(queue_partitions::records(at), offset, u64::MAX, bytes);
        let batches = match read {
            Read::Ready(read) => match batches(read, offset)? {
                None => return Ok(Seen::Gone),
                Some(batches) if batches.iter().all(is_quick) => {
                    return Ok(self.found(at, offset, decode(batches, offset)));
                }
                Some(batches) => Ok(batches),
            },
            Read::Disk(read) => Err(read),
        };
        let _gate = known.gate(at).await;
        if let Known::Read(found) = known.find(at, offset) {
            return Ok(found);
        }
        // Kept before the gate opens.
        if let Some(open) = known.take_open(at, offset) {
            let bytes = open.records.opening_bytes();
            let work = move || {
                let mut decoded = Decoded::default();
                decoded.take(open, offset);
                decoded
            };
            let decoded = self.workers.run(bytes, work).await;
            return Ok(self.found(at, offset, decoded.unwrap_or_default()));
        }
        let batches = match batches {
            Ok(batches) => batches,
            Err(read) => {
                self.metrics.disk_reads.fetch_add(1, Relaxed);
                match self::batches(read.await, offset)? {
                    Some(batches) => batches,
                    None => return Ok(Seen::Gone),
                }
            }
        };
        if batches.iter().all(is_quick) {
            return Ok(self.found(at, offset, decode(batches, offset)));
        }
        let bytes = batches.iter().map(Batch::opening_bytes).max();
        let end = batches
            .last()
            .map_or(offset, |last| last.header.next_offset());
        let work = move || decode(batches, offset);
        let decoded = self.workers.run(bytes.unwrap_or(0), work).await;
        // A decoder that did not even come back says nothing good about what it was given.
        let decoded = decoded.unwrap_or_else(|| Decoded {
            next: end,
            faults: vec![(offset, end, UNREADABLE)],
            ..Decoded::default()
        });
        Ok(self.found(at, offset, decoded))
    }

    /// Keeps what was decoded from an offset on, and answers with what is there.
    fn found(&self, at: QueuePartitionId, offset: u64, decoded: Decoded) -> Seen {
        let known = &self.read_ahead;
        let Decoded {
            records,
            next,
            faults,
            open,
            ..
        } = decoded;
        for (from, upto, error) in faults {
            if known.is_news((at.topic, at.index, from)) {
                let name = self
                    .topics
                    .load()
                    .with_id(at.topic)
                    .map(|t| t.name.to_string());
                tracing::warn!(
                    topic = name.unwrap_or_default(), partition = at.index, offset = from, upto, %error,
                    "records cannot be read"
                );
            }
        }
        let next = next.max(offset + 1);
        let found = seen(&records, next, offset);
        let from = records
            .first()
            .map_or(offset, |first| first.offset.min(offset));
        known.keep(at, from, next, records);
        if let Some(open) = open {
            known.keep_open(at, open);
        }
        found
    }

    /// Messages of a queue partition cannot be read: they stay, and are not leased again.
    pub(super) fn set_unreadable(&self, at: QueuePartitionId, from: u64, upto: u64) {
        // One that is gone has nothing to note.
        let _ = queue_partitions::run(self, at, |round| {
            round.set_unreadable(at.queue, from, upto);
        });
    }
}

/// Whether a batch is decoded in no time.
fn is_quick(batch: &Batch) -> bool {
    batch.header.codec() == 0
        || (batch.bytes() <= SMALL_BYTES && batch.opening_bytes() <= LONG_STRETCH_BYTES)
}

/// The batches of a read; none when what was asked for is gone.
fn batches(read: storage::Result<Chunk>, offset: u64) -> Result<Option<Vec<Batch>>> {
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
    Ok(Some(batches))
}
