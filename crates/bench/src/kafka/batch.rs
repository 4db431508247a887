//! Record batches, built once and sent over and over: the record-batch v2 layout from the producer's side.
//!
//! ```text
//!  0 base offset i64 · 8 length i32 · 12 leader epoch i32 · 16 magic 2 · 17 CRC-32C of everything from 21 on
//! 21 attributes i16 · 23 last offset delta i32 · 27 base timestamp i64 · 35 max timestamp i64
//! 43 producer id i64 · 51 producer epoch i16 · 53 base sequence i32 · 57 record count i32 · 61 records
//! ```
//!
//! A record is its length and then attributes, timestamp delta, offset delta, key, value and header count; all but the
//! attributes are zigzag variable-length integers or have one in front.

use bytes::{BufMut, Bytes, BytesMut};

use super::options::BatchSize;

const HEADER_BYTES: usize = 61;
const CHECKED_FROM: usize = 21;
/// Bytes in front of what the length field counts.
const LENGTH_FROM: usize = 12;
/// Attributes, timestamp delta, null key and header count of a record: one byte each.
const RECORD_FIXED_BYTES: usize = 4;

/// A batch of `count` records of `record_bytes` of noise each, produced at `now_ms`.
pub(super) fn build(record_bytes: usize, count: usize, now_ms: i64) -> Bytes {
    of_value(&noise(record_bytes), count, now_ms)
}

/// A batch of `count` records of the same value, produced at `now_ms`.
pub(super) fn of_value(value: &[u8], count: usize, now_ms: i64) -> Bytes {
    let record_bytes = value.len();
    let mut records = BytesMut::new();
    for index in 0..count {
        put_varint(&mut records, length(record_bytes, index));
        records.put_slice(&[0, 0]);
        put_varint(&mut records, index);
        records.put_u8(NULL);
        put_varint(&mut records, record_bytes);
        records.put_slice(value);
        records.put_u8(0);
    }
    let mut batch = BytesMut::with_capacity(HEADER_BYTES + records.len());
    batch.put_i64(0);
    put_count(&mut batch, HEADER_BYTES - LENGTH_FROM + records.len());
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(0);
    batch.put_i16(0);
    put_count(&mut batch, count - 1);
    batch.put_i64(now_ms);
    batch.put_i64(now_ms);
    batch.put_i64(-1);
    batch.put_i16(-1);
    batch.put_i32(-1);
    put_count(&mut batch, count);
    batch.put_slice(&records);
    let crc = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// How many records of `record_bytes` a batch of this size holds.
pub(super) fn count(size: BatchSize, record_bytes: usize) -> usize {
    let bytes_max = match size {
        BatchSize::Records(count) => return count,
        BatchSize::Bytes(bytes) => bytes,
    };
    let (mut bytes, mut count) = (HEADER_BYTES, 0);
    loop {
        let length = length(record_bytes, count);
        bytes += varint_bytes(length) + length;
        if bytes > bytes_max {
            return count.max(1);
        }
        count += 1;
    }
}

/// A null key: length -1.
const NULL: u8 = 1;

/// Bytes of a record after its own length.
fn length(record_bytes: usize, index: usize) -> usize {
    RECORD_FIXED_BYTES + varint_bytes(index) + varint_bytes(record_bytes) + record_bytes
}

/// Bytes that do not compress, the same at every run.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut noise: Vec<u8> = std::iter::repeat_with(next)
        .take(bytes.div_ceil(8))
        .flatten()
        .collect();
    noise.truncate(bytes);
    noise
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("the options keep sizes far below 2 GiB"));
}

/// A zigzag variable-length integer that is not negative.
fn put_varint(out: &mut BytesMut, value: usize) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - (value << 1).leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_laid_out_as_specified() {
        let batch = build(3, 2, 0x0102_0304_0506);
        // Two records of 9 bytes, each behind its length: 20; behind the length field 49 more.
        #[rustfmt::skip]
        let expected = [
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 69,
            0xff, 0xff, 0xff, 0xff,
            2,
        ];
        assert_eq!(batch[..17], expected);
        #[rustfmt::skip]
        let checked = [
            0, 0,
            0, 0, 0, 1,
            0, 0, 1, 2, 3, 4, 5, 6,
            0, 0, 1, 2, 3, 4, 5, 6,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff,
            0xff, 0xff, 0xff, 0xff,
            0, 0, 0, 2,
        ];
        assert_eq!(batch[21..61], checked);
        assert_eq!(batch[17..21], crc32c::crc32c(&batch[21..]).to_be_bytes());
        assert_eq!(batch.len(), 12 + 69);
    }

    #[test]
    fn records_are_laid_out_as_specified() {
        let batch = build(3, 2, 0);
        let value = noise(3);
        let record = |delta| [&[18, 0, 0, delta, 1, 6], &value[..], &[0]].concat();
        // Length 9 is 18 in zigzag, offset delta 1 is 2, value length 3 is 6.
        assert_eq!(batch[61..], [record(0), record(2)].concat());
    }

    #[test]
    fn batches_are_filled_to_the_brim() {
        for record_bytes in [1, 60, 100, 1024, 8191, 8192, 10_240] {
            for bytes in [4096, 65_536, 1 << 20] {
                let count = count(BatchSize::Bytes(bytes), record_bytes);
                let full = build(record_bytes, count, 0).len();
                let over = build(record_bytes, count + 1, 0).len();
                assert!(
                    full <= bytes || count == 1,
                    "{record_bytes} {bytes}: {full}"
                );
                assert!(over > bytes, "{record_bytes} {bytes}: {over}");
            }
        }
        assert_eq!(count(BatchSize::Records(7), 100), 7);
    }

    #[test]
    fn varints_have_the_announced_size() {
        for value in [0, 1, 63, 64, 8191, 8192, 1 << 20, 1 << 30] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }
}
