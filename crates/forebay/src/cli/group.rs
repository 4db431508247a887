//! `forebay group …`: the consumer groups of a running broker, over its JSON API.

use clap::{Args, Subcommand};
use engine::Clock as _;
use serde_json::{Value, json};

use super::api::escape;
use super::output::{leaf, pairs};
use super::queue::{millis, span};
use super::remote::{Remote, rows};
use crate::clock::Machine;
use crate::settings::Span;

#[derive(Args, Debug)]
pub(super) struct Group {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List consumer groups and how far they are behind.
    List(List),
    /// Show a group's members, offsets and lag.
    Describe(Named),
    /// Move a group without members to other offsets.
    Seek(Seek),
    /// Delete a group without members, and its offsets.
    Delete(Named),
}

#[derive(Args, Debug)]
struct List {
    /// Only names that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Groups at most.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
}

#[derive(Args, Debug)]
struct Named {
    /// Name of the group.
    name: String,
}

#[derive(Args, Debug)]
struct Seek {
    /// Name of the group.
    name: String,
    /// Only in this topic; default: all the group has offsets of.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only in this partition.
    #[arg(long, value_name = "N", requires = "topic")]
    partition: Option<i32>,
    /// `earliest`, `latest`, or an offset.
    #[arg(long, value_name = "WHERE", required_unless_present = "ago")]
    to: Option<String>,
    /// To the first record that is not older than this.
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "to")]
    ago: Option<Span>,
    /// Only show where the group would be moved to.
    #[arg(long)]
    dry_run: bool,
}

fn path(name: &str) -> String {
    format!("/groups/{}", escape(name))
}

impl Group {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = self.remote.open()?;
        match self.verb {
            Verb::List(List { prefix, max }) => {
                let path = format!("/groups?prefix={}", escape(&prefix));
                let listed = context.list(&path, "groups", max)?;
                let columns = [
                    ("NAME", "name"),
                    ("STATE", "state"),
                    ("MEMBERS", "members"),
                    ("LAG", "lag"),
                ];
                context.output.print(&listed, |g| rows(g, &columns))
            }
            Verb::Describe(Named { name }) => {
                let described = context.api.get(&path(&name))?;
                context.output.print(&described, show)
            }
            Verb::Seek(seek) => {
                let path = format!("{}/seek", path(&seek.name));
                let moved = context.api.post(&path, &seek.request()?)?;
                let columns = [
                    ("TOPIC", "topic"),
                    ("PARTITION", "partition"),
                    ("OFFSET", "offset"),
                ];
                let offsets = |moved: &Value| rows(&moved["offsets"], &columns);
                context.output.print(&moved, offsets)
            }
            Verb::Delete(Named { name }) => {
                context.api.delete(&path(&name))?;
                context.done("deleted", &name)
            }
        }
    }
}

impl Seek {
    fn request(&self) -> anyhow::Result<Value> {
        let mut request = json!({ "dry_run": self.dry_run });
        match (self.to.as_deref(), self.ago) {
            (Some(word @ ("earliest" | "latest")), _) => request["to"] = json!(word),
            (Some(text), _) => match text.parse::<u64>() {
                Ok(offset) => request["offset"] = json!(offset),
                Err(_) => {
                    anyhow::bail!("--to {text}: expected `earliest`, `latest` or an offset")
                }
            },
            (None, ago) => {
                let ago = millis(ago.unwrap_or(Span(std::time::Duration::ZERO)));
                request["time_ms"] = json!(Machine.wall_ms().saturating_sub(ago));
            }
        }
        if let Some(topic) = &self.topic {
            request["topic"] = json!(topic);
        }
        if let Some(partition) = self.partition {
            request["partition"] = json!(partition);
        }
        Ok(request)
    }
}

/// Everything about one group: facts, members, and how far it is in each partition.
fn show(group: &Value) -> String {
    let names = [
        "name",
        "state",
        "generation",
        "protocol_type",
        "protocol",
        "lag",
    ];
    let facts = names.map(|name| (name.to_owned(), leaf(name, &group[name])));
    let mut text = pairs(&facts);
    let members = [
        ("MEMBER", "id"),
        ("CLIENT", "client_id"),
        ("HOST", "host"),
        ("INSTANCE", "instance_id"),
    ];
    let offsets = [
        ("TOPIC", "topic"),
        ("PARTITION", "partition"),
        ("OFFSET", "offset"),
        ("END", "end"),
        ("LAG", "lag"),
    ];
    for (name, columns) in [("members", &members[..]), ("offsets", &offsets)] {
        if group[name].as_array().is_some_and(|list| !list.is_empty()) {
            text.push('\n');
            text.push_str(&rows(&group[name], columns));
        }
    }
    text
}
