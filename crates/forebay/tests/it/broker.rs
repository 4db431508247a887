//! A broker process under test: started on free ports, killed, restarted, measured, never left behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than any step takes, even in a debug build on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// How a broker is to be started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    /// The control group it runs in.
    group: Option<PathBuf>,
    /// Where its log goes instead of a file beside the data.
    stderr: Option<Arc<OwnedFd>>,
}

impl Options {
    /// Free ports for everything, no other setting.
    pub(crate) fn new() -> Self {
        Self::default()
            .arg("--kafka")
            .arg("127.0.0.1:0")
            .arg("--amqp")
            .arg("127.0.0.1:0")
            .arg("--sqs")
            .arg("127.0.0.1:0")
            .arg("--http")
            .arg("127.0.0.1:0")
    }

    /// One more argument of `forebay serve`.
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs in a control group.
    #[allow(dead_code, reason = "the bench needs none")]
    pub(crate) fn within(mut self, group: &Path) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Logs to somewhere else.
    #[allow(dead_code, reason = "the bench logs to a file")]
    pub(crate) fn stderr(mut self, stderr: impl Into<OwnedFd>) -> Self {
        self.stderr = Some(Arc::new(stderr.into()));
        self
    }

    /// Starts on a fresh data folder.
    #[track_caller]
    pub(crate) fn start(self) -> Broker {
        Broker::spawn(self, TempDir::new().expect("a temporary folder"))
    }
}

/// A running broker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    options: Options,
    folder: TempDir,
    pid: Pid,
    addresses: BTreeMap<String, SocketAddr>,
    /// Answers once, when the process has ended.
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Broker {
    /// A broker on free ports and a fresh data folder, ready.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Options::new().start()
    }

    #[track_caller]
    fn spawn(options: Options, folder: TempDir) -> Self {
        let (mut broker, stdout) = Self::launch(options, folder);
        broker.addresses = broker.await_ready(stdout);
        broker
    }

    /// A process that has only just begun.
    #[track_caller]
    fn launch(options: Options, folder: TempDir) -> (Self, ChildStdout) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        let log = match &options.stderr {
            Some(stderr) => stderr.try_clone().unwrap(),
            None => log.into(),
        };
        let mut child = command_within(options.group.as_deref())
            .arg("serve")
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(&options.args)
            .envs(options.env.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let stdout = child.stdout.take().unwrap();
        let (report, exit) = channel();
        thread::spawn(move || report.send(child.wait().unwrap()));
        let broker = Self {
            options,
            folder,
            pid,
            addresses: BTreeMap::new(),
            exit,
            status: None,
        };
        (broker, stdout)
    }

    #[track_caller]
    fn await_ready(&self, stdout: ChildStdout) -> BTreeMap<String, SocketAddr> {
        let (send, lines) = channel();
        // Goes on reading after the ready line, so that the process never blocks on a full pipe.
        thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(send.send(line)));
        });
        let mut addresses = BTreeMap::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "forebay ready" => return addresses,
                Ok(line) => {
                    let (name, address) = line.split_once(" listening on ").expect(&line);
                    addresses.insert(name.to_owned(), address.parse().expect(&line));
                }
                Err(error) => panic!("never ready ({error}); its log:\n{}", self.log()),
            }
        }
    }

    /// Where the listener `name` really listens, if it is on.
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses.get(name).copied()
    }

    /// The HTTP listener's address.
    #[track_caller]
    pub(crate) fn http(&self) -> SocketAddr {
        self.address("http").expect("http is on")
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything it has logged so far, over all restarts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait().signal(), Some(Signal::KILL.as_raw()));
    }

    /// Asks it to stop and waits until it has.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let status = match self.exit.recv_timeout(PATIENCE) {
            Ok(status) => status,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("never ended; its log:\n{}", self.log())
            }
        };
        self.status = Some(status);
        status
    }

    /// Starts again, with the same options, on the same data; kills it first if it still runs.
    #[track_caller]
    pub(crate) fn restart(mut self) -> Self {
        if self.status.is_none() {
            self.kill();
        }
        let options = self.options.clone();
        let folder = std::mem::replace(&mut self.folder, TempDir::new().unwrap());
        Self::spawn(options, folder)
    }

    /// Starts again on the same data, and is killed after `time`, usually before it is ready.
    #[track_caller]
    pub(crate) fn stumble(mut self, time: Duration) -> Self {
        if self.status.is_none() {
            self.kill();
        }
        let options = self.options.clone();
        let folder = std::mem::replace(&mut self.folder, TempDir::new().unwrap());
        let (mut broker, stdout) = Self::launch(options, folder);
        // May return early, which only makes the life shorter.
        thread::park_timeout(time);
        broker.kill();
        drop(stdout);
        broker
    }

    /// User and system CPU time used so far.
    #[track_caller]
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u32 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u32>().unwrap())
            .sum();
        f64::from(ticks) / 100.0
    }

    /// Memory in RAM now.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most it ever was.
    #[track_caller]
    #[allow(dead_code, reason = "the bench asks otherwise")]
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The part of it that is heap and stacks, not the binary.
    #[track_caller]
    #[allow(dead_code, reason = "asked by `benches/footprint.rs`")]
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    #[track_caller]
    fn memory(&self, kind: &str) -> u64 {
        let status = self.proc("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(kind))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    #[track_caller]
    fn proc(&self, file: &str) -> String {
        let path = Path::new("/proc")
            .join(self.pid.as_raw_nonzero().to_string())
            .join(file);
        fs::read_to_string(path).unwrap()
    }

    /// `GET path`: status and body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Broker {
    /// Waits until `/metrics` shows exactly this line.
    ///
    /// Counts of open connections settle a moment after a client has seen its connection close.
    #[track_caller]
    pub(crate) fn await_metric(&self, line: &str) {
        let shown = || self.get("/metrics").1.lines().any(|shown| shown == line);
        assert!(
            eventually(shown),
            "never showed {line}:\n{}",
            self.get("/metrics").1
        );
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub(crate) fn await_log(&self, text: &str) {
        assert!(
            eventually(|| self.log().contains(text)),
            "never logged {text}:\n{}",
            self.log()
        );
    }
}

/// Asks again and again, for about [`PATIENCE`].
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let pause = Duration::from_millis(10);
    (0..PATIENCE.as_millis() / pause.as_millis()).any(|_| {
        let held = holds();
        if !held {
            thread::park_timeout(pause);
        }
        held
    })
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended on its own; then there is nothing to kill.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.exit.recv_timeout(PATIENCE);
        }
    }
}

/// What a command came to that ends by itself. One that does not is killed, and the test fails.
pub(crate) fn ended(command: &mut Command) -> Output {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (done, wait) = channel::<()>();
    let watch = thread::spawn(move || {
        let is_late = wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if is_late {
            kill_process(pid, Signal::KILL).unwrap();
        }
        is_late
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    assert!(!watch.join().unwrap(), "it did not end: {output:?}");
    output
}

/// The binary, in an environment free of our settings.
pub(crate) fn command() -> Command {
    command_within(None)
}

/// The same, in a control group from its first moment on.
fn command_within(group: Option<&Path>) -> Command {
    let binary = env!("CARGO_BIN_EXE_forebay");
    let mut command = match group {
        None => Command::new(binary),
        Some(group) => {
            let mut shell = Command::new("sh");
            let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
            shell.arg("-c").arg(enter).arg(group).arg(binary);
            shell
        }
    };
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FOREBAY_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Asks again and again, for about [`PATIENCE`], until the answer is yes.
pub(crate) async fn eventually_async(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came true that {what}");
}
