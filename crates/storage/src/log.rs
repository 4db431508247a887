//! The log seam: ordered, durable batches in named streams.
//!
//! An append is handed over synchronously and gets a log sequence number ([`Lsn`]); it becomes true when
//! [`Progress`] passes that number. One watcher therefore learns of any number of appends with one wake-up,
//! and batches of one stream can follow each other without waiting for the disk in between.

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use crate::batch::BatchError;
use crate::ids::{Lsn, StreamId};
use crate::{Batch, BoxFuture, Result};

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On disk (`fdatasync`) before it is acknowledged or readable.
    #[default]
    Sync,
    /// Handed to the operating system before it is acknowledged or readable; synced at an interval.
    /// Survives the death of the process, not of the machine.
    Flush,
    /// Like [`Durability::Sync`], and allowed to use the space that is kept free for it when the disk is full:
    /// for what lets the log shrink again, such as acknowledgements and committed offsets.
    Vital,
}

/// One batch for one stream.
///
/// `batch.header.base_offset` must be the stream's next offset: the first append to a stream may start
/// anywhere, each later one starts where the one before ended. The caller, who owns the stream, counts.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub stream: StreamId,
    /// What, with its final offsets.
    pub batch: Batch,
}

/// How far the log has come. Both positions only grow, and `durable <= written`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything up to here was handed to the operating system.
    pub written: Lsn,
    /// Everything up to here is on disk.
    pub durable: Lsn,
}

/// A stream's readable extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// First readable offset (after trims).
    pub start: u64,
    /// One past the last offset appended, readable or not yet.
    pub end: u64,
    /// Bytes of all batches held, whether in memory, journal or segments. After a trim into the middle of a
    /// segment the remaining part of that segment is an estimate.
    pub bytes: u64,
}

/// Whole batches, in order.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Bytes of consecutive batches; a piece may hold part of a batch or many batches, their concatenation is
    /// whole batches. Pieces share memory with the log's tail where possible.
    pub pieces: Vec<Bytes>,
    /// Sum of the pieces' lengths.
    pub bytes: usize,
    /// Offset after the last batch of the chunk; equal to the offset asked for when the chunk is empty.
    pub next_offset: u64,
}

impl Chunk {
    /// The batches of the chunk, one by one. Errors when the bytes are not whole batches.
    pub fn batches(&self) -> std::result::Result<Vec<Batch>, BatchError> {
        let mut batches = Vec::new();
        let mut rest = self.pieces.as_slice();
        while let [piece, after @ ..] = rest {
            // The usual two pieces of a large batch are not copied together: its records stay shared.
            if let Some(records) = after.first()
                && let Some(batch) = Batch::of_parts(piece, records)
            {
                batches.push(batch);
                rest = &after[1..];
                continue;
            }
            let mut bytes = piece.clone();
            rest = after;
            while !bytes.is_empty() {
                match Batch::split_trusted(&mut bytes) {
                    Err(BatchError::Truncated) if !rest.is_empty() => {
                        bytes = joined(&bytes, std::mem::take(&mut rest));
                    }
                    batch => batches.push(batch?),
                }
            }
        }
        Ok(batches)
    }
}

fn joined(first: &Bytes, rest: &[Bytes]) -> Bytes {
    let mut whole = BytesMut::from(&first[..]);
    for piece in rest {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}

/// A read that either is answered from memory or has to touch the disk.
pub enum Read {
    /// Answered from memory.
    Ready(Result<Chunk>),
    /// The future reads files on the blocking pool, or inline when the page cache has the bytes.
    Disk(BoxFuture<'static, Result<Chunk>>),
}

/// What [`Log::seek`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// First batch whose maximum timestamp (ms) is at or after this one.
    Time(i64),
    /// The same, among batches that end behind an offset.
    TimeFrom {
        /// The timestamp, ms.
        time: i64,
        /// The offset.
        from: u64,
    },
    /// The batch that holds the greatest maximum timestamp of the stream.
    MaxTime,
    /// The same, among batches that end behind this offset.
    MaxTimeFrom(u64),
    /// First batch such that it and all later ones together take at most this many bytes.
    TailBytes(u64),
}

/// A batch found by [`Log::seek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Base offset of the batch.
    pub base_offset: u64,
    /// Maximum timestamp of the batch, ms.
    pub max_timestamp: i64,
}

