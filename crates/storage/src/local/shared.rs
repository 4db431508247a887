//! What the threads of one store share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::documents::DocumentTable;
use super::flush_signal::FlushSignal;
use super::intake::Intake;
use super::lock::lock;
use super::merge_signal::MergeSignal;
use super::options::Options;
use super::seams::{Cut, Folder, Journal, Segments};
use super::segment::{self, Extent, MadeSegment, SegmentReader, Want};
use super::stats::{Counters, Stats};
use super::streams::{Plan, Stream, Streams};
use crate::supervisor::{Owner, Supervisor, Work};
use crate::{Chunk, Error, Lsn, Progress, Result};

/// Bytes of documents that may be written below the watermark before there is space again: ten thousand small ones. Half of
/// them are kept for those without which nobody could free space.
pub(super) const VITAL_BYTES_MAX: u64 = 4 << 20;
/// What a document takes in the journal beside its key and its value.
const DOCUMENT_BYTES: u64 = 256;
/// How often a cold read whose segment was merged away looks for the new one.
const REPLANS_MAX: usize = 4;

/// The store's threads, as the supervisor knows them.
pub(super) struct Owners {
    pub(super) journal: Owner,
    pub(super) files: Owner,
    pub(super) flusher: Owner,
    pub(super) merger: Owner,
}

impl Owners {
    pub(super) fn new(supervisor: &Supervisor) -> Self {
        Self {
            journal: supervisor.owner("journal", Work::AwaitsDisk),
            files: supervisor.owner("journal-files", Work::Background),
            flusher: supervisor.owner("flusher", Work::Background),
            merger: supervisor.owner("merger", Work::Background),
        }
    }
}

pub(super) struct Shared {
    /// What the parts of the data folder know each other by.
    pub(super) folder: Folder,
    pub(super) options: Options,
    pub(super) intake: Intake,
    pub(super) streams: Streams,
    pub(super) documents: DocumentTable,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) segments: Arc<dyn Segments>,
    pub(super) reader: SegmentReader,
    /// Segments that belong to the store, whether or not a stream still points to them.
    pub(super) segment_files: Mutex<BTreeMap<u64, MadeSegment>>,
    pub(super) next_segment: AtomicU64,
    pub(super) flush: FlushSignal,
    pub(super) merges: MergeSignal,
    /// The last synced place.
    pub(super) cut: Mutex<Cut>,
    /// Published positions, set before those who wait are woken.
    pub(super) written: AtomicU64,
    pub(super) durable: AtomicU64,
    /// The last trim or removal that was handed over.
    pub(super) last_trim: AtomicU64,
    /// Groups were written and not synced.
    pub(super) unsynced: AtomicBool,
    /// Sequence the mark on disk names: everything before it is known to be durable.
    pub(super) marked: AtomicU64,
    /// Free space is below the watermark.
    pub(super) low_space: AtomicBool,
    /// What is left for documents while there is little space.
    pub(super) vital_left: AtomicU64,
    /// The last flush failed for lack of space.
    pub(super) flush_starved: AtomicBool,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) owners: Owners,
    pub(super) stats: Counters,
}

impl Shared {
    pub(super) fn progress(&self) -> Progress {
        // In this order `durable` cannot be the greater one.
        let durable = Lsn(self.durable.load(Ordering::Acquire));
        let written = Lsn(self.written.load(Ordering::Acquire));
        Progress { written, durable }
    }

    pub(super) fn last_lsn(&self) -> Lsn {
        self.intake.last()
    }

    /// Syncs everything handed over so far. On a full disk, where the journal may wait for a file that only a flush of what
    /// it has written gives it, this does not wait for what is appended behind: a flush leaves that out. What is trimmed
    /// shows in a checkpoint, and has to be durable before.
    pub(super) fn sync(&self) -> Result<()> {
        let durable = || self.progress().durable;
        let trims_are_durable = || self.last_trim.load(Ordering::SeqCst) <= durable().0;
        let is_stuck = || self.journal.fill().is_starved() && trims_are_durable();
        self.intake.sync(durable, is_stuck)
    }

