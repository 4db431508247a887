//! Those who wait for a budget: served in the order of what they would hold then, and known by the time they have waited.
//!
//! What one asks for counts like what it has: one who has nothing and wants what cannot be had must not stand in front of
//! those who want little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What an account that waited was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Bytes of its share.
    Share(usize),
    /// Bytes beyond it.
    Excess(usize),
}

/// Where one waits.
#[derive(Debug, Default)]
pub(super) struct Place(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    granted: Option<Grant>,
    waker: Option<Waker>,
}

impl Place {
    /// What was given; registers to be woken when nothing was.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Grant> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = waiting.granted.take() {
            return Poll::Ready(grant);
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What was given and not fetched.
    pub(super) fn take(&self) -> Option<Grant> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.granted.take()
    }

    fn grant(&self, grant: Grant) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.granted = Some(grant);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Waiter {
    /// The account.
    name: u64,
    have: usize,
    need: usize,
    place: Arc<Place>,
}

/// What an account would hold, and a number that rises with time.
type Key = (usize, u64);

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_wanted: BTreeMap<Key, Waiter>,
    by_age: BTreeMap<u64, usize>,
    count: u64,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.by_wanted.len()
    }

    /// An account that holds `have` waits for `need` more. Returns its age.
    pub(super) fn add(&mut self, name: u64, have: usize, need: usize, place: &Arc<Place>) -> u64 {
        self.count += 1;
        let key = (have + need, self.count);
        let waiter = Waiter {
            name,
            have,
            need,
            place: Arc::clone(place),
        };
        self.by_wanted.insert(key, waiter);
        self.by_age.insert(key.1, key.0);
        key.1
    }

    /// The one of this age does not wait any more.
    pub(super) fn remove(&mut self, age: u64) {
        if let Some(wanted) = self.by_age.remove(&age) {
            self.by_wanted.remove(&(wanted, age));
        }
    }

    /// What the one who would hold least has and needs.
    pub(super) fn least(&self) -> Option<(usize, usize)> {
        let (_, waiter) = self.by_wanted.first_key_value()?;
        Some((waiter.have, waiter.need))
    }

    pub(super) fn grant_least(&mut self, grant: Grant) {
        if let Some((key, waiter)) = self.by_wanted.pop_first() {
            self.by_age.remove(&key.1);
            waiter.place.grant(grant);
        }
    }

    /// The one that has waited longest of those who need no more than `most`: its age, account and need.
    pub(super) fn oldest(&self, most: usize) -> Option<(u64, u64, usize)> {
        let mut waiters = self.by_age.iter().filter_map(|(age, wanted)| {
            let waiter = self.by_wanted.get(&(*wanted, *age))?;
            Some((*age, waiter.name, waiter.need))
        });
        waiters.find(|(_, _, need)| *need <= most)
    }

    /// Grants the one of this age.
    pub(super) fn grant(&mut self, age: u64, grant: Grant) {
        if let Some(wanted) = self.by_age.remove(&age)
            && let Some(waiter) = self.by_wanted.remove(&(wanted, age))
        {
            waiter.place.grant(grant);
        }
    }

    /// An account has so much now, which is less than it had.
    pub(super) fn move_up(&mut self, name: u64, have: usize) {
        let of_account = self
            .by_wanted
            .extract_if(.., |_, waiter| waiter.name == name);
        let moved: Vec<_> = of_account.collect();
        for ((_, age), waiter) in moved {
            let waiter = Waiter { have, ..waiter };
            let wanted = have + waiter.need;
            self.by_age.insert(age, wanted);
            self.by_wanted.insert((wanted, age), waiter);
        }
    }

    /// What an account that waits needs.
    pub(super) fn need_of(&self, name: u64) -> Option<usize> {
        let mut waiters = self.by_wanted.values();
        waiters.find(|w| w.name == name).map(|w| w.need)
    }

    /// Grants the first that waits for an account.
    pub(super) fn grant_to(&mut self, name: u64, grant: Grant) {
        let found = self.by_wanted.iter().find(|(_, w)| w.name == name);
        let Some(key) = found.map(|(key, _)| *key) else {
            return;
        };
        if let Some(waiter) = self.by_wanted.remove(&key) {
            self.by_age.remove(&key.1);
            waiter.place.grant(grant);
        }
    }

    /// The accounts that wait.
    pub(super) fn names(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_wanted.values().map(|waiter| waiter.name)
    }
}
