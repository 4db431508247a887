//! `forebay queue redrive`: start, try out, watch and stop move tasks.

use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{path, show};
use crate::cli::api::escape;
use crate::cli::refusal::in_flags;
use crate::cli::remote::Context;

/// How long between two looks at a task that is waited for.
const LOOK: Duration = Duration::from_millis(200);

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
    /// Only show how many there are and where they would go.
    #[arg(long)]
    dry_run: bool,
    /// Wait until the task has ended, and show its progress.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// List the last tasks instead.
    #[arg(long, conflicts_with_all = ["to", "rate", "dry_run", "cancel", "wait"])]
    list: bool,
    /// Stop this task instead.
    #[arg(long, value_name = "TASK", conflicts_with_all = ["to", "rate", "dry_run", "wait"])]
    cancel: Option<String>,
}

impl Redrive {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = self.name.clone();
        let place = |what: &str| path(context, &name, &format!("/redrive{what}"));
        let path = place("");
        if self.list {
            let tasks = context.api.get(&path)?;
            return context.output.print(&tasks["tasks"], show::tasks);
        }
        if let Some(task) = &self.cancel {
            let path = place(&format!("/{}", escape(task)));
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
        if self.wait {
            return wait(context, &path, answer);
        }
        let table = if self.dry_run {
            show::preview
        } else {
            show::task
        };
        context.output.print(&answer, table)
    }
}

/// Looks at a task again and again until it has ended; fails when it did not complete.
fn wait(context: &Context, path: &str, mut task: Value) -> anyhow::Result<()> {
    let id = task["id"].clone();
    let mut shown = String::new();
    while matches!(task["state"].as_str(), Some("running" | "cancelling")) {
        let progress = format!("moved {} of {}", task["moved"], task["to_move"]);
        // Progress is not the answer, and a script reads the answer alone.
        if progress != shown {
            let _ = writeln!(std::io::stderr(), "{progress}");
            shown = progress;
        }
        context.api.pause(LOOK);
        let tasks = context.api.get(path)?;
        let mut all = tasks["tasks"].as_array().into_iter().flatten();
        let found = all.find(|known| known["id"] == id);
        let Some(found) = found else {
            bail!("the task {id} is not known any more");
        };
        task = found.clone();
    }
    context.output.print(&task, show::task)?;
    let failure = task["failure"].as_str().unwrap_or("no reason was given");
    match task["state"].as_str() {
        Some("completed") => Ok(()),
        Some("failed") => bail!("the task failed: {}", in_flags(failure)),
        _ => bail!("the task was cancelled"),
    }
}
