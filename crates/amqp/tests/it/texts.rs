//! The words clients' tests look for when they are refused something.

use amqp::wire::{Properties, Table, Value, basic, exchange, queue};
use clients::amqp::{NONE, Raw, table};

use crate::stage::Amqp;

fn open() -> (Amqp, Raw) {
    let amqp = Amqp::start();
    let raw = Raw::with_channel(&amqp);
    (amqp, raw)
}

fn durable<'a>(name: &'a str, arguments: Table<'a>) -> queue::Declare<'a> {
    queue::Declare {
        queue: name.as_bytes(),
        durable: true,
        arguments,
        ..queue::Declare::default()
    }
}

#[test]
fn what_is_not_there() {
    let (_amqp, mut raw) = open();
    let no_queue = "NOT_FOUND - no queue 'nope' in vhost '/'";
    let no_exchange = "NOT_FOUND - no exchange 'nope' in vhost '/'";
    raw.send(
        1,
        &queue::Declare {
            passive: true,
            ..durable("nope", NONE)
        },
    );
    raw.fails::<queue::Declare<'_>>(1, 404, no_queue);
    raw.send(
        1,
        &queue::Purge {
            queue: b"nope",
            nowait: false,
        },
    );
    raw.fails::<queue::Purge<'_>>(1, 404, no_queue);
    raw.send(
        1,
        &queue::Bind {
            queue: b"nope",
            exchange: b"amq.direct",
            ..queue::Bind::default()
        },
    );
    raw.fails::<queue::Bind<'_>>(1, 404, no_queue);
    raw.declare("q");
    raw.send(
        1,
        &queue::Bind {
            queue: b"q",
            exchange: b"nope",
            ..queue::Bind::default()
        },
    );
    raw.fails::<queue::Bind<'_>>(1, 404, no_exchange);
}

#[test]
fn what_is_not_there_to_use() {
    let (_amqp, mut raw) = open();
    let no_queue = "NOT_FOUND - no queue 'nope' in vhost '/'";
    let no_exchange = "NOT_FOUND - no exchange 'nope' in vhost '/'";
    raw.send(
        1,
        &basic::Consume {
            queue: b"nope",
            ..basic::Consume::default()
        },
    );
    raw.fails::<basic::Consume<'_>>(1, 404, no_queue);
    raw.send(
        1,
        &basic::Get {
            queue: b"nope",
            no_ack: true,
        },
    );
    raw.fails::<basic::Get<'_>>(1, 404, no_queue);
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"nope",
            passive: true,
            ..exchange::Declare::default()
        },
    );
    raw.fails::<exchange::Declare<'_>>(1, 404, no_exchange);
    let publish = basic::Publish {
        exchange: b"nope",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"x");
    raw.fails::<basic::Publish<'_>>(1, 404, no_exchange);
    raw.send(
        1,
        &exchange::Bind {
            destination: b"nope",
            source: b"amq.direct",
            ..exchange::Bind::default()
        },
    );
    raw.fails::<exchange::Bind<'_>>(1, 404, no_exchange);
}

#[test]
fn declarations_that_differ() {
    let (_amqp, mut raw) = open();
    raw.declare("gq");
    raw.send(
        1,
        &queue::Declare {
            durable: false,
            ..durable("gq", NONE)
        },
    );
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'gq' in vhost '/': received 'false' but current is 'true'",
    );
    raw.send(
        1,
        &queue::Declare {
            auto_delete: true,
            ..durable("gq", NONE)
        },
    );
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'gq' in vhost '/': received 'true' but current is 'false'",
    );
    let ttl = table(&[("x-message-ttl", Value::I32(1000))]);
    raw.send(1, &durable("gq", ttl.as_table()));
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'gq' in vhost '/': received the value '1000' of type 'signedint' but current is none",
    );
    raw.send(1, &durable("ttl", ttl.as_table()));
    raw.expect("queue.declare-ok", 1);
    let same = table(&[
        ("x-message-ttl", Value::I64(1000)),
        ("x-nobody-knows", Value::Bool(true)),
    ]);
    raw.send(1, &durable("ttl", same.as_table()));
    raw.expect("queue.declare-ok", 1);
}

