//! The flusher thread: moves what only memory and journal hold into segments, and forgets what is obsolete.
//!
//! 1. Sync the journal and take its position, the *cut*.
//! 2. Freeze: from every stream that changed, the batches up to the cut that were not trimmed meanwhile.
//! 3. Write them: streams with much data get their own segment, the others share a pack. Sync.
//! 4. Let the streams point to the new extents.
//! 5. Write a checkpoint that replays from the cut.
//! 6. Only now: free the journal files before the cut, remove segments nothing points to, let memory go.
//!
//! A crash before the end of step 5 leaves files nobody points to; the next start removes them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checkpoint::{Checkpoints, Collected, Scope, Source};
use super::flush_signal::Task;
use super::lock::lock;
use super::seams::{Cut, Digest, Readers};
use super::segment::{BodyKey, Extent, Finished, MadeSegment, SegmentWriter, write_failed};
use super::shared::Shared;
use super::stats::Counters;
use super::streams::Stream;
use crate::{Batch, Error, Result};

/// The flusher looks around by itself this often.
const TICK: Duration = Duration::from_secs(1);
/// Ticks after which given-up segment bytes lead to a checkpoint, however few they are.
const FORGET_TICKS: u32 = 10;

/// Bodies that several batches of one flush have.
#[derive(Default)]
struct SharedBodies(HashMap<BodyKey, usize>);

impl SharedBodies {
    /// The records of a batch as they lie in memory, where all batches of the flush keep them until its end.
    fn place(batch: &Batch) -> Option<BodyKey> {
        let (address, bytes) = batch.place_in_memory()?;
        Some((address as u64, bytes as u64))
    }

    fn count(&mut self, batch: &Batch) {
        if let Some(place) = Self::place(batch) {
            *self.0.entry(place).or_default() += 1;
        }
    }

    /// The body of a batch, if others have it too.
    fn of(&self, batch: &Batch) -> Option<BodyKey> {
        let place = Self::place(batch).filter(|_| !self.0.is_empty())?;
        let count = self.0.get(&place).copied();
        (count > Some(1)).then_some(place)
    }

    /// Whether a stream with these batches gets a segment of its own: it has much, and most of it is its own.
    fn is_large(&self, part: &Frozen, own_bytes_min: u64) -> bool {
        if part.bytes < own_bytes_min || self.0.is_empty() {
            return part.bytes >= own_bytes_min;
        }
        let shared = part.batches.iter().filter(|batch| self.of(batch).is_some());
        let shared: u64 = shared.map(|batch| batch.bytes() as u64).sum();
        let own = part.bytes - shared;
        own >= own_bytes_min && own >= shared
    }

    fn push(&self, writer: &mut SegmentWriter, batch: &Batch) -> std::io::Result<()> {
        let Some(body) = self.of(batch) else {
            return writer.push(batch);
        };
        let records = match writer.body(body) {
            Some(records) => records,
            None => writer.put_body(body, batch.body())?,
        };
        writer.push_stub(&batch.header, batch.head(), records)
    }
}

/// What one stream contributes to a flush.
struct Frozen {
    stream: Arc<Stream>,
    /// Everything of the stream before the cut lies below this offset.
    until: u64,
    batches: Vec<Batch>,
    bytes: u64,
    extents: Vec<Extent>,
}

/// What the flusher came to: when its last flush left nothing to replay, the checkpoint by which the next start knows.
pub(super) struct LastFlush(pub(super) Option<Digest>);

