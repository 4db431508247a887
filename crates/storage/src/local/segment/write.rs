//! Writes one segment, front to back.

use std::io::IoSlice;
use std::sync::Arc;

use super::super::codec::put_stream;
use super::{Block, Extent, FORMAT_VERSION, MAGIC, name};
use crate::disk::{Disk, DiskFile};
use crate::{Batch, StreamId};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Pieces at least this large are written from where they lie.
const DIRECT_BYTES: usize = 256 * 1024;

struct Draft {
    stream: StreamId,
    extent: Extent,
    blocks: Vec<Block>,
}

/// A segment in the making. Streams must be begun in order, batches pushed in order.
pub(crate) struct SegmentWriter {
    id: u64,
    file: Arc<dyn DiskFile>,
    block_bytes: u64,
    position: u64,
    buffer: Vec<u8>,
    drafts: Vec<Draft>,
}

/// A segment that is on disk.
pub(crate) struct Finished {
    pub(crate) file: Arc<dyn DiskFile>,
    /// What it holds, in the order written.
    pub(crate) extents: Vec<(StreamId, Extent)>,
}

impl SegmentWriter {
    pub(crate) fn create(disk: &dyn Disk, id: u64, block_bytes: u64) -> std::io::Result<Self> {
        Ok(Self {
            id,
            file: disk.create(&name(id))?,
            block_bytes,
            position: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            drafts: Vec::new(),
        })
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
        });
    }

    pub(crate) fn push(&mut self, batch: &Batch) -> std::io::Result<()> {
        let at = self.position;
        let header = &batch.header;
        let bytes = batch.bytes() as u64;
        let draft = self.drafts.last_mut().expect("an extent was begun");
        if draft.blocks.is_empty() {
            draft.extent.base = header.base_offset;
            draft.extent.end = header.base_offset;
        }
        assert_eq!(
            draft.extent.end, header.base_offset,
            "an extent has no gaps"
        );
        draft.extent.end = header.next_offset();
        draft.extent.bytes += bytes;
        draft.extent.max_timestamp = draft.extent.max_timestamp.max(header.max_timestamp);
        let block_bytes = self.block_bytes;
        let joins = |block: &&mut Block| u64::from(block.length) + bytes <= block_bytes;
        let block = match draft.blocks.last_mut().filter(joins) {
            Some(block) => block,
            None => draft.blocks.push_mut(Block {
                base: header.base_offset,
                max_timestamp: i64::MIN,
                position: at,
                length: 0,
                crc: 0,
            }),
        };
        block.max_timestamp = block.max_timestamp.max(header.max_timestamp);
        block.length += u32::try_from(bytes).expect("a batch's length field is 31 bits");
        for piece in batch.pieces() {
            block.crc = crc32c::crc32c_append(block.crc, piece);
        }
        for piece in batch.pieces() {
            self.put(piece)?;
        }
        Ok(())
    }

    /// Writes footer and trailer and syncs the content; the name is the caller's to sync.
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
        self.file.sync()?;
        Ok(Finished {
            file: self.file,
            extents,
        })
    }

    fn put(&mut self, piece: &[u8]) -> std::io::Result<()> {
        if piece.len() >= DIRECT_BYTES {
            self.write_buffer()?;
            self.file.write_at(&[IoSlice::new(piece)], self.position)?;
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
            let start = self.position - self.buffer.len() as u64;
            self.file.write_at(&[IoSlice::new(&self.buffer)], start)?;
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
