//! Bytes that mean harm: noise, damaged frames, lengths that lie.

use proptest::prelude::*;

use super::random::{RandomSource, Style};
use super::{framed, shapes};
use crate::wire::fuzz;

/// Everything that takes bytes from outside.
fn all(data: &[u8]) {
    fuzz::frames(data);
    fuzz::method(data);
    fuzz::header(data);
    fuzz::table(data);
}

/// Frames of every kind, as a peer might send them.
fn conversation(random: &mut RandomSource) -> Vec<u8> {
    let mut bytes = crate::wire::PROTOCOL_HEADER.to_vec();
    for shape in shapes() {
        if random.below(4) == 0 {
            bytes.extend(framed(1, 1, &random.payload(shape)));
        }
    }
    let header = [
        &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..],
        &random.properties(),
    ]
    .concat();
    bytes.extend(framed(2, 1, &header));
    bytes.extend(framed(3, 1, &random.octets(9)));
    bytes
}

fn damage(random: &mut RandomSource, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes.truncate(at.max(1)),
            _ => {
                let more = random.octets(4);
                bytes.splice(at..at, more);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn noise_is_survived(data in prop::collection::vec(any::<u8>(), 0..300)) {
        all(&data);
    }

    #[test]
    fn damaged_frames_are_survived(seed: u64) {
        let mut random = RandomSource::new(seed, Style::Any);
        let mut bytes = conversation(&mut random);
        fuzz::frames(&bytes);
        damage(&mut random, &mut bytes);
        fuzz::frames(&bytes);
    }

    #[test]
    fn damaged_payloads_are_survived(seed: u64) {
        let mut random = RandomSource::new(seed, Style::Any);
        for shape in shapes() {
            let mut payload = random.payload(shape);
            damage(&mut random, &mut payload);
            fuzz::method(&payload);
        }
        let mut header = [&[0; 12][..], &random.properties()].concat();
        damage(&mut random, &mut header);
        fuzz::header(&header);
        let mut table = random.table(4);
        table.push(0);
        damage(&mut random, &mut table);
        fuzz::table(&table);
    }
}

#[test]
fn every_cut_of_a_conversation_is_survived() {
    let bytes = conversation(&mut RandomSource::new(1, Style::Any));
    for cut in 0..bytes.len() {
        fuzz::frames(&bytes[..cut]);
    }
}
