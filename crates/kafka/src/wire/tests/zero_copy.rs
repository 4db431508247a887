//! Record batches pass through without a copy, in both directions.

use std::borrow::Cow;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use super::bytes_of;
use crate::wire::fetch::{FetchableTopicResponse, PartitionData};
use crate::wire::produce::{PartitionProduceData, TopicProduceData};
use crate::wire::{
    ApiKey, FetchResponse, Message as _, ProduceRequest, Reader, Records, Segments, frame,
};

fn partition(index: i32, records: Records) -> PartitionData {
    PartitionData {
        partition_index: index,
        records,
        ..PartitionData::default()
    }
}

fn answer(partitions: Vec<PartitionData>) -> Segments {
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: Cow::Borrowed("t"),
            partitions,
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    };
    let mut w = frame::encode_response_header(ApiKey::Fetch, 12, 5).expect("a header");
    response.encode(&mut w, 12).expect("fits version 12");
    w.finish().expect("small")
}

#[test]
fn large_records_are_their_own_segments() {
    let (first, second) = (Bytes::from(vec![1; 4096]), Bytes::from(vec![2; 8192]));
    let tiny = Bytes::from_static(b"tiny");
    let segments = answer(vec![
        partition(0, Records::One(first.clone())),
        partition(1, Records::Many(vec![second.clone(), tiny])),
    ]);
    let parts: Vec<&Bytes> = segments.parts().collect();
    assert_eq!(parts.len(), 5, "head, batch, head, batch, tail");
    assert!(parts.iter().any(|part| part.as_ptr() == first.as_ptr()));
    assert!(parts.iter().any(|part| part.as_ptr() == second.as_ptr()));
}

#[test]
fn the_prefix_counts_all_segments() {
    let segments = answer(vec![partition(0, Records::One(Bytes::from(vec![1; 4096])))]);
    let total = segments.len();
    let mut whole = segments.into_bytes();
    assert_eq!(whole.len(), total);
    let prefix = usize::try_from(whole.get_u32()).expect("small");
    assert_eq!(prefix, whole.len());
    let mut r = Reader::new(&whole);
    let correlation = frame::decode_response_header(&mut r, ApiKey::Fetch, 12);
    assert_eq!(correlation, Ok(5));
    let response = FetchResponse::decode(&mut r, 12).expect("just encoded");
    r.finish().expect("nothing follows");
    let topic = response.responses.first().expect("one topic");
    let partition = topic.partitions.first().expect("one partition");
    assert_eq!(partition.records.len(), 4096);
}

#[test]
fn segments_are_written_piece_by_piece() {
    let batches = || vec![partition(0, Records::One(Bytes::from(vec![7; 1000]))); 3];
    let whole = answer(batches()).into_bytes();
    for step in [1, 3, 100, 999, 5000] {
        let mut segments = answer(batches());
        let mut written = Vec::new();
        while segments.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = segments.chunks_vectored(&mut slices);
            let ready = slices.iter().take(filled).flat_map(|slice| slice.iter());
            let before = written.len();
            written.extend(ready.take(step).copied());
            segments.advance(written.len() - before);
        }
        assert_eq!(written, whole, "in steps of {step}");
        assert!(segments.is_empty());
    }
}

#[test]
fn decoded_records_lie_in_the_frame() {
    let request = ProduceRequest {
        topic_data: vec![TopicProduceData {
            name: Cow::Borrowed("t"),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Records::One(Bytes::from(vec![9; 10_000])),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let frame = bytes_of(|w| request.encode(w, 9));
    let decoded = ProduceRequest::decode(&mut Reader::new(&frame), 9).expect("just encoded");
    let topic = decoded.topic_data.first().expect("one topic");
    assert!(matches!(topic.name, Cow::Borrowed("t")));
    let partition = topic.partition_data.first().expect("one partition");
    let part = partition.records.parts().first().expect("not null");
    assert!(frame.as_ptr_range().contains(&part.as_ptr()));
}

#[test]
fn null_and_empty_records_differ() {
    assert_ne!(Records::Null, Records::One(Bytes::new()));
    assert_eq!(Records::Many(Vec::new()), Records::One(Bytes::new()));
    let halves = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
    assert_eq!(
        Records::from(halves),
        Records::from(Bytes::from_static(b"abc"))
    );
    assert!(Records::Null.is_empty());
    assert_eq!(Records::Null.len(), 0);
}
