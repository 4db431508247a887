//! CreateTopics, CreatePartitions and DeleteTopics.

use kafka::wire::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka::wire::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
};
use kafka::wire::delete_topics::DeleteTopicState;
use kafka::wire::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::kit::{Batch, new_topic};

async fn create(
    client: &mut Client,
    topics: Vec<CreatableTopic<'_>>,
    dry_run: bool,
) -> Vec<CreatableTopicResult<'static>> {
    let request = CreateTopicsRequest {
        topics,
        validate_only: dry_run,
        ..CreateTopicsRequest::default()
    };
    let answer: CreateTopicsResponse<'_> = client.ask(7, &request).await;
    answer.topics
}

fn codes(results: &[CreatableTopicResult<'_>]) -> Vec<i16> {
    results.iter().map(|r| r.error_code).collect()
}

fn copies(name: &str, replication_factor: i16) -> CreatableTopic<'static> {
    CreatableTopic {
        replication_factor,
        ..new_topic(name, -1)
    }
}

#[tokio::test]
async fn minus_one_means_the_defaults() {
    let server = Server::with(|engine, _| engine.default_partitions = 4).await;
    let mut client = server.connect();
    let made = create(&mut client, vec![copies("orders", -1)], false).await;
    assert_eq!(
        (
            made[0].error_code,
            made[0].num_partitions,
            made[0].replication_factor
        ),
        (0, 4, 1)
    );
    assert_eq!(client.describe("orders").await.partitions.len(), 4);
}

#[tokio::test]
async fn one_node_refuses_copies_unless_told_to_accept_them() {
    let server = Server::start().await;
    let mut client = server.connect();
    let asked = [1, 2, 3, 0, -2]
        .map(|n| copies(&format!("t{n}"), n))
        .to_vec();
    assert_eq!(
        codes(&create(&mut client, asked, false).await),
        [0, 38, 38, 38, 38]
    );

    let lenient = Server::with(|engine, _| engine.replication_max = 3).await;
    let mut client = lenient.connect();
    let asked = [1, 2, 3, 4].map(|n| copies(&format!("t{n}"), n)).to_vec();
    let made = create(&mut client, asked, false).await;
    assert_eq!(codes(&made), [0, 0, 0, 38]);
    assert_eq!(made[2].replication_factor, 3, "reported as accepted");
    let partition = &client.describe("t3").await.partitions[0];
    assert_eq!(
        (partition.replica_nodes.len(), partition.isr_nodes.len()),
        (3, 3)
    );
}

#[tokio::test]
async fn impossible_topics_get_the_right_code_each() {
    let server = Server::with(|engine, _| engine.partitions_max = 50).await;
    let mut client = server.connect();
    client.create("taken", 1, &[]).await;
    let configured = |name: &str, key: &'static str, value: Option<&'static str>| CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: key.into(),
            value: value.map(Into::into),
        }],
        ..new_topic(name, 1)
    };
    let long = "n".repeat(250);
    let cases = [
        (new_topic("taken", 1), 36),
        (new_topic("", 1), 17),
        (new_topic("..", 1), 17),
        (new_topic("a/b", 1), 17),
        (new_topic("ümlaut", 1), 17),
        (new_topic("new\nline", 1), 17),
        (new_topic(&long, 1), 17),
        (new_topic("none", 0), 37),
        (new_topic("fewer", -7), 37),
        (new_topic("too-many", 60), 37),
        (new_topic("far-too-many", i32::MAX), 44),
        (configured("c1", "no.such.setting", Some("1")), 40),
        (configured("c2", "retention.ms", Some("soon")), 40),
        (configured("c3", "retention.ms", None), 40),
        (configured("c4", "cleanup.policy", Some("delete,shred")), 40),
    ];
    for (topic, code) in cases {
        let name = topic.name.clone();
        let made = create(&mut client, vec![topic], false).await;
        assert_eq!(made[0].error_code, code, "{name}: {:?}", made[0]);
        assert!(made[0].error_message.is_some(), "{name}");
    }
    assert_eq!(server.broker().inventory().topics().len(), 1);
}

#[tokio::test]
async fn a_topic_named_twice_in_one_request_is_not_made() {
    let server = Server::start().await;
    let mut client = server.connect();
    let twice = vec![new_topic("a", 1), new_topic("b", 1), new_topic("a", 2)];
    assert_eq!(codes(&create(&mut client, twice, false).await), [42, 0]);
    assert_eq!(server.broker().inventory().topics().len(), 1);
}

