//! Opens compressed batches, for readers who want single records. What is served by offset stays as it came.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use super::BatchError;

/// Bytes the records of one batch may take when opened: a small batch must not be able to fill the memory.
pub const OPENED_BYTES_MAX: usize = 128 << 20;

/// What the common framing of the third codec begins with: a name, and two version numbers of four bytes each.
const FRAMED: &[u8] = b"\x82SNAPPY\x00";
const FRAMED_VERSIONS: usize = 8;

/// The plain bytes of a batch's records.
pub(super) fn open(codec: i16, body: &Bytes) -> Result<Bytes, BatchError> {
    let opened = match codec {
        0 => return Ok(body.clone()),
        1 => drain(flate2::read::GzDecoder::new(&body[..])),
        2 => open_snappy(body),
        3 => drain(lz4_flex::frame::FrameDecoder::new(&body[..])),
        4 => zstd::stream::read::Decoder::with_buffer(&body[..]).and_then(drain),
        _ => return Err(BatchError::Inconsistent("unknown compression codec")),
    };
    opened
        .map(Bytes::from)
        .map_err(|_| BatchError::Inconsistent("the records cannot be decompressed"))
}

fn drain(from: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    from.take(OPENED_BYTES_MAX as u64 + 1)
        .read_to_end(&mut out)?;
    if out.len() > OPENED_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(out)
}

/// Either one raw block, or blocks in a frame, each behind its length.
fn open_snappy(body: &[u8]) -> io::Result<Vec<u8>> {
    let Some(mut blocks) = body.strip_prefix(FRAMED) else {
        return open_block(body, OPENED_BYTES_MAX);
    };
    blocks.try_copy_to_slice(&mut [0; FRAMED_VERSIONS])?;
    let mut out = Vec::new();
    while !blocks.is_empty() {
        let length = usize::try_from(blocks.try_get_u32()?).map_err(io::Error::other)?;
        let (block, rest) = blocks
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.extend(open_block(block, OPENED_BYTES_MAX - out.len())?);
        blocks = rest;
    }
    Ok(out)
}

fn open_block(block: &[u8], room: usize) -> io::Result<Vec<u8>> {
    if snap::raw::decompress_len(block)? > room {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(snap::raw::Decoder::new().decompress_vec(block)?)
}
