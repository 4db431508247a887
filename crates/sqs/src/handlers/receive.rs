//! Receiving: which messages, for how long, and with which attributes.

use std::task::{Context, Poll};

use engine::Room;
use engine::queue::{DeadLetter, Delivered, Ordering, Queue, Receive};
use net::SharedPermit;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, nothing, number, object};
use crate::attributes::{note, unknown};
use crate::error::{Fault, Outcome};
use crate::message::{self, sequence_number};
use crate::receipt_handle;

/// System attributes that can be asked for.
const SYSTEM: &[&str] = &[
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Option<Vec<String>>,
    #[serde(default)]
    message_system_attribute_names: Option<Vec<String>>,
    #[serde(default)]
    message_attribute_names: Option<Vec<String>>,
    #[serde(default, deserialize_with = "number")]
    max_number_of_messages: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    visibility_timeout: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    wait_time_seconds: Option<i64>,
    receive_request_attempt_id: Option<String>,
}

pub(super) async fn receive(call: &Call<'_>, asked: ReceiveMessage) -> Outcome<Value> {
    let queue = call.queue(asked.queue_url.as_deref())?;
    let mut system = asked.attribute_names.unwrap_or_default();
    system.extend(asked.message_system_attribute_names.unwrap_or_default());
    if let Some(name) = system.iter().find(|name| !SYSTEM.contains(&name.as_str())) {
        return Err(unknown(name));
    }
    let max = bounded(
        ("MaxNumberOfMessages", asked.max_number_of_messages),
        1..=10,
        "Must be between 1 and 10, if provided.",
    )?;
    let wait = bounded(
        ("WaitTimeSeconds", asked.wait_time_seconds),
        0..=20,
        "Must be >= 0 and <= 20, if provided.",
    )?;
    let lease = bounded(
        ("VisibilityTimeout", asked.visibility_timeout),
        0..=43_200,
        "Must be between 0 and 43200, if provided.",
    )?;
    let queue_wait = note(queue.settings(), "ReceiveMessageWaitTimeSeconds");
    let queue_wait = queue_wait.and_then(|wait| wait.parse().ok());
    let in_order = queue.settings().ordering == Ordering::Key;
    let receive = Receive {
        max: usize::try_from(max.unwrap_or(1)).unwrap_or(1),
        lease_ms: lease.map(|seconds| seconds * 1000),
        wait_ms: wait.or(queue_wait).unwrap_or(0) * 1000,
        attempt: asked.receive_request_attempt_id.filter(|_| in_order),
    };
    let broker = &call.context.broker;
    let delivered = broker
        .on_behalf_of(&call.principal)
        .receive_within(&queue.name, receive, &AnswerRoom(&call.room))
        .await?;
    // The service leaves empty lists out.
    if delivered.is_empty() {
        return Ok(nothing());
    }
    let wanted = asked.message_attribute_names.unwrap_or_default();
    let messages: Vec<Value> = delivered
        .into_iter()
        .map(|delivered| show(call, &queue, &delivered, (&system, &wanted)))
        .collect();
    Ok(object([("Messages", Value::Array(messages))]))
}

/// When a message was sent for the first time, whatever became of it since.
fn first_sent(delivered: &Delivered) -> u64 {
    let dead = delivered.dead.as_ref().map(DeadLetter::first_sent);
    dead.filter(|sent| *sent > 0).unwrap_or(delivered.sent_ms)
}

/// What a message takes on its way into an answer, for each of its bytes: as it is kept, as text, as it is written.
const COPIES: usize = 3;

/// Room for messages out of the connection's account.
#[derive(Debug)]
pub(super) struct AnswerRoom<'a>(pub(super) &'a SharedPermit);

impl Room for AnswerRoom<'_> {
    fn try_take(&self, bytes: usize) -> bool {
        self.0.try_take(bytes * COPIES)
    }

    fn poll_take(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.0.poll_take(cx, bytes * COPIES)
    }

    fn give_back(&self, bytes: usize) {
        self.0.give_back(bytes * COPIES);
    }

    fn bytes_max(&self) -> usize {
        self.0.bytes_max() / COPIES
    }
}

fn bounded(
    (name, value): (&str, Option<i64>),
    range: std::ops::RangeInclusive<i64>,
    reason: &str,
) -> Outcome<Option<u64>> {
    match value {
        Some(value) if !range.contains(&value) => Err(Fault::parameter(name, value, reason)),
        value => Ok(value.and_then(|value| u64::try_from(value).ok())),
    }
}

/// A message as clients get it.
pub(super) fn show(
    call: &Call<'_>,
    queue: &Queue,
    delivered: &Delivered,
    (system, wanted): (&[String], &[String]),
) -> Value {
    let shown = message::show(delivered);
    let receipt = receipt_handle::encode(delivered.receipt);
    let md5 = message::md5_of_body(shown.body.as_bytes());
    let mut answer = object([
        ("MessageId", Value::String(delivered.id.to_string())),
        ("ReceiptHandle", Value::String(receipt)),
        ("MD5OfBody", Value::String(md5)),
        ("Body", Value::String(shown.body)),
    ]);
    let all = system.iter().any(|name| name == "All");
    let is_wanted = |name: &str| all || system.iter().any(|wanted| wanted == name);
    let account = &call.namespace.account;
    let sender = shown.sender.as_deref().unwrap_or(account);
    let text = |bytes: &Option<bytes::Bytes>| {
        let bytes = bytes.as_ref()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let in_order = queue.settings().ordering == Ordering::Key;
    let values = [
        ("SenderId", Some(sender.to_owned())),
        ("SentTimestamp", Some(first_sent(delivered).to_string())),
        (
            "ApproximateReceiveCount",
            Some(delivered.acquired.to_string()),
        ),
        (
            "ApproximateFirstReceiveTimestamp",
            Some(delivered.first_received_ms.to_string()),
        ),
        (
            "SequenceNumber",
            in_order.then(|| sequence_number(delivered.sequence)),
        ),
        ("MessageDeduplicationId", text(&delivered.dedup)),
        ("MessageGroupId", text(&delivered.key)),
        ("AWSTraceHeader", shown.trace),
        (
            "DeadLetterQueueSourceArn",
            delivered.dead.as_ref().map(|dead| call.arn(&dead.queue)),
        ),
    ];
    let values: Map<String, Value> = values
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))))
        .collect();
    if !values.is_empty() {
        answer["Attributes"] = Value::Object(values);
    }
    let attributes = message::filter(shown.attributes, wanted);
    if let Some(md5) = message::md5_of_attributes(&attributes) {
        answer["MD5OfMessageAttributes"] = Value::String(md5);
        answer["MessageAttributes"] = json!(message::shown(&attributes));
    }
    answer
}
