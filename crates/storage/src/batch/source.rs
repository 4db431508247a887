//! Where the fields of records are read from: plain bytes where they lie, or a compressed batch as it opens. Nothing
//! that is read decides how much is allocated: only bytes that are there do.

use bytes::Bytes;

use super::codec::Stream;
use super::error::BatchError;

/// Opened bytes that are held at once.
const BUFFER_BYTES: usize = 32 << 10;

const TRAILING: BatchError = BatchError::Inconsistent("bytes are left behind the last record");
const UNUSED: BatchError = BatchError::Inconsistent("a record is longer than its fields");
const BEYOND: BatchError = BatchError::Inconsistent("a record is longer than the batch");
const INSIDE: BatchError = BatchError::Inconsistent("a field is longer than its record");
const LONG_NUMBER: BatchError = BatchError::Inconsistent("a number is too long");

/// Bytes of records, read one after the other. Between `enter` and `leave` nothing outside of the record can be read.
pub(super) trait Source {
    /// Begins a record of `bytes` bytes.
    fn enter(&mut self, bytes: usize) -> Result<(), BatchError>;
    /// Ends the record, all of which must have been read.
    fn leave(&mut self) -> Result<(), BatchError>;
    /// One byte.
    fn byte(&mut self) -> Result<u8, BatchError>;
    /// Passes over bytes.
    fn skip(&mut self, bytes: usize) -> Result<(), BatchError>;
    /// Takes bytes out.
    fn take(&mut self, bytes: usize) -> Result<Bytes, BatchError>;
    /// Makes sure that nothing is left.
    fn finish(&mut self) -> Result<(), BatchError>;

    /// A number of up to 64 bits in zigzag form.
    #[inline]
    fn long(&mut self) -> Result<i64, BatchError> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        if first & 0x80 != 0 {
            let mut shift = 7;
            loop {
                let byte = self.byte()?;
                value |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
                if shift > 63 {
                    return Err(LONG_NUMBER);
                }
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A number of up to 32 bits.
    #[inline]
    fn number(&mut self) -> Result<i32, BatchError> {
        i32::try_from(self.long()?).map_err(|_| LONG_NUMBER)
    }
}

/// Plain bytes, read where they lie.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    body: &'a Bytes,
    /// What is left of the record that was entered, or else of the body.
    left: &'a [u8],
    /// What lies behind the record.
    behind: &'a [u8],
    inside: bool,
}

impl<'a> Plain<'a> {
    pub(super) fn new(body: &'a Bytes, from: usize) -> Self {
        Self {
            body,
            left: body.get(from..).unwrap_or_default(),
            behind: &[],
            inside: false,
        }
    }

    /// How many bytes of the body were read.
    pub(super) fn position(&self) -> usize {
        self.body.len() - self.left.len() - self.behind.len()
    }

    fn missing(&self) -> BatchError {
        if self.inside {
            INSIDE
        } else {
            BatchError::Truncated
        }
    }
}

impl Source for Plain<'_> {
    #[inline]
    fn enter(&mut self, bytes: usize) -> Result<(), BatchError> {
        let (record, behind) = self.left.split_at_checked(bytes).ok_or(BEYOND)?;
        (self.left, self.behind, self.inside) = (record, behind, true);
        Ok(())
    }

    #[inline]
    fn leave(&mut self) -> Result<(), BatchError> {
        if !self.left.is_empty() {
            return Err(UNUSED);
        }
        (self.left, self.behind, self.inside) = (self.behind, &[], false);
        Ok(())
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        let Some((byte, rest)) = self.left.split_first() else {
            return Err(self.missing());
        };
        self.left = rest;
        Ok(*byte)
    }

    #[inline]
    fn skip(&mut self, bytes: usize) -> Result<(), BatchError> {
        let Some(rest) = self.left.get(bytes..) else {
            return Err(self.missing());
        };
        self.left = rest;
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<Bytes, BatchError> {
        let Some((taken, rest)) = self.left.split_at_checked(bytes) else {
            return Err(self.missing());
        };
        self.left = rest;
        Ok(self.body.slice_ref(taken))
    }

    fn finish(&mut self) -> Result<(), BatchError> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(TRAILING)
        }
    }
}

/// A compressed batch as it opens, through a buffer.
#[derive(Debug)]
pub(super) struct Opening {
    stream: Stream,
    buffer: Box<[u8]>,
    /// Where in the buffer the bytes are that were opened and not read.
    from: usize,
    upto: usize,
    /// Bytes of the record that were not read, while one is entered.
    inside: Option<usize>,
    /// Largest piece that may be taken out.
    pub(super) piece_bytes_max: usize,
}

impl Opening {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into(),
            from: 0,
            upto: 0,
            inside: None,
            piece_bytes_max: usize::MAX,
        }
    }

    /// Opens more; whether there is any.
    fn fill(&mut self) -> Result<bool, BatchError> {
        (self.from, self.upto) = (0, self.stream.read(&mut self.buffer)?);
        Ok(self.upto > 0)
    }

    /// Some of the next bytes, at least one.
    fn some(&mut self) -> Result<&[u8], BatchError> {
        if self.from == self.upto && !self.fill()? {
            return Err(if self.inside.is_some() {
                BEYOND
            } else {
                BatchError::Truncated
            });
        }
        Ok(&self.buffer[self.from..self.upto])
    }

    /// Takes note that bytes of the record are being read.
    #[inline]
    fn within(&mut self, bytes: usize) -> Result<(), BatchError> {
        if let Some(left) = &mut self.inside {
            *left = left.checked_sub(bytes).ok_or(INSIDE)?;
        }
        Ok(())
    }
}

impl Source for Opening {
    fn enter(&mut self, bytes: usize) -> Result<(), BatchError> {
        self.inside = Some(bytes);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), BatchError> {
        match self.inside.take() {
            Some(0) | None => Ok(()),
            Some(_) => Err(UNUSED),
        }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        self.within(1)?;
        let byte = self.some()?[0];
        self.from += 1;
        Ok(byte)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), BatchError> {
        self.within(bytes)?;
        let mut left = bytes;
        while left > 0 {
            let count = self.some()?.len().min(left);
            self.from += count;
            left -= count;
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<Bytes, BatchError> {
        self.within(bytes)?;
        if bytes > self.piece_bytes_max {
            return Err(BatchError::Opened);
        }
        let mut taken = Vec::with_capacity(bytes.min(BUFFER_BYTES));
        while taken.len() < bytes {
            let left = bytes - taken.len();
            let some = self.some()?;
            let count = some.len().min(left);
            taken.extend_from_slice(&some[..count]);
            self.from += count;
        }
        Ok(taken.into())
    }

    fn finish(&mut self) -> Result<(), BatchError> {
        if self.from < self.upto || self.fill()? {
            return Err(TRAILING);
        }
        self.stream.finish()
    }
}
