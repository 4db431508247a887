//! Journal files: made ahead, filled with zeroes, used once, recycled under a new generation.
//!
//! A file is named after its generation, a number no other use of a file ever had. Before the journal may write
//! to a file its content, length and name are synced, so that a commit never waits for metadata and never meets
//! a full disk. A thread of its own makes and recycles files; it also asks for the interval syncs and watches
//! free space, the other two things nobody should wait for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::super::lock::lock;
use super::{FOLDER, Position};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Result};

/// Files kept ready besides the one in use; more are given back to the file system.
const SPARES_KEPT: usize = 2;
/// How often a failed file is tried again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) fn name(generation: u64) -> String {
    format!("{FOLDER}/{generation:016x}")
}

#[derive(Clone)]
pub(crate) struct JournalFile {
    pub(crate) generation: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// What recovery found on disk.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Files that hold groups, with the sequence of the last one.
    pub(crate) live: Vec<(JournalFile, u64)>,
    /// Files without anything that is still needed.
    pub(crate) free: Vec<JournalFile>,
    pub(crate) generation_max: u64,
}

struct PoolState {
    spares: Vec<JournalFile>,
    live: Vec<(JournalFile, u64)>,
    free: VecDeque<JournalFile>,
    /// Size of the file the journal waits for; 0 when it does not wait.
    wanted: u64,
    next_generation: u64,
    next_bytes: u64,
    stopped: bool,
}

/// The files, and the door between the journal thread and the thread that makes them.
pub(crate) struct FilePool {
    disk: Arc<dyn Disk>,
    bytes_max: u64,
    state: Mutex<PoolState>,
    changed: Condvar,
    live_bytes: AtomicU64,
    /// The last attempt to make a file failed for lack of space.
    starved: AtomicBool,
}

impl FilePool {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        bytes_first: u64,
        bytes_max: u64,
        found: Recovered,
    ) -> Self {
        let known = found.live.iter().map(|(file, _)| file);
        let largest = known.chain(&found.free).map(|file| file.bytes).max();
        let live_bytes = found.live.iter().map(|(file, _)| file.bytes).sum();
        Self {
            disk,
            bytes_max,
            state: Mutex::new(PoolState {
                spares: Vec::new(),
                live: found.live,
                free: found.free.into(),
                wanted: 0,
                next_generation: found.generation_max + 1,
                next_bytes: largest.unwrap_or(bytes_first).min(bytes_max),
                stopped: false,
            }),
            changed: Condvar::new(),
            live_bytes: AtomicU64::new(live_bytes),
            starved: AtomicBool::new(false),
        }
    }

    /// A file with room for at least `bytes`, for the journal thread to write to; waits until there is one.
    pub(crate) fn take(&self, bytes: u64) -> Result<JournalFile> {
        let mut state = lock(&self.state);
        loop {
            if let Some(index) = state.spares.iter().position(|file| file.bytes >= bytes) {
                let file = state.spares.remove(index);
                state.wanted = 0;
                drop(state);
                self.changed.notify_all();
                return Ok(file);
            }
            if state.stopped {
                return Err(Error::Closed);
            }
            state.wanted = bytes;
            self.changed.notify_all();
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes note that the journal left a file whose last group is `last_sequence`.
    pub(crate) fn filled(&self, file: JournalFile, last_sequence: u64) {
        self.live_bytes.fetch_add(file.bytes, Ordering::Relaxed);
        lock(&self.state).live.push((file, last_sequence));
    }

    /// Frees the files with nothing at or after `position`. Only after a durable checkpoint has moved there.
    pub(crate) fn retire(&self, position: Position) {
        let mut state = lock(&self.state);
        // The file the checkpoint names stays even when empty of news: its absence must mean something is wrong.
        let gone = |(file, last): &mut (JournalFile, u64)| {
            *last < position.sequence && file.generation != position.generation
        };
        let retired: Vec<_> = state.live.extract_if(.., gone).collect();
        for (file, _) in retired {
            self.live_bytes.fetch_sub(file.bytes, Ordering::Relaxed);
            state.free.push_back(file);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Bytes of files that were filled and are still needed.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn files(&self) -> u64 {
        let state = lock(&self.state);
        (state.live.len() + state.free.len() + state.spares.len()) as u64
    }

    /// Whether a file could not be made ahead for lack of space.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// Ends waits; the file thread stops at its next look.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Does what there is to do, then waits up to `at_most`. `Ok(false)` when stopped.
    pub(crate) fn tend(&self, at_most: Duration) -> Result<bool> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Ok(false);
        }
        let wanted = state.wanted;
        if let Some(file) = state.free.pop_front() {
            let keep =
                state.spares.len() < SPARES_KEPT && file.bytes >= state.next_bytes.max(wanted);
            let generation = state.next_generation;
            state.next_generation += u64::from(keep);
            drop(state);
            return self
                .recycle(file, keep.then_some(generation))
                .map(|()| true);
        }
        let unmet = wanted > 0 && !state.spares.iter().any(|file| file.bytes >= wanted);
        if unmet || state.spares.is_empty() {
            let generation = state.next_generation;
            let bytes = state.next_bytes.max(super::format::padded(wanted));
            state.next_generation += 1;
            drop(state);
            return self.make(generation, bytes).map(|()| true);
        }
        let waited = self.changed.wait_timeout(state, at_most);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(!state.stopped)
    }

    fn recycle(&self, mut file: JournalFile, generation: Option<u64>) -> Result<()> {
        let old = name(file.generation);
        let failed = |error| Error::io(format!("recycle {old}"), error);
        let Some(generation) = generation else {
            return self.disk.remove(&old).map_err(failed);
        };
        self.disk.rename(&old, &name(generation)).map_err(failed)?;
        self.disk.sync_names(FOLDER).map_err(failed)?;
        file.generation = generation;
        self.offer(file);
        Ok(())
    }

    fn make(&self, generation: u64, bytes: u64) -> Result<()> {
        match self.create(generation, bytes) {
            Ok(file) => {
                self.starved.store(false, Ordering::Relaxed);
                let file = JournalFile {
                    generation,
                    bytes,
                    file,
                };
                let next = bytes.saturating_mul(2).min(self.bytes_max);
                let mut state = lock(&self.state);
                state.next_bytes = state.next_bytes.max(next);
                drop(state);
                self.offer(file);
                Ok(())
            }
            Err(error) if is_full(&error) => {
                // The half-made file is of no use; when even this fails the next start clears it away.
                let _ = self.disk.remove(&name(generation));
                self.starved.store(true, Ordering::Relaxed);
                let state = lock(&self.state);
                let _ = self.changed.wait_timeout(state, RETRY);
                Ok(())
            }
            Err(error) => Err(Error::io(format!("make {}", name(generation)), error)),
        }
    }

    fn create(&self, generation: u64, bytes: u64) -> std::io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create_filled(&name(generation), bytes)?;
        self.disk.sync_names(FOLDER)?;
        Ok(file)
    }

    fn offer(&self, file: JournalFile) {
        lock(&self.state).spares.push(file);
        self.changed.notify_all();
    }
}

pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}
