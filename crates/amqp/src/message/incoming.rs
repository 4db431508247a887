//! A published message on its way in: what is refused, where else it goes, and what other protocols will see of it.

use bytes::Bytes;
use engine::exchange::{Headers, Property};
use engine::queue::RESERVED;

use super::stored::{BCC, CC, RAW, encoded, filtered, keep};
use crate::arguments::LIFETIME_MS_MAX;
use crate::error::{Fault, Outcome};
use crate::tables;
use crate::wire::{Properties, Value};

/// Columns of a printed term.
const PRINTED_COLUMNS: usize = 80;

/// Checks the properties the broker answers for; returns how long the message lives, ms.
pub(crate) fn check(properties: &Properties<'_>, user: &str) -> Outcome<Option<u64>> {
    if let Some(claimed) = properties.user_id
        && claimed != user.as_bytes()
    {
        return Err(Fault::precondition(format!(
            "user_id property set to '{}' but authenticated user was '{user}'",
            String::from_utf8_lossy(claimed)
        )));
    }
    properties.expiration.map(expiration).transpose()
}

/// Milliseconds in digits.
fn expiration(text: &[u8]) -> Outcome<u64> {
    let shown = String::from_utf8_lossy(text);
    let invalid =
        |reason: String| Fault::precondition(format!("invalid expiration '{shown}': {reason}"));
    let unsigned = shown.strip_prefix(['-', '+']).unwrap_or(&shown);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(invalid("no_integer".to_owned()));
    }
    let (number, rest) = unsigned.split_at(digits);
    if !rest.is_empty() {
        return Err(invalid(format!("{{leftover_string,\"{rest}\"}}")));
    }
    if shown.starts_with('-') && number.bytes().any(|digit| digit != b'0') {
        return Err(invalid(format!("{{value_negative,-{number}}}")));
    }
    let number = number.trim_start_matches('0');
    if number.is_empty() {
        return Ok(0);
    }
    let most = LIFETIME_MS_MAX.unsigned_abs();
    match number.parse::<u64>() {
        Ok(ms) if ms <= most => Ok(ms),
        _ => Err(invalid(too_large(&shown, number))),
    }
}

/// The reason, broken into lines as the language of the broker prints it that this dialect comes from.
fn too_large(shown: &str, number: &str) -> String {
    let column = format!("invalid expiration '{shown}': ").len();
    let whole = format!("{{value_too_large,{number}}}");
    if column + whole.len() <= PRINTED_COLUMNS {
        return whole;
    }
    let indent = " ".repeat(column + 1);
    format!("{{value_too_large,\n{indent}{number}}}")
}

/// The keys a message is routed by besides its own: those in its headers.
#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    /// Those everyone may see.
    pub(crate) open: Vec<&'a [u8]>,
    /// Those that are taken out before anyone gets the message.
    pub(crate) blind: Vec<&'a [u8]>,
    /// The headers have some to take out, if only an empty list.
    pub(crate) has_blind: bool,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(properties: &Properties<'a>) -> Outcome<Self> {
        let mut keys = Self::default();
        let Some(headers) = properties.headers else {
            return Ok(keys);
        };
        for (name, value) in headers {
            match name {
                CC => add(&mut keys.open, "CC", value)?,
                BCC => {
                    keys.has_blind = true;
                    add(&mut keys.blind, "BCC", value)?;
                }
                _ => {}
            }
        }
        Ok(keys)
    }
}

fn add<'a>(keys: &mut Vec<&'a [u8]>, name: &str, value: Value<'a>) -> Outcome<()> {
    let Value::Array(more) = value else {
        return Err(Fault::precondition(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            value.type_name()
        )));
    };
    keys.extend(more.iter().filter_map(|key| key.string()));
    Ok(())
}

/// What exchanges may look at besides the keys.
#[derive(Debug)]
pub(crate) struct Routing<'a>(pub(crate) &'a Properties<'a>);

impl Headers for Routing<'_> {
    fn value(&self, name: &[u8]) -> Option<engine::exchange::Value> {
        let value = self.0.headers?.find(name)?;
        Some(tables::to_engine(&value))
    }

    fn property(&self, property: Property) -> Option<engine::exchange::Value> {
        use engine::exchange::Value as Ours;
        let text = |bytes: &[u8]| Ours::Text(Bytes::copy_from_slice(bytes));
        match property {
            Property::MessageId => self.0.message_id.map(text),
            Property::CorrelationId => self.0.correlation_id.map(text),
            Property::Timestamp => self.0.timestamp.map(Ours::Time),
        }
    }
}

/// Properties with another place to answer to.
pub(crate) fn with_reply_to(properties: &Properties<'_>, name: &str) -> Bytes {
    encoded(&Properties {
        reply_to: Some(name.as_bytes()),
        ..*properties
    })
}

/// Properties without the header of hidden keys.
pub(crate) fn without_blind(properties: &Properties<'_>) -> Bytes {
    let headers = filtered(properties.headers.unwrap_or_default(), |name| name != BCC);
    encoded(&Properties {
        headers: Some(headers.as_table()),
        ..*properties
    })
}

/// The record headers of a message: its properties as they are, and what other protocols can read of them.
pub(crate) fn plain_headers(raw: &Bytes, properties: &Properties<'_>) -> Vec<(Bytes, Bytes)> {
    let table = properties.headers.unwrap_or_default();
    let mut headers = Vec::with_capacity(if table.is_empty() { 1 } else { 8 });
    headers.push((Bytes::from_static(RAW), raw.clone()));
    for (name, value) in table {
        // Reserved names are the broker's own, whichever client uses them.
        if name.starts_with(RESERVED.as_bytes()) {
            continue;
        }
        if let Some(value) = scalar(raw, &value) {
            headers.push((keep(raw, name), value));
        }
    }
    for (name, value) in [
        (&b"content-type"[..], properties.content_type),
        (b"correlation-id", properties.correlation_id),
        (b"reply-to", properties.reply_to),
        (b"message-id", properties.message_id),
        (b"type", properties.kind),
    ] {
        if let Some(value) = value
            && table.find(name).is_none()
        {
            headers.push((Bytes::from_static(name), keep(raw, value)));
        }
    }
    headers
}

/// A value as another protocol can have it: bytes, text or digits.
fn scalar(raw: &Bytes, value: &Value<'_>) -> Option<Bytes> {
    match *value {
        Value::Long(bytes) | Value::Bytes(bytes) => Some(keep(raw, bytes)),
        Value::Table(_) | Value::Array(_) | Value::Void => None,
        Value::Bool(_)
        | Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Decimal(..)
        | Value::Timestamp(_) => Some(Bytes::from(crate::arguments::plain(value))),
    }
}
