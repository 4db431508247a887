//! Segments: immutable files of batches, written by flushes and merges, read by readers behind the tail.
//!
//! ```text
//! blocks    batches verbatim, back to back; a block is a run of whole batches of one stream of about 64 KiB, or a stub
//!             stub: the header of a batch whose records other streams have too, and u64: where in this file they are
//! bodies    the records of such batches, once each, between blocks
//! footer    for every extent (the run of one stream's batches in this file), by stream and offset:
//!             stream          16 + 4 bytes
//!             base offset     u64
//!             end offset      u64
//!             max timestamp   i64
//!             bytes           u64   of its batches
//!             block count     u32
//!             blocks          block count times, the index:
//!               base offset     u64
//!               max timestamp   i64   of this block
//!               position        u64   in this file
//!               length          u32
//!               checksum        u32   CRC-32C of the block
//! trailer    0  magic "FBSG"       u32
//!            4  format version     u32
//!            8  footer position    u64
//!           16  footer length      u64
//!           24  footer checksum    u32
//!           28  checksum           u32   of bytes 0..28
//! ```
//!
//! A file with one extent is a stream's own segment, one with many is a pack. The checkpoint remembers the
//! extents, so that neither start nor reading goes through the footer; it makes the file readable by itself.
//! Indexes are read when needed, so that memory does not grow with what is stored.
//!
//! A stub is told by its length, which is less than its header says. The checksum in that header is the one of the
//! records, wherever they are. Version 1 had no stubs.

mod files;
mod layout;
mod made;
mod read;
mod stub;
mod write;

pub(super) use files::SegmentFiles;
pub(super) use layout::{Block, Extent, name};
pub(super) use made::{MadeSegment, write_failed};
pub(super) use read::{SegmentReader, Want, batch_header};
pub(super) use stub::Stub;
pub(super) use write::{BodyKey, Finished, SegmentWriter};
