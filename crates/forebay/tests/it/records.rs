//! Batches that lie about their records, sent to the real process: it refuses them, lives, and starts again; and what
//! was acknowledged before and after is received.

use std::borrow::Cow;

use bytes::Bytes;
use clients::kafka::{Client, answer};
use kafka::wire::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use kafka::wire::{ProduceRequest, ProduceResponse};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use testkit::forge::{Head, Wire, bomb, compress, records, sound};

use crate::amqp::{Amqp, confirm, get, publish};
use crate::broker::Broker;
use crate::crash::create_topic;
use crate::sqs::{Sqs, bodies};

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_RECORD: i16 = 87;
const MIB: u64 = 1 << 20;

pub(crate) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub(crate) async fn kafka(broker: &Broker) -> Client {
    Client::connect(broker.address("kafka").unwrap())
        .await
        .unwrap()
}

pub(crate) async fn produce(
    client: &mut Client,
    topic: &str,
    batch: Bytes,
) -> PartitionProduceResponse<'static> {
    let asked = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Cow::Borrowed(topic),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: batch.into(),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let body = Box::leak(Box::new(client.call(9, &asked).await.unwrap()));
    let mut response: ProduceResponse<'static> = answer(body, 9);
    response.responses.remove(0).partition_responses.remove(0)
}

fn with_deltas(deltas: &[i64]) -> Bytes {
    let mut body = Vec::new();
    for delta in deltas {
        let record = Wire {
            offset_delta: *delta,
            key: Some(b"k"),
            value: Some(b"lie"),
            ..Wire::default()
        };
        record.put(&mut body);
    }
    Head::new(0, i32::try_from(deltas.len()).unwrap(), now()).batch(&body)
}

/// Batches that are not what they say, with the code each is refused with.
fn lies() -> Vec<(&'static str, Bytes, i16)> {
    let one = records(&[(Some(b"k"), b"lie")]);
    let two = records(&[(Some(b"k"), b"lie"), (Some(b"k"), b"lie")]);
    let many = vec![1 << 40; 300];
    let head = |codec, count| Head::new(codec, count, now());
    let marked = Head {
        attributes: 0x4000,
        ..head(0, 1)
    };
    let late = sound(0, now() + 3_700_000, &[(Some(b"k"), b"lie")]);
    let mut flipped = sound(0, now(), &[(Some(b"k"), b"lie")]).to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    vec![
        (
            "two of one key, the later first",
            with_deltas(&[1, 0]),
            INVALID_RECORD,
        ),
        (
            "offsets that are all the same",
            with_deltas(&[0, 0, 0]),
            INVALID_RECORD,
        ),
        ("offsets with gaps", with_deltas(&[0, 1, 7]), INVALID_RECORD),
        (
            "an offset far ahead",
            with_deltas(&[0, 1 << 29]),
            INVALID_RECORD,
        ),
        ("further", with_deltas(&[0, 1 << 40]), INVALID_RECORD),
        (
            "at the end of all offsets",
            with_deltas(&[0, 1 << 62]),
            INVALID_RECORD,
        ),
        (
            "three hundred far ahead",
            with_deltas(&many),
            INVALID_RECORD,
        ),
        (
            "three announced, one there",
            head(0, 3).batch(&one),
            INVALID_RECORD,
        ),
        (
            "one announced, two there",
            head(0, 1).batch(&two),
            INVALID_RECORD,
        ),
        (
            "a codec that is not that of the bytes",
            head(1, 1).batch(&one),
            INVALID_RECORD,
        ),
        (
            "an empty batch of two thousand million",
            head(1, i32::MAX).batch(&compress(1, b"")),
            MESSAGE_TOO_LARGE,
        ),
        ("the broker's own mark", marked.batch(&one), INVALID_RECORD),
        ("more than an hour ahead", late, INVALID_TIMESTAMP),
        ("a flipped bit", flipped.into(), CORRUPT_MESSAGE),
    ]
}

