//! Settling: what a settlement comes to, by the state of the message and the settings of its queue.

use crate::entry::{Entry, State};
use crate::event::QueueEvent;
use crate::moment::{UNTIMED, after};
use crate::place::Back;
use crate::queue_partition::QueuePartition;
use crate::settings::{After, Growth, Ordering, QueueSettings};
use crate::settlement::{Failure, Settled, Settlement};

/// Longest time a message can be in flight altogether, ms.
const LEASE_MS_MAX: u64 = 12 * 3_600_000;
/// Returns of a message in a row, each soon after the one before, that make it wait.
const HOT_LEASES: u32 = 10;
/// What counts as soon, ms, and the least a message waits then.
const HOT_MS: u64 = 100;
/// The most it waits, ms.
const HOT_MS_MAX: u64 = 10_000;

/// What a settlement comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nothing is changed.
    Refused(Settled),
    /// It is done; the lease may have run out.
    Acked(Settled),
    /// It changes by this event.
    Changed(QueueEvent),
    /// As if never leased, of which the log knows nothing.
    Undone,
    /// It has to leave.
    Removed(Failure),
}

impl QueuePartition {
    /// Decides about a settlement of a message on a lease. `chance` is between 0 and 1.
    pub fn decide(
        &self,
        (offset, lease): (u64, u64),
        settlement: &Settlement,
        settings: &QueueSettings,
        (now, chance): (u64, f64),
    ) -> Decided {
        let Some(entry) = self.entries.get(&offset) else {
            return Decided::Refused(Settled::Gone);
        };
        if entry.lease != lease {
            return Decided::Refused(Settled::Stale);
        }
        let is_leased = entry.state == State::Leased;
        match settlement {
            Settlement::Ack if is_leased => Decided::Acked(Settled::Done),
            Settlement::Ack if settings.ordering == Ordering::None => {
                Decided::Acked(Settled::Expired)
            }
            _ if !is_leased => Decided::Refused(Settled::Expired),
            Settlement::Ack => Decided::Acked(Settled::Done),
            Settlement::Extend(ms) => extended(entry, offset, *ms, now),
            Settlement::Release { delay, class } => {
                let why = class.map_or(Retry::Returned, |_| Retry::Failed);
                let delay = delay.unwrap_or_else(|| {
                    let wait = wait(entry.failed, why, settings, chance);
                    wait.max(if entry.is_untimed() {
                        hot(entry, now)
                    } else {
                        0
                    })
                });
                let due = if delay == 0 { 0 } else { after(now, delay) };
                Decided::Changed(self.return_event((offset, entry), due, why))
            }
            Settlement::Reject(failure) => Decided::Removed(failure.clone()),
            Settlement::Undo if entry.is_untimed() => Decided::Undone,
            Settlement::Undo => {
                let offsets = vec![offset];
                Decided::Changed(QueueEvent::Undone { lease, offsets })
            }
        }
    }

    /// The event by which a message comes back: with its counts, unless the log can tell them.
    fn return_event(&self, (offset, entry): (u64, &Entry), due: u64, why: Retry) -> QueueEvent {
        if why == Retry::Failed && !entry.is_untimed() {
            let before = self.end;
            return QueueEvent::Released {
                offset,
                due,
                before,
            };
        }
        QueueEvent::Returned {
            offset,
            due,
            leased: entry.leased,
            failed: entry.failed.saturating_add(u32::from(why == Retry::Failed)),
            first_ms: entry.first_ms,
            at_ms: entry.at_ms,
        }
    }

    /// A message came back, from a lease the log may not know of.
    pub fn returned(&mut self, event: &QueueEvent) {
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
}

impl Entry {
    /// Whether it is leased without a deadline: to a session, which the log does not know.
    fn is_untimed(&self) -> bool {
        self.due == UNTIMED
    }
}

fn extended(entry: &Entry, offset: u64, ms: u64, now: u64) -> Decided {
    if entry.is_untimed() {
        return Decided::Refused(Settled::Stale);
    }
    if now.saturating_add(ms) > entry.at_ms.saturating_add(LEASE_MS_MAX) {
        return Decided::Refused(Settled::TooLong);
    }
    let until = after(now, ms);
    Decided::Changed(QueueEvent::Extended { offset, until })
}

/// Why a message is to be leased again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// It has failed once more.
    Failed,
    /// It was given back unharmed.
    Returned,
}

/// How long a message waits that is to be leased again and had failed `failed` times before.
fn wait(failed: u32, why: Retry, settings: &QueueSettings, chance: f64) -> u64 {
    let Some(backoff) = settings.backoff else {
        return 0;
    };
    let counts = match backoff.after {
        After::All => true,
        After::Failed => why == Retry::Failed,
        After::Returned => why == Retry::Returned,
    };
    if !counts {
        return 0;
    }
    let factor = match backoff.growth {
        Growth::Exponential => 1 << failed.min(62),
        Growth::Linear => u64::from(failed) + 1,
    };
    let wait = backoff.base_ms.saturating_mul(factor).min(backoff.max_ms);
    if backoff.jitter {
        // Sizes stay far below 2^53, and the product is no greater than the wait.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "see above"
        )]
        return (wait as f64 * chance.clamp(0.0, 1.0)) as u64;
    }
    wait
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
