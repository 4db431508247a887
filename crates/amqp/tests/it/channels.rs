//! What channels promise: how they end, what they number, and what an empty name means.

use std::time::Duration;

use amqp::wire::{
    FrameKind, Method, Properties, Value, basic, channel, confirm, exchange, queue, tx,
};
use clients::amqp::{NONE, Raw, table};

use crate::stage::Amqp;

/// How long a broker that has nothing to say is listened to.
const QUIET: Duration = Duration::from_millis(150);

fn open() -> (Amqp, Raw) {
    let amqp = Amqp::start();
    let raw = Raw::with_channel(&amqp);
    (amqp, raw)
}

#[test]
fn a_closed_channel_hears_nothing_but_its_end() {
    let (_amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Purge {
            queue: b"nope",
            nowait: false,
        },
    );
    raw.publish_to("q", "pipelined");
    raw.send(
        1,
        &queue::Declare {
            queue: b"q",
            ..queue::Declare::default()
        },
    );
    raw.send_frame(3, 1, b"stray");
    let payload = raw.expect("channel.close", 1);
    assert!(matches!(
        Method::decode(&payload),
        Ok(Method::Channel(channel::Method::Close(_)))
    ));
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 5,
            multiple: false,
        },
    );
    assert!(raw.is_quiet(QUIET), "nothing of it is answered");
    raw.send(1, &channel::CloseOk {});
    raw.open_channel(1);
    raw.send(
        1,
        &queue::Declare {
            queue: b"q",
            passive: true,
            ..queue::Declare::default()
        },
    );
    let (code, ..) = raw.expect_close(1);
    assert_eq!(code, 404, "it was not made");
}

#[test]
fn both_sides_may_close_at_once() {
    let (_amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Purge {
            queue: b"nope",
            nowait: false,
        },
    );
    raw.send(1, &channel::Close::default());
    raw.expect("channel.close", 1);
    raw.expect("channel.close-ok", 1);
    raw.send(1, &channel::CloseOk {});
    raw.open_channel(1);
}

#[test]
fn a_number_is_free_as_soon_as_its_end_is_answered() {
    let (_amqp, mut raw) = open();
    for _ in 0..20 {
        raw.send(1, &channel::Close::default());
        raw.expect("channel.close-ok", 1);
        raw.open_channel(1);
    }
}

#[test]
fn channels_have_to_be_opened_once() {
    let (amqp, mut raw) = open();
    raw.send(2, &basic::Qos::default());
    raw.fails::<basic::Qos>(0, 504, "CHANNEL_ERROR - expected 'channel.open'");
    let mut raw = Raw::with_channel(&amqp);
    raw.send(1, &channel::Open {});
    raw.fails::<channel::Open>(0, 504, "CHANNEL_ERROR - second 'channel.open' seen");
}

#[test]
fn content_comes_in_order_or_not_at_all() {
    let (amqp, mut raw) = open();
    raw.send(1, &basic::Publish::default());
    raw.send(1, &queue::Declare::default());
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    assert_eq!(raw.expect_close(0), (505, text.to_owned(), (60, 40)));
    for kind in [2, 3] {
        let mut raw = Raw::with_channel(&amqp);
        raw.send_frame(kind, 1, b"stray");
        let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
        assert_eq!(raw.expect_close(0), (505, text.to_owned(), (0, 0)));
    }
}

#[test]
fn flow_can_only_be_on() {
    let (_amqp, mut raw) = open();
    raw.send(1, &channel::Flow { active: true });
    raw.expect("channel.flow-ok", 1);
    raw.send(1, &channel::Flow { active: false });
    raw.fails::<channel::Flow>(0, 540, "NOT_IMPLEMENTED - active=false");
}

