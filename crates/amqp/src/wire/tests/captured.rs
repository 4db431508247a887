//! Frames written by hand from the specification, byte by byte.

use bytes::Bytes;

use super::split;
use crate::wire::{
    Content, ContentHeader, FrameKind, Method, Properties, Table, TableBuilder, Value, Writer,
    basic, channel, connection, exchange, queue,
};

/// Both directions of one method frame.
#[track_caller]
fn check(frame: &[u8], channel: u16, method: &Method<'_>) {
    let frames = split(frame, 131_072);
    let found: Vec<_> = frames.iter().collect();
    assert_eq!(
        (found[0].kind, found[0].channel),
        (FrameKind::Method, channel)
    );
    assert_eq!(Method::decode(found[0].payload).as_ref(), Ok(method));
    let mut w = Writer::new(131_072);
    method.write(channel, &mut w).expect("fits");
    assert_eq!(w.take_bytes(), frame);
}

#[test]
fn opening() {
    let properties =
        b"\x07productS\0\0\0\x01x\x0ccapabilitiesF\0\0\0\x15\x12publisher_confirmst\x01";
    let payload_rest = b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let mut frame = b"\x01\0\0\0\0\0\x5f\0\x0a\0\x0b\0\0\0\x34".to_vec();
    frame.extend(properties);
    frame.extend(payload_rest);
    let length = u8::try_from(frame.len() - 7).expect("small");
    frame[6] = length;
    frame[14] = u8::try_from(properties.len()).expect("small");
    frame.push(0xCE);
    let mut capabilities = TableBuilder::new();
    capabilities
        .push(b"publisher_confirms", Value::Bool(true))
        .expect("short");
    let mut table = TableBuilder::new();
    table
        .push(b"product", Value::Long(b"x"))
        .and_then(|table| table.push(b"capabilities", Value::Table(capabilities.as_table())))
        .expect("short");
    let start_ok = connection::StartOk {
        client_properties: table.as_table(),
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    };
    check(
        &frame,
        0,
        &Method::Connection(connection::Method::StartOk(start_ok)),
    );
}

#[test]
fn tuning_and_closing() {
    let tune = connection::Tune {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    check(
        b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c\xce",
        0,
        &Method::Connection(connection::Method::Tune(tune)),
    );
    let open_ok = connection::Method::OpenOk(connection::OpenOk {});
    check(
        b"\x01\0\0\0\0\0\x05\0\x0a\0\x29\0\xce",
        0,
        &Method::Connection(open_ok),
    );
    let open_ok = channel::Method::OpenOk(channel::OpenOk {});
    check(
        b"\x01\0\x01\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce",
        1,
        &Method::Channel(open_ok),
    );
    let close = channel::Close {
        reply_code: 404,
        reply_text: b"NOT_FOUND",
        class_id: 50,
        method_id: 20,
    };
    check(
        b"\x01\0\x07\0\0\0\x14\0\x14\0\x28\x01\x94\x09NOT_FOUND\0\x32\0\x14\xce",
        7,
        &Method::Channel(channel::Method::Close(close)),
    );
}

#[test]
fn topology() {
    let declare = queue::Declare {
        queue: b"jobs",
        durable: true,
        auto_delete: true,
        arguments: Table::decode(b"\x0dx-message-ttlI\0\0\x03\xe8").expect("sound"),
        ..queue::Declare::default()
    };
    check(
        b"\x01\0\x01\0\0\0\x23\0\x32\0\x0a\0\0\x04jobs\x0a\0\0\0\x13\x0dx-message-ttlI\0\0\x03\xe8\xce",
        1,
        &Method::Queue(queue::Method::Declare(declare)),
    );
    let unbind_ok = exchange::Method::UnbindOk(exchange::UnbindOk {});
    check(
        b"\x01\0\x01\0\0\0\x04\0\x28\0\x33\xce",
        1,
        &Method::Exchange(unbind_ok),
    );
    let nack = basic::Nack {
        delivery_tag: 258,
        multiple: false,
        requeue: true,
    };
    check(
        b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x78\0\0\0\0\0\0\x01\x02\x02\xce",
        1,
        &Method::Basic(basic::Method::Nack(nack)),
    );
}

/// A persistent message of five bytes to the queue `q`.
const PUBLISHED: &[u8] = b"\x01\0\x01\0\0\0\x0a\0\x3c\0\x28\0\0\0\x01q\x01\xce\
    \x02\0\x01\0\0\0\x1a\0\x3c\0\0\0\0\0\0\0\0\0\x05\x90\0\x0atext/plain\x02\xce\
    \x03\0\x01\0\0\0\x05hello\xce";

#[test]
fn publishing() {
    let frames = split(PUBLISHED, 4096);
    let [method, header, body] = frames.iter().collect::<Vec<_>>()[..] else {
        panic!("not three frames");
    };
    let publish = basic::Publish {
        routing_key: b"q",
        mandatory: true,
        ..basic::Publish::default()
    };
    assert_eq!(
        Method::decode(method.payload),
        Ok(Method::Basic(basic::Method::Publish(publish)))
    );
    let header = ContentHeader::decode(header.payload).expect("a header");
    assert_eq!((header.class, header.body_bytes), (basic::CLASS, 5));
    let properties = Properties {
        content_type: Some(b"text/plain"),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    assert_eq!(Properties::decode(header.properties), Ok(properties));
    assert_eq!((body.kind, body.payload), (FrameKind::Body, &b"hello"[..]));

    let mut w = Writer::new(4096);
    let content = Content {
        properties: header.properties,
        body: &[Bytes::from_static(b"hello")],
    };
    w.content(1, &publish, content).expect("fits");
    assert_eq!(w.take_bytes(), PUBLISHED);
}
