//! The store's public face: opening and closing, and the two seams.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::change::{Batches, Change as Handed};
use super::checkpoint::{CheckpointFile, Checkpoints};
use super::documents::{KEY_BYTES_MAX, LEASE_PREFIX, Prepared, VALUE_BYTES_MAX};
use super::flush::{Flusher, LastFlush};
use super::flush_signal::FlushSignal;
use super::intake::Intake;
use super::journal::FoundJournal;
use super::lock::lock;
use super::merge::Merger;
use super::merge_signal::MergeSignal;
use super::open::{self, Opened, Parts, REPLAYED, RecoveryReport};
use super::options::Options;
use super::seams::{Cut, Digest, End, JournalWriter};
use super::seek::{Brief, View};
use super::segment::{SegmentFiles, SegmentReader, Want};
use super::shared::{Owners, Shared, VITAL_BYTES_MAX, is_gone};
use super::stats::{Counters, Stats};
use super::streams::{Held, Plan, Stream};
use super::writer::Writer;
use crate::disk::Disk;
use crate::supervisor::Owner;
use crate::{
    Append, Bounds, BoxFuture, Catalog, Change, Document, Durability, Error, Expected, Found,
    Lease, Log, Lsn, Progress, Read, Result, Seek, StreamId, Trim,
};

/// Intervals of the file thread after which free space is looked at again.
const SPACE_LOOKS_EVERY: u64 = 10;

/// How much is on its way to the disk.
///
/// `append` never waits and never refuses because of load: callers must bound what they have handed over and not
/// seen acknowledged, and should take in less while the pressure is high. The journal itself stops acknowledging
/// while unflushed memory is at twice its budget, so that callers who wait for acknowledgements come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes handed over and not yet written.
    pub queued_bytes: u64,
    /// Memory of batches not yet in segments.
    pub unflushed_bytes: u64,
    /// The queue is at its limit, or the journal waits for the flusher.
    pub is_high: bool,
}

/// Log and catalog in one directory. Clones are the same store; when the last one is dropped its threads sync
/// and end, and the next start replays the journal. [`LocalStore::close`] spares it that.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    report: RecoveryReport,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    journal: JoinHandle<Option<()>>,
    files: JoinHandle<Option<()>>,
    flusher: JoinHandle<Option<LastFlush>>,
    merger: JoinHandle<Option<()>>,
}

impl LocalStore {
    /// Opens the store on `disk`, or makes a new one there, and starts its threads. Blocks while the journal is
    /// replayed.
    ///
    /// Errors: `Corrupt` when what is on disk does not add up (nothing was changed then), `Io`.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        let segments = SegmentFiles::new(Arc::clone(&disk), options.page_cache_bytes);
        let parts = Parts {
            documents: Box::new(CheckpointFile::new(Arc::clone(&disk))),
            segments: Arc::new(segments),
            journal: Box::new(FoundJournal::load(disk, &options)?),
        };
        Self::start(parts, options)
    }

    /// Opens the store that is made of these.
    pub(super) fn start(parts: Parts, options: Options) -> Result<Self> {
        let opened = open::open(parts, &options)?;
        let report = opened.report.clone();
        let at = Progress {
            written: REPLAYED,
            durable: REPLAYED,
        };
        let (sender, progress) = watch::channel(at);
        let (shared, ends) = share(options, opened);
        let shared = Arc::new(shared);
        // Before anybody may write.
        look_at_space(&shared);
        let threads = start_threads(&shared, ends, sender)?;
        shared.ask_for_flush_if_needed();
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                progress,
                report,
                threads: Mutex::new(Some(threads)),
            }),
        })
    }

    /// What opening came to.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// Writes and syncs everything handed over, moves it to segments and stops the threads; the next start has
    /// nothing to replay. Blocks. Afterwards everything but reading fails with `Closed`.
    pub fn close(&self) -> Result<()> {
        let checkpoint = self.inner.stop(true);
        if let Some(error @ Error::Poisoned(_)) = self.inner.shared.intake.stopped() {
            return Err(error);
        }
        let journal = &self.inner.shared.journal;
        checkpoint.map_or(Ok(()), |checkpoint| journal.end(End::Clean(&checkpoint)))
    }

    /// Moves everything handed over so far to segments and writes a checkpoint. Blocks. Only tests and tools need
    /// it: the store flushes by itself.
    pub fn flush(&self) -> Result<()> {
        self.inner.shared.flush.flush()
    }

    /// How much is on its way to the disk.
    pub fn pressure(&self) -> Pressure {
        let shared = &self.inner.shared;
        let queued_bytes = shared.intake.queued_bytes();
        Pressure {
            queued_bytes,
            unflushed_bytes: shared.unflushed_bytes(),
            is_high: queued_bytes >= shared.options.queue_bytes_max || shared.is_stalled(),
        }
    }

    /// Free space, bytes, below which appends are refused: [`Options::min_free_bytes`], or what the next flush takes if that
    /// is more. 0 without a watermark.
    pub fn free_bytes_min(&self) -> u64 {
        self.inner.shared.free_bytes_min()
    }

    /// Whether appends are refused for lack of space.
    pub fn is_full(&self) -> bool {
        self.inner.shared.is_full()
    }

    /// Holds the reason once the store was stopped by a failed write; the process should then end with an error.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.inner.shared.failed.subscribe()
    }

    /// A reading of counters and sizes.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    fn put(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
        is_vital: bool,
    ) -> Result<(Lsn, u64)> {
        let shared = &self.inner.shared;
        if let Some(value) = &value {
            shared.admit_document(key.len() + value.len(), is_vital)?;
        }
        let mut documents = shared.documents.lock();
        let version = match documents.prepare(key, expected, value.is_none())? {
            Prepared::Version(version) => version,
            Prepared::Nothing => return Ok((Lsn(0), 0)),
        };
        let change = match value.clone() {
            Some(value) => Handed::Put {
                key: key.to_owned(),
                version,
                value,
            },
            None => Handed::Delete {
                key: key.to_owned(),
                version,
            },
        };
        let queue = shared.intake.open()?;
        documents.handed_over(queue.next(), key, version, value);
        let lsn = shared.intake.push(queue, change, true);
        Ok((lsn, version))
    }

    async fn durable(&self, lsn: Lsn) -> Result<()> {
        let mut progress = self.inner.progress.clone();
        let reached = progress.wait_for(|at| at.durable >= lsn).await.is_ok();
        if reached {
            return Ok(());
        }
        Err(self.inner.shared.intake.stopped().unwrap_or(Error::Closed))
    }

    async fn put_durably(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
        is_vital: bool,
    ) -> Result<u64> {
        let (lsn, version) = self.put(key, expected, value, is_vital)?;
        self.durable(lsn).await?;
        Ok(version)
    }
}

