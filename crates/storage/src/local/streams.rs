//! Streams as memory knows them: bounds, where the segments lie, and the tail.
//!
//! ```text
//! start          flushed                      end
//!   |   extents    |   unflushed                |
//!   [---------------------------)[--------------)
//!          [ cached             ][ unflushed    )   the tail, without gaps up to the end
//! ```
//!
//! The tail holds every batch that is only in the journal, and before those a window of batches that segments
//! also have, kept for readers near the end; the window of all streams together is bounded and the oldest goes
//! first. One mutex per stream, held shortly and never while the disk is touched.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::body::Body;
use super::lock::lock;
use super::segment::Extent;
use crate::{Append, Batch, Bounds, Chunk, Durability, Error, Lsn, Progress, Result, StreamId};

/// Memory a batch takes besides its bytes, as far as budgets are concerned.
const BATCH_OVERHEAD: u64 = 256;
const SHARDS: usize = 16;

/// A batch in the tail.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) batch: Batch,
    pub(super) lsn: Lsn,
    pub(super) durability: Durability,
    /// What it has in common with batches of other streams.
    pub(super) body: Option<Arc<Body>>,
}

impl Held {
    fn is_visible(&self, progress: Progress) -> bool {
        match self.durability {
            Durability::Sync | Durability::Vital => self.lsn <= progress.durable,
            Durability::Flush => self.lsn <= progress.written,
        }
    }

    /// Memory it takes by itself, without what it shares.
    fn own_cost(&self) -> u64 {
        let shared = self.body.as_ref().map_or(0, |body| body.bytes);
        (self.batch.bytes() as u64 - shared) + BATCH_OVERHEAD
    }
}

/// Why a batch is in memory.
#[derive(Debug, Clone, Copy)]
enum Kept {
    /// No segment has it.
    Unflushed,
    /// For readers near the end.
    Cached,
}

/// One stream, shared by the threads that work on it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) state: Mutex<StreamState>,
}

#[derive(Debug, Default)]
pub(super) struct StreamState {
    /// Given up as a whole; a stream made later under the same name is another one.
    pub(super) removed: bool,
    /// The append that made the stream.
    pub(super) created: Lsn,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Everything below is in extents or was given up.
    pub(super) flushed: u64,
    /// Contiguous runs of batches in segments, by offset.
    pub(super) extents: VecDeque<Extent>,
    pub(super) tail: VecDeque<Held>,
    pub(super) unflushed_bytes: u64,
    /// On the list of streams the next flush looks at.
    dirty: bool,
    pub(super) saved: Saved,
}

/// What checkpoints show of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Saved {
    /// Nothing: it was made since the last one.
    Never,
    /// What it was, perhaps: it changed since, or the last one was not written.
    Outdated,
    /// What it is.
    #[default]
    Current,
}

/// Where a read finds its bytes.
pub(super) enum Plan {
    Ready(Result<Chunk>),
    Cold(Extent),
}

impl StreamState {
    /// One that a checkpoint shows.
    pub(super) fn restored(start: u64, end: u64, extents: VecDeque<Extent>) -> Self {
        Self {
            start,
            end,
            flushed: end,
            extents,
            saved: Saved::Current,
            ..Self::default()
        }
    }

    /// One that an append makes.
    fn created(start: u64, lsn: Lsn) -> Self {
        Self {
            created: lsn,
            saved: Saved::Never,
            ..Self::restored(start, start, VecDeque::new())
        }
    }

    /// The next checkpoint has to show it.
    pub(super) fn note_changed(&mut self) {
        if self.saved == Saved::Current {
            self.saved = Saved::Outdated;
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let sealed: u64 = self.extents.iter().map(|e| e.live_bytes(self.start)).sum();
        Bounds {
            start: self.start,
            end: self.end,
            bytes: sealed + self.unflushed_bytes,
        }
    }

    pub(super) fn out_of_range(&self, offset: u64) -> Error {
        Error::OutOfRange {
            offset,
            start: self.start,
            end: self.end,
        }
    }

    pub(super) fn plan(&self, from: u64, until: u64, max_bytes: usize, at: Progress) -> Plan {
        if from < self.start || from > self.end {
            return Plan::Ready(Err(self.out_of_range(from)));
        }
        let in_tail = self
            .tail
            .front()
            .map_or(self.end, |held| held.batch.header.base_offset);
        if from < in_tail {
            let index = self.extents.partition_point(|e| e.end <= from);
            return match self.extents.get(index) {
                Some(extent) => Plan::Cold(*extent),
                None => Plan::Ready(Err(self.out_of_range(from))),
            };
        }
        Plan::Ready(Ok(self.read_tail(from, until, max_bytes, at)))
    }

    fn read_tail(&self, from: u64, until: u64, max_bytes: usize, at: Progress) -> Chunk {
        let mut chunk = Chunk {
            next_offset: from,
            ..Chunk::default()
        };
        let first = self
            .tail
            .partition_point(|held| held.batch.header.next_offset() <= from);
        for held in self.tail.range(first..) {
            let bytes = held.batch.bytes();
            let next = held.batch.header.next_offset();
            let full = chunk.bytes > 0 && chunk.bytes + bytes > max_bytes;
            if full || next > until || !held.is_visible(at) {
                break;
            }
            let pieces = held.batch.pieces().into_iter();
            chunk
                .pieces
                .extend(pieces.filter(|piece| !piece.is_empty()).cloned());
            chunk.bytes += bytes;
            chunk.next_offset = next;
        }
        chunk
    }

    /// Batches from the tail that a reader may see now, oldest first.
    pub(super) fn visible(&self, at: Progress) -> impl DoubleEndedIterator<Item = &Held> {
        let count = self.tail.iter().take_while(|h| h.is_visible(at)).count();
        self.tail.range(..count)
    }
}

/// Sums of memory over all streams.
#[derive(Debug, Default)]
pub(super) struct Memory {
    sums: [AtomicU64; 2],
}

impl Memory {
    /// Memory of batches that no segment has.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.sums[Kept::Unflushed as usize].load(Ordering::Relaxed)
    }

