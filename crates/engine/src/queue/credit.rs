//! Credits: how many messages a consumer may hold. Several consumers can share one, and every owner of a queue partition
//! may take from it. Who finds one used up is notified when there is room again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{QueuePartitionId, Settlement};

/// How many messages may be held at once.
#[derive(Debug)]
pub struct Credit {
    /// At most; `u32::MAX`: as many as there are.
    max: AtomicU32,
    pub(super) held: AtomicU32,
    /// Whether waiters are notified only when half of it is free: each time they are, they take what there is, and many at
    /// once cost less than one by one.
    is_lazy: bool,
    /// Who wants to know when there is room.
    waiters: Mutex<Vec<Waiter>>,
}

/// Who found a credit used up.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) consumer: u64,
    pub(super) at: QueuePartitionId,
    pub(super) source: Source,
}

/// Where a consumer's messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The owner of the queue partition leases them.
    QueuePartition(Arc<dyn Mailbox>),
    /// Its session reads them from the log, and is notified here that there is something to do.
    Log(Arc<Notify>),
}

/// Where the owner of a queue partition receives the messages of sessions.
pub(crate) trait Mailbox: Send + Sync + std::fmt::Debug {
    /// Hands something over; never waits.
    fn notify(self: Arc<Self>, event: SessionMessage);
}

impl Source {
    /// There is room again.
    fn serve(&self, at: QueuePartitionId) {
        match self {
            Self::QueuePartition(owner) => Arc::clone(owner).notify(SessionMessage::Serve(at)),
            Self::Log(session) => session.notify_one(),
        }
    }

    /// A message comes back that was not settled. What was read was never taken out.
    pub(super) fn give_back(&self, back: SessionMessage) {
        if let Self::QueuePartition(owner) = self {
            Arc::clone(owner).notify(back);
        }
    }
}

impl Credit {
    /// A credit of `max` messages; absent: without a limit.
    pub fn new(max: Option<u32>) -> Arc<Self> {
        Self::of(max.unwrap_or(u32::MAX), false)
    }

    /// The same for room that is not seen from outside: waiters are notified when half of it is free.
    pub(crate) fn lazy(max: u32) -> Arc<Self> {
        Self::of(max, true)
    }

    fn of(max: u32, is_lazy: bool) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicU32::new(max),
            held: AtomicU32::new(0),
            is_lazy,
            waiters: Mutex::default(),
        })
    }

    /// Changes how many may be held. Those that are held already stay.
    pub fn set_max(&self, max: Option<u32>) {
        self.max.store(max.unwrap_or(u32::MAX), Ordering::SeqCst);
        self.notify_waiters();
    }

    /// How many may be held at once.
    pub fn max(&self) -> Option<u32> {
        Some(self.max.load(Ordering::SeqCst)).filter(|max| *max < u32::MAX)
    }

    /// How many are held.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::SeqCst)
    }

    /// Takes room for up to `wanted` messages; returns for how many there was.
    pub(super) fn take(&self, wanted: u32) -> u32 {
        let max = self.max.load(Ordering::SeqCst);
        let mut granted = 0;
        let _ = self
            .held
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
                granted = wanted.min(max.saturating_sub(held));
                (granted > 0).then(|| held + granted)
            });
        granted
    }

    /// Gives room back.
    pub(crate) fn give(&self, count: u32) {
        if count > 0 {
            let held = self.held.fetch_sub(count, Ordering::SeqCst) - count;
            if !self.is_lazy || held <= self.max.load(Ordering::SeqCst) / 2 {
                self.notify_waiters();
            }
        }
    }

    fn notify_waiters(&self) {
        let waiters = std::mem::take(&mut *self.lock());
        for Waiter { at, source, .. } in waiters {
            source.serve(at);
        }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the owner of a queue partition receives from sessions.
#[derive(Debug)]
pub(crate) enum SessionMessage {
    /// A message comes back that was not settled.
    Back {
        at: QueuePartitionId,
        /// Its offset, its lease, and what becomes of it.
        settles: (u64, u64, Settlement),
    },
    /// A consumer is gone.
    Left { at: QueuePartitionId, consumer: u64 },
    /// A credit has room again.
    Serve(QueuePartitionId),
}