pub(super) struct Flusher {
    shared: Arc<Shared>,
    checkpoints: Checkpoints,
    /// Where the last checkpoint replays from.
    cut: Cut,
    ticks: u32,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, checkpoints: Checkpoints, cut: Cut) -> Self {
        Self {
            shared,
            checkpoints,
            cut,
            ticks: 0,
        }
    }

    /// Runs until stopped.
    pub(super) fn run(mut self) -> LastFlush {
        loop {
            self.shared.owners.flusher.rest();
            let task = self.shared.flush.next_task(TICK);
            self.shared.owners.flusher.turn();
            let result = match task {
                Task::Flush => self.flush(),
                Task::Tick => self.tick(),
                Task::Stop { flush } => {
                    return LastFlush(if flush { self.last_flush() } else { None });
                }
            };
            let starved = matches!(result, Err(Error::DiskFull));
            self.shared.flush_starved.store(starved, Ordering::Relaxed);
            self.report(result);
        }
    }

    fn report(&self, result: Result<()>) {
        let signal = &self.shared.flush;
        signal.ended(result.as_ref().err().cloned());
        match result {
            Err(Error::DiskFull) => tracing::warn!("no space to flush, trying again"),
            Ok(()) | Err(Error::Closed) => {}
            // Known already.
            Err(Error::Poisoned(_)) if self.shared.failed.borrow().is_some() => {}
            Err(error) => self.shared.poison(&error),
        }
        signal.wake();
        // Not under the lock above: those who wait here may be asking for a flush.
        self.shared.intake.unstall();
    }

    fn tick(&mut self) -> Result<()> {
        let shared = &self.shared;
        self.ticks += 1;
        if shared.intake.stopped().is_some() {
            return Ok(());
        }
        // A flush frees files of the journal where there is no room for new ones.
        let fill = shared.journal.fill();
        let frees_files = fill.is_starved() && fill.live_bytes() > 0;
        if shared.wants_flush() || frees_files || shared.is_low_for_flush() {
            return self.flush();
        }
        let dropped = shared.streams.dropped_bytes.load(Ordering::Relaxed);
        let many = dropped >= shared.options.unflushed_bytes / 4;
        let waited = self.ticks >= FORGET_TICKS || shared.is_full();
        if dropped > 0 && (many || waited) {
            return self.checkpoint(self.cut);
        }
        Ok(())
    }

    fn last_flush(&mut self) -> Option<Digest> {
        match self.flush() {
            Ok(()) if self.cut.lsn >= self.shared.last_lsn() => self.checkpoints.digest(),
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the last flush failed, the next start replays the journal");
                None
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        // What failed may have been a sync, and that is never tried again.
        if let Some(error @ Error::Poisoned(_)) = self.shared.intake.stopped() {
            return Err(error);
        }
        self.shared.sync()?;
        let cut = *lock(&self.shared.cut);
        let (mut frozen, shared) = self.freeze(cut);
        if let Err(error) = self.write(&mut frozen, &shared) {
            for part in &frozen {
                self.shared.streams.mark_dirty(&part.stream);
            }
            return Err(error);
        }
        let streams = &self.shared.streams;
        for part in &frozen {
            streams.flushed(&part.stream, part.until, &part.extents);
        }
        drop(frozen);
        self.checkpoint(cut)?;
        self.shared.streams.evict(self.shared.options.tail_bytes);
        Counters::add(&self.shared.stats.flushes, 1);
        self.shared.merges.ask();
        Ok(())
    }

    fn freeze(&self, cut: Cut) -> (Vec<Frozen>, SharedBodies) {
        let mut frozen = Vec::new();
        let mut shared = SharedBodies::default();
        for stream in self.shared.streams.take_dirty() {
            let state = lock(&stream.state);
            if state.removed {
                continue;
            }
            let later = state.tail.partition_point(|held| held.lsn <= cut.lsn);
            let until = state
                .tail
                .get(later)
                .map_or(state.end, |held| held.batch.header.base_offset);
            let first = state
                .tail
                .partition_point(|held| held.batch.header.base_offset < state.flushed);
            let unflushed = state.tail.range(first.min(later)..later);
            let of_others = unflushed.clone().filter(|held| held.body.is_some());
            of_others.for_each(|held| shared.count(&held.batch));
            let batches: Vec<Batch> = unflushed.map(|held| held.batch.clone()).collect();
            let is_left = later < state.tail.len();
            drop(state);
            if is_left {
                self.shared.streams.mark_dirty(&stream);
            }
            frozen.push(Frozen {
                stream,
                until,
                bytes: batches.iter().map(|batch| batch.bytes() as u64).sum(),
                batches,
                extents: Vec::new(),
            });
        }
        (frozen, shared)
    }

    /// Writes the frozen batches to segments and notes their extents. All or nothing.
    fn write(&mut self, frozen: &mut [Frozen], shared: &SharedBodies) -> Result<()> {
        let mut made = Vec::new();
        let result = self.write_files(frozen, shared, &mut made);
        if result.is_err() {
            self.shared.discard(&made);
            return result;
        }
        let bytes = made.iter().map(|file| file.bytes).sum();
        Counters::add(&self.shared.stats.flushed_bytes, bytes);
        self.shared.register(&made);
        Ok(())
    }

    fn write_files(
        &mut self,
        frozen: &mut [Frozen],
        shared: &SharedBodies,
        made: &mut Vec<MadeSegment>,
    ) -> Result<()> {
        let own_bytes = self.shared.options.own_segment_bytes;
        let with_data = frozen.iter_mut().filter(|part| !part.batches.is_empty());
        let (large, small): (Vec<_>, Vec<_>) =
            with_data.partition(|part| shared.is_large(part, own_bytes));
        for part in large {
            self.write_file(&mut [part], shared, made)?;
        }
        let mut small = small;
        if !small.is_empty() {
            self.write_file(&mut small, shared, made)?;
        }
        if made.is_empty() {
            return Ok(());
        }
        let failed = |error| Error::io("sync the names of segments", error);
        self.shared.segments.sync().map_err(failed)
    }

    fn write_file(
        &mut self,
        parts: &mut [&mut Frozen],
        bodies: &SharedBodies,
        made: &mut Vec<MadeSegment>,
    ) -> Result<()> {
        let shared = &self.shared;
        let id = shared.next_segment.fetch_add(1, Ordering::Relaxed);
        let file = made.push_mut(MadeSegment {
            id,
            bytes: 0,
            held: parts.iter().map(|part| part.bytes).sum(),
            is_pack: parts.len() > 1,
        });
        let write = || -> std::io::Result<Finished> {
            let sink = shared.segments.put(id, Readers::Expected)?;
            let mut writer = SegmentWriter::new(sink, id, shared.options.block_bytes);
            for part in parts.iter() {
                shared.owners.flusher.turn();
                writer.begin(part.stream.id);
                for batch in &part.batches {
                    bodies.push(&mut writer, batch)?;
                }
            }
            writer.finish()
        };
        let finished = write().map_err(|error| write_failed(id, error))?;
        for (part, (_, extent)) in parts.iter_mut().zip(finished.extents) {
            part.extents.push(extent);
        }
        file.bytes = finished.bytes;
        Ok(())
    }

    fn checkpoint(&mut self, cut: Cut) -> Result<()> {
        let known: Vec<u64> = lock(&self.shared.segment_files).keys().copied().collect();
        let dropped = self.shared.streams.dropped_bytes.swap(0, Ordering::Relaxed);
        let live = self.write_checkpoint(cut).inspect_err(|_| {
            let bytes = &self.shared.streams.dropped_bytes;
            bytes.fetch_add(dropped, Ordering::Relaxed);
        })?;
        self.cut = cut;
        self.ticks = 0;
        self.shared.journal.retire(cut.position);
        let dead: Vec<u64> = known.into_iter().filter(|id| !live.contains(id)).collect();
        self.shared.remove_segments(&dead)
    }

    /// Changes if that is enough; where there is no space for a whole they are in any case.
    fn write_checkpoint(&mut self, cut: Cut) -> Result<BTreeSet<u64>> {
        if !self.checkpoints.wants_whole() {
            return self.write_part(cut, Scope::Changes);
        }
        match self.write_part(cut, Scope::Whole) {
            Err(Error::DiskFull) if self.checkpoints.put_off_whole() => {
                self.write_part(cut, Scope::Changes)
            }
            written => written,
        }
    }

    /// Writes a checkpoint; returns the segments that must stay.
    fn write_part(&mut self, cut: Cut, wanted: Scope) -> Result<BTreeSet<u64>> {
        let shared = &self.shared;
        let Collected {
            scope,
            part,
            live,
            unsaved,
        } = Collected::of(source(shared), cut, wanted);
        // It may show trims that are not durable yet, and nothing may become true before what was handed over earlier.
        let written = shared.sync().and_then(|()| {
            let reach = lock(&shared.cut).position.sequence;
            match scope {
                Scope::Whole => self.checkpoints.write_whole(part, reach),
                Scope::Changes => self.checkpoints.write_changes(part, reach),
            }
        });
        match written {
            Ok(bytes) => Counters::add(&shared.stats.checkpoint_bytes, bytes),
            Err(error) => {
                unsaved.put_back(source(shared));
                return Err(error);
            }
        }
        Ok(live)
    }
}

/// What checkpoints are taken from.
fn source(shared: &Shared) -> Source<'_> {
    Source {
        folder: shared.folder,
        streams: &shared.streams,
        documents: &shared.documents,
        next_segment: &shared.next_segment,
    }
}
