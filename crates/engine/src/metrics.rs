//! The engine's numbers: counters that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Records appended.
    pub records_published: AtomicU64,
    /// Bytes appended, batch headers included.
    pub bytes_published: AtomicU64,
    /// Batches appended.
    pub batches_published: AtomicU64,
    /// Bytes handed to readers.
    pub bytes_fetched: AtomicU64,
    /// Answered fetches.
    pub fetches: AtomicU64,
    /// Reads that had to touch the disk.
    pub disk_reads: AtomicU64,
    /// Messages sent to queues, repeats and moves left out.
    pub messages_sent: AtomicU64,
    /// Messages leased.
    pub messages_received: AtomicU64,
    /// Receives that found nothing.
    pub empty_receives: AtomicU64,
    /// Messages acknowledged.
    pub messages_deleted: AtomicU64,
    /// Messages dead-lettered.
    pub messages_dead_lettered: AtomicU64,
}

impl Metrics {
    pub(crate) fn published(&self, records: u64, bytes: u64) {
        self.records_published.fetch_add(records, Ordering::Relaxed);
        self.bytes_published.fetch_add(bytes, Ordering::Relaxed);
        self.batches_published.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        self.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
        self.fetches.fetch_add(1, Ordering::Relaxed);
    }
}
