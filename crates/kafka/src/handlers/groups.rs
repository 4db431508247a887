//! Consumer groups: finding the coordinator, joining, syncing, staying and leaving.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use engine::group::{self, Command, Join, Leaver, MemberRef, Reply, Sync};
use engine::{Broker, Error};
use security::Principal;

use super::Call;
use super::room::elements;
use crate::context::Context;
use crate::error::{Code, group_code, group_request_code, join_code, sync_code};
use crate::wire::find_coordinator::Coordinator;
use crate::wire::join_group::JoinGroupResponseMember;
use crate::wire::leave_group::{MemberIdentity, MemberResponse};
use crate::wire::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, Segments,
    SyncGroupRequest, SyncGroupResponse,
};

/// What a refusal of one coordinator says at most, bytes.
const REFUSAL_BYTES: usize = 64;
/// First version of FindCoordinator that asks for several at once.
const BATCHED_SINCE: i16 = 4;
/// First version of JoinGroup whose clients understand that they must come back with the id they are given.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// First version of JoinGroup whose leader can be asked to leave assignments alone.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// First version of JoinGroup with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// First version of SyncGroup that has to say which protocol the member believes in.
const SYNC_NAMES_PROTOCOL_SINCE: i16 = 5;
/// First version of LeaveGroup that names several members.
const LEAVE_BATCHED_SINCE: i16 = 3;

pub(super) async fn find_coordinator(context: &Context, call: &Call<'_>) -> io::Result<Segments> {
    let request: FindCoordinatorRequest<'_> = call.read()?;
    let host = call.advertised.0.len() + REFUSAL_BYTES;
    let texts = request.coordinator_keys.iter().map(|key| key.len() + host);
    let bytes = elements::<Coordinator<'_>>(request.coordinator_keys.len(), texts.sum());
    call.make_room(bytes).await?;
    let find = |key: Cow<'_, str>| {
        let refused = refuse_coordinator(request.key_type);
        let (host, port) = call.advertised.clone();
        let found = refused.is_none();
        Coordinator {
            key: key.into_owned().into(),
            node_id: if found { context.node_id() } else { -1 },
            host: if found { host.into() } else { "".into() },
            port: if found { port.into() } else { -1 },
            error_code: refused
                .as_ref()
                .map_or(Code::None, |(code, _)| *code)
                .into(),
            error_message: refused.map(|(_, text)| text.into()),
        }
    };
    if call.version >= BATCHED_SINCE {
        let coordinators = request.coordinator_keys.iter().cloned().map(find).collect();
        return call.answer(&FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        });
    }
    let one = find(request.key.clone());
    call.answer(&FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..FindCoordinatorResponse::default()
    })
}

fn refuse_coordinator(key_type: i8) -> Option<(Code, &'static str)> {
    const GROUP: i8 = 0;
    const TRANSACTION: i8 = 1;
    match key_type {
        // Whatever its name: the coordinator itself says what is wrong with it.
        GROUP => None,
        // The one refusal of transactions that every client takes for final; others are asked again and again.
        TRANSACTION => Some((
            Code::TransactionalIdAuthorizationFailed,
            "This broker has no transactions.",
        )),
        _ => Some((
            Code::InvalidRequest,
            "Only groups are coordinated by this broker.",
        )),
    }
}

/// Carries out a group's command for a group with a usable name.
pub(super) async fn command(
    broker: &Broker,
    principal: &Principal,
    name: &str,
    command: Command,
    create: bool,
) -> Result<Reply, Code> {
    if name.is_empty() {
        return Err(Code::InvalidGroupId);
    }
    broker
        .on_behalf_of(principal)
        .group_command(name, command, create)
        .await
        .map_err(|error| request_code(&error))
}

/// An unknown group has no members either, which is what members ask about.
fn request_code(error: &Error) -> Code {
    match error {
        Error::Group(group::Error::NotFound) => Code::UnknownMemberId,
        other => group_request_code(other),
    }
}

fn text(value: Option<&str>) -> Option<String> {
    value.map(str::to_owned)
}

