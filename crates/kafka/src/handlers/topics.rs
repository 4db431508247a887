//! Making, growing and removing topics.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use engine::topic::{Topic, settings};
use engine::{Error, NewTopic, TopicKey};
use security::Principal;

use super::assignment::{Refusal, check_all, check_replicas};
use super::room::elements;
use super::{Call, configs};
use crate::context::Context;
use crate::error::{Code, code, message, remark};
use crate::wire::create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult};
use crate::wire::create_topics::{CreatableTopic, CreatableTopicConfigs, CreatableTopicResult};
use crate::wire::delete_topics::DeletableTopicResult;
use crate::wire::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, Segments,
};

/// Partitions that one request may make.
const CREATED_PARTITIONS_MAX: usize = 10_000;
/// First version of CreateTopics whose answers have the settings of what was made.
const CONFIGS_SINCE: i16 = 5;
/// What a refusal of one topic says besides its name, bytes: no more than a little longer.
const REFUSAL_BYTES: usize = 64;
/// Not a topic that clients can create.
const CLUSTER_METADATA: &str = "__cluster_metadata";

pub(super) async fn create(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: CreateTopicsRequest<'_> = call.read()?;
    let texts = request.topics.iter();
    let texts = texts.map(|topic| 2 * topic.name.len() + REFUSAL_BYTES);
    let blank = elements::<CreatableTopicResult<'_>>(request.topics.len(), texts.sum());
    call.make_room(blank).await?;
    let too_many = partitions_of(context, &request) > CREATED_PARTITIONS_MAX;
    let mut repeated = repeated(request.topics.iter().map(|topic| topic.name.as_ref()));
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let Some(is_repeated) = first(&mut repeated, &topic.name) else {
            continue;
        };
        let outcome = if is_repeated {
            Err((Code::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else if too_many {
            let text = "Excessively large number of partitions per request.";
            Err((Code::PolicyViolation, text.to_owned()))
        } else {
            create_one(context, principal, topic, request.validate_only).await
        };
        topics.push(match outcome {
            Ok(made) => created(context, call, topic, &made).await,
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

/// How many partitions a request wants made, as far as it says so.
fn partitions_of(context: &Context, request: &CreateTopicsRequest<'_>) -> usize {
    let of_one = |topic: &CreatableTopic<'_>| match usize::try_from(topic.num_partitions) {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        Ok(count) => count,
        Err(_) => context.broker.settings().default_partitions as usize,
    };
    let counts = request.topics.iter().map(of_one);
    counts.fold(0, usize::saturating_add)
}

/// Names that occur more than once, none of them answered yet: one answer is enough.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, bool> {
    let mut seen = HashSet::new();
    let repeated = names.filter(|name| !seen.insert(*name));
    repeated.map(|name| (name, false)).collect()
}

/// Whether a name that was not answered yet occurs more than once; `None` when it was.
fn first(repeated: &mut HashMap<&str, bool>, name: &str) -> Option<bool> {
    match repeated.get_mut(name) {
        Some(answered) => (!std::mem::replace(answered, true)).then_some(true),
        None => Some(false),
    }
}

async fn create_one(
    context: &Context,
    principal: &Principal,
    topic: &CreatableTopic<'_>,
    dry_run: bool,
) -> Result<Arc<Topic>, Refusal> {
    if topic.name == CLUSTER_METADATA {
        let text = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        return Err((Code::InvalidRequest, text));
    }
    let new = new_topic(context, topic)?;
    context
        .broker
        .on_behalf_of(principal)
        .create_topic(new, dry_run)
        .await
        .map_err(|error| (code(&error), message(&error).into_owned()))
}

fn new_topic(context: &Context, topic: &CreatableTopic<'_>) -> Result<NewTopic, Refusal> {
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
        sizes(topic)?
    } else {
        let not_default = |what| {
            let text = "A manual partition assignment was specified, but";
            Err((
                Code::InvalidRequest,
                format!("{text} {what} not set to -1."),
            ))
        };
        if topic.replication_factor != -1 {
            return not_default("replication factor was");
        }
        if topic.num_partitions != -1 {
            return not_default("numPartitions was");
        }
        (Some(check_all(context, &topic.assignments)?), Some(1))
    };
    Ok(NewTopic {
        name: topic.name.clone().into_owned(),
        partitions,
        replication,
        overrides,
    })
}

/// Partitions and copies, where the request names them.
fn sizes(topic: &CreatableTopic<'_>) -> Result<(Option<u32>, Option<u16>), Refusal> {
    let replication = match topic.replication_factor {
        -1 => None,
        count => match u16::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                let text =
                    "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err((Code::InvalidReplicationFactor, text.to_owned()));
            }
        },
    };
    let partitions = match topic.num_partitions {
        -1 => None,
        count => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                let text = "Number of partitions was set to an invalid non-positive value.";
                return Err((Code::InvalidPartitions, text.to_owned()));
            }
        },
    };
    Ok((partitions, replication))
}

