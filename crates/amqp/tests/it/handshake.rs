//! How connections begin and end: versions, logins, limits, signs of life.

use std::time::Duration;

use amqp::wire::{
    FrameKind, Method, PROTOCOL_HEADER, Properties, Table, TableBuilder, Value, basic, channel,
    connection,
};
use clients::amqp::{Raw, table};
use tokio::time::Instant;

use crate::stage::Amqp;

#[test]
fn other_versions_are_told_which_one_is_spoken() {
    let amqp = Amqp::start();
    for header in [
        *b"AMQP\x00\x00\x09\x02",
        *b"AMQP\x00\x00\x08\x00",
        *b"AMQP\x01\x01\x08\x00",
        *b"AMQP\x00\x01\x00\x00",
        *b"AMQP\x03\x01\x00\x00",
        *b"HELLO!!!",
    ] {
        let mut raw = Raw::connect(&amqp);
        raw.write(&header);
        assert_eq!(raw.rest(), PROTOCOL_HEADER);
    }
    for stray in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\xa5\x01"] {
        let mut raw = Raw::connect(&amqp);
        raw.write(stray);
        assert_eq!(raw.rest(), PROTOCOL_HEADER, "{stray:?}");
    }
}

#[test]
fn the_older_header_means_the_same_methods() {
    let amqp = Amqp::start();
    let mut raw = Raw::connect(&amqp);
    raw.write(b"AMQP\x01\x01\x00\x09");
    raw.expect("connection.start", 0);
}

#[test]
fn the_server_says_what_it_is_and_can_do() {
    let amqp = Amqp::start();
    let mut raw = Raw::connect(&amqp);
    raw.write(&PROTOCOL_HEADER);
    let payload = raw.expect("connection.start", 0);
    let Ok(Method::Connection(connection::Method::Start(start))) = Method::decode(&payload) else {
        panic!("no start");
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms, b"PLAIN AMQPLAIN ANONYMOUS");
    assert_eq!(start.locales, b"en_US");
    let text = |name: &[u8]| {
        start
            .server_properties
            .find(name)
            .unwrap()
            .string()
            .unwrap()
    };
    assert_eq!(text(b"product"), b"RabbitMQ");
    assert!(text(b"version").starts_with(b"4."));
    for name in ["platform", "copyright", "information", "cluster_name"] {
        assert!(!text(name.as_bytes()).is_empty());
    }
    let Some(Value::Table(flags)) = start.server_properties.find(b"capabilities") else {
        panic!("no capabilities");
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(
            flags.find(name.as_bytes()),
            Some(Value::Bool(true)),
            "{name}"
        );
    }
}

#[test]
fn every_login_of_the_open_profile_is_let_in() {
    let amqp = Amqp::start();
    let mut plain_table = TableBuilder::new();
    plain_table.push(b"LOGIN", Value::Long(b"u")).unwrap();
    plain_table.push(b"PASSWORD", Value::Long(b"p")).unwrap();
    for (mechanism, response) in [
        ("PLAIN", &b"\0any\0thing"[..]),
        ("AMQPLAIN", plain_table.as_table().as_bytes()),
        ("ANONYMOUS", b""),
    ] {
        let mut raw = Raw::connect(&amqp);
        raw.write(&PROTOCOL_HEADER);
        raw.expect("connection.start", 0);
        raw.log_in(mechanism, response, true);
        raw.tune();
    }
    let mut raw = Raw::connect(&amqp);
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("EXTERNAL", b"", true);
    let (code, text, _) = raw.expect_close(0);
    assert_eq!(code, 503);
    assert_eq!(
        text,
        "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'"
    );
}

/// Goes as far as the limits, and answers with these.
fn tuned(amqp: &Amqp, frame_max: u32, channel_max: u16, heartbeat: u16) -> Raw {
    let mut raw = Raw::connect(amqp);
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("PLAIN", b"\0guest\0guest", true);
    let tune = raw.tune();
    assert_eq!(
        (tune.frame_max, tune.channel_max, tune.heartbeat),
        (131_072, 2047, 60)
    );
    raw.send(
        0,
        &connection::TuneOk {
            channel_max,
            frame_max,
            heartbeat,
        },
    );
    raw.send(0, &connection::Open { virtual_host: b"/" });
    raw
}

#[test]
fn limits_may_be_lowered_and_not_raised() {
    let amqp = Amqp::start();
    let mut raw = tuned(&amqp, 4096, 1, 0);
    raw.expect("connection.open-ok", 0);
    for (frame_max, channel_max, text) in [
        (
            131_073,
            2047,
            "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            0,
            2047,
            "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
        ),
        (
            1024,
            2047,
            "NOT_ALLOWED - negotiated frame_max = 1024 is lower than the minimum allowed value (4096)",
        ),
        (
            131_072,
            0,
            "NOT_ALLOWED - negotiated channel_max = 0 is higher than the maximum allowed value (2047)",
        ),
    ] {
        let mut raw = tuned(&amqp, frame_max, channel_max, 0);
        raw.fails::<connection::TuneOk>(0, 530, text);
    }
}

