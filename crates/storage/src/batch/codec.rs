//! Opens compressed batches as a stream: through a small buffer, up to a limit of opened bytes, and never as a whole.
//! What is served by offset stays as it came.

use std::io::{self, BufRead, Read};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::error::{BatchError, OPENED_BYTES_MAX};

/// What the common framing of the second codec begins with: a name, and two version numbers of four bytes each.
const FRAMED: &[u8] = b"\x82SNAPPY\x00";
const FRAMED_BYTES: usize = FRAMED.len() + 8;
/// An operation of the second codec makes at most this many bytes out of `BLOCK_OPERATION_BYTES`.
const BLOCK_OPERATION_OPENED: usize = 64;
const BLOCK_OPERATION_BYTES: usize = 3;

/// Largest window the fourth codec may ask for, as a power of two: what its encoders use at most.
const WINDOW_LOG_MAX: u32 = 27;
/// Memory a decoder takes that has no window of note.
const SMALL_DECODER_BYTES: usize = 1 << 20;
/// Memory the decoder of the third codec takes: two blocks and a window, and as much as one block for what is read.
const BLOCKS: usize = 3;
const BLOCKS_WINDOW_BYTES: usize = 64 << 10;

const CUT_SHORT: BatchError = BatchError::Inconsistent("the compressed records are cut short");
const UNREADABLE: BatchError = BatchError::Inconsistent("the records cannot be decompressed");
const UNKNOWN: BatchError = BatchError::Inconsistent("unknown compression codec");
const TRAILING: BatchError =
    BatchError::Inconsistent("bytes are left behind the compressed records");

/// A compressed batch's records, as a stream of plain bytes.
pub(super) struct Stream {
    codec: Codec,
    /// Bytes it may still give.
    room: usize,
}

enum Codec {
    Gzip(Box<MultiGzDecoder<Reader<Bytes>>>),
    Snappy(Blocks),
    Lz4(Box<FrameDecoder<Reader<Bytes>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Reader<Bytes>>>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Begins to open `body`; gives at most `most` bytes.
    pub(super) fn new(codec: i16, body: &Bytes, most: usize) -> Result<Self, BatchError> {
        let reader = body.clone().reader();
        let codec = match codec {
            1 => Codec::Gzip(Box::new(MultiGzDecoder::new(reader))),
            2 => Codec::Snappy(Blocks::new(body.clone())),
            3 => Codec::Lz4(Box::new(FrameDecoder::new(reader))),
            4 => {
                let decoder = zstd::stream::read::Decoder::with_buffer(reader);
                let mut decoder = decoder.map_err(|_| UNREADABLE)?;
                decoder
                    .window_log_max(WINDOW_LOG_MAX)
                    .map_err(|_| UNREADABLE)?;
                Codec::Zstd(Box::new(decoder))
            }
            _ => return Err(UNKNOWN),
        };
        Ok(Self { codec, room: most })
    }

    /// Fills a part of `out`; 0 at the end. Errors: `Opened` behind the limit, `Inconsistent`.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        let read = match &mut self.codec {
            Codec::Gzip(decoder) => decoder.read(out),
            Codec::Lz4(decoder) => decoder.read(out),
            Codec::Zstd(decoder) => decoder.read(out),
            Codec::Snappy(blocks) => {
                let read = blocks.read(out, self.room)?;
                self.room -= read;
                return Ok(read);
            }
        };
        let read = read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CUT_SHORT,
            _ => UNREADABLE,
        })?;
        self.room = self.room.checked_sub(read).ok_or(BatchError::Opened)?;
        Ok(read)
    }

    /// Refuses what stands behind the stream, once it has come to its end.
    pub(super) fn finish(&mut self) -> Result<(), BatchError> {
        let left = match &mut self.codec {
            Codec::Gzip(decoder) => decoder.get_ref().get_ref().len(),
            Codec::Snappy(blocks) => blocks.rest.len(),
            Codec::Lz4(decoder) => decoder.get_ref().get_ref().len(),
            Codec::Zstd(decoder) => {
                let reader = decoder.get_mut();
                reader.fill_buf().map_or(0, <[u8]>::len)
            }
        };
        if left > 0 { Err(TRAILING) } else { Ok(()) }
    }
}

