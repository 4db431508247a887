//! Redrive: dead letters go back to where they came from, or elsewhere, by a task that can be watched and stopped.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::queue::Queue;
use engine::{Access, vhost};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::move_task::show;
use super::queues::{find, has_sources, refused};
use crate::error::{NO_TASK, NOT_DEAD, Outcome, Problem};
use crate::request::{Asked, Place, QueueName};

/// Greatest rate, messages per second.
const RATE_MAX: u32 = 100_000;
/// Messages looked at to say where they would go.
const LOOK_MAX: usize = 10_000;

/// A redrive to be started, or only thought through.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    destination: Option<String>,
    rate_max: Option<u32>,
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn start(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(mut start): Asked<Start>,
) -> Outcome<Response> {
    let queue = find(&broker, &name)?;
    // Named as things are named in the queue's own vhost.
    let vhost = vhost::split(&name).0;
    let qualify = |destination: String| vhost::qualify(vhost, &destination);
    start.destination = start.destination.map(qualify);
    if let Some(rate) = start.rate_max
        && !(1..=RATE_MAX).contains(&rate)
    {
        let bounds = (1, RATE_MAX.into());
        return Err(Problem::out_of_bounds("rate_max", rate.into(), bounds));
    }
    match &start.destination {
        Some(destination) => check_destination(&broker, &queue, destination)?,
        None => check_dead(&broker, &queue).await?,
    }
    if start.dry_run {
        let preview = preview(&broker, &queue, start.destination.as_deref()).await;
        let preview = preview.map_err(|error| refused(&broker, &name, error))?;
        return Ok(Json(preview).into_response());
    }
    let (to, rate) = (start.destination.as_deref(), start.rate_max);
    let task = broker.start_move(&name, to, rate).await;
    let task = task.map_err(|error| refused(&broker, &name, error))?;
    Ok((StatusCode::ACCEPTED, Json(show(&task))).into_response())
}

/// Without a destination only dead letters can go anywhere: back to where they came from.
async fn check_dead(broker: &Access, queue: &Queue) -> Outcome<()> {
    let name = &*queue.name;
    if has_sources(broker, name) {
        return Ok(());
    }
    let dead_letters = broker.dead_letters(name, LOOK_MAX).await;
    let dead_letters = dead_letters.map_err(|error| refused(broker, name, error))?;
    if dead_letters.sources.keys().any(Option::is_some) {
        return Ok(());
    }
    let name = vhost::split(name).1;
    let why = format!(
        "queue '{name}' holds no dead letters that could go back to where they came from; name a queue with `destination` \
         to move its messages nevertheless"
    );
    Err(Problem::new(&NOT_DEAD, why))
}

fn check_destination(broker: &Access, source: &Queue, destination: &str) -> Outcome<()> {
    let target = match broker.queue(destination) {
        Err(engine::Error::UnknownQueue) => {
            let name = vhost::split(destination).1;
            let why = format!("there is no queue '{name}' to move to");
            return Err(Problem::invalid(why));
        }
        other => other?,
    };
    if target.document.topic == source.document.topic {
        let why = "messages cannot be moved to a queue of the same topic";
        return Err(Problem::invalid(why));
    }
    Ok(())
}

/// How many messages would be moved, and where to.
async fn preview(
    broker: &Access,
    queue: &Queue,
    destination: Option<&str>,
) -> engine::Result<Value> {
    let depth = broker.queue_depth(&queue.name).await?;
    let mut answer = json!({ "dry_run": true, "messages": depth.ready });
    if let Some(name) = destination {
        answer["destinations"] =
            json!([{ "queue": vhost::split(name).1, "messages": depth.ready, "exists": true }]);
        return Ok(answer);
    }
    let dead_letters = broker.dead_letters(&queue.name, LOOK_MAX).await?;
    let homeless = dead_letters.sources.get(&None).copied().unwrap_or(0);
    let destinations = dead_letters.sources.iter().filter_map(|(name, messages)| {
        let name = name.as_deref()?;
        let exists = broker.queue(name).is_ok();
        let name = vhost::split(name).1;
        Some(json!({ "queue": name, "messages": messages, "exists": exists }))
    });
    answer["destinations"] = destinations.collect();
    answer["without_source"] = json!(homeless);
    answer["complete"] = json!(!dead_letters.more);
    Ok(answer)
}

pub(crate) async fn list(
    State(broker): State<Access>,
    QueueName(name): QueueName,
) -> Outcome<Json<Value>> {
    let tasks = broker.moves(&name).await;
    let tasks = tasks.map_err(|error| refused(&broker, &name, error))?;
    let shown: Vec<Value> = tasks.iter().map(show).collect();
    Ok(Json(json!({ "tasks": shown })))
}

pub(crate) async fn cancel(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Place((_, task)): Place<(String, String)>,
) -> Outcome<Json<Value>> {
    let unknown = || Problem::new(&NO_TASK, format!("no task {task} runs on queue '{name}'"));
    let id = Uuid::parse_str(&task).map_err(|_| unknown())?;
    let tasks = broker.moves(&name).await;
    let tasks = tasks.map_err(|error| refused(&broker, &name, error))?;
    // A task is named together with its queue: the other queues' are none of this one's business.
    if !tasks.iter().any(|task| task.id == id) {
        return Err(unknown());
    }
    match broker.cancel_move(id).await {
        Ok(task) => Ok(Json(show(&task))),
        Err(engine::Error::UnknownMove) => Err(unknown()),
        Err(error) => Err(refused(&broker, &name, error)),
    }
}
