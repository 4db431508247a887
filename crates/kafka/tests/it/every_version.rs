//! Every API in every advertised version: a plausible request, and the usual ways to be refused, get an answer
//! that an independent codec reads.

use kafka::wire::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AnyRequest, AnyResponse, ApiKey,
    ApiVersionsRequest, ApiVersionsResponse, CreateAclsRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeAclsRequest, DescribeClientQuotasRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, DescribeUserScramCredentialsRequest,
    ElectLeadersRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, SyncGroupRequest, alter_configs, alter_partition_reassignments, create_acls,
    create_partitions, create_topics, delete_acls, delete_records, delete_topics, describe_configs,
    describe_log_dirs, describe_producers, describe_topic_partitions, elect_leaders,
    incremental_alter_configs, join_group, leave_group, list_offsets, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, sync_group,
};
use uuid::Uuid;

use crate::client::{Client, Server, body};
use crate::kit::{Batch, fetch_from, fetch_request, new_topic, produce_request, produce_to};

/// What requests refer to.
struct World {
    topic: (&'static str, Uuid),
    producers: i64,
}

const NOWHERE: (&str, Uuid) = ("nowhere", Uuid::from_u128(77));

#[tokio::test]
async fn everything_advertised_is_answered_in_every_version() {
    let server = Server::start().await;
    let mut client = server.connect();
    let advertised: ApiVersionsResponse<'_> = client.ask(2, &ApiVersionsRequest::default()).await;
    let id = client.create("orders", 2, &[]).await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    let mut world = World {
        topic: ("orders", id),
        producers: 0,
    };
    commit_something(&mut client, id).await;
    let (mut pairs, mut asked) = (0, 0);
    let mut unanswered = Vec::new();
    for (key, version) in every_version(&advertised) {
        if !key.supports(version) {
            assert!(key == ApiKey::Produce && version < 3, "{key:?} v{version}");
            continue;
        }
        for request in requests(key, version, &mut world) {
            let encoded = body(|w| request.encode(w, version));
            asked += 1;
            if let Some(answer) = client.ask_encoded(key, version, &encoded).await {
                sound(&answer, version);
            } else {
                unanswered.push(format!("{key:?} v{version}: {request:?}"));
                client = server.connect();
            }
        }
        pairs += 1;
    }
    assert!(unanswered.is_empty(), "{unanswered:#?}");
    assert!(pairs > 130, "only {pairs} versions");
    assert!(asked > 2 * pairs, "only {asked} requests");
}

fn every_version(advertised: &ApiVersionsResponse<'_>) -> Vec<(ApiKey, i16)> {
    let ranges = advertised.api_keys.iter().map(|range| {
        let key = ApiKey::try_from(range.api_key).expect("a known key");
        (range.min_version..=range.max_version).map(move |version| (key, version))
    });
    ranges.flatten().collect()
}

async fn commit_something(client: &mut Client, id: Uuid) {
    for version in [9, 10] {
        let request = offset_commit("workers", ("orders", id), version);
        let encoded = body(|w| request.encode(w, version));
        let answer = client
            .ask_encoded(ApiKey::OffsetCommit, version, &encoded)
            .await;
        answer.expect("a commit is answered");
    }
}

/// No answer may hide behind the error code for what nobody has thought of.
fn sound(answer: &AnyResponse<'_>, version: i16) {
    let text = format!("{answer:?}");
    assert!(!text.contains("error_code: -1,"), "v{version}: {text}");
}

fn requests(key: ApiKey, v: i16, world: &mut World) -> Vec<AnyRequest<'static>> {
    match key {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::InitProducerId => records(key, v, world),
        ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch | ApiKey::DeleteRecords => {
            positions(key, v, world)
        }
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete => {
            committed(key, v, world)
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => {
            membership(key, v)
        }
        ApiKey::DescribeConfigs | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            configs(key, v)
        }
        ApiKey::Metadata | ApiKey::DescribeCluster | ApiKey::DescribeTopicPartitions => {
            descriptions(key, v, world)
        }
        ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions => topics(key, v),
        ApiKey::ApiVersions => vec![AnyRequest::ApiVersions(ApiVersionsRequest {
            client_software_name: if v >= 3 { "tester".into() } else { "".into() },
            client_software_version: if v >= 3 { "1.0".into() } else { "".into() },
            ..ApiVersionsRequest::default()
        })],
        ApiKey::ElectLeaders
        | ApiKey::AlterPartitionReassignments
        | ApiKey::ListPartitionReassignments
        | ApiKey::DescribeLogDirs
        | ApiKey::DescribeProducers
        | ApiKey::ListConfigResources => cluster(key, v),
        ApiKey::DescribeAcls
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::DescribeClientQuotas
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::ListTransactions => vec![security(key)],
        _ => groups(key, v),
    }
}

