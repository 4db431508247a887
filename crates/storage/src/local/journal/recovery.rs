//! Reading the journal back at start.
//!
//! Groups are followed by sequence number: the next group stands behind the last one, or at the start of
//! another file. Where the next number is not found as a valid group the log ends, and the question is why:
//!
//! - **Torn**: the group was on its way to the disk when the power failed. Nobody was told it is durable. It is
//!   cut, together with later groups that were not synced either.
//! - **Corrupt**: some other group, found anywhere behind it, claims that it was already durable when that group was
//!   written. Acknowledged data was damaged. Nothing is cut; the store refuses to open.
//!
//! A damaged *last* group cannot be told from a torn one, because nothing behind it vouches for it.
//!
//! What is cut cannot come back: its headers are overwritten, writing goes on in a file of a new generation, and
//! every file that is not part of the log is renamed to a new generation before it is used. What was replayed is synced before anything is built on it.

use std::io::IoSlice;
use std::sync::Arc;

use super::super::codec::size;
use super::super::intake::Change;
use super::files::{JournalFile, Recovered, name};
use super::format::{GROUP_HEADER_BYTES, GroupHeader, PAGE, decode_entries, padded};
use super::{FOLDER, Position};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Result};

/// Bytes read ahead at once.
const WINDOW_BYTES: u64 = 1024 * 1024;

/// What replaying the journal came to.
pub(crate) struct Replayed {
    pub(crate) files: Recovered,
    /// Where the log ends.
    pub(crate) end: Position,
    pub(crate) groups: u64,
    pub(crate) bytes: u64,
    /// Groups found behind the end and given up because they were never durable.
    pub(crate) cut_groups: u64,
}

/// Applies every change from `from` on, in order.
pub(crate) fn replay(
    disk: &Arc<dyn Disk>,
    from: Position,
    apply: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<Replayed> {
    let mut files = open_files(disk)?;
    let mut replay = Replay {
        sequence: from.sequence,
        current: None,
        groups: 0,
        bytes: 0,
        apply,
    };
    if from.generation != 0 {
        let index = files
            .iter()
            .position(|file| file.file.generation == from.generation)
            .ok_or_else(|| {
                Error::corrupt(
                    name(from.generation),
                    "the checkpoint names this file and it does not exist",
                )
            })?;
        files[index].visited = true;
        files[index].end = from.offset;
        replay.current = Some(index);
    }
    replay.run(&mut files)?;
    let (sequence, groups, bytes) = (replay.sequence, replay.groups, replay.bytes);
    let end = replay
        .current
        .map_or_else(Position::default, |index| Position {
            sequence,
            generation: files[index].file.generation,
            offset: files[index].end,
        });
    let end = Position { sequence, ..end };
    let mut cut = Vec::new();
    for (index, file) in files.iter_mut().enumerate() {
        let found = file.check_nothing_follows(sequence)?;
        cut.extend(found.into_iter().map(|at| (index, at)));
    }
    let cut_groups = cut.len() as u64;
    // The group at the end may be damaged beyond recognition.
    cut.extend(replay.current.map(|index| (index, files[index].end)));
    for (index, at) in cut {
        files[index].wipe(at)?;
    }
    Ok(Replayed {
        files: sort_out(files)?,
        end,
        groups,
        bytes,
        cut_groups,
    })
}

fn open_files(disk: &Arc<dyn Disk>) -> Result<Vec<Scanned>> {
    let failed = |error| Error::io("list the journal", error);
    let mut files = Vec::new();
    for found in disk.list(FOLDER).map_err(failed)? {
        let Ok(generation) = u64::from_str_radix(&found, 16) else {
            continue;
        };
        let path = name(generation);
        let failed = |error| Error::io(format!("open {path}"), error);
        let file = disk.open(&path).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        files.push(Scanned {
            file: JournalFile {
                generation,
                bytes,
                file,
            },
            visited: false,
            end: 0,
            last_sequence: 0,
            window: Window::default(),
        });
    }
    files.sort_by_key(|file| file.file.generation);
    Ok(files)
}

fn sort_out(files: Vec<Scanned>) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    for scanned in files {
        let file = scanned.file;
        recovered.generation_max = recovered.generation_max.max(file.generation);
        if scanned.visited {
            let failed = |error| Error::io(format!("sync {}", name(file.generation)), error);
            file.file.sync().map_err(failed)?;
            recovered.live.push((file, scanned.last_sequence));
        } else {
            recovered.free.push(file);
        }
    }
    Ok(recovered)
}

struct Replay<'a> {
    sequence: u64,
    current: Option<usize>,
    groups: u64,
    bytes: u64,
    apply: &'a mut dyn FnMut(Change) -> Result<()>,
}

