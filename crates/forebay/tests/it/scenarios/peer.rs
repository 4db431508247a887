//! A client of AMQP over a connection in memory: one channel with confirms, and what came on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use amqp::wire::{
    Arguments, FrameKind, Method, PROTOCOL_HEADER, Properties, Table, basic, channel, confirm,
    connection,
};
use bytes::Bytes;
use clients::amqp::{Inbox, message, method};
use net::{Connection, Drain};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BUFFER_BYTES: usize = 1 << 20;
const FRAME_BYTES_MAX: u32 = 128 << 10;
const CHANNEL: u16 = 1;

/// A message that came and is not settled.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) tag: u64,
    /// Tells it from all others, whatever channel they came on; ends with the tag.
    pub(super) name: String,
    pub(super) redelivered: bool,
    pub(super) exchange: Bytes,
    pub(super) key: Bytes,
    pub(super) properties: Bytes,
    pub(super) body: Vec<u8>,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    Ack,
    Nack,
}

/// A connection.
pub(super) struct Peer {
    stream: Connection,
    number: u64,
    /// Channels it opened, one after the other.
    channels: u64,
    inbox: Inbox,
    published: u64,
    confirms: BTreeMap<u64, Confirm>,
    /// What was given back since it was last looked at: why.
    pub(super) returned: Option<String>,
    /// What consumers were handed, by tag.
    pub(super) held: BTreeMap<u64, Delivery>,
}

/// Why a request was refused: code and text.
pub(super) type Refusal = String;

impl Peer {
    pub(super) async fn connect(context: &Arc<amqp::Context>, number: u64, drain: Drain) -> Self {
        let (stream, far) = Connection::pair(BUFFER_BYTES);
        tokio::spawn(amqp::serve(far, Arc::clone(context), drain));
        let mut peer = Self {
            stream,
            number,
            channels: 0,
            inbox: Inbox::default(),
            published: 0,
            confirms: BTreeMap::new(),
            returned: None,
            held: BTreeMap::new(),
        };
        peer.stream.write_all(&PROTOCOL_HEADER).await.unwrap();
        peer.next().await;
        let start = connection::StartOk {
            client_properties: Table::EMPTY,
            mechanism: b"PLAIN",
            response: b"\0guest\0guest",
            locale: b"en_US",
        };
        peer.say(0, &start).await;
        peer.next().await;
        let tune = connection::TuneOk {
            channel_max: 1,
            frame_max: FRAME_BYTES_MAX,
            // The clock of a scenario makes great leaps.
            heartbeat: 0,
        };
        peer.say(0, &tune).await;
        peer.say(0, &connection::Open { virtual_host: b"/" }).await;
        peer.next().await;
        peer.open_channel().await;
        peer
    }

    async fn open_channel(&mut self) {
        (self.published, self.held) = (0, BTreeMap::new());
        self.channels += 1;
        self.say(CHANNEL, &channel::Open {}).await;
        self.next().await;
        self.say(CHANNEL, &confirm::Select { nowait: false }).await;
        self.next().await;
    }

