//! How a queue behaves: plain data with units, kept in the queue's document.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use routing::{check_key, check_reference};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// In which order messages are leased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Oldest first, many at a time. A key, if there is one, names the tenant: none starves another.
    #[default]
    None,
    /// Strictly in order per key: while a message is leased or waits for its retry, those behind it of the same
    /// key wait, and only those.
    Key,
}

/// Among which messages a deduplication id is unique.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupScope {
    /// The whole queue.
    #[default]
    Queue,
    /// Messages of the same key.
    Key,
}

/// Where messages go that failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterPolicy {
    /// The queue they go to, by name; as long as there is none of that name, messages stay.
    pub queue: String,
    /// Times a message may be leased; when it would be leased once more it goes there instead. 1 to 1000.
    pub attempts_max: u32,
}

/// How waits grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// `base × 2^(failures - 1)`.
    #[default]
    Exponential,
    /// `base × failures`.
    Linear,
}

/// After what a message waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Whenever it comes back.
    #[default]
    All,
    /// When it failed.
    Failed,
    /// When it was given back unharmed; that does not make its waits grow.
    Returned,
}

/// How long a message waits before it can be leased again: as growth says, at most `max`, with full jitter if asked
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Wait after the first failure, ms.
    pub base_ms: u64,
    /// Longest wait, ms.
    pub max_ms: u64,
    /// Draw each wait evenly from zero to what the rule gives.
    pub jitter: bool,
    /// How waits grow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub growth: Growth,
    /// After what it waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: After,
}

impl Backoff {
    /// Checks that the waits make sense. Errors: `InvalidConfig`.
    pub fn check(&self) -> Result<()> {
        if self.base_ms <= self.max_ms {
            return Ok(());
        }
        let (base_ms, max_ms) = (self.base_ms, self.max_ms);
        Err(Error::InvalidConfig(format!(
            "the first wait of {base_ms} ms is longer than the longest of {max_ms} ms"
        )))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happens to a message for a queue that is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is let in, and the oldest that are ready are removed.
    #[default]
    DropOldest,
    /// It is refused.
    Refuse,
    /// It is refused, and dead-lettered.
    RefuseToDeadLetter,
}

/// Where dead letters go by way of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterExchange {
    /// Name of the exchange in the queue's vhost; as long as there is none of that name, dead letters are dropped.
    pub exchange: String,
    /// Routing key; absent: the keys each message came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a queue lets in and how long it keeps it, as far as that is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Messages not leased within this time expire, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl_ms: Option<u64>,
    /// The queue is removed when nobody used it for this long, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Messages that may be ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<u64>,
    /// Bytes of bodies that may be ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// What happens beyond that.
    #[serde(skip_serializing_if = "is_default")]
    pub overflow: Overflow,
}

impl Limits {
    /// Whether it matters how many messages are ready, or how large they are.
    pub fn is_length_limited(&self) -> bool {
        self.messages_max.is_some() || self.bytes_max.is_some()
    }
}

/// How long a queue lives, and whose it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lifetime {
    /// It is gone after a restart.
    #[serde(skip_serializing_if = "is_default")]
    pub transient: bool,
    /// It goes with its last consumer.
    #[serde(skip_serializing_if = "is_default")]
    pub auto_delete: bool,
    /// The session it belongs to alone, and goes with; such a queue is transient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<uuid::Uuid>,
}

/// What a queue was declared as, where its users tell types apart. The engine acts on what each type brings with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueType {
    /// One that is neither of the others.
    #[default]
    Classic,
    /// One that is to survive the loss of a machine: durable, shared, with priorities and a delivery limit.
    Quorum,
    /// One that is read by position.
    Stream,
}

