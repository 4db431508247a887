//! `forebay config …`: the settings as the broker would see them.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{Output, print};
use super::{Flags, yaml};
use crate::settings::{Entry, reference_page};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting and its value.
    Show(Show),
    /// Print the reference page of all settings (Markdown).
    Reference,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Also show where each value comes from.
    #[arg(long)]
    origin: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let text = match command {
        Command::Show(show) => show.text()?,
        Command::Reference => reference_page(),
    };
    print(&text)
}

impl Show {
    fn text(self) -> anyhow::Result<String> {
        let sources = self.flags.into_sources()?;
        let (_, entries) = sources.resolve()?;
        for warning in sources.warnings() {
            let _ = writeln!(io::stderr(), "forebay: {warning}");
        }
        match self.output {
            Output::Table => Ok(table(&entries, self.origin)),
            Output::Json => {
                let text = serde_json::to_string_pretty(&document(&entries, self.origin))?;
                Ok(text + "\n")
            }
            Output::Yaml => Ok(yaml::write(&document(&entries, self.origin))),
        }
    }
}

fn table(entries: &[Entry], origin: bool) -> String {
    let width = |of: fn(&Entry) -> &str| {
        entries
            .iter()
            .map(|entry| of(entry).len())
            .max()
            .unwrap_or(0)
    };
    let (keys, values) = (width(|entry| entry.key), width(|entry| &entry.value));
    let lines = entries.iter().map(|entry| {
        let origin = if origin { entry.origin.as_str() } else { "" };
        let line = format!("{:keys$}  {:values$}  {origin}", entry.key, entry.value);
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

fn document(entries: &[Entry], origin: bool) -> Value {
    let entries = entries.iter().map(|entry| {
        let mut shown = json!({ "key": entry.key, "value": entry.value });
        if origin {
            shown["origin"] = json!(entry.origin);
        }
        shown
    });
    entries.collect()
}
