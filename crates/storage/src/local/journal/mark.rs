//! The mark: a second place that says how far the journal is known to be durable, and which files it has.
//!
//! Without it the end of the journal could vanish in silence: a group is vouched for by the groups behind it, the
//! last ones by nobody. The mark is a small file beside the journal's folder with two slots that are written in
//! turn, so that one of them is whole at any time.
//!
//! ```text
//! slot     0  magic "FBJM"        u32
//!          4  format version      u16, then two zero bytes
//!          8  serial              u64   the greater one counts; even in the first slot, odd in the second
//!         16  sequence            u64   every group before this one was synced
//!         24  generation, offset  2 x u64   where that group was to start
//!         40  checkpoint          u64   sequence the checkpoint replays from; 0 while there is none
//!         48  file count          u32
//!         52  checksum            u32   CRC-32C of bytes 0..52 and the files
//!         56  files: generation u64, length u64, identity 16 bytes; the first, of generation 0, is no file: its
//!             identity is that of the data folder, which the checkpoint has too
//! ```
//!
//! The order of things keeps it true at every moment, whatever ends the process or the power:
//!
//! - The mark exists, durably, before the first journal file.
//! - A position is written to it only after the groups before it were synced. It may lag, by
//!   [`super::super::Options::mark_interval`] at most while the journal makes progress; at a regular end it does not.
//! - A file is in the list before the journal thread may have it, and after its content, length, header page and
//!   name were synced. It leaves the list before it is renamed or removed, which is after a durable checkpoint made it
//!   unnecessary.
//! - A checkpoint is named only after it is durable, and always before a file it made unnecessary is touched.
//!
//! It is written and synced by the file thread, never on the way of a commit.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::super::codec::{Input, size};
use super::super::seams::{Folder, Position};
use super::header::{Identity, PAGE, identity, is_known, padded};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Result};

pub(crate) const NAME: &str = "journal.mark";
const NEW_NAME: &str = "journal.mark.new";
const MAGIC: u32 = u32::from_le_bytes(*b"FBJM");
const FORMAT_VERSION: u16 = 4;
const HEADER_BYTES: usize = 56;
const LISTED_BYTES: usize = 16 + Identity::BYTES;
const SLOTS: u64 = 2;
const SLOT_BYTES: u64 = 8 * PAGE;
/// Files that fit into a slot, more than a thousand. Of more, those with the lowest numbers are left out: recovery
/// then follows them by sequence alone.
#[expect(clippy::cast_possible_truncation, reason = "a slot has 32 KiB")]
const FILES_MAX: usize = (SLOT_BYTES as usize - HEADER_BYTES) / LISTED_BYTES - 1;

/// Tells a mark from any other.
pub(crate) type MarkDigest = [u8; 12];

/// A file that belongs to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) generation: u64,
    pub(crate) bytes: u64,
    pub(crate) identity: Identity,
}

/// What is known to be durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The data folder it belongs to.
    pub(crate) folder: Folder,
    /// Every group before this place was synced.
    pub(crate) position: Position,
    /// Sequence the newest checkpoint replays from; 0 while there is none.
    pub(crate) checkpoint: u64,
    /// By generation.
    pub(crate) files: Vec<Listed>,
}

impl Mark {
    fn encode(&self, serial: u64) -> Vec<u8> {
        let files = &self.files[self.files.len().saturating_sub(FILES_MAX)..];
        let count = files.len() + 1;
        let count = u32::try_from(count).expect("a slot has room for about a thousand");
        let mut out = Vec::with_capacity(size(PAGE));
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        let numbers = [
            serial,
            self.position.sequence,
            self.position.generation,
            self.position.offset,
            self.checkpoint,
        ];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let folder = Listed {
            generation: 0,
            bytes: 0,
            identity: Identity(self.folder),
        };
        for file in std::iter::once(&folder).chain(files) {
            out.extend_from_slice(&file.generation.to_le_bytes());
            out.extend_from_slice(&file.bytes.to_le_bytes());
            out.extend_from_slice(&file.identity.0);
        }
        let crc = checksum(&out);
        out[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        out.resize(size(padded(out.len() as u64)), 0);
        out
    }

    /// The mark and its serial. `None` when the slot holds none; `Err` for a format version that is not known here.
    fn decode(slot: &[u8]) -> std::result::Result<Option<(Self, u64)>, u16> {
        match Self::fields(slot) {
            Some((version, ..)) if version != FORMAT_VERSION && !is_known(version) => Err(version),
            found => Ok(found.map(|(_, mark, serial)| (mark, serial))),
        }
    }

    fn fields(slot: &[u8]) -> Option<(u16, Self, u64)> {
        let mut input = Input(slot);
        if input.u32()? != MAGIC {
            return None;
        }
        let (version, _) = (input.u16()?, input.u16()?);
        let serial = input.u64()?;
        let position = Position {
            sequence: input.u64()?,
            generation: input.u64()?,
            offset: input.u64()?,
        };
        let checkpoint = input.u64()?;
        let count = input.u32()? as usize;
        let crc = input.u32()?;
        let checked = slot.get(..HEADER_BYTES + count.checked_mul(LISTED_BYTES)?)?;
        if checksum(checked) != crc {
            return None;
        }
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            files.push(Listed {
                generation: input.u64()?,
                bytes: input.u64()?,
                identity: identity(&mut input)?,
            });
        }
        let folder = files.extract_if(.., |listed| listed.generation == 0);
        let folder = folder.last().map_or_else(Folder::default, |f| f.identity.0);
        let mark = Self {
            folder,
            position,
            checkpoint,
            files,
        };
        Some((version, mark, serial))
    }
}

