//! The catalog seam: small versioned documents with compare-and-swap.
//!
//! Holds what every node must agree on (topics, configurations, later users and policies), not what changes
//! with every message.

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::{BoxFuture, Result};

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Grows with every change of this key, also over a delete and a new put. Never 0.
    pub version: u64,
    /// The content, at most 1 MiB.
    pub value: Bytes,
}

/// What must be true for a put to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key exists with exactly this version.
    Version(u64),
    /// Anything.
    Any,
}

/// One durable change, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The new document; `None` after a delete.
    pub document: Option<Document>,
}

/// The right to act under a name; a later holder of the same name has a greater epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Fencing number.
    pub epoch: u64,
}

/// Small versioned documents with compare-and-swap. Keys are paths such as `topics/orders`; a NUL character
/// does not occur in them.
pub trait Catalog: Send + Sync + 'static {
    /// Reads one document; only durable ones are seen.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// Writes (`Some`) or deletes (`None`) one document if `expected` holds, and returns its new version once
    /// the change is durable. Deleting what does not exist (with `Absent` or `Any`) changes nothing and succeeds.
    /// Deletes are allowed when the disk is full. A key has at most 8 KiB and no NUL character, a value at most 1 MiB.
    ///
    /// Errors: `InvalidKey`, `DocumentTooLarge`, `Conflict`, `DiskFull`, `Poisoned`, `Closed`.
    fn put_if<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> BoxFuture<'a, Result<u64>>;

    /// Writes a small document without which nobody could free space: also below the watermark, out of a part of what is
    /// kept free that is reserved for such documents and is small. Otherwise as [`Catalog::put_if`].
    fn put_vital<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Bytes,
    ) -> BoxFuture<'a, Result<u64>>;

    /// All documents whose key starts with `prefix`, in key order.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Document)>>>;

    /// Every durable change from now on, in order. A watcher that falls behind sees `Lagged` and lists again.
    fn watch(&self) -> broadcast::Receiver<Change>;

    /// Takes the right to act under `name`, fencing earlier holders.
    fn lease<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease>>;
}
