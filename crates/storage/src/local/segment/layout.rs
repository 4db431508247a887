//! Where batches are in segments, and what segments are called.

use crate::batch::HEADER_BYTES;

pub(super) const FOLDER: &str = "segments";
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"FBSG");
pub(super) const FORMAT_VERSION: u32 = 2;
pub(super) const BLOCK_ENTRY_BYTES: usize = 32;
pub(crate) const STUB_BYTES: usize = HEADER_BYTES + 8;

pub(crate) fn name(id: u64) -> String {
    format!("{FOLDER}/{id:016x}")
}

/// A contiguous run of one stream's batches in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) segment: u64,
    pub(crate) base: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: i64,
    pub(crate) index_position: u64,
    pub(crate) blocks: u32,
    pub(crate) index_crc: u32,
}

impl Extent {
    /// Bytes at or after `start`, estimated when it lies inside.
    pub(crate) fn live_bytes(&self, start: u64) -> u64 {
        let live = self.end.saturating_sub(start.max(self.base));
        let whole = self.end - self.base;
        if live == whole {
            return self.bytes;
        }
        let part = u128::from(self.bytes) * u128::from(live) / u128::from(whole.max(1));
        u64::try_from(part).unwrap_or(self.bytes)
    }
}

/// An index entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) base: u64,
    pub(crate) max_timestamp: i64,
    pub(crate) position: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

impl Block {
    /// Whether it may be a stub: whatever is as long as one stands alone.
    pub(crate) fn may_be_stub(&self) -> bool {
        self.length as usize == STUB_BYTES
    }
}
