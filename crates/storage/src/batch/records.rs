//! Reads single records out of a batch, plain or compressed, one after the other and as they open.

use bytes::Bytes;

use super::codec::{OPENED_BYTES_MAX, Stream, opening_bytes};
use super::source::{Opening, Plain, Source as _};
use super::walk::{Fields, Want, step};
use super::{BatchError, BatchHeader};

/// Name and value of a record header.
pub type RecordHeader = (Bytes, Option<Bytes>);

/// One record; of a plain batch it shares memory with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the stream: the batch's first offset, and the record's place in the batch. What the record itself
    /// says is its producer's word.
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

/// Iterator over the records of one batch; ends after the first that cannot be read. It gives an error for a batch that
/// announces more records than it holds.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    from: From,
    /// Records read.
    count: u64,
    left: i32,
    opening_bytes: usize,
    body_bytes: usize,
}

#[derive(Debug)]
enum From {
    Plain {
        body: Bytes,
        position: usize,
    },
    Compressed(Box<Opening>),
    /// It could not even be begun.
    Broken(BatchError),
}

impl Records {
    pub(super) fn new(header: &BatchHeader, body: &Bytes) -> Self {
        let from = match header.codec() {
            0 => From::Plain {
                body: body.clone(),
                position: 0,
            },
            codec => match Stream::new(codec, body, OPENED_BYTES_MAX) {
                Ok(stream) => From::Compressed(Box::new(Opening::new(stream))),
                Err(error) => From::Broken(error),
            },
        };
        Self {
            header: *header,
            from,
            count: 0,
            left: header.record_count,
            opening_bytes: opening_bytes(header.codec(), body),
            body_bytes: body.len(),
        }
    }

    /// Memory that is taken to go on with it, besides the batch: an estimate.
    pub fn opening_bytes(&self) -> usize {
        self.opening_bytes
    }

    /// Memory it holds, the batch included: an estimate.
    pub fn held_bytes(&self) -> usize {
        self.opening_bytes.saturating_add(self.body_bytes)
    }

    /// Offset of the record that comes next.
    pub fn next_offset(&self) -> u64 {
        self.header.base_offset.wrapping_add(self.count)
    }

    /// Passes over records before `offset`, as cheaply as it can be done; whether they could all be read.
    pub fn skip_to(&mut self, offset: u64) -> Result<(), BatchError> {
        while self.left > 0 && self.next_offset() < offset {
            self.step(Want::Outline)?;
        }
        Ok(())
    }

    fn step(&mut self, want: Want) -> Result<Fields, BatchError> {
        self.left -= 1;
        let fields = match &mut self.from {
            From::Plain { body, position } => {
                let mut plain = Plain::new(body, *position);
                let fields = step(&mut plain, want);
                *position = plain.position();
                fields
            }
            From::Compressed(opening) => step(&mut **opening, want),
            From::Broken(error) => Err(*error),
        };
        match fields {
            Ok(_) => self.count += 1,
            Err(_) => self.left = 0,
        }
        fields
    }

    fn parse(&mut self) -> Result<Record, BatchError> {
        let offset = self.next_offset();
        let fields = self.step(Want::All)?;
        Ok(Record {
            offset,
            timestamp: self.header.timestamp(fields.timestamp_delta),
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        })
    }

    /// Makes sure that nothing follows the last record.
    pub(super) fn finish(mut self) -> Result<(), BatchError> {
        match &mut self.from {
            From::Plain { body, position } => Plain::new(body, *position).finish(),
            From::Compressed(opening) => opening.finish(),
            From::Broken(error) => Err(*error),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.left > 0).then(|| self.parse())
    }
}

/// What a queue wants to know of a record without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The producer's timestamp, or the append's, ms.
    pub timestamp: i64,
    /// Key; only where it was asked for.
    pub key: Option<Bytes>,
    /// Of the body.
    pub value_bytes: u32,
}

impl Outline {
    pub(super) fn of(header: &BatchHeader, fields: Fields) -> Self {
        let bytes = fields.value_bytes.unwrap_or(0);
        Self {
            timestamp: header.timestamp(fields.timestamp_delta),
            // What opened is large and short-lived, and so may the batch be.
            key: fields.key.map(|key| Bytes::copy_from_slice(&key)),
            value_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        }
    }
}

/// Outlines of the records of a batch, in order, as far as they can be read; with `keys` their keys too.
pub(super) fn outlines(header: &BatchHeader, body: &Bytes, keys: bool) -> Vec<Outline> {
    let want = if keys { Want::Key } else { Want::Outline };
    let mut records = Records::new(header, body);
    let mut outlines = Vec::new();
    while records.left > 0 && outlines.len() < super::RECORDS_MAX {
        let Ok(fields) = records.step(want) else {
            break;
        };
        outlines.push(Outline::of(header, fields));
    }
    outlines
}

/// Offset and time of every record.
pub(super) fn times(
    header: &BatchHeader,
    body: &Bytes,
) -> impl Iterator<Item = Result<(u64, i64), BatchError>> + use<> {
    let mut records = Records::new(header, body);
    std::iter::from_fn(move || {
        let offset = records.next_offset();
        (records.left > 0).then(|| {
            let fields = records.step(Want::Outline)?;
            Ok((offset, records.header.timestamp(fields.timestamp_delta)))
        })
    })
}
