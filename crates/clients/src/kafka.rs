//! Kafka frames: requests out, answers in, nothing decided for the test. A connection that breaks is an error, because
//! tests break them on purpose.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use kafka::wire::create_topics::CreatableTopic;
use kafka::wire::fetch::{FetchPartition, FetchTopic};
use kafka::wire::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, Message,
    Reader, frame,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Larger than any answer a test asks for.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Bytes asked for in one fetch.
const READ_BYTES: i32 = 4 << 20;

/// One connection.
#[derive(Debug)]
pub struct Client<S = TcpStream> {
    stream: BufReader<S>,
    correlation: i32,
}

impl Client {
    /// Connects over a socket.
    pub async fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client over a connection that is there already.
    pub fn over(stream: S) -> Self {
        Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            correlation: 0,
        }
    }

    /// Sends a request made by [`request`].
    pub async fn send(&mut self, frame: &Bytes) -> io::Result<()> {
        self.stream.write_all(frame).await
    }

    /// The next answer's body, which must be the one to request `correlation`.
    pub async fn receive(
        &mut self,
        key: ApiKey,
        version: i16,
        correlation: i32,
    ) -> io::Result<Bytes> {
        let length = usize::try_from(self.stream.read_i32().await?).map_err(io::Error::other)?;
        assert!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame).await?;
        let frame = frame.freeze();
        let mut reader = Reader::new(&frame);
        let answered = frame::decode_response_header(&mut reader, key, version);
        assert_eq!(
            answered.expect("an answer has a header"),
            correlation,
            "answers come in the order of requests"
        );
        Ok(frame.slice(reader.position()..))
    }

    /// Asks and waits for the answer's body.
    pub async fn call<'a, R: Message<'a>>(
        &mut self,
        version: i16,
        message: &R,
    ) -> io::Result<Bytes> {
        self.correlation += 1;
        let correlation = self.correlation;
        self.send(&request(version, correlation, message)).await?;
        self.receive(R::KEY, version, correlation).await
    }

    /// Batches of a partition from offset `at` on, as they are at rest.
    pub async fn fetch(&mut self, topic: &str, index: i32, at: u64) -> io::Result<Bytes> {
        let asked = FetchRequest {
            max_bytes: READ_BYTES,
            topics: vec![FetchTopic {
                topic: topic.into(),
                partitions: vec![FetchPartition {
                    partition: index,
                    fetch_offset: at.cast_signed(),
                    partition_max_bytes: READ_BYTES,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let body = self.call(11, &asked).await?;
        let response: FetchResponse<'_> = answer(&body, 11);
        let partition = &response.responses[0].partitions[0];
        refused(partition.error_code)?;
        let mut whole = BytesMut::new();
        for part in partition.records.parts() {
            whole.extend_from_slice(part);
        }
        Ok(whole.freeze())
    }
}

/// A request frame.
pub fn request<'a, R: Message<'a>>(version: i16, correlation: i32, message: &R) -> Bytes {
    let header = frame::encode_request_header(R::KEY, version, correlation, Some("test"));
    let mut writer = header.expect("a header");
    let encoded = message.encode(&mut writer, version);
    encoded.expect("the request fits its version");
    writer.finish().expect("the request is small").into_bytes()
}

/// Reads an answer's body.
#[track_caller]
pub fn answer<'a, R: Message<'a>>(body: &'a Bytes, version: i16) -> R {
    let mut reader = Reader::new(body);
    let answer = R::decode(&mut reader, version).expect("the answer decodes");
    reader.finish().expect("nothing follows the answer");
    answer
}

/// An error code as an error.
pub fn refused(code: i16) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::other(format!("error code {code}"))),
    }
}

/// Makes a topic; the error code of the answer.
pub async fn create_topic(client: &mut Client, name: &str) -> i16 {
    let asked = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let body = client.call(5, &asked).await.expect("an answer");
    let answered: CreateTopicsResponse<'_> = answer(&body, 5);
    answered.topics[0].error_code
}
