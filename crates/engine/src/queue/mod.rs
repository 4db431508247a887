//! Queues: a log read by lease. The broker owns the position and leases each message for a while.
//!
//! What a queue is made of, what goes in and comes out; the state machine that owns the delivery of one
//! partition's messages stands in `queue_partition`.

mod consumer;
pub(crate) mod dead_letter_history;
mod handover;
mod message;
mod numbers;
mod poll;
pub(crate) mod queue_partition;
pub(crate) mod reader;
mod receipt;
pub(crate) mod reserved;
mod settings;
mod settlement;
mod table;
pub(crate) mod via;

pub(crate) use consumer::{Consumer, ConsumerEvent, Handed, Mailbox, SessionMessage, Source};
pub use consumer::{Credit, UnackedMessage};
pub use dead_letter_history::{DeadLetterEvent, Key};
pub(crate) use handover::{OnTheWay, hand_over};
pub(crate) use message::DeadLetterCause;
pub use message::{
    DeadLetter, DeadLetterReason, DeadLetters, Delivered, Depth, Held, MoveState, MoveTask,
    NewMessage, Receive, Sent,
};
pub(crate) use numbers::Numbers;
pub(crate) use poll::{Leases, Poll, QueuePartitionId, Undo, Undone};
pub use queue_partition::{fuzz, fuzz_batch};
pub use reader::Position;
pub use receipt::Receipt;
pub use settings::{
    After, Backoff, DeadLetterExchange, DeadLetterPolicy, DedupScope, Growth, Lifetime, Limits,
    Ordering, Overflow, QueueSettings, QueueType,
};
pub use settlement::{Failure, FailureClass, Settled, Settlement};
pub use table::Queues;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names of record headers that begin with this belong to the broker and its frontends.
pub const RESERVED: &str = "forebay.";

/// A queue as the catalog stores it (`queues/<name>`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDocument {
    /// Identity; a queue made again under the same name has another one.
    pub id: Uuid,
    /// The topic whose records it leases.
    pub topic: Uuid,
    /// The topic was made for this queue, bears its name, and goes with it.
    pub owns_topic: bool,
    /// When it was made, ms.
    pub created_ms: u64,
    /// When its settings last changed, ms.
    pub changed_ms: u64,
    /// How it behaves. Stored is what differs from the default, which therefore never changes.
    #[serde(
        serialize_with = "settings::differences",
        deserialize_with = "settings::shared"
    )]
    pub settings: Arc<QueueSettings>,
}

/// A queue as the running broker knows it.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Name.
    pub name: Arc<str>,
    /// The stored document.
    pub document: Arc<QueueDocument>,
    /// Version of the document.
    pub version: u64,
    /// Partitions of the topic, each of which has a queue partition.
    pub partitions: u32,
    /// How it behaves: as it was declared, and as the policies want it that apply to it.
    pub(crate) effective: Arc<QueueSettings>,
    /// What is counted about it.
    pub(crate) numbers: Arc<Numbers>,
}

impl Queue {
    /// The queue's identity.
    pub fn id(&self) -> Uuid {
        self.document.id
    }

    /// How full it is and what happened to it, as its owners last said; a lease that has just run out may still count
    /// as one. For the moment itself ask [`crate::Access::queue_depth`].
    pub fn numbers(&self) -> Depth {
        self.numbers.depth()
    }

    /// How it behaves: as it was declared, and as the policies want it that apply to it.
    pub fn settings(&self) -> &QueueSettings {
        &self.effective
    }
}

/// A queue to be made.
#[derive(Debug, Clone, Default)]
pub struct NewQueue {
    /// Name, qualified by its vhost; see [`crate::vhost`]. Only one that follows the rules of topic names can be read
    /// by offset.
    pub name: String,
    /// How it behaves.
    pub settings: QueueSettings,
    /// The topic to lease from. Absent: the topic of the queue's own name, which is made when there is none.
    pub topic: Option<String>,
}
