//! Writes one segment, front to back.

use std::collections::HashMap;

use super::super::codec::put_stream;
use super::super::seams::SegmentSink;
use super::layout::{Block, Extent, FORMAT_VERSION, MAGIC, STUB_BYTES};
use super::stub::Stub;
use crate::{Batch, BatchHeader, StreamId};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Pieces at least this large are written from where they lie.
const DIRECT_BYTES: usize = 256 * 1024;

/// Tells a body from the others of one file.
pub(crate) type BodyKey = (u64, u64);

struct Draft {
    stream: StreamId,
    extent: Extent,
    blocks: Vec<Block>,
    /// The last block may get more batches.
    is_open: bool,
}

impl Draft {
    /// Takes note of a batch that begins at this position and takes so many bytes there; its block.
    fn add(
        &mut self,
        header: &BatchHeader,
        (position, bytes): (u64, u64),
        is_full: bool,
    ) -> &mut Block {
        let extent = &mut self.extent;
        if self.blocks.is_empty() {
            extent.base = header.base_offset;
            extent.end = header.base_offset;
        }
        assert_eq!(extent.end, header.base_offset, "an extent has no gaps");
        extent.end = header.next_offset();
        extent.bytes += header.total_bytes() as u64;
        extent.max_timestamp = extent.max_timestamp.max(header.max_timestamp);
        if !self.is_open || is_full {
            self.blocks.push(Block {
                base: header.base_offset,
                max_timestamp: i64::MIN,
                position,
                length: 0,
                crc: 0,
            });
        }
        let block = self.blocks.last_mut().expect("an open one, or this");
        block.max_timestamp = block.max_timestamp.max(header.max_timestamp);
        block.length += u32::try_from(bytes).expect("a batch's length field is 31 bits");
        block
    }
}

/// A segment in the making. Streams must be begun in order, batches pushed in order.
pub(crate) struct SegmentWriter {
    id: u64,
    sink: Box<dyn SegmentSink>,
    block_bytes: u64,
    position: u64,
    buffer: Vec<u8>,
    drafts: Vec<Draft>,
    /// Where bodies are that several streams have.
    bodies: HashMap<BodyKey, u64>,
}

/// A segment that is on disk.
pub(crate) struct Finished {
    /// Its length.
    pub(crate) bytes: u64,
    /// What it holds, in the order written.
    pub(crate) extents: Vec<(StreamId, Extent)>,
}

impl SegmentWriter {
    /// Writes the segment of this number to where [`super::super::seams::Segments::put`] says.
    pub(crate) fn new(sink: Box<dyn SegmentSink>, id: u64, block_bytes: u64) -> Self {
        Self {
            id,
            sink,
            block_bytes,
            position: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            drafts: Vec::new(),
            bodies: HashMap::new(),
        }
    }

    /// Starts the next extent; the batches that follow belong to it, at least one does.
    pub(crate) fn begin(&mut self, stream: StreamId) {
        let extent = Extent {
            segment: self.id,
            base: 0,
            end: 0,
            bytes: 0,
            max_timestamp: i64::MIN,
            index_position: 0,
            blocks: 0,
            index_crc: 0,
        };
        self.drafts.push(Draft {
            stream,
            extent,
            blocks: Vec::new(),
            is_open: false,
        });
    }

    pub(crate) fn push(&mut self, batch: &Batch) -> std::io::Result<()> {
        let place = (self.position, batch.bytes() as u64);
        let block_bytes = self.block_bytes;
        let draft = self.draft();
        let last = draft.blocks.last().map_or(0, |block| block.length);
        let is_full = u64::from(last) + place.1 > block_bytes;
        let block = draft.add(&batch.header, place, is_full);
        for piece in batch.pieces() {
            block.crc = crc32c::crc32c_append(block.crc, piece);
        }
        draft.is_open = true;
        for piece in batch.pieces() {
            self.put(piece)?;
        }
        Ok(())
    }

