//! Places in a store, and what its parts are told by.

use crate::Lsn;

/// A place between two groups of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Sequence of the next group.
    pub(crate) sequence: u64,
    /// What holds the groups before it (a file, by its generation); 0 when nothing does.
    pub(crate) generation: u64,
    /// Where in that the next group starts, if it fits there.
    pub(crate) offset: u64,
}

/// Where the journal of a new store begins.
pub(crate) const BEGINNING: Position = Position {
    sequence: 1,
    generation: 0,
    offset: 0,
};

/// A synced place: every change up to `lsn`, and no other, stands before `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cut {
    pub(crate) lsn: Lsn,
    pub(crate) position: Position,
}

/// Random identity of a store, by which the parts of one tell those of another; zeroes where a part is of a version that
/// had none.
pub(crate) type Folder = [u8; 16];

/// Tells a checkpoint from any other of the same store.
pub(crate) type Digest = [u8; 28];
