//! What happens to a data folder while the store is not looking: the end of the journal goes missing, bytes that peers
//! sent look like groups, a folder comes from an earlier version.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use storage::disk::Disk;
use storage::local::{LocalStore, Options};
use storage::{Batch, Error, Log};
use testkit::{Fault, SimDisk};

use crate::fixture::{concat, filled, plain_options, put, read_all, stream, tiny_options};

const PAGE: usize = 4096;
const MARK: &str = "journal.mark";

fn open(disk: &SimDisk, options: Options) -> Result<LocalStore, Error> {
    LocalStore::open(Arc::new(disk.clone()), options)
}

fn image(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let content = |name: String| (name.clone(), disk.content(&name).unwrap());
    disk.names().into_iter().map(content).collect()
}

fn overwrite(disk: &SimDisk, name: &str, at: u64, bytes: &[u8]) {
    let file = Disk::open(disk, name).unwrap();
    file.write_at(&[IoSlice::new(bytes)], at).unwrap();
}

fn set_len(disk: &SimDisk, name: &str, len: u64) {
    Disk::open(disk, name).unwrap().set_len(len).unwrap();
}

fn journal(disk: &SimDisk) -> Vec<String> {
    let is_journal = |name: &String| name.starts_with("journal/");
    disk.names().into_iter().filter(is_journal).collect()
}

/// Where the groups of a file's present use begin, in order.
fn groups(disk: &SimDisk, name: &str) -> Vec<u64> {
    let content = disk.content(name).unwrap();
    let own = &content[24..40];
    let is_group = |page: &usize| {
        content[*page..].starts_with(b"FBJ2") && &content[page + 16..page + 32] == own
    };
    let pages = (PAGE..content.len()).step_by(PAGE);
    pages.filter(is_group).map(|page| page as u64).collect()
}

/// The file with the highest sequence, and where its groups are.
fn newest(disk: &SimDisk) -> (String, Vec<u64>) {
    let last_sequence = |name: &String| {
        let last = *groups(disk, name).last()? as usize;
        let content = disk.content(name).unwrap();
        Some(u64::from_le_bytes(
            content[last + 32..last + 40].try_into().unwrap(),
        ))
    };
    let name = journal(disk).into_iter().max_by_key(last_sequence).unwrap();
    let groups = groups(disk, &name);
    (name, groups)
}

async fn marked(store: &LocalStore) {
    while store.stats().unmarked_groups > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A journal of several files, with or without a checkpoint.
fn several_files() -> Options {
    Options {
        journal_file_bytes_first: 128 * 1024,
        journal_file_bytes: 128 * 1024,
        mark_interval: Duration::from_millis(1),
        ..plain_options()
    }
}

/// How the store that is tampered with had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Dropped,
    Closed,
}

/// A disk with two hundred durable batches of stream 1, all known to the mark.
async fn written(end: End, options: Options) -> (SimDisk, Vec<Batch>) {
    written_on(SimDisk::new(), end, options).await
}

async fn written_on(disk: SimDisk, end: End, options: Options) -> (SimDisk, Vec<Batch>) {
    let store = open(&disk, options).unwrap();
    let batches: Vec<_> = (0..200).map(|i| filled(i, 1_000)).collect();
    for batch in &batches[..100] {
        put(&store, stream(1), batch).await;
    }
    store.flush().unwrap();
    for batch in &batches[100..] {
        put(&store, stream(1), batch).await;
    }
    marked(&store).await;
    match end {
        End::Killed => disk.kill(),
        End::Dropped => {}
        End::Closed => store.close().unwrap(),
    }
    drop(store);
    (disk.next_life(), batches)
}

