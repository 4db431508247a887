//! Borrowing: several partitions in one hand, for the moment of deciding, appending and applying.
//!
//! Their owners lend them; what is asked of them meanwhile waits. Shards are asked one after the other in the order of
//! their numbers, and each lends all that is asked of it at once, so that no two borrowers ever wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use storage::{Durability, Lsn};
use tokio::sync::oneshot;

use super::{Inner, partition_hash};
use crate::queue::LaneAt;
use crate::shard::{Borrowed, FromBorrower, Owned, OwnedLane, PartitionAt, Then};
use crate::{Error, Result};

/// Partitions in hand. They go back when it is dropped.
pub(super) struct Hand(BTreeMap<PartitionAt, Borrowed>);

impl Hand {
    /// A partition, unless it is not there any more.
    pub(super) fn partition(&mut self, at: PartitionAt) -> Option<&mut Owned> {
        self.0.get_mut(&at).map(Borrowed::owned)
    }

    /// A lane of such a partition.
    pub(super) fn lane(&mut self, at: LaneAt) -> Option<&mut OwnedLane> {
        let owned = self.partition(partition_of(at))?;
        owned.lanes.lane(at.queue, owned.ledger.end)
    }

    /// All partitions.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.0.values_mut().map(Borrowed::owned)
    }

    /// Has a partition's owner do something when the log has come far enough.
    pub(super) fn then(&mut self, at: PartitionAt, then: Then) {
        if let Some(borrowed) = self.0.get_mut(&at) {
            borrowed.then(then);
        }
    }

    /// Has a partition's owner tell who waits, when the log has come so far.
    pub(super) fn answer(
        &mut self,
        at: PartitionAt,
        reached: (Lsn, Durability),
        answer: Box<dyn FnOnce() + Send>,
    ) {
        if let Some(borrowed) = self.0.get_mut(&at) {
            borrowed.answer(reached, answer);
        }
    }

    /// Any partition of those in hand.
    pub(super) fn first(&self) -> Option<PartitionAt> {
        self.0.keys().next().copied()
    }
}

/// The partition of a lane.
pub(super) fn partition_of(at: LaneAt) -> PartitionAt {
    (at.topic, at.index)
}

/// The shard that owns a partition.
pub(super) fn shard_of(inner: &Inner, (topic, index): PartitionAt) -> usize {
    let count = inner.borrowing.len() as u64;
    usize::try_from(partition_hash(topic, index) % count).expect("fewer shards than addresses")
}

/// Takes partitions in hand; those that are not there any more are left out. Errors: `Unavailable`.
pub(super) async fn borrow(inner: &Inner, wanted: &BTreeSet<PartitionAt>) -> Result<Hand> {
    let mut shares: BTreeMap<usize, Vec<PartitionAt>> = BTreeMap::new();
    for at in wanted {
        shares.entry(shard_of(inner, *at)).or_default().push(*at);
    }
    let mut hand = Hand(BTreeMap::new());
    for (shard, partitions) in shares {
        let (done, lent) = oneshot::channel();
        let back = &inner.borrowing[shard];
        let borrow = FromBorrower::Borrow {
            partitions,
            back: back.clone(),
            done,
        };
        back.send(borrow).map_err(|_| Error::Unavailable)?;
        let lent = lent.await.map_err(|_| Error::Unavailable)?;
        hand.0
            .extend(lent.into_iter().map(|held| (held.at(), held)));
    }
    Ok(hand)
}
