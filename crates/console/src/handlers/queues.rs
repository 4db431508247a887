//! Queues: list, make, describe, change, empty and remove them.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use engine::queue::{Depth, NewQueue, Queue, QueueSettings, QueueType};
use engine::{Access, vhost};
use serde::Deserialize;
use serde_json::{Value, json};

use super::move_task;
use crate::error::{IN_USE, NO_QUEUE, NO_ROUTE, Outcome, Problem};
use crate::request::{Asked, Params, QueueName, QueueParams};
use crate::settings::{self, Changes};

/// Queues on one page at most …
const PAGE_MAX: usize = 1000;
/// … and when nothing is said.
const PAGE: usize = 100;
/// Queues named that let their dead letters come here; looking for them is done in pages.
const SOURCES_MAX: usize = 1000;

/// Which queues are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    #[serde(default = "default_vhost")]
    vhost: String,
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    max: Option<usize>,
}

fn default_vhost() -> String {
    vhost::DEFAULT.to_owned()
}

pub(crate) async fn list(
    State(broker): State<Access>,
    Params(listing): Params<Listing>,
) -> Outcome<Json<Value>> {
    let max = page_size("max", listing.max, PAGE, PAGE_MAX)?;
    check_vhost(&broker, &listing.vhost)?;
    let (names, next) = visible(&broker, &listing, max);
    let mut queues = Vec::with_capacity(names.len());
    for queue in names {
        match broker.queue_depth(&queue.name).await {
            Ok(depth) => queues.push(summary(&broker, &queue, &depth)),
            // It went between two looks.
            Err(engine::Error::UnknownQueue) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut answer = json!({ "queues": queues });
    if let Some(next) = next {
        answer["next"] = json!(next);
    }
    Ok(Json(answer))
}

/// Refuses the name of a vhost that is not there.
pub(super) fn check_vhost(broker: &Access, name: &str) -> Outcome<()> {
    if broker.vhost(name).is_ok() {
        return Ok(());
    }
    let why = format!("there is no vhost '{name}'");
    Err(Problem::new(&NO_ROUTE, why))
}

/// A page of queues that may be seen, and where the next one begins.
fn visible(broker: &Access, listing: &Listing, max: usize) -> (Vec<Arc<Queue>>, Option<String>) {
    let prefix = vhost::qualify(&listing.vhost, &listing.prefix);
    let after = listing.after.as_deref();
    let mut after = after.map(|after| vhost::qualify(&listing.vhost, after));
    let mut found: Vec<Arc<Queue>> = Vec::new();
    // One more than wanted shows whether there are more.
    while found.len() <= max {
        let page = broker.queues().page(&prefix, after.as_deref(), max + 1);
        let Some(last) = page.last() else { break };
        after = Some(last.name.to_string());
        found.extend(
            page.into_iter()
                .filter(|queue| vhost::split(&queue.name).0 == listing.vhost),
        );
    }
    let (found, next) = cut(found.into_iter(), max);
    let next = next.map(|queue| vhost::split(&queue.name).1.to_owned());
    (found, next)
}

/// A number of things on a page within its bounds.
pub(super) fn page_size(
    name: &str,
    given: Option<usize>,
    default: usize,
    most: usize,
) -> Outcome<usize> {
    let size = given.unwrap_or(default);
    if (1..=most).contains(&size) {
        return Ok(size);
    }
    let (size, most) = (size as u64, most as u64);
    Err(Problem::out_of_bounds(name, size, (1, most)))
}

/// The first `max` of what is seen; the last of them when there are more, which is where the next page goes on.
pub(super) fn cut<T: Clone>(seen: impl Iterator<Item = T>, max: usize) -> (Vec<T>, Option<T>) {
    // One more than wanted shows whether there are more.
    let mut page: Vec<T> = seen.take(max + 1).collect();
    let more = page.len() > max;
    page.truncate(max);
    let next = page.last().filter(|_| more).cloned();
    (page, next)
}

/// The name of the topic a queue reads from. One of another vhost, which is that of the queue, goes by its name there.
fn topic_name(broker: &Access, queue: &Queue) -> Option<String> {
    let topics = broker.topics();
    let topic = topics.with_id(queue.document.topic)?;
    Some(vhost::split(&topic.name).1.to_owned())
}

fn topic_vhost(broker: &Access, queue: &Queue) -> Option<String> {
    let topics = broker.topics();
    let topic = topics.with_id(queue.document.topic)?;
    Some(vhost::split(&topic.name).0.to_owned())
}

fn summary(broker: &Access, queue: &Queue, depth: &Depth) -> Value {
    let (vhost, name) = vhost::split(&queue.name);
    json!({
        "vhost": vhost,
        "name": name,
        "type": queue.settings().queue_type().word(),
        "ordering": settings::ordering(queue.settings()),
        "topic": topic_name(broker, queue),
        "depth": show_depth(depth),
        "consumers": broker.consumers(queue),
    })
}

fn show_depth(depth: &Depth) -> Value {
    json!({
        "ready": depth.ready,
        "in_flight": depth.in_flight,
        "delayed": depth.delayed,
    })
}

/// A queue to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    #[serde(default = "default_vhost")]
    vhost: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<QueueType>,
    topic: Option<String>,
    #[serde(default)]
    settings: Changes,
}

pub(crate) async fn create(
    State(broker): State<Access>,
    Asked(creation): Asked<Creation>,
) -> Outcome<Response> {
    let Creation {
        vhost,
        name,
        kind,
        topic,
        mut settings,
    } = creation;
    settings.check()?;
    check_vhost(&broker, &vhost)?;
    check_name(&name)?;
    if !settings.order_by_name(&name) {
        let why = format!("a queue whose name ends with `.fifo` is ordered by key: '{name}'");
        return Err(Problem::invalid(why));
    }
    let name = vhost::qualify(&vhost, &name);
    settings.qualify(&vhost);
    check_dead_letters(&broker, &name, &settings)?;
    let queue = NewQueue {
        name,
        settings: settings.into_new(kind)?,
        topic,
    };
    let source = queue.topic.clone().unwrap_or_default();
    let (name, queue) = (queue.name.clone(), broker.create_queue(queue).await);
    let queue = queue.map_err(|error| match error {
        engine::Error::QueueExists(_) => Problem::of_queue(&name, error),
        error => Problem::of_topic(&source, error),
    })?;
    let location = location("/api/v1/queues/", &queue.name);
    let body = Json(describe_queue(&broker, &queue).await?);
    Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
}

/// What begins with this is the broker's to name.
const RESERVED: &str = "amq.";

fn check_name(name: &str) -> Outcome<()> {
    if name.starts_with(RESERVED) {
        let why = format!("names that begin with `{RESERVED}` belong to the broker: '{name}'");
        return Err(Problem::invalid(why));
    }
    Ok(())
}

/// A queue that is to take dead letters has to be there: a slip in its name would leave them where they are.
fn check_dead_letters(broker: &Access, name: &str, changes: &Changes) -> Outcome<()> {
    let Some(target) = changes.dead_letter_queue() else {
        return Ok(());
    };
    if target == name {
        let why = "a queue cannot take its own dead letters";
        return Err(Problem::invalid(why));
    }
    match broker.queue(target) {
        Err(engine::Error::UnknownQueue) => Err(Problem::invalid(format!(
            "there is no queue '{}' to take the dead letters",
            vhost::split(target).1
        ))),
        other => Ok(other.map(drop)?),
    }
}

pub(crate) async fn describe(
    State(broker): State<Access>,
    QueueName(name): QueueName,
) -> Outcome<Json<Value>> {
    let queue = find(&broker, &name)?;
    let described = describe_queue(&broker, &queue).await;
    Ok(Json(described.map_err(|e| refused(&broker, &name, e))?))
}

/// One queue, if it is there and may be seen.
pub(super) fn find(broker: &Access, name: &str) -> Outcome<Arc<Queue>> {
    let queue = broker.queue(name);
    queue.map_err(|error| refused(broker, name, error))
}

/// What is answered when something was asked of a queue. A topic without a queue is answered differently from a name
/// that does not exist.
pub(super) fn refused(broker: &Access, name: &str, error: engine::Error) -> Problem {
    let is_unknown = matches!(error, engine::Error::UnknownQueue);
    if is_unknown && broker.is_only_topic(name) {
        let name = vhost::split(name).1;
        let why = format!(
            "there is no queue '{name}', only a topic of that name: attach a queue to it with \
             `forebay queue create {name} --topic {name}`"
        );
        return Problem::new(&NO_QUEUE, why);
    }
    Problem::of_queue(name, error)
}

/// Where something new is found. A name may have any characters.
pub(super) fn location(folder: &str, name: &str) -> HeaderValue {
    let (vhost, name) = vhost::split(name);
    let mut path = format!("{folder}{}", escaped(name));
    if vhost != vhost::DEFAULT {
        path = format!("{path}?vhost={}", escaped(vhost));
    }
    HeaderValue::from_str(&path).unwrap_or(HeaderValue::from_static("/api/v1"))
}

/// A name as one part of a path.
pub(super) fn escaped(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // A string takes all that is written into it.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

async fn describe_queue(broker: &Access, queue: &Queue) -> engine::Result<Value> {
    broker.look_for_oldest(queue).await;
    let depth = broker.queue_depth(&queue.name).await?;
    let tasks = broker.moves(&queue.name).await?;
    let tasks: Vec<Value> = tasks.iter().map(move_task::show).collect();
    let (vhost, name) = vhost::split(&queue.name);
    let (declared, now) = (&*queue.document.settings, queue.settings());
    let policies = broker.policies_of(queue);
    Ok(json!({
        "vhost": vhost,
        "name": name,
        "type": now.queue_type().word(),
        "durable": !now.lifetime.transient,
        "exclusive": now.lifetime.owner.is_some(),
        "auto_delete": now.lifetime.auto_delete,
        "single_active_consumer": now.single_consumer,
        "consumers": broker.consumers(queue),
        "id": queue.id(),
        "topic": {
            "vhost": topic_vhost(broker, queue),
            "name": topic_name(broker, queue),
            "partitions": queue.partitions,
            "own": queue.document.owns_topic,
        },
        "created_ms": queue.document.created_ms,
        "changed_ms": queue.document.changed_ms,
        "settings": settings::show(now),
        "limits": settings::show_limits(now),
        "dead_letter_exchange": settings::show_dead_letter_exchange(now),
        "policies": { "user": policies.user, "operator": policies.operator },
        "by_policy": settings::show_sources(declared, &policies.by_user, now),
        "depth": show_depth(&depth),
        "keys_in_flight": depth.keys_in_flight,
        "unreadable": depth.unreadable,
        "oldest_ms": depth.oldest_ms,
        "since_start": {
            "sent": depth.sent,
            "sent_bytes": depth.sent_bytes,
            "deduplicated": depth.deduplicated,
            "received": depth.received,
            "acked": depth.deleted,
            "dead_lettered": depth.dead_lettered,
            "empty_receives": depth.empty_receives,
        },
        "dead_letter_sources": sources(broker, &queue.name),
        "redrives": tasks,
    }))
}

/// Whether any queue's dead letters come here.
pub(super) fn has_sources(broker: &Access, name: &str) -> bool {
    !sources(broker, name).is_empty()
}

/// Queues whose dead letters come here.
fn sources(broker: &Access, name: &str) -> Vec<String> {
    let mut sources = Vec::new();
    let mut after: Option<Arc<str>> = None;
    while sources.len() < SOURCES_MAX {
        let page = broker.queues().page("", after.as_deref(), PAGE_MAX);
        let Some(last) = page.last() else { break };
        after = Some(Arc::clone(&last.name));
        let here = page.iter().filter(|queue| {
            let policy = queue.settings().dead_letter.as_ref();
            policy.is_some_and(|policy| policy.queue == name)
        });
        sources.extend(here.map(|queue| vhost::split(&queue.name).1.to_owned()));
    }
    sources.truncate(SOURCES_MAX);
    sources
}

/// A change of a queue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    settings: Changes,
}

pub(crate) async fn change(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(change): Asked<Change>,
) -> Outcome<Json<Value>> {
    find(&broker, &name)?;
    change.settings.check()?;
    let mut settings = change.settings;
    settings.qualify(vhost::split(&name).0);
    check_dead_letters(&broker, &name, &settings)?;
    let changes = settings;
    let change = Box::new(move |settings: &mut QueueSettings| changes.apply(settings));
    let refused = |error| refused(&broker, &name, error);
    let changed = broker.configure_queue(&name, change).await;
    let changed = changed.map_err(refused)?;
    let described = describe_queue(&broker, &changed).await;
    Ok(Json(described.map_err(refused)?))
}

/// Whether something goes although others depend on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removing {
    #[serde(default)]
    pub(super) force: bool,
}

