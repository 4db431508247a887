//! The store over other parts than files: whole objects under names, as a bucket has them. What decides knows the
//! difference nowhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::change::{Change, Entry};
use super::lock::lock;
use super::open::Parts;
use super::options::Options;
use super::seams::{
    BEGINNING, Begun, Documents, End, Fill, Journal, JournalReader, JournalWriter, Position,
    Readers, Replayed, Seen, SegmentSink, Segments, Start, Written,
};
use super::store::LocalStore;
use crate::batch::BatchBuilder;
use crate::{
    Append, Batch, Catalog, Durability, Expected, Log, Read, Result, Seek, StreamId, Trim,
};

/// Groups that one object of the journal has at most.
const GROUP_ENTRIES_MAX: usize = 4;

/// Objects by name, and groups by sequence. What is put is durable.
#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    groups: Arc<Mutex<BTreeMap<u64, Vec<Change>>>>,
    identities: Arc<AtomicU64>,
}

impl Bucket {
    fn store(&self) -> LocalStore {
        let parts = Parts {
            journal: Box::new(Groups(self.clone())),
            segments: Arc::new(self.clone()),
            documents: Box::new(self.clone()),
        };
        let options = Options {
            flush_interval: Duration::from_millis(1),
            own_segment_bytes: 4 * 1024,
            pack_files_max: 3,
            tail_bytes: 0,
            block_bytes: 1024,
            min_free_bytes: 0,
            ..Options::default()
        };
        LocalStore::start(parts, options).unwrap()
    }

    fn put_object(&self, name: String, bytes: Vec<u8>) {
        let before = lock(&self.objects).insert(name, bytes);
        assert!(before.is_none(), "an object is never put twice");
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let objects = lock(&self.objects);
        let names = objects.keys().filter(|name| name.starts_with(prefix));
        names.cloned().collect()
    }
}

struct NewObject {
    bucket: Bucket,
    id: u64,
    bytes: Vec<u8>,
}

impl SegmentSink for NewObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let name = format!("segment/{:016x}", self.id);
        self.bucket.put_object(name, self.bytes);
        Ok(())
    }
}

impl Segments for Bucket {
    fn put(&self, id: u64, _: Readers) -> io::Result<Box<dyn SegmentSink>> {
        Ok(Box::new(NewObject {
            bucket: self.clone(),
            id,
            bytes: Vec::new(),
        }))
    }

