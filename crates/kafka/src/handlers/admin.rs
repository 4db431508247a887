//! Groups from an operator's side.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;

use engine::group::{Command, Description, Reply, State};
use security::{Principal, Resource};

use super::room::{TOO_MUCH, elements};
use super::{Call, groups, metadata};
use crate::context::Context;
use crate::error::{Code, group_code, group_request_code};
use crate::wire::delete_groups::DeletableGroupResult;
use crate::wire::describe_groups::{DescribedGroup, DescribedGroupMember};
use crate::wire::list_groups::ListedGroup;
use crate::wire::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse, Segments,
};

/// First version of DescribeGroups that says when a group does not exist.
const NOT_FOUND_SINCE: i16 = 6;
/// What a refusal of one group says besides its name, at most, bytes.
const REFUSAL_BYTES: usize = 64;
/// The kind of group this broker has.
const CLASSIC: &str = "classic";

fn state_name(state: State) -> &'static str {
    match state {
        State::Dead => "Dead",
        State::Empty => "Empty",
        State::PreparingRebalance => "PreparingRebalance",
        State::CompletingRebalance => "CompletingRebalance",
        State::Stable => "Stable",
    }
}

pub(super) async fn describe_groups(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeGroupsRequest<'_> = call.read()?;
    // A refusal says the name again.
    let texts = request.groups.iter();
    let texts = texts.map(|name| 2 * name.len() + REFUSAL_BYTES);
    let blank = elements::<DescribedGroup<'_>>(request.groups.len(), texts.sum());
    call.make_room(blank).await?;
    let mut groups = Vec::with_capacity(request.groups.len());
    for name in &request.groups {
        let look = |group: Option<&engine::group::Group>| group.map(engine::group::Group::describe);
        let seen = context
            .broker
            .on_behalf_of(principal)
            .inspect_group(name, look)
            .await;
        let mut group = DescribedGroup {
            group_id: name.clone(),
            group_state: state_name(State::Dead).into(),
            authorized_operations: if request.include_authorized_operations {
                metadata::operations(context, principal, Resource::Group(name))
            } else {
                metadata::OPERATIONS_UNKNOWN
            },
            ..DescribedGroup::default()
        };
        match seen {
            Err(error) => group.error_code = group_request_code(&error).into(),
            Ok(Some(seen)) if seen.state != State::Dead => {
                if call.finds_room(bytes_of(&seen)).await {
                    fill(&mut group, seen);
                } else {
                    group.error_code = Code::PolicyViolation.into();
                    group.error_message =
                        (call.version >= NOT_FOUND_SINCE).then(|| TOO_MUCH.into());
                }
            }
            Ok(_) if call.version >= NOT_FOUND_SINCE => {
                group.error_code = Code::GroupIdNotFound.into();
                group.error_message = Some(format!("Group {name} not found.").into());
            }
            Ok(_) => {}
        }
        groups.push(group);
    }
    call.answer(&DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    })
}

/// What a group takes in an answer.
fn bytes_of(seen: &Description) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = seen.members.iter().map(|member| {
        let names = member.member_id.len() + text(&member.instance_id);
        let client = member.client_id.len() + member.client_host.len();
        names + client + member.metadata.len() + member.assignment.len()
    });
    let own = text(&seen.protocol_type) + text(&seen.protocol_name);
    elements::<DescribedGroupMember<'_>>(seen.members.len(), own + texts.sum::<usize>())
}

fn fill(group: &mut DescribedGroup<'_>, seen: Description) {
    group.group_state = state_name(seen.state).into();
    group.protocol_type = seen.protocol_type.unwrap_or_default().into();
    group.protocol_data = seen.protocol_name.unwrap_or_default().into();
    group.members = seen
        .members
        .into_iter()
        .map(|member| DescribedGroupMember {
            member_id: member.member_id.into(),
            group_instance_id: member.instance_id.map(Cow::from),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            member_metadata: Cow::Owned(member.metadata.into()),
            member_assignment: Cow::Owned(member.assignment.into()),
        })
        .collect();
}

pub(super) async fn list_groups(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: ListGroupsRequest<'_> = call.read()?;
    let wants = |filter: &[Cow<'_, str>], value: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let mut response = ListGroupsResponse::default();
    let access = context.broker.on_behalf_of(principal);
    for name in access.group_names() {
        let look = |group: Option<&engine::group::Group>| {
            group.map(|group| (group.state(), group.protocol_type().map(str::to_owned)))
        };
        let seen = access.inspect_group(&name, look).await;
        let Ok(Some((stands, protocol_type))) = seen else {
            continue;
        };
        let state = state_name(stands);
        if stands == State::Dead
            || !wants(&request.states_filter, state)
            || !wants(&request.types_filter, CLASSIC)
        {
            continue;
        }
        let protocol_type = protocol_type.unwrap_or_default();
        let text = name.len() + protocol_type.len() + state.len() + CLASSIC.len();
        call.make_room(elements::<ListedGroup<'_>>(1, text)).await?;
        response.groups.push(ListedGroup {
            group_id: name.to_string().into(),
            protocol_type: protocol_type.into(),
            group_state: state.into(),
            group_type: CLASSIC.into(),
        });
    }
    call.answer(&response)
}

pub(super) async fn delete_groups(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DeleteGroupsRequest<'_> = call.read()?;
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = HashSet::with_capacity(request.groups_names.len());
    for name in &request.groups_names {
        // What is named twice is answered once.
        if !seen.insert(name) {
            continue;
        }
        let code =
            match groups::command(&context.broker, principal, name, Command::Delete, false).await {
                Ok(Reply::Delete(Ok(()))) => Code::None,
                Ok(Reply::Delete(Err(error))) => group_code(error),
                Ok(_) => Code::UnknownServerError,
                Err(Code::UnknownMemberId) => Code::GroupIdNotFound,
                Err(code) => code,
            };
        results.push(DeletableGroupResult {
            group_id: name.clone(),
            error_code: code.into(),
            ..DeletableGroupResult::default()
        });
    }
    call.answer(&DeleteGroupsResponse {
        results,
        ..DeleteGroupsResponse::default()
    })
}
