//! Transactions of a session: what it publishes and what it settles, all of it in one commit or nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::fanout::{self, Leaving, Outgoing};
use super::{Session, partition_of};
use crate::owner::{PartitionKey, Settles, Turn};
use crate::queue::{QueuePartitionId, Settlement, UnackedMessage};
use crate::{Error, Result};

/// What a transaction settles, by queue partition.
type Shares = BTreeMap<QueuePartitionId, Vec<Settles>>;

impl Session {
    /// Publishes messages, whose routes were decided when they were routed, and settles what the session holds, in one
    /// commit over all their partitions. When it returns, all of it is on disk, and what was dead-lettered by it is in its
    /// target. A message all of whose queues are gone since counts as one that found none. Errors: what a queue, or the
    /// storage, says to one of the messages; nothing was published then, and what was to be settled is given back.
    pub async fn commit(
        &self,
        messages: Vec<Outgoing>,
        settlements: Vec<(UnackedMessage, Settlement)>,
    ) -> Result<()> {
        let inner = &self.access.inner;
        let permit = self.access.room(fanout::room_of(&messages)).await;
        let messages = fanout::leaving(inner, messages);
        let shares = shares_of(&settlements);
        if settlements.iter().any(|(_, s)| s.may_dead_letter()) {
            self.expect_dead();
        }
        let chance = self.access.chance();
        let keys = partitions_of(&messages, &shares);
        let commit = inner.owners.commit_all(keys, |turn| {
            publish(turn, &messages)?;
            for (at, settles) in &shares {
                if let Some(mut round) = turn.partition(partition_of(*at)) {
                    // Those of a queue that is gone went with it.
                    let _ = round.settle(at.queue, settles, chance);
                }
            }
            Ok(())
        });
        commit.await?;
        drop(permit);
        for (unacked, _) in settlements {
            unacked.settled();
        }
        self.sync().await;
        Ok(())
    }
}

/// Lets all messages in, or none. Errors: what the first that is refused is refused for.
fn publish(turn: &mut Turn<'_, '_>, messages: &[Leaving]) -> Result<()> {
    let (mut draft, outcomes) = fanout::decide(turn, messages);
    let is_refusal = |error: &Error| !matches!(error, Error::UnknownQueue);
    if let Some(refusal) = outcomes
        .into_iter()
        .filter_map(Result::err)
        .find(is_refusal)
    {
        return Err(refusal);
    }
    draft.append(turn, messages);
    Ok(())
}

/// What was read by position needs no settlement.
fn shares_of(settlements: &[(UnackedMessage, Settlement)]) -> Shares {
    let mut shares = Shares::new();
    for (unacked, settlement) in settlements.iter().filter(|(u, _)| !u.is_read()) {
        let share = shares.entry(unacked.consumer.at).or_default();
        share.push((unacked.offset, unacked.lease, settlement.clone()));
    }
    shares
}

fn partitions_of(messages: &[Leaving], shares: &Shares) -> BTreeSet<PartitionKey> {
    let into = messages.iter().flat_map(|m| &m.queue_partitions);
    into.chain(shares.keys())
        .map(|at| partition_of(*at))
        .collect()
}
