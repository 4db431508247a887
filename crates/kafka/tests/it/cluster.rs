//! What one broker answers about leaders, replicas, log directories, producers and resources with settings.

use kafka::LogDir;
use kafka::wire::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
use kafka::wire::describe_log_dirs::DescribableLogDirTopic;
use kafka::wire::describe_producers::{PartitionResponse, TopicRequest};
use kafka::wire::elect_leaders::TopicPartitions;
use kafka::wire::list_partition_reassignments::ListPartitionReassignmentsTopics;
use kafka::wire::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest,
    DescribeProducersResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListConfigResourcesRequest, ListConfigResourcesResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};

use crate::client::{Client, Server};
use crate::kit::Batch;

async fn ready() -> (Server, Client) {
    let server = Server::with(|_, kafka| {
        let space = std::sync::Arc::new(|| (1000, 400));
        kafka.log_dir = LogDir::new("/var/lib/forebay".to_owned(), space);
    })
    .await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    (server, client)
}

#[tokio::test]
async fn no_partition_needs_an_election() {
    let (_server, mut client) = ready().await;
    for version in 0..=2 {
        for election_type in 0..=i8::from(version > 0) {
            let all = ElectLeadersRequest {
                election_type,
                topic_partitions: None,
                ..ElectLeadersRequest::default()
            };
            let answer: ElectLeadersResponse<'_> = client.ask(version, &all).await;
            assert_eq!(
                (answer.error_code, answer.replica_election_results.len()),
                (0, 0)
            );
            let of = |topic: &'static str, partition| TopicPartitions {
                topic: topic.into(),
                partitions: vec![partition],
            };
            let some = ElectLeadersRequest {
                topic_partitions: Some(vec![of("orders", 0), of("orders", 9), of("nowhere", 0)]),
                ..all
            };
            let answer: ElectLeadersResponse<'_> = client.ask(version, &some).await;
            let results = answer.replica_election_results.iter();
            let told: Vec<_> = results
                .map(|r| {
                    let of = &r.partition_result[0];
                    (of.error_code, of.error_message.as_deref().unwrap())
                })
                .collect();
            assert_eq!(
                told,
                [
                    (84, "Leader election not needed for topic partition."),
                    (3, "No such partition as orders-9"),
                    (3, "No such topic as nowhere"),
                ]
            );
        }
    }
    let strange = ElectLeadersRequest {
        election_type: 7,
        ..ElectLeadersRequest::default()
    };
    let answer: ElectLeadersResponse<'_> = client.ask(2, &strange).await;
    assert_eq!(answer.error_code, 42);
}

#[tokio::test]
async fn partitions_move_nowhere() {
    let (_server, mut client) = ready().await;
    for topics in [
        None,
        Some(vec![ListPartitionReassignmentsTopics {
            name: "orders".into(),
            partition_indexes: vec![0],
        }]),
    ] {
        let request = ListPartitionReassignmentsRequest {
            topics,
            ..ListPartitionReassignmentsRequest::default()
        };
        let answer: ListPartitionReassignmentsResponse<'_> = client.ask(0, &request).await;
        assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
    }
    for (topic, partition, replicas, code, text) in [
        ("orders", 0, Some(vec![1]), 0, None),
        (
            "orders",
            0,
            Some(vec![2]),
            39,
            Some(
                "The manual partition assignment includes broker 2, but no such broker is registered.",
            ),
        ),
        (
            "orders",
            0,
            None,
            85,
            Some("No partition reassignment is in progress."),
        ),
        (
            "orders",
            9,
            Some(vec![1]),
            3,
            Some("Unable to find partition orders:9."),
        ),
        (
            "nowhere",
            0,
            Some(vec![1]),
            3,
            Some("Unable to find a topic named nowhere."),
        ),
    ] {
        for version in 0..=1 {
            let request = AlterPartitionReassignmentsRequest {
                topics: vec![ReassignableTopic {
                    name: topic.into(),
                    partitions: vec![ReassignablePartition {
                        partition_index: partition,
                        replicas: replicas.clone(),
                    }],
                }],
                ..AlterPartitionReassignmentsRequest::default()
            };
            let answer: AlterPartitionReassignmentsResponse<'_> =
                client.ask(version, &request).await;
            let told = &answer.responses[0].partitions[0];
            assert_eq!(
                (told.error_code, told.error_message.as_deref()),
                (code, text)
            );
        }
    }
}

