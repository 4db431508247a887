//! A message that leaves its queue: where it goes, and what it takes along. Appends nothing.

use std::sync::Arc;

use bytes::Bytes;
use delivery::{Lease, dead_letter_history, message_id, reserved, via};
use storage::batch::{BatchBuilder, Record, RecordHeader};
use uuid::Uuid;

use super::Inner;
use super::queues::queue_partition_of;
use crate::exchange::{Headers, Routed, Value};
use crate::queue::{
    DeadLetter, DeadLetterCause, DeadLetterEvent, DeadLetterExchange, DeadLetterReason, Failure,
    Key, Queue, QueuePartitionId,
};
use crate::time::Moment;
use crate::{Error, Result, vhost};

/// Why messages leave.
#[derive(Debug)]
pub(super) enum Cause {
    /// It was dead-lettered.
    Dead(DeadLetterCause),
    /// A move task.
    Moved(Uuid),
}

/// Where messages go that leave a queue.
pub(super) enum TransferTarget {
    /// To another queue.
    Queue(Arc<Queue>),
    /// Wherever an exchange of the queue's vhost says; when it says nothing, they are gone.
    Exchange(DeadLetterExchange),
}

/// A message about to leave.
pub(super) struct TransferMessage {
    pub(super) offset: u64,
    /// Nothing is left of one that is too old: it just goes.
    pub(super) record: Option<Record>,
    /// One queue partition for each topic.
    pub(super) to: Vec<(QueuePartitionId, Arc<Queue>)>,
    /// What an exchange made of it.
    routed: Option<ExchangeRoute>,
    /// Its history as it leaves.
    dead_letter_history: Vec<DeadLetterEvent>,
}

/// How a message came through an exchange.
struct ExchangeRoute {
    exchange: Bytes,
    keys: Vec<Bytes>,
    /// Keys nobody may know.
    hidden: Vec<Bytes>,
    /// The keys are not those it came with.
    is_readdressed: bool,
    delay_ms: Option<u64>,
}

/// How a stored message came: the default exchange and its queue's name, if it was sent there directly.
fn published_by(record: &Record, queue: &str) -> (Bytes, Vec<Bytes>) {
    let (exchange, keys) = find(record, reserved::VIA)
        .map(via::decode)
        .unwrap_or_default();
    if let Some(exchange) = exchange {
        return (exchange, keys);
    }
    let (_, plain) = vhost::split(queue);
    let key = Bytes::copy_from_slice(plain.as_bytes());
    (Bytes::new(), vec![key])
}

fn find(record: &Record, name: &[u8]) -> Option<Bytes> {
    let found = record.headers.iter().find(|(n, _)| n == name)?;
    found.1.clone()
}

fn number(record: &Record, name: &[u8]) -> Option<u64> {
    reserved::number(&find(record, name)?)
}

/// A stored message's own headers, as exchanges ask for them.
struct Stored<'r>(&'r [RecordHeader]);

impl Headers for Stored<'_> {
    fn value(&self, name: &[u8]) -> Option<Value> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.clone().map_or(Value::Void, Value::Text))
    }
}

impl TransferMessage {
    /// Finds out where a message goes. Errors: `InvalidRequest` for a queue of the same topic.
    pub(super) fn address(
        inner: &Inner,
        source: &Queue,
        (offset, record): (u64, Option<Record>),
        target: &TransferTarget,
        cause: &Cause,
    ) -> Result<Self> {
        let mut message = Self {
            offset,
            record,
            to: Vec::new(),
            routed: None,
            dead_letter_history: Vec::new(),
        };
        let Some(record) = &message.record else {
            return Ok(message);
        };
        if let Cause::Dead(DeadLetterCause { reason, .. }) = cause {
            let before = find(record, reserved::DEAD_LETTER_HISTORY);
            let last = super::queues::dead_letter(record);
            message.dead_letter_history =
                dead_letter_history::history(before.as_deref(), last.as_ref());
            let dead_letter_event = dead_letter_event(inner, record, source, *reason);
            dead_letter_history::record(&mut message.dead_letter_history, dead_letter_event);
        }
        let targets = match target {
            TransferTarget::Queue(target) if target.document.topic == source.document.topic => {
                return Err(Error::InvalidRequest(
                    "a queue cannot move messages to a queue of its own topic".into(),
                ));
            }
            TransferTarget::Queue(target) => vec![Arc::clone(target)],
            TransferTarget::Exchange(by) => {
                let (vhost, _) = vhost::split(&source.name);
                let mut route = route(record, &source.name, by);
                let targets = route.through(inner, vhost, record);
                message.routed = Some(route);
                targets
            }
        };
        let by_exchange = message.routed.is_some();
        let stays_away = |target: &Queue| {
            by_exchange && dead_letter_history::is_cycle(&target.name, &message.dead_letter_history)
        };
        let key = record.key.as_deref();
        for target in targets.into_iter().filter(|target| !stays_away(target)) {
            let at = QueuePartitionId {
                topic: target.document.topic,
                index: queue_partition_of(&target, key, offset),
                queue: target.id(),
            };
            // The queues of a topic share its records.
            if !message.to.iter().any(|(known, _)| known.topic == at.topic) {
                message.to.push((at, target));
            }
        }
        Ok(message)
    }

