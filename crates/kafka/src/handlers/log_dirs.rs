//! Log directories: there is one, with everything in it.

use std::collections::BTreeMap;
use std::io;

use engine::TopicKey;
use engine::topic::Topic;
use security::{Principal, Resource, Verb};

use super::Call;
use super::metadata::visible;
use crate::error::Code;
use crate::session::Context;
use crate::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::{DescribeLogDirsRequest, DescribeLogDirsResponse, Segments};

pub(super) fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeLogDirsRequest<'_> = call.read()?;
    let may = context
        .broker
        .allows(principal, Verb::Describe, Resource::Broker);
    if !may {
        return call.answer(&DescribeLogDirsResponse {
            error_code: Code::ClusterAuthorizationFailed.into(),
            ..DescribeLogDirsResponse::default()
        });
    }
    let topics = match &request.topics {
        None => visible(context, principal)
            .iter()
            .map(|topic| described(context, topic, |_| true))
            .collect(),
        Some(wanted) => {
            let mut asked: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for topic in wanted {
                let partitions = asked.entry(&topic.topic).or_default();
                partitions.extend(&topic.partitions);
            }
            let found = asked.iter().filter_map(|(name, partitions)| {
                let topic = context.broker.topic(principal, TopicKey::Name(name));
                let topic = topic.ok()?;
                Some(described(context, &topic, |n| partitions.contains(&n)))
            });
            // What is not here has nothing in it.
            found.filter(|topic| !topic.partitions.is_empty()).collect()
        }
    };
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
