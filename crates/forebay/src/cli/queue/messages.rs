//! `forebay queue send|receive|peek|replay`: messages in and out.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::settings::{millis, span};
use super::settle::settle;
use super::{path, show};
use crate::cli::remote::Context;
use crate::settings::Span;

/// Largest body read from standard input, bytes; the API takes no larger request.
const BODY_BYTES_MAX: u64 = 16 << 20;

#[derive(Args, Debug)]
pub(super) struct Send {
    /// Name of the queue.
    name: String,
    /// The message; `-`, or nothing, reads it from standard input.
    body: Option<String>,
    /// Message key (message group).
    #[arg(long)]
    key: Option<String>,
    /// A header; may be given many times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// How long it waits before it can be received.
    #[arg(long, value_name = "TIME", value_parser = span)]
    delay: Option<Span>,
    /// Repeats with the same id are dropped.
    #[arg(long, value_name = "ID")]
    dedup: Option<String>,
    /// Greater comes first, where the queue has priorities.
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
}

/// A name and a value, for a flag.
pub(in crate::cli) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Send {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let path = path(context, &self.name, "/messages");
        let request = json!({ "messages": [self.message()?] });
        let sent = context.api.post(&path, &request)?;
        context.output.print(&sent["messages"][0], show::sent)
    }

    fn message(self) -> anyhow::Result<Value> {
        let mut message = match self.body {
            Some(body) if body != "-" => json!({ "body": body }),
            _ => match String::from_utf8(standard_input()?) {
                Ok(text) => json!({ "body": text }),
                Err(error) => json!({ "body_base64": STANDARD.encode(error.as_bytes()) }),
            },
        };
        let given = [
            ("key", self.key.map(|key| json!(key))),
            ("delay_ms", self.delay.map(|span| json!(millis(span)))),
            ("dedup", self.dedup.map(|id| json!(id))),
            ("priority", self.priority.map(|priority| json!(priority))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                message[name] = value;
            }
        }
        let headers = self.header.iter();
        message["headers"] = headers
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        Ok(message)
    }
}

/// All of standard input.
pub(in crate::cli) fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut input = io::stdin().lock().take(BODY_BYTES_MAX + 1);
    let read = input.read_to_end(&mut body);
    read.context("cannot read the message from standard input")?;
    if body.len() as u64 > BODY_BYTES_MAX {
        bail!("the message is larger than {BODY_BYTES_MAX} bytes");
    }
    Ok(body)
}

#[derive(Args, Debug)]
pub(super) struct Receive {
    /// Name of the queue.
    name: String,
    /// Messages at most.
    #[arg(long, value_name = "N", default_value_t = 1)]
    max: usize,
    /// How long to wait for the first one.
    #[arg(long, value_name = "TIME", value_parser = span)]
    wait: Option<Span>,
    /// Visibility timeout; default: the queue's lease.
    #[arg(long, value_name = "TIME", value_parser = span)]
    lease: Option<Span>,
    /// Acknowledge them once they are shown.
    #[arg(long)]
    ack: bool,
}

impl Receive {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let wait = self.wait.unwrap_or(Span(Duration::ZERO));
        let mut request = json!({ "max": self.max, "wait_ms": millis(wait) });
        if let Some(lease) = self.lease {
            request["lease_ms"] = json!(millis(lease));
        }
        let receive = path(context, &self.name, "/receive");
        let received = context.api.post_and_wait(&receive, &request, wait.0)?;
        // Shown first: what could not be shown is not lost.
        context
            .output
            .print(&received["messages"], show::received)?;
        let receipts = received["messages"].as_array().into_iter().flatten();
        let settles = receipts.map(|m| json!({ "receipt": m["receipt"], "action": "ack" }));
        let settles: Vec<Value> = settles.collect();
        if self.ack && !settles.is_empty() {
            settle(context, &self.name, &settles)?;
        }
        Ok(())
    }
}

/// Messages shown when nothing is said.
const PEEKED: usize = 10;

#[derive(Args, Debug)]
pub(super) struct Peek {
    /// Name of the queue.
    name: String,
    /// Sequence of the first message to look at.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    from: u64,
    /// Messages at most, up to 100; default: 10.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
}

impl Peek {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<()> {
        let (from, max) = (self.from, self.max.unwrap_or(PEEKED));
        let path = path(context, &self.name, "/messages");
        let path = format!("{path}&from={from}&max={max}");
        let seen = context.api.get(&path)?;
        context.output.print(&seen["messages"], show::messages)?;
        if self.max.is_none() && !seen["next"].is_null() {
            let next = &seen["next"];
            // Who does not read it does without it.
            let _ = writeln!(
                io::stderr(),
                "{PEEKED} messages shown, and there may be more: `--max N` shows up to 100, `--from {next}` the next ones"
            );
        }
        Ok(())
    }
}

#[derive(Args, Debug)]
pub(super) struct Replay {
    /// Name of the queue.
    name: String,
    /// Sequence of the first message to make ready again; 0 takes all that are still there.
    #[arg(long, value_name = "SEQUENCE")]
    from: u64,
}

impl Replay {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<()> {
        let path = path(context, &self.name, "/replay");
        let replayed = context.api.post(&path, &json!({ "from": self.from }))?;
        context.output.print(&replayed, show::replayed)
    }
}