    fn read(&self, id: u64, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let objects = lock(&self.objects);
        let object = objects.get(&format!("segment/{id:016x}"));
        let object = object.ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(position).unwrap();
        let bytes = object.get(from..from + length);
        Ok(bytes.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn delete(&self, id: u64) -> io::Result<()> {
        lock(&self.objects).remove(&format!("segment/{id:016x}"));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let found = |(name, bytes): (&String, &Vec<u8>)| {
            let id = name.strip_prefix("segment/")?;
            Some((u64::from_str_radix(id, 16).unwrap(), bytes.len() as u64))
        };
        Ok(lock(&self.objects).iter().filter_map(found).collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// Every part of a checkpoint is an object, named after the whole it belongs to and its position behind that.
impl Documents for Bucket {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        let names = self.names("checkpoint/");
        let Some(newest) = names.last().and_then(|name| name.rsplit_once('/')) else {
            return Ok(None);
        };
        let objects = lock(&self.objects);
        let parts = objects
            .iter()
            .filter(|(name, _)| name.starts_with(newest.0));
        Ok(Some(parts.flat_map(|(_, bytes)| bytes.clone()).collect()))
    }

    fn replace(&mut self, whole: &[u8]) -> io::Result<()> {
        let old = self.names("checkpoint/");
        let newest = old.last().map_or(0, |name| name[11..27].parse().unwrap());
        let name = format!("checkpoint/{:016}/{:016}", newest + 1, 0);
        self.put_object(name, whole.to_vec());
        lock(&self.objects).retain(|name, _| !old.contains(name));
        Ok(())
    }

    fn add(&mut self, position: u64, changes: &[u8]) -> io::Result<()> {
        let names = self.names("checkpoint/");
        let (whole, _) = names.last().unwrap().rsplit_once('/').unwrap();
        self.put_object(format!("{whole}/{position:016}"), changes.to_vec());
        Ok(())
    }

    fn identity(&self) -> io::Result<[u8; 16]> {
        let count = self.identities.fetch_add(1, Ordering::Relaxed);
        Ok(u128::from(count).to_le_bytes())
    }
}

/// A journal that is found: objects that hold a group each.
struct Groups(Bucket);

impl JournalReader for Groups {
    fn check(&mut self, checkpoint: Option<&Seen>) -> Result<Start> {
        let from = checkpoint.map_or(BEGINNING, |seen| seen.position).sequence;
        let first = lock(&self.0.groups).keys().next().copied();
        assert!(
            first.is_none_or(|first| first <= from),
            "nothing is missing"
        );
        lock(&self.0.groups).retain(|sequence, _| *sequence >= from);
        Ok(Start::default())
    }

    fn replay(&mut self, apply: &mut dyn FnMut(Change) -> Result<()>) -> Result<Replayed> {
        let groups = lock(&self.0.groups);
        let changes = groups.values().flatten().cloned();
        changes.into_iter().try_for_each(apply)?;
        let last = groups.keys().next_back().copied().unwrap_or(0);
        Ok(Replayed {
            end: at(last + 1),
            groups: groups.len() as u64,
            ..Replayed::default()
        })
    }

    fn begin(self: Box<Self>) -> Result<Begun> {
        let last = lock(&self.0.groups).keys().next_back().copied();
        let journal = InUse {
            bucket: self.0.clone(),
            fill: Fill::default(),
            is_stopped: Mutex::new(false),
            stopped: Condvar::new(),
        };
        Ok(Begun {
            journal: Arc::new(journal),
            writer: Box::new(NewGroups {
                bucket: self.0,
                next: last.unwrap_or(0) + 1,
            }),
            folder: [7; 16],
            marked: 0,
        })
    }
}

fn at(sequence: u64) -> Position {
    Position {
        sequence,
        ..BEGINNING
    }
}

struct NewGroups {
    bucket: Bucket,
    next: u64,
}

impl JournalWriter for NewGroups {
    fn next_group(&self, entries: &[Entry]) -> usize {
        entries.len().min(GROUP_ENTRIES_MAX)
    }

    fn write(&mut self, group: &[Entry]) -> Result<Written> {
        let changes = group.iter().map(|entry| entry.change.clone()).collect();
        lock(&self.bucket.groups).insert(self.next, changes);
        self.next += 1;
        Ok(Written::Bytes(group.iter().map(|entry| entry.bytes).sum()))
    }

    fn sync(&mut self) -> Result<Position> {
        Ok(at(self.next))
    }
}

struct InUse {
    bucket: Bucket,
    fill: Fill,
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

impl Journal for InUse {
    fn fill(&self) -> &Fill {
        &self.fill
    }

    fn files(&self) -> u64 {
        lock(&self.bucket.groups).len() as u64
    }

    fn retire(&self, before: Position) {
        lock(&self.bucket.groups).retain(|sequence, _| *sequence >= before.sequence);
    }

    fn tend(&self, at_most: Duration) -> Result<bool> {
        let stopped = lock(&self.is_stopped);
        let waited = self.stopped.wait_timeout(stopped, at_most);
        Ok(!*waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn note_durable(&self, durable: Position) -> Result<u64> {
        Ok(durable.sequence)
    }

    fn end(&self, end: End<'_>) -> Result<()> {
        if matches!(end, End::Stopped) {
            *lock(&self.is_stopped) = true;
            self.stopped.notify_all();
        }
        Ok(())
    }
}

fn stream(part: u32) -> StreamId {
    StreamId {
        owner: uuid::Uuid::from_u128(1),
        part,
    }
}

fn batch(base: u64) -> Batch {
    let mut builder = BatchBuilder::new(0);
    let value = [u8::try_from(base % 256).unwrap(); 300];
    builder.push(i64::try_from(base).unwrap(), None, Some(&value), &[]);
    builder.build().placed(base, 3, None)
}

async fn append(store: &LocalStore, part: u32, base: u64) {
    let append = Append {
        stream: stream(part),
        batch: batch(base),
    };
    let lsn = store.append(vec![append], Durability::Sync).unwrap();
    let mut progress = store.progress();
    progress.wait_for(|at| at.durable >= lsn).await.unwrap();
}

async fn read(store: &LocalStore, part: u32, from: u64) -> Vec<u8> {
    let (mut at, mut all) = (from, Vec::new());
    loop {
        let chunk = match store.read(stream(part), at, u64::MAX, 1 << 20) {
            Read::Ready(chunk) => chunk,
            Read::Disk(chunk) => chunk.await,
        };
        let chunk = chunk.unwrap();
        if chunk.bytes == 0 {
            return all;
        }
        all.extend(chunk.pieces.concat());
        at = chunk.next_offset;
    }
}

fn batches(bases: std::ops::Range<u64>) -> Vec<u8> {
    bases.flat_map(|base| batch(base).to_bytes()).collect()
}

async fn put(store: &LocalStore, key: &str, value: Option<&'static [u8]>) {
    let value = value.map(Bytes::from_static);
    store.put_if(key, Expected::Any, value).await.unwrap();
}

#[tokio::test]
async fn a_store_of_objects_holds_what_one_of_files_does() {
    let bucket = Bucket::default();
    let store = bucket.store();
    for base in 0..12 {
        for part in 0..4 {
            append(&store, part, base).await;
        }
        put(&store, "a", Some(b"first")).await;
        put(&store, "b", Some(b"first")).await;
        if base % 2 == 1 {
            store.flush().unwrap();
        }
    }
    put(&store, "b", None).await;
    store.trim(stream(1), Trim::Before(5)).unwrap();
    store.trim(stream(2), Trim::All).unwrap();
    append(&store, 0, 12).await;
    assert!(bucket.names("checkpoint/").len() > 2, "changes are objects");
    drop(store);

    let store = bucket.store();
    assert!(store.recovery().groups > 0);
    assert!(read(&store, 0, 0).await == batches(0..13));
    assert!(read(&store, 1, 5).await == batches(5..12));
    assert_eq!(store.bounds(stream(2)), None);
    assert!(store.get("a").await.unwrap().is_some());
    assert!(store.get("b").await.unwrap().is_none());
    let found = store.seek(stream(3), Seek::Time(7)).await.unwrap();
    assert_eq!(found.unwrap().base_offset, 7);
    append(&store, 0, 13).await;
    store.close().unwrap();
    drop(store);
    assert_eq!(lock(&bucket.groups).len(), 0, "what has left it is gone");

    let store = bucket.store();
    assert_eq!(store.recovery().groups, 0);
    assert!(read(&store, 0, 0).await == batches(0..14));
}

#[tokio::test]
async fn objects_that_nobody_needs_are_removed() {
    let bucket = Bucket::default();
    let store = bucket.store();
    for base in 0..10 {
        append(&store, 0, base).await;
        append(&store, 1, base).await;
        store.flush().unwrap();
    }
    while store.stats().merges == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.flush().unwrap();
    assert!(bucket.names("segment/").len() < 10);
    assert!(read(&store, 1, 0).await == batches(0..10));
    for part in 0..2 {
        store.trim(stream(part), Trim::All).unwrap();
    }
    store.flush().unwrap();
    assert_eq!(bucket.names("segment/").len(), 0);
    assert_eq!(
        bucket.names("checkpoint/").len(),
        lock(&bucket.objects).len()
    );
}
