//! `forebay vhost …`: separate name spaces for queues, exchanges and policies, over the JSON API.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::api::escape;
use super::output::{leaf, table};
use super::remote::Remote;

#[derive(Args, Debug)]
pub(super) struct Vhost {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the vhosts.
    List,
    /// Create a vhost, unless it exists.
    Create {
        /// Name of the vhost.
        name: String,
    },
    /// Publish copies of what AMQP clients publish and are delivered in a vhost to its exchange `amq.rabbitmq.trace`, or
    /// stop doing so. A restart stops it too.
    Trace {
        /// Name of the vhost.
        name: String,
        /// `on` or `off`.
        #[arg(value_enum)]
        state: Switch,
    },
    /// Delete a vhost with all queues, exchanges, bindings and policies in it.
    Delete {
        /// Name of the vhost.
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Vhost {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let api = &context.api;
        match self.verb {
            Verb::List => {
                let listed = api.get("/vhosts")?;
                context.output.print(&listed["vhosts"], show)
            }
            Verb::Create { name } => {
                let made = api.post("/vhosts", &json!({ "name": name }))?;
                context.output.print(&made, |made| show(&json!([made])))
            }
            Verb::Trace { name, state } => {
                let change = json!({ "traced": state == Switch::On });
                let path = format!("/vhosts/{}", escape(&name));
                let changed = api.patch(&path, &change)?;
                context.output.print(&changed, |made| show(&json!([made])))
            }
            Verb::Delete { name } => {
                api.delete(&format!("/vhosts/{}", escape(&name)))?;
                context.done("deleted", &name)
            }
        }
    }
}

fn show(vhosts: &Value) -> String {
    let all = vhosts.as_array().into_iter().flatten();
    let rows = all.map(|vhost| {
        let names = [
            "name",
            "created_ms",
            "queues",
            "exchanges",
            "bindings",
            "traced",
        ];
        let row = names.iter().map(|name| leaf(name, &vhost[name]));
        row.collect::<Vec<_>>()
    });
    let headings = [
        "NAME",
        "CREATED",
        "QUEUES",
        "EXCHANGES",
        "BINDINGS",
        "TRACED",
    ];
    table(&headings, &rows.collect::<Vec<_>>())
}
