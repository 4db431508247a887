//! Messages of one queue: send, receive, settle, browse, and replay what was acknowledged.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use engine::Access;
use engine::queue::{
    Failure, FailureClass, QueueSettings, Receipt, Receive, Sent, Settled, Settlement,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::queues::{find, page_size, refused};
use crate::error::{Outcome, Problem};
use crate::message::{self, MessageForm, check_delay, decode_receipt};
use crate::request::{AnswerRoom, Asked, QueueName, QueueParams};
use crate::settings::LEASE_MS_MAX;

/// Messages sent or settled in one request.
const BATCH_MAX: usize = 1000;
/// Messages received or looked at in one request …
const ANSWER_MAX: usize = 100;
/// … and fewer, where a queue allows such large ones that they could be more than this together, bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Messages looked at when nothing is said.
const PEEK: usize = 10;
/// Longest wait for a message.
const WAIT_MS_MAX: u64 = 60_000;

/// Messages to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sending {
    messages: Vec<MessageForm>,
}

pub(crate) async fn send(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(sending): Asked<Sending>,
) -> Outcome<Response> {
    let queue = find(&broker, &name)?;
    check_batch("messages", sending.messages.len())?;
    let forms = sending.messages.into_iter();
    let messages = forms.map(|form| form.into_message(queue.settings()));
    let messages = messages.collect::<Outcome<Vec<_>>>()?;
    let sent = broker.send(&name, messages).await;
    let sent = sent.map_err(|error| refused(&broker, &name, error))?;
    let sent = sent.into_iter();
    answer_sent(sent.map(|sent| sent.map_err(|e| refused(&broker, &name, e))))
}

/// What became of each message. Where none was taken, the first refusal is the answer.
fn answer_sent(sent: impl Iterator<Item = Outcome<Sent>>) -> Outcome<Response> {
    let mut shown = Vec::new();
    let mut refusals = Vec::new();
    for outcome in sent {
        match outcome {
            Ok(sent) => shown.push(json!({
                "id": sent.id,
                "sequence": sent.sequence,
                "duplicate": sent.duplicate,
            })),
            Err(problem) => {
                shown.push(json!({ "problem": problem.to_json() }));
                refusals.push(problem);
            }
        }
    }
    let all_refused = refusals.len() == shown.len();
    let first = refusals.into_iter().next();
    let status = match first {
        Some(problem) if all_refused => return Err(problem),
        Some(_) => StatusCode::MULTI_STATUS,
        None => StatusCode::OK,
    };
    Ok((status, Json(json!({ "messages": shown }))).into_response())
}

pub(super) fn check_batch(name: &str, count: usize) -> Outcome<()> {
    if (1..=BATCH_MAX).contains(&count) {
        return Ok(());
    }
    let why = format!("`{name}` has {count}: expected 1 to {BATCH_MAX}");
    Err(Problem::invalid(why))
}

/// What a receiver asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiving {
    max: Option<usize>,
    lease_ms: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

pub(crate) async fn receive(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Extension(room): Extension<AnswerRoom>,
    Asked(asked): Asked<Receiving>,
) -> Outcome<Json<Value>> {
    let queue = find(&broker, &name)?;
    let max = page_size("max", asked.max, 1, ANSWER_MAX)?;
    if let Some(lease) = asked.lease_ms {
        check_most("lease_ms", lease, LEASE_MS_MAX)?;
    }
    check_most("wait_ms", asked.wait_ms, WAIT_MS_MAX)?;
    let receive = Receive {
        max: max.min(fitting(queue.settings())),
        lease_ms: asked.lease_ms,
        wait_ms: asked.wait_ms,
        attempt: None,
    };
    let delivered = broker.receive_within(&name, receive, &room);
    let delivered = delivered.await;
    let delivered = delivered.map_err(|error| refused(&broker, &name, error))?;
    let shown: Vec<Value> = delivered.iter().map(message::show_leased).collect();
    Ok(Json(json!({ "messages": shown })))
}

pub(super) fn check_most(name: &str, value: u64, most: u64) -> Outcome<()> {
    if value <= most {
        return Ok(());
    }
    Err(Problem::out_of_bounds(name, value, (0, most)))
}

