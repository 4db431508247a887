//! Reading the journal back at start.
//!
//! First the files are held against the mark: each one it lists must be there, have its length, and begin with the
//! header page it was given. Then groups are followed by sequence number: the next group stands behind the last one, or
//! behind the header page of another file. Only what carries its file's secret identity is a group at all; whatever else
//! stands in a file, from an earlier use of it or from a peer, is not looked at twice.
//!
//! Where the next number is not found as a valid group the log ends, and the question is why:
//!
//! - **Torn**: the group was on its way to the disk when the power failed. Nobody was told it is durable. It is
//!   cut, together with later groups that were not synced either.
//! - **Lost**: the mark says that the log was durable beyond this place, or another group, found anywhere behind it, was
//!   written when this one was already durable. Acknowledged data is missing or damaged.
//!
//! What is lost, and a file that is not as the mark says, stops the store with an error that names the file, what was
//! expected and what was found. Nothing on disk is changed before all of it has been found in order.
//!
//! # What cannot be told apart
//!
//! Groups that were synced after the mark was written last (at most [`super::super::Options::mark_interval`] before the
//! end of a process that was killed, nothing after a regular end) and that no later group vouches for: if exactly these
//! are damaged, they look like a torn tail and are cut. A mark whose newer slot is damaged looks like one that was torn,
//! and the older slot counts. A data folder that is restored as a whole from an older copy is consistent in itself, and
//! one that is empty is a new one.
//!
//! What is cut cannot come back: its headers are overwritten, writing goes on in a file of a new generation, and
//! every file that is not part of the log gets a new identity before it is used. What was replayed is synced before
//! anything is built on it.

use std::io::IoSlice;
use std::sync::Arc;

use super::super::change::Change;
use super::super::codec::size;
use super::super::seams::{Position, Replayed};
use super::files::{JournalFile, Recovered, name};
use super::format::{GROUP_HEADER_BYTES, GroupHeader, decode_entries};
use super::header::{FOLDER, FileHeader, PAGE, padded};
use super::mark::{self, Listed, Mark};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Result};

/// Bytes read ahead at once.
const WINDOW_BYTES: u64 = 1024 * 1024;

/// What replaying the journal came to.
pub(crate) struct Recovery {
    pub(crate) replayed: Replayed,
    pub(crate) files: Recovered,
    /// What has to be overwritten before the store may go on.
    cuts: Vec<(JournalFile, u64)>,
}

