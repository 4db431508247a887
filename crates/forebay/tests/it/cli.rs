//! Runs `forebay NOUN VERB …` against a broker, and reads what it printed.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::broker::{Broker, command};

/// Runs a command against the broker, with nothing on standard input.
pub(crate) fn run(broker: &Broker, args: &[&str]) -> Output {
    let http = broker.http().to_string();
    let mut command = command();
    command.args(args).args(["--http", &http]);
    command.output().unwrap()
}

/// Runs a command with something on standard input.
pub(crate) fn feed(broker: &Broker, args: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let http = broker.http().to_string();
    let mut child = command()
        .args(args)
        .args(["--http", &http])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// What it printed, having succeeded.
#[track_caller]
pub(crate) fn printed(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The table it printed, as lines of single-spaced words.
#[track_caller]
pub(crate) fn lines(broker: &Broker, args: &[&str]) -> Vec<String> {
    let text = printed(run(broker, args));
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(single).collect()
}

/// The JSON it printed.
#[track_caller]
pub(crate) fn value(broker: &Broker, args: &[&str]) -> Value {
    let text = printed(run(broker, &[args, &["-o", "json"]].concat()));
    serde_json::from_str(&text).unwrap()
}

/// Checks that it exits 1, prints nothing on stdout, and exactly this on stderr.
#[track_caller]
pub(crate) fn refused(output: &Output, message: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("forebay: {message}\n"));
}
