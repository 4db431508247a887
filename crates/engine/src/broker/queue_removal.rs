//! Queues that go: with a note, by which a start finishes what a crash left.

use std::sync::Arc;

use bytes::Bytes;
use storage::Expected;
use uuid::Uuid;

use super::{Inner, exchange_table, queue_partitions};
use crate::Result;
use crate::queue::Queue;

pub(super) fn key(name: &str) -> String {
    format!("queues/{name}")
}

pub(super) fn removed_key(id: Uuid) -> String {
    format!("removed-queues/{id}")
}

/// Removes a queue whose topic stays, or goes in the same stroke.
pub(super) async fn remove(inner: &Inner, queue: &Arc<Queue>) -> Result<()> {
    let note = removed_key(queue.id());
    let queue_partitions = Bytes::from(queue.partitions.to_string());
    let noted = inner
        .catalog
        .put_vital(&note, Expected::Any, queue_partitions)
        .await;
    if let Err(error) = &noted
        && !matches!(error, storage::Error::DiskFull)
    {
        return Err(error.clone().into());
    }
    inner
        .catalog
        .put_if(&key(&queue.name), Expected::Any, None)
        .await?;
    inner.queues.remove(&queue.name);
    exchange_table::forget_queue(inner, queue).await?;
    let owner = queue.settings().lifetime.owner;
    inner.consumer_registry.forget(queue.id(), owner);
    queue_partitions::close_queue_partitions(inner, queue).await?;
    if let Some(topic) = inner.topics.load().with_id(queue.document.topic) {
        // Readers that wait for more look, and see that there will be none.
        topic.partitions.iter().for_each(|p| p.waiters.wake());
    }
    inner.catalog.put_if(&note, Expected::Any, None).await?;
    Ok(())
}

/// Removes every queue that leases from a topic that is about to go.
pub(super) async fn remove_of_topic(inner: &Inner, topic: Uuid) -> Result<()> {
    for queue in inner.queues.of_topic(topic) {
        remove(inner, &queue).await?;
    }
    Ok(())
}
