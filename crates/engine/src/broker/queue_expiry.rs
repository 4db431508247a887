//! Queue expiry: removes the exclusive queues of a session that ended, auto-delete queues whose last consumer left, and
//! queues that were not used for as long as their settings say.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::supervisor::Owner;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Inner;
use super::command::{Command, Removal};
use super::consumer_registry::ExpiryMessage;
use crate::Error;

/// How long it sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

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
