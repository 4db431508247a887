//! Metadata: the one node, and the topics and partitions it leads.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use engine::partition::LEADER_EPOCH;
use engine::topic::{Topic, name};
use engine::{Error, NewTopic, TopicKey};
use security::{Principal, Resource, Verb};
use uuid::Uuid;

use super::{Call, NODE_ID};
use crate::error::{Code, code};
use crate::session::Context;
use crate::wire::describe_cluster::DescribeClusterBroker;
use crate::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::wire::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse, Segments,
};

/// Says that no list of allowed operations was asked for.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// First version in which an absent list, not an empty one, means all topics.
const NULL_MEANS_ALL_SINCE: i16 = 1;
/// First version in which topics may be asked for by id; names may be absent before, and mean nothing then.
const TOPIC_ID_SINCE: i16 = 12;
/// Partitions described in one answer at most, whatever the client asks for.
const DESCRIBED_PARTITIONS_MAX: usize = 2000;

/// Operations of the protocol, as bit numbers.
mod operation {
    pub(super) const READ: i32 = 3;
    pub(super) const WRITE: i32 = 4;
    pub(super) const CREATE: i32 = 5;
    pub(super) const DELETE: i32 = 6;
    pub(super) const ALTER: i32 = 7;
    pub(super) const DESCRIBE: i32 = 8;
    pub(super) const DESCRIBE_CONFIGS: i32 = 10;
    pub(super) const ALTER_CONFIGS: i32 = 11;
}

/// What a principal may do, as the protocol's bit field.
pub(super) fn operations(context: &Context, principal: &Principal, resource: Resource<'_>) -> i32 {
    use operation::{
        ALTER, ALTER_CONFIGS, CREATE, DELETE, DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE,
    };
    let mut asked = vec![
        (Verb::Describe, DESCRIBE),
        (Verb::Describe, DESCRIBE_CONFIGS),
        (Verb::Configure, ALTER),
        (Verb::Configure, ALTER_CONFIGS),
    ];
    match resource {
        Resource::Broker => asked.push((Verb::Create, CREATE)),
        Resource::Topic(_) => asked.extend([
            (Verb::Consume, READ),
            (Verb::Publish, WRITE),
            (Verb::Delete, DELETE),
        ]),
        Resource::Group(_) | Resource::Queue(_) | Resource::Exchange(_) | Resource::Vhost(_) => {
            asked = vec![
                (Verb::Describe, DESCRIBE),
                (Verb::Consume, READ),
                (Verb::Delete, DELETE),
            ];
        }
    }
    asked
        .into_iter()
        .filter(|(verb, _)| context.broker.allows(principal, *verb, resource))
        .fold(0, |bits, (_, operation)| bits | 1 << operation)
}

pub(super) async fn metadata(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: MetadataRequest<'_> = call.read()?;
    let wants_operations = request.include_topic_authorized_operations;
    let topics = match &request.topics {
        Some(wanted) if call.version >= NULL_MEANS_ALL_SINCE || !wanted.is_empty() => {
            let mut topics = Vec::with_capacity(wanted.len());
            for wanted in wanted {
                if wanted.name.is_none() && call.version < TOPIC_ID_SINCE {
                    topics.push(refused_id(wanted));
                    continue;
                }
                let found = find(
                    context,
                    principal,
                    wanted,
                    request.allow_auto_topic_creation,
                )
                .await;
                topics.push(describe_wanted(
                    context,
                    principal,
                    wanted,
                    found,
                    wants_operations,
                ));
            }
            topics
        }
        _ => visible(context, principal)
            .iter()
            .map(|topic| describe(context, principal, topic, wants_operations))
            .collect(),
    };
    let (host, port) = call.advertised.clone();
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NODE_ID,
            host: host.into(),
            port: port.into(),
            rack: None,
        }],
        cluster_id: Some(context.broker.cluster_id().into()),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations(context, principal, Resource::Broker)
        } else {
            OPERATIONS_UNKNOWN
        },
        ..MetadataResponse::default()
    };
    call.answer(&response)
}

fn visible(context: &Context, principal: &Principal) -> Vec<Arc<Topic>> {
    // Queues may have names that no client takes for a topic's.
    let may_see = |topic: &&Arc<Topic>| {
        name::check(&topic.name).is_ok()
            && context
                .broker
                .allows(principal, Verb::Describe, Resource::Topic(&topic.name))
    };
    context
        .broker
        .topics()
        .iter()
        .filter(may_see)
        .cloned()
        .collect()
}

/// Finds a topic, or makes it where both sides allow that.
async fn find(
    context: &Context,
    principal: &Principal,
    wanted: &MetadataRequestTopic<'_>,
    may_create: bool,
) -> Result<Arc<Topic>, Error> {
    let Some(name) = wanted.name.as_deref() else {
        return context
            .broker
            .topic(principal, TopicKey::Id(wanted.topic_id));
    };
    let found = context.broker.topic(principal, TopicKey::Name(name));
    if !matches!(found, Err(Error::UnknownTopic)) {
        return found;
    }
    name::check(name)?;
    if !(may_create && context.settings.auto_create_topics) {
        return found;
    }
    let new = NewTopic {
        name: name.to_owned(),
        ..NewTopic::default()
    };
    match context.broker.create_topic(principal, new, false).await {
        // Somebody else was quicker.
        Err(Error::TopicExists(_)) => context.broker.topic(principal, TopicKey::Name(name)),
        made => made,
    }
}

