//! Everybody else who keeps the broker busy: who commits offsets, who makes and removes topics, who deletes records.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clients::kafka::{Client, answer};
use kafka::wire::create_topics::{CreatableTopic, CreatableTopicConfig};
use kafka::wire::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka::wire::delete_topics::DeleteTopicState;
use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, OffsetCommitRequest, OffsetCommitResponse,
    ProduceRequest, ProduceResponse,
};
use storage::batch::BatchBuilder;
use uuid::Uuid;

use super::Book;
use super::ledger::Life;
use crate::random::RandomSource;

/// Names that come and go; few, so that names are used again.
const CHURNING: u64 = 6;

/// Makes a topic and returns its identity, or the error code.
pub(crate) async fn create_topic(
    client: &mut Client,
    name: &str,
    partitions: i32,
) -> io::Result<Result<Uuid, i16>> {
    // What is written here is old by its timestamps and must be kept all the same.
    let forever = CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("-1".into()),
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: vec![forever],
        ..CreatableTopic::default()
    };
    let asked = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
        ..CreateTopicsRequest::default()
    };
    let body = client.call(7, &asked).await?;
    let response: CreateTopicsResponse<'_> = answer(&body, 7);
    let topic = &response.topics[0];
    Ok(match topic.error_code {
        0 => Ok(topic.topic_id),
        code => Err(code),
    })
}

/// Commits growing offsets for some partitions at a time, for one group.
pub(crate) async fn commit(
    at: SocketAddr,
    book: &Book,
    group: &str,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    loop {
        let (slots, topics) = offsets_to_commit(book, group, &mut random);
        let asked = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics,
            ..OffsetCommitRequest::default()
        };
        let body = client.call(8, &asked).await?;
        let response: OffsetCommitResponse<'_> = answer(&body, 8);
        let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let mut ledger = book.lock();
        for ((slot, offset), answer) in slots.into_iter().zip(answers) {
            if answer.error_code == 0 {
                let key = (group.to_owned(), slot);
                ledger.offsets.entry(key).or_default().acked = offset;
            } else {
                ledger.wrong(format!("a commit was refused with {}", answer.error_code));
            }
        }
    }
}

type Commits = (Vec<(usize, i64)>, Vec<OffsetCommitRequestTopic<'static>>);

fn offsets_to_commit(book: &Book, group: &str, random: &mut RandomSource) -> Commits {
    let mut ledger = book.lock();
    let (mut slots, mut topics) = (Vec::new(), Vec::new());
    for slot in 0..ledger.partitions.len() {
        if !random.once_in(3) {
            continue;
        }
        let committed = ledger.offsets.entry((group.to_owned(), slot)).or_default();
        committed.asked += 1;
        let offset = committed.asked;
        slots.push((slot, offset));
        let partition = &ledger.partitions[slot];
        topics.push(OffsetCommitRequestTopic {
            name: Cow::Owned(partition.topic.clone()),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition.index,
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: None,
            }],
            ..OffsetCommitRequestTopic::default()
        });
    }
    (slots, topics)
}

/// Makes topics and removes them again. A new topic is written to, and must have begun empty.
pub(crate) async fn churn(at: SocketAddr, book: &Book, mut random: RandomSource) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    loop {
        let name = format!("churn-{}", random.pick(0..CHURNING));
        let life = book.lock().topics.get(&name).copied();
        match life {
            Some(Life::There(id)) => remove(&mut client, book, &name, id).await?,
            None | Some(Life::Gone(_)) => {
                let partitions = i32::try_from(random.pick(1..4)).unwrap();
                make(&mut client, book, &name, partitions).await?;
            }
            Some(Life::Coming | Life::Going(_)) => unreachable!("settled by the checker"),
        }
        tokio::time::sleep(Duration::from_millis(random.pick(0..30))).await;
    }
}

async fn make(client: &mut Client, book: &Book, name: &str, partitions: i32) -> io::Result<()> {
    book.lock().topics.insert(name.to_owned(), Life::Coming);
    match create_topic(client, name, partitions).await? {
        Ok(id) => drop(book.lock().topics.insert(name.to_owned(), Life::There(id))),
        Err(code) => {
            book.lock()
                .wrong(format!("{name} could not be made: {code}"));
            return Err(io::ErrorKind::Other.into());
        }
    }
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(name.as_bytes()), &[]);
    let records = builder.build().to_bytes().into();
    let asked = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: name.into(),
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let body = client.call(9, &asked).await?;
    let response: ProduceResponse<'_> = answer(&body, 9);
    let answered = &response.responses[0].partition_responses[0];
    if (answered.error_code, answered.base_offset) != (0, 0) {
        let (code, offset) = (answered.error_code, answered.base_offset);
        book.lock()
            .wrong(format!("{name} is new, but answered {code} at {offset}"));
    }
    Ok(())
}

async fn remove(client: &mut Client, book: &Book, name: &str, id: Uuid) -> io::Result<()> {
    book.lock().topics.insert(name.to_owned(), Life::Going(id));
    let asked = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(name.into()),
            topic_id: Uuid::nil(),
        }],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let body = client.call(6, &asked).await?;
    let response: DeleteTopicsResponse<'_> = answer(&body, 6);
    match response.responses[0].error_code {
        0 => drop(book.lock().topics.insert(name.to_owned(), Life::Gone(id))),
        code => {
            book.lock()
                .wrong(format!("{name} could not be removed: {code}"));
            return Err(io::ErrorKind::Other.into());
        }
    }
    Ok(())
}

/// Deletes some of the acknowledged records now and then.
pub(crate) async fn trim(at: SocketAddr, book: &Book, mut random: RandomSource) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(random.pick(20..200))).await;
        let (slot, topic, index, before) = {
            let mut ledger = book.lock();
            let slot = random.index(ledger.partitions.len());
            let partition = &mut ledger.partitions[slot];
            // Most of what is there stays, for the checker to look at.
            let held = partition.acked_end.saturating_sub(partition.trim_asked);
            let before = partition.trim_asked + random.pick(0..held / 4 + 1);
            partition.trim_asked = before;
            (slot, partition.topic.clone(), partition.index, before)
        };
        let asked = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic.into(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: index,
                    offset: before.cast_signed(),
                }],
            }],
            timeout_ms: 30_000,
        };
        let body = client.call(2, &asked).await?;
        let response: DeleteRecordsResponse<'_> = answer(&body, 2);
        let answered = &response.topics[0].partitions[0];
        let mut ledger = book.lock();
        if answered.error_code == 0 && answered.low_watermark == before.cast_signed() {
            ledger.partitions[slot].trim_acked = before;
        } else {
            ledger.wrong(format!("deleting before {before}: {answered:?}"));
        }
    }
}
