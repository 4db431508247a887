//! Snapshots of the producers of a partition, and its start, which moves only behind one.

use std::sync::Arc;

use storage::batch::BatchBuilder;
use storage::{Append, Durability, Log, Lsn, Trim};

use super::partition::Owned;
use crate::partition::{LEADER_EPOCH, Partition, Snapshot};

/// A partition is snapshotted when this many bytes were appended since the last time: what a start has to
/// read at most, per partition.
pub(super) const SNAPSHOT_BYTES: u64 = 64 << 20;

/// Gives up a partition's records before `before`; `None` when the log cannot.
pub(super) fn trim_to(
    (partition, owned): (&Arc<Partition>, &mut Owned),
    log: &dyn Log,
    before: u64,
    now: u64,
) -> Option<Lsn> {
    // The records that go are also what a start would learn their producers from.
    if before > owned.snapshot_upto && !owned.state.producers.is_empty() {
        snapshot((partition, owned), log, now);
    }
    let lsn = log.trim(partition.records(), Trim::Before(before)).ok()?;
    owned.state.trim(before);
    partition.trimmed(before);
    owned.last_lsn = lsn;
    Some(lsn)
}

/// Writes the ledger's snapshot and gives up the one before. Failing is harmless: the next start reads more.
pub(super) fn snapshot((partition, owned): (&Arc<Partition>, &mut Owned), log: &dyn Log, now: u64) {
    let stream = partition.state();
    if owned.state_end == 0 {
        owned.state_end = log.bounds(stream).map_or(0, |bounds| bounds.end);
    }
    let mut builder = BatchBuilder::new(now.cast_signed());
    let bytes = Snapshot::encode(owned.state.end, &owned.state.producers);
    builder.push(now.cast_signed(), None, Some(&bytes), &[]);
    let batch = builder.build().placed(owned.state_end, LEADER_EPOCH, None);
    let next = batch.header.next_offset();
    let Ok(_) = log.append(vec![Append { stream, batch }], Durability::Vital) else {
        return;
    };
    let _ = log.trim(stream, Trim::Before(owned.state_end));
    owned.state_end = next;
    owned.snapshot_upto = owned.state.end;
    owned.bytes_since_snapshot = 0;
}
