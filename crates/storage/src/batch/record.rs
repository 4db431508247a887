//! What single records of a batch say.

use bytes::Bytes;

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
