//! A receiver that waits: known to every queue partition it could be served from, served by one of them.

use std::sync::{Mutex, PoisonError};

use delivery::Lease;
use security::Principal;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::Result;

/// Messages leased together out of one queue partition. Dropping it without [`Leases::keep`] gives them
/// back as if they had never been leased: the receiver that should have had them is gone.
#[derive(Debug)]
pub(crate) struct Leases {
    /// Where from.
    pub(crate) at: QueuePartitionId,
    /// What the receiver gets about each.
    pub(crate) each: Vec<Lease>,
    undo: Option<Undo>,
}

/// How leases are given back.
pub(crate) type Undo = Box<dyn Undone>;

/// Gives leases back.
pub(crate) trait Undone: Send + Sync + std::fmt::Debug {
    /// Called at most once for each lease.
    fn undo(&self, at: QueuePartitionId, leases: Vec<Lease>);
}

/// Names a queue partition: a queue's share of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueuePartitionId {
    /// The topic.
    pub(crate) topic: Uuid,
    /// The partition.
    pub(crate) index: u32,
    /// The queue.
    pub(crate) queue: Uuid,
}

impl Leases {
    pub(crate) fn new(at: QueuePartitionId, each: Vec<Lease>, undo: Undo) -> Self {
        Self {
            at,
            each,
            undo: Some(undo),
        }
    }

    /// Gives back all but the first so many.
    pub(crate) fn cut(&mut self, count: usize) {
        let rest = self.each.split_off(count.min(self.each.len()));
        if let Some(undo) = &self.undo {
            undo.undo(self.at, rest);
        }
    }

    /// Whether they can be given back: an earlier receiver may not hold them.
    pub(crate) fn is_new(&self) -> bool {
        self.undo.is_some()
    }

    /// Leases an earlier receiver may hold: dropping them gives nothing back.
    pub(crate) fn repeated(at: QueuePartitionId, each: Vec<Lease>) -> Self {
        Self {
            at,
            each,
            undo: None,
        }
    }

    /// Nothing.
    pub(crate) fn none(at: QueuePartitionId) -> Self {
        Self {
            at,
            each: Vec::new(),
            undo: None,
        }
    }

    /// The receiver has them.
    pub(crate) fn keep(mut self) {
        self.undo = None;
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take().filter(|_| !self.each.is_empty()) {
            undo.undo(self.at, std::mem::take(&mut self.each));
        }
    }
}

/// A receiver, waiting or not.
#[derive(Debug)]
pub(crate) struct Poll {
    /// Messages at most.
    pub(crate) max: usize,
    /// How long they are leased, ms; absent: the queue's.
    pub(crate) lease_ms: Option<u64>,
    /// Name of the attempt.
    pub(crate) attempt: Option<String>,
    /// When to answer whatever there is, ms; 0: at once.
    pub(crate) deadline: u64,
    /// Who receives.
    pub(crate) principal: Principal,
    answer: Mutex<Option<oneshot::Sender<Result<Leases>>>>,
}

impl Poll {
    /// A receiver and the channel of its answer.
    pub(crate) fn new(
        max: usize,
        lease_ms: Option<u64>,
        attempt: Option<String>,
        deadline: u64,
        principal: Principal,
    ) -> (Self, oneshot::Receiver<Result<Leases>>) {
        let (answer, answered) = oneshot::channel();
        let poll = Self {
            max,
            lease_ms,
            attempt,
            deadline,
            principal,
            answer: Mutex::new(Some(answer)),
        };
        (poll, answered)
    }

    /// Takes the right to answer; `None` when another queue partition has it, or the receiver is gone.
    pub(crate) fn take_answer(&self) -> Option<oneshot::Sender<Result<Leases>>> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.take().filter(|answer| !answer.is_closed())
    }

    /// Whether it still wants an answer.
    pub(crate) fn is_open(&self) -> bool {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.as_ref().is_some_and(|answer| !answer.is_closed())
    }
}
