//! Checkpoints as a whole with changes behind it: what is written, what a start makes of it, and what damage to it comes to.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::disk::Disk;
use storage::local::{LocalStore, Options};
use storage::{Catalog, Document, Error, Expected, Log, Trim};
use testkit::{Fault, SimDisk};

use crate::fixture::{concat, durable, filled, plain_options, put, read_all, stream, tiny_options};

const NAME: &str = "checkpoint";
const PAGE: usize = 4096;
const HEADER: usize = 56;

/// A journal of one file, of which the mark learns late: no checkpoint is vouched for but by itself.
fn quiet() -> Options {
    Options {
        journal_file_bytes_first: 1 << 20,
        mark_interval: Duration::from_hours(1),
        ..plain_options()
    }
}

/// The same, and the mark follows at once.
fn marking() -> Options {
    Options {
        mark_interval: Duration::from_millis(1),
        ..quiet()
    }
}

fn open(disk: &SimDisk, options: Options) -> Result<LocalStore, Error> {
    LocalStore::open(Arc::new(disk.clone()), options)
}

fn content(disk: &SimDisk) -> Vec<u8> {
    disk.content(NAME).unwrap()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Where each part begins and how long it is, without what fills it up.
fn parts(content: &[u8]) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < content.len() {
        assert!(content[at..].starts_with(b"FBCP\x05\0\0\0"), "at {at}");
        assert_eq!(number(content, at + 44), parts.len() as u64);
        let length = HEADER + number(content, at + 8) as usize;
        parts.push((at, length));
        at += length.next_multiple_of(PAGE);
    }
    assert_eq!(at, content.len());
    parts
}

fn overwrite(disk: &SimDisk, at: usize, bytes: &[u8]) {
    let file = Disk::open(disk, NAME).unwrap();
    file.write_at(&[IoSlice::new(bytes)], at as u64).unwrap();
}

fn set_len(disk: &SimDisk, len: usize) {
    let file = Disk::open(disk, NAME).unwrap();
    file.set_len(len as u64).unwrap();
}

async fn document(store: &LocalStore, key: &str, value: Option<&[u8]>) {
    let value = value.map(Bytes::copy_from_slice);
    store.put_if(key, Expected::Any, value).await.unwrap();
}

/// What a store holds: documents, and what can be read of streams 1 to 5.
#[derive(Debug, Clone, PartialEq)]
struct Picture {
    documents: Vec<(String, Document)>,
    streams: Vec<Option<(u64, u64, Vec<u8>)>>,
}

async fn picture(store: &LocalStore) -> Picture {
    let mut streams = Vec::new();
    for number in 1..=5 {
        let Some(bounds) = store.bounds(stream(number)) else {
            streams.push(None);
            continue;
        };
        let bytes = read_all(store, stream(number), bounds.start).await;
        streams.push(Some((bounds.start, bounds.end, bytes)));
    }
    let documents = store.list("").await.unwrap();
    Picture { documents, streams }
}

/// A history with a checkpoint after each of its five steps: everything that changes shows in one of them.
async fn history(store: &LocalStore) {
    for number in 1..=3 {
        put(store, stream(number), &filled(0, 500)).await;
        put(store, stream(number), &filled(1, 500)).await;
        document(store, &format!("d{number}"), Some(b"first")).await;
    }
    store.flush().unwrap();
    put(store, stream(1), &filled(2, 500)).await;
    document(store, "d1", Some(b"second")).await;
    document(store, "d4", Some(b"first")).await;
    store.flush().unwrap();
    let lsn = store.trim(stream(2), Trim::Before(1)).unwrap();
    durable(store, lsn).await;
    document(store, "d2", None).await;
    store.flush().unwrap();
    let lsn = store.trim(stream(3), Trim::All).unwrap();
    durable(store, lsn).await;
    put(store, stream(3), &filled(7, 500)).await;
    document(store, "d2", Some(b"again")).await;
    store.flush().unwrap();
    put(store, stream(4), &filled(0, 500)).await;
    let lsn = store.trim(stream(1), Trim::All).unwrap();
    durable(store, lsn).await;
    document(store, "d3", None).await;
    store.flush().unwrap();
}

