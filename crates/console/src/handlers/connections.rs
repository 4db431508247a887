//! Connections of clients, and the consumers of queues among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::{Access, ConsumerOf, vhost};
use net::{Connections, Entry};
use security::{Resource, Verb};
use serde::Deserialize;
use serde_json::{Value, json};

use super::queues::{check_vhost, cut, find, page_size};
use crate::error::{DENIED, NO_CONNECTION, Outcome, Problem};
use crate::request::{Params, Place};

/// Things on one page at most …
const PAGE_MAX: usize = 1000;
/// … and when nothing is said.
const PAGE: usize = 100;

/// Which connections are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    listener: Option<String>,
    after: Option<String>,
    max: Option<usize>,
}

/// Connections are the broker's: a principal that may see it may see them.
fn allow(broker: &Access, verb: Verb) -> Outcome<()> {
    if broker.allows(verb, Resource::Broker) {
        return Ok(());
    }
    Err(Problem::new(&DENIED, "not authorized"))
}

pub(crate) async fn list(
    State(broker): State<Access>,
    State(connections): State<Connections>,
    Params(listing): Params<Listing>,
) -> Outcome<Json<Value>> {
    allow(&broker, Verb::Describe)?;
    let max = page_size("max", listing.max, PAGE, PAGE_MAX)?;
    check_listener(listing.listener.as_deref())?;
    let mut after = listing.after.as_deref().and_then(parse_id).unwrap_or(0);
    let mut found: Vec<Arc<Entry>> = Vec::new();
    // One more than wanted shows whether there are more.
    while found.len() <= max {
        let page = connections.page(after, max + 1);
        let Some(last) = page.last() else { break };
        after = last.id();
        let wanted = listing.listener.as_deref();
        found.extend(
            page.into_iter()
                .filter(|e| wanted.is_none_or(|w| e.listener() == w)),
        );
    }
    let (found, next) = cut(found.into_iter(), max);
    let shown: Vec<Value> = found.iter().map(|entry| show(entry)).collect();
    let mut answer = json!({ "connections": shown });
    if let Some(last) = next {
        answer["next"] = json!(id_of(&last));
    }
    Ok(Json(answer))
}

/// What listeners are called.
const LISTENERS: [&str; 4] = ["kafka", "amqp", "sqs", "http"];

fn check_listener(given: Option<&str>) -> Outcome<()> {
    match given {
        Some(name) if !LISTENERS.contains(&name) => {
            let there_are = LISTENERS.join("`, `");
            let why = format!("`listener` is '{name}': expected one of `{there_are}`");
            Err(Problem::invalid(why))
        }
        _ => Ok(()),
    }
}

fn show(entry: &Entry) -> Value {
    let facts = entry.facts();
    json!({
        "id": id_of(entry),
        "listener": entry.listener(),
        "peer": entry.peer(),
        "user": facts.user.as_deref(),
        "vhost": facts.vhost.as_deref(),
        "client": facts.client.as_deref(),
        "since_ms": entry.since_ms(),
    })
}

fn id_of(entry: &Entry) -> String {
    format!("c{}", entry.id())
}

fn parse_id(text: &str) -> Option<u64> {
    text.strip_prefix('c')?.parse().ok()
}

pub(crate) async fn close(
    State(broker): State<Access>,
    State(connections): State<Connections>,
    Place(id): Place<String>,
) -> Outcome<StatusCode> {
    allow(&broker, Verb::Delete)?;
    let known = parse_id(&id).and_then(|id| connections.get(id));
    let Some(entry) = known else {
        let why = format!("there is no connection '{id}'");
        return Err(Problem::new(&NO_CONNECTION, why));
    };
    tracing::info!(id, listener = entry.listener(), peer = %entry.peer(), "closing a connection as asked");
    entry.close();
    Ok(StatusCode::NO_CONTENT)
}

/// Which consumers are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consumers {
    /// Only those of queues in this vhost; absent: of all.
    vhost: Option<String>,
    queue: Option<String>,
    after: Option<String>,
    max: Option<usize>,
}

pub(crate) async fn consumers(
    State(broker): State<Access>,
    State(connections): State<Connections>,
    Params(asked): Params<Consumers>,
) -> Outcome<Json<Value>> {
    let max = page_size("max", asked.max, PAGE, PAGE_MAX)?;
    if let Some(name) = &asked.vhost {
        check_vhost(&broker, name)?;
    }
    let vhost = asked.vhost.as_deref();
    let of = vhost.unwrap_or(vhost::DEFAULT);
    let queue = asked.queue.as_deref();
    let queue = queue.map(|name| find(&broker, &vhost::qualify(of, name)));
    let only = queue.transpose()?;
    let after = asked.after.as_deref().and_then(|text| text.parse().ok());
    let listed = broker.list_consumers(only.as_deref(), after.unwrap_or(0), max + 1);
    let more = listed.len() > max;
    let page = &listed[..listed.len().min(max)];
    let by_session = by_session(&connections);
    let visible = page.iter().filter(|consumer| {
        let is_in = |vhost: &str| vhost == vhost::split(&consumer.queue).0;
        vhost.is_none_or(is_in)
    });
    let shown: Vec<Value> = visible
        .map(|consumer| show_consumer(consumer, by_session.get(&consumer.session.as_u128())))
        .collect();
    let mut answer = json!({ "consumers": shown });
    if let Some(last) = page.last().filter(|_| more) {
        answer["next"] = json!(last.id.to_string());
    }
    Ok(Json(answer))
}

/// The connections through which sessions of the engine are held.
fn by_session(connections: &Connections) -> BTreeMap<u128, Arc<Entry>> {
    let all = connections.page(0, usize::MAX).into_iter();
    all.filter_map(|entry| Some((entry.facts().session?, entry)))
        .collect()
}

fn show_consumer(consumer: &ConsumerOf, entry: Option<&Arc<Entry>>) -> Value {
    let (vhost, queue) = vhost::split(&consumer.queue);
    json!({
        "vhost": vhost,
        "queue": queue,
        "tag": *consumer.name,
        "priority": consumer.priority,
        "exclusive": consumer.exclusive,
        "connection": entry.map(|entry| id_of(entry)),
        "peer": entry.map(|entry| entry.peer()),
        "user": entry.and_then(|entry| entry.facts().user.map(|user| user.to_string())),
    })
}
