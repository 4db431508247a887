//! The journal in files, as a start finds it: held against the checkpoint, replayed, and only then changed.
//!
//! The clean mark, the checkpoint and the journal's mark say of each other how far they must have come, so that none of
//! them can go missing, or be replaced by an older one, in silence.

use std::sync::Arc;

use super::super::change::Change;
use super::super::checkpoint;
use super::super::options::Options;
use super::super::seams::{
    BEGINNING, Begun, Folder, JournalReader, Position, Replayed, Seen, Start,
};
use super::append::FileWriter;
use super::clean;
use super::files::FilePool;
use super::local::FileJournal;
use super::mark::{self, Mark, Marker};
use super::recovery::{self, Recovery};
use crate::disk::Disk;
use crate::{Error, Result};

const NO_FOLDER: Folder = [0; 16];

/// A journal that is not in use yet.
pub(crate) struct FoundJournal {
    disk: Arc<dyn Disk>,
    /// Sizes between which files are made ahead.
    bytes_first: u64,
    bytes_max: u64,
    /// `None` in a new store.
    marker: Option<Marker>,
    clean: bool,
    /// Where it is replayed from.
    from: Position,
    /// Sequence it must at least come to.
    reach: u64,
    recovery: Option<Recovery>,
}

impl FoundJournal {
    /// The journal of a disk, of which there may be none.
    pub(crate) fn load(disk: Arc<dyn Disk>, options: &Options) -> Result<Self> {
        let bytes_max = options.journal_file_bytes;
        Ok(Self {
            marker: Marker::load(&*disk)?,
            disk,
            bytes_first: options.journal_file_bytes_first.min(bytes_max),
            bytes_max,
            clean: false,
            from: BEGINNING,
            reach: 0,
            recovery: None,
        })
    }

    /// Brings a journal up to date that has no identities. Its files are of no use and are made anew. Can be cut short
    /// anywhere and begins again then, until the checkpoint is written again: with that it is done.
    fn update(&mut self, checkpoint: &Seen) -> Result<Start> {
        if !self.clean {
            return Err(Error::Format {
                place: checkpoint::NAME.to_owned(),
                why: "an earlier version wrote this data folder and did not stop in order, so that its journal has to be \
                      read, which only that version can: start it once more, stop it in order, then start this one"
                    .to_owned(),
            });
        }
        self.from = Position {
            sequence: checkpoint.position.sequence,
            ..BEGINNING
        };
        let mark = Mark {
            position: self.from,
            checkpoint: self.from.sequence,
            ..Mark::default()
        };
        let marker = Marker::create(&*self.disk, mark)?;
        let folder = marker.mark().folder;
        self.marker = Some(marker);
        Ok(Start {
            clean: true,
            moved: Some((folder, self.from)),
        })
    }
}

impl JournalReader for FoundJournal {
    fn check(&mut self, checkpoint: Option<&Seen>) -> Result<Start> {
        self.clean = clean::is_there(&*self.disk, checkpoint, self.marker.as_ref())?;
        if let Some(seen) = checkpoint {
            (self.from, self.reach) = (seen.position, seen.reach);
        }
        if let Some(old) = checkpoint.filter(|seen| seen.is_old) {
            return self.update(old);
        }
        if let Some(marker) = &mut self.marker {
            check_checkpoint(checkpoint, marker.mark(), self.clean)?;
            check_folder(checkpoint, marker, &*self.disk)?;
        } else if checkpoint.is_some() || recovery::has_files(&*self.disk)? {
            return Err(without_mark());
        }
        Ok(Start {
            clean: self.clean,
            moved: None,
        })
    }

    fn replay(&mut self, apply: &mut dyn FnMut(Change) -> Result<()>) -> Result<Replayed> {
        let new = new_mark();
        let mark = self.marker.as_ref().map_or(&new, Marker::mark);
        let recovery = if self.clean {
            recovery::closed(&self.disk, self.from, mark)?
        } else {
            recovery::replay(&self.disk, self.from, mark, self.reach, apply)?
        };
        let replayed = recovery.replayed;
        self.recovery = Some(recovery);
        Ok(replayed)
    }

    fn begin(self: Box<Self>) -> Result<Begun> {
        clean::remove(&*self.disk)?;
        let marker = match self.marker {
            None => Marker::create(&*self.disk, new_mark())?,
            Some(marker) => marker,
        };
        let mut recovery = self.recovery.expect("it was replayed");
        recovery.settle()?;
        let (folder, marked) = (marker.mark().folder, marker.mark().position.sequence);
        let pool = Arc::new(FilePool::new(
            Arc::clone(&self.disk),
            self.bytes_first,
            self.bytes_max,
            recovery.files,
            marker.mark().checkpoint,
        ));
        let journal = Arc::new(FileJournal::new(self.disk, Arc::clone(&pool), marker));
        let sequence = recovery.replayed.end.sequence;
        let writer = Box::new(FileWriter::new(pool, sequence));
        Ok(Begun {
            journal,
            writer,
            folder,
            marked,
        })
    }
}

/// The mark of a new store.
fn new_mark() -> Mark {
    Mark {
        position: BEGINNING,
        ..Mark::default()
    }
}

/// The checkpoint must be at least as new as the mark says: what an older one needs is no longer in the journal.
fn check_checkpoint(checkpoint: Option<&Seen>, mark: &Mark, clean: bool) -> Result<()> {
    let found = checkpoint.map_or(0, |seen| seen.position.sequence);
    let expected = if clean {
        // Of a store closed in good order the checkpoint covers everything.
        mark.checkpoint.max(mark.position.sequence)
    } else {
        mark.checkpoint
    };
    if found >= expected {
        return Ok(());
    }
    let what = if found == 0 {
        "it is missing".to_owned()
    } else {
        format!("it is an old one that replays from group {found}")
    };
    let why = format!(
        "{what}, but {} says that there is one that replays from group {expected}",
        mark::NAME
    );
    Err(Error::lost(checkpoint::NAME, why))
}

/// Checkpoint and mark must be of one data folder. One that was made before folders had identities gets that of the other.
fn check_folder(checkpoint: Option<&Seen>, marker: &mut Marker, disk: &dyn Disk) -> Result<()> {
    let of_checkpoint = checkpoint.map_or(NO_FOLDER, |seen| seen.folder);
    let of_mark = marker.mark().folder;
    if of_mark == NO_FOLDER {
        let failed = |error| Error::io("make an identity for the data folder", error);
        marker.adopt(match of_checkpoint {
            NO_FOLDER => disk.random().map_err(failed)?,
            folder => folder,
        });
        return Ok(());
    }
    if of_checkpoint == NO_FOLDER || of_checkpoint == of_mark {
        return Ok(());
    }
    Err(Error::lost(
        mark::NAME,
        "it and the journal are of another data folder than the checkpoint",
    ))
}

/// A store without a mark is a new one: it has nothing else either.
fn without_mark() -> Error {
    Error::lost(
        mark::NAME,
        "it is missing although there is a checkpoint or a journal (if an earlier version wrote this folder, which \
         knows no such file: start that version once more, stop it in order, then start this one)",
    )
}
