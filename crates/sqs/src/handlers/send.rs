//! Sending: what a message may be, and what becomes of it.

use bytes::Bytes;
use engine::queue::{NewMessage, Ordering, Queue, Sent};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Call, batches, number, object};
use crate::attributes::{delay_max, note};
use crate::error::{
    BATCH_TOO_LONG, Fault, INVALID_CONTENTS, INVALID_PARAMETER, MISSING_PARAMETER, Outcome,
};
use crate::message::{self, Attribute, Attributes, sequence_number};
use crate::sigv4::hex;

/// Longest group and deduplication id.
const ID_MAX: usize = 128;
/// All messages of a batch together, bytes, unless the queue allows a single one to be larger.
const BATCH_BYTES_MAX: u64 = 1 << 20;
const TRACE: &str = "AWSTraceHeader";
/// Longest trace that is taken from a request's header.
const TRACE_MAX: usize = 512;
const NOT_FOR_TYPE: &str = "The request include parameter that is not valid for this queue type.";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the service's names")]
pub(super) struct Message {
    /// Only of a message alone: a batch names its queue once.
    queue_url: Option<String>,
    /// Only of a batch's entry.
    id: Option<String>,
    message_body: Option<String>,
    #[serde(default, deserialize_with = "number")]
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: Option<Attributes>,
    #[serde(default)]
    message_system_attributes: Option<Attributes>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

impl Message {
    fn bytes(&self) -> usize {
        let body = self.message_body.as_ref().map_or(0, String::len);
        let attributes = self.message_attributes.iter().flatten();
        body + attributes
            .map(|(name, value)| name.len() + value.bytes())
            .sum::<usize>()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendBatch {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<Message>,
}

pub(super) async fn send(call: &Call<'_>, message: Message) -> Outcome<Value> {
    let queue = call.queue(message.queue_url.as_deref())?;
    let ready = prepare(call, &queue, message, "are invalid")?;
    let broker = &call.context.broker;
    let sent = broker
        .on_behalf_of(&call.principal)
        .send(&queue.name, vec![ready.message])
        .await?;
    let sent = sent
        .into_iter()
        .next()
        .unwrap_or(Err(engine::Error::Unavailable))?;
    Ok(ready.answer.with(&queue, sent))
}

pub(super) async fn send_batch(call: &Call<'_>, batch: SendBatch) -> Outcome<Value> {
    let queue = call.queue(batch.queue_url.as_deref())?;
    let ids: Vec<_> = batch
        .entries
        .iter()
        .map(|entry| entry.id.as_deref())
        .collect();
    batches::check("SendMessageBatchRequestEntry", &ids)?;
    check_ordered(&queue, &batch.entries)?;
    check_together(&queue, &batch.entries)?;
    let prepared: Vec<(String, Outcome<Ready>)> = batch
        .entries
        .into_iter()
        .map(|mut entry| {
            let id = entry.id.take().unwrap_or_default();
            (id, prepare(call, &queue, entry, "cannot be validated"))
        })
        .collect();
    let mut messages = Vec::new();
    let mut waiting = Vec::new();
    for (id, ready) in prepared {
        let ready = ready.map(|ready| {
            messages.push(ready.message);
            ready.answer
        });
        waiting.push((id, ready));
    }
    let mut sent = Vec::new().into_iter();
    if !messages.is_empty() {
        let broker = &call.context.broker;
        sent = broker
            .on_behalf_of(&call.principal)
            .send(&queue.name, messages)
            .await?
            .into_iter();
    }
    let outcomes = waiting.into_iter().map(|(id, ready)| {
        let outcome = ready.and_then(|answer| {
            let sent = sent.next().unwrap_or(Err(engine::Error::Unavailable))?;
            Ok(answer.with(&queue, sent))
        });
        (id, outcome)
    });
    Ok(batches::answer(outcomes.collect()))
}

/// All messages of a batch together have a limit, whatever is wrong with each.
fn check_together(queue: &Queue, entries: &[Message]) -> Outcome<()> {
    let bytes: usize = entries.iter().map(Message::bytes).sum();
    let most = BATCH_BYTES_MAX.max(queue.settings().message_bytes_max);
    if bytes as u64 <= most {
        return Ok(());
    }
    let message =
        format!("Batch requests cannot be longer than {most} bytes. You have sent {bytes} bytes.");
    Err(Fault::new(&BATCH_TOO_LONG, message))
}

/// A batch for a queue in order that lacks an id anywhere is refused as a whole.
fn check_ordered(queue: &Queue, entries: &[Message]) -> Outcome<()> {
    if queue.settings().ordering != Ordering::Key {
        return Ok(());
    }
    if entries.iter().any(|entry| entry.message_group_id.is_none()) {
        let message = "The request must contain the parameter MessageGroupId.";
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    let has_id = |entry: &Message| entry.message_deduplication_id.is_some();
    if dedups_by_content(queue) || entries.iter().all(has_id) {
        Ok(())
    } else {
        Err(no_dedup_id())
    }
}

/// A message that can be sent.
struct Ready {
    message: NewMessage,
    answer: Answer,
}

/// What is known of the answer before the message is sent.
struct Answer {
    body: String,
    attributes: Option<String>,
    system: Option<String>,
}

impl Answer {
    fn with(self, queue: &Queue, sent: Sent) -> Value {
        let mut answer = object([
            ("MessageId", Value::String(sent.id.to_string())),
            ("MD5OfMessageBody", Value::String(self.body)),
        ]);
        if let Some(md5) = self.attributes {
            answer["MD5OfMessageAttributes"] = Value::String(md5);
        }
        if let Some(md5) = self.system {
            answer["MD5OfMessageSystemAttributes"] = Value::String(md5);
        }
        if queue.settings().ordering == Ordering::Key {
            answer["SequenceNumber"] = Value::String(sequence_number(sent.sequence));
        }
        answer
    }
}

/// Checks a message and puts it into the engine's form. Of one that is too large the service says, in words of its own
/// in a batch, what its parameters are.
fn prepare(call: &Call<'_>, queue: &Queue, given: Message, too_large: &str) -> Outcome<Ready> {
    let body = given.message_body.filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| {
        Fault::new(
            &MISSING_PARAMETER,
            "The request must contain the parameter MessageBody.",
        )
    })?;
    let attributes = message::check_attributes(given.message_attributes.unwrap_or_default())?;
    let bytes = body.len() + attributes.iter().map(Attribute::bytes).sum::<usize>();
    let most = queue.settings().message_bytes_max;
    if bytes as u64 > most {
        let message = format!(
            "One or more parameters {too_large}. Reason: Message must be shorter than {most} bytes."
        );
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    if !message::is_allowed(&body) {
        return Err(Fault::new(&INVALID_CONTENTS, message::NOT_ALLOWED));
    }
    let delay_ms = delay(queue, given.delay_seconds)?;
    let (key, dedup) = ids(
        queue,
        given.message_group_id,
        given.message_deduplication_id,
        &body,
    )?;
    let (trace, system) = trace(given.message_system_attributes.unwrap_or_default())?;
    // What the request itself belongs to says it for messages that do not; no checksum covers it.
    let of_request = || {
        call.trace
            .filter(|trace| is_trace(trace))
            .map(str::to_owned)
    };
    let trace = trace.or_else(of_request);
    let answer = Answer {
        body: message::md5_of_body(body.as_bytes()),
        attributes: message::md5_of_attributes(&attributes),
        system,
    };
    let priority = attributes.iter().find(|a| a.name() == message::PRIORITY);
    let priority = priority.and_then(|a| std::str::from_utf8(a.value()).ok()?.parse().ok());
    let message = NewMessage {
        ttl_ms: None,
        body: Bytes::from(body),
        key,
        headers: message::headers(&attributes, call.access_key.as_deref(), trace.as_deref()),
        delay_ms,
        dedup,
        priority: priority.unwrap_or(0),
        ..NewMessage::default()
    };
    Ok(Ready { message, answer })
}

fn delay(queue: &Queue, seconds: Option<i64>) -> Outcome<Option<u64>> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    if queue.settings().ordering == Ordering::Key {
        if seconds != 0 {
            return Err(Fault::parameter("DelaySeconds", seconds, NOT_FOR_TYPE));
        }
        return Ok(None);
    }
    let most = delay_max(queue.settings());
    let fits = u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= most);
    let seconds = fits.ok_or_else(|| {
        let reason = format!("DelaySeconds must be >= 0 and <= {most}.");
        Fault::parameter("DelaySeconds", seconds, &reason)
    })?;
    let kept = queue.settings().retention_ms;
    if seconds > 0 && seconds * 1000 >= kept {
        // It would be gone before it could be received.
        let kept = kept / 1000;
        let reason = format!("DelaySeconds must be < {kept}, the queue's MessageRetentionPeriod.");
        return Err(Fault::parameter("DelaySeconds", seconds, &reason));
    }
    Ok(Some(seconds * 1000))
}

type Ids = (Option<Bytes>, Option<Bytes>);

/// The ordering key and the deduplication id.
fn ids(queue: &Queue, group: Option<String>, dedup: Option<String>, body: &str) -> Outcome<Ids> {
    let in_order = queue.settings().ordering == Ordering::Key;
    if let Some(group) = &group {
        check_id("MessageGroupId", group)?;
    }
    if let Some(dedup) = &dedup {
        if !in_order {
            return Err(Fault::parameter(
                "MessageDeduplicationId",
                dedup,
                NOT_FOR_TYPE,
            ));
        }
        check_id("MessageDeduplicationId", dedup)?;
    }
    if !in_order {
        return Ok((group.map(Bytes::from), None));
    }
    let group = group.ok_or_else(|| Fault::missing("MessageGroupId"))?;
    let by_content = || dedups_by_content(queue).then(|| hex(&Sha256::digest(body.as_bytes())));
    let dedup = dedup.or_else(by_content).ok_or_else(no_dedup_id)?;
    Ok((Some(Bytes::from(group)), Some(Bytes::from(dedup))))
}

fn dedups_by_content(queue: &Queue) -> bool {
    note(queue.settings(), "ContentBasedDeduplication") == Some("true")
}

fn no_dedup_id() -> Fault {
    Fault::new(
        &INVALID_PARAMETER,
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    )
}

fn check_id(name: &str, id: &str) -> Outcome<()> {
    let legal = |b: u8| b.is_ascii_graphic();
    if !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(legal) {
        return Ok(());
    }
    let reason = format!(
        "{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    );
    Err(Fault::parameter(name, id, &reason))
}

/// Whether a request's trace can travel with a message.
fn is_trace(trace: &str) -> bool {
    !trace.is_empty() && trace.len() <= TRACE_MAX && message::is_allowed(trace)
}

/// The trace header, and its checksum.
fn trace(attributes: Attributes) -> Outcome<(Option<String>, Option<String>)> {
    if let Some(name) = attributes.keys().find(|name| *name != TRACE) {
        let message = format!(
            "Message system attribute name '{name}' is invalid. Supported system attributes are: {TRACE}."
        );
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    let is_text = |given: &message::AttributeValue| given.data_type.as_deref() == Some("String");
    if attributes.values().any(|given| !is_text(given)) {
        let message = format!("The system attribute {TRACE} must be of type String.");
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    let text = attributes
        .get(TRACE)
        .and_then(|given| given.string_value.clone());
    let checked = message::check_system_attributes(attributes)?;
    Ok((text, message::md5_of_attributes(&checked)))
}
