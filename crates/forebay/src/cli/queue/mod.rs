//! `forebay queue …`: the queues of a running broker, over its JSON API.

mod messages;
mod place;
mod redrive;
mod settings;
mod settle;
mod show;

use clap::{Args, Subcommand};
use serde_json::json;

use super::api::escape;
use super::remote::{Context, Remote};

use place::path;

pub(super) use messages::{header, standard_input};
pub(super) use settings::{millis, span};

#[derive(Args, Debug)]
pub(super) struct Queue {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The vhost.
    #[arg(long, value_name = "NAME", default_value = "/", global = true)]
    vhost: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues and how full they are.
    List(List),
    /// Create a queue.
    Create(settings::Create),
    /// Show everything about a queue.
    Describe(Named),
    /// Change a queue's settings.
    Set(settings::Set),
    /// Delete a queue, and the topic that was made for it.
    Delete(Delete),
    /// Send a message.
    Send(messages::Send),
    /// Receive messages.
    Receive(messages::Receive),
    /// Acknowledge in-flight messages.
    Ack(settle::Ack),
    /// Release in-flight messages: they are ready again, at once or after a delay.
    Release(settle::Release),
    /// Extend the lease (visibility timeout) of in-flight messages.
    Extend(settle::Extend),
    /// Browse messages without changing state.
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

#[derive(Args, Debug)]
struct Delete {
    /// Name of the queue.
    name: String,
    /// Also when it takes the dead letters of other queues, which then stay there.
    #[arg(long)]
    force: bool,
}

impl Queue {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = Context {
            vhost: self.vhost,
            ..self.remote.open()?
        };
        match self.verb {
            Verb::List(list) => list.run(&context),
            Verb::Create(create) => create.run(&context),
            Verb::Describe(named) => {
                let described = context.api.get(&path(&context, &named.name, ""))?;
                context.output.print(&described, show::queue)
            }
            Verb::Set(set) => set.run(&context),
            Verb::Delete(Delete { name, force }) => {
                let path = path(&context, &name, "");
                context.api.delete(&format!("{path}&force={force}"))?;
                context.done("deleted", &name)
            }
            Verb::Send(send) => send.run(&context),
            Verb::Receive(receive) => receive.run(&context),
            Verb::Ack(ack) => ack.run(&context),
            Verb::Release(release) => release.run(&context),
            Verb::Extend(extend) => extend.run(&context),
            Verb::Peek(peek) => peek.run(&context),
            Verb::Purge(named) => {
                let path = path(&context, &named.name, "/purge");
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

impl List {
    fn run(&self, context: &Context) -> anyhow::Result<()> {
        let (prefix, vhost) = (escape(&self.prefix), escape(&context.vhost));
        let path = format!("/queues?vhost={vhost}&prefix={prefix}");
        let queues = context.list(&path, "queues", self.max)?;
        context.output.print(&queues, show::queues)
    }
}
