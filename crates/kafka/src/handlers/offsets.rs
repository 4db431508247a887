//! Offsets by time and epoch, and deleting records up to one.

use std::collections::{HashMap, HashSet};
use std::io;

use engine::{Error, TimeLookup, TopicKey, partition::LEADER_EPOCH};
use security::Principal;

use super::Call;
use super::room::elements;
use crate::context::Context;
use crate::error::{Code, code};
use crate::wire::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use crate::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use crate::wire::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, Segments,
};

/// Special times of ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// First version of ListOffsets whose answers have room for an epoch.
const EPOCH_SINCE: i16 = 4;

pub(super) async fn list(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: ListOffsetsRequest<'_> = call.read()?;
    let mut seen = HashSet::new();
    let all = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.as_ref(), partition.partition_index))
    });
    let repeated: HashSet<(&str, i32)> = all.filter(|place| !seen.insert(*place)).collect();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let place = (topic.name.as_ref(), partition.partition_index);
            let mut answer = if repeated.contains(&place) {
                refused(partition, Code::InvalidRequest)
            } else {
                list_one(context, principal, &topic.name, partition).await
            };
            if call.version < EPOCH_SINCE {
                answer.leader_epoch = -1;
            }
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    call.answer(&ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    })
}

async fn list_one(
    context: &Context,
    principal: &Principal,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let blank = refused(wanted, Code::None);
    if let Some(code) = epoch_code(wanted.current_leader_epoch) {
        return refused(wanted, code);
    }
    let lookup = match wanted.timestamp {
        LATEST => TimeLookup::Latest,
        EARLIEST | EARLIEST_LOCAL => TimeLookup::Earliest,
        MAX_TIMESTAMP => TimeLookup::MaxTimestamp,
        // Nothing is tiered, and nothing waits to be.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return blank,
        time => TimeLookup::At(time),
    };
    match context
        .broker
        .on_behalf_of(principal)
        .lookup(TopicKey::Name(topic), wanted.partition_index, lookup)
        .await
    {
        Ok(None) => blank,
        Ok(Some((offset, timestamp))) => ListOffsetsPartitionResponse {
            timestamp,
            offset: offset.cast_signed(),
            leader_epoch: LEADER_EPOCH,
            ..blank
        },
        Err(error) => refused(wanted, code(&error)),
    }
}

fn refused(wanted: &ListOffsetsPartition, code: Code) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: wanted.partition_index,
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
        error_code: code.into(),
    }
}

/// What is wrong with the epoch a client believes in, if it names one.
pub(super) fn epoch_code(epoch: i32) -> Option<Code> {
    match epoch {
        ..0 | LEADER_EPOCH => None,
        _ => Some(Code::UnknownLeaderEpoch),
    }
}

pub(super) async fn for_leader_epoch(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: OffsetForLeaderEpochRequest<'_> = call.read()?;
    let counts = request.topics.iter().map(|topic| topic.partitions.len());
    let names = request.topics.iter().map(|topic| topic.topic.len());
    call.make_room(elements::<EpochEndOffset>(counts.sum(), names.sum()))
        .await?;
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|p| epoch_end(context, principal, &topic.topic, p))
                .collect(),
        })
        .collect();
    call.answer(&OffsetForLeaderEpochResponse {
        topics,
        ..OffsetForLeaderEpochResponse::default()
    })
}

fn epoch_end(
    context: &Context,
    principal: &Principal,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let blank = EpochEndOffset {
        partition: wanted.partition,
        leader_epoch: -1,
        end_offset: -1,
        ..EpochEndOffset::default()
    };
    if let Some(code) = epoch_code(wanted.current_leader_epoch) {
        return EpochEndOffset {
            error_code: code.into(),
            ..blank
        };
    }
    let found = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(topic));
    match found.and_then(|t| {
        t.partition(wanted.partition)
            .cloned()
            .ok_or(Error::UnknownPartition)
    }) {
        // There is one epoch, and it has not ended: everything readable belongs to it.
        Ok(partition) if wanted.leader_epoch == LEADER_EPOCH => EpochEndOffset {
            leader_epoch: LEADER_EPOCH,
            end_offset: partition.high_watermark().cast_signed(),
            ..blank
        },
        Ok(_) => blank,
        Err(error) => EpochEndOffset {
            error_code: code(&error).into(),
            ..blank
        },
    }
}

/// Whether a topic's records only go when there is a newer one of their key.
fn keeps_newest_only(context: &Context, principal: &Principal, topic: &str) -> bool {
    let found = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(topic));
    found.is_ok_and(|topic| topic.config.keeps_newest_only())
}

pub(super) async fn delete_records(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DeleteRecordsRequest<'_> = call.read()?;
    let all = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.as_ref(), partition.partition_index))
    });
    let mut mentions: HashMap<(&str, i32), usize> = HashMap::new();
    for place in all {
        *mentions.entry(place).or_default() += 1;
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            // Of several mentions of a partition the last one counts.
            let place = (topic.name.as_ref(), partition.partition_index);
            if let Some(left) = mentions.get_mut(&place) {
                *left -= 1;
                if *left > 0 {
                    continue;
                }
            }
            let before = match partition.offset {
                -1 => Ok(None),
                offset => u64::try_from(offset)
                    .map(Some)
                    .map_err(|_| Error::OffsetOutOfRange),
            };
            let index = partition.partition_index;
            if keeps_newest_only(context, principal, &topic.name) {
                partitions.push(DeleteRecordsPartitionResult {
                    partition_index: index,
                    low_watermark: -1,
                    error_code: Code::PolicyViolation.into(),
                });
                continue;
            }
            let outcome = match before {
                Ok(before) => {
                    context
                        .broker
                        .on_behalf_of(principal)
                        .delete_records(&topic.name, index, before)
                        .await
                }
                Err(error) => Err(error),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: outcome.as_ref().map_or(-1, |start| start.cast_signed()),
                error_code: outcome
                    .err()
                    .map_or(Code::None, |error| code(&error))
                    .into(),
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions,
        });
    }
    call.answer(&DeleteRecordsResponse {
        topics,
        ..DeleteRecordsResponse::default()
    })
}
