//! What a store is made of, as its threads know it: narrow traits between the part that decides and the part that keeps
//! bytes. On one machine they are files ([`super::journal::FoundJournal`], [`super::segment::SegmentFiles`],
//! [`super::checkpoint::CheckpointFile`]).
//!
//! Nobody above these traits knows a file, and nothing below them knows a stream.

mod documents;
mod fill;
mod journal;
mod place;
mod segments;
mod start;

pub(super) use documents::Documents;
pub(super) use fill::Fill;
pub(super) use journal::{Begun, End, Journal, JournalReader, JournalWriter, Written};
pub(super) use place::{BEGINNING, Cut, Digest, Folder, Position};
pub(super) use segments::{Readers, SegmentSink, Segments};
pub(super) use start::{Replayed, Seen, Start};
