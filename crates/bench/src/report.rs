//! What is printed: one row per measurement. The only place that writes to stdout.

use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::histogram::Histogram;
use crate::usage::Spent;

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people; a row appears when it is measured.
    Table,
    /// For programs; everything at the end.
    Json,
}

/// One measurement. MB are 10^6 bytes of the records' values.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// `produce` or `consume`.
    pub(crate) mode: &'static str,
    pub(crate) record_bytes: usize,
    pub(crate) batch_records: usize,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) partitions: u16,
    pub(crate) acks: i16,
    /// What the topic was asked for; `default`: nothing.
    pub(crate) durability: &'static str,
    #[serde(flatten)]
    pub(crate) volume: Volume,
    /// From request to answer; absent where there are no answers.
    pub(crate) latency_ms: Option<Latency>,
    /// Absent where the broker does not tell.
    pub(crate) broker: Option<Cost>,
    pub(crate) client: Cost,
    /// Absent where there is no disk to compare with.
    pub(crate) disk: Option<DiskRatio>,
}

/// How much, in which time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Volume {
    pub(crate) records: u64,
    pub(crate) mb: f64,
    pub(crate) seconds: f64,
    pub(crate) mb_per_second: f64,
    pub(crate) records_per_second: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What a process spent on the row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_record: f64,
    pub(crate) cpu_ms_per_mb: f64,
    pub(crate) resident_mib: f64,
}

/// The same disk under plain sequential writes, measured right before and right after the row. Far apart, the two
/// say that other processes use the machine, and that the ratio is worth nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DiskRatio {
    pub(crate) mb_per_second_before: f64,
    pub(crate) mb_per_second_after: f64,
    /// The row's MB/s divided by their mean.
    pub(crate) ratio: f64,
}

impl DiskRatio {
    /// `volume` against the disk's own bytes per second before and after it.
    pub(crate) fn new(volume: &Volume, before: f64, after: f64) -> Self {
        Self {
            mb_per_second_before: before / 1e6,
            mb_per_second_after: after / 1e6,
            ratio: volume.mb_per_second * 2e6 / (before + after),
        }
    }
}

impl Volume {
    /// `records` of `record_bytes` each in `elapsed`.
    pub(crate) fn new(records: u64, record_bytes: usize, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        let mb = records as f64 * record_bytes as f64 / 1e6;
        Self {
            records,
            mb,
            seconds,
            mb_per_second: mb / seconds,
            records_per_second: records as f64 / seconds,
        }
    }
}

impl Latency {
    /// `None` when nothing was counted.
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50: ms(histogram.percentile(500)),
            p99: ms(histogram.percentile(990)),
            p999: ms(histogram.percentile(999)),
            max: ms(histogram.max()),
        })
    }
}

impl Cost {
    /// What was spent for `volume`.
    pub(crate) fn new(spent: Spent, volume: &Volume) -> Self {
        let cpu_seconds = spent.cpu_seconds;
        Self {
            cpu_seconds,
            cpu_us_per_record: cpu_seconds * 1e6 / volume.records as f64,
            cpu_ms_per_mb: cpu_seconds * 1e3 / volume.mb,
            resident_mib: spent.resident_bytes as f64 / f64::from(1 << 20),
        }
    }
}

/// How a kind of row looks in a table.
pub(crate) trait Tabular: Serialize {
    /// Line above the rows.
    const HEAD: &'static str;
    /// Line below them: what the columns mean.
    const LEGEND: &'static str;

    /// The row as a line.
    fn line(&self) -> String;

    /// What else is said below all rows.
    fn summary(_rows: &[Self]) -> String
    where
        Self: Sized,
    {
        String::new()
    }
}

/// Prints rows in the form asked for.
#[derive(Debug)]
pub(crate) struct Report<R> {
    output: Output,
    rows: Vec<R>,
}

impl<R: Tabular> Report<R> {
    /// Starts it; a table shows its head at once.
    pub(crate) fn start(output: Output) -> io::Result<Self> {
        if output == Output::Table {
            say(R::HEAD)?;
        }
        Ok(Self {
            output,
            rows: Vec::new(),
        })
    }

