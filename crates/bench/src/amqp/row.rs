//! One measurement, how it is printed, and what several rounds and two brokers come to.

use std::fmt::Write;

use serde::Serialize;

use super::plan::Work;
use crate::report::{Cost, Latency, Tabular, Volume};

/// One measurement. Its records are messages received, where anybody received, and else messages published.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Name and version, as it calls itself.
    pub(super) broker: String,
    pub(super) round: u16,
    pub(super) case: &'static str,
    pub(super) queues: u16,
    pub(super) body_bytes: usize,
    pub(super) window: u16,
    pub(super) prefetch: u16,
    pub(super) ack_every: u16,
    pub(super) published: u64,
    #[serde(flatten)]
    pub(super) volume: Volume,
    /// From sending a message to its confirm.
    pub(super) confirm_ms: Option<Latency>,
    /// From sending a message to having it.
    pub(super) end_to_end_ms: Option<Latency>,
    /// Absent where the broker does not tell.
    pub(super) broker_cost: Option<Cost>,
    pub(super) client: Cost,
    /// What went to another queue meanwhile; costs are per message of both.
    pub(super) flood: Option<Flood>,
}

/// What a queue at its limit was sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Flood {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// Under which conditions a row was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) case: &'static str,
    pub(super) round: u16,
    pub(super) work: Work,
}

/// What a publisher or a consumer does alone, and both.
pub(super) const PUBLISH: &str = "publish";
pub(super) const CONSUME: &str = "consume";
pub(super) const BOTH: &str = "both";
pub(super) const FAN_OUT: &str = "fan-out";
pub(super) const ONE_IN_FLIGHT: &str = "one in flight";
/// The two rows of a spike.
pub(super) const STEADY: &str = "steady";
pub(super) const STEADY_FLOODED: &str = "steady, flood";

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

    /// Medians over the rounds, as tables of `docs/reference/performance.md`.
    fn summary(rows: &[Self]) -> String {
        let groups = groups(rows);
        let mut text = String::from(
            "\n| case | queues | body | ack | broker | messages/s | confirm p50 / p99 ms | end-to-end p50 / p99 ms \
             | broker CPU µs/message | RSS MiB |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for group in &groups {
            text.extend(group.brokers().map(|rows| Medians::of(&rows).line()));
        }
        let ratios: Vec<_> = groups.iter().filter_map(Group::ratio).collect();
        if !ratios.is_empty() {
            text.push_str(
                "\nThe first broker divided by the second:\n\n| case | queues | body | ack | messages/s | confirm p50 | confirm p99 \
                 | end-to-end p50 | end-to-end p99 | CPU per message |\n|---|---|---|---|---|---|---|---|---|---|\n",
            );
            text.extend(ratios);
        }
        for spike in spikes(&groups) {
            text.push('\n');
            text.push_str(&spike);
        }
        text
    }
}

/// Rows of one case, of all rounds and brokers.
struct Group<'a> {
    rows: Vec<&'a Row>,
}

fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group.holds(row)) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { rows: vec![row] }),
        }
    }
    groups
}

impl<'a> Group<'a> {
    fn holds(&self, row: &Row) -> bool {
        let key = |row: &Row| (row.case, row.queues, row.body_bytes, row.ack_every);
        self.rows
            .first()
            .is_some_and(|first| key(first) == key(row))
    }

    /// The rows of each broker. Its first row is the earliest in the output, so the order is that of the command line.
    fn brokers(&self) -> impl Iterator<Item = Vec<&'a Row>> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&&*row.broker) {
                names.push(&row.broker);
            }
        }
        let of = |name: &str| -> Vec<&'a Row> {
            let rows = self.rows.iter().copied();
            rows.filter(|row| row.broker == name).collect()
        };
        names.into_iter().map(of).collect::<Vec<_>>().into_iter()
    }

    fn ratio(&self) -> Option<String> {
        let mut brokers = self.brokers();
        let (first, second) = (brokers.next()?, brokers.next()?);
        let (first, second) = (Medians::of(&first), Medians::of(&second));
        let figures = first.figures().into_iter().zip(second.figures());
        let mut line = first.what();
        for (first, second) in figures {
            match first.zip(second).map(|(first, second)| first / second) {
                Some(ratio) if ratio >= 10.0 => write!(line, " {ratio:.0} |"),
                Some(ratio) if ratio >= 0.095 => write!(line, " {ratio:.2} |"),
                Some(ratio) => write!(line, " {ratio:.3} |"),
                None => write!(line, " – |"),
            }
            .ok()?;
        }
        line.push('\n');
        Some(line)
    }
}

/// How much later messages come while another queue is flooded.
fn spikes(groups: &[Group<'_>]) -> Vec<String> {
    let find = |case| groups.iter().find(|group| group.rows[0].case == case);
    let Some((alone, beside)) = find(STEADY).zip(find(STEADY_FLOODED)) else {
        return Vec::new();
    };
    let pairs = alone.brokers().zip(beside.brokers());
    let said = pairs.filter_map(|(alone, beside)| {
        let floods: Vec<f64> = beside
            .iter()
            .filter_map(|row| row.flood.map(|f| f.refused as f64))
            .collect();
        let (alone, beside) = (Medians::of(&alone), Medians::of(&beside));
        let ratio = beside.end_to_end.p99? / alone.end_to_end.p99?;
        let broker = beside.row.broker.as_str();
        Some(format!(
            "{broker}: end-to-end p99 beside a flood is {ratio:.2} times that without it ({} messages refused)\n",
            grouped(median(floods)?)
        ))
    });
    said.collect()
}

/// The middle of what the rounds gave.
struct Medians<'a> {
    row: &'a Row,
    messages_per_second: Option<f64>,
    confirm: Quantiles,
    end_to_end: Quantiles,
    cpu_us: Option<f64>,
    resident_mib: Option<f64>,
}

