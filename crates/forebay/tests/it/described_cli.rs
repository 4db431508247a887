//! What `forebay queue` tells of queues that AMQP clients declared, what it makes that they declare again, and queues
//! and topics of other vhosts.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::cli::{lines, refused, run, value};

async fn connect(broker: &Broker, vhost: &str) -> Connection {
    let address = broker.address("amqp").unwrap();
    let url = format!("amqp://shop:secret@{address}/{vhost}");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    connection.unwrap()
}

fn arguments(given: &[(&str, Value)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in given {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(text.as_bytes().into()),
            Value::Bool(word) => AMQPValue::Boolean(*word),
            number => AMQPValue::LongLongInt(number.as_i64().unwrap()),
        };
        table.insert(ShortString::from(*name), value);
    }
    table
}

/// Declares a durable queue over a channel of its own; a refusal is its text.
async fn declare(
    connection: &Connection,
    name: &str,
    given: &[(&str, Value)],
) -> Result<(), String> {
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(name.into(), options, arguments(given));
    declared.await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_a_type_is_the_one_that_amqp_declares() {
    let broker = Broker::start();
    let connection = connect(&broker, "%2f").await;
    let of = |kind: &str| [("x-queue-type", json!(kind))];
    for (name, flags) in [
        ("classic", &["--type", "classic"][..]),
        ("quorum", &["--type", "quorum"]),
        ("stream", &["--type", "stream"]),
        ("plain", &[]),
        ("flag", &["--stream"]),
    ] {
        let made = value(&broker, &[&["queue", "create", name], flags].concat());
        let kind = match name {
            "plain" => "classic",
            "flag" => "stream",
            kind => kind,
        };
        assert_eq!(made["type"], kind);
        declare(&connection, name, &of(kind)).await.unwrap();
        let other = if kind == "quorum" { "stream" } else { "quorum" };
        let refused = declare(&connection, name, &of(other)).await.unwrap_err();
        let why = format!("received '{other}' but current is '{kind}'");
        assert!(refused.contains(&why), "{refused}");
    }
    // Nothing said is the type `classic`.
    declare(&connection, "plain", &[]).await.unwrap();
    declare(&connection, "stream", &[]).await.unwrap_err();
    let quorum = value(&broker, &["queue", "describe", "quorum"]);
    assert_eq!(quorum["limits"]["delivery_limit"], 20);
    assert_eq!(quorum["settings"]["priorities"], 32);
    // What was said by flags is equal when it is said by arguments.
    value(
        &broker,
        &[
            "queue",
            "create",
            "p",
            "--priorities",
            "6",
            "--type",
            "classic",
        ],
    );
    declare(&connection, "p", &[("x-max-priority", json!(5))])
        .await
        .unwrap();
    declare(&connection, "p", &[("x-max-priority", json!(7))])
        .await
        .unwrap_err();
}

#[test]
fn types_that_contradict_are_refused() {
    let broker = Broker::start();
    for (flags, code, why) in [
        (&["a", "--stream", "--fifo"][..], 2, "cannot be used with"),
        (&["a", "--stream", "--type", "quorum"], 2, "cannot be used"),
        (&["a", "--type", "lazy"], 2, "invalid value 'lazy'"),
        (
            &["a.fifo", "--stream"],
            1,
            "a queue ordered by key is of the type `classic`",
        ),
        (
            &["a", "--fifo", "--type", "quorum"],
            1,
            "a queue ordered by key is of the type `classic`",
        ),
        (
            &["amq.gen-1"],
            1,
            "names that begin with `amq.` belong to the broker",
        ),
        (&["a", "--vhost", "zz"], 1, "there is no vhost 'zz'"),
    ] {
        let output = run(&broker, &[&["queue", "create"], flags].concat());
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
    assert_eq!(lines(&broker, &["queue", "list"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_declared_and_what_policies_add_is_told() {
    let broker = Broker::start();
    let connection = connect(&broker, "%2f").await;
    let given = [
        ("x-message-ttl", json!(60_000)),
        ("x-max-length", json!(100)),
        ("x-overflow", json!("reject-publish")),
        ("x-expires", json!(3_600_000)),
        ("x-dead-letter-exchange", json!("")),
        ("x-dead-letter-routing-key", json!("failed")),
        ("x-single-active-consumer", json!(true)),
    ];
    declare(&connection, "orders", &given).await.unwrap();
    for policy in [
        &[
            "mine",
            "^ord",
            r#"{"delivery-limit": 3, "max-length": 500}"#,
        ][..],
        &["theirs", "^ord", r#"{"max-length": 7}"#, "--operator"],
    ] {
        value(&broker, &[&["policy", "set"], policy].concat());
    }
    let told = value(&broker, &["queue", "describe", "orders"]);
    for (name, expected) in [
        ("type", json!("classic")),
        ("durable", json!(true)),
        ("exclusive", json!(false)),
        ("auto_delete", json!(false)),
        ("single_active_consumer", json!(true)),
        ("consumers", json!(0)),
        (
            "limits",
            json!({
                "message_ttl_ms": 60_000, "expires_ms": 3_600_000, "messages_max": 7,
                "bytes_max": null, "overflow": "refuse", "delivery_limit": 3,
            }),
        ),
        (
            "dead_letter_exchange",
            json!({ "exchange": "", "key": "failed" }),
        ),
        ("policies", json!({ "user": "mine", "operator": "theirs" })),
        (
            "by_policy",
            json!({ "messages_max": "operator", "delivery_limit": "user" }),
        ),
    ] {
        assert_eq!(told[name], expected, "{name}");
    }
    let table = lines(&broker, &["queue", "describe", "orders"]);
    for line in [
        "type classic",
        "durable true",
        "single_active_consumer true",
        "consumers 0",
        "policies.user mine",
        "policies.operator theirs",
        "limits.message_ttl 1m",
        "limits.messages_max 7 (operator policy theirs)",
        "limits.delivery_limit 3 (policy mine)",
        "dead_letter_exchange.key failed",
    ] {
        assert!(table.contains(&line.to_owned()), "no {line} in {table:?}");
    }
    declare(&connection, "orders", &given).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_another_vhost_goes_by_its_own_name() {
    let broker = Broker::start();
    value(&broker, &["vhost", "create", "dev"]);
    let connection = connect(&broker, "dev").await;
    declare(&connection, "jobs", &[]).await.unwrap();
    value(&broker, &["topic", "create", "events"]);
    let headings = "NAME PARTITIONS OFFSETS";
    assert_eq!(lines(&broker, &["topic", "list"]), [headings, "events 1 0"]);
    let dev = |args: &[&str]| lines(&broker, &[args, &["--vhost", "dev"]].concat());
    assert_eq!(dev(&["topic", "list"]), [headings, "jobs 1 0"]);
    assert_eq!(dev(&["queue", "list"])[1], "jobs classic none 0 0 0 0 jobs");
    dev(&["queue", "send", "jobs", "one"]);
    assert!(dev(&["topic", "consume", "jobs"])[1].ends_with("- one"));
    assert_eq!(dev(&["topic", "produce", "jobs", "two"])[1], "0 1");
    let described = dev(&["topic", "describe", "jobs"]);
    assert_eq!(described[..2], ["vhost dev", "name jobs"]);
    assert_eq!(described.last().unwrap(), "queues jobs");
    refused(
        &run(&broker, &["topic", "consume", "nothing", "--vhost", "dev"]),
        "there is no topic 'nothing' in vhost 'dev'",
    );
    let told = value(&broker, &["queue", "describe", "jobs", "--vhost", "dev"]);
    assert_eq!(
        (&told["vhost"], &told["name"]),
        (&json!("dev"), &json!("jobs"))
    );
    for args in [["topic", "list"], ["queue", "list"]] {
        let shown = value(&broker, &[&args[..], &["--vhost", "dev"]].concat());
        assert_eq!(shown[0]["vhost"], "dev");
        assert_eq!(shown[0]["name"], "jobs");
        assert!(!shown.to_string().contains("\\u001f"), "{shown}");
    }
    let exists = run(&broker, &["queue", "create", "jobs", "--vhost", "dev"]);
    refused(&exists, "queue 'jobs' already exists in vhost 'dev'");
    let vhosts = value(&broker, &["vhost", "list"]);
    let exchanges = value(&broker, &["exchange", "list", "--vhost", "dev"]);
    let count = exchanges.as_array().unwrap().len();
    assert_eq!(vhosts[1]["exchanges"], count);
}
