//! What the codec costs, beside an independent one: one publish taken apart, one delivery written.
//!
//! Prints nanoseconds per message as a table. Each figure is the best of many rounds, because everything that
//! disturbs a round only makes it longer.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and says what"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic as their};
use amqp::wire::{
    Content, ContentHeader, FrameKind, Method, Properties, Splitter, TableBuilder, Value, Writer,
    basic,
};
use bytes::{Bytes, BytesMut};

const FRAME_MAX: u32 = 131_072;
const ROUNDS: usize = 200;
/// Bytes of frames a read buffer holds, and a write gathers.
const BATCH_BYTES: usize = 64 << 10;

struct Row {
    name: &'static str,
    body_bytes: usize,
    headers: bool,
}

const ROWS: &[Row] = &[
    Row {
        name: "1 KiB, none",
        body_bytes: 1 << 10,
        headers: false,
    },
    Row {
        name: "1 KiB, 3 headers and ids",
        body_bytes: 1 << 10,
        headers: true,
    },
    Row {
        name: "16 B, none",
        body_bytes: 16,
        headers: false,
    },
    Row {
        name: "16 KiB, 3 headers and ids",
        body_bytes: 16 << 10,
        headers: true,
    },
];

fn main() {
    println!("| body, headers | parse: ours | amq-protocol | encode: ours | amq-protocol |");
    println!("|---|---|---|---|---|");
    for row in ROWS {
        let properties = properties(row);
        let body = Bytes::from(vec![b'x'; row.body_bytes]);
        let publish = publish(&properties, &body);
        let count = (BATCH_BYTES / publish.len()).max(1);
        let received = Bytes::from(publish.repeat(count));
        println!(
            "| {} | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns |",
            row.name,
            best_after(count, || BytesMut::from(&received[..]), parse_ours),
            best(count, || parse_theirs(&received)),
            encode_ours(count, &properties, &body),
            encode_theirs(count, &properties, &body),
        );
    }
}

/// Nanoseconds per message.
fn best(count: usize, mut round: impl FnMut()) -> f64 {
    best_after(count, || (), |()| round())
}

/// As [`best`], with a preparation that is not measured.
fn best_after<T>(count: usize, mut prepare: impl FnMut() -> T, mut round: impl FnMut(T)) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let prepared = prepare();
        let start = Instant::now();
        round(prepared);
        start.elapsed().as_nanos()
    });
    times.min().unwrap_or_default() as f64 / count as f64
}

fn properties(row: &Row) -> Bytes {
    let mut headers = TableBuilder::new();
    let fill = headers
        .push(b"tenant", Value::Long(b"acme"))
        .and_then(|headers| headers.push(b"attempt", Value::I32(3)))
        .and_then(|headers| {
            headers.push(
                b"trace-id",
                Value::Long(b"4bf92f3577b34da6a3ce929d0e0e4736"),
            )
        });
    fill.expect("short names");
    let mut properties = Properties {
        content_type: Some(b"application/json"),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    if row.headers {
        properties.headers = Some(headers.as_table());
        properties.correlation_id = Some(b"5f2b8c1e-7d3a-4a86-9c53-1f3f6f1f0a11");
        properties.message_id = Some(b"b2a9f0f4-54a1-4e6a-8f0b-6d8e6f2f4c55");
    }
    properties.encode().expect("short strings")
}

fn publish(properties: &[u8], body: &Bytes) -> Bytes {
    let mut w = Writer::new(FRAME_MAX);
    let publish = basic::Publish {
        exchange: b"orders",
        routing_key: b"orders.created.eu",
        ..basic::Publish::default()
    };
    let content = Content {
        properties,
        body: std::slice::from_ref(body),
    };
    w.content(1, &publish, content).expect("fits");
    w.take_bytes()
}

/// As a frontend would: every publish read, its properties looked into, its body kept.
fn parse_ours(mut received: BytesMut) {
    let frames = Splitter::new(FRAME_MAX).split(&mut received);
    let frames = frames.expect("sound");
    for frame in &frames {
        match frame.kind {
            FrameKind::Method => {
                black_box(Method::decode(frame.payload).expect("sound"));
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("sound");
                black_box(Properties::decode(header.properties).expect("sound"));
            }
            FrameKind::Body => drop(black_box(frames.share(frame.payload))),
            FrameKind::Heartbeat => {}
        }
    }
}

fn parse_theirs(received: &Bytes) {
    let mut rest = &received[..];
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).expect("sound");
        drop(black_box(frame));
        rest = after;
    }
}

fn encode_ours(count: usize, properties: &[u8], body: &Bytes) -> f64 {
    let (mut w, mut queue) = (Writer::new(FRAME_MAX), VecDeque::new());
    best(count, || {
        for delivery_tag in (1_u64..).take(count) {
            let deliver = basic::Deliver {
                consumer_tag: b"ctag-1.7f3a",
                delivery_tag,
                redelivered: false,
                exchange: b"orders",
                routing_key: b"orders.created.eu",
            };
            let content = Content {
                properties,
                body: std::slice::from_ref(body),
            };
            w.content(1, black_box(&deliver), content).expect("fits");
        }
        w.take_into(&mut queue);
        // What a vectored write would do with the segments, without the writing.
        black_box(&queue);
        queue.clear();
    })
}

fn encode_theirs(count: usize, properties: &[u8], body: &Bytes) -> f64 {
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], properties].concat();
    let length = u32::try_from(payload.len()).expect("small");
    let header = [&[2, 0, 1][..], &length.to_be_bytes(), &payload, &[0xCE]].concat();
    let (_, parsed) = parse_frame(&header[..]).expect("sound");
    let parsed: BasicProperties = match parsed {
        AMQPFrame::Header(_, header) => header.properties,
        _ => BasicProperties::default(),
    };
    let mut out = Vec::with_capacity(2 * BATCH_BYTES);
    best(count, || {
        out.clear();
        for delivery_tag in (1_u64..).take(count) {
            let deliver = their::Deliver {
                consumer_tag: "ctag-1.7f3a".into(),
                delivery_tag,
                redelivered: false,
                exchange: "orders".into(),
                routing_key: "orders.created.eu".into(),
            };
            let class = AMQPClass::Basic(their::AMQPMethod::Deliver(deliver));
            let header = AMQPContentHeader {
                class_id: 60,
                body_size: u64::try_from(body.len()).unwrap_or(u64::MAX),
                properties: parsed.clone(),
            };
            for frame in [
                AMQPFrame::Method(1, class),
                AMQPFrame::Header(1, header),
                AMQPFrame::Body(1, body.to_vec()),
            ] {
                let context = WriteContext::from(std::mem::take(&mut out));
                (out, _) = gen_frame(black_box(&frame))(context)
                    .expect("fits")
                    .into_inner();
            }
        }
        black_box(&out);
    })
}
