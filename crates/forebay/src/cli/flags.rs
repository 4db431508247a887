//! Flags that set settings, and the environment beside them.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::settings::{FAMILY, FlagValue, Sources};

/// Flags that set settings; they win over the environment, the file and the defaults.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Flags {
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
    pub(super) planted_bug: Option<crate::failpoints::PlantedBug>,
}

impl Flags {
    pub(super) fn into_sources(self) -> anyhow::Result<Sources> {
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

/// Our part of the environment; no other file reads it.
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
    use super::Flags;
    use crate::settings::KEYS;

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
