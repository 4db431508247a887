//! What an answer says has happened: nobody who has it sees the world as it was before.

use std::time::Duration;

use amqp::wire::{Method, Properties, Table, Value, basic, channel, exchange, queue};
use clients::amqp::{NONE, Raw, table};

use crate::stage::Amqp;

fn open() -> (Amqp, Raw) {
    let amqp = Amqp::start();
    let raw = Raw::with_channel(&amqp);
    (amqp, raw)
}

fn declare(raw: &mut Raw, name: &str, arguments: Table<'_>) {
    let declare = queue::Declare {
        queue: name.as_bytes(),
        durable: true,
        arguments,
        ..queue::Declare::default()
    };
    raw.send(1, &declare);
    raw.expect("queue.declare-ok", 1);
}

fn auto_delete(raw: &mut Raw, name: &str) {
    let declare = queue::Declare {
        queue: name.as_bytes(),
        auto_delete: true,
        ..queue::Declare::default()
    };
    raw.send(1, &declare);
    raw.expect("queue.declare-ok", 1);
}

fn consume(raw: &mut Raw, name: &str, no_ack: bool) {
    let consume = basic::Consume {
        queue: name.as_bytes(),
        consumer_tag: b"t",
        no_ack,
        ..basic::Consume::default()
    };
    raw.send(1, &consume);
    raw.expect("basic.consume-ok", 1);
}

fn cancel(raw: &mut Raw) {
    let cancel = basic::Cancel {
        consumer_tag: b"t",
        nowait: false,
    };
    raw.send(1, &cancel);
    raw.expect("basic.cancel-ok", 1);
}

