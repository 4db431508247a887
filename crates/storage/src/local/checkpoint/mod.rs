//! The checkpoint: everything start needs besides the journal's end, in one file replaced as a whole.
//!
//! ```text
//!   0  magic "FBCP"          u32
//!   4  format version        u32
//!   8  body length           u64
//!  16  checksum              u32   of everything behind it
//!  20  reach                 u64   every journal group before this sequence was synced when this was written
//!  28  body:
//!        journal sequence, generation, offset      3 x u64   where replay begins
//!        next segment id                           u64
//!        version floor of documents                u64
//!        stream count                              u64
//!          stream 16 + 4, start u64, end u64, extent count u32
//!            extent: segment, base, end, bytes u64, max timestamp i64, index position u64, blocks, crc u32
//!        document count                            u64
//!          version u64, key and value each behind a u32 length
//!        identity of the data folder               16 bytes, as the journal's mark has it
//! ```
//!
//! It may show more than the replay position stands for (a trim, a document put later): replaying those changes
//! again leads to the same state. It never shows what is not durable yet, which is why it is written after a sync
//! of everything handed over before it was taken.
//!
//! It is always a new file, read from its first byte to its last: nothing that stood elsewhere can pass for a part of
//! it, whatever documents hold. Version 3 has no identity of the folder. Version 2 is the same, and the segments it names
//! have no stubs. Version 1 is that without the reach; what came with it is a journal without identities, which is of no use unless the store was closed in good
//! order and the journal need not be read.

mod file;

pub(super) use file::CheckpointFile;

use super::codec::{Input, put_counted, put_stream};
use super::documents::{self, Kept};
use super::seams::{Digest, Documents, Folder, Position};
use super::segment::Extent;
use crate::{Error, Result, StreamId};

pub(super) const NAME: &str = "checkpoint";
const MAGIC: u32 = u32::from_le_bytes(*b"FBCP");
const FORMAT_VERSION: u32 = 4;
/// The last version without the folder's identity.
const VERSION_WITHOUT_FOLDER: u32 = 3;
/// The last version before journal files had identities.
const OLD_FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
/// Where what the checksum covers begins; in version 1 this is the body.
const CHECKED_AT: usize = 20;

/// A stream as the checkpoint knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamImage {
    pub(super) id: StreamId,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) extents: Vec<Extent>,
}

/// The content of a checkpoint, but for the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// The data folder it belongs to.
    pub(super) folder: Folder,
    pub(super) position: Position,
    /// Sequence the journal must at least come to: what the image shows may be newer than the position.
    pub(super) reach: u64,
    pub(super) next_segment: u64,
    pub(super) streams: Vec<StreamImage>,
}

/// A checkpoint as it was found.
pub(super) struct Stored {
    pub(super) image: Image,
    pub(super) documents: documents::State,
    /// It is of the version before journal files had identities.
    pub(super) is_old: bool,
    /// Its first bytes, with length, checksum and reach.
    pub(super) digest: Digest,
}

