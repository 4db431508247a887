//! Batches: round trips, captured bytes, and everything a hostile peer may change.

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Batch, BatchBuilder, BatchError, BatchHeader, Fault, OPENED_BYTES_MAX, Outlines, RECORDS_MAX,
    Refusal, Rules,
};

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
    let records: Vec<_> = parsed.records().map(|r| r.expect("well formed")).collect();
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
    let record = parsed.records().next().expect("one").expect("well formed");
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

/// One record as it goes over the wire; `lies` change what it says of itself.
#[derive(Clone)]
struct Wire {
    offset: i64,
    time: i64,
    key: Option<&'static [u8]>,
    value: Vec<u8>,
    headers: Vec<(Option<&'static str>, Option<&'static [u8]>)>,
    header_count: Option<i64>,
    longer: i64,
    value_longer: i64,
}

fn wire(offset: i64) -> Wire {
    Wire {
        offset,
        time: offset,
        key: Some(b"k"),
        value: b"value".to_vec(),
        headers: vec![(Some("h"), Some(b"x")), (Some("n"), None)],
        header_count: None,
        longer: 0,
        value_longer: 0,
    }
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

fn optional(out: &mut Vec<u8>, bytes: Option<&[u8]>, longer: i64) {
    varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64 + longer));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn body(records: &[Wire]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        let mut out = vec![0];
        varint(&mut out, record.time);
        varint(&mut out, record.offset);
        optional(&mut out, record.key, 0);
        optional(&mut out, Some(&record.value), record.value_longer);
        let count = record.headers.len() as i64;
        varint(&mut out, record.header_count.unwrap_or(count));
        for (name, value) in &record.headers {
            optional(&mut out, name.map(str::as_bytes), 0);
            optional(&mut out, *value, 0);
        }
        varint(&mut body, out.len() as i64 + record.longer);
        body.extend(out);
    }
    body
}

/// A batch that says that it holds `count` records in `codec`.
fn batch_of(codec: i16, count: i32, body: &[u8]) -> Batch {
    let mut header = BatchHeader {
        length: u32::try_from(body.len() + 49).unwrap(),
        attributes: codec,
        last_offset_delta: count - 1,
        base_timestamp: 1_000,
        max_timestamp: 1_000 + i64::from(count) - 1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
        ..BatchHeader::default()
    };
    header.crc = crc32c::crc32c_append(crc32c::crc32c(&header.checked_part()), body);
    let mut bytes = Bytes::from([&header.encode()[..], body].concat());
    Batch::split_first(&mut bytes).expect("its header is sound")
}

fn compress(codec: i16, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match codec {
        0 => plain.to_vec(),
        1 => {
            let level = flate2::Compression::default();
            let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        3 => lz4(plain, lz4_flex::frame::FrameInfo::new()),
        _ => zstd::encode_all(plain, 3).unwrap(),
    }
}

fn lz4(plain: &[u8], info: lz4_flex::frame::FrameInfo) -> Vec<u8> {
    use std::io::Write;
    let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    out.write_all(plain).unwrap();
    out.finish().unwrap()
}

/// Blocks in the frame that clients of the second codec put around them.
fn framed(plain: &[u8], block: usize) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    for block in plain.chunks(block) {
        let block = compress(2, block);
        out.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        out.extend(block);
    }
    out
}

fn many(count: i64) -> Vec<Wire> {
    let large = |i| Wire {
        value: format!("{i} ").repeat(50).into_bytes(),
        ..wire(i)
    };
    (0..count).map(large).collect()
}

