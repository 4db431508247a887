//! Admission: what becomes of a message that is sent to a lane, by the rules of its queue. For senders to one queue and
//! to several alike; appends nothing.

use std::collections::HashMap;
use std::sync::Arc;

use storage::Batch;
use storage::batch::BatchBuilder;

use crate::queue::lane::{self, IDS_MAX, IdHash, Lane, message_id};
use crate::queue::{
    DedupScope, LaneAt, NewMessage, Ordering, Overflow, Queue, QueueSettings, Sent, reserved, via,
};
use crate::time::Moment;
use crate::{Error, Result};

/// A batch is closed when it has this many bytes …
pub(crate) const BATCH_BYTES: usize = 64 << 10;
/// … or this many records: who reads one of them steps over the others.
pub(crate) const BATCH_RECORDS: u64 = 64;

/// The batch that is being filled.
struct Filling {
    builder: BatchBuilder,
    records: u64,
    /// Of its messages.
    bytes: u64,
    /// None of them says anything about its delivery.
    bare: bool,
}

impl Filling {
    fn new(at: Moment) -> Self {
        Self {
            builder: BatchBuilder::new(at.wall.cast_signed()).made_here(),
            records: 0,
            bytes: 0,
            bare: true,
        }
    }
}

/// A batch that was filled, with what its queue counts about it.
pub(crate) struct Filled {
    pub(crate) batch: Batch,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// What becomes of a message that is not refused.
pub(crate) enum Judged {
    /// It gets the next place; its id, if it has one, is remembered.
    New(Option<IdHash>),
    /// It is dropped: the message at this offset was sent with the same id.
    Repeat(u64),
    /// The queue is full: it is refused, and let in only to be dead-lettered.
    Doomed,
}

/// The messages for one lane that are decided together.
pub(crate) struct Admission {
    at: LaneAt,
    now: Moment,
    pub(crate) queue: Arc<Queue>,
    /// Offset of the next message.
    next: u64,
    filling: Filling,
    /// Ids that came together, with the offsets they got.
    seen: HashMap<IdHash, u64>,
    /// Messages that are let in only to be dead-lettered.
    doomed: Vec<u64>,
}

impl Admission {
    /// For a lane whose partition goes on at `next`.
    pub(crate) fn new(at: LaneAt, queue: Arc<Queue>, next: u64, now: Moment) -> Self {
        Self {
            at,
            now,
            queue,
            next,
            filling: Filling::new(now),
            seen: HashMap::new(),
            doomed: Vec::new(),
        }
    }

    /// Whether the batch that is being filled should be appended before more is taken.
    pub(crate) fn is_full(&self) -> bool {
        let filling = &self.filling;
        filling.builder.bytes() >= BATCH_BYTES || filling.records >= BATCH_RECORDS
    }

    /// Decides what becomes of one message, and changes nothing.
    pub(crate) fn judge(&self, lane: &Lane, message: &NewMessage) -> Result<Judged> {
        let settings = self.queue.settings();
        let bytes = message.bytes();
        let allowed = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
        if bytes > allowed {
            return Err(Error::TooLarge { bytes, allowed });
        }
        let delay = message.delay_ms.unwrap_or(settings.delay_ms);
        if delay > 0 && delay >= settings.retention_ms {
            // It would be gone before it could be received.
            return Err(Error::InvalidRequest(
                "the delay of a message is shorter than the time its queue keeps messages".into(),
            ));
        }
        let more = self.next - lane.end() + 1;
        if lane.is_full(settings, (more, self.filling.bytes + bytes as u64)) {
            return match settings.limits.overflow {
                Overflow::RefuseToDeadLetter if settings.keeps_dead() => Ok(Judged::Doomed),
                _ => Err(Error::QueueFull),
            };
        }
        let Some(id) = &message.dedup else {
            return Ok(Judged::New(None));
        };
        let scope = match settings.dedup_scope {
            DedupScope::Queue => None,
            DedupScope::Key => message.key.as_deref(),
        };
        let id = lane::hash(scope, id);
        let known = lane.duplicate(id, settings.dedup_window_ms, self.now.now);
        if let Some(original) = known.or_else(|| self.seen.get(&id).copied()) {
            return Ok(Judged::Repeat(original));
        }
        if lane.dedup_ids() + self.seen.len() >= IDS_MAX {
            return Err(Error::Throttled);
        }
        Ok(Judged::New(Some(id)))
    }

