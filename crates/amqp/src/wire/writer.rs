//! Encoding: small frames gather in one buffer, large bodies are only remembered with the place they belong. What
//! comes out is a list of segments for a vectored write.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::frame::{FRAME_END, FRAME_OVERHEAD_BYTES, FrameKind};
use super::{Error, PROTOCOL_HEADER, Result};

/// Longest short string, bytes.
pub const SHORT_STRING_BYTES_MAX: usize = 255;
/// Stretches of a body shorter than this are copied: the counts, the list and the kernel's walk over two more segments
/// cost more than the copy, up to here.
pub const BODY_SHARED_BYTES_MIN: usize = 4096;
/// Room made at once when the buffer is full; frames of many messages share it.
const GATHERED_BYTES: usize = 16 << 10;
/// What a method frame hardly exceeds, with the head of a header frame behind it.
pub(super) const FRAME_BYTES_USUAL: usize = 256;

/// Collects frames.
#[derive(Debug)]
pub struct Writer {
    /// What follows the last segment.
    gathered: BytesMut,
    segments: VecDeque<Bytes>,
    segments_bytes: usize,
    frame_max: usize,
    /// How many bits of the last octet are taken; 0 when it is no octet of bits.
    bits: u8,
    /// The first value that did not fit since the last frame began.
    fault: Option<Error>,
}

impl Writer {
    /// A writer of frames of up to `frame_max` bytes.
    pub fn new(frame_max: u32) -> Self {
        let mut w = Self::bare();
        w.set_frame_max(frame_max);
        w
    }

    /// A writer for something that is no frame.
    pub(super) fn bare() -> Self {
        Self {
            gathered: BytesMut::new(),
            segments: VecDeque::new(),
            segments_bytes: 0,
            frame_max: usize::MAX,
            bits: 0,
            fault: None,
        }
    }

