//! What all commands that talk to a running broker share: where it is, how its answers and refusals are shown.

use std::fmt;

use clap::Args;
use serde_json::{Value, json};

use super::api::{Api, escape};
use super::broker_api;
use super::output::{Output, leaf, table};

/// Things asked for at once.
const PAGE: usize = 1000;

/// Flags of every such command.
#[derive(Args, Debug)]
pub(super) struct Remote {
    /// HTTP listener of the broker; default: `FOREBAY_HTTP`, then `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDR", global = true)]
    http: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    pub(super) output: Output,
}

impl Remote {
    pub(super) fn open(self) -> anyhow::Result<Context> {
        Ok(Context {
            api: broker_api(self.http)?,
            output: self.output,
            vhost: engine::vhost::DEFAULT.to_owned(),
        })
    }
}

/// What a verb works with.
pub(super) struct Context {
    pub(super) api: Api,
    pub(super) output: Output,
    /// Where the things it is about are, if they are in a vhost.
    pub(super) vhost: String,
}

impl Context {
    /// Says that something was done with a thing of this name.
    pub(super) fn done(&self, what: &str, name: &str) -> anyhow::Result<()> {
        let said = |_: &Value| format!("{what} {name}\n");
        self.output.print(&json!({ what: name }), said)
    }

    /// Everything a resource lists, page by page. `path` has a question mark already.
    pub(super) fn list(
        &self,
        path: &str,
        member: &str,
        max: Option<usize>,
    ) -> anyhow::Result<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = String::new();
        let most = max.unwrap_or(usize::MAX);
        while all.len() < most {
            let page = PAGE.min(most - all.len());
            let answer = self.api.get(&format!("{path}&max={page}{after}"))?;
            all.extend(answer[member].as_array().into_iter().flatten().cloned());
            let Some(next) = answer["next"].as_str() else {
                break;
            };
            after = format!("&after={}", escape(next));
        }
        Ok(Value::Array(all))
    }
}

/// A table of things: headings, and the members that stand below them.
pub(super) fn rows(things: &Value, columns: &[(&str, &str)]) -> String {
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let things = things.as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = things
        .map(|thing| {
            let cells = columns.iter();
            cells.map(|(_, name)| cell(thing, name)).collect()
        })
        .collect();
    table(&headings, &rows)
}

/// A member as text, or what stands in for bytes that are none.
pub(super) fn cell(thing: &Value, name: &str) -> String {
    match thing[format!("{name}_base64")].as_str() {
        Some(coded) => format!("base64:{coded}"),
        None => leaf(name, &thing[name]),
    }
}

/// A refusal of the broker.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The problem document.
    problem: Value,
    /// What it is about was given in the names of the API, not by flags.
    is_plain: bool,
}

impl Refusal {
    /// What an answer says, if it is a refusal of the API.
    pub(super) fn of(problem: Value) -> Option<Self> {
        let is_plain = false;
        problem["detail"]
            .is_string()
            .then_some(Self { problem, is_plain })
    }

    /// An error that, if it is a refusal, keeps the names of the API.
    pub(super) fn plain(mut error: anyhow::Error) -> anyhow::Error {
        if let Some(refusal) = error.downcast_mut::<Self>() {
            refusal.is_plain = true;
        }
        error
    }

    /// The document, with its reason in the words of the command line.
    pub(super) fn document(&self) -> Value {
        let mut document = self.problem.clone();
        document["detail"] = json!(self.to_string());
        document
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    /// Names are those of flags, and numbers have the units they are given in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = &self.problem;
        if self.is_plain {
            return f.write_str(problem["detail"].as_str().unwrap_or_default());
        }
        let name = problem["parameter"].as_str();
        if let Some((name, flag)) = name.and_then(|name| Some((name, flag(name)?))) {
            let shown = ["value", "min", "max"].map(|member| leaf(name, &problem[member]));
            let [value, min, max] = shown;
            return write!(f, "{flag} {value}: expected {min} to {max}");
        }
        f.write_str(&in_flags(problem["detail"].as_str().unwrap_or_default()))
    }
}