impl Recovery {
    /// Makes the end of the log final: what was given up is overwritten, what was replayed is synced. The first change
    /// recovery makes to the journal.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let zeroes = vec![0; size(PAGE)];
        let has_cuts = !self.cuts.is_empty();
        for (file, at) in self.cuts.drain(..) {
            let failed = |error| Error::io(format!("cut {}", name(file.generation)), error);
            file.file
                .write_at(&[IoSlice::new(&zeroes)], at)
                .map_err(failed)?;
        }
        let live = self.files.live.iter().map(|(file, _)| file);
        let others = self.files.free.iter().filter(|_| has_cuts);
        for file in live.chain(others) {
            let failed = |error| Error::io(format!("sync {}", name(file.generation)), error);
            file.file.sync().map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether there are any journal files.
pub(crate) fn has_files(disk: &dyn Disk) -> Result<bool> {
    Ok(!generations(disk)?.is_empty())
}

/// Applies every change from `from` on, in order; there must be every group before `reach`. Changes nothing on disk.
pub(crate) fn replay(
    disk: &Arc<dyn Disk>,
    from: Position,
    mark: &Mark,
    reach: u64,
    apply: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<Recovery> {
    let (mut files, unfinished) = open_files(disk, mark)?;
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
                Error::lost(
                    name(from.generation),
                    "the checkpoint names this file and it is not there",
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
    check_reach(end, mark, reach)?;
    let mut cuts = Vec::new();
    for file in &mut files {
        let found = file.check_nothing_follows(sequence)?;
        cuts.extend(found.into_iter().map(|at| (file.file.clone(), at)));
    }
    let cut_groups = cuts.len() as u64;
    // The group at the end may be damaged beyond recognition.
    if let Some(index) = replay.current {
        let file = &files[index];
        if file.end + PAGE <= file.file.bytes {
            cuts.push((file.file.clone(), file.end));
        }
    }
    Ok(Recovery {
        replayed: Replayed {
            end,
            groups,
            bytes,
            cut_groups,
        },
        files: sort_out(files, unfinished),
        cuts,
    })
}

/// The log must come at least as far as the mark and the checkpoint say.
fn check_reach(end: Position, mark: &Mark, reach: u64) -> Result<()> {
    let marked = mark.position;
    if end.sequence >= marked.sequence.max(reach) {
        return Ok(());
    }
    let place = if end.generation == 0 {
        FOLDER.to_owned()
    } else {
        format!("{} at {}", name(end.generation), end.offset)
    };
    let says = if marked.sequence >= reach {
        format!(
            "{} says that all groups before {} were durable, up to {} at {}",
            mark::NAME,
            marked.sequence,
            name(marked.generation),
            marked.offset,
        )
    } else {
        format!("the checkpoint says that all groups before {reach} were durable")
    };
    let why = format!("group {} is missing or damaged, but {says}", end.sequence);
    Err(Error::lost(place, why))
}

fn generations(disk: &dyn Disk) -> Result<Vec<u64>> {
    let failed = |error| Error::io("list the journal", error);
    let found = disk.list(FOLDER).map_err(failed)?;
    let mut generations: Vec<u64> = found
        .iter()
        .filter_map(|name| u64::from_str_radix(name, 16).ok())
        .collect();
    generations.sort_unstable();
    Ok(generations)
}

/// The files that were ready for use, by generation, and the generations of those that were not.
fn open_files(disk: &Arc<dyn Disk>, mark: &Mark) -> Result<(Vec<Scanned>, Vec<u64>)> {
    let found = generations(&**disk)?;
    let is_found = |file: &&Listed| found.binary_search(&file.generation).is_ok();
    if let Some(missing) = mark.files.iter().find(|file| !is_found(file)) {
        let why = format!("a file of {} bytes is missing", missing.bytes);
        return Err(Error::lost(name(missing.generation), why));
    }
    let mut files = Vec::new();
    let mut unfinished = Vec::new();
    for generation in found {
        let listed = mark.files.iter().find(|file| file.generation == generation);
        match open_file(disk, generation, listed)? {
            Some(file) => files.push(Scanned::new(file)),
            None => unfinished.push(generation),
        }
    }
    Ok((files, unfinished))
}

/// `None` when the file was never finished. One that is listed was.
fn open_file(
    disk: &Arc<dyn Disk>,
    generation: u64,
    listed: Option<&Listed>,
) -> Result<Option<JournalFile>> {
    let path = name(generation);
    let failed = |error| Error::io(format!("open {path}"), error);
    let file = disk.open(&path).map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    if let Some(listed) = listed
        && listed.bytes != bytes
    {
        let why = format!("it should have {} bytes and has {bytes}", listed.bytes);
        return Err(Error::lost(path, why));
    }
    let mut page = vec![0; size(PAGE.min(bytes))];
    read(&*file, &mut page, 0).map_err(failed)?;
    let header =
        FileHeader::decode(&page).map_err(|version| Error::format(path.as_str(), version))?;
    let own = header.filter(|own| own.generation == generation && own.length == bytes);
    let is_as_listed = match (listed, own) {
        (Some(listed), Some(own)) => listed.identity == own.identity,
        (Some(_), None) => false,
        (None, _) => true,
    };
    if !is_as_listed {
        let why = "its first page is not the one that was written when it was taken into use";
        return Err(Error::lost(path, why));
    }
    Ok(own.map(|own| JournalFile {
        generation,
        bytes,
        identity: own.identity,
        file,
    }))
}

fn sort_out(files: Vec<Scanned>, unfinished: Vec<u64>) -> Recovered {
    let last = unfinished.iter().max().copied().unwrap_or(0);
    let mut recovered = Recovered {
        generation_max: last,
        unfinished,
        ..Recovered::default()
    };
    for scanned in files {
        let file = scanned.file;
        recovered.generation_max = recovered.generation_max.max(file.generation);
        if scanned.visited {
            recovered.live.push((file, scanned.last_sequence));
        } else {
            recovered.free.push(file);
        }
    }
    recovered
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
            if let Some(group) = file.group(file.end, self.sequence)? {
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
    fn new(file: JournalFile) -> Self {
        Self {
            file,
            visited: false,
            // Behind the header page.
            end: PAGE,
            last_sequence: 0,
            window: Window::default(),
        }
    }

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

    /// The group header at this place, if one was written there during the file's present use.
    fn header(&mut self, at: u64) -> Result<Option<GroupHeader>> {
        if at + PAGE > self.file.bytes {
            return Ok(None);
        }
        let bytes = self.window.get(&self.file, at, GROUP_HEADER_BYTES as u64)?;
        let (generation, identity) = (self.file.generation, self.file.identity);
        Ok(GroupHeader::decode(bytes, generation, identity))
    }

    fn place(&self, at: u64) -> String {
        format!("{} at {at}", name(self.file.generation))
    }

    /// Looks at every page behind the end for a group that proves the end to be no end. Returns where groups of
    /// the present use are given up.
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
                return Err(Error::lost(self.place(at), why));
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

/// The files after a clean end, where the checkpoint covers everything: none of them has to be read further than its
/// header page.
pub(crate) fn closed(disk: &Arc<dyn Disk>, at: Position, mark: &Mark) -> Result<Recovery> {
    let (mut files, unfinished) = open_files(disk, mark)?;
    for file in &mut files {
        file.visited = file.file.generation == at.generation;
    }
    Ok(Recovery {
        replayed: Replayed {
            end: at,
            ..Replayed::default()
        },
        files: sort_out(files, unfinished),
        cuts: Vec::new(),
    })
}
