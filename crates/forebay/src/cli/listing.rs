//! `forebay exchange|binding|connection|consumer …`: what there is in a running broker, over its JSON API.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::escape;
use super::output::Output;
use super::remote::{Remote, rows};

#[derive(Args, Debug)]
pub(super) struct Exchange {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The vhost.
    #[arg(long, value_name = "NAME", default_value = "/", global = true)]
    vhost: String,
    #[command(subcommand)]
    verb: ExchangeVerb,
}

#[derive(Debug, Subcommand)]
enum ExchangeVerb {
    /// List the exchanges of a vhost.
    List,
}

impl Exchange {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let ExchangeVerb::List = self.verb;
        let path = format!("/exchanges?vhost={}", escape(&self.vhost));
        let mut listed = context.list(&path, "exchanges", None)?;
        if context.output == Output::Table {
            name_default(&mut listed);
        }
        let columns = [
            ("NAME", "name"),
            ("TYPE", "type"),
            ("DURABLE", "durable"),
            ("AUTO-DELETE", "auto_delete"),
            ("INTERNAL", "internal"),
            ("ALTERNATE", "alternate"),
        ];
        context.output.print(&listed, |e| rows(e, &columns))
    }
}

/// The default exchange has no name, and nothing is hard to see in a table.
fn name_default(exchanges: &mut Value) {
    for exchange in exchanges.as_array_mut().into_iter().flatten() {
        if exchange["name"] == "" {
            exchange["name"] = Value::from("(default)");
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct Binding {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The vhost.
    #[arg(long, value_name = "NAME", default_value = "/", global = true)]
    vhost: String,
    #[command(subcommand)]
    verb: BindingVerb,
}

#[derive(Debug, Subcommand)]
enum BindingVerb {
    /// List the bindings of a vhost; those of the default exchange are not listed.
    List {
        /// Only those that lead from this exchange.
        #[arg(long, value_name = "EXCHANGE")]
        source: Option<String>,
        /// Only those that lead to this queue or exchange.
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
    },
}

/// More bindings than the API lists at most cannot be asked for.
const BINDINGS_MAX: usize = 10_000;

impl Binding {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let BindingVerb::List {
            source,
            destination,
        } = self.verb;
        let vhost = escape(&self.vhost);
        let mut path = format!("/bindings?vhost={vhost}&max={BINDINGS_MAX}");
        for (name, value) in [("source", source), ("destination", destination)] {
            if let Some(value) = value {
                path = format!("{path}&{name}={}", escape(&value));
            }
        }
        let listed = context.api.get(&path)?;
        let columns = [
            ("SOURCE", "source"),
            ("DESTINATION", "destination"),
            ("TYPE", "destination_type"),
            ("KEY", "key"),
        ];
        let table = |bindings: &Value| rows(bindings, &columns);
        context.output.print(&listed["bindings"], table)
    }
}

#[derive(Args, Debug)]
pub(super) struct Connection {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    verb: ConnectionVerb,
}

#[derive(Debug, Subcommand)]
enum ConnectionVerb {
    /// List the connections of clients.
    List {
        /// Only those of this listener: `kafka`, `amqp`, `sqs` or `http`.
        #[arg(long, value_name = "NAME")]
        listener: Option<String>,
    },
    /// Close a connection.
    Close {
        /// Its id, as `list` shows it.
        id: String,
    },
}

impl Connection {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let listener = match self.verb {
            ConnectionVerb::List { listener } => listener,
            ConnectionVerb::Close { id } => {
                let path = format!("/connections/{}", escape(&id));
                context.api.delete(&path)?;
                return context.done("closed", &id);
            }
        };
        let listener =
            listener.map_or_else(String::new, |name| format!("listener={}", escape(&name)));
        let path = format!("/connections?{listener}");
        let listed = context.list(&path, "connections", None)?;
        let columns = [
            ("ID", "id"),
            ("LISTENER", "listener"),
            ("PEER", "peer"),
            ("USER", "user"),
            ("VHOST", "vhost"),
            ("CLIENT", "client"),
            ("SINCE", "since_ms"),
        ];
        context.output.print(&listed, |c| rows(c, &columns))
    }
}

#[derive(Args, Debug)]
pub(super) struct Consumer {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    verb: ConsumerVerb,
}

#[derive(Debug, Subcommand)]
enum ConsumerVerb {
    /// List the consumers of queues.
    List {
        /// Only those of queues in this vhost; default: of all, and with `--queue` of `/`.
        #[arg(long, value_name = "NAME")]
        vhost: Option<String>,
        /// Only those of this queue.
        #[arg(long, value_name = "NAME")]
        queue: Option<String>,
    },
}

impl Consumer {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let ConsumerVerb::List { vhost, queue } = self.verb;
        let mut path = "/consumers?".to_owned();
        for (name, value) in [("vhost", vhost), ("queue", queue)] {
            if let Some(value) = value {
                path = format!("{path}{name}={}&", escape(&value));
            }
        }
        let listed = context.list(path.trim_end_matches('&'), "consumers", None)?;
        let columns = [
            ("VHOST", "vhost"),
            ("QUEUE", "queue"),
            ("TAG", "tag"),
            ("CONNECTION", "connection"),
            ("PEER", "peer"),
            ("PRIORITY", "priority"),
            ("EXCLUSIVE", "exclusive"),
        ];
        context.output.print(&listed, |c| rows(c, &columns))
    }
}
