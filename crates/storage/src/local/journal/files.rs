//! Journal files: made ahead, filled with zeroes, used once, recycled under a new generation.
//!
//! A file is named after its generation, a number no other use of a file ever had, and each use begins with a
//! header page that holds a fresh secret identity. Before the journal may write to a file its content, length, header
//! page and name are synced and the mark lists it, so that a commit never waits for metadata and never meets a full
//! disk. A thread of its own makes and recycles files; it also asks for the interval syncs, writes the mark and watches
//! free space, the other things nobody should wait for.
//!
//! The last ready file is a reserve: the journal may have it when another one is ready, or when the disk turned out to be
//! too full for another one. That shows late, when the next file is made, and by then more may have been handed over than
//! fits into the file in use. It fits into the reserve, and so does what frees space afterwards.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::super::lock::lock;
use super::super::seams::{Fill, Position};
use super::header::{FOLDER, FileHeader, Identity, PAGE, padded};
use super::mark::{self, Listed, Marker};
use crate::disk::{Disk, DiskFile, is_full};
use crate::{Error, Result};

/// Files made ready besides the one in use, the reserve among them.
const SPARES_MADE: usize = 2;
/// Files that are kept for another use; more are given back to the file system. One more than are made, so that a journal
/// that has what it needs makes none any more.
const SPARES_KEPT: usize = 3;
/// Size at which the reserve stops growing with the other files: what callers have handed over at most, mostly.
const RESERVE_BYTES_MAX: u64 = 64 << 20;
/// How often a failed file is tried again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) fn name(generation: u64) -> String {
    format!("{FOLDER}/{generation:016x}")
}

#[derive(Clone)]
pub(crate) struct JournalFile {
    pub(crate) generation: u64,
    pub(crate) bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl From<&JournalFile> for Listed {
    fn from(file: &JournalFile) -> Self {
        Self {
            generation: file.generation,
            bytes: file.bytes,
            identity: file.identity,
        }
    }
}

/// What recovery found on disk.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Files that hold groups, with the sequence of the last one.
    pub(crate) live: Vec<(JournalFile, u64)>,
    /// Files without anything that is still needed.
    pub(crate) free: Vec<JournalFile>,
    /// Generations of files that were never finished.
    pub(crate) unfinished: Vec<u64>,
    pub(crate) generation_max: u64,
}

struct PoolState {
    spares: Vec<JournalFile>,
    live: Vec<(JournalFile, u64)>,
    free: VecDeque<JournalFile>,
    unfinished: Vec<u64>,
    /// Sequence the newest durable checkpoint replays from; 0 while there is none.
    checkpoint: u64,
    /// Size of the file the journal waits for; 0 when it does not wait.
    wanted: u64,
    next_generation: u64,
    next_bytes: u64,
    /// Size of a file the disk may have room for, by those it had none for.
    affordable: u64,
    /// What has no room on a full disk is given up.
    is_closing: bool,
    stopped: bool,
}

impl PoolState {
    fn reserve_bytes(&self) -> u64 {
        self.next_bytes.min(RESERVE_BYTES_MAX)
    }

    /// The ready file the journal may have for `bytes`: a reserve that has become too small before any other, the reserve
    /// last.
    fn find(&self, bytes: u64, is_starved: bool) -> Option<usize> {
        if self.spares.len() == 1 && !is_starved {
            return None;
        }
        let fitting = self.spares.iter().enumerate();
        let fitting = fitting.filter(|(_, file)| file.bytes >= bytes);
        let is_small = |file: &JournalFile| file.bytes < self.reserve_bytes();
        let found = fitting.max_by_key(|(_, file)| (is_small(file), file.bytes));
        found.map(|(index, _)| index)
    }

    /// Size of the file that is missing among those there should be, so many with the reserve.
    fn lacking(&self, spares: usize) -> Option<u64> {
        let reserve = self.reserve_bytes();
        if self.spares.iter().all(|file| file.bytes < reserve) {
            return Some(reserve);
        }
        (self.spares.len() < spares).then_some(self.next_bytes)
    }
}

/// The files, and the door between the journal thread and the thread that makes them.
pub(crate) struct FilePool {
    disk: Arc<dyn Disk>,
    /// Sizes between which files are made ahead.
    bytes_first: u64,
    bytes_max: u64,
    state: Mutex<PoolState>,
    changed: Condvar,
    /// Bytes of files that were filled and are still needed, and whether the last attempt to make one failed for lack of
    /// space.
    pub(super) fill: Fill,
}

