//! A message on its way out: its properties as they came, or made from what another protocol wrote, with what
//! happened to it since.

use bytes::Bytes;
use engine::queue::{DeadLetterEvent, DeadLetterReason, Delivered, RESERVED};
use engine::vhost;

use super::stored::{CC, RAW, encoded, filtered};
use crate::wire::{Array, ArrayBuilder, Properties, SHORT_STRING_BYTES_MAX, TableBuilder, Value};

/// Message that survives a restart.
const PERSISTENT: u8 = 2;
/// Headers about what happened to a message; only the broker writes them.
const HISTORY: &[&[u8]] = &[
    b"x-death",
    b"x-first-death-queue",
    b"x-first-death-reason",
    b"x-first-death-exchange",
    b"x-last-death-queue",
    b"x-last-death-reason",
    b"x-last-death-exchange",
];
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";
const ACQUIRED_COUNT: &[u8] = b"x-acquired-count";
const OFFSET: &[u8] = b"x-stream-offset";

/// What a delivery carries beside how often its message failed and was dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryHeaders {
    Nothing,
    /// How often the message was given back, also unharmed.
    Returns,
    /// Where it lies in the log.
    Offset,
}

/// Exchange and routing key a message is delivered with; `queue` is where it is delivered from.
pub(crate) fn route_of<'a>(message: &'a Delivered, queue: &'a str) -> (&'a [u8], &'a [u8]) {
    // A client that can write records can write the header that these come from, and in it what fits no method.
    let fits = |name: &&[u8]| name.len() <= SHORT_STRING_BYTES_MAX;
    let exchange = message.exchange.as_deref().filter(fits);
    let key = message.keys.first().map(AsRef::as_ref).filter(fits);
    (
        exchange.unwrap_or_default(),
        key.unwrap_or(queue.as_bytes()),
    )
}

/// The properties a consumer gets.
pub(crate) fn properties(message: &Delivered, headers: DeliveryHeaders) -> Bytes {
    let raw = header(message, RAW);
    // Every client that can write records can write this header.
    let decoded = raw.and_then(|raw| Properties::decode(raw).ok());
    match (raw, decoded) {
        (Some(raw), Some(_)) if !has_news(message, headers) => raw.clone(),
        (_, Some(properties)) => with_news(message, properties, headers),
        (_, None) => foreign(message, headers),
    }
}

/// Whether there are headers to add that were not published.
fn has_news(message: &Delivered, headers: DeliveryHeaders) -> bool {
    !message.dead_letter_history.is_empty()
        || message.failed > 0
        || headers != DeliveryHeaders::Nothing
}

/// A plain header of a message, over whichever protocol it was published.
pub(crate) fn header<'m>(message: &'m Delivered, name: &[u8]) -> Option<&'m Bytes> {
    let found = message.headers.iter().find(|(found, _)| found == name)?;
    found.1.as_ref()
}

/// Properties of a message that another protocol wrote.
fn foreign(message: &Delivered, headers: DeliveryHeaders) -> Bytes {
    let short = |name: &[u8]| {
        let value = header(message, name).filter(|value| value.len() <= SHORT_STRING_BYTES_MAX);
        value.map(AsRef::as_ref)
    };
    let mut table = TableBuilder::new();
    for (name, value) in &message.headers {
        if name.starts_with(RESERVED.as_bytes()) {
            continue;
        }
        let value = value.as_ref().map_or(Value::Void, |v| Value::Long(v));
        // A name too long for a table is left out.
        let _ = table.push(name, value);
    }
    let id = message.id.to_string();
    let table = table.as_table();
    with_news(
        message,
        Properties {
            content_type: short(b"content-type"),
            correlation_id: short(b"correlation-id"),
            reply_to: short(b"reply-to"),
            headers: (!table.is_empty()).then_some(table),
            delivery_mode: Some(PERSISTENT),
            priority: Some(message.priority).filter(|priority| *priority > 0),
            message_id: Some(id.as_bytes()),
            timestamp: Some(message.sent_ms / 1000),
            ..Properties::default()
        },
        headers,
    )
}

