//! What both seams promise, checked on every implementation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use storage::{
    Append, Batch, Catalog, Change, Document, Durability, Error, Expected, Found, Log, Seek, Trim,
};

use crate::fixture::{
    append, batch, chunk, concat, durable, filled, joined, put, read_all, stream,
};

/// One test per promise and store.
macro_rules! suite {
    ($($store:ident: $($test:ident)+;)+) => {$(
        mod $store {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::fixture::$store).await;
            }
        )+}
    )+};
    (@stores $($test:ident)+) => {
        suite! {
            on_directory: $($test)+;
            on_simulation: $($test)+;
            with_tiny_limits: $($test)+;
        }
    };
}

suite! { @stores
    bytes_come_back_as_they_went
    reads_respect_their_limits
    reads_outside_are_refused
    trims_hide_the_beginning
    removed_streams_start_afresh
    bounds_count_bytes
    seeks_agree_with_a_scan
    seeks_skip_what_was_trimmed
    gaps_panic_and_leave_nothing
    relaxed_appends_are_readable_when_written
    numbers_grow_with_every_call
    writers_do_not_disturb_each_other
    batches_of_many_sizes
    what_streams_share_comes_back_to_each
    empty_appends_get_a_number
    documents_are_compared_and_swapped
    documents_that_cannot_be_kept_are_refused
    of_racing_puts_one_wins
    versions_never_repeat
    lists_are_sorted_and_prefixed
    watchers_see_changes_in_order
    leases_fence_earlier_ones
}

async fn bytes_come_back_as_they_went<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let mut batches = Vec::new();
    for i in 0..200 {
        let batch = filled(i, 50 + i as usize);
        put(&log, stream(1), &batch).await;
        batches.push(batch);
    }
    assert_eq!(read_all(&log, stream(1), 0).await, concat(&batches));
    assert_eq!(
        read_all(&log, stream(1), 150).await,
        concat(&batches[150..])
    );
}

async fn reads_respect_their_limits<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let batches: Vec<_> = (0..100)
        .map(|i| batch(i * 3, 0, &[b"a", b"b", b"c"]))
        .collect();
    for batch in &batches {
        put(&log, stream(1), batch).await;
    }
    let size = batches[0].bytes();
    for from in [0, 1, 2, 3, 100, 150, 297, 299] {
        let first = (from / 3) as usize;
        let read = |until, max| chunk(&log, stream(1), from..until, max);
        let one = read(u64::MAX, 1).await.unwrap();
        assert_eq!(joined(&one), batches[first].to_bytes(), "at least one");
        let most = read(u64::MAX, 3 * size + 1).await.unwrap();
        let last = batches.len().min(first + 3);
        let got = joined(&most);
        assert!(concat(&batches[first..last]).starts_with(&got) && !got.is_empty());
        // A batch that reaches the limit is left out, also when it is the first.
        let none = read(from + 1, 1_000_000).await.unwrap();
        let ends_there = (from + 1) % 3 == 0;
        assert_eq!(none.bytes > 0, ends_there, "until cuts at {from}");
    }
    let end = chunk(&log, stream(1), 300..u64::MAX, 1_000).await.unwrap();
    assert_eq!((end.bytes, end.next_offset), (0, 300));
}

async fn reads_outside_are_refused<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let missing = chunk(&log, stream(9), 0..u64::MAX, 1_000).await;
    assert!(matches!(missing, Err(Error::Missing)));
    assert_eq!(log.bounds(stream(9)), None);
    put(&log, stream(1), &filled(10, 10)).await;
    for offset in [0, 9, 12, 1_000] {
        let refused = chunk(&log, stream(1), offset..u64::MAX, 1_000).await;
        let Err(Error::OutOfRange { start, end, .. }) = refused else {
            panic!("{offset} is outside");
        };
        assert_eq!((start, end), (10, 11));
    }
}

