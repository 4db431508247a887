//! What a fuzzer, and a test over made-up batches, asserts of any batch that a partition may hold.

use bytes::Bytes;
use storage::batch::{Outlines, Refusal, Rules};
use storage::{Batch, BatchHeader};

use crate::arrival::Arrival;
use crate::decide::Receiving;
use crate::event::QueueEvent;
use crate::moment::Moment;
use crate::queue_partition::QueuePartition;
use crate::settings::{Limits, Ordering, QueueSettings};

const NOW: u64 = 1_780_000_000_000;
/// Where the batch lies.
const BASE: u64 = 5;
/// What a queue partition may take for each record that is there, and for nothing.
const BYTES_EACH: u64 = 100;
const BYTES_ALWAYS: u64 = 10_000;

/// Looks through a batch as if it was published, and folds it as if it lay on a disk, whether it is sound or not. Then
/// `read` gets it.
/// Returns whether it would have been acknowledged.
#[doc(hidden)]
pub fn fuzz_batch(bytes: &Bytes, read: impl FnOnce(&Batch)) -> bool {
    let checked = Batch::split_first(&mut bytes.clone()).is_ok_and(|batch| check(&batch));
    let Ok(batch) = Batch::split_trusted(&mut bytes.clone()) else {
        return false;
    };
    let batch = batch.placed(BASE, 0, None);
    let there = batch.records().map_while(Result::ok).count();
    for settings in all_settings() {
        fold(&batch, there as u64, &settings, checked);
    }
    read(&batch);
    checked && !batch.header.has_reserved_bits()
}

fn check(batch: &Batch) -> bool {
    let rules = Rules {
        outlines: Outlines::Keys,
        ..Rules::default()
    };
    match batch.check(&rules) {
        Ok(checked) => {
            let outlines = checked.outlines.expect("they were asked for");
            assert!(batch.outlines(true).eq(outlines.iter().cloned()));
            assert_eq!(outlines.len() as u64, count(&batch.header));
            assert!(batch.is_whole());
            true
        }
        Err(Refusal::Records { count, first }) => {
            assert!(first.len() <= count);
            false
        }
        Err(Refusal::Batch(_)) => false,
    }
}

fn count(header: &BatchHeader) -> u64 {
    header.next_offset() - header.base_offset
}

fn all_settings() -> [QueueSettings; 4] {
    let plain = QueueSettings::default();
    let limits = Limits {
        bytes_max: Some(1 << 20),
        message_ttl_ms: Some(60_000),
        ..Limits::default()
    };
    let ordered = QueueSettings {
        ordering: Ordering::Key,
        delay_ms: 10,
        ..plain.clone()
    };
    let limited = QueueSettings {
        limits: limits.clone(),
        ..plain.clone()
    };
    let both = QueueSettings {
        limits,
        ..ordered.clone()
    };
    [plain, ordered, limited, both]
}

fn fold(batch: &Batch, there: u64, settings: &QueueSettings, sound: bool) {
    let mut queue_partition = QueuePartition::new(0);
    queue_partition.skip_to(BASE);
    let event = queue_partition.arrival_event(&batch.header, settings, NOW);
    queue_partition.index((batch, None), settings, Arrival::Now(Moment::both(NOW)));
    assert_eq!(queue_partition.end(), batch.header.next_offset());
    let all = count(&batch.header);
    check_size(&queue_partition, there);
    assert_eq!(total(&queue_partition), all, "each offset is a message");
    restart(batch, settings, event.as_ref());
    // What comes behind is not lost, whatever this one is.
    let mut now = NOW + 20;
    queue_partition.tick(now);
    let mut left = queue_partition.clone_by_snapshot();
    for _ in 0..50 {
        now += 1;
        left.tick(now);
        let picked = left.pick(3, settings, now);
        let Some((first, _)) = picked.leases.first().copied() else {
            break;
        };
        let spec = Receiving {
            lease_ms: 1_000,
            attempt: None,
        };
        let event = left.lease_event(&picked, &spec, now);
        left.apply(&event, None);
        left.apply(
            &QueueEvent::Acked {
                offsets: vec![first],
            },
            None,
        );
    }
    check_size(&left, there);
    if sound {
        assert!(total(&left) <= all);
    }
    // As much as cannot be read stays, and takes no room.
    let end = queue_partition.end();
    if let Some(event) = queue_partition.unreadable_event(BASE + 1, end) {
        queue_partition.apply(&event, None);
        assert_eq!(total(&queue_partition), all);
        assert_eq!(queue_partition.unreadable(), all - 1);
        assert_eq!(queue_partition.clone_by_snapshot().unreadable(), all - 1);
    }
    queue_partition.apply(&QueueEvent::Purged { before: end }, None);
    assert_eq!(
        (total(&queue_partition), queue_partition.oldest()),
        (0, end)
    );
}

fn total(queue_partition: &QueuePartition) -> u64 {
    let counts = queue_partition.counts();
    counts.ready + counts.leased + counts.waiting + counts.unreadable
}

/// A restart reads the records first, and what was in the queue partition's log behind them.
fn restart(batch: &Batch, settings: &QueueSettings, event: Option<&QueueEvent>) {
    let mut again = QueuePartition::new(0);
    again.skip_to(BASE);
    again.start_restoring();
    again.index(
        (batch, None),
        settings,
        Arrival::Before(Moment::both(NOW + 1)),
    );
    if let Some(event) = event {
        let event = QueueEvent::decode(&event.encode()).expect("it was encoded");
        again.apply(&event, None);
    }
    again.restored(0, settings, NOW + 1);
    again.stop_restoring();
    again.tick(NOW + 20);
    again.too_old((NOW + 30, true), settings, 10);
    assert!(again.expire_event().is_none(), "it has only just come");
}

fn check_size(queue_partition: &QueuePartition, there: u64) {
    let bytes: u64 = queue_partition
        .snapshot()
        .iter()
        .map(|part| part.encode().len() as u64)
        .sum();
    // A key is told apart by no more than its digest.
    let most = BYTES_ALWAYS + there * (BYTES_EACH + 256);
    assert!(bytes <= most, "{bytes} bytes for {there} records");
}

impl QueuePartition {
    fn clone_by_snapshot(&self) -> Self {
        let mut whole = Vec::new();
        for part in self.snapshot() {
            if let QueueEvent::Snapshot { bytes, .. } = part {
                whole.extend(bytes);
            }
        }
        Self::decode(&whole, 300_000).expect("it was just written")
    }
}
