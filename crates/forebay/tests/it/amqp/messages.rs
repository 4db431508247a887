//! What a message is: the same bytes for those who speak this protocol, and plain headers for everybody else.

use amqp::wire::{Properties, Value, basic, exchange, queue};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use clients::amqp::{Arrived, Raw, table};

use super::Amqp;
use crate::broker::Broker;
use crate::sqs::Sqs;

fn get(raw: &mut Raw, queue: &str) -> Arrived {
    raw.send(
        1,
        &basic::Get {
            queue: queue.as_bytes(),
            no_ack: true,
        },
    );
    raw.expect_content("basic.get-ok", 1)
}

#[test]
fn properties_survive_byte_for_byte() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(amqp.address());
    raw.declare("q");
    let inner = table(&[("z", Value::Void), ("a", Value::U8(1))]);
    let headers = table(&[
        ("b", Value::I16(-3)),
        ("a", Value::Long(b"\xff\xfe not text")),
        ("a", Value::Long(b"twice")),
        ("t", Value::Table(inner.as_table())),
        ("d", Value::Decimal(2, 314)),
        ("f", Value::F32(1.5)),
    ]);
    let all = Properties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b""),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some(b"\xc3\x28"),
        reply_to: Some(b"r"),
        expiration: Some(b"600000"),
        message_id: Some(b"m"),
        timestamp: Some(u64::MAX),
        kind: Some(b"k"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"c"),
    };
    let large = vec![b'x'; 300_000];
    for (properties, body) in [
        (all, &b"body"[..]),
        (Properties::default(), b""),
        (Properties::default(), &large),
    ] {
        let publish = basic::Publish {
            routing_key: b"q",
            ..basic::Publish::default()
        };
        raw.publish(1, publish, &properties, body);
        let got = get(&mut raw, "q");
        assert_eq!(got.properties, properties.encode().unwrap());
        assert_eq!(got.body, body);
    }
}

#[tokio::test]
async fn other_protocols_read_and_write_the_same_queue() {
    let broker = Broker::start();
    let at = broker.address("amqp").unwrap();
    let sqs = Sqs::of(broker, "test", "test");
    let mut raw = Raw::with_channel(at);
    raw.declare("orders");
    let headers = table(&[("color", Value::Long(b"red")), ("count", Value::I32(3))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        content_type: Some(b"text/plain"),
        ..Properties::default()
    };
    let publish = basic::Publish {
        routing_key: b"orders",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &properties, b"from here");
    raw.send(
        1,
        &queue::Declare {
            queue: b"orders",
            passive: true,
            ..queue::Declare::default()
        },
    );
    raw.expect("queue.declare-ok", 1);
    let url = sqs.client.get_queue_url().queue_name("orders").send().await;
    let url = url.unwrap().queue_url.unwrap();
    let received = sqs
        .client
        .receive_message()
        .queue_url(&url)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("from here"));
    let attributes = message.message_attributes().unwrap();
    for (name, value) in [
        ("color", "red"),
        ("count", "3"),
        ("content-type", "text/plain"),
    ] {
        assert_eq!(attributes[name].string_value(), Some(value), "{name}");
        assert_eq!(attributes[name].data_type(), "String");
    }
    let done = sqs.client.delete_message().queue_url(&url);
    done.receipt_handle(message.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    comes_from_there(&sqs, &url, &mut raw).await;
}

/// What the other protocol sends has properties made from what it says.
async fn comes_from_there(sqs: &Sqs, url: &str, raw: &mut Raw) {
    let attribute = aws_sdk_sqs::types::MessageAttributeValue::builder()
        .data_type("String")
        .string_value("blue")
        .build()
        .unwrap();
    let sent = sqs
        .client
        .send_message()
        .queue_url(url)
        .message_body("from there")
        .message_attributes("color", attribute)
        .send()
        .await
        .unwrap();
    let got = get(raw, "orders");
    assert_eq!(got.body, b"from there");
    let properties = Properties::decode(&got.properties).unwrap();
    let headers = properties.headers.unwrap();
    assert_eq!(headers.find(b"color"), Some(Value::Long(b"blue")));
    assert_eq!(properties.delivery_mode, Some(2));
    assert_eq!(
        properties.message_id.map(<[u8]>::to_vec),
        sent.message_id.map(String::into_bytes)
    );
    assert!(properties.timestamp.unwrap() > 1_500_000_000);
    let Ok(amqp::wire::Method::Basic(basic::Method::GetOk(ok))) =
        amqp::wire::Method::decode(&got.method)
    else {
        panic!("no message");
    };
    assert_eq!((ok.exchange, ok.routing_key), (&b""[..], &b"orders"[..]));
}

#[test]
fn copies_go_where_the_headers_say() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(amqp.address());
    for name in ["a", "b", "c"] {
        raw.declare(name);
    }
    let key = |name: &'static [u8]| {
        let mut keys = amqp::wire::ArrayBuilder::new();
        keys.push(Value::Long(name)).unwrap();
        keys
    };
    let (cc, bcc) = (key(b"b"), key(b"c"));
    let headers = table(&[
        ("CC", Value::Array(cc.as_array())),
        ("BCC", Value::Array(bcc.as_array())),
    ]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let publish = basic::Publish {
        routing_key: b"a",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &properties, b"copied");
    for name in ["a", "b", "c"] {
        let got = get(&mut raw, name);
        assert_eq!(got.body, b"copied");
        let seen = Properties::decode(&got.properties)
            .unwrap()
            .headers
            .unwrap();
        assert!(seen.find(b"CC").is_some());
        assert_eq!(seen.find(b"BCC"), None);
    }
}

#[test]
fn exchanges_lead_to_queues() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(amqp.address());
    for (name, kind) in [("in", &b"topic"[..]), ("out", b"fanout")] {
        raw.send(
            1,
            &exchange::Declare {
                exchange: name.as_bytes(),
                kind,
                durable: true,
                ..exchange::Declare::default()
            },
        );
        raw.expect("exchange.declare-ok", 1);
    }
    raw.send(
        1,
        &exchange::Bind {
            destination: b"out",
            source: b"in",
            routing_key: b"orders.#",
            ..exchange::Bind::default()
        },
    );
    raw.expect("exchange.bind-ok", 1);
    for name in ["one", "two"] {
        raw.declare(name);
        raw.send(
            1,
            &queue::Bind {
                queue: name.as_bytes(),
                exchange: b"out",
                ..queue::Bind::default()
            },
        );
        raw.expect("queue.bind-ok", 1);
    }
    let publish = basic::Publish {
        exchange: b"in",
        routing_key: b"orders.new.eu",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"both");
    for name in ["one", "two"] {
        let got = get(&mut raw, name);
        assert_eq!(got.body, b"both");
        let Ok(amqp::wire::Method::Basic(basic::Method::GetOk(ok))) =
            amqp::wire::Method::decode(&got.method)
        else {
            panic!("no message");
        };
        assert_eq!(
            (ok.exchange, ok.routing_key),
            (&b"in"[..], &b"orders.new.eu"[..])
        );
    }
}