#[test]
fn declarations_of_exchanges_that_differ() {
    let (_amqp, mut raw) = open();
    let declare = exchange::Declare {
        exchange: b"gx",
        kind: b"topic",
        durable: true,
        ..exchange::Declare::default()
    };
    raw.send(1, &declare);
    raw.expect("exchange.declare-ok", 1);
    raw.send(1, &declare);
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &exchange::Declare {
            kind: b"fanout",
            ..declare
        },
    );
    raw.fails::<exchange::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'gx' in vhost '/': received 'fanout' but current is 'topic'",
    );
    raw.send(
        1,
        &exchange::Declare {
            durable: false,
            ..declare
        },
    );
    raw.fails::<exchange::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'gx' in vhost '/': received 'false' but current is 'true'",
    );
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"new",
            kind: b"x",
            ..declare
        },
    );
    raw.fails::<exchange::Declare<'_>>(1, 406, "PRECONDITION_FAILED - unknown exchange type 'x'");
}

#[test]
fn what_belongs_to_another_connection() {
    let (amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Declare {
            queue: b"q",
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    raw.expect("queue.declare-ok", 1);
    let mut other = Raw::with_channel(&amqp);
    let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";
    other.send(
        1,
        &queue::Declare {
            queue: b"q",
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    other.fails::<queue::Declare<'_>>(1, 405, locked);
    other.send(
        1,
        &basic::Consume {
            queue: b"q",
            ..basic::Consume::default()
        },
    );
    other.fails::<basic::Consume<'_>>(1, 405, locked);
    other.send(
        1,
        &queue::Delete {
            queue: b"q",
            ..queue::Delete::default()
        },
    );
    other.fails::<queue::Delete<'_>>(1, 405, locked);
    raw.send(
        1,
        &queue::Declare {
            queue: b"q",
            ..queue::Declare::default()
        },
    );
    raw.fails::<queue::Declare<'_>>(1, 405, locked);

    raw.declare("shared");
    raw.send(
        1,
        &basic::Consume {
            queue: b"shared",
            exclusive: true,
            ..basic::Consume::default()
        },
    );
    raw.expect("basic.consume-ok", 1);
    other.send(
        1,
        &basic::Consume {
            queue: b"shared",
            ..basic::Consume::default()
        },
    );
    other.fails::<basic::Consume<'_>>(
        1,
        403,
        "ACCESS_REFUSED - queue 'shared' in vhost '/' in exclusive use",
    );
}

#[test]
fn what_is_in_use() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    raw.publish_to("q", "x");
    raw.send(
        1,
        &queue::Delete {
            queue: b"q",
            if_empty: true,
            ..queue::Delete::default()
        },
    );
    raw.fails::<queue::Delete<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
    );
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"gx",
            kind: b"fanout",
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &queue::Bind {
            queue: b"q",
            exchange: b"gx",
            ..queue::Bind::default()
        },
    );
    raw.expect("queue.bind-ok", 1);
    raw.send(
        1,
        &exchange::Delete {
            exchange: b"gx",
            if_unused: true,
            nowait: false,
        },
    );
    raw.fails::<exchange::Delete<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - exchange 'gx' in vhost '/' in use",
    );
    raw.send(
        1,
        &basic::Consume {
            queue: b"q",
            consumer_tag: b"t1",
            ..basic::Consume::default()
        },
    );
    raw.expect("basic.consume-ok", 1);
    raw.expect_content("basic.deliver", 1);
    raw.send(
        1,
        &queue::Delete {
            queue: b"q",
            if_unused: true,
            ..queue::Delete::default()
        },
    );
    raw.fails::<queue::Delete<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
    );
}

#[test]
fn arguments_that_cannot_be() {
    let (_amqp, mut raw) = open();
    for (name, value, reason) in [
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        (
            "x-message-ttl",
            Value::Long(b"5"),
            "\"expected integer, got longstr\"",
        ),
        ("x-expires", Value::I32(0), "{value_zero,0}"),
        (
            "x-max-priority",
            Value::I32(300),
            "{max_value_exceeded,300}",
        ),
        ("x-overflow", Value::Long(b"zzz"), "invalid_overflow"),
        (
            "x-queue-type",
            Value::Long(b"zzz"),
            "\"unsupported queue type 'zzz'\"",
        ),
        (
            "x-dead-letter-routing-key",
            Value::Long(b"k"),
            "routing_key_but_no_dlx_defined",
        ),
    ] {
        let arguments = table(&[(name, value)]);
        raw.send(1, &durable("q", arguments.as_table()));
        raw.fails::<queue::Declare<'_>>(
            1,
            406,
            &format!(
                "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {reason}"
            ),
        );
    }
    let quorum = table(&[("x-queue-type", Value::Long(b"quorum"))]);
    raw.send(
        1,
        &queue::Declare {
            durable: false,
            ..durable("q", quorum.as_table())
        },
    );
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'",
    );
    raw.send(
        1,
        &queue::Declare {
            exclusive: true,
            ..durable("q", quorum.as_table())
        },
    );
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost '/'",
    );
}

