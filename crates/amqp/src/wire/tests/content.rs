//! Messages: their headers, and their bodies on the way out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::random::{RandomSource, Style};
use super::split;
use crate::wire::{
    BODY_SHARED_BYTES_MIN, Content, ContentHeader, Error, FrameKind, Method, Properties, Value,
    Writer, basic,
};

const DELIVER: basic::Deliver<'_> = basic::Deliver {
    consumer_tag: b"c1",
    delivery_tag: 7,
    redelivered: true,
    exchange: b"amq.topic",
    routing_key: b"a.b",
};

fn written(frame_max: u32, content: Content<'_>) -> VecDeque<Bytes> {
    let mut w = Writer::new(frame_max);
    w.content(9, &DELIVER, content).expect("fits");
    let bytes = w.len();
    let mut segments = VecDeque::new();
    w.take_into(&mut segments);
    assert!(w.is_empty());
    assert_eq!(segments.iter().map(Bytes::len).sum::<usize>(), bytes);
    segments
}

/// The body behind method and header, put together again.
#[track_caller]
fn body_of(segments: &VecDeque<Bytes>, frame_max: u32, properties: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = segments.iter().flatten().copied().collect();
    let frames = split(&bytes, frame_max);
    let mut frames = frames.iter();
    let method = frames.next().expect("a method");
    let deliver = Method::Basic(basic::Method::Deliver(DELIVER));
    assert_eq!(Method::decode(method.payload), Ok(deliver));
    let header = ContentHeader::decode(frames.next().expect("a header").payload).expect("sound");
    assert_eq!(header.properties, properties);
    let mut body = Vec::new();
    for frame in frames {
        assert_eq!((frame.kind, frame.channel), (FrameKind::Body, 9));
        assert!(frame.payload.len() + 8 <= usize::try_from(frame_max).expect("small"));
        assert!(!frame.payload.is_empty());
        body.extend(frame.payload);
    }
    assert_eq!(u64::try_from(body.len()), Ok(header.body_bytes));
    body
}

proptest! {
    #[test]
    fn bodies_arrive_whole(
        lengths in prop::collection::vec(0_usize..10_000, 0..4),
        frame_max in prop_oneof![Just(64_u32), Just(4096), Just(131_072)],
    ) {
        let body: Vec<Bytes> = (0_u8..).zip(lengths).map(|(fill, length)| Bytes::from(vec![fill; length])).collect();
        let content = Content { properties: Properties::NONE, body: &body };
        let segments = written(frame_max, content);
        prop_assert_eq!(body_of(&segments, frame_max, Properties::NONE), body.concat());
    }

    #[test]
    fn properties_survive(seed: u64) {
        let bytes = RandomSource::new(seed, Style::Any).properties();
        let properties = Properties::decode(&bytes).expect("sound");
        prop_assert_eq!(properties.encode().expect("fits"), &bytes[..]);
        for cut in 0..bytes.len() {
            prop_assert!(Properties::decode(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn large_bodies_are_not_copied() {
    let body = Bytes::from(vec![1; 3 * BODY_SHARED_BYTES_MIN]);
    let frame_max = u32::try_from(BODY_SHARED_BYTES_MIN + 8).expect("small");
    let content = Content {
        properties: Properties::NONE,
        body: std::slice::from_ref(&body),
    };
    let segments = written(frame_max, content);
    let shared = segments.iter().filter(|segment| {
        let (ours, theirs) = (body.as_ptr_range(), segment.as_ptr_range());
        ours.start <= theirs.start && theirs.end <= ours.end
    });
    assert_eq!(shared.count(), 3);
    assert_eq!(segments.len(), 7);
}

#[test]
fn small_messages_share_a_segment() {
    let mut w = Writer::new(4096);
    let content = Content {
        properties: Properties::NONE,
        body: &[Bytes::from_static(b"hello")],
    };
    for _ in 0..10 {
        w.content(9, &DELIVER, content).expect("fits");
        w.heartbeat();
    }
    let mut segments = VecDeque::new();
    let bytes = w.len();
    w.shrink();
    assert_eq!(w.len(), bytes, "what was said stays");
    w.take_into(&mut segments);
    assert_eq!(segments.len(), 1);
    assert_eq!(split(&segments[0], 4096).iter().count(), 40);
}

#[test]
fn headers_beyond_a_frame_are_refused() {
    let mut w = Writer::new(64);
    let content = Content {
        properties: &[0; 64],
        body: &[Bytes::from_static(b"hello")],
    };
    let refusal = w.content(9, &DELIVER, content);
    assert!(matches!(refusal, Err(Error::FrameTooLarge { .. })));
    assert!(w.is_empty());
}

#[test]
fn a_share_of_foreign_bytes_is_a_copy() {
    let frames = split(&[8, 0, 0, 0, 0, 0, 0, 0xCE], 4096);
    assert_eq!(frames.share(b"elsewhere"), "elsewhere");
    assert!(frames.share(b"").is_empty());
}

#[test]
fn what_a_broker_looks_for() {
    let mut headers = crate::wire::TableBuilder::new();
    let mut cc = crate::wire::ArrayBuilder::new();
    cc.push(Value::Long(b"k2")).expect("short");
    cc.push(Value::Long(b"k\xFF")).expect("short");
    headers
        .push(b"x-delay", Value::I32(5000))
        .and_then(|headers| headers.push(b"CC", Value::Array(cc.as_array())))
        .expect("short");
    let properties = Properties {
        headers: Some(headers.as_table()),
        priority: Some(3),
        expiration: Some(b"60000"),
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        user_id: Some(b"guest"),
        ..Properties::default()
    };
    let bytes = BytesMut::from(&properties.encode().expect("fits")[..]);
    let found = Properties::decode(&bytes).expect("sound");
    assert_eq!(found, properties);
    let headers = found.headers.expect("there");
    let delay = headers.find(b"x-delay").and_then(|delay| delay.integer());
    assert_eq!(delay, Some(5000));
    let Some(Value::Array(keys)) = headers.find(b"CC") else {
        panic!("no array");
    };
    let keys: Vec<_> = keys.iter().filter_map(|key| key.string()).collect();
    assert_eq!(keys, [&b"k2"[..], b"k\xFF"]);
}

#[test]
fn odd_headers_are_refused() {
    let refused = |bytes: &[u8]| Properties::decode(bytes).expect_err("refused");
    let malformed = |at, why| Error::Malformed { at, why };
    let flags = "unknown property flags in front";
    assert_eq!(refused(&[0, 1]), malformed(2, flags));
    assert_eq!(refused(&[0, 2]), malformed(2, flags));
    assert_eq!(refused(&[0, 0, 0]), malformed(2, "bytes after the end"));
    let weighty = [0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let refusal = ContentHeader::decode(&weighty);
    assert_eq!(refusal, Err(malformed(4, "a weight in front")));
}
