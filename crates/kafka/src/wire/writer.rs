//! Encoding: scalars gather in one head buffer, large shared bytes are only remembered with the place they belong.
//! `finish` cuts the head at those places, so that record batches go from the log to the socket without a copy.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::{Error, Records, Result, STRING_BYTES_MAX, Segments};

/// Shared bytes shorter than this are copied: a segment of their own costs more than the copy.
pub const SHARED_BYTES_MIN: usize = 256;
/// Bytes of the length prefix in front of every frame.
const PREFIX_BYTES: usize = 4;
/// Room a frame starts with; enough for most answers.
const HEAD_BYTES_FIRST: usize = 256;

/// Collects one message.
#[derive(Debug)]
pub struct Writer {
    head: BytesMut,
    /// Where in the head each shared stretch belongs.
    shared: Vec<(usize, Bytes)>,
    framed: bool,
}

impl Writer {
    /// A writer for one frame, length prefix included.
    pub fn frame() -> Self {
        Self::frame_in(BytesMut::with_capacity(HEAD_BYTES_FIRST))
    }

    /// As [`Writer::frame`], in a buffer the caller provides; what it holds is discarded.
    pub fn frame_in(mut head: BytesMut) -> Self {
        head.clear();
        head.put_bytes(0, PREFIX_BYTES);
        Self {
            head,
            shared: Vec::new(),
            framed: true,
        }
    }

    /// A writer without a length prefix.
    pub fn bare() -> Self {
        Self {
            head: BytesMut::with_capacity(HEAD_BYTES_FIRST),
            shared: Vec::new(),
            framed: false,
        }
    }

    /// Ends the message and fills in the length prefix.
    pub fn finish(mut self) -> Result<Segments> {
        let shared = self.shared.iter().map(|(_, part)| part.len());
        let total = shared.fold(self.head.len(), usize::saturating_add);
        if self.framed {
            let body = i32::try_from(total.saturating_sub(PREFIX_BYTES))
                .map_err(|_wide| self.malformed("frame beyond 2 GiB"))?;
            if let Some(prefix) = self.head.first_chunk_mut() {
                *prefix = body.to_be_bytes();
            }
        }
        let mut segments = Segments::default();
        let mut head = self.head.freeze();
        let mut cut = 0;
        for (at, part) in self.shared {
            segments.push(head.split_to(at.saturating_sub(cut)));
            segments.push(part);
            cut = at;
        }
        segments.push(head);
        Ok(segments)
    }

    fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed {
            at: self.head.len(),
            why,
        }
    }

    /// One byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.head.put_u8(u8::from(value));
    }

    /// One signed byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.head.put_i8(value);
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.head.put_i16(value);
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.head.put_i32(value);
    }

    /// Eight bytes, big-endian.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.head.put_i64(value);
    }

    /// Two bytes, big-endian, unsigned.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.head.put_u16(value);
    }

    /// Four bytes, big-endian, unsigned.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.head.put_u32(value);
    }

    /// Eight bytes, an IEEE 754 double.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.head.put_f64(value);
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.head.put_slice(value.as_bytes());
    }

    /// An unsigned variable-length integer.
    pub fn uvarint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = value.to_le_bytes();
            if value < 0x80 {
                return self.head.put_u8(low);
            }
            self.head.put_u8(low | 0x80);
            value >>= 7;
        }
    }

    /// Length of anything but a string; `None` is null.
    fn length32(&mut self, flexible: bool, length: Option<usize>) -> Result<()> {
        let length = match length {
            None => -1,
            Some(length) => {
                i32::try_from(length).map_err(|_wide| self.malformed("length beyond 2 GiB"))?
            }
        };
        if flexible {
            self.uvarint(length.wrapping_add(1).cast_unsigned());
        } else {
            self.i32(length);
        }
        Ok(())
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, text: &str) -> Result<()> {
        self.nullable_string(flexible, Some(text))
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool, text: Option<&str>) -> Result<()> {
        let length = text.map(str::len);
        if length.is_some_and(|length| length > STRING_BYTES_MAX) {
            return Err(self.malformed("string too long"));
        }
        if flexible {
            self.length32(true, length)?;
        } else {
            let length = length.map(i16::try_from).transpose();
            let length = length.map_err(|_wide| self.malformed("string too long"))?;
            self.i16(length.unwrap_or(-1));
        }
        self.head.put_slice(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Bytes, copied.
    pub fn bytes(&mut self, flexible: bool, bytes: &[u8]) -> Result<()> {
        self.nullable_bytes(flexible, Some(bytes))
    }

    /// Bytes, copied, or null.
    pub fn nullable_bytes(&mut self, flexible: bool, bytes: Option<&[u8]>) -> Result<()> {
        self.length32(flexible, bytes.map(<[u8]>::len))?;
        self.head.put_slice(bytes.unwrap_or_default());
        Ok(())
    }

    /// Record batches, shared unless they are tiny.
    pub fn records(&mut self, flexible: bool, records: &Records) -> Result<()> {
        if records.is_null() {
            return self.length32(flexible, None);
        }
        self.length32(flexible, Some(records.len()))?;
        for part in records.parts() {
            if part.len() < SHARED_BYTES_MIN {
                self.head.put_slice(part);
            } else {
                self.shared.push((self.head.len(), part.clone()));
            }
        }
        Ok(())
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        array: &[T],
        element: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.nullable_array(flexible, Some(array), element)
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        array: Option<&[T]>,
        mut element: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.length32(flexible, array.map(<[T]>::len))?;
        for item in array.unwrap_or_default() {
            element(self, item)?;
        }
        Ok(())
    }

    /// A structure, or null, announced by a byte.
    pub fn nullable<T>(
        &mut self,
        structure: Option<&T>,
        encode: impl FnOnce(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        if let Some(structure) = structure {
            self.i8(1);
            encode(self, structure)
        } else {
            self.i8(-1);
            Ok(())
        }
    }

    /// How many tagged fields follow: as many as are true.
    pub fn tag_count(&mut self, present: &[bool]) -> Result<()> {
        let count = present.iter().filter(|present| **present).count();
        let count = u32::try_from(count).map_err(|_wide| self.malformed("too many tags"))?;
        self.uvarint(count);
        Ok(())
    }

    /// One tagged field. Its size is only known afterwards: it is appended and rotated to the front. Record batches
    /// cannot be inside, because they do not pass through the head.
    pub fn tag(&mut self, tag: u32, content: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.uvarint(tag);
        let start = self.head.len();
        content(self)?;
        let end = self.head.len();
        let size = u32::try_from(end.saturating_sub(start))
            .map_err(|_wide| self.malformed("tagged field beyond 4 GiB"))?;
        self.uvarint(size);
        let size_bytes = self.head.len().saturating_sub(end);
        if let Some(field) = self.head.get_mut(start..) {
            field.rotate_right(size_bytes);
        }
        Ok(())
    }
}
