//! Reads extents back: index on demand, whole blocks, checksums first. Runs on blocking threads only.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::super::codec::Input;
use super::super::lock::lock;
use super::super::seams::Segments;
use super::layout::{BLOCK_ENTRY_BYTES, Block, Extent, name};
use super::stub::Stub;
use crate::batch::{HEADER_BYTES, SHARED_BYTES_MIN};
use crate::{Batch, BatchHeader, Chunk, Error, Result};

/// Index entries kept in memory, about 2 MiB.
const INDEX_BLOCKS_MAX: usize = 64 * 1024;

type Index = Arc<Vec<Block>>;

#[derive(Default)]
struct IndexCache {
    indexes: VecDeque<((u64, u64), Index)>,
    blocks: usize,
}

/// What a reader asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) max_bytes: usize,
}

/// Reads segments as extents, blocks and batches.
pub(crate) struct SegmentReader {
    segments: Arc<dyn Segments>,
    indexes: Mutex<IndexCache>,
}

impl SegmentReader {
    pub(crate) fn new(segments: Arc<dyn Segments>) -> Self {
        Self {
            segments,
            indexes: Mutex::default(),
        }
    }

    /// Forgets a segment that is about to be removed.
    pub(crate) fn forget(&self, id: u64) {
        let mut cache = lock(&self.indexes);
        cache.indexes.retain(|((segment, _), _)| *segment != id);
        cache.blocks = cache.indexes.iter().map(|(_, index)| index.len()).sum();
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

    /// The bytes of blocks that follow each other, with verified checksums: runs of whole batches, and stubs one by one.
    pub(crate) fn blocks(&self, extent: &Extent, blocks: &[Block]) -> Result<Vec<Bytes>> {
        let mut runs = Vec::new();
        for near in
            blocks.chunk_by(|one, next| one.position + u64::from(one.length) == next.position)
        {
            let mut bytes =
                Bytes::from(self.fetch(extent.segment, total(near), near[0].position)?);
            for run in near.chunk_by(|one, next| !one.may_be_stub() && !next.may_be_stub()) {
                let run_bytes = bytes.split_to(total(run));
                check(extent, run, &run_bytes)?;
                runs.push(run_bytes);
            }
        }
        Ok(runs)
    }

    /// The records of a stub in an extent.
    pub(crate) fn records(&self, extent: &Extent, stub: &Stub) -> Result<Bytes> {
        let length = stub.header.total_bytes() - HEADER_BYTES;
        let records = Bytes::from(self.fetch(extent.segment, length, stub.records)?);
        let batch = Batch::of_parts(&stub.head, &records);
        if !batch.is_some_and(|batch| batch.is_sound()) {
            return Err(corrupt(extent.segment, stub.records, "records checksum"));
        }
        Ok(records)
    }

    /// Whole batches from the one that contains `from`, which the extent holds.
    pub(crate) fn read(&self, extent: &Extent, want: Want) -> Result<Chunk> {
        let index = self.index(extent)?;
        let blocks = &index[wanted_blocks(&index, want.from, want.max_bytes)];
        let mut chunk = Chunk {
            next_offset: want.from,
            ..Chunk::default()
        };
        for run in self.blocks(extent, blocks)? {
            let goes_on = match Stub::of(&run) {
                Some(stub) => self.add_stub(extent, &stub, want, &mut chunk)?,
                None => add_batches(extent, &run, want, &mut chunk)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(chunk)
    }

    fn add_stub(
        &self,
        extent: &Extent,
        stub: &Stub,
        want: Want,
        chunk: &mut Chunk,
    ) -> Result<bool> {
        match want.fits(&stub.header, chunk) {
            Fits::Before => Ok(true),
            Fits::Behind => Ok(false),
            Fits::Yes => {
                let records = self.records(extent, stub)?;
                chunk.bytes += stub.header.total_bytes();
                chunk.next_offset = stub.header.next_offset();
                chunk.pieces.extend([stub.head.clone(), records]);
                Ok(true)
            }
        }
    }

    fn fetch(&self, segment: u64, length: usize, position: u64) -> Result<Vec<u8>> {
        let read = self.segments.read(segment, length, position);
        read.map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                corrupt(segment, position, "the file is shorter")
            } else {
                Error::io(format!("read {}", name(segment)), error)
            }
        })
    }
}

/// Whether a batch belongs into a chunk.
enum Fits {
    /// It ends before what is wanted.
    Before,
    Yes,
    /// It is beyond what is wanted.
    Behind,
}

impl Want {
    fn fits(&self, header: &BatchHeader, chunk: &Chunk) -> Fits {
        let next = header.next_offset();
        if next <= self.from {
            return Fits::Before;
        }
        let is_full = chunk.bytes > 0 && chunk.bytes + header.total_bytes() > self.max_bytes;
        if next > self.until || is_full {
            return Fits::Behind;
        }
        Fits::Yes
    }
}

/// Adds what is wanted of batches that follow each other; whether more may be.
fn add_batches(extent: &Extent, run: &Bytes, want: Want, chunk: &mut Chunk) -> Result<bool> {
    let (mut start, mut at, mut goes_on) = (0, 0, true);
    while at < run.len() {
        let header = batch_header(extent, &run[at..])?;
        let size = header.total_bytes();
        match want.fits(&header, chunk) {
            Fits::Before => start = at + size,
            Fits::Behind => {
                goes_on = false;
                break;
            }
            Fits::Yes => {
                chunk.bytes += size;
                chunk.next_offset = header.next_offset();
            }
        }
        at += size;
    }
    if at > start {
        chunk.pieces.push(run.slice(start..at));
    }
    Ok(goes_on)
}

fn total(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| block.length as usize).sum()
}

fn check(extent: &Extent, blocks: &[Block], bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    for block in blocks {
        let (own, after) = rest.split_at(block.length as usize);
        if crc32c::crc32c(own) != block.crc {
            return Err(corrupt(extent.segment, block.position, "block checksum"));
        }
        rest = after;
    }
    Ok(())
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
            bytes += match &index[last] {
                stub if stub.may_be_stub() => SHARED_BYTES_MIN,
                block => block.length as usize,
            };
        }
        last += 1;
    }
    first..last
}
