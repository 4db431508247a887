//! The journal thread: takes the whole queue, writes it as groups, publishes how far it came.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::super::Shared;
use super::super::intake::Work;
use super::super::lock::lock;
use super::super::options::Stopwatch;
use super::super::stats::Counters;
use super::files::{self, JournalFile};
use super::format::{Encoder, Entry, GroupHeader, PAGE, framed, group_bytes};
use super::{Cut, Position};
use crate::{Error, Lsn, Progress, Result};

/// A group is closed at this size; only a single larger append makes a larger group.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Owns the end of the journal. Exactly one group is in flight.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    active: Option<JournalFile>,
    offset: u64,
    /// Sequence of the next group.
    sequence: u64,
    /// Last synced sequence.
    durable: u64,
    written: Lsn,
    /// Groups were written to the active file and not synced.
    unsynced: bool,
    encoder: Encoder,
}

impl Writer {
    /// Continues a log whose last change and first free sequence are given; everything before is synced.
    pub(crate) fn new(shared: Arc<Shared>, progress: watch::Sender<Progress>, from: Cut) -> Self {
        let sequence = from.position.sequence;
        Self {
            shared,
            progress,
            active: None,
            offset: 0,
            sequence,
            durable: sequence - 1,
            written: from.lsn,
            unsynced: false,
            encoder: Encoder::default(),
        }
    }

    /// Runs until the store is closed or a write fails. Afterwards the progress sender is gone.
    pub(crate) fn run(mut self) {
        // Set first, so that even a panic of this thread leaves nobody waiting for an acknowledgement.
        let guard = StopOnPanic(Arc::clone(&self.shared));
        let mut entries = Vec::new();
        let result = loop {
            let shared = &self.shared;
            shared.owners.journal.rest();
            let work = shared.intake.take(&mut entries, || shared.is_stalled());
            shared.owners.journal.turn();
            let Work::Entries { sync } = work else {
                break self.sync();
            };
            if let Err(error) = self.write_all(&mut entries, sync) {
                break Err(error);
            }
        };
        if let Err(error) = result {
            self.shared.poison(&error);
        }
        drop(self.progress);
        drop(guard);
    }

    fn write_all(&mut self, entries: &mut Vec<Entry>, sync: bool) -> Result<()> {
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (group, after) = rest.split_at(self.next_group(rest));
            if self.write_group(group)? {
                rest = after;
            }
        }
        entries.clear();
        if sync { self.sync() } else { Ok(()) }
    }

    /// How many of the next entries make a group: at least one. On a full disk those that the files there are have room for.
    fn next_group(&self, entries: &[Entry]) -> usize {
        let pool = &self.shared.pool;
        let bytes_max = if pool.is_starved() {
            let active = self.active.as_ref();
            let left = active.map_or(0, |file| file.bytes - self.offset);
            let is_exhausted = group_bytes(&entries[..1]) > left;
            GROUP_BYTES_MAX.min(if is_exhausted { pool.room() } else { left })
        } else {
            GROUP_BYTES_MAX
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.bytes;
            framed(bytes) <= bytes_max
        };
        entries.iter().take_while(fits).count().max(1)
    }

    /// `false` when the disk is full and only a smaller group may have room.
    fn write_group(&mut self, group: &[Entry]) -> Result<bool> {
        let bytes = group_bytes(group);
        let Some(file) = self.file_for(bytes, group.len() > 1)? else {
            return Ok(false);
        };
        let header = GroupHeader {
            generation: file.generation,
            identity: file.identity,
            sequence: self.sequence,
            durable: self.durable,
            length: 0,
            entries: 0,
        };
        self.encoder.encode(header, group);
        let slices = self.encoder.slices();
        debug_assert_eq!(
            slices.iter().map(|slice| slice.len() as u64).sum::<u64>(),
            bytes,
            "the group takes what was foreseen"
        );
        debug_assert_eq!(self.offset % PAGE, 0, "groups start at pages");
        file.file
            .write_at(&slices, self.offset)
            .map_err(|error| Error::io(format!("write {}", files::name(file.generation)), error))?;
        drop(slices);
        self.encoder.clear();
        self.offset += bytes;
        self.sequence += 1;
        let last = group.last().expect("a group holds at least one entry");
        self.written = last.lsn;
        let needs_sync = group.iter().any(|entry| entry.sync);
        self.publish_written(bytes, group.iter().any(|entry| !entry.sync));
        if needs_sync {
            self.sync()?;
        }
        Ok(true)
    }

    /// The active file when `bytes` fit into it, else the next one; see [`super::FilePool::take`].
    fn file_for(&mut self, bytes: u64, can_split: bool) -> Result<Option<JournalFile>> {
        if let Some(file) = &self.active
            && self.offset + bytes <= file.bytes
        {
            return Ok(Some(file.clone()));
        }
        // One sync then covers everything unsynced, and no file is left behind half on disk.
        self.sync()?;
        let Some(next) = self.shared.pool.take(bytes, can_split)? else {
            return Ok(None);
        };
        if let Some(full) = self.active.replace(next.clone()) {
            self.shared.pool.filled(full, self.sequence - 1);
            self.shared.ask_for_flush_if_needed();
        }
        // Behind the header page.
        self.offset = PAGE;
        Ok(Some(next))
    }

    fn publish_written(&mut self, bytes: u64, notify: bool) {
        let shared = &self.shared;
        Counters::add(&shared.stats.groups, 1);
        Counters::add(&shared.stats.journal_written_bytes, bytes);
        shared.written.store(self.written.0, Ordering::Release);
        self.progress.send_if_modified(|progress| {
            progress.written = self.written;
            // Nobody waits for `written` when the whole group waits for its sync: one wake-up instead of two.
            notify
        });
        if !std::mem::replace(&mut self.unsynced, true) {
            // What nobody waits to be synced is, within the interval.
            shared.unsynced.store(true, Ordering::Release);
        }
    }

    fn sync(&mut self) -> Result<()> {
        let Some(file) = self.active.as_ref().filter(|_| self.unsynced) else {
            self.shared.intake.progressed();
            return Ok(());
        };
        let shared = &self.shared;
        let watch = shared.options.stopwatch.as_ref();
        let from = watch.map(Stopwatch::elapsed);
        file.file
            .sync()
            .map_err(|error| Error::io(format!("sync {}", files::name(file.generation)), error))?;
        Counters::add(&shared.stats.syncs, 1);
        if let (Some(watch), Some(from)) = (watch, from) {
            shared.stats.sync_took(watch.elapsed().saturating_sub(from));
        }
        self.unsynced = false;
        shared.unsynced.store(false, Ordering::Release);
        self.durable = self.sequence - 1;
        self.publish_durable(file.generation);
        Ok(())
    }

    fn publish_durable(&self, generation: u64) {
        let shared = &self.shared;
        let lsn = self.written;
        // Before the cut moves: a reader of the cut may rely on every document before it being visible.
        shared.documents.commit(lsn);
        *lock(&shared.cut) = Cut {
            lsn,
            position: Position {
                sequence: self.sequence,
                generation,
                offset: self.offset,
            },
        };
        shared.durable.store(lsn.0, Ordering::Release);
        self.progress.send_modify(|progress| progress.durable = lsn);
        shared.intake.progressed();
    }
}

struct StopOnPanic(Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stopped = Error::Poisoned("the journal thread panicked".to_owned());
            self.0.intake.stop(stopped);
        }
    }
}
