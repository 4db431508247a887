//! Requests and record batches, in the short forms tests want.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka::wire::create_topics::{CreatableTopic, CreatableTopicConfig};
use kafka::wire::fetch::{FetchPartition, FetchTopic, PartitionData};
use kafka::wire::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use kafka::wire::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use kafka::wire::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, Records,
};
use uuid::Uuid;

use crate::client::Client;

/// Where test clocks start, and the timestamps of records with them, ms.
pub(crate) const NOW: i64 = 1_780_000_000_000;
/// Newest versions that name topics instead of giving their ids.
pub(crate) const PRODUCE_BY_NAME: i16 = 12;
pub(crate) const FETCH_BY_NAME: i16 = 12;

/// A record batch to be encoded, field by field, so that tests can make any of them wrong.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) magic: i8,
    pub(crate) attributes: i16,
    pub(crate) count: i32,
    pub(crate) last_delta: i32,
    pub(crate) max_timestamp: i64,
    pub(crate) producer: (i64, i16, i32),
    pub(crate) body: Bytes,
}

impl Batch {
    /// Plain records with these values, a millisecond apart.
    pub(crate) fn of(values: &[&str]) -> Self {
        let mut body = BytesMut::new();
        for (index, value) in (0_i64..).zip(values) {
            let mut record = BytesMut::new();
            record.put_i8(0);
            put_varint(&mut record, index);
            put_varint(&mut record, index);
            put_varint(&mut record, -1);
            put_varint(&mut record, i64::try_from(value.len()).unwrap());
            record.put_slice(value.as_bytes());
            put_varint(&mut record, 0);
            put_varint(&mut body, i64::try_from(record.len()).unwrap());
            body.put_slice(&record);
        }
        Self::opaque(0, i32::try_from(values.len()).unwrap(), body.freeze())
    }

    /// A batch that says that it holds `count` records.
    pub(crate) fn opaque(codec: i16, count: i32, body: Bytes) -> Self {
        Self {
            magic: 2,
            attributes: codec,
            count,
            last_delta: count - 1,
            max_timestamp: NOW + i64::from(count) - 1,
            producer: (-1, -1, -1),
            body,
        }
    }

    /// The same records, compressed.
    pub(crate) fn packed(codec: i16, values: &[&str]) -> Self {
        let mut batch = Self::of(values);
        batch.body = testkit::forge::compress(codec, &batch.body).into();
        batch.attributes = codec;
        batch
    }

    /// One record, `bytes` of it.
    pub(crate) fn sized(bytes: usize) -> Self {
        let of = |value: usize| Self::of(&[&"7".repeat(value)]);
        let around = of(bytes).body.len() - bytes;
        // The lengths in front of a shorter one may be shorter themselves.
        let fits = (0..8).map(|more| of(bytes - around + more));
        let mut fits = fits.filter(|batch| batch.body.len() == bytes);
        fits.next().expect("a record of this size")
    }

    pub(crate) fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes);
        checked.put_i32(self.last_delta);
        checked.put_i64(NOW);
        checked.put_i64(self.max_timestamp);
        checked.put_i64(self.producer.0);
        checked.put_i16(self.producer.1);
        checked.put_i32(self.producer.2);
        checked.put_i32(self.count);
        checked.put_slice(&self.body);
        let mut out = BytesMut::new();
        out.put_i64(0);
        out.put_i32(i32::try_from(checked.len() + 9).unwrap());
        out.put_i32(-1);
        out.put_i8(self.magic);
        out.put_u32(crc32c::crc32c(&checked));
        out.put_slice(&checked);
        out.freeze()
    }
}

pub(crate) fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap());
}

/// What a batch looks like after the broker gave it a place: all else must be untouched.
pub(crate) fn placed(sent: &Bytes, base_offset: i64) -> Vec<u8> {
    let mut bytes = sent.to_vec();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
    bytes
}

