//! What a store remembers from one run to the next, and what its files look like on the way.

use std::sync::Arc;

use bytes::Bytes;
use storage::local::{LocalStore, Options, OsDisk};
use storage::{Catalog, Durability, Error, Expected, Log, Trim};
use tempfile::TempDir;
use testkit::SimDisk;

use crate::fixture::{
    append, concat, durable, filled, plain_options, put, read_all, stream, tiny_options,
};

fn open(disk: &SimDisk, options: Options) -> LocalStore {
    LocalStore::open(Arc::new(disk.clone()), options).unwrap()
}

async fn remembers(options: Options, close: bool) {
    let disk = SimDisk::new();
    let store = open(&disk, options.clone());
    let batches: Vec<_> = (0..80).map(|i| filled(i, 100)).collect();
    for batch in &batches {
        put(&store, stream(1), batch).await;
    }
    put(&store, stream(2), &filled(3, 10)).await;
    store.trim(stream(1), Trim::Before(30)).unwrap();
    let gone = store.trim(stream(2), Trim::All).unwrap();
    let value = Bytes::from_static(b"v");
    store
        .put_if("a", Expected::Any, Some(value.clone()))
        .await
        .unwrap();
    store.put_if("b", Expected::Any, Some(value)).await.unwrap();
    store.put_if("b", Expected::Any, None).await.unwrap();
    let lease = store.lease("node").await.unwrap();
    durable(&store, gone).await;
    let documents = store.list("").await.unwrap();
    if close {
        store.close().unwrap();
    }
    drop(store);

    let store = open(&disk, options);
    assert_eq!(store.recovery().clean, close);
    assert_eq!(store.recovery().groups == 0, close);
    let bounds = store.bounds(stream(1)).unwrap();
    assert_eq!((bounds.start, bounds.end), (30, 80));
    assert_eq!(
        read_all(&store, stream(1), 30).await,
        concat(&batches[30..])
    );
    assert_eq!(store.bounds(stream(2)), None);
    assert_eq!(store.list("").await.unwrap(), documents);
    assert!(store.lease("node").await.unwrap().epoch > lease.epoch);
    put(&store, stream(1), &filled(80, 10)).await;
}

#[tokio::test]
async fn a_closed_store_remembers() {
    remembers(plain_options(), true).await;
}

#[tokio::test]
async fn a_dropped_store_replays() {
    remembers(plain_options(), false).await;
}

#[tokio::test]
async fn a_closed_tiny_store_remembers() {
    remembers(tiny_options(), true).await;
}

#[tokio::test]
async fn versions_do_not_repeat_after_a_restart() {
    let disk = SimDisk::new();
    let mut last = 0;
    for round in 0..4 {
        let store = open(&disk, tiny_options());
        let value = Some(Bytes::from_static(b"v"));
        let version = store.put_if("a", Expected::Absent, value).await.unwrap();
        assert!(version > last, "{version} comes after {last}");
        last = store.put_if("a", Expected::Any, None).await.unwrap();
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
}

#[tokio::test]
async fn a_closed_store_refuses_and_still_reads() {
    let store = open(&SimDisk::new(), plain_options());
    let batch = filled(0, 10);
    put(&store, stream(1), &batch).await;
    let mut progress = store.progress();
    progress.mark_unchanged();
    store.close().unwrap();
    assert!(progress.changed().await.is_err(), "the sender is gone");
    let refused = store.append(vec![append(stream(1), &filled(1, 10))], Durability::Sync);
    assert!(matches!(refused, Err(Error::Closed)));
    assert_eq!(read_all(&store, stream(1), 0).await, batch.to_bytes());
}

#[test]
fn one_process_per_directory() {
    let folder = TempDir::new().unwrap();
    let first = OsDisk::open(folder.path()).unwrap();
    let second = OsDisk::open(folder.path()).map(drop).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    OsDisk::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_journal_grows_with_what_is_written_and_not_with_each_start() {
    let disk = SimDisk::new();
    for life in 0..6 {
        let store = open(&disk, plain_options());
        put(&store, stream(1), &filled(life, 100)).await;
        // The one in use is none of those counted.
        while store.stats().journal_files < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        store.close().unwrap();
    }
    let journal = disk.names().into_iter();
    let journal = journal.filter(|name| name.starts_with("journal/"));
    let sizes: Vec<_> = journal
        .map(|name| disk.content(&name).unwrap().len() as u64)
        .collect();
    let first = plain_options().journal_file_bytes_first;
    assert!(sizes.len() <= 4, "one in use and three ready: {sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes == first), "{sizes:?}");
}

#[tokio::test]
async fn memory_and_files_stay_bounded() {
    let disk = SimDisk::new();
    let store = open(&disk, tiny_options());
    for i in 0..3_000 {
        put(&store, stream(u128::from(i % 50)), &filled(i / 50, 500)).await;
    }
    store.flush().unwrap();
    let stats = store.stats();
    assert!(stats.tail_bytes <= tiny_options().tail_bytes, "{stats:?}");
    assert_eq!(stats.unflushed_bytes, 0);
    assert!(stats.journal_files < 12, "{stats:?}");
    for number in 0..50 {
        let expected: Vec<_> = (0..60).map(|i| filled(i, 500)).collect();
        let found = read_all(&store, stream(number), 0).await;
        assert!(found == concat(&expected), "stream {number}");
    }
    for number in 0..50 {
        store.trim(stream(number), Trim::All).unwrap();
    }
    store.flush().unwrap();
    assert_eq!(
        store.stats().segment_files,
        0,
        "trimmed space is given back"
    );
}

#[tokio::test]
async fn a_hundred_mebibytes_in_one_batch() {
    let folder = TempDir::new().unwrap();
    let open = || {
        let disk = OsDisk::open(folder.path()).unwrap();
        LocalStore::open(Arc::new(disk), plain_options()).unwrap()
    };
    let store = open();
    let batch = filled(0, 100 << 20);
    put(&store, stream(1), &filled(0, 10).placed(0, 0, None)).await;
    put(&store, stream(2), &batch).await;
    drop(store);
    let store = open();
    assert!(read_all(&store, stream(2), 0).await == batch.to_bytes());
    store.close().unwrap();
    drop(store);
    let store = open();
    assert!(read_all(&store, stream(2), 0).await == batch.to_bytes());
}
