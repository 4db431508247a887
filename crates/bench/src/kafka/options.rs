//! The command line of `forebay bench kafka`.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::report::Output;
use crate::target::BrokerFlags;

/// What to measure, against which broker, for how long.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: BrokerFlags,
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Seconds per row.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// Records per row, instead of seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: Option<u64>,
    /// What a producer waits for.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub(super) acks: Acks,
    /// When the topics' writes are acknowledged: after the disk's sync or before; not given, the broker decides.
    #[arg(long, value_enum)]
    pub(super) durability: Option<Durability>,
    /// Threads of the load generator; the broker needs its share of the machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(super) client_threads: usize,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Shape {
    /// Sizes of a record's value.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = size)]
    pub(super) record_bytes: Vec<usize>,
    /// Records in a batch, or the size it is filled to (64KiB, 1MiB); each request carries one batch.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(super) batch_records: Vec<BatchSize>,
    /// Measure producers, consumers, or both.
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    pub(super) mode: Mode,
    /// Connections.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) connections: Option<usize>,
    /// Produce requests a connection has in flight.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) in_flight: Option<usize>,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) partitions: u16,
}

/// How many records go into one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchSize {
    /// So many.
    Records(usize),
    /// As many as fit into so many bytes, header included, and at least one.
    Bytes(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    Produce,
    Consume,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Acks {
    All,
    #[value(name = "1")]
    One,
    #[value(name = "0")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Durability {
    Sync,
    Flush,
}

impl Acks {
    /// Its number in a produce request.
    pub(super) fn number(self) -> i16 {
        match self {
            Self::All => -1,
            Self::One => 1,
            Self::None => 0,
        }
    }
}

impl Durability {
    /// Its value in a topic's settings.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Flush => "flush",
        }
    }
}

impl FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("a batch holds at least one record".to_owned()),
            Ok(records) => Ok(Self::Records(records)),
            Err(_not_a_number) => size(text).map(Self::Bytes),
        }
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => write!(f, "{records}"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// A number of bytes, plain or in KiB or MiB.
fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.split_at(text.trim_end_matches(char::is_alphabetic).len()) {
        (digits, "" | "B") => (digits, 1),
        (digits, "KiB") => (digits, 1 << 10),
        (digits, "MiB") => (digits, 1 << 20),
        (_, unit) => return Err(format!("{unit:?} is not one of B, KiB, MiB")),
    };
    let number: usize = digits.parse().map_err(|error| format!("{error}"))?;
    match number.checked_mul(unit) {
        Some(bytes @ 1..=SIZE_MAX) => Ok(bytes),
        _ => Err(format!("must be between 1 B and {SIZE_MAX} B")),
    }
}

/// A produce request must fit into a frame; brokers refuse much smaller ones than this.
const SIZE_MAX: usize = 64 << 20;

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        Ok(_) => Err("must be between 1 and 100000".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        Ok(_) => Err("must be between 0.1 and 86400".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The options of a command line.
    pub(crate) fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words);
        line.map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_and_units() {
        let options =
            parse("--record-bytes 100,1KiB --batch-records 1,64KiB,1MiB --acks 1").unwrap();
        assert_eq!(options.shape.record_bytes, [100, 1024]);
        let batches = [
            BatchSize::Records(1),
            BatchSize::Bytes(65536),
            BatchSize::Bytes(1 << 20),
        ];
        assert_eq!(options.shape.batch_records, batches);
        assert_eq!(options.acks.number(), 1);
    }

    #[test]
    fn every_choice_has_a_spelling() {
        for line in [
            "--acks all --durability sync --mode produce -o table",
            "--acks 0 --durability flush --mode consume -o json",
            "--spawn --mode both --data x",
            "--target 127.0.0.1:9092 --http 127.0.0.1:8080",
            "--bootstrap 127.0.0.1:9092 --target-pid 1",
            "--connections 64 --in-flight 1 --partitions 16 --seconds 0.5 --records 1000",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--record-bytes 0",
            "--record-bytes 1GiB",
            "--record-bytes 99999999999999999999",
            "--batch-records 0",
            "--batch-records many",
            "--connections 0",
            "--partitions 0",
            "--seconds 0",
            "--seconds NaN",
            "--acks 2",
            "--http 127.0.0.1:8080",
            "--spawn --bootstrap 127.0.0.1:9092",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