/// How many messages a queue has; none when it is not there.
fn count(raw: &mut Raw, name: &str) -> Option<u32> {
    let passive = queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..queue::Declare::default()
    };
    raw.send(1, &passive);
    let frame = raw.frame().unwrap();
    match Method::decode(&frame.payload).unwrap() {
        Method::Queue(queue::Method::DeclareOk(ok)) => Some(ok.message_count),
        Method::Channel(channel::Method::Close(close)) => {
            assert_eq!(close.reply_code, 404);
            raw.send(1, &channel::CloseOk {});
            raw.open_channel(1);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// The tag and body of the next message of a queue, and how many are behind it.
fn get(raw: &mut Raw, name: &str) -> Option<(u64, String, u32)> {
    let get = basic::Get {
        queue: name.as_bytes(),
        ..basic::Get::default()
    };
    raw.send(1, &get);
    let frame = raw.frame().unwrap();
    let Method::Basic(basic::Method::GetOk(ok)) = Method::decode(&frame.payload).unwrap() else {
        return None;
    };
    raw.frame().unwrap();
    let body = raw.frame().unwrap();
    let text = String::from_utf8(body.payload.to_vec()).unwrap();
    Some((ok.delivery_tag, text, ok.message_count))
}

fn give_back(raw: &mut Raw, delivery_tag: u64) {
    let requeue = true;
    raw.send(
        1,
        &basic::Reject {
            delivery_tag,
            requeue,
        },
    );
}

#[test]
fn a_queue_that_goes_with_its_last_consumer_is_gone_with_the_answer() {
    let (_amqp, mut raw) = open();
    for _ in 0..50 {
        auto_delete(&mut raw, "auto");
        consume(&mut raw, "auto", false);
        cancel(&mut raw);
        assert_eq!(count(&mut raw, "auto"), None);
        // With its channel.
        auto_delete(&mut raw, "auto");
        consume(&mut raw, "auto", false);
        raw.send(1, &channel::Close::default());
        raw.expect("channel.close-ok", 1);
        raw.open_channel(1);
        assert_eq!(count(&mut raw, "auto"), None);
        // With a channel that the broker closes.
        auto_delete(&mut raw, "auto");
        consume(&mut raw, "auto", false);
        assert_eq!(count(&mut raw, "never"), None);
        assert_eq!(count(&mut raw, "auto"), None);
    }
    // What is declared after the answer stays.
    auto_delete(&mut raw, "auto");
    consume(&mut raw, "auto", false);
    cancel(&mut raw);
    auto_delete(&mut raw, "auto");
    std::thread::park_timeout(Duration::from_millis(200));
    assert_eq!(count(&mut raw, "auto"), Some(0));
}

#[test]
fn a_queue_that_goes_with_its_last_consumer_is_gone_with_the_connection() {
    let (amqp, mut other) = open();
    for _ in 0..20 {
        let mut raw = Raw::with_channel(&amqp);
        auto_delete(&mut raw, "auto");
        consume(&mut raw, "auto", false);
        raw.send(0, &amqp::wire::connection::Close::default());
        raw.expect("connection.close-ok", 0);
        assert_eq!(count(&mut other, "auto"), None);
    }
}

#[test]
fn what_was_on_its_way_to_a_consumer_is_back_when_it_is_cancelled() {
    let (_amqp, mut raw) = open();
    raw.declare("q");
    for n in 0..200 {
        raw.publish_to("q", &n.to_string());
    }
    assert_eq!(count(&mut raw, "q"), Some(200));
    raw.send(
        1,
        &basic::Qos {
            prefetch_count: 3,
            ..basic::Qos::default()
        },
    );
    raw.expect("basic.qos-ok", 1);
    consume(&mut raw, "q", false);
    for _ in 0..3 {
        raw.expect_content("basic.deliver", 1);
    }
    cancel(&mut raw);
    assert_eq!(count(&mut raw, "q"), Some(197));
}

#[test]
fn limits_hold_for_what_is_given_back() {
    let (_amqp, mut raw) = open();
    for dead in ["", "dead"] {
        let arguments = table(&[("x-max-length", Value::I32(2))]);
        let dead_letters = table(&[
            ("x-max-length", Value::I32(2)),
            ("x-dead-letter-exchange", Value::Long(b"")),
            ("x-dead-letter-routing-key", Value::Long(b"dead")),
        ]);
        let is_dead_lettered = !dead.is_empty();
        let name = ["short", "short-dead"][usize::from(is_dead_lettered)];
        raw.declare("dead");
        let table = if is_dead_lettered {
            &dead_letters
        } else {
            &arguments
        };
        declare(&mut raw, name, table.as_table());
        for body in ["1", "2"] {
            raw.publish_to(name, body);
        }
        for _ in 0..20 {
            let (tag, body, behind) = get(&mut raw, name).unwrap();
            assert_eq!(behind, 1);
            raw.publish_to(name, &format!("{body}+"));
            give_back(&mut raw, tag);
            // The oldest went, which is the one that came back.
            assert_eq!(count(&mut raw, name), Some(2));
            if is_dead_lettered {
                assert_eq!(count(&mut raw, "dead"), Some(1));
                let (tag, dead_letter, _) = get(&mut raw, "dead").unwrap();
                assert_eq!(dead_letter, body);
                let multiple = false;
                raw.send(
                    1,
                    &basic::Ack {
                        delivery_tag: tag,
                        multiple,
                    },
                );
            }
        }
    }
}

#[test]
fn a_delivery_limit_holds_for_the_next_answer() {
    let (_amqp, mut raw) = open();
    raw.declare("dead");
    let plain = table(&[("x-delivery-limit", Value::I32(1))]);
    let dead_letters = table(&[
        ("x-delivery-limit", Value::I32(1)),
        ("x-dead-letter-exchange", Value::Long(b"")),
        ("x-dead-letter-routing-key", Value::Long(b"dead")),
    ]);
    for (name, arguments) in [("dropped", plain), ("moved", dead_letters)] {
        declare(&mut raw, name, arguments.as_table());
        for round in 1..=20 {
            raw.publish_to(name, "m");
            let (tag, _, _) = get(&mut raw, name).unwrap();
            give_back(&mut raw, tag);
            assert_eq!(count(&mut raw, name), Some(1));
            let (tag, _, _) = get(&mut raw, name).unwrap();
            give_back(&mut raw, tag);
            assert_eq!(count(&mut raw, name), Some(0));
            if name == "moved" {
                assert_eq!(count(&mut raw, "dead"), Some(round));
            }
        }
    }
}

#[test]
fn what_lives_no_time_is_for_who_waits() {
    let (amqp, mut raw) = open();
    let arguments = table(&[("x-message-ttl", Value::I32(0))]);
    declare(&mut raw, "brief", arguments.as_table());
    raw.declare("plain");
    let brief = Properties {
        expiration: Some(b"0"),
        ..Properties::default()
    };
    for (name, properties) in [("brief", &Properties::default()), ("plain", &brief)] {
        // Nobody waits.
        let publish = basic::Publish {
            routing_key: name.as_bytes(),
            ..basic::Publish::default()
        };
        raw.publish(1, publish, properties, b"lost");
        assert_eq!(count(&mut raw, name), Some(0));
        let mut waiting = Raw::with_channel(&amqp);
        consume(&mut waiting, name, false);
        for n in 1..=500_u64 {
            raw.publish(1, publish, properties, n.to_string().as_bytes());
            let arrived = waiting.expect_content("basic.deliver", 1);
            assert_eq!(arrived.body, n.to_string().as_bytes());
            // Given back it is gone, although a consumer waits.
            let (delivery_tag, requeue) = (n, true);
            waiting.send(
                1,
                &basic::Reject {
                    delivery_tag,
                    requeue,
                },
            );
        }
        assert_eq!(count(&mut waiting, name), Some(0));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn what_waits_is_there() {
    let (_amqp, mut raw) = open();
    let arguments = table(&[
        ("x-delayed-retry-type", Value::Long(b"all")),
        ("x-delayed-retry-min", Value::I32(600_000)),
    ]);
    declare(&mut raw, "retries", arguments.as_table());
    raw.declare("delays");
    let delayed = table(&[("x-delayed-type", Value::Long(b"direct"))]);
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"later",
            kind: b"x-delayed-message",
            arguments: delayed.as_table(),
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &queue::Bind {
            queue: b"delays",
            exchange: b"later",
            routing_key: b"k",
            arguments: NONE,
            ..queue::Bind::default()
        },
    );
    raw.expect("queue.bind-ok", 1);
    let headers = table(&[("x-delay", Value::I32(600_000))]);
    for name in ["retries", "delays"] {
        let fill = |raw: &mut Raw| {
            if name == "delays" {
                let publish = basic::Publish {
                    exchange: b"later",
                    routing_key: b"k",
                    ..basic::Publish::default()
                };
                let properties = Properties {
                    headers: Some(headers.as_table()),
                    ..Properties::default()
                };
                return raw.publish(1, publish, &properties, b"m");
            }
            raw.publish_to("retries", "m");
            let (tag, _, _) = get(raw, "retries").unwrap();
            give_back(raw, tag);
        };
        fill(&mut raw);
        assert_eq!(count(&mut raw, name), Some(1), "{name}");
        assert_eq!(get(&mut raw, name), None, "{name}");
        let removal = queue::Delete {
            queue: name.as_bytes(),
            if_empty: true,
            ..queue::Delete::default()
        };
        raw.send(1, &removal);
        let text = format!("PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty");
        raw.fails::<queue::Delete<'_>>(1, 406, &text);
        raw.send(
            1,
            &queue::Purge {
                queue: name.as_bytes(),
                ..queue::Purge::default()
            },
        );
        let payload = raw.expect("queue.purge-ok", 1);
        let Ok(Method::Queue(queue::Method::PurgeOk(ok))) = Method::decode(&payload) else {
            panic!("no purge-ok");
        };
        assert_eq!(ok.message_count, 1, "{name}");
        assert_eq!(count(&mut raw, name), Some(0), "{name}");
        fill(&mut raw);
        let removal = queue::Delete {
            if_empty: false,
            ..removal
        };
        raw.send(1, &removal);
        let payload = raw.expect("queue.delete-ok", 1);
        let Ok(Method::Queue(queue::Method::DeleteOk(ok))) = Method::decode(&payload) else {
            panic!("no delete-ok");
        };
        assert_eq!(ok.message_count, 1, "{name}");
    }
}

#[test]
fn a_queue_of_another_connection_is_not_unbound() {
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
    let bind = queue::Bind {
        queue: b"mine",
        exchange: b"amq.direct",
        routing_key: b"k",
        arguments: NONE,
        ..queue::Bind::default()
    };
    raw.send(1, &bind);
    raw.expect("queue.bind-ok", 1);
    let unbind = queue::Unbind {
        queue: b"mine",
        exchange: b"amq.direct",
        routing_key: b"k",
        arguments: NONE,
    };
    let mut other = Raw::with_channel(&amqp);
    let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be \
                  originally declared on another connection or the exclusive property value does not match that of \
                  the original declaration.";
    other.send(1, &unbind);
    other.fails::<queue::Unbind<'_>>(1, 405, locked);
    let never_bound = queue::Unbind {
        routing_key: b"other",
        ..unbind
    };
    other.send(1, &never_bound);
    other.expect("queue.unbind-ok", 1);
    other.send(1, &bind);
    other.fails::<queue::Bind<'_>>(1, 405, locked);
    // It is bound still.
    let publish = basic::Publish {
        exchange: b"amq.direct",
        routing_key: b"k",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"m");
    assert_eq!(count(&mut raw, "mine"), Some(1));
    raw.send(1, &unbind);
    raw.expect("queue.unbind-ok", 1);
}

#[test]
fn the_ends_of_lines_are_no_part_of_names() {
    let (_amqp, mut raw) = open();
    let declare = queue::Declare {
        queue: b"a\r\nb\n",
        ..queue::Declare::default()
    };
    raw.send(1, &declare);
    let payload = raw.expect("queue.declare-ok", 1);
    let Ok(Method::Queue(queue::Method::DeclareOk(ok))) = Method::decode(&payload) else {
        panic!("no declare-ok");
    };
    assert_eq!(ok.queue, b"ab");
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"x\r\n",
            kind: b"fanout",
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    raw.send(
        1,
        &queue::Bind {
            queue: b"ab\n",
            exchange: b"\nx",
            arguments: NONE,
            ..queue::Bind::default()
        },
    );
    raw.expect("queue.bind-ok", 1);
    let publish = basic::Publish {
        exchange: b"x",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &Properties::default(), b"m");
    assert_eq!(count(&mut raw, "ab"), Some(1));
}

fn dead_letters(raw: &mut Raw, queue: &str, key: Option<&str>) {
    let mut arguments = vec![("x-dead-letter-exchange", Value::Long(b"dlx"))];
    if let Some(key) = key {
        arguments.push(("x-dead-letter-routing-key", Value::Long(key.as_bytes())));
    }
    declare(raw, queue, table(&arguments).as_table());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn dead_letters_take_hidden_keys_along_and_lose_those_that_were_replaced() {
    let (_amqp, mut raw) = open();
    raw.send(
        1,
        &exchange::Declare {
            exchange: b"dlx",
            kind: b"direct",
            ..exchange::Declare::default()
        },
    );
    raw.expect("exchange.declare-ok", 1);
    for (name, key) in [("by-cc", "cc"), ("by-bcc", "bcc"), ("by-own", "own")] {
        raw.declare(name);
        raw.send(
            1,
            &queue::Bind {
                queue: name.as_bytes(),
                exchange: b"dlx",
                routing_key: key.as_bytes(),
                arguments: NONE,
                ..queue::Bind::default()
            },
        );
        raw.expect("queue.bind-ok", 1);
    }
    dead_letters(&mut raw, "keeps", None);
    dead_letters(&mut raw, "replaces", Some("own"));
    let mut lists = [
        amqp::wire::ArrayBuilder::new(),
        amqp::wire::ArrayBuilder::new(),
    ];
    lists[0].push(Value::Long(b"cc")).unwrap();
    lists[1].push(Value::Long(b"bcc")).unwrap();
    let headers = table(&[
        ("CC", Value::Array(lists[0].as_array())),
        ("BCC", Value::Array(lists[1].as_array())),
    ]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let publish = |raw: &mut Raw, queue: &str| {
        let publish = basic::Publish {
            routing_key: queue.as_bytes(),
            ..basic::Publish::default()
        };
        raw.publish(1, publish, &properties, b"m");
        let (delivery_tag, _, _) = get(raw, queue).unwrap();
        let requeue = false;
        raw.send(
            1,
            &basic::Reject {
                delivery_tag,
                requeue,
            },
        );
    };
    publish(&mut raw, "keeps");
    for (name, expected) in [("by-cc", 1), ("by-bcc", 1), ("by-own", 0)] {
        assert_eq!(count(&mut raw, name), Some(expected), "{name}");
    }
    let kept = headers_of(&mut raw, "by-bcc");
    assert_eq!(
        kept,
        [
            "CC",
            "x-death",
            "x-first-death-reason",
            "x-first-death-queue",
            "x-first-death-exchange",
            "x-last-death-reason",
            "x-last-death-queue",
            "x-last-death-exchange"
        ]
    );
    publish(&mut raw, "replaces");
    for (name, expected) in [("by-cc", 1), ("by-bcc", 0), ("by-own", 1)] {
        assert_eq!(count(&mut raw, name), Some(expected), "{name}");
    }
    let lost = headers_of(&mut raw, "by-own");
    assert!(!lost.contains(&"CC".to_owned()), "{lost:?}");
}

/// Names of the headers of the next message.
fn headers_of(raw: &mut Raw, name: &str) -> Vec<String> {
    let get = basic::Get {
        queue: name.as_bytes(),
        no_ack: true,
    };
    raw.send(1, &get);
    let arrived = raw.expect_content("basic.get-ok", 1);
    let properties = Properties::decode(&arrived.properties).unwrap();
    let headers = properties.headers.unwrap().iter();
    headers
        .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap())
        .collect()
}

#[test]
fn what_had_to_make_room_is_a_dead_letter_with_the_next_answer() {
    let (_amqp, mut raw) = open();
    raw.declare("dead");
    let arguments = table(&[
        ("x-max-length", Value::I32(1)),
        ("x-dead-letter-exchange", Value::Long(b"")),
        ("x-dead-letter-routing-key", Value::Long(b"dead")),
    ]);
    declare(&mut raw, "full", arguments.as_table());
    raw.publish_to("full", "0");
    for number in 1..=50 {
        raw.publish_to("full", &number.to_string());
        assert_eq!(count(&mut raw, "dead"), Some(number));
        assert_eq!(count(&mut raw, "full"), Some(1));
    }
}

#[test]
fn a_queue_without_room_delivers_to_who_waits() {
    let (_amqp, mut raw) = open();
    let arguments = table(&[("x-max-length", Value::I32(0))]);
    declare(&mut raw, "none", arguments.as_table());
    raw.publish_to("none", "nobody waits");
    assert_eq!(count(&mut raw, "none"), Some(0));
    consume(&mut raw, "none", true);
    for number in 0..20 {
        let body = number.to_string();
        raw.publish_to("none", &body);
        assert_eq!(raw.expect_content("basic.deliver", 1).body, body.as_bytes());
    }
}

#[test]
fn what_is_for_a_waiting_consumer_is_neither_fetched_nor_counted() {
    let (_amqp, mut raw) = open();
    raw.open_channel(2);
    auto_delete(&mut raw, "taken");
    let consume = basic::Consume {
        queue: b"taken",
        no_ack: true,
        ..basic::Consume::default()
    };
    raw.send(2, &consume);
    raw.expect("basic.consume-ok", 2);
    for turn in 0..300 {
        raw.publish_to("taken", "m");
        let get = basic::Get {
            queue: b"taken",
            no_ack: true,
        };
        raw.send(1, &get);
        // The delivery comes before the answer, or behind it.
        let mut answers = Vec::new();
        while answers.len() < 4 {
            let frame = raw.frame().unwrap();
            answers.push(frame.channel);
        }
        answers.sort_unstable();
        assert_eq!(answers, [1, 2, 2, 2], "turn {turn}");
    }
}

#[test]
fn a_dead_letter_tells_its_time_to_live_as_it_was_published() {
    let (_amqp, mut raw) = open();
    raw.declare("dead");
    let arguments = table(&[
        ("x-dead-letter-exchange", Value::Long(b"")),
        ("x-dead-letter-routing-key", Value::Long(b"dead")),
    ]);
    declare(&mut raw, "live", arguments.as_table());
    for expiration in ["100000", "0070000", "1"] {
        let properties = Properties {
            expiration: Some(expiration.as_bytes()),
            ..Properties::default()
        };
        let publish = basic::Publish {
            routing_key: b"live",
            ..basic::Publish::default()
        };
        raw.publish(1, publish, &properties, b"m");
        if let Some((delivery_tag, _, _)) = get(&mut raw, "live") {
            let requeue = false;
            raw.send(
                1,
                &basic::Reject {
                    delivery_tag,
                    requeue,
                },
            );
        }
        while count(&mut raw, "dead") != Some(1) {}
        assert_eq!(original_expiration(&mut raw), expiration);
    }
}

/// What the next dead letter says of its own time to live.
fn original_expiration(raw: &mut Raw) -> String {
    let get = basic::Get {
        queue: b"dead",
        no_ack: true,
    };
    raw.send(1, &get);
    let arrived = raw.expect_content("basic.get-ok", 1);
    let properties = Properties::decode(&arrived.properties).unwrap();
    assert_eq!(properties.expiration, None);
    let Some(Value::Array(deaths)) = properties.headers.unwrap().find(b"x-death") else {
        panic!("no deaths");
    };
    let Some(Value::Table(death)) = deaths.iter().next() else {
        panic!("no death");
    };
    let told = death.find(b"original-expiration").unwrap();
    String::from_utf8(told.string().unwrap().to_vec()).unwrap()
}

#[test]
fn hidden_keys_are_not_in_what_is_returned() {
    let (_amqp, mut raw) = open();
    let mut keys = amqp::wire::ArrayBuilder::new();
    keys.push(Value::Long(b"nobody")).unwrap();
    let headers = table(&[
        ("CC", Value::Array(keys.as_array())),
        ("BCC", Value::Array(keys.as_array())),
        ("mine", Value::Bool(true)),
    ]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let publish = basic::Publish {
        routing_key: b"nowhere",
        mandatory: true,
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &properties, b"m");
    let returned = raw.expect_content("basic.return", 1);
    let properties = Properties::decode(&returned.properties).unwrap();
    let names: Vec<&[u8]> = properties.headers.unwrap().iter().map(|(n, _)| n).collect();
    assert_eq!(names, [&b"CC"[..], b"mine"]);
}
