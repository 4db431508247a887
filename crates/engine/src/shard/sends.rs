//! Sending single messages: what came for one partition in one round becomes as few batches as possible.

use std::collections::HashMap;
use std::sync::Arc;

use storage::batch::BatchBuilder;
use storage::{Durability, Lsn};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::pending::{Reply, Waiting};
use super::{Entry, Shard};
use crate::partition::Partition;
use crate::queue::lane::{self, IDS_MAX, IdHash, Lane, message_id};
use crate::queue::{
    DedupScope, LaneAt, NewMessage, Ordering, Overflow, Queue, QueueSettings, Sent,
};
use crate::{Error, Result};

/// A batch is closed when it has this many bytes …
const BATCH_BYTES: usize = 64 << 10;
/// … or this many records: who reads one of them steps over the others.
const BATCH_RECORDS: u64 = 64;

/// Messages for one lane.
pub(crate) struct Sending {
    pub(crate) at: LaneAt,
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    pub(crate) done: oneshot::Sender<Result<Vec<Result<Sent>>>>,
}

/// The batch that is being filled.
struct Open {
    builder: BatchBuilder,
    records: u64,
    /// Of its messages.
    bytes: u64,
}

impl Open {
    fn new(now: u64) -> Self {
        Self {
            builder: BatchBuilder::new(now.cast_signed()).made_here(),
            records: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.builder.bytes() >= BATCH_BYTES || self.records >= BATCH_RECORDS
    }
}

/// What the sends for one lane come to.
struct Placing {
    at: LaneAt,
    now: u64,
    queue: Arc<Queue>,
    /// Offset of the next message.
    next: u64,
    open: Open,
    /// Ids of this round, with the offsets they got.
    seen: HashMap<IdHash, u64>,
    outcomes: Vec<Vec<Result<Sent>>>,
    /// Messages that are let in only to be dead-lettered.
    refused: Vec<u64>,
    /// What the answers wait for.
    wait_for: (Lsn, Durability),
    grown: Vec<(Arc<Partition>, u64)>,
}

impl Placing {
    fn sent(&self, offset: u64, duplicate: bool) -> Sent {
        Sent {
            id: message_id(self.at.topic, self.at.index, offset),
            sequence: offset,
            duplicate,
        }
    }

    /// Decides what becomes of one message.
    fn admit(&mut self, lane: &Lane, message: &NewMessage) -> Result<Sent> {
        let settings = self.queue.settings();
        let bytes = message.bytes();
        let allowed = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
        if bytes > allowed {
            return Err(Error::TooLarge { bytes, allowed });
        }
        let more = (self.next - lane.end() + 1, self.open.bytes + bytes as u64);
        let full = lane.is_full(settings, more);
        if full && settings.limits.overflow != Overflow::RefuseToDeadLetter {
            return Err(Error::QueueFull);
        }
        if let Some(id) = &message.dedup {
            let scope = match settings.dedup_scope {
                DedupScope::Queue => None,
                DedupScope::Key => message.key.as_deref(),
            };
            let id = lane::hash(scope, id);
            let known = lane.duplicate(id, settings.dedup_window_ms, self.now);
            if let Some(original) = known.or_else(|| self.seen.get(&id).copied()) {
                self.queue.numbers.deduplicated();
                return Ok(self.sent(original, true));
            }
            if lane.dedup_ids() + self.seen.len() >= IDS_MAX {
                return Err(Error::Throttled);
            }
            self.seen.insert(id, self.next);
        }
        push(&mut self.open.builder, message, settings, self.now);
        self.open.bytes += bytes as u64;
        self.open.records += 1;
        self.next += 1;
        if full {
            self.refused.push(self.next - 1);
            return Err(Error::QueueFull);
        }
        Ok(self.sent(self.next - 1, false))
    }

    /// What was to be placed from `first` on was not, and its repeats fail with it.
    fn fail(&mut self, first: u64, error: &Error) {
        for outcome in self.outcomes.iter_mut().flatten() {
            if matches!(outcome, Ok(sent) if sent.sequence >= first) {
                *outcome = Err(error.clone());
            }
        }
        self.seen.retain(|_, offset| *offset < first);
        self.refused.retain(|offset| *offset < first);
        self.next = first;
    }
}

impl Shard {
    /// Places everything that was sent in this round; answers when it is on disk.
    pub(super) fn place_sends(&mut self, sends: &mut Vec<Sending>) {
        // Stable: the order of one sender's messages stays.
        sends.sort_by_key(|send| send.at);
        let mut rest = std::mem::take(sends).into_iter().peekable();
        while let Some(first) = rest.next() {
            let at = first.at;
            let mut same = vec![first];
            while let Some(send) = rest.next_if(|send| send.at == at) {
                same.push(send);
            }
            self.place_lane(at, same);
        }
    }

