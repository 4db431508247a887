//! The command line of `forebay bench amqp`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use rustix::process::Pid;

use super::link::Login;
use super::message::{BODY_BYTES_MAX, STAMP_BYTES};
use crate::report::Output;
use crate::target::{BrokerFlags, pair, pid};

/// What to measure, against which brokers, for how long.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) brokers: Brokers,
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Seconds per row; rows of consumers alone end when nothing is left.
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// How often everything is measured; the table at the end has medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// Few and short rows: does it work, and roughly how fast?
    #[arg(long)]
    pub(super) quick: bool,
    /// Measure memory instead: idle, per idle connection, per empty queue, and with a backlog.
    #[arg(long)]
    pub(super) memory: bool,
    /// Messages of the backlog that --memory makes.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) memory_backlog: u64,
    /// Threads of the load generator; the broker needs its share of the machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) client_threads: u16,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Brokers {
    #[command(flatten)]
    pub(super) first: BrokerFlags,
    /// A second broker, measured in turn with the first.
    #[arg(long, value_name = "ADDR")]
    pub(super) compare: Option<SocketAddr>,
    /// Its process on this machine.
    #[arg(long, value_name = "PID", requires = "compare", value_parser = pid)]
    pub(super) compare_pid: Option<Pid>,
    /// `x-queue-type` of the queues on the second broker.
    #[arg(long, value_name = "TYPE", requires = "compare")]
    pub(super) compare_queue_type: Option<String>,
    /// Login at both.
    #[arg(long, value_name = "USER:PASSWORD", default_value = "guest:guest", value_parser = login)]
    pub(super) login: Login,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Shape {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ALL)]
    pub(super) cases: Vec<Kind>,
    /// Numbers of queues, each with a publisher and a consumer.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 4], value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) queues: Vec<u16>,
    /// Sizes of a message's body.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [16, BODY_BYTES, 16 << 10], value_parser = body_bytes)]
    pub(super) body_bytes: Vec<usize>,
    /// Messages of a publisher that are not yet confirmed.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) window: u16,
    /// Messages a consumer has and has not yet acknowledged.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) prefetch: u16,
    /// Messages per acknowledgement; from the second value on only with one queue and bodies of 1 KiB.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 100], value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) ack_every: Vec<u16>,
    /// Queues behind one exchange, for the case fan-out.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) fan_out: u16,
    /// Limit of the queue that is flooded, in messages, for the case spike.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) flood_limit: u32,
}

/// Size of a body where only one is measured.
pub(super) const BODY_BYTES: usize = 1 << 10;
const ALL: [Kind; 5] = [
    Kind::Backlog,
    Kind::Both,
    Kind::FanOut,
    Kind::OneInFlight,
    Kind::Spike,
];

/// What a load consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Publishers alone, then consumers alone.
    Backlog,
    /// Publishers and consumers at once.
    Both,
    /// One publisher, an exchange, many queues.
    FanOut,
    /// One message at a time.
    OneInFlight,
    /// One queue at a steady pace, first alone, then beside one that is flooded to its limit.
    Spike,
}

fn login(text: &str) -> Result<Login, String> {
    let (user, password) = pair(text)?;
    Ok(Login { user, password })
}

fn body_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (STAMP_BYTES..=BODY_BYTES_MAX).contains(&number) => Ok(number),
        Ok(_) => Err(format!(
            "must be between {STAMP_BYTES} and {BODY_BYTES_MAX}"
        )),
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
    fn the_default_is_everything_against_a_broker_of_our_own() {
        let options = parse("").unwrap();
        assert_eq!(options.shape.cases, ALL);
        assert_eq!(options.shape.queues, [1, 4]);
        assert_eq!(options.shape.body_bytes, [16, 1024, 16384]);
        assert!(options.brokers.first.target.is_none() && options.brokers.compare.is_none());
        assert_eq!(options.brokers.login.user, "guest");
    }

    #[test]
    fn every_choice_has_a_spelling() {
        for line in [
            "--target 127.0.0.1:5672 --target-pid 1 --compare 127.0.0.1:5673 --compare-pid 2",
            "--compare 127.0.0.1:5673 --compare-queue-type quorum --login a:b:c",
            "--cases backlog,both,fan-out,one-in-flight,spike --ack-every 7 -o json",
            "--memory --memory-backlog 1000 --quick --data x --rounds 3",
            "--window 1 --prefetch 1 --queues 10 --body-bytes 16 --seconds 0.5",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--body-bytes 15",
            "--body-bytes 1000000",
            "--window 0",
            "--prefetch 0",
            "--ack-every 0",
            "--queues 0",
            "--login guest",
            "--target-pid 5",
            "--target 127.0.0.1:5672 --target-pid 0",
            "--target 127.0.0.1:5672 --target-pid -3",
            "--compare-pid 5",
            "--cases everything",
            "--rounds 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