async fn trims_hide_the_beginning<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let batches: Vec<_> = (0..60).map(|i| batch(i * 2, 0, &[b"x", b"y"])).collect();
    for batch in &batches {
        put(&log, stream(1), batch).await;
    }
    // Into the middle of a batch: the batch stays whole.
    let lsn = log.trim(stream(1), Trim::Before(41)).unwrap();
    assert_eq!(log.bounds(stream(1)).unwrap().start, 41);
    let before = chunk(&log, stream(1), 40..u64::MAX, 1_000).await;
    assert!(matches!(before, Err(Error::OutOfRange { start: 41, .. })));
    assert_eq!(read_all(&log, stream(1), 41).await, concat(&batches[20..]));
    durable(&log, lsn).await;
    // Backwards changes nothing, beyond the end clamps.
    let lsn = log.trim(stream(1), Trim::Before(5)).unwrap();
    durable(&log, lsn).await;
    assert_eq!(log.bounds(stream(1)).unwrap().start, 41);
    log.trim(stream(1), Trim::Before(500)).unwrap();
    let bounds = log.bounds(stream(1)).unwrap();
    assert_eq!((bounds.start, bounds.end, bounds.bytes), (120, 120, 0));
    put(&log, stream(1), &filled(120, 10)).await;
    assert_eq!(log.bounds(stream(1)).unwrap().end, 121);
    assert!(matches!(
        log.trim(stream(2), Trim::Before(1)),
        Err(Error::Missing)
    ));
}

async fn removed_streams_start_afresh<S: Log>(make: impl Fn() -> S) {
    let log = make();
    for i in 0..40 {
        put(&log, stream(1), &filled(i, 300)).await;
    }
    let lsn = log.trim(stream(1), Trim::All).unwrap();
    assert_eq!(log.bounds(stream(1)), None);
    let gone = chunk(&log, stream(1), 0..u64::MAX, 1_000).await;
    assert!(matches!(gone, Err(Error::Missing)));
    assert!(matches!(
        log.trim(stream(1), Trim::All),
        Err(Error::Missing)
    ));
    durable(&log, lsn).await;
    let again = filled(7, 100);
    put(&log, stream(1), &again).await;
    let bounds = log.bounds(stream(1)).unwrap();
    assert_eq!((bounds.start, bounds.end), (7, 8));
    assert_eq!(read_all(&log, stream(1), 7).await, again.to_bytes());
}

async fn bounds_count_bytes<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let batches: Vec<_> = (0..100).map(|i| filled(i, 200)).collect();
    let mut total = 0;
    for batch in &batches {
        put(&log, stream(1), batch).await;
        total += batch.bytes() as u64;
        assert_eq!(log.bounds(stream(1)).unwrap().bytes, total);
    }
    log.trim(stream(1), Trim::Before(50)).unwrap();
    let left = log.bounds(stream(1)).unwrap().bytes;
    let exact = concat(&batches[50..]).len() as u64;
    assert!(
        left.abs_diff(exact) <= exact / 10,
        "{left} is about {exact}"
    );
}

/// Batches with timestamps that jump about, and what a scan finds in them.
async fn written_for_seeking(log: &impl Log) -> Vec<Batch> {
    let mut batches = Vec::new();
    for i in 0..150u64 {
        let timestamp = 1_000 + (i as i64 * 37) % 500 + i as i64;
        let batch = batch(i * 2, timestamp, &[b"one", &vec![7; (i % 90) as usize]]);
        put(log, stream(1), &batch).await;
        batches.push(batch);
    }
    batches
}

