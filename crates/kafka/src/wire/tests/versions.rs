//! The rules for fields that a version lacks, and the table of versions itself.

use std::borrow::Cow;

use super::bytes_of;
use crate::wire::create_topics::CreatableTopic;
use crate::wire::metadata::MetadataRequestTopic;
use crate::wire::produce::TopicProduceData;
use crate::wire::{
    ApiKey, CreateTopicsRequest, Error, FetchRequest, FindCoordinatorRequest, JoinGroupRequest,
    Message, MetadataRequest, ProduceRequest, Reader, SaslHandshakeRequest, Writer,
};

fn refused<'a>(message: &impl Message<'a>, version: i16) -> Option<Error> {
    message.encode(&mut Writer::bare(), version).err()
}

#[test]
fn unknown_versions_are_refused() {
    let error = Error::Unsupported {
        what: "ProduceRequest",
        version: 2,
    };
    assert_eq!(refused(&ProduceRequest::default(), 2), Some(error));
    let body = bytes::Bytes::from_static(&[0; 64]);
    let decoded = ProduceRequest::decode(&mut Reader::new(&body), 2);
    assert_eq!(decoded, Err(error));
    assert!(ProduceRequest::decode(&mut Reader::new(&body), 14).is_err());
    assert!(ProduceRequest::decode(&mut Reader::new(&body), -1).is_err());
}

#[test]
fn a_value_the_version_cannot_carry_is_refused() {
    let request = FindCoordinatorRequest {
        key_type: 1,
        ..FindCoordinatorRequest::default()
    };
    let error = Error::Unsupported {
        what: "key_type",
        version: 0,
    };
    assert_eq!(refused(&request, 0), Some(error));
    assert_eq!(refused(&request, 1), None);
}

#[test]
fn an_ignorable_value_is_dropped() {
    let request = ProduceRequest {
        topic_data: vec![TopicProduceData {
            name: Cow::Borrowed("t"),
            topic_id: uuid::Uuid::from_u128(7),
            partition_data: Vec::new(),
        }],
        ..ProduceRequest::default()
    };
    let name = |version| {
        let bytes = bytes_of(|w| request.encode(w, version));
        let decoded = ProduceRequest::decode(&mut Reader::new(&bytes), version);
        let decoded = decoded.expect("just encoded");
        let topic = decoded.topic_data.first().expect("one topic");
        (topic.name.clone().into_owned(), topic.topic_id.as_u128())
    };
    assert_eq!(name(12), ("t".to_owned(), 0));
    assert_eq!(name(13), (String::new(), 7));
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    assert_eq!(refused(&all, 1), None);
    let error = Error::Unsupported {
        what: "topics",
        version: 0,
    };
    assert_eq!(refused(&all, 0), Some(error));
    let unnamed = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: None,
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    assert_eq!(refused(&unnamed, 12), None);
    assert!(refused(&unnamed, 9).is_some());
}

#[test]
fn long_strings_are_refused() {
    let long = "x".repeat(32_768);
    let request = SaslHandshakeRequest {
        mechanism: Cow::Borrowed(&long),
    };
    assert!(refused(&request, 1).is_some());
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Cow::Borrowed(&long),
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    assert!(refused(&request, 7).is_some());
}

#[test]
fn defaults_are_the_specification_s() {
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert_eq!(FetchRequest::default().session_epoch, -1);
    assert_eq!(JoinGroupRequest::default().rebalance_timeout_ms, -1);
    assert_eq!(CreateTopicsRequest::default().timeout_ms, 60_000);
    let metadata = MetadataRequest::default();
    assert!(metadata.allow_auto_topic_creation);
    assert_eq!(metadata.topics, Some(Vec::new()));
}

/// The ranges that clients are known to hard-code or to draw conclusions from.
#[test]
fn version_table() {
    assert_eq!(ApiKey::ALL.len(), 59);
    assert_eq!(ApiKey::Produce.versions(), 3..=13);
    assert_eq!(ApiKey::Produce.advertised(), 0..=13);
    assert!(!ApiKey::Produce.supports(2));
    assert_eq!(ApiKey::Fetch.advertised(), 4..=18);
    assert_eq!(ApiKey::JoinGroup.advertised(), 0..=9);
    assert_eq!(ApiKey::InitProducerId.advertised(), 0..=5);
    assert_eq!(ApiKey::ApiVersions.advertised(), 0..=5);
    assert_eq!(ApiKey::SaslHandshake.flexible_from(), None);
    assert_eq!(ApiKey::try_from(18), Ok(ApiKey::ApiVersions));
    assert!(ApiKey::try_from(4).is_err());
    assert!(ApiKey::try_from(-1).is_err());
    for &key in ApiKey::ALL {
        assert_eq!(ApiKey::try_from(i16::from(key)), Ok(key));
    }
}

#[test]
fn header_versions() {
    assert_eq!(ApiKey::ApiVersions.request_header_version(2), 1);
    assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
    assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
    for version in 0..=5 {
        assert_eq!(ApiKey::ApiVersions.response_header_version(version), 0);
    }
    assert_eq!(ApiKey::Metadata.response_header_version(8), 0);
    assert_eq!(ApiKey::Metadata.response_header_version(9), 1);
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
}
