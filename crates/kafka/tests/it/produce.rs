//! Produce: what is kept, what is refused, and in which order answers come.

use std::time::Duration;

use bytes::Bytes;
use kafka::wire::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, Records,
};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::kit::{
    Batch, NOW, PRODUCE_BY_NAME, batches, fetch_from, fetch_request, placed, produce_request,
    produce_to,
};

const NO_ID: Uuid = Uuid::nil();

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    (server, client)
}

#[tokio::test]
async fn batches_of_every_codec_come_back_byte_for_byte() {
    let (_server, mut client) = ready().await;
    let mut expected = Vec::new();
    let mut offset = 0;
    for codec in 0..=4 {
        for bytes in [1, 900, 70_000] {
            let value: String = (0..bytes)
                .map(|i| char::from(b"abcdefghijklmnopqrstuvwxyz"[i * 7 % 26]))
                .collect();
            let batch = Batch::packed(codec, &["first", &value, ""]);
            assert_eq!(client.put("orders", 0, &batch).await, offset);
            expected.extend(placed(&batch.bytes(), offset));
            offset += 3;
        }
    }
    let fetched = client.fetch("orders", 0, 0).await;
    assert_eq!(fetched.high_watermark, offset);
    assert!(
        fetched.records.parts().concat() == expected,
        "other bytes than were sent"
    );
}