#[test]
fn channels_are_counted() {
    let amqp = Amqp::start();
    let mut raw = tuned(&amqp, 131_072, 2, 0);
    raw.expect("connection.open-ok", 0);
    raw.open_channel(7);
    raw.open_channel(1);
    raw.send(2, &channel::Open {});
    let (code, text, numbers) = raw.expect_close(0);
    assert_eq!((code, numbers), (530, (0, 0)));
    assert_eq!(
        text,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    );
}

#[test]
fn a_vhost_has_to_be_there() {
    let amqp = Amqp::start();
    let mut raw = Raw::connect(&amqp);
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("PLAIN", b"\0guest\0guest", true);
    let tune = raw.tune();
    raw.send(0, &tune);
    raw.send(
        0,
        &connection::Open {
            virtual_host: b"nov",
        },
    );
    raw.fails::<connection::Open<'_>>(0, 530, "NOT_ALLOWED - vhost nov not found");
}

#[test]
fn methods_out_of_turn_end_the_connection() {
    let amqp = Amqp::start();
    let mut raw = Raw::connect(&amqp);
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.send(0, &connection::Open { virtual_host: b"/" });
    raw.fails::<connection::Open<'_>>(
        0,
        504,
        "CHANNEL_ERROR - unexpected method in connection state starting",
    );
    let mut raw = Raw::open(&amqp);
    raw.send(0, &connection::TuneOk::default());
    raw.fails::<connection::TuneOk>(
        0,
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );
}

#[test]
fn a_client_may_leave_at_any_time() {
    let amqp = Amqp::start();
    let mut raw = Raw::connect(&amqp);
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.send(0, &connection::Close::default());
    raw.expect("connection.close-ok", 0);
    assert!(raw.frame().is_none());
    let mut raw = Raw::with_channel(&amqp);
    raw.send(0, &connection::Close::default());
    raw.expect("connection.close-ok", 0);
    assert!(raw.frame().is_none());
}

#[test]
fn signs_of_life_go_both_ways() {
    let amqp = Amqp::start();
    let mut raw = tuned(&amqp, 131_072, 10, 1);
    raw.expect("connection.open-ok", 0);
    let began = Instant::now();
    for _ in 0..3 {
        let frame = raw.frame().expect("a sign of life");
        assert_eq!((frame.kind, frame.channel), (FrameKind::Heartbeat, 0));
        // Anything counts as a sign of life.
        raw.send_frame(8, 0, b"");
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    let silent = Instant::now();
    while raw.frame().is_some() {}
    let took = silent.elapsed();
    assert!(
        Duration::from_secs(1) < took && took < Duration::from_secs(8),
        "{took:?}"
    );
}

#[test]
fn broken_frames_end_the_connection() {
    let amqp = Amqp::start();
    let mut raw = Raw::open(&amqp);
    raw.send_frame(8, 1, b"");
    let text = "UNEXPECTED_FRAME - type 8, all octets = <<>>".to_owned();
    assert_eq!(raw.expect_close(0), (505, text, (0, 0)));
    let mut raw = Raw::open(&amqp);
    raw.write(&[1, 0, 0, 0, 0, 0, 1, 0, 0]);
    let text = "FRAME_ERROR - type 1, all octets = <<0>>: {invalid_frame_end_marker,0}".to_owned();
    assert_eq!(raw.expect_close(0), (501, text, (0, 0)));
    let mut raw = Raw::open(&amqp);
    raw.send_frame(77, 0, b"x");
    let text = "FRAME_ERROR - type 77, all octets = <<\"x\">>: unknown_frame".to_owned();
    assert_eq!(raw.expect_close(0), (501, text, (0, 0)));
    let mut raw = Raw::open(&amqp);
    raw.write(&[1, 0, 0, 0xff, 0, 0, 0]);
    assert_eq!(raw.expect_close(0).0, 501);
    let mut raw = Raw::open(&amqp);
    raw.send_frame(1, 0, &[0, 77, 0, 1]);
    assert_eq!(raw.expect_close(0).0, 503);
    let mut raw = Raw::with_channel(&amqp);
    raw.send_frame(1, 1, &[0, 50, 0, 10, 0]);
    let cut = "FRAME_ERROR - cannot decode <<0>>".to_owned();
    assert_eq!(raw.expect_close(0), (501, cut, (50, 10)));
    let mut raw = Raw::with_channel(&amqp);
    raw.publish(0, basic::Publish::default(), &Properties::default(), b"x");
    let text = "CHANNEL_ERROR - unexpected method in connection state running".to_owned();
    assert_eq!(raw.expect_close(0), (504, text, (60, 40)));
}

#[test]
fn the_first_sign_of_life_comes_after_half_the_interval() {
    let amqp = Amqp::start();
    let mut raw = tuned(&amqp, 131_072, 10, 8);
    raw.expect("connection.open-ok", 0);
    let began = Instant::now();
    let frame = raw.frame().expect("a sign of life");
    assert_eq!((frame.kind, frame.channel), (FrameKind::Heartbeat, 0));
    let took = began.elapsed();
    let half = Duration::from_millis(3500)..Duration::from_millis(7500);
    assert!(half.contains(&took), "{took:?}");
}

#[test]
fn nothing_is_asked_about_old_tickets() {
    let amqp = Amqp::start();
    let mut raw = Raw::with_channel(&amqp);
    raw.send(1, &amqp::wire::access::Request::default());
    raw.expect("access.request-ok", 1);
    assert_eq!(table(&[]).as_table(), Table::EMPTY);
}
