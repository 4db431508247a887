//! Those who wait for a budget: served in the order of what they hold already, and known by the time they have waited.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What somebody who waited was given.
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
    need: usize,
    place: Arc<Place>,
}

/// What somebody holds, and a number that rises with time.
type Key = (usize, u64);

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_held: BTreeMap<Key, Waiter>,
    by_age: BTreeMap<u64, usize>,
    count: u64,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.by_held.len()
    }

    /// Somebody who holds `have` waits for `need` more. Returns its age.
    pub(super) fn add(&mut self, name: u64, have: usize, need: usize, place: &Arc<Place>) -> u64 {
        self.count += 1;
        let key = (have, self.count);
        let waiter = Waiter {
            name,
            need,
            place: Arc::clone(place),
        };
        self.by_held.insert(key, waiter);
        self.by_age.insert(key.1, have);
        key.1
    }

    /// The one of this age does not wait any more.
    pub(super) fn remove(&mut self, age: u64) {
        if let Some(have) = self.by_age.remove(&age) {
            self.by_held.remove(&(have, age));
        }
    }

    /// What the one who holds least has and needs.
    pub(super) fn least(&self) -> Option<(usize, usize)> {
        let (key, waiter) = self.by_held.first_key_value()?;
        Some((key.0, waiter.need))
    }

    pub(super) fn grant_least(&mut self, grant: Grant) {
        if let Some((key, waiter)) = self.by_held.pop_first() {
            self.by_age.remove(&key.1);
            waiter.place.grant(grant);
        }
    }

    /// The account that has waited longest, and what it needs.
    pub(super) fn oldest(&self) -> Option<(u64, usize)> {
        let (age, have) = self.by_age.first_key_value()?;
        let waiter = self.by_held.get(&(*have, *age))?;
        Some((waiter.name, waiter.need))
    }

    pub(super) fn grant_oldest(&mut self, grant: Grant) {
        if let Some((age, have)) = self.by_age.pop_first()
            && let Some(waiter) = self.by_held.remove(&(have, age))
        {
            waiter.place.grant(grant);
        }
    }

    /// An account has so much now, which is less than it had.
    pub(super) fn move_up(&mut self, name: u64, have: usize) {
        let of_account = self.by_held.extract_if(.., |_, waiter| waiter.name == name);
        let moved: Vec<_> = of_account.collect();
        for ((_, age), waiter) in moved {
            self.by_age.insert(age, have);
            self.by_held.insert((have, age), waiter);
        }
    }

    /// What an account that waits needs.
    pub(super) fn need_of(&self, name: u64) -> Option<usize> {
        let mut waiters = self.by_held.values();
        waiters.find(|w| w.name == name).map(|w| w.need)
    }

    /// Grants the first that waits for an account.
    pub(super) fn grant_to(&mut self, name: u64, grant: Grant) {
        let found = self.by_held.iter().find(|(_, w)| w.name == name);
        let Some(key) = found.map(|(key, _)| *key) else {
            return;
        };
        if let Some(waiter) = self.by_held.remove(&key) {
            self.by_age.remove(&key.1);
            waiter.place.grant(grant);
        }
    }

    /// The accounts that wait.
    pub(super) fn names(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_held.values().map(|waiter| waiter.name)
    }
}
