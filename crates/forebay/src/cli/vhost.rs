//! `forebay vhost …`: separate name spaces for queues, exchanges and policies, over the JSON API.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::api::escape;
use super::broker_api;
use super::output::{Output, leaf, table};

#[derive(Args, Debug)]
pub(super) struct Vhost {
    /// HTTP listener of the broker; else `FOREBAY_HTTP`, else `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDR", global = true)]
    http: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
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
        let api = broker_api(self.http)?;
        match self.verb {
            Verb::List => {
                let listed = api.get("/vhosts")?;
                self.output.print(&listed["vhosts"], show)
            }
            Verb::Create { name } => {
                let made = api.post("/vhosts", &json!({ "name": name }))?;
                self.output.print(&made, |made| show(&json!([made])))
            }
            Verb::Trace { name, state } => {
                let change = json!({ "traced": state == Switch::On });
                let path = format!("/vhosts/{}", escape(&name));
                let changed = api.patch(&path, &change)?;
                self.output.print(&changed, |made| show(&json!([made])))
            }
            Verb::Delete { name } => {
                api.delete(&format!("/vhosts/{}", escape(&name)))?;
                let said = |_: &Value| format!("deleted {name}\n");
                self.output.print(&json!({ "deleted": name }), said)
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
