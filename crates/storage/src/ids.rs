//! What streams are named by, and changes numbered.

use uuid::Uuid;

/// Names one stream: an owner (a topic, a group, …) and which of the owner's streams it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Identity of the object that owns the stream.
    pub owner: Uuid,
    /// Which of the owner's streams; the engine decides what the numbers mean.
    pub part: u32,
}

/// Position of one `append` or `trim` call in the order of all of them. Grows by one per call, never reused
/// within one run of the process; not a byte position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);
