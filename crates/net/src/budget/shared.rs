//! The budget itself: what is taken of it, who waits, and whose turn comes.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::holders::{Holders, Look};
use super::waiters::{Grant, Waiters};

/// What an account may hold without a share of the budget, so that small requests and acknowledgements never wait.
pub(super) const FREE_BYTES: usize = 4 << 10;
/// What an account takes at once while there is plenty …
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// … and while there is not.
pub(super) const SMALL_PIECE_BYTES: usize = 4 << 10;
/// An account that holds no more than this may take the last there is …
pub(super) const LITTLE_BYTES: usize = 16 << 10;
/// … one that holds no more than this leaves a part of it to those …
const MODEST_BYTES: usize = 256 << 10;
const LEFT_BY_MODEST_PART: usize = 8;
/// … and one that holds more leaves a larger part, and as much again as it holds.
const LEFT_BY_OTHERS_PART: usize = 4;
/// The part of the whole that is spared for one large request at a time.
const SPARE_PART: usize = 3;

/// The budget. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Budget(pub(super) Arc<Shared>);

/// What a budget has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetNumbers {
    /// Bytes there are.
    pub limit_bytes: u64,
    /// Bytes that are taken.
    pub used_bytes: u64,
    /// Connections that wait for some.
    pub waiting: u64,
    /// How often an account had to wait.
    pub waits_total: u64,
    /// Connections that were closed because they held some without progress while others waited.
    pub evicted_total: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Bytes for all accounts.
    pub(super) limit: usize,
    /// Bytes beside them for the one account that may exceed its share.
    pub(super) spare: usize,
    pub(super) used: AtomicUsize,
    /// Accounts that wait; what is given back goes here first.
    pub(super) waiting: AtomicUsize,
    pub(super) state: Mutex<State>,
    pub(super) names: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) evicted: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiters: Waiters,
    pub(super) holders: Holders,
    /// The account that may exceed its share, and what it has taken so.
    pub(super) excess: Option<(u64, usize)>,
}

impl Budget {
    /// A budget of so many bytes in all.
    pub fn new(bytes: usize) -> Self {
        let spare = bytes / SPARE_PART;
        Self(Arc::new(Shared {
            limit: bytes - spare,
            spare,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
            names: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }))
    }

    /// A budget that is never exhausted, for tests and for connections in memory.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX / 4)
    }

    /// The largest single request that always finds room, sooner or later.
    pub fn request_bytes_max(&self) -> usize {
        self.0.spare
    }

    /// The numbers now.
    pub fn numbers(&self) -> BudgetNumbers {
        let shared = &self.0;
        let excess = shared.state().excess.map_or(0, |(_, bytes)| bytes);
        BudgetNumbers {
            limit_bytes: (shared.limit + shared.spare) as u64,
            used_bytes: (shared.used.load(Relaxed) + excess) as u64,
            waiting: shared.waiting.load(Relaxed) as u64,
            waits_total: shared.waits.load(Relaxed),
            evicted_total: shared.evicted.load(Relaxed),
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has to be left over when an account holds so much.
    pub(super) fn left_by(&self, wanted: usize) -> usize {
        if wanted <= LITTLE_BYTES {
            0
        } else if wanted <= MODEST_BYTES {
            self.limit / LEFT_BY_MODEST_PART
        } else {
            self.limit / LEFT_BY_OTHERS_PART + wanted
        }
    }

    /// Takes `need` for an account that has `have`, if its share allows it. Those who wait come first, unless it asks
    /// for little.
    pub(super) fn try_take(&self, have: usize, need: usize, waited: bool) -> bool {
        let wanted = have + need;
        if !waited && wanted > LITTLE_BYTES && self.waiting.load(SeqCst) > 0 {
            return false;
        }
        let mut used = self.used.load(SeqCst);
        loop {
            let left = self.limit.saturating_sub(used).checked_sub(need);
            if left.is_none_or(|left| left < self.left_by(wanted)) {
                return false;
            }
            let taken = self
                .used
                .compare_exchange_weak(used, used + need, SeqCst, SeqCst);
            match taken {
                Ok(_) => return true,
                Err(now) => used = now,
            }
        }
    }

    /// How much to take for what is needed: more than that, while there is plenty.
    pub(super) fn piece(&self, need: usize) -> usize {
        let plenty = self.used.load(Relaxed) < self.limit / 2;
        let piece = if plenty {
            PIECE_BYTES
        } else {
            SMALL_PIECE_BYTES
        };
        need.next_multiple_of(piece)
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.serve(&mut self.state());
        }
    }

    /// Gives back what the account took beyond its share; with the last of it the next one's turn comes.
    pub(super) fn give_back_excess(&self, name: u64, bytes: usize) {
        let mut state = self.state();
        if let Some((holder, taken)) = &mut state.excess
            && *holder == name
        {
            *taken = taken.saturating_sub(bytes);
            if *taken == 0 {
                state.excess = None;
            }
            self.serve(&mut state);
        }
    }

    /// An account that waits itself has less than it had when it lined up: its turn comes earlier.
    pub(super) fn moved_up(&self, name: u64, have: usize) {
        let mut state = self.state();
        state.waiters.move_up(name, have);
        if let Some((holder, taken)) = state.excess
            && holder == name
            && let Some(need) = state.waiters.need_of(name)
            && taken + need <= self.spare
        {
            state.excess = Some((name, taken + need));
            state.waiters.grant_to(name, Grant::Excess(need));
        }
        self.serve(&mut state);
    }

    /// Serves those who wait, as far as there is something.
    pub(super) fn serve(&self, state: &mut State) {
        while let Some((have, need)) = state.waiters.least() {
            if !self.try_take(have, need, true) {
                break;
            }
            state.waiters.grant_least(Grant::Share(need));
        }
        if state.excess.is_none()
            && let Some((age, name, need)) = state.waiters.oldest(self.spare)
        {
            state.excess = Some((name, need));
            state.waiters.grant(age, Grant::Excess(need));
        }
        self.waiting.store(state.waiters.len(), SeqCst);
    }

    /// An account has to wait: logs it, not too often.
    pub(super) fn warn(&self, state: &mut State) {
        if let Some(greatest) = state.holders.warning() {
            tracing::warn!(
                limit_bytes = self.limit + self.spare,
                used_bytes = self.used.load(Relaxed),
                holders = state.holders.len(),
                greatest,
                "memory budget is exhausted, connections wait"
            );
        }
    }

    /// Looks for holders that make others wait and whose peers do nothing about it; closes them.
    pub(super) fn look(&self) {
        let mut state = self.state();
        if state.waiters.len() == 0 {
            return;
        }
        let waiting: BTreeSet<u64> = state.waiters.names().collect();
        let look = Look {
            limit: self.limit,
            excess: state.excess.map(|(name, _)| name),
            waiting,
        };
        let evicted = state.holders.look(&look);
        drop(state);
        for account in evicted {
            self.evicted.fetch_add(1, Relaxed);
            let (protocol, peer) = account.client();
            let bytes = account.taken();
            tracing::info!(protocol, %peer, bytes, "connection closed: it held memory without progress while others waited");
            account.evict();
        }
    }
}
