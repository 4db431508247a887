//! Who consumes from which queue, and which queues belong to which session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{Error, Result};

/// What the queue expiry task is sent.
pub(super) enum ExpiryMessage {
    /// A session has ended.
    Ended {
        session: Uuid,
        done: Option<oneshot::Sender<()>>,
    },
    /// A queue's last consumer has left.
    Unused { queue: Uuid },
    /// Everything that was message before is done.
    Mark { done: oneshot::Sender<()> },
    /// A queue that expires was used.
    Used { queue: Uuid },
}

/// Who consumes from which queue, and which queues belong to which session.
#[derive(Debug, Default)]
pub(super) struct ConsumerRegistry {
    inner: Mutex<Tables>,
}

/// A consumer of a queue.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) session: Uuid,
    /// What its client calls it.
    pub(super) name: Arc<str>,
    pub(super) priority: i32,
    /// It wants to be the only one.
    pub(super) exclusive: bool,
}

#[derive(Debug, Default)]
struct Tables {
    /// Consumers by queue.
    consumers: HashMap<Uuid, Vec<Known>>,
    /// Exclusive queues by session.
    owned: HashMap<Uuid, Vec<Uuid>>,
}

impl ConsumerRegistry {
    /// Enters a consumer. Errors: `InUse` when it, or another one, wants to be the only one.
    pub(super) fn join(&self, queue: Uuid, consumer: Known) -> Result<()> {
        let mut tables = self.lock();
        let there = tables.consumers.entry(queue).or_default();
        let refused = if consumer.exclusive {
            !there.is_empty()
        } else {
            there.iter().any(|known| known.exclusive)
        };
        if refused {
            return Err(Error::InUse);
        }
        there.push(consumer);
        Ok(())
    }

    /// Takes a consumer out; returns whether it was the last.
    pub(super) fn leave(&self, queue: Uuid, consumer: u64) -> bool {
        let mut tables = self.lock();
        let Some(there) = tables.consumers.get_mut(&queue) else {
            return false;
        };
        there.retain(|known| known.id != consumer);
        let was_last = there.is_empty();
        if was_last {
            tables.consumers.remove(&queue);
        }
        was_last
    }

    /// How many consumers a queue has.
    pub(super) fn count(&self, queue: Uuid) -> u32 {
        let tables = self.lock();
        let there = tables.consumers.get(&queue).map_or(0, Vec::len);
        u32::try_from(there).unwrap_or(u32::MAX)
    }

    /// The `max` consumers with the lowest ids above `after`, of one queue or of all, each with its queue.
    pub(super) fn list(&self, queue: Option<Uuid>, after: u64, max: usize) -> Vec<(Uuid, Known)> {
        let tables = self.lock();
        let wanted = tables.consumers.iter();
        let wanted = wanted.filter(|(id, _)| queue.is_none_or(|only| only == **id));
        let each = wanted.flat_map(|(id, all)| all.iter().map(|known| (*id, known)));
        let mut found: Vec<(Uuid, &Known)> = each.filter(|(_, k)| k.id > after).collect();
        found.sort_unstable_by_key(|(_, known)| known.id);
        let page = found.into_iter().take(max);
        page.map(|(id, known)| (id, known.clone())).collect()
    }

    /// A queue belongs to a session.
    pub(super) fn own(&self, session: Uuid, queue: Uuid) {
        self.lock().owned.entry(session).or_default().push(queue);
    }

    pub(super) fn disown(&self, session: Uuid) -> Vec<Uuid> {
        self.lock().owned.remove(&session).unwrap_or_default()
    }

    /// A queue is gone.
    pub(super) fn forget(&self, queue: Uuid, owner: Option<Uuid>) {
        let mut tables = self.lock();
        tables.consumers.remove(&queue);
        if let Some(owner) = owner
            && let Some(owned) = tables.owned.get_mut(&owner)
        {
            owned.retain(|id| *id != queue);
            if owned.is_empty() {
                tables.owned.remove(&owner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
