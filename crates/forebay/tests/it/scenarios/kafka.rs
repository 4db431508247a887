//! Commands of Kafka clients, over connections in memory.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;
use clients::kafka::{Client, answer};
use kafka::wire::create_topics::CreatableTopic;
use kafka::wire::fetch::{FetchPartition, FetchTopic};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, Message,
    ProduceRequest, ProduceResponse,
};
use net::Connection;
use storage::Batch;
use storage::batch::BatchBuilder;

use super::stage::{Stage, Words};

const BUFFER_BYTES: usize = 64 << 10;
const READ_BYTES: i32 = 1 << 20;

impl Stage {
    pub(super) async fn kafka(&mut self, words: &Words) -> String {
        match words.word(1) {
            "create" => self.create_topic(words).await,
            "produce" => self.produce(words).await,
            "fetch" => self.fetch(words).await,
            other => panic!("there is no command `kafka {other}`"),
        }
    }

    /// Asks on a connection of its own; returns the answer's body.
    async fn call<'a, R: Message<'a>>(&self, version: i16, message: &R) -> bytes::Bytes {
        let (near, far) = Connection::pair(BUFFER_BYTES);
        let drain = self.shutdown.drain();
        tokio::spawn(kafka::serve(far, Arc::clone(&self.kafka), drain));
        Client::over(near).call(version, message).await.unwrap()
    }

    async fn create_topic(&self, words: &Words) -> String {
        let partitions = words.option("partitions").unwrap_or("1");
        let asked = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Cow::Borrowed(words.word(2)),
                num_partitions: partitions.parse().unwrap(),
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let body = self.call(7, &asked).await;
        let response: CreateTopicsResponse<'_> = answer(&body, 7);
        outcome(response.topics[0].error_code)
    }

    async fn produce(&self, words: &Words) -> String {
        let mut builder = BatchBuilder::new(-1);
        let headers = words.options.iter();
        let headers: Vec<(&str, &[u8])> = headers
            .filter(|(name, _)| !matches!(name.as_str(), "key" | "partition"))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let key = words.option("key").map(str::as_bytes);
        builder.push(-1, key, Some(words.word(3).as_bytes()), &headers);
        let index = words.option("partition").unwrap_or("0").parse().unwrap();
        let records = builder.build().to_bytes().into();
        let asked = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: Cow::Borrowed(words.word(2)),
                partition_data: vec![PartitionProduceData { index, records }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let body = self.call(9, &asked).await;
        let response: ProduceResponse<'_> = answer(&body, 9);
        outcome(response.responses[0].partition_responses[0].error_code)
    }

    async fn fetch(&self, words: &Words) -> String {
        let from = words.option("from").unwrap_or("0").parse().unwrap();
        let asked = FetchRequest {
            max_bytes: READ_BYTES,
            topics: vec![FetchTopic {
                topic: Cow::Borrowed(words.word(2)),
                partitions: vec![FetchPartition {
                    partition: words.option("partition").unwrap_or("0").parse().unwrap(),
                    fetch_offset: from,
                    partition_max_bytes: READ_BYTES,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let body = self.call(11, &asked).await;
        let response: FetchResponse<'_> = answer(&body, 11);
        let partition = &response.responses[0].partitions[0];
        if partition.error_code != 0 {
            return outcome(partition.error_code);
        }
        let mut bytes = BytesMut::new();
        for part in partition.records.parts() {
            bytes.extend_from_slice(part);
        }
        show(bytes.freeze(), u64::try_from(from).unwrap())
    }
}

/// Records as lines; of reserved headers only their names.
fn show(mut bytes: bytes::Bytes, from: u64) -> String {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::split_trusted(&mut bytes).unwrap();
        for record in batch.records().map(Result::unwrap) {
            if record.offset < from {
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let value = text(&record.value.unwrap_or_default());
            let mut line = vec![format!("offset={} \"{value}\"", record.offset)];
            if let Some(key) = &record.key {
                line.push(format!("key={}", text(key)));
            }
            for (name, value) in &record.headers {
                let (name, value) = (text(name), text(value.as_deref().unwrap_or(b"")));
                let reserved = name.starts_with("forebay.");
                line.push(if reserved {
                    name
                } else {
                    format!("{name}={value}")
                });
            }
            lines.push(line.join(" "));
        }
    }
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    lines.join("\n")
}

fn outcome(code: i16) -> String {
    match code {
        0 => "ok".to_owned(),
        code => format!("error code {code}"),
    }
}
