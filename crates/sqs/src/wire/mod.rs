//! Bytes to requests and answers to bytes, in both protocols. A request has the same members whichever way it came:
//! they and their lists are named as the JSON protocol names them.

mod query;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use query::decode as decode_query;
pub(crate) use xml::{
    encode as encode_xml, encode_error as encode_xml_error, encode_json as encode_query_json,
    encode_json_error as encode_query_json_error, has_result,
};

use bytes::Bytes;
use serde::de::DeserializeOwned;
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
    pub(crate) members: Members,
}

/// What a request says besides its action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Members {
    /// A JSON object not read yet: it is read at once into the form that is wanted.
    Json(Bytes),
    /// A form that was read.
    Tree(Map<String, Value>),
}

impl Members {
    /// The members as the structure a handler wants.
    pub(crate) fn read<T: DeserializeOwned>(self) -> serde_json::Result<T> {
        match self {
            Self::Json(text) => serde_json::from_slice(&text),
            Self::Tree(tree) => serde_json::from_value(Value::Object(tree)),
        }
    }
}

/// Why a request cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It names no action.
    NoAction,
    /// Its body is not what its type says.
    Malformed(String),
}

/// Reads a JSON request, as far as its members.
pub(crate) fn decode_json(target: &str, body: &Bytes) -> Result<Request, Unreadable> {
    let action = target.strip_prefix(TARGET).ok_or(Unreadable::NoAction)?;
    let members = match body.trim_ascii_start().first() {
        None => Members::Tree(Map::new()),
        Some(b'{') => Members::Json(body.clone()),
        Some(_) => return Err(Unreadable::Malformed("the body is no object".into())),
    };
    Ok(Request {
        action: action.to_owned(),
        members,
    })
}

/// What a fuzzer, and a test over noise, asserts of any bytes: reading never panics.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let json = decode_json("AmazonSQS.SendMessage", &Bytes::copy_from_slice(data));
    for request in [json, decode_query(&[data])].into_iter().flatten() {
        if let Ok(members) = request.members.read() {
            let members = Value::Object(members);
            let _ = encode_xml(&request.action, &members, "id");
            let _ = encode_query_json(&request.action, &members, "id");
        }
    }
}