#[tokio::test]
async fn validating_makes_nothing() {
    let server = Server::start().await;
    let mut client = server.connect();
    let topics = vec![new_topic("a", 3), new_topic("b b", 1)];
    let made = create(&mut client, topics, true).await;
    assert_eq!(codes(&made), [0, 17]);
    assert_eq!(made[0].num_partitions, 3);
    assert_eq!(server.broker().inventory().topics().len(), 0);
}

#[tokio::test]
async fn the_answer_shows_every_setting_and_where_it_comes_from() {
    let server = Server::with(|engine, _| {
        engine
            .topic_defaults
            .insert("max.message.bytes".into(), "2000000".into());
    })
    .await;
    let mut client = server.connect();
    let mut topic = new_topic("orders", 1);
    topic.configs = vec![CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("1000".into()),
    }];
    let made = create(&mut client, vec![topic], false).await;
    let configs = made[0].configs.as_ref().expect("settings");
    let shown = |name: &str| {
        let found = configs.iter().find(|c| c.name == name).expect("listed");
        (
            found.value.clone().unwrap().into_owned(),
            found.config_source,
        )
    };
    assert_eq!(shown("retention.ms"), ("1000".into(), 1), "the topic's own");
    assert_eq!(
        shown("max.message.bytes"),
        ("2000000".into(), 4),
        "the broker's"
    );
    assert_eq!(shown("cleanup.policy"), ("delete".into(), 5), "built in");
}

#[tokio::test]
async fn assignments_by_hand_must_fit_the_one_node() {
    let server = Server::start().await;
    let mut client = server.connect();
    let assigned = |name: &str, assignment: &[(i32, &[i32])]| CreatableTopic {
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignment
            .iter()
            .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..new_topic(name, -1)
    };
    let counted = CreatableTopic {
        num_partitions: 2,
        ..assigned("counted", &[(0, &[1])])
    };
    let copied = CreatableTopic {
        replication_factor: 1,
        ..assigned("copied", &[(0, &[1])])
    };
    let manual = "The manual partition assignment includes";
    let cases = [
        (assigned("good", &[(1, &[1]), (0, &[1])]), 0, String::new()),
        (
            assigned("stranger", &[(0, &[2])]),
            39,
            format!("{manual} broker 2, but no such broker is registered."),
        ),
        (
            assigned("gap", &[(0, &[1]), (2, &[1])]),
            39,
            "partitions should be a consecutive 0-based integer sequence".into(),
        ),
        (
            assigned("twice", &[(0, &[1]), (0, &[1])]),
            39,
            "Found multiple manual partition assignments for partition 0".into(),
        ),
        (
            assigned("nobody", &[(0, &[])]),
            39,
            format!("{manual} an empty replica list."),
        ),
        (
            assigned("again", &[(0, &[1, 1])]),
            39,
            format!("{manual} the broker 1 more than once."),
        ),
        (
            counted,
            42,
            "A manual partition assignment was specified, but numPartitions was not set to -1."
                .into(),
        ),
        (
            copied,
            42,
            "A manual partition assignment was specified, but replication factor was not set to -1."
                .into(),
        ),
    ];
    for (topic, code, text) in cases {
        let made = create(&mut client, vec![topic], false).await;
        let said = made[0].error_message.as_deref().unwrap_or_default();
        assert_eq!((made[0].error_code, said), (code, text.as_str()));
    }
    assert_eq!(client.describe("good").await.partitions.len(), 2);
}

fn grown(name: &'static str, count: i32) -> CreatePartitionsTopic<'static> {
    CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: None,
    }
}

async fn grow(
    client: &mut Client,
    topics: Vec<CreatePartitionsTopic<'_>>,
    validate_only: bool,
) -> Vec<i16> {
    let request = CreatePartitionsRequest {
        topics,
        timeout_ms: 1000,
        validate_only,
    };
    let answer: CreatePartitionsResponse<'_> = client.ask(3, &request).await;
    answer.results.iter().map(|r| r.error_code).collect()
}

