//! Decoding: a cursor over the payload of one frame that hands out borrowed strings and tables. It allocates nothing.

use super::{Error, Result};

/// A cursor over one payload.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// What is left to read.
    rest: &'a [u8],
    /// Where in the payload `rest` ends.
    end: usize,
    /// The octet whose bits are being read, shifted so that the next one is the lowest.
    bits: u8,
    bits_left: u8,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `payload`.
    #[inline]
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            rest: payload,
            end: payload.len(),
            bits: 0,
            bits_left: 0,
        }
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Fails unless everything was read.
    #[inline]
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("bytes after the end"))
        }
    }

    /// An error that points at the next byte.
    #[cold]
    pub fn malformed(&self, why: &'static str) -> Error {
        let at = self.at();
        Error::Malformed { at, why }
    }

    /// Where in the payload the next byte is.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    /// Everything not yet read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        self.bits_left = 0;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bits_left = 0;
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One octet.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        self.fixed().map(u8::from_be_bytes)
    }

    /// Two octets, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four octets, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight octets, big-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// One bit. Bits that follow one another share octets, lowest first; anything else ends the octet.
    #[inline]
    pub fn bit(&mut self) -> Result<bool> {
        if self.bits_left == 0 {
            self.bits = self.u8()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left = self.bits_left.saturating_sub(1);
        Ok(bit)
    }

    /// A string of at most 255 bytes, in any encoding or none.
    #[inline]
    pub fn short(&mut self) -> Result<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A string with a length of four octets.
    #[inline]
    pub fn long(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_wide| Error::Incomplete)?)
    }
}
