//! A broker of our own: this very executable, on free ports and a folder that goes away with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A broker is up in well under a second, unless its disk is very busy.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// A broker promises to stop within 30 s.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// A running broker; killed, and its data deleted, when dropped.
#[derive(Debug)]
pub(crate) struct Spawned {
    pid: Pid,
    folder: Folder,
    listeners: BTreeMap<String, SocketAddr>,
    /// Answers once, when the process has ended.
    exit: Receiver<std::io::Result<ExitStatus>>,
    ended: bool,
}

/// A fresh folder, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one in `parent`.
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("forebay-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell; the worst that remains is a folder with a telling name.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Spawned {
    /// Starts one on `folder`, with `settings` by their keys, and waits until it is ready.
    pub(crate) fn start(folder: Folder, settings: &[(&str, &str)]) -> Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--kafka", "127.0.0.1:0", "--sqs", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--amqp", "127.0.0.1:0"])
            .envs(settings.iter().map(|(key, value)| (variable(key), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start a broker")?;
        let pid = Pid::from_child(&child);
        let stdout = child.stdout.take();
        let (report, exit) = channel();
        thread::spawn(move || report.send(child.wait()));
        let mut broker = Self {
            pid,
            folder,
            listeners: BTreeMap::new(),
            exit,
            ended: false,
        };
        let ready = stdout
            .context("the broker has no stdout")
            .and_then(await_ready);
        broker.listeners = ready.map_err(|error| broker.explain(&error))?;
        Ok(broker)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Where its listener of that name listens.
    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddr> {
        let address = self.listeners.get(listener).copied();
        address.with_context(|| format!("the broker has no listener {listener}"))
    }

    /// A folder on the same disk as its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it as an operator would and waits for its end, which must be a clean one.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(self.pid, Signal::TERM)?;
        let status = match self.exit.recv_timeout(STOP_PATIENCE) {
            Ok(status) => status?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(self.explain(&anyhow!("the broker does not stop")));
            }
        };
        self.ended = true;
        if status.success() {
            return Ok(());
        }
        Err(self.explain(&anyhow!("the broker ended with {status}")))
    }

    /// Adds the end of the broker's log to what went wrong, because the folder does not survive us.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(10)..);
        anyhow!(
            "{error:#}; the broker's log ends with:\n{}",
            tail.unwrap_or_default().join("\n")
        )
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended on its own; then there is nothing to kill.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.exit.recv_timeout(STOP_PATIENCE);
        }
    }
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("FOREBAY__{}", key.to_uppercase().replace('.', "__"))
}

/// Reads stdout up to the ready line; answers with the listeners' addresses.
fn await_ready(stdout: ChildStdout) -> Result<BTreeMap<String, SocketAddr>> {
    let (send, lines) = channel();
    // Goes on reading after the ready line, so that the broker never blocks on a full pipe.
    thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(std::io::Result::ok)
            .for_each(|line| drop(send.send(line)));
    });
    let mut listeners = BTreeMap::new();
    loop {
        match lines.recv_timeout(START_PATIENCE) {
            Ok(line) if line == "forebay ready" => return Ok(listeners),
            Ok(line) => listeners.extend(listener(&line)?),
            Err(RecvTimeoutError::Disconnected) => bail!("the broker ended before it was ready"),
            Err(RecvTimeoutError::Timeout) => bail!("the broker does not become ready"),
        }
    }
}

/// Name and address in a line `<name> listening on <address>`.
fn listener(line: &str) -> Result<Option<(String, SocketAddr)>> {
    let Some((name, address)) = line.split_once(" listening on ") else {
        return Ok(None);
    };
    ensure!(!address.is_empty(), "a listener without an address");
    let address = address
        .parse()
        .with_context(|| format!("no address in {line:?}"))?;
    Ok(Some((name.to_owned(), address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_lines_are_understood() {
        let found = listener("kafka listening on 127.0.0.1:4321").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 4321));
        assert_eq!(found, Some(("kafka".to_owned(), address)));
        assert_eq!(listener("anything else").unwrap(), None);
        assert!(listener("kafka listening on nowhere").is_err());
    }

    #[test]
    fn settings_travel_in_the_environment() {
        assert_eq!(variable("sqs.signatures"), "FOREBAY__SQS__SIGNATURES");
    }

    #[test]
    fn a_folder_goes_away() {
        let folder = Folder::create(&std::env::temp_dir()).unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
