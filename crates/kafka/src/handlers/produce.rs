//! Produce: batches are checked where they lie, handed over, and answered when they are durable.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use engine::{Batch, Error, Pending, Publish, PublishResults, Result, TopicKey};
use security::Principal;

use uuid::Uuid;

use super::Call;
use crate::context::Context;
use crate::error::{Code, code, message};
use crate::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use crate::wire::{ProduceRequest, ProduceResponse, Records, Segments};

/// First version that may carry zstd.
const ZSTD_SINCE: i16 = 7;
/// First version that names topics by id.
const TOPIC_ID_SINCE: i16 = 13;
const ZSTD: i16 = 4;

/// Batches up to this size may share their buffer with requests that are of no interest any more …
const SHARED_BUFFER_BYTES: usize = 16 << 10;
/// … and storage copies those up to this size anyway.
const STORAGE_COPIES_BYTES: usize = 1 << 10;
/// A larger batch is kept where it lies if the request is not more than so many times as large.
const PINNED_MAX: usize = 4;

/// A topic of the request, kept for the answer.
struct Topic {
    name: String,
    id: Uuid,
    partitions: Vec<i32>,
}

/// A produce that was handed over.
pub(crate) struct Handed {
    call: Answering,
    topics: Vec<Topic>,
    outcome: Outcome,
    wants_answer: bool,
}

/// What is left of the call once the request's bytes are let go.
struct Answering {
    version: i16,
    correlation_id: i32,
}

enum Outcome {
    Pending(Pending),
    Refused(Code),
}

/// Reads the request and hands its batches over, in order.
pub(crate) async fn begin(
    context: &Context,
    principal: &Principal,
    call: Call<'_>,
    frame_bytes: usize,
) -> io::Result<Handed> {
    let request: ProduceRequest<'_> = call.read()?;
    let version = call.version;
    let topics = request
        .topic_data
        .iter()
        .map(|topic| Topic {
            name: topic.name.clone().into_owned(),
            id: topic.topic_id,
            partitions: topic.partition_data.iter().map(|p| p.index).collect(),
        })
        .collect();
    let outcome = match refuse(&request) {
        Some(code) => Outcome::Refused(code),
        None => Outcome::Pending(
            context
                .broker
                .on_behalf_of(principal)
                .publish(batches(&request, version, frame_bytes))
                .await,
        ),
    };
    let call = Answering {
        version,
        correlation_id: call.correlation_id,
    };
    Ok(Handed {
        call,
        topics,
        outcome,
        wants_answer: request.acks != 0,
    })
}

fn refuse(request: &ProduceRequest<'_>) -> Option<Code> {
    if !matches!(request.acks, -1..=1) {
        return Some(Code::InvalidRequiredAcks);
    }
    // Nothing here coordinates transactions, and a batch outside of one must not pretend to be inside.
    request
        .transactional_id
        .is_some()
        .then_some(Code::InvalidRequest)
}

fn batches<'a>(
    request: &'a ProduceRequest<'_>,
    version: i16,
    frame_bytes: usize,
) -> Vec<Publish<'a>> {
    let mut batches = Vec::with_capacity(
        request
            .topic_data
            .iter()
            .map(|t| t.partition_data.len())
            .sum(),
    );
    for topic in &request.topic_data {
        let key = match version {
            TOPIC_ID_SINCE.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(&topic.name),
        };
        for partition in &topic.partition_data {
            let batch = read_batch(&partition.records, version, frame_bytes);
            batches.push(Publish {
                topic: key,
                partition: partition.index,
                batch,
            });
        }
    }
    batches
}

/// Exactly one batch, whole and sound.
fn read_batch(records: &Records, version: i16, frame_bytes: usize) -> Result<Batch> {
    let Records::One(bytes) = records else {
        return Err(Error::InvalidRecord("Record data is missing".into()));
    };
    if bytes.is_empty() {
        // Not the code for damaged bytes, which makes producers send the same again.
        return Err(Error::InvalidRecord("There is no record batch".into()));
    }
    let mut bytes = unpinned(bytes, frame_bytes);
    let batch = Batch::split_first(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(Error::InvalidRecord(
            "Produce requests must contain exactly one record batch per partition".into(),
        ));
    }
    if batch.header.codec() == ZSTD && version < ZSTD_SINCE {
        return Err(Error::UnsupportedCodec);
    }
    Ok(batch)
}