async fn check_seeks(log: &impl Log, batches: &[Batch]) {
    let found = |batch: &Batch| Found {
        base_offset: batch.header.base_offset,
        max_timestamp: batch.header.max_timestamp,
    };
    for time in (900..1_800).step_by(13) {
        let expected = batches.iter().find(|b| b.header.max_timestamp >= time);
        let got = log.seek(stream(1), Seek::Time(time)).await.unwrap();
        assert_eq!(got, expected.map(found), "time {time}");
    }
    let newest = batches.iter().map(|b| b.header.max_timestamp).max();
    let expected = batches
        .iter()
        .find(|b| Some(b.header.max_timestamp) == newest);
    let got = log.seek(stream(1), Seek::MaxTime).await.unwrap();
    assert_eq!(got, expected.map(found), "greatest time");
    check_seeks_from(log, batches).await;
    let total = concat(batches).len();
    for bytes in (0..total + 500).step_by(331) {
        let mut left = bytes;
        let mut expected = None;
        for batch in batches.iter().rev() {
            let Some(rest) = left.checked_sub(batch.bytes()) else {
                break;
            };
            left = rest;
            expected = Some(found(batch));
        }
        let got = log.seek(stream(1), Seek::TailBytes(bytes as u64)).await;
        assert_eq!(got.unwrap(), expected, "tail of {bytes}");
    }
}

/// The same from every so many offsets on, also in the middle of a batch.
async fn check_seeks_from(log: &impl Log, batches: &[Batch]) {
    let found = |batch: &Batch| Found {
        base_offset: batch.header.base_offset,
        max_timestamp: batch.header.max_timestamp,
    };
    for from in (0..310).step_by(7) {
        let rest = || batches.iter().filter(|b| b.header.next_offset() > from);
        let newest = rest().map(|b| b.header.max_timestamp).max();
        let expected = rest().find(|b| Some(b.header.max_timestamp) == newest);
        let got = log.seek(stream(1), Seek::MaxTimeFrom(from)).await.unwrap();
        assert_eq!(got, expected.map(found), "greatest time from {from}");
        for time in (900..1_800).step_by(131) {
            let expected = rest().find(|b| b.header.max_timestamp >= time);
            let seek = Seek::TimeFrom { time, from };
            let got = log.seek(stream(1), seek).await.unwrap();
            assert_eq!(got, expected.map(found), "time {time} from {from}");
        }
    }
}

async fn seeks_agree_with_a_scan<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let none = log.seek(stream(1), Seek::MaxTime).await;
    assert!(matches!(none, Err(Error::Missing)));
    let batches = written_for_seeking(&log).await;
    check_seeks(&log, &batches).await;
}

async fn seeks_skip_what_was_trimmed<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let batches = written_for_seeking(&log).await;
    for first in [1, 40, 75, 120, 149] {
        log.trim(stream(1), Trim::Before(first * 2 + 1)).unwrap();
        check_seeks(&log, &batches[first as usize..]).await;
    }
    log.trim(stream(1), Trim::Before(300)).unwrap();
    check_seeks(&log, &[]).await;
}

async fn gaps_panic_and_leave_nothing<S: Log>(make: impl Fn() -> S) {
    let log = make();
    put(&log, stream(1), &filled(0, 10)).await;
    let before = log.bounds(stream(1));
    let bad = vec![
        append(stream(1), &filled(1, 10)),
        append(stream(2), &filled(0, 10)),
        append(stream(1), &filled(3, 10)),
    ];
    let outcome = catch_unwind(AssertUnwindSafe(|| log.append(bad, Durability::Sync)));
    assert!(outcome.is_err(), "a gap is the caller's bug");
    assert_eq!(log.bounds(stream(1)), before);
    assert_eq!(log.bounds(stream(2)), None);
    put(&log, stream(1), &filled(1, 10)).await;
    assert_eq!(log.bounds(stream(1)).unwrap().end, 2);
}

async fn relaxed_appends_are_readable_when_written<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let batch = filled(0, 100);
    let lsn = log
        .append(vec![append(stream(1), &batch)], Durability::Flush)
        .unwrap();
    let mut progress = log.progress();
    progress.wait_for(|at| at.written >= lsn).await.unwrap();
    assert_eq!(read_all(&log, stream(1), 0).await, batch.to_bytes());
    // The interval makes it durable without anyone asking.
    durable(&log, lsn).await;
}

