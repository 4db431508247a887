//! What connected consumers do with a queue partition: join and leave, get messages, settle them.

use std::sync::Arc;

use delivery::{Counts, Lease, MessageGroupId, QueueEvent};
use security::Principal;
use uuid::Uuid;

use super::OwnedQueuePartition;
use crate::owner::round::Round;
use crate::queue::{
    Consumer, DeadLetterCause, DeadLetterReason, Handed, UnackedMessage, hand_over,
};
use crate::{Error, Result};

/// Messages handed to one consumer at once, at most.
const HANDED_MAX: u64 = 256;

/// A message taken without waiting, and how many are there behind it.
pub(crate) type Got = Option<(UnackedMessage, Lease, u64)>;

impl Round<'_> {
    /// A consumer comes: it is handed messages from now on.
    pub(crate) fn join(&mut self, queue: Uuid, consumer: Arc<Consumer>) -> Result<()> {
        join(self.require(queue)?, consumer);
        self.follow(queue);
        Ok(())
    }

    /// A consumer goes. What it holds stays with it.
    pub(crate) fn leave(&mut self, queue: Uuid, consumer: u64) {
        if let Some(owned) = self.queue_partition(queue) {
            owned.consumers.retain(|c| c.id != consumer);
            self.follow(queue);
        }
    }

    /// Rights have changed: consumers that `may` not have their queue any more go, and receivers that wait are refused.
    pub(crate) fn check_rights(&mut self, may: &dyn Fn(&Principal, &str) -> bool) {
        for owned in self.owned.queues.used_mut() {
            check_rights(owned, may);
        }
        self.gather_all();
    }

    /// Takes one message, if there is one.
    pub(crate) fn get(&mut self, queue: Uuid, consumer: &Arc<Consumer>) -> Result<Got> {
        let now = self.now.now;
        self.require(queue)?;
        self.look_at_time(queue);
        self.enforce_age(queue, (now, false));
        self.offer_fresh(queue);
        let (got, spent) = get(self.require(queue)?, consumer, now);
        let cause = DeadLetterCause::from(DeadLetterReason::Attempts);
        let removing = spent.into_iter().map(|offset| (offset, cause.clone()));
        self.remove_messages(queue, removing.collect());
        self.follow(queue);
        Ok(got)
    }

    /// Drops what is ready or waits; returns how many messages.
    pub(crate) fn clear(&mut self, queue: Uuid) -> Result<u64> {
        let now = self.now.now;
        let owned = self.require(queue)?;
        owned.state.tick(now);
        let held = |of: Counts| of.ready + of.waiting;
        let before = held(owned.state.counts());
        let event = owned.state.clear_event();
        let end = owned.state.end();
        owned.change(event, None);
        // Nor does what was acknowledged come back.
        owned.change(QueueEvent::Unkept { before: end }, None);
        let gone = before - held(owned.state.counts());
        self.follow(queue);
        Ok(gone)
    }

    /// Messages have to leave: as dead letters, or for good where there is no place for dead letters.
    pub(super) fn remove_messages(&mut self, queue: Uuid, removing: Vec<(u64, DeadLetterCause)>) {
        let Some(owned) = self.queue_partition(queue).filter(|_| !removing.is_empty()) else {
            return;
        };
        let settings = owned.queue.settings();
        if !settings.keeps_dead() {
            let mut offsets: Vec<u64> = removing.into_iter().map(|(offset, _)| offset).collect();
            offsets.sort_unstable();
            return owned.change(QueueEvent::Acked { offsets }, None);
        }
        let mut removing = removing.into_iter().peekable();
        while let Some((first, cause)) = removing.next() {
            let mut offsets = vec![first];
            while let Some((offset, _)) = removing.next_if(|(_, other)| *other == cause) {
                offsets.push(offset);
            }
            self.dead_letter(queue, offsets, cause);
        }
    }

    /// Hands messages to a consumer: at once, if all they rest on is durable.
    fn hand_to_consumer(&mut self, queue: Uuid, handed: Box<Handed>) {
        let durable = self.env.completions.durable();
        let readable = self.owner.partition.high_watermark();
        let queue_partition = self.queue_partition(queue);
        let is_settled =
            queue_partition.is_some_and(|queue_partition| queue_partition.is_settled(durable));
        let is_readable = handed.leases.iter().all(|lease| lease.offset < readable);
        if let Some(handover) = hand_over(handed, is_settled && is_readable) {
            let must_be_synced = self.rests_on_disk(queue, false);
            let answer = move |failed: Option<Error>| {
                if failed.is_none() {
                    handover.ready();
                }
            };
            self.answer(must_be_synced, Box::new(answer));
        }
    }

    /// Hands messages to consumers, as long as there are messages and room.
    pub(super) fn serve_consumers(&mut self, queue: Uuid) {
        let now = self.now.now;
        while let Some(owned) = self.queue_partition(queue)
            && let Some((consumer, room)) = next_consumer(owned)
        {
            let picked = owned.state.pick(room as usize, owned.queue.settings(), now);
            let leased = acquire(owned, &picked.leases, now);
            let unused = room - u32::try_from(leased.len()).unwrap_or(room);
            consumer.untake(unused);
            let nothing = leased.is_empty() && picked.removing.is_empty();
            if !leased.is_empty() {
                let leases = leased.into();
                self.hand_to_consumer(queue, Box::new(Handed { consumer, leases }));
            }
            if !picked.removing.is_empty() {
                self.dead_letter(queue, picked.removing, DeadLetterReason::Attempts.into());
            }
            if nothing {
                return;
            }
        }
    }
}

