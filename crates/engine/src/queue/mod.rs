//! Queues: a log read by lease. The broker owns the position and leases each message for a while.
//!
//! What a queue is made of, what goes in and comes out; the state machine of one partition's messages is the crate
//! `delivery`.

mod consumer;
mod credit;
mod handover;
mod message;
mod numbers;
mod poll;
mod reader;
mod receipt;
mod table;
mod unacked;

pub(crate) use consumer::{Consumer, ConsumerEvent, Handed, OnTheWay, Reader};
pub use credit::Credit;
pub(crate) use credit::{Mailbox, SessionMessage, Source};
pub(crate) use delivery::DeadLetterCause;
pub use delivery::reserved::RESERVED;
pub use delivery::{
    After, Backoff, DeadLetter, DeadLetterEvent, DeadLetterExchange, DeadLetterPolicy,
    DeadLetterReason, DedupScope, Failure, FailureClass, Growth, Held, Key, Lifetime, Limits,
    Ordering, Overflow, QueueSettings, QueueType, Settled, Settlement, fuzz,
};
pub(crate) use handover::hand_over;
pub use message::{DeadLetters, Delivered, Depth, MoveState, MoveTask, NewMessage, Receive, Sent};
pub(crate) use numbers::Numbers;
pub(crate) use poll::{Leases, Poll, QueuePartitionId, Undo, Undone};
pub use reader::Position;
pub use receipt::Receipt;
pub use table::Queues;
pub use unacked::UnackedMessage;

pub use crate::fuzz::fuzz_batch;

use std::sync::Arc;

use delivery::stored_settings;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    #[serde(with = "stored_settings")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_what_differs_and_means_the_same() {
        let document = |settings: QueueSettings| QueueDocument {
            id: Uuid::nil(),
            topic: Uuid::nil(),
            owns_topic: true,
            created_ms: 1,
            changed_ms: 2,
            settings: settings.shared(),
        };
        let plain = serde_json::to_value(document(QueueSettings::default())).unwrap();
        assert_eq!(plain["settings"], serde_json::json!({}));
        let changed = document(QueueSettings {
            ordering: Ordering::Key,
            delay_ms: 5,
            dead_letter: Some(DeadLetterPolicy {
                queue: "dead".into(),
                attempts_max: 3,
            }),
            ..QueueSettings::default()
        });
        let text = serde_json::to_string(&changed).unwrap();
        assert_eq!(
            serde_json::from_str::<QueueDocument>(&text).unwrap(),
            changed
        );
    }
}
