//! Finding a common language: ApiVersions and the headers around every request.

use bytes::{BufMut as _, BytesMut};
use kafka::wire::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, Reader};
use kafka::wire::{Message as _, MetadataResponse};

use crate::client::{Client, Server, body, request_frame};

async fn versions(
    client: &mut Client,
    request: ApiVersionsRequest<'_>,
) -> ApiVersionsResponse<'static> {
    let body = body(|w| request.encode(w, 5));
    let frame = request_frame(ApiKey::ApiVersions, 5, 1, &body);
    client.write(&frame).await;
    let frame = client.frame().await.expect("an answer");
    decode(5, Box::leak(Box::new(frame)))
}

fn decode(version: i16, frame: &'static bytes::Bytes) -> ApiVersionsResponse<'static> {
    let mut reader = Reader::new(frame);
    assert_eq!(
        reader.i32(),
        Ok(1),
        "the correlation id is all the header there is"
    );
    let answer = ApiVersionsResponse::decode(&mut reader, version).expect("decodes");
    reader.finish().expect("nothing follows");
    answer
}

fn named(name: &'static str, version: &'static str) -> ApiVersionsRequest<'static> {
    ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..ApiVersionsRequest::default()
    }
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_the_oldest_layout() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in [6_i16, 99, i16::MAX] {
        // Whatever stands in the body of a version from the future is not looked at.
        let mut frame = BytesMut::new();
        frame.put_i32(4 + 4 + 2 + 3 + 1 + 9);
        frame.put_i16(18);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(3);
        frame.put_slice(b"abc\0");
        frame.put_slice(b"?unknown?");
        client.write(&frame).await;
        let answer = client.frame().await.expect("an answer");
        let answer = decode(0, Box::leak(Box::new(answer)));
        assert_eq!(answer.error_code, 35);
        let keys: Vec<_> = answer
            .api_keys
            .iter()
            .map(|k| (k.api_key, k.min_version))
            .collect();
        assert_eq!(keys, [(18, 0)], "only its own range");
        assert_eq!(answer.api_keys[0].max_version, 5);
    }
    let again = versions(&mut client, named("tester", "1.0")).await;
    assert_eq!(
        again.error_code, 0,
        "and the client tries again on the same connection"
    );
}

#[tokio::test]
async fn every_version_of_api_versions_has_the_short_header() {
    let server = Server::start().await;
    for version in 0..=5 {
        let mut client = server.connect();
        let request = if version >= 3 {
            named("tester", "1.0")
        } else {
            ApiVersionsRequest::default()
        };
        let body = body(|w| request.encode(w, version));
        client
            .write(&request_frame(ApiKey::ApiVersions, version, 1, &body))
            .await;
        let frame = client.frame().await.expect("an answer");
        let answer = decode(version, Box::leak(Box::new(frame)));
        assert_eq!(answer.error_code, 0, "v{version}");
        assert_eq!(answer.api_keys.len(), 39, "v{version}");
    }
}

#[tokio::test]
async fn client_names_follow_a_pattern() {
    let server = Server::start().await;
    let mut client = server.connect();
    for (name, version, code) in [
        ("librdkafka", "2.15.0", 0),
        ("a", "1", 0),
        ("apache-kafka-java", "4.0.0-rc1", 0),
        ("", "1.0", 42),
        ("x", "", 42),
        ("-x", "1", 42),
        ("x.", "1", 42),
        ("with space", "1", 42),
        ("x", "1\n2", 42),
        ("ä", "1", 42),
    ] {
        let answer = versions(&mut client, named(name, version)).await;
        assert_eq!(answer.error_code, code, "{name:?} {version:?}");
    }
}

