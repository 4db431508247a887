//! How other threads talk to the flusher.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock::lock;
use crate::{Error, Result};

/// What the flusher does.
pub(super) enum Task {
    Flush,
    Tick,
    Stop { flush: bool },
}

#[derive(Debug, Default)]
struct Wanted {
    /// Flushes asked for; each is done by a flush that starts after it was asked.
    asked: u64,
    done: u64,
    /// One that was asked for is under way.
    is_busy: bool,
    failed: Option<Error>,
    stop: bool,
    last_flush: bool,
}

/// What is asked of the flusher.
#[derive(Debug, Default)]
pub(super) struct FlushSignal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl FlushSignal {
    /// Asks for a flush unless one was asked for and has not begun.
    pub(super) fn ask(&self) {
        let mut wanted = lock(&self.wanted);
        if wanted.asked == wanted.done {
            wanted.asked += 1;
            self.changed.notify_all();
        }
    }

    /// Asks for a flush of everything handed over so far and waits for its end.
    pub(super) fn flush(&self) -> Result<()> {
        let mut wanted = lock(&self.wanted);
        // One that is under way may have begun too early.
        let target = wanted.done + 1 + u64::from(wanted.is_busy);
        wanted.asked = wanted.asked.max(target);
        wanted.failed = None;
        self.changed.notify_all();
        while wanted.done < target && !wanted.stop && wanted.failed.is_none() {
            wanted = self
                .changed
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match &wanted.failed {
            Some(error) => Err(error.clone()),
            None if wanted.done < target => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Ends the thread, with or without a last flush.
    pub(super) fn stop(&self, last_flush: bool) {
        let mut wanted = lock(&self.wanted);
        wanted.stop = true;
        wanted.last_flush = last_flush;
        self.changed.notify_all();
    }

    /// What the flusher is to do next; looks around when nothing was asked for so long.
    pub(super) fn next_task(&self, tick: Duration) -> Task {
        let mut wanted = lock(&self.wanted);
        if !wanted.stop && wanted.asked == wanted.done {
            let waited = self.changed.wait_timeout(wanted, tick);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if wanted.stop {
            let flush = wanted.last_flush;
            return Task::Stop { flush };
        }
        wanted.is_busy = wanted.asked > wanted.done;
        if wanted.is_busy {
            Task::Flush
        } else {
            Task::Tick
        }
    }

    /// Takes note of how what was asked for ended, if that was it. Those who wait are told by [`FlushSignal::wake`].
    pub(super) fn ended(&self, failed: Option<Error>) {
        let mut wanted = lock(&self.wanted);
        if std::mem::take(&mut wanted.is_busy) {
            wanted.done += 1;
        }
        wanted.failed = failed;
    }

    /// Lets those who wait look again.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }
}
