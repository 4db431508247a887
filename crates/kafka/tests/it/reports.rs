//! Situations from public reports about other brokers and clients: what was asked, and the answer that was missed
//! there.

use kafka::wire::fetch::FetchTopic;
use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka::wire::{
    FetchRequest, FetchResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::kit::{Batch, FETCH_BY_NAME, fetch_from, fetch_request};

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 3, &[]).await;
    client.create("audit", 2, &[]).await;
    (server, client)
}

fn commit_topic(name: &'static str, partitions: &[i32]) -> OffsetCommitRequestTopic<'static> {
    let partition = |index: &i32| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: i64::from(*index) + 7,
        committed_leader_epoch: 0,
        ..OffsetCommitRequestPartition::default()
    };
    OffsetCommitRequestTopic {
        name: name.into(),
        partitions: partitions.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    }
}

async fn commit(client: &mut Client) -> OffsetCommitResponse<'static> {
    let request = OffsetCommitRequest {
        group_id: "workers".into(),
        topics: vec![
            commit_topic("orders", &[2, 0, 9, 1]),
            commit_topic("nowhere", &[1, 0]),
            commit_topic("audit", &[1, 0]),
        ],
        ..OffsetCommitRequest::default()
    };
    client.ask(8, &request).await
}

/// Admin tools compare answers with what they asked place by place.
#[tokio::test]
async fn commits_and_their_fetches_are_answered_completely_and_in_order() {
    let (_server, mut client) = ready().await;
    let answer = commit(&mut client).await;
    let told: Vec<(String, Vec<(i32, i16)>)> = answer
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic.partitions.iter();
            (
                topic.name.to_string(),
                partitions
                    .map(|p| (p.partition_index, p.error_code))
                    .collect(),
            )
        })
        .collect();
    let named = |name: &str, partitions: &[(i32, i16)]| (name.to_owned(), partitions.to_vec());
    assert_eq!(
        told,
        [
            named("orders", &[(2, 0), (0, 0), (9, 3), (1, 0)]),
            named("nowhere", &[(1, 3), (0, 3)]),
            named("audit", &[(1, 0), (0, 0)]),
        ]
    );
    let topic = |name: &'static str, partition_indexes| OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes,
        ..OffsetFetchRequestTopics::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "workers".into(),
            topics: Some(vec![
                topic("audit", vec![1, 0]),
                topic("orders", vec![1, 9, 0, 2]),
            ]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let answer: OffsetFetchResponse<'_> = client.ask(8, &request).await;
    let topics = answer.groups[0].topics.iter();
    let told: Vec<(&str, Vec<_>)> = topics
        .map(|topic| {
            let partitions = topic.partitions.iter();
            let facts = |p: &kafka::wire::offset_fetch::OffsetFetchResponsePartitions<'_>| {
                (
                    p.partition_index,
                    p.committed_offset,
                    p.committed_leader_epoch,
                )
            };
            (topic.name.as_ref(), partitions.map(facts).collect())
        })
        .collect();
    // With the epoch that was committed along, which readers check for cut logs.
    assert_eq!(
        told,
        [
            ("audit", vec![(1, 8, 0), (0, 7, 0)]),
            ("orders", vec![(1, 8, 0), (9, -1, -1), (0, 7, 0), (2, 9, 0)]),
        ]
    );
}

/// There was no place for it beside the partitions yet.
#[tokio::test]
async fn the_oldest_fetch_of_offsets_tells_a_groups_error_with_each_partition() {
    let (_server, mut client) = ready().await;
    for version in 1..=2 {
        let request = OffsetFetchRequest {
            group_id: "".into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: "orders".into(),
                partition_indexes: vec![0, 1],
            }]),
            ..OffsetFetchRequest::default()
        };
        let answer: OffsetFetchResponse<'_> = client.ask(version, &request).await;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let told: Vec<(i64, i16)> = partitions
            .map(|p| (p.committed_offset, p.error_code))
            .collect();
        if version == 1 {
            assert_eq!(told, [(-1, 24), (-1, 24)]);
        } else {
            assert_eq!((answer.error_code, told.as_slice()), (24, &[][..]));
        }
    }
}

