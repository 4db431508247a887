//! Consumer groups: coordinator, membership, and the view from outside.

use std::time::Duration;

use kafka::wire::join_group::JoinGroupRequestProtocol;
use kafka::wire::leave_group::MemberIdentity;
use kafka::wire::sync_group::SyncGroupRequestAssignment;
use kafka::wire::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use testkit::HeldTime;
use tokio::time::advance;

use crate::client::{Client, Server};

pub(crate) fn join_request(group: &str, member: &str) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.to_owned().into(),
        protocol_type: "consumer".into(),
        protocols: ["range", "sticky"]
            .into_iter()
            .map(|name| JoinGroupRequestProtocol {
                name: name.into(),
                // Subscribed to the topic "orders".
                metadata: b"\0\0\0\0\0\x01\0\x06orders".as_slice().into(),
            })
            .collect(),
        ..JoinGroupRequest::default()
    }
}

/// Joins the way clients of this version do, and returns the answer of the completed round.
pub(crate) async fn join(
    client: &mut Client,
    version: i16,
    group: &str,
    member: &str,
) -> JoinGroupResponse<'static> {
    let mut request = join_request(group, member);
    if version < 1 {
        request.rebalance_timeout_ms = -1;
    }
    let answer: JoinGroupResponse<'_> = client.ask(version, &request).await;
    if answer.error_code == 79 {
        assert!(version >= 4, "v{version} does not know this code");
        assert!(!answer.member_id.is_empty());
        request.member_id = answer.member_id;
        return client.ask(version, &request).await;
    }
    answer
}

fn sync_request(
    group: &str,
    joined: &JoinGroupResponse<'_>,
    version: i16,
) -> SyncGroupRequest<'static> {
    SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone().into_owned().into(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: joined
            .members
            .iter()
            .map(|member| SyncGroupRequestAssignment {
                member_id: member.member_id.clone().into_owned().into(),
                assignment: format!("for {}", member.member_id).into_bytes().into(),
            })
            .collect(),
        ..SyncGroupRequest::default()
    }
}

/// Joins and syncs as the only member.
pub(crate) async fn settle_alone(client: &mut Client, group: &str) -> JoinGroupResponse<'static> {
    let joined = join(client, 7, group, "").await;
    assert_eq!(joined.error_code, 0);
    let synced: SyncGroupResponse<'_> = client.ask(5, &sync_request(group, &joined, 5)).await;
    assert_eq!(synced.error_code, 0);
    joined
}

async fn heartbeat(client: &mut Client, group: &str, member: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.to_owned().into(),
        generation_id,
        member_id: member.to_owned().into(),
        ..HeartbeatRequest::default()
    };
    let answer: HeartbeatResponse = client.ask(4, &request).await;
    answer.error_code
}

#[tokio::test]
async fn the_coordinator_is_this_broker_one_by_one_and_in_batches() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in 0..=3 {
        // Whatever is asked about: the coordinator itself says what is wrong with a name.
        for group in ["workers", ""] {
            let request = FindCoordinatorRequest {
                key: group.into(),
                ..FindCoordinatorRequest::default()
            };
            let answer: FindCoordinatorResponse<'_> = client.ask(version, &request).await;
            assert_eq!((answer.error_code, answer.node_id), (0, 1), "v{version}");
            assert!(answer.coordinators.is_empty());
        }
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec!["a".into(), "".into(), "b".into()],
            ..FindCoordinatorRequest::default()
        };
        let answer: FindCoordinatorResponse<'_> = client.ask(version, &request).await;
        let found: Vec<_> = answer
            .coordinators
            .iter()
            .map(|c| (c.key.as_ref(), c.error_code))
            .collect();
        assert_eq!(found, [("a", 0), ("", 0), ("b", 0)], "v{version}");
        assert_eq!(
            answer.coordinators[0].port,
            i32::from(client.connection.peer().port())
        );
    }
    let share = FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec!["x".into()],
        ..FindCoordinatorRequest::default()
    };
    let answer: FindCoordinatorResponse<'_> = client.ask(6, &share).await;
    assert_eq!(answer.coordinators[0].error_code, 42);
}

