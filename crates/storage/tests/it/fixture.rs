//! Stores to run tests against, and shorthand for talking to them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::batch::BatchBuilder;
use storage::disk::{Disk, DiskFile};
use storage::local::{LocalStore, Options, OsDisk};
use storage::{Append, Batch, Chunk, Durability, Log, Lsn, Read, Result, StreamId};
use tempfile::TempDir;
use testkit::SimDisk;
use uuid::Uuid;

/// A real directory that disappears with the store.
struct Temporary {
    disk: OsDisk,
    _folder: TempDir,
}

impl Disk for Temporary {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_names(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_names(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn random(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }
}

fn temporary() -> Arc<dyn Disk> {
    let folder = TempDir::new().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    Arc::new(Temporary {
        disk,
        _folder: folder,
    })
}

/// Defaults but for a small journal, so that hundreds of tests do not write gigabytes of zeroes.
pub(crate) fn plain_options() -> Options {
    Options {
        journal_file_bytes_first: 256 * 1024,
        journal_file_bytes: 4 * 1024 * 1024,
        min_free_bytes: 0,
        ..Options::default()
    }
}

/// Limits so small that flushing, packing, merging and recycling happen all the time.
pub(crate) fn tiny_options() -> Options {
    Options {
        queue_bytes_max: 4 * 1024,
        flush_interval: Duration::from_millis(1),
        mark_interval: Duration::from_millis(1),
        journal_file_bytes_first: 16 * 1024,
        journal_file_bytes: 64 * 1024,
        journal_bytes_max: 256 * 1024,
        unflushed_bytes: 8 * 1024,
        tail_bytes: 4 * 1024,
        page_cache_bytes: 16 * 1024,
        own_segment_bytes: 4 * 1024,
        pack_files_max: 3,
        checkpoint_changes_bytes: 16 * 1024,
        block_bytes: 1024,
        min_free_bytes: 0,
        stopwatch: None,
        supervisor: storage::Supervisor::new(),
    }
}

pub(crate) fn on_directory() -> LocalStore {
    LocalStore::open(temporary(), plain_options()).unwrap()
}

pub(crate) fn on_simulation() -> LocalStore {
    LocalStore::open(Arc::new(SimDisk::new()), plain_options()).unwrap()
}

pub(crate) fn with_tiny_limits() -> LocalStore {
    LocalStore::open(Arc::new(SimDisk::new()), tiny_options()).unwrap()
}

pub(crate) fn stream(number: u128) -> StreamId {
    StreamId {
        owner: Uuid::from_u128(number),
        part: 0,
    }
}

/// A batch of `values`, all with the same timestamp.
pub(crate) fn batch(base: u64, timestamp: i64, values: &[&[u8]]) -> Batch {
    let mut builder = BatchBuilder::new(timestamp);
    for value in values {
        builder.push(timestamp, None, Some(value), &[]);
    }
    builder.build().placed(base, 0, None)
}

/// A batch of one record of `bytes` bytes that differ from batch to batch.
pub(crate) fn filled(base: u64, bytes: usize) -> Batch {
    let value: Vec<u8> = (0..bytes).map(|i| (base as usize * 31 + i) as u8).collect();
    batch(base, base as i64, &[&value])
}

pub(crate) fn append(stream: StreamId, batch: &Batch) -> Append {
    Append {
        stream,
        batch: batch.clone(),
    }
}

pub(crate) async fn durable(log: &impl Log, lsn: Lsn) {
    let mut progress = log.progress();
    progress.wait_for(|at| at.durable >= lsn).await.unwrap();
}

/// Appends one batch and waits until it is durable.
pub(crate) async fn put(log: &impl Log, stream: StreamId, batch: &Batch) {
    let lsn = log.append(vec![append(stream, batch)], Durability::Sync);
    durable(log, lsn.unwrap()).await;
}

pub(crate) async fn chunk(
    log: &impl Log,
    stream: StreamId,
    range: std::ops::Range<u64>,
    max_bytes: usize,
) -> Result<Chunk> {
    match log.read(stream, range.start, range.end, max_bytes) {
        Read::Ready(result) => result,
        Read::Disk(future) => future.await,
    }
}

pub(crate) fn joined(chunk: &Chunk) -> Vec<u8> {
    let bytes: Vec<u8> = chunk.pieces.iter().flatten().copied().collect();
    assert_eq!(bytes.len(), chunk.bytes, "the chunk knows its size");
    bytes
}

/// Everything readable from `from` on, in small steps; every step is whole batches.
pub(crate) async fn read_all(log: &impl Log, stream: StreamId, from: u64) -> Vec<u8> {
    let mut at = from;
    let mut all = Vec::new();
    loop {
        let chunk = chunk(log, stream, at..u64::MAX, 1_000).await.unwrap();
        if chunk.bytes == 0 {
            assert_eq!(chunk.next_offset, at);
            return all;
        }
        let mut bytes = Bytes::from(joined(&chunk));
        let mut next = at;
        while !bytes.is_empty() {
            all.extend_from_slice(&bytes[..]);
            let before = bytes.len();
            let batch = Batch::split_first(&mut bytes).unwrap();
            all.truncate(all.len() - before + batch.bytes());
            assert!(batch.header.base_offset <= next, "no gaps");
            next = batch.header.next_offset();
        }
        assert_eq!(next, chunk.next_offset);
        at = next;
    }
}

pub(crate) fn concat<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<u8> {
    batches.into_iter().flat_map(Batch::to_bytes).collect()
}
