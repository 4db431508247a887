//! What the parts of a store have to know of each other at start, and what comes of it.

use super::place::{Digest, Folder, Position};

/// What the journal has to know of the checkpoint that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) folder: Folder,
    /// Where it replays from.
    pub(crate) position: Position,
    /// Every group before this sequence was synced when it was written.
    pub(crate) reach: u64,
    pub(crate) digest: Digest,
    /// It is of the version before journal files had identities.
    pub(crate) is_old: bool,
}

/// What holding journal and checkpoint against each other came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// The store was closed in good order: the checkpoint covers everything.
    pub(crate) clean: bool,
    /// The journal was brought up to date, and the checkpoint must be written again with these.
    pub(crate) moved: Option<(Folder, Position)>,
}

/// What replaying the journal came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replayed {
    /// Where the log ends.
    pub(crate) end: Position,
    pub(crate) groups: u64,
    pub(crate) bytes: u64,
    /// Groups found behind the end and given up because they were never durable.
    pub(crate) cut_groups: u64,
}