/// A killed store with this history on a disk, and what it held.
async fn killed(options: Options) -> (SimDisk, Picture) {
    let disk = SimDisk::new();
    let store = open(&disk, options).unwrap();
    history(&store).await;
    let held = picture(&store).await;
    disk.kill();
    drop(store);
    (disk.next_life(), held)
}

/// The disk of a store that was killed while it added the last changes to its checkpoint: all of them are there, and
/// nothing is yet that came after.
async fn killed_while_adding(store: LocalStore, disk: &SimDisk) -> (SimDisk, Picture) {
    let held = picture(&store).await;
    let adding = disk.copy();
    store.flush().unwrap();
    let is_new = |name: &String| name == NAME || name.starts_with("segments/");
    for name in disk.names().into_iter().filter(is_new) {
        let content = disk.content(&name).unwrap();
        if let Ok(file) = Disk::open(&adding, &name).or_else(|_| adding.create(&name)) {
            file.write_at(&[IoSlice::new(&content)], 0).unwrap();
        }
    }
    (adding, held)
}

/// A store with one more change than its checkpoint knows.
async fn with_changes(disk: &SimDisk) -> LocalStore {
    let store = open(disk, quiet()).unwrap();
    history(&store).await;
    put(&store, stream(2), &filled(2, 500)).await;
    put(&store, stream(5), &filled(0, 500)).await;
    document(&store, "d2", None).await;
    document(&store, "d5", Some(b"first")).await;
    store
}

/// Waits until nothing but what a test does touches the disk.
async fn files_are_ready(store: &LocalStore) {
    while store.stats().journal_files < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Opening is refused, and nothing on disk changes.
fn refused(disk: &SimDisk, says: &str) {
    let image = |disk: &SimDisk| -> Vec<_> {
        let names = disk.names().into_iter();
        names.map(|name| (disk.content(&name), name)).collect()
    };
    let before = image(disk);
    let error = open(disk, quiet()).err().expect("must not open");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(says), "{message:?} does not say {says:?}");
    assert!(image(disk) == before, "something was changed: {message}");
}

async fn holds(disk: &SimDisk, expected: &Picture) {
    let store = open(disk, quiet()).unwrap();
    let found = picture(&store).await;
    assert!(found == *expected, "{found:?}");
}

#[tokio::test]
async fn what_changed_is_added_and_read_back() {
    let (disk, held) = killed(quiet()).await;
    assert_eq!(parts(&content(&disk)).len(), 5);
    holds(&disk.copy(), &held).await;
    // Also without the journal's help: after a clean end nothing is replayed.
    let store = open(&disk, quiet()).unwrap();
    history_again(&store).await;
    let held = picture(&store).await;
    store.close().unwrap();
    drop(store);
    assert!(parts(&content(&disk)).len() > 1);
    let store = open(&disk, quiet()).unwrap();
    assert!(store.recovery().clean);
    assert!(picture(&store).await == held);
}

/// More checkpoints in another run.
async fn history_again(store: &LocalStore) {
    for round in 0..3 {
        put(store, stream(5), &filled(round, 100)).await;
        document(store, "d5", Some(&[round as u8])).await;
        store.flush().unwrap();
    }
    store.trim(stream(2), Trim::All).unwrap();
    document(store, "d4", None).await;
    store.flush().unwrap();
}

#[tokio::test]
async fn a_small_change_costs_little_whatever_there_is() {
    let disk = SimDisk::new();
    let store = open(&disk, quiet()).unwrap();
    for number in 0..2_000 {
        document(&store, &format!("topics/{number}"), Some(&[7; 100])).await;
    }
    for number in 0..500 {
        put(&store, stream(number), &filled(0, 10)).await;
    }
    store.flush().unwrap();
    let whole = store.stats().checkpoint_bytes;
    assert!(whole > 250_000, "{whole}");
    for round in 0..50 {
        document(&store, "topics/7", Some(&[round; 100])).await;
        put(&store, stream(3), &filled(u64::from(round) + 1, 10)).await;
        store.flush().unwrap();
    }
    let changes = store.stats().checkpoint_bytes - whole;
    assert_eq!(changes, 50 * PAGE as u64);
}

