//! What can be done with one lane: lend, settle, take back, replay, set aside.

use std::sync::Arc;

use super::OwnedLane;
use crate::queue::lane::{LaneEvent, LineId, Loan, Picked, Receiving, after};
use crate::queue::{LaneAt, Loans, Ordering, Poll, Queue, Settle, Settled, Undo};
use crate::{Error, Result};

/// What a receiver got, and what came upon the way that must not be lent any more.
pub(super) struct Lent {
    pub(super) loans: Vec<Loan>,
    pub(super) dying: Vec<u64>,
    /// They are an earlier attempt's, whose receiver may have got them.
    pub(super) repeated: bool,
}

impl Lent {
    /// The loans as their receiver gets them.
    pub(super) fn hand_out(self, at: LaneAt, undo: Undo) -> Loans {
        if self.repeated {
            Loans::repeated(at, self.loans)
        } else {
            Loans::new(at, self.loans, undo)
        }
    }
}

/// Lends what there is to one receiver.
pub(super) fn lend(owned: &mut OwnedLane, poll: &Poll, now: u64) -> Result<Lent> {
    let queue = Arc::clone(&owned.queue);
    let settings = queue.settings();
    let lease_ms = poll.lease_ms.unwrap_or(settings.lease_ms);
    if let Some(attempt) = &poll.attempt
        && let Some(offsets) = owned.lane.repeat(attempt, now)
    {
        for offset in &offsets {
            let (offset, until) = (*offset, after(now, lease_ms));
            owned.change(LaneEvent::Extended { offset, until }, None);
        }
        let loans = offsets.iter().filter_map(|o| owned.lane.loan(*o)).collect();
        let dying = Vec::new();
        return Ok(Lent {
            loans,
            dying,
            repeated: true,
        });
    }
    let room = u64::from(settings.in_flight_max).saturating_sub(owned.lane.counts().lent);
    if room == 0 {
        return match settings.ordering {
            Ordering::None => Err(Error::InFlightLimit),
            Ordering::Key => Ok(Lent {
                loans: Vec::new(),
                dying: Vec::new(),
                repeated: false,
            }),
        };
    }
    let max = poll.max.min(usize::try_from(room).unwrap_or(usize::MAX));
    let picked = owned.lane.pick(max, settings, now);
    let Picked { lend, dying } = &picked;
    let spec = Receiving {
        lease_ms,
        attempt: poll.attempt.as_deref(),
    };
    let mut loans = Vec::with_capacity(lend.len());
    if !lend.is_empty() {
        let event = owned.lane.lend_event(&picked, &spec, now);
        let lines: Vec<LineId> = lend.iter().map(|(_, line)| *line).collect();
        owned.change(event, Some(&lines));
        loans.extend(lend.iter().filter_map(|(o, _)| owned.lane.loan(*o)));
        queue.numbers.received(loans.len() as u64);
        // Lent for no time: ready again at once.
        owned.lane.tick(now);
    }
    let dying = dying.clone();
    Ok(Lent {
        loans,
        dying,
        repeated: false,
    })
}

/// Settles messages on loan.
pub(super) fn settle(
    owned: &mut OwnedLane,
    settles: &[(u64, u64, Settle)],
    now: u64,
    chance: f64,
) -> Vec<Settled> {
    owned.lane.tick(now);
    let queue = Arc::clone(&owned.queue);
    let mut outcomes = Vec::with_capacity(settles.len());
    for (offset, loan, wanted) in settles {
        let at = (*offset, *loan);
        let (settled, event) = owned
            .lane
            .settle(at, *wanted, queue.settings(), (now, chance));
        if let Some(event) = event {
            if *wanted == Settle::Ack {
                queue.numbers.deleted(1);
            }
            if !matches!(wanted, Settle::Extend(_)) {
                owned.lane.settled(*offset, now);
            }
            owned.change(event, None);
        }
        outcomes.push(settled);
    }
    outcomes
}

/// Takes loans back that reached nobody.
pub(super) fn undo(owned: &mut OwnedLane, loans: &[Loan]) {
    for loan in loans {
        if let Some(event) = owned.lane.undo_event(loan.offset, loan.number) {
            owned.change(event, None);
        }
    }
    owned.queue.numbers.not_received(loans.len() as u64);
}

/// Makes what was acknowledged ready again; returns how many messages. Where the records are there for the queue alone,
/// that is what it keeps for replay, else whatever the log has.
pub(super) fn replay(owned: &mut OwnedLane, from: u64, now: u64) -> Result<u64> {
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
        owned.lane.expire_kept(now, settings);
        let (events, count) = owned.lane.revive_events(from);
        for event in events {
            owned.change(event, None);
        }
        return Ok(count);
    }
    let had = owned.lane.counts().ready;
    let event = owned.lane.replay_event(from);
    owned.change(event, None);
    Ok(owned.lane.counts().ready.saturating_sub(had))
}

/// Drops what is ready and older than its queue keeps messages: everything before `before`.
pub(super) fn outdate(owned: &mut OwnedLane, before: u64) {
    owned.lane.forget_revived();
    if let Some(event) = owned.lane.outdate_event(before) {
        owned.change(event, None);
    }
}

/// The queue's settings have changed.
pub(super) fn configure(owned: &mut OwnedLane, queue: Arc<Queue>, now: u64) {
    let (old, new) = (owned.queue.settings(), queue.settings());
    if new.ordering == Ordering::Key && old.delay_ms != new.delay_ms {
        owned.lane.redelay(new.delay_ms);
    }
    let limits_changed = old.limits != new.limits;
    if limits_changed {
        owned.lane.limits_changed(new, now);
    }
    owned.queue = queue;
    owned.lane.expire_kept(now, owned.queue.settings());
}

/// Sets messages aside that are about to leave; returns which.
pub(super) fn set_aside(owned: &mut OwnedLane, max: usize, upto: u64, now: u64) -> Vec<u64> {
    owned.lane.tick(now);
    let taken = owned.lane.pick_leaving(max, upto);
    owned.lane.set_aside_picked(&taken);
    taken.into_iter().map(|(offset, _)| offset).collect()
}
