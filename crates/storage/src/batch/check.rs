//! Checks what a peer says its batch holds, record by record, before anybody relies on it: without copying, and
//! within limits of bytes and records.

use bytes::Bytes;

use super::codec::{Stream, opening_bytes};
use super::error::{BatchError, OPENED_BYTES_MAX, RECORDS_MAX};
use super::framed::Batch;
use super::header::BatchHeader;
use super::record::Outline;
use super::source::{Opening, Plain, Source};
use super::walk::{Want, step};

/// Faults of single records that are told; there may be more.
pub const FAULTS_MAX: usize = 64;
/// The least a record takes.
const RECORD_BYTES_MIN: usize = 7;

/// A record without a time of its own.
const NO_TIMESTAMP: i64 = -1;

/// What the records of a batch have to comply with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Every record needs a key.
    pub keyed: bool,
    /// Oldest and newest timestamp allowed, ms; absent when the records' own do not count.
    pub timestamps: Option<(i64, i64)>,
    /// Opened bytes at most.
    pub opened_bytes_max: usize,
    /// What is wanted of the records besides.
    pub outlines: Outlines,
    /// Bytes that the keys among it have together at most.
    pub keys_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            keyed: false,
            timestamps: None,
            opened_bytes_max: OPENED_BYTES_MAX,
            outlines: Outlines::None,
            keys_bytes_max: OPENED_BYTES_MAX,
        }
    }
}

/// Which outlines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlines {
    /// None.
    None,
    /// Timestamps and sizes.
    Sizes,
    /// Keys as well.
    Keys,
}

/// What came of the check of a sound batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The greatest timestamp of its records; -1 when none has one.
    pub max_timestamp: i64,
    /// Size of its largest body.
    pub largest_value: u32,
    /// Outlines of all records, where they were asked for.
    pub outlines: Option<Vec<Outline>>,
}

/// What is wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It needs a key.
    NoKey,
    /// Its timestamp is out of range.
    Timestamp(i64),
    /// It says that it is at another place than it is.
    Offset(i32),
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As a whole.
    Batch(BatchError),
    /// Because of single records: how many, and the first of them with their places in the batch.
    Records {
        /// How many are at fault.
        count: usize,
        /// The first [`FAULTS_MAX`].
        first: Vec<(usize, Fault)>,
    },
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl Batch {
    /// Checks the records of a batch whose header and checksum were checked. Takes time in proportion to the opened
    /// bytes, of which there may be as many as the rules allow.
    pub fn check(&self, rules: &Rules) -> Result<Checked, Refusal> {
        let header = &self.header;
        let count = usize::try_from(header.record_count).unwrap_or(0);
        if count > RECORDS_MAX {
            return Err(BatchError::Opened.into());
        }
        if header.codec() == 0 {
            if count > self.body().len() / RECORD_BYTES_MIN {
                return Err(
                    BatchError::Inconsistent("the batch holds fewer records than it says").into(),
                );
            }
            return walk(header, &mut Plain::new(self.body(), 0), count, rules);
        }
        let stream = Stream::new(header.codec(), self.body(), rules.opened_bytes_max)?;
        walk(header, &mut Opening::new(stream), count, rules)
    }

    /// Memory it takes to open the batch, besides the batch itself: an estimate by what it says of itself.
    pub fn opening_bytes(&self) -> usize {
        opening_bytes(self.header.codec(), self.body())
    }
}

fn walk(
    header: &BatchHeader,
    from: &mut impl Source,
    count: usize,
    rules: &Rules,
) -> Result<Checked, Refusal> {
    let want = match rules.outlines {
        Outlines::None | Outlines::Sizes => Want::Outline,
        Outlines::Keys => Want::Key,
    };
    let mut outlines = (rules.outlines != Outlines::None).then(Vec::new);
    let (mut max_timestamp, mut largest_value) = (NO_TIMESTAMP, 0);
    let (mut faults, mut first) = (0, Vec::new());
    let mut keys_bytes = 0;
    for place in 0..count {
        let fields = step(from, want).map_err(|error| match error {
            BatchError::Truncated => {
                BatchError::Inconsistent("the batch holds fewer records than it says")
            }
            other => other,
        })?;
        let timestamp = header.base_timestamp.checked_add(fields.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp.unwrap_or(NO_TIMESTAMP));
        largest_value = largest_value.max(fields.value_bytes.unwrap_or(0));
        let fault = if usize::try_from(fields.offset_delta) != Ok(place) {
            Some(Fault::Offset(fields.offset_delta))
        } else if rules.keyed && !fields.has_key {
            Some(Fault::NoKey)
        } else {
            check_timestamp(timestamp, rules)
        };
        if let Some(fault) = fault {
            faults += 1;
            if first.len() < FAULTS_MAX {
                first.push((place, fault));
            }
        } else if let Some(outlines) = &mut outlines {
            keys_bytes += fields.key.as_ref().map_or(0, Bytes::len);
            if keys_bytes > rules.keys_bytes_max {
                return Err(BatchError::Opened.into());
            }
            outlines.push(fields.outline(header));
        }
    }
    from.finish()?;
    if faults > 0 {
        return Err(Refusal::Records {
            count: faults,
            first,
        });
    }
    Ok(Checked {
        max_timestamp,
        largest_value: u32::try_from(largest_value).unwrap_or(u32::MAX),
        outlines,
    })
}

#[inline]
fn check_timestamp(timestamp: Option<i64>, rules: &Rules) -> Option<Fault> {
    let (oldest, newest) = rules.timestamps?;
    match timestamp {
        // It has none, and gets that of the append.
        Some(NO_TIMESTAMP) => None,
        Some(timestamp) if (oldest..=newest).contains(&timestamp) => None,
        Some(timestamp) => Some(Fault::Timestamp(timestamp)),
        None => Some(Fault::Timestamp(i64::MAX)),
    }
}
