//! Frames made to hurt: lengths that promise more than the frame holds, integers that never end, frames cut anywhere.

use bytes::Bytes;

use super::{bytes_of, decode_request, decode_response, for_each_version, requests, responses};
use crate::wire::{
    ARRAY_LENGTH_MAX, Error, Message as _, MetadataRequest, ProduceRequest, Reader,
    SaslHandshakeRequest, TAGS_MAX,
};

fn bytes(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

fn why(error: Option<Error>) -> &'static str {
    match error {
        Some(Error::Malformed { why, .. }) => why,
        _ => "not malformed",
    }
}

#[test]
fn every_cut_is_noticed() {
    for_each_version(|key, version| {
        for sample in requests(key, version).take(2) {
            let whole = bytes_of(|w| sample.encode(w, version));
            for end in 0..whole.len() {
                let cut = decode_request(key, &whole.slice(..end), version).err();
                assert_eq!(cut, Some(Error::Incomplete), "{key:?} v{version} at {end}");
            }
        }
    });
}

#[test]
fn every_cut_of_a_response_is_noticed() {
    for_each_version(|key, version| {
        for sample in responses(key, version).take(2) {
            // Long record batches have no structure to cut.
            let whole = bytes_of(|w| sample.encode(w, version));
            for end in (0..whole.len()).step_by(1 + whole.len() / 500) {
                let cut = decode_response(key, &whole.slice(..end), version).err();
                assert_eq!(cut, Some(Error::Incomplete), "{key:?} v{version} at {end}");
            }
        }
    });
}

#[test]
fn bytes_after_the_end_are_noticed() {
    let body = bytes(&[&[0, 1, b'x', 0]]);
    let mut r = Reader::new(&body);
    assert!(SaslHandshakeRequest::decode(&mut r, 1).is_ok());
    assert_eq!(why(r.finish().err()), "bytes after the end");
}

/// The request with which a public codec aborts its process: transactional id, acks, timeout, array length.
#[test]
fn array_bomb_in_produce() {
    for length in [i32::MAX, 1_000_000, 1_000_001] {
        let body = bytes(&[&[0xff, 0xff, 0, 1, 0, 0, 0, 9], &length.to_be_bytes()]);
        assert!(ProduceRequest::decode(&mut Reader::new(&body), 3).is_err());
    }
    let body = bytes(&[
        &[0, 0, 1, 0, 0, 0, 9],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0; 64],
    ]);
    let error = ProduceRequest::decode(&mut Reader::new(&body), 9).err();
    assert_eq!(why(error), "array too long");
}

#[test]
fn a_long_array_grows_as_it_is_read() {
    let body = bytes(&[&900_000_i32.to_be_bytes(), &vec![0; 900_000]]);
    let array = Reader::new(&body)
        .array(false, 1, Reader::i8)
        .expect("long but honest");
    assert_eq!(array.len(), 900_000);
    assert!(array.capacity() <= 2 * 900_000, "{}", array.capacity());
}

#[test]
fn too_long_an_array_is_refused_even_if_present() {
    let length = i32::try_from(ARRAY_LENGTH_MAX)
        .expect("small")
        .saturating_add(1);
    let body = bytes(&[&length.to_be_bytes(), &vec![0; ARRAY_LENGTH_MAX + 1]]);
    let array = Reader::new(&body).array(false, 1, Reader::i8);
    assert_eq!(why(array.err()), "array too long");
}

#[test]
fn negative_lengths_other_than_null() {
    let body = bytes(&[&(-2_i32).to_be_bytes()]);
    assert_eq!(
        why(Reader::new(&body).records(false).err()),
        "negative length"
    );
    assert_eq!(
        why(Reader::new(&body).nullable_bytes(false).err()),
        "negative length"
    );
    let body = bytes(&[&(-2_i16).to_be_bytes()]);
    assert_eq!(
        why(Reader::new(&body).nullable_string(false).err()),
        "negative length"
    );
}

#[test]
fn null_where_none_may_be() {
    let null = bytes(&[&[0xff; 4]]);
    assert_eq!(
        why(Reader::new(&null).string(false).err()),
        "null where a string must be"
    );
    assert_eq!(
        why(Reader::new(&null).bytes(false).err()),
        "null where bytes must be"
    );
    let array = Reader::new(&null).array(false, 1, Reader::i8);
    assert_eq!(why(array.err()), "null where an array must be");
    // Version 0 of Metadata says "all topics" with an empty array, not with null.
    let topics = MetadataRequest::decode(&mut Reader::new(&null), 0);
    assert_eq!(why(topics.err()), "null where an array must be");
    let topics = MetadataRequest::decode(&mut Reader::new(&null), 1).expect("null means all");
    assert_eq!(topics.topics, None);
}

#[test]
fn strings_are_short_utf8() {
    let body = bytes(&[&[3, 0xc3, 0x28]]);
    assert_eq!(
        why(Reader::new(&body).string(true).err()),
        "string is not UTF-8"
    );
    // 32 768 bytes, as a compact length.
    let body = bytes(&[&[0x81, 0x80, 0x02], &vec![b'x'; 32_768]]);
    assert_eq!(
        why(Reader::new(&body).string(true).err()),
        "string too long"
    );
    let body = bytes(&[&[0x80, 0x80, 0x02], &vec![b'x'; 32_767]]);
    assert!(Reader::new(&body).string(true).is_ok());
}

#[test]
fn varints_end() {
    let good = bytes(&[&[0xff, 0xff, 0xff, 0xff, 0x0f]]);
    assert_eq!(Reader::new(&good).uvarint(), Ok(u32::MAX));
    let wide = bytes(&[&[0xff, 0xff, 0xff, 0xff, 0x1f]]);
    assert_eq!(
        why(Reader::new(&wide).uvarint().err()),
        "variable-length integer beyond 32 bits"
    );
    let endless = bytes(&[&[0x80; 32]]);
    assert_ne!(why(Reader::new(&endless).uvarint().err()), "not malformed");
    // Redundant zeros are legal, up to the fifth byte.
    let redundant = bytes(&[&[0x81, 0x80, 0x80, 0x80, 0x00]]);
    assert_eq!(Reader::new(&redundant).uvarint(), Ok(1));
}

#[test]
fn tagged_field_bombs() {
    let count = TAGS_MAX + 1;
    let body = bytes(&[&[0x91, 0x4e], &vec![0; 2 * count as usize]]);
    assert_eq!(Reader::new(&body).uvarint(), Ok(count));
    assert_eq!(
        why(Reader::new(&body).skip_tags().err()),
        "too many tagged fields"
    );
    let size_bomb = bytes(&[&[1, 7, 0xff, 0xff, 0xff, 0xff, 0x0f]]);
    assert_eq!(Reader::new(&size_bomb).skip_tags(), Err(Error::Incomplete));
}

#[test]
fn tagged_fields_have_the_size_they_say() {
    let known = |_tag, r: &mut Reader<'_>| r.i16().map(|_| true);
    let exact = bytes(&[&[1, 0, 2, 0, 9]]);
    assert_eq!(Reader::new(&exact).tags(known), Ok(()));
    let longer = bytes(&[&[1, 0, 3, 0, 9, 9]]);
    assert_eq!(
        why(Reader::new(&longer).tags(known).err()),
        "bytes after the end"
    );
    let shorter = bytes(&[&[1, 0, 1, 0, 9]]);
    let error = Reader::new(&shorter).tags(known).err();
    assert_eq!(why(error), "tagged field shorter than its content");
}
