//! The journal in files, while it is in use.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::lock::lock;
use super::super::seams::{End, Fill, Journal, Position};
use super::clean;
use super::files::FilePool;
use super::mark::Marker;
use crate::Result;
use crate::disk::Disk;

/// Files, and the mark beside them.
pub(super) struct FileJournal {
    disk: Arc<dyn Disk>,
    pool: Arc<FilePool>,
    /// Of the file thread.
    marker: Mutex<Marker>,
}

impl FileJournal {
    pub(super) fn new(disk: Arc<dyn Disk>, pool: Arc<FilePool>, marker: Marker) -> Self {
        Self {
            disk,
            pool,
            marker: Mutex::new(marker),
        }
    }
}

impl Journal for FileJournal {
    fn fill(&self) -> &Fill {
        &self.pool.fill
    }

    fn files(&self) -> u64 {
        self.pool.files()
    }

    fn retire(&self, before: Position) {
        self.pool.retire(before);
    }

    fn tend(&self, at_most: Duration) -> Result<bool> {
        self.pool.tend(&mut lock(&self.marker), at_most)
    }

    fn note_durable(&self, durable: Position) -> Result<u64> {
        let mut marker = lock(&self.marker);
        self.pool.mark(&mut marker, durable)?;
        Ok(marker.mark().position.sequence)
    }

    fn end(&self, end: End<'_>) -> Result<()> {
        match end {
            End::Closing => self.pool.closing(),
            End::Stopped => self.pool.stop(),
            End::Clean(checkpoint) => clean::put(&*self.disk, checkpoint)?,
        }
        Ok(())
    }
}
