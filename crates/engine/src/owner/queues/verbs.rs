//! What can be done with one queue partition: lease, settle, take back, replay, reserve for a move.

use std::sync::Arc;

use delivery::{Decided, Lease, MessageGroupId, QueueEvent, Receiving, after};

use super::OwnedQueuePartition;
use crate::queue::{
    Failure, Leases, Ordering, Poll, Queue, QueuePartitionId, Settled, Settlement, Undo,
};
use crate::{Error, Result};

/// What a receiver got, and what came upon the way that must not be leased any more.
pub(super) struct Leased {
    pub(super) leases: Vec<Lease>,
    pub(super) removing: Vec<u64>,
    /// They are an earlier attempt's, whose receiver may have got them.
    pub(super) repeated: bool,
}

impl Leased {
    /// The leases as their receiver gets them.
    pub(super) fn hand_out(self, at: QueuePartitionId, undo: Undo) -> Leases {
        if self.repeated {
            Leases::repeated(at, self.leases)
        } else {
            Leases::new(at, self.leases, undo)
        }
    }
}

/// Leases what there is to one receiver.
pub(super) fn acquire(owned: &mut OwnedQueuePartition, poll: &Poll, now: u64) -> Result<Leased> {
    let queue = Arc::clone(&owned.queue);
    let settings = queue.settings();
    let lease_ms = poll.lease_ms.unwrap_or(settings.lease_ms);
    if let Some(attempt) = &poll.attempt
        && let Some(offsets) = owned.state.repeat(attempt, now)
    {
        for offset in &offsets {
            let (offset, until) = (*offset, after(now, lease_ms));
            owned.change(QueueEvent::Extended { offset, until }, None);
        }
        let leases = offsets
            .iter()
            .filter_map(|o| owned.state.lease(*o))
            .collect();
        let removing = Vec::new();
        return Ok(Leased {
            leases,
            removing,
            repeated: true,
        });
    }
    let room = u64::from(settings.in_flight_max).saturating_sub(owned.state.counts().leased);
    if room == 0 {
        return match settings.ordering {
            Ordering::None => Err(Error::InFlightLimit),
            Ordering::Key => Ok(Leased {
                leases: Vec::new(),
                removing: Vec::new(),
                repeated: false,
            }),
        };
    }
    let max = poll.max.min(usize::try_from(room).unwrap_or(usize::MAX));
    let picked = owned.state.pick(max, settings, now);
    let spec = Receiving {
        lease_ms,
        attempt: poll.attempt.as_deref(),
    };
    let mut leases = Vec::with_capacity(picked.leases.len());
    if !picked.leases.is_empty() {
        let event = owned.state.lease_event(&picked, &spec, now);
        let groups: Vec<MessageGroupId> = picked.leases.iter().map(|(_, group)| *group).collect();
        owned.change(event, Some(&groups));
        let leased = picked.leases.iter();
        leases.extend(leased.filter_map(|(offset, _)| owned.state.lease(*offset)));
        queue.numbers.received(leases.len() as u64);
        // Leased for no time: ready again at once.
        owned.state.tick(now);
    }
    Ok(Leased {
        leases,
        removing: picked.removing,
        repeated: false,
    })
}

/// Settles a message in flight; returns why it has to leave, if it has to.
pub(super) fn settle(
    owned: &mut OwnedQueuePartition,
    (offset, lease): (u64, u64),
    settlement: &Settlement,
    (now, chance): (u64, f64),
) -> (Settled, Option<Failure>) {
    let queue = Arc::clone(&owned.queue);
    let at = (offset, lease);
    let decided = owned
        .state
        .decide(at, settlement, queue.settings(), (now, chance));
    match decided {
        Decided::Refused(why) => return (why, None),
        Decided::Acked(settled) => {
            queue.numbers.deleted(1);
            owned.state.settled(offset, now);
            owned.acked(offset);
            return (settled, None);
        }
        Decided::Changed(event) => {
            match settlement {
                Settlement::Undo => queue.numbers.not_received(1),
                Settlement::Extend(_) => {}
                _ => owned.state.settled(offset, now),
            }
            owned.change(event, None);
        }
        Decided::Undone => {
            owned.state.undo(offset, lease);
            queue.numbers.not_received(1);
        }
        Decided::Removed(failure) => return (Settled::Done, Some(failure)),
    }
    (Settled::Done, None)
}

/// Makes what was acknowledged ready again; returns how many messages. Where the records are there for the queue alone,
/// that is what it keeps for replay, else whatever the log has.
pub(super) fn replay(owned: &mut OwnedQueuePartition, from: u64, now: u64) -> Result<u64> {
    let settings = owned.queue.settings();
    if settings.ordering == Ordering::Key || settings.priorities > 1 {
        return Err(Error::InvalidRequest(
            "only a queue without order and priorities can be replayed".into(),
        ));
    }
    if owned.owns_records() {
        if settings.replay_ms == 0 {
            return Err(Error::InvalidRequest(
                "the queue keeps nothing for replay: what is acknowledged is gone at once".into(),
            ));
        }
        owned.state.expire_kept(now, settings);
        let (events, count) = owned.state.revive_events(from);
        for event in events {
            owned.change(event, None);
        }
        return Ok(count);
    }
    let had = owned.state.counts().ready;
    let event = owned.state.replay_event(from);
    owned.change(event, None);
    Ok(owned.state.counts().ready.saturating_sub(had))
}

/// Drops what is ready and older than its queue keeps messages: everything before `before`.
pub(super) fn outdate(owned: &mut OwnedQueuePartition, before: u64) {
    owned.state.forget_revived();
    if let Some(event) = owned.state.outdate_event(before) {
        owned.change(event, None);
    }
}

/// The queue's settings have changed.
pub(super) fn configure(owned: &mut OwnedQueuePartition, queue: Arc<Queue>, now: u64) {
    let (old, new) = (owned.queue.settings(), queue.settings());
    if new.ordering == Ordering::Key && old.delay_ms != new.delay_ms {
        owned.state.redelay(new.delay_ms);
    }
    let limits_changed = old.limits != new.limits;
    if limits_changed {
        owned.state.limits_changed(new, now);
    }
    owned.queue = queue;
    owned.state.expire_kept(now, owned.queue.settings());
}

/// Reserves messages that are about to leave; returns which.
pub(super) fn reserve(
    owned: &mut OwnedQueuePartition,
    max: usize,
    upto: u64,
    now: u64,
) -> Vec<u64> {
    owned.state.tick(now);
    let taken = owned.state.pick_removing(max, upto);
    owned.state.reserve_picked(&taken);
    taken.into_iter().map(|(offset, _)| offset).collect()
}
