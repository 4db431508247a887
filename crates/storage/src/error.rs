//! What can go wrong below the engine, grouped by what the caller can do about it.

use std::sync::Arc;

/// The result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

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
    /// What is on disk was written in a format that cannot be used; nothing was changed.
    #[error("{place}: {why}")]
    Format {
        /// The file.
        place: String,
        /// Which format, and what to do.
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
    /// A document's key holds what no key may, or is too long.
    #[error("no document can be kept under this name: {0}")]
    InvalidKey(&'static str),
    /// A document is larger than one may be.
    #[error("{bytes} bytes are too many for one document, the limit is {allowed}")]
    DocumentTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        allowed: usize,
    },
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

    /// Something durable is missing or damaged, or was replaced by an older one: says so, and what can be done.
    pub(crate) fn lost(place: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let why = format!(
            "{why}; nothing was changed: put back what is missing, or the whole data folder from a copy"
        );
        Self::corrupt(place, why)
    }

    /// A format version that this build does not know, because a later one wrote it.
    pub(crate) fn format(place: impl Into<String>, version: impl std::fmt::Display) -> Self {
        Self::Format {
            place: place.into(),
            why: format!(
                "format version {version} is not known here: start the version that wrote it"
            ),
        }
    }
}
