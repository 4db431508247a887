//! Measurements as a table: a line for each, and a summary below.

use super::row::Row;
use super::summary::summary;
use crate::report::{Latency, Tabular};

impl Tabular for Row {
    const HEAD: &'static str = "broker                   case           queues body B  ack |     msgs/s |  confirm p50      p99 ms \
        |  end-to-end p50      p99 ms | broker µs/msg RSS MiB | client µs/msg";
    const LEGEND: &'static str = "Persistent messages, durable queues, confirmed and acknowledged. confirm: publish to confirm; \
        end-to-end: publish to delivery; both in a closed loop, except steady, which sends at a fixed rate. µs/msg: CPU time.";

    fn line(&self) -> String {
        let what = format!(
            "{:24} {:14} {:6} {:6} {:4}",
            self.broker, self.case, self.queues, self.body_bytes, self.ack_every
        );
        let latency = |latency: Option<Latency>, width: usize| match latency {
            Some(l) => format!("{:width$.3} {:11.3}", l.p50, l.p99),
            None => format!("{:>width$} {:>11}", "-", "-"),
        };
        let broker = match self.broker_cost {
            Some(cost) => format!("{:13.2} {:7.1}", cost.cpu_us_per_record, cost.resident_mib),
            None => format!("{:>13} {:>7}", "-", "-"),
        };
        format!(
            "{what} | {:10.0} | {} | {} | {broker} | {:13.2}",
            self.volume.records_per_second,
            latency(self.confirm_ms, 12),
            latency(self.end_to_end_ms, 15),
            self.client.cpu_us_per_record
        )
    }

    fn summary(rows: &[Self]) -> String {
        summary(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::BOTH;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn columns_stand_below_their_head() {
        let bars = |text: &str| -> Vec<usize> {
            let chars = text.chars().enumerate();
            chars.filter(|(_, c)| *c == '|').map(|(at, _)| at).collect()
        };
        let mut row = row("Forebay 0.0.0", BOTH, 100_000, 2.0);
        assert_eq!(bars(Row::HEAD), bars(&row.line()));
        row.broker_cost = None;
        row.end_to_end_ms = row.confirm_ms;
        assert_eq!(bars(Row::HEAD), bars(&row.line()));
    }
}
