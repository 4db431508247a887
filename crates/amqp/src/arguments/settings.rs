//! What arguments come to: settings of the engine's, and what is kept to see whether another declaration means the
//! same queue.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::queue::{
    After, Backoff, DeadLetterExchange, Growth, Limits, Overflow, Queue, QueueSettings, QueueType,
};

use super::check::REPLAY;
use super::{QUEUE_TYPE, QUORUM, STREAM, age};
use crate::wire::{Table, TableBuilder, Value};

/// Where a queue's arguments are kept, as they came.
const ARGUMENTS: &str = "amqp.arguments";
/// Kept with a queue that was declared durable and belongs to one connection: it goes with the connection, but says it
/// is durable.
const DURABLE: &str = "amqp.durable";
/// Failures a message survives in a queue that says nothing about them, where the type has a limit.
const DELIVERY_LIMIT: u32 = 20;
/// Kept with a queue where messages that name no priority are not the least important.
const QUORUM_PRIORITY: &str = "amqp.priority";
/// Priorities of such a queue, and that of a message that names none.
const PRIORITIES: u16 = 32;
const PRIORITY: u8 = 4;
/// Messages have no age at which they go, unless their queue says so: a hundred years.
const RETENTION_MS: u64 = 100 * 365 * 86_400_000;
/// The listener limits what is published, in its own words; the queue takes whatever comes.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// Messages in flight at once: prefetch limits them, and this is far beyond what clients can hold.
const IN_FLIGHT_MAX: u32 = 1_000_000;
/// Waits between attempts where they are asked for without saying how long, ms.
const RETRY_MIN_MS: u64 = 1000;
const RETRY_MAX_MS: u64 = 3_600_000;

/// How a queue was declared.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) exclusive: bool,
    arguments: Vec<u8>,
}

impl Declared {
    pub(crate) fn arguments(&self) -> Table<'_> {
        Table::decode(&self.arguments).unwrap_or_default()
    }
}

/// How an existing queue was declared, over whichever protocol, for a comparison with these arguments.
pub(crate) fn declared(queue: &Queue, received: &Table<'_>) -> Declared {
    let settings = &*queue.document.settings;
    let lifetime = settings.lifetime;
    let kept = settings.annotations.get(ARGUMENTS);
    let arguments = kept.and_then(|text| STANDARD.decode(text).ok());
    Declared {
        durable: !lifetime.transient || settings.annotations.contains_key(DURABLE),
        auto_delete: lifetime.auto_delete,
        exclusive: lifetime.owner.is_some(),
        arguments: arguments.unwrap_or_else(|| alike(settings, received)),
    }
}

/// The arguments of a queue that was made without any, by other means perhaps: its type, and of what is asked what holds.
fn alike(settings: &QueueSettings, received: &Table<'_>) -> Vec<u8> {
    let mut own = TableBuilder::new();
    let kind = settings.queue_type();
    if kind != QueueType::Classic {
        // A few bytes always fit.
        let _ = own.push(QUEUE_TYPE, Value::Long(kind.word().as_bytes()));
    }
    let asked = apply(received, false);
    for (name, meaning) in MEANINGS {
        let holds = meaning(settings).is_some() && meaning(settings) == meaning(&asked);
        if let Some(value) = received.find(name).filter(|_| holds) {
            let _ = own.push(name, value);
        }
    }
    own.as_table().as_bytes().to_vec()
}

/// A number that stands for what settings say.
type Meaning = fn(&QueueSettings) -> Option<u64>;

/// What arguments mean that other ways of making a queue can say too.
const MEANINGS: &[(&[u8], Meaning)] = &[
    (b"x-max-age", |settings| Some(settings.retention_ms)),
    (b"x-max-length-bytes", |settings| settings.retention_bytes),
    (b"x-max-priority", |settings| {
        Some(settings.priorities.into()).filter(|levels| *levels > 0)
    }),
    (REPLAY, |settings| Some(settings.replay_ms)),
];

