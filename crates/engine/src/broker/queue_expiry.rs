//! Queue expiry: removes the exclusive queues of a session that ended, auto-delete queues whose last consumer left, and
//! queues that were not used for as long as their settings say.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use storage::supervisor::Owner;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Inner;
use super::controller::Command;
use super::queues::Removal;
use crate::{Error, Result};

/// How long it sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

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

    fn disown(&self, session: Uuid) -> Vec<Uuid> {
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

/// When which queue expires.
#[derive(Default)]
struct Expiring {
    due: BTreeSet<(u64, Uuid)>,
    by_queue: HashMap<Uuid, u64>,
}

impl Expiring {
    fn schedule(&mut self, queue: Uuid, due: u64) {
        if let Some(before) = self.by_queue.insert(queue, due) {
            self.due.remove(&(before, queue));
        }
        self.due.insert((due, queue));
    }

    fn pop(&mut self, now: u64) -> Option<Uuid> {
        let (due, queue) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, queue));
        self.by_queue.remove(&queue);
        Some(queue)
    }
}

/// Removes what has to go, until the broker is gone.
pub(super) async fn run(
    inner: Weak<Inner>,
    owner: Owner,
    mut messages: mpsc::UnboundedReceiver<ExpiryMessage>,
) {
    let mut expiring = Expiring::default();
    loop {
        owner.turn();
        let Some(strong) = inner.upgrade() else {
            return;
        };
        let now = strong.clock.now_ms();
        while let Some(queue) = expiring.pop(now) {
            owner.turn();
            remove(&strong, queue, true).await;
        }
        let next = expiring.due.first();
        let sleep = next.map_or(IDLE, |(due, _)| {
            Duration::from_millis(due.saturating_sub(now))
        });
        // Whatever the clock does meanwhile.
        let sleep = sleep.min(strong.settings.maintenance_interval);
        drop(strong);
        owner.rest();
        tokio::select! {
            message = messages.recv() => {
                owner.turn();
                let Some(message) = message else { return };
                let Some(strong) = inner.upgrade() else { return };
                on_message(&strong, message, &mut expiring).await;
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

async fn on_message(inner: &Arc<Inner>, message: ExpiryMessage, expiring: &mut Expiring) {
    match message {
        ExpiryMessage::Ended { session, done } => {
            for queue in inner.consumer_registry.disown(session) {
                remove(inner, queue, false).await;
            }
            done.map(|done| done.send(()));
        }
        ExpiryMessage::Unused { queue } => remove(inner, queue, true).await,
        ExpiryMessage::Mark { done } => drop(done.send(())),
        ExpiryMessage::Used { queue } => {
            let known = inner.queues.with_id(queue);
            let expires = known.and_then(|queue| queue.settings().limits.expires_ms);
            if let Some(expires) = expires {
                expiring.schedule(queue, inner.clock.now_ms().saturating_add(expires));
            }
        }
    }
}

async fn remove(inner: &Arc<Inner>, queue: Uuid, if_unused: bool) {
    let Some(known) = inner.queues.with_id(queue) else {
        return;
    };
    if if_unused && inner.consumer_registry.count(queue) > 0 {
        // It is scheduled again when its last consumer leaves.
        return;
    }
    let (done, removed) = oneshot::channel();
    let command = Command::DeleteQueue {
        name: Arc::clone(&known.name),
        removal: Removal {
            id: Some(queue),
            if_unused,
            if_empty: false,
        },
        done,
    };
    if inner.controller.send(command).await.is_err() {
        return;
    }
    if let Ok(Err(error)) = removed.await
        && !matches!(error, Error::UnknownQueue | Error::InUse)
    {
        tracing::warn!(queue = %known.name, %error, "cannot delete expired queue");
    }
}
