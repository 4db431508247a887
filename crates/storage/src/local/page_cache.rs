//! The newest segments, which the system may keep in its memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::lock::lock;
use crate::disk::DiskFile;

/// Readers a little behind find the newest segments in the system's memory. Older ones make room for them: pages that are
/// used again cost less than fresh ones, and a broker should not fill the machine.
pub(super) struct PageCache {
    bytes_max: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Identity, file and length of segments, oldest first.
    files: VecDeque<(u64, Arc<dyn DiskFile>, u64)>,
    bytes: u64,
}

impl PageCache {
    /// Nothing yet; so many bytes are kept at most.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// Keeps a segment that was just written.
    pub(super) fn keep(&self, id: u64, file: Arc<dyn DiskFile>, bytes: u64) {
        let mut kept = lock(&self.kept);
        kept.files.push_back((id, file, bytes));
        kept.bytes += bytes;
        while kept.bytes > self.bytes_max
            && let Some((_, oldest, bytes)) = kept.files.pop_front()
        {
            oldest.uncache();
            kept.bytes -= bytes;
        }
    }

    /// Lets go of a segment that is removed. The file system has its space back only when nobody holds the file open.
    pub(super) fn forget(&self, id: u64) {
        let mut kept = lock(&self.kept);
        let gone = kept.files.iter().position(|(other, ..)| *other == id);
        if let Some((_, _, bytes)) = gone.and_then(|place| kept.files.remove(place)) {
            kept.bytes -= bytes;
        }
    }
}
