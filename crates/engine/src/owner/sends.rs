//! Sending single messages: what came for one queue in one turn becomes as few batches as possible.

use delivery::QueuePartition;
use storage::Durability;
use uuid::Uuid;

use super::admission::{Admission, Admitted, BATCH_BYTES};
use super::batch_draft::{BatchDraft, RecordLayout};
use super::request::Sending;
use super::round::Round;
use crate::queue::{NewMessage, Sent};
use crate::time::Moment;
use crate::{Error, Result};

/// What a record takes beyond what its message counts for, bytes; mostly.
const RECORD_BYTES: usize = 96;

/// What the sends for one queue partition come to.
struct SendDraft {
    admission: Admission,
    layout: RecordLayout,
    batch: BatchDraft,
    /// Whether records may be added.
    has_room: Result<()>,
}

impl SendDraft {
    /// Decides what becomes of one message.
    fn admit(&mut self, queue_partition: &QueuePartition, message: &NewMessage) -> Result<Sent> {
        let admitted = self.admission.admit(queue_partition, message)?;
        if !matches!(admitted, Admitted::Repeat(_)) {
            self.has_room.clone()?;
        }
        let sent = self.admission.take(&admitted, message);
        if !sent.duplicate {
            self.batch.push(message, self.layout);
        }
        match admitted {
            Admitted::Rerouted => Err(Error::QueueFull),
            Admitted::New(..) | Admitted::Repeat(_) => Ok(sent),
        }
    }
}

/// Bytes of the records that messages become, about; of their first batch, if they are more.
fn room(sends: &[Sending]) -> usize {
    let messages = sends.iter().flat_map(|send| &send.messages);
    let bytes = messages.map(|message| message.bytes() + RECORD_BYTES);
    bytes.sum::<usize>().min(BATCH_BYTES + RECORD_BYTES)
}

impl Round<'_> {
    /// Places everything that was sent in this turn; answers when it is on disk.
    pub(super) fn append_sends(&mut self, sends: &mut Vec<Sending>) {
        // Stable: the order of one sender's messages stays.
        sends.sort_by_key(|send| send.queue);
        let mut rest = std::mem::take(sends).into_iter().peekable();
        while let Some(first) = rest.next() {
            let queue = first.queue;
            let mut same = vec![first];
            while let Some(send) = rest.next_if(|send| send.queue == queue) {
                same.push(send);
            }
            self.place_for(queue, same);
        }
    }

    fn place_for(&mut self, queue: Uuid, sends: Vec<Sending>) {
        let (at, next, now) = (self.at(queue), self.end(), self.now);
        let has_room = self.commit.room(&*self.env.log);
        let Some(queue_partition) = self.queue_partition(queue) else {
            for send in sends {
                let _ = send.done.send(Err(Error::UnknownQueue));
            }
            return;
        };
        let known = std::sync::Arc::clone(&queue_partition.queue);
        let mut draft = SendDraft {
            layout: RecordLayout::of(known.settings()),
            admission: Admission::new(at, known, next, now),
            batch: BatchDraft::new(now).with_room(room(&sends)),
            has_room,
        };
        // A repeat is not confirmed before its original is durable.
        let must_be_synced = self.durability() != Durability::Flush;
        for send in sends {
            let mut outcomes = Vec::with_capacity(send.messages.len());
            for message in &send.messages {
                let Some(queue_partition) = self.queue_partition(queue) else {
                    break;
                };
                outcomes.push(draft.admit(&queue_partition.state, message));
                if draft.admission.is_full(draft.batch.bytes()) {
                    self.append_draft(&mut draft, now);
                }
            }
            let (done, permit) = (send.done, send.permit);
            let answer = move |failed: Option<Error>| {
                drop(permit);
                let _ = done.send(failed.map_or(Ok(outcomes), Err));
            };
            self.answer(must_be_synced, Box::new(answer));
        }
        self.append_draft(&mut draft, now);
        self.refuse_to_dead_letter(queue, draft.admission.rerouted());
        self.gather(queue);
    }

    /// Adds the batch that is being filled.
    fn append_draft(&mut self, draft: &mut SendDraft, now: Moment) {
        let Some(totals) = draft.admission.fill() else {
            return;
        };
        let written = std::mem::replace(&mut draft.batch, BatchDraft::new(now));
        self.append_made_here(written.build());
        let numbers = &draft.admission.queue.numbers;
        numbers.sent(totals.records, totals.bytes);
    }
}
