//! What the codec promises.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test that is wrong should say so"
)]

mod captured;
mod content;
mod frames;
mod hostile;
mod methods;
mod oracle;
mod random;
mod replies;
mod tables;

use bytes::{Bytes, BytesMut};

use super::frame::FRAME_END;
use super::{Error, Frame, Frames, Splitter};

/// How a method looks on the wire.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) class: u16,
    pub(crate) method: u16,
    pub(crate) name: &'static str,
    pub(crate) before: &'static [&'static str],
    pub(crate) arguments: &'static [&'static str],
    pub(crate) behind: &'static [&'static str],
}

/// Every method there is.
fn shapes() -> impl Iterator<Item = &'static Shape> {
    super::methods::SHAPES.iter().copied().flatten()
}

/// A frame around a payload.
fn framed(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small");
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

/// All of `bytes` as frames.
#[track_caller]
fn split(bytes: &[u8], frame_max: u32) -> Frames {
    let mut buffer = BytesMut::from(bytes);
    let frames = Splitter::new(frame_max).split(&mut buffer);
    assert!(buffer.is_empty(), "{} bytes left", buffer.len());
    frames.expect("sound frames")
}

/// The error that the bytes begin with.
#[track_caller]
fn refusal(bytes: &[u8], frame_max: u32) -> Error {
    let mut buffer = BytesMut::from(bytes);
    let refusal = Splitter::new(frame_max).split(&mut buffer);
    assert_eq!(buffer, bytes, "a refusal takes nothing");
    refusal.expect_err("refused")
}

/// The payload of the only frame.
#[track_caller]
fn only(bytes: &[u8]) -> (Frame<'_>, Bytes) {
    let frames = split(bytes, u32::MAX);
    let [frame] = frames.iter().collect::<Vec<_>>()[..] else {
        panic!("not one frame");
    };
    let payload = frames.share(frame.payload);
    let payload_at = bytes.len() - 1 - payload.len();
    let borrowed = Frame {
        payload: &bytes[payload_at..bytes.len() - 1],
        ..frame
    };
    (borrowed, payload)
}