impl Image {
    /// The checkpoint as bytes, for [`seal`].
    pub(super) fn encode(&self, documents: &documents::State) -> Vec<u8> {
        let (documents, floor) = documents.image();
        let mut out = vec![0; HEADER_BYTES];
        let numbers = [
            self.position.sequence,
            self.position.generation,
            self.position.offset,
            self.next_segment,
            floor,
            self.streams.len() as u64,
        ];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for stream in &self.streams {
            put_stream(&mut out, stream.id);
            out.extend_from_slice(&stream.start.to_le_bytes());
            out.extend_from_slice(&stream.end.to_le_bytes());
            let count = u32::try_from(stream.extents.len()).expect("far fewer extents per stream");
            out.extend_from_slice(&count.to_le_bytes());
            for extent in &stream.extents {
                put_extent(&mut out, extent);
            }
        }
        out.extend_from_slice(&(documents.len() as u64).to_le_bytes());
        for (key, document) in documents {
            out.extend_from_slice(&document.version.to_le_bytes());
            put_counted(&mut out, key.as_bytes());
            put_counted(&mut out, &document.value);
        }
        out.extend_from_slice(&self.folder);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Stored> {
        let wrong = |why: &str| Error::lost(NAME, why);
        let mut header = Input(bytes);
        let magic = header.u32();
        let version = header.u32();
        if magic != Some(MAGIC) {
            return Err(wrong("not a checkpoint"));
        }
        let version = version.unwrap_or(0);
        if !(OLD_FORMAT_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(Error::format(NAME, version));
        }
        let is_old = version == OLD_FORMAT_VERSION;
        let (length, crc) = (header.u64(), header.u32());
        if crc != Some(crc32c::crc32c(header.0)) {
            return Err(wrong("the checksum does not match"));
        }
        let reach = if is_old { Some(0) } else { header.u64() };
        if length != Some(header.0.len() as u64) {
            return Err(wrong("its length is not the one it had"));
        }
        let has_folder = version > VERSION_WITHOUT_FOLDER;
        let decoded = Self::decode_body(header.0, has_folder).zip(bytes.first_chunk());
        let ((mut image, documents), digest) =
            decoded.ok_or_else(|| wrong("a field is cut short"))?;
        image.reach = reach.unwrap_or(0);
        Ok(Stored {
            image,
            documents,
            is_old,
            digest: *digest,
        })
    }

    fn decode_body(body: &[u8], has_folder: bool) -> Option<(Self, documents::State)> {
        let (body, folder) = if has_folder {
            body.split_last_chunk()?
        } else {
            (body, &Folder::default())
        };
        let mut input = Input(body);
        let mut image = Self {
            folder: *folder,
            position: Position {
                sequence: input.u64()?,
                generation: input.u64()?,
                offset: input.u64()?,
            },
            reach: 0,
            next_segment: input.u64()?,
            streams: Vec::new(),
        };
        let floor = input.u64()?;
        for _ in 0..input.u64()? {
            let (id, start, end) = (input.stream()?, input.u64()?, input.u64()?);
            let mut extents = Vec::new();
            for _ in 0..input.u32()? {
                extents.push(extent(&mut input)?);
            }
            image.streams.push(StreamImage {
                id,
                start,
                end,
                extents,
            });
        }
        let mut documents = Vec::new();
        for _ in 0..input.u64()? {
            let version = input.u64()?;
            let key = Box::from(std::str::from_utf8(input.counted()?).ok()?);
            let value = Box::from(input.counted()?);
            documents.push((key, Kept { version, value }));
        }
        // Made of all at once, the table has no half-empty nodes.
        let documents = documents.into_iter().collect();
        Some((image, documents::State::restored(documents, floor)))
    }

    /// The checkpoint there is; `None` when there never was one.
    pub(super) fn load(kept: &dyn Documents) -> Result<Option<Stored>> {
        let failed = |error| Error::io("read the checkpoint", error);
        let bytes = kept.load().map_err(failed)?;
        bytes.map(|bytes| Self::decode(&bytes)).transpose()
    }
}

/// Completes an encoded checkpoint: every group before `reach` is durable by now.
pub(super) fn seal(bytes: &mut [u8], reach: u64) -> Digest {
    let body = (bytes.len() - HEADER_BYTES) as u64;
    bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[8..16].copy_from_slice(&body.to_le_bytes());
    bytes[20..28].copy_from_slice(&reach.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[CHECKED_AT..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    *bytes.first_chunk().expect("an encoded one has a header")
}

fn put_extent(out: &mut Vec<u8>, extent: &Extent) {
    out.extend_from_slice(&extent.segment.to_le_bytes());
    out.extend_from_slice(&extent.base.to_le_bytes());
    out.extend_from_slice(&extent.end.to_le_bytes());
    out.extend_from_slice(&extent.bytes.to_le_bytes());
    out.extend_from_slice(&extent.max_timestamp.to_le_bytes());
    out.extend_from_slice(&extent.index_position.to_le_bytes());
    out.extend_from_slice(&extent.blocks.to_le_bytes());
    out.extend_from_slice(&extent.index_crc.to_le_bytes());
}

fn extent(input: &mut Input<'_>) -> Option<Extent> {
    Some(Extent {
        segment: input.u64()?,
        base: input.u64()?,
        end: input.u64()?,
        bytes: input.u64()?,
        max_timestamp: input.i64()?,
        index_position: input.u64()?,
        blocks: input.u32()?,
        index_crc: input.u32()?,
    })
}
