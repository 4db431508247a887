//! Append-only logs and compare-and-swap documents, on local disk.
//!
//! Two narrow seams separate this crate from everything above it: [`Log`] (ordered, durable batches) and
//! [`Catalog`] (small versioned documents). [`local::LocalStore`] implements both over one journal, so that
//! one `fdatasync` makes records and documents durable together. Storage never looks inside a record.

pub mod batch;
mod catalog;
pub mod disk;
mod error;
mod future;
mod ids;
pub mod local;
mod log;
pub mod supervisor;

pub use batch::{Batch, BatchHeader};
pub use catalog::{Catalog, Change, Document, Expected, Lease};
pub use error::{Error, Result};
pub use future::BoxFuture;
pub use ids::{Lsn, StreamId};
pub use log::{Append, Bounds, Chunk, Durability, Found, Log, Progress, Read, Seek, Trim};
pub use supervisor::Supervisor;