impl QueueType {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

/// Settings of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueSettings {
    /// In which order messages are leased. Cannot be changed.
    pub ordering: Ordering,
    /// Default visibility timeout (lease), ms.
    pub lease_ms: u64,
    /// How long a new message waits before it can be leased, where its sender names no time, ms.
    pub delay_ms: u64,
    /// Messages older than this are gone, ms.
    pub retention_ms: u64,
    /// Largest message (body, header names and values), bytes.
    pub message_bytes_max: u64,
    /// Messages leased at once at most.
    pub in_flight_max: u32,
    /// Where messages go that failed too often.
    pub dead_letter: Option<DeadLetterPolicy>,
    /// How long a deduplication id is remembered, ms.
    pub dedup_window_ms: u64,
    /// Among which messages it is unique.
    pub dedup_scope: DedupScope,
    /// Waits between attempts; absent: a returned message is ready at once.
    pub backoff: Option<Backoff>,
    /// Priority levels: 0 or 1 means that priorities are ignored. At most 256. Cannot be changed.
    pub priorities: u16,
    /// How long messages can be read by offset, and made ready again, after they were acknowledged, ms; 0: not at all.
    /// Holds for the records of a topic that was made for the queue.
    pub replay_ms: u64,
    /// It is there to be read by position: messages stay until they are too old or too many, acknowledged or not,
    /// and of its limits only those hold. Cannot be changed.
    #[serde(skip_serializing_if = "is_default")]
    pub stream: bool,
    /// It was declared as one that is to survive the loss of a machine. Cannot be changed.
    #[serde(skip_serializing_if = "is_default")]
    pub quorum: bool,
    /// Bytes its log may have; the oldest messages of a larger one go. Only in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Failures after which a message is dead-lettered or dropped: it may fail as often as this, and not once more.
    pub delivery_limit: Option<u32>,
    /// The same, where neither this nor a policy sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implied_delivery_limit: Option<u32>,
    /// Where dead letters go by way of an exchange; a policy that names a queue comes first.
    pub dead_letter_exchange: Option<DeadLetterExchange>,
    /// Only one consumer at a time gets messages: the one that came first of those that are there.
    pub single_consumer: bool,
    /// What it lets in and how long it keeps it.
    pub limits: Limits,
    /// How long it lives. Cannot be changed.
    pub lifetime: Lifetime,
    /// What frontends keep with a queue and the engine does not act on, by `<frontend>.<name>`.
    pub annotations: BTreeMap<String, String>,
    /// Labels its owner gave it.
    pub tags: BTreeMap<String, String>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            ordering: Ordering::None,
            lease_ms: 30_000,
            delay_ms: 0,
            retention_ms: 4 * 24 * 3_600_000,
            message_bytes_max: 1 << 20,
            in_flight_max: 120_000,
            dead_letter: None,
            dedup_window_ms: 300_000,
            dedup_scope: DedupScope::Queue,
            backoff: None,
            priorities: 0,
            replay_ms: 0,
            stream: false,
            quorum: false,
            retention_bytes: None,
            delivery_limit: None,
            implied_delivery_limit: None,
            dead_letter_exchange: None,
            single_consumer: false,
            limits: Limits::default(),
            lifetime: Lifetime::default(),
            annotations: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// Most attempts a dead-letter policy can allow.
pub(crate) const ATTEMPTS_MAX: u32 = 1000;
/// Most priority levels.
pub(crate) const PRIORITIES_MAX: u16 = 256;
/// Largest message any queue can allow, bytes.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// What a quorum queue has that says nothing else: priorities, and failures that a message survives.
const QUORUM_PRIORITIES: u16 = 32;
const QUORUM_DELIVERY_LIMIT: u32 = 20;

impl QueueSettings {
    /// Whether records that peers publish in batches are looked into one by one: where their order or size matters.
    pub fn looks_into_records(&self) -> bool {
        self.ordering == Ordering::Key || self.limits.bytes_max.is_some()
    }

    /// Makes it one of a type, with what the type brings where nothing else was said.
    pub fn set_type(&mut self, kind: QueueType) {
        self.stream = kind == QueueType::Stream;
        self.quorum = kind == QueueType::Quorum;
        if self.quorum {
            if self.priorities == 0 {
                self.priorities = QUORUM_PRIORITIES;
            }
            if self.delivery_limit.is_none() {
                self.implied_delivery_limit = Some(QUORUM_DELIVERY_LIMIT);
            }
        }
    }

    /// What it was declared as. Of the documents that do not say so, those with a limit that only one type brings are
    /// of that type.
    pub fn queue_type(&self) -> QueueType {
        if self.stream {
            QueueType::Stream
        } else if self.quorum || self.implied_delivery_limit.is_some() {
            QueueType::Quorum
        } else {
            QueueType::Classic
        }
    }

    /// The settings for keeping: those of all queues that have the default are one and the same.
    pub fn shared(self) -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<QueueSettings>> = LazyLock::new(Arc::default);
        if self == **DEFAULT {
            return Arc::clone(&DEFAULT);
        }
        Arc::new(self)
    }

