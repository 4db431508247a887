//! Reads extents back: index on demand, whole blocks, checksums first. Runs on blocking threads only.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::super::codec::Input;
use super::super::lock::lock;
use super::{BLOCK_ENTRY_BYTES, Block, Extent, name};
use crate::disk::{Disk, DiskFile};
use crate::{BatchHeader, Chunk, Error, Result};

/// Segment files kept open for readers.
const OPEN_FILES_MAX: usize = 128;
/// Index entries kept in memory, about 2 MiB.
const INDEX_BLOCKS_MAX: usize = 64 * 1024;

type Index = Arc<Vec<Block>>;

#[derive(Default)]
struct IndexCache {
    indexes: VecDeque<((u64, u64), Index)>,
    blocks: usize,
}

/// The segments on disk, as readers use them.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    files: Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>,
    indexes: Mutex<IndexCache>,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            files: Mutex::new(VecDeque::new()),
            indexes: Mutex::default(),
        }
    }

    /// Forgets a segment that is about to be removed.
    pub(crate) fn forget(&self, id: u64) {
        lock(&self.files).retain(|(known, _)| *known != id);
        let mut cache = lock(&self.indexes);
        cache.indexes.retain(|((segment, _), _)| *segment != id);
        cache.blocks = cache.indexes.iter().map(|(_, index)| index.len()).sum();
    }

    fn file(&self, id: u64) -> Result<Arc<dyn DiskFile>> {
        let mut files = lock(&self.files);
        if let Some(found) = files.iter().position(|(known, _)| *known == id) {
            let entry = files.remove(found).expect("the position was just found");
            let file = Arc::clone(&entry.1);
            files.push_back(entry);
            return Ok(file);
        }
        drop(files);
        let failed = |error| Error::io(format!("open {}", name(id)), error);
        let file = self.disk.open(&name(id)).map_err(failed)?;
        let mut files = lock(&self.files);
        files.push_back((id, Arc::clone(&file)));
        if files.len() > OPEN_FILES_MAX {
            files.pop_front();
        }
        Ok(file)
    }

    /// The index of an extent.
    pub(crate) fn index(&self, extent: &Extent) -> Result<Index> {
        let key = (extent.segment, extent.index_position);
        let cache = lock(&self.indexes);
        if let Some((_, index)) = cache.indexes.iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(index));
        }
        drop(cache);
        let bytes = self.fetch(
            extent.segment,
            extent.blocks as usize * BLOCK_ENTRY_BYTES,
            extent.index_position,
        )?;
        if crc32c::crc32c(&bytes) != extent.index_crc {
            return Err(corrupt(
                extent.segment,
                extent.index_position,
                "index checksum",
            ));
        }
        let index = Arc::new(parse_index(&bytes));
        let mut cache = lock(&self.indexes);
        cache.blocks += index.len();
        cache.indexes.push_back((key, Arc::clone(&index)));
        while cache.blocks > INDEX_BLOCKS_MAX && cache.indexes.len() > 1 {
            let (_, oldest) = cache.indexes.pop_front().expect("there are at least two");
            cache.blocks -= oldest.len();
        }
        Ok(index)
    }

    /// The bytes of neighbouring blocks, with verified checksums.
    pub(crate) fn blocks(&self, extent: &Extent, blocks: &[Block]) -> Result<Bytes> {
        let Some(first) = blocks.first() else {
            return Ok(Bytes::new());
        };
        let length: usize = blocks.iter().map(|block| block.length as usize).sum();
        let bytes = self.fetch(extent.segment, length, first.position)?;
        let mut rest = &bytes[..];
        for block in blocks {
            let (own, after) = rest.split_at(block.length as usize);
            if crc32c::crc32c(own) != block.crc {
                return Err(corrupt(extent.segment, block.position, "block checksum"));
            }
            rest = after;
        }
        Ok(bytes.into())
    }

    /// Whole batches from the one that contains `from`, which the extent holds.
    pub(crate) fn read(
        &self,
        extent: &Extent,
        from: u64,
        until: u64,
        max_bytes: usize,
    ) -> Result<Chunk> {
        let index = self.index(extent)?;
        let bytes = self.blocks(extent, &index[wanted_blocks(&index, from, max_bytes)])?;
        let mut chunk = Chunk {
            next_offset: from,
            ..Chunk::default()
        };
        let mut start = 0;
        let mut at = 0;
        while at < bytes.len() {
            let header = batch_header(extent, &bytes[at..])?;
            let next = header.next_offset();
            let size = header.total_bytes();
            if next <= from {
                at += size;
                start = at;
                continue;
            }
            if next > until || (chunk.bytes > 0 && chunk.bytes + size > max_bytes) {
                break;
            }
            at += size;
            chunk.bytes += size;
            chunk.next_offset = next;
        }
        if chunk.bytes > 0 {
            chunk.pieces.push(bytes.slice(start..start + chunk.bytes));
        }
        Ok(chunk)
    }

    fn fetch(&self, segment: u64, length: usize, position: u64) -> Result<Vec<u8>> {
        let file = self.file(segment)?;
        file.read(length, position).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                corrupt(segment, position, "the file is shorter")
            } else {
                Error::io(format!("read {}", name(segment)), error)
            }
        })
    }
}

/// The header of the batch at the start of `bytes`, which passed their block's checksum.
pub(crate) fn batch_header(extent: &Extent, bytes: &[u8]) -> Result<BatchHeader> {
    let header = BatchHeader::decode(bytes)
        .map_err(|error| corrupt(extent.segment, extent.index_position, &error.to_string()))?;
    if header.total_bytes() > bytes.len() {
        return Err(corrupt(
            extent.segment,
            extent.index_position,
            "a batch leaves its block",
        ));
    }
    Ok(header)
}

fn corrupt(segment: u64, position: u64, why: &str) -> Error {
    Error::corrupt(format!("{} at {position}", name(segment)), why)
}

fn parse_index(bytes: &[u8]) -> Vec<Block> {
    let entry = |bytes: &[u8]| {
        let mut input = Input(bytes);
        Some(Block {
            base: input.u64()?,
            max_timestamp: input.i64()?,
            position: input.u64()?,
            length: input.u32()?,
            crc: input.u32()?,
        })
    };
    bytes
        .chunks_exact(BLOCK_ENTRY_BYTES)
        .filter_map(entry)
        .collect()
}

/// The block that holds `from`, and as many after it as `max_bytes` may need.
fn wanted_blocks(index: &[Block], from: u64, max_bytes: usize) -> Range<usize> {
    let first = index
        .partition_point(|block| block.base <= from)
        .saturating_sub(1);
    let mut last = first;
    let mut bytes = 0;
    while last < index.len() && (last == first || bytes < max_bytes) {
        // A first block that begins before `from` may lie mostly before it: it does not count.
        if last > first || index[first].base == from {
            bytes += index[last].length as usize;
        }
        last += 1;
    }
    first..last
}