/// The layout of these versions has no null name to answer with.
fn refused_id(wanted: &MetadataRequestTopic<'_>) -> MetadataResponseTopic<'static> {
    MetadataResponseTopic {
        error_code: Code::InvalidRequest.into(),
        name: Some("".into()),
        topic_id: wanted.topic_id,
        topic_authorized_operations: OPERATIONS_UNKNOWN,
        ..MetadataResponseTopic::default()
    }
}

fn describe_wanted<'a>(
    context: &Context,
    principal: &Principal,
    wanted: &MetadataRequestTopic<'a>,
    found: Result<Arc<Topic>, Error>,
    wants_operations: bool,
) -> MetadataResponseTopic<'a> {
    let by_id = wanted.name.is_none();
    match found {
        Ok(topic) => describe(context, principal, &topic, wants_operations),
        Err(error) => MetadataResponseTopic {
            error_code: match code(&error) {
                Code::UnknownTopicOrPartition if by_id => Code::UnknownTopicId.into(),
                code => code.into(),
            },
            name: wanted.name.clone(),
            topic_id: if by_id { wanted.topic_id } else { Uuid::nil() },
            topic_authorized_operations: OPERATIONS_UNKNOWN,
            ..MetadataResponseTopic::default()
        },
    }
}

fn describe(
    context: &Context,
    principal: &Principal,
    topic: &Topic,
    wants_operations: bool,
) -> MetadataResponseTopic<'static> {
    let replicas = replicas(topic);
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| MetadataResponsePartition {
            partition_index: partition.index.cast_signed(),
            leader_id: NODE_ID,
            leader_epoch: LEADER_EPOCH,
            replica_nodes: replicas.clone(),
            isr_nodes: replicas.clone(),
            ..MetadataResponsePartition::default()
        })
        .collect();
    MetadataResponseTopic {
        name: Some(Cow::Owned(topic.name.to_string())),
        topic_id: topic.id(),
        partitions,
        topic_authorized_operations: if wants_operations {
            operations(context, principal, Resource::Topic(&topic.name))
        } else {
            OPERATIONS_UNKNOWN
        },
        ..MetadataResponseTopic::default()
    }
}

/// The nodes that keep a copy: this one, as often as the topic's creator insisted on.
fn replicas(topic: &Topic) -> Vec<i32> {
    vec![NODE_ID; usize::from(topic.document.replication.max(1))]
}

pub(super) fn describe_cluster(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    const BROKERS: i8 = 1;
    let request: DescribeClusterRequest = call.read()?;
    let (host, port) = call.advertised.clone();
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker.cluster_id().into(),
        controller_id: NODE_ID,
        cluster_authorized_operations: OPERATIONS_UNKNOWN,
        ..DescribeClusterResponse::default()
    };
    if request.endpoint_type == BROKERS {
        response.brokers = vec![DescribeClusterBroker {
            broker_id: NODE_ID,
            host: host.into(),
            port: port.into(),
            ..DescribeClusterBroker::default()
        }];
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations =
                operations(context, principal, Resource::Broker);
        }
    } else {
        response.error_code = Code::MismatchedEndpointType.into();
        response.error_message =
            Some("The request was sent to an endpoint of the wrong type.".into());
    }
    call.answer(&response)
}

pub(super) fn describe_partitions(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeTopicPartitionsRequest<'_> = call.read()?;
    let mut names: Vec<String> = if request.topics.is_empty() {
        visible(context, principal)
            .iter()
            .map(|topic| topic.name.to_string())
            .collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.clone().into_owned())
            .collect()
    };
    names.sort_unstable();
    names.dedup();
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
    for name in names.iter().filter(|name| name.as_str() >= from_topic) {
        let first = if name == from_topic {
            from_partition
        } else {
            0
        };
        if room == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: name.clone().into(),
                partition_index: 0,
            });
            break;
        }
        let (topic, total) = describe_some(context, principal, name, (first, room));
        let shown = first + topic.partitions.len();
        room = room.saturating_sub(topic.partitions.len());
        response.topics.push(topic);
        if shown < total {
            let partition_index = i32::try_from(shown).unwrap_or(i32::MAX);
            response.next_cursor = Some(Cursor {
                topic_name: name.clone().into(),
                partition_index,
            });
            break;
        }
    }
    call.answer(&response)
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
        topic_authorized_operations: OPERATIONS_UNKNOWN,
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    let topic = match context.broker.topic(principal, TopicKey::Name(name)) {
        Ok(topic) => topic,
        Err(error) => {
            described.error_code = code(&error).into();
            return (described, 0);
        }
    };
    let replicas = replicas(&topic);
    described.topic_id = topic.id();
    described.topic_authorized_operations = operations(context, principal, Resource::Topic(name));
    described.partitions = topic
        .partitions
        .iter()
        .skip(first)
        .take(room)
        .map(|partition| DescribeTopicPartitionsResponsePartition {
            partition_index: partition.index.cast_signed(),
            leader_id: NODE_ID,
            leader_epoch: LEADER_EPOCH,
            replica_nodes: replicas.clone(),
            isr_nodes: replicas.clone(),
            ..DescribeTopicPartitionsResponsePartition::default()
        })
        .collect();
    (described, topic.partitions.len())
}
