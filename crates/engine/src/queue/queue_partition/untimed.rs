//! Leases without a deadline: to connected consumers, whose messages come back when they disconnect.
//!
//! That a message is leased so is not in the log: after a restart its consumer is gone, and it is ready, as the log
//! says. What becomes of it is: done, or back with its counts.

use super::decide::{Retry, wait};
use super::place::Back;
use super::{Entry, Lease, MessageGroupId, QueueEvent, QueuePartition, State, UNTIMED, after};
use crate::queue::{DeadLetterReason, QueueSettings};

/// Returns of a message in a row, each soon after the one before, that make it wait.
const HOT_LEASES: u32 = 10;
/// What counts as soon, ms, and the least a message waits then.
const HOT_MS: u64 = 100;
/// The most it waits, ms.
const HOT_MS_MAX: u64 = 10_000;

/// How far ahead it is noted that messages may have been leased: so many more are marked redelivered after a crash
/// although they were not.
const WATERMARK_STEP: u64 = 256;

/// What becomes of a message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: gone for good.
    Ack,
    /// Given back unharmed: it does not count as a failure.
    Requeue,
    /// It failed, and is to be tried again.
    Fail,
    /// It failed, and is not to be tried again: dead-lettered, or dropped where there is no place for dead letters.
    Reject,
    /// Its consumer is gone. Whether that counts as a failure is decided by how many it had.
    Lost {
        /// It counts.
        charged: bool,
    },
    /// It never reached its consumer, and is as if it had never been leased.
    Unsent,
}

/// What an outcome comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Nothing: the message is not on that lease any more.
    Stale,
    /// It is done.
    Acked,
    /// It changes by this event.
    Returned(QueueEvent),
    /// As if never leased: nothing for the log.
    Undone,
    /// It has to leave.
    Removed(DeadLetterReason),
}

impl QueuePartition {
    /// Leases what was picked; returns what the consumer gets.
    pub(crate) fn acquire_untimed(
        &mut self,
        picked: &[(u64, MessageGroupId)],
        now: u64,
    ) -> Vec<Lease> {
        self.leases += 1;
        let lease = self.leases;
        picked
            .iter()
            .filter_map(|(offset, group)| {
                self.acquire(*offset, (lease, now, UNTIMED), Some(*group));
                let entry = self.entries.get_mut(offset)?;
                // A restart finds it ready, and does not count a failure nobody saw.
                entry.open = false;
                self.lease(*offset)
            })
            .collect()
    }

    /// The event that has to be in the log before messages up to `last` are handed over: that they are in flight is
    /// not, but after a crash they have to be marked as possibly delivered before.
    pub(crate) fn raise_watermark(&self, last: u64) -> Option<QueueEvent> {
        let before = last.saturating_add(WATERMARK_STEP);
        (last >= self.delivered_watermark).then_some(QueueEvent::DeliveredBelow { before })
    }

    /// Decides about an outcome. `chance` is between 0 and 1.
    pub(crate) fn outcome(
        &self,
        (offset, lease): (u64, u64),
        outcome: Outcome,
        settings: &QueueSettings,
        (now, chance): (u64, f64),
    ) -> Settlement {
        let on_lease =
            |e: &&Entry| e.lease == lease && e.state == State::Leased && e.due == UNTIMED;
        let Some(entry) = self.entries.get(&offset).filter(on_lease) else {
            return Settlement::Stale;
        };
        let failed = match outcome {
            Outcome::Ack => return Settlement::Acked,
            Outcome::Reject => return Settlement::Removed(DeadLetterReason::Rejected),
            Outcome::Unsent => return Settlement::Undone,
            Outcome::Fail | Outcome::Lost { charged: true } => 1,
            Outcome::Requeue | Outcome::Lost { charged: false } => 0,
        };
        let total = entry.failed.saturating_add(failed);
        let why = if failed > 0 {
            Retry::Failed
        } else {
            Retry::Returned
        };
        let delay = wait(entry.failed, why, settings, chance).max(hot(entry, now));
        Settlement::Returned(QueueEvent::Returned {
            offset,
            due: if delay == 0 { 0 } else { after(now, delay) },
            leased: entry.leased,
            failed: total,
            first_ms: entry.first_ms,
            at_ms: entry.at_ms,
        })
    }

    /// A message came back, from a lease the log may not know of.
    pub(super) fn returned(&mut self, event: &QueueEvent) {
        let QueueEvent::Returned {
            offset,
            due,
            leased,
            failed,
            first_ms,
            at_ms,
        } = *event
        else {
            unreachable!("only called for returns");
        };
        let fresh = || Some(Entry::new(self.find_group(offset)?));
        let known = self.entries.contains_key(&offset);
        let Some(fresh) = (if known { None } else { fresh() }).or_else(|| self.take_entry(offset))
        else {
            return;
        };
        let mut entry = Entry {
            due,
            leased,
            failed,
            first_ms,
            at_ms,
            // Receipts of earlier leases settle nothing any more, nor after a restart.
            lease: 0,
            open: false,
            back: Back::OldPlace,
            ..fresh
        };
        self.back.insert(offset);
        self.groups.hold(entry.group, offset);
        if due == 0 {
            entry.state = State::Ready;
            self.put_back(entry.group, offset, None);
        } else {
            entry.state = State::Waiting;
            self.waiting += 1;
            self.due.insert((due, offset));
        }
        self.entries.insert(offset, entry);
    }

    /// The event that drops everything that is ready or waits.
    pub(crate) fn clear_event(&self) -> QueueEvent {
        let is_kept = |entry: &Entry| matches!(entry.state, State::Leased | State::Removing);
        let kept = self.entries.iter();
        let kept = kept.filter(|(_, entry)| is_kept(entry));
        QueueEvent::Cleared {
            before: self.end,
            kept: kept.map(|(offset, _)| *offset).collect(),
        }
    }

    /// Drops what is below `before`, except what is said to stay.
    pub(super) fn clear(&mut self, before: u64, kept: &[u64]) {
        // In a restart, what had become ready in time looks as if it had not.
        let touched = self.entries.range(..before).map(|(offset, _)| *offset);
        let gone = touched.filter(|offset| kept.binary_search(offset).is_err());
        let gone: Vec<u64> = gone.collect();
        for offset in gone {
            self.remove(offset, None);
        }
        self.groups.clear_before(before, kept);
        self.unreadable.remove(0, before);
        self.drop_limits(before, kept);
    }
}

/// How long a message waits that comes back again and again at once.
fn hot(entry: &Entry, now: u64) -> u64 {
    let rounds = entry.leased / HOT_LEASES;
    let soon = now.saturating_sub(entry.first_ms) < u64::from(entry.leased) * HOT_MS;
    if rounds == 0 || !soon {
        return 0;
    }
    (HOT_MS << (rounds - 1).min(16)).min(HOT_MS_MAX)
}
