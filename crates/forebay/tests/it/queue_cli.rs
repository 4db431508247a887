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
    let headings = "NAME TYPE ORDERING READY IN-FLIGHT DELAYED CONSUMERS TOPIC";
    assert_eq!(lines(&broker, &["list"]), [headings]);
    value(&broker, &["create", "orders"]);
    let more = value(&broker, &["create", "more", "--topic", "orders", "--fifo"]);
    assert_eq!(more["settings"]["ordering"], "key");
    let (more, orders) = (
        "more classic key 0 0 0 0 orders",
        "orders classic none 0 0 0 0 orders",
    );
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
    assert_eq!(
        lines(&broker, &["list"])[1],
        "orders classic none 0 2 1 0 orders"
    );
    assert_eq!(text(&broker, &["purge", "orders"]), "purged orders\n");
    assert_eq!(
        lines(&broker, &["list"])[1],
        "orders classic none 0 0 0 0 orders"
    );
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
    assert_eq!(
        lines(&broker, &["list"])[1],
        "orders classic none 0 0 0 0 orders"
    );
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
fn dead_letter(broker: &Broker) {
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
    let leased = value(
        broker,
        &["receive", "orders", "--max", "2", "--lease", "0s"],
    );
    assert_eq!(bodies(&leased), ["a", "b"]);
    // One more receive finds them.
    assert_eq!(value(broker, &["receive", "orders"]), json!([]));
    eventually(|| value(broker, &["describe", "dead"])["depth"]["ready"] == 2);
}