/// Messages that fit into one answer, however large each of them is.
fn fitting(settings: &QueueSettings) -> usize {
    let count = ANSWER_BYTES_MAX / settings.message_bytes_max.max(1);
    usize::try_from(count).unwrap_or(usize::MAX).max(1)
}

/// What to do with in-flight messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settling {
    settle: Vec<SettleForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleForm {
    receipt: String,
    action: Action,
    lease_ms: Option<u64>,
    delay_ms: Option<u64>,
    class: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Ack,
    Extend,
    Release,
    Reject,
}

impl SettleForm {
    fn read(self) -> Outcome<(Receipt, Settlement)> {
        let refuse = |why: &str| Err(Problem::invalid(why));
        if self.lease_ms.is_some() != (self.action == Action::Extend) {
            return refuse("`lease_ms` goes with `extend`, and only with it");
        }
        if self.delay_ms.is_some() && self.action != Action::Release {
            return refuse("`delay_ms` goes with `release` only");
        }
        let tells_class = matches!(self.action, Action::Release | Action::Reject);
        if self.class.is_some() && !tells_class {
            return refuse("`class` goes with `release` and `reject` only");
        }
        if self.reason.is_some() && self.action != Action::Reject {
            return refuse("`reason` goes with `reject` only");
        }
        check_delay("delay_ms", self.delay_ms)?;
        let class = failure_class(self.class.as_deref())?;
        let lease = self.lease_ms.unwrap_or_default();
        check_most("lease_ms", lease, LEASE_MS_MAX)?;
        let settle = match self.action {
            Action::Ack => Settlement::Ack,
            Action::Extend => Settlement::Extend(lease),
            Action::Release => Settlement::Release {
                delay: self.delay_ms,
                class: Some(class),
            },
            Action::Reject => Settlement::Reject(Failure::new(class, self.reason.as_deref())),
        };
        Ok((decode_receipt(&self.receipt)?, settle))
    }
}

/// The class of a failure; the usual one where none is named.
fn failure_class(name: Option<&str>) -> Outcome<FailureClass> {
    let Some(name) = name else {
        return Ok(FailureClass::default());
    };
    let known = FailureClass::ALL
        .into_iter()
        .find(|class| class.word() == name);
    known.ok_or_else(|| {
        let all = FailureClass::ALL.map(FailureClass::word).join(", ");
        Problem::invalid(format!("`class` is {name:?}: expected one of {all}"))
    })
}

pub(crate) async fn settle(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(settling): Asked<Settling>,
) -> Outcome<Json<Value>> {
    check_batch("settle", settling.settle.len())?;
    let forms = settling.settle.into_iter();
    let settles = forms.map(SettleForm::read).collect::<Outcome<Vec<_>>>()?;
    let settled = broker.settle(&name, settles).await;
    let settled = settled.map_err(|error| refused(&broker, &name, error))?;
    let outcomes: Vec<&str> = settled.into_iter().map(outcome).collect();
    Ok(Json(json!({ "outcomes": outcomes })))
}

fn outcome(settled: Settled) -> &'static str {
    match settled {
        Settled::Done => "done",
        Settled::Stale => "stale",
        Settled::Expired => "expired",
        Settled::Gone => "gone",
        Settled::Foreign => "foreign",
        Settled::TooLong => "too_long",
    }
}

/// What to look at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peeking {
    #[serde(default)]
    from: u64,
    max: Option<usize>,
}

pub(crate) async fn peek(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    QueueParams(asked): QueueParams<Peeking>,
    Extension(room): Extension<AnswerRoom>,
) -> Outcome<Json<Value>> {
    let queue = find(&broker, &name)?;
    let max = page_size("max", asked.max, PEEK, ANSWER_MAX)?;
    let max = max.min(fitting(queue.settings()));
    let seen = broker.peek_within(&name, (asked.from, max), &room);
    let (seen, cut) = seen.await.map_err(|error| refused(&broker, &name, error))?;
    let shown: Vec<Value> = seen.iter().map(message::show_seen).collect();
    let mut answer = json!({ "messages": shown });
    // Each partition counts for itself, so that only one alone can be gone on with.
    let last = seen
        .last()
        .filter(|_| (cut || seen.len() == max) && queue.partitions == 1);
    if let Some(last) = last {
        answer["next"] = json!(last.sequence + 1);
    }
    Ok(Json(answer))
}