async fn numbers_grow_with_every_call<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let mut last = log.progress().borrow().durable;
    for i in 0..20 {
        let entry = vec![append(stream(1), &filled(i, 10))];
        let lsn = log.append(entry, Durability::Sync).unwrap();
        assert!(lsn > last);
        last = lsn;
    }
    durable(&log, last).await;
    let at = *log.progress().borrow();
    assert!(at.durable <= at.written);
}

async fn writers_do_not_disturb_each_other<S: Log>(make: impl Fn() -> S) {
    let log = Arc::new(make());
    let mut tasks = Vec::new();
    for writer in 0..8u128 {
        let log = Arc::clone(&log);
        tasks.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            for i in 0..60 {
                let batch = filled(i, 20 + writer as usize);
                put(&*log, stream(writer), &batch).await;
                mine.push(batch);
            }
            assert_eq!(read_all(&*log, stream(writer), 0).await, concat(&mine));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn batches_of_many_sizes<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let sizes = [
        0,
        1,
        900,
        1_000,
        4_096,
        8_191,
        8_192,
        70_000,
        300_000,
        1 << 20,
        5,
    ];
    let batches: Vec<_> = (0..).zip(sizes).map(|(i, size)| filled(i, size)).collect();
    let all = batches.iter().map(|batch| append(stream(1), batch));
    let lsn = log.append(all.collect(), Durability::Sync).unwrap();
    durable(&log, lsn).await;
    assert_eq!(read_all(&log, stream(1), 0).await, concat(&batches));
}

async fn what_streams_share_comes_back_to_each<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let mut own = vec![Vec::new(); 6];
    for i in 0..120_u64 {
        let shared = filled(i, [10, 900, 1_500, 9_000, 40_000][(i % 5) as usize]);
        let mut appends = Vec::new();
        for number in (0..6).filter(|number| (i + number) % 4 > 0) {
            let end = own[number as usize].len() as u64;
            // Some of it twice for one stream, some for one stream alone.
            let fresh = filled(i * 7 + number, 2_000).placed(end, 0, None);
            let again = shared.clone().placed(end + 1, 0, None);
            let batches = match (i + number) % 7 {
                0 => vec![fresh],
                1 => vec![shared.clone().placed(end, 0, None), again],
                2 => vec![fresh, again],
                3 => vec![shared.clone().placed(end, 0, Some(77))],
                _ => vec![shared.clone().placed(end, 0, None)],
            };
            let id = stream(u128::from(number));
            appends.extend(batches.iter().map(|batch| append(id, batch)));
            own[number as usize].extend(batches);
        }
        let lsn = log.append(appends, Durability::Sync).unwrap();
        durable(&log, lsn).await;
    }
    for (number, batches) in own.iter().enumerate() {
        let id = stream(number as u128);
        for from in [0, 1, batches.len() / 2] {
            let expected = concat(&batches[from..]);
            assert!(read_all(&log, id, from as u64).await == expected);
        }
        let bytes: u64 = batches.iter().map(|batch| batch.bytes() as u64).sum();
        assert_eq!(log.bounds(id).unwrap().bytes, bytes);
    }
}

async fn empty_appends_get_a_number<S: Log>(make: impl Fn() -> S) {
    let log = make();
    let lsn = log.append(Vec::<Append>::new(), Durability::Sync).unwrap();
    durable(&log, lsn).await;
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

async fn documents_are_compared_and_swapped<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    assert_eq!(catalog.get("a").await.unwrap(), None);
    let first = catalog.put_if("a", Expected::Absent, Some(text("1"))).await;
    let first = first.unwrap();
    assert!(first > 0);
    let conflict = catalog.put_if("a", Expected::Absent, Some(text("2"))).await;
    assert!(matches!(conflict, Err(Error::Conflict(key)) if key == "a"));
    let stale = Expected::Version(first + 1);
    assert!(catalog.put_if("a", stale, Some(text("2"))).await.is_err());
    let second = catalog
        .put_if("a", Expected::Version(first), Some(text("2")))
        .await
        .unwrap();
    assert!(second > first);
    let document = catalog.get("a").await.unwrap().unwrap();
    assert_eq!((document.version, &document.value[..]), (second, &b"2"[..]));
    catalog
        .put_if("a", Expected::Version(second), None)
        .await
        .unwrap();
    assert_eq!(catalog.get("a").await.unwrap(), None);
    catalog.put_if("a", Expected::Any, None).await.unwrap();
}

