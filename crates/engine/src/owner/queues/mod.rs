//! What is done with the queues that read a partition: lease, settle, let time pass.
//!
//! A request is decided and applied at once. Its events are part of the turn's commit, and so are those of all others
//! that came at the same time; the answers wait for it.

mod consumers;
mod limits;
mod of_partition;
mod owned;
mod room;
mod verbs;

pub(crate) use of_partition::QueuePartitions;
pub(crate) use owned::OwnedQueuePartition;
pub(super) use owned::owns_records;
pub(super) use room::check as check_room;

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::{Counts, QueueEvent, QueuePartition};
use storage::Durability;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::verbs::{acquire, configure, outdate, replay, reserve, settle};
use super::completions::Answer;
use super::forgetting::{Readable, forget_done, readable};
use super::round::Round;
use super::settling::{Settles, Settling};
use crate::queue::{DeadLetterCause, DeadLetterReason, Leases, Ordering, Poll, Queue, Settled};
use crate::{Error, Result};

/// How long nothing is sent away after something could not leave, ms.
const PATIENCE_MS: u64 = 1000;

impl Round<'_> {
    /// Leases messages to a receiver; with `park` it may wait for them.
    pub(super) fn receive(&mut self, queue: Uuid, poll: &Arc<Poll>, park: bool) {
        if !poll.is_open() {
            return;
        }
        if self.queue_partition(queue).is_none() {
            if let Some(answer) = poll.take_answer() {
                drop(answer.send(Err(Error::UnknownQueue)));
            }
            return;
        }
        self.look_at_time(queue);
        self.enforce_age(queue, (self.now.now, false));
        self.offer_fresh(queue);
        let answer = self.lease_or_park(queue, poll, park);
        self.answer_of(queue, answer);
        self.follow(queue);
    }

    /// Leases to a receiver, or lets it wait, or tells it that there is nothing.
    fn lease_or_park(&mut self, queue: Uuid, poll: &Arc<Poll>, park: bool) -> Option<Answer> {
        let (at, now) = (self.at(queue), self.now.now);
        let owned = self.queue_partition(queue)?;
        match acquire(owned, poll, now) {
            Ok(mut leased) => {
                let removing = std::mem::take(&mut leased.removing);
                if !removing.is_empty() {
                    self.dead_letter(queue, removing, DeadLetterReason::Attempts.into());
                }
                if !leased.leases.is_empty() {
                    let leases = leased.hand_out(at, Box::new(Arc::clone(self.owner)));
                    return hand_over(poll, leases);
                }
            }
            Err(error) => {
                let answer = poll.take_answer()?;
                return Some(Box::new(move |_| drop(answer.send(Err(error)))));
            }
        }
        let deadline = if park {
            poll.deadline
        } else if let Some(owned) = self.queue_partition(queue).filter(|o| awaits_removal(o)) {
            owned.short_polls += 1;
            now + PATIENCE_MS
        } else {
            // Nothing is leased by it, so nothing has to wait.
            let answer = poll.take_answer()?;
            drop(answer.send(Ok(Leases::none(at))));
            return None;
        };
        self.owned.polls += 1;
        let number = self.owned.polls;
        self.owned
            .parked
            .insert((deadline, number), Arc::clone(poll));
        let owned = self.queue_partition(queue)?;
        // An idle queue would otherwise collect one dead entry per poll.
        if owned.polls.len() == owned.polls.capacity() {
            owned.polls.retain(|poll| poll.is_open());
        }
        owned.polls.push_back(Arc::clone(poll));
        None
    }

    /// Settles messages in flight, and answers who waits for it.
    pub(super) fn settle_for(&mut self, settling: Settling) {
        let queue = settling.queue;
        let settled = self.settle(queue, &settling.settles, settling.chance);
        let Some(done) = settling.done else { return };
        match settled {
            Ok(settled) => self.answer_of(queue, Some(answering(done, settled))),
            Err(error) => drop(done.send(Err(error))),
        }
    }

    /// Settles messages in flight as part of this turn; one outcome each. Errors: `UnknownQueue`.
    pub(crate) fn settle(
        &mut self,
        queue: Uuid,
        settles: &[Settles],
        chance: f64,
    ) -> Result<Vec<Settled>> {
        let now = self.now.now;
        let owned = self.require(queue)?;
        owned.state.tick(now);
        let mut outcomes = Vec::with_capacity(settles.len());
        let mut removing = Vec::new();
        for (offset, lease, settlement) in settles {
            let (settled, failure) = settle(owned, (*offset, *lease), settlement, (now, chance));
            outcomes.push(settled);
            removing.extend(failure.map(|failure| (*offset, DeadLetterCause::rejected(failure))));
        }
        self.remove_messages(queue, removing);
        self.follow(queue);
        Ok(outcomes)
    }

    /// Drops all messages.
    pub(crate) fn purge(&mut self, queue: Uuid) -> Result<()> {
        let owned = self.require(queue)?;
        let before = owned.state.end();
        owned.change(QueueEvent::Purged { before }, None);
        self.follow(queue);
        Ok(())
    }

    /// Makes acknowledged messages from an offset on ready again; returns how many.
    pub(crate) fn replay(&mut self, queue: Uuid, from: u64) -> Result<u64> {
        let now = self.now.now;
        let count = replay(self.require(queue)?, from, now)?;
        self.follow(queue);
        Ok(count)
    }

    /// Drops what is ready and older than its queue keeps messages.
    pub(crate) fn outdate(&mut self, queue: Uuid, before: u64) {
        if let Some(owned) = self.queue_partition(queue) {
            outdate(owned, before);
            self.follow(queue);
        }
    }

    /// How full a queue is, once what has come was offered and what is too old is gone.
    pub(crate) fn depth(&mut self, queue: Uuid) -> Result<Counts> {
        self.require(queue)?;
        self.look_at_time(queue);
        self.offer_fresh(queue);
        self.enforce_age(queue, (self.now.now, true));
        let counts = self.require(queue)?.state.counts();
        self.follow(queue);
        Ok(counts)
    }

    /// The settings of a queue have changed.
    pub(crate) fn configure_queue(&mut self, queue: Arc<Queue>) {
        let (id, now) = (queue.id(), self.now.now);
        if let Some(owned) = self.queue_partition(id) {
            configure(owned, queue, now);
            self.follow(id);
        }
    }

    /// Reserves ready messages before `upto` for a transfer; returns which.
    pub(crate) fn reserve(&mut self, queue: Uuid, max: usize, upto: u64) -> Result<Vec<u64>> {
        let now = self.now.now;
        let reserved = reserve(self.require(queue)?, max, upto, now);
        self.follow(queue);
        Ok(reserved)
    }

    /// Messages that were reserved, or were to leave, are ready again.
    pub(crate) fn unreserve(&mut self, queue: Uuid, offsets: &[u64]) {
        let now = self.now.now;
        if let Some(owned) = self.queue_partition(queue) {
            owned.state.unreserve(offsets);
            owned.patient_until = now + PATIENCE_MS;
            self.follow(queue);
        }
    }

    /// Messages of a range cannot be read.
    pub(crate) fn set_unreadable(&mut self, queue: Uuid, from: u64, upto: u64) {
        if let Some(owned) = self.queue_partition(queue) {
            if let Some(event) = owned.state.unreadable_event(from, upto) {
                owned.change(event, None);
            }
            self.follow(queue);
        }
    }

    /// Applies an event that was decided elsewhere.
    pub(crate) fn note(&mut self, queue: Uuid, event: QueueEvent) -> Result<()> {
        self.require(queue)?.change(event, None);
        self.follow(queue);
        Ok(())
    }

    /// Looks at a queue partition.
    pub(crate) fn inspect<T>(
        &mut self,
        queue: Uuid,
        look: impl FnOnce(&QueuePartition) -> T,
    ) -> Result<T> {
        let seen = look(&self.require(queue)?.state);
        self.gather(queue);
        Ok(seen)
    }

    /// What can be read of the partition from an offset on, as far as its queues have not acknowledged it.
    pub(crate) fn readable(&self, range: (u64, u64), span: u64) -> (Readable, u64) {
        readable(self.owned, range, span)
    }

    /// Takes a queue partition over, unless the partition has records it does not know of: then it comes back.
    pub(crate) fn open_queue_partition(
        &mut self,
        mut queue_partition: Box<OwnedQueuePartition>,
    ) -> Option<Box<OwnedQueuePartition>> {
        if queue_partition.state.end() < self.owned.state.end {
            return Some(queue_partition);
        }
        queue_partition.state.stop_restoring();
        queue_partition.state.tick(self.now.now);
        let queue = queue_partition.queue.id();
        let has_work = !queue_partition.is_fresh();
        self.owned.queues.add(queue_partition);
        if has_work {
            self.gather(queue);
        }
        None
    }

    /// Gives a queue partition up with its log, and ends the receives that wait there.
    pub(crate) fn close_queue_partition(&mut self, queue: Uuid) {
        if let Some(queue_partition) = self.owned.queues.remove(queue) {
            let lsn = queue_partition.give_up(&*self.env.log, self.owner.partition.index);
            self.owned.last_lsn = self.owned.last_lsn.max(lsn);
        }
    }

    /// What has to be done now and then: forget what is done or too old, and producers silent since before `horizon`.
    pub(crate) fn maintain(&mut self, horizon: u64) -> Result<()> {
        // What this turn acknowledged is known to be kept for replay only from its end on.
        self.flush()?;
        let now = self.now.now;
        self.owned.state.producers.expire(horizon);
        for queue_partition in self.owned.queues.used_mut() {
            let window = queue_partition.queue.settings().dedup_window_ms;
            queue_partition.state.expire_dedup(window, now);
            queue_partition.polls.retain(|poll| poll.is_open());
        }
        self.owned.parked.retain(|_, poll| poll.is_open());
        self.owned.queues.freshen();
        let partition = &self.owner.partition;
        forget_done((partition, self.owned), &*self.env.log, 1, now);
        Ok(())
    }

    /// What is asked next must not see more than there may be.
    fn follow(&mut self, queue: Uuid) {
        self.enforce_counts(queue);
        self.gather(queue);
    }

    /// Leases run out, delays end, and what failed too often by it is removed.
    fn look_at_time(&mut self, queue: Uuid) {
        let now = self.now.now;
        if let Some(owned) = self.queue_partition(queue) {
            owned.state.tick(now);
        }
        self.enforce_counts(queue);
    }

    /// Adds an answer about a queue partition, which rests on its events.
    fn answer_of(&mut self, queue: Uuid, answer: Option<Answer>) {
        if let Some(answer) = answer {
            let must_be_synced = self.rests_on_disk(queue, true);
            self.answer(must_be_synced, answer);
        }
    }

    /// Whether an answer about a queue partition has to wait for the disk: one that rests on its events, or on its records alone.
    fn rests_on_disk(&mut self, queue: Uuid, on_events: bool) -> bool {
        let queue_partition = self.queue_partition(queue);
        let is_kept = on_events
            && queue_partition.is_some_and(|queue_partition| !queue_partition.is_transient());
        is_kept || self.durability() != Durability::Flush
    }

    /// Hands messages that have to be removed to the dead-letter job.
    fn dead_letter(&mut self, queue: Uuid, removing: Vec<u64>, cause: DeadLetterCause) {
        let at = self.at(queue);
        let env = Arc::clone(self.env);
        let Some(owned) = self.queue_partition(queue) else {
            return;
        };
        owned.state.reserve_for_removal(&removing);
        if let Err(refused) = env.dead_letter_jobs.send(at, removing, cause) {
            // They are found again with the next receive.
            owned.state.unreserve(&refused);
        }
    }

    /// Leases to those who wait, as long as there is something.
    pub(super) fn serve(&mut self, queue: Uuid) {
        self.serve_polls(queue);
        self.end_short_polls(queue);
        self.serve_consumers(queue);
    }

    /// Answers receivers who only waited for messages to leave, once those have left and nothing has come of it.
    fn end_short_polls(&mut self, queue: Uuid) {
        let (at, now) = (self.at(queue), self.now.now);
        let Some(owned) = self.queue_partition(queue) else {
            return;
        };
        if owned.short_polls == 0 || awaits_removal(owned) {
            return;
        }
        owned.short_polls = 0;
        let polls = std::mem::take(&mut owned.polls).into_iter();
        let (over, waiting): (VecDeque<_>, _) = polls.partition(|poll| poll.deadline <= now);
        owned.polls = waiting;
        for answer in over.iter().filter_map(|poll| poll.take_answer()) {
            drop(answer.send(Ok(Leases::none(at))));
        }
    }

    fn serve_polls(&mut self, queue: Uuid) {
        let (at, now) = (self.at(queue), self.now.now);
        while let Some(owned) = self.queue_partition(queue)
            && owned.state.counts().ready > 0
            && let Some(poll) = owned.polls.pop_front()
        {
            if !poll.is_open() {
                continue;
            }
            let Ok(mut leased) = acquire(owned, &poll, now) else {
                owned.polls.push_front(poll);
                return;
            };
            let removing = std::mem::take(&mut leased.removing);
            let nothing = leased.leases.is_empty() && removing.is_empty();
            if leased.leases.is_empty() {
                owned.polls.push_front(poll);
            } else {
                let leases = leased.hand_out(at, Box::new(Arc::clone(self.owner)));
                self.answer_of(queue, hand_over(&poll, leases));
            }
            if !removing.is_empty() {
                self.dead_letter(queue, removing, DeadLetterReason::Attempts.into());
            }
            if nothing {
                return;
            }
        }
    }
}

/// Whether messages are about to leave that others wait for which are ready: with a queue in order, those of their
/// keys.
fn awaits_removal(owned: &OwnedQueuePartition) -> bool {
    let counts = owned.state.counts();
    let in_order = owned.queue.settings().ordering == Ordering::Key;
    in_order && counts.removing > 0 && counts.ready > 0
}

/// Gives a receiver its messages once the log has them.
fn hand_over(poll: &Poll, leases: Leases) -> Option<Answer> {
    // Who is gone gets nothing: dropping the leases takes them back.
    let answer = poll.take_answer()?;
    Some(Box::new(move |failed| {
        let _ = answer.send(failed.map_or(Ok(leases), Err));
    }))
}

/// An answer that is sent unless something went wrong.
fn answering<T: Send + 'static>(done: oneshot::Sender<Result<T>>, value: T) -> Answer {
    Box::new(move |failed| drop(done.send(failed.map_or(Ok(value), Err))))
}
