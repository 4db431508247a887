//! Publishers wait while the disk is low; nobody else does, and nothing they published is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amqp::wire::{basic, confirm, connection, queue};
use amqp::{Context, Settings};
use testkit::TestBroker;

use crate::client::Client;

#[tokio::test]
async fn a_publisher_that_waits_for_space_makes_some() {
    let broker = TestBroker::start().await;
    let is_low = Arc::new(AtomicBool::new(false));
    let alarm = Arc::clone(&is_low);
    let context = Arc::new(Context::new(
        broker.broker().clone(),
        Settings::default(),
        Box::new(move || alarm.load(Ordering::Relaxed)),
    ));
    let mut client = Client::open(&context).await;
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        ..queue::Declare::default()
    };
    client.send(1, &declare).await;
    client.expect("queue.declare-ok").await;
    for _ in 0..50 {
        client.publish("q", "before").await;
    }
    let consume = basic::Consume {
        queue: b"q",
        ..basic::Consume::default()
    };
    client.send(1, &consume).await;
    client.expect("basic.consume-ok").await;
    for _ in 0..50 {
        client.expect("basic.deliver").await;
    }
    is_low.store(true, Ordering::Relaxed);
    client.publish("q", "held").await;
    client.expect("connection.blocked").await;
    let all = basic::Ack {
        delivery_tag: 50,
        multiple: true,
    };
    client.send(1, &all).await;
    let anyone = security::Principal::anonymous();
    loop {
        let depth = broker
            .broker()
            .on_behalf_of(&anyone)
            .queue_depth("q")
            .await
            .unwrap();
        if depth.in_flight == 0 {
            assert_eq!(depth.ready, 0, "what was published waits");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // What has to come behind the publish waits with it.
    client.send(1, &declare).await;
    assert!(client.is_quiet().await);
    is_low.store(false, Ordering::Relaxed);
    client.expect("connection.unblocked").await;
    client.expect("queue.declare-ok").await;
    client.expect("basic.deliver").await;
}

#[tokio::test]
async fn confirms_refuse_what_there_is_no_room_to_wait_for() {
    let broker = TestBroker::start().await;
    let is_low = Arc::new(AtomicBool::new(false));
    let alarm = Arc::clone(&is_low);
    let context = Arc::new(Context::new(
        broker.broker().clone(),
        Settings::default(),
        Box::new(move || alarm.load(Ordering::Relaxed)),
    ));
    let mut client = Client::open(&context).await;
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        ..queue::Declare::default()
    };
    client.send(1, &declare).await;
    client.expect("queue.declare-ok").await;
    client.send(1, &confirm::Select { nowait: false }).await;
    client.expect("confirm.select-ok").await;
    is_low.store(true, Ordering::Relaxed);
    let body: &'static str = "x".repeat(600_000).leak();
    client.publish("q", body).await;
    client.expect("connection.blocked").await;
    client.publish("q", body).await;
    client.publish("q", body).await;
    let nack = client.expect("basic.nack").await;
    assert_eq!(u64::from_be_bytes(nack[4..12].try_into().unwrap()), 3);
    is_low.store(false, Ordering::Relaxed);
    client.expect("connection.unblocked").await;
    let mut confirmed = 0;
    while confirmed < 2 {
        let ack = client.expect("basic.ack").await;
        confirmed = u64::from_be_bytes(ack[4..12].try_into().unwrap());
    }
}

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
