//! `forebay queue create|set`: settings as flags, written as those of the broker are.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{path, show};
use crate::cli::remote::Context;
use crate::settings::{ByteSize, Setting, Span};

/// Waits between attempts when only one of them is named.
const BASE: Span = Span(Duration::from_secs(1));
const MAX: Span = Span(Duration::from_mins(10));

#[derive(Args, Debug)]
pub(super) struct Create {
    /// Name of the queue. One that ends with `.fifo` is FIFO per message group.
    name: String,
    /// FIFO per message group.
    #[arg(long)]
    fifo: bool,
    /// Existing topic to read from; default: a new topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Make it a stream: read by position, and nothing is taken out. The same as `--type stream`.
    #[arg(long, conflicts_with_all = ["fifo", "kind"])]
    stream: bool,
    /// Type, as `x-queue-type` of RabbitMQ; default: `classic`.
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: Option<Type>,
    /// Priority levels.
    #[arg(long, value_name = "N")]
    priorities: Option<u16>,
    #[command(flatten)]
    changeable: Changeable,
    /// Queue that takes messages which failed too often.
    #[arg(long, value_name = "QUEUE", requires = "attempts")]
    dead_letter: Option<String>,
    /// Deliveries before a message is dead-lettered.
    #[arg(long, value_name = "N", requires = "dead_letter")]
    attempts: Option<u32>,
}

/// What a queue is declared as.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Type {
    /// Any feature a queue has.
    Classic,
    /// Durable, with priorities and at most 20 failed deliveries of a message, unless it says something else.
    Quorum,
    /// Read by position; nothing is taken out.
    Stream,
}

impl Type {
    fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct Set {
    /// Name of the queue.
    name: String,
    #[command(flatten)]
    changeable: Changeable,
    /// Queue that takes messages which failed too often.
    #[arg(long, value_name = "QUEUE")]
    dead_letter: Option<String>,
    /// Deliveries before a message is dead-lettered.
    #[arg(long, value_name = "N")]
    attempts: Option<u32>,
    /// Dead-letter nothing any more.
    #[arg(long, conflicts_with_all = ["dead_letter", "attempts"])]
    no_dead_letter: bool,
    /// No waits between attempts any more.
    #[arg(long, conflicts_with = "backoff")]
    no_backoff: bool,
}

/// Settings that can be changed later.
#[derive(Args, Debug)]
struct Changeable {
    /// Default visibility timeout (lease) of a received message.
    #[arg(long, value_name = "TIME", value_parser = span)]
    lease: Option<Span>,
    /// How long a new message waits when its sender names no time.
    #[arg(long, value_name = "TIME", value_parser = span)]
    delay: Option<Span>,
    /// How long messages are kept.
    #[arg(long, value_name = "TIME", value_parser = span)]
    retention: Option<Span>,
    /// How long acknowledged messages can be read by offset and replayed: `7d`.
    #[arg(long, value_name = "TIME", value_parser = span)]
    replay: Option<Span>,
    /// How much of a stream is kept.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    retention_bytes: Option<ByteSize>,
    /// Waits between attempts: `base=1s,max=10m,jitter=full`.
    #[arg(long, value_name = "WAITS", value_parser = backoff)]
    backoff: Option<Value>,
    /// Largest message.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_bytes: Option<ByteSize>,
    /// Messages in flight at most.
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,
    /// How long a deduplication id is remembered.
    #[arg(long, value_name = "TIME", value_parser = span)]
    dedup_window: Option<Span>,
}

impl Create {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut settings = self.changeable.settings(self.dead_letter, self.attempts);
        let given = [
            ("ordering", self.fifo.then(|| json!("key"))),
            ("priorities", self.priorities.map(|levels| json!(levels))),
        ];
        settings.extend(named(given));
        let mut request = json!({
            "vhost": context.vhost,
            "name": self.name,
            "settings": settings,
        });
        let stream = self.stream.then_some(Type::Stream);
        if let Some(kind) = self.kind.or(stream) {
            request["type"] = json!(kind.word());
        }
        if let Some(topic) = &self.topic {
            request["topic"] = json!(topic);
        }
        let made = context.api.post("/queues", &request)?;
        context.output.print(&made, show::queue)
    }
}

impl Set {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut settings = self.changeable.settings(self.dead_letter, self.attempts);
        let removed = [
            ("dead_letter", self.no_dead_letter.then_some(Value::Null)),
            ("backoff", self.no_backoff.then_some(Value::Null)),
        ];
        settings.extend(named(removed));
        if settings.is_empty() {
            bail!("nothing to set: name at least one setting, as `--lease 1m`");
        }
        let changes = json!({ "settings": settings });
        let changed = context
            .api
            .patch(&path(context, &self.name, ""), &changes)?;
        context.output.print(&changed, show::queue)
    }
}

impl Changeable {
    /// Only what was said: the rest is the broker's to choose.
    fn settings(self, dead_letter: Option<String>, attempts: Option<u32>) -> Map<String, Value> {
        let dead_letter: Map<String, Value> = named([
            ("queue", dead_letter.map(Value::from)),
            ("attempts_max", attempts.map(Value::from)),
        ])
        .collect();
        let dead_letter = (!dead_letter.is_empty()).then_some(Value::Object(dead_letter));
        let time = |span: Option<Span>| span.map(|span| json!(millis(span)));
        let bytes = |size: Option<ByteSize>| size.map(|size| json!(size.0));
        let given = [
            ("lease_ms", time(self.lease)),
            ("delay_ms", time(self.delay)),
            ("retention_ms", time(self.retention)),
            ("replay_ms", time(self.replay)),
            ("retention_bytes", bytes(self.retention_bytes)),
            ("dead_letter", dead_letter),
            ("backoff", self.backoff),
            ("message_bytes_max", bytes(self.max_bytes)),
            ("in_flight_max", self.in_flight.map(|most| json!(most))),
            ("dedup_window_ms", time(self.dedup_window)),
        ];
        named(given).collect()
    }
}

/// The settings that were given.
fn named<const N: usize>(
    given: [(&str, Option<Value>); N],
) -> impl Iterator<Item = (String, Value)> {
    let given = given.into_iter();
    given
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Milliseconds, as the API counts.
pub(in crate::cli) fn millis(Span(span): Span) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time, for a flag.
pub(in crate::cli) fn span(text: &str) -> Result<Span, String> {
    Span::parse(text)
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text)
}

fn backoff(text: &str) -> Result<Value, String> {
    let (mut base, mut max, mut jitter) = (BASE, MAX, true);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("base", value)) => base = Span::parse(value)?,
            Some(("max", value)) => max = Span::parse(value)?,
            Some(("jitter", "full")) => jitter = true,
            Some(("jitter", "none")) => jitter = false,
            _ => return Err("expected `base=1s,max=10m,jitter=full`, or `jitter=none`".to_owned()),
        }
    }
    Ok(json!({ "base_ms": millis(base), "max_ms": millis(max), "jitter": jitter }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_any_part() {
        let read = |text| backoff(text).unwrap();
        let of = |base_ms, max_ms, jitter| json!({ "base_ms": base_ms, "max_ms": max_ms, "jitter": jitter });
        assert_eq!(read("base=2s,max=1m,jitter=none"), of(2000, 60_000, false));
        assert_eq!(read("max=1h"), of(1000, 3_600_000, true));
        assert_eq!(read("jitter=full"), of(1000, 600_000, true));
        for wrong in [
            "",
            "base",
            "base=1",
            "base=1s;max=2s",
            "jitter=some",
            "x=1s",
        ] {
            backoff(wrong).expect_err(wrong);
        }
    }
}
