//! How connections begin and end where it takes the binary: users from a file, sockets, signals.

use std::fs;
use std::time::Duration;

use amqp::wire::{PROTOCOL_HEADER, connection};
use clients::amqp::Raw;
use rustix::process::Signal;
use tokio::time::Instant;

use super::{Amqp, confirm, connect_as, declare, publish};
use crate::broker::Options;

/// A broker that knows one user.
fn closed() -> (Amqp, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    fs::write(&path, "[shop]\npassword = s3cret\n").unwrap();
    let options = Options::new().env(
        "FOREBAY__AMQP__CREDENTIALS_FILE",
        path.to_str().expect("a path of text"),
    );
    (Amqp::with(options), folder)
}

#[tokio::test]
async fn only_known_users_get_in_where_there_are_some() {
    let (amqp, _folder) = closed();
    let connection = connect_as(amqp.address(), "shop", "s3cret").await.unwrap();
    connection.close(200, "".into()).await.unwrap();

    let mut raw = Raw::connect(amqp.address());
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("PLAIN", b"\0shop\0wrong", true);
    let (code, text, _) = raw.expect_close(0);
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    );

    // A client that would not understand the reason is not told one.
    let mut raw = Raw::connect(amqp.address());
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("ANONYMOUS", b"", false);
    assert!(raw.frame().is_none());
}

#[test]
fn any_new_secret_is_taken() {
    let (amqp, _folder) = closed();
    let mut raw = Raw::connect(amqp.address());
    raw.write(&PROTOCOL_HEADER);
    raw.expect("connection.start", 0);
    raw.log_in("PLAIN", b"\0shop\0s3cret", true);
    let tune = raw.tune();
    raw.send(0, &tune);
    raw.send(0, &connection::Open { virtual_host: b"/" });
    raw.expect("connection.open-ok", 0);
    for new_secret in [&b"s3cret"[..], b"other", b""] {
        let reason = b"renewal";
        raw.send(0, &connection::UpdateSecret { new_secret, reason });
        raw.expect("connection.update-secret-ok", 0);
    }
    raw.open_channel(1);
    raw.declare("q");
}

/// Writes until the other end says that nobody listens any more.
fn writes_for(raw: &mut Raw, time: Duration) -> std::io::Result<()> {
    use std::io::Write;
    let began = Instant::now();
    while began.elapsed() < time {
        raw.stream.write_all(&[8, 0, 0, 0, 0, 0, 0, 0xCE])?;
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn a_connection_that_ends_is_read_until_its_peer_closes_it() {
    let amqp = Amqp::start();
    let second = Duration::from_secs(1);
    // The client closes it, and other parts of it still write.
    let mut raw = Raw::with_channel(amqp.address());
    raw.send(0, &connection::Close::default());
    writes_for(&mut raw, second).unwrap();
    raw.expect("connection.close-ok", 0);
    writes_for(&mut raw, second).unwrap();
    // The broker closes it.
    let mut raw = Raw::with_channel(amqp.address());
    raw.send(0, &connection::TuneOk::default());
    writes_for(&mut raw, second).unwrap();
    assert_eq!(raw.expect_close(0).0, 504);
    writes_for(&mut raw, second).unwrap();
    // The client cannot be understood any more.
    let mut raw = Raw::open(amqp.address());
    raw.send_frame(77, 0, b"x");
    writes_for(&mut raw, second).unwrap();
    assert_eq!(raw.expect_close(0).0, 501);
    // It never got so far.
    let mut raw = Raw::asking_for(amqp.address(), "nov");
    writes_for(&mut raw, second).unwrap();
    assert_eq!(raw.expect_close(0).0, 530);
}

#[tokio::test]
async fn a_broker_that_stops_says_so_and_loses_nothing() {
    let mut amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    declare(&channel, "orders").await;
    confirm(&channel).await;
    publish(&channel, "orders", "a").await;
    let mut raw = Raw::open(amqp.address());
    amqp.broker.signal(Signal::TERM);
    let (code, text, numbers) = raw.expect_close(0);
    assert_eq!((code, numbers), (320, (0, 0)));
    assert_eq!(
        text,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    );
    assert!(amqp.broker.wait().success());
    let amqp = amqp.restart();
    let (_connection, channel) = amqp.channel().await;
    assert_eq!(super::get(&channel, "orders").await.as_deref(), Some("a"));
}
