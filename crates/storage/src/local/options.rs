//! Limits and intervals of the local store. Plain data: every bound of memory and disk use has a name here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Supervisor;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A monotonic clock for statistics only: the time since some fixed origin.
#[derive(Clone)]
pub struct Stopwatch(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Stopwatch {
    /// Wraps a function that returns the time since some fixed origin.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    pub(super) fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopwatch")
    }
}

/// Settings of a [`super::LocalStore`].
///
/// Memory for record bytes is bounded by `2 * unflushed_bytes + tail_bytes`, plus what callers have handed over
/// and not yet seen acknowledged: see [`super::LocalStore::pressure`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes handed over and not yet written from which [`super::Pressure::is_high`] is true.
    pub queue_bytes_max: u64,
    /// Longest time until a write with [`crate::Durability::Flush`], or a trim, is synced.
    pub flush_interval: Duration,
    /// Longest time from a sync of the journal until the mark beside it knows, so that a journal whose end is missing is
    /// told from one that ended there. Costs one small write and sync, and nothing while nothing is written.
    pub mark_interval: Duration,
    /// Size of the first journal files; with each that is full the next one made is twice as large.
    pub journal_file_bytes_first: u64,
    /// Size at which journal files stop growing. Only a group that needs more gets a larger one.
    pub journal_file_bytes: u64,
    /// Journal bytes not yet covered by segments. Half of it starts a flush, all of it stalls the journal until
    /// the flush is done.
    pub journal_bytes_max: u64,
    /// Memory of batches not yet in segments. This much starts a flush, twice as much stalls the journal.
    pub unflushed_bytes: u64,
    /// Memory of batches that are in segments and kept for readers near the end of their stream.
    pub tail_bytes: u64,
    /// Bytes of the newest segments that the system may keep in its own memory for readers behind the tail.
    pub page_cache_bytes: u64,
    /// A stream with at least this much in one flush gets a segment of its own, others share a pack.
    pub own_segment_bytes: u64,
    /// Packs of about the same size from which they are merged into one.
    pub pack_files_max: usize,
    /// Changes are added to the checkpoint until they take more bytes than it has as a whole, and than this; then it is
    /// written again. 0 writes it again each time.
    pub checkpoint_changes_bytes: u64,
    /// Size of the checksummed blocks of a segment; a block holds whole batches and at least one.
    pub block_bytes: u64,
    /// Free space below which appends and puts are refused.
    pub min_free_bytes: u64,
    /// Measures syncs for the statistics; without one they are only counted.
    pub stopwatch: Option<Stopwatch>,
    /// Learns when one of the store's threads ends or hangs.
    pub supervisor: Supervisor,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_bytes_max: 64 * MIB,
            flush_interval: Duration::from_millis(100),
            mark_interval: Duration::from_millis(250),
            journal_file_bytes_first: 4 * MIB,
            journal_file_bytes: 256 * MIB,
            journal_bytes_max: 1024 * MIB,
            unflushed_bytes: 32 * MIB,
            tail_bytes: 32 * MIB,
            page_cache_bytes: 512 * MIB,
            own_segment_bytes: MIB,
            pack_files_max: 8,
            checkpoint_changes_bytes: MIB,
            block_bytes: 64 * KIB,
            min_free_bytes: 256 * MIB,
            stopwatch: None,
            supervisor: Supervisor::new(),
        }
    }
}
