//! The command line: `forebay`, alone, serves.

mod api;
mod config;
mod output;
mod policy;
mod queue;
mod yaml;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

use crate::boot;
use crate::crash;
use crate::logging;
use crate::settings::{FlagValue, Sources};

/// One message broker for Kafka, AMQP and Amazon SQS clients, over one durable log.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, args_conflicts_with_subcommands = true)]
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
    /// Look at settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Work with the queues of a running broker.
    Queue(queue::Queue),
    /// Work with the policies of a running broker.
    Policy(policy::Policy),
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
    /// Folder of everything that must survive.
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
pub(crate) fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.flags)) {
        Command::Serve(flags) => {
            #[cfg(feature = "failpoints")]
            if let Some(bug) = flags.planted_bug {
                crate::failpoints::plant(bug);
            }
            let (settings, _) = flags.into_sources()?.resolve()?;
            logging::start(&settings.log)?;
            crash::remember_panics();
            boot::serve(&settings)
        }
        Command::Config(command) => config::run(command),
        Command::Queue(queue) => queue.run(),
        Command::Policy(policy) => policy.run(),
        Command::Bench(command) => bench::run(&command),
    }
}

/// Where a broker's HTTP listener is unless somebody says otherwise.
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
        let Some(name) = name.to_str().filter(|name| name.starts_with("FOREBAY__")) else {
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
