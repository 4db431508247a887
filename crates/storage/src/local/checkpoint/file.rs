//! The checkpoint as a file.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::super::codec::size;
use super::super::seams::Documents;
use super::format::NAME;
use crate::disk::{Disk, DiskFile};

const NEW_NAME: &str = "checkpoint.new";

/// One file, replaced by renaming another one over it; changes are added at its end.
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    /// The one that was put there last.
    file: Option<Arc<dyn DiskFile>>,
}

impl CheckpointFile {
    /// The checkpoint of a disk.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, file: None }
    }

    fn remove_new(&self) -> io::Result<()> {
        match self.disk.remove(NEW_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write_new(&self, whole: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(NEW_NAME)?;
        file.write_at(&[IoSlice::new(whole)], 0)?;
        file.sync()?;
        Ok(file)
    }
}

impl Documents for CheckpointFile {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        let file = match self.disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.read(size(file.len()?), 0).map(Some)
    }

    fn replace(&mut self, whole: &[u8]) -> io::Result<()> {
        self.remove_new()?;
        let file = self.write_new(whole).inspect_err(|_| {
            // On a full disk its space is needed. What cannot be removed is the next time.
            let _ = self.remove_new();
        })?;
        self.disk.rename(NEW_NAME, NAME)?;
        // If this fails, it is open which of the two there is: not what a full disk may come to.
        self.disk.sync_names("").map_err(io::Error::other)?;
        self.file = Some(file);
        Ok(())
    }

    fn add(&mut self, position: u64, changes: &[u8]) -> io::Result<()> {
        let file = self.file.as_ref().expect("this run has written a whole");
        file.write_at(&[IoSlice::new(changes)], position)?;
        // A full disk may refuse the write, which changes nothing that counts. A sync that failed, for whatever reason,
        // leaves it open what is on disk, and must not pass for a full disk that is waited for.
        file.sync().map_err(io::Error::other)
    }

    fn identity(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }
}
