//! Bytes to requests and answers to bytes, in both protocols. A request is the same tree of values whichever way it
//! came: members and lists are named as the JSON protocol names them.

mod query;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use query::decode as decode_query;
pub(crate) use xml::{encode as encode_xml, encode_error as encode_xml_error, has_result};

use serde_json::{Map, Value};

/// What every JSON request's target begins with.
const TARGET: &str = "AmazonSQS.";

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Json,
    Query,
}

/// A decoded request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) members: Map<String, Value>,
}

/// Why a request cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It names no action.
    NoAction,
    /// Its body is not what its type says.
    Malformed(String),
}

/// Reads a JSON request.
pub(crate) fn decode_json(target: &str, body: &[u8]) -> Result<Request, Unreadable> {
    let action = target.strip_prefix(TARGET).ok_or(Unreadable::NoAction)?;
    let members = if body.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        serde_json::from_slice(body).map_err(|error| Unreadable::Malformed(error.to_string()))?
    };
    Ok(Request {
        action: action.to_owned(),
        members,
    })
}

/// What a fuzzer, and a test over noise, asserts of any bytes: reading never panics.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let _ = decode_json("AmazonSQS.SendMessage", data);
    if let Ok(request) = decode_query(&[data]) {
        let _ = encode_xml(&request.action, &Value::Object(request.members), "id");
    }
}
