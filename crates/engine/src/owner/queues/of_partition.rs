//! The queue partitions of one partition. One that nothing has happened to is no more than its queue: of a hundred
//! thousand queues most are empty, and many stay so.

use std::sync::Arc;

use uuid::Uuid;

use super::OwnedQueuePartition;
use crate::queue::Queue;

/// The queue partitions of one partition.
#[derive(Default)]
pub(crate) struct QueuePartitions(Vec<Kept>);

enum Kept {
    /// It holds nothing, has no log, and nobody waits there.
    Fresh(Arc<Queue>),
    Used(Box<OwnedQueuePartition>),
}

impl Kept {
    fn new(queue_partition: Box<OwnedQueuePartition>) -> Self {
        if queue_partition.is_fresh() {
            Self::Fresh(queue_partition.queue)
        } else {
            Self::Used(queue_partition)
        }
    }

    fn queue(&self) -> &Arc<Queue> {
        match self {
            Self::Fresh(queue) => queue,
            Self::Used(queue_partition) => &queue_partition.queue,
        }
    }

    /// The queue partition; a fresh one is made to know no record before `end`.
    fn queue_partition(&mut self, end: u64) -> &mut OwnedQueuePartition {
        if let Self::Fresh(queue) = self {
            let queue_partition = OwnedQueuePartition::fresh(Arc::clone(queue), end);
            *self = Self::Used(Box::new(queue_partition));
        }
        match self {
            Self::Used(queue_partition) => queue_partition,
            Self::Fresh(_) => unreachable!("it was just made"),
        }
    }

    fn used(&self) -> Option<&OwnedQueuePartition> {
        match self {
            Self::Used(queue_partition) => Some(queue_partition),
            Self::Fresh(_) => None,
        }
    }
}

impl QueuePartitions {
    pub(super) fn add(&mut self, queue_partition: Box<OwnedQueuePartition>) {
        // Nearly always the only one.
        self.0.reserve_exact(1);
        self.0.push(Kept::new(queue_partition));
    }

    /// Takes a queue partition out; `None` also for a fresh one, which leaves nothing behind.
    pub(super) fn remove(&mut self, queue: Uuid) -> Option<Box<OwnedQueuePartition>> {
        let place = self.0.iter().position(|kept| kept.queue().id() == queue)?;
        match self.0.remove(place) {
            Kept::Used(queue_partition) => Some(queue_partition),
            Kept::Fresh(_) => None,
        }
    }

