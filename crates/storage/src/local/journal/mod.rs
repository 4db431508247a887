//! The journal: every change of every stream and document, in one order, on disk before it is acknowledged.
//!
//! One thread writes it, one group at a time: whatever was handed over while the previous group was on its way
//! to the disk becomes the next group. Nothing is read from it except at start. Its files are made and filled
//! with zeroes ahead of time, because overwriting is much cheaper to sync than growing, and are used again once
//! segments and a checkpoint have made them unnecessary.

mod files;
mod format;
mod mark;
mod recovery;
mod writer;

pub(super) use files::{FilePool, is_full};
pub(super) use format::Entry;
pub(super) use mark::{Folder, Mark, MarkDigest, Marker, NAME as MARK_NAME};
pub(super) use recovery::{Replayed, closed, has_files, replay};
pub(super) use writer::Writer;

use crate::Lsn;

pub(super) const FOLDER: &str = "journal";

/// A place between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Sequence of the next group.
    pub(super) sequence: u64,
    /// File that holds the groups before; 0 when there is none.
    pub(super) generation: u64,
    /// Where in that file the next group starts, if it fits there.
    pub(super) offset: u64,
}

/// A synced place: every change up to `lsn`, and no other, stands before `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    pub(super) lsn: Lsn,
    pub(super) position: Position,
}
