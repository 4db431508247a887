//! `forebay queue …` against a broker that runs: every verb, its forms of output, and its refusals.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::{Broker, command};

/// `forebay queue …` at a broker.
fn run(broker: &Broker, args: &[&str]) -> Output {
    let http = broker.http().to_string();
    let mut command = command();
    command.arg("queue").args(args).args(["--http", &http]);
    command.output().unwrap()
}

/// What it printed, having succeeded.
#[track_caller]
fn text(broker: &Broker, args: &[&str]) -> String {
    let output = run(broker, args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The table it printed, as lines of single-spaced words.
#[track_caller]
fn lines(broker: &Broker, args: &[&str]) -> Vec<String> {
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text(broker, args).lines().map(single).collect()
}

/// The JSON it printed.
#[track_caller]
fn value(broker: &Broker, args: &[&str]) -> Value {
    let text = text(broker, &[args, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// Checks that it exits 1, prints nothing, and says why.
#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.starts_with("forebay: "), "{message}");
    assert!(message.contains(why), "{message}");
}

fn bodies(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().unwrap().iter();
    messages.map(|m| m["body"].as_str().unwrap()).collect()
}

#[track_caller]
fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    panic!("it never came true");
}

#[test]
fn settings_are_flags() {
    let broker = Broker::start();
    let made = lines(&broker, &["create", "dead"]);
    assert!(made.contains(&"name dead".to_owned()), "{made:?}");
    let flags = "--lease 45s --delay 2s --retention 2d --dead-letter dead --attempts 3 \
        --backoff base=2s,max=1m,jitter=none --priorities 5 --max-bytes 64KiB";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let made = value(&broker, &[&["create", "orders"], &flags[..]].concat());
    for (name, expected) in [
        ("ordering", json!("none")),
        ("lease_ms", json!(45_000)),
        ("delay_ms", json!(2000)),
        ("retention_ms", json!(172_800_000)),
        ("dead_letter", json!({ "queue": "dead", "attempts_max": 3 })),
        (
            "backoff",
            json!({ "base_ms": 2000, "max_ms": 60_000, "jitter": false }),
        ),
        ("priorities", json!(5)),
        ("message_bytes_max", json!(65_536)),
    ] {
        assert_eq!(made["settings"][name], expected, "{name}");
    }
    let described = lines(&broker, &["describe", "orders"]);
    for line in [
        "name orders",
        "topic.name orders",
        "depth.ready 0",
        "settings.lease 45s",
        "settings.retention 2d",
        "settings.message_bytes_max 64KiB",
        "settings.dead_letter.queue dead",
        "settings.backoff.max 1m",
    ] {
        assert!(
            described.contains(&line.to_owned()),
            "no {line} in {described:?}"
        );
    }
    let dead = lines(&broker, &["describe", "dead"]);
    assert!(
        dead.contains(&"dead_letter_sources orders".to_owned()),
        "{dead:?}"
    );
    assert_eq!(value(&broker, &["describe", "orders"]), made);
}

#[test]
fn queues_are_listed_and_deleted() {
    let broker = Broker::start();
    let headings = "NAME ORDERING READY IN-FLIGHT DELAYED TOPIC";
    assert_eq!(lines(&broker, &["list"]), [headings]);
    value(&broker, &["create", "orders"]);
    let more = value(&broker, &["create", "more", "--topic", "orders", "--fifo"]);
    assert_eq!(more["settings"]["ordering"], "key");
    let (more, orders) = ("more key 0 0 0 orders", "orders none 0 0 0 orders");
    assert_eq!(lines(&broker, &["list"]), [headings, more, orders]);
    assert_eq!(
        lines(&broker, &["list", "--prefix", "o"]),
        [headings, orders]
    );
    assert_eq!(lines(&broker, &["list", "--max", "1"]), [headings, more]);
    assert_eq!(value(&broker, &["list"])[1]["name"], "orders");

    assert_eq!(text(&broker, &["delete", "more"]), "deleted more\n");
    let deleted = value(&broker, &["delete", "orders"]);
    assert_eq!(deleted, json!({ "deleted": "orders" }));
    assert_eq!(lines(&broker, &["list"]), [headings]);
}

#[test]
fn messages_go_in_and_out() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let sent = lines(&broker, &["send", "orders", "first"]);
    assert_eq!(sent[0], "ID SEQUENCE DUPLICATE");
    assert!(sent[1].ends_with(" 0 false"), "{sent:?}");
    let send = [
        "send",
        "orders",
        "second",
        "--key",
        "k",
        "--header",
        "a=1",
        "--header",
        "b=x=y",
        "--dedup",
        "one",
        "--priority",
        "3",
    ];
    assert_eq!(value(&broker, &send)["duplicate"], false);
    assert_eq!(value(&broker, &send)["duplicate"], true);
    value(&broker, &["send", "orders", "later", "--delay", "1h"]);

    let seen = value(&broker, &["peek", "orders"]);
    assert_eq!(bodies(&seen), ["first", "second", "later"]);
    assert_eq!(seen[0].get("receipt"), None);
    assert_eq!(
        bodies(&value(
            &broker,
            &["peek", "orders", "--from", "1", "--max", "1"]
        )),
        ["second"]
    );
    let table = lines(&broker, &["peek", "orders"]);
    assert_eq!(table[0], "SEQUENCE SENT DELIVERIES KEY FAILED-IN BODY");
    assert!(table[2].ends_with(" 0 k - second"), "{table:?}");

    let received = value(
        &broker,
        &["receive", "orders", "--max", "5", "--lease", "1h"],
    );
    assert_eq!(bodies(&received), ["first", "second"]);
    assert_eq!(received[1]["key"], "k");
    let headers = json!([{ "name": "a", "value": "1" }, { "name": "b", "value": "x=y" }]);
    assert_eq!(received[1]["headers"], headers);
    assert_eq!(value(&broker, &["receive", "orders"]), json!([]));
    assert_eq!(lines(&broker, &["receive", "orders"]).len(), 1);
    assert_eq!(lines(&broker, &["list"])[1], "orders none 0 2 1 orders");
    assert_eq!(text(&broker, &["purge", "orders"]), "purged orders\n");
    assert_eq!(lines(&broker, &["list"])[1], "orders none 0 0 0 orders");
}

#[test]
fn what_is_acknowledged_is_gone_until_it_is_replayed() {
    let broker = Broker::start();
    let made = value(&broker, &["create", "orders", "--replay", "7d"]);
    assert_eq!(made["settings"]["replay_ms"], json!(604_800_000));
    for body in ["a", "b"] {
        value(&broker, &["send", "orders", body]);
    }
    let acked = value(&broker, &["receive", "orders", "--max", "2", "--ack"]);
    assert_eq!(bodies(&acked), ["a", "b"]);
    assert_eq!(lines(&broker, &["list"])[1], "orders none 0 0 0 orders");
    assert_eq!(
        text(&broker, &["replay", "orders", "--from", "1"]),
        "replayed 1\n"
    );
    let replayed = value(&broker, &["replay", "orders", "--from", "0"]);
    assert_eq!(replayed, json!({ "replayed": 1 }));
    assert_eq!(bodies(&value(&broker, &["peek", "orders"])), ["a", "b"]);
    // A purge is final, whatever is kept.
    value(&broker, &["receive", "orders", "--ack"]);
    assert_eq!(text(&broker, &["purge", "orders"]), "purged orders\n");
    let replayed = value(&broker, &["replay", "orders", "--from", "0"]);
    assert_eq!(replayed, json!({ "replayed": 0 }));
}

#[test]
fn a_purge_says_what_can_still_be_read() {
    let broker = Broker::start();
    value(&broker, &["create", "events", "--stream"]);
    assert_eq!(
        text(&broker, &["purge", "events"]),
        "purged events; it is a stream: its records stay readable by offset\n"
    );
    let purged = value(&broker, &["purge", "events"]);
    assert_eq!(purged["records_stay"], json!("stream"));
}

#[test]
fn a_body_may_come_from_standard_input_and_be_anything() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let http = broker.http().to_string();
    for (args, body) in [(&["-"][..], &b"a\x1b[2J\n"[..]), (&[], &[0xff, 0])] {
        let mut child = command()
            .args(["queue", "send", "orders", "--http", &http])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        assert!(child.wait().unwrap().success());
    }
    let seen = value(&broker, &["peek", "orders"]);
    assert_eq!(seen[0]["body"], "a\u{1b}[2J\n");
    assert_eq!(seen[1]["body_base64"], "/wA=");
    // A terminal must not obey what a message says.
    let table = text(&broker, &["peek", "orders"]);
    assert!(table.contains("a\\u{1b}[2J\\n\n"), "{table}");
    assert!(table.contains("base64:/wA=\n"), "{table}");
}

#[test]
fn a_receiver_waits() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let http = broker.http().to_string();
    let waiting = command()
        .args(["queue", "receive", "orders", "--wait", "30s", "-o", "json"])
        .args(["--http", &http])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    thread::park_timeout(Duration::from_millis(200));
    value(&broker, &["send", "orders", "at last"]);
    let output = waiting.wait_with_output().unwrap();
    let received: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(bodies(&received), ["at last"]);
}

