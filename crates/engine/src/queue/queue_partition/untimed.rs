//! Loans without a deadline: to borrowers who are connected, and whose messages come back when they are not.
//!
//! That a message is lent so is not in the log: after a restart its borrower is gone, and it is ready, as the log says.
//! What becomes of it is: done, or back with its counts.

use super::decide::{Again, wait};
use super::place::Back;
use super::{Entry, Lane, LaneEvent, LineId, Loan, State, UNTIMED, after};
use crate::queue::{DeathReason, QueueSettings};

/// Returns of a message in a row, each soon after the one before, that make it wait.
const HOT_LOANS: u32 = 10;
/// What counts as soon, ms, and the least a message waits then.
const HOT_MS: u64 = 100;
/// The most it waits, ms.
const HOT_MS_MAX: u64 = 10_000;

/// How far ahead it is noted that messages may have been lent: so many more are told to be lent again after a crash
/// although they were not.
const REACH: u64 = 256;

/// What becomes of a message on loan.
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
    /// Its borrower is gone. Whether that counts as a failure is decided by how many it had.
    Lost {
        /// It counts.
        charged: bool,
    },
    /// It never reached its borrower, and is as if it had never been lent.
    Unsent,
}

/// What an outcome comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing: the message is not on that loan any more.
    Stale,
    /// It is done.
    Done,
    /// It changes by this event.
    Back(LaneEvent),
    /// As if never lent: nothing for the log.
    Undone,
    /// It has to leave.
    Dies(DeathReason),
}

impl Lane {
    /// Lends what was picked; returns what the borrower is told.
    pub(crate) fn lend_untimed(&mut self, picked: &[(u64, LineId)], now: u64) -> Vec<Loan> {
        self.loans += 1;
        let loan = self.loans;
        picked
            .iter()
            .filter_map(|(offset, line)| {
                self.lend(*offset, (loan, now, UNTIMED), Some(*line));
                let entry = self.entries.get_mut(offset)?;
                // A restart finds it ready, and does not count a failure nobody saw.
                entry.open = false;
                self.loan(*offset)
            })
            .collect()
    }

    /// The event that has to be in the log before messages up to `last` are handed over: that they are on loan is not,
    /// but whoever gets them after a crash has to be told that somebody may have had them.
    pub(crate) fn reach(&self, last: u64) -> Option<LaneEvent> {
        let before = last.saturating_add(REACH);
        (last >= self.reached).then_some(LaneEvent::Reached { before })
    }

    /// Decides about an outcome. `chance` is between 0 and 1.
    pub(crate) fn outcome(
        &self,
        (offset, loan): (u64, u64),
        outcome: Outcome,
        settings: &QueueSettings,
        (now, chance): (u64, f64),
    ) -> Came {
        let on_loan = |e: &&Entry| e.loan == loan && e.state == State::Lent && e.due == UNTIMED;
        let Some(entry) = self.entries.get(&offset).filter(on_loan) else {
            return Came::Stale;
        };
        let failed = match outcome {
            Outcome::Ack => return Came::Done,
            Outcome::Reject => return Came::Dies(DeathReason::Rejected),
            Outcome::Unsent => return Came::Undone,
            Outcome::Fail | Outcome::Lost { charged: true } => 1,
            Outcome::Requeue | Outcome::Lost { charged: false } => 0,
        };
        let total = entry.failed.saturating_add(failed);
        let why = if failed > 0 {
            Again::Failed
        } else {
            Again::Returned
        };
        let delay = wait(entry.failed, why, settings, chance).max(hot(entry, now));
        Came::Back(LaneEvent::Returned {
            offset,
            due: if delay == 0 { 0 } else { after(now, delay) },
            lent: entry.lent,
            failed: total,
            first_ms: entry.first_ms,
            at_ms: entry.at_ms,
        })
    }

    /// A message came back, from a loan the log may not know of.
    pub(super) fn returned(&mut self, event: &LaneEvent) {
        let LaneEvent::Returned {
            offset,
            due,
            lent,
            failed,
            first_ms,
            at_ms,
        } = *event
        else {
            unreachable!("only called for returns");
        };
        let fresh = || Some(Entry::new(self.find_line(offset)?));
        let known = self.entries.contains_key(&offset);
        let Some(fresh) = (if known { None } else { fresh() }).or_else(|| self.take_entry(offset))
        else {
            return;
        };
        let mut entry = Entry {
            due,
            lent,
            failed,
            first_ms,
            at_ms,
            // Receipts of earlier loans settle nothing any more, nor after a restart.
            loan: 0,
            open: false,
            back: Back::OldPlace,
            ..fresh
        };
        self.back.insert(offset);
        self.lines.hold(entry.line, offset);
        if due == 0 {
            entry.state = State::Ready;
            self.put_back(entry.line, offset, None);
        } else {
            entry.state = State::Waiting;
            self.waiting += 1;
            self.due.insert((due, offset));
        }
        self.entries.insert(offset, entry);
    }

    /// The event that drops everything that is ready or waits.
    pub(crate) fn clear_event(&self) -> LaneEvent {
        let is_kept = |entry: &Entry| matches!(entry.state, State::Lent | State::Dying);
        let kept = self.entries.iter();
        let kept = kept.filter(|(_, entry)| is_kept(entry));
        LaneEvent::Cleared {
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
        self.lines.clear_before(before, kept);
        self.unreadable.remove(0, before);
        self.drop_limits(before, kept);
    }
}

/// How long a message waits that comes back again and again at once.
fn hot(entry: &Entry, now: u64) -> u64 {
    let rounds = entry.lent / HOT_LOANS;
    let soon = now.saturating_sub(entry.first_ms) < u64::from(entry.lent) * HOT_MS;
    if rounds == 0 || !soon {
        return 0;
    }
    (HOT_MS << (rounds - 1).min(16)).min(HOT_MS_MAX)
}