    /// Adds a batch whose records are at `records`.
    pub(crate) fn push_stub(
        &mut self,
        header: &BatchHeader,
        head: &[u8],
        records: u64,
    ) -> std::io::Result<()> {
        let place = (self.position, STUB_BYTES as u64);
        let stub = Stub::encode(head, records);
        let draft = self.draft();
        draft.add(header, place, true).crc = crc32c::crc32c(&stub);
        draft.is_open = false;
        self.put(&stub)
    }

    /// Where a body is, if it was put.
    pub(crate) fn body(&self, key: BodyKey) -> Option<u64> {
        self.bodies.get(&key).copied()
    }

    /// Writes the records that several streams have; returns where they are.
    pub(crate) fn put_body(&mut self, key: BodyKey, records: &[u8]) -> std::io::Result<u64> {
        let at = self.position;
        self.draft().is_open = false;
        self.put(records)?;
        self.bodies.insert(key, at);
        Ok(at)
    }

    fn draft(&mut self) -> &mut Draft {
        self.drafts.last_mut().expect("an extent was begun")
    }

    /// Writes footer and trailer and makes the content durable; that there is such a segment is the caller's to sync.
    pub(crate) fn finish(mut self) -> std::io::Result<Finished> {
        let footer_position = self.position;
        let mut footer = Vec::new();
        let mut extents = Vec::with_capacity(self.drafts.len());
        for draft in std::mem::take(&mut self.drafts) {
            extents.push(put_draft(&mut footer, footer_position, draft));
        }
        let footer_crc = crc32c::crc32c(&footer);
        let mut trailer = Vec::with_capacity(32);
        trailer.extend_from_slice(&MAGIC.to_le_bytes());
        trailer.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        trailer.extend_from_slice(&footer_position.to_le_bytes());
        trailer.extend_from_slice(&(footer.len() as u64).to_le_bytes());
        trailer.extend_from_slice(&footer_crc.to_le_bytes());
        trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
        self.put(&footer)?;
        self.put(&trailer)?;
        self.write_buffer()?;
        self.sink.finish()?;
        Ok(Finished {
            bytes: self.position,
            extents,
        })
    }

    fn put(&mut self, piece: &[u8]) -> std::io::Result<()> {
        if piece.len() >= DIRECT_BYTES {
            self.write_buffer()?;
            self.sink.write(piece)?;
            self.position += piece.len() as u64;
            return Ok(());
        }
        if self.buffer.len() + piece.len() > BUFFER_BYTES {
            self.write_buffer()?;
        }
        self.buffer.extend_from_slice(piece);
        self.position += piece.len() as u64;
        Ok(())
    }

    fn write_buffer(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            self.sink.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn put_draft(footer: &mut Vec<u8>, footer_position: u64, draft: Draft) -> (StreamId, Extent) {
    let mut extent = draft.extent;
    extent.blocks = u32::try_from(draft.blocks.len()).expect("a segment has far fewer blocks");
    put_stream(footer, draft.stream);
    footer.extend_from_slice(&extent.base.to_le_bytes());
    footer.extend_from_slice(&extent.end.to_le_bytes());
    footer.extend_from_slice(&extent.max_timestamp.to_le_bytes());
    footer.extend_from_slice(&extent.bytes.to_le_bytes());
    footer.extend_from_slice(&extent.blocks.to_le_bytes());
    let index = footer.len();
    extent.index_position = footer_position + index as u64;
    for block in draft.blocks {
        footer.extend_from_slice(&block.base.to_le_bytes());
        footer.extend_from_slice(&block.max_timestamp.to_le_bytes());
        footer.extend_from_slice(&block.position.to_le_bytes());
        footer.extend_from_slice(&block.length.to_le_bytes());
        footer.extend_from_slice(&block.crc.to_le_bytes());
    }
    extent.index_crc = crc32c::crc32c(&footer[index..]);
    (draft.stream, extent)
}
