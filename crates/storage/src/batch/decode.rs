//! Reads a batch's header, and refuses one that contradicts itself.

use super::error::BatchError;
use super::header::{BatchHeader, CODEC_MASK, HEADER_BYTES, LENGTH_FROM, MAGIC};

const CODEC_MAX: i16 = 4;

impl BatchHeader {
    /// Reads a header from the start of `bytes`. Checks only what framing needs: size, layout, length.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BatchError::Truncated)?;
        let magic = i8::from_be_bytes(take(bytes, 16));
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let length = u32::from_be_bytes(take(bytes, 8));
        if (length as usize) < HEADER_BYTES - LENGTH_FROM || length > i32::MAX as u32 {
            return Err(BatchError::Inconsistent(
                "the batch length is smaller than its header",
            ));
        }
        Ok(Self {
            base_offset: u64::from_be_bytes(take(bytes, 0)),
            length,
            leader_epoch: i32::from_be_bytes(take(bytes, 12)),
            crc: u32::from_be_bytes(take(bytes, 17)),
            attributes: i16::from_be_bytes(take(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)),
            base_timestamp: i64::from_be_bytes(take(bytes, 27)),
            max_timestamp: i64::from_be_bytes(take(bytes, 35)),
            producer_id: i64::from_be_bytes(take(bytes, 43)),
            producer_epoch: i16::from_be_bytes(take(bytes, 51)),
            base_sequence: i32::from_be_bytes(take(bytes, 53)),
            record_count: i32::from_be_bytes(take(bytes, 57)),
        })
    }

    /// Refuses headers whose fields contradict each other.
    pub fn check(&self) -> Result<(), BatchError> {
        let wrong = BatchError::Inconsistent;
        if self.record_count <= 0 {
            return Err(wrong("a batch holds at least one record"));
        }
        if self.last_offset_delta != self.record_count - 1 {
            return Err(wrong(
                "the last offset delta does not match the record count",
            ));
        }
        if self.attributes & CODEC_MASK > CODEC_MAX {
            return Err(wrong("unknown compression codec"));
        }
        if self.producer_id >= 0
            && (self.producer_epoch < 0 || (self.base_sequence < 0 && !self.is_control()))
        {
            return Err(wrong("a producer id needs an epoch and a sequence"));
        }
        Ok(())
    }
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