#[tokio::test]
async fn unsound_batches_get_the_right_code_each() {
    let (_server, mut client) = ready().await;
    let good = Batch::of(&["a", "b"]);
    let with = |change: fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch.bytes()
    };
    let mut flipped = good.bytes().to_vec();
    *flipped.last_mut().unwrap() ^= 0x40;
    let mut short_length = good.bytes().to_vec();
    short_length[8..12].copy_from_slice(&20_i32.to_be_bytes());
    let cut = good.bytes().slice(..good.bytes().len() - 1);
    let cases: Vec<(&str, Bytes, i16)> = vec![
        ("one bit flipped", flipped.into(), 2),
        ("cut short", cut, 2),
        ("half a header", good.bytes().slice(..30), 2),
        ("a length below the header's", short_length.into(), 87),
        ("no batch", Bytes::new(), 87),
        (
            "two batches",
            [good.bytes(), good.bytes()].concat().into(),
            87,
        ),
        (
            "bytes after the batch",
            [&good.bytes()[..], b"x"].concat().into(),
            87,
        ),
        ("magic 1", with(|b| b.magic = 1), 87),
        ("magic 3", with(|b| b.magic = 3), 87),
        (
            "a count of zero",
            with(|b| (b.count, b.last_delta) = (0, -1)),
            87,
        ),
        (
            "a negative count",
            with(|b| (b.count, b.last_delta) = (-1, -2)),
            87,
        ),
        ("a count that does not fit", with(|b| b.count = 3), 87),
        ("codec 5", with(|b| b.attributes = 5), 87),
        ("a control batch", with(|b| b.attributes = 0x20), 87),
        ("a transactional batch", with(|b| b.attributes = 0x10), 87),
        ("a reserved attribute", with(|b| b.attributes = 0x40), 87),
        ("the broker's own mark", with(|b| b.attributes = 0x4000), 87),
        ("times of the append", with(|b| b.attributes = 0x08), 32),
    ];
    for (what, bytes, code) in cases {
        let outcome = client.produce_bytes("orders", 0, bytes).await;
        assert_eq!(outcome.error_code, code, "{what}: {outcome:?}");
        assert_eq!(outcome.base_offset, -1, "{what}");
    }
    assert_eq!(
        client.put("orders", 0, &good).await,
        0,
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn a_batch_may_not_be_larger_than_the_topic_allows() {
    let (_server, mut client) = ready().await;
    client
        .create("small", 1, &[("max.message.bytes", "1000")])
        .await;
    assert_eq!(
        client
            .produce("small", 0, &Batch::sized(940))
            .await
            .error_code,
        10
    );
    assert_eq!(
        client
            .produce("small", 0, &Batch::sized(939))
            .await
            .error_code,
        0
    );
    assert_eq!(
        client
            .produce("orders", 0, &Batch::sized(1_048_588 - 61))
            .await
            .error_code,
        0
    );
    assert_eq!(
        client
            .produce("orders", 0, &Batch::sized(1_048_589 - 61))
            .await
            .error_code,
        10
    );
}

#[tokio::test]
async fn zstd_needs_versions_that_know_it() {
    let (_server, mut client) = ready().await;
    let batch = Batch::packed(4, &["zstd"]).bytes();
    for version in 3..=12 {
        let topic = produce_to(("orders", NO_ID), vec![(0, batch.clone())]);
        let answer: ProduceResponse<'_> = client.ask(version, &produce_request(-1, topic)).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, if version < 7 { 76 } else { 0 }, "produce v{version}");
    }
    for version in 4..=12 {
        let topic = fetch_from(("orders", NO_ID), &[(0, 0)]);
        let answer: FetchResponse<'_> = client.ask(version, &fetch_request(vec![topic])).await;
        let partition = &answer.responses[0].partitions[0];
        let expected = if version < 10 { 76 } else { 0 };
        assert_eq!(partition.error_code, expected, "fetch v{version}");
        assert_eq!(
            partition.records.is_empty(),
            version < 10,
            "fetch v{version}"
        );
    }
}

#[tokio::test]
async fn append_time_replaces_timestamps_and_the_checksum_follows() {
    let (_server, mut client) = ready().await;
    client
        .create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let mut old = Batch::of(&["a"]);
    old.max_timestamp = 5;
    let outcome = client.produce("stamped", 0, &old).await;
    assert!(outcome.log_append_time_ms >= NOW, "{outcome:?}");
    let fetched = client.fetch("stamped", 0, 0).await.records.parts().concat();
    assert_eq!(fetched[22] & 0x08, 0x08, "the append-time flag");
    assert_eq!(fetched[35..43], outcome.log_append_time_ms.to_be_bytes());
    assert_eq!(
        fetched[17..21],
        crc32c::crc32c(&fetched[21..]).to_be_bytes()
    );
    let outcome = client.produce("orders", 0, &Batch::of(&["a"])).await;
    assert_eq!(
        outcome.log_append_time_ms, -1,
        "elsewhere the producer's time counts"
    );
}

#[tokio::test]
async fn acks_must_be_all_one_or_none() {
    let (_server, mut client) = ready().await;
    for acks in [2, -2, 100] {
        let topic = produce_to(("orders", NO_ID), vec![(0, Batch::of(&["x"]).bytes())]);
        let answer: ProduceResponse<'_> = client.ask(9, &produce_request(acks, topic)).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 21);
    }
    assert_eq!(client.put("orders", 0, &Batch::of(&["x"])).await, 0);
}

#[tokio::test]
async fn a_produce_without_acks_is_never_answered() {
    let (_server, mut client) = ready().await;
    for _ in 0..10 {
        let topic = produce_to(("orders", NO_ID), vec![(0, Batch::of(&["x"]).bytes())]);
        client
            .send_silent(PRODUCE_BY_NAME, &produce_request(0, topic))
            .await;
    }
    assert_eq!(
        client.put("orders", 0, &Batch::of(&["y"])).await,
        10,
        "the next answer is the next one's"
    );
    client.expect_silence(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn a_failed_produce_without_acks_ends_the_connection() {
    let (_server, mut client) = ready().await;
    let topic = produce_to(("nowhere", NO_ID), vec![(0, Batch::of(&["x"]).bytes())]);
    client
        .send_silent(PRODUCE_BY_NAME, &produce_request(0, topic))
        .await;
    client.expect_closed().await;
}

fn all_topics() -> MetadataRequest<'static> {
    MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_server, mut client) = ready().await;
    for round in 0..40 {
        let records = Batch::of(&["x"; 3]).bytes();
        let partition = round % 2;
        let name = if round % 7 == 3 { "nowhere" } else { "orders" };
        let topic = produce_to((name, NO_ID), vec![(partition, records)]);
        client
            .send(PRODUCE_BY_NAME, &produce_request(-1, topic))
            .await;
        match round % 4 {
            0 => client.send(12, &all_topics()).await,
            1 => client.send(2, &ApiVersionsRequest::default()).await,
            _ => {}
        }
    }
    let mut next = [0, 0];
    for round in 0..40 {
        let answer: ProduceResponse<'_> = client.answer().await;
        let partition = &answer.responses[0].partition_responses[0];
        let index = usize::try_from(partition.index).unwrap();
        if round % 7 == 3 {
            assert_eq!(partition.error_code, 3);
        } else {
            assert_eq!(partition.base_offset, next[index], "round {round}");
            next[index] += 3;
        }
        match round % 4 {
            0 => assert_eq!(
                client.answer::<MetadataResponse<'_>>().await.topics.len(),
                1
            ),
            1 => assert_eq!(
                client.answer::<ApiVersionsResponse<'_>>().await.error_code,
                0
            ),
            _ => {}
        }
    }
}

#[tokio::test]
async fn one_request_may_succeed_and_fail_by_partition() {
    let (_server, mut client) = ready().await;
    let good = Batch::of(&["x"]).bytes();
    let mut request = produce_request(
        -1,
        produce_to(
            ("orders", NO_ID),
            vec![
                (1, good.clone()),
                (9, good.clone()),
                (0, Bytes::new()),
                (0, good.clone()),
            ],
        ),
    );
    request
        .topic_data
        .push(produce_to(("nowhere", NO_ID), vec![(0, good)]));
    request.topic_data[0]
        .partition_data
        .push(kafka::wire::produce::PartitionProduceData {
            index: 1,
            records: Records::Null,
        });
    let answer: ProduceResponse<'_> = client.ask(8, &request).await;
    let codes: Vec<_> = answer
        .responses
        .iter()
        .flat_map(|t| {
            t.partition_responses
                .iter()
                .map(|p| (p.index, p.error_code))
        })
        .collect();
    assert_eq!(codes, [(1, 0), (9, 3), (0, 87), (0, 0), (1, 87), (0, 3)]);
}

fn nameless() -> InitProducerIdRequest<'static> {
    InitProducerIdRequest {
        transactional_id: None,
        ..InitProducerIdRequest::default()
    }
}

