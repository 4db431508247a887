//! Load generator behind `forebay bench`.
//!
//! One module per protocol makes the load; the others measure: time, CPU and memory of the broker, and what the
//! same disk gives to plain sequential writes.
//!
//! The loop is closed: a connection keeps a fixed number of requests in flight and sends the next one when an answer
//! arrives. Latencies are therefore those of a broker at its own pace. They do not tell how long requests that keep
//! arriving would queue in front of a broker that has fallen behind: nothing is sent while it stalls, so a stall
//! is seen by the requests in flight and by no others.

mod amqp;
mod disk;
mod histogram;
mod kafka;
mod report;
mod run;
mod spawned;
mod sqs;
mod stopwatch;
mod target;
mod usage;

pub use amqp::Options as AmqpOptions;
pub use kafka::Options as KafkaOptions;
pub use sqs::Options as SqsOptions;

/// What to put under load.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Produce and fetch over the Kafka protocol, on one machine, as fast as the broker answers.
    Kafka(KafkaOptions),
    /// Send, receive and delete over the Amazon SQS protocol, on one machine, as fast as the broker answers.
    Sqs(SqsOptions),
    /// Publish and consume over AMQP 0-9-1, on one machine, as fast as the broker confirms; one broker or two in turn.
    Amqp(AmqpOptions),
}

/// Runs the load and prints what was measured.
pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Kafka(options) => kafka::run(options),
        Command::Sqs(options) => sqs::run(options),
        Command::Amqp(options) => amqp::run(options),
    }
}
