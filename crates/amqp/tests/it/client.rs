//! The other end of a connection in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amqp::Context;
use amqp::wire::{
    Arguments, Content, FrameKind, Method, PROTOCOL_HEADER, Properties, Splitter, TableBuilder,
    Value, Writer, basic, channel, connection,
};
use bytes::{Bytes, BytesMut};
use net::{Connection, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// One client with channel 1.
pub(crate) struct Client {
    connection: Connection,
    input: BytesMut,
    arrived: VecDeque<(u16, Bytes)>,
    _shutdown: Shutdown,
}

impl Client {
    /// Connects to whatever `context` serves.
    pub(crate) async fn open(context: &Arc<Context>) -> Self {
        let (ours, theirs) = Connection::pair(1 << 20);
        let shutdown = Shutdown::new();
        tokio::spawn(amqp::serve(ours, Arc::clone(context), shutdown.drain()));
        let mut client = Self {
            connection: theirs,
            input: BytesMut::new(),
            arrived: VecDeque::new(),
            _shutdown: shutdown,
        };
        client.shake().await;
        client
    }

    async fn shake(&mut self) {
        self.connection.write_all(&PROTOCOL_HEADER).await.unwrap();
        self.expect("connection.start").await;
        let mut flags = TableBuilder::new();
        flags
            .push(b"connection.blocked", Value::Bool(true))
            .unwrap();
        let mut properties = TableBuilder::new();
        properties
            .push(b"capabilities", Value::Table(flags.as_table()))
            .unwrap();
        self.send(
            0,
            &connection::StartOk {
                client_properties: properties.as_table(),
                mechanism: b"PLAIN",
                response: b"\0guest\0guest",
                locale: b"en_US",
            },
        )
        .await;
        self.expect("connection.tune").await;
        let agreed = connection::TuneOk {
            channel_max: 10,
            frame_max: 4096,
            heartbeat: 0,
        };
        self.send(0, &agreed).await;
        self.send(0, &connection::Open { virtual_host: b"/" }).await;
        self.expect("connection.open-ok").await;
        self.send(1, &channel::Open {}).await;
        self.expect("channel.open-ok").await;
    }

    pub(crate) async fn send<'a>(&mut self, number: u16, method: &impl Arguments<'a>) {
        let mut writer = Writer::new(4096);
        writer.method(number, method).unwrap();
        self.connection
            .write_all(&writer.take_bytes())
            .await
            .unwrap();
    }

    pub(crate) async fn publish(&mut self, queue: &str, body: &'static str) {
        let publish = basic::Publish {
            routing_key: queue.as_bytes(),
            ..basic::Publish::default()
        };
        let body = Bytes::from_static(body.as_bytes());
        let content = Content {
            properties: Properties::NONE,
            body: std::slice::from_ref(&body),
        };
        let mut writer = Writer::new(4096);
        writer.content(1, &publish, content).unwrap();
        self.connection
            .write_all(&writer.take_bytes())
            .await
            .unwrap();
    }

    /// The next method, which has to be this one.
    pub(crate) async fn expect(&mut self, name: &'static str) -> Bytes {
        let payload = self.method().await.expect("the connection ended");
        assert_eq!(Method::decode(&payload).unwrap().name(), name);
        payload
    }

    async fn method(&mut self) -> Option<Bytes> {
        loop {
            if let Some((_, payload)) = self.arrived.pop_front() {
                return Some(payload);
            }
            let frames = Splitter::new(4096).split(&mut self.input).unwrap();
            for frame in &frames {
                if frame.kind == FrameKind::Method {
                    let payload = frames.share(frame.payload);
                    self.arrived.push_back((frame.channel, payload));
                }
            }
            if self.arrived.is_empty()
                && self.connection.read_buf(&mut self.input).await.unwrap() == 0
            {
                return None;
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.method())
            .await
            .is_err()
    }
}
