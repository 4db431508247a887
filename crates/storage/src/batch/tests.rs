//! Batches: round trips, captured bytes, and everything a hostile peer may change.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Batch, BatchBuilder, BatchError};

fn sample(values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(1_000);
    for (i, value) in values.iter().enumerate() {
        builder.push(
            1_000 + i as i64,
            Some(b"k"),
            Some(value.as_bytes()),
            &[("h", b"x")],
        );
    }
    builder.build()
}

#[test]
fn built_batches_parse_and_read_back() {
    let batch = sample(&["a", "bb", ""]).placed(40, 7, None);
    let mut bytes = batch.to_bytes();
    let parsed = Batch::split_first(&mut bytes).expect("valid");
    assert!(bytes.is_empty());
    assert_eq!(parsed.header, batch.header);
    let records: Vec<_> = parsed
        .records()
        .expect("plain")
        .map(|r| r.expect("well formed"))
        .collect();
    assert_eq!(
        records.iter().map(|r| r.offset).collect::<Vec<_>>(),
        [40, 41, 42]
    );
    assert_eq!(records[1].timestamp, 1_001);
    assert_eq!(records[1].value.as_deref(), Some(&b"bb"[..]));
    assert_eq!(records[2].headers[0].0, "h");
}

#[test]
fn placing_touches_nothing_the_checksum_covers() {
    let batch = sample(&["a"]);
    let placed = batch.clone().placed(1 << 40, 3, None);
    assert_eq!(placed.header.crc, batch.header.crc);
    Batch::split_first(&mut placed.to_bytes()).expect("still valid");
}

#[test]
fn append_time_renews_the_checksum() {
    let placed = sample(&["a", "b"]).placed(5, 0, Some(99_000));
    let parsed = Batch::split_first(&mut placed.to_bytes()).expect("valid after the rewrite");
    assert!(parsed.header.is_append_time());
    let record = parsed
        .records()
        .expect("plain")
        .next()
        .expect("one")
        .expect("well formed");
    assert_eq!(record.timestamp, 99_000);
}

#[test]
fn large_batches_share_their_records() {
    let value = "x".repeat(10_000);
    let bytes = sample(&[&value]).to_bytes();
    let parsed = Batch::split_first(&mut bytes.clone()).expect("valid");
    let placed = parsed.placed(9, 0, None);
    assert_eq!(
        placed.body().as_ptr(),
        bytes[super::HEADER_BYTES..].as_ptr()
    );
}

#[test]
fn flipped_bits_are_found() {
    let good = sample(&["hello", "world"]).to_bytes();
    for position in 16..good.len() {
        let mut bad = good.to_vec();
        bad[position] ^= 0x10;
        let result = Batch::split_first(&mut Bytes::from(bad));
        assert!(result.is_err(), "a flip at {position} went unnoticed");
    }
}

#[test]
fn counts_and_codecs_must_agree() {
    let mut header = sample(&["a"]).header;
    header.record_count = 2;
    assert!(matches!(header.check(), Err(BatchError::Inconsistent(_))));
    header.record_count = 1;
    header.attributes = 5;
    assert!(matches!(header.check(), Err(BatchError::Inconsistent(_))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        super::fuzz(&bytes);
        // Behind a sound batch, and with its framing intact, noise gets further.
        let mut bytes = [sample(&["x"]).to_bytes().to_vec(), bytes].concat();
        super::fuzz(&bytes);
        bytes[61..72].fill(0xff);
        super::fuzz(&bytes);
    }

    #[test]
    fn damaged_records_never_panic(at in 61usize..150, to in any::<u8>()) {
        let mut bytes = sample(&["hello", "world", "again and again"]).to_bytes().to_vec();
        if let Some(byte) = bytes.get_mut(at) { *byte = to; }
        let batch = Batch::split_trusted(&mut Bytes::from(bytes)).expect("the frame is intact");
        let _ = batch.records().expect("plain").count();
    }

    #[test]
    fn truncated_batches_are_refused(keep in 0usize..120) {
        let mut bytes = sample(&["hello", "world", "again and again", "and more"]).to_bytes();
        prop_assume!(keep < bytes.len());
        bytes.truncate(keep);
        prop_assert!(Batch::split_first(&mut bytes).is_err());
    }
}
