//! Answers that wait for the log.

use std::collections::VecDeque;
use std::sync::Arc;

use storage::{Durability, Lsn, Progress};

use crate::Verdicts;
use crate::partition::Partition;

/// A decided command whose answer waits.
pub(super) struct Waiting {
    /// Partitions that grow by this, and how far they may then be read.
    pub(super) grown: Vec<(Arc<Partition>, u64)>,
    /// Sends the answer.
    pub(super) answer: Reply,
}

/// How an answer reaches who asked.
pub(super) enum Reply {
    /// To a publisher, with the memory it held.
    Publish {
        /// Where to.
        done: tokio::sync::oneshot::Sender<Verdicts>,
        /// What.
        verdicts: Verdicts,
        /// Room it took, given back with the answer.
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    },
    /// Anything else.
    Call(Box<dyn FnOnce() + Send>),
}

impl Waiting {
    /// Makes it true for readers, then answers.
    pub(super) fn send(self) {
        for (partition, upto) in self.grown {
            partition.advance(upto);
        }
        match self.answer {
            Reply::Publish {
                done,
                verdicts,
                permit,
            } => {
                drop(permit);
                let _ = done.send(verdicts);
            }
            Reply::Call(call) => call(),
        }
    }
}

/// Answers in the order of their log positions, one line per durability.
#[derive(Default)]
pub(super) struct Pending {
    synced: VecDeque<(Lsn, Waiting)>,
    written: VecDeque<(Lsn, Waiting)>,
}

impl Pending {
    /// Queues an answer for when the log has reached `lsn`.
    pub(super) fn push(&mut self, lsn: Lsn, durability: Durability, waiting: Waiting) {
        let line = match durability {
            Durability::Sync | Durability::Vital => &mut self.synced,
            Durability::Flush => &mut self.written,
        };
        assert!(
            line.back().is_none_or(|(last, _)| *last <= lsn),
            "log positions only grow"
        );
        line.push_back((lsn, waiting));
    }

    /// Takes out the next answer the log has caught up with.
    pub(super) fn pop(&mut self, reached: Progress) -> Option<Waiting> {
        pop(&mut self.written, reached.written).or_else(|| pop(&mut self.synced, reached.durable))
    }

    /// Position of the last answer queued for this durability.
    pub(super) fn newest(&self, durability: Durability) -> Lsn {
        let line = match durability {
            Durability::Sync | Durability::Vital => &self.synced,
            Durability::Flush => &self.written,
        };
        line.back().map_or(Lsn(0), |(lsn, _)| *lsn)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.synced.is_empty() && self.written.is_empty()
    }

    /// Drops every answer: whoever waits sees the channel close and reports that the broker is unavailable.
    pub(super) fn fail(&mut self) {
        self.synced.clear();
        self.written.clear();
    }
}

fn pop(line: &mut VecDeque<(Lsn, Waiting)>, reached: Lsn) -> Option<Waiting> {
    line.pop_front_if(|(lsn, _)| *lsn <= reached)
        .map(|(_, waiting)| waiting)
}
