//! What all commands that talk to a running broker share: where it is, how its answers and refusals are shown.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::api::{Api, escape};
use super::output::{Output, leaf, table};

/// Things asked for at once.
const PAGE: usize = 1000;
/// Where a broker's HTTP listener is by default.
const HTTP: &str = "127.0.0.1:8080";
/// Where commands that talk to a broker find one, when no flag says it.
const HTTP_VARIABLE: &str = "FOREBAY_HTTP";

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

/// The API of the broker a flag names, else the environment, else the usual one.
fn broker_api(http: Option<String>) -> anyhow::Result<Api> {
    let http = match http {
        Some(http) => Some(http),
        None => environment_http()?,
    };
    Api::new(http.as_deref().unwrap_or(HTTP))
}

/// The address in the environment, for commands that talk to a broker. It is no setting of a broker's, and therefore
/// has a name of another form.
fn environment_http() -> anyhow::Result<Option<String>> {
    match std::env::var(HTTP_VARIABLE) {
        Ok(address) => Ok(Some(address).filter(|address| !address.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            bail!("the environment variable {HTTP_VARIABLE} is not valid UTF-8")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_shown_in_base_64() {
        let things = json!([{ "name": "a", "key_base64": "/w==" }, { "name": "b", "key": null }]);
        let shown = rows(&things, &[("NAME", "name"), ("KEY", "key")]);
        assert_eq!(shown, "NAME  KEY\na     base64:/w==\nb     -\n");
    }
}
