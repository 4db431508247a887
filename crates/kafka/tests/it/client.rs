//! A client that trusts neither side: requests are encoded, and answers checked, by an independent codec
//! wherever it knows the version; the frontend's own codec only gives tests one set of types to write with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine::Broker;
use kafka::wire::{self, AnyResponse, ApiKey, Message, Reader, Writer, frame};
use kafka::{Context, Settings};
use kafka_protocol::messages::{
    ApiKey as TheirKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, StrBytes};
use net::{Budget, Connection, Shutdown};
use testkit::TestBroker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// Bytes each direction of a connection in memory holds.
const BUFFER_BYTES: usize = 64 << 10;

/// A broker with its frontend; every connection is served by the real `serve`.
pub(crate) struct Server {
    pub(crate) fixture: TestBroker,
    pub(crate) context: Arc<Context>,
    shutdown: Shutdown,
    budget: Budget,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::over(TestBroker::start().await, Settings::default())
    }

    pub(crate) async fn with(change: impl FnOnce(&mut engine::Settings, &mut Settings)) -> Self {
        let mut engine = engine::Settings {
            ..engine::Settings::default()
        };
        engine.group.initial_rebalance_delay_ms = 0;
        engine.group.subscription = kafka::subscription;
        engine.kept_defaults = kafka::topic_defaults;
        let mut settings = Settings::default();
        change(&mut engine, &mut settings);
        Self::over(TestBroker::with(engine).await, settings)
    }

    pub(crate) fn over(fixture: TestBroker, settings: Settings) -> Self {
        let context = Arc::new(Context::new(fixture.broker().clone(), settings));
        Self {
            fixture,
            context,
            shutdown: Shutdown::new(),
            budget: Budget::unlimited(),
        }
    }

    /// What its connections hold counts against this budget.
    pub(crate) fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.fixture.broker()
    }

    /// Stops and starts again on the same directory; connections do not survive that.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            fixture,
            context,
            shutdown,
            ..
        } = self;
        shutdown.begin();
        drop(context);
        Self::over(fixture.restart().await, Settings::default())
    }

    pub(crate) fn drain(&self) {
        self.shutdown.begin();
    }

    pub(crate) fn connect(&self) -> Client {
        let (near, far) = Connection::pair(BUFFER_BYTES);
        let account = self.budget.account("kafka", far.peer());
        let far = far.with_account(account);
        let served = tokio::spawn(kafka::serve(
            far,
            Arc::clone(&self.context),
            self.shutdown.drain(),
        ));
        Client {
            connection: near,
            served,
            sent: 0,
            unread: VecDeque::new(),
        }
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// The server's side of it.
    pub(crate) served: JoinHandle<()>,
    sent: i32,
    /// Requests whose answers were not read yet.
    unread: VecDeque<(ApiKey, i16, i32)>,
}

impl Client {
    /// Sends a request and reads its answer.
    pub(crate) async fn ask<'q, Q: Message<'q>, A: Message<'static>>(
        &mut self,
        version: i16,
        request: &Q,
    ) -> A {
        self.send(version, request).await;
        self.answer().await
    }

    /// Sends a request; its answer is read later.
    pub(crate) async fn send<'q, Q: Message<'q>>(&mut self, version: i16, request: &Q) {
        self.send_silent(version, request).await;
        self.unread.push_back((Q::KEY, version, self.sent));
    }

    /// Sends a request that will not be answered.
    pub(crate) async fn send_silent<'q, Q: Message<'q>>(&mut self, version: i16, request: &Q) {
        let body = body(|w| request.encode(w, version));
        self.sent += 1;
        let frame = request_frame(Q::KEY, version, self.sent, &body);
        self.write(&frame).await;
    }

    /// Sends an already encoded body and reads the answer, whatever kind it is; `None` when the broker hangs up.
    pub(crate) async fn ask_encoded(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &Bytes,
    ) -> Option<AnyResponse<'static>> {
        self.sent += 1;
        let frame = request_frame(key, version, self.sent, body);
        self.write(&frame).await;
        let frame = self.frame().await?;
        let (correlation, body) = response_parts(key, version, frame);
        assert_eq!(correlation, self.sent, "{key:?} v{version}: correlation id");
        check_with_theirs(key, version, &body);
        let mut reader = Reader::new(Box::leak(Box::new(body)));
        let answer = AnyResponse::decode(key, &mut reader, version).expect("the answer decodes");
        reader.finish().expect("nothing follows the answer");
        Some(answer)
    }

    /// Reads the answer to the oldest request not answered yet.
    pub(crate) async fn answer<A: Message<'static>>(&mut self) -> A {
        let (key, version, body) = self.answer_body().await;
        assert_eq!(key, A::KEY, "answers come in the order of requests");
        let mut reader = Reader::new(body);
        let answer = A::decode(&mut reader, version).expect("the answer decodes");
        reader.finish().expect("nothing follows the answer");
        answer
    }

    async fn answer_body(&mut self) -> (ApiKey, i16, &'static Bytes) {
        let (key, version, correlation_id) =
            self.unread.pop_front().expect("a request was sent before");
        let frame = self.frame().await.expect("the broker answers");
        let (got, body) = response_parts(key, version, frame);
        assert_eq!(got, correlation_id, "{key:?} v{version}: correlation id");
        check_with_theirs(key, version, &body);
        // Answers live as long as the test; it is short.
        (key, version, Box::leak(Box::new(body)))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.connection
            .write_all(bytes)
            .await
            .expect("the broker reads");
    }

    /// The next frame without its length; `None` when the broker has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.connection.read_exact(&mut length).await.ok()?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut frame = vec![0; length];
        self.connection.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    /// Asserts that the broker closes the connection without another byte.
    pub(crate) async fn expect_closed(&mut self) {
        let read = tokio::time::timeout(Duration::from_secs(20), self.connection.read_u8()).await;
        let read = read.expect("the broker closes the connection in time");
        assert!(read.is_err(), "a byte came instead of the end: {read:?}");
    }

    /// Asserts that no byte comes for a while.
    pub(crate) async fn expect_silence(&mut self, time: Duration) {
        let read = tokio::time::timeout(time, self.connection.read_u8()).await;
        assert!(read.is_err(), "{read:?} came where nothing should");
    }
}

