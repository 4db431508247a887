//! Writing messages as records: queues whose settings agree on how a message is written get the same bytes.

use delivery::{reserved, via};
use storage::Batch;
use storage::batch::BatchBuilder;

use crate::queue::{NewMessage, Ordering, QueueSettings};
use crate::time::Moment;

/// What of a queue's settings decides how messages are written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordLayout {
    in_order: bool,
    delay_ms: u64,
    has_levels: bool,
}

impl RecordLayout {
    pub(crate) fn of(settings: &QueueSettings) -> Self {
        Self {
            in_order: settings.ordering == Ordering::Key,
            delay_ms: settings.delay_ms,
            has_levels: settings.priorities > 1,
        }
    }
}

/// A batch of messages in the making.
pub(crate) struct BatchDraft {
    builder: BatchBuilder,
    now: Moment,
    /// None of its messages says anything about its delivery.
    bare: bool,
}

impl BatchDraft {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            builder: BatchBuilder::new(now.wall.cast_signed())
                .made_here()
                .append_time(),
            now,
            bare: true,
        }
    }

    /// With memory for records of so many bytes from the start.
    pub(crate) fn with_room(self, bytes: usize) -> Self {
        Self {
            builder: self.builder.with_room(bytes),
            ..self
        }
    }

    /// Bytes the batch would take now.
    pub(crate) fn bytes(&self) -> usize {
        self.builder.bytes()
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, message: &NewMessage, layout: RecordLayout) {
        self.bare &= push(&mut self.builder, message, layout, self.now);
    }

    /// The batch; at least one message was added.
    pub(crate) fn build(self) -> Batch {
        let builder = if self.bare {
            self.builder.bare()
        } else {
            self.builder
        };
        builder.build()
    }
}

/// Encodes a message as a record. Returns whether it says nothing about its delivery.
fn push(
    builder: &mut BatchBuilder,
    message: &NewMessage,
    layout: RecordLayout,
    moment: Moment,
) -> bool {
    let now = moment.now;
    // In order, all messages wait equally long, and the queue partition knows how long.
    let delay = message.delay_ms.filter(|_| !layout.in_order).unwrap_or(0);
    let delay = if layout.in_order || message.delay_ms.is_some() {
        delay
    } else {
        layout.delay_ms
    };
    let due = (delay > 0).then(|| reserved::write(now.saturating_add(delay)));
    let priority = reserved::write_level(message.priority);
    // Its time begins when it can be leased.
    let waits = if layout.in_order {
        layout.delay_ms
    } else {
        delay
    };
    let expires = message
        .ttl_ms
        .map(|ttl| reserved::write(now.saturating_add(waits).saturating_add(ttl)));
    let via_header = message
        .exchange
        .as_deref()
        .map(|exchange| via::encode(exchange, &message.keys));
    let decides = [
        due.as_deref().map(|due| (reserved::DUE, due)),
        expires.as_deref().map(|at| (reserved::EXPIRES, at)),
        message.dedup.as_deref().map(|id| (reserved::DEDUP, id)),
        layout
            .has_levels
            .then_some((reserved::PRIORITY, &priority[..])),
    ];
    let is_bare = message.key.is_none() && decides.iter().all(Option::is_none);
    let via_header = via_header
        .as_deref()
        .map(|via_header| (reserved::VIA, via_header));
    let hidden = &message.hidden_keys;
    let hidden = (!hidden.is_empty()).then(|| via::encode(b"", hidden));
    let hidden = hidden.as_deref().map(|keys| (reserved::HIDDEN, keys));
    let given = message
        .headers
        .iter()
        .filter(|(name, _)| !reserved::is_reserved_by_engine(name))
        .map(|(name, value)| (&name[..], &value[..]));
    let headers: Vec<(&[u8], Option<&[u8]>)> = given
        .chain(decides.into_iter().flatten())
        .chain(via_header)
        .chain(hidden)
        .map(|(name, value)| (name, Some(value)))
        .collect();
    builder.push_record(
        moment.wall.cast_signed(),
        message.key.as_deref(),
        Some(&message.body),
        headers.iter().copied(),
    );
    is_bare
}
