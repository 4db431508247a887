//! Sending single messages: what came for one partition in one round becomes as few batches as possible.

use std::sync::Arc;

use storage::{Durability, Lsn};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::admission::{Admission, BATCH_BYTES, Judged};
use super::pending::{Reply, Waiting};
use super::writing::{Manner, Writing};
use super::{Entry, Shard};
use crate::partition::Partition;
use crate::queue::lane::Lane;
use crate::queue::{LaneAt, NewMessage, Sent};
use crate::time::Moment;
use crate::{Error, Result};

/// What a record takes beyond what its message counts for, bytes; mostly.
const RECORD_BYTES: usize = 96;

/// Messages for one lane.
pub(crate) struct Sending {
    pub(crate) at: LaneAt,
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Gone once they are placed: what its sender does next may go another way, and must not overtake them.
    pub(crate) order: Option<Arc<()>>,
    pub(crate) done: oneshot::Sender<Result<Vec<Result<Sent>>>>,
}

/// What the sends for one lane come to.
struct Placing {
    at: LaneAt,
    admission: Admission,
    manner: Manner,
    writing: Writing,
    outcomes: Vec<Vec<Result<Sent>>>,
    /// What the answers wait for.
    wait_for: (Lsn, Durability),
    grown: Vec<(Arc<Partition>, u64)>,
}

impl Placing {
    /// Decides what becomes of one message.
    fn admit(&mut self, lane: &Lane, message: &NewMessage) -> Result<Sent> {
        let judged = self.admission.judge(lane, message)?;
        let sent = self.admission.take(&judged, message);
        if !sent.duplicate {
            self.writing.push(message, self.manner);
        }
        match judged {
            Judged::Doomed => Err(Error::QueueFull),
            Judged::New(..) | Judged::Repeat(_) => Ok(sent),
        }
    }

    /// The last `records` messages could not be placed, and their repeats fail with them.
    fn fail(&mut self, records: u64, error: &Error) {
        let first = self.admission.take_back(records);
        for outcome in self.outcomes.iter_mut().flatten() {
            if matches!(outcome, Ok(sent) if sent.sequence >= first) {
                *outcome = Err(error.clone());
            }
        }
    }
}

/// Bytes of the records that messages become, about; of their first batch, if they are more.
fn room(sends: &[Sending]) -> usize {
    let messages = sends.iter().flat_map(|send| &send.messages);
    let bytes = messages.map(|message| message.bytes() + RECORD_BYTES);
    bytes.sum::<usize>().min(BATCH_BYTES + RECORD_BYTES)
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
        let now = self.clock.moment();
        let Some(lane) = self.partitions.lane(at) else {
            for send in sends {
                let _ = send.done.send(Err(Error::UnknownQueue));
            }
            return;
        };
        let queue = Arc::clone(&lane.queue);
        let next = self.partitions.end(at.topic, at.index);
        let manner = Manner::of(queue.settings());
        let mut placing = Placing {
            at,
            admission: Admission::new(at, queue, next, now),
            manner,
            writing: Writing::new(now).with_room(room(&sends)),
            outcomes: Vec::with_capacity(sends.len()),
            // A repeat is not confirmed before its original is durable.
            wait_for: self.partitions.newest((at.topic, at.index), self.durable),
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
                if placing.admission.is_full(placing.writing.bytes()) {
                    self.place_batch(&mut placing, now);
                }
            }
        }
        self.place_batch(&mut placing, now);
        self.refuse_to_dead_letter(at, placing.admission.doomed());
        self.answer_sends(sends, placing);
        self.gather(at);
    }

    /// Appends the batch that is being filled. What cannot be appended fails all its messages.
    fn place_batch(&mut self, placing: &mut Placing, now: Moment) {
        let Some(filled) = placing.admission.fill() else {
            return;
        };
        let written = std::mem::replace(&mut placing.writing, Writing::new(now));
        let entry = Entry {
            topic_id: placing.at.topic,
            index: placing.at.index,
            batch: written.build(),
            largest_value: 0,
            outlines: None,
        };
        match self.place(entry) {
            Ok(placed) => {
                let (lsn, durability) = &mut placing.wait_for;
                *lsn = (*lsn).max(placed.lsn);
                if placed.durability == Durability::Sync {
                    *durability = Durability::Sync;
                }
                placing.grown.extend(placed.grown);
                let numbers = &placing.admission.queue.numbers;
                numbers.sent(filled.records, filled.bytes);
            }
            Err(error) => placing.fail(filled.records, &error),
        }
    }

    fn answer_sends(&mut self, sends: Vec<Sending>, placing: Placing) {
        let answers: Vec<_> = sends
            .into_iter()
            .map(|send| {
                drop(send.order);
                (send.done, send.permit)
            })
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
