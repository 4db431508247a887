//! Fetch: the log's own bytes, uncopied.

use std::io;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use engine::{Chunk, FetchResult, FetchSpec, Room, TopicKey};
use net::SharedPermit;
use security::Principal;

use uuid::Uuid;

use super::Call;
use crate::context::Context;
use crate::error::{Code, code};
use crate::fetch_sessions::{Topic, Wanted};
use crate::wire::fetch::{FetchableTopicResponse, PartitionData};
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
    let sessions = &context.fetch_sessions;
    let now = context.broker.now_ms();
    let fetching = match sessions.begin(&request, call.version, now) {
        Ok(fetching) => fetching,
        Err(code) => return refuse(call, code, 0),
    };
    let room = AnswerRoom(call.room.clone());
    let spec = spec(&request, &fetching.wanted, &room);
    let results = context.broker.on_behalf_of(principal).fetch(spec).await;
    let mut answers: Vec<(Topic, PartitionData)> = fetching
        .wanted
        .iter()
        .zip(results)
        .map(|(wanted, result)| {
            let data = answer(wanted.partition, result, call.version);
            (wanted.topic.clone(), data)
        })
        .collect();
    let fresh_id = || session_id(context.broker.fresh_id());
    let now = context.broker.now_ms();
    match sessions.finish(fetching, &mut answers, now, fresh_id) {
        Err((code, session_id)) => refuse(call, code, session_id),
        Ok(session_id) => call.answer(&FetchResponse {
            session_id,
            responses: by_topic(answers),
            ..FetchResponse::default()
        }),
    }
}

fn refuse(call: &Call<'_>, code: Code, session_id: i32) -> io::Result<Segments> {
    call.answer(&FetchResponse {
        error_code: code.into(),
        session_id,
        ..FetchResponse::default()
    })
}

fn session_id(random: Uuid) -> i32 {
    let [a, b, c, d, ..] = *random.as_bytes();
    i32::from_be_bytes([a, b, c, d])
}

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

/// Neighbours of one topic are answered together; the order of partitions stays.
fn by_topic(answers: Vec<(Topic, PartitionData)>) -> Vec<FetchableTopicResponse<'static>> {
    let mut responses: Vec<FetchableTopicResponse<'static>> = Vec::new();
    let mut last = None;
    for (topic, data) in answers {
        let known = responses
            .last_mut()
            .filter(|_| last.as_ref() == Some(&topic));
        if let Some(response) = known {
            response.partitions.push(data);
            continue;
        }
        let (name, topic_id) = match &topic {
            Topic::Name(name) => (name.to_string(), Uuid::nil()),
            Topic::Id(id) => (String::new(), *id),
        };
        responses.push(FetchableTopicResponse {
            topic: name.into(),
            topic_id,
            partitions: vec![data],
        });
        last = Some(topic);
    }
    responses
}

fn spec<'a>(
    request: &FetchRequest<'_>,
    wanted: &'a [Wanted],
    room: &'a AnswerRoom,
) -> FetchSpec<'a> {
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let partition = |wanted: &'a Wanted| engine::FetchPartition {
        topic: match &wanted.topic {
            Topic::Name(name) => TopicKey::Name(name),
            Topic::Id(id) => TopicKey::Id(*id),
        },
        partition: wanted.partition,
        // Below zero no partition has records: the engine says so.
        offset: u64::try_from(wanted.offset).unwrap_or(u64::MAX),
        bytes_max: size(wanted.bytes_max),
        epoch: (wanted.epoch >= 0).then_some(wanted.epoch),
    };
    FetchSpec {
        partitions: wanted.iter().map(partition).collect(),
        bytes_max: size(request.max_bytes).min(ANSWER_BYTES_MAX),
        bytes_min: size(request.min_bytes),
        wait_max: wait.min(WAIT_MAX),
        room,
    }
}

fn answer(partition_index: i32, result: FetchResult, version: i16) -> PartitionData {
    let (high_watermark, start) = result.bounds.unwrap_or((0, 0));
    let known = result.bounds.is_some();
    let mut data = PartitionData {
        partition_index,
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