/// A body without a frame around it.
pub(crate) fn body(encode: impl FnOnce(&mut Writer) -> wire::Result<()>) -> Bytes {
    let mut writer = Writer::bare();
    encode(&mut writer).expect("the request fits its version");
    writer.finish().expect("the request is small").into_bytes()
}

/// A whole request, length included, made by the independent codec where it knows the version.
pub(crate) fn request_frame(key: ApiKey, version: i16, correlation: i32, body: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    if let Some(their_key) = theirs(key, version) {
        let header = RequestHeader::default()
            .with_request_api_key(key.into())
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(StrBytes::from_static_str("tester")));
        let header_version = their_key.request_header_version(version);
        header.encode(&mut out, header_version).expect("a header");
        match theirs_request(their_key, version, body) {
            Some(request) => request.encode(&mut out, version).expect("encodes"),
            None => out.extend_from_slice(body),
        }
    } else {
        let header = frame::encode_request_header(key, version, correlation, Some("tester"));
        let header = header.and_then(Writer::finish).expect("a header");
        out.extend_from_slice(&header.into_bytes()[4..]);
        out.extend_from_slice(body);
    }
    let mut framed = BytesMut::from(&u32::try_from(out.len()).unwrap().to_be_bytes()[..]);
    framed.extend_from_slice(&out);
    framed.freeze()
}

fn theirs(key: ApiKey, version: i16) -> Option<TheirKey> {
    let theirs = TheirKey::try_from(i16::from(key)).ok()?;
    let known = theirs.valid_versions();
    (known.min..=known.max).contains(&version).then_some(theirs)
}

fn theirs_request(key: TheirKey, version: i16, body: &Bytes) -> Option<RequestKind> {
    // At its schema level these two were not final: it announces them, and cannot read them.
    if matches!(key, TheirKey::OffsetCommit | TheirKey::OffsetFetch) && version == 10 {
        return None;
    }
    let mut rest = body.clone();
    let request = RequestKind::decode(key, &mut rest, version).expect("a sound request");
    assert!(rest.is_empty(), "{key:?} v{version}: bytes left over");
    Some(request)
}

/// The correlation id and the body of an answer.
fn response_parts(key: ApiKey, version: i16, mut frame: Bytes) -> (i32, Bytes) {
    if let Some(theirs) = theirs(key, version) {
        let header_version = theirs.response_header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).expect("a header");
        return (header.correlation_id, frame);
    }
    let mut reader = Reader::new(&frame);
    let correlation = frame::decode_response_header(&mut reader, key, version).expect("a header");
    let at = frame.len() - reader.remaining();
    (correlation, frame.slice(at..))
}

/// The independent codec reads the answer, and would have written the same.
fn check_with_theirs(key: ApiKey, version: i16, body: &Bytes) {
    let Some(their_key) = theirs(key, version) else {
        return;
    };
    let mut rest = body.clone();
    let decoded = ResponseKind::decode(their_key, &mut rest, version)
        .unwrap_or_else(|error| panic!("{key:?} v{version}: the answer does not decode: {error}"));
    assert!(rest.is_empty(), "{key:?} v{version}: bytes left over");
    let mut again = BytesMut::new();
    decoded
        .encode(&mut again, version)
        .expect("what was decoded encodes");
    assert_eq!(again, body, "{key:?} v{version}: {decoded:?}");
}