fn security(key: ApiKey) -> AnyRequest<'static> {
    match key {
        ApiKey::DescribeAcls => AnyRequest::DescribeAcls(DescribeAclsRequest::default()),
        ApiKey::CreateAcls => AnyRequest::CreateAcls(CreateAclsRequest {
            creations: vec![create_acls::AclCreation::default()],
        }),
        ApiKey::DeleteAcls => AnyRequest::DeleteAcls(DeleteAclsRequest {
            filters: vec![delete_acls::DeleteAclsFilter::default()],
        }),
        ApiKey::DescribeClientQuotas => {
            AnyRequest::DescribeClientQuotas(DescribeClientQuotasRequest::default())
        }
        ApiKey::DescribeUserScramCredentials => {
            AnyRequest::DescribeUserScramCredentials(DescribeUserScramCredentialsRequest {
                users: None,
            })
        }
        _ => AnyRequest::ListTransactions(ListTransactionsRequest::default()),
    }
}

fn cluster(key: ApiKey, v: i16) -> Vec<AnyRequest<'static>> {
    let names = ["orders", "nowhere"];
    match key {
        ApiKey::ElectLeaders => {
            let topic_partitions = names.map(|topic| elect_leaders::TopicPartitions {
                topic: topic.into(),
                partitions: vec![0, 9],
            });
            let election_type = i8::from(v > 0);
            [None, Some(topic_partitions.to_vec())]
                .map(|topic_partitions| {
                    AnyRequest::ElectLeaders(ElectLeadersRequest {
                        election_type,
                        topic_partitions,
                        ..ElectLeadersRequest::default()
                    })
                })
                .to_vec()
        }
        ApiKey::AlterPartitionReassignments => {
            let partition = |replicas| alter_partition_reassignments::ReassignablePartition {
                partition_index: 0,
                replicas,
            };
            let topics = names.map(|name| alter_partition_reassignments::ReassignableTopic {
                name: name.into(),
                partitions: vec![partition(Some(vec![1])), partition(None)],
            });
            vec![AnyRequest::AlterPartitionReassignments(
                AlterPartitionReassignmentsRequest {
                    topics: topics.to_vec(),
                    ..AlterPartitionReassignmentsRequest::default()
                },
            )]
        }
        ApiKey::ListPartitionReassignments => vec![AnyRequest::ListPartitionReassignments(
            ListPartitionReassignmentsRequest::default(),
        )],
        ApiKey::DescribeLogDirs => {
            let topics = names.map(|topic| describe_log_dirs::DescribableLogDirTopic {
                topic: topic.into(),
                partitions: vec![0],
            });
            [None, Some(topics.to_vec())]
                .map(|topics| AnyRequest::DescribeLogDirs(DescribeLogDirsRequest { topics }))
                .to_vec()
        }
        ApiKey::DescribeProducers => {
            let topics = names.map(|name| describe_producers::TopicRequest {
                name: name.into(),
                partition_indexes: vec![0, 9],
            });
            vec![AnyRequest::DescribeProducers(DescribeProducersRequest {
                topics: topics.to_vec(),
            })]
        }
        _ => vec![AnyRequest::ListConfigResources(
            ListConfigResourcesRequest::default(),
        )],
    }
}

