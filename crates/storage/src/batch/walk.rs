//! Steps from record to record: reads the fields of one, and believes none of them.

use bytes::Bytes;

use super::error::BatchError;
use super::header::BatchHeader;
use super::record::{Outline, RecordHeader};
use super::source::{Plain, Source};

const NEGATIVE: BatchError = BatchError::Inconsistent("a length is negative");
const NAMELESS: BatchError = BatchError::Inconsistent("a header needs a name");
const HEADERS: BatchError = BatchError::Inconsistent("the number of headers is negative");

/// What is wanted of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// That it is sound, and how large.
    Outline,
    /// Its key as well.
    Key,
    /// All of it.
    All,
}

/// One record as it stands in the batch.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
    pub(super) key: Option<Bytes>,
    pub(super) value_bytes: Option<usize>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<RecordHeader>,
}

impl Fields {
    /// What a queue wants to know of the record.
    pub(super) fn outline(self, header: &BatchHeader) -> Outline {
        let bytes = self.value_bytes.unwrap_or(0);
        Outline {
            timestamp: header.timestamp(self.timestamp_delta),
            // What opened is large and short-lived, and so may the batch be.
            key: self.key.map(|key| Bytes::copy_from_slice(&key)),
            value_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        }
    }
}

/// Reads one record.
#[inline]
pub(super) fn step(from: &mut impl Source, want: Want) -> Result<Fields, BatchError> {
    let bytes = usize::try_from(from.number()?).map_err(|_| NEGATIVE)?;
    from.enter(bytes)?;
    let _attributes = from.byte()?;
    let mut fields = Fields {
        timestamp_delta: from.long()?,
        offset_delta: from.number()?,
        ..Fields::default()
    };
    if let Some(bytes) = length(from)? {
        fields.has_key = true;
        match want {
            Want::Outline => from.skip(bytes)?,
            Want::Key | Want::All => fields.key = Some(from.take(bytes)?),
        }
    }
    fields.value_bytes = length(from)?;
    if let Some(bytes) = fields.value_bytes {
        match want {
            Want::Outline | Want::Key => from.skip(bytes)?,
            Want::All => fields.value = Some(from.take(bytes)?),
        }
    }
    let count = from.number()?;
    if count < 0 {
        return Err(HEADERS);
    }
    // Each takes at least two bytes of the record, which ends the loop however great the number is.
    for _ in 0..count {
        let name = length(from)?.ok_or(NAMELESS)?;
        if want == Want::All {
            let name = from.take(name)?;
            let value = length(from)?.map(|n| from.take(n)).transpose()?;
            fields.headers.push((name, value));
            continue;
        }
        from.skip(name)?;
        if let Some(bytes) = length(from)? {
            from.skip(bytes)?;
        }
    }
    from.leave()?;
    Ok(fields)
}

/// Reads one record as it stands, without its length; and what it says of its offset.
pub(super) fn step_raw(from: &mut impl Source) -> Result<(i32, Bytes), BatchError> {
    let bytes = usize::try_from(from.number()?).map_err(|_| NEGATIVE)?;
    from.enter(bytes)?;
    let whole = from.take(bytes)?;
    from.leave()?;
    let mut fields = Plain::new(&whole, 0);
    let _attributes = fields.byte()?;
    let _timestamp_delta = fields.long()?;
    Ok((fields.number()?, whole))
}

/// A length as it stands on the wire: -1 is absent, anything below is malformed.
#[inline]
fn length(from: &mut impl Source) -> Result<Option<usize>, BatchError> {
    match from.number()? {
        -1 => Ok(None),
        bytes => usize::try_from(bytes).map(Some).map_err(|_| NEGATIVE),
    }
}
