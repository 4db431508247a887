//! What readers can still read of a partition with queues, and what its log may forget.

use std::sync::Arc;

use storage::Log;

use super::partition::Owned;
use super::queues::{OwnedQueuePartition, owns_records};
use super::snapshots::trim_to;
use crate::partition::Partition;

/// A partition that is locked, with what its owner knows about it.
type Held<'h> = (&'h Arc<Partition>, &'h mut Owned);

/// Snapshots of queue partitions that would otherwise forget deduplication ids with the records before `before`.
pub(super) fn keep_ids((partition, owned): Held<'_>, log: &dyn Log, before: u64, now: u64) {
    let index = partition.index;
    for queue_partition in owned.queues.used_mut() {
        if queue_partition.state.dedup_ids() > 0
            && queue_partition.snapshot_end < before
            && !queue_partition.is_transient()
        {
            queue_partition.snapshot(log, index, now);
        }
    }
}

/// Snapshots of queue partitions that changed: the next start then reads nothing else.
pub(super) fn snapshot_queues((partition, owned): Held<'_>, log: &dyn Log, now: u64) {
    let index = partition.index;
    for queue_partition in owned.queues.used_mut() {
        if queue_partition.changed_since_snapshot() {
            queue_partition.snapshot(log, index, now);
        }
    }
}

/// Shows readers what is left for them, and lets the log forget the rest when it is `step` records, where the partition is
/// there for its queue alone.
pub(super) fn forget_done((partition, owned): Held<'_>, log: &dyn Log, step: u64, now: u64) {
    if !owned.queues.queues().any(|queue| owns_records(queue)) {
        return;
    }
    show_readable(partition, owned);
    let done = owned
        .queues
        .used()
        .map(OwnedQueuePartition::forgettable)
        .min();
    let before = done.unwrap_or(owned.state.end);
    let before = before.min(partition.high_watermark());
    if before < owned.state.start + step {
        return;
    }
    trim_to((partition, owned), log, before, now);
}

/// What is done in every queue partition, and kept in none, is not there any more for readers, whatever the log still has.
fn show_readable(partition: &Partition, owned: &Owned) {
    let end = owned.state.end;
    let lowest = owned
        .queues
        .used()
        .map(|queue_partition| queue_partition.state.lowest_visible());
    let lowest = lowest.min().unwrap_or(end);
    let has_all = |queue_partition: &OwnedQueuePartition| {
        let first = queue_partition.state.lowest_visible();
        first == lowest
            && queue_partition.state.visible_count() == queue_partition.state.end() - first
    };
    let sparse = lowest < end && !owned.queues.used().any(has_all);
    let readable = partition.high_watermark();
    partition.acknowledged(lowest.min(readable), sparse);
}

/// Runs of offsets that can be read: first offset and end of each, rising, none next to another.
pub(crate) type Readable = Vec<(u64, u64)>;

/// What can be read of a partition from an offset on: `span` offsets from the first one that can, and as far as `least`; up
/// to the offset that is also returned.
pub(super) fn readable(owned: &Owned, (from, least): (u64, u64), span: u64) -> (Readable, u64) {
    let queue_partitions = || {
        owned
            .queues
            .used()
            .map(|queue_partition| &queue_partition.state)
    };
    let first = queue_partitions()
        .filter_map(|queue_partition| queue_partition.first_visible(from))
        .min();
    let Some(first) = first else {
        return (Vec::new(), owned.state.end);
    };
    let upto = first.saturating_add(span).max(least);
    let upto = upto.min(owned.state.end);
    let mut runs = Vec::new();
    for queue_partition in queue_partitions() {
        queue_partition.visible_within((first, upto), &mut runs);
    }
    runs.sort_unstable();
    let mut readable: Readable = Vec::with_capacity(runs.len().min(1024));
    for (start, end) in runs {
        match readable.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => readable.push((start, end)),
        }
    }
    (readable, upto)
}
