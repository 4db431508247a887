//! The firehose: copies of what is published and delivered, once they are asked for.

use amqp::wire::{Properties, Table, Value, basic, exchange, queue};
use clients::amqp::{Arrived, NONE, Raw};

use crate::stage::Amqp;

fn text(headers: &Table<'_>, name: &str) -> String {
    let value = headers.find(name.as_bytes()).unwrap();
    String::from_utf8(value.string().unwrap().to_vec()).unwrap()
}

fn texts(headers: &Table<'_>, name: &str) -> Vec<String> {
    let Some(Value::Array(values)) = headers.find(name.as_bytes()) else {
        panic!("no {name}");
    };
    let each = values.iter().map(|value| value.string().unwrap().to_vec());
    each.map(|text| String::from_utf8(text).unwrap()).collect()
}

fn key(arrived: &Arrived) -> String {
    use amqp::wire::Method;
    match Method::decode(&arrived.method).unwrap() {
        Method::Basic(basic::Method::Deliver(deliver)) => {
            assert_eq!(deliver.exchange, b"amq.rabbitmq.trace");
            String::from_utf8(deliver.routing_key.to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn copies_are_made_while_a_vhost_is_traced() {
    let amqp = Amqp::start();
    let mut listener = Raw::with_channel(&amqp);
    listener.declare("copies");
    listener.send(
        1,
        &queue::Bind {
            queue: b"copies",
            exchange: b"amq.rabbitmq.trace",
            routing_key: b"#",
            arguments: NONE,
            ..queue::Bind::default()
        },
    );
    listener.expect("queue.bind-ok", 1);
    let consume = basic::Consume {
        queue: b"copies",
        consumer_tag: b"t",
        no_ack: true,
        ..basic::Consume::default()
    };
    listener.send(1, &consume);
    listener.expect("basic.consume-ok", 1);
    let mut raw = Raw::with_channel(&amqp);
    raw.declare("q");
    raw.publish_to("q", "not seen");
    // Answered behind the publish.
    raw.declare("q");
    amqp.trace(true);
    let publish = basic::Publish {
        exchange: b"amq.topic",
        routing_key: b"a.b",
        ..basic::Publish::default()
    };
    let properties = Properties {
        message_id: Some(b"m-1"),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    raw.publish(1, publish, &properties, b"nowhere");
    let copy = listener.expect_content("basic.deliver", 1);
    assert_eq!(
        (&*key(&copy), &copy.body[..]),
        ("publish.amq.topic", &b"nowhere"[..])
    );
    let decoded = Properties::decode(&copy.properties).unwrap();
    let headers = decoded.headers.unwrap();
    assert_eq!(text(&headers, "exchange_name"), "amq.topic");
    assert_eq!(texts(&headers, "routing_keys"), ["a.b"]);
    assert_eq!(texts(&headers, "routed_queues"), [""; 0]);
    assert_eq!(text(&headers, "vhost"), "/");
    assert_eq!(text(&headers, "user"), "guest");
    assert_eq!(headers.find(b"channel"), Some(Value::I32(1)));
    let connection = text(&headers, "connection");
    let here = raw.stream.local_addr().unwrap();
    assert_eq!(connection, format!("{here} -> 127.0.0.1:2"));
    let Some(Value::Table(shown)) = headers.find(b"properties") else {
        panic!("no properties");
    };
    assert_eq!(text(&shown, "message_id"), "m-1");
    assert_eq!(shown.find(b"delivery_mode"), Some(Value::I32(2)));
    // Delivered: what was published before, too.
    let get = basic::Get {
        queue: b"q",
        no_ack: true,
    };
    raw.send(1, &get);
    raw.expect_content("basic.get-ok", 1);
    let copy = listener.expect_content("basic.deliver", 1);
    assert_eq!(
        (&*key(&copy), &copy.body[..]),
        ("deliver.q", &b"not seen"[..])
    );
    let decoded = Properties::decode(&copy.properties).unwrap();
    let headers = decoded.headers.unwrap();
    assert_eq!(headers.find(b"redelivered"), Some(Value::I32(0)));
    assert_eq!(text(&headers, "exchange_name"), "");
    assert_eq!(texts(&headers, "routing_keys"), ["q"]);
    amqp.trace(false);
    raw.publish_to("q", "not seen either");
    assert!(listener.is_quiet(std::time::Duration::from_millis(300)));
}

#[test]
fn nobody_else_publishes_to_the_exchange_of_copies() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(&amqp);
    let publish = basic::Publish {
        exchange: b"amq.rabbitmq.trace",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"m");
    let text =
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    raw.fails::<basic::Publish<'_>>(1, 403, text);
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"amq.rabbitmq.trace",
            kind: b"topic",
            durable: true,
            internal: true,
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &exchange::Delete {
            exchange: b"amq.rabbitmq.trace",
            ..exchange::Delete::default()
        },
    );
    let text = "ACCESS_REFUSED - deletion of system exchange 'amq.rabbitmq.trace' in vhost '/' not allowed";
    raw.fails::<exchange::Delete<'_>>(1, 403, text);
}