    pub(in crate::owner) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All queues that lease from the partition.
    pub(in crate::owner) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.iter().map(Kept::queue)
    }

    /// A queue's queue partition, to be used; `end` is the partition's.
    pub(crate) fn of_queue(&mut self, queue: Uuid, end: u64) -> Option<&mut OwnedQueuePartition> {
        let kept = self.0.iter_mut().find(|kept| kept.queue().id() == queue)?;
        Some(kept.queue_partition(end))
    }

    /// All queue partitions, to be used; `end` is the partition's before what they are used for.
    pub(in crate::owner) fn all(
        &mut self,
        end: u64,
    ) -> impl Iterator<Item = &mut OwnedQueuePartition> {
        self.0.iter_mut().map(move |kept| kept.queue_partition(end))
    }

    /// The queue partitions that something has happened to.
    pub(in crate::owner) fn used(&self) -> impl Iterator<Item = &OwnedQueuePartition> {
        self.0.iter().filter_map(Kept::used)
    }

    /// The same, to be changed.
    pub(in crate::owner) fn used_mut(&mut self) -> impl Iterator<Item = &mut OwnedQueuePartition> {
        self.0.iter_mut().filter_map(|kept| match kept {
            Kept::Used(queue_partition) => Some(&mut **queue_partition),
            Kept::Fresh(_) => None,
        })
    }

    /// Gives up what was only looked at.
    pub(in crate::owner) fn freshen(&mut self) {
        for kept in &mut self.0 {
            if let Kept::Used(queue_partition) = kept
                && queue_partition.is_fresh()
            {
                *kept = Kept::Fresh(Arc::clone(&queue_partition.queue));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::memory::StateMemory;
    use crate::metrics::Metrics;
    use crate::queue::{Numbers, Poll, QueueDocument, QueueSettings};
    use crate::time::Moment;
    use delivery::QueueEvent;

    fn queue() -> Arc<Queue> {
        let document = QueueDocument {
            id: Uuid::from_u128(7),
            topic: Uuid::from_u128(8),
            owns_topic: true,
            created_ms: 0,
            changed_ms: 0,
            settings: Arc::new(QueueSettings::default()),
        };
        Arc::new(Queue {
            name: "orders".into(),
            effective: Arc::clone(&document.settings),
            document: Arc::new(document),
            version: 1,
            partitions: 1,
            numbers: Arc::new(Numbers::new(
                Arc::new(Metrics::default()),
                Arc::new(StateMemory::new(u64::MAX, Error::QueueStateFull)),
            )),
        })
    }

    /// Whether a queue partition that was used like this is given up afterwards.
    fn check(uses: impl FnOnce(&mut OwnedQueuePartition), given_up: bool) {
        let mut queue_partitions = QueuePartitions::default();
        queue_partitions.add(Box::new(OwnedQueuePartition::fresh(queue(), 5)));
        assert_eq!(
            queue_partitions.used().count(),
            0,
            "nothing has happened to it"
        );
        let queue_partition = queue_partitions.of_queue(queue().id(), 5).unwrap();
        assert_eq!(queue_partition.state.end(), 5);
        uses(queue_partition);
        queue_partitions.freshen();
        assert_eq!(queue_partitions.used().count(), usize::from(!given_up));
        assert_eq!(queue_partitions.queues().count(), 1);
    }

    #[test]
    fn a_snapshot_is_due_by_the_records_a_start_would_look_into_however_few_bytes_they_are() {
        use crate::queue::Ordering;

        let due = |ordering, count: i32| {
            let mut queue = Queue::clone(&queue());
            queue.effective = Arc::new(QueueSettings {
                ordering,
                ..QueueSettings::default()
            });
            let mut queue_partition = OwnedQueuePartition::fresh(Arc::new(queue), 0);
            let mut body = Vec::new();
            for place in 0..count {
                let record = testkit::forge::Wire {
                    offset_delta: place.into(),
                    key: Some(b"k"),
                    ..testkit::forge::Wire::default()
                };
                record.put(&mut body);
            }
            let body = testkit::forge::compress(4, &body);
            let mut bytes = testkit::forge::Head::new(4, count, 1).batch(&body);
            let batch = storage::Batch::split_first(&mut bytes).unwrap();
            assert!(batch.bytes() < 2 << 20);
            queue_partition.index(&batch, None, Moment::both(1));
            queue_partition.wants_snapshot()
        };
        assert!(due(Ordering::Key, (1 << 18) + 1));
        assert!(!due(Ordering::Key, 1 << 10));
        assert!(!due(Ordering::None, (1 << 18) + 1));
    }

    #[test]
    fn only_what_leaves_no_trace_is_given_up() {
        check(|_| {}, true);
        check(|queue_partition| queue_partition.state.tick(1), true);
        check(|queue_partition| queue_partition.gathered = true, false);
        let (poll, _answer) = Poll::new(1, None, None, 9, security::Principal::anonymous());
        check(
            |queue_partition| queue_partition.polls.push_back(Arc::new(poll)),
            false,
        );
        check(
            |queue_partition| queue_partition.change(QueueEvent::Purged { before: 5 }, None),
            false,
        );
        let mut builder = storage::batch::BatchBuilder::new(1);
        builder.push(1, None, Some(b"text"), &[]);
        let batch = builder.build().placed(5, 0, None);
        check(
            |queue_partition| queue_partition.index(&batch, None, Moment::both(1)),
            false,
        );
    }
}