#[tokio::test]
async fn the_log_directory_holds_every_partition() {
    let (_server, mut client) = ready().await;
    let sent = Batch::of(&["a", "b"]);
    client.put("orders", 1, &sent).await;
    let bytes = i64::try_from(sent.bytes().len()).unwrap();
    for version in 1..=5 {
        let ask = |topics| DescribeLogDirsRequest { topics };
        let answer: DescribeLogDirsResponse<'_> = client.ask(version, &ask(None)).await;
        assert_eq!(
            (answer.error_code, answer.results.len()),
            (0, 1),
            "v{version}"
        );
        let dir = &answer.results[0];
        assert_eq!(
            (dir.error_code, dir.log_dir.as_ref()),
            (0, "/var/lib/forebay")
        );
        let expected = if version >= 4 { (1000, 400) } else { (-1, -1) };
        assert_eq!((dir.total_bytes, dir.usable_bytes), expected, "v{version}");
        let sizes: Vec<_> = dir.topics[0]
            .partitions
            .iter()
            .map(|p| {
                (
                    p.partition_index,
                    p.partition_size,
                    p.offset_lag,
                    p.is_future_key,
                )
            })
            .collect();
        assert_eq!(sizes, [(0, 0, 0, false), (1, bytes, 0, false)]);
        let of = |topic: &'static str, partition| DescribableLogDirTopic {
            topic: topic.into(),
            partitions: vec![partition],
        };
        let some = ask(Some(vec![
            of("orders", 1),
            of("orders", 9),
            of("nowhere", 0),
        ]));
        let answer: DescribeLogDirsResponse<'_> = client.ask(version, &some).await;
        let topics = &answer.results[0].topics;
        assert_eq!((topics.len(), topics[0].partitions.len()), (1, 1));
        assert_eq!(topics[0].partitions[0].partition_index, 1);
    }
}

async fn producers(
    client: &mut Client,
    topic: &'static str,
    index: i32,
) -> PartitionResponse<'static> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.into(),
            partition_indexes: vec![index],
        }],
    };
    let mut answer: DescribeProducersResponse<'_> = client.ask(0, &request).await;
    answer.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn a_partition_knows_its_idempotent_producers() {
    let (_server, mut client) = ready().await;
    assert!(
        producers(&mut client, "orders", 0)
            .await
            .active_producers
            .is_empty()
    );
    let batch = |sequence| Batch::of(&["a", "b"]).producer(9, 3, sequence);
    client.put("orders", 0, &batch(0)).await;
    client.put("orders", 0, &batch(2)).await;
    let newest = batch(2).max_timestamp;
    let told = producers(&mut client, "orders", 0).await;
    assert_eq!(told.error_code, 0);
    let active: Vec<_> = told
        .active_producers
        .iter()
        .map(|p| {
            (
                p.producer_id,
                p.producer_epoch,
                p.last_sequence,
                p.last_timestamp,
            )
        })
        .collect();
    assert_eq!(active, [(9, 3, 3, newest)]);
    assert_eq!(told.active_producers[0].coordinator_epoch, -1);
    assert_eq!(told.active_producers[0].current_txn_start_offset, -1);
    for (topic, index) in [("orders", 9), ("orders", -1), ("nowhere", 0)] {
        assert_eq!(producers(&mut client, topic, index).await.error_code, 3);
    }
}

#[tokio::test]
async fn resources_with_settings_are_listed() {
    let (_server, mut client) = ready().await;
    let listed = async |client: &mut Client, version, types: &[i8]| {
        let request = ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        };
        let answer: ListConfigResourcesResponse<'_> = client.ask(version, &request).await;
        let each = answer.config_resources.iter();
        let names = each.map(|r| (r.resource_type, r.resource_name.to_string()));
        (answer.error_code, names.collect::<Vec<_>>())
    };
    let own = |kind: i8, name: &str| (kind, name.to_owned());
    let all = [own(8, "1"), own(4, "1"), own(2, "orders")];
    assert_eq!(listed(&mut client, 1, &[]).await, (0, all.to_vec()));
    assert_eq!(
        listed(&mut client, 1, &[2]).await,
        (0, vec![own(2, "orders")])
    );
    assert_eq!(listed(&mut client, 1, &[16, 32]).await, (0, vec![]));
    assert_eq!(listed(&mut client, 1, &[2, 99]).await, (35, vec![]));
    assert_eq!(listed(&mut client, 0, &[]).await, (0, vec![]));
}