#[test]
fn names_of_the_brokers_own() {
    let (_amqp, mut raw) = open();
    raw.send(1, &durable("amq.foo", NONE));
    raw.fails::<queue::Declare<'_>>(
        1,
        403,
        "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    let declare = exchange::Declare {
        exchange: b"amq.foo",
        kind: b"direct",
        durable: true,
        ..exchange::Declare::default()
    };
    raw.send(1, &declare);
    raw.fails::<exchange::Declare<'_>>(
        1,
        403,
        "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"amq.direct",
            ..declare
        },
    );
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &exchange::Delete {
            exchange: b"amq.direct",
            ..exchange::Delete::default()
        },
    );
    raw.fails::<exchange::Delete<'_>>(
        1,
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    );
    let not_permitted = "ACCESS_REFUSED - operation not permitted on the default exchange";
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"",
            ..declare
        },
    );
    raw.fails::<exchange::Declare<'_>>(1, 403, not_permitted);
    raw.send(1, &exchange::Delete::default());
    raw.fails::<exchange::Delete<'_>>(1, 403, not_permitted);
    raw.declare("q");
    raw.send(
        1,
        &queue::Bind {
            queue: b"q",
            exchange: b"",
            ..queue::Bind::default()
        },
    );
    raw.fails::<queue::Bind<'_>>(1, 403, not_permitted);
    raw.send(
        1,
        &queue::Unbind {
            queue: b"q",
            exchange: b"",
            ..queue::Unbind::default()
        },
    );
    raw.fails::<queue::Unbind<'_>>(1, 403, not_permitted);
}

#[test]
fn messages_that_cannot_be() {
    let (amqp, mut raw) = open();
    raw.declare("q");
    let publish = basic::Publish {
        routing_key: b"q",
        ..basic::Publish::default()
    };
    let expiring = Properties {
        expiration: Some(b"abc"),
        ..Properties::default()
    };
    raw.publish(1, publish, &expiring, b"x");
    raw.fails::<basic::Publish<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    );
    let signed = Properties {
        user_id: Some(b"bob"),
        ..Properties::default()
    };
    raw.publish(1, publish, &signed, b"x");
    raw.fails::<basic::Publish<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    );
    let headers = table(&[("CC", Value::Long(b"q"))]);
    let copied = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    raw.publish(1, publish, &copied, b"x");
    raw.fails::<basic::Publish<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
    );
    raw.send(1, &publish);
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&16_777_217_u64.to_be_bytes());
    header.extend_from_slice(&[0, 0]);
    raw.send_frame(2, 1, &header);
    raw.send_frame(3, 1, &[0; 1000]);
    raw.fails::<basic::Publish<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216",
    );
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"gint",
            kind: b"fanout",
            internal: true,
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    let inside = basic::Publish {
        exchange: b"gint",
        ..basic::Publish::default()
    };
    raw.publish(1, inside, &Properties::default(), b"x");
    raw.fails::<basic::Publish<'_>>(
        1,
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'gint' in vhost '/'",
    );
    drop(amqp);
}

#[test]
fn what_ends_the_connection() {
    let (amqp, mut raw) = open();
    raw.declare("q");
    let consume = basic::Consume {
        queue: b"q",
        consumer_tag: b"t1",
        ..basic::Consume::default()
    };
    raw.send(1, &consume);
    raw.expect("basic.consume-ok", 1);
    raw.send(1, &consume);
    raw.fails::<basic::Consume<'_>>(0, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't1'");
    let mut raw = Raw::with_channel(&amqp);
    raw.send(
        1,
        &basic::Qos {
            prefetch_size: 1,
            ..basic::Qos::default()
        },
    );
    raw.fails::<basic::Qos>(0, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)");
    let mut raw = Raw::with_channel(&amqp);
    let publish = basic::Publish {
        immediate: true,
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"x");
    raw.fails::<basic::Publish<'_>>(0, 540, "NOT_IMPLEMENTED - immediate=true");
}
