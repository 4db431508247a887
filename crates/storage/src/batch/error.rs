//! Why bytes are not a valid batch, and how much one may hold.

/// Bytes the records of one batch may take when opened: a small batch must not be able to take the time or the memory
/// of everybody.
pub const OPENED_BYTES_MAX: usize = 128 << 20;
/// Records of one batch at most.
pub const RECORDS_MAX: usize = 1 << 20;

/// Why bytes are not a valid batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or the length field says.
    #[error("truncated record batch")]
    Truncated,
    /// A layout other than version 2.
    #[error("batch layout version {0} is not supported")]
    Magic(i8),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// A field contradicts another one.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// The records take more bytes when opened, or are more, than a batch may hold.
    #[error(
        "the batch holds more than {OPENED_BYTES_MAX} bytes or {RECORDS_MAX} records when opened"
    )]
    Opened,
}
