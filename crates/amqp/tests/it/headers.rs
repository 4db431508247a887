//! Headers that are larger than a consumer's frames: the message comes without them, says so, and holds up nobody.

use amqp::wire::{Properties, Value, basic};
use clients::amqp::{Arrived, Raw, table};

use crate::stage::Amqp;

const OMITTED: &str = "x-forebay-headers-omitted";

/// What a message says, in the frames of who asks for it, before it is given back.
fn looked_at(client: &mut Raw, queue: &str) -> Arrived {
    let consume = basic::Consume {
        queue: queue.as_bytes(),
        ..basic::Consume::default()
    };
    client.send(
        1,
        &basic::Qos {
            prefetch_count: 1,
            ..basic::Qos::default()
        },
    );
    client.expect("basic.qos-ok", 1);
    client.send(1, &consume);
    client.expect("basic.consume-ok", 1);
    client.expect_content("basic.deliver", 1)
}

fn names(arrived: &Arrived) -> Vec<(String, Option<i64>)> {
    let properties = Properties::decode(&arrived.properties).unwrap();
    let headers = properties.headers.unwrap_or_default();
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let named = headers
        .iter()
        .map(|(name, value)| (text(name), value.integer()));
    named.collect()
}

#[test]
fn what_one_clients_frames_do_not_hold_anothers_do() {
    let amqp = Amqp::start();
    let mut wide = Raw::with_channel(&amqp);
    wide.declare("work");
    let long = [b'x'; 5000];
    let headers = table(&[("long", Value::Long(&long)), ("n", Value::I32(7))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let to_work = basic::Publish {
        routing_key: b"work",
        ..basic::Publish::default()
    };
    wide.publish(1, to_work, &properties, b"body");
    let get = basic::Get {
        queue: b"work",
        ..basic::Get::default()
    };
    wide.send(
        1,
        &basic::Get {
            queue: b"nothing else is in flight",
            ..basic::Get::default()
        },
    );
    wide.fails::<basic::Get<'_>>(
        1,
        404,
        "NOT_FOUND - no queue 'nothing else is in flight' in vhost '/'",
    );
    let mut narrow = Raw::with_frames_of(&amqp, 4096);
    narrow.send(1, &get);
    let got = narrow.expect_content("basic.get-ok", 1);
    assert_eq!(got.body, b"body");
    let expected = [("n".to_owned(), Some(7)), (OMITTED.to_owned(), Some(1))];
    assert_eq!(names(&got), expected);
    let back = basic::Nack {
        delivery_tag: 1,
        requeue: true,
        ..basic::Nack::default()
    };
    narrow.send(1, &back);
    let got = looked_at(&mut wide, "work");
    let all: Vec<_> = names(&got).into_iter().map(|(name, _)| name).collect();
    assert!(all.contains(&"long".to_owned()), "{all:?}");
    assert!(!all.contains(&OMITTED.to_owned()), "{all:?}");
}

#[test]
fn an_answer_to_a_direct_request_comes_without_the_headers_that_do_not_fit() {
    let amqp = Amqp::start();
    let mut wide = Raw::with_channel(&amqp);
    let mut narrow = Raw::with_frames_of(&amqp, 4096);
    narrow.send(
        1,
        &basic::Consume {
            queue: b"amq.rabbitmq.reply-to",
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    narrow.expect("basic.consume-ok", 1);
    let asking = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Properties::default()
    };
    narrow.declare("rpc");
    let to_rpc = basic::Publish {
        routing_key: b"rpc",
        ..basic::Publish::default()
    };
    narrow.publish(1, to_rpc, &asking, b"?");
    let long = [b'x'; 5000];
    let headers = table(&[("long", Value::Long(&long)), ("n", Value::I32(7))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let asked = looked_at(&mut wide, "rpc");
    let to = Properties::decode(&asked.properties).unwrap().reply_to;
    let to_asker = basic::Publish {
        routing_key: to.unwrap(),
        ..basic::Publish::default()
    };
    wide.publish(1, to_asker, &properties, b"42");
    let got = narrow.expect_content("basic.deliver", 1);
    assert_eq!(got.body, b"42");
    let expected = [("n".to_owned(), Some(7)), (OMITTED.to_owned(), Some(1))];
    assert_eq!(names(&got), expected);
}
