//! `forebay group …` against a broker that runs, and the lag of groups in `/metrics`.

use serde_json::json;

use crate::broker::{Broker, command};
use crate::cli::{lines, refused, run, value};

/// A topic with three records, and a group that has read one.
fn stage() -> Broker {
    let broker = Broker::start();
    value(&broker, &["topic", "create", "orders"]);
    for text in ["a", "b", "c"] {
        value(&broker, &["topic", "produce", "orders", text]);
    }
    let seek = ["group", "seek", "bar", "--topic", "orders", "--to", "1"];
    assert_eq!(
        lines(&broker, &seek),
        ["TOPIC PARTITION OFFSET", "orders 0 1"]
    );
    broker
}

#[test]
fn groups_are_listed_with_their_lag_and_deleted() {
    let broker = stage();
    let headings = "NAME STATE MEMBERS LAG";
    assert_eq!(
        lines(&broker, &["group", "list"]),
        [headings, "bar empty 0 2"]
    );
    assert_eq!(
        lines(&broker, &["group", "describe", "bar"]),
        [
            "name bar",
            "state empty",
            "generation 0",
            "protocol_type -",
            "protocol -",
            "lag 2",
            "",
            "TOPIC PARTITION OFFSET END LAG",
            "orders 0 1 3 2",
        ]
    );
    for line in [
        "kafka_consumergroup_lag{consumergroup=\"bar\",topic=\"orders\",partition=\"0\"} 2",
        "kafka_consumergroup_current_offset{consumergroup=\"bar\",topic=\"orders\",partition=\"0\"} 1",
        "kafka_consumergroup_members{consumergroup=\"bar\"} 0",
    ] {
        broker.await_metric(line);
    }
    assert_eq!(lines(&broker, &["group", "delete", "bar"]), ["deleted bar"]);
    assert_eq!(lines(&broker, &["group", "list"]), [headings]);
}

#[test]
fn a_group_is_moved_to_where_it_is_told() {
    let broker = stage();
    let moved = |args: &[&str]| {
        let answer = value(&broker, &[&["group", "seek", "bar"], args].concat());
        answer["offsets"][0]["offset"].clone()
    };
    let committed =
        || value(&broker, &["group", "describe", "bar"])["offsets"][0]["offset"].clone();
    assert_eq!(moved(&["--to", "latest", "--dry-run"]), 3);
    assert_eq!(committed(), 1);
    assert_eq!(moved(&["--to", "latest"]), 3);
    assert_eq!(committed(), 3);
    assert_eq!(moved(&["--to", "earliest"]), 0);
    assert_eq!(moved(&["--ago", "1h"]), 0);
    assert_eq!(moved(&["--ago", "0s"]), 3);
    assert_eq!(
        moved(&["--topic", "orders", "--partition", "0", "--to", "2"]),
        2
    );
    assert_eq!(committed(), 2);
}

#[test]
fn what_cannot_be_is_refused() {
    let broker = stage();
    for (args, why) in [
        (&["describe", "nobody"][..], "there is no group 'nobody'"),
        (&["delete", "nobody"], "there is no group 'nobody'"),
        (
            &["seek", "nobody", "--to", "latest"],
            "there is no group 'nobody'",
        ),
        (
            &["seek", "bar", "--topic", "nowhere", "--to", "1"],
            "there is no topic 'nowhere'",
        ),
        (&["seek", "bar", "--to", "9"], "--to 9: expected 0 to 3"),
        (
            &["seek", "bar", "--to", "end"],
            "--to end: expected `earliest`, `latest` or an offset",
        ),
    ] {
        refused(&run(&broker, &[&["group"], args].concat()), why);
    }
    let both = ["group", "seek", "bar", "--to", "1", "--ago", "1h"];
    let output = command().args(both).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        value(&broker, &["group", "list"]),
        json!([{ "name": "bar", "state": "empty", "members": 0, "lag": 2 }])
    );
}
