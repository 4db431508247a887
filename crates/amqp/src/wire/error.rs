//! What can be wrong with bytes: the only error type of the codec. It blames the peer's bytes when decoding and the
//! caller's values when encoding, and never carries either of them.

use std::fmt;

use super::ReplyCode;

/// Why something could not be decoded or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The bytes end before what they announce.
    Incomplete,
    /// The bytes contradict the protocol.
    Malformed {
        /// Position in the frame's payload, or in the table when it was read on its own.
        at: usize,
        /// What is wrong there.
        why: &'static str,
    },
    /// A frame is larger than the two sides agreed on.
    FrameTooLarge {
        /// Bytes of its payload.
        payload_bytes: usize,
        /// The agreed size of a whole frame.
        frame_max: usize,
    },
    /// A frame is not followed by the end octet.
    FrameEnd {
        /// What follows instead.
        found: u8,
    },
    /// There is no such type of frame.
    FrameKind {
        /// The type octet.
        found: u8,
    },
    /// A heartbeat with something in it.
    HeartbeatPayload,
    /// A heartbeat that belongs to a channel.
    HeartbeatChannel {
        /// The channel.
        channel: u16,
    },
    /// There is no such method.
    UnknownMethod {
        /// Class number.
        class: u16,
        /// Method number within the class.
        method: u16,
    },
    /// A value does not fit its length field; encoding only.
    TooLong {
        /// What is too long.
        what: &'static str,
    },
}

/// Result of decoding or encoding.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code a connection is closed with when its peer sent this. A value of ours that cannot be encoded is our
    /// fault, and so an internal error.
    pub fn reply_code(self) -> ReplyCode {
        match self {
            Self::Incomplete | Self::Malformed { .. } => ReplyCode::SyntaxError,
            Self::FrameTooLarge { .. }
            | Self::FrameEnd { .. }
            | Self::FrameKind { .. }
            | Self::HeartbeatPayload => ReplyCode::FrameError,
            Self::HeartbeatChannel { .. } => ReplyCode::UnexpectedFrame,
            Self::UnknownMethod { .. } => ReplyCode::CommandInvalid,
            Self::TooLong { .. } => ReplyCode::InternalError,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the bytes end before what they announce"),
            Self::Malformed { at, why } => write!(f, "malformed at byte {at}: {why}"),
            Self::FrameTooLarge {
                payload_bytes,
                frame_max,
            } => write!(
                f,
                "a frame with a payload of {payload_bytes} bytes, {frame_max} agreed for all of it"
            ),
            Self::FrameEnd { found } => write!(f, "frame ends with octet {found}"),
            Self::FrameKind { found } => write!(f, "unknown frame type {found}"),
            Self::HeartbeatPayload => f.write_str("heartbeat with a payload"),
            Self::HeartbeatChannel { channel } => write!(f, "heartbeat on channel {channel}"),
            Self::UnknownMethod { class, method } => {
                write!(f, "unknown method {method} of class {class}")
            }
            Self::TooLong { what } => write!(f, "{what} is too long"),
        }
    }
}

impl std::error::Error for Error {}