#[tokio::test]
async fn a_client_that_was_led_to_the_wrong_cluster_or_node_is_sent_back() {
    let server = Server::start().await;
    let mut client = server.connect();
    let cluster = server.broker().cluster_id().to_owned();
    for (cluster_id, node_id, code) in [
        (None, -1, 0),
        (Some(cluster.clone()), 1, 0),
        (Some("elsewhere".to_owned()), 1, 129),
        (Some(cluster), 7, 129),
    ] {
        let request = ApiVersionsRequest {
            cluster_id: cluster_id.clone().map(Into::into),
            node_id,
            ..named("tester", "1")
        };
        let answer = versions(&mut client, request).await;
        assert_eq!(answer.error_code, code, "{cluster_id:?} {node_id}");
    }
}

#[tokio::test]
async fn produce_is_advertised_from_zero_and_carried_out_from_three() {
    let server = Server::start().await;
    let mut client = server.connect();
    let answer = versions(&mut client, named("tester", "1")).await;
    let produce = answer
        .api_keys
        .iter()
        .find(|k| k.api_key == 0)
        .expect("produce");
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    for version in 0..3 {
        let mut client = server.connect();
        let mut frame = BytesMut::new();
        frame.put_i32(8 + 2 + 2 + 4 + 4);
        frame.put_i16(0);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_slice(&[0; 10]);
        client.write(&frame).await;
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn the_ranges_old_clients_hard_code_are_advertised() {
    let server = Server::start().await;
    let mut client = server.connect();
    let answer = versions(&mut client, named("tester", "1")).await;
    let range = |key: i16| {
        let found = answer.api_keys.iter().find(|k| k.api_key == key);
        found
            .map(|k| k.min_version..=k.max_version)
            .expect("served")
    };
    // kafka-go and aiokafka send these without asking.
    for (key, version) in [
        (2, 1),
        (3, 1),
        (8, 2),
        (9, 1),
        (10, 0),
        (11, 0),
        (11, 1),
        (12, 0),
        (13, 0),
        (14, 0),
    ] {
        assert!(range(key).contains(&version), "key {key} version {version}");
    }
    let keys: Vec<_> = answer.api_keys.iter().map(|k| k.api_key).collect();
    assert!(
        !keys.contains(&71) && !keys.contains(&72),
        "telemetry would be called on every connection"
    );
    for transactional in [24, 25, 26, 28] {
        assert!(
            !keys.contains(&transactional),
            "key {transactional} is not carried out"
        );
    }
}

#[tokio::test]
async fn a_flexible_header_still_has_an_old_style_client_id() {
    let server = Server::start().await;
    let mut client = server.connect();
    for client_id in [Some("me"), None] {
        let mut frame = BytesMut::new();
        frame.put_i16(3);
        frame.put_i16(12);
        frame.put_i32(7);
        match client_id {
            Some(id) => {
                frame.put_i16(2);
                frame.put_slice(id.as_bytes());
            }
            None => frame.put_i16(-1),
        }
        // One unknown tagged field.
        frame.put_slice(&[1, 99, 2, 0xab, 0xcd]);
        let request = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        frame.put_slice(&body(|w| request.encode(w, 12)));
        let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
        client.write(&length).await;
        client.write(&frame).await;
        let answer = client.frame().await.expect("an answer");
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.i32(), Ok(7));
        assert_eq!(
            reader.uvarint(),
            Ok(0),
            "a flexible answer's header has tags"
        );
        MetadataResponse::decode(&mut reader, 12).expect("metadata");
    }
}

#[tokio::test]
async fn unknown_keys_and_versions_end_only_their_own_connection() {
    let server = Server::start().await;
    let mut bystander = server.connect();
    for (key, version) in [
        (4_i16, 0_i16),
        (9999, 0),
        (-1, 0),
        (3, 14),
        (3, -1),
        (17, 1),
        (26, 3),
        (71, 0),
    ] {
        let mut client = server.connect();
        let mut frame = BytesMut::new();
        frame.put_i32(11);
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_i8(0);
        client.write(&frame).await;
        client.expect_closed().await;
        let answer = versions(&mut bystander, named("tester", "1")).await;
        assert_eq!(answer.error_code, 0, "key {key} version {version}");
    }
}
