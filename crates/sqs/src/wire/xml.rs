//! The Query protocol's answers: the same tree of values as elements, with lists flattened.

use std::fmt::Write;

use serde_json::{Map, Value, json};

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";
const TOKEN_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Writes an answer.
pub(crate) fn encode(action: &str, result: &Value, request_id: &str) -> String {
    let namespace = if action == "GetCallerIdentity" {
        TOKEN_NAMESPACE
    } else {
        NAMESPACE
    };
    let mut out = format!("<?xml version=\"1.0\"?><{action}Response xmlns=\"{namespace}\">");
    if result
        .as_object()
        .is_some_and(|members| !members.is_empty())
        || has_result(action)
    {
        let start = out.len();
        let _ = write!(out, "<{action}Result>");
        let empty = out.len();
        put_members(&mut out, action, result);
        if out.len() == empty {
            out.truncate(start);
            let _ = write!(out, "<{action}Result/>");
        } else {
            let _ = write!(out, "</{action}Result>");
        }
    }
    let _ = write!(
        out,
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    );
    out
}

/// Actions whose result is there even when it is empty.
pub(crate) fn has_result(action: &str) -> bool {
    matches!(
        action,
        "ReceiveMessage"
            | "ListQueues"
            | "GetQueueAttributes"
            | "ListQueueTags"
            | "ListDeadLetterSourceQueues"
            | "ListMessageMoveTasks"
    )
}

/// The same answer as JSON: every element a member, elements of one name a list, one that has nothing in it `null`.
pub(crate) fn encode_json(action: &str, result: &Value, request_id: &str) -> Value {
    let mut response = Map::new();
    let is_empty = result.as_object().is_none_or(Map::is_empty);
    if !is_empty || has_result(action) {
        response.insert(format!("{action}Result"), members_json(action, result));
    }
    let metadata = json!({ "RequestId": request_id });
    response.insert("ResponseMetadata".to_owned(), metadata);
    let mut answer = Map::new();
    answer.insert(format!("{action}Response"), Value::Object(response));
    Value::Object(answer)
}

/// The same error as JSON.
pub(crate) fn encode_json_error(
    (code, message, ours): (&str, &str, bool),
    request_id: &str,
) -> Value {
    let kind = if ours { "Receiver" } else { "Sender" };
    let error = json!({ "Type": kind, "Code": code, "Message": message, "Detail": null });
    json!({ "ErrorResponse": { "Error": error, "RequestId": request_id } })
}

fn members_json(action: &str, value: &Value) -> Value {
    let mut members = Map::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let (name, mut items) = elements_json(action, name, value);
        let value = match items.len() {
            0 => continue,
            1 => items.remove(0),
            _ => Value::Array(items),
        };
        members.insert(name, value);
    }
    if members.is_empty() {
        Value::Null
    } else {
        Value::Object(members)
    }
}

/// The elements a member becomes, and their name.
fn elements_json(action: &str, name: &str, value: &Value) -> (String, Vec<Value>) {
    let pairs = |map: &Map<String, Value>, key: &str| {
        let pair = |(name, value): (&String, &Value)| {
            let value = element_json(action, value);
            json!({ key: name, "Value": value })
        };
        map.iter().map(pair).collect()
    };
    match (name, value) {
        (_, Value::Array(items)) => {
            let items = items.iter().map(|item| element_json(action, item));
            (item_name(action, name), items.collect())
        }
        ("Attributes" | "MessageAttributes", Value::Object(map)) => {
            (name.trim_end_matches('s').to_owned(), pairs(map, "Name"))
        }
        ("Tags", Value::Object(map)) => ("Tag".to_owned(), pairs(map, "Key")),
        _ => (name.to_owned(), vec![element_json(action, value)]),
    }
}

fn element_json(action: &str, value: &Value) -> Value {
    match value {
        Value::Object(_) => members_json(action, value),
        // An element has text, whatever it says.
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        other => other.clone(),
    }
}

/// Writes an error.
pub(crate) fn encode_error(code: &str, message: &str, ours: bool, request_id: &str) -> String {
    let kind = if ours { "Receiver" } else { "Sender" };
    let mut out = format!(
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code><Message>"
    );
    escape(&mut out, message);
    let _ = write!(
        out,
        "</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    out
}

fn put_members(out: &mut String, action: &str, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        put(out, action, name, value);
    }
}

/// Writes one member; lists and maps of the service's own are repeated elements of another name.
fn put(out: &mut String, action: &str, name: &str, value: &Value) {
    match (name, value) {
        (_, Value::Array(items)) => {
            for item in items {
                put_element(out, action, &item_name(action, name), item);
            }
        }
        ("Attributes" | "MessageAttributes", Value::Object(map)) => {
            let element = name.trim_end_matches('s');
            for (key, value) in map {
                put_pair(out, action, element, ("Name", key), value);
            }
        }
        ("Tags", Value::Object(map)) => {
            for (key, value) in map {
                put_pair(out, action, "Tag", ("Key", key), value);
            }
        }
        _ => put_element(out, action, name, value),
    }
}

fn item_name(action: &str, name: &str) -> String {
    match name {
        "QueueUrls" | "queueUrls" => "QueueUrl".to_owned(),
        "Messages" => "Message".to_owned(),
        "Successful" => format!("{action}ResultEntry"),
        "Failed" => "BatchResultErrorEntry".to_owned(),
        "Results" => "ListMessageMoveTasksResultEntry".to_owned(),
        other => other.to_owned(),
    }
}

fn put_pair(out: &mut String, action: &str, element: &str, key: (&str, &str), value: &Value) {
    let _ = write!(out, "<{element}><{}>", key.0);
    escape(out, key.1);
    let _ = write!(out, "</{}>", key.0);
    put_element(out, action, "Value", value);
    let _ = write!(out, "</{element}>");
}

fn put_element(out: &mut String, action: &str, name: &str, value: &Value) {
    let _ = write!(out, "<{name}>");
    match value {
        Value::String(text) => escape(out, text),
        Value::Object(_) => put_members(out, action, value),
        Value::Null | Value::Array(_) => {}
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
    }
    let _ = write!(out, "</{name}>");
}

/// Text that a parser gives back unchanged: a carriage return would become a line feed unless it is escaped.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            c => out.push(c),
        }
    }
}
