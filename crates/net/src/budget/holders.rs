//! Those who hold a part of a budget: who holds most, and who holds without progress while others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::account::Inner;
use super::{Shared, State};

/// How often holders are looked at while an account waits.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row without progress after which a holder is closed.
const LOOKS_MAX: u32 = 10;
/// Bytes per look that count as progress …
const PROGRESS_BYTES: u64 = 4 << 10;
/// … and for the one that holds what is spared for large requests.
const EXCESS_PROGRESS_BYTES: u64 = 64 << 10;
/// The part of the budget that anybody may keep for as long as it likes, however many wait, at least: an ordinary message
/// of each fits.
const SHARE_BYTES_MIN: usize = 1 << 20;
/// The longest line of holders, and how often it is logged.
const SHOWN_MAX: usize = 5;
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What is known of one holder.
#[derive(Debug)]
struct Holder {
    account: Weak<Inner>,
    /// Bytes received and sent at the last look.
    moved: (u64, u64),
    /// Looks without progress.
    idle: u32,
}

/// All accounts that hold some.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_name: BTreeMap<u64, Holder>,
    looked: Option<Instant>,
    warned: Option<Instant>,
}

impl Holders {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn add(&mut self, name: u64, account: Weak<Inner>) {
        let holder = Holder {
            account,
            moved: (0, 0),
            idle: 0,
        };
        self.by_name.insert(name, holder);
    }

    pub(super) fn remove(&mut self, name: u64) {
        self.by_name.remove(&name);
    }

    /// Those who hold most, for the log.
    fn greatest(&self) -> String {
        let accounts = self.by_name.values().filter_map(|h| h.account.upgrade());
        let mut greatest: Vec<_> = accounts.map(|a| (a.taken.load(Relaxed), a)).collect();
        greatest.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut line = String::new();
        for (bytes, account) in greatest.iter().take(SHOWN_MAX) {
            let gap = if line.is_empty() { "" } else { ", " };
            let (protocol, peer) = (account.protocol, account.peer);
            // A string takes everything.
            let _ = write!(line, "{gap}{protocol} {peer} {bytes}");
        }
        line
    }
}

/// The time by the timer's clock.
fn now() -> Instant {
    sleep(Duration::ZERO).deadline()
}

/// Whether this much time has passed since; begins anew if so.
fn is_due(since: &mut Option<Instant>, every: Duration) -> bool {
    let now = now();
    let due = since.is_none_or(|since| now.duration_since(since) >= every);
    if due {
        *since = Some(now);
    }
    due
}

impl Shared {
    /// An account has to wait: logs it, not too often.
    pub(super) fn warn(&self, state: &mut State) {
        if !is_due(&mut state.holders.warned, WARN_EVERY) {
            return;
        }
        tracing::warn!(
            limit_bytes = self.limit + self.spare,
            used_bytes = self.used.load(Relaxed),
            holders = state.holders.len(),
            greatest = state.holders.greatest(),
            "memory budget is exhausted, connections wait"
        );
    }

    /// Looks for holders that make others wait and whose peers do nothing about it; closes them.
    pub(super) fn look(&self) {
        let mut state = self.state();
        let State {
            waiters,
            holders,
            excess,
        } = &mut *state;
        if waiters.len() == 0 || !is_due(&mut holders.looked, LOOK) {
            return;
        }
        let waiting: BTreeSet<u64> = waiters.names().collect();
        // What each could have, if all who wait and some more were to have as much.
        let share = (self.limit / (2 + waiting.len())).max(SHARE_BYTES_MIN);
        let mut evicted = Vec::new();
        for (name, holder) in &mut holders.by_name {
            let Some(account) = holder.account.upgrade() else {
                continue;
            };
            let has_excess = matches!(excess, Some((large, _)) if large == name);
            let least = if has_excess {
                EXCESS_PROGRESS_BYTES
            } else {
                PROGRESS_BYTES
            };
            let moved = account.moved();
            let (received, sent) = (
                moved.0 - holder.moved.0.min(moved.0),
                moved.1 - holder.moved.1.min(moved.1),
            );
            holder.moved = moved;
            // That we keep them waiting is not their fault, as far as they have no more than others could.
            let is_over = has_excess || account.taken.load(Relaxed) > share;
            let is_excused = waiting.contains(name) && !is_over;
            let is_stalled =
                account.lacks_input() && received < least || account.has_unsent() && sent < least;
            let is_parked = account.is_parked() && is_over && received + sent < least;
            let is_idle = is_stalled && !is_excused || is_parked;
            holder.idle = if is_idle { holder.idle + 1 } else { 0 };
            if holder.idle >= LOOKS_MAX {
                holder.idle = 0;
                evicted.push(account);
            }
        }
        drop(state);
        for account in evicted {
            self.evicted.fetch_add(1, Relaxed);
            let (protocol, peer) = (account.protocol, account.peer);
            let bytes = account.taken.load(Relaxed);
            tracing::info!(protocol, %peer, bytes, "connection closed: it held memory without progress while others waited");
            account.evict();
        }
    }
}
