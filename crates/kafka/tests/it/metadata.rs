//! Metadata, DescribeCluster and DescribeTopicPartitions: what there is, and where.

use kafka::wire::describe_topic_partitions::{Cursor, TopicRequest};
use kafka::wire::metadata::MetadataRequestTopic;
use kafka::wire::{
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, Message as _, MetadataRequest,
    MetadataResponse, Reader,
};
use uuid::Uuid;

use crate::client::{Client, Server};

fn named(name: &str) -> MetadataRequestTopic<'static> {
    MetadataRequestTopic {
        name: Some(name.to_owned().into()),
        ..MetadataRequestTopic::default()
    }
}

fn by_id(topic_id: Uuid) -> MetadataRequestTopic<'static> {
    MetadataRequestTopic {
        name: None,
        topic_id,
    }
}

fn about(topics: Option<Vec<MetadataRequestTopic<'_>>>) -> MetadataRequest<'_> {
    MetadataRequest {
        topics,
        ..MetadataRequest::default()
    }
}

async fn names(client: &mut Client, version: i16, request: &MetadataRequest<'_>) -> Vec<String> {
    let answer: MetadataResponse<'_> = client.ask(version, request).await;
    answer
        .topics
        .iter()
        .map(|t| t.name.clone().unwrap_or_default().into_owned())
        .collect()
}

/// librdkafka keeps four bytes for a number of topics that takes one, and asks for all topics like this.
#[tokio::test]
async fn bytes_after_a_request_are_left_alone() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("a", 1, &[]).await;
    client
        .write(b"\0\0\0\x19\0\x03\0\x0d\0\0\0\x07\0\x07rdkafka\0\0\0\0\0\x01\0\0")
        .await;
    let answer = client.frame().await.expect("an answer");
    let mut reader = Reader::new(&answer);
    assert_eq!((reader.i32(), reader.uvarint()), (Ok(7), Ok(0)), "header");
    let answer = MetadataResponse::decode(&mut reader, 13).expect("metadata");
    assert_eq!(answer.topics.len(), 1);
}

#[tokio::test]
async fn all_topics_and_none_are_told_apart_by_version() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("b", 1, &[]).await;
    client.create("a", 1, &[]).await;
    assert_eq!(
        names(&mut client, 0, &about(Some(vec![]))).await,
        ["a", "b"],
        "v0: an empty list is all"
    );
    for version in 1..=13 {
        let none: [&str; 0] = [];
        assert_eq!(
            names(&mut client, version, &about(Some(vec![]))).await,
            none,
            "v{version}"
        );
        assert_eq!(
            names(&mut client, version, &about(None)).await,
            ["a", "b"],
            "v{version}"
        );
    }
}

#[tokio::test]
async fn the_controller_is_in_the_list_and_the_address_is_the_one_advertised() {
    let server =
        Server::with(|_, kafka| kafka.advertised = Some(("broker.example".into(), 19092))).await;
    let mut client = server.connect();
    for version in 0..=13 {
        let answer: MetadataResponse<'_> = client.ask(version, &about(Some(vec![]))).await;
        let broker = &answer.brokers[0];
        assert_eq!(
            (broker.host.as_ref(), broker.port),
            ("broker.example", 19092)
        );
        assert_eq!(broker.rack, None);
        if version >= 1 {
            assert_eq!(answer.controller_id, broker.node_id, "v{version}");
        }
        if (8..=10).contains(&version) {
            assert_eq!(
                answer.cluster_authorized_operations,
                i32::MIN,
                "nobody asked"
            );
        }
    }
    let answer: DescribeClusterResponse<'_> =
        client.ask(1, &DescribeClusterRequest::default()).await;
    assert_eq!(answer.cluster_id, server.broker().cluster_id());
    assert_eq!(answer.controller_id, answer.brokers[0].broker_id);
    assert_eq!(answer.brokers[0].port, 19092);
    let controllers = DescribeClusterRequest {
        endpoint_type: 2,
        ..DescribeClusterRequest::default()
    };
    let answer: DescribeClusterResponse<'_> = client.ask(1, &controllers).await;
    assert_eq!(
        answer.error_code, 114,
        "there are no controllers to talk to"
    );
}

#[tokio::test]
async fn without_a_setting_the_address_is_the_one_the_client_reached() {
    let server = Server::start().await;
    let mut client = server.connect();
    let answer: MetadataResponse<'_> = client.ask(1, &about(None)).await;
    assert_eq!(answer.brokers[0].host, "127.0.0.1");
    assert_eq!(
        answer.brokers[0].port,
        i32::from(client.connection.peer().port())
    );
}

