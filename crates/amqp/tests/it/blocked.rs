//! Publishers wait while the disk is low; nobody else does, and nothing they published is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amqp::wire::{confirm, connection, queue};
use amqp::{Context, Settings};
use testkit::TestBroker;

use crate::client::Client;

#[tokio::test]
async fn publishers_wait_for_space_and_nobody_else_does() {
    let broker = TestBroker::start().await;
    let is_low = Arc::new(AtomicBool::new(false));
    let alarm = Arc::clone(&is_low);
    let context = Arc::new(Context::new(
        broker.broker().clone(),
        Settings::default(),
        Box::new(move || alarm.load(Ordering::Relaxed)),
    ));
    let mut publisher = Client::open(&context).await;
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        ..queue::Declare::default()
    };
    publisher.send(1, &declare).await;
    publisher.expect("queue.declare-ok").await;
    publisher.send(1, &confirm::Select { nowait: false }).await;
    publisher.expect("confirm.select-ok").await;
    publisher.publish("q", "before").await;
    publisher.expect("basic.ack").await;

    is_low.store(true, Ordering::Relaxed);
    publisher.publish("q", "held").await;
    let blocked = publisher.expect("connection.blocked").await;
    assert_eq!(&blocked[4..], b"\x0blow on disk");
    publisher.publish("q", "held too").await;
    assert!(publisher.is_quiet().await);
    let mut other = Client::open(&context).await;
    other.send(1, &declare).await;
    other.expect("queue.declare-ok").await;
    other.send(0, &connection::Close::default()).await;
    other.expect("connection.close-ok").await;

    is_low.store(false, Ordering::Relaxed);
    publisher.expect("connection.unblocked").await;
    publisher.send(1, &declare).await;
    let mut confirmed = 0;
    while confirmed < 3 {
        let ack = publisher.expect("basic.ack").await;
        confirmed = u64::from_be_bytes(ack[4..12].try_into().unwrap());
    }
    publisher.expect("queue.declare-ok").await;
}
