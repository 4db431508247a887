//! An encoded message as a list of byte stretches, ready for a vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// An encoded message: a first stretch and, when record batches are in it, more. It is a [`Buf`], so a socket can take
/// it piece by piece with vectored writes.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    first: Bytes,
    /// Empty, and so without an allocation, for every message without large record batches.
    rest: VecDeque<Bytes>,
    len: usize,
}

impl Segments {
    /// Appends a stretch; empty ones leave no trace.
    pub(super) fn push(&mut self, part: Bytes) {
        if part.is_empty() {
            return;
        }
        self.len = self.len.saturating_add(part.len());
        if self.first.is_empty() {
            self.first = part;
        } else {
            self.rest.push_back(part);
        }
    }

    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stretches not yet written, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first)
            .filter(|first| !first.is_empty())
            .chain(&self.rest)
    }

    /// Everything in one piece; copies unless there is only one.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.len);
        for part in self.parts() {
            whole.extend_from_slice(part);
        }
        whole.freeze()
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0_usize;
        for (slice, part) in slices.iter_mut().zip(self.parts()) {
            *slice = IoSlice::new(part);
            filled = filled.saturating_add(1);
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "advanced beyond the end");
        self.len = self.len.saturating_sub(count);
        let mut left = count;
        while left >= self.first.len() && left > 0 {
            left = left.saturating_sub(self.first.len());
            self.first = self.rest.pop_front().unwrap_or_default();
        }
        self.first.advance(left);
    }
}
