//! `forebay queue …`: the queues of a running broker, over its JSON API.

mod messages;
mod redrive;
mod settings;
mod show;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, escape};
use super::broker_api;
use super::output::Output;

/// Queues asked for at once.
const PAGE: usize = 1000;

#[derive(Args, Debug)]
pub(super) struct Queue {
    /// HTTP listener of the broker; else `FOREBAY_HTTP`, else `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDR", global = true)]
    http: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues and how full they are.
    List(List),
    /// Make a queue.
    Create(settings::Create),
    /// Show everything about a queue.
    Describe(Named),
    /// Remove a queue, and the topic that was made for it.
    Delete(Named),
    /// Send a message.
    Send(messages::Send),
    /// Borrow messages.
    Receive(messages::Receive),
    /// Look at messages without borrowing them.
    Peek(messages::Peek),
    /// Drop all messages.
    Purge(Named),
    /// Move dead letters back to where they came from, or elsewhere.
    Redrive(redrive::Redrive),
    /// Make acknowledged messages ready again.
    Replay(messages::Replay),
}

#[derive(Args, Debug)]
struct List {
    /// Only names that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Queues at most.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
}

#[derive(Args, Debug)]
struct Named {
    /// Name of the queue.
    name: String,
}

/// What a verb works with.
struct Context {
    api: Api,
    output: Output,
}

impl Queue {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = Context {
            api: broker_api(self.http)?,
            output: self.output,
        };
        match self.verb {
            Verb::List(list) => list.run(&context),
            Verb::Create(create) => create.run(&context),
            Verb::Describe(named) => {
                let described = context.api.get(&path(&named.name))?;
                context.output.print(&described, show::queue)
            }
            Verb::Delete(named) => {
                context.api.delete(&path(&named.name))?;
                context.done("deleted", &named.name)
            }
            Verb::Send(send) => send.run(&context),
            Verb::Receive(receive) => receive.run(&context),
            Verb::Peek(peek) => peek.run(&context),
            Verb::Purge(named) => {
                let path = format!("{}/purge", path(&named.name));
                let mut purged = context.api.post(&path, &json!({}))?;
                if !purged.is_object() {
                    purged = json!({});
                }
                purged["purged"] = json!(named.name);
                context.output.print(&purged, show::purged)
            }
            Verb::Redrive(redrive) => redrive.run(&context),
            Verb::Replay(replay) => replay.run(&context),
        }
    }
}

impl Context {
    /// Says that something was done with a queue.
    fn done(&self, what: &str, name: &str) -> anyhow::Result<()> {
        let said = |_: &Value| format!("{what} {name}\n");
        self.output.print(&json!({ what: name }), said)
    }
}

/// Where a queue is in the API.
fn path(name: &str) -> String {
    format!("/queues/{}", escape(name))
}

impl List {
    fn run(&self, context: &Context) -> anyhow::Result<()> {
        let mut queues: Vec<Value> = Vec::new();
        let mut after: Option<String> = None;
        let most = self.max.unwrap_or(usize::MAX);
        while queues.len() < most {
            let max = PAGE.min(most - queues.len());
            let mut path = format!("/queues?prefix={}&max={max}", escape(&self.prefix));
            if let Some(after) = &after {
                path = format!("{path}&after={}", escape(after));
            }
            let page = context.api.get(&path)?;
            queues.extend(page["queues"].as_array().into_iter().flatten().cloned());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = Some(next.to_owned());
        }
        context.output.print(&Value::Array(queues), show::queues)
    }
}
