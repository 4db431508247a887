//! What is written of a partition last: that it is gone, or what makes the next start quick.

use std::sync::Arc;

use storage::{Lsn, Trim};

use super::env::Env;
use super::forgetting::snapshot_queues;
use super::partition::Owned;
use super::snapshots::snapshot;
use crate::partition::Partition;

/// Gives up a partition's records and the logs of its queues; returns where that is in the log.
pub(super) fn close(env: &Env, partition: &Arc<Partition>, owned: &Owned) -> Lsn {
    let mut last = Lsn(0);
    for queue_partition in owned.queues.used() {
        last = last.max(queue_partition.give_up(&*env.log, partition.index));
    }
    for stream in [partition.records(), partition.state()] {
        // A store that cannot write is about to stop the process; the next start finishes the removal.
        if let Ok(lsn) = env.log.trim(stream, Trim::All) {
            last = last.max(lsn);
        }
    }
    env.timers.forget(owned.scheduled);
    partition.waiters.wake();
    last
}

/// Snapshots what changed: the next start then reads nothing but the snapshots.
pub(super) fn snapshot_all(env: &Env, partition: &Arc<Partition>, owned: &mut Owned) {
    let now = env.clock.now_ms();
    snapshot_queues((partition, owned), &*env.log, now);
    if owned.bytes_since_snapshot > 0 && !owned.state.producers.is_empty() {
        snapshot((partition, owned), &*env.log, now);
    }
}