async fn documents_that_cannot_be_kept_are_refused<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    for key in ["a\0b", "\0lease/a", &"k".repeat(8 * 1024 + 1)] {
        let refused = catalog.put_if(key, Expected::Any, Some(text("1"))).await;
        assert!(matches!(refused, Err(Error::InvalidKey(_))), "{refused:?}");
    }
    let sized = |bytes| Some(Bytes::from(vec![b'x'; bytes]));
    let refused = catalog
        .put_if("a", Expected::Any, sized((1 << 20) + 1))
        .await;
    assert!(
        matches!(refused, Err(Error::DocumentTooLarge { bytes, allowed: 1_048_576 }) if bytes == 1_048_577),
        "{refused:?}"
    );
    assert_eq!(catalog.get("a").await.unwrap(), None);
    let key = "k".repeat(8 * 1024);
    for key in [&*key, "a"] {
        catalog
            .put_if(key, Expected::Absent, sized(1 << 20))
            .await
            .unwrap();
    }
}

async fn of_racing_puts_one_wins<S: Catalog>(make: impl Fn() -> S) {
    let catalog = Arc::new(make());
    let mut tasks = Vec::new();
    for i in 0..16 {
        let catalog = Arc::clone(&catalog);
        tasks.push(tokio::spawn(async move {
            let value = Some(text(&i.to_string()));
            catalog.put_if("k", Expected::Absent, value).await.is_ok()
        }));
    }
    let mut winners = 0;
    for task in tasks {
        winners += u32::from(task.await.unwrap());
    }
    assert_eq!(winners, 1);
}

async fn versions_never_repeat<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    let mut last = 0;
    for _ in 0..5 {
        for key in ["a", "b"] {
            let value = Some(text("x"));
            let version = catalog.put_if(key, Expected::Any, value).await.unwrap();
            if key == "a" {
                assert!(version > last);
                last = version;
            }
            catalog.put_if(key, Expected::Any, None).await.unwrap();
        }
    }
}

async fn lists_are_sorted_and_prefixed<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    for key in ["t/b", "t/a", "u/a", "s", "t/"] {
        let put = catalog.put_if(key, Expected::Absent, Some(text(key))).await;
        put.unwrap();
    }
    catalog.lease("node").await.unwrap();
    let keys = |found: Vec<(String, Document)>| -> Vec<String> {
        found.into_iter().map(|(key, _)| key).collect()
    };
    let found = catalog.list("t/").await.unwrap();
    assert_eq!(keys(found), ["t/", "t/a", "t/b"]);
    let all = catalog.list("").await.unwrap();
    assert_eq!(keys(all), ["s", "t/", "t/a", "t/b", "u/a"]);
}

async fn watchers_see_changes_in_order<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    let mut changes = catalog.watch();
    let one = catalog
        .put_if("a", Expected::Any, Some(text("1")))
        .await
        .unwrap();
    catalog
        .put_if("b", Expected::Any, Some(text("2")))
        .await
        .unwrap();
    catalog
        .put_if("a", Expected::Version(one), None)
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Change { key, document } = changes.recv().await.unwrap();
        seen.push((key, document.is_some()));
    }
    let seen: Vec<_> = seen.iter().map(|(key, some)| (&key[..], *some)).collect();
    assert_eq!(seen, [("a", true), ("b", true), ("a", false)]);
}

async fn leases_fence_earlier_ones<S: Catalog>(make: impl Fn() -> S) {
    let catalog = make();
    let first = catalog.lease("node").await.unwrap();
    let other = catalog.lease("other").await.unwrap();
    let second = catalog.lease("node").await.unwrap();
    assert!(second.epoch > first.epoch && other.epoch > 0);
}
