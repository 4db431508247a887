//! Encoding of methods, and of the messages that follow some of them.

use bytes::Bytes;

use super::frame::FrameKind;
use super::writer::FRAME_BYTES_USUAL;
use super::{Arguments, Result, Writer, basic};

/// A message as it leaves: properties as bytes, and a body that may lie in several places.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// As in [`ContentHeader::properties`](super::ContentHeader::properties).
    pub properties: &'a [u8],
    /// The body, in order.
    pub body: &'a [Bytes],
}

impl Writer {
    /// A method frame. A failure leaves no trace of it.
    pub fn method<'a>(&mut self, channel: u16, arguments: &impl Arguments<'a>) -> Result<()> {
        self.make_room(FRAME_BYTES_USUAL);
        self.whole(|w| method_frame(w, channel, arguments))
    }

    /// A method that carries a message ([`basic::Publish`], [`basic::Deliver`], [`basic::GetOk`], [`basic::Return`]),
    /// its header and its body. A failure leaves no trace of them.
    pub fn content<'a>(
        &mut self,
        channel: u16,
        arguments: &impl Arguments<'a>,
        content: Content<'_>,
    ) -> Result<()> {
        let body_bytes = content.body.iter().map(Bytes::len);
        let body_bytes = body_bytes.fold(0, usize::saturating_add);
        self.make_room(FRAME_BYTES_USUAL.saturating_add(content.properties.len()));
        self.whole(|w| {
            method_frame(w, channel, arguments);
            header_frame(w, channel, body_bytes, content.properties);
        })?;
        for stretch in content.body {
            self.body(channel, stretch);
        }
        Ok(())
    }
}

fn method_frame<'a, A: Arguments<'a>>(w: &mut Writer, channel: u16, arguments: &A) {
    let numbers = (A::CLASS, A::METHOD);
    w.frame((FrameKind::Method, channel), numbers, |w| {
        arguments.encode(w);
    });
}

fn header_frame(w: &mut Writer, channel: u16, body_bytes: usize, properties: &[u8]) {
    let numbers = (basic::CLASS, 0);
    w.frame((FrameKind::Header, channel), numbers, |w| {
        w.u64(u64::try_from(body_bytes).unwrap_or(u64::MAX));
        w.put(properties);
    });
}