fn declared(payload: &[u8]) -> (String, u32, u32) {
    match Method::decode(payload) {
        Ok(Method::Queue(queue::Method::DeclareOk(ok))) => (
            String::from_utf8(ok.queue.to_vec()).unwrap(),
            ok.message_count,
            ok.consumer_count,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_name_is_the_queue_declared_last() {
    let (amqp, mut raw) = open();
    raw.send(
        1,
        &basic::Get {
            queue: b"",
            no_ack: true,
        },
    );
    raw.fails::<basic::Get<'_>>(1, 404, "NOT_FOUND - no previously declared queue");
    raw.send(
        1,
        &queue::Declare {
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    let (name, ready, consumers) = declared(&raw.expect("queue.declare-ok", 1));
    assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
    assert_eq!((ready, consumers), (0, 0));
    raw.send(
        1,
        &queue::Bind {
            queue: b"",
            exchange: b"amq.direct",
            routing_key: b"",
            nowait: false,
            arguments: NONE,
        },
    );
    raw.expect("queue.bind-ok", 1);
    // Its own name is the key it was bound with.
    let publish = basic::Publish {
        exchange: b"amq.direct",
        routing_key: name.as_bytes(),
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"x");
    raw.send(
        1,
        &basic::Consume {
            queue: b"",
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    let payload = raw.expect("basic.consume-ok", 1);
    let Ok(Method::Basic(basic::Method::ConsumeOk(ok))) = Method::decode(&payload) else {
        panic!("no tag");
    };
    let tag = String::from_utf8(ok.consumer_tag.to_vec()).unwrap();
    assert!(tag.starts_with("amq.ctag-") && tag.len() == 31, "{tag}");
    assert_eq!(raw.expect_content("basic.deliver", 1).body, b"x");
    drop(amqp);
}

#[test]
fn a_passive_declaration_compares_nothing() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    raw.publish_to("q", "a");
    raw.publish_to("q", "b");
    raw.send(
        1,
        &basic::Get {
            queue: b"q",
            no_ack: false,
        },
    );
    raw.expect_content("basic.get-ok", 1);
    let arguments = table(&[("x-message-ttl", Value::I32(-5))]);
    raw.send(
        1,
        &queue::Declare {
            queue: b"q",
            passive: true,
            durable: false,
            exclusive: true,
            auto_delete: true,
            nowait: false,
            arguments: arguments.as_table(),
        },
    );
    let counts = declared(&raw.expect("queue.declare-ok", 1));
    assert_eq!(
        counts,
        ("q".to_owned(), 1, 0),
        "what is in flight is not ready"
    );
}

#[test]
fn removing_what_is_not_there_succeeds() {
    let (_amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Delete {
            queue: b"nope",
            ..queue::Delete::default()
        },
    );
    raw.expect("queue.delete-ok", 1);
    raw.send(
        1,
        &exchange::Delete {
            exchange: b"nope",
            ..exchange::Delete::default()
        },
    );
    raw.expect("exchange.delete-ok", 1);
    raw.send(
        1,
        &queue::Unbind {
            queue: b"nope",
            exchange: b"amq.direct",
            routing_key: b"k",
            arguments: NONE,
        },
    );
    raw.expect("queue.unbind-ok", 1);
    raw.send(
        1,
        &exchange::Unbind {
            destination: b"nope",
            source: b"amq.topic",
            ..exchange::Unbind::default()
        },
    );
    raw.expect("exchange.unbind-ok", 1);
}

#[test]
fn a_return_comes_before_its_confirm() {
    let (_amqp, mut raw) = open();
    raw.send(1, &confirm::Select { nowait: false });
    raw.expect("confirm.select-ok", 1);
    let publish = basic::Publish {
        routing_key: b"nowhere",
        mandatory: true,
        ..basic::Publish::default()
    };
    let properties = Properties {
        message_id: Some(b"m"),
        ..Properties::default()
    };
    raw.publish(1, publish, &properties, b"back");
    let returned = raw.expect_content("basic.return", 1);
    assert_eq!(returned.body, b"back");
    assert_eq!(returned.properties, properties.encode().unwrap());
    let Ok(Method::Basic(basic::Method::Return(why))) = Method::decode(&returned.method) else {
        panic!("no return");
    };
    assert_eq!((why.reply_code, why.reply_text), (312, &b"NO_ROUTE"[..]));
    assert_eq!((why.exchange, why.routing_key), (&b""[..], &b"nowhere"[..]));
    assert_eq!(acked(&raw.expect("basic.ack", 1)), (1, false));
    // Without that nobody cares, and it is safe to forget.
    raw.publish_to("nowhere", "dropped");
    assert_eq!(acked(&raw.expect("basic.ack", 1)), (2, false));
}

fn acked(payload: &[u8]) -> (u64, bool) {
    match Method::decode(payload) {
        Ok(Method::Basic(basic::Method::Ack(ack))) => (ack.delivery_tag, ack.multiple),
        other => panic!("{other:?}"),
    }
}

#[test]
fn confirms_count_from_one_and_are_gathered() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    raw.publish_to("q", "before");
    raw.send(1, &confirm::Select { nowait: false });
    raw.expect("confirm.select-ok", 1);
    for i in 0..100 {
        raw.publish_to("q", &i.to_string());
    }
    let mut last = 0;
    let mut frames = 0;
    while last < 100 {
        let (tag, multiple) = acked(&raw.expect("basic.ack", 1));
        assert!(tag > last && (multiple || tag == last + 1), "in order");
        last = tag;
        frames += 1;
    }
    assert!(frames < 100, "{frames} for a hundred");
}

#[test]
fn all_or_nothing_and_confirms_exclude_each_other() {
    let (_amqp, mut raw) = open();
    raw.send(1, &tx::Commit {});
    raw.fails::<tx::Commit>(1, 406, "PRECONDITION_FAILED - channel is not transactional");
    raw.send(1, &confirm::Select { nowait: true });
    raw.send(1, &tx::Select {});
    raw.fails::<tx::Select>(
        1,
        406,
        "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
    );
    raw.send(1, &tx::Select {});
    raw.expect("tx.select-ok", 1);
    raw.send(1, &confirm::Select { nowait: true });
    raw.fails::<confirm::Select>(
        1,
        406,
        "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
    );
}

fn get(raw: &mut Raw, queue: &str) -> Option<(u64, bool, String)> {
    raw.send(
        1,
        &basic::Get {
            queue: queue.as_bytes(),
            no_ack: false,
        },
    );
    let frame = raw.frame().unwrap();
    assert_eq!(frame.kind, FrameKind::Method);
    match Method::decode(&frame.payload) {
        Ok(Method::Basic(basic::Method::GetEmpty(_))) => None,
        Ok(Method::Basic(basic::Method::GetOk(ok))) => {
            let (tag, again) = (ok.delivery_tag, ok.redelivered);
            let header = raw.frame().unwrap().payload;
            let empty = header[4..12] == [0; 8];
            let body = if empty {
                Vec::new()
            } else {
                raw.frame().unwrap().payload.to_vec()
            };
            Some((tag, again, String::from_utf8(body).unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_makes_it_true_and_a_rollback_makes_it_unsaid() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    raw.publish_to("q", "first");
    raw.send(1, &tx::Select {});
    raw.expect("tx.select-ok", 1);
    raw.publish_to("q", "never");
    let (tag, ..) = get(&mut raw, "q").unwrap();
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: tag,
            multiple: false,
        },
    );
    raw.send(1, &tx::Rollback {});
    raw.expect("tx.rollback-ok", 1);
    assert_eq!(get(&mut raw, "q"), None, "nothing was published");
    raw.publish_to("q", "second");
    // What was acknowledged and unsaid can be acknowledged again.
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: tag,
            multiple: false,
        },
    );
    let lost = basic::Publish {
        routing_key: b"nowhere",
        mandatory: true,
        ..basic::Publish::default()
    };
    raw.publish(1, lost, &Properties::default(), b"lost");
    assert!(raw.is_quiet(QUIET), "nothing happens before the commit");
    raw.send(1, &tx::Commit {});
    raw.expect_content("basic.return", 1);
    raw.expect("tx.commit-ok", 1);
    let (_, again, body) = get(&mut raw, "q").unwrap();
    assert_eq!((again, body.as_str()), (false, "second"));
    assert_eq!(get(&mut raw, "q"), None, "the first is acknowledged");
}

#[test]
fn tags_are_settled_once() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    for i in 1..=5 {
        raw.publish_to("q", &i.to_string());
    }
    for i in 1..=5 {
        assert_eq!(get(&mut raw, "q").unwrap().0, i);
    }
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 2,
            multiple: false,
        },
    );
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 3,
            multiple: true,
        },
    );
    raw.send(
        1,
        &basic::Nack {
            delivery_tag: 0,
            multiple: true,
            requeue: true,
        },
    );
    for expected in ["4", "5"] {
        let (_, again, body) = get(&mut raw, "q").unwrap();
        assert_eq!((again, body.as_str()), (true, expected));
    }
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 82,
            multiple: false,
        },
    );
    raw.fails::<basic::Ack>(1, 406, "PRECONDITION_FAILED - unknown delivery tag 82");
    // The end of the channel gave both back, in their places.
    for expected in ["4", "5"] {
        assert_eq!(get(&mut raw, "q").unwrap().2, expected);
    }
    raw.send(1, &basic::Recover { requeue: true });
    raw.expect("basic.recover-ok", 1);
    assert_eq!(get(&mut raw, "q").unwrap().2, "4");
    raw.send(1, &basic::RecoverAsync { requeue: true });
    assert_eq!(get(&mut raw, "q").unwrap().2, "4");
    raw.send(1, &basic::Recover { requeue: false });
    raw.fails::<basic::Recover>(0, 540, "NOT_IMPLEMENTED - requeue=false");
}