#[tokio::test]
async fn repeats_of_an_idempotent_producer_are_recognised() {
    let (_server, mut client) = ready().await;
    let made: InitProducerIdResponse = client.ask(4, &nameless()).await;
    assert_eq!((made.error_code, made.producer_epoch), (0, 0));
    let other: InitProducerIdResponse = client.ask(0, &nameless()).await;
    assert!(made.producer_id >= 0 && other.producer_id != made.producer_id);
    let batch = |sequence| Batch::of(&["x", "y"]).producer(made.producer_id, 0, sequence);
    for round in 0..6 {
        assert_eq!(
            client.put("orders", 0, &batch(round * 2)).await,
            i64::from(round) * 2
        );
    }
    for round in 1..6 {
        let again = client.put("orders", 0, &batch(round * 2)).await;
        assert_eq!(again, i64::from(round) * 2, "the original's offset");
    }
    let forgotten = client.produce("orders", 0, &batch(0)).await;
    assert_eq!(forgotten.error_code, 45, "only five batches are remembered");
    assert_eq!(
        client.produce("orders", 0, &batch(14)).await.error_code,
        45,
        "a gap"
    );
    assert_eq!(
        client.put("orders", 1, &batch(0)).await,
        0,
        "sequences are per partition"
    );
    assert_eq!(
        client.put("orders", 0, &batch(12)).await,
        12,
        "the sequence goes on"
    );
}

