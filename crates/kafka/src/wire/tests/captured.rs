//! Frames as clients send them and expect them, byte by byte.

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::api_versions::ApiVersion;
use crate::wire::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, HeartbeatResponse,
    Message, MetadataRequest, ProduceRequest, Reader, RequestHeader, frame,
};

/// Bytes from hexadecimal digits, and from text in quotes.
fn frame_of(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word
            .strip_prefix('"')
            .and_then(|word| word.strip_suffix('"'))
        {
            Some(text) => bytes.extend(text.as_bytes()),
            None => bytes.push(u8::from_str_radix(word, 16).expect("two hexadecimal digits")),
        }
    }
    Bytes::from(bytes)
}

fn header<'a>(r: &mut Reader<'a>) -> RequestHeader<'a> {
    frame::decode_request_header(r).expect("a valid header")
}

fn body<'a, M: Message<'a>>(mut r: Reader<'a>, version: i16) -> M {
    let body = M::decode(&mut r, version).expect("a valid body");
    r.finish().expect("nothing follows");
    body
}

/// The first frame librdkafka sends. The client id keeps its two-byte length although the header is flexible.
#[test]
fn api_versions_of_librdkafka() {
    let frame = frame_of(
        "00 12 00 03 00 00 00 01 00 07 \"rdkafka\" 00
         0b \"librdkafka\" 06 \"2.3.0\" 00",
    );
    let mut r = Reader::new(&frame);
    let header = header(&mut r);
    assert_eq!(header.request_api_key, i16::from(ApiKey::ApiVersions));
    assert_eq!(header.request_api_version, 3);
    assert_eq!(header.correlation_id, 1);
    assert_eq!(header.client_id.as_deref(), Some("rdkafka"));
    let body: ApiVersionsRequest<'_> = body(r, 3);
    assert_eq!(body.client_software_name, "librdkafka");
    assert_eq!(body.client_software_version, "2.3.0");
}

/// A newer client than us: the header is still readable, the body is not.
#[test]
fn api_versions_of_the_future() {
    let frame = frame_of("00 12 00 63 00 00 00 2a ff ff 00 01 02 03");
    let mut r = Reader::new(&frame);
    let header = header(&mut r);
    assert_eq!(
        (header.request_api_version, header.correlation_id),
        (99, 42)
    );
    assert_eq!(header.client_id, None);
    assert!(ApiVersionsRequest::decode(&mut r, 99).is_err());
}

/// The answer to it: framed as version 0, error 35, naming only the range of `ApiVersions` itself.
#[test]
fn answer_to_an_unknown_version() {
    let response = ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![ApiVersion {
            api_key: 18,
            min_version: 0,
            max_version: 5,
        }],
        ..ApiVersionsResponse::default()
    };
    let key = ApiKey::ApiVersions;
    let mut w = frame::encode_response_header(key, 0, 42).expect("a header");
    response.encode(&mut w, 0).expect("fits version 0");
    let expected = frame_of("00 00 00 10 00 00 00 2a 00 23 00 00 00 01 00 12 00 00 00 05");
    assert_eq!(w.finish().expect("small").into_bytes(), expected);
}

/// Flexible body behind the oldest header, with tagged features.
#[test]
fn api_versions_answer_has_no_tags_in_its_header() {
    let response = ApiVersionsResponse {
        finalized_features_epoch: 3,
        ..ApiVersionsResponse::default()
    };
    let key = ApiKey::ApiVersions;
    let mut w = frame::encode_response_header(key, 3, 1).expect("a header");
    response.encode(&mut w, 3).expect("fits version 3");
    let expected = frame_of(
        "00 00 00 16 00 00 00 01
         00 00 01 00 00 00 00
         01 01 08 00 00 00 00 00 00 00 03",
    );
    assert_eq!(w.finish().expect("small").into_bytes(), expected);
}

/// Version 1 as kafka-go pins it; null asks for all topics.
#[test]
fn metadata_for_all_topics() {
    let frame = frame_of("00 03 00 01 00 00 00 02 00 03 \"kgo\" ff ff ff ff");
    let mut r = Reader::new(&frame);
    assert_eq!(header(&mut r).client_id.as_deref(), Some("kgo"));
    assert_eq!(body::<MetadataRequest<'_>>(r, 1).topics, None);
}

/// Version 4 and later ask for several keys at once.
#[test]
fn find_coordinator_in_batches() {
    let frame = frame_of("00 0a 00 04 00 00 00 03 ff ff 00 00 03 02 \"a\" 02 \"b\" 00");
    let mut r = Reader::new(&frame);
    header(&mut r);
    let body: FindCoordinatorRequest<'_> = body(r, 4);
    assert_eq!(
        body.coordinator_keys,
        [Cow::Borrowed("a"), Cow::Borrowed("b")]
    );
}

/// Produce version 3, the oldest: no transactional id, acks -1, 1500 ms, one topic, one partition, five bytes.
#[test]
fn produce_version_three() {
    let frame = frame_of(
        "00 00 00 03 00 00 00 04 00 01 \"c\"
         ff ff ff ff 00 00 05 dc
         00 00 00 01 00 06 \"orders\"
         00 00 00 01 00 00 00 02 00 00 00 05 \"batch\"",
    );
    let mut r = Reader::new(&frame);
    header(&mut r);
    let body: ProduceRequest<'_> = body(r, 3);
    assert_eq!((body.acks, body.timeout_ms), (-1, 1500));
    let topic = body.topic_data.first().expect("one topic");
    assert_eq!(topic.name, "orders");
    let partition = topic.partition_data.first().expect("one partition");
    assert_eq!(partition.index, 2);
    assert_eq!(partition.records.parts(), [Bytes::from_static(b"batch")]);
}

/// A flexible answer: tag sections after the header and after the body.
#[test]
fn heartbeat_answer() {
    let mut w = frame::encode_response_header(ApiKey::Heartbeat, 4, 9).expect("a header");
    let response = HeartbeatResponse {
        throttle_time_ms: 0,
        error_code: 27,
    };
    response.encode(&mut w, 4).expect("fits version 4");
    let expected = frame_of("00 00 00 0c 00 00 00 09 00 00 00 00 00 00 1b 00");
    assert_eq!(w.finish().expect("small").into_bytes(), expected);
}

/// Tagged fields from a later release are skipped.
#[test]
fn unknown_tags_are_skipped() {
    let frame = frame_of(
        "00 12 00 03 00 00 00 01 ff ff 01 05 02 aa bb
         02 \"n\" 02 \"v\" 02 63 01 00 64 00",
    );
    let mut r = Reader::new(&frame);
    header(&mut r);
    let body: ApiVersionsRequest<'_> = body(r, 3);
    assert_eq!(body.client_software_version, "v");
}
