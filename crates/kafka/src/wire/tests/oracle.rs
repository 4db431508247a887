//! Agreement with an independent codec, in every version both know: what we encode it decodes, and encodes to the
//! same bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey as TheirKey, ConsumerProtocolAssignment as TheirAssignment,
    ConsumerProtocolSubscription as TheirSubscription, RequestHeader as TheirHeader, RequestKind,
    ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::random::RandomSource;
use super::sample::Sample as _;
use super::{bytes_of, decode_request, decode_response, for_each_version, requests, responses};
use crate::wire::{
    ApiKey, ConsumerProtocolAssignment, ConsumerProtocolSubscription, Reader, RequestHeader,
};

/// Fewest comparisons that make these tests worth their time.
const COMPARED_MIN: usize = 3_000;

/// Requests the other codec announces but cannot decode, because their version was unstable at its schema level. It
/// takes their range from the responses.
const REQUESTS_EXCEPTED: &[(ApiKey, i16)] =
    &[(ApiKey::OffsetCommit, 10), (ApiKey::OffsetFetch, 10)];

/// The other codec's key, if it knows this version.
fn theirs(key: ApiKey, version: i16) -> Option<TheirKey> {
    let theirs = TheirKey::try_from(i16::from(key)).ok()?;
    let known = theirs.valid_versions();
    (known.min..=known.max).contains(&version).then_some(theirs)
}

fn request_through_theirs(key: TheirKey, bytes: &Bytes, version: i16) -> Result<Bytes, String> {
    let (mut input, mut output) = (bytes.clone(), BytesMut::new());
    let decoded = RequestKind::decode(key, &mut input, version).map_err(|e| e.to_string())?;
    assert!(input.is_empty(), "{key:?} v{version}: bytes left over");
    let encoded = decoded.encode(&mut output, version);
    encoded.map_err(|e| e.to_string())?;
    Ok(output.freeze())
}

fn response_through_theirs(key: TheirKey, bytes: &Bytes, version: i16) -> Result<Bytes, String> {
    let (mut input, mut output) = (bytes.clone(), BytesMut::new());
    let decoded = ResponseKind::decode(key, &mut input, version).map_err(|e| e.to_string())?;
    assert!(input.is_empty(), "{key:?} v{version}: bytes left over");
    let encoded = decoded.encode(&mut output, version);
    encoded.map_err(|e| e.to_string())?;
    Ok(output.freeze())
}

#[test]
fn requests_agree() {
    let mut compared = 0;
    for_each_version(|key, version| {
        let Some(theirs) = theirs(key, version) else {
            return;
        };
        if REQUESTS_EXCEPTED.contains(&(key, version)) {
            return;
        }
        for sample in requests(key, version) {
            let ours = bytes_of(|w| sample.encode(w, version));
            let again = request_through_theirs(theirs, &ours, version);
            assert_eq!(again.as_ref(), Ok(&ours), "{key:?} v{version}: {sample:?}");
            let decoded = decode_request(key, &ours, version);
            assert_eq!(decoded.as_ref(), Ok(&sample), "{key:?} v{version}");
            compared += 1;
        }
    });
    assert!(compared >= COMPARED_MIN, "only {compared} compared");
}

#[test]
fn responses_agree() {
    let mut compared = 0;
    for_each_version(|key, version| {
        let Some(theirs) = theirs(key, version) else {
            return;
        };
        for sample in responses(key, version) {
            let ours = bytes_of(|w| sample.encode(w, version));
            let again = response_through_theirs(theirs, &ours, version);
            assert_eq!(again.as_ref(), Ok(&ours), "{key:?} v{version}: {sample:?}");
            let decoded = decode_response(key, &ours, version);
            assert_eq!(decoded.as_ref(), Ok(&sample), "{key:?} v{version}");
            compared += 1;
        }
    });
    assert!(compared >= COMPARED_MIN, "only {compared} compared");
}

#[test]
fn header_versions_agree() {
    for_each_version(|key, version| {
        if let Some(theirs) = theirs(key, version) {
            let ours = key.request_header_version(version);
            assert_eq!(
                ours,
                theirs.request_header_version(version),
                "{key:?} v{version}"
            );
            let ours = key.response_header_version(version);
            assert_eq!(
                ours,
                theirs.response_header_version(version),
                "{key:?} v{version}"
            );
        }
    });
}

/// Bytes through the other codec, for messages without a key.
fn through<T: Decodable + Encodable>(bytes: &Bytes, version: i16) -> Bytes {
    let (mut input, mut output) = (bytes.clone(), BytesMut::new());
    let decoded = T::decode(&mut input, version).expect("valid in their eyes");
    assert!(input.is_empty(), "v{version}: bytes left over");
    decoded.encode(&mut output, version).expect("just decoded");
    output.freeze()
}

#[test]
fn request_headers_agree() {
    let mut random = RandomSource::new(1);
    for version in [1, 2] {
        let ours = RequestHeader::sample(&mut random, version);
        let bytes = bytes_of(|w| ours.encode(w, version));
        assert_eq!(through::<TheirHeader>(&bytes, version), bytes, "v{version}");
        let decoded = RequestHeader::decode(&mut Reader::new(&bytes), version);
        assert_eq!(decoded, Ok(ours));
    }
}

#[test]
fn consumer_protocol_agrees() {
    let mut random = RandomSource::new(2);
    for version in [0, 1, 2, 3].repeat(10) {
        let ours = ConsumerProtocolSubscription::sample(&mut random, version);
        let bytes = bytes_of(|w| ours.encode(w, version));
        assert_eq!(
            through::<TheirSubscription>(&bytes, version),
            bytes,
            "v{version}"
        );
        let decoded = ConsumerProtocolSubscription::decode(&mut Reader::new(&bytes), version);
        assert_eq!(decoded, Ok(ours));

        let ours = ConsumerProtocolAssignment::sample(&mut random, version);
        let bytes = bytes_of(|w| ours.encode(w, version));
        assert_eq!(
            through::<TheirAssignment>(&bytes, version),
            bytes,
            "v{version}"
        );
        let decoded = ConsumerProtocolAssignment::decode(&mut Reader::new(&bytes), version);
        assert_eq!(decoded, Ok(ours));
    }
}
