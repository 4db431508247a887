//! Tasks that serve partitions for requests that no task waits for: what consumers have settled, and that they have room
//! again. A session does not do that itself: until one of these tasks comes to it, more of the same has come, and all of it
//! is one commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::partition::PartitionKey;

/// Something that one of the tasks serves.
pub(super) trait Served: Send + Sync {
    /// Which partition it is.
    fn key(&self) -> PartitionKey;

    /// Does what waits, as one that was called.
    fn serve_called(self: Arc<Self>);
}

/// Where the tasks are called, each for a part of all partitions.
pub(super) struct Servers(Box<[mpsc::UnboundedSender<Arc<dyn Served>>]>);

/// What one of the tasks receives.
pub(super) type Calls = mpsc::UnboundedReceiver<Arc<dyn Served>>;

impl Servers {
    /// One for each processor, with what each of them receives.
    pub(super) fn new() -> (Self, Vec<Calls>) {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let (senders, calls): (Vec<_>, _) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        (Self(senders.into()), calls)
    }

    /// Has a partition served soon. It must not be called again before that begins: so the calls that wait are no more
    /// than there are partitions.
    pub(super) fn call(&self, owner: Arc<dyn Served>) {
        let (topic, index) = owner.key();
        let number = topic.as_u128().wrapping_add(index.into()) % self.0.len() as u128;
        let server = &self.0[usize::try_from(number).unwrap_or(0)];
        // A broker that has ended serves nothing.
        let _ = server.send(owner);
    }
}
