//! Vhosts: names of one mean nothing in another, and the end of one ends its connections.

use amqp::wire::{connection, queue};
use clients::amqp::Raw;

use super::Amqp;
use crate::broker::command;

#[track_caller]
fn vhost(amqp: &Amqp, args: &[&str]) {
    let http = amqp.broker.http().to_string();
    let mut command = command();
    command.arg("vhost").args(args).args(["--http", &http]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn open(amqp: &Amqp, vhost: &str) -> Raw {
    let mut raw = Raw::asking_for(amqp.address(), vhost);
    raw.expect("connection.open-ok", 0);
    raw.open_channel(1);
    raw
}

#[test]
fn the_end_of_a_vhost_ends_its_connections() {
    let amqp = Amqp::start();
    vhost(&amqp, &["create", "shop"]);
    let (mut inside, mut outside) = (open(&amqp, "shop"), open(&amqp, "/"));
    inside.declare("q");
    let passive = queue::Declare {
        queue: b"q",
        passive: true,
        ..queue::Declare::default()
    };
    outside.send(1, &passive);
    outside.fails::<queue::Declare<'_>>(1, 404, "NOT_FOUND - no queue 'q' in vhost '/'");
    vhost(&amqp, &["delete", "shop"]);
    let close = inside.expect_close(0);
    let text = "CONNECTION_FORCED - vhost 'shop' is deleted".to_owned();
    assert_eq!(close, (320, text, (0, 0)));
    assert!(inside.frame().is_none());
    let mut late = Raw::asking_for(amqp.address(), "shop");
    late.fails::<connection::Open<'_>>(0, 530, "NOT_ALLOWED - vhost shop not found");
    // One made again has nothing of what was in it, and nobody else noticed.
    vhost(&amqp, &["create", "shop"]);
    let mut again = open(&amqp, "shop");
    again.send(1, &passive);
    again.fails::<queue::Declare<'_>>(1, 404, "NOT_FOUND - no queue 'q' in vhost 'shop'");
    outside.declare("q");
}
