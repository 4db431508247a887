//! Stubs: what stands in a stream's blocks for a batch whose records several streams have.

use bytes::Bytes;

use super::super::codec::Input;
use super::layout::STUB_BYTES;
use crate::BatchHeader;
use crate::batch::HEADER_BYTES;

/// A batch's header, and where in the same file its records are.
#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub(crate) header: BatchHeader,
    /// The header's bytes.
    pub(crate) head: Bytes,
    /// Position of the records.
    pub(crate) records: u64,
}

impl Stub {
    /// The stub that a block is; `None` when the block holds whole batches.
    pub(crate) fn of(block: &Bytes) -> Option<Self> {
        if block.len() != STUB_BYTES {
            return None;
        }
        let header = BatchHeader::decode(block).ok()?;
        let records = Input(&block[HEADER_BYTES..]).u64()?;
        (header.total_bytes() > STUB_BYTES).then(|| Self {
            header,
            head: block.slice(..HEADER_BYTES),
            records,
        })
    }

    pub(crate) fn encode(head: &[u8], records: u64) -> [u8; STUB_BYTES] {
        let mut out = [0; STUB_BYTES];
        out[..HEADER_BYTES].copy_from_slice(head);
        out[HEADER_BYTES..].copy_from_slice(&records.to_le_bytes());
        out
    }
}
