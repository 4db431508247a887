//! A client that says exactly what it is told to, over a real socket, and shows what comes back.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use amqp::wire::{
    Arguments, Content, FrameKind, Method, PROTOCOL_HEADER, Properties, Splitter, Table,
    TableBuilder, Value, Writer, basic, channel, connection, queue,
};
use bytes::{Bytes, BytesMut};

use crate::broker::PATIENCE;

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    pub(crate) payload: Bytes,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) method: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) body: Vec<u8>,
}

/// One connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    input: BytesMut,
    arrived: VecDeque<Owned>,
}

impl Raw {
    /// A socket, and nothing said.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: BytesMut::new(),
            arrived: VecDeque::new(),
        }
    }

    /// An open connection of a client that understands everything.
    pub(crate) fn open(to: SocketAddr) -> Self {
        let mut raw = Self::asking_for(to, "/");
        raw.expect("connection.open-ok", 0);
        raw
    }

    /// An open connection with channel 1, in frames of so many bytes.
    pub(crate) fn with_frames_of(to: SocketAddr, frame_max: u32) -> Self {
        let mut raw = Self::asking(to, "/", Some(frame_max));
        raw.expect("connection.open-ok", 0);
        raw.open_channel(1);
        raw
    }

    /// An open connection, up to the question for the vhost.
    pub(crate) fn asking_for(to: SocketAddr, vhost: &str) -> Self {
        Self::asking(to, vhost, None)
    }

    fn asking(to: SocketAddr, vhost: &str, frame_max: Option<u32>) -> Self {
        let mut raw = Self::connect(to);
        raw.write(&PROTOCOL_HEADER);
        raw.expect("connection.start", 0);
        raw.log_in("PLAIN", b"\0guest\0guest", true);
        let tune = raw.tune();
        raw.send(
            0,
            &connection::TuneOk {
                heartbeat: 0,
                frame_max: frame_max.unwrap_or(tune.frame_max),
                ..tune
            },
        );
        let virtual_host = vhost.as_bytes();
        raw.send(0, &connection::Open { virtual_host });
        raw
    }

    /// An open connection with channel 1.
    pub(crate) fn with_channel(to: SocketAddr) -> Self {
        let mut raw = Self::open(to);
        raw.open_channel(1);
        raw
    }

    pub(crate) fn open_channel(&mut self, number: u16) {
        self.send(number, &channel::Open {});
        self.expect("channel.open-ok", number);
    }

    /// Says who we are, as a client that knows what came after the specification, or does not.
    pub(crate) fn log_in(&mut self, mechanism: &str, response: &[u8], is_capable: bool) {
        let mut flags = TableBuilder::new();
        for name in [
            "consumer_cancel_notify",
            "connection.blocked",
            "authentication_failure_close",
        ] {
            flags
                .push(name.as_bytes(), Value::Bool(is_capable))
                .unwrap();
        }
        let mut properties = TableBuilder::new();
        properties
            .push(b"capabilities", Value::Table(flags.as_table()))
            .unwrap();
        self.send(
            0,
            &connection::StartOk {
                client_properties: properties.as_table(),
                mechanism: mechanism.as_bytes(),
                response,
                locale: b"en_US",
            },
        );
    }

    /// What the broker proposes.
    pub(crate) fn tune(&mut self) -> connection::TuneOk {
        let payload = self.expect("connection.tune", 0);
        let Ok(Method::Connection(connection::Method::Tune(tune))) = Method::decode(&payload)
        else {
            panic!("no tune");
        };
        connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: tune.heartbeat,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send<'a>(&mut self, number: u16, method: &impl Arguments<'a>) {
        let mut writer = Writer::new(128 << 10);
        writer.method(number, method).unwrap();
        self.write(&writer.take_bytes());
    }

    /// A frame with any payload.
    pub(crate) fn send_frame(&mut self, kind: u8, number: u16, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(0xCE);
        self.write(&bytes);
    }

    pub(crate) fn publish(
        &mut self,
        number: u16,
        publish: basic::Publish<'_>,
        properties: &Properties<'_>,
        body: &[u8],
    ) {
        let mut writer = Writer::new(128 << 10);
        let properties = properties.encode().unwrap();
        let body = Bytes::copy_from_slice(body);
        let content = Content {
            properties: &properties,
            body: std::slice::from_ref(&body),
        };
        writer.content(number, &publish, content).unwrap();
        self.write(&writer.take_bytes());
    }

    /// A message without properties to a queue.
    pub(crate) fn publish_to(&mut self, queue: &str, body: &str) {
        let publish = basic::Publish {
            routing_key: queue.as_bytes(),
            ..basic::Publish::default()
        };
        self.publish(1, publish, &Properties::default(), body.as_bytes());
    }

    /// Makes a queue, with whatever else is asked for.
    pub(crate) fn declare(&mut self, name: &str) {
        self.send(
            1,
            &queue::Declare {
                queue: name.as_bytes(),
                durable: true,
                ..queue::Declare::default()
            },
        );
        self.expect("queue.declare-ok", 1);
    }

    /// The next frame; none at the end of the stream.
    pub(crate) fn frame(&mut self) -> Option<Owned> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Some(frame);
            }
            let frames = Splitter::new(1 << 20).split(&mut self.input).unwrap();
            for frame in &frames {
                self.arrived.push_back(Owned {
                    kind: frame.kind,
                    channel: frame.channel,
                    payload: frames.share(frame.payload),
                });
            }
            if self.arrived.is_empty() && !self.read() {
                return None;
            }
        }
    }

    fn read(&mut self) -> bool {
        let mut space = vec![0; 64 << 10];
        match self.stream.read(&mut space) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&space[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The bytes that come before the end of the stream, when they are no frames.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read() {}
        self.input.split().to_vec()
    }

    /// Whether nothing comes for a while.
    pub(crate) fn is_quiet(&mut self, time: Duration) -> bool {
        if !self.arrived.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut space = [0; 1024];
        let read = self.stream.read(&mut space);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(count) => {
                self.input.extend_from_slice(&space[..count]);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// The next frame, which has to be this method.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str, number: u16) -> Bytes {
        let frame = self.frame().expect("the connection ended");
        assert_eq!(frame.kind, FrameKind::Method, "instead of {name}");
        let method = Method::decode(&frame.payload).unwrap();
        assert_eq!((method.name(), frame.channel), (name, number), "{method:?}");
        frame.payload
    }

    /// The next frames, which have to be a message carried by this method.
    #[track_caller]
    pub(crate) fn expect_content(&mut self, name: &str, number: u16) -> Arrived {
        let method = self.expect(name, number);
        let header = self.frame().unwrap();
        assert_eq!(header.kind, FrameKind::Header);
        let header = header.payload;
        let size = u64::from_be_bytes(header[4..12].try_into().unwrap());
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            let frame = self.frame().unwrap();
            assert_eq!(frame.kind, FrameKind::Body);
            body.extend_from_slice(&frame.payload);
        }
        Arrived {
            method,
            properties: header.slice(12..),
            body,
        }
    }

    /// The broker closes the channel, or for channel 0 the connection: text, and the method that failed. The answer is
    /// given.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, number: u16) -> (u16, String, (u16, u16)) {
        let name = ["connection.close", "channel.close"][usize::from(number > 0)];
        let payload = self.expect(name, number);
        let close = match Method::decode(&payload).unwrap() {
            Method::Connection(connection::Method::Close(close)) => (
                close.reply_code,
                close.reply_text.to_vec(),
                (close.class_id, close.method_id),
            ),
            Method::Channel(channel::Method::Close(close)) => (
                close.reply_code,
                close.reply_text.to_vec(),
                (close.class_id, close.method_id),
            ),
            other => panic!("{other:?}"),
        };
        if number == 0 {
            self.send(0, &connection::CloseOk {});
        } else {
            self.send(number, &channel::CloseOk {});
        }
        (close.0, String::from_utf8(close.1).unwrap(), close.2)
    }

    /// The broker closes the channel, or the connection, with this code and text, and blames this method.
    #[track_caller]
    pub(crate) fn fails<'a, M: Arguments<'a>>(&mut self, number: u16, code: u16, text: &str) {
        let close = self.expect_close(number);
        assert_eq!(close, (code, text.to_owned(), (M::CLASS, M::METHOD)));
        if number > 0 {
            self.open_channel(number);
        } else {
            assert!(self.frame().is_none(), "and then the connection ends");
        }
    }
}

/// A table of these values.
pub(crate) fn table(values: &[(&str, Value<'_>)]) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, value) in values {
        table.push(name.as_bytes(), *value).unwrap();
    }
    table
}

/// No arguments.
pub(crate) const NONE: Table<'static> = Table::EMPTY;