/// The settings of a queue declared with these arguments, which were checked. How long it lives is left to the caller.
pub(crate) fn apply(arguments: &Table<'_>, durable: bool) -> QueueSettings {
    let number = |name: &[u8]| {
        let value = arguments.find(name)?.integer()?;
        u64::try_from(value).ok()
    };
    let kind = arguments.find(QUEUE_TYPE);
    let is_quorum = kind == Some(Value::Long(QUORUM));
    let stream = kind == Some(Value::Long(STREAM));
    let bytes_max = number(b"x-max-length-bytes");
    // Negative is none.
    let delivery_limit = arguments
        .find(b"x-delivery-limit")
        .and_then(|limit| limit.integer());
    let mut settings = QueueSettings {
        stream,
        quorum: is_quorum,
        retention_bytes: bytes_max.filter(|_| stream),
        retention_ms: max_age(arguments).unwrap_or(RETENTION_MS),
        message_bytes_max: MESSAGE_BYTES_MAX,
        in_flight_max: IN_FLIGHT_MAX,
        limits: Limits {
            message_ttl_ms: number(b"x-message-ttl"),
            expires_ms: number(b"x-expires"),
            messages_max: number(b"x-max-length"),
            bytes_max: bytes_max.filter(|_| !stream),
            overflow: overflow(arguments),
        },
        delivery_limit: delivery_limit.and_then(|limit| u32::try_from(limit).ok()),
        implied_delivery_limit: (is_quorum && delivery_limit.is_none()).then_some(DELIVERY_LIMIT),
        dead_letter_exchange: dead_letter_exchange(arguments),
        single_consumer: arguments.find(b"x-single-active-consumer") == Some(Value::Bool(true)),
        priorities: priorities(number(b"x-max-priority"), is_quorum),
        backoff: backoff(arguments, number),
        replay_ms: replay(arguments).filter(|_| !stream).unwrap_or(0),
        ..QueueSettings::default()
    };
    let annotations = &mut settings.annotations;
    if !arguments.is_empty() {
        let text = STANDARD.encode(arguments.as_bytes());
        annotations.insert(ARGUMENTS.to_owned(), text);
    }
    if is_quorum {
        annotations.insert(QUORUM_PRIORITY.to_owned(), PRIORITY.to_string());
    }
    if durable {
        annotations.insert(DURABLE.to_owned(), "true".to_owned());
    }
    settings
}

/// How long acknowledged messages can be replayed.
fn replay(arguments: &Table<'_>) -> Option<u64> {
    let value = arguments.find(REPLAY)?;
    let millis = value.integer().and_then(|ms| u64::try_from(ms).ok());
    millis.or_else(|| age::ms(value.string()?))
}

fn max_age(arguments: &Table<'_>) -> Option<u64> {
    age::ms(arguments.find(b"x-max-age")?.string()?)
}

fn overflow(arguments: &Table<'_>) -> Overflow {
    let value = arguments.find(b"x-overflow");
    match value.as_ref().and_then(Value::string) {
        Some(b"reject-publish") => Overflow::Refuse,
        Some(b"reject-publish-dlx") => Overflow::RefuseToDeadLetter,
        _ => Overflow::DropOldest,
    }
}

fn priorities(most: Option<u64>, is_quorum: bool) -> u16 {
    match most {
        Some(most) => u16::try_from(most).unwrap_or(u16::MAX).saturating_add(1),
        None if is_quorum => PRIORITIES,
        None => 0,
    }
}

/// Whether a queue was declared as one of the type that survives the loss of a machine.
pub(crate) fn is_quorum(queue: &Queue) -> bool {
    let settings = queue.settings();
    // Most queues have no priorities, and are not looked at any closer.
    settings.priorities > 1
        && (settings.quorum || settings.annotations.contains_key(QUORUM_PRIORITY))
}

/// The priority of a message that names none.
pub(crate) fn priority_of(queue: &Queue) -> u8 {
    if is_quorum(queue) { PRIORITY } else { 0 }
}

fn dead_letter_exchange(arguments: &Table<'_>) -> Option<DeadLetterExchange> {
    let text = |name: &[u8]| {
        let value = arguments.find(name)?;
        Some(String::from_utf8_lossy(value.string()?).into_owned())
    };
    Some(DeadLetterExchange {
        exchange: text(b"x-dead-letter-exchange")?,
        key: text(b"x-dead-letter-routing-key"),
    })
}

