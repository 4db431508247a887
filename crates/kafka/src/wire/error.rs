//! What can be wrong with bytes: the only error type of the codec. It blames the peer's bytes when decoding and the
//! caller's values when encoding, and never carries either of them.

/// Why a message could not be decoded or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The frame ends before the message does.
    #[error("the frame ends before the message does")]
    Incomplete,
    /// The bytes contradict the protocol.
    #[error("malformed at byte {at}: {why}")]
    Malformed {
        /// Position in the frame, counted from its first byte after the length prefix.
        at: usize,
        /// What is wrong there.
        why: &'static str,
    },
    /// This API, version or field value does not exist in the version at hand.
    #[error("{what} is not supported in version {version}")]
    Unsupported {
        /// The message or field.
        what: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Result of decoding or encoding.
pub type Result<T> = std::result::Result<T, Error>;
