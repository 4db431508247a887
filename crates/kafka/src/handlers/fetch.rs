//! Fetch: the log's own bytes, uncopied.

use std::io;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use engine::{Chunk, FetchResult, FetchSpec, Room, TopicKey};
use net::SharedPermit;
use security::Principal;

use super::Call;
use crate::error::{Code, code};
use crate::session::Context;
use crate::wire::fetch::{FetchPartition, FetchTopic, FetchableTopicResponse, PartitionData};
use crate::wire::{FetchRequest, FetchResponse, Records, Segments};

/// First version that names topics by id.
const TOPIC_ID_SINCE: i16 = 13;
/// First version whose readers understand zstd.
const ZSTD_SINCE: i16 = 10;
const ZSTD: i16 = 4;
/// Longest wait, whatever a client asks for.
const WAIT_MAX: Duration = Duration::from_mins(5);
/// Most bytes of one answer, whatever a client asks for; what follows it comes with the next fetch.
const ANSWER_BYTES_MAX: usize = 8 << 20;

pub(super) async fn fetch(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: FetchRequest<'_> = call.read()?;
    // Sessions are offered by answering with id 0 each time: every fetch is then a full one. A client that
    // continues a session nobody opened starts over.
    if request.session_id != 0 {
        let response = FetchResponse {
            error_code: FETCH_SESSION_ID_NOT_FOUND,
            ..FetchResponse::default()
        };
        return call.answer(&response);
    }
    let room = AnswerRoom(call.room.clone());
    let results = context
        .broker
        .fetch(principal, spec(&request, call.version, &room))
        .await;
    let mut results = results.into_iter();
    let responses = request
        .topics
        .iter()
        .map(|topic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .zip(&mut results)
                .map(|(partition, result)| answer(partition, result, call.version))
                .collect(),
        })
        .collect();
    call.answer(&FetchResponse {
        responses,
        ..FetchResponse::default()
    })
}

const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

/// Room for answers out of the connection's account.
#[derive(Debug)]
struct AnswerRoom(Option<SharedPermit>);

impl Room for AnswerRoom {
    fn try_take(&self, bytes: usize) -> bool {
        self.0.as_ref().is_none_or(|room| room.try_take(bytes))
    }

    fn poll_take(&self, cx: &mut Cx<'_>, bytes: usize) -> Poll<()> {
        match &self.0 {
            Some(room) => room.poll_take(cx, bytes),
            None => Poll::Ready(()),
        }
    }

    fn give_back(&self, bytes: usize) {
        if let Some(room) = &self.0 {
            room.give_back(bytes);
        }
    }
}

fn spec<'a>(request: &'a FetchRequest<'_>, version: i16, room: &'a AnswerRoom) -> FetchSpec<'a> {
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let key = |topic: &'a FetchTopic<'_>| match version {
        TOPIC_ID_SINCE.. => TopicKey::Id(topic.topic_id),
        _ => TopicKey::Name(&topic.topic),
    };
    let partitions = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(move |partition| (topic, partition))
        })
        .map(|(topic, partition)| engine::FetchPartition {
            topic: key(topic),
            partition: partition.partition,
            // Below zero no partition has records: the engine says so.
            offset: u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX),
            bytes_max: size(partition.partition_max_bytes),
            epoch: (partition.current_leader_epoch >= 0).then_some(partition.current_leader_epoch),
        })
        .collect();
    FetchSpec {
        partitions,
        bytes_max: size(request.max_bytes).min(ANSWER_BYTES_MAX),
        bytes_min: size(request.min_bytes),
        wait_max: wait.min(WAIT_MAX),
        room,
    }
}

fn answer(partition: &FetchPartition, result: FetchResult, version: i16) -> PartitionData {
    let (high_watermark, start) = result.bounds.unwrap_or((0, 0));
    let known = result.bounds.is_some();
    let mut data = PartitionData {
        partition_index: partition.partition,
        high_watermark: if known {
            high_watermark.cast_signed()
        } else {
            -1
        },
        last_stable_offset: if known {
            high_watermark.cast_signed()
        } else {
            -1
        },
        log_start_offset: if known { start.cast_signed() } else { -1 },
        preferred_read_replica: -1,
        records: Records::Many(Vec::new()),
        ..PartitionData::default()
    };
    match result.outcome {
        Ok(fetched) if version < ZSTD_SINCE && has_zstd(&fetched.chunk) => {
            data.error_code = Code::UnsupportedCompressionType.into();
        }
        Ok(fetched) => {
            data.high_watermark = fetched.high_watermark.cast_signed();
            data.last_stable_offset = data.high_watermark;
            data.log_start_offset = fetched.start.cast_signed();
            data.records = Records::Many(fetched.chunk.pieces);
        }
        Err(engine::Error::UnknownTopic) if version >= TOPIC_ID_SINCE => {
            data.error_code = Code::UnknownTopicId.into();
        }
        Err(error) => data.error_code = code(&error).into(),
    }
    data
}

/// Only very old readers pay for this look at the batches.
fn has_zstd(chunk: &Chunk) -> bool {
    chunk
        .batches()
        .is_ok_and(|batches| batches.iter().any(|batch| batch.header.codec() == ZSTD))
}