#[test]
fn a_cancelled_consumer_may_still_settle() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    raw.publish_to("q", "a");
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
    for tag in [&b"t1"[..], b"unknown"] {
        raw.send(
            1,
            &basic::Cancel {
                consumer_tag: tag,
                nowait: false,
            },
        );
        raw.expect("basic.cancel-ok", 1);
    }
    raw.send(
        1,
        &basic::Reject {
            delivery_tag: 1,
            requeue: true,
        },
    );
    assert_eq!(get(&mut raw, "q").unwrap().2, "a");
}

#[test]
fn prefetch_holds_back_what_is_too_much() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    for i in 0..5 {
        raw.publish_to("q", &i.to_string());
    }
    raw.send(
        1,
        &basic::Qos {
            prefetch_count: 2,
            ..basic::Qos::default()
        },
    );
    raw.expect("basic.qos-ok", 1);
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
    raw.expect_content("basic.deliver", 1);
    assert!(raw.is_quiet(QUIET));
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    assert_eq!(raw.expect_content("basic.deliver", 1).body, b"2");
    // What all consumers together may hold is more than that and changes nothing; less does.
    raw.send(
        1,
        &basic::Qos {
            prefetch_count: 1,
            global: true,
            ..basic::Qos::default()
        },
    );
    raw.expect("basic.qos-ok", 1);
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 2,
            multiple: false,
        },
    );
    assert!(raw.is_quiet(QUIET));
    raw.send(
        1,
        &basic::Ack {
            delivery_tag: 3,
            multiple: false,
        },
    );
    assert_eq!(raw.expect_content("basic.deliver", 1).body, b"3");
}

