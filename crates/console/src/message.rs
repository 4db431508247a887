//! A message between the API's form and the engine's. What is text is shown as text; what is not stands in base 64
//! under a name that says so (`body_base64` in place of `body`).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use engine::queue::{Delivered, NewMessage, Ordering, QueueSettings, RESERVED, Receipt};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Outcome, Problem};
use crate::settings::DELAY_MS_MAX;

/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 1024;
/// Longest deduplication id, bytes.
const DEDUP_BYTES_MAX: usize = 256;
/// Headers of one message.
const HEADERS_MAX: usize = 100;

/// A message to send.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MessageForm {
    body: Option<String>,
    body_base64: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    headers: Vec<HeaderForm>,
    delay_ms: Option<u64>,
    dedup: Option<String>,
    priority: u8,
}

/// A header of a message or a record.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderForm {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

impl MessageForm {
    /// The message as the engine takes it for a queue of these settings.
    pub(crate) fn into_message(self, settings: &QueueSettings) -> Outcome<NewMessage> {
        let key = bytes_of("key", self.key, self.key_base64)?;
        if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
            let why = format!("a key has at most {KEY_BYTES_MAX} bytes");
            return Err(Problem::invalid(why));
        }
        let dedup = self.dedup.map(Bytes::from);
        if let Some(id) = &dedup
            && !(1..=DEDUP_BYTES_MAX).contains(&id.len())
        {
            let why = format!("`dedup` has 1 to {DEDUP_BYTES_MAX} bytes");
            return Err(Problem::invalid(why));
        }
        check_delay("delay_ms", self.delay_ms)?;
        if self.delay_ms.is_some() && settings.ordering == Ordering::Key {
            let why = "in a queue ordered by key all messages wait equally long: `delay_ms` is a setting of the queue";
            return Err(Problem::invalid(why));
        }
        Ok(NewMessage {
            ttl_ms: None,
            body: bytes_of("body", self.body, self.body_base64)?.unwrap_or_default(),
            key,
            headers: headers(self.headers)?,
            delay_ms: self.delay_ms,
            dedup,
            priority: self.priority,
            ..NewMessage::default()
        })
    }
}

/// Refuses delays that are too long.
pub(crate) fn check_delay(name: &str, delay_ms: Option<u64>) -> Outcome<()> {
    match delay_ms {
        Some(delay) if delay > DELAY_MS_MAX => {
            Err(Problem::out_of_bounds(name, delay, (0, DELAY_MS_MAX)))
        }
        _ => Ok(()),
    }
}

pub(crate) fn headers(forms: Vec<HeaderForm>) -> Outcome<Vec<(Bytes, Bytes)>> {
    if forms.len() > HEADERS_MAX {
        let why = format!("a message has at most {HEADERS_MAX} headers");
        return Err(Problem::invalid(why));
    }
    let read = forms.into_iter().map(|form| {
        if form.name.is_empty() || form.name.starts_with(RESERVED) {
            let why = format!(
                "no header can be called '{}': `{RESERVED}` is reserved",
                form.name
            );
            return Err(Problem::invalid(why));
        }
        let value = bytes_of("value", form.value, form.value_base64)?;
        Ok((Bytes::from(form.name), value.unwrap_or_default()))
    });
    read.collect()
}

/// What was given as text or in base 64.
pub(crate) fn bytes_of(
    name: &str,
    text: Option<String>,
    coded: Option<String>,
) -> Outcome<Option<Bytes>> {
    match (text, coded) {
        (Some(_), Some(_)) => Err(Problem::invalid(format!(
            "`{name}` and `{name}_base64` exclude each other"
        ))),
        (text, None) => Ok(text.map(Bytes::from)),
        (None, Some(coded)) => match STANDARD.decode(coded) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(_) => Err(Problem::invalid(format!("`{name}_base64` is not base 64"))),
        },
    }
}

/// Writes bytes as text under `name`, or else in base 64 under a name that says so.
pub(crate) fn put(shown: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) if !is_mostly_escaped(bytes) => shown.insert(name.to_owned(), json!(text)),
        _ => shown.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    };
}

/// Whether a long text would become several times as long in JSON: each control character takes six bytes there.
fn is_mostly_escaped(bytes: &[u8]) -> bool {
    const LONG_BYTES: usize = 4 << 10;
    const PART: usize = 8;
    let is_control = |byte: &&u8| **byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t');
    bytes.len() > LONG_BYTES && bytes.iter().filter(is_control).count() > bytes.len() / PART
}

