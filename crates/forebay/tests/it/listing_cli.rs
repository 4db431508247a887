//! `forebay exchange|binding|connection|consumer …` against a broker that runs, with clients connected.

use clients::kafka::Client;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::json;

use crate::broker::{Broker, eventually_async};
use crate::cli::{lines, refused, run, value};

async fn connect(broker: &Broker) -> Connection {
    let address = broker.address("amqp").unwrap();
    let url = format!("amqp://shop:secret@{address}/%2f");
    let properties = ConnectionProperties::default().with_connection_name("till 7".into());
    Connection::connect(&url, properties).await.unwrap()
}

/// What a client has, for as long as it is kept.
struct Connected {
    connection: Connection,
    _channel: Channel,
    _consumer: Consumer,
}

/// An exchange, a queue bound to it, and a consumer of the queue.
async fn stage() -> (Broker, Connected) {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = connection.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    channel
        .exchange_declare("news".into(), ExchangeKind::Topic, durable, none())
        .await
        .unwrap();
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare("papers".into(), options, none())
        .await
        .unwrap();
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            "papers".into(),
            "news".into(),
            "sport.#".into(),
            bind,
            none(),
        )
        .await
        .unwrap();
    let consume = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume("papers".into(), "reader-1".into(), consume, none())
        .await
        .unwrap();
    let connected = Connected {
        connection,
        _channel: channel,
        _consumer: consumer,
    };
    (broker, connected)
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_and_bindings_are_listed() {
    let (broker, _connected) = stage().await;
    let exchanges = lines(&broker, &["exchange", "list"]);
    assert_eq!(
        exchanges[0],
        "NAME TYPE DURABLE AUTO-DELETE INTERNAL ALTERNATE"
    );
    for line in [
        "(default) direct true false false -",
        "amq.topic topic true false false -",
        "news topic true false false -",
    ] {
        assert!(
            exchanges.contains(&line.to_owned()),
            "no {line} in {exchanges:?}"
        );
    }
    let bindings = lines(&broker, &["binding", "list"]);
    assert_eq!(
        bindings,
        ["SOURCE DESTINATION TYPE KEY", "news papers queue sport.#"]
    );
    let none = ["binding", "list", "--destination", "nowhere"];
    assert_eq!(value(&broker, &none), json!([]));
    let from = [
        "binding",
        "list",
        "--source",
        "news",
        "--destination",
        "papers",
    ];
    assert_eq!(value(&broker, &from)[0]["key"], "sport.#");
    refused(
        &run(&broker, &["exchange", "list", "--vhost", "nowhere"]),
        "there is no vhost 'nowhere'",
    );
    broker.await_metric("forebay_queue_consumers{queue=\"papers\"} 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_consumers_are_listed_and_closed() {
    let (broker, connected) = stage().await;
    refused(
        &run(&broker, &["connection", "list", "--listener", "foo"]),
        "`--listener` is 'foo': expected one of `kafka`, `amqp`, `sqs`, `http`",
    );
    let kafka = Client::connect(broker.address("kafka").unwrap())
        .await
        .unwrap();
    let list = || value(&broker, &["connection", "list", "--listener", "amqp"]);
    let all = list();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let known = &all[0];
    for (name, expected) in [
        ("listener", json!("amqp")),
        ("user", json!("shop")),
        ("vhost", json!("/")),
        ("client", json!("till 7")),
    ] {
        assert_eq!(known[name], expected, "{known}");
    }
    let id = known["id"].as_str().unwrap().to_owned();
    assert!(
        known["since_ms"].as_u64().unwrap() > 1_700_000_000_000,
        "{known}"
    );
    let every = lines(&broker, &["connection", "list"]);
    assert_eq!(every[0], "ID LISTENER PEER USER VHOST CLIENT SINCE");
    for listener in ["amqp", "kafka", "http"] {
        let has = every
            .iter()
            .any(|line| line.split(' ').nth(1) == Some(listener));
        assert!(has, "no {listener} in {every:?}");
    }
    let consumers = value(&broker, &["consumer", "list", "--queue", "papers"]);
    assert_eq!(consumers.as_array().unwrap().len(), 1);
    for (name, expected) in [
        ("queue", json!("papers")),
        ("tag", json!("reader-1")),
        ("connection", json!(id)),
        ("user", json!("shop")),
        ("peer", known["peer"].clone()),
        ("exclusive", json!(false)),
    ] {
        assert_eq!(consumers[0][name], expected, "{consumers}");
    }

    assert_eq!(
        lines(&broker, &["connection", "close", &id]),
        [format!("closed {id}")]
    );
    eventually_async("the connection is closed", async || {
        !connected.connection.status().connected()
    })
    .await;
    eventually_async("it is not listed", async || list() == json!([])).await;
    assert_eq!(value(&broker, &["consumer", "list"]), json!([]));
    refused(
        &run(&broker, &["connection", "close", &id]),
        &format!("there is no connection '{id}'"),
    );
    let kafkas = value(&broker, &["connection", "list", "--listener", "kafka"]);
    let id = kafkas[0]["id"].as_str().unwrap().to_owned();
    lines(&broker, &["connection", "close", &id]);
    broker.await_metric("forebay_connections_open{listener=\"kafka\"} 0");
    drop(kafka);
}