/// What to give up of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Every offset before this one. Later offsets keep their numbers; an append continues at `end`.
    Before(u64),
    /// The stream itself.
    All,
}

/// Ordered, durable batches in named streams.
pub trait Log: Send + Sync + 'static {
    /// Hands over batches, in order, and returns at once. All of them become durable together or not at all,
    /// and not before anything handed over earlier. A batch may be read back once [`Progress`] covers it
    /// (`written` for [`Durability::Flush`], else `durable`).
    ///
    /// Errors: `DiskFull`, `Poisoned`, `Closed`. Panics when a batch does not continue its stream: that is the
    /// owner's bug, and writing it would be corruption.
    fn append(&self, appends: Vec<Append>, durability: Durability) -> Result<Lsn>;

    /// Watches how far the log has come. The sender is dropped when the log stops after a failed write or is
    /// closed: what still waits then must not be acknowledged.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Whole batches from the one that contains `from`, up to and excluding the first batch that reaches
    /// `until` or beyond, at most `max_bytes` but at least one batch. Empty when `from` is at the readable end.
    ///
    /// Errors: `OutOfRange` below `start` or above `end`, `Missing`, `Corrupt`, `Io`.
    fn read(&self, stream: StreamId, from: u64, until: u64, max_bytes: usize) -> Read;

    /// The stream's extent; `None` when nothing was ever appended or it was removed.
    fn bounds(&self, stream: StreamId) -> Option<Bounds>;

    /// Finds a batch by time or by size; `None` when there is none.
    fn seek(&self, stream: StreamId, seek: Seek) -> BoxFuture<'_, Result<Option<Found>>>;

    /// Gives up a stream's beginning, or all of it. Effective at once for readers; durable when [`Progress`]
    /// passes the returned number. Space is given back in the background. Allowed when the disk is full. A batch
    /// that holds the first offset kept stays whole. `All` is synced at once, `Before` at an interval or with the
    /// next append that is.
    ///
    /// Errors: `Missing`, `Poisoned`, `Closed`.
    fn trim(&self, stream: StreamId, trim: Trim) -> Result<Lsn>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;

    fn batch(base: u64, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(&vec![b'x'; bytes]), &[]);
        builder.build().placed(base, 0, None)
    }

    #[test]
    fn batches_are_found_however_their_bytes_are_cut() {
        let batches = [batch(0, 10), batch(1, 2_000), batch(2, 3_000), batch(3, 20)];
        let whole: Vec<u8> = batches.iter().flat_map(Batch::to_bytes).collect();
        let whole = Bytes::from(whole);
        let found = |pieces: Vec<Bytes>| {
            let bytes = pieces.iter().map(Bytes::len).sum();
            let next_offset = 4;
            let chunk = Chunk {
                pieces,
                bytes,
                next_offset,
            };
            let found = chunk.batches().unwrap();
            let found: Vec<Bytes> = found.iter().map(Batch::to_bytes).collect();
            assert!(found == batches.each_ref().map(Batch::to_bytes));
        };
        for one in (0..whole.len()).step_by(7).chain(90..260) {
            for other in [one, one + 61, whole.len() - 50].map(|at| at.clamp(one, whole.len())) {
                let pieces = [
                    whole.slice(..one),
                    whole.slice(one..other),
                    whole.slice(other..),
                ];
                found(pieces.to_vec());
            }
        }
        let pieces = batches
            .iter()
            .flat_map(|batch| batch.pieces().map(Bytes::clone));
        found(pieces.collect());
    }

    #[test]
    fn what_is_cut_short_is_no_batch() {
        let bytes = batch(0, 2_000).to_bytes();
        for end in [1, 60, 61, 62, bytes.len() - 1] {
            let pieces = vec![bytes.slice(..end)];
            let chunk = Chunk {
                bytes: end,
                pieces,
                next_offset: 1,
            };
            assert_eq!(chunk.batches().err(), Some(BatchError::Truncated));
        }
    }
}
