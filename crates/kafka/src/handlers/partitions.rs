//! Partitions of topics, page by page.

use std::collections::BTreeSet;
use std::io;

use engine::partition::LEADER_EPOCH;
use engine::topic::name;
use engine::{Error, TopicKey};
use security::{Principal, Resource};

use super::Call;
use super::metadata::{is_internal, operations, replicas, visible};
use crate::context::Context;
use crate::error::{Code, code};
use crate::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, Segments};

/// Partitions described in one answer at most, whatever the client asks for.
const DESCRIBED_PARTITIONS_MAX: usize = 2000;

pub(super) fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeTopicPartitionsRequest<'_> = call.read()?;
    let names = names(context, principal, &request);
    if !is_sound(&request) {
        return call.answer(&refused(&request));
    }
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (
            cursor.topic_name.as_ref(),
            usize::try_from(cursor.partition_index).unwrap_or(0),
        ),
        None => ("", 0),
    };
    let mut room = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, DESCRIBED_PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(from_topic.to_owned()..) {
        let first = if name == from_topic {
            from_partition
        } else {
            0
        };
        if room == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let (topic, total) = describe_some(context, principal, name, (first, room));
        let shown = first + topic.partitions.len();
        room = room.saturating_sub(topic.partitions.len());
        response.topics.push(topic);
        if shown < total {
            response.next_cursor = Some(cursor(name, shown));
            break;
        }
    }
    call.answer(&response)
}

fn cursor(name: &str, partition: usize) -> Cursor<'static> {
    Cursor {
        topic_name: name.to_owned().into(),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
    }
}

/// The topics that are asked about, in order.
fn names(
    context: &Context,
    principal: &Principal,
    request: &DescribeTopicPartitionsRequest<'_>,
) -> BTreeSet<String> {
    if request.topics.is_empty() {
        let visible = visible(context, principal);
        return visible.iter().map(|topic| topic.name.to_string()).collect();
    }
    let topics = request.topics.iter();
    topics.map(|topic| topic.name.to_string()).collect()
}

/// A cursor has to lie within the topics that are asked about.
fn is_sound(request: &DescribeTopicPartitionsRequest<'_>) -> bool {
    let Some(cursor) = &request.cursor else {
        return true;
    };
    let mut topics = request.topics.iter();
    let is_listed =
        request.topics.is_empty() || topics.any(|topic| topic.name == cursor.topic_name);
    is_listed && cursor.partition_index >= 0
}

fn refused<'a>(
    request: &DescribeTopicPartitionsRequest<'a>,
) -> DescribeTopicPartitionsResponse<'a> {
    let refuse = |name: &std::borrow::Cow<'a, str>| DescribeTopicPartitionsResponseTopic {
        error_code: Code::InvalidRequest.into(),
        name: Some(name.clone()),
        topic_authorized_operations: i32::MIN,
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    let topics = request.topics.iter().map(|topic| refuse(&topic.name));
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}

/// Describes at most `room` partitions of a topic from `first` on; also says how many there are.
fn describe_some(
    context: &Context,
    principal: &Principal,
    name: &str,
    (first, room): (usize, usize),
) -> (DescribeTopicPartitionsResponseTopic<'static>, usize) {
    let mut described = DescribeTopicPartitionsResponseTopic {
        name: Some(name.to_owned().into()),
        topic_authorized_operations: i32::MIN,
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    let topic = match context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(name))
    {
        Ok(topic) => topic,
        Err(error) => {
            described.error_code = match error {
                Error::UnknownTopic if name::check(name).is_err() => Code::InvalidTopic.into(),
                error => code(&error).into(),
            };
            return (described, 0);
        }
    };
    let replicas = replicas(context, &topic);
    described.topic_id = topic.id();
    described.is_internal = is_internal(name);
    described.topic_authorized_operations = operations(context, principal, Resource::Topic(name));
    described.partitions = topic
        .partitions
        .iter()
        .skip(first)
        .take(room)
        .map(|partition| DescribeTopicPartitionsResponsePartition {
            partition_index: partition.index.cast_signed(),
            leader_id: context.node_id(),
            leader_epoch: LEADER_EPOCH,
            replica_nodes: replicas.clone(),
            isr_nodes: replicas.clone(),
            // Empty, not absent: clients of several releases do not survive an absent one.
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..DescribeTopicPartitionsResponsePartition::default()
        })
        .collect();
    (described, topic.partitions.len())
}