    async fn say<'m>(&mut self, number: u16, arguments: &impl Arguments<'m>) {
        let frame = method(number, arguments);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame.
    async fn next(&mut self) -> (FrameKind, Bytes) {
        loop {
            if let Some(frame) = self.inbox.take() {
                return (frame.kind, frame.payload);
            }
            let input = &mut self.inbox.input;
            let count = self.stream.read_buf(input).await.unwrap();
            assert!(count > 0, "the broker ended the connection");
        }
    }

    /// Asks for something that is answered; returns the answer's payload.
    pub(super) async fn ask<'m>(&mut self, method: &impl Arguments<'m>) -> Result<Bytes, Refusal> {
        self.say(CHANNEL, method).await;
        loop {
            if let Some(answer) = self.hear().await? {
                return Ok(answer);
            }
        }
    }

    /// Says something that has no answer. What it led to has happened when this returns.
    pub(super) async fn tell<'m>(&mut self, method: &impl Arguments<'m>) -> Result<(), Refusal> {
        self.say(CHANNEL, method).await;
        self.wait().await
    }

    /// Waits until everything said before was heard.
    pub(super) async fn wait(&mut self) -> Result<(), Refusal> {
        let flow = channel::Flow { active: true };
        self.ask(&flow).await.map(drop)
    }

    /// Publishes and waits for the confirm.
    pub(super) async fn publish(
        &mut self,
        publish: basic::Publish<'_>,
        properties: &Properties<'_>,
        body: &str,
    ) -> Result<Confirm, Refusal> {
        let frames = message(CHANNEL, &publish, properties, body.as_bytes());
        self.stream.write_all(&frames).await.unwrap();
        self.published += 1;
        loop {
            if let Some(confirm) = self.confirms.remove(&self.published) {
                return Ok(confirm);
            }
            self.hear().await?;
        }
    }

    /// Takes in one thing the broker says; an answer is returned.
    async fn hear(&mut self) -> Result<Option<Bytes>, Refusal> {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, FrameKind::Method, "a message without its method");
        match Method::decode(&payload).unwrap() {
            Method::Basic(basic::Method::Deliver(deliver)) => {
                let delivery = Delivery {
                    tag: deliver.delivery_tag,
                    name: self.name_of(deliver.delivery_tag),
                    redelivered: deliver.redelivered,
                    exchange: payload.slice_ref(deliver.exchange),
                    key: payload.slice_ref(deliver.routing_key),
                    properties: Bytes::new(),
                    body: Vec::new(),
                };
                let delivery = self.content(delivery).await;
                self.held.insert(delivery.tag, delivery);
            }
            Method::Basic(basic::Method::Return(back)) => {
                let text = String::from_utf8_lossy(back.reply_text);
                let why = format!("{} {text}", back.reply_code);
                self.content(Delivery::nothing()).await;
                self.returned = Some(why);
            }
            Method::Basic(basic::Method::Ack(ack)) => self.confirm(ack.delivery_tag, Confirm::Ack),
            Method::Basic(basic::Method::Nack(nack)) => {
                self.confirm(nack.delivery_tag, Confirm::Nack);
            }
            Method::Channel(channel::Method::Close(close)) => {
                let text = String::from_utf8_lossy(close.reply_text).into_owned();
                let why = format!("channel closed: {} {text}", close.reply_code);
                self.say(CHANNEL, &channel::CloseOk {}).await;
                Box::pin(self.open_channel()).await;
                return Err(why);
            }
            _ => return Ok(Some(payload)),
        }
        Ok(None)
    }

    /// The name of a delivery with this tag.
    pub(super) fn name_of(&self, tag: u64) -> String {
        format!("{}.{}.{tag}", self.number, self.channels)
    }

    fn confirm(&mut self, tag: u64, confirm: Confirm) {
        self.confirms.insert(tag, confirm);
    }

    /// The message behind a method.
    pub(super) async fn content(&mut self, mut delivery: Delivery) -> Delivery {
        let (_, header) = self.next().await;
        let size = u64::from_be_bytes(header[4..12].try_into().unwrap());
        delivery.properties = header.slice(12..);
        while (delivery.body.len() as u64) < size {
            let (_, part) = self.next().await;
            delivery.body.extend_from_slice(&part);
        }
        delivery
    }

    /// Ends the connection in order.
    pub(super) async fn close(mut self) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: b"",
            class_id: 0,
            method_id: 0,
        };
        self.say(0, &close).await;
        // Deliveries may still be on their way.
        loop {
            let (kind, payload) = self.next().await;
            let is_over = kind == FrameKind::Method
                && matches!(
                    Method::decode(&payload),
                    Ok(Method::Connection(connection::Method::CloseOk(_)))
                );
            if is_over {
                return;
            }
        }
    }
}

impl Delivery {
    pub(super) fn nothing() -> Self {
        Self {
            tag: 0,
            name: String::new(),
            redelivered: false,
            exchange: Bytes::new(),
            key: Bytes::new(),
            properties: Bytes::new(),
            body: Vec::new(),
        }
    }
}