#[test]
fn dead_letters_are_redriven() {
    let broker = Broker::start();
    dead_letter(&broker);
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
    dead_letter(&broker);
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
    let expected = "- consumers: 0\n  depth:\n    delayed: 0\n    in_flight: 0\n    ready: 0\n  name: orders\n  \
        ordering: none\n  topic: orders\n  type: classic\n  vhost: /\n";
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
    refused(&run(&broker, &long), "--lease 13h: expected 0ms to 12h");
    refused(
        &run(&broker, &["describe", "a/../b"]),
        "there is no queue 'a/../b'",
    );
    let many = ["receive", "orders", "--max", "101"];
    refused(&run(&broker, &many), "--max 101: expected 1 to 100");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_before_anything_is_asked() {
    for args in [
        &["queue"][..],
        &["queue", "create", "q", "--lease", "45"],
        &["queue", "create", "q", "--max-bytes", "1M"],
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
    refused(&off, "invalid address `off`: expected HOST:PORT");
    // A listener of another protocol is none of the API's.
    let broker = Broker::start();
    let kafka = broker.address("kafka").unwrap().to_string();
    let lost = command().args(list).args(["--http", &kafka]).output();
    let why = format!("{kafka} is not a Forebay HTTP listener, or failed: ");
    refused(&lost.unwrap(), &why);
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

#[test]
fn received_messages_are_settled_by_their_receipts() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    for body in ["a", "b", "c"] {
        value(&broker, &["send", "orders", body]);
    }
    let received = value(
        &broker,
        &["receive", "orders", "--max", "3", "--lease", "1h"],
    );
    let receipt = |at: usize| received[at]["receipt"].as_str().unwrap().to_owned();
    let (a, b, c) = (receipt(0), receipt(1), receipt(2));
    assert_eq!(text(&broker, &["ack", "orders", &a]), "acknowledged 1\n");
    assert_eq!(
        text(&broker, &["extend", "orders", &b, "--lease", "2h"]),
        "extended 1\n"
    );
    assert_eq!(
        lines(&broker, &["list"])[1],
        "orders classic none 0 2 0 0 orders"
    );
    assert_eq!(
        value(&broker, &["release", "orders", &b, &c, "--delay", "0s"]),
        json!({ "released": 2 })
    );
    assert_eq!(
        lines(&broker, &["list"])[1],
        "orders classic none 2 0 0 0 orders"
    );
    let table = lines(&broker, &["receive", "orders"]);
    assert_eq!(
        table[0],
        "SEQUENCE SENT DELIVERIES KEY FAILED-IN RECEIPT BODY"
    );
    let shown = table[1].split(' ').nth(5).unwrap();
    assert_eq!(text(&broker, &["ack", "orders", shown]), "acknowledged 1\n");

    let again = run(&broker, &["ack", "orders", &a, shown]);
    refused(&again, &format!("{a}: no such message any more"));
    refused(&again, "2 of 2 messages were not settled");
    let nonsense = run(&broker, &["ack", "orders", "nonsense"]);
    refused(
        &nonsense,
        "a receipt is none that a receive of this broker returned",
    );
}

#[test]
fn settings_are_changed_and_taken_away() {
    let broker = Broker::start();
    value(&broker, &["create", "dead"]);
    value(&broker, &["create", "orders"]);
    let set = "set orders --lease 1m --dead-letter dead --attempts 2 --backoff base=1s \
        --in-flight 10 --dedup-window 1h";
    let set: Vec<&str> = set.split_whitespace().collect();
    let changed = value(&broker, &set);
    assert_eq!(changed["settings"]["lease_ms"], 60_000);
    assert_eq!(changed["settings"]["in_flight_max"], 10);
    assert_eq!(changed["settings"]["dedup_window_ms"], 3_600_000);
    let policy = json!({ "queue": "dead", "attempts_max": 2 });
    assert_eq!(changed["settings"]["dead_letter"], policy);
    let patient = value(&broker, &["set", "orders", "--attempts", "5"]);
    let policy = json!({ "queue": "dead", "attempts_max": 5 });
    assert_eq!(patient["settings"]["dead_letter"], policy);
    let cleared = value(
        &broker,
        &["set", "orders", "--no-dead-letter", "--no-backoff"],
    );
    assert_eq!(cleared["settings"]["dead_letter"], json!(null));
    assert_eq!(cleared["settings"]["backoff"], json!(null));
    assert_eq!(cleared["settings"]["lease_ms"], 60_000);
    refused(&run(&broker, &["set", "orders"]), "nothing to set");
    refused(
        &run(
            &broker,
            &[
                "set",
                "orders",
                "--dead-letter",
                "nowhere",
                "--attempts",
                "1",
            ],
        ),
        "there is no queue 'nowhere' to take the dead letters",
    );
    let many = [
        "set",
        "orders",
        "--dead-letter",
        "dead",
        "--attempts",
        "1001",
    ];
    refused(&run(&broker, &many), "--attempts 1001: expected 1 to 1000");
    let large = ["set", "orders", "--max-bytes", "65MiB"];
    refused(
        &run(&broker, &large),
        "--max-bytes 65MiB: expected 1 to 64MiB",
    );
}

#[test]
fn a_name_that_ends_with_fifo_makes_a_fifo_queue() {
    let broker = Broker::start();
    let made = value(&broker, &["create", "orders.fifo"]);
    assert_eq!(made["settings"]["ordering"], "key");
    for (body, key) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        value(&broker, &["send", "orders.fifo", body, "--key", key]);
    }
    let first = value(&broker, &["receive", "orders.fifo", "--max", "1"]);
    assert_eq!(bodies(&first), ["a1"]);
    assert_eq!(
        bodies(&value(&broker, &["receive", "orders.fifo", "--max", "9"])),
        ["b1"]
    );
}

#[test]
fn names_of_any_protocol_are_taken() {
    let broker = Broker::start();
    for name in ["my queue", "a/b?c=d#e", "prüfung:1%2F", "-"] {
        for (verb, rest) in [
            ("create", &[][..]),
            ("send", &["hello"]),
            ("describe", &[]),
            ("peek", &[]),
            ("receive", &[]),
            ("purge", &[]),
            ("delete", &[]),
        ] {
            let http = broker.http().to_string();
            let mut command = command();
            command
                .args(["queue", "--http", &http, verb, "--", name])
                .args(rest);
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{verb} {name}: {output:?}");
        }
    }
    assert_eq!(value(&broker, &["list"]), json!([]));
}

#[test]
fn what_others_dead_letter_into_is_not_deleted_by_the_way() {
    let broker = Broker::start();
    dead_letter(&broker);
    refused(
        &run(&broker, &["delete", "dead"]),
        "queue 'dead' takes the dead letters of 'orders', which would stay there: \
         delete it nevertheless with `--force`",
    );
    assert_eq!(
        text(&broker, &["delete", "dead", "--force"]),
        "deleted dead\n"
    );
    assert_eq!(text(&broker, &["delete", "orders"]), "deleted orders\n");
}

#[test]
fn only_dead_letters_go_back_and_a_task_is_waited_for() {
    let broker = Broker::start();
    dead_letter(&broker);
    refused(
        &run(&broker, &["redrive", "orders"]),
        "queue 'orders' holds no dead letters that could go back to where they came from",
    );
    let waited = run(&broker, &["redrive", "dead", "--wait", "-o", "json"]);
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    let task: Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!(task["state"], "completed");
    assert_eq!(task["moved"], 2);
    let progress = String::from_utf8_lossy(&waited.stderr);
    // How much of it is seen depends on how fast the task is.
    let is_progress = |line: &str| line.starts_with("moved ") && line.ends_with(" of 2");
    assert!(progress.lines().all(is_progress), "{progress}");
    assert_eq!(bodies(&value(&broker, &["peek", "orders"])), ["a", "b"]);

    // A message without a source makes the task fail, and the command with it.
    value(&broker, &["send", "dead", "stray"]);
    let failed = run(&broker, &["redrive", "dead", "--wait"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr);
    let why = "forebay: the task failed: not a dead letter: name a queue with `--to`\n";
    assert!(said.ends_with(why), "{said}");
}

#[test]
fn refusals_come_as_json_too() {
    let broker = Broker::start();
    value(&broker, &["create", "orders"]);
    let failed = run(&broker, &["set", "orders", "--lease", "13h", "-o", "json"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty());
    let problem: Value = serde_json::from_slice(&failed.stderr).unwrap();
    let expected = json!({
        "error": {
            "type": "urn:forebay:problem:invalid",
            "title": "Invalid request",
            "status": 422,
            "detail": "--lease 13h: expected 0ms to 12h",
            "parameter": "lease_ms",
            "value": 46_800_000,
            "min": 0,
            "max": 43_200_000,
        },
    });
    assert_eq!(problem, expected);
    let yaml = run(&broker, &["describe", "nowhere", "-o", "yaml"]);
    let yaml = String::from_utf8_lossy(&yaml.stderr).into_owned();
    assert!(
        yaml.starts_with("error:\n  detail: there is no queue 'nowhere'\n"),
        "{yaml}"
    );
}

#[test]
fn a_queue_of_another_vhost_is_reached_like_any() {
    let broker = Broker::start();
    refused(
        &run(&broker, &["list", "--vhost", "shop"]),
        "there is no vhost 'shop'",
    );
    refused(
        &run(&broker, &["describe", "orders", "--vhost", "shop"]),
        "there is no queue 'orders' in vhost 'shop'",
    );
    value(&broker, &["create", "orders", "--vhost", "/"]);
    assert_eq!(value(&broker, &["list", "--vhost", "/"])[0]["vhost"], "/");
}
