//! The seam to the checkpoint.

use std::io;

/// The durable copy of all documents and of where the streams' extents are: the bytes of one checkpoint, which is a whole
/// and changes behind it.
pub(crate) trait Documents: Send {
    /// All bytes of the checkpoint, changes that were never finished among them; `None` when there never was one.
    fn load(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the checkpoint, with its changes, by a new whole, durably. One that has no space changes nothing; any other
    /// failure leaves it open which of the two there is.
    fn replace(&mut self, whole: &[u8]) -> io::Result<()>;

    /// Adds changes at a position, the end of what this run has written before, durably. What has no space does not count
    /// and may be written over; any other failure leaves it open what is there, and nothing is added any more.
    fn add(&mut self, position: u64, changes: &[u8]) -> io::Result<()>;

    /// Random bytes that no peer can guess: the identity of a whole.
    fn identity(&self) -> io::Result<[u8; 16]>;
}
