//! A batch as it travels: its header, and the bytes as they came.

use bytes::{Bytes, BytesMut};

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES};

/// Batches up to this size are copied into one piece when placed, so that a small batch neither pins a large
/// receive buffer nor costs two segments in every response.
const COPY_BYTES_MAX: usize = 1024;

/// No batch that shares its records with others has fewer bytes.
pub(crate) const SHARED_BYTES_MIN: usize = COPY_BYTES_MAX + 1;

/// One batch of records: a decoded header and the bytes it came from.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The header, always in step with the bytes.
    pub header: BatchHeader,
    /// The header's bytes, or the whole batch when it lies in one piece; `rest` is then a part of it.
    pub(super) head: Bytes,
    /// The records.
    pub(super) rest: Bytes,
}

/// What stands behind the first piece of a batch that has only one.
static NOTHING: Bytes = Bytes::new();

impl Batch {
    /// Splits the first batch off `bytes` after checking lengths, layout, counts and checksum. The records are
    /// shared with `bytes`, not copied.
    pub fn split_first(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let batch = Self::split_trusted(bytes)?;
        batch.header.check()?;
        if !batch.is_sound() {
            return Err(BatchError::Checksum);
        }
        Ok(batch)
    }

    /// Like [`Batch::split_first`] for bytes already covered by another checksum: only the frame is checked.
    pub fn split_trusted(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(bytes)?;
        let total = header.total_bytes();
        if bytes.len() < total {
            return Err(BatchError::Truncated);
        }
        let whole = bytes.split_to(total);
        let rest = whole.slice(HEADER_BYTES..);
        Ok(Self {
            header,
            head: whole,
            rest,
        })
    }

    /// Gives the batch its final place: base offset, leader epoch and, for append-time streams, the timestamp
    /// (ms) that replaces the records' own.
    #[must_use]
    pub fn placed(mut self, base_offset: u64, leader_epoch: i32, append_time: Option<i64>) -> Self {
        self.header.base_offset = base_offset;
        self.header.leader_epoch = leader_epoch;
        if let Some(now) = append_time {
            self.header.set_append_time(now);
            self.renew_checksum();
        }
        let head = self.header.encode();
        if self.bytes() <= COPY_BYTES_MAX {
            let mut whole = BytesMut::with_capacity(self.bytes());
            whole.extend_from_slice(&head);
            whole.extend_from_slice(&self.rest);
            self.head = whole.freeze();
            self.rest = self.head.slice(HEADER_BYTES..);
        } else {
            self.head = Bytes::copy_from_slice(&head);
        }
        self
    }

    /// The header's bytes alone.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..HEADER_BYTES]
    }

    /// The batch's bytes as one piece when they are contiguous (small and placed batches), else as two.
    pub fn pieces(&self) -> [&Bytes; 2] {
        let rest = if self.is_contiguous() {
            &NOTHING
        } else {
            &self.rest
        };
        [&self.head, rest]
    }

    /// The whole batch as one piece, copied only when the two parts are not neighbours in memory.
    pub fn to_bytes(&self) -> Bytes {
        if self.is_contiguous() {
            return self.head.clone();
        }
        let mut whole = BytesMut::with_capacity(self.bytes());
        whole.extend_from_slice(&self.head);
        whole.extend_from_slice(&self.rest);
        whole.freeze()
    }

    /// Where the records lie in memory, address and length: batches with the same place have the same records. `None` for
    /// a batch so small that it is copied anyway.
    pub(crate) fn place_in_memory(&self) -> Option<(usize, usize)> {
        let is_large = self.bytes() >= SHARED_BYTES_MIN;
        is_large.then(|| (self.rest.as_ptr().addr(), self.rest.len()))
    }

    /// A batch whose header and records lie apart. `None` when they do not fit each other's lengths.
    pub(crate) fn of_parts(head: &Bytes, rest: &Bytes) -> Option<Self> {
        let header = BatchHeader::decode(head).ok()?;
        let fits = head.len() == HEADER_BYTES && header.total_bytes() == HEADER_BYTES + rest.len();
        fits.then(|| Self {
            header,
            head: head.clone(),
            rest: rest.clone(),
        })
    }

    /// Whether the checksum in the header is that of the batch.
    pub(crate) fn is_sound(&self) -> bool {
        self.checksum() == self.header.crc
    }

    /// The records behind the header, still in their codec.
    pub fn body(&self) -> &Bytes {
        &self.rest
    }

    /// Size in bytes, header included.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.rest.len()
    }

    /// The batch with another greatest timestamp in its header.
    #[must_use]
    pub fn with_max_timestamp(mut self, max_timestamp: i64) -> Self {
        if self.header.max_timestamp != max_timestamp {
            self.header.max_timestamp = max_timestamp;
            self.renew_checksum();
            self.head = Bytes::copy_from_slice(&self.header.encode());
        }
        self
    }

    fn renew_checksum(&mut self) {
        let head = crc32c::crc32c(&self.header.checked_part());
        self.header.crc = crc32c::crc32c_append(head, &self.rest);
    }

    fn is_contiguous(&self) -> bool {
        self.head.len() > HEADER_BYTES
    }

    pub(super) fn checksum(&self) -> u32 {
        let head = self.head.get(21..HEADER_BYTES).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c(head), &self.rest)
    }
}
