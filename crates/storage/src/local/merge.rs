//! The merge thread: keeps the number of packs small and gives back the space of what was trimmed from them.
//!
//! Packs of about the same size are merged once there are enough of them, so that a byte is copied a few times
//! in its life and the number of packs grows with the logarithm of what is stored. A pack whose larger part was
//! given up is rewritten by itself. Streams that have grown large enough get a segment of their own on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::lock::lock;
use super::seams::Readers;
use super::segment::{self, Extent, MadeSegment, SegmentWriter, Stub, write_failed};
use super::shared::{Shared, is_gone};
use super::stats::Counters;
use super::streams::Stream;
use crate::{Batch, Error};

/// Packs this large are only rewritten when mostly dead.
const SETTLED_BYTES: u64 = 256 * 1024 * 1024;
/// Blocks read at once.
const COPY_BYTES: usize = 1024 * 1024;

/// Neighbouring extents of one stream that become one.
struct Run {
    stream: Arc<Stream>,
    extents: Vec<Extent>,
    /// Where the stream began when the merge did: batches before are left behind.
    start: u64,
    bytes: u64,
}

pub(super) struct Merger {
    shared: Arc<Shared>,
    /// Packs that could not be read. They stay as they are; their streams' readers learn of it.
    damaged: BTreeSet<u64>,
}

