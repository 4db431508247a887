//! One part of a checkpoint with its header: the whole, or changes behind it.

use super::super::codec::{Input, size};
use super::format::{FORMAT_VERSION, MAGIC};

/// Parts begin at multiples of this, so that no write touches a page that holds durable bytes.
pub(super) const PAGE: usize = 4096;
pub(super) const HEADER_BYTES: usize = 56;
/// Where the fields begin that the body's checksum covers too.
const CHECKED_AT: usize = 20;
/// Where the header's own checksum is.
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;

/// Random identity of one checkpoint: its whole has it, and all changes behind that repeat it.
pub(in super::super) type Identity = [u8; 16];

/// The header of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) identity: Identity,
    /// 0 for the whole, then one more for each part.
    pub(super) serial: u64,
    /// Every journal group before this sequence was synced when this was written.
    pub(super) reach: u64,
    body_bytes: u64,
    body_crc: u32,
}

impl Frame {
    /// The header at this position, if there is one; its body may be anything.
    pub(super) fn at(bytes: &[u8], position: usize) -> Option<Self> {
        let header = bytes.get(position..)?.get(..HEADER_BYTES)?;
        let mut input = Input(header);
        let (magic, version) = (input.u32()?, input.u32()?);
        let (body_bytes, body_crc, reach) = (input.u64()?, input.u32()?, input.u64()?);
        let identity = input.bytes(16)?.try_into().ok()?;
        let frame = Self {
            identity,
            serial: input.u64()?,
            reach,
            body_bytes,
            body_crc,
        };
        let sound = input.u32()? == crc32c::crc32c(&header[..HEADER_CRC_AT]);
        (sound && magic == MAGIC && version == FORMAT_VERSION).then_some(frame)
    }

    /// The body behind this header, which is at `position`. `None` when not all of it is there as it was written.
    pub(super) fn body<'b>(&self, bytes: &'b [u8], position: usize) -> Option<&'b [u8]> {
        let from = position + HEADER_BYTES;
        let to = from.checked_add(usize::try_from(self.body_bytes).ok()?)?;
        let body = bytes.get(from..to)?;
        let header = &bytes[position..][CHECKED_AT..HEADER_CRC_AT];
        let crc = crc32c::crc32c_append(crc32c::crc32c(header), body);
        (crc == self.body_crc).then_some(body)
    }

    /// Where the next part begins; the body is there.
    pub(super) fn end(&self, position: usize) -> usize {
        (position + HEADER_BYTES + size(self.body_bytes)).next_multiple_of(PAGE)
    }
}

/// Completes a part whose body stands behind room for the header, and fills it up to whole pages.
pub(super) fn seal(part: &mut Vec<u8>, identity: Identity, serial: u64, reach: u64) {
    let body_bytes = (part.len() - HEADER_BYTES) as u64;
    part[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    part[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    part[8..16].copy_from_slice(&body_bytes.to_le_bytes());
    part[20..28].copy_from_slice(&reach.to_le_bytes());
    part[28..44].copy_from_slice(&identity);
    part[44..52].copy_from_slice(&serial.to_le_bytes());
    let header = crc32c::crc32c(&part[CHECKED_AT..HEADER_CRC_AT]);
    let crc = crc32c::crc32c_append(header, &part[HEADER_BYTES..]);
    part[16..20].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&part[..HEADER_CRC_AT]);
    part[HEADER_CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    part.resize(part.len().next_multiple_of(PAGE), 0);
}
