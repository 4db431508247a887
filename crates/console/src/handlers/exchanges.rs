//! Exchanges and bindings, as they stand.

use axum::Json;
use axum::extract::State;
use engine::exchange::{Arguments, Binding, Destination, Exchange, Value as Argument};
use engine::{Access, vhost};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::queues::{check_vhost, cut, page_size};
use crate::error::Outcome;
use crate::message::put;
use crate::request::Params;

/// Things on one page at most …
const PAGE_MAX: usize = 10_000;
/// … and when nothing is said.
const PAGE: usize = 1000;

fn default_vhost() -> String {
    vhost::DEFAULT.to_owned()
}

/// Which exchanges are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    #[serde(default = "default_vhost")]
    vhost: String,
    after: Option<String>,
    max: Option<usize>,
}

pub(crate) async fn list(
    State(broker): State<Access>,
    Params(listing): Params<Listing>,
) -> Outcome<Json<Value>> {
    let max = page_size("max", listing.max, PAGE, PAGE_MAX)?;
    check_vhost(&broker, &listing.vhost)?;
    let all = broker.exchanges(&listing.vhost);
    let seen = all.iter().filter(|exchange| {
        let after = listing.after.as_deref();
        after.is_none_or(|after| &*exchange.name > after)
    });
    let (page, next) = cut(seen, max);
    let shown: Vec<Value> = page.iter().map(|exchange| show(exchange)).collect();
    let mut answer = json!({ "exchanges": shown });
    if let Some(last) = next {
        answer["next"] = json!(*last.name);
    }
    Ok(Json(answer))
}

fn show(exchange: &Exchange) -> Value {
    let document = &exchange.document;
    json!({
        "vhost": *exchange.vhost,
        "name": *exchange.name,
        "type": document.kind.name(),
        "durable": exchange.durable,
        "auto_delete": document.auto_delete,
        "internal": document.internal,
        "alternate": document.alternate,
        "arguments": arguments(&document.arguments),
    })
}

/// Which bindings are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bindings {
    #[serde(default = "default_vhost")]
    vhost: String,
    /// Those that lead from this exchange.
    source: Option<String>,
    /// Those that lead to this queue or exchange.
    destination: Option<String>,
    max: Option<usize>,
}

pub(crate) async fn bindings(
    State(broker): State<Access>,
    Params(asked): Params<Bindings>,
) -> Outcome<Json<Value>> {
    let max = page_size("max", asked.max, PAGE, PAGE_MAX)?;
    check_vhost(&broker, &asked.vhost)?;
    let all = match &asked.source {
        Some(source) => broker.bindings_from(&asked.vhost, source),
        None => broker.bindings(&asked.vhost),
    };
    let wanted = asked.destination.as_deref();
    let mut seen: Vec<Binding> = all
        .into_iter()
        .filter(|binding| wanted.is_none_or(|wanted| place(&binding.destination).1 == wanted))
        .collect();
    seen.sort_by(|a, b| key(a).cmp(&key(b)));
    let complete = seen.len() <= max;
    seen.truncate(max);
    let shown: Vec<Value> = seen.iter().map(show_binding).collect();
    let answer = json!({ "bindings": shown, "complete": complete });
    Ok(Json(answer))
}

fn key(binding: &Binding) -> (&str, &Destination, &[u8]) {
    (&binding.source, &binding.destination, &binding.key)
}

fn place(destination: &Destination) -> (&'static str, &str) {
    match destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    }
}

fn show_binding(binding: &Binding) -> Value {
    let (kind, name) = place(&binding.destination);
    let mut shown = Map::new();
    shown.insert("vhost".to_owned(), json!(binding.vhost));
    shown.insert("source".to_owned(), json!(binding.source));
    shown.insert("destination".to_owned(), json!(name));
    shown.insert("destination_type".to_owned(), json!(kind));
    put(&mut shown, "key", &binding.key);
    shown.insert("arguments".to_owned(), arguments(&binding.arguments));
    Value::Object(shown)
}

fn arguments(arguments: &Arguments) -> Value {
    let shown = arguments.iter();
    let shown = shown.map(|(name, value)| (name.clone(), argument(value)));
    Value::Object(shown.collect())
}

fn argument(value: &Argument) -> Value {
    match value {
        Argument::Void => Value::Null,
        Argument::Bool(word) => json!(word),
        Argument::Int(number) => json!(number),
        Argument::Float(number) => json!(number),
        Argument::Text(text) => json!(String::from_utf8_lossy(text)),
        Argument::Time(seconds) => json!(seconds),
        Argument::Array(values) => values.iter().map(argument).collect(),
        Argument::Table(table) => arguments(table),
        Argument::Other { bytes, .. } => json!(String::from_utf8_lossy(bytes)),
    }
}
