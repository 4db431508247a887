//! Committed offsets: remember, look up, forget.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use engine::VisibleTopics;
use engine::group::{
    self, Command, CommitOffsets, FetchedOffset, MemberRef, NamedPartition, OffsetCommit, Reply,
    TopicPartition,
};
use security::Principal;
use uuid::Uuid;

use super::room::elements;
use super::{Call, groups};
use crate::context::Context;
use crate::error::{Code, group_code, group_request_code};
use crate::wire::offset_commit::{
    OffsetCommitRequestTopic, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::wire::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::wire::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, Segments,
};

/// First versions that name topics by id.
const TOPIC_ID_SINCE: i16 = 10;
/// First version of OffsetFetch that asks about several groups.
const GROUPS_SINCE: i16 = 8;
/// First version of OffsetFetch in which an absent list means everything.
const ALL_SINCE: i16 = 2;
/// Offsets that take no more room than this are read before there is some.
const SMALL_BYTES: usize = 64 << 10;
/// What a group is answered with that the answer has no room for.
const TOO_MUCH: Code = Code::PolicyViolation;
/// First version of OffsetCommit whose clients know that a group may be missing.
const NOT_FOUND_SINCE: i16 = 9;

/// Finds a topic's id and name from whichever of the two a request carries.
fn resolve(topics: &VisibleTopics, name: &str, id: Uuid, by_id: bool) -> Option<(Uuid, Arc<str>)> {
    let topic = if by_id {
        topics.with_id(id)
    } else {
        topics.named(name)
    }?;
    Some((topic.id(), Arc::clone(&topic.name)))
}

fn unknown(by_id: bool) -> Code {
    if by_id {
        Code::UnknownTopicId
    } else {
        Code::UnknownTopicOrPartition
    }
}

pub(super) async fn commit(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: OffsetCommitRequest<'_> = call.read()?;
    let by_id = call.version >= TOPIC_ID_SINCE;
    let topics = context.broker.on_behalf_of(principal).topics();
    // One code per partition of the request, in order; `None` until the group has answered.
    let mut codes: Vec<Option<Code>> = Vec::new();
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let found = resolve(&topics, &topic.name, topic.topic_id, by_id);
        for partition in &topic.partitions {
            let Some((id, name)) = &found else {
                codes.push(Some(unknown(by_id)));
                continue;
            };
            let exists = topics
                .with_id(*id)
                .is_some_and(|topic| topic.partition(partition.partition_index).is_some());
            if !exists {
                codes.push(Some(Code::UnknownTopicOrPartition));
                continue;
            }
            codes.push(None);
            offsets.push(OffsetCommit {
                at: named(*id, name, partition.partition_index),
                offset: partition.committed_offset,
                leader_epoch: (partition.committed_leader_epoch >= 0)
                    .then_some(partition.committed_leader_epoch),
                metadata: partition
                    .committed_metadata
                    .clone()
                    .unwrap_or_default()
                    .into_owned(),
            });
        }
    }
    let outcome = commit_offsets(context, principal, &request, offsets, call.version).await;
    let mut decided = outcome
        .as_ref()
        .map(|codes| codes.iter())
        .unwrap_or_default();
    let failed = outcome.as_ref().err().copied();
    let mut codes = codes.into_iter().map(|code| {
        code.or(failed)
            .or_else(|| decided.next().copied())
            .unwrap_or(Code::UnknownServerError)
    });
    let topics = request
        .topics
        .iter()
        .map(|topic| committed_topic(topic, &mut codes))
        .collect();
    call.answer(&OffsetCommitResponse {
        topics,
        ..OffsetCommitResponse::default()
    })
}

fn named(id: Uuid, name: &Arc<str>, partition: i32) -> NamedPartition {
    NamedPartition {
        partition: TopicPartition {
            topic: id,
            partition,
        },
        topic_name: Arc::clone(name),
    }
}

