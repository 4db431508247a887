//! Records that batches of several streams have in common.

use std::sync::atomic::AtomicU32;

use crate::Batch;

/// What they have in common. Its memory counts once, as long as any of those batches is held.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: u64,
    /// Batches that are held, by why they are.
    pub(super) holders: [AtomicU32; 2],
}

impl Body {
    /// The records of this batch, which nobody holds yet.
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            bytes: batch.body().len() as u64,
            holders: Default::default(),
        }
    }
}
