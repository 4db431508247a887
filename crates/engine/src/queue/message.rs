//! What goes into a queue and what comes out.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage::batch::RecordHeader;
use uuid::Uuid;

use super::{DeadLetter, DeadLetterEvent, RESERVED, Receipt};

/// A message to send.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// Body.
    pub body: Bytes,
    /// Message key (message group); the record's key in the log.
    pub key: Option<Bytes>,
    /// Headers in the order given. Reserved names are for frontends, with a name of their own in them.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Wait before it can be leased, ms; absent: the queue's.
    pub delay_ms: Option<u64>,
    /// Repeats with the same id within the queue's window are accepted and dropped.
    pub dedup: Option<Bytes>,
    /// Priority, greater first; levels the queue does not have count as its greatest.
    pub priority: u8,
    /// How long after it can be leased for the first time it expires, ms; absent: as its queue says.
    pub ttl_ms: Option<u64>,
    /// The exchange it was published to, if it came by way of one.
    pub exchange: Option<Bytes>,
    /// The keys it was published with that its receivers may know.
    pub keys: Vec<Bytes>,
    /// Further keys it was published with, which nobody may know: it is dead-lettered by them too.
    pub hidden_keys: Vec<Bytes>,
}

impl NewMessage {
    /// What it takes, bytes: body, names and values of all headers.
    pub(crate) fn held(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }

    /// What counts for its size, bytes: body, names and values of headers that are not reserved.
    pub fn bytes(&self) -> usize {
        let reserved = |name: &[u8]| name.starts_with(RESERVED.as_bytes());
        let headers = self.headers.iter().filter(|(name, _)| !reserved(name));
        let headers = headers.map(|(name, value)| name.len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Identity of the message; the first one's for a repeat.
    pub id: Uuid,
    /// Its place in the order of the queue: rises, with gaps. The offset in its partition.
    pub sequence: u64,
    /// The message was there already and was dropped.
    pub duplicate: bool,
}

/// What a receiver asks for.
#[derive(Debug, Clone, Default)]
pub struct Receive {
    /// Messages at most; at least 1.
    pub max: usize,
    /// How long they are leased, ms; absent: the queue's. Zero leases nothing: they stay ready.
    pub lease_ms: Option<u64>,
    /// How long to wait for the first message, ms.
    pub wait_ms: u64,
    /// Names the attempt: repeating it within five minutes gives the same messages and receipts again, unless one
    /// of them was settled or ran out. Only for queues ordered by key.
    pub attempt: Option<String>,
}

/// A message in flight.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Identity, kept through dead-lettering and redrive.
    pub id: Uuid,
    /// What settles it.
    pub receipt: Receipt,
    /// Body.
    pub body: Bytes,
    /// Message key (message group).
    pub key: Option<Bytes>,
    /// Headers as sent, reserved ones included.
    pub headers: Vec<RecordHeader>,
    /// When it was sent, ms.
    pub sent_ms: u64,
    /// When it was first leased, ms.
    pub first_received_ms: u64,
    /// Times it was leased, this one included, over all queues it was in.
    pub acquired: u32,
    /// Times it failed here.
    pub failed: u32,
    /// Its place in the order of the queue.
    pub sequence: u64,
    /// Its deduplication id.
    pub dedup: Option<Bytes>,
    /// Its priority.
    pub priority: u8,
    /// The exchange it was published to, if it came by way of one.
    pub exchange: Option<Bytes>,
    /// The keys it was published with.
    pub keys: Vec<Bytes>,
    /// Where it comes from, if it is a dead letter.
    pub dead: Option<DeadLetter>,
    /// Its dead-letter history, newest first.
    pub dead_letter_history: Vec<DeadLetterEvent>,
}

/// The messages of a queue by where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// How many failed in each queue; without a name: those that never failed anywhere.
    pub sources: BTreeMap<Option<String>, u64>,
    /// There are more messages than were looked at.
    pub more: bool,
}

/// How full a queue is; exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be leased now, or are behind one of their key that is leased.
    pub ready: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Messages that wait for their time: delays and backoff.
    pub delayed: u64,
    /// Keys that messages in flight have.
    pub keys_in_flight: u64,
    /// Messages whose records cannot be read: they stay and are not delivered.
    pub unreadable: u64,
    /// Sent, ever since the broker started: repeats and messages that were moved here left out.
    pub sent: u64,
    /// Their bodies, header names and values, bytes.
    pub sent_bytes: u64,
    /// Accepted and dropped as repeats, likewise.
    pub deduplicated: u64,
    /// Leased, likewise.
    pub received: u64,
    /// Acknowledged, likewise.
    pub deleted: u64,
    /// Receives that found nothing, likewise.
    pub empty_receives: u64,
    /// Dead-lettered, likewise.
    pub dead_lettered: u64,
    /// When the oldest message that is not done was sent, ms; as [`crate::Broker::look_for_oldest`] last found it.
    pub oldest_ms: Option<u64>,
}

/// How a move task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveState {
    /// Moving.
    Running,
    /// Everything there was at the start is moved.
    Completed,
    /// Asked to stop, not yet stopped.
    Cancelling,
    /// Stopped.
    Cancelled,
    /// Gave up; the task says why.
    Failed,
}

/// Moves a queue's messages to another queue, or dead letters back to where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTask {
    /// Identity.
    pub id: Uuid,
    /// Queue it takes from.
    pub source: String,
    /// Queue it gives to; absent: to each message's own source.
    pub destination: Option<String>,
    /// Messages per second at most.
    pub rate_max: Option<u32>,
    /// How it stands.
    pub state: MoveState,
    /// Messages moved.
    pub moved: u64,
    /// Messages there were to move at the start.
    pub to_move: u64,
    /// When it was started, ms.
    pub started_ms: u64,
    /// Why it failed.
    pub failure: Option<String>,
}
