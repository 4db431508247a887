//! What was asked of the broker and what it acknowledged: the truth the checker holds it to.

use std::collections::BTreeMap;

use storage::Batch;
use uuid::Uuid;

/// A batch's identity: its whole content behind the offset and epoch that the broker fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    length: u32,
    crc: u32,
    hash: u64,
}

impl Print {
    pub(crate) fn of(batch: &Batch) -> Self {
        // FNV-1a over words of what the checksum covers, so that a wrong checksum cannot hide a wrong body.
        let body = batch.body();
        let (words, rest) = body.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let all = words.chain(rest.iter().copied().map(u64::from));
        let hash = all.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
            (hash ^ word).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            length: batch.header.length,
            crc: batch.header.crc,
            hash,
        }
    }
}

/// A batch that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) first: i32,
    pub(crate) count: i32,
    pub(crate) print: Print,
    /// Where it went, once the broker has said so.
    pub(crate) acked: Option<u64>,
}

/// One partition's history.
#[derive(Debug, Default)]
pub(crate) struct PartitionBook {
    pub(crate) topic: String,
    pub(crate) index: i32,
    /// Per producer, in the order of sequence numbers.
    pub(crate) sent: BTreeMap<i64, Vec<Sent>>,
    /// One past the last acknowledged record.
    pub(crate) acked_end: u64,
    /// Highest start asked for, and highest acknowledged.
    pub(crate) trim_asked: u64,
    pub(crate) trim_acked: u64,
}

impl PartitionBook {
    /// The sent batch of this producer that starts at `first`.
    pub(crate) fn find(&mut self, producer: i64, first: i32) -> Option<&mut Sent> {
        let sent = self.sent.get_mut(&producer)?;
        let place = sent.binary_search_by_key(&first, |sent| sent.first).ok()?;
        sent.get_mut(place)
    }
}

/// A committed offset's history.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Committed {
    pub(crate) asked: i64,
    pub(crate) acked: i64,
}

/// What is known about a topic that comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Asked for, not acknowledged.
    Coming,
    /// Acknowledged.
    There(Uuid),
    /// Its end was asked for, not acknowledged.
    Going(Uuid),
    /// Its end was acknowledged.
    Gone(Uuid),
}

/// Something the broker did that it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Acknowledged records are missing.
    LostRecords(String),
    /// An acknowledged offset or topic is missing.
    Lost(String),
    /// Anything else: duplicates, gaps, changed bytes, refusals.
    Wrong(String),
}

/// Everything, over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) partitions: Vec<PartitionBook>,
    pub(crate) offsets: BTreeMap<(String, usize), Committed>,
    pub(crate) topics: BTreeMap<String, Life>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) acked_records: u64,
    pub(crate) acked_requests: u64,
}

impl Ledger {
    pub(crate) fn lost(&mut self, what: String) {
        self.violations.push(Violation::Lost(what));
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.violations.push(Violation::Wrong(what));
    }

    /// A batch was acknowledged with this offset.
    pub(crate) fn acknowledge(&mut self, slot: usize, producer: i64, first: i32, offset: u64) {
        let book = &mut self.partitions[slot];
        let sent = book
            .find(producer, first)
            .expect("acknowledged but never sent");
        let count = u64::from(sent.count.unsigned_abs());
        sent.acked = Some(offset);
        book.acked_end = book.acked_end.max(offset + count);
        self.acked_records += count;
    }
}
