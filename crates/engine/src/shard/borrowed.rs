//! Partitions that leave their shard for a moment: lent to who needs several at once, and back whatever happens.

use std::sync::Arc;

use storage::{Durability, Lsn};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::pending::{Reply, Waiting};
use super::{Command, Owned, Shard};

/// Names a partition.
pub(crate) type PartitionAt = (Uuid, u32);

/// Who waits for partitions; those that are not there any more are left out.
pub(crate) type Lent = oneshot::Sender<Vec<Borrowed>>;

/// What a borrower has to say to a shard. Not through the mailbox: that is closed while much waits for partitions that
/// are away, and a borrower that holds one must be able to get the others.
pub(crate) enum FromBorrower {
    /// It wants partitions, with everything their owner knows: all of them at the same time, or it waits.
    Borrow {
        partitions: Vec<PartitionAt>,
        back: mpsc::UnboundedSender<Self>,
        done: Lent,
    },
    /// It gives one back, with what is to be done when the log has come so far.
    Back(Box<Owned>, Option<Then>),
    /// It panicked with one in its hands, which may be half changed.
    Broken(PartitionAt),
}

/// What follows when the log has come far enough.
pub(crate) struct Then {
    pub(crate) reached: (Lsn, Durability),
    /// The partition may be read up to here.
    pub(crate) upto: Option<u64>,
    /// Tells who waits.
    pub(crate) answer: Option<Box<dyn FnOnce() + Send>>,
}

/// A partition in other hands. Dropping it gives it back: also when its borrower has gone before it came.
pub(crate) struct Borrowed {
    owned: Option<Box<Owned>>,
    back: mpsc::UnboundedSender<FromBorrower>,
    then: Option<Then>,
}

impl Borrowed {
    /// Which one it is.
    pub(crate) fn at(&self) -> PartitionAt {
        let partition = &self.owned.as_ref().expect(HELD).partition;
        (partition.topic_id, partition.index)
    }

    pub(crate) fn owned(&mut self) -> &mut Owned {
        self.owned.as_mut().expect(HELD)
    }

    /// Has its owner do something when the log has come far enough.
    pub(crate) fn then(&mut self, then: Then) {
        self.then = Some(then);
    }

    /// Has its owner tell who waits when the log has come far enough, along with what is to be done anyway.
    pub(crate) fn answer(&mut self, reached: (Lsn, Durability), answer: Box<dyn FnOnce() + Send>) {
        let then = self.then.get_or_insert(Then {
            reached,
            upto: None,
            answer: None,
        });
        then.answer = Some(answer);
    }
}

const HELD: &str = "it goes back only at the end";

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(owned) = self.owned.take() {
            let said = if std::thread::panicking() {
                FromBorrower::Broken((owned.partition.topic_id, owned.partition.index))
            } else {
                FromBorrower::Back(owned, self.then.take())
            };
            // A shard that has ended needs nothing back.
            let _ = self.back.send(said);
        }
    }
}

impl Shard {
    /// Takes note of what a borrower says.
    pub(super) fn hear_borrower(&mut self, said: FromBorrower, commands: &mut Vec<Command>) {
        match said {
            FromBorrower::Borrow {
                partitions,
                back,
                done,
            } => commands.push(Command::Borrow {
                partitions,
                back,
                done,
            }),
            FromBorrower::Back(owned, then) => {
                let partition = Arc::clone(&owned.partition);
                commands.extend(self.partitions.take_back(owned));
                self.grown(partition.topic_id, partition.index);
                self.gather_all(partition.topic_id, partition.index);
                let Some(then) = then else { return };
                let grown = then.upto.map(|upto| (partition, upto));
                let waiting = Waiting {
                    grown: grown.into_iter().collect(),
                    answer: Reply::Call(then.answer.unwrap_or_else(|| Box::new(|| {}))),
                };
                self.answer_at(then.reached, waiting);
            }
            // Only the log knows how it stands now: the owner ends, and the process with it.
            FromBorrower::Broken((topic, index)) => {
                panic!(
                    "partition {index} of topic {topic} was in the hands of a task that panicked"
                )
            }
        }
    }

    /// Lends partitions; what was gathered for them is appended first.
    pub(super) fn lend_partitions(
        &mut self,
        partitions: &[PartitionAt],
        back: &mpsc::UnboundedSender<FromBorrower>,
        done: Lent,
    ) {
        self.finish_lanes();
        let there = partitions
            .iter()
            .filter_map(|(topic_id, index)| self.partitions.send_away(*topic_id, *index));
        let lent = there.map(|owned| Borrowed {
            owned: Some(owned),
            back: back.clone(),
            then: None,
        });
        let lent: Vec<_> = lent.collect();
        // Who does not wait any more drops them, and they come back.
        let _ = done.send(lent);
    }
}