#[tokio::test]
async fn topics_are_created_by_asking_only_where_both_sides_allow_it() {
    let server = Server::start().await;
    let mut client = server.connect();
    let ask = |allow| MetadataRequest {
        allow_auto_topic_creation: allow,
        ..about(Some(vec![named("new")]))
    };
    let answer: MetadataResponse<'_> = client.ask(4, &ask(false)).await;
    assert_eq!(answer.topics[0].error_code, 3);
    let answer: MetadataResponse<'_> = client.ask(4, &ask(true)).await;
    assert_eq!(
        (
            answer.topics[0].error_code,
            answer.topics[0].partitions.len()
        ),
        (0, 1)
    );
    let old: MetadataResponse<'_> = client.ask(1, &about(Some(vec![named("older")]))).await;
    assert_eq!(old.topics[0].error_code, 0, "old versions always allow it");
    let bad: MetadataResponse<'_> = client
        .ask(4, &about(Some(vec![named("a b"), named("")])))
        .await;
    assert_eq!(
        (bad.topics[0].error_code, bad.topics[1].error_code),
        (17, 17)
    );

    let strict = Server::with(|_, kafka| kafka.auto_create_topics = false).await;
    let mut client = strict.connect();
    let answer: MetadataResponse<'_> = client.ask(4, &ask(true)).await;
    assert_eq!(answer.topics[0].error_code, 3);
    assert_eq!(strict.broker().inventory().topics().len(), 0);
}

#[tokio::test]
async fn many_clients_may_create_one_topic_by_asking() {
    let server = Server::start().await;
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(12, &about(Some(vec![named("shared")]))).await;
    }
    let mut ids = Vec::new();
    for client in &mut clients {
        let answer: MetadataResponse<'_> = client.answer().await;
        assert_eq!(answer.topics[0].error_code, 0);
        ids.push(answer.topics[0].topic_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn topic_ids_last_as_long_as_the_topic() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    assert!(!id.is_nil());
    assert_eq!(client.describe("orders").await.topic_id, id);
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(
        client.describe("orders").await.topic_id,
        id,
        "after a restart"
    );
    for version in 12..=13 {
        let answer: MetadataResponse<'_> = client.ask(version, &about(Some(vec![by_id(id)]))).await;
        assert_eq!(answer.topics[0].name.as_deref(), Some("orders"));
    }
    let delete = DeleteTopicsRequest {
        topic_names: vec!["orders".into()],
        ..DeleteTopicsRequest::default()
    };
    let _: DeleteTopicsResponse<'_> = client.ask(5, &delete).await;
    let again = client.create("orders", 1, &[]).await;
    assert_ne!(again, id, "another topic of the same name");
    let answer: MetadataResponse<'_> = client.ask(12, &about(Some(vec![by_id(id)]))).await;
    assert_eq!(
        (answer.topics[0].error_code, answer.topics[0].topic_id),
        (100, id)
    );
    assert_eq!(answer.topics[0].name, None);
}

#[tokio::test]
async fn ids_mean_nothing_before_the_version_that_has_them() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    for version in 10..=11 {
        let answer: MetadataResponse<'_> = client
            .ask(version, &about(Some(vec![by_id(id), named("orders")])))
            .await;
        let codes: Vec<_> = answer.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(
            codes,
            [42, 42],
            "v{version}: the request as a whole is refused"
        );
    }
}

#[tokio::test]
async fn leader_epochs_are_the_same_wherever_they_appear() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    for partition in &client.describe("orders").await.partitions {
        assert_eq!((partition.leader_id, partition.leader_epoch), (1, 0));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&vec![1], &vec![1])
        );
        assert!(partition.offline_replicas.is_empty());
    }
}

#[tokio::test]
async fn allowed_operations_are_listed_when_asked_for() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 1, &[]).await;
    let request = MetadataRequest {
        include_topic_authorized_operations: true,
        ..about(None)
    };
    let answer: MetadataResponse<'_> = client.ask(9, &request).await;
    // Read, write, create, delete, alter, describe, describe configs, alter configs.
    assert_eq!(
        answer.topics[0].topic_authorized_operations,
        0b1101_1111_1000
    );
    let request = MetadataRequest {
        include_cluster_authorized_operations: true,
        ..about(None)
    };
    let answer: MetadataResponse<'_> = client.ask(9, &request).await;
    // Create, alter, describe, cluster action, describe configs, alter configs, idempotent write.
    assert_eq!(answer.cluster_authorized_operations, 0b1_1111_1010_0000);
    let answer: MetadataResponse<'_> = client.ask(9, &about(None)).await;
    assert_eq!(answer.topics[0].topic_authorized_operations, i32::MIN);
}