async fn commit_offsets(
    context: &Context,
    principal: &Principal,
    request: &OffsetCommitRequest<'_>,
    offsets: Vec<OffsetCommit>,
    version: i16,
) -> Result<Vec<Code>, Code> {
    let member = MemberRef {
        member_id: request.member_id.clone().into_owned(),
        instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        generation: request.generation_id_or_member_epoch,
    };
    // Only clients outside membership may commit to a group that does not exist yet.
    let create = member.generation < 0;
    let retention_ms = u64::try_from(request.retention_time_ms).ok();
    let command = Command::CommitOffsets(CommitOffsets {
        member,
        producer_id: None,
        retention_ms,
        offsets,
    });
    let not_found = if version >= NOT_FOUND_SINCE {
        Code::GroupIdNotFound
    } else {
        Code::IllegalGeneration
    };
    if request.group_id.is_empty() {
        return Err(Code::InvalidGroupId);
    }
    match context
        .broker
        .on_behalf_of(principal)
        .group_command(&request.group_id, command, create)
        .await
    {
        Ok(Reply::CommitOffsets(Ok(outcomes))) => Ok(outcomes
            .into_iter()
            .map(|answer| answer.result.err().map_or(Code::None, group_code))
            .collect()),
        Ok(Reply::CommitOffsets(Err(group::Error::NotFound)))
        | Err(engine::Error::Group(group::Error::NotFound)) => Err(not_found),
        Ok(Reply::CommitOffsets(Err(error))) => Err(group_code(error)),
        Ok(_) => Err(Code::UnknownServerError),
        Err(error) => Err(group_request_code(&error)),
    }
}

fn committed_topic<'a>(
    topic: &OffsetCommitRequestTopic<'a>,
    codes: &mut impl Iterator<Item = Code>,
) -> OffsetCommitResponseTopic<'a> {
    let partitions = topic
        .partitions
        .iter()
        .zip(codes)
        .map(|(partition, code)| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: code.into(),
        })
        .collect();
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions,
    }
}

/// What one group is asked for: everything, or some partitions of some topics.
struct Wanted {
    topics: Option<Vec<(String, Uuid, Vec<i32>)>>,
    by_id: bool,
    require_stable: bool,
}

pub(super) async fn fetch(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: OffsetFetchRequest<'_> = call.read()?;
    if call.version >= GROUPS_SINCE {
        let names = request.groups.iter().map(|group| group.group_id.len());
        let blank = elements::<OffsetFetchResponseGroup<'_>>(request.groups.len(), names.sum());
        call.make_room(blank).await?;
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut is_full = false;
        for group in &request.groups {
            let fetched = if is_full {
                Err(TOO_MUCH)
            } else {
                let wanted = wanted_of(group, call.version, request.require_stable);
                let who = (principal, group.group_id.as_ref());
                fetch_group(context, call, who, wanted).await
            };
            is_full |= matches!(fetched, Err(TOO_MUCH));
            groups.push(fetched_group(group, fetched));
        }
        return call.answer(&OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        });
    }
    let topics = request.topics.as_ref().map(|topics| {
        topics
            .iter()
            .map(|t| {
                (
                    t.name.clone().into_owned(),
                    Uuid::nil(),
                    t.partition_indexes.clone(),
                )
            })
            .collect()
    });
    let topics = if call.version < ALL_SINCE {
        Some(topics.unwrap_or_default())
    } else {
        topics
    };
    let wanted = Wanted {
        topics,
        by_id: false,
        require_stable: request.require_stable,
    };
    let mut response = OffsetFetchResponse::default();
    let who = (principal, request.group_id.as_ref());
    match fetch_group(context, call, who, wanted).await {
        Ok(topics) => response.topics = topics.into_iter().map(old_topic).collect(),
        Err(code) if call.version >= ALL_SINCE => response.error_code = code.into(),
        // The oldest version has no room for an error but in each partition.
        Err(code) => {
            let topics = request.topics.iter().flatten();
            let sizes = topics.map(|t| asked_bytes(&t.name, t.partition_indexes.len()));
            call.make_room(sizes.sum()).await?;
            let blank = |(name, id, partitions): (String, Uuid, Vec<i32>)| FetchedTopic {
                name,
                id,
                partitions: partitions.into_iter().map(|p| (p, Err(code))).collect(),
            };
            let names = request.topics.into_iter().flatten();
            let asked = names.map(|t| (t.name.into_owned(), Uuid::nil(), t.partition_indexes));
            response.topics = asked.map(blank).map(old_topic).collect();
        }
    }
    call.answer(&response)
}

fn wanted_of(group: &OffsetFetchRequestGroup<'_>, version: i16, require_stable: bool) -> Wanted {
    let topics = group.topics.as_ref().map(|topics| {
        topics
            .iter()
            .map(|t| {
                (
                    t.name.clone().into_owned(),
                    t.topic_id,
                    t.partition_indexes.clone(),
                )
            })
            .collect()
    });
    Wanted {
        topics,
        by_id: version >= TOPIC_ID_SINCE,
        require_stable,
    }
}

/// A topic's committed offsets; a partition without one has `Ok(None)`.
struct FetchedTopic {
    name: String,
    id: Uuid,
    partitions: Vec<FetchedPartition>,
}

