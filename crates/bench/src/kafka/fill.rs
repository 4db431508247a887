//! Fills a topic as fast as the broker takes it: for loads of other protocols that need a backlog to work on.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{ApiKey, ProduceRequest, ProduceResponse, Records};

use super::batch;
use super::connection::{self, Connection, Expected};
use super::options::BatchSize;
use super::topic::{Peer, check};
use crate::stopwatch::unix_ms;

/// Size of a batch: as much as a window of many small writers gathers, no more.
const BATCH_BYTES: usize = 64 << 10;
const IN_FLIGHT: usize = 16;
const TIMEOUT_MS: i32 = 60_000;

/// Produces `count` records of `value` to partition 0 of a topic that is there, and waits until all are durable.
pub(crate) async fn fill(
    address: SocketAddr,
    topic: &str,
    value: &[u8],
    mut count: u64,
) -> Result<()> {
    let version = Peer::meet(address).await?.versions.produce;
    let mut connection = Connection::open(address).await?;
    let full = batch::count(BatchSize::Bytes(BATCH_BYTES), value.len());
    let mut awaited = VecDeque::new();
    while count > 0 || !awaited.is_empty() {
        if count > 0 && awaited.len() < IN_FLIGHT {
            let records = usize::try_from(count).map_or(full, |count| count.min(full));
            let batch = batch::of_value(value, records, unix_ms());
            let id = connection.next_id();
            let frame = connection::encode(&request(topic, batch), version, id)?;
            connection.put(&frame).await?;
            awaited.push_back(Expected {
                key: ApiKey::Produce,
                version,
                id,
            });
            count -= records as u64;
            continue;
        }
        connection.flush().await?;
        let frame = connection.receive().await?;
        let expected = awaited.pop_front().context("an answer too many")?;
        confirmed(&expected.decode(&frame)?)?;
    }
    Ok(())
}

fn request(topic: &str, batch: Bytes) -> ProduceRequest<'_> {
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Records::One(batch),
            }],
            ..TopicProduceData::default()
        }],
    }
}

fn confirmed(response: &ProduceResponse<'_>) -> Result<()> {
    let topics = response.responses.iter();
    for partition in topics.flat_map(|topic| &topic.partition_responses) {
        let why = partition.error_message.as_deref();
        check("filling the queue", partition.error_code, why)?;
    }
    Ok(())
}
