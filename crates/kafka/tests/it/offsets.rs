//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: positions by time, by epoch, and their lower end.

use kafka::wire::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic,
};
use kafka::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka::wire::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use crate::client::{Client, Server};
use crate::kit::{Batch, NOW, batches};

async fn list(
    client: &mut Client,
    version: i16,
    (partition, epoch): (i32, i32),
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "orders".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                current_leader_epoch: epoch,
                timestamp,
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let mut answer: ListOffsetsResponse<'_> = client.ask(version, &request).await;
    answer.topics.remove(0).partitions.remove(0)
}

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    (server, client)
}

#[tokio::test]
async fn special_times_name_the_ends_of_a_partition() {
    let (_server, mut client) = ready().await;
    let mut late = Batch::of(&["a", "b", "c"]);
    late.max_timestamp = NOW + 2;
    client.put("orders", 0, &late).await;
    let mut early = Batch::of(&["d"]);
    early.max_timestamp = NOW;
    client.put("orders", 0, &early).await;
    for (time, offset, timestamp) in [
        (-1, 4, -1),
        (-2, 0, -1),
        (-3, 2, NOW + 2),
        (-4, 0, -1),
        (-5, -1, -1),
        (-6, -1, -1),
    ] {
        let found = list(&mut client, 11, (0, -1), time).await;
        assert_eq!(
            (found.error_code, found.offset, found.timestamp),
            (0, offset, timestamp),
            "{time}"
        );
    }
    for (time, offset) in [(-1, 0), (-2, 0), (-3, -1), (0, -1)] {
        assert_eq!(
            list(&mut client, 7, (1, -1), time).await.offset,
            offset,
            "an empty partition, {time}"
        );
    }
}

#[tokio::test]
async fn a_time_finds_the_first_record_at_or_after_it() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    for version in 1..=11 {
        for (time, offset, timestamp) in [
            (0, 0, NOW),
            (NOW, 0, NOW),
            (NOW + 1, 1, NOW + 1),
            (NOW + 2, 2, NOW + 2),
            (NOW + 3, -1, -1),
        ] {
            let found = list(&mut client, version, (0, -1), time).await;
            assert_eq!(
                (found.offset, found.timestamp),
                (offset, timestamp),
                "v{version} {time}"
            );
            let expected = if version >= 4 && offset >= 0 { 0 } else { -1 };
            assert_eq!(found.leader_epoch, expected, "v{version}");
        }
    }
}

#[tokio::test]
async fn records_are_found_in_compressed_batches() {
    let (_server, mut client) = ready().await;
    client
        .put("orders", 0, &Batch::packed(4, &["a", "b", "c", "d", "e"]))
        .await;
    let found = list(&mut client, 7, (0, -1), NOW + 2).await;
    assert_eq!(
        (found.error_code, found.offset, found.timestamp),
        (0, 2, NOW + 2)
    );
}

#[tokio::test]
async fn epochs_are_checked_wherever_a_client_names_one() {
    let (_server, mut client) = ready().await;
    for (epoch, code) in [(-1, 0), (0, 0), (1, 75)] {
        assert_eq!(list(&mut client, 7, (0, epoch), -1).await.error_code, code);
    }
    assert_eq!(list(&mut client, 7, (9, -1), -1).await.error_code, 3);
}

async fn epoch_end(
    client: &mut Client,
    topic: &'static str,
    current: i32,
    epoch: i32,
) -> EpochEndOffset {
    let request = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: topic.into(),
            partitions: vec![OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: current,
                leader_epoch: epoch,
            }],
        }],
        ..OffsetForLeaderEpochRequest::default()
    };
    let mut answer: OffsetForLeaderEpochResponse<'_> = client.ask(4, &request).await;
    answer.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn the_epoch_in_answers_has_an_end() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b"])).await;
    let end = epoch_end(&mut client, "orders", 0, 0).await;
    assert_eq!(
        (end.error_code, end.leader_epoch, end.end_offset),
        (0, 0, 2)
    );
    let end = epoch_end(&mut client, "orders", -1, 4).await;
    assert_eq!(
        (end.error_code, end.leader_epoch, end.end_offset),
        (0, -1, -1),
        "an epoch that never was"
    );
    assert_eq!(epoch_end(&mut client, "orders", 3, 0).await.error_code, 75);
    assert_eq!(epoch_end(&mut client, "nowhere", 0, 0).await.error_code, 3);
}

async fn delete(
    client: &mut Client,
    topic: &'static str,
    partition_index: i32,
    offset: i64,
) -> (i16, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index,
                offset,
            }],
        }],
        timeout_ms: 1000,
    };
    let mut answer: DeleteRecordsResponse<'_> = client.ask(2, &request).await;
    let result = answer.topics.remove(0).partitions.remove(0);
    (result.error_code, result.low_watermark)
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    client.put("orders", 0, &Batch::of(&["d"])).await;
    assert_eq!(delete(&mut client, "orders", 0, 2).await, (0, 2));
    assert_eq!(
        delete(&mut client, "orders", 0, 1).await,
        (0, 2),
        "never back"
    );
    assert_eq!(list(&mut client, 7, (0, -1), -2).await.offset, 2);
    assert_eq!(client.fetch("orders", 0, 1).await.error_code, 1);
    let fetched = client.fetch("orders", 0, 2).await;
    assert_eq!(
        batches(&fetched.records),
        [(0, 3), (3, 1)],
        "the batch the start lies in is still whole"
    );
    assert_eq!(fetched.log_start_offset, 2);
    assert_eq!(
        delete(&mut client, "orders", 0, 5).await,
        (1, -1),
        "past the end"
    );
    assert_eq!(delete(&mut client, "orders", 0, -2).await, (1, -1));
    assert_eq!(
        delete(&mut client, "orders", 0, -1).await,
        (0, 4),
        "everything"
    );
    assert_eq!(client.fetch("orders", 0, 4).await.error_code, 0);
    assert_eq!(client.put("orders", 0, &Batch::of(&["e"])).await, 4);
    assert_eq!(delete(&mut client, "orders", 7, 0).await.0, 3);
    assert_eq!(delete(&mut client, "nowhere", 0, 0).await.0, 3);
}

#[tokio::test]
async fn deleted_records_stay_deleted_after_a_restart() {
    let (server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    assert_eq!(delete(&mut client, "orders", 0, 2).await, (0, 2));
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(list(&mut client, 7, (0, -1), -2).await.offset, 2);
    assert_eq!(list(&mut client, 7, (0, -1), -1).await.offset, 3);
    assert_eq!(client.fetch("orders", 0, 0).await.error_code, 1);
}
