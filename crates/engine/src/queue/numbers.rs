//! What is counted about a queue: written by the owners of its lanes, read by whoever asks, without asking them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Depth;
use super::lane::Counts;
use crate::metrics::Metrics;

/// Numbers of one queue since the start, and how full it is. Every event is also counted for the broker as a whole,
/// where it stays when the queue goes.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    totals: Arc<Metrics>,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    deduplicated: AtomicU64,
    received: AtomicU64,
    empty_receives: AtomicU64,
    deleted: AtomicU64,
    dead_lettered: AtomicU64,
    // Of all lanes together; each adds what has changed, so that a sum never has to be made.
    ready: AtomicU64,
    lent: AtomicU64,
    waiting: AtomicU64,
    keys_lent: AtomicU64,
    /// The oldest message that is not done, as last looked at: when it was sent, ms; 0: there was none.
    oldest_ms: AtomicU64,
}

impl Numbers {
    pub(crate) fn new(totals: Arc<Metrics>) -> Self {
        Self {
            totals,
            ..Self::default()
        }
    }

    pub(crate) fn sent(&self, count: u64, bytes: u64) {
        self.sent.fetch_add(count, Relaxed);
        self.sent_bytes.fetch_add(bytes, Relaxed);
        self.totals.messages_sent.fetch_add(count, Relaxed);
    }

    pub(crate) fn deduplicated(&self) {
        self.deduplicated.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, count: u64) {
        self.received.fetch_add(count, Relaxed);
        self.totals.messages_received.fetch_add(count, Relaxed);
    }

    /// Loans that reached nobody are not counted as received.
    pub(crate) fn not_received(&self, count: u64) {
        self.received.fetch_sub(count, Relaxed);
        self.totals.messages_received.fetch_sub(count, Relaxed);
    }

    pub(crate) fn received_nothing(&self) {
        self.empty_receives.fetch_add(1, Relaxed);
        self.totals.empty_receives.fetch_add(1, Relaxed);
    }

    pub(crate) fn deleted(&self, count: u64) {
        self.deleted.fetch_add(count, Relaxed);
        self.totals.messages_deleted.fetch_add(count, Relaxed);
    }

    pub(crate) fn dead_lettered(&self, count: u64) {
        self.dead_lettered.fetch_add(count, Relaxed);
        self.totals.messages_dead_lettered.fetch_add(count, Relaxed);
    }

    /// A lane holds this much now, and held that much when it last said so.
    pub(crate) fn holds(&self, now: Counts, before: Counts) {
        for (gauge, now, before) in [
            (&self.ready, now.ready, before.ready),
            (&self.lent, now.lent, before.lent),
            (&self.waiting, now.waiting, before.waiting),
            (&self.keys_lent, now.keys_lent, before.keys_lent),
        ] {
            // The sum over all lanes is never negative, whatever wraps on the way.
            gauge.fetch_add(now.wrapping_sub(before), Relaxed);
        }
    }

    /// When the oldest message was sent; `None` when there is none.
    pub(crate) fn oldest(&self, oldest_ms: Option<u64>) {
        self.oldest_ms.store(oldest_ms.unwrap_or(0), Relaxed);
    }

    /// All of them.
    pub(crate) fn depth(&self) -> Depth {
        let read = |number: &AtomicU64| number.load(Relaxed);
        Depth {
            ready: read(&self.ready),
            in_flight: read(&self.lent),
            delayed: read(&self.waiting),
            keys_in_flight: read(&self.keys_lent),
            sent: read(&self.sent),
            sent_bytes: read(&self.sent_bytes),
            deduplicated: read(&self.deduplicated),
            received: read(&self.received),
            deleted: read(&self.deleted),
            empty_receives: read(&self.empty_receives),
            dead_lettered: read(&self.dead_lettered),
            oldest_ms: Some(read(&self.oldest_ms)).filter(|oldest| *oldest > 0),
        }
    }
}
