//! Decoding: a cursor over one frame that hands out borrowed strings and shared slices. It trusts no length it reads:
//! nothing is allocated before the bytes that justify it were seen, apart from a small first capacity.

use std::borrow::Cow;

use bytes::Bytes;
use uuid::Uuid;

use super::{Error, Records, Result};

/// Most elements an array may have, as in Kafka.
pub const ARRAY_LENGTH_MAX: usize = 1_000_000;
/// Most elements an array gets room for before any of them was decoded, as in Kafka.
pub const ARRAY_CAPACITY_FIRST: usize = 1_000;
/// Most tagged fields one structure may have, as in Kafka.
pub const TAGS_MAX: u32 = 10_000;
/// Longest string, in bytes, compact or not.
pub const STRING_BYTES_MAX: usize = 32_767;

/// A cursor over one frame, without its length prefix.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    /// What is left to read.
    rest: &'a [u8],
    /// Where in the frame `rest` ends; earlier than the frame does inside a tagged field.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `frame`.
    pub fn new(frame: &'a Bytes) -> Self {
        Self {
            frame,
            rest: frame,
            end: frame.len(),
        }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    /// Fails unless everything was read.
    pub fn finish(&self) -> Result<()> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(self.malformed("bytes after the end"))
        }
    }

    /// An error that points at the next byte.
    pub fn malformed(&self, why: &'static str) -> Error {
        let at = self.position();
        Error::Malformed { at, why }
    }

    /// The next `count` bytes, borrowed.
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; any value but 0 is true.
    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// One signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn i16(&mut self) -> Result<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Two bytes, big-endian, unsigned.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian, unsigned.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes, an IEEE 754 double.
    #[inline]
    pub fn f64(&mut self) -> Result<f64> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes; all zero means "no id".
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.fixed().map(Uuid::from_bytes)
    }

    /// An unsigned variable-length integer of at most five bytes and 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        let first = u8::from_be_bytes(self.fixed()?);
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = u8::from_be_bytes(self.fixed()?);
            if shift == 28 && byte > 0x0f {
                return Err(self.malformed("variable-length integer beyond 32 bits"));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("variable-length integer beyond five bytes"))
    }

    /// Length of something compact: one less than what is written, zero for null.
    fn compact_length(&mut self) -> Result<Option<usize>> {
        match self.uvarint()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => usize::try_from(length)
                .map(Some)
                .map_err(|_wide| self.malformed("length out of range")),
        }
    }

    /// Length of something classic: -1 for null.
    fn classic_length(&self, length: i32) -> Result<Option<usize>> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length)
                .map(Some)
                .map_err(|_negative| self.malformed("negative length")),
        }
    }

    fn length32(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            self.compact_length()
        } else {
            let length = self.i32()?;
            self.classic_length(length)
        }
    }

    /// A string that may not be null.
    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>> {
        match self.nullable_string(flexible)? {
            Some(text) => Ok(text),
            None => Err(self.malformed("null where a string must be")),
        }
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>> {
        let length = if flexible {
            self.compact_length()?
        } else {
            let length = i32::from(self.i16()?);
            self.classic_length(length)?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(self.malformed("string too long"));
        }
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Some(Cow::Borrowed(text))),
            Err(_invalid) => Err(self.malformed("string is not UTF-8")),
        }
    }

    /// Bytes that may not be null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>> {
        match self.nullable_bytes(flexible)? {
            Some(bytes) => Ok(bytes),
            None => Err(self.malformed("null where bytes must be")),
        }
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>> {
        match self.length32(flexible)? {
            None => Ok(None),
            Some(length) => self.take(length).map(|bytes| Some(Cow::Borrowed(bytes))),
        }
    }

    /// Record batches, as a shared slice of the frame.
    pub fn records(&mut self, flexible: bool) -> Result<Records> {
        let Some(length) = self.length32(flexible)? else {
            return Ok(Records::Null);
        };
        let start = self.position();
        self.take(length)?;
        Ok(Records::One(self.frame.slice(start..self.position())))
    }

    /// An array that may not be null. `element_min` is the fewest bytes an element can take.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_min: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        match self.nullable_array(flexible, element_min, element)? {
            Some(array) => Ok(array),
            None => Err(self.malformed("null where an array must be")),
        }
    }

    /// An array or null. `element_min` is the fewest bytes an element can take.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(length) = self.length32(flexible)? else {
            return Ok(None);
        };
        if length > ARRAY_LENGTH_MAX {
            return Err(self.malformed("array too long"));
        }
        if length.saturating_mul(element_min) > self.remaining() {
            return Err(Error::Incomplete);
        }
        let mut array = Vec::with_capacity(length.min(ARRAY_CAPACITY_FIRST));
        for _ in 0..length {
            array.push(element(self)?);
        }
        Ok(Some(array))
    }

    /// A structure that a leading byte declares present or null.
    pub fn nullable<T>(
        &mut self,
        structure: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.i8()? {
            ..0 => Ok(None),
            0.. => structure(self).map(Some),
        }
    }

    /// Tagged fields. `field` reads the ones it knows and answers `false` for the others, which are skipped.
    pub fn tags(&mut self, mut field: impl FnMut(u32, &mut Self) -> Result<bool>) -> Result<()> {
        let count = self.uvarint()?;
        if count > TAGS_MAX {
            return Err(self.malformed("too many tagged fields"));
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = usize::try_from(self.uvarint()?).map_err(|_wide| Error::Incomplete)?;
            let rest = self.take(size)?;
            let mut inside = Self {
                frame: self.frame,
                rest,
                end: self.position(),
            };
            match field(tag, &mut inside) {
                Ok(true) => inside.finish()?,
                Ok(false) => {}
                Err(Error::Incomplete) => {
                    return Err(inside.malformed("tagged field shorter than its content"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Skips tagged fields where no tag is known.
    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_tag, _inside| Ok(false))
    }
}
