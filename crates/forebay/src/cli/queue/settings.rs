//! `forebay queue create`: settings as flags, written as those of the broker are.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Context, show};
use crate::settings::{ByteSize, Setting, Span};

/// Waits between attempts when only one of them is named.
const BASE: Span = Span(Duration::from_secs(1));
const MAX: Span = Span(Duration::from_mins(10));

#[derive(Args, Debug)]
pub(super) struct Create {
    /// Name of the queue.
    name: String,
    /// Lend strictly in order per key.
    #[arg(long)]
    fifo: bool,
    /// Topic to lend from; else one of the queue's own.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// How long a message is lent when the receiver names no time.
    #[arg(long, value_name = "TIME", value_parser = span)]
    lease: Option<Span>,
    /// How long a new message waits when its sender names no time.
    #[arg(long, value_name = "TIME", value_parser = span)]
    delay: Option<Span>,
    /// How long messages are kept.
    #[arg(long, value_name = "TIME", value_parser = span)]
    retention: Option<Span>,
    /// How long acknowledged messages can be read by offset and replayed: `7d`.
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "stream")]
    replay: Option<Span>,
    /// Make it a stream: read by position, and nothing is taken out.
    #[arg(long)]
    stream: bool,
    /// How much of a stream is kept.
    #[arg(long, value_name = "BYTES", value_parser = size, requires = "stream")]
    retention_bytes: Option<ByteSize>,
    /// Queue that takes messages which failed too often.
    #[arg(long, value_name = "QUEUE", requires = "attempts")]
    dead_letter: Option<String>,
    /// Times a message may be lent before it goes there.
    #[arg(long, value_name = "N", requires = "dead_letter")]
    attempts: Option<u32>,
    /// Waits between attempts: `base=1s,max=10m,jitter=full`.
    #[arg(long, value_name = "WAITS", value_parser = backoff)]
    backoff: Option<Value>,
    /// Priority levels.
    #[arg(long, value_name = "N")]
    priorities: Option<u16>,
    /// Largest message.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_bytes: Option<ByteSize>,
}

impl Create {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut request = json!({ "name": self.name });
        if let Some(topic) = &self.topic {
            request["topic"] = json!(topic);
        }
        request["settings"] = Value::Object(self.settings());
        let made = context.api.post("/queues", &request)?;
        context.output.print(&made, show::queue)
    }

    /// Only what was said: the rest is the broker's to choose.
    fn settings(self) -> Map<String, Value> {
        let dead_letter = self.dead_letter.map(|queue| {
            let attempts = self.attempts;
            json!({ "queue": queue, "attempts_max": attempts })
        });
        let given = [
            ("ordering", self.fifo.then(|| json!("key"))),
            ("lease_ms", self.lease.map(|span| json!(millis(span)))),
            ("delay_ms", self.delay.map(|span| json!(millis(span)))),
            (
                "retention_ms",
                self.retention.map(|span| json!(millis(span))),
            ),
            ("replay_ms", self.replay.map(|span| json!(millis(span)))),
            ("stream", self.stream.then_some(json!(true))),
            (
                "retention_bytes",
                self.retention_bytes.map(|size| json!(size.0)),
            ),
            ("dead_letter", dead_letter),
            ("backoff", self.backoff),
            ("priorities", self.priorities.map(|levels| json!(levels))),
            (
                "message_bytes_max",
                self.max_bytes.map(|size| json!(size.0)),
            ),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Milliseconds, as the API counts.
pub(super) fn millis(Span(span): Span) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time, for a flag.
pub(super) fn span(text: &str) -> Result<Span, String> {
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
