//! The journal's bytes.
//!
//! A journal file is a header page and then a run of groups, each starting at a multiple of 4 KiB and padded to
//! one, so that no write ever touches a page that holds acknowledged bytes. A group is what one write carries, and
//! is valid as a whole or not at all.
//!
//! ```text
//! header   0  magic "FBJF"        u32
//! page     4  format version      u16, then two zero bytes
//!          8  generation          u64   the number in the file's name
//!         16  length              u64   of the whole file
//!         24  identity            16 random bytes, secret
//!         40  checksum            u32   CRC-32C of bytes 0..40
//!         44  zeroes up to 4 KiB
//!
//! group    0  magic "FBJ2"        u32   then four zero bytes
//!          8  generation          u64   of the file this group was written to
//!         16  identity            16 bytes, of the file this group was written to
//!         32  sequence            u64   +1 from group to group, across files
//!         40  durable             u64   last sequence known to be synced when this group was written
//!         48  length              u64   header and entries, without padding
//!         56  entry count         u32
//!         60  checksum            u32   CRC-32C of bytes 0..60
//!         64  entries, then zeroes up to the next 4 KiB
//!
//! entry    0  body length         u32
//!          4  kind                u8    then three zero bytes
//!          8  stream              16 + 4 bytes (zero for documents)
//!         28  checksum            u32   CRC-32C of bytes 0..28 and the body, seeded
//!         32  body
//!
//! kind     1 batch    the batch, verbatim
//!          6 shared   u32 distance, the batch's header; its records are those of the batch that stands so many entries
//!                     before this one, with nothing but batches in between
//!          2 trim     u64: first offset kept
//!          3 remove   empty
//!          4 put      u64 version, u32 key length, key, value
//!          5 delete   u64 version, u32 key length, key
//! ```
//!
//! # Why nothing else passes for a group
//!
//! Files are recycled without being cleared, and what peers send stands in them verbatim, at any page. Every use of
//! a file, the first and each later one, therefore begins with a fresh *identity* from [`crate::disk::Disk::random`],
//! synced before the file is offered to the journal thread. A group counts only if it repeats the identity of its
//! file in full. It never leaves the journal's files and the mark beside them (no log line, error, metric or
//! `Debug` shows one), so a peer can only guess 128 bits, and bytes of an earlier use or of another file have
//! another identity. This does not rest on the checksums: those tell damage, and anyone can compute a CRC.
//!
//! Entry checksums are seeded with identity, generation and sequence. That matters where a power failure leaves a
//! group of which only some sectors arrived: its own header, and between it and its end what stood there before.
//! Without knowing the seed, old bytes pass as an entry of this group with a chance of one in 2^32 for each such
//! failure, as any damage does; a peer cannot raise it.

use bytes::Bytes;

use super::super::change::{Batches, Change, Entry};
use super::super::codec::{Input, STREAM_BYTES, put_counted, put_stream, size};
use super::header::{Identity, identity, padded};
use crate::batch::HEADER_BYTES;
use crate::{Append, Batch, Lsn, StreamId};

pub(super) const GROUP_HEADER_BYTES: usize = 64;
const ENTRY_HEADER_BYTES: usize = 32;
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"FBJ2");
/// Bodies at least this large are written from where they lie instead of being copied together.
const SHARED_BODY_BYTES: usize = 8 * 1024;

const BATCH: u8 = 1;
const TRIM: u8 = 2;
const REMOVE: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;
const SHARED: u8 = 6;
/// Body of a batch whose records another entry has.
const SHARED_BYTES: usize = 4 + HEADER_BYTES;

const NO_STREAM: StreamId = StreamId {
    owner: uuid::Uuid::nil(),
    part: 0,
};

impl Entry {
    pub(crate) fn new(lsn: Lsn, sync: bool, change: Change) -> Self {
        let bytes = match &change {
            Change::Batches(batches) => batches
                .iter()
                .map(|(append, shared)| match shared {
                    Some(_) => ENTRY_HEADER_BYTES + SHARED_BYTES,
                    None => ENTRY_HEADER_BYTES + append.batch.bytes(),
                })
                .sum(),
            Change::Trim { .. } => ENTRY_HEADER_BYTES + 8,
            Change::Remove { .. } => ENTRY_HEADER_BYTES,
            Change::Put { key, value, .. } => ENTRY_HEADER_BYTES + 12 + key.len() + value.len(),
            Change::Delete { key, .. } => ENTRY_HEADER_BYTES + 12 + key.len(),
        };
        Self {
            lsn,
            sync,
            change,
            bytes: bytes as u64,
        }
    }
}

/// The bytes in front of a group's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) generation: u64,
    pub(super) identity: Identity,
    pub(super) sequence: u64,
    pub(super) durable: u64,
    pub(super) length: u64,
    pub(super) entries: u32,
}

