//! What several rounds and two brokers come to: medians, as a table of `docs/reference/performance.md`.

use super::row::{Row, STEADY, STEADY_FLOODED};
use crate::report::{Latency, grouped};

/// The table, a line per load and columns per broker, and what is to be said about spikes.
pub(super) fn summary(rows: &[Row]) -> String {
    let mut brokers: Vec<&str> = Vec::new();
    for row in rows {
        if !brokers.contains(&&*row.broker) {
            brokers.push(&row.broker);
        }
    }
    let loads = loads(rows);
    let mut text = head(&brokers);
    for load in &loads {
        text.push_str(&load.line(&brokers));
    }
    for broker in brokers {
        text.extend(spike(&loads, broker));
    }
    text
}

/// One kind of figure. Where it can be divided, it is, when there are two brokers.
struct Column {
    head: &'static str,
    cell: fn(&Medians) -> String,
    figure: Option<fn(&Medians) -> Option<f64>>,
}

const COLUMNS: [Column; 5] = [
    Column {
        head: "messages/s",
        cell: |medians| medians.per_second.map_or_else(none, grouped),
        figure: Some(|medians| medians.per_second),
    },
    Column {
        head: "confirm p50 / p99 ms",
        cell: |medians| latency(medians.confirm),
        figure: None,
    },
    Column {
        head: "end-to-end p50 / p99 ms",
        cell: |medians| latency(medians.end_to_end),
        figure: None,
    },
    Column {
        head: "broker CPU µs/message",
        cell: |medians| medians.cpu_us.map_or_else(none, |us| format!("{us:.2}")),
        figure: Some(|medians| medians.cpu_us),
    },
    Column {
        head: "RSS MiB",
        cell: |medians| {
            let resident = medians.resident_mib;
            resident.map_or_else(none, |mib| format!("{mib:.0}"))
        },
        figure: None,
    },
];

fn head(brokers: &[&str]) -> String {
    let mut titles = vec!["load".to_owned()];
    for column in &COLUMNS {
        titles.extend(brokers.iter().enumerate().map(|(index, broker)| {
            match (index, brokers.len()) {
                (_, 1) => column.head.to_owned(),
                (0, _) => format!("{}: {broker}", column.head),
                _ => (*broker).to_owned(),
            }
        }));
        if column.figure.is_some() && brokers.len() == 2 {
            titles.push("ratio".to_owned());
        }
    }
    let rule = "---|".repeat(titles.len());
    format!("\n| {} |\n|{rule}\n", titles.join(" | "))
}

/// Rows of one load, of all rounds and brokers.
struct Load<'a> {
    rows: Vec<&'a Row>,
}

fn loads(rows: &[Row]) -> Vec<Load<'_>> {
    let mut loads: Vec<Load<'_>> = Vec::new();
    for row in rows {
        match loads.iter_mut().find(|load| load.holds(row)) {
            Some(load) => load.rows.push(row),
            None => loads.push(Load { rows: vec![row] }),
        }
    }
    loads
}

impl Load<'_> {
    fn holds(&self, row: &Row) -> bool {
        let key = |row: &Row| (row.case, row.queues, row.body_bytes, row.ack_every);
        self.rows.iter().all(|other| key(other) == key(row))
    }

    fn is(&self, case: &str) -> bool {
        self.rows.iter().all(|row| row.case == case)
    }

    /// The middle of what the rounds gave.
    fn medians(&self, broker: &str) -> Medians {
        let rows = self.rows.iter().filter(|row| row.broker == broker);
        let rows: Vec<&Row> = rows.copied().collect();
        let over = |figure: &dyn Fn(&Row) -> Option<f64>| {
            median(rows.iter().filter_map(|row| figure(row)).collect())
        };
        let quantiles = |of: fn(&Row) -> Option<Latency>| {
            let p50 = over(&|row| of(row).map(|latency| latency.p50));
            p50.zip(over(&|row| of(row).map(|latency| latency.p99)))
        };
        Medians {
            per_second: over(&|row| Some(row.volume.records_per_second)),
            confirm: quantiles(|row| row.confirm_ms),
            end_to_end: quantiles(|row| row.end_to_end_ms),
            cpu_us: over(&|row| row.broker_cost.map(|cost| cost.cpu_us_per_record)),
            resident_mib: over(&|row| row.broker_cost.map(|cost| cost.resident_mib)),
            refused: over(&|row| row.flood.map(|flood| flood.refused as f64)),
        }
    }

    fn line(&self, brokers: &[&str]) -> String {
        let medians: Vec<Medians> = brokers.iter().map(|b| self.medians(b)).collect();
        let mut cells = vec![self.name()];
        for column in &COLUMNS {
            cells.extend(medians.iter().map(column.cell));
            if let Some(figure) = column.figure
                && let [first, second] = &medians[..]
            {
                let ratio = figure(first).zip(figure(second)).map(|(a, b)| a / b);
                cells.push(ratio.map_or_else(none, short));
            }
        }
        format!("| {} |\n", cells.join(" | "))
    }

    fn name(&self) -> String {
        let Some(row) = self.rows.first() else {
            return String::new();
        };
        let queues = if row.queues == 1 { "queue" } else { "queues" };
        let size = match row.body_bytes {
            bytes if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
            bytes => format!("{bytes} B"),
        };
        let acks = match row.ack_every {
            1 => String::new(),
            every => format!(", acknowledged by {every}"),
        };
        format!("{}, {} {queues}, {size}{acks}", row.case, row.queues)
    }
}

