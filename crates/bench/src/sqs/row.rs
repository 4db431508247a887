//! One measurement, and how it is printed.

use serde::Serialize;

use super::load::Action;
use super::options::Kind;
use crate::report::{Latency, Tabular, grouped};
use crate::usage::Spent;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// The requests of one turn.
    pub(super) action: &'static str,
    /// `standard` or `FIFO`.
    pub(super) queue: &'static str,
    pub(super) signed: bool,
    /// Messages in the queue before its first row.
    pub(super) depth: u64,
    pub(super) connections: u16,
    pub(super) body_bytes: u32,
    pub(super) requests: u64,
    pub(super) messages: u64,
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) messages_per_second: f64,
    /// Of a turn: a send, or a receive and the delete of what it got.
    pub(super) latency_ms: Option<Latency>,
    /// Absent where the broker does not tell.
    pub(super) broker: Option<Cost>,
    pub(super) client: Cost,
}

/// What a process spent on the row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    pub(super) cpu_seconds: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) cpu_us_per_message: f64,
    pub(super) resident_mib: f64,
}

/// Under which conditions a row was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) action: Action,
    pub(super) kind: Kind,
    pub(super) signed: bool,
    pub(super) depth: u64,
}

impl Cost {
    /// `spent` for so many requests and messages.
    pub(super) fn new(spent: Spent, requests: u64, messages: u64) -> Self {
        let micros = spent.cpu_seconds * 1e6;
        Self {
            cpu_seconds: spent.cpu_seconds,
            cpu_us_per_request: micros / requests as f64,
            cpu_us_per_message: micros / messages as f64,
            resident_mib: spent.resident_bytes as f64 / f64::from(1 << 20),
        }
    }
}

impl Tabular for Row {
    const HEAD: &'static str = "action                        queue    signed    depth | requests/s     msgs/s |   p50 ms   p99 ms  p999 ms \
        | broker µs/request  µs/msg RSS MiB | client µs/request";
    const LEGEND: &'static str = "Latency: closed loop, of a turn (a send; or a receive and the delete of what it got). \
        µs/request, µs/msg: CPU time. RSS: the broker's at the end of the row.";

    fn line(&self) -> String {
        let what = format!(
            "{:29} {:8} {:6} {:8}",
            self.action,
            self.queue,
            yes(self.signed),
            self.depth
        );
        let speed = format!(
            "{:10.0} {:10.0}",
            self.requests_per_second, self.messages_per_second
        );
        let latency = self.latency_ms.map_or_else(
            || format!("{:>8} {:>8} {:>8}", "-", "-", "-"),
            |l| format!("{:8.3} {:8.3} {:8.3}", l.p50, l.p99, l.p999),
        );
        let broker = self.broker.map_or_else(
            || format!("{:>17} {:>7} {:>7}", "-", "-", "-"),
            |cost| {
                format!(
                    "{:17.1} {:7.2} {:7.1}",
                    cost.cpu_us_per_request, cost.cpu_us_per_message, cost.resident_mib
                )
            },
        );
        let client = self.client.cpu_us_per_request;
        format!("{what} | {speed} | {latency} | {broker} | {client:17.1}")
    }

    /// The same rows as a table of `docs/reference/performance.md`.
    fn summary(rows: &[Self]) -> String {
        let mut text = String::from(
            "\n| action | queue | signed | depth | requests/s | messages/s | p50 / p99 / p99.9 ms \
             | broker CPU µs/request | µs/message | broker RSS MiB |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        text.extend(rows.iter().map(Self::markdown));
        text
    }
}

impl Row {
    fn markdown(&self) -> String {
        let latency = self.latency_ms.map_or_else(
            || "–".to_owned(),
            |l| format!("{:.1} / {:.1} / {:.1}", l.p50, l.p99, l.p999),
        );
        let broker = self.broker.map_or_else(
            || "– | – | –".to_owned(),
            |cost| {
                format!(
                    "{:.1} | {:.1} | {:.0}",
                    cost.cpu_us_per_request, cost.cpu_us_per_message, cost.resident_mib
                )
            },
        );
        format!(
            "| {} | {} | {} | {} | {} | {} | {latency} | {broker} |\n",
            self.action,
            self.queue,
            yes(self.signed),
            grouped(self.depth as f64),
            grouped(self.requests_per_second),
            grouped(self.messages_per_second),
        )
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let spent = Spent {
            cpu_seconds: 2.0,
            resident_bytes: 50 << 20,
        };
        Row {
            action: Action::Receive { max: 10 }.word(),
            queue: "standard",
            signed: true,
            depth: 10_000_000,
            connections: 64,
            body_bytes: 1024,
            requests: 20_000,
            messages: 100_000,
            seconds: 2.0,
            requests_per_second: 10_000.0,
            messages_per_second: 50_000.0,
            latency_ms: Some(Latency {
                p50: 1.0,
                p99: 2.0,
                p999: 3.0,
                max: 4.0,
            }),
            broker: Some(Cost::new(spent, 20_000, 100_000)),
            client: Cost::new(spent, 20_000, 100_000),
        }
    }

    #[test]
    fn figures_are_per_request_and_per_message() {
        let cost = row().broker.unwrap();
        assert!((cost.cpu_us_per_request - 100.0).abs() < 1e-9);
        assert!((cost.cpu_us_per_message - 20.0).abs() < 1e-9);
    }

    #[test]
    fn columns_stand_below_their_head() {
        let bars = |text: &str| -> Vec<usize> {
            let chars = text.chars().enumerate();
            chars.filter(|(_, c)| *c == '|').map(|(at, _)| at).collect()
        };
        assert_eq!(bars(Row::HEAD), bars(&row().line()));
    }

    #[test]
    fn the_summary_is_a_table_of_the_page() {
        let text = Row::summary(&[row()]);
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "| Receive(10) + DeleteBatch | standard | yes | 10,000,000 | 10,000 | 50,000 \
             | 1.0 / 2.0 / 3.0 | 100.0 | 20.0 | 50 |"
        );
        let columns: Vec<_> = text
            .lines()
            .skip(1)
            .map(|l| l.matches('|').count())
            .collect();
        assert_eq!(columns, [11, 11, 11]);
    }
}