/// From where on acknowledged messages are replayed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replaying {
    from: u64,
}

pub(crate) async fn replay(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(asked): Asked<Replaying>,
) -> Outcome<Json<Value>> {
    let replayed = broker.replay(&name, asked.from).await;
    let replayed = replayed.map_err(|error| refused(&broker, &name, error))?;
    Ok(Json(json!({ "replayed": replayed })))
}

#[cfg(test)]
mod tests {
    use engine::Error;

    use super::*;

    fn read(value: Value) -> Outcome<(Receipt, Settlement)> {
        serde_json::from_value::<SettleForm>(value).unwrap().read()
    }

    #[test]
    fn each_action_has_its_time() {
        let receipt = Receipt {
            queue: uuid::Uuid::nil(),
            partition: 0,
            offset: 1,
            lease: 2,
        };
        let text = message::encode_receipt(receipt);
        let good = [
            (json!({ "action": "ack" }), Settlement::Ack),
            (
                json!({ "action": "extend", "lease_ms": 5 }),
                Settlement::Extend(5),
            ),
            (json!({ "action": "release" }), Settlement::FAIL),
            (
                json!({ "action": "release", "delay_ms": 0, "class": "rate_limited" }),
                Settlement::Release {
                    delay: Some(0),
                    class: Some(FailureClass::RateLimited),
                },
            ),
            (json!({ "action": "reject" }), Settlement::REJECT),
            (
                json!({ "action": "reject", "class": "invalid", "reason": "no amount" }),
                Settlement::Reject(Failure::new(FailureClass::Invalid, Some("no amount"))),
            ),
        ];
        for (mut form, settle) in good {
            form["receipt"] = json!(text);
            assert_eq!(read(form).unwrap(), (receipt, settle));
        }
        for mut form in [
            json!({ "action": "ack", "lease_ms": 5 }),
            json!({ "action": "ack", "delay_ms": 5 }),
            json!({ "action": "extend" }),
            json!({ "action": "extend", "lease_ms": LEASE_MS_MAX + 1 }),
            json!({ "action": "extend", "lease_ms": 1, "delay_ms": 1 }),
            json!({ "action": "release", "lease_ms": 5 }),
            json!({ "action": "release", "delay_ms": u64::MAX }),
            json!({ "action": "release", "reason": "no amount" }),
            json!({ "action": "reject", "delay_ms": 5 }),
            json!({ "action": "reject", "class": "bad" }),
            json!({ "action": "ack", "class": "invalid" }),
        ] {
            form["receipt"] = json!(text);
            read(form).unwrap_err();
        }
        read(json!({ "receipt": "x", "action": "ack" })).unwrap_err();
    }

    #[test]
    fn large_messages_come_in_smaller_numbers() {
        let of = |message_bytes_max| {
            fitting(&QueueSettings {
                message_bytes_max,
                ..QueueSettings::default()
            })
        };
        assert_eq!(of(1 << 20), 256);
        assert_eq!(of(64 << 20), 4);
        assert_eq!(of(u64::MAX), 1);
    }

    #[test]
    fn some_refused_is_not_all_refused() {
        let sent = || {
            Ok(Sent {
                id: uuid::Uuid::nil(),
                sequence: 1,
                duplicate: false,
            })
        };
        let refused = || Err(Problem::from(Error::DiskFull));
        let status = |outcomes: Vec<Outcome<Sent>>| answer_sent(outcomes.into_iter());
        assert_eq!(status(vec![sent(), sent()]).unwrap().status(), 200);
        assert_eq!(status(vec![sent(), refused()]).unwrap().status(), 207);
        let all = status(vec![refused(), refused()]).unwrap_err();
        assert_eq!(all.kind.status, 507);
    }
}
