//! Publishers wait while the disk is low; nobody else does, and nothing they published is lost.

use std::time::Duration;

use amqp::wire::{basic, confirm, connection, queue};
use clients::amqp::Raw;

use crate::stage::Amqp;

/// How long a broker that has nothing to say is listened to.
const QUIET: Duration = Duration::from_millis(100);

fn declare() -> queue::Declare<'static> {
    queue::Declare {
        queue: b"q",
        durable: true,
        ..queue::Declare::default()
    }
}

/// A channel with a queue, and confirms.
fn publisher(amqp: &Amqp) -> Raw {
    let mut raw = Raw::with_channel(amqp);
    raw.declare("q");
    raw.send(1, &confirm::Select { nowait: false });
    raw.expect("confirm.select-ok", 1);
    raw
}

/// The tag of an acknowledgement or a refusal of a publish.
fn tag(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[4..12].try_into().unwrap())
}

/// Waits until so many publishes are confirmed.
fn confirmed(raw: &mut Raw, count: u64) {
    while tag(&raw.expect("basic.ack", 1)) < count {}
}

#[test]
fn a_publisher_that_waits_for_space_makes_some() {
    let amqp = Amqp::start();
    let mut client = Raw::with_channel(&amqp);
    client.declare("q");
    for _ in 0..50 {
        client.publish_to("q", "before");
    }
    let consume = basic::Consume {
        queue: b"q",
        ..basic::Consume::default()
    };
    client.send(1, &consume);
    client.expect("basic.consume-ok", 1);
    for _ in 0..50 {
        client.expect_content("basic.deliver", 1);
    }
    amqp.set_low(true);
    client.publish_to("q", "held");
    client.expect("connection.blocked", 0);
    let all = basic::Ack {
        delivery_tag: 50,
        multiple: true,
    };
    client.send(1, &all);
    while amqp.depth("q").1 > 0 {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(amqp.depth("q").0, 0, "what was published waits");
    // What has to come behind the publish waits with it.
    client.send(1, &declare());
    assert!(client.is_quiet(QUIET));
    amqp.set_low(false);
    client.expect("connection.unblocked", 0);
    client.expect("queue.declare-ok", 1);
    client.expect_content("basic.deliver", 1);
}

#[test]
fn confirms_refuse_what_there_is_no_room_to_wait_for() {
    let amqp = Amqp::start();
    let mut client = publisher(&amqp);
    amqp.set_low(true);
    let body = "x".repeat(600_000);
    client.publish_to("q", &body);
    client.expect("connection.blocked", 0);
    client.publish_to("q", &body);
    client.publish_to("q", &body);
    assert_eq!(tag(&client.expect("basic.nack", 1)), 3);
    amqp.set_low(false);
    client.expect("connection.unblocked", 0);
    confirmed(&mut client, 2);
}

#[test]
fn publishers_wait_for_space_and_nobody_else_does() {
    let amqp = Amqp::start();
    let mut publisher = publisher(&amqp);
    publisher.publish_to("q", "before");
    publisher.expect("basic.ack", 1);

    amqp.set_low(true);
    publisher.publish_to("q", "held");
    let blocked = publisher.expect("connection.blocked", 0);
    assert_eq!(&blocked[4..], b"\x0blow on disk");
    publisher.publish_to("q", "held too");
    assert!(publisher.is_quiet(QUIET));
    let mut other = Raw::with_channel(&amqp);
    other.send(1, &declare());
    other.expect("queue.declare-ok", 1);
    other.send(0, &connection::Close::default());
    other.expect("connection.close-ok", 0);

    amqp.set_low(false);
    publisher.expect("connection.unblocked", 0);
    publisher.send(1, &declare());
    confirmed(&mut publisher, 3);
    publisher.expect("queue.declare-ok", 1);
}
