//! The command line: `forebay`, alone, serves.

mod api;
mod config;
mod failure;
mod flags;
mod group;
mod listing;
mod output;
mod policy;
mod queue;
mod refusal;
mod remote;
mod topic;
mod vhost;
mod yaml;

pub(crate) use failure::Failure;

use clap::{Parser, Subcommand};

use flags::Flags;

use crate::boot;
use crate::crash;
use crate::logging;
use crate::settings::with_origins;

/// The release and the commit it was built from.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("FOREBAY_COMMIT"),
    ")"
);

/// One message broker for Kafka, AMQP and Amazon SQS clients, over one durable log.
#[derive(Debug, Parser)]
#[command(name = "forebay", version = VERSION, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (the default command).
    Serve(Flags),
    /// Show configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Queues of a running broker, and their messages.
    Queue(queue::Queue),
    /// Topics of a running broker, and their records.
    Topic(topic::Topic),
    /// Consumer groups of a running broker: members, offsets, lag.
    Group(group::Group),
    /// Exchanges of a running broker.
    Exchange(listing::Exchange),
    /// Bindings of a running broker.
    Binding(listing::Binding),
    /// Connections of clients to a running broker.
    Connection(listing::Connection),
    /// Consumers of queues of a running broker.
    Consumer(listing::Consumer),
    /// Policies of a running broker.
    Policy(policy::Policy),
    /// Vhosts of a running broker: name spaces of queues, exchanges and policies.
    Vhost(vhost::Vhost),
    /// Put a broker under load and measure it.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Runs what the command line asks for.
pub(crate) fn run() -> Result<(), Failure> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.flags)) {
        Command::Serve(flags) => Ok(serve(flags)?),
        Command::Config(command) => Ok(config::run(command)?),
        Command::Queue(queue) => Failure::shown_as(queue.remote.output, || queue.run()),
        Command::Topic(topic) => Failure::shown_as(topic.remote.output, || topic.run()),
        Command::Group(group) => Failure::shown_as(group.remote.output, || group.run()),
        Command::Exchange(noun) => Failure::shown_as(noun.remote.output, || noun.run()),
        Command::Binding(noun) => Failure::shown_as(noun.remote.output, || noun.run()),
        Command::Connection(noun) => Failure::shown_as(noun.remote.output, || noun.run()),
        Command::Consumer(noun) => Failure::shown_as(noun.remote.output, || noun.run()),
        Command::Policy(policy) => Failure::shown_as(policy.remote.output, || policy.run()),
        Command::Vhost(vhost) => Failure::shown_as(vhost.remote.output, || vhost.run()),
        Command::Bench(command) => Ok(bench::run(&command)?),
    }
}

fn serve(flags: Flags) -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    if let Some(bug) = flags.planted_bug {
        crate::failpoints::plant(bug);
    }
    let sources = flags.into_sources()?;
    let (settings, entries) = sources.resolve()?;
    logging::start(&settings.log)?;
    crash::remember_panics();
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
    let served = boot::serve(&settings, sources.file.as_deref());
    served.map_err(|error| with_origins(error, &entries))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
