//! The seam to the segments.

use std::io;

/// Immutable objects with the batches that have left the journal, by number. A number is never used twice.
pub(crate) trait Segments: Send + Sync {
    /// Begins a new segment, to be written front to back.
    fn put(&self, id: u64, readers: Readers) -> io::Result<Box<dyn SegmentSink>>;

    /// So many bytes from a position. Blocks. `NotFound` when there is no such segment, `UnexpectedEof` when it is shorter.
    fn read(&self, id: u64, length: usize, position: u64) -> io::Result<Vec<u8>>;

    /// Removes a segment. Durable after [`Segments::sync`], and a removal that a crash undoes does no harm.
    fn delete(&self, id: u64) -> io::Result<()>;

    /// All segments with their lengths, in no order: finished, unfinished and those of which nobody knows any more.
    fn list(&self) -> io::Result<Vec<(u64, u64)>>;

    /// Makes it durable which segments there are. To be called between the end of a segment and the first mention of it.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Whether anybody is expected to read a new segment soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Those who are a little behind: it holds the newest batches.
    Expected,
    /// It holds old batches.
    Unlikely,
}

/// A segment in the making. One that is dropped before its end is left behind, unfinished.
pub(crate) trait SegmentSink {
    /// Adds bytes at the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all of them durable.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
