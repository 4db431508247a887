//! One and the same queue: sent by one protocol, read by the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};
use bytes::Bytes;
use clients::kafka::{Client, answer};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{ProduceRequest, ProduceResponse};
use storage::Batch;
use storage::batch::{BatchBuilder, Record};

use super::{Sqs, bodies, system};
use crate::crash::create_topic;

const HIDDEN: i32 = 600;

/// Every record of a partition, read by offset.
async fn read(client: &mut Client, topic: &str, index: i32) -> Vec<Record> {
    let mut bytes = client.fetch(topic, index, 0).await.unwrap();
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::split_first(&mut bytes).unwrap();
        records.extend(batch.records().map(Result::unwrap));
    }
    records
}

/// Produces values with a key and a header.
async fn produce(client: &mut Client, topic: &str, index: i32, values: &[String]) {
    let mut builder = BatchBuilder::new(-1);
    for value in values {
        let headers: [(&str, &[u8]); 1] = [("kind", b"coffee")];
        builder.push(-1, Some(b"key"), Some(value.as_bytes()), &headers);
    }
    let records = builder.build().to_bytes();
    let asked = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Cow::Borrowed(topic),
            partition_data: vec![PartitionProduceData {
                index,
                records: records.into(),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let body = client.call(9, &asked).await.unwrap();
    let response: ProduceResponse<'_> = answer(&body, 9);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

async fn kafka(sqs: &Sqs) -> Client {
    let at = sqs.broker.address("kafka").unwrap();
    Client::connect(at).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_a_queue_is_read_by_offset() {
    let sqs = Sqs::start();
    let url = sqs
        .queue("orders", &[("Forebay.ReplayRetentionPeriod", "3600")])
        .await;
    let kind = MessageAttributeValue::builder().string_value("coffee");
    let sent = sqs
        .client
        .send_message()
        .queue_url(&url)
        .message_body("one");
    let sent = sent
        .message_group_id("table-4")
        .message_attributes("kind", kind.data_type("String").build().unwrap());
    sent.send().await.unwrap();
    sqs.send(&url, "two").await;

    let mut kafka = kafka(&sqs).await;
    let records = read(&mut kafka, "orders", 0).await;
    let values: Vec<_> = records
        .iter()
        .map(|r| r.value.as_deref().unwrap())
        .collect();
    assert_eq!(values, [&b"one"[..], b"two"]);
    assert_eq!(records[0].key.as_deref(), Some(&b"table-4"[..]));
    let kind = (
        Bytes::from_static(b"kind"),
        Some(Bytes::from_static(b"coffee")),
    );
    assert!(
        records[0].headers.contains(&kind),
        "{:?}",
        records[0].headers
    );

    // What was produced to the queue's topic is received in turn, and what was deleted can still be read.
    produce(&mut kafka, "orders", 0, &["three".into()]).await;
    let received = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&received), ["one", "two", "three"]);
    let three = &received[2];
    assert_eq!(
        three.message_attributes().unwrap()["kind"].string_value(),
        Some("coffee")
    );
    assert_eq!(
        system(three, &MessageSystemAttributeName::MessageGroupId),
        Some("key")
    );
    for message in &received {
        sqs.delete(&url, message.receipt_handle().unwrap())
            .await
            .unwrap();
    }
    assert_eq!(sqs.depth(&url).await, [0, 0, 0]);
    assert_eq!(read(&mut kafka, "orders", 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_received_by_the_queues_attached_to_it() {
    let sqs = Sqs::start();
    let mut kafka = kafka(&sqs).await;
    create_topic(&mut kafka, "events", 3)
        .await
        .unwrap()
        .unwrap();
    for index in 0..3 {
        let values: Vec<String> = (0..5).map(|n| format!("{index}-{n}")).collect();
        produce(&mut kafka, "events", index, &values).await;
    }
    // One by its own name, one by another: each gets everything, whatever came before.
    let same = sqs.queue("events", &[]).await;
    let other = sqs
        .queue("audit", &[("Forebay.SourceTopic", "events")])
        .await;
    for url in [&same, &other] {
        assert_eq!(sqs.depth(url).await, [15, 0, 0]);
        let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..15 {
            for message in sqs.receive(url, HIDDEN).await {
                let body = message.body().unwrap().to_owned();
                let partition = body.split('-').next().unwrap().to_owned();
                got.entry(partition).or_default().push(body);
                sqs.delete(url, message.receipt_handle().unwrap())
                    .await
                    .unwrap();
            }
        }
        for index in 0..3 {
            let expected: Vec<String> = (0..5).map(|n| format!("{index}-{n}")).collect();
            assert_eq!(got[&index.to_string()], expected);
        }
        assert_eq!(sqs.depth(url).await, [0, 0, 0]);
    }
    // The topic is nobody's own, and keeps its records.
    let sqs = sqs.restart();
    let mut kafka = self::kafka(&sqs).await;
    assert_eq!(read(&mut kafka, "events", 1).await.len(), 5);
    let url = sqs.queue("events", &[]).await;
    assert_eq!(sqs.depth(&url).await, [0, 0, 0]);
    produce(&mut kafka, "events", 2, &["late".into()]).await;
    assert_eq!(bodies(&sqs.receive(&url, HIDDEN).await), ["late"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_text_is_received_as_such() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let mut kafka = kafka(&sqs).await;
    produce(&mut kafka, "orders", 0, &["\u{0}".into()]).await;
    let received = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&received), ["AA=="]);
    let encoding = &received[0].message_attributes().unwrap()["Forebay.Encoding"];
    assert_eq!(encoding.string_value(), Some("base64"));
}
