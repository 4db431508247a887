//! Admission: what becomes of a message that is sent to a queue partition, by the rules of its queue. For senders to
//! one queue and to several alike; appends nothing.

use std::collections::HashMap;
use std::sync::Arc;

use delivery::{Brings, IDS_MAX, IdHash, QueuePartition, message_id};

use crate::queue::{DedupScope, NewMessage, Overflow, Queue, QueuePartitionId, Sent};
use crate::time::Moment;
use crate::{Error, Result};

/// A batch is closed when it has this many bytes …
pub(crate) const BATCH_BYTES: usize = 64 << 10;
/// … or this many records: who reads one of them steps over the others.
pub(crate) const BATCH_RECORDS: u64 = 64;

/// What was taken for one batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DraftTotals {
    pub(crate) records: u64,
    /// Of its messages.
    pub(crate) bytes: u64,
}

/// What becomes of a message that is not refused.
pub(crate) enum Admitted {
    /// It gets the next place; its id, if it has one, is remembered. With what it adds to the state of queues, bytes.
    New(Option<IdHash>, u64),
    /// It is dropped: the message at this offset was sent with the same id.
    Repeat(u64),
    /// The queue is full: it is refused, and let in only to be dead-lettered.
    Rerouted,
}

/// The messages for one queue partition that are decided together.
pub(crate) struct Admission {
    at: QueuePartitionId,
    now: Moment,
    pub(crate) queue: Arc<Queue>,
    /// Offset of the next message.
    next: u64,
    totals: DraftTotals,
    /// What those of the batch add to the state of queues.
    adds: u64,
    /// Ids that came together, with the offsets they got.
    seen: HashMap<IdHash, u64>,
    /// Messages that are let in only to be dead-lettered.
    rerouted: Vec<u64>,
}

impl Admission {
    /// For a queue partition whose partition goes on at `next`.
    pub(crate) fn new(at: QueuePartitionId, queue: Arc<Queue>, next: u64, now: Moment) -> Self {
        Self {
            at,
            now,
            queue,
            next,
            totals: DraftTotals::default(),
            adds: 0,
            seen: HashMap::new(),
            rerouted: Vec::new(),
        }
    }

    /// Whether a batch of what was taken, which has so many bytes, should be appended before more is taken.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        bytes >= BATCH_BYTES || self.totals.records >= BATCH_RECORDS
    }

    /// Decides what becomes of one message, and changes nothing.
    pub(crate) fn admit(
        &self,
        queue_partition: &QueuePartition,
        message: &NewMessage,
    ) -> Result<Admitted> {
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
        let room = || {
            let adds = self.adds_of(queue_partition, message);
            let all = if adds > 0 { self.adds + adds } else { 0 };
            self.queue.numbers.memory().check(all)?;
            Ok(adds)
        };
        let more = self.next - queue_partition.end() + 1;
        if queue_partition.is_full(settings, (more, self.totals.bytes + bytes as u64)) {
            return match settings.limits.overflow {
                Overflow::RefuseToDeadLetter if settings.keeps_dead() => {
                    room().map(|_| Admitted::Rerouted)
                }
                _ => Err(Error::QueueFull),
            };
        }
        let Some(id) = &message.dedup else {
            return room().map(|adds| Admitted::New(None, adds));
        };
        let scope = match settings.dedup_scope {
            DedupScope::Queue => None,
            DedupScope::Key => message.key.as_deref(),
        };
        let id = delivery::hash(scope, id);
        let known = queue_partition.duplicate(id, settings.dedup_window_ms, self.now.now);
        if let Some(original) = known.or_else(|| self.seen.get(&id).copied()) {
            return Ok(Admitted::Repeat(original));
        }
        if queue_partition.dedup_ids() + self.seen.len() >= IDS_MAX {
            return Err(Error::Throttled);
        }
        room().map(|adds| Admitted::New(Some(id), adds))
    }

    /// What a message adds to the state of queues.
    fn adds_of(&self, queue_partition: &QueuePartition, message: &NewMessage) -> u64 {
        let settings = self.queue.settings();
        let brings = Brings {
            key: message.key.as_deref(),
            level: message.priority,
            has_id: message.dedup.is_some(),
            is_delayed: message.delay_ms.unwrap_or(settings.delay_ms) > 0,
            expires: message.ttl_ms.is_some(),
        };
        queue_partition.adds(brings, settings)
    }

    /// Takes a message as it was admitted; one that is no duplicate is to be written next.
    pub(crate) fn take(&mut self, admitted: &Admitted, message: &NewMessage) -> Sent {
        let (offset, duplicate) = match admitted {
            Admitted::Repeat(original) => {
                self.queue.numbers.deduplicated();
                (*original, true)
            }
            Admitted::New(..) | Admitted::Rerouted => {
                match admitted {
                    Admitted::New(Some(id), _) => drop(self.seen.insert(*id, self.next)),
                    Admitted::Rerouted => self.rerouted.push(self.next),
                    Admitted::New(None, _) | Admitted::Repeat(_) => {}
                }
                if let Admitted::New(_, adds) = admitted {
                    self.adds += adds;
                }
                self.totals.bytes += message.bytes() as u64;
                self.totals.records += 1;
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

    /// What was taken since the last time, if anything.
    pub(crate) fn fill(&mut self) -> Option<DraftTotals> {
        // Its queue partition counts it as soon as it is appended.
        self.adds = 0;
        let totals = std::mem::take(&mut self.totals);
        (totals.records > 0).then_some(totals)
    }

    /// Messages that are let in only to be dead-lettered.
    pub(crate) fn rerouted(&self) -> &[u64] {
        &self.rerouted
    }
}