impl Replay<'_> {
    fn run(&mut self, files: &mut [Scanned]) -> Result<()> {
        loop {
            if let Some(index) = self.current {
                let file = &mut files[index];
                while let Some(group) = file.group(file.end, self.sequence)? {
                    self.accept(file, group)?;
                }
            }
            let Some(next) = self.start_elsewhere(files)? else {
                return Ok(());
            };
            self.current = Some(next);
        }
    }

    fn start_elsewhere(&mut self, files: &mut [Scanned]) -> Result<Option<usize>> {
        for (index, file) in files.iter_mut().enumerate() {
            if file.visited {
                continue;
            }
            if let Some(group) = file.group(0, self.sequence)? {
                file.visited = true;
                self.accept(file, group)?;
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn accept(&mut self, file: &mut Scanned, group: Group) -> Result<()> {
        file.end += group.padded_bytes;
        file.last_sequence = self.sequence;
        self.sequence += 1;
        self.groups += 1;
        self.bytes += group.padded_bytes;
        group.changes.into_iter().try_for_each(&mut *self.apply)
    }
}

struct Group {
    changes: Vec<Change>,
    padded_bytes: u64,
}

/// One file during recovery.
struct Scanned {
    file: JournalFile,
    /// Part of the log.
    visited: bool,
    /// Where the next group would start.
    end: u64,
    last_sequence: u64,
    window: Window,
}

impl Scanned {
    /// The whole and valid group with this sequence at this place, if there is one.
    fn group(&mut self, at: u64, sequence: u64) -> Result<Option<Group>> {
        let Some(header) = self.header(at)?.filter(|h| h.sequence == sequence) else {
            return Ok(None);
        };
        if header.length > self.file.bytes - at {
            return Ok(None);
        }
        let bytes = self.window.get(&self.file, at, header.length)?;
        Ok(decode_entries(&header, bytes).map(|changes| Group {
            changes,
            padded_bytes: padded(header.length),
        }))
    }

    /// The group header at this place, if one was written there during the file's present life.
    fn header(&mut self, at: u64) -> Result<Option<GroupHeader>> {
        if at + PAGE > self.file.bytes {
            return Ok(None);
        }
        let bytes = self.window.get(&self.file, at, GROUP_HEADER_BYTES as u64)?;
        let header = GroupHeader::decode(bytes).map_err(|version| {
            let why = format!("format version {version} is not known here");
            Error::corrupt(self.place(at), why)
        })?;
        Ok(header.filter(|header| header.generation == self.file.generation))
    }

    fn place(&self, at: u64) -> String {
        format!("{} at {at}", name(self.file.generation))
    }

    /// Overwrites the header of a group that was given up, should its bytes ever read as valid after all.
    fn wipe(&mut self, at: u64) -> Result<()> {
        if !self.visited || at + PAGE > self.file.bytes {
            return Ok(());
        }
        let failed = |error| Error::io(format!("cut {}", name(self.file.generation)), error);
        let zeroes = vec![0; size(PAGE)];
        self.file
            .file
            .write_at(&[IoSlice::new(&zeroes)], at)
            .map_err(failed)
    }

    /// Looks at every page behind the end for a group that proves the end to be no end. Returns where groups of
    /// the present life are given up.
    fn check_nothing_follows(&mut self, sequence: u64) -> Result<Vec<u64>> {
        let mut cut = Vec::new();
        let mut at = self.end;
        while at < self.file.bytes {
            let Some(header) = self.header(at)?.filter(|h| h.sequence >= sequence) else {
                at += PAGE;
                continue;
            };
            if header.durable >= sequence {
                let why = format!(
                    "group {sequence} is missing or damaged, but group {} at this place says it was durable",
                    header.sequence
                );
                return Err(Error::corrupt(self.place(at), why));
            }
            cut.push(at);
            at = at.saturating_add(padded(header.length));
        }
        Ok(cut)
    }
}

/// Reads a file through a buffer.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&mut self, file: &JournalFile, at: u64, count: u64) -> Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at + count > end {
            let wanted = count.max(WINDOW_BYTES).min(file.bytes - at);
            self.start = at;
            self.bytes.resize(size(wanted), 0);
            read(&*file.file, &mut self.bytes, at)
                .map_err(|error| Error::io(format!("read {}", name(file.generation)), error))?;
        }
        let from = size(at - self.start);
        Ok(&self.bytes[from..from + size(count)])
    }
}

fn read(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
    file.read_at(buffer, at)
}

/// The files after a clean end, where the checkpoint covers everything: none of them has to be read.
pub(crate) fn closed(disk: &Arc<dyn Disk>, at: Position) -> Result<Replayed> {
    let mut files = open_files(disk)?;
    for file in &mut files {
        file.visited = file.file.generation == at.generation;
    }
    Ok(Replayed {
        files: sort_out(files)?,
        end: at,
        groups: 0,
        bytes: 0,
        cut_groups: 0,
    })
}