/// Base offset and record count of every batch in fetched records.
pub(crate) fn batches(records: &Records) -> Vec<(i64, i32)> {
    let all: Vec<u8> = records.parts().concat();
    let mut rest = all.as_slice();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[8..12].try_into().unwrap());
        let count = i32::from_be_bytes(rest[57..61].try_into().unwrap());
        found.push((i64::from_be_bytes(rest[..8].try_into().unwrap()), count));
        rest = &rest[12 + usize::try_from(length).unwrap()..];
    }
    found
}

pub(crate) fn new_topic(name: &str, partitions: i32) -> CreatableTopic<'static> {
    CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    }
}

/// One topic of a produce, named by both name and id; the version decides which of them travels.
pub(crate) fn produce_to(
    (name, id): (&str, Uuid),
    partitions: Vec<(i32, Bytes)>,
) -> TopicProduceData<'static> {
    TopicProduceData {
        name: name.to_owned().into(),
        topic_id: id,
        partition_data: partitions
            .into_iter()
            .map(|(index, records)| PartitionProduceData {
                index,
                records: records.into(),
            })
            .collect(),
    }
}

pub(crate) fn produce_request(acks: i16, topic: TopicProduceData<'_>) -> ProduceRequest<'_> {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

pub(crate) fn fetch_from(
    (name, id): (&str, Uuid),
    partitions: &[(i32, i64)],
) -> FetchTopic<'static> {
    FetchTopic {
        topic: name.to_owned().into(),
        topic_id: id,
        partitions: partitions
            .iter()
            .map(|(partition, offset)| FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            })
            .collect(),
    }
}

/// A fetch that does not wait.
pub(crate) fn fetch_request(topics: Vec<FetchTopic<'_>>) -> FetchRequest<'_> {
    FetchRequest {
        max_bytes: 50 << 20,
        topics,
        ..FetchRequest::default()
    }
}

/// The same, waiting up to `max_wait_ms` for a first byte.
pub(crate) fn long_poll(topic: FetchTopic<'_>, max_wait_ms: i32) -> FetchRequest<'_> {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        ..fetch_request(vec![topic])
    }
}

impl Client {
    /// Makes a topic with these settings; answers with its id.
    pub(crate) async fn create(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let mut topic = new_topic(name, partitions);
        topic.configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).to_owned().into(),
                value: Some((*value).to_owned().into()),
            })
            .collect();
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..CreateTopicsRequest::default()
        };
        let answer: CreateTopicsResponse<'_> = self.ask(7, &request).await;
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        answer.topics[0].topic_id
    }

    /// Publishes one batch and returns its outcome.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &Batch,
    ) -> PartitionProduceResponse<'static> {
        self.produce_bytes(topic, partition, batch.bytes()).await
    }

    pub(crate) async fn produce_bytes(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse<'static> {
        let topic = produce_to((topic, Uuid::nil()), vec![(partition, batch)]);
        let request = produce_request(-1, topic);
        let mut answer: ProduceResponse<'_> = self.ask(PRODUCE_BY_NAME, &request).await;
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Publishes one batch that must succeed; answers with its offset.
    pub(crate) async fn put(&mut self, topic: &str, partition: i32, batch: &Batch) -> i64 {
        let outcome = self.produce(topic, partition, batch).await;
        assert_eq!(outcome.error_code, 0, "{outcome:?}");
        outcome.base_offset
    }

    /// What is readable now.
    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> PartitionData {
        let topic = fetch_from((topic, Uuid::nil()), &[(partition, offset)]);
        let request = fetch_request(vec![topic]);
        let mut answer: FetchResponse<'_> = self.ask(FETCH_BY_NAME, &request).await;
        answer.responses.remove(0).partitions.remove(0)
    }

    /// Metadata of one topic, which is not created by asking.
    pub(crate) async fn describe(&mut self, topic: &str) -> MetadataResponseTopic<'static> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.to_owned().into()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let mut answer: MetadataResponse<'_> = self.ask(12, &request).await;
        answer.topics.remove(0)
    }
}
