//! A message that arrives in pieces: the method that announces it, its header, and stretches of its body.

use bytes::{Bytes, BytesMut};

use crate::error::{Fault, Outcome};
use crate::wire::{ContentHeader, Frames, basic};

/// Where a message is published to.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) exchange: Bytes,
    pub(crate) key: Bytes,
    pub(crate) mandatory: bool,
}

/// A whole message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) envelope: Envelope,
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
}

/// How far a message has arrived.
#[derive(Debug, Default)]
pub(crate) enum Content {
    /// None is under way.
    #[default]
    None,
    /// It was announced; the header is next.
    Announced(Envelope),
    /// Its body is arriving.
    Arriving {
        envelope: Envelope,
        properties: Bytes,
        left: usize,
        body: BytesMut,
    },
}

impl Content {
    /// A method other than those that carry messages may come now.
    pub(crate) fn expect_method(&self) -> Outcome<()> {
        match self {
            Self::None => Ok(()),
            Self::Announced(_) | Self::Arriving { .. } => Err(self.unexpected()),
        }
    }

    /// Whether a message was announced that is not all here.
    pub(crate) fn is_expected(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The fault of a frame that is not the one to come.
    fn unexpected(&self) -> Fault {
        Fault::unexpected(match self {
            Self::None => "expected method frame, got non method frame instead",
            Self::Announced(_) => {
                "expected content header for class 60, got non content header frame instead"
            }
            Self::Arriving { .. } => "expected content body, got non content body frame instead",
        })
    }

    /// A header came. Returns the message if that was all of it.
    pub(crate) fn header(
        &mut self,
        frames: &Frames,
        payload: &[u8],
        body_bytes_max: usize,
    ) -> Outcome<Option<Message>> {
        let envelope = match std::mem::take(self) {
            Self::Announced(envelope) => envelope,
            other => return Err(other.unexpected()),
        };
        let header = ContentHeader::decode(payload)?;
        if header.class != basic::CLASS {
            return Err(Fault::unexpected(format!(
                "expected content header for class {}, got one for class {} instead",
                basic::CLASS,
                header.class
            )));
        }
        let bytes = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
        if bytes > body_bytes_max {
            return Err(Fault::precondition(format!(
                "message size {} is larger than configured max size {body_bytes_max}",
                header.body_bytes
            )));
        }
        let properties = frames.share(header.properties);
        if bytes == 0 {
            return Ok(Some(Message {
                envelope,
                properties,
                body: Bytes::new(),
            }));
        }
        *self = Self::Arriving {
            envelope,
            properties,
            left: bytes,
            body: BytesMut::new(),
        };
        Ok(None)
    }

    /// A stretch of the body came. Returns the message if it was the last one.
    pub(crate) fn body(&mut self, frames: &Frames, payload: &[u8]) -> Outcome<Option<Message>> {
        let (left, body) = match self {
            Self::Arriving { left, body, .. } => (left, body),
            other => return Err(other.unexpected()),
        };
        let Some(rest) = left.checked_sub(payload.len()) else {
            return Err(Fault::unexpected("content body is longer than announced"));
        };
        *left = rest;
        // Most bodies arrive in one piece, which is kept where it is.
        let whole = rest == 0 && body.is_empty();
        if !whole {
            // What is announced and does not come takes no memory.
            body.extend_from_slice(payload);
        }
        if rest > 0 {
            return Ok(None);
        }
        let Self::Arriving {
            envelope,
            properties,
            body,
            ..
        } = std::mem::take(self)
        else {
            return Ok(None);
        };
        let body = if whole {
            frames.share(payload)
        } else {
            body.freeze()
        };
        Ok(Some(Message {
            envelope,
            properties,
            body,
        }))
    }

    /// Bytes of a body that has not arrived as a whole.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::None | Self::Announced(_) => 0,
            Self::Arriving { body, .. } => body.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Properties, ReplyCode, Writer};

    fn announced() -> Content {
        Content::Announced(Envelope {
            exchange: Bytes::new(),
            key: Bytes::from_static(b"q"),
            mandatory: false,
        })
    }

    fn header(class: u16, body_bytes: u64) -> Vec<u8> {
        let mut w = Writer::new(4096);
        w.u16(class);
        w.u16(0);
        w.u64(body_bytes);
        let mut bytes = w.take_bytes().to_vec();
        bytes.extend_from_slice(Properties::NONE);
        bytes
    }

    #[test]
    fn a_body_arrives_in_any_number_of_pieces() {
        let frames = Frames::default();
        for pieces in [vec![], vec![&b"abc"[..]], vec![b"a", b"", b"bc"]] {
            let whole = pieces.concat();
            let mut content = announced();
            let mut message = content
                .header(&frames, &header(60, whole.len() as u64), 100)
                .unwrap();
            for piece in pieces {
                assert!(message.is_none());
                content.expect_method().unwrap_err();
                message = content.body(&frames, piece).unwrap();
            }
            assert_eq!(message.unwrap().body, whole);
            content.expect_method().unwrap();
        }
    }

    #[track_caller]
    fn refused(outcome: Outcome<Option<Message>>, code: ReplyCode) {
        assert_eq!(outcome.unwrap_err().code, code);
    }

    #[test]
    fn pieces_out_of_place_end_the_connection() {
        let frames = Frames::default();
        refused(
            Content::None.header(&frames, &header(60, 1), 100),
            ReplyCode::UnexpectedFrame,
        );
        refused(
            Content::None.body(&frames, b"x"),
            ReplyCode::UnexpectedFrame,
        );
        refused(announced().body(&frames, b"x"), ReplyCode::UnexpectedFrame);
        refused(
            announced().header(&frames, &header(50, 1), 100),
            ReplyCode::UnexpectedFrame,
        );
        let mut content = announced();
        content.header(&frames, &header(60, 1), 100).unwrap();
        refused(content.body(&frames, b"xy"), ReplyCode::UnexpectedFrame);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_comes() {
        let outcome = announced().header(&Frames::default(), &header(60, 101), 100);
        assert_eq!(
            outcome.unwrap_err().text(),
            "PRECONDITION_FAILED - message size 101 is larger than configured max size 100"
        );
    }
}
