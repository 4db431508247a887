//! Producers: ids for those that want to be idempotent, and which of them a partition knows.

use std::io;

use engine::{Error, TopicKey};
use security::Principal;

use super::Call;
use super::room::{TOO_MUCH, elements};
use crate::context::Context;
use crate::error::{Code, code, message};
use crate::wire::describe_producers::{PartitionResponse, ProducerState, TopicResponse};
use crate::wire::{
    DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
    InitProducerIdResponse, Segments,
};

pub(super) async fn init_producer_id(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: InitProducerIdRequest<'_> = call.read()?;
    let refused = |code: Code| InitProducerIdResponse {
        error_code: code.into(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    let response = if request.transactional_id.is_some() {
        // Fatal for the client, at once: better than letting it believe in transactions.
        refused(Code::InvalidRequest)
    } else {
        match context.broker.on_behalf_of(principal).producer_id().await {
            Ok(producer_id) => InitProducerIdResponse {
                producer_id,
                ..InitProducerIdResponse::default()
            },
            Err(error) => refused(code(&error)),
        }
    };
    call.answer(&response)
}

pub(super) async fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeProducersRequest<'_> = call.read()?;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            // One at a time: what a partition remembers of its producers is bounded.
            let mut described = describe_one(context, principal, &topic.name, *index).await;
            let count = described.active_producers.len();
            if !call.finds_room(elements::<ProducerState>(count, 0)).await {
                described.active_producers = Vec::new();
                described.error_code = Code::PolicyViolation.into();
                described.error_message = Some(TOO_MUCH.into());
            }
            let text = described
                .error_message
                .as_ref()
                .map_or(0, |text| text.len());
            call.make_room(elements::<PartitionResponse<'_>>(1, text))
                .await?;
            partitions.push(described);
        }
        topics.push(TopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    call.answer(&DescribeProducersResponse {
        topics,
        ..DescribeProducersResponse::default()
    })
}

async fn describe_one(
    context: &Context,
    principal: &Principal,
    topic: &str,
    partition_index: i32,
) -> PartitionResponse<'static> {
    let key = TopicKey::Name(topic);
    let found = context
        .broker
        .on_behalf_of(principal)
        .producers(key, partition_index)
        .await;
    match found {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers
                .into_iter()
                .map(|(producer_id, producer)| ProducerState {
                    producer_id,
                    producer_epoch: producer.epoch.into(),
                    last_sequence: producer.batches.last().map_or(-1, |b| b.last_sequence),
                    last_timestamp: producer.batches.last().map_or(-1, |b| b.max_timestamp),
                    // There are no transactions.
                    coordinator_epoch: -1,
                    current_txn_start_offset: -1,
                })
                .collect(),
            ..PartitionResponse::default()
        },
        Err(error) => PartitionResponse {
            partition_index,
            error_code: code(&error).into(),
            error_message: (!matches!(error, Error::UnknownPartition)).then(|| message(&error)),
            ..PartitionResponse::default()
        },
    }
}