impl FilePool {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        bytes_first: u64,
        bytes_max: u64,
        found: Recovered,
        checkpoint: u64,
    ) -> Self {
        let known = found.live.iter().map(|(file, _)| file);
        let largest = known.chain(&found.free).map(|file| file.bytes).max();
        let live_bytes = found.live.iter().map(|(file, _)| file.bytes).sum();
        Self {
            disk,
            bytes_first,
            bytes_max,
            state: Mutex::new(PoolState {
                spares: Vec::new(),
                live: found.live,
                free: found.free.into(),
                unfinished: found.unfinished,
                checkpoint,
                wanted: 0,
                next_generation: found.generation_max + 1,
                next_bytes: largest.unwrap_or(bytes_first).min(bytes_max),
                affordable: u64::MAX,
                is_closing: false,
                stopped: false,
            }),
            changed: Condvar::new(),
            fill: Fill {
                live_bytes: AtomicU64::new(live_bytes),
                starved: AtomicBool::new(false),
            },
        }
    }

    /// A file with room for a group of `bytes`, for the journal thread to write to; waits until there is one. On a full disk
    /// it does not wait for one where `can_split`: `None`, a smaller group may have room.
    ///
    /// Errors: `Closed`; `DiskFull` when the store ends and there will be no file.
    pub(crate) fn take(&self, bytes: u64, can_split: bool) -> Result<Option<JournalFile>> {
        let bytes = bytes + PAGE;
        let mut state = lock(&self.state);
        let found = loop {
            let is_starved = self.fill.is_starved();
            if let Some(index) = state.find(bytes, is_starved) {
                break Some(state.spares.remove(index));
            }
            if state.stopped {
                return Err(Error::Closed);
            }
            if is_starved && can_split {
                break None;
            }
            if is_starved && state.is_closing {
                return Err(Error::DiskFull);
            }
            // Said once: the thread that makes files does not try again any sooner.
            if state.wanted != bytes {
                state.wanted = bytes;
                self.changed.notify_all();
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.wanted = 0;
        drop(state);
        self.changed.notify_all();
        Ok(found)
    }

    /// Takes note that the journal left a file whose last group is `last_sequence`. The next one made is larger.
    pub(crate) fn filled(&self, file: JournalFile, last_sequence: u64) {
        self.fill
            .live_bytes
            .fetch_add(file.bytes, Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.next_bytes = state.next_bytes.saturating_mul(2).min(self.bytes_max);
        state.live.push((file, last_sequence));
    }

    /// Frees the files with nothing at or after `position`. Only after a durable checkpoint has moved there.
    pub(crate) fn retire(&self, position: Position) {
        let mut state = lock(&self.state);
        // The file the checkpoint names stays even when empty of news: its absence must mean something is wrong.
        let gone = |(file, last): &mut (JournalFile, u64)| {
            *last < position.sequence && file.generation != position.generation
        };
        state.checkpoint = state.checkpoint.max(position.sequence);
        let retired: Vec<_> = state.live.extract_if(.., gone).collect();
        for (file, _) in retired {
            self.fill
                .live_bytes
                .fetch_sub(file.bytes, Ordering::Relaxed);
            state.free.push_back(file);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn files(&self) -> u64 {
        let state = lock(&self.state);
        (state.live.len() + state.free.len() + state.spares.len()) as u64
    }

    /// The largest group a ready file has room for.
    pub(crate) fn room(&self) -> u64 {
        let state = lock(&self.state);
        let largest = state.spares.iter().map(|file| file.bytes).max();
        largest.map_or(0, |bytes| bytes - PAGE)
    }

    /// The journal thread ends when it has written what it has; on a full disk it waits for no file any more.
    pub(crate) fn closing(&self) {
        lock(&self.state).is_closing = true;
        self.changed.notify_all();
    }

    /// Ends waits; the file thread stops at its next look.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Writes to the mark how far the journal is durable. On a disk that is full it stays as it is for now.
    pub(crate) fn mark(&self, marker: &mut Marker, durable: Position) -> Result<()> {
        let checkpoint = lock(&self.state).checkpoint;
        match marker.progressed(durable, checkpoint) {
            Err(error) if !is_full(&error) => Err(mark_failed(error)),
            _ => Ok(()),
        }
    }

    /// Does what there is to do, then waits up to `at_most`. `Ok(false)` when stopped.
    pub(crate) fn tend(&self, marker: &mut Marker, at_most: Duration) -> Result<bool> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Ok(false);
        }
        if let Some(generation) = state.unfinished.pop() {
            drop(state);
            let name = name(generation);
            let removed = self.disk.remove(&name);
            return removed
                .map(|()| true)
                .map_err(|error| Error::io(format!("remove {name}"), error));
        }
        let wanted = state.wanted;
        if let Some(file) = state.free.pop_front() {
            // On a full disk there may be no room for a larger one.
            let is_starved = self.fill.is_starved();
            let is_enough = |lacking| file.bytes >= wanted && (file.bytes >= lacking || is_starved);
            let keep = state.lacking(SPARES_KEPT).is_some_and(is_enough);
            let generation = state.next_generation;
            state.next_generation += u64::from(keep);
            let checkpoint = state.checkpoint;
            drop(state);
            if let Err(error) = marker.unlist(file.generation, checkpoint) {
                lock(&self.state).free.push_front(file);
                return self.failed(error, mark_failed).map(|()| true);
            }
            return self
                .recycle(marker, file, keep.then_some(generation))
                .map(|()| true);
        }
        let is_unmet = wanted > 0 && state.find(wanted, self.fill.is_starved()).is_none();
        let lacking = state
            .lacking(SPARES_MADE)
            .or_else(|| is_unmet.then_some(wanted));
        if let Some(bytes) = lacking {
            let generation = state.next_generation;
            // What the journal waits for may be all that there is room for.
            let bytes = if is_unmet {
                bytes.min(state.affordable)
            } else {
                bytes
            };
            let bytes = padded(bytes.max(wanted));
            state.next_generation += 1;
            drop(state);
            return self.make(marker, generation, bytes).map(|()| true);
        }
        let waited = self.changed.wait_timeout(state, at_most);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(!state.stopped)
    }

    fn recycle(
        &self,
        marker: &mut Marker,
        file: JournalFile,
        generation: Option<u64>,
    ) -> Result<()> {
        let old = name(file.generation);
        let failed = |error| Error::io(format!("recycle {old}"), error);
        let Some(generation) = generation else {
            return self.disk.remove(&old).map_err(failed);
        };
        self.disk.rename(&old, &name(generation)).map_err(failed)?;
        let bytes = file.bytes;
        match self.begin_use(marker, generation, bytes, file.file) {
            Ok(file) => {
                self.offer(file);
                Ok(())
            }
            Err(error) => {
                self.give_up_if_full(generation, bytes, &error);
                self.failed(error, failed)
            }
        }
    }

    fn make(&self, marker: &mut Marker, generation: u64, bytes: u64) -> Result<()> {
        let made = self
            .check_room(bytes)
            .and_then(|()| self.disk.create_filled(&name(generation), bytes))
            .and_then(|file| self.begin_use(marker, generation, bytes, file));
        match made {
            Ok(file) => {
                self.offer(file);
                Ok(())
            }
            Err(error) => {
                self.give_up_if_full(generation, bytes, &error);
                let failed = |error| Error::io(format!("make {}", name(generation)), error);
                self.failed(error, failed)
            }
        }
    }

    /// A disk that was full, and says that it is, is not filled up with zeroes to find out.
    fn check_room(&self, bytes: u64) -> std::io::Result<()> {
        if self.fill.is_starved() && self.disk.free_bytes().is_ok_and(|free| free < bytes) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Gives a file that is ready but for its header page, and in no list, a fresh identity. What stood in it means
    /// nothing from here on. Everything is durable before the journal may have the file.
    fn begin_use(
        &self,
        marker: &mut Marker,
        generation: u64,
        bytes: u64,
        file: Arc<dyn DiskFile>,
    ) -> std::io::Result<JournalFile> {
        let header = FileHeader {
            generation,
            length: bytes,
            identity: Identity(self.disk.random()?),
        };
        file.write_at(&[IoSlice::new(&header.encode())], 0)?;
        file.sync()?;
        self.disk.sync_names(FOLDER)?;
        let file = JournalFile {
            generation,
            bytes,
            identity: header.identity,
            file,
        };
        marker.list((&file).into())?;
        Ok(file)
    }

    /// Removes a file that could not be finished for lack of space: it is of no use. When even this fails the next
    /// start clears it away. The next ones are smaller: the disk may have room for those.
    fn give_up_if_full(&self, generation: u64, bytes: u64, error: &std::io::Error) {
        if is_full(error) {
            let mut state = lock(&self.state);
            state.affordable = bytes / 2;
            state.next_bytes = state.next_bytes.min(state.affordable.max(self.bytes_first));
            drop(state);
            let _ = self.disk.remove(&name(generation));
            // A file whose removal could still be undone by a crash keeps its space.
            let _ = self.disk.sync_names(FOLDER);
        }
    }

    /// A full disk is waited for, anything else ends the store.
    fn failed(
        &self,
        error: std::io::Error,
        describe: impl FnOnce(std::io::Error) -> Error,
    ) -> Result<()> {
        if !is_full(&error) {
            return Err(describe(error));
        }
        let state = lock(&self.state);
        self.fill.starved.store(true, Ordering::Relaxed);
        // The journal may have the reserve now.
        self.changed.notify_all();
        let _ = self.changed.wait_timeout(state, RETRY);
        Ok(())
    }

    fn offer(&self, file: JournalFile) {
        let mut state = lock(&self.state);
        state.spares.push(file);
        // Not before there is a reserve again, too.
        if state.lacking(SPARES_MADE).is_none() {
            state.affordable = u64::MAX;
            self.fill.starved.store(false, Ordering::Relaxed);
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn mark_failed(error: std::io::Error) -> Error {
    Error::io(format!("write {}", mark::NAME), error)
}