/// Memory it takes to open a body, besides the body: an estimate by what it says of itself, never more than
/// [`OPENED_BYTES_MAX`] and what cannot be helped.
pub(super) fn opening_bytes(codec: i16, body: &[u8]) -> usize {
    match codec {
        2 => {
            let block = if body.starts_with(FRAMED) {
                body.get(FRAMED_BYTES + 4..).unwrap_or_default()
            } else {
                body
            };
            let claimed = snap::raw::decompress_len(block).unwrap_or(0);
            claimed.clamp(SMALL_DECODER_BYTES, OPENED_BYTES_MAX)
        }
        3 => BLOCKS * lz4_block(body) + BLOCKS_WINDOW_BYTES,
        4 => zstd_window(body).clamp(SMALL_DECODER_BYTES, OPENED_BYTES_MAX),
        0 => 0,
        _ => SMALL_DECODER_BYTES,
    }
}

/// How large the blocks of the third codec may be, as the frame says it behind its name and its flags.
fn lz4_block(body: &[u8]) -> usize {
    match body.get(5).map(|descriptor| descriptor >> 4 & 7) {
        Some(4) => 64 << 10,
        Some(5) => 256 << 10,
        Some(6) => 1 << 20,
        _ => 4 << 20,
    }
}

/// The window a frame of the fourth codec asks for.
fn zstd_window(body: &[u8]) -> usize {
    const SINGLE_SEGMENT: u8 = 0x20;
    let Some([descriptor, rest @ ..]) = body.get(4..) else {
        return 0;
    };
    if descriptor & SINGLE_SEGMENT == 0 {
        let Some(window) = rest.first() else { return 0 };
        let base = 1_usize << (10 + (window >> 3)).min(40);
        return base + base / 8 * usize::from(window & 7);
    }
    // As large as its content, whose size stands behind the dictionary's number.
    let skip = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let Some(size) = rest.get(skip..skip + bytes) else {
        return 0;
    };
    let size = size.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Blocks of the second codec: either one without a frame, or several, each behind its length.
struct Blocks {
    rest: Bytes,
    framed: bool,
    /// The block that is open.
    open: Vec<u8>,
    taken: usize,
}

impl Blocks {
    fn new(mut body: Bytes) -> Self {
        let framed = body.len() >= FRAMED_BYTES && body.starts_with(FRAMED);
        if framed {
            body.advance(FRAMED_BYTES);
        }
        Self {
            rest: body,
            framed,
            open: Vec::new(),
            taken: 0,
        }
    }

    fn next_block(&mut self) -> Result<Bytes, BatchError> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        // Streams may be joined, each with its frame.
        if self.rest.len() >= FRAMED_BYTES && self.rest.starts_with(FRAMED) {
            self.rest.advance(FRAMED_BYTES);
        }
        let length = self.rest.try_get_u32().map_err(|_| CUT_SHORT)?;
        let length = usize::try_from(length).map_err(|_| CUT_SHORT)?;
        if length > self.rest.len() {
            return Err(CUT_SHORT);
        }
        Ok(self.rest.split_to(length))
    }

    /// Fills a part of `out`; `room` is how much may still be opened.
    fn read(&mut self, out: &mut [u8], room: usize) -> Result<usize, BatchError> {
        while self.taken == self.open.len() {
            if self.rest.is_empty() {
                return Ok(0);
            }
            let block = self.next_block()?;
            let opened = snap::raw::decompress_len(&block).map_err(|_| UNREADABLE)?;
            // A size no block of this length can have must not become an allocation.
            let most = (block.len() / BLOCK_OPERATION_BYTES + 1) * BLOCK_OPERATION_OPENED;
            if opened > most {
                return Err(UNREADABLE);
            }
            if opened > room {
                return Err(BatchError::Opened);
            }
            self.open.resize(opened, 0);
            self.taken = 0;
            snap::raw::Decoder::new()
                .decompress(&block, &mut self.open)
                .map_err(|_| UNREADABLE)?;
        }
        let count = out.len().min(self.open.len() - self.taken);
        out[..count].copy_from_slice(&self.open[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