#[tokio::test]
async fn epochs_of_a_producer_only_grow() {
    let (_server, mut client) = ready().await;
    let batch = |epoch, sequence| Batch::of(&["x"]).producer(900, epoch, sequence);
    client.put("orders", 0, &batch(1, 0)).await;
    assert_eq!(
        client.produce("orders", 0, &batch(0, 1)).await.error_code,
        47,
        "fenced"
    );
    assert_eq!(
        client.produce("orders", 0, &batch(2, 1)).await.error_code,
        45,
        "a new epoch starts at 0"
    );
    client.put("orders", 0, &batch(2, 0)).await;
    assert_eq!(
        client.produce("orders", 0, &batch(1, 1)).await.error_code,
        47
    );
    let nameless = Batch::of(&["x"]).producer(900, -1, 0);
    assert_eq!(
        client.produce("orders", 0, &nameless).await.error_code,
        87,
        "an id needs an epoch"
    );
}

#[tokio::test]
async fn sequences_wrap_after_the_largest_number() {
    let (_server, mut client) = ready().await;
    let batch = |sequence| Batch::of(&["x", "y", "z"]).producer(7, 0, sequence);
    client.put("orders", 0, &batch(i32::MAX - 1)).await;
    assert_eq!(
        client.put("orders", 0, &batch(i32::MAX - 1)).await,
        0,
        "its repeat is known"
    );
    assert_eq!(client.put("orders", 0, &batch(1)).await, 3);
    assert_eq!(client.produce("orders", 0, &batch(1)).await.base_offset, 3);
}

#[tokio::test]
async fn repeats_are_recognised_after_a_restart() {
    let (server, mut client) = ready().await;
    let batch = |sequence| Batch::of(&["x"]).producer(7, 0, sequence);
    client.put("orders", 0, &batch(0)).await;
    client.put("orders", 0, &batch(1)).await;
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(client.put("orders", 0, &batch(1)).await, 1);
    assert_eq!(client.produce("orders", 0, &batch(5)).await.error_code, 45);
    assert_eq!(client.put("orders", 0, &batch(2)).await, 2);
    let fetched = client.fetch("orders", 0, 0).await;
    assert_eq!(fetched.high_watermark, 3);
    assert_eq!(batches(&fetched.records)[..2], [(0, 1), (1, 1)]);
    assert_eq!(
        batches(&client.fetch("orders", 0, 2).await.records),
        [(2, 1)]
    );
}

#[tokio::test]
async fn transactions_are_refused_before_anybody_believes_in_them() {
    let (_server, mut client) = ready().await;
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["t".into()],
        ..FindCoordinatorRequest::default()
    };
    let answer: FindCoordinatorResponse<'_> = client.ask(4, &find).await;
    assert_eq!(
        answer.coordinators[0].error_code, 53,
        "librdkafka asks again, for ever, after any code but this"
    );
    assert!(answer.coordinators[0].error_message.is_some());
    for version in 0..=5 {
        let init = InitProducerIdRequest {
            transactional_id: Some("t".into()),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let answer: InitProducerIdResponse = client.ask(version, &init).await;
        assert_eq!(
            (answer.error_code, answer.producer_id),
            (42, -1),
            "v{version}"
        );
    }
    let request = ProduceRequest {
        transactional_id: Some("t".into()),
        ..produce_request(
            -1,
            produce_to(("orders", NO_ID), vec![(0, Batch::of(&["x"]).bytes())]),
        )
    };
    let answer: ProduceResponse<'_> = client.ask(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 42);
    assert_eq!(client.fetch("orders", 0, 0).await.high_watermark, 0);
}

#[tokio::test]
async fn topics_can_be_named_by_id() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    let batch = Batch::of(&["x"]).bytes();
    let topic = produce_to(("", id), vec![(0, batch.clone())]);
    let answer: ProduceResponse<'_> = client.ask(13, &produce_request(-1, topic)).await;
    assert_eq!(answer.responses[0].topic_id, id);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let topic = produce_to(("", Uuid::from_u128(5)), vec![(0, batch.clone())]);
    let answer: ProduceResponse<'_> = client.ask(13, &produce_request(-1, topic)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 100);
    let topic = produce_to(("", id), vec![(4, batch)]);
    let answer: ProduceResponse<'_> = client.ask(13, &produce_request(-1, topic)).await;
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code, 3,
        "the topic is known, the partition not"
    );
}