/// A topic that was made. Where the answer has no room for its settings, it says so in their stead.
async fn created<'a>(
    context: &Context,
    call: &Call<'_>,
    wanted: &CreatableTopic<'a>,
    topic: &Topic,
) -> CreatableTopicResult<'a> {
    let bare = CreatableTopicResult {
        name: wanted.name.clone(),
        topic_id: topic.id(),
        num_partitions: topic.document.partitions.cast_signed(),
        replication_factor: topic.document.replication.cast_signed(),
        configs: None,
        ..CreatableTopicResult::default()
    };
    if call.version < CONFIGS_SINCE {
        return CreatableTopicResult {
            configs: Some(Vec::new()),
            ..bare
        };
    }
    let configs: Vec<_> = settings::SETTINGS
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
    let text = |config: &CreatableTopicConfigs<'_>| {
        config.name.len() + config.value.as_ref().map_or(0, |value| value.len())
    };
    let text = configs.iter().map(text).sum();
    let bytes = elements::<CreatableTopicConfigs<'_>>(configs.len(), text);
    if !call.finds_room(bytes).await {
        return CreatableTopicResult {
            topic_config_error_code: Code::PolicyViolation.into(),
            ..bare
        };
    }
    CreatableTopicResult {
        configs: Some(configs),
        ..bare
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
    // What is named twice is answered once, and stays.
    let mut times = HashMap::with_capacity(wanted.len());
    for (name, id) in &wanted {
        *times.entry((name.as_deref(), *id)).or_insert(0_usize) += 1;
    }
    for (name, id) in &wanted {
        let both = name.is_some() && !id.is_nil();
        let neither = name.is_none() && id.is_nil();
        let repeated = match times.get_mut(&(name.as_deref(), *id)) {
            _ if both || neither => false,
            Some(0) => continue,
            Some(count) => std::mem::take(count) > 1,
            None => false,
        };
        responses.push(match (name, repeated) {
            _ if both => {
                let text = "You may not specify both topic name and topic id.";
                undeleted(name.clone(), *id, text)
            }
            _ if neither => undeleted(None, *id, "Neither topic name nor id were specified."),
            (Some(_), true) => undeleted(name.clone(), *id, "Duplicate topic name."),
            (None, true) => undeleted(None, *id, "Duplicate topic id."),
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
    match context
        .broker
        .on_behalf_of(principal)
        .delete_topic(key)
        .await
    {
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
            error_message: remark(&error),
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
    let mut repeated = repeated(request.topics.iter().map(|topic| topic.name.as_ref()));
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let Some(is_repeated) = first(&mut repeated, &topic.name) else {
            continue;
        };
        let outcome = if is_repeated {
            Err((Code::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else {
            grow(context, principal, topic, request.validate_only).await
        };
        let (code, text) = outcome.err().map_or((Code::None, None), |(code, text)| {
            (code, (!text.is_empty()).then(|| text.into()))
        });
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
    let have = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(&topic.name))
        .map_err(|error| {
            (
                code(&error),
                remark(&error).unwrap_or_default().into_owned(),
            )
        })?;
    let have = have.document.partitions;
    let Some(count) = u32::try_from(topic.count)
        .ok()
        .filter(|count| *count > have)
    else {
        let text = if i64::from(topic.count) == i64::from(have) {
            format!("Topic already has {have} partition(s).")
        } else {
            format!(
                "The topic {} currently has {have} partition(s); {} would not be an increase.",
                topic.name, topic.count
            )
        };
        return Err((Code::InvalidPartitions, text));
    };
    if let Some(assignments) = &topic.assignments {
        let more = (count - have) as usize;
        if assignments.len() != more {
            let text = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err((Code::InvalidReplicaAssignment, text));
        }
        for assignment in assignments {
            check_replicas(context, &assignment.broker_ids)?;
        }
    }
    let outcome = context
        .broker
        .on_behalf_of(principal)
        .add_partitions(&topic.name, count, dry_run)
        .await;
    outcome.map_err(|error| (code(&error), error.to_string()))
}