type FetchedPartition = (i32, Result<Option<group::CommittedOffset>, Code>);

/// Looks up what is wanted of a group, when there is room for it.
async fn fetch_group(
    context: &Context,
    call: &Call<'_>,
    (principal, name): (&Principal, &str),
    wanted: Wanted,
) -> Result<Vec<FetchedTopic>, Code> {
    if name.is_empty() {
        return Err(Code::InvalidGroupId);
    }
    let topics = context.broker.on_behalf_of(principal).topics();
    let (mut wanted, mut room) = (wanted, 0);
    // What is small is read when it is looked at. Else the first look is for the size; the offsets may be more the next
    // time.
    loop {
        let topics = topics.clone();
        let look = move |group: Option<&group::Group>| {
            let bytes = answer_bytes(&topics, group, &wanted);
            if bytes > SMALL_BYTES.max(room) {
                return Err((bytes, wanted));
            }
            Ok((bytes, read_offsets(&topics, group, wanted)))
        };
        let looked = context
            .broker
            .on_behalf_of(principal)
            .inspect_group(name, look)
            .await;
        match looked.map_err(|error| group_request_code(&error))? {
            Ok((bytes, read)) => {
                let more = bytes.saturating_sub(room);
                let found = call.finds_room(more).await;
                return if found { Ok(read) } else { Err(TOO_MUCH) };
            }
            Err((bytes, still_wanted)) => {
                if !call.finds_room(bytes.saturating_sub(room)).await {
                    return Err(TOO_MUCH);
                }
                (wanted, room) = (still_wanted, bytes);
            }
        }
    }
}

/// What offsets of a topic take in an answer, besides what was committed with them.
fn asked_bytes(topic: &str, partitions: usize) -> usize {
    let topics = elements::<FetchedTopic>(1, topic.len());
    topics.saturating_add(elements::<FetchedPartition>(partitions, 0))
}

/// What the answer to a question about a group takes.
fn answer_bytes(topics: &VisibleTopics, group: Option<&group::Group>, wanted: &Wanted) -> usize {
    let Some(asked) = &wanted.topics else {
        let (count, text) = group.map_or((0, 0), group::Group::committed_size);
        return elements::<FetchedOffset>(count, text);
    };
    let sizes = asked.iter().map(|(name, id, partitions)| {
        let found = resolve(topics, name, *id, wanted.by_id);
        let text = |(topic, group): (Uuid, &group::Group)| -> usize {
            let at = |partition: &i32| TopicPartition {
                topic,
                partition: *partition,
            };
            let offsets = partitions.iter().map(at);
            let offsets = offsets.filter_map(|at| group.committed(at, false).ok().flatten());
            offsets.map(|offset| offset.metadata.len()).sum()
        };
        let text = found
            .zip(group)
            .map_or(0, |((id, _), group)| text((id, group)));
        asked_bytes(name, partitions.len()).saturating_add(elements::<u8>(0, text))
    });
    sizes.fold(0, usize::saturating_add)
}

fn read_offsets(
    topics: &VisibleTopics,
    group: Option<&group::Group>,
    wanted: Wanted,
) -> Vec<FetchedTopic> {
    match wanted.topics {
        None => group
            .map(|g| everything(topics, g.committed_all(wanted.require_stable)))
            .unwrap_or_default(),
        Some(asked) => asked
            .into_iter()
            .map(|topic| some(topics, group, topic, (wanted.by_id, wanted.require_stable)))
            .collect(),
    }
}

/// Every offset of a group, by topic. Offsets of a topic that is gone mean nothing any more.
fn everything(topics: &VisibleTopics, offsets: Vec<FetchedOffset>) -> Vec<FetchedTopic> {
    let mut all: Vec<FetchedTopic> = Vec::new();
    for offset in offsets {
        let id = offset.partition.topic;
        let Some(topic) = topics.with_id(id) else {
            continue;
        };
        if all.last().is_none_or(|last| last.id != id) {
            all.push(FetchedTopic {
                name: topic.name.to_string(),
                id,
                partitions: Vec::new(),
            });
        }
        let committed = offset.offset.map(Some).map_err(group_code);
        if let Some(last) = all.last_mut() {
            last.partitions
                .push((offset.partition.partition, committed));
        }
    }
    all
}

