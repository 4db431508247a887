//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: positions by time, by epoch, and their lower end.

use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
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
use crate::kit::{Batch, NOW, batches, put_varint};

async fn list(
    client: &mut Client,
    version: i16,
    partition: (i32, i32),
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    list_of(client, "orders", version, partition, timestamp).await
}

async fn list_of(
    client: &mut Client,
    topic: &'static str,
    version: i16,
    (partition, epoch): (i32, i32),
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
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

/// A batch of records with these timestamps, ms after the clock's start.
fn timed(after: &[i64]) -> Batch {
    let mut body = BytesMut::new();
    for (index, after) in (0_i64..).zip(after) {
        let mut record = BytesMut::new();
        record.put_i8(0);
        for number in [*after, index, -1, 1] {
            put_varint(&mut record, number);
        }
        record.put_u8(b'v');
        put_varint(&mut record, 0);
        put_varint(&mut body, i64::try_from(record.len()).unwrap());
        body.put_slice(&record);
    }
    let count = i32::try_from(after.len()).unwrap();
    Batch {
        max_timestamp: NOW + after.iter().max().unwrap(),
        ..Batch::opaque(0, count, body.freeze())
    }
}

fn gzipped(plain: &Batch) -> Batch {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain.body).unwrap();
    Batch {
        attributes: 1,
        body: encoder.finish().unwrap().into(),
        ..plain.clone()
    }
}

/// Offset and time of what a time finds, ms after the clock's start.
async fn found_at(client: &mut Client, after: i64) -> (i64, i64) {
    let found = list(client, 7, (0, -1), NOW + after).await;
    assert_eq!(found.error_code, 0);
    let since = if found.timestamp < 0 { 0 } else { NOW };
    (found.offset, found.timestamp - since)
}

async fn newest(client: &mut Client) -> (i64, i64) {
    let found = list(client, 7, (0, -1), -3).await;
    assert_eq!(found.error_code, 0);
    let since = if found.timestamp < 0 { 0 } else { NOW };
    (found.offset, found.timestamp - since)
}

#[tokio::test]
async fn a_time_finds_its_record_also_in_a_compressed_batch() {
    let (_server, mut client) = ready().await;
    client
        .put("orders", 0, &gzipped(&timed(&[0, 10, 50, 20, 50, 30])))
        .await;
    client.put("orders", 0, &gzipped(&timed(&[40, 60]))).await;
    for (after, place) in [
        (-5, (0, 0)),
        (0, (0, 0)),
        (1, (1, 10)),
        (11, (2, 50)),
        (50, (2, 50)),
        (51, (7, 60)),
        (61, (-1, -1)),
    ] {
        assert_eq!(found_at(&mut client, after).await, place, "{after}");
    }
    assert_eq!(newest(&mut client).await, (7, 60));
}

#[tokio::test]
async fn what_was_deleted_in_the_middle_of_a_batch_is_not_found() {
    for compress in [false, true] {
        let (mut server, mut client) = ready().await;
        let made = |after: &[i64]| {
            let plain = timed(after);
            if compress { gzipped(&plain) } else { plain }
        };
        client.put("orders", 0, &made(&[0, 90, 20, 30])).await;
        client.put("orders", 0, &made(&[40, 80, 80])).await;
        assert_eq!(newest(&mut client).await, (1, 90));
        assert_eq!(delete(&mut client, "orders", 0, 2).await, (0, 2));
        for restart in [false, true] {
            if restart {
                drop(client);
                server = server.restart().await;
                client = server.connect();
            }
            for (after, place) in [
                (0, (2, 20)),
                (20, (2, 20)),
                (25, (3, 30)),
                // The batch's greatest time belongs to a record that is gone.
                (31, (4, 40)),
                (50, (5, 80)),
                (85, (-1, -1)),
            ] {
                let found = found_at(&mut client, after).await;
                assert_eq!(
                    found, place,
                    "{after}, restarted: {restart}, compressed: {compress}"
                );
            }
            assert_eq!(newest(&mut client).await, (5, 80));
        }
        assert_eq!(delete(&mut client, "orders", 0, 6).await, (0, 6));
        assert_eq!(found_at(&mut client, 0).await, (6, 80));
        assert_eq!(newest(&mut client).await, (6, 80));
        assert_eq!(delete(&mut client, "orders", 0, 7).await, (0, 7));
        assert_eq!(found_at(&mut client, 0).await, (-1, -1));
        assert_eq!(newest(&mut client).await, (-1, -1));
        drop(server);
    }
}

#[tokio::test]
async fn with_the_time_of_the_append_all_records_of_a_batch_have_it() {
    let (_server, mut client) = ready().await;
    client
        .create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let placed = client
        .produce("stamped", 0, &gzipped(&timed(&[5, 7])))
        .await;
    let now = placed.log_append_time_ms;
    assert!(now > 0, "{placed:?}");
    for (time, expected) in [(now, (0, now)), (now + 1, (-1, -1)), (-3, (0, now))] {
        let found = list_of(&mut client, "stamped", 7, (0, -1), time).await;
        assert_eq!((found.offset, found.timestamp), expected, "{time}");
    }
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
async fn where_the_newest_of_each_key_stays_nothing_is_deleted_by_request() {
    let (_server, mut client) = ready().await;
    client
        .create("newest", 1, &[("cleanup.policy", "compact")])
        .await;
    client
        .create("both", 1, &[("cleanup.policy", "compact,delete")])
        .await;
    assert_eq!(delete(&mut client, "newest", 0, 0).await, (44, -1));
    assert_eq!(delete(&mut client, "both", 0, 0).await, (0, 0));
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

#[tokio::test]
async fn a_partition_named_twice_is_refused_or_answered_once() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    let asked = |partition_index, timestamp| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp,
    };
    let topic = |partitions| ListOffsetsTopic {
        name: "orders".into(),
        partitions,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![
            topic(vec![asked(0, NOW + 1), asked(1, -1)]),
            topic(vec![asked(0, -1)]),
        ],
        ..ListOffsetsRequest::default()
    };
    let answer: ListOffsetsResponse<'_> = client.ask(7, &request).await;
    let told = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let told: Vec<_> = told
        .map(|p| (p.partition_index, p.error_code, p.offset))
        .collect();
    assert_eq!(told, [(0, 42, -1), (1, 0, 0), (0, 42, -1)]);

    let before = |offset| DeleteRecordsPartition {
        partition_index: 0,
        offset,
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "orders".into(),
            partitions: vec![before(3), before(1)],
        }],
        ..DeleteRecordsRequest::default()
    };
    let answer: DeleteRecordsResponse<'_> = client.ask(2, &request).await;
    let partitions = &answer.topics[0].partitions;
    assert_eq!(partitions.len(), 1, "the last one counts");
    assert_eq!(
        (partitions[0].error_code, partitions[0].low_watermark),
        (0, 1)
    );
}
