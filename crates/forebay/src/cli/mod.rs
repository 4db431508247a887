//! The command line: `forebay`, alone, serves.

mod api;
mod config;
mod failure;
mod group;
mod listing;
mod output;
mod policy;
mod queue;
mod remote;
mod topic;
mod vhost;
mod yaml;

pub(crate) use failure::Failure;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

use crate::boot;
use crate::crash;
use crate::logging;
use crate::settings::{FAMILY, FlagValue, Sources, with_origins};

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

/// Flags that set settings; they win over the environment, the file and the defaults.
#[derive(Args, Clone, Debug, Default)]
struct Flags {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Kafka listener, or `off`.
    #[arg(long, value_name = "ADDR")]
    kafka: Option<String>,
    /// AMQP listener, or `off`.
    #[arg(long, value_name = "ADDR")]
    amqp: Option<String>,
    /// SQS listener, or `off`.
    #[arg(long, value_name = "ADDR")]
    sqs: Option<String>,
    /// HTTP listener (health, metrics, JSON API), or `off`.
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// `dev` or `production`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Lets listeners without a login have addresses that other machines can reach.
    #[arg(long)]
    allow_open: bool,
    /// A bug to run with, for tests of the tests.
    #[cfg(feature = "failpoints")]
    #[arg(long, value_name = "BUG", hide = true)]
    planted_bug: Option<crate::failpoints::PlantedBug>,
}

impl Flags {
    fn into_sources(self) -> anyhow::Result<Sources> {
        let flags = [
            ("data.dir", "--data", self.data),
            ("listeners.kafka", "--kafka", self.kafka),
            ("listeners.amqp", "--amqp", self.amqp),
            ("listeners.sqs", "--sqs", self.sqs),
            ("listeners.http", "--http", self.http),
            ("profile", "--profile", self.profile),
            (
                "allow_open",
                "--allow-open",
                self.allow_open.then(|| "true".to_owned()),
            ),
        ];
        let given = flags.into_iter().filter_map(|(key, flag, text)| {
            Some(FlagValue {
                key,
                flag,
                text: text?,
            })
        });
        Ok(Sources {
            file: self.config,
            environment: environment()?,
            flags: given.collect(),
        })
    }
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

/// Where a broker's HTTP listener is by default.
const HTTP: &str = "127.0.0.1:8080";
/// Where commands that talk to a broker find one, when no flag says it.
const HTTP_VARIABLE: &str = "FOREBAY_HTTP";

/// The API of the broker a flag names, else the environment, else the usual one.
fn broker_api(http: Option<String>) -> anyhow::Result<api::Api> {
    let http = match http {
        Some(http) => Some(http),
        None => environment_http()?,
    };
    api::Api::new(http.as_deref().unwrap_or(HTTP))
}

/// The address in the environment, for commands that talk to a broker. It is no setting of a broker's, and therefore
/// has a name of another form.
fn environment_http() -> anyhow::Result<Option<String>> {
    match std::env::var(HTTP_VARIABLE) {
        Ok(address) => Ok(Some(address).filter(|address| !address.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            bail!("the environment variable {HTTP_VARIABLE} is not valid UTF-8")
        }
    }
}

/// Our part of the environment; nothing outside this file reads it.
fn environment() -> anyhow::Result<Vec<(String, String)>> {
    let mut ours = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(FAMILY)) else {
            continue;
        };
        let Some(value) = value.to_str() else {
            bail!("the environment variable {name} is not valid UTF-8");
        };
        ours.push((name.to_owned(), value.to_owned()));
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, Flags};
    use crate::settings::KEYS;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_names_a_key() {
        let some = || Some("x".to_owned());
        let all = Flags {
            config: None,
            data: some(),
            kafka: some(),
            amqp: some(),
            sqs: some(),
            http: some(),
            profile: some(),
            allow_open: true,
            #[cfg(feature = "failpoints")]
            planted_bug: None,
        };
        for flag in all.into_sources().unwrap().flags {
            assert!(
                KEYS.iter().any(|key| key.name == flag.key),
                "{} sets {}",
                flag.flag,
                flag.key
            );
        }
    }
}
