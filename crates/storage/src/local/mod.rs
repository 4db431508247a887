//! The store on one machine's disk: journal, tail, segments, checkpoint.
//!
//! ```text
//!            append, trim, put_if
//!                    |  intake: one number for each, one lock for a moment
//!        +-----------+-----------+
//!        v                       v
//!   tail (memory)         journal thread -> journal files     durable: acknowledged
//!        |  reads near the end
//!        v
//!   flusher thread -> segments, checkpoint -> journal files are used again
//!        |                  ^
//!        v                  |  merge thread: few packs
//!   cold reads, seeks (blocking pool)
//! ```
//!
//! Threads: `journal` writes and syncs, `journal-files` makes files ahead and keeps the intervals, `flusher`
//! and `merger` work in the background. None of them holds a lock while it touches the disk, except its own.
//!
//! Journal, segments and checkpoint are known to all of this by three narrow traits (`seams`): `journal`, `segment` and
//! `checkpoint` hold the formats and the implementations over files.

mod body;
mod change;
mod checkpoint;
mod codec;
mod documents;
mod flush;
mod flush_signal;
mod intake;
mod journal;
mod lock;
mod merge;
mod merge_signal;
mod open;
mod options;
mod os_disk;
mod page_cache;
mod seams;
mod seek;
mod segment;
mod shared;
mod stats;
mod store;
mod streams;
#[cfg(test)]
mod tests;
mod writer;

pub use open::RecoveryReport;
pub use options::{Options, Stopwatch};
pub use os_disk::OsDisk;
pub use stats::{SYNC_BUCKETS_MICROS, Stats};
pub use store::{LocalStore, Pressure};
