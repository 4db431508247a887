//! Frames without a connection: what is to be sent as bytes, and what came as frames.

use std::collections::VecDeque;

use amqp::wire::{
    Arguments, Content, FrameKind, Properties, Splitter, TableBuilder, Value, Writer, basic,
};
use bytes::{Bytes, BytesMut};

/// Larger than any frame of a test.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// As large as a broker lets them be.
const SENT_FRAME_BYTES_MAX: u32 = 128 << 10;

/// One frame.
#[derive(Clone, Debug)]
pub struct Owned {
    /// What it holds.
    pub kind: FrameKind,
    /// The channel's number.
    pub channel: u16,
    /// Everything between its head and its end.
    pub payload: Bytes,
}

/// What came and was not looked at.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Bytes that are no whole frame yet: what is read is added here.
    pub input: BytesMut,
    arrived: VecDeque<Owned>,
}

impl Inbox {
    /// The next frame, if it is here.
    #[track_caller]
    pub fn take(&mut self) -> Option<Owned> {
        if self.arrived.is_empty() {
            let frames = Splitter::new(FRAME_BYTES_MAX).split(&mut self.input);
            let frames = frames.expect("the broker sends frames");
            let owned = frames.iter().map(|frame| Owned {
                kind: frame.kind,
                channel: frame.channel,
                payload: frames.share(frame.payload),
            });
            self.arrived.extend(owned);
        }
        self.arrived.pop_front()
    }

    /// Whether a whole frame is here.
    pub fn is_empty(&mut self) -> bool {
        match self.take() {
            None => true,
            Some(frame) => {
                self.arrived.push_front(frame);
                false
            }
        }
    }
}

/// A method as a frame.
pub fn method<'a>(number: u16, method: &impl Arguments<'a>) -> Bytes {
    let mut writer = Writer::new(SENT_FRAME_BYTES_MAX);
    writer.method(number, method).expect("the method fits");
    writer.take_bytes()
}

/// A message as frames.
pub fn message(
    number: u16,
    publish: &basic::Publish<'_>,
    properties: &Properties<'_>,
    body: &[u8],
) -> Bytes {
    let mut writer = Writer::new(SENT_FRAME_BYTES_MAX);
    let properties = properties.encode().expect("the properties fit");
    let body = Bytes::copy_from_slice(body);
    let content = Content {
        properties: &properties,
        body: std::slice::from_ref(&body),
    };
    let written = writer.content(number, publish, content);
    written.expect("the method fits");
    writer.take_bytes()
}

/// A table of these values.
pub fn table(values: &[(&str, Value<'_>)]) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, value) in values {
        let pushed = table.push(name.as_bytes(), *value);
        pushed.expect("the value fits");
    }
    table
}
