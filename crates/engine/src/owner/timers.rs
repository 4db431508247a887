//! When which partition or group wants to be looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Something that wants to be looked at when its time has come.
pub(super) trait Timed: Send + Sync {
    /// Its time has come.
    fn on_time(self: Arc<Self>);
}

/// When it is due, and a number that tells it apart from others that are.
pub(super) type Due = (u64, u64);

#[derive(Default)]
struct Table {
    due: BTreeMap<Due, Weak<dyn Timed>>,
    numbers: u64,
    /// When the task wakes up next.
    wakes: u64,
}

/// All times that are kept.
#[derive(Default)]
pub(super) struct Timers {
    table: Mutex<Table>,
    pub(super) earlier: Notify,
}

impl Timers {
    /// Keeps a time in place of an earlier one; returns what names it.
    pub(super) fn set(
        &self,
        old: Option<Due>,
        due: Option<u64>,
        who: impl FnOnce() -> Weak<dyn Timed>,
    ) -> Option<Due> {
        if old.map(|(at, _)| at) == due {
            return old;
        }
        let mut table = self.lock();
        if let Some(old) = old {
            table.due.remove(&old);
        }
        let due = due?;
        table.numbers += 1;
        let key = (due, table.numbers);
        table.due.insert(key, who());
        if due < table.wakes {
            table.wakes = due;
            self.earlier.notify_one();
        }
        Some(key)
    }

    /// It is not to be looked at any more.
    pub(super) fn forget(&self, due: Option<Due>) {
        if let Some(due) = due {
            self.lock().due.remove(&due);
        }
    }

    pub(super) fn look_again(&self) {
        self.earlier.notify_one();
    }

    /// Takes out what is due.
    pub(super) fn take(&self, now: u64) -> Vec<Arc<dyn Timed>> {
        let mut table = self.lock();
        let later = table.due.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut table.due, later);
        due.into_values().filter_map(|who| who.upgrade()).collect()
    }

    /// When something is due next; from now on an earlier time wakes the task.
    pub(super) fn next(&self) -> Option<u64> {
        let mut table = self.lock();
        let next = table.due.first_key_value().map(|((at, _), _)| *at);
        table.wakes = next.unwrap_or(u64::MAX);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