#[tokio::test]
async fn only_newer_clients_are_sent_back_with_a_member_id() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in 0..=9 {
        let mut request = join_request(&format!("v{version}"), "");
        if version < 1 {
            request.rebalance_timeout_ms = -1;
        }
        let answer: JoinGroupResponse<'_> = client.ask(version, &request).await;
        let expected = if version >= 4 { 79 } else { 0 };
        assert_eq!(answer.error_code, expected, "v{version}");
        assert!(!answer.member_id.is_empty(), "v{version}");
        request.member_id = answer.member_id;
        if expected == 79 {
            let answer: JoinGroupResponse<'_> = client.ask(version, &request).await;
            assert_eq!(
                (answer.error_code, &answer.member_id),
                (0, &request.member_id),
                "v{version}"
            );
        }
    }
}

#[tokio::test]
async fn static_members_need_no_second_round_trip() {
    let server = Server::start().await;
    let mut client = server.connect();
    let request = JoinGroupRequest {
        group_instance_id: Some("i-1".into()),
        ..join_request("workers", "")
    };
    let answer: JoinGroupResponse<'_> = client.ask(5, &request).await;
    assert_eq!(answer.error_code, 0);
    assert_eq!(answer.members[0].group_instance_id.as_deref(), Some("i-1"));
    let again: JoinGroupResponse<'_> = client.ask(5, &request).await;
    assert_eq!(again.error_code, 0);
    assert_ne!(again.member_id, answer.member_id);
    let fenced = HeartbeatRequest {
        group_id: "workers".into(),
        generation_id: again.generation_id,
        member_id: answer.member_id,
        group_instance_id: Some("i-1".into()),
    };
    let answer: HeartbeatResponse = client.ask(3, &fenced).await;
    assert_eq!(answer.error_code, 82, "its place was taken");
}

#[tokio::test]
async fn protocol_type_and_name_are_echoed_from_the_versions_that_have_them() {
    let server = Server::start().await;
    let mut client = server.connect();
    let joined = join(&mut client, 7, "workers", "").await;
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.leader, joined.member_id);
    let synced: SyncGroupResponse<'_> = client.ask(5, &sync_request("workers", &joined, 5)).await;
    assert_eq!(synced.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(synced.protocol_name.as_deref(), Some("range"));
    assert_eq!(
        synced.assignment.as_ref(),
        format!("for {}", joined.member_id).as_bytes()
    );
    let wrong = SyncGroupRequest {
        protocol_name: Some("sticky".into()),
        ..sync_request("workers", &joined, 5)
    };
    let answer: SyncGroupResponse<'_> = client.ask(5, &wrong).await;
    assert_eq!(answer.error_code, 23, "not the protocol that was chosen");
    for version in 0..=4 {
        let synced: SyncGroupResponse<'_> = client
            .ask(version, &sync_request("workers", &joined, version))
            .await;
        assert_eq!(synced.error_code, 0, "v{version}");
        assert!(!synced.assignment.is_empty());
    }
}

#[tokio::test]
async fn two_members_share_a_round() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    let first = settle_alone(&mut a, "workers").await;
    let request = join_request("workers", "");
    let told: JoinGroupResponse<'_> = b.ask(7, &request).await;
    let request_b = JoinGroupRequest {
        member_id: told.member_id.clone(),
        ..request
    };
    b.send(7, &request_b).await;
    // The first one learns of it with its next heartbeat.
    let code = loop {
        let code = heartbeat(&mut a, "workers", &first.member_id, first.generation_id).await;
        if code != 0 {
            break code;
        }
    };
    assert_eq!(code, 27);
    let joined_a = join(&mut a, 7, "workers", &first.member_id).await;
    let joined_b: JoinGroupResponse<'_> = b.answer().await;
    assert_eq!((joined_a.generation_id, joined_b.generation_id), (2, 2));
    assert_eq!(joined_a.leader, joined_b.leader);
    assert_eq!(
        joined_a.members.len() + joined_b.members.len(),
        2,
        "only the leader sees the members"
    );
    b.send(5, &sync_request("workers", &joined_b, 5)).await;
    let synced_a: SyncGroupResponse<'_> = a.ask(5, &sync_request("workers", &joined_a, 5)).await;
    let synced_b: SyncGroupResponse<'_> = b.answer().await;
    assert_eq!(
        synced_a.assignment.as_ref(),
        format!("for {}", joined_a.member_id).as_bytes()
    );
    assert_eq!(
        synced_b.assignment.as_ref(),
        format!("for {}", joined_b.member_id).as_bytes()
    );
    assert_eq!(
        heartbeat(&mut a, "workers", &joined_a.member_id, 1).await,
        22
    );
    assert_eq!(heartbeat(&mut a, "workers", "stranger", 2).await, 25);
    assert_eq!(heartbeat(&mut a, "nobody", "stranger", 2).await, 25);
    assert_eq!(heartbeat(&mut a, "", "stranger", 2).await, 24);
}

