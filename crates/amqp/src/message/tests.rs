//! What goes in comes out again, with headers about what happened in between.

use bytes::Bytes;
use engine::queue::NewMessage;

use super::stored::RAW;
use super::*;
use crate::error::Outcome;
use crate::wire::{ArrayBuilder, Properties, TableBuilder, Value};

fn table(values: &[(&str, Value<'_>)]) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, value) in values {
        table.push(name.as_bytes(), *value).unwrap();
    }
    table
}

fn array(values: &[&[u8]]) -> ArrayBuilder {
    let mut array = ArrayBuilder::new();
    for value in values {
        array.push(Value::Long(value)).unwrap();
    }
    array
}

fn plain(properties: &Properties<'_>) -> Vec<(String, String)> {
    let raw = properties.encode().unwrap();
    let decoded = Properties::decode(&raw).unwrap();
    let message = NewMessage {
        headers: plain_headers(&raw, &decoded),
        ..NewMessage::default()
    };
    assert_eq!(message.headers[0], (Bytes::from_static(RAW), raw));
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let others = message.headers.iter().skip(1);
    others.map(|(n, v)| (text(n), text(v))).collect()
}

#[test]
fn other_protocols_see_plain_headers() {
    let inner = table(&[("a", Value::Void)]);
    let headers = table(&[
        ("text", Value::Long(b"x")),
        ("int", Value::I32(-7)),
        ("flag", Value::Bool(true)),
        ("when", Value::Timestamp(5)),
        ("table", Value::Table(inner.as_table())),
        ("void", Value::Void),
        ("forebay.amqp", Value::Long(b"forged")),
        ("content-type", Value::Long(b"mine")),
    ]);
    let seen = plain(&Properties {
        headers: Some(headers.as_table()),
        content_type: Some(b"text/plain"),
        correlation_id: Some(b"c"),
        reply_to: Some(b"r"),
        message_id: Some(b"m"),
        kind: Some(b"k"),
        app_id: Some(b"not shown"),
        ..Properties::default()
    });
    let expected = [
        ("text", "x"),
        ("int", "-7"),
        ("flag", "true"),
        ("when", "5"),
        ("content-type", "mine"),
        ("correlation-id", "c"),
        ("reply-to", "r"),
        ("message-id", "m"),
        ("type", "k"),
    ];
    assert_eq!(seen, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

fn checked(properties: Properties<'_>) -> Outcome<Option<u64>> {
    check(&properties, "guest")
}

#[test]
fn the_broker_answers_for_some_properties() {
    let expiring = |text: &'static str| {
        checked(Properties {
            expiration: Some(text.as_bytes()),
            ..Properties::default()
        })
    };
    assert_eq!(expiring("0"), Ok(Some(0)));
    assert_eq!(expiring("60000"), Ok(Some(60_000)));
    assert_eq!(expiring("0004294967295"), Ok(Some(4_294_967_295)));
    for (text, reason) in [
        ("abc", "no_integer"),
        ("", "no_integer"),
        ("12x", "{leftover_string,\"x\"}"),
        ("-5", "{value_negative,-5}"),
        ("4294967296", "{value_too_large,4294967296}"),
        (
            "9999999999999999999999",
            "{value_too_large,\n                                              9999999999999999999999}",
        ),
    ] {
        assert_eq!(
            expiring(text).unwrap_err().text(),
            format!("PRECONDITION_FAILED - invalid expiration '{text}': {reason}")
        );
    }
    let from = |user: &'static str| {
        checked(Properties {
            user_id: Some(user.as_bytes()),
            ..Properties::default()
        })
    };
    assert_eq!(from("guest"), Ok(None));
    assert_eq!(
        from("bob").unwrap_err().text(),
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"
    );
}

#[test]
fn headers_name_more_queues() {
    let (cc, bcc) = (array(&[b"b", b"c"]), array(&[b"d"]));
    let headers = table(&[
        ("CC", Value::Array(cc.as_array())),
        ("BCC", Value::Array(bcc.as_array())),
        ("other", Value::Bool(true)),
    ]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        priority: Some(3),
        ..Properties::default()
    };
    let keys = Keys::of(&properties).unwrap();
    assert_eq!(keys.open, [b"b", b"c"]);
    assert_eq!(keys.blind, [b"d"]);
    let raw = without_blind(&properties);
    let left = Properties::decode(&raw).unwrap();
    assert_eq!(left.priority, Some(3));
    let names: Vec<&[u8]> = left.headers.unwrap().iter().map(|(n, _)| n).collect();
    assert_eq!(names, [&b"CC"[..], b"other"]);

    let headers = table(&[("CC", Value::Long(b"b"))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    assert_eq!(
        Keys::of(&properties).unwrap_err().text(),
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
    );
}

#[test]
fn another_place_to_answer_to_changes_nothing_else() {
    let properties = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        app_id: Some(b"app"),
        ..Properties::default()
    };
    let raw = with_reply_to(&properties, "elsewhere");
    let changed = Properties::decode(&raw).unwrap();
    assert_eq!(changed.reply_to, Some(&b"elsewhere"[..]));
    assert_eq!(changed.app_id, Some(&b"app"[..]));
}
