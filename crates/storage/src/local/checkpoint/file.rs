//! The checkpoint as a file.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::super::codec::size;
use super::super::seams::Documents;
use super::NAME;
use crate::disk::Disk;

const NEW_NAME: &str = "checkpoint.new";

/// One file, replaced by renaming another one over it.
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
}

impl CheckpointFile {
    /// The checkpoint of a disk.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

impl Documents for CheckpointFile {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match self.disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.read(size(file.len()?), 0).map(Some)
    }

    fn replace(&self, whole: &[u8]) -> io::Result<()> {
        match self.disk.remove(NEW_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(NEW_NAME)?;
        file.write_at(&[IoSlice::new(whole)], 0)?;
        file.sync()?;
        self.disk.rename(NEW_NAME, NAME)?;
        self.disk.sync_names("")
    }
}
