//! Cutting frames, however they arrive, and refusing what is none.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{framed, refusal, split};
use crate::wire::{Error, FrameKind, Greeting, PROTOCOL_HEADER, ReplyCode, Splitter};

const FRAME_MAX: u32 = 4096;

#[test]
fn kinds_are_told_apart() {
    let bytes = [
        framed(1, 1, b"m"),
        framed(2, 2, b"h"),
        framed(3, 65_535, b""),
        framed(8, 0, b""),
    ]
    .concat();
    let frames = split(&bytes, FRAME_MAX);
    let found: Vec<_> = frames
        .iter()
        .map(|frame| (frame.kind, frame.channel, frame.payload))
        .collect();
    let expected: [(FrameKind, u16, &[u8]); 4] = [
        (FrameKind::Method, 1, b"m"),
        (FrameKind::Header, 2, b"h"),
        (FrameKind::Body, 65_535, b""),
        (FrameKind::Heartbeat, 0, b""),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_frame_is_refused() {
    let check = |bytes: &[u8], error: Error, code: ReplyCode| {
        assert_eq!(refusal(bytes, FRAME_MAX), error);
        assert_eq!(error.reply_code(), code);
    };
    let kind = |found| Error::FrameKind { found };
    check(&framed(4, 0, b""), kind(4), ReplyCode::FrameError);
    check(&PROTOCOL_HEADER, kind(b'A'), ReplyCode::FrameError);
    let mut open_ended = framed(3, 1, b"body");
    open_ended[11] = 0;
    let end = Error::FrameEnd { found: 0 };
    check(&open_ended, end, ReplyCode::FrameError);
    let channel = Error::HeartbeatChannel { channel: 1 };
    check(&framed(8, 1, b""), channel, ReplyCode::UnexpectedFrame);
    let payload = Error::HeartbeatPayload;
    check(&framed(8, 0, b"x"), payload, ReplyCode::FrameError);
}

#[test]
fn eight_bytes_too_many_are_put_up_with() {
    let frames = split(&framed(3, 1, &[0; 4096]), FRAME_MAX);
    assert_eq!(frames.iter().count(), 1);
    let too_large = Error::FrameTooLarge {
        payload_bytes: 4097,
        frame_max: 4096,
    };
    // Refused by its head alone, before the rest is read.
    assert_eq!(refusal(&[3, 0, 1, 0, 0, 0x10, 0x01], FRAME_MAX), too_large);
    assert_eq!(too_large.reply_code(), ReplyCode::FrameError);
}

#[test]
fn what_came_before_an_error_is_served() {
    let mut buffer = BytesMut::from(&[framed(1, 1, b"m"), framed(9, 1, b"")].concat()[..]);
    let splitter = Splitter::new(FRAME_MAX);
    let frames = splitter.split(&mut buffer).expect("one sound frame");
    assert_eq!(frames.iter().count(), 1);
    assert_eq!(
        splitter.split(&mut buffer).expect_err("the other"),
        Error::FrameKind { found: 9 }
    );
}

#[test]
fn a_larger_size_counts_from_the_next_frame() {
    let large = framed(3, 1, &[0; 5000]);
    let mut buffer = BytesMut::from(&[framed(1, 0, b"tune-ok"), large].concat()[..]);
    let before = Splitter::new(FRAME_MAX).split(&mut buffer);
    assert_eq!(before.expect("sound").iter().count(), 1);
    let after = Splitter::new(131_072).split(&mut buffer);
    assert_eq!(after.expect("sound").iter().count(), 1);
}

#[test]
fn lacking_bytes_are_told() {
    let splitter = Splitter::new(FRAME_MAX);
    let frame = framed(3, 1, &[0; 100]);
    assert_eq!(splitter.lacking(b""), 8);
    assert_eq!(splitter.lacking(&frame[..6]), 2);
    assert_eq!(splitter.lacking(&frame[..7]), 101);
    assert_eq!(splitter.lacking(&frame[..107]), 1);
    assert_eq!(splitter.lacking(&frame), 0);
    // A length that will be refused makes no room.
    assert_eq!(splitter.lacking(&[3, 0, 1, 255, 255, 255, 255]), 1);
}

proptest! {
    #[test]
    fn pieces_make_the_same_frames(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        piece in 1_usize..50,
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| framed(3, 1, payload)).collect();
        let splitter = Splitter::new(FRAME_MAX);
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            let frames = splitter.split(&mut buffer).expect("sound");
            found.extend(frames.iter().map(|frame| frame.payload.to_vec()));
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(found, payloads);
    }
}

#[test]
fn greetings() {
    let check = |bytes: &[u8], expected| assert_eq!(Greeting::decode(bytes), expected, "{bytes:?}");
    let answered = |is_tls| Greeting::Refused {
        answer: *b"AMQP\0\0\x09\x01",
        is_tls,
    };
    let refused = answered(false);
    check(b"AMQP\0\0\x09\x01", Ok(Greeting::Spoken));
    check(b"AMQP\x01\x01\0\x09more", Ok(Greeting::Spoken));
    // 0-8, a later minor version, and the two beginnings of 1.0.
    for version in [[1, 1, 8, 0], [0, 0, 9, 2], [0, 1, 0, 0], [3, 1, 0, 0]] {
        check(&[b"AMQP", &version[..]].concat(), Ok(refused));
    }
    check(b"SSH-", Ok(refused));
    check(b"GET / HTTP/1.1\r\n", Ok(refused));
    check(&[0x16, 0x03, 0x01], Ok(answered(true)));
    for early in 0..8 {
        check(&PROTOCOL_HEADER[..early], Err(Error::Incomplete));
    }
    check(b"GET", Err(Error::Incomplete));
}
