//! The batch at rest: the record-batch v2 layout, owned by storage and used for every stream.
//!
//! ```text
//!  0  base offset       i64 ┐ outside the checksum: patched
//!  8  length            i32 │ when the batch gets its place
//! 12  leader epoch      i32 │
//! 16  magic (2)         i8  ┘
//! 17  crc               u32   CRC-32C of everything from 21 on
//! 21  attributes        i16   bits 0-2 codec, 3 append time, 4 transactional, 5 control; ours: 14 made here
//! 23  last offset delta i32
//! 27  base timestamp    i64   ms
//! 35  max timestamp     i64   ms
//! 43  producer id       i64   -1: none
//! 51  producer epoch    i16
//! 53  base sequence     i32
//! 57  record count      i32
//! 61  records, opaque to storage
//! ```
//!
//! Peers send batches in this layout, so the busiest path is: check the header and the checksum, patch twelve
//! bytes, append the rest as it came. See the "Record Batch" section of the message format specification.

mod build;
mod check;
mod codec;
mod decode;
mod error;
mod framed;
mod fuzz;
mod header;
mod only;
mod record;
mod records;
mod source;
mod walk;

#[cfg(test)]
mod tests;

pub use build::BatchBuilder;
pub use check::{Checked, FAULTS_MAX, Fault, Outlines, Refusal, Rules};
pub use error::{BatchError, OPENED_BYTES_MAX, RECORDS_MAX};
pub use framed::Batch;
pub(crate) use framed::SHARED_BYTES_MIN;
pub use fuzz::fuzz;
pub use header::{BatchHeader, HEADER_BYTES};
pub use record::{Outline, Record, RecordHeader};
pub use records::Records;
