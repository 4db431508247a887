//! `forebay topic …` against a broker that runs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::broker::{Broker, command};
use crate::cli::{feed, lines, printed, refused, run, value};

#[test]
fn topics_are_created_listed_altered_and_deleted() {
    let broker = Broker::start();
    let create = ["topic", "create", "orders", "--partitions", "2"];
    let made = lines(
        &broker,
        &[&create[..], &["--set", "retention.ms=60000"]].concat(),
    );
    let id = made[1].strip_prefix("id ").expect("an id").to_owned();
    assert_eq!(
        made,
        [
            "name orders".to_owned(),
            format!("id {id}"),
            "partition.0 offsets 0 to 0".to_owned(),
            "partition.1 offsets 0 to 0".to_owned(),
            "settings.retention.ms 60000".to_owned(),
        ]
    );
    value(&broker, &["topic", "create", "more"]);
    let headings = "NAME PARTITIONS OFFSETS";
    let list = |args: &[&str]| lines(&broker, &[&["topic", "list"], args].concat());
    assert_eq!(list(&[]), [headings, "more 1 0", "orders 2 0"]);
    assert_eq!(list(&["--prefix", "o"]), [headings, "orders 2 0"]);
    assert_eq!(list(&["--max", "1"]), [headings, "more 1 0"]);

    let alter = ["topic", "alter", "orders", "--partitions", "3"];
    let change = ["--set", "max.message.bytes=2000", "--reset", "retention.ms"];
    let altered = value(&broker, &[&alter[..], &change].concat());
    assert_eq!(altered["settings"], json!({ "max.message.bytes": "2000" }));
    assert_eq!(altered["partitions"].as_array().unwrap().len(), 3);
    let all = lines(&broker, &["topic", "describe", "orders", "--all"]);
    for line in [
        "settings.retention.ms 604800000",
        "settings.max.message.bytes 2000",
        "settings.cleanup.policy delete",
    ] {
        assert!(all.contains(&line.to_owned()), "no {line} in {all:?}");
    }
    let nonsense = ["topic", "alter", "orders", "--reset", "nonsense"];
    refused(
        &run(&broker, &nonsense),
        "there is no setting 'nonsense' of topics to go back to a default",
    );
    assert_eq!(
        lines(&broker, &["topic", "delete", "more"]),
        ["deleted more"]
    );
    assert_eq!(list(&[]), [headings, "orders 3 0"]);
}

#[test]
fn what_is_too_much_to_show_is_said_to_be_there() {
    let broker = Broker::start();
    let wide = ["topic", "create", "wide", "--partitions", "101"];
    let made = lines(&broker, &wide);
    assert_eq!(made[2], "partitions 101");
    assert_eq!(made[3], "offsets 0 in all; `-o json` shows each partition");
    assert_eq!(made.len(), 4);
    value(&broker, &["topic", "create", "many", "--partitions", "2"]);
    let numbers: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let produce = ["topic", "produce", "many", "--lines", "--partition", "0"];
    feed(&broker, &produce, numbers[..100].join("\n").as_bytes());
    let consume = |more: &[&str]| run(&broker, &[&["topic", "consume", "many"], more].concat());
    let all = consume(&[]);
    assert!(all.stderr.is_empty(), "{all:?}");
    run(
        &broker,
        &["topic", "produce", "many", "x", "--partition", "1"],
    );
    let cut = consume(&[]);
    assert_eq!(cut.status.code(), Some(0), "{cut:?}");
    let said = String::from_utf8_lossy(&cut.stderr);
    assert!(
        said.starts_with("100 records shown, and there may be more: `--max N`"),
        "{said}"
    );
    assert!(said.contains("`--follow`"), "{said}");
    assert!(consume(&["--max", "5"]).stderr.is_empty());
    assert!(consume(&["--max", "200"]).stderr.is_empty());
}

#[test]
fn records_are_produced_and_consumed() {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders"]);
    let produce = ["topic", "produce", "orders", "first", "--key", "k"];
    let header = ["--header", "a=1", "--header", "b=x=y"];
    assert_eq!(
        lines(&broker, &[&produce[..], &header].concat()),
        ["PARTITION OFFSET", "0 0"]
    );
    let bytes = feed(&broker, &["topic", "produce", "orders"], &[0xff, b'\n']);
    assert_eq!(printed(bytes), "PARTITION  OFFSET\n0          1\n");
    let many = ["topic", "produce", "orders", "--lines", "-o", "json"];
    let many: Value = serde_json::from_str(&printed(feed(&broker, &many, b"a\n\nb\n"))).unwrap();
    let offsets = json!([
        { "partition": 0, "offset": 2 },
        { "partition": 0, "offset": 3 },
        { "partition": 0, "offset": 4 },
    ]);
    assert_eq!(many, offsets);

    let records = value(&broker, &["topic", "consume", "orders"]);
    let values: Vec<_> = records.as_array().unwrap().iter().collect();
    assert_eq!(values.len(), 5);
    assert_eq!(values[0]["key"], "k");
    assert_eq!(values[0]["value"], "first");
    assert_eq!(
        values[0]["headers"],
        json!([{ "name": "a", "value": "1" }, { "name": "b", "value": "x=y" }])
    );
    assert_eq!(values[1]["value_base64"], "/wo=");
    assert_eq!(values[1]["key"], json!(null));
    assert_eq!(values[3]["value"], "");
    let table = lines(
        &broker,
        &["topic", "consume", "orders", "--from", "2", "--max", "1"],
    );
    assert_eq!(table[0], "PARTITION OFFSET TIMESTAMP KEY VALUE");
    assert!(
        table[1].starts_with("0 2 20") && table[1].ends_with("Z - a"),
        "{table:?}"
    );
    assert_eq!(table.len(), 2);
    let latest = value(&broker, &["topic", "consume", "orders", "--from", "latest"]);
    assert_eq!(latest, json!([]));
    assert_eq!(lines(&broker, &["topic", "list"])[1], "orders 1 5");
}

