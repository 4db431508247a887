//! Append-only logs and compare-and-swap documents, on local disk.
//!
//! Two narrow seams separate this crate from everything above it: [`Log`] (ordered, durable batches) and
//! [`Catalog`] (small versioned documents). [`local::LocalStore`] implements both over one journal, so that
//! one `fdatasync` makes records and documents durable together. Storage never looks inside a record.

pub mod batch;
mod catalog;
pub mod disk;
mod error;
pub mod local;
mod log;
pub mod supervisor;

pub use batch::{Batch, BatchHeader};
pub use catalog::{Catalog, Change, Document, Expected, Lease};
pub use error::Error;
pub use log::{
    Append, Bounds, Chunk, Durability, Found, Log, Lsn, Progress, Read, Seek, StreamId, Trim,
};
pub use supervisor::Supervisor;

use std::pin::Pin;

/// A boxed, sendable future: what the object-safe traits of this crate return where they must wait.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;
