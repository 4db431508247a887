//! The seam to the journal.

use std::sync::Arc;
use std::time::Duration;

use super::super::change::{Change, Entry};
use super::fill::Fill;
use super::place::{Digest, Folder, Position};
use super::start::{Replayed, Seen, Start};
use crate::Result;

/// A journal that is ready for use.
pub(crate) struct Begun {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) writer: Box<dyn JournalWriter>,
    pub(crate) folder: Folder,
    /// Groups before this sequence are known to be durable, as [`Journal::note_durable`] returns it.
    pub(crate) marked: u64,
}

/// The journal at start. The methods are called once each, in this order.
pub(crate) trait JournalReader {
    /// Holds it against the checkpoint: neither may be of another store, or older than the other one says. Changes
    /// nothing, except for a journal of an earlier version: see [`Start::moved`].
    fn check(&mut self, checkpoint: Option<&Seen>) -> Result<Start>;

    /// Applies every change from the checkpoint on, in order. Changes nothing.
    fn replay(&mut self, apply: &mut dyn FnMut(Change) -> Result<()>) -> Result<Replayed>;

    /// Makes the end of the log final: from here on it has no clean end and goes on behind what was replayed.
    fn begin(self: Box<Self>) -> Result<Begun>;
}

/// What came of writing a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was written and takes so many bytes.
    Bytes(u64),
    /// Nothing was written: the groups before it have to be synced first.
    SyncFirst,
    /// Nothing was written: there is no space, and only a smaller group may have room.
    NoRoom,
}

/// The end of the journal, which the journal thread owns.
pub(crate) trait JournalWriter: Send {
    /// How many of the next entries, of which there is one, make a group: at least one.
    fn next_group(&self, entries: &[Entry]) -> usize;

    /// Writes a group. What was written is durable after [`JournalWriter::sync`].
    fn write(&mut self, group: &[Entry]) -> Result<Written>;

    /// Makes every group durable, at least one of which was not; the place behind the last one. Never called again after
    /// it failed.
    fn sync(&mut self) -> Result<Position>;
}

/// How the use of a journal ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End<'a> {
    /// The journal thread ends when it has written what it has; on a full disk it waits for no space any more.
    Closing,
    /// Waits end, and [`Journal::tend`] with them.
    Stopped,
    /// The store is closed in good order with this checkpoint: the next start has nothing to replay.
    Clean(&'a Digest),
}

/// The journal while it is in use, for all threads: every change in one order, durable before it is acknowledged.
pub(crate) trait Journal: Send + Sync {
    /// How full it is.
    fn fill(&self) -> &Fill;

    /// Files or objects it consists of.
    fn files(&self) -> u64;

    /// Lets go of the groups before a position: a durable checkpoint has moved there.
    fn retire(&self, before: Position);

    /// Does what nobody should wait for, such as making files ahead; with nothing to do, waits up to `at_most`. `false` when
    /// stopped. One thread calls this and [`Journal::note_durable`].
    fn tend(&self, at_most: Duration) -> Result<bool>;

    /// Keeps beside the groups how far they are durable, so that a missing end is noticed. Returns the sequence that is
    /// kept: on a full disk the one before.
    fn note_durable(&self, durable: Position) -> Result<u64>;

    /// Ends its use, step by step.
    fn end(&self, end: End<'_>) -> Result<()>;
}
