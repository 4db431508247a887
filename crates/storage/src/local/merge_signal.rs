//! How other threads talk to the merge thread.

use std::sync::{Condvar, Mutex, PoisonError};

use super::lock::lock;

#[derive(Debug, Default)]
struct Wanted {
    look: bool,
    stop: bool,
}

/// What is asked of the merge thread.
#[derive(Debug, Default)]
pub(super) struct MergeSignal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl MergeSignal {
    pub(super) fn ask(&self) {
        lock(&self.wanted).look = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        lock(&self.wanted).stop = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        lock(&self.wanted).stop
    }

    /// Waits until there may be something to do; `false` when it is time to end.
    pub(super) fn wait(&self) -> bool {
        let mut wanted = lock(&self.wanted);
        while !wanted.look && !wanted.stop {
            wanted = self
                .changed
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
        wanted.look = false;
        !wanted.stop
    }
}