/// A session is not given up for one topic that was deleted.
#[tokio::test]
async fn a_session_may_begin_with_a_topic_id_that_nobody_knows() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a"])).await;
    let id = client.describe("orders").await.topic_id;
    let unknown = Uuid::from_u128(77);
    let ask = |session_id, session_epoch, topics| FetchRequest {
        session_id,
        session_epoch,
        ..fetch_request(topics)
    };
    let both: Vec<FetchTopic<'_>> = vec![
        fetch_from(("", unknown), &[(0, 0)]),
        fetch_from(("", id), &[(0, 0)]),
    ];
    let opened: FetchResponse<'_> = client.ask(16, &ask(0, 0, both)).await;
    assert_eq!(opened.error_code, 0);
    assert!(opened.session_id > 0);
    let codes = |answer: &FetchResponse<'_>| -> Vec<(Uuid, i16)> {
        let topics = answer.responses.iter();
        topics
            .map(|t| (t.topic_id, t.partitions[0].error_code))
            .collect()
    };
    assert_eq!(codes(&opened), [(unknown, 100), (id, 0)]);
    // It is told again until it is forgotten.
    let again: FetchResponse<'_> = client.ask(16, &ask(opened.session_id, 1, vec![])).await;
    assert!(codes(&again).contains(&(unknown, 100)), "{again:?}");
    let forget = FetchRequest {
        forgotten_topics_data: vec![kafka::wire::fetch::ForgottenTopic {
            topic_id: unknown,
            partitions: vec![0],
            ..Default::default()
        }],
        max_wait_ms: 10,
        ..ask(opened.session_id, 2, vec![])
    };
    let rest: FetchResponse<'_> = client.ask(16, &forget).await;
    assert_eq!(rest.error_code, 0);
    assert!(!codes(&rest).contains(&(unknown, 100)), "{rest:?}");
}

/// Data of a partition that was taken away came on and on, and was counted as read.
#[tokio::test]
async fn what_a_session_forgets_is_not_sent_any_more() {
    let (_server, mut client) = ready().await;
    for partition in [0, 1] {
        client.put("orders", partition, &Batch::of(&["a"])).await;
    }
    let ask = |session_id, session_epoch, topics| FetchRequest {
        session_id,
        session_epoch,
        max_wait_ms: 10,
        ..fetch_request(topics)
    };
    let nil = Uuid::nil();
    let both = vec![fetch_from(("orders", nil), &[(0, 0), (1, 0)])];
    let opened: FetchResponse<'_> = client.ask(FETCH_BY_NAME, &ask(0, 0, both)).await;
    assert_eq!(opened.responses[0].partitions.len(), 2);
    let forget = FetchRequest {
        forgotten_topics_data: vec![kafka::wire::fetch::ForgottenTopic {
            topic: "orders".into(),
            partitions: vec![1],
            ..Default::default()
        }],
        ..ask(opened.session_id, 1, vec![])
    };
    let rest: FetchResponse<'_> = client.ask(FETCH_BY_NAME, &forget).await;
    let told = rest.responses.iter().flat_map(|topic| &topic.partitions);
    let told: Vec<i32> = told.map(|p| p.partition_index).collect();
    assert_eq!(told, [0]);
}

/// Only brokers give offsets.
#[tokio::test]
async fn a_produced_batch_begins_at_offset_0() {
    let (_server, mut client) = ready().await;
    let mut bytes = Batch::of(&["a"]).bytes().to_vec();
    bytes[..8].copy_from_slice(&5_i64.to_be_bytes());
    let outcome = client.produce_bytes("orders", 0, bytes.into()).await;
    assert_eq!(outcome.error_code, 87, "{outcome:?}");
    assert_eq!(client.put("orders", 0, &Batch::of(&["a"])).await, 0);
}
