//! Topics through the door: make, find, change, trim and remove them, and look offsets up by time.

use std::sync::Arc;

use security::{Resource, Verb};
use tokio::sync::oneshot;

use super::command::{Command, ConfigChange, NewTopic};
use super::{Access, Broker, TopicKey, VisibleTopics};
use crate::partition::Partition;
use crate::topic::Topic;
use crate::{Error, Result};

/// What to look up in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLookup {
    /// The first readable offset.
    Earliest,
    /// One past the last readable offset.
    Latest,
    /// The record with the greatest timestamp.
    MaxTimestamp,
    /// The first record at or after this time, ms.
    At(i64),
}

impl Access {
    /// The topics at this moment that the principal may see.
    pub fn topics(&self) -> VisibleTopics {
        VisibleTopics {
            access: self.clone(),
            all: self.inner.topics.load_full(),
        }
    }

    /// One topic, if the principal may see it.
    pub fn topic(&self, key: TopicKey<'_>) -> Result<Arc<Topic>> {
        self.find_topic(key, Verb::Describe)
    }

    /// Makes a topic; with `dry_run` only checks whether it could be made.
    pub async fn create_topic(&self, topic: NewTopic, dry_run: bool) -> Result<Arc<Topic>> {
        self.authorize(Verb::Create, Resource::Topic(&topic.name))?;
        self.command(|done| Command::Create {
            topic,
            dry_run,
            done,
        })
        .await
    }

    /// Removes a topic and its records.
    pub async fn delete_topic(&self, key: TopicKey<'_>) -> Result<Arc<Topic>> {
        let topic = self.find_topic(key, Verb::Delete)?;
        let name = Arc::clone(&topic.name);
        self.command(|done| Command::Delete {
            name,
            id: topic.id(),
            done,
        })
        .await?;
        Ok(topic)
    }

    /// Gives a topic more partitions: `count` in all.
    pub async fn add_partitions(&self, name: &str, count: u32, dry_run: bool) -> Result<()> {
        let topic = self.find_topic(TopicKey::Name(name), Verb::Configure)?;
        let name = Arc::clone(&topic.name);
        self.command(|done| Command::Grow {
            name,
            count,
            dry_run,
            done,
        })
        .await
    }

    /// Changes a topic's settings, all or none.
    pub async fn configure_topic(
        &self,
        name: &str,
        changes: Vec<ConfigChange>,
        dry_run: bool,
    ) -> Result<()> {
        let topic = self.find_topic(TopicKey::Name(name), Verb::Configure)?;
        let name = Arc::clone(&topic.name);
        self.command(|done| Command::Configure {
            name,
            changes,
            dry_run,
            done,
        })
        .await
    }

    /// Deletes a partition's records before `before` (all readable ones when absent); returns the new start.
    pub async fn delete_records(
        &self,
        name: &str,
        partition: i32,
        before: Option<u64>,
    ) -> Result<u64> {
        let topic = self.find_topic(TopicKey::Name(name), Verb::Trim)?;
        let partition = topic.partition(partition).ok_or(Error::UnknownPartition)?;
        let before = before.unwrap_or_else(|| partition.high_watermark());
        let key = (partition.topic_id, partition.index);
        let owner = self.inner.owners.partition(key)?;
        owner.commit(|round| round.trim(before)).await
    }

    /// Finds an offset and its timestamp; `None` when there is no such record.
    pub async fn lookup(
        &self,
        key: TopicKey<'_>,
        partition: i32,
        lookup: TimeLookup,
    ) -> Result<Option<(u64, i64)>> {
        let topic = self.find_topic(key, Verb::Describe)?;
        let partition = topic.partition(partition).ok_or(Error::UnknownPartition)?;
        match lookup {
            TimeLookup::Earliest => Ok(Some((partition.start(), -1))),
            TimeLookup::Latest => Ok(Some((partition.high_watermark(), -1))),
            TimeLookup::MaxTimestamp => self.newest(partition).await,
            TimeLookup::At(time) => self.first_at(partition, time).await,
        }
    }
}

impl Broker {
    /// What a partition's records take in the log, bytes.
    pub fn bytes_of(&self, partition: &Partition) -> u64 {
        let bounds = self.inner.log.bounds(partition.records());
        bounds.map_or(0, |bounds| bounds.bytes)
    }

    pub(super) async fn command<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        self.inner
            .controller
            .send(make(done))
            .await
            .map_err(|_| Error::Unavailable)?;
        outcome.await.map_err(|_| Error::Unavailable)?
    }
}
