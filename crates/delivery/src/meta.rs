//! What a queue partition wants to know of a record: its key, when it is due, its deduplication id.
//!
//! It travels in headers of reserved names, as the sender's frontend and the engine wrote them. Numbers are
//! big-endian.

use bytes::Bytes;
use storage::Batch;
use storage::batch::{Outline, Record, RecordHeader};
use uuid::Uuid;

use crate::dedup;
use crate::dedup::IdHash;
use crate::moment::Moment;
use crate::moment::after;
use crate::reserved;
use crate::reserved::{DEDUP, DUE, EXPIRES, ID, PRIORITY};
use crate::settings::{DedupScope, Ordering, QueueSettings};

/// What is known of one record.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub offset: u64,
    /// When it was sent, ms of broker time.
    pub at: u64,
    pub key: Option<Bytes>,
    pub level: u8,
    pub(crate) due: u64,
    /// When it expires, if it has a time of its own.
    pub expires: Option<u64>,
    /// Of its body.
    pub bytes: u32,
    pub(crate) dedup: Option<IdHash>,
}

/// What is known of the records of a batch the broker made, as far as they can be read.
pub(crate) fn read(batch: &Batch, settings: &QueueSettings, arrived: Moment) -> Vec<Meta> {
    let records = batch.records().map_while(Result::ok);
    records
        .map(|record| meta(&record, settings, arrived))
        .collect()
}

/// What is known of a record by its outline, which says nothing about its delivery but the key.
pub(crate) fn of_outline(
    (offset, at): (u64, u64),
    outline: &Outline,
    settings: &QueueSettings,
) -> Meta {
    let ordered = settings.ordering == Ordering::Key;
    Meta {
        offset,
        at,
        key: outline.key.clone(),
        level: 0,
        // In order, all messages wait equally long: the queue's delay as it is now.
        due: if ordered {
            after(at, settings.delay_ms)
        } else {
            0
        },
        expires: None,
        bytes: outline.value_bytes,
        dedup: None,
    }
}

fn meta(record: &Record, settings: &QueueSettings, arrived: Moment) -> Meta {
    let outline = Outline {
        timestamp: record.timestamp,
        key: record.key.clone(),
        value_bytes: u32::try_from(record.value.as_ref().map_or(0, Bytes::len)).unwrap_or(u32::MAX),
    };
    let at = arrived.of_stamp(u64::try_from(record.timestamp).unwrap_or(0));
    let mut meta = of_outline((record.offset, at), &outline, settings);
    let find = |name: &[u8]| header(&record.headers, name);
    if let Some(due) = find(DUE).and_then(|value| reserved::number(value)) {
        meta.due = after(due, 0);
    }
    meta.expires = find(EXPIRES).and_then(|value| reserved::number(value));
    if let Some(level) = find(PRIORITY).and_then(|value| reserved::level(value)) {
        meta.level = level_in(level, settings);
    }
    // What came from another queue was let in there, and must not be taken for a repeat here.
    if let (Some(id), None) = (find(DEDUP), find(ID)) {
        let scope = match settings.dedup_scope {
            DedupScope::Queue => None,
            DedupScope::Key => record.key.as_deref(),
        };
        meta.dedup = Some(dedup::hash(scope, id));
    }
    meta
}

/// The level of a message in a queue that may have fewer.
pub(crate) fn level_in(level: u8, settings: &QueueSettings) -> u8 {
    let greatest = settings.priorities.saturating_sub(1);
    u8::try_from(greatest.min(u16::from(level))).unwrap_or(u8::MAX)
}

fn header<'h>(headers: &'h [RecordHeader], name: &[u8]) -> Option<&'h Bytes> {
    let found = headers.iter().find(|(n, _)| n == name)?;
    found.1.as_ref()
}

/// The identity of the message at an offset: the same whenever it is asked for, different for every message.
pub fn message_id(topic: Uuid, partition: u32, offset: u64) -> Uuid {
    let (high, low) = topic.as_u64_pair();
    // Multiplying by odd numbers loses nothing: no two offsets of a partition share an identity.
    let mixed = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low.rotate_left(32);
    let spread = high ^ u64::from(partition).wrapping_mul(0xff51_afd7_ed55_8ccd);
    // Six bits of the lower half are fixed by the form; the same six of the mix go into the upper one.
    let spread = spread ^ (mixed >> 62) ^ ((offset >> 58) << 8);
    uuid::Builder::from_random_bytes(Uuid::from_u64_pair(spread, mixed).into_bytes()).into_uuid()
}
