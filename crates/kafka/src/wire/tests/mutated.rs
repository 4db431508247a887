//! The fuzz bodies, fed with noise and with damaged frames.

use bytes::Bytes;

use super::random::RandomSource;
use super::{for_each_version, requests, responses};
use crate::wire::{ApiKey, Result, Writer, frame, fuzz};

/// Damaged copies per message.
const MUTATIONS: u64 = 40;

/// Flips, overwrites, cuts or repeats a few bytes.
fn damage(random: &mut RandomSource, frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..=random.below(3) {
        let at = usize::try_from(random.below(bytes.len() as u64)).expect("within a frame");
        let value = random.i8().cast_unsigned();
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, value),
            2 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b ^= 1 << (value & 7)),
            _ => bytes.iter_mut().skip(at).take(4).for_each(|b| *b = value),
        }
    }
    bytes
}

fn without_prefix(mut w: Writer, encode: impl FnOnce(&mut Writer) -> Result<()>) -> Bytes {
    encode(&mut w).expect("a sample fits its version");
    let frame = w.finish().expect("a sample is small").into_bytes();
    frame.slice(4..)
}

#[test]
fn noise_is_survived() {
    let mut random = RandomSource::new(7);
    for _ in 0..20_000 {
        let body: Vec<u8> = (0..random.below(64))
            .map(|_| random.i8().cast_unsigned())
            .collect();
        let choice = usize::try_from(random.below(ApiKey::ALL.len() as u64)).expect("an index");
        let key = ApiKey::ALL.get(choice).copied().map_or(0, i16::from);
        let version = i16::try_from(random.below(16)).expect("below 16");
        let mut data = [key.to_be_bytes(), version.to_be_bytes()].concat();
        data.extend(body);
        fuzz::request(&data);
        fuzz::response(&data);
    }
}

#[test]
fn damaged_requests_are_survived() {
    let mut random = RandomSource::new(8);
    for_each_version(|key, version| {
        for sample in requests(key, version).take(2) {
            let w = frame::encode_request_header(key, version, 1, Some("c")).expect("a header");
            let frame = without_prefix(w, |w| sample.encode(w, version));
            fuzz::request(&frame);
            (0..MUTATIONS).for_each(|_| fuzz::request(&damage(&mut random, &frame)));
        }
    });
}

#[test]
fn damaged_responses_are_survived() {
    let mut random = RandomSource::new(9);
    for_each_version(|key, version| {
        for sample in responses(key, version).take(2) {
            let w = frame::encode_response_header(key, version, 1).expect("a header");
            let frame = without_prefix(w, |w| sample.encode(w, version));
            let mut data = [i16::from(key).to_be_bytes(), version.to_be_bytes()].concat();
            data.extend(frame);
            fuzz::response(&data);
            (0..MUTATIONS).for_each(|_| fuzz::response(&damage(&mut random, &data)));
        }
    });
}