    /// Failures a message survives.
    pub fn failures_max(&self) -> Option<u32> {
        self.delivery_limit.or(self.implied_delivery_limit)
    }

    /// Whether there is a place for dead letters.
    pub fn keeps_dead(&self) -> bool {
        self.dead_letter.is_some() || self.dead_letter_exchange.is_some()
    }

    /// Whether a message that comes may make one a dead letter: another one, or itself.
    pub fn may_overflow_to_dead(&self) -> bool {
        let limits = &self.limits;
        limits.is_length_limited() && limits.overflow != Overflow::Refuse && self.keeps_dead()
    }

    /// Checks what no frontend may get wrong. Errors: `InvalidConfig`.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::InvalidConfig(why.into()));
        if self.priorities > PRIORITIES_MAX {
            return refuse("a queue has at most 256 priority levels");
        }
        if self.ordering == Ordering::Key && self.queue_type() != QueueType::Classic {
            return refuse("a queue ordered by key is of the type `classic`");
        }
        if self.ordering == Ordering::Key && self.priorities > 1 {
            return refuse("a queue ordered by key has no priorities");
        }
        let is_limited = self.limits
            != Limits {
                expires_ms: self.limits.expires_ms,
                ..Limits::default()
            };
        if self.stream
            && (is_limited || self.priorities > 1 || self.lifetime != Lifetime::default())
        {
            return refuse("a stream outlives its users, and is limited by age and bytes alone");
        }
        if self.message_bytes_max == 0 || self.message_bytes_max > MESSAGE_BYTES_MAX {
            return refuse("the largest message is between 1 byte and 64 MiB");
        }
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        if self.delay_ms > 0 && self.delay_ms >= self.retention_ms {
            return refuse("the delay of messages is shorter than the time they are kept");
        }
        if let Some(policy) = &self.dead_letter
            && !(1..=ATTEMPTS_MAX).contains(&policy.attempts_max)
        {
            return refuse("a dead-letter policy allows 1 to 1000 attempts");
        }
        if let Some(policy) = &self.dead_letter {
            check_reference(&policy.queue)?;
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            exchange.check()?;
        }
        Ok(())
    }
}

impl DeadLetterExchange {
    /// Checks its names. Errors: `InvalidName`.
    pub fn check(&self) -> Result<()> {
        check_reference(&self.exchange)?;
        Ok(check_key(
            self.key.as_deref().unwrap_or_default().as_bytes(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_brings_what_was_not_said() {
        let of = |kind, mut settings: QueueSettings| {
            settings.set_type(kind);
            settings.check().map(|()| settings)
        };
        let quorum = of(QueueType::Quorum, QueueSettings::default()).unwrap();
        assert_eq!((quorum.priorities, quorum.failures_max()), (32, Some(20)));
        assert_eq!(quorum.queue_type(), QueueType::Quorum);
        let said = QueueSettings {
            priorities: 3,
            delivery_limit: Some(5),
            ..QueueSettings::default()
        };
        let quorum = of(QueueType::Quorum, said).unwrap();
        assert_eq!((quorum.priorities, quorum.failures_max()), (3, Some(5)));
        assert_eq!(quorum.queue_type(), QueueType::Quorum);
        let stream = of(QueueType::Stream, QueueSettings::default()).unwrap();
        assert_eq!(stream.queue_type(), QueueType::Stream);
        let ordered = QueueSettings {
            ordering: Ordering::Key,
            ..QueueSettings::default()
        };
        for kind in [QueueType::Quorum, QueueType::Stream] {
            of(kind, ordered.clone()).unwrap_err();
        }
        of(QueueType::Classic, ordered).unwrap();
    }

    #[test]
    fn the_default_never_changes() {
        let default = serde_json::to_string(&QueueSettings::default()).unwrap();
        assert_eq!(
            default,
            r#"{"ordering":"none","lease_ms":30000,"delay_ms":0,"retention_ms":345600000,"message_bytes_max":1048576,"in_flight_max":120000,"dead_letter":null,"dedup_window_ms":300000,"dedup_scope":"queue","backoff":null,"priorities":0,"replay_ms":0,"delivery_limit":null,"dead_letter_exchange":null,"single_consumer":false,"limits":{},"lifetime":{},"annotations":{},"tags":{}}"#
        );
    }
}
