//! `forebay queue redrive`: start, try out, watch and stop move tasks.

use clap::Args;
use serde_json::{Value, json};

use super::{Context, path, show};
use crate::cli::api::escape;

#[derive(Args, Debug)]
pub(super) struct Redrive {
    /// Name of the queue that has the dead letters.
    name: String,
    /// Move them here; else each to where it came from.
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// Messages per second at most.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Only tell how many there are and where they would go.
    #[arg(long)]
    dry_run: bool,
    /// List the last tasks instead.
    #[arg(long, conflicts_with_all = ["to", "rate", "dry_run", "cancel"])]
    list: bool,
    /// Stop this task instead.
    #[arg(long, value_name = "TASK", conflicts_with_all = ["to", "rate", "dry_run"])]
    cancel: Option<String>,
}

impl Redrive {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let path = format!("{}/redrive", path(&self.name));
        if self.list {
            let tasks = context.api.get(&path)?;
            return context.output.print(&tasks["tasks"], show::tasks);
        }
        if let Some(task) = &self.cancel {
            let path = format!("{path}/{}", escape(task));
            let ended = context.api.delete(&path)?;
            return context.output.print(&ended, show::task);
        }
        let mut request = json!({ "dry_run": self.dry_run });
        if let Some(to) = self.to {
            request["destination"] = Value::String(to);
        }
        if let Some(rate) = self.rate {
            request["rate_max"] = json!(rate);
        }
        let answer = context.api.post(&path, &request)?;
        let table = if self.dry_run {
            show::preview
        } else {
            show::task
        };
        context.output.print(&answer, table)
    }
}
