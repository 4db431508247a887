//! Producers through the door: fresh ids, and what a partition knows of them.

use security::{Resource, Verb};

use super::{Access, TopicKey};
use crate::partition::Producer;
use crate::{Error, Result};

impl Access {
    /// A fresh idempotent producer's id. Its epoch starts at 0.
    pub async fn producer_id(&self) -> Result<i64> {
        self.authorize(Verb::Describe, Resource::Broker)?;
        self.inner.producer_ids.next().await
    }

    /// The idempotent producers a partition knows, by id.
    #[expect(
        clippy::unused_async,
        reason = "the partition may have its owner on another node one day"
    )]
    pub async fn producers(
        &self,
        key: TopicKey<'_>,
        partition: i32,
    ) -> Result<Vec<(i64, Producer)>> {
        let topic = self.find_topic(key, Verb::Consume)?;
        let partition = topic.partition(partition).ok_or(Error::UnknownPartition)?;
        let key = (partition.topic_id, partition.index);
        self.inner.owners.partition(key)?.run(|round| {
            let producers = round.owned.state.producers.sorted();
            let own = producers.into_iter();
            own.map(|(id, known)| (id, known.clone())).collect()
        })
    }
}
