//! A part of a checkpoint on its way to where it is kept.

use super::frame::{self, HEADER_BYTES, Identity};

/// A part without its header: room for that, and the body.
pub(in super::super) struct Part(Vec<u8>);

impl Part {
    /// A part whose body is written by this.
    pub(in super::super) fn new(body: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        body(&mut bytes);
        Self(bytes)
    }

    /// The part with its header.
    pub(super) fn sealed(mut self, identity: Identity, serial: u64, reach: u64) -> Vec<u8> {
        frame::seal(&mut self.0, identity, serial, reach);
        self.0
    }
}
