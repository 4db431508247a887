//! Makes a batch out of single records: for state streams, and for frontends whose peers send messages one
//! by one.

use bytes::{BufMut, Bytes, BytesMut};

use super::framed::Batch;
use super::header::{BatchHeader, HEADER_BYTES};

/// Collects records into one uncompressed batch.
#[derive(Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    body: BytesMut,
}

impl BatchBuilder {
    /// Starts a batch whose records' timestamps (ms) count from `base_timestamp`.
    pub fn new(base_timestamp: i64) -> Self {
        let header = BatchHeader {
            leader_epoch: -1,
            base_timestamp,
            max_timestamp: base_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            ..BatchHeader::default()
        };
        Self {
            header,
            body: BytesMut::new(),
        }
    }

    /// Marks the batch as sent by an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as made by the broker out of single messages.
    #[must_use]
    pub fn made_here(mut self) -> Self {
        self.header.set_made_here();
        self
    }

    /// Says that the timestamps are the time of the append: they need not be replaced when the batch is placed.
    #[must_use]
    pub fn append_time(mut self) -> Self {
        let base = self.header.base_timestamp;
        self.header.set_append_time(base);
        self
    }

    /// Starts with memory for records of so many bytes, so that it need not grow.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.body.reserve(bytes);
        self
    }

    /// Says that none of the records of a batch made by the broker has a key, or anything else that decides about its
    /// delivery.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.header.set_bare();
        self
    }

    /// Adds one record.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(*value)));
        self.push_record(timestamp, key, value, headers);
    }

    /// Adds one record; header names may be any bytes, and values absent.
    pub fn push_record<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    ) {
        let time = timestamp - self.header.base_timestamp;
        let place = i64::from(self.header.record_count);
        let count = headers.len() as i64;
        let in_headers = headers
            .clone()
            .map(|(name, value)| optional_len(Some(name)) + optional_len(value));
        let length = 1
            + varint_len(time)
            + varint_len(place)
            + optional_len(key)
            + optional_len(value)
            + varint_len(count)
            + in_headers.sum::<usize>();
        self.body.reserve(length + 10);
        put_varint(&mut self.body, length as i64);
        let start = self.body.len();
        self.body.put_i8(0);
        put_varint(&mut self.body, time);
        put_varint(&mut self.body, place);
        put_optional(&mut self.body, key);
        put_optional(&mut self.body, value);
        put_varint(&mut self.body, count);
        for (name, value) in headers {
            put_optional(&mut self.body, Some(name));
            put_optional(&mut self.body, value);
        }
        debug_assert_eq!(self.body.len() - start, length);
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// Bytes the batch would take now.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// Whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Finishes the batch; it starts at offset 0 until it is placed. Panics when no record was added.
    pub fn build(self) -> Batch {
        let Self { mut header, body } = self;
        assert!(header.record_count > 0, "a batch holds at least one record");
        header.last_offset_delta = header.record_count - 1;
        header.length = u32::try_from(HEADER_BYTES - 12 + body.len())
            .expect("a batch is built within its limits");
        header.crc = crc32c::crc32c_append(crc32c::crc32c(&header.checked_part()), &body);
        Batch {
            header,
            head: Bytes::copy_from_slice(&header.encode()),
            rest: body.freeze(),
        }
    }
}

fn put_optional(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            put_varint(out, value.len() as i64);
            out.extend_from_slice(value);
        }
        None => put_varint(out, -1),
    }
}

fn optional_len(value: Option<&[u8]>) -> usize {
    value.map_or(1, |value| varint_len(value.len() as i64) + value.len())
}

fn varint_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let bits = 64 - zigzag.leading_zeros().min(63) as usize;
    bits.div_ceil(7)
}

/// Zigzag variable-length integer, as the record layout uses it.
pub(super) fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8((rest & 0x7f) as u8);
}
