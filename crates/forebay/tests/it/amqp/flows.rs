//! What everyone does: publish, confirm, fetch, consume, acknowledge.

use lapin::Confirmation;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicQosOptions};

use super::{Amqp, body, confirm, consume, declare, get, next, publish};

#[tokio::test]
async fn what_is_confirmed_is_consumed_and_gone_when_acknowledged() {
    let amqp = Amqp::start();
    let (connection, channel) = amqp.channel().await;
    declare(&channel, "orders").await;
    confirm(&channel).await;
    for text in ["a", "b", "c"] {
        let confirmed = publish(&channel, "orders", text).await;
        assert_eq!(confirmed, Confirmation::Ack(None));
    }
    assert_eq!(get(&channel, "orders").await.as_deref(), Some("a"));
    channel
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let mut consumer = consume(&channel, "orders", "me").await;
    for text in ["b", "c"] {
        let delivery = next(&mut consumer).await.unwrap();
        assert_eq!(body(&delivery), text);
        assert!(!delivery.redelivered);
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    connection.close(200, "".into()).await.unwrap();
    let amqp = amqp.restart();
    let (_connection, channel) = amqp.channel().await;
    assert_eq!(get(&channel, "orders").await, None);
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let amqp = Amqp::start();
    let (connection, channel) = amqp.channel().await;
    declare(&channel, "orders").await;
    publish(&channel, "orders", "a").await;
    let mut consumer = consume(&channel, "orders", "me").await;
    assert_eq!(body(&next(&mut consumer).await.unwrap()), "a");
    connection.close(200, "".into()).await.unwrap();
    let (_connection, channel) = amqp.channel().await;
    let mut consumer = consume(&channel, "orders", "me").await;
    let again = next(&mut consumer).await.unwrap();
    assert_eq!((body(&again).as_str(), again.redelivered), ("a", true));
}

#[tokio::test]
async fn what_a_transaction_acknowledged_is_gone_for_good() {
    let amqp = Amqp::start();
    let (_connection, channel) = amqp.channel().await;
    declare(&channel, "orders").await;
    confirm(&channel).await;
    publish(&channel, "orders", "a").await;
    let (_connection, channel) = amqp.channel().await;
    channel.tx_select().await.unwrap();
    let options = BasicGetOptions::default();
    let got = channel.basic_get("orders".into(), options).await.unwrap();
    got.unwrap().ack(BasicAckOptions::default()).await.unwrap();
    channel.tx_commit().await.unwrap();
    // Killed in the same moment.
    let amqp = amqp.restart();
    let (_connection, channel) = amqp.channel().await;
    assert_eq!(get(&channel, "orders").await, None);
}