fn backoff(arguments: &Table<'_>, number: impl Fn(&[u8]) -> Option<u64>) -> Option<Backoff> {
    let after = match arguments.find(b"x-delayed-retry-type")?.string()? {
        b"all" => After::All,
        b"failed" => After::Failed,
        b"returned" => After::Returned,
        _ => return None,
    };
    let base_ms = number(b"x-delayed-retry-min").unwrap_or(RETRY_MIN_MS);
    Some(Backoff {
        base_ms,
        max_ms: number(b"x-delayed-retry-max")
            .unwrap_or(RETRY_MAX_MS)
            .max(base_ms),
        jitter: false,
        growth: Growth::Linear,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TableBuilder;

    #[test]
    fn arguments_become_settings() {
        let mut table = TableBuilder::new();
        for (name, value) in [
            ("x-message-ttl", Value::I32(1000)),
            ("x-expires", Value::I64(5000)),
            ("x-max-length", Value::U8(7)),
            ("x-max-length-bytes", Value::I16(700)),
            ("x-overflow", Value::Long(b"reject-publish")),
            ("x-dead-letter-exchange", Value::Long(b"dlx")),
            ("x-dead-letter-routing-key", Value::Long(b"k")),
            ("x-single-active-consumer", Value::Bool(true)),
            ("x-max-priority", Value::I32(255)),
            ("x-queue-type", Value::Long(b"quorum")),
            ("x-delayed-retry-type", Value::Long(b"failed")),
            ("x-delayed-retry-min", Value::I32(20)),
        ] {
            table.push(name.as_bytes(), value).unwrap();
        }
        let settings = apply(&table.as_table(), false);
        assert_eq!(
            settings.limits,
            Limits {
                message_ttl_ms: Some(1000),
                expires_ms: Some(5000),
                messages_max: Some(7),
                bytes_max: Some(700),
                overflow: Overflow::Refuse,
            }
        );
        assert_eq!(settings.delivery_limit, None);
        assert_eq!(settings.implied_delivery_limit, Some(20));
        assert_eq!(settings.priorities, 256);
        assert!(settings.single_consumer);
        let dead = settings.dead_letter_exchange.unwrap();
        assert_eq!((&*dead.exchange, dead.key.as_deref()), ("dlx", Some("k")));
        let backoff = settings.backoff.unwrap();
        assert_eq!((backoff.base_ms, backoff.after), (20, After::Failed));
        assert_eq!(backoff.growth, Growth::Linear);
    }

    #[test]
    fn a_stream_is_limited_by_age_and_bytes() {
        let mut table = TableBuilder::new();
        table.push(QUEUE_TYPE, Value::Long(STREAM)).unwrap();
        table.push(b"x-max-length-bytes", Value::I32(700)).unwrap();
        table.push(b"x-max-age", Value::Long(b"1h")).unwrap();
        let settings = apply(&table.as_table(), false);
        settings.check().unwrap();
        assert!(settings.stream);
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.retention_bytes, Some(700));
        assert_eq!(settings.retention_ms, 3_600_000);
    }

    #[test]
    fn what_is_kept_for_replay_is_said_as_an_age_or_in_milliseconds() {
        for (value, millis) in [(Value::Long(b"7D"), 604_800_000), (Value::I32(500), 500)] {
            let mut table = TableBuilder::new();
            table.push(REPLAY, value).unwrap();
            assert_eq!(apply(&table.as_table(), false).replay_ms, millis);
        }
        assert_eq!(apply(&Table::EMPTY, false).replay_ms, 0);
    }

    #[test]
    fn a_queue_made_by_other_means_is_alike_what_means_the_same() {
        let mut made = QueueSettings {
            retention_ms: 86_400_000,
            ..QueueSettings::default()
        };
        made.set_type(QueueType::Stream);
        let mut table = TableBuilder::new();
        table.push(b"x-max-age", Value::Long(b"1D")).unwrap();
        table.push(b"x-max-length-bytes", Value::I32(7)).unwrap();
        let own = alike(&made, &table.as_table());
        let own = Table::decode(&own).unwrap();
        assert_eq!(own.find(QUEUE_TYPE), Some(Value::Long(STREAM)));
        assert_eq!(own.find(b"x-max-age"), Some(Value::Long(b"1D")));
        assert_eq!(own.find(b"x-max-length-bytes"), None);
        let plain = alike(&apply(&Table::EMPTY, false), &table.as_table());
        assert!(plain.is_empty());
    }

    #[test]
    fn no_arguments_limit_nothing() {
        let settings = apply(&Table::EMPTY, false);
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.delivery_limit, None);
        assert_eq!(settings.dead_letter_exchange, None);
        assert!(settings.annotations.is_empty());
        let mut unlimited = TableBuilder::new();
        unlimited.push(QUEUE_TYPE, Value::Long(QUORUM)).unwrap();
        unlimited.push(b"x-delivery-limit", Value::I32(-1)).unwrap();
        let settings = apply(&unlimited.as_table(), false);
        assert_eq!(settings.delivery_limit, None);
        assert_eq!(settings.implied_delivery_limit, None);
    }
}
