//! Answers of the API as tables.

use serde_json::Value;

use crate::cli::output::{leaf, pairs, table};
use crate::cli::remote::cell;

fn rows(values: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    values.as_array().into_iter().flatten().map(row).collect()
}

/// The members of an object as cells.
fn cells(value: &Value, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| leaf(name, &value[name])).collect()
}

pub(super) fn queues(queues: &Value) -> String {
    let rows = rows(queues, |queue| {
        let mut row = cells(queue, &["name", "type", "ordering"]);
        row.extend(cells(&queue["depth"], &["ready", "in_flight", "delayed"]));
        row.extend(cells(queue, &["consumers", "topic"]));
        row
    });
    let headings = [
        "NAME",
        "TYPE",
        "ORDERING",
        "READY",
        "IN-FLIGHT",
        "DELAYED",
        "CONSUMERS",
        "TOPIC",
    ];
    table(&headings, &rows)
}

/// Everything about one queue: names as in the API, without their units. A value that is a policy's says so.
pub(super) fn queue(queue: &Value) -> String {
    let mut lines = Vec::new();
    if queue["vhost"] != "/" {
        lines.push(("vhost".to_owned(), leaf("vhost", &queue["vhost"])));
    }
    for name in [
        "name",
        "id",
        "type",
        "durable",
        "exclusive",
        "auto_delete",
        "single_active_consumer",
        "topic",
        "created_ms",
        "changed_ms",
        "consumers",
        "depth",
        "since_start",
        "policies",
    ] {
        flatten(name, name, &queue[name], &mut lines);
    }
    for name in ["settings", "limits", "dead_letter_exchange"] {
        let mut part = Vec::new();
        flatten(name, name, &queue[name], &mut part);
        for (path, value) in &mut part {
            if let Some(policy) = policy_of(queue, path) {
                *value = format!("{value} ({policy})");
            }
        }
        lines.append(&mut part);
    }
    let sources = "dead_letter_sources";
    flatten(sources, sources, &queue[sources], &mut lines);
    for task in queue["redrives"].as_array().into_iter().flatten() {
        let words = cells(task, &["id", "state", "moved", "to_move"]);
        if let [id, state, moved, to_move] = &words[..] {
            lines.push((
                format!("redrive.{id}"),
                format!("{state}, {moved} of {to_move}"),
            ));
        }
    }
    pairs(&lines)
}

/// The policy that a value comes from, by the path of its line.
fn policy_of(queue: &Value, path: &str) -> Option<String> {
    let by = queue["by_policy"].as_object()?.iter();
    let (_, kind) = by.into_iter().find(|(name, _)| {
        let name = name.strip_suffix("_ms").unwrap_or(name);
        path.split('.').any(|part| part == name)
    })?;
    let kind = kind.as_str()?;
    let name = queue["policies"][kind].as_str()?;
    Some(match kind {
        "operator" => format!("operator policy {name}"),
        _ => format!("policy {name}"),
    })
}

/// One line per value; what is not set has none.
fn flatten(path: &str, name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(&format!("{path}.{name}"), name, value, lines);
            }
        }
        Value::Null => {}
        Value::Array(values) if values.is_empty() => {}
        value => {
            let path = path.strip_suffix("_ms").unwrap_or(path);
            lines.push((path.to_owned(), leaf(name, value)));
        }
    }
}

pub(super) fn sent(sent: &Value) -> String {
    let names = ["id", "sequence", "duplicate"];
    table(&["ID", "SEQUENCE", "DUPLICATE"], &[cells(sent, &names)])
}

pub(super) fn messages(messages: &Value) -> String {
    let headings = ["SEQUENCE", "SENT", "DELIVERIES", "KEY", "FAILED-IN", "BODY"];
    table(&headings, &rows(messages, message))
}

/// Messages with what settles them.
pub(super) fn received(messages: &Value) -> String {
    let rows = rows(messages, |one| {
        let mut row = message(one);
        row.insert(row.len() - 1, leaf("receipt", &one["receipt"]));
        row
    });
    let headings = [
        "SEQUENCE",
        "SENT",
        "DELIVERIES",
        "KEY",
        "FAILED-IN",
        "RECEIPT",
        "BODY",
    ];
    table(&headings, &rows)
}

fn message(message: &Value) -> Vec<String> {
    let mut row = cells(message, &["sequence", "sent_ms", "deliveries"]);
    row.push(cell(message, "key"));
    row.push(leaf("queue", &message["dead_letter"]["queue"]));
    row.push(cell(message, "body"));
    row
}

/// Purged; and what of it can still be read.
pub(super) fn purged(answer: &Value) -> String {
    let name = answer["purged"].as_str().unwrap_or_default();
    let stays = match answer["records_stay"].as_str() {
        Some("stream") => "; it is a stream: its records stay readable by offset".to_owned(),
        Some(_) => {
            let topic = answer["topic"].as_str().unwrap_or_default();
            format!("; the records stay in the topic {topic}, which has a retention of its own")
        }
        None => String::new(),
    };
    format!("purged {name}{stays}\n")
}

pub(super) fn replayed(answer: &Value) -> String {
    format!("replayed {}\n", answer["replayed"])
}

const TASK: [&str; 6] = ["id", "state", "moved", "to_move", "destination", "failure"];
const TASK_HEADINGS: [&str; 6] = ["TASK", "STATE", "MOVED", "OF", "TO", "FAILURE"];

pub(super) fn tasks(tasks: &Value) -> String {
    table(&TASK_HEADINGS, &rows(tasks, |task| cells(task, &TASK)))
}

pub(super) fn task(task: &Value) -> String {
    table(&TASK_HEADINGS, &[cells(task, &TASK)])
}

/// What a redrive would do.
pub(super) fn preview(preview: &Value) -> String {
    let mut rows = rows(&preview["destinations"], |destination| {
        let note = match destination["exists"].as_bool() {
            Some(false) => "there is no such queue",
            _ => "",
        };
        let mut row = cells(destination, &["queue", "messages"]);
        row.push(note.to_owned());
        row
    });
    let homeless = preview["without_source"].as_u64().unwrap_or(0);
    if homeless > 0 {
        let note = "not dead letters; name a queue with --to";
        rows.push(vec!["-".to_owned(), homeless.to_string(), note.to_owned()]);
    }
    let mut text = format!("{} would be moved\n", preview["messages"]);
    if preview["complete"] == Value::Bool(false) {
        text.push_str("there are more than were looked at:\n");
    }
    text + &table(&["TO", "MESSAGES", "NOTE"], &rows)
}
