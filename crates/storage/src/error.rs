//! What can go wrong below the engine, grouped by what the caller can do about it.

use std::sync::Arc;

/// A failed storage operation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The operating system refused. The store is poisoned when this came from a sync: see [`Error::Poisoned`].
    #[error("{context}: {source}")]
    Io {
        /// What was being done, to which file.
        context: String,
        /// The operating system's error.
        source: Arc<std::io::Error>,
    },
    /// Bytes on disk are not what was written; nothing was cut or skipped.
    #[error("corrupt {place}: {why}")]
    Corrupt {
        /// File and position.
        place: String,
        /// What does not add up.
        why: String,
    },
    /// A write or sync failed earlier: nothing is acknowledged any more, the process must restart.
    #[error("the log stopped after a failed write: {0}")]
    Poisoned(String),
    /// Free space is below the watermark; appends that grow the log are refused.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The stream does not exist (never written, or removed).
    #[error("no such stream")]
    Missing,
    /// The offset lies outside the stream's bounds.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// The offset asked for.
        offset: u64,
        /// First readable offset.
        start: u64,
        /// One past the last readable offset.
        end: u64,
    },
    /// A compare-and-swap found another version than the expected one.
    #[error("version conflict on {0}")]
    Conflict(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Wraps an operating system error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            context: context.into(),
            source: Arc::new(source),
        }
    }

    /// A checksum, length or order that does not add up at `place`.
    pub fn corrupt(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt {
            place: place.into(),
            why: why.into(),
        }
    }
}