fn records(key: ApiKey, v: i16, world: &mut World) -> Vec<AnyRequest<'static>> {
    let good = Batch::of(&["x"]).bytes();
    let mut corrupt = good.to_vec();
    corrupt[30] ^= 1;
    world.producers += 1;
    let gap = Batch::of(&["x"]).producer(1 << 40, 0, 0).bytes();
    let late = Batch::of(&["x"]).producer(1 << 40, 0, 9).bytes();
    let produce = |acks, topic, batch| {
        AnyRequest::Produce(produce_request(acks, produce_to(topic, vec![(0, batch)])))
    };
    let fetch = |topic, partition, offset| {
        let topic = fetch_from(topic, &[(partition, offset)]);
        AnyRequest::Fetch(fetch_request(vec![topic]))
    };
    let session = FetchRequest {
        session_id: if v >= 7 { 5 } else { 0 },
        ..fetch_request(Vec::new())
    };
    let init = |name: Option<&'static str>| {
        AnyRequest::InitProducerId(InitProducerIdRequest {
            transactional_id: name.map(Into::into),
            transaction_timeout_ms: 1000,
            ..InitProducerIdRequest::default()
        })
    };
    match key {
        ApiKey::Produce => vec![
            produce(-1, world.topic, good.clone()),
            produce(1, world.topic, good.clone()),
            produce(7, world.topic, good.clone()),
            produce(-1, NOWHERE, good.clone()),
            produce(-1, world.topic, corrupt.into()),
            produce(-1, world.topic, bytes::Bytes::new()),
            produce(-1, world.topic, gap),
            produce(-1, world.topic, late),
            AnyRequest::Produce(ProduceRequest {
                transactional_id: Some("t".into()),
                ..produce_request(-1, produce_to(world.topic, vec![(0, good)]))
            }),
        ],
        ApiKey::Fetch => vec![
            fetch(world.topic, 0, 0),
            fetch(world.topic, 1, 0),
            fetch(world.topic, 0, 1 << 40),
            fetch(world.topic, 9, 0),
            fetch(NOWHERE, 0, 0),
            AnyRequest::Fetch(session),
        ],
        _ => vec![init(None), init(Some("t"))],
    }
}

fn positions(key: ApiKey, v: i16, world: &World) -> Vec<AnyRequest<'static>> {
    let name = world.topic.0;
    let list = |topic: &'static str, timestamp, epoch| {
        AnyRequest::ListOffsets(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![list_offsets::ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![list_offsets::ListOffsetsPartition {
                    timestamp,
                    current_leader_epoch: if v >= 4 { epoch } else { -1 },
                    ..list_offsets::ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        })
    };
    let epoch = |topic: &'static str, current, wanted| {
        AnyRequest::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest {
            topics: vec![offset_for_leader_epoch::OffsetForLeaderTopic {
                topic: topic.into(),
                partitions: vec![offset_for_leader_epoch::OffsetForLeaderPartition {
                    current_leader_epoch: current,
                    leader_epoch: wanted,
                    ..offset_for_leader_epoch::OffsetForLeaderPartition::default()
                }],
            }],
            ..OffsetForLeaderEpochRequest::default()
        })
    };
    let delete = |topic: &'static str, offset| {
        AnyRequest::DeleteRecords(DeleteRecordsRequest {
            topics: vec![delete_records::DeleteRecordsTopic {
                name: topic.into(),
                partitions: vec![delete_records::DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            ..DeleteRecordsRequest::default()
        })
    };
    match key {
        ApiKey::ListOffsets => [-1, -2, -3, -4, -5, -6, 0, crate::kit::NOW]
            .into_iter()
            .map(|time| list(name, time, -1))
            .chain([list(name, -1, 5), list("nowhere", -1, -1)])
            .collect(),
        ApiKey::OffsetForLeaderEpoch => vec![
            epoch(name, 0, 0),
            epoch(name, 3, 0),
            epoch(name, -1, 3),
            epoch("nowhere", 0, 0),
        ],
        _ => vec![
            delete(name, 0),
            delete(name, 1 << 40),
            delete(name, -7),
            delete("nowhere", 0),
        ],
    }
}

fn offset_commit(group: &'static str, topic: (&'static str, Uuid), v: i16) -> AnyRequest<'static> {
    AnyRequest::OffsetCommit(OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![offset_commit::OffsetCommitRequestTopic {
            name: topic.0.into(),
            topic_id: topic.1,
            partitions: vec![offset_commit::OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 1,
                committed_leader_epoch: if v >= 6 { 0 } else { -1 },
                committed_metadata: Some("note".into()),
            }],
        }],
        ..OffsetCommitRequest::default()
    })
}