    /// Whether it may be that a target is not there any more, and the message goes to the others.
    pub(super) fn is_routed(&self) -> bool {
        self.routed.is_some()
    }

    /// Whether it goes on with another key than those it came with.
    fn is_readdressed(&self) -> bool {
        let route = self.routed.as_ref();
        route.is_some_and(|route| route.is_readdressed)
    }

    /// What it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        let Some(record) = &self.record else { return 0 };
        let headers = record.headers.iter();
        let headers: usize = headers
            .map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len))
            .sum();
        headers + record.value.as_ref().map_or(0, Bytes::len)
    }

    /// The message as a target gets it, whose queue is in order or not: with where it comes from, or as new when it is
    /// moved.
    pub(super) fn write(
        &self,
        builder: &mut BatchBuilder,
        in_order: bool,
        own: &[(&'static [u8], Vec<u8>)],
        (cause, now): (&Cause, Moment),
    ) {
        let Some(record) = &self.record else { return };
        let dead = matches!(cause, Cause::Dead(_));
        // Only what keeps its place in time can be too old where it comes to.
        let restarts = !dead || in_order || self.is_routed();
        let timestamp = if restarts {
            now.wall.cast_signed()
        } else {
            record.timestamp
        };
        let kept = record.headers.iter().filter(|(name, _)| {
            let stays = name == reserved::PRIORITY
                || (name == reserved::VIA && !self.is_routed())
                || (name == reserved::HIDDEN && !self.is_readdressed())
                || (name == reserved::DEDUP && dead);
            stays || !reserved::is_reserved_by_engine(name)
        });
        // Among dead letters in order the identity is what tells messages apart.
        let id = (dead && in_order).then(|| identity(own)).flatten();
        let headers: Vec<(&[u8], Option<&[u8]>)> = kept
            .map(|(name, value)| match &id {
                Some(id) if name == reserved::DEDUP => (&name[..], Some(id.as_bytes())),
                _ => (&name[..], value.as_deref()),
            })
            .chain(own.iter().map(|(name, value)| (*name, Some(&value[..]))))
            .collect();
        builder.push_record(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            headers.iter().copied(),
        );
    }

    /// The reserved headers it gets; `lease` is how it was leased.
    pub(super) fn own_headers(
        &self,
        (at, source, lease): (QueuePartitionId, &Queue, Lease),
        (cause, now): (&Cause, Moment),
    ) -> Vec<(&'static [u8], Vec<u8>)> {
        let Some(record) = &self.record else {
            return Vec::new();
        };
        let id = find(record, reserved::ID).and_then(|id| reserved::id(&id));
        let id = id.unwrap_or_else(|| message_id(at.topic, at.index, record.offset));
        let id = id.to_string().into_bytes();
        let Cause::Dead(cause) = cause else {
            // Moved messages are new ones; in a queue with deduplication the old identity keeps them apart.
            let named = find(record, reserved::DEDUP).map(|_| (reserved::DEDUP, id));
            return named.into_iter().collect();
        };
        let before = number(record, reserved::ATTEMPTS).unwrap_or(0);
        let total = before.saturating_add(lease.leased.into());
        let dead = dead_letter(record, source, (cause, lease), now.wall);
        let mut own = headers_of(&dead);
        own.extend([
            (reserved::ID, id),
            (reserved::ATTEMPTS, reserved::write(total)),
            (
                reserved::DEAD,
                serde_json::to_vec(&dead).unwrap_or_default(),
            ),
        ]);
        let published_by = self.is_routed() || find(record, reserved::VIA).is_some();
        let lives = find(record, reserved::EXPIRES).is_some();
        if published_by || lives || !dead_letter_history::is_plain(&self.dead_letter_history) {
            own.push((
                reserved::DEAD_LETTER_HISTORY,
                dead_letter_history::encode(&self.dead_letter_history),
            ));
        }
        if let Some(route) = &self.routed {
            own.push((reserved::VIA, via::encode(&route.exchange, &route.keys)));
            let due = route.delay_ms.map(|delay| now.now.saturating_add(delay));
            own.extend(due.map(|due| (reserved::DUE, reserved::write(due))));
        }
        own
    }
}

/// The identity a message has by its reserved headers, as text.
fn identity(own: &[(&'static [u8], Vec<u8>)]) -> Option<String> {
    let (_, id) = own.iter().find(|(name, _)| *name == reserved::ID)?;
    String::from_utf8(id.clone()).ok()
}

fn dead_letter_event(
    inner: &Inner,
    record: &Record,
    source: &Queue,
    reason: DeadLetterReason,
) -> DeadLetterEvent {
    let (exchange, keys) = published_by(record, &source.name);
    let sent = u64::try_from(record.timestamp).unwrap_or(0);
    let sent = inner.clock.moment_of(sent).of_stamp(sent);
    let expires = number(record, reserved::EXPIRES);
    DeadLetterEvent {
        queue: source.name.to_string(),
        reason,
        count: 1,
        first_ms: inner.clock.wall_ms(),
        exchange,
        keys: keys.into_iter().map(Key).collect(),
        original_expiration_ms: expires.map(|expires| expires.saturating_sub(sent)),
        is_first: false,
    }
}

/// What a reader by offset gets about a dead letter, one header for each fact.
fn headers_of(dead: &DeadLetter) -> Vec<(&'static [u8], Vec<u8>)> {
    let number = reserved::write;
    let mut headers: Vec<(&'static [u8], Vec<u8>)> = vec![
        (b"forebay.dead-letter.reason", dead.reason.clone().into()),
        (b"forebay.dead-letter.queue", dead.queue.clone().into()),
        (b"forebay.dead-letter.offset", number(dead.sequence)),
        (
            b"forebay.dead-letter.attempts",
            number(dead.attempts.into()),
        ),
        (b"forebay.dead-letter.sent-ms", number(dead.sent_ms)),
        (b"forebay.dead-letter.dead-ms", number(dead.dead_ms)),
    ];
    let class = dead.class.clone();
    headers.extend(class.map(|class| (&b"forebay.dead-letter.class"[..], class.into())));
    let message = dead.message.clone();
    headers.extend(message.map(|why| (&b"forebay.dead-letter.message"[..], why.into())));
    headers
}

fn dead_letter(
    record: &Record,
    source: &Queue,
    (cause, lease): (&DeadLetterCause, Lease),
    now: u64,
) -> DeadLetter {
    let sent_ms = u64::try_from(record.timestamp).unwrap_or(0);
    let before = super::queues::dead_letter(record);
    // Of a refusal that says nothing of its class, nothing is told.
    let known = |failure: &&Failure| **failure != Failure::default();
    let failure = cause.failure.as_ref().filter(known);
    DeadLetter {
        queue: source.name.to_string(),
        reason: cause.reason.word().to_owned(),
        class: failure.map(|failure| failure.class.word().to_owned()),
        message: failure.and_then(|failure| failure.reason.as_deref().map(str::to_owned)),
        sequence: record.offset,
        attempts: lease.leased,
        sent_ms,
        first_sent_ms: before.map_or(sent_ms, |dead| dead.first_sent()),
        first_received_ms: lease.first_ms,
        last_received_ms: lease.last_ms,
        dead_ms: now,
    }
}

/// With the policy's key if there is one, else with those it came with.
fn route(record: &Record, queue: &str, by: &DeadLetterExchange) -> ExchangeRoute {
    let (keys, hidden) = if let Some(key) = &by.key {
        (vec![Bytes::copy_from_slice(key.as_bytes())], Vec::new())
    } else {
        let hidden = find(record, reserved::HIDDEN).map(via::decode);
        (published_by(record, queue).1, hidden.unwrap_or_default().1)
    };
    ExchangeRoute {
        exchange: Bytes::copy_from_slice(by.exchange.as_bytes()),
        keys,
        hidden,
        is_readdressed: by.key.is_some(),
        delay_ms: None,
    }
}

impl ExchangeRoute {
    /// The queues the exchange leads to: none when there is no exchange of that name.
    fn through(&mut self, inner: &Inner, vhost: &str, record: &Record) -> Vec<Arc<Queue>> {
        let keys = self.keys.iter().chain(&self.hidden);
        let keys: Vec<&[u8]> = keys.map(|key| &key[..]).collect();
        let routed = Routed {
            keys: &keys,
            headers: &Stored(&record.headers),
            publisher: false,
        };
        let exchange = std::str::from_utf8(&self.exchange).unwrap_or_default();
        let route = inner.route(vhost, exchange, &routed).unwrap_or_default();
        self.delay_ms = route.delay_ms;
        route.queues
    }
}