pub(crate) async fn delete(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    QueueParams(removing): QueueParams<Removing>,
) -> Outcome<StatusCode> {
    find(&broker, &name)?;
    let sources = sources(&broker, &name);
    if !removing.force && !sources.is_empty() {
        let sources = sources.join("', '");
        let name = vhost::split(&name).1;
        let why = format!(
            "queue '{name}' takes the dead letters of '{sources}', which would stay there: \
             delete it nevertheless with `force`"
        );
        return Err(Problem::new(&IN_USE, why));
    }
    let deleted = broker.delete_queue(&name).await;
    deleted.map_err(|error| refused(&broker, &name, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A request that says nothing beyond its path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

pub(crate) async fn purge(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(Nothing {}): Asked<Nothing>,
) -> Outcome<Response> {
    let of = |error| refused(&broker, &name, error);
    let queue = broker.queue(&name).map_err(of)?;
    let purged = broker.purge_queue(&name).await;
    purged.map_err(of)?;
    let stay = match (queue.settings().stream, queue.document.owns_topic) {
        (true, _) => "stream",
        (false, false) => "topic",
        (false, true) => return Ok(StatusCode::NO_CONTENT.into_response()),
    };
    // A purge that leaves something readable has to say so.
    let topic = topic_name(&broker, &queue);
    Ok(Json(json!({ "records_stay": stay, "topic": topic })).into_response())
}
