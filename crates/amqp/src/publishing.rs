//! Messages of a connection on their way: gathered while frames are served, handed over together, and what became of
//! them.

use std::collections::VecDeque;
use std::pin::Pin;

use engine::{Broker, Outgoing};

/// Bytes one connection may have on the way to the disk; beyond that its socket is not read.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Batches likewise.
const IN_FLIGHT_BATCHES_MAX: usize = 256;
/// Bytes one connection may have waiting for space on the disk. A publisher that wants confirmations is refused more;
/// of one that does not no more is read.
const BLOCKED_BYTES_MAX: usize = 1 << 20;
/// What a message takes beside its body.
pub(crate) const MESSAGE_BYTES: usize = 256;
/// Bytes handed over at once, or the broker would hold back a batch for its size.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// One outcome per message. Shared between threads like the session itself, which is looked at while it waits.
type Done = Pin<Box<dyn Future<Output = Vec<engine::Result<()>>> + Send + Sync>>;

/// A publish whose outcome a client may wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) channel: u16,
    pub(crate) incarnation: u64,
    /// What the publisher calls it; 0 when it wants no confirmation.
    pub(crate) number: u64,
    /// It reached a queue.
    pub(crate) is_sent: bool,
    /// The broker made it of another one; its publisher answers for nothing.
    pub(crate) is_copy: bool,
}

struct Batch {
    notes: Vec<Note>,
    bytes: usize,
    done: Done,
}

/// What is on its way.
#[derive(Default)]
pub(crate) struct Publishing {
    outgoing: Vec<Outgoing>,
    notes: Vec<Note>,
    bytes: usize,
    /// Bytes that arrived with what is gathered, and stay as long.
    pinned: usize,
    batches: VecDeque<Batch>,
    in_flight_bytes: usize,
}

impl Publishing {
    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight_bytes < IN_FLIGHT_BYTES_MAX && self.batches.len() < IN_FLIGHT_BATCHES_MAX
    }

    /// Whether more may be gathered while nothing is handed over.
    pub(crate) fn has_room_to_wait(&self) -> bool {
        self.bytes.max(self.pinned) < BLOCKED_BYTES_MAX
    }

    /// Bytes that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes.max(self.pinned) + self.in_flight_bytes
    }

    /// What is gathered keeps so many bytes alive that arrived with it.
    pub(crate) fn pin(&mut self, bytes: usize) {
        if !self.outgoing.is_empty() {
            self.pinned += bytes;
        }
    }

    /// Whether something that came on a channel waits to be handed over.
    pub(crate) fn has_gathered(&self, channel: u16) -> bool {
        self.notes.iter().any(|note| note.channel == channel)
    }

    /// Whether so much was gathered that it has to be handed over before more is.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.batches.is_empty() && self.notes.is_empty()
    }

    /// Whether nothing was handed over whose outcome is not known.
    pub(crate) fn is_settled(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Takes along what the broker made of another message.
    pub(crate) fn add_copy(&mut self, outgoing: Outgoing) {
        self.note(Note {
            channel: 0,
            incarnation: 0,
            number: 0,
            is_sent: true,
            is_copy: true,
        });
        self.add(outgoing);
    }

    pub(crate) fn add(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.body_bytes() + MESSAGE_BYTES;
        self.outgoing.push(outgoing);
    }

    pub(crate) async fn hand_over(&mut self, broker: &Broker) {
        if self.notes.is_empty() {
            return;
        }
        let outgoing = std::mem::take(&mut self.outgoing);
        let done: Done = if outgoing.is_empty() {
            Box::pin(std::future::ready(Vec::new()))
        } else {
            let sends = broker.send_routed(outgoing).await;
            Box::pin(sends.done())
        };
        let pinned = std::mem::take(&mut self.pinned);
        let bytes = std::mem::take(&mut self.bytes).max(pinned);
        self.in_flight_bytes += bytes;
        self.batches.push_back(Batch {
            notes: std::mem::take(&mut self.notes),
            bytes,
            done,
        });
    }

    /// What became of the oldest batch; waits for ever when there is none.
    pub(crate) async fn next(&mut self) -> Settled {
        let outcomes = match self.batches.front_mut() {
            Some(batch) => batch.done.as_mut().await,
            None => std::future::pending().await,
        };
        let batch = self.batches.pop_front().expect("it was just waited for");
        self.in_flight_bytes -= batch.bytes;
        Settled {
            notes: batch.notes,
            outcomes,
        }
    }

    /// Likewise, if it is known already.
    pub(crate) async fn ready(&mut self) -> Option<Settled> {
        tokio::select! {
            biased;
            settled = self.next() => Some(settled),
            () = std::future::ready(()) => None,
        }
    }
}

/// A batch of which everything is known.
pub(crate) struct Settled {
    pub(crate) notes: Vec<Note>,
    pub(crate) outcomes: Vec<engine::Result<()>>,
}
