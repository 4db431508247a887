//! Little-endian fields in and out of byte strings. Reading never panics: what does not fit is `None`.

use uuid::Uuid;

use crate::StreamId;

/// Size of an encoded [`StreamId`].
pub(super) const STREAM_BYTES: usize = 20;

/// A length that is known to fit into memory.
pub(super) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the machine has 64-bit addresses")
}

/// Bytes being taken apart from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn stream(&mut self) -> Option<StreamId> {
        let owner = Uuid::from_bytes(self.array()?);
        let part = self.u32()?;
        Some(StreamId { owner, part })
    }

    /// A byte string behind its 32-bit length.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.bytes(count as usize)
    }
}

pub(super) fn put_stream(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(id.owner.as_bytes());
    out.extend_from_slice(&id.part.to_le_bytes());
}

/// Writes a byte string behind its 32-bit length.
pub(super) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = u32::try_from(bytes.len()).expect("keys and documents are far below 4 GiB");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}
