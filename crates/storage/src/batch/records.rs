//! Reads single records out of a batch, plain or compressed, one after the other and as they open.

use bytes::Bytes;

use super::codec::{Stream, opening_bytes};
use super::error::{BatchError, OPENED_BYTES_MAX, RECORDS_MAX};
use super::framed::Batch;
use super::header::BatchHeader;
use super::record::{Outline, Record};
use super::source::{Opening, Plain, Source as _};
use super::walk::{Fields, Want, step, step_raw};

const FALLING: BatchError = BatchError::Inconsistent("the offsets of records do not rise");

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
    fn new(header: &BatchHeader, body: &Bytes) -> Self {
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

    /// The same, but a compressed record with a key, a value or a header beyond so many bytes cannot be read: `Opened`.
    #[must_use]
    pub fn of_at_most(mut self, bytes: usize) -> Self {
        if let From::Compressed(opening) = &mut self.from {
            opening.piece_bytes_max = bytes;
        }
        self
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
        // Where some were taken out, only a record itself tells where it is.
        while !self.header.is_sparse() && self.left > 0 && self.next_offset() < offset {
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
        let passed = fields.as_ref().map_err(|error| *error);
        let passed = passed.and_then(|fields| self.pass(fields.offset_delta));
        if let Err(error) = passed {
            self.left = 0;
            return Err(error);
        }
        fields
    }

    /// Takes note of a record that was read. Its place decides about its offset; where some were taken out, what it says
    /// does, as long as that rises.
    fn pass(&mut self, said: i32) -> Result<(), BatchError> {
        if !self.header.is_sparse() {
            self.count += 1;
            return Ok(());
        }
        let last = u64::from(self.header.last_offset_delta.unsigned_abs());
        let said = u64::try_from(said).ok();
        let said = said.filter(|said| (self.count..=last).contains(said));
        self.count = said.ok_or(FALLING)? + 1;
        Ok(())
    }

    /// The next record as it stands, with its offset.
    pub(super) fn next_raw(&mut self) -> Result<(u64, Bytes), BatchError> {
        self.left -= 1;
        let (said, whole) = match &mut self.from {
            From::Plain { body, position } => {
                let mut plain = Plain::new(body, *position);
                let raw = step_raw(&mut plain);
                *position = plain.position();
                raw
            }
            From::Compressed(opening) => step_raw(&mut **opening),
            From::Broken(error) => Err(*error),
        }?;
        self.pass(said)?;
        Ok((self.next_offset().wrapping_sub(1), whole))
    }

    fn parse(&mut self) -> Result<Record, BatchError> {
        let fields = self.step(Want::All)?;
        Ok(Record {
            offset: self.next_offset().wrapping_sub(1),
            timestamp: self.header.timestamp(fields.timestamp_delta),
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        })
    }

    /// Makes sure that nothing follows the last record.
    fn finish(mut self) -> Result<(), BatchError> {
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

impl Batch {
    /// The records, one by one, as they open.
    pub fn records(&self) -> Records {
        Records::new(&self.header, self.body())
    }

    /// Outlines of the records in order, as far as they can be read; with `keys` their keys too. For batches that were
    /// not checked, or by nobody that is here.
    pub fn outlines(&self, keys: bool) -> impl Iterator<Item = Outline> + use<> {
        outlines(&self.header, self.body(), keys)
    }

    /// Offset and time of every record, in order; ends behind the first that cannot be read. Takes time in proportion to
    /// the opened bytes.
    pub fn times(&self) -> impl Iterator<Item = Result<(u64, i64), BatchError>> + use<> {
        times(&self.header, self.body())
    }

    /// Reads all records and makes sure that there is nothing else.
    pub fn is_whole(&self) -> bool {
        let mut records = self.records();
        records.by_ref().all(|record| record.is_ok()) && records.finish().is_ok()
    }
}

/// Outlines of the records of a batch, in order, as far as they can be read; with `keys` their keys too.
fn outlines(
    header: &BatchHeader,
    body: &Bytes,
    keys: bool,
) -> impl Iterator<Item = Outline> + use<> {
    let want = if keys { Want::Key } else { Want::Outline };
    let mut records = Records::new(header, body);
    let outlines = std::iter::from_fn(move || {
        let fields = (records.left > 0).then(|| records.step(want))?.ok()?;
        Some(fields.outline(&records.header))
    });
    outlines.take(RECORDS_MAX)
}

/// Offset and time of every record.
fn times(
    header: &BatchHeader,
    body: &Bytes,
) -> impl Iterator<Item = Result<(u64, i64), BatchError>> + use<> {
    let mut records = Records::new(header, body);
    std::iter::from_fn(move || {
        (records.left > 0).then(|| {
            let fields = records.step(Want::Outline)?;
            let offset = records.next_offset().wrapping_sub(1);
            Ok((offset, records.header.timestamp(fields.timestamp_delta)))
        })
    })
}
