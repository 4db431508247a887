//! A broker in this process, for tests: just enough of the protocol to serve a load, and flaws that a load must find.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use amqp::wire::{
    ContentHeader, Frame, FrameKind, Method, PROTOCOL_HEADER, Properties, Splitter, Table,
    TableBuilder, Value, Writer, basic, channel, confirm, connection, exchange, queue,
};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const FRAME_MAX: u32 = 128 << 10;

/// What is wrong with it, from the message of that number on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flaw {
    #[default]
    None,
    Loses(u64),
    Repeats(u64),
    Swaps(u64),
    Changes(u64),
    Refuses(u64),
    ConfirmsTwice(u64),
}

/// Starts one that serves until the test is over.
pub(super) async fn start(flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State {
        flaw,
        ..State::default()
    }));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(Session::new(Arc::clone(&state)).serve(stream));
        }
    });
    address
}

#[derive(Default)]
struct State {
    flaw: Flaw,
    published: u64,
    queues: BTreeMap<Vec<u8>, Queue>,
    fanouts: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Bytes>,
    limit: Option<usize>,
    consumer: Option<UnboundedSender<Bytes>>,
}

impl State {
    /// Whether the message was taken.
    fn publish(&mut self, exchange: &[u8], key: &[u8], body: &Bytes) -> bool {
        let number = self.published;
        self.published += 1;
        let targets = match self.fanouts.get(exchange) {
            Some(queues) => queues.clone(),
            None => vec![key.to_vec()],
        };
        for target in targets {
            let queue = self.queues.get_mut(&target).unwrap();
            if queue.limit.is_some_and(|l| queue.waiting.len() >= l) {
                return false;
            }
            let mut bent = body.to_vec();
            match self.flaw {
                Flaw::Loses(n) if n == number => continue,
                Flaw::Refuses(n) if n == number => return false,
                Flaw::Repeats(n) if n == number => queue.waiting.push_back(body.clone()),
                Flaw::Changes(n) if n == number => bent[15] ^= 1,
                _ => {}
            }
            queue.waiting.push_back(bent.into());
            if matches!(self.flaw, Flaw::Swaps(n) if n == number) {
                let last = queue.waiting.len() - 1;
                queue.waiting.swap(last - 1, last);
            }
            // What is to be swapped has to be there together.
            if !matches!(self.flaw, Flaw::Swaps(n) if n == number + 1) {
                queue.pump();
            }
        }
        true
    }
}

impl Queue {
    fn pump(&mut self) {
        let Some(consumer) = &self.consumer else {
            return;
        };
        for body in self.waiting.drain(..) {
            // The consumer may have left.
            drop(consumer.send(body));
        }
    }
}

struct Session {
    state: Arc<Mutex<State>>,
    out: Writer,
    greeted: bool,
    publish: Option<(Vec<u8>, Vec<u8>)>,
    body: BytesMut,
    body_bytes: u64,
    confirms: u64,
    deliveries: u64,
    consumer: (UnboundedSender<Bytes>, UnboundedReceiver<Bytes>),
    closed: bool,
}

impl Session {
    fn new(state: Arc<Mutex<State>>) -> Self {
        Self {
            state,
            out: Writer::new(FRAME_MAX),
            greeted: false,
            publish: None,
            body: BytesMut::new(),
            body_bytes: 0,
            confirms: 0,
            deliveries: 0,
            consumer: unbounded_channel(),
            closed: false,
        }
    }

    async fn serve(mut self, mut stream: TcpStream) {
        let mut input = BytesMut::new();
        while !self.closed {
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    if read.unwrap_or(0) == 0 {
                        return;
                    }
                    self.take(&mut input);
                }
                body = self.consumer.1.recv() => self.deliver(&body.unwrap()),
            }
            let out = self.out.take_bytes();
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    fn take(&mut self, input: &mut BytesMut) {
        if !self.greeted {
            if input.len() < PROTOCOL_HEADER.len() {
                return;
            }
            input.advance(PROTOCOL_HEADER.len());
            self.greeted = true;
            self.greet();
        }
        let frames = Splitter::new(FRAME_MAX).split(input).unwrap();
        for frame in &frames {
            self.frame(&frame);
        }
    }