/// Fills `dead` with two dead letters of `orders`.
fn bury(broker: &Broker) {
    value(broker, &["create", "dead"]);
    let create = [
        "create",
        "orders",
        "--dead-letter",
        "dead",
        "--attempts",
        "1",
    ];
    value(broker, &create);
    for body in ["a", "b"] {
        value(broker, &["send", "orders", body]);
    }
    let lent = value(
        broker,
        &["receive", "orders", "--max", "2", "--lease", "0s"],
    );
    assert_eq!(bodies(&lent), ["a", "b"]);
    // Whoever asks once more comes upon them.
    assert_eq!(value(broker, &["receive", "orders"]), json!([]));
    eventually(|| value(broker, &["describe", "dead"])["depth"]["ready"] == 2);
}

#[test]
fn dead_letters_are_redriven() {
    let broker = Broker::start();
    bury(&broker);
    let table = lines(&broker, &["peek", "dead"]);
    assert!(table[1].ends_with(" orders a"), "{table:?}");
    assert_eq!(
        lines(&broker, &["redrive", "dead", "--dry-run"]),
        ["2 would be moved", "TO MESSAGES NOTE", "orders 2"]
    );
    let told = value(&broker, &["redrive", "dead", "--dry-run", "--to", "orders"]);
    assert_eq!(told["destinations"][0]["messages"], 2);
    assert_eq!(value(&broker, &["redrive", "dead", "--list"]), json!([]));

    let task = value(&broker, &["redrive", "dead"]);
    let list = || value(&broker, &["redrive", "dead", "--list"]);
    eventually(|| list()[0]["state"] == "completed");
    assert_eq!(list()[0]["id"], task["id"]);
    let id = task["id"].as_str().unwrap();
    assert_eq!(
        lines(&broker, &["redrive", "dead", "--list"]),
        [
            "TASK STATE MOVED OF TO FAILURE".to_owned(),
            format!("{id} completed 2 2 - -")
        ]
    );
    assert_eq!(bodies(&value(&broker, &["peek", "orders"])), ["a", "b"]);
    let described = lines(&broker, &["describe", "dead"]);
    assert!(
        described.contains(&format!("redrive.{id} completed, 2 of 2")),
        "{described:?}"
    );
}

