//! Those who hold a part of a budget: who holds most, and who holds without progress while others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

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

/// An account, as far as it is looked at here.
pub(super) trait Held: Debug + Send + Sync {
    /// Protocol and address of its client.
    fn client(&self) -> (&'static str, SocketAddr);
    /// Bytes it has taken, for display.
    fn taken(&self) -> usize;
    /// Bytes received and sent.
    fn moved(&self) -> (u64, u64);
    /// Why it holds them.
    fn reasons(&self) -> Reasons;
    /// Has its connection closed.
    fn evict(&self);
}

/// Why an account holds bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reasons {
    /// The peer has begun something and not finished it.
    pub(super) lacks_input: bool,
    /// The peer has not read something.
    pub(super) has_unsent: bool,
    /// Something is kept for as long as the peer, or others, like.
    pub(super) is_parked: bool,
}

/// What holders are compared with.
#[derive(Debug)]
pub(super) struct Look {
    /// Bytes for all accounts.
    pub(super) limit: usize,
    /// The account that may exceed its share.
    pub(super) excess: Option<u64>,
    /// Accounts that wait.
    pub(super) waiting: BTreeSet<u64>,
}

impl Look {
    /// What each could have, if all who wait and some more were to have as much.
    fn share(&self) -> usize {
        (self.limit / (2 + self.waiting.len())).max(SHARE_BYTES_MIN)
    }
}

/// What is known of one holder.
#[derive(Debug)]
struct Holder {
    account: Weak<dyn Held>,
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

    pub(super) fn add(&mut self, name: u64, account: Weak<dyn Held>) {
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
        let mut greatest: Vec<_> = accounts.map(|a| (a.taken(), a)).collect();
        greatest.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut line = String::new();
        for (bytes, account) in greatest.iter().take(SHOWN_MAX) {
            let gap = if line.is_empty() { "" } else { ", " };
            let (protocol, peer) = account.client();
            // A string takes everything.
            let _ = write!(line, "{gap}{protocol} {peer} {bytes}");
        }
        line
    }

    /// Those who hold most, where it is time to log that again.
    pub(super) fn warning(&mut self) -> Option<String> {
        is_due(&mut self.warned, WARN_EVERY).then(|| self.greatest())
    }

    /// Those who have looked long enough as if their peers did nothing while others wait; none before it is time to look.
    pub(super) fn look(&mut self, look: &Look) -> Vec<Arc<dyn Held>> {
        if !is_due(&mut self.looked, LOOK) {
            return Vec::new();
        }
        let mut evicted = Vec::new();
        for (name, holder) in &mut self.by_name {
            let Some(account) = holder.account.upgrade() else {
                continue;
            };
            let is_idle = holder.is_idle(*name, &*account, look);
            holder.idle = if is_idle { holder.idle + 1 } else { 0 };
            if holder.idle >= LOOKS_MAX {
                holder.idle = 0;
                evicted.push(account);
            }
        }
        evicted
    }
}

impl Holder {
    /// Whether its peer has done nothing since the last look about what it holds.
    fn is_idle(&mut self, name: u64, account: &dyn Held, look: &Look) -> bool {
        let has_excess = look.excess == Some(name);
        let least = if has_excess {
            EXCESS_PROGRESS_BYTES
        } else {
            PROGRESS_BYTES
        };
        let moved = account.moved();
        let (received, sent) = (
            moved.0 - self.moved.0.min(moved.0),
            moved.1 - self.moved.1.min(moved.1),
        );
        self.moved = moved;
        let Reasons {
            lacks_input,
            has_unsent,
            is_parked,
        } = account.reasons();
        // That we keep them waiting is not their fault, as far as they have no more than others could.
        let is_over = has_excess || account.taken() > look.share();
        let is_excused = look.waiting.contains(&name) && !is_over;
        let is_stalled = lacks_input && received < least || has_unsent && sent < least;
        let is_parked = is_parked && is_over && received + sent < least;
        is_stalled && !is_excused || is_parked
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