/// Properties with what happened to the message since they were written.
fn with_news(message: &Delivered, properties: Properties<'_>, headers: DeliveryHeaders) -> Bytes {
    if !has_news(message, headers) {
        return encoded(&properties);
    }
    let is_readdressed = is_readdressed(message, &properties);
    let rewritten = |name: &[u8]| {
        name == CC && is_readdressed
            || HISTORY.contains(&name) && !message.dead_letter_history.is_empty()
            || name == DELIVERY_COUNT
            || name == ACQUIRED_COUNT
            || name == OFFSET && headers == DeliveryHeaders::Offset
    };
    let mut table = filtered(properties.headers.unwrap_or_default(), |name| {
        !rewritten(name)
    });
    if message.failed > 0 {
        push(
            &mut table,
            DELIVERY_COUNT,
            Value::I64(message.failed.into()),
        );
    }
    if message.failed > 0 || headers == DeliveryHeaders::Returns {
        let before = message.acquired.saturating_sub(1);
        push(&mut table, ACQUIRED_COUNT, Value::I64(before.into()));
    }
    if headers == DeliveryHeaders::Offset {
        let offset = i64::try_from(message.sequence).unwrap_or(i64::MAX);
        push(&mut table, OFFSET, Value::I64(offset));
    }
    push_history(
        &mut table,
        &message.dead_letter_history,
        properties.expiration,
    );
    let expiration = properties
        .expiration
        .filter(|_| message.dead_letter_history.is_empty());
    encoded(&Properties {
        headers: Some(table.as_table()),
        expiration,
        ..properties
    })
}

/// Whether a message was dead-lettered and goes by another key than those it was published with: its other keys mean
/// nothing then.
fn is_readdressed(message: &Delivered, properties: &Properties<'_>) -> bool {
    if message.dead_letter_history.is_empty() {
        return false;
    }
    let more = properties.headers.and_then(|headers| headers.find(CC));
    let Some(Value::Array(more)) = more else {
        return false;
    };
    let is_kept = |key: &[u8]| message.keys.iter().any(|kept| kept == key);
    let mut keys = more.iter();
    keys.any(|key| key.string().is_some_and(|key| !is_kept(key)))
}

fn push(table: &mut TableBuilder, name: &[u8], value: Value<'_>) {
    // The broker's own names and values fit.
    let _ = table.push(name, value);
}

/// `expiration` is as it was published; the first dead-lettering removed it.
fn push_history(
    table: &mut TableBuilder,
    dead_letter_history: &[DeadLetterEvent],
    expiration: Option<&[u8]>,
) {
    let (Some(last), Some(first)) = (
        dead_letter_history.first(),
        dead_letter_history
            .iter()
            .find(|event| event.is_first)
            .or_else(|| dead_letter_history.last()),
    ) else {
        return;
    };
    let mut list = ArrayBuilder::new();
    for event in dead_letter_history {
        let keys = keys_of(event);
        let event = event_table(event, keys.as_array(), expiration);
        let _ = list.push(Value::Table(event.as_table()));
    }
    push(table, b"x-death", Value::Array(list.as_array()));
    for (which, event) in [("first", first), ("last", last)] {
        for (what, text) in [
            ("reason", reason(event).as_bytes()),
            ("queue", queue(event).as_bytes()),
            ("exchange", &event.exchange),
        ] {
            let name = format!("x-{which}-death-{what}");
            push(table, name.as_bytes(), Value::Long(text));
        }
    }
}

fn keys_of(event: &DeadLetterEvent) -> ArrayBuilder {
    let mut keys = ArrayBuilder::new();
    for engine::queue::Key(key) in &event.keys {
        let _ = keys.push(Value::Long(key));
    }
    keys
}

fn event_table(
    event: &DeadLetterEvent,
    keys: Array<'_>,
    expiration: Option<&[u8]>,
) -> TableBuilder {
    let mut table = TableBuilder::new();
    let count = i64::try_from(event.count).unwrap_or(i64::MAX);
    push(&mut table, b"count", Value::I64(count));
    push(&mut table, b"reason", Value::Long(reason(event).as_bytes()));
    push(&mut table, b"queue", Value::Long(queue(event).as_bytes()));
    push(&mut table, b"time", Value::Timestamp(event.first_ms / 1000));
    push(&mut table, b"exchange", Value::Long(&event.exchange));
    push(&mut table, b"routing-keys", Value::Array(keys));
    if let Some(ms) = event.original_expiration_ms {
        let text = ms.to_string();
        let text = expiration.unwrap_or(text.as_bytes());
        push(&mut table, b"original-expiration", Value::Long(text));
    }
    table
}

/// The name of a queue as clients of its vhost know it.
fn queue(event: &DeadLetterEvent) -> &str {
    vhost::split(&event.queue).1
}

/// The reason in the words of this protocol.
fn reason(event: &DeadLetterEvent) -> &'static str {
    match event.reason {
        // Leased too often, however that was counted.
        DeadLetterReason::Attempts => DeadLetterReason::DeliveryLimit.word(),
        reason => reason.word(),
    }
}
