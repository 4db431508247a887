//! Who waits for a partition to grow, without a thread or a timer each.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Waiting readers of one partition. Each is woken once and registers again if it still waits.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: Mutex<Vec<Weak<Notify>>>,
}

impl Waiters {
    /// Registers a reader for the next growth. A reader that gives up just drops its `Notify`.
    pub fn register(&self, reader: &Arc<Notify>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // An idle partition would otherwise collect one dead entry per expired wait.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|w| w.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(reader));
    }

    /// Wakes every registered reader.
    pub fn wake(&self) {
        let woken =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for reader in woken.iter().filter_map(Weak::upgrade) {
            reader.notify_one();
        }
    }
}
