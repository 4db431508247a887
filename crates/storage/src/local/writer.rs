//! The journal thread: takes the whole queue, writes it as groups, publishes how far it came.
//!
//! This is the place that knows how many groups are in flight, which is one: what one `write` and `sync` do not carry
//! waits in the queue and becomes the next group. Everything else goes by the positions that are published here, which
//! only grow; several groups in flight would have to be published in their order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::change::Entry;
use super::intake::Work;
use super::lock::lock;
use super::options::Stopwatch;
use super::seams::{Cut, JournalWriter, Position, Written};
use super::shared::Shared;
use super::stats::Counters;
use crate::{Error, Lsn, Progress, Result};

/// Owns the end of the journal.
pub(super) struct Writer {
    shared: Arc<Shared>,
    journal: Box<dyn JournalWriter>,
    progress: watch::Sender<Progress>,
    written: Lsn,
    /// Groups were written and not synced.
    unsynced: bool,
}

impl Writer {
    /// Continues a log whose last change is given; everything before is synced.
    pub(super) fn new(
        shared: Arc<Shared>,
        journal: Box<dyn JournalWriter>,
        progress: watch::Sender<Progress>,
        from: Lsn,
    ) -> Self {
        Self {
            shared,
            journal,
            progress,
            written: from,
            unsynced: false,
        }
    }

    /// Runs until the store is closed or a write fails. Afterwards the progress sender is gone.
    pub(super) fn run(mut self) {
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
            let (group, after) = rest.split_at(self.journal.next_group(rest));
            match self.journal.write(group)? {
                Written::Bytes(bytes) => {
                    self.wrote(group, bytes)?;
                    rest = after;
                }
                Written::SyncFirst => self.sync()?,
                Written::NoRoom => {}
            }
        }
        entries.clear();
        if sync { self.sync() } else { Ok(()) }
    }

    fn wrote(&mut self, group: &[Entry], bytes: u64) -> Result<()> {
        let last = group.last().expect("a group holds at least one entry");
        self.written = last.lsn;
        self.publish_written(bytes, group.iter().any(|entry| !entry.sync));
        self.shared.ask_for_flush_if_needed();
        if group.iter().any(|entry| entry.sync) {
            self.sync()?;
        }
        Ok(())
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
        let shared = &self.shared;
        if !self.unsynced {
            shared.intake.progressed();
            return Ok(());
        }
        let watch = shared.options.stopwatch.as_ref();
        let from = watch.map(Stopwatch::elapsed);
        let position = self.journal.sync()?;
        Counters::add(&shared.stats.syncs, 1);
        if let (Some(watch), Some(from)) = (watch, from) {
            shared.stats.sync_took(watch.elapsed().saturating_sub(from));
        }
        self.unsynced = false;
        shared.unsynced.store(false, Ordering::Release);
        self.publish_durable(position);
        Ok(())
    }

    fn publish_durable(&self, position: Position) {
        let shared = &self.shared;
        let lsn = self.written;
        // Before the cut moves: a reader of the cut may rely on every document before it being visible.
        shared.documents.commit(lsn);
        *lock(&shared.cut) = Cut { lsn, position };
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