struct Quantiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

impl<'a> Medians<'a> {
    fn of(rows: &[&'a Row]) -> Self {
        let over = |figure: &dyn Fn(&Row) -> Option<f64>| {
            median(rows.iter().filter_map(|row| figure(row)).collect())
        };
        let quantiles = |of: fn(&Row) -> Option<Latency>| Quantiles {
            p50: over(&|row| of(row).map(|l| l.p50)),
            p99: over(&|row| of(row).map(|l| l.p99)),
        };
        Self {
            row: rows[0],
            messages_per_second: over(&|row| Some(row.volume.records_per_second)),
            confirm: quantiles(|row| row.confirm_ms),
            end_to_end: quantiles(|row| row.end_to_end_ms),
            cpu_us: over(&|row| row.broker_cost.map(|c| c.cpu_us_per_record)),
            resident_mib: over(&|row| row.broker_cost.map(|c| c.resident_mib)),
        }
    }

    fn what(&self) -> String {
        let row = self.row;
        format!(
            "| {} | {} | {} | {} |",
            row.case,
            row.queues,
            size(row.body_bytes),
            row.ack_every
        )
    }

    fn line(&self) -> String {
        let figure = |figure: Option<f64>, decimals: usize| {
            figure.map_or_else(|| "–".to_owned(), |f| format!("{f:.decimals$}"))
        };
        let quantiles = |q: &Quantiles| match q.p50 {
            Some(_) => format!("{} / {}", figure(q.p50, 2), figure(q.p99, 2)),
            None => "–".to_owned(),
        };
        format!(
            "{} {} | {} | {} | {} | {} | {} |\n",
            self.what(),
            self.row.broker,
            self.messages_per_second.map_or_else(String::new, grouped),
            quantiles(&self.confirm),
            quantiles(&self.end_to_end),
            figure(self.cpu_us, 2),
            figure(self.resident_mib, 0),
        )
    }

    /// What two brokers are compared by.
    fn figures(&self) -> [Option<f64>; 6] {
        [
            self.messages_per_second,
            self.confirm.p50,
            self.confirm.p99,
            self.end_to_end.p50,
            self.end_to_end.p99,
            self.cpu_us,
        ]
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

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} B"),
    }
}

/// A number without decimals, digits in groups of three.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::usage::Spent;

    fn row(broker: &str, case: &'static str, messages: u64, p99: f64) -> Row {
        let volume = Volume::new(messages, 1024, Duration::from_secs(2));
        let spent = Spent {
            cpu_seconds: 1.0,
            resident_bytes: 50 << 20,
        };
        let latency = Latency {
            p50: 1.0,
            p99,
            p999: 9.0,
            max: 9.0,
        };
        Row {
            broker: broker.to_owned(),
            round: 1,
            case,
            queues: 4,
            body_bytes: 1024,
            window: 1000,
            prefetch: 1000,
            ack_every: 1,
            published: messages,
            volume,
            confirm_ms: Some(latency),
            end_to_end_ms: None,
            broker_cost: Some(Cost::new(spent, &volume)),
            client: Cost::new(spent, &volume),
            flood: None,
        }
    }

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

    #[test]
    fn two_brokers_are_compared_by_medians() {
        let rows = [
            row("ours", BOTH, 100_000, 2.0),
            row("theirs", BOTH, 10_000, 20.0),
            row("theirs", BOTH, 20_000, 40.0),
            row("ours", BOTH, 300_000, 4.0),
            row("ours", PUBLISH, 1, 1.0),
        ];
        let text = Row::summary(&rows);
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
        let expected = [
            "| case | queues | body | ack | broker | messages/s | confirm p50 / p99 ms | end-to-end p50 / p99 ms | broker CPU µs/message | RSS MiB |",
            "| both | 4 | 1 KiB | 1 | ours | 100,000 | 1.00 / 3.00 | – | 6.67 | 50 |",
            "| both | 4 | 1 KiB | 1 | theirs | 7,500 | 1.00 / 30.00 | – | 75.00 | 50 |",
            "| publish | 4 | 1 KiB | 1 | ours | 0 | 1.00 / 1.00 | – | 1000000.00 | 50 |",
            "| case | queues | body | ack | messages/s | confirm p50 | confirm p99 | end-to-end p50 | end-to-end p99 | CPU per message |",
            "| both | 4 | 1 KiB | 1 | 13 | 1.00 | 0.10 | – | – | 0.089 |",
        ];
        assert_eq!(lines, expected);
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
        let text = Row::summary(&rows);
        let said = "ours: end-to-end p99 beside a flood is 1.50 times that without it (1,234 messages refused)";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
