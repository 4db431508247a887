//! What a message is, byte for byte, and where it goes.

use amqp::wire::{Properties, Value, basic, exchange, queue};
use clients::amqp::{Arrived, Raw, table};

use crate::stage::Amqp;

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
    let mut raw = Raw::with_channel(&amqp);
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

#[test]
fn copies_go_where_the_headers_say() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(&amqp);
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
    let mut raw = Raw::with_channel(&amqp);
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