#[test]
fn a_redrive_goes_slowly_and_is_cancelled() {
    let broker = Broker::start();
    bury(&broker);
    // Enough of them that the task runs for longer than this test.
    for _ in 0..20 {
        value(&broker, &["send", "dead", "stray"]);
    }
    value(&broker, &["create", "elsewhere"]);
    let slow = ["redrive", "dead", "--to", "elsewhere", "--rate", "1"];
    let task = value(&broker, &slow);
    assert_eq!(task["rate_max"], 1);
    let id = task["id"].as_str().unwrap();
    refused(&run(&broker, &slow), "a move task runs already");
    let cancelled = lines(&broker, &["redrive", "dead", "--cancel", id]);
    assert!(
        cancelled[1].starts_with(&format!("{id} cancelled")),
        "{cancelled:?}"
    );
    refused(
        &run(&broker, &["redrive", "dead", "--cancel", id]),
        &format!("no task {id} runs on queue 'dead'"),
    );
}

#[test]
fn yaml_shows_the_same() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let yaml = text(&broker, &["list", "-o", "yaml"]);
    let expected = "- depth:\n    delayed: 0\n    in_flight: 0\n    ready: 0\n  name: orders\n  \
        ordering: none\n  topic: orders\n";
    assert_eq!(yaml, expected);
}