#[tokio::test]
async fn the_whole_is_written_again_when_changes_have_outgrown_it() {
    let disk = SimDisk::new();
    let store = open(&disk, tiny_options()).unwrap();
    let (mut wholes, mut before, mut largest) = (0, Vec::new(), 0);
    for round in 0..60 {
        document(&store, "one", Some(&[round; 2_000])).await;
        store.flush().unwrap();
        let now = content(&disk)[28..44].to_vec();
        wholes += usize::from(now != before);
        before = now;
        largest = largest.max(content(&disk).len());
    }
    assert!((8..30).contains(&wholes), "{wholes}");
    assert!(largest <= 7 * PAGE, "{largest}");
}

#[tokio::test]
async fn many_changed_documents_make_a_whole() {
    let disk = SimDisk::new();
    let store = open(&disk, quiet()).unwrap();
    document(&store, "first", Some(b"v")).await;
    store.flush().unwrap();
    let puts = (0..5_000).map(|number| format!("d{number}"));
    for key in puts.collect::<Vec<_>>() {
        store
            .put_if(&key, Expected::Any, Some(Bytes::new()))
            .await
            .unwrap();
    }
    store.flush().unwrap();
    assert_eq!(parts(&content(&disk)).len(), 1);
    let held = picture(&store).await;
    disk.kill();
    drop(store);
    holds(&disk.next_life(), &held).await;
}

#[tokio::test]
async fn changes_that_were_never_finished_are_left_out() {
    let disk = SimDisk::new();
    let (disk, held) = killed_while_adding(with_changes(&disk).await, &disk).await;
    let content = content(&disk);
    let (at, length) = *parts(&content).last().unwrap();
    holds(&disk.copy(), &held).await;
    // Cut off anywhere, also where the file had grown already.
    for bytes in (0..length).step_by(7).chain([length - 1, length, PAGE]) {
        for is_grown in [false, true] {
            let copy = disk.copy();
            set_len(&copy, at + bytes);
            if is_grown {
                set_len(&copy, content.len());
            }
            holds(&copy, &held).await;
        }
    }
    // Of some sectors nothing arrived.
    for sector in (at..content.len()).step_by(512) {
        let copy = disk.copy();
        overwrite(&copy, sector, &[0; 512]);
        holds(&copy, &held).await;
    }
    for byte in at..at + length {
        let copy = disk.copy();
        copy.flip(NAME, byte as u64, 3);
        holds(&copy, &held).await;
    }
}

#[tokio::test]
async fn nothing_is_added_behind_changes_that_were_never_finished() {
    let disk = SimDisk::new();
    let (disk, held) = killed_while_adding(with_changes(&disk).await, &disk).await;
    let whole = content(&disk);
    let (at, length) = *parts(&whole).last().unwrap();
    set_len(&disk, at + length / 2);
    let store = open(&disk, quiet()).unwrap();
    assert!(picture(&store).await == held);
    store.flush().unwrap();
    let first = content(&disk);
    assert_eq!(parts(&first).len(), 1);
    assert_ne!(first[28..44], whole[28..44], "another identity");
    document(&store, "d9", Some(b"v")).await;
    store.flush().unwrap();
    assert_eq!(parts(&content(&disk)).len(), 2);
}

