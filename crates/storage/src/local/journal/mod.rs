//! The journal: every change of every stream and document, in one order, on disk before it is acknowledged.
//!
//! One thread writes it, one group at a time: whatever was handed over while the previous group was on its way
//! to the disk becomes the next group. Nothing is read from it except at start. Its files are made and filled
//! with zeroes ahead of time, because overwriting is much cheaper to sync than growing, and are used again once
//! segments and a checkpoint have made them unnecessary.

mod append;
mod clean;
mod files;
mod format;
mod found;
mod header;
mod local;
mod mark;
mod recovery;

pub(super) use found::FoundJournal;
