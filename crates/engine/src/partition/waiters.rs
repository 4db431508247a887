//! Who waits for a partition to grow, without a thread or a timer each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Waiting readers of one partition. Each is woken once and registers again if it still waits.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: Mutex<Vec<Weak<Notify>>>,
    /// Times they were woken; changes under the lock.
    wakes: AtomicU64,
}

impl Waiters {
    /// Registers a reader for the next growth; returns how often readers were woken before. A reader that gives up just
    /// drops its `Notify`.
    pub fn register(&self, reader: &Arc<Notify>) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // An idle partition would otherwise collect one dead entry per expired wait.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|w| w.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(reader));
        self.wakes.load(Ordering::Acquire)
    }

    /// How often readers were woken: who registered before the last time is not registered any more.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Acquire)
    }

    /// Wakes every registered reader.
    pub fn wake(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = std::mem::take(&mut *waiting);
        self.wakes.fetch_add(1, Ordering::AcqRel);
        drop(waiting);
        for reader in woken.iter().filter_map(Weak::upgrade) {
            reader.notify_one();
        }
    }
}
