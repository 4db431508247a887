//! Very many consumer groups, and groups with very large members and texts, sent to the real process: what the state of all
//! groups takes in memory is bounded, and what does not fit is refused with what clients understand. Commits that replace
//! an offset go on, and so does everything that makes room.

use clients::kafka::{Client, create_topic};
use kafka::wire::join_group::JoinGroupRequestProtocol;
use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::sync_group::SyncGroupRequestAssignment;
use kafka::wire::{
    DeleteGroupsRequest, DeleteGroupsResponse, JoinGroupRequest, JoinGroupResponse,
    ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use crate::answers::ask;
use crate::broker::{Broker, Options};
use crate::records::kafka;

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const MEMBER_ID_REQUIRED: i16 = 79;
const LIMIT: &str = "FOREBAY__MEMORY__GROUP_STATE_BYTES";

async fn commit(client: &mut Client, group: &str, topic: &str, metadata: usize) -> i16 {
    let asked = OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned().into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 5,
                committed_metadata: Some("m".repeat(metadata).into()),
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let committed: OffsetCommitResponse<'_> = ask(client, 8, &asked).await;
    committed.topics[0].partitions[0].error_code
}

async fn join(
    client: &mut Client,
    version: i16,
    group: &str,
    metadata: usize,
) -> JoinGroupResponse<'static> {
    let asked = JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: if version < 1 { -1 } else { 60_000 },
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: vec![b'm'; metadata].into(),
        }],
        ..JoinGroupRequest::default()
    };
    ask(client, version, &asked).await
}

async fn sync(client: &mut Client, joined: &JoinGroupResponse<'_>, assignment: usize) -> i16 {
    let asked = SyncGroupRequest {
        group_id: "large".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone().into_owned().into(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone().into_owned().into(),
            assignment: vec![b'a'; assignment].into(),
        }],
        ..SyncGroupRequest::default()
    };
    let synced: SyncGroupResponse<'_> = ask(client, 0, &asked).await;
    synced.error_code
}

async fn delete(client: &mut Client, groups: &[String]) {
    let asked = DeleteGroupsRequest {
        groups_names: groups.iter().map(|name| name.clone().into()).collect(),
    };
    let deleted: DeleteGroupsResponse<'_> = ask(client, 1, &asked).await;
    assert!(deleted.results.iter().all(|result| result.error_code == 0));
}

async fn names(client: &mut Client) -> Vec<String> {
    let listed: ListGroupsResponse<'_> = ask(client, 2, &ListGroupsRequest::default()).await;
    let names = listed.groups.into_iter();
    names.map(|group| group.group_id.into_owned()).collect()
}

/// What the broker says the state of its groups takes, and may take.
fn state_bytes(broker: &Broker) -> [u64; 2] {
    let (_, metrics) = broker.get("/metrics");
    [
        "forebay_group_state_bytes ",
        "forebay_group_state_limit_bytes ",
    ]
    .map(|name| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_usual_commits_go_on() {
    let broker = Options::new().env(LIMIT, "512KiB").start();
    let mut client = kafka(&broker).await;
    for topic in ["orders", "more"] {
        assert_eq!(create_topic(&mut client, topic).await, 0);
    }
    assert_eq!(state_bytes(&broker), [0, 512 << 10]);

    let large = join(&mut client, 0, "large", 50_000).await;
    assert_eq!(large.error_code, 0);
    let mut made = Vec::new();
    for number in 0..200 {
        let name = format!("group-{number}");
        match commit(&mut client, &name, "orders", 4_000).await {
            0 => made.push(name),
            code => assert_eq!(code, COORDINATOR_LOAD_IN_PROGRESS),
        }
    }
    assert!((40..60).contains(&made.len()), "{} groups", made.len());
    while join(&mut client, 4, &format!("id-{}", made.len()), 0)
        .await
        .error_code
        == MEMBER_ID_REQUIRED
    {
        made.push(format!("id-{}", made.len()));
    }

    // Whatever adds to it is refused, and nothing is left of the group.
    let id = join(&mut client, 4, "new", 0).await;
    assert_eq!(id.error_code, COORDINATOR_LOAD_IN_PROGRESS);
    let member = join(&mut client, 3, "new", 1 << 10).await;
    assert_eq!(member.error_code, COORDINATOR_LOAD_IN_PROGRESS);
    let code = sync(&mut client, &large, 10_000).await;
    assert_eq!(code, COORDINATOR_NOT_AVAILABLE);
    let code = commit(&mut client, "group-0", "more", 4_000).await;
    assert_eq!(code, COORDINATOR_LOAD_IN_PROGRESS);
    assert!(!names(&mut client).await.contains(&"new".to_owned()));

    // The usual goes on.
    for name in made.iter().filter(|name| name.starts_with("group")) {
        assert_eq!(
            commit(&mut client, name, "orders", 4_000).await,
            0,
            "{name}"
        );
    }
    assert_eq!(sync(&mut client, &large, 0).await, 0);

    let [taken, most] = state_bytes(&broker);
    assert!(taken <= most && most - taken < 4_000, "{taken} of {most}");
    drop(client);
    let broker = broker.restart();
    let mut client = kafka(&broker).await;
    // But for the ids, which are handed out anew.
    let [again, _] = state_bytes(&broker);
    assert!(
        again <= taken && taken - again < 20_000,
        "{again}, it was {taken}"
    );

    delete(&mut client, &made[..20]).await;
    assert!(state_bytes(&broker)[0] < again - 20 * 8_000);
    assert_eq!(join(&mut client, 0, "new", 20_000).await.error_code, 0);
}
