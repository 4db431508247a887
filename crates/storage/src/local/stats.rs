//! What the store counts about itself: plain numbers, read where metrics are published.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the sync duration buckets, microseconds; one more bucket takes everything slower.
pub const SYNC_BUCKETS_MICROS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// A reading of the store's counters and sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of batches handed over since the store was opened.
    pub appended_bytes: u64,
    /// Journal groups written.
    pub groups: u64,
    /// Journal bytes written, with framing and padding.
    pub journal_written_bytes: u64,
    /// Journal syncs.
    pub syncs: u64,
    /// Syncs by duration, see [`SYNC_BUCKETS_MICROS`]; all zero without a stopwatch.
    pub sync_buckets: [u64; SYNC_BUCKETS_MICROS.len() + 1],
    /// Time spent in journal syncs, microseconds.
    pub sync_micros: u64,
    /// Memory of batches not yet in segments.
    pub unflushed_bytes: u64,
    /// Memory of batches in segments kept for readers.
    pub tail_bytes: u64,
    /// Bytes handed over and not yet written.
    pub queued_bytes: u64,
    /// Journal files on disk: in use, and ready for use.
    pub journal_files: u64,
    /// Segment files on disk.
    pub segment_files: u64,
    /// Flushes completed.
    pub flushes: u64,
    /// Bytes written to segments by flushes.
    pub flushed_bytes: u64,
    /// Bytes written to checkpoints.
    pub checkpoint_bytes: u64,
    /// Merges of packs completed.
    pub merges: u64,
    /// Streams that exist.
    pub streams: u64,
    /// Journal groups that were synced since the mark beside the journal was written last.
    pub unmarked_groups: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) appended_bytes: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) journal_written_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_buckets: [AtomicU64; SYNC_BUCKETS_MICROS.len() + 1],
    pub(super) sync_micros: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flushed_bytes: AtomicU64,
    pub(super) checkpoint_bytes: AtomicU64,
    pub(super) merges: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn sync_took(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_MICROS.partition_point(|&bound| bound < micros);
        Self::add(&self.sync_buckets[bucket], 1);
        Self::add(&self.sync_micros, micros);
    }

    pub(super) fn read(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            appended_bytes: load(&self.appended_bytes),
            groups: load(&self.groups),
            journal_written_bytes: load(&self.journal_written_bytes),
            syncs: load(&self.syncs),
            sync_buckets: std::array::from_fn(|i| load(&self.sync_buckets[i])),
            sync_micros: load(&self.sync_micros),
            flushes: load(&self.flushes),
            flushed_bytes: load(&self.flushed_bytes),
            checkpoint_bytes: load(&self.checkpoint_bytes),
            merges: load(&self.merges),
            ..Stats::default()
        }
    }
}