    /// Stops the store after a failed write: nothing is acknowledged any more.
    pub(super) fn poison(&self, error: &Error) {
        let why = error.to_string();
        tracing::error!(error = %why, "storage failed, shutting down");
        // Told first: owners elsewhere end when the store stops, and this is why.
        self.options.supervisor.fail("storage", why.clone());
        self.intake.stop(Error::Poisoned(why.clone()));
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                *failed = Some(why);
            }
            first
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.low_space.load(Ordering::Relaxed) || self.is_exhausted()
    }

    /// Whether the disk had no room for the last flush or the next journal file.
    fn is_exhausted(&self) -> bool {
        self.flush_starved.load(Ordering::Relaxed) || self.journal.fill().is_starved()
    }

    /// Free space below which publishes are refused: the watermark, but no less than the next flush takes, without which
    /// nothing can free space. Without a watermark it is 0.
    pub(super) fn free_bytes_min(&self) -> u64 {
        match self.options.min_free_bytes {
            0 => 0,
            watermark => watermark.max(self.unflushed_bytes()),
        }
    }

    /// Whether publishes are refused, or will be, for what a flush takes. Once it is done it takes nothing.
    pub(super) fn is_low_for_flush(&self) -> bool {
        self.low_space.load(Ordering::Relaxed)
            && self.free_bytes_min() > self.options.min_free_bytes
    }

    /// Whether a document of this size may be written. Errors: `DiskFull`.
    pub(super) fn admit_document(&self, bytes: usize, is_vital: bool) -> Result<()> {
        if !self.is_full() {
            self.vital_left.store(VITAL_BYTES_MAX, Ordering::Relaxed);
            return Ok(());
        }
        let bytes = DOCUMENT_BYTES + bytes as u64;
        // Below the watermark there is space for some. Where there is none, and of the last half, only for the vital ones.
        let kept = if self.is_exhausted() {
            VITAL_BYTES_MAX
        } else {
            VITAL_BYTES_MAX / 2
        };
        let take = |left: u64| {
            left.checked_sub(bytes)
                .filter(|left| is_vital || *left >= kept)
        };
        let left = &self.vital_left;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| Error::DiskFull)
    }

    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.streams.memory.unflushed_bytes()
    }

    pub(super) fn wants_flush(&self) -> bool {
        self.unflushed_bytes() >= self.options.unflushed_bytes
            || self.journal.fill().live_bytes() >= self.options.journal_bytes_max / 2
    }

    pub(super) fn ask_for_flush_if_needed(&self) {
        if self.wants_flush() {
            self.flush.ask();
        }
    }

    /// Whether the journal must wait for the flusher. Not when the disk is full: what frees space must go on.
    pub(super) fn is_stalled(&self) -> bool {
        let over = self.unflushed_bytes() >= self.options.unflushed_bytes.saturating_mul(2)
            || self.journal.fill().live_bytes() >= self.options.journal_bytes_max;
        if over {
            self.flush.ask();
        }
        over && !self.is_full()
    }

    /// Reads a part of a stream that only segments have. Blocks.
    pub(super) fn read_cold(&self, stream: &Stream, extent: Extent, want: Want) -> Result<Chunk> {
        let mut extent = extent;
        for _ in 0..REPLANS_MAX {
            match self.reader.read(&extent, want) {
                Err(ref error) if is_gone(error) => {}
                result => return result,
            }
            // The segment was removed after the plan was made: trimmed or merged. Anything else is damage.
            let state = lock(&stream.state);
            if state.removed {
                return Err(Error::Missing);
            }
            match state.plan(want.from, want.until, want.max_bytes, self.progress()) {
                Plan::Ready(result) => return result,
                Plan::Cold(same) if same == extent => break,
                Plan::Cold(other) => extent = other,
            }
        }
        let place = segment::name(extent.segment);
        Err(Error::corrupt(place, "the file is missing"))
    }

    /// Takes note of new segments.
    pub(super) fn register(&self, made: &[MadeSegment]) {
        lock(&self.segment_files).extend(made.iter().map(|file| (file.id, *file)));
    }

    /// Removes segments that never became part of the store. What cannot be removed goes at the next start.
    pub(super) fn discard(&self, made: &[MadeSegment]) {
        for file in made {
            self.reader.forget(file.id);
            let _ = self.segments.delete(file.id);
        }
        // One whose removal could still be undone by a crash keeps its space.
        let _ = self.segments.sync();
    }

    /// Removes segments no checkpoint and no stream points to.
    pub(super) fn remove_segments(&self, dead: &[u64]) -> Result<()> {
        for &id in dead {
            let failed = |error| Error::io(format!("remove {}", segment::name(id)), error);
            self.segments.delete(id).map_err(failed)?;
            self.reader.forget(id);
            lock(&self.segment_files).remove(&id);
        }
        Ok(())
    }

    fn unmarked_groups(&self) -> u64 {
        let durable = lock(&self.cut).position.sequence;
        durable.saturating_sub(self.marked.load(Ordering::Relaxed))
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            unflushed_bytes: self.unflushed_bytes(),
            tail_bytes: self.streams.memory.cached_bytes(),
            queued_bytes: self.intake.queued_bytes(),
            journal_files: self.journal.files(),
            segment_files: lock(&self.segment_files).len() as u64,
            streams: self.streams.count(),
            unmarked_groups: self.unmarked_groups(),
            ..self.stats.read()
        }
    }
}

pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}