impl Merger {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            damaged: BTreeSet::new(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            self.shared.owners.merger.rest();
            if !self.shared.merges.wait() {
                return;
            }
            loop {
                self.shared.owners.merger.turn();
                let chosen = self.choose();
                if chosen.is_empty() || self.shared.merges.is_stopping() {
                    break;
                }
                if let Err(error) = self.merge(&chosen) {
                    self.failed(error, chosen);
                    break;
                }
            }
        }
    }

    fn failed(&mut self, failed: Failed, chosen: BTreeSet<u64>) {
        match failed {
            Failed::Write(Error::DiskFull) => tracing::warn!("no space to merge packs"),
            Failed::Write(error) => self.shared.poison(&error),
            Failed::Read(Error::Closed) => {}
            // Trimmed away and removed meanwhile.
            Failed::Read(error) if is_gone(&error) => {}
            Failed::Read(error) => {
                tracing::error!(%error, "segment merge failed");
                self.damaged.extend(chosen);
            }
        }
    }

    fn choose(&self) -> BTreeSet<u64> {
        let packs: Vec<MadeSegment> = lock(&self.shared.segment_files)
            .values()
            .filter(|file| file.is_pack && !self.damaged.contains(&file.id))
            .copied()
            .collect();
        let live = self.live_bytes();
        let mut chosen = BTreeSet::new();
        let mut tiers: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for pack in packs {
            let live = live.get(&pack.id).copied().unwrap_or(0);
            if live == 0 {
                // The next checkpoint removes it.
                continue;
            }
            let needed = pack.needed_bytes(live).max(1);
            if needed < pack.bytes / 2 {
                chosen.insert(pack.id);
            } else if needed < SETTLED_BYTES {
                let tier = needed.ilog(4);
                tiers.entry(tier).or_default().push(pack.id);
            }
        }
        let enough = self.shared.options.pack_files_max.max(2);
        let crowded = tiers.into_values().filter(|packs| packs.len() >= enough);
        chosen.extend(crowded.flatten());
        chosen
    }

    fn live_bytes(&self) -> BTreeMap<u64, u64> {
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for stream in self.shared.streams.all() {
            let state = lock(&stream.state);
            for extent in &state.extents {
                *live.entry(extent.segment).or_default() += extent.live_bytes(state.start);
            }
        }
        live
    }

    fn runs(&self, chosen: &BTreeSet<u64>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for stream in self.shared.streams.all() {
            let state = lock(&stream.state);
            let mut open = false;
            for extent in &state.extents {
                if !chosen.contains(&extent.segment) {
                    open = false;
                    continue;
                }
                if !open {
                    runs.push(Run {
                        stream: Arc::clone(&stream),
                        extents: Vec::new(),
                        start: state.start,
                        bytes: 0,
                    });
                }
                open = true;
                let run = runs.last_mut().expect("one was pushed");
                run.extents.push(*extent);
                run.bytes += extent.live_bytes(state.start);
            }
        }
        runs
    }

    fn merge(&self, chosen: &BTreeSet<u64>) -> Outcome<()> {
        let own_bytes = self.shared.options.own_segment_bytes;
        let (mut large, mut small) = (Vec::new(), Vec::new());
        for run in self.runs(chosen) {
            if self.is_large(&run, own_bytes)? {
                large.push(run);
            } else {
                small.push(run);
            }
        }
        let mut made = Vec::new();
        let result = self.write_all(large, small, &mut made);
        let runs = match result {
            Ok(runs) => runs,
            Err(error) => {
                self.shared.discard(&made);
                return Err(error);
            }
        };
        for (run, extent) in &runs {
            install(run, *extent);
        }
        self.shared.register(&made);
        let bytes = made.iter().map(|file| file.bytes).sum();
        // Lets the next tick write a checkpoint, which removes the old files.
        self.shared
            .streams
            .dropped_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        // Until then nothing must choose them again.
        let mut files = lock(&self.shared.segment_files);
        for id in chosen {
            if let Some(file) = files.get_mut(id) {
                file.is_pack = false;
            }
        }
        Counters::add(&self.shared.stats.merges, 1);
        Ok(())
    }

    /// Whether a run gets a segment of its own: it has much, and most of it is its own.
    fn is_large(&self, run: &Run, own_bytes_min: u64) -> Outcome<bool> {
        if run.bytes < own_bytes_min {
            return Ok(false);
        }
        let (mut bytes, mut own) = (0, 0);
        for extent in &run.extents {
            bytes += extent.bytes;
            let index = self.shared.reader.index(extent)?;
            own += index
                .iter()
                .map(|block| u64::from(block.length))
                .sum::<u64>();
        }
        Ok(own >= own_bytes_min && own >= bytes - own.min(bytes))
    }

    fn write_all(
        &self,
        large: Vec<Run>,
        small: Vec<Run>,
        made: &mut Vec<MadeSegment>,
    ) -> Outcome<Vec<(Run, Extent)>> {
        let mut written = Vec::new();
        for run in large {
            written.extend(self.write(vec![run], made)?);
        }
        if !small.is_empty() {
            written.extend(self.write(small, made)?);
        }
        let failed = |error| Failed::Write(Error::io("sync the names of segments", error));
        self.shared.segments.sync().map_err(failed)?;
        Ok(written)
    }

    fn write(&self, runs: Vec<Run>, made: &mut Vec<MadeSegment>) -> Outcome<Vec<(Run, Extent)>> {
        let shared = &self.shared;
        let id = shared.next_segment.fetch_add(1, Ordering::Relaxed);
        let file = made.push_mut(MadeSegment {
            id,
            bytes: 0,
            held: runs.iter().map(|run| run.bytes).sum(),
            is_pack: runs.len() > 1,
        });
        let failed = |error| Failed::Write(write_failed(id, error));
        let sink = shared.segments.put(id, Readers::Unlikely).map_err(failed)?;
        let mut writer = SegmentWriter::new(sink, id, shared.options.block_bytes);
        for run in &runs {
            writer.begin(run.stream.id);
            for extent in &run.extents {
                self.copy(run, extent, &mut writer, &failed)?;
            }
        }
        let finished = writer.finish().map_err(failed)?;
        file.bytes = finished.bytes;
        Ok(runs
            .into_iter()
            .zip(finished.extents.into_iter().map(|(_, extent)| extent))
            .collect())
    }

    fn copy(
        &self,
        run: &Run,
        extent: &Extent,
        writer: &mut SegmentWriter,
        failed: &dyn Fn(std::io::Error) -> Failed,
    ) -> Outcome<()> {
        let reader = &self.shared.reader;
        let index = reader.index(extent)?;
        let live = index
            .partition_point(|block| block.base <= run.start)
            .saturating_sub(1);
        let mut rest = &index[live..];
        while !rest.is_empty() {
            self.go_on()?;
            let mut bytes = 0;
            let more = |block: &&segment::Block| {
                bytes += block.length as usize;
                bytes <= COPY_BYTES
            };
            let count = rest.iter().take_while(more).count().max(1);
            let (some, after) = rest.split_at(count);
            rest = after;
            for bytes in reader.blocks(extent, some)? {
                match Stub::of(&bytes) {
                    Some(stub) if stub.header.next_offset() > run.start => {
                        self.copy_stub(extent, &stub, writer, failed)?;
                    }
                    Some(_) => {}
                    None => copy_batches((run, extent), bytes, writer, failed)?,
                }
            }
        }
        Ok(())
    }

    fn go_on(&self) -> Outcome<()> {
        if self.shared.merges.is_stopping() {
            return Err(Error::Closed.into());
        }
        self.shared.owners.merger.turn();
        Ok(())
    }

    /// The records come along with the first stub that needs them.
    fn copy_stub(
        &self,
        extent: &Extent,
        stub: &Stub,
        writer: &mut SegmentWriter,
        failed: &dyn Fn(std::io::Error) -> Failed,
    ) -> Outcome<()> {
        let body = (extent.segment, stub.records);
        let records = if let Some(records) = writer.body(body) {
            records
        } else {
            self.go_on()?;
            let records = self.shared.reader.records(extent, stub)?;
            writer.put_body(body, &records).map_err(failed)?
        };
        let pushed = writer.push_stub(&stub.header, &stub.head, records);
        pushed.map_err(failed)
    }
}

fn copy_batches(
    (run, extent): (&Run, &Extent),
    mut bytes: Bytes,
    writer: &mut SegmentWriter,
    failed: &dyn Fn(std::io::Error) -> Failed,
) -> Outcome<()> {
    while !bytes.is_empty() {
        let batch = Batch::split_trusted(&mut bytes)
            .map_err(|error| Error::corrupt(segment::name(extent.segment), error.to_string()))?;
        if batch.header.next_offset() > run.start {
            writer.push(&batch).map_err(failed)?;
        }
    }
    Ok(())
}

/// Which side of a merge went wrong: a pack that cannot be read concerns its readers, a failed write the store.
enum Failed {
    Read(Error),
    Write(Error),
}

type Outcome<T> = Result<T, Failed>;

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// Lets a stream point to the merged extent instead of those it was made of.
fn install(run: &Run, merged: Extent) {
    let mut state = lock(&run.stream.state);
    if state.removed || merged.end <= state.start {
        return;
    }
    state.note_changed();
    let at = state.extents.partition_point(|e| e.end <= merged.base);
    state.extents.retain(|e| !run.extents.contains(e));
    let at = at.min(state.extents.len());
    state.extents.insert(at, merged);
}
