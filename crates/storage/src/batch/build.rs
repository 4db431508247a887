//! Makes a batch out of single records: for state streams, and for frontends whose peers send messages one
//! by one.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Batch, BatchHeader, HEADER_BYTES};

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

    /// Adds one record.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let mut record =
            BytesMut::with_capacity(32 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        record.put_i8(0);
        put_varint(&mut record, timestamp - self.header.base_timestamp);
        put_varint(&mut record, i64::from(self.header.record_count));
        put_optional(&mut record, key);
        put_optional(&mut record, value);
        put_varint(&mut record, headers.len() as i64);
        for (name, value) in headers {
            put_optional(&mut record, Some(name.as_bytes()));
            put_optional(&mut record, Some(value));
        }
        put_varint(&mut self.body, record.len() as i64);
        self.body.extend_from_slice(&record);
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

/// Zigzag variable-length integer, as the record layout uses it.
fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8((rest & 0x7f) as u8);
}
