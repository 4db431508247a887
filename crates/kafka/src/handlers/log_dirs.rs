//! Log directories: there is one, with everything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use engine::TopicKey;
use engine::topic::Topic;
use security::{Principal, Resource, Verb};

use super::Call;
use super::metadata::visible;
use super::room::elements;
use crate::context::Context;
use crate::error::Code;
use crate::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::{DescribeLogDirsRequest, DescribeLogDirsResponse, Segments};

pub(super) async fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeLogDirsRequest<'_> = call.read()?;
    let may = context
        .broker
        .on_behalf_of(principal)
        .allows(Verb::Describe, Resource::Broker);
    if !may {
        return call.answer(&DescribeLogDirsResponse {
            error_code: Code::ClusterAuthorizationFailed.into(),
            ..DescribeLogDirsResponse::default()
        });
    }
    let mut topics = Vec::new();
    match &request.topics {
        None => {
            for topic in visible(context, principal) {
                call.make_room(bytes_of(&topic)).await?;
                topics.push(described(context, &topic, |_| true));
            }
        }
        Some(wanted) => {
            let mut asked: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
            for topic in wanted {
                let partitions = asked.entry(&topic.topic).or_default();
                partitions.extend(&topic.partitions);
            }
            for (name, partitions) in &asked {
                let Ok(topic) = context
                    .broker
                    .on_behalf_of(principal)
                    .topic(TopicKey::Name(name))
                else {
                    continue;
                };
                call.make_room(bytes_of(&topic)).await?;
                topics.push(described(context, &topic, |n| partitions.contains(&n)));
            }
            // What is not here has nothing in it.
            topics.retain(|topic| !topic.partitions.is_empty());
        }
    }
    let (total_bytes, usable_bytes) = context.settings.log_dir.space();
    call.answer(&DescribeLogDirsResponse {
        results: vec![DescribeLogDirsResult {
            log_dir: context.settings.log_dir.path().into(),
            topics,
            total_bytes,
            usable_bytes,
            ..DescribeLogDirsResult::default()
        }],
        ..DescribeLogDirsResponse::default()
    })
}

/// What a topic takes in an answer.
fn bytes_of(topic: &Topic) -> usize {
    elements::<DescribeLogDirsPartition>(topic.partitions.len(), 0).saturating_add(elements::<
        DescribeLogDirsTopic<'_>,
    >(
        1,
        topic.name.len(),
    ))
}

fn described(
    context: &Context,
    topic: &Topic,
    wanted: impl Fn(i32) -> bool,
) -> DescribeLogDirsTopic<'static> {
    let partitions = topic.partitions.iter();
    let partitions = partitions.filter(|partition| wanted(partition.index.cast_signed()));
    DescribeLogDirsTopic {
        name: topic.name.to_string().into(),
        partitions: partitions
            .map(|partition| DescribeLogDirsPartition {
                partition_index: partition.index.cast_signed(),
                partition_size: i64::try_from(context.broker.bytes_of(partition))
                    .unwrap_or(i64::MAX),
                ..DescribeLogDirsPartition::default()
            })
            .collect(),
    }
}
