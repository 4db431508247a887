//! Deleting messages, and changing how long they stay hidden.

use engine::queue::{FailureClass, Ordering, Queue, Receipt, Settled, Settlement};
use serde::Deserialize;
use serde_json::Value;

use super::{Call, batches, nothing, number};
use crate::error::{Fault, INVALID_RECEIPT, NOT_IN_FLIGHT, Outcome};
use crate::receipt_handle;

const VISIBILITY_MAX: i64 = 43_200;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Change {
    queue_url: Option<String>,
    id: Option<String>,
    receipt_handle: Option<String>,
    #[serde(default, deserialize_with = "number")]
    visibility_timeout: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<Change>,
}

pub(super) async fn delete(call: &Call<'_>, delete: Delete) -> Outcome<Value> {
    let queue = call.queue(delete.queue_url.as_deref())?;
    let handle = required(delete.receipt_handle)?;
    let receipt = receipt(&queue, &handle)?;
    let settled = settle(call, &queue, vec![(receipt, Settlement::Ack)]).await?;
    deleted(&queue, settled[0], &handle)?;
    Ok(nothing())
}

pub(super) async fn change(call: &Call<'_>, change: Change) -> Outcome<Value> {
    let queue = call.queue(change.queue_url.as_deref())?;
    let wanted = Wanted::new(&queue, change)?;
    let settled = settle(call, &queue, vec![(wanted.receipt, wanted.settle.clone())]).await?;
    wanted.changed(settled[0])?;
    Ok(nothing())
}

pub(super) async fn delete_batch(call: &Call<'_>, batch: Batch) -> Outcome<Value> {
    let queue = call.queue(batch.queue_url.as_deref())?;
    check(&batch, "DeleteMessageBatchRequestEntry")?;
    let entries = batch.entries.into_iter().map(|entry| {
        let handle = required(entry.receipt_handle);
        let read = handle.and_then(|handle| Ok((receipt(&queue, &handle)?, handle)));
        (entry.id.unwrap_or_default(), read)
    });
    let of = |(receipt, _): &(Receipt, String)| (*receipt, Settlement::Ack);
    let judge = |(_, handle): (Receipt, String), settled| deleted(&queue, settled, &handle);
    settle_all(call, &queue, entries.collect(), of, judge).await
}

pub(super) async fn change_batch(call: &Call<'_>, batch: Batch) -> Outcome<Value> {
    let queue = call.queue(batch.queue_url.as_deref())?;
    check(&batch, "ChangeMessageVisibilityBatchRequestEntry")?;
    let entries = batch.entries.into_iter().map(|mut entry| {
        let id = entry.id.take().unwrap_or_default();
        (id, Wanted::new(&queue, entry))
    });
    let of = |wanted: &Wanted| (wanted.receipt, wanted.settle.clone());
    let judge = |wanted: Wanted, settled| wanted.changed(settled);
    settle_all(call, &queue, entries.collect(), of, judge).await
}

fn check(batch: &Batch, entry: &str) -> Outcome<()> {
    let ids: Vec<_> = batch
        .entries
        .iter()
        .map(|entry| entry.id.as_deref())
        .collect();
    batches::check(entry, &ids)
}

/// Settles the entries of a batch that can be, and answers for all of them.
async fn settle_all<T>(
    call: &Call<'_>,
    queue: &Queue,
    entries: Vec<(String, Outcome<T>)>,
    of: impl Fn(&T) -> (Receipt, Settlement),
    judge: impl Fn(T, Settled) -> Outcome<()>,
) -> Outcome<Value> {
    let good = entries.iter().filter_map(|(_, entry)| entry.as_ref().ok());
    let settles: Vec<_> = good.map(of).collect();
    let mut settled = settle(call, queue, settles).await?.into_iter();
    let outcomes = entries.into_iter().map(|(id, entry)| {
        let outcome = entry.and_then(|entry| {
            let settled = settled.next().unwrap_or(Settled::Gone);
            judge(entry, settled).map(|()| nothing())
        });
        (id, outcome)
    });
    Ok(batches::answer(outcomes.collect()))
}