async fn refuse_all(client: &mut Client, topic: &str, timed: bool) {
    for (what, batch, code) in lies() {
        let code = if timed || code != INVALID_TIMESTAMP {
            code
        } else {
            continue;
        };
        let outcome = produce(client, topic, batch).await;
        assert_eq!(outcome.error_code, code, "{what} for {topic}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_in_order_survive_what_is_sent_to_their_topics() {
    let mut sqs = Sqs::start();
    let url = sqs.fifo("orders.fifo").await;
    for round in ["first", "second"] {
        let mut client = kafka(&sqs.broker).await;
        refuse_all(&mut client, "orders.fifo", false).await;
        let good = sound(4, now(), &[(Some(b"k"), b"a"), (Some(b"k"), b"b")]);
        assert_eq!(
            produce(&mut client, "orders.fifo", good).await.error_code,
            0
        );
        sqs.send_in(&url, "k", &format!("c {round}")).await;
        sqs = sqs.restart();
        let got = sqs.receive(&url, 60).await;
        assert_eq!(bodies(&got), ["a", "b", &format!("c {round}")]);
        for message in got {
            sqs.delete(&url, message.receipt_handle().unwrap())
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_with_limits_survive_and_lose_nothing() {
    let mut amqp = Amqp::start();
    for round in 0..2 {
        let (_connection, channel) = amqp.channel().await;
        confirm(&channel).await;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        for (name, arguments) in [
            ("plain", vec![]),
            (
                "limited",
                vec![
                    ("x-max-length-bytes", 50_000_000),
                    ("x-message-ttl", 3_600_000),
                ],
            ),
        ] {
            let mut table = FieldTable::default();
            for (name, value) in arguments {
                table.insert(name.into(), AMQPValue::LongLongInt(value));
            }
            channel
                .queue_declare(name.into(), options, table)
                .await
                .unwrap();
            let mut client = kafka(&amqp.broker).await;
            refuse_all(&mut client, name, false).await;
            let resident = amqp.broker.resident_bytes();
            assert!(resident < 256 * MIB, "{} MiB", resident / MIB);
            for i in 0..200 {
                publish(&channel, name, &format!("{round} {i}")).await;
            }
        }
        amqp = amqp.restart();
        let (_connection, channel) = amqp.channel().await;
        for name in ["plain", "limited"] {
            for i in 0..200 {
                let body = get(&channel, name).await;
                assert_eq!(body, Some(format!("{round} {i}")), "of {name}");
            }
            assert_eq!(get(&channel, name).await, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_to_gigabytes_takes_neither_time_nor_memory() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let mut client = kafka(&sqs.broker).await;
    let bomb = bomb(1_500);
    assert!(bomb.len() < 200_000);
    let before = sqs.broker.cpu_seconds();
    for _ in 0..3 {
        let batch = Head::new(4, 1, now()).batch(&bomb);
        assert_eq!(
            produce(&mut client, "orders", batch).await.error_code,
            MESSAGE_TOO_LARGE
        );
    }
    let resident = sqs.broker.resident_bytes();
    assert!(resident < 256 * MIB, "{} MiB", resident / MIB);
    assert!(sqs.broker.cpu_seconds() - before < 20.0);
    create_topic(&mut client, "log", 1).await.unwrap().unwrap();
    refuse_all(&mut client, "log", true).await;
    sqs.send(&url, "good").await;
    assert_eq!(bodies(&sqs.receive(&url, 60).await), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_compressed_batches_are_received_message_by_message() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let mut client = kafka(&sqs.broker).await;
    let value = vec![b'x'; 200 << 10];
    let each: Vec<(Option<&[u8]>, &[u8])> = (0..120).map(|_| (None, &value[..])).collect();
    let batch = sound(4, now(), &each);
    assert_eq!(produce(&mut client, "orders", batch).await.error_code, 0);
    let before = sqs.broker.cpu_seconds();
    let mut count = 0;
    while count < 120 {
        let got = sqs.receive(&url, 600).await;
        assert!(!got.is_empty());
        assert!(bodies(&got).iter().all(|body| body.len() == value.len()));
        count += got.len();
    }
    let spent = sqs.broker.cpu_seconds() - before;
    assert!(spent < 30.0, "{spent} s for one batch");
    let resident = sqs.broker.resident_bytes();
    assert!(resident < 256 * MIB, "{} MiB", resident / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_time_a_batch_bears_nobody_is_too_old_for_it() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    confirm(&channel).await;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut table = FieldTable::default();
    table.insert("x-message-ttl".into(), AMQPValue::LongLongInt(60_000));
    channel
        .queue_declare("short".into(), options, table)
        .await
        .unwrap();
    let mut client = kafka(&amqp.broker).await;
    publish(&channel, "short", "before").await;
    for stamp in [now() + 3_540_000, now() - 10 * 86_400_000] {
        let batch = sound(0, stamp, &[(None, b"stamped")]);
        assert_eq!(produce(&mut client, "short", batch).await.error_code, 0);
    }
    publish(&channel, "short", "behind").await;
    let amqp = amqp.restart();
    let (_connection, channel) = amqp.channel().await;
    for expected in ["before", "stamped", "stamped", "behind"] {
        assert_eq!(get(&channel, "short").await.as_deref(), Some(expected));
    }
}
