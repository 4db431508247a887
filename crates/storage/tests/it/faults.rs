//! Disks that fail, fill up and rot: nothing is lost in silence, nothing acknowledged that is not safe.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::disk::Disk;
use storage::local::{LocalStore, Options, OsDisk};
use storage::{Catalog, Durability, Error, Expected, Log, Trim};
use testkit::{Fault, SimDisk};

use crate::fixture::{
    append, chunk, concat, durable, filled, plain_options, put, read_all, stream, tiny_options,
};

fn open(disk: &SimDisk, options: Options) -> Result<LocalStore, Error> {
    LocalStore::open(Arc::new(disk.clone()), options)
}

/// A journal that must not rotate, so that tests know where groups are.
fn one_file() -> Options {
    Options {
        journal_file_bytes_first: 1 << 20,
        ..plain_options()
    }
}

/// Puts `count` batches, each its own group, and returns them.
async fn written(store: &LocalStore, count: u64) -> Vec<storage::Batch> {
    let batches: Vec<_> = (0..count).map(|i| filled(i, 5_000)).collect();
    for batch in &batches {
        put(store, stream(1), batch).await;
    }
    batches
}

/// Name of the journal file in use and the positions of its groups.
fn groups(disk: &SimDisk) -> (String, Vec<u64>) {
    for name in disk
        .names()
        .into_iter()
        .filter(|n| n.starts_with("journal/"))
    {
        let content = disk.content(&name).unwrap();
        let is_group = |page: &u64| content[*page as usize..].starts_with(b"FBJ2");
        let starts: Vec<u64> = (0..content.len() as u64)
            .step_by(4096)
            .filter(is_group)
            .collect();
        if !starts.is_empty() {
            return (name, starts);
        }
    }
    panic!("no journal file holds groups");
}

