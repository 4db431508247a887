//! Segments as files of one folder.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use super::super::lock::lock;
use super::super::page_cache::PageCache;
use super::super::seams::{Readers, SegmentSink, Segments};
use super::layout::{FOLDER, name};
use crate::disk::{Disk, DiskFile};

/// Segment files kept open for readers.
const OPEN_FILES_MAX: usize = 128;

/// A folder with a file for each segment.
pub(crate) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    /// Open files, the one that was used last at the end.
    open: Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>,
    page_cache: Arc<PageCache>,
}

impl SegmentFiles {
    /// The segments of a disk; so many bytes of the newest ones may stay in the system's memory.
    pub(crate) fn new(disk: Arc<dyn Disk>, page_cache_bytes: u64) -> Self {
        Self {
            disk,
            open: Mutex::default(),
            page_cache: Arc::new(PageCache::new(page_cache_bytes)),
        }
    }

    fn file(&self, id: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = lock(&self.open);
        if let Some(found) = open.iter().position(|(known, _)| *known == id) {
            let entry = open.remove(found).expect("the position was just found");
            let file = Arc::clone(&entry.1);
            open.push_back(entry);
            return Ok(file);
        }
        drop(open);
        let file = self.disk.open(&name(id))?;
        let mut open = lock(&self.open);
        open.push_back((id, Arc::clone(&file)));
        if open.len() > OPEN_FILES_MAX {
            open.pop_front();
        }
        Ok(file)
    }
}

impl Segments for SegmentFiles {
    fn put(&self, id: u64, readers: Readers) -> io::Result<Box<dyn SegmentSink>> {
        Ok(Box::new(FileSink {
            id,
            file: self.disk.create(&name(id))?,
            position: 0,
            readers,
            page_cache: Arc::clone(&self.page_cache),
        }))
    }

    fn read(&self, id: u64, length: usize, position: u64) -> io::Result<Vec<u8>> {
        self.file(id)?.read(length, position)
    }

    fn delete(&self, id: u64) -> io::Result<()> {
        let removed = self.disk.remove(&name(id));
        // Nobody holds the file open any more: only then is its space free.
        lock(&self.open).retain(|(known, _)| *known != id);
        self.page_cache.forget(id);
        removed
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let names = self.disk.list(FOLDER)?;
        let ids = names
            .iter()
            .filter_map(|name| u64::from_str_radix(name, 16).ok());
        ids.map(|id| Ok((id, self.disk.open(&name(id))?.len()?)))
            .collect()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync_names(FOLDER)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

/// A file that is being written.
struct FileSink {
    id: u64,
    file: Arc<dyn DiskFile>,
    position: u64,
    readers: Readers,
    page_cache: Arc<PageCache>,
}

impl SegmentSink for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(&[IoSlice::new(bytes)], self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.sync()?;
        match self.readers {
            Readers::Expected => self.page_cache.keep(self.id, self.file, self.position),
            Readers::Unlikely => self.file.uncache(),
        }
        Ok(())
    }
}
