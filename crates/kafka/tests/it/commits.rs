//! OffsetCommit, OffsetFetch and OffsetDelete.

use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka::wire::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka::wire::{
    LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::groups::settle_alone;

fn commit(
    group: &'static str,
    topic: (&'static str, Uuid),
    partitions: &[(i32, i64)],
) -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.0.into(),
            topic_id: topic.1,
            partitions: partitions
                .iter()
                .map(
                    |(partition_index, committed_offset)| OffsetCommitRequestPartition {
                        partition_index: *partition_index,
                        committed_offset: *committed_offset,
                        committed_metadata: Some("note".into()),
                        ..OffsetCommitRequestPartition::default()
                    },
                )
                .collect(),
        }],
        ..OffsetCommitRequest::default()
    }
}

async fn codes(client: &mut Client, version: i16, request: &OffsetCommitRequest<'_>) -> Vec<i16> {
    let answer: OffsetCommitResponse<'_> = client.ask(version, request).await;
    answer
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .map(|p| p.error_code)
        .collect()
}

fn fetch(
    group: &'static str,
    topics: Option<&[(&'static str, Uuid)]>,
) -> OffsetFetchRequest<'static> {
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: topics.map(|topics| {
                let topic = |(name, topic_id): &(&'static str, Uuid)| OffsetFetchRequestTopics {
                    name: (*name).into(),
                    topic_id: *topic_id,
                    partition_indexes: vec![0, 1],
                };
                topics.iter().map(topic).collect()
            }),
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    }
}

/// Partition, offset and code of everything found.
async fn found(
    client: &mut Client,
    version: i16,
    request: &OffsetFetchRequest<'_>,
) -> Vec<(i32, i64, i16)> {
    let answer: OffsetFetchResponse<'_> = client.ask(version, request).await;
    assert_eq!(answer.groups[0].error_code, 0);
    let partitions = answer.groups[0].topics.iter().flat_map(|t| &t.partitions);
    partitions
        .map(|p| (p.partition_index, p.committed_offset, p.error_code))
        .collect()
}

async fn ready() -> (Server, Client, Uuid) {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 2, &[]).await;
    (server, client, id)
}

#[tokio::test]
async fn what_was_committed_is_found_by_every_version() {
    let (server, mut client, id) = ready().await;
    for version in 2..=10 {
        let offset = i64::from(version) * 10;
        let mut request = commit("workers", ("orders", id), &[(0, offset)]);
        if version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 0;
        }
        assert_eq!(
            codes(&mut client, version, &request).await,
            [0],
            "v{version}"
        );
        for reading in 1..=7 {
            let old = OffsetFetchRequest {
                group_id: "workers".into(),
                topics: Some(vec![OffsetFetchRequestTopic {
                    name: "orders".into(),
                    partition_indexes: vec![0, 1],
                }]),
                ..OffsetFetchRequest::default()
            };
            let answer: OffsetFetchResponse<'_> = client.ask(reading, &old).await;
            let first = &answer.topics[0].partitions[0];
            assert_eq!(
                (first.committed_offset, first.metadata.as_deref()),
                (offset, Some("note"))
            );
            let none = &answer.topics[0].partitions[1];
            assert_eq!(
                (
                    none.committed_offset,
                    none.error_code,
                    none.metadata.as_deref()
                ),
                (-1, 0, Some(""))
            );
            let epoch = if reading >= 5 && version >= 6 { 0 } else { -1 };
            assert_eq!(first.committed_leader_epoch, epoch);
        }
        for reading in 8..=10 {
            let named = fetch("workers", Some(&[("orders", id)]));
            assert_eq!(
                found(&mut client, reading, &named).await,
                [(0, offset, 0), (1, -1, 0)]
            );
            assert_eq!(
                found(&mut client, reading, &fetch("workers", None)).await,
                [(0, offset, 0)]
            );
        }
    }
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(
        found(&mut client, 8, &fetch("workers", None)).await,
        [(0, 100, 0)],
        "after a restart"
    );
}

#[tokio::test]
async fn several_groups_are_asked_about_at_once() {
    let (_server, mut client, id) = ready().await;
    codes(&mut client, 8, &commit("a", ("orders", id), &[(0, 1)])).await;
    let mut request = fetch("a", None);
    request.groups.extend(fetch("nobody", None).groups);
    request.groups.extend(fetch("", None).groups);
    let answer: OffsetFetchResponse<'_> = client.ask(9, &request).await;
    let groups: Vec<_> = answer
        .groups
        .iter()
        .map(|g| (g.group_id.as_ref(), g.error_code, g.topics.len()))
        .collect();
    assert_eq!(groups, [("a", 0, 1), ("nobody", 0, 0), ("", 24, 0)]);
}

#[tokio::test]
async fn commits_to_what_does_not_exist_are_refused_one_by_one() {
    let (_server, mut client, id) = ready().await;
    let mut request = commit(
        "workers",
        ("orders", id),
        &[(0, 5), (9, 5), (-1, 5), (1, 6)],
    );
    request
        .topics
        .extend(commit("workers", ("nowhere", Uuid::from_u128(3)), &[(0, 5)]).topics);
    assert_eq!(codes(&mut client, 8, &request).await, [0, 3, 3, 0, 3]);
    assert_eq!(codes(&mut client, 10, &request).await, [0, 3, 3, 0, 100]);
    let by_id = fetch("workers", Some(&[("", id), ("", Uuid::from_u128(3))]));
    assert_eq!(
        found(&mut client, 10, &by_id).await,
        [(0, 5, 0), (1, 6, 0), (0, -1, 100), (1, -1, 100)]
    );
}