impl Inner {
    /// Stops the threads, each after those that need it. When a last flush left nothing to replay: its checkpoint.
    fn stop(&self, last_flush: bool) -> Option<Digest> {
        let threads = lock(&self.threads).take()?;
        let shared = &self.shared;
        shared.options.supervisor.stopping();
        shared.merges.stop();
        shared.intake.stop(Error::Closed);
        // Neither of these fails: they only tell.
        let _ = shared.journal.end(End::Closing);
        let sound = ended_well(threads.journal).is_some();
        let poisoned = !matches!(shared.intake.stopped(), Some(Error::Closed));
        shared.flush.stop(last_flush && sound && !poisoned);
        let clean = ended_well(threads.flusher).and_then(|last| last.0);
        let _ = shared.journal.end(End::Stopped);
        let ahead = ended_well(threads.merger).is_some() & ended_well(threads.files).is_some();
        clean.filter(|_| sound && ahead)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// What single threads own.
struct Ends {
    writer: Box<dyn JournalWriter>,
    checkpoints: Checkpoints,
    /// Where the checkpoint replays from.
    checkpoint: Cut,
}

fn share(options: Options, opened: Opened) -> (Shared, Ends) {
    let start = Cut {
        lsn: REPLAYED,
        position: opened.end,
    };
    let ends = Ends {
        writer: opened.begun.writer,
        checkpoints: opened.checkpoints,
        checkpoint: Cut {
            lsn: Lsn(0),
            position: opened.checkpoint,
        },
    };
    let shared = Shared {
        journal: opened.begun.journal,
        reader: SegmentReader::new(Arc::clone(&opened.segments)),
        segments: opened.segments,
        folder: opened.begun.folder,
        owners: Owners::new(&options.supervisor),
        options,
        intake: Intake::new(start.lsn),
        streams: opened.streams,
        documents: opened.documents,
        segment_files: Mutex::new(opened.segment_files),
        next_segment: AtomicU64::new(opened.next_segment),
        flush: FlushSignal::default(),
        merges: MergeSignal::default(),
        cut: Mutex::new(start),
        written: AtomicU64::new(start.lsn.0),
        durable: AtomicU64::new(start.lsn.0),
        last_trim: AtomicU64::new(0),
        unsynced: AtomicBool::new(false),
        marked: AtomicU64::new(opened.begun.marked),
        low_space: AtomicBool::new(false),
        vital_left: AtomicU64::new(VITAL_BYTES_MAX),
        flush_starved: AtomicBool::new(false),
        failed: watch::Sender::new(None),
        stats: Counters::default(),
    };
    (shared, ends)
}

fn start_threads(
    shared: &Arc<Shared>,
    ends: Ends,
    progress: watch::Sender<Progress>,
) -> Result<Threads> {
    Ok(Threads {
        journal: spawn("journal", &shared.owners.journal, {
            let writer = Writer::new(Arc::clone(shared), ends.writer, progress, REPLAYED);
            move || writer.run()
        })?,
        files: spawn("journal-files", &shared.owners.files, {
            let shared = Arc::clone(shared);
            move || tend_journal(&shared)
        })?,
        flusher: spawn("flusher", &shared.owners.flusher, {
            let flusher = Flusher::new(Arc::clone(shared), ends.checkpoints, ends.checkpoint);
            move || flusher.run()
        })?,
        merger: spawn("merger", &shared.owners.merger, {
            let merger = Merger::new(Arc::clone(shared));
            move || merger.run()
        })?,
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    owner: &Owner,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<Option<T>>> {
    let owner = owner.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || owner.run(run))
        .map_err(|error| Error::io(format!("start the {name} thread"), error))
}

/// What a thread came to; `None` when it panicked.
fn ended_well<T>(thread: JoinHandle<Option<T>>) -> Option<T> {
    thread.join().ok().flatten()
}

/// The file thread: files ahead, the mark, interval syncs, free space.
fn tend_journal(shared: &Shared) {
    if let Err(error) = tend_until_stopped(shared) {
        shared.poison(&error);
        // Nobody will make files any more: the journal must not wait for one.
        let _ = shared.journal.end(End::Stopped);
    }
}

fn tend_until_stopped(shared: &Shared) -> Result<()> {
    let options = &shared.options;
    let turn = options.flush_interval.min(options.mark_interval);
    let (syncs_every, marks_every) = (
        turns(options.flush_interval, turn),
        turns(options.mark_interval, turn),
    );
    let mut count: u64 = 0;
    loop {
        shared.owners.files.turn();
        if count.is_multiple_of(syncs_every * SPACE_LOOKS_EVERY) {
            look_at_space(shared);
        }
        if count.is_multiple_of(syncs_every) && shared.unsynced.load(Ordering::Acquire) {
            shared.intake.want_sync();
        }
        if count.is_multiple_of(marks_every) {
            mark(shared)?;
        }
        count = count.wrapping_add(1);
        if !shared.journal.tend(turn)? {
            return mark(shared);
        }
    }
}

/// How many turns fit into an interval; at least one.
fn turns(interval: Duration, turn: Duration) -> u64 {
    let turns = interval.as_micros() / turn.as_micros().max(1);
    u64::try_from(turns).unwrap_or(u64::MAX).max(1)
}

fn mark(shared: &Shared) -> Result<()> {
    let durable = lock(&shared.cut).position;
    let marked = shared.journal.note_durable(durable)?;
    shared.marked.store(marked, Ordering::Relaxed);
    Ok(())
}

fn look_at_space(shared: &Shared) {
    match shared.segments.free_bytes() {
        Ok(free) => {
            let limit = shared.free_bytes_min();
            let low = free < limit;
            if shared.low_space.swap(low, Ordering::Relaxed) != low {
                log_space(free, limit, low);
            }
        }
        Err(error) => tracing::warn!(%error, "free space is unknown"),
    }
}

fn log_space(free_bytes: u64, limit_bytes: u64, low: bool) {
    if low {
        tracing::warn!(free_bytes, limit_bytes, "low disk: publishes are refused");
    } else {
        tracing::info!(
            free_bytes,
            limit_bytes,
            "enough disk again: publishes are accepted"
        );
    }
}

impl Log for LocalStore {
    fn append(&self, appends: Vec<Append>, durability: Durability) -> Result<Lsn> {
        let shared = &self.inner.shared;
        if shared.is_full() && durability != Durability::Vital {
            return Err(Error::DiskFull);
        }
        let bytes = appends.iter().map(|append| append.batch.bytes() as u64);
        Counters::add(&shared.stats.appended_bytes, bytes.sum());
        let batches = Batches::new(appends);
        let queue = shared.intake.open()?;
        let lsn = queue.next();
        for (index, (append, body)) in batches.with_bodies().enumerate() {
            let Err(expected) = shared.streams.push((append, body), lsn, durability) else {
                continue;
            };
            for (done, _) in batches.iter().take(index) {
                shared.streams.undo(done);
            }
            drop(queue);
            panic!(
                "a batch at {} does not continue {:?} at {expected}",
                append.batch.header.base_offset, append.stream
            );
        }
        let sync = durability != Durability::Flush;
        shared.intake.push(queue, Handed::Batches(batches), sync);
        shared.ask_for_flush_if_needed();
        Ok(lsn)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.clone()
    }

    fn read(&self, stream: StreamId, from: u64, until: u64, max_bytes: usize) -> Read {
        let shared = &self.inner.shared;
        let Some(stream) = shared.streams.get(stream) else {
            return Read::Ready(Err(Error::Missing));
        };
        let at = shared.progress();
        let plan = lock(&stream.state).plan(from, until, max_bytes, at);
        match plan {
            Plan::Ready(result) => Read::Ready(result),
            Plan::Cold(extent) => {
                let shared = Arc::clone(shared);
                let want = Want {
                    from,
                    until,
                    max_bytes,
                };
                Read::Disk(Box::pin(blocking(move || {
                    shared.read_cold(&stream, extent, want)
                })))
            }
        }
    }

    fn bounds(&self, stream: StreamId) -> Option<Bounds> {
        let stream = self.inner.shared.streams.get(stream)?;
        let state = lock(&stream.state);
        Some(state.bounds())
    }

    fn seek(&self, stream: StreamId, seek: Seek) -> BoxFuture<'_, Result<Option<Found>>> {
        Box::pin(async move {
            let shared = &self.inner.shared;
            let stream = shared.streams.get(stream).ok_or(Error::Missing)?;
            let mut view = view(shared, &stream);
            if view.extents.is_empty() {
                return view.seek(&shared.reader, seek);
            }
            let shared = Arc::clone(shared);
            blocking(move || match view.seek(&shared.reader, seek) {
                // Merged or trimmed away in between: a new view knows the new place.
                Err(error) if is_gone(&error) => {
                    self::view(&shared, &stream).seek(&shared.reader, seek)
                }
                result => result,
            })
            .await
        })
    }

    fn trim(&self, stream: StreamId, trim: Trim) -> Result<Lsn> {
        let shared = &self.inner.shared;
        let queue = shared.intake.open()?;
        // Before anybody can see it: a checkpoint may not show what is not durable.
        shared.last_trim.store(queue.next().0, Ordering::SeqCst);
        let change = match trim {
            Trim::Before(before) => {
                if !shared.streams.trim(stream, before)? {
                    return Ok(queue.last());
                }
                Handed::Trim { stream, before }
            }
            Trim::All => {
                shared.streams.remove(stream)?;
                Handed::Remove { stream }
            }
        };
        Ok(shared.intake.push(queue, change, trim == Trim::All))
    }
}

fn view(shared: &Shared, stream: &Stream) -> View {
    let at = shared.progress();
    let state = lock(&stream.state);
    let visible = state.visible(at).count();
    let brief = |(index, held): (usize, &Held)| Brief {
        header: held.batch.header,
        visible: index < visible,
    };
    let flushed = state.flushed;
    View {
        start: state.start,
        extents: VecDeque::iter(&state.extents).copied().collect(),
        unflushed: state
            .tail
            .iter()
            .enumerate()
            .map(brief)
            .filter(|brief| brief.header.base_offset >= flushed)
            .collect(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only when the runtime shuts down, or the closure panicked.
        Err(error) => Err(Error::io("run on the blocking pool", error.into())),
    }
}

/// Whether a document of so many bytes may stand under a key: either may be what a peer made up.
fn check_document(key: &str, bytes: usize) -> Result<()> {
    if key.contains('\0') {
        return Err(Error::InvalidKey("it holds a NUL character"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::InvalidKey("it is too long"));
    }
    if bytes > VALUE_BYTES_MAX {
        let allowed = VALUE_BYTES_MAX;
        return Err(Error::DocumentTooLarge { bytes, allowed });
    }
    Ok(())
}

impl Catalog for LocalStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        Box::pin(async move { Ok(self.inner.shared.documents.get(key)) })
    }

    fn put_if<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> BoxFuture<'a, Result<u64>> {
        let bytes = value.as_ref().map_or(0, Bytes::len);
        Box::pin(async move {
            check_document(key, bytes)?;
            self.put_durably(key, expected, value, false).await
        })
    }

    fn put_vital<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Bytes,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            check_document(key, value.len())?;
            self.put_durably(key, expected, Some(value), true).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Document)>>> {
        Box::pin(async move { Ok(self.inner.shared.documents.list(prefix)) })
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.inner.shared.documents.watch()
    }

    fn lease<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move {
            let key = format!("{LEASE_PREFIX}{name}");
            let epoch = self
                .put_durably(&key, Expected::Any, Some(Bytes::new()), true)
                .await?;
            Ok(Lease { epoch })
        })
    }
}