pub(super) async fn join(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: JoinGroupRequest<'_> = call.read()?;
    let millis = |value: i32| u32::try_from(value).unwrap_or(0);
    let rebalance = match call.version {
        REBALANCE_TIMEOUT_SINCE.. => request.rebalance_timeout_ms,
        _ => request.session_timeout_ms,
    };
    let join = Join {
        member_id: request.member_id.clone().into_owned(),
        instance_id: text(request.group_instance_id.as_deref()),
        client_id: call.client_id.clone().unwrap_or_default(),
        client_host: call.client_host.clone(),
        session_timeout_ms: millis(request.session_timeout_ms),
        rebalance_timeout_ms: millis(rebalance),
        protocol_type: request.protocol_type.clone().into_owned(),
        protocols: request
            .protocols
            .iter()
            .map(|p| {
                (
                    p.name.clone().into_owned(),
                    Bytes::copy_from_slice(&p.metadata),
                )
            })
            .collect(),
        require_known_member: call.version >= MEMBER_ID_REQUIRED_SINCE,
        can_skip_assignment: call.version >= SKIP_ASSIGNMENT_SINCE,
        fresh_id: context.broker.fresh_id().to_string(),
    };
    let create = join.member_id.is_empty() || join.instance_id.is_some();
    let reply = command(
        &context.broker,
        principal,
        &request.group_id,
        Command::Join(join),
        create,
    )
    .await;
    let response = match reply {
        Ok(Reply::Join(Ok(joined))) => {
            call.make_room(bytes_of(&joined)).await?;
            joined_response(joined, call.version)
        }
        Ok(Reply::Join(Err(refused))) => {
            let code = join_code(group_code(refused.error));
            refused_join(code, refused.member_id, call.version)
        }
        Ok(_) => refused_join(Code::UnknownServerError, String::new(), call.version),
        Err(code) => {
            let member_id = request.member_id.into_owned();
            refused_join(join_code(code), member_id, call.version)
        }
    };
    call.answer(&response)
}

/// Before this version the chosen protocol's name may not be absent.
const PROTOCOL_NULLABLE_SINCE: i16 = 7;

/// What a joined member's answer takes: the leader's has what all members brought.
fn bytes_of(joined: &group::Joined) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let members = joined.members.iter();
    let texts = members
        .map(|member| member.member_id.len() + text(&member.instance_id) + member.metadata.len());
    elements::<JoinGroupResponseMember<'_>>(joined.members.len(), texts.sum())
}

fn joined_response(joined: group::Joined, version: i16) -> JoinGroupResponse<'static> {
    let members = joined
        .members
        .into_iter()
        .map(|member| JoinGroupResponseMember {
            member_id: member.member_id.into(),
            group_instance_id: member.instance_id.map(Cow::from),
            metadata: Cow::Owned(member.metadata.into()),
        })
        .collect();
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(Cow::from),
        protocol_name: named(joined.protocol_name, version),
        leader: joined.leader.into(),
        skip_assignment: joined.skip_assignment && version >= SKIP_ASSIGNMENT_SINCE,
        member_id: joined.member_id.into(),
        members,
        ..JoinGroupResponse::default()
    }
}

fn named(name: Option<String>, version: i16) -> Option<Cow<'static, str>> {
    match name {
        None if version < PROTOCOL_NULLABLE_SINCE => Some("".into()),
        name => name.map(Cow::from),
    }
}

fn refused_join(code: Code, member_id: String, version: i16) -> JoinGroupResponse<'static> {
    JoinGroupResponse {
        error_code: code.into(),
        generation_id: -1,
        protocol_name: named(None, version),
        member_id: member_id.into(),
        ..JoinGroupResponse::default()
    }
}

