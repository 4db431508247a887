//! Batches of many streams with the same records: held once, written once, and the same for readers.

use std::sync::Arc;

use storage::local::{LocalStore, Options};
use storage::{Append, Batch, Durability, Error, Log, Seek, StreamId, Trim};
use testkit::SimDisk;

use crate::fixture::{chunk, concat, durable, filled, plain_options, put, read_all, stream};

const STREAMS: u64 = 50;
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

/// Nothing is kept for readers that segments have.
fn cold() -> Options {
    Options {
        tail_bytes: 0,
        ..roomy()
    }
}

#[tokio::test]
async fn segments_hold_a_shared_body_once() {
    let disk = SimDisk::new();
    let store = open(&disk, cold());
    let mut bodies = Vec::new();
    // More than a stream needs for a segment of its own, if it were its own.
    for n in 0..11 {
        bodies.push(copies(n, BODY));
        append(&store, &bodies[n as usize]).await;
    }
    store.flush().unwrap();
    assert_eq!(store.stats().tail_bytes, 0);
    let once = 11 * (BODY as u64 + STREAMS * EACH);
    assert!(folder_bytes(&disk, "segments/") < once);
    assert!(store.stats().flushed_bytes < once);
    check(&store, &bodies).await;
    for bytes in [0, 100_000, 100_200, 300_500, 1 << 30] {
        let own: Vec<u64> = bodies.iter().map(|c| c[7].1.bytes() as u64).collect();
        let count = (0..=11).rfind(|n| own[11 - n..].iter().sum::<u64>() <= bytes);
        let found = store.seek(id(7), Seek::TailBytes(bytes)).await.unwrap();
        let expected = count.filter(|n| *n > 0).map(|n| 7 + 11 - n as u64);
        assert_eq!(found.map(|found| found.base_offset), expected);
    }
    let found = store.seek(id(7), Seek::Time(4)).await.unwrap().unwrap();
    assert_eq!((found.base_offset, found.max_timestamp), (7 + 4, 4));
    let from = chunk(&store, id(7), 10..12, 1 << 30).await.unwrap();
    assert_eq!(
        (from.next_offset, from.bytes),
        (12, 2 * bodies[3][7].1.bytes())
    );
    let most = chunk(&store, id(7), 7..u64::MAX, 250_000).await.unwrap();
    assert_eq!(most.next_offset, 9);

    // After a regular end, and after a crash behind a checkpoint.
    store.close().unwrap();
    let store = open(&disk.next_life(), cold());
    assert!(store.recovery().clean);
    check(&store, &bodies).await;
    drop(store);
    let store = open(&disk.next_life(), cold());
    assert!(!store.recovery().clean);
    check(&store, &bodies).await;
}

#[tokio::test]
async fn shared_bodies_stay_until_the_last_stream_is_gone() {
    let disk = SimDisk::new();
    let store = open(&disk, cold());
    let body = copies(0, BODY);
    append(&store, &body).await;
    store.flush().unwrap();
    for number in 0..STREAMS {
        let own = read_all(&store, id(number), number).await;
        assert!(own == body[number as usize].1.to_bytes());
        store.trim(id(number), Trim::All).unwrap();
        if number % 10 == 0 {
            // Packs that lose much are written again, in the background.
            store.flush().unwrap();
            assert!(folder_bytes(&disk, "segments/") > BODY as u64);
        }
    }
    put(&store, id(0), &filled(0, 10)).await;
    store.flush().unwrap();
    assert!(folder_bytes(&disk, "segments/") < 10_000);
}

/// What a stream alone has; one of them has much.
fn of_its_own(number: u64, n: u64) -> (StreamId, Batch) {
    let bytes = if number == 5 { 120_000 } else { 20 };
    (id(number), filled(n, bytes).placed(number + n, 0, None))
}

#[tokio::test]
async fn merged_packs_hold_a_shared_body_once() {
    let disk = SimDisk::new();
    let options = || Options {
        pack_files_max: 3,
        own_segment_bytes: 150_000,
        ..cold()
    };
    let store = open(&disk, options());
    let mut bodies: Vec<Vec<(StreamId, Batch)>> = Vec::new();
    for n in 0..24 {
        // Something of its own in between, for some of them much.
        let bytes = if n % 3 == 0 { BODY } else { 300 };
        let mut some = copies(n, bytes);
        if n % 3 == 1 {
            some = (0..STREAMS).map(|number| of_its_own(number, n)).collect();
        }
        append(&store, &some).await;
        bodies.push(some);
        store.flush().unwrap();
    }
    // How many there are depends on how the threads fall: a late one takes all packs at once.
    while store.stats().merges == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    check(&store, &bodies).await;
    let own = 8 * 120_000;
    let once = 8 * BODY as u64 + own + 24 * STREAMS * EACH;
    store.close().unwrap();
    // Whatever was merged or not: twice at most, where an old pack is not removed yet.
    assert!(folder_bytes(&disk, "segments/") < 2 * once);
    let store = open(&disk.next_life(), options());
    check(&store, &bodies).await;
    for number in (0..STREAMS).filter(|number| number % 10 > 0) {
        store.trim(id(number), Trim::All).unwrap();
    }
    for number in (0..STREAMS).step_by(10) {
        store.trim(id(number), Trim::Before(number + 20)).unwrap();
    }
    store.flush().unwrap();
    put(&store, id(1), &filled(0, 10)).await;
    store.flush().unwrap();
    while store.stats().merges == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for number in (0..STREAMS).step_by(10) {
        let own = bodies[20..].iter().map(|copies| &copies[number as usize].1);
        assert!(read_all(&store, id(number), number + 20).await == concat(own));
    }
    store.flush().unwrap();
    assert!(
        folder_bytes(&disk, "segments/") < once / 2,
        "what nobody has is gone"
    );
}

#[tokio::test]
async fn damage_to_a_shared_body_is_told_to_those_who_have_it() {
    let disk = SimDisk::new();
    let store = open(&disk, cold());
    let body = copies(0, 3_000);
    append(&store, &body[..4]).await;
    put(&store, id(9), &filled(0, 3_000)).await;
    store.close().unwrap();
    drop(store);
    let disk = disk.next_life();
    let name = disk
        .names()
        .into_iter()
        .find(|name| name.starts_with("segments/"));
    let name = name.unwrap();
    // The body and the four stubs; then the batch of the other stream.
    let records = body[0].1.body().len() as u64;
    for at in (0..records + 4 * 69).step_by(31) {
        let copy = disk.copy();
        copy.flip(&name, at, 1);
        let store = open(&copy, cold());
        let mut damaged = 0;
        for (stream, batch) in &body[..4] {
            let base = batch.header.base_offset;
            match chunk(&store, *stream, base..u64::MAX, 1 << 20).await {
                Ok(chunk) => assert!(chunk.pieces.concat() == batch.to_bytes()),
                Err(Error::Corrupt { .. }) => damaged += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(damaged, if at < records { 4 } else { 1 }, "at {at}");
        assert!(read_all(&store, id(9), 0).await == filled(0, 3_000).to_bytes());
    }
}
