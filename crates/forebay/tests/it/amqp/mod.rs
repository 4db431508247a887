//! A client for Rust that knows nothing of us, against the real process over real sockets; and, where that client cannot
//! say it or hides what is on the wire, the frames themselves.

mod flows;
mod handshake;
mod headers;
mod messages;
mod shared;
mod streams;
mod vhosts;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use crate::broker::{Broker, Options};

/// A broker with an AMQP listener.
pub(crate) struct Amqp {
    pub(crate) broker: Broker,
}

impl Amqp {
    pub(crate) fn start() -> Self {
        Self::with(Options::new())
    }

    pub(crate) fn with(options: Options) -> Self {
        Self {
            broker: options.start(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.broker.address("amqp").expect("amqp is on")
    }

    /// The same broker, killed and started again.
    pub(crate) fn restart(self) -> Self {
        Self {
            broker: self.broker.restart(),
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let connected = connect_as(self.address(), "guest", "guest").await;
        connected.expect("connects")
    }

    /// A channel of a connection of its own, which ends with it.
    pub(crate) async fn channel(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }
}

/// Connects as a user.
pub(crate) async fn connect_as(
    to: SocketAddr,
    user: &str,
    password: &str,
) -> lapin::Result<Connection> {
    let uri = format!("amqp://{user}:{password}@{to}/%2f");
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// A durable queue without arguments.
pub(crate) async fn declare(channel: &Channel, name: &str) {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(name.into(), options, FieldTable::default());
    declared.await.unwrap();
}

/// Asks for confirms on the channel.
pub(crate) async fn confirm(channel: &Channel) {
    let select = channel.confirm_select(ConfirmSelectOptions::default());
    select.await.unwrap();
}

/// Publishes to a queue, and waits for the confirm where the channel has them.
pub(crate) async fn publish(channel: &Channel, queue: &str, body: &str) -> Confirmation {
    let published = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        BasicProperties::default().with_delivery_mode(2),
    );
    published.await.unwrap().await.unwrap()
}

/// Takes a message without waiting; it needs no acknowledgement.
pub(crate) async fn get(channel: &Channel, queue: &str) -> Option<String> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
    let got = got.await.unwrap()?;
    Some(String::from_utf8(got.delivery.data).unwrap())
}

pub(crate) async fn consume(channel: &Channel, queue: &str, tag: &str) -> Consumer {
    try_consume(channel, queue, tag).await.unwrap()
}

/// The next message of a consumer; none when it was cancelled.
pub(crate) async fn next(consumer: &mut Consumer) -> Option<Delivery> {
    let next = tokio::time::timeout(crate::broker::PATIENCE, next_of(consumer)).await;
    Some(next.expect("a message in time")?.unwrap())
}

/// Likewise, however long it takes, and whatever breaks meanwhile.
pub(crate) async fn next_of(consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
    poll_fn(|cx| Pin::new(&mut *consumer).poll_next(cx)).await
}

/// Consumes as `tag`, as far as the connection lasts.
pub(crate) async fn try_consume(
    channel: &Channel,
    queue: &str,
    tag: &str,
) -> lapin::Result<Consumer> {
    let consumer = channel.basic_consume(
        queue.into(),
        tag.into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    consumer.await
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).unwrap()
}
