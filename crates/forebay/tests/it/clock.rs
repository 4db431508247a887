//! A wall clock that is set while the broker runs, and while it is away: nothing freezes, and nothing ends for it.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::broker::{Broker, Options, command, eventually};

const HOUR_MS: i64 = 3_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;

fn run(broker: &Broker, args: &[&str]) -> String {
    let http = broker.http().to_string();
    let mut command = command();
    command.args(args).args(["--http", &http]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Bodies of what can be received now; they are in flight for `lease` then.
fn receive(broker: &Broker, queue: &str, lease: &str) -> Vec<String> {
    let args = [
        "queue", "receive", queue, "--max", "10", "--lease", lease, "-o", "json",
    ];
    let messages: Value = serde_json::from_str(&run(broker, &args)).unwrap();
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|message| message["body"].as_str().unwrap().to_owned())
        .collect()
}

/// Sets how far the wall clock is ahead of the machine's.
fn set_wall(broker: &Broker, ahead_ms: i64) {
    fs::write(broker.data().join("wall"), ahead_ms.to_string()).unwrap();
}

/// Queues in which something lasts: long enough to outlive the test, or only a moment.
fn fill(broker: &Broker) {
    run(
        broker,
        &[
            "policy",
            "set",
            "long",
            "^ttl-long$",
            r#"{"message_ttl_ms":1200000}"#,
        ],
    );
    run(
        broker,
        &[
            "policy",
            "set",
            "short",
            "^ttl-short$",
            r#"{"message_ttl_ms":2000}"#,
        ],
    );
    for queue in [
        "lease",
        "delay-long",
        "delay-short",
        "ttl-long",
        "ttl-short",
        "kept",
    ] {
        run(broker, &["queue", "create", queue]);
    }
    for queue in ["lease", "ttl-long", "ttl-short", "kept"] {
        run(broker, &["queue", "send", queue, "message"]);
    }
    run(
        broker,
        &["queue", "send", "delay-long", "message", "--delay", "20m"],
    );
    run(
        broker,
        &["queue", "send", "delay-short", "message", "--delay", "2s"],
    );
    // In flight for long, and one more for a moment.
    assert_eq!(receive(broker, "lease", "20m"), ["message"]);
    run(broker, &["queue", "send", "lease", "moment"]);
    assert_eq!(receive(broker, "lease", "2s"), ["moment"]);
}

#[track_caller]
fn check(broker: &Broker, why: &str) {
    // What lasts long has not ended, and what is kept is there.
    assert_eq!(receive(broker, "delay-long", "1m"), [""; 0], "{why}");
    assert_eq!(receive(broker, "ttl-long", "1ms"), ["message"], "{why}");
    assert_eq!(receive(broker, "kept", "1ms"), ["message"], "{why}");
    // What lasts a moment has ended a moment later.
    let mut got = Vec::new();
    let ended = eventually(|| {
        got.extend(receive(broker, "lease", "20m"));
        !got.is_empty()
    });
    assert!(ended, "{why}");
    assert_eq!(got, ["moment"], "{why}");
    assert!(
        eventually(|| receive(broker, "delay-short", "1m") == ["message"]),
        "{why}"
    );
    assert!(
        eventually(|| receive(broker, "ttl-short", "1ms").is_empty()),
        "{why}"
    );
}

#[track_caller]
fn jumps(by_ms: i64, restart: bool) {
    let broker = Options::new()
        .arg("--planted-bug")
        .arg("wall-clock")
        .start();
    fill(&broker);
    set_wall(&broker, by_ms);
    broker.await_log("the wall clock has jumped");
    let broker = if restart { broker.restart() } else { broker };
    check(&broker, &format!("{by_ms} ms, restart {restart}"));
    // What comes now is stamped by the wall clock as it is.
    run(&broker, &["queue", "send", "kept", "later"]);
    let peeked = run(
        &broker,
        &["queue", "peek", "kept", "--max", "10", "-o", "json"],
    );
    let peeked: Value = serde_json::from_str(&peeked).unwrap();
    let sent = |i: usize| peeked[i]["sent_ms"].as_i64().unwrap();
    let apart = sent(1) - sent(0) - by_ms;
    assert!((0..600_000).contains(&apart), "{apart} {peeked}");
}

#[test]
fn an_hour_back() {
    jumps(-HOUR_MS, false);
}

#[test]
fn an_hour_forward() {
    jumps(HOUR_MS, false);
}

#[test]
fn ten_years_forward_and_back() {
    let broker = Options::new()
        .arg("--planted-bug")
        .arg("wall-clock")
        .start();
    fill(&broker);
    set_wall(&broker, TEN_YEARS_MS);
    broker.await_log("the wall clock has jumped");
    // Long enough for what would end by it.
    thread::park_timeout(Duration::from_millis(1500));
    set_wall(&broker, 0);
    check(&broker, "ten years there and back");
}

#[test]
fn an_hour_back_then_a_kill() {
    jumps(-HOUR_MS, true);
}

#[test]
fn ten_years_forward_then_a_kill() {
    jumps(TEN_YEARS_MS, true);
}

#[test]
fn an_hour_back_while_the_broker_is_away() {
    let mut broker = Options::new()
        .arg("--planted-bug")
        .arg("wall-clock")
        .start();
    fill(&broker);
    broker.kill();
    set_wall(&broker, -HOUR_MS);
    let broker = broker.restart();
    check(&broker, "an hour back while away");
}