/// Where the last changes had been finished, and segments were removed for them, their loss is noticed or does no harm.
#[tokio::test]
async fn changes_that_were_finished_are_missed_or_not_needed() {
    let (disk, held) = killed(quiet()).await;
    let content = content(&disk);
    let (at, length) = *parts(&content).last().unwrap();
    let mut refused = 0;
    for bytes in (0..length).step_by(11) {
        let copy = disk.copy();
        set_len(&copy, at + bytes);
        match open(&copy, quiet()) {
            Ok(store) => assert!(picture(&store).await == held),
            Err(error) => {
                assert!(error.to_string().contains("it is an old one"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn changes_that_the_journal_depends_on_are_missed() {
    let disk = SimDisk::new();
    let store = open(&disk, marking()).unwrap();
    history(&store).await;
    // The mark names the checkpoint with what comes behind it.
    put(&store, stream(5), &filled(0, 10)).await;
    while store.stats().unmarked_groups > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    disk.kill();
    drop(store);
    let disk = disk.next_life();
    let content = content(&disk);
    let (at, length) = *parts(&content).last().unwrap();
    let old = "it is an old one that replays from group";
    for bytes in [0, 1, 100, length / 2, length - 1] {
        let copy = disk.copy();
        set_len(&copy, at + bytes);
        refused(&copy, old);
    }
    for byte in [0, 5, 10, 17, 25, 30, 45, 53, HEADER, length - 1] {
        let copy = disk.copy();
        copy.flip(NAME, (at + byte) as u64, 0);
        refused(&copy, old);
    }
}

#[tokio::test]
async fn changes_that_a_clean_end_names_are_missed() {
    let disk = SimDisk::new();
    let store = open(&disk, quiet()).unwrap();
    history(&store).await;
    store.close().unwrap();
    drop(store);
    let content = content(&disk);
    let (at, length) = *parts(&content).last().unwrap();
    for byte in [0, 17, 45, HEADER, length - 1] {
        let copy = disk.copy();
        copy.flip(NAME, (at + byte) as u64, 0);
        refused(&copy, "not the one that the store was closed with");
    }
    set_len(&disk, at);
    refused(&disk, "not the one that the store was closed with");
}

#[tokio::test]
async fn damage_in_the_middle_is_refused() {
    let (disk, _) = killed(quiet()).await;
    let content = content(&disk);
    let parts = parts(&content);
    let (at, length) = parts[0];
    for byte in (0..length).step_by(5) {
        let copy = disk.copy();
        copy.flip(NAME, (at + byte) as u64, byte as u8 % 8);
        let error = open(&copy, quiet()).err().expect("must not open");
        let is_known = matches!(error, Error::Corrupt { .. } | Error::Format { .. });
        assert!(is_known, "{error}");
    }
    for (serial, &(at, length)) in parts.iter().enumerate().take(4).skip(1) {
        let says = format!("changes {serial} are missing or damaged, but changes");
        for byte in (0..length).step_by(5).chain([44, length - 1]) {
            let copy = disk.copy();
            copy.flip(NAME, (at + byte) as u64, 2);
            refused(&copy, &says);
        }
        let copy = disk.copy();
        overwrite(&copy, at, &[0; PAGE]);
        refused(&copy, &says);
    }
}

#[tokio::test]
async fn parts_that_are_out_of_order_are_refused() {
    let (disk, _) = killed(quiet()).await;
    let content = content(&disk);
    let parts = parts(&content);
    assert!(parts.iter().all(|(_, length)| *length <= PAGE));
    let part = |serial: usize| &content[serial * PAGE..(serial + 1) * PAGE];
    // Twice, also at the end; in another order; one missing; the whole again.
    let orders: [&[usize]; 7] = [
        &[0, 1, 1, 3, 4],
        &[0, 1, 2, 3, 4, 4],
        &[0, 2, 1, 3, 4],
        &[0, 1, 3, 4],
        &[0, 4],
        &[0, 0, 1, 2, 3, 4],
        &[0, 1, 2, 0],
    ];
    for order in orders {
        let copy = disk.copy();
        let bytes: Vec<u8> = order
            .iter()
            .flat_map(|serial| part(*serial))
            .copied()
            .collect();
        set_len(&copy, 0);
        overwrite(&copy, 0, &bytes);
        refused(&copy, "where changes");
    }
    let copy = disk.copy();
    set_len(&copy, 0);
    overwrite(&copy, 0, &content[PAGE..]);
    refused(&copy, "the checksum does not match");
}

/// A part in which everything is right.
fn sealed(identity: &[u8], serial: u64, body: &[u8]) -> Vec<u8> {
    let mut header = b"FBCP\x05\0\0\0".to_vec();
    header.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let mut checked = 1_u64.to_le_bytes().to_vec();
    checked.extend_from_slice(identity);
    checked.extend_from_slice(&serial.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&checked), body);
    header.extend_from_slice(&crc.to_le_bytes());
    header.extend_from_slice(&checked);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    header.extend_from_slice(body);
    header.resize(header.len().next_multiple_of(PAGE), 0);
    header
}

#[tokio::test]
async fn counts_and_lengths_are_not_believed() {
    let disk = SimDisk::new();
    let (disk, held) = killed_while_adding(with_changes(&disk).await, &disk).await;
    let content = content(&disk);
    let (at, length) = *parts(&content).last().unwrap();
    let body = &content[at + HEADER..at + length];
    let with = |body: &[u8]| {
        let copy = disk.copy();
        set_len(&copy, at);
        overwrite(&copy, at, &sealed(&content[28..44], 5, body));
        copy
    };
    holds(&with(body), &held).await;
    // The count of streams, and what the first one says of its extents.
    for (field, bytes) in [(40, 8), (84, 4)] {
        for count in [0_u64, 1 << 20, u64::MAX] {
            let mut body = body.to_vec();
            body[field..field + bytes].copy_from_slice(&count.to_le_bytes()[..bytes]);
            refused(&with(&body), "a field is cut short");
        }
    }
    for bytes in 0..body.len() {
        refused(&with(&body[..bytes]), "");
    }
    let longer = [body, &[0; 8]].concat();
    refused(&with(&longer), "a field is cut short");
    // A stream that ends before it begins.
    let mut body = body.to_vec();
    body[68..76].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&with(&body), "a field is cut short");
    // A part that says that it is longer than the file.
    let copy = disk.copy();
    let mut header = content[at..at + HEADER].to_vec();
    for length in [1 << 40, u64::MAX, u64::MAX - at as u64 - HEADER as u64] {
        header[8..16].copy_from_slice(&u64::to_le_bytes(length));
        let crc = crc32c::crc32c(&header[..52]);
        header[52..].copy_from_slice(&crc.to_le_bytes());
        overwrite(&copy, at, &header);
        holds(&copy.copy(), &held).await;
    }
}

/// What peers put into documents is not taken for parts, whatever it looks like and wherever it is.
#[tokio::test]
async fn values_that_look_like_parts_do_nothing() {
    let disk = SimDisk::new();
    let options = Options {
        journal_file_bytes_first: 4 << 20,
        ..quiet()
    };
    let store = open(&disk, options).unwrap();
    history(&store).await;
    let forged: Vec<u8> = (4..12)
        .flat_map(|serial| sealed(&[0; 16], serial, b"nothing"))
        .collect();
    for skew in 0..64 {
        let value = [vec![b'v'; skew * 64], forged.clone()].concat();
        document(&store, &format!("forged/{skew}"), Some(&value)).await;
    }
    let (disk, held) = killed_while_adding(store, &disk).await;
    let (at, length) = *parts(&content(&disk)).last().unwrap();
    holds(&disk.copy(), &held).await;
    for bytes in [HEADER, length / 2, length - 1] {
        let copy = disk.copy();
        set_len(&copy, at + bytes);
        holds(&copy, &held).await;
    }
}

#[tokio::test]
async fn a_failed_sync_of_changes_is_final() {
    // Of the segment, of the changes, and none.
    for (n, fails) in [(0, true), (1, true), (2, false)] {
        let disk = SimDisk::new();
        let store = open(&disk, quiet()).unwrap();
        put(&store, stream(1), &filled(0, 100)).await;
        store.flush().unwrap();
        document(&store, "d1", Some(b"v")).await;
        put(&store, stream(1), &filled(1, 100)).await;
        files_are_ready(&store).await;
        disk.inject(Fault::Sync(n));
        let flushed = store.flush();
        assert_eq!(flushed.is_err(), fails, "{flushed:?}");
        let syncs = disk.counts().1;
        if fails {
            assert!(store.failed().borrow().is_some());
            assert!(store.flush().is_err(), "it is not tried again");
            let refused = store.put_if("d2", Expected::Any, Some(Bytes::new())).await;
            assert!(matches!(refused, Err(Error::Poisoned(_))), "{refused:?}");
            assert_eq!(disk.counts().1, syncs);
        }
        disk.crash(n);
        drop(store);
        let store = open(&disk.next_life(), quiet()).unwrap();
        let expected = [filled(0, 100), filled(1, 100)];
        assert!(read_all(&store, stream(1), 0).await == concat(&expected));
        assert!(store.get("d1").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn where_a_whole_has_no_space_changes_are_written() {
    let disk = SimDisk::new();
    let options = Options {
        checkpoint_changes_bytes: 1,
        ..quiet()
    };
    let store = open(&disk, options).unwrap();
    for number in 0..20 {
        document(&store, &format!("d{number}"), Some(&[1; 1_000])).await;
    }
    store.flush().unwrap();
    let before = content(&disk);
    files_are_ready(&store).await;
    for round in 0..10 {
        // Room for changes and a small segment, not for all documents.
        disk.set_capacity(Some(disk.used() + 3 * PAGE as u64));
        store.put_if("d1", Expected::Any, None).await.unwrap();
        let lsn = store.append(
            vec![crate::fixture::append(stream(1), &filled(round, 10))],
            storage::Durability::Vital,
        );
        durable(&store, lsn.unwrap()).await;
        store.flush().unwrap();
    }
    let after = content(&disk);
    assert_eq!(after[..before.len()], before, "it is the same whole");
    assert_eq!(parts(&after).len(), 11);
    assert!(
        disk.content("checkpoint.new").is_none(),
        "its space is free"
    );
    disk.set_capacity(None);
    let held = picture(&store).await;
    disk.kill();
    drop(store);
    holds(&disk.next_life(), &held).await;
}

/// A flush that has written segments and finds no space for its checkpoint leaves them to the streams that have them, whatever
/// the next checkpoint shows.
#[tokio::test]
async fn segments_outlast_a_checkpoint_that_failed() {
    let disk = SimDisk::new();
    let options = Options {
        tail_bytes: 0,
        ..quiet()
    };
    let store = open(&disk, options).unwrap();
    put(&store, stream(1), &filled(0, 100)).await;
    store.flush().unwrap();
    files_are_ready(&store).await;
    put(&store, stream(2), &filled(0, 100)).await;
    let lsn = store.trim(stream(1), Trim::Before(1)).unwrap();
    durable(&store, lsn).await;
    let written = store.stats().checkpoint_bytes;
    disk.set_capacity(Some(disk.used() + 3_000));
    let full = store.flush();
    assert!(matches!(full, Err(Error::DiskFull)), "{full:?}");
    disk.set_capacity(None);
    // By itself it writes one that replays from where the last one did, and so leaves stream 2 out.
    while store.stats().checkpoint_bytes == written || store.is_full() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    put(&store, stream(1), &filled(1, 100)).await;
    store.flush().unwrap();
    assert_eq!(store.stats().tail_bytes, 0);
    let expected = filled(0, 100).to_bytes();
    assert!(read_all(&store, stream(2), 0).await == expected);
    disk.kill();
    drop(store);
    let store = open(&disk.next_life(), quiet()).unwrap();
    assert!(read_all(&store, stream(2), 0).await == expected);
}

/// Appends batches with a checkpoint after each, until something fails; those that are durable.
async fn acknowledged(store: &LocalStore) -> Vec<storage::Batch> {
    let mut batches = vec![filled(0, 100)];
    for base in 1..12 {
        let batch = filled(base, 100);
        let append = vec![crate::fixture::append(stream(1), &batch)];
        let Ok(lsn) = store.append(append, storage::Durability::Sync) else {
            break;
        };
        let mut progress = store.progress();
        if progress.wait_for(|at| at.durable >= lsn).await.is_err() {
            break;
        }
        batches.push(batch);
        if store.flush().is_err() {
            break;
        }
    }
    batches
}

/// Whatever write or sync fails or is the last one before the power does, on the way of several checkpoints.
#[tokio::test]
async fn a_crash_anywhere_between_checkpoints_loses_nothing() {
    let faults = (0..60).flat_map(|n| [Fault::Write(n), Fault::ShortWrite(n), Fault::Sync(n)]);
    for (seed, fault) in (0..).zip(faults) {
        let disk = SimDisk::new();
        let store = open(&disk, tiny_options()).unwrap();
        put(&store, stream(1), &filled(0, 100)).await;
        document(&store, "kept", Some(b"v")).await;
        store.flush().unwrap();
        disk.inject(fault);
        let acknowledged = acknowledged(&store).await;
        disk.crash(seed);
        drop(store);
        let store = open(&disk.next_life(), tiny_options()).unwrap();
        let found = read_all(&store, stream(1), 0).await;
        assert!(found.starts_with(&concat(&acknowledged)), "{fault:?}");
        assert!(store.get("kept").await.unwrap().is_some(), "{fault:?}");
    }
}
