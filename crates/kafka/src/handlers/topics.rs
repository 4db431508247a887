//! Making, growing and removing topics.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use engine::topic::{Topic, settings};
use engine::{Error, NewTopic, TopicKey};
use security::Principal;

use super::{Call, NODE_ID, configs};
use crate::error::{Code, code, message};
use crate::session::Context;
use crate::wire::create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult};
use crate::wire::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
};
use crate::wire::delete_topics::DeletableTopicResult;
use crate::wire::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, Segments,
};

/// A refusal with its code and text.
type Refusal = (Code, String);

pub(super) async fn create(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: CreateTopicsRequest<'_> = call.read()?;
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_ref()));
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let outcome = if repeated.contains(topic.name.as_ref()) {
            Err((Code::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else {
            create_one(context, principal, topic, request.validate_only).await
        };
        topics.push(match outcome {
            Ok(made) => created(context, topic, &made),
            Err((code, text)) => CreatableTopicResult {
                name: topic.name.clone(),
                error_code: code.into(),
                error_message: Some(text.into()),
                num_partitions: -1,
                replication_factor: -1,
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            },
        });
    }
    call.answer(&CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    })
}

/// Names that occur more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

async fn create_one(
    context: &Context,
    principal: &Principal,
    topic: &CreatableTopic<'_>,
    dry_run: bool,
) -> Result<Arc<Topic>, Refusal> {
    let new = new_topic(topic)?;
    context
        .broker
        .create_topic(principal, new, dry_run)
        .await
        .map_err(|error| (code(&error), error.to_string()))
}

fn new_topic(topic: &CreatableTopic<'_>) -> Result<NewTopic, Refusal> {
    let refuse = |code, text: &str| Err((code, text.to_owned()));
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            return Err((
                Code::InvalidConfig,
                format!(
                    "Null value not supported for topic configs: {}",
                    config.name
                ),
            ));
        };
        overrides.insert(config.name.clone().into_owned(), value.clone().into_owned());
    }
    let (partitions, replication) = if topic.assignments.is_empty() {
        let partitions = match topic.num_partitions {
            -1 => None,
            count => match u32::try_from(count) {
                Ok(count) if count > 0 => Some(count),
                _ => {
                    return refuse(
                        Code::InvalidPartitions,
                        "Number of partitions must be larger than 0.",
                    );
                }
            },
        };
        let replication = match topic.replication_factor {
            -1 => None,
            count => match u16::try_from(count) {
                Ok(count) if count > 0 => Some(count),
                _ => {
                    return refuse(
                        Code::InvalidReplicationFactor,
                        "Replication factor must be larger than 0.",
                    );
                }
            },
        };
        (partitions, replication)
    } else {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let text = "Both numPartitions or replicationFactor and replicasAssignments were set.";
            return refuse(Code::InvalidRequest, text);
        }
        (Some(assigned(&topic.assignments)?), Some(1))
    };
    Ok(NewTopic {
        name: topic.name.clone().into_owned(),
        partitions,
        replication,
        overrides,
    })
}

/// Checks a hand-made assignment: every partition once, each to the one node there is.
fn assigned(assignments: &[CreatableReplicaAssignment]) -> Result<u32, Refusal> {
    let mut indexes: Vec<i32> = assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let expected = 0..i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    if !indexes.iter().copied().eq(expected) {
        let text = "partitions should be a consecutive 0-based integer sequence";
        return Err((Code::InvalidReplicaAssignment, text.to_owned()));
    }
    if assignments.iter().any(|a| a.broker_ids != [NODE_ID]) {
        let text = format!("this broker is the only one and has id {NODE_ID}");
        return Err((Code::InvalidReplicaAssignment, text));
    }
    u32::try_from(assignments.len())
        .map_err(|_| (Code::InvalidPartitions, "too many partitions".to_owned()))
}

fn created<'a>(
    context: &Context,
    wanted: &CreatableTopic<'a>,
    topic: &Topic,
) -> CreatableTopicResult<'a> {
    let configs = settings::SETTINGS
        .iter()
        .map(|setting| {
            let (value, config_source) = configs::effective(context, topic, setting);
            CreatableTopicConfigs {
                name: Cow::Borrowed(setting.name),
                value: Some(value.into()),
                config_source,
                ..CreatableTopicConfigs::default()
            }
        })
        .collect();
    CreatableTopicResult {
        name: wanted.name.clone(),
        topic_id: topic.id(),
        num_partitions: topic.document.partitions.cast_signed(),
        replication_factor: topic.document.replication.cast_signed(),
        configs: Some(configs),
        ..CreatableTopicResult::default()
    }
}