fn some(
    topics: &VisibleTopics,
    group: Option<&group::Group>,
    (name, id, partitions): (String, Uuid, Vec<i32>),
    (by_id, require_stable): (bool, bool),
) -> FetchedTopic {
    let found = resolve(topics, &name, id, by_id);
    let look_up = |partition: i32| match (&found, group) {
        (None, _) if by_id => Err(Code::UnknownTopicId),
        (None, _) | (_, None) => Ok(None),
        (Some((topic, _)), Some(group)) => group
            .committed(
                TopicPartition {
                    topic: *topic,
                    partition,
                },
                require_stable,
            )
            .map(Option::<&group::CommittedOffset>::cloned)
            .map_err(group_code),
    };
    let partitions = partitions.into_iter().map(|p| (p, look_up(p))).collect();
    FetchedTopic {
        name,
        id,
        partitions,
    }
}

fn fetched_group<'a>(
    group: &OffsetFetchRequestGroup<'a>,
    fetched: Result<Vec<FetchedTopic>, Code>,
) -> OffsetFetchResponseGroup<'a> {
    let group_id = group.group_id.clone();
    match fetched {
        Ok(topics) => OffsetFetchResponseGroup {
            group_id,
            topics: topics.into_iter().map(new_topic).collect(),
            ..OffsetFetchResponseGroup::default()
        },
        Err(code) => OffsetFetchResponseGroup {
            group_id,
            error_code: code.into(),
            ..OffsetFetchResponseGroup::default()
        },
    }
}

fn new_topic(topic: FetchedTopic) -> OffsetFetchResponseTopics<'static> {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|(partition_index, committed)| {
            let (error_code, offset, epoch, metadata) = flat(committed);
            OffsetFetchResponsePartitions {
                partition_index,
                committed_offset: offset,
                committed_leader_epoch: epoch,
                metadata,
                error_code,
            }
        });
    OffsetFetchResponseTopics {
        name: topic.name.into(),
        topic_id: topic.id,
        partitions: partitions.collect(),
    }
}

fn old_topic(topic: FetchedTopic) -> OffsetFetchResponseTopic<'static> {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|(partition_index, committed)| {
            let (error_code, offset, epoch, metadata) = flat(committed);
            OffsetFetchResponsePartition {
                partition_index,
                committed_offset: offset,
                committed_leader_epoch: epoch,
                metadata,
                error_code,
            }
        });
    OffsetFetchResponseTopic {
        name: topic.name.into(),
        partitions: partitions.collect(),
    }
}

/// Error code, offset, epoch and metadata, as all versions spell them.
fn flat(
    committed: Result<Option<group::CommittedOffset>, Code>,
) -> (i16, i64, i32, Option<Cow<'static, str>>) {
    match committed {
        Ok(Some(c)) => (
            Code::None.into(),
            c.offset,
            c.leader_epoch.unwrap_or(-1),
            Some(c.metadata.into()),
        ),
        Ok(None) => (Code::None.into(), -1, -1, Some("".into())),
        Err(code) => (code.into(), -1, -1, Some("".into())),
    }
}

pub(super) async fn delete(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: OffsetDeleteRequest<'_> = call.read()?;
    let topics = context.broker.on_behalf_of(principal).topics();
    let mut partitions = Vec::new();
    for topic in &request.topics {
        // Offsets of a topic that is gone can still be asked away; there is just nothing to find.
        let found = resolve(&topics, &topic.name, Uuid::nil(), false);
        let (id, name) = found.unwrap_or_else(|| (Uuid::nil(), Arc::from(topic.name.as_ref())));
        let indexes = topic.partitions.iter().map(|p| p.partition_index);
        partitions.extend(indexes.map(|index| named(id, &name, index)));
    }
    let command = Command::DeleteOffsets { partitions };
    let reply = groups::command(
        &context.broker,
        principal,
        &request.group_id,
        command,
        false,
    )
    .await;
    let mut response = OffsetDeleteResponse::default();
    match reply {
        Ok(Reply::DeleteOffsets(Ok(outcomes))) => {
            let mut outcomes = outcomes.into_iter().map(|answer| answer.result);
            let mut answer = |partition_index| OffsetDeleteResponsePartition {
                partition_index,
                error_code: outcomes
                    .next()
                    .and_then(Result::err)
                    .map_or(Code::None, group_code)
                    .into(),
            };
            response.topics = request
                .topics
                .iter()
                .map(|topic| OffsetDeleteResponseTopic {
                    name: topic.name.clone(),
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|p| answer(p.partition_index))
                        .collect(),
                })
                .collect();
        }
        Ok(Reply::DeleteOffsets(Err(error))) => response.error_code = group_code(error).into(),
        Ok(_) => response.error_code = Code::UnknownServerError.into(),
        Err(Code::UnknownMemberId) => response.error_code = Code::GroupIdNotFound.into(),
        Err(code) => response.error_code = code.into(),
    }
    call.answer(&response)
}