#[tokio::test]
async fn partitions_are_described_page_by_page() {
    let server = Server::start().await;
    let mut client = server.connect();
    for (name, partitions) in [("a", 3), ("b", 2), ("c", 1)] {
        client.create(name, partitions, &[]).await;
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let request = DescribeTopicPartitionsRequest {
            topics: Vec::new(),
            response_partition_limit: 2,
            cursor,
        };
        let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &request).await;
        pages += 1;
        for topic in &answer.topics {
            let name = topic.name.clone().unwrap();
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|p| format!("{name}{}", p.partition_index)),
            );
        }
        cursor = answer.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a0", "a1", "a2", "b0", "b1", "c0"]);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_cursor_goes_on_where_topics_were_deleted_meanwhile() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("a", 1, &[]).await;
    client.create("c", 1, &[]).await;
    let from = |topic: &'static str, partition_index| DescribeTopicPartitionsRequest {
        topics: Vec::new(),
        response_partition_limit: 100,
        cursor: Some(Cursor {
            topic_name: topic.into(),
            partition_index,
        }),
    };
    let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &from("b", 1)).await;
    assert_eq!(answer.topics.len(), 1, "on with the next topic");
    assert_eq!(answer.topics[0].partitions.len(), 1);
    let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &from("c", 7)).await;
    assert!(answer.topics[0].partitions.is_empty() && answer.next_cursor.is_none());
    let request = DescribeTopicPartitionsRequest {
        topics: vec![
            TopicRequest {
                name: "nowhere".into(),
            },
            TopicRequest { name: "a".into() },
        ],
        response_partition_limit: 100,
        cursor: None,
    };
    let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &request).await;
    let codes: Vec<_> = answer.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [0, 3], "in name order");
}

#[tokio::test]
async fn eligible_leaders_are_none_and_not_absent() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("a", 2, &[]).await;
    let request = DescribeTopicPartitionsRequest {
        topics: Vec::new(),
        response_partition_limit: 2000,
        cursor: None,
    };
    let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &request).await;
    assert_eq!(
        answer.topics[0].topic_authorized_operations,
        0b1101_1111_1000
    );
    for partition in &answer.topics[0].partitions {
        assert_eq!(partition.eligible_leader_replicas, Some(vec![]));
        assert_eq!(partition.last_known_elr, Some(vec![]));
        assert!(partition.offline_replicas.is_empty());
    }
}

#[tokio::test]
async fn a_cursor_has_to_be_within_what_is_asked() {
    let server = Server::start().await;
    let mut client = server.connect();
    for name in ["a", "b"] {
        client.create(name, 1, &[]).await;
    }
    let ask = |topics: &[&'static str], cursor: (&'static str, i32)| {
        let topics = topics.iter().map(|name| TopicRequest {
            name: (*name).into(),
        });
        DescribeTopicPartitionsRequest {
            topics: topics.collect(),
            response_partition_limit: 100,
            cursor: Some(Cursor {
                topic_name: cursor.0.into(),
                partition_index: cursor.1,
            }),
        }
    };
    for (topics, cursor, codes) in [
        (&["a", "b"][..], ("c", 0), &[42, 42][..]),
        (&["a", "b"], ("a", -1), &[42, 42]),
        (&["b", "a"], ("b", 0), &[0]),
        (&[], ("c", -1), &[]),
    ] {
        let answer: DescribeTopicPartitionsResponse<'_> = client.ask(0, &ask(topics, cursor)).await;
        let got: Vec<_> = answer.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(got, codes, "{topics:?} from {cursor:?}");
        assert!(answer.next_cursor.is_none());
    }
}

#[tokio::test]
async fn an_id_wins_over_a_name_and_topics_are_answered_once() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    client.create("other", 1, &[]).await;
    let both = |name: Option<&'static str>, topic_id| MetadataRequestTopic {
        name: name.map(Into::into),
        topic_id,
    };
    let unknown = Uuid::from_u128(1);
    for version in 12..=13 {
        let request = about(Some(vec![
            both(Some(""), id),
            both(Some("other"), id),
            both(Some("other"), Uuid::nil()),
            both(Some("other"), unknown),
        ]));
        let answer: MetadataResponse<'_> = client.ask(version, &request).await;
        let shown: Vec<_> = answer
            .topics
            .iter()
            .map(|t| (t.error_code, t.name.as_deref(), t.topic_id))
            .collect();
        assert_eq!(shown, [(0, Some("orders"), id), (100, None, unknown)]);
        let names = about(Some(vec![named("other"), named("other")]));
        let answer: MetadataResponse<'_> = client.ask(version, &names).await;
        assert_eq!(answer.topics.len(), 1);
    }
}