    fn place_lane(&mut self, at: LaneAt, sends: Vec<Sending>) {
        let now = self.clock.now_ms();
        let Some(lane) = self.partitions.lane(at) else {
            for send in sends {
                let _ = send.done.send(Err(Error::UnknownQueue));
            }
            return;
        };
        let mut placing = Placing {
            at,
            now,
            queue: Arc::clone(&lane.queue),
            next: self.partitions.end(at.topic, at.index),
            open: Open::new(now),
            seen: HashMap::new(),
            outcomes: Vec::with_capacity(sends.len()),
            refused: Vec::new(),
            // A repeat is not confirmed before its original is durable.
            wait_for: self.partitions.newest(at.topic, at.index),
            grown: Vec::new(),
        };
        for send in &sends {
            placing
                .outcomes
                .push(Vec::with_capacity(send.messages.len()));
            for message in &send.messages {
                let Some(lane) = self.partitions.lane(at) else {
                    break;
                };
                let outcome = placing.admit(&lane.lane, message);
                placing
                    .outcomes
                    .last_mut()
                    .expect("just pushed")
                    .push(outcome);
                if placing.open.is_full() {
                    self.place_batch(&mut placing);
                }
            }
        }
        self.place_batch(&mut placing);
        self.refuse_to_dead_letter(at, &placing.refused);
        self.answer_sends(sends, placing);
        self.gather(at);
    }

    /// Appends the batch that is being filled. What cannot be appended fails all its messages.
    fn place_batch(&mut self, placing: &mut Placing) {
        let open = std::mem::replace(&mut placing.open, Open::new(placing.now));
        if open.records == 0 {
            return;
        }
        let entry = Entry {
            topic_id: placing.at.topic,
            index: placing.at.index,
            batch: open.builder.build(),
        };
        match self.place(entry) {
            Ok(placed) => {
                let (lsn, durability) = &mut placing.wait_for;
                *lsn = (*lsn).max(placed.lsn);
                if placed.durability == Durability::Sync {
                    *durability = Durability::Sync;
                }
                placing.grown.extend(placed.grown);
                placing.queue.numbers.sent(open.records, open.bytes);
            }
            Err(error) => placing.fail(placing.next - open.records, &error),
        }
    }

    fn answer_sends(&mut self, sends: Vec<Sending>, placing: Placing) {
        let answers: Vec<_> = sends
            .into_iter()
            .map(|send| (send.done, send.permit))
            .zip(placing.outcomes)
            .collect();
        let send = move || {
            for ((done, permit), outcomes) in answers {
                drop(permit);
                let _ = done.send(Ok(outcomes));
            }
        };
        let waiting = Waiting {
            grown: placing.grown,
            answer: Reply::Call(Box::new(send)),
        };
        self.answer_at(placing.wait_for, waiting);
    }
}

/// Encodes a message as a record.
fn push(builder: &mut BatchBuilder, message: &NewMessage, settings: &QueueSettings, now: u64) {
    let in_order = settings.ordering == Ordering::Key;
    // In order, all messages wait equally long, and the lane knows how long.
    let delay = message.delay_ms.filter(|_| !in_order).unwrap_or(0);
    let delay = if in_order || message.delay_ms.is_some() {
        delay
    } else {
        settings.delay_ms
    };
    let due = (now + delay).to_be_bytes();
    let priority = [message.priority];
    let expires = message
        .ttl_ms
        .map(|ttl| now.saturating_add(delay).saturating_add(ttl));
    let expires = expires.map(u64::to_be_bytes);
    let own = [
        expires.as_ref().map(|at| (lane::EXPIRES, &at[..])),
        (delay > 0).then_some((lane::DUE, &due[..])),
        message.dedup.as_deref().map(|id| (lane::DEDUP, id)),
        (settings.priorities > 1).then_some((lane::PRIORITY, &priority[..])),
    ];
    let given = message
        .headers
        .iter()
        .filter(|(name, _)| !lane::is_reserved_by_engine(name))
        .map(|(name, value)| (&name[..], &value[..]));
    let headers: Vec<(&[u8], Option<&[u8]>)> = given
        .chain(own.into_iter().flatten())
        .map(|(name, value)| (name, Some(value)))
        .collect();
    builder.push_record(
        now.cast_signed(),
        message.key.as_deref(),
        Some(&message.body),
        headers.iter().copied(),
    );
}