impl GroupHeader {
    pub(super) fn encode(&self) -> [u8; GROUP_HEADER_BYTES] {
        let mut out = [0; GROUP_HEADER_BYTES];
        out[0..4].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..32].copy_from_slice(&self.identity.0);
        out[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        out[40..48].copy_from_slice(&self.durable.to_le_bytes());
        out[48..56].copy_from_slice(&self.length.to_le_bytes());
        out[56..60].copy_from_slice(&self.entries.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when the bytes are not the header of a group that was written during this use of this file.
    pub(super) fn decode(bytes: &[u8], generation: u64, own: Identity) -> Option<Self> {
        let mut input = Input(bytes);
        let (magic, _) = (input.u32()?, input.u32()?);
        let header = Self {
            generation: input.u64()?,
            identity: identity(&mut input)?,
            sequence: input.u64()?,
            durable: input.u64()?,
            length: input.u64()?,
            entries: input.u32()?,
        };
        let crc = crc32c::crc32c(bytes.get(..GROUP_HEADER_BYTES - 4)?);
        let sound = magic == GROUP_MAGIC
            && header.identity == own
            && header.generation == generation
            && header.length >= GROUP_HEADER_BYTES as u64
            && input.u32()? == crc;
        sound.then_some(header)
    }

    fn seed(&self) -> u32 {
        let secret = crc32c::crc32c(&self.identity.0);
        let generation = crc32c::crc32c_append(secret, &self.generation.to_le_bytes());
        crc32c::crc32c_append(generation, &self.sequence.to_le_bytes())
    }
}

#[derive(Debug)]
enum Piece {
    /// A range of the staging buffer.
    Staged(usize, usize),
    Shared(Bytes),
}

/// Encodes groups; keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    staging: Vec<u8>,
    pieces: Vec<Piece>,
    /// Start of the staged bytes not yet in `pieces`.
    open: usize,
    shared_bytes: usize,
    seed: u32,
    entries: u32,
}

impl Encoder {
    /// Staging buffers larger than this are not kept.
    const STAGING_KEPT_BYTES: usize = 16 * 1024 * 1024;

    /// Encodes one group. `header.length` and `header.entries` are filled in here.
    pub(super) fn encode(&mut self, mut header: GroupHeader, group: &[Entry]) {
        self.clear();
        self.seed = header.seed();
        self.staging.resize(GROUP_HEADER_BYTES, 0);
        for entry in group {
            self.change(&entry.change);
        }
        let length = self.staging.len() + self.shared_bytes;
        header.length = length as u64;
        header.entries = self.entries;
        let padding = padded(header.length) - header.length;
        self.staging.resize(self.staging.len() + size(padding), 0);
        self.close_staged();
        self.staging[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode());
    }

    /// The encoded group, ready to be written.
    pub(super) fn slices(&self) -> Vec<std::io::IoSlice<'_>> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Staged(from, to) => std::io::IoSlice::new(&self.staging[*from..*to]),
                Piece::Shared(bytes) => std::io::IoSlice::new(bytes),
            })
            .collect()
    }

    /// Lets go of shared bodies, so that memory is not held until the next group.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.staging.clear();
        self.staging.shrink_to(Self::STAGING_KEPT_BYTES);
        self.open = 0;
        self.shared_bytes = 0;
        self.entries = 0;
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Batches(batches) => {
                for (append, shared) in batches.iter() {
                    match shared {
                        Some(distance) => self.shared(append, distance),
                        None => self.batch(append.stream, &append.batch),
                    }
                }
            }
            Change::Trim { stream, before } => self.small(TRIM, *stream, &before.to_le_bytes()),
            Change::Remove { stream } => self.small(REMOVE, *stream, &[]),
            Change::Put {
                key,
                version,
                value,
            } => {
                let mut body = Vec::with_capacity(12 + key.len() + value.len());
                body.extend_from_slice(&version.to_le_bytes());
                put_counted(&mut body, key.as_bytes());
                body.extend_from_slice(value);
                self.small(PUT, NO_STREAM, &body);
            }
            Change::Delete { key, version } => {
                let mut body = Vec::with_capacity(12 + key.len());
                body.extend_from_slice(&version.to_le_bytes());
                put_counted(&mut body, key.as_bytes());
                self.small(DELETE, NO_STREAM, &body);
            }
        }
    }

    fn small(&mut self, kind: u8, stream: StreamId, body: &[u8]) {
        let at = self.entry_header(kind, stream, body.len());
        let crc = crc32c::crc32c_append(self.header_crc(at), body);
        self.seal(at, crc);
        self.staging.extend_from_slice(body);
    }

    fn batch(&mut self, stream: StreamId, batch: &Batch) {
        let at = self.entry_header(BATCH, stream, batch.bytes());
        let mut crc = self.header_crc(at);
        for piece in batch.pieces() {
            crc = crc32c::crc32c_append(crc, piece);
        }
        self.seal(at, crc);
        for piece in batch.pieces() {
            if piece.len() < SHARED_BODY_BYTES {
                self.staging.extend_from_slice(piece);
            } else {
                self.close_staged();
                self.shared_bytes += piece.len();
                self.pieces.push(Piece::Shared(piece.clone()));
            }
        }
    }

    fn shared(&mut self, append: &Append, distance: usize) {
        let distance = u32::try_from(distance).expect("a group has far fewer entries");
        let mut body = [0; SHARED_BYTES];
        body[..4].copy_from_slice(&distance.to_le_bytes());
        body[4..].copy_from_slice(append.batch.head());
        self.small(SHARED, append.stream, &body);
    }

    /// Stages an entry's header without its checksum, and returns where it stands.
    fn entry_header(&mut self, kind: u8, stream: StreamId, body_bytes: usize) -> usize {
        let at = self.staging.len();
        let length = u32::try_from(body_bytes).expect("a batch's own length field is 31 bits");
        self.entries += 1;
        self.staging.extend_from_slice(&length.to_le_bytes());
        self.staging.extend_from_slice(&[kind, 0, 0, 0]);
        put_stream(&mut self.staging, stream);
        at
    }

    fn header_crc(&self, at: usize) -> u32 {
        crc32c::crc32c_append(self.seed, &self.staging[at..at + 8 + STREAM_BYTES])
    }

    fn seal(&mut self, at: usize, crc: u32) {
        debug_assert_eq!(
            self.staging.len(),
            at + 8 + STREAM_BYTES,
            "one header at a time"
        );
        self.staging.extend_from_slice(&crc.to_le_bytes());
    }

    fn close_staged(&mut self) {
        if self.open < self.staging.len() {
            self.pieces
                .push(Piece::Staged(self.open, self.staging.len()));
            self.open = self.staging.len();
        }
    }
}