#[tokio::test]
async fn only_members_of_the_current_generation_commit() {
    let (_server, mut client, id) = ready().await;
    let joined = settle_alone(&mut client, "workers").await;
    let by = |member: &str, generation| OffsetCommitRequest {
        member_id: member.to_owned().into(),
        generation_id_or_member_epoch: generation,
        ..commit("workers", ("orders", id), &[(0, 5)])
    };
    assert_eq!(codes(&mut client, 8, &by(&joined.member_id, 1)).await, [0]);
    assert_eq!(codes(&mut client, 8, &by(&joined.member_id, 9)).await, [22]);
    assert_eq!(codes(&mut client, 8, &by("who", 1)).await, [25]);
    assert_eq!(
        codes(&mut client, 8, &by("", -1)).await,
        [25],
        "the group has members"
    );
    let stranger = OffsetCommitRequest {
        group_id: "nobody".into(),
        ..by("who", 1)
    };
    assert_eq!(codes(&mut client, 8, &stranger).await, [22]);
    assert_eq!(codes(&mut client, 9, &stranger).await, [69]);
    let nameless = OffsetCommitRequest {
        group_id: "".into(),
        ..by("", -1)
    };
    assert_eq!(codes(&mut client, 8, &nameless).await, [24]);
}

#[tokio::test]
async fn notes_have_a_greatest_length() {
    let (_server, mut client, id) = ready().await;
    for (bytes, code) in [(4096, 0), (4097, 12)] {
        let mut request = commit("workers", ("orders", id), &[(0, 5)]);
        request.topics[0].partitions[0].committed_metadata = Some("n".repeat(bytes).into());
        assert_eq!(codes(&mut client, 8, &request).await, [code]);
    }
    let mut absent = commit("workers", ("orders", id), &[(0, 5)]);
    absent.topics[0].partitions[0].committed_metadata = None;
    assert_eq!(codes(&mut client, 8, &absent).await, [0]);
}

fn delete(
    group: &'static str,
    topic: &'static str,
    partitions: &[i32],
) -> OffsetDeleteRequest<'static> {
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.into(),
            partitions: partitions
                .iter()
                .map(|partition_index| OffsetDeleteRequestPartition {
                    partition_index: *partition_index,
                })
                .collect(),
        }],
    }
}

#[tokio::test]
async fn offsets_are_deleted_where_nobody_reads() {
    let (_server, mut client, id) = ready().await;
    let server = Server::with(|_, _| {}).await;
    let mut reading = server.connect();
    let same = reading.create("orders", 2, &[]).await;
    let joined = settle_alone(&mut reading, "workers").await;
    let own = OffsetCommitRequest {
        member_id: joined.member_id.clone(),
        generation_id_or_member_epoch: joined.generation_id,
        ..commit("workers", ("orders", same), &[(0, 5)])
    };
    assert_eq!(codes(&mut reading, 8, &own).await, [0]);
    let answer: OffsetDeleteResponse<'_> = reading.ask(0, &delete("workers", "orders", &[0])).await;
    assert_eq!(
        answer.topics[0].partitions[0].error_code, 86,
        "a member subscribes to it"
    );
    let leave = LeaveGroupRequest {
        group_id: "workers".into(),
        member_id: joined.member_id,
        ..LeaveGroupRequest::default()
    };
    let _: LeaveGroupResponse<'_> = reading.ask(1, &leave).await;
    let answer: OffsetDeleteResponse<'_> = reading.ask(0, &delete("workers", "orders", &[0])).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);

    codes(
        &mut client,
        8,
        &commit("batch", ("orders", id), &[(0, 5), (1, 6)]),
    )
    .await;
    let answer: OffsetDeleteResponse<'_> = client.ask(0, &delete("batch", "orders", &[1])).await;
    assert_eq!(
        (answer.error_code, answer.topics[0].partitions[0].error_code),
        (0, 0)
    );
    assert_eq!(
        found(&mut client, 8, &fetch("batch", None)).await,
        [(0, 5, 0)]
    );
    let answer: OffsetDeleteResponse<'_> = client.ask(0, &delete("nobody", "orders", &[1])).await;
    assert_eq!(answer.error_code, 69);
    let answer: OffsetDeleteResponse<'_> = client.ask(0, &delete("", "orders", &[1])).await;
    assert_eq!(answer.error_code, 24);
}

#[tokio::test]
async fn offsets_go_with_their_topic() {
    let (_server, mut client, id) = ready().await;
    codes(
        &mut client,
        8,
        &commit("workers", ("orders", id), &[(0, 5)]),
    )
    .await;
    let request = kafka::wire::DeleteTopicsRequest {
        topic_names: vec!["orders".into()],
        ..kafka::wire::DeleteTopicsRequest::default()
    };
    let _: kafka::wire::DeleteTopicsResponse<'_> = client.ask(5, &request).await;
    let again = client.create("orders", 2, &[]).await;
    let named = fetch("workers", Some(&[("orders", again)]));
    assert_eq!(
        found(&mut client, 8, &named).await,
        [(0, -1, 0), (1, -1, 0)],
        "the new topic was never read"
    );
}
