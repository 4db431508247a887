//! Maintenance: what happens because time passes. Retention by age and size, and forgetting silent producers.

use std::sync::{Arc, PoisonError, Weak};

use storage::Seek;
use storage::supervisor::Owner;
use tokio::sync::oneshot;

use super::command::Command;
use super::{Inner, queue_partitions};
use crate::Result;
use crate::group::{Group, State};
use crate::partition::Partition;
use crate::queue::{Queue, QueuePartitionId};
use crate::topic::Topic;

/// Looks at every partition once per interval, until the broker is gone.
pub(super) async fn run(inner: Weak<Inner>, owner: Owner) {
    while let Some(strong) = inner.upgrade() {
        let interval = strong.settings.maintenance_interval;
        look_after(&strong, &owner).await;
        drop(strong);
        owner.rest();
        tokio::time::sleep(interval).await;
    }
}

async fn look_after(inner: &Inner, owner: &Owner) {
    owner.turn();
    let now = inner.clock.now_ms();
    let expiry = u64::try_from(inner.settings.producer_expiry.as_millis()).unwrap_or(u64::MAX);
    for partition in inner.owners.all() {
        owner.turn();
        // One that is gone needs nothing, and a broker that stops looks after nothing.
        let _ = partition.run(|round| round.maintain(now.saturating_sub(expiry)));
    }
    remove_dead_groups(inner, owner).await;
    for topic in inner.topics.load_full().iter() {
        for partition in &topic.partitions {
            owner.turn();
            if let Err(error) = retain(inner, partition, topic).await {
                tracing::warn!(topic = %topic.name, partition = partition.index, %error, "retention failed");
            }
        }
    }
}

/// Forgets groups that have neither members nor offsets any more.
async fn remove_dead_groups(inner: &Inner, owner: &Owner) {
    let names: Vec<Arc<str>> = {
        let groups = inner.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.keys().cloned().collect()
    };
    for name in names {
        owner.turn();
        let Some(group) = inner.owners.group(&name) else {
            continue;
        };
        let is_dead = |group: Option<&Group>| group.is_some_and(|g| g.state() == State::Dead);
        if group.inspect(is_dead).await.unwrap_or(false) {
            let (done, _outcome) = oneshot::channel();
            let _ = inner
                .controller
                .send(Command::RemoveGroup { name, done })
                .await;
        }
    }
}

/// What a topic may keep: age in ms, and bytes of a partition. One that was made for a queue keeps what the queue
/// keeps, as its policies want it.
fn allowance(inner: &Inner, topic: &Topic) -> (Option<u64>, Option<u64>) {
    let (age, bytes) = (topic.config.retention_ms, topic.config.retention_bytes);
    let queues = inner.queues.of_topic(topic.id());
    let Some(queue) = queues.iter().find(|queue| queue.document.owns_topic) else {
        return (age, bytes);
    };
    let settings = queue.settings();
    // Acknowledged messages are kept as long as the queue says, however old they were then.
    let kept = settings.retention_ms.saturating_add(settings.replay_ms);
    let of_topic = age.map(|age| age.saturating_add(settings.replay_ms));
    let oldest = of_topic.into_iter().chain([kept]).min();
    let most = bytes.into_iter().chain(settings.retention_bytes).min();
    (oldest, most)
}

/// Has the messages go that a queue keeps no longer, where their records stay for what was acknowledged.
async fn outdate(inner: &Inner, partition: &Partition, topic: &Topic) -> Result<()> {
    let queues = inner.queues.of_topic(topic.id());
    let replays = |queue: &&Arc<Queue>| queue.document.owns_topic && queue.settings().replay_ms > 0;
    let Some(queue) = queues.iter().find(replays) else {
        return Ok(());
    };
    let oldest = inner.clock.stamp_ago(queue.settings().retention_ms);
    let oldest = Seek::Time(oldest.cast_signed());
    let found = inner.log.seek(partition.records(), oldest).await?;
    let before = found.map_or_else(|| partition.high_watermark(), |found| found.base_offset);
    let at = QueuePartitionId {
        topic: partition.topic_id,
        index: partition.index,
        queue: queue.id(),
    };
    queue_partitions::run(inner, at, |round| round.outdate(at.queue, before))
}

/// Trims a partition to what its topic may keep.
async fn retain(inner: &Inner, partition: &Arc<Partition>, topic: &Topic) -> Result<()> {
    let Some(bounds) = inner.log.bounds(partition.records()) else {
        return Ok(());
    };
    if bounds.start == bounds.end {
        return Ok(());
    }
    outdate(inner, partition, topic).await?;
    let mut keep_from = bounds.start;
    let (age, most) = allowance(inner, topic);
    if let Some(age) = age {
        let oldest = inner.clock.stamp_ago(age).cast_signed();
        let found = inner
            .log
            .seek(partition.records(), Seek::Time(oldest))
            .await?;
        // Nothing young enough: everything readable may go.
        keep_from =
            keep_from.max(found.map_or_else(|| partition.high_watermark(), |f| f.base_offset));
    }
    if let Some(most) = most.filter(|most| bounds.bytes > *most) {
        let found = inner
            .log
            .seek(partition.records(), Seek::TailBytes(most))
            .await?;
        keep_from =
            keep_from.max(found.map_or_else(|| partition.high_watermark(), |f| f.base_offset));
    }
    let before = keep_from.min(partition.high_watermark());
    if before <= partition.start() {
        return Ok(());
    }
    let key = (partition.topic_id, partition.index);
    inner
        .owners
        .partition(key)?
        .run(|round| round.trim(before))??;
    Ok(())
}
