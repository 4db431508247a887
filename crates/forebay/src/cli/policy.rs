//! `forebay policy …`: rules for all queues and exchanges whose names match, over the JSON API.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::api::escape;
use super::output::{leaf, table};
use super::refusal::Refusal;
use super::remote::Remote;

#[derive(Args, Debug)]
pub(super) struct Policy {
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
    /// List the policies of a vhost.
    List,
    /// Make a policy, or replace the one of its name.
    Set(Set),
    /// Remove a policy.
    Delete {
        /// Name of the policy.
        name: String,
        /// An operator policy.
        #[arg(long)]
        operator: bool,
    },
}

#[derive(Args, Debug)]
struct Set {
    /// Name of the policy.
    name: String,
    /// Regular expression; it matches wherever in a name it is found.
    pattern: String,
    /// Rules as JSON: `{"message_ttl_ms": 60000, "dead_letter_exchange": {"exchange": "dlx"}}`. The names that definitions
    /// for other AMQP brokers use are taken too: `{"message-ttl": 60000, "dead-letter-exchange": "dlx"}`.
    rules: String,
    /// What it applies to.
    #[arg(long, value_enum, default_value_t = Scope::All)]
    scope: Scope,
    /// Only the policy with the highest priority applies.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i32,
    /// An operator policy: applied as well; the stricter limit wins.
    #[arg(long)]
    operator: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scope {
    All,
    Queues,
    #[value(alias = "classic_queues")]
    ClassicQueues,
    #[value(alias = "quorum_queues")]
    QuorumQueues,
    Streams,
    Exchanges,
}

impl Scope {
    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }
}

fn kind(operator: bool) -> &'static str {
    if operator { "operator" } else { "user" }
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        let api = &context.api;
        match self.verb {
            Verb::List => {
                let path = format!("/policies?vhost={}", escape(&self.vhost));
                let listed = api.get(&path)?;
                context.output.print(&listed["policies"], show)
            }
            Verb::Set(set) => {
                let put = api.post("/policies", &set.body(&self.vhost)?);
                let put = put.map_err(Refusal::plain)?;
                let mut err = io::stderr().lock();
                for warning in put["warnings"].as_array().into_iter().flatten() {
                    let warning = warning.as_str().unwrap_or_default();
                    // It was put, whether or not this can be shown.
                    let _ = writeln!(err, "warning: {warning}");
                }
                drop(err);
                context.output.print(&json!([put]), show)
            }
            Verb::Delete { name, operator } => {
                let (path, kind) = (escape(&name), kind(operator));
                let vhost = escape(&self.vhost);
                api.delete(&format!("/policies/{path}?vhost={vhost}&kind={kind}"))?;
                context.done("deleted", &name)
            }
        }
    }
}

impl Set {
    fn body(&self, vhost: &str) -> anyhow::Result<Value> {
        let rules: Value = serde_json::from_str(&self.rules).context("the rules are not JSON")?;
        Ok(json!({
            "vhost": vhost,
            "name": self.name,
            "kind": kind(self.operator),
            "pattern": self.pattern,
            "scope": self.scope.word(),
            "priority": self.priority,
            "rules": rules,
        }))
    }
}

fn show(policies: &Value) -> String {
    let all = policies.as_array().into_iter().flatten();
    let rows = all.map(|policy| {
        let names = ["name", "kind", "pattern", "scope", "priority"];
        let mut row: Vec<String> = names.iter().map(|name| leaf(name, &policy[name])).collect();
        row.push(policy["rules"].to_string());
        row
    });
    let headings = ["NAME", "KIND", "PATTERN", "SCOPE", "PRIORITY", "RULES"];
    table(&headings, &rows.collect::<Vec<_>>())
}
