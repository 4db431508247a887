//! Small requests with large answers, sent to the real process: an answer has a limit, what it is made of is counted
//! before it is made, and the process stays small.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use clients::kafka::{Client, answer};
use kafka::wire::create_topics::CreatableTopic;
use kafka::wire::describe_configs::DescribeConfigsResource;
use kafka::wire::elect_leaders::TopicPartitions;
use kafka::wire::join_group::JoinGroupRequestProtocol;
use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::offset_fetch::OffsetFetchRequestGroup;
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{
    CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, ElectLeadersRequest, FindCoordinatorRequest,
    JoinGroupRequest, JoinGroupResponse, Message, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse, SyncGroupRequest,
    SyncGroupResponse,
};

use testkit::forge::sound;

use crate::broker::{Broker, Options};

const MIB: u64 = 1 << 20;
const TOPIC: i8 = 2;
const POLICY_VIOLATION: i16 = 44;
/// Partitions with an offset, and bytes committed with each.
const PARTITIONS: i32 = 2000;
const METADATA: usize = 100;
/// Bytes a member brings.
const MEMBER: usize = 300 << 10;

async fn connect(broker: &Broker) -> Client {
    let at = broker.address("kafka").unwrap();
    Client::connect(at).await.unwrap()
}

/// Asks and reads the answer.
pub(crate) async fn ask<'a, R: Message<'a>, A: Message<'static>>(
    client: &mut Client,
    version: i16,
    request: &R,
) -> A {
    let body: &'static Bytes = Box::leak(Box::new(client.call(version, request).await.unwrap()));
    answer(body, version)
}

async fn create(
    client: &mut Client,
    names: &[String],
    partitions: i32,
    dry: bool,
) -> CreateTopicsResponse<'static> {
    let topic = |name: &String| CreatableTopic {
        name: name.clone().into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let asked = CreateTopicsRequest {
        topics: names.iter().map(topic).collect(),
        validate_only: dry,
        ..CreateTopicsRequest::default()
    };
    ask(client, 5, &asked).await
}

/// A topic of many partitions, a group with an offset in each, and a group with a member that brought much.
async fn fill(client: &mut Client) {
    let made = create(client, &["wide".to_owned()], PARTITIONS, false).await;
    assert_eq!(made.topics[0].error_code, 0);
    let offset = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 5,
        committed_metadata: Some("m".repeat(METADATA).into()),
        ..OffsetCommitRequestPartition::default()
    };
    for from in (0..PARTITIONS).step_by(500) {
        let commit = OffsetCommitRequest {
            group_id: "readers".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: "wide".into(),
                partitions: (from..from + 500).map(offset).collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let committed: OffsetCommitResponse<'_> = ask(client, 8, &commit).await;
        assert_eq!(committed.topics[0].partitions[1].error_code, 0);
    }
    let join = JoinGroupRequest {
        group_id: "members".into(),
        session_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Cow::Owned(vec![b'm'; MEMBER]),
        }],
        ..JoinGroupRequest::default()
    };
    let joined: JoinGroupResponse<'_> = ask(client, 0, &join).await;
    assert_eq!(joined.error_code, 0);
    let sync = SyncGroupRequest {
        group_id: "members".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id,
        ..SyncGroupRequest::default()
    };
    let synced: SyncGroupResponse<'_> = ask(client, 0, &sync).await;
    assert_eq!(synced.error_code, 0);
}

async fn fetch_offsets(client: &mut Client, times: usize) -> OffsetFetchResponse<'static> {
    let group = OffsetFetchRequestGroup {
        group_id: "readers".into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let asked = OffsetFetchRequest {
        groups: vec![group; times],
        ..OffsetFetchRequest::default()
    };
    ask(client, 8, &asked).await
}

/// The offsets of a group that is named very often are told as often as there is room for.
async fn offsets(client: &mut Client) {
    let fetched = fetch_offsets(client, 500).await;
    assert_eq!(fetched.groups.len(), 500);
    let first = &fetched.groups[0];
    let partitions = &first.topics[0].partitions;
    assert_eq!((first.error_code, partitions.len()), (0, 2000));
    assert_eq!(partitions[7].committed_offset, 5);
    assert_eq!(partitions[7].metadata.as_ref().unwrap().len(), METADATA);
    let last = &fetched.groups[499];
    assert_eq!((last.error_code, last.topics.len()), (POLICY_VIOLATION, 0));
    let once = fetch_offsets(client, 1).await;
    assert_eq!(once.groups[0].topics[0].partitions.len(), 2000);
}

async fn configs(client: &mut Client) {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: "wide".into(),
        configuration_keys: None,
    };
    let asked = DescribeConfigsRequest {
        resources: vec![resource; 20_000],
        include_synonyms: true,
        include_documentation: false,
    };
    let told: DescribeConfigsResponse<'_> = ask(client, 1, &asked).await;
    assert_eq!(told.results.len(), 20_000);
    assert_eq!(told.results[0].error_code, 0);
    assert!(told.results[0].configs.len() > 20);
    let last = &told.results[19_999];
    assert_eq!((last.error_code, last.configs.len()), (POLICY_VIOLATION, 0));
}

