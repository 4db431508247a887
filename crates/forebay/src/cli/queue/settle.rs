//! `forebay queue ack|release|extend`: what becomes of messages that were received.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::path;
use super::settings::{millis, span};
use crate::cli::remote::Context;
use crate::settings::Span;

/// Receipts settled in one request.
const BATCH: usize = 1000;

#[derive(Args, Debug)]
struct Receipts {
    /// Name of the queue.
    name: String,
    /// Receipts, as `forebay queue receive` shows them.
    #[arg(required = true, value_name = "RECEIPT")]
    receipts: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Ack {
    #[command(flatten)]
    receipts: Receipts,
}

#[derive(Args, Debug)]
pub(super) struct Release {
    /// How long they wait; default: the queue's backoff.
    #[arg(long, value_name = "TIME", value_parser = span)]
    delay: Option<Span>,
    #[command(flatten)]
    receipts: Receipts,
}

#[derive(Args, Debug)]
pub(super) struct Extend {
    /// How long they are leased from now on.
    #[arg(long, value_name = "TIME", value_parser = span)]
    lease: Span,
    #[command(flatten)]
    receipts: Receipts,
}

impl Ack {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<()> {
        let ack = json!({ "action": "ack" });
        self.receipts.settle(context, &ack, "acknowledged")
    }
}

impl Release {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<()> {
        let mut release = json!({ "action": "release" });
        if let Some(delay) = self.delay {
            release["delay_ms"] = json!(millis(delay));
        }
        self.receipts.settle(context, &release, "released")
    }
}

impl Extend {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<()> {
        let extend = json!({ "action": "extend", "lease_ms": millis(self.lease) });
        self.receipts.settle(context, &extend, "extended")
    }
}

impl Receipts {
    fn settle(&self, context: &Context, action: &Value, done: &str) -> anyhow::Result<()> {
        let settles = self.receipts.iter().map(|receipt| {
            let mut settle = action.clone();
            settle["receipt"] = json!(receipt);
            settle
        });
        let settles: Vec<Value> = settles.collect();
        let count = settle(context, &self.name, &settles)?;
        let said = |_: &Value| format!("{done} {count}\n");
        context.output.print(&json!({ done: count }), said)
    }
}

/// Settles messages; returns how many. Fails when anything else became of one of them, and says what.
pub(super) fn settle(context: &Context, name: &str, settles: &[Value]) -> anyhow::Result<usize> {
    let path = path(context, name, "/settle");
    let mut failures = Vec::new();
    for batch in settles.chunks(BATCH) {
        let settled = context.api.post(&path, &json!({ "settle": batch }))?;
        let outcomes = settled["outcomes"].as_array().into_iter().flatten();
        for (settle, outcome) in batch.iter().zip(outcomes) {
            if *outcome != "done" {
                let receipt = settle["receipt"].as_str().unwrap_or_default();
                failures.push(format!("{receipt}: {}", meaning(outcome)));
            }
        }
    }
    if failures.is_empty() {
        return Ok(settles.len());
    }
    let (failed, all) = (failures.len(), settles.len());
    bail!(
        "{failed} of {all} messages were not settled\n{}",
        failures.join("\n")
    )
}

fn meaning(outcome: &Value) -> &str {
    match outcome.as_str().unwrap_or_default() {
        "expired" => {
            "the lease had run out (an ack counts nevertheless in a queue that is not FIFO)"
        }
        "stale" => "received by another consumer since",
        "gone" => "no such message any more",
        "foreign" => "the receipt belongs to another queue",
        "too_long" => "the lease would last longer than 12h altogether",
        other => other,
    }
}