pub(super) async fn delete(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DeleteTopicsRequest<'_> = call.read()?;
    let by_name = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), uuid::Uuid::nil()));
    let by_state = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id));
    let wanted: Vec<_> = by_name.chain(by_state).collect();
    let mut responses = Vec::with_capacity(wanted.len());
    let mut seen = HashSet::with_capacity(wanted.len());
    for (name, id) in &wanted {
        let is_repeated = !seen.insert((name.as_deref(), *id));
        responses.push(match (name, id.is_nil()) {
            _ if is_repeated => undeleted(name.clone(), *id, "Duplicate topic."),
            (Some(_), false) => undeleted(name.clone(), *id, "Give the name or the id, not both."),
            (None, true) => undeleted(None, *id, "Neither name nor id was given."),
            _ => delete_one(context, principal, name.clone(), *id).await,
        });
    }
    call.answer(&DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    })
}

fn undeleted<'a>(
    name: Option<Cow<'a, str>>,
    topic_id: uuid::Uuid,
    why: &'static str,
) -> DeletableTopicResult<'a> {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: Code::InvalidRequest.into(),
        error_message: Some(why.into()),
    }
}

async fn delete_one<'a>(
    context: &Context,
    principal: &Principal,
    name: Option<Cow<'a, str>>,
    id: uuid::Uuid,
) -> DeletableTopicResult<'a> {
    let key = name.as_deref().map_or(TopicKey::Id(id), TopicKey::Name);
    match context.broker.delete_topic(principal, key).await {
        Ok(topic) => DeletableTopicResult {
            name: Some(topic.name.to_string().into()),
            topic_id: topic.id(),
            ..DeletableTopicResult::default()
        },
        Err(error) => DeletableTopicResult {
            error_code: match (&error, &name) {
                (Error::UnknownTopic, None) => Code::UnknownTopicId.into(),
                _ => code(&error).into(),
            },
            error_message: Some(message(&error)),
            name,
            topic_id: id,
        },
    }
}

pub(super) async fn create_partitions(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: CreatePartitionsRequest<'_> = call.read()?;
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_ref()));
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let outcome = if repeated.contains(topic.name.as_ref()) {
            Err((
                Code::InvalidRequest,
                "Duplicate topic in request.".to_owned(),
            ))
        } else {
            grow(context, principal, topic, request.validate_only).await
        };
        let (code, text) = outcome
            .err()
            .map_or((Code::None, None), |(code, text)| (code, Some(text.into())));
        results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: code.into(),
            error_message: text,
        });
    }
    call.answer(&CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    })
}

async fn grow(
    context: &Context,
    principal: &Principal,
    topic: &CreatePartitionsTopic<'_>,
    dry_run: bool,
) -> Result<(), Refusal> {
    if topic
        .assignments
        .iter()
        .flatten()
        .any(|assignment| assignment.broker_ids != [NODE_ID])
    {
        let text = format!("this broker is the only one and has id {NODE_ID}");
        return Err((Code::InvalidReplicaAssignment, text));
    }
    let count = u32::try_from(topic.count).map_err(|_| {
        (
            Code::InvalidPartitions,
            "The number of partitions must be positive.".to_owned(),
        )
    })?;
    if let Some(assignments) = &topic.assignments {
        let have = context.broker.topic(principal, TopicKey::Name(&topic.name));
        let have = have.map_or(0, |topic| topic.partitions.len());
        let more = (count as usize).saturating_sub(have);
        if more > 0 && assignments.len() != more {
            let text = format!(
                "{more} new partition(s) and {} assignment(s)",
                assignments.len()
            );
            return Err((Code::InvalidReplicaAssignment, text));
        }
    }
    let outcome = context
        .broker
        .add_partitions(principal, &topic.name, count, dry_run)
        .await;
    outcome.map_err(|error| (code(&error), error.to_string()))
}
