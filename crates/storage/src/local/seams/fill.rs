//! How full the journal is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How full the journal is. Read by every append, written by the journal.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    /// Bytes that were written and are still needed.
    pub(crate) live_bytes: AtomicU64,
    /// There was no space for what has to be ready before the next groups can be written.
    pub(crate) starved: AtomicBool,
}

impl Fill {
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }
}