fn committed(key: ApiKey, v: i16, world: &World) -> Vec<AnyRequest<'static>> {
    let strange_member = |group: &'static str| {
        let AnyRequest::OffsetCommit(mut request) = offset_commit(group, world.topic, v) else {
            unreachable!("made above")
        };
        request.generation_id_or_member_epoch = 3;
        request.member_id = "who".into();
        AnyRequest::OffsetCommit(request)
    };
    match key {
        ApiKey::OffsetCommit => vec![
            offset_commit("workers", world.topic, v),
            offset_commit("workers", NOWHERE, v),
            offset_commit("", world.topic, v),
            strange_member("workers"),
            strange_member("no such group"),
        ],
        ApiKey::OffsetFetch => ["workers", "no such group", ""]
            .into_iter()
            .flat_map(|group| {
                let mut asked = vec![
                    offset_fetch(group, Some(world.topic), v),
                    offset_fetch(group, Some(NOWHERE), v),
                ];
                if v >= 2 {
                    asked.push(offset_fetch(group, None, v));
                }
                asked
            })
            .collect(),
        _ => ["workers", "no such group", ""]
            .into_iter()
            .map(|group| {
                AnyRequest::OffsetDelete(OffsetDeleteRequest {
                    group_id: group.into(),
                    topics: vec![offset_delete::OffsetDeleteRequestTopic {
                        name: world.topic.0.into(),
                        partitions: vec![offset_delete::OffsetDeleteRequestPartition {
                            partition_index: 1,
                        }],
                    }],
                })
            })
            .collect(),
    }
}

fn offset_fetch(
    group: &'static str,
    topic: Option<(&'static str, Uuid)>,
    v: i16,
) -> AnyRequest<'static> {
    let require_stable = v >= 7;
    if v < 8 {
        return AnyRequest::OffsetFetch(OffsetFetchRequest {
            group_id: group.into(),
            topics: topic.map(|(name, _)| {
                vec![offset_fetch::OffsetFetchRequestTopic {
                    name: name.into(),
                    partition_indexes: vec![0, 1],
                }]
            }),
            require_stable,
            ..OffsetFetchRequest::default()
        });
    }
    AnyRequest::OffsetFetch(OffsetFetchRequest {
        groups: vec![offset_fetch::OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: topic.map(|(name, topic_id)| {
                vec![offset_fetch::OffsetFetchRequestTopics {
                    name: name.into(),
                    topic_id,
                    partition_indexes: vec![0, 1],
                }]
            }),
            ..offset_fetch::OffsetFetchRequestGroup::default()
        }],
        require_stable,
        ..OffsetFetchRequest::default()
    })
}

fn membership(key: ApiKey, v: i16) -> Vec<AnyRequest<'static>> {
    let join = |group: String, member: &'static str, session| {
        AnyRequest::JoinGroup(JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: session,
            rebalance_timeout_ms: if v >= 1 { 10_000 } else { -1 },
            member_id: member.into(),
            protocol_type: "consumer".into(),
            protocols: vec![join_group::JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: b"\0\0\0\0\0\0".as_slice().into(),
            }],
            ..JoinGroupRequest::default()
        })
    };
    let leave = |group: &'static str| {
        let mut request = LeaveGroupRequest {
            group_id: group.into(),
            ..LeaveGroupRequest::default()
        };
        if v >= 3 {
            request.members = vec![leave_group::MemberIdentity {
                member_id: "who".into(),
                ..leave_group::MemberIdentity::default()
            }];
        } else {
            request.member_id = "who".into();
        }
        AnyRequest::LeaveGroup(request)
    };
    let groups = ["workers", "no such group", ""];
    match key {
        ApiKey::JoinGroup => vec![
            join(format!("joined at {v}"), "", 10_000),
            join(format!("refused at {v}"), "", 1),
            join("workers".into(), "who", 10_000),
            join("no such group".into(), "who", 10_000),
            join(String::new(), "", 10_000),
        ],
        ApiKey::SyncGroup => groups
            .into_iter()
            .map(|group| {
                AnyRequest::SyncGroup(SyncGroupRequest {
                    group_id: group.into(),
                    generation_id: 1,
                    member_id: "who".into(),
                    protocol_type: (v >= 5).then(|| "consumer".into()),
                    protocol_name: (v >= 5).then(|| "range".into()),
                    assignments: vec![sync_group::SyncGroupRequestAssignment {
                        member_id: "who".into(),
                        assignment: b"all".as_slice().into(),
                    }],
                    ..SyncGroupRequest::default()
                })
            })
            .collect(),
        ApiKey::Heartbeat => groups
            .into_iter()
            .map(|group| {
                AnyRequest::Heartbeat(HeartbeatRequest {
                    group_id: group.into(),
                    generation_id: 1,
                    member_id: "who".into(),
                    ..HeartbeatRequest::default()
                })
            })
            .collect(),
        _ => groups.into_iter().map(leave).collect(),
    }
}

