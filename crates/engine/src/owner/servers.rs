//! Tasks that serve partitions for requests that no task waits for: what consumers have settled, and that they have room
//! again. A session does not do that itself: until one of these tasks comes to it, more of the same has come, and all of it
//! is one commit.

use std::sync::Arc;

use storage::supervisor::Owner;
use tokio::sync::{mpsc, watch};

use super::PartitionOwner;

/// Where the tasks are called, each for a part of all partitions.
pub(super) struct Servers(Box<[mpsc::UnboundedSender<Arc<PartitionOwner>>]>);

/// What one of the tasks receives.
pub(super) type Calls = mpsc::UnboundedReceiver<Arc<PartitionOwner>>;

impl Servers {
    /// One for each processor, with what each of them receives.
    pub(super) fn new() -> (Self, Vec<Calls>) {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let (senders, calls): (Vec<_>, _) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        (Self(senders.into()), calls)
    }

    /// Has a partition served soon. It must not be called again before that begins: so the calls that wait are no more
    /// than there are partitions.
    pub(super) fn call(&self, owner: &Arc<PartitionOwner>) {
        let (topic, index) = owner.key();
        let number = topic.as_u128().wrapping_add(index.into()) % self.0.len() as u128;
        let server = &self.0[usize::try_from(number).unwrap_or(0)];
        // A broker that has ended serves nothing.
        let _ = server.send(Arc::clone(owner));
    }
}

/// Serves partitions, until the broker is gone.
pub(super) async fn run(owner: Owner, mut calls: Calls, mut ended: watch::Receiver<()>) {
    loop {
        owner.rest();
        let called = tokio::select! {
            biased;
            called = calls.recv() => called,
            _ = ended.changed() => return,
        };
        let Some(called) = called else { return };
        owner.turn();
        called.serve_called();
    }
}