    /// Memory of batches kept for readers.
    pub(super) fn cached_bytes(&self) -> u64 {
        self.sums[Kept::Cached as usize].load(Ordering::Relaxed)
    }

    /// Counts a batch; its stream is locked.
    fn add(&self, kept: Kept, held: &Held) {
        let first =
            |body: &&Arc<Body>| body.holders[kept as usize].fetch_add(1, Ordering::Relaxed) == 0;
        let body = held.body.as_ref().filter(first);
        let bytes = held.own_cost() + body.map_or(0, |body| body.bytes);
        self.sums[kept as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a batch no longer; its stream is locked.
    fn take(&self, kept: Kept, held: &Held) {
        let last =
            |body: &&Arc<Body>| body.holders[kept as usize].fetch_sub(1, Ordering::Relaxed) == 1;
        let body = held.body.as_ref().filter(last);
        let bytes = held.own_cost() + body.map_or(0, |body| body.bytes);
        self.sums[kept as usize].fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Part of a flushed stream's tail, in the order in which it may be forgotten.
#[derive(Debug)]
struct Cached {
    stream: Arc<Stream>,
    until: u64,
}

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    shards: [RwLock<HashMap<StreamId, Arc<Stream>>>; SHARDS],
    pub(super) memory: Memory,
    dirty: Mutex<Vec<Arc<Stream>>>,
    cache: Mutex<VecDeque<Cached>>,
    /// Streams that were removed, of those that the last checkpoint may show.
    removed: Mutex<BTreeSet<StreamId>>,
    /// Segment bytes given up by trims and removals since the last checkpoint.
    pub(super) dropped_bytes: AtomicU64,
}

impl Streams {
    fn shard(&self, id: StreamId) -> &RwLock<HashMap<StreamId, Arc<Stream>>> {
        let last = usize::from(id.owner.as_bytes()[15]);
        &self.shards[(last ^ id.part as usize) % SHARDS]
    }

    pub(super) fn get(&self, id: StreamId) -> Option<Arc<Stream>> {
        let shard = self
            .shard(id)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        shard.get(&id).cloned()
    }

    fn insert(&self, id: StreamId, state: StreamState) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            id,
            state: Mutex::new(state),
        });
        let mut shard = self
            .shard(id)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.insert(id, Arc::clone(&stream));
        stream
    }

    fn forget(&self, id: StreamId) -> Option<Arc<Stream>> {
        let mut shard = self
            .shard(id)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.remove(&id)
    }

    pub(super) fn restore(&self, id: StreamId, state: StreamState) {
        self.insert(id, state);
    }

