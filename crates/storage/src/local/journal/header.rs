//! The page in front of a journal file's groups: which use of which file this is. Its layout stands with that of the groups.

use super::super::codec::{Input, size};

/// The folder of the journal's files.
pub(super) const FOLDER: &str = "journal";
/// Groups start at multiples of this.
pub(crate) const PAGE: u64 = 4096;
const FILE_MAGIC: u32 = u32::from_le_bytes(*b"FBJF");
/// Of journal files and of the mark. Version 2, which is read too, had no entries of kind `shared`; files of version 1
/// had no header page.
pub(super) const FORMAT_VERSION: u16 = 3;
const OLD_FORMAT_VERSION: u16 = 2;
const FILE_HEADER_BYTES: usize = 44;

/// Names one use of a journal file. Secret: what knows it can pass for a part of the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(super) [u8; Self::BYTES]);

impl Identity {
    pub(super) const BYTES: usize = 16;
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// Rounds up to whole pages.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// The first page of a journal file: which use of which file this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) generation: u64,
    pub(super) length: u64,
    pub(super) identity: Identity,
}

impl FileHeader {
    /// The whole page.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(size(PAGE));
        out.extend_from_slice(&FILE_MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.identity.0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.resize(size(PAGE), 0);
        out
    }

    /// `None` when the bytes are no header page; `Err` when they are one of a format version that is not known here.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, u16> {
        match Self::fields(bytes) {
            Some((_, version)) if !is_known(version) => Err(version),
            found => Ok(found.map(|(header, _)| header)),
        }
    }

    fn fields(bytes: &[u8]) -> Option<(Self, u16)> {
        let mut input = Input(bytes);
        if input.u32()? != FILE_MAGIC {
            return None;
        }
        let (version, _) = (input.u16()?, input.u16()?);
        let header = Self {
            generation: input.u64()?,
            length: input.u64()?,
            identity: identity(&mut input)?,
        };
        let checked = bytes.get(..FILE_HEADER_BYTES - 4)?;
        let sound = input.u32()? == crc32c::crc32c(checked);
        sound.then_some((header, version))
    }
}

/// Whether files and marks of this version can be read.
pub(super) fn is_known(version: u16) -> bool {
    matches!(version, OLD_FORMAT_VERSION | FORMAT_VERSION)
}

pub(super) fn identity(input: &mut Input<'_>) -> Option<Identity> {
    let bytes = input.bytes(Identity::BYTES)?;
    bytes.try_into().ok().map(Identity)
}
