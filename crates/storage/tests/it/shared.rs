//! Batches of many streams with the same records: held once, written once, and the same for readers.

use std::sync::Arc;

use storage::disk::Disk;
use storage::local::{LocalStore, Options};
use storage::{Append, Batch, Durability, Log, StreamId, Trim};
use testkit::SimDisk;

use crate::fixture::{
    chunk, concat, durable, filled, plain_options, put, read_all, stream, tiny_options,
};

const STREAMS: u64 = 200;
const BODY: usize = 100_000;
/// What one more stream may cost, wherever.
const EACH: u64 = 1_000;

fn open(disk: &SimDisk, options: Options) -> LocalStore {
    LocalStore::open(Arc::new(disk.clone()), options).unwrap()
}

/// A journal that takes it all.
fn roomy() -> Options {
    Options {
        journal_file_bytes_first: 4 << 20,
        journal_file_bytes: 4 << 20,
        ..plain_options()
    }
}

fn id(number: u64) -> StreamId {
    stream(u128::from(number))
}

/// What each stream gets of the `n`th body: the same records at another offset.
fn copies(n: u64, bytes: usize) -> Vec<(StreamId, Batch)> {
    let one = filled(n, bytes);
    let copy = |number| (id(number), one.clone().placed(number + n, 0, None));
    (0..STREAMS).map(copy).collect()
}

async fn append(store: &LocalStore, copies: &[(StreamId, Batch)]) {
    let append = |(stream, batch): &(StreamId, Batch)| Append {
        stream: *stream,
        batch: batch.clone(),
    };
    let appends = copies.iter().map(append).collect();
    let lsn = store.append(appends, Durability::Sync).unwrap();
    durable(store, lsn).await;
}

async fn check(store: &LocalStore, bodies: &[Vec<(StreamId, Batch)>]) {
    for number in 0..STREAMS {
        let own = bodies.iter().map(|copies| &copies[number as usize].1);
        assert!(
            read_all(store, id(number), number).await == concat(own),
            "{number}"
        );
    }
}

fn folder_bytes(disk: &SimDisk, folder: &str) -> u64 {
    let names = disk.names().into_iter();
    let files = names.filter(|name| name.starts_with(folder));
    files
        .map(|name| disk.content(&name).unwrap().len() as u64)
        .sum()
}

#[tokio::test]
async fn a_body_of_many_streams_is_held_and_written_once() {
    let disk = SimDisk::new();
    let store = open(&disk, roomy());
    let mut bodies = Vec::new();
    for n in 0..3 {
        bodies.push(copies(n, BODY));
        append(&store, &bodies[n as usize]).await;
    }
    let once = 3 * (BODY as u64 + STREAMS * EACH);
    let stats = store.stats();
    assert!(stats.unflushed_bytes < once, "{}", stats.unflushed_bytes);
    assert!(stats.unflushed_bytes > 3 * BODY as u64);
    let written = stats.journal_written_bytes;
    assert!(written < once, "{written}");
    check(&store, &bodies).await;
    // The readers have the same bytes, not copies of them.
    let own = |number| chunk(&store, id(number), number..u64::MAX, 1);
    let (one, other) = (own(1).await.unwrap(), own(2).await.unwrap());
    let records = |chunk: &storage::Chunk| chunk.batches().unwrap()[0].body().as_ptr();
    assert_eq!(records(&one), records(&other));
    assert_eq!(
        store.bounds(id(1)).unwrap().bytes,
        3 * bodies[0][1].1.bytes() as u64
    );

    // The journal is read back, and what it holds is held once again.
    disk.kill();
    drop(store);
    let store = open(&disk.next_life(), roomy());
    assert!(store.recovery().groups >= 3);
    check(&store, &bodies).await;
    assert_eq!(store.stats().unflushed_bytes, stats.unflushed_bytes);
}

#[tokio::test]
async fn memory_counts_as_long_as_any_stream_has_the_body() {
    let store = open(&SimDisk::new(), roomy());
    append(&store, &copies(0, BODY)).await;
    for number in 1..STREAMS {
        let lsn = match number % 2 {
            0 => store.trim(id(number), Trim::All),
            _ => store.trim(id(number), Trim::Before(u64::MAX)),
        };
        durable(&store, lsn.unwrap()).await;
        assert!(store.stats().unflushed_bytes > BODY as u64);
    }
    store.trim(id(0), Trim::Before(u64::MAX)).unwrap();
    assert_eq!(store.stats().unflushed_bytes, 0);

    // The same where segments have it too.
    append(&store, &copies(1, BODY)).await;
    store.flush().unwrap();
    let stats = store.stats();
    assert_eq!(stats.unflushed_bytes, 0);
    assert!(stats.tail_bytes > BODY as u64);
    assert!(stats.tail_bytes < BODY as u64 + STREAMS * EACH);
    for number in 0..STREAMS {
        assert!(store.stats().tail_bytes > BODY as u64);
        store.trim(id(number), Trim::All).unwrap();
    }
    assert_eq!(store.stats().tail_bytes, 0);
}

#[tokio::test]
async fn a_gap_takes_back_what_was_shared() {
    let store = open(&SimDisk::new(), roomy());
    put(&store, id(STREAMS - 1), &filled(0, 10)).await;
    let before = store.stats().unflushed_bytes;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let appends = copies(0, BODY).into_iter();
        let appends = appends.map(|(stream, batch)| Append { stream, batch });
        store.append(appends.collect(), Durability::Sync)
    }));
    assert!(result.is_err());
    assert_eq!(store.stats().unflushed_bytes, before);
    assert_eq!(store.bounds(id(0)), None);
}
