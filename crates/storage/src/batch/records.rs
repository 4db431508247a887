//! Reads single records out of an uncompressed batch.

use bytes::Bytes;

use super::{BatchError, BatchHeader};

/// Name and value of a record header.
pub type RecordHeader = (Bytes, Option<Bytes>);

/// One record, sharing memory with its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the stream.
    pub offset: u64,
    /// The producer's timestamp, or the append's, ms.
    pub timestamp: i64,
    /// Key; absent is not the same as empty.
    pub key: Option<Bytes>,
    /// Body; absent marks a deletion of the key.
    pub value: Option<Bytes>,
    /// Headers in the order given.
    pub headers: Vec<RecordHeader>,
}

/// Iterator over the records of one batch; ends after the first malformed record.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    rest: Bytes,
    left: i32,
}

impl Records {
    pub(super) fn new(header: &BatchHeader, body: Bytes) -> Self {
        Self {
            header: *header,
            rest: body,
            left: header.record_count,
        }
    }

    fn parse(&mut self) -> Result<Record, BatchError> {
        let length = length(read_varint(&mut self.rest)?)?.ok_or(BatchError::Truncated)?;
        let mut record = split(&mut self.rest, length)?;
        let _attributes = split(&mut record, 1)?;
        let timestamp_delta = read_varint(&mut record)?;
        let offset_delta = read_varint(&mut record)?;
        let key = read_optional(&mut record)?;
        let value = read_optional(&mut record)?;
        let headers = read_headers(&mut record)?;
        let timestamp = if self.header.is_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        Ok(Record {
            offset: self.header.base_offset.wrapping_add_signed(offset_delta),
            timestamp,
            key,
            value,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.parse();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

fn read_headers(record: &mut Bytes) -> Result<Vec<RecordHeader>, BatchError> {
    let count = length(read_varint(record)?)?.unwrap_or(0);
    // Each header takes at least two bytes: a count beyond that is a lie, and must not size an allocation.
    if count > record.len() / 2 {
        return Err(BatchError::Truncated);
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name =
            read_optional(record)?.ok_or(BatchError::Inconsistent("a header needs a name"))?;
        headers.push((name, read_optional(record)?));
    }
    Ok(headers)
}

fn read_optional(from: &mut Bytes) -> Result<Option<Bytes>, BatchError> {
    length(read_varint(from)?)?
        .map(|n| split(from, n))
        .transpose()
}

/// A length as it stands on the wire: -1 is absent, anything below is malformed.
fn length(value: i64) -> Result<Option<usize>, BatchError> {
    match value {
        -1 => Ok(None),
        _ => usize::try_from(value)
            .map(Some)
            .map_err(|_| BatchError::Inconsistent("a length is negative")),
    }
}

fn split(from: &mut Bytes, n: usize) -> Result<Bytes, BatchError> {
    if n > from.len() {
        return Err(BatchError::Truncated);
    }
    Ok(from.split_to(n))
}

pub(super) fn read_varint(from: &mut Bytes) -> Result<i64, BatchError> {
    let mut value = 0u64;
    for (i, &byte) in from.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let _ = from.split_to(i + 1);
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(BatchError::Truncated)
}