/// A message that was received, with what settles it.
pub(crate) fn show_leased(message: &Delivered) -> Value {
    let mut shown = Map::new();
    shown.insert("receipt".to_owned(), json!(encode_receipt(message.receipt)));
    fill(&mut shown, message);
    Value::Object(shown)
}

/// A message that was only looked at.
pub(crate) fn show_seen(message: &Delivered) -> Value {
    let mut shown = Map::new();
    fill(&mut shown, message);
    Value::Object(shown)
}

fn fill(shown: &mut Map<String, Value>, message: &Delivered) {
    let mut add = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    add("id", json!(message.id));
    add("partition", json!(message.receipt.partition));
    add("sequence", json!(message.sequence));
    add("sent_ms", json!(message.sent_ms));
    add("deliveries", json!(message.acquired));
    if message.first_received_ms > 0 {
        add("first_received_ms", json!(message.first_received_ms));
    }
    if message.priority > 0 {
        add("priority", json!(message.priority));
    }
    if let Some(dead) = &message.dead {
        let mut dead_letter = json!({
            "queue": dead.queue,
            "reason": dead.reason,
            "sequence": dead.sequence,
            "attempts": dead.attempts,
            "sent_ms": dead.sent_ms,
            "first_received_ms": dead.first_received_ms,
            "last_received_ms": dead.last_received_ms,
            "dead_ms": dead.dead_ms,
        });
        for (name, known) in [("class", &dead.class), ("message", &dead.message)] {
            if let Some(known) = known {
                dead_letter[name] = json!(known);
            }
        }
        add("dead_letter", dead_letter);
    }
    if let Some(key) = &message.key {
        put(shown, "key", key);
    }
    if let Some(dedup) = &message.dedup {
        put(shown, "dedup", dedup);
    }
    shown.insert("headers".to_owned(), show_headers(message));
    put(shown, "body", &message.body);
}

/// Headers in their order; those of reserved names belong to the broker and its frontends.
fn show_headers(message: &Delivered) -> Value {
    let given = message.headers.iter();
    show_each(given.filter(|(name, _)| !name.starts_with(RESERVED.as_bytes())))
}

/// Headers as a list of names and values.
pub(crate) fn show_each<'h>(headers: impl Iterator<Item = &'h (Bytes, Option<Bytes>)>) -> Value {
    let shown = headers.map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(String::from_utf8_lossy(name)));
        match value {
            Some(value) => put(&mut header, "value", value),
            None => drop(header.insert("value".to_owned(), Value::Null)),
        }
        Value::Object(header)
    });
    shown.collect()
}

/// What a receipt as text begins with, so that it is never taken for a flag.
const RECEIPT_PREFIX: &str = "r";

/// A receipt as text.
pub(crate) fn encode_receipt(receipt: Receipt) -> String {
    let coded = URL_SAFE_NO_PAD.encode(receipt.to_bytes());
    format!("{RECEIPT_PREFIX}{coded}")
}

/// Reads what [`encode_receipt`] wrote.
pub(crate) fn decode_receipt(text: &str) -> Outcome<Receipt> {
    let coded = text.strip_prefix(RECEIPT_PREFIX);
    let bytes = coded.and_then(|coded| URL_SAFE_NO_PAD.decode(coded).ok());
    let receipt = bytes.and_then(|bytes| Receipt::from_bytes(&bytes));
    receipt
        .ok_or_else(|| Problem::invalid("a receipt is none that a receive of this broker returned"))
}

#[cfg(test)]
mod tests {
    use engine::queue::DeadLetter;

    use super::*;

    fn read(value: Value) -> Outcome<NewMessage> {
        let form: MessageForm = serde_json::from_value(value).unwrap();
        form.into_message(&QueueSettings::default())
    }

    #[track_caller]
    fn refused(value: Value, why: &str) {
        let problem = read(value).unwrap_err();
        assert!(problem.detail.contains(why), "{problem:?}");
    }

    #[test]
    fn text_and_bytes_can_be_given() {
        let message = read(json!({
            "body": "héllo",
            "key_base64": "/w==",
            "headers": [
                { "name": "a", "value": "1" },
                { "name": "a", "value_base64": "/w==" },
                { "name": "b" },
            ],
            "delay_ms": 5,
            "dedup": "once",
            "priority": 3,
        }))
        .unwrap();
        assert_eq!(message.body, "héllo".as_bytes());
        assert_eq!(message.key.as_deref(), Some(&[0xff][..]));
        let values: Vec<&[u8]> = message.headers.iter().map(|(_, v)| &v[..]).collect();
        assert_eq!(values, [b"1", &[0xff][..], b""]);
        assert_eq!(message.delay_ms, Some(5));
        assert_eq!(message.dedup.as_deref(), Some(&b"once"[..]));
        assert_eq!(message.priority, 3);
        assert!(read(json!({})).unwrap().body.is_empty());
    }

