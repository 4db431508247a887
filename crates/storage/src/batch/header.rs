//! The 61 bytes in front of every batch.

/// Size of an encoded header.
pub const HEADER_BYTES: usize = 61;
/// Bytes in front of what the length field counts: base offset and the length itself.
pub(super) const LENGTH_FROM: usize = 12;
pub(super) const MAGIC: i8 = 2;
pub(super) const CODEC_MASK: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Bits a peer may set.
const KNOWN: i16 = CODEC_MASK | APPEND_TIME | TRANSACTIONAL | CONTROL;
/// Not used by the specification, and ignored by readers.
const MADE_HERE: i16 = 0x4000;
/// Likewise.
const BARE: i16 = 0x2000;

/// A decoded batch header; the layout stands in the module above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: u64,
    /// Bytes after the length field.
    pub length: u32,
    /// Ownership epoch under which the batch was appended.
    pub leader_epoch: i32,
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp the records' deltas refer to, ms.
    pub base_timestamp: i64,
    /// Greatest timestamp in the batch, ms.
    pub max_timestamp: i64,
    /// Idempotent producer, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put(&mut out, 0, self.base_offset.to_be_bytes());
        put(&mut out, 8, self.length.to_be_bytes());
        put(&mut out, 12, self.leader_epoch.to_be_bytes());
        put(&mut out, 16, MAGIC.to_be_bytes());
        put(&mut out, 17, self.crc.to_be_bytes());
        put(&mut out, 21, self.attributes.to_be_bytes());
        put(&mut out, 23, self.last_offset_delta.to_be_bytes());
        put(&mut out, 27, self.base_timestamp.to_be_bytes());
        put(&mut out, 35, self.max_timestamp.to_be_bytes());
        put(&mut out, 43, self.producer_id.to_be_bytes());
        put(&mut out, 51, self.producer_epoch.to_be_bytes());
        put(&mut out, 53, self.base_sequence.to_be_bytes());
        put(&mut out, 57, self.record_count.to_be_bytes());
        out
    }

    /// The header's share of what the checksum covers.
    pub(super) fn checked_part(&self) -> [u8; HEADER_BYTES - 21] {
        let whole = self.encode();
        std::array::from_fn(|i| whole[i + 21])
    }

    /// Size of the whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        self.length as usize + LENGTH_FROM
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> u64 {
        self.base_offset
            .saturating_add(u64::from(self.last_offset_delta.unsigned_abs()))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> u64 {
        self.last_offset().saturating_add(1)
    }

    /// Compression codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    /// Whether the timestamps are the time of the append, not the producer's.
    pub fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch carries markers instead of user records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether bits are set that have no meaning to a peer, or are only the broker's to set.
    pub fn has_reserved_bits(&self) -> bool {
        self.attributes & !KNOWN != 0
    }

    /// The time of a record that lies so far from the base timestamp.
    pub(super) fn timestamp(&self, delta: i64) -> i64 {
        if self.is_append_time() {
            self.max_timestamp
        } else {
            self.base_timestamp.saturating_add(delta)
        }
    }

    /// Whether the broker made the batch itself out of single messages, so that reserved headers in it are its own.
    pub fn is_made_here(&self) -> bool {
        self.attributes & MADE_HERE != 0
    }

    /// Whether the broker made the batch itself, and none of its records has a key or anything else that decides about
    /// its delivery: they can be delivered without a look into them.
    pub fn is_bare(&self) -> bool {
        self.is_made_here() && self.attributes & BARE != 0
    }

    pub(super) fn set_bare(&mut self) {
        self.attributes |= BARE;
    }

    pub(super) fn set_made_here(&mut self) {
        self.attributes |= MADE_HERE;
    }

    pub(super) fn set_plain(&mut self) {
        self.attributes &= !CODEC_MASK;
    }

    /// Whether there are fewer records than offsets: some were taken out.
    pub(super) fn is_sparse(&self) -> bool {
        i64::from(self.record_count) <= i64::from(self.last_offset_delta)
    }

    pub(super) fn set_append_time(&mut self, now: i64) {
        self.attributes |= APPEND_TIME;
        self.max_timestamp = now;
    }
}

fn put<const N: usize>(out: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    out[at..at + N].copy_from_slice(&value);
}
