//! Every method, in both directions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random::{RandomSource, Style};
use super::{framed, only, shapes};
use crate::wire::{Arguments, Error, Method, Reader, Result, Writer, basic, connection, queue};

#[test]
fn every_method_is_there_once() {
    let numbers: BTreeSet<_> = shapes().map(|shape| (shape.class, shape.method)).collect();
    assert_eq!(numbers.len(), shapes().count());
    assert_eq!(numbers.len(), 66);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_decoded_encodes_to_the_same_bytes(seed: u64, channel: u16) {
        let mut random = RandomSource::new(seed, Style::Any);
        for shape in shapes() {
            let payload = random.payload(shape);
            let method = Method::decode(&payload).expect(shape.name);
            prop_assert_eq!(method.name(), shape.name);
            prop_assert_eq!(method.numbers(), (shape.class, shape.method));
            let mut w = Writer::new(u32::MAX);
            method.write(channel, &mut w).expect(shape.name);
            prop_assert_eq!(w.take_bytes(), framed(1, channel, &payload), "{}", shape.name);
        }
    }

    #[test]
    fn every_cut_is_an_error(seed: u64) {
        let mut random = RandomSource::new(seed, Style::Any);
        for shape in shapes() {
            let payload = random.payload(shape);
            for cut in 0..payload.len() {
                prop_assert!(Method::decode(&payload[..cut]).is_err(), "{} at {cut}", shape.name);
            }
            let longer = [&payload[..], &[0]].concat();
            let refusal = Method::decode(&longer).expect_err(shape.name);
            prop_assert_eq!(refusal, Error::Malformed { at: payload.len(), why: "bytes after the end" });
        }
    }
}

#[test]
fn unknown_methods_are_named() {
    let refusal = |class: u16, method: u16| {
        Method::decode(&[class.to_be_bytes(), method.to_be_bytes()].concat()).expect_err("unknown")
    };
    for (class, method) in [(50, 99), (40, 41), (61, 10), (0, 0)] {
        assert_eq!(
            refusal(class, method),
            Error::UnknownMethod { class, method }
        );
    }
}

#[test]
fn reserved_arguments_are_ignored() {
    let old = [0, 50, 0, 30, 0xAB, 0xCD, 1, b'q', 1];
    let expected = queue::Purge {
        queue: b"q",
        nowait: true,
    };
    assert_eq!(
        Method::decode(&old),
        Ok(Method::Queue(queue::Method::Purge(expected)))
    );
    let open = [0, 10, 0, 40, 1, b'/', 2, b'x', b'y', 1];
    let expected = connection::Open { virtual_host: b"/" };
    assert_eq!(
        Method::decode(&open),
        Ok(Method::Connection(connection::Method::Open(expected)))
    );
}

#[test]
fn a_method_that_does_not_fit_leaves_no_trace() {
    let mut w = Writer::new(64);
    w.method(1, &basic::QosOk {}).expect("fits");
    let before = w.len();
    let long = [b'x'; 256];
    let cancel = |consumer_tag| basic::CancelOk { consumer_tag };
    assert_eq!(
        w.method(1, &cancel(&long)),
        Err(Error::TooLong {
            what: "a short string"
        })
    );
    assert_eq!(
        w.method(1, &cancel(&long[..60])),
        Err(Error::FrameTooLarge {
            payload_bytes: 65,
            frame_max: 64
        })
    );
    assert_eq!(w.len(), before);
    w.method(1, &cancel(&long[..51])).expect("64 bytes in all");
    assert_eq!(w.len(), before + 64);
}

/// One method read as the type that is expected of it.
fn read<'a, A: Arguments<'a>>(payload: &'a [u8]) -> Result<A> {
    let mut r = Reader::new(payload);
    assert_eq!((r.u16()?, r.u16()?), (A::CLASS, A::METHOD), "{}", A::NAME);
    A::decode(&mut r)
}

#[test]
fn bits_share_octets_and_nothing_else() {
    let consume = basic::Consume {
        queue: b"q",
        no_ack: true,
        nowait: true,
        ..basic::Consume::default()
    };
    let mut w = Writer::new(4096);
    w.method(3, &consume).expect("fits");
    let bytes = w.take_bytes();
    let (_, payload) = only(&bytes);
    assert_eq!(payload[4..], [0, 0, 1, b'q', 0, 0b1010, 0, 0, 0, 0]);
    assert_eq!(read(&payload), Ok(consume));
}
