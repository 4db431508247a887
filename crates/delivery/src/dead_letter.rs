//! Why a message is dead-lettered, and what is kept of where it comes from.

use serde::{Deserialize, Serialize};

use crate::settlement::Failure;

/// Why a message was dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// It was leased too often.
    Attempts,
    /// A consumer refused it.
    Rejected,
    /// It was not consumed in time.
    Expired,
    /// The queue was full.
    #[serde(rename = "maxlen")]
    Overflow,
    /// It failed too often.
    DeliveryLimit,
}

impl DeadLetterReason {
    /// The reason in one word, as it stands in the metadata of dead letters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Overflow => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Why a message is dead-lettered, with what is known of the failure behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCause {
    /// Why.
    pub reason: DeadLetterReason,
    /// How its consumer said that it failed.
    pub failure: Option<Failure>,
}

impl DeadLetterCause {
    /// A consumer refused it.
    pub fn rejected(failure: Failure) -> Self {
        Self {
            reason: DeadLetterReason::Rejected,
            failure: Some(failure),
        }
    }
}

impl From<DeadLetterReason> for DeadLetterCause {
    fn from(reason: DeadLetterReason) -> Self {
        Self {
            reason,
            failure: None,
        }
    }
}

/// Why and from where a message was dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Name of the queue it failed in.
    pub queue: String,
    /// Why: the word of a [`DeadLetterReason`].
    pub reason: String,
    /// The class of the failure: the word of a [`FailureClass`](crate::FailureClass); absent where no consumer named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Why, in the words of the consumer that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Offset it had there.
    pub sequence: u64,
    /// Times it was leased there.
    pub attempts: u32,
    /// When it was sent there, ms.
    #[serde(default)]
    pub sent_ms: u64,
    /// When it was sent for the first time, to the first of the queues it failed in, ms; 0 where that is not known.
    #[serde(default)]
    pub first_sent_ms: u64,
    /// When it was first leased there, ms.
    #[serde(default)]
    pub first_received_ms: u64,
    /// When it was last leased there, ms.
    #[serde(default)]
    pub last_received_ms: u64,
    /// When it was moved, ms.
    pub dead_ms: u64,
}

impl DeadLetter {
    /// When it was sent for the first time, as far as that is known, ms.
    pub fn first_sent(&self) -> u64 {
        if self.first_sent_ms > 0 {
            self.first_sent_ms
        } else {
            self.sent_ms
        }
    }
}
