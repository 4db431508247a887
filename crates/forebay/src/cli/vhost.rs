//! `forebay vhost …`: separate name spaces for queues, exchanges and policies, over the JSON API.

use clap::{Args, Subcommand};
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
    /// Delete a vhost with all queues, exchanges, bindings and policies in it.
    Delete {
        /// Name of the vhost.
        name: String,
    },
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
        let names = ["name", "created_ms", "queues", "exchanges", "bindings"];
        let row = names.iter().map(|name| leaf(name, &vhost[name]));
        row.collect::<Vec<_>>()
    });
    let headings = ["NAME", "CREATED", "QUEUES", "EXCHANGES", "BINDINGS"];
    table(&headings, &rows.collect::<Vec<_>>())
}
