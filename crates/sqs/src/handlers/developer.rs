//! Looking at a queue's messages without receiving them, at the address where emulators offer it: `/_aws/sqs/messages`.
//!
//! This can also be the endpoint of a client: its receives then show everything and change nothing. What is
//! shown is what a receive would show, and with invisible or delayed messages whether each of them is so.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::request::Parts;
use engine::queue::Held;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, coercion, nothing, object, receive};
use crate::arn;
use crate::error::{Fault, INVALID_ADDRESS, INVALID_REQUEST, MALFORMED, Outcome};
use crate::wire;

const PATH: &str = "/_aws/sqs/messages";
/// Messages looked at in one step.
const STEP: usize = 64;
/// Bytes of bodies one answer shows; the message that reaches it is the last.
const SHOWN_BYTES_MAX: usize = 4 << 20;
/// What stands in the place of a handle: nothing was received.
const HANDLE: &str = "SQS/BACKDOOR/ACCESS";

/// Whether a request is about this.
pub(crate) fn is_path(path: &str) -> bool {
    path.strip_prefix(PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is asked.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Ask {
    queue_url: Option<String>,
    #[serde(deserialize_with = "flag")]
    show_invisible: bool,
    #[serde(deserialize_with = "flag")]
    show_delayed: bool,
}

/// Yes in the ways it is said.
fn flag<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let said = Value::deserialize(from)?;
    let text = said
        .as_str()
        .map_or_else(|| Cow::Owned(said.to_string()), Cow::Borrowed);
    Ok(text.eq_ignore_ascii_case("true") || text == "1")
}

/// Reads a request: its path, its query and its body.
pub(crate) fn read(parts: &Parts, body: &Bytes, json: bool) -> Outcome<Ask> {
    let malformed = |why: String| Fault::new(&MALFORMED, why);
    let path = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
    let by_path = path.trim_matches('/');
    let mut ask: Ask = if json {
        let target = parts.headers.get("x-amz-target");
        let target = target.and_then(|t| t.to_str().ok()).unwrap_or_default();
        let request = wire::decode_json(target, body);
        let request = request.map_err(|_| malformed("The request names no operation.".into()))?;
        check_action(&request.action)?;
        let read = request.members.read();
        read.map_err(|error| malformed(coercion::said(&error)))?
    } else {
        // An action is only named by clients of the service.
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let request = wire::decode_query(&[query, body, b"Action=ReceiveMessage"]);
        let named = wire::decode_query(&[query, body]);
        let request = named.or(request);
        let request = request.map_err(|_| malformed("The parameters cannot be read.".into()))?;
        check_action(&request.action)?;
        let read = request.members.read();
        read.map_err(|error| malformed(coercion::said(&error)))?
    };
    if !by_path.is_empty() {
        ask.queue_url = Some(format!("http://h/queue/{by_path}"));
    }
    Ok(ask)
}

fn check_action(action: &str) -> Outcome<()> {
    if action == "ReceiveMessage" {
        return Ok(());
    }
    let message = "This endpoint only accepts ReceiveMessage calls";
    Err(Fault::new(&INVALID_REQUEST, message))
}

pub(crate) async fn messages(call: &Call<'_>, ask: Ask) -> Outcome<Value> {
    let url = ask.queue_url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(Fault::no_queue)?;
    let located = arn::in_url(&url).ok_or_else(|| {
        let message = "The address https://queue.amazonaws.com/ is not valid for this endpoint.";
        Fault::new(&INVALID_ADDRESS, message)
    })?;
    let queue = call.located(&located)?;
    let access = call.context.broker.on_behalf_of(&call.principal);
    let everything = ["All".to_owned()];
    let (mut shown, mut bytes) = (Vec::new(), 0);
    for part in 0..queue.partitions {
        let mut from = 0;
        while bytes < SHOWN_BYTES_MAX {
            let room = receive::AnswerRoom(&call.room);
            let step = access.look(&queue.name, (part, from, STEP), &room);
            let (step, is_short) = step.await?;
            let Some((last, _)) = step.last() else { break };
            from = last.sequence + 1;
            for (message, held) in step {
                let wanted = match held {
                    Held::Ready => true,
                    Held::Delayed => ask.show_delayed,
                    Held::InFlight | Held::Waiting | Held::Behind => ask.show_invisible,
                };
                if !wanted || bytes >= SHOWN_BYTES_MAX {
                    continue;
                }
                bytes += message.body.len();
                let mut one = receive::show(call, &queue, &message, (&everything, &everything));
                one["ReceiptHandle"] = json!(HANDLE);
                if ask.show_invisible {
                    let is_visible = matches!(held, Held::Ready | Held::Delayed);
                    one["Attributes"]["IsVisible"] = json!(is_visible.to_string());
                }
                if ask.show_delayed {
                    let is_delayed = held == Held::Delayed;
                    one["Attributes"]["IsDelayed"] = json!(is_delayed.to_string());
                }
                shown.push(one);
            }
            if is_short {
                // There is no room for more at the moment.
                bytes = SHOWN_BYTES_MAX;
            }
        }
    }
    if shown.is_empty() {
        return Ok(nothing());
    }
    Ok(object([("Messages", Value::Array(shown))]))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn asked(uri: &str, body: &'static str) -> Outcome<Ask> {
        let request = Request::builder().uri(uri).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        read(&parts, &Bytes::from_static(body.as_bytes()), false)
    }

    #[test]
    fn what_is_asked_stands_in_the_path_the_query_or_the_body() {
        let url = "http://h/queue/eu-west-1/000000000000/q";
        let path = "/_aws/sqs/messages/eu-west-1/000000000000/q?ShowInvisible=True";
        let by_path = asked(path, "").unwrap();
        assert_eq!(by_path.queue_url.as_deref(), Some(url));
        assert!(by_path.show_invisible && !by_path.show_delayed);
        let by_query = asked("/_aws/sqs/messages?QueueUrl=q&ShowDelayed=1", "").unwrap();
        let by_body = asked(
            "/_aws/sqs/messages",
            "Action=ReceiveMessage&QueueUrl=q&ShowDelayed=true",
        );
        assert_eq!(by_body.unwrap(), by_query);
        assert_eq!(asked("/_aws/sqs/messages", "").unwrap(), Ask::default());
        let other = asked("/_aws/sqs/messages", "Action=SendMessage&QueueUrl=q").unwrap_err();
        assert_eq!(other.shape.code, "InvalidRequest");
        assert!(
            is_path("/_aws/sqs/messages/a") && !is_path("/_aws/sqs/messagesx") && !is_path("/")
        );
    }
}
