//! The flags that say which broker is measured: the same for every protocol.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use rustix::process::Pid;

use crate::usage::Source;

/// A broker to measure: one that runs, of any make, or one that is started for it.
#[derive(Args, Clone, Debug)]
pub(crate) struct BrokerFlags {
    /// A running broker, of any make; default: one is started for the measurement, on data that is deleted afterwards.
    #[arg(long, value_name = "ADDR", visible_alias = "bootstrap")]
    pub(crate) target: Option<SocketAddr>,
    /// Start a broker, which is the default.
    #[arg(long, conflicts_with = "target")]
    pub(crate) spawn: bool,
    /// Process of the running broker, if it is on this machine, to read what it costs.
    #[arg(long, value_name = "PID", requires = "target", value_parser = pid)]
    pub(crate) target_pid: Option<Pid>,
    /// HTTP listener with the metrics of the running broker, to read what it costs.
    #[arg(
        long,
        value_name = "ADDR",
        requires = "target",
        conflicts_with = "target_pid"
    )]
    pub(crate) http: Option<SocketAddr>,
    /// Folder where a started broker keeps its data; default: the current folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl BrokerFlags {
    /// Where the numbers of a running broker are read.
    pub(crate) fn source(&self) -> Source {
        match self.http {
            Some(address) => Source::Metrics(address),
            None => Source::of_process(self.target_pid),
        }
    }

    /// The folder for data.
    pub(crate) fn folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| PathBuf::from("."))
    }
}

pub(crate) fn pid(text: &str) -> Result<Pid, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    let pid = (number > 0).then(|| Pid::from_raw(number)).flatten();
    pid.ok_or_else(|| "no process has this number".to_owned())
}

/// A name and a secret, for a flag.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, secret)) => Ok((name.to_owned(), secret.to_owned())),
        None => Err("must be NAME:SECRET".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        target: BrokerFlags,
    }

    fn parse(line: &str) -> Option<BrokerFlags> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words).ok().map(|line| line.target)
    }

    #[test]
    fn a_running_broker_is_named_in_one_way() {
        for line in ["--target 127.0.0.1:1", "--bootstrap 127.0.0.1:1"] {
            let target = parse(line).expect(line);
            assert_eq!(target.target, Some("127.0.0.1:1".parse().unwrap()));
            assert!(matches!(target.source(), Source::Unknown));
        }
        let process = parse("--target 127.0.0.1:1 --target-pid 7").unwrap();
        assert!(matches!(process.source(), Source::Process(_)));
        let metrics = parse("--target 127.0.0.1:1 --http 127.0.0.1:2").unwrap();
        assert!(matches!(metrics.source(), Source::Metrics(_)));
        assert_eq!(parse("").unwrap().folder(), PathBuf::from("."));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--target-pid 5",
            "--http 127.0.0.1:1",
            "--target 127.0.0.1:1 --target-pid 0",
            "--target 127.0.0.1:1 --target-pid 1 --http 127.0.0.1:2",
            "--target 127.0.0.1:1 --spawn",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
        assert!(pair("guest").is_err());
        assert_eq!(pair("a:b:c").unwrap(), ("a".to_owned(), "b:c".to_owned()));
    }
}
