//! Settling what was received: acknowledged, given back, or leased for longer.

use std::collections::BTreeMap;

use security::Verb;
use tokio::sync::oneshot;

use super::queues::{Share, queue_partition_at};
use super::{Access, partition_of, queue_partitions};
use crate::owner::{Request, Settles, Settling};
use crate::queue::{QueuePartitionId, Receipt, Settled, Settlement};
use crate::{Error, Result};

impl Access {
    /// Settles messages in flight; one outcome each, in order, when they are on disk.
    pub async fn settle(
        &self,
        queue: &str,
        settles: Vec<(Receipt, Settlement)>,
    ) -> Result<Vec<Settled>> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut outcomes = vec![Settled::Gone; settles.len()];
        let mut shares: BTreeMap<u32, Share<Settles>> = BTreeMap::new();
        for (place, (receipt, settle)) in settles.into_iter().enumerate() {
            if receipt.queue != queue.id() {
                outcomes[place] = Settled::Foreign;
            } else if receipt.partition < queue.partitions {
                let share = shares.entry(receipt.partition).or_default();
                share.0.push(place);
                share.1.push((receipt.offset, receipt.lease, settle));
            }
        }
        let (places, settles): (Vec<_>, BTreeMap<_, _>) = shares
            .into_iter()
            .map(|(index, (places, settles))| {
                (places, (queue_partition_at(&queue, index), settles))
            })
            .unzip();
        let settled = self.settle_all(settles).await?;
        for (place, outcome) in places.into_iter().flatten().zip(settled) {
            outcomes[place] = outcome;
        }
        Ok(outcomes)
    }

    /// Settles messages of several queue partitions of one queue in one commit: all of it is on disk, or nothing. The
    /// outcomes are in the order of the queue partitions.
    async fn settle_all(
        &self,
        mut settles: BTreeMap<QueuePartitionId, Vec<Settles>>,
    ) -> Result<Vec<Settled>> {
        if settles.len() <= 1 {
            let Some((at, settles)) = settles.pop_first() else {
                return Ok(Vec::new());
            };
            // Together with what others ask of the partition meanwhile.
            return self
                .settle_at(at, settles)?
                .await
                .map_err(|_| Error::Unavailable)?;
        }
        let chance = self.chance();
        let keys = settles.keys().map(|at| partition_of(*at));
        let commit = self.inner.owners.commit_all(keys, |turn| {
            let mut settled = Vec::new();
            for (at, settles) in &settles {
                // The partitions of a topic go together: the first one that is gone finds nothing settled.
                let mut round = turn
                    .partition(partition_of(*at))
                    .ok_or(Error::UnknownQueue)?;
                settled.extend(round.settle(at.queue, settles, chance)?);
            }
            Ok(settled)
        });
        commit.await
    }

    /// Has messages of one queue partition settled.
    pub(super) fn settle_at(
        &self,
        at: QueuePartitionId,
        settles: Vec<Settles>,
    ) -> Result<oneshot::Receiver<Result<Vec<Settled>>>> {
        let (done, settled) = oneshot::channel();
        let request = Request::Settle(Settling {
            queue: at.queue,
            settles,
            chance: self.chance(),
            done: Some(done),
        });
        queue_partitions::owner(&self.inner, at)?.submit(request);
        Ok(settled)
    }
}
