//! Message move tasks: dead letters go back to where they came from, or elsewhere.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::queue::{MoveState, MoveTask, Queue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, number};
use crate::attributes;
use crate::error::{Fault, INVALID_PARAMETER, NO_RESOURCE, Outcome};

const RATE_MAX: i64 = 500;
const RESULTS_MAX: i64 = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Start {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    #[serde(default, deserialize_with = "number")]
    max_number_of_messages_per_second: Option<i64>,
}

pub(super) async fn start(call: &Call<'_>, start: Start) -> Outcome<Value> {
    let source = find(call, start.source_arn.as_deref(), "SourceArn")?;
    if !is_dead_letter_queue(call, &source) {
        return Err(Fault::new(
            &INVALID_PARAMETER,
            "Source queue must be configured as a Dead Letter Queue.",
        ));
    }
    let destination = start.destination_arn.as_deref();
    let destination = destination
        .map(|arn| find(call, Some(arn), "DestinationArn"))
        .transpose()?;
    if let Some(destination) = &destination
        && destination.settings().ordering != source.settings().ordering
    {
        return Err(Fault::new(
            &INVALID_PARAMETER,
            "Source and destination queues must be of the same type.",
        ));
    }
    let rate = start.max_number_of_messages_per_second;
    if rate.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        return Err(Fault::new(
            &INVALID_PARAMETER,
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a value that is between 1 and 500.",
        ));
    }
    let rate = rate.and_then(|rate| u32::try_from(rate).ok());
    let to = destination.as_ref().map(|queue| &*queue.name);
    let broker = &call.context.broker;
    let task = broker
        .on_behalf_of(&call.principal)
        .start_move(&source.name, to, rate)
        .await?;
    Ok(json!({ "TaskHandle": handle(call, &task) }))
}

/// The queue of a resource name.
fn find(call: &Call<'_>, arn: Option<&str>, parameter: &str) -> Outcome<Arc<Queue>> {
    let arn = arn.ok_or_else(|| Fault::missing(parameter))?;
    let name = call.home().name_in_arn(arn).ok_or_else(|| {
        let message = format!("You must use this format to specify the {parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>");
        Fault::new(&INVALID_PARAMETER, message)
    })?;
    call.context
        .broker
        .on_behalf_of(&call.principal)
        .queue(&name)
        .map_err(|error| match error {
            engine::Error::UnknownQueue => {
                let message = format!(
                    "The resource that you specified for the {parameter} parameter doesn't exist."
                );
                Fault::new(&NO_RESOURCE, message)
            }
            other => other.into(),
        })
}

fn is_dead_letter_queue(call: &Call<'_>, queue: &Queue) -> bool {
    let queues = call.context.broker.on_behalf_of(&call.principal).queues();
    let all = queues.page("", None, usize::MAX);
    all.iter().any(|source| {
        let policy = source.settings().dead_letter.as_ref();
        policy.is_some_and(|policy| *policy.queue == *queue.name)
            && attributes::allows_source(call.home(), queue.settings(), &source.name)
    })
}

fn handle(call: &Call<'_>, task: &MoveTask) -> String {
    let handle = json!({ "taskId": task.id, "sourceArn": call.arn(&task.source) });
    STANDARD.encode(handle.to_string())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    source_arn: Option<String>,
    #[serde(default, deserialize_with = "number")]
    max_results: Option<i64>,
}

pub(super) async fn list(call: &Call<'_>, list: List) -> Outcome<Value> {
    let source = find(call, list.source_arn.as_deref(), "SourceArn")?;
    let max = list.max_results.unwrap_or(1);
    if !(1..=RESULTS_MAX).contains(&max) {
        return Err(Fault::parameter(
            "MaxResults",
            max,
            "Must be between 1 and 10.",
        ));
    }
    let broker = &call.context.broker;
    let mut tasks = broker
        .on_behalf_of(&call.principal)
        .moves(&source.name)
        .await?;
    tasks.truncate(usize::try_from(max).unwrap_or(1));
    let results: Vec<Value> = tasks.iter().map(|task| show(call, task)).collect();
    Ok(json!({ "Results": results }))
}

fn show(call: &Call<'_>, task: &MoveTask) -> Value {
    let status = match task.state {
        MoveState::Running => "RUNNING",
        MoveState::Completed => "COMPLETED",
        MoveState::Cancelling => "CANCELLING",
        MoveState::Cancelled => "CANCELLED",
        MoveState::Failed => "FAILED",
    };
    let mut shown = json!({
        "Status": status,
        "SourceArn": call.arn(&task.source),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started_ms,
    });
    // Only what can still be cancelled has a handle.
    if task.state == MoveState::Running {
        shown["TaskHandle"] = json!(handle(call, task));
    }
    if let Some(destination) = &task.destination {
        shown["DestinationArn"] = json!(call.arn(destination));
    }
    if let Some(rate) = task.rate_max {
        shown["MaxNumberOfMessagesPerSecond"] = json!(rate);
    }
    if let Some(failure) = &task.failure {
        shown["FailureReason"] = json!(failure);
    }
    shown
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cancel {
    task_handle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    task_id: uuid::Uuid,
    source_arn: String,
}

pub(super) async fn cancel(call: &Call<'_>, cancel: Cancel) -> Outcome<Value> {
    let text = cancel
        .task_handle
        .ok_or_else(|| Fault::missing("TaskHandle"))?;
    let bytes = STANDARD.decode(&text).unwrap_or_default();
    let handle: Handle = serde_json::from_slice(&bytes).map_err(|_| {
        Fault::new(
            &INVALID_PARAMETER,
            "Value for parameter TaskHandle is invalid.",
        )
    })?;
    find(call, Some(&handle.source_arn), "SourceArn")?;
    let broker = &call.context.broker;
    let task = broker
        .on_behalf_of(&call.principal)
        .cancel_move(handle.task_id)
        .await?;
    Ok(json!({ "ApproximateNumberOfMessagesMoved": task.moved }))
}
