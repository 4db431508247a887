//! What is counted about a queue: written by the owners of its queue partitions, read without asking them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use delivery::Counts;

use super::Depth;
use crate::memory::StateMemory;
use crate::metrics::Metrics;

/// Numbers of one queue since the start, and how full it is. Every event is also counted for the broker as a whole,
/// where it stays when the queue goes.
#[derive(Debug)]
pub(crate) struct Numbers {
    totals: Arc<Metrics>,
    /// What the state of all queues takes together.
    memory: Arc<StateMemory>,
    /// Absent until something happens to the queue, which is never for many.
    counted: OnceLock<Box<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    deduplicated: AtomicU64,
    received: AtomicU64,
    empty_receives: AtomicU64,
    deleted: AtomicU64,
    dead_lettered: AtomicU64,
    // Of all queue partitions together; each adds what has changed, so that a sum never has to be made.
    ready: AtomicU64,
    leased: AtomicU64,
    waiting: AtomicU64,
    keys_leased: AtomicU64,
    unreadable: AtomicU64,
    /// The oldest message that is not done, as last looked at: when it was sent, ms; 0: there was none.
    oldest_ms: AtomicU64,
}

impl Numbers {
    pub(crate) fn new(totals: Arc<Metrics>, memory: Arc<StateMemory>) -> Self {
        Self {
            totals,
            memory,
            counted: OnceLock::new(),
        }
    }

    /// What the state of all queues takes together.
    pub(crate) fn memory(&self) -> &Arc<StateMemory> {
        &self.memory
    }

    fn counted(&self) -> &Counted {
        self.counted.get_or_init(Box::default)
    }

    pub(crate) fn sent(&self, count: u64, bytes: u64) {
        let counted = self.counted();
        counted.sent.fetch_add(count, Relaxed);
        counted.sent_bytes.fetch_add(bytes, Relaxed);
        self.totals.messages_sent.fetch_add(count, Relaxed);
    }

    pub(crate) fn deduplicated(&self) {
        self.counted().deduplicated.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, count: u64) {
        self.counted().received.fetch_add(count, Relaxed);
        self.totals.messages_received.fetch_add(count, Relaxed);
    }

    /// Leases that never reached a receiver are not counted as received.
    pub(crate) fn not_received(&self, count: u64) {
        self.counted().received.fetch_sub(count, Relaxed);
        self.totals.messages_received.fetch_sub(count, Relaxed);
    }

    pub(crate) fn received_nothing(&self) {
        self.counted().empty_receives.fetch_add(1, Relaxed);
        self.totals.empty_receives.fetch_add(1, Relaxed);
    }

    pub(crate) fn deleted(&self, count: u64) {
        self.counted().deleted.fetch_add(count, Relaxed);
        self.totals.messages_deleted.fetch_add(count, Relaxed);
    }

    pub(crate) fn dead_lettered(&self, count: u64) {
        self.counted().dead_lettered.fetch_add(count, Relaxed);
        self.totals.messages_dead_lettered.fetch_add(count, Relaxed);
    }

    /// A queue partition holds this much now, and held that much when it last said so.
    pub(crate) fn holds(&self, now: Counts, before: Counts) {
        let counted = self.counted();
        for (gauge, now, before) in [
            (&counted.ready, now.ready, before.ready),
            (&counted.leased, now.leased, before.leased),
            (&counted.waiting, now.waiting, before.waiting),
            (&counted.keys_leased, now.keys_leased, before.keys_leased),
            (&counted.unreadable, now.unreadable, before.unreadable),
        ] {
            // The sum over all queue partitions is never negative, whatever wraps on the way.
            gauge.fetch_add(now.wrapping_sub(before), Relaxed);
        }
    }

    /// When the oldest message was sent; `None` when there is none.
    pub(crate) fn oldest(&self, oldest_ms: Option<u64>) {
        if oldest_ms.is_some() || self.counted.get().is_some() {
            let oldest_ms = oldest_ms.unwrap_or(0);
            self.counted().oldest_ms.store(oldest_ms, Relaxed);
        }
    }

    /// All of them.
    pub(crate) fn depth(&self) -> Depth {
        let Some(counted) = self.counted.get() else {
            return Depth::default();
        };
        let read = |number: &AtomicU64| number.load(Relaxed);
        Depth {
            ready: read(&counted.ready),
            in_flight: read(&counted.leased),
            delayed: read(&counted.waiting),
            keys_in_flight: read(&counted.keys_leased),
            unreadable: read(&counted.unreadable),
            sent: read(&counted.sent),
            sent_bytes: read(&counted.sent_bytes),
            deduplicated: read(&counted.deduplicated),
            received: read(&counted.received),
            deleted: read(&counted.deleted),
            empty_receives: read(&counted.empty_receives),
            dead_lettered: read(&counted.dead_lettered),
            oldest_ms: Some(read(&counted.oldest_ms)).filter(|oldest| *oldest > 0),
        }
    }
}
