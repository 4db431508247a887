//! Finding batches by time and by size, over the tail and over segment indexes. May touch the disk.

use super::segment::{Block, Extent, SegmentReader, Stub, batch_header};
use crate::{BatchHeader, Found, Result, Seek};

/// A batch of the tail, reduced to what seeking needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brief {
    pub(super) header: BatchHeader,
    pub(super) visible: bool,
}

/// What a stream looked like when the search began.
pub(super) struct View {
    pub(super) start: u64,
    pub(super) extents: Vec<Extent>,
    /// Batches that no extent holds.
    pub(super) unflushed: Vec<Brief>,
}

impl View {
    pub(super) fn seek(&mut self, segments: &SegmentReader, seek: Seek) -> Result<Option<Found>> {
        match seek {
            Seek::Time(time) => self.by_time(segments, time),
            Seek::TimeFrom { time, from } => {
                self.start = self.start.max(from);
                self.by_time(segments, time)
            }
            Seek::MaxTime => self.by_max_time(segments),
            Seek::MaxTimeFrom(from) => {
                self.start = self.start.max(from);
                self.by_max_time(segments)
            }
            Seek::TailBytes(bytes) => self.by_tail_bytes(segments, bytes),
        }
    }

    fn visible(&self) -> impl Iterator<Item = &BatchHeader> {
        let visible = self.unflushed.iter().take_while(|brief| brief.visible);
        let headers = visible.map(|brief| &brief.header);
        headers.filter(|header| header.next_offset() > self.start)
    }

    fn by_max_time(&self, segments: &SegmentReader) -> Result<Option<Found>> {
        match self.max_time(segments)? {
            Some(time) => self.by_time(segments, time),
            None => Ok(None),
        }
    }

    fn by_time(&self, segments: &SegmentReader, time: i64) -> Result<Option<Found>> {
        let live = |extent: &&Extent| extent.end > self.start && extent.max_timestamp >= time;
        for extent in self.extents.iter().filter(live) {
            let index = segments.index(extent)?;
            let first = index
                .partition_point(|block| block.base <= self.start)
                .saturating_sub(1);
            let blocks = index.iter().skip(first);
            for block in blocks.filter(|block| block.max_timestamp >= time) {
                let headers = self.headers(segments, extent, block)?;
                if let Some(header) = headers.iter().find(|h| h.max_timestamp >= time) {
                    return Ok(Some(found(header)));
                }
            }
        }
        let first = self.visible().find(|header| header.max_timestamp >= time);
        Ok(first.map(found))
    }

    fn max_time(&self, segments: &SegmentReader) -> Result<Option<i64>> {
        let mut max = self.visible().map(|header| header.max_timestamp).max();
        for extent in &self.extents {
            if extent.base >= self.start {
                max = max.max(Some(extent.max_timestamp));
            } else {
                max = max.max(self.max_time_of_rest(segments, extent)?);
            }
        }
        Ok(max)
    }

    /// The greatest timestamp in an extent whose beginning was trimmed.
    fn max_time_of_rest(&self, segments: &SegmentReader, extent: &Extent) -> Result<Option<i64>> {
        let index = segments.index(extent)?;
        let whole = index.partition_point(|block| block.base < self.start);
        let mut max = index[whole..].iter().map(|b| b.max_timestamp).max();
        if let Some(cut) = whole.checked_sub(1).and_then(|at| index.get(at)) {
            let headers = self.headers(segments, extent, cut)?;
            max = max.max(headers.iter().map(|header| header.max_timestamp).max());
        }
        Ok(max)
    }

    fn by_tail_bytes(&self, segments: &SegmentReader, bytes: u64) -> Result<Option<Found>> {
        let mut left = bytes;
        let mut best = None;
        for brief in self.unflushed.iter().rev() {
            if !fits(&mut left, brief.header.total_bytes()) {
                return Ok(best);
            }
            best = Some(found(&brief.header));
        }
        for extent in self.extents.iter().rev() {
            let (first, is_whole) = self.tail_in_extent(segments, extent, &mut left)?;
            best = first.or(best);
            if !is_whole {
                break;
            }
        }
        self.exact(segments, best)
    }

    /// The first batch of an extent that still fits together with those behind it, and whether all of them do.
    fn tail_in_extent(
        &self,
        segments: &SegmentReader,
        extent: &Extent,
        left: &mut u64,
    ) -> Result<(Option<Found>, bool)> {
        let index = segments.index(extent)?;
        let live = index
            .partition_point(|block| block.base <= self.start)
            .saturating_sub(1);
        let mut best = None;
        for (at, block) in index.iter().enumerate().skip(live).rev() {
            // Only the block the search ends in, and the very first one, have to be looked into.
            let is_known = !block.may_be_stub();
            if is_known && u64::from(block.length) <= *left && at > live {
                *left -= u64::from(block.length);
                best = Some(Found {
                    base_offset: block.base,
                    max_timestamp: block.max_timestamp,
                });
                continue;
            }
            for header in self.headers(segments, extent, block)?.iter().rev() {
                if !fits(left, header.total_bytes()) {
                    return Ok((best, false));
                }
                best = Some(found(header));
            }
        }
        Ok((best, true))
    }

    /// Replaces a block's timestamp by that of its first batch.
    fn exact(&self, segments: &SegmentReader, best: Option<Found>) -> Result<Option<Found>> {
        let Some(best) = best else { return Ok(None) };
        let at = best.base_offset;
        let Some(extent) = self.extents.iter().find(|e| e.base <= at && at < e.end) else {
            return Ok(Some(best));
        };
        let index = segments.index(extent)?;
        let block = index
            .partition_point(|block| block.base <= at)
            .saturating_sub(1);
        let headers = match index.get(block) {
            Some(block) => self.headers(segments, extent, block)?,
            None => Vec::new(),
        };
        let header = headers.iter().find(|header| header.base_offset == at);
        Ok(Some(header.map_or(best, found)))
    }

    /// Headers of the batches in a block, without those given up.
    fn headers(
        &self,
        segments: &SegmentReader,
        extent: &Extent,
        block: &Block,
    ) -> Result<Vec<BatchHeader>> {
        let mut headers = Vec::new();
        for bytes in segments.blocks(extent, &[*block])? {
            if let Some(stub) = Stub::of(&bytes) {
                headers.push(stub.header);
                continue;
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let header = batch_header(extent, rest)?;
                rest = &rest[header.total_bytes()..];
                headers.push(header);
            }
        }
        headers.retain(|header| header.next_offset() > self.start);
        Ok(headers)
    }
}

fn fits(left: &mut u64, bytes: usize) -> bool {
    match left.checked_sub(bytes as u64) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

fn found(header: &BatchHeader) -> Found {
    Found {
        base_offset: header.base_offset,
        max_timestamp: header.max_timestamp,
    }
}