#[tokio::test]
async fn a_silent_member_is_removed_when_its_session_ends() {
    let server = Server::start().await;
    let mut client = server.connect();
    let joined = settle_alone(&mut client, "workers").await;
    let _held = HeldTime::pause();
    advance(Duration::from_secs(9)).await;
    assert_eq!(
        heartbeat(&mut client, "workers", &joined.member_id, 1).await,
        0
    );
    advance(Duration::from_secs(9)).await;
    assert_eq!(
        heartbeat(&mut client, "workers", &joined.member_id, 1).await,
        0,
        "a heartbeat keeps it alive"
    );
    advance(Duration::from_millis(10_001)).await;
    assert_eq!(
        heartbeat(&mut client, "workers", &joined.member_id, 1).await,
        25
    );
}

fn leave(group: &'static str, members: &[&str]) -> LeaveGroupRequest<'static> {
    LeaveGroupRequest {
        group_id: group.into(),
        members: members
            .iter()
            .map(|member| MemberIdentity {
                member_id: (*member).to_owned().into(),
                ..MemberIdentity::default()
            })
            .collect(),
        ..LeaveGroupRequest::default()
    }
}

#[tokio::test]
async fn members_leave_alone_or_together() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in 0..=2 {
        let joined = settle_alone(&mut client, "workers").await;
        let request = |member_id| LeaveGroupRequest {
            group_id: "workers".into(),
            member_id,
            ..LeaveGroupRequest::default()
        };
        let answer: LeaveGroupResponse<'_> = client
            .ask(version, &request(joined.member_id.clone()))
            .await;
        assert_eq!(answer.error_code, 0, "v{version}");
        let answer: LeaveGroupResponse<'_> = client.ask(version, &request(joined.member_id)).await;
        assert_eq!(answer.error_code, 25, "v{version}");
    }
    for version in 3..=5 {
        let joined = settle_alone(&mut client, "workers").await;
        let answer: LeaveGroupResponse<'_> = client
            .ask(version, &leave("workers", &["who", &joined.member_id]))
            .await;
        let codes: Vec<_> = answer.members.iter().map(|m| m.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![25, 0]), "v{version}");
        let answer: LeaveGroupResponse<'_> =
            client.ask(version, &leave("nobody", &["a", "b"])).await;
        let codes: Vec<_> = answer.members.iter().map(|m| m.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![25, 25]), "v{version}");
    }
}

async fn describe(
    client: &mut Client,
    version: i16,
    groups: &[&'static str],
) -> DescribeGroupsResponse<'static> {
    let request = DescribeGroupsRequest {
        groups: groups.iter().map(|g| (*g).into()).collect(),
        ..DescribeGroupsRequest::default()
    };
    client.ask(version, &request).await
}

#[tokio::test]
async fn groups_are_described_with_their_members() {
    let server = Server::start().await;
    let mut client = server.connect();
    let joined = settle_alone(&mut client, "workers").await;
    for version in 0..=6 {
        let answer = describe(&mut client, version, &["workers", "nobody"]).await;
        let (group, nobody) = (&answer.groups[0], &answer.groups[1]);
        assert_eq!(
            (group.group_state.as_ref(), group.protocol_type.as_ref()),
            ("Stable", "consumer")
        );
        assert_eq!(group.protocol_data, "range");
        let member = &group.members[0];
        assert_eq!(member.member_id, joined.member_id);
        assert_eq!(
            (member.client_id.as_ref(), member.client_host.as_ref()),
            ("tester", "/127.0.0.1")
        );
        assert_eq!(
            member.member_assignment.as_ref(),
            format!("for {}", joined.member_id).as_bytes()
        );
        assert_eq!(nobody.group_state, "Dead");
        assert_eq!(
            nobody.error_code,
            if version >= 6 { 69 } else { 0 },
            "v{version}"
        );
    }
}

