//! A partition's snapshot as a record of the partition's state stream.
//!
//! ```text
//! version u8 (1) | upto u64 | producers u32 | per producer:
//!     id i64 | epoch i16 | last seen u64 | batches u8 | per batch: first i32, last i32, offset u64, time i64
//! ```
//!
//! `upto` is the partition's end when it was taken: recovery applies the batches from there on. A reader
//! refuses versions it does not know, which makes the owner fall back to the whole partition.

use bytes::{Buf, BufMut};

use super::producers::{Producer, Producers, Remembered, WINDOW};

const VERSION: u8 = 1;

/// A decoded snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The partition's end at the time.
    pub upto: u64,
    /// The producers at the time.
    pub producers: Producers,
}

impl Snapshot {
    /// The snapshot as bytes.
    pub fn encode(upto: u64, producers: &Producers) -> Vec<u8> {
        let all = producers.sorted();
        let mut out = Vec::with_capacity(16 + all.len() * 64);
        out.put_u8(VERSION);
        out.put_u64(upto);
        out.put_u32(u32::try_from(all.len()).expect("fewer producers than fit in memory"));
        for (id, producer) in all {
            out.put_i64(id);
            out.put_i16(producer.epoch);
            out.put_u64(producer.last_seen);
            out.put_u8(u8::try_from(producer.batches.len()).expect("at most five"));
            for batch in &producer.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_u64(batch.base_offset);
                out.put_i64(batch.max_timestamp);
            }
        }
        out
    }

    /// Reads a snapshot; `None` when the bytes are of an unknown version or damaged.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let upto = bytes.try_get_u64().ok()?;
        let mut producers = Producers::default();
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = bytes.try_get_i64().ok()?;
            producers.restore(id, decode_producer(&mut bytes)?);
        }
        bytes.is_empty().then_some(Self { upto, producers })
    }
}

fn decode_producer(bytes: &mut &[u8]) -> Option<Producer> {
    let epoch = bytes.try_get_i16().ok()?;
    let last_seen = bytes.try_get_u64().ok()?;
    let count = usize::from(bytes.try_get_u8().ok()?);
    if count == 0 || count > WINDOW {
        return None;
    }
    let mut batches = Vec::with_capacity(count);
    for _ in 0..count {
        batches.push(Remembered {
            first_sequence: bytes.try_get_i32().ok()?,
            last_sequence: bytes.try_get_i32().ok()?,
            base_offset: bytes.try_get_u64().ok()?,
            max_timestamp: bytes.try_get_i64().ok()?,
        });
    }
    Some(Producer {
        epoch,
        last_seen,
        batches,
    })
}

/// What a fuzzer, and a test over noise, asserts of any bytes.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Some(snapshot) = Snapshot::decode(data) {
        let again = Snapshot::encode(snapshot.upto, &snapshot.producers);
        assert_eq!(Snapshot::decode(&again), Some(snapshot));
    }
}
