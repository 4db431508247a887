//! Streams: read from a position, by many, with nothing taken out.

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};

use super::{Amqp, body, confirm, declare, get, next, publish};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn arguments(values: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in values {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A stream with these messages in it.
async fn stream(channel: &Channel, name: &str, messages: &[&str]) {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let kind = arguments(&[("x-queue-type", text("stream")), ("x-max-age", text("7D"))]);
    let declared = channel.queue_declare(name.into(), options, kind);
    declared.await.unwrap();
    confirm(channel).await;
    for message in messages {
        publish(channel, name, message).await;
    }
    let qos = channel.basic_qos(10, BasicQosOptions::default());
    qos.await.unwrap();
}

async fn read(channel: &Channel, queue: &str, values: &[(&str, AMQPValue)]) -> Consumer {
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments(values));
    consumer.await.unwrap()
}

fn offset_of(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref().unwrap();
    match headers.inner().get("x-stream-offset") {
        Some(AMQPValue::LongLongInt(offset)) => *offset,
        other => panic!("no offset: {other:?}"),
    }
}

/// The next messages are these, in this order, and are acknowledged.
async fn takes(consumer: &mut Consumer, expected: &[(&str, i64)]) {
    for expected in expected {
        let delivery = next(consumer).await.unwrap();
        let what = (&*body(&delivery), offset_of(&delivery));
        assert_eq!((what, delivery.redelivered), (*expected, false));
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn many_read_the_same_messages_from_where_they_say() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    stream(&channel, "log", &["a", "b", "c"]).await;
    let all = [("a", 0), ("b", 1), ("c", 2)];
    for (from, first) in [
        (text("first"), 0),
        (text("last"), 2),
        (text("1h"), 0),
        (AMQPValue::LongLongInt(1), 1),
        (AMQPValue::LongInt(2), 2),
        (AMQPValue::Timestamp(0), 0),
        (text("next"), 3),
    ] {
        let mut consumer = read(&channel, "log", &[("x-stream-offset", from)]).await;
        takes(&mut consumer, &all[first..]).await;
    }
    // Without a word about it: what comes.
    let mut consumer = read(&channel, "log", &[]).await;
    publish(&channel, "log", "d").await;
    takes(&mut consumer, &[("d", 3)]).await;
    drop(consumer);
    let amqp = amqp.restart();
    let (_connection, channel) = amqp.channel().await;
    stream(&channel, "log", &["e"]).await;
    let from = ("x-stream-offset", text("first"));
    let mut consumer = read(&channel, "log", &[from]).await;
    takes(&mut consumer, &all).await;
    takes(&mut consumer, &[("d", 3), ("e", 4)]).await;
}

#[tokio::test]
async fn a_window_is_as_much_as_a_reader_gets() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    stream(&channel, "log", &["a", "b", "c", "d"]).await;
    let qos = channel.basic_qos(2, BasicQosOptions::default());
    qos.await.unwrap();
    let from = ("x-stream-offset", text("first"));
    let mut consumer = read(&channel, "log", &[from]).await;
    let a = next(&mut consumer).await.unwrap();
    let b = next(&mut consumer).await.unwrap();
    assert_eq!((&*body(&a), &*body(&b)), ("a", "b"));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), next(&mut consumer));
    assert!(waited.await.is_err(), "two is all it may have");
    // What is given back does not come again: it was never away.
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: true,
    };
    b.nack(requeue).await.unwrap();
    takes(&mut consumer, &[("c", 2), ("d", 3)]).await;
}

#[tokio::test]
async fn messages_are_filtered_by_the_value_they_were_given() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    stream(&channel, "log", &[]).await;
    for (body, mark) in [
        ("a", Some("eu")),
        ("b", Some("us")),
        ("c", None),
        ("d", Some("eu")),
    ] {
        let marked = mark.map(|mark| arguments(&[("x-stream-filter-value", text(mark))]));
        let properties = match marked {
            Some(headers) => BasicProperties::default().with_headers(headers),
            None => BasicProperties::default(),
        };
        let options = BasicPublishOptions::default();
        let body = body.as_bytes();
        let published = channel.basic_publish("".into(), "log".into(), options, body, properties);
        published.await.unwrap().await.unwrap();
    }
    let first = ("x-stream-offset", text("first"));
    let qos = channel.basic_qos(1, BasicQosOptions::default());
    qos.await.unwrap();
    let eu = ("x-stream-filter", text("eu"));
    let mut consumer = read(&channel, "log", &[first.clone(), eu]).await;
    takes(&mut consumer, &[("a", 0), ("d", 3)]).await;
    let mut values = FieldArray::default();
    values.push(text("us"));
    values.push(text("asia"));
    let us = ("x-stream-filter", AMQPValue::FieldArray(values));
    let unmarked = ("x-stream-match-unfiltered", AMQPValue::Boolean(true));
    let mut consumer = read(&channel, "log", &[first, us, unmarked]).await;
    takes(&mut consumer, &[("b", 1), ("c", 2)]).await;
}

#[tokio::test]
async fn readers_hear_when_their_stream_goes() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    stream(&channel, "log", &["a"]).await;
    let mut consumer = read(&channel, "log", &[]).await;
    let deleted = channel.queue_delete("log".into(), QueueDeleteOptions::default());
    assert_eq!(deleted.await.unwrap(), 1);
    assert!(next(&mut consumer).await.is_none());
}

#[tokio::test]
async fn any_queue_can_be_read_like_a_stream() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    declare(&channel, "orders").await;
    confirm(&channel).await;
    publish(&channel, "orders", "a").await;
    publish(&channel, "orders", "b").await;
    let from = ("x-stream-offset", text("first"));
    let mut consumer = read(&channel, "orders", &[from]).await;
    takes(&mut consumer, &[("a", 0), ("b", 1)]).await;
    for expected in [Some("a"), Some("b"), None] {
        assert_eq!(get(&channel, "orders").await.as_deref(), expected);
    }
}
