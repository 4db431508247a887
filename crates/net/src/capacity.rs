//! How many connections may be open: one count per listener and one shared by all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A named number of slots; a connection occupies one until it ends.
#[derive(Clone, Debug)]
pub struct Capacity {
    slots: Arc<Semaphore>,
    max: usize,
}

/// One occupied slot, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Capacity {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Slots occupied now.
    pub fn used(&self) -> usize {
        self.max - self.slots.available_permits()
    }

    /// Slots there are.
    pub fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn take(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok().map(Slot)
    }
}