#[tokio::test]
async fn partitions_can_only_be_added() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    client.put("orders", 0, &Batch::of(&["kept"])).await;
    for (count, code) in [(2, 37), (1, 37), (0, 37), (-1, 37), (i32::MAX, 37)] {
        assert_eq!(
            grow(&mut client, vec![grown("orders", count)], false).await,
            [code],
            "{count}"
        );
    }
    assert_eq!(
        grow(&mut client, vec![grown("nowhere", 3)], false).await,
        [3]
    );
    assert_eq!(
        grow(
            &mut client,
            vec![grown("orders", 3), grown("orders", 4)],
            false
        )
        .await,
        [42],
        "answered once"
    );
    assert_eq!(grow(&mut client, vec![grown("orders", 5)], true).await, [0]);
    assert_eq!(
        client.describe("orders").await.partitions.len(),
        2,
        "that was only a question"
    );
    assert_eq!(
        grow(&mut client, vec![grown("orders", 5)], false).await,
        [0]
    );
    assert_eq!(client.describe("orders").await.partitions.len(), 5);
    assert_eq!(client.put("orders", 4, &Batch::of(&["new"])).await, 0);
    assert_eq!(client.fetch("orders", 0, 0).await.high_watermark, 1);
}

#[tokio::test]
async fn new_partitions_are_assigned_one_by_one_or_not_at_all() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 1, &[]).await;
    let assigned = |brokers: &[&[i32]]| CreatePartitionsTopic {
        assignments: Some(
            brokers
                .iter()
                .map(|b| CreatePartitionsAssignment {
                    broker_ids: b.to_vec(),
                })
                .collect(),
        ),
        ..grown("orders", 3)
    };
    for (brokers, code) in [
        (vec![&[1][..]], 39),
        (vec![&[1][..], &[2]], 39),
        (vec![&[1][..], &[1, 1]], 39),
        (vec![&[1][..], &[1]], 0),
    ] {
        assert_eq!(
            grow(&mut client, vec![assigned(&brokers)], false).await,
            [code]
        );
    }
}

#[tokio::test]
async fn topics_are_deleted_by_name() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in 1..=5 {
        client.create("orders", 2, &[]).await;
        client.put("orders", 0, &Batch::of(&["gone"])).await;
        let request = DeleteTopicsRequest {
            topic_names: vec!["orders".into(), "nowhere".into()],
            ..DeleteTopicsRequest::default()
        };
        let answer: DeleteTopicsResponse<'_> = client.ask(version, &request).await;
        let codes: Vec<_> = answer.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [0, 3], "v{version}");
        assert_eq!(client.describe("orders").await.error_code, 3);
        assert_eq!(
            client
                .produce("orders", 0, &Batch::of(&["x"]))
                .await
                .error_code,
            3
        );
    }
    client.create("orders", 1, &[]).await;
    assert_eq!(
        client.fetch("orders", 0, 0).await.high_watermark,
        0,
        "a new topic starts empty"
    );
    assert_eq!(client.put("orders", 0, &Batch::of(&["x"])).await, 0);
}

#[tokio::test]
async fn topics_are_deleted_by_id() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    client.create("other", 1, &[]).await;
    let state = |name: Option<&'static str>, topic_id| DeleteTopicState {
        name: name.map(Into::into),
        topic_id,
    };
    let cases = [
        (vec![state(Some("orders"), id)], vec![42]),
        (vec![state(None, Uuid::nil())], vec![42]),
        (vec![state(None, Uuid::from_u128(1))], vec![100]),
        // Named twice: answered once, and kept.
        (vec![state(None, id), state(None, id)], vec![42]),
        (
            vec![state(None, id), state(Some("other"), Uuid::nil())],
            vec![0, 0],
        ),
    ];
    for (topics, codes) in cases {
        let request = DeleteTopicsRequest {
            topics,
            ..DeleteTopicsRequest::default()
        };
        let answer: DeleteTopicsResponse<'_> = client.ask(6, &request).await;
        let got: Vec<_> = answer.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(got, codes, "{answer:?}");
        if codes.len() == 2 {
            assert_eq!(answer.responses[0].name.as_deref(), Some("orders"));
        }
    }
    assert_eq!(server.broker().inventory().topics().len(), 0);
}

#[tokio::test]
async fn names_that_collide_are_refused() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders.eu", 1, &[]).await;
    let made = create(&mut client, vec![new_topic("orders_eu", 1)], false).await;
    let said = made[0].error_message.as_deref();
    assert_eq!(
        (made[0].error_code, said),
        (
            17,
            Some("Topic 'orders_eu' collides with existing topic: orders.eu")
        )
    );
    let made = create(&mut client, vec![new_topic("orders-eu", 1)], false).await;
    assert_eq!(codes(&made), [0]);
    assert_eq!(server.broker().inventory().topics().len(), 2);
}