#[test]
fn every_framing_of_every_codec_is_read_as_it_opens() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameInfo};
    let plain = body(&many(2_000));
    let info = |mode, size| {
        FrameInfo::new()
            .block_mode(mode)
            .block_size(size)
            .content_checksum(true)
            .block_checksums(true)
    };
    let with_size = FrameInfo::new().content_size(Some(plain.len() as u64));
    let (first, second) = plain.split_at(100_000);
    let bodies = [
        (0, plain.clone()),
        (1, compress(1, &plain)),
        (1, [compress(1, first), compress(1, second)].concat()),
        (2, compress(2, &plain)),
        (2, framed(&plain, 32 << 10)),
        (2, [framed(first, 7_000), framed(second, 65_536)].concat()),
        (3, compress(3, &plain)),
        (3, lz4(&plain, with_size)),
        (
            3,
            lz4(&plain, info(BlockMode::Independent, BlockSize::Max64KB)),
        ),
        (3, lz4(&plain, info(BlockMode::Linked, BlockSize::Max4MB))),
        (4, compress(4, &plain)),
        (4, zstd::encode_all(&plain[..], 19).unwrap()),
        (4, [compress(4, first), compress(4, second)].concat()),
    ];
    for (i, (codec, body)) in bodies.into_iter().enumerate() {
        let batch = batch_of(codec, 2_000, &body);
        let rules = Rules {
            outlines: Outlines::Keys,
            ..Rules::default()
        };
        let checked = batch.check(&rules).unwrap_or_else(|e| panic!("{i}: {e:?}"));
        assert_eq!(checked.max_timestamp, 2_999, "{i}");
        let outlines = checked.outlines.unwrap();
        assert_eq!(outlines.len(), 2_000, "{i}");
        assert_eq!(outlines[1_999].value_bytes, 250, "{i}");
        assert_eq!(outlines[7].key.as_deref(), Some(&b"k"[..]), "{i}");
        assert!(batch.outlines(true).eq(outlines), "{i}");
        let mut records = batch.records();
        records.skip_to(1_500).unwrap();
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.offset, record.timestamp), (1_500, 2_500), "{i}");
        assert_eq!(record.value.unwrap(), "1500 ".repeat(50), "{i}");
        assert_eq!(records.count(), 499, "{i}");
        assert!(batch.is_whole(), "{i}");
    }
}

#[test]
fn what_a_record_says_of_itself_is_not_believed() {
    let lie = |change: fn(&mut Wire)| {
        let mut records = vec![wire(0), wire(1), wire(2)];
        change(&mut records[1]);
        body(&records)
    };
    let sound = body(&[wire(0), wire(1), wire(2)]);
    let cases = [
        ("a longer record", lie(|r| r.longer = 1)),
        ("a shorter record", lie(|r| r.longer = -1)),
        ("a record beyond the batch", lie(|r| r.longer = 1 << 30)),
        ("a negative length", lie(|r| r.longer = -1_000)),
        ("a longer value", lie(|r| r.value_longer = 1)),
        (
            "a value beyond the record",
            lie(|r| r.value_longer = 1 << 30),
        ),
        ("a value of negative length", lie(|r| r.value_longer = -7)),
        ("fewer headers", lie(|r| r.header_count = Some(1))),
        ("more headers", lie(|r| r.header_count = Some(3))),
        (
            "two thousand million headers",
            lie(|r| r.header_count = Some(i64::from(i32::MAX))),
        ),
        ("no number of headers", lie(|r| r.header_count = Some(-1))),
        ("a header without a name", lie(|r| r.headers[0].0 = None)),
        (
            "an offset of more than 32 bits",
            lie(|r| r.offset = 1 << 40),
        ),
        ("bytes behind the records", [&sound[..], b"\0"].concat()),
        ("a record cut short", sound[..sound.len() - 1].to_vec()),
        ("fewer records", body(&[wire(0), wire(1)])),
        ("more records", body(&[wire(0), wire(1), wire(2), wire(3)])),
    ];
    for (what, plain) in cases {
        for codec in 0..=4 {
            let batch = batch_of(codec, 3, &compress(codec, &plain));
            let refused = batch.check(&Rules::default());
            assert!(
                matches!(refused, Err(Refusal::Batch(BatchError::Inconsistent(_)))),
                "{what} in {codec}: {refused:?}"
            );
            // A reader that reads it all the same comes to an end, with no more records than there are.
            let read = batch.records().flatten().count();
            assert!(read <= 3, "{what} in {codec}");
            assert!(!batch.is_whole(), "{what} in {codec}");
        }
    }
}

#[test]
fn single_records_are_named_with_their_fault() {
    let rules = Rules {
        keyed: true,
        timestamps: Some((900, 1_050)),
        ..Rules::default()
    };
    let mut records: Vec<Wire> = (0..6).map(wire).collect();
    records[1].key = None;
    records[2].time = 51;
    records[3].time = -101;
    records[4].offset = 1;
    // No time of its own.
    records[5].time = -1_001;
    for codec in 0..=4 {
        let batch = batch_of(codec, 6, &compress(codec, &body(&records)));
        let first = vec![
            (1, Fault::NoKey),
            (2, Fault::Timestamp(1_051)),
            (3, Fault::Timestamp(899)),
            (4, Fault::Offset(1)),
        ];
        let expected = Refusal::Records { count: 4, first };
        assert_eq!(batch.check(&rules), Err(expected));
    }
    records.truncate(1);
    records[0].time = i64::MAX;
    let batch = batch_of(0, 1, &body(&records));
    assert!(matches!(batch.check(&rules), Err(Refusal::Records { .. })));
    assert!(
        batch.check(&Rules::default()).is_ok(),
        "nobody asks for its time"
    );
}

