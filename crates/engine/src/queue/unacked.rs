//! Messages that a session has and has not settled.

use std::sync::Arc;

use super::Settlement;
use super::consumer::{Consumer, Handed};
use super::credit::{SessionMessage, Source};

/// A message in flight to a session. One that is dropped without being settled goes back: its session is gone.
#[derive(Debug)]
pub struct UnackedMessage {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) offset: u64,
    pub(crate) lease: u64,
    /// What is said when it is dropped; nothing when it was settled.
    outcome: Option<Settlement>,
}

impl UnackedMessage {
    pub(crate) fn new(consumer: &Arc<Consumer>, offset: u64, lease: u64) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            offset,
            lease,
            outcome: Some(Settlement::lost(false)),
        }
    }

    fn with(mut self, outcome: Settlement) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// What the session calls the consumer that has it.
    pub fn consumer(&self) -> u64 {
        self.consumer.number
    }

    /// It could not be read: counts as a failure.
    pub(crate) fn failed(self) {
        drop(self.with(Settlement::FAIL));
    }

    /// Whether the message was read, not leased: nothing has to be settled.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.consumer.source, Source::Log(_))
    }

    /// It is settled in another way. Its room is free.
    pub(crate) fn settled(mut self) {
        self.outcome = None;
        self.consumer.give(1);
    }

    /// The same, with what its queue partition is told; nothing where it was read, not leased.
    pub(crate) fn settled_by(self, settlement: Settlement) -> Option<(u64, u64, Settlement)> {
        let settles = (self.offset, self.lease, settlement);
        let is_read = self.is_read();
        self.settled();
        (!is_read).then_some(settles)
    }
}

impl Drop for UnackedMessage {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else {
            return;
        };
        let back = SessionMessage::Back {
            at: self.consumer.at,
            settles: (self.offset, self.lease, outcome),
        };
        self.consumer.source.give_back(back);
        self.consumer.give(1);
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let count = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        self.consumer.outbox.give(count);
        for lease in &self.leases {
            let (offset, lease) = (lease.offset, lease.number);
            drop(UnackedMessage::new(&self.consumer, offset, lease).with(Settlement::Undo));
        }
    }
}