/// The batch's bytes, copied where keeping them would keep a much larger buffer: a small batch may stay in
/// memory for long, and its sender must not decide how much stays with it.
fn unpinned(batch: &Bytes, frame_bytes: usize) -> Bytes {
    let is_copied_later = batch.len() <= STORAGE_COPIES_BYTES;
    let is_worth_it = batch.len() > SHARED_BUFFER_BYTES && batch.len() >= frame_bytes / PINNED_MAX;
    if is_copied_later || is_worth_it {
        batch.clone()
    } else {
        Bytes::copy_from_slice(batch)
    }
}

impl Handed {
    /// Waits for the outcome and encodes the answer; there is none for a producer that asked for none.
    pub(crate) async fn finish(self) -> io::Result<Option<Segments>> {
        let results = match self.outcome {
            Outcome::Pending(pending) => Ok(pending.done().await),
            Outcome::Refused(code) => Err(code),
        };
        if !self.wants_answer {
            // The producer gets no answer; closing is the only signal there is.
            let failed =
                results.is_err() || results.is_ok_and(|all| all.iter().any(Result::is_err));
            return if failed {
                Err(io::ErrorKind::ConnectionAborted.into())
            } else {
                Ok(None)
            };
        }
        let response = ProduceResponse {
            responses: answers(&self.topics, results, self.call.version >= TOPIC_ID_SINCE),
            ..ProduceResponse::default()
        };
        super::encode(self.call.version, self.call.correlation_id, &response).map(Some)
    }
}

fn answers(
    topics: &[Topic],
    results: std::result::Result<PublishResults, Code>,
    by_id: bool,
) -> Vec<TopicProduceResponse<'_>> {
    let refused = results.as_ref().err().copied();
    let mut results = results.unwrap_or_default().into_iter();
    let mut answer = |index: i32| match (refused, results.next()) {
        (Some(code), _) => failed(index, code, None),
        (None, Some(Ok(published))) => PartitionProduceResponse {
            index,
            base_offset: published.base_offset.cast_signed(),
            log_append_time_ms: published.append_time.unwrap_or(-1),
            log_start_offset: published.start.cast_signed(),
            ..PartitionProduceResponse::default()
        },
        // Named by id, an unknown topic has an error of its own, which makes clients refresh.
        (None, Some(Err(Error::UnknownTopic))) if by_id => failed(
            index,
            Code::UnknownTopicId,
            Some(message(&Error::UnknownTopic)),
        ),
        (None, Some(Err(error))) => PartitionProduceResponse {
            record_errors: record_errors(&error),
            ..failed(index, code(&error), Some(message(&error)))
        },
        (None, None) => failed(index, Code::UnknownServerError, None),
    };
    topics
        .iter()
        .map(|topic| TopicProduceResponse {
            name: Cow::Borrowed(&topic.name),
            topic_id: topic.id,
            partition_responses: topic.partitions.iter().map(|i| answer(*i)).collect(),
        })
        .collect()
}

/// What is wrong with single records.
fn record_errors(error: &Error) -> Vec<BatchIndexAndErrorMessage<'static>> {
    let Error::InvalidRecords(errors) = error else {
        return Vec::new();
    };
    let each = errors.first.iter();
    each.map(|(place, text)| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(*place).unwrap_or(i32::MAX),
        batch_index_error_message: Some(text.clone().into()),
    })
    .collect()
}

fn failed(
    index: i32,
    code: Code,
    text: Option<Cow<'static, str>>,
) -> PartitionProduceResponse<'static> {
    PartitionProduceResponse {
        index,
        error_code: code.into(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: text,
        ..PartitionProduceResponse::default()
    }
}