#[test]
fn offsets_must_be_dense_and_places_count() {
    for deltas in [[1, 0], [0, 0], [0, 7], [0, i64::from(i32::MAX)], [-1, 0]] {
        let records = deltas.map(|delta| Wire {
            offset: delta,
            ..wire(0)
        });
        let batch = batch_of(0, 2, &body(&records)).placed(50, 0, None);
        assert!(matches!(
            batch.check(&Rules::default()),
            Err(Refusal::Records { .. })
        ));
        let offsets: Vec<u64> = batch.records().map(|r| r.unwrap().offset).collect();
        assert_eq!(offsets, [50, 51]);
    }
}

#[test]
fn what_opens_to_too_much_is_refused_within_bounds() {
    let bomb = vec![0; OPENED_BYTES_MAX + 1];
    for codec in [1, 2, 3, 4] {
        let batch = batch_of(codec, 1, &compress(codec, &bomb));
        let small = Rules {
            opened_bytes_max: 1 << 20,
            ..Rules::default()
        };
        // Its first record is empty, and what follows it is not even opened.
        let refused = batch.check(&small);
        assert!(
            matches!(refused, Err(Refusal::Batch(_))),
            "{codec}: {refused:?}"
        );
        assert!(batch.opening_bytes() <= OPENED_BYTES_MAX);
    }
    let long = Wire {
        value: vec![0; 4 << 20],
        ..wire(0)
    };
    for codec in [1, 2, 3, 4] {
        let batch = batch_of(
            codec,
            1,
            &compress(codec, &body(std::slice::from_ref(&long))),
        );
        let small = Rules {
            opened_bytes_max: 1 << 20,
            ..Rules::default()
        };
        assert_eq!(
            batch.check(&small),
            Err(BatchError::Opened.into()),
            "{codec}"
        );
        assert!(batch.check(&Rules::default()).is_ok(), "{codec}");
    }
}

#[test]
fn counts_nobody_could_keep_end_at_once() {
    for codec in [1, 2, 3, 4] {
        let batch = batch_of(codec, i32::MAX, &compress(codec, b""));
        assert_eq!(
            batch.check(&Rules::default()),
            Err(BatchError::Opened.into())
        );
        assert_eq!(batch.outlines(true).count(), 0);
        assert_eq!(batch.records().filter(Result::is_err).count(), 1);
    }
    let few = i32::try_from(RECORDS_MAX).unwrap();
    let batch = batch_of(1, few, &compress(1, b""));
    assert!(matches!(
        batch.check(&Rules::default()),
        Err(Refusal::Batch(BatchError::Inconsistent(_)))
    ));
    let batch = batch_of(0, 3, &body(&[wire(0)])[..10]);
    assert!(batch.check(&Rules::default()).is_err());
}

#[test]
fn bytes_that_are_not_what_the_codec_says_are_refused() {
    let plain = body(&many(20));
    for codec in [1, 2, 3, 4] {
        let packed = compress(codec, &plain);
        let mut cases = vec![
            ("other bytes", plain.clone()),
            ("none", Vec::new()),
            ("cut short", packed[..packed.len() / 2].to_vec()),
            (
                "garbage behind",
                [&packed[..], b"garbage and more"].concat(),
            ),
        ];
        if codec == 3 {
            cases.push(("a second frame behind", [&packed[..], &packed].concat()));
        }
        for (what, body) in cases {
            let refused = batch_of(codec, 20, &body).check(&Rules::default());
            assert!(
                matches!(refused, Err(Refusal::Batch(_))),
                "{what} in {codec}: {refused:?}"
            );
        }
    }
    let mut claims = framed(&plain, 1 << 20);
    claims.splice(20.., [0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    claims[16..20].copy_from_slice(&6u32.to_be_bytes());
    assert!(batch_of(2, 20, &claims).check(&Rules::default()).is_err());
}

#[test]
fn the_greatest_timestamp_is_put_right() {
    let batch = batch_of(0, 2, &body(&[wire(0), wire(5)]));
    let renewed = batch.clone().with_max_timestamp(1_005);
    let again = Batch::split_first(&mut renewed.to_bytes()).expect("the checksum was renewed");
    assert_eq!(again.header.max_timestamp, 1_005);
    let same = batch.clone().with_max_timestamp(batch.header.max_timestamp);
    assert_eq!(same.to_bytes(), batch.to_bytes());
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
        let _ = batch.records().count();
    }

    #[test]
    fn truncated_batches_are_refused(keep in 0usize..120) {
        let mut bytes = sample(&["hello", "world", "again and again", "and more"]).to_bytes();
        prop_assume!(keep < bytes.len());
        bytes.truncate(keep);
        prop_assert!(Batch::split_first(&mut bytes).is_err());
    }
}