async fn groups(client: &mut Client) {
    let asked = DescribeGroupsRequest {
        groups: vec!["members".into(); 300],
        ..DescribeGroupsRequest::default()
    };
    let told: DescribeGroupsResponse<'_> = ask(client, 0, &asked).await;
    assert_eq!(told.groups[0].members[0].member_metadata.len(), MEMBER);
    let last = &told.groups[299];
    assert_eq!((last.error_code, last.members.len()), (POLICY_VIOLATION, 0));
}

async fn topics(client: &mut Client) {
    let names = |count: usize| -> Vec<String> { (0..count).map(|n| format!("a{n}")).collect() };
    let told = create(client, &names(12_000), 1, true).await;
    assert_eq!(told.topics.len(), 12_000);
    let text = "Excessively large number of partitions per request.";
    for refused in [&told.topics[0], &told.topics[11_999]] {
        assert_eq!(refused.error_code, POLICY_VIOLATION);
        assert_eq!(refused.error_message.as_deref(), Some(text));
    }
    // So many are checked; the settings of the last ones are left out.
    let told = create(client, &names(5000), 1, true).await;
    assert!(told.topics[0].configs.as_ref().unwrap().len() > 20);
    let last = &told.topics[4999];
    assert_eq!((last.error_code, last.num_partitions), (0, 1));
    assert_eq!(last.topic_config_error_code, POLICY_VIOLATION);
    assert_eq!(last.configs, None);
}

/// What has no place for an error ends the connection, with a reason in the log.
async fn refusals(broker: &Broker) {
    let elect = ElectLeadersRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic: "n".repeat(30_000).into(),
            partitions: (0..50_000).collect(),
        }]),
        ..ElectLeadersRequest::default()
    };
    let closed = connect(broker).await.call(1, &elect).await;
    assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["".into(); 500_000],
        ..FindCoordinatorRequest::default()
    };
    let closed = connect(broker).await.call(4, &find).await;
    assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let log = broker.log();
    for key in ["ElectLeaders", "FindCoordinator"] {
        let reason = format!("the answer to {key} would take more than");
        assert!(log.contains(&reason), "{reason}: {log}");
    }
}

#[tokio::test]
async fn answers_have_a_limit_and_count_before_they_are_made() {
    let options = Options::new().env("FOREBAY__MEMORY__BUDGET_BYTES", "96MiB");
    let mut broker = options.start();
    let mut client = connect(&broker).await;
    fill(&mut client).await;
    offsets(&mut client).await;
    configs(&mut client).await;
    groups(&mut client).await;
    topics(&mut client).await;
    refusals(&broker).await;
    let peak = broker.peak_bytes();
    assert!(peak < 200 * MIB, "{} MiB at the most", peak / MIB);
    assert_eq!(fetch_offsets(&mut client, 1).await.groups[0].error_code, 0);
    assert!(broker.terminate().success(), "{}", broker.log());
}

async fn produce(client: &mut Client, batch: Bytes) -> i16 {
    let asked = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "packed".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: batch.into(),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let produced: ProduceResponse<'_> = ask(client, 9, &asked).await;
    produced.responses[0].partition_responses[0].error_code
}

fn records(broker: &Broker, from: u64) -> (u16, serde_json::Value) {
    let path = format!("/api/v1/topics/packed/records?max=1000&from={from}");
    let (status, body) = broker.get(&path);
    assert!(body.len() < 16 << 20, "{} bytes", body.len());
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn records_count_what_they_open_to() {
    let options = Options::new().env("FOREBAY__MEMORY__BUDGET_BYTES", "64MiB");
    let mut broker = options.start();
    let mut client = connect(&broker).await;
    let made = create(&mut client, &["packed".to_owned()], 1, false).await;
    assert_eq!(made.topics[0].error_code, 0);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let value = vec![0; 1 << 20];
    let each: Vec<(Option<&[u8]>, &[u8])> = (0..100).map(|_| (None, &value[..])).collect();
    let batch = sound(4, now, &each);
    assert!(batch.len() < 64 << 10, "{}", batch.len());
    for _ in 0..4 {
        assert_eq!(produce(&mut client, batch.clone()).await, 0);
    }
    let large = sound(4, now, &[(None, &vec![0; 50 << 20][..])]);
    assert_eq!(produce(&mut client, large).await, 0);
    // As many as an answer has room for, and where to go on.
    for from in [0, 98, 399] {
        let (status, read) = records(&broker, from);
        assert_eq!(status, 200, "{read}");
        let told = read["records"].as_array().unwrap();
        let most = 20.min(400 - from);
        assert!((1..=most).contains(&(told.len() as u64)), "{}", told.len());
        assert_eq!(told[0]["offset"], from);
        assert_eq!(read["next"], from + told.len() as u64);
        let shown = told[0]["value_base64"].as_str().unwrap();
        assert_eq!(shown.len(), value.len().div_ceil(3) * 4);
    }
    let (status, problem) = records(&broker, 400);
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("the record at offset 400 has more than"),
        "{detail}"
    );
    let peak = broker.peak_bytes();
    assert!(peak < 200 * MIB, "{} MiB at the most", peak / MIB);
    assert!(broker.terminate().success(), "{}", broker.log());
}
