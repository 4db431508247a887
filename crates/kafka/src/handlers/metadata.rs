//! Metadata: the one node, and the topics and partitions it leads.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use engine::partition::LEADER_EPOCH;
use engine::topic::{Topic, name};
use engine::{Error, NewTopic, TopicKey};
use security::{Principal, Resource, Verb};
use uuid::Uuid;

use super::Call;
use super::room::elements;
use crate::context::Context;
use crate::error::{Code, code};
use crate::wire::describe_cluster::DescribeClusterBroker;
use crate::wire::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse, Segments,
};

/// Says that no list of allowed operations was asked for.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// First version in which an absent list, not an empty one, means all topics.
const NULL_MEANS_ALL_SINCE: i16 = 1;
/// First version in which topics may be asked for by id; names may be absent before, and mean nothing then.
const TOPIC_ID_SINCE: i16 = 12;

/// Operations of the protocol, as bit numbers.
mod operation {
    pub(super) const READ: i32 = 3;
    pub(super) const WRITE: i32 = 4;
    pub(super) const CREATE: i32 = 5;
    pub(super) const DELETE: i32 = 6;
    pub(super) const ALTER: i32 = 7;
    pub(super) const DESCRIBE: i32 = 8;
    pub(super) const CLUSTER_ACTION: i32 = 9;
    pub(super) const DESCRIBE_CONFIGS: i32 = 10;
    pub(super) const ALTER_CONFIGS: i32 = 11;
    pub(super) const IDEMPOTENT_WRITE: i32 = 12;
}

/// What a principal may do, as the protocol's bit field.
pub(super) fn operations(context: &Context, principal: &Principal, resource: Resource<'_>) -> i32 {
    use operation::{
        ALTER, ALTER_CONFIGS, CLUSTER_ACTION, CREATE, DELETE, DESCRIBE, DESCRIBE_CONFIGS,
        IDEMPOTENT_WRITE, READ, WRITE,
    };
    let of_all = [
        (Verb::Describe, DESCRIBE),
        (Verb::Describe, DESCRIBE_CONFIGS),
        (Verb::Configure, ALTER_CONFIGS),
    ];
    let own: &[(Verb, i32)] = match resource {
        Resource::Broker => &[
            (Verb::Create, CREATE),
            (Verb::Configure, ALTER),
            (Verb::Configure, CLUSTER_ACTION),
            (Verb::Publish, IDEMPOTENT_WRITE),
        ],
        Resource::Topic(_) => &[
            (Verb::Consume, READ),
            (Verb::Publish, WRITE),
            (Verb::Create, CREATE),
            (Verb::Delete, DELETE),
            (Verb::Configure, ALTER),
        ],
        Resource::Group(_) | Resource::Queue(_) | Resource::Exchange(_) | Resource::Vhost(_) => {
            &[(Verb::Consume, READ), (Verb::Delete, DELETE)]
        }
    };
    let access = context.broker.on_behalf_of(principal);
    of_all
        .iter()
        .chain(own)
        .filter(|(verb, _)| access.allows(*verb, resource))
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
            let names = wanted
                .iter()
                .map(|wanted| wanted.name.as_ref().map_or(0, |n| n.len()));
            let blank = elements::<MetadataResponseTopic<'_>>(wanted.len(), names.sum());
            call.make_room(blank).await?;
            if call.version < TOPIC_ID_SINCE && wanted.iter().any(has_id) {
                wanted.iter().map(refused_id).collect()
            } else {
                let may_create = request.allow_auto_topic_creation;
                let options = (may_create, wants_operations);
                named(context, principal, call, (wanted, options)).await?
            }
        }
        _ => {
            let visible = visible(context, principal);
            let mut topics = Vec::with_capacity(visible.len());
            for topic in &visible {
                call.make_room(bytes_of(topic)).await?;
                topics.push(describe(context, principal, topic, wants_operations));
            }
            topics
        }
    };
    let (host, port) = call.advertised.clone();
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: context.node_id(),
            host: host.into(),
            port: port.into(),
            rack: None,
        }],
        cluster_id: Some(context.broker.cluster_id().into()),
        controller_id: context.node_id(),
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

fn has_id(wanted: &MetadataRequestTopic<'_>) -> bool {
    wanted.name.is_none() || !wanted.topic_id.is_nil()
}

