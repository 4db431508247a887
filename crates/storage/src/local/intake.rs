//! The queue in front of the journal: the only lock every append takes, held for the length of a push.
//!
//! The thread that hands over a change takes a number, puts batches into their streams' tails and the change into the
//! queue under this one lock, so that journal order, number order and stream order are the same order.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::change::{Change, Entry};
use super::lock::lock;
use crate::{Error, Lsn, Result};

/// How often a waiter looks again by itself; only a guard against a lost wake-up.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the journal thread finds when it looks into the queue.
#[derive(Debug)]
pub(super) enum Work {
    /// Entries were swapped into the given vector (possibly none), and perhaps a sync is wanted.
    Entries { sync: bool },
    /// Nothing is left and nothing will come.
    Stop,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
    bytes: u64,
    last: Lsn,
    stopped: Option<Error>,
    sync_wanted: bool,
    /// The journal thread sleeps; cleared by the thread that wakes it, so that a busy journal costs no wake-up calls.
    parked: bool,
}

impl Queue {
    /// The number the next pushed entry must carry.
    pub(super) fn next(&self) -> Lsn {
        Lsn(self.last.0 + 1)
    }

    /// The number of the last entry handed over.
    pub(super) fn last(&self) -> Lsn {
        self.last
    }
}

/// The queue and the two places where threads wait for it.
#[derive(Debug, Default)]
pub(super) struct Intake {
    queue: Mutex<Queue>,
    arrived: Condvar,
    progressed: Condvar,
}

impl Intake {
    /// An empty queue whose numbers continue after `last`.
    pub(super) fn new(last: Lsn) -> Self {
        let queue = Queue {
            last,
            ..Queue::default()
        };
        Self {
            queue: Mutex::new(queue),
            ..Self::default()
        }
    }

    /// Locks the queue for handing something over. Errors: `Poisoned`, `Closed`.
    pub(super) fn open(&self) -> Result<MutexGuard<'_, Queue>> {
        let queue = lock(&self.queue);
        match &queue.stopped {
            Some(error) => Err(error.clone()),
            None => Ok(queue),
        }
    }

    /// Queues a change under the number [`Queue::next`] gave and wakes the journal thread.
    pub(super) fn push(&self, mut queue: MutexGuard<'_, Queue>, change: Change, sync: bool) -> Lsn {
        let lsn = queue.next();
        let entry = Entry::new(lsn, sync, change);
        queue.last = lsn;
        queue.bytes += entry.bytes;
        queue.entries.push(entry);
        if std::mem::take(&mut queue.parked) {
            drop(queue);
            self.arrived.notify_one();
        }
        lsn
    }

    /// Waits for entries or a sync request, and swaps the entries into `into`, which must be empty. While
    /// `stalled` says so entries are left alone, unless someone needs a sync or the store is stopping.
    pub(super) fn take(&self, into: &mut Vec<Entry>, stalled: impl Fn() -> bool) -> Work {
        debug_assert!(into.is_empty(), "entries would be written twice");
        let mut queue = lock(&self.queue);
        loop {
            let stopping = queue.stopped.is_some();
            let held_back = !stopping && !queue.sync_wanted && stalled();
            if queue.sync_wanted || (!queue.entries.is_empty() && !held_back) {
                std::mem::swap(&mut queue.entries, into);
                queue.bytes = 0;
                let sync = std::mem::take(&mut queue.sync_wanted);
                return Work::Entries { sync };
            }
            if stopping {
                return Work::Stop;
            }
            queue.parked = true;
            queue = if held_back {
                let waited = self.arrived.wait_timeout(queue, LOOK_AGAIN);
                waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
            } else {
                let waited = self.arrived.wait(queue);
                waited.unwrap_or_else(std::sync::PoisonError::into_inner)
            };
            queue.parked = false;
        }
    }

    /// Refuses everything from now on with `error`. What is queued is still written after [`Error::Closed`], and
    /// dropped by a journal that failed. The first reason stays, but a failure outweighs a regular end.
    pub(super) fn stop(&self, error: Error) {
        let mut queue = lock(&self.queue);
        if !matches!(queue.stopped, Some(Error::Poisoned(_))) {
            queue.stopped = Some(error);
        }
        drop(queue);
        self.arrived.notify_all();
        self.progressed.notify_all();
    }

    /// Why nothing is accepted any more, if so.
    pub(super) fn stopped(&self) -> Option<Error> {
        lock(&self.queue).stopped.clone()
    }

    /// Asks the journal thread to sync what was handed over, without waiting.
    pub(super) fn want_sync(&self) {
        let mut queue = lock(&self.queue);
        queue.sync_wanted = true;
        queue.parked = false;
        drop(queue);
        self.arrived.notify_one();
    }

    /// Syncs everything handed over so far and waits for it, unless `is_stuck` says that the journal cannot go on.
    /// `durable` reads the published position.
    pub(super) fn sync(
        &self,
        durable: impl Fn() -> Lsn,
        is_stuck: impl Fn() -> bool,
    ) -> Result<()> {
        let mut queue = lock(&self.queue);
        let target = queue.last;
        while durable() < target && !is_stuck() {
            if let Some(error @ Error::Poisoned(_)) = &queue.stopped {
                return Err(error.clone());
            }
            queue.sync_wanted = true;
            queue.parked = false;
            self.arrived.notify_one();
            let waited = self.progressed.wait_timeout(queue, LOOK_AGAIN);
            queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Wakes those who wait in [`Intake::sync`]. Called after the position was published.
    pub(super) fn progressed(&self) {
        drop(lock(&self.queue));
        self.progressed.notify_all();
    }

    /// Lets a stalled journal thread look again.
    pub(super) fn unstall(&self) {
        drop(lock(&self.queue));
        self.arrived.notify_one();
    }

    /// The number of the last change handed over.
    pub(super) fn last(&self) -> Lsn {
        lock(&self.queue).last
    }

    /// Bytes handed over and not yet taken by the journal thread.
    pub(super) fn queued_bytes(&self) -> u64 {
        lock(&self.queue).bytes
    }
}