/// A text of the API with the names of flags in place of its own.
pub(super) fn in_flags(text: &str) -> String {
    let text = PHRASES.iter().fold(text.to_owned(), |text, (said, meant)| {
        text.replace(said, meant)
    });
    FLAGS.iter().fold(text, |text, (name, flag)| {
        text.replace(&format!("`{name}`"), &format!("`{flag}`"))
    })
}

/// What is one member of a member there, and a flag of its own here.
const PHRASES: &[(&str, &str)] = &[
    (
        "`dead_letter` needs `queue`",
        "`--attempts` needs `--dead-letter`",
    ),
    (
        "`dead_letter` needs `attempts_max`",
        "`--dead-letter` needs `--attempts`",
    ),
];

/// The API's names and the flags that set them; each flag means the same in every command.
const FLAGS: &[(&str, &str)] = &[
    ("lease_ms", "--lease"),
    ("delay_ms", "--delay"),
    ("retention_ms", "--retention"),
    ("retention_bytes", "--retention-bytes"),
    ("message_bytes_max", "--max-bytes"),
    ("in_flight_max", "--in-flight"),
    ("dedup_window_ms", "--dedup-window"),
    ("replay_ms", "--replay"),
    ("attempts_max", "--attempts"),
    ("backoff.base_ms", "--backoff base"),
    ("backoff.max_ms", "--backoff max"),
    ("priorities", "--priorities"),
    ("dead_letter", "--dead-letter"),
    ("wait_ms", "--wait"),
    ("rate_max", "--rate"),
    ("destination", "--to"),
    ("max", "--max"),
    ("dedup", "--dedup"),
    ("key", "--key"),
    ("from", "--from"),
    ("offset", "--to"),
    ("partition", "--partition"),
    ("force", "--force"),
    ("listener", "--listener"),
    ("type", "--type"),
    ("stream", "--stream"),
];

fn flag(name: &str) -> Option<&'static str> {
    let known = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(known.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: Value, said: &str) {
        assert_eq!(Refusal::of(problem).unwrap().to_string(), said);
    }

    #[test]
    fn a_refusal_is_told_in_flags_and_units() {
        check(
            json!({ "detail": "there is no queue 'q'" }),
            "there is no queue 'q'",
        );
        check(
            json!({
                "detail": "`lease_ms` is 46800000: expected 0 to 43200000",
                "parameter": "lease_ms", "value": 46_800_000, "min": 0, "max": 43_200_000,
            }),
            "--lease 13h: expected 0ms to 12h",
        );
        check(
            json!({
                "detail": "", "parameter": "message_bytes_max",
                "value": 134_217_728, "min": 1, "max": 67_108_864,
            }),
            "--max-bytes 128MiB: expected 1 to 64MiB",
        );
        check(
            json!({ "detail": "in use: try `force`" }),
            "in use: try `--force`",
        );
        check(
            json!({ "detail": "`dead_letter` needs `queue`" }),
            "`--attempts` needs `--dead-letter`",
        );
        assert!(Refusal::of(json!({ "error": "x" })).is_none());
    }

    #[test]
    fn rules_have_the_names_of_the_api() {
        let problem = json!({ "detail": "expected `retention_ms` or `replay_ms`" });
        let refusal = Refusal::of(problem.clone()).unwrap();
        assert_eq!(refusal.to_string(), "expected `--retention` or `--replay`");
        let plain = Refusal::plain(refusal.into());
        assert_eq!(plain.to_string(), problem["detail"]);
    }

    #[test]
    fn what_is_no_text_is_shown_in_base_64() {
        let things = json!([{ "name": "a", "key_base64": "/w==" }, { "name": "b", "key": null }]);
        let shown = rows(&things, &[("NAME", "name"), ("KEY", "key")]);
        assert_eq!(shown, "NAME  KEY\na     base64:/w==\nb     -\n");
    }
}