/// The topics a request names, each once. As soon as one is named by its id, names count for nothing.
async fn named<'a>(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
    (wanted, (may_create, wants_operations)): (&[MetadataRequestTopic<'a>], (bool, bool)),
) -> io::Result<Vec<MetadataResponseTopic<'a>>> {
    let by_id = wanted.iter().any(|wanted| !wanted.topic_id.is_nil());
    let mut seen = HashSet::with_capacity(wanted.len());
    let mut topics = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        if by_id == wanted.topic_id.is_nil() || (!by_id && wanted.name.is_none()) {
            continue;
        }
        let name = wanted.name.as_deref().filter(|_| !by_id);
        if !seen.insert((name, wanted.topic_id)) {
            continue;
        }
        let found = find(context, principal, (name, wanted.topic_id), may_create).await;
        topics.push(match found {
            Ok(topic) => {
                call.make_room(bytes_of(&topic)).await?;
                describe(context, principal, &topic, wants_operations)
            }
            Err(error) => unknown(wanted, by_id, &error),
        });
    }
    Ok(topics)
}

pub(super) fn visible(context: &Context, principal: &Principal) -> Vec<Arc<Topic>> {
    // Queues may have names that no client takes for a topic's.
    let is_named = |topic: &&Arc<Topic>| name::check(&topic.name).is_ok();
    let topics = context.broker.on_behalf_of(principal).topics();
    topics.iter().filter(is_named).cloned().collect()
}

/// Finds a topic, or makes it where both sides allow that.
async fn find(
    context: &Context,
    principal: &Principal,
    (name, id): (Option<&str>, Uuid),
    may_create: bool,
) -> Result<Arc<Topic>, Error> {
    let Some(name) = name else {
        return context
            .broker
            .on_behalf_of(principal)
            .topic(TopicKey::Id(id));
    };
    let found = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(name));
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
    match context
        .broker
        .on_behalf_of(principal)
        .create_topic(new, false)
        .await
    {
        // Another request was faster.
        Err(Error::TopicExists(_)) => context
            .broker
            .on_behalf_of(principal)
            .topic(TopicKey::Name(name)),
        made => made,
    }
}

/// The layout of these versions has no null name to answer with.
fn refused_id<'a>(wanted: &MetadataRequestTopic<'a>) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: Code::InvalidRequest.into(),
        name: Some(wanted.name.clone().unwrap_or_default()),
        topic_id: wanted.topic_id,
        topic_authorized_operations: OPERATIONS_UNKNOWN,
        ..MetadataResponseTopic::default()
    }
}

fn unknown<'a>(
    wanted: &MetadataRequestTopic<'a>,
    by_id: bool,
    error: &Error,
) -> MetadataResponseTopic<'a> {
    MetadataResponseTopic {
        error_code: match code(error) {
            Code::UnknownTopicOrPartition if by_id => Code::UnknownTopicId.into(),
            code => code.into(),
        },
        name: wanted.name.clone().filter(|_| !by_id),
        topic_id: wanted.topic_id,
        topic_authorized_operations: OPERATIONS_UNKNOWN,
        ..MetadataResponseTopic::default()
    }
}

/// What a topic takes in an answer.
fn bytes_of(topic: &Topic) -> usize {
    let nodes = 2 * usize::from(topic.document.replication.max(1));
    let partition = elements::<MetadataResponsePartition>(1, 0) + nodes * size_of::<i32>();
    let partitions = topic.partitions.len().saturating_mul(partition);
    partitions.saturating_add(elements::<MetadataResponseTopic<'_>>(1, topic.name.len()))
}

fn describe(
    context: &Context,
    principal: &Principal,
    topic: &Topic,
    wants_operations: bool,
) -> MetadataResponseTopic<'static> {
    let replicas = replicas(context, topic);
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| MetadataResponsePartition {
            partition_index: partition.index.cast_signed(),
            leader_id: context.node_id(),
            leader_epoch: LEADER_EPOCH,
            replica_nodes: replicas.clone(),
            isr_nodes: replicas.clone(),
            ..MetadataResponsePartition::default()
        })
        .collect();
    MetadataResponseTopic {
        name: Some(Cow::Owned(topic.name.to_string())),
        topic_id: topic.id(),
        is_internal: is_internal(&topic.name),
        partitions,
        topic_authorized_operations: if wants_operations {
            operations(context, principal, Resource::Topic(&topic.name))
        } else {
            OPERATIONS_UNKNOWN
        },
        ..MetadataResponseTopic::default()
    }
}

/// Names of topics that clients keep away from unless they are asked for them.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

/// The nodes that keep a copy: this one, as often as the topic's creator insisted on.
pub(super) fn replicas(context: &Context, topic: &Topic) -> Vec<i32> {
    vec![context.node_id(); usize::from(topic.document.replication.max(1))]
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
        controller_id: context.node_id(),
        cluster_authorized_operations: OPERATIONS_UNKNOWN,
        ..DescribeClusterResponse::default()
    };
    if request.endpoint_type == BROKERS {
        response.brokers = vec![DescribeClusterBroker {
            broker_id: context.node_id(),
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
