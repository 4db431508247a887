//! A message: when it was sent and which one it is, then letters. A publish is encoded once, and from message to
//! message only those two numbers change.

use std::time::Duration;

use amqp::wire::{Content, Properties, Writer, basic};
use anyhow::{Result, ensure};
use bytes::{Bytes, BytesMut};

use super::link::CHANNEL;

/// Bytes of the two numbers; the shortest body.
pub(super) const STAMP_BYTES: usize = 16;
/// Longest body: it fits into one frame of the usual size.
pub(super) const BODY_BYTES_MAX: usize = 100_000;
/// `delivery_mode` of messages that survive a restart.
const PERSISTENT: u8 = 2;

/// What tells messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// On the clock of the row.
    pub(super) sent: Duration,
    /// Counts the messages of one publisher, from 0.
    pub(super) number: u64,
}

impl Stamp {
    fn encode(self) -> [u8; STAMP_BYTES] {
        let nanos = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        (u128::from(nanos) << 64 | u128::from(self.number)).to_be_bytes()
    }

    fn decode(bytes: [u8; STAMP_BYTES]) -> Self {
        let [
            n0,
            n1,
            n2,
            n3,
            n4,
            n5,
            n6,
            n7,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
        ] = bytes;
        Self {
            sent: Duration::from_nanos(u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7])),
            number: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        }
    }
}

/// A body whose stamp is still to be filled in.
fn blank(body_bytes: usize) -> Bytes {
    let letters = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9');
    letters.cycle().take(body_bytes).collect()
}

/// All frames of a persistent message.
#[derive(Debug)]
pub(super) struct Template {
    frames: BytesMut,
    body_at: usize,
}

impl Template {
    /// Messages of `body_bytes` to `exchange` with `routing_key`.
    pub(super) fn new(exchange: &str, routing_key: &str, body_bytes: usize) -> Result<Self> {
        let publish = basic::Publish {
            exchange: exchange.as_bytes(),
            routing_key: routing_key.as_bytes(),
            mandatory: false,
            immediate: false,
        };
        let properties = Properties {
            delivery_mode: Some(PERSISTENT),
            ..Properties::default()
        };
        let content = Content {
            properties: &properties.encode()?,
            body: &[blank(body_bytes)],
        };
        let mut writer = Writer::new(u32::MAX);
        writer.content(CHANNEL, &publish, content)?;
        let frames = BytesMut::from(writer.take_bytes());
        // The end octet of the body's only frame is the last byte.
        let body_at = frames.len() - 1 - body_bytes;
        Ok(Self { frames, body_at })
    }

    /// The frames of the message with this stamp.
    pub(super) fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        let stamp_at = self.body_at..self.body_at + STAMP_BYTES;
        self.frames[stamp_at].copy_from_slice(&stamp.encode());
        &self.frames
    }
}

/// Takes the pieces of a body, which may come in several frames, and checks every byte of them.
#[derive(Debug)]
pub(super) struct Gauge {
    expected: Bytes,
    stamp: [u8; STAMP_BYTES],
    seen: usize,
}

impl Gauge {
    /// Expects bodies of `body_bytes`.
    pub(super) fn new(body_bytes: usize) -> Self {
        Self {
            expected: blank(body_bytes),
            stamp: [0; STAMP_BYTES],
            seen: 0,
        }
    }

    /// Bytes of a body.
    pub(super) fn body_bytes(&self) -> usize {
        self.expected.len()
    }

    /// The next piece; answers with the stamp once the body is whole.
    pub(super) fn piece(&mut self, mut piece: &[u8]) -> Result<Option<Stamp>> {
        if self.seen < STAMP_BYTES {
            let count = piece.len().min(STAMP_BYTES - self.seen);
            let (head, rest) = piece.split_at(count);
            self.stamp[self.seen..self.seen + count].copy_from_slice(head);
            self.seen += count;
            piece = rest;
        }
        let rest = &self.expected[self.seen..];
        ensure!(rest.starts_with(piece), "a message came back changed");
        self.seen += piece.len();
        if self.seen < self.expected.len() {
            return Ok(None);
        }
        self.seen = 0;
        Ok(Some(Stamp::decode(self.stamp)))
    }
}

#[cfg(test)]
mod tests {
    use amqp::wire::{ContentHeader, FrameKind, Method, Splitter};

    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp {
            sent: Duration::from_nanos(123_456_789_012),
            number,
        }
    }

    #[test]
    fn a_stamped_template_is_a_publish() {
        for body_bytes in [16, 17, 1024, 16 << 10, BODY_BYTES_MAX] {
            let mut template = Template::new("stars", "orders", body_bytes).unwrap();
            let mut bytes = BytesMut::from(template.stamped(stamp(7)));
            let frames = Splitter::new(128 << 10).split(&mut bytes).unwrap();
            assert!(bytes.is_empty());
            let frames: Vec<_> = frames.iter().collect();
            let [method, header, body] = frames[..] else {
                panic!("three frames: {frames:?}");
            };
            let Ok(Method::Basic(basic::Method::Publish(publish))) = Method::decode(method.payload)
            else {
                panic!("a publish");
            };
            assert_eq!(publish.exchange, b"stars");
            assert_eq!(publish.routing_key, b"orders");
            let header = ContentHeader::decode(header.payload).unwrap();
            assert_eq!(header.body_bytes, body_bytes as u64);
            let properties = Properties::decode(header.properties).unwrap();
            assert_eq!(properties.delivery_mode, Some(PERSISTENT));
            assert_eq!(body.kind, FrameKind::Body);
            let mut gauge = Gauge::new(body_bytes);
            assert_eq!(gauge.piece(body.payload).unwrap(), Some(stamp(7)));
        }
    }

    #[test]
    fn pieces_of_any_size_make_a_body() {
        let mut template = Template::new("", "orders", 100).unwrap();
        for piece_bytes in [1, 7, 16, 17, 99, 100] {
            let mut gauge = Gauge::new(100);
            for number in 0..3 {
                let frames = template.stamped(stamp(number));
                let body = &frames[frames.len() - 101..frames.len() - 1];
                let stamps = body.chunks(piece_bytes).map(|piece| gauge.piece(piece));
                let stamps: Vec<_> = stamps.filter_map(Result::unwrap).collect();
                assert_eq!(stamps, [stamp(number)], "{piece_bytes}");
            }
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut template = Template::new("", "orders", 100).unwrap();
        let frames = template.stamped(stamp(0)).to_vec();
        let body = &frames[frames.len() - 101..frames.len() - 1];
        let mut bent = body.to_vec();
        bent[50] ^= 1;
        assert!(Gauge::new(100).piece(&bent).is_err());
        let longer = [body, b"a"].concat();
        assert!(Gauge::new(100).piece(&longer).is_err());
        assert_eq!(Gauge::new(100).piece(&body[..99]).unwrap(), None);
    }
}
