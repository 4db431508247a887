//! What a receiver holds for a message in flight.

use uuid::Uuid;

/// Names one lease of one message. Not a secret: who may settle is decided where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The queue.
    pub queue: Uuid,
    /// The queue partition, which is the partition's number.
    pub partition: u32,
    /// Offset of the message there.
    pub offset: u64,
    /// Number of the lease; a later lease of the same message has a greater one.
    pub lease: u64,
}

/// Bytes of an encoded receipt.
const RECEIPT_BYTES: usize = 36;

impl Receipt {
    /// The receipt as bytes; survives restarts.
    pub fn to_bytes(self) -> [u8; RECEIPT_BYTES] {
        let mut bytes = [0; RECEIPT_BYTES];
        bytes[..16].copy_from_slice(self.queue.as_bytes());
        bytes[16..20].copy_from_slice(&self.partition.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.offset.to_be_bytes());
        bytes[28..].copy_from_slice(&self.lease.to_be_bytes());
        bytes
    }

    /// Reads what [`Receipt::to_bytes`] wrote; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECEIPT_BYTES] = bytes.try_into().ok()?;
        let (queue, rest) = bytes.split_first_chunk::<16>()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (lease, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            queue: Uuid::from_bytes(*queue),
            partition: u32::from_be_bytes(*partition),
            offset: u64::from_be_bytes(*offset),
            lease: u64::from_be_bytes(*lease),
        })
    }
}