    /// Takes a message as it was judged.
    pub(crate) fn take(&mut self, judged: &Judged, message: &NewMessage) -> Sent {
        let (offset, duplicate) = match judged {
            Judged::Repeat(original) => {
                self.queue.numbers.deduplicated();
                (*original, true)
            }
            Judged::New(_) | Judged::Doomed => {
                match judged {
                    Judged::New(Some(id)) => drop(self.seen.insert(*id, self.next)),
                    Judged::Doomed => self.doomed.push(self.next),
                    Judged::New(None) | Judged::Repeat(_) => {}
                }
                let filling = &mut self.filling;
                filling.bare &= push(
                    &mut filling.builder,
                    message,
                    self.queue.settings(),
                    self.now,
                );
                filling.bytes += message.bytes() as u64;
                filling.records += 1;
                self.next += 1;
                (self.next - 1, false)
            }
        };
        Sent {
            id: message_id(self.at.topic, self.at.index, offset),
            sequence: offset,
            duplicate,
        }
    }

    /// The batch that was being filled, if anything is in it; another one is begun.
    pub(crate) fn fill(&mut self) -> Option<Filled> {
        if self.filling.records == 0 {
            return None;
        }
        let filling = std::mem::replace(&mut self.filling, Filling::new(self.now));
        let builder = if filling.bare {
            filling.builder.bare()
        } else {
            filling.builder
        };
        Some(Filled {
            batch: builder.build(),
            records: filling.records,
            bytes: filling.bytes,
        })
    }

    /// Messages that are let in only to be dead-lettered.
    pub(crate) fn doomed(&self) -> &[u64] {
        &self.doomed
    }

    /// The last `records` were not appended after all; returns the offset the first of them would have got.
    pub(crate) fn take_back(&mut self, records: u64) -> u64 {
        let first = self.next - records;
        self.seen.retain(|_, offset| *offset < first);
        self.doomed.retain(|offset| *offset < first);
        self.next = first;
        first
    }
}

/// Encodes a message as a record. Returns whether it says nothing about its delivery.
fn push(
    builder: &mut BatchBuilder,
    message: &NewMessage,
    settings: &QueueSettings,
    moment: Moment,
) -> bool {
    let now = moment.now;
    let in_order = settings.ordering == Ordering::Key;
    // In order, all messages wait equally long, and the lane knows how long.
    let delay = message.delay_ms.filter(|_| !in_order).unwrap_or(0);
    let delay = if in_order || message.delay_ms.is_some() {
        delay
    } else {
        settings.delay_ms
    };
    let due = (delay > 0).then(|| reserved::write(now.saturating_add(delay)));
    let priority = reserved::write_level(message.priority);
    // Its time begins when it can be lent.
    let waits = if in_order { settings.delay_ms } else { delay };
    let expires = message
        .ttl_ms
        .map(|ttl| reserved::write(now.saturating_add(waits).saturating_add(ttl)));
    let came = message
        .exchange
        .as_deref()
        .map(|exchange| via::encode(exchange, &message.keys));
    let decides = [
        due.as_deref().map(|due| (lane::DUE, due)),
        expires.as_deref().map(|at| (lane::EXPIRES, at)),
        message.dedup.as_deref().map(|id| (lane::DEDUP, id)),
        (settings.priorities > 1).then_some((lane::PRIORITY, &priority[..])),
    ];
    let is_bare = message.key.is_none() && decides.iter().all(Option::is_none);
    let came = came.as_deref().map(|came| (lane::VIA, came));
    let hidden = &message.hidden_keys;
    let hidden = (!hidden.is_empty()).then(|| via::encode(b"", hidden));
    let hidden = hidden.as_deref().map(|keys| (lane::HIDDEN, keys));
    let given = message
        .headers
        .iter()
        .filter(|(name, _)| !lane::is_reserved_by_engine(name))
        .map(|(name, value)| (&name[..], &value[..]));
    let headers: Vec<(&[u8], Option<&[u8]>)> = given
        .chain(decides.into_iter().flatten())
        .chain(came)
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
