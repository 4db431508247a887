//! The lanes of one partition. One that nothing has happened to is no more than its queue: of a hundred thousand
//! queues most are empty, and many stay so.

use std::sync::Arc;

use uuid::Uuid;

use super::OwnedLane;
use crate::queue::Queue;

/// The lanes of one partition.
#[derive(Default)]
pub(crate) struct Lanes(Vec<Kept>);

enum Kept {
    /// It holds nothing, has no log, and nobody waits there.
    Fresh(Arc<Queue>),
    Used(Box<OwnedLane>),
}

impl Kept {
    fn new(lane: Box<OwnedLane>) -> Self {
        if lane.is_fresh() {
            Self::Fresh(lane.queue)
        } else {
            Self::Used(lane)
        }
    }

    fn queue(&self) -> &Arc<Queue> {
        match self {
            Self::Fresh(queue) => queue,
            Self::Used(lane) => &lane.queue,
        }
    }

    /// The lane; a fresh one is made to know no record before `end`.
    fn lane(&mut self, end: u64) -> &mut OwnedLane {
        if let Self::Fresh(queue) = self {
            let lane = OwnedLane::fresh(Arc::clone(queue), end);
            *self = Self::Used(Box::new(lane));
        }
        match self {
            Self::Used(lane) => lane,
            Self::Fresh(_) => unreachable!("it was just made"),
        }
    }

    fn used(&self) -> Option<&OwnedLane> {
        match self {
            Self::Used(lane) => Some(lane),
            Self::Fresh(_) => None,
        }
    }
}

impl Lanes {
    pub(super) fn add(&mut self, lane: Box<OwnedLane>) {
        // Nearly always the only one.
        self.0.reserve_exact(1);
        self.0.push(Kept::new(lane));
    }

    /// Takes a lane out; `None` also for a fresh one, which leaves nothing behind.
    pub(super) fn remove(&mut self, queue: Uuid) -> Option<Box<OwnedLane>> {
        let place = self.0.iter().position(|kept| kept.queue().id() == queue)?;
        match self.0.remove(place) {
            Kept::Used(lane) => Some(lane),
            Kept::Fresh(_) => None,
        }
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everybody who lends from the partition.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.iter().map(Kept::queue)
    }

    /// A queue's lane, to be used; `end` is the partition's.
    pub(crate) fn lane(&mut self, queue: Uuid, end: u64) -> Option<&mut OwnedLane> {
        let kept = self.0.iter_mut().find(|kept| kept.queue().id() == queue)?;
        Some(kept.lane(end))
    }

    /// All lanes, to be used; `end` is the partition's before what they are used for.
    pub(in crate::shard) fn all(&mut self, end: u64) -> impl Iterator<Item = &mut OwnedLane> {
        self.0.iter_mut().map(move |kept| kept.lane(end))
    }

    /// The lanes that something has happened to.
    pub(in crate::shard) fn used(&self) -> impl Iterator<Item = &OwnedLane> {
        self.0.iter().filter_map(Kept::used)
    }

    /// The same, to be changed.
    pub(in crate::shard) fn used_mut(&mut self) -> impl Iterator<Item = &mut OwnedLane> {
        self.0.iter_mut().filter_map(|kept| match kept {
            Kept::Used(lane) => Some(&mut **lane),
            Kept::Fresh(_) => None,
        })
    }

    /// Gives up what was only looked at.
    pub(super) fn freshen(&mut self) {
        for kept in &mut self.0 {
            if let Kept::Used(lane) = kept
                && lane.is_fresh()
            {
                *kept = Kept::Fresh(Arc::clone(&lane.queue));
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
    use crate::queue::lane::LaneEvent;
    use crate::queue::{Numbers, Poll, QueueDocument, QueueSettings};
    use crate::time::Moment;

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
            lanes: 1,
            numbers: Arc::new(Numbers::new(
                Arc::new(Metrics::default()),
                Arc::new(StateMemory::new(u64::MAX, Error::QueueStateFull)),
            )),
        })
    }

    /// Whether a lane that was used like this is given up afterwards.
    fn check(uses: impl FnOnce(&mut OwnedLane), given_up: bool) {
        let mut lanes = Lanes::default();
        lanes.add(Box::new(OwnedLane::fresh(queue(), 5)));
        assert_eq!(lanes.used().count(), 0, "nothing has happened to it");
        let lane = lanes.lane(queue().id(), 5).unwrap();
        assert_eq!(lane.lane.end(), 5);
        uses(lane);
        lanes.freshen();
        assert_eq!(lanes.used().count(), usize::from(!given_up));
        assert_eq!(lanes.queues().count(), 1);
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
            let mut lane = OwnedLane::fresh(Arc::new(queue), 0);
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
            lane.index(&batch, None, Moment::both(1));
            lane.wants_snapshot()
        };
        assert!(due(Ordering::Key, (1 << 18) + 1));
        assert!(!due(Ordering::Key, 1 << 10));
        assert!(!due(Ordering::None, (1 << 18) + 1));
    }

    #[test]
    fn only_what_leaves_no_trace_is_given_up() {
        check(|_| {}, true);
        check(|lane| lane.lane.tick(1), true);
        check(|lane| lane.gathered = true, false);
        let (poll, _answer) = Poll::new(1, None, None, 9);
        check(|lane| lane.polls.push_back(Arc::new(poll)), false);
        check(
            |lane| lane.change(LaneEvent::Purged { before: 5 }, None),
            false,
        );
        let mut builder = storage::batch::BatchBuilder::new(1);
        builder.push(1, None, Some(b"text"), &[]);
        let batch = builder.build().placed(5, 0, None);
        check(|lane| lane.index(&batch, None, Moment::both(1)), false);
    }
}
