//! Writing groups to journal files, one behind the other.

use std::sync::Arc;

use super::super::change::Entry;
use super::super::seams::{JournalWriter, Position, Written};
use super::files::{self, FilePool, JournalFile};
use super::format::{Encoder, GroupHeader, framed, group_bytes};
use super::header::PAGE;
use crate::{Error, Result};

/// A group is closed at this size; only a single larger append makes a larger group.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Owns the file in use and where it goes on.
pub(super) struct FileWriter {
    pool: Arc<FilePool>,
    active: Option<JournalFile>,
    offset: u64,
    /// Sequence of the next group.
    sequence: u64,
    /// Last synced sequence. Groups say it, so that recovery knows for which of those before them it must answer.
    durable: u64,
    encoder: Encoder,
}

impl FileWriter {
    /// Continues a log whose first free sequence is given; everything before is synced.
    pub(super) fn new(pool: Arc<FilePool>, sequence: u64) -> Self {
        Self {
            pool,
            active: None,
            offset: 0,
            sequence,
            durable: sequence - 1,
            encoder: Encoder::default(),
        }
    }

    fn is_synced(&self) -> bool {
        self.durable + 1 == self.sequence
    }

    /// Makes sure that `bytes` fit into the file in use, by going on to the next one where they do not; what keeps it from
    /// that. Before that everything is synced: no file is left behind half on disk.
    fn make_room(&mut self, bytes: u64, can_split: bool) -> Result<Option<Written>> {
        let is_enough = |file: &JournalFile| self.offset + bytes <= file.bytes;
        if self.active.as_ref().is_some_and(is_enough) {
            return Ok(None);
        }
        if !self.is_synced() {
            return Ok(Some(Written::SyncFirst));
        }
        let Some(next) = self.pool.take(bytes, can_split)? else {
            return Ok(Some(Written::NoRoom));
        };
        if let Some(full) = self.active.replace(next) {
            self.pool.filled(full, self.sequence - 1);
        }
        // Behind the header page.
        self.offset = PAGE;
        Ok(None)
    }

    fn active(&self) -> &JournalFile {
        self.active.as_ref().expect("there is one after a group")
    }
}

impl JournalWriter for FileWriter {
    /// On a full disk those that the files there are have room for.
    fn next_group(&self, entries: &[Entry]) -> usize {
        let pool = &self.pool;
        let bytes_max = if pool.fill.is_starved() {
            let active = self.active.as_ref();
            let left = active.map_or(0, |file| file.bytes - self.offset);
            let is_exhausted = group_bytes(&entries[..1]) > left;
            GROUP_BYTES_MAX.min(if is_exhausted { pool.room() } else { left })
        } else {
            GROUP_BYTES_MAX
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.bytes;
            framed(bytes) <= bytes_max
        };
        entries.iter().take_while(fits).count().max(1)
    }

    fn write(&mut self, group: &[Entry]) -> Result<Written> {
        let bytes = group_bytes(group);
        if let Some(hindrance) = self.make_room(bytes, group.len() > 1)? {
            return Ok(hindrance);
        }
        let file = self.active();
        let header = GroupHeader {
            generation: file.generation,
            identity: file.identity,
            sequence: self.sequence,
            durable: self.durable,
            length: 0,
            entries: 0,
        };
        self.encoder.encode(header, group);
        let file = self.active();
        let slices = self.encoder.slices();
        debug_assert_eq!(
            slices.iter().map(|slice| slice.len() as u64).sum::<u64>(),
            bytes,
            "the group takes what was foreseen"
        );
        debug_assert_eq!(self.offset % PAGE, 0, "groups start at pages");
        let failed = |error| Error::io(format!("write {}", files::name(file.generation)), error);
        file.file.write_at(&slices, self.offset).map_err(failed)?;
        drop(slices);
        self.encoder.clear();
        self.offset += bytes;
        self.sequence += 1;
        Ok(Written::Bytes(bytes))
    }

    fn sync(&mut self) -> Result<Position> {
        let file = self.active();
        let generation = file.generation;
        let failed = |error| Error::io(format!("sync {}", files::name(generation)), error);
        file.file.sync().map_err(failed)?;
        self.durable = self.sequence - 1;
        Ok(Position {
            sequence: self.sequence,
            generation,
            offset: self.offset,
        })
    }
}
