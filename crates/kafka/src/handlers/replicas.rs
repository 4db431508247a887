//! Leaders and replicas, as far as one broker has a choice: it leads everything, and nothing moves.

use std::borrow::Cow;
use std::io;

use engine::TopicKey;
use security::{Principal, Resource, Verb};

use super::Call;
use super::assignment::{Refusal, check_replicas};
use super::room::elements;
use crate::context::Context;
use crate::error::Code;
use crate::wire::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::wire::elect_leaders::{PartitionResult, ReplicaElectionResult};
use crate::wire::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    Segments,
};

/// What is said of one partition besides its topic's name, at most, bytes.
const REFUSAL_BYTES: usize = 96;
const DENIED: &str = "Cluster authorization failed.";

/// What is said of so many partitions of a topic: each answer may have its name.
fn refusals<T>(partitions: usize, topic: &str) -> usize {
    let text = topic.len() + REFUSAL_BYTES;
    elements::<T>(
        partitions,
        text.saturating_mul(partitions.saturating_add(1)),
    )
}

fn may(context: &Context, principal: &Principal, verb: Verb) -> bool {
    context
        .broker
        .on_behalf_of(principal)
        .allows(verb, Resource::Broker)
}

/// Every partition has the leader it should have; one that is not there is said so.
pub(super) async fn elect(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    const KINDS: std::ops::RangeInclusive<i8> = 0..=1;
    let request: ElectLeadersRequest<'_> = call.read()?;
    let refused = if !may(context, principal, Verb::Configure) {
        Some(Code::ClusterAuthorizationFailed)
    } else if !KINDS.contains(&request.election_type) {
        Some(Code::InvalidRequest)
    } else {
        None
    };
    if let Some(code) = refused {
        return call.answer(&ElectLeadersResponse {
            error_code: code.into(),
            ..ElectLeadersResponse::default()
        });
    }
    // Asked about all of them, only those that need an election are listed.
    let topics = request.topic_partitions.iter().flatten();
    for topic in topics.clone() {
        let count = topic.partitions.len();
        call.make_room(refusals::<PartitionResult<'_>>(count, &topic.topic))
            .await?;
    }
    let results = topics.map(|topic| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic
            .partitions
            .iter()
            .map(|partition| elected(context, principal, &topic.topic, *partition))
            .collect(),
    });
    call.answer(&ElectLeadersResponse {
        replica_election_results: results.collect(),
        ..ElectLeadersResponse::default()
    })
}

fn elected(
    context: &Context,
    principal: &Principal,
    topic: &str,
    partition_id: i32,
) -> PartitionResult<'static> {
    let found = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(topic));
    let (code, text) = match found {
        Err(_) => (
            Code::UnknownTopicOrPartition,
            format!("No such topic as {topic}"),
        ),
        Ok(found) if found.partition(partition_id).is_none() => (
            Code::UnknownTopicOrPartition,
            format!("No such partition as {topic}-{partition_id}"),
        ),
        Ok(_) => (
            Code::ElectionNotNeeded,
            "Leader election not needed for topic partition.".to_owned(),
        ),
    };
    PartitionResult {
        partition_id,
        error_code: code.into(),
        error_message: Some(text.into()),
    }
}

/// Nothing moves, ever.
pub(super) fn list_reassignments(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let _: ListPartitionReassignmentsRequest<'_> = call.read()?;
    let mut response = ListPartitionReassignmentsResponse::default();
    if !may(context, principal, Verb::Describe) {
        response.error_code = Code::ClusterAuthorizationFailed.into();
        response.error_message = Some(DENIED.into());
    }
    call.answer(&response)
}

/// A partition may be moved to where it is.
pub(super) async fn alter_reassignments(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: AlterPartitionReassignmentsRequest<'_> = call.read()?;
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        ..AlterPartitionReassignmentsResponse::default()
    };
    if !may(context, principal, Verb::Configure) {
        response.error_code = Code::ClusterAuthorizationFailed.into();
        response.error_message = Some(DENIED.into());
        return call.answer(&response);
    }
    for topic in &request.topics {
        let count = topic.partitions.len();
        call.make_room(refusals::<ReassignablePartitionResponse<'_>>(
            count,
            &topic.name,
        ))
        .await?;
    }
    let topics = request.topics.iter();
    let answers = topics.map(|topic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                let outcome = reassign(context, principal, &topic.name, partition);
                let (code, text) = outcome.err().unzip();
                ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: code.unwrap_or(Code::None).into(),
                    error_message: text.map(Cow::Owned),
                }
            })
            .collect(),
    });
    response.responses = answers.collect();
    call.answer(&response)
}

fn reassign(
    context: &Context,
    principal: &Principal,
    topic: &str,
    partition: &ReassignablePartition,
) -> Result<(), Refusal> {
    let unknown = |what: String| {
        let text = format!("Unable to find {what}.");
        (Code::UnknownTopicOrPartition, text)
    };
    let index = partition.partition_index;
    let found = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(topic));
    let found = found.map_err(|_| unknown(format!("a topic named {topic}")))?;
    if found.partition(index).is_none() {
        return Err(unknown(format!("partition {topic}:{index}")));
    }
    match &partition.replicas {
        Some(replicas) => check_replicas(context, replicas),
        None => Err((
            Code::NoReassignmentInProgress,
            "No partition reassignment is in progress.".to_owned(),
        )),
    }
}