    pub(super) fn count(&self) -> u64 {
        let len = |shard: &RwLock<HashMap<_, _>>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).len() as u64
        };
        self.shards.iter().map(len).sum()
    }

    /// All streams there are now, by id.
    pub(super) fn all(&self) -> Vec<Arc<Stream>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().cloned());
        }
        all.sort_by_key(|stream| stream.id);
        all
    }

    /// Puts a batch at the end of its stream's tail. `Err` is the offset it should have started at.
    pub(super) fn push(
        &self,
        (append, body): (&Append, Option<Arc<Body>>),
        lsn: Lsn,
        durability: Durability,
    ) -> std::result::Result<(), u64> {
        let header = &append.batch.header;
        let stream = self.get(append.stream).unwrap_or_else(|| {
            let state = StreamState::created(header.base_offset, lsn);
            self.insert(append.stream, state)
        });
        let mut state = lock(&stream.state);
        if state.end != header.base_offset {
            return Err(state.end);
        }
        let held = Held {
            batch: append.batch.clone(),
            lsn,
            durability,
            body,
        };
        state.end = header.next_offset();
        state.unflushed_bytes += held.batch.bytes() as u64;
        self.memory.add(Kept::Unflushed, &held);
        state.tail.push_back(held);
        if !std::mem::replace(&mut state.dirty, true) {
            drop(state);
            lock(&self.dirty).push(stream);
        }
        Ok(())
    }

    /// Takes back the last [`Streams::push`] of `append`, because another one of the same call failed.
    pub(super) fn undo(&self, append: &Append) {
        let Some(stream) = self.get(append.stream) else {
            return;
        };
        let mut state = lock(&stream.state);
        let held = state.tail.pop_back().expect("it was pushed a moment ago");
        state.end = held.batch.header.base_offset;
        state.unflushed_bytes -= held.batch.bytes() as u64;
        self.memory.take(Kept::Unflushed, &held);
        if state.created == held.lsn && state.tail.is_empty() {
            state.removed = true;
            drop(state);
            self.forget(append.stream);
        }
    }

    /// Gives up what lies before an offset. Whether anything changed; `Missing` when there is no such stream.
    pub(super) fn trim(&self, id: StreamId, before: u64) -> Result<bool> {
        let stream = self.get(id).ok_or(Error::Missing)?;
        let mut state = lock(&stream.state);
        let start = before.min(state.end);
        if start <= state.start {
            return Ok(false);
        }
        state.start = start;
        state.note_changed();
        while let Some(extent) = state.extents.pop_front_if(|e| e.end <= start) {
            self.dropped_bytes
                .fetch_add(extent.bytes, Ordering::Relaxed);
        }
        while let Some(held) = state
            .tail
            .pop_front_if(|held| held.batch.header.next_offset() <= start)
        {
            self.account_gone(&mut state, &held);
        }
        Ok(true)
    }

    fn account_gone(&self, state: &mut StreamState, held: &Held) {
        if held.batch.header.base_offset >= state.flushed {
            state.unflushed_bytes -= held.batch.bytes() as u64;
            self.memory.take(Kept::Unflushed, held);
        } else {
            self.memory.take(Kept::Cached, held);
        }
    }

    /// Gives up a whole stream.
    pub(super) fn remove(&self, id: StreamId) -> Result<()> {
        // Held to the end: a checkpoint sees all of a removal or none.
        let mut removed = lock(&self.removed);
        let stream = self.forget(id).ok_or(Error::Missing)?;
        let mut state = lock(&stream.state);
        state.removed = true;
        if state.saved != Saved::Never {
            removed.insert(id);
        }
        let extents = std::mem::take(&mut state.extents);
        let dropped: u64 = extents.iter().map(|extent| extent.bytes).sum();
        // A removal must lead to a checkpoint even when no segment knows the stream.
        self.dropped_bytes.fetch_add(dropped, Ordering::Relaxed);
        while let Some(held) = state.tail.pop_front() {
            self.account_gone(&mut state, &held);
        }
        Ok(())
    }

    /// Streams that were removed since this was called last, for a checkpoint.
    pub(super) fn take_removed(&self) -> BTreeSet<StreamId> {
        std::mem::take(&mut lock(&self.removed))
    }

    /// That checkpoint was not written.
    pub(super) fn put_back_removed(&self, unsaved: BTreeSet<StreamId>) {
        lock(&self.removed).extend(unsaved);
    }

    /// Streams that got batches since the last call; those still unflushed afterwards are marked again by
    /// [`Streams::mark_dirty`].
    pub(super) fn take_dirty(&self) -> Vec<Arc<Stream>> {
        let mut streams = std::mem::take(&mut *lock(&self.dirty));
        for stream in &streams {
            lock(&stream.state).dirty = false;
        }
        streams.sort_by_key(|stream| stream.id);
        streams
    }

    pub(super) fn mark_dirty(&self, stream: &Arc<Stream>) {
        let mut state = lock(&stream.state);
        if !state.removed && !std::mem::replace(&mut state.dirty, true) {
            drop(state);
            lock(&self.dirty).push(Arc::clone(stream));
        }
    }

    /// Records that everything below `until` of a stream is in segments, the new part in `extents`.
    pub(super) fn flushed(&self, stream: &Arc<Stream>, until: u64, extents: &[Extent]) {
        let mut state = lock(&stream.state);
        if state.removed {
            return;
        }
        let start = state.start;
        state
            .extents
            .extend(extents.iter().filter(|e| e.end > start).copied());
        state.note_changed();
        let before = std::mem::replace(&mut state.flushed, until);
        let mut bytes = 0;
        for held in &state.tail {
            let base = held.batch.header.base_offset;
            if base >= before && base < until {
                self.memory.add(Kept::Cached, held);
                self.memory.take(Kept::Unflushed, held);
                bytes += held.batch.bytes() as u64;
            }
        }
        state.unflushed_bytes -= bytes;
        drop(state);
        let stream = Arc::clone(stream);
        lock(&self.cache).push_back(Cached { stream, until });
    }

    /// Forgets cached batches, oldest first, until they fit into `budget`.
    pub(super) fn evict(&self, budget: u64) {
        let mut cache = lock(&self.cache);
        while self.memory.cached_bytes() > budget {
            let Some(oldest) = cache.front() else {
                return;
            };
            let mut state = lock(&oldest.stream.state);
            let until = oldest.until.min(state.flushed);
            let held = state
                .tail
                .pop_front_if(|held| held.batch.header.next_offset() <= until);
            if let Some(held) = held {
                self.memory.take(Kept::Cached, &held);
            } else {
                drop(state);
                cache.pop_front();
            }
        }
    }
}
