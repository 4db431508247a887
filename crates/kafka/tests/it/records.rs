//! What a produced batch says of its records is looked through before it is acknowledged.

use kafka::wire::ProduceResponse;
use testkit::forge::{Head, Wire, compress, framed, records, sound};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::kit::{Batch, NOW, PRODUCE_BY_NAME, placed, produce_request, produce_to};

const INVALID_TIMESTAMP: i16 = 32;
const INVALID_RECORD: i16 = 87;
const MESSAGE_TOO_LARGE: i16 = 10;

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    (server, client)
}

fn body(each: &[Wire<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in each {
        record.put(&mut body);
    }
    body
}

fn wire(place: i64) -> Wire<'static> {
    Wire {
        offset_delta: place,
        time_delta: place,
        key: Some(b"key"),
        value: Some(b"value"),
        ..Wire::default()
    }
}

#[tokio::test]
async fn single_records_are_refused_by_their_place() {
    let (_server, mut client) = ready().await;
    let with = |change: fn(&mut Wire<'_>)| {
        let mut each = [wire(0), wire(1), wire(2)];
        change(&mut each[1]);
        body(&each)
    };
    let cases = [
        (
            "an hour and more ahead",
            with(|r| r.time_delta = 3_700_000),
            INVALID_TIMESTAMP,
            format!(
                "Timestamp {} of message with offset 1 is out of range. The timestamp should be within [",
                NOW + 3_700_000
            ),
        ),
        (
            "another offset",
            with(|r| r.offset_delta = 7),
            INVALID_RECORD,
            "Offset delta 7 of the record in place 1 must be 1".to_owned(),
        ),
    ];
    for (what, plain, code, text) in cases {
        for codec in 0..=4 {
            let bytes = Head::new(codec, 3, NOW).batch(&compress(codec, &plain));
            let outcome = client.produce_bytes("orders", 0, bytes).await;
            assert_eq!(outcome.error_code, code, "{what} in {codec}: {outcome:?}");
            assert_eq!(outcome.record_errors.len(), 1, "{what} in {codec}");
            let error = &outcome.record_errors[0];
            assert_eq!(error.batch_index, 1, "{what} in {codec}");
            let told = error.batch_index_error_message.as_deref().unwrap();
            assert!(told.starts_with(&text), "{what} in {codec}: {told}");
            let summary = outcome.error_message.as_deref().unwrap();
            assert!(
                summary.starts_with("One or more records have been rejected"),
                "{summary}"
            );
        }
    }
    assert_eq!(
        client.put("orders", 0, &Batch::of(&["a"])).await,
        0,
        "nothing was kept"
    );
}

#[tokio::test]
async fn compacted_topics_take_no_records_without_keys() {
    let (_server, mut client) = ready().await;
    client
        .create("state", 1, &[("cleanup.policy", "compact")])
        .await;
    for codec in 0..=4 {
        let keyless = sound(codec, NOW, &[(Some(b"k"), b"v"), (None, b"v")]);
        let outcome = client.produce_bytes("state", 0, keyless).await;
        assert_eq!(outcome.error_code, INVALID_RECORD, "{outcome:?}");
        let error = &outcome.record_errors[0];
        assert_eq!(error.batch_index, 1);
        assert_eq!(
            error.batch_index_error_message.as_deref(),
            Some("Compacted topic cannot accept message without key in topic partition state-0")
        );
        let keyed = sound(codec, NOW, &[(Some(b"k"), b"v"), (Some(b""), b"v")]);
        assert_eq!(client.produce_bytes("state", 0, keyed).await.error_code, 0);
    }
}

