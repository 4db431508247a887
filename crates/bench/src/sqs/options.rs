//! The command line of `forebay bench sqs`.

use clap::{Args, ValueEnum};

use crate::report::Output;
use crate::target::{BrokerFlags, pair};

/// What to measure, for how long.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: BrokerFlags,
    /// Access key and secret that signed requests to a running broker are signed with.
    #[arg(long, value_name = "KEY:SECRET", requires = "target", value_parser = pair)]
    pub(super) login: Option<(String, String)>,
    /// Seconds per row; rows of receivers end before when nothing is left to receive.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// Connections, each of which has one request in flight.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) connections: u16,
    /// Messages in a standard queue before its rows.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [0, 100_000])]
    pub(super) depths: Vec<u64>,
    /// Also measure with ten million messages in the queue: more than 10 GiB of disk.
    #[arg(long)]
    pub(super) deep: bool,
    /// Size of a message's body.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) body_bytes: u32,
    /// Kinds of queue; a FIFO queue is measured from empty.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Standard, Kind::Fifo])]
    pub(super) queues: Vec<Kind>,
    /// Whether requests are signed, and the broker checks it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Signatures::Off, Signatures::Verify])]
    pub(super) signatures: Vec<Signatures>,
    /// Message groups of a FIFO queue.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) groups: u32,
    /// Threads of the load generator; the broker needs its share of the machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) client_threads: u16,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Standard,
    Fifo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Signatures {
    Off,
    Verify,
}

/// What `--deep` adds.
const DEEP: u64 = 10_000_000;

impl Options {
    /// Messages in the queue before the rows of each kind, in order.
    pub(super) fn depths_of(&self, kind: Kind) -> Vec<u64> {
        match kind {
            Kind::Standard => {
                let deep = self.deep.then_some(DEEP);
                self.depths.iter().copied().chain(deep).collect()
            }
            Kind::Fifo => vec![0],
        }
    }
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Fifo => "FIFO",
        }
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
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words);
        line.map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_short_and_deep_is_asked_for() {
        let options = parse("").unwrap();
        assert_eq!(options.depths_of(Kind::Standard), [0, 100_000]);
        assert_eq!(options.depths_of(Kind::Fifo), [0]);
        assert_eq!(options.signatures, [Signatures::Off, Signatures::Verify]);
        let deep = parse("--deep --depths 5 --queues standard --signatures verify").unwrap();
        assert_eq!(deep.depths_of(Kind::Standard), [5, DEEP]);
        assert_eq!(deep.queues, [Kind::Standard]);
        assert_eq!(deep.signatures, [Signatures::Verify]);
    }

    #[test]
    fn a_running_broker_is_named_as_everywhere() {
        let line = "--target 127.0.0.1:1 --target-pid 1 --login key:secret --depths 0";
        let options = parse(line).unwrap();
        assert!(options.target.target.is_some());
        let login = ("key".to_owned(), "secret".to_owned());
        assert_eq!(options.login, Some(login));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--seconds 0",
            "--connections 0",
            "--groups 0",
            "--body-bytes 0",
            "--body-bytes 1000000",
            "--signatures maybe",
            "--depths many",
            "--login a:b",
            "--target 127.0.0.1:1 --login a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