fn groups(key: ApiKey, v: i16) -> Vec<AnyRequest<'static>> {
    let names = || {
        vec![
            "workers".into(),
            "joined at 0".into(),
            "nobody".into(),
            "".into(),
        ]
    };
    let find = |name: &'static str, kind| {
        AnyRequest::FindCoordinator(FindCoordinatorRequest {
            key: if v < 4 { name.into() } else { "".into() },
            key_type: if v >= 1 { kind } else { 0 },
            coordinator_keys: if v < 4 {
                Vec::new()
            } else {
                vec![name.into(), "".into()]
            },
        })
    };
    match key {
        ApiKey::FindCoordinator => {
            vec![find("workers", 0), find("", 0), find("t", 1), find("s", 2)]
        }
        ApiKey::DescribeGroups => vec![AnyRequest::DescribeGroups(DescribeGroupsRequest {
            groups: names(),
            include_authorized_operations: v >= 3,
        })],
        ApiKey::ListGroups => {
            let mut filtered = ListGroupsRequest::default();
            if v >= 4 {
                filtered.states_filter = vec!["Stable".into()];
            }
            if v >= 5 {
                filtered.types_filter = vec!["classic".into()];
            }
            vec![
                AnyRequest::ListGroups(ListGroupsRequest::default()),
                AnyRequest::ListGroups(filtered),
            ]
        }
        ApiKey::DeleteGroups => vec![AnyRequest::DeleteGroups(DeleteGroupsRequest {
            groups_names: vec!["nobody".into(), "joined at 0".into(), "".into()],
        })],
        other => panic!("{other:?} is advertised and not tested"),
    }
}

fn configs(key: ApiKey, v: i16) -> Vec<AnyRequest<'static>> {
    let targets = [
        (2, "orders"),
        (2, "nowhere"),
        (4, "0"),
        (4, "9"),
        (77, "what"),
    ];
    let describe = |(kind, name): (i8, &'static str)| {
        AnyRequest::DescribeConfigs(DescribeConfigsRequest {
            resources: vec![describe_configs::DescribeConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            include_documentation: v >= 3,
        })
    };
    let alter = |(kind, name): (i8, &'static str)| {
        AnyRequest::AlterConfigs(AlterConfigsRequest {
            resources: vec![alter_configs::AlterConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configs: vec![alter_configs::AlterableConfig {
                    name: "retention.ms".into(),
                    value: Some("-1".into()),
                }],
            }],
            validate_only: true,
        })
    };
    let incremental = |(kind, name): (i8, &'static str)| {
        AnyRequest::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
            resources: vec![incremental_alter_configs::AlterConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configs: vec![incremental_alter_configs::AlterableConfig {
                    name: "retention.ms".into(),
                    config_operation: 0,
                    value: Some("-1".into()),
                }],
            }],
            validate_only: true,
        })
    };
    let targets = targets.into_iter();
    match key {
        ApiKey::DescribeConfigs => targets.map(describe).collect(),
        ApiKey::AlterConfigs => targets.map(alter).collect(),
        _ => targets.map(incremental).collect(),
    }
}