/// Takes a group's entries apart. `None` when anything does not add up; `bytes` starts with the header. Batches that
/// follow each other are one change, as those of one append were.
pub(super) fn decode_entries(header: &GroupHeader, bytes: &[u8]) -> Option<Vec<Change>> {
    let mut input = Input(bytes.get(GROUP_HEADER_BYTES..)?);
    let mut changes = Vec::new();
    let mut batches: Vec<Append> = Vec::new();
    for _ in 0..header.entries {
        let entry = RawEntry::decode(header.seed(), &mut input)?;
        if let BATCH | SHARED = entry.kind {
            batches.push(entry.append(&batches)?);
            continue;
        }
        changes.extend(take_batches(&mut batches));
        changes.push(entry.change()?);
    }
    changes.extend(take_batches(&mut batches));
    input.0.is_empty().then_some(changes)
}

fn take_batches(batches: &mut Vec<Append>) -> Option<Change> {
    let taken = std::mem::take(batches);
    (!taken.is_empty()).then(|| Change::Batches(Batches::new(taken)))
}

/// An entry whose checksum is right.
struct RawEntry<'a> {
    kind: u8,
    stream: StreamId,
    body: &'a [u8],
}

impl<'a> RawEntry<'a> {
    fn decode(seed: u32, input: &mut Input<'a>) -> Option<Self> {
        let checked = input.bytes(8 + STREAM_BYTES)?;
        let mut fields = Input(checked);
        let length = fields.u32()? as usize;
        let kind = fields.u8()?;
        fields.bytes(3)?;
        let stream = fields.stream()?;
        let crc = input.u32()?;
        let body = input.bytes(length)?;
        let sound = crc32c::crc32c_append(crc32c::crc32c_append(seed, checked), body) == crc;
        sound.then_some(Self { kind, stream, body })
    }

    /// The batch of an entry that stands behind these.
    fn append(&self, before: &[Append]) -> Option<Append> {
        let batch = if self.kind == BATCH {
            // Copied, because a small batch must not keep a large read buffer alive.
            Batch::split_trusted(&mut Bytes::copy_from_slice(self.body)).ok()?
        } else {
            let mut fields = Input(self.body);
            let distance = fields.u32()? as usize;
            let other = before.get(before.len().checked_sub(distance)?)?;
            let head = Bytes::copy_from_slice(fields.0);
            // The entry's checksum does not cover the records, the batch's own does.
            Batch::of_parts(&head, other.batch.body()).filter(Batch::is_sound)?
        };
        let stream = self.stream;
        Some(Append { stream, batch })
    }

    /// Any other change.
    fn change(&self) -> Option<Change> {
        let stream = self.stream;
        let mut fields = Input(self.body);
        let change = match self.kind {
            TRIM => Change::Trim {
                stream,
                before: fields.u64()?,
            },
            REMOVE => Change::Remove { stream },
            PUT => Change::Put {
                version: fields.u64()?,
                key: decode_key(&mut fields)?,
                value: Bytes::copy_from_slice(fields.0),
            },
            DELETE => Change::Delete {
                version: fields.u64()?,
                key: decode_key(&mut fields)?,
            },
            _ => return None,
        };
        Some(change)
    }
}

fn decode_key(fields: &mut Input<'_>) -> Option<String> {
    String::from_utf8(fields.counted()?.to_vec()).ok()
}

/// Bytes a group of these entries takes on disk.
pub(super) fn group_bytes(entries: &[Entry]) -> u64 {
    framed(entries.iter().map(|entry| entry.bytes).sum())
}

/// Bytes a group takes on disk whose entries take so many.
pub(super) fn framed(entries_bytes: u64) -> u64 {
    padded(GROUP_HEADER_BYTES as u64 + entries_bytes)
}