    #[test]
    fn messages_have_rules() {
        refused(json!({ "body": "", "body_base64": "" }), "exclude");
        refused(json!({ "body_base64": "!" }), "`body_base64`");
        refused(json!({ "key": "k".repeat(1025) }), "1024");
        refused(json!({ "dedup": "" }), "`dedup`");
        refused(json!({ "dedup": "d".repeat(257) }), "`dedup`");
        refused(json!({ "delay_ms": u64::MAX }), "`delay_ms`");
        refused(
            json!({ "headers": [{ "name": "forebay.id" }] }),
            "'forebay.id'",
        );
        refused(json!({ "headers": [{ "name": "" }] }), "reserved");
        let many: Vec<Value> = (0..101).map(|_| json!({ "name": "a" })).collect();
        refused(json!({ "headers": many }), "at most 100");
        let unknown = serde_json::from_value::<MessageForm>(json!({ "boddy": "" }));
        assert!(unknown.unwrap_err().to_string().contains("`boddy`"));
    }

    #[test]
    fn a_queue_in_order_has_one_delay_for_all() {
        let ordered = QueueSettings {
            ordering: Ordering::Key,
            ..QueueSettings::default()
        };
        let form: MessageForm = serde_json::from_value(json!({ "delay_ms": 1 })).unwrap();
        let problem = form.into_message(&ordered).unwrap_err();
        assert!(
            problem.detail.contains("a setting of the queue"),
            "{problem:?}"
        );
    }

    fn delivered(receipt: Receipt) -> Delivered {
        let header = |name: &'static str, value: Option<&'static [u8]>| {
            (Bytes::from(name), value.map(Bytes::from_static))
        };
        Delivered {
            failed: 0,
            id: uuid::Uuid::from_u128(9),
            receipt,
            body: Bytes::from_static(&[0xff]),
            key: Some(Bytes::from("k")),
            headers: vec![
                header("plain", Some(b"text")),
                header("bytes", Some(&[0xff])),
                header("null", None),
                header("forebay.trace", Some(b"hidden")),
            ],
            sent_ms: 4,
            first_received_ms: 5,
            acquired: 6,
            sequence: 2,
            dedup: None,
            priority: 1,
            exchange: None,
            keys: Vec::new(),
            dead_letter_history: Vec::new(),
            dead: Some(DeadLetter {
                queue: "orders".into(),
                reason: "attempts".into(),
                class: Some("invalid".into()),
                message: Some("no amount".into()),
                sequence: 11,
                attempts: 3,
                sent_ms: 8,
                first_sent_ms: 7,
                first_received_ms: 9,
                last_received_ms: 10,
                dead_ms: 12,
            }),
        }
    }

    #[test]
    fn a_message_is_shown_with_what_is_not_text_in_base_64() {
        let receipt = Receipt {
            queue: uuid::Uuid::from_u128(7),
            partition: 1,
            offset: 2,
            lease: 3,
        };
        let message = delivered(receipt);
        let mut expected = json!({
            "id": "00000000-0000-0000-0000-000000000009",
            "receipt": encode_receipt(receipt),
            "partition": 1,
            "sequence": 2,
            "sent_ms": 4,
            "first_received_ms": 5,
            "deliveries": 6,
            "priority": 1,
            "dead_letter": {
                "queue": "orders",
                "reason": "attempts",
                "class": "invalid",
                "message": "no amount",
                "sequence": 11,
                "attempts": 3,
                "sent_ms": 8,
                "first_received_ms": 9,
                "last_received_ms": 10,
                "dead_ms": 12,
            },
            "key": "k",
            "headers": [
                { "name": "plain", "value": "text" },
                { "name": "bytes", "value_base64": "/w==" },
                { "name": "null", "value": null },
            ],
            "body_base64": "/w==",
        });
        assert_eq!(show_leased(&message), expected);
        expected.as_object_mut().unwrap().remove("receipt");
        assert_eq!(show_seen(&message), expected);
    }

    #[test]
    fn receipts_survive_and_others_are_refused() {
        let receipt = Receipt {
            queue: uuid::Uuid::from_u128(7),
            partition: 1,
            offset: u64::MAX,
            lease: 3,
        };
        let text = encode_receipt(receipt);
        let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        assert!(text.bytes().all(safe), "{text}");
        assert_eq!(decode_receipt(&text).unwrap(), receipt);
        for other in ["", "x", "AAAA", "!!!", &text[1..]] {
            decode_receipt(other).unwrap_err();
        }
    }
}