async fn settle(
    call: &Call<'_>,
    queue: &Queue,
    settles: Vec<(Receipt, Settlement)>,
) -> Outcome<Vec<Settled>> {
    if settles.is_empty() {
        return Ok(Vec::new());
    }
    let broker = &call.context.broker;
    Ok(broker
        .on_behalf_of(&call.principal)
        .settle(&queue.name, settles)
        .await?)
}

fn required(handle: Option<String>) -> Outcome<String> {
    handle.ok_or_else(|| Fault::missing("ReceiptHandle"))
}

/// Reads a handle; one of another queue is as bad as none.
fn receipt(queue: &Queue, handle: &str) -> Outcome<Receipt> {
    let receipt = receipt_handle::decode(handle)?;
    if receipt.queue == queue.id() {
        return Ok(receipt);
    }
    let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    Err(Fault::new(&INVALID_RECEIPT, message))
}

/// A delete succeeds when the message is gone, and in a standard queue also with an old handle.
fn deleted(queue: &Queue, settled: Settled, handle: &str) -> Outcome<()> {
    let in_order = queue.settings().ordering == Ordering::Key;
    match settled {
        Settled::Expired | Settled::Stale if in_order => Err(Fault::parameter(
            "ReceiptHandle",
            handle,
            "The receipt handle has expired.",
        )),
        Settled::Done | Settled::Gone | Settled::Expired | Settled::Stale => Ok(()),
        Settled::Foreign | Settled::TooLong => Err(Fault::new(
            &INVALID_RECEIPT,
            "The input receipt handle is invalid.",
        )),
    }
}

/// A change of visibility that makes sense.
struct Wanted {
    handle: String,
    receipt: Receipt,
    settle: Settlement,
    seconds: i64,
    in_order: bool,
}

impl Wanted {
    fn new(queue: &Queue, change: Change) -> Outcome<Self> {
        let handle = required(change.receipt_handle)?;
        let seconds = change.visibility_timeout;
        let seconds = seconds.ok_or_else(|| Fault::missing("VisibilityTimeout"))?;
        let fits = u64::try_from(seconds)
            .ok()
            .filter(|_| seconds <= VISIBILITY_MAX);
        let time = fits.ok_or_else(|| {
            let reason = "VisibilityTimeout must be an integer between 0 and 43200.";
            Fault::parameter("VisibilityTimeout", seconds, reason)
        })?;
        let settle = match time {
            // With backoff, giving back means waiting.
            0 if queue.settings().backoff.is_some() => Settlement::FAIL,
            0 => Settlement::Release {
                delay: Some(0),
                class: Some(FailureClass::Transient),
            },
            seconds => Settlement::Extend(seconds * 1000),
        };
        Ok(Self {
            receipt: receipt(queue, &handle)?,
            handle,
            settle,
            seconds,
            in_order: queue.settings().ordering == Ordering::Key,
        })
    }

    fn changed(&self, settled: Settled) -> Outcome<()> {
        match settled {
            Settled::Done => Ok(()),
            // Another receiver may have the message by now: nothing is changed, and nothing is said.
            Settled::Expired | Settled::Stale if !self.in_order => Ok(()),
            Settled::Expired | Settled::Stale => Err(Fault::new(
                &NOT_IN_FLIGHT,
                "The message referred to isn't in flight.",
            )),
            Settled::Gone => Err(Fault::parameter(
                "ReceiptHandle",
                &self.handle,
                "Message does not exist or is not available for visibility timeout change.",
            )),
            Settled::TooLong => Err(Fault::parameter(
                "VisibilityTimeout",
                self.seconds,
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            )),
            Settled::Foreign => Err(Fault::new(
                &INVALID_RECEIPT,
                "The input receipt handle is invalid.",
            )),
        }
    }
}
