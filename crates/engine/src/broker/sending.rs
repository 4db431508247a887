//! Sending single messages to one queue.

use std::collections::BTreeMap;

use security::Verb;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::queues::{Share, queue_partition_at, queue_partition_of};
use super::{Access, Broker, queue_partitions};
use crate::owner::{Request, Sending};
use crate::queue::{NewMessage, QueuePartitionId, Sent};
use crate::{Error, Result};

impl Access {
    /// Sends messages; one outcome each, in order, when they are on disk. Errors per message: `TooLarge`,
    /// `DiskFull`.
    pub async fn send(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Result<Sent>>> {
        let queue = self.find_queue(queue, Verb::Publish)?;
        let bytes: usize = messages.iter().map(NewMessage::held).sum();
        let permit = self.room(bytes).await;
        if queue.partitions == 1 {
            let at = queue_partition_at(&queue, 0);
            return self.send_to(at, messages, permit).await;
        }
        let mut outcomes: Vec<Result<Sent>> =
            messages.iter().map(|_| Err(Error::Unavailable)).collect();
        let mut shares: BTreeMap<u32, Share<NewMessage>> = BTreeMap::new();
        for (place, message) in messages.into_iter().enumerate() {
            let turn = self.turn() as u64;
            let queue_partition = queue_partition_of(&queue, message.key.as_deref(), turn);
            let share = shares.entry(queue_partition).or_default();
            share.0.push(place);
            share.1.push(message);
        }
        let mut parts = Vec::with_capacity(shares.len());
        for (queue_partition, (places, share)) in shares {
            parts.push((
                places,
                self.hand_to(queue_partition_at(&queue, queue_partition), share, None),
            ));
        }
        // All of them are on their way before the first is waited for, and one that fails fails alone.
        for (places, part) in parts {
            let sent = match part {
                Ok(sent) => sent.await.unwrap_or(Err(Error::Unavailable)),
                Err(error) => Err(error),
            };
            let sent =
                sent.unwrap_or_else(|error| places.iter().map(|_| Err(error.clone())).collect());
            for (place, outcome) in places.into_iter().zip(sent) {
                outcomes[place] = outcome;
            }
        }
        drop(permit);
        Ok(outcomes)
    }
}

impl Broker {
    async fn send_to(
        &self,
        at: QueuePartitionId,
        messages: Vec<NewMessage>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Vec<Result<Sent>>> {
        self.hand_to(at, messages, permit)?
            .await
            .map_err(|_| Error::Unavailable)?
    }

    /// Has the owner of a queue partition place messages; what is returned says when they are on disk.
    pub(super) fn hand_to(
        &self,
        at: QueuePartitionId,
        messages: Vec<NewMessage>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<Result<Vec<Result<Sent>>>>> {
        let (done, outcome) = oneshot::channel();
        let sending = Sending {
            queue: at.queue,
            messages,
            permit,
            done,
        };
        queue_partitions::owner(&self.inner, at)?.submit(Request::Send(sending));
        Ok(outcome)
    }
}