    /// The rows so far.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> &[R] {
        &self.rows
    }

    /// One more row.
    pub(crate) fn add(&mut self, row: R) -> io::Result<()> {
        if self.output == Output::Table {
            say(&row.line())?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.output {
            Output::Table => {
                say(R::LEGEND)?;
                say(&R::summary(&self.rows))
            }
            Output::Json => say(&serde_json::to_string_pretty(&self.rows)?),
        }
    }
}

impl Tabular for Row {
    const HEAD: &'static str = "mode    record B  batch conns infl |    MB/s     msgs/s |   p50 ms   p99 ms  p999 ms \
    | broker µs/msg  ms/MB RSS MiB | client µs/msg | disk MB/s before, after ratio";
    const LEGEND: &'static str = "MB: 10^6 bytes of record values. Latency: closed loop, request to answer. \
    µs/msg, ms/MB: CPU time. disk: 1 MiB writes, each fdatasync'ed, right before and after the row; far apart means a busy machine.";

    fn line(&self) -> String {
        let row = self;
        let what = format!(
            "{:7} {:8} {:6} {:5} {:4}",
            row.mode, row.record_bytes, row.batch_records, row.connections, row.in_flight
        );
        let speed = format!(
            "{:7.1} {:10.0}",
            row.volume.mb_per_second, row.volume.records_per_second
        );
        let latency = row.latency_ms.map_or_else(
            || format!("{:>8} {:>8} {:>8}", "-", "-", "-"),
            |l| format!("{:8.3} {:8.3} {:8.3}", l.p50, l.p99, l.p999),
        );
        let broker = row.broker.map_or_else(
            || format!("{:>13} {:>6} {:>7}", "-", "-", "-"),
            |cost| {
                format!(
                    "{:13.3} {:6.3} {:7.1}",
                    cost.cpu_us_per_record, cost.cpu_ms_per_mb, cost.resident_mib
                )
            },
        );
        let client = row.client.cpu_us_per_record;
        let disk = row.disk.map_or_else(
            || format!("{:>16} {:>6} {:>5}", "-", "-", "-"),
            |disk| {
                format!(
                    "{:16.1} {:6.1} {:5.2}",
                    disk.mb_per_second_before, disk.mb_per_second_after, disk.ratio
                )
            },
        );
        format!("{what} | {speed} | {latency} | {broker} | {client:13.3} | {disk}")
    }
}

/// A number without decimals, digits in groups of three.
pub(crate) fn grouped(number: f64) -> String {
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

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(cpu_seconds: f64, mib: u64) -> Spent {
        Spent {
            cpu_seconds,
            resident_bytes: mib << 20,
        }
    }

    fn row() -> Row {
        let volume = Volume::new(1_000_000, 1000, Duration::from_secs(10));
        Row {
            mode: "produce",
            record_bytes: 1000,
            batch_records: 1,
            connections: 64,
            in_flight: 1,
            partitions: 8,
            acks: -1,
            durability: "sync",
            volume,
            latency_ms: None,
            broker: Some(Cost::new(spent(5.0, 50), &volume)),
            client: Cost::new(spent(2.0, 1), &volume),
            disk: None,
        }
    }

    #[test]
    fn figures_are_per_record_and_per_mb() {
        let row = row();
        let broker = row.broker.unwrap();
        let figures = [
            (row.volume.mb_per_second, 100.0),
            (row.volume.records_per_second, 100_000.0),
            (broker.cpu_us_per_record, 5.0),
            (broker.cpu_ms_per_mb, 5.0),
            (broker.resident_mib, 50.0),
        ];
        for (found, expected) in figures {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn the_disk_is_the_mean_of_before_and_after() {
        let disk = DiskRatio::new(&row().volume, 150e6, 250e6);
        assert!((disk.ratio - 0.5).abs() < 1e-9, "{}", disk.ratio);
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
    fn digits_are_grouped() {
        let cases = [
            (0.0, "0"),
            (999.6, "1,000"),
            (123_456.0, "123,456"),
            (1e7, "10,000,000"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
