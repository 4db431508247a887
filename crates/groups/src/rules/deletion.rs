//! Deleting on request: offsets, the group, and the offsets of a topic that is gone.

use uuid::Uuid;

use super::Turn;
use crate::command::{NamedPartition, Ticket};
use crate::error::Error;
use crate::event::{GroupEvent, TopicPartition};
use crate::reply::{PartitionResult, Reply, State};

impl Turn<'_> {
    pub(crate) fn delete_offsets(&mut self, partitions: Vec<NamedPartition>, ticket: Ticket) {
        let result = self.try_delete_offsets(partitions);
        self.reply(ticket, Reply::DeleteOffsets(result));
    }

    fn try_delete_offsets(
        &mut self,
        partitions: Vec<NamedPartition>,
    ) -> Result<Vec<PartitionResult>, Error> {
        match self.live.state {
            State::Dead => return Err(Error::NotFound),
            State::Empty => {}
            // Only for topics can we tell which offsets the members still need.
            _ if self.live.is_about_topics(self.settings) => {}
            _ => return Err(Error::NotEmpty),
        }
        let mut results = Vec::with_capacity(partitions.len());
        let mut deleted = Vec::new();
        for NamedPartition {
            partition,
            topic_name,
        } in partitions
        {
            let subscribed = self.live.is_subscribed(&topic_name, self.settings);
            let result = if subscribed {
                Err(Error::Subscribed)
            } else {
                Ok(())
            };
            results.push(PartitionResult { partition, result });
            let known = self.durable.offsets().get(partition).is_some();
            if !subscribed && (known || self.durable.is_staged(partition)) {
                deleted.push(partition);
            }
        }
        self.forget(deleted);
        Ok(results)
    }

    pub(crate) fn topic_deleted(&mut self, topic: Uuid, ticket: Ticket) {
        let partitions = self.durable.partitions_of(topic);
        self.forget(partitions.into_iter().collect());
        self.reply(ticket, Reply::TopicDeleted);
    }

    fn forget(&mut self, partitions: Vec<TopicPartition>) {
        if !partitions.is_empty() {
            self.record(GroupEvent::OffsetsDeleted { partitions });
        }
    }

    pub(crate) fn delete(&mut self, ticket: Ticket) {
        let result = match self.live.state {
            State::Dead => Err(Error::NotFound),
            State::Empty => {
                self.record(GroupEvent::Deleted);
                Ok(())
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                Err(Error::NotEmpty)
            }
        };
        self.reply(ticket, Reply::Delete(result));
    }
}
