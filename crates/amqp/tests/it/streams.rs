//! Streams: what cannot be asked of them, and how that is refused.

use amqp::wire::{Value, basic, queue};
use clients::amqp::{NONE, Raw, table};

use crate::stage::Amqp;

fn is_stream<'a>() -> (&'a str, Value<'a>) {
    ("x-queue-type", Value::Long(b"stream"))
}

#[test]
fn what_cannot_be_done_with_a_stream() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(&amqp);
    let kind = table(&[is_stream()]);
    let durable = queue::Declare {
        queue: b"log",
        durable: true,
        arguments: kind.as_table(),
        ..queue::Declare::default()
    };
    raw.send(1, &durable);
    raw.expect("queue.declare-ok", 1);
    let fail = |raw: &mut Raw, consume: basic::Consume<'_>, text: &str| {
        raw.send(1, &consume);
        raw.fails::<basic::Consume<'_>>(1, 406, text);
    };
    let consume = basic::Consume {
        queue: b"log",
        ..basic::Consume::default()
    };
    fail(
        &mut raw,
        consume,
        "PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 'log' in vhost '/'",
    );
    let bad = table(&[("x-stream-offset", Value::Long(b"yesterday"))]);
    let arguments = bad.as_table();
    fail(
        &mut raw,
        basic::Consume {
            arguments,
            ..consume
        },
        "PRECONDITION_FAILED - failed consuming from stream queue 'log' in vhost '/': invalid_max_age",
    );
    for (durable, exclusive, auto_delete, property) in [
        (false, false, false, "non-durable"),
        (true, true, false, "exclusive-owner"),
        (true, false, true, "auto-delete"),
    ] {
        let declare = queue::Declare {
            queue: b"other",
            durable,
            exclusive,
            auto_delete,
            arguments: kind.as_table(),
            ..queue::Declare::default()
        };
        raw.send(1, &declare);
        let text = format!(
            "PRECONDITION_FAILED - invalid property '{property}' for queue 'other' in vhost '/'"
        );
        raw.fails::<queue::Declare<'_>>(1, 406, &text);
    }
    let classic = queue::Declare {
        arguments: NONE,
        ..durable
    };
    raw.send(1, &classic);
    raw.fails::<queue::Declare<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'log' in vhost '/': received 'classic' but current is 'stream'",
    );
}

#[test]
fn what_is_not_there_for_a_stream_ends_the_connection() {
    let amqp = Amqp::start();
    let open = || {
        let mut raw = Raw::with_channel(&amqp);
        let kind = table(&[is_stream()]);
        let declare = queue::Declare {
            queue: b"log",
            durable: true,
            arguments: kind.as_table(),
            ..queue::Declare::default()
        };
        raw.send(1, &declare);
        raw.expect("queue.declare-ok", 1);
        raw
    };
    let mut raw = open();
    let get = basic::Get {
        queue: b"log",
        no_ack: false,
    };
    raw.send(1, &get);
    raw.fails::<basic::Get<'_>>(
        0,
        540,
        "NOT_IMPLEMENTED - basic.get not supported by stream queues queue 'log' in vhost '/'",
    );
    let mut raw = open();
    let purge = queue::Purge {
        queue: b"log",
        nowait: false,
    };
    raw.send(1, &purge);
    raw.fails::<queue::Purge<'_>>(
        0,
        540,
        "NOT_IMPLEMENTED - queue.purge not supported by stream queues queue 'log' in vhost '/'",
    );
    let mut raw = open();
    let qos = basic::Qos {
        prefetch_size: 0,
        prefetch_count: 5,
        global: false,
    };
    raw.send(1, &qos);
    raw.expect("basic.qos-ok", 1);
    let consume = basic::Consume {
        queue: b"log",
        no_ack: true,
        ..basic::Consume::default()
    };
    raw.send(1, &consume);
    raw.fails::<basic::Consume<'_>>(
        0,
        540,
        "NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queue 'log' in vhost '/'",
    );
}
