//! Agreement with an independent codec, `amq-protocol`. It keeps tables sorted and strings as text, so it is shown
//! only such. It says nothing in reserved arguments and the prefetch size, and always the same ticket.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{self as their, AMQPClass, BasicProperties};
use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::random::{RandomSource, Style};
use super::{Shape, framed, only, shapes};
use crate::wire::{
    ContentHeader, Method, Properties, Table, Value, access, basic, channel, confirm, connection,
    exchange, queue, tx,
};

fn their_bytes(frame: &AMQPFrame) -> Vec<u8> {
    let context = WriteContext::from(Vec::new());
    let (bytes, _) = gen_frame(frame)(context).expect("fits").into_inner();
    bytes
}

#[track_caller]
fn through_theirs(frame: &[u8]) -> Vec<u8> {
    let (rest, parsed) = parse_frame(frame).expect("sound for the other codec too");
    assert!(rest.is_empty());
    their_bytes(&parsed)
}

/// A payload the other codec can say.
fn tame(random: &mut RandomSource, shape: &Shape) -> Vec<u8> {
    let mut payload = random.payload(shape);
    match shape.name {
        "basic.qos" => payload[4..8].fill(0),
        "access.request-ok" => payload[4..6].copy_from_slice(&[0, 1]),
        _ => {}
    }
    payload
}

proptest! {
    #[test]
    fn methods_agree(seed: u64) {
        let mut random = RandomSource::new(seed, Style::Tame);
        for shape in shapes() {
            let frame = framed(1, 5, &tame(&mut random, shape));
            prop_assert_eq!(through_theirs(&frame), frame, "{}", shape.name);
        }
    }

    #[test]
    fn headers_agree(seed: u64) {
        let mut random = RandomSource::new(seed, Style::Tame);
        let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2][..], &random.properties()].concat();
        let frame = framed(2, 5, &header);
        prop_assert_eq!(through_theirs(&frame), frame);
    }
}

/// An argument of a random value, as each side has it.
struct Argument<O, T> {
    ours: O,
    theirs: T,
}

/// What each kind of argument may be; values come from `random`, strings and tables from statics.
macro_rules! argument {
    ($random:ident, bit) => {{
        let value = $random.below(2) == 1;
        Argument {
            ours: value,
            theirs: value,
        }
    }};
    ($random:ident, short) => {{
        let value = TEXTS[$random.below(TEXTS.len())];
        Argument {
            ours: value.as_bytes(),
            theirs: value.into(),
        }
    }};
    ($random:ident, long) => {{
        let value = TEXTS[$random.below(TEXTS.len())];
        Argument {
            ours: value.as_bytes(),
            theirs: value.as_bytes().into(),
        }
    }};
    ($random:ident, table) => {{
        let (name, seconds) = TABLES[$random.below(TABLES.len())];
        let mut theirs = FieldTable::default();
        theirs.insert(name.into(), AMQPValue::Timestamp(seconds.1));
        Argument {
            ours: Table::decode(seconds.0).expect("sound"),
            theirs,
        }
    }};
    ($random:ident, $number:ident) => {{
        let value = $random.next() as $number;
        Argument {
            ours: value,
            theirs: value,
        }
    }};
}

const TEXTS: &[&str] = &["", "a", "jobs", "amq.topic", "größe", "#.*"];
const TABLES: &[(&str, (&[u8], u64))] = &[
    ("t", (b"\x01tT\0\0\0\0\0\0\0\x05", 5)),
    ("at", (b"\x02atT\0\0\0\0\0\x01\0\0", 65_536)),
];

/// Fills the fields of one method with the same values on both sides; theirs must be read as ours.
macro_rules! agree {
    ($seed:ident: $($class:ident $module:ident { $($method:ident { $($field:ident: $kind:ident),* })* })*) => {{
        let mut compared = 0;
        $($({
            #[allow(unused_mut, unused_variables, reason = "some methods have no arguments")]
            let mut random = RandomSource::new($seed, Style::Tame);
            $(let $field = argument!(random, $kind);)*
            #[allow(clippy::needless_update, reason = "some methods have arguments that are reserved there")]
            let ours = $module::$method { $($field: $field.ours,)* ..Default::default() };
            let theirs = their::$module::$method { $($field: $field.theirs),* };
            let method = their::$module::AMQPMethod::$method(theirs);
            let bytes = their_bytes(&AMQPFrame::Method(5, AMQPClass::$class(method)));
            let (frame, payload) = only(&bytes);
            assert_eq!(frame.channel, 5);
            let expected = Method::$class($module::Method::$method(ours));
            assert_eq!(Method::decode(&payload), Ok(expected));
            compared += 1;
        })*)*
        compared
    }};
}