#[test]
fn records_of_one_key_meet_in_one_partition() {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders", "--partitions", "7"]);
    // As the usual producers' hash has it: 479470107 modulo 7.
    for _ in 0..2 {
        let placed = value(
            &broker,
            &["topic", "produce", "orders", "x", "--key", "abc"],
        );
        assert_eq!(placed[0]["partition"], 479_470_107 % 7);
    }
    let chosen = ["topic", "produce", "orders", "x", "--partition", "3"];
    assert_eq!(
        value(&broker, &chosen)[0],
        json!({ "partition": 3, "offset": 0 })
    );
    let only = ["topic", "consume", "orders", "--partition", "3"];
    assert_eq!(value(&broker, &only).as_array().unwrap().len(), 1);
}

#[test]
fn a_follower_is_told_of_each_new_record() {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders", "--partitions", "2"]);
    let http = broker.http().to_string();
    let mut follower = command()
        .args([
            "topic", "consume", "orders", "--follow", "--max", "3", "-o", "json",
        ])
        .args(["--http", &http])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(follower.stdout.take().unwrap()).lines();
    for (text, partition) in [("a", "0"), ("b", "1"), ("c", "0")] {
        let produce = ["topic", "produce", "orders", text, "--partition", partition];
        value(&broker, &produce);
        let line: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["value"], text);
    }
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_topic_is_no_queue_until_one_is_attached() {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders"]);
    value(&broker, &["topic", "produce", "orders", "early"]);
    for asked in [
        &["queue", "receive", "orders"][..],
        &["queue", "send", "orders", "late"],
        &["queue", "peek", "orders"],
        &["queue", "purge", "orders"],
        &["queue", "redrive", "orders"],
        &["queue", "describe", "orders"],
        &["queue", "delete", "orders"],
        &["queue", "set", "orders", "--lease", "1m"],
    ] {
        refused(
            &run(&broker, asked),
            "there is no queue 'orders', only a topic of that name: attach a queue to it with \
             `forebay queue create orders --topic orders`",
        );
    }
    value(&broker, &["queue", "create", "orders", "--topic", "orders"]);
    let described = lines(&broker, &["topic", "describe", "orders"]);
    assert_eq!(described.last().unwrap(), "queues orders");
    value(&broker, &["topic", "produce", "orders", "late"]);
    let received = value(&broker, &["queue", "receive", "orders", "--max", "5"]);
    let bodies: Vec<_> = received
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["body"])
        .collect();
    assert_eq!(bodies, ["early", "late"]);
    refused(
        &run(&broker, &["topic", "delete", "orders"]),
        "topic 'orders' is received from by queue 'orders', which would be deleted with it: \
         delete both with `--force`",
    );
    lines(&broker, &["topic", "delete", "orders", "--force"]);
    assert_eq!(value(&broker, &["queue", "list"]), json!([]));
}

#[test]
fn refusals_name_the_thing_and_the_flag() {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders"]);
    let no_topic = "there is no topic 'nowhere'";
    for args in [
        &["describe", "nowhere"][..],
        &["alter", "nowhere", "--partitions", "2"],
        &["delete", "nowhere"],
        &["produce", "nowhere", "x"],
        &["consume", "nowhere"],
    ] {
        refused(&run(&broker, &[&["topic"], args].concat()), no_topic);
    }
    for (args, why) in [
        (&["create", "orders"][..], "topic 'orders' already exists"),
        (
            &["create", "x", "--set", "retention=1"],
            "Unknown topic config name: retention",
        ),
        (
            &["produce", "orders", "x", "--partition", "7"],
            "topic 'orders' has no such partition",
        ),
        (
            &["consume", "orders", "--partition", "7"],
            "--partition 7: topic 'orders' has no such partition",
        ),
        (
            &["consume", "orders", "--from", "5"],
            "--from 5: expected 0 to 0",
        ),
        (
            &["consume", "orders", "--from", "start"],
            "`--from` is 'start': expected `earliest`, `latest` or an offset",
        ),
    ] {
        refused(&run(&broker, &[&["topic"], args].concat()), why);
    }
    let as_json = run(&broker, &["topic", "describe", "nowhere", "-o", "json"]);
    assert_eq!(as_json.status.code(), Some(1));
    assert!(as_json.stdout.is_empty());
    let problem: Value = serde_json::from_slice(&as_json.stderr).unwrap();
    let expected = json!({
        "type": "urn:forebay:problem:no-such-topic",
        "title": "No such topic",
        "status": 404,
        "detail": no_topic,
    });
    assert_eq!(problem["error"], expected);
}