/// How much later messages come while another queue is flooded.
fn spike(loads: &[Load<'_>], broker: &str) -> Option<String> {
    let medians = |case| {
        let load = loads.iter().find(|load| load.is(case))?;
        Some(load.medians(broker))
    };
    let (alone, beside) = medians(STEADY).zip(medians(STEADY_FLOODED))?;
    let ((_, alone_p99), (_, p99)) = alone.end_to_end.zip(beside.end_to_end)?;
    Some(format!(
        "\n{broker}: end-to-end p99 beside a flood is {:.2} times that without it ({} messages refused)\n",
        p99 / alone_p99,
        grouped(beside.refused?)
    ))
}

struct Medians {
    per_second: Option<f64>,
    /// p50 and p99.
    confirm: Option<(f64, f64)>,
    end_to_end: Option<(f64, f64)>,
    cpu_us: Option<f64>,
    resident_mib: Option<f64>,
    refused: Option<f64>,
}

fn none() -> String {
    "–".to_owned()
}

fn latency(quantiles: Option<(f64, f64)>) -> String {
    quantiles.map_or_else(none, |(p50, p99)| {
        format!("{} / {}", short(p50), short(p99))
    })
}

/// Two or three digits.
fn short(number: f64) -> String {
    match number {
        10.0.. => format!("{number:.0}"),
        1.0.. => format!("{number:.1}"),
        0.1.. => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    match values.len() % 2 {
        0 => Some(f64::midpoint(values[middle - 1], upper)),
        _ => Some(upper),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::row::{BOTH, Flood, PUBLISH};
    use super::*;

    fn lines(rows: &[Row]) -> Vec<String> {
        let text = summary(rows);
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn one_broker_has_one_column_of_each() {
        let mut row = row("ours", PUBLISH, 123_456, 2.0);
        row.ack_every = 100;
        row.body_bytes = 16;
        let expected = [
            "| load | messages/s | confirm p50 / p99 ms | end-to-end p50 / p99 ms | broker CPU µs/message | RSS MiB |",
            "|---|---|---|---|---|---|",
            "| publish, 4 queues, 16 B, acknowledged by 100 | 61,728 | 1.0 / 2.0 | – | 8.10 | 50 |",
        ];
        assert_eq!(lines(&[row]), expected);
    }

    #[test]
    fn two_brokers_are_compared_by_medians() {
        let mut rows = vec![
            row("ours", BOTH, 100_000, 2.0),
            row("theirs", BOTH, 10_000, 20.0),
            row("theirs", BOTH, 20_000, 40.0),
            row("ours", BOTH, 300_000, 4.0),
        ];
        for row in &mut rows {
            row.queues = 1;
            row.end_to_end_ms = row.confirm_ms;
        }
        let expected = [
            "| load | messages/s: ours | theirs | ratio | confirm p50 / p99 ms: ours | theirs \
             | end-to-end p50 / p99 ms: ours | theirs | broker CPU µs/message: ours | theirs | ratio | RSS MiB: ours | theirs |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
            "| both, 1 queue, 1 KiB | 100,000 | 7,500 | 13 | 1.0 / 3.0 | 1.0 / 30 | 1.0 / 3.0 | 1.0 / 30 \
             | 6.67 | 75.00 | 0.089 | 50 | 50 |",
        ];
        assert_eq!(lines(&rows), expected);
    }

    #[test]
    fn a_spike_is_said_in_words() {
        let mut rows = [
            row("ours", STEADY, 100, 2.0),
            row("ours", STEADY_FLOODED, 100, 2.0),
        ];
        for (row, p99) in rows.iter_mut().zip([2.0, 3.0]) {
            row.end_to_end_ms = row.confirm_ms.map(|l| Latency { p99, ..l });
        }
        rows[1].flood = Some(Flood {
            accepted: 5,
            refused: 1234,
        });
        let said = "ours: end-to-end p99 beside a flood is 1.50 times that without it (1,234 messages refused)";
        assert_eq!(lines(&rows).last().unwrap(), said);
    }

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
