//! What is made of the records of a topic for a queue that is about to be attached to it.

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::QueuePartition;
use uuid::Uuid;

use crate::memory::StateShare;
use crate::queue::QueueSettings;

/// What a new queue makes of the records that its topic has already: made by who wants the queue, before the controller has
/// to wait for it.
pub(super) struct Prepared {
    pub(super) topic: Uuid,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) parts: VecDeque<Part>,
}

/// A queue partition that is being made of a partition's records.
pub(super) struct Part {
    pub(super) queue_partition: QueuePartition,
    /// Records that had to be looked into.
    pub(super) looked_into: u64,
    pub(super) share: StateShare,
    /// The controller makes it, and shows by it that it lives.
    pub(super) by_controller: bool,
}