#[test]
fn refusals_come_in_the_brokers_words() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let no_queue = "there is no queue 'nowhere'";
    for args in [
        &["describe", "nowhere"][..],
        &["delete", "nowhere"],
        &["send", "nowhere", "x"],
        &["receive", "nowhere"],
        &["peek", "nowhere"],
        &["purge", "nowhere"],
        &["redrive", "nowhere"],
        &["redrive", "nowhere", "--list"],
        &["replay", "nowhere", "--from", "0"],
    ] {
        refused(&run(&broker, args), no_queue);
    }
    refused(
        &run(&broker, &["create", "orders"]),
        "queue 'orders' already exists",
    );
    let long = ["create", "q", "--lease", "13h"];
    refused(&run(&broker, &long), "`lease_ms`");
    refused(
        &run(&broker, &["describe", "a/../b"]),
        "there is no queue 'a/../b'",
    );
    let many = ["receive", "orders", "--max", "101"];
    refused(&run(&broker, &many), "`max` is 101");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_before_anything_is_asked() {
    for args in [
        &["queue"][..],
        &["queue", "create", "q", "--lease", "45"],
        &["queue", "create", "q", "--max-bytes", "1MB"],
        &["queue", "create", "q", "--dead-letter", "dead"],
        &["queue", "create", "q", "--attempts", "3"],
        &["queue", "create", "q", "--backoff", "base=1"],
        &["queue", "send", "q", "x", "--header", "novalue"],
        &["queue", "redrive", "q", "--list", "--dry-run"],
        &["queue", "replay", "q"],
        &["queue", "list", "-o", "xml"],
    ] {
        let output = command().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    // Taken and given back: nobody listens there now.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let free = free.to_string();
    let list = ["queue", "list"];
    let why = format!("cannot reach a broker at {free}: ");
    refused(
        &command()
            .args(list)
            .args(["--http", &free])
            .output()
            .unwrap(),
        &why,
    );
    refused(
        &command()
            .args(list)
            .env("FOREBAY_HTTP", &free)
            .output()
            .unwrap(),
        &why,
    );
    let off = command()
        .args(list)
        .args(["--http", "off"])
        .output()
        .unwrap();
    refused(&off, "off is no address");
}

#[test]
fn the_address_may_stand_in_the_environment_and_before_the_verb() {
    let broker = Broker::start();
    let http = broker.http().to_string();
    let named = command()
        .args(["queue", "list"])
        .env("FOREBAY_HTTP", &http)
        .output();
    assert!(named.unwrap().status.success());
    let before = command()
        .args(["queue", "--http", &http, "-o", "json", "list"])
        .output();
    assert_eq!(before.unwrap().stdout, b"[]\n");
}