async fn list(
    client: &mut Client,
    states: &[&'static str],
    types: &[&'static str],
) -> Vec<(String, String)> {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(|s| (*s).into()).collect(),
        types_filter: types.iter().map(|s| (*s).into()).collect(),
    };
    let answer: ListGroupsResponse<'_> = client.ask(5, &request).await;
    let pair = |g: kafka::wire::list_groups::ListedGroup<'_>| {
        (g.group_id.into_owned(), g.group_state.into_owned())
    };
    answer.groups.into_iter().map(pair).collect()
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let server = Server::start().await;
    let mut client = server.connect();
    settle_alone(&mut client, "stable").await;
    assert_eq!(join(&mut client, 7, "joining", "").await.error_code, 0);
    let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let joining = pair("joining", "CompletingRebalance");
    let stable = pair("stable", "Stable");
    assert_eq!(
        list(&mut client, &[], &[]).await,
        [joining.clone(), stable.clone()]
    );
    assert_eq!(
        list(&mut client, &["stable"], &[]).await,
        std::slice::from_ref(&stable),
        "whatever the case"
    );
    assert_eq!(list(&mut client, &["Empty"], &[]).await, []);
    assert_eq!(
        list(&mut client, &[], &["classic"]).await,
        [joining, stable]
    );
    assert_eq!(list(&mut client, &[], &["share"]).await, []);
}

#[tokio::test]
async fn only_empty_groups_are_deleted() {
    let server = Server::start().await;
    let mut client = server.connect();
    let joined = settle_alone(&mut client, "workers").await;
    let request = DeleteGroupsRequest {
        groups_names: ["workers", "nobody", "workers", ""].map(Into::into).into(),
    };
    let answer: DeleteGroupsResponse<'_> = client.ask(2, &request).await;
    let codes: Vec<_> = answer.results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [68, 69, 24]);
    let _: LeaveGroupResponse<'_> = client.ask(3, &leave("workers", &[&joined.member_id])).await;
    let answer: DeleteGroupsResponse<'_> = client.ask(2, &request).await;
    assert_eq!(answer.results[0].error_code, 0);
    assert_eq!(list(&mut client, &[], &[]).await, []);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_joins_frees_its_connection() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    settle_alone(&mut a, "workers").await;
    let told: JoinGroupResponse<'_> = b.ask(7, &join_request("workers", "")).await;
    b.send(7, &join_request("workers", &told.member_id)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let Client {
        served, connection, ..
    } = b;
    assert!(!served.is_finished(), "it waits for the other member");
    drop(connection);
    let ended = tokio::time::timeout(Duration::from_secs(5), served).await;
    ended.expect("at once").expect("in order");
}

#[tokio::test]
async fn impossible_joins_get_the_right_code_each() {
    let server = Server::start().await;
    let mut client = server.connect();
    let base = || join_request("workers", "");
    let cases = [
        (
            JoinGroupRequest {
                session_timeout_ms: 1,
                ..base()
            },
            26,
        ),
        (
            JoinGroupRequest {
                session_timeout_ms: -1,
                ..base()
            },
            26,
        ),
        (
            JoinGroupRequest {
                session_timeout_ms: i32::MAX,
                ..base()
            },
            26,
        ),
        (
            JoinGroupRequest {
                group_id: "".into(),
                ..base()
            },
            24,
        ),
        (
            JoinGroupRequest {
                group_id: "g".repeat(600).into(),
                ..base()
            },
            24,
        ),
        (
            JoinGroupRequest {
                protocols: Vec::new(),
                ..base()
            },
            23,
        ),
        (
            JoinGroupRequest {
                member_id: "who".into(),
                ..base()
            },
            25,
        ),
    ];
    for (request, code) in cases {
        let answer: JoinGroupResponse<'_> = client.ask(3, &request).await;
        assert_eq!(answer.error_code, code, "{request:?}");
    }
    settle_alone(&mut client, "workers").await;
    let other = JoinGroupRequest {
        protocol_type: "connect".into(),
        ..base()
    };
    let answer: JoinGroupResponse<'_> = client.ask(3, &other).await;
    assert_eq!(answer.error_code, 23, "the group does something else");
}

#[tokio::test]
async fn from_version_five_a_sync_says_which_protocol_it_means() {
    let server = Server::start().await;
    let mut client = server.connect();
    let named = |kind: Option<&'static str>, name: Option<&'static str>| SyncGroupRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        protocol_type: kind.map(Into::into),
        protocol_name: name.map(Into::into),
        ..SyncGroupRequest::default()
    };
    for (kind, name, code) in [
        (None, None, 23),
        (Some("consumer"), None, 23),
        (None, Some("range"), 23),
        (Some("consumer"), Some("range"), 25),
    ] {
        let answer: SyncGroupResponse<'_> = client.ask(5, &named(kind, name)).await;
        assert_eq!(answer.error_code, code, "{kind:?} {name:?}");
    }
    let answer: SyncGroupResponse<'_> = client.ask(4, &named(None, None)).await;
    assert_eq!(answer.error_code, 25, "before that nobody could");
}
