//! What a store is made of, as its threads know it: narrow traits between the part that decides and the part that keeps
//! bytes. On one machine they are files ([`super::journal::FoundJournal`], [`super::segment::SegmentFiles`],
//! [`super::checkpoint::CheckpointFile`]).
//!
//! Nobody above these traits knows a file, and nothing below them knows a stream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::change::{Change, Entry};
use crate::{Lsn, Result};

/// A place between two groups of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Sequence of the next group.
    pub(super) sequence: u64,
    /// What holds the groups before it (a file, by its generation); 0 when nothing does.
    pub(super) generation: u64,
    /// Where in that the next group starts, if it fits there.
    pub(super) offset: u64,
}

/// Where the journal of a new store begins.
pub(super) const BEGINNING: Position = Position {
    sequence: 1,
    generation: 0,
    offset: 0,
};

/// A synced place: every change up to `lsn`, and no other, stands before `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    pub(super) lsn: Lsn,
    pub(super) position: Position,
}

/// Random identity of a store, by which the parts of one tell those of another; zeroes where a part is of a version that
/// had none.
pub(super) type Folder = [u8; 16];

/// Tells a checkpoint from any other of the same store.
pub(super) type Digest = [u8; 28];

/// What the journal has to know of the checkpoint that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) folder: Folder,
    /// Where it replays from.
    pub(super) position: Position,
    /// Every group before this sequence was synced when it was written.
    pub(super) reach: u64,
    pub(super) digest: Digest,
    /// It is of the version before journal files had identities.
    pub(super) is_old: bool,
}

/// What holding journal and checkpoint against each other came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start {
    /// The store was closed in good order: the checkpoint covers everything.
    pub(super) clean: bool,
    /// The journal was brought up to date, and the checkpoint must be written again with these.
    pub(super) moved: Option<(Folder, Position)>,
}

/// What replaying the journal came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replayed {
    /// Where the log ends.
    pub(super) end: Position,
    pub(super) groups: u64,
    pub(super) bytes: u64,
    /// Groups found behind the end and given up because they were never durable.
    pub(super) cut_groups: u64,
}

/// A journal that is ready for use.
pub(super) struct Begun {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) writer: Box<dyn JournalWriter>,
    pub(super) folder: Folder,
    /// Groups before this sequence are known to be durable, as [`Journal::note_durable`] returns it.
    pub(super) marked: u64,
}

/// The journal at start. The methods are called once each, in this order.
pub(super) trait JournalReader {
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
pub(super) enum Written {
    /// It was written and takes so many bytes.
    Bytes(u64),
    /// Nothing was written: the groups before it have to be synced first.
    SyncFirst,
    /// Nothing was written: there is no space, and only a smaller group may have room.
    NoRoom,
}

/// The end of the journal, which the journal thread owns.
pub(super) trait JournalWriter: Send {
    /// How many of the next entries, of which there is one, make a group: at least one.
    fn next_group(&self, entries: &[Entry]) -> usize;

    /// Writes a group. What was written is durable after [`JournalWriter::sync`].
    fn write(&mut self, group: &[Entry]) -> Result<Written>;

    /// Makes every group durable, at least one of which was not; the place behind the last one. Never called again after
    /// it failed.
    fn sync(&mut self) -> Result<Position>;
}

/// How full the journal is. Read by every append, written by the journal.
#[derive(Debug, Default)]
pub(super) struct Fill {
    /// Bytes that were written and are still needed.
    pub(super) live_bytes: AtomicU64,
    /// There was no space for what has to be ready before the next groups can be written.
    pub(super) starved: AtomicBool,
}

impl Fill {
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }
}

/// How the use of a journal ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    /// The journal thread ends when it has written what it has; on a full disk it waits for no space any more.
    Closing,
    /// Waits end, and [`Journal::tend`] with them.
    Stopped,
    /// The store is closed in good order with this checkpoint: the next start has nothing to replay.
    Clean(&'a Digest),
}

/// The journal while it is in use, for all threads: every change in one order, durable before it is acknowledged.
pub(super) trait Journal: Send + Sync {
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

/// Immutable objects with the batches that have left the journal, by number. A number is never used twice.
pub(super) trait Segments: Send + Sync {
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
pub(super) enum Readers {
    /// Those who are a little behind: it holds the newest batches.
    Expected,
    /// It holds old batches.
    Unlikely,
}

/// A segment in the making. One that is dropped before its end is left behind, unfinished.
pub(super) trait SegmentSink {
    /// Adds bytes at the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all of them durable.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The durable copy of all documents and of where the streams' extents are: the bytes of one checkpoint, which is a whole
/// and changes behind it.
pub(super) trait Documents: Send {
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