#[tokio::test]
async fn what_does_not_hold_what_it_says_is_refused() {
    let (_server, mut client) = ready().await;
    let three = records(&[(None, b"a"), (None, b"b"), (None, b"c")]);
    let one = records(&[(None, b"a")]);
    let empty: &[u8] = b"";
    let cases: Vec<(&str, i16, i32, Vec<u8>)> = vec![
        ("three announced, one there", 0, 3, one.clone()),
        ("one announced, three there", 0, 1, three.clone()),
        (
            "three announced, one there, compressed",
            4,
            3,
            compress(4, &one),
        ),
        (
            "one announced, three there, compressed",
            1,
            1,
            compress(1, &three),
        ),
        ("a codec that is not that of the bytes", 1, 3, three.clone()),
        ("the same", 4, 3, compress(1, &three)),
        (
            "bytes behind the records",
            0,
            3,
            [&three[..], b"x"].concat(),
        ),
        (
            "bytes behind the compressed",
            3,
            3,
            [&compress(3, &three)[..], b"x"].concat(),
        ),
        ("cut short", 2, 3, framed(&three, 10)[..30].to_vec()),
        ("nothing at all", 2, 1, empty.to_vec()),
    ];
    for (what, codec, count, body) in cases {
        let bytes = Head::new(codec, count, NOW).batch(&body);
        let outcome = client.produce_bytes("orders", 0, bytes).await;
        assert_eq!(outcome.error_code, INVALID_RECORD, "{what}: {outcome:?}");
    }
    // A producer that compresses splits a batch that is too large, and sends it again.
    for codec in 1..=4 {
        let bytes = Head::new(codec, i32::MAX, NOW).batch(&compress(codec, empty));
        let outcome = client.produce_bytes("orders", 0, bytes).await;
        assert_eq!(outcome.error_code, MESSAGE_TOO_LARGE, "{outcome:?}");
    }
    let zeros = vec![0; 140 << 20];
    let bomb = body(&[Wire {
        value: Some(&zeros),
        ..wire(0)
    }]);
    for codec in [1, 4] {
        let bytes = Head::new(codec, 1, NOW).batch(&compress(codec, &bomb));
        let outcome = client.produce_bytes("orders", 0, bytes).await;
        assert_eq!(outcome.error_code, MESSAGE_TOO_LARGE, "{outcome:?}");
    }
    assert_eq!(
        client.put("orders", 0, &Batch::of(&["a"])).await,
        0,
        "nothing was kept"
    );
}

#[tokio::test]
async fn the_greatest_time_is_that_of_the_records() {
    let (_server, mut client) = ready().await;
    for said in [NOW - 1_000_000, NOW + 7_200_000, -1] {
        let head = Head {
            max_timestamp: said,
            ..Head::new(0, 2, NOW)
        };
        let bytes = head.batch(&records(&[(None, b"a"), (None, b"b")]));
        let outcome = client.produce_bytes("orders", 0, bytes).await;
        assert_eq!(outcome.error_code, 0, "{outcome:?}");
        let kept = client.fetch("orders", 0, outcome.base_offset).await;
        let right = Head::new(0, 2, NOW).batch(&records(&[(None, b"a"), (None, b"b")]));
        assert!(kept.records.parts().concat() == placed(&right, outcome.base_offset));
    }
}

#[tokio::test]
async fn a_refused_batch_leaves_its_neighbours_alone() {
    let (_server, mut client) = ready().await;
    let bad = Head::new(1, 1, NOW).batch(b"no such thing");
    let large: Vec<u8> = (0..200_000_u32)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect();
    let good = |codec| sound(codec, NOW, &[(None, &large)]);
    let topic = produce_to(
        ("orders", Uuid::nil()),
        vec![(0, bad), (1, good(1)), (0, good(0)), (1, good(4))],
    );
    let answer: ProduceResponse<'_> = client
        .ask(PRODUCE_BY_NAME, &produce_request(-1, topic))
        .await;
    let each = &answer.responses[0].partition_responses;
    let each: Vec<_> = each
        .iter()
        .map(|p| (p.index, p.error_code, p.base_offset))
        .collect();
    assert_eq!(
        each,
        [(0, INVALID_RECORD, -1), (1, 0, 0), (0, 0, 0), (1, 0, 1)]
    );
}

#[tokio::test]
async fn batches_of_one_connection_keep_their_order_whichever_take_longer() {
    let (_server, mut client) = ready().await;
    let large = vec![7; 8 << 20];
    let mut count = 0;
    for round in 0..20_i16 {
        let codec = if round % 3 == 0 { round % 5 } else { 0 };
        let value: &[u8] = if codec > 0 { &large } else { b"small" };
        let bytes = sound(codec, NOW, &[(None, value)]);
        let topic = produce_to(("orders", Uuid::nil()), vec![(0, bytes)]);
        client
            .send(PRODUCE_BY_NAME, &produce_request(-1, topic))
            .await;
        count += 1;
    }
    for offset in 0..count {
        let answer: ProduceResponse<'_> = client.answer().await;
        let outcome = &answer.responses[0].partition_responses[0];
        assert_eq!((outcome.error_code, outcome.base_offset), (0, offset));
    }
}