    /// Changes the size of frames, from the next one on. Never below what a frame needs besides its payload.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        self.frame_max = frame_max.max(FRAME_OVERHEAD_BYTES.saturating_add(1));
    }

    /// Bytes collected and not yet taken.
    pub fn len(&self) -> usize {
        self.segments_bytes.saturating_add(self.gathered.len())
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves everything collected to the end of `queue`.
    pub fn take_into(&mut self, queue: &mut VecDeque<Bytes>) {
        self.seal();
        self.segments_bytes = 0;
        queue.append(&mut self.segments);
    }

    /// Gives back the room that is kept for more; for a connection that has nothing to say.
    pub fn shrink(&mut self) {
        self.seal();
        self.gathered = BytesMut::new();
        self.segments.shrink_to_fit();
    }

    /// Everything collected in one piece, copied.
    pub fn take_bytes(&mut self) -> Bytes {
        let mut queue = VecDeque::new();
        self.take_into(&mut queue);
        let mut whole = BytesMut::new();
        for segment in &queue {
            whole.extend_from_slice(segment);
        }
        whole.freeze()
    }

    /// The eight bytes a connection opens with, or is refused with.
    pub fn protocol_header(&mut self) {
        self.make_room(FRAME_BYTES_USUAL);
        self.put(&PROTOCOL_HEADER);
    }

    /// A sign of life.
    pub fn heartbeat(&mut self) {
        self.make_room(FRAME_BYTES_USUAL);
        self.put(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]);
    }

    /// Body frames for one stretch of a body.
    pub(super) fn body(&mut self, channel: u16, stretch: &Bytes) {
        let payload_max = self.frame_max.saturating_sub(FRAME_OVERHEAD_BYTES);
        let mut left = stretch.as_ref();
        while !left.is_empty() {
            let (payload, rest) = left.split_at(left.len().min(payload_max));
            left = rest;
            let copied = payload.len() < BODY_SHARED_BYTES_MIN;
            let bytes = if copied { payload.len() } else { 0 };
            self.make_room(bytes.saturating_add(FRAME_OVERHEAD_BYTES));
            self.put(&frame_head(FrameKind::Body, channel, payload.len()));
            if copied {
                self.put(payload);
            } else {
                self.seal();
                self.segments_bytes = self.segments_bytes.saturating_add(payload.len());
                self.segments.push_back(stretch.slice_ref(payload));
            }
            self.put(&[FRAME_END]);
        }
    }

    /// A frame whose payload begins with the numbers of a class and of a method.
    #[inline]
    pub(super) fn frame(
        &mut self,
        (kind, channel): (FrameKind, u16),
        (class, method): (u16, u16),
        write: impl FnOnce(&mut Self),
    ) {
        let start = self.gathered.len();
        self.put(&numbered_head(kind, channel, class, method));
        self.bits = 0;
        write(self);
        self.end_frame(start);
    }

    /// Fills in the length of the frame that began at `start`.
    #[inline]
    fn end_frame(&mut self, start: usize) {
        let whole = self.gathered.len().saturating_sub(start).saturating_add(1);
        let payload_bytes = whole.saturating_sub(FRAME_OVERHEAD_BYTES);
        if whole > self.frame_max {
            self.fault.get_or_insert(Error::FrameTooLarge {
                payload_bytes,
                frame_max: self.frame_max,
            });
        }
        let place = start.saturating_add(LENGTH_AT);
        if let Some(length) = self.gathered.get_mut(place..)
            && let Some(length) = length.first_chunk_mut::<4>()
        {
            *length = length_octets(payload_bytes);
        }
        self.put(&[FRAME_END]);
    }

    /// Writes all of something or, when any of it does not fit, nothing.
    pub(super) fn whole(&mut self, write: impl FnOnce(&mut Self)) -> Result<()> {
        let start = self.gathered.len();
        self.bits = 0;
        write(self);
        match self.fault.take() {
            None => Ok(()),
            Some(fault) => {
                self.gathered.truncate(start);
                Err(fault)
            }
        }
    }

    /// What was gathered, for a writer of something that is no frame.
    pub(super) fn gathered(&self) -> &[u8] {
        &self.gathered
    }

    /// As [`Writer::gathered`], without a copy.
    pub(super) fn into_gathered(self) -> Bytes {
        self.gathered.freeze()
    }

    /// Makes a segment of what was gathered.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.segments_bytes = self.segments_bytes.saturating_add(self.gathered.len());
            self.segments.push_back(self.gathered.split().freeze());
        }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
    }

    /// Begins a new segment when this one has no room for so many bytes: it never moves what it holds.
    #[inline]
    pub(super) fn make_room(&mut self, bytes: usize) {
        let room = self.gathered.capacity().saturating_sub(self.gathered.len());
        if room < bytes {
            self.turn(bytes);
        }
    }

    #[cold]
    fn turn(&mut self, bytes: usize) {
        self.seal();
        self.gathered.reserve(bytes.max(GATHERED_BYTES));
    }

    #[inline]
    fn put_octets<const N: usize>(&mut self, octets: [u8; N]) {
        self.bits = 0;
        self.put(&octets);
    }

    /// A type letter and what it announces.
    #[inline]
    pub(super) fn put_typed<const N: usize>(&mut self, letter: u8, octets: [u8; N]) {
        self.put(&[letter]);
        self.put(&octets);
    }

    /// A type letter and a long string.
    pub(super) fn put_long(&mut self, letter: u8, value: &[u8]) {
        self.put(&[letter]);
        self.long(value);
    }

    /// One octet.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.put_octets([value]);
    }

    /// Two octets, big-endian.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.put_octets(value.to_be_bytes());
    }

    /// Four octets, big-endian.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.put_octets(value.to_be_bytes());
    }

    /// Eight octets, big-endian.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.put_octets(value.to_be_bytes());
    }

    /// One bit, see [`Reader::bit`](super::Reader::bit).
    #[inline]
    pub fn bit(&mut self, value: bool) {
        if self.bits == 0 || self.bits == 8 {
            self.u8(u8::from(value));
            self.bits = 1;
            return;
        }
        if let Some(octet) = self.gathered.last_mut() {
            *octet |= u8::from(value) << self.bits;
        }
        self.bits = self.bits.saturating_add(1);
    }

    /// A string of at most 255 bytes; a longer one spoils the frame.
    #[inline]
    pub fn short(&mut self, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else {
            self.fault.get_or_insert(Error::TooLong {
                what: "a short string",
            });
            return;
        };
        self.put_octets([length]);
        self.put(value);
    }

    /// A string with a length of four octets.
    #[inline]
    pub fn long(&mut self, value: &[u8]) {
        let Ok(length) = u32::try_from(value.len()) else {
            self.fault.get_or_insert(Error::TooLong {
                what: "a long string",
            });
            return;
        };
        self.put_octets(length.to_be_bytes());
        self.put(value);
    }
}

/// Where the length of a frame stands.
const LENGTH_AT: usize = 3;

#[inline]
fn length_octets(payload_bytes: usize) -> [u8; 4] {
    // A payload never exceeds the size of a frame, which is a number of four octets.
    u32::try_from(payload_bytes)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

#[inline]
fn frame_head(kind: FrameKind, channel: u16, payload_bytes: usize) -> [u8; 7] {
    let [c0, c1] = channel.to_be_bytes();
    let [l0, l1, l2, l3] = length_octets(payload_bytes);
    [kind.octet(), c0, c1, l0, l1, l2, l3]
}

/// The head of a frame, its length left out, with class and method.
#[inline]
fn numbered_head(kind: FrameKind, channel: u16, class: u16, method: u16) -> [u8; 11] {
    let [kind, c0, c1, l0, l1, l2, l3] = frame_head(kind, channel, 0);
    let ([k0, k1], [m0, m1]) = (class.to_be_bytes(), method.to_be_bytes());
    [kind, c0, c1, l0, l1, l2, l3, k0, k1, m0, m1]
}