#[test]
fn the_end_of_a_queue_cancels_its_consumers() {
    let (amqp, mut raw) = open();
    raw.declare("q");
    raw.send(
        1,
        &basic::Consume {
            queue: b"q",
            consumer_tag: b"t1",
            ..basic::Consume::default()
        },
    );
    raw.expect("basic.consume-ok", 1);
    let mut other = Raw::with_channel(&amqp);
    other.send(
        1,
        &queue::Delete {
            queue: b"q",
            ..queue::Delete::default()
        },
    );
    other.expect("queue.delete-ok", 1);
    let payload = raw.expect("basic.cancel", 1);
    assert_eq!(
        Method::decode(&payload),
        Ok(Method::Basic(basic::Method::Cancel(basic::Cancel {
            consumer_tag: b"t1",
            nowait: true,
        })))
    );
    raw.send(
        1,
        &basic::CancelOk {
            consumer_tag: b"t1",
        },
    );
    raw.declare("q");
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let (amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Declare {
            queue: b"mine",
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    raw.expect("queue.declare-ok", 1);
    raw.send(0, &amqp::wire::connection::Close::default());
    raw.expect("connection.close-ok", 0);
    let mut other = Raw::with_channel(&amqp);
    other.send(
        1,
        &queue::Declare {
            queue: b"mine",
            passive: true,
            ..queue::Declare::default()
        },
    );
    other.fails::<queue::Declare<'_>>(1, 404, "NOT_FOUND - no queue 'mine' in vhost '/'");
}

#[test]
fn a_queue_may_go_with_its_last_consumer() {
    let (_amqp, mut raw) = open();
    raw.send(
        1,
        &queue::Declare {
            queue: b"auto",
            auto_delete: true,
            ..queue::Declare::default()
        },
    );
    raw.expect("queue.declare-ok", 1);
    raw.send(
        1,
        &basic::Consume {
            queue: b"auto",
            consumer_tag: b"t1",
            ..basic::Consume::default()
        },
    );
    raw.expect("basic.consume-ok", 1);
    raw.send(
        1,
        &basic::Cancel {
            consumer_tag: b"t1",
            nowait: false,
        },
    );
    raw.expect("basic.cancel-ok", 1);
    let gone = queue::Declare {
        queue: b"auto",
        passive: true,
        ..queue::Declare::default()
    };
    raw.send(1, &gone);
    raw.fails::<queue::Declare<'_>>(1, 404, "NOT_FOUND - no queue 'auto' in vhost '/'");
}

#[test]
fn answers_go_straight_to_who_asked() {
    let (amqp, mut client) = open();
    let request = basic::Publish {
        routing_key: b"rpc",
        ..basic::Publish::default()
    };
    let asking = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Properties::default()
    };
    client.declare("rpc");
    client.publish(1, request, &asking, b"?");
    client.fails::<basic::Publish<'_>>(
        1,
        406,
        "PRECONDITION_FAILED - fast reply consumer does not exist",
    );
    client.send(
        1,
        &basic::Consume {
            queue: b"amq.rabbitmq.reply-to",
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    client.expect("basic.consume-ok", 1);
    client.publish(1, request, &asking, b"?");

    let mut server = Raw::with_channel(&amqp);
    server.send(
        1,
        &basic::Consume {
            queue: b"rpc",
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    server.expect("basic.consume-ok", 1);
    let asked = server.expect_content("basic.deliver", 1);
    let properties = Properties::decode(&asked.properties).unwrap();
    let to = properties.reply_to.unwrap().to_vec();
    assert!(to.starts_with(b"amq.rabbitmq.reply-to."));
    server.send(
        1,
        &queue::Declare {
            queue: &to,
            passive: true,
            ..queue::Declare::default()
        },
    );
    let (_, _, consumers) = declared(&server.expect("queue.declare-ok", 1));
    assert_eq!(consumers, 1);
    let answer = basic::Publish {
        routing_key: &to,
        mandatory: true,
        ..basic::Publish::default()
    };
    server.publish(1, answer, &Properties::default(), b"42");
    let got = client.expect_content("basic.deliver", 1);
    assert_eq!(got.body, b"42");
    client.send(1, &channel::Close::default());
    client.expect("channel.close-ok", 1);
    server.publish(1, answer, &Properties::default(), b"too late");
    assert_eq!(server.expect_content("basic.return", 1).body, b"too late");
}
