//! What each action does: one file per group of actions. A handler gets the request's members whichever protocol they
//! came by, and returns the answer's.

mod batches;
mod call;
mod coercion;
pub(crate) mod developer;
mod moves;
mod permissions;
mod queues;
mod receive;
mod send;
mod settle;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::call::Call;
use self::call::{OfQueue, nothing, object};
use self::coercion::number;
use crate::error::{Fault, MALFORMED, Outcome};
use crate::wire::{Members, Request};

/// Carries out a request.
pub(crate) async fn dispatch(call: &Call<'_>, request: Request) -> Outcome<Value> {
    let members = request.members;
    // What is about no queue, or about one that is yet to be made, is not asked of a queue.
    let of_service = matches!(&*request.action, "CreateQueue" | "ListQueues");
    if call.is_query && of_service && call.path_queue.is_some() {
        return Err(Fault::unknown_action(&request.action));
    }
    if !of_service {
        call.attach(&members).await?;
    }
    match &*request.action {
        "AddPermission" => permissions::add(call, read(members)?).await,
        "CancelMessageMoveTask" => moves::cancel(call, read(members)?).await,
        "ChangeMessageVisibility" => settle::change(call, read(members)?).await,
        "ChangeMessageVisibilityBatch" => settle::change_batch(call, read(members)?).await,
        "CreateQueue" => queues::create(call, read(members)?).await,
        "DeleteMessage" => settle::delete(call, read(members)?).await,
        "DeleteMessageBatch" => settle::delete_batch(call, read(members)?).await,
        "DeleteQueue" => queues::delete(call, read(members)?).await,
        "GetCallerIdentity" => Ok(identity(call)),
        "GetQueueAttributes" => queues::attributes(call, read(members)?).await,
        "GetQueueUrl" => queues::url(call, &read(members)?),
        "ListDeadLetterSourceQueues" => queues::sources(call, &read(members)?),
        "ListMessageMoveTasks" => moves::list(call, read(members)?).await,
        "ListQueueTags" => queues::tags(call, &read(members)?),
        "ListQueues" => queues::list(call, &read(members)?),
        "PurgeQueue" => queues::purge(call, read(members)?).await,
        "ReceiveMessage" => receive::receive(call, read(members)?).await,
        "RemovePermission" => permissions::remove(call, read(members)?).await,
        "SendMessage" => send::send(call, read(members)?).await,
        "SendMessageBatch" => send::send_batch(call, read(members)?).await,
        "SetQueueAttributes" => queues::set_attributes(call, read(members)?).await,
        "StartMessageMoveTask" => moves::start(call, read(members)?).await,
        "TagQueue" => queues::tag(call, read(members)?).await,
        "UntagQueue" => queues::untag(call, read(members)?).await,
        other => Err(Fault::unknown_action(other)),
    }
}

/// The members as the structure a handler wants; what it does not know is ignored, as the service does.
fn read<T: DeserializeOwned>(members: Members) -> Outcome<T> {
    members
        .read()
        .map_err(|error| Fault::new(&MALFORMED, coercion::said(&error)))
}

/// Who the caller is, as token services say it.
fn identity(call: &Call<'_>) -> Value {
    let account = &call.namespace.account;
    let name = &call.principal.name;
    json!({
        "UserId": call.access_key.as_deref().unwrap_or(name),
        "Account": account,
        "Arn": format!("arn:aws:iam::{account}:user/{name}"),
    })
}