    fn greet(&mut self) {
        let mut properties = TableBuilder::new();
        properties.push(b"product", Value::Long(b"Fake")).unwrap();
        properties.push(b"version", Value::Long(b"1.2")).unwrap();
        let start = connection::Start {
            version_minor: 9,
            server_properties: properties.as_table(),
            mechanisms: b"PLAIN",
            locales: b"en_US",
            ..connection::Start::default()
        };
        self.out.method(0, &start).unwrap();
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            FrameKind::Method => self.method(&Method::decode(frame.payload).unwrap()),
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).unwrap();
                let properties = Properties::decode(header.properties).unwrap();
                assert_eq!(properties.delivery_mode, Some(2));
                self.body_bytes = header.body_bytes;
            }
            FrameKind::Body => {
                self.body.extend_from_slice(frame.payload);
                if self.body.len() as u64 == self.body_bytes {
                    self.published();
                }
            }
            FrameKind::Heartbeat => {}
        }
    }

    fn published(&mut self) {
        let (exchange, key) = self.publish.take().unwrap();
        let body = self.body.split().freeze();
        let mut state = self.state.lock().unwrap();
        let twice = matches!(state.flaw, Flaw::ConfirmsTwice(n) if n == state.published);
        let taken = state.publish(&exchange, &key, &body);
        self.confirms += 1;
        let ack = basic::Ack {
            delivery_tag: self.confirms,
            multiple: false,
        };
        let nack = basic::Nack {
            delivery_tag: self.confirms,
            ..basic::Nack::default()
        };
        if taken {
            self.out.method(1, &ack).unwrap();
        } else {
            self.out.method(1, &nack).unwrap();
        }
        if twice {
            self.out.method(1, &ack).unwrap();
        }
    }

    /// In two pieces, as a broker may.
    fn deliver(&mut self, body: &Bytes) {
        self.deliveries += 1;
        let deliver = basic::Deliver {
            consumer_tag: b"c",
            delivery_tag: self.deliveries,
            ..basic::Deliver::default()
        };
        let content = amqp::wire::Content {
            properties: Properties::NONE,
            body: &[body.slice(..5), body.slice(5..)],
        };
        self.out.content(1, &deliver, content).unwrap();
    }

    fn method(&mut self, method: &Method<'_>) {
        match method {
            Method::Connection(method) => self.connection(method),
            Method::Channel(_) => self.out.method(1, &channel::OpenOk {}).unwrap(),
            Method::Confirm(_) => self.out.method(1, &confirm::SelectOk {}).unwrap(),
            Method::Exchange(method) => self.exchange(method),
            Method::Queue(method) => self.queue(method),
            Method::Basic(method) => self.basic(method),
            other => panic!("nobody asks for {}", other.name()),
        }
    }

    fn connection(&mut self, method: &connection::Method<'_>) {
        match method {
            connection::Method::StartOk(start) => {
                assert_eq!(start.response, b"\0guest\0guest");
                let tune = connection::Tune {
                    frame_max: FRAME_MAX,
                    ..connection::Tune::default()
                };
                self.out.method(0, &tune).unwrap();
            }
            connection::Method::Open(_) => {
                self.out.method(0, &connection::OpenOk {}).unwrap();
            }
            connection::Method::Close(_) => {
                self.out.method(0, &connection::CloseOk {}).unwrap();
                self.closed = true;
            }
            _ => {}
        }
    }

    fn exchange(&mut self, method: &exchange::Method<'_>) {
        let mut state = self.state.lock().unwrap();
        match method {
            exchange::Method::Declare(declare) => {
                state.fanouts.insert(declare.exchange.to_vec(), Vec::new());
                self.out.method(1, &exchange::DeclareOk {}).unwrap();
            }
            exchange::Method::Delete(delete) => {
                state.fanouts.remove(delete.exchange).unwrap();
                self.out.method(1, &exchange::DeleteOk {}).unwrap();
            }
            other => panic!("nobody asks for {}", other.name()),
        }
    }

    fn queue(&mut self, method: &queue::Method<'_>) {
        let mut state = self.state.lock().unwrap();
        match method {
            queue::Method::Declare(declare) => {
                let queue = state.queues.entry(declare.queue.to_vec()).or_default();
                if !declare.passive {
                    queue.limit = limit(&declare.arguments);
                }
                let ok = queue::DeclareOk {
                    queue: declare.queue,
                    message_count: u32::try_from(queue.waiting.len()).unwrap(),
                    consumer_count: 0,
                };
                self.out.method(1, &ok).unwrap();
            }
            queue::Method::Bind(bind) => {
                let queues = state.fanouts.get_mut(bind.exchange).unwrap();
                queues.push(bind.queue.to_vec());
                self.out.method(1, &queue::BindOk {}).unwrap();
            }
            queue::Method::Delete(delete) => {
                let queue = state.queues.remove(delete.queue).unwrap();
                let ok = queue::DeleteOk {
                    message_count: u32::try_from(queue.waiting.len()).unwrap(),
                };
                self.out.method(1, &ok).unwrap();
            }
            other => panic!("nobody asks for {}", other.name()),
        }
    }

    fn basic(&mut self, method: &basic::Method<'_>) {
        match method {
            basic::Method::Qos(_) => self.out.method(1, &basic::QosOk {}).unwrap(),
            basic::Method::Publish(publish) => {
                self.publish = Some((publish.exchange.to_vec(), publish.routing_key.to_vec()));
            }
            basic::Method::Consume(consume) => {
                let mut state = self.state.lock().unwrap();
                let queue = state.queues.get_mut(consume.queue).unwrap();
                queue.consumer = Some(self.consumer.0.clone());
                queue.pump();
            }
            basic::Method::Ack(_) => {}
            other => panic!("nobody asks for {}", other.name()),
        }
    }
}

fn limit(arguments: &Table<'_>) -> Option<usize> {
    let found = arguments.find(b"x-max-length")?;
    let overflow = arguments.find(b"x-overflow");
    assert_eq!(overflow, Some(Value::Long(b"reject-publish")));
    usize::try_from(found.integer()?).ok()
}