#[allow(clippy::too_many_lines, reason = "a table of all arguments")]
#[allow(clippy::cast_possible_truncation, reason = "any number will do")]
fn arguments_agree(seed: u64) -> usize {
    agree! { seed:
        Connection connection {
            Start { version_major: u8, version_minor: u8, server_properties: table, mechanisms: long, locales: long }
            StartOk { client_properties: table, mechanism: short, response: long, locale: short }
            Secure { challenge: long }
            SecureOk { response: long }
            Tune { channel_max: u16, frame_max: u32, heartbeat: u16 }
            TuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
            Open { virtual_host: short }
            OpenOk {}
            Close { reply_code: u16, reply_text: short, class_id: u16, method_id: u16 }
            CloseOk {}
            Blocked { reason: short }
            Unblocked {}
            UpdateSecret { new_secret: long, reason: short }
            UpdateSecretOk {}
        }
        Channel channel {
            Open {}
            OpenOk {}
            Flow { active: bit }
            FlowOk { active: bit }
            Close { reply_code: u16, reply_text: short, class_id: u16, method_id: u16 }
            CloseOk {}
        }
        Access access {
            Request { realm: short, exclusive: bit, passive: bit, active: bit, write: bit, read: bit }
        }
        Exchange exchange {
            Declare {
                exchange: short, kind: short, passive: bit, durable: bit, auto_delete: bit, internal: bit,
                nowait: bit, arguments: table
            }
            DeclareOk {}
            Delete { exchange: short, if_unused: bit, nowait: bit }
            DeleteOk {}
            Bind { destination: short, source: short, routing_key: short, nowait: bit, arguments: table }
            BindOk {}
            Unbind { destination: short, source: short, routing_key: short, nowait: bit, arguments: table }
            UnbindOk {}
        }
        Queue queue {
            Declare {
                queue: short, passive: bit, durable: bit, exclusive: bit, auto_delete: bit, nowait: bit,
                arguments: table
            }
            DeclareOk { queue: short, message_count: u32, consumer_count: u32 }
            Bind { queue: short, exchange: short, routing_key: short, nowait: bit, arguments: table }
            BindOk {}
            Purge { queue: short, nowait: bit }
            PurgeOk { message_count: u32 }
            Delete { queue: short, if_unused: bit, if_empty: bit, nowait: bit }
            DeleteOk { message_count: u32 }
            Unbind { queue: short, exchange: short, routing_key: short, arguments: table }
            UnbindOk {}
        }
        Basic basic {
            Qos { prefetch_count: u16, global: bit }
            QosOk {}
            Consume {
                queue: short, consumer_tag: short, no_local: bit, no_ack: bit, exclusive: bit, nowait: bit,
                arguments: table
            }
            ConsumeOk { consumer_tag: short }
            Cancel { consumer_tag: short, nowait: bit }
            CancelOk { consumer_tag: short }
            Publish { exchange: short, routing_key: short, mandatory: bit, immediate: bit }
            Return { reply_code: u16, reply_text: short, exchange: short, routing_key: short }
            Deliver { consumer_tag: short, delivery_tag: u64, redelivered: bit, exchange: short, routing_key: short }
            Get { queue: short, no_ack: bit }
            GetOk { delivery_tag: u64, redelivered: bit, exchange: short, routing_key: short, message_count: u32 }
            GetEmpty {}
            Ack { delivery_tag: u64, multiple: bit }
            Reject { delivery_tag: u64, requeue: bit }
            RecoverAsync { requeue: bit }
            Recover { requeue: bit }
            RecoverOk {}
            Nack { delivery_tag: u64, multiple: bit, requeue: bit }
        }
        Confirm confirm {
            Select { nowait: bit }
            SelectOk {}
        }
        Tx tx {
            Select {}
            SelectOk {}
            Commit {}
            CommitOk {}
            Rollback {}
            RollbackOk {}
        }
    }
}

#[test]
fn arguments_have_the_same_names() {
    // All but the answer that is a ticket.
    for seed in 0..64 {
        assert_eq!(arguments_agree(seed), shapes().count() - 1);
    }
}

#[test]
fn properties_have_the_same_names() {
    let mut headers = FieldTable::default();
    headers.insert("k".into(), AMQPValue::LongInt(-7));
    let theirs = BasicProperties::default()
        .with_content_type("a".into())
        .with_content_encoding("b".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(9)
        .with_correlation_id("c".into())
        .with_reply_to("d".into())
        .with_expiration("60".into())
        .with_message_id("e".into())
        .with_timestamp(1 << 40)
        .with_type("f".into())
        .with_user_id("g".into())
        .with_app_id("h".into())
        .with_cluster_id("i".into());
    let bytes = their_bytes(&AMQPFrame::Header(
        5,
        AMQPContentHeader {
            class_id: 60,
            body_size: 3,
            properties: theirs,
        },
    ));
    let (_, payload) = only(&bytes);
    let header = ContentHeader::decode(&payload).expect("sound");
    assert_eq!((header.class, header.body_bytes), (basic::CLASS, 3));
    let headers = Table::decode(b"\x01kI\xff\xff\xff\xf9").expect("sound");
    assert_eq!(headers.find(b"k"), Some(Value::I32(-7)));
    let ours = Properties {
        content_type: Some(b"a"),
        content_encoding: Some(b"b"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(b"c"),
        reply_to: Some(b"d"),
        expiration: Some(b"60"),
        message_id: Some(b"e"),
        timestamp: Some(1 << 40),
        kind: Some(b"f"),
        user_id: Some(b"g"),
        app_id: Some(b"h"),
        cluster_id: Some(b"i"),
    };
    assert_eq!(Properties::decode(header.properties), Ok(ours));
}
