//! One turn with one partition: what waited for its lock, the work, and what follows from both.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage::Durability;
use uuid::Uuid;

use super::commit::Commit;
use super::completions::Answer;
use super::env::Env;
use super::forgetting::forget_done;
use super::partition::Owned;
use super::partition_owner::PartitionOwner;
use super::queues::OwnedQueuePartition;
use super::request::Request;
use super::settling::Settling;
use super::timers::Timed;
use crate::queue::{Leases, QueuePartitionId, SessionMessage};
use crate::time::Moment;
use crate::{Error, Result};

/// Done messages that make it worth telling the log that it may forget them.
const TRIM_STEP: u64 = 64;

/// A partition in hand, for one turn.
pub(crate) struct Round<'t> {
    pub(super) env: &'t Arc<Env>,
    pub(super) owner: &'t Arc<PartitionOwner>,
    pub(crate) owned: &'t mut Owned,
    pub(super) commit: &'t mut Commit,
    pub(super) now: Moment,
}

impl Round<'_> {
    /// Offset of the next record.
    pub(crate) fn end(&self) -> u64 {
        self.owned.state.end
    }

    /// Where a queue stands that reads this partition.
    pub(crate) fn at(&self, queue: Uuid) -> QueuePartitionId {
        QueuePartitionId {
            topic: self.owner.partition.topic_id,
            index: self.owner.partition.index,
            queue,
        }
    }

    /// A queue's queue partition, to be used.
    pub(crate) fn queue_partition(&mut self, queue: Uuid) -> Option<&mut OwnedQueuePartition> {
        let end = self.owned.state.end;
        self.owned.queues.of_queue(queue, end)
    }

    /// The same. Errors: `UnknownQueue`.
    pub(crate) fn require(&mut self, queue: Uuid) -> Result<&mut OwnedQueuePartition> {
        self.queue_partition(queue).ok_or(Error::UnknownQueue)
    }

    /// Answers when everything this turn rests on is written, or on disk where it has to be.
    pub(crate) fn answer(&mut self, must_be_synced: bool, answer: Answer) {
        self.commit.answer(must_be_synced, answer);
    }

    /// Remembers that a queue partition has something to append, to lease or to schedule.
    pub(crate) fn gather(&mut self, queue: Uuid) {
        if let Some(queue_partition) = self.queue_partition(queue)
            && !std::mem::replace(&mut queue_partition.gathered, true)
        {
            self.owned.gathered.push(queue);
        }
    }

    /// The same for all that something has happened to.
    pub(super) fn gather_all(&mut self) {
        let Owned {
            queues, gathered, ..
        } = self.owned;
        for queue_partition in queues.used_mut() {
            if !std::mem::replace(&mut queue_partition.gathered, true) {
                gathered.push(queue_partition.queue.id());
            }
        }
    }

    /// Lets time pass, and does what waited for the lock: what is sent first, all else in order.
    pub(super) fn begin(&mut self, waiting: Vec<Request>) {
        self.let_time_pass();
        if waiting.is_empty() {
            return;
        }
        let (mut sends, mut others) = (Vec::new(), Vec::with_capacity(waiting.len()));
        for request in waiting {
            match request {
                Request::Send(sending) => sends.push(sending),
                other => others.push(other),
            }
        }
        self.append_sends(&mut sends);
        let mut back: Option<Settling> = None;
        for request in others {
            match request {
                // Neighbours are settled as one.
                Request::Session(SessionMessage::Back { at, settles }) => {
                    if back.as_ref().is_some_and(|known| known.queue != at.queue) {
                        self.settle_back(back.take());
                    }
                    let known = back.get_or_insert_with(|| returned(at.queue));
                    known.settles.push(settles);
                }
                other => {
                    self.settle_back(back.take());
                    self.handle(other);
                }
            }
        }
        self.settle_back(back);
    }

    fn settle_back(&mut self, back: Option<Settling>) {
        if let Some(back) = back {
            self.settle_for(back);
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Send(sending) => self.append_sends(&mut vec![sending]),
            Request::Receive { queue, poll, park } => self.receive(queue, &poll, park),
            Request::Settle(settling) => self.settle_for(settling),
            Request::Session(SessionMessage::Left { at, consumer }) => {
                self.leave(at.queue, consumer);
            }
            Request::Session(SessionMessage::Serve(at)) => self.gather(at.queue),
            Request::Session(SessionMessage::Back { at, settles }) => {
                let mut back = returned(at.queue);
                back.settles.push(settles);
                self.settle_for(back);
            }
        }
    }

    /// Leases run out, delays end, receivers lose patience.
    fn let_time_pass(&mut self) {
        let now = self.now.now;
        let Owned {
            queues, gathered, ..
        } = self.owned;
        for queue_partition in queues.used_mut() {
            if queue_partition.due.is_some_and(|due| due <= now) {
                queue_partition.due = None;
                queue_partition.state.tick(now);
                if !std::mem::replace(&mut queue_partition.gathered, true) {
                    gathered.push(queue_partition.queue.id());
                }
            }
        }
        while let Some(first) = self.owned.parked.first_entry()
            && first.key().0 <= now
        {
            if let Some(answer) = first.remove().take_answer() {
                let nowhere = QueuePartitionId::default();
                drop(answer.send(Ok(Leases::none(nowhere))));
            }
        }
    }

    /// Ends the turn before its append: serves who waits, and adds the events of all queue partitions.
    pub(super) fn close(&mut self) {
        let (now, index) = (self.now.now, self.owner.partition.index);
        let gathered = std::mem::take(&mut self.owned.gathered);
        for queue in &gathered {
            self.attend(*queue);
        }
        for queue in &gathered {
            if let Some(queue_partition) = self.queue_partition(*queue)
                && let Some(append) = queue_partition.take_batch(index, now)
            {
                self.commit.append(append, Durability::Vital);
            }
        }
        self.owned.gathered = gathered;
    }

    /// Everything that follows in a queue partition from what was done in it.
    fn attend(&mut self, queue: Uuid) {
        let now = self.now.now;
        if let Some(owned) = self.queue_partition(queue) {
            owned.state.tick(now);
        }
        self.enforce_failures(queue);
        // What is too old is not leased, also where it cannot leave at the moment. Who waits for a message gets it when it
        // comes, also one that lives no longer than that, or that its queue has no room for.
        if self.enforce_age(queue, (now, false)) {
            self.serve(queue);
        }
        if let Some(owned) = self.queue_partition(queue) {
            owned.state.offered();
            owned.unoffered = false;
        }
        self.enforce_age(queue, (now, true));
        self.enforce_counts(queue);
    }

    /// After the append: schedules the queue partitions, and takes snapshots and lets the log forget when that pays.
    pub(super) fn settle_down(&mut self) {
        let (log, now) = (Arc::clone(&self.env.log), self.now.now);
        let index = self.owner.partition.index;
        let mut gathered = std::mem::take(&mut self.owned.gathered);
        for queue in gathered.drain(..) {
            let Some(queue_partition) = self.queue_partition(queue) else {
                continue;
            };
            queue_partition.gathered = false;
            queue_partition
                .state
                .expire_kept(now, queue_partition.queue.settings());
            queue_partition.show();
            if queue_partition.wants_snapshot() {
                queue_partition.snapshot(&*log, index, now);
            }
            queue_partition.due = queue_partition.next_due();
        }
        self.owned.gathered = gathered;
        self.snapshot_if_due();
        if self.env.are_restored.load(Ordering::Acquire) {
            self.owned.queues.freshen();
            forget_done((&self.owner.partition, self.owned), &*log, TRIM_STEP, now);
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        let queue_partitions = self
            .owned
            .queues
            .used()
            .filter_map(|queue_partition| queue_partition.due);
        let parked = self.owned.parked.first_key_value();
        let due = queue_partitions
            .chain(parked.map(|((due, _), _)| *due))
            .min();
        let owner: &Arc<dyn Timed> = &(Arc::clone(self.owner) as Arc<dyn Timed>);
        let who = || Arc::downgrade(owner);
        self.owned.scheduled = self.env.timers.set(self.owned.scheduled, due, who);
    }

    /// Appends what there is so far; for what has to stand behind it in the log. Errors: `Unavailable`.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.close();
        let outcome = self.commit.write(&*self.env.log);
        if let Some(at) = outcome {
            self.owned.appended(at?);
        }
        Ok(())
    }
}

/// Messages that come back to a queue. No random part of the wait: they wait the whole time.
fn returned(queue: Uuid) -> Settling {
    Settling {
        queue,
        settles: Vec::new(),
        chance: 1.0,
        done: None,
    }
}