fn descriptions(key: ApiKey, v: i16, world: &World) -> Vec<AnyRequest<'static>> {
    let metadata = |topics: Option<Vec<metadata::MetadataRequestTopic<'static>>>| {
        AnyRequest::Metadata(MetadataRequest {
            topics: topics.or_else(|| (v == 0).then(Vec::new)),
            include_cluster_authorized_operations: (8..=10).contains(&v),
            include_topic_authorized_operations: v >= 8,
            ..MetadataRequest::default()
        })
    };
    let named = |name: &'static str| metadata::MetadataRequestTopic {
        name: Some(name.into()),
        ..metadata::MetadataRequestTopic::default()
    };
    let by_id = |topic_id| metadata::MetadataRequestTopic {
        name: None,
        topic_id,
    };
    match key {
        ApiKey::Metadata => {
            let mut asked = vec![
                metadata(None),
                metadata(Some(vec![named("orders"), named("not a name!")])),
                metadata(Some(Vec::new())),
            ];
            if v >= 10 {
                let both = vec![by_id(world.topic.1), by_id(NOWHERE.1)];
                asked.push(metadata(Some(both)));
            }
            asked
        }
        ApiKey::DescribeCluster => vec![1, 2]
            .into_iter()
            .map(|endpoint_type| {
                AnyRequest::DescribeCluster(DescribeClusterRequest {
                    include_cluster_authorized_operations: true,
                    endpoint_type: if v >= 1 { endpoint_type } else { 1 },
                    ..DescribeClusterRequest::default()
                })
            })
            .collect(),
        _ => vec![AnyRequest::DescribeTopicPartitions(
            DescribeTopicPartitionsRequest {
                topics: ["nowhere", "orders"]
                    .into_iter()
                    .map(|name| describe_topic_partitions::TopicRequest { name: name.into() })
                    .collect(),
                response_partition_limit: 1,
                cursor: None,
            },
        )],
    }
}

fn topics(key: ApiKey, v: i16) -> Vec<AnyRequest<'static>> {
    let name = format!("made-{v}");
    let create = |name: &str, partitions, replication| {
        let mut topic = new_topic(name, partitions);
        topic.replication_factor = replication;
        AnyRequest::CreateTopics(CreateTopicsRequest {
            topics: vec![topic],
            ..CreateTopicsRequest::default()
        })
    };
    match key {
        ApiKey::CreateTopics => vec![
            create(&name, 1, 1),
            create(&name, 1, 1),
            create("a b", 1, 1),
            create("zero", 0, 1),
            create("three", 1, 3),
            AnyRequest::CreateTopics(CreateTopicsRequest {
                topics: vec![create_topics::CreatableTopic {
                    assignments: vec![create_topics::CreatableReplicaAssignment {
                        partition_index: 0,
                        broker_ids: vec![5],
                    }],
                    num_partitions: -1,
                    replication_factor: -1,
                    ..new_topic("assigned", -1)
                }],
                validate_only: true,
                ..CreateTopicsRequest::default()
            }),
        ],
        ApiKey::DeleteTopics if v < 6 => vec![AnyRequest::DeleteTopics(DeleteTopicsRequest {
            topic_names: vec![name.into(), "nowhere".into()],
            ..DeleteTopicsRequest::default()
        })],
        ApiKey::DeleteTopics => {
            let state = |name: Option<&'static str>, topic_id| delete_topics::DeleteTopicState {
                name: name.map(Into::into),
                topic_id,
            };
            vec![AnyRequest::DeleteTopics(DeleteTopicsRequest {
                topics: vec![
                    state(Some("made-2"), Uuid::nil()),
                    state(Some("nowhere"), Uuid::nil()),
                    state(None, NOWHERE.1),
                    state(None, Uuid::nil()),
                ],
                ..DeleteTopicsRequest::default()
            })]
        }
        _ => [("orders", i32::from(v) + 3), ("orders", 1), ("nowhere", 2)]
            .into_iter()
            .map(|(name, count)| {
                AnyRequest::CreatePartitions(CreatePartitionsRequest {
                    topics: vec![create_partitions::CreatePartitionsTopic {
                        name: name.into(),
                        count,
                        assignments: None,
                    }],
                    ..CreatePartitionsRequest::default()
                })
            })
            .collect(),
    }
}