/// Of everything but the checksum's own field.
fn checksum(slot: &[u8]) -> u32 {
    let head = crc32c::crc32c(&slot[..HEADER_BYTES - 4]);
    crc32c::crc32c_append(head, &slot[HEADER_BYTES..])
}

/// The mark on disk, and what stands in it.
pub(crate) struct Marker {
    file: Arc<dyn DiskFile>,
    serial: u64,
    mark: Mark,
}

impl Marker {
    /// Makes the mark's file, durably, and an identity for the folder; replaces one that exists.
    pub(crate) fn create(disk: &dyn Disk, mut mark: Mark) -> Result<Self> {
        let mut create = || {
            match disk.remove(NEW_NAME) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            mark.folder = disk.random()?;
            let file = disk.create_filled(NEW_NAME, SLOTS * SLOT_BYTES)?;
            file.write_at(&[IoSlice::new(&mark.encode(0))], 0)?;
            file.sync()?;
            disk.rename(NEW_NAME, NAME)?;
            disk.sync_names("")?;
            Ok(file)
        };
        let file = create().map_err(|error| Error::io(format!("make {NAME}"), error))?;
        Ok(Self {
            file,
            serial: 0,
            mark,
        })
    }

    /// The mark on disk; `None` when there is no such file.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>> {
        let failed = |error| Error::io(format!("read {NAME}"), error);
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let (found, expected) = (file.len().map_err(failed)?, SLOTS * SLOT_BYTES);
        if found != expected {
            let why = format!("it should have {expected} bytes and has {found}");
            return Err(Error::lost(NAME, why));
        }
        let mut newest: Option<(Mark, u64)> = None;
        for slot in 0..SLOTS {
            let mut bytes = vec![0; size(SLOT_BYTES)];
            file.read_at(&mut bytes, slot * SLOT_BYTES)
                .map_err(failed)?;
            let decoded = Mark::decode(&bytes).map_err(|version| Error::format(NAME, version))?;
            let own = decoded.filter(|(_, serial)| serial % SLOTS == slot);
            if let Some((mark, serial)) = own
                && newest.as_ref().is_none_or(|(_, known)| serial > *known)
            {
                newest = Some((mark, serial));
            }
        }
        let (mark, serial) = newest.ok_or_else(|| {
            Error::lost(NAME, "neither of its two slots holds a mark that is whole")
        })?;
        Ok(Some(Self { file, serial, mark }))
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The mark as it is on disk, told from any other.
    pub(crate) fn digest(&self) -> MarkDigest {
        let mut digest = [0; 12];
        digest[..8].copy_from_slice(&self.serial.to_le_bytes());
        let crc = crc32c::crc32c(&self.mark.encode(self.serial));
        digest[8..].copy_from_slice(&crc.to_le_bytes());
        digest
    }

    /// The folder is known by this identity: its mark was made before folders had one.
    pub(crate) fn adopt(&mut self, folder: Folder) {
        self.mark.folder = folder;
    }

    /// Takes a file into the list. Afterwards the journal may write to it.
    pub(super) fn list(&mut self, file: Listed) -> io::Result<()> {
        let mut next = self.mark.clone();
        next.files.push(file);
        next.files.sort_by_key(|file| file.generation);
        self.write(next)
    }

    /// Takes a file from the list, with the checkpoint that made it unnecessary. Afterwards it may be renamed or removed.
    pub(super) fn unlist(&mut self, generation: u64, checkpoint: u64) -> io::Result<()> {
        let mut next = self.mark.clone();
        next.files.retain(|file| file.generation != generation);
        next.checkpoint = checkpoint;
        self.write(next)
    }

    /// Takes note of how far the journal has come; costs nothing when that is known.
    pub(super) fn progressed(&mut self, position: Position, checkpoint: u64) -> io::Result<()> {
        if self.mark.position == position && self.mark.checkpoint == checkpoint {
            return Ok(());
        }
        let next = Mark {
            position,
            checkpoint,
            ..self.mark.clone()
        };
        self.write(next)
    }

    fn write(&mut self, mark: Mark) -> io::Result<()> {
        let serial = self.serial + 1;
        let at = serial % SLOTS * SLOT_BYTES;
        self.file
            .write_at(&[IoSlice::new(&mark.encode(serial))], at)?;
        // A full disk may refuse the write, which changes nothing that counts. A sync that failed, for whatever reason,
        // leaves it open what is on disk, and must not pass for a full disk that is waited for.
        self.file.sync().map_err(io::Error::other)?;
        (self.serial, self.mark) = (serial, mark);
        Ok(())
    }
}
