//! Bytes to requests and answers to bytes, in both protocols. A request has the same members whichever way it came:
//! they and their lists are named as the JSON protocol names them.

mod query;
mod request;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use query::decode as decode_query;
pub(crate) use request::{Members, Protocol, Request, Unreadable};
pub(crate) use xml::{
    encode as encode_xml, encode_error as encode_xml_error, encode_json as encode_query_json,
    encode_json_error as encode_query_json_error, has_result,
};

use bytes::Bytes;
use serde_json::{Map, Value};

/// What every JSON request's target begins with.
const TARGET: &str = "AmazonSQS.";

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
