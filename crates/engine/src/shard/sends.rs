//! Sending single messages: what came for one partition in one round becomes as few batches as possible.

use std::collections::HashMap;

use storage::Durability;
use storage::batch::BatchBuilder;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::pending::{Reply, Waiting};
use super::{Entry, Shard};
use crate::queue::lane::{self, IDS_MAX, IdHash, message_id};
use crate::queue::{DedupScope, LaneAt, NewMessage, Ordering, QueueSettings, Sent};
use crate::{Error, Result};

/// A batch is closed when it has this many bytes …
const BATCH_BYTES: usize = 64 << 10;
/// … or this many records: who reads one of them steps over the others.
const BATCH_RECORDS: usize = 64;

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
    records: usize,
    /// Which outcomes depend on it.
    places: Vec<(usize, usize)>,
}

impl Open {
    fn new(now: u64) -> Self {
        Self {
            builder: BatchBuilder::new(now.cast_signed()).made_here(),
            records: 0,
            places: Vec::new(),
        }
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
        let Some(owned) = self.partitions.lane(at) else {
            for send in sends {
                let _ = send.done.send(Err(Error::UnknownQueue));
            }
            return;
        };
        let queue = std::sync::Arc::clone(&owned.queue);
        let settings = queue.settings();
        let mut outcomes: Vec<Vec<Result<Sent>>> = Vec::with_capacity(sends.len());
        let mut seen = HashMap::new();
        let mut open = Open::new(now);
        let mut grown = Vec::new();
        // A repeat is not confirmed before its original is durable.
        let mut wait_for = self.partitions.newest(at.topic, at.index);
        for (i, send) in sends.iter().enumerate() {
            outcomes.push(Vec::with_capacity(send.messages.len()));
            for (j, message) in send.messages.iter().enumerate() {
                let next = self.next_offset(at) + open.records as u64;
                let outcome = self.admit(at, message, settings, (now, next), &mut seen);
                if matches!(outcome, Ok(sent) if !sent.duplicate) {
                    push(&mut open.builder, message, settings, now);
                    open.records += 1;
                    open.places.push((i, j));
                }
                outcomes[i].push(outcome);
                if open.builder.bytes() >= BATCH_BYTES || open.records >= BATCH_RECORDS {
                    let full = std::mem::replace(&mut open, Open::new(now));
                    self.place_batch(at, full, &mut outcomes, (&mut grown, &mut wait_for));
                }
            }
        }
        if open.records > 0 {
            self.place_batch(at, open, &mut outcomes, (&mut grown, &mut wait_for));
        }
        let answers: Vec<_> = sends
            .into_iter()
            .map(|send| (send.done, send.permit))
            .zip(outcomes)
            .collect();
        let send = move || {
            for ((done, permit), outcomes) in answers {
                drop(permit);
                let _ = done.send(Ok(outcomes));
            }
        };
        let answer = Reply::Call(Box::new(send));
        self.answer_at(wait_for, Waiting { grown, answer });
        self.gather(at);
    }

    fn next_offset(&mut self, at: LaneAt) -> u64 {
        self.partitions
            .here(at.topic, at.index)
            .map_or(0, |owned| owned.ledger.end)
    }

    /// Decides what becomes of one message that would get offset `next`.
    fn admit(
        &mut self,
        at: LaneAt,
        message: &NewMessage,
        settings: &QueueSettings,
        (now, next): (u64, u64),
        seen: &mut HashMap<IdHash, u64>,
    ) -> Result<Sent> {
        let bytes = message.body.len()
            + message
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        let allowed = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
        if bytes > allowed {
            return Err(Error::TooLarge { bytes, allowed });
        }
        let sent = |offset, duplicate| Sent {
            id: message_id(at.topic, at.index, offset),
            sequence: offset,
            duplicate,
        };
        if let Some(id) = &message.dedup {
            let owned = self.partitions.lane(at).ok_or(Error::UnknownQueue)?;
            let scope = match settings.dedup_scope {
                DedupScope::Queue => None,
                DedupScope::Key => message.key.as_deref(),
            };
            let hash = lane::hash(scope, id);
            let known = owned
                .lane
                .duplicate(hash, settings.dedup_window_ms, now)
                .or_else(|| seen.get(&hash).copied());
            if let Some(original) = known {
                return Ok(sent(original, true));
            }
            if owned.lane.dedup_ids() >= IDS_MAX {
                return Err(Error::Throttled);
            }
            seen.insert(hash, next);
        }
        Ok(sent(next, false))
    }

    /// Appends a batch that is full, or the last one. What cannot be appended fails all its messages.
    fn place_batch(
        &mut self,
        at: LaneAt,
        open: Open,
        outcomes: &mut [Vec<Result<Sent>>],
        (grown, wait_for): (
            &mut Vec<(std::sync::Arc<crate::partition::Partition>, u64)>,
            &mut (storage::Lsn, Durability),
        ),
    ) {
        let entry = Entry {
            topic_id: at.topic,
            index: at.index,
            batch: open.builder.build(),
        };
        match self.place(entry) {
            Ok(placed) => {
                wait_for.0 = wait_for.0.max(placed.lsn);
                if placed.durability == Durability::Sync {
                    wait_for.1 = Durability::Sync;
                }
                grown.extend(placed.grown);
            }
            Err(error) => {
                let failed: Vec<u64> = open
                    .places
                    .iter()
                    .filter_map(|(i, j)| Some(outcomes[*i][*j].as_ref().ok()?.sequence))
                    .collect();
                // Their repeats fail with them.
                for outcome in outcomes.iter_mut().flatten() {
                    if matches!(outcome, Ok(sent) if failed.contains(&sent.sequence)) {
                        *outcome = Err(error.clone());
                    }
                }
            }
        }
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
    let own = [
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
