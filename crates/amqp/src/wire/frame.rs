//! Frames off a connection: whole ones are cut from the read buffer together, so that keeping a body costs one count
//! on the buffer it arrived in.

use bytes::{Bytes, BytesMut};

use super::{Error, Result};

/// Bytes of a frame besides its payload.
pub const FRAME_OVERHEAD_BYTES: usize = HEAD_BYTES + 1;
/// Type, channel, length.
const HEAD_BYTES: usize = 7;
pub(super) const FRAME_END: u8 = 0xCE;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A method with its arguments.
    Method,
    /// What is said about a message: size and properties.
    Header,
    /// A stretch of a message's body.
    Body,
    /// A sign of life.
    Heartbeat,
}

impl FrameKind {
    /// The type octet.
    #[inline]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    #[inline]
    fn decode(octet: u8) -> Result<Self> {
        match octet {
            1 => Ok(Self::Method),
            2 => Ok(Self::Header),
            3 => Ok(Self::Body),
            8 => Ok(Self::Heartbeat),
            found => Err(Error::FrameKind { found }),
        }
    }
}

/// One frame, borrowed from [`Frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it belongs to.
    pub channel: u16,
    /// Everything between length and end octet.
    pub payload: &'a [u8],
}

/// Cuts received bytes into frames, within the agreed size.
#[derive(Debug, Clone, Copy)]
pub struct Splitter {
    frame_max: usize,
}

impl Splitter {
    /// Takes frames of up to `frame_max` bytes, plus the eight that some clients forget to count.
    pub fn new(frame_max: u32) -> Self {
        Self {
            frame_max: usize::try_from(frame_max).unwrap_or(usize::MAX),
        }
    }

    /// Takes all whole frames off the front of the buffer; none when there are none. Stops in front of bytes that are
    /// no frame, and fails only when the buffer begins with them: what came before is valid and must be served first.
    pub fn split(self, buffer: &mut BytesMut) -> Result<Frames> {
        let mut whole = 0_usize;
        let mut rest: &[u8] = buffer;
        loop {
            match self.frame(rest) {
                Ok((_, after)) => rest = after,
                Err(Error::Incomplete) => break,
                Err(error) if whole == 0 => return Err(error),
                Err(_) => break,
            }
            whole = buffer.len().saturating_sub(rest.len());
        }
        let bytes = match whole {
            0 => Bytes::new(),
            _ => buffer.split_to(whole).freeze(),
        };
        Ok(Frames { bytes })
    }

    /// How many bytes the frame at the front of the buffer still lacks, as far as is known; what to make room for.
    pub fn lacking(self, buffer: &[u8]) -> usize {
        let whole = match head(buffer) {
            Ok((_, _, length)) if length <= self.frame_max => {
                length.saturating_add(FRAME_OVERHEAD_BYTES)
            }
            _ => FRAME_OVERHEAD_BYTES,
        };
        whole.saturating_sub(buffer.len())
    }

    /// The frame at the front, and what follows it.
    #[inline]
    fn frame(self, bytes: &[u8]) -> Result<(Frame<'_>, &[u8])> {
        let (octet, channel, length) = head(bytes)?;
        let kind = FrameKind::decode(octet)?;
        if length > self.frame_max {
            return Err(Error::FrameTooLarge {
                payload_bytes: length,
                frame_max: self.frame_max,
            });
        }
        if kind == FrameKind::Heartbeat {
            heartbeat(channel, length)?;
        }
        let (frame, after) = whole(bytes, length)?;
        Ok((
            Frame {
                kind,
                channel,
                payload: frame,
            },
            after,
        ))
    }
}

/// Type octet, channel, and length of the payload.
#[inline]
fn head(bytes: &[u8]) -> Result<(u8, u16, usize)> {
    let &[kind, c0, c1, l0, l1, l2, l3] =
        bytes.first_chunk::<HEAD_BYTES>().ok_or(Error::Incomplete)?;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok((kind, u16::from_be_bytes([c0, c1]), length))
}

/// The payload, and what follows its end octet.
#[inline]
fn whole(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8])> {
    let body = bytes.get(HEAD_BYTES..).ok_or(Error::Incomplete)?;
    let (payload, after) = body.split_at_checked(length).ok_or(Error::Incomplete)?;
    match after.split_first().ok_or(Error::Incomplete)? {
        (&FRAME_END, after) => Ok((payload, after)),
        (&found, _) => Err(Error::FrameEnd { found }),
    }
}

#[inline]
fn heartbeat(channel: u16, length: usize) -> Result<()> {
    match (channel, length) {
        (0, 0) => Ok(()),
        (0, _) => Err(Error::HeartbeatPayload),
        _ => Err(Error::HeartbeatChannel { channel }),
    }
}

/// Whole frames that arrived together.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    bytes: Bytes,
}

impl Frames {
    /// Bytes of all of them.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The frames, in order.
    #[inline]
    pub fn iter(&self) -> FramesIter<'_> {
        FramesIter { rest: &self.bytes }
    }

    /// Keeps a part of one of these frames beyond their lifetime, without a copy. It keeps alive what arrived with it:
    /// hold it for as long as a message is on its way, not for as long as it is stored.
    #[inline]
    pub fn share(&self, part: &[u8]) -> Bytes {
        let (ours, theirs) = (self.bytes.as_ptr_range(), part.as_ptr_range());
        if ours.start <= theirs.start && theirs.end <= ours.end {
            self.bytes.slice_ref(part)
        } else {
            Bytes::copy_from_slice(part)
        }
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = Frame<'a>;
    type IntoIter = FramesIter<'a>;

    fn into_iter(self) -> FramesIter<'a> {
        self.iter()
    }
}

/// Goes through [`Frames`].
#[derive(Debug, Clone)]
pub struct FramesIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for FramesIter<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        // The splitter has seen that they are whole and sound.
        let (octet, channel, length) = head(self.rest).ok()?;
        let (payload, after) = whole(self.rest, length).ok()?;
        self.rest = after;
        let kind = FrameKind::decode(octet).ok()?;
        Some(Frame {
            kind,
            channel,
            payload,
        })
    }
}