async fn stops_for_good(fault: Fault) {
    let disk = SimDisk::new();
    let store = open(&disk, one_file()).unwrap();
    let batches = written(&store, 5).await;
    // The next journal files are being made in the background, and then the mark is written: the fault must not strike
    // there.
    let is_busy =
        |stats: storage::local::Stats| stats.journal_files < 2 || stats.unmarked_groups > 0;
    while is_busy(store.stats()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut failed = store.failed();
    let progress = store.progress();
    let before = progress.borrow().durable;
    disk.inject(fault);
    let lost = filled(5, 5_000);
    let lsn = store
        .append(vec![append(stream(1), &lost)], Durability::Sync)
        .unwrap();
    let why = failed.wait_for(Option::is_some).await.unwrap().clone();
    assert!(why.unwrap().contains("injected"));
    let mut waiting = store.progress();
    assert!(waiting.wait_for(|at| at.durable >= lsn).await.is_err());
    assert_eq!(progress.borrow().durable, before);
    let later = store.append(vec![append(stream(1), &filled(6, 10))], Durability::Sync);
    assert!(matches!(later, Err(Error::Poisoned(_))), "{later:?}");
    let value = Some(Bytes::from_static(b"v"));
    let put = store.put_if("a", Expected::Any, value).await;
    assert!(matches!(put, Err(Error::Poisoned(_))));
    // What was not acknowledged is not shown either.
    assert_eq!(read_all(&store, stream(1), 0).await, concat(&batches));
    assert!(matches!(store.close(), Err(Error::Poisoned(_))));
    drop(store);
    disk.crash(7);
    let store = open(&disk.next_life(), one_file()).unwrap();
    let found = read_all(&store, stream(1), 0).await;
    assert!(found.starts_with(&concat(&batches)));
}

#[tokio::test]
async fn a_failed_write_stops_the_store() {
    stops_for_good(Fault::Write(0)).await;
}

#[tokio::test]
async fn a_short_write_stops_the_store() {
    stops_for_good(Fault::ShortWrite(0)).await;
}

#[tokio::test]
async fn a_failed_sync_stops_the_store() {
    stops_for_good(Fault::Sync(0)).await;
}

/// The batches that were acknowledged before something went wrong.
async fn written_until_it_fails(store: &LocalStore) -> Vec<storage::Batch> {
    let mut acknowledged = Vec::new();
    for i in 0..40 {
        let batch = filled(i, 700);
        let Ok(lsn) = store.append(vec![append(stream(1), &batch)], Durability::Sync) else {
            break;
        };
        let mut progress = store.progress();
        if progress.wait_for(|at| at.durable >= lsn).await.is_err() {
            break;
        }
        acknowledged.push(batch);
    }
    acknowledged
}

#[tokio::test]
async fn every_failing_write_or_sync_leaves_a_prefix() {
    for n in 0..60 {
        for fault in [Fault::Write(n), Fault::ShortWrite(n), Fault::Sync(n)] {
            let disk = SimDisk::new();
            disk.inject(fault);
            let Ok(store) = open(&disk, tiny_options()) else {
                continue;
            };
            let acknowledged = written_until_it_fails(&store).await;
            drop(store);
            disk.crash(n);
            let store = open(&disk.next_life(), tiny_options()).unwrap();
            if !acknowledged.is_empty() {
                let found = read_all(&store, stream(1), 0).await;
                assert!(found.starts_with(&concat(&acknowledged)), "{fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_growth_and_recovers() {
    let disk = SimDisk::new();
    let store = open(&disk, tiny_options()).unwrap();
    let kept = Some(Bytes::from_static(b"v"));
    store
        .put_if("a", Expected::Any, kept.clone())
        .await
        .unwrap();
    let mut batches = Vec::new();
    disk.set_capacity(Some(400_000));
    let refused = loop {
        let batch = filled(batches.len() as u64, 2_000);
        match store.append(vec![append(stream(1), &batch)], Durability::Sync) {
            Ok(lsn) => durable(&store, lsn).await,
            Err(error) => break error,
        }
        batches.push(batch);
        assert!(batches.len() < 1_000, "the disk never fills");
    };
    assert!(matches!(refused, Error::DiskFull), "{refused}");
    assert!(store.is_full());
    assert!(matches!(
        store.put_if("b", Expected::Any, kept).await,
        Err(Error::DiskFull)
    ));
    let vital = store.put_vital("vital", Expected::Absent, Bytes::from_static(b"v"));
    vital.await.unwrap();
    store.put_if("a", Expected::Any, None).await.unwrap();
    let half = batches.len() / 2;
    let lsn = store.trim(stream(1), Trim::Before(half as u64)).unwrap();
    durable(&store, lsn).await;
    let left = concat(&batches[half..]);
    assert_eq!(read_all(&store, stream(1), half as u64).await, left);
    disk.set_capacity(None);
    while store.is_full() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let next = filled(batches.len() as u64, 10);
    put(&store, stream(1), &next).await;
    drop(store);
    let store = open(&disk, tiny_options()).unwrap();
    let found = read_all(&store, stream(1), half as u64).await;
    assert_eq!(found, [left, next.to_bytes().to_vec()].concat());
}

/// Size of the journal files of [`with_files_ahead`].
const FILE_BYTES: u64 = 256 * 1024;

/// A store that has begun its first journal file, with two more ready.
async fn with_files_ahead(disk: &SimDisk) -> LocalStore {
    let options = Options {
        journal_file_bytes_first: FILE_BYTES,
        journal_file_bytes: FILE_BYTES,
        ..plain_options()
    };
    let store = open(disk, options).unwrap();
    put(&store, stream(1), &filled(0, 100)).await;
    while store.stats().journal_files < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store
}

/// It shows late that the disk is full: when the next journal file is made. What was handed over until then has room, and
/// so has what frees space.
#[tokio::test]
async fn what_was_handed_over_before_the_disk_was_found_full_is_written() {
    let disk = SimDisk::new();
    let store = with_files_ahead(&disk).await;
    disk.hold_creation(true);
    disk.set_capacity(Some(1));
    // More than fits into the file in use and another one.
    let batches: Vec<_> = (1..=6).map(|base| filled(base, 100_000)).collect();
    let mut last = storage::Lsn(0);
    for batch in &batches {
        let appended = store.append(vec![append(stream(1), batch)], Durability::Sync);
        last = appended.expect("nobody knows yet that the disk is full");
    }
    disk.hold_creation(false);
    let written = tokio::time::timeout(Duration::from_mins(1), durable(&store, last));
    written.await.expect("there is room for it");
    let refused = store.append(vec![append(stream(1), &filled(7, 100))], Durability::Sync);
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    let vital = store.append(vec![append(stream(2), &filled(0, 100))], Durability::Vital);
    durable(&store, vital.unwrap()).await;
    let trimmed = store.trim(stream(1), Trim::Before(6)).unwrap();
    durable(&store, trimmed).await;
    assert_eq!(
        read_all(&store, stream(1), 6).await,
        batches[5].to_bytes().to_vec()
    );
    // What still has no room keeps nobody from ending the store.
    let large = vec![append(stream(2), &filled(1, 300_000))];
    store.append(large, Durability::Vital).unwrap();
    let closed = tokio::task::spawn_blocking(move || store.close());
    let closed = tokio::time::timeout(Duration::from_mins(1), closed).await;
    assert!(
        matches!(closed, Ok(Ok(Err(Error::Poisoned(_))))),
        "{closed:?}"
    );
}

/// A disk that has no room for a file of the usual size may have some for what waits to be written.
#[tokio::test]
async fn a_disk_with_little_room_takes_what_was_handed_over() {
    let disk = SimDisk::new();
    let store = with_files_ahead(&disk).await;
    // What there is, two files ahead among it, and half of one.
    disk.set_capacity(Some(disk.used() + FILE_BYTES / 2));
    // Two in each of the files, and one more.
    for base in 1..=7 {
        let batch = append(stream(1), &filled(base, 100_000));
        let appended = store.append(vec![batch], Durability::Vital).unwrap();
        let written = tokio::time::timeout(Duration::from_mins(1), durable(&store, appended));
        written.await.expect("there is room for it");
    }
    assert!(store.is_full(), "there is no reserve any more");
}

#[tokio::test]
async fn the_watermark_leaves_room_for_a_flush() {
    for min_free_bytes in [0, 1] {
        let disk = SimDisk::new();
        let options = Options {
            min_free_bytes,
            ..plain_options()
        };
        let store = open(&disk, options).unwrap();
        put(&store, stream(1), &filled(0, 100_000)).await;
        let unflushed = store.stats().unflushed_bytes;
        assert!(unflushed > 100_000);
        assert_eq!(store.free_bytes_min(), unflushed * min_free_bytes);
        if min_free_bytes == 0 {
            continue;
        }
        while store.stats().journal_files < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        disk.set_capacity(Some(disk.used() + 50_000));
        while !store.is_full() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // There is room for it, and then none is needed any more.
        disk.set_capacity(Some(disk.used() + 200_000));
        while store.is_full() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(store.stats().unflushed_bytes, 0);
        assert_eq!(store.free_bytes_min(), 1);
    }
}

/// A file that is removed and still open takes its space all the same.
#[tokio::test]
async fn segments_that_are_removed_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        page_cache_bytes: 1 << 30,
        ..tiny_options()
    };
    let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
    let store = LocalStore::open(disk, options).unwrap();
    for base in 0..40 {
        put(&store, stream(1), &filled(base, 2_000)).await;
    }
    while store.stats().flushes == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let trimmed = store.trim(stream(1), Trim::Before(40)).unwrap();
    durable(&store, trimmed).await;
    let path = folder.path().display().to_string();
    let segments = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let open = open.map(|target| target.display().to_string());
        let open = open.filter(|target| target.starts_with(&path) && target.contains("/segments/"));
        open.collect::<Vec<_>>()
    };
    let gone = async {
        while store.stats().segment_files > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone)
        .await
        .expect("what is trimmed is removed");
    assert_eq!(segments(), Vec::<String>::new());
}

#[tokio::test]
async fn below_the_watermark_only_so_many_documents_are_written() {
    let options = Options {
        min_free_bytes: u64::MAX,
        ..tiny_options()
    };
    let store = open(&SimDisk::new(), options).unwrap();
    assert!(store.is_full(), "known before anybody may write");
    let value = Bytes::from(vec![b'v'; 100_000]);
    let put = |n: u32| {
        let (store, key, value) = (&store, format!("vital/{n}"), value.clone());
        async move { store.put_vital(&key, Expected::Absent, value).await }
    };
    let mut written = 0;
    let other = loop {
        let key = format!("other/{written}");
        match store
            .put_if(&key, Expected::Absent, Some(value.clone()))
            .await
        {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(other, Error::DiskFull), "{other}");
    assert_eq!(written, 20, "2 MiB");
    while put(written).await.is_ok() {
        written += 1;
        assert!(written < 100, "the reserve never ends");
    }
    assert_eq!(written, 41, "4 MiB");
    let refused = put(200).await;
    assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    store.put_if("other/0", Expected::Any, None).await.unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_the_middle_refuses_to_open() {
    for (offset, bit) in [(0, 3), (20, 0), (60, 7), (4_096, 1), (5_000, 5)] {
        let disk = SimDisk::new();
        let store = open(&disk, one_file()).unwrap();
        written(&store, 6).await;
        drop(store);
        let (name, starts) = groups(&disk);
        disk.flip(&name, starts[2] + offset, bit);
        let names = disk.names();
        let refused = open(&disk, one_file()).err().expect("must not open");
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        assert_eq!(disk.names(), names, "nothing was touched");
        assert!(matches!(
            open(&disk, one_file()),
            Err(Error::Corrupt { .. })
        ));
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut() {
    for offset in [0, 50, 3_000] {
        let disk = SimDisk::new();
        // The last groups are younger than the mark: nothing vouches for the last of them.
        let options = Options {
            mark_interval: Duration::from_hours(1),
            ..one_file()
        };
        let store = open(&disk, options).unwrap();
        let batches = written(&store, 6).await;
        disk.kill();
        drop(store);
        let disk = disk.next_life();
        let (name, starts) = groups(&disk);
        disk.flip(&name, starts[5] + offset, 1);
        let store = open(&disk, one_file()).unwrap();
        assert_eq!(store.recovery().groups, 5);
        assert_eq!(read_all(&store, stream(1), 0).await, concat(&batches[..5]));
        // The number is given again, and the damaged one never comes back.
        let other = filled(5, 77);
        put(&store, stream(1), &other).await;
        drop(store);
        if offset > 0 {
            disk.flip(&name, starts[5] + offset, 1);
        }
        let store = open(&disk, one_file()).unwrap();
        let found = read_all(&store, stream(1), 5).await;
        assert_eq!(found, other.to_bytes(), "the cut group came back");
    }
}

#[tokio::test]
async fn earlier_lives_of_a_file_stay_dead() {
    let disk = SimDisk::new();
    let store = open(&disk, tiny_options()).unwrap();
    for i in 0..200 {
        put(&store, stream(1), &filled(i, 900)).await;
    }
    store.close().unwrap();
    drop(store);
    // Every file now holds old groups; the next run writes two new ones in front of them.
    let store = open(&disk, tiny_options()).unwrap();
    put(&store, stream(1), &filled(200, 10)).await;
    put(&store, stream(1), &filled(201, 10)).await;
    disk.kill();
    drop(store);
    let store = open(&disk.next_life(), tiny_options()).unwrap();
    assert_eq!(store.recovery().groups, 2);
    let all: Vec<_> = (0..200)
        .map(|i| filled(i, 900))
        .chain((200..202).map(|i| filled(i, 10)))
        .collect();
    assert!(read_all(&store, stream(1), 0).await == concat(&all));
}

#[tokio::test]
async fn a_damaged_segment_fails_its_readers_only() {
    let disk = SimDisk::new();
    let options = Options {
        tail_bytes: 0,
        ..plain_options()
    };
    let store = open(&disk, options.clone()).unwrap();
    let batches: Vec<_> = (0..50).map(|i| filled(i, 10_000)).collect();
    for batch in &batches {
        put(&store, stream(1), batch).await;
        put(&store, stream(2), batch).await;
    }
    store.close().unwrap();
    drop(store);
    let segments = disk.names();
    let segment = segments
        .iter()
        .find(|n| n.starts_with("segments/"))
        .unwrap();
    disk.flip(segment, 200_000, 2);
    let store = open(&disk, options).unwrap();
    let damaged = chunk(&store, stream(1), 19..u64::MAX, 100_000).await;
    assert!(matches!(damaged, Err(Error::Corrupt { .. })));
    assert_eq!(
        read_all(&store, stream(1), 30).await,
        concat(&batches[30..])
    );
    assert_eq!(read_all(&store, stream(2), 0).await, concat(&batches));
    put(&store, stream(1), &filled(50, 10)).await;
    assert!(store.failed().borrow().is_none());
}

#[tokio::test]
async fn a_missing_segment_fails_its_readers_only() {
    let disk = SimDisk::new();
    let store = open(&disk, tiny_options()).unwrap();
    put(&store, stream(1), &filled(0, 9_000)).await;
    store.flush().unwrap();
    put(&store, stream(2), &filled(0, 9_000)).await;
    store.close().unwrap();
    drop(store);
    let segments = disk.names();
    let segment = segments
        .iter()
        .find(|n| n.starts_with("segments/"))
        .unwrap();
    Disk::remove(&disk, segment).unwrap();
    let store = open(&disk, tiny_options()).unwrap();
    let gone = chunk(&store, stream(1), 0..u64::MAX, 1_000).await;
    assert!(matches!(gone, Err(Error::Corrupt { .. })));
    assert_eq!(
        read_all(&store, stream(2), 0).await,
        filled(0, 9_000).to_bytes()
    );
}

#[tokio::test]
async fn a_lost_or_damaged_checkpoint_refuses_to_open() {
    for damage in 0..3 {
        let disk = SimDisk::new();
        let store = open(&disk, tiny_options()).unwrap();
        written(&store, 20).await;
        if damage == 0 {
            store.close().unwrap();
        }
        store.flush().ok();
        drop(store);
        let names = disk.names();
        match damage {
            0 | 1 => Disk::remove(&disk, "checkpoint").unwrap(),
            _ => disk.flip("checkpoint", 50, 0),
        }
        let refused = open(&disk, tiny_options()).err().expect("must not open");
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        let segments = |names: Vec<String>| -> Vec<String> {
            let is_segment = |name: &String| name.starts_with("segments/");
            names.into_iter().filter(is_segment).collect()
        };
        assert_eq!(segments(disk.names()), segments(names));
    }
}

#[tokio::test]
async fn a_newer_format_refuses_to_open() {
    let disk = SimDisk::new();
    let store = open(&disk, one_file()).unwrap();
    written(&store, 1).await;
    drop(store);
    let (name, _) = groups(&disk);
    let mut header = disk.content(&name).unwrap()[..44].to_vec();
    header[4] = 4;
    let crc = crc32c::crc32c(&header[..40]);
    header[40..].copy_from_slice(&crc.to_le_bytes());
    let file = Disk::open(&disk, &name).unwrap();
    file.write_at(&[io::IoSlice::new(&header)], 0).unwrap();
    let refused = open(&disk, one_file()).err().expect("must not open");
    assert!(
        refused.to_string().contains("format version 4"),
        "{refused}"
    );
}
