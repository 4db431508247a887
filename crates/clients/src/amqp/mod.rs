//! An AMQP client that says exactly what it is told to, and shows what comes back.

mod frames;

use std::io::ErrorKind;
use std::time::Duration;

use amqp::wire::{
    Arguments, FrameKind, Method, PROTOCOL_HEADER, Properties, Table, Value, basic, channel,
    connection, queue,
};
use bytes::Bytes;

use crate::stream::PATIENCE;
use crate::{Peer, Stream};
pub use frames::{Inbox, Owned, message, method, table};

const READ_BYTES: usize = 64 << 10;

/// No arguments.
pub const NONE: Table<'static> = Table::EMPTY;

/// A message that came.
#[derive(Debug)]
pub struct Arrived {
    /// The method that carried it.
    pub method: Bytes,
    /// Its properties, encoded.
    pub properties: Bytes,
    /// Its body.
    pub body: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    /// What it reads and writes.
    pub stream: Box<dyn Stream>,
    inbox: Inbox,
}

impl Raw {
    /// A connection, and nothing said.
    pub fn connect(to: impl Peer) -> Self {
        let mut stream = to.connect();
        stream.set_read_timeout(PATIENCE).unwrap();
        Self {
            stream,
            inbox: Inbox::default(),
        }
    }

    /// An open connection of a client that understands everything.
    pub fn open(to: impl Peer) -> Self {
        let mut raw = Self::asking_for(to, "/");
        raw.expect("connection.open-ok", 0);
        raw
    }

    /// An open connection with channel 1, in frames of so many bytes.
    pub fn with_frames_of(to: impl Peer, frame_max: u32) -> Self {
        let mut raw = Self::asking(to, "/", Some(frame_max));
        raw.expect("connection.open-ok", 0);
        raw.open_channel(1);
        raw
    }

    /// An open connection, up to the question for the vhost.
    pub fn asking_for(to: impl Peer, vhost: &str) -> Self {
        Self::asking(to, vhost, None)
    }

    fn asking(to: impl Peer, vhost: &str, frame_max: Option<u32>) -> Self {
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
    pub fn with_channel(to: impl Peer) -> Self {
        let mut raw = Self::open(to);
        raw.open_channel(1);
        raw
    }

    /// Opens another channel.
    pub fn open_channel(&mut self, number: u16) {
        self.send(number, &channel::Open {});
        self.expect("channel.open-ok", number);
    }

    /// Says who we are, as a client that knows what came after the specification, or does not.
    pub fn log_in(&mut self, mechanism: &str, response: &[u8], is_capable: bool) {
        let is_capable = Value::Bool(is_capable);
        let flags = table(&[
            ("consumer_cancel_notify", is_capable),
            ("connection.blocked", is_capable),
            ("authentication_failure_close", is_capable),
        ]);
        let properties = table(&[("capabilities", Value::Table(flags.as_table()))]);
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
    pub fn tune(&mut self) -> connection::TuneOk {
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

    /// Writes bytes as they are.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a method.
    #[track_caller]
    pub fn send<'a>(&mut self, number: u16, arguments: &impl Arguments<'a>) {
        self.write(&method(number, arguments));
    }

    /// A frame with any payload.
    #[track_caller]
    pub fn send_frame(&mut self, kind: u8, number: u16, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(0xCE);
        self.write(&bytes);
    }

    /// Sends a message.
    #[track_caller]
    pub fn publish(
        &mut self,
        number: u16,
        publish: basic::Publish<'_>,
        properties: &Properties<'_>,
        body: &[u8],
    ) {
        self.write(&message(number, &publish, properties, body));
    }

    /// A message without properties to a queue.
    #[track_caller]
    pub fn publish_to(&mut self, queue: &str, body: &str) {
        let publish = basic::Publish {
            routing_key: queue.as_bytes(),
            ..basic::Publish::default()
        };
        self.publish(1, publish, &Properties::default(), body.as_bytes());
    }

    /// Makes a durable queue.
    #[track_caller]
    pub fn declare(&mut self, name: &str) {
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
    #[track_caller]
    pub fn frame(&mut self) -> Option<Owned> {
        loop {
            if let Some(frame) = self.inbox.take() {
                return Some(frame);
            }
            if !self.read() {
                return None;
            }
        }
    }

    #[track_caller]
    fn read(&mut self) -> bool {
        let mut space = vec![0; READ_BYTES];
        match self.stream.read(&mut space) {
            Ok(0) => false,
            Ok(count) => {
                self.inbox.input.extend_from_slice(&space[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The bytes that come before the end of the stream, when they are no frames.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read() {}
        self.inbox.input.split().to_vec()
    }

    /// Whether nothing comes for a while.
    pub fn is_quiet(&mut self, time: Duration) -> bool {
        if !self.inbox.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(time).unwrap();
        let mut space = [0; 1024];
        let read = self.stream.read(&mut space);
        self.stream.set_read_timeout(PATIENCE).unwrap();
        match read {
            Ok(count) => {
                self.inbox.input.extend_from_slice(&space[..count]);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// The next frame, which has to be this method.
    #[track_caller]
    pub fn expect(&mut self, name: &str, number: u16) -> Bytes {
        let frame = self.frame().expect("the connection ended");
        assert_eq!(frame.kind, FrameKind::Method, "instead of {name}");
        let method = Method::decode(&frame.payload).unwrap();
        assert_eq!((method.name(), frame.channel), (name, number), "{method:?}");
        frame.payload
    }

    /// The next frames, which have to be a message carried by this method.
    #[track_caller]
    pub fn expect_content(&mut self, name: &str, number: u16) -> Arrived {
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
    pub fn expect_close(&mut self, number: u16) -> (u16, String, (u16, u16)) {
        let name = ["connection.close", "channel.close"][usize::from(number > 0)];
        let payload = self.expect(name, number);
        let (code, text, method) = match Method::decode(&payload).unwrap() {
            Method::Connection(connection::Method::Close(close)) => (
                close.reply_code,
                close.reply_text,
                (close.class_id, close.method_id),
            ),
            Method::Channel(channel::Method::Close(close)) => (
                close.reply_code,
                close.reply_text,
                (close.class_id, close.method_id),
            ),
            other => panic!("{other:?}"),
        };
        if number == 0 {
            self.send(0, &connection::CloseOk {});
        } else {
            self.send(number, &channel::CloseOk {});
        }
        (code, String::from_utf8(text.to_vec()).unwrap(), method)
    }

    /// The broker closes the channel, or the connection, with this code and text, and blames this method.
    #[track_caller]
    pub fn fails<'a, M: Arguments<'a>>(&mut self, number: u16, code: u16, text: &str) {
        let close = self.expect_close(number);
        assert_eq!(close, (code, text.to_owned(), (M::CLASS, M::METHOD)));
        if number > 0 {
            self.open_channel(number);
        } else {
            assert!(self.frame().is_none(), "and then the connection ends");
        }
    }
}
