//! Segments that were written, or could not be.

use super::layout::name;
use crate::Error;
use crate::disk::is_full;

/// Why a segment could not be written.
pub(crate) fn write_failed(id: u64, error: std::io::Error) -> Error {
    if is_full(&error) {
        Error::DiskFull
    } else {
        Error::io(format!("write {}", name(id)), error)
    }
}

/// A segment written and not yet known to the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MadeSegment {
    pub(crate) id: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// Bytes of the batches it held at first. With bodies that several streams have, this may be many times its length.
    pub(crate) held: u64,
    pub(crate) is_pack: bool,
}

impl MadeSegment {
    /// The part of its length that streams still need when this much of what it held is live, as far as that can be
    /// told: as if bodies that several streams have were given up by all of them alike.
    pub(crate) fn needed_bytes(&self, live: u64) -> u64 {
        let part = u128::from(self.bytes) * u128::from(live) / u128::from(self.held.max(1));
        u64::try_from(part).map_or(self.bytes, |part| part.min(self.bytes))
    }
}