pub(super) async fn sync(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: SyncGroupRequest<'_> = call.read()?;
    let is_named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version >= SYNC_NAMES_PROTOCOL_SINCE && !is_named {
        return call.answer(&SyncGroupResponse {
            error_code: Code::InconsistentGroupProtocol.into(),
            ..SyncGroupResponse::default()
        });
    }
    let sync = Sync {
        member: MemberRef {
            member_id: request.member_id.clone().into_owned(),
            instance_id: text(request.group_instance_id.as_deref()),
            generation: request.generation_id,
        },
        protocol_type: text(request.protocol_type.as_deref()),
        protocol_name: text(request.protocol_name.as_deref()),
        assignments: request
            .assignments
            .iter()
            .map(|a| {
                (
                    a.member_id.clone().into_owned(),
                    Bytes::copy_from_slice(&a.assignment),
                )
            })
            .collect(),
    };
    let reply = command(
        &context.broker,
        principal,
        &request.group_id,
        Command::Sync(sync),
        false,
    )
    .await;
    let response = match reply {
        Ok(Reply::Sync(Ok(synced))) => {
            call.make_room(elements::<u8>(synced.assignment.len(), 0))
                .await?;
            SyncGroupResponse {
                protocol_type: synced.protocol_type.map(Cow::from),
                protocol_name: synced.protocol_name.map(Cow::from),
                assignment: Cow::Owned(synced.assignment.into()),
                ..SyncGroupResponse::default()
            }
        }
        Ok(Reply::Sync(Err(error))) => SyncGroupResponse {
            error_code: sync_code(group_code(error)).into(),
            ..SyncGroupResponse::default()
        },
        Ok(_) => SyncGroupResponse {
            error_code: Code::UnknownServerError.into(),
            ..SyncGroupResponse::default()
        },
        Err(code) => SyncGroupResponse {
            error_code: code.into(),
            ..SyncGroupResponse::default()
        },
    };
    call.answer(&response)
}

pub(super) async fn heartbeat(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: HeartbeatRequest<'_> = call.read()?;
    let member = MemberRef {
        member_id: request.member_id.clone().into_owned(),
        instance_id: text(request.group_instance_id.as_deref()),
        generation: request.generation_id,
    };
    let reply = command(
        &context.broker,
        principal,
        &request.group_id,
        Command::Heartbeat(member),
        false,
    )
    .await;
    let code = match reply {
        Ok(Reply::Heartbeat(Ok(()))) => Code::None,
        Ok(Reply::Heartbeat(Err(error))) => group_code(error),
        Ok(_) => Code::UnknownServerError,
        Err(code) => code,
    };
    call.answer(&HeartbeatResponse {
        error_code: code.into(),
        ..HeartbeatResponse::default()
    })
}

pub(super) async fn leave(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: LeaveGroupRequest<'_> = call.read()?;
    let members = if call.version >= LEAVE_BATCHED_SINCE {
        let leaver = |member: &MemberIdentity<'_>| Leaver {
            member_id: member.member_id.clone().into_owned(),
            instance_id: text(member.group_instance_id.as_deref()),
        };
        request.members.iter().map(leaver).collect()
    } else {
        vec![Leaver {
            member_id: request.member_id.clone().into_owned(),
            instance_id: None,
        }]
    };
    let reply = command(
        &context.broker,
        principal,
        &request.group_id,
        Command::Leave { members },
        false,
    )
    .await;
    let mut response = LeaveGroupResponse::default();
    match reply {
        Ok(Reply::Leave(left)) if call.version >= LEAVE_BATCHED_SINCE => {
            response.members = left.into_iter().map(left_member).collect();
        }
        Ok(Reply::Leave(left)) => {
            let failed = left.into_iter().find_map(|(_, outcome)| outcome.err());
            response.error_code = failed.map_or(Code::None, group_code).into();
        }
        Ok(_) => response.error_code = Code::UnknownServerError.into(),
        // A group that does not exist has no members: each is refused as an unknown member.
        Err(code @ Code::UnknownMemberId) if call.version >= LEAVE_BATCHED_SINCE => {
            let unknown = |member: MemberIdentity<'_>| MemberResponse {
                member_id: member.member_id.into_owned().into(),
                group_instance_id: text(member.group_instance_id.as_deref()).map(Cow::from),
                error_code: code.into(),
            };
            response.members = request.members.into_iter().map(unknown).collect();
        }
        Err(code) => response.error_code = code.into(),
    }
    call.answer(&response)
}

fn left_member((leaver, outcome): (Leaver, Result<(), group::Error>)) -> MemberResponse<'static> {
    MemberResponse {
        member_id: leaver.member_id.into(),
        group_instance_id: leaver.instance_id.map(Cow::from),
        error_code: outcome.err().map_or(Code::None, group_code).into(),
    }
}