fn check_rights(owned: &mut OwnedQueuePartition, may: &dyn Fn(&Principal, &str) -> bool) {
    let name = &owned.queue.name;
    for poll in owned.polls.iter().filter(|p| !may(&p.principal, name)) {
        if let Some(answer) = poll.take_answer() {
            drop(answer.send(Err(Error::Denied)));
        }
    }
    owned.polls.retain(|poll| poll.is_open());
    owned.consumers.retain(|consumer| {
        let stays = may(&consumer.principal, name);
        if !stays {
            consumer.cancel();
        }
        stays
    });
}

/// Behind those of the same priority, before those of a lower one.
fn join(owned: &mut OwnedQueuePartition, consumer: Arc<Consumer>) {
    let behind = |c: &Arc<Consumer>| c.priority >= consumer.priority;
    let place = owned.consumers.partition_point(behind);
    owned.consumers.insert(place, consumer);
}

/// Whose turn it is of those that have room, and how much of it was taken.
fn next_consumer(owned: &mut OwnedQueuePartition) -> Option<(Arc<Consumer>, u32)> {
    let ready = owned.state.counts().ready;
    if ready == 0 || owned.consumers.is_empty() {
        return None;
    }
    if owned.queue.settings().single_consumer {
        let first = Arc::clone(owned.consumers.first()?);
        let room = first.take(share(ready, 1));
        return (room > 0).then_some((first, room));
    }
    let mut rest = &owned.consumers[..];
    while let Some(first) = rest.first() {
        let (equals, lower) = rest.split_at(rest.partition_point(|c| c.priority == first.priority));
        let wanted = share(ready, equals.len());
        for step in 0..equals.len() {
            let consumer = &equals[(owned.turn + step) % equals.len()];
            let room = consumer.take(wanted);
            if room > 0 {
                owned.turn = owned.turn.wrapping_add(step + 1);
                return Some((Arc::clone(consumer), room));
            }
        }
        rest = lower;
    }
    None
}

/// How many of the ready messages one of `count` equals is handed at once: a few of many, so that all have some.
fn share(ready: u64, count: usize) -> u32 {
    let rounds = if count > 1 { count as u64 * 4 } else { 1 };
    let share = (ready / rounds).clamp(1, HANDED_MAX);
    u32::try_from(share).unwrap_or(1)
}

fn acquire(
    owned: &mut OwnedQueuePartition,
    picked: &[(u64, MessageGroupId)],
    now: u64,
) -> Vec<Lease> {
    if picked.is_empty() {
        return Vec::new();
    }
    let last = picked.iter().map(|(offset, _)| *offset).max();
    if let Some(event) = last.and_then(|last| owned.state.raise_watermark(last)) {
        owned.change(event, None);
    }
    let leased = owned.state.acquire_untimed(picked, now);
    owned.queue.numbers.received(leased.len() as u64);
    leased
}

/// Takes one message; also returns what came upon the way that must not be leased any more.
fn get(owned: &mut OwnedQueuePartition, consumer: &Arc<Consumer>, now: u64) -> (Got, Vec<u64>) {
    let picked = owned.state.pick(1, owned.queue.settings(), now);
    let leased = acquire(owned, &picked.leases, now);
    let got = leased.first().map(|lease| {
        let unacked = UnackedMessage::new(consumer, lease.offset, lease.number);
        let counts = owned.state.counts();
        (unacked, *lease, counts.ready + counts.waiting)
    });
    (got, picked.removing)
}