/// Opening is refused, again and again, with an error that says all of `says`, and nothing on disk changes.
fn refused(disk: &SimDisk, options: &Options, says: &[&str]) {
    let before = image(disk);
    for _ in 0..2 {
        let error = open(disk, options.clone()).err().expect("must not open");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        let message = error.to_string();
        for part in says.iter().chain(&["nothing was changed"]) {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        assert!(image(disk) == before, "something was changed: {message}");
    }
}

/// Does something to a copy of the disk and expects to be refused.
fn tampered(disk: &SimDisk, says: &[&str], tamper: impl Fn(&SimDisk)) {
    let copy = disk.copy();
    tamper(&copy);
    refused(&copy, &several_files(), says);
}

const ENDS: [End; 3] = [End::Killed, End::Dropped, End::Closed];

#[tokio::test]
async fn a_journal_whose_newest_file_is_cut_or_gone_is_refused() {
    for end in ENDS {
        let (disk, batches) = written(end, several_files()).await;
        let (name, _) = newest(&disk);
        for bytes in [0, 100, 4096, 60 * 1024] {
            let has = format!("should have 131072 bytes and has {bytes}");
            tampered(&disk, &[&name, &has], |disk| set_len(disk, &name, bytes));
        }
        let longer = "should have 131072 bytes and has 200000";
        tampered(&disk, &[&name, longer], |disk| {
            set_len(disk, &name, 200_000);
        });
        let gone = "a file of 131072 bytes is missing";
        tampered(&disk, &[&name, gone], |disk| disk.remove(&name).unwrap());
        let page = "its first page is not the one";
        tampered(&disk, &[&name, page], |disk| disk.flip(&name, 30, 2));
        tampered(&disk, &[&name, page], |disk| {
            overwrite(disk, &name, 0, &[0; PAGE]);
        });
        // As it was, it opens.
        let store = open(&disk, several_files()).unwrap();
        assert_eq!(store.recovery().clean, end == End::Closed);
        assert!(read_all(&store, stream(1), 0).await == concat(&batches));
    }
}

#[tokio::test]
async fn a_journal_whose_last_groups_are_zeroed_is_refused() {
    for end in [End::Killed, End::Dropped] {
        let (disk, _) = written(end, several_files()).await;
        let (name, starts) = newest(&disk);
        for count in [1, 2, starts.len()] {
            let from = starts[starts.len() - count];
            let says = [
                "is missing or damaged, but journal.mark says that all groups before",
                &name,
            ];
            tampered(&disk, &says, |disk| {
                let zeroes = vec![0; 128 * 1024 - from as usize];
                overwrite(disk, &name, from, &zeroes);
            });
        }
    }
}

#[tokio::test]
async fn a_journal_without_files_is_refused() {
    for end in ENDS {
        let (disk, _) = written(end, several_files()).await;
        tampered(
            &disk,
            &["journal/", "should have 131072 bytes and has 0"],
            |disk| {
                for name in journal(disk) {
                    set_len(disk, &name, 0);
                }
            },
        );
        tampered(&disk, &["journal/", "is missing"], |disk| {
            for name in journal(disk) {
                disk.remove(&name).unwrap();
            }
        });
        tampered(&disk, &["journal/", "its first page"], |disk| {
            for name in journal(disk) {
                overwrite(disk, &name, 0, &vec![0; 128 * 1024]);
            }
        });
    }
}

#[tokio::test]
async fn a_mark_that_is_gone_or_damaged_is_refused() {
    for end in ENDS {
        let (disk, _) = written(end, several_files()).await;
        tampered(&disk, &[MARK, "is missing although"], |disk| {
            disk.remove(MARK).unwrap();
        });
        tampered(
            &disk,
            &[MARK, "should have 65536 bytes and has 5000"],
            |disk| {
                set_len(disk, MARK, 5_000);
            },
        );
        tampered(&disk, &[MARK, "neither of its two slots"], |disk| {
            overwrite(disk, MARK, 0, &vec![0; 65_536]);
        });
        tampered(&disk, &[MARK, "neither of its two slots"], |disk| {
            disk.flip(MARK, 20, 1);
            disk.flip(MARK, 32_768 + 20, 1);
        });
        // The mark and the checkpoint together: what is left says that there was more.
        tampered(&disk, &["is missing"], |disk| {
            disk.remove(MARK).unwrap();
            disk.remove("checkpoint").unwrap();
        });
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_gone_or_an_old_one_is_refused() {
    for end in ENDS {
        let disk = SimDisk::new();
        let store = open(&disk, several_files()).unwrap();
        put(&store, stream(1), &filled(0, 1_000)).await;
        store.flush().unwrap();
        let old = disk.content("checkpoint").unwrap();
        for i in 1..100 {
            put(&store, stream(1), &filled(i, 1_000)).await;
        }
        store.flush().unwrap();
        put(&store, stream(1), &filled(100, 1_000)).await;
        marked(&store).await;
        match end {
            End::Killed => disk.kill(),
            End::Dropped => {}
            End::Closed => store.close().unwrap(),
        }
        drop(store);
        let disk = disk.next_life();
        tampered(&disk, &["checkpoint", "it is missing"], |disk| {
            disk.remove("checkpoint").unwrap();
        });
        let says = match end {
            End::Closed => "not the one that the store was closed with",
            _ => "an old one that replays from group 2",
        };
        tampered(&disk, &["checkpoint", says], |disk| {
            disk.remove("checkpoint").unwrap();
            disk.create("checkpoint").unwrap();
            overwrite(disk, "checkpoint", 0, &old);
        });
    }
}

#[tokio::test]
async fn a_group_that_is_younger_than_the_mark_cannot_be_told_from_a_torn_one() {
    let options = Options {
        mark_interval: Duration::from_hours(1),
        ..several_files()
    };
    let disk = SimDisk::new();
    let store = open(&disk, options.clone()).unwrap();
    let batches: Vec<_> = (0..10).map(|i| filled(i, 1_000)).collect();
    for batch in &batches {
        put(&store, stream(1), batch).await;
    }
    disk.kill();
    drop(store);
    let disk = disk.next_life();
    let (name, starts) = newest(&disk);
    // The limit that is documented: nothing vouches for the last group.
    let last = disk.copy();
    overwrite(&last, &name, starts[9], &[0; PAGE]);
    let store = open(&last, options.clone()).unwrap();
    assert!(read_all(&store, stream(1), 0).await == concat(&batches[..9]));
    // For the one before it the last one does.
    let middle = disk.copy();
    overwrite(&middle, &name, starts[8], &[0; PAGE]);
    refused(&middle, &options, &[&name, "says it was durable"]);
}

#[tokio::test]
async fn nothing_is_written_while_nothing_happens() {
    let disk = SimDisk::new();
    let store = open(&disk, several_files()).unwrap();
    put(&store, stream(1), &filled(0, 100)).await;
    while store.stats().journal_files < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    marked(&store).await;
    let before = disk.counts();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(disk.counts(), before);
}

/// One entry of a forged group.
fn forged_entry(seed: u32, kind: u8, owner: u128, body: &[u8]) -> Vec<u8> {
    let mut entry = (body.len() as u32).to_le_bytes().to_vec();
    entry.extend_from_slice(&[kind, 0, 0, 0]);
    entry.extend_from_slice(&owner.to_be_bytes());
    entry.extend_from_slice(&0_u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &entry), body);
    entry.extend_from_slice(&crc.to_le_bytes());
    entry.extend_from_slice(body);
    entry
}

/// A page that is right in everything a peer can know or guess: it removes stream 1.
fn forged_group(generation: u64, identity: [u8; 16], sequence: u64, durable: u64) -> Vec<u8> {
    const REMOVE: u8 = 3;
    let identity = (generation, identity);
    forged_entries(identity, sequence, durable, &[(REMOVE, 1, Vec::new())])
}

/// Such a group with these entries, each as its kind, the stream and its body.
fn forged_entries(
    (generation, identity): (u64, [u8; 16]),
    sequence: u64,
    durable: u64,
    entries: &[(u8, u128, Vec<u8>)],
) -> Vec<u8> {
    let seed = crc32c::crc32c(&identity);
    let seed = crc32c::crc32c_append(seed, &generation.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &sequence.to_le_bytes());
    let count = entries.len() as u32;
    let entries = entries
        .iter()
        .flat_map(|(kind, owner, body)| forged_entry(seed, *kind, *owner, body));
    let entries: Vec<u8> = entries.collect();
    let mut group = b"FBJ2\0\0\0\0".to_vec();
    group.extend_from_slice(&generation.to_le_bytes());
    group.extend_from_slice(&identity);
    for number in [sequence, durable, 64 + entries.len() as u64] {
        group.extend_from_slice(&number.to_le_bytes());
    }
    group.extend_from_slice(&count.to_le_bytes());
    group.extend_from_slice(&crc32c::crc32c(&group).to_le_bytes());
    group.extend_from_slice(&entries);
    group.resize(group.len().next_multiple_of(PAGE), 0);
    group
}

fn newest_generation(disk: &SimDisk) -> u64 {
    let names = journal(disk);
    names
        .iter()
        .map(|name| generation_of(name))
        .max()
        .unwrap_or(0)
}

fn generation_of(name: &str) -> u64 {
    u64::from_str_radix(name.strip_prefix("journal/").unwrap(), 16).unwrap()
}

#[tokio::test]
async fn a_forged_group_does_nothing() {
    let (disk, batches) = written(End::Killed, several_files()).await;
    let (name, starts) = newest(&disk);
    let content = disk.content(&name).unwrap();
    let generation = generation_of(&name);
    let last = *starts.last().unwrap() as usize;
    let sequence = u64::from_le_bytes(content[last + 32..last + 40].try_into().unwrap());
    let own: [u8; 16] = content[24..40].try_into().unwrap();
    let old: [u8; 16] = SimDisk::seeded(1).random().unwrap();
    let end = last as u64 + PAGE as u64;
    // Removes the stream; says that more was durable.
    for (durable, at) in [(sequence, end), (sequence + 5, end), (u64::MAX, end + 8192)] {
        for identity in [[0; 16], [0xff; 16], old] {
            let copy = disk.copy();
            let group = forged_group(generation, identity, sequence + 1, durable);
            overwrite(&copy, &name, at, &group);
            let store = open(&copy, several_files()).unwrap();
            assert!(read_all(&store, stream(1), 0).await == concat(&batches));
            assert_eq!(store.recovery().cut_groups, 0);
        }
    }
    // With what a peer cannot know, each of them would have done what it says.
    let copy = disk.copy();
    overwrite(
        &copy,
        &name,
        end,
        &forged_group(generation, own, sequence + 1, 0),
    );
    let store = open(&copy, several_files()).unwrap();
    assert_eq!(store.bounds(stream(1)), None, "the forgery is a good one");
    let group = forged_group(generation, own, sequence + 2, sequence + 1);
    tampered(&disk, &[&name, "says it was durable"], |disk| {
        overwrite(disk, &name, end + 8192, &group);
    });
}

const TRIM: u8 = 2;
const BATCH: u8 = 1;
const SHARED: u8 = 6;

/// Body of an entry whose records stand so many entries before it.
fn shared_entry(distance: u32, batch: &Batch) -> Vec<u8> {
    let mut body = distance.to_le_bytes().to_vec();
    body.extend_from_slice(&batch.to_bytes()[..61]);
    body
}

#[tokio::test]
async fn records_that_another_entry_should_have_are_not_believed() {
    let disk = SimDisk::new();
    let store = open(&disk, several_files()).unwrap();
    put(&store, stream(1), &filled(0, 2_000)).await;
    marked(&store).await;
    disk.kill();
    drop(store);
    let disk = disk.next_life();
    let (name, starts) = newest(&disk);
    let content = disk.content(&name).unwrap();
    let own = (generation_of(&name), content[24..40].try_into().unwrap());
    let (one, like, other) = (filled(7, 2_000), filled(8, 2_000), filled(9, 1_990));
    let end = starts[0] + PAGE as u64;
    let whole = |batch: &Batch| (BATCH, 2, batch.to_bytes().to_vec());
    let shared = |distance, batch: &Batch| (SHARED, 3, shared_entry(distance, batch));
    let start = |entries: &[(u8, u128, Vec<u8>)]| {
        let copy = disk.copy();
        overwrite(&copy, &name, end, &forged_entries(own, 2, 1, entries));
        open(&copy, several_files()).unwrap()
    };
    // What is right is read.
    let store = start(&[whole(&one), shared(1, &one.clone().placed(70, 0, None))]);
    let copy = read_all(&store, stream(3), 70).await;
    assert!(copy == one.clone().placed(70, 0, None).to_bytes());
    assert_eq!(store.recovery().cut_groups, 0);
    let trim = (TRIM, 1, 0_u64.to_le_bytes().to_vec());
    let mut short = shared(1, &one);
    short.2.pop();
    let mut long = shared(1, &one);
    long.2.push(0);
    let wrong = [
        ("itself", vec![whole(&one), shared(0, &one)]),
        ("nothing", vec![shared(1, &one)]),
        ("before the group", vec![whole(&one), shared(2, &one)]),
        (
            "behind it",
            vec![whole(&one), shared(u32::MAX, &one), whole(&one)],
        ),
        ("another kind", vec![trim.clone(), shared(1, &one)]),
        (
            "beyond another kind",
            vec![whole(&one), trim, shared(2, &one)],
        ),
        ("other records", vec![whole(&like), shared(1, &one)]),
        ("another length", vec![whole(&other), shared(1, &one)]),
        ("a short header", vec![whole(&one), short]),
        ("a long header", vec![whole(&one), long]),
    ];
    for (what, entries) in wrong {
        // No group that can be read: as any damage, the end of the log where nothing vouches for more …
        let store = start(&entries);
        assert_eq!(store.bounds(stream(2)), None, "{what}");
        assert_eq!(store.bounds(stream(3)), None, "{what}");
        assert_eq!(store.bounds(stream(1)).unwrap().end, 1, "{what}");
        // … and loss where something does.
        let next = forged_entries(own, 3, 2, &[whole(&one)]);
        let group = forged_entries(own, 2, 1, &entries);
        tampered(&disk, &[&name, "says it was durable"], |disk| {
            overwrite(disk, &name, end, &group);
            overwrite(disk, &name, end + group.len() as u64, &next);
        });
    }
}

#[tokio::test]
async fn a_flip_anywhere_in_what_streams_share_is_noticed() {
    let disk = SimDisk::new();
    let store = open(&disk, several_files()).unwrap();
    let one = filled(0, 3_000);
    let appends = (1..5).map(|owner| crate::fixture::append(stream(owner), &one));
    let lsn = store.append(appends.collect(), storage::Durability::Sync);
    crate::fixture::durable(&store, lsn.unwrap()).await;
    put(&store, stream(9), &filled(0, 10)).await;
    marked(&store).await;
    disk.kill();
    drop(store);
    let disk = disk.next_life();
    let (name, starts) = newest(&disk);
    assert_eq!(starts[1] - starts[0], PAGE as u64, "it is there once");
    let bytes = 64 + 32 + one.bytes() as u64 + 3 * (32 + 65);
    for at in (0..bytes).filter(|at| !(4..8).contains(at)) {
        let copy = disk.copy();
        copy.flip(&name, starts[0] + at, 3);
        let error = open(&copy, several_files()).err();
        let error = error.unwrap_or_else(|| panic!("byte {at} is passed over"));
        assert!(matches!(error, Error::Corrupt { .. }), "{at}: {error}");
    }
}

/// Options under which a checkpoint is always a whole.
fn without_changes() -> Options {
    Options {
        checkpoint_changes_bytes: 0,
        ..several_files()
    }
}

/// Makes a checkpoint without changes look as the version before there were any left it.
fn made_single(disk: &SimDisk) {
    let content = disk.content("checkpoint").unwrap();
    let length = u64::from_le_bytes(content[8..16].try_into().unwrap()) as usize;
    let (body, folder) = content[56..56 + length].split_at(length - 16);
    let (body, nothing_gone) = body.split_at(body.len() - 16);
    assert_eq!(nothing_gone, [0; 16]);
    let checked = [&content[20..28], body, folder].concat();
    let mut single = b"FBCP\x04\0\0\0".to_vec();
    single.extend_from_slice(&(checked.len() as u64 - 8).to_le_bytes());
    single.extend_from_slice(&crc32c::crc32c(&checked).to_le_bytes());
    single.extend_from_slice(&checked);
    set_len(disk, "checkpoint", single.len() as u64);
    overwrite(disk, "checkpoint", 0, &single);
    if disk.content("clean").is_some() {
        // It repeats how the checkpoint begins.
        overwrite(disk, "clean", 0, &single[..28]);
    }
}

/// Makes a folder look as the version before records were shared left it.
fn made_unshared(disk: &SimDisk) {
    made_single(disk);
    overwrite(disk, "checkpoint", 4, &2_u32.to_le_bytes());
    if disk.content("clean").is_some() {
        // It repeats how the checkpoint begins.
        overwrite(disk, "clean", 4, &2_u32.to_le_bytes());
    }
    for name in journal(disk) {
        patch(disk, &name, 0, 40, |page| page[4] = 2);
    }
    for slot in [0, 32 * 1024] {
        let content = disk.content(MARK).unwrap();
        let files = u32::from_le_bytes(content[slot + 48..slot + 52].try_into().unwrap());
        let files = &content[slot + 56..slot + 56 + files as usize * 32];
        let mut head = content[slot..slot + 52].to_vec();
        if head.starts_with(b"FBJM") {
            head[4] = 2;
            let crc = crc32c::crc32c_append(crc32c::crc32c(&head), files);
            head.extend_from_slice(&crc.to_le_bytes());
            overwrite(disk, MARK, slot as u64, &head);
        }
    }
}

/// Changes bytes in front of their checksum, and that.
fn patch(disk: &SimDisk, name: &str, at: usize, checked: usize, change: impl Fn(&mut [u8])) {
    let mut bytes = disk.content(name).unwrap()[at..at + checked].to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    overwrite(disk, name, at as u64, &bytes);
}

#[tokio::test]
async fn folders_of_the_versions_before_changes_and_before_shared_records_are_read() {
    for (end, made) in ENDS
        .into_iter()
        .flat_map(|end| [(end, made_single as fn(&SimDisk)), (end, made_unshared)])
    {
        let (disk, batches) = written(end, without_changes()).await;
        made(&disk);
        let store = open(&disk, several_files()).unwrap();
        assert_eq!(store.recovery().clean, end == End::Closed);
        assert!(read_all(&store, stream(1), 0).await == concat(&batches));
        put(&store, stream(1), &filled(200, 10)).await;
        marked(&store).await;
        store.flush().unwrap();
        assert_eq!(disk.content("checkpoint").unwrap()[4], 5);
        drop(store);
        // From now on an older version refuses: the mark is a new one.
        assert!(
            disk.content(MARK)
                .unwrap()
                .chunks(32 * 1024)
                .any(|slot| slot[4] == 4)
        );
        let store = open(&disk, several_files()).unwrap();
        assert_eq!(store.bounds(stream(1)).unwrap().end, 201);
    }
}

/// A batch whose value has `pages` where they start at page boundaries of the journal file, if its group does.
fn carrying(base: u64, pages: &[Vec<u8>]) -> Batch {
    let headers = 64 + 32;
    let plain = filled(base, PAGE);
    let value_at = {
        let bytes = plain.to_bytes();
        bytes.len() - PAGE - 1
    };
    // A few bytes of lengths more than in the small one: found by trying.
    for skew in 0..8 {
        let lead = PAGE - headers - value_at - skew;
        let mut value = vec![0; lead];
        value.extend_from_slice(&pages.concat());
        let batch = crate::fixture::batch(base, 0, &[&value]);
        let bytes = batch.to_bytes();
        if bytes.get(PAGE - headers..PAGE - headers + 4) == Some(&pages[0][..4]) {
            return batch;
        }
    }
    panic!("the value is nowhere where it should be");
}

#[tokio::test]
async fn bodies_that_look_like_groups_do_nothing() {
    let options = Options {
        journal_file_bytes_first: 64 * 1024,
        ..tiny_options()
    };
    let disk = SimDisk::new();
    let store = open(&disk, options.clone()).unwrap();
    put(&store, stream(1), &filled(0, 10)).await;
    // Each file is used several times, full of groups that say of its coming uses what stops the next start.
    for base in 0..60 {
        let next = newest_generation(&disk) + 1;
        let forged = |generation| forged_group(generation, [7; 16], 1 << 40, u64::MAX);
        let pages: Vec<_> = (next..next + 9).map(forged).collect();
        put(&store, stream(2), &carrying(base, &pages)).await;
    }
    store.flush().unwrap();
    assert!(newest_generation(&disk) > 10, "files are recycled");
    put(&store, stream(1), &filled(1, 10)).await;
    put(&store, stream(1), &filled(2, 10)).await;
    disk.kill();
    drop(store);
    let disk = disk.next_life();
    let forged = |name: &String| {
        let content = disk.content(name).unwrap();
        (PAGE..content.len())
            .step_by(PAGE)
            .filter(|at| {
                content[*at..].starts_with(b"FBJ2") && content[at + 16..at + 32] == [7; 16]
            })
            .count()
    };
    let found: usize = journal(&disk).iter().map(forged).sum();
    assert!(found > 5, "only {found} forged groups are on the disk");
    let store = open(&disk, options).unwrap();
    let own: Vec<_> = (0..3).map(|i| filled(i, 10)).collect();
    assert!(read_all(&store, stream(1), 0).await == concat(&own));
    assert_eq!(store.bounds(stream(2)).unwrap().end, 60);
}

#[tokio::test]
async fn groups_of_another_use_of_a_file_do_nothing() {
    // The same history on two disks: everything is the same but the identities.
    let (disk, batches) = written(End::Killed, several_files()).await;
    let (name, starts) = newest(&disk);
    let foreign = SimDisk::seeded(77);
    let store = open(&foreign, several_files()).unwrap();
    for batch in &batches {
        put(&store, stream(1), batch).await;
    }
    put(&store, stream(1), &filled(200, 1_000)).await;
    drop(store);
    let end = starts.last().unwrap() + PAGE as u64;
    for other in journal(&foreign) {
        for at in groups(&foreign, &other) {
            let content = foreign.content(&other).unwrap();
            let copy = disk.copy();
            let group = &content[at as usize..at as usize + PAGE];
            overwrite(&copy, &name, end, group);
            let store = open(&copy, several_files()).unwrap();
            assert_eq!(store.bounds(stream(1)).unwrap().end, 200);
            if at > 5 * PAGE as u64 {
                break;
            }
        }
    }
    // A whole file of another disk, under the name of one of this one.
    let content = foreign.content(&name).unwrap();
    tampered(&disk, &[&name, "its first page"], |disk| {
        overwrite(disk, &name, 0, &content);
    });
}

/// Puts the journal of another folder, and its mark, in the place of a folder's own.
fn transplant(disk: &SimDisk, from: &SimDisk) {
    for name in journal(disk) {
        disk.remove(&name).unwrap();
    }
    disk.remove(MARK).unwrap();
    for name in journal(from).into_iter().chain([MARK.to_owned()]) {
        let content = from.content(&name).unwrap();
        let file = disk.create(&name).unwrap();
        file.write_at(&[IoSlice::new(&content)], 0).unwrap();
    }
}

#[tokio::test]
async fn the_journal_of_another_folder_is_refused_however_the_broker_ended() {
    for end in ENDS {
        let (disk, _) = written(end, several_files()).await;
        // The same history: only identities tell one from the other.
        let (other, _) = written_on(SimDisk::seeded(77), end, several_files()).await;
        tampered(&disk, &[MARK], |disk| transplant(disk, &other));
    }
}

#[tokio::test]
async fn an_older_journal_of_the_folder_is_refused_after_a_stop_in_order() {
    let (disk, _) = written(End::Closed, several_files()).await;
    let older = disk.copy();
    let store = open(&disk, several_files()).unwrap();
    put(&store, stream(2), &filled(0, 10)).await;
    store.close().unwrap();
    drop(store);
    let disk = disk.next_life();
    tampered(&disk, &[], |disk| transplant(disk, &older));
    // A clean mark of the version before says nothing of the journal's, and is good.
    set_len(&disk, "clean", 28);
    let store = open(&disk, several_files()).unwrap();
    assert!(store.recovery().clean);
}

/// Makes a closed folder look as the version before identities left it.
fn made_old(disk: &SimDisk) {
    made_single(disk);
    let checkpoint = disk.content("checkpoint").unwrap();
    let body = &checkpoint[28..];
    let mut old = checkpoint[..20].to_vec();
    old[4..8].copy_from_slice(&1_u32.to_le_bytes());
    old[16..20].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    old.extend_from_slice(body);
    set_len(disk, "checkpoint", 0);
    overwrite(disk, "checkpoint", 0, &old);
    set_len(disk, "clean", 0);
    disk.remove(MARK).unwrap();
    for name in journal(disk) {
        let content = disk.content(&name).unwrap();
        overwrite(disk, &name, 0, &content[PAGE..]);
        let zeroes = [0; PAGE];
        overwrite(disk, &name, content.len() as u64 - PAGE as u64, &zeroes);
    }
}

#[tokio::test]
async fn a_folder_of_the_version_before_is_brought_up_to_date() {
    let (old, batches) = written(End::Closed, without_changes()).await;
    made_old(&old);
    let mut opened = 0;
    // Whatever fails on the way, it can be done again.
    for n in 0..40 {
        for fault in [Fault::Write(n), Fault::Sync(n)] {
            let disk = old.copy();
            disk.inject(fault);
            if let Ok(store) = open(&disk, several_files()) {
                opened += 1;
                drop(store);
            }
            disk.crash(n);
            let disk = disk.next_life();
            let store = open(&disk, several_files()).unwrap();
            assert!(read_all(&store, stream(1), 0).await == concat(&batches));
            put(&store, stream(1), &filled(200, 10)).await;
            drop(store);
            let store = open(&disk, several_files()).unwrap();
            assert_eq!(store.bounds(stream(1)).unwrap().end, 201);
        }
    }
    assert!(
        opened > 0 && opened < 80,
        "{opened} of 80 were not hindered"
    );
}

#[tokio::test]
async fn a_folder_of_the_version_before_that_was_not_closed_is_refused() {
    let (disk, _) = written(End::Closed, without_changes()).await;
    made_old(&disk);
    disk.remove("clean").unwrap();
    let before = image(&disk);
    let error = open(&disk, several_files()).err().expect("must not open");
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("start it once more, stop it in order"),
        "{message}"
    );
    assert!(image(&disk) == before);
    // Without a checkpoint there is nothing but the journal.
    disk.remove("checkpoint").unwrap();
    for name in disk
        .names()
        .iter()
        .filter(|name| name.starts_with("segments/"))
    {
        disk.remove(name).unwrap();
    }
    refused(&disk, &several_files(), &[MARK, "stop it in order"]);
}

/// FOREBAY_FUZZ_SECONDS=n goes on for so long, from a seed of its own; SEED=n repeats one case.
#[test]
fn no_damage_is_passed_over_in_silence() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        testkit::fuzz_journal(&seed.to_le_bytes());
        return;
    }
    let from = std::time::SystemTime::UNIX_EPOCH;
    let seconds = number("FOREBAY_FUZZ_SECONDS");
    let (mut seed, start) = match seconds {
        Some(_) => (
            from.elapsed().unwrap().as_secs() << 20,
            from.elapsed().unwrap(),
        ),
        None => (0, Duration::ZERO),
    };
    let mut done = 0;
    let mut seen = testkit::Damaged::default();
    let is_over = |done| match seconds {
        Some(seconds) => from.elapsed().unwrap() >= start + Duration::from_secs(seconds),
        None => done >= 200,
    };
    while !is_over(done) {
        let case = || testkit::fuzz_journal(&u64::to_le_bytes(seed));
        let outcome = std::panic::catch_unwind(case);
        let outcome = outcome.unwrap_or_else(|_| panic!("SEED={seed} fails"));
        seen.whole += outcome.whole;
        seen.cut += outcome.cut;
        seen.refused += outcome.refused;
        seed += 1;
        done += 1;
    }
    // Without enough of each it would prove little.
    let least = done / 20;
    assert!(
        seen.whole > least && seen.cut > least && seen.refused > done,
        "{done} cases: {seen:?}"
    );
    if seconds.is_some() {
        let peak = testkit::peak_memory_mib();
        eprintln!("{done} cases: {seen:?}, {peak} MiB at most");
        assert!(peak < 256);
    }
}
