//! What waits for a commit on a transactional channel.

use engine::Outgoing;
use engine::queue::{Settlement, UnackedMessage};

use super::Message;

/// Publishes, returns and acknowledgements that have not happened yet.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) outgoing: Vec<Outgoing>,
    /// Mandatory messages that found no queue.
    pub(crate) unroutable: Vec<Message>,
    pub(crate) settles: Vec<(u64, UnackedMessage, Settlement)>,
    /// Bytes of bodies in it.
    pub(crate) bytes: usize,
}
