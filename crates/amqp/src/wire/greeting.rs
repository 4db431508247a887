//! The first bytes of a connection: whether the peer speaks our protocol at all, and what to answer when it does not.

use super::{Error, Result};

/// How a 0-9-1 connection begins, and what a peer of any other version is answered with: the specification wants the
/// header of a version the server does speak, then the end of the connection.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// How some clients of 0-9 begin; they mean the same methods.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";
const NAME: [u8; 4] = *b"AMQP";
/// A TLS record that holds a handshake, of any version of TLS.
const TLS: [u8; 2] = [0x16, 0x03];

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// The protocol header of 0-9-1 or 0-9; eight bytes, frames follow.
    Spoken,
    /// Another version, or another protocol: send the bytes and close.
    Refused {
        /// The version we speak.
        answer: [u8; 8],
        /// A TLS handshake on a plain port.
        is_tls: bool,
    },
}

impl Greeting {
    /// Judges the first bytes, as early as they allow it; [`Error::Incomplete`] until then.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let is_tls = bytes.starts_with(&TLS);
        let refused = Self::Refused {
            answer: PROTOCOL_HEADER,
            is_tls,
        };
        if is_tls || bytes.first_chunk::<4>().is_some_and(|first| *first != NAME) {
            return Ok(refused);
        }
        match bytes.first_chunk::<8>() {
            Some(&(PROTOCOL_HEADER | PROTOCOL_HEADER_0_9)) => Ok(Self::Spoken),
            Some(_) => Ok(refused),
            None => Err(Error::Incomplete),
        }
    }
}
